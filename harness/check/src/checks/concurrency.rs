// SPDX-License-Identifier: GPL-2.0-only

//! Checks how many items run at one time.
//!
//! In: a concurrency expectation and a run. Out: a check result, with the items that run at the peak. An item that is
//! called again does not run between its attempts.

use deferinit_scenario::ConcurrencyExpectation;
use deferinit_timeline::{AttemptEnd, ItemEvent};

use super::{Findings, Run, all_lines};
use crate::evidence::Line;
use crate::sample;
use crate::text::count_bounds;
use crate::verdict::CheckResult;

/// Checks the most items that run at one time.
pub(super) fn concurrency(wanted: &ConcurrencyExpectation, run: Run<'_>) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let chosen = wanted.items.as_deref();
    let name = run.name_for(&wanted.phase, "concurrency", chosen);
    let mut findings = Findings::new(name, expected.clone());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    let attempts = sample::concurrency(&phase);
    let most = attempts.len();
    if most == 0 {
        return findings.matched_nothing("no item started", all_lines(&phase));
    }
    if !wanted
        .bounds
        .admits(u64::try_from(most).unwrap_or(u64::MAX))
    {
        let lines = attempts
            .iter()
            .flat_map(|(item, number, attempt)| {
                let mut lines = Line::attempt(item, *number, attempt);
                if let Some(AttemptEnd::Ended(_)) = attempt.end {
                    lines.extend(Line::item(item, ItemEvent::Ended));
                }
                lines
            })
            .collect();
        findings.note(
            &format!("{most} items run at one time, allowed {expected}"),
            lines,
        );
    }
    findings.result(most.to_string())
}
