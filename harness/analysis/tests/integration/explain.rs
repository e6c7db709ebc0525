// SPDX-License-Identifier: GPL-2.0-only

//! What `explain` says of real captures, and of records with known answers.

use deferinit_analysis::explain::{Explanation, Look, Wanted};
use deferinit_analysis::{MissKind, SegmentKind};

use crate::made::Made;

fn max_active() -> Made {
    Made::read(include_str!("../data/max-active.txt")).limit("deferred-own", 2)
}

fn explained(made: &Made, wanted: &Wanted) -> Explanation {
    made.analysed(|analysis| analysis.explain(wanted, None))
}

fn named(name: &str) -> Wanted {
    Wanted::Named(name.to_owned())
}

/// Each job's life has no gap, and ends where the job does.
fn assert_whole(explanation: &Explanation) {
    for job in &explanation.jobs {
        let mut at = job.begin_ns;
        for segment in &job.segments {
            assert_eq!(segment.from_ns, at, "{} {segment:?}", job.name);
            assert!(segment.ns > 0, "{} {segment:?}", job.name);
            at += segment.ns;
        }
        if let Some(end) = job.end_ns {
            assert_eq!(at, end, "{}", job.name);
        }
    }
}

fn kinds(explanation: &Explanation) -> Vec<(SegmentKind, u64)> {
    let [job] = explanation.jobs.as_slice() else {
        panic!("one job, not {}", explanation.jobs.len())
    };
    job.segments
        .iter()
        .map(|segment| (segment.kind, segment.ns))
        .collect()
}

#[test]
fn every_job_of_a_real_capture_is_whole() {
    for made in [
        max_active(),
        Made::read(include_str!("../data/supplier.txt")),
    ] {
        let explanation = explained(&made, &Wanted::All);
        assert!(explanation.jobs.len() > 20, "{}", explanation.jobs.len());
        assert_whole(&explanation);
        assert_eq!(explanation.hz, Some(250), "told from the ticks");
        assert_eq!(explanation.wheel.missed, 0);
        assert!(explanation.wheel.expired > 4 && explanation.wheel.deferrable > 4);
        assert_eq!(explanation.lacks, []);
    }
}

#[test]
fn items_behind_max_active_name_what_they_waited_for() {
    let explanation = explained(&max_active(), &Wanted::Items);
    insta::assert_snapshot!(explanation.overview(Look::default()));
    let one = explained(&max_active(), &named("2"));
    insta::assert_snapshot!(one.details(Look::default()));
    insta::assert_snapshot!(one.remarks());
}

#[test]
fn deferred_probe_waits_for_the_bind_that_triggers_it() {
    let made = Made::read(include_str!("../data/supplier.txt")).named(&[
        ("consumer", "probe"),
        ("delay", "delayed"),
        ("supplier", "probe"),
    ]);
    insta::assert_snapshot!(explained(&made, &Wanted::Items).details(Look::default()));
}

/// A delayed work of 20 ms at HZ=250, armed 1 ms after the tick of jiffy 1000, that runs for 1 ms.
const DELAYED: &str = "\
1000 0 7 0 initcall_start func=init
1000000 0 7 0 deferred_item_armed id=0 time_ns=1000000 delay_ns=20000000 delay_jiffies=5
1000100 0 7 1 timer_start timer=0x10 function=delayed_work_timer_fn expires=1005 bucket_expiry=1006 now=1000 flags=0
1000200 0 7 0 initcall_finish func=init ret=0
24001000 0 0 17 timer_cancel timer=0x10
24002000 0 0 17 timer_expire_entry timer=0x10 function=delayed_work_timer_fn now=1006 baseclk=1006
24003000 0 0 17 deferred_item_queued id=0 time_ns=24003000 expires=1005
24003500 0 0 17 workqueue_queue_work work=0x8 function=work_fn workqueue=events req_cpu=0 cpu=0
24003600 0 0 17 workqueue_activate_work work=0x8 function=work_fn
24004000 0 0 17 sched_waking pid=8 target_cpu=0
24005000 0 0 17 timer_expire_exit timer=0x10
24006000 0 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=8
24007000 0 8 0 workqueue_execute_start work=0x8 function=work_fn
24008000 0 8 0 deferred_item_started id=0 time_ns=24008000
24500000 0 8 1 sched_switch prev_pid=8 prev_state=256 next_pid=10
24600000 0 10 1 sched_switch prev_pid=10 prev_state=1 next_pid=8
24700000 0 8 1 sched_switch prev_pid=8 prev_state=1 next_pid=0
24800000 0 0 17 sched_waking pid=8 target_cpu=0
24900000 0 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=8
25008000 0 8 0 deferred_item_ended id=0 time_ns=25008000 error=0
25009000 0 8 0 workqueue_execute_end work=0x8 function=work_fn
";

