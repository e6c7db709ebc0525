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
            boot_config: Vec::new(),
            devices: Vec::new(),
            add: Vec::new(),
            shift: None,
        },
        trace: Trace {
            since: Since::Phase,
            tracer: Tracer::FunctionGraph,
            functions: vec!["deferred_*".to_owned()],
            not_functions: Vec::new(),
            graph_functions: Vec::new(),
            not_graph_functions: Vec::new(),
            graph_depth: None,
            threshold: None,
            pids: Vec::new(),
            not_pids: Vec::new(),
            event_pids: Vec::new(),
            not_event_pids: Vec::new(),
            events: Vec::new(),
            function_triggers: Vec::new(),
            probes: Vec::new(),
            synthetic: Vec::new(),
            options: Vec::new(),
            clock: TraceClock::Local,
            buffer: Bytes(16 << 20),
            sub_buffer: None,
            function_profile: false,
            stack_trace: false,
        },
        load: Load::Module,
        phases: vec![Phase {
            name: "main".to_owned(),
            workload: Workload {
                queues: Vec::new(),
                shape: Shape::Uniform(Uniform {
                    items: 2,
                    arrangement: Arrangement::Parallel,
                    step: Nanos(0),
                    each: Work {
                        mode: Mode::Direct,
                        delay: Nanos(0),
                        body: Vec::new(),
                        queue: Queue::SystemPercpu,
                        cpu: None,
                        runs: 1,
                        defer: Defer::Times(0),
                        async_probe: false,
                    },
                }),
                start: Start::Load,
                delays: Vec::new(),
                fault: None,
            },
            until: Until::Done,
            wait: Nanos(0),
            rounds: None,
            command: None,
        }],
        deadline: Nanos(60_000_000_000),
        times: Times::Judged,
        expect: vec![Expectation::Concurrency(ConcurrencyExpectation {
            phase: "main".to_owned(),
            items: None,
            bounds: CountBounds {
                at_least: Some(1),
                at_most: Some(1),
            },
        })],
        show: Vec::new(),
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
    let events: Vec<&str> = scenario.trace.events_recorded().collect();
    assert_eq!(events, ["sched", "timer:hrtimer_*"]);
    assert_eq!(scenario.trace.buffer, Bytes(128 << 20));
    assert_eq!(scenario.phases[0].until, Until::Hold(Nanos(20_000_000)));
}

/// What an item of a workload does, with a queue, a lock and other items to name.
fn work(mode: &str, keys: &str) -> Work {
    let workload = with_workload(&format!(
        "{{ queues: [{{ name: q }}], plan: [{{ name: a, mode: {mode}, {keys} }}, {{ name: b, mode: delayed, delay: 1ms }}] }}"
    ));
    workload.work_of(0).expect("an item").clone()
}

#[test]
fn bodies_are_read() {
    let name = "b".to_owned();
    for (body, expected) in [
        ("none", vec![]),
        ("[none]", vec![]),
        ("{ spin: 200us }", vec![Action::Spin(Nanos(200_000))]),
        ("{ sleep: 1.5ms }", vec![Action::Sleep(Nanos(1_500_000))]),
        ("{ alloc: 4MiB }", vec![Action::Alloc(Bytes(4 << 20))]),
        ("{ alloc: 1B }", vec![Action::Alloc(Bytes(1))]),
        ("{ lock: m }", vec![Action::Lock("m".to_owned())]),
        ("{ complete: b }", vec![Action::Complete(name.clone())]),
        ("{ fail: EIO }", vec![Action::Fail(Errno::EIO)]),
        ("print", vec![Action::Print]),
        ("{ cancel: b }", vec![Action::Cancel(name.clone())]),
        ("{ flush: b }", vec![Action::Flush(name.clone())]),
        ("{ destroy: q }", vec![Action::Destroy("q".to_owned())]),
        (
            "{ modify: { item: b, delay: 1ms } }",
            vec![Action::Modify {
                item: name,
                delay: Nanos(1_000_000),
            }],
        ),
        (
            "[{ complete: a }, wait, print]",
            vec![
                Action::Complete("a".to_owned()),
                Action::Wait,
                Action::Print,
            ],
        ),
        (
            "[print, print, print, print, print, print, print, { fail: ENODEV }]",
            [vec![Action::Print; 7], vec![Action::Fail(Errno::ENODEV)]].concat(),
        ),
    ] {
        assert_eq!(
            work("kthread", &format!("body: {body}")).body,
            expected,
            "{body}"
        );
    }
}

