// SPDX-License-Identifier: GPL-2.0-only

//! What the kernel itself sums up as text, by files of tracefs.
//!
//! In: the texts, by their paths below `reports/` of a run's trace. Out: [`Reports`]. A text that is not what the kernel
//! writes is an anomaly, and so is a trace behind a latency that has gaps.
//! Does not: know which reports a run should have left.
//! Source: `kernel/trace/trace_irqsoff.c`, `trace_sched_wakeup.c`, `ftrace.c`, `trace_stack.c`, `trace_events_hist.c`,
//! Linux 7.3, read by `deferinit_trace::texts`.

use std::collections::{BTreeMap, BTreeSet};

use deferinit_trace::texts::function_profile::FunctionProfile;
use deferinit_trace::texts::hist::{self, Hist, HistValue, Key};
use deferinit_trace::texts::latency::{self, Latency, RowEvent, Sample, TRACERS};
use deferinit_trace::texts::stack::{self, StackTrace};
use serde::{Deserialize, Serialize};

use crate::Anomalies;

/// What the kernel reports as text; of each none if the run left no such text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// What a latency tracer has found.
    pub latency: Option<LatencyReport>,
    /// What the function profiler has counted on all CPUs, by name.
    pub profile: Option<Vec<ProfiledFunction>>,
    /// The deepest stack.
    pub stack: Option<DeepestStack>,
    /// The histograms of each event, by `system:event`.
    pub histograms: BTreeMap<String, Vec<Histogram>>,
}

/// What a latency tracer has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// Its name.
    pub tracer: String,
    /// The longest latency; none if it has seen no latency at all.
    pub longest: Option<LongestLatency>,
}

/// The longest latency that a tracer has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongestLatency {
    /// In microseconds, rounded down.
    pub microseconds: u64,
    /// The name of the task it was in, or that was woken.
    pub task: String,
    /// That task's pid.
    pub pid: i32,
    /// The function in which it began; wakeup tracers note none.
    pub started_at: Option<String>,
    /// The function in which it ended.
    pub ended_at: Option<String>,
    /// The functions and events that the trace behind it has, by name, each once.
    pub shown: Vec<String>,
}

/// What the function profiler has counted of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfiledFunction {
    /// Its name; the kernel writes 30 characters of it at most.
    pub name: String,
    /// Whether it may be cut.
    pub may_be_cut: bool,
    /// Calls.
    pub hits: u64,
    /// The time of all calls in nanoseconds; none if the kernel counts calls only.
    pub total_ns: Option<u64>,
}

/// The deepest stack that the stack tracer has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeepestStack {
    /// Bytes; none if it has seen no stack.
    pub bytes: Option<u64>,
    /// Its functions, the innermost first.
    pub frames: Vec<String>,
}

/// A histogram of an event's trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// The trigger, as the kernel shows it.
    pub trigger: String,
    /// Events that were counted.
    pub hits: u64,
    /// Events that found no room.
    pub dropped: u64,
    /// Its entries.
    pub entries: Vec<HistogramEntry>,
}

/// What was counted under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramEntry {
    /// The fields of the key, by name.
    pub key: BTreeMap<String, String>,
    /// The sums, by name.
    pub values: BTreeMap<String, u64>,
}

/// Reads the texts, by paths such as `instance/trace`.
pub(crate) fn read(texts: &BTreeMap<String, String>, anomalies: &mut Anomalies) -> Reports {
    let mut note = |path: &str, message: String| {
        anomalies.note(None, format!("report {path}: {message}"));
    };
    let mut reports = Reports::default();
    for (path, text) in texts {
        let (_, file) = path.split_once('/').unwrap_or(("", path));
        if file == "tracing_max_latency" {
            let trace = texts.get(&path.replace(file, "trace"));
            match latency_report(text, trace.map(String::as_str)) {
                Ok(report) => reports.latency = Some(report),
                Err(message) => note(path, message),
            }
        } else if file.starts_with("trace_stat/function") {
            match FunctionProfile::parse(text.as_bytes()) {
                Ok(profile) => add_profile(reports.profile.get_or_insert_default(), profile),
                Err(error) => note(path, error.to_string()),
            }
        } else if file == "stack_max_size" {
            let trace = texts.get(&path.replace(file, "stack_trace"));
            match deepest_stack(text, trace.map(String::as_str)) {
                Ok(stack) => reports.stack = Some(stack),
                Err(message) => note(path, message),
            }
        } else if let Some(event) = histogram_event(file) {
            match hist::parse(text.as_bytes()) {
                Ok(histograms) => {
                    let histograms = histograms.into_iter().map(histogram).collect();
                    reports.histograms.insert(event, histograms);
                }
                Err(error) => note(path, error.to_string()),
            }
        }
    }
    for (event, histograms) in &reports.histograms {
        let dropped: u64 = histograms.iter().map(|one| one.dropped).sum();
        if dropped > 0 {
            let message = format!("the histogram of {event} had no room for {dropped} events");
            anomalies.note(None, message);
        }
    }
    reports
}

/// `system:event` of `events/system/event/hist`.
fn histogram_event(file: &str) -> Option<String> {
    let (system, event) = file
        .strip_prefix("events/")?
        .strip_suffix("/hist")?
        .split_once('/')?;
    Some(format!("{system}:{event}"))
}

