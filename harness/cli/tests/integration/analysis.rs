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

    // What a rebuild moves as much is marked, and is no difference; the same run is a rebuild in which nothing moves.
    let floor = output(&["compare", run_folder, run_folder, "--floor", run_folder]);
    assert_eq!(code(&floor), 0, "{}", text(&floor));
    let unlike = [
        "compare",
        run_folder,
        run_folder,
        "--floor",
        argument(&variant),
    ];
    let unlike = output(&unlike);
    assert_eq!(code(&unlike), 102, "{}", text(&unlike));
    assert!(text(&unlike).contains("--floor"), "{}", text(&unlike));
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

#[test]
fn repeated_runs_on_the_wall_clock_are_compared_by_a_test() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("three.yaml");
    fs::write(&file, SCENARIO).expect("a scenario");
    let out = folder.path().join("out");
    let fixed = ["--clock", "wall", "--repeat", "8", "--out", argument(&out)];
    let ran = output(&[&["run", argument(&file)][..], &fixed].concat());
    // Whatever the verdicts on a busy host: the runs are whole.
    assert!(
        out.join("three/8/trace/trace.dat").is_file(),
        "{}",
        text(&ran)
    );

    // The same runs on both sides: no test can tell them apart.
    let same = json(
        &[
            "compare",
            argument(&out),
            argument(&out),
            "--format",
            "json",
        ],
        0,
    );
    let repeated = &same["scenarios"][0]["repeated"];
    assert_eq!(repeated["runs"], serde_json::json!([8, 8]), "{same}");
    let numbers = repeated["numbers"].as_array().expect("numbers");
    assert!(!numbers.is_empty(), "{same}");
    assert!(
        numbers.iter().all(|number| number["adjusted"] == 1.0),
        "{same}"
    );
    let said = output(&["compare", argument(&out), argument(&out)]);
    assert!(
        text(&said).contains("no difference between 8 and 8 runs"),
        "{}",
        text(&said)
    );

    let few = out.join("three/1");
    let few = output(&["compare", argument(&out), argument(&few)]);
    assert_eq!(code(&few), 102, "{}", text(&few));
    assert!(text(&few).contains("at least"), "{}", text(&few));
    let floor = [
        "compare",
        argument(&out),
        argument(&out),
        "--floor",
        argument(&out),
    ];
    let floor = output(&floor);
    assert_eq!(code(&floor), 2, "{}", text(&floor));
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
