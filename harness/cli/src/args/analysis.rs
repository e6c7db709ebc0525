// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of the commands that say why: `explain` and those after it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::trace::{Input, Window};
use super::{Format, KernelChoice};

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

/// Print what each phase of a run cost: init, CPU time by task, context switches, wake-ups, timers; and each item
///
/// Phases stand side by side, and with two of them the difference, so a run whose phases do the same work directly and
/// deferred says what deferring costs and gains. Everything on all CPUs counts, from the begin of the module's init until
/// it has returned and the last item has ended; the tracing, too.
///
/// The run has to have been recorded with `trace: { events: [sched, timer] }`.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    #[command(flatten)]
    pub(crate) input: Input,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Write what waited for what: a graph of items, works, timers and initcalls
///
/// An edge is a reason for which one job came after another: it armed, called or woke it, it had the worker, the CPU or
/// the place on the queue that the other waited for, or the plan has it before. Each job has its slack: how much later
/// it could have been without the last item being later.
///
/// This is not `deferinit trace graph`, which prints which function called which.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) input: Input,

    /// In which form
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub(crate) format: GraphFormat,

    /// All jobs of the kernel, not only items and what they waited for
    #[arg(long)]
    pub(crate) all: bool,

    /// Into this new file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) window: Window,
}

/// Forms of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For graphviz
    Dot,
    /// For programs
    Json,
    /// A picture for a browser: a row for each job, time from left to right
    Svg,
}

/// Print the chain that made everything as long as it was, with what each link costs, and each item's slack
#[derive(Debug, Args)]
pub(crate) struct CriticalPath {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Predict what another choice would gain: items of a run made direct, async or deferred, on so many CPUs
///
/// Makes a model of the run's workload from its trace: what each item runs and sleeps, its order, its queue, and what
/// init does between them. Runs that model with another choice, and says when init would return and when all would be
/// done. --search finds the choice with which init returns first; --verify boots it and shows prediction and
/// measurement side by side.
///
/// In exact mode one virtual CPU runs at a time, so work that needs CPUs gains nothing from more of them: what it would
/// gain on real ones is marked as what it is, a model only.
///
/// The run has to have been recorded with `trace: { events: [sched, timer] }`.
#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    #[command(flatten)]
    pub(crate) input: Input,

    /// Make an item direct (in init), async (async_schedule()) or deferred (work on system_dfl_wq); may be given again
    #[arg(long, value_name = "NAME=MODE")]
    pub(crate) set: Vec<String>,

    /// So many CPUs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) cpus: Option<u32>,

    /// Find the modes of all items that gain most
    #[arg(long)]
    pub(crate) search: bool,

    /// One item has to end before the other is armed; may be given again
    #[arg(long, value_name = "X,Y")]
    pub(crate) before: Vec<String>,

    /// Boot the variant, in exact mode, and show what is measured beside what was predicted
    #[arg(long)]
    pub(crate) verify: bool,

    /// Put the run of --verify into this new folder [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR", requires = "verify")]
    pub(crate) out: Option<PathBuf>,

    /// The phase [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) phase: Option<String>,

    #[command(flatten)]
    pub(crate) kernel: KernelChoice,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Compare two runs of one scenario: of two kernels, configurations or machines
///
/// On the exact clock every difference is real, and all of them are listed, by item, segment and function, the largest
/// first. On the wall clock A and B are folders of many runs each, and what differs by more than chance is listed, at a
/// level of 5 % over all numbers. Exit code 0 if there is none, 100 if there are some, 102 if the two cannot be compared:
/// another workload or trace, single runs on the wall clock, or lost records.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The folder of a run, or of an invocation with several
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,

    /// The other one
    #[arg(value_name = "B")]
    pub(crate) second: PathBuf,

    /// A run as A, on a build with an unrelated change: what moves as much between the two is marked. Give it again for
    /// more, of which each number has the one that moves it most
    #[arg(long, value_name = "RUN")]
    pub(crate) floor: Vec<PathBuf>,

    /// At most so many differences for each scenario
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Keep what runs came to in a file, and hold later runs against it
#[derive(Debug, Subcommand)]
pub(crate) enum Baseline {
    /// Write what runs came to into a file that is fit for a repository; scenarios that are in it already are replaced
    Record(BaselineFile),
    /// Hold runs against the file: exit code 0 if nothing differs, 100 if something does, 102 if a run's scenario is not
    /// in the file, or is there of another kernel, configuration, toolchain or machine
    Check(BaselineCheck),
}

#[derive(Debug, Args)]
pub(crate) struct BaselineFile {
    /// The file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Folders of runs, or of invocations with several
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BaselineCheck {
    #[command(flatten)]
    pub(crate) what: BaselineFile,

    /// At most so many differences for each scenario
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
