// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit cost`: what each phase of a run cost, side by side.

use std::ops::ControlFlow;

use anyhow::anyhow;
use deferinit_analysis::cost::{Cost, Costs, ItemCost, Meter, PhaseCost, Window};
use deferinit_analysis::explain::Wanted;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_timeline::{Moment, PhaseSpan, TraceNanos};

use crate::args::analysis;
use crate::args::{Format, trace as arguments};
use crate::commands::explain::{Known, look};
use crate::commands::trace::print_json;
use crate::exit::Failure;
use crate::run_folder::RunFolder;
use crate::stdout::print_bytes;
use crate::trace_file::Trace;

/// Runs the command.
pub(crate) fn run(arguments: &analysis::Cost) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let run = RunFolder::of_trace(&trace.path)?;
    let Some(timeline) = &run.timeline else {
        return Err(Failure::usage(anyhow!(
            "{} is no run's trace: a cost is that of a phase, and only runs have them",
            trace.path.display()
        )));
    };
    let spans = run.spans(timeline);
    let windows: Vec<Window> = spans.iter().map(|span| window(span)).collect();
    let mut meter = Meter::new(trace.file.formats(), &windows);
    let everything = arguments::Window::default();
    trace.each(&everything, |step| {
        meter.record(step.record);
        Ok(ControlFlow::Continue(()))
    })?;
    let known = Known::of(&trace, &run, None)?;
    let (mut analysis, code) = known.analyse(&trace, &everything)?;
    let explanation = analysis.explain(&Wanted::Items, None);
    let tasks = trace.tasks()?;
    let phases = spans.iter().zip(meter.finish());
    let costs = Costs {
        phases: phases
            .map(|(span, cost)| of_phase(span, cost, &tasks))
            .collect(),
        items: explanation.jobs.iter().filter_map(ItemCost::of).collect(),
        lacks: analysis.lacks().to_vec(),
        is_cut: !analysis.losses().is_empty(),
    };
    match arguments.format {
        Format::Json => print_json(&costs)?,
        Format::Text => print_bytes(costs.tables(look()).as_bytes())?,
    }
    Ok(code)
}

/// From the begin of the module's init, to its return or the last item's end, whatever is later: loading the module is
/// not what is compared. What did not come to its end lasts until that of the phase, or of the trace.
fn window(span: &PhaseSpan) -> Window {
    let begin = span.init.as_ref().map_or(span.begin, |init| init.start);
    let finish = span.init.as_ref().map(|init| init.finish);
    let is_over = finish != Some(None)
        && span
            .items
            .iter()
            .all(|item| item.ended.is_some() || item.cancelled.is_some());
    let last = ended(span)
        .chain(finish.flatten().map(|finish| finish.moment))
        .map(|moment| moment.recorded.0)
        .max()
        .filter(|_| is_over)
        .or(span.end.map(|end| end.recorded.0));
    Window {
        begin: begin.recorded.0,
        end: last.map_or(u64::MAX, |last| last.saturating_add(1)),
    }
}

fn ended(span: &PhaseSpan) -> impl Iterator<Item = Moment> {
    let items = span.items.iter();
    items.filter_map(|item| item.ended.map(|ended| ended.moment))
}

fn of_phase(span: &PhaseSpan, cost: Cost, tasks: &SavedCmdlines) -> PhaseCost {
    let init_task = span.init.as_ref().map(|init| init.start.pid);
    let is_worker = |pid: &i32| tasks.name(*pid).starts_with("kworker/");
    let sum = |is_it: &dyn Fn(&i32) -> bool| {
        let times = cost.cpu_ns.as_ref()?;
        Some(
            times
                .iter()
                .filter(|(pid, _)| is_it(pid))
                .map(|(_, ns)| ns)
                .sum(),
        )
    };
    let is_init = |pid: &i32| Some(*pid) == init_task;
    let worker_wakeups = cost.wakeups.as_ref().map(|wakeups| {
        let of_workers = wakeups.iter().filter(|(pid, _)| is_worker(pid));
        of_workers.map(|(_, count)| count).sum()
    });
    let last = ended(span).map(|moment| moment.at).max();
    let begin = span.init.as_ref().map_or(span.begin, |init| init.start);
    let since = |from: TraceNanos, to: TraceNanos| u64::try_from(to.since(from)).ok();
    PhaseCost {
        phase: span.name.clone(),
        init_ns: span
            .init
            .as_ref()
            .and_then(deferinit_timeline::InitSpan::nanoseconds)
            .and_then(|ns| u64::try_from(ns).ok()),
        done_ns: last.and_then(|last| since(begin.at, last)),
        cpu_init_ns: sum(&is_init),
        cpu_workers_ns: sum(&is_worker),
        cpu_others_ns: sum(&|pid| !is_init(pid) && !is_worker(pid)),
        worker_wakeups,
        all: cost,
    }
}
