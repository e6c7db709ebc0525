// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit doctor --determinism`: whether the exact clock is exact on this machine.
//!
//! In: the default kernel and machine, and probes that are run again and again, with several numbers of CPUs, and with
//! the host idle and busy. Out: a table, and the first difference where there is one. Runs are compared as those of
//! `deferinit run --verify-determinism`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, anyhow};
use deferinit_check::Verdict;
use deferinit_report::{Repetition, RunResult, Terminal, columns};
use deferinit_scenario::{Clock, Load, Scenario};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use crate::args::{Doctor, KernelChoice};
use crate::commands::run::progress_bar;
use crate::exit::{FAILED, Failure, PASSED, UNRESOLVED, complain};
use crate::output::Output;
use crate::pipeline::{self, Amount};
use crate::prepare::{self, Contents, Prepared, ReadyMachine};
use crate::project::Project;
use crate::repetitions::{Difference, Sameness, difference};
use crate::stdout::print;

/// The numbers of CPUs that are tried.
const CPUS: [u32; 3] = [1, 2, 4];

/// Threads that keep the host busy, for each of its CPUs.
const THREADS_PER_CPU: usize = 2;

/// So many digits of a SHA-256 tell one trace from another in a table.
const SUM_DIGITS: usize = 16;

/// What is run, by what the table calls it.
const SHORT: (&str, &str) = ("short", include_str!("probes/short.yaml"));
const LONG: (&str, &str) = ("50 MB", include_str!("probes/long.yaml"));

/// What the host does beside a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// Nothing of ours.
    Idle,
    /// More threads that spin than it has CPUs.
    Busy,
}

/// Keeps every CPU of the host busy until it is dropped.
struct Busy {
    stop: Arc<AtomicBool>,
}

/// The runs of one probe with one number of CPUs, beside the host in one state.
struct Row {
    probe: &'static str,
    cpus: u32,
    host: Host,
    /// How many were made.
    runs: u32,
    amount: Option<Amount>,
    trace_sha256: Option<String>,
    outcome: Outcome,
}

/// What came of them, against the first run with this number of CPUs.
enum Outcome {
    Same,
    Differs(Difference, [PathBuf; 2]),
    /// One came to nothing that could be compared, and why.
    NotComparable(String),
}

/// What all rows share.
struct Matrix<'a> {
    prepared: &'a Prepared,
    machine: &'a ReadyMachine,
    runs: u32,
    folder: &'a Path,
    interrupted: &'a AtomicBool,
    bar: ProgressBar,
}

/// Runs the command. Exits 0 only if all runs could be compared, and are the same.
pub(super) fn run(arguments: &Doctor, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let (session, kbuild) = prepare::session(&project, Arc::clone(&interrupted))?;
    prepare::require(&session, &kbuild)?;
    let probes: &[_] = if arguments.long {
        &[SHORT, LONG]
    } else {
        &[SHORT]
    };
    let parse = |&(name, text): &(&'static str, &str)| {
        let scenario = deferinit_scenario::parse(name, text.as_bytes());
        scenario
            .map(|scenario| (name, scenario))
            .map_err(|error| Failure::setup(anyhow!("the probe {name}: {error}")))
    };
    let probes: Vec<_> = probes.iter().map(parse).collect::<Result<_, _>>()?;
    let machine = prepare::machine(&project, &arguments.machine, Clock::Exact)?;
    let output = Output::create(None, None)?;
    let choice = KernelChoice::default();
    let contents = Contents::of_scenarios(Load::Module, Vec::new());
    let folder = output.folder();
    let prepared = prepare::prepare(&project, &session, &kbuild, &choice, contents, folder)?;

    let rows = probes.len() * CPUS.len() * 2;
    let runs = u64::try_from(rows).unwrap_or(u64::MAX) * u64::from(arguments.runs);
    let matrix = Matrix {
        prepared: &prepared,
        machine: &machine,
        runs: arguments.runs,
        folder,
        interrupted: &interrupted,
        bar: progress_bar(runs),
    };
    let mut rows = Vec::new();
    for (name, scenario) in &probes {
        for cpus in CPUS {
            rows.extend(matrix.group(name, scenario, cpus)?);
        }
    }
    matrix.bar.finish_and_clear();
    print(&identity(&prepared, &machine)?)?;
    let code = report(&rows)?;
    if code != PASSED {
        let kept = output.keep();
        print(&format!("The runs are kept in {}", kept.display()))?;
    }
    Ok(code)
}

