// SPDX-License-Identifier: GPL-2.0-only

//! Selects, counts and lists records, and measures the time from one event to another.
//!
//! In: records by time, of all CPUs together. Out: counts per event, lines of text, and pairs with the distribution of
//! their times.
//!
//! **Pairs.** A record that the start's selection takes opens a pair under the values of its key fields; a record that
//! the end's selection takes closes the open pair whose values are the same. So with `sched_wakeup` keyed by `pid` to
//! `sched_switch` keyed by `next_pid`, the time from a wake-up to the switch to that task is measured.
//!
//! - **A second start before an end replaces the first**: the time is that from the latest start, as a hist trigger's
//!   `ts0=common_timestamp` has it. What was replaced is counted ([`PairsReport::replaced_starts`]).
//! - A record that is both an end and a start closes first, and then opens.
//! - A start that no end came for, and an end without a start, are counted and not measured. Those at the edges of the
//!   trace are among them.
//! - A record that lacks a key field is neither; it is counted ([`PairsReport::starts_without_key`],
//!   [`PairsReport::ends_without_key`]).
//! - An end before its start is no time (clocks of CPUs may differ); it closes the pair and is counted
//!   ([`PairsReport::backward`]).
//! - At most a given number of pairs is open at once, [`MOST_OPEN`] unless said otherwise. A start beyond that is refused
//!   and counted, and the report is no longer whole ([`PairsReport::is_whole`]): its times are right, but some are missing.
//!
//! All idle tasks have pid 0: where those matter, key by `cpu` too.

use std::collections::{BTreeMap, HashMap};
use std::io;

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::record::{Event, Record};
use serde::Serialize;

use crate::durations::{Durations, Histogram, Scale, Summary};
use crate::expression::{self, Filter, HasSymbols, Operand, Problem};
use crate::fields::{self, Fields, Value};
use crate::names::{self, Names};
use crate::task::Task;
use crate::{glob, numbers};

/// Pairs that may be open at once, unless said otherwise. Each takes some 200 bytes.
pub const MOST_OPEN: usize = 1 << 16;

/// The slowest pairs that are kept with their times and keys.
pub const SLOWEST: usize = 10;

/// Bytes of a text that a key keeps; longer ones with the same start are the same key.
const KEY_BYTES: usize = 256;

/// A task's column, empty.
const BLANKS: &[u8; 22] = &[b' '; 22];

/// CPUs whose last record is remembered. The kernel's largest `NR_CPUS` is 8192.
const MOST_CPUS: usize = 1 << 13;

/// The events whose records are typed, in the order [`Chosen::typed`] has them.
const TYPED: [&str; 4] = ["funcgraph_entry", "funcgraph_exit", "function", "print"];

/// Why nothing can be selected like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A name or pattern takes no event.
    #[error(
        "no event of the trace is {pattern:?}{}",
        .nearest.as_deref().map_or_else(String::new, |name| format!("; the nearest is {name:?}"))
    )]
    NoEvent {
        /// What was asked for.
        pattern: String,
        /// The nearest event that there is.
        nearest: Option<String>,
    },
    /// The expression cannot be used.
    #[error(transparent)]
    Expression(#[from] expression::Error),
}

/// Takes records by their event and by an expression.
#[derive(Debug, Clone)]
pub struct Selection<'a> {
    fields: &'a Fields,
    chosen: Option<Chosen>,
    filter: Option<Filter>,
}

/// The events that are taken.
#[derive(Debug, Clone, Default)]
struct Chosen {
    by_id: Vec<bool>,
    typed: [bool; TYPED.len()],
}

impl<'a> Selection<'a> {
    /// Takes the records of the events that a pattern takes, or of all events if there is no pattern; of them those
    /// that pass the expression, if there is one.
    ///
    /// A pattern is `SYSTEM:EVENT`, `EVENT`, or `SYSTEM` for all of its events, each with the wildcards of
    /// [`crate::glob`].
    ///
    /// # Errors
    /// [`SelectionError`] when a pattern takes no event of the trace, or the expression cannot be used.
    pub fn new(
        patterns: &[&str],
        expression: Option<&str>,
        formats: &Formats,
        fields: &'a Fields,
        has_symbols: HasSymbols,
    ) -> Result<Self, SelectionError> {
        let chosen = if patterns.is_empty() {
            None
        } else {
            Some(Chosen::new(patterns, formats)?)
        };
        let filter = match expression {
            Some(text) => Some(Filter::new(text, formats, fields, has_symbols)?),
            None => None,
        };
        Ok(Self {
            fields,
            chosen,
            filter,
        })
    }

