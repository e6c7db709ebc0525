// SPDX-License-Identifier: GPL-2.0-only

//! Types the records of the ring buffer by the guest's own format files.
//!
//! In: a raw record and the formats. Out: a [`Record`] that borrows from both; function_graph's events, `function` and
//! `print` typed, every other one with access to its fields by name.
//! It copies nothing and allocates nothing, but for an error.
//! Source: `kernel/trace/trace_entries.h` for the names of the typed events' fields, Linux 7.3; their places are read
//! from the format files.

use std::fmt;

use crate::bytes::until_nul;
use crate::format::{Error as FormatError, EventFormat, FieldError, FormatIndex, Formats, Integer};
use crate::page::RawRecord;

/// One event as it happened.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Absolute time in the unit of the instance's clock: nanoseconds with `local`, `global`, `mono` and `boot`.
    pub timestamp_ns: u64,
    /// The CPU it happened on.
    pub cpu: u32,
    /// The task it happened in. 0 is the idle task of that CPU: one task per CPU.
    pub pid: i32,
    /// `common_flags`: 0x01 interrupts off, 0x04 resched wanted, 0x08 hard interrupt, 0x10 soft interrupt, 0x40 NMI,
    /// 0x80 bottom halves off (`enum trace_flag_type`, `include/linux/trace_events.h`).
    pub flags: u8,
    /// `common_preempt_count`: depth of disabled preemption in the low four bits, of disabled migration in the others.
    pub preempt_count: u8,
    /// What happened.
    pub event: Event<'a>,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A traced function was entered (`funcgraph_entry`, `fgraph_retaddr_entry`).
    FuncgraphEntry {
        /// An address in the function: where its call of ftrace is. Resolve it by range.
        function: u64,
        /// How many traced functions are around it in the same task.
        depth: u64,
    },
    /// A traced function returned (`funcgraph_exit`).
    FuncgraphExit {
        /// The address its entry has.
        function: u64,
        /// The depth its entry has.
        depth: u64,
        /// What it returned, if the kernel records that (CONFIG_FUNCTION_GRAPH_RETVAL). The register's bits: the
        /// upper ones mean nothing when the function returns less than a `long`.
        retval: Option<i64>,
        /// Calls this task could not trace since its shadow stack was full.
        overrun: u64,
        /// When it was entered, in nanoseconds of the local clock, whatever the instance's clock is.
        calltime: u64,
        /// When it returned, in nanoseconds of the local clock, whatever the instance's clock is.
        rettime: u64,
    },
    /// A function was called (`function`).
    Function {
        /// An address in the function.
        ip: u64,
        /// An address in its caller.
        parent_ip: u64,
    },
    /// A text from `trace_marker` or `trace_printk` (`print`), without the newline at its end. A text that is no UTF-8
    /// is [`Event::Other`] instead.
    Print {
        /// An address in the function that wrote it.
        ip: u64,
        /// The text.
        text: &'a str,
    },
    /// Any other event.
    Other(FieldAccess<'a>),
}

/// The fields of a record, by name.
#[derive(Clone, Copy)]
pub struct FieldAccess<'a> {
    format: &'a EventFormat,
    payload: &'a [u8],
}

/// Why a raw record is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The payload is too short for the common fields.
    #[error("a payload of {bytes} bytes is too short for the {needed} of the common fields")]
    NoCommonFields {
        /// Bytes the payload has.
        bytes: usize,
        /// Bytes the common fields take.
        needed: usize,
    },
    /// No format file describes this id.
    #[error("event id {0} has no format")]
    UnknownEvent(u16),
    /// The payload is too short for its event.
    #[error("a payload of {bytes} bytes is too short for a {event}")]
    Short {
        /// Bytes the payload has.
        bytes: usize,
        /// The event, as `system:name`.
        event: String,
    },
}

/// Which variant of [`Event`] an event's records become, with the getters for it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    FuncgraphEntry { function: Integer, depth: Integer },
    FuncgraphExit(ExitShape),
    Function { ip: Integer, parent_ip: Integer },
    Print { ip: Integer, text: usize },
    Other,
}

/// The getters of `funcgraph_exit`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExitShape {
    function: Integer,
    depth: Integer,
    retval: Option<Integer>,
    overrun: Integer,
    calltime: Integer,
    rettime: Integer,
}

impl Shape {
    /// Finds the getters for the events this crate types.
    pub(crate) fn of(format: &EventFormat) -> Result<Self, FormatError> {
        if format.system() != "ftrace" {
            return Ok(Self::Other);
        }
        Ok(match format.name() {
            "funcgraph_entry" | "fgraph_retaddr_entry" => Self::FuncgraphEntry {
                function: format.needed("func")?,
                depth: format.needed("depth")?,
            },
            "funcgraph_exit" => Self::FuncgraphExit(ExitShape {
                function: format.needed("func")?,
                depth: format.needed("depth")?,
                retval: format.field("retval").and_then(|field| field.integer()),
                overrun: format.needed("overrun")?,
                calltime: format.needed("calltime")?,
                rettime: format.needed("rettime")?,
            }),
            "function" => Self::Function {
                ip: format.needed("ip")?,
                parent_ip: format.needed("parent_ip")?,
            },
            "print" => {
                let text = format.field("buf").ok_or_else(|| FormatError::NoField {
                    event: format.full_name(),
                    field: "buf",
                })?;
                Self::Print {
                    ip: format.needed("ip")?,
                    text: text.offset(),
                }
            }
            _ => Self::Other,
        })
    }
}

