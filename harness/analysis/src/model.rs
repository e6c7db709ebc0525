// SPDX-License-Identifier: GPL-2.0-only

//! A model of a workload that can be run again with other choices: which items are direct, async or deferred, on how
//! many CPUs.
//!
//! In: items with what they do and how long, and what their starter does between arming them. Out: when each of them
//! would start and end, and when the starter would be done. A discrete-event simulation: tasks share CPUs by turns of
//! [`SLICE_NS`], one that is woken goes first, sleeps and delays that go by the timer wheel are rounded by its rule, a queue has at most `max_active`
//! works at a time. Whatever else runs in the kernel is left out.
//! Source: `Workload::arm()` in `module/workload.rs`, `kernel/workqueue.c`, `kernel/time/timer.c`, Linux 7.3.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::Serialize;

use crate::ticks::Ticks;
use crate::wheel::Wheel;

/// How long a task runs while others wait: `sysctl_sched_base_slice`, `kernel/sched/fair.c`, Linux 7.3, on few CPUs.
pub const SLICE_NS: u64 = 3_000_000;

/// What runs an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The starter itself, which waits for what the item comes after.
    Direct,
    /// The task that arms it: a probe.
    Inline,
    /// A worker, by `async_schedule()`.
    Async,
    /// A worker, or a thread of its own.
    Deferred,
    /// An interrupt of a high-resolution timer.
    Hrtimer,
    /// What ran it in the trace, several times: it goes on by itself as it did.
    Kept,
}

impl Mode {
    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Inline => "inline",
            Self::Async => "async",
            Self::Deferred => "deferred",
            Self::Hrtimer => "hrtimer",
            Self::Kept => "kept",
        }
    }
}

/// What an item does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Needs a CPU for so many nanoseconds.
    Cpu(u64),
    /// Waits for so many nanoseconds.
    Sleep(u64),
    /// Waits for a timer of the wheel.
    Jiffies {
        /// Of so many jiffies.
        delta: u64,
        /// And, behind its bucket's jiffy, so many nanoseconds.
        tail: u64,
    },
}

/// An item of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelItem {
    /// Its name.
    pub name: String,
    /// What runs it.
    pub mode: Mode,
    /// The items that it comes after, by their places.
    pub after: Vec<usize>,
    /// Its delay, for modes that have one: in nanoseconds.
    pub delay_ns: u64,
    /// What it does.
    pub acts: Vec<Act>,
    /// What its starter does before it arms it.
    pub gap_ns: u64,
    /// From its arming, or its timer's expiry, to its start, if nothing is in its way; by whether a worker runs it.
    pub lead_ns: Leads,
    /// Its queue, by its place, if that has a limit.
    pub queue: Option<usize>,
}

/// How long it takes to get to an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leads {
    /// If whoever arms it calls it.
    pub called: u64,
    /// If a worker or a thread does.
    pub worker: u64,
    /// What it costs whoever arms it to have a worker do it, where that is not in the gap before the next item: since it
    /// was called in the trace.
    pub handing: u64,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The items.
    pub items: Vec<ModelItem>,
    /// `max_active` of the queues that have one.
    pub limits: Vec<u32>,
    /// What the starter does behind the last item.
    pub tail_ns: u64,
    /// When it begins, on the trace's clock: the wheel's rounding depends on it.
    pub begin: u64,
    /// When each jiffy begins.
    pub ticks: Ticks,
    /// How many tasks run at a time.
    pub cpus: u32,
}

/// What a model predicts; times are nanoseconds since its begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// When the starter is done.
    pub init_ns: u64,
    /// When the last item ends.
    pub makespan_ns: u64,
    /// When each item is armed, starts and ends.
    pub items: Vec<(u64, u64, u64)>,
    /// Time in which tasks had a CPU, all together.
    pub cpu_ns: u64,
}

/// Why a model cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Items that come after each other, the first one after the last.
    pub names: Vec<String>,
}

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in &self.names {
            write!(f, "{name} before ")?;
        }
        f.write_str(self.names.first().map_or("itself", String::as_str))
    }
}

