// SPDX-License-Identifier: GPL-2.0-only

//! Answers queries in one pass over the records.
//!
//! In: queries; each record with the phase it belongs to and the calls that are open in its task. Out: an [`Answer`] for
//! each query, in their order. Memory grows with the pairs of [`Question::Pairs`] only.
//! Does not: know phases, or pair function_graph's records (`assemble`, `calls`).
//! Source: `kernel_stack` follows the record it belongs to on the same CPU (`__ftrace_trace_stack()`,
//! `kernel/trace/trace.c`, Linux 7.3); an interrupt between them leaves a record and its stack in between.

use std::collections::{BTreeMap, HashMap};

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_trace::events::Selection;
use deferinit_trace::expression::HasSymbols;
use deferinit_trace::fields::{Fields, Value, event_name};
use deferinit_trace::names::Names;

use crate::marker::is_marker;
use crate::query::{
    Counted, Found, KEPT_SIGHTINGS, KeyedOccasion, Occasion, Pair, Pairs, Question, keep,
};
use crate::{Answer, Moment, Query, Sighting, TraceNanos};

/// Records of a CPU that may still get their stack trace: an interrupt's, a soft interrupt's, an NMI's and the task's.
const MOST_WITHOUT_STACK: usize = 8;

/// What a trace's records are read with.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    fields: &'a Fields,
    names: Names<'a>,
}

/// All queries, while records come.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    reading: Reading<'a>,
    asked: Vec<Asked<'a>>,
    /// By CPU, the records without a stack trace so far: which queries each of them is an occasion of.
    pending: HashMap<u32, Vec<Pending>>,
    has_stacks: bool,
}

#[derive(Debug)]
struct Asked<'a> {
    query: &'a Query,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    Unanswerable(String),
    Count {
        of: Watch<'a>,
        counted: Counted,
    },
    Pairs(Box<PairState<'a>>),
    Below {
        of: Watch<'a>,
        function: Named<'a>,
        all: u64,
        below: Counted,
        elsewhere: Vec<Sighting>,
    },
    Stacks {
        of: Watch<'a>,
        frames: &'a [String],
        all: u64,
        with_stack: u64,
        matching: Counted,
        others: Vec<Sighting>,
    },
}

#[derive(Debug)]
struct PairState<'a> {
    from: Watch<'a>,
    from_key: Option<&'a str>,
    to: Watch<'a>,
    to_key: Option<&'a str>,
    wanted: &'a [u32],
    open: BTreeMap<String, Moment>,
    pairs: Vec<Pair>,
    found: Pairs,
}

#[derive(Debug)]
struct Pending {
    moment: Moment,
    /// The queries, by their number.
    queries: Vec<usize>,
}

/// Finds the records of an occasion.
#[derive(Debug)]
enum Watch<'a> {
    Event(Box<Selection<'a>>),
    Function(Named<'a>),
}

/// Finds a function by its name, each address looked up once.
#[derive(Debug)]
struct Named<'a> {
    name: &'a str,
    known: HashMap<u64, bool>,
}

impl<'a> Named<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            known: HashMap::new(),
        }
    }

    fn is_at(&mut self, address: u64, names: &mut Names<'_>) -> bool {
        let wanted = self.name;
        *self
            .known
            .entry(address)
            .or_insert_with(|| is_named(address, wanted, names))
    }
}

/// Whether a function has a name: in full, its last part, or its raw symbol.
fn is_named(address: u64, wanted: &str, names: &mut Names<'_>) -> bool {
    let raw = names.symbols().resolve(address);
    if raw.is_some_and(|found| found.name == wanted) {
        return true;
    }
    let name = names.function(address);
    name == wanted || name.rsplit("::").next() == Some(wanted)
}

impl<'a> Watch<'a> {
    fn new(
        occasion: &'a Occasion,
        formats: &Formats,
        fields: &'a Fields,
        has_symbols: HasSymbols,
    ) -> Result<Self, String> {
        match occasion {
            Occasion::Function(name) => Ok(Self::Function(Named::new(name))),
            Occasion::Event { event, filter } => {
                let patterns = [event.as_str()];
                Selection::new(&patterns, filter.as_deref(), formats, fields, has_symbols)
                    .map(|selection| Self::Event(Box::new(selection)))
                    .map_err(|error| error.to_string())
            }
        }
    }

    fn sees(&mut self, record: &Record<'_>, names: &mut Names<'_>) -> bool {
        match self {
            Self::Event(selection) => selection.takes(record, names),
            Self::Function(function) => match record.event {
                Event::FuncgraphEntry {
                    function: address, ..
                }
                | Event::Function { ip: address, .. } => function.is_at(address, names),
                Event::FuncgraphExit { .. } | Event::Print { .. } | Event::Other(_) => false,
            },
        }
    }
}

