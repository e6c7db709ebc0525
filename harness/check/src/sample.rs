// SPDX-License-Identifier: GPL-2.0-only

//! Takes the values that checks and measurements are about out of a timeline.
//!
//! In: a phase. Out: samples: a value in nanoseconds with what it is about; points in time; percentiles.
//! Does not: compare with anything.

use std::collections::BTreeMap;

use deferinit_scenario::{Percentile, Point};
use deferinit_timeline::{
    Attempt, Function, FunctionSpan, InitSpan, ItemEvent, Moment, PhaseSpan, TraceNanos,
};

use crate::evidence::Line;
use crate::items::{NamedItem, PhaseView};

/// One value in nanoseconds and what it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) nanoseconds: i64,
    pub(crate) subject: Subject<'a>,
}

/// What a value is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The module's init.
    Init(&'a InitSpan),
    /// An item, from one event to another.
    Item(NamedItem<'a>, ItemEvent, ItemEvent),
    /// A call, with its number among the function's calls in the phase, from 0.
    Call(&'a Function, &'a FunctionSpan, usize),
}

impl Subject<'_> {
    /// Its name in a message.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Init(_) => "init".to_owned(),
            Self::Item(item, ..) => item.label.item(),
            Self::Call(function, _, index) => format!("call {index} of {}", function.name),
        }
    }

    /// The records its value comes from.
    pub(crate) fn lines(&self) -> Vec<Line> {
        match self {
            Self::Init(init) => Line::init(init),
            Self::Item(item, from, to) => [*from, *to]
                .into_iter()
                .filter_map(|event| Line::item(item, event))
                .collect(),
            Self::Call(function, span, _) => Line::call(function, span),
        }
    }
}

/// The time from one event to another of each item that has both.
pub(crate) fn intervals<'a>(
    phase: &PhaseView<'a>,
    from: ItemEvent,
    to: ItemEvent,
) -> Vec<Sample<'a>> {
    let interval = |item: &NamedItem<'a>| {
        let nanoseconds = item.moment(to)?.at.since(item.moment(from)?.at);
        Some(Sample {
            nanoseconds,
            subject: Subject::Item(*item, from, to),
        })
    };
    phase.items.iter().filter_map(interval).collect()
}

/// How long after its arming plus the requested delay each item first reaches an event; negative is early.
pub(crate) fn lateness<'a>(phase: &PhaseView<'a>, of: ItemEvent) -> Vec<Sample<'a>> {
    let late = |item: &NamedItem<'a>| {
        let armed = item.armed?;
        let waited = i128::from(item.moment(of)?.at.0) - i128::from(armed.moment.at.0);
        Some(Sample {
            nanoseconds: saturated(waited - i128::from(armed.delay_ns)),
            subject: Subject::Item(*item, ItemEvent::Armed, of),
        })
    };
    phase.items.iter().filter_map(late).collect()
}

/// The time inside the module's init; empty if it did not run or never returned.
pub(crate) fn init(phase: &PhaseSpan) -> Option<Sample<'_>> {
    let init = phase.init.as_ref()?;
    Some(Sample {
        nanoseconds: init.nanoseconds()?,
        subject: Subject::Init(init),
    })
}

/// The duration of each call of the functions with this name.
pub(crate) fn calls<'a>(phase: &'a PhaseSpan, name: &str) -> Vec<Sample<'a>> {
    let mut calls: Vec<(&Function, &FunctionSpan)> = phase
        .functions
        .iter()
        .filter(|function| function.is_named(name))
        .flat_map(|function| function.spans.iter().map(move |span| (function, span)))
        .collect();
    calls.sort_by_key(|(_, span)| (span.called, span.depth, span.entry_cpu));
    let sample = |(index, (function, span)): (usize, (&'a Function, &'a FunctionSpan))| Sample {
        nanoseconds: span.nanoseconds(),
        subject: Subject::Call(function, span, index),
    };
    calls.into_iter().enumerate().map(sample).collect()
}

/// A point of a phase and the record that shows it; none if the phase did not pass it.
pub(crate) fn point(phase: &PhaseView<'_>, point: Point) -> Option<(Moment, Line)> {
    let marker = |moment: Option<Moment>, name: &str| {
        moment.map(|moment| (moment, Line::marker(moment, name)))
    };
    let span = phase.span;
    match point {
        // The guest's clock begins at 0 then, whatever the first record is.
        Point::Boot => Some((
            Moment {
                at: TraceNanos(0),
                ..span.begin
            },
            Line::new(span.begin, "the first record"),
        ))
        .filter(|_| span.first_process.is_some()),
        Point::FirstProcess => marker(span.first_process, &format!("phase-begin {}", span.name)),
        Point::Load => marker(span.load, "load"),
        Point::InitStart => span
            .init
            .map(|init| (init.start, Line::new(init.start, "initcall_start"))),
        Point::InitEnd => {
            let finish = span.init?.finish?;
            Some((
                finish.moment,
                Line::new(
                    finish.moment,
                    format!("initcall_finish ret={}", finish.status),
                ),
            ))
        }
        Point::Trigger => marker(span.trigger, "trigger"),
        Point::FirstArmed => first(phase, ItemEvent::Armed),
        Point::LastArmed => last(phase, ItemEvent::Armed),
        Point::FirstStarted => first(phase, ItemEvent::Started),
        Point::LastStarted => last(phase, ItemEvent::Started),
        Point::FirstEnded => first(phase, ItemEvent::Ended),
        Point::LastEnded => last(phase, ItemEvent::Ended),
        Point::Unload => marker(span.unload, "unload"),
        Point::Unloaded => {
            let unloaded = span.unloaded?;
            marker(
                Some(unloaded.moment),
                &format!("unloaded {}", unloaded.status),
            )
        }
    }
}