impl Model {
    /// The order in which the starter goes through the items: as the module does, each behind what it comes after, and
    /// otherwise by id.
    ///
    /// # Errors
    /// Some come after each other.
    pub fn order(&self) -> Result<Vec<usize>, Cycle> {
        let mut missing: Vec<usize> = self.items.iter().map(|item| item.after.len()).collect();
        let mut order: VecDeque<usize> = (0..self.items.len())
            .filter(|id| missing.get(*id) == Some(&0))
            .collect();
        let followers = self.followers();
        let mut done = Vec::new();
        while let Some(id) = order.pop_front() {
            done.push(id);
            for follower in followers.get(id).into_iter().flatten() {
                if let Some(count) = missing.get_mut(*follower) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        order.push_back(*follower);
                    }
                }
            }
        }
        if done.len() == self.items.len() {
            return Ok(done);
        }
        Err(self.cycle())
    }

    fn followers(&self) -> Vec<Vec<usize>> {
        let mut followers = vec![Vec::new(); self.items.len()];
        for (id, item) in self.items.iter().enumerate() {
            for before in &item.after {
                if let Some(of) = followers.get_mut(*before) {
                    of.push(id);
                }
            }
        }
        followers
    }

    /// Items that come after each other.
    fn cycle(&self) -> Cycle {
        let mut graph: DiGraph<usize, ()> = DiGraph::new();
        let nodes: Vec<NodeIndex> = (0..self.items.len()).map(|id| graph.add_node(id)).collect();
        for (id, item) in self.items.iter().enumerate() {
            for before in &item.after {
                if let (Some(from), Some(to)) = (nodes.get(*before), nodes.get(id)) {
                    graph.add_edge(*from, *to, ());
                }
            }
        }
        let on_it = match toposort(&graph, None) {
            Ok(_) => None,
            Err(cycle) => graph.node_weight(cycle.node_id()).copied(),
        };
        // Back from one that is on it, the shortest way to itself.
        let names = on_it.map(|start| self.way_back(start)).unwrap_or_default();
        Cycle { names }
    }

    fn way_back(&self, start: usize) -> Vec<String> {
        let mut came_from: Vec<Option<usize>> = vec![None; self.items.len()];
        let mut open = VecDeque::from([start]);
        while let Some(id) = open.pop_front() {
            for before in self.items.get(id).into_iter().flat_map(|item| &item.after) {
                if *before == start {
                    let mut way = Vec::new();
                    let mut at = Some(id);
                    while let Some(id) = at {
                        way.push(id);
                        at = if id == start {
                            None
                        } else {
                            came_from.get(id).copied().flatten()
                        };
                    }
                    return way
                        .into_iter()
                        .filter_map(|id| self.items.get(id).map(|item| item.name.clone()))
                        .collect();
                }
                if let Some(slot) = came_from.get_mut(*before).filter(|slot| slot.is_none()) {
                    *slot = Some(id);
                    open.push_back(*before);
                }
            }
        }
        Vec::new()
    }

    /// Runs it.
    ///
    /// # Errors
    /// Some items come after each other.
    pub fn run(&self) -> Result<Prediction, Cycle> {
        let order = self.order()?;
        let mut simulation = Simulation::new(self, &order);
        simulation.run();
        Ok(simulation.prediction())
    }
}

/// What a task does next.
#[derive(Clone, Copy, Debug)]
enum Op {
    Act(Act),
    /// The starter comes to an item.
    Reach(usize),
    /// The starter waits until nothing is missing for a direct item.
    Await(usize),
    Arm(usize),
    Begin(usize),
    End(usize),
    InitDone,
}

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A task has run for its turn, if it was not preempted: the turn's number.
    Ran(u64),
    /// A task can run.
    Ready(usize),
    /// An item's timer has expired.
    Expired(usize),
}

