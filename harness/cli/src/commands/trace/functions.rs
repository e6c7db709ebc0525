// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace report`, `graph` and `diff`: what a trace says of its functions.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, anyhow};
use deferinit_trace::calls::Account;
use deferinit_trace::diff::{Difference, Measure};
use deferinit_trace::dump::folded::Folded;
use deferinit_trace::functions::Functions;
use deferinit_trace::glob::Glob;
use deferinit_trace::graph::{CallGraph, Grouping};
use deferinit_trace::report::{Column, FunctionStatistics, Report};

use crate::args::Format;
use crate::args::trace::{self as trace_args, GraphFormat, Window};
use crate::commands::trace::events::lacks;
use crate::commands::trace::print_json;
use crate::exit::{Failure, complain};
use crate::stdout::print_bytes;
use crate::trace_file::Trace;

/// Prints the statistics of each function.
pub(crate) fn report(arguments: &trace_args::Report) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let (mut report, code) = statistics(&trace, &arguments.window)?;
    if let Some(glob) = &arguments.function {
        report.retain(&Glob::new(glob));
    }
    report.sort(column(&arguments.sort));
    explain(&trace, &report, arguments.function.as_deref())?;
    if let Some(limit) = arguments.limit {
        report.functions.truncate(limit);
    }
    match arguments.format {
        Format::Text => {
            let mut out = Vec::new();
            report.write_table(&mut out);
            print_bytes(&out)?;
        }
        Format::Json => print_json(&report)?,
    }
    Ok(code)
}

/// Prints what changed from one trace to another.
pub(crate) fn diff(arguments: &trace_args::Diff) -> Result<u8, Failure> {
    let of = |path: &Path| {
        let trace = Trace::open_path(path, None, arguments.lenient)?;
        let (mut report, code) = statistics(&trace, &Window::default())?;
        if let Some(glob) = &arguments.function {
            report.retain(&Glob::new(glob));
        }
        explain(&trace, &report, arguments.function.as_deref())?;
        Ok::<_, Failure>((report, code))
    };
    let ((first, first_code), (second, second_code)) =
        (of(&arguments.first)?, of(&arguments.second)?);
    let by = Measure::NAMES
        .iter()
        .find(|(name, _)| *name == arguments.sort)
        .map_or(Measure::Total, |(_, measure)| *measure);
    let mut difference = Difference::between(&first, &second, by);
    if let Some(limit) = arguments.limit {
        difference.functions.truncate(limit);
    }
    match arguments.format {
        Format::Text => {
            let mut out = Vec::new();
            difference.write_table(&mut out);
            print_bytes(&out)?;
        }
        Format::Json => print_json(&difference)?,
    }
    Ok(first_code.max(second_code))
}

/// Prints the tree of calls.
pub(crate) fn graph(arguments: &trace_args::Graph) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let symbols = trace.symbols()?;
    let grouping = if arguments.by_task {
        Grouping::ByTask
    } else {
        Grouping::Together
    };
    let mut graph = CallGraph::new(grouping);
    let tally = trace.each(&arguments.window, |step| {
        if step.follows_loss() {
            graph.lost(None);
        }
        graph.record(step.record);
        Ok(ControlFlow::Continue(()))
    })?;
    let graph = graph.finish(&mut Functions::new(&symbols), &trace.tasks()?);
    let wanted = match (&arguments.callees, &arguments.callers) {
        (Some(callees), _) => Some((callees, graph.callees(&Glob::new(callees)))),
        (None, Some(callers)) => Some((callers, graph.callers(&Glob::new(callers)))),
        (None, None) => None,
    };
    let graph = match wanted {
        None if graph.account.entries == 0 && graph.account.exits == 0 => {
            trace.outcome(&tally)?;
            return Err(no_call(&trace));
        }
        None => graph,
        Some((_, Some(part))) => part,
        Some((glob, None)) => {
            return Err(nothing_matches(&trace, glob, &graph.account));
        }
    };
    let mut out = Vec::new();
    match arguments.format {
        GraphFormat::Text => graph.write_tree(&mut out),
        GraphFormat::Folded => graph
            .stacks(&mut Folded::new(&mut out))
            .context("cannot fold the calls")
            .map_err(Failure::setup)?,
        GraphFormat::Json => return print_json(&graph).and_then(|()| trace.outcome(&tally)),
    }
    print_bytes(&out)?;
    trace.outcome(&tally)
}

/// The statistics of a trace, and the exit code that its state asks for.
fn statistics(trace: &Trace, window: &Window) -> Result<(Report, u8), Failure> {
    let mut statistics = FunctionStatistics::default();
    let tally = trace.each(window, |step| {
        if step.follows_loss() {
            statistics.lost(None);
        }
        statistics.record(step.record);
        Ok(ControlFlow::Continue(()))
    })?;
    let code = trace.outcome(&tally)?;
    let symbols = trace.symbols()?;
    Ok((statistics.finish(&mut Functions::new(&symbols)), code))
}

/// Says what a reader of an inexact report should know. A report of nothing that was asked for is an error.
fn explain(trace: &Trace, report: &Report, glob: Option<&str>) -> Result<(), Failure> {
    let account = &report.account;
    if account.losses > 0 {
        complain(&format!(
            "warning: {}: records were lost at {} places; what they would change is marked",
            trace.path.display(),
            account.losses
        ));
    }
    match glob {
        Some(glob) if report.functions.is_empty() => Err(nothing_matches(trace, glob, account)),
        None if report.functions.is_empty() => Err(no_call(trace)),
        Some(_) | None => Ok(()),
    }
}

/// An error for a command about calls, where there is none.
pub(crate) fn no_call(trace: &Trace) -> Failure {
    lacks(
        trace,
        "no call is in what was read of this trace: that has no records of function_graph",
    )
}

fn nothing_matches(trace: &Trace, glob: &str, account: &Account) -> Failure {
    Failure::usage(anyhow!(
        "{}: no function that was called matches {glob:?}; the trace has {} entries and {} ends of calls",
        trace.path.display(),
        account.entries,
        account.exits
    ))
}

fn column(name: &str) -> Column {
    Column::NAMES
        .iter()
        .find(|(of, _)| *of == name)
        .map_or(Column::Total, |(_, column)| *column)
}
