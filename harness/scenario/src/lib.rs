// SPDX-License-Identifier: GPL-2.0-only

//! Scenario files: parsing, validation, and the plan they stand for.
//!
//! In: the bytes of one file under `scenarios/`. Out: a [`Scenario`] with every default filled in, or an [`Error`]
//! that names line, column, and what is allowed there. As JSON, a [`Scenario`] is a run's plan.json.
//! Pure: no I/O, no clock, no panic on any input. Runs nothing and judges nothing.
//!
//! ```
//! use deferinit_scenario::{Action, Nanos, parse};
//!
//! let file = b"
//! summary: Delayed work runs no earlier than asked.
//! workload:
//!   mode: delayed
//!   items: 4
//!   delay: 50ms
//!   body: { spin: 200us }
//! expect:
//!   - lateness: { of: started, min: 0ms }
//! ";
//! let scenario = parse("delayed-work/example", file)?;
//! let item = scenario.phases[0].workload.work_of(0).expect("item 0 of 4");
//! assert_eq!(item.body, [Action::Spin(Nanos(200_000))]);
//!
//! let misspelt = b"
//! summary: Delayed work runs no earlier than asked.
//! workload: { mode: delayed, itmes: 4 }
//! ";
//! let error = parse("delayed-work/example", misspelt).unwrap_err().in_file("example.yaml");
//! assert!(error.to_string().starts_with("example.yaml:3:28: unknown key `itmes` (did you mean `items`?); allowed: "));
//! # Ok::<(), deferinit_scenario::Error>(())
//! ```
//!
//! # The file
//!
//! Every scalar is taken as the text it is written as: durations and sizes always carry a unit, and `yes`, `0x10`
//! or `1e3` mean nothing special. Anchors, aliases, merge keys and tags are refused.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `summary` | one sentence: what holds when the scenario passes | required |
//! | `clock` | `exact`, `wall` | `exact` |
//! | `machine` | `name`, `cpus`, `memory`, `command-line`, `boot-config`, `devices`, `add` | `x86_64`, 1, the machine file's, none |
//! | `trace` | the tracer, what it is narrowed to, events: see [`Trace`] | function_graph on `deferred_*` |
//! | `deadline` | guest time the whole plan may take | `60s` |
//! | `workload`, `until` | the only phase, `main`: see [`Workload`] and [`Until`] | `until: done` |
//! | `command` | instead of these, a script for the guest's shell | |
//! | `phases` | instead of these, a list of `name`, `workload`, `until`, `command` | |
//! | `expect` | a list of expectations, each one key: see [`Expectation`] | required |
//! | `show` | a list of what the run shows afterwards: see [`Show`] | none |
//! | `vary` | another schedule of the same: `cpus`, `shift`, `debug-force-rr-cpu`, `wait`, `order`, `delays`, `times` | none |
//!
//! A `workload` is a number of items that are all alike, see [`Uniform`], or a `plan` of items with names, see
//! [`PlannedItem`]; either may have `queues`, see [`OwnQueue`], and `start`. What the module would refuse, or what
//! would never end where its phase waits for the end, is a mistake.

#![forbid(unsafe_code)]

mod endings;
mod errno;
mod error;
mod expectation;
mod file;
mod graph;
mod lower;
mod parameters;
mod random;
mod rules;
mod scenario;
mod syntax;
mod trace;
mod units;
mod workload;
mod yaml;

pub use errno::Errno;
pub use error::{Error, Place};
pub use expectation::*;
pub use random::Random;
pub use scenario::*;
pub use trace::*;
pub use units::{Bytes, Nanos, Percentile, UnitError};
pub use workload::*;

use error::Mistake;

/// The most bytes a scenario file may have: 1 MiB. Callers read one byte more at most.
pub const MAX_BYTES: usize = 1 << 20;

/// Reads a scenario from the bytes of its file.
///
/// `name` becomes the scenario's name and stands for the file in errors; [`Error::in_file`] puts a path in its place.
///
/// # Errors
///
/// The first mistake found in the file: it is too large, empty, no UTF-8 or no YAML, or it breaks a rule of scenario
/// files. Takes well under a second for every input.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Scenario, Error> {
    text(bytes)
        .and_then(yaml::read)
        .and_then(|file| lower::scenario(name, file))
        .map_err(|mistake| Error::new(name, mistake))
}

/// The text of a file that is small enough, UTF-8, and not empty.
fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    if bytes.len() > MAX_BYTES {
        let message = "the file is larger than any scenario";
        return Err(Mistake::new(Place::START, message).allow(format!("at most {MAX_BYTES} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        Mistake::new(end_of(valid), "the file is not UTF-8 from here on").allow("UTF-8 text")
    })?;
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_blank) {
        let message = "the file holds no scenario";
        return Err(Mistake::new(Place::START, message).allow("summary, workload, expect and more"));
    }
    Ok(text)
}

/// The place just behind some valid text.
fn end_of(valid: &[u8]) -> Place {
    let text = String::from_utf8_lossy(valid);
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    let lines = text.bytes().filter(|byte| *byte == b'\n').count();
    let columns = last_line.chars().count();
    Place {
        line: u64::try_from(lines).map_or(u64::MAX, |count| count.saturating_add(1)),
        column: u64::try_from(columns).map_or(u64::MAX, |count| count.saturating_add(1)),
    }
}
