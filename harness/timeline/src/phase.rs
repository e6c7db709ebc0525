// SPDX-License-Identifier: GPL-2.0-only

//! The state of one phase while its records are read.
//!
//! In: the agent's markers, item events and initcalls of one phase, in the order of time. Out: a [`PhaseSpan`].
//! Each function returns what contradicts the protocol as a message; the phase stays as it was then.
//! Source: the agent's protocol: begin, load, loaded, [trigger,] done or held or deadline, [results,] unload, unloaded, end.
//! Of rounds: begin, rounds-begin, rounds-end, end.
//! Of a boot, whose workload is in the kernel's image: begin, done or held or deadline, [results,] end.

use std::collections::BTreeMap;

use crate::item::Occurrence;
use crate::marker::Marker;
use crate::record;
use crate::{
    Anomalies, Finish, FinishCause, Function, InitSpan, Item, Moment, PhaseSpan, Returned,
    RoundsRecord, RoundsSpan,
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
                Self::Gone | Self::Booted | Self::PastDeadline | Self::RecordedLate,
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
            Self::Begun | Self::InRounds | Self::Gone | Self::Ended => false,
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
        };
        Self {
            span,
            items: BTreeMap::new(),
            rounds: None,
            step: Step::Begun,
        }
    }

    /// A phase that is a boot; it begins with the first record.
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
            Marker::PhaseEnd(name) => {
                span.end = Some(moment);
                if name != span.name {
                    return Err(format!(
                        "marker phase-end names {name} but phase {} is open",
                        span.name
                    ));
                }
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

    /// The finished span, with the text of the module's own record if there is one.
    ///
    /// Notes items that lack an event, and every difference between the record and the trace.
    pub(crate) fn finish(
        mut self,
        functions: Vec<Function>,
        record: Option<&str>,
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
        record::hold_against_trace(&self.span, anomalies);
        self.span
    }
}
