// SPDX-License-Identifier: GPL-2.0-only

//! Matches names against patterns as ftrace's filters have them.
//!
//! In: a pattern and a name. Out: whether all of the name matches. `*` stands for any characters, `?` for one, `[a-z]`
//! for one of a set, `[!a-z]` for one outside of it; a backslash takes the next character as it is. A `[` without its
//! `]` is taken as it is.
//! Source: `lib/glob.c`, Linux 7.3. The crates for globs know paths and braces, and Rust's names have braces.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    Set {
        is_inverted: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern.chars();
        while let Some(next) = rest.next() {
            parts.push(match next {
                // Several in a row are one.
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Char(rest.next().unwrap_or('\\')),
                '[' => match set(rest.as_str()) {
                    Some((set, after)) => {
                        rest = after.chars();
                        set
                    }
                    None => Part::Char('['),
                },
                other => Part::Char(other),
            });
        }
        Self { parts }
    }

    /// Whether all of a name matches. Takes time in the product of both lengths at most.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut parts, mut rest) = (self.parts.as_slice(), name.chars());
        // Where to go on when what follows the last `*` does not fit: that star then takes one more character.
        let mut again: Option<(&[Part], std::str::Chars<'_>)> = None;
        loop {
            let is_fit = match parts.split_first() {
                Some((Part::Any, after)) => {
                    parts = after;
                    again = Some((after, rest.clone()));
                    continue;
                }
                Some((part, after)) => {
                    parts = after;
                    rest.next().is_some_and(|next| part.fits(next))
                }
                None if rest.as_str().is_empty() => return true,
                None => false,
            };
            if !is_fit {
                let Some((after, from)) = &mut again else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (parts, rest) = (after, from.clone());
            }
        }
    }
}

impl Part {
    fn fits(&self, found: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(wanted) => *wanted == found,
            Self::Set {
                is_inverted,
                ranges,
            } => {
                let is_in = ranges
                    .iter()
                    .any(|(low, high)| (low..=high).contains(&&found));
                is_in != *is_inverted
            }
        }
    }
}

/// A set, and what comes after its `]`. A `]` that stands first belongs to the set.
fn set(text: &str) -> Option<(Part, &str)> {
    let (is_inverted, mut rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.chars()),
        None => (false, text.chars()),
    };
    let mut ranges = Vec::new();
    loop {
        let low = rest.next()?;
        if low == ']' && !ranges.is_empty() {
            let set = Part::Set {
                is_inverted,
                ranges,
            };
            return Some((set, rest.as_str()));
        }
        let mut ahead = rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                ranges.push((low, high));
                rest = ahead;
            }
            _ => ranges.push((low, low)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let glob = Glob::new(pattern);
        for name in matching {
            assert!(glob.matches(name), "{pattern} matches {name}");
        }
        for name in others {
            assert!(!glob.matches(name), "{pattern} does not match {name}");
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        check(
            "schedule",
            &["schedule"],
            &["schedule_idle", "__schedule", ""],
        );
        check("*", &["", "x"], &[]);
        check(
            "deferred_*",
            &["deferred_", "deferred_init"],
            &["deferre", "x_deferred_"],
        );
        check("*_init*", &["_init", "a_init", "a_in_init_b"], &["a_ini"]);
        check("a?c", &["abc", "a?c"], &["ac", "abbc"]);
        check("a**b", &["ab", "a--b"], &["a"]);
        check("*abab", &["ababab", "aabab"], &["ababa"]);
        check("[a-c]x[!0-9]", &["ax_", "cxx"], &["dx_", "ax1", "ax"]);
        check("[]x]", &["]", "x"], &["[", "y"]);
        check("a[b", &["a[b"], &["ab"]);
        check(
            "test::{closure#?}",
            &["test::{closure#0}"],
            &["test::{closure}"],
        );
        check(r"\*", &["*"], &["x", r"\*"]);
        check("", &[""], &["x"]);
        check("é*", &["état"], &["etat"]);
    }

    #[test]
    fn a_pattern_of_many_stars_ends() {
        let glob = Glob::new(&"*a".repeat(50));
        assert!(!glob.matches(&"a".repeat(49)));
        assert!(glob.matches(&"a".repeat(5000)));
    }
}
