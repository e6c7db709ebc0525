// SPDX-License-Identifier: GPL-2.0-only

//! Finds the lines of a kernel log that report a fault of the kernel.
//!
//! In: the log as `klogctl`, `/dev/kmsg` or the console gives it. Out: the faults' first lines, without prefixes.
//! Does not: judge; a workqueue's `hogged CPU` advice is no fault.
//! Source: `lib/bug.c`, `kernel/panic.c`, `kernel/hung_task.c`, `kernel/rcu/tree_stall.h`, `mm/kasan/report.c`,
//! `lib/ubsan.c`, `arch/x86/kernel/{dumpstack,traps}.c`, Linux 7.3.

/// How the first line of a fault begins, after the prefixes of printk and of the subsystem.
const FAULTS: [&str; 15] = [
    "BUG: ",
    "INFO: rcu",
    "INFO: task ",
    "INFO: trying to register non-static key",
    "KASAN: ",
    "Kernel panic - not syncing",
    "Oops: ",
    "UBSAN: ",
    "Unable to handle kernel ",
    "WARNING: ",
    "divide error: ",
    "general protection fault",
    "invalid opcode: ",
    "kernel BUG at ",
    "stack guard page was hit",
];

/// The first lines of all faults in a kernel log, in their order.
#[must_use]
pub fn find_splats(log: &str) -> Vec<String> {
    log.lines().filter_map(fault).map(str::to_owned).collect()
}

fn fault(line: &str) -> Option<&str> {
    let message = message(line);
    let body = without_subsystem(message);
    let found = FAULTS
        .iter()
        .any(|start| message.starts_with(start) || body.starts_with(start));
    (found && !message.contains("hogged CPU")).then_some(message)
}

/// The message of a log line, without level, timestamp and caller.
fn message(line: &str) -> &str {
    let mut rest = line.trim();
    // `/dev/kmsg`: "level,sequence,microseconds,flags;message".
    if rest.starts_with(|c: char| c.is_ascii_digit())
        && let Some((head, text)) = rest.split_once(';')
        && head.split(',').count() >= 3
    {
        rest = text;
    }
    // klogctl and console: "<6>[    1.663633][    T8] message".
    if let Some(after) = rest.strip_prefix('<')
        && let Some((level, text)) = after.split_once('>')
        && level.bytes().all(|byte| byte.is_ascii_digit())
    {
        rest = text;
    }
    while let Some(after) = rest.strip_prefix('[')
        && let Some((inside, text)) = after.split_once(']')
        && is_stamp(inside)
    {
        rest = text.trim_start();
    }
    rest
}

/// Whether brackets hold a timestamp (`    1.663633`) or a caller (`    T8`, `   C0`).
fn is_stamp(inside: &str) -> bool {
    let inside = inside.trim_start();
    let digits = inside.strip_prefix(['T', 'C']).unwrap_or(inside);
    !digits.is_empty()
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
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
    use super::find_splats;

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
                "[   30.0] watchdog: BUG: soft lockup - CPU#0 stuck",
                "watchdog: BUG: soft lockup - CPU#0 stuck",
            ),
            (
                "3,210,5000000,-;rcu: INFO: rcu_sched self-detected stall on CPU",
                "rcu: INFO: rcu_sched self-detected stall on CPU",
            ),
            (
                "INFO: task kworker/0:1:8 blocked for more than 120 seconds.\r",
                "INFO: task kworker/0:1:8 blocked for more than 120 seconds.",
            ),
            (
                "[    1.0] Oops: int3: 0000 [#1] SMP",
                "Oops: int3: 0000 [#1] SMP",
            ),
            (
                "[    1.0] Kernel panic - not syncing: x",
                "Kernel panic - not syncing: x",
            ),
            (
                "[    1.0] kernel BUG at mm/slub.c:1!",
                "kernel BUG at mm/slub.c:1!",
            ),
        ];
        for (line, found) in cases {
            assert_eq!(find_splats(line), [found], "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_no_faults() {
        let log = "\
<4>[    1.0] workqueue: deferred_work_fn hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND
[    1.0] test_deferred: loading out-of-tree module taints kernel.
[    1.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
[    1.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled
[ T ] BUG
<x>[
7,;
[] WARNING";
        assert_eq!(find_splats(log), Vec::<String>::new());
    }
}
