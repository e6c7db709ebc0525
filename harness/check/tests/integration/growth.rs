// SPDX-License-Identifier: GPL-2.0-only

//! Phases with rounds, and the memory in use after them.

use deferinit_check::{Judged, Judgement, NotJudged, Reason, Verdict, measure};
use deferinit_timeline::{PhaseSpan, RoundsRecord, RoundsSpan, Timeline};

use crate::run::{MS, moment, phase, timeline};
use crate::{judge, last, scenario};

const ROUNDS: &str = "deadline: 3000s\nrounds: { count: 20, seed: 1 }\n";

const GROWTH: &str = "growth: { max: 1KiB }";

/// A run with 20 rounds, two of them as warm-up.
fn run(memory_before: u64, memory_after: u64) -> Timeline {
    let span = PhaseSpan {
        load: None,
        loaded: None,
        init: None,
        finish: None,
        unload: None,
        unloaded: None,
        items: Vec::new(),
        functions: Vec::new(),
        rounds: Some(RoundsSpan {
            begin: moment(10 * MS),
            end: Some(moment(20 * MS)),
            record: Some(RoundsRecord {
                rounds: 20,
                warm_up: 2,
                memory_before,
                memory_after,
            }),
        }),
        ..phase("main")
    };
    timeline(vec![span])
}

fn judge_rounds(timeline: &Timeline) -> Judgement {
    judge(&scenario(ROUNDS, GROWTH), timeline)
}

#[test]
fn memory_may_grow_up_to_the_limit() {
    for (before, after, measured) in [
        (4096, 4096, "nothing in 18 rounds"),
        (4096, 5120, "1KiB in 18 rounds"),
        (5120, 4096, "-1KiB in 18 rounds"),
    ] {
        let judgement = judge_rounds(&run(before, after));
        assert_eq!(judgement.verdict, Verdict::Pass);
        let check = last(&judgement);
        assert_eq!(
            (check.name.as_str(), check.expected.as_str()),
            ("growth", "at most 1KiB")
        );
        assert_eq!(check.measured, measured);
    }
}

#[test]
fn memory_that_grows_further_fails() {
    let judgement = judge_rounds(&run(4096, 5121));
    let Verdict::Fail(violations) = &judgement.verdict else {
        panic!("{:?}", judgement.verdict);
    };
    assert_eq!(
        violations[0].message,
        "growth: the kernel uses 1025B more after round 20 than after round 2, allowed at most 1KiB"
    );
    assert_eq!(
        violations[0].evidence,
        ["4KiB in use after round 2", "5121B in use after round 20"]
    );
}

#[test]
fn rounds_without_a_record_are_no_pass() {
    let mut timeline = run(4096, 4096);
    let rounds = timeline.phases[0].rounds.as_mut().expect("rounds");
    rounds.record = None;
    let judgement = judge_rounds(&timeline);
    assert!(
        matches!(judgement.verdict, Verdict::Fail(_)),
        "{:?}",
        judgement.verdict
    );
    assert!(measure(&scenario(ROUNDS, GROWTH), &timeline).is_empty());
}

#[test]
fn other_rounds_than_planned_are_unresolved() {
    let other_plan = |timeline: &Timeline| {
        let judgement = judge_rounds(timeline);
        let Verdict::Unresolved(Reason::OtherPlan { difference }) = judgement.verdict else {
            panic!("{:?}", judgement.verdict);
        };
        difference
    };
    let mut fewer = run(4096, 4096);
    let rounds = fewer.phases[0].rounds.as_mut().expect("rounds");
    rounds.record.as_mut().expect("a record").rounds = 19;
    assert_eq!(other_plan(&fewer), "phase main has 20 rounds, but 19 ran");
    assert_eq!(
        other_plan(&timeline(vec![phase("main")])),
        "phase main has rounds, but one load ran"
    );
}

#[test]
fn growth_is_not_judged_on_a_debug_kernel_and_the_rounds_are() {
    let judgement = deferinit_check::judge(
        &scenario(ROUNDS, GROWTH),
        &run(4096, 1 << 20),
        Judged::Untimed,
    );
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(last(&judgement).not_judged, Some(NotJudged::Quarantine));
    assert!(judgement.checks[0].passed, "{:?}", judgement.checks[0]);
}

#[test]
fn rounds_and_growth_are_all_that_is_measured() {
    let measurements = measure(&scenario(ROUNDS, GROWTH), &run(5120, 4096));
    let values: Vec<(&str, i64)> = measurements
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(values, [("main.growth", -1024), ("main.rounds", 20)]);
}
