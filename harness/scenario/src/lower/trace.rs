// SPDX-License-Identifier: GPL-2.0-only

//! Gives `trace` its meaning: which tracer, narrowed to what, which events, and which of these go together.
//!
//! In: the texts of `trace`. Out: a [`Trace`] that the tracer can do all of, or the first mistake.
//! Source: `Documentation/trace/ftrace.rst` and `kernel/trace/`, Linux 7.3.

use std::ops::RangeInclusive;

use super::value::{Grammar, Result, duration, has_entries, one_of, size, spelled, truth, whole};
use super::{MAX_ENTRIES, PAGE};
use crate::error::{Mistake, Place};
use crate::file::{EventBlock, Given, List, Text, TraceBlock};
use crate::syntax::{self, Wrong};
use crate::yaml::Located;
use crate::{
    Bytes, Definition, EventChoice, Load, Nanos, Phase, Since, TaskChoice, Trace, TraceClock,
    Tracer,
};

const MIB: u64 = 1 << 20;

/// Room for a few sub-buffers on each of 16 CPUs, to what a guest can spare.
const BUFFER: RangeInclusive<Bytes> = Bytes(MIB)..=Bytes(1 << 30);

/// 1 to 128 pages: `buffer_subbuf_size_write()`, `kernel/trace/trace.c`, Linux 7.3.
const SUB_BUFFER: RangeInclusive<Bytes> = PAGE..=Bytes(128 * PAGE.0);

/// The default of `buffer`: 200,000 traced calls. The guest clears it at boot, which takes time.
const DEFAULT_BUFFER: Bytes = Bytes(16 * MIB);

/// The default of `functions`, where nothing says which functions are meant.
const DEFAULT_FUNCTIONS: &str = "deferred_*";

/// `max_graph_depth`: no stack is deeper.
const DEPTH: RangeInclusive<u32> = 1..=1000;

/// `tracing_thresh`, in whole microseconds.
const THRESHOLD: RangeInclusive<Nanos> = Nanos(1_000)..=Nanos(60_000_000_000);

/// `PID_MAX_LIMIT` of 64-bit kernels, `include/linux/threads.h`, Linux 7.3.
const MAX_PID: u32 = 4 << 20;

/// What stands for the command of a phase, in a list of tasks.
const COMMAND: &str = "command";

/// `set_ftrace_filter` would take more: `!` negates, `:` begins a command. Those have keys of their own.
const FUNCTION_GLOB: Grammar = Grammar {
    what: "a glob of function names",
    longest: 128,
    allowed: "letters, digits, `_`, `.`, `$` and the wildcards `*`, `?`, `[a-z]`",
    is_valid: |text| text.bytes().all(syntax::is_glob_byte),
};

const EVENT: Grammar = Grammar {
    what: "an event",
    longest: 128,
    allowed: "`system` or `system:event` of letters, digits, `_`, `-` and the wildcards `*`, `?`",
    is_valid: |text| {
        let (system, event) = text.split_once(':').unwrap_or((text, "*"));
        [system, event].into_iter().all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-*?".contains(&byte))
        })
    },
};

pub(super) const ONE_EVENT: Grammar = Grammar {
    what: "one event",
    longest: 128,
    allowed: "`system:event` without wildcards",
    is_valid: syntax::is_one_event,
};

/// `TASK_COMM_LEN`, `include/linux/sched.h`, is 16 with its end.
pub(super) const TASK: Grammar = Grammar {
    what: "a task",
    longest: 15,
    allowed: "a pid, `command`, or a task's name such as `ksoftirqd/0`",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    },
};

const OPTION: Grammar = Grammar {
    what: "a trace option",
    longest: 64,
    allowed: "a name in `options/`, such as `stacktrace`, with `no` before it to switch it off",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
    },
};

/// A definition or a filter; the kernel's own limit is a page.
const LINE: Grammar = Grammar {
    what: "a line for the kernel",
    longest: 1024,
    allowed: "printable ASCII",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    },
};

/// The options that are the harness's own to set.
const RESERVED_OPTIONS: [&str; 2] = ["overwrite", "nooverwrite"];

