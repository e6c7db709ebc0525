// SPDX-License-Identifier: GPL-2.0-only

//! Bad files and the exact message for each.

use deferinit_scenario::{MAX_BYTES, parse};

/// Asserts that a file is refused with `expected`, which begins with line and column.
fn check(file: &[u8], expected: &str) {
    let answer = parse("x", file)
        .map(|_| ())
        .map_err(|error| error.to_string());
    let start = &file[..file.len().min(1_000)];
    assert_eq!(
        answer,
        Err(format!("x:{expected}")),
        "{}",
        String::from_utf8_lossy(start)
    );
}

/// A good file, by its lines.
const GOOD: [&str; 7] = [
    "summary: It works.",
    "workload:",
    "  mode: delayed",
    "  items: 8",
    "  delay: 50ms",
    "expect:",
    "  - count: { of: ended, equals: 8 }",
];

/// [`GOOD`] with one line, counted from 1, replaced by others.
fn good_but(line: usize, others: &str) -> String {
    let mut lines = GOOD;
    lines[line - 1] = others;
    lines.join("\n") + "\n"
}

/// A good file with two phases but no expectation, up to where `more` begins, in line 5.
fn two_phases_and(more: &str) -> String {
    format!(
        "\
summary: x
phases:
  - {{ name: direct, workload: {{ mode: direct, items: 4 }} }}
  - {{ name: deferred, workload: {{ mode: delayed, items: 1, delay: 5ms }} }}
{more}"
    )
}

#[test]
fn good_file_is_good() {
    assert_eq!(
        parse("x", good_but(1, GOOD[0]).as_bytes()).map(|_| ()),
        Ok(())
    );
}

/// Files that lack something, or say it twice, and what is said about them.
const WHOLE_FILES: [(&str, &str); 18] = [
    (
        "",
        "1:1: the file holds no scenario; allowed: summary, workload, expect and more",
    ),
    (
        "# a\n\n  # b\n",
        "1:1: the file holds no scenario; allowed: summary, workload, expect and more",
    ),
    ("---\n", "1:1: key `summary` is missing here"),
    ("hello\n", "1:1: expected a map, that is `key: value` lines"),
    (
        "- summary: x\n",
        "1:1: expected a map, that is `key: value` lines",
    ),
    (
        "summary: x\n---\nsummary: y\n",
        "2:1: a second document begins; allowed: one document in a file",
    ),
    (
        "workload: { mode: direct, items: 1 }\n",
        "1:1: key `summary` is missing here",
    ),
    (
        "summary: x\nexpect: []\n",
        "1:1: neither `workload` nor `phases` is given; allowed: `workload` for one phase, or `phases` for several",
    ),
    (
        "summary: x\nworkload: { mode: direct, items: 1 }\n",
        "1:1: key `expect` is missing here",
    ),
    (
        "summary: x\nworkload:\n  <<: { mode: direct }\n",
        "3:3: merge keys are not allowed; allowed: the value itself, written out",
    ),
    (
        "summary: x\nworkload:\n\tmode: direct\n",
        "3:2: tabs disallowed within this context (block indentation)",
    ),
    ("summary: x\nexpect: [\n", "2:9: unclosed bracket '['"),
    ("summary: a\0b\n", "1:11: unexpected character: `\\u{0}'"),
    (
        "summary: x\nworkload: { mode: direct, items: 1 }\nphases:\n  - { name: a, workload: { mode: direct, items: 1 } }\nexpect: []\n",
        "4:3: both `workload` and `phases` are given; allowed: `workload` for one phase, or `phases` for several",
    ),
    (
        "summary: x\nuntil: done\nphases:\n  - { name: a, workload: { mode: direct, items: 1 } }\nexpect: []\n",
        "2:8: `until` beside `phases` belongs to no phase; allowed: `until` within an entry of phases",
    ),
    (
        "summary: x\nphases: []\n",
        "2:9: `phases` has no entries; allowed: 1 to 16 entries",
    ),
    (
        "summary: x\nphases:\n  - workload: { mode: direct, items: 1 }\n",
        "3:5: key `name` is missing here",
    ),
    (
        "summary: x\nphases:\n  - name: a\n",
        "3:5: key `workload` is missing here",
    ),
];

#[test]
fn bad_files_are_refused() {
    for (file, expected) in WHOLE_FILES {
        check(file.as_bytes(), expected);
    }
}

