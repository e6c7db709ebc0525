// SPDX-License-Identifier: GPL-2.0-only

//! Printing results: to a reader who may have seen enough.

use std::io::{self, ErrorKind, Write};

use anyhow::anyhow;

use crate::exit::Failure;

/// Prints `text` and a newline. A reader who has closed the pipe, as `head` does, wants no more.
///
/// # Errors
/// If it cannot be written for another reason: a full disk, say.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text)
}

fn write(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::setup(
            anyhow!(error).context("cannot write to standard output"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
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
