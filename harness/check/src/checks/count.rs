// SPDX-License-Identifier: GPL-2.0-only

//! Checks how many items reach an event, how often items are retried, or how often a function is called.
//!
//! In: a count expectation and a run. Out: a check result.
//! A count of 0 passes only where 0 is asked for and the phase did something that could have counted.

use deferinit_scenario::{CountExpectation, CountOf};
use deferinit_timeline::{AttemptEnd, CommandSpan, ItemEvent, PhaseSpan};

use super::{Findings, Run, all_lines};
use crate::evidence::Line;
use crate::items::{NamedItem, PhaseView};
use crate::sample::calls;
use crate::text::count_bounds;
use crate::verdict::CheckResult;

/// Checks the number of events or calls.
pub(super) fn count(wanted: &CountExpectation, run: Run<'_>) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let chosen = wanted.items.as_deref();
    let name = run.name_for(&wanted.phase, &format!("count of {}", wanted.of), chosen);
    let mut findings = Findings::new(name, expected.clone());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);

    let (count, lines) = counted(&wanted.of, &phase);
    if chosen.is_some() && phase.items.is_empty() {
        return findings.matched_nothing("none of the items left a record", lines);
    }
    if count == 0 && wanted.bounds.admits(0) {
        if wanted.bounds.at_most != Some(0) {
            return findings.matched_nothing(
                &format!("0 counted, and only `equals: 0` asks for that, not {expected}"),
                lines,
            );
        }
        let has_ended = |command: &CommandSpan| command.how.is_some();
        let has_run = phase.span.command.as_ref().is_some_and(has_ended);
        if phase.items.is_empty() && !was_refused(phase.span) && !has_run {
            return findings.matched_nothing("no item left a record in the phase", lines);
        }
    }
    if !wanted.bounds.admits(count) {
        findings.note(&format!("{count}, allowed {expected}"), lines);
    }
    findings.result(count.to_string())
}

/// The count, and the records that show it: those counted, and those of items that were not.
fn counted(of: &CountOf, phase: &PhaseView<'_>) -> (u64, Vec<Line>) {
    let (count, lines) = match of {
        CountOf::Armed => reaching(ItemEvent::Armed, phase),
        CountOf::Queued => reaching(ItemEvent::Queued, phase),
        CountOf::Started => reaching(ItemEvent::Started, phase),
        CountOf::Ended => reaching(ItemEvent::Ended, phase),
        CountOf::Cancelled => reaching(ItemEvent::Cancelled, phase),
        CountOf::Retried => {
            let count = phase.items.iter().map(retries).sum();
            (count, phase.items.iter().flat_map(Line::retries).collect())
        }
        // Counted by a query (`trace`).
        CountOf::Event(_) => (0, Vec::new()),
        CountOf::Function(function) => {
            let calls = calls(phase.span, function);
            let lines = calls.iter().flat_map(|call| call.subject.lines()).collect();
            (calls.len(), lines)
        }
    };
    let lines = if lines.is_empty() {
        all_lines(phase)
    } else {
        lines
    };
    (u64::try_from(count).unwrap_or(u64::MAX), lines)
}

/// The items with an event, and the records of those without: they tell more.
fn reaching(event: ItemEvent, phase: &PhaseView<'_>) -> (usize, Vec<Line>) {
    let (with, without): (Vec<_>, Vec<_>) = phase
        .items
        .iter()
        .partition(|item| item.moment(event).is_some());
    let lines = if without.is_empty() {
        let lines = with.iter().filter_map(|item| Line::item(item, event));
        lines.collect()
    } else {
        without.iter().flat_map(Line::items_all).collect()
    };
    (with.len(), lines)
}

fn retries(item: &NamedItem<'_>) -> usize {
    item.attempts
        .iter()
        .filter(|attempt| matches!(attempt.end, Some(AttemptEnd::Retried(_))))
        .count()
}

/// Whether the module was never loaded, so that there can be no item.
fn was_refused(phase: &PhaseSpan) -> bool {
    phase.loaded.is_some_and(|loaded| loaded.status != 0)
}
