// SPDX-License-Identifier: GPL-2.0-only

//! The commands that say why, on runs of a real kernel: what they say follows from the kernel's rules, and each is also
//! shown to say no.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{argument, code, copy, output, text};

/// Two direct items of 10 ms, and one that comes after them.
const SCENARIO: &str = "\
summary: Test.
trace: { events: [sched, timer] }
workload:
  plan:
    - { name: one, mode: direct, body: { sleep: 10ms } }
    - { name: other, mode: direct, body: { sleep: 10ms } }
    - { name: late, mode: delayed, delay: 300ms, after: [one, other] }
expect:
  - count: { of: ended, equals: 3 }
";

fn json(arguments: &[&str], exit: i32) -> Value {
    let output = output(arguments);
    assert_eq!(code(&output), exit, "{arguments:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is a number"))
}

fn run(folder: &Path, name: &str, scenario: &str) -> std::path::PathBuf {
    let file = folder.join("three.yaml");
    fs::write(&file, scenario).expect("a scenario");
    let out = folder.join(name);
    let output = output(&["run", argument(&file), "--out", argument(&out)]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    out
}

/// One run serves all commands: each boot takes its time.
#[test]
fn run_is_explained_predicted_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = run(folder.path(), "out", SCENARIO);
    let run_folder = argument(&out);

    let explained = json(&["explain", run_folder, "late", "--format", "json"], 0);
    let late = &explained["jobs"][0];
    let of = |kind: &str| {
        let segments = late["segments"].as_array().expect("segments");
        let found = segments.iter().filter(|segment| segment["kind"] == kind);
        found.map(|segment| number(&segment["ns"])).sum::<u64>()
    };
    assert_eq!(of("delay"), 300_000_000);
    // Level 1 of the wheel at HZ=250: up to a bucket of 32 ms, and a jiffy.
    assert!(of("wheel") <= 36_000_000, "{late}");
    assert!(of("run") > 0, "{late}");
    assert_eq!(explained["hz"], 250);
    assert_eq!(explained["wheel"]["missed"], 0);
    assert!(number(&explained["wheel"]["expired"]) > 0);

    let path = json(&["critical-path", run_folder, "--format", "json"], 0);
    let links = path["links"].as_array().expect("links");
    let sum: u64 = links.iter().map(|link| number(&link["ns"])).sum();
    assert_eq!(sum, number(&path["end_ns"]) - number(&path["begin_ns"]));
    for name in ["one", "other", "late"] {
        assert!(
            links.iter().any(|link| link["name"] == name),
            "{name}: {path}"
        );
    }

    let variant = folder.path().join("variant");
    let answer = json(
        &[
            "what-if",
            run_folder,
            "--set",
            "one=async",
            "--verify",
            "--out",
            argument(&variant),
            "--format",
            "json",
        ],
        0,
    );
    let off = |one: &str, other: &str, what: &str| {
        let (one, other) = (number(&answer[one][what]), number(&answer[other][what]));
        one.abs_diff(other) * 100 / other
    };
    assert!(off("model", "measured", "makespan_ns") <= 5, "{answer}");
    assert!(off("predicted", "verified", "makespan_ns") <= 5, "{answer}");
    let init = |which: &str| number(&answer[which]["init_ns"]);
    assert!(init("verified") + 9_000_000 < init("measured"), "{answer}");

    let base = folder.path().join("base.json");
    let base = argument(&base);
    let same = output(&["compare", run_folder, run_folder]);
    assert_eq!(code(&same), 0, "{}", text(&same));
    assert!(text(&same).contains("no difference"), "{}", text(&same));
    let recorded = output(&["baseline", "record", base, run_folder]);
    assert_eq!(code(&recorded), 0, "{}", text(&recorded));
    let checked = output(&["baseline", "check", base, run_folder]);
    assert_eq!(code(&checked), 0, "{}", text(&checked));

    // The variant is another workload: not compared.
    let unlike = output(&["compare", run_folder, argument(&variant)]);
    assert_eq!(code(&unlike), 102, "{}", text(&unlike));
    // A run with other times of the same: each is listed.
    let reference = fs::read_to_string(base).expect("the file");
    let changed = reference.replace("\"delay\": 300000000", "\"delay\": 300000001");
    assert_ne!(changed, reference);
    fs::write(base, changed).expect("the file");
    let differs = output(&["baseline", "check", base, run_folder]);
    assert_eq!(code(&differs), 100, "{}", text(&differs));
    assert!(
        text(&differs).contains("item late: delay"),
        "{}",
        text(&differs)
    );
    // Another kernel: unresolved, and nothing is compared.
    fs::write(
        base,
        reference.replace("\"clock\": \"exact\"", "\"clock\": \"other\""),
    )
    .expect("the file");
    let other = output(&["baseline", "check", base, run_folder]);
    assert_eq!(code(&other), 102, "{}", text(&other));
    assert!(text(&other).contains("another clock"), "{}", text(&other));

    mistakes(run_folder);
    not_a_run(&out, folder.path());
}

fn mistakes(run: &str) {
    for (arguments, wanted) in [
        (&["explain", run, "nobody"][..], "is named \"nobody\""),
        (
            &["what-if", run, "--set", "one=sideways"],
            "direct, async and deferred are",
        ),
        (
            &["what-if", run, "--set", "nobody=async"],
            "there are one, other, late",
        ),
        (&["what-if", run, "--before", "late,one"], "before"),
        (
            &["what-if", run, "--phase", "second"],
            "name one of the phases",
        ),
        (
            &["baseline", "check", "/nowhere.json", run],
            "baseline record",
        ),
    ] {
        let output = output(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output));
        assert!(
            text(&output).contains(wanted),
            "{arguments:?}: {}",
            text(&output)
        );
    }
}

/// A trace alone can be explained, and nothing else.
fn not_a_run(run: &Path, folder: &Path) {
    let alone = folder.join("alone");
    copy(&run.join("three/trace"), &alone.join("trace"));
    let alone = argument(&alone);
    let explained = output(&["explain", alone, "item 2"]);
    assert_eq!(code(&explained), 0, "{}", text(&explained));
    for arguments in [&["what-if", alone][..], &["compare", alone, alone]] {
        let output = output(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains("plan.json"), "{}", text(&output));
    }
}
