// SPDX-License-Identifier: GPL-2.0-only

//! Matches texts against the kernel's wildcards, as ftrace's filters have them.
//!
//! In: a pattern of `*` (any text), `?` (any character), `[a-z]`, `[!a-z]` (one character of a class, or none of it) and
//! `\` (the next character as it is); a text, as bytes. Out: whether all of the text matches.
//! An unclosed class is the character `[`. It takes no more than pattern times text steps, and does not recurse.
//! Source: `glob_match` in `lib/glob.c`, Linux 7.3.

/// A pattern for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
}

impl Glob {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
        }
    }

    /// Whether all of a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(self.pattern.as_bytes(), name.as_bytes())
    }
}

/// Whether all of `text` matches `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Behind the last `*`, and the text that it has not swallowed yet.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        match text {
            [] if pattern.is_empty() => return true,
            [] => return false,
            [first, rest @ ..] => match one(pattern, *first) {
                Some(behind) => (pattern, text) = (behind, rest),
                None => match retry {
                    Some((star, [_, swallowed @ ..])) => {
                        (pattern, text) = (star, swallowed);
                        retry = Some((star, swallowed));
                    }
                    _ => return false,
                },
            },
        }
    }
}

/// Whether a text has a wildcard in it.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The pattern behind its first element, if that matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => match class_of(class, byte) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(class),
        },
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// Whether `byte` is in a class, and what stands behind its `]`; `None` if there is no `]`.
fn class_of(class: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (inverted, mut rest) = match class {
        [b'!', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let mut first = true;
    loop {
        match rest {
            // A `]` that comes first is a member.
            [b']', behind @ ..] if !first => return Some((found != inverted, behind)),
            [from, b'-', to, behind @ ..] if *to != b']' => {
                found |= (*from..=*to).contains(&byte);
                rest = behind;
            }
            [member, behind @ ..] => {
                found |= *member == byte;
                rest = behind;
            }
            [] => return None,
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_kernels_do() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("abc", "abc", true),
            ("*", "", true),
            ("*sh", "bash", true),
            ("*sh", "bash ", false),
            ("bas*h", "bash", true),
            ("*a*b*c", "xaybzc", true),
            ("*ab", "aab", true),
            ("?", "", false),
            ("?", "é", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern:?} on {text:?}"
            );
        }
    }

    #[test]
    fn many_stars_end_in_time() {
        let pattern = "*a".repeat(500);
        assert!(!matches(pattern.as_bytes(), "a".repeat(499).as_bytes()));
        assert!(!matches(
            "*a*a*a*b".as_bytes(),
            "a".repeat(100_000).as_bytes()
        ));
    }

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
