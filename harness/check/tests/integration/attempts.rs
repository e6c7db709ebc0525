// SPDX-License-Identifier: GPL-2.0-only

//! Items that are called several times, and what items end with.

use deferinit_check::{Verdict, measure};
use deferinit_timeline::PhaseSpan;

use crate::run::{MS, end, moment, never_run, phase, run_again, timeline};
use crate::{
    MET, check_fails, check_matches_nothing, check_passes, judge, last, no_items, scenario,
    untouched,
};

/// The usual workload, each item of which may be called three times.
const REPEATED: &str = "workload: { mode: delayed, items: 4, delay: 50ms, step: 10ms, runs: 3 }\n";

/// Item 0 runs at 60, 70 and 90 ms, for 1 ms each; item 1 from 61.5 ms to 62 ms, between two of these.
fn repeat(phase: &mut PhaseSpan) {
    run_again(
        &mut phase.items[0],
        &[(60 * MS, 61 * MS), (70 * MS, 71 * MS), (90 * MS, 91 * MS)],
    );
    run_again(&mut phase.items[1], &[(61 * MS + MS / 2, 62 * MS)]);
}

/// The measured words and the violations of one expectation on the run with repeated items.
#[track_caller]
fn judge_repeated(expectation: &str) -> (String, Vec<String>, Vec<String>) {
    let mut timeline = timeline(vec![phase("main")]);
    repeat(&mut timeline.phases[0]);
    let judgement = judge(&scenario(REPEATED, expectation), &timeline);
    let check = last(&judgement);
    let violations = || check.violations.iter();
    (
        check.measured.clone(),
        violations().map(|one| one.message.clone()).collect(),
        violations().flat_map(|one| one.evidence.clone()).collect(),
    )
}

#[test]
fn attempts_of_each_item() {
    check_passes("attempts: { equals: 1 }", untouched, "4 items: each 1");
    check_passes(
        "attempts: { items: [2], at-most: 1 }",
        untouched,
        "1 item: 1",
    );
    let (measured, messages, _) = judge_repeated("attempts: { items: [0], equals: 3 }");
    assert_eq!((measured.as_str(), messages.len()), ("1 item: 3", 0));
    let (measured, messages, evidence) = judge_repeated("attempts: { equals: 1 }");
    assert_eq!(measured, "4 items: min 1, max 3");
    assert_eq!(
        messages,
        ["attempts: item 0 was started 3 times, allowed exactly 1"]
    );
    assert_eq!(
        evidence,
        [
            "cpu0 0.001200100 deferred_item_armed id=0 time_ns=1200000 delay_ns=50000000 delay_jiffies=13",
            "cpu0 0.060000100 deferred_item_started id=0 time_ns=60000000",
            "cpu0 0.061000100 deferred_item_retried id=0 time_ns=61000000 attempt=1 error=-11",
            "cpu0 0.070000100 deferred_item_started id=0 time_ns=70000000",
            "cpu0 0.071000100 deferred_item_retried id=0 time_ns=71000000 attempt=2 error=-11",
            "cpu0 0.090000100 deferred_item_started id=0 time_ns=90000000",
            "cpu0 0.091000100 deferred_item_ended id=0 time_ns=91000000 error=0",
        ]
    );
    // An item that left no record was not started.
    check_fails(
        "attempts: { equals: 1 }",
        |phase| phase.items.truncate(3),
        &["attempts: item 3 was started 0 times, allowed exactly 1"],
    );
}

#[test]
fn attempts_of_items_without_a_record_match_nothing() {
    check_matches_nothing(
        "attempts: { items: [3], at-least: 0, at-most: 1 }",
        |phase| phase.items.truncate(3),
        "attempts for item 3: matched nothing: none of the items left a record",
    );
    check_matches_nothing(
        "attempts: { equals: 1 }",
        no_items,
        "attempts: matched nothing: none of the items left a record",
    );
}

#[test]
fn retries_are_counted_each() {
    let (measured, messages, _) = judge_repeated("count: { of: retried, equals: 2 }");
    assert_eq!((measured.as_str(), messages.len()), ("2", 0));
    let (measured, messages, _) =
        judge_repeated("count: { of: retried, items: [1, 2], equals: 0 }");
    assert_eq!((measured.as_str(), messages.len()), ("0", 0));
    let (_, messages, evidence) = judge_repeated("count: { of: retried, items: [0], equals: 3 }");
    assert_eq!(
        messages,
        ["count of retried for item 0: 2, allowed exactly 3"]
    );
    assert_eq!(
        evidence,
        [
            "cpu0 0.061000100 deferred_item_retried id=0 time_ns=61000000 attempt=1 error=-11",
            "cpu0 0.071000100 deferred_item_retried id=0 time_ns=71000000 attempt=2 error=-11",
        ]
    );
    let (_, messages, _) = judge_repeated("count: { of: retried, items: [1], at-most: 1 }");
    assert_eq!(
        messages,
        [
            "count of retried for item 1: matched nothing: 0 counted, and only `equals: 0` asks for that, not at most 1"
        ]
    );
}

