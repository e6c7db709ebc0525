// SPDX-License-Identifier: GPL-2.0-only

//! Every scenario of the project, run as `make run` does, and what a run leaves.

use std::process::Command;

use crate::harness::{all_names, argument, code, output, results, text};
use crate::trace_differential::{hold_all_below, hold_latencies_below};

#[test]
fn every_scenario_passes_and_leaves_every_stages_file() {
    let out = tempfile::tempdir().expect("a folder");
    let output = output(&["run", "--out", argument(out.path())]);
    assert_eq!(code(&output), 0, "{}", text(&output));

    let results = results(out.path());
    let names: Vec<&str> = results
        .iter()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert_eq!(names, all_names());
    for entry in &results {
        let name = entry["name"].as_str().expect("a name");
        assert_eq!(entry["verdict"], "pass", "{name}: {}", entry["reason"]);
        assert_eq!(entry["clock"], "exact", "{name}");
        let measurements = entry["measurements"].as_object().expect("measurements");
        assert!(
            measurements.values().all(serde_json::Value::is_i64),
            "{name}: {measurements:?}"
        );
        let is_measured = match name {
            "memory/soak" => measurements["main.rounds"] == 1000,
            // A command has no items to measure: that it ends well is one check, and what it is about are others.
            _ if name.starts_with("recipes/") => is_judged(entry),
            _ => measurements.len() > 10,
        };
        assert!(is_measured, "{name}: {measurements:?}");

        let folder = out.path().join(name);
        // Of a workload in the kernel's image, each phase is a boot, with a folder of its own.
        let boot = match name {
            "boot/deferred-initcall" => folder.join("direct"),
            "boot/levels" => folder.join("main"),
            _ => folder.clone(),
        };
        for file in ["plan.json", "build.json", "timeline.json", "verdict.json"] {
            assert!(folder.join(file).is_file(), "{name} has left no {file}");
        }
        for file in [
            "vm/argv",
            "vm/qmp.jsonl",
            "vm/console.log",
            "trace/trace.dat",
            "trace/functions",
        ] {
            assert!(boot.join(file).is_file(), "{name} has left no {file}");
        }
    }
    for file in ["results.json", "junit.xml", "results.ktap"] {
        assert!(out.path().join(file).is_file(), "there is no {file}");
    }

    rust_functions_are_in_the_call_graph(&results);
    functions_can_be_traced(&out.path().join("functions/graph/trace/functions"));
    trace_cmd_agrees(&out.path().join("functions/graph/trace/trace.dat"));
    trace_cmd_reads_the_same_everywhere(out.path());
}

/// Of every tracer and kind of event that a scenario uses, each record and each replayed call.
fn trace_cmd_reads_the_same_everywhere(out: &std::path::Path) {
    let compared = hold_all_below(out);
    assert!(compared.files >= all_names().len(), "{compared:?}");
    assert!(compared.records > 100_000, "{compared:?}");
    assert!(compared.functions > 300, "{compared:?}");
    assert!(compared.calls > 20_000, "{compared:?}");
    for event in [
        "blktrace",
        "context_switch",
        "deferred_item_started",
        "funcgraph_entry",
        "funcgraph_exit",
        "function",
        "irq_disable",
        "kernel_stack",
        "mmiotrace_map",
        "mmiotrace_rw",
        "preempt_disable",
        "print",
        "sched_switch",
        "sys_enter",
        "wakeup",
    ] {
        assert!(
            compared.events.contains_key(event),
            "no {event} in {compared:?}"
        );
    }
    let measured = hold_latencies_below(out);
    for tracer in [
        "irqsoff",
        "preemptoff",
        "preemptirqsoff",
        "wakeup",
        "wakeup_dl",
        "wakeup_rt",
    ] {
        assert!(
            measured.contains(tracer),
            "no latency of {tracer}: {measured:?}"
        );
    }
}

/// Whether more was checked than how the command ended, and all of it passed.
fn is_judged(entry: &serde_json::Value) -> bool {
    let checks = entry["checks"].as_array().expect("checks");
    checks.len() > 1 && checks.iter().all(|check| check["passed"] == true)
}

fn rust_functions_are_in_the_call_graph(results: &[serde_json::Value]) {
    let entry = results
        .iter()
        .find(|entry| entry["name"] == "functions/graph")
        .expect("it ran");
    let functions = entry["functions"].as_array().expect("functions");
    for name in [
        "deferred_init",
        "deferred_arm_item",
        "deferred_run_item",
        "deferred_item_body",
    ] {
        let function = functions.iter().find(|function| function["name"] == name);
        let function = function.unwrap_or_else(|| panic!("{name} is not in {functions:?}"));
        assert_eq!(function["module"], "test_deferred", "{name}");
        assert!(function["calls"].as_u64() >= Some(1), "{name}");
    }
}

/// trace-cmd opens the archive, complains of nothing, and shows the same functions.
fn trace_cmd_agrees(trace_dat: &std::path::Path) {
    let report = Command::new("trace-cmd")
        .args(["report", argument(trace_dat)])
        .output();
    let report = report.expect("trace-cmd is installed");
    assert!(report.status.success());
    assert_eq!(String::from_utf8_lossy(&report.stderr), "");
    let text = String::from_utf8_lossy(&report.stdout);
    assert_eq!(text.matches("deferred_item_body() {").count(), 4, "{text}");
    assert_eq!(text.matches("deferred_item_ended:").count(), 4, "{text}");
}

/// What ftrace can trace of the module: `available_filter_functions` as the glob `deferred_*` finds it.
fn functions_can_be_traced(matched: &std::path::Path) {
    let matched = std::fs::read_to_string(matched).expect("what the filter matched");
    for name in [
        "deferred_init",
        "deferred_arm_item",
        "deferred_run_item",
        "deferred_cancel_item",
        "deferred_item_body",
        "deferred_body_spin",
        "deferred_body_sleep",
        "deferred_body_alloc",
        "deferred_body_wait",
        "deferred_body_cancel",
        "deferred_body_flush",
        "deferred_body_destroy",
        "deferred_body_hang",
        "deferred_fault_use",
        "deferred_fault_set_up",
    ] {
        let line = format!("{name} [test_deferred]");
        assert!(
            matched.lines().any(|found| found == line),
            "no {line}:\n{matched}"
        );
    }
}

#[test]
fn the_readme_lists_the_modules_parameters() {
    let listed = output(&["module", "parameters"]);
    assert_eq!(code(&listed), 0, "{}", text(&listed));
    let table = String::from_utf8_lossy(&listed.stdout);
    let readme = std::fs::read_to_string(crate::harness::project().join("README.md"));
    let readme = readme.expect("the README");
    let part = readme
        .split_once("<!-- deferinit module parameters -->\n")
        .and_then(|(_, rest)| rest.split_once("\n<!-- end -->"));
    let (part, _) = part.expect("the README has the table's marks");
    assert_eq!(
        part,
        table.trim_end(),
        "the README's table is not what the module says"
    );
}
