// SPDX-License-Identifier: GPL-2.0-only

//! Expectations: what a scenario says about the timeline of a run.
//!
//! In: a validated scenario. Out: plain values for the checks, and one line of text for each.
//! Does not judge: a check compares an expectation with a timeline elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Errno, EventSelection, Level, Load, Nanos, Percentile};

/// One entry of `expect`. The phase it is about is always filled in and exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// How many events or calls there are.
    Count(CountExpectation),
    /// The order in which items reach an event.
    Order(OrderExpectation),
    /// The time between two events of the same item, for each item.
    Interval(IntervalExpectation),
    /// How long after its requested delay each item reaches an event.
    Lateness(LatenessExpectation),
    /// How long module init, each item, or each call of a function takes.
    Duration(DurationExpectation),
    /// The time between two points of a phase.
    Window(WindowExpectation),
    /// The most items that run at one time.
    Concurrency(ConcurrencyExpectation),
    /// By how much a time of one phase exceeds that of another.
    Difference(DifferenceExpectation),
    /// What a kmemleak scan after the last unload finds.
    Leaks(LeaksExpectation),
    /// That the load is refused.
    Load(LoadExpectation),
    /// What items end with.
    Error(ErrorExpectation),
    /// How often each item is started.
    Attempts(AttemptsExpectation),
    /// What the kernel log says.
    Log(LogExpectation),
    /// The initcall level that items are armed at.
    Level(LevelExpectation),
    /// How much more memory the kernel uses after a phase's rounds.
    Growth(GrowthExpectation),
    /// The time from one thing in the trace to another.
    Between(BetweenExpectation),
    /// That one thing in the trace comes before another.
    Before(BeforeExpectation),
    /// How often something happens within the calls of a function.
    Call(CallExpectation),
    /// How often something has a stack trace with certain functions.
    Stack(StackExpectation),
    /// The longest latency that a latency tracer has seen.
    Latency(LatencyExpectation),
    /// What the function profiler says of a function.
    Profile(ProfileExpectation),
    /// The deepest stack that the stack tracer has seen.
    StackSize(StackSizeExpectation),
    /// What a histogram of an event's trigger holds.
    Histogram(HistogramExpectation),
    /// What a command ends with.
    Exit(ExitExpectation),
    /// What a command writes.
    Output(OutputExpectation),
}

/// See [`Expectation::Count`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CountExpectation {
    /// The phase's name.
    pub phase: String,
    /// What is counted.
    pub of: CountOf,
    /// The ids of the items it is about, none twice; `None` for all of the phase, and for a function.
    pub items: Option<Vec<u32>>,
    /// How many there may be.
    pub bounds: CountBounds,
}

/// What [`Expectation::Count`] counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CountOf {
    /// Items that were armed.
    Armed,
    /// Items that were queued.
    Queued,
    /// Items that started.
    Started,
    /// Every time an item was to be called again.
    Retried,
    /// Items that ended.
    Ended,
    /// Items that were cancelled.
    Cancelled,
    /// Calls of the function with this name.
    Function(String),
    /// Records of an event.
    Event(EventSelection),
}

/// Something that happens in the trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A record of an event.
    Event(EventSelection),
    /// The entry of the function with this name.
    Function(String),
}

/// One side of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeyedOccasion {
    /// What happens.
    pub of: Occasion,
    /// The field whose value both sides of a pair have in common; `None` on both, or on none.
    pub key: Option<String>,
}

/// See [`Expectation::Between`]. Each `to` is paired with the last `from` before it that has the same key and no other
/// `to` since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BetweenExpectation {
    /// The phase's name.
    pub phase: String,
    /// What begins an interval.
    pub from: KeyedOccasion,
    /// What ends it.
    pub to: KeyedOccasion,
    /// What holds for every interval.
    pub each: Bounds,
    /// What holds for percentiles over all intervals.
    pub percentiles: Vec<PercentileBounds>,
}

