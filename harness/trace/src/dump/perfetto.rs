// SPDX-License-Identifier: GPL-2.0-only

//! Writes Perfetto's own format, `.pftrace`.
//!
//! In: records by time. Out: a `perfetto.protos.Trace`: packets one after the other, so that a file that ends early is
//! usable up to there.
//!
//! | Records | Packets |
//! | --- | --- |
//! | `funcgraph_entry`, `funcgraph_exit` | `TrackEvent` `TYPE_SLICE_BEGIN` and `TYPE_SLICE_END` on the task's track; the latter with `retval` where the kernel records it |
//! | an exit whose entry is missing | both, the start reckoned from the kernel's duration |
//! | a call whose exit is missing | its end, marked `exit: not seen`, where a call around it goes on, or with the trace |
//! | `workqueue_queue_work`, `workqueue_activate_work` | instants on the task's track |
//! | `workqueue_execute_start`, `_end` | a slice named by the work's function, on the track `work` below the task's |
//! | the same | one flow per work item, from where it is queued over where it is activated to where it is executed, by the work's address |
//! | `sched_switch`, `sched_waking`, `sched_wakeup`, `sched_wakeup_new` | `FtraceEventBundle`: scheduling per CPU |
//! | all others | instants on the task's track, with their fields as annotations |
//!
//! A task is a thread of a process of its own, since a trace does not say which process a task belongs to; a CPU's idle
//! task is a track of its own. Times are those of the trace's clock, which Perfetto takes for its boot clock.
//!
//! At most [`MOST_PENDING`] work items are followed at once; what is queued beyond is counted, and has no flow.
//!
//! Source: field numbers of `protos/perfetto/trace/`: `trace_packet.proto`, `track_event/track_event.proto`,
//! `track_event/track_descriptor.proto`, `track_event/debug_annotation.proto`, `interned_data/interned_data.proto`,
//! `ftrace/ftrace_event.proto`, `ftrace/sched.proto` of Perfetto 0.59.

use std::collections::{HashMap, HashSet};
use std::io;

use deferinit_ftrace::record::{Event, Record};

use super::SliceTally;
use super::proto::Message;
use super::slices::{Slices, Step};
use crate::fields::{self, Fields, Value};
use crate::names::Names;
use crate::task::Task;

/// Work items that are followed at once.
pub const MOST_PENDING: usize = 1 << 16;

/// Names that are written once and then by number; a kernel has some 60,000 functions.
const MOST_NAMES: usize = 1 << 17;

/// Tracks that are described at most; a kernel has no more pids.
const MOST_TRACKS: usize = 1 << 22;

/// Bytes that are gathered before they are written.
const BLOCK: usize = 1 << 16;

/// All packets are of one sequence.
const SEQUENCE: u64 = 1;

/// Field numbers of the messages' fields.
mod field {
    pub(super) const TRACE_PACKET: u32 = 1;

    pub(super) mod packet {
        pub(in super::super) const FTRACE_EVENTS: u32 = 1;
        pub(in super::super) const TIMESTAMP: u32 = 8;
        pub(in super::super) const SEQUENCE_ID: u32 = 10;
        pub(in super::super) const TRACK_EVENT: u32 = 11;
        pub(in super::super) const INTERNED_DATA: u32 = 12;
        pub(in super::super) const SEQUENCE_FLAGS: u32 = 13;
        pub(in super::super) const TRACK_DESCRIPTOR: u32 = 60;
    }

    pub(super) mod descriptor {
        pub(in super::super) const UUID: u32 = 1;
        pub(in super::super) const NAME: u32 = 2;
        pub(in super::super) const THREAD: u32 = 4;
        pub(in super::super) const PARENT_UUID: u32 = 5;
        pub(in super::super) const THREAD_PID: u32 = 1;
        pub(in super::super) const THREAD_TID: u32 = 2;
        pub(in super::super) const THREAD_NAME: u32 = 5;
    }

    pub(super) mod event {
        pub(in super::super) const DEBUG_ANNOTATIONS: u32 = 4;
        pub(in super::super) const TYPE: u32 = 9;
        pub(in super::super) const NAME_IID: u32 = 10;
        pub(in super::super) const TRACK_UUID: u32 = 11;
        pub(in super::super) const NAME: u32 = 23;
        pub(in super::super) const FLOW_IDS: u32 = 47;
        pub(in super::super) const TERMINATING_FLOW_IDS: u32 = 48;
    }

