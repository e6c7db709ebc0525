// SPDX-License-Identifier: GPL-2.0-only

//! Decodes one ring-buffer sub-buffer, as it lies in memory or comes from `per_cpu/cpu<N>/trace_pipe_raw`.
//!
//! In: the bytes of exactly one sub-buffer, its header included. Out: raw records in commit order, and what was lost.
//! It does not know what a record's payload means ([`crate::record`] does), and it copies nothing.
//! Pure: no I/O, no clock, no panic on any input.
//! Source: `include/linux/ring_buffer.h`, `include/linux/ring_buffer_types.h` and `kernel/trace/ring_buffer.c`,
//! Linux 7.3.

use std::ops::Range;

use crate::bytes::{index, u32_at, u64_at};
use crate::format::{self, Field};

/// Bits of the commit word that count bytes (`~RB_MISSED_MASK`).
const COMMIT_SIZE: u32 = 0x3fff_ffff;
/// The writer lost events before this sub-buffer (`RB_MISSED_EVENTS`).
const MISSED_EVENTS: u32 = 1 << 31;
/// How many it lost stands behind the data (`RB_MISSED_STORED`).
const MISSED_STORED: u32 = 1 << 30;
/// Where the upper part of an extended or absolute time starts (`TS_SHIFT`).
const TIME_SHIFT: u32 = 27;
/// An absolute time has 59 bits; these come from the time before it (`TS_MSB`).
const TIME_TOP: u64 = 0xf8 << 56;

/// The lines of `events/header_event` this decoder is written for, blanks collapsed.
const HEADER_EVENT: [&str; 6] = [
    "type_len : 5 bits",
    "time_delta : 27 bits",
    "array : 32 bits",
    "padding : type == 29",
    "time_extend : type == 30",
    "data max type_len == 28",
];

/// One more, which kernels before 4.17 do not have, as they have no such event.
const TIME_STAMP: &str = "time_stamp : type == 31";

/// Where a sub-buffer's header keeps what, from `events/header_page`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageLayout {
    timestamp: usize,
    commit: usize,
    long_size: usize,
    data: usize,
    sub_buffer_size: usize,
}

/// Why `events/header_page` or `events/header_event` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A line of `header_page` cannot be read.
    #[error("header_page: {0}")]
    Line(#[from] format::Error),
    /// `header_page` lacks a field.
    #[error("header_page has no field {0:?}")]
    NoField(&'static str),
    /// A field of `header_page` has a size this decoder does not know.
    #[error("header_page: field {field:?} has {size} bytes, which is not supported")]
    Size {
        /// The field's name.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
    },
    /// `header_event` describes event headers this decoder does not know.
    #[error("header_event has no line {0:?}: this ring buffer's events are not supported")]
    Event(&'static str),
}

/// What is wrong with a sub-buffer. Offsets count from the sub-buffer's first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The slice is not one sub-buffer.
    #[error("{bytes} bytes are not a sub-buffer of {sub_buffer_size}")]
    NotASubBuffer {
        /// Bytes that were given.
        bytes: usize,
        /// Bytes a sub-buffer has.
        sub_buffer_size: usize,
    },
    /// The commit word counts more bytes than there are.
    #[error("commit is {commit} bytes but the page holds {capacity}")]
    CommitBeyondPage {
        /// Bytes the commit word counts.
        commit: usize,
        /// Bytes of data a sub-buffer can hold.
        capacity: usize,
    },
    /// The flag for a stored count of missed events is set, and there is no room for that count.
    #[error("the count of missed events should stand at byte {offset}, where the page is full")]
    NoMissedCount {
        /// Where the count should be.
        offset: usize,
    },
    /// An event is longer than what was committed.
    #[error("the event at byte {offset} runs past the {committed} committed bytes")]
    EventBeyondCommit {
        /// Where the event starts.
        offset: usize,
        /// Committed bytes of data.
        committed: usize,
    },
    /// An event's length word is no length: it is smaller than itself, or not a multiple of four.
    #[error("the event at byte {offset} says it has {length} bytes")]
    EventLength {
        /// Where the event starts.
        offset: usize,
        /// What its length word says.
        length: u32,
    },
    /// An absolute time lies before the time reached so far, or time overflows 64 bits.
    #[error("time goes from {before} to {after} at byte {offset}")]
    Time {
        /// Where the event starts.
        offset: usize,
        /// The time reached so far.
        before: u64,
        /// The time the event claims, modulo 2^64.
        after: u64,
    },
}

/// The sub-buffers of one CPU, oldest first, each the bytes of exactly one sub-buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSubBuffers<'a> {
    /// The CPU's number.
    pub cpu: u32,
    /// The sub-buffers, headers included.
    pub sub_buffers: Vec<&'a [u8]>,
}

