// SPDX-License-Identifier: GPL-2.0-only

//! Builds timelines from ring buffers written byte by byte, whole ones and broken ones.

mod attempts;
mod boots;
mod commands;
mod queries;
mod record;
mod rounds;
mod trace;

use deferinit_timeline::{
    CallIntegrity, Ending, FinishCause, Item, ItemEvent, MAX_ITEMS, MAX_PHASES, Timeline,
};
use trace::{Setting, timeline, timeline_of};

/// A phase with two items on two CPUs, one of which ends with an error, and the module's init.
const PHASE: &str = "
    1000 0 50 mark phase-begin main
    1100 0 50 mark load
    1200 0 50 initcall_start
    1250 0 50 in deferred_init 0
    1300 0 50 armed 0 1290 50000000
    1350 1 50 armed 1 1340 60000000
    1390 0 50 out deferred_init 0 1240 1380
    1400 0 50 initcall_finish 0
    1500 0 50 mark loaded 0
    1550 0 7 work
    51000000 0 0 queued 0 50999990 12
    51001000 0 8 started 0 51000990
    51001100 0 8 in deferred_item_body 1
    51001900 1 8 out deferred_item_body 1 51001090 51001890
    51002000 1 8 ended 0 51001990 0
    61000000 1 0 queued 1 60999990 15
    61001000 1 9 started 1 61000990
    61002000 1 9 ended 1 61001990 -22
    70000000 0 50 mark done
    70001000 0 50 mark unload
    70002000 0 50 mark unloaded 0
    70003000 0 50 mark phase-end main
";

/// `PHASE` with one line replaced; an empty replacement takes it out.
#[track_caller]
fn phase_with(line: &str, replacement: &str) -> Timeline {
    assert!(PHASE.contains(line), "{line:?} is no line of PHASE");
    timeline(&PHASE.replace(line, replacement))
}

/// Building the timeline notes exactly these anomalies.
#[track_caller]
fn check_anomalies(timeline: &Timeline, wanted: &[&str]) {
    let found: Vec<&str> = timeline
        .anomalies
        .first
        .iter()
        .map(|anomaly| anomaly.message.as_str())
        .collect();
    assert_eq!(found, wanted);
    assert_eq!(
        timeline.anomalies.total,
        u64::try_from(wanted.len()).expect("few")
    );
}

#[test]
fn ordinary_phase_is_read_whole() {
    let timeline = timeline(PHASE);
    check_anomalies(&timeline, &[]);
    assert_eq!(timeline.integrity.problems(), Vec::<String>::new());
    assert_eq!(timeline.trace_clock, "local");
    assert_eq!((timeline.records, timeline.integrity.decoded()), (22, 22));
    assert_eq!(timeline.first.map(|first| first.0), Some(1000));
    assert_eq!(timeline.last.map(|last| last.0), Some(70_003_000));

    let [phase] = timeline.phases.as_slice() else {
        panic!("one phase")
    };
    assert_eq!(phase.name, "main");
    assert_eq!(phase.load.map(|load| load.at.0), Some(1100));
    assert_eq!(phase.loaded.map(|loaded| loaded.status), Some(0));
    assert_eq!(phase.init.and_then(|init| init.nanoseconds()), Some(200));
    assert_eq!(phase.trigger, None);
    assert_eq!(
        phase.finish.map(|finish| finish.cause),
        Some(FinishCause::Done)
    );
    assert_eq!(phase.unloaded.map(|unloaded| unloaded.status), Some(0));
    assert_eq!(phase.end.map(|end| end.at.0), Some(70_003_000));
}

