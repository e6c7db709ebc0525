// SPDX-License-Identifier: GPL-2.0-only

//! Merges the CPUs' sub-buffers into one sequence of records, and keeps account of what was decoded and what was not.
//!
//! In: formats, a page layout and each CPU's sub-buffers, all in memory ([`Capture`]) or block by block ([`Blocks`]).
//! Out: records by time; per CPU how many were decoded and how often the writer marked a loss; and every damage, by its
//! place. Of the blocks, two per CPU are held at a time.
//!
//! It goes in two steps, and the first of them, an [`Indexer`] for each CPU, may run elsewhere, as in a thread: it finds
//! the records of a block ([`FoundBlocks`]). The second one, [`Records`], merges them by time and types them.
//!
//! It does not judge: a caller holds the [`Tally`] against the kernel's own statistics ([`crate::stats`]).

use std::ops::Range;

use crate::bytes::index;
use crate::format::{FormatIndex, Formats};
use crate::page::{self, CpuSubBuffers, PageLayout, SubBuffer};
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

/// Gives one CPU's blocks with their records found, oldest first.
pub trait FoundBlocks {
    /// Replaces the content of `block` by the next one; `false` when there are no more.
    fn next_found(&mut self, formats: &Formats, block: &mut FoundBlock) -> bool;
}

/// Some sub-buffers of a CPU, and where their records are.
#[derive(Debug, Default)]
pub struct FoundBlock {
    bytes: Vec<u8>,
    places: Vec<Place>,
    damage: DamageList,
    /// What the CPU's blocks came to, this one included.
    tally: CpuTally,
}

/// Finds the records of one CPU, block by block.
#[derive(Debug)]
pub struct Indexer<B> {
    blocks: B,
    layout: PageLayout,
    clock: ClockConversion,
    /// Whether no block is left.
    is_at_end: bool,
    /// Whether a sub-buffer is marked, and no record of it was found yet.
    has_lost: bool,
    /// The latest time so far.
    latest: u64,
    tally: CpuTally,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// The blocks of one CPU, and how far their records are given out.
///
/// Two records are known at a time, the head and the one behind it. The head is in the one slot, and the next block in
/// the other one while the head is the last of its own.
#[derive(Debug)]
struct Cursor<B> {
    blocks: B,
    slots: [FoundBlock; 2],
    /// Whether the head is in the first slot.
    in_first: bool,
    /// Which record of its block the head is; there is none when the block has no such one.
    head: usize,
    is_at_end: bool,
    tally: CpuTally,
}

/// Where a record is. Small, since one is written and read for each record.
#[derive(Debug, Clone, Copy)]
struct Place {
    timestamp_ns: u64,
    start: u32,
    end: u32,
    format: FormatIndex,
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
            low_half(product.wrapping_shr(self.shift))
        };
        scaled.wrapping_add(self.offset)
    }
}

