// SPDX-License-Identifier: GPL-2.0-only

//! Exports of real captures, read back as their formats say.

use std::collections::{BTreeMap, BTreeSet};

use deferinit_ftrace::record::Event;
use deferinit_trace::dump::SliceTally;
use deferinit_trace::dump::chrome::Chrome;
use deferinit_trace::dump::csv::{COLUMNS, Csv};
use deferinit_trace::dump::flamegraph::Flamegraph;
use deferinit_trace::dump::folded::Folded;
use deferinit_trace::dump::graphviz::Graphviz;
use deferinit_trace::dump::json::{Flushing, JsonLines};
use deferinit_trace::dump::perfetto::Perfetto;
use deferinit_trace::functions::Functions;
use deferinit_trace::graph::{CallGraph, Graph, Grouping};
use deferinit_trace::script;
use serde_json::Value;

use crate::captures::{self, Raw, Trace};
use crate::wire::{self, Field};

/// Calls that a capture's records say were entered and left, one by one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    entries: u64,
    exits: u64,
    others: u64,
}

fn counted(trace: &Trace) -> Counted {
    let mut counted = Counted::default();
    trace.each(|record| match record.event {
        Event::FuncgraphEntry { .. } => counted.entries += 1,
        Event::FuncgraphExit { .. } => counted.exits += 1,
        _ => counted.others += 1,
    });
    counted
}

pub(crate) fn chrome(trace: &Trace) -> (Vec<u8>, SliceTally) {
    let mut out = Vec::new();
    let mut names = trace.names();
    let mut chrome = Chrome::new(&mut out, &trace.fields);
    trace.each_sound(|record| {
        chrome
            .record(record, &mut names)
            .expect("a vector takes all");
    });
    let tally = chrome.finish(&mut names).expect("a vector takes all");
    (out, tally)
}

pub(crate) fn perfetto(trace: &Trace) -> (Vec<u8>, SliceTally) {
    let mut out = Vec::new();
    let mut names = trace.names();
    let mut perfetto = Perfetto::new(&mut out, &trace.fields);
    trace.each_sound(|record| {
        perfetto
            .record(record, &mut names)
            .expect("a vector takes all");
    });
    let tally = perfetto.finish(&mut names).expect("a vector takes all");
    (out, tally)
}

/// What is wrong with a file of Chrome's format; nothing if it is as documented and its slices nest.
pub(crate) fn wrong_in_chrome(text: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let Ok(file) = serde_json::from_slice::<Value>(text) else {
        return vec!["no JSON".to_owned()];
    };
    let Some(events) = file["traceEvents"].as_array() else {
        return vec!["no traceEvents".to_owned()];
    };
    let mut open: BTreeMap<i64, Vec<(String, f64)>> = BTreeMap::new();
    let (mut used, mut named) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let phase = event["ph"].as_str().unwrap_or_default();
        if !event["pid"].is_i64() {
            wrong.push(format!("no pid: {event}"));
        }
        if phase == "M" {
            if event["name"] == "thread_name" && event["args"]["name"].is_string() {
                named.insert(event["tid"].as_i64());
            }
            continue;
        }
        let (Some(tid), Some(ts)) = (event["tid"].as_i64(), event["ts"].as_f64()) else {
            wrong.push(format!("no tid or time: {event}"));
            continue;
        };
        used.insert(Some(tid));
        let stack = open.entry(tid).or_default();
        match phase {
            "B" => stack.push((event["name"].as_str().unwrap_or("?").to_owned(), ts)),
            "E" => match stack.pop() {
                Some((_, began)) if began <= ts => {}
                other => wrong.push(format!("{event} ends {other:?}")),
            },
            "X" if event["dur"].as_f64().is_some_and(|dur| dur >= 0.0) => {}
            "i" if event["s"] == "t" && event["args"].is_object() => {}
            _ => wrong.push(format!("neither B, E, X nor i as documented: {event}")),
        }
    }
    for (tid, stack) in open.iter().filter(|(_, stack)| !stack.is_empty()) {
        wrong.push(format!("{tid} has open {stack:?}"));
    }
    if used != named {
        wrong.push(format!("used {used:?}, named {named:?}"));
    }
    wrong
}