/// See [`Expectation::Before`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BeforeExpectation {
    /// The phase's name.
    pub phase: String,
    /// What comes before.
    pub first: KeyedOccasion,
    /// What has a `first` before it each time, with no other `then` of the same key between.
    pub then: KeyedOccasion,
}

/// See [`Expectation::Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CallExpectation {
    /// The phase's name.
    pub phase: String,
    /// What happens.
    pub of: Occasion,
    /// The function that has been called and has not returned then, by the same task.
    pub below: String,
    /// How often.
    pub bounds: CountBounds,
}

/// See [`Expectation::Stack`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StackExpectation {
    /// The phase's name.
    pub phase: String,
    /// What has a stack trace.
    pub of: Occasion,
    /// Functions, the innermost first; others may stand between.
    pub frames: Vec<String>,
    /// How many of the stack traces have all of these in this order.
    pub bounds: CountBounds,
}

/// See [`Expectation::Latency`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LatencyExpectation {
    /// How long it may be.
    pub bounds: Bounds,
    /// The function in which it began.
    pub started_at: Option<String>,
    /// The function in which it ended.
    pub ended_at: Option<String>,
    /// The name of the task it is about.
    pub task: Option<String>,
    /// Functions and events that the trace behind it has, in any order.
    pub shows: Vec<String>,
}

/// See [`Expectation::Profile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProfileExpectation {
    /// The function's name.
    pub function: String,
    /// How often it may be called, on all CPUs together; no side set for any number but 0.
    pub hits: CountBounds,
    /// How long all calls may take together.
    pub time: Bounds,
    /// How long a call may take on average.
    pub average: Bounds,
}

/// See [`Expectation::StackSize`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StackSizeExpectation {
    /// The least the deepest stack may have.
    pub min: Option<Bytes>,
    /// The most it may have.
    pub max: Option<Bytes>,
    /// Functions on it, the innermost first; others may stand between.
    pub frames: Vec<String>,
}

/// See [`Expectation::Histogram`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HistogramExpectation {
    /// The event with the trigger, `system:event`.
    pub event: String,
    /// What an entry's keys are, as `field = value`; empty for all entries together.
    pub entry: Vec<(String, String)>,
    /// The value that is summed up.
    pub value: String,
    /// What the sum may be.
    pub bounds: CountBounds,
}

/// See [`Expectation::Exit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExitExpectation {
    /// The phase's name; it runs a command.
    pub phase: String,
    /// The command's exit status.
    pub equals: u8,
}

/// See [`Expectation::Output`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OutputExpectation {
    /// The phase's name; it runs a command.
    pub phase: String,
    /// A part of a line.
    pub contains: String,
    /// How many lines of what the command writes may contain it.
    pub bounds: CountBounds,
}

/// See [`Expectation::Order`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OrderExpectation {
    /// The phase's name; it has at least two items.
    pub phase: String,
    /// The event whose order counts; never `Cancelled`.
    pub by: ItemEvent,
    /// The order expected.
    pub ids: IdOrder,
}

/// An order of item ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdOrder {
    /// From the smallest id to the largest.
    Ascending,
    /// From the largest id to the smallest.
    Descending,
    /// These ids in this order: at least two, none twice, each one of the phase's. Other items may come between.
    Listed(Vec<u32>),
}

/// See [`Expectation::Interval`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IntervalExpectation {
    /// The phase's name.
    pub phase: String,
    /// The event that begins the interval; always before `to` in an item's life.
    pub from: ItemEvent,
    /// The event that ends the interval.
    pub to: ItemEvent,
    /// The ids of the items it is about, none twice; `None` for all of the phase.
    pub items: Option<Vec<u32>>,
    /// What holds for every item.
    pub each: Bounds,
    /// What holds for percentiles over all items.
    pub percentiles: Vec<PercentileBounds>,
}

