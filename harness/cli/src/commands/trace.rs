// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace`: a file per subcommand.

mod record;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::args::Trace;
use crate::exit::Failure;

/// Runs the command.
pub(crate) fn run(command: &Trace, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    match command {
        Trace::Record(arguments) => record::run(arguments, interrupted),
    }
}
