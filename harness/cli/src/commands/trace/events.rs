// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace events`: which events a trace has, and how long it is from one to another.

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;

use anyhow::{Context, anyhow};
use deferinit_timeline::TraceNanos;
use deferinit_trace::dump::json::{Flushing, JsonLines};
use deferinit_trace::durations::Scale;
use deferinit_trace::events::{
    Count, CountReport, List, MOST_OPEN, PairSpec, Pairs, PairsReport, Selection,
};
use deferinit_trace::fields::Fields;
use deferinit_trace::names::Names;
use deferinit_trace::text::scaled;

use crate::args::Format;
use crate::args::trace::{Buckets, Events, Window};
use crate::commands::trace::{constants, print_json};
use crate::exit::{Failure, complain};
use crate::stdout::{Printed, print_bytes, written};
use crate::trace_file::Trace;

/// Runs the command.
pub(crate) fn run(arguments: &Events) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let constants = constants(&trace)?;
    let mut names = Names::new(&symbols, &tasks).with_constants(&constants);
    let fields = Fields::new(trace.file.formats());
    let patterns: Vec<&str> = arguments.event.iter().map(String::as_str).collect();
    let selection = select(
        &trace,
        &fields,
        &names,
        &patterns,
        arguments.filter.as_deref(),
    )?;
    if let Some(end) = &arguments.pair.to_event {
        let end = select(
            &trace,
            &fields,
            &names,
            &[end],
            arguments.pair.to_filter.as_deref(),
        )?;
        let keys = arguments
            .pair
            .key
            .iter()
            .map(|key| key.split_once('=').unwrap_or((key, key)))
            .collect();
        let spec = PairSpec {
            start: selection,
            end,
            keys,
            scale: scale(&arguments.pair.buckets)?,
            most_open: MOST_OPEN,
        };
        let (report, code) = measure(&trace, &arguments.window, spec, &mut names)?;
        print_pairs(&report, arguments.format)?;
        return Ok(code);
    }
    if arguments.count {
        return count(&trace, arguments, selection, &mut names);
    }
    list(&trace, arguments, &fields, selection, &mut names)
}

/// What a pattern and an expression take of a trace.
pub(crate) fn select<'a>(
    trace: &Trace,
    fields: &'a Fields,
    names: &Names<'_>,
    patterns: &[&str],
    expression: Option<&str>,
) -> Result<Selection<'a>, Failure> {
    Selection::new(
        patterns,
        expression,
        trace.file.formats(),
        fields,
        names.into(),
    )
    .with_context(|| trace.path.display().to_string())
    .map_err(Failure::usage)
}

/// How a histogram is to be drawn.
pub(crate) fn scale(buckets: &Buckets) -> Result<Scale, Failure> {
    match (buckets.bucket, buckets.range) {
        (Some(width), Some((from, to))) => Scale::linear(from.0, to.0, width.0)
            .context("--bucket and --range")
            .map_err(Failure::usage),
        _ => Ok(Scale::Log2),
    }
}

/// Measures the time from one event to another.
pub(crate) fn measure(
    trace: &Trace,
    window: &Window,
    spec: PairSpec<'_>,
    names: &mut Names<'_>,
) -> Result<(PairsReport, u8), Failure> {
    let mut pairs = Pairs::new(spec, trace.file.formats())
        .with_context(|| trace.path.display().to_string())
        .map_err(Failure::usage)?;
    let tally = trace.each(window, |step| {
        pairs.record(step.record, names);
        Ok(ControlFlow::Continue(()))
    })?;
    let code = trace.outcome(&tally)?;
    let report = pairs.finish();
    if report.pairs == 0 {
        complain(&format!(
            "warning: {}: nothing was measured: {} starts and {} ends were found, and no end for a start",
            trace.path.display(),
            report.starts,
            report.ends
        ));
    }
    Ok((report, code))
}

