// SPDX-License-Identifier: GPL-2.0-only

//! Judges runs that went as planned, and the same runs with one thing changed.

mod attempts;
mod boots;
mod growth;
mod log;
mod names;
mod run;
mod traces;
mod untimed;
mod wall;

use deferinit_check::{
    CheckResult, Judged, Judgement, NotJudged, Reason, Verdict, Violation, measure,
};
use deferinit_scenario::{Scenario, parse};
use deferinit_timeline::{
    Anomaly, Ending, FinishCause, Function, Leak, PhaseSpan, Timeline, TraceNanos,
};
use run::{
    MS, US, direct_item, direct_phase, end, moment, never_run, phase, record, refused_phase,
    returned, start, timeline,
};

/// The workload of the usual run.
const MAIN: &str =
    "workload: { mode: delayed, items: 4, delay: 50ms, step: 10ms, body: { spin: 1ms } }\n";

/// A phase that does its work in init, and the usual one.
const TWO: &str = "phases:
  - { name: direct, workload: { mode: direct, items: 4, body: { sleep: 10ms } } }
  - { name: deferred, workload: { mode: delayed, items: 4, delay: 50ms, step: 10ms } }
";

/// What a case changes about a run.
type Change = fn(&mut Timeline);

/// An expectation that the usual run meets.
const MET: &str = "count: { of: ended, equals: 4 }";

#[track_caller]
fn scenario(plan: &str, expectation: &str) -> Scenario {
    let text = format!("summary: A test.\n{plan}expect:\n  - {expectation}\n");
    parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in\n{text}"))
}

/// Judges all there is to judge.
fn judge(scenario: &Scenario, timeline: &Timeline) -> Judgement {
    deferinit_check::judge(scenario, timeline, Judged::All)
}

/// Judges the usual run after a change.
#[track_caller]
fn judge_main(expectation: &str, change: impl FnOnce(&mut PhaseSpan)) -> Judgement {
    let mut timeline = timeline(vec![phase("main")]);
    change(&mut timeline.phases[0]);
    judge(&scenario(MAIN, expectation), &timeline)
}

/// Judges the usual run after a change of something other than its phase.
#[track_caller]
fn judge_whole(expectation: &str, change: impl FnOnce(&mut Timeline)) -> Judgement {
    let mut timeline = timeline(vec![phase("main")]);
    change(&mut timeline);
    judge(&scenario(MAIN, expectation), &timeline)
}

/// The check of the scenario's own expectation: the last one.
fn last(judgement: &Judgement) -> &CheckResult {
    judgement
        .checks
        .last()
        .expect("every scenario expects something")
}

#[track_caller]
fn check_passes(expectation: &str, change: impl FnOnce(&mut PhaseSpan), measured: &str) {
    let judgement = judge_main(expectation, change);
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(last(&judgement).measured, measured);
}

/// The run fails, by the scenario's own expectation alone, with these messages.
#[track_caller]
fn check_fails(
    expectation: &str,
    change: impl FnOnce(&mut PhaseSpan),
    messages: &[&str],
) -> Vec<Violation> {
    let judgement = judge_main(expectation, change);
    let Verdict::Fail(violations) = judgement.verdict else {
        panic!("{:?}", judgement.verdict)
    };
    assert_eq!(
        violations
            .iter()
            .map(|violation| violation.message.as_str())
            .collect::<Vec<_>>(),
        messages
    );
    violations
}

/// The last check fails with one message and nothing measured, whatever the others say.
#[track_caller]
fn check_matches_nothing(expectation: &str, change: impl FnOnce(&mut PhaseSpan), message: &str) {
    let judgement = judge_main(expectation, change);
    assert!(
        matches!(judgement.verdict, Verdict::Fail(_)),
        "{:?}",
        judgement.verdict
    );
    let check = last(&judgement);
    assert!(!check.passed);
    assert_eq!(
        check
            .violations
            .iter()
            .map(|violation| violation.message.as_str())
            .collect::<Vec<_>>(),
        [message]
    );
    assert_eq!(check.measured, "nothing");
}

fn untouched(_: &mut PhaseSpan) {}

fn no_items(phase: &mut PhaseSpan) {
    phase.items.clear();
}

