// SPDX-License-Identifier: GPL-2.0-only

//! Workloads that break a rule, and expectations that their items cannot meet, with the exact message for each.

use deferinit_scenario::parse;

/// Asserts that a file is refused with `expected`, which begins with line and column.
fn check(file: &str, expected: &str) {
    let answer = parse("x", file.as_bytes())
        .map(|_| ())
        .map_err(|error| error.to_string());
    assert_eq!(answer, Err(format!("x:{expected}")), "{file}");
}

/// A file whose workload is in line 4.
fn with_workload(until: &str, workload: &str) -> String {
    format!(
        "summary: x\nmachine: {{ cpus: 2 }}\nuntil: {until}\nworkload: {{ {workload} }}\nexpect: [log: {{ contains: x, equals: 0 }}]\n"
    )
}

/// A file with a plan whose first item is in line 7.
fn with_plan(until: &str, items: &[&str], expect: &str) -> String {
    let items: String = items
        .iter()
        .map(|item| format!("  - {{ {item} }}\n"))
        .collect();
    format!(
        "summary: x\nmachine: {{ cpus: 2 }}\nuntil: {until}\nworkload:\n  \
         queues: [{{ name: q }}, {{ name: soft, flags: [bh] }}]\n  plan:\n{items}expect: [{expect}]\n"
    )
}

const HOLD: &str = "{ hold: 1ms }";

const LOG: &str = "log: { contains: x, equals: 0 }";