#[test]
fn chromes_slices_nest_and_are_all_there() {
    for raw in captures::ALL {
        let trace = Trace::of(raw);
        let (text, tally) = chrome(&trace);
        assert_eq!(wrong_in_chrome(&text), Vec::<String>::new(), "{}", raw.name);
        let counted = counted(&trace);
        assert_eq!(tally.slices, counted.entries + tally.without_entry);
        assert_eq!(counted.exits, tally.slices - tally.without_exit);
        assert_eq!(tally.instants, counted.others);
        let file: Value = serde_json::from_slice(&text).expect("it is JSON");
        let events = file["traceEvents"].as_array().expect("an array");
        let phases =
            |phase: &str| events.iter().filter(|event| event["ph"] == phase).count() as u64;
        assert_eq!(phases("B") + phases("X"), tally.slices);
        assert_eq!(phases("E"), phases("B"));
    }
}

#[test]
fn the_check_of_chromes_format_sees_what_is_wrong() {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let text = String::from_utf8(chrome(&trace).0).expect("JSON is UTF-8");
    for (good, bad) in [
        ("\"ph\":\"E\"", "\"ph\":\"B\""),
        ("\"ph\":\"B\"", "\"ph\":\"E\""),
        ("\"tid\":1,", "\"tid\":2,"),
        ("\"s\":\"t\"", "\"s\":\"x\""),
        ("\n]}", ""),
    ] {
        assert!(text.contains(good), "{good}");
        let broken = text.replacen(good, bad, 1);
        assert_ne!(
            wrong_in_chrome(broken.as_bytes()),
            Vec::<String>::new(),
            "{good}"
        );
    }
}

/// What a trace in Perfetto's format holds.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Names of the slices that began and ended, by track.
    slices: BTreeMap<u64, Vec<String>>,
    instants: u64,
    scheduling: u64,
    /// Events each flow goes through: their names.
    flows: BTreeMap<u64, Vec<String>>,
    ended_flows: BTreeSet<u64>,
    tracks: BTreeMap<u64, String>,
    pub(crate) wrong: Vec<String>,
}

