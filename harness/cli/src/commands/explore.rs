// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit explore`: one scenario under many schedules.
//!
//! In: a scenario and seeds. Out: the schedules under which it does not hold, each shrunk to what matters. Everything goes
//! through the same pipeline as `run`, in exact mode.

mod change;
mod observed;
mod report;
mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use deferinit_report::{Repetition, RunResult};
use deferinit_scenario::{Clock, Load, Scenario, parse};
use deferinit_timeline::Timeline;

use self::change::{Change, varied};
use self::report::{Finding, Report};
use self::space::{Source, Space, is_function};
use crate::args::explore::Explore;
use crate::commands::run::{added, host_cpus, patience, progress_bar};
use crate::ddmin::Outcome;
use crate::exit::{Failure, complain};
use crate::guest_files::{AddedFile, AddedFiles};
use crate::insmod;
use crate::output::Output;
use crate::pipeline::{self, write_json};
use crate::prepare::{self, Contents, Prepared, ReadyMachine};
use crate::project::Project;
use crate::repetitions::{Sameness, difference};
use crate::run_folder::RunFolder;
use crate::scenarios::{self, Selected};
use crate::schedule::{self, Company, Schedule};
use crate::shrink::fewest;

/// What a run's scenario is called in its folder, and the report of them all.
const SCENARIO_FILE: &str = "scenario.yaml";
const REPORT_FILE: &str = "explore.json";

/// HZ, where the kernel's build does not say: that of `kbuild/config`.
const DEFAULT_HZ: u32 = 250;

/// Runs the command.
pub(crate) fn run(arguments: &Explore, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let selected = scenarios::one(&project, &arguments.scenario)?;
    let scenario = explorable(&selected, arguments)?;
    let (session, kbuild) = prepare::session(&project, Arc::clone(&interrupted))?;
    prepare::require(&session, &kbuild)?;
    let insmod = insmod::read(&arguments.insmod, &prepare::MODULES)?;
    let machine = prepare::machine_of(&project, &scenario)?;
    let files = added(std::slice::from_ref(&scenario))?;
    let tree = arguments.kernel.kernel_tree.as_deref();
    let output = Output::create(arguments.out.as_deref(), tree)?;
    let mut contents = Contents::of_scenarios(scenario.load, insmod);
    if scenario.load == Load::Module && scenario.has_command() {
        let mut shell = AddedFiles::default();
        shell.add_shell(&session, &kbuild)?;
        contents.shell = shell.into_files();
    }
    let choice = &arguments.kernel;
    let prepared = prepare::prepare(
        &project,
        &session,
        &kbuild,
        choice,
        contents,
        output.folder(),
    )?;
    let jobs = arguments.jobs.unwrap_or_else(host_cpus);
    let explorer = Explorer {
        arguments,
        selected: &selected,
        scenario: &scenario,
        prepared: &prepared,
        machine: &machine,
        added: files.first().map_or(&[], Vec::as_slice),
        out: output.keep(),
        patience: patience(jobs),
        interrupted: &interrupted,
    };
    let plain = explorer.run(&[], &explorer.out.join("plain"), Repetition::ONLY)?;
    if let Some(outcome) = report::of_plain(&explorer, &plain)? {
        return Ok(outcome);
    }
    let space = explorer.space(&plain)?;
    if let Some(seed) = arguments.seed {
        return explorer.one_seed(&space, seed);
    }
    let schedule = Schedule { repeat: 1, jobs };
    explorer.all_seeds(&space, &plain, &schedule)
}