    pub(super) mod annotation {
        pub(in super::super) const UINT: u32 = 3;
        pub(in super::super) const INT: u32 = 4;
        pub(in super::super) const STRING: u32 = 6;
        pub(in super::super) const POINTER: u32 = 7;
        pub(in super::super) const NAME: u32 = 10;
    }

    pub(super) mod interned {
        pub(in super::super) const EVENT_NAMES: u32 = 2;
        pub(in super::super) const IID: u32 = 1;
        pub(in super::super) const NAME: u32 = 2;
    }

    pub(super) mod ftrace {
        pub(in super::super) const CPU: u32 = 1;
        pub(in super::super) const EVENT: u32 = 2;
        pub(in super::super) const TIMESTAMP: u32 = 1;
        pub(in super::super) const PID: u32 = 2;
    }
}

/// `TrackEvent.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    SliceBegin,
    SliceEnd,
    Instant,
}

/// `TracePacket.SequenceFlags`: what was interned before is forgotten.
const INCREMENTAL_STATE_CLEARED: u64 = 1;

/// `TracePacket.SequenceFlags`: what was interned before is needed.
const NEEDS_INCREMENTAL_STATE: u64 = 2;

/// The scheduling events that Perfetto has messages for: the number in `FtraceEvent`, and the fields by their numbers.
type Scheduling = (&'static str, u32, &'static [(u32, &'static str)]);

const WAKING: &[(u32, &str)] = &[
    (1, "comm"),
    (2, "pid"),
    (3, "prio"),
    (4, "success"),
    (5, "target_cpu"),
];

const SCHEDULING: [Scheduling; 4] = [
    (
        "sched_switch",
        4,
        &[
            (1, "prev_comm"),
            (2, "prev_pid"),
            (3, "prev_prio"),
            (4, "prev_state"),
            (5, "next_comm"),
            (6, "next_pid"),
            (7, "next_prio"),
        ],
    ),
    ("sched_wakeup", 17, WAKING),
    ("sched_waking", 20, WAKING),
    ("sched_wakeup_new", 114, WAKING),
];

/// Writes a trace as `.pftrace`.
#[derive(Debug)]
pub struct Perfetto<'a, W> {
    out: W,
    fields: &'a Fields,
    slices: Slices,
    packets: Packets,
    /// Flow of each work item that is queued and not yet executed, by its address.
    pending: HashMap<u64, u64>,
    /// Tasks that execute a work item.
    executing: HashSet<Task>,
    flows: u64,
    tally: SliceTally,
}

/// The packets that are not written yet, and what those before have told.
#[derive(Debug, Default)]
struct Packets {
    bytes: Message,
    begun: bool,
    tracks: HashSet<u64>,
    names: HashMap<String, u64>,
    /// The latest time of any event.
    latest_ns: u64,
}

/// One event on a track.
struct TrackEvent<'a> {
    kind: Type,
    at_ns: u64,
    track: u64,
    name: Option<&'a str>,
    flow: Flow,
}

/// How an event belongs to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    None,
    Goes(u64),
    Ends(u64),
}

