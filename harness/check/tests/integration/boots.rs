// SPDX-License-Identifier: GPL-2.0-only

//! Runs of a workload in the kernel's image.

use deferinit_check::{Judged, Judgement, Verdict, judge};
use deferinit_scenario::parse;
use deferinit_timeline::PhaseSpan;

use crate::run::{MS, direct_phase, moment, timeline};

/// A boot whose items were armed at core and late, two each, and whose first process runs at 60 ms.
fn boot() -> PhaseSpan {
    let mut phase = direct_phase("main");
    for (item, level) in phase.items.iter_mut().zip(["core", "core", "late", "late"]) {
        item.level = Some(level.to_owned());
    }
    PhaseSpan {
        first_process: Some(moment(60 * MS)),
        load: None,
        loaded: None,
        init: None,
        unload: None,
        unloaded: None,
        functions: Vec::new(),
        ..phase
    }
}

fn judged(expectation: &str, change: impl FnOnce(&mut PhaseSpan)) -> Judgement {
    let text = format!(
        "summary: x\nload: built-in\nworkload: {{ mode: direct, items: 4 }}\nexpect: [{expectation}]\n"
    );
    let scenario = parse("x", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let mut phase = boot();
    change(&mut phase);
    judge(&scenario, &timeline(vec![phase]), Judged::All)
}

#[track_caller]
fn fails(judgement: &Judgement, message: &str) {
    let Verdict::Fail(violations) = &judgement.verdict else {
        panic!("{:?}", judgement.verdict)
    };
    assert!(
        violations.iter().any(|one| one.message == message),
        "{violations:?}"
    );
}

#[test]
fn the_level_of_each_item_is_held_to() {
    let good = judged("level: { items: [0, 1], equals: core }", |_| {});
    assert_eq!(good.verdict, Verdict::Pass);
    let bad = judged("level: { items: [1, 2], equals: core }", |_| {});
    fails(
        &bad,
        "level for items 1, 2: item 2 was armed at level late, allowed core",
    );
    let none = judged("level: { items: [3], equals: late }", |phase| {
        phase.items[3].level = None;
    });
    fails(
        &none,
        "level for item 3: item 3 was armed at no level, allowed late",
    );
    let nothing = judged("level: { equals: late }", |phase| phase.items.clear());
    fails(
        &nothing,
        "level: matched nothing: none of the items left a record",
    );
}

#[test]
fn the_time_until_the_first_process_counts_from_the_boot() {
    let window = "window: { from: boot, to: first-process, min: 60ms, max: 60ms }";
    assert_eq!(judged(window, |_| {}).verdict, Verdict::Pass);
    let late = judged(window, |phase| phase.first_process = Some(moment(61 * MS)));
    fails(
        &late,
        "window boot to first-process: 61 ms, allowed exactly 60 ms",
    );
    let never = judged(window, |phase| phase.first_process = None);
    fails(
        &never,
        "window boot to first-process: matched nothing: the phase has no boot",
    );
}

#[test]
fn an_item_may_be_pending_when_a_boot_is_over() {
    let level = "level: { items: [0], equals: core }";
    let pending = judged(level, |phase| {
        phase.items[3].attempts.clear();
        phase.items[3].started = None;
        phase.items[3].ended = None;
    });
    assert_eq!(pending.verdict, Verdict::Pass);
}