#[test]
fn item_keeps_its_times_and_the_records_that_show_them() {
    let timeline = timeline(PHASE);
    let items: &[Item] = &timeline.phases[0].items;
    assert_eq!(items.iter().map(|item| item.id).collect::<Vec<_>>(), [0, 1]);
    let armed = items[1].armed.expect("item 1 is armed");
    assert_eq!((armed.delay_ns, armed.delay_jiffies), (60_000_000, 16));
    assert_eq!(
        (
            armed.moment.at.0,
            armed.moment.recorded.0,
            armed.moment.cpu,
            armed.moment.pid
        ),
        (1340, 1350, 1, 50)
    );
    assert_eq!(items[0].queued.map(|queued| queued.expires), Some(12));
    assert_eq!(items[1].ended.map(|ended| ended.status), Some(-22));
    assert_eq!(items[1].moment(ItemEvent::Cancelled), None);
}

#[test]
fn functions_are_named_and_timed_by_the_kernel() {
    let timeline = timeline(&PHASE.replace(
        "deferred_init ",
        "_RNvCs2kMns6DTmS1_18test_deferred_main4body ",
    ));
    let functions = &timeline.phases[0].functions;
    let names: Vec<(&str, &str, Option<&str>)> = functions
        .iter()
        .map(|function| {
            (
                function.name.as_str(),
                function.short_name(),
                function.module.as_deref(),
            )
        })
        .collect();
    let module = Some("test_deferred");
    assert_eq!(
        names,
        [
            ("deferred_item_body", "deferred_item_body", module),
            ("test_deferred_main::body", "body", module)
        ]
    );
    let span = functions[0].spans[0];
    assert_eq!(
        (
            span.nanoseconds(),
            span.entry_cpu,
            span.exit_cpu,
            span.depth,
            span.pid
        ),
        (800, 0, 1, 1, 8)
    );
    assert!(functions[1].is_named("body") && functions[1].is_named("test_deferred_main::body"));
    assert!(!functions[1].is_named("test_deferred_main"));
    assert_eq!(
        timeline.integrity.calls,
        CallIntegrity {
            complete: 2,
            ..CallIntegrity::default()
        }
    );
}

#[test]
fn function_outside_every_phase_stands_apart() {
    let timeline = timeline("500 0 3 in deferred_init 0\n 600 0 3 out deferred_init 0 490 590");
    assert_eq!(timeline.functions[0].spans[0].nanoseconds(), 100);
    check_anomalies(&timeline, &[]);
}

#[test]
fn same_input_gives_the_same_bytes_and_they_read_back() {
    let bytes = |timeline: &Timeline| serde_json::to_string(timeline).expect("plain data");
    let (one, other) = (timeline(PHASE), timeline(PHASE));
    assert_eq!(bytes(&one), bytes(&other));
    assert!(bytes(&one).starts_with("{\"format_version\":1,\"ending\":{\"kind\":\"complete\"},"));
    assert_eq!(
        serde_json::from_str::<Timeline>(&bytes(&one)).expect("its own format"),
        one
    );
}

#[test]
fn other_version_of_the_file_is_refused() {
    let bytes = serde_json::to_string(&timeline(PHASE)).expect("plain data");
    let error = serde_json::from_str::<Timeline>(&bytes.replacen(
        "\"format_version\":1",
        "\"format_version\":2",
        1,
    ))
    .expect_err("version 2");
    assert!(
        error
            .to_string()
            .contains("format_version is 2 but only 1 can be read"),
        "{error}"
    );
}

#[test]
fn refused_load_ends_the_phase_without_an_unload() {
    let timeline = timeline(
        "1000 0 50 mark phase-begin main
         1100 0 50 mark load
         1200 0 50 initcall_start
         1300 0 50 initcall_finish -22
         1400 0 50 mark loaded -22
         1500 0 50 mark phase-end main",
    );
    check_anomalies(&timeline, &[]);
    assert_eq!(
        timeline.phases[0].loaded.map(|loaded| loaded.status),
        Some(-22)
    );
    assert_eq!(timeline.phases[0].finish, None);
}

#[test]
fn deadline_may_be_reported_by_the_agents_other_thread() {
    let timeline = phase_with("70000000 0 50 mark done", "70000000 0 1 mark deadline");
    check_anomalies(&timeline, &[]);
    assert_eq!(
        timeline.phases[0].finish.map(|finish| finish.cause),
        Some(FinishCause::Deadline)
    );
}

