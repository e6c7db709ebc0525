// SPDX-License-Identifier: GPL-2.0-only

//! The model that the decoder's output becomes and that checks and reports read.
//!
//! In: nothing; plain data. Out: `timeline.json`, format version 1, with the same bytes for the same input.
//! Does not: judge anything, or know what a scenario expected.
//! Source: the module's `test_deferred` events, the agent's markers in `trace_marker`, and
//! `kernel/trace/trace_entries.h`, Linux 7.3.

use serde::{Deserialize, Serialize};

use crate::stacks::place_of_hang;
use crate::{Answer, Integrity, Reports, TraceNanos};

/// Highest number of items one workload may have; ids are below it.
pub const MAX_ITEMS: u32 = 4096;

/// Anomalies that are kept in full; the rest are counted.
pub const KEPT_ANOMALIES: usize = 256;

/// Lines of the kernel log that are kept; only faults are looked for in the others.
pub const KEPT_LOG_LINES: usize = 10_000;

/// Bytes of one line of the kernel log that are kept.
pub const KEPT_LOG_BYTES: usize = 1_000;

/// What happened in one run of one scenario, on the guest's trace clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Version of this file's shape.
    pub format_version: FormatVersion,
    /// Why the run ended.
    pub ending: Ending,
    /// The trace clock in use, as marked in `trace_clock`; times compare only if it is `local`.
    pub trace_clock: String,
    /// The oldest record's timestamp; none if there is no record.
    pub first: Option<TraceNanos>,
    /// The newest record's timestamp; none if there is no record.
    pub last: Option<TraceNanos>,
    /// Number of records read.
    pub records: u64,
    /// Whether the trace is whole.
    pub integrity: Integrity,
    /// What contradicts the protocol between module, agent and harness.
    pub anomalies: Anomalies,
    /// The phases, in the order they ran.
    pub phases: Vec<PhaseSpan>,
    /// Functions that were called outside every phase, by name.
    pub functions: Vec<Function>,
    /// Lines of the kernel log that report a fault of the kernel, in their order.
    pub splats: Vec<String>,
    /// The kernel log's lines without the prefixes of printk: the first [`KEPT_LOG_LINES`], each up to
    /// [`KEPT_LOG_BYTES`] long.
    pub log_lines: Vec<String>,
    /// Whether something of the log is not in `log_lines`: it is longer than what is kept, or its beginning is lost.
    pub log_cut: bool,
    /// What kmemleak reported after the last unload; none if no scan was made.
    pub leaks: Option<Vec<Leak>>,
    /// What was asked of the records, and what they say.
    pub answers: Vec<Answer>,
    /// What the kernel itself reports as text.
    pub reports: Reports,
}

/// Version 1 of `timeline.json`; reading any other version is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub struct FormatVersion;

impl FormatVersion {
    /// The number that stands in the file.
    pub const NUMBER: u32 = 1;
}

impl From<FormatVersion> for u32 {
    fn from(_: FormatVersion) -> Self {
        FormatVersion::NUMBER
    }
}

impl TryFrom<u32> for FormatVersion {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number == Self::NUMBER {
            Ok(Self)
        } else {
            Err(format!(
                "format_version is {number} but only {} can be read",
                Self::NUMBER
            ))
        }
    }
}

/// Why a run ended, as the VM's host saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Ending {
    /// The agent ran the whole plan, handed over its files and powered off.
    Complete,
    /// The guest's kernel panicked.
    GuestPanic {
        /// The panic's line, as the console has it.
        message: String,
    },
    /// The plan's deadline in guest time passed.
    GuestDeadline {
        /// What the agent waited for.
        waiting_for: String,
    },
    /// The run's deadline in wall time passed.
    HostDeadline {
        /// What the host waited for.
        waiting_for: String,
    },
    /// The guest ran but its agent never reported.
    AgentMissing,
    /// The agent reported an error of its own.
    AgentError {
        /// The agent's words.
        message: String,
    },
    /// An exception in the guest's kernel, and no way to handle it or those that followed.
    TripleFault {
        /// During what.
        during: String,
    },
    /// The guest was reset by itself, and its kernel had not panicked.
    GuestReset {
        /// During what.
        during: String,
    },
    /// The guest's kernel refused what the run needs: a module, a setting.
    Refused {
        /// What, and why.
        message: String,
    },
    /// QEMU ended before the guest powered off.
    QemuDied {
        /// Its exit status or signal.
        status: String,
    },
    /// QEMU ended before the guest ran.
    QemuRefused {
        /// Its exit status and its words.
        status: String,
    },
    /// QEMU does not answer any more.
    QemuHung {
        /// What the host waited for.
        waiting_for: String,
    },
    /// The host had no room for the results.
    DiskFull {
        /// Where, and how much is free.
        message: String,
    },
    /// The host slept while the guest ran on its clock.
    HostSuspended {
        /// For how long.
        message: String,
    },
    /// The user interrupted the run.
    Interrupted,
    /// The results were cut short on their way to the host.
    Truncated {
        /// What is missing.
        message: String,
    },
}