impl<'a, W: io::Write> Perfetto<'a, W> {
    /// Starts a trace.
    #[must_use]
    pub fn new(out: W, fields: &'a Fields) -> Self {
        Self {
            out,
            fields,
            slices: Slices::default(),
            packets: Packets::default(),
            pending: HashMap::new(),
            executing: HashSet::new(),
            flows: 0,
            tally: SliceTally::default(),
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What the writer says.
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) -> io::Result<()> {
        SliceTally::count(&mut self.tally.records);
        let task = Task::of(record);
        let track = self.packets.task_track(task, names);
        let (packets, tally) = (&mut self.packets, &mut self.tally);
        let is_call = self.slices.record(record, |at, step| {
            packets.step(track, at, step, names, tally);
            Ok(())
        })?;
        if !is_call {
            self.other(record, task, track, names);
        }
        if self.packets.bytes.0.len() >= BLOCK {
            self.out.write_all(&self.packets.bytes.0)?;
            self.packets.bytes.0.clear();
        }
        Ok(())
    }

    fn other(&mut self, record: &Record<'_>, task: Task, track: u64, names: &mut Names<'_>) {
        let (system, event) = fields::event_name(record);
        match (system, event) {
            ("workqueue", "workqueue_queue_work" | "workqueue_activate_work") => {
                self.queued(record, track, names);
            }
            ("workqueue", "workqueue_execute_start") => self.executed(record, task, track, names),
            ("workqueue", "workqueue_execute_end") => {
                if self.executing.remove(&task) {
                    let packets = &mut self.packets;
                    packets.track_event(
                        &TrackEvent {
                            kind: Type::SliceEnd,
                            at_ns: packets.latest_ns.max(record.timestamp_ns),
                            track: work_track(track),
                            name: None,
                            flow: Flow::None,
                        },
                        |_| {},
                    );
                }
            }
            _ => {
                SliceTally::count(&mut self.tally.instants);
                let scheduling = SCHEDULING
                    .iter()
                    .find(|(name, ..)| system == "sched" && *name == event);
                match scheduling {
                    Some((_, number, known)) => {
                        self.packets.scheduling(record, self.fields, *number, known);
                    }
                    None => {
                        let fields = self.fields;
                        self.packets
                            .instant(record, track, fields, Flow::None, names);
                    }
                }
            }
        }
    }

    /// A work item is queued or activated: the flow goes through here.
    fn queued(&mut self, record: &Record<'_>, track: u64, names: &mut Names<'_>) {
        SliceTally::count(&mut self.tally.instants);
        let work = self.work_of(record);
        let known = work.and_then(|work| self.pending.get(&work).copied());
        let flow = match (work, known) {
            (None, _) => Flow::None,
            (Some(_), Some(flow)) => Flow::Goes(flow),
            (Some(_), None) if self.pending.len() >= MOST_PENDING => {
                SliceTally::count(&mut self.tally.refused_flows);
                Flow::None
            }
            (Some(work), None) => {
                self.flows = self.flows.saturating_add(1);
                self.pending.insert(work, self.flows);
                Flow::Goes(self.flows)
            }
        };
        self.packets
            .instant(record, track, self.fields, flow, names);
    }

    /// A work item is executed: its flow ends here, where a slice begins.
    fn executed(&mut self, record: &Record<'_>, task: Task, track: u64, names: &mut Names<'_>) {
        let flow = self
            .work_of(record)
            .and_then(|work| self.pending.remove(&work));
        if flow.is_some() {
            SliceTally::count(&mut self.tally.flows);
        }
        if self.executing.len() >= MOST_PENDING && !self.executing.contains(&task) {
            return;
        }
        let below = work_track(track);
        self.packets.describe(below, |descriptor| {
            descriptor.bytes(field::descriptor::NAME, b"work");
            descriptor.varint(field::descriptor::PARENT_UUID, track);
        });
        let at_ns = self.packets.latest_ns.max(record.timestamp_ns);
        if !self.executing.insert(task) {
            // The end of the one before is missing.
            SliceTally::count(&mut self.tally.without_exit);
            self.packets.end(below, at_ns);
        }
        SliceTally::count(&mut self.tally.slices);
        let name = match self.fields.value(record, "function") {
            Some(Value::Code(function)) => names.function(function).to_owned(),
            _ => "work".to_owned(),
        };
        self.packets.track_event(
            &TrackEvent {
                kind: Type::SliceBegin,
                at_ns,
                track: below,
                name: Some(&name),
                flow: flow.map_or(Flow::None, Flow::Ends),
            },
            |_| {},
        );
    }

    /// The address of a work item.
    fn work_of(&self, record: &Record<'_>) -> Option<u64> {
        match self.fields.value(record, "work")? {
            Value::Pointer(work) | Value::Code(work) | Value::Unsigned(work) => Some(work),
            _ => None,
        }
    }

    /// Ends what is open, and writes what is left.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self, names: &mut Names<'_>) -> io::Result<SliceTally> {
        let (packets, tally) = (&mut self.packets, &mut self.tally);
        let mut last_ns = 0;
        self.slices.finish(|task, at, step| {
            last_ns = at;
            packets.step(task_uuid(task), at, step, names, tally);
            Ok(())
        })?;
        let mut executing: Vec<Task> = self.executing.into_iter().collect();
        executing.sort_unstable();
        for task in executing {
            SliceTally::count(&mut tally.without_exit);
            packets.end(work_track(task_uuid(task)), last_ns.max(packets.latest_ns));
        }
        self.out.write_all(&self.packets.bytes.0)?;
        self.out.flush()?;
        Ok(self.tally)
    }
}

/// Tracks of tasks, of their work, and of idle tasks have numbers of their own; none is 0.
fn task_uuid(task: Task) -> u64 {
    match task {
        Task::Pid(pid) => (1 << 33) | u64::from(pid.cast_unsigned()),
        Task::Idle { cpu } => (1 << 34) | u64::from(cpu),
    }
}

fn work_track(track: u64) -> u64 {
    track | (1 << 35)
}

