// SPDX-License-Identifier: GPL-2.0-only

//! Texts of a real kernel, read into values.

use deferinit_trace::texts::function_profile::FunctionProfile;
use deferinit_trace::texts::hist::{self, Hist, HistValue, Key};
use deferinit_trace::texts::latency::{self, Latency, RowEvent, Sample};
use deferinit_trace::texts::stack::{self, StackTrace};

macro_rules! texts {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../data/linux-7.3.4/texts/", $name)).as_slice())),*]
    };
}

/// All of them.
pub(crate) const TEXTS: [(&str, &[u8]); 34] = texts![
    "empty-nop",
    "function0",
    "function0-off",
    "function1",
    "hist-buckets",
    "hist-graph",
    "hist-kmalloc",
    "hist-none",
    "hist-percent",
    "hist-sched_switch",
    "hist-sched_wakeup",
    "hist-stacktrace",
    "hist-sym-offset",
    "hist-timer_start",
    "hist-wakeup_latency",
    "hist-workqueue_execute_start",
    "irqsoff",
    "irqsoff-functions",
    "irqsoff-graph",
    "irqsoff-thresh",
    "irqsoff.max",
    "preemptirqsoff",
    "preemptoff",
    "preemptoff-verbose",
    "stack_max_size",
    "stack_max_size-off",
    "stack_trace",
    "stack_trace-off",
    "wakeup",
    "wakeup-events",
    "wakeup-functions",
    "wakeup_dl",
    "wakeup_dl-empty",
    "wakeup_rt",
];

fn text(name: &str) -> &'static [u8] {
    TEXTS
        .iter()
        .find_map(|(known, text)| (*known == name).then_some(*text))
        .unwrap_or_else(|| panic!("there is no {name}"))
}

#[track_caller]
fn sample(name: &str) -> Sample {
    match Latency::parse(text(name)) {
        Ok(Latency::Sample(sample)) => *sample,
        other => panic!("{name}: {other:?}"),
    }
}

/// Holds what every latency trace must have, whatever it is, against the text itself.
#[track_caller]
fn check_latency(name: &str, latency_us: u64, task: (&str, i32), cpu: u32) -> Sample {
    let sample = sample(name);
    assert_eq!((sample.latency_us, sample.cpu), (latency_us, cpu));
    assert_eq!((sample.task.comm.as_str(), sample.task.pid), task);
    assert_eq!(
        (sample.release.as_str(), sample.preemption.as_str()),
        ("7.3.4", "PREEMPT")
    );
    assert_eq!((sample.online_cpus, sample.lost.marks), (Some(2), 0));
    let lines = String::from_utf8_lossy(text(name));
    let frames: usize = sample
        .rows
        .iter()
        .map(|row| match &row.event {
            RowEvent::Stack { frames } => frames.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.starts_with(" => "))
            .count(),
        frames
    );
    let rows = lines
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with(" => ") && !line.is_empty());
    assert_eq!(rows.count(), sample.rows.len());
    assert!(
        sample.rows.is_sorted_by_key(|row| row.at),
        "{:?}",
        sample.rows
    );
    sample
}

#[test]
fn sections_have_their_ends() {
    for (name, latency, task, cpu, started_at, ended_at) in [
        (
            "irqsoff",
            4007,
            ("swapper/0", 0),
            0,
            "irqentry_enter",
            "handle_softirqs",
        ),
        (
            "irqsoff-thresh",
            17,
            ("busybox", 1),
            1,
            "do_syscall_64",
            "do_syscall_64",
        ),
    ] {
        let sample = check_latency(name, latency, task, cpu);
        let section = sample.section.expect("it is a section");
        assert_eq!(
            (section.started_at.as_str(), section.ended_at.as_str()),
            (started_at, ended_at)
        );
        assert_eq!(sample.entries as usize, sample.rows.len());
        let last = sample.rows.last().expect("there are rows");
        assert!(
            matches!(&last.event, RowEvent::Stack { frames } if !frames.is_empty()),
            "{last:?}"
        );
    }
}

