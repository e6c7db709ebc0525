// SPDX-License-Identifier: GPL-2.0-only

//! The report for the terminal.
//!
//! In: the runs. Out: text: a table with a row per scenario, then what is to know about each run
//! beyond a pass, then one line for all. Runs that ended alike are shown once.

use std::{collections::BTreeSet, fmt::Write as _};

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};
use deferinit_check::Verdict;

use crate::{
    Colour, RunResult, Terminal,
    detail::detail,
    figures::figures,
    model::scenarios,
    text::{clean_line, counted, range, seconds, time},
};

/// How many functions of a scenario are shown, those with the most time first.
const SHOWN_FUNCTIONS: usize = 20;

/// The report for the terminal, each line ended by a newline. Where all runs are of one scenario,
/// it has a table of that scenario's functions as well, and the sum of its trace.
#[must_use]
pub fn table(results: &[RunResult], terminal: Terminal) -> String {
    let scenarios = scenarios(results);
    let mut text = overview(&scenarios, terminal);
    if let [(_, runs)] = scenarios.as_slice() {
        text.push_str(&functions(runs, terminal));
        text.push_str(&trace(runs));
    }
    for (name, runs) in &scenarios {
        text.push_str(&details(name, runs, terminal.colour));
    }
    let _ = writeln!(text, "\n{}", sum(scenarios.len(), results));
    text
}

/// One row per scenario.
fn overview(scenarios: &[(&str, Vec<&RunResult>)], terminal: Terminal) -> String {
    let has_repetitions = scenarios.iter().any(|(_, runs)| runs.len() > 1);
    let rows = scenarios.iter().map(|(name, runs)| {
        let mut row = vec![
            Cell::new(clean_line(name)),
            verdict_cell(runs, terminal.colour),
        ];
        if has_repetitions {
            row.push(Cell::new(agreement(runs)));
        }
        row.push(Cell::new(range(
            runs.iter().filter_map(|run| run.guest_ns),
            time,
        )));
        row.push(Cell::new(range(runs.iter().map(|run| run.wall), seconds)));
        row.push(Cell::new(figures(runs)));
        row
    });
    let mut header = vec!["Scenario", "Verdict", "Guest", "Wall", "Figures"];
    if has_repetitions {
        header.insert(2, "Runs");
    }
    render(&header, rows.collect(), terminal)
}

/// A table of plain text, which fits the terminal by its last column; each line ended by a newline.
#[must_use]
pub fn columns(header: &[&str], rows: Vec<Vec<String>>, terminal: Terminal) -> String {
    let cells = rows
        .into_iter()
        .map(|row| row.iter().map(Cell::new).collect());
    render(header, cells.collect(), terminal)
}

/// A table whose last column gives way where the terminal is narrow.
fn render(header: &[&str], rows: Vec<Vec<Cell>>, terminal: Terminal) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = terminal.width {
        table.set_width(width);
    }
    let header = header.iter().map(Cell::new);
    match terminal.colour {
        Colour::Never => table.set_header(header),
        Colour::Always => table
            .enforce_styling()
            .set_header(header.map(|cell| cell.add_attribute(Attribute::Bold))),
    };
    table.add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    for column in table.column_iter_mut().take(last) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.trim_fmt() + "\n"
}

/// The runs' verdict; with how many runs have which if they differ.
fn verdict_cell(runs: &[&RunResult], colour: Colour) -> Cell {
    let counts = counts(runs.iter().copied());
    let text = match counts.as_slice() {
        [(only, _)] => only.word.to_owned(),
        several => several
            .iter()
            .map(|(class, count)| format!("{count} {}", class.word))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let cell = Cell::new(text);
    match (colour, counts.last()) {
        (Colour::Always, Some((worst, _))) => cell.fg(worst.colour),
        (Colour::Always, None) | (Colour::Never, _) => cell,
    }
}

/// How a kind of verdict is shown.
struct Class {
    word: &'static str,
    participle: &'static str,
    colour: Color,
}

/// From the best to the worst.
const CLASSES: [Class; 4] = [
    Class {
        word: "pass",
        participle: "passed",
        colour: Color::Green,
    },
    Class {
        word: "unsupported",
        participle: "unsupported",
        colour: Color::Yellow,
    },
    Class {
        word: "unresolved",
        participle: "unresolved",
        colour: Color::Yellow,
    },
    Class {
        word: "fail",
        participle: "failed",
        colour: Color::Red,
    },
];

fn class(verdict: &Verdict) -> &'static Class {
    let [pass, unsupported, unresolved, fail] = &CLASSES;
    match verdict {
        Verdict::Pass => pass,
        Verdict::Unsupported(_) => unsupported,
        Verdict::Unresolved(_) => unresolved,
        Verdict::Fail(_) => fail,
    }
}