/// The number of a line of [`GOOD`], what stands there instead, and what is said about it.
const LINES: [(usize, &str, &str); 168] = [
    (
        1,
        "sumary: x",
        "1:1: unknown key `sumary` (did you mean `summary`?); allowed: summary, clock, machine, trace, deadline, workload, rounds, until, load, phases, command, expect, show, vary",
    ),
    (1, "summary:", "1:8: a value is missing"),
    (
        1,
        "summary: ''",
        "1:10: a summary is empty; allowed: one line of text, at most 200 bytes",
    ),
    (1, "summary: [x]", "1:10: expected a single value"),
    (
        1,
        "summary: \"a\\nb\"",
        "1:10: `a\\nb` is not a summary; allowed: one line of text, at most 200 bytes",
    ),
    (
        1,
        "summary: a: b",
        "1:11: mapping values are not allowed in this context",
    ),
    (
        1,
        "summary: x\nsummary: y",
        "2:1: key `summary` is given twice",
    ),
    (
        1,
        "summary: &a x",
        "1:13: anchors and aliases are not allowed; allowed: the value itself, written out",
    ),
    (
        1,
        "summary: !!int 5",
        "1:16: tags are not allowed; allowed: plain values",
    ),
    (
        1,
        "summary: !secret x",
        "1:18: the tag !secret is not allowed; allowed: plain values",
    ),
    (
        1,
        "summary: x\nclock: fast",
        "2:8: unknown clock `fast`; allowed: exact, wall",
    ),
    (
        1,
        "summary: x\nclock: [exact]",
        "2:8: expected a single value",
    ),
    (
        1,
        "summary: x\ndeadline: 60",
        "2:11: `60` has no unit; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        1,
        "summary: x\ndeadline: 2000000s",
        "2:11: 2000000s is out of range; allowed: 1ns to 3600s",
    ),
    (
        1,
        "summary: x\ndeadline: 0s",
        "2:11: 0ns is out of range; allowed: 1ns to 3600s",
    ),
    (
        1,
        "summary: x\ndeadline: 40ms",
        "4:3: the plan takes at least 50ms of guest time up to the end of this phase; allowed: less than the deadline, 40ms",
    ),
    (
        1,
        "summary: x\nmachine: x86_64",
        "2:10: expected a map, that is `key: value` lines",
    ),
    (
        1,
        "summary: x\nmachine: { name: ../x }",
        "2:18: `../x` is not the name of a machine; allowed: lower-case letters, digits, `_` and `-`, at most 64 bytes",
    ),
    (
        1,
        "summary: x\nmachine: { cpus: 17 }",
        "2:18: 17 is out of range; allowed: a whole number from 1 to 16",
    ),
    (
        1,
        "summary: x\nmachine: { cpus: 0 }",
        "2:18: 0 is out of range; allowed: a whole number from 1 to 16",
    ),
    (
        1,
        "summary: x\nmachine: { cpus: two }",
        "2:18: `two` is not a whole number; allowed: a whole number from 1 to 16",
    ),
    (
        1,
        "summary: x\nmachine: { cpus: 0x2 }",
        "2:18: `0x2` is not a whole number; allowed: a whole number from 1 to 16",
    ),
    (
        1,
        "summary: x\nmachine: { memory: 512 }",
        "2:20: `512` has no unit; allowed: a number and its unit, B, KiB, MiB or GiB, such as 64MiB",
    ),
    (
        1,
        "summary: x\nmachine: { memory: 512MB }",
        "2:20: `512MB` has the unknown unit `MB`; allowed: a number and its unit, B, KiB, MiB or GiB, such as 64MiB",
    ),
    (
        1,
        "summary: x\nmachine: { memory: 1MiB }",
        "2:20: 1MiB is out of range; allowed: 128MiB to 64GiB",
    ),
    (
        1,
        "summary: x\nmachine: { memory: 65537KiB }",
        "2:20: 65537KiB is no multiple of 1MiB; allowed: multiples of 1MiB",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: kmemleak=on }",
        "2:26: expected a list, that is `- entry` lines or [entry, entry]",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [\"a b\"] }",
        "2:27: `a b` is not a kernel parameter; allowed: one word of printable ASCII without spaces and quotes, at most 256 bytes",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [\"a\\0\"] }",
        "2:27: `a\\0` is not a kernel parameter; allowed: one word of printable ASCII without spaces and quotes, at most 256 bytes",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [\"a\\nb\"] }",
        "2:27: `a\\nb` is not a kernel parameter; allowed: one word of printable ASCII without spaces and quotes, at most 256 bytes",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [\"\"] }",
        "2:27: a kernel parameter is empty; allowed: one word of printable ASCII without spaces and quotes, at most 256 bytes",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [rdinit=/bin/sh] }",
        "2:27: `rdinit` is the harness's own to set; allowed: any parameter but --, init, rdinit, memmap, trace_instance, initrd",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [--] }",
        "2:27: `--` is the harness's own to set; allowed: any parameter but --, init, rdinit, memmap, trace_instance, initrd",
    ),
    (
        1,
        "summary: x\nmachine: { command-line: [a, ~] }",
        "2:30: a value is missing",
    ),
    (
        1,
        "summary: x\nmachine: { commandline: [a] }",
        "2:12: unknown key `commandline` (did you mean `command-line`?); allowed: name, cpus, memory, command-line, boot-config, devices, add",
    ),
    (
        1,
        "summary: x\ntrace: { functions: [] }",
        "2:21: `functions` has no entries; allowed: 1 to 64 entries",
    ),
    (
        1,
        "summary: x\ntrace: { functions: [\"!deferred_*\"] }",
        "2:22: `!deferred_*` is not a glob of function names; allowed: letters, digits, `_`, `.`, `$` and the wildcards `*`, `?`, `[a-z]`, at most 128 bytes",
    ),
    (
        1,
        "summary: x\ntrace: { functions: [\"deferred_*:mod:x\"] }",
        "2:22: `deferred_*:mod:x` is not a glob of function names; allowed: letters, digits, `_`, `.`, `$` and the wildcards `*`, `?`, `[a-z]`, at most 128 bytes",
    ),
    (
        1,
        "summary: x\ntrace: { functions: [deferred init] }",
        "2:22: `deferred init` is not a glob of function names; allowed: letters, digits, `_`, `.`, `$` and the wildcards `*`, `?`, `[a-z]`, at most 128 bytes",
    ),
    (
        1,
        "summary: x\ntrace: { events: [\"sched:\"] }",
        "2:19: `sched:` is not an event; allowed: `system` or `system:event` of letters, digits, `_`, `-` and the wildcards `*`, `?`, at most 128 bytes",
    ),
    (
        1,
        "summary: x\ntrace: { events: [\"a:b:c\"] }",
        "2:19: `a:b:c` is not an event; allowed: `system` or `system:event` of letters, digits, `_`, `-` and the wildcards `*`, `?`, at most 128 bytes",
    ),
    (
        1,
        "summary: x\ntrace: { events: [x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x] }",
        "2:18: `events` has 65 entries; allowed: 0 to 64 entries",
    ),
    (
        1,
        "summary: x\ntrace: { buffer: 2GiB }",
        "2:18: 2GiB is out of range; allowed: 1MiB to 1GiB",
    ),
    (
        1,
        "summary: x\ntrace: { buffer: 1025KiB }",
        "2:18: 1025KiB is no multiple of 4KiB; allowed: multiples of 4KiB",
    ),
    (
        1,
        "summary: x\nmachine: { memory: 128MiB }\ntrace: { buffer: 65MiB }",
        "3:18: a buffer of 65MiB is more than half of the guest's 128MiB; allowed: at most 64MiB",
    ),
    (
        2,
        "until: { hold: 70s }\nworkload:",
        "4:3: the plan takes at least 70s of guest time up to the end of this phase; allowed: less than the deadline, 60s",
    ),
    (
        2,
        "until: hold\nworkload:",
        "2:8: until `hold` needs a duration; allowed: { hold: 20ms }",
    ),
    (
        2,
        "until: { done: 5ms }\nworkload:",
        "2:16: until `done` takes no value; allowed: until: done",
    ),
    (
        2,
        "until: forever\nworkload:",
        "2:8: unknown value `forever`; allowed: done, hold",
    ),
    (
        2,
        "until: { hold: 5ms, done: 6ms }\nworkload:",
        "2:8: `done` stands beside `hold`, but only one key may be given",
    ),
    (
        2,
        "until:\nworkload:",
        "2:6: a value is missing; allowed: done, hold",
    ),
    (
        2,
        "until: [done]\nworkload:",
        "2:1: expected a name, or one `name: value`",
    ),
    (
        3,
        "  mode: delayd",
        "3:9: unknown mode `delayd` (did you mean `delayed`?); allowed: direct, delayed, work, deferrable, async, kthread, probe, hrtimer",
    ),
    (
        3,
        "  mode: rcu",
        "3:9: mode `rcu` is unsupported in this version; allowed: direct, delayed, work, deferrable, async, kthread, probe, hrtimer",
    ),
    (3, "  mode: ", "3:7: a value is missing"),
    (3, "  arrangement: chain", "3:3: key `mode` is missing here"),
    (
        3,
        "  mode: direct",
        "5:10: `delay` has no meaning in mode direct; allowed: mode, items, body, queues",
    ),
    (
        3,
        "  mode: delayed\n  arrangement: tree",
        "4:16: unknown arrangement `tree`; allowed: parallel, chain",
    ),
    (
        3,
        "  mode: delayed\n  start: later",
        "4:10: unknown start `later`; allowed: load, trigger",
    ),
    (
        4,
        "  items: 0",
        "4:10: 0 is out of range; allowed: a whole number from 1 to 4096",
    ),
    (
        4,
        "  items: 4097",
        "4:10: 4097 is out of range; allowed: a whole number from 1 to 4096",
    ),
    (
        4,
        "  items: 99999999999999999999",
        "4:10: 99999999999999999999 is out of range; allowed: a whole number from 1 to 4096",
    ),
    (
        4,
        "  items: -1",
        "4:10: `-1` is not a whole number; allowed: a whole number from 1 to 4096",
    ),
    (
        4,
        "  items: 1.5",
        "4:10: `1.5` is not a whole number; allowed: a whole number from 1 to 4096",
    ),
    (
        4,
        "  items: 1e3",
        "4:10: `1e3` is not a whole number; allowed: a whole number from 1 to 4096",
    ),
    (
        4,
        "  itmes: 8",
        "4:3: unknown key `itmes` (did you mean `items`?); allowed: mode, items, body, delay, step, arrangement, queue, cpu, runs, defer, async-probe, plan, queues, start, fault",
    ),
    (
        4,
        "  items: 8\n  mode: direct",
        "5:3: key `mode` is given twice",
    ),
    (4, "  # items: 8", "3:3: key `items` is missing here"),
    (
        5,
        "  delay: 50",
        "5:10: `50` has no unit; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 50.5",
        "5:10: `50.5` has no unit; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: -50ms",
        "5:10: `-50ms` is negative; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 50 ms",
        "5:10: `50 ms` has the unknown unit ` ms`; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 50msec",
        "5:10: `50msec` has the unknown unit `msec`; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: soon",
        "5:10: `soon` does not start with a number; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 0.1ns",
        "5:10: `0.1ns` is finer than 1ns; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 99999999999999999999s",
        "5:10: `99999999999999999999s` is too large; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 3601s",
        "5:10: 3601s is out of range; allowed: 0ns to 3600s",
    ),
    (5, "  delay: [50ms]", "5:10: expected a single value"),
    (5, "  delay: { ms: 50 }", "5:10: expected a single value"),
    (5, "  # delay: 50ms", "3:3: key `delay` is missing here"),
    (
        5,
        "  delay: 61s",
        "3:3: the plan takes at least 61s of guest time up to the end of this phase; allowed: less than the deadline, 60s",
    ),
    (
        5,
        "  delay: 50ms\n  step: 10s",
        "3:3: the plan takes at least 70.05s of guest time up to the end of this phase; allowed: less than the deadline, 60s",
    ),
    (
        5,
        "  delay: 1s\n  step: 1000s",
        "6:9: delay and step add up to 7001s for the last item; allowed: at most 3600s",
    ),
    (
        5,
        "  delay: true",
        "5:10: `true` does not start with a number; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 50ms\n  body: spin",
        "6:9: body `spin` needs a duration; allowed: { spin: 5ms }",
    ),
    (
        5,
        "  delay: 50ms\n  body: { spin: 11s }",
        "6:17: 11s is out of range; allowed: 1ns to 10s",
    ),
    (
        5,
        "  delay: 50ms\n  body: { sleep: 0ms }",
        "6:18: 0ns is out of range; allowed: 1ns to 2147s",
    ),
    (
        5,
        "  delay: 50ms\n  body: { sleep: 5 }",
        "6:18: `5` has no unit; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        5,
        "  delay: 50ms\n  body: { none: 5ms }",
        "6:17: body `none` takes no value; allowed: body: none",
    ),
    (
        5,
        "  delay: 50ms\n  body: { spin: 5ms, sleep: 5ms }",
        "6:9: `sleep` stands beside `spin`, but only one key may be given",
    ),
    (
        5,
        "  delay: 50ms\n  body: dance",
        "6:9: unknown body `dance` (did you mean `cancel`?); allowed: none, spin, sleep, alloc, lock, wait, complete, fail, print, cancel, flush, modify, destroy, hang",
    ),
    (
        5,
        "  delay: 50ms\n  body: { slep: 5ms }",
        "6:9: unknown body `slep` (did you mean `sleep`?); allowed: none, spin, sleep, alloc, lock, wait, complete, fail, print, cancel, flush, modify, destroy, hang",
    ),
    (
        5,
        "  delay: 50ms\n  body: 5ms",
        "6:9: unknown body `5ms`; allowed: none, spin, sleep, alloc, lock, wait, complete, fail, print, cancel, flush, modify, destroy, hang",
    ),
    (
        5,
        "  delay: 50ms\n  body: {}",
        "6:9: a value is missing; allowed: none, spin, sleep, alloc, lock, wait, complete, fail, print, cancel, flush, modify, destroy, hang",
    ),
    (
        5,
        "  delay: 50ms\n  body: ~",
        "6:9: a value is missing; allowed: none, spin, sleep, alloc, lock, wait, complete, fail, print, cancel, flush, modify, destroy, hang",
    ),
    (
        5,
        "  delay: 50ms\n  body: alloc",
        "6:9: body `alloc` needs a size; allowed: { alloc: 64KiB }",
    ),
    (
        5,
        "  delay: 50ms\n  body: 5",
        "6:9: unknown body `5`; allowed: none, spin, sleep, alloc, lock, wait, complete, fail, print, cancel, flush, modify, destroy, hang",
    ),
    (
        5,
        "  delay: 50ms\n  queue: rcu",
        "6:10: unknown queue `rcu`; allowed: system-percpu, system-unbound, system-highpri, system-long, system-freezable, system-bh, system-bh-highpri, own-percpu, own-unbound",
    ),
    (
        5,
        "  delay: 50ms\n  queue: system_unbound",
        "6:10: unknown queue `system_unbound` (did you mean `system-unbound`?); allowed: system-percpu, system-unbound, system-highpri, system-long, system-freezable, system-bh, system-bh-highpri, own-percpu, own-unbound",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { system-long: 1 }",
        "6:25: expected a map, that is `key: value` lines",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { system-long: { max-active: 1 } }",
        "6:25: queue `system-long` takes no value; allowed: queue: system-long",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { own-unbound: 2 }",
        "6:25: expected a map, that is `key: value` lines",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { own-unbound: {} }",
        "6:25: key `max-active` is missing from `own-unbound`; allowed: own-unbound: { max-active: 2 }",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { own-unbound: { max_active: 2 } }",
        "6:27: unknown key `max_active` (did you mean `max-active`?); allowed: max-active",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { own-unbound: { max-active: 0 } }",
        "6:39: 0 is out of range; allowed: a whole number from 1 to 2048",
    ),
    (
        5,
        "  delay: 50ms\n  queue: { own-percpu: { max-active: 2049 } }",
        "6:38: 2049 is out of range; allowed: a whole number from 1 to 2048",
    ),
    (
        6,
        "expct:",
        "6:1: unknown key `expct` (did you mean `expect`?); allowed: summary, clock, machine, trace, deadline, workload, rounds, until, load, phases, command, expect, show, vary",
    ),
    (
        7,
        "",
        "6:7: `expect` has no entries; allowed: 1 to 256 entries",
    ),
    (
        7,
        "  []",
        "7:3: `expect` has no entries; allowed: 1 to 256 entries",
    ),
    (
        7,
        "  count: { of: ended, equals: 8 }",
        "7:3: expected a list, that is `- entry` lines or [entry, entry]",
    ),
    (
        7,
        "  - count",
        "7:5: expected a map, that is `key: value` lines",
    ),
    (
        7,
        "  - {}",
        "7:5: this entry expects nothing; allowed: count, order, interval, lateness, duration, window, concurrency, difference, leaks, load, error, attempts, log, level, growth, before, call, stack, latency, profile, stack-size, histogram, exit, output",
    ),
    (
        7,
        "  -",
        "7:4: this entry expects nothing; allowed: count, order, interval, lateness, duration, window, concurrency, difference, leaks, load, error, attempts, log, level, growth, before, call, stack, latency, profile, stack-size, histogram, exit, output",
    ),
    (
        7,
        "  - cuont: { of: ended, equals: 8 }",
        "7:5: unknown key `cuont` (did you mean `count`?); allowed: count, order, interval, lateness, duration, window, concurrency, difference, leaks, load, error, attempts, log, level, growth, before, call, stack, latency, profile, stack-size, histogram, exit, output",
    ),
    (
        7,
        "  - count: { of: ended, equals: 8 }\n    order: { by: ended, ids: ascending }",
        "7:5: this entry has several keys; each expectation is an entry of its own; allowed: one of count, order, interval, lateness, duration, window, concurrency, difference, leaks, load, error, attempts, log, level, growth, before, call, stack, latency, profile, stack-size, histogram, exit, output",
    ),
    (
        7,
        "  - count: { of: ended }",
        "7:12: this expectation has no bound, so every run would meet it; allowed: equals, at-least, at-most",
    ),
    (
        7,
        "  - count: { equals: 8 }",
        "7:12: key `of` is missing here",
    ),
    (
        7,
        "  - count: { of: eaten, equals: 8 }",
        "7:18: unknown subject `eaten`; allowed: armed, queued, started, retried, ended, cancelled, function, event",
    ),
    (
        7,
        "  - count: { of: function, equals: 8 }",
        "7:18: `function` needs the name of one; allowed: { function: deferred_item_body }, { event: sched:sched_switch }",
    ),
    (
        7,
        "  - count: { of: { function: deferred_* }, equals: 8 }",
        "7:30: `deferred_*` is not the name of a function; allowed: letters, digits, `_`, `.`, `$` and `:`, without wildcards, at most 256 bytes",
    ),
    (
        7,
        "  - count: { of: { ended: x }, equals: 8 }",
        "7:20: unknown key `ended`; allowed: event, where, function, key",
    ),
    (
        7,
        "  - count: { of: ended, equals: 8, at-most: 9 }",
        "7:45: `equals` leaves nothing to bound; allowed: either `equals`, or `at-least` and `at-most`",
    ),
    (
        7,
        "  - count: { of: ended, at-least: 9, at-most: 8 }",
        "7:47: at-most 8 is below at-least 9; allowed: 9 or more",
    ),
    (
        7,
        "  - count: { of: ended, equals: -1 }",
        "7:33: `-1` is not a whole number; allowed: a whole number from 0 to 4294967295",
    ),
    (
        7,
        "  - count: { phase: mian, of: ended, equals: 8 }",
        "7:21: unknown phase `mian` (did you mean `main`?); allowed: main",
    ),
    (
        7,
        "  - count: { phase: main, of: ended, equal: 8 }",
        "7:38: unknown key `equal` (did you mean `equals`?); allowed: phase, items, of, equals, at-least, at-most",
    ),
    (
        7,
        "  - order: { by: cancelled, ids: ascending }",
        "7:18: unknown event `cancelled`; allowed: armed, queued, started, ended",
    ),
    (
        7,
        "  - order: { by: ended, ids: random }",
        "7:30: unknown order `random`; allowed: ascending, descending, or a list such as [3, 1, 2]",
    ),
    (
        7,
        "  - order: { by: ended, ids: [1] }",
        "7:30: `ids` has 1 entry; allowed: 2 to 64 entries",
    ),
    (
        7,
        "  - order: { by: ended, ids: [1, 8] }",
        "7:34: 8 is out of range; allowed: a whole number from 0 to 7",
    ),
    (
        7,
        "  - order: { by: ended, ids: [1, 2, 1] }",
        "7:37: item `1` is there twice; allowed: each item once",
    ),
    (
        7,
        "  - order: { by: ended, ids: [1, x] }",
        "7:34: `x` is not a whole number; allowed: a whole number from 0 to 7",
    ),
    (
        7,
        "  - order: { by: ended, ids: 5 }",
        "7:30: unknown order `5`; allowed: ascending, descending, or a list such as [3, 1, 2]",
    ),
    (
        7,
        "  - order: { by: ended, ids: { a: b } }",
        "7:30: expected ascending, descending, or a list of items",
    ),
    (
        7,
        "  - order: { by: ended, ids: ~ }",
        "7:30: a value is missing; allowed: ascending, descending, or a list such as [3, 1, 2]",
    ),
    (
        7,
        "  - order: { by: ended }",
        "7:12: key `ids` is missing here",
    ),
    (
        7,
        "  - interval: { from: armed, to: started }",
        "7:15: this expectation has no bound, so every run would meet it; allowed: min, max, percentiles",
    ),
    (
        7,
        "  - interval: { from: started, to: armed, max: 1ms }",
        "7:36: no item is started before it is armed; allowed: an event after `from` in: armed, queued, started, ended, cancelled",
    ),
    (
        7,
        "  - interval: { from: armed, to: armed, max: 1ms }",
        "7:34: no item is armed before it is armed; allowed: an event after `from` in: armed, queued, started, ended, cancelled",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, min: 2ms, max: 1ms }",
        "7:58: max 1ms is below min 2ms; allowed: 2ms or more",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, max: 1 }",
        "7:48: `1` has no unit; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: [{ p: 101, max: 1ms }] }",
        "7:62: percentile 101 is out of range; allowed: a number above 0 and up to 100, with at most three decimals, such as 99.9",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: [{ p: 0, max: 1ms }] }",
        "7:62: percentile 0 is out of range; allowed: a number above 0 and up to 100, with at most three decimals, such as 99.9",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: [{ p: p99, max: 1ms }] }",
        "7:62: `p99` does not start with a number; allowed: a number above 0 and up to 100, with at most three decimals, such as 99.9",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: [{ p: 99 }] }",
        "7:57: this expectation has no bound, so every run would meet it; allowed: min, max",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: [{ max: 1ms }] }",
        "7:57: key `p` is missing here",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: [] }",
        "7:56: `percentiles` has no entries; allowed: 1 to 64 entries",
    ),
    (
        7,
        "  - interval: { from: armed, to: started, percentiles: { p: 99, max: 1ms } }",
        "7:56: expected a list, that is `- entry` lines or [entry, entry]",
    ),
    (
        7,
        "  - lateness: { of: ended, max: 8ms }",
        "7:21: unknown event `ended`; allowed: queued, started",
    ),
    (
        7,
        "  - lateness: { of: queued }",
        "7:15: this expectation has no bound, so every run would meet it; allowed: min, max, percentiles",
    ),
    (
        7,
        "  - lateness: { of: queued, min: -1ms }",
        "7:34: `-1ms` is negative; allowed: a number and its unit, ns, us, ms or s, such as 50ms",
    ),
    (
        7,
        "  - duration: { of: module, max: 8ms }",
        "7:21: unknown subject `module`; allowed: init, item, function",
    ),
    (
        7,
        "  - duration: { of: init }",
        "7:15: this expectation has no bound, so every run would meet it; allowed: min, max, percentiles, total-max",
    ),
    (
        7,
        "  - duration: { of: init, total-max: 8ms }",
        "7:38: init is one duration, which has no percentiles and no total; allowed: min, max",
    ),
    (
        7,
        "  - duration: { of: init, percentiles: [{ p: 99, max: 1ms }] }",
        "7:40: init is one duration, which has no percentiles and no total; allowed: min, max",
    ),
    (
        7,
        "  - duration: { of: { function: \"\" }, max: 8ms }",
        "7:33: the name of a function is empty; allowed: letters, digits, `_`, `.`, `$` and `:`, without wildcards, at most 256 bytes",
    ),
    (
        7,
        "  - window: { from: load, to: load, max: 1ms }",
        "7:31: a window from load to load is always 0; allowed: a point other than `from`",
    ),
    (
        7,
        "  - window: { from: load, to: trigger, max: 1ms }",
        "7:31: phase `main` starts by its load, so it has no trigger; allowed: phases with `start: trigger`",
    ),
    (
        7,
        "  - window: { from: load, to: unloaded }",
        "7:13: this expectation has no bound, so every run would meet it; allowed: min, max",
    ),
    (
        7,
        "  - window: { from: lode, to: unloaded, max: 1ms }",
        "7:21: unknown point `lode` (did you mean `load`?); allowed: boot, first-process, load, init-start, init-end, trigger, first-armed, last-armed, first-started, last-started, first-ended, last-ended, unload, unloaded",
    ),
    (
        7,
        "  - window: { to: unloaded, max: 1ms }",
        "7:13: key `from` is missing here",
    ),
    (
        7,
        "  - concurrency: {}",
        "7:18: this expectation has no bound, so every run would meet it; allowed: equals, at-least, at-most",
    ),
    (
        7,
        "  - concurrency: 8",
        "7:18: expected a map, that is `key: value` lines",
    ),
    (
        7,
        "  - leaks: { equals: 0 }",
        "7:12: without kmemleak=on nothing looks for leaks; allowed: `command-line: [kmemleak=on]` under machine",
    ),
    (
        7,
        "  - load: { error: EWHAT }",
        "7:20: unknown error `EWHAT`; allowed: the names of errno.h, such as EINVAL",
    ),
    (
        7,
        "  - load: { error: 22 }",
        "7:20: unknown error `22`; allowed: the names of errno.h, such as EINVAL",
    ),
    (
        7,
        "  - difference: { of: { duration: init }, between: [main, main], min: 1ms }",
        "7:59: phase `main` differs from itself by nothing; allowed: two phases, such as [direct, deferred]",
    ),
    (
        7,
        "  - difference: { of: { duration: init }, between: [main], min: 1ms }",
        "7:52: `between` has 1 entry; allowed: two phases, such as [direct, deferred]",
    ),
];