#[test]
fn queues_are_read() {
    for queue in Queue::SYSTEM {
        let name = queue.as_str();
        assert_eq!(
            work("work", &format!("queue: {name}")).queue,
            queue,
            "{name}"
        );
    }
    let own = Queue::Own("q".to_owned());
    assert_eq!(work("work", "queue: q").queue, own);
    for (queue, flags, max_active) in [
        ("own-percpu", vec![], 0),
        ("{ own-percpu: { max-active: 2048 } }", vec![], 2048),
        ("own-unbound", vec![QueueFlag::Unbound], 0),
        (
            "{ own-unbound: { max-active: 2 } }",
            vec![QueueFlag::Unbound],
            2,
        ),
    ] {
        let workload = with_workload(&format!(
            "{{ mode: delayed, items: 1, delay: 0ms, queue: {queue} }}"
        ));
        let expected = OwnQueue {
            name: "own".to_owned(),
            flags,
            max_active,
            affinity_scope: None,
        };
        assert_eq!(workload.queues, [expected], "{queue}");
        let work = workload.work_of(0).expect("an item");
        assert_eq!(work.queue, Queue::Own("own".to_owned()), "{queue}");
    }
}

#[test]
fn flags_and_limits_of_queues_are_read() {
    for (keys, flags, max_active, affinity_scope) in [
        ("", vec![], 0, None),
        (", flags: []", vec![], 0, None),
        (", max-active: 1", vec![], 1, None),
        (
            ", flags: [bh, highpri]",
            vec![QueueFlag::Bh, QueueFlag::Highpri],
            0,
            None,
        ),
        (
            ", flags: [mem-reclaim, cpu-intensive, freezable, power-efficient]",
            vec![
                QueueFlag::MemReclaim,
                QueueFlag::CpuIntensive,
                QueueFlag::Freezable,
                QueueFlag::PowerEfficient,
            ],
            0,
            None,
        ),
        (
            ", flags: [unbound], max-active: 3, affinity-scope: cache-shard",
            vec![QueueFlag::Unbound],
            3,
            Some(AffinityScope::CacheShard),
        ),
        (
            ", flags: [unbound, highpri], affinity-scope: numa",
            vec![QueueFlag::Unbound, QueueFlag::Highpri],
            0,
            Some(AffinityScope::Numa),
        ),
    ] {
        let workload = with_workload(&format!(
            "{{ mode: work, items: 1, queue: q, queues: [{{ name: q{keys} }}] }}"
        ));
        let expected = OwnQueue {
            name: "q".to_owned(),
            flags,
            max_active,
            affinity_scope,
        };
        assert_eq!(workload.queues, [expected], "{keys}");
    }
}

#[test]
fn inline_queue_is_the_same_one_for_several_items() {
    let workload = with_workload(
        "{ queues: [{ name: q }], plan: [{ name: a, mode: work, queue: own-unbound }, \
         { name: b, mode: work, queue: own-unbound }, { name: c, mode: work, queue: q }] }",
    );
    let names: Vec<&str> = workload
        .queues
        .iter()
        .map(|queue| queue.name.as_str())
        .collect();
    assert_eq!(names, ["q", "own"]);
    let queues: Vec<&str> = (0..3)
        .map(|id| workload.work_of(id).expect("an item").queue.as_str())
        .collect();
    assert_eq!(queues, ["own", "own", "q"]);
}

