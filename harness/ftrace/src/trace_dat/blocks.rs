// SPDX-License-Identifier: GPL-2.0-only

//! Reads one CPU's sub-buffers out of a trace.dat file, block by block.
//!
//! In: where they are in the file. Out: whole sub-buffers, decompressed; a chunk of a compressed file at a time, some
//! hundred KiB of one that is not.

use crate::bytes::index;
use crate::capture::{BlockError, Blocks};
use crate::trace_dat::input::{Compression, Error, ErrorKind, Input, Source, fill};

/// Bytes of an uncompressed file that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// The most that a chunk may hold: trace-cmd writes ten sub-buffers of the guest's page size, which is 64 KiB at most.
pub(super) const CHUNK_LIMIT: u64 = 4 << 20;

/// Gives the sub-buffers of one CPU.
pub struct CpuBlocks<S> {
    source: S,
    sub_buffer_size: usize,
    at: u64,
    end: u64,
    state: State,
}

enum State {
    /// The number of chunks is to be read.
    Unread(Compression),
    Chunks {
        left: u32,
        decompressor: Decompressor,
        /// The chunk as it is in the file.
        stored: Vec<u8>,
    },
    Plain,
    /// Nothing is left, or nothing can be found behind an error.
    Ended,
}

enum Decompressor {
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
    Zlib,
}

impl<S: Source> CpuBlocks<S> {
    /// The sub-buffers that `size` bytes at `offset` hold.
    pub(super) fn new(
        source: S,
        compression: Compression,
        sub_buffer_size: usize,
        offset: u64,
        size: u64,
    ) -> Self {
        let state = match compression {
            _ if size == 0 => State::Ended,
            Compression::None => State::Plain,
            compression => State::Unread(compression),
        };
        // trace-cmd 3.1 does not count the number of chunks in the size of what holds them, nor does it look at that size
        // when it reads: only the file's end is one.
        let end = match compression {
            Compression::None => offset.saturating_add(size),
            Compression::Zstd | Compression::Zlib => source.size(),
        };
        Self {
            source,
            sub_buffer_size: sub_buffer_size.max(1),
            at: offset,
            end,
            state,
        }
    }

    fn next(&mut self, block: &mut Vec<u8>) -> Result<bool, Error> {
        if let State::Unread(compression) = self.state {
            self.begin(compression)?;
        }
        match &self.state {
            State::Plain => self.plain(block),
            State::Chunks { .. } => self.chunk(block),
            State::Unread(_) | State::Ended => Ok(false),
        }
    }

    /// Reads how many chunks there are.
    fn begin(&mut self, compression: Compression) -> Result<(), Error> {
        let mut head = Input::plain(&self.source, self.at, self.end.saturating_sub(self.at));
        let left = head.u32("the number of chunks")?;
        self.at = head.file_offset();
        let decompressor = match compression {
            Compression::Zstd => zstd::bulk::Decompressor::new()
                .map(|decompressor| Decompressor::Zstd(Box::new(decompressor)))
                .map_err(|error| Error::at(self.at, ErrorKind::Read(error.to_string())))?,
            Compression::None | Compression::Zlib => Decompressor::Zlib,
        };
        self.state = State::Chunks {
            left,
            decompressor,
            stored: Vec::new(),
        };
        Ok(())
    }

    fn plain(&mut self, block: &mut Vec<u8>) -> Result<bool, Error> {
        let at_once = whole(READ_BYTES, self.sub_buffer_size).max(self.sub_buffer_size);
        let length = index(self.end.saturating_sub(self.at)).min(at_once);
        block.resize(length, 0);
        if length > 0 {
            self.keep_what_is_there(block)?;
        }
        Ok(!block.is_empty())
    }