/// The scenario as it is run without changes.
///
/// # Errors
/// It cannot be explored.
fn explorable(selected: &Selected, arguments: &Explore) -> Result<Scenario, Failure> {
    let Selected { name, file, text } = selected;
    let original = parse(name, text.as_bytes())
        .map_err(|error| Failure::usage(error.in_file(file.display().to_string())))?;
    if original.clock == Clock::Wall {
        return Err(Failure::usage(anyhow!(
            "{name} runs on the wall clock, on which no schedule can be had again: explore needs `clock: exact`"
        )));
    }
    for function in &arguments.delay_at {
        if original.load == Load::BuiltIn {
            return Err(Failure::usage(anyhow!(
                "--delay-at {function}: {name} has its workload in the kernel's image, and functions are delayed by the module, from its load on"
            )));
        }
    }
    parse(name, varied(text, &[], arguments.timed).as_bytes()).map_err(|error| {
        let error = error.in_file(file.display().to_string());
        let what = "explore writes a block `vary` behind the file, which needs one without it that is no `{ .. }`";
        Failure::usage(anyhow!(error).context(what))
    })
}

/// What all runs share.
struct Explorer<'a> {
    arguments: &'a Explore,
    selected: &'a Selected,
    /// Without changes.
    scenario: &'a Scenario,
    prepared: &'a Prepared,
    machine: &'a ReadyMachine,
    added: &'a [AddedFile],
    out: PathBuf,
    patience: u32,
    interrupted: &'a AtomicBool,
}

/// What a run came to.
struct Ran {
    result: RunResult,
    timeline: Timeline,
}

impl Ran {
    fn reason(&self) -> Option<String> {
        observed::reason(&self.result.judgement)
    }
}

/// What became of a seed.
struct Seed {
    seed: u64,
    changes: Vec<Change>,
    trace_sha256: Option<String>,
    order: String,
    /// None if it passed.
    failed: Option<(String, RunResult)>,
}