/// One sub-buffer, its header decoded.
#[derive(Debug, Clone)]
pub struct SubBuffer<'a> {
    bytes: &'a [u8],
    timestamp_ns: u64,
    data: usize,
    committed: usize,
    missed: Option<Missed>,
}

/// A mark that the writer lost events before this sub-buffer's first one.
///
/// The marks undercount: a sub-buffer in memory that no reader took has none. The kernel's statistics decide
/// ([`crate::stats`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// How many, where the sub-buffer had room to say so.
    pub count: Option<u64>,
}

/// One record of a sub-buffer, its payload not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Absolute time in the unit of the instance's clock: nanoseconds with `local`, `global`, `mono` and `boot`.
    pub timestamp_ns: u64,
    /// Where the record's header starts, in bytes from the sub-buffer's start.
    pub offset: usize,
    /// The payload, from the common fields on; up to three bytes longer than what the kernel wrote.
    pub payload: &'a [u8],
}

/// Iterates over the records of a sub-buffer; ends after the first error.
#[derive(Debug, Clone)]
pub struct RawRecords<'a> {
    page: &'a [u8],
    walk: Walk,
}

/// A place in a sub-buffer, from which its records are found one after the other. It does not hold the bytes: whoever
/// owns them gives them again for each step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Walk {
    /// Offset of the next event's header.
    at: usize,
    /// Offset behind the last committed byte.
    end: usize,
    data: usize,
    now: u64,
    /// The record that was found last: where its header and its payload start; it ends at `at`.
    found: usize,
    payload: usize,
}

impl Error {
    /// Where it is, in bytes from the sub-buffer's start.
    #[must_use]
    pub fn offset(&self) -> usize {
        match self {
            Self::NotASubBuffer { .. } | Self::CommitBeyondPage { .. } => 0,
            Self::NoMissedCount { offset }
            | Self::EventBeyondCommit { offset, .. }
            | Self::EventLength { offset, .. }
            | Self::Time { offset, .. } => *offset,
        }
    }
}

