// SPDX-License-Identifier: GPL-2.0-only

//! A run as numbers, with what they hold for: its kernel, configuration, toolchain, machine and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::anyhow;
use deferinit_analysis::compare::Profile;
use deferinit_scenario::{Clock, Scenario};
use deferinit_timeline::Timeline;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::trace::Window;
use crate::commands::explain::Known;
use crate::exit::Failure;
use crate::pipeline::clock_word;
use crate::run_folder::RunFolder;
use crate::trace_file::Trace;

/// What numbers hold for; by name, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(pub(crate) BTreeMap<String, String>);

/// A run.
pub(crate) struct MeasuredRun {
    /// The scenario's name; of one boot of several, with its phase.
    pub(crate) name: String,
    pub(crate) key: Key,
    /// Which kernel image it was, among those with this key.
    pub(crate) image: String,
    /// What has to be the same for two runs to be of one kind: workload and trace, as JSON.
    pub(crate) workload: Value,
    pub(crate) is_exact: bool,
    /// Why its numbers cannot be relied on, if so.
    pub(crate) doubt: Option<String>,
    pub(crate) profile: Profile,
    /// When its results were written, where the file system says so.
    pub(crate) made_at: Option<SystemTime>,
}

/// QEMU's options that make the machine.
const MACHINE: [&str; 7] = [
    "-machine", "-m", "-cpu", "-smp", "-accel", "-icount", "-rtc",
];

/// What the host's clock is measured as for each run on it.
const MEASURED: &str = "tsc_early_khz=";

impl MeasuredRun {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// It is no run's, or its trace cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let trace = Trace::open_path(folder, None, false)?;
        let run = RunFolder::of_trace(&trace.path)?;
        let (Some(scenario), Some(timeline)) = (&run.scenario, &run.timeline) else {
            return Err(Failure::usage(anyhow!(
                "{} is no run: there is no plan.json and timeline.json beside its trace",
                folder.display()
            )));
        };
        let known = Known::of(&trace, &run, None)?;
        let (mut analysis, _) = known.analyse(&trace, &Window::default())?;
        let mut profile = analysis.profile();
        add_functions(&mut profile, timeline);
        let doubt = if analysis.losses().is_empty() {
            None
        } else {
            Some("records were lost".to_owned())
        };
        let kernel = |name: &str| text(run.build.as_ref(), &["kernel", name]);
        let name = match &run.boot {
            Some(phase) => format!("{}/{phase}", scenario.name),
            None => scenario.name.clone(),
        };
        let made_at = fs::metadata(&trace.path)
            .and_then(|file| file.modified())
            .ok();
        Ok(Self {
            name,
            made_at,
            key: key(&run, scenario),
            image: kernel("image_sha256"),
            workload: workload(scenario)?,
            is_exact: run.is_exact(),
            doubt,
            profile,
        })
    }
}

/// Calls and time of each traced function.
fn add_functions(profile: &mut Profile, timeline: &Timeline) {
    let phases = timeline.phases.iter().flat_map(|phase| &phase.functions);
    for function in phases.chain(&timeline.functions) {
        let what = format!("function {}", function.name);
        for span in &function.spans {
            profile.add(&what, "calls", 1);
            let nanoseconds = u64::try_from(span.nanoseconds()).unwrap_or(0);
            profile.add(&what, "total", nanoseconds);
        }
    }
}

fn text(build: Option<&Value>, path: &[&str]) -> String {
    let mut value = build;
    for name in path {
        value = value.and_then(|value| value.get(name));
    }
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "unknown".to_owned(),
    }
}

fn key(run: &RunFolder, scenario: &Scenario) -> Key {
    let build = run.build.as_ref();
    let kernel = |name: &str| text(build, &["kernel", name]);
    let argv = run.argv.as_deref().unwrap_or_default();
    let option = |option: &str| {
        argv.lines()
            .filter_map(|line| line.trim().trim_end_matches('\\').trim().split_once(' '))
            .find(|(name, _)| *name == option)
            .map(|(name, value)| format!("{name} {value}"))
    };
    let machine: Vec<String> = MACHINE.iter().filter_map(|name| option(name)).collect();
    let mut command_line = option("-append").unwrap_or_default();
    if scenario.clock == Clock::Wall {
        let words = command_line.split(' ');
        let kept: Vec<&str> = words.filter(|word| !word.starts_with(MEASURED)).collect();
        command_line = kept.join(" ");
    }
    let parts = [
        ("kernel", kernel("release")),
        ("config", kernel("config_sha256")),
        (
            "compiler",
            text(build, &["kernel", "compilers", "cc_version"]),
        ),
        (
            "rustc",
            text(build, &["kernel", "compilers", "rustc_version"]),
        ),
        ("machine", machine.join(" ")),
        ("command line", command_line),
        ("clock", clock_word(scenario.clock).to_owned()),
    ];
    Key(parts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

/// What is run and what is recorded, without what is expected of it and on what it runs.
fn workload(scenario: &Scenario) -> Result<Value, Failure> {
    let part = |value: serde_json::Result<Value>| {
        value.map_err(|error| Failure::setup(anyhow!(error).context("cannot compare plans")))
    };
    Ok(Value::Array(vec![
        part(serde_json::to_value(&scenario.phases))?,
        part(serde_json::to_value(&scenario.trace))?,
        part(serde_json::to_value(scenario.load))?,
    ]))
}

impl Key {
    /// What differs: the name, and both values.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let value = |key: &Self, name: &String| key.0.get(name).cloned().unwrap_or_default();
        names
            .into_iter()
            .map(|name| (name.clone(), value(self, name), value(other, name)))
            .filter(|(_, one, other)| one != other)
            .collect()
    }
}
