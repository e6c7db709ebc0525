// SPDX-License-Identifier: GPL-2.0-only

//! Follows the call stack of each task through function_graph's records.
//!
//! In: records by time, of all CPUs together, and where the writer lost some. Out: to a [`CallSink`], each call as it is
//! entered and as it ends, with its duration and self time, and each call whose end was not seen.
//!
//! **Stacks** belong to tasks and go with them from CPU to CPU; pid 0 has one per CPU. An interrupt's calls stand in the
//! stack of the task it interrupted, above that task's own.
//!
//! **Duration** is the kernel's own `rettime - calltime`, never a difference of record times: the two are taken before
//! the records are written, and by the local clock whatever clock the trace has.
//!
//! **Self time** is the duration less the durations of the calls directly below: of those that ended inside it with no
//! other recorded call between. What the trace does not record (functions left out by a filter, calls below
//! `tracing_thresh`, calls deeper than the kernel follows) is therefore in the self time of the call around it, and an
//! interrupt's recorded calls are not. A duration needs only the exit record, and so do the sums of children, so this
//! also holds for traces that have exits only.
//!
//! Self time is exact when no record inside the call is missing, else it is an upper bound and marked so
//! ([`Call::self_is_exact`]). A record may be missing when
//! - the call's entry is not in the trace, though the trace has entries: it began before the trace, or records were lost;
//! - the trace has no entries (`tracing_thresh`) and the call began before the first exit of the trace, or before the
//!   first one after a loss. This one comparison takes `calltime` for a place in time, which `nosleep-time` shifts;
//! - records were lost on any CPU ([`Calls::lost`]) while it ran: the task may have been on that CPU;
//! - the stack contradicts itself while it ran: an exit without its entry, an entry where a call still stands open;
//! - the shadow stack of its task was full while it ran (`overrun`);
//! - an interrupt with recorded calls came between its return and its exit record: those calls are recorded as if they
//!   were inside it, and it cannot be told exactly which ones; neither is the self time of the call around it exact;
//! - its entry is not in the trace, and calls below it began before it;
//! - its children together took longer than itself, as they may by the clocks of several CPUs.
//!
//! It cannot see a loss that leaves no such trace: whoever knows of one must tell it by [`Calls::lost`].
//!
//! Memory: at most [`MOST_STACKS`] stacks with [`MOST_SLOTS`] levels in all. Beyond that, tasks with no open call are
//! forgotten, then those that were quiet the longest, with their open calls reported as [`Reason::Forgotten`].
//! Source: `kernel/trace/trace_functions_graph.c`, `kernel/trace/fgraph.c`, Linux 7.3.

use std::collections::HashMap;

use deferinit_ftrace::record::{Event, Record};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::task::Task;

/// No call is deeper: the kernel's shadow stack of a task has 512 words (`SHADOW_STACK_SIZE`, `kernel/trace/fgraph.c`),
/// and a call takes several.
pub const MOST_DEPTH: usize = 512;

/// Stacks that are kept at most.
pub const MOST_STACKS: usize = 1 << 14;

/// Levels that all kept stacks have at most, together; some 100 bytes each.
pub const MOST_SLOTS: usize = 1 << 17;

/// CPUs whose last task is remembered. The kernel's largest `NR_CPUS` is 8192.
const MOST_CPUS: usize = 1 << 13;

/// The call stacks of all tasks. `S` says what is kept with each open call and each task.
pub struct Calls<S: CallSink> {
    stacks: Vec<Stack<S>>,
    /// Index into `stacks` by [`key`].
    places: HashMap<u64, usize, RandomState>,
    /// The task each CPU's last record was of: mostly it is that of the next one too.
    latest: Vec<(u64, usize)>,
    /// Levels of all stacks.
    slots: usize,
    /// Counts the changes from one task to another.
    switches: u64,
    /// Counts what may have lost records of any task.
    losses: u32,
    /// When the first exit since the start, or since the last loss, ended; for traces without entries.
    known_since: Option<u64>,
    /// Exits before the first entry.
    first_exits: u64,
    account: Account,
}

/// Gets the calls as they are entered and ended.
pub trait CallSink {
    /// What it keeps with each open call.
    type Frame: Copy + Default;
    /// What it keeps with each task.
    type PerTask: Default;

    /// A call was entered. `around` is the nearest open call around it, by the records; see
    /// [`Call::has_earlier_inside`].
    fn entered(
        &mut self,
        entry: &Entry,
        task: &mut Self::PerTask,
        around: Option<Self::Frame>,
    ) -> Self::Frame;

    /// A call ended. `frame` is what [`CallSink::entered`] gave, if that was seen.
    fn ended(
        &mut self,
        call: &Call,
        task: &mut Self::PerTask,
        frame: Option<Self::Frame>,
        around: Option<Self::Frame>,
    );

    /// A call that was entered will not be seen to end.
    fn unfinished(&mut self, call: &Unfinished, task: &mut Self::PerTask, frame: Self::Frame);

    /// A task is forgotten: to save memory, or at the end.
    fn forgotten(&mut self, task: Task, kept: Self::PerTask) {
        let _ = (task, kept);
    }
}

/// The start of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The task.
    pub task: Task,
    /// The CPU it was entered on.
    pub cpu: u32,
    /// An address in the function.
    pub function: u64,
    /// How many traced calls are around it, by the record.
    pub depth: usize,
    /// When the record was made, by the trace's clock.
    pub timestamp_ns: u64,
    /// The record's `common_flags`.
    pub flags: u8,
}

