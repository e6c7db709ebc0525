// SPDX-License-Identifier: GPL-2.0-only

//! Answers questions about a trace: any one that `deferinit-ftrace` can decode, whoever made it.
//!
//! In: records by time, one after the other, with the symbols and task names that belong to them. Out: values, and
//! texts written to whatever the caller gives. It keeps no record: what it needs grows with the number of functions,
//! tasks and depths, not with that of records.
//! It does no I/O of its own, reads no clock, knows no scenario, item or run, and panics on no input.
//! Source: `kernel/trace/`, Linux 7.3.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod calls;
pub mod diff;
pub mod dump;
pub mod durations;
pub mod events;
pub mod expression;
pub mod fields;
pub mod functions;
pub mod glob;
pub mod graph;
pub mod names;
pub mod replay;
pub mod report;
pub mod script;
pub mod task;
pub mod texts;

mod addresses;
mod histogram;
#[cfg(test)]
mod made;
mod numbers;
pub mod text;