struct Simulation<'a> {
    model: &'a Model,
    wheel: Wheel,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    /// What each task has left to do.
    tasks: Vec<VecDeque<Op>>,
    /// Tasks that wait for a CPU.
    ready: VecDeque<usize>,
    /// The tasks that have a CPU, by the number of their turn: each with the end of it.
    running: BTreeMap<u64, (usize, u64)>,
    missing: Vec<usize>,
    followers: Vec<Vec<usize>>,
    /// The direct item that the starter waits for, and its task.
    waiting: Option<(usize, usize)>,
    active: Vec<u32>,
    inactive: Vec<VecDeque<usize>>,
    times: Vec<(u64, u64, u64)>,
    init: Option<u64>,
    cpu: u64,
}

impl<'a> Simulation<'a> {
    fn new(model: &'a Model, order: &[usize]) -> Self {
        let mut starter: VecDeque<Op> = order.iter().map(|id| Op::Reach(*id)).collect();
        starter.push_back(Op::Act(Act::Cpu(model.tail_ns)));
        starter.push_back(Op::InitDone);
        Self {
            model,
            wheel: Wheel::of_hz(model.ticks.hz),
            now: model.begin,
            events: BinaryHeap::new(),
            sequence: 0,
            tasks: vec![starter],
            ready: VecDeque::from([0]),
            running: BTreeMap::new(),
            // One for the start.
            missing: model
                .items
                .iter()
                .map(|item| item.after.len().saturating_add(1))
                .collect(),
            followers: model.followers(),
            waiting: None,
            active: vec![0; model.limits.len()],
            inactive: vec![VecDeque::new(); model.limits.len()],
            times: vec![(0, 0, 0); model.items.len()],
            init: None,
            cpu: 0,
        }
    }