/// Plans that break a rule however their phase ends.
const PLANS: &[(&[&str], &str)] = &[
    (&["mode: direct"], "7:5: key `name` is missing here"),
    (&["name: a"], "7:5: key `mode` is missing here"),
    (
        &["name: A, mode: direct"],
        "7:13: `A` is not a name; allowed: lower-case letters, digits, `_` and `-`, at most 31 bytes",
    ),
    (
        &["name: a+b, mode: direct"],
        "7:13: `a+b` is not a name; allowed: lower-case letters, digits, `_` and `-`, at most 31 bytes",
    ),
    (
        &["name: a234567890123456789012345678901x, mode: direct"],
        "7:13: a name is 32 bytes long; allowed: lower-case letters, digits, `_` and `-`, at most 31 bytes",
    ),
    (
        &["name: '', mode: direct"],
        "7:13: a name is empty; allowed: lower-case letters, digits, `_` and `-`, at most 31 bytes",
    ),
    (
        &[
            "name: a, mode: direct",
            "name: b, mode: work",
            "name: a, mode: work",
        ],
        "9:13: item `a` is there twice; allowed: a name of its own for each item",
    ),
    (
        &["name: a, mode: rcu"],
        "7:22: mode `rcu` is unsupported in this version; allowed: direct, delayed, work, deferrable, async, kthread, probe, hrtimer",
    ),
    (
        &["name: a, mode: direct, items: 3"],
        "7:30: unknown key `items`; allowed: name, mode, body, delay, queue, cpu, runs, defer, async-probe, after, suppliers, level",
    ),
    // Keys that a mode ignores.
    (
        &["name: a, mode: direct, delay: 1ms"],
        "7:37: `delay` has no meaning in mode direct; allowed: name, mode, body, after, level",
    ),
    (
        &["name: a, mode: work, delay: 1ms"],
        "7:35: `delay` has no meaning in mode work; allowed: name, mode, body, queue, cpu, runs, after, level",
    ),
    (
        &["name: a, mode: async, queue: q"],
        "7:36: `queue` has no meaning in mode async; allowed: name, mode, body, after, level",
    ),
    (
        &["name: a, mode: hrtimer, delay: 1ms, cpu: 0"],
        "7:48: `cpu` has no meaning in mode hrtimer; allowed: name, mode, body, delay, runs, after, level",
    ),
    (
        &["name: a, mode: kthread, runs: 1"],
        "7:37: `runs` has no meaning in mode kthread; allowed: name, mode, body, cpu, after, level",
    ),
    (
        &["name: a, mode: work, defer: 0"],
        "7:35: `defer` has no meaning in mode work; allowed: name, mode, body, queue, cpu, runs, after, level",
    ),
    (
        &["name: a, mode: async, async-probe: false"],
        "7:42: `async-probe` has no meaning in mode async; allowed: name, mode, body, after, level",
    ),
    (
        &[
            "name: a, mode: probe",
            "name: b, mode: kthread, suppliers: [a]",
        ],
        "8:42: `suppliers` has no meaning in mode kthread; allowed: name, mode, body, cpu, after, level",
    ),
    // Values out of range.
    (
        &["name: a, mode: delayed"],
        "7:5: key `delay` is missing here",
    ),
    (
        &["name: a, mode: deferrable"],
        "7:5: key `delay` is missing here",
    ),
    (
        &["name: a, mode: hrtimer"],
        "7:5: key `delay` is missing here",
    ),
    (
        &["name: a, mode: delayed, delay: 3601s"],
        "7:38: 3601s is out of range; allowed: 0ns to 3600s",
    ),
    (
        &["name: a, mode: work, runs: 0"],
        "7:34: 0 is out of range; allowed: a whole number from 1 to 1000000",
    ),
    (
        &["name: a, mode: work, runs: 1000001"],
        "7:34: 1000001 is out of range; allowed: a whole number from 1 to 1000000",
    ),
    (
        &["name: a, mode: probe, defer: 1001"],
        "7:36: 1001 is out of range; allowed: a whole number from 0 to 1000, or forever",
    ),
    (
        &["name: a, mode: probe, defer: never"],
        "7:36: `never` is not a whole number; allowed: a whole number from 0 to 1000, or forever",
    ),
    (
        &["name: a, mode: probe, async-probe: yes"],
        "7:42: unknown value `yes`; allowed: true, false",
    ),
    (
        &["name: a, mode: work, cpu: 2"],
        "7:33: the guest has no CPU 2; allowed: any, 0 to 1",
    ),
    (
        &["name: a, mode: work, cpu: 16"],
        "7:33: 16 is out of range; allowed: a whole number from 0 to 15, or any",
    ),
    (
        &["name: a, mode: work, queue: p"],
        "7:35: unknown queue `p`; allowed: system-percpu, system-unbound, system-highpri, system-long, system-freezable, system-bh, system-bh-highpri, own-percpu, own-unbound, q, soft",
    ),
    (
        &["name: a, mode: work, queue: { q: { max-active: 1 } }"],
        "7:40: queue `q` takes no value; allowed: queue: q",
    ),
    (
        &[
            "name: a, mode: work, queue: own-unbound",
            "name: b, mode: work, queue: own-percpu",
        ],
        "8:35: a queue of another kind stands in line 7, and both would be `own`; allowed: the names of `queues`",
    ),
    // Bodies.
    (
        &["name: a, mode: work, body: []"],
        "7:34: `body` has no entries; allowed: 1 to 8 entries",
    ),
    (
        &[
            "name: a, mode: work, body: [print, print, print, print, print, print, print, print, print]",
        ],
        "7:34: `body` has 9 entries; allowed: 1 to 8 entries",
    ),
    (
        &["name: a, mode: work, body: [none, print]"],
        "7:35: `none` is a body of its own; allowed: body: none",
    ),
    (
        &["name: a, mode: work, body: [[print]]"],
        "7:35: expected an action, that is a name or one `name: value`",
    ),
    (
        &["name: a, mode: work, body: [{ spin: 11s }]"],
        "7:43: 11s is out of range; allowed: 1ns to 10s",
    ),
    (
        &["name: a, mode: work, body: { sleep: 2148s }"],
        "7:43: 2148s is out of range; allowed: 1ns to 2147s",
    ),
    (
        &["name: a, mode: work, body: { alloc: 0B }"],
        "7:43: 0B is out of range; allowed: 1B to 4MiB",
    ),
    (
        &["name: a, mode: work, body: { alloc: 4097KiB }"],
        "7:43: 4097KiB is out of range; allowed: 1B to 4MiB",
    ),
    (
        &["name: a, mode: work, body: { alloc: 5 }"],
        "7:43: `5` has no unit; allowed: a number and its unit, B, KiB, MiB or GiB, such as 64MiB",
    ),
    (
        &["name: a, mode: work, body: { wait: a }"],
        "7:42: body `wait` takes no value; allowed: body: wait",
    ),
    (
        &["name: a, mode: work, body: lock"],
        "7:34: body `lock` needs a name; allowed: { lock: NAME }",
    ),
    (
        &["name: a, mode: work, body: { lock: A }"],
        "7:42: `A` is not a name; allowed: lower-case letters, digits, `_` and `-`, at most 31 bytes",
    ),
    (
        &["name: a, mode: work, body: { fail: EWHAT }"],
        "7:42: unknown error `EWHAT`; allowed: the names of errno.h, such as EINVAL",
    ),
    (
        &["name: a, mode: work, body: { fail: EINVALL }"],
        "7:42: unknown error `EINVALL` (did you mean `EINVAL`?); allowed: the names of errno.h, such as EINVAL",
    ),
    (
        &["name: a, mode: work, body: { fail: 22 }"],
        "7:42: unknown error `22`; allowed: the names of errno.h, such as EINVAL",
    ),
    (
        &["name: a, mode: probe, body: { fail: EPROBE_DEFER }"],
        "7:43: a probe that is to be tried again does not fail; allowed: `defer: 1` beside the body",
    ),
    (
        &["name: a, mode: work, body: [{ fail: EIO }, print]"],
        "7:35: `fail` ends the body, but other actions follow; allowed: `fail` as the last action",
    ),
    (
        &["name: a, mode: work, body: [hang, print]"],
        "7:35: `hang` ends the body, but other actions follow; allowed: `hang` as the last action",
    ),
    (
        &["name: a, mode: work, body: [{ lock: m }, { lock: n }]"],
        "7:48: a body takes one lock at most; allowed: one `lock`",
    ),
    (
        &["name: a, mode: work, body: { complete: b }"],
        "7:34: unknown item `b`; allowed: a",
    ),
    (
        &["name: a, mode: work, body: { cancel: a }"],
        "7:34: item `a` cannot cancel itself; allowed: another item",
    ),
    (
        &["name: a, mode: work, body: { flush: a }"],
        "7:34: item `a` cannot flush itself; allowed: another item",
    ),
    (
        &["name: a, mode: delayed, delay: 1ms, body: { modify: { item: a, delay: 1ms } }"],
        "7:49: item `a` cannot modify itself; allowed: another item",
    ),
    (
        &[
            "name: a, mode: work",
            "name: b, mode: work, body: { modify: { item: a, delay: 1ms } }",
        ],
        "8:34: item `a` has no delay to modify; allowed: items in mode delayed or deferrable",
    ),
    (
        &["name: a, mode: work, body: modify"],
        "7:34: body `modify` needs an item and a delay; allowed: { modify: { item: NAME, delay: 5ms } }",
    ),
    (
        &["name: a, mode: work, body: { modify: a }"],
        "7:44: expected a map, that is `key: value` lines",
    ),
    (
        &["name: a, mode: work, body: { modify: { item: a } }"],
        "7:44: key `delay` is missing here",
    ),
    (
        &["name: a, mode: work, body: { modify: { item: a, dely: 1ms } }"],
        "7:55: unknown key `dely` (did you mean `delay`?); allowed: item, delay",
    ),
    (
        &["name: a, mode: work, body: { destroy: p }"],
        "7:34: unknown own queue `p`; allowed: q, soft",
    ),
    (
        &["name: a, mode: work, body: { destroy: system-long }"],
        "7:34: unknown own queue `system-long`; allowed: q, soft",
    ),
    (
        &["name: a, mode: work, queue: q, body: { destroy: q }"],
        "7:44: the item runs on queue `q` itself; allowed: another one of `queues`",
    ),
    // Where nothing may sleep.
    (
        &["name: a, mode: hrtimer, delay: 1ms, body: [{ spin: 1us }, { sleep: 1us }]"],
        "7:65: `sleep` may sleep, which an item of mode hrtimer cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        &["name: a, mode: work, queue: system-bh, body: { alloc: 1KiB }"],
        "7:52: `alloc` may sleep, which an item of queue `system-bh` cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        &["name: a, mode: work, queue: system-bh-highpri, body: { lock: m }"],
        "7:60: `lock` may sleep, which an item of queue `system-bh-highpri` cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        &["name: a, mode: work, queue: soft, body: wait"],
        "7:47: `wait` may sleep, which an item of queue `soft` cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        &["name: a, mode: work, queue: soft, body: hang"],
        "7:47: `hang` may sleep, which an item of queue `soft` cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        &["name: a, mode: work, queue: soft, body: { destroy: q }"],
        "7:47: `destroy` may sleep, which an item of queue `soft` cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        &[
            "name: a, mode: work, queue: soft",
            "name: b, mode: probe, after: [a]",
        ],
        "8:37: item `a` ends where nothing may sleep, but a probe has to; allowed: items that may sleep",
    ),
    (
        &[
            "name: a, mode: hrtimer, delay: 1ms",
            "name: b, mode: probe",
            "name: c, mode: probe, after: [b, a]",
        ],
        "9:40: item `a` ends where nothing may sleep, but a probe has to; allowed: items that may sleep",
    ),
    // What comes after what.
    (
        &["name: a, mode: work, after: []"],
        "7:35: `after` has no entries; allowed: 1 to 4096 entries",
    ),
    (
        &["name: a, mode: work, after: b"],
        "7:35: expected a list, that is `- entry` lines or [entry, entry]",
    ),
    (
        &[
            "name: alpha, mode: work",
            "name: b, mode: work, after: [alhpa]",
        ],
        "8:36: unknown item `alhpa` (did you mean `alpha`?); allowed: alpha, b",
    ),
    (
        &["name: a, mode: work", "name: b, mode: work, after: [a, a]"],
        "8:39: item `a` is there twice; allowed: each item once",
    ),
    (
        &["name: a, mode: work, after: [a]"],
        "7:36: an item comes after itself: `a` after `a`; allowed: items that do not wait for each other",
    ),
    (
        &[
            "name: x, mode: work, after: [c]",
            "name: a, mode: work, after: [b]",
            "name: b, mode: work, after: [c]",
            "name: c, mode: work, after: [x, a]",
        ],
        "7:36: an item comes after itself: `x` after `c` after `x`; allowed: items that do not wait for each other",
    ),
    (
        &["name: a, mode: probe, suppliers: [b]"],
        "7:41: unknown item `b`; allowed: a",
    ),
    (
        &[
            "name: a, mode: probe, suppliers: [b]",
            "name: b, mode: work",
        ],
        "7:41: item `b` is no probe, so it supplies nothing; allowed: items in mode probe",
    ),
    (
        &["name: a, mode: probe, suppliers: [a]"],
        "7:41: item `a` cannot supply itself; allowed: other items in mode probe",
    ),
    (
        &[
            "name: a, mode: probe, suppliers: [b, b]",
            "name: b, mode: probe",
        ],
        "7:44: item `b` is there twice; allowed: each item once",
    ),
];