impl Ending {
    /// The same, with where the guest hangs if it does: `stacks` are those of its tasks.
    #[must_use]
    pub fn with_place_of_hang(self, stacks: &str, phases: &[PhaseSpan]) -> Self {
        let with_place = |waiting_for: String| match place_of_hang(stacks, phases) {
            Some(place) => format!("{waiting_for}; {place}"),
            None => waiting_for,
        };
        match self {
            Self::GuestDeadline { waiting_for } => Self::GuestDeadline {
                waiting_for: with_place(waiting_for),
            },
            Self::HostDeadline { waiting_for } => Self::HostDeadline {
                waiting_for: with_place(waiting_for),
            },
            other => other,
        }
    }
}

/// One recorded moment, with the record that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The time to calculate with: the event's `time_ns` if it has one, else the record's timestamp.
    pub at: TraceNanos,
    /// The CPU whose buffer holds the record.
    pub cpu: u32,
    /// The task that was running.
    pub pid: i32,
    /// The record's own timestamp, a little later than `at`.
    pub recorded: TraceNanos,
}

/// A moment at which something returned a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// When.
    pub moment: Moment,
    /// 0 or a negative errno.
    pub status: i64,
}

/// One phase: a load of the module with one workload, up to its unload, or a boot of a kernel with the workload in its
/// image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSpan {
    /// The scenario's name for it.
    pub name: String,
    /// Marker `phase-begin`; of a phase that is a boot, the first record.
    pub begin: Moment,
    /// Marker `phase-begin` of a phase that is a boot: PID 1 runs.
    pub first_process: Option<Moment>,
    /// Marker `load`, just before `finit_module`.
    pub load: Option<Moment>,
    /// Marker `loaded`, with what `finit_module` returned.
    pub loaded: Option<Returned>,
    /// The module's init function.
    pub init: Option<InitSpan>,
    /// Marker `trigger`.
    pub trigger: Option<Moment>,
    /// Marker `done`, `held` or `deadline`.
    pub finish: Option<Finish>,
    /// Marker `results`, just before the agent reads the module's own record.
    pub results: Option<Moment>,
    /// Marker `unload`, just before `delete_module`.
    pub unload: Option<Moment>,
    /// Marker `unloaded`, with what `delete_module` returned.
    pub unloaded: Option<Returned>,
    /// Marker `phase-end`.
    pub end: Option<Moment>,
    /// The items that left a record in the trace, by id.
    pub items: Vec<Item>,
    /// The module's own record of every item, by id; none if the agent did not hand it over.
    pub record: Option<Vec<ItemRecord>>,
    /// Functions that were entered in this phase, by name.
    pub functions: Vec<Function>,
    /// The rounds of a phase that has them instead of one load.
    pub rounds: Option<RoundsSpan>,
    /// The command of a phase that runs one instead of a load.
    pub command: Option<CommandSpan>,
}

/// A command that ran in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpan {
    /// Marker `command-begin`.
    pub begin: Moment,
    /// Marker `command-end`; none if the command did not end, or if recording was stopped before.
    pub end: Option<Moment>,
    /// How it ended, by the marker or else by the agent's word.
    pub how: Option<CommandHow>,
    /// Whether recording was stopped within the phase, so that nothing is known of its rest.
    pub is_stopped: bool,
    /// The lines that it wrote to both of its outputs: the first [`KEPT_LOG_LINES`], each up to [`KEPT_LOG_BYTES`] long;
    /// none if the agent did not hand them over.
    pub output: Option<Vec<String>>,
    /// Whether it wrote more than that.
    pub is_output_cut: bool,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandHow {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
}

impl std::fmt::Display for CommandHow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited {status}"),
            Self::Signalled(signal) => write!(f, "signalled {signal}"),
        }
    }
}