#[test]
fn rows_are_typed() {
    let sample = sample("irqsoff");
    let first = &sample.rows[0];
    assert_eq!(
        (
            first.comm.as_str(),
            first.pid,
            first.cpu,
            first.flags.as_str(),
            first.at
        ),
        ("<idle>", 0, 0, "d..1.", 4)
    );
    assert_eq!(
        first.event,
        RowEvent::Other {
            text: "irqentry_enter".to_owned()
        }
    );
    assert_eq!(
        sample.rows[2].event,
        RowEvent::Call {
            function: "tracer_hardirqs_on".to_owned(),
            parent: "handle_softirqs".to_owned()
        }
    );
}

#[test]
fn functions_between_are_rows_of_their_own() {
    for (name, tracer) in [
        ("irqsoff-functions", "irqsoff"),
        ("wakeup-functions", "wakeup"),
    ] {
        let sample = sample(name);
        assert_eq!(sample.tracer, tracer);
        let calls = sample
            .rows
            .iter()
            .filter(|row| matches!(row.event, RowEvent::Call { .. }))
            .count();
        assert!(calls > 50, "{name}: {calls}");
        assert_eq!(sample.entries as usize, sample.rows.len(), "{name}");
    }
}

#[test]
fn wakeups_have_both_tasks() {
    for (name, latency, pid, policy, prio, cpu) in [
        ("wakeup", 455, 45, 1, 49, 1),
        ("wakeup_dl", 10051, 93, 6, 255, 0),
    ] {
        let sample = check_latency(name, latency, ("dl", pid), cpu);
        assert_eq!((sample.task.policy, sample.section), (policy, None));
        let woken = sample.rows.iter().find_map(|row| match &row.event {
            RowEvent::Wakeup(wakeup) => Some(wakeup),
            _ => None,
        });
        let woken = woken.expect("there is a wake-up");
        assert_eq!(
            (
                woken.to.pid,
                woken.to.prio,
                woken.to.state,
                woken.comm.as_str()
            ),
            (pid, prio, 'R', "dl")
        );
        assert_eq!(
            (woken.from.pid, woken.from.prio, woken.from.state),
            (0, 120, 'R')
        );
        let switched = sample
            .rows
            .iter()
            .any(|row| matches!(&row.event, RowEvent::Switch(switch) if switch.to.pid == pid));
        assert!(switched, "{name}");
    }
    assert_eq!(sample("wakeup_rt").latency_us, 413);
    let with_events = sample("wakeup-events");
    assert!(with_events.rows.iter().any(|row| {
        matches!(&row.event, RowEvent::Other { text } if text.starts_with("sched_switch: prev_comm="))
    }));
}

#[test]
fn rows_of_function_graph_have_durations() {
    let sample = sample("irqsoff-graph");
    assert_eq!(sample.latency_us, 16228);
    let second = &sample.rows[2];
    assert_eq!(
        (
            second.comm.as_str(),
            second.pid,
            second.cpu,
            second.flags.as_str(),
            second.at
        ),
        ("busybox", 1, 1, "d.s2.", 35)
    );
    assert_eq!(
        second.event,
        RowEvent::Graph {
            duration_ns: Some(10_960),
            text: "      preempt_count_add();".to_owned()
        }
    );
    assert!(
        matches!(&sample.rows[1].event, RowEvent::Graph { duration_ns: None, text } if text.ends_with("irq_enter_rcu() {"))
    );
}

#[test]
fn nothing_measured_is_no_sample_and_never_0() {
    let none = Latency::NoSample {
        tracer: "wakeup_dl".to_owned(),
    };
    assert_eq!(Latency::parse(text("wakeup_dl-empty")), Ok(none.clone()));
    assert_eq!(none.microseconds(), None);
    assert_eq!(latency::max_latency_us(b"0\n"), Ok(None));
    assert_eq!(latency::max_latency_us(text("irqsoff.max")), Ok(Some(4007)));
}

#[track_caller]
fn wrong_latency(text: &[u8], expected: &str) {
    assert_eq!(
        Latency::parse(text).expect_err("it is wrong").to_string(),
        expected
    );
}