/// See [`Expectation::Lateness`]: the event's time minus (time armed + delay requested); negative is early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LatenessExpectation {
    /// The phase's name.
    pub phase: String,
    /// `Queued` or `Started`.
    pub of: ItemEvent,
    /// The ids of the items it is about, none twice; `None` for all of the phase. Each of them has a delay.
    pub items: Option<Vec<u32>>,
    /// What holds for every item.
    pub each: Bounds,
    /// What holds for percentiles over all items.
    pub percentiles: Vec<PercentileBounds>,
}

/// See [`Expectation::Duration`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DurationExpectation {
    /// The phase's name.
    pub phase: String,
    /// Whose duration.
    pub of: DurationOf,
    /// The ids of the items it is about, none twice; `None` for all of the phase, for init and for a function.
    pub items: Option<Vec<u32>>,
    /// What holds for each duration.
    pub each: Bounds,
    /// What holds for percentiles over all durations; empty for init.
    pub percentiles: Vec<PercentileBounds>,
    /// The most all durations may add up to; `None` for init.
    pub total_max: Option<Nanos>,
}

/// Whose duration [`Expectation::Duration`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurationOf {
    /// The module's init, one per phase.
    Init,
    /// An item from its start to its end.
    Item,
    /// A call of the function with this name.
    Function(String),
}

/// See [`Expectation::Window`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WindowExpectation {
    /// The phase's name.
    pub phase: String,
    /// Where the window begins; differs from `to`.
    pub from: Point,
    /// Where the window ends.
    pub to: Point,
    /// How long it may be.
    pub bounds: Bounds,
}

/// See [`Expectation::Concurrency`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConcurrencyExpectation {
    /// The phase's name.
    pub phase: String,
    /// The ids of the items it is about, none twice; `None` for all of the phase.
    pub items: Option<Vec<u32>>,
    /// How many items may run at one time at most.
    pub bounds: CountBounds,
}

/// See [`Expectation::Difference`]: the value of `between.0` minus that of `between.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DifferenceExpectation {
    /// The time compared.
    pub of: DifferenceOf,
    /// Two different phases.
    pub between: (String, String),
    /// How much the first may exceed the second.
    pub bounds: Bounds,
}

/// A time that is one value per phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceOf {
    /// The duration of the module's init.
    Init,
    /// The time from one point to another.
    Window {
        /// Where the window begins; differs from `to`.
        from: Point,
        /// Where the window ends.
        to: Point,
    },
}

/// See [`Expectation::Leaks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LeaksExpectation {
    /// How many leaks there may be.
    pub bounds: CountBounds,
}

/// See [`Expectation::Load`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LoadExpectation {
    /// The phase's name.
    pub phase: String,
    /// What `finit_module` fails with.
    pub error: Errno,
}

/// See [`Expectation::Error`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ErrorExpectation {
    /// The phase's name.
    pub phase: String,
    /// The ids of the items it is about, none twice; `None` for all of the phase.
    pub items: Option<Vec<u32>>,
    /// What each of them ends with; `None` for success.
    pub equals: Option<Errno>,
}

/// See [`Expectation::Level`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LevelExpectation {
    /// The phase's name; it is a boot.
    pub phase: String,
    /// The ids of the items it is about, none twice; `None` for all of the phase.
    pub items: Option<Vec<u32>>,
    /// The level at which each of them is armed.
    pub equals: Level,
}

/// See [`Expectation::Growth`]: the kernel's memory in use after the last round minus that after the warm-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GrowthExpectation {
    /// The phase's name; it has rounds.
    pub phase: String,
    /// The most it may grow.
    pub max: Bytes,
}

/// See [`Expectation::Attempts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AttemptsExpectation {
    /// The phase's name.
    pub phase: String,
    /// The ids of the items it is about, none twice; `None` for all of the phase.
    pub items: Option<Vec<u32>>,
    /// How often each of them may be started.
    pub bounds: CountBounds,
}

