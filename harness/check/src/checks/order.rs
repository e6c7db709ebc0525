// SPDX-License-Identifier: GPL-2.0-only

//! Checks the order in which items reach an event.
//!
//! In: an order expectation and a run. Out: a check result.
//! Two items that reach it in the same nanosecond have no order: that is a violation.

use std::collections::BTreeMap;

use deferinit_scenario::{IdOrder, OrderExpectation};
use deferinit_timeline::ItemEvent;

use super::{Findings, Run, event};
use crate::evidence::Line;
use crate::items::{NamedItem, PhaseView};
use crate::text::time;
use crate::verdict::CheckResult;

/// Most ids one text lists.
const MOST_IDS: usize = 16;

/// Checks that the items wanted all reach the event, each later than the one before.
pub(super) fn order(wanted: &OrderExpectation, run: Run<'_>) -> CheckResult {
    let by = event(wanted.by);
    let ids: Vec<u32> = match &wanted.ids {
        IdOrder::Ascending => run.ids(&wanted.phase, None),
        IdOrder::Descending => run.ids(&wanted.phase, None).into_iter().rev().collect(),
        IdOrder::Listed(ids) => ids.clone(),
    };
    let name = run.name(&wanted.phase, &format!("order of {}", by.word()));
    let list = |ids: &[u32]| list(ids, |id| run.label(&wanted.phase, id).number());
    let mut findings = Findings::new(name, list(&ids));
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };

    let reaching = reaching(&phase, by);
    let reached: Vec<NamedItem<'_>> = ids
        .iter()
        .filter_map(|id| reaching.get(id).copied())
        .collect();
    if reached.len() < 2 {
        return findings.matched_nothing(
            &format!(
                "{} of {} items {}, and an order needs 2",
                reached.len(),
                ids.len(),
                by.word()
            ),
            reached.iter().flat_map(Line::items_all).collect(),
        );
    }
    for id in ids.iter().filter(|id| !reaching.contains_key(id)) {
        let lines = phase.item(*id).iter().flat_map(Line::items_all).collect();
        let label = run.label(&wanted.phase, *id).item();
        findings.note(&format!("{label} is never {}", by.word()), lines);
    }
    for (one, next) in reached.iter().zip(reached.iter().skip(1)) {
        note_if_not_later(&mut findings, one, next, by);
    }
    let mut by_time = reached;
    by_time.sort_by_key(|item| item.moment(by).map(|moment| moment.at));
    let found: Vec<u32> = by_time.iter().map(|item| item.id).collect();
    findings.result(list(&found))
}

/// The items that reach an event, by id.
fn reaching<'a>(phase: &PhaseView<'a>, by: ItemEvent) -> BTreeMap<u32, NamedItem<'a>> {
    let items = phase.items.iter().filter(|item| item.moment(by).is_some());
    items.map(|item| (item.id, *item)).collect()
}

fn note_if_not_later(
    findings: &mut Findings,
    one: &NamedItem<'_>,
    next: &NamedItem<'_>,
    by: ItemEvent,
) {
    let (Some(one_at), Some(next_at)) = (one.moment(by), next.moment(by)) else {
        return;
    };
    let ahead = one_at.at.since(next_at.at);
    let lines = [one, next]
        .into_iter()
        .filter_map(|item| Line::item(item, by))
        .collect();
    let (item, other, word) = (next.label.item(), one.label.item(), by.word());
    if ahead > 0 {
        findings.note(
            &format!(
                "{item} is {word} {} before {other}, allowed after it",
                time(ahead)
            ),
            lines,
        );
    } else if ahead == 0 {
        findings.note(
            &format!("{item} is {word} in the same nanosecond as {other}, allowed after it"),
            lines,
        );
    }
}

/// `0 (bus), 1 (disk)`, cut after [`MOST_IDS`].
fn list(ids: &[u32], words: impl Fn(u32) -> String) -> String {
    let mut text = ids
        .iter()
        .take(MOST_IDS)
        .map(|id| words(*id))
        .collect::<Vec<_>>()
        .join(", ");
    let left_out = ids.len().saturating_sub(MOST_IDS);
    if left_out > 0 {
        text += &format!(" and {left_out} more");
    }
    text
}
