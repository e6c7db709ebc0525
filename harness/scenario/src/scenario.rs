// SPDX-License-Identifier: GPL-2.0-only

//! A scenario: the machine, what is traced, the phases to run, and what is expected of them.
//!
//! In: made by [`crate::parse`], which validates it. Out: plain values; as JSON this is plan.json.
//! Does not parse (`file`), does not validate (`lower`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Expectation, Nanos, Show, Trace, Workload};

/// One scenario with every default filled in.
///
/// `Deserialize` reads plan.json, which is written from a validated scenario; it does not validate again.
/// Scenario files go through [`crate::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The path below `scenarios/` without `.yaml`, such as `delayed-work/accuracy`.
    pub name: String,
    /// One sentence: the fact that holds when the scenario passes.
    pub summary: String,
    /// How the guest's time runs.
    pub clock: Clock,
    /// The guest.
    pub machine: Machine,
    /// What is recorded.
    pub trace: Trace,
    /// Where the kernel has the workload from, in all phases.
    pub load: Load,
    /// One or more loads of the module, in order; names are unique.
    pub phases: Vec<Phase>,
    /// Guest time the whole plan may take.
    pub deadline: Nanos,
    /// Whether expectations on times are judged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub times: Times,
    /// What must hold; never empty.
    pub expect: Vec<Expectation>,
    /// What the reader of a run wants to see after it.
    pub show: Vec<Show>,
}

/// How the guest's time runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// By instructions executed: the same in every run, to the nanosecond.
    #[default]
    Exact,
    /// By the host's clock.
    Wall,
}

/// What becomes of expectations on times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// They are judged.
    #[default]
    Judged,
    /// They are measured only: the scenario has delays on purpose, which would break them by themselves.
    Ignored,
}

/// The guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Machine {
    /// The name of a file in `vm/machines/`, without `.toml`.
    pub name: String,
    /// Virtual CPUs, 1 to [`Machine::MAX_CPUS`].
    pub cpus: u32,
    /// Guest memory, where it is not the machine file's.
    pub memory: Option<Bytes>,
    /// Kernel parameters besides the harness's own.
    pub command_line: Vec<String>,
    /// The lines of a boot configuration, `key` or `key = value`.
    pub boot_config: Vec<String>,
    /// Devices besides the machine file's, as QEMU's `-device` takes them.
    pub devices: Vec<String>,
    /// Programs and files of the host that commands find in the guest, as `HOSTFILE` or `HOSTFILE:GUESTPATH`.
    pub add: Vec<String>,
    /// On the exact clock an instruction takes 2^shift ns; where it is not the machine file's. At most
    /// [`Machine::MAX_SHIFT`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub shift: Option<u8>,
}

/// One load of the module with one workload, and its unload; or one boot with the workload in the kernel; or a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phase {
    /// Lower-case letters, digits and `-`; `main` when the file names none.
    pub name: String,
    /// What the module does; where there are rounds, in the first one; where there is a command, nothing.
    pub workload: Workload,
    /// When the module is unloaded.
    pub until: Until,
    /// How long the guest waits before it begins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait: Nanos,
    /// The loads of a phase that has many, each with its own workload.
    pub rounds: Option<Rounds>,
    /// A script for the guest's shell, instead of the module.
    pub command: Option<String>,
}

/// Many loads and unloads in one phase, each until done, with workloads that are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rounds {
    /// How many.
    pub count: u32,
    /// The seed of the first one's workload; each of the others has the next.
    pub seed: u64,
}

/// Where the kernel has the workload from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// A module that is loaded.
    #[default]
    Module,
    /// The kernel's image: each phase is a boot of its own, and its items are armed by initcalls.
    BuiltIn,
}

/// When a phase's module is unloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Once every item has ended.
    #[default]
    Done,
    /// After this much guest time, whatever is still pending.
    Hold(Nanos),
}

impl Load {
    /// The name in scenario files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::BuiltIn => "built-in",
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rounds {
    /// The fewest rounds of a phase: one as warm-up, and one that counts.
    pub const MIN: u32 = 2;

    /// The most rounds of a phase.
    pub const MAX: u32 = 10_000;

    /// The workload of each round, in their order.
    pub fn workloads(self) -> impl Iterator<Item = Workload> {
        (0..self.count).map(move |round| Workload::random(self.seed.wrapping_add(round.into())))
    }
}

/// What is added to the name of a phase that is gone through a second time.
const AGAIN: &str = "-again";

impl Scenario {
    /// The same with each phase twice, one right after the other, and what is expected of it as well: what the first
    /// one leaves behind, the second one finds. Rounds do so among themselves: there are a tenth of them instead.
    #[must_use]
    pub fn twice(&self) -> Self {
        let again = |name: &str| format!("{name}{AGAIN}");
        let phases = self.phases.iter().flat_map(|phase| {
            let second = phase.rounds.is_none().then(|| Phase {
                name: again(&phase.name),
                ..phase.clone()
            });
            let rounds = phase.rounds.map(|rounds| Rounds {
                count: (rounds.count / 10).max(Rounds::MIN),
                ..rounds
            });
            let first = Phase {
                rounds,
                ..phase.clone()
            };
            [Some(first), second].into_iter().flatten()
        });
        let expect = self.expect.iter().flat_map(|expectation| {
            let repeated = expectation.phase().filter(|name| {
                let phase = self.phase(name);
                phase.is_some_and(|phase| phase.rounds.is_none())
            });
            let second = repeated.map(|name| expectation.in_phase(&again(name)));
            [Some(expectation.clone()), second].into_iter().flatten()
        });
        Self {
            phases: phases.collect(),
            expect: expect.collect(),
            deadline: self.deadline.saturating_mul(2),
            ..self.clone()
        }
    }

    /// Whether the workload is in the kernel's image, so that each phase is a boot.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.load == Load::BuiltIn
    }

    /// Whether a phase runs a command.
    #[must_use]
    pub fn has_command(&self) -> bool {
        self.phases.iter().any(|phase| phase.command.is_some())
    }

    /// The phase with this name.
    #[must_use]
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

impl Machine {
    /// The most CPUs: `CONFIG_NR_CPUS` in `kbuild/config`.
    pub const MAX_CPUS: u32 = 16;

    /// The largest shift of the exact clock: an instruction then takes 64 ns. QEMU takes more, with which a guest has hardly
    /// done with one tick when the next one comes.
    pub const MAX_SHIFT: u8 = 6;

    /// The most bytes of further kernel parameters: half of `COMMAND_LINE_SIZE` of x86 (`asm/setup.h`, Linux 7.3).
    pub const MAX_COMMAND_LINE: usize = 1024;
}

/// Keeps what a file does not say out of plan.json, where the key is younger than the format.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
