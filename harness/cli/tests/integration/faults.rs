// SPDX-License-Identifier: GPL-2.0-only

//! Every fault of the guest's kernel has its own verdict reason, caused for real: by a module that is made for it, by what
//! a scenario asks for, or by a guest with too little of something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{argument, code, output, results, text};

/// The source of all faults.
const FAULT: &str = include_str!("../data/fault/fault.c");

/// Modules that cause a fault when they are loaded, or a while after it.
pub(crate) struct FaultModules {
    folder: tempfile::TempDir,
}

impl FaultModules {
    /// Builds a module for each of these functions of the source, with these lines before it.
    pub(crate) fn build(faults: &[&str], before: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, content: &str| {
            fs::write(folder.path().join(name), content).expect("a file");
        };
        write("fault.c", FAULT);
        let mut kbuild = "ccflags-y += -Wno-unused-function\n".to_owned();
        for fault in faults {
            write(
                &format!("module_{fault}.c"),
                &format!("{before}#define FAULT fault_{fault}\n#include \"fault.c\"\n"),
            );
            kbuild += &format!("obj-m += module_{fault}.o\n");
        }
        write("Kbuild", &kbuild);
        let kernel = kernel();
        let made = Command::new("make")
            .args(["-s", "-C", argument(&kernel), "modules"])
            .arg(format!("M={}", folder.path().display()))
            .arg(format!("LLVM={}", llvm(&kernel)))
            .output()
            .expect("make starts");
        assert_eq!(code(&made), 0, "{}", text(&made));
        Self { folder }
    }

    pub(crate) fn path(&self, fault: &str) -> PathBuf {
        self.folder.path().join(format!("module_{fault}.ko"))
    }
}

/// The build that runs use.
pub(crate) fn kernel() -> PathBuf {
    let path = output(&["kernel", "path"]);
    assert_eq!(code(&path), 0, "{}", text(&path));
    PathBuf::from(text(&path).trim())
}

/// The suffix of the compiler that built a kernel: modules are built with the same.
fn llvm(kernel: &Path) -> String {
    let config = fs::read_to_string(kernel.join(".config")).expect("a configuration");
    let version = config
        .split_once("clang version ")
        .expect("built by clang")
        .1;
    let (major, _) = version.split_once('.').expect("a version");
    format!("-{major}")
}

/// Runs a scenario, and holds its verdict and the begin and a part of its reason against these.
fn check(scenario: &str, modules: &[PathBuf], expected: (&str, &str)) -> tempfile::TempDir {
    let (verdict, part) = expected;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fault.yaml");
    fs::write(&file, scenario).expect("a file");
    let out = folder.path().join("out");
    let mut arguments = vec!["run", argument(&file), "--out", argument(&out)];
    for module in modules {
        arguments.extend(["--insmod", argument(module)]);
    }
    let output = output(&arguments);
    let printed = text(&output);
    let result = &results(&out)[0];
    assert_eq!(result["verdict"], verdict, "{printed}");
    let reason = result["reason"].as_str().expect("a reason");
    assert!(
        reason.contains(part),
        "{part:?} is not in {reason:?}\n{printed}"
    );
    assert!(printed.contains(part), "{printed}");
    assert_eq!(code(&output), if verdict == "fail" { 100 } else { 102 });
    folder
}

/// A scenario that waits for eight seconds, in which the module's fault comes.
const WAITS: &str = "summary: Waits.\nworkload: { mode: delayed, items: 1, delay: 8s }\n\
    expect:\n- count: { of: ended, equals: 1 }\n";

/// What no log has.
const EXPECTS_NOTHING: &str = "expect:\n- log: { contains: \"never\", at-most: 0 }\n";

#[test]
fn each_fault_of_the_kernel_is_named_and_a_panic_leaves_the_stacks_of_all_tasks() {
    let faults = ["oops", "bug", "warning", "panic", "triple", "soft_lockup"];
    let modules = FaultModules::build(&faults, "");
    for (fault, part) in [
        (
            "oops",
            "kernel: the guest panicked after an oops: BUG: kernel NULL pointer dereference, address: 0000000000000008",
        ),
        (
            "bug",
            "kernel: the guest panicked after a BUG: kernel BUG at ",
        ),
        ("panic", "Kernel panic - not syncing: asked to"),
        ("warning", "kernel log: a warning: WARNING: "),
        ("triple", "kernel: a triple fault during phase main"),
    ] {
        let run = check(WAITS, &[modules.path(fault)], ("fail", part));
        let stacks = fs::read_to_string(run.path().join("out/fault/vm/stacks.txt"));
        let panics = ["oops", "bug", "panic"].contains(&fault);
        assert_eq!(stacks.is_ok(), panics, "{fault}");
        if let Ok(stacks) = stacks {
            assert!(stacks.contains("task:init "), "{stacks}");
            assert!(stacks.contains("task:kthreadd "), "{stacks}");
        }
    }
    // Two detectors of the same six seconds: one counts the CPU's, the other waits for a grace period.
    let lockup = [modules.path("soft_lockup")];
    let soft = WAITS.replace(
        "workload",
        "machine: { command-line: [watchdog_thresh=1] }\nworkload",
    );
    check(
        &soft,
        &lockup,
        (
            "fail",
            "kernel log: a soft lockup: watchdog: BUG: soft lockup - CPU#0 stuck",
        ),
    );
    let stall = format!(
        "summary: Stalls.\nmachine: {{ cpus: 2, command-line: [rcupdate.rcu_cpu_stall_timeout=3, nosoftlockup] }}\n\
         command: |\n  mkdir /tmp/a\n  for i in $(seq 60); do sleep 0.1; mount -t tmpfs none /tmp/a; umount /tmp/a; done\n{EXPECTS_NOTHING}"
    );
    check(
        &stall,
        &lockup,
        ("fail", "kernel log: an RCU stall: rcu: INFO: rcu_preempt"),
    );
}

