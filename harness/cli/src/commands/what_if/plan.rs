// SPDX-License-Identifier: GPL-2.0-only

//! From a run's folder to the plan that a model is made of, and from what a user types to changes of it.

use anyhow::anyhow;
use deferinit_analysis::extract::{Plan, PlannedItem};
use deferinit_analysis::model::{Mode, Model};
use deferinit_scenario as scenario;
use deferinit_scenario::{OwnQueue, Queue, QueueFlag, Work, Workload};
use deferinit_timeline::PhaseSpan;

use crate::commands::what_if::contradiction;
use crate::exit::Failure;
use crate::run_folder::{RunFolder, before};

/// A phase of a run.
pub(super) struct Chosen {
    pub(super) scenario: String,
    pub(super) phase: String,
    pub(super) cpus: u32,
    pub(super) plan: Plan,
}

impl Chosen {
    /// The phase that the user means.
    ///
    /// # Errors
    /// The trace is no run's, the run has no such phase, or that has no items.
    pub(super) fn of(folder: &RunFolder, wish: Option<&str>) -> Result<Self, Failure> {
        let (Some(scenario), Some(timeline)) = (&folder.scenario, &folder.timeline) else {
            return Err(Failure::usage(anyhow!(
                "what-if needs the folder of a run, with its plan.json and timeline.json beside the trace"
            )));
        };
        let spans: Vec<&PhaseSpan> = folder.spans(timeline);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let place = match (wish, spans.len()) {
            (Some(wish), _) => names.iter().position(|name| *name == wish),
            (None, 1) => Some(0),
            (None, _) => None,
        };
        let Some((place, span)) = place.and_then(|place| Some((place, *spans.get(place)?))) else {
            return Err(Failure::usage(anyhow!(
                "name one of the phases with --phase: {}",
                names.join(", ")
            )));
        };
        let phase = scenario
            .phases
            .iter()
            .find(|phase| phase.name == span.name)
            .filter(|phase| phase.workload.items() > 0 && phase.rounds.is_none())
            .ok_or_else(|| {
                Failure::usage(anyhow!("phase {} has no items to choose for", span.name))
            })?;
        let (begin, end) = init_of(span)?;
        let limits = Limits::of(&phase.workload);
        let items = (0..phase.workload.items())
            .filter_map(|id| {
                Some(planned(
                    &phase.workload,
                    id,
                    phase.workload.work_of(id)?,
                    &limits,
                ))
            })
            .collect();
        Ok(Self {
            scenario: scenario.name.clone(),
            phase: span.name.clone(),
            cpus: scenario.machine.cpus,
            plan: Plan {
                phase: u16::try_from(place).unwrap_or(u16::MAX),
                items,
                limits: limits.limits,
                begin,
                end,
                cpus: scenario.machine.cpus,
            },
        })
    }

    /// The items that are set, by their places, with their modes.
    ///
    /// # Errors
    /// There is no such item or mode.
    pub(super) fn sets(&self, sets: &[String]) -> Result<Vec<(usize, Mode)>, Failure> {
        sets.iter()
            .map(|set| {
                let (name, mode) = set
                    .split_once('=')
                    .ok_or_else(|| Failure::usage(anyhow!("--set {set}: NAME=MODE is wanted")))?;
                let mode = match mode {
                    "direct" => Mode::Direct,
                    "async" => Mode::Async,
                    "deferred" => Mode::Deferred,
                    other => {
                        return Err(Failure::usage(anyhow!(
                            "--set {set}: {other:?} is no mode; direct, async and deferred are"
                        )));
                    }
                };
                Ok((self.place(name, "--set")?, mode))
            })
            .collect()
    }

    /// The model with further items before others.
    ///
    /// # Errors
    /// There is no such item, or the order contradicts the plan's.
    pub(super) fn ordered(&self, model: &Model, earlier: &[String]) -> Result<Model, Failure> {
        let mut model = model.clone();
        for (before, after) in self.pairs(earlier)? {
            if let Some(item) = model.items.get_mut(after)
                && !item.after.contains(&before)
            {
                item.after.push(before);
            }
        }
        model.order().map_err(|cycle| contradiction(&cycle))?;
        Ok(model)
    }

