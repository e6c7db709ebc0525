// SPDX-License-Identifier: GPL-2.0-only

//! Assembles a timeline from records: phases from the agent's markers, items from the module's events,
//! the module's init from `initcall`, and calls from function_graph.
//!
//! In: all records of one run in the order of time, then what else the run left. Out: a [`Timeline`].
//! Pure; memory grows with the number of records and no faster. What contradicts the protocol becomes an anomaly: it
//! never panics and is never left out silently.
//! Source: the module's `test_deferred` events, the agent's markers, `include/trace/events/initcall.h`, Linux 7.3.

use std::collections::BTreeMap;

use deferinit_ftrace::capture::{Capture, Tally};
use deferinit_ftrace::format::FieldError;
use deferinit_ftrace::record::{Event, FieldAccess, Record};
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;

use crate::calls::{Calls, Entry, Exit};
use crate::functions::Functions;
use crate::leaks::parse_leaks;
use crate::marker::{Marker, markers};
use crate::phase::{PhaseState, Step};
use crate::splats::find_splats;
use crate::{
    Anomalies, Armed, Ending, FinishCause, FormatVersion, Integrity, Item, ItemEvent, MAX_ITEMS,
    Moment, Queued, Returned, Timeline, TraceNanos,
};

/// Most phases one trace may hold; each takes memory of its own.
pub const MAX_PHASES: usize = 256;

/// How far an event's `time_ns` may lie behind its record's timestamp: it is read just before the record is written,
/// and only the clocks of two CPUs can differ between.
const CLOCK_SKEW: u64 = 1_000_000;

/// What a run left beside its records.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// Why it ended.
    pub ending: Ending,
    /// The text of `trace_clock`, with the clock in use in brackets.
    pub trace_clock: &'a str,
    /// The kernel's statistics of each CPU's buffer; empty if the guest could not hand them over.
    pub statistics: &'a BTreeMap<u32, Stats>,
    /// The kernel's log.
    pub dmesg: &'a str,
    /// The text of `kmemleak` after the last unload; none if no scan was made.
    pub kmemleak: Option<&'a str>,
}

/// Builds the timeline of one run: decodes `capture`, names addresses by `symbols`, and adds what else the run left.
#[must_use]
pub fn build(capture: &Capture<'_>, symbols: &Symbols, run: Run<'_>) -> Timeline {
    let mut assembly = Assembly::new(symbols);
    let mut records = capture.records();
    for record in records.by_ref() {
        assembly.add(&record);
    }
    assembly.finish(&records.finish(), run)
}

/// A timeline in the making.
#[derive(Debug)]
pub struct Assembly<'a> {
    symbols: &'a Symbols,
    phases: Vec<PhaseState>,
    /// Whether the last phase has begun and not ended.
    in_phase: bool,
    /// The agent's pid: the writer of the first marker.
    agent: Option<i32>,
    calls: Calls,
    functions: Functions,
    anomalies: Anomalies,
    first: Option<TraceNanos>,
    last: Option<TraceNanos>,
    records: u64,
}

impl<'a> Assembly<'a> {
    /// Starts with no record; addresses will be looked up in `symbols`.
    #[must_use]
    pub fn new(symbols: &'a Symbols) -> Self {
        Self {
            symbols,
            phases: Vec::new(),
            in_phase: false,
            agent: None,
            calls: Calls::default(),
            functions: Functions::default(),
            anomalies: Anomalies::default(),
            first: None,
            last: None,
            records: 0,
        }
    }

    /// Adds the next record; records come in the order of time, all CPUs merged.
    pub fn add(&mut self, record: &Record<'_>) {
        let at = TraceNanos(record.timestamp_ns);
        let moment = Moment {
            at,
            cpu: record.cpu,
            pid: record.pid,
            recorded: at,
        };
        self.records = self.records.saturating_add(1);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        match record.event {
            Event::FuncgraphEntry { function, depth } => {
                let phase = self.open_phase();
                self.calls.enter(Entry {
                    function,
                    depth,
                    moment,
                    phase,
                });
            }
            Event::FuncgraphExit {
                function,
                depth,
                retval,
                overrun,
                calltime,
                rettime,
            } => self.exit(Exit {
                function,
                depth,
                overrun,
                called: TraceNanos(calltime),
                returned: TraceNanos(rettime),
                return_value: retval,
                moment,
            }),
            Event::Print { text } => {
                for marker in markers(text) {
                    self.marker(&marker, moment);
                }
            }
            Event::Function { .. } => {}
            Event::Other(fields) => self.other(&fields, moment),
        }
    }

