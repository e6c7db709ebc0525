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
use perfetto_protos::ftrace_event::{FtraceEvent, ftrace_event};
use perfetto_protos::trace_packet::TracePacket;
use perfetto_protos::trace_packet::trace_packet::{Data, SequenceFlags};
use perfetto_protos::track_descriptor::TrackDescriptor;
use perfetto_protos::track_event::track_event::{Name_field, Type};
use protobuf::reflect::{FieldDescriptor, ReflectFieldRef, ReflectValueRef};
use protobuf::{Enum, EnumOrUnknown, Message, MessageDyn};
use serde_json::Value;

use crate::captures::{self, Raw, Trace};

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

/// The fields that the format documents for a phase: those that must be there, and those that may. "Trace Event Format",
/// sections "Event Descriptions" and following.
const PHASES: [(&str, &[&str], &[&str]); 5] = [
    ("B", &["name", "ph", "ts", "pid", "tid"], &["cat", "args"]),
    ("E", &["ph", "ts", "pid", "tid"], &["name", "cat", "args"]),
    (
        "X",
        &["name", "ph", "ts", "dur", "pid", "tid"],
        &["cat", "args"],
    ),
    (
        "i",
        &["name", "ph", "ts", "pid", "tid", "s"],
        &["cat", "args"],
    ),
    ("M", &["name", "ph", "pid", "args"], &["tid"]),
];

/// Whether the value is of the type that the format documents for the field.
fn is_documented(field: &str, value: &Value) -> bool {
    match field {
        "name" | "cat" | "ph" => value.is_string(),
        "ts" | "dur" => value.as_f64().is_some_and(|time| time >= 0.0),
        "pid" | "tid" => value.is_i64(),
        "args" => value.is_object(),
        // The scope of an instant: global, process or thread.
        "s" => ["g", "p", "t"].iter().any(|scope| value == scope),
        _ => false,
    }
}

/// What of an event is not as documented.
fn undocumented(event: &Value) -> Vec<String> {
    let phase = event["ph"].as_str().unwrap_or_default();
    let Some((_, must, may)) = PHASES.iter().find(|(known, ..)| *known == phase) else {
        return vec![format!("neither B, E, X, i nor M: {event}")];
    };
    let fields = event.as_object().into_iter().flatten();
    let wrong = fields
        .filter(|(name, value)| {
            let is_known = must.contains(&name.as_str()) || may.contains(&name.as_str());
            !is_known || !is_documented(name, value)
        })
        .map(|(name, value)| format!("{name} of {phase} is {value}"));
    let missing = must
        .iter()
        .filter(|name| event.get(**name).is_none())
        .map(|name| format!("{phase} has no {name}: {event}"));
    wrong.chain(missing).collect()
}

/// What is wrong with a file of Chrome's format; nothing if it is as documented and its slices nest.
pub(crate) fn wrong_in_chrome(text: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let Ok(file) = serde_json::from_slice::<Value>(text) else {
        return vec!["no JSON".to_owned()];
    };
    // The object format: other keys are metadata, and there are none.
    for (key, value) in file.as_object().into_iter().flatten() {
        let is_right = match key.as_str() {
            "traceEvents" => value.is_array(),
            "displayTimeUnit" => value == "ns" || value == "ms",
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{key} is {value}"));
        }
    }
    let Some(events) = file["traceEvents"].as_array() else {
        return vec!["no traceEvents".to_owned()];
    };
    wrong.extend(events.iter().flat_map(undocumented));
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
        ("\"ts\":", "\"time\":"),
        ("\"ts\":", "\"colour\":\"red\",\"ts\":"),
        ("\"pid\":1", "\"pid\":\"1\""),
        ("\"name\":\"filp_close\"", "\"name\":7"),
        ("\"args\":{", "\"args\":[],\"x\":{"),
        ("\"displayTimeUnit\":\"ns\"", "\"displayTimeUnit\":\"us\""),
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

/// What of a message is in no published schema: unknown fields and unknown values of enums, in it and below.
fn unknown(message: &dyn MessageDyn, path: &str, found: &mut Vec<String>) {
    for (number, value) in message.unknown_fields_dyn() {
        found.push(format!("{path}: field {number} is not known: {value:?}"));
    }
    let mut value = |field: &FieldDescriptor, value: ReflectValueRef<'_>| match value {
        ReflectValueRef::Message(below) => {
            unknown(&*below, &format!("{path}.{}", field.name()), found);
        }
        ReflectValueRef::Enum(kind, number) if kind.value_by_number(number).is_none() => {
            found.push(format!("{path}.{}: {number} is no value", field.name()));
        }
        _ => {}
    };
    for field in message.descriptor_dyn().fields() {
        match field.get_reflect(message) {
            ReflectFieldRef::Optional(of) => {
                if let Some(of) = of.value() {
                    value(&field, of);
                }
            }
            ReflectFieldRef::Repeated(of) => (&of).into_iter().for_each(|of| value(&field, of)),
            ReflectFieldRef::Map(_) => {}
        }
    }
}