impl Explorer<'_> {
    /// Runs the scenario with these changes, in a new folder.
    fn run(
        &self,
        changes: &[Change],
        folder: &Path,
        repetition: Repetition,
    ) -> Result<Ran, Failure> {
        let text = varied(&self.selected.text, changes, self.arguments.timed);
        let scenario = parse(&self.selected.name, text.as_bytes())
            .map_err(|error| Failure::setup(error.in_file(SCENARIO_FILE)))?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(folder.join(SCENARIO_FILE), text))
            .with_context(|| format!("cannot write into {}", folder.display()))
            .map_err(Failure::setup)?;
        let job = pipeline::Job {
            prepared: self.prepared,
            machine: self.machine,
            scenario: &scenario,
            added: self.added,
            repetition,
            first: None,
            sameness: Sameness::Expected,
            is_timed: false,
            patience: self.patience,
            interrupted: self.interrupted,
            debugger: None,
        };
        let result = pipeline::run(&job, folder)
            .with_context(|| format!("scenario {}", scenario.name))
            .map_err(Failure::setup)?;
        let timeline = RunFolder::read(folder, None)?.timeline;
        let timeline =
            timeline.ok_or_else(|| Failure::setup(anyhow!("a run has left no timeline")))?;
        Ok(Ran { result, timeline })
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// What the schedules may differ in.
    fn space(&self, plain: &Ran) -> Result<Space, Failure> {
        for function in &self.arguments.delay_at {
            self.must_be_function(function)?;
        }
        let hz = RunFolder::read(Path::new(&plain.result.folder), None)?.hz();
        let needs = self.prepared.needs;
        let source = Source {
            scenario: self.scenario,
            text: &self.selected.text,
            timeline: &plain.timeline,
            hz: hz.unwrap_or(DEFAULT_HZ),
            shift: self.machine.machine_of(self.scenario, needs).exact.shift,
            most_shift: needs.most_shift,
            system_map: &self.prepared.system_map,
        };
        let space = Space::of(&source, &self.arguments.vary, &self.arguments.delay_at);
        if space.is_empty() {
            return Err(Failure::usage(anyhow!(
                "{} leaves nothing to vary of what --vary names",
                self.selected.name
            )));
        }
        Ok(space)
    }

    fn must_be_function(&self, name: &str) -> Result<(), Failure> {
        let quoted = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut modules = self.prepared.modules.values();
        let is_in_module = modules.any(|module| memchr::memmem::find(module, &quoted).is_some());
        if is_function(&self.prepared.system_map, name) || is_in_module {
            return Ok(());
        }
        Err(Failure::usage(anyhow!(
            "--delay-at {name}: neither the kernel nor a module in the guest has such a function; one that the compiler has inlined everywhere is none"
        )))
    }

    /// Runs all seeds, and looks into those that fail.
    fn all_seeds(&self, space: &Space, plain: &Ran, schedule: &Schedule) -> Result<u8, Failure> {
        let first = self.arguments.first_seed;
        let count = self.arguments.seeds;
        let seeds: Vec<u64> = (0..count).map(|index| first.wrapping_add(index)).collect();
        let progress = Progress::new(count);
        let batch = schedule::run(
            &seeds,
            schedule,
            |_| Company::Any,
            |seed, _, _: Option<&Option<Seed>>| {
                let ran = self.seed(space, *seed)?;
                progress.add(ran.as_ref());
                Ok::<_, Failure>(ran)
            },
        );
        progress.finish();
        batch.outcome?;
        let ran: Vec<Seed> = batch.results.into_iter().flatten().collect();
        let mut groups: BTreeMap<&str, Vec<&Seed>> = BTreeMap::new();
        for seed in &ran {
            if let Some((reason, _)) = &seed.failed {
                groups.entry(reason).or_default().push(seed);
            }
        }
        let mut groups: Vec<Vec<&Seed>> = groups.into_values().collect();
        groups.sort_by_key(|group| group.first().map(|seed| seed.seed));
        let found = schedule::run(
            &groups,
            schedule,
            |_| Company::Any,
            |group, _, _: Option<&Option<Finding>>| self.look_into(group),
        );
        found.outcome?;
        let findings: Vec<Finding> = found.results.into_iter().flatten().collect();
        let report = Report::new(self, space, plain, &ran, (findings, groups.len()));
        write_json(&self.out, REPORT_FILE, &report).map_err(Failure::setup)?;
        report.print(self.arguments.format)?;
        Ok(report.exit_code())
    }

    /// One seed; none once the user has had enough.
    fn seed(&self, space: &Space, seed: u64) -> Result<Option<Seed>, Failure> {
        if self.is_interrupted() {
            return Ok(None);
        }
        let changes = space.draw(seed);
        let folder = self.folder_of(seed);
        let ran = self.run(&changes, &folder, Repetition { index: 1, of: 2 })?;
        if self.is_interrupted() {
            remove(&folder)?;
            return Ok(None);
        }
        let order = observed::order(&ran.timeline);
        let reason = ran.reason();
        if reason.is_none() && !self.arguments.keep {
            remove(&folder)?;
        }
        Ok(Some(Seed {
            seed,
            changes,
            trace_sha256: ran.result.trace_sha256.clone(),
            order,
            failed: reason.map(|reason| (reason, ran.result)),
        }))
    }

    fn folder_of(&self, seed: u64) -> PathBuf {
        self.out.join(format!("seed-{seed}"))
    }

    /// Shrinks the first of the seeds that fail for one reason, and runs again what is left. None once the user has had
    /// enough.
    fn look_into(&self, group: &[&Seed]) -> Result<Option<Finding>, Failure> {
        let Some(seed) = group.first() else {
            return Ok(None);
        };
        let Some((reason, result)) = &seed.failed else {
            return Ok(None);
        };
        let mut judgements = 0;
        let left = fewest(&seed.changes, |changes| {
            if self.is_interrupted() {
                return Ok(Outcome::Unknown);
            }
            judgements += 1;
            let folder = self.out.join(format!("shrink-{}-{judgements}", seed.seed));
            let ran = self.run(changes, &folder, Repetition::ONLY)?;
            remove(&folder)?;
            Ok::<_, Failure>(match ran.reason() {
                None => Outcome::Good,
                Some(same) if same == *reason => Outcome::Bad,
                Some(_) => Outcome::Unknown,
            })
        })?;
        let own = self.folder_of(seed.seed);
        let differs = self.differs_again(&seed.changes, &own, result)?;
        let folder = if left.len() == seed.changes.len() {
            own.clone()
        } else {
            self.out.join(format!("seed-{}-shrunk", seed.seed))
        };
        let (shrunk, shrunk_differs) = if folder == own {
            let timeline = RunFolder::read(&own, None)?.timeline;
            ((result.clone(), timeline), None)
        } else {
            let ran = self.run(&left, &folder, Repetition { index: 1, of: 2 })?;
            let differs = self.differs_again(&left, &folder, &ran.result)?;
            ((ran.result, Some(ran.timeline)), differs)
        };
        if self.is_interrupted() {
            return Ok(None);
        }
        Ok(Some(Finding::new(
            self,
            group,
            (&left, judgements),
            &shrunk,
            (&own, &folder),
            differs.or(shrunk_differs),
        )))
    }

    /// What a run with these changes differs in when it is made once more; none if it is the same, to the last bit. One that
    /// is not stays beside the first.
    fn differs_again(
        &self,
        changes: &[Change],
        folder: &Path,
        first: &RunResult,
    ) -> Result<Option<String>, Failure> {
        let again = PathBuf::from(format!("{}-again", folder.display()));
        let ran = self.run(changes, &again, Repetition { index: 2, of: 2 })?;
        let found = difference(first, &ran.result)
            .context("cannot compare a run with its repetition")
            .map_err(Failure::setup)?;
        if found.is_none() {
            remove(&again)?;
        }
        Ok(found.map(|difference| difference.what))
    }

    /// One seed alone, twice.
    fn one_seed(&self, space: &Space, seed: u64) -> Result<u8, Failure> {
        let changes = space.draw(seed);
        let folder = self.folder_of(seed);
        let ran = self.run(&changes, &folder, Repetition { index: 1, of: 2 })?;
        let differs = self.differs_again(&changes, &folder, &ran.result)?;
        report::of_seed(self, seed, &changes, &ran, differs)
    }
}

