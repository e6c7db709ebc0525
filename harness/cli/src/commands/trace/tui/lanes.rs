// SPDX-License-Identifier: GPL-2.0-only

//! One window of the timeline: which calls are in each cell of the screen.
//!
//! In: a [`Plan`], and all records by time from the first one on, since what is open when the window begins was entered
//! before. Out: a [`Grid`], which has for each cell the call that fills most of it, and what else is there.
//!
//! A lane of a task has its calls from entry to end, by the times of these records. A lane of a CPU has the calls of the
//! task that runs there, by the records: from a record of a task on up to the first one of another task, or up to where
//! that task is seen on another CPU. A call whose entry is not in the trace is shown from its end back for its duration;
//! on a CPU, only up to where that had a record of another task.
//!
//! Memory: the grid, some 100 bytes a cell, and the open calls of each task, as [`deferinit_trace::calls`] bounds them.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use deferinit_ftrace::record::Record;
use deferinit_trace::calls::{Call, CallSink, Calls, Entry, Unfinished};
use deferinit_trace::task::Task;

use super::load::LaneKey;

/// Which window is wanted, and at which resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Where it begins.
    pub(super) from_ns: u64,
    /// How long a cell is; not 0.
    pub(super) cell_ns: u64,
    /// How many cells a row has.
    pub(super) columns: usize,
    /// The lanes, each with the number of its rows: one per depth, from 0 on.
    pub(super) lanes: Vec<(LaneKey, usize)>,
    /// Up to when calls that have no entry must be looked for.
    pub(super) read_until_ns: u64,
}

/// What is in the cells of a window.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub(super) plan: Plan,
    /// Row by row, lane by lane.
    cells: Vec<Cell>,
    /// Up to when the trace was read; none when all was read that must be.
    pub(super) read_up_to_ns: Option<u64>,
}

/// What is in one cell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    /// How many calls, or parts of calls, one behind the other.
    pub(super) pieces: u64,
    /// How much of its time they take.
    pub(super) busy_ns: u64,
    /// The one that takes most, and how much of it is here.
    top: Option<(ShownCall, u64)>,
    latest: Option<CallId>,
}

/// A call as the timeline shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShownCall {
    pub(super) id: CallId,
    /// An address in the function.
    pub(super) function: u64,
    pub(super) end: End,
}

/// Tells calls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallId {
    pub(super) task: Task,
    pub(super) depth: usize,
    pub(super) start_ns: u64,
}

/// What is known of the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was not seen up to where the trace was read.
    NotYet,
    /// It ended at this time of the trace's clock, and took so long by the kernel's own.
    At { time_ns: u64, duration_ns: u64 },
    /// It is not in the trace.
    NotSeen,
}

impl Plan {
    /// Where the window ends.
    pub(super) fn until_ns(&self) -> u64 {
        let columns = u64::try_from(self.columns).unwrap_or(u64::MAX);
        self.from_ns
            .saturating_add(self.cell_ns.saturating_mul(columns))
    }

    fn rows(&self) -> usize {
        self.lanes.iter().map(|(_, rows)| rows).sum()
    }

    /// The column that a time falls on; the nearest one if it is outside.
    fn column(&self, time_ns: u64) -> usize {
        let cells = time_ns.saturating_sub(self.from_ns) / self.cell_ns.max(1);
        usize::try_from(cells)
            .unwrap_or(usize::MAX)
            .min(self.columns.saturating_sub(1))
    }

    fn time(&self, column: usize) -> u64 {
        let column = u64::try_from(column).unwrap_or(u64::MAX);
        self.from_ns
            .saturating_add(self.cell_ns.saturating_mul(column))
    }
}

impl Cell {
    /// The call that takes most of it.
    pub(super) fn call(&self) -> Option<&ShownCall> {
        self.top.as_ref().map(|(call, _)| call)
    }

    fn add(&mut self, call: ShownCall, ns: u64) {
        if self.latest != Some(call.id) {
            self.pieces = self.pieces.saturating_add(1);
            self.latest = Some(call.id);
        }
        self.busy_ns = self.busy_ns.saturating_add(ns);
        match &mut self.top {
            Some((top, had)) if top.id == call.id => {
                *had = had.saturating_add(ns);
                top.end = call.end;
            }
            Some((_, had)) if *had >= ns => {}
            top => *top = Some((call, ns)),
        }
    }
}

