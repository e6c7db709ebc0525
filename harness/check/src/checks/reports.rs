// SPDX-License-Identifier: GPL-2.0-only

//! Checks what the kernel itself reports as text: latencies, profiles, the deepest stack, histograms.
//!
//! In: an expectation and a timeline. Out: a check result. A report that is not there is not judged; one that has
//! nothing on what is expected fails.

use deferinit_scenario::{
    Bounds, HistogramExpectation, LatencyExpectation, ProfileExpectation, StackSizeExpectation,
};
use deferinit_timeline::{Histogram, HistogramEntry, Timeline};

use super::Findings;
use crate::text::{count_bounds, time, time_bounds};
use crate::verdict::{CheckResult, NotJudged};

/// Checks the longest latency.
pub(super) fn latency(wanted: &LatencyExpectation, timeline: &Timeline) -> CheckResult {
    let mut findings = Findings::new("latency".to_owned(), wanted.words());
    let Some(report) = &timeline.reports.latency else {
        return findings.not_judged(NotJudged::Unanswered, "the tracer left no report");
    };
    let Some(longest) = &report.longest else {
        let why = format!("tracer {} has seen no latency", report.tracer);
        return findings.matched_nothing(&why, Vec::new());
    };
    let nanoseconds = i64::try_from(longest.microseconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let mut measured = format!("{}, task {}", time(nanoseconds), longest.task);
    if let (Some(started), Some(ended)) = (&longest.started_at, &longest.ended_at) {
        measured += &format!(", from {started} to {ended}");
    }
    if !wanted.bounds.admits(nanoseconds) {
        let message = format!(
            "{}, allowed {}",
            time(nanoseconds),
            time_bounds(&wanted.bounds)
        );
        findings.note_time(&message, Vec::new(), nanoseconds, wanted.bounds.max);
    }
    for (what, wanted, is) in [
        (
            "started at",
            &wanted.started_at,
            longest.started_at.as_deref(),
        ),
        ("ended at", &wanted.ended_at, longest.ended_at.as_deref()),
        ("is of task", &wanted.task, Some(longest.task.as_str())),
    ] {
        if let Some(wanted) = wanted
            && is != Some(wanted)
        {
            let is = is.unwrap_or("nothing known");
            findings.note(&format!("it {what} {is}, allowed {wanted}"), Vec::new());
        }
    }
    for name in &wanted.shows {
        if !longest.shown.contains(name) {
            let evidence = vec![format!("shown are {}", longest.shown.join(", "))];
            findings.note_lines(
                &format!("the trace behind it does not show {name}"),
                evidence,
            );
        }
    }
    findings.result(measured)
}

/// Checks what the function profiler has counted.
pub(super) fn profile(wanted: &ProfileExpectation, timeline: &Timeline) -> CheckResult {
    let name = format!("profile of {}", wanted.function);
    let mut findings = Findings::new(name, wanted.words());
    let Some(profile) = &timeline.reports.profile else {
        return findings.not_judged(NotJudged::Unanswered, "the profiler left no report");
    };
    let is_wanted = |name: &str, may_be_cut: bool| {
        name == wanted.function || (may_be_cut && wanted.function.starts_with(name))
    };
    let mut rows = profile
        .iter()
        .filter(|row| is_wanted(&row.name, row.may_be_cut));
    let (row, other) = (rows.next(), rows.next());
    if other.is_some() {
        let why = "several functions begin like that, and the kernel cuts their names";
        return findings.not_judged(NotJudged::Unanswered, why);
    }
    let Some(row) = row else {
        if wanted.hits.at_most == Some(0) && !profile.is_empty() {
            return findings.result("0 hits");
        }
        let why = format!("{} is not called", wanted.function);
        return findings.matched_nothing(&why, Vec::new());
    };
    let mut measured = format!("{} hits", row.hits);
    if !wanted.hits.admits(row.hits) {
        let message = format!("{} hits, allowed {}", row.hits, count_bounds(&wanted.hits));
        findings.note(&message, Vec::new());
    }
    let has_times = !wanted.time.is_empty() || !wanted.average.is_empty();
    let Some(total) = row.total_ns else {
        if has_times {
            return findings.not_judged(NotJudged::Unanswered, "the profiler has no times");
        }
        return findings.result(measured);
    };
    let average = total.checked_div(row.hits).unwrap_or_default();
    let mut hold = |what: &str, nanoseconds: u64, bounds: &Bounds| {
        let nanoseconds = i64::try_from(nanoseconds).unwrap_or(i64::MAX);
        measured += &format!(", {what} {}", time(nanoseconds));
        if !bounds.admits(nanoseconds) {
            let allowed = time_bounds(bounds);
            let message = format!("{what} {}, allowed {allowed}", time(nanoseconds));
            findings.note_time(&message, Vec::new(), nanoseconds, bounds.max);
        }
    };
    hold("time", total, &wanted.time);
    hold("average", average, &wanted.average);
    findings.result(measured)
}

/// Checks the deepest stack.
pub(super) fn stack_size(wanted: &StackSizeExpectation, timeline: &Timeline) -> CheckResult {
    let mut findings = Findings::new("stack-size".to_owned(), wanted.words());
    let Some(stack) = &timeline.reports.stack else {
        return findings.not_judged(NotJudged::Unanswered, "the stack tracer left no report");
    };
    let Some(bytes) = stack.bytes else {
        return findings.matched_nothing("the stack tracer has seen no stack", Vec::new());
    };
    let measured = format!("{bytes} B, {} functions", stack.frames.len());
    let is_too_small = wanted.min.is_some_and(|min| bytes < min.0);
    let is_too_large = wanted.max.is_some_and(|max| bytes > max.0);
    let evidence = || vec![stack.frames.join(" < ")];
    if is_too_small || is_too_large {
        findings.note_lines(
            &format!("{bytes} B, allowed {}", wanted.words()),
            evidence(),
        );
    }
    let mut frames = wanted.frames.iter().peekable();
    for frame in &stack.frames {
        if frames.peek() == Some(&frame) {
            frames.next();
        }
    }
    if let Some(missing) = frames.next() {
        let message = format!("{missing} does not stand there in this order");
        findings.note_lines(&message, evidence());
    }
    findings.result(measured)
}

/// Checks a sum in the histogram of an event.
pub(super) fn histogram(wanted: &HistogramExpectation, timeline: &Timeline) -> CheckResult {
    let entry = wanted.entry_words();
    let name = format!("histogram of {}: {entry}{}", wanted.event, wanted.value);
    let expected = count_bounds(&wanted.bounds);
    let mut findings = Findings::new(name, expected.clone());
    let Some(histograms) = timeline.reports.histograms.get(&wanted.event) else {
        return findings.not_judged(NotJudged::Unanswered, "the trigger left no report");
    };
    let fits = |entry: &HistogramEntry| {
        wanted
            .entry
            .iter()
            .all(|(key, value)| entry.key.get(key) == Some(value))
    };
    // Triggers may keep several histograms of one event: the first one that has the keys and the value is meant.
    let sums = |histogram: &Histogram| -> Option<Vec<u64>> {
        let entries = histogram.entries.iter().filter(|entry| fits(entry));
        let values = entries.map(|entry| entry.values.get(&wanted.value).copied());
        let values: Option<Vec<u64>> = values.collect();
        values.filter(|values| !values.is_empty())
    };
    let Some(values) = histograms.iter().find_map(sums) else {
        if wanted.bounds.at_most == Some(0) && histograms.iter().any(|one| one.hits > 0) {
            return findings.result("0");
        }
        let evidence: Vec<String> = histograms
            .iter()
            .map(|one| format!("{}: {} hits", one.trigger, one.hits))
            .collect();
        findings.note_lines(
            "matched nothing: no entry has these keys and this value",
            evidence,
        );
        return findings.result("nothing");
    };
    let sum = values
        .iter()
        .fold(0, |sum: u64, value| sum.saturating_add(*value));
    if !wanted.bounds.admits(sum) {
        findings.note(&format!("{sum}, allowed {expected}"), Vec::new());
    } else if sum == 0 && wanted.bounds.at_most != Some(0) {
        return findings.matched_nothing("the sum is 0", Vec::new());
    }
    findings.result(format!("{sum} in {} entries", values.len()))
}
