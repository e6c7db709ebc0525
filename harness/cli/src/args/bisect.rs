// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `deferinit bisect`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{Format, KernelChoice};

/// Find the commit, patch, kernel parameter or config option that made a scenario fail, or a number worse
///
/// One boot for each step, in exact mode, where no boot has to be repeated. The judge is the scenario's verdict, or with
/// --metric a number of the run, as `compare` or results.json names it. GOOD has to be good and BAD to be bad, which is
/// tested first. What does not build, or comes to no verdict, is skipped with its reason.
///
/// Commits are bisected by git, in a worktree of its own, which is gone at the end; the tree, its branches and its index
/// are not touched. Kernel parameters and config options have no order: of those that differ, a smallest set is sought
/// that is bad, by delta debugging.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["range", "patches", "command_line", "config"]))]
pub(crate) struct Bisect {
    /// Bisect the commits between these two, of --module-tree or else of --kernel-tree
    #[arg(value_name = "GOOD..BAD")]
    pub(crate) range: Option<String>,

    /// Bisect a patch series on the tree's HEAD: a mailbox, a folder of patches, or one with quilt's `series`
    #[arg(long, value_name = "DIR|MBOX")]
    pub(crate) patches: Option<PathBuf>,

    /// Bisect the kernel parameters in which two files differ, as /proc/cmdline has them
    #[arg(long, num_args = 2, value_names = ["GOOD", "BAD"])]
    pub(crate) command_line: Option<Vec<PathBuf>>,

    /// Bisect the options in which two .config files differ
    #[arg(long, num_args = 2, value_names = ["GOOD", "BAD"], conflicts_with_all = ["kernel_build", "debug_kernel"])]
    pub(crate) config: Option<Vec<PathBuf>>,

    /// The judge: a file, or a name as `deferinit list` shows it
    #[arg(long, value_name = "PATH|NAME")]
    pub(crate) scenario: String,

    /// Judge by this number instead of the verdict: what is beyond the middle between GOOD's and BAD's is bad
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,

    /// Not the middle, but this: a time, such as 1.5ms, or a count
    #[arg(long, value_name = "VALUE", requires = "metric")]
    pub(crate) threshold: Option<String>,

    /// Build the out-of-tree modules of this folder for each boot and load them, in place of the project's where the
    /// names are the same; commits and patches are those of this tree then
    #[arg(long, value_name = "DIR")]
    pub(crate) module_tree: Option<PathBuf>,

    /// Load this module before what is measured begins; give it again for more, in their order
    #[arg(long, value_name = "FILE.ko")]
    pub(crate) insmod: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) kernel: KernelChoice,

    /// Of merges, follow the first parent only
    #[arg(long, requires = "range")]
    pub(crate) first_parent: bool,

    /// Put the runs into this folder, which must not exist or be empty
    /// [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Show at most so many differences between the last good and the first bad run
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Only commits that change something in these
    #[arg(last = true, value_name = "PATHS", requires = "range")]
    pub(crate) paths: Vec<PathBuf>,
}
