// SPDX-License-Identifier: GPL-2.0-only

//! Commands, and what is expected of events, functions, stack traces and the kernel's own reports.

use deferinit_check::{Judged, NotJudged, Reason, Verdict, queries};
use deferinit_scenario::Scenario;
use deferinit_timeline::{
    Answer, CommandHow, CommandSpan, Counted, DeepestStack, Found, Histogram, HistogramEntry,
    LatencyReport, LongestLatency, Pair, Pairs, PhaseSpan, ProfiledFunction, Sighting, Timeline,
};

use crate::run::{MS, US, moment, phase, timeline};
use crate::{judge, last};

/// A trace that records enough for each expectation.
const TRACE: &str = "trace: { events: [sched, { event: 'kmem:kmalloc', triggers: ['hist:keys=pid'] }], \
    options: [stacktrace], function-profile: true, stack-trace: true }\n";

const LATENCY: &str = "trace: { tracer: irqsoff }\n";

fn scenario(trace: &str, expectation: &str) -> Scenario {
    crate::scenario(&format!("{trace}command: echo\n"), expectation)
}

/// A phase whose command has written two lines.
fn command_phase() -> PhaseSpan {
    PhaseSpan {
        load: None,
        loaded: None,
        init: None,
        finish: None,
        unload: None,
        unloaded: None,
        items: Vec::new(),
        command: Some(CommandSpan {
            begin: moment(MS),
            end: Some(moment(2 * MS)),
            how: Some(CommandHow::Exited(0)),
            is_stopped: false,
            output: Some(vec!["one".to_owned(), "two".to_owned()]),
            is_output_cut: false,
        }),
        ..phase("main")
    }
}

/// The run of a command in which every query of the scenario has this answer.
fn answered(scenario: &Scenario, found: &Found) -> Timeline {
    let answers = queries(scenario).into_iter().map(|query| Answer {
        query,
        found: found.clone(),
    });
    Timeline {
        answers: answers.collect(),
        ..timeline(vec![command_phase()])
    }
}

/// The verdict's reason, empty for a pass, and what was measured.
fn outcome(scenario: &Scenario, timeline: &Timeline) -> (&'static str, String, String) {
    let judgement = judge(scenario, timeline);
    let measured = last(&judgement).measured.clone();
    (
        judgement.verdict.word(),
        judgement.verdict.reason(),
        measured,
    )
}

#[track_caller]
fn check(
    trace: &str,
    expectation: &str,
    found: &Found,
    verdict: &str,
    reason: &str,
    measured: &str,
) {
    let scenario = scenario(trace, expectation);
    let (word, why, value) = outcome(&scenario, &answered(&scenario, found));
    assert_eq!(
        (word, why.as_str(), value.as_str()),
        (verdict, reason, measured),
        "{expectation}"
    );
}

fn counted(count: u64) -> Counted {
    let sighting = |index| Sighting {
        moment: moment(MS + index * US),
        text: format!("record {index}"),
    };
    Counted {
        count,
        first: (0..count).map(sighting).collect(),
    }
}

#[test]
fn count_of_an_event() {
    let of = |bounds: &str| format!("count: {{ of: {{ event: 'sched:x' }}, {bounds} }}");
    for (bounds, count, verdict, reason) in [
        ("at-least: 2", 2, "pass", ""),
        ("equals: 0", 0, "pass", ""),
        (
            "equals: 1",
            2,
            "fail",
            "count of sched:x: 2, allowed exactly 1",
        ),
        (
            "at-least: 1",
            0,
            "fail",
            "count of sched:x: matched nothing: 0, allowed at least 1",
        ),
    ] {
        let found = Found::Count(counted(count));
        check(
            TRACE,
            &of(bounds),
            &found,
            verdict,
            reason,
            &count.to_string(),
        );
    }
    // That nothing was seen is no "at most".
    check(
        TRACE,
        &of("at-most: 3"),
        &Found::Count(counted(0)),
        "fail",
        "count of sched:x: matched nothing: 0 counted, and only `equals: 0` asks for that, not at most 3",
        "nothing",
    );
}

#[test]
fn count_of_functions_without_returns_is_asked_for() {
    let tracer = "trace: { tracer: function }\n";
    let expectation = "count: { of: { function: f }, equals: 2 }";
    check(
        tracer,
        expectation,
        &Found::Count(counted(2)),
        "pass",
        "",
        "2",
    );
    let calls = scenario(TRACE, expectation);
    assert_eq!(queries(&calls), []);
}

