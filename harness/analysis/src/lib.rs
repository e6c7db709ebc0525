// SPDX-License-Identifier: GPL-2.0-only

//! Says of everything that ran in a trace why it came when it did, what waits for what, and what another choice would
//! gain.
//!
//! In: the records of one trace, with or without a run around it. Out: jobs, their lives in segments, each with its
//! cause and the kernel's rule; a graph of them; predictions.
//! It does no I/O, reads no clock, knows no expectation, and panics on no input. What a trace does not have is named,
//! what lost records could have changed is marked, and neither is guessed.
//! Source: `kernel/time/timer.c`, `kernel/workqueue.c`, `init/main.c`, `drivers/base/dd.c`, Linux 7.3.
//!
//! The way through the crate: a [`Collector`] takes the records and makes [`Job`]s of them, an [`Analysis`] has their
//! names and their [`Segment`]s.

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

mod analysis;
mod collect;
pub mod compare;
pub mod cost;
pub mod draw;
mod events;
pub mod explain;
pub mod extract;
pub mod graph;
pub mod job;
pub mod model;
mod oracle;
pub mod repeated;
mod segment;
pub mod statistics;
mod ticks;
mod wheel;

pub use analysis::{Analysis, Beside, ItemNames, Lack, PhaseNames};
pub use collect::{Collector, Loss};
pub use job::{ItemKey, Job, JobId, Kind};
pub use oracle::{KEPT_MISSES, Miss, MissKind, WheelAccount};
pub use segment::{Segment, SegmentKind};
pub use ticks::{Ticks, tick_ns};
pub use wheel::{Bucket, Wheel};