/// Prints times between events.
pub(crate) fn print_pairs(report: &PairsReport, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return print_json(report);
    }
    let mut text = String::new();
    // Into memory, where nothing fails.
    let _ = writeln!(
        text,
        "{} pairs of {} starts and {} ends",
        report.pairs, report.starts, report.ends
    );
    for (count, what) in [
        (report.unmatched_starts, "starts without an end"),
        (report.unmatched_ends, "ends without a start"),
        (report.replaced_starts, "starts replaced by a later one"),
        (report.starts_without_key, "starts without a key field"),
        (report.ends_without_key, "ends without a key field"),
        (report.backward, "ends before their start"),
        (
            report.refused_starts,
            "starts refused, since too many were open",
        ),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {count} {what}");
        }
    }
    if let Some(summary) = &report.summary {
        let _ = writeln!(
            text,
            "min {}  avg {}  p50 {}  p90 {}  p99 {}  max {}",
            scaled(summary.min_ns),
            scaled(summary.avg_ns),
            scaled(summary.p50_ns),
            scaled(summary.p90_ns),
            scaled(summary.p99_ns),
            scaled(summary.max_ns)
        );
        text.push_str(&report.histogram.text());
        text.push_str("slowest:\n");
        for pair in &report.slowest {
            let keys: Vec<_> = pair
                .key
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let _ = writeln!(
                text,
                "  {:>12}  at {}  cpu {} to {}  {}",
                scaled(pair.duration_ns),
                TraceNanos(pair.start_ns),
                pair.start_cpu,
                pair.end_cpu,
                keys.join(" ")
            );
        }
    }
    print_bytes(text.as_bytes())
}

fn count(
    trace: &Trace,
    arguments: &Events,
    selection: Selection<'_>,
    names: &mut Names<'_>,
) -> Result<u8, Failure> {
    let mut count = Count::new(selection);
    let tally = trace.each(&arguments.window, |step| {
        count.record(step.record, names);
        Ok(ControlFlow::Continue(()))
    })?;
    let report = count.finish();
    match arguments.format {
        Format::Json => print_json(&report)?,
        Format::Text => print_bytes(counted(&report).as_bytes())?,
    }
    trace.outcome(&tally)
}

fn counted(report: &CountReport) -> String {
    let mut text = String::new();
    for event in &report.events {
        let _ = writeln!(
            text,
            "{:>12}  {}:{}",
            event.count, event.system, event.event
        );
    }
    let _ = writeln!(
        text,
        "{:>12}  selected of {} records",
        report.selected, report.seen
    );
    text
}

fn list(
    trace: &Trace,
    arguments: &Events,
    fields: &Fields,
    selection: Selection<'_>,
    names: &mut Names<'_>,
) -> Result<u8, Failure> {
    if arguments.format == Format::Json {
        return list_json(trace, arguments, fields, &selection, names);
    }
    let mut list = List::new(selection, arguments.limit, io::BufWriter::new(io::stdout()));
    let mut printed = Printed::All;
    let tally = trace.each(&arguments.window, |step| {
        printed = written(list.record(step.record, names))?;
        Ok(if printed == Printed::All && !list.is_full() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    if printed == Printed::ReaderIsGone {
        return trace.outcome(&tally);
    }
    let listed = match list.finish() {
        Ok(listed) => listed,
        Err(error) => {
            written(Err(error))?;
            return trace.outcome(&tally);
        }
    };
    let code = trace.outcome(&tally)?;
    if listed.selected == 0 {
        complain(&format!(
            "warning: {}: none of {} records is selected",
            trace.path.display(),
            listed.seen
        ));
    }
    Ok(code)
}

fn list_json(
    trace: &Trace,
    arguments: &Events,
    fields: &Fields,
    selection: &Selection<'_>,
    names: &mut Names<'_>,
) -> Result<u8, Failure> {
    let mut lines = JsonLines::new(io::stdout(), fields, Flushing::Blocks);
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut printed = Printed::All;
    let tally = trace.each(&arguments.window, |step| {
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if selection.takes(step.record, names) {
            left = left.saturating_sub(1);
            printed = written(lines.record(step.record, names))?;
        }
        Ok(match printed {
            Printed::All => ControlFlow::Continue(()),
            Printed::ReaderIsGone => ControlFlow::Break(()),
        })
    })?;
    if printed == Printed::All
        && let Err(error) = lines.finish()
    {
        written(Err(error))?;
    }
    trace.outcome(&tally)
}

/// An error for a trace that lacks what is asked for.
pub(crate) fn lacks(trace: &Trace, what: &str) -> Failure {
    Failure::usage(anyhow!("{}: {what}", trace.path.display()))
}