impl Packets {
    /// Adds a packet. The first one of all says that nothing is known yet, all others that what was told is needed.
    fn packet(&mut self, timestamp_ns: Option<u64>, write: impl FnOnce(&mut Message)) {
        let flags = if std::mem::replace(&mut self.begun, true) {
            NEEDS_INCREMENTAL_STATE
        } else {
            INCREMENTAL_STATE_CLEARED
        };
        self.latest_ns = self.latest_ns.max(timestamp_ns.unwrap_or(0));
        self.bytes.message(field::TRACE_PACKET, |packet| {
            if let Some(timestamp) = timestamp_ns {
                packet.varint(field::packet::TIMESTAMP, timestamp);
            }
            packet.varint(field::packet::SEQUENCE_ID, SEQUENCE);
            packet.varint(field::packet::SEQUENCE_FLAGS, flags);
            write(packet);
        });
    }

    /// Describes a track, once.
    fn describe(&mut self, uuid: u64, write: impl FnOnce(&mut Message)) {
        if self.tracks.len() >= MOST_TRACKS || !self.tracks.insert(uuid) {
            return;
        }
        self.packet(None, |packet| {
            packet.message(field::packet::TRACK_DESCRIPTOR, |descriptor| {
                descriptor.varint(field::descriptor::UUID, uuid);
                write(descriptor);
            });
        });
    }

    /// The track of a task, described if it was not.
    fn task_track(&mut self, task: Task, names: &mut Names<'_>) -> u64 {
        let uuid = task_uuid(task);
        if !self.tracks.contains(&uuid) {
            self.describe(uuid, |descriptor| match task {
                Task::Idle { cpu } => {
                    let name = format!("{} cpu {cpu}", names.task(task));
                    descriptor.bytes(field::descriptor::NAME, name.as_bytes());
                }
                Task::Pid(pid) => descriptor.message(field::descriptor::THREAD, |thread| {
                    thread.signed(field::descriptor::THREAD_PID, i64::from(pid));
                    thread.signed(field::descriptor::THREAD_TID, i64::from(pid));
                    let name = names.tasks().name(pid);
                    thread.bytes(field::descriptor::THREAD_NAME, name.as_bytes());
                }),
            });
        }
        uuid
    }

    fn step(
        &mut self,
        track: u64,
        at_ns: u64,
        step: Step,
        names: &mut Names<'_>,
        tally: &mut SliceTally,
    ) {
        match step {
            Step::Begin { function } => {
                SliceTally::count(&mut tally.slices);
                self.begin(track, at_ns, names.function(function));
            }
            Step::End {
                retval,
                is_seen: true,
            } => self.returned(track, at_ns, retval),
            Step::End { is_seen: false, .. } => {
                SliceTally::count(&mut tally.without_exit);
                self.end(track, at_ns);
            }
            Step::Whole {
                function,
                started_ns,
                retval,
            } => {
                SliceTally::count(&mut tally.slices);
                SliceTally::count(&mut tally.without_entry);
                self.begin(track, started_ns, names.function(function));
                self.returned(track, at_ns, retval);
            }
        }
    }

    fn begin(&mut self, track: u64, at_ns: u64, name: &str) {
        let event = TrackEvent {
            kind: Type::SliceBegin,
            at_ns,
            track,
            name: Some(name),
            flow: Flow::None,
        };
        self.track_event(&event, |_| {});
    }

    fn returned(&mut self, track: u64, at_ns: u64, retval: Option<i64>) {
        let event = TrackEvent {
            kind: Type::SliceEnd,
            at_ns,
            track,
            name: None,
            flow: Flow::None,
        };
        self.track_event(&event, |message| {
            if let Some(retval) = retval {
                annotate_number(message, "retval", fields::return_value(retval));
            }
        });
    }

    /// Ends a slice whose end was not seen.
    fn end(&mut self, track: u64, at_ns: u64) {
        let event = TrackEvent {
            kind: Type::SliceEnd,
            at_ns,
            track,
            name: None,
            flow: Flow::None,
        };
        self.track_event(&event, |message| {
            annotate_text(message, "exit", b"not seen")
        });
    }

