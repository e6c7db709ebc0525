// SPDX-License-Identifier: GPL-2.0-only

//! Measures how fast a trace is read, beside the programs that people read traces with.
//!
//! In: a kernel in the cache; trace-cmd, uftrace and perf as the distribution has them; two free CPUs. Out: a table of
//! medians of wall time, records per second, and the most memory that was resident; and an error if a bound is missed.
//! The trace is function_graph of everything, recorded on the exact clock, so it is the same on every machine. All
//! programs run in turn, in every round. uftrace and perf have formats of their own, so they read traces of their own, and
//! are compared by records per second.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::TRACE_CMD;
use crate::child::{self, Tool};
use crate::steps::cargo;

const UFTRACE: Tool = Tool {
    program: "uftrace",
    install: "apt-get install uftrace",
};
const PERF: Tool = Tool {
    program: "perf",
    install: "apt-get install linux-perf",
};
const GCC: Tool = Tool {
    program: "gcc",
    install: "apt-get install gcc",
};
const TIME: Tool = Tool {
    program: "time",
    install: "apt-get install time",
};

/// What the guest does meanwhile: some 4.8 million records.
const WORKLOAD: &str = "find /sys/kernel -maxdepth 2 > /dev/null & find /proc/1 > /dev/null; wait";

/// Rounds, each with every program once.
const ROUNDS: usize = 7;

/// Fewer records are no measurement.
const LEAST_RECORDS: u64 = 3_000_000;

/// Fewer samples are none either: perf's start would be most of what is measured.
const LEAST_SAMPLES: u64 = 100_000;

/// A program that keeps a CPU busy for seconds, as long as perf is to take samples.
const SAMPLED: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";

/// trace-cmd's time, as a multiple of ours at least.
const REPLAY_BOUND: f64 = 10.0;
const REPORT_BOUND: f64 = 30.0;

/// Our records per second, as a multiple of uftrace's at least.
const UFTRACE_BOUND: f64 = 3.0;

/// The most resident memory, in KiB.
const MEMORY_BOUND: u64 = 32 * 1024;

/// The traced program of uftrace: calls three deep, as many records as the trace has.
const TRACED: &str = "\
static int c(int x) { return x * 3 + 1; }
static int b(int x) { return c(x) ^ c(x + 1); }
static int a(int x) { return b(x) + b(x + 2); }
int main(void) { volatile int sum = 0; for (int i = 0; i < CALLS; i++) sum += a(i); return 0; }
";

/// Calls of one turn of its loop.
const CALLS_PER_TURN: u64 = 7;

/// A program to be measured.
struct Reader {
    name: &'static str,
    command: Command,
    /// Records of what it reads; none for one that does not decode.
    records: Option<u64>,
    times: Vec<Duration>,
    resident_kib: u64,
}

/// Runs the measurements and prints their table.
///
/// # Errors
/// A tool is missing, something cannot be run, or a bound is missed.
pub(super) fn run(root: &Path) -> Result<()> {
    for tool in [TRACE_CMD, UFTRACE, PERF, GCC, TIME] {
        tool.require()?;
    }
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let (deferinit, decompress) = programs(root)?;
    let trace = record(root, folder.path())?;
    let records = records(&deferinit, &trace)?;
    ensure!(
        records >= LEAST_RECORDS,
        "the trace has {records} records, and {LEAST_RECORDS} are the least"
    );
    let (uftrace, calls) = record_uftrace(folder.path(), records / 2)?;
    let (perf, samples) = record_perf(folder.path())?;
    let ours = |arguments: &[&str]| {
        let mut command = Command::new(&deferinit);
        command.arg("trace").args(arguments).arg(&trace);
        command
    };
    let with = |program: &str, arguments: &[&str], path: &Path| {
        let mut command = Command::new(program);
        command.args(arguments).arg(path);
        command
    };
    let mut readers = [
        Reader::new("cat", with("cat", &[], &trace), None),
        Reader::new("decompression", with(&decompress, &[], &trace), None),
        Reader::new("deferinit trace report", ours(&["report"]), Some(records)),
        Reader::new("deferinit trace replay", ours(&["replay"]), Some(records)),
        Reader::new(
            "trace-cmd report",
            with("trace-cmd", &["report"], &trace),
            Some(records),
        ),
        Reader::new(
            "uftrace report",
            with("uftrace", &["report", "--no-pager", "-d"], &uftrace),
            Some(calls * 2),
        ),
        Reader::new(
            "perf script",
            with("perf", &["script", "-i"], &perf),
            Some(samples),
        ),
    ];
    for _ in 0..ROUNDS {
        for reader in &mut readers {
            reader.measure(folder.path())?;
        }
    }
    print!("{}", table(&readers)?);
    judge(&readers)
}

