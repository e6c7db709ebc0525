// SPDX-License-Identifier: GPL-2.0-only

//! Boots the variant of a scenario that was predicted, and measures it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use deferinit_analysis::model::{Mode, Model};
use deferinit_report::Repetition;
use deferinit_scenario::{
    self as scenario, Clock, Defer, Nanos, PlannedItem, Queue, Scenario, Shape, Work, Workload,
};
use deferinit_timeline::{Ending, PhaseSpan, Timeline};

use super::Times;
use super::plan::Chosen;
use crate::args::analysis::WhatIf;
use crate::exit::Failure;
use crate::output::Output;
use crate::prepare::{self, Contents};
use crate::project::Project;
use crate::repetitions::Sameness;
use crate::run_folder::{RunFolder, before};
use crate::{insmod, pipeline};

/// What a boot has shown.
pub(super) struct Verified {
    pub(super) times: Times,
    pub(super) notes: Vec<String>,
}

/// Boots the variant.
///
/// # Errors
/// It cannot be set up, its kernel is another one than the run's, or it does not come to its end.
pub(super) fn run(
    arguments: &WhatIf,
    folder: &RunFolder,
    chosen: &Chosen,
    model: &Model,
    variant: &Model,
    interrupted: Arc<AtomicBool>,
) -> Result<Verified, Failure> {
    let Some(original) = &folder.scenario else {
        return Err(Failure::usage(anyhow!("the run has no plan.json")));
    };
    let scenario = rewritten(original, chosen, model, variant, arguments)?;
    let project = Project::find()?;
    let (session, kbuild) = prepare::session(&project, Arc::clone(&interrupted))?;
    prepare::require(&session, &kbuild)?;
    let machine = prepare::machine_of(&project, &scenario)?;
    let tree = arguments.kernel.kernel_tree.as_deref();
    let output = Output::create(arguments.out.as_deref(), tree)?;
    let contents = Contents::of_scenarios(scenario.load, insmod::read(&[], &prepare::MODULES)?);
    let prepared = prepare::prepare(
        &project,
        &session,
        &kbuild,
        &arguments.kernel,
        contents,
        output.folder(),
    )?;
    let notes = folder
        .other_kernel(&prepared.build.record(&[]))
        .map(|what| {
            format!("the variant ran on another kernel than the run: {what}; --kernel-tree and --kernel-build choose it")
        })
        .into_iter()
        .collect();
    let job = pipeline::Job {
        prepared: &prepared,
        machine: &machine,
        scenario: &scenario,
        added: &[],
        repetition: Repetition::ONLY,
        first: None,
        sameness: Sameness::Expected,
        patience: 1,
        is_timed: false,
        interrupted: &interrupted,
        debugger: None,
    };
    let place = output.keep();
    pipeline::run(&job, &place)
        .context("the variant")
        .map_err(Failure::setup)?;
    let measured = RunFolder::read(&place, None)?;
    let timeline = measured
        .timeline
        .as_ref()
        .ok_or_else(|| Failure::setup(anyhow!("the variant has left no timeline")))?;
    let times = times(timeline, &place.display().to_string())?;
    Ok(Verified { times, notes })
}

/// The scenario with the variant's modes and order, its phase alone, and nothing expected.
fn rewritten(
    original: &Scenario,
    chosen: &Chosen,
    model: &Model,
    variant: &Model,
    arguments: &WhatIf,
) -> Result<Scenario, Failure> {
    let mut scenario = original.clone();
    scenario.clock = Clock::Exact;
    scenario.expect.clear();
    scenario.show.clear();
    scenario.phases.retain(|phase| phase.name == chosen.phase);
    if let Some(cpus) = arguments.cpus {
        if cpus > scenario::Machine::MAX_CPUS {
            return Err(Failure::usage(anyhow!(
                "--verify boots at most {} CPUs",
                scenario::Machine::MAX_CPUS
            )));
        }
        scenario.machine.cpus = cpus;
    }
    let pairs = chosen.pairs(&arguments.before)?;
    for phase in &mut scenario.phases {
        let mut items = planned(&phase.workload);
        for (id, (one, other)) in model.items.iter().zip(&variant.items).enumerate() {
            if let Some(item) = items.get_mut(id).filter(|_| one.mode != other.mode) {
                set(&mut item.work, other.mode);
            }
        }
        for (before, after) in &pairs {
            let name = items.get(*before).map(|item| item.name.clone());
            if let (Some(name), Some(item)) = (name, items.get_mut(*after))
                && !item.after.contains(&name)
            {
                item.after.push(name);
            }
        }
        phase.workload.shape = Shape::Plan(items);
    }
    Ok(scenario)
}

/// The items of any workload, each with a name of its own.
fn planned(workload: &Workload) -> Vec<PlannedItem> {
    if let Shape::Plan(items) = &workload.shape {
        return items.clone();
    }
    let name = |id: u32| workload.name_of(id).map(|name| name.into_owned());
    (0..workload.items())
        .filter_map(|id| {
            let mut work = workload.work_of(id)?.clone();
            work.delay = workload.delay_of(id);
            Some(PlannedItem {
                name: name(id)?,
                after: before(workload, id).into_iter().filter_map(name).collect(),
                suppliers: Vec::new(),
                level: None,
                work,
            })
        })
        .collect()
}

/// Another mode, with what belongs to it.
fn set(work: &mut Work, mode: Mode) {
    work.delay = Nanos(0);
    work.runs = 1;
    work.defer = Defer::Times(0);
    work.async_probe = false;
    work.cpu = None;
    (work.mode, work.queue) = match mode {
        Mode::Direct | Mode::Inline | Mode::Hrtimer | Mode::Kept => {
            (scenario::Mode::Direct, Queue::SystemPercpu)
        }
        Mode::Async => (scenario::Mode::Async, Queue::SystemPercpu),
        Mode::Deferred => (scenario::Mode::Work, Queue::SystemUnbound),
    };
}

/// What was measured, if all of it was.
fn times(timeline: &Timeline, place: &str) -> Result<Times, Failure> {
    if timeline.ending != Ending::Complete {
        return Err(Failure::setup(anyhow!(
            "the variant did not come to its end ({:?}); it is in {place}",
            timeline.ending
        )));
    }
    let span = timeline.phases.first();
    let measured = span.and_then(|span: &PhaseSpan| {
        let (begin, end) = super::plan::init_of(span).ok()?;
        let last = span
            .items
            .iter()
            .map(|item| Some(item.ended?.moment.at.0))
            .collect::<Option<Vec<u64>>>()?
            .into_iter()
            .max()?;
        Some(Times {
            init_ns: end.saturating_sub(begin),
            makespan_ns: last.saturating_sub(begin),
        })
    });
    measured.ok_or_else(|| {
        Failure::setup(anyhow!(
            "not every item of the variant ended; it is in {place}"
        ))
    })
}
