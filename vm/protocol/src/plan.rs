// SPDX-License-Identifier: GPL-2.0-only

//! What the agent is to do.

use serde::{Deserialize, Serialize};

use crate::Trace;

/// A whole run: arm, go through the phases, stop, send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`crate::VERSION`].
    pub version: u32,
    /// How long all phases may take together, in nanoseconds of guest time.
    pub deadline_ns: u64,
    /// Modules to load before anything is armed, by their paths in the guest, which end with
    /// the module's name and `.ko`, in this order.
    pub modules: Vec<String>,
    /// What to record.
    pub trace: Trace,
    /// Whether the workload is in the kernel's image: then there is one phase, which is the boot, with nothing to load
    /// or unload, and what it records is recorded from the boot on.
    pub is_built_in: bool,
    /// What to do, in this order.
    pub phases: Vec<Phase>,
    /// Whether to look for leaked memory after the last phase; the kernel must run with
    /// `kmemleak=on`.
    pub leak_scan: bool,
}

impl Plan {
    /// Whether any phase loads the module; then it lies in the initramfs, together with the owner of its events.
    pub fn loads_module(&self) -> bool {
        !self.is_built_in && self.phases.iter().any(|phase| phase.command.is_none())
    }

    /// Whether any phase runs a command; then the shell lies in the initramfs.
    pub fn runs_command(&self) -> bool {
        self.phases.iter().any(|phase| phase.command.is_some())
    }
}

/// One load of the module, or one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The name, as in the scenario.
    pub name: String,
    /// The module's parameters, as `name=value` separated by blanks.
    pub parameters: String,
    /// Whether the items are armed by a write to the module's `trigger` file.
    pub trigger: bool,
    /// When to unload.
    pub until: Until,
    /// How long to wait before the phase begins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_ns: u64,
    /// Many loads instead of the one above, each until done, with nothing recorded; empty where it is one.
    pub rounds: Vec<Round>,
    /// What is run instead of loading the module; the phase ends with it.
    pub command: Option<Command>,
}

/// A plan with nothing to wait for is the same, byte for byte, as one that cannot wait: the guest's time goes by its length.
fn is_zero(ns: &u64) -> bool {
    *ns == 0
}

impl Phase {
    /// A phase that runs a command.
    pub fn of_command(name: &str, command: Command) -> Self {
        Self {
            name: name.to_owned(),
            parameters: String::new(),
            trigger: false,
            until: Until::Done,
            wait_ns: 0,
            rounds: Vec::new(),
            command: Some(command),
        }
    }
}

/// A program of the guest. It finds `/proc`, `/sys`, `/dev`, `/tmp` and tracefs mounted, busybox's applets in `/bin`,
/// loopback not yet up, nothing to read on its standard input, and runs as root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// The program, by its path or as found in `/bin`, and its arguments.
    Arguments(Vec<String>),
    /// A script for busybox's shell.
    Script(String),
}

/// One of many loads of the module in one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// The module's parameters, as `name=value` separated by blanks.
    pub parameters: String,
    /// Whether the items are armed by a write to the module's `trigger` file.
    pub trigger: bool,
}

/// When a phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Once every item has ended.
    Done,
    /// After this many nanoseconds of guest time.
    Hold(u64),
}
