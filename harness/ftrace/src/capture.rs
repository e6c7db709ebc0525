// SPDX-License-Identifier: GPL-2.0-only

//! Merges the CPUs' sub-buffers into one sequence of records, and keeps account of what was decoded and what was not.
//!
//! In: formats, a page layout and each CPU's sub-buffers. Out: records by time; per CPU how many were decoded and how
//! often the writer marked a loss; and every damage, by its place.
//! It does not judge: a caller holds the [`Tally`] against the kernel's own statistics ([`crate::stats`]).

use crate::format::Formats;
use crate::page::{self, CpuSubBuffers, PageLayout, RawRecord, RawRecords, SubBuffer};
use crate::record::{self, Record};

/// At most this many damages are listed; all are counted.
pub const LISTED_DAMAGES: usize = 64;

/// What is needed to decode the trace of one instance.
#[derive(Debug, Clone)]
pub struct Capture<'a> {
    formats: &'a Formats,
    layout: PageLayout,
    cpus: Vec<CpuSubBuffers<'a>>,
}

/// Iterates over all records by time, those of a lower CPU first at the same time.
///
/// Each CPU's records come in commit order whatever their times are: a CPU whose time goes back from one sub-buffer to
/// the next is a damage ([`DamageKind::SubBufferOrder`]), and its records are not sorted.
#[derive(Debug)]
pub struct Records<'a> {
    formats: &'a Formats,
    cursors: Vec<Cursor<'a>>,
    /// The cursor the next record comes from, and the time up to which that stays so.
    current: Option<(usize, Until)>,
    damage: DamageList,
}

/// What decoding a capture came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// One per CPU that was given, in that order.
    pub cpus: Vec<CpuTally>,
    /// The first [`LISTED_DAMAGES`] damages.
    pub damage: Vec<Damage>,
    /// How many there are in all.
    pub damages: u64,
}

/// What decoding one CPU's sub-buffers came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTally {
    /// The CPU's number.
    pub cpu: u32,
    /// Sub-buffers that were given.
    pub sub_buffers: u64,
    /// Records that were found, those included whose event could not be typed. In a whole capture this is the kernel's
    /// `entries` plus `read events`.
    pub decoded: u64,
    /// Sub-buffers marked as having lost events before them.
    pub missed_marks: u64,
    /// Sum of the losses those marks count; less than what was lost, since a full sub-buffer stores no count.
    pub missed_events: u64,
}

/// Something that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cpu {cpu}, sub-buffer {sub_buffer}, byte {offset}: {kind}")]
pub struct Damage {
    /// The CPU.
    pub cpu: u32,
    /// Which of the CPU's sub-buffers, from 0.
    pub sub_buffer: usize,
    /// Where in it, in bytes from its start.
    pub offset: usize,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// The sub-buffer, from this place on. Its rest is not decoded.
    #[error(transparent)]
    Page(#[from] page::Error),
    /// One record. Decoding goes on behind it.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// The sub-buffer starts before the one ahead of it ends.
    #[error("the sub-buffer starts at {starts}, before the one ahead of it ends at {before}")]
    SubBufferOrder {
        /// Time of the last record before it.
        before: u64,
        /// Time it starts at.
        starts: u64,
    },
}

/// A place in the order of records: time, then index of the CPU's cursor.
type Until = (u64, usize);

#[derive(Debug)]
struct Cursor<'a> {
    layout: PageLayout,
    pages: std::vec::IntoIter<&'a [u8]>,
    records: RawRecords<'a>,
    /// The record to come, and the index of its sub-buffer.
    head: Option<RawRecord<'a>>,
    /// Sub-buffers begun so far.
    begun: usize,
    latest: u64,
    tally: CpuTally,
}

#[derive(Debug, Default)]
struct DamageList {
    listed: Vec<Damage>,
    count: u64,
}

impl<'a> Capture<'a> {
    /// A capture of these sub-buffers.
    #[must_use]
    pub fn new(formats: &'a Formats, layout: PageLayout, cpus: Vec<CpuSubBuffers<'a>>) -> Self {
        Self {
            formats,
            layout,
            cpus,
        }
    }

    /// The formats its records are typed by.
    #[must_use]
    pub fn formats(&self) -> &'a Formats {
        self.formats
    }

    /// The sub-buffers it was made of.
    #[must_use]
    pub fn cpus(&self) -> &[CpuSubBuffers<'a>] {
        &self.cpus
    }

    /// Starts decoding, from the first record.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        let mut damage = DamageList::default();
        let cursors = self
            .cpus
            .iter()
            .map(|cpu| {
                let mut cursor = Cursor::new(cpu, &self.layout);
                cursor.advance(&mut damage);
                cursor
            })
            .collect();
        Records {
            formats: self.formats,
            cursors,
            current: None,
            damage,
        }
    }
}

