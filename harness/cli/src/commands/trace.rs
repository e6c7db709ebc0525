// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace`: what people do with a trace, a file for each command.

mod functions;
mod info;
mod replay;
mod rewrite;
mod tui;

use crate::exit::Failure;
use crate::trace_args::Trace;

/// Runs the command.
pub(crate) fn run(command: &Trace) -> Result<u8, Failure> {
    match command {
        Trace::Info(arguments) => info::run(arguments),
        Trace::Report(arguments) => functions::report(arguments),
        Trace::Replay(arguments) => replay::run(arguments),
        Trace::Graph(arguments) => functions::graph(arguments),
        Trace::Diff(arguments) => functions::diff(arguments),
        Trace::Split(arguments) => rewrite::split(arguments),
        Trace::Merge(arguments) => rewrite::merge(arguments),
        Trace::Tui(arguments) => tui::run(arguments),
    }
}