/// The lower 64 bits.
fn low_half(value: u128) -> u64 {
    let bytes = value.to_le_bytes();
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
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
    pub fn records(&self) -> Records<'a, Indexer<SubBuffersInMemory<'a>>> {
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

impl<'f, B: Blocks> Records<'f, Indexer<B>> {
    /// Starts decoding these CPUs' sub-buffers, from the first record.
    pub fn new(
        formats: &'f Formats,
        layout: &PageLayout,
        clock: ClockConversion,
        cpus: impl IntoIterator<Item = (u32, B)>,
    ) -> Self {
        let indexers = cpus
            .into_iter()
            .map(|(cpu, blocks)| (cpu, Indexer::new(cpu, blocks, layout, clock)));
        Self::of_found(formats, indexers)
    }
}

impl<'f, B: FoundBlocks> Records<'f, B> {
    /// Starts with these CPUs' blocks, from the first record.
    pub fn of_found(formats: &'f Formats, cpus: impl IntoIterator<Item = (u32, B)>) -> Self {
        let mut damage = DamageList::default();
        let cursors = cpus
            .into_iter()
            .map(|(cpu, blocks)| {
                let mut cursor = Cursor::new(cpu, blocks);
                cursor.settle(formats, &mut damage);
                cursor
            })
            .collect();
        Self {
            formats,
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
                .head()
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
        cursor.record(self.formats, cursor.in_first, cursor.head()?)
    }

    /// The record behind the head on the same CPU, which need not be the next one of all.
    #[inline]
    #[must_use]
    pub fn following(&self) -> Option<Record<'_>> {
        let (place, _) = self.current?;
        let cursor = self.cursors.get(place)?;
        let (in_first, behind) = cursor.behind()?;
        cursor.record(self.formats, in_first, behind)
    }

    /// The payload of the head, common fields included.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        let (place, _) = self.current?;
        let cursor = self.cursors.get(place)?;
        let block = cursor.slot(cursor.in_first);
        block.bytes.get(cursor.head()?.payload())
    }

    /// Whether the head's sub-buffer is marked as having lost records before it, and the head is its first one.
    #[must_use]
    pub fn follows_loss(&self) -> bool {
        self.current
            .and_then(|(place, _)| self.cursors.get(place)?.head())
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

    /// Decodes what is left, and tells what all of it came to.
    #[must_use]
    pub fn finish(mut self) -> Tally {
        while self.advance() {}
        self.tally()
    }

    /// What decoding came to so far; records are found a block ahead.
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
            let Some(head) = cursor.head() else { continue };
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

impl<B: FoundBlocks> Cursor<B> {
    fn new(cpu: u32, blocks: B) -> Self {
        Self {
            blocks,
            slots: [FoundBlock::default(), FoundBlock::default()],
            in_first: true,
            head: 0,
            is_at_end: false,
            tally: CpuTally {
                cpu,
                ..CpuTally::default()
            },
        }
    }

    #[inline]
    fn slot(&self, is_first: bool) -> &FoundBlock {
        let [first, second] = &self.slots;
        if is_first { first } else { second }
    }

    #[inline]
    fn head(&self) -> Option<&Place> {
        self.slot(self.in_first).places.get(self.head)
    }

    /// The record behind the head, and whether it is in the first slot.
    #[inline]
    fn behind(&self) -> Option<(bool, &Place)> {
        let places = &self.slot(self.in_first).places;
        match places.get(self.head.saturating_add(1)) {
            Some(place) => Some((self.in_first, place)),
            None => Some((!self.in_first, self.slot(!self.in_first).places.first()?)),
        }
    }

    /// The record at a place of a slot's block.
    #[inline]
    fn record<'r>(
        &'r self,
        formats: &'r Formats,
        in_first: bool,
        place: &Place,
    ) -> Option<Record<'r>> {
        let payload = self.slot(in_first).bytes.get(place.payload())?;
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
        self.head = self.head.saturating_add(1);
        if self.head.saturating_add(1) >= self.slot(self.in_first).places.len() {
            self.settle(formats, damage);
        }
    }

    /// Goes on to the next block if the head is beyond its own, and takes the one behind if the head is the last one.
    fn settle(&mut self, formats: &Formats, damage: &mut DamageList) {
        if self.head >= self.slot(self.in_first).places.len() {
            let [first, second] = &mut self.slots;
            let gone_through = if self.in_first { first } else { second };
            gone_through.places.clear();
            self.in_first = !self.in_first;
            self.head = 0;
            self.take_block(self.in_first, formats, damage);
        }
        if self.head.saturating_add(1) >= self.slot(self.in_first).places.len() {
            self.take_block(!self.in_first, formats, damage);
        }
    }

    /// Takes the next block with a record into a slot, unless that has one.
    fn take_block(&mut self, in_first: bool, formats: &Formats, damage: &mut DamageList) {
        let [first, second] = &mut self.slots;
        let slot = if in_first { first } else { second };
        while slot.places.is_empty() && !self.is_at_end {
            if self.blocks.next_found(formats, slot) {
                self.tally = slot.tally;
                damage.append(&mut slot.damage);
            } else {
                slot.places.clear();
                self.is_at_end = true;
            }
        }
    }
}

impl<B: Blocks> Indexer<B> {
    /// Starts at the first block of a CPU.
    pub fn new(cpu: u32, blocks: B, layout: &PageLayout, clock: ClockConversion) -> Self {
        Self {
            blocks,
            layout: layout.clone(),
            clock,
            is_at_end: false,
            has_lost: false,
            latest: 0,
            tally: CpuTally {
                cpu,
                ..CpuTally::default()
            },
        }
    }

    /// Finds the records of the sub-buffer that starts at `page` of the block.
    fn sub_buffer(
        &mut self,
        formats: &Formats,
        bytes: &[u8],
        page: usize,
        places: &mut Vec<Place>,
        damage: &mut DamageList,
    ) {
        let number = index(self.tally.sub_buffers);
        self.tally.sub_buffers = self.tally.sub_buffers.saturating_add(1);
        let mut note = |offset: usize, kind: DamageKind| {
            damage.add(self.tally.cpu, number, offset, kind);
        };
        let parsed = match SubBuffer::parse(bytes, &self.layout) {
            Ok(parsed) => parsed,
            Err(error) => return note(error.offset(), error.into()),
        };
        if let Some(missed) = parsed.missed() {
            self.has_lost = true;
            self.tally.missed_marks = self.tally.missed_marks.saturating_add(1);
            self.tally.missed_events = self
                .tally
                .missed_events
                .saturating_add(missed.count.unwrap_or(0));
        }
        let (before, starts) = (self.latest, parsed.timestamp_ns());
        if starts < before {
            note(0, DamageKind::SubBufferOrder { before, starts });
        }
        let mut walk = parsed.walk();
        loop {
            match walk.next(bytes) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    note(error.offset(), (*error).into());
                    break;
                }
            }
            self.tally.decoded = self.tally.decoded.saturating_add(1);
            self.latest = walk.timestamp_ns();
            let payload = walk.payload();
            let record = bytes.get(payload.clone()).unwrap_or_default();
            let Some(format) = formats.of_payload(record) else {
                note(walk.offset(), formats.why_not(record).into());
                continue;
            };
            // A block is far smaller than 4 GiB, and a place beyond it has no payload.
            let place =
                |offset: usize| u32::try_from(page.saturating_add(offset)).unwrap_or(u32::MAX);
            places.push(Place {
                timestamp_ns: self.clock.convert(walk.timestamp_ns()),
                start: place(payload.start),
                end: place(payload.end),
                format,
                follows_loss: std::mem::take(&mut self.has_lost),
            });
        }
    }
}