    fn run(&mut self) {
        self.dispatch();
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Ran(turn) => {
                    if let Some((task, _)) = self.running.remove(&turn) {
                        self.ready.push_back(task);
                    }
                }
                Event::Ready(task) => self.wake(task),
                Event::Expired(item) => self.queue(item),
            }
            self.dispatch();
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.sequence = self.sequence.saturating_add(1);
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn has_free_cpu(&self) -> bool {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX) < self.model.cpus.max(1)
    }

    /// A task that is woken has slept, and gets the CPU of the one that has run for longest.
    fn wake(&mut self, task: usize) {
        if !self.has_free_cpu()
            && let Some((_, (preempted, until))) = self.running.pop_first()
        {
            let left = until.saturating_sub(self.now);
            self.cpu = self.cpu.saturating_sub(left);
            self.before(preempted, [Op::Act(Act::Cpu(left))]);
            self.ready.push_front(preempted);
        }
        self.ready.push_front(task);
    }

    /// Gives free CPUs to tasks that wait.
    fn dispatch(&mut self) {
        while self.has_free_cpu() {
            let Some(task) = self.ready.pop_front() else {
                return;
            };
            self.go_on(task);
        }
    }

    /// Lets a task run until it needs its CPU for some time, or waits.
    fn go_on(&mut self, task: usize) {
        while let Some(op) = self.tasks.get_mut(task).and_then(VecDeque::pop_front) {
            match op {
                Op::Act(Act::Cpu(0)) => {}
                Op::Act(Act::Cpu(nanoseconds)) => {
                    let turn = nanoseconds.min(SLICE_NS);
                    if nanoseconds > turn {
                        let rest = Op::Act(Act::Cpu(nanoseconds.saturating_sub(turn)));
                        self.before(task, [rest]);
                    }
                    self.cpu = self.cpu.saturating_add(turn);
                    let until = self.now.saturating_add(turn);
                    let number = self.sequence;
                    self.running.insert(number, (task, until));
                    self.at(until, Event::Ran(number));
                    return;
                }
                Op::Act(Act::Sleep(nanoseconds)) => {
                    let until = self.now.saturating_add(nanoseconds);
                    self.at(until, Event::Ready(task));
                    return;
                }
                Op::Act(Act::Jiffies { delta, tail }) => {
                    let until = self.expiry(delta).saturating_add(tail);
                    self.at(until, Event::Ready(task));
                    return;
                }
                Op::Reach(item) => self.reach(item, task),
                Op::Await(item) => {
                    if self.missing.get(item).is_some_and(|missing| *missing > 0) {
                        self.waiting = Some((item, task));
                        return;
                    }
                }
                Op::Arm(item) => self.arm(item, task),
                Op::Begin(item) => self.note(item, |times, now| times.1 = now),
                Op::End(item) => self.end(item, task),
                Op::InitDone => self.init = Some(self.now),
            }
        }
    }

    /// Puts operations before what a task has left, in their order.
    fn before<const N: usize>(&mut self, task: usize, ops: [Op; N]) {
        if let Some(left) = self.tasks.get_mut(task) {
            for op in ops.into_iter().rev() {
                left.push_front(op);
            }
        }
    }

    fn note(&mut self, item: usize, change: impl FnOnce(&mut (u64, u64, u64), u64)) {
        let now = self.now.saturating_sub(self.model.begin);
        if let Some(times) = self.times.get_mut(item) {
            change(times, now);
        }
    }

    /// When a timer of the wheel expires that is started now.
    fn expiry(&self, delta: u64) -> u64 {
        let ticks = &self.model.ticks;
        let expires = ticks.jiffy(self.now).map(|now| {
            let bucket = self.wheel.bucket(now.saturating_add(delta), now);
            ticks.begin(bucket.expiry)
        });
        // Without a grid, as long as it says.
        expires.flatten().unwrap_or_else(|| {
            self.now
                .saturating_add(ticks.nanoseconds(delta.saturating_add(1)))
        })
    }

    /// The starter comes to an item: one for which nothing else is missing is armed; for a direct one it waits.
    fn reach(&mut self, id: usize, task: usize) {
        let missing = self.decrement(id);
        let Some(item) = self.model.items.get(id) else {
            return;
        };
        let gap = Op::Act(Act::Cpu(item.gap_ns));
        if item.mode == Mode::Direct {
            self.before(task, [Op::Await(id), gap, Op::Arm(id)]);
        } else if missing == 0 {
            self.before(task, [gap, Op::Arm(id)]);
        }
    }

    fn decrement(&mut self, item: usize) -> usize {
        let Some(missing) = self.missing.get_mut(item) else {
            return usize::MAX;
        };
        *missing = missing.saturating_sub(1);
        *missing
    }

    fn arm(&mut self, id: usize, task: usize) {
        self.note(id, |times, now| times.0 = now);
        let Some(item) = self.model.items.get(id) else {
            return;
        };
        match item.mode {
            Mode::Direct | Mode::Inline => {
                let acts = item.acts.iter().rev().map(|act| Op::Act(*act));
                let ops = std::iter::once(Op::End(id))
                    .chain(acts)
                    .chain([Op::Begin(id), Op::Act(Act::Cpu(item.lead_ns.called))]);
                if let Some(left) = self.tasks.get_mut(task) {
                    for op in ops {
                        left.push_front(op);
                    }
                }
            }
            Mode::Deferred | Mode::Async if item.lead_ns.handing > 0 => {
                self.before(task, [Op::Act(Act::Cpu(item.lead_ns.handing))]);
                self.queue(id);
            }
            Mode::Deferred | Mode::Async if item.delay_ns > 0 => {
                let tick = self.model.ticks.nanoseconds(1).max(1);
                let until = self.expiry(item.delay_ns.div_ceil(tick));
                self.at(until, Event::Expired(id));
            }
            Mode::Hrtimer => {
                let until = self.now.saturating_add(item.delay_ns);
                self.at(until, Event::Expired(id));
            }
            Mode::Deferred | Mode::Async | Mode::Kept => self.queue(id),
        }
    }

    /// An item comes to its queue.
    fn queue(&mut self, id: usize) {
        let queue = self.model.items.get(id).and_then(|item| item.queue);
        if let Some(queue) = queue
            && let (Some(active), Some(limit)) =
                (self.active.get_mut(queue), self.model.limits.get(queue))
        {
            if *active >= *limit {
                if let Some(inactive) = self.inactive.get_mut(queue) {
                    inactive.push_back(id);
                }
                return;
            }
            *active = active.saturating_add(1);
        }
        self.activate(id);
    }

    fn activate(&mut self, id: usize) {
        let Some(item) = self.model.items.get(id) else {
            return;
        };
        let acts = item.acts.iter().map(|act| Op::Act(*act));
        let ops = std::iter::once(Op::Begin(id))
            .chain(acts)
            .chain([Op::End(id)]);
        let task = self.tasks.len();
        self.tasks.push(ops.collect());
        let ready = self.now.saturating_add(item.lead_ns.worker);
        self.at(ready, Event::Ready(task));
    }

    fn end(&mut self, id: usize, task: usize) {
        self.note(id, |times, now| times.2 = now);
        let item = self.model.items.get(id);
        let has_worker = item.is_some_and(|item| !matches!(item.mode, Mode::Direct | Mode::Inline));
        if let Some(queue) = item.and_then(|item| item.queue).filter(|_| has_worker) {
            match self.inactive.get_mut(queue).and_then(VecDeque::pop_front) {
                Some(next) => self.activate(next),
                None => {
                    if let Some(active) = self.active.get_mut(queue) {
                        *active = active.saturating_sub(1);
                    }
                }
            }
        }
        let followers = self.followers.get(id).cloned().unwrap_or_default();
        for follower in followers.into_iter().rev() {
            if self.decrement(follower) > 0 {
                continue;
            }
            let of = self.model.items.get(follower);
            match of.map(|item| (item.mode, item.gap_ns)) {
                Some((Mode::Direct, _)) => {
                    if let Some((_, starter)) = self.waiting.take_if(|(item, _)| *item == follower)
                    {
                        self.ready.push_back(starter);
                    }
                }
                Some((_, gap)) => {
                    self.before(task, [Op::Act(Act::Cpu(gap)), Op::Arm(follower)]);
                }
                None => {}
            }
        }
    }

    fn prediction(self) -> Prediction {
        let since = |at: u64| at.saturating_sub(self.model.begin);
        Prediction {
            init_ns: self.init.map_or(0, since),
            makespan_ns: self.times.iter().map(|times| times.2).max().unwrap_or(0),
            items: self.times,
            cpu_ns: self.cpu,
        }
    }
}

