// SPDX-License-Identifier: GPL-2.0-only

//! How long the host kept QEMU waiting for a CPU.
//!
//! In: a process id, again and again while the process is there. Out: the time that its threads were ready to run and did
//! not, added up: on the wall clock a guest may have stood still for as long, without a fault of its own.
//! Source: `Documentation/scheduler/sched-stats.rst`, Linux 7.3: the second field of `/proc/<pid>/task/<tid>/schedstat`,
//! in nanoseconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The waits of a process.
#[derive(Debug)]
pub(crate) struct HostWait {
    tasks: PathBuf,
    /// By thread: one that has ended is gone from `/proc`.
    waited_ns: BTreeMap<String, u64>,
}

impl HostWait {
    /// Of a process that nothing is known of yet.
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            tasks: PathBuf::from(format!("/proc/{pid}/task")),
            waited_ns: BTreeMap::new(),
        }
    }

    /// Looks at its threads as they are now.
    pub(crate) fn look(&mut self) {
        let threads = fs::read_dir(&self.tasks).into_iter().flatten().flatten();
        for thread in threads {
            let stat = fs::read_to_string(thread.path().join("schedstat")).ok();
            let waited = stat.as_deref().and_then(waited);
            if let (Some(waited), Ok(id)) = (waited, thread.file_name().into_string()) {
                self.waited_ns.insert(id, waited);
            }
        }
    }

    /// All of it, as seen last; `None` on a kernel that does not count it.
    pub(crate) fn total(&self) -> Option<Duration> {
        let total = self.waited_ns.values().copied().reduce(u64::saturating_add);
        total.map(Duration::from_nanos)
    }
}

/// The second of three numbers.
fn waited(schedstat: &str) -> Option<u64> {
    let mut fields = schedstat.split_whitespace();
    let (_ran, waited) = (fields.next()?, fields.next()?);
    waited.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_that_share_a_cpu_wait_for_it() {
        assert_eq!(waited("218503961 132319798 969\n"), Some(132_319_798));
        assert_eq!(waited("218503961\n"), None);
        let mut wait = HostWait::of(std::process::id());
        assert_eq!(wait.total(), None);
        wait.look();
        let before = wait.total().expect("this kernel counts it");
        // More than there are CPUs, for longer than a turn is.
        let count = thread::available_parallelism().map_or(8, |cpus| cpus.get() * 4);
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    let begin = std::time::Instant::now();
                    while begin.elapsed() < Duration::from_millis(300) {}
                });
            }
            thread::park_timeout(Duration::from_millis(200));
            wait.look();
        });
        let after = wait.total().expect("this kernel counts it");
        assert!(after > before + Duration::from_millis(50), "{after:?}");
    }

    #[test]
    fn of_a_process_that_is_gone_what_was_seen_last_stays() {
        let mut wait = HostWait::of(std::process::id());
        wait.look();
        let seen = wait.total();
        wait.tasks = PathBuf::from("/proc/0/task");
        wait.look();
        assert_eq!(wait.total(), seen);
    }
}
