// SPDX-License-Identifier: GPL-2.0-only

//! Checks on the module as a whole: its load, what it leaks, and the harness's own check that it cleans up.
//!
//! In: an expectation or a phase. Out: a check result.
//! Does not: decide what a missing leak scan means (`judge`).

use std::collections::BTreeSet;

use deferinit_scenario::{Expectation, LeaksExpectation, Load, LoadExpectation};
use deferinit_timeline::{ItemEvent, Leak, PhaseSpan, Timeline};

use super::command::command;
use super::error::error_words;
use super::{Findings, Run};
use crate::evidence::{Line, MOST_LINES};
use crate::items::{NamedItem, PhaseView};
use crate::text::count_bounds;
use crate::verdict::{CheckResult, NotJudged};

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
    let Some(loaded) = phase.span.loaded else {
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
    let mut findings = Findings::new("leaks".to_owned(), expected.clone());
    let Some(leaks) = &timeline.leaks else {
        return findings.not_judged(NotJudged::NoLeakScan, "no kmemleak scan was made");
    };
    let count = leaks.len();
    if !wanted
        .bounds
        .admits(u64::try_from(count).unwrap_or(u64::MAX))
    {
        let evidence = leaks.iter().flat_map(leak_lines).take(MOST_LINES).collect();
        findings.note_lines(
            &format!("kmemleak reports {count}, allowed {expected}"),
            evidence,
        );
    }
    findings.result(count.to_string())
}

fn leak_lines(leak: &Leak) -> Vec<String> {
    vec![
        format!("{}, {}", leak.object, leak.allocator),
        format!("  at {}", leak.backtrace.join(" < ")),
    ]
}

/// The harness's own check on every phase: the module loads, unless its refusal is expected, and unloads; each item
/// that left a record ended without an error or was cancelled. What an item ends with is not its matter where the
/// scenario says it.
pub(crate) fn workload(phase: &PhaseSpan, run: Run<'_>) -> CheckResult {
    if let Some(span) = &phase.command {
        return command(phase, span, run);
    }
    let refusal_expected = run
        .scenario
        .expect
        .iter()
        .any(|one| matches!(one, Expectation::Load(load) if load.phase == phase.name));
    let load = if refusal_expected { "" } else { "loads, " };
    let elsewhere = items_with_expected_end(&phase.name, run);
    let other = if elsewhere.is_empty() { "" } else { " other" };
    let expected = match run.scenario.load {
        Load::Module => {
            format!("{load}unloads, and each{other} item ends without error or is cancelled")
        }
        // Nothing takes back what is pending when the run ends.
        Load::BuiltIn => format!("no{other} item ends with an error"),
    };
    if phase.rounds.is_some() {
        return rounds(phase, run);
    }
    let mut findings = Findings::new(run.name(&phase.name, "module"), expected);
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
    for item in &PhaseView::new(phase, run.workload(&phase.name)).items {
        let is_end_expected = elsewhere.contains(&item.id);
        let is_unloaded = run.scenario.load == Load::Module;
        note_item(&mut findings, item, is_end_expected, is_unloaded);
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

/// The same of a phase with rounds. One that was not as it should be has ended the run.
fn rounds(phase: &PhaseSpan, run: Run<'_>) -> CheckResult {
    let findings = Findings::new(
        run.name(&phase.name, "module"),
        "in each round loads, ends or cancels each item, and unloads".to_owned(),
    );
    match phase.rounds.and_then(|rounds| rounds.record) {
        Some(record) => findings.result(format!("{} rounds did", record.rounds)),
        None => findings.matched_nothing("the rounds have no record", Vec::new()),
    }
}

/// The items of a phase whose end the scenario has an expectation on.
fn items_with_expected_end(phase: &str, run: Run<'_>) -> BTreeSet<u32> {
    let wanted = run.scenario.expect.iter();
    let ids = wanted.filter_map(|one| match one {
        Expectation::Error(error) if error.phase == phase => {
            Some(run.ids(phase, error.items.as_deref()))
        }
        _ => None,
    });
    ids.flatten().collect()
}

fn note_item(
    findings: &mut Findings,
    item: &NamedItem<'_>,
    is_end_expected: bool,
    is_unloaded: bool,
) {
    let label = item.label.item();
    match (item.ended, item.cancelled) {
        (Some(ended), _) if ended.status != 0 && !is_end_expected => {
            let error = error_words(ended.status);
            let message = format!("{label} ended with error {error}, allowed 0");
            findings.note(&message, Line::items_all(item));
        }
        (None, None) if is_unloaded => {
            let last = ItemEvent::ALL
                .into_iter()
                .rev()
                .find(|event| item.moment(*event).is_some());
            let last = last.map_or("known", ItemEvent::word);
            let message = format!("{label} is {last} but neither ends nor is cancelled");
            findings.note(&message, Line::items_all(item));
        }
        _ => {}
    }
}
