// SPDX-License-Identifier: GPL-2.0-only

//! On the exact clock, a run is the same each time, whatever else the host does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{argument, code, output, results, text};

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