/// Reads it by the published schema, as a reader does: names by their numbers, events of a track sorted by time, each end
/// to the innermost slice.
pub(crate) fn read_perfetto(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    let mut interned: BTreeMap<u64, String> = BTreeMap::new();
    let mut events = Vec::new();
    let trace = match perfetto_protos::trace::Trace::parse_from_bytes(bytes) {
        Ok(trace) => trace,
        Err(error) => {
            read.wrong.push(format!("no protocol buffer: {error}"));
            return read;
        }
    };
    unknown(&trace, "trace", &mut read.wrong);
    for (place, packet) in trace.packet.iter().enumerate() {
        // Nothing is known before the first packet, and each other one needs what those before told.
        let flags = if place == 0 {
            SequenceFlags::SEQ_INCREMENTAL_STATE_CLEARED
        } else {
            SequenceFlags::SEQ_NEEDS_INCREMENTAL_STATE
        };
        if packet.trusted_packet_sequence_id() != 1
            || i64::from(packet.sequence_flags()) != i64::from(flags.value())
        {
            read.wrong.push(format!("packet {place}: sequence, flags"));
        }
        for name in &packet.interned_data.event_names {
            if let (Some(iid), Some(text)) = (name.iid, &name.name)
                && interned.insert(iid, text.clone()).is_some()
            {
                read.wrong
                    .push(format!("packet {place}: {iid} is named twice"));
            }
        }
        match &packet.data {
            Some(Data::TrackDescriptor(descriptor)) => read.describe(descriptor),
            Some(Data::TrackEvent(event)) => {
                let name = match &event.name_field {
                    Some(Name_field::NameIid(iid)) => interned.get(iid).cloned(),
                    Some(Name_field::Name(name)) => Some(name.clone()),
                    Some(_) | None => None,
                };
                let kind = event.type_.and_then(|kind| kind.enum_value().ok());
                let (Some(at), Some(kind), Some(track)) =
                    (packet.timestamp, kind, event.track_uuid)
                else {
                    read.wrong
                        .push(format!("packet {place}: no time, type or track"));
                    continue;
                };
                if !read.tracks.contains_key(&track) {
                    read.wrong.push(format!("track {track} is not described"));
                }
                for flow in event.flow_ids.iter().chain(&event.terminating_flow_ids) {
                    read.flows
                        .entry(*flow)
                        .or_default()
                        .push(name.clone().unwrap_or_default());
                }
                read.ended_flows.extend(&event.terminating_flow_ids);
                for annotation in &event.debug_annotations {
                    if !annotation.has_name() || annotation.value.is_none() {
                        read.wrong.push(format!("packet {place}: {annotation}"));
                    }
                }
                events.push((at, kind, track, name));
            }
            Some(Data::FtraceEvents(bundle)) => match bundle.event.as_slice() {
                [event] if bundle.has_cpu() && event.has_timestamp() && is_scheduling(event) => {
                    read.scheduling += 1;
                }
                _ => read
                    .wrong
                    .push(format!("packet {place}: no scheduling event")),
            },
            other => read.wrong.push(format!("packet {place} holds {other:?}")),
        }
    }
    // A reader sorts by time, and keeps the order at the same time.
    events.sort_by_key(|event| event.0);
    let mut open: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (at, kind, track, name) in events {
        match (kind, name) {
            (Type::TYPE_SLICE_BEGIN, Some(name)) => open.entry(track).or_default().push(name),
            (Type::TYPE_SLICE_END, None) => match open.entry(track).or_default().pop() {
                Some(name) => read.slices.entry(track).or_default().push(name),
                None => read
                    .wrong
                    .push(format!("an end without a begin at {at} on {track}")),
            },
            (Type::TYPE_INSTANT, Some(_)) => read.instants += 1,
            other => read.wrong.push(format!("{other:?} at {at} on {track}")),
        }
    }
    for (track, stack) in open.iter().filter(|(_, stack)| !stack.is_empty()) {
        read.wrong.push(format!("{track} has open {stack:?}"));
    }
    read
}