#[test]
fn what_the_trace_cannot_answer_is_unresolved() {
    let expectation = "count: { of: { event: 'sched:x', where: y == 1 }, equals: 0 }";
    let scenario = scenario(TRACE, expectation);
    let no_field = Found::Unanswerable("no event of the trace has a field \"y\"".to_owned());
    let reason = |timeline: &Timeline| {
        let judgement = judge(&scenario, timeline);
        assert_eq!(last(&judgement).not_judged, Some(NotJudged::Unanswered));
        judgement.verdict
    };
    let Verdict::Unresolved(Reason::Unanswered { check, why }) =
        reason(&answered(&scenario, &no_field))
    else {
        panic!("unanswered");
    };
    assert_eq!(check, "count of sched:x where y == 1");
    assert_eq!(why, "no event of the trace has a field \"y\"");
    // Neither an answer to something else nor none is an answer.
    let other = Found::Pairs(Pairs::default());
    for timeline in [answered(&scenario, &other), timeline(vec![command_phase()])] {
        assert!(matches!(
            reason(&timeline),
            Verdict::Unresolved(Reason::Unanswered { .. })
        ));
    }
}

fn pair(key: &str, nanoseconds: u64) -> Pair {
    Pair {
        from: moment(MS),
        to: moment(MS + nanoseconds),
        key: key.to_owned(),
    }
}

fn pairs(unbegun: u64) -> Found {
    Found::Pairs(Pairs {
        count: 3,
        unended: 1,
        unbegun: counted(unbegun),
        without_key: 0,
        shortest: vec![pair("1", 10 * US), pair("2", 20 * US), pair("3", MS)],
        longest: vec![pair("3", MS), pair("2", 20 * US), pair("1", 10 * US)],
        percentiles: vec![(50_000, pair("2", 20 * US))],
    })
}

#[test]
fn interval_between_events() {
    let of = |bounds: &str| {
        format!(
            "interval: {{ from: {{ event: 'sched:x', key: pid }}, to: {{ event: 'sched:y', key: pid }}, {bounds} }}"
        )
    };
    let name = "interval sched:x by pid to sched:y by pid";
    let values = "3 values: min 10 us, max 1 ms";
    check(
        TRACE,
        &of("min: 10us, max: 1ms"),
        &pairs(2),
        "pass",
        "",
        values,
    );
    check(
        TRACE,
        &of("max: 15us"),
        &pairs(0),
        "fail",
        &format!("{name}: 3 took 1 ms, allowed at most 15 us (and 1 more)"),
        values,
    );
    check(
        TRACE,
        &of("min: 11us"),
        &pairs(0),
        "fail",
        &format!("{name}: 1 took 10 us, allowed at least 11 us"),
        values,
    );
    check(
        TRACE,
        &of("percentiles: [{ p: 50, max: 19us }]"),
        &pairs(0),
        "fail",
        &format!("{name}: p50: 2 took 20 us, allowed at most 19 us"),
        &format!("{values}, p50 20 us"),
    );
    check(
        TRACE,
        &of("max: 1ms"),
        &Found::Pairs(Pairs {
            unended: 4,
            ..Pairs::default()
        }),
        "fail",
        &format!(
            "{name}: matched nothing: no pair; 4 beginnings without an end, 0 ends without a beginning, 0 records without the key"
        ),
        "nothing",
    );
}

#[test]
fn one_thing_before_another() {
    let expectation = "before: { first: { event: 'sched:x' }, then: { event: 'sched:y' } }";
    check(TRACE, expectation, &pairs(0), "pass", "", "before 3 of 3");
    check(
        TRACE,
        expectation,
        &pairs(1),
        "fail",
        "sched:x before sched:y: 1 of sched:y come without a sched:x before",
        "before 3 of 4",
    );
    check(
        TRACE,
        expectation,
        &Found::Pairs(Pairs::default()),
        "fail",
        "sched:x before sched:y: matched nothing: there is no sched:y with its key",
        "nothing",
    );
}

