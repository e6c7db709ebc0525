// SPDX-License-Identifier: GPL-2.0-only

//! Makes sub-buffers, records and regions as a kernel would, by a real guest's formats.

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::PageLayout;

pub(crate) const HEADER_PAGE: &str = include_str!("../data/linux-7.3.4/header_page");
pub(crate) const HEADER_EVENT: &str = include_str!("../data/linux-7.3.4/header_event");

/// Bytes of a sub-buffer, and of its header.
pub(crate) const SUB_BUFFER: usize = 4096;
const HEADER: usize = 16;

macro_rules! formats {
    ($($system:literal / $event:literal),* $(,)?) => {
        [$(($system, include_str!(concat!("../data/linux-7.3.4/formats/", $system, "/", $event)))),*]
    };
}

/// System and text of the format files.
pub(crate) const FORMATS: [(&str, &str); 23] = formats![
    "ftrace" / "function",
    "ftrace" / "print",
    "ftrace" / "funcgraph_exit",
    "ftrace" / "funcgraph_entry",
    "initcall" / "initcall_start",
    "initcall" / "initcall_finish",
    "module" / "module_load",
    "module" / "module_free",
    "module" / "module_get",
    "module" / "module_put",
    "test_deferred" / "deferred_item_armed",
    "test_deferred" / "deferred_item_queued",
    "test_deferred" / "deferred_item_started",
    "test_deferred" / "deferred_item_ended",
    "test_deferred" / "deferred_item_cancelled",
    "timer" / "timer_start",
    "timer" / "timer_cancel",
    "timer" / "timer_expire_entry",
    "timer" / "timer_expire_exit",
    "workqueue" / "workqueue_queue_work",
    "workqueue" / "workqueue_activate_work",
    "workqueue" / "workqueue_execute_start",
    "workqueue" / "workqueue_execute_end",
];

pub(crate) fn layout() -> PageLayout {
    PageLayout::parse(HEADER_PAGE, HEADER_EVENT).expect("the texts are a real kernel's")
}

pub(crate) fn formats() -> Formats {
    let mut formats = Formats::new();
    for (system, text) in FORMATS {
        formats
            .add(system, text)
            .expect("the text is a real kernel's");
    }
    formats
}

/// A sub-buffer in the making.
#[derive(Clone)]
pub(crate) struct Page {
    timestamp: u64,
    flags: u64,
    data: Vec<u8>,
}

impl Page {
    pub(crate) fn at(timestamp: u64) -> Self {
        Self {
            timestamp,
            flags: 0,
            data: Vec::new(),
        }
    }

    /// Marks it as having lost events, how many not said.
    pub(crate) fn missed(mut self) -> Self {
        self.flags |= 1 << 31;
        self
    }

    /// Marks it as having lost so many events, and ends it.
    pub(crate) fn missed_count(mut self, count: u64) -> Vec<u8> {
        self.flags |= 3 << 30;
        let end = HEADER + self.data.len();
        let mut bytes = self.end();
        bytes[end..end + 8].copy_from_slice(&count.to_le_bytes());
        bytes
    }

    /// Adds a record `delta` after the one before.
    pub(crate) fn record(mut self, delta: u32, payload: &[u8]) -> Self {
        let padded = payload.len().next_multiple_of(4);
        if padded <= 112 {
            self.word((delta << 5) | u32::try_from(padded / 4).expect("it is at most 28"));
        } else {
            self.word(delta << 5);
            self.word(u32::try_from(padded + 4).expect("it is small"));
        }
        self.data.extend(payload);
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        self
    }

    /// Adds anything.
    pub(crate) fn words(mut self, words: &[u32]) -> Self {
        words.iter().for_each(|word| self.word(*word));
        self
    }

    pub(crate) fn end(self) -> Vec<u8> {
        assert!(
            self.data.len() <= SUB_BUFFER - HEADER,
            "the data fits a sub-buffer"
        );
        let mut bytes = self.timestamp.to_le_bytes().to_vec();
        bytes.extend((self.flags | self.data.len() as u64).to_le_bytes());
        bytes.extend(self.data);
        bytes.resize(SUB_BUFFER, 0);
        bytes
    }

    fn word(&mut self, word: u32) {
        self.data.extend(word.to_le_bytes());
    }
}