#[test]
fn each_nanosecond_of_a_delayed_work_has_its_segment() {
    use SegmentKind::*;
    let made = Made::read(DELAYED).hz(250).named(&[("late", "delayed")]);
    let explanation = explained(&made, &named("late"));
    assert_whole(&explanation);
    // The grid of ticks is that of the record closest to its tick: jiffy 1006 at 24,002,000 ns.
    assert_eq!(
        kinds(&explanation),
        [
            (Delay, 20_000_000),
            (Wheel, 3_002_000),
            (Queueing, 1_500),
            (Worker, 500),
            (Runqueue, 2_000),
            (Pickup, 1_000),
            (Pickup, 1_000),
            (Run, 492_000),
            (Preempted, 100_000),
            (Run, 100_000),
            (Blocked, 100_000),
            (Runqueue, 100_000),
            (Run, 108_000),
        ]
    );
    assert_eq!(explanation.jobs[0].late_ns, Some(3_008_000));
}

#[test]
fn segments_that_lost_records_could_have_changed_are_unknown() {
    let mut made = Made::read(DELAYED).hz(250);
    assert!(
        explained(&made, &named("0")).jobs[0]
            .segments
            .iter()
            .all(|segment| !segment.is_unknown)
    );
    // Between 24,600,000 and 24,700,000.
    made.lost = vec![24_700_000];
    let explanation = explained(&made, &named("0"));
    let unknown: Vec<_> = explanation.jobs[0]
        .segments
        .iter()
        .filter(|segment| segment.is_unknown)
        .map(|segment| (segment.kind, segment.from_ns))
        .collect();
    assert_eq!(
        unknown,
        [
            (SegmentKind::Preempted, 24_500_000),
            (SegmentKind::Run, 24_600_000),
            (SegmentKind::Blocked, 24_700_000),
        ]
    );
    assert!(explanation.details(Look::default()).contains("100.000 us?"));
    assert!(
        explanation
            .remarks()
            .contains("records were lost at 1 places")
    );
}

#[test]
fn timer_that_misses_its_bucket_breaks_the_rule() {
    let cases = [
        ("bucket_expiry=1006", "bucket_expiry=1007", MissKind::Bucket),
        (
            "now=1006 baseclk=1006",
            "now=1008 baseclk=1006",
            MissKind::Softirq,
        ),
        (
            "now=1006 baseclk=1006",
            "now=1008 baseclk=1008",
            MissKind::Turn,
        ),
    ];
    for (right, wrong, kind) in cases {
        let made = Made::read(&DELAYED.replace(right, wrong)).hz(250);
        let explanation = explained(&made, &Wanted::Items);
        assert!(explanation.wheel.is_broken(), "{wrong}");
        assert_eq!(explanation.wheel.misses[0].kind, kind);
        assert!(
            explanation.remarks().contains("the rule predicts"),
            "{wrong}"
        );
    }
    let made = Made::read(
        &DELAYED
            .replace("now=1006 baseclk", "now=1008 baseclk")
            .replace("flags=0", "flags=524288"),
    );
    assert!(
        !explained(&made.hz(250), &Wanted::Items).wheel.is_broken(),
        "deferrable"
    );
    let two = format!(
        "{}1 1 0 0 sched_waking pid=9 target_cpu=1\n",
        DELAYED.replace("now=1006 baseclk", "now=1008 baseclk")
    );
    let explanation = explained(&Made::read(&two).hz(250), &Wanted::Items);
    assert_eq!(explanation.wheel.missed, 1);
    assert!(!explanation.wheel.is_broken(), "another CPU counts jiffies");
}

#[test]
fn trace_without_events_says_which_and_how_to_record_them() {
    let without: String = DELAYED
        .lines()
        .filter(|line| !line.contains(" sched_"))
        .map(|line| format!("{line}\n"))
        .collect();
    let explanation = explained(&Made::read(&without).hz(250), &Wanted::Items);
    assert_whole(&explanation);
    let remarks = explanation.remarks();
    assert!(
        remarks.contains("not in this trace: sched_switch, sched_waking"),
        "{remarks}"
    );
    assert!(remarks.contains("trace: { events: [sched] }"), "{remarks}");
    assert!(remarks.contains("-e sched"), "{remarks}");
    let empty = explained(&Made::read(""), &Wanted::All);
    assert_eq!((empty.jobs.len(), empty.lacks.len()), (0, 5));
}

#[test]
fn what_never_starts_is_shown_as_pending_or_taken_back() {
    let armed: String = DELAYED
        .lines()
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    let pending = explained(&Made::read(&armed).hz(250), &named("0"));
    assert!(
        pending
            .details(Look::default())
            .contains("pending, when the trace ends")
    );
    let taken = format!("{armed}2000000 0 7 0 deferred_item_cancelled id=0 time_ns=2000000\n");
    let taken = explained(&Made::read(&taken).hz(250), &named("0"));
    assert_whole(&taken);
    assert!(
        taken
            .details(Look::default())
            .contains("until it was taken back")
    );
}

#[test]
fn names_match_items_by_name_and_id_and_the_rest_by_function() {
    let made = Made::read(DELAYED).hz(250).named(&[("late", "delayed")]);
    for (name, count) in [
        ("late", 1),
        ("l*", 1),
        ("0", 1),
        ("init", 1),
        ("work_fn", 0),
        ("x", 0),
    ] {
        assert_eq!(explained(&made, &named(name)).jobs.len(), count, "{name}");
    }
    let all = made.analysed(|analysis| analysis.explain(&Wanted::All, Some(1)));
    assert_eq!((all.jobs.len(), all.wanted), (1, 3));
}
