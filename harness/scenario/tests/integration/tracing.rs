// SPDX-License-Identifier: GPL-2.0-only

//! What is traced, commands, and what is expected of a trace: good files, and bad ones with the exact message.

use deferinit_scenario::*;

fn good(text: &str) -> Scenario {
    parse("a/b", text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Asserts that a file is refused with `expected`, which begins with line and column.
#[track_caller]
fn check(file: &str, expected: &str) {
    let answer = parse("x", file.as_bytes())
        .map(|_| ())
        .map_err(|error| error.to_string());
    assert_eq!(answer, Err(format!("x:{expected}")), "{file}");
}

/// A file that runs a command; `trace` stands in line 2, `expect` in line 4.
fn with(trace: &str, expect: &str) -> String {
    format!("summary: x\ntrace: {{ {trace} }}\ncommand: echo\nexpect: [{expect}]\n")
}

const EXIT: &str = "exit: { equals: 0 }";

#[test]
fn every_key_of_a_trace_is_read() {
    let scenario = good(
        r#"
summary: x
trace:
  since: phase
  tracer: function_graph
  functions: ["vfs_*"]
  not-functions: ["*lock*"]
  graph-functions: [do_sys_openat2]
  not-graph-functions: ["rcu_*"]
  graph-depth: 3
  threshold: 1.5ms
  pids: [command, 12, ksoftirqd/0]
  not-pids: [0]
  event-pids: [command]
  not-event-pids: [kworker/0:1]
  events:
    - sched
    - event: "sched:sched_switch"
      filter: prev_prio < 100
      triggers: ["stacktrace:5 if prev_pid == 0", "hist:keys=next_pid"]
  function-triggers: ["vfs_read:traceoff:1"]
  probes: ["p:enqueue enqueue_task_fair", "r:mine/back vfs_read $retval"]
  synthetic: ["latency u64 lat; pid_t pid"]
  options: [stacktrace, nosym-offset]
  clock: mono_raw
  buffer: 32MiB
  sub-buffer: 16KiB
  function-profile: true
  stack-trace: true
machine:
  boot-config: ["ftrace.event.sched.sched_switch.enable", "kernel.foo = a, b"]
  devices: ["virtio-rng-device,bus=virtio-mmio-bus.0"]
  add: [/usr/bin/chrt, "/etc/hostname:/etc/name"]
command: |
  echo hello
  exit 3
expect:
  - exit: { equals: 3 }
show: [report, { replay: { function: vfs_read } }, replay, { events: { event: "sched:sched_switch", where: prev_pid == 0 } }, command-output]
"#,
    );
    let strings = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let definition = |event: &str, text: &str| Definition {
        event: event.to_owned(),
        text: text.to_owned(),
    };
    let expected = Trace {
        since: Since::Phase,
        tracer: Tracer::FunctionGraph,
        functions: strings(&["vfs_*"]),
        not_functions: strings(&["*lock*"]),
        graph_functions: strings(&["do_sys_openat2"]),
        not_graph_functions: strings(&["rcu_*"]),
        graph_depth: Some(3),
        threshold: Some(Nanos(1_500_000)),
        pids: vec![
            TaskChoice::Command,
            TaskChoice::Pid(12),
            TaskChoice::Named("ksoftirqd/0".to_owned()),
        ],
        not_pids: vec![TaskChoice::Pid(0)],
        event_pids: vec![TaskChoice::Command],
        not_event_pids: vec![TaskChoice::Named("kworker/0:1".to_owned())],
        events: vec![
            EventChoice {
                event: "sched".to_owned(),
                filter: None,
                triggers: Vec::new(),
            },
            EventChoice {
                event: "sched:sched_switch".to_owned(),
                filter: Some("prev_prio < 100".to_owned()),
                triggers: strings(&["stacktrace:5 if prev_pid == 0", "hist:keys=next_pid"]),
            },
        ],
        function_triggers: strings(&["vfs_read:traceoff:1"]),
        probes: vec![
            definition("kprobes:enqueue", "p:enqueue enqueue_task_fair"),
            definition("mine:back", "r:mine/back vfs_read $retval"),
        ],
        synthetic: vec![definition(
            "synthetic:latency",
            "latency u64 lat; pid_t pid",
        )],
        options: strings(&["stacktrace", "nosym-offset"]),
        clock: TraceClock::MonoRaw,
        buffer: Bytes(32 << 20),
        sub_buffer: Some(Bytes(16 << 10)),
        function_profile: true,
        stack_trace: true,
    };
    assert_eq!(scenario.trace, expected);
    assert_eq!(
        scenario.machine.boot_config,
        [
            "ftrace.event.sched.sched_switch.enable",
            "kernel.foo = a, b"
        ]
    );
    assert_eq!(
        scenario.machine.devices,
        ["virtio-rng-device,bus=virtio-mmio-bus.0"]
    );
    assert_eq!(
        scenario.machine.add,
        ["/usr/bin/chrt", "/etc/hostname:/etc/name"]
    );
    let phase = &scenario.phases[0];
    assert_eq!(phase.command.as_deref(), Some("echo hello\nexit 3\n"));
    assert_eq!(phase.workload, Workload::none());
    assert_eq!(
        scenario.show,
        [
            Show::Report,
            Show::Replay(Some("vfs_read".to_owned())),
            Show::Replay(None),
            Show::Events(EventSelection {
                event: "sched:sched_switch".to_owned(),
                filter: Some("prev_pid == 0".to_owned()),
            }),
            Show::CommandOutput,
        ]
    );
    let json = serde_json::to_string(&scenario).expect("a scenario as JSON");
    let back: Scenario = serde_json::from_str(&json).expect("a scenario from JSON");
    assert_eq!(back, scenario);
}

#[test]
fn functions_default_to_the_modules_where_nothing_else_says_which() {
    for (trace, functions) in [
        ("tracer: function_graph", &["deferred_*"][..]),
        ("tracer: function", &["deferred_*"]),
        ("tracer: function, not-functions: ['*lock*']", &[]),
        ("graph-functions: [f]", &[]),
        ("tracer: nop", &[]),
        ("tracer: irqsoff", &[]),
        ("tracer: irqsoff, functions: ['*']", &["*"]),
    ] {
        assert_eq!(
            good(&with(trace, EXIT)).trace.functions,
            functions,
            "{trace}"
        );
    }
}

const BAD_TRACES: &[(&str, &str)] = &[
    (
        "tracer: sched_switch",
        "2:18: unknown tracer `sched_switch`; allowed: function_graph, function, wakeup, wakeup_rt, wakeup_dl, irqsoff, preemptoff, preemptirqsoff, nop, blk, mmiotrace",
    ),
    (
        "tracer: nop, functions: [f]",
        "2:34: `functions` has no meaning with tracer nop; allowed: tracers that show functions, or `function-profile: true`",
    ),
    (
        "tracer: function, graph-depth: 1",
        "2:41: `graph-depth` has no meaning with tracer function; allowed: `tracer: function_graph`",
    ),
    (
        "tracer: irqsoff, pids: [1]",
        "2:33: `pids` has no meaning with tracer irqsoff; allowed: `tracer: function_graph` or `tracer: function`; event-pids for events",
    ),
    (
        "tracer: nop, threshold: 1us",
        "2:34: `threshold` has no meaning with tracer nop; allowed: `tracer: function_graph`, or a latency tracer",
    ),
    (
        "threshold: 1500ns",
        "2:21: 1.5us is no whole number of microseconds; allowed: multiples of 1us",
    ),
    (
        "threshold: 5",
        "2:21: `5` has no unit; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        "graph-depth: 0",
        "2:23: 0 is out of range; allowed: a whole number from 1 to 1000",
    ),
    (
        "pids: []",
        "2:16: `pids` has no entries; allowed: 1 to 64 entries",
    ),
    (
        "pids: [5000000]",
        "2:17: 5000000 is out of range; allowed: a whole number from 0 to 4194304",
    ),
    (
        "pids: ['a b']",
        "2:17: `a b` is not a task; allowed: a pid, `command`, or a task's name such as `ksoftirqd/0`, at most 15 bytes",
    ),
    (
        "events: [{ event: sched, filter: pid == 1 }]",
        "2:28: `sched` is not one event; allowed: `system:event` without wildcards, at most 128 bytes",
    ),
    (
        "events: [{ event: 'sched:x', filter: pid }]",
        "2:47: `pid` is compared with nothing; allowed: FIELD == VALUE, with ==, !=, <, <=, >, >=, & or ~",
    ),
    (
        "events: [{ event: 'sched:x', triggers: [stop] }]",
        "2:50: `stop` is no trigger of an event; allowed: traceon, traceoff, snapshot, stacktrace, each with or without `:COUNT`, hist:keys=.., enable_event:SYSTEM:EVENT, disable_event:SYSTEM:EVENT, all with or without ` if FILTER`",
    ),
    (
        "events: [{ evnt: x }]",
        "2:21: unknown key `evnt` (did you mean `event`?); allowed: event, filter, triggers",
    ),
    (
        "events: [{ filter: pid == 1 }]",
        "2:19: key `event` is missing here",
    ),
    (
        "function-triggers: [f]",
        "2:30: `f` is no command on a function; allowed: FUNCTION:COMMAND or FUNCTION:COMMAND:COUNT, with traceon, traceoff, snapshot, stacktrace, enable_event:SYSTEM:EVENT or disable_event:SYSTEM:EVENT as command",
    ),
    (
        "probes: ['p:a f', 'f:kprobes/a g']",
        "2:28: event `kprobes:a` is defined twice; allowed: a name of its own for each event",
    ),
    (
        "synthetic: [lat]",
        "2:22: the event `lat` has no fields; allowed: NAME TYPE FIELD; TYPE FIELD; .., such as `wakeup_latency u64 lat; pid_t pid`",
    ),
    (
        "options: [nooverwrite]",
        "2:20: `nooverwrite` is the harness's own to set; allowed: any option but overwrite",
    ),
    (
        "options: [Stack]",
        "2:20: `Stack` is not a trace option; allowed: a name in `options/`, such as `stacktrace`, with `no` before it to switch it off, at most 64 bytes",
    ),
    (
        "clock: utc",
        "2:17: unknown clock `utc`; allowed: local, global, counter, uptime, perf, mono, mono_raw, boot, tai, x86-tsc",
    ),
    (
        "sub-buffer: 12KiB",
        "2:22: 12KiB is no power of two; allowed: 4KiB, 8KiB, 16KiB up to 512KiB",
    ),
    (
        "function-profile: 1",
        "2:28: unknown value `1`; allowed: true, false",
    ),
    (
        "tracing: x",
        "2:10: unknown key `tracing`; allowed: since, tracer, functions, not-functions, graph-functions, not-graph-functions, graph-depth, threshold, pids, not-pids, event-pids, not-event-pids, events, function-triggers, probes, synthetic, options, clock, buffer, sub-buffer, function-profile, stack-trace",
    ),
];

#[test]
fn traces_that_no_kernel_could_record_are_refused() {
    for (trace, expected) in BAD_TRACES {
        check(&with(trace, EXIT), expected);
    }
}

#[test]
fn what_a_trace_asks_of_the_phases_has_to_be_there() {
    let module = |trace: &str| {
        format!(
            "summary: x\ntrace: {{ {trace} }}\nworkload: {{ mode: direct, items: 1 }}\nexpect: [count: {{ of: ended, equals: 1 }}]\n"
        )
    };
    check(
        &module("event-pids: [command]"),
        "2:23: no phase runs a command; allowed: a pid, or a task's name",
    );
    check(
        &module("not-event-pids: [7]"),
        "2:26: a workload's own events are recorded of all tasks; allowed: phases with `command`; pids for functions",
    );
    check(
        &module("tracer: wakeup"),
        "2:18: tracer wakeup records nothing but its longest latency, so a workload would leave no records; allowed: phases with `command`",
    );
    check(
        &module("clock: global"),
        "2:17: the times of a workload are those of the clock local; allowed: local, or phases with `command`",
    );
    let built_in = |trace: &str| module(trace).replace("workload:", "load: built-in\nworkload:");
    check(
        &built_in("tracer: nop"),
        "2:18: `tracer` has no meaning with `load: built-in`; allowed: events, buffer",
    );
    check(
        &built_in("events: [{ event: 'a:b', filter: c == 1 }]"),
        "2:19: filters and triggers come too late for the boot; allowed: `system` or `system:event`",
    );
}

#[test]
fn records_that_a_snapshot_takes_away_are_not_asked_for() {
    let by_event = "events: [{ event: 'a:b', triggers: ['snapshot:1'] }]";
    let count = "count: { of: { event: 'a:b' }, equals: 1 }";
    assert!(good(&with(by_event, EXIT)).trace.takes_snapshots());
    assert!(
        !good(&with("events: ['a:snapshot']", EXIT))
            .trace
            .takes_snapshots()
    );
    check(
        &with(by_event, count),
        "4:32: a snapshot takes away the records up to it; allowed: `output` of a command that reads the file `snapshot`",
    );
    check(
        &with(
            "function-triggers: ['vfs_read:snapshot']",
            "duration: { of: { function: vfs_read }, max: 1ms }",
        ),
        "4:26: a snapshot takes away the records up to it; allowed: `output` of a command that reads the file `snapshot`",
    );
    check(
        "summary: x\ntrace: { function-triggers: ['vfs_read:snapshot'] }\nworkload: { mode: direct, items: 1 }\nexpect: [count: { of: ended, equals: 1 }]\n",
        "2:29: a snapshot takes away the records up to it, and with them a workload's; allowed: phases with `command`",
    );
}

#[test]
fn what_begins_with_the_boot_is_armed_by_the_kernel_itself() {
    let scenario = good(&with(
        "since: boot, tracer: function_graph, events: [initcall]",
        "count: { of: { event: 'kprobes:mine' }, equals: 1 }",
    ));
    assert_eq!(scenario.trace.since, Since::Boot);
    // Those of the boot configuration, and not the module's.
    assert_eq!(scenario.trace.functions, [] as [&str; 0]);
    for (keys, expected) in [
        (
            "since: boot, functions: [a]",
            "2:34: `functions` comes too late for the boot; allowed: tracer, events, buffer; the rest by `machine.boot-config`, below `ftrace.`",
        ),
        (
            "since: boot, tracer: wakeup",
            "2:31: tracer wakeup cannot be armed while the kernel boots; allowed: function_graph, function, nop",
        ),
        (
            "since: boot, events: [{ event: 'a:b', filter: c == 1 }]",
            "2:32: filters and triggers come too late for the boot; allowed: `system` or `system:event`; with filters, by `machine.boot-config`, below `ftrace.event.`",
        ),
        (
            "since: never",
            "2:17: unknown since `never`; allowed: phase, boot",
        ),
    ] {
        check(&with(keys, EXIT), expected);
    }
    check(
        "summary: x\ntrace: { since: boot }\nworkload: { mode: direct, items: 1 }\nexpect: [count: { of: ended, equals: 1 }]\n",
        "2:17: the boot would belong to no phase; allowed: `command` at the top level; `load: built-in` for a workload that is armed while the kernel boots",
    );
}

#[test]
fn what_is_added_to_a_guest_is_a_path_and_for_commands() {
    let machine = |keys: &str, what: &str| {
        format!("summary: x\nmachine: {{ {keys} }}\n{what}\nexpect: [{EXIT}]\n")
    };
    check(
        &machine("add: [chrt]", "command: echo"),
        "2:18: `chrt` is not a file for the guest; allowed: `/HOSTFILE` or `/HOSTFILE:/GUESTPATH` of printable ASCII, at most 1024 bytes",
    );
    check(
        &machine("add: [/a]", "workload: { mode: direct, items: 1 }"),
        "2:17: no phase runs a command that could use what is added; allowed: phases with `command`",
    );
    check(
        &machine("devices: ['-drive']", "command: echo"),
        "2:22: `-drive` is not a device of QEMU; allowed: its name with its properties, such as `virtio-rng-device,bus=virtio-mmio-bus.0`, at most 256 bytes",
    );
}

#[test]
fn events_of_a_tracer_are_known_without_being_named() {
    let count = "count: { of: { event: 'ftrace:blktrace' }, equals: 1 }";
    good(&with("tracer: blk", count));
    check(
        &with("tracer: mmiotrace", count),
        "4:32: event `ftrace:blktrace` is not recorded; allowed: the events of `trace`: ftrace:mmiotrace_rw, ftrace:mmiotrace_map",
    );
}

#[test]
fn commands_stand_alone() {
    let file = |keys: &str| format!("summary: x\n{keys}\nexpect: [exit: {{ equals: 0 }}]\n");
    let direct = "workload: { mode: direct, items: 1 }";
    for (keys, expected) in [
        (
            "command: ''".to_owned(),
            "2:10: a command is empty; allowed: a script for the guest's shell without control characters, at most 16384 bytes",
        ),
        (
            format!("{direct}\ncommand: echo"),
            "3:10: both `workload` and `command` are given; allowed: `workload` for one load, `rounds` for many with workloads of their own, or `command` for a script",
        ),
        (
            "command: echo\nuntil: done".to_owned(),
            "3:8: a command always runs until it ends; allowed: `until` beside `workload`",
        ),
        (
            "load: built-in\ncommand: echo".to_owned(),
            "3:10: a workload in the kernel's image runs before any command could; allowed: `load: module` at the top level",
        ),
        (
            "command: echo\nphases: []".to_owned(),
            "3:9: both `command` and `phases` are given; allowed: `command` for one phase, or `phases` for several",
        ),
        (
            format!("machine: {{ boot-config: ['a b = c'] }}\n{direct}"),
            "2:26: `a b = c` is not a line of a boot configuration; allowed: `key` or `key = value` of printable ASCII, the key of letters, digits, `_`, `-` and `.`, at most 1024 bytes",
        ),
        (
            direct.to_owned(),
            "3:16: phase `main` runs no command; allowed: phases with `command`",
        ),
    ] {
        check(&file(&keys), expected);
    }
}

/// A trace that records enough for each expectation.
const RICH: &str = "events: ['sched:*', 'irq:irq_handler_entry', { event: 'kmem:kmalloc', triggers: ['hist:keys=call_site'] }], \
    options: [stacktrace], function-profile: true, stack-trace: true";

#[test]
fn expectations_on_a_trace_are_read() {
    for (trace, text, expected) in [
        (
            RICH,
            "count: { of: { event: 'irq:irq_handler_entry', where: irq == 4 }, at-least: 1 }",
            "main: count of irq:irq_handler_entry where irq == 4: at least 1",
        ),
        (
            RICH,
            "count: { of: { event: 'ftrace:print' }, equals: 1 }",
            "main: count of ftrace:print: equals 1",
        ),
        (
            RICH,
            "interval: { from: { event: 'sched:sched_waking', key: pid }, to: { event: 'sched:sched_switch', key: next_pid }, max: 1ms, percentiles: [{ p: 50, max: 1us }] }",
            "main: interval from sched:sched_waking by pid to sched:sched_switch by next_pid: each at most 1ms; p50 at most 1us",
        ),
        (
            RICH,
            "before: { first: { function: f, key: common_pid }, then: { event: 'sched:sched_switch', key: prev_pid } }",
            "main: before: f by common_pid, then sched:sched_switch by prev_pid",
        ),
        (
            RICH,
            "call: { function: a, below: b, at-least: 1 }",
            "main: call of a below b: at least 1",
        ),
        (
            RICH,
            "call: { event: 'irq:irq_handler_entry', below: b, equals: 0 }",
            "main: call of irq:irq_handler_entry below b: equals 0",
        ),
        (
            RICH,
            "stack: { event: 'sched:sched_switch', frames: [schedule, kthread], at-least: 1 }",
            "main: stack of sched:sched_switch with schedule, kthread: at least 1",
        ),
        (
            "tracer: irqsoff",
            "latency: { min: 1us, max: 1s, started-at: a, ended-at: b, task: sh, shows: [c, d] }",
            "latency: at least 1us, at most 1s, started at a, ended at b, of task sh, shows c, d",
        ),
        (
            RICH,
            "profile: { function: f, hits: { at-least: 2 }, time: { max: 1ms }, average: { min: 1ns } }",
            "profile of f: hits at least 2, time at most 1ms, average at least 1ns",
        ),
        (
            RICH,
            "stack-size: { min: 100B, max: 8KiB, frames: [f] }",
            "stack-size: at least 100B, at most 8KiB, with f",
        ),
        (
            RICH,
            "histogram: { event: 'kmem:kmalloc', entry: ['call_site = f'], value: bytes_req, at-least: 8 }",
            "histogram of kmem:kmalloc: { call_site = f } bytes_req at least 8",
        ),
        (
            RICH,
            "histogram: { event: 'kmem:kmalloc', at-least: 8 }",
            "histogram of kmem:kmalloc: hitcount at least 8",
        ),
        (RICH, "exit: { equals: 255 }", "main: exit: equals 255"),
        (
            RICH,
            "output: { contains: 'a b', at-least: 1 }",
            "main: output contains \"a b\": at least 1",
        ),
    ] {
        let scenario = good(&with(trace, text));
        assert_eq!(scenario.expect[0].to_string(), expected);
        let json = serde_json::to_string(&scenario).expect("a scenario as JSON");
        let back: Scenario = serde_json::from_str(&json).expect("a scenario from JSON");
        assert_eq!(back, scenario);
    }
}

const BAD_EXPECTATIONS: &[(&str, &str, &str)] = &[
    (
        RICH,
        "count: { of: ended, equals: 1 }",
        "4:23: phase `main` runs a command, and has no items; allowed: expectations on events and functions, exit, output, log",
    ),
    (
        RICH,
        "window: { from: load, to: unload, max: 1s }",
        "4:18: phase `main` runs a command, and has no items; allowed: expectations on events and functions, exit, output, log",
    ),
    (
        RICH,
        "count: { of: { event: 'irq:softirq_entry' }, equals: 1 }",
        "4:32: event `irq:softirq_entry` is not recorded; allowed: the events of `trace`: sched:*, irq:irq_handler_entry, kmem:kmalloc",
    ),
    (
        "tracer: nop",
        "count: { of: { event: 'a:b' }, equals: 1 }",
        "4:32: event `a:b` is not recorded; allowed: the events of `trace.events`, of which there are none",
    ),
    (
        RICH,
        "count: { of: { event: sched }, equals: 1 }",
        "4:32: `sched` is not one event; allowed: `system:event` without wildcards, at most 128 bytes",
    ),
    (
        RICH,
        "count: { of: { event: 'sched:x', where: a = }, equals: 1 }",
        "4:50: `a` is compared with nothing; allowed: FIELD == VALUE, with ==, !=, <, <=, >, >=, & or ~",
    ),
    (
        RICH,
        "count: { of: { function: f, where: a == 1 }, equals: 1 }",
        "4:45: a function has no fields to choose by; allowed: `where` beside `event`",
    ),
    (
        RICH,
        "count: { of: { function: f, event: 'sched:x' }, equals: 1 }",
        "4:45: both `function` and `event` are given; allowed: one of them",
    ),
    (
        RICH,
        "count: { of: { evnt: x }, equals: 1 }",
        "4:25: unknown key `evnt` (did you mean `event`?); allowed: event, where, function, key",
    ),
    (
        RICH,
        "count: { of: {}, equals: 1 }",
        "4:23: neither `event` nor `function` is given; allowed: { event: sched:sched_switch }, { function: schedule }",
    ),
    (
        RICH,
        "count: { of: { function: f, key: x }, equals: 1 }",
        "4:43: a count pairs nothing, so it has no key; allowed: event, where, function",
    ),
    (
        "tracer: nop",
        "count: { of: { function: f }, equals: 1 }",
        "4:35: tracer nop records no functions; allowed: tracers function_graph and function",
    ),
    (
        "tracer: function",
        "duration: { of: { function: f }, max: 1s }",
        "4:26: tracer function records no returns of functions; allowed: `tracer: function_graph`",
    ),
    (
        RICH,
        "interval: { from: { event: 'sched:x' }, to: armed, max: 1s }",
        "4:54: an interval goes from one item event to another, or from one event of the trace to another; allowed: the same kind as `from`",
    ),
    (
        RICH,
        "interval: { from: { event: 'sched:x', key: pid }, to: { event: 'sched:y' }, max: 1s }",
        "4:64: the other side has a `key`, so one is missing here; allowed: the field with the same value, such as next_pid",
    ),
    (
        RICH,
        "interval: { from: { event: 'sched:x' }, to: { event: 'sched:y' } }",
        "4:20: this expectation has no bound, so every run would meet it; allowed: min, max, percentiles",
    ),
    (
        "clock: counter, events: [sched]",
        "interval: { from: { event: 'sched:x' }, to: { event: 'sched:y' }, max: 1s }",
        "4:20: clock counter counts no nanoseconds; allowed: local, global, perf, mono, mono_raw, boot, tai",
    ),
    (
        RICH,
        "before: { first: { function: f, key: pid }, then: { event: 'sched:x', key: pid } }",
        "4:47: a function has no field `pid`; allowed: common_pid",
    ),
    (
        "tracer: nop, events: [sched]",
        "call: { event: 'sched:x', below: f, equals: 1 }",
        "4:16: tracer nop records no returns of functions; allowed: `tracer: function_graph`",
    ),
    (
        "events: [sched]",
        "stack: { event: 'sched:x', frames: [f], equals: 1 }",
        "4:17: nothing has a stack trace; allowed: `options: [stacktrace]` under trace, or a trigger stacktrace",
    ),
    (
        RICH,
        "latency: { max: 1ms }",
        "4:19: tracer function_graph keeps no latency; allowed: tracers wakeup, wakeup_rt, wakeup_dl, irqsoff, preemptoff, preemptirqsoff",
    ),
    (
        "tracer: wakeup",
        "latency: { started-at: f }",
        "4:33: tracer wakeup notes no function where a latency began or ended; allowed: tracers irqsoff, preemptoff, preemptirqsoff",
    ),
    (
        "tracer: irqsoff, events: [sched]",
        "count: { of: { event: 'sched:x' }, equals: 1 }",
        "4:32: tracer irqsoff keeps the records of its longest latency only; allowed: `latency: { shows: [..] }`",
    ),
    (
        "tracer: wakeup",
        "latency: {}",
        "4:19: this expectation has no bound, so every run would meet it; allowed: min, max, started-at, ended-at, task, shows",
    ),
    (
        "tracer: nop",
        "profile: { function: f, hits: { at-least: 1 } }",
        "4:19: no function is profiled; allowed: `function-profile: true` under trace",
    ),
    (
        RICH,
        "profile: { function: f }",
        "4:19: this expectation has no bound, so every run would meet it; allowed: hits, time, average",
    ),
    (
        "tracer: nop",
        "stack-size: { max: 1KiB }",
        "4:22: nobody looks for the deepest stack; allowed: `stack-trace: true` under trace",
    ),
    (
        RICH,
        "histogram: { event: 'sched:x', at-least: 1 }",
        "4:30: no trigger keeps a histogram of `sched:x`; allowed: events under trace with `triggers: [\"hist:keys=..\"]`",
    ),
    (
        RICH,
        "histogram: { event: 'kmem:kmalloc', entry: [x], at-least: 1 }",
        "4:54: `x` is no key of an entry; allowed: `field = value`, as the histogram shows it",
    ),
    (
        RICH,
        "exit: { equals: 256 }",
        "4:26: 256 is out of range; allowed: a whole number from 0 to 255",
    ),
];

#[test]
fn expectations_that_no_trace_could_meet_or_miss_are_refused() {
    for (trace, expect, expected) in BAD_EXPECTATIONS {
        check(&with(trace, expect), expected);
    }
}

#[test]
fn what_is_not_there_is_not_shown() {
    let file = |trace: &str, show: &str| {
        let file = with(trace, EXIT);
        format!("{file}show: [{show}]\n")
    };
    for (trace, show, expected) in [
        (
            "tracer: nop",
            "report",
            "5:8: there is no time of a call to show; allowed: `tracer: function_graph`",
        ),
        (
            "tracer: nop",
            "replay",
            "5:8: there is no call to show; allowed: a tracer of functions",
        ),
        (
            "tracer: nop",
            "latency",
            "5:8: there is no latency to show; allowed: a latency tracer",
        ),
        (
            "tracer: nop",
            "events",
            "5:8: `events` needs an event; allowed: events: { event: sched:sched_switch }",
        ),
        (
            "tracer: nop",
            "{ events: { event: 'a:b' } }",
            "5:27: event `a:b` is not recorded; allowed: the events of `trace.events`, of which there are none",
        ),
        (
            RICH,
            "{ report: { function: f } }",
            "5:18: `report` takes no value; allowed: - report",
        ),
        (
            RICH,
            "{ replay: { event: 'sched:x' } }",
            "5:27: calls are shown of a function; allowed: { function: NAME }",
        ),
        (
            RICH,
            "everything",
            "5:8: unknown view `everything`; allowed: replay, report, events, stack, latency, profile, stack-size, histogram, command-output",
        ),
    ] {
        check(&file(trace, show), expected);
    }
}
