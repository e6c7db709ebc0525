// SPDX-License-Identifier: GPL-2.0-only

//! Runs on the wall clock, on which the host keeps the guest waiting.

use deferinit_check::{Judged, Judgement, NotJudged, Verdict};

use crate::run::{MS, US, phase, timeline};
use crate::{MAIN, last, scenario};

/// Judges the usual run, whose items start 2.02 ms to 2.32 ms late.
fn judge(expectation: &str, host_wait_ns: u64) -> Judgement {
    let scenario = scenario(MAIN, expectation);
    let timeline = timeline(vec![phase("main")]);
    deferinit_check::judge(&scenario, &timeline, Judged::WallClock(host_wait_ns))
}

#[test]
fn a_time_that_is_too_long_by_what_the_host_may_have_taken_is_not_judged() {
    // By 1.32 ms at most.
    const TOO_LONG: &str = "lateness: { of: started, max: 1ms }";

    let judgement = judge(TOO_LONG, 1_320 * US);
    let check = last(&judgement);
    assert_eq!(check.not_judged, Some(NotJudged::HostWaited));
    assert_eq!(check.too_long_ns, Some(1_320 * US));
    assert_eq!(
        judgement.verdict,
        Verdict::Unsupported(
            "lateness of started is 1.320 ms too long on the wall clock, and the host kept the guest waiting for 1.320 ms: \
             only the exact clock can tell"
                .to_owned()
        )
    );
    let judgement = judge(TOO_LONG, 1_320 * US - 1);
    assert!(matches!(judgement.verdict, Verdict::Fail(_)));
    assert_eq!(last(&judgement).violations.len(), 4);
}

#[test]
fn each_kind_of_time_can_be_too_long() {
    for expectation in [
        "interval: { from: armed, to: started, max: 1ns }",
        "lateness: { of: started, percentiles: [{ p: 99, max: 1ns }] }",
        "duration: { of: init, max: 1ns }",
        "duration: { of: item, total-max: 1ns }",
        "window: { from: load, to: last-ended, max: 1ns }",
    ] {
        let excused = judge(expectation, 1_000 * MS);
        assert_eq!(
            last(&excused).not_judged,
            Some(NotJudged::HostWaited),
            "{expectation}"
        );
        let failed = judge(expectation, 100);
        assert!(matches!(failed.verdict, Verdict::Fail(_)), "{expectation}");
    }
}

#[test]
fn what_no_wait_explains_fails() {
    for expectation in [
        "lateness: { of: started, min: 3ms }",
        // Some too early, some too late.
        "lateness: { of: started, min: 2100us, max: 2200us }",
        "count: { of: ended, equals: 3 }",
        "concurrency: { equals: 2 }",
    ] {
        let judgement = judge(expectation, 1_000 * MS);
        assert!(
            matches!(judgement.verdict, Verdict::Fail(_)),
            "{expectation}"
        );
        assert_eq!(last(&judgement).too_long_ns, None, "{expectation}");
    }
}

#[test]
fn what_is_as_expected_passes() {
    let judgement = judge("lateness: { of: started, max: 3ms }", 1_000 * MS);
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(last(&judgement).too_long_ns, None);
}