/// Reads it as a reader does: names by their numbers, events of a track sorted by time, each end to the innermost slice.
pub(crate) fn read_perfetto(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    let mut interned: BTreeMap<u64, String> = BTreeMap::new();
    let mut events = Vec::new();
    let Some(trace) = wire::fields(bytes) else {
        read.wrong.push("no protocol buffer".to_owned());
        return read;
    };
    for (place, (number, packet)) in trace.into_iter().enumerate() {
        let packet = match (number, packet) {
            (1, Field::Bytes(bytes)) => wire::fields(bytes),
            _ => None,
        };
        let Some(packet) = packet else {
            read.wrong.push(format!("packet {place} is none"));
            continue;
        };
        let packet = wire::Message(packet);
        // Nothing is known before the first packet, and each other one needs what those before told.
        let flags = if place == 0 { 1 } else { 2 };
        if (packet.varint(10), packet.varint(13)) != (Some(1), Some(flags)) {
            read.wrong.push(format!("packet {place}: sequence, flags"));
        }
        for name in packet.message(12).iter().flat_map(|data| data.messages(2)) {
            if let (Some(iid), Some(text)) = (name.varint(1), name.text(2)) {
                interned.insert(iid, text);
            }
        }
        if let Some(descriptor) = packet.message(60) {
            let uuid = descriptor.varint(1).unwrap_or(0);
            let name = descriptor.text(2).or_else(|| {
                let thread = descriptor.message(4)?;
                let (pid, tid) = (thread.varint(1)?, thread.varint(2)?);
                Some(format!("{} {pid} {tid}", thread.text(5)?))
            });
            if let Some(parent) = descriptor.varint(5)
                && !read.tracks.contains_key(&parent)
            {
                read.wrong
                    .push(format!("track {uuid} has no parent {parent}"));
            }
            match name {
                Some(name) if uuid > 0 => {
                    if read.tracks.insert(uuid, name).is_some() {
                        read.wrong.push(format!("track {uuid} is there twice"));
                    }
                }
                _ => read.wrong.push(format!("track {uuid} has no name")),
            }
        } else if let Some(event) = packet.message(11) {
            let name = event
                .varint(10)
                .and_then(|iid| interned.get(&iid).cloned())
                .or_else(|| event.text(23));
            match (packet.varint(8), event.varint(9), event.varint(11)) {
                (Some(at), Some(kind), Some(track)) => {
                    if !read.tracks.contains_key(&track) {
                        read.wrong.push(format!("track {track} is not described"));
                    }
                    for flow in event.fixed(47).into_iter().chain(event.fixed(48)) {
                        read.flows
                            .entry(flow)
                            .or_default()
                            .push(name.clone().unwrap_or_default());
                    }
                    read.ended_flows.extend(event.fixed(48));
                    events.push((at, kind, track, name));
                }
                _ => read
                    .wrong
                    .push(format!("packet {place}: no time, type or track")),
            }
        } else if let Some(bundle) = packet.message(1) {
            let event = bundle.message(2);
            let known = event.as_ref().and_then(|event| {
                event.varint(1)?;
                [4, 17, 20, 114]
                    .into_iter()
                    .find_map(|number| event.message(number))
            });
            match known {
                Some(known) if known.varint(2).is_some() && known.text(1).is_some() => {
                    read.scheduling += 1;
                }
                _ => read
                    .wrong
                    .push(format!("packet {place}: no scheduling event")),
            }
        } else {
            read.wrong.push(format!("packet {place} holds nothing"));
        }
    }
    // A reader sorts by time, and keeps the order at the same time.
    events.sort_by_key(|event| event.0);
    let mut open: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (at, kind, track, name) in events {
        match (kind, name) {
            (1, Some(name)) => open.entry(track).or_default().push(name),
            (2, None) => match open.entry(track).or_default().pop() {
                Some(name) => read.slices.entry(track).or_default().push(name),
                None => read
                    .wrong
                    .push(format!("an end without a begin at {at} on {track}")),
            },
            (3, Some(_)) => read.instants += 1,
            other => read.wrong.push(format!("{other:?} at {at} on {track}")),
        }
    }
    for (track, stack) in open.iter().filter(|(_, stack)| !stack.is_empty()) {
        read.wrong.push(format!("{track} has open {stack:?}"));
    }
    read
}

#[test]
fn perfettos_slices_begin_and_end_and_flows_join_where_work_is_queued_and_executed() {
    for raw in captures::ALL {
        let trace = Trace::of(raw);
        let (bytes, tally) = perfetto(&trace);
        let read = read_perfetto(&bytes);
        assert_eq!(read.wrong, Vec::<String>::new(), "{}", raw.name);
        let slices: usize = read.slices.values().map(Vec::len).sum();
        assert_eq!(slices as u64, tally.slices);
        assert_eq!(read.instants + read.scheduling, tally.instants);
        assert_eq!(read.ended_flows.len() as u64, tally.flows);
        for flow in &read.ended_flows {
            let through = &read.flows[flow];
            let last = through.last().expect("a flow goes through an event");
            assert!(
                through[..through.len() - 1]
                    .iter()
                    .all(|name| name == "workqueue_queue_work" || name == "workqueue_activate_work"),
                "{through:?}"
            );
            assert!(!last.starts_with("workqueue_"), "{through:?}");
        }
    }
}

