// SPDX-License-Identifier: GPL-2.0-only

//! Reads and writes trace.dat files, which trace-cmd and KernelShark open.
//!
//! [`TraceDat`] writes version 7, compressed with zstd. [`TraceFile`] reads version 6 and 7, whoever wrote them.
//! Source: `trace-cmd.dat.v6(5)` and `trace-cmd.dat.v7(5)` of trace-cmd 3.4, and its `lib/trace-cmd/trace-input.c` where
//! the pages are silent.

mod blocks;
mod input;
mod read;
mod rewrite;
mod salvage;
mod write;

pub use blocks::CpuBlocks;
pub use input::{Compression, Error, ErrorKind, Source};
pub use read::{Buffer, CpuSection, Opening, Part, Text, TraceFile};
pub use rewrite::{Error as RewriteError, Rewritten, Selection, rewrite};
pub use write::{Error as WriteError, TraceDat, TraceDatCpu, TraceDatWriter};

/// What every file starts with.
const MAGIC: &[u8; 10] = b"\x17\x08\x44tracing";

/// The section's content is compressed.
const COMPRESSED: u16 = 1;

/// Number of a section, and of the option that points to it.
mod id {
    /// Ends a list of options; as a section, it is the list.
    pub(super) const OPTIONS: u16 = 0;
    pub(super) const DATE: u16 = 1;
    pub(super) const CPU_STAT: u16 = 2;
    pub(super) const BUFFER: u16 = 3;
    pub(super) const TRACE_CLOCK: u16 = 4;
    pub(super) const UNAME: u16 = 5;
    pub(super) const OFFSET: u16 = 7;
    pub(super) const CPU_COUNT: u16 = 8;
    pub(super) const VERSION: u16 = 9;
    pub(super) const TIME_SHIFT: u16 = 12;
    pub(super) const TSC_TO_NS: u16 = 14;
    pub(super) const STRINGS: u16 = 15;
    pub(super) const HEADER_INFO: u16 = 16;
    pub(super) const FTRACE_EVENTS: u16 = 17;
    pub(super) const EVENT_FORMATS: u16 = 18;
    pub(super) const KALLSYMS: u16 = 19;
    pub(super) const PRINTK: u16 = 20;
    pub(super) const CMD_LINES: u16 = 21;
    pub(super) const BUFFER_TEXT: u16 = 22;
}
