// SPDX-License-Identifier: GPL-2.0-only

//! What a scenario wants its reader to see after a run: `report/show.txt` in the run's folder.
//!
//! In: the scenario's `show`, and the folder of a run. Out: a text with a part for each entry. What cannot be shown says
//! why; it changes no verdict.

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deferinit_ftrace::record::Record;
use deferinit_scenario::{EventSelection, Scenario, Show};
use deferinit_trace::events::{List, Selection as Events};
use deferinit_trace::fields::Fields;
use deferinit_trace::functions::Functions;
use deferinit_trace::glob::Glob;
use deferinit_trace::names::Names;
use deferinit_trace::replay::{KernelReplay, Selection as Calls};
use deferinit_trace::report::FunctionStatistics;

use crate::args::trace::Window;
use crate::commands::trace::constants;
use crate::exit::Failure;
use crate::trace_file::Trace;

/// Where the text is in a run's folder.
const SHOWN: &str = "report/show.txt";

/// The lines of each part; the commands of `deferinit trace` show all.
const MOST_LINES: usize = 60;

/// The records that a part is made of at most.
const MOST_RECORDS: u64 = 200;

/// Writes the text for a run in `folder`, if its scenario wants something to be seen.
///
/// # Errors
/// If the text cannot be written.
pub(crate) fn write(scenario: &Scenario, folder: &Path) -> Result<()> {
    if scenario.show.is_empty() {
        return Ok(());
    }
    let mut shown = String::new();
    for view in &scenario.show {
        let (title, text) = part(view, folder);
        let text = text.unwrap_or_else(|failure| {
            let why = failure.to_string();
            format!("not shown: {}", why.strip_prefix("error: ").unwrap_or(&why))
        });
        let text = text.trim_end();
        let lines: Vec<&str> = text.lines().take(MOST_LINES).collect();
        let left_out = text.lines().count().saturating_sub(lines.len());
        writeln!(shown, "== {title} ==\n{}", lines.join("\n"))?;
        if left_out > 0 {
            writeln!(shown, "... and {left_out} more lines")?;
        }
        shown.push('\n');
    }
    let path = folder.join(SHOWN);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    fs::write(&path, shown).with_context(|| format!("cannot write {}", path.display()))
}

/// The text of a run, if there is one.
pub(crate) fn read(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(SHOWN)).ok()
}

/// A part's title, and what stands below it.
fn part(view: &Show, folder: &Path) -> (String, Result<String, Failure>) {
    let reports = folder.join("trace/reports");
    match view {
        Show::Replay(None) => ("calls".to_owned(), replay(folder, None)),
        Show::Replay(Some(name)) => (format!("calls of {name}"), replay(folder, Some(name))),
        Show::Report => ("functions".to_owned(), statistics(folder)),
        Show::Events(event) => (format!("events {event}"), events(folder, event)),
        Show::Stack(event) => (format!("stack traces of {event}"), events(folder, event)),
        Show::Latency => (
            "longest latency".to_owned(),
            file(&reports.join("instance/trace")),
        ),
        Show::Profile => (
            "function profile".to_owned(),
            files(&reports.join("top/trace_stat")),
        ),
        Show::StackSize => (
            "deepest stack".to_owned(),
            file(&reports.join("top/stack_trace")),
        ),
        Show::Histogram(event) => {
            let path = format!("instance/events/{}/hist", event.replace(':', "/"));
            (format!("histogram of {event}"), file(&reports.join(path)))
        }
        Show::CommandOutput => ("output".to_owned(), files(&folder.join("trace/output"))),
    }
}

/// A text of the guest.
fn file(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::setup)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The texts of a folder, by name.
fn files(folder: &Path) -> Result<String, Failure> {
    let listing = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))
        .map_err(Failure::setup)?;
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let texts: Result<Vec<String>, Failure> = paths.iter().map(|path| file(path)).collect();
    Ok(texts?.concat())
}