/// Builds what is measured, optimised; returns where it is.
fn programs(root: &Path) -> Result<(String, String)> {
    child::run(cargo(root).args(["build", "--release", "--locked", "--package", "deferinit"]))?;
    child::run(cargo(root).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "deferinit-ftrace",
        "--example",
        "decompress",
    ]))?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .current_dir(root)
        .exec()
        .context("cannot ask cargo for its target folder")?;
    let release = metadata.target_directory.join("release");
    Ok((
        release.join("deferinit").into_string(),
        release.join("examples/decompress").into_string(),
    ))
}

fn record(root: &Path, folder: &Path) -> Result<std::path::PathBuf> {
    let out = folder.join("recording");
    super::deferinit(
        root,
        &[
            "trace",
            "record",
            "--tracer",
            "function_graph",
            "--cpus",
            "2",
            "--memory",
            "2GiB",
            "--buffer-size",
            "512MiB",
            "--deadline",
            "120s",
            "--out",
            &out.display().to_string(),
            "--",
            WORKLOAD,
        ],
    )?;
    Ok(out.join("trace/trace.dat"))
}

fn records(deferinit: &str, trace: &Path) -> Result<u64> {
    let json = child::output(
        Command::new(deferinit)
            .args(["trace", "info", "--format", "json"])
            .arg(trace),
    )?;
    let json: serde_json::Value = serde_json::from_str(&json).context("reading trace info")?;
    json["records"]
        .as_u64()
        .context("trace info has no records")
}

/// A trace of uftrace, and how many calls are in it.
fn record_uftrace(folder: &Path, calls: u64) -> Result<(std::path::PathBuf, u64)> {
    let (source, program) = (folder.join("traced.c"), folder.join("traced"));
    let data = folder.join("uftrace.data");
    let turns = calls / CALLS_PER_TURN;
    fs::write(&source, TRACED.replace("CALLS", &turns.to_string()))
        .with_context(|| format!("writing {}", source.display()))?;
    child::run(
        Command::new("gcc")
            .args(["-O0", "-pg", "-o"])
            .arg(&program)
            .arg(&source),
    )?;
    child::run(
        Command::new("uftrace")
            .args(["record", "-d"])
            .arg(&data)
            .arg(&program),
    )?;
    Ok((data, turns * CALLS_PER_TURN + 1))
}

/// A trace of perf, and how many samples are in it.
fn record_perf(folder: &Path) -> Result<(std::path::PathBuf, u64)> {
    let data = folder.join("perf.data");
    child::run(
        Command::new("perf")
            .args(["record", "--quiet", "-e", "cpu-clock", "-F", "max", "-o"])
            .arg(&data)
            .args(["--", "sh", "-c", SAMPLED]),
    )?;
    let script = child::output(Command::new("perf").args(["script", "-i"]).arg(&data))?;
    let samples = script.lines().count().try_into()?;
    ensure!(
        samples >= LEAST_SAMPLES,
        "perf took {samples} samples, and {LEAST_SAMPLES} are the least: /proc/sys/kernel/perf_event_max_sample_rate may be low"
    );
    Ok((data, samples))
}

impl Reader {
    fn new(name: &'static str, command: Command, records: Option<u64>) -> Self {
        Self {
            name,
            command,
            records,
            times: Vec::new(),
            resident_kib: 0,
        }
    }

    /// Runs it once, its output thrown away.
    fn measure(&mut self, folder: &Path) -> Result<()> {
        let memory = folder.join("resident");
        let mut command = Command::new(TIME.program);
        command
            .args(["--format", "%M", "--output"])
            .arg(&memory)
            .arg(self.command.get_program())
            .args(self.command.get_args())
            // Where trace-cmd puts what it decompresses.
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let begin = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("starting {}", self.name))?;
        self.times.push(begin.elapsed());
        ensure!(status.success(), "{} ended with {status}", self.name);
        let text =
            fs::read_to_string(&memory).with_context(|| format!("reading {}", memory.display()))?;
        let resident = text.trim().parse().context("time says no memory")?;
        self.resident_kib = self.resident_kib.max(resident);
        Ok(())
    }

    fn seconds(&self) -> Result<f64> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let median = times.get(times.len() / 2).context("nothing was measured")?;
        Ok(median.as_secs_f64())
    }

    /// Millions of records per second.
    fn rate(&self) -> Result<Option<f64>> {
        let seconds = self.seconds()?;
        Ok(self
            .records
            .map(|records| super::quotient(records, 1_000_000) / seconds))
    }
}

