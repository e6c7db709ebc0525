// SPDX-License-Identifier: GPL-2.0-only

//! Records for a program's standard input: the lines of [`crate::dump::json`], each written as it comes.
//!
//! In: records by time. Out: JSON lines. Starting the program, and ending when it no longer reads, is the caller's matter:
//! the error is [`std::io::ErrorKind::BrokenPipe`] then.

use std::io;

use crate::dump::json::{Flushing, JsonLines};
use crate::fields::Fields;

/// Writes each record to a program as it comes.
#[must_use]
pub fn to_program<W: io::Write>(stdin: W, fields: &Fields) -> JsonLines<'_, W> {
    JsonLines::new(stdin, fields, Flushing::Lines)
}
