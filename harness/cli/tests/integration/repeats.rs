// SPDX-License-Identifier: GPL-2.0-only

//! On the exact clock, a run is the same each time, whatever else the host does.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{argument, code, copy, deferinit, output, project, results, text};

/// Keeps every CPU of the host busy until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = thread::available_parallelism().map_or(2, usize::from);
        let spin = || {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        };
        let threads = (0..count).map(|_| spin()).collect();
        Self { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a loop that ends");
        }
    }
}

#[test]
fn repetitions_are_identical_to_the_nanosecond_on_a_loaded_host() {
    let load = Load::new();
    let out = tempfile::tempdir().expect("a folder");
    let names = [
        "delayed-work/accuracy",
        "init/direct-versus-deferred",
        "workqueue/parallel-unbound",
    ];
    let mut arguments = vec![
        "run",
        "--clock",
        "exact",
        "--repeat",
        "3",
        "--out",
        argument(out.path()),
    ];
    arguments.extend(names);
    let output = output(&arguments);
    drop(load);
    assert_eq!(code(&output), 0, "{}", text(&output));

    let results = results(out.path());
    assert_eq!(results.len(), 9);
    for name in names {
        let runs: Vec<_> = results
            .iter()
            .filter(|entry| entry["name"] == name)
            .collect();
        let (first, others) = runs.split_first().expect("runs");
        assert_eq!(others.len(), 2, "{name}");
        for other in others {
            assert_eq!(first["measurements"], other["measurements"], "{name}");
            assert_eq!(first["trace_sha256"], other["trace_sha256"], "{name}");
        }
    }
    let hashes: std::collections::BTreeSet<_> = results
        .iter()
        .map(|entry| entry["trace_sha256"].as_str().expect("a hash"))
        .collect();
    assert_eq!(
        hashes.len(),
        names.len(),
        "different scenarios have different traces"
    );
}

#[test]
fn the_wall_clock_runs_too_and_says_so() {
    let out = tempfile::tempdir().expect("a folder");
    let output = output(&[
        "run",
        "delayed-work/unload-while-pending",
        "--clock",
        "wall",
        "--out",
        argument(out.path()),
    ]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert_eq!(results(out.path())[0]["clock"], "wall");
}

#[test]
fn a_machine_that_lets_the_hosts_time_in_fails_and_the_first_differing_record_is_named() {
    let tree = tempfile::tempdir().expect("a folder");
    for folder in ["module", "kbuild", "vm/machines", "scenarios/delayed-work"] {
        copy(&project().join(folder), &tree.path().join(folder));
    }
    let machine = tree.path().join("vm/machines/x86_64.toml");
    let text_of = fs::read_to_string(&machine).expect("a file");
    let fixed = "rtc_base = \"2026-01-01T00:00:00\"";
    assert!(text_of.contains(fixed), "{text_of}");
    // The guest waits for the next second of its clock, which then begins at another fraction of one.
    fs::write(&machine, text_of.replace(fixed, "rtc_base = \"utc\"")).expect("a file");

    let out = tree.path().join("out");
    let output = deferinit(&[
        "run",
        "delayed-work/unload-while-pending",
        "--verify-determinism",
        "3",
        "--out",
        argument(&out),
    ])
    .current_dir(tree.path())
    .output()
    .expect("the program starts");
    assert_eq!(code(&output), 100, "{}", text(&output));
    let results = results(&out);
    assert_eq!(results.len(), 4);
    assert_eq!(results[0]["verdict"], "pass");
    let failed = results.iter().find(|entry| entry["verdict"] == "fail");
    let reason = failed.expect("one that differs")["reason"].as_str();
    let reason = reason.expect("a reason");
    let begin = "determinism: not the same as run 1: the trace differs from record ";
    assert!(reason.starts_with(begin), "{reason}");
    let shown = text(&output);
    for line in ["    run 1: ", " [000] ", " on, on CPU 0 at "] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn what_is_verified_is_the_same_and_the_wall_clock_is_refused() {
    let out = tempfile::tempdir().expect("a folder");
    let output = output(&[
        "run",
        "delayed-work/unload-while-pending",
        "--verify-determinism",
        "1",
        "--out",
        argument(out.path()),
    ]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    let shown = text(&output);
    assert!(shown.contains("2, identical"), "{shown}");
    let sum = results(out.path())[0]["trace_sha256"].clone();
    let sum = sum.as_str().expect("a sum");
    assert!(shown.contains(&format!("Trace SHA-256 {sum}")), "{shown}");
    let ktap = fs::read_to_string(out.path().join("results.ktap")).expect("a file");
    assert!(ktap.contains(&format!("trace SHA-256 {sum}")), "{ktap}");

    let refused = crate::harness::output(&[
        "run",
        "delayed-work/unload-while-pending",
        "--clock",
        "wall",
        "--verify-determinism",
        "1",
    ]);
    assert_eq!(code(&refused), 2, "{}", text(&refused));
    let shown = text(&refused);
    assert!(shown.contains("no two runs are the same"), "{shown}");
}
