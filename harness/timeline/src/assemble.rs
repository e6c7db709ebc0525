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
use deferinit_ftrace::record::{Event, FieldAccess, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use deferinit_trace::fields::Fields;

use crate::answers::Answers;
use crate::calls::{Calls, Entry, Exit};
use crate::functions::Functions;
use crate::item::Occurrence;
use crate::leaks::parse_leaks;
use crate::log::Log;
use crate::marker::{Marker, markers};
use crate::phase::{PhaseState, Step};
use crate::reports;
use crate::splats::find_splats;
use crate::{
    Anomalies, CommandHow, Ending, FinishCause, FormatVersion, Integrity, MAX_ITEMS, Moment, Query,
    Returned, Timeline, TraceNanos,
};

/// Most phases one trace may hold; each takes memory of its own.
pub const MAX_PHASES: usize = 256;

/// How far an event's `time_ns` and its record's timestamp may differ, unless the host stops the guest between: the one
/// is read just before the other, and only the clocks of two CPUs can differ.
pub(crate) const CLOCK_SKEW: u64 = 1_000_000;

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
    /// The module's own record of each phase, by the phase's name: the text of its file `results`.
    pub results: &'a BTreeMap<String, String>,
    /// The agent's record of the rounds of each phase that has them, by the phase's name, as JSON.
    pub rounds: &'a BTreeMap<String, String>,
    /// How the command of each phase that has one ended, by the agent's word, in the order in which they ran.
    pub commands: &'a [(String, CommandHow)],
    /// What the command of each phase that has one wrote, by the phase's name.
    pub outputs: &'a BTreeMap<String, String>,
    /// The texts of the kernel that were asked for, by paths such as `instance/trace`.
    pub reports: &'a BTreeMap<String, String>,
    /// The files of these three that are not whole: `output/PHASE`, `reports/PATH`.
    pub cut: &'a [String],
}

/// What a trace is read with.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What names addresses.
    pub symbols: &'a Symbols,
    /// What names tasks.
    pub tasks: &'a SavedCmdlines,
    /// The phase that the boot itself is, if the workload is in the kernel's image; or that begins with it.
    pub boot: Option<&'a str>,
    /// What is asked of the records.
    pub queries: &'a [Query],
    /// Whether returns of functions are recorded without their entries: those of calls that took longer than
    /// `tracing_thresh` (`trace_graph_thresh_return()`, `kernel/trace/trace_functions_graph.c`, Linux 7.3).
    pub has_exits_only: bool,
    /// For how long, in nanoseconds, the host may stop the guest between two instructions, so that times read one after
    /// the other lie apart; 0 where the guest's clock stops with it.
    pub longest_stall_ns: u64,
}

/// Builds the timeline of one run: decodes `capture` and adds what else the run left.
#[must_use]
pub fn build(capture: &Capture<'_>, reading: &Reading<'_>, run: Run<'_>) -> Timeline {
    let fields = Fields::new(capture.formats());
    let mut answers = Answers::new(
        reading.queries,
        capture.formats(),
        &fields,
        reading.symbols,
        reading.tasks,
    );
    let mut assembly = match reading.boot {
        Some(name) => Assembly::of_boot(reading.symbols, name),
        None => Assembly::new(reading.symbols),
    };
    assembly.calls = Calls::new(reading.has_exits_only);
    assembly.longest_stall_ns = reading.longest_stall_ns;
    let mut records = capture.records();
    while let Some(record) = records.next_record() {
        // Before the assembly: a call does not run within itself.
        let phase = assembly.open_phase_name();
        answers.record(&record, phase, || assembly.calls.open(&record));
        assembly.add(&record);
    }
    Timeline {
        answers: answers.finish(),
        ..assembly.finish(&records.finish(), run)
    }
}

