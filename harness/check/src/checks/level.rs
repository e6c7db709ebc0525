// SPDX-License-Identifier: GPL-2.0-only

//! Checks the initcall level at which items are armed while the kernel boots.
//!
//! In: a level expectation and a run. Out: a check result. An item that was not armed by an initcall is a violation; if
//! none of them left a record, that matches nothing.
//! Source: `initcall_level`, `include/trace/events/initcall.h`, Linux 7.3.

use std::collections::BTreeMap;

use deferinit_scenario::LevelExpectation;

use super::{Findings, Run};
use crate::evidence::Line;
use crate::verdict::CheckResult;

/// Checks that each item was armed at the level.
pub(super) fn level(wanted: &LevelExpectation, run: Run<'_>) -> CheckResult {
    let chosen = wanted.items.as_deref();
    let expected = wanted.equals.as_str();
    let name = run.name_for(&wanted.phase, "level", chosen);
    let mut findings = Findings::new(name, format!("each armed at level {expected}"));
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    if phase.items.is_empty() {
        return findings.matched_nothing("none of the items left a record", Vec::new());
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in run.ids(&wanted.phase, chosen) {
        let item = phase.item(id);
        let level = item.as_ref().and_then(|item| item.level.as_deref());
        *counts
            .entry(level.unwrap_or("none").to_owned())
            .or_default() += 1;
        if level != Some(expected) {
            let label = run.label(&wanted.phase, id).item();
            let found = match level {
                Some(level) => format!("was armed at level {level}"),
                None => "was armed at no level".to_owned(),
            };
            findings.note(
                &format!("{label} {found}, allowed {expected}"),
                item.iter().flat_map(Line::items_all).collect(),
            );
        }
    }
    let counts = counts
        .into_iter()
        .map(|(level, count)| format!("{count} at level {level}"));
    findings.result(counts.collect::<Vec<_>>().join(", "))
}