#[test]
fn triggered_and_held_phase_with_a_cancelled_item_is_read() {
    let script = PHASE
        .replace("1550 0 7 work", "1550 0 50 mark trigger")
        .replace("mark done", "mark held");
    let script = script.replace(
        "61001000 1 9 started 1 61000990",
        "70001500 0 50 cancelled 1 70001490",
    );
    let script = script.replace("61002000 1 9 ended 1 61001990 -22", "");
    let timeline = timeline(&script);
    check_anomalies(&timeline, &[]);
    assert_eq!(
        timeline.phases[0].trigger.map(|trigger| trigger.at.0),
        Some(1550)
    );
    assert_eq!(
        timeline.phases[0].items[1]
            .cancelled
            .map(|moment| moment.at.0),
        Some(70_001_490)
    );
}

#[test]
fn items_of_two_phases_stand_apart() {
    let later = |time: &str| (100_000_000 + time.parse::<u64>().expect("a time")).to_string();
    let mut second = String::new();
    for line in PHASE.replace("main", "second").lines() {
        let mut words: Vec<String> = line.trim().split(' ').map(str::to_owned).collect();
        let [time, _, _, kind, arguments @ ..] = words.as_mut_slice() else {
            continue;
        };
        *time = later(time);
        if let ("armed" | "queued" | "started" | "ended", [_, time_ns, ..]) =
            (kind.as_str(), arguments)
        {
            *time_ns = later(time_ns);
        }
        second += &format!("{}\n", words.join(" "));
    }
    let timeline = timeline(&format!("{PHASE}{second}"));
    check_anomalies(&timeline, &[]);
    assert_eq!(
        timeline
            .phases
            .iter()
            .map(|phase| phase.name.as_str())
            .collect::<Vec<_>>(),
        ["main", "second"]
    );
    assert!(
        timeline
            .phases
            .iter()
            .all(|phase| phase.items.len() == 2 && phase.functions.len() == 2)
    );
}

#[test]
fn initcalls_of_others_are_not_the_modules() {
    let timeline = phase_with(
        "1550 0 7 work",
        "1550 0 7 initcall_start\n 1560 0 50 initcall_finish 0",
    );
    check_anomalies(&timeline, &[]);
    assert_eq!(
        timeline.phases[0].init.and_then(|init| init.nanoseconds()),
        Some(200)
    );
}

#[test]
fn a_host_that_stops_the_guest_sets_an_events_two_times_apart() {
    let script = PHASE.replace(
        "51001000 0 8 started 0 51000990",
        "51001000 0 8 started 0 50000999",
    );
    let of = |longest_stall_ns| {
        let setting = Setting {
            longest_stall_ns,
            ..Setting::default()
        };
        timeline_of(&script, setting)
    };
    check_anomalies(&of(1_000_000_000), &[]);
    check_anomalies(
        &of(0),
        &[
            "deferred_item_started id=0 has time_ns 0.050000999, long before its record at 0.051001000",
        ],
    );
}