impl PageLayout {
    /// Reads the texts of `events/header_page` and `events/header_event`.
    ///
    /// # Errors
    /// [`LayoutError`] when a text is not as this decoder knows it: nothing is assumed in its stead.
    pub fn parse(header_page: &str, header_event: &str) -> Result<Self, LayoutError> {
        let fields = header_page
            .lines()
            .enumerate()
            .filter(|(_, line)| line.trim_start().starts_with("field:"))
            .map(|(number, line)| Field::parse(number.saturating_add(1), line))
            .collect::<Result<Vec<_>, _>>()?;
        let field = |name: &'static str| {
            fields
                .iter()
                .find(|field| field.name() == name)
                .ok_or(LayoutError::NoField(name))
        };
        let (timestamp, commit, data) = (field("timestamp")?, field("commit")?, field("data")?);
        if timestamp.size() != 8 {
            return Err(LayoutError::Size {
                field: "timestamp",
                size: timestamp.size(),
            });
        }
        if !matches!(commit.size(), 4 | 8) {
            return Err(LayoutError::Size {
                field: "commit",
                size: commit.size(),
            });
        }
        if data.size() == 0 {
            return Err(LayoutError::Size {
                field: "data",
                size: 0,
            });
        }
        let lines: Vec<String> = header_event
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        if let Some(missing) = HEADER_EVENT
            .iter()
            .find(|wanted| !lines.iter().any(|line| line == *wanted))
        {
            return Err(LayoutError::Event(missing));
        }
        if lines
            .iter()
            .any(|line| line.starts_with("time_stamp") && line != TIME_STAMP)
        {
            return Err(LayoutError::Event(TIME_STAMP));
        }
        Ok(Self {
            timestamp: timestamp.offset(),
            commit: commit.offset(),
            long_size: commit.size(),
            data: data.offset(),
            sub_buffer_size: data.offset().saturating_add(data.size()),
        })
    }

    /// The same layout for an instance whose sub-buffers have another size, in bytes, header included.
    ///
    /// `header_page` tells the size of the top instance's sub-buffers only.
    #[must_use]
    pub fn with_sub_buffer_size(mut self, bytes: usize) -> Self {
        self.sub_buffer_size = bytes;
        self
    }

    /// Bytes of a sub-buffer, header included.
    #[must_use]
    pub fn sub_buffer_size(&self) -> usize {
        self.sub_buffer_size
    }

    /// Bytes of the guest kernel's `long`: 4 or 8.
    #[must_use]
    pub fn long_size(&self) -> usize {
        self.long_size
    }

    /// Whether a sub-buffer has committed data, or a mark that it lost it.
    pub(crate) fn holds_data(&self, sub_buffer: &[u8]) -> bool {
        u32_at(sub_buffer, self.commit).is_some_and(|commit| commit != 0)
    }

    /// The header of a sub-buffer that begins at this time, nothing committed.
    pub(crate) fn header(&self, timestamp: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.data];
        put(&mut bytes, self.timestamp, &timestamp.to_le_bytes());
        bytes
    }

    /// Commits all of a sub-buffer that has been made so far.
    pub(crate) fn commit(&self, bytes: &mut [u8], follows_loss: bool) {
        let size = bytes.len().saturating_sub(self.data);
        let size = u32::try_from(size).unwrap_or(COMMIT_SIZE) & COMMIT_SIZE;
        let flags = if follows_loss { MISSED_EVENTS } else { 0 };
        put(bytes, self.commit, &(size | flags).to_le_bytes());
    }

    /// Bytes of data a sub-buffer can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sub_buffer_size.saturating_sub(self.data)
    }
}

impl<'a> CpuSubBuffers<'a> {
    /// Cuts what was read from `per_cpu/cpu<N>/trace_pipe_raw` into sub-buffers.
    ///
    /// A rest shorter than a sub-buffer becomes a last slice that does not decode: it is damage, not silence.
    #[must_use]
    pub fn from_stream(cpu: u32, stream: &'a [u8], layout: &PageLayout) -> Self {
        Self {
            cpu,
            sub_buffers: stream.chunks(layout.sub_buffer_size.max(1)).collect(),
        }
    }
}