/// Many loads and unloads, of which nothing was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundsSpan {
    /// Marker `rounds-begin`.
    pub begin: Moment,
    /// Marker `rounds-end`.
    pub end: Option<Moment>,
    /// What the agent says of them; none if it did not hand it over.
    pub record: Option<RoundsRecord>,
}

/// What the rounds of a phase came to; every one of them did what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundsRecord {
    /// How many there were.
    pub rounds: u32,
    /// After how many of them memory was measured for the first time.
    pub warm_up: u32,
    /// The bytes that the kernel had in use then.
    pub memory_before: u64,
    /// The bytes that it had in use after the last round.
    pub memory_after: u64,
}

impl RoundsRecord {
    /// By how many bytes the memory in use has grown since the warm-up.
    #[must_use]
    pub fn growth(&self) -> i64 {
        let difference = i128::from(self.memory_after) - i128::from(self.memory_before);
        i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
    }
}

/// The module's init function, from `initcall_start` to `initcall_finish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitSpan {
    /// Record `initcall_start`.
    pub start: Moment,
    /// Record `initcall_finish`, with the function's return value.
    pub finish: Option<Returned>,
}

impl InitSpan {
    /// Nanoseconds inside the init function; none if it never returned.
    #[must_use]
    pub fn nanoseconds(&self) -> Option<i64> {
        Some(self.finish?.moment.at.since(self.start.at))
    }
}

/// How the agent's wait in a phase came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// Which of the three markers.
    pub cause: FinishCause,
    /// When.
    pub moment: Moment,
}

/// What ended the agent's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishCause {
    /// Every item ended.
    Done,
    /// The time to hold passed.
    Held,
    /// The deadline in guest time passed first.
    Deadline,
}

impl FinishCause {
    /// The marker's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Held => "held",
            Self::Deadline => "deadline",
        }
    }
}

/// One item of a workload and what the trace has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id, unique within its phase.
    pub id: u32,
    /// The initcall level at which it was armed, of a phase that is a boot.
    pub level: Option<String>,
    /// `deferred_item_armed`.
    pub armed: Option<Armed>,
    /// The first `deferred_item_queued`, with its timer's expiry.
    pub queued: Option<Queued>,
    /// Every call of the item, in their order.
    pub attempts: Vec<Attempt>,
    /// The start of the first attempt.
    pub started: Option<Moment>,
    /// `deferred_item_ended`, with its error: the end of the last attempt, or of an item that is not started any more
    /// since its queue is gone.
    pub ended: Option<Returned>,
    /// `deferred_item_cancelled`.
    pub cancelled: Option<Moment>,
}

impl Item {
    /// The moment of one kind of event.
    #[must_use]
    pub fn moment(&self, event: ItemEvent) -> Option<Moment> {
        match event {
            ItemEvent::Armed => self.armed.map(|armed| armed.moment),
            ItemEvent::Queued => self.queued.map(|queued| queued.moment),
            ItemEvent::Started => self.started,
            ItemEvent::Ended => self.ended.map(|ended| ended.moment),
            ItemEvent::Cancelled => self.cancelled,
        }
    }
}

/// One call of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// `deferred_item_started`.
    pub started: Moment,
    /// How it came to its end; none if it is still running.
    pub end: Option<AttemptEnd>,
}

/// How one call of an item came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// `deferred_item_retried`: the item is to be called again.
    Retried(Returned),
    /// `deferred_item_ended`: it is not.
    Ended(Returned),
}

impl AttemptEnd {
    /// When, and with which error.
    #[must_use]
    pub fn returned(self) -> Returned {
        match self {
            Self::Retried(returned) | Self::Ended(returned) => returned,
        }
    }
}

/// What the module itself recorded of one item, as its file `results` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Its id.
    pub id: u32,
    /// Its name; the id in decimal where the workload is no plan.
    pub name: String,
    /// What runs it.
    pub mode: String,
    /// When it was armed.
    pub armed: Option<TraceNanos>,
    /// When the timer of the first attempt was to expire, in absolute jiffies; none without a timer.
    pub expires: Option<u64>,
    /// When the first attempt was queued.
    pub queued: Option<TraceNanos>,
    /// When the first attempt started.
    pub started: Option<TraceNanos>,
    /// When it ended.
    pub ended: Option<TraceNanos>,
    /// When it was cancelled.
    pub cancelled: Option<TraceNanos>,
    /// The CPU of the last start.
    pub cpu: Option<u32>,
    /// The task of the last start.
    pub pid: Option<i32>,
    /// How often it was started.
    pub attempts: u32,
    /// What it ended with: 0 or a negative errno.
    pub error: Option<i64>,
}