    /// Whether it takes a record.
    #[must_use]
    pub fn takes(&self, record: &Record<'_>, names: &mut Names<'_>) -> bool {
        self.chosen
            .as_ref()
            .is_none_or(|chosen| chosen.takes(record))
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(record, self.fields, names))
    }

    /// The fields it reads.
    #[must_use]
    pub fn fields(&self) -> &'a Fields {
        self.fields
    }
}

impl Chosen {
    fn new(patterns: &[&str], formats: &Formats) -> Result<Self, SelectionError> {
        let mut chosen = Self::default();
        for pattern in patterns {
            let mut any = false;
            for event in formats.events() {
                if !is_taken(pattern, event.system(), event.name()) {
                    continue;
                }
                any = true;
                let place = usize::from(event.id());
                if chosen.by_id.len() <= place {
                    chosen.by_id.resize(place.saturating_add(1), false);
                }
                if let Some(slot) = chosen.by_id.get_mut(place) {
                    *slot = true;
                }
                if event.system() == "ftrace" {
                    for (slot, name) in chosen.typed.iter_mut().zip(TYPED) {
                        *slot |= event.name() == name;
                    }
                }
            }
            if !any {
                return Err(no_event(pattern, formats));
            }
        }
        Ok(chosen)
    }

    fn takes(&self, record: &Record<'_>) -> bool {
        match record.event {
            Event::Other(access) => {
                let id = usize::from(access.format().id());
                self.by_id.get(id).copied().unwrap_or(false)
            }
            _ => {
                let (_, name) = fields::event_name(record);
                self.typed
                    .iter()
                    .zip(TYPED)
                    .any(|(taken, typed)| *taken && typed == name)
            }
        }
    }
}

fn is_taken(pattern: &str, system: &str, event: &str) -> bool {
    let matches = |pattern: &str, text: &str| glob::matches(pattern.as_bytes(), text.as_bytes());
    match pattern.split_once(':') {
        Some((of_system, of_event)) => matches(of_system, system) && matches(of_event, event),
        None => matches(pattern, event) || matches(pattern, system),
    }
}

fn no_event(pattern: &str, formats: &Formats) -> SelectionError {
    let full: Vec<String> = formats
        .events()
        .iter()
        .map(|event| format!("{}:{}", event.system(), event.name()))
        .collect();
    let bare = formats
        .events()
        .iter()
        .flat_map(|event| [event.name(), event.system()]);
    let nearest = if pattern.contains(':') {
        expression::nearest_name(pattern, full.iter().map(String::as_str))
    } else {
        expression::nearest_name(pattern, bare)
    };
    SelectionError::NoEvent {
        pattern: pattern.to_owned(),
        nearest,
    }
}

/// Counts records per event.
#[derive(Debug, Clone)]
pub struct Count<'a> {
    selection: Selection<'a>,
    report: CountReport,
    /// By system, then by name.
    events: BTreeMap<String, BTreeMap<String, EventCount>>,
}

/// How many records there are of which event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct CountReport {
    /// Records that were looked at.
    pub seen: u64,
    /// Records that were selected.
    pub selected: u64,
    /// Per event, those with most records first.
    pub events: Vec<EventCount>,
}

/// How many records there are of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventCount {
    /// The event's system.
    pub system: String,
    /// Its name.
    pub event: String,
    /// How many records.
    pub count: u64,
    /// Time of the first one.
    pub first_ns: u64,
    /// Time of the last one.
    pub last_ns: u64,
}

