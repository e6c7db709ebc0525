// SPDX-License-Identifier: GPL-2.0-only

//! Verdicts on times on the wall clock, beside a host that keeps the guest waiting.

use std::fs;
use std::hint;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{argument, code, output, results, text};

/// Runs one item that sleeps a second, which may take this long, on the wall clock.
fn run(folder: &Path, name: &str, bounds: &str) -> (i32, Value, String) {
    let file = folder.join(format!("{name}.yaml"));
    let scenario = format!(
        "summary: Wall.\nclock: wall\nworkload: {{ mode: direct, items: 1, body: {{ sleep: 1s }} }}\n\
         expect:\n- count: {{ of: ended, equals: 1 }}\n- duration: {{ of: item, {bounds} }}\n"
    );
    fs::write(&file, scenario).expect("a file");
    let out = folder.join(format!("out-{name}"));
    let output = output(&["run", argument(&file), "--out", argument(&out)]);
    (code(&output), results(&out).remove(0), text(&output))
}

/// Is so when this is dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_a_busy_host_may_have_taken_is_no_failure_and_what_it_cannot_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let is_over = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(2, NonZero::get);
    // A guest wakes late anyway, by some milliseconds; beside these it also waits for a second or so in all.
    let (excused, failed) = thread::scope(|scope| {
        let _end = Ends(&is_over);
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let excused = run(folder.path(), "excused", "max: 1s");
        // Waiting makes nothing shorter.
        let failed = run(folder.path(), "failed", "min: 3600s");
        (excused, failed)
    });
    let (code, result, text) = excused;
    assert_eq!(code, 102, "{text}");
    assert_eq!(result["verdict"], "unsupported", "{text}");
    let reason = result["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("duration of item is ") && reason.contains("only the exact clock"),
        "{reason}"
    );
    let checks = result["checks"].as_array().expect("checks");
    let check = checks
        .iter()
        .find(|check| check["name"] == "duration of item")
        .expect("the check");
    assert_eq!(check["not_judged"], "host-waited");
    assert!(check["too_long_ns"].as_u64() > Some(0), "{check}");
    let (_, result, text) = failed;
    assert_eq!(result["verdict"], "fail", "{text}");
    let accelerator = result["accelerator"].as_str().expect("an accelerator");
    assert!(
        accelerator.starts_with("TCG, with ") || accelerator.starts_with("KVM, with "),
        "{accelerator}"
    );
}
