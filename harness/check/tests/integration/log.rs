// SPDX-License-Identifier: GPL-2.0-only

//! What the kernel log says.

use deferinit_check::{CheckResult, NotJudged, Reason, Verdict};

use crate::run::{phase, timeline};
use crate::{MAIN, judge, last, scenario};

/// A log in which three lines speak of hogs.
const LOG: [&str; 5] = [
    "Linux version 7.3.4",
    "workqueue: f hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "test_deferred: item 3 (bus)",
    "workqueue: f hogged CPU for >10000us 5 times, consider switching to WQ_UNBOUND",
    "workqueue: g hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
];

/// How the run ends for an expectation on `lines`, and the check.
#[track_caller]
fn judge_log(bounds: &str, lines: &[&str], is_cut: bool) -> (Verdict, CheckResult) {
    let mut timeline = timeline(vec![phase("main")]);
    timeline.log_lines = lines.iter().map(|line| (*line).to_owned()).collect();
    timeline.log_cut = is_cut;
    let expectation = format!("log: {{ contains: hogged CPU, {bounds} }}");
    let judgement = judge(&scenario(MAIN, &expectation), &timeline);
    let check = last(&judgement).clone();
    (judgement.verdict, check)
}

#[track_caller]
fn check_fails(bounds: &str, lines: &[&str], is_cut: bool, message: &str) -> CheckResult {
    let (verdict, check) = judge_log(bounds, lines, is_cut);
    assert!(matches!(verdict, Verdict::Fail(_)), "{verdict:?}");
    assert_eq!(verdict.reason(), message);
    check
}

#[test]
fn lines_that_contain_the_text_are_counted() {
    for bounds in ["equals: 3", "at-least: 1", "at-least: 3, at-most: 3"] {
        let (verdict, check) = judge_log(bounds, &LOG, false);
        assert_eq!(verdict, Verdict::Pass, "{bounds}");
        assert_eq!(check.measured, "3 lines");
    }
    let check = check_fails(
        "at-most: 2",
        &LOG,
        false,
        "log contains \"hogged CPU\": 3 lines contain it, allowed at most 2",
    );
    assert_eq!(check.violations[0].evidence, [LOG[1], LOG[3], LOG[4]]);
    check_fails(
        "at-least: 4",
        &LOG,
        false,
        "log contains \"hogged CPU\": 3 lines contain it, allowed at least 4",
    );
    let (verdict, _) = judge_log("equals: 0", &LOG[..1], false);
    assert_eq!(verdict, Verdict::Pass);
}

#[test]
fn count_of_no_line_passes_only_where_asked_for_and_possible() {
    check_fails(
        "at-most: 2",
        &LOG[..1],
        false,
        "log contains \"hogged CPU\": matched nothing: 0 lines contain it, and only `equals: 0` asks for that, not at \
         most 2",
    );
    check_fails(
        "equals: 0",
        &[],
        false,
        "log contains \"hogged CPU\": matched nothing: the kernel log is empty",
    );
}

#[test]
fn part_of_a_log_decides_only_what_the_rest_cannot_change() {
    let (verdict, _) = judge_log("at-least: 3", &LOG, true);
    assert_eq!(verdict, Verdict::Pass);
    check_fails(
        "at-most: 2",
        &LOG,
        true,
        "log contains \"hogged CPU\": 3 lines contain it, allowed at most 2",
    );
    for bounds in ["equals: 3", "at-least: 4", "at-most: 3", "equals: 4"] {
        let (verdict, check) = judge_log(bounds, &LOG, true);
        assert_eq!(verdict, Verdict::Unresolved(Reason::LogCut), "{bounds}");
        assert!(!check.passed);
        assert_eq!(check.not_judged, Some(NotJudged::LogCut));
        assert_eq!(check.measured, "3 lines of a log that is not whole");
    }
    let (verdict, _) = judge_log("equals: 0", &LOG[..1], true);
    assert_eq!(
        verdict.reason(),
        "the kernel log is not whole, and what is there does not decide the check on it"
    );
}

#[test]
fn long_evidence_is_cut_and_counted() {
    let lines = [LOG[1]; 20];
    let check = check_fails(
        "at-most: 2",
        &lines,
        false,
        "log contains \"hogged CPU\": 20 lines contain it, allowed at most 2",
    );
    let evidence = &check.violations[0].evidence;
    assert_eq!(
        (evidence.len(), evidence[16].as_str()),
        (17, "and 4 more lines")
    );
}