/// The kinds of verdict there are among the runs, best first, and how many runs have each.
fn counts<'a>(runs: impl Iterator<Item = &'a RunResult> + Clone) -> Vec<(&'static Class, usize)> {
    let count = |wanted: &Class| {
        let words = runs.clone().map(|run| class(&run.judgement.verdict).word);
        words.filter(|word| *word == wanted.word).count()
    };
    CLASSES
        .iter()
        .map(|class| (class, count(class)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// How many runs there are, and how far they agree to the nanosecond.
fn agreement(runs: &[&RunResult]) -> String {
    let figures: BTreeSet<_> = runs.iter().map(|run| &run.judgement.measurements).collect();
    let traces: BTreeSet<_> = runs.iter().map(|run| &run.trace_sha256).collect();
    let count = runs.len();
    match (count, figures.len(), traces.len()) {
        (0 | 1, ..) => count.to_string(),
        (_, 1, 1) => format!("{count}, identical"),
        (_, 1, _) => format!("{count}, same figures"),
        (_, different, _) => format!("{count}, {different} different"),
    }
}

/// The functions of the first run, those with the most time first; nothing if none was traced.
fn functions(runs: &[&RunResult], terminal: Terminal) -> String {
    let Some(run) = runs.first() else {
        return String::new();
    };
    if run.functions.is_empty() {
        return String::new();
    }
    let mut functions: Vec<_> = run.functions.iter().collect();
    functions.sort_by_key(|function| std::cmp::Reverse(function.total_ns));
    let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let rows = functions.iter().take(SHOWN_FUNCTIONS).map(|function| {
        vec![
            number(function.calls.to_string()),
            number(time(function.total_ns)),
            number(time(function.min_ns)),
            number(time(function.max_ns)),
            Cell::new(clean_line(function.phase.as_deref().unwrap_or("-"))),
            Cell::new(clean_line(&function.name)),
        ]
    });
    let header = ["Calls", "Total", "Shortest", "Longest", "Phase", "Function"];
    let mut text = "\n".to_owned() + &render(&header, rows.collect(), terminal);
    let left = functions.len().saturating_sub(SHOWN_FUNCTIONS);
    if left > 0 {
        let _ = writeln!(
            text,
            " and {} more, see results.json",
            counted(left, "function")
        );
    }
    text
}

/// The sum of the runs' traces, if it is the same.
fn trace(runs: &[&RunResult]) -> String {
    let traces: BTreeSet<_> = runs.iter().map(|run| run.trace_sha256.as_ref()).collect();
    match traces.first().copied().flatten() {
        Some(sum) if traces.len() == 1 => format!("\nTrace SHA-256 {}\n", clean_line(sum)),
        Some(_) | None => String::new(),
    }
}

/// What is to know about the runs beyond a pass; those that ended alike together.
fn details(name: &str, runs: &[&RunResult], colour: Colour) -> String {
    let mut alike: Vec<Vec<&RunResult>> = Vec::new();
    for run in runs.iter().filter(|run| !detail(run).is_empty()) {
        let is_alike = |others: &Vec<&RunResult>| {
            others.first().is_some_and(|other| {
                other.judgement.verdict == run.judgement.verdict
                    && other.judgement.checks == run.judgement.checks
            })
        };
        match alike.iter_mut().find(|others| is_alike(others)) {
            Some(others) => others.push(run),
            None => alike.push(vec![run]),
        }
    }
    let mut text = String::new();
    for runs in alike {
        let Some(first) = runs.first() else { continue };
        let title = class(&first.judgement.verdict).word.to_uppercase();
        let title = coloured(&title, colour);
        let _ = writeln!(text, "\n{title} {}{}", clean_line(name), which(&runs));
        for line in detail(first).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Which of several runs these are: ` (runs 1, 3 of 10)`.
fn which(runs: &[&RunResult]) -> String {
    let of = runs.first().map_or(1, |run| run.repetition.of);
    if of <= 1 {
        return String::new();
    }
    let indices: Vec<_> = runs
        .iter()
        .map(|run| run.repetition.index.to_string())
        .collect();
    let noun = if runs.len() == 1 { "run" } else { "runs" };
    format!(" ({noun} {} of {of})", indices.join(", "))
}

/// Bold where there is colour.
fn coloured(text: &str, colour: Colour) -> String {
    match colour {
        Colour::Never => text.to_owned(),
        Colour::Always => format!("\u{1b}[1m{text}\u{1b}[0m"),
    }
}

/// `8 scenarios, 80 runs: 79 passed, 1 failed`.
fn sum(scenarios: usize, results: &[RunResult]) -> String {
    let mut text = counted(scenarios, "scenario");
    if results.len() != scenarios {
        let _ = write!(text, ", {}", counted(results.len(), "run"));
    }
    let counts = counts(results.iter());
    let counts: Vec<_> = counts
        .iter()
        .map(|(class, count)| format!("{count} {}", class.participle))
        .collect();
    if !counts.is_empty() {
        let _ = write!(text, ": {}", counts.join(", "));
    }
    text
}