#[test]
fn errors_of_latency_traces_name_the_line() {
    let tracers =
        "`# tracer: NAME` with irqsoff, preemptoff, preemptirqsoff, wakeup, wakeup_rt or wakeup_dl";
    wrong_latency(
        text("empty-nop"),
        &format!("line 1: expected {tracers}, found \"# tracer: nop\""),
    );
    wrong_latency(b"", &format!("line 1: expected {tracers}, found \"\""));
    let good = String::from_utf8_lossy(text("irqsoff")).into_owned();
    wrong_latency(
        good.replace("4007 us", "x us").as_bytes(),
        "line 5: expected `# latency: N us, #ENTRIES/WRITTEN, CPU#N | (M:MODEL VP:0, KP:0, SP:0 HP:0 #P:CPUS)`, \
         found \"# latency: x us, #4/4, CPU#0 | (M:PREEMPT VP:0, KP:0, SP:0 HP:0 #P:2)\"",
    );
    wrong_latency(
        good.replace("4003us", "4003 s").as_bytes(),
        "line 23: expected `COMM-PID CPUFLAGS TIMEus: TEXT`, or a row of function_graph, found \"  <idle>-0         0d.s1. 4003 s : handle_softirqs\"",
    );
    let error = Latency::parse(text("preemptoff-verbose"))
        .expect_err("it is unsupported")
        .to_string();
    assert!(
        error.starts_with(
            "line 13: expected a row without the option verbose, which is unsupported, found"
        ),
        "{error}"
    );
}