/// Whether it is one of the events that a reader draws the CPUs' tasks from, with the task in it.
fn is_scheduling(event: &FtraceEvent) -> bool {
    event.has_pid()
        && match &event.event {
            Some(ftrace_event::Event::SchedSwitch(switch)) => {
                switch.has_prev_comm() && switch.has_prev_pid() && switch.has_next_pid()
            }
            Some(ftrace_event::Event::SchedWaking(waking)) => waking.has_comm() && waking.has_pid(),
            Some(ftrace_event::Event::SchedWakeup(waking)) => waking.has_comm() && waking.has_pid(),
            Some(ftrace_event::Event::SchedWakeupNew(waking)) => {
                waking.has_comm() && waking.has_pid()
            }
            _ => false,
        }
}

impl Read {
    fn describe(&mut self, descriptor: &TrackDescriptor) {
        let uuid = descriptor.uuid();
        let thread = descriptor.thread.as_ref();
        let name = match thread {
            Some(thread) => Some(format!(
                "{} {} {}",
                thread.thread_name(),
                thread.pid(),
                thread.tid()
            )),
            None => descriptor.has_name().then(|| descriptor.name().to_owned()),
        };
        if let Some(parent) = descriptor.parent_uuid
            && !self.tracks.contains_key(&parent)
        {
            self.wrong
                .push(format!("track {uuid} has no parent {parent}"));
        }
        match name {
            Some(name) if uuid > 0 && !name.is_empty() => {
                if self.tracks.insert(uuid, name).is_some() {
                    self.wrong.push(format!("track {uuid} is there twice"));
                }
            }
            _ => self.wrong.push(format!("track {uuid} has no name")),
        }
    }
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

/// A trace of calls and work items with one thing made wrong in it: what the check says.
fn wrong_if(change: impl FnOnce(&mut perfetto_protos::trace::Trace)) -> Vec<String> {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let (bytes, _) = perfetto(&trace);
    let mut trace = perfetto_protos::trace::Trace::parse_from_bytes(&bytes).expect("it is one");
    change(&mut trace);
    read_perfetto(&trace.write_to_bytes().expect("it can be written")).wrong
}

/// The place of the last packet that is an event of this kind.
fn last_of(trace: &perfetto_protos::trace::Trace, kind: Type) -> usize {
    let is_it =
        |packet: &TracePacket| packet.has_track_event() && packet.track_event().type_() == kind;
    trace.packet.iter().rposition(is_it).expect("there is one")
}

#[test]
fn the_check_of_perfettos_format_sees_what_is_wrong() {
    assert_eq!(wrong_if(|_| ()), Vec::<String>::new());
    let check = |what: &str, change: &dyn Fn(&mut perfetto_protos::trace::Trace)| {
        let wrong = wrong_if(change);
        assert!(
            wrong.iter().any(|wrong| wrong.contains(what)),
            "{what}: {wrong:?}"
        );
    };
    check("has open", &|trace| {
        let end = last_of(trace, Type::TYPE_SLICE_END);
        trace.packet.remove(end);
    });
    check("an end without a begin", &|trace| {
        let end = trace.packet[last_of(trace, Type::TYPE_SLICE_END)].clone();
        trace.packet.push(end);
    });
    check("field 4000 is not known", &|trace| {
        let instant = last_of(trace, Type::TYPE_SLICE_BEGIN);
        let event = trace.packet[instant].mut_track_event();
        event
            .special_fields
            .mut_unknown_fields()
            .add_varint(4000, 1);
    });
    check(".type: 77 is no value", &|trace| {
        let instant = last_of(trace, Type::TYPE_SLICE_BEGIN);
        trace.packet[instant].mut_track_event().type_ = Some(EnumOrUnknown::from_i32(77));
    });
    check("is not described", &|trace| {
        let begin = last_of(trace, Type::TYPE_SLICE_BEGIN);
        trace.packet[begin].mut_track_event().set_track_uuid(1);
    });
    check("no time, type or track", &|trace| {
        let begin = last_of(trace, Type::TYPE_SLICE_BEGIN);
        trace.packet[begin].timestamp = None;
    });
    check("no scheduling event", &|trace| {
        let is_bundle = |packet: &&mut TracePacket| packet.has_ftrace_events();
        let bundle = trace
            .packet
            .iter_mut()
            .find(is_bundle)
            .expect("there is one");
        bundle.mut_ftrace_events().cpu = None;
    });
    check("sequence, flags", &|trace| {
        trace.packet.remove(0);
    });
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let (bytes, _) = perfetto(&trace);
    let wrong = read_perfetto(&bytes[..bytes.len() - 1]).wrong;
    assert!(wrong[0].starts_with("no protocol buffer"), "{wrong:?}");
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