#[test]
fn call_below_a_function() {
    let of = |bounds: &str| format!("call: {{ function: f, below: g, {bounds} }}");
    let found = |all: u64, below: u64| Found::Below {
        all,
        below: counted(below),
        elsewhere: counted(all - below).first,
    };
    check(
        TRACE,
        &of("at-least: 1"),
        &found(3, 2),
        "pass",
        "",
        "2 of 3",
    );
    check(TRACE, &of("equals: 0"), &found(3, 0), "pass", "", "0 of 3");
    check(
        TRACE,
        &of("at-least: 3"),
        &found(3, 2),
        "fail",
        "f below g: 2 of 3, allowed at least 3",
        "2 of 3",
    );
    check(
        TRACE,
        &of("at-least: 1"),
        &found(3, 0),
        "fail",
        "f below g: matched nothing: 0 of 3, allowed at least 1",
        "0 of 3",
    );
    check(
        TRACE,
        &of("at-most: 3"),
        &found(0, 0),
        "fail",
        "f below g: matched nothing: f does not happen at all",
        "nothing",
    );
}

#[test]
fn stack_with_functions() {
    let of = |bounds: &str| format!("stack: {{ event: 'sched:x', frames: [f, g], {bounds} }}");
    let found = |with_stack: u64, matching: u64| Found::Stacks {
        all: 5,
        with_stack,
        matching: counted(matching),
        others: counted(with_stack - matching).first,
    };
    check(
        TRACE,
        &of("equals: 4"),
        &found(5, 4),
        "pass",
        "",
        "4 of 5 stack traces",
    );
    check(
        TRACE,
        &of("at-least: 1"),
        &found(5, 0),
        "fail",
        "stack of sched:x with f, g: matched nothing: 0 of 5 stack traces, allowed at least 1",
        "0 of 5 stack traces",
    );
    // Not even `equals: 0` holds where nothing has a stack.
    check(
        TRACE,
        &of("equals: 0"),
        &found(0, 0),
        "fail",
        "stack of sched:x with f, g: matched nothing: sched:x is recorded 5 times, never with a stack",
        "nothing",
    );
}

/// Judges an expectation on what the kernel reports.
#[track_caller]
fn check_report(
    trace: &str,
    expectation: &str,
    change: impl FnOnce(&mut Timeline),
    verdict: &str,
    reason: &str,
) {
    let scenario = scenario(trace, expectation);
    let mut timeline = timeline(vec![command_phase()]);
    change(&mut timeline);
    let (word, why, _) = outcome(&scenario, &timeline);
    assert_eq!((word, why.as_str()), (verdict, reason), "{expectation}");
}

fn longest(timeline: &mut Timeline) {
    timeline.reports.latency = Some(LatencyReport {
        tracer: "irqsoff".to_owned(),
        longest: Some(LongestLatency {
            microseconds: 366,
            task: "cc1".to_owned(),
            pid: 13867,
            started_at: Some("save_args".to_owned()),
            ended_at: Some("call_softirq".to_owned()),
            shown: vec!["irq_enter".to_owned()],
        }),
    });
}

#[test]
fn longest_latency() {
    for (keys, reason) in [
        ("min: 366us, max: 366us", ""),
        (
            "started-at: save_args, ended-at: call_softirq, task: cc1, shows: [irq_enter]",
            "",
        ),
        ("max: 365us", "latency: 366 us, allowed at most 365 us"),
        (
            "started-at: f",
            "latency: it started at save_args, allowed f",
        ),
        (
            "ended-at: f",
            "latency: it ended at call_softirq, allowed f",
        ),
        ("task: sh", "latency: it is of task cc1, allowed sh"),
        ("shows: [f]", "latency: the trace behind it does not show f"),
    ] {
        let verdict = if reason.is_empty() { "pass" } else { "fail" };
        check_report(
            LATENCY,
            &format!("latency: {{ {keys} }}"),
            longest,
            verdict,
            reason,
        );
    }
    let expectation = "latency: { max: 1ms }";
    let no_sample = |timeline: &mut Timeline| {
        timeline.reports.latency = Some(LatencyReport {
            tracer: "irqsoff".to_owned(),
            longest: None,
        });
    };
    check_report(
        LATENCY,
        expectation,
        no_sample,
        "fail",
        "latency: matched nothing: tracer irqsoff has seen no latency",
    );
    check_report(
        LATENCY,
        expectation,
        |_| {},
        "unresolved",
        "latency cannot be judged: the tracer left no report",
    );
}