/// Modes that a search may choose from.
pub const CHOICES: [Mode; 3] = [Mode::Direct, Mode::Async, Mode::Deferred];

/// How many combinations a search tries at most.
pub const MOST_TRIED: u64 = 20_000;

/// The best choice that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The model with it.
    pub model: Model,
    /// What it predicts.
    pub prediction: Prediction,
    /// Whether all combinations were tried; else it is one that no small change made better.
    pub is_exhaustive: bool,
    /// How many were tried.
    pub tried: u64,
}

impl Model {
    /// Finds the modes of these items with which the starter is done first, then all is done first, then the least is
    /// changed.
    ///
    /// # Errors
    /// Some items come after each other.
    pub fn search(&self, items: &[usize]) -> Result<Found, Cycle> {
        let choices = u64::try_from(CHOICES.len()).unwrap_or(u64::MAX);
        let exponent = u32::try_from(items.len()).unwrap_or(u32::MAX);
        match choices
            .checked_pow(exponent)
            .filter(|all| *all <= MOST_TRIED)
        {
            Some(all) => self.search_all(items, all),
            None => self.search_by_steps(items),
        }
    }

    fn search_all(&self, items: &[usize], all: u64) -> Result<Found, Cycle> {
        let mut best = Best::new(self)?;
        for number in 0..all {
            let mut rest = number;
            let modes = items.iter().filter_map(|item| {
                let choices = u64::try_from(CHOICES.len()).ok()?;
                let choice = usize::try_from(rest.checked_rem(choices)?).ok()?;
                rest = rest.checked_div(choices)?;
                Some((*item, *CHOICES.get(choice)?))
            });
            let model = self.with(modes);
            best.take(self, model)?;
        }
        Ok(best.found(true))
    }