#[test]
fn keys_of_an_item_are_read() {
    let new = Work::new;
    for (mode, keys, expected) in [
        (
            "delayed",
            "delay: 3ms, cpu: 0, runs: 1000000",
            Work {
                delay: Nanos(3_000_000),
                cpu: Some(0),
                runs: 1_000_000,
                ..new(Mode::Delayed)
            },
        ),
        ("deferrable", "delay: 0ns", new(Mode::Deferrable)),
        (
            "hrtimer",
            "delay: 1ns, runs: 2",
            Work {
                delay: Nanos(1),
                runs: 2,
                ..new(Mode::Hrtimer)
            },
        ),
        ("work", "cpu: any", new(Mode::Work)),
        (
            "kthread",
            "cpu: 0",
            Work {
                cpu: Some(0),
                ..new(Mode::Kthread)
            },
        ),
        ("async", "body: none", new(Mode::Async)),
        (
            "probe",
            "defer: 1000, async-probe: true",
            Work {
                defer: Defer::Times(1000),
                async_probe: true,
                ..new(Mode::Probe)
            },
        ),
        ("probe", "defer: 0, async-probe: false", new(Mode::Probe)),
        ("direct", "after: [b]", new(Mode::Direct)),
    ] {
        assert_eq!(work(mode, keys), expected, "{mode}, {keys}");
    }
}

#[test]
fn uniform_workload_takes_the_keys_of_its_items() {
    let workload = with_workload(
        "{ mode: probe, items: 3, defer: 2, async-probe: true, arrangement: chain, body: print, start: trigger }",
    );
    let expected = Workload {
        queues: Vec::new(),
        shape: Shape::Uniform(Uniform {
            items: 3,
            arrangement: Arrangement::Chain,
            step: Nanos(0),
            each: Work {
                body: vec![Action::Print],
                defer: Defer::Times(2),
                async_probe: true,
                ..Work::new(Mode::Probe)
            },
        }),
        start: Start::Trigger,
        delays: Vec::new(),
        fault: None,
    };
    assert_eq!(workload, expected);
}

#[test]
fn items_are_found_by_name_and_id() {
    let uniform = with_workload("{ mode: delayed, items: 11, delay: 5ms, step: 1ms }");
    let plan = with_workload(
        "{ plan: [{ name: a, mode: delayed, delay: 7ms }, { name: \"0\", mode: direct }] }",
    );
    for (workload, name, id, delay) in [
        (&uniform, "0", Some(0), 5),
        (&uniform, "10", Some(10), 15),
        (&uniform, "11", None, 0),
        (&uniform, "01", None, 0),
        (&uniform, "+1", None, 0),
        (&uniform, "a", None, 0),
        (&plan, "a", Some(0), 7),
        (&plan, "0", Some(1), 0),
        (&plan, "1", None, 0),
    ] {
        assert_eq!(workload.id_of(name), id, "{name}");
        if let Some(id) = id {
            assert_eq!(workload.name_of(id).as_deref(), Some(name));
            assert_eq!(workload.delay_of(id), Nanos(delay * 1_000_000), "{name}");
            assert!(workload.work_of(id).is_some(), "{name}");
        }
    }
    for (workload, items) in [(&uniform, 11), (&plan, 2)] {
        assert_eq!(workload.items(), items);
        assert_eq!(
            (workload.name_of(items), workload.work_of(items)),
            (None, None)
        );
    }
}

