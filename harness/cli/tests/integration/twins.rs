// SPDX-License-Identifier: GPL-2.0-only

//! Every scenario has a twin that fails: a workload that does something else, or an expectation
//! that the kernel does not meet. A check that cannot fail proves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::{
    all_names, argument, code, deferinit, output, project, results, scenario, text,
};

/// A scenario, what to replace in it, by what, and the check that must then fail.
const TWINS: [(&str, &str, &str, &str); 96] = [
    // Lateness within a jiffy would need a timer wheel without buckets.
    (
        "delayed-work/accuracy",
        "of: queued, min: 0ms, max: 8ms",
        "of: queued, min: 0ms, max: 3ms",
        "level-0: lateness of queued",
    ),
    (
        "delayed-work/accuracy",
        "of: queued, min: 0ms, max: 36ms",
        "of: queued, min: 33ms",
        "level-1: lateness of queued",
    ),
    (
        "delayed-work/chain",
        "arrangement: chain",
        "arrangement: parallel",
        "window first-armed to last-ended",
    ),
    (
        "delayed-work/ordering",
        "step: 8ms",
        "step: 0ms",
        "window first-ended to last-ended",
    ),
    (
        "delayed-work/trigger",
        "from: trigger, to: first-armed, min: 0ms, max: 5ms",
        "from: trigger, to: first-armed, min: 5ms",
        "window trigger to first-armed",
    ),
    (
        "delayed-work/unload-while-pending",
        "delay: 1s",
        "delay: 4ms",
        "count of cancelled",
    ),
    // The window, as long as more than two ticks.
    (
        "faults/set-up-race",
        "\nexpect:",
        "\nvary: { delays: [{ function: deferred_fault_set_up, delay: 10ms }] }\nexpect:",
        "error",
    ),
    (
        "functions/graph",
        "body: { sleep: 5ms }",
        "body: { spin: 5ms }",
        "count of deferred_body_sleep",
    ),
    (
        "init/deferred-cost",
        "delay: 20ms",
        "delay: 4ms",
        "window init-end to first-started",
    ),
    (
        "init/direct-cost",
        "body: { sleep: 10ms }",
        "body: { sleep: 1ms }",
        "duration of init",
    ),
    (
        "init/direct-versus-deferred",
        "mode: direct\n      items: 4",
        "mode: direct\n      items: 2",
        "difference of init, direct minus deferred",
    ),
    (
        "memory/no-leak",
        "items: 16\n      delay: 1s",
        "items: 16\n      delay: 4ms",
        "pending: count of cancelled",
    ),
    (
        "memory/no-leak",
        "leaks: { equals: 0 }",
        "leaks: { equals: 1 }",
        "leaks",
    ),
    (
        "workqueue/max-active",
        "max-active: 2",
        "max-active: 4",
        "concurrency",
    ),
    (
        "workqueue/parallel-unbound",
        "queue: system-unbound",
        "queue: { own-unbound: { max-active: 1 } }",
        "concurrency",
    ),
    (
        "async/own-domain",
        "mode: async",
        "mode: direct",
        "concurrency",
    ),
    (
        "async/own-domain",
        "max: 5ms }",
        "max: 100us }",
        "duration of init",
    ),
    (
        "bodies/cpu-intensive",
        "thresh_us=10000",
        "thresh_us=1000000",
        "log contains \"hogged CPU\"",
    ),
    (
        "bodies/hang",
        "name: stuck, mode: work, body: hang",
        "name: stuck, mode: work",
        "error for stuck",
    ),
    (
        "bodies/locks",
        "{ lock: another }",
        "{ lock: shared }",
        "duration of item for apart",
    ),
    (
        "bodies/memory-and-errors",
        "fail: EIO",
        "fail: ENOMEM",
        "error for fails",
    ),
    (
        "bodies/memory-and-errors",
        "body: print",
        "body: none",
        "log contains \"test_deferred: item prints\"",
    ),
    (
        "bodies/memory-and-errors",
        "body: { alloc: 1MiB }",
        "body: { fail: ENOMEM }",
        "error for allocates, prints, follows",
    ),
    (
        "bodies/wait",
        "delay: 20ms, body: [{ complete",
        "delay: 4ms, body: [{ complete",
        "duration of item for early",
    ),
    (
        "boot/deferred-initcall",
        "mode: work, queue: system-unbound, level",
        "mode: direct, level",
        "difference of boot to first-process, direct minus deferred",
    ),
    (
        "boot/levels",
        "name: subsys, mode: direct, level: subsys",
        "name: subsys, mode: direct, level: core",
        "level for subsys, driver",
    ),
    (
        "deferrable-work/idle",
        "mode: deferrable, delay: 8ms",
        "mode: delayed, delay: 8ms",
        "deferrable: lateness of started for item",
    ),
    (
        "faults/unload-while-running",
        "hold: 20ms",
        "hold: 400ms",
        "window unload to last-ended",
    ),
    (
        "hrtimer/accuracy",
        "mode: hrtimer",
        "mode: delayed",
        "lateness of started",
    ),
    ("hrtimer/periodic", "runs: 5", "runs: 3", "count of retried"),
    (
        "init/plan",
        "name: barrier, mode: direct, after: [device]",
        "name: barrier, mode: direct, after: [firmware]",
        "duration of init",
    ),
    (
        "init/plan",
        "after: [firmware, scan, barrier]",
        "after: [barrier]",
        "order of ended",
    ),
    (
        "init/thousands",
        "items: 4096\n",
        "items: 4095\n",
        "count of ended",
    ),
    (
        "kthread/own-threads",
        "body: { sleep: 20ms } }\n    - { name: other",
        "body: { spin: 40ms } }\n    - { name: other",
        "window first-started to last-ended",
    ),
    (
        "probe/async",
        "async-probe: true",
        "async-probe: false",
        "difference of init, synchronous minus asynchronous",
    ),
    (
        "probe/defer-twice",
        "defer: 2",
        "defer: 1",
        "attempts for patient",
    ),
    (
        "probe/supplier",
        "suppliers: [supplier] }",
        "after: [delay] }",
        "attempts for consumer",
    ),
    (
        "probe/supplier-cycle",
        "name: egg, mode: probe, suppliers: [hen]",
        "name: egg, mode: probe",
        "count of cancelled for hen, egg",
    ),
    (
        "probe/supplier-never-comes",
        "defer: forever",
        "defer: 1",
        "count of cancelled for waiting",
    ),
    (
        "work/cancel",
        "delay: 8ms, body: { cancel: pending }",
        "delay: 8ms, body: { flush: pending }",
        "count of cancelled for pending, repeating",
    ),
    (
        "work/cancel",
        "body: { cancel: running }",
        "body: none",
        "duration of item for cancel-running",
    ),
    (
        "work/flush",
        "body: { flush: far }",
        "body: { modify: { item: far, delay: 60ms } }",
        "interval armed to started for far",
    ),
    (
        "work/immediate",
        "max: 200us",
        "min: 1ms",
        "interval armed to queued",
    ),
    (
        "work/modify-delay",
        "{ modify: { item: soon, delay: 60ms } }",
        "none",
        "interval armed to started for soon",
    ),
    (
        "work/self-requeue",
        "mode: work, items: 2, runs: 5",
        "mode: work, items: 2, runs: 4",
        "work: attempts",
    ),
    (
        "work/self-requeue",
        "delay: 8ms, runs: 5",
        "delay: 40ms, runs: 5",
        "delayed: window first-started to last-ended",
    ),
    (
        "workqueue/destroy",
        "{ destroy: doomed }",
        "{ sleep: 1ms }",
        "error for too-late",
    ),
    (
        "workqueue/highpri",
        "queue: system-highpri",
        "queue: system-percpu",
        "interval queued to started for highpri",
    ),
    (
        "workqueue/highpri",
        "queue: system-bh",
        "queue: system-percpu",
        "order of ended",
    ),
    (
        "workqueue/highpri",
        "queue: system-unbound",
        "queue: system-percpu",
        "order of ended",
    ),
    (
        "workqueue/on-cpu",
        "name: other, mode: work, cpu: 1, body: { spin: 20ms } }\n  - name",
        "name: other, mode: work, cpu: 0, body: { spin: 20ms } }\n  - name",
        "two-cpus: concurrency",
    ),
    (
        "workqueue/ordered",
        "flags: [ordered]",
        "flags: [unbound]",
        "concurrency",
    ),
    (
        "workqueue/own-queues",
        "queue: scope-numa",
        "queue: scope-numa, body: { fail: EIO }",
        "error",
    ),
    (
        "workqueue/system-queues",
        "8ms, queue: system-bh }\n    - { name: bh-2, mode: delayed, delay: 12ms, queue: system-bh }\n    - { name: bh-3, mode: delayed, delay: 16ms, queue: system-bh }",
        "8ms, queue: system-percpu }\n    - { name: bh-2, mode: delayed, delay: 12ms, queue: system-percpu }\n    - { name: bh-3, mode: delayed, delay: 16ms, queue: system-percpu }",
        "interval queued to started for bh, bh-2, bh-3, bh-highpri",
    ),
    (
        "recipes/analysis-script",
        "body: { sleep: 5ms }",
        "body: none",
        "duration of deferred_item_body",
    ),
    (
        "recipes/blk",
        "count=8",
        "count=7",
        "count of ftrace:blktrace where bytes == 4096",
    ),
    (
        "recipes/boot-config",
        "cat /proc/version",
        "cat /proc/uptime",
        "count of kprobes:opens",
    ),
    (
        "recipes/events-all",
        "\"sched:sched_process_exec\" }, at-least: 1",
        "\"sched:sched_process_exec\" }, equals: 0",
        "count of sched:sched_process_exec",
    ),
    (
        "recipes/events-single",
        "sleep 0.01",
        "true",
        "count of sched:sched_wakeup where comm == \"sleep\"",
    ),
    (
        "recipes/events-subsystem",
        "max: 1ms",
        "max: 1us",
        "interval sched:sched_waking where comm == \"sleep\" by pid to sched:sched_switch where next_comm == \"sleep\" by next_pid",
    ),
    (
        "recipes/function-filter",
        "[schedule, ",
        "[vfs_read, ",
        "count of schedule",
    ),
    (
        "recipes/function-graph",
        "graph-depth: 3",
        "graph-depth: 9",
        "link_path_walk below path_openat",
    ),
    (
        "recipes/function-latencies",
        "> /dev/ttyS0",
        "> /dev/null",
        "irq:irq_handler_entry where name == \"ttyS0\" below __common_interrupt",
    ),
    (
        "recipes/function-notrace",
        "not-functions: [\"*lock*\"]",
        "not-functions: [\"*clock*\"]",
        "count of _raw_spin_lock",
    ),
    (
        "recipes/function-profile",
        "count=100",
        "count=50",
        "profile of vfs_read",
    ),
    (
        "recipes/graph-interrupts",
        "bs=32M",
        "bs=4k",
        "__sysvec_apic_timer_interrupt below read_zero",
    ),
    (
        "recipes/interrupt",
        "sleep 0.02",
        "true",
        "hrtimer_wakeup below hrtimer_interrupt",
    ),
    (
        "recipes/irq",
        "> /dev/ttyS0",
        "> /dev/null",
        "count of irq:irq_handler_entry where name == \"ttyS0\"",
    ),
    ("recipes/irqsoff", "max: 5ms", "max: 1us", "latency"),
    ("recipes/irqsoff-events", "max: 5ms", "max: 1us", "latency"),
    (
        "recipes/irqsoff-functions",
        "functions: [\"*\"]",
        "functions: [vfs_read]",
        "latency",
    ),
    (
        "recipes/ksoftirqd",
        "[handle_softirqs, run_ksoftirqd,",
        "[run_ksoftirqd, handle_softirqs,",
        "stack of irq:softirq_entry with run_ksoftirqd, handle_softirqs, smpboot_thread_fn, kthread",
    ),
    (
        "recipes/latency-format",
        "[latency-format]",
        "[nolatency-format]",
        "output contains \"latency trace v1.1.5\"",
    ),
    (
        "recipes/memory",
        "echo $((free + 8192)) >",
        "echo 1024 >",
        "count of vmscan:mm_vmscan_wakeup_kswapd",
    ),
    (
        "recipes/mmiotrace",
        "grep -q 0x0004",
        "grep -q 0x0099",
        "count of ftrace:mmiotrace_rw where value == 0x74726976",
    ),
    (
        "recipes/network",
        "ping -c 1",
        "ping -c 2",
        "count of kprobes:dev_hard_start_xmit",
    ),
    ("recipes/preemptirqsoff", "max: 20ms", "max: 1us", "latency"),
    ("recipes/preemptoff", "max: 20ms", "max: 1us", "latency"),
    (
        "recipes/probes",
        "  rm /tmp/file",
        "  true",
        "count of fprobes:unlinks",
    ),
    (
        "recipes/run-queue",
        "sleep 0.02",
        "true",
        "stack of kprobes:dequeue_task_fair with schedule, do_nanosleep",
    ),
    (
        "recipes/signal",
        "kill -USR1",
        "kill -0",
        "count of signal:signal_generate where sig == 10",
    ),
    (
        "recipes/snapshot",
        "snapshot:1 if",
        "snapshot:2 if",
        "output contains \"sched_process_exit: comm=mkdir\"",
    ),
    (
        "recipes/softirq",
        "ping -c 2 -i 0.02 127.0.0.1",
        "true",
        "count of irq:softirq_entry where vec == 3",
    ),
    (
        "recipes/softirq-graph",
        "> /dev/ttyS0",
        "> /dev/null",
        "serial8250_interrupt below __common_interrupt",
    ),
    ("recipes/stack-size", "max: 8KiB", "max: 300B", "stack-size"),
    // With little RAM, there is nothing left to initialise later.
    (
        "recipes/struct-pages",
        "memory: 8GiB",
        "memory: 256MiB",
        "output contains \"node 0 deferred pages initialised in \"",
    ),
    (
        "recipes/synthetic",
        "for i in 1 2 3",
        "for i in 1",
        "count of synthetic:wakeup_latency",
    ),
    (
        "recipes/threshold",
        "sleep 0.01",
        "sleep 0.001",
        "count of __x64_sys_clock_nanosleep",
    ),
    (
        "recipes/traceoff",
        "traceoff:1",
        "traceoff:2",
        "count of sched:sched_process_exit where comm == \"touch\"",
    ),
    (
        "recipes/traceoff-function",
        "shmem_unlink:traceoff:1",
        "shmem_rmdir:traceoff:1",
        "count of sched:sched_process_fork",
    ),
    (
        "recipes/tracing-on",
        "echo 0 > tracing_on",
        "echo 1 > tracing_on",
        "count of sched:sched_process_fork",
    ),
    (
        "recipes/triggers",
        "for i in 1 2 3",
        "for i in 1",
        "histogram of sched:sched_waking: { comm = sleep } hitcount",
    ),
    ("recipes/wakeup", "max: 1ms", "max: 1us", "latency"),
    ("recipes/wakeup-dl", "max: 1ms", "max: 1us", "latency"),
    ("recipes/wakeup-rt", "max: 1ms", "max: 1us", "latency"),
    (
        "recipes/writeback",
        "dd if=/dev/zero of=/tmp/disk/file bs=64k count=16",
        "true",
        "ext2_writepages below wb_workfn",
    ),
];

