// SPDX-License-Identifier: GPL-2.0-only

//! What a run records: the tracer, what it is narrowed to, events with their filters and triggers, probes, and the
//! reports that the kernel itself makes.
//!
//! In: made by [`crate::parse`], which validates it. Out: plain values in the kernel's own words; part of plan.json.
//! Does not know which file of tracefs a value belongs to.
//! Source: `Documentation/trace/ftrace.rst`, `events.rst`, `kprobetrace.rst`, `fprobetrace.rst`, `histogram.rst`,
//! Linux 7.3.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::syntax::is_histogram;
use crate::{Bytes, Nanos};

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Trace {
    /// When recording begins.
    pub since: Since,
    /// `current_tracer`.
    pub tracer: Tracer,
    /// Globs for `set_ftrace_filter`; empty for all functions.
    pub functions: Vec<String>,
    /// Globs for `set_ftrace_notrace`.
    pub not_functions: Vec<String>,
    /// Globs for `set_graph_function`: these and what they call.
    pub graph_functions: Vec<String>,
    /// Globs for `set_graph_notrace`: neither these nor what they call.
    pub not_graph_functions: Vec<String>,
    /// `max_graph_depth`.
    pub graph_depth: Option<u32>,
    /// `tracing_thresh`, a whole number of microseconds.
    pub threshold: Option<Nanos>,
    /// `set_ftrace_pid`: tasks whose functions are recorded; empty for all.
    pub pids: Vec<TaskChoice>,
    /// `set_ftrace_notrace_pid`.
    pub not_pids: Vec<TaskChoice>,
    /// `set_event_pid`: tasks whose events are recorded; empty for all.
    pub event_pids: Vec<TaskChoice>,
    /// `set_event_notrace_pid`.
    pub not_event_pids: Vec<TaskChoice>,
    /// Events besides the harness's own, and besides those that `probes` and `synthetic` make.
    pub events: Vec<EventChoice>,
    /// Commands for `set_ftrace_filter`, such as `vfs_read:traceoff:1`.
    pub function_triggers: Vec<String>,
    /// Events made from places in the kernel's code, for `dynamic_events`; all of them are recorded.
    pub probes: Vec<Definition>,
    /// Events made from other events, for `synthetic_events`; all of them are recorded.
    pub synthetic: Vec<Definition>,
    /// Names of `options/`, with `no` before those that are switched off.
    pub options: Vec<String>,
    /// `trace_clock`.
    pub clock: TraceClock,
    /// The ring buffer's size, all CPUs together.
    pub buffer: Bytes,
    /// `buffer_subbuf_size_kb`; `None` for a page.
    pub sub_buffer: Option<Bytes>,
    /// `function_profile_enabled`: the kernel counts and times the calls of `functions` itself.
    pub function_profile: bool,
    /// `stack_tracer_enabled`: the kernel notes the deepest stack.
    pub stack_trace: bool,
}

/// When recording begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// With the first phase: the agent arms what is to be recorded.
    #[default]
    Phase,
    /// With the boot, which belongs to the only phase: the kernel arms itself, events by its command line, and the tracer and
    /// all else by its boot configuration.
    Boot,
}

/// A tracer, by the name it has in `available_tracers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracer {
    /// The calls of functions, with their returns.
    #[default]
    FunctionGraph,
    /// The entries of functions, with their callers.
    Function,
    /// How long the task of the highest priority takes from its wake-up to its CPU.
    Wakeup,
    /// The same of real-time tasks only.
    WakeupRt,
    /// The same of deadline tasks only.
    WakeupDl,
    /// How long interrupts are off.
    Irqsoff,
    /// How long preemption is off.
    Preemptoff,
    /// How long either is off.
    Preemptirqsoff,
    /// Events only.
    Nop,
    /// The block layer's requests.
    Blk,
    /// Accesses to the memory of devices.
    Mmiotrace,
}

/// A task that a trace is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskChoice {
    /// By its pid.
    Pid(u32),
    /// The shell that runs a phase's command, and what it starts.
    Command,
    /// Every task with this name, `/proc/PID/comm`, when the phase begins.
    Named(String),
}