/// A call that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The task.
    pub task: Task,
    /// The CPU it ended on.
    pub cpu: u32,
    /// An address in the function.
    pub function: u64,
    /// How many traced calls are around it, by the record.
    pub depth: usize,
    /// When the record of the end was made, by the trace's clock.
    pub timestamp_ns: u64,
    /// The record's `common_flags`.
    pub flags: u8,
    /// `rettime - calltime`.
    pub duration_ns: u64,
    /// The duration less that of the calls directly below it.
    pub self_ns: u64,
    /// Whether the self time is exact, else it is an upper bound.
    pub self_is_exact: bool,
    /// Whether its start was seen.
    pub start: Start,
    /// Whether the calls that ended just below it and were entered before it, by their records, are inside it by their
    /// times: an interrupt came before its entry was recorded. [`CallSink::entered`] was not told so.
    pub has_earlier_inside: bool,
    /// What it returned, if the kernel records that.
    pub retval: Option<i64>,
}

/// What is known of the start of a call that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its entry was seen.
    Seen,
    /// Its entry was not seen, though the trace has entries: it is from before the trace, or was lost.
    Missing,
    /// The trace had no entry so far: it has none, as with `tracing_thresh`, or it began inside this call.
    NotRecorded,
}

/// A call that was entered and not seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// The task.
    pub task: Task,
    /// An address in the function.
    pub function: u64,
    /// How many traced calls are around it, by the record.
    pub depth: usize,
    /// Why its end was not seen.
    pub reason: Reason,
}

/// Why the end of a call was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The task went on as if it had ended: its exit was lost, or the task ended inside it and another one got its pid.
    ExitMissing,
    /// It was still open when the trace ended, or it never returns.
    StillOpen,
    /// Its task was forgotten to save memory.
    Forgotten,
}

/// What was counted besides the calls themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Account {
    /// Entry records.
    pub entries: u64,
    /// Exit records.
    pub exits: u64,
    /// Exits whose entry was not seen, in a trace that has entries. Before the end, those before the first entry are not
    /// counted yet.
    pub exits_without_entry: u64,
    /// Entries whose exit was not seen though the task went on.
    pub entries_without_exit: u64,
    /// Calls that were open at the end.
    pub open_at_end: u64,
    /// Calls that were open when their task was forgotten to save memory.
    pub open_when_forgotten: u64,
    /// Records deeper than [`MOST_DEPTH`], which no kernel writes; they are left out.
    pub too_deep: u64,
    /// Exits that lie before their own start; they are left out.
    pub negative_durations: u64,
    /// How often records were lost.
    pub losses: u64,
    /// How many records were lost, as far as that is known.
    pub lost_records: u64,
    /// The most calls that one task could not trace since its shadow stack was full, by the kernel's count.
    pub most_overrun: u64,
}

struct Stack<S: CallSink> {
    task: Task,
    slots: Vec<Slot<S::Frame>>,
    /// One past the depth of the deepest open call; 0 when there is none.
    open: usize,
    /// No slot deeper than this has a sum.
    summed: usize,
    /// Counts what may have lost records of this task alone.
    losses: u32,
    overrun: u64,
    /// Value of [`Calls::switches`] when it was last gone to.
    used: u64,
    kept: S::PerTask,
}

/// One depth of a stack.
#[derive(Debug, Clone, Copy, Default)]
struct Slot<F> {
    function: u64,
    /// The calls that ended at this depth, below a call that has not ended yet.
    ended: Sum,
    /// The calls that ended deeper before the entry of this one was recorded, and may be inside it all the same.
    early: Sum,
    frame: F,
    /// Losses, those of all and of this task, up to the entry.
    losses: u32,
    is_open: bool,
}

/// Durations of several calls.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    ns: u64,
    /// When the first of them began; means nothing while `ns` is 0.
    since: u64,
    /// When the last of them ended; means nothing while `ns` is 0.
    until: u64,
    /// Some may be missing in it.
    is_doubtful: bool,
}

impl Sum {
    #[inline]
    fn add(&mut self, other: Self) {
        self.is_doubtful |= other.is_doubtful;
        if other.ns > 0 {
            let is_first = self.ns == 0;
            self.since = if is_first {
                other.since
            } else {
                self.since.min(other.since)
            };
            self.until = if is_first {
                other.until
            } else {
                self.until.max(other.until)
            };
            self.ns = self.ns.saturating_add(other.ns);
        }
    }
}

impl Account {
    /// Adds the counts of another part of the same trace.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.entries, other.entries),
            (&mut self.exits, other.exits),
            (&mut self.exits_without_entry, other.exits_without_entry),
            (&mut self.entries_without_exit, other.entries_without_exit),
            (&mut self.open_at_end, other.open_at_end),
            (&mut self.open_when_forgotten, other.open_when_forgotten),
            (&mut self.too_deep, other.too_deep),
            (&mut self.negative_durations, other.negative_durations),
            (&mut self.losses, other.losses),
            (&mut self.lost_records, other.lost_records),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        self.most_overrun = self.most_overrun.max(other.most_overrun);
    }
}

impl<S: CallSink> Default for Calls<S> {
    fn default() -> Self {
        Self {
            stacks: Vec::new(),
            places: HashMap::default(),
            latest: Vec::new(),
            slots: 0,
            switches: 0,
            losses: 0,
            known_since: None,
            first_exits: 0,
            account: Account::default(),
        }
    }
}