#[test]
fn perfettos_trace_of_calls_has_all_calls_and_work_items() {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let (bytes, tally) = perfetto(&trace);
    let read = read_perfetto(&bytes);
    let mut executed = 0;
    trace.each(|record| {
        if let Event::Other(fields) = record.event {
            executed += u64::from(fields.name() == "workqueue_execute_start");
        }
    });
    assert_eq!(
        tally.slices,
        counted(&trace).entries + tally.without_entry + executed
    );
    assert!(tally.flows > 0, "{tally:?}");
    assert!(
        read.slices
            .values()
            .flatten()
            .any(|name| name == "vfs_open")
    );
    assert!(
        read.tracks
            .values()
            .any(|name| name.starts_with("kworker/")),
        "{:?}",
        read.tracks
    );
    let idle = read
        .tracks
        .values()
        .filter(|name| name.starts_with("<idle>"));
    assert_eq!(idle.count(), 2);
}

#[test]
fn the_check_of_perfettos_format_sees_a_missing_end() {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let (bytes, _) = perfetto(&trace);
    let mut packets = wire::split(&bytes).expect("it is a protocol buffer");
    let end = packets
        .iter()
        .rposition(|packet| {
            read_perfetto(packet)
                .wrong
                .iter()
                .any(|wrong| wrong.contains("an end"))
        })
        .expect("there is an end");
    packets.remove(end);
    let wrong = read_perfetto(&packets.concat()).wrong;
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("has open"), "{wrong:?}");
}

fn json(raw: Raw) -> Vec<Value> {
    let trace = Trace::of(raw);
    let mut names = trace.names();
    let mut out = Vec::new();
    let mut lines = JsonLines::new(&mut out, &trace.fields, Flushing::Blocks);
    trace.each(|record| {
        lines
            .record(record, &mut names)
            .expect("a vector takes all")
    });
    let written = lines.finish().expect("a vector takes all");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let values: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(values.len() as u64, written);
    values
}

#[test]
fn json_lines_have_typed_fields() {
    let lines = json(captures::EVENTS);
    let of = |event: &str| {
        lines
            .iter()
            .find(|line| line["event"] == event)
            .unwrap_or_else(|| panic!("there is no {event}"))
    };
    let probe = of("openat");
    assert_eq!(probe["timestamp_ns"], 8_112_690_864_u64);
    assert_eq!(
        (&probe["cpu"], &probe["pid"], &probe["task"]),
        (&1.into(), &1.into(), &"busybox".into())
    );
    assert_eq!(probe["fields"]["dfd"], -100);
    assert_eq!(probe["fields"]["file"], "trace_marker");
    assert_eq!(probe["fields"]["how"], serde_json::json!([33345, 438, 0]));
    assert_eq!(probe["fields"]["__probe_ip"], "do_sys_openat2");
    assert_eq!(probe["fields"]["sy"], "arch_rethook_trampoline");
    // A difference of two CPUs' times below 0 is beyond 2^53.
    assert_eq!(of("wl")["fields"]["lat"], "18446744073709389705");
    assert_eq!(of("print")["fields"]["buf"], "hello from marker");
    let stack = of("kernel_stack")["fields"]["caller"]
        .as_array()
        .expect("an array");
    assert!(
        stack.len() > 8,
        "a stack is longer than its format file says: {stack:?}"
    );
    assert!(
        stack
            .iter()
            .all(|frame| frame.as_str().is_some_and(|frame| !frame.starts_with("0x")))
    );
}

#[test]
fn a_script_gets_the_same_lines() {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let mut names = trace.names();
    let mut out = Vec::new();
    let mut lines = script::to_program(&mut out, &trace.fields);
    trace.each(|record| {
        lines
            .record(record, &mut names)
            .expect("a vector takes all")
    });
    lines.finish().expect("a vector takes all");
    let values: Vec<Value> = String::from_utf8_lossy(&out)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(values, json(captures::FUNCTION_GRAPH));
    let exit = values
        .iter()
        .find(|line| line["event"] == "funcgraph_exit")
        .expect("there are calls");
    let number = |key: &str| exit["fields"][key].as_u64().expect("a number");
    assert_eq!(exit["duration_ns"], number("rettime") - number("calltime"));
    assert_eq!(exit["function"], exit["fields"]["func"]);
}

