// SPDX-License-Identifier: GPL-2.0-only

//! Checks on the module as a whole: its load, what it leaks, and the harness's own check that it cleans up.
//!
//! In: an expectation or a phase. Out: a check result.
//! Does not: decide what a missing leak scan means (`judge`).

use deferinit_scenario::{Expectation, LeaksExpectation, LoadExpectation};
use deferinit_timeline::{Item, ItemEvent, Leak, PhaseSpan, Timeline};

use super::{Findings, Run};
use crate::evidence::{Line, MOST_LINES};
use crate::text::count_bounds;
use crate::verdict::{CheckResult, Violation};

/// Checks that the load is refused with an error.
pub(super) fn load(wanted: &LoadExpectation, run: Run<'_>) -> CheckResult {
    let (number, error) = (i64::from(wanted.error.number()), wanted.error);
    let mut findings = Findings::new(
        run.name(&wanted.phase, "load"),
        format!("refused with -{error}"),
    );
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let Some(loaded) = phase.loaded else {
        return findings.matched_nothing("the load never returned", Vec::new());
    };
    if loaded.status != -number {
        let line = Line::marker(loaded.moment, &format!("loaded {}", loaded.status));
        findings.note(
            &format!("returned {}, allowed -{number} (-{error})", loaded.status),
            vec![line],
        );
    }
    findings.result(format!("returned {}", loaded.status))
}

/// Checks the number of leaks. Without a scan the check does not pass, and has no violation either.
pub(super) fn leaks(wanted: &LeaksExpectation, timeline: &Timeline) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let name = "leaks".to_owned();
    let Some(leaks) = &timeline.leaks else {
        let measured = "no kmemleak scan was made".to_owned();
        return CheckResult {
            name,
            expected,
            measured,
            passed: false,
            violations: Vec::new(),
        };
    };
    let passed = wanted
        .bounds
        .admits(u64::try_from(leaks.len()).unwrap_or(u64::MAX));
    let mut violations = Vec::new();
    if !passed {
        let message = format!(
            "leaks: kmemleak reports {}, allowed {expected}",
            leaks.len()
        );
        let evidence = leaks.iter().flat_map(leak_lines).take(MOST_LINES).collect();
        violations.push(Violation {
            check: name.clone(),
            message,
            evidence,
        });
    }
    CheckResult {
        name,
        expected,
        measured: leaks.len().to_string(),
        passed,
        violations,
    }
}

fn leak_lines(leak: &Leak) -> Vec<String> {
    vec![
        format!("{}, {}", leak.object, leak.allocator),
        format!("  at {}", leak.backtrace.join(" < ")),
    ]
}

/// The harness's own check on every phase: the module loads, unless its refusal is expected, and unloads; each item
/// that left a record ended without an error or was cancelled.
pub(crate) fn workload(phase: &PhaseSpan, run: Run<'_>) -> CheckResult {
    let refusal_expected = run
        .scenario
        .expect
        .iter()
        .any(|one| matches!(one, Expectation::Load(load) if load.phase == phase.name));
    let load = if refusal_expected { "" } else { "loads, " };
    let mut findings = Findings::new(
        run.name(&phase.name, "module"),
        format!("{load}unloads, and each item ends without error or is cancelled"),
    );
    if let Some(loaded) = phase
        .loaded
        .filter(|loaded| loaded.status != 0 && !refusal_expected)
    {
        let line = Line::marker(loaded.moment, &format!("loaded {}", loaded.status));
        findings.note(
            &format!("the load returned {}, allowed 0", loaded.status),
            vec![line],
        );
    }
    if let Some(unloaded) = phase.unloaded.filter(|unloaded| unloaded.status != 0) {
        let line = Line::marker(unloaded.moment, &format!("unloaded {}", unloaded.status));
        findings.note(
            &format!("the unload returned {}, allowed 0", unloaded.status),
            vec![line],
        );
    }
    for item in &phase.items {
        note_item(&mut findings, item);
    }
    let count = |event| {
        phase
            .items
            .iter()
            .filter(|item| item.moment(event).is_some())
            .count()
    };
    let (ended, cancelled) = (count(ItemEvent::Ended), count(ItemEvent::Cancelled));
    let refused = phase.loaded.is_some_and(|loaded| loaded.status != 0);
    let load = if refused { "load refused, " } else { "" };
    findings.result(format!(
        "{load}{} items: {ended} ended, {cancelled} cancelled",
        phase.items.len()
    ))
}

fn note_item(findings: &mut Findings, item: &Item) {
    match (item.ended, item.cancelled) {
        (Some(ended), _) if ended.status != 0 => {
            let lines = Line::items_all(item);
            findings.note(
                &format!(
                    "item {} ended with error {}, allowed 0",
                    item.id, ended.status
                ),
                lines,
            );
        }
        (None, None) => {
            let last = ItemEvent::ALL
                .into_iter()
                .rev()
                .find(|event| item.moment(*event).is_some());
            let last = last.map_or("known", ItemEvent::word);
            let message = format!(
                "item {} is {last} but neither ends nor is cancelled",
                item.id
            );
            findings.note(&message, Line::items_all(item));
        }
        _ => {}
    }
}
