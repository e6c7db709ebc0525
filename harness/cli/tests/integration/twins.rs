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
const TWINS: [(&str, &str, &str, &str); 14] = [
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
];

#[test]
fn every_scenario_has_a_twin() {
    let twins: BTreeSet<&str> = TWINS.iter().map(|(name, ..)| *name).collect();
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
    let push = "items.push(item, GFP_KERNEL)?;";
    let leaky = sound.replace(
        push,
        &format!("core::mem::forget(item.clone());\n        {push}"),
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
