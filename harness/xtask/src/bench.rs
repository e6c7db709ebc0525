// SPDX-License-Identifier: GPL-2.0-only

//! Measures what the README claims, each figure as a ratio to a peer in the same run.
//!
//! In: the workspace, a kernel in the cache, trace-cmd. Out: a table.
//! The overhead of an item is the time from `workqueue_execute_start` to its body and from its body to
//! `workqueue_execute_end`, in a guest whose clock counts instructions: so it is a number of instructions, the same in
//! every run. The peer is the same item in C (`module/twin.c`), in the same guest and the same trace.

mod boots;
mod readers;

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    child::{self, Tool},
    steps::cargo,
};

const TRACE_CMD: Tool = Tool {
    program: "trace-cmd",
    install: "apt-get install trace-cmd",
};

/// The scenario, below the workspace's root.
const SCENARIO: &str = "harness/xtask/bench/item-overhead.yaml";

/// Its name in the output: that of its file.
const NAME: &str = "item-overhead";

/// The body of an item of the module, and that of its twin.
const BODIES: [(&str, &str); 2] = [("Rust", "deferred_item_body"), ("C", "twin_item_body")];

/// The most the Rust item may cost, as a multiple of the one in C.
const LIMIT: f64 = 1.5;

/// Nanoseconds that an instruction takes on the exact clock: 2 to the `shift` of `vm/machines/x86_64.toml`.
const NANOS_PER_INSTRUCTION: u64 = 16;

/// Runs the measurements and prints their table.
///
/// # Errors
/// A tool is missing, the run does not pass, or a figure misses its limit.
pub(crate) fn run(root: &Path) -> Result<()> {
    TRACE_CMD.require()?;
    let out = tempfile::tempdir().context("cannot make a folder")?;
    let twin = deferinit(root, &["module", "path", "test_deferred_twin"])?;
    let run = [
        "run",
        SCENARIO,
        "--insmod",
        twin.trim(),
        "--out",
        &out.path().display().to_string(),
    ];
    deferinit(root, &run)?;
    let trace = find_trace(out.path())?;
    let text = child::output(
        Command::new(TRACE_CMD.program)
            .args(["report", "-t"])
            .arg(trace),
    )?;
    let [rust, c] = BODIES.map(|(_, body)| overheads(&text, body));
    print!("{}", table(&rust, &c)?);
    let ratio = ratio(&rust, &c)?;
    ensure!(
        ratio <= LIMIT,
        "an item in Rust costs {ratio:.2} times that in C, and {LIMIT} is the limit"
    );
    println!();
    let boots = boots::run(root);
    println!();
    readers::run(root).and(boots)
}

fn deferinit(root: &Path, arguments: &[&str]) -> Result<String> {
    child::output(
        cargo(root)
            .args(["run", "--quiet", "--package", "deferinit", "--"])
            .args(arguments),
    )
}

/// The trace of the one scenario that was run.
fn find_trace(out: &Path) -> Result<std::path::PathBuf> {
    let mut folders = vec![out.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.ends_with("trace/trace.dat") {
                return Ok(path);
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    anyhow::bail!("the run of {NAME} has left no trace")
}

/// What one item costs beside its body, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overhead {
    before: u64,
    after: u64,
}

/// The overheads of all items whose body has this name, in the text of `trace-cmd report -t`. One CPU: its lines are in
/// the order of time, and a work is not preempted by another between its start and its end.
fn overheads(report: &str, body: &str) -> Vec<Overhead> {
    let call = format!("{body}()");
    let mut found = Vec::new();
    let mut start = None;
    let mut entry = None;
    let mut exit = None;
    for line in report.lines() {
        let Some((time, event)) = time_and_event(line) else {
            continue;
        };
        if event.starts_with("workqueue_execute_start:") {
            (start, entry, exit) = (Some(time), None, None);
        } else if event.starts_with("funcgraph_entry:") && event.contains(&call) {
            // A leaf is one line, with its duration, at the time of its entry.
            entry = Some(time);
            exit = leaf_duration(event).map(|duration| time + duration);
        } else if event.starts_with("funcgraph_exit:") && entry.is_some() && exit.is_none() {
            exit = Some(time);
        } else if event.starts_with("workqueue_execute_end:")
            && let (Some(start), Some(entry), Some(exit)) =
                (start.take(), entry.take(), exit.take())
        {
            found.push(Overhead {
                before: entry - start,
                after: time - exit,
            });
        }
    }
    found
}

/// The nanoseconds and the event of a line such as `kworker/0:1-10 [000] 3.913032304: workqueue_execute_end: ...`.
fn time_and_event(line: &str) -> Option<(u64, &str)> {
    let (_, rest) = line.split_once(']')?;
    let (time, event) = rest.trim_start().split_once(": ")?;
    let (seconds, nanos) = time.split_once('.')?;
    let nanos: u64 = nanos.parse().ok().filter(|_| nanos.len() == 9)?;
    let seconds: u64 = seconds.parse().ok()?;
    Some((seconds * 1_000_000_000 + nanos, event.trim_start()))
}

/// The duration of a call that is shown in one line: `funcgraph_entry:  1.024 us | twin_item_body();`.
fn leaf_duration(event: &str) -> Option<u64> {
    let (duration, _) = event.split_once(" us")?;
    let number = duration.split_whitespace().last()?;
    let (micros, nanos) = number.split_once('.')?;
    let micros: u64 = micros.parse().ok()?;
    Some(micros * 1000 + nanos.parse::<u64>().ok()?)
}

fn median(mut values: Vec<u64>) -> Result<u64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    values.get(middle).copied().context("no item was measured")
}

