// SPDX-License-Identifier: GPL-2.0-only

//! Writes each record as one line of JSON. `script` gives the same lines to a program.
//!
//! In: records by time. Out: JSON lines, an object each, with these keys in this order:
//!
//! | Key | Type | Is |
//! | --- | --- | --- |
//! | `timestamp_ns` | integer | time in units of the trace's clock: nanoseconds mostly |
//! | `cpu` | integer | the CPU it was made on |
//! | `pid` | integer | the task it was made in; 0 is the idle task of that CPU |
//! | `task` | string | that task's name, `<...>` if it was not saved |
//! | `flags` | integer | `common_flags` |
//! | `preempt_count` | integer | `common_preempt_count` |
//! | `system`, `event` | string | the event |
//! | `function` | string | function_graph and `function` only: the function's name |
//! | `duration_ns` | integer | `funcgraph_exit` only: the kernel's own duration, `rettime - calltime` |
//! | `fields` | object | the event's own fields, as in [`crate::fields`] |
//!
//! An integer beyond 2^53 is a string of its decimal digits, in `fields` and beside it, so that no reader loses any.

use std::io;

use deferinit_ftrace::record::{Event, Record};

use crate::expression::duration_ns;
use crate::fields::{self, Fields};
use crate::names::Names;
use crate::numbers;

/// Bytes that are gathered before they are written.
const BLOCK: usize = 1 << 16;

/// Writes records as JSON lines.
#[derive(Debug)]
pub struct JsonLines<'a, W> {
    out: W,
    fields: &'a Fields,
    buffer: Vec<u8>,
    flushing: Flushing,
    written: u64,
}

/// When lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushing {
    /// Many at once: for files.
    Blocks,
    /// Each as it comes: for a program that acts on them.
    Lines,
}

impl<'a, W: io::Write> JsonLines<'a, W> {
    /// Writes lines to `out`.
    #[must_use]
    pub fn new(out: W, fields: &'a Fields, flushing: Flushing) -> Self {
        Self {
            out,
            fields,
            buffer: Vec::new(),
            flushing,
            written: 0,
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What the writer says; a program that no longer reads is [`io::ErrorKind::BrokenPipe`].
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) -> io::Result<()> {
        push_record(&mut self.buffer, record, self.fields, names);
        self.written = self.written.saturating_add(1);
        if self.flushing == Flushing::Lines || self.buffer.len() >= BLOCK {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        if self.flushing == Flushing::Lines {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Writes what is left, and tells how many records were written.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        Ok(self.written)
    }
}

/// Writes one record as a line, its newline included.
pub fn push_record(out: &mut Vec<u8>, record: &Record<'_>, fields: &Fields, names: &mut Names<'_>) {
    let (system, event) = fields::event_name(record);
    out.extend_from_slice(b"{\"timestamp_ns\":");
    numbers::push_json_unsigned(out, record.timestamp_ns);
    out.extend_from_slice(b",\"cpu\":");
    numbers::push_decimal(out, u64::from(record.cpu));
    out.extend_from_slice(b",\"pid\":");
    numbers::push_signed(out, i64::from(record.pid));
    out.extend_from_slice(b",\"task\":");
    numbers::push_json_text(out, names.tasks().name(record.pid).as_bytes());
    out.extend_from_slice(b",\"flags\":");
    numbers::push_decimal(out, u64::from(record.flags));
    out.extend_from_slice(b",\"preempt_count\":");
    numbers::push_decimal(out, u64::from(record.preempt_count));
    out.extend_from_slice(b",\"system\":");
    numbers::push_json_text(out, system.as_bytes());
    out.extend_from_slice(b",\"event\":");
    numbers::push_json_text(out, event.as_bytes());
    if let Some(function) = function_of(record) {
        out.extend_from_slice(b",\"function\":");
        numbers::push_json_text(out, names.function(function).as_bytes());
    }
    if let Some(duration) = duration_ns(record) {
        out.extend_from_slice(b",\"duration_ns\":");
        numbers::push_json_unsigned(out, duration);
    }
    out.extend_from_slice(b",\"fields\":");
    fields.push_json(record, names, out);
    out.extend_from_slice(b"}\n");
}

/// The function that a record is about.
pub(super) fn function_of(record: &Record<'_>) -> Option<u64> {
    match record.event {
        Event::FuncgraphEntry { function, .. } | Event::FuncgraphExit { function, .. } => {
            Some(function)
        }
        Event::Function { ip, .. } => Some(ip),
        _ => None,
    }
}