/// Events that are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EventChoice {
    /// `system` or `system:event`, as `set_event` takes them; without wildcards where there is a filter or a trigger.
    pub event: String,
    /// For the event's `filter`.
    pub filter: Option<String>,
    /// For the event's `trigger`.
    pub triggers: Vec<String>,
}

/// An event that is made at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Definition {
    /// The event that it makes, as `system:event`.
    pub event: String,
    /// What the kernel is told.
    pub text: String,
}

/// A trace clock, by the name it has in `trace_clock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceClock {
    /// Nanoseconds, each CPU's own.
    #[default]
    Local,
    /// Nanoseconds in one order on all CPUs.
    Global,
    /// A counter that each record advances.
    Counter,
    /// Jiffies since the boot.
    Uptime,
    /// The clock of perf.
    Perf,
    /// `CLOCK_MONOTONIC`.
    Mono,
    /// `CLOCK_MONOTONIC_RAW`.
    #[serde(rename = "mono_raw")]
    MonoRaw,
    /// `CLOCK_BOOTTIME`.
    Boot,
    /// `CLOCK_TAI`.
    Tai,
    /// The TSC's cycles.
    X86Tsc,
}

/// Something for the reader of a run, shown after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// The tree of calls, in the kernel's style; of one function and what it calls, or of all.
    Replay(Option<String>),
    /// Calls and times by function.
    Report,
    /// The records of an event.
    Events(EventSelection),
    /// The stack traces of an event.
    Stack(EventSelection),
    /// What the latency tracer holds for its longest latency.
    Latency,
    /// The function profiler's table.
    Profile,
    /// The deepest stack.
    StackSize,
    /// The histograms of an event's `hist` triggers.
    Histogram(String),
    /// What the commands wrote.
    CommandOutput,
}

/// Records of one event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EventSelection {
    /// `system:event`, without wildcards.
    pub event: String,
    /// Which of them: an expression in the kernel's filter syntax; `None` for all.
    pub filter: Option<String>,
}

impl Trace {
    /// Whether the trace is recorded by function_graph, so that calls have a duration.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        // A threshold leaves the entries out (`trace_graph_thresh_return()`), but exits have both times.
        self.tracer == Tracer::FunctionGraph
    }

    /// Whether the entries of functions are recorded, with or without their returns.
    #[must_use]
    pub fn has_functions(&self) -> bool {
        matches!(self.tracer, Tracer::FunctionGraph | Tracer::Function)
    }

    /// The events that are recorded because the scenario says so, as `system`, `system:event` or globs of these.
    pub fn events_recorded(&self) -> impl Iterator<Item = &str> {
        let chosen = self.events.iter().map(|choice| choice.event.as_str());
        let made = self.probes.iter().chain(&self.synthetic);
        chosen.chain(made.map(|definition| definition.event.as_str()))
    }

    /// Whether a trigger keeps a histogram of an event.
    #[must_use]
    pub fn has_histogram(&self, event: &str) -> bool {
        let choices = self.events.iter().filter(|choice| choice.event == event);
        choices
            .flat_map(|choice| &choice.triggers)
            .any(|trigger| is_histogram(trigger))
    }

    /// Whether records may be followed by a stack trace.
    #[must_use]
    pub fn has_stacks(&self) -> bool {
        let by_option = ["stacktrace", "func_stack_trace"];
        let by_trigger = self.events.iter().flat_map(|choice| &choice.triggers);
        self.options
            .iter()
            .any(|option| by_option.contains(&option.as_str()))
            || by_trigger
                .chain(&self.function_triggers)
                .any(|trigger| trigger.split([':', ' ']).any(|word| word == "stacktrace"))
    }

    /// Whether a trigger puts the trace aside: what was recorded up to then is not in the buffer any more.
    #[must_use]
    pub fn takes_snapshots(&self) -> bool {
        let by_event = self.events.iter().flat_map(|choice| &choice.triggers);
        by_event
            .chain(&self.function_triggers)
            .any(|trigger| trigger.split([':', ' ']).any(|word| word == "snapshot"))
    }

    /// Whether there are records to ask for: neither a latency tracer nor a snapshot leaves all of them in the buffer.
    #[must_use]
    pub fn keeps_records(&self) -> bool {
        !self.tracer.is_latency() && !self.takes_snapshots()
    }

    /// Events that are recorded whatever a scenario says, where it loads the module: the life of the items, and what
    /// the kernel did with timers, work queues, initcalls and modules meanwhile.
    pub const OF_THE_MODULE: [&str; 9] = [
        "test_deferred",
        "initcall",
        "module:module_free",
        "module:module_load",
        "timer:timer_cancel",
        "timer:timer_expire_entry",
        "timer:timer_expire_exit",
        "timer:timer_start",
        "workqueue",
    ];
}

