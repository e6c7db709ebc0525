// SPDX-License-Identifier: GPL-2.0-only

//! Checks on some items of a phase, and items with names.

use deferinit_check::{CheckResult, Verdict, measure};
use deferinit_timeline::PhaseSpan;

use crate::run::{MS, US, moment, phase, start, timeline};
use crate::{check_fails, check_matches_nothing, check_passes, judge, last, scenario, untouched};

/// The usual workload as a plan; `net` gives `fs` another delay.
const PLAN: &str = "workload:
  plan:
    - { name: bus, mode: delayed, delay: 50ms }
    - { name: disk, mode: delayed, delay: 60ms }
    - { name: net, mode: delayed, delay: 70ms, body: { modify: { item: fs, delay: 1ms } } }
    - { name: fs, mode: delayed, delay: 80ms }
";

/// The check of an expectation on the usual run, whose items have names, after a change.
#[track_caller]
fn check_named(expectation: &str, change: impl FnOnce(&mut PhaseSpan)) -> CheckResult {
    let mut timeline = timeline(vec![phase("main")]);
    change(&mut timeline.phases[0]);
    let judgement = judge(&scenario(PLAN, expectation), &timeline);
    assert!(
        !matches!(judgement.verdict, Verdict::Unresolved(_)),
        "{:?}",
        judgement.verdict
    );
    last(&judgement).clone()
}

#[track_caller]
fn messages(check: &CheckResult) -> Vec<&str> {
    let violations = check.violations.iter();
    violations.map(|one| one.message.as_str()).collect()
}

#[test]
fn names_stand_in_messages_and_evidence() {
    let check = check_named(
        "lateness: { of: queued, items: [bus], max: 1ms }",
        untouched,
    );
    assert_eq!(
        messages(&check),
        [
            "lateness of queued for bus: item 0 (bus) is 2 ms after armed + 50 ms, allowed at most 1 ms"
        ]
    );
    assert_eq!(
        check.violations[0].evidence[1],
        "cpu0 0.053200100 deferred_item_queued id=0 (bus) time_ns=53200000 expires=4294892296"
    );
    let check = check_named("order: { by: started, ids: [disk, bus] }", untouched);
    assert_eq!(
        (check.expected.as_str(), check.measured.as_str()),
        ("1 (disk), 0 (bus)", "0 (bus), 1 (disk)")
    );
    assert_eq!(
        messages(&check),
        [
            "order of started: item 0 (bus) is started 10.110 ms before item 1 (disk), allowed after it"
        ]
    );
    let check = check_named(
        "order: { by: started, ids: [fs, net, disk, bus] }",
        |phase| phase.items.truncate(3),
    );
    assert_eq!(
        messages(&check)[0],
        "order of started: item 3 (fs) is never started"
    );
    let check = check_named("attempts: { items: [fs], equals: 2 }", untouched);
    assert_eq!(
        messages(&check),
        ["attempts for fs: item 3 (fs) was started 1 time, allowed exactly 2"]
    );
    let check = check_named("error: { items: [bus, fs], equals: EIO }", |phase| {
        phase.items.truncate(3)
    });
    assert_eq!(
        messages(&check),
        [
            "error for bus, fs: item 0 (bus) ended without error, allowed: ended with -EIO (-5)",
            "error for bus, fs: item 3 (fs) did not end, allowed: ended with -EIO (-5)",
        ]
    );
    let check = check_named(
        "window: { from: load, to: first-armed, max: 1us }",
        untouched,
    );
    assert!(
        check.violations[0].evidence[1].contains(" deferred_item_armed id=0 (bus) "),
        "{:?}",
        check.violations[0].evidence
    );
}

#[test]
fn names_stand_in_the_harness_own_findings() {
    let mut timeline = timeline(vec![phase("main")]);
    let started = timeline.phases[0].items[2].started.expect("started").at.0;
    crate::run::never_run(&mut timeline.phases[0].items[2]);
    start(&mut timeline.phases[0].items[2], started);
    let judgement = judge(
        &scenario(PLAN, "count: { of: armed, equals: 4 }"),
        &timeline,
    );
    assert_eq!(
        judgement.verdict.reason(),
        "module: item 2 (net) is started but neither ends nor is cancelled"
    );
    timeline.phases[0].items[1]
        .armed
        .as_mut()
        .expect("armed")
        .delay_ns = 1;
    let judgement = judge(
        &scenario(PLAN, "count: { of: armed, equals: 4 }"),
        &timeline,
    );
    assert_eq!(
        judgement.verdict.reason(),
        "the run is not that of the scenario: item 1 (disk) of phase main has a delay of 60ms, but is armed with 1ns"
    );
}

