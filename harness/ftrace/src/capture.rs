// SPDX-License-Identifier: GPL-2.0-only

//! Merges the CPUs' sub-buffers into one sequence of records, and keeps account of what was decoded and what was not.
//!
//! In: formats, a page layout and each CPU's sub-buffers, all in memory ([`Capture`]) or block by block ([`Blocks`]).
//! Out: records by time; per CPU how many were decoded and how often the writer marked a loss; and every damage, by its
//! place. Of the blocks, two per CPU are held at a time.
//! It does not judge: a caller holds the [`Tally`] against the kernel's own statistics ([`crate::stats`]).

use std::ops::Range;

use crate::bytes::index;
use crate::format::{FormatIndex, Formats};
use crate::page::{self, CpuSubBuffers, PageLayout, SubBuffer, Walk};
use crate::record::{self, Record};

/// At most this many damages are listed; all are counted.
pub const LISTED_DAMAGES: usize = 64;

/// Sub-buffers in memory are copied in blocks of about this many bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// Gives one CPU's sub-buffers, oldest first, some at a time.
pub trait Blocks {
    /// Replaces the content of `block` by the next sub-buffers, whole ones; `false` when there are no more.
    ///
    /// # Errors
    /// [`BlockError`]: the next ones cannot be had. Whether any later ones can be is up to the implementation.
    fn next_block(&mut self, block: &mut Vec<u8>) -> Result<bool, BlockError>;
}

/// Why there is no next block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the file: {message}")]
pub struct BlockError {
    /// Where in the file.
    pub offset: u64,
    /// What was expected there, and what was found.
    pub message: String,
}

/// What is needed to decode the trace of one instance that is in memory.
#[derive(Debug, Clone)]
pub struct Capture<'a> {
    formats: &'a Formats,
    layout: PageLayout,
    cpus: Vec<CpuSubBuffers<'a>>,
}

/// Gives the sub-buffers of one CPU that are in memory.
#[derive(Debug, Clone)]
pub struct SubBuffersInMemory<'a> {
    rest: std::vec::IntoIter<&'a [u8]>,
    sub_buffer_size: usize,
}

/// Goes through all records by time, those of a lower CPU first at the same time.
///
/// Each CPU's records come in commit order whatever their times are: a CPU whose time goes back from one sub-buffer to
/// the next is a damage ([`DamageKind::SubBufferOrder`]), and its records are not sorted.
#[derive(Debug)]
pub struct Records<'f, B> {
    formats: &'f Formats,
    clock: ClockConversion,
    cursors: Vec<Cursor<B>>,
    /// The cursor the next record comes from, and the time up to which that stays so.
    current: Option<(usize, Until)>,
    /// Whether the current cursor's head was given out.
    is_taken: bool,
    damage: DamageList,
}