impl Tracer {
    /// Every tracer.
    pub const ALL: [Self; 11] = [
        Self::FunctionGraph,
        Self::Function,
        Self::Wakeup,
        Self::WakeupRt,
        Self::WakeupDl,
        Self::Irqsoff,
        Self::Preemptoff,
        Self::Preemptirqsoff,
        Self::Nop,
        Self::Blk,
        Self::Mmiotrace,
    ];

    /// The name in scenario files and in `current_tracer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FunctionGraph => "function_graph",
            Self::Function => "function",
            Self::Wakeup => "wakeup",
            Self::WakeupRt => "wakeup_rt",
            Self::WakeupDl => "wakeup_dl",
            Self::Irqsoff => "irqsoff",
            Self::Preemptoff => "preemptoff",
            Self::Preemptirqsoff => "preemptirqsoff",
            Self::Nop => "nop",
            Self::Blk => "blk",
            Self::Mmiotrace => "mmiotrace",
        }
    }

    /// Whether it keeps the longest latency it has seen, and the trace behind it.
    #[must_use]
    pub const fn is_latency(self) -> bool {
        self.is_wakeup() || self.is_critical_section()
    }

    /// Whether it times from wake-up to CPU.
    #[must_use]
    pub const fn is_wakeup(self) -> bool {
        matches!(self, Self::Wakeup | Self::WakeupRt | Self::WakeupDl)
    }

    /// Whether it times how long something is off, from one function to another.
    #[must_use]
    pub const fn is_critical_section(self) -> bool {
        matches!(
            self,
            Self::Irqsoff | Self::Preemptoff | Self::Preemptirqsoff
        )
    }

    /// The events that only this tracer records, by itself, besides those of functions.
    #[must_use]
    pub const fn own_events(self) -> &'static [&'static str] {
        match self {
            Self::Blk => &["ftrace:blktrace"],
            Self::Mmiotrace => &["ftrace:mmiotrace_rw", "ftrace:mmiotrace_map"],
            Self::FunctionGraph
            | Self::Function
            | Self::Wakeup
            | Self::WakeupRt
            | Self::WakeupDl
            | Self::Irqsoff
            | Self::Preemptoff
            | Self::Preemptirqsoff
            | Self::Nop => &[],
        }
    }

    /// Whether functions can be chosen: it records them, or shows those within a latency.
    #[must_use]
    pub const fn takes_functions(self) -> bool {
        matches!(self, Self::FunctionGraph | Self::Function) || self.is_latency()
    }
}

impl fmt::Display for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TraceClock {
    /// Every clock.
    pub const ALL: [Self; 10] = [
        Self::Local,
        Self::Global,
        Self::Counter,
        Self::Uptime,
        Self::Perf,
        Self::Mono,
        Self::MonoRaw,
        Self::Boot,
        Self::Tai,
        Self::X86Tsc,
    ];

    /// The name in scenario files and in `trace_clock`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::Counter => "counter",
            Self::Uptime => "uptime",
            Self::Perf => "perf",
            Self::Mono => "mono",
            Self::MonoRaw => "mono_raw",
            Self::Boot => "boot",
            Self::Tai => "tai",
            Self::X86Tsc => "x86-tsc",
        }
    }

    /// Whether it counts nanoseconds: `trace_clocks[]`, `kernel/trace/trace.c`, Linux 7.3.
    #[must_use]
    pub const fn counts_nanoseconds(self) -> bool {
        !matches!(self, Self::Counter | Self::Uptime | Self::X86Tsc)
    }
}

impl fmt::Display for EventSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event)?;
        match &self.filter {
            Some(filter) => write!(f, " where {filter}"),
            None => Ok(()),
        }
    }
}