    /// Fills the block; in a file that is cut off, with the whole sub-buffers before the cut, and the cut is the error of
    /// the next call.
    fn keep_what_is_there(&mut self, block: &mut Vec<u8>) -> Result<(), Error> {
        let there = index(self.source.size().saturating_sub(self.at));
        if block.len() > there {
            let whole = whole(there, self.sub_buffer_size);
            if whole == 0 {
                let kind = ErrorKind::Short {
                    what: "a sub-buffer",
                    needed: block.len().try_into().unwrap_or(u64::MAX),
                    left: there.try_into().unwrap_or(u64::MAX),
                };
                return Err(Error::at(self.at, kind));
            }
            block.truncate(whole);
        }
        fill(&self.source, self.at, "sub-buffers", block)?;
        self.at = self
            .at
            .saturating_add(block.len().try_into().unwrap_or(u64::MAX));
        Ok(())
    }

    fn chunk(&mut self, block: &mut Vec<u8>) -> Result<bool, Error> {
        let State::Chunks {
            left,
            decompressor,
            stored,
        } = &mut self.state
        else {
            return Ok(false);
        };
        block.clear();
        if *left == 0 {
            return Ok(false);
        }
        let mut head = [0; 8];
        fill(&self.source, self.at, "a chunk's sizes", &mut head)?;
        let (stored_size, size) = sizes(head);
        check_size(self.at, size, self.sub_buffer_size)?;
        let start = self.at.saturating_add(8);
        let room = self.end.saturating_sub(start);
        if stored_size > room {
            let kind = ErrorKind::Short {
                what: "a chunk",
                needed: stored_size,
                left: room,
            };
            return Err(Error::at(start, kind));
        }
        stored.resize(index(stored_size), 0);
        fill(&self.source, start, "a chunk", stored)?;
        let decompress = |error: std::io::Error| {
            let kind = ErrorKind::Decompress {
                what: "a chunk",
                reason: error.to_string(),
            };
            Error::at(start, kind)
        };
        match decompressor {
            Decompressor::Zstd(zstd) => {
                block.reserve(index(size));
                zstd.decompress_to_buffer(stored, block)
                    .map_err(decompress)?;
            }
            Decompressor::Zlib => {
                use std::io::Read;
                flate2::bufread::ZlibDecoder::new(stored.as_slice())
                    .take(size.saturating_add(1))
                    .read_to_end(block)
                    .map_err(decompress)?;
            }
        }
        if block.len() != index(size) {
            let reason = format!("it holds {} bytes instead of {size}", block.len());
            let kind = ErrorKind::Decompress {
                what: "a chunk",
                reason,
            };
            return Err(Error::at(start, kind));
        }
        self.at = start.saturating_add(stored_size);
        *left = left.saturating_sub(1);
        Ok(true)
    }
}

/// The largest multiple of `unit` that is not above `bytes`.
fn whole(bytes: usize, unit: usize) -> usize {
    bytes.saturating_sub(bytes.checked_rem(unit).unwrap_or(0))
}

/// Stored size and size, from a chunk's head.
pub(super) fn sizes(head: [u8; 8]) -> (u64, u64) {
    let [a, b, c, d, rest @ ..] = head;
    (
        u32::from_le_bytes([a, b, c, d]).into(),
        u32::from_le_bytes(rest).into(),
    )
}

/// Whether a chunk of `size` bytes can hold sub-buffers.
pub(super) fn check_size(at: u64, size: u64, sub_buffer_size: usize) -> Result<(), Error> {
    if size > CHUNK_LIMIT {
        let kind = ErrorKind::TooLarge {
            what: "a chunk",
            size,
            limit: CHUNK_LIMIT,
        };
        return Err(Error::at(at, kind));
    }
    if size == 0 || !index(size).is_multiple_of(sub_buffer_size) {
        let kind = ErrorKind::Expected {
            expected: "a chunk of whole sub-buffers",
            found: format!("one of {size} bytes, with sub-buffers of {sub_buffer_size}"),
        };
        return Err(Error::at(at, kind));
    }
    Ok(())
}

impl<S: Source> Blocks for CpuBlocks<S> {
    fn next_block(&mut self, block: &mut Vec<u8>) -> Result<bool, BlockError> {
        self.next(block).map_err(|error| {
            self.state = State::Ended;
            block.clear();
            BlockError {
                offset: error.place.offset,
                message: error.kind.to_string(),
            }
        })
    }
}