impl Grid {
    fn new(plan: Plan) -> Self {
        let count = plan.rows().saturating_mul(plan.columns);
        let read_up_to_ns = Some(plan.from_ns);
        Self {
            plan,
            cells: vec![Cell::default(); count],
            read_up_to_ns,
        }
    }

    /// The cells of a row, counted over all lanes.
    pub(super) fn row(&self, row: usize) -> &[Cell] {
        let start = row.saturating_mul(self.plan.columns);
        self.cells
            .get(start..start.saturating_add(self.plan.columns))
            .unwrap_or_default()
    }

    fn row_mut(&mut self, row: usize) -> &mut [Cell] {
        let start = row.saturating_mul(self.plan.columns);
        self.cells
            .get_mut(start..start.saturating_add(self.plan.columns))
            .unwrap_or_default()
    }

    /// Adds a piece of a call, or the part of it in the window.
    fn add(&mut self, row: usize, from_ns: u64, until_ns: u64, call: ShownCall) {
        // One that takes no time is there all the same.
        let until_ns = until_ns.max(from_ns.saturating_add(1));
        let from = from_ns.max(self.plan.from_ns);
        let until = until_ns.min(self.plan.until_ns());
        if from >= until {
            return;
        }
        let (first, last) = (self.plan.column(from), self.plan.column(until - 1));
        let (mut start, cell_ns) = (self.plan.time(first), self.plan.cell_ns);
        let cells = self.row_mut(row).get_mut(first..=last);
        for cell in cells.unwrap_or_default() {
            let end = start.saturating_add(cell_ns);
            cell.add(call, until.min(end).saturating_sub(from.max(start)));
            start = end;
        }
    }

    /// Says how a call ended, in the cells of a row where it is.
    fn settle(&mut self, row: usize, id: CallId, end: End) {
        let until = match end {
            End::At { time_ns, .. } => time_ns,
            End::NotYet | End::NotSeen => u64::MAX,
        };
        if until < self.plan.from_ns || id.start_ns >= self.plan.until_ns() {
            return;
        }
        let (first, last) = (self.plan.column(id.start_ns), self.plan.column(until));
        let cells = self.row_mut(row).get_mut(first..=last);
        for cell in cells.unwrap_or_default() {
            if let Some((call, _)) = &mut cell.top
                && call.id == id
            {
                call.end = end;
            }
        }
    }

    /// The calls whose end is not known. Those that have none get that.
    fn unsettled(&mut self, endless: &HashSet<CallId>) -> HashSet<CallId> {
        let mut unsettled = HashSet::new();
        let calls = self.cells.iter_mut().filter_map(|cell| cell.top.as_mut());
        for (call, _) in calls.filter(|(call, _)| call.end == End::NotYet) {
            if endless.contains(&call.id) {
                call.end = End::NotSeen;
            } else {
                unsettled.insert(call.id);
            }
        }
        unsettled
    }
}

/// One pass through the trace for a window.
pub(super) struct Scan {
    calls: Calls<Sink>,
    sink: Sink,
}

struct Sink {
    grid: Grid,
    lanes: Vec<OpenLane>,
    /// The task that each CPU's last record was of, and when that was.
    on_cpu: Vec<(Option<Task>, u64)>,
    now_ns: u64,
    /// Calls whose end is not in the trace.
    endless: Arc<HashSet<CallId>>,
    /// Calls in the window whose end is not known; none before the window's end.
    unsettled: Option<HashSet<CallId>>,
}

/// A lane up to now.
struct OpenLane {
    key: LaneKey,
    /// Its first row in the grid.
    row: usize,
    /// What goes on at each depth, and since when.
    open: Vec<Option<(ShownCall, u64)>>,
    /// The task that a CPU's lane shows, since when, and whether its calls are in `open` yet.
    shows: Option<(Task, u64, bool)>,
    /// When a CPU had its last record of another task than the one that it shows.
    others_until_ns: u64,
}

/// The open calls of a task by depth, as far as there are rows for them.
type Stack = Vec<Option<ShownCall>>;

/// The largest CPU that is followed: the kernel's own limit (`NR_CPUS`).
const MOST_CPUS: usize = 1 << 13;