/// A payload: the common fields of an event, then these bytes.
pub(crate) fn payload(event: (&str, &str), pid: i32, fields: &[&[u8]]) -> Vec<u8> {
    let id = formats()
        .by_name(event.0, event.1)
        .expect("the event is among the formats")
        .id();
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend([0x01, 0x02]);
    bytes.extend(pid.to_le_bytes());
    fields.iter().for_each(|field| bytes.extend(*field));
    bytes
}

pub(crate) fn entry(pid: i32, function: u64, depth: u64) -> Vec<u8> {
    payload(
        ("ftrace", "funcgraph_entry"),
        pid,
        &[&function.to_le_bytes(), &depth.to_le_bytes()],
    )
}

pub(crate) fn exit(pid: i32, function: u64, depth: u32, retval: i64, times: (u64, u64)) -> Vec<u8> {
    payload(
        ("ftrace", "funcgraph_exit"),
        pid,
        &[
            &function.to_le_bytes(),
            &retval.to_le_bytes(),
            &depth.to_le_bytes(),
            &7_u32.to_le_bytes(),
            &times.0.to_le_bytes(),
            &times.1.to_le_bytes(),
        ],
    )
}

pub(crate) fn print(pid: i32, text: &[u8]) -> Vec<u8> {
    payload(
        ("ftrace", "print"),
        pid,
        &[&0xffff_ffff_8110_0000_u64.to_le_bytes(), text, b"\0"],
    )
}

/// A persistent instance's memory in the making.
pub(crate) struct Memory {
    pub(crate) long: usize,
    pub(crate) cpu_meta: usize,
    pub(crate) cpus: Vec<Cpu>,
    /// Bytes behind the last CPU's sub-buffers.
    pub(crate) rest: usize,
}

/// One CPU's part of it.
#[derive(Clone)]
pub(crate) struct Cpu {
    /// Index of the head's sub-buffer; `None` if the CPU never came up.
    pub(crate) head: Option<u64>,
    /// Index of the commit page's.
    pub(crate) commit: u64,
    /// `buffers[]`.
    pub(crate) order: Vec<i32>,
    /// The sub-buffers as they lie; blank ones follow.
    pub(crate) pages: Vec<Vec<u8>>,
}

impl Memory {
    /// Of a 64-bit kernel.
    pub(crate) fn of(cpus: Vec<Cpu>) -> Self {
        Self {
            long: 8,
            cpu_meta: 32,
            cpus,
            rest: 0,
        }
    }

    /// Where the guest has it mapped.
    fn base(&self) -> u64 {
        if self.long == 8 {
            0xffff_c900_0001_0000
        } else {
            0xf800_0000
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut bytes = 0x0bad_feed_u32.to_le_bytes().to_vec();
        let head = 8 + 2 * self.long;
        bytes.extend(
            u32::try_from((head << 16) | self.cpu_meta)
                .expect("both are small")
                .to_le_bytes(),
        );
        // Between the head and the first CPU is what the kernel notes about its modules.
        let scratch = 0x430;
        bytes.resize(head, 0);
        bytes.resize(scratch, 0x5c);
        for cpu in &self.cpus {
            self.add_cpu(cpu, &mut bytes);
        }
        bytes.resize(bytes.len() + self.rest, 0);
        let total = bytes.len() as u64;
        bytes[8..8 + self.long].copy_from_slice(&total.to_le_bytes()[..self.long]);
        bytes[8 + self.long..head].copy_from_slice(&(scratch as u64).to_le_bytes()[..self.long]);
        bytes
    }

    fn add_cpu(&self, cpu: &Cpu, bytes: &mut Vec<u8>) {
        let meta = bytes.len();
        let data = (meta + self.cpu_meta + 4 * cpu.order.len()).next_multiple_of(SUB_BUFFER);
        let first = self.base() + data as u64;
        let at = |place: u64| first + place * SUB_BUFFER as u64;
        let (head, commit) = cpu.head.map_or((0, 0), |head| (at(head), at(cpu.commit)));
        for pointer in [first, head, commit] {
            bytes.extend(&pointer.to_le_bytes()[..self.long]);
        }
        bytes.extend((SUB_BUFFER as u32).to_le_bytes());
        bytes.extend((cpu.order.len() as u32).to_le_bytes());
        bytes.resize(meta + self.cpu_meta, 0);
        bytes.extend(cpu.order.iter().flat_map(|place| place.to_le_bytes()));
        bytes.resize(data, 0);
        cpu.pages.iter().for_each(|page| bytes.extend(page));
        bytes.resize(data + cpu.order.len() * SUB_BUFFER, 0);
    }
}
