// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit run`: everything, from scenario files to a report.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use deferinit_check::{Judgement, Reason, Verdict};
use deferinit_report::{
    JSON_FILE, JUNIT_FILE, KTAP_FILE, Repetition, RunResult, Terminal, exit_code, table, timings,
};
use deferinit_scenario::{Clock, Load, Scenario};
use deferinit_timeline::FormatVersion;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{self, Run};
use crate::exit::{Failure, complain};
use crate::guest_files::{AddedFile, AddedFiles};
use crate::output::Output;
use crate::prepare::{self, Contents, NamedMachine, Prepared};
use crate::project::Project;
use crate::repetitions::Sameness;
use crate::schedule::{self, Company, Schedule};
use crate::stdout::print;
use crate::{insmod, pipeline, scenarios, show};

/// Runs the command.
pub(crate) fn run(arguments: &Run, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let mut scenarios = scenarios::selected(&project, &arguments.scenarios)?;
    if let Some(clock) = arguments.clock {
        for scenario in &mut scenarios {
            scenario.clock = match clock {
                args::Clock::Exact => Clock::Exact,
                args::Clock::Wall => Clock::Wall,
            };
        }
    }
    if arguments.kernel.debug_kernel {
        // The checks of a debug kernel are about what is left behind, too.
        scenarios = scenarios.iter().map(Scenario::twice).collect();
    }
    let (sameness, repeat) = match arguments.verify_determinism {
        None => (Sameness::Expected, arguments.repeat),
        Some(more) => {
            refuse_wall_clock(&scenarios)?;
            (Sameness::Verified, more.saturating_add(1))
        }
    };
    if arguments.gdb && (scenarios.len() != 1 || repeat != 1) {
        let runs = scenarios
            .len()
            .saturating_mul(usize::try_from(repeat).unwrap_or(usize::MAX));
        return Err(Failure::usage(anyhow!(
            "--gdb is for one run, and this would be {runs}: name one scenario"
        )));
    }
    let (session, kbuild) = prepare::session(&project, Arc::clone(&interrupted))?;
    prepare::require(&session, &kbuild)?;
    insmod::read(&arguments.insmod, &prepare::MODULES)?;
    let machines = prepare::machines(&project, &scenarios)?;
    say_accelerators(&scenarios, &machines);
    let added = added(&scenarios)?;
    let tree = arguments.kernel.kernel_tree.as_deref();
    let output = Output::create(arguments.out.as_deref(), tree)?;
    let choice = &arguments.kernel;
    let folder = output.folder();
    let mut prepared = Vec::new();
    let begin = Instant::now();
    for load in [Load::Module, Load::BuiltIn] {
        if scenarios.iter().any(|scenario| scenario.load == load) {
            let insmod = insmod::read(&arguments.insmod, &prepare::MODULES)?;
            let mut contents = Contents::of_scenarios(load, insmod);
            contents.module_tree.clone_from(&arguments.module_tree);
            if load == Load::Module {
                contents = contents.with_shell_for(&session, &kbuild, &scenarios)?;
            }
            let kernel = prepare::prepare(&project, &session, &kbuild, choice, contents, folder)?;
            prepared.push((load, kernel));
        }
    }

    let built_in = arguments.timings.then(|| begin.elapsed());
    let jobs = arguments.jobs.unwrap_or_else(host_cpus);
    let batch = Batch {
        prepared: &prepared,
        out: &output.keep(),
        interrupted: &interrupted,
        jobs,
        sameness,
        built_in,
        is_debugged: arguments.gdb,
        progress: Progress::new(scenarios.len(), repeat),
    };
    let work: Vec<Work<'_>> = scenarios
        .iter()
        .zip(&machines)
        .zip(&added)
        .map(|((scenario, machine), added)| Work {
            scenario,
            machine,
            added,
        })
        .collect();
    let schedule = Schedule { repeat, jobs };
    let done = schedule::run(
        &work,
        &schedule,
        |work| company(work.scenario.clock),
        |work, of, first| batch.one(work, of, first),
    );
    batch.progress.finish();
    conclude(batch.out, &done.results, done.outcome)
}