#[test]
fn count_of_items() {
    check_passes("count: { of: ended, equals: 4 }", untouched, "4");
    check_passes(
        "count: { of: queued, at-least: 2, at-most: 4 }",
        untouched,
        "4",
    );
    check_passes("count: { of: cancelled, equals: 0 }", untouched, "0");
    let cancel_one = |phase: &mut PhaseSpan| {
        let item = &mut phase.items[3];
        never_run(item);
        item.cancelled = Some(moment(901_500 * US));
    };
    let violations = check_fails(
        "count: { of: ended, equals: 4 }",
        cancel_one,
        &["count of ended: 3, allowed exactly 4"],
    );
    assert_eq!(
        violations[0].evidence,
        [
            "cpu0 0.001230100 deferred_item_armed id=3 time_ns=1230000 delay_ns=80000000 delay_jiffies=20",
            "cpu0 0.901500100 deferred_item_cancelled id=3 time_ns=901500000"
        ]
    );
    check_fails(
        "count: { of: ended, at-most: 3 }",
        untouched,
        &["count of ended: 4, allowed at most 3"],
    );
}

#[test]
fn count_of_nothing_passes_only_where_asked_for_and_possible() {
    check_matches_nothing(
        "count: { of: cancelled, at-most: 3 }",
        untouched,
        "count of cancelled: matched nothing: 0 counted, and only `equals: 0` asks for that, not at most 3",
    );
    check_matches_nothing(
        "count: { of: cancelled, equals: 0 }",
        no_items,
        "count of cancelled: matched nothing: no item left a record in the phase",
    );
    check_fails(
        "count: { of: cancelled, at-least: 1 }",
        untouched,
        &["count of cancelled: 0, allowed at least 1"],
    );
}

#[test]
fn count_of_calls() {
    check_passes(
        "count: { of: { function: deferred_item_body }, equals: 4 }",
        untouched,
        "4",
    );
    check_passes(
        "count: { of: { function: deferred_body_spin }, equals: 0 }",
        untouched,
        "0",
    );
    let violations = check_fails(
        "count: { of: { function: deferred_item_body }, equals: 4 }",
        |phase| drop(phase.functions[0].spans.split_off(1)),
        &["count of deferred_item_body: 1, allowed exactly 4"],
    );
    assert_eq!(
        violations[0].evidence,
        [
            "cpu0 0.053230100 funcgraph_entry deferred_item_body depth=1 pid=8",
            "cpu0 0.054130100 funcgraph_exit deferred_item_body depth=1 pid=8 calltime=53230000 rettime=54130000"
        ]
    );
    check_fails(
        "count: { of: { function: misspelt }, at-least: 1 }",
        untouched,
        &["count of misspelt: 0, allowed at least 1"],
    );
}

#[test]
fn order_of_items() {
    check_passes(
        "order: { by: started, ids: ascending }",
        untouched,
        "0, 1, 2, 3",
    );
    check_passes("order: { by: queued, ids: [1, 3] }", untouched, "1, 3");
    let swap = |phase: &mut PhaseSpan| {
        let at = |id: usize| phase.items[id].started.expect("started").at.0;
        let (one, two) = (at(1), at(2));
        start(&mut phase.items[1], two);
        start(&mut phase.items[2], one);
        end(&mut phase.items[1], 80 * MS, 0);
    };
    let violations = check_fails(
        "order: { by: started, ids: ascending }",
        swap,
        &["order of started: item 2 is started 10.110 ms before item 1, allowed after it"],
    );
    assert_eq!(
        violations[0].evidence,
        [
            "cpu0 0.063330100 deferred_item_started id=2 time_ns=63330000",
            "cpu0 0.073440100 deferred_item_started id=1 time_ns=73440000"
        ]
    );
    check_fails(
        "order: { by: started, ids: descending }",
        untouched,
        &[
            "order of started: item 2 is started 10.110 ms before item 3, allowed after it",
            "order of started: item 1 is started 10.110 ms before item 2, allowed after it",
            "order of started: item 0 is started 10.110 ms before item 1, allowed after it",
        ],
    );
    check_fails(
        "order: { by: armed, ids: [0, 1] }",
        |phase| phase.items[1].armed.as_mut().expect("armed").moment = moment(1_200 * US),
        &["order of armed: item 1 is armed in the same nanosecond as item 0, allowed after it"],
    );
    check_fails(
        "order: { by: queued, ids: ascending }",
        |phase| phase.items[2].queued = None,
        &["order of queued: item 2 is never queued"],
    );
}

#[test]
fn order_of_fewer_than_two_items_matches_nothing() {
    check_matches_nothing(
        "order: { by: started, ids: ascending }",
        |phase| phase.items.truncate(1),
        "order of started: matched nothing: 1 of 4 items started, and an order needs 2",
    );
}

