// SPDX-License-Identifier: GPL-2.0-only

//! The state of one phase while its records are read.
//!
//! In: the agent's markers, item events and initcalls of one phase, in the order of time. Out: a [`PhaseSpan`].
//! Each function returns what contradicts the protocol as a message; the phase stays as it was then.
//! Source: the agent's protocol: begin, load, loaded, [trigger,] done or held or deadline, [results,] unload, unloaded, end.
//! Of rounds: begin, rounds-begin, rounds-end, end. Of a command: begin, command-begin, command-end, end.
//! Of a boot, whose workload is in the kernel's image: begin, done or held or deadline, [results,] end.

use std::collections::BTreeMap;

use crate::item::Occurrence;
use crate::log::Output;
use crate::marker::Marker;
use crate::record;
use crate::{
    Anomalies, CommandHow, CommandSpan, Finish, FinishCause, Function, InitSpan, Item, Moment,
    PhaseSpan, Returned, RoundsRecord, RoundsSpan,
};

/// Which marker a phase has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begun,
    /// The kernel boots, with the workload in its image.
    Booting,
    /// The same, its wait over.
    Booted,
    Loading,
    Loaded,
    Triggered,
    Finished,
    /// Finished, and the module's own record is being read.
    Recorded,
    PastDeadline,
    /// The same past the deadline.
    RecordedLate,
    Unloading,
    /// The module comes and goes, and nothing is recorded.
    InRounds,
    /// A command runs.
    Running,
    /// It has ended.
    Ran,
    /// Unloaded, or never loaded.
    Gone,
    Ended,
}

impl Step {
    /// The step that a marker leads to; none if it must not come here.
    fn after(self, marker: &Marker<'_>) -> Option<Self> {
        match (self, marker) {
            (Self::Begun, Marker::Load) => Some(Self::Loading),
            (Self::Begun, Marker::RoundsBegin) => Some(Self::InRounds),
            // A boot may be of a command, too.
            (Self::Begun | Self::Booting, Marker::CommandBegin(_)) => Some(Self::Running),
            (Self::Running, Marker::CommandEnd(..)) => Some(Self::Ran),
            // The agent's supervisor: the command is still running.
            (Self::Running, Marker::Finish(FinishCause::Deadline)) => Some(Self::PastDeadline),
            (Self::InRounds, Marker::RoundsEnd(_)) => Some(Self::Gone),
            (Self::Booting, Marker::Finish(FinishCause::Deadline)) => Some(Self::PastDeadline),
            (Self::Booting, Marker::Finish(_)) | (Self::Booted, Marker::Results) => {
                Some(Self::Booted)
            }
            (Self::Loading, Marker::Loaded(0)) => Some(Self::Loaded),
            (Self::Loading, Marker::Loaded(_)) => Some(Self::Gone),
            (Self::Loaded, Marker::Trigger) => Some(Self::Triggered),
            (Self::Loaded | Self::Triggered, Marker::Finish(FinishCause::Deadline)) => {
                Some(Self::PastDeadline)
            }
            (Self::Loaded | Self::Triggered, Marker::Finish(_)) => Some(Self::Finished),
            (Self::Finished, Marker::Results) => Some(Self::Recorded),
            (Self::PastDeadline, Marker::Results) => Some(Self::RecordedLate),
            (
                Self::Finished | Self::Recorded | Self::PastDeadline | Self::RecordedLate,
                Marker::Unload,
            ) => Some(Self::Unloading),
            (Self::Unloading, Marker::Unloaded(_)) => Some(Self::Gone),
            // Past its deadline a phase may end without an unload: the run is lost anyway.
            (
                Self::Gone | Self::Ran | Self::Booted | Self::PastDeadline | Self::RecordedLate,
                Marker::PhaseEnd(_),
            ) => Some(Self::Ended),
            _ => None,
        }
    }

    /// Whether the agent's wait in the phase was in vain.
    pub(crate) fn is_past_deadline(self) -> bool {
        matches!(self, Self::PastDeadline | Self::RecordedLate)
    }

    /// Whether the module can run, so that its items can leave records.
    fn has_module(self) -> bool {
        match self {
            Self::Booting
            | Self::Booted
            | Self::Loading
            | Self::Loaded
            | Self::Triggered
            | Self::Finished
            | Self::Recorded
            | Self::PastDeadline
            | Self::RecordedLate
            | Self::Unloading => true,
            Self::Begun | Self::InRounds | Self::Running | Self::Ran | Self::Gone | Self::Ended => {
                false
            }
        }
    }