    /// Which item comes before which other one, by their places.
    pub(super) fn pairs(&self, earlier: &[String]) -> Result<Vec<(usize, usize)>, Failure> {
        earlier
            .iter()
            .map(|pair| {
                let (before, after) = pair
                    .split_once(',')
                    .ok_or_else(|| Failure::usage(anyhow!("--before {pair}: X,Y is wanted")))?;
                Ok((
                    self.place(before, "--before")?,
                    self.place(after, "--before")?,
                ))
            })
            .collect()
    }

    fn place(&self, name: &str, option: &str) -> Result<usize, Failure> {
        let names: Vec<&str> = self
            .plan
            .items
            .iter()
            .map(|item| item.name.as_str())
            .collect();
        names
            .iter()
            .position(|other| *other == name)
            .ok_or_else(|| {
                let shown = names
                    .iter()
                    .take(20)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", ");
                Failure::usage(anyhow!(
                    "{option}: no item of phase {} is named {name:?}; there are {shown}",
                    self.phase
                ))
            })
    }
}

/// When init begins and returns: of a workload in the kernel's image, from its first item to the first process.
pub(super) fn init_of(span: &PhaseSpan) -> Result<(u64, u64), Failure> {
    let first = span
        .items
        .iter()
        .filter_map(|item| Some(item.armed?.moment.at.0))
        .min();
    let module = span
        .init
        .and_then(|init| Some((init.start.at.0, init.finish?.moment.at.0)));
    let boot = first.zip(span.first_process.map(|process| process.at.0));
    // A plan that waits for its trigger is started after init.
    let triggered = span.trigger.map(|trigger| trigger.at.0).zip(first);
    match (triggered, boot, module) {
        (Some((trigger, _)), ..) => Err(Failure::usage(anyhow!(
            "phase {} is started by a trigger, at {trigger} ns, so init's return does not depend on it",
            span.name
        ))),
        (None, Some(boot), _) => Ok(boot),
        (None, None, Some(module)) => Ok(module),
        (None, None, None) => Err(Failure::usage(anyhow!(
            "phase {} has no begin and end of an init",
            span.name
        ))),
    }
}

/// Queues that have a limit, and their places.
struct Limits {
    names: Vec<String>,
    limits: Vec<u32>,
}

impl Limits {
    fn of(workload: &Workload) -> Self {
        let limited = workload
            .queues
            .iter()
            .filter_map(|queue| Some((queue.name.clone(), limit(queue)?)));
        let (names, limits) = limited.unzip();
        Self { names, limits }
    }
}

fn limit(queue: &OwnQueue) -> Option<u32> {
    if queue.flags.contains(&QueueFlag::Ordered) {
        return Some(1);
    }
    (queue.max_active > 0).then_some(queue.max_active)
}

fn planned(workload: &Workload, id: u32, work: &Work, limits: &Limits) -> PlannedItem {
    let mode = match work.mode {
        scenario::Mode::Direct => Mode::Direct,
        scenario::Mode::Probe if !work.async_probe => Mode::Inline,
        scenario::Mode::Async | scenario::Mode::Probe => Mode::Async,
        scenario::Mode::Hrtimer => Mode::Hrtimer,
        scenario::Mode::Delayed
        | scenario::Mode::Work
        | scenario::Mode::Deferrable
        | scenario::Mode::Kthread => Mode::Deferred,
    };
    let queue = match &work.queue {
        Queue::Own(name) => limits.names.iter().position(|other| other == name),
        _ => None,
    };
    let after = before(workload, id)
        .into_iter()
        .filter_map(|id| usize::try_from(id).ok());
    PlannedItem {
        name: workload
            .name_of(id)
            .map(|name| name.into_owned())
            .unwrap_or_default(),
        mode,
        after: after.collect(),
        delay_ns: workload.delay_of(id).0,
        queue,
    }
}
