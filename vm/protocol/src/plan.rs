// SPDX-License-Identifier: GPL-2.0-only

//! What the agent is to do.

use serde::{Deserialize, Serialize};

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

/// What ftrace records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Globs of the functions that function_graph records, in the kernel and in the module.
    pub functions: Vec<String>,
    /// Events, as `system` or `system:event`.
    pub events: Vec<String>,
    /// How many KiB of buffer each CPU gets where the instance is not persistent.
    pub buffer_kib_per_cpu: u64,
}

/// One load of the module.
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
    /// Many loads instead of the one above, each until done, with nothing recorded; empty where it is one.
    pub rounds: Vec<Round>,
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