#[track_caller]
fn hists(name: &str) -> Vec<Hist> {
    let hists = hist::parse(text(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for hist in &hists {
        assert!(
            hist.is_active && hist.totals.dropped == 0,
            "{name}: {:?}",
            hist.totals
        );
        // A hit count that is shown adds up to the hits; the guest counted on while the text was made.
        let shown: u64 = hist
            .entries
            .iter()
            .flat_map(|entry| entry.values.first())
            .filter(|(name, _)| name == "hitcount")
            .map(|(_, value)| match value {
                HistValue::Sum { value } => *value,
                _ => 0,
            })
            .sum();
        assert!(
            shown == 0 || shown.abs_diff(hist.totals.hits) <= hist.totals.hits / 10,
            "{name}: {shown} of {:?}",
            hist.totals
        );
    }
    hists
}

fn key(hist: &Hist, entry: usize, field: usize) -> &Key {
    &hist.entries[entry].key[field].1
}

#[test]
fn keys_and_values_of_histograms_are_typed() {
    let switch = hists("hist-sched_switch");
    assert_eq!(
        (switch.len(), switch[0].totals.hits, switch[0].entries.len()),
        (2, 385, 12)
    );
    assert_eq!(
        *key(&switch[0], 2, 0),
        Key::Text {
            value: "ls".to_owned()
        }
    );
    assert_eq!(*key(&switch[0], 2, 1), Key::Number { value: 120 });
    assert_eq!(
        switch[0].entries[2].values,
        [("hitcount".to_owned(), HistValue::Sum { value: 3 })]
    );
    let tracked = &switch[1].entries[0].tracked[0];
    assert_eq!((tracked.handler.as_str(), tracked.value), ("max", 160));
    assert_eq!(
        tracked.saved,
        [
            (
                "next_comm".to_owned(),
                Key::Text {
                    value: "usleep".to_owned()
                }
            ),
            ("prev_pid".to_owned(), Key::Number { value: 0 }),
        ]
    );
    let kmalloc = hists("hist-kmalloc");
    assert_eq!(
        *key(&kmalloc[0], 0, 0),
        Key::Task {
            comm: "busybox".to_owned(),
            pid: 1
        }
    );
    assert_eq!(
        kmalloc[0].entries[0].values[1],
        (
            "bytes_alloc".to_owned(),
            HistValue::Sum { value: 3_266_296 }
        )
    );
    let work = hists("hist-workqueue_execute_start");
    assert_eq!(
        *key(&work[0], 0, 0),
        Key::Symbol {
            address: 0xffff_ffff_810d_f0c0,
            symbol: "process_srcu".to_owned()
        }
    );
    let sites = hists("hist-sym-offset");
    assert_eq!(
        *key(&sites[0], 0, 0),
        Key::Symbol {
            address: 0xffff_ffff_8116_cf64,
            symbol: "event_hist_trigger_parse+0x8e4/0x1bb0".to_owned()
        }
    );
    let wakeup = hists("hist-sched_wakeup");
    assert_eq!(*key(&wakeup[0], 0, 0), Key::Range { from: 17, to: 32 });
    assert_eq!(*key(&wakeup[0], 3, 0), Key::Range { from: 0, to: 1 });
    assert_eq!(
        (wakeup[1].entries.len(), wakeup[1].totals.entries),
        (12, 12)
    );
    let buckets = hists("hist-buckets");
    assert_eq!(
        *key(&buckets[0], 0, 0),
        Key::Range {
            from: 4_294_894_200,
            to: 4_294_894_299
        }
    );
    assert_eq!(*key(&buckets[0], 0, 1), Key::Number { value: 364_380_160 });
    assert_eq!(
        buckets[0].entries[0].values,
        [(
            "hitcount".to_owned(),
            HistValue::Percent { value: Some(6.25) }
        )]
    );
    let expiry = hists("hist-timer_start");
    assert_eq!(*key(&expiry[0], 0, 0), Key::Number { value: 0xffff_28f3 });
    let graph = hists("hist-graph");
    assert_eq!(
        graph[0].entries[0].values,
        [
            ("hitcount".to_owned(), HistValue::Sum { value: 6 }),
            ("prio".to_owned(), HistValue::Bar { length: 5 }),
            ("prio".to_owned(), HistValue::Percent { value: Some(20.68) }),
        ]
    );
    let stacks = hists("hist-stacktrace");
    let Key::Stack { frames } = key(&stacks[0], 0, 0) else {
        panic!("{:?}", stacks[0].entries[0]);
    };
    assert_eq!(
        (frames.len(), frames[0].as_str()),
        (14, "try_to_wake_up+0x4e7/0x530")
    );
    assert_eq!(
        (
            hists("hist-percent").len(),
            hists("hist-wakeup_latency").len(),
            hists("hist-none").len()
        ),
        (1, 2, 0)
    );
}

#[test]
fn errors_of_histograms_name_the_line() {
    let good = String::from_utf8_lossy(text("hist-kmalloc")).into_owned();
    for (from, to, expected) in [
        (
            "# event histogram",
            "# histogram",
            "line 1: expected `# event histogram`, found \"# histogram\"",
        ),
        (
            " [active]",
            "",
            "line 3: expected `# trigger info: hist:keys=.. [active]`, or `[paused]`, found \"# trigger info: hist:keys=common_pid.execname:vals=hitcount,bytes_alloc:sort=bytes_alloc.descending:size=256\"",
        ),
        (
            "{ common_pid: busybox         [       167]",
            "{ pid: x [ 167]",
            "line 9: expected `{ KEY: VALUE, .. } NAME: VALUE ..` with the trigger's keys, found \"{ pid: x [ 167]\"",
        ),
        (
            "bytes_alloc:        128",
            "bytes_alloc: x",
            "line 9: expected `NAME: VALUE` behind the key, found \" hitcount:          1  bytes_alloc: x\"",
        ),
        (
            "Entries: 4",
            "Entries: 5",
            "line 14: expected as many entries as its totals say, found \"4 of 5\"",
        ),
        (
            "    Dropped: 0\n",
            "",
            "line 14: expected `    Dropped: N`, found \"\"",
        ),
        (
            "\nTotals:",
            "",
            "line 11: expected an entry `{ KEY: .. } ..`, or `Totals:`, found \"    Hits: 62794\"",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let broken = good.replacen(from, to, 1);
        assert_eq!(
            hist::parse(broken.as_bytes())
                .expect_err("it is wrong")
                .to_string(),
            expected
        );
    }
}

#[test]
fn a_key_may_look_like_the_text_around_it() {
    let text = b"# event histogram\n#\n# trigger info: hist:keys=comm,pid:vals=hitcount:sort=hitcount:size=2048 [paused]\n#\n\n\
        { comm: a, b } c: 1                                       , pid:          7 } hitcount:          1\n\n\
        Totals:\n    Hits: 1\n    Entries: 1\n    Dropped: 3\n";
    let hists = hist::parse(text).expect("it is as the kernel writes it");
    assert_eq!(
        *key(&hists[0], 0, 0),
        Key::Text {
            value: "a, b } c: 1".to_owned()
        }
    );
    assert_eq!((hists[0].is_active, hists[0].totals.dropped), (false, 3));
}

#[test]
fn the_function_profile_has_times() {
    let profile = FunctionProfile::parse(text("function0")).expect("a kernel wrote it");
    let first = &profile.functions[0];
    let times = first.times.expect("it has times");
    assert_eq!(
        (first.name.as_str(), first.calls, first.may_be_cut),
        ("vfs_statx", 9738, false)
    );
    assert_eq!(
        (times.total_ns, times.avg_ns, times.variance_us2),
        (1_207_333_000, 123_981, 1048.571)
    );
    let second = profile.functions[1].times.expect("it has times");
    assert_eq!(
        second.total_ns, 117_781_100,
        "the kernel leaves digits out of long times"
    );
    for profiled in &profile.functions {
        let times = profiled.times.expect("it has times");
        assert!(
            (times.total_ns / profiled.calls).abs_diff(times.avg_ns) <= 1000,
            "{profiled:?}"
        );
    }
    assert_eq!(
        FunctionProfile::parse(text("function0-off")).map(|profile| profile.functions.len()),
        Ok(0)
    );
    assert_eq!(
        FunctionProfile::parse(text("function1")).map(|profile| profile.functions.is_empty()),
        Ok(false)
    );
    let without = b"  Function                               Hit\n  --------                               ---\n  a_name_of_exactly_thirty_lette       1234\n";
    let profile = FunctionProfile::parse(without).expect("a kernel without times writes it");
    assert_eq!(
        (
            profile.has_times,
            profile.functions[0].calls,
            profile.functions[0].may_be_cut
        ),
        (false, 1234, true)
    );
}

#[test]
fn errors_of_the_function_profile_name_the_line() {
    let good = String::from_utf8_lossy(text("function0")).into_owned();
    let broken = good.replacen("1207333 us", "1207333", 1);
    let error = FunctionProfile::parse(broken.as_bytes())
        .expect_err("a unit is missing")
        .to_string();
    assert!(
        error.starts_with(
            "line 3: expected `FUNCTION  CALLS  TOTAL us  AVERAGE us  VARIANCE us`, found"
        ),
        "{error}"
    );
    assert!(FunctionProfile::parse(b"").is_err());
}

#[test]
fn the_stack_trace_has_its_frames() {
    let trace = StackTrace::parse(text("stack_trace")).expect("a kernel wrote it");
    let maximum = stack::max_size_bytes(text("stack_max_size")).expect("it is a number");
    assert_eq!((trace.frames.len(), trace.is_disabled), (29, false));
    let first = &trace.frames[0];
    assert_eq!(
        (first.depth_bytes, first.size_bytes, first.location.as_str()),
        (3888, 48, "ktime_get+0x9/0xf0")
    );
    assert_eq!(maximum, Some(first.depth_bytes));
    let sizes: i64 = trace.frames.iter().map(|frame| frame.size_bytes).sum();
    assert_eq!(
        Ok(sizes),
        first.depth_bytes.try_into(),
        "the frames' sizes add up to the depth"
    );
    let off = StackTrace::parse(text("stack_trace-off")).expect("a kernel wrote it");
    assert!(off.frames.is_empty() && off.is_disabled);
    assert_eq!(stack::max_size_bytes(text("stack_max_size-off")), Ok(None));
}

#[test]
fn a_stack_trace_that_lacks_a_frame_is_an_error() {
    let good = String::from_utf8_lossy(text("stack_trace")).into_owned();
    let cut: String = good
        .lines()
        .take(20)
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        StackTrace::parse(cut.as_bytes())
            .expect_err("frames are missing")
            .to_string(),
        "line 21: expected as many frames as the first line says, found \"18 of 29\""
    );
    let broken = good.replacen("  1)", "  7)", 1);
    let error = StackTrace::parse(broken.as_bytes())
        .expect_err("the index is wrong")
        .to_string();
    assert!(
        error.starts_with("line 4: expected `INDEX)    DEPTH    SIZE   LOCATION`"),
        "{error}"
    );
}

#[test]
fn what_stands_between_the_rows_of_a_latency_trace_is_read() {
    // No capture has these: made by the formats in kernel/trace/trace.c and trace_output.c.
    let good = String::from_utf8_lossy(text("irqsoff")).into_owned();
    let row = "  <idle>-0         0d.s1. 4003us : handle_softirqs\n";
    let with = |lines: &str| {
        let text = good.replacen(row, &format!("{lines}{row}"), 1);
        assert_ne!(text, good);
        match Latency::parse(text.as_bytes()) {
            Ok(Latency::Sample(sample)) => *sample,
            other => panic!("{lines}: {other:?}"),
        }
    };
    let lost = with("CPU:0 [LOST 12 EVENTS]\nCPU:1 [LOST EVENTS]\n").lost;
    assert_eq!((lost.marks, lost.events), (2, 12));
    assert_eq!(
        with("##### CPU 1 buffer started ####\n").rows.len(),
        sample("irqsoff").rows.len()
    );
    let marker = with(" my-prog-12345678 7dNh4. 4001us!: tracing_mark_write: one\ntwo\n");
    assert_eq!(
        (
            marker.rows[1].comm.as_str(),
            marker.rows[1].pid,
            marker.rows[1].cpu
        ),
        ("my-prog", 12_345_678, 7)
    );
    assert_eq!(
        marker.rows[1].event,
        RowEvent::Other {
            text: "tracing_mark_write: one\ntwo".to_owned()
        }
    );
    let counter = with("  <idle>-0         0d..1.    9: schedule <-do_idle\n");
    assert_eq!(
        counter.rows[1].at, 9,
        "a clock that does not count nanoseconds has no unit"
    );
    assert_eq!(
        Latency::parse(good.replace(" => __irq_exit_rcu", " =>__irq").as_bytes())
            .expect_err("that is no frame")
            .line,
        26
    );
}

#[test]
fn what_no_capture_has_of_histograms_is_read() {
    // Made by the formats in kernel/trace/trace_events_hist.c.
    let made = |keys: &str, entry: &str| {
        let text = format!(
            "# event histogram\n#\n# trigger info: hist:keys={keys}:vals=hitcount,len.hex:sort=hitcount:size=2048 if pid:x == 1 [active]\n#\n\n\
             {entry}\nSnapshot taken (see tracing/snapshot).  Details:\n\ttriggering value {{ onmax($x) }}:         12\t\
             triggered by event with key: {{ pid:          1 }}\n\nTotals:\n    Hits: 1\n    Entries: 1\n    Dropped: 0\n"
        );
        hist::parse(text.as_bytes())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .remove(0)
    };
    let call = made(
        "id.syscall",
        "{ id: sys_openat                    [257] } hitcount:          1  len:         ff\n",
    );
    assert_eq!(
        *key(&call, 0, 0),
        Key::Syscall {
            name: "sys_openat".to_owned(),
            number: 257
        }
    );
    assert_eq!(
        call.entries[0].values[1],
        ("len".to_owned(), HistValue::Sum { value: 255 })
    );
    assert!(call.snapshot.is_some_and(|text| text.contains("onmax($x)")));
    let stack = made(
        "st.stacktrace,pid",
        "{ st.stacktrace         schedule+0x10/0x20\n         do_idle+0x1/0x2\n, pid:          7} hitcount:          1\n",
    );
    assert_eq!(
        *key(&stack, 0, 0),
        Key::Stack {
            frames: vec![
                "schedule+0x10/0x20".to_owned(),
                "do_idle+0x1/0x2".to_owned()
            ]
        }
    );
    let error = made(
        "pid",
        "{ pid:          1 } hitcount:          1  len (%):[ERROR]\n",
    );
    assert_eq!(
        error.entries[0].values[1],
        ("len".to_owned(), HistValue::Percent { value: None })
    );
}
