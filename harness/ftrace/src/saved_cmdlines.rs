// SPDX-License-Identifier: GPL-2.0-only

//! Names tasks by their pids.
//!
//! In: the text of `saved_cmdlines`. Out: the name of a pid, as the kernel's own traces show it.
//! The kernel saves a name when a task is switched out while something is recorded, and keeps 128 of them by default;
//! a pid without a name is common.
//! Source: `saved_cmdlines_show` and `trace_find_cmdline` in `kernel/trace/trace_sched_switch.c`, Linux 7.3.

use std::collections::BTreeMap;

/// The names of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedCmdlines {
    names: BTreeMap<i32, String>,
}

impl SavedCmdlines {
    /// Reads the text of `saved_cmdlines`: `PID NAME` in each line. A line that is not like that has no name in it, and
    /// is left out; a name may have any bytes, and those that are no UTF-8 are replaced.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let names = String::from_utf8_lossy(text)
            .lines()
            .filter_map(|line| {
                let (pid, name) = line.trim_start().split_once(' ')?;
                Some((pid.parse().ok()?, name.to_owned()))
            })
            .collect();
        Self { names }
    }

    /// The name of a task: `<idle>` for pid 0, `<...>` for one that was not saved.
    #[must_use]
    pub fn name(&self, pid: i32) -> &str {
        if pid == 0 {
            return "<idle>";
        }
        self.names.get(&pid).map_or("<...>", String::as_str)
    }

    /// All names by pid.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &str)> {
        self.names.iter().map(|(pid, name)| (*pid, name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_blanks_and_are_missing_for_some() {
        let names =
            SavedCmdlines::parse(b"12 kworker/0:1-eve\n7 my prog\n\nx y\n0 swapper\n9 \xff\n");
        assert_eq!(names.name(12), "kworker/0:1-eve");
        assert_eq!(names.name(7), "my prog");
        assert_eq!(names.name(0), "<idle>");
        assert_eq!(names.name(1), "<...>");
        assert_eq!(names.name(9), "\u{fffd}");
    }
}