impl Matrix<'_> {
    /// The rows of one probe with one number of CPUs: they are held against the same run.
    fn group(
        &self,
        probe: &'static str,
        scenario: &Scenario,
        cpus: u32,
    ) -> Result<Vec<Row>, Failure> {
        let mut scenario = scenario.clone();
        scenario.machine.cpus = cpus;
        let folder = self
            .folder
            .join(format!("{}-{cpus}", probe.replace(' ', "-")));
        let mut first = None;
        let mut rows = Vec::new();
        for host in [Host::Idle, Host::Busy] {
            let row = self.row(probe, &scenario, host, &folder, &mut first)?;
            let goes_on = matches!(row.outcome, Outcome::Same);
            rows.push(row);
            if !goes_on {
                return Ok(rows);
            }
        }
        remove(&folder)?;
        Ok(rows)
    }

    /// Runs until something differs. `first` is what all are compared with, if there has been one.
    fn row(
        &self,
        probe: &'static str,
        scenario: &Scenario,
        host: Host,
        folder: &Path,
        first: &mut Option<RunResult>,
    ) -> Result<Row, Failure> {
        let _busy = (host == Host::Busy).then(Busy::new);
        let mut row = Row {
            probe,
            cpus: scenario.machine.cpus,
            host,
            runs: 0,
            amount: None,
            trace_sha256: None,
            outcome: Outcome::Same,
        };
        while row.runs < self.runs && matches!(row.outcome, Outcome::Same) {
            row.runs += 1;
            self.bar.set_message(row.title());
            let own = folder.join(format!("{}-{}", host.word(), row.runs));
            let result = self.one(scenario, row.runs, &own)?;
            self.bar.inc(1);
            row.outcome = match (&result.judgement.verdict, first.as_ref()) {
                (Verdict::Pass, None) => Outcome::Same,
                (Verdict::Pass, Some(first)) => {
                    match difference(first, &result).map_err(Failure::setup)? {
                        None => Outcome::Same,
                        Some(found) => {
                            let folders = [&first.folder, &result.folder];
                            Outcome::Differs(found, folders.map(PathBuf::from))
                        }
                    }
                }
                (Verdict::Fail(_) | Verdict::Unresolved(_) | Verdict::Unsupported(_), _) => {
                    Outcome::NotComparable(result.judgement.verdict.reason())
                }
            };
            row.trace_sha256.clone_from(&result.trace_sha256);
            row.amount = Some(Amount::of_run(&own).map_err(Failure::setup)?);
            if first.is_none() {
                *first = Some(result);
            } else if matches!(row.outcome, Outcome::Same) {
                remove(&own)?;
            }
        }
        if self.bar.is_hidden() {
            complain(&format!("{:<9} {}", row.word(), row.title()));
        }
        Ok(row)
    }

    fn one(&self, scenario: &Scenario, index: u32, folder: &Path) -> Result<RunResult, Failure> {
        let job = pipeline::Job {
            prepared: self.prepared,
            machine: self.machine,
            scenario,
            added: &[],
            repetition: Repetition {
                index,
                of: self.runs,
            },
            first: None,
            sameness: Sameness::Expected,
            is_timed: false,
            patience: u32::try_from(THREADS_PER_CPU + 1).unwrap_or(u32::MAX),
            interrupted: self.interrupted,
            debugger: None,
        };
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))
            .and_then(|()| pipeline::run(&job, folder))
            .map_err(Failure::setup)
    }
}

fn remove(folder: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(folder)
        .with_context(|| format!("cannot remove {}", folder.display()))
        .map_err(Failure::setup)
}

impl Host {
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
        }
    }
}

impl Busy {
    fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cpus.saturating_mul(THREADS_PER_CPU) {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self { stop }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Row {
    /// What is being run.
    fn title(&self) -> String {
        let plural = if self.cpus == 1 { "" } else { "s" };
        format!(
            "{} trace, {} CPU{plural}, host {}",
            self.probe,
            self.cpus,
            self.host.word()
        )
    }

    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Same => "identical",
            Outcome::Differs(..) => "different",
            Outcome::NotComparable(_) => "unresolved",
        }
    }

    fn cells(&self) -> Vec<String> {
        let amount = self.amount.unwrap_or_default();
        let sum = self.trace_sha256.as_deref().unwrap_or("none");
        vec![
            self.probe.to_owned(),
            self.cpus.to_string(),
            self.host.word().to_owned(),
            self.runs.to_string(),
            amount.records.to_string(),
            shown(amount.bytes),
            sum.chars().take(SUM_DIGITS).collect(),
            self.word().to_owned(),
        ]
    }
}