#[test]
fn interval_of_each_item() {
    check_passes(
        "interval: { from: armed, to: started, min: 52ms, max: 83ms, percentiles: [{ p: 50, max: 63ms }] }",
        untouched,
        "4 values: min 52.020 ms, max 82.320 ms, p50 62.120 ms",
    );
    let violations = check_fails(
        "interval: { from: armed, to: started, min: 60ms, max: 80ms }",
        untouched,
        &[
            "interval armed to started: item 0 took 52.020 ms, allowed 60 ms..80 ms",
            "interval armed to started: item 3 took 82.320 ms, allowed 60 ms..80 ms",
        ],
    );
    assert_eq!(
        violations[1].evidence,
        [
            "cpu0 0.001230100 deferred_item_armed id=3 time_ns=1230000 delay_ns=80000000 delay_jiffies=20",
            "cpu0 0.083550100 deferred_item_started id=3 time_ns=83550000"
        ]
    );
    check_fails(
        "interval: { from: queued, to: started, percentiles: [{ p: 75, max: 19us }] }",
        untouched,
        &["interval queued to started: p75: item 2 took 20 us, allowed at most 19 us"],
    );
}

#[test]
fn interval_that_no_item_has_matches_nothing() {
    check_matches_nothing(
        "interval: { from: armed, to: cancelled, max: 1s }",
        untouched,
        "interval armed to cancelled: matched nothing: no item is both armed and cancelled",
    );
}

#[test]
fn lateness_of_each_item() {
    check_passes(
        "lateness: { of: queued, min: 2ms, max: 2300us }",
        untouched,
        "4 values: min 2 ms, max 2.300 ms",
    );
    let violations = check_fails(
        "lateness: { of: started, min: 0ns, max: 8ms }",
        |phase| start(&mut phase.items[0], 1_200 * US + 50 * MS + 9_120 * US),
        &["lateness of started: item 0 is 9.120 ms after armed + 50 ms, allowed 0 ns..8 ms"],
    );
    assert_eq!(
        violations[0].evidence[1],
        "cpu0 0.060320100 deferred_item_started id=0 time_ns=60320000"
    );
    check_fails(
        "lateness: { of: queued, min: 0ns }",
        |phase| phase.items[1].queued.as_mut().expect("queued").moment = moment(61_210 * US - 1),
        &["lateness of queued: item 1 is 1 ns before armed + 60 ms, allowed at least 0 ns"],
    );
    check_fails(
        "lateness: { of: queued, percentiles: [{ p: 99, max: 2200us }] }",
        untouched,
        &[
            "lateness of queued: p99: item 3 is 2.300 ms after armed + 80 ms, allowed at most 2.200 ms",
        ],
    );
}

#[test]
fn lateness_of_an_event_that_no_item_has_matches_nothing() {
    check_matches_nothing(
        "lateness: { of: started, min: 0ns }",
        no_items,
        "lateness of started: matched nothing: no item is both armed and started",
    );
}

#[test]
fn duration_of_init_items_and_calls() {
    check_passes(
        "duration: { of: init, max: 300us }",
        untouched,
        "1 value: 300 us",
    );
    check_passes(
        "duration: { of: item, min: 1ms, max: 1ms, total-max: 4ms }",
        untouched,
        "4 values: min 1 ms, max 1 ms, total 4 ms",
    );
    check_passes(
        "duration: { of: { function: deferred_item_body }, min: 900us, max: 930us }",
        untouched,
        "4 values: min 900 us, max 930 us",
    );
    let violations = check_fails(
        "duration: { of: init, max: 299us }",
        untouched,
        &["duration of init: init took 300 us, allowed at most 299 us"],
    );
    assert_eq!(
        violations[0].evidence,
        [
            "cpu0 0.001100100 initcall_start",
            "cpu0 0.001400100 initcall_finish ret=0"
        ]
    );
    check_fails(
        "duration: { of: item, min: 1001us }",
        |phase| phase.items.truncate(1),
        &["duration of item: item 0 took 1 ms, allowed at least 1.001 ms"],
    );
    check_fails(
        "duration: { of: { function: deferred_item_body }, max: 925us }",
        untouched,
        &[
            "duration of deferred_item_body: call 3 of deferred_item_body took 930 us, allowed at most 925 us",
        ],
    );
    let violations = check_fails(
        "duration: { of: item, total-max: 3999us }",
        untouched,
        &["duration of item: the total is 4 ms, allowed at most 3.999 ms"],
    );
    assert_eq!(violations[0].evidence.len(), 8);
}

