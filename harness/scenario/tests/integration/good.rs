// SPDX-License-Identifier: GPL-2.0-only

//! Good files and what they mean.

use deferinit_scenario::*;

fn good(text: &str) -> Scenario {
    parse("a/b", text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn with_workload(workload: &str) -> Workload {
    let text =
        format!("summary: x\nworkload: {workload}\nexpect: [{{ concurrency: {{ equals: 1 }} }}]\n");
    good(&text).phases.remove(0).workload
}

const SMALLEST: &str = "
summary: It works.
workload: { mode: direct, items: 2 }
expect: [{ concurrency: { equals: 1 } }]
";

#[test]
fn smallest_file_gets_every_default() {
    let expected = Scenario {
        name: "a/b".to_owned(),
        summary: "It works.".to_owned(),
        clock: Clock::Exact,
        machine: Machine {
            name: "x86_64".to_owned(),
            cpus: 1,
            memory: None,
            command_line: Vec::new(),
        },
        trace: Trace {
            functions: vec!["deferred_*".to_owned()],
            events: Vec::new(),
            buffer: Bytes(16 << 20),
        },
        phases: vec![Phase {
            name: "main".to_owned(),
            workload: Workload {
                mode: Mode::Direct,
                arrangement: Arrangement::Parallel,
                items: 2,
                delay: Nanos(0),
                step: Nanos(0),
                body: Body::None,
                queue: Queue::SystemPercpu,
                start: Start::Load,
            },
            until: Until::Done,
        }],
        deadline: Nanos(60_000_000_000),
        expect: vec![Expectation::Concurrency(ConcurrencyExpectation {
            phase: "main".to_owned(),
            bounds: CountBounds {
                at_least: Some(1),
                at_most: Some(1),
            },
        })],
    };
    assert_eq!(good(SMALLEST), expected);
}

#[test]
fn every_key_of_machine_and_trace_is_read() {
    let scenario = good(
        "
summary: x
clock: wall
deadline: 2.5s
machine: { name: microvm, cpus: 16, memory: 512MiB, command-line: [kmemleak=on, \"a=b,c\"] }
trace: { functions: ['deferred_*', 'x[a-z]?'], events: [sched, 'timer:hrtimer_*'], buffer: 128MiB }
workload: { mode: direct, items: 1 }
until: { hold: 20ms }
expect: [{ leaks: { equals: 0 } }]
",
    );
    assert_eq!(scenario.clock, Clock::Wall);
    assert_eq!(scenario.deadline, Nanos(2_500_000_000));
    assert_eq!(scenario.machine.name, "microvm");
    assert_eq!(scenario.machine.cpus, 16);
    assert_eq!(scenario.machine.memory, Some(Bytes(512 << 20)));
    assert_eq!(scenario.machine.command_line, ["kmemleak=on", "a=b,c"]);
    assert_eq!(scenario.trace.functions, ["deferred_*", "x[a-z]?"]);
    assert_eq!(scenario.trace.events, ["sched", "timer:hrtimer_*"]);
    assert_eq!(scenario.trace.buffer, Bytes(128 << 20));
    assert_eq!(scenario.phases[0].until, Until::Hold(Nanos(20_000_000)));
}

#[test]
fn bodies_and_queues_are_read() {
    for (body, expected) in [
        ("none", Body::None),
        ("{ spin: 200us }", Body::Spin(Nanos(200_000))),
        ("{ sleep: 1.5ms }", Body::Sleep(Nanos(1_500_000))),
    ] {
        let workload = with_workload(&format!("{{ mode: direct, items: 1, body: {body} }}"));
        assert_eq!(workload.body, expected);
    }
    for (queue, expected) in [
        ("system-percpu", Queue::SystemPercpu),
        ("system-unbound", Queue::SystemUnbound),
        ("system-highpri", Queue::SystemHighpri),
        ("system-long", Queue::SystemLong),
        ("own-percpu", Queue::OwnPercpu { max_active: 0 }),
        (
            "{ own-percpu: { max-active: 2048 } }",
            Queue::OwnPercpu { max_active: 2048 },
        ),
        ("own-unbound", Queue::OwnUnbound { max_active: 0 }),
        (
            "{ own-unbound: { max-active: 2 } }",
            Queue::OwnUnbound { max_active: 2 },
        ),
    ] {
        let workload = with_workload(&format!(
            "{{ mode: delayed, items: 1, delay: 0ms, queue: {queue} }}"
        ));
        assert_eq!(workload.queue, expected);
    }
}

#[test]
fn module_parameters_say_all_of_a_workload() {
    let parameters = |workload: &str| -> String {
        let pairs = with_workload(workload).module_parameters();
        pairs
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect()
    };
    assert_eq!(
        parameters(
            "{ mode: delayed, arrangement: chain, items: 8, delay: 50ms, step: 25ms, body: { spin: 200us }, \
             queue: { own-unbound: { max-active: 2 } }, start: trigger }"
        ),
        "items=8 mode=delayed arrangement=chain delay_ns=50000000 step_ns=25000000 body=spin body_ns=200000 \
         queue=own-unbound max_active=2 start=trigger "
    );
    assert_eq!(
        parameters("{ mode: direct, items: 1 }"),
        "items=1 mode=direct arrangement=parallel delay_ns=0 step_ns=0 body=none body_ns=0 queue=system-percpu \
         max_active=0 start=load "
    );
}

#[test]
fn shortest_run_counts_delays_and_bodies() {
    for (workload, millis) in [
        ("{ mode: direct, items: 4, body: { sleep: 10ms } }", 40),
        (
            "{ mode: delayed, items: 4, delay: 50ms, step: 25ms, body: { sleep: 10ms } }",
            135,
        ),
        (
            "{ mode: delayed, arrangement: chain, items: 4, delay: 50ms, step: 25ms, body: { sleep: 10ms } }",
            390,
        ),
        ("{ mode: delayed, items: 1, delay: 50ms, step: 25ms }", 50),
    ] {
        assert_eq!(
            with_workload(workload).shortest_run(),
            Nanos(millis * 1_000_000),
            "{workload}"
        );
    }
}

/// Every form an expectation may take, and the line it prints as.
const EXPECTATIONS: [(&str, &str); 24] = [
    (
        "count: { phase: a, of: armed, equals: 8 }",
        "a: count of armed: equals 8",
    ),
    (
        "count: { phase: a, of: cancelled, at-least: 1 }",
        "a: count of cancelled: at least 1",
    ),
    (
        "count: { phase: d, of: queued, equals: 0 }",
        "d: count of queued: equals 0",
    ),
    (
        "count: { phase: a, of: { function: deferred_item_body }, at-least: 1, at-most: 8 }",
        "a: count of deferred_item_body: at least 1, at most 8",
    ),
    (
        "order: { phase: a, by: started, ids: ascending }",
        "a: order by started: ascending ids",
    ),
    (
        "order: { phase: a, by: queued, ids: descending }",
        "a: order by queued: descending ids",
    ),
    (
        "order: { phase: d, by: ended, ids: [3, 1, 2] }",
        "d: order by ended: [3, 1, 2]",
    ),
    (
        "interval: { phase: a, from: armed, to: started, min: 50ms, max: 58ms, percentiles: [{ p: 99, max: 57.6ms }] }",
        "a: interval from armed to started: each at least 50ms, at most 58ms; p99 at most 57.6ms",
    ),
    (
        "interval: { phase: d, from: started, to: ended, max: 1s }",
        "d: interval from started to ended: each at most 1s",
    ),
    (
        "interval: { phase: a, from: armed, to: cancelled, min: 1s }",
        "a: interval from armed to cancelled: each at least 1s",
    ),
    (
        "lateness: { phase: a, of: queued, min: 0ms, max: 8ms }",
        "a: lateness of queued: each at least 0ns, at most 8ms",
    ),
    (
        "lateness: { phase: a, of: started, percentiles: [{ p: 50, min: 1us }, { p: 99.9, max: 8ms }] }",
        "a: lateness of started: p50 at least 1us; p99.9 at most 8ms",
    ),
    (
        "duration: { phase: d, of: init, min: 40ms }",
        "d: duration of init: each at least 40ms",
    ),
    (
        "duration: { phase: a, of: item, max: 5ms }",
        "a: duration of item: each at most 5ms",
    ),
    (
        "duration: { phase: a, of: { function: a.b$c }, percentiles: [{ p: 100, max: 1ms }], total-max: 5ms }",
        "a: duration of a.b$c: p100 at most 1ms; in total at most 5ms",
    ),
    (
        "window: { phase: a, from: load, to: last-ended, max: 1s }",
        "a: window from load to last-ended: at most 1s",
    ),
    (
        "window: { phase: a, from: trigger, to: first-armed, max: 1s }",
        "a: window from trigger to first-armed: at most 1s",
    ),
    (
        "concurrency: { phase: d, at-most: 1 }",
        "d: concurrency: at most 1",
    ),
    (
        "difference: { of: { duration: init }, between: [d, a], min: 30ms, max: 60ms }",
        "difference of init, d minus a: at least 30ms, at most 60ms",
    ),
    (
        "difference: { of: { window: { from: load, to: unloaded } }, between: [a, d], max: 1s }",
        "difference of window from load to unloaded, a minus d: at most 1s",
    ),
    ("leaks: { equals: 0 }", "leaks: equals 0"),
    ("leaks: { at-most: 1 }", "leaks: at most 1"),
    (
        "load: { phase: a, error: EINVAL }",
        "a: load: refused with EINVAL",
    ),
    (
        "load: { phase: d, error: ENOMEM }",
        "d: load: refused with ENOMEM",
    ),
];

#[test]
fn every_expectation_is_read_and_prints_as_one_line() {
    for (entry, expected) in EXPECTATIONS {
        let text = format!(
            "
summary: x
machine: {{ command-line: [kmemleak=on] }}
phases:
  - {{ name: d, workload: {{ mode: direct, items: 4 }} }}
  - {{ name: a, workload: {{ mode: delayed, items: 8, delay: 50ms, start: trigger }} }}
expect:
  - {entry}
"
        );
        let expectation = good(&text).expect.remove(0);
        assert_eq!(expectation.to_string(), expected);
    }
}

#[test]
fn bounds_admit_what_lies_within() {
    let bounds = Bounds {
        min: Some(Nanos(0)),
        max: Some(Nanos(8)),
    };
    for (nanos, expected) in [
        (-1, false),
        (0, true),
        (8, true),
        (9, false),
        (i64::MIN, false),
        (i64::MAX, false),
    ] {
        assert_eq!(bounds.admits(nanos), expected, "{nanos}");
    }
    assert!(Bounds::default().admits(i64::MIN));
    let beyond = Bounds {
        min: Some(Nanos(u64::MAX)),
        max: None,
    };
    assert!(!beyond.admits(i64::MAX));
    let counts = CountBounds {
        at_least: Some(1),
        at_most: Some(2),
    };
    assert_eq!(
        [0, 1, 2, 3].map(|count| counts.admits(count)),
        [false, true, true, false]
    );
}

#[test]
fn errno_has_its_number() {
    assert_eq!(Errno::EINVAL.number(), 22);
    assert_eq!(
        Errno::ALL.map(Errno::number),
        [1, 2, 6, 8, 11, 12, 16, 17, 19, 22, 34]
    );
}
