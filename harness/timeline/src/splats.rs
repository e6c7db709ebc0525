// SPDX-License-Identifier: GPL-2.0-only

//! Finds the lines of a kernel log that report a fault of the kernel.
//!
//! In: the log as `klogctl`, `/dev/kmsg` or the console gives it. Out: the faults' first lines, without prefixes.
//! Does not: judge. Advice and reports that a run asks for are no faults: a workqueue's `hogged CPU`, kmemleak's count.
//! Source: `lib/{bug,debugobjects,list_debug,refcount,ubsan}.c`, `kernel/{panic,hung_task,watchdog,workqueue}.c`,
//! `kernel/locking/lockdep.c`, `kernel/rcu/tree_stall.h`, `kernel/sched/core.c`, `mm/slub.c`, `mm/kasan/report.c`,
//! `arch/x86/kernel/{dumpstack,traps}.c`, `arch/x86/mm/fault.c`, Linux 7.3.

use crate::log::message;

/// How the first line of a fault begins, after the prefixes of printk and of the subsystem. A `WARN()` prints its own
/// message first: where that names the fault better than the place of the warning, it stands here too.
const FAULTS: [&str; 22] = [
    "BUG ",
    "BUG: ",
    "INFO: rcu",
    "INFO: task ",
    "INFO: trying to register non-static key",
    "KASAN: ",
    "Kernel panic - not syncing",
    "Memory cgroup out of memory: Killed ",
    "Oops: ",
    "Out of memory: Killed ",
    "PANIC: double fault",
    "UBSAN: ",
    "Unable to handle kernel ",
    "WARNING: ",
    "[ BUG: ",
    "divide error: ",
    "general protection fault",
    "invalid opcode: ",
    "kernel BUG at ",
    "list_add corruption",
    "list_del corruption",
    "refcount_t: ",
];

/// What only the first line of a fault has in it: a debug object's, whose other lines are none, and a hard lockup's,
/// which begins with its CPU.
const PARTS: [&str; 2] = [" (active state ", "Watchdog detected hard LOCKUP on cpu "];

/// What a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The kernel stopped for good.
    Panic,
    /// An exception in the kernel.
    Oops,
    /// `BUG()`.
    Bug,
    /// `WARN()`, and what lockdep says.
    Warning,
    /// A CPU let no grace period end.
    RcuStall,
    /// A CPU did not schedule.
    SoftLockup,
    /// A CPU took no interrupts.
    HardLockup,
    /// A pool of workers did not get on.
    WorkqueueStall,
    /// A task slept for long, and no signal could wake it.
    HungTask,
    /// A task was killed for its memory: the kernel did what it should, on a machine that is too small.
    OutOfMemory,
    /// Anything else: a sanitizer's report, a corruption.
    Report,
}

/// How the body of each kind begins, the more specific first.
const KINDS: [(&str, Fault); 18] = [
    ("Kernel panic - not syncing", Fault::Panic),
    ("BUG: workqueue lockup", Fault::WorkqueueStall),
    ("BUG: soft lockup", Fault::SoftLockup),
    ("INFO: rcu", Fault::RcuStall),
    ("INFO: task ", Fault::HungTask),
    ("kernel BUG at ", Fault::Bug),
    ("BUG: kernel NULL pointer dereference", Fault::Oops),
    ("BUG: unable to handle", Fault::Oops),
    ("Unable to handle kernel ", Fault::Oops),
    ("Oops: ", Fault::Oops),
    ("general protection fault", Fault::Oops),
    ("divide error: ", Fault::Oops),
    ("invalid opcode: ", Fault::Oops),
    ("PANIC: double fault", Fault::Oops),
    ("WARNING: ", Fault::Warning),
    ("[ BUG: ", Fault::Warning),
    ("Out of memory: Killed ", Fault::OutOfMemory),
    ("Memory cgroup out of memory: Killed ", Fault::OutOfMemory),
];

impl Fault {
    /// What a line that [`find_splats`] has found reports.
    #[must_use]
    pub fn of(splat: &str) -> Self {
        if splat.contains("Watchdog detected hard LOCKUP on cpu ") {
            return Self::HardLockup;
        }
        let body = without_subsystem(splat);
        let begins = |start: &str| splat.starts_with(start) || body.starts_with(start);
        let kind = KINDS.iter().find(|(start, _)| begins(start));
        kind.map_or(Self::Report, |(_, kind)| *kind)
    }

    /// The words for it in reports.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Panic => "a panic",
            Self::Oops => "an oops",
            Self::Bug => "a BUG",
            Self::Warning => "a warning",
            Self::RcuStall => "an RCU stall",
            Self::SoftLockup => "a soft lockup",
            Self::HardLockup => "a hard lockup",
            Self::WorkqueueStall => "a stalled workqueue",
            Self::HungTask => "a hung task",
            Self::OutOfMemory => "a task killed for its memory",
            Self::Report => "a fault",
        }
    }
}

/// The first lines of all faults in a kernel log, in their order.
#[must_use]
pub fn find_splats(log: &str) -> Vec<String> {
    log.lines()
        .map(message)
        .filter(|message| is_fault(message))
        .map(str::to_owned)
        .collect()
}

fn is_fault(message: &str) -> bool {
    let body = without_subsystem(message);
    let begins = |start: &&str| message.starts_with(*start) || body.starts_with(*start);
    FAULTS.iter().any(begins) || PARTS.iter().any(|part| message.contains(part))
}