/// Workloads, and the module parameters they become.
const PARAMETERS: [(&str, &str); 8] = [
    ("{ mode: direct, items: 1 }", "items=1 mode=direct"),
    (
        "{ mode: delayed, arrangement: chain, items: 8, delay: 50ms, step: 25ms, body: { spin: 200us }, \
         queue: { own-unbound: { max-active: 2 } }, start: trigger }",
        "items=8 mode=delayed arrangement=chain step_ns=25000000 delay_ns=50000000 body=spin:200000 queue=own \
         start=trigger queues=own:unbound,max_active=2",
    ),
    (
        "{ mode: probe, items: 4096, defer: 3, async-probe: true }",
        "items=4096 mode=probe defer=3 async_probe=1",
    ),
    (
        "{ mode: work, items: 2, runs: 3, cpu: 0, queue: system-bh-highpri, body: [{ spin: 1us }, print] }",
        "items=2 mode=work body=spin:1000/print queue=system-bh-highpri cpu=0 runs=3",
    ),
    (
        "{ plan: [{ name: a, mode: direct }] }",
        "plan=a:mode=direct",
    ),
    (
        "{ mode: work, items: 2, fault: race }",
        "items=2 mode=work fault=race",
    ),
    (
        "{ start: trigger, queues: [{ name: fast, flags: [unbound, highpri, mem-reclaim], max-active: 4, affinity-scope: cache-shard }, \
         { name: plain }, { name: soft, flags: [bh] }], \
         plan: [{ name: bus, mode: probe, defer: 2, async-probe: true }, \
         { name: dev, mode: probe, suppliers: [bus], after: [t_0, w], body: [{ alloc: 4KiB }, { lock: m }, { fail: ENODEV }] }, \
         { name: t_0, mode: delayed, delay: 1.5ms, queue: fast, runs: 3, body: [{ sleep: 1ms }, { complete: w }] }, \
         { name: w, mode: kthread, cpu: 0, body: [wait, { cancel: t_0 }, { flush: t_0 }, \
         { modify: { item: t_0, delay: 2us } }, { destroy: plain }, print] }, \
         { name: x, mode: work, queue: soft }] }",
        "start=trigger \
         queues=fast:unbound,highpri,mem_reclaim,max_active=4,affinity=cache_shard;plain;soft:bh \
         plan=bus:mode=probe,defer=2,async_probe=1;\
         dev:mode=probe,body=alloc:4096/lock:m/fail:19,after=t_0+w,supplier=bus;\
         t_0:mode=delayed,delay_ns=1500000,body=sleep:1000000/complete:w,queue=fast,runs=3;\
         w:mode=kthread,body=wait/cancel:t_0/flush:t_0/modify:t_0:2000/destroy:plain/print,cpu=0;\
         x:mode=work,queue=soft",
    ),
    (
        "{ queues: [{ name: q, flags: [ordered, cpu-intensive, power-efficient, freezable] }], \
         plan: [{ name: a, mode: deferrable, delay: 0ms, queue: q }, \
         { name: b, mode: async, body: none }, { name: c, mode: hrtimer, delay: 1s }] }",
        "queues=q:ordered,cpu_intensive,power_efficient,freezable \
         plan=a:mode=deferrable,queue=q;b:mode=async;c:mode=hrtimer,delay_ns=1000000000",
    ),
];

#[test]
fn module_parameters_say_all_that_differs_from_the_defaults() {
    for (workload, expected) in PARAMETERS {
        let pairs = with_workload(workload).module_parameters();
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(pairs.join(" "), expected, "{workload}");
    }
    let endless = "
summary: x
workload: { plan: [{ name: a, mode: probe, defer: forever, body: hang }, { name: b, mode: probe, suppliers: [c] }, { name: c, mode: probe, suppliers: [b] }] }
until: { hold: 5ms }
expect: [{ attempts: { items: [b, c], equals: 0 } }]
";
    assert_eq!(
        good(endless).phases[0].workload.module_parameters(),
        [(
            "plan",
            "a:mode=probe,body=hang,defer=forever;b:mode=probe,supplier=c;c:mode=probe,supplier=b"
                .to_owned()
        )]
    );
}

#[test]
fn plans_survive_plan_json() {
    for (workload, _) in PARAMETERS {
        let workload = with_workload(workload);
        let json = serde_json::to_string(&workload).expect("a workload as JSON");
        let back: Workload = serde_json::from_str(&json).expect("a workload from JSON");
        assert_eq!(back, workload);
    }
    for seed in 0..100 {
        let workload = Workload::random(seed);
        let json = serde_json::to_string(&workload).expect("a workload as JSON");
        let back: Workload = serde_json::from_str(&json).expect("a workload from JSON");
        assert_eq!(back, workload, "seed {seed}");
    }
}