#[test]
fn every_scenario_has_a_twin() {
    let mut twins: BTreeSet<&str> = TWINS.iter().map(|(name, ..)| *name).collect();
    // Its twin is a module that leaks: `soak.rs`.
    twins.insert("memory/soak");
    for name in all_names() {
        assert!(
            twins.contains(name.as_str()),
            "{name} is not known to be able to fail"
        );
    }
}

#[test]
fn every_twin_ends_100_by_the_check_it_was_made_for() {
    let folder = tempfile::tempdir().expect("a folder");
    for (index, (name, from, to, _)) in TWINS.iter().enumerate() {
        let original = scenario(name);
        let twin = original.replacen(from, to, 1);
        assert_ne!(original, twin, "{name} has no {from:?}");
        fs::write(folder.path().join(format!("twin-{index:02}.yaml")), twin).expect("a file");
    }
    let out = tempfile::tempdir().expect("a folder");
    let output = output(&[
        "run",
        argument(folder.path()),
        "--out",
        argument(out.path()),
    ]);
    assert_eq!(code(&output), 100, "{}", text(&output));

    let results = results(out.path());
    assert_eq!(results.len(), TWINS.len());
    for ((name, _, to, check), entry) in TWINS.iter().zip(&results) {
        assert_eq!(
            entry["verdict"], "fail",
            "{name} with {to:?}: {}",
            entry["reason"]
        );
        let failed: Vec<&str> = entry["checks"]
            .as_array()
            .expect("checks")
            .iter()
            .filter(|check| check["passed"] == false)
            .filter_map(|check| check["name"].as_str())
            .collect();
        assert!(
            failed.contains(check),
            "{name} with {to:?} fails by {failed:?}, not by {check:?}"
        );
    }
}

/// A module that leaks, instead of an expectation that is wrong: kmemleak sees what it should.
#[test]
fn a_module_that_leaks_fails_the_leak_check() {
    let copy = tempfile::tempdir().expect("a folder");
    for folder in ["module", "kbuild", "vm/machines", "scenarios/memory"] {
        copy_folder(&project().join(folder), &copy.path().join(folder));
    }
    let workload = copy.path().join("module/workload.rs");
    let sound = fs::read_to_string(&workload).expect("a source file");
    let push = "items.push(Item::new(id, *item, missing, kind)?, GFP_KERNEL)?;";
    let leaky = sound.replace(
        push,
        &format!("{push} core::mem::forget(items[id as usize].clone());"),
    );
    assert_ne!(sound, leaky, "the module has no {push:?}");
    fs::write(&workload, leaky).expect("a source file");

    let out = copy.path().join("out");
    let output = deferinit(&["run", "memory/no-leak", "--out", argument(&out)])
        .current_dir(copy.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 100, "{}", text(&output));
    let reason = results(&out)[0]["reason"]
        .as_str()
        .expect("a reason")
        .to_owned();
    assert!(reason.contains("leak"), "{reason}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
