// SPDX-License-Identifier: GPL-2.0-only

//! One run as the reports show it.
//!
//! In: a judgement, a timeline, and what the command line knows of the run. Out: plain data.

use std::time::Duration;

use deferinit_check::Judgement;
use deferinit_timeline::{Function, Timeline};
use serde::Serialize;

use crate::Timings;

/// One run of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Which of several runs of the scenario this is.
    pub repetition: Repetition,
    /// The scenario's name, the verdict, the checks and the measurements.
    pub judgement: Judgement,
    /// How the guest's time ran: `exact` or `wall`.
    pub clock: String,
    /// `uname -r` of the guest, or of the kernel that was to run.
    pub kernel: String,
    /// The machine, CPUs, memory, QEMU's version and accelerator, in one line.
    pub machine: String,
    /// Which accelerator the guest had, and why; none on the exact clock.
    pub accelerator: Option<String>,
    /// Guest time from the first record to the last, in nanoseconds; see [`guest_nanoseconds`].
    pub guest_ns: Option<i64>,
    /// Wall time of the run, from the start of QEMU to the verdict.
    pub wall: Duration,
    /// Where the wall time went; none if nobody asked.
    pub timings: Option<Timings>,
    /// SHA-256 of the trace as the host read it, in hexadecimal; equal traces have equal sums.
    pub trace_sha256: Option<String>,
    /// The run's folder, as a path to show.
    pub folder: String,
    /// The console's last lines, oldest first, where they say why the run ended as it did.
    pub console: Vec<String>,
    /// The traced functions; see [`FunctionFigures::of`].
    pub functions: Vec<FunctionFigures>,
}

/// Which of several runs of a scenario one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Counted from 1.
    pub index: u32,
    /// How many runs of the scenario there are.
    pub of: u32,
}

impl Repetition {
    /// The only run of its scenario.
    pub const ONLY: Self = Self { index: 1, of: 1 };
}

/// The complete calls of one traced function in one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionFigures {
    /// The phase; none for calls outside every phase.
    pub phase: Option<String>,
    /// The name for people.
    pub name: String,
    /// The module it belongs to; none for the kernel itself.
    pub module: Option<String>,
    /// How many complete calls there are.
    pub calls: u64,
    /// The sum of all calls' durations in nanoseconds, callees included.
    pub total_ns: i64,
    /// The shortest call in nanoseconds.
    pub min_ns: i64,
    /// The longest call in nanoseconds.
    pub max_ns: i64,
}

impl FunctionFigures {
    /// The figures of every function with a complete call, by phase in the order of the run, then
    /// in the timeline's order; calls outside every phase come last.
    #[must_use]
    pub fn of(timeline: &Timeline) -> Vec<Self> {
        let phases = timeline.phases.iter();
        let phases = phases.map(|phase| (Some(phase.name.as_str()), &phase.functions));
        phases
            .chain([(None, &timeline.functions)])
            .flat_map(|(phase, functions)| {
                functions
                    .iter()
                    .filter_map(move |function| Self::of_function(phase, function))
            })
            .collect()
    }

    fn of_function(phase: Option<&str>, function: &Function) -> Option<Self> {
        let times = || function.spans.iter().map(|span| span.nanoseconds());
        Some(Self {
            phase: phase.map(str::to_owned),
            name: function.name.clone(),
            module: function.module.clone(),
            calls: u64::try_from(function.spans.len()).ok()?,
            total_ns: times().fold(0, i64::saturating_add),
            min_ns: times().min()?,
            max_ns: times().max()?,
        })
    }
}

/// Guest time from the first record to the last, in nanoseconds; none if there is no record.
#[must_use]
pub fn guest_nanoseconds(timeline: &Timeline) -> Option<i64> {
    Some(timeline.last?.since(timeline.first?))
}

impl RunResult {
    /// The scenario's name.
    pub(crate) fn name(&self) -> &str {
        &self.judgement.scenario
    }

    /// The folder of the scenario, which is named after its mechanism; `scenarios` if it has none.
    pub(crate) fn suite(&self) -> &str {
        self.name()
            .rsplit_once('/')
            .map_or("scenarios", |(suite, _)| suite)
    }

    /// The scenario's name within its folder, with the repetition where there are several.
    pub(crate) fn case(&self) -> String {
        let name = self
            .name()
            .rsplit_once('/')
            .map_or(self.name(), |(_, name)| name);
        match self.repetition {
            Repetition { of: 0 | 1, .. } => name.to_owned(),
            Repetition { index, of } => format!("{name} ({index} of {of})"),
        }
    }

    /// What the run was on, in one line.
    pub(crate) fn setting(&self) -> String {
        format!(
            "kernel {}, clock {}, machine {}",
            self.kernel, self.clock, self.machine
        )
    }
}

/// The runs by suite, both in the order they came.
pub(crate) fn suites(results: &[RunResult]) -> Vec<(&str, Vec<&RunResult>)> {
    grouped(results, RunResult::suite)
}

/// The runs by scenario, both in the order they came.
pub(crate) fn scenarios(results: &[RunResult]) -> Vec<(&str, Vec<&RunResult>)> {
    grouped(results, RunResult::name)
}

fn grouped(results: &[RunResult], key: fn(&RunResult) -> &str) -> Vec<(&str, Vec<&RunResult>)> {
    let mut groups: Vec<(&str, Vec<&RunResult>)> = Vec::new();
    for result in results {
        match groups.iter_mut().find(|(name, _)| *name == key(result)) {
            Some((_, members)) => members.push(result),
            None => groups.push((key(result), vec![result])),
        }
    }
    groups
}