#[test]
fn plan_json_is_what_it_was() {
    let workload = with_workload(
        "{ queues: [{ name: q, flags: [mem-reclaim] }], plan: [{ name: a, mode: work, queue: q, \
         body: [{ lock: m }, { fail: EIO }] }, { name: b, mode: probe, defer: 1, \
         body: { modify: { item: c, delay: 1us } } }, { name: c, mode: delayed, delay: 1us }] }",
    );
    let json = serde_json::to_string(&workload).expect("a workload as JSON");
    assert_eq!(
        json,
        r#"{"queues":[{"name":"q","flags":["mem-reclaim"],"max-active":0,"affinity-scope":null}],"shape":{"plan":["#
            .to_owned()
            + r#"{"name":"a","after":[],"suppliers":[],"level":null,"work":{"mode":"work","delay":0,"#
            + r#""body":[{"lock":"m"},{"fail":"EIO"}],"queue":{"own":"q"},"cpu":null,"runs":1,"#
            + r#""defer":{"times":0},"async-probe":false}},"#
            + r#"{"name":"b","after":[],"suppliers":[],"level":null,"work":{"mode":"probe","delay":0,"#
            + r#""body":[{"modify":{"item":"c","delay":1000}}],"queue":"system-percpu","cpu":null,"runs":1,"#
            + r#""defer":{"times":1},"async-probe":false}},"#
            + r#"{"name":"c","after":[],"suppliers":[],"level":null,"work":{"mode":"delayed","delay":1000,"#
            + r#""body":[],"queue":"system-percpu","cpu":null,"runs":1,"defer":{"times":0},"async-probe":false}}"#
            + r#"]},"start":"load"}"#
    );
    let unknown = json.replace("\"start\"", "\"sart\"");
    assert!(serde_json::from_str::<Workload>(&unknown).is_err());
    let unknown = json.replace("EIO", "EWHAT");
    assert!(serde_json::from_str::<Workload>(&unknown).is_err());
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
        (
            "{ mode: work, items: 4, runs: 3, body: [{ sleep: 2ms }, { spin: 3ms }] }",
            15,
        ),
        // A run that fails may be the last.
        (
            "{ mode: work, items: 1, runs: 3, body: [{ sleep: 2ms }, { fail: EIO }] }",
            2,
        ),
        (
            "{ mode: kthread, arrangement: chain, items: 5, body: { sleep: 2ms } }",
            10,
        ),
        (
            "{ plan: [{ name: a, mode: delayed, delay: 5ms, body: { sleep: 1ms } }, \
             { name: b, mode: kthread, body: { sleep: 9ms } }, { name: c, mode: work, after: [a, b], runs: 2, body: { spin: 4ms } }, \
             { name: d, mode: async, after: [a], body: { sleep: 10ms } }] }",
            17,
        ),
        // Direct items run one after the other, whatever they come after.
        (
            "{ plan: [{ name: a, mode: direct, body: { sleep: 5ms } }, { name: b, mode: direct, body: { sleep: 6ms } }] }",
            11,
        ),
        // What may be cut short counts for nothing.
        (
            "{ plan: [{ name: a, mode: delayed, delay: 50ms }, { name: b, mode: kthread, body: [{ sleep: 1ms }, { cancel: a }] }] }",
            1,
        ),
        (
            "{ plan: [{ name: a, mode: delayed, delay: 50ms, body: { sleep: 2ms } }, \
             { name: b, mode: kthread, body: { modify: { item: a, delay: 3ms } } }] }",
            5,
        ),
        (
            "{ plan: [{ name: a, mode: delayed, delay: 50ms }, { name: b, mode: kthread, body: { modify: { item: a, delay: 3s } } }] }",
            50,
        ),
        (
            "{ queues: [{ name: q }], plan: [{ name: a, mode: delayed, delay: 50ms, queue: q }, \
             { name: b, mode: direct, body: { destroy: q } }] }",
            0,
        ),
    ] {
        assert_eq!(
            with_workload(workload).shortest_run(),
            Nanos(millis * 1_000_000),
            "{workload}"
        );
    }
}