/// Cuts one row into cells.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                let _ = letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            letter => cell.push(letter),
        }
    }
    assert!(
        row.is_empty() && cell.is_empty() && !quoted,
        "the text ends with a row"
    );
    rows
}

#[test]
fn csv_has_a_cell_for_each_column_and_a_row_for_each_record() {
    for raw in captures::ALL {
        let trace = Trace::of(raw);
        let mut names = trace.names();
        let mut out = Vec::new();
        let mut csv = Csv::new(&mut out, &trace.fields);
        trace.each(|record| csv.record(record, &mut names).expect("a vector takes all"));
        let written = csv.finish().expect("a vector takes all");
        let rows = cells(&String::from_utf8(out).expect("names are UTF-8"));
        let columns: Vec<&str> = COLUMNS.split(',').collect();
        assert!(rows.iter().all(|row| row.len() == columns.len()));
        assert_eq!(rows[0], columns);
        assert_eq!(rows.len() as u64, written + 1);
        let lines = json(raw);
        for (row, line) in rows[1..].iter().zip(&lines) {
            assert_eq!(row[0], line["timestamp_ns"].to_string());
            assert_eq!(line["event"], *row[6]);
            let duration = line
                .get("duration_ns")
                .map_or(String::new(), Value::to_string);
            assert_eq!(row[9], duration);
        }
    }
}

/// The graph of a capture's calls.
fn graph(trace: &Trace) -> Graph {
    let mut calls = CallGraph::new(Grouping::ByTask);
    trace.each(|record| calls.record(record));
    calls.finish(&mut Functions::new(&trace.symbols), &trace.tasks)
}

#[test]
fn folded_stacks_hold_all_time_of_the_graph() {
    let graph = graph(&Trace::of(captures::FUNCTION_GRAPH));
    let mut out = Vec::new();
    let mut folded = Folded::new(&mut out);
    graph.stacks(&mut folded).expect("a vector takes all");
    folded.finish().expect("a vector takes all");
    let text = String::from_utf8(out).expect("names are UTF-8");
    let expected: u64 = graph.nodes.iter().map(|node| node.counts.self_ns).sum();
    let times = text.lines().map(|line| {
        let (stack, time) = line.rsplit_once(' ').expect("a line has a time");
        assert!(stack.split(';').all(|frame| !frame.is_empty()), "{line}");
        time.parse::<u64>().expect("it is a number")
    });
    assert_eq!(times.sum::<u64>(), expected);
    assert!(expected > 0 && text.contains("busybox-1;"), "{text}");
    assert!(text.contains(";do_sys_openat2;"), "{text}");
}

#[test]
fn the_flame_graph_and_the_digraph_show_a_captures_calls() {
    let graph = graph(&Trace::of(captures::FUNCTION_GRAPH));
    let mut flames = Flamegraph::new("a real guest");
    graph.stacks(&mut flames).expect("it takes all");
    let mut svg = Vec::new();
    let tally = flames.finish(&mut svg).expect("a vector takes all");
    let svg = String::from_utf8(svg).expect("names are UTF-8");
    let self_ns: u64 = graph.nodes.iter().map(|node| node.counts.self_ns).sum();
    assert_eq!(tally.total_ns, self_ns);
    assert_eq!(
        svg.matches("<g class=\"f\"").count() as u64,
        tally.drawn + 1
    );
    assert!(
        tally.drawn > 20 && svg.contains("data-n=\"vfs_open\""),
        "{tally:?}"
    );

    let mut digraph = Graphviz::new();
    graph.stacks(&mut digraph).expect("it takes all");
    let mut dot = Vec::new();
    digraph.finish(&mut dot).expect("a vector takes all");
    let dot = String::from_utf8(dot).expect("names are UTF-8");
    let calls: u64 = graph
        .nodes
        .iter()
        .filter(|node| graph.names[node.name].name == "vfs_open")
        .map(|node| node.counts.calls)
        .sum();
    assert!(
        calls > 0 && dot.contains(&format!("[label=\"vfs_open\\n{calls} calls\\n")),
        "{dot}"
    );
}