#[test]
fn plans_that_break_a_rule_are_refused() {
    for (items, expected) in PLANS {
        check(&with_plan(HOLD, items, LOG), expected);
    }
}

/// Plans that are good as long as nothing waits for their end.
const ENDLESS: &[(&[&str], &str)] = &[
    (
        &["name: a, mode: work, body: [print, hang]"],
        "7:42: item `a` hangs, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &["name: a, mode: probe, defer: forever"],
        "7:36: item `a` is deferred forever, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &["name: a, mode: work, body: [print, wait]"],
        "7:42: item `a` waits, and nothing completes it, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &["name: a, mode: work, body: [wait, { complete: a }]"],
        "7:35: item `a` waits, and nothing completes it, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    // Each waits for the other before it completes it.
    (
        &[
            "name: a, mode: work, body: [wait, { complete: b }]",
            "name: b, mode: work, body: [wait, { complete: a }]",
        ],
        "7:35: item `a` waits, and nothing completes it, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    // The one that would complete it comes after it.
    (
        &[
            "name: a, mode: work, body: wait",
            "name: b, mode: work, after: [a], body: { complete: a }",
        ],
        "7:34: item `a` waits, and nothing completes it, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &[
            "name: a, mode: work, after: [b]",
            "name: b, mode: work, after: [c]",
            "name: c, mode: kthread, body: hang",
        ],
        "9:37: item `c` hangs, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &[
            "name: a, mode: probe, suppliers: [b]",
            "name: b, mode: probe, defer: forever",
        ],
        "8:36: item `b` is deferred forever, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &[
            "name: a, mode: probe, suppliers: [c, b]",
            "name: b, mode: probe, body: { fail: EIO }",
            "name: c, mode: probe",
        ],
        "7:44: item `a` waits for `b`, whose probe fails, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    (
        &[
            "name: x, mode: probe, suppliers: [b]",
            "name: a, mode: probe, suppliers: [b]",
            "name: b, mode: probe, suppliers: [a]",
        ],
        "8:41: items wait for each other: `a` for `b` for `a`, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
    // A circle of both kinds: b has to end before a is armed, and needs a to bind.
    (
        &[
            "name: a, mode: probe, after: [b]",
            "name: b, mode: probe, suppliers: [a]",
        ],
        "7:37: items wait for each other: `a` for `b` for `a`, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    ),
];

#[test]
fn plans_without_an_end_are_refused_unless_they_are_held() {
    for (items, expected) in ENDLESS {
        check(&with_plan("done", items, LOG), expected);
        let held = with_plan(HOLD, items, LOG);
        assert_eq!(parse("x", held.as_bytes()).map(|_| ()), Ok(()), "{held}");
    }
}

/// Plans that look as if they had no end, and have one.
const ENDING: &[&[&str]] = &[
    &["name: a, mode: work, body: [{ complete: a }, wait]"],
    &[
        "name: a, mode: work, body: [wait, { complete: b }]",
        "name: b, mode: work, body: [{ complete: a }, wait]",
    ],
    &[
        "name: a, mode: work, body: [wait, wait]",
        "name: b, mode: hrtimer, delay: 1ms, runs: 2, body: { complete: a }",
    ],
    &[
        "name: a, mode: probe, suppliers: [b]",
        "name: b, mode: probe, defer: 1000, suppliers: [c]",
        "name: c, mode: probe",
    ],
    &[
        "name: a, mode: work, after: [b]",
        "name: b, mode: probe, body: { fail: EIO }",
    ],
];

#[test]
fn plans_with_an_end_are_good() {
    for items in ENDING {
        let file = with_plan("done", items, LOG);
        assert_eq!(parse("x", file.as_bytes()).map(|_| ()), Ok(()), "{file}");
    }
}

/// Workloads that break a rule.
const WORKLOADS: &[(&str, &str)] = &[
    (
        "plan: []",
        "4:19: `plan` has no entries; allowed: 1 to 4096 entries",
    ),
    (
        "plan: {}",
        "4:19: expected a list, that is `- entry` lines or [entry, entry]",
    ),
    (
        "plan: [{ name: a, mode: direct }], mode: direct",
        "4:54: `mode` has no meaning beside `plan`; allowed: plan, queues, start, fault",
    ),
    (
        "plan: [{ name: a, mode: direct }], items: 1",
        "4:55: `items` has no meaning beside `plan`; allowed: plan, queues, start, fault",
    ),
    (
        "plan: [{ name: a, mode: direct }], step: 1ms",
        "4:54: `step` has no meaning beside `plan`; allowed: plan, queues, start, fault",
    ),
    (
        "plan: [{ name: a, mode: direct }, { name: b, mode: direct }], start: trigger",
        "4:82: all items are direct: they run at the load, and leave nothing to trigger; allowed: load",
    ),
    (
        "mode: direct, items: 1, start: load",
        "4:44: `start` has no meaning in mode direct; allowed: mode, items, body, queues",
    ),
    (
        "mode: direct, items: 1, runs: 2",
        "4:43: `runs` has no meaning in mode direct; allowed: mode, items, body, queues",
    ),
    (
        "mode: work, items: 1, step: 1ms",
        "4:41: `step` has no meaning in mode work; allowed: mode, items, body, arrangement, queue, cpu, runs, queues, start",
    ),
    (
        "mode: work, items: 1, after: [a]",
        "4:35: unknown key `after`; allowed: mode, items, body, delay, step, arrangement, queue, cpu, runs, defer, async-probe, plan, queues, start, fault",
    ),
    (
        "mode: kthread, items: 1, defer: 1",
        "4:45: `defer` has no meaning in mode kthread; allowed: mode, items, body, arrangement, cpu, queues, start",
    ),
    (
        "mode: kthread, items: 1, cpu: 2",
        "4:43: the guest has no CPU 2; allowed: any, 0 to 1",
    ),
    (
        "mode: hrtimer, items: 1, delay: 1ms, body: { sleep: 1ms }",
        "4:56: `sleep` may sleep, which an item of mode hrtimer cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        "mode: work, items: 1, queue: soft, queues: [{ name: soft, flags: [bh] }], body: { sleep: 1ms }",
        "4:93: `sleep` may sleep, which an item of queue `soft` cannot; allowed: none, spin, complete, fail, print",
    ),
    (
        "mode: work, items: 4, body: { cancel: 3 }",
        "4:41: every item has this body, so item 3 would cancel itself; allowed: `cancel` in an item of a `plan`",
    ),
    (
        "mode: work, items: 4, body: { flush: 4 }",
        "4:41: unknown item `4`; allowed: 0 to 3",
    ),
    (
        "mode: delayed, delay: 1ms, items: 4, body: { modify: { item: 0, delay: 1ms } }",
        "4:56: every item has this body, so item 0 would modify itself; allowed: `modify` in an item of a `plan`",
    ),
    (
        "mode: work, items: 4, body: { complete: 04 }",
        "4:41: unknown item `04`; allowed: 0 to 3",
    ),
    // Queues.
    (
        "mode: work, items: 1, queues: []",
        "4:43: `queues` has no entries; allowed: 1 to 16 entries",
    ),
    (
        "mode: work, items: 1, queues: [{ flags: [bh] }]",
        "4:44: key `name` is missing here",
    ),
    (
        "mode: work, items: 1, queues: [{ name: Q }]",
        "4:52: `Q` is not a name; allowed: lower-case letters, digits, `_` and `-`, at most 31 bytes",
    ),
    (
        "mode: work, items: 1, queues: [{ name: system-long }]",
        "4:52: `system-long` is the name of a queue already; allowed: a name of its own",
    ),
    (
        "mode: work, items: 1, queues: [{ name: own-percpu }]",
        "4:52: `own-percpu` is the name of a queue already; allowed: a name of its own",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q }, { name: q }]",
        "4:65: queue `q` is there twice; allowed: a name of its own for each queue",
    ),
    (
        "mode: work, items: 1, queues: [{ name: own }], queue: own-unbound",
        "4:67: this queue would be `own`, which `queues` has already; allowed: the names of `queues`",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [bound] }]",
        "4:63: unknown flag `bound` (did you mean `unbound`?); allowed: unbound, highpri, freezable, bh, mem-reclaim, cpu-intensive, power-efficient, ordered",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [highpri, unbound, highpri] }]",
        "4:81: flag `highpri` is there twice; allowed: each flag once",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [bh, unbound] }]",
        "4:67: a bh queue cannot be unbound too; allowed: bh, highpri",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [bh], max-active: 1 }]",
        "4:80: the limit of a queue that is bh is the kernel's to set; allowed: no `max-active`",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [bh], affinity-scope: cpu }]",
        "4:84: a bh queue has no affinity scope; allowed: no `affinity-scope`",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [ordered], max-active: 1 }]",
        "4:85: the limit of a queue that is ordered is the kernel's to set; allowed: no `max-active`",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, max-active: 0 }]",
        "4:67: 0 is out of range; allowed: a whole number from 1 to 2048",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, max-active: 2049 }]",
        "4:67: 2049 is out of range; allowed: a whole number from 1 to 2048",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, affinity-scope: smt }]",
        "4:71: only unbound queues have an affinity scope; allowed: flags: [unbound]",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, flags: [unbound], affinity-scope: node }]",
        "4:89: unknown affinity scope `node`; allowed: cpu, smt, cache, cache-shard, numa, system",
    ),
    (
        "mode: work, items: 1, queues: [{ name: q, max_active: 2 }]",
        "4:55: unknown key `max_active` (did you mean `max-active`?); allowed: name, flags, max-active, affinity-scope",
    ),
];