/// Every form an expectation may take, and the line it prints as.
const EXPECTATIONS: [(&str, &str); 38] = [
    (
        "count: { phase: a, of: armed, equals: 8 }",
        "a: count of armed: equals 8",
    ),
    (
        "count: { phase: a, of: cancelled, at-least: 1 }",
        "a: count of cancelled: at least 1",
    ),
    (
        "count: { phase: a, of: queued, equals: 0 }",
        "a: count of queued: equals 0",
    ),
    (
        "count: { phase: p, of: queued, equals: 1 }",
        "p: count of queued: equals 1",
    ),
    (
        "count: { phase: p, of: retried, items: [dev, tick], equals: 2 }",
        "p: count of retried for items [1, 2]: equals 2",
    ),
    (
        "interval: { phase: p, from: queued, to: ended, items: [job], max: 1ms }",
        "p: interval from queued to ended for items [3]: each at most 1ms",
    ),
    (
        "lateness: { phase: p, of: started, items: [job, tick], max: 8ms }",
        "p: lateness of started for items [3, 2]: each at most 8ms",
    ),
    (
        "lateness: { phase: p, of: queued, items: [job], max: 8ms }",
        "p: lateness of queued for items [3]: each at most 8ms",
    ),
    (
        "duration: { phase: a, of: item, items: [7, 0], min: 1ms }",
        "a: duration of item for items [7, 0]: each at least 1ms",
    ),
    (
        "concurrency: { phase: p, items: [job, dev], at-most: 1 }",
        "p: concurrency for items [3, 1]: at most 1",
    ),
    (
        "order: { phase: p, by: ended, ids: [job, bus, dev] }",
        "p: order by ended: [3, 0, 1]",
    ),
    (
        "error: { phase: p, items: [bus], equals: EIO }",
        "p: error for items [0]: equals EIO",
    ),
    ("error: { phase: p, equals: none }", "p: error: equals none"),
    (
        "attempts: { phase: p, items: [dev], equals: 3 }",
        "p: attempts for items [1]: equals 3",
    ),
    (
        "attempts: { phase: a, at-least: 1, at-most: 2 }",
        "a: attempts: at least 1, at most 2",
    ),
    (
        "log: { contains: 'hogged CPU \"x\"', at-least: 1 }",
        "log contains \"hogged CPU \\\"x\\\"\": at least 1",
    ),
    (
        "log: { contains: x, equals: 0 }",
        "log contains \"x\": equals 0",
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
  - name: p
    workload:
      plan:
        - {{ name: bus, mode: probe }}
        - {{ name: dev, mode: probe, suppliers: [bus], defer: 2 }}
        - {{ name: tick, mode: hrtimer, delay: 1ms, runs: 3 }}
        - {{ name: job, mode: delayed, delay: 1ms }}
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

/// The example of a plan in `docs/scenarios.md`.
#[test]
fn documented_plan_is_good() {
    let scenario = good(
        "
summary: x
workload:
  queues: [{ name: slow, flags: [unbound], max-active: 1 }]
  plan:
    - { name: bus, mode: probe, body: { sleep: 5ms } }
    - { name: dev, mode: probe, suppliers: [bus], body: { fail: ENODEV } }
    - { name: poll, mode: delayed, delay: 20ms, queue: slow, runs: 3 }
    - { name: report, mode: kthread, after: [dev, poll], body: [{ spin: 1ms }, print] }
expect:
  - count: { of: retried, items: [dev], equals: 2 }
  - error: { items: [dev], equals: ENODEV }
  - error: { items: [bus, poll], equals: none }
  - attempts: { items: [poll], equals: 3 }
  - log: { contains: \"hogged CPU\", at-least: 1 }
",
    );
    assert_eq!(scenario.phases[0].workload.items(), 4);
    assert_eq!(scenario.expect.len(), 5);
}

#[test]
fn a_workload_in_the_kernels_image_has_levels() {
    let scenario = good(
        "
summary: x
load: built-in
workload: { plan: [{ name: a, mode: direct, level: core }, { name: b, mode: work, after: [a] }] }
expect: [{ level: { items: [b], equals: device } }, { window: { from: boot, to: first-process, min: 1ms } }]
",
    );
    assert!(scenario.is_built_in());
    assert_eq!(
        scenario.phases[0].workload.module_parameters(),
        [(
            "plan",
            "a:mode=direct,level=core;b:mode=work,after=a".to_owned()
        )]
    );
    let texts: Vec<String> = scenario.expect.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "main: level for items [1]: equals device",
            "main: window from boot to first-process: at least 1ms"
        ]
    );
}

#[test]
fn a_scenario_can_go_through_its_phases_twice() {
    let twice = good(SMALLEST).twice();
    let names: Vec<&str> = twice
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(names, ["main", "main-again"]);
    assert_eq!(twice.phases[0].workload, twice.phases[1].workload);
    let texts: Vec<String> = twice.expect.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "main: concurrency: equals 1",
            "main-again: concurrency: equals 1"
        ]
    );
    assert_eq!(twice.deadline, Nanos(120_000_000_000));

    let rounds = good(
        "
summary: x
deadline: 3000s
rounds: { count: 1000, seed: 7 }
expect: [{ growth: { max: 16KiB } }]
",
    )
    .twice();
    assert_eq!(rounds.phases.len(), 1);
    assert_eq!(
        rounds.phases[0].rounds,
        Some(Rounds {
            count: 100,
            seed: 7
        })
    );
    assert_eq!(rounds.expect.len(), 1);
}

