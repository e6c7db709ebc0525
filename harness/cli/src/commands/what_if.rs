// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit what-if`: what another choice of direct, async and deferred would gain.

mod plan;
mod verify;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use deferinit_analysis::extract::{Extracted, NoModel};
use deferinit_analysis::model::{CHOICES, Cycle, Mode, Model, Prediction};
use deferinit_trace::text::scaled;
use serde::Serialize;

use self::plan::Chosen;
use crate::args::Format;
use crate::args::analysis::WhatIf;
use crate::args::trace::Window;
use crate::commands::explain::Known;
use crate::commands::trace::print_json;
use crate::exit::{Failure, PASSED};
use crate::run_folder::RunFolder;
use crate::stdout::print_bytes;
use crate::trace_file::Trace;

/// When init returns and when all is done, in nanoseconds since init began.
#[derive(Clone, Copy, Debug, Serialize)]
struct Times {
    init_ns: u64,
    makespan_ns: u64,
}

impl From<&Prediction> for Times {
    fn from(prediction: &Prediction) -> Self {
        Self {
            init_ns: prediction.init_ns,
            makespan_ns: prediction.makespan_ns,
        }
    }
}

/// What there is to say.
#[derive(Serialize)]
struct Answer {
    scenario: String,
    phase: String,
    clock: &'static str,
    cpus: u32,
    /// What differs from the run: `NAME=MODE`.
    changes: Vec<String>,
    before: Vec<String>,
    measured: Times,
    /// What the model makes of the run as it was.
    model: Times,
    predicted: Times,
    /// With CPUs that run at the same time, which exact mode does not have.
    model_only: Option<Times>,
    /// What a boot of the variant measured.
    verified: Option<Times>,
    search: Option<Search>,
    notes: Vec<String>,
    items: Vec<ItemAnswer>,
}

#[derive(Serialize)]
struct Search {
    tried: u64,
    is_exhaustive: bool,
}

#[derive(Serialize)]
struct ItemAnswer {
    name: String,
    mode: Mode,
    armed_ns: u64,
    start_ns: u64,
    end_ns: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &WhatIf, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let folder = RunFolder::of_trace(&trace.path)?;
    let mut chosen = Chosen::of(&folder, arguments.phase.as_deref())?;
    let known = Known::of(&trace, &folder, None)?;
    let (mut analysis, _) = known.analyse(&trace, &Window::default())?;
    let exact = folder.is_exact();
    // In exact mode QEMU runs one virtual CPU at a time.
    chosen.plan.cpus = if exact { 1 } else { chosen.cpus };
    let Extracted {
        model,
        init_ns,
        makespan_ns,
        mut notes,
    } = analysis
        .model(&chosen.plan)
        .map_err(|error| no_model(&trace, &error))?;
    let baseline = model.run().map_err(|cycle| contradiction(&cycle))?;
    let mut variant = chosen.ordered(&model, &arguments.before)?;
    if !exact && let Some(cpus) = arguments.cpus {
        variant.cpus = cpus;
    }
    let fixed = chosen.sets(&arguments.set)?;
    variant = variant.with(fixed.iter().copied());
    let search = if arguments.search {
        let free: Vec<usize> = (0..variant.items.len())
            .filter(|id| fixed.iter().all(|(fixed, _)| fixed != id))
            .filter(|id| {
                // What has a delay has it for a reason that the model does not know.
                let item = variant.items.get(*id);
                item.is_some_and(|item| CHOICES.contains(&item.mode) && item.delay_ns == 0)
            })
            .collect();
        let found = variant
            .search(&free)
            .map_err(|cycle| contradiction(&cycle))?;
        variant = found.model;
        Some(Search {
            tried: found.tried,
            is_exhaustive: found.is_exhaustive,
        })
    } else {
        None
    };
    let predicted = variant.run().map_err(|cycle| contradiction(&cycle))?;
    let cpus = arguments.cpus.unwrap_or(chosen.cpus);
    let model_only = model_only(&variant, &predicted, cpus, exact);
    let verified = if arguments.verify {
        let run = verify::run(arguments, &folder, &chosen, &model, &variant, interrupted)?;
        notes.extend(run.notes);
        Some(run.times)
    } else {
        None
    };
    let answer = Answer {
        scenario: chosen.scenario.clone(),
        phase: chosen.phase.clone(),
        clock: if exact { "exact" } else { "wall" },
        cpus,
        changes: changes(&model, &variant),
        before: arguments.before.clone(),
        measured: Times {
            init_ns,
            makespan_ns,
        },
        model: Times::from(&baseline),
        predicted: Times::from(&predicted),
        model_only,
        verified,
        search,
        notes,
        items: items(&variant, &predicted),
    };
    match arguments.format {
        Format::Json => print_json(&answer)?,
        Format::Text => print_bytes(answer.text().as_bytes())?,
    }
    Ok(PASSED)
}

