// SPDX-License-Identifier: GPL-2.0-only

//! Hand-made runs, one per verdict, in the words that `deferinit-check` has for them.

use std::{collections::BTreeMap, time::Duration};

use deferinit_check::{CheckResult, Judgement, NotJudged, Reason, Verdict, Violation};
use deferinit_report::{FunctionFigures, Repetition, RunResult};
use deferinit_timeline::{Anomalies, Ending, FormatVersion, Integrity, Reports, Timeline};

const MACHINE: &str = "x86_64, 1 CPU, 256 MiB, QEMU 7.2.22, TCG, 2 ns per instruction";

pub(crate) fn passed(name: &str) -> RunResult {
    RunResult {
        repetition: Repetition::ONLY,
        judgement: Judgement {
            format_version: FormatVersion,
            scenario: name.to_owned(),
            verdict: Verdict::Pass,
            checks: vec![CheckResult {
                name: "count of started".to_owned(),
                expected: "exactly 8".to_owned(),
                measured: "8".to_owned(),
                passed: true,
                not_judged: None,
                too_long_ns: None,
                violations: vec![],
            }],
            measurements: measurements(&[
                ("main.concurrency", 1),
                ("main.first-armed-last-ended", 124_180_000),
                ("main.init", 420_000),
                ("main.items.armed", 8),
                ("main.items.ended", 8),
                ("main.lateness.max", 3_981_000),
                ("main.lateness.min", 1_020_400),
            ]),
        },
        clock: "exact".to_owned(),
        kernel: "7.3.4".to_owned(),
        machine: MACHINE.to_owned(),
        accelerator: None,
        guest_ns: Some(212_400_000),
        wall: Duration::from_millis(2_341),
        timings: None,
        trace_sha256: Some("5f".repeat(32)),
        folder: format!("deferinit-runs/2026-01-02T03-04-05/{name}"),
        console: vec![],
        functions: vec![
            function("deferred_init", 1, 420_000),
            function("deferred_item_body", 8, 200_300),
        ],
    }
}

pub(crate) fn failed(name: &str) -> RunResult {
    let late = |id: u32| Violation {
        check: "lateness of started".to_owned(),
        message: format!("item {id} (dev{id}) is 9.120 ms after armed + 50 ms, allowed 0 ns..8 ms"),
        evidence: vec![
            format!("cpu0 1.604512003 deferred_item_armed id={id} (dev{id}) delay_ns=50000000"),
            format!("cpu0 1.663633123 deferred_item_started id={id} (dev{id})"),
        ],
    };
    let violations: Vec<_> = (3..8).map(late).collect();
    let mut run = passed(name);
    run.judgement.checks.push(CheckResult {
        name: "lateness of started".to_owned(),
        expected: "each 0 ns..8 ms".to_owned(),
        measured: "8 items: 1.020400 ms..9.120 ms".to_owned(),
        passed: false,
        not_judged: None,
        too_long_ns: None,
        violations: violations.clone(),
    });
    run.judgement.verdict = Verdict::Fail(violations);
    run
}

/// A pass on a kernel whose times mean nothing.
pub(crate) fn untimed(name: &str) -> RunResult {
    let mut run = passed(name);
    run.judgement.checks.push(CheckResult {
        name: "lateness of started for bus".to_owned(),
        expected: "each 0 ns..8 ms".to_owned(),
        measured: "1 value: 9.120 ms".to_owned(),
        passed: false,
        not_judged: Some(NotJudged::Untimed),
        too_long_ns: None,
        violations: vec![],
    });
    run
}

pub(crate) fn panicked(name: &str) -> RunResult {
    let mut run = passed(name);
    run.judgement.verdict = Verdict::Fail(vec![Violation {
        check: "kernel".to_owned(),
        message: "the guest's kernel panicked: Fatal exception in interrupt".to_owned(),
        evidence: vec![],
    }]);
    run.judgement.checks.clear();
    run.judgement.measurements.clear();
    run.functions.clear();
    run.guest_ns = None;
    run.console = (1..=14)
        .map(|line| format!("[    1.{line:06}] line {line}"))
        .collect();
    run
}

pub(crate) fn unresolved(name: &str) -> RunResult {
    let problem = |cpu: u32| format!("cpu{cpu}: 12 records were overwritten");
    let mut run = passed(name);
    run.judgement.verdict = Verdict::Unresolved(Reason::TraceNotWhole {
        problems: (0..4).map(problem).collect(),
    });
    run
}

pub(crate) fn unsupported(name: &str) -> RunResult {
    let mut run = passed(name);
    let what = "mode `initcall` is unsupported in this version";
    run.judgement.verdict = Verdict::Unsupported(what.to_owned());
    run.judgement.checks.clear();
    run.judgement.measurements.clear();
    run.functions.clear();
    run.guest_ns = None;
    run.trace_sha256 = None;
    run.wall = Duration::ZERO;
    run
}

pub(crate) fn two_phases(name: &str) -> RunResult {
    let mut run = passed(name);
    run.judgement.measurements = measurements(&[
        ("deferred.concurrency", 2),
        ("deferred.first-armed-last-ended", 124_180_000),
        ("deferred.init", 310_000),
        ("deferred.items.armed", 4),
        ("deferred.items.ended", 3),
        ("deferred.lateness.max", 2_200_000),
        ("deferred.lateness.min", -900_000),
        ("direct.concurrency", 1),
        ("direct.first-armed-last-ended", 40_050_000),
        ("direct.init", 40_120_000),
        ("direct.items.armed", 4),
        ("direct.items.ended", 4),
    ]);
    run
}

/// The same run several times.
pub(crate) fn repeated(run: &RunResult, of: u32) -> impl Iterator<Item = RunResult> {
    (1..=of).map(move |index| RunResult {
        repetition: Repetition { index, of },
        ..run.clone()
    })
}

/// A timeline in which nothing happened.
pub(crate) fn timeline() -> Timeline {
    Timeline {
        format_version: FormatVersion,
        ending: Ending::Complete,
        trace_clock: "local".to_owned(),
        first: None,
        last: None,
        records: 0,
        integrity: Integrity::default(),
        anomalies: Anomalies::default(),
        phases: vec![],
        functions: vec![],
        splats: vec![],
        log_lines: vec![],
        log_cut: false,
        leaks: None,
        answers: Vec::new(),
        reports: Reports::default(),
    }
}

fn measurements(values: &[(&str, i64)]) -> BTreeMap<String, i64> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

fn function(name: &str, calls: u64, each: i64) -> FunctionFigures {
    FunctionFigures {
        phase: Some("main".to_owned()),
        name: name.to_owned(),
        module: Some("test_deferred".to_owned()),
        calls,
        total_ns: each * i64::try_from(calls).expect("few calls"),
        min_ns: each,
        max_ns: each,
    }
}