impl<'a> Count<'a> {
    /// Counts what a selection takes.
    #[must_use]
    pub fn new(selection: Selection<'a>) -> Self {
        Self {
            selection,
            report: CountReport::default(),
            events: BTreeMap::new(),
        }
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) {
        self.report.seen = self.report.seen.saturating_add(1);
        if !self.selection.takes(record, names) {
            return;
        }
        self.report.selected = self.report.selected.saturating_add(1);
        let (system, event) = fields::event_name(record);
        let known = self
            .events
            .get_mut(system)
            .and_then(|events| events.get_mut(event));
        if let Some(known) = known {
            known.count = known.count.saturating_add(1);
            known.last_ns = record.timestamp_ns;
            return;
        }
        let first = EventCount {
            system: system.to_owned(),
            event: event.to_owned(),
            count: 1,
            first_ns: record.timestamp_ns,
            last_ns: record.timestamp_ns,
        };
        self.events
            .entry(system.to_owned())
            .or_default()
            .insert(event.to_owned(), first);
    }

    /// The counts.
    #[must_use]
    pub fn finish(mut self) -> CountReport {
        let mut events: Vec<EventCount> = self
            .events
            .into_values()
            .flat_map(BTreeMap::into_values)
            .collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.count));
        self.report.events = events;
        self.report
    }
}

/// Writes a line for each record that a selection takes:
///
/// ```text
///  kworker/0:1-10   [000] d..2.     8.115407000: sched_switch: prev_comm=kworker/0:1 prev_pid=10
/// ```
///
/// That is task, CPU, flags as in the kernel's traces, seconds, event and fields. A stack belongs to the record before
/// it on its CPU: it is listed if that one was, whatever the selection says of stacks.
#[derive(Debug)]
pub struct List<'a, W> {
    selection: Selection<'a>,
    out: W,
    limit: u64,
    tally: ListTally,
    /// Per CPU, whether its last record was listed.
    listed: Vec<bool>,
    line: Vec<u8>,
}

/// What a list came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct ListTally {
    /// Records that were looked at.
    pub seen: u64,
    /// Records that were selected, stacks of others not among them.
    pub selected: u64,
    /// Of those, records that were written; the others are beyond the limit.
    pub written: u64,
}

impl<'a, W: io::Write> List<'a, W> {
    /// Writes what a selection takes to `out`, `limit` records at most.
    #[must_use]
    pub fn new(selection: Selection<'a>, limit: Option<u64>, out: W) -> Self {
        Self {
            selection,
            out,
            limit: limit.unwrap_or(u64::MAX),
            tally: ListTally::default(),
            listed: Vec::new(),
            line: Vec::new(),
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What the writer says.
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) -> io::Result<()> {
        self.tally.seen = self.tally.seen.saturating_add(1);
        let fields = self.selection.fields();
        let cpu = usize::try_from(record.cpu)
            .unwrap_or(usize::MAX)
            .min(MOST_CPUS);
        let is_stack = fields.is_stack(record);
        let of_listed = is_stack && self.listed.get(cpu).copied().unwrap_or(false);
        let selected = self.selection.takes(record, names);
        if selected && !of_listed {
            self.tally.selected = self.tally.selected.saturating_add(1);
        }
        let written = of_listed || (selected && self.tally.written < self.limit);
        if written {
            if !of_listed {
                self.tally.written = self.tally.written.saturating_add(1);
            }
            self.line.clear();
            push_line(&mut self.line, record, fields, names);
            self.out.write_all(&self.line)?;
        }
        if !is_stack {
            if self.listed.len() <= cpu {
                self.listed.resize(cpu.saturating_add(1), false);
            }
            if let Some(listed) = self.listed.get_mut(cpu) {
                *listed = written;
            }
        }
        Ok(())
    }

    /// Whether the limit is reached: what comes is only counted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tally.written >= self.limit
    }

    /// What it came to.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<ListTally> {
        self.out.flush()?;
        Ok(self.tally)
    }
}

/// One record as a line of text, its newline included.
pub fn push_line(line: &mut Vec<u8>, record: &Record<'_>, fields: &Fields, names: &mut Names<'_>) {
    let task = names.task(Task::of(record));
    let width = if task.is_ascii() {
        task.len()
    } else {
        task.chars().count()
    };
    line.extend_from_slice(BLANKS.get(width..).unwrap_or_default());
    line.extend_from_slice(task.as_bytes());
    line.extend_from_slice(b" [");
    numbers::push_padded(line, u64::from(record.cpu), 3);
    line.extend_from_slice(b"] ");
    names::push_flags(line, record.flags, record.preempt_count);
    line.push(b' ');
    numbers::push_seconds(line, record.timestamp_ns);
    line.extend_from_slice(b": ");
    fields.text(record, names, line);
    line.push(b'\n');
}