/// `44.7 kB` or `53.1 MB`, in powers of a thousand.
fn shown(bytes: u64) -> String {
    let (unit, name) = if bytes < 1_000_000 {
        (1_000, "kB")
    } else {
        (1_000_000, "MB")
    };
    let tenths = bytes / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// What the bytes depend on: where all of it is the same, so are they.
fn identity(prepared: &Prepared, machine: &ReadyMachine) -> Result<String, Failure> {
    let sum = |path: &Path| -> Result<String, Failure> {
        let bytes = fs::read(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(Failure::setup)?;
        let sum = Sha256::digest(&bytes);
        let digits = sum.iter().map(|byte| format!("{byte:02x}"));
        Ok(digits
            .collect::<String>()
            .chars()
            .take(SUM_DIGITS)
            .collect())
    };
    let shift = machine.machine_for(prepared.needs).exact.shift;
    Ok(format!(
        "QEMU       {}\nMachine    {}, icount shift {shift}\nKernel     {} (SHA-256 {}..)\nInitramfs  SHA-256 {}..\n",
        machine.qemu.version,
        machine.machine.name,
        prepared.release,
        sum(&prepared.kernel)?,
        sum(&prepared.initramfs)?
    ))
}

/// Prints the table and what is to know beyond it; the exit code.
fn report(rows: &[Row]) -> Result<u8, Failure> {
    let header = [
        "Trace", "CPUs", "Host", "Runs", "Records", "Bytes", "SHA-256", "Result",
    ];
    let cells = rows.iter().map(Row::cells).collect();
    print(&columns(&header, cells, Terminal::of_stdout()))?;
    let mut code = PASSED;
    for row in rows {
        match &row.outcome {
            Outcome::Same => {}
            Outcome::Differs(found, folders) => {
                code = FAILED;
                let mut text = format!("{}: {}\n", row.title(), found.what);
                for side in &found.sides {
                    text.push_str(&format!("  {side}\n"));
                }
                for folder in folders {
                    text.push_str(&format!("  run folder: {}\n", folder.display()));
                }
                print(&text)?;
            }
            Outcome::NotComparable(why) => {
                if code != FAILED {
                    code = UNRESOLVED;
                }
                print(&format!("{}: no verdict: {why}\n", row.title()))?;
            }
        }
    }
    print(match code {
        PASSED => {
            "Console, trace and results are the same to the last bit in all runs with one number of CPUs."
        }
        FAILED => "The exact clock is not exact here.",
        _ => "Whether the exact clock is exact here is not known: a probe came to no result.",
    })?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_are_scenarios_on_the_exact_clock() {
        for (name, text) in [SHORT, LONG] {
            let scenario = deferinit_scenario::parse(name, text.as_bytes());
            let scenario = scenario.expect("a scenario");
            assert_eq!(scenario.clock, Clock::Exact, "{name}");
        }
    }

    fn row(outcome: Outcome) -> Row {
        Row {
            probe: "short",
            cpus: 2,
            host: Host::Busy,
            runs: 3,
            amount: Some(Amount {
                records: 1_000,
                bytes: 53_123_456,
            }),
            trace_sha256: Some("0123456789abcdef0123".to_owned()),
            outcome,
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(shown(44_748), "44.7 kB");
        assert_eq!(shown(999_999), "999.9 kB");
        assert_eq!(shown(53_123_456), "53.1 MB");
    }

    #[test]
    fn a_row_has_what_was_run_and_what_came_of_it() {
        let expected = [
            "short",
            "2",
            "busy",
            "3",
            "1000",
            "53.1 MB",
            "0123456789abcdef",
            "identical",
        ];
        assert_eq!(row(Outcome::Same).cells(), expected);
    }

    #[test]
    fn a_difference_fails_and_weighs_more_than_a_probe_without_a_verdict() {
        let differs = || {
            let found = Difference {
                what: "main.init differs".to_owned(),
                sides: Vec::new(),
            };
            row(Outcome::Differs(found, [PathBuf::new(), PathBuf::new()]))
        };
        let dead = || row(Outcome::NotComparable("the guest ran".to_owned()));
        let code = |rows: &[Row]| report(rows).map_err(|error| error.to_string());
        assert_eq!(code(&[row(Outcome::Same)]), Ok(PASSED));
        assert_eq!(code(&[dead(), row(Outcome::Same)]), Ok(UNRESOLVED));
        assert_eq!(code(&[differs(), dead()]), Ok(FAILED));
        assert_eq!(code(&[dead(), differs()]), Ok(FAILED));
    }
}
