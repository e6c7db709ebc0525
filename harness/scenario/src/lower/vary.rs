// SPDX-License-Identifier: GPL-2.0-only

//! Gives `vary` its meaning: another schedule of the same scenario, as `deferinit explore` writes it behind a file.
//!
//! In: the texts of the block. Out: changes to the machine, the plans and the phases, which then follow the same rules as
//! any others.

use super::value::{Grammar, Result, duration, has_entries, one_of, spelled, truth, whole};
use super::{MAX_ENTRIES, ONLY_PHASE};
use crate::error::{Mistake, Place};
use crate::file::{
    CallDelayBlock, Given, List, MoveBlock, ScenarioFile, Text, VaryBlock, WorkloadBlock,
};
use crate::yaml::Located;
use crate::{CallDelay, Clock, Load, Machine, Nanos, Phase, Times, Workload};

/// The kernel's parameter behind `debug-force-rr-cpu`: `kernel/workqueue.c`, Linux 7.3.
const FORCE_RR_CPU: &str = "workqueue.debug_force_rr_cpu=1";

/// The longest wait before a phase: a second is 250 ticks.
const LONGEST_WAIT: Nanos = Nanos(1_000_000_000);

const FUNCTION: Grammar = Grammar {
    what: "the name of a function",
    longest: CallDelay::MAX_NAME,
    allowed: "letters, digits, `_`, `.` and `$`",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$'))
    },
};

/// What the block changes.
#[derive(Default)]
pub(super) struct Vary {
    cpus: Option<u32>,
    shift: Option<(u8, Place)>,
    is_rr_forced: bool,
    wait: Option<(Nanos, Place)>,
    order: List<MoveBlock>,
    delays: List<CallDelayBlock>,
    pub(super) times: Times,
}

impl Vary {
    /// Reads what stands for itself.
    pub(super) fn of(block: Given<VaryBlock>) -> Result<Self> {
        let Some(Located { value: block, .. }) = block.0 else {
            return Ok(Self::default());
        };
        if let Some(list) = &block.order.0 {
            has_entries("order", list, 1..=MAX_ENTRIES)?;
        }
        if let Some(list) = &block.delays.0 {
            has_entries("delays", list, 1..=Workload::MAX_DELAYS)?;
        }
        let entries = |list: Option<Located<List<_>>>| list.map(|list| list.value);
        Ok(Self {
            cpus: block
                .cpus
                .read_if_given(|text| whole(text, 1..=Machine::MAX_CPUS))?,
            shift: block
                .shift
                .read_if_given(|text| Ok((whole(text, 0..=Machine::MAX_SHIFT)?, text.place)))?,
            is_rr_forced: block
                .debug_force_rr_cpu
                .read_if_given(truth)?
                .unwrap_or(false),
            wait: block
                .wait
                .read_if_given(|text| Ok((duration(text, Nanos(0)..=LONGEST_WAIT)?, text.place)))?,
            order: entries(block.order.0).unwrap_or_default(),
            delays: block.delays.0.map(|list| list.value).unwrap_or_default(),
            times: block.times.read_if_given(times)?.unwrap_or_default(),
        })
    }

    /// Moves items within their plans, one move after the other: before the plans are read, so that all rules hold for
    /// what comes of it.
    pub(super) fn reorder(&self, file: &mut ScenarioFile) -> Result<()> {
        for entry in &self.order {
            let Located { value, place } = entry;
            let item = value.item.clone().required("item", *place)?;
            let before = value.before.clone().required("before", *place)?;
            let plan = plan_of(file, &value.phase, *place)?;
            let from = position(plan, &item)?;
            let moved = plan.remove(from);
            // An item before itself is found no more.
            let to = position(plan, &before)?;
            plan.insert(to, moved);
        }
        Ok(())
    }

    /// Changes the guest.
    pub(super) fn change_machine(&self, machine: &mut Machine, clock: Clock) -> Result<()> {
        if let Some(cpus) = self.cpus {
            machine.cpus = cpus;
        }
        if let Some((shift, place)) = self.shift {
            if clock == Clock::Wall {
                let message = "the wall clock does not count instructions, so there is no shift";
                return Err(Mistake::new(place, message).allow("`clock: exact`"));
            }
            machine.shift = Some(shift);
        }
        if self.is_rr_forced {
            machine.command_line.push(FORCE_RR_CPU.to_owned());
        }
        Ok(())
    }

