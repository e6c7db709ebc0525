// SPDX-License-Identifier: GPL-2.0-only

//! Checks how many items run at one time.
//!
//! In: a concurrency expectation and a run. Out: a check result, with the items that run at the peak.

use deferinit_scenario::ConcurrencyExpectation;
use deferinit_timeline::ItemEvent;

use super::{Findings, Run, all_lines};
use crate::evidence::Line;
use crate::sample;
use crate::text::count_bounds;
use crate::verdict::CheckResult;

/// Checks the most items that run at one time.
pub(super) fn concurrency(wanted: &ConcurrencyExpectation, run: Run<'_>) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let mut findings = Findings::new(run.name(&wanted.phase, "concurrency"), expected.clone());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let (most, items) = sample::concurrency(phase);
    if most == 0 {
        return findings.matched_nothing("no item started", all_lines(phase));
    }
    if !wanted
        .bounds
        .admits(u64::try_from(most).unwrap_or(u64::MAX))
    {
        let lines = items
            .into_iter()
            .flat_map(|item| {
                [
                    Line::item(item, ItemEvent::Started),
                    Line::item(item, ItemEvent::Ended),
                ]
            })
            .flatten()
            .collect();
        findings.note(
            &format!("{most} items run at one time, allowed {expected}"),
            lines,
        );
    }
    findings.result(most.to_string())
}
