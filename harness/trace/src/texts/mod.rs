// SPDX-License-Identifier: GPL-2.0-only

//! Parses the texts in which the kernel itself sums up: what it does not record in the ring buffer.
//!
//! In: a file of tracefs, as it was read. Out: its values, or an [`Error`] that names line and what was expected there.
//! Names of tasks may be any bytes; those that are no UTF-8 are replaced in what comes out.

pub mod function_profile;
pub mod hist;
pub mod latency;
pub mod stack;

/// Why a text is not what the kernel writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
pub struct Error {
    /// The line's number, from 1; one more than there are if the text ends too early.
    pub line: usize,
    /// What may stand there.
    pub expected: &'static str,
    /// What does, or its start.
    pub found: String,
}

/// The lines of a text, one after the other.
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    /// Number of the line that [`Self::next`] gave last.
    number: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            number: 0,
        }
    }

    /// The next line, without its newline.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.peek()?;
        self.rest = self
            .rest
            .get(line.len().saturating_add(1)..)
            .unwrap_or_default();
        self.number = self.number.saturating_add(1);
        Some(line)
    }

    /// The line that [`Self::next`] would give.
    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.rest.split(|byte| *byte == b'\n').next()
    }

    /// The next line must be there, and be a certain one: `read` gives its values.
    pub(crate) fn expect<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, Error> {
        match self.next() {
            Some(line) => read(line).ok_or_else(|| self.error(expected, line)),
            None => Err(Error {
                line: self.number.saturating_add(1),
                expected,
                found: String::new(),
            }),
        }
    }

    /// That the last line is none that was expected.
    pub(crate) fn error(&self, expected: &'static str, line: &[u8]) -> Error {
        Error {
            line: self.number,
            expected,
            found: lossy(line).chars().take(120).collect(),
        }
    }
}

/// A text; what is no UTF-8 in it is replaced.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Splits at the first appearance of `between`.
pub(crate) fn split_once<'a>(bytes: &'a [u8], between: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(between.len().max(1))
        .position(|window| window == between)?;
    Some((
        bytes.get(..at)?,
        bytes.get(at.saturating_add(between.len())..)?,
    ))
}

/// Splits at the last appearance of `between`.
pub(crate) fn rsplit_once<'a>(bytes: &'a [u8], between: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(between.len().max(1))
        .rposition(|window| window == between)?;
    Some((
        bytes.get(..at)?,
        bytes.get(at.saturating_add(between.len())..)?,
    ))
}

/// A number, blanks around it.
pub(crate) fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}
