// SPDX-License-Identifier: GPL-2.0-only

//! Gives `show` its meaning: what the reader of a run wants to see after it.
//!
//! In: the entries of `show`, and what is recorded. Out: views of what is there to be seen, or the first mistake.

use super::MAX_ENTRIES;
use super::expect::{FUNCTION, event_selection, is_recorded};
use super::value::{Result, has_entries, one_of, spelled};
use crate::error::Mistake;
use crate::file::{Choice, List, OccasionKeys};
use crate::yaml::Located;
use crate::{EventSelection, Phase, Show, Trace};

/// A kind of view.
#[derive(Clone, Copy)]
enum Kind {
    Replay,
    Report,
    Events,
    Stack,
    Latency,
    Profile,
    StackSize,
    Histogram,
    CommandOutput,
}

const KINDS: [(&str, Kind); 9] = [
    ("replay", Kind::Replay),
    ("report", Kind::Report),
    ("events", Kind::Events),
    ("stack", Kind::Stack),
    ("latency", Kind::Latency),
    ("profile", Kind::Profile),
    ("stack-size", Kind::StackSize),
    ("histogram", Kind::Histogram),
    ("command-output", Kind::CommandOutput),
];

pub(super) fn show(
    list: Located<List<Choice<OccasionKeys>>>,
    trace: &Trace,
    phases: &[Phase],
) -> Result<Vec<Show>> {
    has_entries("show", &list, 1..=MAX_ENTRIES)?;
    list.value
        .into_iter()
        .map(|entry| view(entry, trace, phases))
        .collect()
}

fn view(entry: Located<Choice<OccasionKeys>>, trace: &Trace, phases: &[Phase]) -> Result<Show> {
    let place = entry.place;
    let Choice { name, value } = entry.value;
    let kind = one_of(place, "view", &name, &KINDS)?;
    let lacks = |is_there: bool, what: &str, allowed: &str| {
        if is_there {
            return Ok(());
        }
        Err(Mistake::new(place, format!("there is no {what} to show")).allow(allowed))
    };
    let plain = |show: Show| match &value {
        None => Ok(show),
        Some(value) => Err(
            Mistake::new(value.place, format!("`{name}` takes no value"))
                .allow(format!("- {name}")),
        ),
    };
    match kind {
        Kind::Replay => {
            lacks(trace.has_functions(), "call", "a tracer of functions")?;
            let Some(value) = value else {
                return Ok(Show::Replay(None));
            };
            let function = only_function(value)?;
            Ok(Show::Replay(Some(function)))
        }
        Kind::Report => {
            lacks(
                trace.has_calls(),
                "time of a call",
                "`tracer: function_graph`",
            )?;
            plain(Show::Report)
        }
        Kind::Events => one_event(&name, place, value, trace).map(Show::Events),
        Kind::Stack => one_event(&name, place, value, trace).map(Show::Stack),
        Kind::Latency => {
            lacks(trace.tracer.is_latency(), "latency", "a latency tracer")?;
            plain(Show::Latency)
        }
        Kind::Profile => {
            lacks(
                trace.function_profile,
                "profile",
                "`function-profile: true`",
            )?;
            plain(Show::Profile)
        }
        Kind::StackSize => {
            lacks(trace.stack_trace, "deepest stack", "`stack-trace: true`")?;
            plain(Show::StackSize)
        }
        Kind::Histogram => {
            let EventSelection { event, filter } = one_event(&name, place, value, trace)?;
            let has_histogram = trace.has_histogram(&event) && filter.is_none();
            lacks(
                has_histogram,
                "histogram",
                "an event with a trigger hist:keys=..",
            )?;
            Ok(Show::Histogram(event))
        }
        Kind::CommandOutput => {
            let has_command = phases.iter().any(|phase| phase.command.is_some());
            lacks(has_command, "command", "phases with `command`")?;
            plain(Show::CommandOutput)
        }
    }
}

fn only_function(value: Located<OccasionKeys>) -> Result<String> {
    let Located { value: keys, place } = value;
    let others = [keys.event.place(), keys.r#where.place(), keys.key.place()];
    if let Some(other) = others.into_iter().flatten().next() {
        let message = "calls are shown of a function";
        return Err(Mistake::new(other, message).allow("{ function: NAME }"));
    }
    spelled(&keys.function.required("function", place)?, &FUNCTION)
}

fn one_event(
    name: &str,
    place: crate::Place,
    value: Option<Located<OccasionKeys>>,
    trace: &Trace,
) -> Result<EventSelection> {
    let example = format!("{name}: {{ event: sched:sched_switch }}");
    let Some(Located { value: keys, place }) = value else {
        return Err(Mistake::new(place, format!("`{name}` needs an event")).allow(example));
    };
    let others = [keys.function.place(), keys.key.place()];
    if let Some(other) = others.into_iter().flatten().next() {
        return Err(Mistake::new(other, format!("`{name}` is of an event")).allow(example));
    }
    let event = keys.event.required("event", place)?;
    is_recorded(&event, trace)?;
    event_selection(&event, keys.r#where)
}