impl Scan {
    /// Begins a pass. `endless` are calls whose end is not in the trace, as far as they are known.
    pub(super) fn new(plan: Plan, endless: Arc<HashSet<CallId>>) -> Self {
        let mut row = 0;
        let mut lanes = Vec::new();
        for (key, rows) in &plan.lanes {
            lanes.push(OpenLane {
                key: *key,
                row,
                open: vec![None; *rows],
                shows: None,
                others_until_ns: 0,
            });
            row += rows;
        }
        Self {
            calls: Calls::default(),
            sink: Sink {
                grid: Grid::new(plan),
                lanes,
                on_cpu: Vec::new(),
                now_ns: 0,
                endless,
                unsettled: None,
            },
        }
    }

    /// Takes the next record; breaks when no further one can change the window.
    pub(super) fn record(&mut self, record: &Record<'_>, follows_loss: bool) -> ControlFlow<()> {
        let sink = &mut self.sink;
        sink.now_ns = sink.now_ns.max(record.timestamp_ns);
        if sink.unsettled.is_none() && sink.now_ns >= sink.grid.plan.until_ns() {
            sink.end_window();
        }
        if sink.unsettled.as_ref().is_some_and(HashSet::is_empty)
            && sink.now_ns > sink.grid.plan.read_until_ns
        {
            return ControlFlow::Break(());
        }
        sink.runs(record.cpu, Task::of(record));
        if follows_loss {
            self.calls.lost(None);
        }
        self.calls.record(record, sink);
        ControlFlow::Continue(())
    }

    /// What is known so far.
    pub(super) fn grid(&self) -> Grid {
        let mut grid = self.sink.grid.clone();
        grid.read_up_to_ns = Some(self.sink.now_ns);
        grid
    }

    /// Ends the pass: behind the window, or with the trace.
    pub(super) fn finish(mut self) -> Grid {
        let sink = &mut self.sink;
        if sink.unsettled.is_none() {
            sink.end_window();
        }
        if sink.unsettled.as_ref().is_some_and(|left| !left.is_empty()) {
            self.calls.finish(sink);
        }
        sink.grid.read_up_to_ns = None;
        self.sink.grid
    }
}

impl Sink {
    /// Notes that a task runs on a CPU.
    fn runs(&mut self, cpu: u32, task: Task) {
        let Some(place) = usize::try_from(cpu).ok().filter(|cpu| *cpu < MOST_CPUS) else {
            return;
        };
        if self.on_cpu.len() <= place {
            self.on_cpu.resize(place.saturating_add(1), (None, 0));
        }
        let Some((latest, latest_ns)) = self.on_cpu.get_mut(place) else {
            return;
        };
        let before_ns = std::mem::replace(latest_ns, self.now_ns);
        if *latest == Some(task) {
            return;
        }
        *latest = Some(task);
        for lane in &mut self.lanes {
            let LaneKey::Cpu(of) = lane.key else { continue };
            if of == cpu {
                lane.close_from(0, self.now_ns, &mut self.grid);
                lane.shows = Some((task, self.now_ns, false));
                lane.others_until_ns = before_ns;
            } else if lane.shows.is_some_and(|(shown, ..)| shown == task) {
                // It has gone to this CPU.
                lane.close_from(0, self.now_ns, &mut self.grid);
                lane.shows = None;
            }
        }
        for (other, (latest, _)) in self.on_cpu.iter_mut().enumerate() {
            if other != place && *latest == Some(task) {
                *latest = None;
            }
        }
    }

    /// Puts the open calls of a task into the lanes that show it and do not have them yet.
    fn load(&mut self, task: Task, stack: &Stack) {
        for lane in &mut self.lanes {
            if let Some((shown, since, is_loaded)) = &mut lane.shows
                && *shown == task
                && !*is_loaded
            {
                *is_loaded = true;
                for (open, call) in lane.open.iter_mut().zip(stack) {
                    *open = call.map(|call| (call, *since));
                }
            }
        }
    }

    /// A call ended, one way or the other: it is no longer open in any lane.
    fn close(&mut self, call: ShownCall) {
        let CallId { task, depth, .. } = call.id;
        for lane in &mut self.lanes {
            if lane.shows_now(task) {
                if let Some(Some((open, _))) = lane.open.get_mut(depth)
                    && open.id == call.id
                {
                    open.end = call.end;
                }
                lane.close_from(depth, self.now_ns, &mut self.grid);
            }
        }
        self.settle(call);
    }