/// See [`Expectation::Log`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogExpectation {
    /// A part of a line.
    pub contains: String,
    /// How many lines of the kernel log may contain it.
    pub bounds: CountBounds,
}

/// An event in an item's life, in the order an item goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemEvent {
    /// The item was handed to the kernel with its delay.
    Armed,
    /// The kernel put the item's work on its queue.
    Queued,
    /// The item began to run.
    Started,
    /// The item finished.
    Ended,
    /// The item was still pending at unload and was taken back.
    Cancelled,
}

/// A point in time that a phase passes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// The guest's clock begins: the kernel boots. Of a boot only.
    Boot,
    /// The first process runs. Of a boot only.
    FirstProcess,
    /// Just before `finit_module`.
    Load,
    /// The kernel calls the module's init.
    InitStart,
    /// The module's init has returned.
    InitEnd,
    /// Just before the write that triggers the workload.
    Trigger,
    /// The first item is armed.
    FirstArmed,
    /// The last item is armed.
    LastArmed,
    /// The first item starts.
    FirstStarted,
    /// The last item starts.
    LastStarted,
    /// The first item ends.
    FirstEnded,
    /// The last item ends.
    LastEnded,
    /// Just before `delete_module`.
    Unload,
    /// `delete_module` has returned.
    Unloaded,
}

/// What a time may be; at least one side is set unless percentiles or a total carry the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bounds {
    /// The least, inclusive.
    pub min: Option<Nanos>,
    /// The most, inclusive; never below `min`.
    pub max: Option<Nanos>,
}

/// What the nearest-rank percentile of some times may be; at least one side is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PercentileBounds {
    /// Which percentile.
    pub p: Percentile,
    /// What it may be.
    pub bounds: Bounds,
}

/// What a count may be; at least one side is set, both to the same for `equals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CountBounds {
    /// The least, inclusive.
    pub at_least: Option<u64>,
    /// The most, inclusive; never below `at_least`.
    pub at_most: Option<u64>,
}

impl Expectation {
    /// The phase this is about; `None` for those about several phases or the whole run.
    #[must_use]
    pub fn phase(&self) -> Option<&str> {
        match self {
            Self::Count(expected) => Some(&expected.phase),
            Self::Order(expected) => Some(&expected.phase),
            Self::Interval(expected) => Some(&expected.phase),
            Self::Lateness(expected) => Some(&expected.phase),
            Self::Duration(expected) => Some(&expected.phase),
            Self::Window(expected) => Some(&expected.phase),
            Self::Concurrency(expected) => Some(&expected.phase),
            Self::Load(expected) => Some(&expected.phase),
            Self::Error(expected) => Some(&expected.phase),
            Self::Attempts(expected) => Some(&expected.phase),
            Self::Level(expected) => Some(&expected.phase),
            Self::Growth(expected) => Some(&expected.phase),
            Self::Between(expected) => Some(&expected.phase),
            Self::Before(expected) => Some(&expected.phase),
            Self::Call(expected) => Some(&expected.phase),
            Self::Stack(expected) => Some(&expected.phase),
            Self::Exit(expected) => Some(&expected.phase),
            Self::Output(expected) => Some(&expected.phase),
            Self::Difference(_)
            | Self::Leaks(_)
            | Self::Log(_)
            | Self::Latency(_)
            | Self::Profile(_)
            | Self::StackSize(_)
            | Self::Histogram(_) => None,
        }
    }