    /// Whether what is recorded is of the phase, and not of the agent before and after a command.
    pub(crate) fn is_recorded(self) -> bool {
        match self {
            Self::Begun | Self::Ran | Self::Ended => false,
            Self::Booting
            | Self::Booted
            | Self::Loading
            | Self::Loaded
            | Self::Triggered
            | Self::Finished
            | Self::Recorded
            | Self::PastDeadline
            | Self::RecordedLate
            | Self::Unloading
            | Self::InRounds
            | Self::Running
            | Self::Gone => true,
        }
    }
}

/// One phase in the making.
#[derive(Debug)]
pub(crate) struct PhaseState {
    span: PhaseSpan,
    items: BTreeMap<u32, Item>,
    /// How many rounds there were, by the marker.
    rounds: Option<u32>,
    step: Step,
}

impl PhaseState {
    pub(crate) fn new(name: &str, begin: Moment) -> Self {
        let span = PhaseSpan {
            name: name.to_owned(),
            begin,
            first_process: None,
            load: None,
            loaded: None,
            init: None,
            trigger: None,
            finish: None,
            results: None,
            unload: None,
            unloaded: None,
            end: None,
            items: Vec::new(),
            record: None,
            functions: Vec::new(),
            rounds: None,
            command: None,
        };
        Self {
            span,
            items: BTreeMap::new(),
            rounds: None,
            step: Step::Begun,
        }
    }

    /// A phase that is a boot, or begins with it: with the first record.
    pub(crate) fn boot(name: &str, begin: Moment) -> Self {
        Self {
            step: Step::Booting,
            ..Self::new(name, begin)
        }
    }

    /// Notes that PID 1 runs; false if this is no boot, or it was noted before.
    pub(crate) fn first_process(&mut self, name: &str, moment: Moment) -> bool {
        let is_first = self.step == Step::Booting
            && self.span.name == name
            && self.span.first_process.is_none();
        if is_first {
            self.span.first_process = Some(moment);
        }
        is_first
    }

    pub(crate) fn name(&self) -> &str {
        &self.span.name
    }

    pub(crate) fn begin(&self) -> Moment {
        self.span.begin
    }

    /// Marker `results`.
    pub(crate) fn results(&self) -> Option<Moment> {
        self.span.results
    }

    /// Marker `rounds-end`.
    pub(crate) fn rounds_end(&self) -> Option<Moment> {
        self.span.rounds?.end
    }

    pub(crate) fn step(&self) -> Step {
        self.step
    }

    /// Takes a marker that is not `phase-begin`.
    pub(crate) fn mark(&mut self, marker: &Marker<'_>, moment: Moment) -> Result<(), String> {
        let Some(step) = self.step.after(marker) else {
            return Err(format!(
                "marker {:?} must not come here in phase {}",
                marker.line(),
                self.span.name
            ));
        };
        self.step = step;
        let span = &mut self.span;
        match *marker {
            Marker::Load => span.load = Some(moment),
            Marker::Loaded(status) => {
                span.loaded = Some(Returned { moment, status });
                if span.init.is_some_and(|init| init.finish.is_none()) {
                    return Err(format!(
                        "the module's init of phase {} has no initcall_finish",
                        span.name
                    ));
                }
            }
            Marker::Trigger => span.trigger = Some(moment),
            Marker::Finish(cause) => span.finish = Some(Finish { cause, moment }),
            Marker::Results => span.results = Some(moment),
            Marker::Unload => span.unload = Some(moment),
            Marker::Unloaded(status) => span.unloaded = Some(Returned { moment, status }),
            Marker::RoundsBegin => {
                span.rounds = Some(RoundsSpan {
                    begin: moment,
                    end: None,
                    record: None,
                });
            }
            Marker::RoundsEnd(count) => {
                self.rounds = Some(count);
                if let Some(rounds) = &mut span.rounds {
                    rounds.end = Some(moment);
                }
            }
            Marker::CommandBegin(name) => {
                span.command = Some(CommandSpan {
                    begin: moment,
                    end: None,
                    how: None,
                    is_stopped: false,
                    output: None,
                    is_output_cut: false,
                });
                is_of_phase("command-begin", name, &span.name)?;
            }
            Marker::CommandEnd(name, how) => {
                if let Some(command) = &mut span.command {
                    command.end = Some(moment);
                    command.how = Some(how);
                }
                is_of_phase("command-end", name, &span.name)?;
            }
            Marker::PhaseEnd(name) => {
                span.end = Some(moment);
                is_of_phase("phase-end", name, &span.name)?;
            }
            // Neither leads to a step.
            Marker::PhaseBegin(_) | Marker::Unknown(_) => {}
        }
        Ok(())
    }

    /// Takes an item's event, if the item has a place for it.
    pub(crate) fn item(
        &mut self,
        id: u32,
        occurrence: Occurrence,
        moment: Moment,
        level: Option<&str>,
    ) -> Result<(), String> {
        let name = &self.span.name;
        if !self.step.has_module() {
            return Err(format!(
                "item {id} has an event while phase {name} has no module loaded"
            ));
        }
        let item = self.items.entry(id).or_insert_with(|| Item::new(id));
        if matches!(occurrence, Occurrence::Armed { .. }) {
            item.level = level.map(str::to_owned);
        }
        item.take(occurrence, moment)
            .map_err(|message| format!("item {id} of phase {name} {message}"))
    }