/// An item's arming, with what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// When.
    pub moment: Moment,
    /// The requested delay in nanoseconds.
    pub delay_ns: u64,
    /// The delay as handed to the kernel, in jiffies.
    pub delay_jiffies: u64,
}

/// The moment the kernel put an item on its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// When.
    pub moment: Moment,
    /// When its timer was to expire, in absolute jiffies; 0 if it had no timer.
    pub expires: u64,
}

/// What an item can come to, in the order of its life. Of what repeats with its attempts, the first start and the
/// last end count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemEvent {
    /// Asked for, with a delay.
    Armed,
    /// Put on its workqueue.
    Queued,
    /// Its body started.
    Started,
    /// Its body ended.
    Ended,
    /// Taken back while pending.
    Cancelled,
}

impl ItemEvent {
    /// All of them, in the order of an item's life.
    pub const ALL: [Self; 5] = [
        Self::Armed,
        Self::Queued,
        Self::Started,
        Self::Ended,
        Self::Cancelled,
    ];

    /// The trace event's name, `deferred_item_...`.
    #[must_use]
    pub fn event_name(self) -> &'static str {
        match self {
            Self::Armed => "deferred_item_armed",
            Self::Queued => "deferred_item_queued",
            Self::Started => "deferred_item_started",
            Self::Ended => "deferred_item_ended",
            Self::Cancelled => "deferred_item_cancelled",
        }
    }

    /// The word for it in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One traced function and its complete calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The name for people: Rust names demangled without their hash; the address if it has no symbol.
    pub name: String,
    /// The name as `/proc/kallsyms` has it; the address if it has no symbol.
    pub symbol: String,
    /// The module it belongs to; none for the kernel itself.
    pub module: Option<String>,
    /// Its calls, by the time they were made.
    pub spans: Vec<FunctionSpan>,
}

impl Function {
    /// The last part of the name's path: `body` of `test_deferred_main::body`.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name.rsplit("::").next().unwrap_or(&self.name)
    }

    /// Whether `wanted` names this function: by its full name, its last part, or its raw symbol.
    #[must_use]
    pub fn is_named(&self, wanted: &str) -> bool {
        self.name == wanted || self.symbol == wanted || self.short_name() == wanted
    }
}

/// One call of a function, from a matched pair of function_graph records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpan {
    /// The kernel's own `calltime`.
    pub called: TraceNanos,
    /// The kernel's own `rettime`.
    pub returned: TraceNanos,
    /// Nesting depth on the task's shadow stack.
    pub depth: u64,
    /// The task; 0 stands for the idle task of `entry_cpu`.
    pub pid: i32,
    /// The CPU of the `funcgraph_entry` record.
    pub entry_cpu: u32,
    /// The timestamp of the `funcgraph_entry` record.
    pub entry_recorded: TraceNanos,
    /// The CPU of the `funcgraph_exit` record.
    pub exit_cpu: u32,
    /// The timestamp of the `funcgraph_exit` record.
    pub exit_recorded: TraceNanos,
    /// The return value, if the kernel records it (`CONFIG_FUNCTION_GRAPH_RETVAL`).
    pub return_value: Option<i64>,
}

impl FunctionSpan {
    /// Nanoseconds from call to return: `rettime - calltime`.
    #[must_use]
    pub fn nanoseconds(&self) -> i64 {
        self.returned.since(self.called)
    }
}

/// What contradicts the protocol: any of it makes a run's verdict unresolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies {
    /// How many there are.
    pub total: u64,
    /// The first [`KEPT_ANOMALIES`] of them.
    pub first: Vec<Anomaly>,
}

impl Anomalies {
    /// Notes one, at the record that shows it if there is one.
    pub(crate) fn note(&mut self, moment: Option<Moment>, message: String) {
        self.total = self.total.saturating_add(1);
        if self.first.len() < KEPT_ANOMALIES {
            self.first.push(Anomaly { message, moment });
        }
    }
}

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What is wrong, in one line.
    pub message: String,
    /// The record that shows it.
    pub moment: Option<Moment>,
}

/// One object that kmemleak holds for leaked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// kmemleak's headline: `unreferenced object 0xffff888003a4f000 (size 64)`.
    pub object: String,
    /// Who allocated it: `comm "init", pid 1, jiffies 4294937300`.
    pub allocator: String,
    /// The allocation's stack, innermost first, Rust names demangled.
    pub backtrace: Vec<String>,
}