#[test]
fn bad_lines_are_refused() {
    for (line, others, expected) in LINES {
        check(good_but(line, others).as_bytes(), expected);
    }
}

/// Entries of `expect` in a file with two phases, and what is said about them.
const ENTRIES_FOR_TWO_PHASES: [(&str, &str); 14] = [
    (
        "- count: { of: ended, equals: 4 }",
        "6:12: there are several phases, but key `phase` is missing here; allowed: direct, deferred",
    ),
    (
        "- count: { phase: diret, of: ended, equals: 4 }",
        "6:21: unknown phase `diret` (did you mean `direct`?); allowed: direct, deferred",
    ),
    (
        "- order: { phase: deferred, by: ended, ids: ascending }",
        "6:12: phase `deferred` has one item, which has no order; allowed: phases with at least 2 items",
    ),
    (
        "- order: { phase: direct, by: queued, ids: ascending }",
        "6:33: the items of phase `direct` are never queued; allowed: items in mode delayed, deferrable or work",
    ),
    (
        "- interval: { phase: direct, from: queued, to: started, max: 1ms }",
        "6:38: the items of phase `direct` are never queued; allowed: items in mode delayed, deferrable or work",
    ),
    (
        "- interval: { phase: direct, from: armed, to: cancelled, max: 1ms }",
        "6:49: the items of phase `direct` are never cancelled; allowed: items in any mode but direct",
    ),
    (
        "- lateness: { phase: direct, of: started, max: 1ms }",
        "6:15: the items of phase `direct` have no delay to be late for; allowed: items in mode delayed, deferrable or hrtimer",
    ),
    (
        "- difference: { of: { duration: init }, between: [direct, deferred] }",
        "6:17: this expectation has no bound, so every run would meet it; allowed: min, max",
    ),
    (
        "- difference: { of: { duration: item }, between: [direct, deferred], min: 1ms }",
        "6:35: unknown duration `item`; allowed: init",
    ),
    (
        "- difference: { of: { window: { from: load, to: trigger } }, between: [direct, deferred], min: 1ms }",
        "6:51: phase `direct` starts by its load, so it has no trigger; allowed: phases with `start: trigger`",
    ),
    (
        "- difference: { of: { duration: init, window: { from: load, to: unload } }, between: [direct, deferred], min: 1ms }",
        "6:23: a difference is of one time, either a duration or a window; allowed: { duration: init }, { window: { from: load, to: last-ended } }",
    ),
    (
        "- difference: { of: init, between: [direct, deferred], min: 1ms }",
        "6:23: expected a map, that is `key: value` lines",
    ),
    (
        "- difference: { phase: direct, of: { duration: init }, between: [direct, deferred], min: 1ms }",
        "6:19: unknown key `phase`; allowed: of, between, min, max",
    ),
    (
        "- difference: { of: { duration: init }, between: [direct, third], min: 1ms }",
        "6:61: unknown phase `third`; allowed: direct, deferred",
    ),
];