impl<S: CallSink> std::fmt::Debug for Calls<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Calls")
            .field("stacks", &self.stacks.len())
            .field("slots", &self.slots)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl<S: CallSink> Calls<S> {
    /// Takes the next record; those of other events change nothing.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>, sink: &mut S) {
        match record.event {
            Event::FuncgraphEntry { function, depth } => self.enter(record, function, depth, sink),
            Event::FuncgraphExit {
                function,
                depth,
                retval,
                overrun,
                calltime,
                rettime,
            } => {
                let exit = Exit {
                    function,
                    depth,
                    retval,
                    overrun,
                    calltime,
                    rettime,
                };
                self.leave(record, &exit, sink);
            }
            Event::Function { .. } | Event::Print { .. } | Event::Other(_) => {}
        }
    }

    /// Says that the writer lost records of a CPU between the record before and the next one of it, how many if that
    /// is known. The calls that are open now in any task have no exact self time.
    pub fn lost(&mut self, count: Option<u64>) {
        self.account.losses = self.account.losses.saturating_add(1);
        self.account.lost_records = self
            .account
            .lost_records
            .saturating_add(count.unwrap_or_default());
        self.doubt_all();
    }

    /// What was counted so far.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Ends the trace: open calls are unfinished, and all tasks forgotten, in the order of their pids.
    pub fn finish(mut self, sink: &mut S) -> Account {
        let mut stacks = std::mem::take(&mut self.stacks);
        stacks.sort_by_key(|stack| stack.task);
        for mut stack in stacks {
            let dropped = stack.drop_from(0, Reason::StillOpen, sink);
            self.account.open_at_end = self.account.open_at_end.saturating_add(dropped);
            sink.forgotten(stack.task, stack.kept);
        }
        if self.account.entries > 0 {
            self.account.exits_without_entry = self
                .account
                .exits_without_entry
                .saturating_add(self.first_exits);
        }
        self.account
    }

    fn doubt_all(&mut self) {
        self.losses = self.losses.wrapping_add(1);
        self.known_since = None;
    }

    #[inline]
    fn enter(&mut self, record: &Record<'_>, function: u64, depth: u64, sink: &mut S) {
        self.account.entries = self.account.entries.saturating_add(1);
        let Some(depth) = bounded(depth) else {
            self.account.too_deep = self.account.too_deep.saturating_add(1);
            return;
        };
        let place = self.place(record, sink);
        let Some(stack) = self.stacks.get_mut(place) else {
            return;
        };
        if stack.open > depth {
            let dropped = stack.drop_from(depth, Reason::ExitMissing, sink);
            self.account.entries_without_exit =
                self.account.entries_without_exit.saturating_add(dropped);
        }
        // An interrupt may come after the kernel has put the call on its stack and before it has written the entry:
        // that one's calls come first, and are inside this one. Or they are of a call whose own end was not seen.
        let early = stack.take_sums(depth);
        self.slots = self.slots.saturating_add(stack.reach(depth));
        let entry = Entry {
            task: stack.task,
            cpu: record.cpu,
            function,
            depth,
            timestamp_ns: record.timestamp_ns,
            flags: record.flags,
        };
        let around = stack.top();
        let frame = sink.entered(&entry, &mut stack.kept, around);
        let losses = self.losses.wrapping_add(stack.losses);
        if let Some(slot) = stack.slots.get_mut(depth) {
            slot.function = function;
            slot.early = early;
            slot.frame = frame;
            slot.losses = losses;
            slot.is_open = true;
            stack.open = depth + 1;
        }
    }

    #[inline]
    fn leave(&mut self, record: &Record<'_>, exit: &Exit, sink: &mut S) {
        self.account.exits = self.account.exits.saturating_add(1);
        let Some(depth) = bounded(exit.depth) else {
            self.account.too_deep = self.account.too_deep.saturating_add(1);
            return;
        };
        let Some(duration_ns) = exit.rettime.checked_sub(exit.calltime) else {
            self.account.negative_durations = self.account.negative_durations.saturating_add(1);
            return;
        };
        let place = self.place(record, sink);
        let Some(stack) = self.stacks.get_mut(place) else {
            return;
        };
        if exit.overrun != stack.overrun {
            stack.overrun = exit.overrun;
            stack.losses = stack.losses.wrapping_add(1);
            self.account.most_overrun = self.account.most_overrun.max(exit.overrun);
        }
        let matches = |slot: &Slot<S::Frame>| slot.is_open && slot.function == exit.function;
        let is_seen = stack.slots.get(depth).is_some_and(matches);
        let first_dropped = if is_seen { depth + 1 } else { depth };
        if stack.open > first_dropped {
            let dropped = stack.drop_from(first_dropped, Reason::ExitMissing, sink);
            self.account.entries_without_exit =
                self.account.entries_without_exit.saturating_add(dropped);
        }
        self.slots = self.slots.saturating_add(stack.reach(depth));
        let losses = self.losses.wrapping_add(stack.losses);
        let mut inside = stack.take_sums(depth);
        let mut before = Sum::default();
        let (start, frame, nothing_missing) = if is_seen {
            let slot = stack.slots.get(depth).copied().unwrap_or_default();
            stack.close_top();
            before = slot.early;
            (Start::Seen, Some(slot.frame), slot.losses == losses)
        } else if self.account.entries > 0 {
            self.account.exits_without_entry = self.account.exits_without_entry.saturating_add(1);
            // Whatever took the entry may have taken others inside the calls around it.
            stack.losses = stack.losses.wrapping_add(1);
            (Start::Missing, None, false)
        } else {
            self.first_exits = self.first_exits.saturating_add(1);
            let since = *self.known_since.get_or_insert(exit.rettime);
            (Start::NotRecorded, None, exit.calltime >= since)
        };
        let mut is_exact = nothing_missing;
        if !is_seen && inside.ns > 0 && inside.since < exit.calltime {
            // Not all are inside this call. What they were in never returned, as `do_exit` does not, and the pid may be
            // another task's now.
            before = std::mem::take(&mut inside);
            is_exact = false;
        }
        let has_earlier_inside = before.ns > 0 && before.since >= exit.calltime;
        if before.ns > 0 || before.is_doubtful {
            is_exact &= stack.sort_out(depth, before, exit.calltime, &mut inside);
        }
        is_exact &= !inside.is_doubtful;
        let mut ended = Sum {
            ns: duration_ns,
            since: exit.calltime,
            until: exit.rettime,
            is_doubtful: false,
        };
        if inside.ns > 0 && inside.until > exit.rettime {
            // An interrupt came after the kernel had taken the time of the return and before it had taken the call off
            // its stack. So the last calls are outside: at most as much of them as there was time since.
            inside.ns = inside.ns.saturating_sub(inside.until - exit.rettime);
            is_exact = false;
            ended.is_doubtful = true;
        }
        stack.add_sum(depth, ended);
        let self_ns = duration_ns.checked_sub(inside.ns);
        let call = Call {
            task: stack.task,
            cpu: record.cpu,
            function: exit.function,
            depth,
            timestamp_ns: record.timestamp_ns,
            flags: record.flags,
            duration_ns,
            self_ns: self_ns.unwrap_or(0),
            self_is_exact: is_exact && self_ns.is_some(),
            start,
            has_earlier_inside,
            retval: exit.retval,
        };
        let around = stack.top();
        sink.ended(&call, &mut stack.kept, frame, around);
    }

    /// The stack of the record's task.
    #[inline]
    fn place(&mut self, record: &Record<'_>, sink: &mut S) -> usize {
        let key = key(record);
        let cpu = usize::try_from(record.cpu).unwrap_or(usize::MAX);
        match self.latest.get(cpu) {
            Some((task, place)) if *task == key => *place,
            _ => self.go_to(record, key, cpu, sink),
        }
    }

    fn go_to(&mut self, record: &Record<'_>, key: u64, cpu: usize, sink: &mut S) -> usize {
        if self.slots > MOST_SLOTS || self.stacks.len() >= MOST_STACKS {
            self.forget(sink);
        }
        self.switches = self.switches.wrapping_add(1);
        let place = *self.places.entry(key).or_insert_with(|| {
            self.stacks.push(Stack::of(Task::of(record)));
            self.stacks.len() - 1
        });
        if let Some(stack) = self.stacks.get_mut(place) {
            stack.used = self.switches;
        }
        if cpu < MOST_CPUS {
            if self.latest.len() <= cpu {
                self.latest.resize(cpu + 1, (u64::MAX, 0));
            }
            if let Some(latest) = self.latest.get_mut(cpu) {
                *latest = (key, place);
            }
        }
        place
    }

    /// Forgets the stacks without an open call; and if that is not half of them, those that were quiet the longest.
    #[cold]
    fn forget(&mut self, sink: &mut S) {
        let has_entries = self.account.entries > 0;
        let (kept, idle): (Vec<_>, Vec<_>) = std::mem::take(&mut self.stacks)
            .into_iter()
            .partition(|stack| stack.open > 0 || (!has_entries && stack.summed > 0));
        for stack in idle {
            sink.forgotten(stack.task, stack.kept);
        }
        self.stacks = kept;
        self.stacks
            .sort_by_key(|stack| std::cmp::Reverse(stack.used));
        let mut levels = 0_usize;
        let fitting = self
            .stacks
            .iter()
            .take(MOST_STACKS / 2)
            .take_while(|stack| {
                levels = levels.saturating_add(stack.slots.len());
                levels <= MOST_SLOTS / 2
            })
            .count();
        let quiet = self.stacks.split_off(fitting);
        if !quiet.is_empty() && !has_entries {
            // Their sums of children are gone, and no missing entry will tell.
            self.doubt_all();
        }
        for mut stack in quiet {
            let dropped = stack.drop_from(0, Reason::Forgotten, sink);
            self.account.open_when_forgotten =
                self.account.open_when_forgotten.saturating_add(dropped);
            sink.forgotten(stack.task, stack.kept);
        }
        self.slots = self.stacks.iter().map(|stack| stack.slots.len()).sum();
        self.places = (0..)
            .zip(&self.stacks)
            .map(|(place, stack)| (key_of(stack.task), place))
            .collect();
        self.latest.clear();
    }
}

