// SPDX-License-Identifier: GPL-2.0-only

//! A workload: what one load of `test_deferred` does, and the module parameters that say so.
//!
//! In: a validated scenario. Out: plain values, and `name=value` pairs for `finit_module`.
//! Does not parse (`file`), does not validate (`lower`).
//! Source: the parameters of `module/test_deferred_main.rs`.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// The work of one load of the module: `items` items, numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Workload {
    /// The mechanism under test.
    pub mode: Mode,
    /// How the items depend on each other; `Parallel` in mode direct.
    pub arrangement: Arrangement,
    /// How many items there are, 1 to [`Workload::MAX_ITEMS`].
    pub items: u32,
    /// The delay of item 0; 0 in mode direct.
    pub delay: Nanos,
    /// What each item adds to the delay of the one before; 0 in mode direct.
    pub step: Nanos,
    /// What an item does when it runs.
    pub body: Body,
    /// The workqueue the items run on; without meaning in mode direct.
    pub queue: Queue,
    /// What arms the items; `Load` in mode direct.
    pub start: Start,
}

/// The mechanism that runs the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the module's init function, one after another, as an initcall would.
    Direct,
    /// As delayed work on a workqueue.
    Delayed,
}

/// How the items of a workload depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// All items are armed at once.
    Parallel,
    /// Item 0 is armed first, each other item by the end of the one before.
    Chain,
}

/// What an item does when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// Nothing.
    None,
    /// Keeps its CPU busy for this long.
    Spin(Nanos),
    /// Sleeps for at least this long.
    Sleep(Nanos),
}

/// A workqueue, by the names Linux 7.3 gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Queue {
    /// `system_percpu_wq`.
    SystemPercpu,
    /// `system_dfl_wq`, the unbound default.
    SystemUnbound,
    /// `system_highpri_wq`.
    SystemHighpri,
    /// `system_long_wq`.
    SystemLong,
    /// A per-CPU queue of the module's own.
    #[serde(rename_all = "kebab-case")]
    OwnPercpu {
        /// Items that may run at one time on a CPU; 0 takes the kernel's default.
        max_active: u32,
    },
    /// An unbound queue of the module's own.
    #[serde(rename_all = "kebab-case")]
    OwnUnbound {
        /// Items that may run at one time; 0 takes the kernel's default.
        max_active: u32,
    },
}

/// What arms the items of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The load of the module.
    Load,
    /// A write to the module's debugfs file, after the load.
    Trigger,
}

impl Workload {
    /// The most items a workload may have.
    pub const MAX_ITEMS: u32 = 4096;

    /// The delay item `id` is armed with; the largest duration when the sum does not fit.
    #[must_use]
    pub const fn delay_of(&self, id: u32) -> Nanos {
        // `u64::from` is not const; a u32 always fits.
        self.delay
            .saturating_add(self.step.saturating_mul(id as u64))
    }

    /// A lower bound for the time from the start of the workload to the end of its last item.
    ///
    /// Counts delays and bodies, not the kernel's own latencies, and no limit on concurrency.
    #[must_use]
    pub fn shortest_run(&self) -> Nanos {
        let items = u64::from(self.items);
        let body = self.body.duration();
        match (self.mode, self.arrangement) {
            (Mode::Direct, _) => body.saturating_mul(items),
            (Mode::Delayed, Arrangement::Parallel) => self
                .delay_of(self.items.saturating_sub(1))
                .saturating_add(body),
            (Mode::Delayed, Arrangement::Chain) => {
                let steps = items.saturating_mul(items.saturating_sub(1)) / 2;
                self.delay
                    .saturating_add(body)
                    .saturating_mul(items)
                    .saturating_add(self.step.saturating_mul(steps))
            }
        }
    }

    /// Every parameter `test_deferred` takes, in the order of its documentation.
    #[must_use]
    pub fn module_parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("items", self.items.to_string()),
            ("mode", self.mode.as_str().to_owned()),
            ("arrangement", self.arrangement.as_str().to_owned()),
            ("delay_ns", self.delay.0.to_string()),
            ("step_ns", self.step.0.to_string()),
            ("body", self.body.as_str().to_owned()),
            ("body_ns", self.body.duration().0.to_string()),
            ("queue", self.queue.as_str().to_owned()),
            ("max_active", self.queue.max_active().to_string()),
            ("start", self.start.as_str().to_owned()),
        ]
    }
}

impl Mode {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Delayed => "delayed",
        }
    }
}

impl Arrangement {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Chain => "chain",
        }
    }
}

impl Body {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Spin(_) => "spin",
            Self::Sleep(_) => "sleep",
        }
    }

    /// How long the body lasts by itself.
    #[must_use]
    pub const fn duration(self) -> Nanos {
        match self {
            Self::None => Nanos(0),
            Self::Spin(duration) | Self::Sleep(duration) => duration,
        }
    }
}

impl Queue {
    /// The largest max_active the kernel takes: `WQ_MAX_ACTIVE`, `include/linux/workqueue.h`, Linux 7.3.
    pub const MAX_ACTIVE: u32 = 2048;

    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SystemPercpu => "system-percpu",
            Self::SystemUnbound => "system-unbound",
            Self::SystemHighpri => "system-highpri",
            Self::SystemLong => "system-long",
            Self::OwnPercpu { .. } => "own-percpu",
            Self::OwnUnbound { .. } => "own-unbound",
        }
    }

    /// The limit of an own queue; 0, the kernel's default, for every other.
    #[must_use]
    pub const fn max_active(self) -> u32 {
        match self {
            Self::OwnPercpu { max_active } | Self::OwnUnbound { max_active } => max_active,
            Self::SystemPercpu | Self::SystemUnbound | Self::SystemHighpri | Self::SystemLong => 0,
        }
    }
}

impl Start {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Trigger => "trigger",
        }
    }
}