impl<'a> SubBuffer<'a> {
    /// Decodes the header of a sub-buffer.
    ///
    /// # Errors
    /// [`Error::NotASubBuffer`], [`Error::CommitBeyondPage`] or [`Error::NoMissedCount`].
    pub fn parse(bytes: &'a [u8], layout: &PageLayout) -> Result<Self, Error> {
        let not_a_sub_buffer = Error::NotASubBuffer {
            bytes: bytes.len(),
            sub_buffer_size: layout.sub_buffer_size,
        };
        if bytes.len() != layout.sub_buffer_size {
            return Err(not_a_sub_buffer);
        }
        // The kernel adds the flags to a signed long, so bits 32 to 63 repeat the sign: the low word is the value.
        let (Some(timestamp_ns), Some(commit), Some(data)) = (
            u64_at(bytes, layout.timestamp),
            u32_at(bytes, layout.commit),
            bytes.get(layout.data..),
        ) else {
            return Err(not_a_sub_buffer);
        };
        let size = index(commit & COMMIT_SIZE);
        let Some(behind) = data.get(size..) else {
            return Err(Error::CommitBeyondPage {
                commit: size,
                capacity: data.len(),
            });
        };
        let missed = match (commit & MISSED_EVENTS != 0, commit & MISSED_STORED != 0) {
            (false, _) => None,
            (true, false) => Some(Missed { count: None }),
            (true, true) => {
                let count = if layout.long_size == 4 {
                    u32_at(behind, 0).map(u64::from)
                } else {
                    u64_at(behind, 0)
                };
                let offset = layout.data.saturating_add(size);
                Some(Missed {
                    count: Some(count.ok_or(Error::NoMissedCount { offset })?),
                })
            }
        };
        Ok(Self {
            bytes,
            timestamp_ns,
            data: layout.data,
            committed: size,
            missed,
        })
    }

    /// The time its first event counts from, in the unit of the instance's clock.
    #[must_use]
    pub fn timestamp_ns(&self) -> u64 {
        self.timestamp_ns
    }

    /// Bytes of data that were committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// Whether, and how many, events were lost before this sub-buffer.
    #[must_use]
    pub fn missed(&self) -> Option<Missed> {
        self.missed
    }

    /// Its records, in commit order.
    #[must_use]
    pub fn records(&self) -> RawRecords<'a> {
        RawRecords {
            page: self.bytes,
            walk: self.walk(),
        }
    }

    /// The place before its first record.
    pub(crate) fn walk(&self) -> Walk {
        Walk {
            at: self.data,
            end: self.data.saturating_add(self.committed),
            data: self.data,
            now: self.timestamp_ns,
            ..Walk::default()
        }
    }
}

impl Walk {
    /// Time of the record that was found last.
    #[inline]
    pub(crate) fn timestamp_ns(&self) -> u64 {
        self.now
    }