#[test]
fn duration_of_what_did_not_run_matches_nothing() {
    check_matches_nothing(
        "duration: { of: { function: misspelt }, max: 1s }",
        untouched,
        "duration of misspelt: matched nothing: there is no complete call of misspelt",
    );
    check_matches_nothing(
        "duration: { of: item, max: 1s }",
        no_items,
        "duration of item: matched nothing: no item is both started and ended",
    );
    check_matches_nothing(
        "duration: { of: init, max: 1s }",
        |phase| phase.init = None,
        "duration of init: matched nothing: the module's init did not run to its end",
    );
}

#[test]
fn window_between_points() {
    let windows = [
        ("from: load, to: unloaded", "901 ms"),
        ("from: init-start, to: init-end", "300 us"),
        ("from: first-armed, to: last-armed", "30 us"),
        ("from: first-started, to: last-started", "30.330 ms"),
        ("from: first-ended, to: last-ended", "30.330 ms"),
        ("from: first-armed, to: last-ended", "83.350 ms"),
        ("from: last-ended, to: unload", "816.450 ms"),
    ];
    for (window, measured) in windows {
        check_passes(
            &format!("window: {{ {window}, min: 0ns, max: 1s }}"),
            untouched,
            measured,
        );
    }
    let violations = check_fails(
        "window: { from: init-end, to: first-armed, min: 0ns }",
        untouched,
        &["window init-end to first-armed: -200 us, allowed at least 0 ns"],
    );
    assert_eq!(
        violations[0].evidence,
        [
            "cpu0 0.001200100 deferred_item_armed id=0 time_ns=1200000 delay_ns=50000000 delay_jiffies=13",
            "cpu0 0.001400100 initcall_finish ret=0"
        ]
    );
}

#[test]
fn window_to_a_point_that_was_not_passed_matches_nothing() {
    check_matches_nothing(
        "window: { from: load, to: last-ended, max: 1s }",
        no_items,
        "window load to last-ended: matched nothing: the phase has no last-ended",
    );
}

#[test]
fn concurrency_of_items() {
    check_passes("concurrency: { equals: 1 }", untouched, "1");
    // Ends in the nanosecond the next starts in: that is not at one time.
    check_passes(
        "concurrency: { equals: 1 }",
        |phase| end(&mut phase.items[0], 63_330 * US, 0),
        "1",
    );
    let overlap = |phase: &mut PhaseSpan| end(&mut phase.items[0], 63_331 * US, 0);
    check_passes("concurrency: { equals: 2 }", overlap, "2");
    let violations = check_fails(
        "concurrency: { equals: 1 }",
        overlap,
        &["concurrency: 2 items run at one time, allowed exactly 1"],
    );
    assert_eq!(
        violations[0].evidence,
        [
            "cpu0 0.053220100 deferred_item_started id=0 time_ns=53220000",
            "cpu0 0.063330100 deferred_item_started id=1 time_ns=63330000",
            "cpu0 0.063331100 deferred_item_ended id=0 time_ns=63331000 error=0",
            "cpu0 0.064330100 deferred_item_ended id=1 time_ns=64330000 error=0"
        ]
    );
    check_matches_nothing(
        "concurrency: { at-most: 1 }",
        no_items,
        "concurrency: matched nothing: no item started",
    );
}

#[test]
fn difference_of_two_phases() {
    let judge_two =
        |expectation: &str, phases| judge(&scenario(TWO, expectation), &timeline(phases));
    let both = || vec![direct_phase("direct"), phase("deferred")];
    let met =
        "difference: { of: { duration: init }, between: [direct, deferred], min: 30ms, max: 41ms }";
    let judgement = judge_two(met, both());
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(last(&judgement).measured, "40 ms (40.300 ms - 300 us)");

    let unmet = "difference: { of: { duration: init }, between: [deferred, direct], min: 30ms }";
    let Verdict::Fail(violations) = judge_two(unmet, both()).verdict else {
        panic!("the phases are swapped")
    };
    assert_eq!(
        violations[0].message,
        "difference of init, deferred minus direct: -40 ms (300 us - 40.300 ms), allowed at least 30 ms"
    );
    assert_eq!(violations[0].evidence.len(), 4);

    let window = "difference: { of: { window: { from: load, to: last-ended } }, between: [direct, deferred], max: 1s }";
    let mut phases = both();
    no_items(&mut phases[1]);
    let judgement = judge_two(window, phases);
    assert_eq!(
        last(&judgement).violations[0].message,
        "difference of load to last-ended, direct minus deferred: matched nothing: phase deferred has no last-ended"
    );
}

