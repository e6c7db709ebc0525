// SPDX-License-Identifier: GPL-2.0-only

//! The machines in `vm/machines`.

use std::fs;

use crate::harness::{argument, code, output, results, text};

/// A scenario on a machine.
fn on(machine: &str) -> String {
    format!(
        "summary: Machine.\nmachine: {{ {machine} }}\n\
         workload: {{ mode: delayed, items: 4, delay: 8ms }}\n\
         expect:\n- count: {{ of: ended, equals: 4 }}\n- lateness: {{ of: started, min: 0ns, max: 12ms }}\n"
    )
}

#[test]
fn each_machine_runs_a_scenario_and_one_that_cannot_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenarios = folder.path().join("scenarios");
    fs::create_dir(&scenarios).expect("a folder");
    for (name, machine) in [
        ("a-microvm", "name: x86_64, cpus: 8, memory: 4GiB"),
        ("b-q35", "name: q35, cpus: 2"),
        // So much that a part of it lies above 4 GiB, and the trace buffer below the gap.
        ("c-q35-large", "name: q35, memory: 4GiB"),
        ("d-aarch64", "name: aarch64"),
    ] {
        fs::write(scenarios.join(format!("{name}.yaml")), on(machine)).expect("a file");
    }
    let out = folder.path().join("out");
    let arguments = [
        "run",
        argument(&scenarios),
        "--repeat",
        "2",
        "--out",
        argument(&out),
    ];
    let output = output(&arguments);
    let shown = text(&output);
    assert_eq!(code(&output), 102, "{shown}");
    let results = results(&out);
    assert_eq!(results.len(), 8);
    for entry in &results[..6] {
        assert_eq!(entry["verdict"], "pass", "{shown}");
    }
    for entry in &results[6..] {
        assert_eq!(entry["verdict"], "unsupported", "{shown}");
        let reason = entry["reason"].as_str().expect("a reason");
        assert!(
            reason.starts_with("aarch64: no kernel for aarch64"),
            "{reason}"
        );
    }
}

#[test]
fn a_trace_cannot_be_recorded_on_a_machine_that_is_not_supported() {
    let output = output(&["trace", "record", "--machine", "aarch64", "--", "true"]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    let shown = text(&output);
    assert!(
        shown.contains("the machine \"aarch64\" is not supported"),
        "{shown}"
    );
}
