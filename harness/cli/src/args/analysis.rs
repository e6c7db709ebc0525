// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of the commands that say why: `explain` and those after it.

use clap::Args;

use super::Format;
use super::trace::{Input, Window};

/// Say why work came when it did: its delay, rounding, queue, worker and CPU, each with the kernel's rule
///
/// Follows every item, work, timer and initcall of a trace through its life and splits that into segments: the delay
/// that was asked for, its rounding to jiffies and to a bucket of the timer wheel, the timer's softirq, the wait for
/// max_active, for a worker, for a CPU, and what ran, slept or was preempted. Each segment has its length and why it is
/// so long.
///
/// In exact mode every timer is held against the rule of the timer wheel; one that is not deferrable and misses its
/// bucket gives exit code 100.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) input: Input,

    /// Only this one, segment by segment: an item's name or id, or a function; with the wildcards * and ?
    #[arg(value_name = "ITEM")]
    pub(crate) item: Option<String>,

    /// Works, timers and initcalls of the kernel too, not only items
    #[arg(long, conflicts_with = "item")]
    pub(crate) all: bool,

    /// Segment by segment, not a row for each
    #[arg(long)]
    pub(crate) segments: bool,

    /// At most so many, those that were latest
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Ticks a second of the kernel, where neither the run nor the trace says so
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) hz: Option<u32>,

    #[command(flatten)]
    pub(crate) window: Window,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