    /// The same about another phase; those about several phases or the whole run stay as they are.
    pub(crate) fn in_phase(&self, name: &str) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Count(expected) => name.clone_into(&mut expected.phase),
            Self::Order(expected) => name.clone_into(&mut expected.phase),
            Self::Interval(expected) => name.clone_into(&mut expected.phase),
            Self::Lateness(expected) => name.clone_into(&mut expected.phase),
            Self::Duration(expected) => name.clone_into(&mut expected.phase),
            Self::Window(expected) => name.clone_into(&mut expected.phase),
            Self::Concurrency(expected) => name.clone_into(&mut expected.phase),
            Self::Load(expected) => name.clone_into(&mut expected.phase),
            Self::Error(expected) => name.clone_into(&mut expected.phase),
            Self::Attempts(expected) => name.clone_into(&mut expected.phase),
            Self::Level(expected) => name.clone_into(&mut expected.phase),
            Self::Growth(expected) => name.clone_into(&mut expected.phase),
            Self::Between(expected) => name.clone_into(&mut expected.phase),
            Self::Before(expected) => name.clone_into(&mut expected.phase),
            Self::Call(expected) => name.clone_into(&mut expected.phase),
            Self::Stack(expected) => name.clone_into(&mut expected.phase),
            Self::Exit(expected) => name.clone_into(&mut expected.phase),
            Self::Output(expected) => name.clone_into(&mut expected.phase),
            Self::Difference(_)
            | Self::Leaks(_)
            | Self::Log(_)
            | Self::Latency(_)
            | Self::Profile(_)
            | Self::StackSize(_)
            | Self::Histogram(_) => {}
        }
        other
    }
}

impl Bounds {
    /// True when neither side is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// True when a time, negative for "early", lies within.
    #[must_use]
    pub fn admits(&self, nanos: i64) -> bool {
        let nanos = i128::from(nanos);
        self.min.is_none_or(|min| nanos >= i128::from(min.0))
            && self.max.is_none_or(|max| nanos <= i128::from(max.0))
    }
}

impl CountBounds {
    /// True when the count lies within.
    #[must_use]
    pub fn admits(&self, count: u64) -> bool {
        self.at_least.is_none_or(|least| count >= least)
            && self.at_most.is_none_or(|most| count <= most)
    }
}

impl ItemEvent {
    /// Every event, in order.
    pub const ALL: [Self; 5] = [
        Self::Armed,
        Self::Queued,
        Self::Started,
        Self::Ended,
        Self::Cancelled,
    ];

    /// The name in scenario files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ItemEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Point {
    /// Every point, in order.
    pub const ALL: [Self; 14] = [
        Self::Boot,
        Self::FirstProcess,
        Self::Load,
        Self::InitStart,
        Self::InitEnd,
        Self::Trigger,
        Self::FirstArmed,
        Self::LastArmed,
        Self::FirstStarted,
        Self::LastStarted,
        Self::FirstEnded,
        Self::LastEnded,
        Self::Unload,
        Self::Unloaded,
    ];

    /// Whether a phase has it whose workload is in the kernel's image, or a module.
    #[must_use]
    pub const fn is_of(self, load: Load) -> bool {
        match self {
            Self::Boot | Self::FirstProcess => matches!(load, Load::BuiltIn),
            Self::Load
            | Self::InitStart
            | Self::InitEnd
            | Self::Trigger
            | Self::Unload
            | Self::Unloaded => matches!(load, Load::Module),
            Self::FirstArmed
            | Self::LastArmed
            | Self::FirstStarted
            | Self::LastStarted
            | Self::FirstEnded
            | Self::LastEnded => true,
        }
    }