    /// Ends the assembly, with the decoder's tally and what the run left beside its records.
    #[must_use]
    pub fn finish(mut self, tally: &Tally, run: Run<'_>) -> Timeline {
        let trace_clock = clock_in_use(run.trace_clock).to_owned();
        if trace_clock != "local" {
            let message =
                format!("the trace clock is {trace_clock:?}, but times compare on \"local\" only");
            self.anomalies.note(None, message);
        }
        if let Some(phase) = self.phases.last().filter(|_| self.in_phase) {
            let message = format!("phase {} has no marker phase-end", phase.name());
            self.anomalies.note(Some(phase.begin()), message);
        }
        let leaks = run.kmemleak.map(|report| {
            parse_leaks(report).unwrap_or_else(|error| {
                self.anomalies.note(None, error.to_string());
                Vec::new()
            })
        });
        let mut functions = self.functions.finish(self.symbols, &mut self.anomalies);
        let mut phases = Vec::with_capacity(self.phases.len());
        for (index, phase) in self.phases.into_iter().enumerate() {
            let calls = functions.remove(&Some(index)).unwrap_or_default();
            phases.push(phase.finish(calls, &mut self.anomalies));
        }
        Timeline {
            format_version: FormatVersion,
            ending: run.ending,
            trace_clock,
            first: self.first,
            last: self.last,
            records: self.records,
            integrity: Integrity::gather(tally, run.statistics, self.calls.finish()),
            anomalies: self.anomalies,
            phases,
            functions: functions.remove(&None).unwrap_or_default(),
            splats: find_splats(run.dmesg),
            leaks,
        }
    }

    /// The index of the phase that is open.
    fn open_phase(&self) -> Option<usize> {
        if self.in_phase {
            self.phases.len().checked_sub(1)
        } else {
            None
        }
    }

    fn exit(&mut self, exit: Exit) {
        if exit.returned < exit.called {
            let message = format!(
                "a call returned at {} before it was made at {}",
                exit.returned, exit.called
            );
            self.anomalies.note(Some(exit.moment), message);
        }
        let begin = self.first.unwrap_or_default();
        if let Some(call) = self.calls.exit(exit, begin) {
            self.functions.add(&call);
        }
    }

    fn marker(&mut self, marker: &Marker<'_>, moment: Moment) {
        // The agent's supervisor, another thread, reports the deadline: the one that runs the phases is stuck.
        let by_supervisor = *marker == Marker::Finish(FinishCause::Deadline);
        let agent = *self.agent.get_or_insert(moment.pid);
        if agent != moment.pid && !by_supervisor {
            let message = format!(
                "marker {:?} is by pid {}, but the agent is pid {agent}",
                marker.line(),
                moment.pid
            );
            self.anomalies.note(Some(moment), message);
            return;
        }
        if let Marker::PhaseBegin(name) = marker {
            self.begin_phase(name, moment);
            return;
        }
        let in_phase = self.in_phase;
        let Some(phase) = self.phases.last_mut().filter(|_| in_phase) else {
            self.anomalies.note(
                Some(moment),
                format!("marker {:?} is outside every phase", marker.line()),
            );
            return;
        };
        if let Err(message) = phase.mark(marker, moment) {
            self.anomalies.note(Some(moment), message);
        }
        self.in_phase = phase.step() != Step::Ended;
    }

    fn begin_phase(&mut self, name: &str, moment: Moment) {
        if let Some(open) = self.phases.last().filter(|_| self.in_phase) {
            let message = format!("phase {name} begins before phase {} ended", open.name());
            self.anomalies.note(Some(moment), message);
        }
        if self.phases.iter().any(|phase| phase.name() == name) {
            self.anomalies
                .note(Some(moment), format!("phase {name} begins a second time"));
        }
        if self.phases.len() >= MAX_PHASES {
            self.anomalies.note(
                Some(moment),
                format!("phase {name} is one more than {MAX_PHASES}"),
            );
            self.in_phase = false;
            return;
        }
        self.phases.push(PhaseState::new(name, moment));
        self.in_phase = true;
    }

    fn other(&mut self, fields: &FieldAccess<'_>, moment: Moment) {
        let noted = match (fields.system(), fields.name()) {
            ("test_deferred", name) => match ItemEvent::ALL
                .into_iter()
                .find(|event| event.event_name() == name)
            {
                Some(event) => self.item(event, fields, moment),
                None => Err(format!("event {name} of the module is unknown")),
            },
            ("initcall", "initcall_start") => self.init_start(moment),
            ("initcall", "initcall_finish") => self.init_finish(fields, moment),
            ("ftrace", "print") => Err("a marker's text is no UTF-8".to_owned()),
            _ => Ok(()),
        };
        if let Err(message) = noted {
            self.anomalies.note(Some(moment), message);
        }
    }