/// The fields of an exit.
struct Exit {
    function: u64,
    depth: u64,
    retval: Option<i64>,
    overrun: u64,
    calltime: u64,
    rettime: u64,
}

impl<S: CallSink> Stack<S> {
    fn of(task: Task) -> Self {
        Self {
            task,
            slots: Vec::new(),
            open: 0,
            summed: 0,
            losses: 0,
            overrun: 0,
            used: 0,
            kept: S::PerTask::default(),
        }
    }

    /// Makes room for a depth; how many slots that took.
    #[inline]
    fn reach(&mut self, depth: usize) -> usize {
        let before = self.slots.len();
        if before > depth {
            return 0;
        }
        self.slots
            .resize((depth + 1).next_multiple_of(4), Slot::default());
        self.slots.len() - before
    }

    /// The deepest open call.
    #[inline]
    fn top(&self) -> Option<S::Frame> {
        let slot = self.slots.get(self.open.checked_sub(1)?)?;
        Some(slot.frame)
    }

    /// Ends the deepest open call. There may be depths without one below it: calls that are not in this trace.
    #[inline]
    fn close_top(&mut self) {
        if let Some(slot) = self
            .open
            .checked_sub(1)
            .and_then(|top| self.slots.get_mut(top))
        {
            slot.is_open = false;
        }
        self.settle();
    }