#[test]
fn item_events_that_cannot_be_are_anomalies() {
    let started = "51001000 0 8 started 0 51000990";
    let ended = "51002000 1 8 ended 0 51001990 0";
    let cases: [(&str, &str, &str); 24] = [
        (
            started,
            "51001000 0 8 started 0 50000999",
            "deferred_item_started id=0 has time_ns 0.050000999, long before its record at 0.051001000",
        ),
        (
            "1300 0 50 armed 0 1290 50000000",
            "1300 0 50 armed 0 1290 50000000\n 1301 0 50 armed 0 1291 50000000",
            "item 0 of phase main is armed a second time",
        ),
        (
            "1300 0 50 armed 0 1290 50000000",
            "",
            "item 0 of phase main ran but was never armed",
        ),
        (
            ended,
            "51001500 0 8 started 0 51001490\n 51002000 1 8 ended 0 51001990 0",
            "item 0 of phase main is started again while attempt 1 runs",
        ),
        (
            ended,
            "51002000 1 8 ended 0 51001990 0\n 51003000 1 8 started 0 51002990",
            "item 0 of phase main is started after it ended",
        ),
        (
            started,
            "51000999 0 8 cancelled 0 51000980\n 51001000 0 8 started 0 51000990",
            "item 0 of phase main is started after it was cancelled",
        ),
        (
            ended,
            "51001700 0 8 retried 0 51001690 1 -11\n 51001800 0 8 started 0 51001680",
            "item 0 of phase main is started again before attempt 1 was over",
        ),
        (
            ended,
            "51002000 1 8 ended 0 51001990 0\n 51002100 1 8 retried 0 51002090 1 -11",
            "item 0 of phase main is retried but does not run",
        ),
        (
            ended,
            "51002000 1 8 retried 0 51000980 1 -11",
            "item 0 of phase main is retried before it started",
        ),
        (
            ended,
            "51002000 1 8 retried 0 51001990 2 -11",
            "item 0 of phase main is retried after attempt 2, but this is attempt 1",
        ),
        (
            ended,
            "51002000 1 8 retried 0 51001990 1 -5",
            "item 0 of phase main is retried with error -5, but only -517 and -11 make it so",
        ),
        (
            ended,
            "51002000 1 8 ended 0 51001990 5",
            "item 0 of phase main ended with 5, which is no errno",
        ),
        (
            ended,
            "51001500 1 8 retried 0 51001490 1 -11\n 51002000 1 8 ended 0 51001990 0",
            "item 0 of phase main ended but was not started again",
        ),
        (
            started,
            "51000999 0 8 cancelled 0 51000980",
            "item 0 of phase main ended after it was cancelled",
        ),
        (
            ended,
            "51002000 1 8 cancelled 0 51001990",
            "item 0 of phase main was cancelled as pending but runs",
        ),
        (
            ended,
            "51002000 1 8 ended 0 51001990 0\n 51002100 1 8 ended 0 51002090 0",
            "item 0 of phase main ended a second time",
        ),
        (
            started,
            "51001000 0 8 started 4096 51000990",
            "deferred_item_started has id 4096, but ids are below 4096",
        ),
        (
            started,
            "51001000 0 8 started 0 61000990",
            "deferred_item_started id=0 has time_ns 0.061000990, later than its record",
        ),
        (started, "", "item 0 of phase main ended but never started"),
        (
            started,
            "51001000 0 8 started 0 51001995",
            "item 0 of phase main ended before it started",
        ),
        (
            "70001000 0 50 mark unload",
            "70001000 0 50 mark unload\n 70001500 0 50 cancelled 1 70001490",
            "item 1 of phase main was cancelled after it ended",
        ),
        (
            "1550 0 7 work",
            "1550 0 7 lost 0 1540",
            "event deferred_item_lost of the module is unknown",
        ),
        (
            "70002000 0 50 mark unloaded 0",
            "70002000 0 50 mark unloaded 0\n 70002500 0 50 cancelled 5 70002490",
            "item 5 has an event while phase main has no module loaded",
        ),
        (
            "70003000 0 50 mark phase-end main",
            "70003000 0 50 mark phase-end main\n 70004000 0 50 started 5 70003990",
            "deferred_item_started id=5 is outside every phase",
        ),
    ];
    for (line, replacement, anomaly) in cases {
        let timeline = phase_with(line, replacement);
        // An item whose start is not taken ends without one.
        let messages: Vec<&str> = timeline
            .anomalies
            .first
            .iter()
            .map(|anomaly| anomaly.message.as_str())
            .collect();
        assert!(
            messages.contains(&anomaly),
            "{replacement:?} gives {messages:?}"
        );
    }
    assert!(
        timeline(PHASE).phases[0]
            .items
            .iter()
            .all(|item| item.id < MAX_ITEMS)
    );
}