/// A trace, and what of it has to fit the phases.
pub(super) struct Lowered {
    pub(super) trace: Trace,
    /// Where a task is chosen by `command`.
    command: Option<Place>,
    /// Where the clock is chosen.
    clock: Option<Place>,
    /// Where the tracer is chosen.
    tracer: Option<Place>,
    /// Where tasks are chosen whose events are recorded.
    event_pids: Option<Place>,
    /// Where events are chosen.
    events: Option<Place>,
    /// Where functions have triggers.
    function_triggers: Option<Place>,
    /// Where it is said when recording begins.
    since: Option<Place>,
}

impl Lowered {
    /// Refuses what the phases leave without a meaning.
    pub(super) fn fits(&self, phases: &[Phase]) -> Result<()> {
        let has_command = phases.iter().any(|phase| phase.command.is_some());
        if let Some(place) = self.command.filter(|_| !has_command) {
            let message = "no phase runs a command";
            return Err(Mistake::new(place, message).allow("a pid, or a task's name"));
        }
        let has_module = phases.iter().any(|phase| phase.command.is_none());
        if let Some(place) = self.tracer.filter(|_| has_module)
            && self.trace.tracer.is_latency()
        {
            // Each new maximum empties the buffer.
            let message = format!(
                "tracer {} records nothing but its longest latency, so a workload would leave no records",
                self.trace.tracer
            );
            return Err(Mistake::new(place, message).allow("phases with `command`"));
        }
        let snapshots = self.function_triggers.or(self.events);
        if let Some(place) = snapshots.filter(|_| has_module)
            && self.trace.takes_snapshots()
        {
            let message = "a snapshot takes away the records up to it, and with them a workload's";
            return Err(Mistake::new(place, message).allow("phases with `command`"));
        }
        if let Some(place) = self.since.filter(|_| has_module || phases.len() > 1)
            && self.trace.since == Since::Boot
        {
            let message = "the boot would belong to no phase";
            return Err(Mistake::new(place, message).allow(
                "`command` at the top level; `load: built-in` for a workload that is armed while the kernel boots",
            ));
        }
        if let Some(place) = self.event_pids.filter(|_| has_module) {
            // Items run in tasks of the kernel's choice, and each of their events is held against the module's record.
            let message = "a workload's own events are recorded of all tasks";
            return Err(
                Mistake::new(place, message).allow("phases with `command`; pids for functions")
            );
        }
        if let Some(place) = self.clock.filter(|_| has_module)
            && self.trace.clock != TraceClock::Local
        {
            // The module notes its times by the local clock, and the one is held against the other.
            let message = "the times of a workload are those of the clock local";
            return Err(Mistake::new(place, message).allow("local, or phases with `command`"));
        }
        Ok(())
    }
}

pub(super) fn trace(
    given: Given<TraceBlock>,
    memory: Option<Bytes>,
    load: Load,
) -> Result<Lowered> {
    let block = given.0.map(|block| block.value).unwrap_or_default();
    if load == Load::BuiltIn {
        refuse_while_booting(&block)?;
    }
    let tracer = block
        .tracer
        .0
        .as_ref()
        .map_or(Ok(Tracer::default()), tracer)?;
    let since = block.since.0.as_ref().map_or(Ok(Since::default()), since)?;
    if since == Since::Boot {
        refuse_since_boot(&block, tracer)?;
    }
    let function_profile = flag(&block.function_profile)?;
    fits_tracer(&block, tracer, function_profile)?;
    let (clock_place, tracer_place) = (block.clock.place(), block.tracer.place());
    let event_pids_place = block.event_pids.place().or(block.not_event_pids.place());
    let (events_place, function_triggers_place) =
        (block.events.place(), block.function_triggers.place());
    let since_place = block.since.place();
    let names_functions = block.functions.0.is_some()
        || block.not_functions.0.is_some()
        || block.graph_functions.0.is_some();
    let records_functions = matches!(tracer, Tracer::FunctionGraph | Tracer::Function);
    let functions = match globs("functions", block.functions)? {
        Some(functions) => functions,
        None if names_functions || !records_functions || since == Since::Boot => Vec::new(),
        None => vec![DEFAULT_FUNCTIONS.to_owned()],
    };
    let mut command = None;
    let mut tasks = |key, given: Given<Vec<Text>>| -> Result<Vec<TaskChoice>> {
        let (tasks, place) = tasks(key, given)?;
        command = command.or(place);
        Ok(tasks)
    };
    let (pids, not_pids) = (
        tasks("pids", block.pids)?,
        tasks("not-pids", block.not_pids)?,
    );
    let event_pids = tasks("event-pids", block.event_pids)?;
    let not_event_pids = tasks("not-event-pids", block.not_event_pids)?;
    let trace = Trace {
        since,
        tracer,
        functions,
        not_functions: globs("not-functions", block.not_functions)?.unwrap_or_default(),
        graph_functions: globs("graph-functions", block.graph_functions)?.unwrap_or_default(),
        not_graph_functions: globs("not-graph-functions", block.not_graph_functions)?
            .unwrap_or_default(),
        graph_depth: block.graph_depth.read_if_given(|text| whole(text, DEPTH))?,
        threshold: block.threshold.read_if_given(threshold)?,
        pids,
        not_pids,
        event_pids,
        not_event_pids,
        events: events(block.events)?,
        function_triggers: lines(
            "function-triggers",
            block.function_triggers,
            syntax::function_trigger,
        )?
        .into_iter()
        .map(|(text, ())| text)
        .collect(),
        probes: definitions("probes", block.probes, syntax::probe)?,
        synthetic: definitions("synthetic", block.synthetic, syntax::synthetic)?,
        options: block.options.read_if_given(options)?.unwrap_or_default(),
        clock: block.clock.read_if_given(clock)?.unwrap_or_default(),
        buffer: block
            .buffer
            .read_if_given(|text| buffer(text, memory))?
            .unwrap_or(DEFAULT_BUFFER),
        sub_buffer: block.sub_buffer.read_if_given(sub_buffer)?,
        function_profile,
        stack_trace: flag(&block.stack_trace)?,
    };
    Ok(Lowered {
        trace,
        command,
        clock: clock_place,
        tracer: tracer_place,
        event_pids: event_pids_place,
        events: events_place,
        function_triggers: function_triggers_place,
        since: since_place,
    })
}

