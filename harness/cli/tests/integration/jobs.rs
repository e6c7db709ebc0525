// SPDX-License-Identifier: GPL-2.0-only

//! Several VMs at one time: nothing of one is in the other, and nothing of them is left.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{argument, code, deferinit, is_running, output, pid_in_window, results, text};

/// A scenario that takes long on the host's clock, though not on the guest's.
const LONG: &str = "summary: Long.\ndeadline: 3000s\nrounds: { count: 1000, seed: 1 }\nexpect: [growth: { max: 64MiB }]\n";

fn run_with_jobs(jobs: &str, names: &[&str], out: &Path) -> Vec<Value> {
    let fixed = [
        "run",
        "--jobs",
        jobs,
        "--repeat",
        "2",
        "--out",
        argument(out),
    ];
    let output = output(&[&fixed[..], names].concat());
    assert_eq!(code(&output), 0, "{}", text(&output));
    let mut results = results(out);
    for entry in &mut results {
        let entry = entry.as_object_mut().expect("an entry");
        for differs in ["wall_seconds", "folder"] {
            assert!(entry.remove(differs).is_some(), "{differs}");
        }
    }
    results
}

#[test]
fn results_are_the_same_with_one_job_and_with_several() {
    let names = [
        "delayed-work/ordering",
        "boot/levels",
        "workqueue/parallel-unbound",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let alone = run_with_jobs("1", &names, &folder.path().join("alone"));
    let together = run_with_jobs("3", &names, &folder.path().join("together"));
    assert_eq!(alone.len(), 6);
    assert!(alone.iter().all(|entry| entry["trace_sha256"].is_string()));
    assert_eq!(alone, together);
    // Made at another time, in another folder.
    for name in ["initramfs.cpio", "initramfs-built-in.cpio"] {
        let of = |out: &str| fs::read(folder.path().join(out).join(name)).expect(name);
        assert!(of("alone") == of("together"), "{name} differs");
    }
}

#[test]
fn an_interruption_ends_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenarios = folder.path().join("scenarios");
    fs::create_dir(&scenarios).expect("a folder");
    for name in ["a", "b", "c"] {
        fs::write(scenarios.join(format!("{name}.yaml")), LONG).expect("a file");
    }
    let out = folder.path().join("out");
    let arguments = [
        "run",
        argument(&scenarios),
        "--jobs",
        "2",
        "--out",
        argument(&out),
    ];
    let mut child = deferinit(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let vms = ["a", "b"].map(|name| pid_in_window(&out.join(name).join("vm")));
    assert!(!out.join("c").exists(), "a third was begun");
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGINT).expect("it is there");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(102));
    for vm in vms {
        assert!(!is_running(vm), "a QEMU is left");
    }
    let results = results(&out);
    assert_eq!(results.len(), 3);
    for entry in results {
        assert_eq!(entry["reason"], "the run was interrupted");
    }
}