impl Shape {
    /// Bytes a payload must have for its getters.
    pub(crate) fn end(self) -> usize {
        let ends = |integers: &[Integer]| integers.iter().map(|one| one.end()).max().unwrap_or(0);
        match self {
            Self::FuncgraphEntry { function, depth } => ends(&[function, depth]),
            Self::FuncgraphExit(exit) => ends(&[
                exit.function,
                exit.depth,
                exit.retval.unwrap_or(exit.depth),
                exit.overrun,
                exit.calltime,
                exit.rettime,
            ]),
            Self::Function { ip, parent_ip } => ends(&[ip, parent_ip]),
            Self::Print { ip, text } => text.max(ip.end()),
            Self::Other => 0,
        }
    }
}

impl<'a> Record<'a> {
    /// Types a raw record of `cpu`.
    ///
    /// # Errors
    /// [`Error`] when the formats do not know the event, or the payload is shorter than its event.
    pub fn decode(formats: &'a Formats, cpu: u32, raw: RawRecord<'a>) -> Result<Self, Error> {
        formats
            .of_payload(raw.payload)
            .and_then(|format| Self::typed(formats, format, cpu, raw.timestamp_ns, raw.payload))
            .ok_or_else(|| formats.why_not(raw.payload))
    }

    /// Types a payload whose format was found by [`Formats::of_payload`]; `None` if it was not.
    #[inline]
    pub(crate) fn typed(
        formats: &'a Formats,
        format: FormatIndex,
        cpu: u32,
        timestamp_ns: u64,
        payload: &'a [u8],
    ) -> Option<Self> {
        let common = formats.common()?.read(payload)?;
        Some(Self {
            timestamp_ns,
            cpu,
            pid: common.pid,
            flags: common.flags,
            preempt_count: common.preempt_count,
            event: decode_event(formats.at(format)?, payload)?,
        })
    }
}

/// `None` when the payload is too short.
#[inline]
fn decode_event<'a>(format: &'a EventFormat, payload: &'a [u8]) -> Option<Event<'a>> {
    let other = Event::Other(FieldAccess { format, payload });
    Some(match format.shape() {
        Shape::FuncgraphEntry { function, depth } => Event::FuncgraphEntry {
            function: function.bits(payload)?,
            depth: depth.bits(payload)?,
        },
        Shape::FuncgraphExit(exit) => Event::FuncgraphExit {
            function: exit.function.bits(payload)?,
            depth: exit.depth.bits(payload)?,
            retval: match exit.retval {
                Some(retval) => Some(retval.extended(payload)?),
                None => None,
            },
            overrun: exit.overrun.bits(payload)?,
            calltime: exit.calltime.bits(payload)?,
            rettime: exit.rettime.bits(payload)?,
        },
        Shape::Function { ip, parent_ip } => Event::Function {
            ip: ip.bits(payload)?,
            parent_ip: parent_ip.bits(payload)?,
        },
        Shape::Print { ip, text } => match std::str::from_utf8(until_nul(payload.get(*text..)?)) {
            Ok(text) => Event::Print {
                ip: ip.bits(payload)?,
                text: text.strip_suffix('\n').unwrap_or(text),
            },
            Err(_) => other,
        },
        Shape::Other => other,
    })
}

impl<'a> FieldAccess<'a> {
    /// The event's system: `workqueue`.
    #[must_use]
    pub fn system(&self) -> &'a str {
        self.format.system()
    }

    /// The event's name within the system: `workqueue_execute_start`.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.format.name()
    }

    /// The event's format.
    #[must_use]
    pub fn format(&self) -> &'a EventFormat {
        self.format
    }

    /// The whole payload, common fields included.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The value of an integer field that is not negative.
    ///
    /// # Errors
    /// [`FieldError`]: no such field, no integer, outside of the payload, or negative.
    pub fn unsigned(&self, field: &str) -> Result<u64, FieldError> {
        self.field(field)?.unsigned(self.payload)
    }

    /// The value of an integer field.
    ///
    /// # Errors
    /// [`FieldError`]: no such field, no integer, outside of the payload, or above `i64::MAX`.
    pub fn signed(&self, field: &str) -> Result<i64, FieldError> {
        self.field(field)?.signed(self.payload)
    }

    /// The bytes of a field; those it points to if it is dynamic.
    ///
    /// # Errors
    /// [`FieldError`]: no such field, or outside of the payload.
    pub fn bytes(&self, field: &str) -> Result<&'a [u8], FieldError> {
        self.field(field)?.bytes(self.payload)
    }

    /// The text of a field, up to the first NUL.
    ///
    /// # Errors
    /// [`FieldError`]: no such field, no array of characters, outside of the payload, or no UTF-8.
    pub fn text(&self, field: &str) -> Result<&'a str, FieldError> {
        self.field(field)?.text(self.payload)
    }

    fn field(&self, name: &str) -> Result<&'a crate::format::Field, FieldError> {
        self.format
            .field(name)
            .ok_or_else(|| FieldError::NoSuchField {
                event: self.format.full_name(),
                field: name.to_owned(),
            })
    }
}

impl fmt::Debug for FieldAccess<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.system(), self.name())?;
        for field in self
            .format
            .fields()
            .iter()
            .filter(|field| !field.name().starts_with("common_"))
        {
            write!(formatter, " {}=", field.name())?;
            match (
                field.text(self.payload),
                field.signed(self.payload),
                field.unsigned(self.payload),
            ) {
                (Ok(text), _, _) => write!(formatter, "{text:?}")?,
                (_, Ok(value), _) => write!(formatter, "{value}")?,
                (_, _, Ok(value)) => write!(formatter, "{value:#x}")?,
                _ => write!(
                    formatter,
                    "{:?}",
                    field.bytes(self.payload).unwrap_or_default()
                )?,
            }
        }
        Ok(())
    }
}