    /// The name in scenario files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::FirstProcess => "first-process",
            Self::Load => "load",
            Self::InitStart => "init-start",
            Self::InitEnd => "init-end",
            Self::Trigger => "trigger",
            Self::FirstArmed => "first-armed",
            Self::LastArmed => "last-armed",
            Self::FirstStarted => "first-started",
            Self::LastStarted => "last-started",
            Self::FirstEnded => "first-ended",
            Self::LastEnded => "last-ended",
            Self::Unload => "unload",
            Self::Unloaded => "unloaded",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line, such as `main: lateness of queued: each at least 0ns, at most 8ms`.
impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(phase) = self.phase() {
            write!(f, "{phase}: ")?;
        }
        match self {
            Self::Count(expected) => {
                write!(f, "count of {}", expected.of)?;
                write_items(f, expected.items.as_deref())?;
                write!(f, ": {}", expected.bounds)
            }
            Self::Order(expected) => write!(f, "order by {}: {}", expected.by, expected.ids),
            Self::Interval(expected) => {
                write!(f, "interval from {} to {}", expected.from, expected.to)?;
                write_items(f, expected.items.as_deref())?;
                f.write_str(": ")?;
                write_spread(f, expected.each, &expected.percentiles, None)
            }
            Self::Lateness(expected) => {
                write!(f, "lateness of {}", expected.of)?;
                write_items(f, expected.items.as_deref())?;
                f.write_str(": ")?;
                write_spread(f, expected.each, &expected.percentiles, None)
            }
            Self::Duration(expected) => {
                write!(f, "duration of {}", expected.of)?;
                write_items(f, expected.items.as_deref())?;
                f.write_str(": ")?;
                write_spread(f, expected.each, &expected.percentiles, expected.total_max)
            }
            Self::Window(expected) => {
                write!(
                    f,
                    "window from {} to {}: {}",
                    expected.from, expected.to, expected.bounds
                )
            }
            Self::Concurrency(expected) => {
                f.write_str("concurrency")?;
                write_items(f, expected.items.as_deref())?;
                write!(f, ": {}", expected.bounds)
            }
            Self::Difference(expected) => {
                let (first, second) = &expected.between;
                write!(
                    f,
                    "difference of {}, {first} minus {second}: {}",
                    expected.of, expected.bounds
                )
            }
            Self::Leaks(expected) => write!(f, "leaks: {}", expected.bounds),
            Self::Load(expected) => write!(f, "load: refused with {}", expected.error),
            Self::Error(expected) => {
                f.write_str("error")?;
                write_items(f, expected.items.as_deref())?;
                match expected.equals {
                    Some(error) => write!(f, ": equals {error}"),
                    None => f.write_str(": equals none"),
                }
            }
            Self::Attempts(expected) => {
                f.write_str("attempts")?;
                write_items(f, expected.items.as_deref())?;
                write!(f, ": {}", expected.bounds)
            }
            Self::Level(expected) => {
                f.write_str("level")?;
                write_items(f, expected.items.as_deref())?;
                write!(f, ": equals {}", expected.equals.as_str())
            }
            Self::Growth(expected) => write!(f, "growth: at most {}", expected.max),
            Self::Between(expected) => {
                write!(f, "interval from {} to {}: ", expected.from, expected.to)?;
                write_spread(f, expected.each, &expected.percentiles, None)
            }
            Self::Before(expected) => {
                write!(f, "before: {}, then {}", expected.first, expected.then)
            }
            Self::Call(expected) => write!(
                f,
                "call of {} below {}: {}",
                expected.of, expected.below, expected.bounds
            ),
            Self::Stack(expected) => write!(
                f,
                "stack of {} with {}: {}",
                expected.of,
                expected.frames.join(", "),
                expected.bounds
            ),
            Self::Latency(expected) => write!(f, "latency: {}", expected.words()),
            Self::Profile(expected) => {
                write!(f, "profile of {}: {}", expected.function, expected.words())
            }
            Self::StackSize(expected) => write!(f, "stack-size: {}", expected.words()),
            Self::Histogram(expected) => write!(
                f,
                "histogram of {}: {}{} {}",
                expected.event,
                expected.entry_words(),
                expected.value,
                expected.bounds
            ),
            Self::Exit(expected) => write!(f, "exit: equals {}", expected.equals),
            Self::Output(expected) => write!(
                f,
                "output contains {:?}: {}",
                expected.contains, expected.bounds
            ),
            Self::Log(expected) => {
                write!(
                    f,
                    "log contains {:?}: {}",
                    expected.contains, expected.bounds
                )
            }
        }
    }
}

