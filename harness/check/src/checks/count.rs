// SPDX-License-Identifier: GPL-2.0-only

//! Checks how many items reach an event, or how often a function is called.
//!
//! In: a count expectation and a run. Out: a check result.
//! A count of 0 passes only where 0 is asked for and the phase did something that could have counted.

use deferinit_scenario::{CountExpectation, CountOf};
use deferinit_timeline::{ItemEvent, PhaseSpan};

use super::{Findings, Run, all_lines};
use crate::evidence::Line;
use crate::sample::calls;
use crate::text::count_bounds;
use crate::verdict::CheckResult;

/// Checks the number of events or calls.
pub(super) fn count(wanted: &CountExpectation, run: Run<'_>) -> CheckResult {
    let what = match item_event(&wanted.of) {
        Ok(event) => event.word(),
        Err(function) => function,
    };
    let expected = count_bounds(&wanted.bounds);
    let mut findings = Findings::new(
        run.name(&wanted.phase, &format!("count of {what}")),
        expected.clone(),
    );
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };

    let (count, lines) = counted(&wanted.of, phase);
    if count == 0 && wanted.bounds.admits(0) {
        if wanted.bounds.at_most != Some(0) {
            return findings.matched_nothing(
                &format!("0 counted, and only `equals: 0` asks for that, not {expected}"),
                lines,
            );
        }
        if phase.items.is_empty() && !was_refused(phase) {
            return findings.matched_nothing("no item left a record in the phase", lines);
        }
    }
    if !wanted.bounds.admits(count) {
        findings.note(&format!("{count}, allowed {expected}"), lines);
    }
    findings.result(count.to_string())
}

fn item_event(of: &CountOf) -> Result<ItemEvent, &str> {
    match of {
        CountOf::Armed => Ok(ItemEvent::Armed),
        CountOf::Queued => Ok(ItemEvent::Queued),
        CountOf::Started => Ok(ItemEvent::Started),
        CountOf::Ended => Ok(ItemEvent::Ended),
        CountOf::Cancelled => Ok(ItemEvent::Cancelled),
        CountOf::Function(name) => Err(name),
    }
}

/// The count, and the records that show it: those counted, and those of items that were not.
fn counted(of: &CountOf, phase: &PhaseSpan) -> (u64, Vec<Line>) {
    let (count, lines) = match item_event(of) {
        Ok(event) => {
            let count = phase
                .items
                .iter()
                .filter(|item| item.moment(event).is_some())
                .count();
            // Items without the event tell more than those with it.
            let others = phase
                .items
                .iter()
                .filter(|item| item.moment(event).is_none());
            let lines: Vec<Line> = others.flat_map(Line::items_all).collect();
            let lines = if lines.is_empty() {
                phase
                    .items
                    .iter()
                    .filter_map(|item| Line::item(item, event))
                    .collect()
            } else {
                lines
            };
            (count, lines)
        }
        Err(function) => {
            let calls = calls(phase, function);
            let lines: Vec<Line> = calls.iter().flat_map(|call| call.subject.lines()).collect();
            (
                calls.len(),
                if lines.is_empty() {
                    all_lines(phase)
                } else {
                    lines
                },
            )
        }
    };
    (u64::try_from(count).unwrap_or(u64::MAX), lines)
}

/// Whether the module was never loaded, so that there can be no item.
fn was_refused(phase: &PhaseSpan) -> bool {
    phase.loaded.is_some_and(|loaded| loaded.status != 0)
}
