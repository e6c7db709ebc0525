// SPDX-License-Identifier: GPL-2.0-only

//! Runs on kernels whose times mean nothing.

use deferinit_check::{Judged, Judgement, NotJudged, Reason, Verdict, judge};
use deferinit_scenario::parse;
use deferinit_timeline::Timeline;

use crate::run::{direct_phase, never_run, phase, timeline};

/// Expectations on times, none of which the usual run meets.
const TIMED: [&str; 5] = [
    "interval: { from: armed, to: started, max: 1ns }",
    "lateness: { of: started, max: 1ns }",
    "duration: { of: init, max: 1ns }",
    "window: { from: load, to: last-ended, max: 1ns }",
    "lateness: { of: started, percentiles: [{ p: 99, max: 1ns }] }",
];

fn judge_untimed(expectations: &[&str], timeline: &Timeline) -> Judgement {
    let list: String = expectations
        .iter()
        .map(|one| format!("  - {one}\n"))
        .collect();
    let text = format!("summary: A test.\n{}expect:\n{list}", crate::MAIN);
    let scenario = parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(
        matches!(
            judge(&scenario, &timeline.clone(), Judged::All).verdict,
            Verdict::Fail(_)
        ),
        "where times mean something, {expectations:?} fails"
    );
    judge(&scenario, timeline, Judged::Untimed)
}

#[test]
fn times_are_set_aside_and_the_rest_decides() {
    let usual = timeline(vec![phase("main")]);
    let mut expectations = TIMED.to_vec();
    expectations.push("count: { of: ended, equals: 4 }");
    expectations.push("concurrency: { equals: 1 }");
    let judgement = judge_untimed(&expectations, &usual);
    assert_eq!(judgement.verdict, Verdict::Pass);
    let (own, wanted) = judgement.checks.split_at(1);
    assert!(own[0].passed);
    for check in &wanted[..TIMED.len()] {
        assert_eq!(check.not_judged, Some(NotJudged::Untimed), "{}", check.name);
        assert!(!check.passed && check.violations.is_empty());
        assert!(!check.measured.is_empty());
    }
    for check in &wanted[TIMED.len()..] {
        assert!(check.passed && check.not_judged.is_none(), "{}", check.name);
    }
}

#[test]
fn a_scenario_may_ignore_times_by_itself() {
    let text = |vary: &str| {
        format!(
            "summary: A test.\n{}expect:\n  - {}\n  - count: {{ of: ended, equals: 4 }}\n{vary}",
            crate::MAIN,
            TIMED[0]
        )
    };
    let usual = timeline(vec![phase("main")]);
    let judged = |vary: &str| {
        let scenario = parse("test", text(vary).as_bytes());
        let scenario = scenario.unwrap_or_else(|error| panic!("{error:?}"));
        judge(&scenario, &usual, Judged::All)
    };
    for vary in ["", "vary: { times: judged }\n"] {
        assert!(matches!(judged(vary).verdict, Verdict::Fail(_)), "{vary}");
    }
    let judgement = judged("vary: { times: ignored }\n");
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(
        judgement.checks[1].not_judged,
        Some(NotJudged::TimesIgnored)
    );
    assert!(judgement.checks[2].passed);
}

#[test]
fn difference_of_two_phases_is_a_time() {
    let text = "summary: A test.\nphases:
  - { name: direct, workload: { mode: direct, items: 4, body: { sleep: 10ms } } }
  - { name: deferred, workload: { mode: delayed, items: 4, delay: 50ms, step: 10ms } }
expect:
  - difference: { of: { duration: init }, between: [deferred, direct], min: 30ms }
  - order: { phase: direct, by: started, ids: ascending }
";
    let scenario = parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    let timeline = timeline(vec![direct_phase("direct"), phase("deferred")]);
    let judgement = judge(&scenario, &timeline, Judged::Untimed);
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(judgement.checks[2].not_judged, Some(NotJudged::Untimed));
}

#[test]
fn run_of_which_no_expectation_was_judged_is_unresolved() {
    let judgement = judge_untimed(&TIMED, &timeline(vec![phase("main")]));
    assert_eq!(
        judgement.verdict,
        Verdict::Unresolved(Reason::NothingJudged)
    );
    assert_eq!(
        judgement.verdict.reason(),
        "nothing was judged: every expectation is about times, which mean nothing on this kernel"
    );
}

#[test]
fn violation_and_fault_fail_without_times_too() {
    let usual = || timeline(vec![phase("main")]);
    let judgement = judge_untimed(&["count: { of: ended, equals: 3 }"], &usual());
    assert_eq!(judgement.verdict.word(), "fail");

    // Also where only the harness's own check is judged.
    let mut stuck = usual();
    never_run(&mut stuck.phases[0].items[2]);
    let judgement = judge_untimed(&TIMED, &stuck);
    assert_eq!(
        judgement.verdict.reason(),
        "module: item 2 is armed but neither ends nor is cancelled"
    );

    let mut leaky = usual();
    leaky.splats = vec!["BUG: KASAN: slab-use-after-free in f".to_owned()];
    let judgement = judge_untimed(&TIMED, &leaky);
    assert_eq!(
        judgement.verdict.reason(),
        "kernel log: BUG: KASAN: slab-use-after-free in f"
    );
}

#[test]
fn check_that_was_not_judged_says_so_in_its_file() {
    let judgement = judge_untimed(&TIMED[..1], &timeline(vec![phase("main")]));
    let bytes = serde_json::to_string(&judgement).expect("plain data");
    assert!(
        bytes.contains("\"passed\":true,\"not_judged\":null"),
        "{bytes}"
    );
    assert!(
        bytes.contains("\"passed\":false,\"not_judged\":\"untimed\""),
        "{bytes}"
    );
    let read: Judgement = serde_json::from_str(&bytes).expect("its own format");
    assert_eq!(read, judgement);
}
