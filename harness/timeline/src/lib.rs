// SPDX-License-Identifier: GPL-2.0-only

//! Turns decoded records into what happened: phases, items, the module's init and function calls.
//!
//! In: one run's records, kernel statistics, symbols, kernel log, kmemleak report and the module's own record, all
//! untrusted.
//! Out: a [`Timeline`], which is `timeline.json` (format version 1), the same bytes for the same input.
//! It does no I/O, reads no clock, knows no expectation, and panics on no input: what contradicts itself is an anomaly.
//! Source: the module's trace events and the agent's markers; `kernel/trace/`, Linux 7.3.
//!
//! The way through the crate: [`build`] feeds an [`Assembly`], which parses markers into phases and events into
//! items, pairs calls, and ends with [`Integrity`], [`find_splats`], [`parse_leaks`] and the module's own record, which
//! is held against the items.

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

mod answers;
mod assemble;
mod calls;
mod functions;
mod integrity;
mod item;
mod join;
mod leaks;
mod log;
mod marker;
mod model;
mod names;
mod phase;
mod query;
mod record;
mod reports;
mod splats;
mod stacks;
mod time;

pub use assemble::{Assembly, MAX_PHASES, Reading, Run, build, build_without_records};
pub use integrity::{CallIntegrity, CpuIntegrity, CpuStatistics, Integrity};
pub use join::join;
pub use leaks::{LeakReportError, parse_leaks};
pub use model::{
    Anomalies, Anomaly, Armed, Attempt, AttemptEnd, CommandHow, CommandSpan, Ending, Finish,
    FinishCause, FormatVersion, Function, FunctionSpan, InitSpan, Item, ItemEvent, ItemRecord,
    KEPT_ANOMALIES, KEPT_LOG_BYTES, KEPT_LOG_LINES, Leak, MAX_ITEMS, Moment, PhaseSpan, Queued,
    Returned, RoundsRecord, RoundsSpan, Timeline,
};
pub use names::demangle;
pub use query::{
    Answer, Counted, Found, KEPT_SIGHTINGS, KeyedOccasion, Occasion, Pair, Pairs, Query, Question,
    Sighting,
};
pub use reports::{
    DeepestStack, Histogram, HistogramEntry, LatencyReport, LongestLatency, ProfiledFunction,
    Reports, keeps_longest_only,
};
pub use splats::{Fault, find_splats};
pub use time::TraceNanos;