#[test]
fn check_of_one_of_several_phases_names_it() {
    let expectation = "count: { phase: deferred, of: ended, equals: 3 }";
    let timeline = timeline(vec![direct_phase("direct"), phase("deferred")]);
    let judgement = judge(&scenario(TWO, expectation), &timeline);
    assert_eq!(
        judgement.verdict.reason(),
        "deferred: count of ended: 4, allowed exactly 3"
    );
    let names: Vec<&str> = judgement
        .checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "direct: module",
            "deferred: module",
            "deferred: count of ended"
        ]
    );
}

#[test]
fn leaks_after_a_scan() {
    let plan = format!("machine: {{ command-line: [kmemleak=on] }}\n{MAIN}");
    let scenario = scenario(&plan, "leaks: { equals: 0 }");
    let judge_leaks = |leaks: Option<Vec<Leak>>| {
        let mut timeline = timeline(vec![phase("main")]);
        timeline.leaks = leaks;
        judge(&scenario, &timeline)
    };
    assert_eq!(judge_leaks(Some(Vec::new())).verdict, Verdict::Pass);
    let leak = Leak {
        object: "unreferenced object 0xffff888003a4f000 (size 64)".to_owned(),
        allocator: "comm \"init\", pid 1, jiffies 4294937300".to_owned(),
        backtrace: vec![
            "__kmalloc_noprof+0x1c3/0x2a0".to_owned(),
            "deferred_init+0x12/0x40 [test_deferred]".to_owned(),
        ],
    };
    let Verdict::Fail(violations) = judge_leaks(Some(vec![leak])).verdict else {
        panic!("a leak is reported")
    };
    assert_eq!(
        violations[0].message,
        "leaks: kmemleak reports 1, allowed exactly 0"
    );
    assert_eq!(
        violations[0].evidence,
        [
            "unreferenced object 0xffff888003a4f000 (size 64), comm \"init\", pid 1, jiffies 4294937300",
            "  at __kmalloc_noprof+0x1c3/0x2a0 < deferred_init+0x12/0x40 [test_deferred]"
        ]
    );
    let judgement = judge_leaks(None);
    assert_eq!(judgement.verdict, Verdict::Unresolved(Reason::NoLeakScan));
    assert!(!last(&judgement).passed);
    assert_eq!(last(&judgement).not_judged, Some(NotJudged::NoLeakScan));
}

#[test]
fn load_that_is_to_be_refused() {
    let refused = scenario(MAIN, "load: { error: EINVAL }");
    let judge_load = |phase: PhaseSpan| judge(&refused, &timeline(vec![phase]));
    assert_eq!(judge_load(refused_phase("main")).verdict, Verdict::Pass);
    assert_eq!(
        judge_load(phase("main")).verdict.reason(),
        "load: returned 0, allowed -22 (-EINVAL)"
    );
    let enomem = PhaseSpan {
        loaded: Some(returned(1_500 * US, -12)),
        ..refused_phase("main")
    };
    let Verdict::Fail(violations) = judge_load(enomem).verdict else {
        panic!("another error")
    };
    assert_eq!(
        violations[0].message,
        "load: returned -12, allowed -22 (-EINVAL)"
    );
    assert_eq!(
        violations[0].evidence,
        ["cpu0 0.001500100 deferinit: loaded -12"]
    );
    let never = PhaseSpan {
        loaded: None,
        ..refused_phase("main")
    };
    assert_eq!(
        judge_load(never).verdict.reason(),
        "load: matched nothing: the load never returned"
    );
}

#[test]
fn module_must_load_unload_and_account_for_each_item() {
    let first = |change: fn(&mut PhaseSpan)| {
        let judgement = judge_main(MET, change);
        let Verdict::Fail(violations) = judgement.verdict else {
            panic!("{:?}", judgement.verdict)
        };
        violations[0].message.clone()
    };
    assert_eq!(
        first(|phase| *phase = refused_phase("main")),
        "module: the load returned -22, allowed 0"
    );
    assert_eq!(
        first(|phase| phase.unloaded = Some(returned(902 * MS, -11))),
        "module: the unload returned -11, allowed 0"
    );
    assert_eq!(
        first(|phase| end(&mut phase.items[2], 90 * MS, -5)),
        "module: item 2 ended with error -EIO (-5), allowed 0"
    );
    assert_eq!(
        first(|phase| {
            let at = phase.items[2].started.expect("started").at.0;
            never_run(&mut phase.items[2]);
            start(&mut phase.items[2], at);
        }),
        "module: item 2 is started but neither ends nor is cancelled"
    );
}