#[test]
fn modified_delay_is_said_where_lateness_is_measured_without_it() {
    let of = |items: &str| format!("lateness: {{ of: queued, items: {items}, max: 3ms }}");
    let unmodified = check_named(&of("[bus, net]"), untouched);
    assert_eq!(unmodified.measured, "2 values: min 2 ms, max 2.200 ms");
    let modified = check_named(&of("[bus, fs]"), untouched);
    assert!(modified.passed);
    assert_eq!(
        modified.measured,
        "2 values: min 2 ms, max 2.300 ms; all after armed + requested delay, also item 3 (fs), whose delay is modified"
    );
    let early = check_named("lateness: { of: queued, items: [fs], min: 0ms }", |phase| {
        phase.items[3].queued.as_mut().expect("queued").moment = moment(1_230 * US + 79 * MS);
    });
    assert_eq!(
        messages(&early),
        [
            "lateness of queued for fs: item 3 (fs) is 1 ms before armed + 80 ms (the delay it was armed with, which \
             item 2 (net) modifies to 1 ms), allowed at least 0 ns"
        ]
    );
}

#[test]
fn check_is_about_the_items_it_names_alone() {
    check_passes(
        "interval: { items: [1, 2], from: armed, to: started, min: 62ms, max: 73ms }",
        untouched,
        "2 values: min 62.120 ms, max 72.220 ms",
    );
    check_fails(
        "interval: { items: [1, 3], from: armed, to: started, max: 80ms }",
        untouched,
        &["interval armed to started for items 1, 3: item 3 took 82.320 ms, allowed at most 80 ms"],
    );
    check_passes(
        "duration: { of: item, items: [2], total-max: 1ms }",
        untouched,
        "1 value: 1 ms, total 1 ms",
    );
    check_fails(
        "duration: { of: item, items: [2], max: 1us }",
        untouched,
        &["duration of item for item 2: item 2 took 1 ms, allowed at most 1 us"],
    );
    check_passes(
        "count: { of: ended, items: [0, 1], equals: 2 }",
        untouched,
        "2",
    );
    check_fails(
        "count: { of: ended, items: [0, 1], equals: 3 }",
        untouched,
        &["count of ended for items 0, 1: 2, allowed exactly 3"],
    );
    check_passes("concurrency: { items: [0], equals: 1 }", untouched, "1");
}

#[test]
fn choice_of_items_without_a_record_matches_nothing() {
    let without_3 = |phase: &mut PhaseSpan| phase.items.truncate(3);
    let cases = [
        (
            "count: { of: cancelled, items: [3], equals: 0 }",
            "count of cancelled for item 3: matched nothing: none of the items left a record",
        ),
        (
            "interval: { items: [3], from: armed, to: started, max: 1s }",
            "interval armed to started for item 3: matched nothing: no item is both armed and started",
        ),
        (
            "lateness: { items: [3], of: started, max: 1s }",
            "lateness of started for item 3: matched nothing: no item is both armed and started",
        ),
        (
            "duration: { of: item, items: [3], max: 1s }",
            "duration of item for item 3: matched nothing: no item is both started and ended",
        ),
        (
            "concurrency: { items: [3], at-most: 1 }",
            "concurrency for item 3: matched nothing: no item started",
        ),
    ];
    for (expectation, message) in cases {
        check_matches_nothing(expectation, without_3, message);
    }
}

#[test]
fn long_choice_is_cut_in_the_name_of_its_check() {
    let plan = "workload: { mode: delayed, items: 8, delay: 50ms, step: 10ms }\n";
    let wanted = scenario(
        plan,
        "count: { of: ended, items: [7, 6, 5, 4, 3, 2], equals: 2 }",
    );
    let judgement = judge(&wanted, &timeline(vec![phase("main")]));
    assert_eq!(
        last(&judgement).name,
        "count of ended for items 7, 6, 5, 4 and 2 more"
    );
}

#[test]
fn item_that_another_one_moves_has_no_measured_lateness() {
    let timeline = timeline(vec![phase("main")]);
    let latest = |body: &str| {
        let plan = PLAN.replace("{ modify: { item: fs, delay: 1ms } }", body);
        let measurements = measure(
            &scenario(&plan, "count: { of: ended, equals: 4 }"),
            &timeline,
        );
        measurements.get("main.lateness.max").copied()
    };
    let (of_fs, of_others) = (Some(2_320_000), Some(2_220_000));
    assert_eq!(latest("{ spin: 1ms }"), of_fs);
    assert_eq!(latest("{ modify: { item: fs, delay: 1ms } }"), of_others);
    assert_eq!(latest("{ flush: fs }"), of_others);
}