/// Which records pairs are made of.
#[derive(Debug, Clone)]
pub struct PairSpec<'a> {
    /// Takes the starts.
    pub start: Selection<'a>,
    /// Takes the ends.
    pub end: Selection<'a>,
    /// Fields of a start, and the fields of an end that must be the same. None: each end closes the latest start.
    pub keys: Vec<(&'a str, &'a str)>,
    /// How times are put into the histogram.
    pub scale: Scale,
    /// Pairs that may be open at once.
    pub most_open: usize,
}

/// Measures the time from one event to another.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    start: Selection<'a>,
    end: Selection<'a>,
    start_keys: Vec<Operand>,
    end_keys: Vec<Operand>,
    key_names: Vec<String>,
    most_open: usize,
    open: HashMap<Vec<KeyValue>, Start>,
    durations: Durations,
    histogram: Histogram,
    slowest: Vec<Pair>,
    report: PairsReport,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum KeyValue {
    Number(i128),
    Text(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
struct Start {
    at_ns: u64,
    cpu: u32,
}

/// Times from one event to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairsReport {
    /// Records that were looked at.
    pub seen: u64,
    /// Records that were selected as starts.
    pub starts: u64,
    /// Records that were selected as ends.
    pub ends: u64,
    /// Starts that an end came for.
    pub pairs: u64,
    /// Starts that no end came for, those replaced or refused not among them.
    pub unmatched_starts: u64,
    /// Ends without an open start.
    pub unmatched_ends: u64,
    /// Starts that another one with the same key replaced before an end came.
    pub replaced_starts: u64,
    /// Starts that lack a key field.
    pub starts_without_key: u64,
    /// Ends that lack a key field.
    pub ends_without_key: u64,
    /// Pairs whose end has an earlier time than their start; not measured.
    pub backward: u64,
    /// Starts that were refused since too many were open.
    pub refused_starts: u64,
    /// Whether no start was refused.
    pub is_whole: bool,
    /// The times. `None` without a pair: that is no time of 0.
    pub summary: Option<Summary>,
    /// The times in buckets.
    pub histogram: Histogram,
    /// The slowest pairs, slowest first; at most [`SLOWEST`].
    pub slowest: Vec<Pair>,
}

/// One start and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// How long it took.
    pub duration_ns: u64,
    /// When it started.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// The CPU of the start.
    pub start_cpu: u32,
    /// The CPU of the end.
    pub end_cpu: u32,
    /// Key fields as the start names them, with their values.
    pub key: Vec<(String, String)>,
}