#[test]
fn every_ending_has_its_own_verdict_and_wording() {
    let text = |text: &str| text.to_owned();
    let cases = [
        (
            Ending::GuestDeadline {
                waiting_for: text("the end of every item"),
            },
            "the deadline in guest time passed while the agent waited for the end of every item",
        ),
        (
            Ending::HostDeadline {
                waiting_for: text("the agent's first frame"),
            },
            "the deadline in wall time passed while the host waited for the agent's first frame",
        ),
        (
            Ending::AgentMissing,
            "the guest ran but its agent never reported",
        ),
        (
            Ending::AgentError {
                message: text("cannot mount"),
            },
            "the agent failed: cannot mount",
        ),
        (
            Ending::QemuDied {
                status: text("signal 9"),
            },
            "QEMU ended before the guest powered off: signal 9",
        ),
        (Ending::Interrupted, "the run was interrupted"),
        (
            Ending::Truncated {
                message: text("no dmesg"),
            },
            "the run's results are cut short: no dmesg",
        ),
    ];
    for (ending, wording) in cases {
        // The checks are all met: the ending alone decides.
        let judgement = judge_whole(MET, |timeline| timeline.ending = ending.clone());
        assert!(
            matches!(judgement.verdict, Verdict::Unresolved(_)),
            "{ending:?}"
        );
        assert_eq!(judgement.verdict.reason(), wording);
        assert!(judgement.checks.iter().all(|check| check.passed));
    }
    assert_eq!(judge_whole(MET, |_| {}).verdict, Verdict::Pass);
}

#[test]
fn panic_fails_with_its_evidence_whatever_else_is_lost() {
    let judgement = judge_whole(MET, |timeline| {
        timeline.ending = Ending::GuestPanic {
            message: "Kernel panic - not syncing: hung".to_owned(),
        };
        timeline.splats = vec!["BUG: kernel NULL pointer dereference".to_owned()];
        timeline.integrity.cpus.clear();
    });
    let Verdict::Fail(violations) = judgement.verdict else {
        panic!("{:?}", judgement.verdict)
    };
    assert_eq!(
        violations[0].message,
        "kernel: the guest panicked after an oops: BUG: kernel NULL pointer dereference"
    );
    assert_eq!(
        violations[0].evidence,
        ["BUG: kernel NULL pointer dereference"]
    );
}

#[test]
fn fault_in_the_kernel_log_fails() {
    let judgement = judge_whole(MET, |timeline| {
        timeline.splats = vec!["BUG: KASAN: slab-use-after-free in f".to_owned()]
    });
    assert_eq!(judgement.verdict.word(), "fail");
    assert_eq!(
        judgement.verdict.reason(),
        "kernel log: BUG: KASAN: slab-use-after-free in f"
    );
}

#[test]
fn trace_that_is_not_whole_is_unresolved_though_every_check_passes() {
    let cases: [(Change, &str); 6] = [
        (
            |t| {
                t.integrity.cpus[0]
                    .statistics
                    .as_mut()
                    .expect("some")
                    .overrun = 1
            },
            "cpu0: overrun is 1, not 0",
        ),
        (
            |t| {
                t.integrity.cpus[0]
                    .statistics
                    .as_mut()
                    .expect("some")
                    .dropped = 2
            },
            "cpu0: dropped events is 2, not 0",
        ),
        (
            |t| t.integrity.cpus[0].decoded = 39,
            "cpu0: 39 records decoded but the kernel counts 40",
        ),
        (
            |t| t.integrity.cpus[0].missed_marks = 1,
            "cpu0: 1 sub-buffers are marked as preceded by missed events",
        ),
        (
            |t| t.integrity.cpus[0].statistics = None,
            "cpu0: the guest's ftrace statistics are missing",
        ),
        (
            |t| t.integrity.calls.unmatched_exits = 1,
            "1 function_graph exits have no entry",
        ),
    ];
    for (change, problem) in cases {
        let judgement = judge_whole(MET, change);
        let problems = vec![problem.to_owned()];
        assert_eq!(
            judgement.verdict,
            Verdict::Unresolved(Reason::TraceNotWhole { problems })
        );
        assert_eq!(
            judgement.verdict.reason(),
            format!("the trace is not whole: {problem}")
        );
    }
}