    /// Where its header starts, in bytes from the sub-buffer's start.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.found
    }

    /// Where its payload is.
    #[inline]
    pub(crate) fn payload(&self) -> Range<usize> {
        self.payload..self.at
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Result<bool, Box<Error>> {
        self.at = self.end;
        Err(Box::new(error))
    }

    #[cold]
    fn beyond_commit(&mut self) -> Result<bool, Box<Error>> {
        self.fail(Error::EventBeyondCommit {
            offset: self.at,
            committed: self.end.saturating_sub(self.data),
        })
    }

    #[cold]
    fn bad_length(&mut self, length: u32) -> Result<bool, Box<Error>> {
        self.fail(Error::EventLength {
            offset: self.at,
            length,
        })
    }

    #[cold]
    fn bad_time(&mut self, after: u64) -> Result<bool, Box<Error>> {
        self.fail(Error::Time {
            offset: self.at,
            before: self.now,
            after,
        })
    }

    /// Finds the next record of `page`, which must be the sub-buffer that this place is in; `false` at its end, and after
    /// the first error.
    #[inline]
    pub(crate) fn next(&mut self, page: &[u8]) -> Result<bool, Box<Error>> {
        let Some(page) = page.get(..self.end) else {
            return self.beyond_commit();
        };
        loop {
            let rest = page.get(self.at..).unwrap_or_default();
            let Some((header, body)) = rest.split_first_chunk::<4>() else {
                return if rest.is_empty() {
                    Ok(false)
                } else {
                    self.beyond_commit()
                };
            };
            let start = self.at.saturating_add(4);
            let delta = u64::from(u32::from_le_bytes(*header) >> 5);
            let [low, ..] = *header;
            match low & 0x1f {
                words @ 1..=28 => {
                    let length = usize::from(words << 2);
                    if body.len() < length {
                        return self.beyond_commit();
                    }
                    return self.record(delta, start, start.saturating_add(length));
                }
                0 => {
                    // The length word counts itself.
                    let Some(length) = u32_at(body, 0) else {
                        return self.beyond_commit();
                    };
                    if length < 4 || !length.is_multiple_of(4) {
                        return self.bad_length(length);
                    }
                    if body.len() < index(length) {
                        return self.beyond_commit();
                    }
                    let end = start.saturating_add(index(length));
                    return self.record(delta, start.saturating_add(4), end);
                }
                // Padding without a time: the rest of the page is dead.
                29 if delta == 0 => {
                    self.at = self.end;
                    return Ok(false);
                }
                29 => {
                    let Some(length) = u32_at(body, 0) else {
                        return self.beyond_commit();
                    };
                    if length < 4 || !length.is_multiple_of(4) {
                        return self.bad_length(length);
                    }
                    if body.len() < index(length) {
                        return self.beyond_commit();
                    }
                    // A discarded event keeps its time for those behind it. The time 1 stands for no time: padding to
                    // the page's end has it, and an event discarded at delta 0 gets it (rb_event_discard).
                    if delta != 1 {
                        let Some(now) = self.now.checked_add(delta) else {
                            return self.bad_time(self.now.wrapping_add(delta));
                        };
                        self.now = now;
                    }
                    self.at = start.saturating_add(index(length));
                }
                kind => {
                    let Some(upper) = body.first_chunk::<4>() else {
                        return self.beyond_commit();
                    };
                    let value = (u64::from(u32::from_le_bytes(*upper)) << TIME_SHIFT) | delta;
                    let now = if kind == 30 {
                        self.now.wrapping_add(value)
                    } else {
                        with_top_bits(value, self.now)
                    };
                    if now < self.now {
                        return self.bad_time(now);
                    }
                    self.now = now;
                    self.at = start.saturating_add(4);
                }
            }
        }
    }

    /// The record whose payload is there; the place behind it.
    #[inline]
    fn record(&mut self, delta: u64, start: usize, end: usize) -> Result<bool, Box<Error>> {
        let Some(now) = self.now.checked_add(delta) else {
            return self.bad_time(self.now.wrapping_add(delta));
        };
        self.found = self.at;
        self.payload = start;
        self.now = now;
        self.at = end;
        Ok(true)
    }
}

/// Writes into a place that is there.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let end = at.saturating_add(value.len());
    if let Some(place) = bytes.get_mut(at..end) {
        place.copy_from_slice(value);
    }
}