    /// From each mode for all and from the modes as they are, changes one or two at a time while that helps.
    pub(crate) fn search_by_steps(&self, items: &[usize]) -> Result<Found, Cycle> {
        let mut best = Best::new(self)?;
        let all = CHOICES.map(|mode| self.with(items.iter().map(|item| (*item, mode))));
        for start in std::iter::once(self.clone()).chain(all) {
            best.take(self, start)?;
        }
        // Pairs are tried where no single change helps any more.
        let mut reach = 0;
        loop {
            if self.step(items, reach, &mut best)? {
                reach = 0;
            } else if reach == 0 {
                reach = PAIRS;
            } else {
                return Ok(best.found(false));
            }
            if best.tried >= MOST_TRIED {
                return Ok(best.found(false));
            }
        }
    }

    /// Changes each item alone, and together with each of the next `reach` ones; tells whether that is better.
    fn step(&self, items: &[usize], reach: usize, best: &mut Best) -> Result<bool, Cycle> {
        let from = best.model.clone();
        let mut is_better = false;
        for (number, one) in items.iter().enumerate() {
            let others = items.iter().skip(number.saturating_add(1)).take(reach);
            for mode in CHOICES {
                let changed = from.with([(*one, mode)]);
                if reach == 0 {
                    is_better |= best.take(self, changed)?;
                    continue;
                }
                for (other, second) in others
                    .clone()
                    .flat_map(|other| CHOICES.map(|second| (other, second)))
                {
                    is_better |= best.take(self, changed.with([(*other, second)]))?;
                }
            }
            if best.tried >= MOST_TRIED {
                break;
            }
        }
        Ok(is_better)
    }

    /// The same with other modes. What is no longer delayed has no delay.
    #[must_use]
    pub fn with(&self, modes: impl IntoIterator<Item = (usize, Mode)>) -> Self {
        let mut model = self.clone();
        for (item, mode) in modes {
            if let Some(item) = model.items.get_mut(item).filter(|item| item.mode != mode) {
                let was_called = matches!(item.mode, Mode::Direct | Mode::Inline);
                if !was_called {
                    item.lead_ns.handing = 0;
                }
                item.mode = mode;
                item.delay_ns = 0;
                item.queue = None;
            }
        }
        model
    }
}

/// With how many of the next items a step changes an item together.
const PAIRS: usize = 8;

struct Best {
    model: Model,
    prediction: Prediction,
    changes: usize,
    tried: u64,
}

impl Best {
    fn new(model: &Model) -> Result<Self, Cycle> {
        Ok(Self {
            prediction: model.run()?,
            model: model.clone(),
            changes: 0,
            tried: 1,
        })
    }

    fn take(&mut self, from: &Model, model: Model) -> Result<bool, Cycle> {
        self.tried = self.tried.saturating_add(1);
        let prediction = model.run()?;
        let pairs = model.items.iter().zip(&from.items);
        let changes = pairs.filter(|(one, other)| one.mode != other.mode).count();
        let rank = |prediction: &Prediction, changes: usize| {
            (prediction.init_ns, prediction.makespan_ns, changes)
        };
        let is_better = rank(&prediction, changes) < rank(&self.prediction, self.changes);
        if is_better {
            (self.model, self.prediction, self.changes) = (model, prediction, changes);
        }
        Ok(is_better)
    }