fn remove(folder: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(folder)
        .with_context(|| format!("cannot remove {}", folder.display()))
        .map_err(Failure::setup)
}

/// How far the seeds are; a line for each tenth of them where there is no terminal.
struct Progress {
    bar: indicatif::ProgressBar,
    lines: bool,
    state: Mutex<Met>,
}

/// What has been met so far.
#[derive(Default)]
struct Met {
    failures: u64,
    traces: BTreeSet<String>,
    orders: BTreeSet<String>,
}

impl Progress {
    fn new(seeds: u64) -> Self {
        let bar = progress_bar(seeds);
        Self {
            lines: bar.is_hidden(),
            bar,
            state: Mutex::default(),
        }
    }

    fn add(&self, seed: Option<&Seed>) {
        let Some(seed) = seed else { return };
        let mut met = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        met.failures += u64::from(seed.failed.is_some());
        met.traces.extend(seed.trace_sha256.clone());
        met.orders.insert(seed.order.clone());
        let line = format!(
            "{}, {}, {} of events",
            counted(met.failures, "failure"),
            counted(size(&met.traces), "distinct trace"),
            counted(size(&met.orders), "distinct order")
        );
        self.bar.inc(1);
        let (done, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if self.lines && (done.is_multiple_of(of.div_ceil(10).max(1)) || done == of) {
            complain(&format!("{done} of {of} seeds: {line}"));
        }
        self.bar.set_message(line);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn size<T>(set: &BTreeSet<T>) -> u64 {
    u64::try_from(set.len()).unwrap_or(u64::MAX)
}

/// `1 seed`, `2 seeds`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