fn latency_report(max: &str, trace: Option<&str>) -> Result<LatencyReport, String> {
    let max = latency::max_latency_us(max.as_bytes()).map_err(|error| error.to_string())?;
    let trace = trace.ok_or("the trace behind the latency is missing")?;
    match Latency::parse(trace.as_bytes()).map_err(|error| error.to_string())? {
        Latency::NoSample { tracer } => match max {
            // A latency below 1 us counts as one, but the kernel says 0.
            None => Ok(LatencyReport {
                tracer,
                longest: None,
            }),
            Some(max) => Err(format!("the longest latency is {max} us, but has no trace")),
        },
        Latency::Sample(sample) => longest(*sample, max),
    }
}

fn longest(sample: Sample, max: Option<u64>) -> Result<LatencyReport, String> {
    let microseconds = sample.latency_us;
    if max.is_some_and(|max| max != microseconds) {
        return Err(format!(
            "the longest latency is {} us, but its trace is of {microseconds} us",
            max.unwrap_or_default()
        ));
    }
    if sample.lost.marks > 0 {
        return Err("the trace behind the latency has gaps".to_owned());
    }
    let mut shown = BTreeSet::new();
    for row in sample.rows {
        match row.event {
            RowEvent::Call { function, .. } => {
                shown.insert(function);
            }
            RowEvent::Graph { text, .. } => {
                let name = text.trim().trim_end_matches(['{', ';', ' ', '(', ')']);
                shown.insert(name.to_owned());
            }
            RowEvent::Other { text } => {
                let name = text.split(':').next().unwrap_or_default();
                shown.insert(name.trim().to_owned());
            }
            RowEvent::Wakeup(_) | RowEvent::Switch(_) | RowEvent::Stack { .. } => {}
        }
    }
    let (started_at, ended_at) = match sample.section {
        Some(section) => (Some(section.started_at), Some(section.ended_at)),
        None => (None, None),
    };
    Ok(LatencyReport {
        tracer: sample.tracer,
        longest: Some(LongestLatency {
            microseconds,
            task: sample.task.comm,
            pid: sample.task.pid,
            started_at,
            ended_at,
            shown: shown.into_iter().collect(),
        }),
    })
}

/// Whether this is a tracer whose buffer holds nothing but the trace of its longest latency.
#[must_use]
pub fn keeps_longest_only(tracer: &str) -> bool {
    TRACERS.contains(&tracer)
}

/// Adds what one CPU has counted.
fn add_profile(all: &mut Vec<ProfiledFunction>, one: FunctionProfile) {
    for row in one.functions {
        let total_ns = row.times.map(|times| times.total_ns);
        match all.iter_mut().find(|known| known.name == row.name) {
            Some(known) => {
                known.hits = known.hits.saturating_add(row.calls);
                known.total_ns = known
                    .total_ns
                    .zip(total_ns)
                    .map(|(one, other)| one.saturating_add(other));
            }
            None => all.push(ProfiledFunction {
                name: row.name,
                may_be_cut: row.may_be_cut,
                hits: row.calls,
                total_ns,
            }),
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
}

fn deepest_stack(size: &str, trace: Option<&str>) -> Result<DeepestStack, String> {
    let bytes = stack::max_size_bytes(size.as_bytes()).map_err(|error| error.to_string())?;
    let trace = trace.ok_or("the functions on the deepest stack are missing")?;
    let trace = StackTrace::parse(trace.as_bytes()).map_err(|error| error.to_string())?;
    let frames = trace
        .frames
        .into_iter()
        .map(|frame| function_at(&frame.location));
    Ok(DeepestStack {
        bytes,
        frames: frames.collect(),
    })
}

/// The function of `SYMBOL+0xOFFSET/0xSIZE [MODULE]`.
fn function_at(location: &str) -> String {
    let symbol = location.split(['+', ' ']).next().unwrap_or(location);
    crate::demangle(symbol)
}

fn histogram(hist: Hist) -> Histogram {
    let entries = hist.entries.into_iter().map(|entry| HistogramEntry {
        key: entry
            .key
            .into_iter()
            .map(|(name, key)| (name, key_text(key)))
            .collect(),
        values: entry
            .values
            .into_iter()
            .filter_map(|(name, value)| match value {
                HistValue::Sum { value } => Some((name, value)),
                HistValue::Percent { .. } | HistValue::Bar { .. } => None,
            })
            .collect(),
    });
    Histogram {
        trigger: hist.trigger,
        hits: hist.totals.hits,
        dropped: hist.totals.dropped,
        entries: entries.collect(),
    }
}

/// A part of a key, as short as it can be told from others: a function by its name alone.
fn key_text(key: Key) -> String {
    match key {
        Key::Number { value } => value.to_string(),
        Key::Text { value } => value,
        Key::Symbol { symbol, .. } => function_at(&symbol),
        Key::Task { comm, .. } => comm,
        Key::Syscall { name, .. } => name,
        Key::Range { from, to } => format!("{from}-{to}"),
        Key::Stack { frames } => {
            let frames = frames.iter().map(|frame| function_at(frame));
            frames.collect::<Vec<_>>().join(" < ")
        }
    }
}
