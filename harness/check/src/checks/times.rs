// SPDX-License-Identifier: GPL-2.0-only

//! Checks times of which there are many: intervals, lateness and durations.
//!
//! In: an expectation and a run. Out: a check result; each value, each percentile and the total are held to their bounds.
//! Percentiles are nearest-rank: always a value that was measured, with its records.

use deferinit_scenario::{
    Bounds, DurationExpectation, DurationOf, IntervalExpectation, LatenessExpectation,
    PercentileBounds,
};
use deferinit_timeline::ItemEvent;

use super::{Findings, Run, all_lines, event};
use crate::sample::{self, Sample, Subject, intervals, percentile, total};
use crate::text::{duration as unsigned_time, time, time_bounds, times_bounds};
use crate::verdict::CheckResult;

/// What the values of one check may be.
struct Limits<'a> {
    each: &'a Bounds,
    percentiles: &'a [PercentileBounds],
    total_max: Option<u64>,
}

impl Limits<'_> {
    fn words(&self) -> String {
        times_bounds(self.each, self.percentiles, self.total_max)
    }
}

/// Checks the time between two events of each item.
pub(super) fn interval(wanted: &IntervalExpectation, run: Run<'_>) -> CheckResult {
    let (from, to) = (event(wanted.from), event(wanted.to));
    let limits = Limits {
        each: &wanted.each,
        percentiles: &wanted.percentiles,
        total_max: None,
    };
    let name = run.name(
        &wanted.phase,
        &format!("interval {} to {}", from.word(), to.word()),
    );
    let findings = Findings::new(name, limits.words());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let samples = intervals(phase, from, to);
    if samples.is_empty() {
        let why = format!("no item is both {} and {}", from.word(), to.word());
        return findings.matched_nothing(&why, all_lines(phase));
    }
    hold(findings, samples, &limits, took)
}

/// Checks how long after its requested delay each item reaches an event.
pub(super) fn lateness(wanted: &LatenessExpectation, run: Run<'_>) -> CheckResult {
    let of = event(wanted.of);
    let limits = Limits {
        each: &wanted.each,
        percentiles: &wanted.percentiles,
        total_max: None,
    };
    let findings = Findings::new(
        run.name(&wanted.phase, &format!("lateness of {}", of.word())),
        limits.words(),
    );
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let samples = sample::lateness(phase, of);
    if samples.is_empty() {
        let why = format!(
            "no item is both {} and {}",
            ItemEvent::Armed.word(),
            of.word()
        );
        return findings.matched_nothing(&why, all_lines(phase));
    }
    hold(findings, samples, &limits, late)
}

/// Checks how long module init, each item, or each call of a function takes.
pub(super) fn duration(wanted: &DurationExpectation, run: Run<'_>) -> CheckResult {
    let total_max = wanted.total_max.map(|most| most.0);
    let limits = Limits {
        each: &wanted.each,
        percentiles: &wanted.percentiles,
        total_max,
    };
    let (what, none) = match &wanted.of {
        DurationOf::Init => (
            "init",
            "the module's init did not run to its end".to_owned(),
        ),
        DurationOf::Item => ("item", "no item is both started and ended".to_owned()),
        DurationOf::Function(name) => (
            name.as_str(),
            format!("there is no complete call of {name}"),
        ),
    };
    let findings = Findings::new(
        run.name(&wanted.phase, &format!("duration of {what}")),
        limits.words(),
    );
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let samples = match &wanted.of {
        DurationOf::Init => sample::init(phase).into_iter().collect(),
        DurationOf::Item => intervals(phase, ItemEvent::Started, ItemEvent::Ended),
        DurationOf::Function(name) => sample::calls(phase, name),
    };
    if samples.is_empty() {
        return findings.matched_nothing(&none, all_lines(phase));
    }
    hold(findings, samples, &limits, took)
}

/// `item 3 took 59.100 ms`.
fn took(sample: &Sample<'_>) -> String {
    format!(
        "{} took {}",
        sample.subject.name(),
        time(sample.nanoseconds)
    )
}

/// `item 3 is 9.120 ms after armed + 50 ms`.
fn late(sample: &Sample<'_>) -> String {
    let delay = match sample.subject {
        Subject::Item(item, ..) => item.armed.map_or(0, |armed| armed.delay_ns),
        Subject::Init(_) | Subject::Call(..) => 0,
    };
    let side = if sample.nanoseconds < 0 {
        "before"
    } else {
        "after"
    };
    let distance = unsigned_time(sample.nanoseconds.unsigned_abs());
    format!(
        "{} is {distance} {side} armed + {}",
        sample.subject.name(),
        unsigned_time(delay)
    )
}

/// Holds values, of which there is at least one, to their limits; `words` renders one of them.
fn hold(
    mut findings: Findings,
    mut samples: Vec<Sample<'_>>,
    limits: &Limits<'_>,
    words: fn(&Sample<'_>) -> String,
) -> CheckResult {
    for sample in samples
        .iter()
        .filter(|sample| !limits.each.admits(sample.nanoseconds))
    {
        let message = format!("{}, allowed {}", words(sample), time_bounds(limits.each));
        findings.note(&message, sample.subject.lines());
    }
    samples.sort_by_key(|sample| sample.nanoseconds);
    let mut measured = summary(&samples);
    for wanted in limits.percentiles {
        let Some(sample) = percentile(&samples, wanted.p) else {
            continue;
        };
        measured += &format!(", {} {}", wanted.p, time(sample.nanoseconds));
        if !wanted.bounds.admits(sample.nanoseconds) {
            let message = format!(
                "{}: {}, allowed {}",
                wanted.p,
                words(sample),
                time_bounds(&wanted.bounds)
            );
            findings.note(&message, sample.subject.lines());
        }
    }
    if let Some(most) = limits.total_max {
        let sum = total(&samples);
        measured += &format!(", total {}", time(sum));
        if i128::from(sum) > i128::from(most) {
            let lines = samples
                .iter()
                .rev()
                .flat_map(|sample| sample.subject.lines())
                .collect();
            let message = format!(
                "the total is {}, allowed at most {}",
                time(sum),
                unsigned_time(most)
            );
            findings.note(&message, lines);
        }
    }
    findings.result(measured)
}

/// `1 value: 5 ms`, or `8 values: min 50 ms, max 57 ms`.
fn summary(ascending: &[Sample<'_>]) -> String {
    match (ascending.first(), ascending.last()) {
        (Some(one), Some(_)) if ascending.len() == 1 => {
            format!("1 value: {}", time(one.nanoseconds))
        }
        (Some(min), Some(max)) => {
            let (min, max) = (time(min.nanoseconds), time(max.nanoseconds));
            format!("{} values: min {min}, max {max}", ascending.len())
        }
        _ => "no value".to_owned(),
    }
}