fn table(readers: &[Reader]) -> Result<String> {
    let mut text = format!("Reading a trace (median of {ROUNDS} rounds)\n");
    let _ = writeln!(
        text,
        "{:26}{:>10}{:>12}{:>14}{:>12}",
        "", "seconds", "records", "M records/s", "resident"
    );
    for reader in readers {
        let rate = reader
            .rate()?
            .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        let records = reader
            .records
            .map_or_else(|| "-".to_owned(), |records| records.to_string());
        let _ = writeln!(
            text,
            "{:26}{:>10.3}{records:>12}{rate:>14}{:>9} KiB",
            reader.name,
            reader.seconds()?,
            reader.resident_kib
        );
    }
    for (what, ratio, bound) in ratios(readers)? {
        let _ = writeln!(text, "{what}: {ratio:.1}, bound {bound}");
    }
    Ok(text)
}

/// What is claimed: its words, the ratio that was measured, and the least that it must be.
fn ratios(readers: &[Reader]) -> Result<[(&'static str, f64, f64); 3]> {
    let of = |name: &str| {
        readers
            .iter()
            .find(|reader| reader.name == name)
            .with_context(|| format!("{name} was not measured"))
    };
    let (report, replay) = (of("deferinit trace report")?, of("deferinit trace replay")?);
    let (trace_cmd, uftrace) = (of("trace-cmd report")?, of("uftrace report")?);
    let rates = (report.rate()?, uftrace.rate()?);
    let (Some(ours), Some(theirs)) = rates else {
        anyhow::bail!("a rate is missing");
    };
    Ok([
        (
            "trace-cmd report / deferinit trace replay",
            trace_cmd.seconds()? / replay.seconds()?,
            REPLAY_BOUND,
        ),
        (
            "trace-cmd report / deferinit trace report",
            trace_cmd.seconds()? / report.seconds()?,
            REPORT_BOUND,
        ),
        (
            "records per second, deferinit trace report / uftrace report",
            ours / theirs,
            UFTRACE_BOUND,
        ),
    ])
}

/// Holds the measurements against their bounds.
fn judge(readers: &[Reader]) -> Result<()> {
    for (what, ratio, bound) in ratios(readers)? {
        ensure!(
            ratio >= bound,
            "{what} is {ratio:.1}, and {bound} is the least"
        );
    }
    for reader in readers
        .iter()
        .filter(|one| one.name.starts_with("deferinit"))
    {
        ensure!(
            reader.resident_kib <= MEMORY_BOUND,
            "{} took {} KiB, and {MEMORY_BOUND} KiB is the most",
            reader.name,
            reader.resident_kib
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(name: &'static str, records: Option<u64>, milliseconds: &[u64]) -> Reader {
        let mut reader = Reader::new(name, Command::new("true"), records);
        reader.times = milliseconds
            .iter()
            .map(|time| Duration::from_millis(*time))
            .collect();
        reader
    }

    fn readers(report: u64) -> [Reader; 4] {
        [
            reader("deferinit trace report", Some(3_000_000), &[report]),
            reader("deferinit trace replay", Some(3_000_000), &[400]),
            reader("trace-cmd report", Some(3_000_000), &[9000, 6000, 5000]),
            reader("uftrace report", Some(3_000_000), &[600]),
        ]
    }

    #[test]
    fn ratios_are_of_medians_and_bounds_are_held() {
        let ratios = ratios(&readers(200)).expect("all are there");
        assert_eq!(ratios.map(|(_, ratio, _)| ratio.round()), [15.0, 30.0, 3.0]);
        assert!(judge(&readers(200)).is_ok());
        let error = judge(&readers(300)).expect_err("too slow");
        assert!(error.to_string().contains("20.0, and 30"), "{error}");
        let mut large = readers(200);
        large[0].resident_kib = MEMORY_BOUND + 1;
        assert!(judge(&large).is_err());
        let text = table(&readers(200)).expect("a table");
        assert!(
            text.contains("trace-cmd report / deferinit trace replay: 15.0"),
            "{text}"
        );
    }
}