#[test]
fn trace_that_is_not_whole_is_unresolved_though_a_check_fails() {
    let judgement = judge_whole("count: { of: ended, equals: 5 }", |timeline| {
        timeline.integrity.damages = 1
    });
    assert_eq!(judgement.verdict.word(), "unresolved");
    assert!(!last(&judgement).passed);
}

#[test]
fn contradiction_is_unresolved() {
    let judgement = judge_whole(MET, |timeline| {
        timeline.anomalies.total = 3;
        timeline.anomalies.first = vec![Anomaly {
            message: "item 3 ended twice".to_owned(),
            moment: None,
        }];
    });
    assert_eq!(
        judgement.verdict.reason(),
        "the records contradict each other: item 3 ended twice (and 2 more)"
    );
    assert_eq!(judgement.verdict.word(), "unresolved");
}

#[test]
fn timeline_of_another_plan_is_unresolved() {
    let cases: [(Change, &str); 8] = [
        (
            |t| t.phases[0].record = Some(record(&["0", "1", "2"])),
            "phase main has 4 items, but the module's record has 3",
        ),
        (
            |t| t.phases[0].record = Some(record(&["0", "1", "bus", "3"])),
            "item 2 of phase main is 2 of mode delayed, but bus of mode delayed in the module's record",
        ),
        (
            |t| {
                let mut rows = record(&["0", "1", "2", "3"]);
                rows[3].mode = "probe".to_owned();
                t.phases[0].record = Some(rows);
            },
            "item 3 of phase main is 3 of mode delayed, but 3 of mode probe in the module's record",
        ),
        (
            |t| t.phases.clear(),
            "phases [\"main\"] are planned, but [] ran",
        ),
        (
            |t| t.phases[0].name = "other".to_owned(),
            "phases [\"main\"] are planned, but [\"other\"] ran",
        ),
        (
            |t| t.phases[0].items[3].id = 4,
            "phase main has 4 items, but item 4 ran",
        ),
        (
            |t| t.phases[0].items[1].armed.as_mut().expect("some").delay_ns = 1,
            "item 1 of phase main has a delay of 60ms, but is armed with 1ns",
        ),
        (
            |t| t.phases[0].finish.as_mut().expect("some").cause = FinishCause::Held,
            "phase main runs until done, but ended held",
        ),
    ];
    for (change, difference) in cases {
        let judgement = judge_whole(MET, change);
        assert_eq!(judgement.verdict.word(), "unresolved");
        assert_eq!(
            judgement.verdict.reason(),
            format!("the run is not that of the scenario: {difference}")
        );
    }
    let agrees = judge_main(MET, |phase| {
        phase.record = Some(record(&["0", "1", "2", "3"]))
    });
    assert_eq!(agrees.verdict, Verdict::Pass);
    let mut expects_nothing = scenario(MAIN, MET);
    expects_nothing.expect.clear();
    let judgement = judge(&expects_nothing, &timeline(vec![phase("main")]));
    assert_eq!(
        judgement.verdict.reason(),
        "the run is not that of the scenario: the scenario expects nothing"
    );
}

#[test]
fn phase_past_its_deadline_is_unresolved() {
    let judgement = judge_main(MET, |phase| {
        phase.finish.as_mut().expect("some").cause = FinishCause::Deadline
    });
    assert_eq!(
        judgement.verdict.reason(),
        "the deadline in guest time passed while the agent waited for the items of phase main"
    );
}

#[test]
fn many_violations_are_cut_and_counted() {
    let plan = "workload: { mode: delayed, items: 40, delay: 50ms, step: 10ms }\n";
    let mut timeline = timeline(vec![phase("main")]);
    timeline.phases[0].items = (0..40).map(run::item).collect();
    let judgement = judge(
        &scenario(plan, "lateness: { of: queued, max: 1ms }"),
        &timeline,
    );
    let violations = &last(&judgement).violations;
    assert_eq!(violations.len(), 11);
    assert_eq!(
        violations[10].message,
        "lateness of queued: 30 more violations"
    );
    assert_eq!(
        judgement.verdict.reason(),
        "lateness of queued: item 0 is 2 ms after armed + 50 ms, allowed at most 1 ms (and 10 more)"
    );
}

