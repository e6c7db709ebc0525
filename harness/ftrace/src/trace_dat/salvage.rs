// SPDX-License-Identifier: GPL-2.0-only

//! Finds what is left of a version 7 file whose end is missing, where the options would say what is where.
//!
//! In: the file. Out: the sections that describe the trace, and as many chunks of each CPU as are whole.
//! A writer puts section after section, and each CPU's chunks on a page boundary: so the file can be walked. It is
//! only done when the options cannot be read, since nothing else says which CPU is which: they are taken to be in order.

use crate::page::PageLayout;
use crate::trace_dat::blocks::{check_size, sizes};
use crate::trace_dat::id;
use crate::trace_dat::input::{Compression, Source, fill};
use crate::trace_dat::read::{Buffer, CpuSection, Description, Head, Part};

/// Bytes of a section's header.
const SECTION_HEADER: u64 = 16;

/// Reads the sections that are there.
pub(super) fn sections<S: Source>(source: &S, head: Head, description: &mut Description) {
    let mut at = head.first_section;
    while let Ok((number, part)) = Head::section(source, at) {
        match number {
            id::BUFFER => {
                at = buffer(source, head, part, description);
                continue;
            }
            id::HEADER_INFO
            | id::FTRACE_EVENTS
            | id::EVENT_FORMATS
            | id::KALLSYMS
            | id::PRINTK
            | id::CMD_LINES => {
                if let Err(error) = description.read_section(source, head, number, part) {
                    description.notices.push(error);
                }
            }
            id::OPTIONS | id::STRINGS | id::BUFFER_TEXT => {}
            // No section of this format: the walk has lost its way, or is at the end.
            _ => return,
        }
        let Some(next) = part.offset().checked_add(part.size()) else {
            return;
        };
        // A section without an end is the last one.
        if part.size() == 0 || next > source.size() {
            return;
        }
        at = next;
    }
}

/// Walks a buffer's chunks; returns where they end.
fn buffer<S: Source>(source: &S, head: Head, part: Part, description: &mut Description) -> u64 {
    let sub_buffer_size = description.layout().map_or(0, PageLayout::sub_buffer_size);
    let mut found = Buffer {
        name: String::new(),
        clock: String::new(),
        sub_buffer_size,
        cpus: Vec::new(),
        text: None,
    };
    let align = u64::from(head.page_size.max(1));
    let mut at = part.offset();
    if part.is_compressed() && head.compression != Compression::None && sub_buffer_size > 0 {
        for cpu in 0.. {
            let Some(start) = at.checked_next_multiple_of(align) else {
                break;
            };
            let Some(end) = chunks(source, start, sub_buffer_size) else {
                break;
            };
            found.cpus.push(CpuSection {
                cpu,
                offset: start,
                size: end.saturating_sub(start),
            });
            at = end;
        }
    }
    if !found.cpus.is_empty() {
        description.buffers.push(found);
    }
    at.max(part.offset().saturating_add(SECTION_HEADER))
}

/// Where the chunks of a CPU end; `None` if there are none at `start`.
fn chunks<S: Source>(source: &S, start: u64, sub_buffer_size: usize) -> Option<u64> {
    let mut count = [0; 4];
    fill(source, start, "the number of chunks", &mut count).ok()?;
    let count = u32::from_le_bytes(count);
    let mut at = start.checked_add(4)?;
    let mut walked = 0_u32;
    while walked < count {
        let mut head = [0; 8];
        if fill(source, at, "a chunk's sizes", &mut head).is_err() {
            break;
        }
        let (stored, size) = sizes(head);
        if check_size(at, size, sub_buffer_size).is_err() || stored == 0 {
            break;
        }
        at = at.saturating_add(8).saturating_add(stored);
        walked = walked.saturating_add(1);
        if at >= source.size() {
            // The last one is cut off: the decoder will say so.
            break;
        }
    }
    (walked > 0).then_some(at.min(source.size().max(start)))
}