#[test]
fn item_does_not_run_between_its_attempts() {
    let (measured, messages, _) = judge_repeated("concurrency: { items: [0, 1], equals: 1 }");
    assert_eq!((measured.as_str(), messages.len()), ("1", 0));

    let mut timeline = timeline(vec![phase("main")]);
    repeat(&mut timeline.phases[0]);
    run_again(
        &mut timeline.phases[0].items[1],
        &[(70 * MS + MS / 2, 72 * MS)],
    );
    let judgement = judge(
        &scenario(REPEATED, "concurrency: { items: [0, 1], equals: 1 }"),
        &timeline,
    );
    assert_eq!(
        judgement.verdict.reason(),
        "concurrency for items 0, 1: 2 items run at one time, allowed exactly 1"
    );
    assert_eq!(
        last(&judgement).violations[0].evidence,
        [
            "cpu0 0.070000100 deferred_item_started id=0 time_ns=70000000",
            "cpu0 0.070500100 deferred_item_started id=1 time_ns=70500000",
            "cpu0 0.071000100 deferred_item_retried id=0 time_ns=71000000 attempt=2 error=-11",
            "cpu0 0.072000100 deferred_item_ended id=1 time_ns=72000000 error=0",
        ]
    );
}

#[test]
fn item_that_is_called_again_in_the_same_nanosecond_does_not_run_beside_itself() {
    let mut timeline = timeline(vec![phase("main")]);
    run_again(
        &mut timeline.phases[0].items[0],
        &[(60 * MS, 60 * MS), (60 * MS, 61 * MS), (61 * MS, 61 * MS)],
    );
    timeline.phases[0].items.truncate(1);
    let measurements = measure(&scenario(REPEATED, MET), &timeline);
    assert_eq!(measurements.get("main.concurrency"), Some(&1));
    assert_eq!(measurements.get("main.attempts.max"), Some(&3));
}

#[test]
fn error_that_each_item_ends_with() {
    check_passes(
        "error: { equals: none }",
        untouched,
        "4 ended without error",
    );
    let fail = |phase: &mut PhaseSpan| end(&mut phase.items[1], 70 * MS, -5);
    // The expectation says what the item ends with, so the harness's own check does not.
    check_passes(
        "error: { items: [1], equals: EIO }",
        fail,
        "1 ended with -EIO (-5)",
    );
    let violations = check_fails(
        "error: { items: [0, 1], equals: none }",
        fail,
        &["error for items 0, 1: item 1 ended with -EIO (-5), allowed: ended without error"],
    );
    assert_eq!(
        violations[0].evidence[3],
        "cpu0 0.070000100 deferred_item_ended id=1 time_ns=70000000 error=-5"
    );
    check_fails(
        "error: { equals: EIO }",
        fail,
        &[
            "error: item 0 ended without error, allowed: ended with -EIO (-5)",
            "error: item 2 ended without error, allowed: ended with -EIO (-5)",
            "error: item 3 ended without error, allowed: ended with -EIO (-5)",
        ],
    );
    let cancel = |phase: &mut PhaseSpan| {
        never_run(&mut phase.items[0]);
        phase.items[0].cancelled = Some(moment(40 * MS));
    };
    check_fails(
        "error: { items: [0], equals: none }",
        cancel,
        &["error for item 0: item 0 was cancelled, allowed: ended without error"],
    );
    check_fails(
        "error: { items: [0, 3], equals: none }",
        |phase| phase.items.truncate(3),
        &["error for items 0, 3: item 3 did not end, allowed: ended without error"],
    );
    check_fails(
        "error: { items: [0], equals: EIO }",
        |phase| end(&mut phase.items[0], 70 * MS, -517),
        &["error for item 0: item 0 ended with -517, allowed: ended with -EIO (-5)"],
    );
}

#[test]
fn error_of_an_item_that_no_expectation_names_fails_the_module() {
    let mut timeline = timeline(vec![phase("main")]);
    end(&mut timeline.phases[0].items[1], 70 * MS, -5);
    end(&mut timeline.phases[0].items[2], 80 * MS, -12);
    let judgement = judge(
        &scenario(crate::MAIN, "error: { items: [1], equals: EIO }"),
        &timeline,
    );
    assert_eq!(
        judgement.verdict.reason(),
        "module: item 2 ended with error -ENOMEM (-12), allowed 0"
    );
    assert_eq!(
        judgement.checks[0].expected,
        "loads, unloads, and each other item ends without error or is cancelled"
    );
    assert!(last(&judgement).passed);
    assert!(matches!(judgement.verdict, Verdict::Fail(_)));
}

#[test]
fn error_of_items_without_a_record_matches_nothing() {
    check_matches_nothing(
        "error: { items: [3], equals: none }",
        |phase| phase.items.truncate(3),
        "error for item 3: matched nothing: none of the items left a record",
    );
}
