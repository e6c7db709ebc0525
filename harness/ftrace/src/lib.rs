// SPDX-License-Identifier: GPL-2.0-only

//! Decodes the kernel's ring buffer, and archives it as trace.dat.
//!
//! In: bytes and texts that came from a guest, all untrusted: sub-buffers, `format` files, kallsyms, statistics.
//! Out: typed records merged by time, what was lost or damaged, and a trace.dat file.
//! It does no I/O, reads no clock, knows no scenario, and panics on no input.
//! Source: `include/linux/ring_buffer.h` and `kernel/trace/`, Linux 7.3; `trace-cmd.dat.v7(5)`.
//!
//! The way through the crate:
//!
//! 1. [`page::PageLayout::parse`] takes `events/header_page` and `events/header_event`; [`format::Formats`] takes the
//!    `format` file of every event.
//! 2. [`persistent::Region::parse`] finds each CPU's sub-buffers in a persistent instance's memory;
//!    [`page::CpuSubBuffers::from_stream`] cuts a drained `trace_pipe_raw` into them.
//! 3. [`capture::Capture::records`] iterates over [`record::Record`]s, oldest first, and
//!    [`capture::Records::finish`] tells what was decoded, missed and damaged.
//! 4. [`stats::Stats`] are the kernel's own counts to hold against that, [`symbols::Symbols`] names the addresses, and
//!    [`trace_dat::TraceDat`] writes the archive.
//!
//! Little-endian guests only; 32-bit and 64-bit ones.
//!
//! ```
//! use deferinit_ftrace::capture::Capture;
//! use deferinit_ftrace::format::Formats;
//! use deferinit_ftrace::page::PageLayout;
//! use deferinit_ftrace::persistent::Region;
//! use deferinit_ftrace::record::Event;
//!
//! /// Counts the calls in a persistent instance's memory, or says why it cannot be trusted.
//! fn calls(
//!     memory: &[u8],
//!     header_page: &str,
//!     header_event: &str,
//!     funcgraph_entry: &str,
//! ) -> Result<usize, Box<dyn std::error::Error>> {
//!     let layout = PageLayout::parse(header_page, header_event)?;
//!     let mut formats = Formats::new();
//!     formats.add("ftrace", funcgraph_entry)?;
//!     let region = Region::parse(memory, &layout)?;
//!     let layout = layout.with_sub_buffer_size(region.sub_buffer_size);
//!     let mut records = Capture::new(&formats, layout, region.cpus).records();
//!     let mut calls = 0;
//!     while let Some(record) = records.next_record() {
//!         calls += usize::from(matches!(record.event, Event::FuncgraphEntry { .. }));
//!     }
//!     match records.finish().damage.into_iter().next() {
//!         Some(damage) => Err(damage.into()),
//!         None => Ok(calls),
//!     }
//! }
//! # assert!(calls(&[], "", "", "").is_err());
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod capture;
pub mod encode;
pub mod format;
pub mod page;
pub mod persistent;
pub mod printk_formats;
pub mod record;
pub mod saved_cmdlines;
pub mod stats;
pub mod symbols;
pub mod trace_dat;

mod bytes;
