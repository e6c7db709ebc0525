// SPDX-License-Identifier: GPL-2.0-only

//! The state of one phase while its records are read.
//!
//! In: the agent's markers, item events and initcalls of one phase, in the order of time. Out: a [`PhaseSpan`].
//! Each function returns what contradicts the protocol as a message; the phase stays as it was then.
//! Source: the agent's protocol: begin, load, loaded, [trigger,] done or held or deadline, unload, unloaded, end.

use std::collections::BTreeMap;

use crate::marker::Marker;
use crate::{
    Anomalies, Finish, FinishCause, Function, InitSpan, Item, ItemEvent, Moment, PhaseSpan,
    Returned,
};

/// Which marker a phase has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begun,
    Loading,
    Loaded,
    Triggered,
    Finished,
    PastDeadline,
    Unloading,
    /// Unloaded, or never loaded.
    Gone,
    Ended,
}

impl Step {
    /// The step that a marker leads to; none if it must not come here.
    fn after(self, marker: &Marker<'_>) -> Option<Self> {
        match (self, marker) {
            (Self::Begun, Marker::Load) => Some(Self::Loading),
            (Self::Loading, Marker::Loaded(0)) => Some(Self::Loaded),
            (Self::Loading, Marker::Loaded(_)) => Some(Self::Gone),
            (Self::Loaded, Marker::Trigger) => Some(Self::Triggered),
            (Self::Loaded | Self::Triggered, Marker::Finish(FinishCause::Deadline)) => {
                Some(Self::PastDeadline)
            }
            (Self::Loaded | Self::Triggered, Marker::Finish(_)) => Some(Self::Finished),
            (Self::Finished | Self::PastDeadline, Marker::Unload) => Some(Self::Unloading),
            (Self::Unloading, Marker::Unloaded(_)) => Some(Self::Gone),
            // Past its deadline a phase may end without an unload: the run is lost anyway.
            (Self::Gone | Self::PastDeadline, Marker::PhaseEnd(_)) => Some(Self::Ended),
            _ => None,
        }
    }

    /// Whether the module can run, so that its items can leave records.
    fn has_module(self) -> bool {
        match self {
            Self::Loading
            | Self::Loaded
            | Self::Triggered
            | Self::Finished
            | Self::PastDeadline
            | Self::Unloading => true,
            Self::Begun | Self::Gone | Self::Ended => false,
        }
    }
}

/// One phase in the making.
#[derive(Debug)]
pub(crate) struct PhaseState {
    span: PhaseSpan,
    items: BTreeMap<u32, Item>,
    step: Step,
}

impl PhaseState {
    pub(crate) fn new(name: &str, begin: Moment) -> Self {
        let span = PhaseSpan {
            name: name.to_owned(),
            begin,
            load: None,
            loaded: None,
            init: None,
            trigger: None,
            finish: None,
            unload: None,
            unloaded: None,
            end: None,
            items: Vec::new(),
            functions: Vec::new(),
        };
        Self {
            span,
            items: BTreeMap::new(),
            step: Step::Begun,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.span.name
    }

    pub(crate) fn begin(&self) -> Moment {
        self.span.begin
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
            Marker::Unload => span.unload = Some(moment),
            Marker::Unloaded(status) => span.unloaded = Some(Returned { moment, status }),
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

    /// Takes an item's event: `put` writes it into the item, unless it is there already.
    pub(crate) fn item(
        &mut self,
        event: ItemEvent,
        id: u32,
        put: impl FnOnce(&mut Item),
    ) -> Result<(), String> {
        let name = event.event_name();
        if !self.step.has_module() {
            return Err(format!(
                "{name} id={id} comes while phase {} has no module loaded",
                self.span.name
            ));
        }
        let empty = Item {
            id,
            armed: None,
            queued: None,
            started: None,
            ended: None,
            cancelled: None,
        };
        let item = self.items.entry(id).or_insert(empty);
        if item.moment(event).is_some() {
            return Err(format!(
                "{name} id={id} comes a second time in phase {}",
                self.span.name
            ));
        }
        put(item);
        Ok(())
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

    /// The finished span; items whose events contradict each other are noted.
    pub(crate) fn finish(
        mut self,
        functions: Vec<Function>,
        anomalies: &mut Anomalies,
    ) -> PhaseSpan {
        for item in self.items.values() {
            if let Some((moment, message)) = contradiction(item) {
                anomalies.note(
                    Some(moment),
                    format!("item {} of phase {} {message}", item.id, self.span.name),
                );
            }
        }
        self.span.items = self.items.into_values().collect();
        self.span.functions = functions;
        self.span
    }
}

/// What no item can do, whatever the kernel does.
fn contradiction(item: &Item) -> Option<(Moment, &'static str)> {
    let ended = item.ended.map(|ended| ended.moment);
    match (item.started, ended, item.cancelled) {
        (None, Some(ended), _) => Some((ended, "ended but never started")),
        (Some(started), Some(ended), _) if ended.at < started.at => {
            Some((ended, "ended before it started"))
        }
        (Some(_), _, Some(cancelled)) => {
            Some((cancelled, "was cancelled as pending but had started"))
        }
        _ => None,
    }
}