#[test]
fn markers_that_cannot_be_are_anomalies() {
    let cases: [(&str, &str, &[&str]); 12] = [
        (
            "1550 0 7 work",
            "1550 0 50 mark results",
            &["marker \"results\" must not come here in phase main"],
        ),
        (
            "70000000 0 50 mark done",
            "70000000 0 50 mark done\n 70000100 0 50 mark results\n 70000200 0 50 mark results",
            &["marker \"results\" must not come here in phase main"],
        ),
        (
            "70003000 0 50 mark phase-end main",
            "",
            &["phase main has no marker phase-end"],
        ),
        (
            "70003000 0 50 mark phase-end main",
            "70003000 0 50 mark phase-end other",
            &["marker phase-end names other but phase main is open"],
        ),
        (
            "1500 0 50 mark loaded 0",
            "1500 0 50 mark loaded 0\n 1501 0 50 mark loaded 0",
            &["marker \"loaded 0\" must not come here in phase main"],
        ),
        (
            "1550 0 7 work",
            "1550 0 50 mark explode",
            &["marker \"explode\" must not come here in phase main"],
        ),
        (
            "1550 0 7 work",
            "1550 0 51 mark trigger",
            &["marker \"trigger\" is by pid 51, but the agent is pid 50"],
        ),
        (
            "1550 0 7 work",
            "1550 0 50 print \\xff",
            &["a marker's text is no UTF-8"],
        ),
        (
            "1000 0 50 mark phase-begin main",
            "1000 0 50 mark load",
            &["marker \"load\" is outside every phase"],
        ),
        (
            "1400 0 50 initcall_finish 0",
            "",
            &["the module's init of phase main has no initcall_finish"],
        ),
        (
            "1200 0 50 initcall_start",
            "",
            &["an initcall_finish without its start comes in phase main"],
        ),
        (
            "1400 0 50 initcall_finish 0",
            "1400 0 50 initcall_finish 0\n 1410 0 50 initcall_start",
            &["a second initcall_start comes in phase main"],
        ),
    ];
    for (line, replacement, anomalies) in cases {
        let timeline = phase_with(line, replacement);
        let found: Vec<&str> = timeline
            .anomalies
            .first
            .iter()
            .map(|anomaly| anomaly.message.as_str())
            .collect();
        assert_eq!(
            found.get(..anomalies.len()),
            Some(anomalies),
            "{replacement:?}"
        );
    }
}

#[test]
fn phase_that_begins_inside_another_or_twice_is_an_anomaly() {
    let timeline = timeline(
        "1 0 50 mark phase-begin one\n 2 0 50 mark phase-begin two\n 3 0 50 mark phase-begin one",
    );
    check_anomalies(
        &timeline,
        &[
            "phase two begins before phase one ended",
            "phase one begins before phase two ended",
            "phase one begins a second time",
            "phase one has no marker phase-end",
        ],
    );
}

#[test]
fn flood_of_phases_is_bounded_and_counted() {
    let phases = MAX_PHASES + 10;
    let script: String = (0..phases)
        .map(|phase| format!("{phase} 0 50 mark phase-begin p{phase}\n"))
        .collect();
    let timeline = timeline(&script);
    assert_eq!(timeline.phases.len(), MAX_PHASES);
    assert!(timeline.anomalies.total >= 10);
    assert!(timeline.anomalies.first.len() <= deferinit_timeline::KEPT_ANOMALIES);
}

#[test]
fn traced_address_without_a_symbol_is_an_anomaly() {
    let timeline = timeline(&PHASE.replace("deferred_item_body", "missing"));
    check_anomalies(
        &timeline,
        &["no symbol's entry is at the traced address 0xffffffffb0000004"],
    );
    assert_eq!(timeline.phases[0].functions[0].name, "0xffffffffb0000004");
}