    /// Finds the deepest open call, at or below where it was.
    #[inline]
    fn settle(&mut self) {
        while let Some(top) = self.open.checked_sub(1) {
            if self.slots.get(top).is_some_and(|slot| slot.is_open) {
                break;
            }
            self.open = top;
        }
    }

    /// Gives up on the open calls from a depth on, deepest first; how many there were.
    #[cold]
    fn drop_from(&mut self, depth: usize, reason: Reason, sink: &mut S) -> u64 {
        let mut dropped = 0_u64;
        while self.open > depth {
            let top = self.open - 1;
            if let Some(slot) = self.slots.get_mut(top).filter(|slot| slot.is_open) {
                slot.is_open = false;
                let call = Unfinished {
                    task: self.task,
                    function: slot.function,
                    depth: top,
                    reason,
                };
                sink.unfinished(&call, &mut self.kept, slot.frame);
                dropped += 1;
            }
            self.open = top;
        }
        self.settle();
        if dropped > 0 {
            self.losses = self.losses.wrapping_add(1);
        }
        dropped
    }

    /// Takes the sums of all calls that ended deeper than a depth.
    #[inline]
    fn take_sums(&mut self, depth: usize) -> Sum {
        let mut sum = Sum::default();
        if self.summed > depth {
            let deeper = self.slots.get_mut(depth + 1..=self.summed);
            for slot in deeper.unwrap_or_default() {
                sum.add(std::mem::take(&mut slot.ended));
            }
            self.summed = depth;
        }
        sum
    }

    #[inline]
    fn add_sum(&mut self, depth: usize, sum: Sum) {
        if let Some(slot) = self.slots.get_mut(depth) {
            slot.ended.add(sum);
            self.summed = self.summed.max(depth);
        }
    }

    /// Finds by their times whether calls that came before one at a depth are inside it, or before it and so inside the
    /// one around it. Whether it is exact.
    #[cold]
    fn sort_out(&mut self, depth: usize, calls: Sum, calltime: u64, inside: &mut Sum) -> bool {
        if calls.ns > 0 && calls.since >= calltime {
            inside.add(calls);
            return true;
        }
        if calls.until <= calltime {
            self.add_sum(depth, calls);
            return true;
        }
        let doubt = Sum {
            is_doubtful: true,
            ..Sum::default()
        };
        self.add_sum(depth, doubt);
        false
    }
}

#[inline]
fn bounded(depth: u64) -> Option<usize> {
    usize::try_from(depth)
        .ok()
        .filter(|depth| *depth < MOST_DEPTH)
}

/// The same as [`key_of`] [`Task::of`], without the branch on the idle task's type.
#[inline]
fn key(record: &Record<'_>) -> u64 {
    match record.pid {
        0 => (1 << 32) | u64::from(record.cpu),
        pid => u64::from(pid.cast_unsigned()),
    }
}