    fn instant(
        &mut self,
        record: &Record<'_>,
        track: u64,
        fields: &Fields,
        flow: Flow,
        names: &mut Names<'_>,
    ) {
        let name = match record.event {
            Event::Function { ip, .. } => names.function(ip).to_owned(),
            _ => fields::event_name(record).1.to_owned(),
        };
        let event = TrackEvent {
            kind: Type::Instant,
            at_ns: record.timestamp_ns,
            track,
            name: Some(&name),
            flow,
        };
        self.track_event(&event, |message| {
            let mut text = Vec::new();
            fields.each(record, |name, value| match value {
                Value::Signed(_) | Value::Unsigned(_) | Value::Pointer(_) => {
                    annotate_number(message, name, value);
                }
                other => {
                    text.clear();
                    other.push_text(names, &mut text);
                    annotate_text(message, name, &text);
                }
            });
        });
    }

    fn track_event(&mut self, event: &TrackEvent<'_>, annotate: impl FnOnce(&mut Message)) {
        // Number of the name, and whether it has to be told.
        let interned = event.name.map(|name| match self.names.get(name) {
            Some(iid) => (*iid, false),
            None if self.names.len() >= MOST_NAMES => (0, true),
            None => {
                let iid = u64::try_from(self.names.len())
                    .unwrap_or(u64::MAX)
                    .saturating_add(1);
                self.names.insert(name.to_owned(), iid);
                (iid, true)
            }
        });
        self.packet(Some(event.at_ns), |packet| {
            packet.message(field::packet::TRACK_EVENT, |message| {
                message.varint(
                    field::event::TYPE,
                    match event.kind {
                        Type::SliceBegin => 1,
                        Type::SliceEnd => 2,
                        Type::Instant => 3,
                    },
                );
                message.varint(field::event::TRACK_UUID, event.track);
                match (interned, event.name) {
                    (Some((0, _)), Some(name)) => {
                        message.bytes(field::event::NAME, name.as_bytes())
                    }
                    (Some((iid, _)), _) => message.varint(field::event::NAME_IID, iid),
                    _ => {}
                }
                match event.flow {
                    Flow::None => {}
                    Flow::Goes(flow) => message.fixed64(field::event::FLOW_IDS, flow),
                    Flow::Ends(flow) => message.fixed64(field::event::TERMINATING_FLOW_IDS, flow),
                }
                annotate(message);
            });
            if let (Some((iid @ 1.., true)), Some(name)) = (interned, event.name) {
                packet.message(field::packet::INTERNED_DATA, |data| {
                    data.message(field::interned::EVENT_NAMES, |interned| {
                        interned.varint(field::interned::IID, iid);
                        interned.bytes(field::interned::NAME, name.as_bytes());
                    });
                });
            }
        });
    }

    /// A scheduling event in Perfetto's own message for it.
    fn scheduling(
        &mut self,
        record: &Record<'_>,
        fields: &Fields,
        number: u32,
        known: &[(u32, &str)],
    ) {
        self.packet(None, |packet| {
            packet.message(field::packet::FTRACE_EVENTS, |bundle| {
                bundle.varint(field::ftrace::CPU, u64::from(record.cpu));
                bundle.message(field::ftrace::EVENT, |event| {
                    event.varint(field::ftrace::TIMESTAMP, record.timestamp_ns);
                    event.varint(field::ftrace::PID, u64::from(record.pid.cast_unsigned()));
                    event.message(number, |message| {
                        fields.each(record, |name, value| {
                            let Some((number, _)) = known.iter().find(|(_, known)| *known == name)
                            else {
                                return;
                            };
                            match value {
                                Value::Text(text) => {
                                    let text = String::from_utf8_lossy(text);
                                    message.bytes(*number, text.as_bytes());
                                }
                                Value::Signed(value) => message.signed(*number, value),
                                Value::Unsigned(value) => message.varint(*number, value),
                                _ => {}
                            }
                        });
                    });
                });
            });
        });
    }
}

fn annotate_text(message: &mut Message, name: &str, text: &[u8]) {
    message.message(field::event::DEBUG_ANNOTATIONS, |annotation| {
        annotation.bytes(field::annotation::NAME, name.as_bytes());
        // A string is UTF-8, or the whole packet is refused.
        let text = String::from_utf8_lossy(text);
        annotation.bytes(field::annotation::STRING, text.as_bytes());
    });
}

fn annotate_number(message: &mut Message, name: &str, value: Value<'_>) {
    message.message(field::event::DEBUG_ANNOTATIONS, |annotation| {
        annotation.bytes(field::annotation::NAME, name.as_bytes());
        match value {
            Value::Signed(value) => annotation.signed(field::annotation::INT, value),
            Value::Pointer(value) => annotation.varint(field::annotation::POINTER, value),
            Value::Unsigned(value) => annotation.varint(field::annotation::UINT, value),
            _ => {}
        }
    });
}