#[test]
fn rounds_have_workloads_made_up_from_consecutive_seeds() {
    let scenario = good(
        "
summary: x
phases:
- { name: soak, rounds: { count: 3, seed: 7 } }
- { name: after, workload: { mode: direct, items: 2 } }
expect: [{ growth: { phase: soak, max: 16KiB } }, { concurrency: { phase: after, equals: 1 } }]
",
    );
    let rounds = scenario.phases[0].rounds.expect("rounds");
    assert_eq!(rounds, Rounds { count: 3, seed: 7 });
    let workloads: Vec<Workload> = rounds.workloads().collect();
    assert_eq!(workloads, [7, 8, 9].map(Workload::random));
    assert_eq!(scenario.phases[0].workload, workloads[0]);
    assert_eq!(
        scenario.expect[0].to_string(),
        "soak: growth: at most 16KiB"
    );
}

#[test]
fn a_file_with_another_schedule_is_the_same_but_for_that() {
    let plain = "
summary: x
phases:
  - { name: one, workload: { plan: [{ name: a, mode: direct }, { name: b, mode: work }, { name: c, mode: work }] } }
  - { name: two, workload: { mode: direct, items: 2 } }
expect: [{ order: { phase: one, by: ended, ids: [a, b] } }]
";
    let vary = "vary:
  cpus: 3
  shift: 5
  debug-force-rr-cpu: true
  wait: 1.7ms
  order:
    - { phase: one, item: c, before: a }
    - { phase: one, item: a, before: c }
    - { phase: one, item: b, before: c }
  delays:
    - { phase: two, function: deferred_item_body, call: 2, delay: 1.3ms }
    - { phase: two, function: __queue_work.part.0, delay: 10us }
  times: ignored
";
    let mut expected = good(plain);
    expected.machine.cpus = 3;
    expected.machine.shift = Some(5);
    expected.machine.command_line = vec!["workqueue.debug_force_rr_cpu=1".to_owned()];
    expected.times = Times::Ignored;
    for phase in &mut expected.phases {
        phase.wait = Nanos(1_700_000);
    }
    let Shape::Plan(items) = &mut expected.phases[0].workload.shape else {
        panic!("it is a plan");
    };
    // From a, b, c: c before a, a before c again, and b before c.
    items.swap(1, 2);
    items.swap(1, 2);
    let delay = |function: &str, call, delay| CallDelay {
        function: function.to_owned(),
        call,
        delay: Nanos(delay),
    };
    expected.phases[1].workload.delays = vec![
        delay("deferred_item_body", Some(2), 1_300_000),
        delay("__queue_work.part.0", None, 10_000),
    ];
    let varied = good(&format!("{plain}{vary}"));
    assert_eq!(varied, expected);
    let parameters = varied.phases[1].workload.module_parameters();
    let delays = "deferred_item_body:2:1300000;__queue_work.part.0:0:10000".to_owned();
    assert!(parameters.contains(&("delays", delays)), "{parameters:?}");
    // And what plan.json keeps of it.
    let json = serde_json::to_string(&varied).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Scenario>(&json).expect("a scenario"),
        varied
    );
}

#[test]
fn a_plan_of_before_there_were_schedules_is_still_read() {
    let scenario = good(SMALLEST);
    let json = serde_json::to_string(&scenario).expect("JSON");
    for key in ["shift", "wait", "delays", "fault"] {
        assert!(!json.contains(&format!("\"{key}\":")), "{key} is in {json}");
    }
    assert!(!json.contains("judged"), "{json}");
    assert_eq!(
        serde_json::from_str::<Scenario>(&json).expect("a scenario"),
        scenario
    );
}