#[test]
fn bad_expectations_for_two_phases_are_refused() {
    for (entry, expected) in ENTRIES_FOR_TWO_PHASES {
        check(
            two_phases_and(&format!("expect:\n  {entry}\n")).as_bytes(),
            expected,
        );
    }
}

/// Third entries of `phases`, and what is said about them.
const THIRD_PHASES: [(&str, &str); 6] = [
    (
        "- { name: direct, workload: { mode: direct, items: 4 } }",
        "5:13: phase `direct` is already there in line 3; allowed: a name of its own for each phase",
    ),
    (
        "- { name: Direct, workload: { mode: direct, items: 4 } }",
        "5:13: `Direct` is not the name of a phase; allowed: lower-case letters, digits and `-`, at most 32 bytes",
    ),
    (
        "- { name: \"\", workload: { mode: direct, items: 4 } }",
        "5:13: the name of a phase is empty; allowed: lower-case letters, digits and `-`, at most 32 bytes",
    ),
    (
        "- { name: long, workload: { mode: direct, items: 4, body: { sleep: 20s } } }",
        "5:13: the plan takes at least 80.005s of guest time up to the end of this phase; allowed: less than the deadline, 60s",
    ),
    (
        "- { name: x, workload: { mode: direct, items: 4, queue: system-long } }",
        "5:59: `queue` has no meaning in mode direct; allowed: mode, items, body, queues",
    ),
    (
        "- { name: x, workload: { mode: direct, items: 4, start: trigger } }",
        "5:59: `start` has no meaning in mode direct; allowed: mode, items, body, queues",
    ),
];

