// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit run`: everything, from scenario files to a report.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use deferinit_report::{
    JSON_FILE, JUNIT_FILE, KTAP_FILE, Repetition, RunResult, Terminal, exit_code, table,
};
use deferinit_scenario::{Clock, Scenario};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{self, Run};
use crate::exit::Failure;
use crate::prepare::{self, Prepared, ReadyMachine};
use crate::project::Project;
use crate::{output, pipeline, scenarios};

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
    let (session, kbuild) = prepare::session(&project, Arc::clone(&interrupted))?;
    prepare::require(&session, &kbuild)?;
    let machines = prepare::machines(&project, &scenarios)?;
    let out = output::create(arguments.out.as_deref())?;
    let prepared = prepare::prepare(&project, &session, &kbuild, &arguments.kernel, &out)?;

    let mut results = Vec::new();
    let progress = Progress::new(scenarios.len(), arguments.repeat);
    for scenario in &scenarios {
        let Some(machine) = machines.get(&scenario.machine.name) else {
            continue;
        };
        let begin = results.len();
        for index in 1..=arguments.repeat {
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
            progress.begin(&scenario.name);
            let repetition = Repetition {
                index,
                of: arguments.repeat,
            };
            let first = results.get(begin);
            let result = one(
                &prepared,
                machine,
                scenario,
                repetition,
                first,
                &out,
                &interrupted,
            )?;
            progress.end(&result);
            results.push(result);
        }
    }
    progress.finish();
    report(&out, &results)
}

fn one(
    prepared: &Prepared,
    machine: &ReadyMachine,
    scenario: &Scenario,
    repetition: Repetition,
    first: Option<&RunResult>,
    out: &Path,
    interrupted: &AtomicBool,
) -> Result<RunResult, Failure> {
    let mut folder = out.join(&scenario.name);
    if repetition.of > 1 {
        folder.push(repetition.index.to_string());
    }
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))
        .and_then(|()| {
            let run = pipeline::Job {
                prepared,
                machine,
                scenario,
                repetition,
                first,
                interrupted,
            };
            pipeline::run(&run, &folder)
        })
        .with_context(|| format!("scenario {}", scenario.name))
        .map_err(Failure::setup)
}

/// Writes the report, prints the table, and says where everything lies.
fn report(out: &Path, results: &[RunResult]) -> Result<u8, Failure> {
    deferinit_report::write(out, results).map_err(Failure::setup)?;
    print!("{}", table(results, Terminal::of_stdout()));
    println!("\nReport: {}", out.join(JSON_FILE).display());
    println!("        {JUNIT_FILE}, {KTAP_FILE} and a folder per scenario beside it");
    Ok(exit_code(results))
}

/// Says which scenario runs; a line per finished one where there is no terminal.
struct Progress {
    bar: ProgressBar,
    lines: bool,
}

impl Progress {
    fn new(scenarios: usize, repeat: u32) -> Self {
        let total = u64::try_from(scenarios)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(repeat));
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            lines: bar.is_hidden(),
            bar,
        }
    }

    fn begin(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn end(&self, result: &RunResult) {
        self.bar.inc(1);
        if self.lines {
            let verdict = result.judgement.verdict.word();
            let (name, seconds) = (&result.judgement.scenario, result.wall.as_secs_f64());
            eprintln!("{verdict:<11} {name} ({seconds:.1} s)");
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