impl<'a> State<'a> {
    fn new(
        question: &'a Question,
        formats: &Formats,
        fields: &'a Fields,
        has_symbols: HasSymbols,
    ) -> Self {
        let watch = |occasion| Watch::new(occasion, formats, fields, has_symbols);
        let state = match question {
            Question::Count(of) => watch(of).map(|of| Self::Count {
                of,
                counted: Counted::default(),
            }),
            Question::Pairs {
                from,
                to,
                percentiles,
            } => PairState::new(from, to, percentiles, watch)
                .map(|pairs| Self::Pairs(Box::new(pairs))),
            Question::Below { of, function } => watch(of).map(|of| Self::Below {
                of,
                function: Named::new(function),
                all: 0,
                below: Counted::default(),
                elsewhere: Vec::new(),
            }),
            Question::Stacks { of, frames } => watch(of).map(|of| Self::Stacks {
                of,
                frames,
                all: 0,
                with_stack: 0,
                matching: Counted::default(),
                others: Vec::new(),
            }),
        };
        state.unwrap_or_else(Self::Unanswerable)
    }

    fn finish(self) -> Found {
        match self {
            Self::Unanswerable(why) => Found::Unanswerable(why),
            Self::Count { counted, .. } => Found::Count(counted),
            Self::Pairs(pairs) => Found::Pairs(pairs.finish()),
            Self::Below {
                all,
                below,
                elsewhere,
                ..
            } => Found::Below {
                all,
                below,
                elsewhere,
            },
            Self::Stacks {
                all,
                with_stack,
                matching,
                others,
                ..
            } => Found::Stacks {
                all,
                with_stack,
                matching,
                others,
            },
        }
    }
}