/// Writes which items an expectation is about, unless it is about all.
fn write_items(f: &mut fmt::Formatter<'_>, items: Option<&[u32]>) -> fmt::Result {
    match items {
        Some(ids) => write!(f, " for items {ids:?}"),
        None => Ok(()),
    }
}

/// Writes what holds for each time, for percentiles and for the sum.
fn write_spread(
    f: &mut fmt::Formatter<'_>,
    each: Bounds,
    percentiles: &[PercentileBounds],
    total_max: Option<Nanos>,
) -> fmt::Result {
    let each = (!each.is_empty()).then(|| format!("each {each}"));
    let percentiles = percentiles
        .iter()
        .map(|entry| format!("{} {}", entry.p, entry.bounds));
    let total = total_max.map(|most| format!("in total at most {most}"));
    let parts: Vec<String> = each.into_iter().chain(percentiles).chain(total).collect();
    f.write_str(&parts.join("; "))
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "at least {min}, at most {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any"),
        }
    }
}

impl fmt::Display for CountBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) if least == most => write!(f, "equals {least}"),
            (Some(least), Some(most)) => write!(f, "at least {least}, at most {most}"),
            (Some(least), None) => write!(f, "at least {least}"),
            (None, Some(most)) => write!(f, "at most {most}"),
            (None, None) => f.write_str("any"),
        }
    }
}

impl fmt::Display for CountOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Armed => f.write_str("armed"),
            Self::Queued => f.write_str("queued"),
            Self::Started => f.write_str("started"),
            Self::Retried => f.write_str("retried"),
            Self::Ended => f.write_str("ended"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Function(name) => f.write_str(name),
            Self::Event(event) => event.fmt(f),
        }
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Function(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for KeyedOccasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)?;
        match &self.key {
            Some(key) => write!(f, " by {key}"),
            None => Ok(()),
        }
    }
}

impl LatencyExpectation {
    /// What is expected, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let bounds = (!self.bounds.is_empty()).then(|| self.bounds.to_string());
        let named =
            |what: &str, name: &Option<String>| name.as_ref().map(|name| format!("{what} {name}"));
        let shows = (!self.shows.is_empty()).then(|| format!("shows {}", self.shows.join(", ")));
        let parts = [
            bounds,
            named("started at", &self.started_at),
            named("ended at", &self.ended_at),
            named("of task", &self.task),
            shows,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl ProfileExpectation {
    /// What is expected, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let is_counted = self.hits.at_least.is_some() || self.hits.at_most.is_some();
        let times =
            |what: &str, bounds: &Bounds| (!bounds.is_empty()).then(|| format!("{what} {bounds}"));
        let parts = [
            is_counted.then(|| format!("hits {}", self.hits)),
            times("time", &self.time),
            times("average", &self.average),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl StackSizeExpectation {
    /// What is expected, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let frames = (!self.frames.is_empty()).then(|| format!("with {}", self.frames.join(", ")));
        let parts = [
            self.min.map(|min| format!("at least {min}")),
            self.max.map(|max| format!("at most {max}")),
            frames,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl HistogramExpectation {
    /// The entry in words, with a blank behind it; empty for all entries together.
    #[must_use]
    pub fn entry_words(&self) -> String {
        if self.entry.is_empty() {
            return String::new();
        }
        let keys = self
            .entry
            .iter()
            .map(|(key, value)| format!("{key} = {value}"));
        format!("{{ {} }} ", keys.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for DurationOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Item => f.write_str("item"),
            Self::Function(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for DifferenceOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Window { from, to } => write!(f, "window from {from} to {to}"),
        }
    }
}

impl fmt::Display for IdOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascending => f.write_str("ascending ids"),
            Self::Descending => f.write_str("descending ids"),
            Self::Listed(ids) => write!(f, "{ids:?}"),
        }
    }
}
