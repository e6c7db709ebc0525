// SPDX-License-Identifier: GPL-2.0-only

//! Makes sub-buffers out of records: what [`crate::page`] decodes, the other way round.
//!
//! In: payloads with their times, of one CPU, oldest first. Out: whole sub-buffers, as the kernel would have committed
//! them; with the mark of a loss where one is to stand.
//! Source: `rb_update_event`, `rb_add_time_stamp` and `rb_set_commit_to_write` in `kernel/trace/ring_buffer.c`, Linux 7.3.

use crate::bytes::index;
use crate::page::PageLayout;

/// The longest payload whose length stands in the event's header (`RINGBUF_TYPE_DATA_TYPE_LEN_MAX`, in words of four).
const SHORT_PAYLOAD: usize = 28 * 4;
/// Times in an event's header have 27 bits, those of a time extension 59.
const DELTA_BITS: u32 = 27;
const EXTENSION_BITS: u32 = 59;

/// Fills one sub-buffer after the other.
#[derive(Debug, Clone)]
pub struct SubBufferEncoder {
    layout: PageLayout,
    /// The sub-buffer in the making, header included.
    bytes: Vec<u8>,
    latest: u64,
    follows_loss: bool,
}

/// Why a record cannot be put into a sub-buffer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than a sub-buffer.
    #[error("a payload of {bytes} bytes does not fit a sub-buffer for {capacity}")]
    TooLong {
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes of data a sub-buffer can hold.
        capacity: usize,
    },
    /// It is older than the one before it.
    #[error("time goes back from {before} to {after}")]
    Time {
        /// Time of the record before.
        before: u64,
        /// Time of this one.
        after: u64,
    },
}

impl SubBufferEncoder {
    /// Starts with no record.
    #[must_use]
    pub fn new(layout: PageLayout) -> Self {
        Self {
            layout,
            bytes: Vec::new(),
            latest: 0,
            follows_loss: false,
        }
    }

    /// Adds a record. When there is no room for it, the sub-buffer that is full is returned, and the record begins the
    /// next one.
    ///
    /// # Errors
    /// [`Error`]: nothing was added.
    pub fn add(&mut self, timestamp: u64, payload: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        // Header, a length word if need be, and whole words.
        let words = payload.len().next_multiple_of(4);
        let head = if (1..=SHORT_PAYLOAD).contains(&words) {
            4
        } else {
            8
        };
        let needed = words.saturating_add(head);
        if needed > self.layout.capacity() {
            return Err(Error::TooLong {
                bytes: payload.len(),
                capacity: self.layout.capacity(),
            });
        }
        let delta = match timestamp.checked_sub(self.latest) {
            _ if self.bytes.is_empty() && timestamp >= self.latest => 0,
            Some(delta) => delta,
            None => {
                return Err(Error::Time {
                    before: self.latest,
                    after: timestamp,
                });
            }
        };
        let extension = if delta >> DELTA_BITS == 0 { 0 } else { 8 };
        let room = self
            .layout
            .sub_buffer_size()
            .saturating_sub(self.bytes.len());
        // A sub-buffer's own time has 64 bits: what an extension cannot say begins a new one.
        let is_too_far = needed.saturating_add(extension) > room || delta >> EXTENSION_BITS != 0;
        let full = (!self.bytes.is_empty() && is_too_far).then(|| self.take());
        let delta = if self.bytes.is_empty() { 0 } else { delta };
        if self.bytes.is_empty() {
            self.bytes = self.layout.header(timestamp);
        }
        let mut short = delta;
        if delta >> DELTA_BITS != 0 {
            // Type 30: the lower bits beside it, the upper ones behind it.
            self.word((low_word(delta) << 5) | 30);
            self.word(low_word(delta >> DELTA_BITS));
            short = 0;
        }
        let length = u32::try_from(words).unwrap_or(u32::MAX);
        if head == 4 {
            self.word((low_word(short) << 5) | (length >> 2));
        } else {
            self.word(low_word(short) << 5);
            self.word(length.saturating_add(4));
        }
        self.bytes.extend_from_slice(payload);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
        self.latest = timestamp;
        Ok(full)
    }

