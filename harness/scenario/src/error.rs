// SPDX-License-Identifier: GPL-2.0-only

//! What is wrong with a scenario file, where, and what is allowed there.
//!
//! In: mistakes found by `yaml` and `lower`. Out: one line, `file:line:column: message; allowed: ...`.

use thiserror::Error;

/// A mistake in a scenario file. Displays as one line that names the place and what is allowed there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}:{}:{}: {}{}", mistake.place.line, mistake.place.column, mistake.message, mistake.allowed_clause())]
pub struct Error {
    file: String,
    mistake: Mistake,
}

/// A place in a file; both numbers count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// An [`Error`] before the file has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) allowed: Option<String>,
}

impl Error {
    pub(crate) fn new(file: &str, mistake: Mistake) -> Self {
        Self {
            file: file.to_owned(),
            mistake,
        }
    }

    /// The same mistake under another name for the file, such as its path.
    #[must_use]
    pub fn in_file(self, file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            ..self
        }
    }

    /// Where the mistake is.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.mistake.place
    }

    /// What is wrong, without the place and without what is allowed.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.mistake.message
    }

    /// What is allowed there, where that can be said.
    #[must_use]
    pub fn allowed(&self) -> Option<&str> {
        self.mistake.allowed.as_deref()
    }
}

impl Place {
    /// The first character of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl Mistake {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: printable(&message.into()),
            allowed: None,
        }
    }

    pub(crate) fn allow(self, allowed: impl Into<String>) -> Self {
        Self {
            allowed: Some(allowed.into()),
            ..self
        }
    }

    /// The same mistake, with one more thing that is allowed.
    pub(crate) fn or(self, other: &str) -> Self {
        let allowed = self.allowed.map_or_else(
            || other.to_owned(),
            |allowed| format!("{allowed}, or {other}"),
        );
        Self {
            allowed: Some(allowed),
            ..self
        }
    }

    /// A name that is none of `allowed`: says so, names the nearest, and tells a planned name from a misspelt one.
    pub(crate) fn unknown_name(place: Place, kind: &str, name: &str, allowed: &[&str]) -> Self {
        Self::new(place, unknown(kind, name, allowed)).allow(some_of(allowed))
    }

    fn allowed_clause(&self) -> String {
        self.allowed
            .as_ref()
            .map(|allowed| format!("; allowed: {allowed}"))
            .unwrap_or_default()
    }
}

/// Modes the project plans.
const PLANNED_MODES: [&str; 2] = ["initcall", "rcu"];

/// Says that a name is none of `allowed`, and which of them may be meant.
pub(crate) fn unknown(kind: &str, name: &str, allowed: &[&str]) -> String {
    if name.is_empty() {
        "a value is missing".to_owned()
    } else if kind == "mode" && PLANNED_MODES.contains(&name) {
        format!("{kind} `{name}` is unsupported in this version")
    } else {
        match nearest(name, allowed) {
            Some(near) => format!("unknown {kind} `{name}` (did you mean `{near}`?)"),
            None => format!("unknown {kind} `{name}`"),
        }
    }
}

/// A list of names that stays readable however many there are.
pub(crate) fn some_of(names: &[&str]) -> String {
    const MOST: usize = 24;
    let shown = names.get(..MOST).unwrap_or(names).join(", ");
    match names.len().checked_sub(MOST) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// A message fit for one line of a terminal: control characters escaped, and not longer than a few lines.
fn printable(message: &str) -> String {
    const MOST: usize = 240;
    let mut line = String::new();
    for (position, character) in message.chars().enumerate() {
        if position == MOST {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_debug());
        } else {
            line.push(character);
        }
    }
    line
}

/// The allowed name closest to `name`, if it is close enough to be what was meant.
fn nearest<'a>(name: &str, allowed: &[&'a str]) -> Option<&'a str> {
    // A long name is no slip of the finger, and comparing it would take long.
    if name.len() > 64 {
        return None;
    }
    allowed
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .min()
        // A name of one letter is as near to any other: something has to be alike.
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .filter(|(distance, candidate)| *distance < candidate.len())
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_offered_only_when_near() {
        let allowed = ["delay", "step", "max-active"];
        assert_eq!(nearest("delya", &allowed), Some("delay"));
        assert_eq!(nearest("max_active", &allowed), Some("max-active"));
        assert_eq!(nearest("priority", &allowed), None);
        assert_eq!(nearest("a", &["b", "c"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), &allowed), None);
    }

    #[test]
    fn message_stays_on_one_short_line() {
        let mistake = Mistake::new(Place::START, "a\u{1b}[2J\nb");
        assert_eq!(mistake.message, "a\\u{1b}[2J\\nb");
        let mistake = Mistake::new(Place::START, "é".repeat(100_000));
        assert_eq!(mistake.message.chars().count(), 241);
    }

    #[test]
    fn error_can_be_given_the_path_of_its_file() {
        let error = Error::new(
            "a/b",
            Mistake::new(Place { line: 3, column: 7 }, "oops").allow("nothing"),
        );
        assert_eq!(error.to_string(), "a/b:3:7: oops; allowed: nothing");
        let error = error.in_file("scenarios/a/b.yaml");
        assert_eq!(
            error.to_string(),
            "scenarios/a/b.yaml:3:7: oops; allowed: nothing"
        );
        assert_eq!(
            (error.message(), error.allowed()),
            ("oops", Some("nothing"))
        );
    }
}