/// The calls in the kernel's style.
fn replay(folder: &Path, function: Option<&str>) -> Result<String, Failure> {
    let trace = Trace::open_path(folder, None, true)?;
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let cpus = trace.buffer.cpus.iter().map(|section| section.cpu).max();
    let selection = Calls {
        functions: function.map(Glob::new),
        ..Calls::default()
    };
    let mut replay = KernelReplay::new(
        Functions::new(&symbols),
        &tasks,
        cpus.map_or(1, |cpu| cpu.saturating_add(1)),
        selection,
    )
    .with_irq_text(symbols.irq_entry_text());
    let mut out = Vec::new();
    replay.header(&mut out);
    let fields = Fields::new(trace.file.formats());
    let constants = constants(&trace)?;
    let mut names = Names::new(&symbols, &tasks).with_constants(&constants);
    let mut render =
        |record: &Record<'_>, into: &mut Vec<u8>| fields.text(record, &mut names, into);
    trace.each(&Window::default(), |step| {
        if step.follows_loss() {
            replay.lost(step.record.cpu, None, &mut out);
        }
        replay.record(
            step.record,
            step.following().as_ref(),
            &mut render,
            &mut out,
        );
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Calls and times by function.
fn statistics(folder: &Path) -> Result<String, Failure> {
    let trace = Trace::open_path(folder, None, true)?;
    let mut statistics = FunctionStatistics::default();
    trace.each(&Window::default(), |step| {
        if step.follows_loss() {
            statistics.lost(None);
        }
        statistics.record(step.record);
        Ok(ControlFlow::Continue(()))
    })?;
    let symbols = trace.symbols()?;
    let report = statistics.finish(&mut Functions::new(&symbols));
    let mut out = Vec::new();
    report.write_table(&mut out);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The records of an event, each with its stack trace if it has one.
fn events(folder: &Path, event: &EventSelection) -> Result<String, Failure> {
    let trace = Trace::open_path(folder, None, true)?;
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let constants = constants(&trace)?;
    let mut names = Names::new(&symbols, &tasks).with_constants(&constants);
    let formats = trace.file.formats();
    let fields = Fields::new(formats);
    let selection = Events::new(
        &[&event.event],
        event.filter.as_deref(),
        formats,
        &fields,
        (&names).into(),
    )
    .context("what is to be seen")
    .map_err(Failure::setup)?;
    let mut out = Vec::new();
    let mut list = List::new(selection, Some(MOST_RECORDS), &mut out);
    trace.each(&Window::default(), |step| {
        list.record(step.record, &mut names)
            .context("cannot keep a line")
            .map_err(Failure::setup)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let tally = list
        .finish()
        .context("cannot keep a line")
        .map_err(Failure::setup)?;
    let left_out = tally.selected.saturating_sub(tally.written);
    let mut text = String::from_utf8_lossy(&out).into_owned();
    if left_out > 0 {
        text += &format!("... and {left_out} more records\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(show: &str, files: &[(&str, &str)]) -> Option<String> {
        let text = format!(
            "summary: x\ntrace: {{ tracer: wakeup }}\ncommand: echo\nexpect: [exit: {{ equals: 0 }}]\n{show}"
        );
        let scenario = deferinit_scenario::parse("x", text.as_bytes()).expect("a scenario");
        let folder = tempfile::tempdir().expect("a folder");
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        write(&scenario, folder.path()).expect("a text");
        read(folder.path())
    }

    #[test]
    fn each_part_has_its_title_and_what_is_missing_says_so() {
        let text = shown(
            "show: [command-output, latency]\n",
            &[("trace/output/main", "one\ntwo\n")],
        );
        let text = text.expect("a text");
        assert!(
            text.starts_with("== output ==\none\ntwo\n\n== longest latency ==\n"),
            "{text}"
        );
        assert!(text.contains("not shown: cannot read "), "{text}");
    }

    #[test]
    fn long_parts_are_cut_and_nothing_is_written_for_nothing() {
        let long = "x\n".repeat(MOST_LINES + 5);
        let text = shown("show: [command-output]\n", &[("trace/output/main", &long)]);
        let text = text.expect("a text");
        assert!(text.ends_with("x\n... and 5 more lines\n\n"), "{text}");
        assert_eq!(shown("", &[]), None);
    }
}