impl Records<'_> {
    /// Decodes what is left, and tells what all of it came to.
    #[must_use]
    pub fn finish(mut self) -> Tally {
        self.by_ref().for_each(drop);
        Tally {
            cpus: self
                .cursors
                .into_iter()
                .map(|cursor| cursor.tally)
                .collect(),
            damage: self.damage.listed,
            damages: self.damage.count,
        }
    }

    /// The cursor whose head is the earliest, and the place of the earliest head of the others.
    ///
    /// A linear scan: there are few CPUs, and it runs only when the earliest CPU changes.
    fn choose(&self) -> Option<(usize, Until)> {
        let mut first: Option<Until> = None;
        let mut second: Until = (u64::MAX, usize::MAX);
        for (place, cursor) in self.cursors.iter().enumerate() {
            let Some(head) = cursor.head else { continue };
            let candidate = (head.timestamp_ns, place);
            match first {
                Some(earlier) if earlier <= candidate => second = second.min(candidate),
                _ => {
                    second = first.unwrap_or(second);
                    first = Some(candidate);
                }
            }
        }
        first.map(|(_, place)| (place, second))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (place, until) = match self.current {
                Some(current) => current,
                None => *self.current.insert(self.choose()?),
            };
            let cursor = self.cursors.get_mut(place)?;
            let Some(raw) = cursor
                .head
                .filter(|head| (head.timestamp_ns, place) <= until)
            else {
                self.current = None;
                continue;
            };
            let (cpu, sub_buffer) = (cursor.tally.cpu, cursor.sub_buffer());
            cursor.advance(&mut self.damage);
            match Record::decode(self.formats, cpu, raw) {
                Ok(record) => return Some(record),
                Err(error) => self.damage.add(cpu, sub_buffer, raw.offset, error.into()),
            }
        }
    }
}

impl<'a> Cursor<'a> {
    fn new(cpu: &CpuSubBuffers<'a>, layout: &PageLayout) -> Self {
        Self {
            layout: layout.clone(),
            pages: cpu.sub_buffers.clone().into_iter(),
            records: RawRecords::empty(),
            head: None,
            begun: 0,
            latest: 0,
            tally: CpuTally {
                cpu: cpu.cpu,
                sub_buffers: 0,
                decoded: 0,
                missed_marks: 0,
                missed_events: 0,
            },
        }
    }

    /// Index of the sub-buffer the head is in.
    fn sub_buffer(&self) -> usize {
        self.begun.saturating_sub(1)
    }

    /// Makes the next record the head, or none when there is no more.
    #[inline]
    fn advance(&mut self, damage: &mut DamageList) {
        loop {
            match self.records.next() {
                Some(Ok(raw)) => {
                    self.tally.decoded = self.tally.decoded.saturating_add(1);
                    self.latest = raw.timestamp_ns;
                    self.head = Some(raw);
                    return;
                }
                Some(Err(error)) => damage.add(
                    self.tally.cpu,
                    self.sub_buffer(),
                    error.offset(),
                    error.into(),
                ),
                None => {
                    let Some(bytes) = self.pages.next() else {
                        self.head = None;
                        return;
                    };
                    self.begin(bytes, damage);
                }
            }
        }
    }

    /// Starts on a sub-buffer.
    fn begin(&mut self, bytes: &'a [u8], damage: &mut DamageList) {
        self.begun = self.begun.saturating_add(1);
        self.tally.sub_buffers = self.tally.sub_buffers.saturating_add(1);
        let page = match SubBuffer::parse(bytes, &self.layout) {
            Ok(page) => page,
            Err(error) => {
                return damage.add(
                    self.tally.cpu,
                    self.sub_buffer(),
                    error.offset(),
                    error.into(),
                );
            }
        };
        if let Some(missed) = page.missed() {
            self.tally.missed_marks = self.tally.missed_marks.saturating_add(1);
            self.tally.missed_events = self
                .tally
                .missed_events
                .saturating_add(missed.count.unwrap_or(0));
        }
        if page.timestamp_ns() < self.latest {
            let kind = DamageKind::SubBufferOrder {
                before: self.latest,
                starts: page.timestamp_ns(),
            };
            damage.add(self.tally.cpu, self.sub_buffer(), 0, kind);
        }
        self.records = page.records();
    }
}

impl DamageList {
    #[cold]
    fn add(&mut self, cpu: u32, sub_buffer: usize, offset: usize, kind: DamageKind) {
        self.count = self.count.saturating_add(1);
        if self.listed.len() < LISTED_DAMAGES {
            self.listed.push(Damage {
                cpu,
                sub_buffer,
                offset,
                kind,
            });
        }
    }
}