#[test]
fn workloads_that_break_a_rule_are_refused() {
    for (workload, expected) in WORKLOADS {
        check(&with_workload(HOLD, workload), expected);
    }
    let queues: String = (0..16).map(|id| format!("{{ name: q{id} }}, ")).collect();
    check(
        &with_workload(
            HOLD,
            &format!("mode: work, items: 1, queue: own-unbound, queues: [{queues}]"),
        ),
        "4:63: `queues` has 17 entries; allowed: 0 to 16",
    );
    check(
        &with_workload("done", "mode: kthread, items: 2, body: hang"),
        "4:44: item `0` hangs, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    );
    check(
        &with_workload("done", "mode: probe, items: 2, defer: forever"),
        "4:43: item `0` is deferred forever, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    );
    check(
        &with_workload(
            "done",
            "mode: work, items: 2, body: [wait, { complete: 1 }]",
        ),
        "4:42: item `0` waits, and nothing completes it, so not all items end; allowed: `until: { hold: 100ms }`, or any other time",
    );
}

/// A plan of several modes, in lines 7 to 10.
const MIXED: [&str; 4] = [
    "name: job, mode: delayed, delay: 1ms, runs: 2",
    "name: tick, mode: hrtimer, delay: 1ms",
    "name: task, mode: kthread",
    "name: boot, mode: direct",
];

/// Expectations that items of [`MIXED`] cannot meet, in line 11.
const EXPECTATIONS: &[(&str, &str)] = &[
    (
        "lateness: { of: started, max: 8ms }",
        "11:20: item `task` has no delay to be late for; name those that are meant; allowed: `items:` of job, tick",
    ),
    (
        "lateness: { of: queued, items: [job, tick], max: 8ms }",
        "11:47: item `tick` is never queued; allowed: job",
    ),
    (
        "lateness: { of: queued, items: [task, boot], max: 8ms }",
        "11:42: item `task` has no delay to be late for; allowed: job, tick",
    ),
    (
        "interval: { from: queued, to: started, max: 8ms }",
        "11:28: item `tick` is never queued; name those that are meant; allowed: `items:` of job",
    ),
    (
        "interval: { from: armed, to: cancelled, max: 8ms }",
        "11:39: item `boot` is never cancelled; name those that are meant; allowed: `items:` of job, tick, task",
    ),
    (
        "interval: { from: armed, to: queued, items: [job, task], max: 8ms }",
        "11:60: item `task` is never queued; allowed: job",
    ),
    (
        "order: { by: queued, ids: ascending }",
        "11:23: item `tick` is never queued; name those that are meant; allowed: `items:` of job",
    ),
    (
        "order: { by: queued, ids: [job, task] }",
        "11:42: item `task` is never queued; allowed: job",
    ),
    (
        "order: { by: ended, ids: [job, tsk] }",
        "11:41: unknown item `tsk` (did you mean `task`?); allowed: job, tick, task, boot",
    ),
    (
        "order: { by: ended, ids: [job, job] }",
        "11:41: item `job` is there twice; allowed: each item once",
    ),
    (
        "order: { by: ended, ids: [0, 1] }",
        "11:36: unknown item `0`; allowed: job, tick, task, boot",
    ),
    (
        "count: { of: queued, items: [tick, task], equals: 1 }",
        "11:23: these items of phase `main` are never queued; allowed: items in mode delayed, deferrable or work",
    ),
    (
        "count: { of: cancelled, items: [boot], equals: 0 }",
        "11:23: these items of phase `main` are never cancelled; allowed: items in any mode but direct",
    ),
    (
        "count: { of: retried, items: [tick, task], equals: 0 }",
        "11:23: these items of phase `main` are never retried; allowed: items in mode probe, or with `runs` above 1",
    ),
    (
        "count: { of: ended, items: [], equals: 0 }",
        "11:37: `items` has no entries; allowed: 1 to 4096 entries",
    ),
    (
        "count: { of: ended, items: job, equals: 0 }",
        "11:37: expected a list, that is `- entry` lines or [entry, entry]",
    ),
    (
        "count: { of: ended, items: [job, jbo], equals: 0 }",
        "11:43: unknown item `jbo` (did you mean `job`?); allowed: job, tick, task, boot",
    ),
    (
        "count: { of: ended, items: [job, job], equals: 0 }",
        "11:43: item `job` is there twice; allowed: each item once",
    ),
    (
        "count: { of: { function: f }, items: [job], equals: 0 }",
        "11:47: this is not about items, so there are none to choose; allowed: no `items`",
    ),
    (
        "duration: { of: init, items: [job], max: 1ms }",
        "11:39: this is not about items, so there are none to choose; allowed: no `items`",
    ),
    (
        "duration: { of: { function: f }, items: [job], max: 1ms }",
        "11:50: this is not about items, so there are none to choose; allowed: no `items`",
    ),
    (
        "duration: { of: item, items: [jop], max: 1ms }",
        "11:40: unknown item `jop` (did you mean `job`?); allowed: job, tick, task, boot",
    ),
    (
        "concurrency: { items: [nobody], equals: 1 }",
        "11:33: unknown item `nobody`; allowed: job, tick, task, boot",
    ),
    (
        "error: { items: [job] }",
        "11:17: key `equals` is missing here",
    ),
    (
        "error: { equals: EWHAT }",
        "11:27: unknown error `EWHAT`; allowed: none, or the names of errno.h, such as EINVAL",
    ),
    (
        "error: { equals: success }",
        "11:27: unknown error `success`; allowed: none, or the names of errno.h, such as EINVAL",
    ),
    (
        "error: { equals: none, at-least: 1 }",
        "11:33: unknown key `at-least`; allowed: phase, items, equals",
    ),
    (
        "attempts: { items: [job] }",
        "11:20: this expectation has no bound, so every run would meet it; allowed: equals, at-least, at-most",
    ),
    (
        "attempts: { items: [job], equals: two }",
        "11:44: `two` is not a whole number; allowed: a whole number from 0 to 4294967295",
    ),
    (
        "attempts: { phase: main, items: [init], equals: 2 }",
        "11:43: unknown item `init`; allowed: job, tick, task, boot",
    ),
    (
        "log: { at-least: 1 }",
        "11:15: key `contains` is missing here",
    ),
    (
        "log: { contains: x }",
        "11:15: this expectation has no bound, so every run would meet it; allowed: equals, at-least, at-most",
    ),
    (
        "log: { contains: '', equals: 1 }",
        "11:27: a part of a line of the kernel log is empty; allowed: printable ASCII, at most 256 bytes",
    ),
    (
        "log: { contains: \"a\\nb\", equals: 1 }",
        "11:27: `a\\nb` is not a part of a line of the kernel log; allowed: printable ASCII, at most 256 bytes",
    ),
    (
        "log: { phase: main, contains: x, equals: 1 }",
        "11:17: unknown key `phase`; allowed: contains, equals, at-least, at-most",
    ),
];

#[test]
fn expectations_that_items_cannot_meet_are_refused() {
    for (expect, expected) in EXPECTATIONS {
        check(&with_plan("done", &MIXED, expect), expected);
    }
}

#[test]
fn expectations_of_a_uniform_workload_name_ids() {
    for (mode, expect, expected) in [
        (
            "delayed, delay: 1ms",
            "count: { of: ended, items: [3, 4], equals: 2 }",
            "3:41: 4 is out of range; allowed: a whole number from 0 to 3",
        ),
        (
            "delayed, delay: 1ms",
            "error: { items: [a], equals: EIO }",
            "3:27: `a` is not a whole number; allowed: a whole number from 0 to 3",
        ),
        (
            "work",
            "lateness: { of: started, max: 1ms }",
            "3:20: the items of phase `main` have no delay to be late for; allowed: items in mode delayed, deferrable or hrtimer",
        ),
        (
            "work",
            "lateness: { of: started, items: [1], max: 1ms }",
            "3:20: these items of phase `main` have no delay to be late for; allowed: items in mode delayed, deferrable or hrtimer",
        ),
        (
            "hrtimer, delay: 1ms",
            "lateness: { of: queued, max: 1ms }",
            "3:26: the items of phase `main` are never queued; allowed: items in mode delayed, deferrable or work",
        ),
        (
            "kthread",
            "count: { of: queued, equals: 0 }",
            "3:23: the items of phase `main` are never queued; allowed: items in mode delayed, deferrable or work",
        ),
        (
            "async",
            "count: { of: retried, equals: 0 }",
            "3:23: the items of phase `main` are never retried; allowed: items in mode probe, or with `runs` above 1",
        ),
        (
            "direct",
            "order: { by: queued, ids: [0, 1] }",
            "3:23: the items of phase `main` are never queued; allowed: items in mode delayed, deferrable or work",
        ),
    ] {
        let file =
            format!("summary: x\nworkload: {{ mode: {mode}, items: 4 }}\nexpect: [{expect}]\n");
        check(&file, expected);
    }
}

#[test]
fn names_in_a_message_stay_few() {
    let items: Vec<String> = (0..30)
        .map(|id| format!("name: item-{id}, mode: direct"))
        .collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let names: Vec<String> = (0..24).map(|id| format!("item-{id}")).collect();
    check(
        &with_plan("done", &items, "error: { items: [nobody], equals: none }"),
        &format!(
            "37:27: unknown item `nobody`; allowed: {} and 6 more",
            names.join(", ")
        ),
    );
}

/// A workload in the kernel's image, with a plan whose first item is in line 6.
fn built_in(items: &[&str], rest: &str) -> String {
    let items: String = items
        .iter()
        .map(|item| format!("  - {{ {item} }}\n"))
        .collect();
    format!("summary: x\nload: built-in\nuntil: done\nworkload:\n  plan:\n{items}{rest}")
}

const DIRECT: &[&str] = &["name: a, mode: direct, level: core"];

#[test]
fn what_a_boot_has_and_has_not() {
    let good = built_in(
        DIRECT,
        "expect: [level: { equals: core }, window: { from: boot, to: first-process, min: 1ms }]\n",
    );
    assert!(parse("x", good.as_bytes()).is_ok(), "{good}");
    let cases = [
        (
            built_in(DIRECT, "expect: [duration: { of: init, max: 1ms }]\n"),
            "7:26: a workload in the kernel's image is not loaded, and has no init of its own; allowed: windows between points of the boot",
        ),
        (
            built_in(DIRECT, "expect: [load: { error: EINVAL }]\n"),
            "7:16: a workload in the kernel's image is not loaded, and has no init of its own; allowed: windows between points of the boot",
        ),
        (
            built_in(DIRECT, "expect: [window: { from: load, to: last-ended, max: 1ms }]\n"),
            "7:26: a phase with `load: built-in` has no point `load`; allowed: boot, first-process, first-armed, last-armed, first-started, last-started, first-ended, last-ended",
        ),
        (
            built_in(DIRECT, "trace: { functions: [x] }\nexpect: [level: { equals: core }]\n"),
            "7:21: functions cannot be traced while the kernel boots; allowed: events",
        ),
        (
            built_in(
                &["name: a, mode: direct", "name: b, mode: direct, level: core, after: [a]"],
                "expect: [level: { equals: core }]\n",
            ),
            "7:51: item `b` of level core comes after `a`, which is of level device; allowed: items of its own level or an earlier one",
        ),
        (
            "summary: x\nload: built-in\nworkload: { mode: work, items: 1, start: trigger }\nexpect: [level: { equals: core }]\n".to_owned(),
            "3:42: a workload in the kernel's image is armed by initcalls, not by a trigger; allowed: load",
        ),
        (
            built_in(
                &["name: a, mode: direct, level: early"],
                "expect: [level: { equals: core }]\n",
            ),
            "6:37: unknown level `early`; allowed: core, subsys, device, late",
        ),
        (
            "summary: x\nload: build-in\nworkload: { mode: work, items: 1 }\nexpect: [level: { equals: core }]\n".to_owned(),
            "2:7: unknown load `build-in` (did you mean `built-in`?); allowed: module, built-in",
        ),
        (
            "summary: x\nworkload: { mode: work, items: 1 }\nexpect: [level: { equals: core }]\n".to_owned(),
            "3:17: only a workload in the kernel's image has initcall levels; allowed: `load: built-in` at the top level",
        ),
        (
            "summary: x\nworkload: { plan: [{ name: a, mode: work, level: core }] }\nexpect: [error: { equals: none }]\n".to_owned(),
            "2:50: only a workload in the kernel's image has initcall levels; allowed: `load: built-in` at the top level",
        ),
        (
            "summary: x\nworkload: { mode: work, items: 1 }\nexpect: [window: { from: boot, to: last-ended, max: 1s }]\n".to_owned(),
            "3:26: a phase with `load: module` has no point `boot`; allowed: load, init-start, init-end, trigger, first-armed, last-armed, first-started, last-started, first-ended, last-ended, unload, unloaded",
        ),
    ];
    for (file, expected) in cases {
        check(&file, expected);
    }
}

#[test]
fn a_workload_that_the_kernels_command_line_cannot_hold_is_refused() {
    let names: Vec<String> = (0..60)
        .map(|id| format!("name: item-with-a-long-name-{id}, mode: work"))
        .collect();
    let items: Vec<&str> = names.iter().map(String::as_str).collect();
    let file = built_in(&items, "expect: [error: { equals: none }]\n");
    let error = parse("x", file.as_bytes())
        .expect_err("too long")
        .to_string();
    assert!(
        error.contains("bytes of the kernel's command line; allowed: at most 1024"),
        "{error}"
    );
}

#[test]
fn mistakes_about_rounds_are_refused_where_they_are() {
    let soak = |keys: &str| format!("summary: x\nrounds: {{ count: 10, seed: 1 }}\n{keys}\n");
    let count = "expect: [count: { of: ended, equals: 8 }]";
    let growth = "expect: [growth: { max: 1KiB }]";
    for (text, place) in [
        (
            soak(count),
            "3:17: phase `main` has rounds, of which nothing is traced",
        ),
        (
            soak(&format!("until: done\n{growth}")),
            "3:8: a round always ends once its items have",
        ),
        (
            soak(&format!("load: built-in\n{growth}")),
            "2:9: a workload in the kernel's image is not loaded",
        ),
        (
            format!("summary: x\nworkload: {{ mode: direct, items: 1 }}\n{growth}\n"),
            "3:18: phase `main` has no rounds to grow in",
        ),
        (
            format!("summary: x\nrounds: {{ count: 1, seed: 1 }}\n{growth}\n"),
            "2:18: 1 is out of range; allowed: a whole number from 2 to 10000",
        ),
    ] {
        let error = deferinit_scenario::parse("x", text.as_bytes()).expect_err("a mistake");
        let error = error.to_string();
        assert!(error.starts_with(&format!("x:{place}")), "{error}");
    }
}