/// How the ring buffer's time becomes the time of records: `((t * multiplier) >> shift) + offset`, modulo 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockConversion {
    /// What it is multiplied by.
    pub multiplier: u32,
    /// Bits it is shifted by.
    pub shift: u32,
    /// What is added to it, wrapping.
    pub offset: u64,
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
    /// The sub-buffers from this one on cannot be had.
    #[error(transparent)]
    Block(#[from] BlockError),
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

/// The sub-buffers of one CPU, and how far they are decoded.
///
/// Two records are known at a time, the head and the one behind it, and they may lie in two blocks: then the one behind
/// is in the block that is walked, and the head in the other one.
#[derive(Debug)]
struct Cursor<B> {
    layout: PageLayout,
    clock: ClockConversion,
    blocks: B,
    /// The block that is walked is the first one when `walks_first`.
    slots: [Vec<u8>; 2],
    walks_first: bool,
    /// Where in that block the sub-buffer that is walked starts, and where the next one does.
    page: usize,
    next_page: usize,
    walk: Walk,
    /// Whether no block is left.
    is_at_end: bool,
    /// Whether a sub-buffer is marked, and no record of it was found yet.
    has_lost: bool,
    head: Option<Place>,
    behind: Option<Place>,
    /// Sub-buffers begun so far.
    begun: usize,
    /// The latest time of the sub-buffers before the one that is walked.
    latest: u64,
    tally: CpuTally,
}

/// Where a record is. Small, since two are copied for each record.
#[derive(Debug, Clone, Copy)]
struct Place {
    timestamp_ns: u64,
    start: u32,
    end: u32,
    format: FormatIndex,
    in_first: bool,
    follows_loss: bool,
}

impl Place {
    #[inline]
    fn payload(self) -> Range<usize> {
        index(self.start)..index(self.end)
    }
}

#[derive(Debug, Default)]
struct DamageList {
    listed: Vec<Damage>,
    count: u64,
}

impl Default for ClockConversion {
    /// No conversion.
    fn default() -> Self {
        Self {
            multiplier: 1,
            shift: 0,
            offset: 0,
        }
    }
}

impl ClockConversion {
    /// The time of a record whose ring-buffer time is `time`.
    #[inline]
    #[must_use]
    pub fn convert(self, time: u64) -> u64 {
        let scaled = if self.multiplier == 1 && self.shift == 0 {
            time
        } else {
            let product = u128::from(time).wrapping_mul(u128::from(self.multiplier));
            let [low, ..] = split(product.wrapping_shr(self.shift));
            low
        };
        scaled.wrapping_add(self.offset)
    }
}

/// The low and the high half.
fn split(value: u128) -> [u64; 2] {
    let bytes = value.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| half.first_chunk().copied().map_or(0, u64::from_le_bytes))
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
    pub fn records(&self) -> Records<'a, SubBuffersInMemory<'a>> {
        let cpus = self.cpus.iter().map(|cpu| {
            let blocks = SubBuffersInMemory {
                rest: cpu.sub_buffers.clone().into_iter(),
                sub_buffer_size: self.layout.sub_buffer_size(),
            };
            (cpu.cpu, blocks)
        });
        Records::new(self.formats, &self.layout, ClockConversion::default(), cpus)
    }
}

impl Blocks for SubBuffersInMemory<'_> {
    fn next_block(&mut self, block: &mut Vec<u8>) -> Result<bool, BlockError> {
        block.clear();
        for sub_buffer in self.rest.by_ref() {
            block.extend_from_slice(sub_buffer);
            // A slice of another size is damage, and stands at the end of its block so that the others stay aligned.
            if sub_buffer.len() != self.sub_buffer_size || block.len() >= BLOCK_BYTES {
                break;
            }
        }
        Ok(!block.is_empty())
    }
}

impl<'f, B: Blocks> Records<'f, B> {
    /// Starts decoding these CPUs' sub-buffers, from the first record.
    pub fn new(
        formats: &'f Formats,
        layout: &PageLayout,
        clock: ClockConversion,
        cpus: impl IntoIterator<Item = (u32, B)>,
    ) -> Self {
        let mut damage = DamageList::default();
        let cursors = cpus
            .into_iter()
            .map(|(cpu, blocks)| {
                let mut cursor = Cursor::new(cpu, blocks, layout, clock);
                cursor.advance(formats, &mut damage);
                cursor.advance(formats, &mut damage);
                cursor
            })
            .collect();
        Self {
            formats,
            clock,
            cursors,
            current: None,
            is_taken: false,
            damage,
        }
    }