impl<'a> PairState<'a> {
    fn new(
        from: &'a KeyedOccasion,
        to: &'a KeyedOccasion,
        wanted: &'a [u32],
        watch: impl Fn(&'a Occasion) -> Result<Watch<'a>, String>,
    ) -> Result<Self, String> {
        Ok(Self {
            from: watch(&from.of)?,
            from_key: from.key.as_deref(),
            to: watch(&to.of)?,
            to_key: to.key.as_deref(),
            wanted,
            open: BTreeMap::new(),
            pairs: Vec::new(),
            found: Pairs::default(),
        })
    }

    fn record(&mut self, record: &Record<'_>, moment: Moment, reading: &mut Reading<'_>) {
        // What is both ends one pair and begins the next.
        if self.to.sees(record, &mut reading.names) {
            match reading.key(record, self.to_key) {
                None => count(&mut self.found.without_key),
                Some(key) => match self.open.remove(&key) {
                    Some(from) => self.pairs.push(Pair {
                        from,
                        to: moment,
                        key,
                    }),
                    None => self.found.unbegun.add(moment, || reading.text(record)),
                },
            }
        }
        if self.from.sees(record, &mut reading.names) {
            match reading.key(record, self.from_key) {
                None => count(&mut self.found.without_key),
                Some(key) => {
                    if self.open.insert(key, moment).is_some() {
                        count(&mut self.found.unended);
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Pairs {
        self.pairs
            .sort_by_key(|pair| (pair.nanoseconds(), pair.from.recorded, pair.from.cpu));
        let pairs = &self.pairs;
        let still_open = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        let count = u64::try_from(pairs.len()).unwrap_or(u64::MAX);
        let percentile = |thousandths: &u32| {
            let pair = pairs.get(nearest_rank(count, *thousandths)?)?;
            Some((*thousandths, pair.clone()))
        };
        Pairs {
            count,
            unended: self.found.unended.saturating_add(still_open),
            shortest: pairs.iter().take(KEPT_SIGHTINGS).cloned().collect(),
            longest: pairs.iter().rev().take(KEPT_SIGHTINGS).cloned().collect(),
            percentiles: self.wanted.iter().filter_map(percentile).collect(),
            ..self.found
        }
    }
}

/// The place of a nearest-rank percentile among `count` values in ascending order; none if there is no value.
fn nearest_rank(count: u64, thousandths: u32) -> Option<usize> {
    let rank = u128::from(count)
        .saturating_mul(u128::from(thousandths))
        .div_ceil(100_000)
        .max(1);
    usize::try_from(rank).ok()?.checked_sub(1)
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl Reading<'_> {
    /// The value of the key's field, or of what every record has; an empty text without a key.
    fn key(&mut self, record: &Record<'_>, key: Option<&str>) -> Option<String> {
        let Some(name) = key else {
            return Some(String::new());
        };
        match self.fields.value(record, name) {
            Some(Value::Missing) => None,
            Some(value) => {
                let mut text = Vec::new();
                value.push_text(&mut self.names, &mut text);
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            None => match name {
                "common_pid" | "pid" => Some(record.pid.to_string()),
                "common_cpu" | "cpu" => Some(record.cpu.to_string()),
                _ => None,
            },
        }
    }

    /// What a record says.
    fn text(&mut self, record: &Record<'_>) -> String {
        let address = match record.event {
            Event::FuncgraphEntry { function, .. } | Event::FuncgraphExit { function, .. } => {
                Some(function)
            }
            Event::Function { ip, .. } => Some(ip),
            Event::Print { .. } | Event::Other(_) => None,
        };
        let (_, event) = event_name(record);
        if let Some(address) = address {
            return format!(
                "{event} {} pid={}",
                self.names.function(address),
                record.pid
            );
        }
        let mut text = Vec::new();
        self.fields.text(record, &mut self.names, &mut text);
        let text = String::from_utf8_lossy(&text);
        text.trim_end().to_owned()
    }

    /// The functions of a stack trace, the innermost first.
    fn stack(&mut self, record: &Record<'_>) -> Option<Vec<u64>> {
        match self.fields.value(record, "caller")? {
            Value::Frames(frames) => Some(
                frames
                    .bits()
                    .take_while(|address| !matches!(*address, 0 | u64::MAX))
                    .collect(),
            ),
            _ => None,
        }
    }
}

impl<'a> Answers<'a> {
    /// Asks `queries` of a trace with these formats and names.
    pub(crate) fn new(
        queries: &'a [Query],
        formats: &Formats,
        fields: &'a Fields,
        symbols: &'a Symbols,
        tasks: &'a SavedCmdlines,
    ) -> Self {
        let has_symbols = HasSymbols::Yes;
        let asked: Vec<Asked<'a>> = queries
            .iter()
            .map(|query| Asked {
                query,
                state: State::new(&query.question, formats, fields, has_symbols),
            })
            .collect();
        let has_stacks = asked
            .iter()
            .any(|asked| matches!(asked.state, State::Stacks { .. }));
        Self {
            reading: Reading {
                fields,
                names: Names::new(symbols, tasks),
            },
            asked,
            pending: HashMap::new(),
            has_stacks,
        }
    }

    /// Takes the next record. `phase` is the one it belongs to; `open` has the addresses of the functions that its task
    /// runs then.
    pub(crate) fn record<I: Iterator<Item = u64>>(
        &mut self,
        record: &Record<'_>,
        phase: Option<&str>,
        open: impl Fn() -> I,
    ) {
        if self.asked.is_empty() || is_marker(record) {
            return;
        }
        let at = TraceNanos(record.timestamp_ns);
        let moment = Moment {
            at,
            cpu: record.cpu,
            pid: record.pid,
            recorded: at,
        };
        if self.has_stacks && self.reading.fields.is_stack(record) {
            self.stack(record);
            return;
        }
        let mut waiting = Vec::new();
        if let Some(phase) = phase {
            let asked = self.asked.iter_mut().enumerate();
            for (number, asked) in asked.filter(|(_, asked)| asked.query.phase == phase) {
                let reading = &mut self.reading;
                match &mut asked.state {
                    State::Unanswerable(_) => {}
                    State::Count { of, counted } => {
                        if of.sees(record, &mut reading.names) {
                            counted.add(moment, || reading.text(record));
                        }
                    }
                    State::Pairs(pairs) => pairs.record(record, moment, reading),
                    State::Below {
                        of,
                        function,
                        all,
                        below,
                        elsewhere,
                    } => {
                        if of.sees(record, &mut reading.names) {
                            count(all);
                            if open().any(|address| function.is_at(address, &mut reading.names)) {
                                below.add(moment, || reading.text(record));
                            } else {
                                keep(elsewhere, moment, || reading.text(record));
                            }
                        }
                    }
                    State::Stacks { of, all, .. } => {
                        if of.sees(record, &mut reading.names) {
                            count(all);
                            waiting.push(number);
                        }
                    }
                }
            }
        }
        if self.has_stacks {
            let pending = self.pending.entry(record.cpu).or_default();
            if pending.len() >= MOST_WITHOUT_STACK {
                pending.remove(0);
            }
            pending.push(Pending {
                moment,
                queries: waiting,
            });
        }
    }

    /// Gives a stack trace to the record that it belongs to: the last one of its task that has none.
    fn stack(&mut self, record: &Record<'_>) {
        let Some(pending) = self.pending.get_mut(&record.cpu) else {
            return;
        };
        let owner = pending
            .iter()
            .rposition(|pending| pending.moment.pid == record.pid);
        let Some(owner) = owner else {
            return;
        };
        let Pending { moment, queries } = pending.remove(owner);
        if queries.is_empty() {
            return;
        }
        let Some(addresses) = self.reading.stack(record) else {
            return;
        };
        let reading = &mut self.reading;
        let functions: Vec<String> = addresses
            .iter()
            .map(|address| reading.names.function(*address).to_owned())
            .collect();
        for number in queries {
            let state = self.asked.get_mut(number).map(|asked| &mut asked.state);
            let Some(State::Stacks {
                frames,
                with_stack,
                matching,
                others,
                ..
            }) = state
            else {
                continue;
            };
            count(with_stack);
            let text = || functions.join(" < ");
            let mut wanted = frames.iter().peekable();
            for address in &addresses {
                let is_next = wanted
                    .peek()
                    .is_some_and(|name| is_named(*address, name, &mut reading.names));
                if is_next {
                    wanted.next();
                }
            }
            if wanted.peek().is_none() {
                matching.add(moment, text);
            } else {
                keep(others, moment, text);
            }
        }
    }

    /// The answers, in the order of the queries.
    pub(crate) fn finish(self) -> Vec<Answer> {
        self.asked
            .into_iter()
            .map(|asked| Answer {
                query: asked.query.clone(),
                found: asked.state.finish(),
            })
            .collect()
    }
}
