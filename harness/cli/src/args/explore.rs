// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `explore`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Format, KernelChoice};

/// Run a scenario under many schedules, and say which of them it does not hold under
///
/// Each seed stands for changes of what the scheduler may choose: the number of CPUs, how long an instruction takes, where
/// in a tick the work begins, the order in which items are armed, delays of functions. The scenario runs with them in exact
/// mode. A seed that fails is shrunk to the fewest of its changes that still fail, which are written as a scenario that
/// `deferinit run` runs, and is run again to see that it is the same to the last bit.
///
/// Expectations on times are not judged, since delays break them by themselves: see --timed.
#[derive(Debug, Args)]
pub(crate) struct Explore {
    /// The scenario: a file, or a name as `deferinit list` shows it
    #[arg(value_name = "PATH|NAME")]
    pub(crate) scenario: String,

    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seeds: u64,

    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) first_seed: u64,

    /// Run this seed alone, twice, and say whether both runs are the same to the last bit
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "first_seed", "keep"])]
    pub(crate) seed: Option<u64>,

    /// What seeds may change, separated by commas [default: all that the scenario allows]
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub(crate) vary: Vec<Kind>,

    /// Delay calls of this function; give it again for more [default: the functions of the scenario's trace, and those of
    /// the kernel that run its items]
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) delay_at: Vec<String>,

    /// Judge expectations on times, too
    #[arg(long)]
    pub(crate) timed: bool,

    /// Keep the folders of seeds that pass, too
    #[arg(long)]
    pub(crate) keep: bool,

    /// Run this many VMs at one time [default: the host's CPUs]
    #[arg(long, short, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Put the results into this folder, which must not exist or be empty
    /// [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Load this module before what is measured begins; give it again for more, in their order
    #[arg(long, value_name = "FILE.ko")]
    pub(crate) insmod: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) kernel: KernelChoice,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The number of CPUs
    Cpus,
    /// How long an instruction takes: 8, 16 or 32 ns
    Shift,
    /// workqueue.debug_force_rr_cpu: unbound works go to the CPUs in turns
    RrCpu,
    /// A wait of up to a tick before the work begins
    Wait,
    /// The order of a plan's items
    Order,
    /// Delays at the entry of functions
    Delays,
}

impl Kind {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Shift => "shift",
            Self::RrCpu => "rr-cpu",
            Self::Wait => "wait",
            Self::Order => "order",
            Self::Delays => "delays",
        }
    }
}
