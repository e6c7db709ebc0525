// SPDX-License-Identifier: GPL-2.0-only

//! The command line: the only crate that sequences the stages, and the only one that prints.
//!
//! In: arguments. Out: an exit code, see `exit.rs`. A run goes scenario, plan, build, VM, decode,
//! timeline, verdict, report, and leaves each stage's file in its folder.

// These panic where nobody reads: `stdout::print` and `exit::complain` do not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod bundle;
mod commands;
mod ddmin;
mod exit;
mod guest_files;
mod insmod;
mod live;
mod measured_run;
mod output;
mod pipeline;
mod prepare;
mod project;
mod repetitions;
mod run_folder;
mod scenarios;
mod schedule;
mod show;
mod shrink;
mod speeds;
mod stdout;
mod trace_file;
mod trace_time;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::exit::Failure;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    exit::report(exit::guarded(|| {
        interruptible().and_then(|interrupted| dispatch(arguments, interrupted))
    }))
}

fn dispatch(arguments: Arguments, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    match arguments.command {
        Command::Run(arguments) => commands::run::run(&arguments, interrupted),
        Command::Replay(arguments) => commands::replay::run(&arguments, interrupted),
        Command::Shell(arguments) => commands::shell::run(&arguments, interrupted),
        Command::List(arguments) => commands::list::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Kernel(command) => commands::kernel::run(&command, interrupted),
        Command::Module(command) => commands::module::run(&command, interrupted),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Cost(arguments) => commands::cost::run(&arguments),
        Command::Graph(arguments) => commands::graph::graph(&arguments),
        Command::CriticalPath(arguments) => commands::graph::critical_path(&arguments),
        Command::Explore(arguments) => commands::explore::run(&arguments, interrupted),
        Command::WhatIf(arguments) => commands::what_if::run(&arguments, interrupted),
        Command::Compare(arguments) => commands::compare::run(&arguments),
        Command::Baseline(command) => commands::baseline::run(&command),
        Command::Bisect(arguments) => commands::bisect::run(&arguments, interrupted),
        Command::Trace(command) => commands::trace::run(&command, interrupted),
        Command::Doctor(arguments) => commands::doctor::run(&arguments, interrupted),
        Command::Setup => commands::setup::run(interrupted),
    }
}

/// Ctrl-C and SIGTERM set a flag, which ends the VM first; a second one ends us at once.
fn interruptible() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| {
                Failure::setup(anyhow::anyhow!(error).context("cannot listen to signals"))
            })?;
    }
    Ok(flag)
}