#[test]
fn long_evidence_is_cut_and_counted() {
    let plan = "workload: { mode: delayed, items: 40, delay: 50ms, step: 10ms }\n";
    let mut timeline = timeline(vec![phase("main")]);
    timeline.phases[0].items = (0..40).map(run::item).collect();
    let judgement = judge(
        &scenario(plan, "count: { of: ended, equals: 41 }"),
        &timeline,
    );
    let evidence = &last(&judgement).violations[0].evidence;
    assert_eq!(evidence.len(), 17);
    assert_eq!(evidence[16], "and 24 more records");
}

#[test]
fn measurements_are_there_whatever_is_checked() {
    let measurements = measure(&scenario(MAIN, MET), &timeline(vec![phase("main")]));
    let values: Vec<String> = measurements
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    assert_eq!(
        values,
        [
            "main.armed-queued.max 82300000",
            "main.armed-queued.min 52000000",
            "main.armed-queued.p50 62100000",
            "main.armed-queued.p90 82300000",
            "main.armed-queued.p99 82300000",
            "main.armed-started.max 82320000",
            "main.armed-started.min 52020000",
            "main.armed-started.p50 62120000",
            "main.armed-started.p90 82320000",
            "main.armed-started.p99 82320000",
            "main.attempts.max 1",
            "main.concurrency 1",
            "main.first-armed-last-ended 83350000",
            "main.function.deferred_item_body.count 4",
            "main.function.deferred_item_body.max 930000",
            "main.function.deferred_item_body.min 900000",
            "main.function.deferred_item_body.total 3660000",
            "main.init 300000",
            "main.items.armed 4",
            "main.items.cancelled 0",
            "main.items.ended 4",
            "main.items.queued 4",
            "main.items.started 4",
            "main.lateness.max 2320000",
            "main.lateness.min 2020000",
            "main.lateness.p50 2120000",
            "main.lateness.p90 2320000",
            "main.lateness.p99 2320000",
            "main.queued-started.max 20000",
            "main.queued-started.min 20000",
            "main.queued-started.p50 20000",
            "main.queued-started.p90 20000",
            "main.queued-started.p99 20000",
            "main.started-ended.max 1000000",
            "main.started-ended.min 1000000",
            "main.started-ended.p50 1000000",
            "main.started-ended.p90 1000000",
            "main.started-ended.p99 1000000",
        ]
    );
}

#[test]
fn measurements_that_cannot_be_had_are_left_out() {
    let measurements = measure(&scenario(MAIN, MET), &timeline(vec![refused_phase("main")]));
    let names: Vec<&str> = measurements.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "main.concurrency",
            "main.items.armed",
            "main.items.cancelled",
            "main.items.ended",
            "main.items.queued",
            "main.items.started"
        ]
    );
    let other = Function {
        name: "x::schedule".to_owned(),
        ..phase("main").functions[0].clone()
    };
    let mut with_other = timeline(vec![phase("main")]);
    with_other.phases[0].functions.push(other);
    assert!(
        !measure(&scenario(MAIN, MET), &with_other)
            .keys()
            .any(|name| name.contains("schedule"))
    );
}

#[test]
fn damaged_times_do_not_overflow() {
    let mut damaged = timeline(vec![phase("main")]);
    damaged.phases[0].items = (0..4).map(direct_item).collect();
    for item in &mut damaged.phases[0].items {
        item.armed.as_mut().expect("armed").delay_ns = u64::MAX;
        item.ended.as_mut().expect("ended").moment.at = TraceNanos(u64::MAX);
    }
    assert_eq!(
        measure(&scenario(MAIN, MET), &damaged).get("main.lateness.min"),
        Some(&i64::MIN)
    );
    assert_eq!(
        measure(&scenario(MAIN, MET), &damaged).get("main.started-ended.max"),
        Some(&i64::MAX)
    );
    let judgement = judge(
        &scenario(MAIN, "duration: { of: item, total-max: 1s }"),
        &damaged,
    );
    assert_eq!(judgement.verdict.word(), "unresolved");
}

#[test]
fn judgement_is_the_same_bytes_each_time_and_reads_back() {
    let bytes = || {
        serde_json::to_string(&judge_main("lateness: { of: queued, max: 1ms }", untouched))
            .expect("plain data")
    };
    assert_eq!(bytes(), bytes());
    let read: Judgement = serde_json::from_str(&bytes()).expect("its own format");
    assert_eq!(
        read,
        judge_main("lateness: { of: queued, max: 1ms }", untouched)
    );
    assert!(bytes().starts_with(
        "{\"format_version\":1,\"scenario\":\"test\",\"verdict\":{\"verdict\":\"fail\",\"detail\":["
    ));
}
