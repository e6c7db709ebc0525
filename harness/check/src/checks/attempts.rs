// SPDX-License-Identifier: GPL-2.0-only

//! Checks how often items are started.
//!
//! In: an attempts expectation and a run. Out: a check result. An item that left no record was started 0 times; if none
//! of them left one, that matches nothing.

use deferinit_scenario::AttemptsExpectation;

use super::{Findings, Run};
use crate::evidence::Line;
use crate::text::count_bounds;
use crate::verdict::CheckResult;

/// Checks how often each item is started.
pub(super) fn attempts(wanted: &AttemptsExpectation, run: Run<'_>) -> CheckResult {
    let chosen = wanted.items.as_deref();
    let expected = count_bounds(&wanted.bounds);
    let name = run.name_for(&wanted.phase, "attempts", chosen);
    let mut findings = Findings::new(name, format!("each {expected}"));
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    if phase.items.is_empty() {
        return findings.matched_nothing("none of the items left a record", Vec::new());
    }
    let mut counts = Vec::new();
    for id in run.ids(&wanted.phase, chosen) {
        let item = phase.item(id);
        let count = item.map_or(0, |item| item.attempts.len());
        counts.push(count);
        if !wanted
            .bounds
            .admits(u64::try_from(count).unwrap_or(u64::MAX))
        {
            let label = run.label(&wanted.phase, id).item();
            let times = if count == 1 { "time" } else { "times" };
            findings.note(
                &format!("{label} was started {count} {times}, allowed {expected}"),
                item.iter().flat_map(Line::items_all).collect(),
            );
        }
    }
    findings.result(summary(&counts))
}

/// `1 item: 3`, `8 items: each 1`, or `8 items: min 1, max 3`.
fn summary(counts: &[usize]) -> String {
    match (counts.iter().min(), counts.iter().max(), counts.len()) {
        (Some(one), Some(_), 1) => format!("1 item: {one}"),
        (Some(min), Some(max), items) if min == max => format!("{items} items: each {min}"),
        (Some(min), Some(max), items) => format!("{items} items: min {min}, max {max}"),
        _ => "no item".to_owned(),
    }
}