/// How many runs go on at one time if the user does not say: on the exact clock, a run is the same whatever the host
/// does beside it, and QEMU takes one of its CPUs.
pub(crate) fn host_cpus() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// No two runs on the wall clock are the same.
fn refuse_wall_clock(scenarios: &[Scenario]) -> Result<(), Failure> {
    let on_wall = |scenario: &&Scenario| scenario.clock == Clock::Wall;
    match scenarios.iter().find(on_wall) {
        None => Ok(()),
        Some(scenario) => Err(Failure::usage(anyhow!(
            "--verify-determinism needs the exact clock, and {} runs on the wall clock, on which no two runs are the same",
            scenario.name
        ))),
    }
}

/// The times of the wall clock are those of the host: what ran beside it would be in them.
fn company(clock: Clock) -> Company {
    match clock {
        Clock::Exact => Company::Any,
        Clock::Wall => Company::None,
    }
}

/// A scenario, the machine that it runs on, and what only its guest has.
struct Work<'a> {
    scenario: &'a Scenario,
    machine: &'a NamedMachine,
    added: &'a [AddedFile],
}

/// The files of the host that each scenario wants in its guest: read before anything runs.
pub(crate) fn added(scenarios: &[Scenario]) -> Result<Vec<Vec<AddedFile>>, Failure> {
    let of = |scenario: &Scenario| {
        let mut files = AddedFiles::default();
        for specification in &scenario.machine.add {
            files
                .add(specification)
                .map_err(|failure| failure.of_scenario(&scenario.name))?;
        }
        Ok(files.into_files())
    };
    scenarios.iter().map(of).collect()
}

/// What all runs of an invocation share.
struct Batch<'a> {
    /// What runs need, by where the kernel has the workload from.
    prepared: &'a [(Load, Prepared)],
    out: &'a Path,
    interrupted: &'a AtomicBool,
    jobs: NonZeroUsize,
    sameness: Sameness,
    /// How long everything took that all runs share, if the user wants to know.
    built_in: Option<Duration>,
    is_debugged: bool,
    progress: Progress,
}

impl Batch<'_> {
    fn prepared_for(&self, scenario: &Scenario) -> Result<&Prepared, Failure> {
        let mut all = self.prepared.iter();
        let found = all.find(|(load, _)| *load == scenario.load);
        found
            .map(|(_, prepared)| prepared)
            .ok_or_else(|| Failure::setup(anyhow!("no kernel was prepared for {}", scenario.name)))
    }

    /// One run; none, which is a result as well, once the user has had enough.
    fn one(
        &self,
        &Work {
            scenario,
            machine,
            added,
        }: &Work<'_>,
        repetition: Repetition,
        first: Option<&RunResult>,
    ) -> Result<RunResult, Failure> {
        let prepared = self.prepared_for(scenario)?;
        let without_run = |verdict, machine| {
            let release = &prepared.release;
            not_run(scenario, repetition, verdict, machine, release, self.out)
        };
        let machine = match machine {
            NamedMachine::Ready(machine) => machine,
            NamedMachine::Unsupported(machine) => {
                let why = format!("{}: {}", machine.name, machine.unsupported);
                return Ok(without_run(Verdict::Unsupported(why), machine.name.clone()));
            }
        };
        if self.interrupted.load(Ordering::Relaxed) {
            let machine = machine.describe(scenario, prepared.needs);
            return Ok(without_run(
                Verdict::Unresolved(Reason::Interrupted),
                machine,
            ));
        }
        self.progress.begin(&scenario.name);
        let mut folder = self.out.join(&scenario.name);
        if repetition.of > 1 {
            folder.push(repetition.index.to_string());
        }
        let say_how_to_attach = |socket: &Path| {
            self.progress.finish();
            complain(&how_to_attach(&prepared.kernel, socket));
        };
        let job = pipeline::Job {
            prepared,
            machine,
            scenario,
            added,
            repetition,
            first,
            sameness: self.sameness,
            is_timed: self.built_in.is_some(),
            patience: patience(self.jobs),
            interrupted: self.interrupted,
            debugger: self.is_debugged.then_some(&say_how_to_attach as _),
        };
        let mut result = fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))
            .and_then(|()| pipeline::run(&job, &folder))
            .with_context(|| format!("scenario {}", scenario.name))
            .map_err(Failure::setup);
        if let (
            Ok(RunResult {
                timings: Some(timings),
                ..
            }),
            Some(built_in),
        ) = (&mut result, self.built_in)
        {
            timings.build = built_in;
        }
        self.progress.end(&scenario.name, result.as_ref().ok());
        result
    }
}

