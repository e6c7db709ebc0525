// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace`: what people do with a trace, a file for each command.

mod dump;
mod events;
mod functions;
mod info;
mod latency;
mod live;
mod record;
mod recv;
mod replay;
mod rewrite;
mod tui;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use deferinit_ftrace::printk_formats::PrintkFormats;
use serde::Serialize;

pub(crate) use self::replay::palette;
use crate::args::trace::Trace;
use crate::exit::Failure;
use crate::stdout::print;

/// Runs the command.
pub(crate) fn run(command: &Trace, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    match command {
        Trace::Record(arguments) => record::run(arguments, interrupted),
        Trace::Live(arguments) => live::run(arguments, interrupted),
        Trace::Recv(arguments) => recv::run(arguments, &interrupted),
        Trace::Info(arguments) => info::run(arguments),
        Trace::Report(arguments) => functions::report(arguments),
        Trace::Replay(arguments) => replay::run(arguments),
        Trace::Graph(arguments) => functions::graph(arguments),
        Trace::Diff(arguments) => functions::diff(arguments),
        Trace::Events(arguments) => events::run(arguments),
        Trace::Latency(arguments) => latency::run(arguments),
        Trace::Dump(arguments) => dump::run(arguments),
        Trace::Script(arguments) => dump::script(arguments),
        Trace::Split(arguments) => rewrite::split(arguments),
        Trace::Merge(arguments) => rewrite::merge(arguments),
        Trace::Tui(arguments) => tui::run(arguments),
    }
}

/// A result for programs, with the version of its format.
#[derive(Serialize)]
struct Versioned<'a, T> {
    format_version: u32,
    #[serde(flatten)]
    content: &'a T,
}

/// The constant texts that fields of a trace point to.
pub(crate) fn constants(trace: &crate::trace_file::Trace) -> Result<PrintkFormats, Failure> {
    trace.file.printk_formats().or_else(|error| {
        trace
            .damaged(&error.to_string())
            .map(|()| PrintkFormats::default())
    })
}

/// Prints a result for programs.
pub(crate) fn print_json<T: Serialize>(content: &T) -> Result<(), Failure> {
    let versioned = Versioned {
        format_version: 1,
        content,
    };
    let json = serde_json::to_string_pretty(&versioned)
        .context("cannot write the result as JSON")
        .map_err(Failure::setup)?;
    print(&json)
}
