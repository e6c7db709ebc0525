// SPDX-License-Identifier: GPL-2.0-only

//! The first pass: what the table, the tree and the lanes of the timeline are made from.
//!
//! In: all records, by time. Out: [`Loaded`]. Memory grows with functions, paths and tasks, each with a bound.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_trace::calls::{Call, CallSink, Calls, Entry, Start, Unfinished};
use deferinit_trace::functions::Functions;
use deferinit_trace::graph::{CallGraph, Graph, Grouping};
use deferinit_trace::report::{FunctionStatistics, Report};
use deferinit_trace::task::Task;

use super::lanes::CallId;
use super::style::plain;

/// Tasks that can have a lane.
const MOST_TASKS: usize = 1 << 12;

/// Calls without an entry, and calls without an end, that are remembered one by one.
const MOST_UNSEEN: usize = 1 << 12;

/// The largest CPU that can have a lane: the kernel's own limit (`NR_CPUS`).
const MOST_CPUS: usize = 1 << 13;

/// The first pass, while it goes on.
pub(super) struct Loading {
    statistics: FunctionStatistics,
    graph: CallGraph,
    calls: Calls<Seen>,
    seen: Seen,
    records: u64,
    /// How many there should be, if that is known.
    expected: Option<u64>,
}

/// What the first pass came to.
pub(super) struct Loaded {
    pub(super) report: Report,
    pub(super) graph: Graph,
    pub(super) overview: Overview,
}

/// What the timeline has to know of a trace.
#[derive(Debug, Default)]
pub(super) struct Overview {
    /// Time of the first record.
    pub(super) first_ns: u64,
    /// Time of the last record.
    pub(super) last_ns: u64,
    /// CPUs with calls, by number.
    pub(super) cpus: Vec<Lane>,
    /// Tasks with calls, those with the most calls first.
    pub(super) tasks: Vec<Lane>,
    /// Whether there are more tasks than are listed.
    pub(super) has_more_tasks: bool,
    /// Calls whose end is not in the trace, not all if there are many: no need to read on for them.
    pub(super) endless: Arc<HashSet<CallId>>,
    unseen: Unseen,
}

/// Where calls can be shown.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) label: String,
    pub(super) calls: u64,
    /// One more than the depth of its deepest call.
    pub(super) levels: usize,
}

/// What a lane is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKey {
    Cpu(u32),
    Task(Task),
}

/// Calls whose entry is not in the trace: at their end it turns out that they were there before.
#[derive(Debug, Default)]
struct Unseen {
    /// Start and end.
    calls: Vec<(u64, u64)>,
    /// The longest of those that had no room.
    longest_other_ns: u64,
}

#[derive(Debug, Default)]
struct Seen {
    first_ns: Option<u64>,
    last_ns: u64,
    cpus: Vec<Count>,
    tasks: HashMap<Task, Count>,
    has_more_tasks: bool,
    endless: HashSet<CallId>,
    unseen: Unseen,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    calls: u64,
    levels: usize,
}

impl Count {
    fn add(&mut self, depth: usize) {
        self.calls = self.calls.saturating_add(1);
        self.levels = self.levels.max(depth.saturating_add(1));
    }
}

impl Seen {
    fn count(&mut self, cpu: u32, depth: usize, task: &mut Count) {
        task.add(depth);
        let Some(cpu) = usize::try_from(cpu).ok().filter(|cpu| *cpu < MOST_CPUS) else {
            return;
        };
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu.saturating_add(1), Count::default());
        }
        if let Some(count) = self.cpus.get_mut(cpu) {
            count.add(depth);
        }
    }
}

impl CallSink for Seen {
    /// When it was entered.
    type Frame = u64;
    type PerTask = Count;

    fn entered(&mut self, entry: &Entry, task: &mut Count, _around: Option<u64>) -> u64 {
        self.count(entry.cpu, entry.depth, task);
        self.last_ns
    }

    fn ended(&mut self, call: &Call, task: &mut Count, _frame: Option<u64>, _around: Option<u64>) {
        if call.start == Start::Seen {
            return;
        }
        self.count(call.cpu, call.depth, task);
        if self.unseen.calls.len() < MOST_UNSEEN {
            let start = call.timestamp_ns.saturating_sub(call.duration_ns);
            self.unseen.calls.push((start, call.timestamp_ns));
        } else {
            let longest = &mut self.unseen.longest_other_ns;
            *longest = call.duration_ns.max(*longest);
        }
    }

