// SPDX-License-Identifier: GPL-2.0-only

//! Checks what items end with.
//!
//! In: an error expectation and a run. Out: a check result. An item that did not end is a violation; if none of them
//! left a record, that matches nothing.

use std::collections::BTreeMap;

use deferinit_scenario::{Errno, ErrorExpectation};

use super::{Findings, Run};
use crate::evidence::Line;
use crate::verdict::CheckResult;

/// Checks that each item has ended with the error, or without one.
pub(super) fn error(wanted: &ErrorExpectation, run: Run<'_>) -> CheckResult {
    let chosen = wanted.items.as_deref();
    let status = wanted.equals.map_or(0, |error| -i64::from(error.number()));
    let expected = words(Some(status));
    let name = run.name_for(&wanted.phase, "error", chosen);
    let mut findings = Findings::new(name, format!("each {expected}"));
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    if phase.items.is_empty() {
        return findings.matched_nothing("none of the items left a record", Vec::new());
    }
    let mut ends: BTreeMap<Option<i64>, usize> = BTreeMap::new();
    for id in run.ids(&wanted.phase, chosen) {
        let item = phase.item(id);
        let ended = item.and_then(|item| Some(item.ended?.status));
        *ends.entry(ended).or_default() += 1;
        if ended != Some(status) {
            let label = run.label(&wanted.phase, id).item();
            let was_cancelled = item.is_some_and(|item| item.cancelled.is_some());
            let found = match ended {
                None if was_cancelled => "was cancelled".to_owned(),
                ended => words(ended),
            };
            findings.note(
                &format!("{label} {found}, allowed: {expected}"),
                item.iter().flat_map(Line::items_all).collect(),
            );
        }
    }
    let counts = ends
        .into_iter()
        .map(|(ended, count)| format!("{count} {}", words(ended)));
    findings.result(counts.collect::<Vec<_>>().join(", "))
}

/// `ended with -EIO (-5)`, `ended without error`, `did not end`.
fn words(status: Option<i64>) -> String {
    match status {
        None => "did not end".to_owned(),
        Some(0) => "ended without error".to_owned(),
        Some(status) => format!("ended with {}", error_words(status)),
    }
}

/// `-EIO (-5)`; the number alone if it has no name.
pub(super) fn error_words(status: i64) -> String {
    let number = status
        .checked_neg()
        .and_then(|number| i32::try_from(number).ok());
    match number.and_then(Errno::from_number) {
        Some(error) => format!("-{error} ({status})"),
        None => status.to_string(),
    }
}