/// What CPUs that run at the same time would make of it; none if they would change nothing, or are what was predicted.
fn model_only(variant: &Model, predicted: &Prediction, cpus: u32, exact: bool) -> Option<Times> {
    if !exact || cpus <= 1 {
        return None;
    }
    let parallel = Model {
        cpus,
        ..variant.clone()
    };
    let times = Times::from(&parallel.run().ok()?);
    (times.makespan_ns != predicted.makespan_ns || times.init_ns != predicted.init_ns)
        .then_some(times)
}

fn changes(from: &Model, to: &Model) -> Vec<String> {
    from.items
        .iter()
        .zip(&to.items)
        .filter(|(one, other)| one.mode != other.mode)
        .map(|(_, item)| format!("{}={}", item.name, item.mode.word()))
        .collect()
}

fn items(model: &Model, prediction: &Prediction) -> Vec<ItemAnswer> {
    model
        .items
        .iter()
        .zip(&prediction.items)
        .map(|(item, (armed_ns, start_ns, end_ns))| ItemAnswer {
            name: item.name.clone(),
            mode: item.mode,
            armed_ns: *armed_ns,
            start_ns: *start_ns,
            end_ns: *end_ns,
        })
        .collect()
}

/// A constraint or a plan that cannot be met.
pub(super) fn contradiction(cycle: &Cycle) -> Failure {
    Failure::usage(anyhow!("this order cannot be met: {cycle}"))
}

fn no_model(trace: &Trace, error: &NoModel) -> Failure {
    let path = trace.path.display();
    Failure::usage(match error {
        NoModel::Lacks(lack) => anyhow!(
            "{path}: without {} it is not known {}; run the scenario with `trace: {{ events: [sched, timer] }}`",
            lack.events.join(", "),
            lack.tells
        ),
        NoModel::Ticks => {
            anyhow!(
                "{path}: HZ is not known, or the kernel did not count jiffies evenly when its init ran, as early in a boot"
            )
        }
        NoModel::NotEnded(name) => anyhow!("{path}: item {name} has no end in the trace"),
        NoModel::Lost => {
            anyhow!("{path}: records were lost while the items ran, so a model would be a guess")
        }
    })
}

/// By how much one differs from the other, in percent of the other, with a sign.
fn percent(one: u64, other: u64) -> String {
    let difference = i128::from(one) - i128::from(other);
    let thousandths = difference
        .saturating_mul(1000)
        .checked_div(i128::from(other.max(1)))
        .unwrap_or(0);
    let sign = if thousandths < 0 { "-" } else { "+" };
    let size = thousandths.unsigned_abs();
    format!("{sign}{}.{} %", size / 10, size % 10)
}

impl Answer {
    fn text(&self) -> String {
        let mut text = String::new();
        let changes = if self.changes.is_empty() {
            "nothing changed".to_owned()
        } else {
            self.changes.join(", ")
        };
        // Into memory, where nothing fails.
        let _ = writeln!(text, "{}, phase {}: {changes}", self.scenario, self.phase);
        for before in &self.before {
            let _ = writeln!(
                text,
                "with {} before",
                before.replace(',', " ended before ")
            );
        }
        if let Some(search) = &self.search {
            let how = if search.is_exhaustive {
                "all there are"
            } else {
                "no small change of it is better"
            };
            let _ = writeln!(text, "found among {} choices ({how})", search.tried);
        }
        let _ = writeln!(
            text,
            "\n{:28}  {:>12}  {:>12}",
            "", "init returns", "all done"
        );
        let mut row = |name: &str, times: Times, other: Option<(Times, &str)>| {
            let beside = other.map_or_else(String::new, |(other, word)| {
                format!(
                    "  {word} {} and {}",
                    percent(times.init_ns, other.init_ns),
                    percent(times.makespan_ns, other.makespan_ns)
                )
            });
            let _ = writeln!(
                text,
                "{name:28}  {:>12}  {:>12}{beside}",
                scaled(times.init_ns),
                scaled(times.makespan_ns)
            );
        };
        row("measured", self.measured, None);
        row(
            "the model of that",
            self.model,
            Some((self.measured, "off by")),
        );
        row(
            "predicted",
            self.predicted,
            Some((self.measured, "changed by")),
        );
        if let Some(times) = self.model_only {
            let name = format!("model only: {} CPUs at once", self.cpus);
            row(&name, times, Some((self.measured, "changed by")));
        }
        if let Some(times) = self.verified {
            row("verified", times, None);
            row(
                "the prediction's error",
                self.predicted,
                Some((times, "off by")),
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}
