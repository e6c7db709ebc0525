// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace replay`: the calls of a trace as a tree.

use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::record::Record;
use deferinit_report::{Colour, Terminal};
use deferinit_trace::fields::Fields;
use deferinit_trace::functions::Functions;
use deferinit_trace::glob::Glob;
use deferinit_trace::names::Names;
use deferinit_trace::replay::{Columns, KernelReplay, LocalReplay, Palette, Selection};

use crate::args::trace::{Part, Replay, Style};
use crate::commands::trace::events::lacks;
use crate::exit::Failure;
use crate::stdout::Output;
use crate::trace_file::Trace;

/// Runs the command.
pub(crate) fn run(arguments: &Replay) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    match arguments.style {
        Style::Kernel => kernel(&trace, arguments),
        Style::Local => local(&trace, arguments),
    }
}

/// As the kernel's own tracer prints.
fn kernel(trace: &Trace, arguments: &Replay) -> Result<u8, Failure> {
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let cpus = trace.buffer.cpus.iter().map(|section| section.cpu).max();
    let mut replay = KernelReplay::new(
        Functions::new(&symbols),
        &tasks,
        cpus.map_or(1, |cpu| cpu.saturating_add(1)),
        selection(arguments),
    )
    .with_columns(columns(&arguments.show))
    .with_palette(palette())
    .with_irq_text(symbols.irq_entry_text());
    let mut out = Output::new();
    replay.header(out.bytes());
    let fields = Fields::new(trace.file.formats());
    let mut names = Names::new(&symbols, &tasks);
    let mut render =
        |record: &Record<'_>, into: &mut Vec<u8>| fields.text(record, &mut names, into);
    let mut is_shown = false;
    let tally = trace.each(&arguments.window, |step| {
        let before = out.bytes().len();
        if step.follows_loss() {
            replay.lost(step.record.cpu, None, out.bytes());
        }
        replay.record(
            step.record,
            step.following().as_ref(),
            &mut render,
            out.bytes(),
        );
        is_shown |= out.bytes().len() > before;
        out.go_on()
    })?;
    finish(trace, out, &tally, is_shown)
}

/// A line per call.
fn local(trace: &Trace, arguments: &Replay) -> Result<u8, Failure> {
    let symbols = trace.symbols()?;
    let mut replay =
        LocalReplay::new(Functions::new(&symbols), selection(arguments)).with_palette(palette());
    let mut out = Output::new();
    replay.header(out.bytes());
    let mut is_shown = false;
    let tally = trace.each(&arguments.window, |step| {
        let before = out.bytes().len();
        if step.follows_loss() {
            replay.lost(None);
        }
        replay.record(step.record, out.bytes());
        is_shown |= out.bytes().len() > before;
        out.go_on()
    })?;
    let before = out.bytes().len();
    replay.finish(out.bytes());
    is_shown |= out.bytes().len() > before;
    finish(trace, out, &tally, is_shown)
}

/// Prints the rest. A replay of nothing, which is a header only, is not printed: it is an error.
fn finish(trace: &Trace, out: Output, tally: &Tally, is_shown: bool) -> Result<u8, Failure> {
    if is_shown {
        out.finish()?;
        return trace.outcome(tally);
    }
    trace.outcome(tally)?;
    Err(lacks(
        trace,
        "there is nothing to show: no call or event in it is of such a function, task, time or CPU",
    ))
}

fn selection(arguments: &Replay) -> Selection {
    Selection {
        functions: arguments.function.as_deref().map(Glob::new),
        pid: arguments.pid,
        // Times and CPUs are chosen before.
        cpu: None,
        from_ns: None,
        until_ns: None,
        min_duration_ns: arguments.min_duration.0,
        max_depth: arguments.max_depth,
    }
}

fn columns(parts: &[Part]) -> Columns {
    let mut columns = Columns::default();
    for part in parts {
        match part {
            Part::Abstime => columns.abstime = true,
            Part::Proc => columns.proc = true,
            Part::Tail => columns.tail = true,
            Part::Retval => columns.retval = true,
            Part::RetvalHex => {
                columns.retval = true;
                columns.retval_hex = true;
            }
            Part::Overrun => columns.overrun = true,
        }
    }
    columns
}

pub(crate) fn palette() -> Palette {
    match Terminal::of_stdout().colour {
        Colour::Never => Palette::default(),
        Colour::Always => Palette {
            function: "\x1b[1m",
            long: "\x1b[31m",
            comment: "\x1b[2m",
            reset: "\x1b[0m",
        },
    }
}
