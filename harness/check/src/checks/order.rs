// SPDX-License-Identifier: GPL-2.0-only

//! Checks the order in which items reach an event.
//!
//! In: an order expectation and a run. Out: a check result.
//! Two items that reach it in the same nanosecond have no order: that is a violation.

use deferinit_scenario::{IdOrder, OrderExpectation};
use deferinit_timeline::{Item, ItemEvent, PhaseSpan};

use super::{Findings, Run, event};
use crate::evidence::Line;
use crate::text::time;
use crate::verdict::CheckResult;

/// Most ids one text lists.
const MOST_IDS: usize = 16;

/// Checks that the items wanted all reach the event, each later than the one before.
pub(super) fn order(wanted: &OrderExpectation, run: Run<'_>) -> CheckResult {
    let by = event(wanted.by);
    let ids: Vec<u32> = match &wanted.ids {
        IdOrder::Ascending => (0..run.items(&wanted.phase)).collect(),
        IdOrder::Descending => (0..run.items(&wanted.phase)).rev().collect(),
        IdOrder::Listed(ids) => ids.clone(),
    };
    let name = run.name(&wanted.phase, &format!("order of {}", by.word()));
    let mut findings = Findings::new(name, list(&ids));
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };

    let reached: Vec<&Item> = ids
        .iter()
        .filter_map(|id| reaching(phase, *id, by))
        .collect();
    if reached.len() < 2 {
        return findings.matched_nothing(
            &format!(
                "{} of {} items {}, and an order needs 2",
                reached.len(),
                ids.len(),
                by.word()
            ),
            reached.into_iter().flat_map(Line::items_all).collect(),
        );
    }
    for id in ids.iter().filter(|id| reaching(phase, **id, by).is_none()) {
        let lines = phase
            .items
            .iter()
            .filter(|item| item.id == *id)
            .flat_map(Line::items_all)
            .collect();
        findings.note(&format!("item {id} is never {}", by.word()), lines);
    }
    for (one, next) in reached.iter().zip(reached.iter().skip(1)) {
        note_if_not_later(&mut findings, one, next, by);
    }
    let mut by_time = reached;
    by_time.sort_by_key(|item| item.moment(by).map(|moment| moment.at));
    let found: Vec<u32> = by_time.iter().map(|item| item.id).collect();
    findings.result(list(&found))
}

fn reaching(phase: &PhaseSpan, id: u32, by: ItemEvent) -> Option<&Item> {
    phase
        .items
        .iter()
        .find(|item| item.id == id && item.moment(by).is_some())
}

fn note_if_not_later(findings: &mut Findings, one: &Item, next: &Item, by: ItemEvent) {
    let (Some(one_at), Some(next_at)) = (one.moment(by), next.moment(by)) else {
        return;
    };
    let ahead = one_at.at.since(next_at.at);
    let lines = [one, next]
        .into_iter()
        .filter_map(|item| Line::item(item, by))
        .collect();
    let (id, other, word) = (next.id, one.id, by.word());
    if ahead > 0 {
        findings.note(
            &format!(
                "item {id} is {word} {} before item {other}, allowed after it",
                time(ahead)
            ),
            lines,
        );
    } else if ahead == 0 {
        findings.note(
            &format!(
                "item {id} is {word} in the same nanosecond as item {other}, allowed after it"
            ),
            lines,
        );
    }
}

/// `0, 1, 2`, cut after [`MOST_IDS`].
fn list(ids: &[u32]) -> String {
    let mut text = ids
        .iter()
        .take(MOST_IDS)
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let left_out = ids.len().saturating_sub(MOST_IDS);
    if left_out > 0 {
        text += &format!(" and {left_out} more");
    }
    text
}
