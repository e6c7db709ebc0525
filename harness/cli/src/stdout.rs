// SPDX-License-Identifier: GPL-2.0-only

//! Printing results: to a reader who may have seen enough.

use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;

use anyhow::anyhow;

use crate::exit::Failure;

/// Prints `text` and a newline. A reader who has closed the pipe, as `head` does, wants no more.
///
/// # Errors
/// If it cannot be written for another reason: a full disk, say.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text)
}

/// Prints bytes as they are, to the same reader.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = Output::new();
    out.bytes().extend_from_slice(bytes);
    out.finish()
}

/// Whether all was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printed {
    /// It was.
    All,
    /// The reader has closed the pipe, and wants no more.
    ReaderIsGone,
}

/// What became of something that was written.
///
/// # Errors
/// As [`print`].
pub(crate) fn written(outcome: io::Result<()>) -> Result<Printed, Failure> {
    match outcome {
        Ok(()) => Ok(Printed::All),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::ReaderIsGone),
        Err(error) => Err(Failure::setup(
            anyhow!(error).context("cannot write to standard output"),
        )),
    }
}

/// What is printed while it is made: a lot of it, to a reader who may have seen enough.
pub(crate) struct Output {
    bytes: Vec<u8>,
    is_closed: bool,
}

/// So much is kept before it is written.
const OUTPUT_BYTES: usize = 256 * 1024;

impl Output {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(OUTPUT_BYTES + OUTPUT_BYTES / 4),
            is_closed: false,
        }
    }

    /// What is to be printed goes to the end of this.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes it if it is much; tells whether the reader still wants more.
    ///
    /// # Errors
    /// As [`print`].
    #[inline]
    pub(crate) fn go_on(&mut self) -> Result<ControlFlow<()>, Failure> {
        if self.bytes.len() < OUTPUT_BYTES {
            return Ok(ControlFlow::Continue(()));
        }
        self.flush()?;
        Ok(if self.is_closed {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// Writes it, for a reader who waits for it; tells whether the reader still wants more.
    ///
    /// # Errors
    /// As [`print`].
    pub(crate) fn show(&mut self) -> Result<ControlFlow<()>, Failure> {
        if !self.bytes.is_empty() && !self.is_closed {
            self.flush()?;
        }
        Ok(if self.is_closed {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// As [`print`].
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let outcome = out.write_all(&self.bytes).and_then(|()| out.flush());
        self.bytes.clear();
        self.is_closed |= written(outcome)? == Printed::ReaderIsGone;
        Ok(())
    }
}

fn write(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    written(writeln!(out, "{text}").and_then(|()| out.flush())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
        assert!(write(&mut Broken(ErrorKind::BrokenPipe), "text").is_ok());
        assert!(write(&mut Broken(ErrorKind::StorageFull), "text").is_err());
    }
}