    pub(crate) fn init_start(&mut self, moment: Moment) -> Result<(), String> {
        if self.span.init.is_some() {
            return Err(format!(
                "a second initcall_start comes in phase {}",
                self.span.name
            ));
        }
        self.span.init = Some(InitSpan {
            start: moment,
            finish: None,
        });
        Ok(())
    }

    pub(crate) fn init_finish(&mut self, returned: Returned) -> Result<(), String> {
        match &mut self.span.init {
            Some(init) if init.finish.is_none() => {
                init.finish = Some(returned);
                Ok(())
            }
            _ => Err(format!(
                "an initcall_finish without its start comes in phase {}",
                self.span.name
            )),
        }
    }

    /// Takes the agent's record of the rounds, and holds it against the marker.
    pub(crate) fn take_rounds(&mut self, text: &str) -> Result<(), String> {
        let name = &self.span.name;
        let record: RoundsRecord = serde_json::from_str(text).map_err(|error| {
            format!("the record of the rounds of phase {name} is none: {error}")
        })?;
        let rounds = self
            .span
            .rounds
            .as_mut()
            .filter(|rounds| rounds.end.is_some());
        let (Some(rounds), Some(count)) = (rounds, self.rounds) else {
            return Err(format!(
                "phase {name} has a record of rounds but no marker rounds-end"
            ));
        };
        if record.rounds != count {
            return Err(format!(
                "phase {name} has a record of {} rounds, but marker rounds-end says {count}",
                record.rounds
            ));
        }
        if !(1..count).contains(&record.warm_up) {
            return Err(format!(
                "the warm-up of phase {name} is {} of {count} rounds",
                record.warm_up
            ));
        }
        rounds.record = Some(record);
        Ok(())
    }

    /// Takes the agent's word on how the phase's command ended, and holds it against the marker. Where there is no marker
    /// the recording was stopped before.
    pub(crate) fn take_command(&mut self, how: CommandHow) -> Result<(), String> {
        let name = &self.span.name;
        let Some(command) = &mut self.span.command else {
            return Err(format!(
                "phase {name} has the end of a command but no marker command-begin"
            ));
        };
        match command.how {
            Some(marked) if marked != how => {
                return Err(format!(
                    "the command of phase {name} {how}, but its marker says {marked}"
                ));
            }
            Some(_) => {}
            None => {
                command.how = Some(how);
                command.is_stopped = true;
            }
        }
        Ok(())
    }

    /// Takes what the phase's command has written.
    pub(crate) fn take_output(&mut self, text: &str, is_cut: bool) -> Result<(), String> {
        let name = &self.span.name;
        let Some(command) = &mut self.span.command else {
            return Err(format!(
                "phase {name} has an output but no marker command-begin"
            ));
        };
        let output = Output::read(text);
        command.output = Some(output.lines);
        command.is_output_cut = is_cut || output.is_cut;
        Ok(())
    }

    /// Whether the phase loads the module, or is the boot of a kernel with the workload in its image.
    pub(crate) fn has_load(&self) -> bool {
        let is_boot = self.step == Step::Booting || self.span.first_process.is_some();
        self.span.load.is_some() || (is_boot && self.span.command.is_none())
    }

    /// Whether the phase runs a command whose end is not in the trace, though the agent saw it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.span
            .command
            .as_ref()
            .is_some_and(|command| command.is_stopped)
    }

    /// The finished span, with the text of the module's own record if there is one.
    ///
    /// Notes items that lack an event, and every difference between the record and the trace.
    pub(crate) fn finish(
        mut self,
        functions: Vec<Function>,
        record: Option<&str>,
        longest_stall_ns: u64,
        anomalies: &mut Anomalies,
    ) -> PhaseSpan {
        for item in self.items.values() {
            if let Some((moment, message)) = item.omission() {
                anomalies.note(
                    Some(moment),
                    format!("item {} of phase {} {message}", item.id, self.span.name),
                );
            }
        }
        self.span.items = self.items.into_values().collect();
        self.span.functions = functions;
        self.span.record = record.and_then(|text| record::parse(text, &self.span.name, anomalies));
        record::hold_against_trace(&self.span, longest_stall_ns, anomalies);
        self.span
    }
}

/// A marker that names a phase names the one that is open.
fn is_of_phase(marker: &str, named: &str, open: &str) -> Result<(), String> {
    if named == open {
        return Ok(());
    }
    Err(format!(
        "marker {marker} names {named} but phase {open} is open"
    ))
}
