// SPDX-License-Identifier: GPL-2.0-only

//! Reads one CPU's `trace_pipe_raw`, in whole sub-buffers.
//!
//! In: the file. Out: pieces of several sub-buffers. It takes what is there and never waits.
//! Source: `tracing_buffers_read()`, `kernel/trace/trace.c`, and `ring_buffer_read_page()`,
//! `kernel/trace/ring_buffer.c`, Linux 7.3.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A read gives one sub-buffer at most; this is the largest there is (`buffer_subbuf_size_write()`,
/// `kernel/trace/trace.c`: 128 pages).
const LARGEST_SUB_BUFFER: usize = 128 * 4096;

/// How much is sent at a time.
const PIECE: usize = 4 << 20;

/// Where in a sub-buffer its commit is: how many bytes of it are in use (`struct buffer_data_page`, x86-64).
const COMMIT: usize = 8;

/// The bits of the commit that are flags for missed events (`RB_MISSED_MASK`).
const MISSED: u32 = 3 << 30;

/// One CPU's trace.
pub(crate) struct Pipe {
    pub(crate) cpu: u32,
    path: PathBuf,
    file: File,
    /// The size of its buffer.
    bytes: usize,
    sub_buffer: Vec<u8>,
    piece: Vec<u8>,
}

impl Pipe {
    /// Opens it; the kernel refuses another tracer as long as it is open.
    pub(crate) fn open(cpu: u32, path: PathBuf, buffer_kib: u64) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            cpu,
            path,
            file,
            bytes: usize::try_from(buffer_kib.saturating_mul(1024)).unwrap_or(usize::MAX),
            sub_buffer: vec![0; LARGEST_SUB_BUFFER],
            piece: Vec::new(),
        })
    }

    /// Sends all there is, until there is no more.
    pub(crate) fn drain(&mut self, send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.read(usize::MAX, send)
    }

    /// Sends what was there when this began. A writer can be as fast as this reader, who would come to no end then.
    pub(crate) fn catch_up(&mut self, send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.read(self.bytes, send)
    }

    fn read(&mut self, most: usize, mut send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut total = 0_usize;
        loop {
            let length = match self.file.read(&mut self.sub_buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}", self.path.display()));
                }
            };
            let sub_buffer = self.sub_buffer.get(..length).unwrap_or_default();
            self.piece.extend_from_slice(sub_buffer);
            total = total.saturating_add(length);
            // One that is half empty is the one that is being written: no other is behind it. Not the first one, which is
            // the rest of the one that was being written when this was called before.
            let has_caught_up = most < usize::MAX && total > length && is_half_empty(sub_buffer);
            let is_last = length == 0 || total > most || has_caught_up;
            if !self.piece.is_empty() && (is_last || self.piece.len() >= PIECE) {
                send(&self.piece)?;
                self.piece.clear();
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

fn is_half_empty(sub_buffer: &[u8]) -> bool {
    let commit = sub_buffer
        .get(COMMIT..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes) & !MISSED);
    usize::try_from(commit).is_ok_and(|commit| commit < sub_buffer.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::is_half_empty;

    #[test]
    fn what_is_in_use_of_a_sub_buffer_does_not_count_its_flags() {
        for (commit, is) in [
            (100_u32, true),
            (4000, false),
            (100 | 1 << 31, true),
            (4000 | 3 << 30, false),
        ] {
            let mut sub_buffer = vec![0; 4096];
            sub_buffer[8..12].copy_from_slice(&commit.to_le_bytes());
            assert_eq!(is_half_empty(&sub_buffer), is, "{commit:#x}");
        }
        assert!(!is_half_empty(&[]));
    }
}
