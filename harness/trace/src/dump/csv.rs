// SPDX-License-Identifier: GPL-2.0-only

//! Writes each record as a row of a table.
//!
//! In: records by time. Out: comma-separated values as RFC 4180 has them, but for lines that end in a newline alone; the
//! first row holds the columns' names:
//!
//! | Column | Is |
//! | --- | --- |
//! | `timestamp_ns` | time in units of the trace's clock: nanoseconds mostly |
//! | `cpu` | the CPU it was made on |
//! | `pid` | the task it was made in; 0 is the idle task of that CPU |
//! | `task` | that task's name, `<...>` if it was not saved |
//! | `flags` | flags as the kernel's traces show them: `d..2.` |
//! | `system`, `event` | the event |
//! | `function` | function_graph and `function`: the function's name; else empty |
//! | `depth` | function_graph: how many traced functions are around it; else empty |
//! | `duration_ns` | `funcgraph_exit`: the kernel's own duration, `rettime - calltime`; else empty |
//! | `retval` | `funcgraph_exit`: what was returned, where the kernel records it; else empty |
//! | `fields` | all fields as text, `NAME=VALUE` with blanks between, as in [`crate::fields`] |

use std::io;

use deferinit_ftrace::record::Record;

use super::json::function_of;
use crate::expression::duration_ns;
use crate::fields::{self, Fields, TypedField};
use crate::names::{self, Names};
use crate::numbers;

/// The first row.
pub const COLUMNS: &str =
    "timestamp_ns,cpu,pid,task,flags,system,event,function,depth,duration_ns,retval,fields";

/// Bytes that are gathered before they are written.
const BLOCK: usize = 1 << 16;

/// Writes records as comma-separated values.
#[derive(Debug)]
pub struct Csv<'a, W> {
    out: W,
    fields: &'a Fields,
    buffer: Vec<u8>,
    cell: Vec<u8>,
    written: u64,
}

impl<'a, W: io::Write> Csv<'a, W> {
    /// Starts a table.
    #[must_use]
    pub fn new(out: W, fields: &'a Fields) -> Self {
        let mut buffer = COLUMNS.as_bytes().to_vec();
        buffer.push(b'\n');
        Self {
            out,
            fields,
            buffer,
            cell: Vec::new(),
            written: 0,
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What the writer says.
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) -> io::Result<()> {
        let (out, cell) = (&mut self.buffer, &mut self.cell);
        let (system, event) = fields::event_name(record);
        numbers::push_decimal(out, record.timestamp_ns);
        out.push(b',');
        numbers::push_decimal(out, u64::from(record.cpu));
        out.push(b',');
        numbers::push_signed(out, i64::from(record.pid));
        out.push(b',');
        push_cell(out, names.tasks().name(record.pid).as_bytes());
        out.push(b',');
        names::push_flags(out, record.flags, record.preempt_count);
        out.push(b',');
        push_cell(out, system.as_bytes());
        out.push(b',');
        push_cell(out, event.as_bytes());
        out.push(b',');
        if let Some(function) = function_of(record) {
            push_cell(out, names.function(function).as_bytes());
        }
        out.push(b',');
        if let Some(depth) = TypedField::Depth.value(record) {
            depth.push_text(names, out);
        }
        out.push(b',');
        if let Some(duration) = duration_ns(record) {
            numbers::push_decimal(out, duration);
        }
        out.push(b',');
        if let Some(retval) = TypedField::ReturnValue.value(record) {
            retval.push_text(names, out);
        }
        out.push(b',');
        cell.clear();
        self.fields.each(record, |name, value| {
            if !cell.is_empty() {
                cell.push(b' ');
            }
            cell.extend_from_slice(name.as_bytes());
            cell.push(b'=');
            value.push_text(names, cell);
        });
        push_cell(out, cell);
        out.push(b'\n');
        self.written = self.written.saturating_add(1);
        if self.buffer.len() >= BLOCK {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
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

/// A cell, in quotes if it must be. What is no UTF-8 in it is replaced.
fn push_cell(out: &mut Vec<u8>, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if text.contains([',', '"', '\n', '\r']) {
        out.push(b'"');
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}