/// The keys that are given, by name, with their places.
fn given_keys(block: &TraceBlock) -> [(&'static str, Option<Place>); 21] {
    [
        ("since", block.since.place()),
        ("tracer", block.tracer.place()),
        ("functions", block.functions.place()),
        ("not-functions", block.not_functions.place()),
        ("graph-functions", block.graph_functions.place()),
        ("not-graph-functions", block.not_graph_functions.place()),
        ("graph-depth", block.graph_depth.place()),
        ("threshold", block.threshold.place()),
        ("pids", block.pids.place()),
        ("not-pids", block.not_pids.place()),
        ("event-pids", block.event_pids.place()),
        ("not-event-pids", block.not_event_pids.place()),
        ("events", block.events.place()),
        ("function-triggers", block.function_triggers.place()),
        ("probes", block.probes.place()),
        ("synthetic", block.synthetic.place()),
        ("options", block.options.place()),
        ("clock", block.clock.place()),
        ("sub-buffer", block.sub_buffer.place()),
        ("function-profile", block.function_profile.place()),
        ("stack-trace", block.stack_trace.place()),
    ]
}

fn refuse_while_booting(block: &TraceBlock) -> Result<()> {
    if let Some(place) = block.functions.place() {
        // function_graph registers at core_initcall, and an instance has no tracer on the command line.
        let message = "functions cannot be traced while the kernel boots";
        return Err(Mistake::new(place, message).allow("events"));
    }
    let other = given_keys(block)
        .into_iter()
        .find_map(|(key, place)| Some((key, place.filter(|_| key != "events")?)));
    if let Some((key, place)) = other {
        let message = format!("`{key}` has no meaning with `load: built-in`");
        return Err(Mistake::new(place, message).allow("events, buffer"));
    }
    refuse_filters(block, "`system` or `system:event`")
}

/// Refuses what nothing would arm where the kernel arms itself.
fn refuse_since_boot(block: &TraceBlock, tracer: Tracer) -> Result<()> {
    const KEYS: [&str; 3] = ["since", "tracer", "events"];
    if let Some(place) = block.tracer.place()
        && (tracer.is_latency() || !tracer.own_events().is_empty())
    {
        let message = format!("tracer {tracer} cannot be armed while the kernel boots");
        return Err(Mistake::new(place, message).allow("function_graph, function, nop"));
    }
    let other = given_keys(block)
        .into_iter()
        .find_map(|(key, place)| Some((key, place.filter(|_| !KEYS.contains(&key))?)));
    if let Some((key, place)) = other {
        let message = format!("`{key}` comes too late for the boot");
        return Err(Mistake::new(place, message)
            .allow("tracer, events, buffer; the rest by `machine.boot-config`, below `ftrace.`"));
    }
    refuse_filters(
        block,
        "`system` or `system:event`; with filters, by `machine.boot-config`, below `ftrace.event.`",
    )
}

fn refuse_filters(block: &TraceBlock, allowed: &'static str) -> Result<()> {
    let events = block.events.0.iter().flat_map(|list| &list.value);
    for event in events {
        if let EventBlock::Keys(_) = event.value {
            let message = "filters and triggers come too late for the boot";
            return Err(Mistake::new(event.place, message).allow(allowed));
        }
    }
    Ok(())
}

/// Refuses keys that the tracer ignores.
fn fits_tracer(block: &TraceBlock, tracer: Tracer, function_profile: bool) -> Result<()> {
    let takes_functions = tracer.takes_functions() || function_profile;
    let is_graph = tracer == Tracer::FunctionGraph;
    let is_functions = is_graph || tracer == Tracer::Function;
    for (key, place) in given_keys(block) {
        let (has_meaning, tracers) = match key {
            "functions" | "not-functions" => (
                takes_functions,
                "tracers that show functions, or `function-profile: true`",
            ),
            "graph-functions" | "not-graph-functions" | "graph-depth" => {
                (is_graph, "`tracer: function_graph`")
            }
            "threshold" => (
                is_graph || tracer.is_latency(),
                "`tracer: function_graph`, or a latency tracer",
            ),
            "pids" | "not-pids" => (
                is_functions,
                "`tracer: function_graph` or `tracer: function`; event-pids for events",
            ),
            _ => (true, ""),
        };
        if let Some(place) = place.filter(|_| !has_meaning) {
            let message = format!("`{key}` has no meaning with tracer {tracer}");
            return Err(Mistake::new(place, message).allow(tracers));
        }
    }
    Ok(())
}

fn tracer(text: &Text) -> Result<Tracer> {
    let table = Tracer::ALL.map(|tracer| (tracer.as_str(), tracer));
    one_of(text.place, "tracer", &text.value, &table)
}

fn since(text: &Text) -> Result<Since> {
    let table = [("phase", Since::Phase), ("boot", Since::Boot)];
    one_of(text.place, "since", &text.value, &table)
}

fn clock(text: &Text) -> Result<TraceClock> {
    let table = TraceClock::ALL.map(|clock| (clock.as_str(), clock));
    one_of(text.place, "clock", &text.value, &table)
}

fn flag(given: &Given<String>) -> Result<bool> {
    given.0.as_ref().map_or(Ok(false), truth)
}

/// A list of globs, if it is given; an empty one would mean all functions there are.
fn globs(key: &str, given: Given<Vec<Text>>) -> Result<Option<Vec<String>>> {
    given.read_if_given(|list| {
        has_entries(key, list, 1..=MAX_ENTRIES)?;
        list.value
            .iter()
            .map(|text| spelled(text, &FUNCTION_GLOB))
            .collect()
    })
}

/// A list of tasks, and where one of them is `command`.
fn tasks(key: &str, given: Given<Vec<Text>>) -> Result<(Vec<TaskChoice>, Option<Place>)> {
    let Some(list) = given.0 else {
        return Ok((Vec::new(), None));
    };
    has_entries(key, &list, 1..=MAX_ENTRIES)?;
    let tasks = list.value.iter().map(task).collect::<Result<_>>()?;
    let command = list.value.iter().find(|text| text.value == COMMAND);
    Ok((tasks, command.map(|text| text.place)))
}

fn task(text: &Text) -> Result<TaskChoice> {
    if !text.value.is_empty() && text.value.bytes().all(|byte| byte.is_ascii_digit()) {
        return whole(text, 0..=MAX_PID).map(TaskChoice::Pid);
    }
    let name = spelled(text, &TASK)?;
    Ok(match name.as_str() {
        COMMAND => TaskChoice::Command,
        _ => TaskChoice::Named(name),
    })
}

fn threshold(text: &Text) -> Result<Nanos> {
    let threshold = duration(text, THRESHOLD)?;
    if threshold.0.is_multiple_of(1_000) {
        return Ok(threshold);
    }
    let message = format!("{threshold} is no whole number of microseconds");
    Err(Mistake::new(text.place, message).allow("multiples of 1us"))
}

fn events(given: Given<List<EventBlock>>) -> Result<Vec<EventChoice>> {
    let Some(list) = given.0 else {
        return Ok(Vec::new());
    };
    has_entries("events", &list, 0..=MAX_ENTRIES)?;
    list.value.into_iter().map(event).collect()
}

fn event(block: Located<EventBlock>) -> Result<EventChoice> {
    let Located { value, place } = block;
    let keys = match value {
        EventBlock::Named(name) => {
            let text = Located { value: name, place };
            return Ok(EventChoice {
                event: spelled(&text, &EVENT)?,
                filter: None,
                triggers: Vec::new(),
            });
        }
        EventBlock::Keys(keys) => keys,
    };
    let name = keys.event.required("event", place)?;
    let has_more = keys.filter.0.is_some() || keys.triggers.0.is_some();
    let grammar = if has_more { &ONE_EVENT } else { &EVENT };
    Ok(EventChoice {
        event: spelled(&name, grammar)?,
        filter: keys.filter.read_if_given(filter)?,
        triggers: lines("triggers", keys.triggers, syntax::event_trigger)?
            .into_iter()
            .map(|(text, ())| text)
            .collect(),
    })
}

/// A filter in the kernel's syntax.
pub(super) fn filter(text: &Text) -> Result<String> {
    let filter = spelled(text, &LINE)?;
    read(text, syntax::filter)?;
    Ok(filter)
}

/// A list of lines for the kernel, each with what `understand` makes of it.
fn lines<T>(
    key: &str,
    given: Given<Vec<Text>>,
    understand: fn(&str) -> std::result::Result<T, Wrong>,
) -> Result<Vec<(String, T)>> {
    let Some(list) = given.0 else {
        return Ok(Vec::new());
    };
    has_entries(key, &list, 1..=MAX_ENTRIES)?;
    let line = |text: &Text| Ok((spelled(text, &LINE)?, read(text, understand)?));
    list.value.iter().map(line).collect()
}

fn read<T>(text: &Text, understand: fn(&str) -> std::result::Result<T, Wrong>) -> Result<T> {
    understand(&text.value)
        .map_err(|wrong| Mistake::new(text.place, wrong.message).allow(wrong.allowed))
}

/// Definitions of events, none of which defines what another one does.
fn definitions(
    key: &str,
    given: Given<Vec<Text>>,
    understand: fn(&str) -> std::result::Result<String, Wrong>,
) -> Result<Vec<Definition>> {
    let places: Vec<Place> = given
        .0
        .iter()
        .flat_map(|list| &list.value)
        .map(|text| text.place)
        .collect();
    let lines = lines(key, given, understand)?;
    let mut definitions: Vec<Definition> = Vec::new();
    for ((text, event), place) in lines.into_iter().zip(places) {
        if definitions.iter().any(|other| other.event == event) {
            let message = format!("event `{event}` is defined twice");
            return Err(Mistake::new(place, message).allow("a name of its own for each event"));
        }
        definitions.push(Definition { event, text });
    }
    Ok(definitions)
}

fn options(list: &Located<Vec<Text>>) -> Result<Vec<String>> {
    has_entries("options", list, 1..=MAX_ENTRIES)?;
    list.value
        .iter()
        .map(|text| {
            let option = spelled(text, &OPTION)?;
            if RESERVED_OPTIONS.contains(&option.as_str()) {
                let message = format!("`{option}` is the harness's own to set");
                return Err(Mistake::new(text.place, message).allow("any option but overwrite"));
            }
            Ok(option)
        })
        .collect()
}

fn buffer(text: &Text, memory: Option<Bytes>) -> Result<Bytes> {
    let buffer = size(text, BUFFER, PAGE)?;
    match memory {
        Some(memory) if buffer.0 > memory.0 / 2 => {
            let message = format!("a buffer of {buffer} is more than half of the guest's {memory}");
            Err(Mistake::new(text.place, message).allow(format!("at most {}", Bytes(memory.0 / 2))))
        }
        _ => Ok(buffer),
    }
}

fn sub_buffer(text: &Text) -> Result<Bytes> {
    let size = size(text, SUB_BUFFER, PAGE)?;
    if size.0.is_power_of_two() {
        return Ok(size);
    }
    let message = format!("{size} is no power of two");
    Err(Mistake::new(text.place, message).allow("4KiB, 8KiB, 16KiB up to 512KiB"))
}
