// SPDX-License-Identifier: GPL-2.0-only

//! A run that did not pass leaves a bundle, from which `deferinit replay` has it again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::faults::FaultModules;
use crate::harness::{argument, code, output, results, text};

/// Fails in exact mode: what it expects is not so.
const FAILS: &str = "summary: Fails.\nworkload: { mode: delayed, items: 3, delay: 20ms }\nexpect:\n\
    - count: { of: ended, equals: 4 }\n";

/// Runs a scenario that does not pass; gives the folder of its run.
fn run(folder: &Path, scenario: &str, arguments: &[&str]) -> PathBuf {
    let file = folder.join("fails.yaml");
    fs::write(&file, scenario).expect("a file");
    let out = folder.join("out");
    let ran = output(
        &[
            &["run", argument(&file), "--out", argument(&out)],
            arguments,
        ]
        .concat(),
    );
    assert_eq!(code(&ran), 100, "{}", text(&ran));
    out.join("fails")
}

fn replay(bundle: &Path, arguments: &[&str]) -> (i32, String) {
    let out = tempfile::tempdir().expect("a folder");
    let all = [
        &["replay", argument(bundle), "--out", argument(out.path())],
        arguments,
    ]
    .concat();
    let replayed = output(&all);
    (code(&replayed), text(&replayed))
}

#[test]
fn a_failed_run_and_a_panic_are_repeated_to_the_byte_and_a_change_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = run(folder.path(), FAILS, &[]);
    let trace = results(&folder.path().join("out"))[0]["trace_sha256"].clone();
    let same = format!(
        "trace    the same, SHA-256 {}",
        trace.as_str().expect("a hash")
    );
    let (exit, said) = replay(&bundle, &[]);
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains(&same) && said.contains("console  the same"),
        "{said}"
    );

    let read = |name: &str| fs::read_to_string(bundle.join(name)).expect("a file");
    let write = |name: &str, text: &str| fs::write(bundle.join(name), text).expect("a file");
    // Another plan gives another trace.
    let plan = read("vm/plan.json");
    write("vm/plan.json", &plan.replace("items=3", "items=2"));
    assert_ne!(plan, read("vm/plan.json"));
    let (exit, said) = replay(&bundle, &[]);
    assert_eq!(exit, 100, "{said}");
    assert!(said.contains("trace    differs: SHA-256 "), "{said}");
    write("vm/plan.json", &plan);

    // What is not what it was is named, and nothing is run.
    let recorded = read("bundle.json");
    let json: Value = serde_json::from_str(&recorded).expect("JSON");
    let version = json["qemu"]["version"].as_str().expect("a version");
    write("bundle.json", &recorded.replace(version, "1.2.3"));
    let (exit, said) = replay(&bundle, &[]);
    assert_eq!(exit, 96, "{said}");
    assert!(
        said.contains("the bundle is of QEMU 1.2.3, and here is QEMU"),
        "{said}"
    );
    write("bundle.json", &recorded);
    let (exit, said) = replay(&bundle, &["--kernel", argument(&bundle.join("plan.json"))]);
    assert_eq!(exit, 96, "{said}");
    assert!(
        said.contains("is not the file of the run: its SHA-256 is"),
        "{said}"
    );
    // A hard link of the initramfs of all: a copy of its own first.
    let initramfs = bundle.join("initramfs.cpio");
    fs::remove_file(&initramfs).expect("a file");
    let (exit, said) = replay(&bundle, &[]);
    assert_eq!(exit, 96, "{said}");
    assert!(
        said.contains("cannot read") && said.contains("initramfs.cpio"),
        "{said}"
    );
    let (exit, said) = replay(&bundle.join("vm"), &[]);
    assert_eq!(exit, 2, "{said}");
    assert!(
        said.contains("is no bundle: it has no bundle.json"),
        "{said}"
    );

    let modules = FaultModules::build(&["oops"], "");
    let panicked = tempfile::tempdir().expect("a folder");
    let waits = FAILS.replace("delay: 20ms", "delay: 8s");
    let oops = modules.path("oops");
    let bundle = run(panicked.path(), &waits, &["--insmod", argument(&oops)]);
    let (exit, said) = replay(&bundle, &[]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("the guest panicked after an oops"), "{said}");
}

#[test]
fn the_script_of_a_bundle_runs_the_same_guest_without_the_harness() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = run(folder.path(), FAILS, &[]);
    let ran = std::process::Command::new(bundle.join("run.sh"))
        .env("TMPDIR", folder.path())
        .output()
        .expect("bash is installed");
    assert_eq!(code(&ran), 0, "{}", text(&ran));
    let said = text(&ran);
    let place = said
        .trim()
        .strip_prefix("console.log and results.bin are in ")
        .expect("a place");
    let read = |folder: &Path| fs::read(folder.join("results.bin")).expect("results");
    assert!(
        read(Path::new(place)) == read(&bundle.join("vm")),
        "the results differ"
    );
}

#[test]
fn a_run_on_the_wall_clock_is_not_repeated_and_one_that_passed_leaves_no_bundle() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = run(folder.path(), FAILS, &["--clock", "wall"]);
    let (exit, said) = replay(&bundle, &[]);
    assert_eq!(exit, 2, "{said}");
    assert!(
        said.contains("on the wall clock, on which no two runs are the same"),
        "{said}"
    );

    let out = folder.path().join("passed");
    let passed = output(&["run", "work/immediate", "--out", argument(&out)]);
    assert_eq!(code(&passed), 0, "{}", text(&passed));
    assert!(!out.join("work/immediate/bundle.json").exists());
}