/// An absolute time has lost its top five bits: they are those of the time before it, or one more (`rb_fix_abs_ts`).
fn with_top_bits(absolute: u64, before: u64) -> u64 {
    if before & TIME_TOP == 0 {
        return absolute;
    }
    let time = absolute | (before & TIME_TOP);
    if time < before {
        time.wrapping_add(1 << 59)
    } else {
        time
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.walk.next(self.page) {
            Ok(false) => None,
            Ok(true) => Some(Ok(RawRecord {
                timestamp_ns: self.walk.timestamp_ns(),
                offset: self.walk.offset(),
                payload: self.page.get(self.walk.payload()).unwrap_or_default(),
            })),
            Err(error) => Some(Err(*error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
                               \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
                               \tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
                               \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";
    const HEADER_EVENT: &str = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\
                                \tarray       :   32 bits\n\n\tpadding     : type == 29\n\
                                \ttime_extend : type == 30\n\ttime_stamp : type == 31\n\
                                \tdata max type_len  == 28\n";
    const START: u64 = 1_000_000;

    fn layout() -> PageLayout {
        PageLayout::parse(HEADER_PAGE, HEADER_EVENT)
            .expect("the texts are as the kernel writes them")
    }

    /// An event's header word.
    fn head(kind: u32, delta: u32) -> u32 {
        (delta << 5) | kind
    }

    /// A sub-buffer with these words committed.
    fn sub_buffer(timestamp: u64, flags: u64, words: &[u32]) -> Vec<u8> {
        let mut bytes = timestamp.to_le_bytes().to_vec();
        bytes.extend((flags | (words.len() as u64 * 4)).to_le_bytes());
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.resize(4096, 0xaa);
        bytes
    }

    /// The times and payload sizes of the records of these words, and the error that ends them.
    fn decode(timestamp: u64, words: &[u32]) -> (Vec<(u64, usize)>, Option<Error>) {
        let bytes = sub_buffer(timestamp, 0, words);
        let page = SubBuffer::parse(&bytes, &layout()).expect("the header is sound");
        let mut records = Vec::new();
        let mut iterator = page.records();
        for record in iterator.by_ref() {
            match record {
                Ok(record) => records.push((record.timestamp_ns, record.payload.len())),
                Err(error) => {
                    assert_eq!(iterator.next(), None, "nothing follows an error");
                    return (records, Some(error));
                }
            }
        }
        (records, None)
    }

    #[track_caller]
    fn check(words: &[u32], expected: &[(u64, usize)]) {
        assert_eq!(decode(START, words), (expected.to_vec(), None));
    }

    #[track_caller]
    fn check_error(words: &[u32], expected: Error) {
        assert_eq!(decode(START, words).1, Some(expected));
    }

    #[test]
    fn data_lengths_are_in_words() {
        let mut words = vec![head(1, 5), 0x11];
        words.push(head(28, 7));
        words.extend([0x22; 28]);
        check(&words, &[(START + 5, 4), (START + 12, 112)]);
    }

    #[test]
    fn a_record_borrows_its_payload_and_knows_its_place() {
        let bytes = sub_buffer(START, 0, &[head(1, 0), 1, head(2, 0), 2, 3]);
        let page = SubBuffer::parse(&bytes, &layout()).expect("the header is sound");
        let records: Vec<_> = page
            .records()
            .map(|record| record.expect("all is sound"))
            .collect();
        assert_eq!(records[0].offset, 16);
        assert_eq!(records[1].offset, 24);
        assert_eq!(records[1].payload, &bytes[28..36]);
        assert_eq!(page.committed(), 20);
    }

    #[test]
    fn a_length_word_counts_itself() {
        let mut words = vec![head(0, 3), 4 + 120];
        words.extend([0; 30]);
        words.extend([head(0, 1), 4, head(1, 1), 9]);
        check(&words, &[(START + 3, 120), (START + 4, 0), (START + 5, 4)]);
    }

    #[test]
    fn a_time_extend_adds_its_59_bits() {
        check(
            &[head(30, 1), 2, head(1, 4), 0],
            &[(START + (2 << 27) + 1 + 4, 4)],
        );
    }

    #[test]
    fn an_absolute_time_replaces_the_time() {
        check(
            &[head(1, 9), 0, head(31, 3), 1, head(1, 4), 0],
            &[(START + 9, 4), ((1 << 27) + 3 + 4, 4)],
        );
    }

    #[test]
    fn an_absolute_time_takes_its_top_bits_from_the_time_before() {
        let top = 0x18 << 56;
        let (records, error) = decode(top + 100, &[head(31, 200), 0, head(1, 0), 0]);
        assert_eq!((records, error), (vec![(top + 200, 4)], None));
        // Smaller than before: bit 59 was carried into.
        let (records, error) = decode(top + 100, &[head(31, 50), 0, head(1, 0), 0]);
        assert_eq!((records, error), (vec![(top + (1 << 59) + 50, 4)], None));
    }

    #[test]
    fn time_that_goes_back_is_an_error() {
        check_error(
            &[head(1, 0), 0, head(31, 5), 0, head(1, 0), 0],
            Error::Time {
                offset: 24,
                before: START,
                after: 5,
            },
        );
    }

    #[test]
    fn time_that_overflows_is_an_error() {
        for words in [
            vec![head(1, 8), 0],
            vec![head(0, 8), 8, 0],
            vec![head(29, 8), 4],
            vec![head(30, 8), 0],
        ] {
            let (_, error) = decode(u64::MAX - 7, &words);
            assert_eq!(
                error,
                Some(Error::Time {
                    offset: 16,
                    before: u64::MAX - 7,
                    after: 0
                })
            );
        }
    }

    #[test]
    fn a_discarded_event_is_passed_over_and_keeps_its_time() {
        check(&[head(29, 6), 8, 0xdead, head(1, 1), 0], &[(START + 7, 4)]);
    }

    #[test]
    fn a_discarded_event_without_a_time_adds_none() {
        check(&[head(29, 1), 4, head(1, 1), 0], &[(START + 1, 4)]);
    }

    #[test]
    fn padding_to_the_end_of_the_page_is_no_record() {
        let mut words = vec![head(1, 1), 0, head(29, 1), 4080 - 12];
        words.resize(4080 / 4, 0);
        check(&words, &[(START + 1, 4)]);
    }

    #[test]
    fn behind_padding_without_a_length_the_page_is_dead() {
        check(
            &[head(1, 1), 0, head(29, 0), 0xffff_ffff, head(1, 1)],
            &[(START + 1, 4)],
        );
    }

    #[test]
    fn nothing_committed_is_no_record() {
        check(&[], &[]);
    }

    #[test]
    fn what_runs_past_the_commit_is_an_error() {
        let cases: [&[u32]; 7] = [
            &[head(2, 0), 0],
            &[head(0, 0)],
            &[head(0, 0), 8],
            &[head(29, 1)],
            &[head(29, 1), 8],
            &[head(30, 1)],
            &[head(31, 1)],
        ];
        for words in cases {
            check_error(
                words,
                Error::EventBeyondCommit {
                    offset: 16,
                    committed: words.len() * 4,
                },
            );
        }
        let bytes = sub_buffer(START, 2, &[]);
        let page = SubBuffer::parse(&bytes, &layout()).expect("the header is sound");
        let error = Error::EventBeyondCommit {
            offset: 16,
            committed: 2,
        };
        assert_eq!(page.records().next(), Some(Err(error)));
    }

    #[test]
    fn a_length_that_is_none_is_an_error() {
        for kind in [0, 29] {
            for length in [0, 3, 5, 6] {
                check_error(
                    &[head(kind, 2), length, 0, 0],
                    Error::EventLength { offset: 16, length },
                );
            }
        }
    }

    #[test]
    fn missed_events_are_marked() {
        let parse = |flags| {
            let bytes = sub_buffer(START, flags, &[head(1, 0), 0]);
            SubBuffer::parse(&bytes, &layout()).map(|page| (page.missed(), page.committed()))
        };
        assert_eq!(parse(0), Ok((None, 8)));
        // The kernel adds the flag to a signed long: the upper half is set with it.
        assert_eq!(
            parse(0xffff_ffff_8000_0000),
            Ok((Some(Missed { count: None }), 8))
        );
        assert_eq!(
            parse(0xc000_0000),
            Ok((
                Some(Missed {
                    count: Some(0xaaaa_aaaa_aaaa_aaaa)
                }),
                8
            ))
        );
    }

    #[test]
    fn a_stored_count_must_have_room() {
        let mut words = vec![0; 4080 / 4];
        words[0] = head(29, 0);
        let bytes = sub_buffer(START, 0xc000_0000, &words);
        assert_eq!(
            SubBuffer::parse(&bytes, &layout()).err(),
            Some(Error::NoMissedCount { offset: 4096 })
        );
    }

    #[test]
    fn a_commit_beyond_the_page_is_an_error() {
        let bytes = sub_buffer(START, 5000, &[]);
        let error = SubBuffer::parse(&bytes, &layout()).expect_err("the page holds 4080");
        assert_eq!(
            error.to_string(),
            "commit is 5000 bytes but the page holds 4080"
        );
    }

    #[test]
    fn a_slice_of_another_size_is_no_sub_buffer() {
        for bytes in [0, 4095, 4097] {
            let error =
                SubBuffer::parse(&vec![0; bytes], &layout()).expect_err("the size is wrong");
            assert_eq!(
                error,
                Error::NotASubBuffer {
                    bytes,
                    sub_buffer_size: 4096
                }
            );
        }
    }

    #[test]
    fn a_32_bit_kernel_has_a_short_header() {
        let header_page = HEADER_PAGE
            .replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:4")
            .replace("offset:16;\tsize:4080", "offset:12;\tsize:4084");
        let layout = PageLayout::parse(&header_page, HEADER_EVENT).expect("the texts are sound");
        let mut bytes = START.to_le_bytes().to_vec();
        for word in [0xc000_0008, head(1, 2), 7, 41] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.resize(4096, 0);
        let page = SubBuffer::parse(&bytes, &layout).expect("the header is sound");
        assert_eq!(page.missed(), Some(Missed { count: Some(41) }));
        let record = page
            .records()
            .next()
            .expect("there is one")
            .expect("it is sound");
        assert_eq!((record.timestamp_ns, record.offset), (START + 2, 12));
    }

    #[test]
    fn a_stream_is_cut_and_its_rest_is_damage() {
        let mut stream = sub_buffer(START, 0, &[head(1, 0), 0]);
        stream.extend([0; 10]);
        let cpu = CpuSubBuffers::from_stream(3, &stream, &layout());
        assert_eq!(
            cpu.sub_buffers
                .iter()
                .map(|bytes| bytes.len())
                .collect::<Vec<_>>(),
            [4096, 10]
        );
        assert!(SubBuffer::parse(cpu.sub_buffers[1], &layout()).is_err());
    }

    #[test]
    fn the_layout_comes_from_the_texts() {
        let layout = layout();
        assert_eq!(
            (
                layout.sub_buffer_size(),
                layout.capacity(),
                layout.long_size()
            ),
            (4096, 4080, 8)
        );
        assert_eq!(layout.with_sub_buffer_size(8192).capacity(), 8176);
    }

    #[test]
    fn texts_this_decoder_is_not_for_are_refused() {
        let cases = [
            ("timestamp", "time_stamp", LayoutError::NoField("timestamp")),
            (
                "offset:0;\tsize:8",
                "offset:0;\tsize:4",
                LayoutError::Size {
                    field: "timestamp",
                    size: 4,
                },
            ),
            (
                "offset:8;\tsize:8",
                "offset:8;\tsize:2",
                LayoutError::Size {
                    field: "commit",
                    size: 2,
                },
            ),
            (
                "size:4080",
                "size:0",
                LayoutError::Size {
                    field: "data",
                    size: 0,
                },
            ),
        ];
        for (from, to, expected) in cases {
            let error = PageLayout::parse(&HEADER_PAGE.replace(from, to), HEADER_EVENT)
                .expect_err("it is changed");
            assert_eq!(error, expected);
        }
        let broken = HEADER_PAGE.replace("offset:0", "offset:zero");
        assert!(matches!(
            PageLayout::parse(&broken, HEADER_EVENT),
            Err(LayoutError::Line(_))
        ));
        let other = HEADER_EVENT.replace("type == 31", "type == 30");
        let error = PageLayout::parse(HEADER_PAGE, &other).expect_err("it is changed");
        assert_eq!(error, LayoutError::Event(TIME_STAMP));
        let older = HEADER_EVENT.replace("\ttime_stamp : type == 31\n", "");
        assert_ne!(older, HEADER_EVENT);
        assert_eq!(PageLayout::parse(HEADER_PAGE, &older), Ok(layout()));
    }
}
