// SPDX-License-Identifier: GPL-2.0-only

//! Replays held against what `trace-cmd report` shows for the same records. trace-cmd must be installed: `make setup`
//! does that.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the reader is another program, and takes a file"
)]

use std::collections::BTreeMap;
use std::process::Command;

use deferinit_ftrace::record::{Event, Record};
use deferinit_trace::functions::Functions;
use deferinit_trace::replay::{Columns, KernelReplay, LocalReplay, Selection};

use crate::capture::{Recorded, smp, whole};

/// A line of a call: CPU, duration in microseconds, blanks before the text, and the text. The marks before durations are
/// left out: trace-cmd's are those of old kernels.
type Line = (u32, Option<String>, usize, String);

fn trace_cmd(recorded: &Recorded) -> Vec<Line> {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("trace.dat");
    std::fs::write(&path, recorded.trace_dat()).expect("the folder is new and ours");
    let output = Command::new("trace-cmd")
        .args(["report", "-O", "fgraph:tailprint"])
        .arg(&path)
        // trace-cmd puts decompressed data there.
        .env("TMPDIR", folder.path())
        .output()
        .expect("trace-cmd is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("trace-cmd writes UTF-8");
    let calls = text.lines().filter_map(|line| {
        let (place, call) = line
            .split_once(" funcgraph_entry: ")
            .or_else(|| line.split_once(" funcgraph_exit: "))?;
        let (_, place) = place.split_once('[').expect("a line has a CPU");
        let cpu = place[..3].parse().expect("a CPU is a number");
        Some(line_of(cpu, call))
    });
    calls.collect()
}

fn line_of(cpu: u32, call: &str) -> Line {
    let (duration, text) = call.split_once('|').expect("durations end at a bar");
    let number = duration
        .split_whitespace()
        .find(|word| word.contains(|digit: char| digit.is_ascii_digit()));
    let indent = text.len() - text.trim_start().len();
    let text = text.trim().to_owned();
    (cpu, number.map(str::to_owned), indent, text)
}

fn following<'a>(records: &'a [Record<'a>], place: usize) -> Option<&'a Record<'a>> {
    let cpu = records[place].cpu;
    records[place + 1..].iter().find(|next| next.cpu == cpu)
}

fn kernel_style(recorded: &Recorded) -> String {
    let (symbols, tasks) = (recorded.symbols(), recorded.tasks());
    let columns = Columns {
        tail: true,
        ..Columns::default()
    };
    let mut replay = KernelReplay::new(
        Functions::new(&symbols),
        &tasks,
        recorded.cpus(),
        Selection::default(),
    )
    .with_columns(columns);
    let mut out = Vec::new();
    recorded.with_records(|records| {
        for (place, record) in records.iter().enumerate() {
            let mut render = |_: &Record<'_>, out: &mut Vec<u8>| out.extend(b"event");
            replay.record(record, following(records, place), &mut render, &mut out);
        }
    });
    String::from_utf8(out).expect("names are ASCII")
}

#[track_caller]
fn check(recorded: &Recorded, at_least: usize) {
    let text = kernel_style(recorded);
    let ours: Vec<Line> = text
        .lines()
        .filter(|line| line.contains('|') && !line.contains("/* event */"))
        .filter(|line| !line.contains("/* deferinit: "))
        .map(|line| {
            let (cpu, call) = line.split_once(')').expect("a line has a CPU");
            // trace-cmd leaves modules out.
            let call = call.replace(" [test_deferred]", "");
            line_of(cpu.trim().parse().expect("a CPU is a number"), &call)
        })
        .collect();
    let theirs = trace_cmd(recorded);
    assert!(theirs.len() >= at_least, "{} lines", theirs.len());
    if recorded.cpus() == 1 {
        assert_eq!(
            ours.len(),
            theirs.len(),
            "leaves are on one line for both, since every record that follows is of the same CPU"
        );
    }
    for cpu in 0..recorded.cpus() {
        let (ours, theirs) = (records_of(cpu, &ours), records_of(cpu, &theirs));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            // The kernel cuts a duration at seven digits.
            let shown = ours.1.as_ref().map_or(0, String::len);
            let duration = theirs.1.as_deref().and_then(|text| text.get(..shown));
            assert_eq!(
                (ours.0, ours.1.as_deref(), &ours.2),
                (theirs.0, duration, &theirs.2)
            );
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// Blanks before the text, duration and function of each entry and exit of a CPU. A leaf is both: trace-cmd takes a call
/// for a leaf only if no record of another CPU is between its entry and its exit.
fn records_of(cpu: u32, lines: &[Line]) -> Vec<(usize, Option<String>, String)> {
    let mut records = Vec::new();
    for (_, duration, indent, text) in lines.iter().filter(|line| line.0 == cpu) {
        let end = text.strip_prefix("} /* ");
        if let Some(function) = end.and_then(|text| text.strip_suffix(" */")) {
            records.push((*indent, duration.clone(), format!("end of {function}")));
        } else if let Some(function) = text.strip_suffix("() {") {
            records.push((*indent, None, function.to_owned()));
        } else if let Some(function) = text.strip_suffix("();") {
            records.push((*indent, None, function.to_owned()));
            records.push((*indent, duration.clone(), format!("end of {function}")));
        } else {
            panic!("{text:?} is no call");
        }
    }
    records
}

#[test]
fn trace_cmd_shows_the_same_calls_of_two_cpus() {
    check(&smp(), 3_000);
}

#[test]
fn trace_cmd_shows_the_same_calls_of_a_whole_capture() {
    check(&whole(), 10);
}

/// All lines of the kernel's layout, blocks and comments included, are of a known kind.
#[test]
fn every_line_is_one_the_kernel_writes() {
    let text = kernel_style(&smp());
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        let kind = match line {
            "" => "blank",
            line if line.starts_with(" ----") => "rule",
            line if line.contains(" => ") && !line.contains('|') => "switch",
            line if line.ends_with("/* event */") => "comment",
            line if line.ends_with("() {") => "entry",
            line if line.ends_with("();") => "leaf",
            line if line.ends_with("*/") && line.contains("} /* ") => "end",
            _ => panic!("{line:?} is no line of the kernel's"),
        };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    let count = |kind| kinds.get(kind).copied().unwrap_or(0);
    assert!(count("switch") > 0);
    assert_eq!(count("rule"), 2 * count("switch"));
    assert_eq!(count("blank"), count("switch"));
    smp().with_records(|records| {
        let entries = records
            .iter()
            .filter(|record| matches!(record.event, Event::FuncgraphEntry { .. }));
        assert_eq!(count("entry") + count("leaf"), entries.count());
        let exits = records
            .iter()
            .filter(|record| matches!(record.event, Event::FuncgraphExit { .. }));
        assert_eq!(count("end") + count("leaf"), exits.count());
    });
}

#[test]
fn the_local_style_has_every_call_once_below_its_caller() {
    let recorded = smp();
    let symbols = recorded.symbols();
    let mut replay = LocalReplay::new(Functions::new(&symbols), Selection::default());
    let mut out = Vec::new();
    let account = recorded.with_records(|records| {
        for record in records {
            replay.record(record, &mut out);
        }
        replay.finish(&mut out)
    });
    let text = String::from_utf8(out).expect("names are ASCII");
    let matched = account.entries - account.open_at_end - account.entries_without_exit;
    let calls = account.entries + (account.exits - matched);
    assert_eq!(text.lines().count() as u64, calls);
    assert!(account.exits_without_entry > 0 && account.open_at_end > 0);
    // The last line of each level, per task: its self time, and what those below it took.
    let mut levels: BTreeMap<String, Vec<(f64, f64, f64)>> = BTreeMap::new();
    let mut sums = 0;
    let mut close = |levels: &mut Vec<(f64, f64, f64)>, level: usize| {
        while levels.len() > level {
            let (duration, own, below) = levels.pop().expect("it is longer");
            if own >= 0.0 {
                assert!(
                    (duration - own - below).abs() < 0.0005,
                    "{duration} {own} {below}"
                );
                sums += 1;
            }
        }
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let level = words[4..]
            .iter()
            .take_while(|word| ["|", "!"].contains(word))
            .count();
        let levels = levels.entry(words[3].to_owned()).or_default();
        close(levels, level);
        let number = |word: &str| word.parse::<f64>().ok();
        let duration = number(words[1]).unwrap_or(f64::NAN);
        if let Some(around) = levels.last_mut() {
            around.2 += duration;
        }
        // A mark makes it no number: nothing is claimed of it.
        levels.push((duration, number(words[2]).unwrap_or(-1.0), 0.0));
    }
    for levels in levels.values_mut() {
        close(levels, 0);
    }
    assert!(sums > 2_000, "{sums} self times were added up");
}
