// SPDX-License-Identifier: GPL-2.0-only

//! Counting, listing and pairing real records.

use std::collections::BTreeMap;

use deferinit_ftrace::record::{Event, Record};
use deferinit_trace::durations::Scale;
use deferinit_trace::events::{
    Count, List, MOST_OPEN, PairSpec, Pairs, PairsReport, Selection, SelectionError,
};
use deferinit_trace::expression::HasSymbols;
use deferinit_trace::fields::event_name;

use crate::captures::{self, Trace};

fn selection<'a>(trace: &'a Trace, patterns: &[&str], expression: Option<&str>) -> Selection<'a> {
    Selection::new(
        patterns,
        expression,
        &trace.formats,
        &trace.fields,
        HasSymbols::Yes,
    )
    .unwrap_or_else(|error| panic!("{patterns:?} {expression:?}: {error}"))
}

#[test]
fn records_are_counted_per_event() {
    for raw in captures::ALL {
        let trace = Trace::of(raw);
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        trace.each(|record| {
            let (system, event) = event_name(record);
            *expected.entry(format!("{system}:{event}")).or_default() += 1;
        });
        let mut count = Count::new(selection(&trace, &[], None));
        let mut names = trace.names();
        trace.each(|record| count.record(record, &mut names));
        let report = count.finish();
        let found: BTreeMap<String, u64> = report
            .events
            .iter()
            .map(|event| (format!("{}:{}", event.system, event.event), event.count))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            (report.seen, report.selected),
            (expected.values().sum(), expected.values().sum())
        );
        assert!(
            report
                .events
                .is_sorted_by(|one, next| one.count >= next.count)
        );
        assert!(
            report
                .events
                .iter()
                .all(|event| event.first_ns <= event.last_ns)
        );
    }
}

#[test]
fn patterns_take_events_systems_and_both() {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    for (patterns, expected) in [
        (&["sched:sched_switch"][..], vec!["sched_switch"]),
        (&["sched_sw*"], vec!["sched_switch"]),
        (
            &["workqueue"],
            vec![
                "workqueue_activate_work",
                "workqueue_execute_end",
                "workqueue_execute_start",
                "workqueue_queue_work",
            ],
        ),
        (
            &["ftrace:funcgraph_exit", "*:workqueue_q*"],
            vec!["funcgraph_exit", "workqueue_queue_work"],
        ),
    ] {
        let mut count = Count::new(selection(&trace, patterns, None));
        let mut names = trace.names();
        trace.each(|record| count.record(record, &mut names));
        let report = count.finish();
        let mut found: Vec<&str> = report
            .events
            .iter()
            .map(|event| event.event.as_str())
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{patterns:?}");
        assert!(report.selected < report.seen);
    }
}

#[test]
fn a_pattern_that_takes_no_event_names_the_nearest() {
    let trace = Trace::of(captures::EVENTS);
    let wrong = |pattern: &str| {
        Selection::new(
            &[pattern],
            None,
            &trace.formats,
            &trace.fields,
            HasSymbols::Yes,
        )
        .map(|_| ())
        .expect_err("no event is that")
        .to_string()
    };
    assert_eq!(
        wrong("sched_sw1tch"),
        "no event of the trace is \"sched_sw1tch\"; the nearest is \"sched_switch\""
    );
    assert_eq!(
        wrong("sched:sched_sw1tch"),
        "no event of the trace is \"sched:sched_sw1tch\"; the nearest is \"sched:sched_switch\""
    );
    assert_eq!(wrong("\u{1}"), "no event of the trace is \"\\u{1}\"");
}

#[test]
fn a_list_has_a_line_per_record_and_stops_at_its_limit() {
    let trace = Trace::of(captures::EVENTS);
    let list = |patterns: &[&str], limit| {
        let mut out = Vec::new();
        let mut names = trace.names();
        let mut list = List::new(selection(&trace, patterns, None), limit, &mut out);
        trace.each(|record| list.record(record, &mut names).expect("a vector takes all"));
        let tally = list.finish().expect("a vector takes all");
        (String::from_utf8(out).expect("names are UTF-8"), tally)
    };
    let (text, tally) = list(&["sched_switch"], None);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "              <idle>-0 [000] d..2. 8.115348928: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 \
         prev_state=0 next_comm=kworker/0:1 next_pid=10 next_prio=120"
    );
    let own = lines
        .iter()
        .filter(|line| line.contains(": sched_switch: "))
        .count() as u64;
    assert_eq!((own, tally.written), (tally.selected, tally.selected));
    let (text, tally) = list(&["sched_switch"], Some(2));
    assert_eq!(
        text.lines()
            .filter(|line| line.contains(": sched_switch: "))
            .count(),
        2
    );
    assert!(tally.selected > tally.written);
}

#[test]
fn a_stack_is_listed_with_the_record_it_belongs_to() {
    let trace = Trace::of(captures::EVENTS);
    let mut out = Vec::new();
    let mut names = trace.names();
    let mut list = List::new(
        selection(&trace, &["workqueue_queue_work"], None),
        None,
        &mut out,
    );
    trace.each(|record| list.record(record, &mut names).expect("a vector takes all"));
    list.finish().expect("a vector takes all");
    let text = String::from_utf8(out).expect("names are UTF-8");
    let first = text
        .lines()
        .position(|line| line.contains("kernel_stack: "))
        .expect("a stack is listed");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[first - 1].contains("workqueue_queue_work: "),
        "{text}"
    );
    assert!(lines[first + 1].starts_with(" => "), "{text}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("queue_work_on") || line.contains("delayed_work_timer_fn")),
        "{text}"
    );
}

