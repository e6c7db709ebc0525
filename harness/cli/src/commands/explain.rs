// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit explain`: why work came when it did.

use std::ops::ControlFlow;

use anyhow::anyhow;
use deferinit_analysis::explain::{Look, Wanted};
use deferinit_analysis::{Analysis, Beside, Collector};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use deferinit_report::{Colour, Terminal};

use crate::args::Format;
use crate::args::analysis::Explain;
use crate::args::trace::Window;
use crate::commands::trace::print_json;
use crate::exit::{FAILED, Failure};
use crate::run_folder::RunFolder;
use crate::stdout::print_bytes;
use crate::trace_file::Trace;

/// Runs the command.
pub(crate) fn run(arguments: &Explain) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let run = RunFolder::of_trace(&trace.path)?;
    let known = Known::of(&trace, &run, arguments.hz)?;
    let (mut analysis, code) = known.analyse(&trace, &arguments.window)?;
    let wanted = match &arguments.item {
        Some(name) => Wanted::Named(name.clone()),
        None if arguments.all => Wanted::All,
        None => Wanted::Items,
    };
    let explanation = analysis.explain(&wanted, arguments.limit);
    if explanation.jobs.is_empty() {
        return Err(nothing(&trace, &analysis, arguments.item.as_deref()));
    }
    match arguments.format {
        Format::Json => print_json(&explanation)?,
        Format::Text => {
            let look = look();
            let mut text = if arguments.segments || arguments.item.is_some() {
                explanation.details(look)
            } else {
                explanation.overview(look)
            };
            let remarks = explanation.remarks();
            if !remarks.is_empty() {
                text.push('\n');
                text.push_str(&remarks);
            }
            print_bytes(text.as_bytes())?;
        }
    }
    // On the wall clock the host may have kept the guest from running.
    let has_missed = run.is_exact() && explanation.wheel.is_broken();
    Ok(if has_missed { FAILED } else { code })
}

/// What an analysis of one trace is made with.
pub(crate) struct Known {
    symbols: Symbols,
    tasks: SavedCmdlines,
    beside: Beside,
    phases: Vec<u64>,
}

impl Known {
    /// Reads what names the trace's functions, tasks and items.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn of(trace: &Trace, run: &RunFolder, hz: Option<u32>) -> Result<Self, Failure> {
        let beside = run.beside(hz);
        Ok(Self {
            symbols: trace.symbols()?,
            tasks: trace.tasks()?,
            phases: beside.phases.iter().map(|phase| phase.begin).collect(),
            beside,
        })
    }

    /// Goes through the trace; with the exit code that its state asks for.
    ///
    /// # Errors
    /// The trace is damaged.
    pub(crate) fn analyse(
        &self,
        trace: &Trace,
        window: &Window,
    ) -> Result<(Analysis<'_>, u8), Failure> {
        let mut collector = Collector::new(
            trace.file.formats(),
            &self.symbols,
            &self.phases,
            self.beside.hz,
        );
        let tally = trace.each(window, |step| {
            if step.follows_loss() {
                collector.lost(step.record);
            }
            collector.record(step.record);
            Ok(ControlFlow::Continue(()))
        })?;
        // The kernel's own count: of what was overwritten before the first record of a CPU, and of what came behind its
        // last one.
        for (place, statistics) in trace.file.statistics().iter().enumerate() {
            if let (Ok(cpu), Ok(stats)) = (u32::try_from(place), Stats::parse(statistics))
                && stats.lost() > 0
            {
                collector.lost_unmarked(cpu);
            }
        }
        let code = trace.outcome(&tally)?;
        let analysis = Analysis::new(collector, &self.symbols, &self.tasks, &self.beside);
        Ok((analysis, code))
    }
}

/// How text may look on standard output.
pub(crate) fn look() -> Look {
    let terminal = Terminal::of_stdout();
    Look {
        has_colour: terminal.colour == Colour::Always,
        width: terminal.width,
    }
}

/// An error for what the trace does not have: any job, or one of this name.
pub(crate) fn nothing(trace: &Trace, analysis: &Analysis<'_>, name: Option<&str>) -> Failure {
    let path = trace.path.display();
    if let Some(name) = name.filter(|_| !analysis.jobs().is_empty()) {
        return Failure::usage(anyhow!(
            "{path}: no item, work, timer or initcall of the trace is named {name:?}"
        ));
    }
    let lacks: Vec<String> = analysis
        .lacks()
        .iter()
        .map(|lack| format!("{} (-e {})", lack.events.join(", "), lack.records))
        .collect();
    Failure::usage(anyhow!(
        "{path}: there is no item, work, timer or initcall in it; none of these events has a record: {}",
        lacks.join("; ")
    ))
}