#[test]
fn bad_phases_are_refused() {
    for (phase, expected) in THIRD_PHASES {
        check(two_phases_and(&format!("  {phase}\n")).as_bytes(), expected);
    }
}

#[test]
fn lengths_are_limited() {
    let summary = format!("summary: {}", "x".repeat(201));
    let allowed = "allowed: one line of text, at most 200 bytes";
    check(
        good_but(1, &summary).as_bytes(),
        &format!("1:10: a summary is 201 bytes long; {allowed}"),
    );
    let events = format!("summary: x\ntrace: {{ events: [{}] }}", "x, ".repeat(65));
    check(
        good_but(1, &events).as_bytes(),
        "2:18: `events` has 65 entries; allowed: 0 to 64 entries",
    );
    let words = format!("{}, ", "x".repeat(250)).repeat(5);
    let machine = format!("summary: x\nmachine: {{ command-line: [{words}] }}");
    check(
        good_but(1, &machine).as_bytes(),
        "2:26: command-line is 1255 bytes long; allowed: at most 1024 bytes",
    );
    let entries = format!(
        "expect:{}",
        "\n  - count: { of: ended, equals: 8 }".repeat(256)
    );
    check(
        good_but(6, &entries).as_bytes(),
        "7:3: `expect` has 257 entries; allowed: 1 to 256 entries",
    );
}