/// The message without a subsystem's prefix, as in `watchdog: BUG: soft lockup` and `rcu: INFO: rcu_sched ...`.
fn without_subsystem(message: &str) -> &str {
    match message.split_once(": ") {
        Some((subsystem, body))
            if subsystem
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_') =>
        {
            body
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, find_splats};

    #[test]
    fn a_fault_is_named_by_its_first_line() {
        for (line, fault) in [
            ("Kernel panic - not syncing: Fatal exception", Fault::Panic),
            (
                "BUG: kernel NULL pointer dereference, address: 0000000000000008",
                Fault::Oops,
            ),
            ("Oops: int3: 0000 [#1] SMP", Fault::Oops),
            ("kernel BUG at mm/slub.c:1!", Fault::Bug),
            (
                "WARNING: kernel/workqueue.c:1790 at __queue_work+0x1, CPU#0: init/1",
                Fault::Warning,
            ),
            (
                "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                Fault::RcuStall,
            ),
            (
                "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1:8]",
                Fault::SoftLockup,
            ),
            (
                "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 0",
                Fault::HardLockup,
            ),
            (
                "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
                Fault::WorkqueueStall,
            ),
            (
                "INFO: task kworker/0:1:8 blocked for more than 120 seconds.",
                Fault::HungTask,
            ),
            (
                "Out of memory: Killed process 60 (sh) total-vm:1kB",
                Fault::OutOfMemory,
            ),
            ("BUG: KASAN: slab-use-after-free in f", Fault::Report),
            (
                "list_add corruption. next->prev should be prev",
                Fault::Report,
            ),
        ] {
            assert_eq!(find_splats(line), [line]);
            assert_eq!(Fault::of(line), fault, "{line}");
        }
    }

    #[test]
    fn faults_are_found_under_every_prefix() {
        let cases = [
            (
                "<4>[    1.5] WARNING: kernel/workqueue.c:1790 at __queue_work+0x1, CPU#0: init/1",
                "WARNING: kernel/workqueue.c:1790 at __queue_work+0x1, CPU#0: init/1",
            ),
            (
                "[    2.0][    T8] BUG: KASAN: slab-use-after-free in f",
                "BUG: KASAN: slab-use-after-free in f",
            ),
            (
                "[   30.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1:8]",
                "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1:8]",
            ),
            (
                "3,210,5000000,-;rcu: INFO: rcu_sched self-detected stall on CPU",
                "rcu: INFO: rcu_sched self-detected stall on CPU",
            ),
            (
                "INFO: task kworker/0:1:8 blocked for more than 120 seconds.\r",
                "INFO: task kworker/0:1:8 blocked for more than 120 seconds.",
            ),
        ];
        for (line, found) in cases {
            assert_eq!(find_splats(line), [found], "{line}");
        }
    }

    #[test]
    fn fault_of_every_kind_is_found() {
        // As the format strings of Linux 7.3 print them.
        let lines = [
            "BUG kmalloc-64 (Tainted: G           O): Right Redzone overwritten",
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "BUG: scheduling while atomic: kworker/0:1/8/0x00000002",
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:591",
            "BUG: unable to handle page fault for address: ffffc90000000000",
            "BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[8]",
            "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
            "INFO: task init:1 blocked in I/O wait for more than 120 seconds.",
            "INFO: trying to register non-static key.",
            "Kernel panic - not syncing: hung_task: blocked tasks",
            "ODEBUG: free active (active state 0) object: ffff888003a4f000 object type: timer_list hint: f+0x0/0x10",
            "ODEBUG: init active (active state 0) object: ffff888003a4f000 object type: work_struct hint: f+0x0/0x10",
            "Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
            "Oops: int3: 0000 [#1] SMP",
            "UBSAN: array-index-out-of-bounds in kernel/workqueue.c:1:2",
            "WARNING: bad unlock balance detected!",
            "WARNING: held lock freed!",
            "WARNING: inconsistent lock state",
            "WARNING: lib/debugobjects.c:629 at debug_print_object+0x8c/0xb0, CPU#0: rmmod/60",
            "WARNING: possible circular locking dependency detected",
            "WARNING: possible irq lock inversion dependency detected",
            "WARNING: possible recursive locking detected",
            "WARNING: suspicious RCU usage",
            "[ BUG: Invalid wait context ]",
            "kernel BUG at mm/slub.c:1!",
            "list_add corruption. next->prev should be prev (ffff888003a4f000), but was 0000000000000000. (next=ffff8880).",
            "list_del corruption, ffff888003a4f000->next is LIST_POISON1 (dead000000000100)",
            "refcount_t: underflow; use-after-free.",
            "traps: PANIC: double fault, error_code: 0x0",
            "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 0",
        ];
        for line in lines {
            assert_eq!(find_splats(&format!("<4>[    1.5] {line}\n")), [line]);
        }
    }

    #[test]
    fn ordinary_lines_are_no_faults() {
        let log = "\
<4>[    1.0] workqueue: deferred_work_fn hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND
[    1.0] test_deferred: loading out-of-tree module taints kernel.
[    1.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
[    1.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled
[    1.0] ODEBUG: selftest passed
[    1.0] ODEBUG: Out of memory. ODEBUG disabled
[    1.0] INFO: lockdep is turned off.
[    1.0] INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.250 msecs
[    1.0] debug: unmapping init [mem 0xffffffff82200000-0xffffffff823fffff]
[    1.0] watchdog: Delayed init of the lockup detector failed: -19
[    1.0] platform test_deferred.0: deferred probe pending: (reason unknown)
[    1.0] ------------[ cut here ]------------
[ T ] BUG
<x>[
7,;
[] WARNING";
        assert_eq!(find_splats(log), Vec::<String>::new());
    }
}