/// How many times as long as alone a run may take: as often as there are more runs than the host has CPUs.
pub(crate) fn patience(jobs: NonZeroUsize) -> u32 {
    let times = jobs.get().div_ceil(host_cpus().get());
    u32::try_from(times).unwrap_or(u32::MAX)
}

/// Says of the machines that run on the wall clock what executes their guests, and why.
fn say_accelerators(scenarios: &[Scenario], machines: &[NamedMachine]) {
    let lines = scenarios
        .iter()
        .zip(machines)
        .filter_map(|(scenario, machine)| {
            let NamedMachine::Ready(ready) = machine else {
                return None;
            };
            let accelerator = ready.accelerator(scenario.clock)?;
            Some(format!(
                "{} on the wall clock: {accelerator}",
                ready.machine.name
            ))
        });
    for line in lines.collect::<BTreeSet<_>>() {
        complain(&line);
    }
}

/// What to type in another terminal. A socket's path is short (`sun_path`, unix(7)), so one that is long is named from its
/// own folder.
fn how_to_attach(kernel: &Path, socket: &Path) -> String {
    const LONGEST: usize = 107;
    let socket = fs::canonicalize(socket).unwrap_or_else(|_| socket.to_owned());
    let (folder, name) = (socket.parent(), socket.file_name());
    let target = |place: &Path| {
        format!(
            "gdb {} -ex 'target remote {}'",
            kernel.display(),
            place.display()
        )
    };
    let command = match (folder, name) {
        (Some(folder), Some(name)) if socket.as_os_str().len() > LONGEST => {
            format!("cd {} && {}", folder.display(), target(Path::new(name)))
        }
        _ => target(&socket),
    };
    format!(
        "The guest waits before its first instruction. In another terminal:\n  {command}\n\
         `hbreak FUNCTION` stops it there, `continue` lets it run; Ctrl-C here ends it."
    )
}

/// A run that was not made, since the user interrupted it or there is no such machine: it has no folder of its own.
fn not_run(
    scenario: &Scenario,
    repetition: Repetition,
    verdict: Verdict,
    machine: String,
    release: &str,
    out: &Path,
) -> RunResult {
    RunResult {
        repetition,
        judgement: Judgement {
            format_version: FormatVersion,
            scenario: scenario.name.clone(),
            verdict,
            checks: Vec::new(),
            measurements: BTreeMap::new(),
        },
        clock: pipeline::clock_word(scenario.clock).to_owned(),
        kernel: release.to_owned(),
        machine,
        accelerator: None,
        guest_ns: None,
        wall: Duration::ZERO,
        timings: None,
        trace_sha256: None,
        folder: out.display().to_string(),
        console: Vec::new(),
        functions: Vec::new(),
    }
}

/// Reports what was judged, also before a failure of our own, which then is the outcome.
fn conclude(
    out: &Path,
    results: &[RunResult],
    outcome: Result<(), Failure>,
) -> Result<u8, Failure> {
    let Err(failure) = outcome else {
        return report(out, results);
    };
    if !results.is_empty()
        && let Err(second) = report(out, results)
    {
        complain(&second);
    }
    Err(failure)
}

/// Writes the report, prints the table, and says where everything lies.
fn report(out: &Path, results: &[RunResult]) -> Result<u8, Failure> {
    deferinit_report::write(out, results).map_err(Failure::setup)?;
    print(&format!(
        "{}\nReport: {}\n        {JUNIT_FILE}, {KTAP_FILE} and a folder per scenario beside it",
        table(results, Terminal::of_stdout()) + &timings(results, Terminal::of_stdout()),
        out.join(JSON_FILE).display()
    ))?;
    if let [only] = results
        && let Some(shown) = show::read(Path::new(&only.folder))
    {
        print(&format!("\n{}", shown.trim_end()))?;
    }
    Ok(exit_code(results))
}

