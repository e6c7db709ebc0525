// SPDX-License-Identifier: GPL-2.0-only

//! The first way in which two runs of one scenario differ.
//!
//! In: two runs, and the folders they left. Out: what differs, and both sides of it. What of a folder is the host's own,
//! process ids and QEMU's time stamps, is left out of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use deferinit_ftrace::capture::Records;
use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_report::RunResult;
use deferinit_timeline::TraceNanos;
use deferinit_trace::events::push_line;
use deferinit_trace::fields::Fields;
use deferinit_trace::names::Names;

use crate::exit::Failure;
use crate::trace_file::{AheadBlocks, Trace};

/// What the guest printed, what it sent, and what was made of it; beside these, all below `trace/`.
const FILES: [&str; 3] = ["console.log", "results.bin", "timeline.json"];

/// The folder of what the guest sent, by files.
const TRACE: &str = "trace";

/// The archive in it, whose records are compared one by one.
const TRACE_DAT: &str = "trace.dat";

/// How two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What differs first, in one line.
    pub(crate) what: String,
    /// Both sides of it, a line each.
    pub(crate) sides: Vec<String>,
}

/// Compares traces, figures, checks, the console and all that the guest sent, in this order.
///
/// # Errors
/// If what a run has left cannot be read.
pub(crate) fn difference(first: &RunResult, other: &RunResult) -> Result<Option<Difference>> {
    let folders = [Path::new(&first.folder), Path::new(&other.folder)];
    let names = [first, other].map(|run| format!("run {}", run.repetition.index));
    if first.trace_sha256 != other.trace_sha256 {
        return in_traces(folders, &names).map(Some);
    }
    if let Some(found) = in_figures(first, other, &names) {
        return Ok(Some(found));
    }
    let verdicts = [first, other].map(|run| &run.judgement);
    if verdicts[0] != verdicts[1] {
        return Ok(Some(Difference {
            what: "the verdict differs, or a check".to_owned(),
            sides: sides(
                &names,
                verdicts.map(|judgement| {
                    let verdict = &judgement.verdict;
                    format!("{} {}", verdict.word(), verdict.reason())
                }),
            ),
        }));
    }
    in_files(folders, &names)
}

fn sides(names: &[String; 2], texts: [String; 2]) -> Vec<String> {
    let lines = names.iter().zip(texts);
    lines
        .map(|(name, text)| format!("{name}: {}", text.trim()))
        .collect()
}

fn in_figures(first: &RunResult, other: &RunResult, names: &[String; 2]) -> Option<Difference> {
    let figures = [first, other].map(|run| &run.judgement.measurements);
    let all: BTreeSet<&String> = figures.iter().flat_map(|figures| figures.keys()).collect();
    let name = all
        .into_iter()
        .find(|name| figures[0].get(*name) != figures[1].get(*name))?;
    let text = |value: Option<&i64>| value.map_or("absent".to_owned(), i64::to_string);
    Some(Difference {
        what: format!("{name} differs"),
        sides: sides(names, figures.map(|figures| text(figures.get(name)))),
    })
}

/// The first record that differs, in the traces of all boots.
fn in_traces(folders: [&Path; 2], names: &[String; 2]) -> Result<Difference> {
    let mut archives = BTreeSet::new();
    for folder in folders {
        archives.extend(
            files_below(folder)?
                .into_iter()
                .filter(|file| file.ends_with(TRACE_DAT)),
        );
    }
    for archive in &archives {
        let paths = folders.map(|folder| folder.join(archive));
        if let Some(found) = missing(&paths, archive, names) {
            return Ok(found);
        }
        if let Some(found) = in_records(&paths, names).map_err(|failure| anyhow!("{failure}"))? {
            return Ok(found);
        }
    }
    Ok(Difference {
        what: "the bytes of the traces differ, though their records read the same".to_owned(),
        sides: Vec::new(),
    })
}

/// Says that a file of one run is not there in the other.
fn missing(paths: &[PathBuf; 2], file: &Path, names: &[String; 2]) -> Option<Difference> {
    let absent = paths.iter().zip(names).find(|(path, _)| !path.is_file());
    absent.map(|(_, name)| Difference {
        what: format!("{name} has left no {}", file.display()),
        sides: Vec::new(),
    })
}

/// A trace with what its records are shown by.
struct Shown {
    trace: Trace,
    symbols: Symbols,
    tasks: SavedCmdlines,
}

impl Shown {
    fn open(path: &Path) -> Result<Self, Failure> {
        let trace = Trace::open_path(path, None, false)?;
        let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
        Ok(Self {
            trace,
            symbols,
            tasks,
        })
    }

    fn text(&self, record: Option<&Record<'_>>) -> String {
        let Some(record) = record else {
            return "no more records".to_owned();
        };
        let mut line = Vec::new();
        let mut names = Names::new(&self.symbols, &self.tasks);
        let fields = Fields::new(self.trace.file.formats());
        push_line(&mut line, record, &fields, &mut names);
        String::from_utf8_lossy(&line).into_owned()
    }
}

/// What a record is told from another by: its CPU, its time and its bytes.
fn identity<'a>(records: &'a Records<'_, AheadBlocks>) -> Option<(u32, u64, &'a [u8])> {
    let head = records.head()?;
    Some((head.cpu, head.timestamp_ns, records.payload()?))
}