    fn found(self, is_exhaustive: bool) -> Found {
        Found {
            model: self.model,
            prediction: self.prediction,
            is_exhaustive,
            tried: self.tried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knuth's generator, MMIX.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    fn item(name: &str, mode: Mode, after: &[usize], acts: &[Act]) -> ModelItem {
        ModelItem {
            name: name.to_owned(),
            mode,
            after: after.to_vec(),
            delay_ns: 0,
            acts: acts.to_vec(),
            gap_ns: 0,
            lead_ns: Leads::default(),
            queue: None,
        }
    }

    fn model(items: Vec<ModelItem>, cpus: u32) -> Model {
        Model {
            items,
            limits: Vec::new(),
            tail_ns: 0,
            begin: 0,
            ticks: Ticks::from_zero(250),
            cpus,
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn direct_items_cost_init_their_sum_and_deferred_ones_nothing() {
        for (mode, init, makespan) in [
            (Mode::Direct, 40, 40),
            (Mode::Async, 0, 10),
            (Mode::Deferred, 0, 10),
        ] {
            let items = (0..4).map(|_| item("x", mode, &[], &[Act::Sleep(10 * MS)]));
            let prediction = model(items.collect(), 1).run().expect("no cycle");
            assert_eq!(
                (prediction.init_ns, prediction.makespan_ns),
                (init * MS, makespan * MS)
            );
        }
    }

    #[test]
    fn work_shares_cpus_and_sleep_does_not() {
        for (cpus, makespan) in [(1, 40), (2, 20), (4, 10), (8, 10)] {
            let items = (0..4).map(|_| item("x", Mode::Deferred, &[], &[Act::Cpu(10 * MS)]));
            let prediction = model(items.collect(), cpus).run().expect("no cycle");
            assert_eq!(prediction.makespan_ns, makespan * MS, "{cpus} CPUs");
            assert_eq!(prediction.cpu_ns, 40 * MS);
        }
    }

    #[test]
    fn queue_runs_no_more_than_its_limit() {
        let items = (0..8).map(|_| ModelItem {
            queue: Some(0),
            ..item("x", Mode::Deferred, &[], &[Act::Sleep(10 * MS)])
        });
        let mut two = model(items.collect(), 1);
        two.limits = vec![2];
        assert_eq!(two.run().expect("no cycle").makespan_ns, 40 * MS);
        two.limits = vec![8];
        assert_eq!(two.run().expect("no cycle").makespan_ns, 10 * MS);
    }

    #[test]
    fn delays_and_long_sleeps_are_rounded_by_the_wheel() {
        // 20 ms are 5 jiffies; armed at jiffy 0, the bucket is that of 6: 24 ms. Armed 1 ns before jiffy 1, the same.
        for (begin, wanted) in [(0, 24 * MS), (4 * MS - 1, 20 * MS + 1), (4 * MS, 24 * MS)] {
            let delayed = ModelItem {
                delay_ns: 20 * MS,
                ..item("x", Mode::Deferred, &[], &[])
            };
            let mut one = model(vec![delayed], 1);
            one.begin = begin;
            assert_eq!(one.run().expect("no cycle").makespan_ns, wanted, "{begin}");
            let sleep = Act::Jiffies { delta: 5, tail: 7 };
            let mut one = model(vec![item("x", Mode::Direct, &[], &[sleep])], 1);
            one.begin = begin;
            assert_eq!(one.run().expect("no cycle").init_ns, wanted + 7, "{begin}");
        }
    }

    #[test]
    fn starter_waits_for_what_a_direct_item_comes_after() {
        let items = vec![
            item("slow", Mode::Async, &[], &[Act::Sleep(30 * MS)]),
            item("barrier", Mode::Direct, &[0], &[Act::Sleep(5 * MS)]),
            item("free", Mode::Async, &[], &[Act::Sleep(MS)]),
        ];
        let prediction = model(items, 2).run().expect("no cycle");
        assert_eq!(prediction.init_ns, 35 * MS);
        assert_eq!(
            prediction.items,
            [(0, 0, 30 * MS), (30 * MS, 30 * MS, 35 * MS), (0, 0, MS)]
        );
    }

    #[test]
    fn items_that_come_after_each_other_are_named() {
        let items = vec![
            item("a", Mode::Direct, &[2], &[]),
            item("b", Mode::Direct, &[0], &[]),
            item("c", Mode::Direct, &[1], &[]),
            item("d", Mode::Direct, &[2], &[]),
        ];
        let cycle = model(items, 1).run().expect_err("a cycle");
        let mut names = cycle.names.clone();
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(cycle.to_string().matches(" before ").count(), 3, "{cycle}");
    }

    /// When an item ends if nothing but sleep and order matters: the longest way to it, by trying all ways.
    fn longest(model: &Model, id: usize) -> u64 {
        let item = &model.items[id];
        let own: u64 = item
            .acts
            .iter()
            .map(|act| match act {
                Act::Sleep(nanoseconds) => *nanoseconds,
                _ => 0,
            })
            .sum();
        let before = item.after.iter().map(|before| longest(model, *before));
        before.max().unwrap_or(0) + own
    }

    fn random(random: &mut Random, count: usize, modes: &[Mode]) -> Model {
        let items = (0..count).map(|id| {
            let after: Vec<usize> = (0..id).filter(|_| random.below(3) == 0).collect();
            let mode = modes[usize::try_from(random.below(modes.len() as u64)).expect("small")];
            item(
                &format!("i{id}"),
                mode,
                &after,
                &[Act::Sleep(random.below(50) * MS)],
            )
        });
        model(items.collect(), 1)
    }

    #[test]
    fn sleeping_graphs_end_with_their_longest_way() {
        let mut numbers = Random(7);
        for _ in 0..500 {
            let graph = random(&mut numbers, 8, &[Mode::Async, Mode::Deferred]);
            let prediction = graph.run().expect("no cycle");
            for id in 0..8 {
                assert_eq!(prediction.items[id].2, longest(&graph, id), "{graph:?}");
            }
            assert_eq!(prediction.init_ns, 0);
        }
    }

    /// The same of graphs with direct items, which the starter runs one after the other, by going through them.
    fn by_hand(model: &Model) -> (u64, Vec<u64>) {
        let order = model.order().expect("no cycle");
        let mut starter = 0;
        let mut reached = vec![0; order.len()];
        let mut ends: Vec<Option<u64>> = vec![None; order.len()];
        for id in order {
            let before = |ends: &[Option<u64>]| {
                let all = model.items[id].after.iter().map(|before| ends[*before]);
                all.map(|end| end.expect("it is before in the order")).max()
            };
            let sleep = model.items[id]
                .acts
                .iter()
                .map(|act| match act {
                    Act::Sleep(nanoseconds) => *nanoseconds,
                    _ => 0,
                })
                .sum::<u64>();
            reached[id] = starter;
            let begin = starter.max(before(&ends).unwrap_or(0));
            ends[id] = Some(begin + sleep);
            if model.items[id].mode == Mode::Direct {
                starter = begin + sleep;
            }
        }
        (
            starter,
            ends.into_iter().map(|end| end.expect("all")).collect(),
        )
    }

    #[test]
    fn graphs_with_direct_items_are_as_gone_through_by_hand() {
        let mut numbers = Random(11);
        for _ in 0..500 {
            let graph = random(&mut numbers, 7, &CHOICES);
            let prediction = graph.run().expect("no cycle");
            let (init, ends) = by_hand(&graph);
            let found: Vec<u64> = prediction.items.iter().map(|times| times.2).collect();
            assert_eq!((prediction.init_ns, found), (init, ends), "{graph:?}");
        }
    }

    #[test]
    fn search_by_steps_finds_what_trying_all_finds() {
        let mut numbers = Random(23);
        for _ in 0..60 {
            let mut graph = random(&mut numbers, 5, &CHOICES);
            // One that stays direct makes the choice matter.
            graph.items[4].mode = Mode::Direct;
            let all = graph.search(&[0, 1, 2, 3]).expect("no cycle");
            let steps = graph.search_by_steps(&[0, 1, 2, 3]).expect("no cycle");
            assert!(all.is_exhaustive && !steps.is_exhaustive);
            assert_eq!(
                (steps.prediction.init_ns, steps.prediction.makespan_ns),
                (all.prediction.init_ns, all.prediction.makespan_ns),
                "{graph:?}"
            );
            assert!(all.prediction.init_ns <= graph.run().expect("no cycle").init_ns);
        }
    }
}