/// Says which scenarios run; a line per finished one where there is no terminal.
struct Progress {
    bar: ProgressBar,
    lines: bool,
    /// In the order they began.
    running: Mutex<Vec<String>>,
}

impl Progress {
    fn new(scenarios: usize, repeat: u32) -> Self {
        let total = u64::try_from(scenarios)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(repeat));
        let bar = progress_bar(total);
        Self {
            lines: bar.is_hidden(),
            bar,
            running: Mutex::default(),
        }
    }

    fn begin(&self, name: &str) {
        self.show(|running| running.push(name.to_owned()));
    }

    /// Without a result it came to no verdict, which is said elsewhere.
    fn end(&self, name: &str, result: Option<&RunResult>) {
        self.show(|running| {
            if let Some(index) = running.iter().position(|other| other == name) {
                running.remove(index);
            }
        });
        self.bar.inc(1);
        if let Some(result) = result.filter(|_| self.lines) {
            complain(&line(self.bar.position(), self.bar.length(), result));
        }
    }

    fn show(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        self.bar.set_message(running.join(", "));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far a number of runs is, on a terminal.
pub(crate) fn progress_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// What is said of a run that has ended: `pass        [  2.5 s] ( 3/79) delayed-work/accuracy`.
fn line(ended: u64, of: Option<u64>, result: &RunResult) -> String {
    let of = of.unwrap_or(ended).to_string();
    let verdict = result.judgement.verdict.word();
    let seconds = result.wall.as_secs_f64();
    let (name, repetition) = (&result.judgement.scenario, result.repetition);
    let which = match repetition {
        Repetition { of: 0 | 1, .. } => String::new(),
        Repetition { index, of } => format!(" ({index} of {of})"),
    };
    format!(
        "{verdict:<11} [{seconds:>6.1} s] ({ended:>width$}/{of}) {name}{which}",
        width = of.len()
    )
}

#[cfg(test)]
mod tests {
    use deferinit_report::{PASSED, UNRESOLVED};

    use super::*;

    fn interrupted(index: u32, of: u32) -> RunResult {
        let text = "summary: Test.\nworkload: { mode: direct, items: 1 }\nexpect:\n- count: { of: ended, equals: 1 }\n";
        let scenario = deferinit_scenario::parse("test", text.as_bytes()).expect("a scenario");
        let machine = "x86_64".to_owned();
        not_run(
            &scenario,
            Repetition { index, of },
            Verdict::Unresolved(Reason::Interrupted),
            machine,
            "7.3",
            Path::new("out"),
        )
    }

    fn passed(repetition: Repetition) -> RunResult {
        let mut result = interrupted(repetition.index, repetition.of);
        result.judgement.verdict = Verdict::Pass;
        result
    }

    #[test]
    fn a_run_that_an_interruption_prevented_takes_the_pass_from_the_rest() {
        let passed = passed(Repetition::ONLY);
        assert_eq!(exit_code(std::slice::from_ref(&passed)), PASSED);
        assert_eq!(exit_code(&[passed, interrupted(1, 1)]), UNRESOLVED);
    }

    #[test]
    fn a_failure_of_ours_keeps_what_was_judged_and_is_the_outcome() {
        let results = [passed(Repetition::ONLY)];
        let out = tempfile::tempdir().expect("a folder");
        let outcome = Err(Failure::setup(anyhow::anyhow!("no more memory")));
        let failure = conclude(out.path(), &results, outcome).expect_err("the failure");
        assert!(failure.to_string().contains("no more memory"), "{failure}");
        assert!(out.path().join(JSON_FILE).is_file());
    }

    #[test]
    fn a_line_says_how_a_run_ended_and_how_many_there_are() {
        let mut result = passed(Repetition { index: 2, of: 10 });
        result.wall = Duration::from_millis(2_540);
        assert_eq!(
            line(7, Some(100), &result),
            "pass        [   2.5 s] (  7/100) test (2 of 10)"
        );
    }

    #[test]
    fn only_the_exact_clock_bears_company() {
        assert_eq!(company(Clock::Exact), Company::Any);
        assert_eq!(company(Clock::Wall), Company::None);
    }
}
