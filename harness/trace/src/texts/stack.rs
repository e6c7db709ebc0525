// SPDX-License-Identifier: GPL-2.0-only

//! Parses what the stack tracer found: `stack_trace` and `stack_max_size`.
//!
//! In: the files' texts. Out: the deepest kernel stack since the tracer was enabled, frame by frame.
//! Source: `t_show` and `stack_max_size_read` in `kernel/trace/trace_stack.c`, Linux 7.3.

use serde::Serialize;

use super::{Error, Lines, lossy, number, split_once};

/// The deepest stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StackTrace {
    /// Its frames, the innermost first. None: nothing was measured.
    pub frames: Vec<Frame>,
    /// Whether the kernel says that the tracer is disabled. It does so only if nothing was measured.
    pub is_disabled: bool,
}

/// One frame of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Bytes of stack in use, this frame and those around it.
    pub depth_bytes: u64,
    /// Bytes of stack that this frame takes.
    pub size_bytes: i64,
    /// `SYMBOL+0xOFFSET/0xSIZE`, with ` [MODULE]` behind it for a module's.
    pub location: String,
}

impl StackTrace {
    /// Reads the text of `stack_trace`.
    ///
    /// # Errors
    /// [`Error`] when a line is none that the kernel writes, or when there are fewer or more frames than it says.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut lines = Lines::new(text);
        let entries: usize = lines.expect("`Depth    Size   Location    (N entries)`", |line| {
            let (head, count) = split_once(line, b"(")?;
            let words = lossy(head);
            words
                .split_whitespace()
                .eq(["Depth", "Size", "Location"])
                .then_some(())?;
            number(count.strip_suffix(b" entries)")?)
        })?;
        lines.expect("a line of dashes", |line| {
            line.trim_ascii().starts_with(b"-----").then_some(())
        })?;
        let mut trace = Self {
            frames: Vec::new(),
            is_disabled: false,
        };
        while let Some(line) = lines.next() {
            if line.starts_with(b"#") {
                trace.is_disabled |= line == b"#  Stack tracer disabled";
                continue;
            }
            let expected = "`INDEX)    DEPTH    SIZE   LOCATION`";
            let frame = Frame::parse(line, trace.frames.len())
                .ok_or_else(|| lines.error(expected, line))?;
            trace.frames.push(frame);
        }
        if trace.frames.len() != entries {
            return Err(Error {
                line: lines.number.saturating_add(1),
                expected: "as many frames as the first line says",
                found: format!("{} of {entries}", trace.frames.len()),
            });
        }
        Ok(trace)
    }
}

impl Frame {
    fn parse(line: &[u8], place: usize) -> Option<Self> {
        let (index, rest) = split_once(line, b")")?;
        (number::<usize>(index)? == place).then_some(())?;
        let (depth, rest) = split_once(rest.trim_ascii_start(), b" ")?;
        let (size, location) = split_once(rest.trim_ascii_start(), b" ")?;
        let location = lossy(location.trim_ascii());
        (!location.is_empty()).then_some(Self {
            depth_bytes: number(depth)?,
            size_bytes: number(size)?,
            location,
        })
    }
}

/// Reads the text of `stack_max_size`: the deepest stack in bytes; `None` if nothing was measured, which it writes as 0.
///
/// # Errors
/// [`Error`] when it is no number.
pub fn max_size_bytes(text: &[u8]) -> Result<Option<u64>, Error> {
    let size: u64 = Lines::new(text).expect("a number of bytes", number)?;
    Ok((size > 0).then_some(size))
}