fn medians(overheads: &[Overhead]) -> Result<(u64, u64)> {
    let before = median(overheads.iter().map(|overhead| overhead.before).collect())?;
    let after = median(overheads.iter().map(|overhead| overhead.after).collect())?;
    Ok((before, after))
}

fn ratio(rust: &[Overhead], c: &[Overhead]) -> Result<f64> {
    let (rust, c) = (medians(rust)?, medians(c)?);
    Ok(quotient(rust.0 + rust.1, c.0 + c.1))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "the numbers are far below 2 to the 52"
)]
fn quotient(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

fn table(rust: &[Overhead], c: &[Overhead]) -> Result<String> {
    let mut text = String::from("Instructions beside the body of an item (median)\n");
    let _ = writeln!(
        text,
        "{:8}{:>8}{:>8}{:>8}{:>8}",
        "", "items", "before", "after", "both"
    );
    for ((language, _), overheads) in BODIES.iter().zip([rust, c]) {
        let (before, after) = medians(overheads)?;
        let [before, after] = [before, after].map(|nanos| nanos / NANOS_PER_INSTRUCTION);
        let items = overheads.len();
        let both = before + after;
        let _ = writeln!(text, "{language:8}{items:>8}{before:>8}{after:>8}{both:>8}");
    }
    let _ = writeln!(text, "Rust / C: {:.2}, limit {LIMIT}", ratio(rust, c)?);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
cpus=1
     kworker/0:1-10    [000]     3.000001000: workqueue_execute_start: work struct 0xffff: function twin_work
     kworker/0:1-10    [000]     3.000001500: twin_item_started:    id=0 time_ns=3000001490
     kworker/0:1-10    [000]     3.000002000: funcgraph_entry:        0.500 us   |  twin_item_body();
     kworker/0:1-10    [000]     3.000003700: workqueue_execute_end: work struct 0xffff: function twin_work
     kworker/0:1-10    [000]     4.000000000: workqueue_execute_start: work struct 0xffff: function vmstat_update
     kworker/0:1-10    [000]     4.000001000: workqueue_execute_end: work struct 0xffff: function vmstat_update
     kworker/0:1-10    [000]     5.000001000: workqueue_execute_start: work struct 0xffff: function run
     kworker/0:1-10    [000]     5.000002200: funcgraph_entry:                   |  deferred_item_body() {
     kworker/0:1-10    [000]     5.000002600: funcgraph_exit:         0.400 us   |  }
     kworker/0:1-10    [000]     5.000004600: workqueue_execute_end: work struct 0xffff: function run
";

    #[test]
    fn overheads_are_what_lies_outside_the_body() {
        let [rust, c] = BODIES.map(|(_, body)| overheads(REPORT, body));
        assert_eq!(
            c,
            [Overhead {
                before: 1000,
                after: 1200
            }]
        );
        assert_eq!(
            rust,
            [Overhead {
                before: 1200,
                after: 2000
            }]
        );
        let ratio = ratio(&rust, &c).expect("both were measured");
        assert!((ratio - 3200.0 / 2200.0).abs() < 1e-9, "{ratio}");
        assert!(
            table(&rust, &c)
                .expect("a table")
                .contains("Rust / C: 1.45")
        );
    }

    #[test]
    fn nothing_measured_is_an_error() {
        assert!(ratio(&[], &[]).is_err());
        assert!(overheads("cpus=1\n", "twin_item_body").is_empty());
    }
}
