// SPDX-License-Identifier: GPL-2.0-only

//! Measures everything that can be had from a timeline, whatever the scenario checks.
//!
//! In: a scenario and the timeline of its run. Out: integers by name, in nanoseconds, in bytes or as counts; a value
//! that cannot be had is left out.
//! Does not: compare with an expectation.
//!
//! | Name | Value |
//! | --- | --- |
//! | `PHASE.rounds` | how many rounds there were; a phase that has them has no measurement but this and the next |
//! | `PHASE.growth` | bytes in use after the last round minus those after the warm-up |
//! | `PHASE.init` | inside the module's init |
//! | `PHASE.items.EVENT` | items that are armed, queued, started, ended, cancelled |
//! | `PHASE.FROM-TO.STATISTIC` | armed-queued, armed-started, queued-started, started-ended of each item |
//! | `PHASE.lateness.STATISTIC` | first start minus (armed + requested delay) of each item that no other one hurries or puts off |
//! | `PHASE.first-armed-last-ended` | the whole workload |
//! | `PHASE.attempts.max` | how often the item was started that was started most often |
//! | `PHASE.concurrency` | the most items that run at one time |
//! | `PHASE.function.NAME.STATISTIC` | calls of each `deferred_*` function: count, total, min, max |
//!
//! STATISTIC is min, p50, p90, p99 or max; percentiles are nearest-rank.

use std::collections::{BTreeMap, BTreeSet};

use deferinit_scenario::{Action, Percentile, Point, Scenario, Shape, Workload};
use deferinit_timeline::{ItemEvent, PhaseSpan, Timeline};

use crate::items::PhaseView;
use crate::sample::{self, Sample, Subject, percentile};

/// The intervals that are always measured.
const INTERVALS: [(ItemEvent, ItemEvent); 4] = [
    (ItemEvent::Armed, ItemEvent::Queued),
    (ItemEvent::Armed, ItemEvent::Started),
    (ItemEvent::Queued, ItemEvent::Started),
    (ItemEvent::Started, ItemEvent::Ended),
];

/// The percentiles that are always measured.
const PERCENTILES: [&str; 3] = ["50", "90", "99"];

/// Functions that are measured: those whose name begins so.
const MEASURED_FUNCTIONS: &str = "deferred_";

/// All measurements of the timeline that a run of the scenario left.
#[must_use]
pub fn measure(scenario: &Scenario, timeline: &Timeline) -> BTreeMap<String, i64> {
    let mut measurements = BTreeMap::new();
    for phase in &timeline.phases {
        let workload = scenario.phase(&phase.name).map(|phase| &phase.workload);
        let moved = workload.map(moved).unwrap_or_default();
        // Names are no part of a measurement.
        measure_phase(&PhaseView::new(phase, None), &moved, &mut measurements);
    }
    measurements
}

/// Whether a measurement of this name is a number of something, rather than a time.
#[must_use]
pub fn is_count(name: &str) -> bool {
    // Phases have no dot in their names.
    let (_, of_phase) = name.split_once('.').unwrap_or_default();
    ["rounds", "growth", "concurrency", "attempts.max"].contains(&of_phase)
        || of_phase.starts_with("items.")
        || of_phase.starts_with("function.") && of_phase.ends_with(".count")
}

/// The items whose timer another item moves, by id: how long after their own delay they start says nothing.
fn moved(workload: &Workload) -> BTreeSet<u32> {
    let Shape::Plan(items) = &workload.shape else {
        return BTreeSet::new();
    };
    let actions = items.iter().flat_map(|item| &item.work.body);
    let moved = actions.filter_map(|action| match action {
        Action::Modify { item, .. } | Action::Flush(item) => workload.id_of(item),
        _ => None,
    });
    moved.collect()
}

fn measure_phase(
    phase: &PhaseView<'_>,
    moved: &BTreeSet<u32>,
    measurements: &mut BTreeMap<String, i64>,
) {
    let span: &PhaseSpan = phase.span;
    let mut put =
        |name: String, value: i64| measurements.insert(format!("{}.{name}", span.name), value);
    if let Some(rounds) = span.rounds {
        if let Some(record) = rounds.record {
            put("rounds".to_owned(), i64::from(record.rounds));
            put("growth".to_owned(), record.growth());
        }
        return;
    }
    if let Some(init) = sample::init(span) {
        put("init".to_owned(), init.nanoseconds);
    }
    for event in ItemEvent::ALL {
        let items = phase
            .items
            .iter()
            .filter(|item| item.moment(event).is_some())
            .count();
        put(format!("items.{}", event.word()), counted(items));
    }
    for (from, to) in INTERVALS {
        let name = format!("{}-{}", from.word(), to.word());
        for (statistic, value) in statistics(sample::intervals(phase, from, to)) {
            put(format!("{name}.{statistic}"), value);
        }
    }
    let mut lateness = sample::lateness(phase, ItemEvent::Started);
    lateness.retain(|sample| match sample.subject {
        Subject::Item(item, ..) => !moved.contains(&item.id),
        Subject::Init(_) | Subject::Call(..) => true,
    });
    for (statistic, value) in statistics(lateness) {
        put(format!("lateness.{statistic}"), value);
    }
    if let Ok((nanoseconds, _)) = sample::window(phase, Point::FirstArmed, Point::LastEnded) {
        put("first-armed-last-ended".to_owned(), nanoseconds);
    }
    let attempts = phase.items.iter().map(|item| item.attempts.len()).max();
    if let Some(most) = attempts.filter(|most| *most > 0) {
        put("attempts.max".to_owned(), counted(most));
    }
    let concurrency = sample::concurrency(phase).len();
    put("concurrency".to_owned(), counted(concurrency));
    let names: BTreeSet<&str> = span
        .functions
        .iter()
        .map(|function| function.short_name())
        .collect();
    for name in names
        .into_iter()
        .filter(|name| name.starts_with(MEASURED_FUNCTIONS))
    {
        for (statistic, value) in call_statistics(&sample::calls(span, name)) {
            put(format!("function.{name}.{statistic}"), value);
        }
    }
}

fn statistics(mut samples: Vec<Sample<'_>>) -> Vec<(String, i64)> {
    samples.sort_by_key(|sample| sample.nanoseconds);
    let mut statistics = Vec::new();
    if let (Some(min), Some(max)) = (samples.first(), samples.last()) {
        statistics.push(("min".to_owned(), min.nanoseconds));
        statistics.push(("max".to_owned(), max.nanoseconds));
    }
    for p in PERCENTILES
        .into_iter()
        .filter_map(|p| p.parse::<Percentile>().ok())
    {
        statistics
            .extend(percentile(&samples, p).map(|sample| (p.to_string(), sample.nanoseconds)));
    }
    statistics
}

fn call_statistics(calls: &[Sample<'_>]) -> Vec<(&'static str, i64)> {
    let durations = || calls.iter().map(|call| call.nanoseconds);
    let mut statistics = vec![
        ("count", counted(calls.len())),
        ("total", sample::total(calls)),
    ];
    statistics.extend(durations().min().map(|min| ("min", min)));
    statistics.extend(durations().max().map(|max| ("max", max)));
    statistics
}

fn counted(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