    /// Says that records were lost before the next one. The sub-buffer so far is returned: the mark stands at the begin of
    /// one.
    #[must_use]
    pub fn lose(&mut self) -> Option<Vec<u8>> {
        let full = (!self.bytes.is_empty()).then(|| self.take());
        self.follows_loss = true;
        full
    }

    /// The last sub-buffer, if there is a record in it.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| self.take())
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.layout.commit(&mut bytes, self.follows_loss);
        self.follows_loss = false;
        bytes.resize(index(self.layout.sub_buffer_size()), 0);
        bytes
    }
}

/// The lower 32 bits.
fn low_word(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Missed, SubBuffer};

    const HEADER_PAGE: &str = include_str!("../tests/data/linux-7.3.4/header_page");
    const HEADER_EVENT: &str = include_str!("../tests/data/linux-7.3.4/header_event");

    fn layout() -> PageLayout {
        PageLayout::parse(HEADER_PAGE, HEADER_EVENT).expect("the texts are a real kernel's")
    }

    /// Times and payloads.
    type Timed = Vec<(u64, Vec<u8>)>;

    /// Encodes records, and decodes what came out.
    fn through(records: &Timed) -> (Vec<Vec<u8>>, Timed) {
        let mut encoder = SubBufferEncoder::new(layout());
        let mut pages = Vec::new();
        for (time, payload) in records {
            pages.extend(encoder.add(*time, payload).expect("it fits"));
        }
        pages.extend(encoder.finish());
        let mut decoded = Vec::new();
        for page in &pages {
            let page = SubBuffer::parse(page, &layout()).expect("a sub-buffer");
            for record in page.records() {
                let record = record.expect("a record");
                decoded.push((record.timestamp_ns, record.payload.to_vec()));
            }
        }
        (pages, decoded)
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let mut records = Vec::new();
        let mut time = 5;
        for number in 0..4000_u32 {
            // Short and long payloads, small, large and huge steps of time.
            let length = [8, 28, 112, 116, 52, 600][index(number % 6)];
            let byte = number.to_le_bytes()[0];
            records.push((time, vec![byte; length]));
            time += [0, 1, (1 << 27) - 1, 1 << 27, 1 << 40, 300][index(number / 6 % 6)];
            // Once beyond what a time extension can say.
            time += if number == 2000 { 1 << 62 } else { 0 };
        }
        let (pages, decoded) = through(&records);
        assert_eq!(decoded, records);
        assert!(pages.len() > 100 && pages.iter().all(|page| page.len() == 4096));
    }

    #[test]
    fn a_sub_buffer_is_filled_to_its_last_byte() {
        // 4080 bytes: 34 records of 4 + 112 are 3944, one of 4 + 132 - 4 makes it full.
        let mut records = vec![(0, vec![1; 112]); 34];
        records.push((0, vec![2; 128]));
        let (pages, decoded) = through(&records);
        assert_eq!((pages.len(), decoded), (1, records.clone()));
        records.push((0, vec![3; 8]));
        assert_eq!(through(&records).0.len(), 2);
    }

    #[test]
    fn a_loss_is_marked_where_it_was() {
        let mut encoder = SubBufferEncoder::new(layout());
        assert_eq!(encoder.add(1, &[0; 8]), Ok(None));
        let first = encoder.lose().expect("a record is in it");
        assert_eq!(encoder.add(2, &[0; 8]), Ok(None));
        let second = encoder.finish().expect("a record is in it");
        let missed = |page: &[u8]| SubBuffer::parse(page, &layout()).expect("whole").missed();
        assert_eq!(missed(&first), None);
        assert_eq!(missed(&second), Some(Missed { count: None }));
    }

    #[test]
    fn what_cannot_be_put_is_refused_and_nothing_is_added() {
        let mut encoder = SubBufferEncoder::new(layout());
        assert_eq!(encoder.add(10, &[7; 8]), Ok(None));
        assert_eq!(
            encoder.add(11, &[0; 4077]),
            Err(Error::TooLong {
                bytes: 4077,
                capacity: 4080
            })
        );
        assert_eq!(
            encoder.add(9, &[0; 8]),
            Err(Error::Time {
                before: 10,
                after: 9
            })
        );
        let page = encoder.finish().expect("a record is in it");
        let page = SubBuffer::parse(&page, &layout()).expect("a sub-buffer");
        assert_eq!(page.records().count(), 1);
    }
}