impl<B: Blocks> FoundBlocks for Indexer<B> {
    fn next_found(&mut self, formats: &Formats, block: &mut FoundBlock) -> bool {
        block.places.clear();
        block.damage = DamageList::default();
        if self.is_at_end {
            return false;
        }
        match self.blocks.next_block(&mut block.bytes) {
            Ok(true) => {}
            Ok(false) => {
                self.is_at_end = true;
                return false;
            }
            Err(error) => {
                self.is_at_end = true;
                let number = index(self.tally.sub_buffers);
                block.damage.add(self.tally.cpu, number, 0, error.into());
                block.bytes.clear();
                block.tally = self.tally;
                return true;
            }
        }
        let FoundBlock {
            bytes,
            places,
            damage,
            ..
        } = block;
        let size = self.layout.sub_buffer_size().max(1);
        for (number, bytes) in bytes.chunks(size).enumerate() {
            self.sub_buffer(formats, bytes, number.saturating_mul(size), places, damage);
        }
        block.tally = self.tally;
        true
    }
}

impl DamageList {
    /// Takes all of another list.
    fn append(&mut self, other: &mut Self) {
        self.count = self.count.saturating_add(other.count);
        let room = LISTED_DAMAGES.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.drain(..).take(room));
        *other = Self::default();
    }

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