#[test]
fn file_that_is_not_utf8_is_refused_where_it_stops_being_so() {
    let mut file = good_but(1, "summary: Grüße").into_bytes();
    check(
        &[&file[..], b"# \xff\n"].concat(),
        "8:3: the file is not UTF-8 from here on; allowed: UTF-8 text",
    );
    file.truncate(12);
    check(
        &file,
        "1:12: the file is not UTF-8 from here on; allowed: UTF-8 text",
    );
    check(
        b"\xff\xfes\0u\0m\0",
        "1:1: the file is not UTF-8 from here on; allowed: UTF-8 text",
    );
}

#[test]
fn file_above_the_limit_is_refused_whatever_it_holds() {
    let expected = "1:1: the file is larger than any scenario; allowed: at most 1048576 bytes";
    check(&vec![0xff; MAX_BYTES + 1], expected);
    check(&vec![b'#'; 100 << 20], expected);
    let mut full = good_but(1, GOOD[0]).into_bytes();
    full.resize(MAX_BYTES, b'\n');
    assert!(parse("x", &full).is_ok(), "a file of exactly the limit");
}

/// A good file with two plans and a `vary` at its end, in lines 7 and below.
fn varied(vary: &str) -> String {
    format!(
        "\
summary: x
phases:
  - {{ name: one, workload: {{ plan: [{{ name: a, mode: direct }}, {{ name: b, mode: work, cpu: 1 }}] }} }}
  - {{ name: two, workload: {{ mode: direct, items: 2 }} }}
machine: {{ cpus: 2 }}
expect: [{{ count: {{ phase: one, of: ended, equals: 2 }} }}]
vary: {{ {vary} }}
"
    )
}