fn profiled(timeline: &mut Timeline) {
    let function = |name: &str, may_be_cut| ProfiledFunction {
        name: name.to_owned(),
        may_be_cut,
        hits: 4,
        total_ns: Some(8_000),
    };
    timeline.reports.profile = Some(vec![function("f", false), function("long_na", true)]);
}

#[test]
fn profile_of_a_function() {
    for (keys, reason) in [
        (
            "function: f, hits: { equals: 4 }, time: { max: 8us }, average: { min: 2us, max: 2us }",
            "",
        ),
        ("function: long_name, hits: { at-least: 1 }", ""),
        ("function: g, hits: { equals: 0 }", ""),
        (
            "function: f, hits: { at-most: 3 }",
            "profile of f: 4 hits, allowed at most 3",
        ),
        (
            "function: f, time: { max: 7us }",
            "profile of f: time 8 us, allowed at most 7 us",
        ),
        (
            "function: f, average: { min: 3us }",
            "profile of f: average 2 us, allowed at least 3 us",
        ),
        (
            "function: g, hits: { at-least: 1 }",
            "profile of g: matched nothing: g is not called",
        ),
    ] {
        let verdict = if reason.is_empty() { "pass" } else { "fail" };
        check_report(
            TRACE,
            &format!("profile: {{ {keys} }}"),
            profiled,
            verdict,
            reason,
        );
    }
    check_report(
        TRACE,
        "profile: { function: f, hits: { equals: 0 } }",
        |_| {},
        "unresolved",
        "profile of f cannot be judged: the profiler left no report",
    );
}

#[test]
fn deepest_stack() {
    let stack = |timeline: &mut Timeline| {
        timeline.reports.stack = Some(DeepestStack {
            bytes: Some(2048),
            frames: ["f", "g", "h"].map(str::to_owned).to_vec(),
        });
    };
    for (keys, reason) in [
        ("min: 2KiB, max: 2KiB, frames: [f, h]", ""),
        ("max: 2047B", "stack-size: 2048 B, allowed at most 2047B"),
        ("min: 4KiB", "stack-size: 2048 B, allowed at least 4KiB"),
        (
            "frames: [h, f]",
            "stack-size: f does not stand there in this order",
        ),
    ] {
        let verdict = if reason.is_empty() { "pass" } else { "fail" };
        check_report(
            TRACE,
            &format!("stack-size: {{ {keys} }}"),
            stack,
            verdict,
            reason,
        );
    }
    let none = |timeline: &mut Timeline| {
        timeline.reports.stack = Some(DeepestStack {
            bytes: None,
            frames: Vec::new(),
        });
    };
    let expectation = "stack-size: { max: 8KiB }";
    check_report(
        TRACE,
        expectation,
        none,
        "fail",
        "stack-size: matched nothing: the stack tracer has seen no stack",
    );
    check_report(
        TRACE,
        expectation,
        |_| {},
        "unresolved",
        "stack-size cannot be judged: the stack tracer left no report",
    );
    let scenario = scenario(TRACE, expectation);
    let mut timeline = timeline(vec![command_phase()]);
    stack(&mut timeline);
    let judgement = deferinit_check::judge(&scenario, &timeline, Judged::Untimed);
    assert_eq!(last(&judgement).not_judged, Some(NotJudged::Instrumented));
}

#[test]
fn histogram_of_an_event() {
    let entry = |pid: &str, hits: u64| HistogramEntry {
        key: [("pid".to_owned(), pid.to_owned())].into(),
        values: [("hitcount".to_owned(), hits)].into(),
    };
    let change = |timeline: &mut Timeline| {
        let histogram = Histogram {
            trigger: "hist:keys=pid".to_owned(),
            hits: 7,
            dropped: 0,
            entries: vec![entry("1", 3), entry("2", 4)],
        };
        timeline
            .reports
            .histograms
            .insert("kmem:kmalloc".to_owned(), vec![histogram]);
    };
    for (keys, reason) in [
        ("equals: 7", ""),
        ("entry: ['pid = 2'], equals: 4", ""),
        ("entry: ['pid = 3'], equals: 0", ""),
        (
            "entry: ['pid = 2'], at-most: 3",
            "histogram of kmem:kmalloc: { pid = 2 } hitcount: 4, allowed at most 3",
        ),
        (
            "entry: ['pid = 3'], at-least: 1",
            "histogram of kmem:kmalloc: { pid = 3 } hitcount: matched nothing: no entry has these keys and this value",
        ),
        (
            "value: bytes_req, at-least: 1",
            "histogram of kmem:kmalloc: bytes_req: matched nothing: no entry has these keys and this value",
        ),
    ] {
        let verdict = if reason.is_empty() { "pass" } else { "fail" };
        let expectation = format!("histogram: {{ event: 'kmem:kmalloc', {keys} }}");
        check_report(TRACE, &expectation, change, verdict, reason);
    }
    check_report(
        TRACE,
        "histogram: { event: 'kmem:kmalloc', equals: 0 }",
        |_| {},
        "unresolved",
        "histogram of kmem:kmalloc: hitcount cannot be judged: the trigger left no report",
    );
}

