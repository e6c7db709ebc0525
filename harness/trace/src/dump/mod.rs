// SPDX-License-Identifier: GPL-2.0-only

//! Exports a trace for other programs.
//!
//! In: records by time, of all CPUs together; or, for what shows call stacks, the time spent in each. Out: bytes, written
//! as they come to whatever the caller gives. Errors are those of the writer; nothing in a record is an error.
//!
//! | Module | For | What |
//! | --- | --- | --- |
//! | [`chrome`] | chrome://tracing, Perfetto, Speedscope | calls as slices, other events as instants |
//! | [`perfetto`] | Perfetto's user interface and `trace_processor` | the same, scheduling, work items joined by flows |
//! | [`json`] | programs | a line for each record |
//! | [`csv`] | tables | the same |
//! | [`folded`] | flame graph tools | self time per call stack |
//! | [`flamegraph`] | browsers | the same, drawn |
//! | [`graphviz`] | `dot` | callers and callees |
//!
//! Memory of the first four grows with tasks, functions and depth, each up to a bound; that of the last two with the
//! number of different call stacks, up to a bound.

pub mod chrome;
pub mod csv;
pub mod flamegraph;
pub mod folded;
pub mod graphviz;
pub mod json;
pub mod perfetto;

mod proto;
mod slices;

use std::io;

use serde::Serialize;

/// Takes the time spent in each call stack: what [`folded`], [`flamegraph`] and [`graphviz`] are made of.
pub trait StackSink {
    /// `frames` is the stack from its root, `self_ns` the time spent in its last frame itself, `calls` how often that was
    /// called in this stack. The same stack may come several times; what comes is added.
    ///
    /// # Errors
    /// What the writer says.
    fn stack(&mut self, frames: &[&str], self_ns: u64, calls: u64) -> io::Result<()>;
}

/// What an export of slices came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SliceTally {
    /// Records that were exported.
    pub records: u64,
    /// Calls that became a slice.
    pub slices: u64,
    /// Of those, calls whose entry is not in the trace: their start was reckoned from the kernel's duration.
    pub without_entry: u64,
    /// Of those, calls whose exit is not in the trace: they end where a call around them goes on, or with the trace.
    pub without_exit: u64,
    /// Other events.
    pub instants: u64,
    /// Work items that were joined by a flow from where they were queued to where they were executed.
    pub flows: u64,
    /// Work items that were not followed since too many were pending.
    pub refused_flows: u64,
}

impl SliceTally {
    fn count(counter: &mut u64) {
        *counter = counter.saturating_add(1);
    }
}