    /// Tells the cells how a call ended.
    fn settle(&mut self, call: ShownCall) {
        if let Some(unsettled) = &mut self.unsettled
            && !unsettled.remove(&call.id)
        {
            return;
        }
        for lane in &self.lanes {
            let may_show = match lane.key {
                LaneKey::Cpu(_) => true,
                LaneKey::Task(task) => task == call.id.task && self.unsettled.is_some(),
            };
            if may_show && call.id.depth < lane.open.len() {
                self.grid
                    .settle(lane.row + call.id.depth, call.id, call.end);
            }
        }
    }

    /// A call of which only the end is in the trace.
    fn add_whole(&mut self, call: ShownCall, cpu: u32, until_ns: u64) {
        for lane in &self.lanes {
            let (shows, since) = match lane.key {
                LaneKey::Cpu(of) => (of == cpu, lane.others_until_ns),
                LaneKey::Task(task) => (task == call.id.task, 0),
            };
            let since = since.max(call.id.start_ns);
            let is_there = since < until_ns || call.id.start_ns == until_ns;
            if shows && is_there && call.id.depth < lane.open.len() {
                let row = lane.row + call.id.depth;
                self.grid.add(row, since, until_ns, call);
            }
        }
    }

    /// What is open goes on behind the window; from here on, only ends are looked for.
    fn end_window(&mut self) {
        let until = self.now_ns.min(self.grid.plan.until_ns());
        for lane in &mut self.lanes {
            lane.close_from(0, until, &mut self.grid);
        }
        self.unsettled = Some(self.grid.unsettled(&self.endless));
    }
}

impl OpenLane {
    fn shows_now(&self, task: Task) -> bool {
        match self.key {
            LaneKey::Cpu(_) => self.shows.is_some_and(|(shown, ..)| shown == task),
            LaneKey::Task(of) => of == task,
        }
    }

    /// Ends what goes on at a depth and deeper.
    fn close_from(&mut self, depth: usize, now_ns: u64, grid: &mut Grid) {
        for (level, open) in self.open.iter_mut().enumerate().skip(depth) {
            // One that only ends where its task was seen last takes no time there.
            if let Some((call, since)) = open.take()
                && (since < now_ns || since == call.id.start_ns)
            {
                grid.add(self.row + level, since, now_ns, call);
            }
        }
    }
}

impl CallSink for Sink {
    /// When it was entered.
    type Frame = u64;
    type PerTask = Stack;

    fn entered(&mut self, entry: &Entry, task: &mut Stack, _around: Option<u64>) -> u64 {
        let start_ns = self.now_ns;
        if self.unsettled.is_some() {
            return start_ns;
        }
        self.load(entry.task, task);
        let call = ShownCall {
            id: CallId {
                task: entry.task,
                depth: entry.depth,
                start_ns,
            },
            function: entry.function,
            end: End::NotYet,
        };
        let mut most = 0;
        for lane in &mut self.lanes {
            most = most.max(lane.open.len());
            if lane.shows_now(entry.task) {
                lane.close_from(entry.depth, start_ns, &mut self.grid);
                if let Some(open) = lane.open.get_mut(entry.depth) {
                    *open = Some((call, start_ns));
                }
            }
        }
        if entry.depth < most {
            task.resize(entry.depth, None);
            task.push(Some(call));
        }
        start_ns
    }

    fn ended(&mut self, call: &Call, task: &mut Stack, frame: Option<u64>, _around: Option<u64>) {
        let start_ns = frame.unwrap_or(call.timestamp_ns.saturating_sub(call.duration_ns));
        let shown = ShownCall {
            id: CallId {
                task: call.task,
                depth: call.depth,
                start_ns,
            },
            function: call.function,
            end: End::At {
                time_ns: self.now_ns,
                duration_ns: call.duration_ns,
            },
        };
        if self.unsettled.is_none() {
            self.load(call.task, task);
            task.truncate(call.depth);
        }
        if frame.is_some() {
            self.close(shown);
        } else {
            self.add_whole(shown, call.cpu, self.now_ns);
        }
    }

    fn unfinished(&mut self, call: &Unfinished, task: &mut Stack, frame: u64) {
        let shown = ShownCall {
            id: CallId {
                task: call.task,
                depth: call.depth,
                start_ns: frame,
            },
            function: call.function,
            end: End::NotSeen,
        };
        if self.unsettled.is_none() {
            self.load(call.task, task);
            task.truncate(call.depth);
        }
        self.close(shown);
    }
}
