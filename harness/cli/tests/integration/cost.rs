// SPDX-License-Identifier: GPL-2.0-only

//! What a run cost, by a real kernel: the parts add up, and deferring has the cost that it has.

use std::fs;

use serde_json::Value;

use crate::harness::{argument, code, output, text};

/// The same two items of 10 ms, in init and as work.
const SCENARIO: &str = "\
summary: Test.
trace: { events: [sched, timer] }
phases:
  - { name: direct, workload: { mode: direct, items: 2, body: { sleep: 10ms } } }
  - { name: deferred, workload: { mode: delayed, items: 2, delay: 20ms, body: { sleep: 10ms }, queue: system-unbound } }
expect:
  - count: { phase: deferred, of: ended, equals: 2 }
";

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn deferring_gains_init_its_time_and_costs_switches_and_wake_ups() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("two.yaml");
    fs::write(&file, SCENARIO).expect("a scenario");
    let out = folder.path().join("out");
    let ran = output(&["run", argument(&file), "--out", argument(&out)]);
    assert_eq!(code(&ran), 0, "{}", text(&ran));
    let said = output(&["cost", argument(&out), "--format", "json"]);
    assert_eq!(code(&said), 0, "{}", text(&said));
    let costs: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let [direct, deferred] = [&costs["phases"][0], &costs["phases"][1]];
    assert_eq!(direct["phase"], "direct");
    assert!(
        number(&direct["init_ns"]) > number(&deferred["init_ns"]) + 20_000_000,
        "{costs}"
    );
    for what in ["switches", "worker_wakeups"] {
        assert!(
            number(&deferred[what]) > number(&direct[what]),
            "{what}: {costs}"
        );
    }
    for phase in [direct, deferred] {
        let tasks = phase["cpu_ns"].as_object().expect("tasks");
        let all: u64 = tasks.values().map(number).sum();
        let parts = ["cpu_init_ns", "cpu_workers_ns", "cpu_others_ns"];
        assert_eq!(
            all,
            parts.map(|part| number(&phase[part])).iter().sum::<u64>()
        );
        // One CPU: no more than there is, and less than that, since all sleep.
        let longest = number(&phase["init_ns"]).max(number(&phase["done_ns"]));
        assert!(all > 0 && all < longest, "{costs}");
    }
    let items = costs["items"].as_array().expect("items");
    assert_eq!(items.len(), 4);
    for item in items {
        let parts = ["cpu_ns", "blocked_ns", "preempted_ns"].map(|part| number(&item[part]));
        assert_eq!(
            parts.iter().sum::<u64>(),
            number(&item["elapsed_ns"]),
            "{item}"
        );
        assert!(parts[1] >= 10_000_000, "{item}");
    }
    let table = output(&["cost", argument(&out)]);
    assert!(
        text(&table).contains("deferred - direct"),
        "{}",
        text(&table)
    );
    // A trace alone has no phases.
    let alone = folder.path().join("alone.dat");
    fs::copy(out.join("two/trace/trace.dat"), &alone).expect("a copy");
    let refused = output(&["cost", argument(&alone)]);
    assert_eq!(code(&refused), 2, "{}", text(&refused));
    assert!(text(&refused).contains("is no run's trace"));
}