/// The first record that differs, by time; a side that has ended has none.
fn in_records(paths: &[PathBuf; 2], names: &[String; 2]) -> Result<Option<Difference>, Failure> {
    let (first, other) = (Shown::open(&paths[0])?, Shown::open(&paths[1])?);
    let (mut ours, mut theirs) = (first.trace.records(), other.trace.records());
    let mut number = 0u64;
    loop {
        let is_there = (ours.advance(), theirs.advance());
        if is_there == (false, false) {
            return Ok(None);
        }
        number += 1;
        if is_there == (true, true) && identity(&ours) == identity(&theirs) {
            continue;
        }
        let heads = (
            ours.head().filter(|_| is_there.0),
            theirs.head().filter(|_| is_there.1),
        );
        let at = |record: Option<&Record<'_>>| {
            record.map_or("nowhere".to_owned(), |record| {
                let time = TraceNanos(record.timestamp_ns);
                format!("on CPU {} at {time}", record.cpu)
            })
        };
        let (here, there) = (at(heads.0.as_ref()), at(heads.1.as_ref()));
        let place = if here == there {
            here
        } else {
            format!("{here} and {there}")
        };
        let texts = [first.text(heads.0.as_ref()), other.text(heads.1.as_ref())];
        return Ok(Some(Difference {
            what: format!("the trace differs from record {number} on, {place}"),
            sides: sides(names, texts),
        }));
    }
}

fn in_files(folders: [&Path; 2], names: &[String; 2]) -> Result<Option<Difference>> {
    let mut files = BTreeSet::new();
    for folder in folders {
        files.extend(files_below(folder)?);
    }
    for file in &files {
        let paths = folders.map(|folder| folder.join(file));
        if let Some(found) = missing(&paths, file, names) {
            return Ok(Some(found));
        }
        let (first, other) = (read(&paths[0])?, read(&paths[1])?);
        if first != other {
            return Ok(Some(in_lines(file, &first, &other, names)));
        }
    }
    Ok(None)
}

fn in_lines(file: &Path, first: &[u8], other: &[u8], names: &[String; 2]) -> Difference {
    let file = file.display();
    let (Ok(first), Ok(other)) = (str::from_utf8(first), str::from_utf8(other)) else {
        let same = first.iter().zip(other).take_while(|(a, b)| a == b).count();
        return Difference {
            what: format!("{file} differs from byte {same} on"),
            sides: Vec::new(),
        };
    };
    let (mut ours, mut theirs) = (first.lines(), other.lines());
    let mut number = 0u64;
    loop {
        number += 1;
        match (ours.next(), theirs.next()) {
            // They differ in what ends a line.
            (None, None) => {
                return Difference {
                    what: format!("{file} differs in what ends its lines"),
                    sides: Vec::new(),
                };
            }
            (first, other) if first == other => {}
            lines => {
                let text = |line: Option<&str>| line.unwrap_or("no more lines").to_owned();
                return Difference {
                    what: format!("{file} differs from line {number} on"),
                    sides: sides(names, [text(lines.0), text(lines.1)]),
                };
            }
        }
    }
}

/// The files that must be the same, by their paths from the run's folder.
fn files_below(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    collect(folder, Path::new(""), &mut files)
        .with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(files)
}

fn collect(folder: &Path, prefix: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(prefix))? {
        let entry = entry?;
        let path = prefix.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(folder, &path, files)?;
        } else if path.iter().any(|part| part == TRACE)
            || FILES.iter().any(|name| path.ends_with(name))
        {
            files.insert(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["run 1", "run 2"];

    fn left(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        folder
    }

    fn check(first: &[(&str, &str)], other: &[(&str, &str)]) -> Option<Difference> {
        let (first, other) = (left(first), left(other));
        in_files([first.path(), other.path()], &NAMES.map(str::to_owned)).expect("readable")
    }

    #[test]
    fn what_the_guest_printed_and_sent_is_compared_and_what_is_the_hosts_is_not() {
        let same = [
            ("vm/console.log", "a\n"),
            ("trace/dmesg", "b\n"),
            ("direct/trace/stats/cpu0", "c"),
        ];
        assert_eq!(check(&same, &same), None);
        let mut pid = same.to_vec();
        pid.push(("vm/pid", "7\n"));
        assert_eq!(check(&pid, &same), None);
        for changed in 0..same.len() {
            let mut other = same;
            other[changed].1 = "something else";
            let found = check(&same, &other).expect("a difference");
            assert_eq!(
                found.what,
                format!("{} differs from line 1 on", same[changed].0)
            );
            assert_eq!(found.sides[1], "run 2: something else");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_binary_or_ends_early_is_named() {
        let found = check(&[("vm/results.bin", "x")], &[]).expect("a difference");
        assert_eq!(found.what, "run 2 has left no vm/results.bin");
        let found = check(
            &[("vm/console.log", "a\nb\n")],
            &[("vm/console.log", "a\n")],
        );
        let found = found.expect("a difference");
        assert_eq!(found.what, "vm/console.log differs from line 2 on");
        assert_eq!(found.sides, ["run 1: b", "run 2: no more lines"]);
        let found = check(&[("vm/console.log", "a\n")], &[("vm/console.log", "a")]);
        assert_eq!(
            found.expect("a difference").what,
            "vm/console.log differs in what ends its lines"
        );
        let names = NAMES.map(str::to_owned);
        let found = in_lines(Path::new("x"), b"ab\xff", b"ab\xfe", &names);
        assert_eq!(found.what, "x differs from byte 2 on");
    }
}