    /// The next record; `None` at the end.
    ///
    /// This is no `Iterator`: the record borrows from the block it is in, which is given back with the next call.
    #[inline]
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        if self.advance() { self.head() } else { None }
    }

    /// Goes on to the next record, which is [`Self::head`] then; `false` at the end.
    #[inline]
    pub fn advance(&mut self) -> bool {
        loop {
            let (place, until) = match self.current {
                Some(current) => current,
                None => match self.choose() {
                    Some(chosen) => *self.current.insert(chosen),
                    None => return false,
                },
            };
            let Some(cursor) = self.cursors.get_mut(place) else {
                return false;
            };
            if self.is_taken {
                self.is_taken = false;
                cursor.advance(self.formats, &mut self.damage);
            }
            if cursor
                .head
                .is_some_and(|head| (head.timestamp_ns, place) <= until)
            {
                self.is_taken = true;
                return true;
            }
            self.current = None;
        }
    }

    /// The record that [`Self::advance`] went on to; `None` before the first one and behind the last.
    #[inline]
    #[must_use]
    pub fn head(&self) -> Option<Record<'_>> {
        let (place, _) = self.current?;
        let cursor = self.cursors.get(place)?;
        cursor.record(self.formats, cursor.head)
    }

    /// The record behind the head on the same CPU, which need not be the next one of all.
    #[inline]
    #[must_use]
    pub fn following(&self) -> Option<Record<'_>> {
        let (place, _) = self.current?;
        let cursor = self.cursors.get(place)?;
        cursor.record(self.formats, cursor.behind)
    }

    /// The payload of the head, common fields included.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        let (place, _) = self.current?;
        let cursor = self.cursors.get(place)?;
        let head = cursor.head?;
        cursor.slot(head.in_first).get(head.payload())
    }

    /// Whether the head's sub-buffer is marked as having lost records before it, and the head is its first one.
    #[must_use]
    pub fn follows_loss(&self) -> bool {
        self.current
            .and_then(|(place, _)| self.cursors.get(place)?.head)
            .is_some_and(|head| head.follows_loss)
    }

    /// How many damages were found so far.
    #[must_use]
    pub fn damages(&self) -> u64 {
        self.damage.count
    }

    /// The first damage, if there is one so far.
    #[must_use]
    pub fn first_damage(&self) -> Option<&Damage> {
        self.damage.listed.first()
    }

    /// How ring-buffer times become the times of records.
    #[must_use]
    pub fn clock(&self) -> ClockConversion {
        self.clock
    }

    /// Decodes what is left, and tells what all of it came to.
    #[must_use]
    pub fn finish(mut self) -> Tally {
        while self.advance() {}
        self.tally()
    }

    /// What decoding came to so far. Two records per CPU are decoded ahead.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            cpus: self.cursors.iter().map(|cursor| cursor.tally).collect(),
            damage: self.damage.listed.clone(),
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

impl<B: Blocks> Cursor<B> {
    fn new(cpu: u32, blocks: B, layout: &PageLayout, clock: ClockConversion) -> Self {
        Self {
            layout: layout.clone(),
            clock,
            blocks,
            slots: [Vec::new(), Vec::new()],
            walks_first: true,
            page: 0,
            next_page: 0,
            walk: Walk::default(),
            is_at_end: false,
            has_lost: false,
            head: None,
            behind: None,
            begun: 0,
            latest: 0,
            tally: CpuTally {
                cpu,
                sub_buffers: 0,
                decoded: 0,
                missed_marks: 0,
                missed_events: 0,
            },
        }
    }

    #[inline]
    fn slot(&self, is_first: bool) -> &[u8] {
        let [first, second] = &self.slots;
        if is_first { first } else { second }
    }

    /// The record at a place.
    #[inline]
    fn record<'r>(&'r self, formats: &'r Formats, place: Option<Place>) -> Option<Record<'r>> {
        let place = place?;
        let payload = self.slot(place.in_first).get(place.payload())?;
        Record::typed(
            formats,
            place.format,
            self.tally.cpu,
            place.timestamp_ns,
            payload,
        )
    }