fn key_of(task: Task) -> u64 {
    match task {
        Task::Idle { cpu } => (1 << 32) | u64::from(cpu),
        Task::Pid(pid) => u64::from(pid.cast_unsigned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::{enter, leave, letter, of, on, overrun};

    /// Writes down what it gets, a line each.
    #[derive(Default)]
    struct Log(Vec<String>);

    impl CallSink for Log {
        type Frame = char;
        type PerTask = u32;

        fn entered(&mut self, entry: &Entry, _task: &mut u32, around: Option<char>) -> char {
            let name = letter(entry.function);
            let around = around.map_or(String::new(), |around| format!(" in {around}"));
            self.0.push(format!("+{name}{around}"));
            name
        }

        fn ended(
            &mut self,
            call: &Call,
            task: &mut u32,
            frame: Option<char>,
            around: Option<char>,
        ) {
            let name = letter(call.function);
            *task += 1;
            match call.start {
                Start::Seen => assert_eq!(frame, Some(name)),
                Start::Missing | Start::NotRecorded => assert_eq!(frame, None),
            }
            let around = around.map_or(String::new(), |around| format!(" in {around}"));
            let start = if call.start == Start::Missing {
                " from before"
            } else {
                ""
            };
            let most = if call.self_is_exact { "" } else { "<=" };
            self.0.push(format!(
                "-{name}{around}{start} {} self {most}{}",
                call.duration_ns, call.self_ns
            ));
        }

        fn unfinished(&mut self, call: &Unfinished, _task: &mut u32, frame: char) {
            assert_eq!(letter(call.function), frame);
            self.0.push(format!("?{frame} {:?}", call.reason));
        }

        fn forgotten(&mut self, task: Task, kept: u32) {
            self.0.push(format!("{task:?} {kept}"));
        }
    }

    fn run(records: &[Record<'_>]) -> (Vec<String>, Account) {
        let (mut calls, mut log) = (Calls::default(), Log::default());
        for record in records {
            calls.record(record, &mut log);
        }
        let account = calls.finish(&mut log);
        (log.0, account)
    }

    #[track_caller]
    fn check(records: &[Record<'_>], expected: &[&str]) -> Account {
        let (log, account) = run(records);
        // What is said of tasks has brackets.
        let is_of_call = |line: &&String| !line.contains(['{', '(']);
        let lines: Vec<_> = log.iter().filter(is_of_call).collect();
        assert_eq!(lines, expected);
        assert_eq!(
            (account.entries + account.exits) as usize,
            records.len(),
            "every record is counted"
        );
        account
    }

    #[test]
    fn self_time_is_the_duration_less_the_children_directly_below() {
        let account = check(
            &[
                enter(0, 'a', 0),
                enter(10, 'b', 1),
                enter(20, 'c', 2),
                leave(20, 30, 'c', 2),
                leave(10, 50, 'b', 1),
                enter(60, 'b', 1),
                leave(60, 65, 'b', 1),
                leave(0, 100, 'a', 0),
            ],
            &[
                "+a",
                "+b in a",
                "+c in b",
                "-c in b 10 self 10",
                "-b in a 40 self 30",
                "+b in a",
                "-b in a 5 self 5",
                "-a 100 self 55",
            ],
        );
        let expected = Account {
            entries: 4,
            exits: 4,
            ..Account::default()
        };
        assert_eq!(account, expected);
    }

    #[test]
    fn durations_are_the_kernels_and_not_those_of_the_records() {
        let mut exit = leave(1, 4, 'a', 0);
        exit.timestamp_ns = 1_000;
        check(&[enter(0, 'a', 0), exit], &["+a", "-a 3 self 3"]);
    }

    #[test]
    fn calls_from_before_the_trace_have_a_duration_and_no_exact_self_time() {
        let account = check(
            &[
                enter(100, 'c', 2),
                leave(100, 110, 'c', 2),
                leave(50, 120, 'b', 1),
                enter(130, 'd', 1),
                leave(130, 140, 'd', 1),
                leave(10, 150, 'a', 0),
            ],
            &[
                "+c",
                "-c 10 self 10",
                "-b from before 70 self <=60",
                "+d",
                "-d 10 self 10",
                "-a from before 140 self <=60",
            ],
        );
        assert_eq!(account.exits_without_entry, 2);
    }

    #[test]
    fn calls_that_are_open_at_the_end_are_unfinished() {
        let account = check(
            &[
                enter(0, 'a', 0),
                enter(1, 'b', 1),
                enter(2, 'c', 2),
                leave(2, 3, 'c', 2),
            ],
            &[
                "+a",
                "+b in a",
                "+c in b",
                "-c in b 1 self 1",
                "?b StillOpen",
                "?a StillOpen",
            ],
        );
        assert_eq!(account.open_at_end, 2);
        assert_eq!(account.entries_without_exit, 0);
    }

    #[test]
    fn a_trace_of_exits_only_has_self_times() {
        check(
            &[
                leave(0, 5, 'z', 0),
                leave(20, 30, 'c', 2),
                leave(35, 45, 'c', 2),
                leave(10, 50, 'b', 1),
                leave(60, 65, 'b', 1),
                leave(7, 100, 'a', 0),
            ],
            &[
                // It began before the first record of the trace ended, so what was inside it may be missing.
                "-z 5 self <=5",
                "-c 10 self 10",
                "-c 10 self 10",
                "-b 40 self 20",
                "-b 5 self 5",
                "-a 93 self 48",
            ],
        );
    }

    #[test]
    fn a_trace_of_exits_only_doubts_calls_from_before_it() {
        check(
            &[
                leave(20, 30, 'c', 2),
                leave(31, 32, 'd', 2),
                leave(10, 50, 'b', 1),
                leave(0, 60, 'a', 0),
            ],
            &[
                "-c 10 self <=10",
                "-d 1 self 1",
                "-b 40 self <=29",
                "-a 60 self <=20",
            ],
        );
    }

    #[test]
    fn a_trace_of_exits_only_does_not_mix_two_tasks_of_one_pid() {
        // `b` ran in a task that never returned from the call at depth 0; then its pid was given out again.
        check(
            &[
                leave(0, 1, 'z', 0),
                leave(10, 20, 'b', 1),
                leave(110, 115, 'b', 1),
                leave(100, 150, 'a', 0),
                leave(200, 210, 'a', 0),
            ],
            &[
                "-z 1 self <=1",
                "-b 10 self 10",
                "-b 5 self 5",
                "-a 50 self <=50",
                "-a 10 self 10",
            ],
        );
    }

    #[test]
    fn a_lost_exit_makes_the_calls_around_it_inexact() {
        // The exit of `b` is lost, and its child `c` counts for `a`.
        let account = check(
            &[
                enter(0, 'a', 0),
                enter(10, 'b', 1),
                enter(20, 'c', 2),
                leave(20, 30, 'c', 2),
                enter(60, 'd', 1),
                leave(60, 65, 'd', 1),
                leave(0, 100, 'a', 0),
                enter(110, 'a', 0),
                leave(110, 120, 'a', 0),
            ],
            &[
                "+a",
                "+b in a",
                "+c in b",
                "-c in b 10 self 10",
                "?b ExitMissing",
                "+d in a",
                "-d in a 5 self 5",
                "-a 100 self <=85",
                "+a",
                "-a 10 self 10",
            ],
        );
        assert_eq!(account.entries_without_exit, 1);
    }

    #[test]
    fn a_lost_entry_makes_the_calls_around_it_inexact() {
        let account = check(
            &[
                enter(0, 'a', 0),
                leave(10, 40, 'b', 1),
                leave(0, 100, 'a', 0),
            ],
            &["+a", "-b in a from before 30 self <=30", "-a 100 self <=70"],
        );
        assert_eq!(account.exits_without_entry, 1);
    }

    #[test]
    fn an_exit_of_another_function_ends_no_call() {
        check(
            &[
                enter(0, 'a', 0),
                enter(10, 'b', 1),
                leave(20, 40, 'c', 1),
                leave(0, 100, 'a', 0),
            ],
            &[
                "+a",
                "+b in a",
                "?b ExitMissing",
                "-c in a from before 20 self <=20",
                "-a 100 self <=80",
            ],
        );
    }

    #[test]
    fn an_exit_ends_the_calls_that_stand_open_inside_it() {
        check(
            &[
                enter(0, 'a', 0),
                enter(10, 'b', 1),
                enter(20, 'c', 2),
                leave(0, 100, 'a', 0),
            ],
            &[
                "+a",
                "+b in a",
                "+c in b",
                "?c ExitMissing",
                "?b ExitMissing",
                "-a 100 self <=100",
            ],
        );
    }

    #[test]
    fn a_jump_in_depth_is_no_contradiction() {
        // Depth 1 belongs to another user of fgraph, whose calls are not in this trace.
        check(
            &[
                enter(0, 'a', 0),
                enter(10, 'c', 2),
                leave(10, 40, 'c', 2),
                leave(0, 100, 'a', 0),
            ],
            &["+a", "+c in a", "-c in a 30 self 30", "-a 100 self 70"],
        );
    }

    #[test]
    fn an_announced_loss_makes_the_open_calls_of_all_tasks_inexact() {
        let (mut calls, mut log) = (Calls::default(), Log::default());
        let before = [enter(0, 'a', 0), of(8, enter(1, 'b', 0))];
        let after = [
            enter(10, 'c', 1),
            leave(10, 20, 'c', 1),
            leave(0, 30, 'a', 0),
            of(8, leave(1, 40, 'b', 0)),
            enter(50, 'd', 0),
            leave(50, 60, 'd', 0),
        ];
        before
            .iter()
            .for_each(|record| calls.record(record, &mut log));
        calls.lost(Some(5));
        calls.lost(None);
        after
            .iter()
            .for_each(|record| calls.record(record, &mut log));
        assert_eq!(
            log.0,
            [
                "+a",
                "+b",
                "+c in a",
                "-c in a 10 self 10",
                "-a 30 self <=20",
                "-b 39 self <=39",
                "+d",
                "-d 10 self 10",
            ]
        );
        assert_eq!(
            (calls.account().losses, calls.account().lost_records),
            (2, 5)
        );
    }

    #[test]
    fn an_announced_loss_makes_a_trace_of_exits_only_begin_anew() {
        let (mut calls, mut log) = (Calls::default(), Log::default());
        calls.record(&leave(0, 10, 'a', 0), &mut log);
        calls.record(&leave(20, 30, 'b', 0), &mut log);
        calls.lost(None);
        calls.record(&leave(60, 70, 'c', 1), &mut log);
        calls.record(&leave(40, 80, 'd', 0), &mut log);
        calls.record(&leave(90, 99, 'e', 0), &mut log);
        assert_eq!(
            log.0,
            [
                "-a 10 self <=10",
                "-b 10 self 10",
                "-c 10 self <=10",
                "-d 40 self <=30",
                "-e 9 self 9",
            ]
        );
    }

    #[test]
    fn a_full_shadow_stack_makes_the_open_calls_inexact() {
        let account = check(
            &[
                enter(0, 'a', 0),
                enter(1, 'b', 1),
                overrun(3, leave(1, 9, 'b', 1)),
                enter(10, 'c', 1),
                overrun(3, leave(10, 11, 'c', 1)),
                overrun(3, leave(0, 20, 'a', 0)),
                enter(30, 'd', 0),
                overrun(3, leave(30, 31, 'd', 0)),
            ],
            &[
                "+a",
                "+b in a",
                "-b in a 8 self <=8",
                "+c in a",
                "-c in a 1 self 1",
                "-a 20 self <=11",
                "+d",
                "-d 1 self 1",
            ],
        );
        assert_eq!(account.most_overrun, 3);
    }

    #[test]
    fn a_task_takes_its_stack_to_another_cpu() {
        check(
            &[
                enter(0, 'a', 0),
                on(1, enter(10, 'b', 1)),
                of(9, enter(12, 'z', 0)),
                on(1, leave(10, 20, 'b', 1)),
                on(2, leave(0, 30, 'a', 0)),
            ],
            &[
                "+a",
                "+b in a",
                "+z",
                "-b in a 10 self 10",
                "-a 30 self 20",
                "?z StillOpen",
            ],
        );
    }

    #[test]
    fn each_cpus_idle_task_has_a_stack_of_its_own() {
        check(
            &[
                of(0, enter(0, 'a', 0)),
                of(0, on(1, enter(1, 'a', 0))),
                of(0, on(1, enter(2, 'b', 1))),
                of(0, leave(0, 10, 'a', 0)),
                of(0, on(1, leave(2, 12, 'b', 1))),
                of(0, on(1, leave(1, 20, 'a', 0))),
            ],
            &[
                "+a",
                "+a",
                "+b in a",
                "-a 10 self 10",
                "-b in a 10 self 10",
                "-a 19 self 9",
            ],
        );
    }

    #[test]
    fn an_interrupt_counts_as_a_child_of_what_it_interrupted() {
        check(
            &[
                enter(0, 'a', 0),
                enter(10, 'i', 1),
                enter(11, 'j', 2),
                leave(11, 15, 'j', 2),
                leave(10, 20, 'i', 1),
                leave(0, 50, 'a', 0),
            ],
            &[
                "+a",
                "+i in a",
                "+j in i",
                "-j in i 4 self 4",
                "-i in a 10 self 6",
                "-a 50 self 40",
            ],
        );
    }

    #[test]
    fn an_interrupt_before_the_entry_was_recorded_is_inside_the_call() {
        // `b` has begun at 10, and the interrupt `i` came before its entry was written at 40.
        check(
            &[
                enter(0, 'a', 0),
                enter(20, 'i', 2),
                leave(20, 30, 'i', 2),
                enter(40, 'b', 1),
                leave(10, 50, 'b', 1),
                leave(0, 60, 'a', 0),
            ],
            &[
                "+a",
                "+i in a",
                "-i in a 10 self 10",
                "+b in a",
                "-b in a 40 self 30",
                "-a 60 self 20",
            ],
        );
    }

    #[test]
    fn an_interrupt_after_the_return_makes_both_calls_around_it_inexact() {
        // `b` has returned at 20, and the interrupt came before its exit was written. `c` is inside of it.
        check(
            &[
                enter(0, 'a', 0),
                enter(10, 'b', 1),
                enter(12, 'c', 2),
                leave(12, 15, 'c', 2),
                enter(30, 'i', 2),
                leave(30, 40, 'i', 2),
                leave(10, 20, 'b', 1),
                leave(0, 60, 'a', 0),
                enter(70, 'd', 0),
                leave(70, 80, 'd', 0),
            ],
            &[
                "+a",
                "+b in a",
                "+c in b",
                "-c in b 3 self 3",
                "+i in b",
                "-i in b 10 self 10",
                "-b in a 10 self <=10",
                "-a 60 self <=50",
                "+d",
                "-d 10 self 10",
            ],
        );
    }

    #[test]
    fn a_pid_that_is_given_out_again_starts_anew() {
        check(
            &[
                enter(0, 'a', 0),
                enter(1, 'b', 1),
                enter(100, 'c', 0),
                leave(100, 110, 'c', 0),
            ],
            &[
                "+a",
                "+b in a",
                "?b ExitMissing",
                "?a ExitMissing",
                "+c",
                "-c 10 self 10",
            ],
        );
    }

    #[test]
    fn what_no_kernel_writes_is_counted_and_left_out() {
        let account = check(
            &[
                enter(0, 'a', MOST_DEPTH as u64),
                enter(0, 'a', u64::MAX),
                leave(0, 1, 'a', u64::MAX),
                enter(0, 'b', 0),
                leave(9, 5, 'b', 0),
            ],
            &["+b", "?b StillOpen"],
        );
        assert_eq!((account.too_deep, account.negative_durations), (3, 1));
    }

    #[test]
    fn a_child_that_ends_after_its_caller_makes_it_inexact() {
        check(
            &[
                enter(0, 'a', 0),
                on(1, enter(10, 'b', 1)),
                on(1, leave(10, 99, 'b', 1)),
                leave(0, 50, 'a', 0),
            ],
            &["+a", "+b in a", "-b in a 89 self 89", "-a 50 self <=10"],
        );
    }

    #[test]
    fn tasks_are_forgotten_beyond_the_bound_and_open_calls_of_the_quiet_ones_with_them() {
        let (mut calls, mut log) = (Calls::default(), Log::default());
        let tasks = i32::try_from(MOST_STACKS).expect("it is small");
        for pid in 1..=tasks + 1 {
            calls.record(&of(pid, enter(0, 'a', 0)), &mut log);
        }
        let forgotten = MOST_STACKS as u64 / 2;
        assert_eq!(calls.account().open_when_forgotten, forgotten);
        log.0.clear();
        calls.record(&of(1, leave(0, 10, 'a', 0)), &mut log);
        calls.record(&of(tasks, leave(0, 10, 'a', 0)), &mut log);
        assert_eq!(log.0, ["-a from before 10 self <=10", "-a 10 self 10"]);
        let account = calls.finish(&mut log);
        assert_eq!(account.open_at_end, MOST_STACKS as u64 / 2);
    }

    #[test]
    fn levels_are_bounded_too() {
        let (mut calls, mut log) = (Calls::default(), Log::default());
        for pid in 1..=2_000 {
            calls.record(&of(pid, enter(0, 'a', MOST_DEPTH as u64 - 1)), &mut log);
            assert!(calls.slots <= MOST_SLOTS + MOST_DEPTH);
        }
        let kept: usize = calls.stacks.iter().map(|stack| stack.slots.len()).sum();
        assert_eq!(kept, calls.slots);
        assert!(calls.account().open_when_forgotten > 0);
    }
}