    fn unfinished(&mut self, call: &Unfinished, _task: &mut Count, frame: u64) {
        if self.endless.len() < MOST_UNSEEN {
            self.endless.insert(CallId {
                task: call.task,
                depth: call.depth,
                start_ns: frame,
            });
        }
    }

    fn forgotten(&mut self, task: Task, kept: Count) {
        if kept.calls == 0 {
            return;
        }
        if self.tasks.len() >= MOST_TASKS && !self.tasks.contains_key(&task) {
            self.has_more_tasks = true;
            return;
        }
        let count = self.tasks.entry(task).or_default();
        count.calls = count.calls.saturating_add(kept.calls);
        count.levels = count.levels.max(kept.levels);
    }
}

impl Loading {
    /// Nothing is read yet.
    pub(super) fn new(expected: Option<u64>) -> Self {
        Self {
            statistics: FunctionStatistics::default(),
            graph: CallGraph::new(Grouping::Together),
            calls: Calls::default(),
            seen: Seen::default(),
            records: 0,
            expected,
        }
    }

    /// Takes the next record, and whether records of its CPU were lost before it.
    pub(super) fn record(&mut self, record: &Record<'_>, follows_loss: bool) {
        self.records = self.records.saturating_add(1);
        self.seen.first_ns.get_or_insert(record.timestamp_ns);
        self.seen.last_ns = self.seen.last_ns.max(record.timestamp_ns);
        if follows_loss {
            self.statistics.lost(None);
            self.graph.lost(None);
            self.calls.lost(None);
        }
        if let Event::FuncgraphEntry { .. } | Event::FuncgraphExit { .. } = record.event {
            self.statistics.record(record);
            self.graph.record(record);
            self.calls.record(record, &mut self.seen);
        }
    }

    /// How much was read, for the user.
    pub(super) fn progress(&self) -> String {
        match self.expected {
            Some(expected) if self.records <= expected => {
                let percent = u128::from(self.records) * 100 / u128::from(expected.max(1));
                format!("{percent} %: {} of {expected} records", self.records)
            }
            _ => format!("{} records", self.records),
        }
    }

    /// Ends the trace, and names what is in it.
    pub(super) fn finish(self, symbols: &Symbols, tasks: &SavedCmdlines) -> Loaded {
        let mut functions = Functions::new(symbols);
        let mut seen = self.seen;
        self.calls.finish(&mut seen);
        Loaded {
            report: self.statistics.finish(&mut functions),
            graph: self.graph.finish(&mut functions, tasks),
            overview: seen.overview(tasks),
        }
    }
}

impl Seen {
    fn overview(self, names: &SavedCmdlines) -> Overview {
        let cpus = (0_u32..)
            .zip(&self.cpus)
            .filter(|(_, count)| count.calls > 0)
            .map(|(cpu, count)| Lane::new(LaneKey::Cpu(cpu), format!("CPU {cpu}"), *count))
            .collect();
        let by_task: BTreeMap<Task, Count> = self.tasks.into_iter().collect();
        let mut tasks: Vec<Lane> = by_task
            .into_iter()
            .map(|(task, count)| Lane::new(LaneKey::Task(task), task_label(task, names), count))
            .collect();
        // Stable: those with as many stay in the order of their pids.
        tasks.sort_by_key(|lane| std::cmp::Reverse(lane.calls));
        Overview {
            first_ns: self.first_ns.unwrap_or_default(),
            last_ns: self.last_ns,
            cpus,
            tasks,
            has_more_tasks: self.has_more_tasks,
            endless: Arc::new(self.endless),
            unseen: self.unseen,
        }
    }
}

impl Lane {
    fn new(key: LaneKey, label: String, count: Count) -> Self {
        Self {
            key,
            label,
            calls: count.calls,
            levels: count.levels,
        }
    }
}

impl Overview {
    /// Up to when the trace must be read to know all calls before `time` that have no entry in it.
    pub(super) fn read_until(&self, time: u64) -> u64 {
        let around = |(start, end): &(u64, u64)| (*start < time && time < *end).then_some(*end);
        self.unseen
            .calls
            .iter()
            .filter_map(around)
            .max()
            .unwrap_or(time)
            .max(time.saturating_add(self.unseen.longest_other_ns))
    }
}

/// `NAME-PID`; for an idle task with its CPU, since each CPU has one.
pub(super) fn task_label(task: Task, names: &SavedCmdlines) -> String {
    match task {
        Task::Idle { cpu } => plain(&format!("{}/{cpu}", task.label(names))),
        Task::Pid(_) => plain(&task.label(names)),
    }
}
