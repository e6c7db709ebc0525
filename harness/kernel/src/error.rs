// SPDX-License-Identifier: GPL-2.0-only

//! What can go wrong between a machine and a kernel that is ready to boot, and whose fault it is.
//!
//! In: facts from the other modules. Out: one `Error` with parts, and its `Class`.
//! Does not decide exit codes: the command line maps `Class` to them.
//! Source: none outside this crate.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Dropped;
use crate::version::Version;

/// Who has to act: the person who set the machine up, or the one who wrote what was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The machine, its network, its disk or the given folders do not allow a run.
    Setup,
    /// Sources, configuration or module do not build.
    Build,
    /// The user asked to stop.
    Interrupted,
}

/// Every way in which a kernel or a module is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Requirements are not met and this crate cannot meet them itself.
    #[error("missing: {}{}", names.join(", "), advice(command.as_deref()))]
    Missing {
        /// The requirements' names.
        names: Vec<String>,
        /// The command that mends it, to be run as root.
        command: Option<String>,
    },
    /// The disk is too full for the next step.
    #[error(
        "{what} needs {needed_mib} MiB but {} has {free_mib} MiB free: free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
        path.display()
    )]
    NoSpace {
        /// The step.
        what: &'static str,
        /// Where it writes.
        path: PathBuf,
        /// What it needs, in MiB.
        needed_mib: u64,
        /// What is there, in MiB.
        free_mib: u64,
    },
    /// The machine's apt sources name no archive that `kernels.toml` knows.
    #[error(
        "the apt sources of this machine name none of the archives {}: give a kernel with --kernel-tree or --kernel-build",
        known.join(", ")
    )]
    NoArchive {
        /// The known archives' names.
        known: Vec<String>,
    },
    /// No suite could be read: no network, or a proxy that is not set up.
    #[error(
        "no package index could be fetched from {site} (suites {}): {reason}; check the network and run again",
        suites.join(", ")
    )]
    Unreachable {
        /// The archive, as the machine's sources name it.
        site: String,
        /// The suites that were tried.
        suites: Vec<String>,
        /// The client's own words.
        reason: String,
    },
    /// The suites were read but hold no kernel that is new enough.
    #[error(
        "no suite of {} holds a released kernel source of {oldest} or newer (seen: {}): give a kernel with --kernel-tree or --kernel-build",
        suites.join(", "),
        if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }
    )]
    NoSource {
        /// The suites that were read.
        suites: Vec<String>,
        /// The oldest supported kernel.
        oldest: Version,
        /// The versions that were there.
        seen: Vec<String>,
    },
    /// A download did not end well; what arrived stays for the next run to go on with.
    #[error(
        "the download of {what} failed: {reason}; check the network and run again, it goes on from there"
    )]
    Download {
        /// The package.
        what: String,
        /// The client's own words.
        reason: String,
    },
    /// A folder given as a kernel tree is none.
    #[error("{} is not a Linux kernel source tree: {why}", dir.display())]
    NotAKernel {
        /// The folder.
        dir: PathBuf,
        /// What is not as in a kernel tree.
        why: String,
    },
    /// A kernel that lacks the interfaces the module is written against.
    #[error("{} is Linux {found} but the module needs {oldest} or newer", dir.display())]
    TooOld {
        /// The tree or build.
        dir: PathBuf,
        /// Its version.
        found: Version,
        /// The oldest supported one.
        oldest: Version,
    },
    /// A tree that was built in place: kbuild refuses to build it elsewhere.
    #[error(
        "{} is not clean, it holds {found}: run `make mrproper` in it, give a clean `git worktree`, or give it with --kernel-build if it is built",
        dir.display()
    )]
    TreeNotClean {
        /// The tree.
        dir: PathBuf,
        /// What a build left in it.
        found: &'static str,
    },
    /// A folder given as a finished build lacks a part of one.
    #[error("{} is not a finished kernel build: {why}", dir.display())]
    NotABuild {
        /// The folder.
        dir: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A finished build was configured without what a run needs.
    #[error("the kernel in {} lacks what a run needs:\n{}", dir.display(), lines(options))]
    OptionsMissing {
        /// The build.
        dir: PathBuf,
        /// The options.
        options: Vec<Dropped>,
    },
    /// Kconfig did not take options of the fragments.
    #[error("the kernel's configuration dropped {} wanted option(s):\n{}", options.len(), lines(options))]
    OptionsDropped {
        /// The options.
        options: Vec<Dropped>,
    },
    /// The module's Kbuild cannot be a part of the kernel's image.
    #[error(
        "{} names no object in obj-y when it is run with TEST_DEFERRED_BUILTIN=y, so there is nothing to build in",
        kbuild.display()
    )]
    NothingBuiltIn {
        /// The Kbuild.
        kbuild: PathBuf,
    },
    /// A finished build was made by a compiler that is not on this machine; Rust metadata is not portable.
    #[error("{} was built by `{wanted}` but this machine has {}", dir.display(), found.join(", "))]
    OtherCompiler {
        /// The build.
        dir: PathBuf,
        /// The compiler that built it.
        wanted: String,
        /// The compilers that are here.
        found: Vec<String>,
    },
    /// A fragment is not what a fragment should be.
    #[error("{}:{line}: {message}", file.display())]
    Fragment {
        /// The fragment.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// A compiler, make or package client failed.
    #[error("{what} failed ({status}); the log is {}\n{excerpt}", log.display())]
    Failed {
        /// What was being done.
        what: String,
        /// How the program ended.
        status: String,
        /// The whole log.
        log: PathBuf,
        /// The log's telling lines: errors first, then its end.
        excerpt: String,
        /// Whether a setup step or a build failed.
        class: Class,
    },
    /// A program did not end in time and was killed.
    #[error("{what} did not end within {} s and was stopped{}", after.as_secs(), see(log.as_ref()))]
    Late {
        /// What was being done.
        what: String,
        /// The deadline.
        after: Duration,
        /// The log, if there is one.
        log: Option<PathBuf>,
        /// Whether a setup step or a build was late.
        class: Class,
    },
    /// Another run held a lock for longer than any build takes.
    #[error("waited {} s for another run that is {what} (lock {})", after.as_secs(), lock.display())]
    LockedOut {
        /// What the other run does.
        what: String,
        /// How long was waited.
        after: Duration,
        /// The lock file.
        lock: PathBuf,
    },
    /// The user asked to stop.
    #[error("interrupted during {what}; the next run goes on from there")]
    Interrupted {
        /// What was being done.
        what: String,
    },
    /// A file or a program could not be used.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Error {
    /// Who has to act.
    pub fn class(&self) -> Class {
        match self {
            Self::Failed { class, .. } | Self::Late { class, .. } => *class,
            Self::Interrupted { .. } => Class::Interrupted,
            Self::OptionsDropped { .. } | Self::Fragment { .. } | Self::NothingBuiltIn { .. } => {
                Class::Build
            }
            Self::Missing { .. }
            | Self::NoSpace { .. }
            | Self::NoArchive { .. }
            | Self::Unreachable { .. }
            | Self::NoSource { .. }
            | Self::Download { .. }
            | Self::NotAKernel { .. }
            | Self::TooOld { .. }
            | Self::TreeNotClean { .. }
            | Self::NotABuild { .. }
            | Self::OptionsMissing { .. }
            | Self::OtherCompiler { .. }
            | Self::LockedOut { .. }
            | Self::Other(_) => Class::Setup,
        }
    }

    /// Whether it is the fault of a source or its configuration, so that another state of them may do.
    pub fn is_of_source(&self) -> bool {
        match self {
            Self::TooOld { .. } | Self::OptionsMissing { .. } | Self::NotAKernel { .. } => true,
            other => other.class() == Class::Build,
        }
    }
}