/// Judges an expectation on the usual command after a change.
#[track_caller]
fn check_command(
    expectation: &str,
    change: impl FnOnce(&mut CommandSpan),
    verdict: &str,
    reason: &str,
) {
    check_report(
        TRACE,
        expectation,
        |timeline| change(timeline.phases[0].command.as_mut().expect("a command")),
        verdict,
        reason,
    );
}

#[test]
fn end_of_a_command() {
    let exited =
        |status| move |command: &mut CommandSpan| command.how = Some(CommandHow::Exited(status));
    let output = "output: { contains: one, equals: 1 }";
    check_command("exit: { equals: 0 }", |_| {}, "pass", "");
    check_command("exit: { equals: 3 }", exited(3), "pass", "");
    check_command(
        "exit: { equals: 3 }",
        |_| {},
        "fail",
        "exit: the command exited 0, allowed exit status 3",
    );
    // Without such an expectation, it is to succeed.
    check_command(
        output,
        exited(3),
        "fail",
        "command: the command exited 3, allowed exit status 0",
    );
    check_command(
        output,
        |command| command.how = Some(CommandHow::Signalled(9)),
        "fail",
        "command: the command signalled 9, allowed exit status 0",
    );
}

#[test]
fn output_of_a_command() {
    check_command("output: { contains: o, equals: 2 }", |_| {}, "pass", "");
    check_command("output: { contains: three, equals: 0 }", |_| {}, "pass", "");
    check_command(
        "output: { contains: three, at-least: 1 }",
        |_| {},
        "fail",
        "output contains \"three\": 0 lines contain it, allowed at least 1",
    );
    check_command(
        "output: { contains: three, at-most: 1 }",
        |_| {},
        "fail",
        "output contains \"three\": matched nothing: 0 lines contain it, and only `equals: 0` asks for that, not at most 1",
    );
    let cut = |command: &mut CommandSpan| command.is_output_cut = true;
    check_command("output: { contains: one, at-least: 1 }", cut, "pass", "");
    check_command(
        "output: { contains: three, equals: 0 }",
        cut,
        "unresolved",
        "output contains \"three\" cannot be judged: 0 lines of an output that is not whole",
    );
    check_command(
        "output: { contains: one, equals: 1 }",
        |command| command.output = None,
        "unresolved",
        "output contains \"one\" cannot be judged: the output is missing",
    );
}

#[test]
fn recording_that_nobody_asked_to_stop_is_unresolved() {
    let stop = |command: &mut CommandSpan| {
        command.is_stopped = true;
        command.end = None;
    };
    check_command(
        "exit: { equals: 0 }",
        stop,
        "unresolved",
        "the trace is not whole: recording was stopped within phase main",
    );
    let stopping = [
        "trace: { tracer: nop, function-triggers: ['f:traceoff:1'] }\ncommand: echo\n",
        "command: echo 0 > tracing_on\n",
    ];
    for plan in stopping {
        let scenario = crate::scenario(plan, "exit: { equals: 0 }");
        let mut timeline = timeline(vec![command_phase()]);
        stop(timeline.phases[0].command.as_mut().expect("a command"));
        assert_eq!(judge(&scenario, &timeline).verdict, Verdict::Pass, "{plan}");
    }
}

#[test]
fn command_where_a_workload_is_planned_is_another_plan() {
    let scenario = crate::scenario(crate::MAIN, crate::MET);
    let judgement = judge(&scenario, &timeline(vec![command_phase()]));
    assert_eq!(
        judgement.verdict.reason(),
        "the run is not that of the scenario: phase main has a workload, but a command ran"
    );
}