fn pairs(
    trace: &Trace,
    (from, to): (&str, &str),
    keys: &[(&str, &str)],
    most_open: usize,
) -> PairsReport {
    let spec = PairSpec {
        start: selection(trace, &[from], None),
        end: selection(trace, &[to], None),
        keys: keys.to_vec(),
        scale: Scale::Log2,
        most_open,
    };
    let mut pairs = Pairs::new(spec, &trace.formats).expect("the fields are there");
    let mut names = trace.names();
    trace.each(|record| pairs.record(record, &mut names));
    pairs.finish()
}

fn field(record: &Record<'_>, event: &str, field: &str) -> Option<u64> {
    match record.event {
        Event::Other(fields) if fields.name() == event => fields.unsigned(field).ok(),
        _ => None,
    }
}

#[test]
fn wakeups_pair_with_the_switch_to_their_task() {
    let trace = Trace::of(captures::EVENTS);
    // By hand: the latest wake-up of each task, until it is switched to.
    let mut open = BTreeMap::new();
    let mut expected = Vec::new();
    let mut replaced = 0;
    trace.each(|record| {
        if let Some(pid) = field(record, "sched_waking", "pid") {
            replaced += u64::from(open.insert(pid, record.timestamp_ns).is_some());
        }
        if let Some(pid) = field(record, "sched_switch", "next_pid")
            && let Some(start) = open.remove(&pid)
        {
            expected.push(record.timestamp_ns - start);
        }
    });
    let report = pairs(
        &trace,
        ("sched_waking", "sched_switch"),
        &[("pid", "next_pid")],
        MOST_OPEN,
    );
    let summary = report.summary.expect("there are pairs");
    assert_eq!(report.pairs, expected.len() as u64);
    assert_eq!(
        (summary.min_ns, summary.max_ns),
        (
            *expected.iter().min().expect("some"),
            *expected.iter().max().expect("some")
        )
    );
    assert_eq!(summary.total_ns, expected.iter().sum::<u64>());
    assert_eq!(
        (report.unmatched_starts, report.replaced_starts),
        (open.len() as u64, replaced)
    );
    assert_eq!(
        report.starts,
        report.pairs + report.unmatched_starts + report.replaced_starts
    );
    assert_eq!(report.ends, report.pairs + report.unmatched_ends);
    assert!(report.unmatched_ends > 0 && report.is_whole);
    assert_eq!(report.slowest[0].duration_ns, summary.max_ns);
    assert_eq!(report.slowest[0].key[0].0, "pid");
    let counted: u64 = report
        .histogram
        .buckets()
        .iter()
        .map(|bucket| bucket.count)
        .sum();
    assert_eq!(counted, report.pairs);
}

#[test]
fn work_items_pair_by_their_address() {
    let trace = Trace::of(captures::EVENTS);
    let report = pairs(
        &trace,
        ("workqueue_queue_work", "workqueue_execute_start"),
        &[("work", "work")],
        MOST_OPEN,
    );
    assert_eq!((report.pairs, report.backward), (3, 0));
    // On the same key, another end is none of a pair.
    let report = pairs(
        &trace,
        ("workqueue_queue_work", "workqueue_execute_start"),
        &[("work", "function")],
        MOST_OPEN,
    );
    assert_eq!((report.pairs, report.summary), (0, None));
    assert_eq!(report.unmatched_ends, report.ends);
}

#[test]
fn too_many_open_pairs_are_an_error_mark() {
    let trace = Trace::of(captures::EVENTS);
    let report = pairs(
        &trace,
        ("sched_waking", "sched_switch"),
        &[("pid", "next_pid")],
        1,
    );
    assert!(report.refused_starts > 0 && !report.is_whole, "{report:?}");
    assert_eq!(
        report.starts,
        report.pairs + report.unmatched_starts + report.replaced_starts + report.refused_starts
    );
}

#[test]
fn a_record_without_the_key_is_counted() {
    let trace = Trace::of(captures::EVENTS);
    let report = pairs(
        &trace,
        ("sched_waking", "sched_switch"),
        &[("prev_pid", "next_pid")],
        MOST_OPEN,
    );
    assert_eq!(
        (report.starts_without_key, report.pairs),
        (report.starts, 0)
    );
    assert!(report.starts > 0);
}

#[test]
fn an_unknown_key_is_an_error() {
    let trace = Trace::of(captures::EVENTS);
    let spec = PairSpec {
        start: selection(&trace, &["sched_waking"], None),
        end: selection(&trace, &["sched_switch"], None),
        keys: vec![("pid", "nxt_pid")],
        scale: Scale::Log2,
        most_open: MOST_OPEN,
    };
    match Pairs::new(spec, &trace.formats) {
        Err(SelectionError::Expression(error)) => assert_eq!(
            error.to_string(),
            "column 1: no event of the trace has a field \"nxt_pid\"; the nearest is \"next_pid\""
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_that_ends_and_starts_does_both() {
    let trace = Trace::of(captures::EVENTS);
    let report = pairs(
        &trace,
        ("sched_switch", "sched_switch"),
        &[("cpu", "cpu")],
        MOST_OPEN,
    );
    assert_eq!(
        (report.unmatched_ends, report.unmatched_starts),
        (2, 2),
        "the first and the last of two CPUs"
    );
    assert_eq!(report.pairs + 2, report.ends);
    assert_eq!(report.replaced_starts, 0);
}
