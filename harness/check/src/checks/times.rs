// SPDX-License-Identifier: GPL-2.0-only

//! Checks times of which there are many: intervals, lateness and durations.
//!
//! In: an expectation and a run. Out: a check result; each value, each percentile and the total are held to their bounds.
//! An item that is called several times counts once: from its first start to its last end.
//! Percentiles are nearest-rank: always a value that was measured, with its records.

use std::collections::BTreeMap;

use deferinit_scenario::{
    Action, Bounds, DurationExpectation, DurationOf, IntervalExpectation, LatenessExpectation,
    Nanos, PercentileBounds, Shape, Workload,
};
use deferinit_timeline::ItemEvent;

use super::{Findings, Run, all_lines, event};
use crate::items::Label;
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
    let chosen = wanted.items.as_deref();
    let what = format!("interval {} to {}", from.word(), to.word());
    let name = run.name_for(&wanted.phase, &what, chosen);
    let findings = Findings::new(name, limits.words());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    let samples = intervals(&phase, from, to);
    if samples.is_empty() {
        let why = format!("no item is both {} and {}", from.word(), to.word());
        return findings.matched_nothing(&why, all_lines(&phase));
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
    let chosen = wanted.items.as_deref();
    let what = format!("lateness of {}", of.word());
    let findings = Findings::new(run.name_for(&wanted.phase, &what, chosen), limits.words());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    let samples = sample::lateness(&phase, of);
    if samples.is_empty() {
        let why = format!(
            "no item is both {} and {}",
            ItemEvent::Armed.word(),
            of.word()
        );
        return findings.matched_nothing(&why, all_lines(&phase));
    }
    let modified = run
        .workload(&wanted.phase)
        .map(modified)
        .unwrap_or_default();
    let against = against(&samples, &modified);
    let mut result = hold(findings, samples, &limits, |sample| late(sample, &modified));
    result.measured += &against;
    result
}

/// The items whose delay another item modifies, by id: who does, and to what.
type Modified<'a> = BTreeMap<u32, (Label<'a>, Nanos)>;

/// Only an item of a plan can name another.
fn modified(workload: &Workload) -> Modified<'_> {
    let Shape::Plan(items) = &workload.shape else {
        return Modified::new();
    };
    let modifies = |(by, action): (u32, &Action)| match action {
        Action::Modify { item, delay } => {
            let by = Label::of(by, Some(workload));
            Some((workload.id_of(item)?, (by, *delay)))
        }
        _ => None,
    };
    let actions = (0..)
        .zip(items)
        .flat_map(|(id, item)| item.work.body.iter().map(move |action| (id, action)));
    actions.filter_map(modifies).collect()
}

/// What the lateness of items whose delay was modified means; nothing if there are none.
fn against(samples: &[Sample<'_>], modified: &Modified<'_>) -> String {
    let items = samples.iter().filter(|sample| match sample.subject {
        Subject::Item(item, ..) => modified.contains_key(&item.id),
        Subject::Init(_) | Subject::Call(..) => false,
    });
    match items.map(|sample| sample.subject.name()).next() {
        Some(first) => {
            format!("; all after armed + requested delay, also {first}, whose delay is modified")
        }
        None => String::new(),
    }
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
    let chosen = wanted.items.as_deref();
    let name = run.name_for(&wanted.phase, &format!("duration of {what}"), chosen);
    let findings = Findings::new(name, limits.words());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let phase = phase.select(chosen);
    let samples = match &wanted.of {
        DurationOf::Init => sample::init(phase.span).into_iter().collect(),
        DurationOf::Item => intervals(&phase, ItemEvent::Started, ItemEvent::Ended),
        DurationOf::Function(name) => sample::calls(phase.span, name),
    };
    if samples.is_empty() {
        return findings.matched_nothing(&none, all_lines(&phase));
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

/// `item 3 (bus) is 9.120 ms after armed + 50 ms`, and who modified that delay.
fn late(sample: &Sample<'_>, modified: &Modified<'_>) -> String {
    let (delay, modified) = match sample.subject {
        Subject::Item(item, ..) => (
            item.armed.map_or(0, |armed| armed.delay_ns),
            modified.get(&item.id),
        ),
        Subject::Init(_) | Subject::Call(..) => (0, None),
    };
    let side = if sample.nanoseconds < 0 {
        "before"
    } else {
        "after"
    };
    let distance = unsigned_time(sample.nanoseconds.unsigned_abs());
    let mut text = format!(
        "{} is {distance} {side} armed + {}",
        sample.subject.name(),
        unsigned_time(delay)
    );
    if let Some((by, delay)) = modified {
        text += &format!(
            " (the delay it was armed with, which {} modifies to {})",
            by.item(),
            unsigned_time(delay.0)
        );
    }
    text
}

/// Holds values, of which there is at least one, to their limits; `words` renders one of them.
fn hold(
    mut findings: Findings,
    mut samples: Vec<Sample<'_>>,
    limits: &Limits<'_>,
    words: impl Fn(&Sample<'_>) -> String,
) -> CheckResult {
    for sample in samples
        .iter()
        .filter(|sample| !limits.each.admits(sample.nanoseconds))
    {
        let message = format!("{}, allowed {}", words(sample), time_bounds(limits.each));
        let max = limits.each.max;
        findings.note_time(&message, sample.subject.lines(), sample.nanoseconds, max);
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
            let max = wanted.bounds.max;
            findings.note_time(&message, sample.subject.lines(), sample.nanoseconds, max);
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
            findings.note_time(&message, lines, sum, Some(Nanos(most)));
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