#[test]
fn what_the_kernel_watches_over_is_named() {
    let of = |machine: &str, workload: &str| {
        format!(
            "summary: Watched.\nmachine: {{ {machine} }}\nworkload: {{ {workload} }}\nexpect:\n- count: {{ of: ended, at-least: 1 }}\n"
        )
    };
    let hung = of(
        "command-line: [sysctl.kernel.hung_task_timeout_secs=1]",
        "mode: delayed, items: 1, delay: 100ms, body: { sleep: 5s }",
    );
    check(
        &hung,
        &[],
        ("fail", "kernel log: a hung task: INFO: task kworker/"),
    );
    // Without the threshold, a worker that spins would be set aside and the next item run beside it.
    let stalled = of(
        "command-line: [workqueue.watchdog_thresh=1, workqueue.cpu_intensive_thresh_us=60000000]",
        "mode: delayed, items: 2, delay: 100ms, body: { spin: 4s }",
    );
    check(
        &stalled,
        &[],
        (
            "fail",
            "kernel log: a stalled workqueue: BUG: workqueue lockup - pool",
        ),
    );
}

#[test]
fn a_guest_that_runs_out_of_something_or_of_itself_cannot_tell() {
    let command = |command: &str| format!("summary: Ends.\ncommand: {command}\n{EXPECTS_NOTHING}");
    let grows = command("x=aaaaaaaa; while :; do x=$x$x; done");
    check(
        &grows,
        &[],
        (
            "unresolved",
            "the guest had too little memory: Out of memory: Killed process",
        ),
    );
    check(
        &command("reboot -f"),
        &[],
        (
            "unresolved",
            "the guest was reset during phase main, and its kernel had not panicked",
        ),
    );
    check(
        &command("poweroff -f"),
        &[],
        (
            "unresolved",
            "results are cut short: the guest powered off during phase main",
        ),
    );
    // PID 1 takes no signal that it has no handler for, so its death is another test's matter.
    let killed = command("kill -9 1; kill -SEGV 1; sleep 1; reboot -f");
    check(&killed, &[], ("unresolved", "the guest was reset"));
}

#[test]
fn a_deadline_in_guest_time_names_the_item_and_where_it_is() {
    let slow = "summary: Slow.\ndeadline: 2s\nworkload: { mode: direct, items: 19, body: { sleep: 100ms } }\n\
        expect:\n- count: { of: ended, equals: 19 }\n";
    let run = check(slow, &[], ("unresolved", " has not ended: phases (pid "));
    let reason = results(&run.path().join("out"))[0]["reason"].clone();
    let reason = reason.as_str().expect("a reason");
    for part in [
        "deadline in guest time",
        "the load of the module",
        "msleep < deferred_body_sleep",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let stacks = fs::read_to_string(run.path().join("out/fault/vm/stacks.txt")).expect("stacks");
    assert!(stacks.contains("task:kthreadd "), "{stacks}");
    assert!(stacks.contains("Showing busy workqueues"), "{stacks}");
}

#[test]
fn a_module_that_the_kernel_refuses_is_explained() {
    let modules = FaultModules::build(&["warning"], "");
    let module = fs::read(modules.path("warning")).expect("a module");
    let with = |from: &str, to: &str| {
        let path = modules.path(&format!("with_{to}"));
        fs::write(&path, replace(&module, from, to)).expect("a file");
        path
    };
    for (changed, parts) in [
        (
            with("queue_delayed_work_on", "queue_delayed_work_in"),
            [
                "(ENOENT): it uses a symbol",
                "Unknown symbol queue_delayed_work_in",
            ],
        ),
        (
            with("mod_unload ", "mod_unl0ad "),
            [
                "(ENOEXEC): it is no module, or was built for another kernel",
                "version magic",
            ],
        ),
    ] {
        let run = check(WAITS, &[changed], ("unresolved", parts[0]));
        let reason = results(&run.path().join("out"))[0]["reason"].clone();
        let reason = reason.as_str().expect("a reason");
        assert!(
            reason.starts_with("the guest's kernel refused: the module"),
            "{reason}"
        );
        assert!(reason.contains(parts[1]), "{reason}");
    }
}

/// Replaces bytes by as many others.
fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut places = 0;
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            places += 1;
        }
    }
    assert!(places > 0, "{from:?} is not there");
    bytes
}
