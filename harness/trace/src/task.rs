// SPDX-License-Identifier: GPL-2.0-only

//! Tells the tasks of a trace apart.
//!
//! pid 0 is the idle task of each CPU: as many tasks as there are CPUs, with a call stack each.

use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;

/// What has a call stack of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// The idle task of a CPU.
    Idle {
        /// The CPU.
        cpu: u32,
    },
    /// Any other task, by its pid.
    Pid(i32),
}

impl Task {
    /// The task that a record was made in.
    #[inline]
    #[must_use]
    pub fn of(record: &Record<'_>) -> Self {
        match record.pid {
            0 => Self::Idle { cpu: record.cpu },
            pid => Self::Pid(pid),
        }
    }

    /// Its pid: 0 for every idle task.
    #[must_use]
    pub fn pid(self) -> i32 {
        match self {
            Self::Idle { .. } => 0,
            Self::Pid(pid) => pid,
        }
    }

    /// `NAME-PID` as the kernel's own traces have it: `<idle>-0`, `kworker/0:1-12`, `<...>-7` for a name that was not
    /// saved.
    #[must_use]
    pub fn label(self, names: &SavedCmdlines) -> String {
        format!("{}-{}", names.name(self.pid()), self.pid())
    }
}