    /// Delays calls in the phases, and the phases themselves.
    pub(super) fn change_phases(&self, phases: &mut [Phase], load: Load) -> Result<()> {
        if let Some((wait, place)) = self.wait {
            if load == Load::BuiltIn {
                let message = "initcalls wait for nobody";
                return Err(Mistake::new(place, message).allow("`wait` with `load: module`"));
            }
            for phase in &mut *phases {
                phase.wait = wait;
            }
        }
        for entry in &self.delays {
            let Located { value, place } = entry;
            if load == Load::BuiltIn {
                let message = "functions are delayed by the module, from its load on";
                return Err(Mistake::new(*place, message).allow("delays with `load: module`"));
            }
            let delay = call_delay(value, *place)?;
            let phase = phase_of(phases, &value.phase, *place)?;
            phase.workload.delays.push(delay);
        }
        Ok(())
    }
}

fn times(text: &Text) -> Result<Times> {
    let table = [("judged", Times::Judged), ("ignored", Times::Ignored)];
    one_of(text.place, "value", &text.value, &table)
}

fn call_delay(block: &CallDelayBlock, place: Place) -> Result<CallDelay> {
    let call = |text: &Text| whole(text, 1..=u32::MAX);
    Ok(CallDelay {
        function: spelled(
            &block.function.clone().required("function", place)?,
            &FUNCTION,
        )?,
        call: block.call.clone().read_if_given(call)?,
        delay: duration(
            &block.delay.clone().required("delay", place)?,
            Nanos(1)..=CallDelay::MAX,
        )?,
    })
}

/// The phase whose module makes the delays.
fn phase_of<'a>(
    phases: &'a mut [Phase],
    given: &Given<String>,
    place: Place,
) -> Result<&'a mut Phase> {
    let names: Vec<String> = phases.iter().map(|phase| phase.name.clone()).collect();
    let at = chosen(&names, given, place)?;
    let phase = phases
        .get_mut(at)
        .filter(|phase| phase.command.is_none() && phase.rounds.is_none());
    phase.ok_or_else(|| {
        let message = "delays are made by the module of a phase with one workload";
        Mistake::new(place, message).allow("a phase with `workload`")
    })
}

/// The plan of a phase, as it stands in the file.
fn plan_of<'a>(
    file: &'a mut ScenarioFile,
    given: &Given<String>,
    place: Place,
) -> Result<&'a mut List<crate::file::PlannedItemBlock>> {
    let workload: Option<&mut Located<WorkloadBlock>> = match &mut file.phases.0 {
        None => {
            chosen(&[ONLY_PHASE.to_owned()], given, place)?;
            file.workload.0.as_mut()
        }
        Some(list) => {
            let name = |phase: &Located<crate::file::PhaseBlock>| {
                let name = phase.value.name.0.as_ref();
                name.map(|name| name.value.clone()).unwrap_or_default()
            };
            let names: Vec<String> = list.value.iter().map(name).collect();
            let at = chosen(&names, given, place)?;
            let phase = list.value.get_mut(at);
            phase.and_then(|phase| phase.value.workload.0.as_mut())
        }
    };
    let plan = workload.and_then(|workload| workload.value.plan.0.as_mut());
    plan.map(|plan| &mut plan.value).ok_or_else(|| {
        let message = "only the items of a `plan` have an order of their own";
        Mistake::new(place, message).allow("a phase with a plan")
    })
}

/// Which of the phases is named; the only one need not be.
fn chosen(names: &[String], given: &Given<String>, place: Place) -> Result<usize> {
    let listed = || names.join(", ");
    match (&given.0, names) {
        (None, [_]) => Ok(0),
        (None, _) => Err(Mistake::new(place, "key `phase` is missing here").allow(listed())),
        (Some(text), _) => {
            let found = names.iter().position(|name| *name == text.value);
            found.ok_or_else(|| {
                let message = format!("there is no phase `{}`", text.value);
                Mistake::new(text.place, message).allow(listed())
            })
        }
    }
}

fn position(plan: &List<crate::file::PlannedItemBlock>, name: &Text) -> Result<usize> {
    let names = plan.iter().map(|item| {
        let name = item.value.name.0.as_ref();
        name.map_or("", |name| name.value.as_str())
    });
    let found = names.clone().position(|other| other == name.value);
    found.ok_or_else(|| {
        let message = format!("`{}` is no other item of the plan", name.value);
        let listed: Vec<&str> = names.take(MAX_ENTRIES).collect();
        Mistake::new(name.place, message).allow(listed.join(", "))
    })
}
