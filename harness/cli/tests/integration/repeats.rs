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

/// A project whose machine lets the host's time in: the guest waits for the next second of its clock, which begins at
/// another fraction of one in each run.
fn tree_with_host_time() -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a folder");
    for folder in ["module", "kbuild", "vm/machines", "scenarios/delayed-work"] {
        copy(&project().join(folder), &tree.path().join(folder));
    }
    let machine = tree.path().join("vm/machines/x86_64.toml");
    let text_of = fs::read_to_string(&machine).expect("a file");
    let fixed = "rtc_base = \"2026-01-01T00:00:00\"";
    assert!(text_of.contains(fixed), "{text_of}");
    fs::write(&machine, text_of.replace(fixed, "rtc_base = \"utc\"")).expect("a file");
    tree
}

#[test]
fn the_doctor_finds_the_exact_clock_exact_on_an_idle_and_a_busy_host() {
    let output = output(&["doctor", "--determinism", "--runs", "1"]);
    let shown = text(&output);
    assert_eq!(code(&output), 0, "{shown}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .filter(|line| line.trim_start().starts_with("short"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 6, "{shown}");
    for pair in rows.chunks(2) {
        let [idle, busy] = pair else {
            panic!("{shown}")
        };
        assert_eq!((idle[2], busy[2]), ("idle", "busy"), "{shown}");
        // Records, bytes with their unit, SHA-256, and the result.
        assert_eq!(idle[3..], busy[3..], "{shown}");
        assert_eq!(idle.last(), Some(&"identical"), "{shown}");
    }
    let sums: std::collections::BTreeSet<_> = rows.iter().map(|row| row[7]).collect();
    assert_eq!(sums.len(), 3, "one for each number of CPUs: {shown}");
}

#[test]
fn the_doctor_names_the_first_record_that_differs() {
    let tree = tree_with_host_time();
    let output = deferinit(&["doctor", "--determinism", "--runs", "2"])
        .current_dir(tree.path())
        .output()
        .expect("the program starts");
    let shown = text(&output);
    assert_eq!(code(&output), 100, "{shown}");
    for needed in [
        "different",
        ": the trace differs from record ",
        "  run 2: ",
        " on, on CPU 0 at ",
        "The exact clock is not exact here.",
        "The runs are kept in deferinit-runs/",
    ] {
        assert!(shown.contains(needed), "{needed:?} is not in:\n{shown}");
    }
}

#[test]
fn a_machine_that_lets_the_hosts_time_in_fails_and_the_first_differing_record_is_named() {
    let tree = tree_with_host_time();
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

fn stages_are_no_longer_than_their_run(results: &[serde_json::Value]) {
    for entry in results {
        let timings = entry["timings"].as_object().expect("timings");
        let seconds = |stage: &str| timings[stage].as_f64().expect("seconds");
        for stage in ["boot", "arm", "run", "collect", "decode"] {
            assert!(
                seconds(&format!("{stage}_seconds")) > 0.0,
                "{stage}: {timings:?}"
            );
        }
        let all = timings.keys().filter(|stage| *stage != "build_seconds");
        let sum: f64 = all.map(|stage| seconds(stage)).sum();
        let wall = entry["wall_seconds"].as_f64().expect("seconds");
        // Of what is judged, a part comes after the run's own end.
        let judged = seconds("judge_seconds") + 0.01;
        assert!(sum <= wall + judged, "{sum} of {wall}: {timings:?}");
        assert!(sum >= wall / 2.0, "{sum} of {wall}: {timings:?}");
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
        "--timings",
        "--out",
        argument(out.path()),
    ]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    stages_are_no_longer_than_their_run(&results(out.path()));
    assert!(
        text(&output).contains("Most of it is "),
        "{}",
        text(&output)
    );
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