/// The time from one point to another, negative if they come the other way round, and both records.
/// The error is the point that the phase did not pass.
pub(crate) fn window(
    phase: &PhaseView<'_>,
    from: Point,
    to: Point,
) -> Result<(i64, Vec<Line>), Point> {
    let (begin, begin_line) = self::point(phase, from).ok_or(from)?;
    let (end, end_line) = self::point(phase, to).ok_or(to)?;
    Ok((end.at.since(begin.at), vec![begin_line, end_line]))
}

fn first(phase: &PhaseView<'_>, event: ItemEvent) -> Option<(Moment, Line)> {
    let has_it = phase.items.iter().filter(|item| at(item, event).is_some());
    let item = has_it.min_by_key(|item| at(item, event))?;
    Some((item.moment(event)?, Line::item(item, event)?))
}

fn last(phase: &PhaseView<'_>, event: ItemEvent) -> Option<(Moment, Line)> {
    let has_it = phase.items.iter().filter(|item| at(item, event).is_some());
    let item = has_it.max_by_key(|item| at(item, event))?;
    Some((item.moment(event)?, Line::item(item, event)?))
}

fn at(item: &NamedItem<'_>, event: ItemEvent) -> Option<u64> {
    item.moment(event).map(|moment| moment.at.0)
}

/// An attempt that runs at some time: the item, the attempt's number from 1, the attempt.
pub(crate) type Running<'a> = (NamedItem<'a>, usize, &'a Attempt);

/// The most items that run at one time, and the attempts that run when that is first so.
///
/// An item runs from each start up to the end of that attempt, or for good if it has none; one that ends in the
/// nanosecond another starts in does not run beside it.
pub(crate) fn concurrency<'a>(phase: &PhaseView<'a>) -> Vec<Running<'a>> {
    let mut changes: Vec<(u64, bool, usize, usize)> = Vec::new();
    for (index, item) in phase.items.iter().enumerate() {
        for (number, attempt) in item.attempts.iter().enumerate() {
            let started = attempt.started.at.0;
            changes.push((started, true, index, number));
            if let Some(end) = attempt.end {
                let ended = end.returned().moment.at.0.max(started.saturating_add(1));
                // An item does not run beside itself.
                let next = item.attempts.get(number.saturating_add(1));
                let next = next.map_or(u64::MAX, |next| next.started.at.0);
                changes.push((ended.min(next.max(started)), false, index, number));
            }
        }
    }
    // At one time ends come first: false is less than true.
    changes.sort_unstable();
    let mut running = BTreeMap::new();
    let mut most = BTreeMap::new();
    for (_, starts, index, number) in changes {
        if !starts {
            running.remove(&index);
        } else if running.insert(index, number).is_none() && running.len() > most.len() {
            most.clone_from(&running);
        }
    }
    let attempt = |(index, number): (usize, usize)| {
        let item = *phase.items.get(index)?;
        Some((
            item,
            number.saturating_add(1),
            item.item.attempts.get(number)?,
        ))
    };
    most.into_iter().filter_map(attempt).collect()
}

/// The nearest-rank percentile of samples in ascending order: the smallest that at least `p` percent do not exceed.
pub(crate) fn percentile<T>(ascending: &[T], p: Percentile) -> Option<&T> {
    let count = u64::try_from(ascending.len()).ok()?;
    let rank = usize::try_from(p.rank(count)?).ok()?;
    ascending.get(rank.checked_sub(1)?)
}

/// The sum of all samples.
pub(crate) fn total(samples: &[Sample<'_>]) -> i64 {
    saturated(
        samples
            .iter()
            .map(|sample| i128::from(sample.nanoseconds))
            .sum(),
    )
}

/// The nearest `i64`.
fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values: Vec<u32> = (1..=10).collect();
        let cases = [
            ("50", 5),
            ("90", 9),
            ("99", 10),
            ("100", 10),
            ("10", 1),
            ("10.001", 2),
            ("0.001", 1),
        ];
        for (p, value) in cases {
            let p = p.parse().expect("a percentile within 0 to 100");
            assert_eq!(percentile(&values, p), Some(&value), "{p}");
        }
        assert_eq!(
            percentile::<u32>(&[], "50".parse().expect("a percentile")),
            None
        );
    }
}