/// What stands in `vary`, and what is said about it.
const VARIED: [(&str, &str); 17] = [
    (
        "cpu: 2",
        "7:9: unknown key `cpu` (did you mean `cpus`?); allowed: cpus, shift, debug-force-rr-cpu, wait, order, delays, times",
    ),
    (
        "cpus: 1",
        "3:92: the guest has no CPU 1; allowed: any, 0; more with `cpus` under machine",
    ),
    (
        "shift: 7",
        "7:16: 7 is out of range; allowed: a whole number from 0 to 6",
    ),
    (
        "debug-force-rr-cpu: 1",
        "7:29: unknown value `1`; allowed: true, false",
    ),
    ("wait: 2s", "7:15: 2s is out of range; allowed: 0ns to 1s"),
    (
        "times: unjudged",
        "7:16: unknown value `unjudged` (did you mean `judged`?); allowed: judged, ignored",
    ),
    (
        "order: []",
        "7:16: `order` has no entries; allowed: 1 to 64 entries",
    ),
    (
        "order: [{ item: b, before: a }]",
        "7:17: key `phase` is missing here; allowed: one, two",
    ),
    (
        "order: [{ phase: three, item: b, before: a }]",
        "7:26: there is no phase `three`; allowed: one, two",
    ),
    (
        "order: [{ phase: two, item: '1', before: '0' }]",
        "7:17: only the items of a `plan` have an order of their own; allowed: a phase with a plan",
    ),
    (
        "order: [{ phase: one, item: c, before: a }]",
        "7:37: `c` is no other item of the plan; allowed: a, b",
    ),
    (
        "order: [{ phase: one, item: a, before: a }]",
        "7:48: `a` is no other item of the plan; allowed: b",
    ),
    (
        "delays: []",
        "7:17: `delays` has no entries; allowed: 1 to 32 entries",
    ),
    (
        "delays: [{ phase: one, function: f, delay: 2s }]",
        "7:52: 2s is out of range; allowed: 1ns to 1s",
    ),
    (
        "delays: [{ phase: one, function: f, call: 0, delay: 1us }]",
        "7:51: 0 is out of range; allowed: a whole number from 1 to 4294967295",
    ),
    (
        "delays: [{ phase: one, function: 'f:g', delay: 1us }]",
        "7:42: `f:g` is not the name of a function; allowed: letters, digits, `_`, `.` and `$`, at most 511 bytes",
    ),
    (
        "delays: [{ phase: one, delay: 1us }]",
        "7:18: key `function` is missing here",
    ),
];

