// SPDX-License-Identifier: GPL-2.0-only

//! The arguments as they are typed.

pub(crate) mod analysis;
pub(crate) mod bisect;
pub(crate) mod explore;
pub(crate) mod live;
pub(crate) mod record;
pub(crate) mod trace;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::analysis::{Baseline, Compare, Cost, CriticalPath, Explain, Graph, WhatIf};
use self::bisect::Bisect;
use self::explore::Explore;
use self::trace::Trace;

/// Tests deferred initialisation in the Linux kernel.
///
/// Boots a kernel in a QEMU VM, loads a module that defers work in a way a scenario describes,
/// traces it with function_graph, and checks whether it happened when it should.
#[derive(Debug, Parser)]
#[command(name = "deferinit", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    every scenario passed; other commands: done
  1    a trace is cut off or damaged, or cannot be read
  2    the command line or a scenario file is not valid
  96   something that a run needs is missing (see: deferinit doctor)
  100  a scenario failed; runs that were compared differ; a timer missed its bucket
  101  the kernel or the module could not be built
  102  no scenario failed, but at least one has no verdict, or cannot be compared";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios and judge them
    Run(Run),
    /// Repeat a run from the bundle that it left, and say whether it was the same
    Replay(Replay),
    /// Open a shell in a guest, with the workload's modules and ftrace, on the wall clock
    Shell(Shell),
    /// List scenarios
    List(List),
    /// Check scenario files without running them
    Check(Check),
    Explain(Explain),
    Cost(Cost),
    Graph(Graph),
    CriticalPath(CriticalPath),
    WhatIf(Box<WhatIf>),
    Explore(Explore),
    Compare(Compare),
    #[command(subcommand)]
    Baseline(Baseline),
    Bisect(Box<Bisect>),
    /// Record a trace, or analyse one: of a run, or any trace.dat
    #[command(subcommand)]
    Trace(Trace),
    /// Fetch, build and find kernels
    #[command(subcommand)]
    Kernel(Kernel),
    /// Build the workload's module, and say what parameters it has
    #[command(subcommand)]
    Module(Module),
    /// Say what a run needs, what is missing, and how to get it
    Doctor(Doctor),
    /// Install what is missing (as root), or print the command that does
    Setup,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Scenarios: files, folders, or names as `deferinit list` shows them [default: all]
    #[arg(value_name = "PATH|NAME")]
    pub(crate) scenarios: Vec<String>,

    /// Run on this clock instead of the one each scenario names
    #[arg(long, value_enum)]
    pub(crate) clock: Option<Clock>,

    /// Run each scenario this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) repeat: u32,

    /// Run each scenario K times more, and fail it unless traces, consoles and results are the same to the last bit
    #[arg(long, value_name = "K", conflicts_with = "repeat", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) verify_determinism: Option<u32>,

    /// Run this many VMs at one time; those on the wall clock run alone [default: the host's CPUs]
    #[arg(long, short, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Say where the wall time went: build, boot, arm, run, collect, decode, judge
    #[arg(long)]
    pub(crate) timings: bool,

    /// Wait for gdb before the guest's first instruction, and say how to attach it; for one scenario, without a deadline
    #[arg(long)]
    pub(crate) gdb: bool,

    /// Put the results into this folder, which must not exist or be empty
    /// [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Load this module before what is measured begins; give it again for more, in their order
    #[arg(long, value_name = "FILE.ko")]
    pub(crate) insmod: Vec<PathBuf>,

    /// Build the out-of-tree modules of this folder and load them, in place of the project's where the names are the same
    #[arg(long, value_name = "DIR")]
    pub(crate) module_tree: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) kernel: KernelChoice,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The folder of a run that did not pass (of a boot, where its workload is built in)
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,

    /// The kernel's image, if it is not where it was any more
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,

    /// Put what the replay leaves into this folder, which must not exist or be empty
    /// [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// A machine: a file of vm/machines, without .toml
    #[arg(long, value_name = "NAME", default_value = "x86_64")]
    pub(crate) machine: String,

    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) cpus: u32,

    /// RAM, such as 512MiB [default: the machine's]
    #[arg(long, value_name = "SIZE", value_parser = crate::commands::shell::memory)]
    pub(crate) memory: Option<deferinit_scenario::Bytes>,

    /// Put a file of this machine into the guest, with the libraries it needs; give it again for more
    #[arg(long, value_name = "HOSTFILE[:GUESTPATH]")]
    pub(crate) add: Vec<String>,

    #[command(flatten)]
    pub(crate) kernel: KernelChoice,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KernelChoice {
    /// Build the kernel from this source tree, without writing into it
    #[arg(long, value_name = "DIR", conflicts_with = "kernel_build")]
    pub(crate) kernel_tree: Option<PathBuf>,

    /// Use this finished kernel build (the folder with vmlinux, .config and Module.symvers)
    #[arg(long, value_name = "DIR")]
    pub(crate) kernel_build: Option<PathBuf>,

    /// Build the kernel with checks of memory, locking and object life times (KASAN, lockdep, ..)
    #[arg(long, conflicts_with = "kernel_build")]
    pub(crate) debug_kernel: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KernelVariant {
    #[command(flatten)]
    pub(crate) kernel: KernelChoice,

    /// With the workload in its image, as scenarios with `load: built-in` need it
    #[arg(long, conflicts_with = "kernel_build")]
    pub(crate) builtin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// QEMU counts instructions: every run is the same to the nanosecond
    Exact,
    /// The host's time
    Wall,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Instead, run probes on the exact clock with 1, 2 and 4 CPUs, beside an idle and a busy host, and say whether
    /// console, trace and results are the same to the last bit
    #[arg(long)]
    pub(crate) determinism: bool,

    /// Run each probe this many times in each state of the host
    #[arg(long, value_name = "N", requires = "determinism", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) runs: u32,

    /// Also with traces of 50 MB
    #[arg(long, requires = "determinism")]
    pub(crate) long: bool,

    /// On this machine, a file in vm/machines
    #[arg(
        long,
        value_name = "NAME",
        requires = "determinism",
        default_value = "x86_64"
    )]
    pub(crate) machine: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Scenario files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kernel {
    /// Fetch the source of the default kernel
    Fetch,
    /// Build the kernel that `run` would use
    Build(KernelVariant),
    /// List what is in the cache
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print the folder of the kernel build that `run` would use
    Path {
        /// Print the folder of its source instead
        #[arg(long)]
        source: bool,
        #[command(flatten)]
        kernel: KernelVariant,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Module {
    /// Print the path of a module, built against the kernel that `run` would use
    Path {
        /// test_deferred, test_deferred_events or test_deferred_twin
        #[arg(value_name = "NAME", default_value = "test_deferred")]
        name: String,
        #[command(flatten)]
        kernel: KernelChoice,
    },
    /// Print the parameters of test_deferred, as `modinfo` has them
    Parameters {
        #[command(flatten)]
        kernel: KernelChoice,
    },
}