fn advice(command: Option<&str>) -> String {
    command.map_or_else(
        || "; `deferinit doctor` says what each is for".to_owned(),
        |command| format!("\nrun as root: {command}"),
    )
}

fn lines(options: &[Dropped]) -> String {
    let lines: Vec<String> = options.iter().map(|option| format!("  {option}")).collect();
    lines.join("\n")
}

fn see(log: Option<&PathBuf>) -> String {
    log.map_or_else(String::new, |log| format!("; the log is {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, class: Class, parts: &[&str]) {
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in `{text}`");
        }
        assert_eq!(error.class(), class, "{text}");
    }

    #[test]
    fn missing_requirements_name_the_command_for_root() {
        let error = Error::Missing {
            names: vec!["flex".into(), "bison".into()],
            command: Some("apt-get install flex bison".into()),
        };
        check(
            &error,
            Class::Setup,
            &["flex, bison", "run as root: apt-get install flex bison"],
        );
    }

    #[test]
    fn a_full_disk_names_both_numbers_and_a_way_out() {
        let error = Error::NoSpace {
            what: "a kernel build",
            path: "/c".into(),
            needed_mib: 1500,
            free_mib: 20,
        };
        check(
            &error,
            Class::Setup,
            &["1500 MiB", "20 MiB", "/c", "XDG_CACHE_HOME"],
        );
    }

    #[test]
    fn an_old_kernel_names_both_versions() {
        let error = Error::TooOld {
            dir: "/k".into(),
            found: Version::parse("6.1.4").expect("a version"),
            oldest: Version::parse("7.2").expect("a version"),
        };
        check(&error, Class::Setup, &["/k is Linux 6.1.4", "7.2 or newer"]);
    }

    #[test]
    fn a_used_tree_names_the_ways_to_clean_it() {
        let error = Error::TreeNotClean {
            dir: "/k".into(),
            found: ".config",
        };
        check(
            &error,
            Class::Setup,
            &[".config", "make mrproper", "git worktree", "--kernel-build"],
        );
    }

    #[test]
    fn a_failed_build_shows_the_excerpt_and_the_log() {
        let error = Error::Failed {
            what: "the kernel build".into(),
            status: "exit status: 2".into(),
            log: "/b/build.log".into(),
            excerpt: "a.c:1: error: no".into(),
            class: Class::Build,
        };
        check(
            &error,
            Class::Build,
            &["exit status: 2", "/b/build.log", "a.c:1: error: no"],
        );
    }

    #[test]
    fn no_network_is_setup_and_keeps_the_client_s_words() {
        let error = Error::Unreachable {
            site: "http://mirror.example/debian".into(),
            suites: vec!["sid".into()],
            reason: "Could not resolve".into(),
        };
        check(
            &error,
            Class::Setup,
            &[
                "mirror.example",
                "sid",
                "Could not resolve",
                "check the network",
            ],
        );
    }
}