    fn item(
        &mut self,
        event: ItemEvent,
        fields: &FieldAccess<'_>,
        moment: Moment,
    ) -> Result<(), String> {
        let occurrence =
            ItemOccurrence::read(event, fields, moment).map_err(|error| error.to_string())?;
        let name = event.event_name();
        let id = u32::try_from(occurrence.id)
            .ok()
            .filter(|id| *id < MAX_ITEMS)
            .ok_or_else(|| {
                format!(
                    "{name} has id {}, but ids are below {MAX_ITEMS}",
                    occurrence.id
                )
            })?;
        let at = occurrence.moment.at;
        if at.0 > moment.recorded.0.saturating_add(CLOCK_SKEW) {
            return Err(format!(
                "{name} id={id} has time_ns {at}, later than its record"
            ));
        }
        let in_phase = self.in_phase;
        let phase = self
            .phases
            .last_mut()
            .filter(|_| in_phase)
            .ok_or_else(|| format!("{name} id={id} is outside every phase"))?;
        phase.item(event, id, |item| occurrence.put(item))
    }

    /// The agent's own initcalls only: others are not the module's.
    fn loading_phase(&mut self, moment: Moment) -> Option<&mut PhaseState> {
        let ours = self.in_phase && self.agent == Some(moment.pid);
        self.phases
            .last_mut()
            .filter(|phase| ours && phase.step() == Step::Loading)
    }

    fn init_start(&mut self, moment: Moment) -> Result<(), String> {
        self.loading_phase(moment)
            .map_or(Ok(()), |phase| phase.init_start(moment))
    }

    fn init_finish(&mut self, fields: &FieldAccess<'_>, moment: Moment) -> Result<(), String> {
        let Some(phase) = self.loading_phase(moment) else {
            return Ok(());
        };
        let status = fields.signed("ret").map_err(|error| error.to_string())?;
        phase.init_finish(Returned { moment, status })
    }
}

/// The clock in brackets: `local` of `[local] global counter`; a text without brackets is a clock's name.
fn clock_in_use(text: &str) -> &str {
    text.split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or(text.trim(), |(clock, _)| clock)
}

/// One item event with its fields read.
struct ItemOccurrence {
    event: ItemEvent,
    id: u64,
    moment: Moment,
    delay_ns: u64,
    delay_jiffies: u64,
    expires: u64,
    error: i64,
}

impl ItemOccurrence {
    fn read(
        event: ItemEvent,
        fields: &FieldAccess<'_>,
        record: Moment,
    ) -> Result<Self, FieldError> {
        let at = TraceNanos(fields.unsigned("time_ns")?);
        let mut occurrence = Self {
            event,
            id: fields.unsigned("id")?,
            moment: Moment { at, ..record },
            delay_ns: 0,
            delay_jiffies: 0,
            expires: 0,
            error: 0,
        };
        match event {
            ItemEvent::Armed => {
                occurrence.delay_ns = fields.unsigned("delay_ns")?;
                occurrence.delay_jiffies = fields.unsigned("delay_jiffies")?;
            }
            ItemEvent::Queued => occurrence.expires = fields.unsigned("expires")?,
            ItemEvent::Ended => occurrence.error = fields.signed("error")?,
            ItemEvent::Started | ItemEvent::Cancelled => {}
        }
        Ok(occurrence)
    }

    /// Writes itself into its place in the item.
    fn put(&self, item: &mut Item) {
        let moment = self.moment;
        match self.event {
            ItemEvent::Armed => {
                let Self {
                    delay_ns,
                    delay_jiffies,
                    ..
                } = *self;
                item.armed = Some(Armed {
                    moment,
                    delay_ns,
                    delay_jiffies,
                });
            }
            ItemEvent::Queued => {
                item.queued = Some(Queued {
                    moment,
                    expires: self.expires,
                })
            }
            ItemEvent::Started => item.started = Some(moment),
            ItemEvent::Ended => {
                item.ended = Some(Returned {
                    moment,
                    status: self.error,
                })
            }
            ItemEvent::Cancelled => item.cancelled = Some(moment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clock_in_use;

    #[test]
    fn clock_in_use_is_the_bracketed_one() {
        assert_eq!(clock_in_use("local [global] counter\n"), "global");
        assert_eq!(clock_in_use("local\n"), "local");
        assert_eq!(clock_in_use(""), "");
    }
}
