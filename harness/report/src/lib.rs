// SPDX-License-Identifier: GPL-2.0-only

//! Renders judged runs: a table for the terminal, `results.json`, `junit.xml` and `results.ktap`.
//!
//! In: one [`RunResult`] per run. Out: text, files ([`write()`]), and the exit code that follows from
//! the verdicts ([`exit_code`]).
//! Decides nothing: verdicts, their reasons and all measurements come as they are from
//! `deferinit-check`. Prints nothing.
//! Source of the formats: `docs/results.md`.

#![forbid(unsafe_code)]

mod detail;
mod exit;
mod figures;
mod files;
mod json;
mod junit;
mod ktap;
mod model;
mod spread;
mod table;
mod terminal;
mod text;
mod timings;

pub use exit::{FAILED, PASSED, UNRESOLVED, exit_code};
pub use files::{JSON_FILE, JUNIT_FILE, KTAP_FILE, write};
pub use json::{FORMAT_VERSION, json};
pub use junit::junit;
pub use ktap::ktap;
pub use model::{FunctionFigures, Repetition, RunResult, guest_nanoseconds};
pub use table::{columns, table};
pub use terminal::{Colour, Terminal};
pub use timings::{Timings, timings};