#[test]
fn what_is_varied_follows_the_rules() {
    check(
        varied("cpus: 0").as_bytes(),
        "7:15: 0 is out of range; allowed: a whole number from 1 to 16",
    );
    for (vary, expected) in VARIED {
        check(varied(vary).as_bytes(), expected);
    }
    for (top, vary, expected) in [
        (
            "clock: wall",
            "shift: 3",
            "5:16: the wall clock does not count instructions, so there is no shift; allowed: `clock: exact`",
        ),
        (
            "load: built-in",
            "wait: 1ms",
            "5:15: initcalls wait for nobody; allowed: `wait` with `load: module`",
        ),
        (
            "load: built-in",
            "delays: [{ function: f, delay: 1us }]",
            "5:18: functions are delayed by the module, from its load on; allowed: delays with `load: module`",
        ),
    ] {
        let file = format!(
            "summary: x\nworkload: {{ mode: direct, items: 2 }}\nexpect: [count: {{ of: ended, equals: 2 }}]\n{top}\nvary: {{ {vary} }}\n"
        );
        check(file.as_bytes(), expected);
    }
    check(
        b"summary: x\ncommand: 'true'\nexpect: [exit: { equals: 0 }]\nvary: { delays: [{ function: f, delay: 1us }] }\n",
        "4:18: delays are made by the module of a phase with one workload; allowed: a phase with `workload`",
    );
}