/// The timeline of a run whose tracer keeps nothing but the trace of its longest latency, which is a text: the phases
/// are those whose commands have ended by the agent's word, and have no times.
#[must_use]
pub fn build_without_records(symbols: &Symbols, run: Run<'_>) -> Timeline {
    let mut assembly = Assembly::new(symbols);
    let moment = Moment {
        at: TraceNanos(0),
        cpu: 0,
        pid: 0,
        recorded: TraceNanos(0),
    };
    for (name, how) in run.commands {
        for marker in [
            Marker::PhaseBegin(name),
            Marker::CommandBegin(name),
            Marker::CommandEnd(name, *how),
            Marker::PhaseEnd(name),
        ] {
            assembly.marker(&marker, moment);
        }
    }
    let mut timeline = assembly.finish(&Tally::default(), run);
    timeline.integrity.is_unrecorded = true;
    timeline
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
    /// The phase that the boot itself is, if the workload is in the kernel's image; or that begins with it.
    boot: Option<&'a str>,
    /// The initcall level of a boot.
    level: Option<String>,
    calls: Calls,
    longest_stall_ns: u64,
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
            boot: None,
            level: None,
            calls: Calls::default(),
            longest_stall_ns: 0,
            functions: Functions::default(),
            anomalies: Anomalies::default(),
            first: None,
            last: None,
            records: 0,
        }
    }

    /// The same for a boot that belongs to a phase: `name` begins with the first record.
    #[must_use]
    pub fn of_boot(symbols: &'a Symbols, name: &'a str) -> Self {
        Self {
            boot: Some(name),
            ..Self::new(symbols)
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
        if let Some(name) = self.boot.filter(|_| self.phases.is_empty()) {
            self.phases.push(PhaseState::boot(name, moment));
            self.in_phase = true;
        }
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
            Event::Print { text, .. } => {
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
        // The module notes its times by the local clock.
        let loads = |phase: &PhaseState| phase.has_load();
        if trace_clock != "local" && (self.phases.is_empty() || self.phases.iter().any(loads)) {
            let message =
                format!("the trace clock is {trace_clock:?}, but times compare on \"local\" only");
            self.anomalies.note(None, message);
        }
        self.take_commands(&run);
        let open = self.phases.last().filter(|_| self.in_phase);
        if let Some(phase) = open.filter(|phase| !phase.is_stopped()) {
            let message = format!("phase {} has no marker phase-end", phase.name());
            self.anomalies.note(Some(phase.begin()), message);
        }
        let leaks = run.kmemleak.map(|report| {
            parse_leaks(report).unwrap_or_else(|error| {
                self.anomalies.note(None, error.to_string());
                Vec::new()
            })
        });
        self.note_missing_records(&run);
        self.take_rounds(&run);
        let mut functions = self.functions.finish(self.symbols, &mut self.anomalies);
        let mut phases = Vec::with_capacity(self.phases.len());
        for (index, phase) in self.phases.into_iter().enumerate() {
            let calls = functions.remove(&Some(index)).unwrap_or_default();
            let record = run.results.get(phase.name()).map(String::as_str);
            phases.push(phase.finish(calls, record, self.longest_stall_ns, &mut self.anomalies));
        }
        let log = Log::read(run.dmesg);
        let reports = reports::read(run.reports, &mut self.anomalies);
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
            log_lines: log.lines,
            log_cut: log.is_cut,
            leaks,
            answers: Vec::new(),
            reports,
        }
    }

    /// The agent's word on the commands of phases, and what they wrote.
    fn take_commands(&mut self, run: &Run<'_>) {
        for path in run.cut.iter().filter(|path| path.starts_with("reports/")) {
            self.anomalies.note(None, format!("{path} is not whole"));
        }
        for (name, how) in run.commands {
            let taken = match self.phases.iter_mut().find(|phase| phase.name() == name) {
                Some(phase) => phase.take_command(*how),
                None => Err(format!(
                    "the end of the command of phase {name:?} belongs to no phase"
                )),
            };
            if let Err(message) = taken {
                self.anomalies.note(None, message);
            }
        }
        for phase in &mut self.phases {
            let Some(text) = run.outputs.get(phase.name()) else {
                continue;
            };
            let path = format!("output/{}", phase.name());
            if let Err(message) = phase.take_output(text, run.cut.contains(&path)) {
                self.anomalies.note(Some(phase.begin()), message);
            }
        }
    }

    /// The module's record of a phase and the marker that the agent reads it after go together. A guest that died has
    /// handed over none.
    fn note_missing_records(&mut self, run: &Run<'_>) {
        for phase in &self.phases {
            let name = phase.name();
            match (phase.results(), run.results.contains_key(name)) {
                (Some(marker), false) if run.ending == Ending::Complete => self.anomalies.note(
                    Some(marker),
                    format!("the module's record of phase {name} is missing"),
                ),
                (None, true) => self.anomalies.note(
                    Some(phase.begin()),
                    format!("phase {name} has the module's record but no marker results"),
                ),
                _ => {}
            }
        }
        for name in run.results.keys() {
            if !self.phases.iter().any(|phase| phase.name() == name) {
                let message = format!("the module's record of phase {name:?} belongs to no phase");
                self.anomalies.note(None, message);
            }
        }
    }

    /// The agent's record of a phase's rounds and the marker that ends them go together, as above.
    fn take_rounds(&mut self, run: &Run<'_>) {
        for phase in &mut self.phases {
            match (run.rounds.get(phase.name()), phase.rounds_end()) {
                (Some(text), _) => {
                    if let Err(message) = phase.take_rounds(text) {
                        self.anomalies.note(Some(phase.begin()), message);
                    }
                }
                (None, Some(marker)) if run.ending == Ending::Complete => self.anomalies.note(
                    Some(marker),
                    format!(
                        "the record of the rounds of phase {} is missing",
                        phase.name()
                    ),
                ),
                (None, _) => {}
            }
        }
        for name in run.rounds.keys() {
            if !self.phases.iter().any(|phase| phase.name() == name) {
                let message = format!("the record of the rounds of phase {name:?} belongs to none");
                self.anomalies.note(None, message);
            }
        }
    }

    /// The index of the phase that is open, if what is recorded is of it.
    fn open_phase(&self) -> Option<usize> {
        let open = self.phases.last().filter(|_| self.in_phase)?;
        if open.step().is_recorded() {
            self.phases.len().checked_sub(1)
        } else {
            None
        }
    }

    /// The name of the same.
    fn open_phase_name(&self) -> Option<&str> {
        Some(self.phases.get(self.open_phase()?)?.name())
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
        let phase = self.open_phase();
        if let Some(call) = self.calls.exit(exit, begin, phase) {
            self.functions.add(&call);
        }
    }

    fn marker(&mut self, marker: &Marker<'_>, moment: Moment) {
        // The agent's supervisor, another thread, reports the deadline and what is there then: the one that runs the
        // phases is stuck.
        let is_past_deadline = self.in_phase
            && self
                .phases
                .last()
                .is_some_and(|phase| phase.step().is_past_deadline());
        let by_supervisor = match marker {
            Marker::Finish(FinishCause::Deadline) => true,
            Marker::Results => is_past_deadline,
            _ => false,
        };
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
        let boot = self.phases.last_mut().filter(|_| self.in_phase);
        if boot.is_some_and(|boot| boot.first_process(name, moment)) {
            // Initcalls are over, and what is armed from now on is armed by no level.
            self.level = None;
            // This marker is by the agent's first thread, the others are by the one that runs phases.
            self.agent = None;
            return;
        }
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
            ("test_deferred", _) => self.item(fields, moment),
            ("initcall", "initcall_level") if self.boot.is_some() => fields
                .text("level")
                .map(|level| self.level = Some(level.to_owned()))
                .map_err(|error| error.to_string()),
            ("initcall", "initcall_start") => self.init_start(moment),
            ("initcall", "initcall_finish") => self.init_finish(fields, moment),
            ("ftrace", "print") => Err("a marker's text is no UTF-8".to_owned()),
            _ => Ok(()),
        };
        if let Err(message) = noted {
            self.anomalies.note(Some(moment), message);
        }
    }

    fn item(&mut self, fields: &FieldAccess<'_>, record: Moment) -> Result<(), String> {
        let name = fields.name();
        let occurrence = Occurrence::read(fields)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("event {name} of the module is unknown"))?;
        let field = |field| fields.unsigned(field).map_err(|error| error.to_string());
        let (id, at) = (field("id")?, TraceNanos(field("time_ns")?));
        let id = u32::try_from(id)
            .ok()
            .filter(|id| *id < MAX_ITEMS)
            .ok_or_else(|| format!("{name} has id {id}, but ids are below {MAX_ITEMS}"))?;
        let recorded = record.recorded;
        if at.0 > recorded.0.saturating_add(CLOCK_SKEW) {
            return Err(format!(
                "{name} id={id} has time_ns {at}, later than its record"
            ));
        }
        let latest =
            at.0.saturating_add(CLOCK_SKEW)
                .saturating_add(self.longest_stall_ns);
        if recorded.0 > latest {
            // Its time may still be right, so it is taken.
            self.anomalies.note(
                Some(record),
                format!("{name} id={id} has time_ns {at}, long before its record at {recorded}"),
            );
        }
        let in_phase = self.in_phase;
        let phase = self
            .phases
            .last_mut()
            .filter(|_| in_phase)
            .ok_or_else(|| format!("{name} id={id} is outside every phase"))?;
        phase.item(
            id,
            occurrence,
            Moment { at, ..record },
            self.level.as_deref(),
        )
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