    /// Makes the record behind the head the head, and looks for the one behind that.
    #[inline]
    fn advance(&mut self, formats: &Formats, damage: &mut DamageList) {
        self.head = self.behind;
        loop {
            let block = if self.walks_first {
                &self.slots[0]
            } else {
                &self.slots[1]
            };
            let page = block.get(self.page..self.next_page).unwrap_or_default();
            match self.walk.next(page) {
                Ok(true) => {
                    self.tally.decoded = self.tally.decoded.saturating_add(1);
                    let payload = page.get(self.walk.payload()).unwrap_or_default();
                    if let Some(format) = formats.of_payload(payload) {
                        self.behind = Some(self.place(format));
                        return;
                    }
                    let error = formats.why_not(payload);
                    self.damaged(damage, self.walk.offset(), error.into());
                }
                Ok(false) => {
                    if !self.begin(damage) {
                        self.behind = None;
                        return;
                    }
                }
                Err(error) => self.damaged(damage, error.offset(), (*error).into()),
            }
        }
    }

    #[inline]
    fn place(&mut self, format: FormatIndex) -> Place {
        let payload = self.walk.payload();
        // A block is far smaller than 4 GiB, and a place beyond it has no payload.
        let place =
            |offset: usize| u32::try_from(self.page.saturating_add(offset)).unwrap_or(u32::MAX);
        Place {
            timestamp_ns: self.clock.convert(self.walk.timestamp_ns()),
            start: place(payload.start),
            end: place(payload.end),
            format,
            in_first: self.walks_first,
            follows_loss: std::mem::take(&mut self.has_lost),
        }
    }

    #[cold]
    fn damaged(&self, damage: &mut DamageList, offset: usize, kind: DamageKind) {
        damage.add(self.tally.cpu, self.begun.saturating_sub(1), offset, kind);
    }

    /// Starts on the next sub-buffer, of the next block if need be; `false` when there is none.
    fn begin(&mut self, damage: &mut DamageList) -> bool {
        // The time that the sub-buffer before it came to.
        let before = self.walk.timestamp_ns().max(self.latest);
        self.latest = before;
        self.walk = Walk::default();
        self.page = self.next_page;
        if self.page >= self.slot(self.walks_first).len() && !self.next_block(damage) {
            return false;
        }
        self.begun = self.begun.saturating_add(1);
        self.tally.sub_buffers = self.tally.sub_buffers.saturating_add(1);
        let sub_buffer_size = self.layout.sub_buffer_size().max(1);
        let end = self.slot(self.walks_first).len();
        self.next_page = self.page.saturating_add(sub_buffer_size).min(end);
        let block = self.slot(self.walks_first);
        let bytes = block.get(self.page..self.next_page).unwrap_or_default();
        let page = match SubBuffer::parse(bytes, &self.layout) {
            Ok(page) => page,
            Err(error) => {
                self.damaged(damage, error.offset(), error.into());
                return true;
            }
        };
        let (walk, starts, missed) = (page.walk(), page.timestamp_ns(), page.missed());
        if let Some(missed) = missed {
            self.has_lost = true;
            self.tally.missed_marks = self.tally.missed_marks.saturating_add(1);
            self.tally.missed_events = self
                .tally
                .missed_events
                .saturating_add(missed.count.unwrap_or(0));
        }
        if starts < before {
            self.damaged(damage, 0, DamageKind::SubBufferOrder { before, starts });
        }
        self.walk = walk;
        true
    }

    /// Takes the next block into the slot that no known record is in.
    fn next_block(&mut self, damage: &mut DamageList) -> bool {
        if self.is_at_end {
            return false;
        }
        // The block that was walked is free unless the head is in it; the other one has nothing that is needed then.
        if self
            .head
            .is_some_and(|head| head.in_first == self.walks_first)
        {
            self.walks_first = !self.walks_first;
        }
        self.page = 0;
        self.next_page = 0;
        let [first, second] = &mut self.slots;
        let slot = if self.walks_first { first } else { second };
        slot.clear();
        let outcome = self.blocks.next_block(slot);
        let is_there = matches!(outcome, Ok(true));
        if let Err(error) = outcome {
            damage.add(self.tally.cpu, self.begun, 0, error.into());
        }
        self.is_at_end = !is_there;
        is_there
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
