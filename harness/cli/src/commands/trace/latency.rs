// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace latency`: how long interrupts or preemption were off, a woken task waited, or a function took.

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use deferinit_ftrace::record::Event;
use deferinit_trace::durations::{Durations, Histogram, Summary};
use deferinit_trace::events::{MOST_OPEN, PairSpec};
use deferinit_trace::fields::Fields;
use deferinit_trace::names::Names;
use deferinit_trace::text::scaled;
use deferinit_trace::texts::latency::{Latency, RowEvent};
use serde::Serialize;

use crate::args::Format;
use crate::args::trace::{self as trace_args, LatencyOf};
use crate::commands::trace::events::{lacks, measure, print_pairs, scale, select};
use crate::commands::trace::print_json;
use crate::exit::{Failure, PASSED, UNRESOLVED};
use crate::stdout::print_bytes;
use crate::trace_file::Trace;

/// Where a run keeps the text of a latency tracer, beside its trace.dat.
const TEXTS: [&str; 2] = ["reports/instance/trace", "reports/top/trace"];

/// Durations of a function's calls.
#[derive(Serialize)]
struct FunctionLatency<'a> {
    function: &'a str,
    summary: Option<Summary>,
    histogram: Histogram,
}

/// Runs the command.
pub(crate) fn run(arguments: &trace_args::Latency) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    match (&arguments.function, arguments.of) {
        (Some(function), _) => of_function(&trace, arguments, function),
        (None, Some(of)) => of_events(&trace, arguments, of),
        (None, None) => of_tracer(&trace, arguments.format),
    }
}

/// The calls of one function.
fn of_function(
    trace: &Trace,
    arguments: &trace_args::Latency,
    function: &str,
) -> Result<u8, Failure> {
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let mut names = Names::new(&symbols, &tasks);
    let mut durations = Durations::new();
    let mut histogram = Histogram::new(scale(&arguments.buckets)?);
    let tally = trace.each(&arguments.window, |step| {
        if let Event::FuncgraphExit {
            function: address,
            calltime,
            rettime,
            ..
        } = step.record.event
            && names.function(address) == function
            && let Some(duration) = rettime.checked_sub(calltime)
        {
            durations.add(duration);
            histogram.add(duration);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let code = trace.outcome(&tally)?;
    let found = FunctionLatency {
        function,
        summary: durations.summary(),
        histogram,
    };
    let Some(summary) = &found.summary else {
        return Err(lacks(
            trace,
            &format!("no call of {function} ended in this trace"),
        ));
    };
    match arguments.format {
        Format::Json => print_json(&found)?,
        Format::Text => {
            let text = format!(
                "{} calls of {function}\nmin {}  avg {}  p50 {}  p90 {}  p99 {}  max {}\n{}",
                summary.count,
                scaled(summary.min_ns),
                scaled(summary.avg_ns),
                scaled(summary.p50_ns),
                scaled(summary.p90_ns),
                scaled(summary.p99_ns),
                scaled(summary.max_ns),
                found.histogram.text()
            );
            print_bytes(text.as_bytes())?;
        }
    }
    Ok(code)
}

/// From one event to another.
fn of_events(trace: &Trace, arguments: &trace_args::Latency, of: LatencyOf) -> Result<u8, Failure> {
    let (start, end, keys) = match of {
        LatencyOf::Wakeup => (
            "sched:sched_waking",
            "sched:sched_switch",
            ("pid", "next_pid"),
        ),
        LatencyOf::Irqsoff => (
            "preemptirq:irq_disable",
            "preemptirq:irq_enable",
            ("cpu", "cpu"),
        ),
        LatencyOf::Preemptoff => (
            "preemptirq:preempt_disable",
            "preemptirq:preempt_enable",
            ("cpu", "cpu"),
        ),
    };
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let mut names = Names::new(&symbols, &tasks);
    let fields = Fields::new(trace.file.formats());
    let spec = PairSpec {
        start: select(trace, &fields, &names, &[start], None)?,
        end: select(trace, &fields, &names, &[end], None)?,
        keys: vec![keys],
        scale: scale(&arguments.buckets)?,
        most_open: MOST_OPEN,
    };
    let (report, code) = measure(trace, &arguments.window, spec, &mut names)?;
    print_pairs(&report, arguments.format)?;
    Ok(code)
}

/// What a latency tracer has kept: its maximum, and the trace of it.
fn of_tracer(trace: &Trace, format: Format) -> Result<u8, Failure> {
    let text = match trace.buffer.text {
        Some(part) => trace.file.trace_text(part).map_err(Failure::trace)?,
        None => match texts(trace).into_iter().find(|path| path.is_file()) {
            Some(path) => fs::read(&path)
                .with_context(|| format!("cannot read {}", path.display()))
                .map_err(Failure::trace)?,
            None => {
                return Err(lacks(
                    trace,
                    "it is not of a latency tracer; --of says of which events, --function of which function",
                ));
            }
        },
    };
    let latency = Latency::parse(&text)
        .with_context(|| trace.path.display().to_string())
        .map_err(Failure::trace)?;
    match format {
        Format::Json => print_json(&latency)?,
        Format::Text => print_bytes(shown(&latency).as_bytes())?,
    }
    Ok(match latency {
        Latency::Sample(_) => PASSED,
        // Not a latency of 0: nothing was measured.
        Latency::NoSample { .. } => UNRESOLVED,
    })
}

fn texts(trace: &Trace) -> Vec<PathBuf> {
    TEXTS
        .iter()
        .filter_map(|text| Some(trace.path.parent()?.join(text)))
        .collect()
}

fn shown(latency: &Latency) -> String {
    let sample = match latency {
        Latency::NoSample { tracer } => {
            return format!("{tracer}: no sample: nothing was measured\n");
        }
        Latency::Sample(sample) => sample,
    };
    let mut text = String::new();
    // Into memory, where nothing fails.
    let _ = writeln!(
        text,
        "{}: at most {} us, on CPU {}, task {}-{}",
        sample.tracer, sample.latency_us, sample.cpu, sample.task.comm, sample.task.pid
    );
    if let Some(section) = &sample.section {
        let _ = writeln!(
            text,
            "  from {}\n    to {}",
            section.started_at, section.ended_at
        );
    }
    for row in &sample.rows {
        let _ = writeln!(
            text,
            "  {:>10} us  cpu {}  {}-{}  {}",
            row.at,
            row.cpu,
            row.comm,
            row.pid,
            what(&row.event)
        );
    }
    text
}

/// What happened in a row, on one line.
fn what(event: &RowEvent) -> String {
    match event {
        RowEvent::Call { function, parent } => format!("{function} <-{parent}"),
        RowEvent::Graph { duration_ns, text } => match duration_ns {
            Some(duration) => format!("{text} {}", scaled(*duration)),
            None => text.clone(),
        },
        RowEvent::Wakeup(switch) => format!("wakes {}-{}", switch.comm, switch.to.pid),
        RowEvent::Switch(switch) => format!("switches to {}-{}", switch.comm, switch.to.pid),
        RowEvent::Stack { frames } => format!("stack: {}", frames.join(" <- ")),
        RowEvent::Other { text } => text.clone(),
    }
}