#[test]
fn call_that_returns_before_it_is_made_is_an_anomaly() {
    let timeline = phase_with("1 51001090 51001890", "1 51001890 51001090");
    check_anomalies(
        &timeline,
        &["a call returned at 0.051001090 before it was made at 0.051001890"],
    );
}

#[test]
fn lost_exit_and_full_shadow_stack_are_not_whole() {
    let timeline = phase_with(
        "51001900 1 8 out deferred_item_body 1 51001090 51001890",
        "51001900 1 8 in deferred_init 1",
    );
    assert_eq!(
        timeline.integrity.problems(),
        ["1 function_graph entries have no exit"]
    );
    let timeline = phase_with("1 51001090 51001890", "1 51001090 51001890 3");
    assert_eq!(
        timeline.integrity.problems(),
        ["1 function_graph exits report a full shadow stack"]
    );
}

#[test]
fn other_trace_clock_is_an_anomaly() {
    let timeline = timeline_of(
        PHASE,
        Setting {
            trace_clock: "local [global]",
            ..Setting::default()
        },
    );
    check_anomalies(
        &timeline,
        &["the trace clock is \"global\", but times compare on \"local\" only"],
    );
}

#[test]
fn kernel_log_and_leak_report_are_read() {
    let setting = Setting {
        ending: Ending::GuestPanic {
            message: "Kernel panic - not syncing: x".to_owned(),
        },
        dmesg: "<4>[    1.0] WARNING: mm/slub.c:1 at f+0x1, CPU#0: init/1\n<6>[    1.1] fine\n",
        kmemleak: Some("unreferenced object 0x1 (size 8):\n  comm \"init\", pid 1, jiffies 5\n"),
        ..Setting::default()
    };
    let timeline = timeline_of(PHASE, setting);
    assert_eq!(
        timeline.splats,
        ["WARNING: mm/slub.c:1 at f+0x1, CPU#0: init/1"]
    );
    assert_eq!(
        timeline.log_lines,
        ["WARNING: mm/slub.c:1 at f+0x1, CPU#0: init/1", "fine"]
    );
    assert!(timeline.log_cut, "the log's beginning is not there");
    assert_eq!(timeline.leaks.map(|leaks| leaks.len()), Some(1));
    assert_eq!(
        timeline.ending,
        Ending::GuestPanic {
            message: "Kernel panic - not syncing: x".to_owned()
        }
    );
}

#[test]
fn leak_report_that_is_none_is_an_anomaly() {
    let timeline = timeline_of(
        PHASE,
        Setting {
            kmemleak: Some("No such device"),
            ..Setting::default()
        },
    );
    check_anomalies(
        &timeline,
        &["line 1 of the kmemleak report belongs to no object: \"No such device\""],
    );
}

#[test]
fn empty_trace_is_not_whole() {
    let timeline = timeline("");
    assert_eq!(timeline.integrity.problems(), ["there is no CPU's buffer"]);
    assert_eq!((timeline.records, timeline.first), (0, None));
}

#[test]
fn trace_without_any_one_of_its_records_or_out_of_order_is_read_to_its_end() {
    let lines: Vec<&str> = PHASE
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    for missing in 0..lines.len() {
        let mut rest = lines.clone();
        rest.remove(missing);
        assert_eq!(
            timeline(&rest.join("\n")).records,
            21,
            "without {:?}",
            lines[missing]
        );
    }
    for turned in 1..lines.len() {
        let mut rotated = lines.clone();
        rotated.rotate_left(turned);
        // Each record keeps its content and takes the time of the one in whose place it stands.
        let script: Vec<String> = rotated
            .iter()
            .zip(&lines)
            .map(|(record, place)| {
                let time = place
                    .split(' ')
                    .next()
                    .expect("a line begins with its time");
                let (_, content) = record
                    .split_once(' ')
                    .expect("a line has more than its time");
                format!("{time} {content}")
            })
            .collect();
        let timeline = timeline(&script.join("\n"));
        assert_eq!(timeline.records, 22);
        assert!(timeline.anomalies.total > 0, "turned by {turned}");
    }
}
