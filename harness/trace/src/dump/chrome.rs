// SPDX-License-Identifier: GPL-2.0-only

//! Writes Chrome's trace event format.
//!
//! In: records by time. Out: one JSON object. Each task is a thread of the process `kernel`, named `NAME-PID`; each CPU's
//! idle task is one of its own, since they run at the same time: its number is 4194304 (the kernel's largest pid,
//! `PID_MAX_LIMIT` in `include/linux/threads.h`) plus that of the CPU. Times are microseconds of the trace's clock.
//!
//! | Records | Events |
//! | --- | --- |
//! | `funcgraph_entry`, `funcgraph_exit` | `B` and `E`; the latter with `retval` where the kernel records it |
//! | an exit whose entry is missing | `X`, from the kernel's duration |
//! | a call whose exit is missing | `E` with `"exit": "not seen"`, where a call around it goes on, or with the trace |
//! | `function` | an instant named by the function, with its caller |
//! | all others | an instant named by the event, with its fields as in [`crate::fields`] |
//! | | `M`: names of the process and of the threads |
//!
//! Source: "Trace Event Format" of the Chromium project, sections "Duration Events", "Complete Events", "Instant Events"
//! and "Metadata Events".

use std::collections::HashSet;
use std::io;

use deferinit_ftrace::record::{Event, Record};

use super::SliceTally;
use super::slices::{Slices, Step};
use crate::fields::{self, Fields};
use crate::names::Names;
use crate::numbers;
use crate::task::Task;

/// The process all tasks are threads of.
const PROCESS: &[u8] = b"1";

/// The number of CPU 0's idle task: no pid is as large.
const IDLE: u64 = 4_194_304;

/// Threads that are named at most; a kernel has no more pids.
const MOST_TASKS: usize = 1 << 22;

/// Bytes that are gathered before they are written.
const BLOCK: usize = 1 << 16;

/// Writes a trace as Chrome's JSON.
#[derive(Debug)]
pub struct Chrome<'a, W> {
    out: W,
    fields: &'a Fields,
    slices: Slices,
    named: HashSet<Task>,
    tally: SliceTally,
    buffer: Vec<u8>,
}

impl<'a, W: io::Write> Chrome<'a, W> {
    /// Starts a file.
    #[must_use]
    pub fn new(out: W, fields: &'a Fields) -> Self {
        let mut buffer = Vec::with_capacity(BLOCK);
        buffer.extend_from_slice(
            b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n\
              {\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"kernel\"}}",
        );
        Self {
            out,
            fields,
            slices: Slices::default(),
            named: HashSet::new(),
            tally: SliceTally::default(),
            buffer,
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What the writer says.
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) -> io::Result<()> {
        let (out, tally) = (&mut self.buffer, &mut self.tally);
        SliceTally::count(&mut tally.records);
        let task = Task::of(record);
        if self.named.len() < MOST_TASKS && self.named.insert(task) {
            push_thread(out, task, names);
        }
        let is_call = self.slices.record(record, |at, step| {
            push_step(out, task, at, step, names, tally);
            Ok(())
        })?;
        if !is_call {
            SliceTally::count(&mut tally.instants);
            push_instant(out, record, self.fields, names);
        }
        if self.buffer.len() >= BLOCK {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends what is open, and the file.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(self, names: &mut Names<'_>) -> io::Result<SliceTally> {
        let (mut out, mut buffer, mut tally) = (self.out, self.buffer, self.tally);
        self.slices.finish(|task, at, step| {
            push_step(&mut buffer, task, at, step, names, &mut tally);
            Ok(())
        })?;
        buffer.extend_from_slice(b"\n]}\n");
        out.write_all(&buffer)?;
        out.flush()?;
        Ok(tally)
    }
}

fn push_start(out: &mut Vec<u8>, phase: u8, task: Task) {
    out.extend_from_slice(b",\n{\"ph\":\"");
    out.push(phase);
    out.extend_from_slice(b"\",\"pid\":");
    out.extend_from_slice(PROCESS);
    out.extend_from_slice(b",\"tid\":");
    match task {
        Task::Idle { cpu } => numbers::push_decimal(out, IDLE.saturating_add(u64::from(cpu))),
        Task::Pid(pid) => numbers::push_signed(out, i64::from(pid)),
    }
}

fn push_time(out: &mut Vec<u8>, name: &[u8], ns: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
    numbers::push_microseconds(out, ns);
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"name\":");
    numbers::push_json_text(out, name.as_bytes());
}

fn push_thread(out: &mut Vec<u8>, task: Task, names: &mut Names<'_>) {
    push_start(out, b'M', task);
    out.extend_from_slice(b",\"name\":\"thread_name\",\"args\":{\"name\":");
    let label = match task {
        Task::Idle { cpu } => format!("{} cpu {cpu}", names.task(task)),
        Task::Pid(_) => names.task(task).to_owned(),
    };
    numbers::push_json_text(out, label.as_bytes());
    out.extend_from_slice(b"}}");
}

fn push_step(
    out: &mut Vec<u8>,
    task: Task,
    at_ns: u64,
    step: Step,
    names: &mut Names<'_>,
    tally: &mut SliceTally,
) {
    let push_retval = |out: &mut Vec<u8>, retval: Option<i64>, names: &mut Names<'_>| {
        if let Some(retval) = retval {
            out.extend_from_slice(b",\"args\":{\"retval\":");
            fields::return_value(retval).push_json(names, out);
            out.push(b'}');
        }
    };
    match step {
        Step::Begin { function } => {
            SliceTally::count(&mut tally.slices);
            push_start(out, b'B', task);
            push_time(out, b"ts", at_ns);
            push_name(out, names.function(function));
        }
        Step::End { retval, is_seen } => {
            push_start(out, b'E', task);
            push_time(out, b"ts", at_ns);
            push_retval(out, retval, names);
            if !is_seen {
                SliceTally::count(&mut tally.without_exit);
                out.extend_from_slice(b",\"args\":{\"exit\":\"not seen\"}");
            }
        }
        Step::Whole {
            function,
            started_ns,
            retval,
        } => {
            SliceTally::count(&mut tally.slices);
            SliceTally::count(&mut tally.without_entry);
            push_start(out, b'X', task);
            push_time(out, b"ts", started_ns);
            push_time(out, b"dur", at_ns.saturating_sub(started_ns));
            push_name(out, names.function(function));
            push_retval(out, retval, names);
        }
    }
    out.push(b'}');
}

fn push_instant(out: &mut Vec<u8>, record: &Record<'_>, fields: &Fields, names: &mut Names<'_>) {
    let (system, event) = fields::event_name(record);
    push_start(out, b'i', Task::of(record));
    out.extend_from_slice(b",\"s\":\"t\"");
    push_time(out, b"ts", record.timestamp_ns);
    out.extend_from_slice(b",\"cat\":");
    numbers::push_json_text(out, system.as_bytes());
    match record.event {
        Event::Function { ip, .. } => push_name(out, names.function(ip)),
        _ => push_name(out, event),
    }
    out.extend_from_slice(b",\"args\":");
    fields.push_json(record, names, out);
    out.push(b'}');
}
