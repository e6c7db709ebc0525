// SPDX-License-Identifier: GPL-2.0-only

//! The few figures of a scenario that the terminal shows.
//!
//! In: the runs of one scenario. Out: one line per phase; a time that several runs on the wall clock measured is their
//! median, with an interval for it. All figures are in `results.json`.
//! Source: the names of measurements, `docs/results.md`.

use std::collections::BTreeSet;

use crate::{
    RunResult,
    spread::{Spread, has_noise},
    text::{range, time},
};

/// The phase of a scenario that names none.
const ONLY_PHASE: &str = "main";

/// One line per phase, in the order of their names; as a range where the runs differ.
pub(crate) fn figures(runs: &[&RunResult]) -> String {
    let names = runs
        .iter()
        .flat_map(|run| run.judgement.measurements.keys());
    let phases: BTreeSet<&str> = names.filter_map(|name| name.split('.').next()).collect();
    let lines = phases.iter().map(|phase| {
        let figures = phase_figures(runs, phase);
        if phases.len() == 1 && *phase == ONLY_PHASE {
            figures
        } else {
            format!("{phase}: {figures}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn phase_figures(runs: &[&RunResult], phase: &str) -> String {
    let values = |name: &str| {
        let name = format!("{phase}.{name}");
        let values = runs.iter();
        values.filter_map(move |run| run.judgement.measurements.get(&name).copied())
    };
    let number = |value: i64| value.to_string();
    let took = |name: &str| match has_noise(runs) {
        true => median(values(name).collect()),
        false => range(values(name), time),
    };
    let mut parts = Vec::new();

    let rounds = range(values("rounds"), number);
    if !rounds.is_empty() {
        let growth = range(values("growth"), number);
        return format!("{rounds} rounds, {growth} bytes more in use after them");
    }
    let armed = range(values("items.armed"), number);
    let ended = range(values("items.ended"), number);
    let noun = if armed == "1" { "item" } else { "items" };
    let all_took = with(" in ", took("first-armed-last-ended"), "");
    if armed == ended {
        parts.push(with("", armed, &format!(" {noun}{all_took}")));
    } else {
        parts.push(format!("{ended} of {armed} {noun} ended{all_took}"));
    }
    parts.push(with("init ", took("init"), ""));
    let lateness = values("lateness.min").chain(values("lateness.max"));
    parts.push(with("", range(lateness, time), " late"));
    let at_once = values("concurrency").filter(|most| *most > 1);
    parts.push(with("", range(at_once, number), " at once"));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// `1.20 ms (1.10 ms to 1.31 ms)`: the median, and the interval for it; nothing if there is no value.
fn median(values: Vec<i64>) -> String {
    let Some(spread) = Spread::of(values) else {
        return String::new();
    };
    let (low, high) = (time(spread.low), time(spread.high));
    format!("{} ({low} to {high})", time(spread.median))
}

/// The text with its surroundings; nothing if there is no text.
fn with(before: &str, text: String, after: &str) -> String {
    if text.is_empty() {
        return text;
    }
    format!("{before}{text}{after}")
}