impl<'a> Pairs<'a> {
    /// Measures pairs.
    ///
    /// # Errors
    /// [`SelectionError::Expression`] when no event of the trace has a key field.
    pub fn new(spec: PairSpec<'a>, formats: &Formats) -> Result<Self, SelectionError> {
        let operand = |name: &str, fields: &Fields| {
            let (operand, holds) = Operand::new(name, formats, fields);
            if holds.is_empty() {
                return Err(expression::Error {
                    column: 1,
                    problem: Problem::UnknownField {
                        name: name.to_owned(),
                        nearest: expression::nearest_field(name, formats),
                    },
                });
            }
            Ok(operand)
        };
        let keys = |side: fn(&(&'a str, &'a str)) -> &'a str, fields: &Fields| {
            spec.keys
                .iter()
                .map(|key| operand(side(key), fields))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            start_keys: keys(|key| key.0, spec.start.fields())?,
            end_keys: keys(|key| key.1, spec.end.fields())?,
            key_names: spec.keys.iter().map(|key| key.0.to_owned()).collect(),
            start: spec.start,
            end: spec.end,
            most_open: spec.most_open,
            open: HashMap::new(),
            durations: Durations::new(),
            histogram: Histogram::new(spec.scale),
            slowest: Vec::new(),
            report: PairsReport {
                seen: 0,
                starts: 0,
                ends: 0,
                pairs: 0,
                unmatched_starts: 0,
                unmatched_ends: 0,
                replaced_starts: 0,
                starts_without_key: 0,
                ends_without_key: 0,
                backward: 0,
                refused_starts: 0,
                is_whole: true,
                summary: None,
                histogram: Histogram::new(spec.scale),
                slowest: Vec::new(),
            },
        })
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Record<'_>, names: &mut Names<'_>) {
        count(&mut self.report.seen);
        let is_end = self.end.takes(record, names);
        let is_start = self.start.takes(record, names);
        if is_end {
            count(&mut self.report.ends);
            match key_of(&self.end_keys, record, self.end.fields(), names) {
                Some(key) => self.end(record, key),
                None => count(&mut self.report.ends_without_key),
            }
        }
        if is_start {
            count(&mut self.report.starts);
            match key_of(&self.start_keys, record, self.start.fields(), names) {
                Some(key) => self.start(record, key),
                None => count(&mut self.report.starts_without_key),
            }
        }
    }

    fn start(&mut self, record: &Record<'_>, key: Vec<KeyValue>) {
        let start = Start {
            at_ns: record.timestamp_ns,
            cpu: record.cpu,
        };
        if let Some(open) = self.open.get_mut(&key) {
            *open = start;
            count(&mut self.report.replaced_starts);
        } else if self.open.len() >= self.most_open {
            count(&mut self.report.refused_starts);
        } else {
            self.open.insert(key, start);
        }
    }

    fn end(&mut self, record: &Record<'_>, key: Vec<KeyValue>) {
        let Some(start) = self.open.remove(&key) else {
            return count(&mut self.report.unmatched_ends);
        };
        count(&mut self.report.pairs);
        let Some(duration_ns) = record.timestamp_ns.checked_sub(start.at_ns) else {
            return count(&mut self.report.backward);
        };
        self.durations.add(duration_ns);
        self.histogram.add(duration_ns);
        let is_slow = self.slowest.len() < SLOWEST
            || self
                .slowest
                .last()
                .is_some_and(|pair| pair.duration_ns < duration_ns);
        if !is_slow {
            return;
        }
        let place = self
            .slowest
            .partition_point(|pair| pair.duration_ns >= duration_ns);
        let values = key.into_iter().map(|value| match value {
            // So large a number is an address or a mask.
            KeyValue::Number(number) if number > i128::from(i64::MAX) => format!("{number:#x}"),
            KeyValue::Number(number) => number.to_string(),
            KeyValue::Text(text) => String::from_utf8_lossy(&text).into_owned(),
        });
        self.slowest.truncate(SLOWEST.saturating_sub(1));
        self.slowest.insert(
            place,
            Pair {
                duration_ns,
                start_ns: start.at_ns,
                end_ns: record.timestamp_ns,
                start_cpu: start.cpu,
                end_cpu: record.cpu,
                key: self.key_names.iter().cloned().zip(values).collect(),
            },
        );
    }

    /// What was measured.
    #[must_use]
    pub fn finish(self) -> PairsReport {
        PairsReport {
            unmatched_starts: u64::try_from(self.open.len()).unwrap_or(u64::MAX),
            is_whole: self.report.refused_starts == 0,
            summary: self.durations.summary(),
            histogram: self.histogram,
            slowest: self.slowest,
            ..self.report
        }
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// The values of the key fields; `None` if one is missing.
fn key_of(
    operands: &[Operand],
    record: &Record<'_>,
    fields: &Fields,
    names: &mut Names<'_>,
) -> Option<Vec<KeyValue>> {
    let mut key = Vec::with_capacity(operands.len());
    for operand in operands {
        let value = operand.value(record, fields, names)?;
        key.push(match (value, value.number()) {
            (Value::Missing, _) => return None,
            (_, Some(number)) => KeyValue::Number(number),
            (Value::Text(text), None) => {
                KeyValue::Text(text.get(..KEY_BYTES).unwrap_or(text).to_vec())
            }
            (other, None) => {
                let mut text = Vec::new();
                other.push_text(names, &mut text);
                text.truncate(KEY_BYTES);
                KeyValue::Text(text)
            }
        });
    }
    Some(key)
}
