// SPDX-License-Identifier: GPL-2.0-only

//! Follows timers, works, initcalls and items through a trace.
//!
//! In: all records of one trace, in the order of time. Out: a [`Job`] for each, linked to what armed it, to what called
//! it, and to what woke it. Memory grows with the jobs and their waits, not with the records.
//! What a delayed work's timer queues is found in the trace, not by the layout of a structure: it is what the timer's
//! callback queues.
//! Source: `__queue_work()` and `process_one_work()` in `kernel/workqueue.c`, `call_timer_fn()` in
//! `kernel/time/timer.c`, `do_one_initcall()` in `init/main.c`, Linux 7.3; the module's `item_events.h`.

use std::collections::HashMap;

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::symbols::Symbols;

use crate::events::{Happening, Reader};
use crate::job::{
    Activated, ArmedTimer, Asked, Context, End, ExpiredTimer, Hrtimer, ItemKey, Job, JobId, Kind,
    Off, Point, QueueLife, Start, SwitchedIn, TimerLife, Wake,
};
use crate::oracle::Oracle;
use crate::ticks::Observed;

/// A hash that is made for each record.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// `enum trace_flag_type`, `include/linux/trace_events.h`, Linux 7.3: in a hard interrupt, or an NMI.
const HARD: u8 = 0x08 | 0x40;

/// The same: in a soft interrupt.
const SOFT: u8 = 0x10;

/// What a delayed work's timer calls.
const DELAYED_WORK: &str = "delayed_work_timer_fn";

/// Follows the records of one trace.
#[derive(Debug)]
pub struct Collector<'a> {
    reader: Reader,
    symbols: &'a Symbols,
    is_delayed_work: Map<u64, bool>,
    /// When each phase begins, in order.
    phases: &'a [u64],
    pub(crate) jobs: Vec<Job>,
    /// By address, the jobs that have not expired.
    timers: Map<u64, JobId>,
    /// By address, the jobs that have not started.
    works: Map<u64, JobId>,
    hrtimers: Map<u64, (u64, Option<JobId>)>,
    /// The last attempt of each item.
    items: Map<ItemKey, JobId>,
    lanes: Map<Lane, LaneState>,
    cpus: Map<u32, CpuState>,
    pub(crate) workqueues: Vec<String>,
    workqueue_places: HashMap<String, u32>,
    active: Map<(u32, i64), u32>,
    pub(crate) ticks: Observed,
    pub(crate) oracle: Oracle,
    pub(crate) losses: Vec<Loss>,
    pub(crate) records: u64,
    pub(crate) span: Option<(u64, u64)>,
}

/// A time in which a CPU lost records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Loss {
    /// The CPU.
    pub cpu: u32,
    /// Its last record before.
    pub from: u64,
    /// Its first record after.
    pub to: u64,
}

/// What runs one thing at a time: a task, a CPU's idle task, a CPU's soft or hard interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Task(i32),
    Idle(u32),
    Interrupt(Context, u32),
}

impl Lane {
    fn context(self) -> Context {
        match self {
            Self::Task(_) | Self::Idle(_) => Context::Task,
            Self::Interrupt(context, _) => context,
        }
    }

    fn of(record: &Record<'_>) -> Self {
        match context(record) {
            Context::Task => Self::task(record.pid, record.cpu),
            interrupt => Self::Interrupt(interrupt, record.cpu),
        }
    }

    fn task(pid: i32, cpu: u32) -> Self {
        if pid == 0 {
            Self::Idle(cpu)
        } else {
            Self::Task(pid)
        }
    }
}

fn context(record: &Record<'_>) -> Context {
    if record.flags & HARD != 0 {
        Context::Hard
    } else if record.flags & SOFT != 0 {
        Context::Soft
    } else {
        Context::Task
    }
}

#[derive(Debug, Default)]
struct LaneState {
    /// What runs, the outermost first.
    running: Vec<JobId>,
    /// The functions that are traced and have not returned.
    functions: Vec<u64>,
    /// An item that has just ended, while what called it goes on.
    just_ended: Option<JobId>,
    /// What was queued by the last record here.
    just_queued: Option<JobId>,
    /// An item whose arming has begun.
    arming: Option<JobId>,
    /// The last work that ended here.
    executed: Option<(JobId, u64)>,
    /// Of a task: how it came to its CPU.
    wake: Option<Wake>,
    switched_in: Option<SwitchedIn>,
}

impl LaneState {
    /// What a new job comes from.
    fn cause(&self) -> Option<JobId> {
        self.just_ended.or(self.running.last().copied())
    }

    /// What wakes others: the end of something does not.
    fn waker(&self) -> Option<JobId> {
        self.running.last().copied().or(self.just_ended)
    }

    fn leave(&mut self, job: JobId) {
        if let Some(place) = self.running.iter().rposition(|running| *running == job) {
            // What it called has ended with it, whatever the trace says.
            self.running.truncate(place);
            self.just_ended = None;
        }
    }
}

#[derive(Debug)]
struct CpuState {
    current: i32,
    first: u64,
    last: u64,
    /// The item that the module says is being queued.
    queueing: Option<ItemKey>,
    /// The function of the high-resolution timer that expires.
    hrtimer: Option<Hrtimer>,
    /// The last jiffy at which timers expired, and how many.
    expired: (u64, u32),
    /// Whether an item has ended in an interrupt that may go on.
    interrupted: bool,
}

impl Default for CpuState {
    fn default() -> Self {
        Self {
            current: 0,
            first: u64::MAX,
            last: 0,
            queueing: None,
            hrtimer: None,
            expired: (0, 0),
            interrupted: false,
        }
    }
}

impl<'a> Collector<'a> {
    /// Follows a trace with these formats and symbols, whose phases begin at `phases`.
    #[must_use]
    pub fn new(
        formats: &Formats,
        symbols: &'a Symbols,
        phases: &'a [u64],
        hz: Option<u32>,
    ) -> Self {
        Self {
            reader: Reader::new(formats),
            symbols,
            is_delayed_work: Map::default(),
            phases,
            jobs: Vec::new(),
            timers: Map::default(),
            works: Map::default(),
            hrtimers: Map::default(),
            items: Map::default(),
            lanes: Map::default(),
            cpus: Map::default(),
            workqueues: Vec::new(),
            workqueue_places: HashMap::new(),
            active: Map::default(),
            ticks: Observed::default(),
            oracle: Oracle::new(hz),
            losses: Vec::new(),
            records: 0,
            span: None,
        }
    }

    /// Says that records of its CPU were lost before the next one.
    pub fn lost(&mut self, record: &Record<'_>) {
        let from = self.cpus.get(&record.cpu).map_or(0, |cpu| cpu.last);
        self.losses.push(Loss {
            cpu: record.cpu,
            from,
            to: record.timestamp_ns,
        });
    }

    /// Says that the kernel counted lost records of a CPU. Where no place is marked they are those before its first
    /// record, or those behind its last one.
    pub fn lost_unmarked(&mut self, cpu: u32) {
        if self.losses.iter().any(|loss| loss.cpu == cpu) {
            return;
        }
        let (first, last) = self
            .cpus
            .get(&cpu)
            .map_or((u64::MAX, 0), |cpu| (cpu.first, cpu.last));
        self.losses.push(Loss {
            cpu,
            from: 0,
            to: first,
        });
        self.losses.push(Loss {
            cpu,
            from: last,
            to: u64::MAX,
        });
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Record<'_>) {
        self.records = self.records.saturating_add(1);
        let at = record.timestamp_ns;
        let (first, last) = *self.span.get_or_insert((at, at));
        self.span = Some((first, last.max(at)));
        let cpu = self.cpus.entry(record.cpu).or_default();
        cpu.first = cpu.first.min(at);
        cpu.last = at;
        let lane = Lane::of(record);
        if cpu.interrupted && lane.context() == Context::Task {
            cpu.interrupted = false;
            for context in [Context::Soft, Context::Hard] {
                if let Some(state) = self.lanes.get_mut(&Lane::Interrupt(context, record.cpu)) {
                    state.just_ended = None;
                }
            }
        }
        match record.event {
            Event::FuncgraphEntry { function, .. } => {
                self.lanes.entry(lane).or_default().functions.push(function);
            }
            Event::FuncgraphExit { function, .. } => {
                let functions = &mut self.lanes.entry(lane).or_default().functions;
                if let Some(place) = functions.iter().rposition(|open| *open == function) {
                    functions.truncate(place);
                }
            }
            Event::Function { .. } | Event::Print { .. } => {}
            Event::Other(_) => {
                if let Some(happening) = self.reader.read(record) {
                    self.happens(&happening, record, lane);
                }
            }
        }
    }

    pub(crate) fn cpus(&self) -> usize {
        self.cpus.len()
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    fn happens(&mut self, happening: &Happening<'_>, record: &Record<'_>, lane: Lane) {
        let point = Point {
            at: record.timestamp_ns,
            cpu: record.cpu,
            pid: record.pid,
        };
        let queued = self.lanes.entry(lane).or_default().just_queued.take();
        match *happening {
            Happening::TimerStart {
                timer,
                function,
                expires,
                bucket,
                now,
                flags,
            } => {
                let armed = ArmedTimer {
                    point,
                    expires,
                    bucket,
                    now,
                    flags,
                };
                self.timer_start(timer, function, armed, lane);
            }
            Happening::TimerCancel { timer } => {
                // An expiry takes it out of the wheel as well; it says so next.
                if let Some(job) = self.timers.get(&timer).copied() {
                    self.update(job, |job| job.cancelled = Some(point.at));
                }
            }
            Happening::TimerExpire {
                timer,
                function,
                now,
                base_clock,
            } => self.timer_expires(timer, function, point, (now, base_clock), lane),
            Happening::TimerDone { timer } => self.timer_done(timer, point, lane),
            Happening::HrtimerStart {
                hrtimer,
                expires,
                soft_expires,
            } => {
                let slack = expires.saturating_sub(soft_expires);
                let arming = self.lanes.entry(lane).or_default().arming.take();
                self.hrtimers.insert(hrtimer, (slack, arming));
            }
            Happening::HrtimerExpire { hrtimer, function } => {
                let slack = self.hrtimers.remove(&hrtimer).map(|(slack, _)| slack);
                self.cpus.entry(point.cpu).or_default().hrtimer = Some(Hrtimer { function, slack });
            }
            Happening::HrtimerDone => self.cpus.entry(point.cpu).or_default().hrtimer = None,
            Happening::Queue {
                work,
                function,
                workqueue,
                cpu,
            } => self.queue(work, function, workqueue, cpu, point, lane),
            Happening::Activate { work } => self.activate(work, point, lane, queued),
            Happening::Execute { work, function } => self.execute(work, function, point, lane),
            Happening::Executed { work } => self.executed(work, point, lane),
            Happening::Switch {
                previous,
                state,
                next,
            } => self.switch(previous, state, next, point),
            Happening::Wake { pid, cpu } => self.wake(pid, cpu, point, record, lane),
            Happening::InitcallStart { function } => self.initcall(function, point, lane),
            Happening::InitcallDone { function, returned } => {
                self.initcall_done(function, returned, point, lane);
            }
            Happening::ItemArmed {
                id,
                time,
                delay_ns,
                delay_jiffies,
            } => {
                let point = Point { at: time, ..point };
                self.item_armed(id, point, (delay_ns, delay_jiffies), lane);
            }
            Happening::ItemQueued { id } => {
                let key = self.key(id, point.at);
                self.cpus.entry(point.cpu).or_default().queueing = Some(key);
            }
            Happening::ItemStarted { id, time } => {
                self.item_started(id, Point { at: time, ..point }, lane);
            }
            Happening::ItemRetried { id, time, error } => {
                self.item_over(id, time, error, true, point, lane);
            }
            Happening::ItemEnded { id, time, error } => {
                self.item_over(id, time, error, false, point, lane);
            }
            Happening::ItemCancelled { id, time } => {
                let key = self.key(id, point.at);
                if let Some(job) = self.items.get(&key).copied() {
                    self.update(job, |job| job.cancelled = Some(time));
                }
            }
        }
    }

    fn add(&mut self, job: Job) -> JobId {
        // More than four billion jobs do not fit into any memory.
        let id = JobId(u32::try_from(self.jobs.len()).unwrap_or(u32::MAX));
        self.jobs.push(job);
        id
    }

    fn update(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        let place = usize::try_from(id.0).unwrap_or(usize::MAX);
        if let Some(job) = self.jobs.get_mut(place) {
            change(job);
        }
    }

    fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(usize::try_from(id.0).ok()?)
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        self.lanes.entry(lane).or_default()
    }

    fn key(&self, id: u32, at: u64) -> ItemKey {
        let begun = self.phases.partition_point(|begin| *begin <= at);
        ItemKey {
            phase: u16::try_from(begun.saturating_sub(1)).unwrap_or(u16::MAX),
            id,
        }
    }

    fn queues_work(&mut self, function: u64) -> bool {
        let symbols = self.symbols;
        *self.is_delayed_work.entry(function).or_insert_with(|| {
            symbols
                .resolve(function)
                .is_some_and(|found| found.name == DELAYED_WORK)
        })
    }

    /// The item that is being armed here, if any: what is armed or queued next is for it.
    fn take_arming(&mut self, lane: Lane) -> Option<ItemKey> {
        let arming = self.lane(lane).arming.take()?;
        self.job(arming)?.item
    }

    fn timer_start(&mut self, timer: u64, function: u64, armed: ArmedTimer, lane: Lane) {
        self.ticks.take(armed.point.at, armed.now);
        // While a base's timers expire, its clock is one ahead of the bucket that is being emptied.
        let running = self.lane(lane).running.last().copied();
        let base_clock = running
            .and_then(|job| self.job(job)?.timer?.expired)
            .map(|expired| expired.base_clock.wrapping_add(1));
        let due = self.timers.values().filter_map(|job| {
            let place = usize::try_from(job.0).ok()?;
            self.jobs.get(place)?.timer?.armed.map(|armed| armed.bucket)
        });
        self.oracle.armed(&armed, base_clock, due);
        let kind = if self.queues_work(function) {
            Kind::Work
        } else {
            Kind::Timer
        };
        let item = self.take_arming(lane);
        let parent = self.lane(lane).cause();
        let job = self.add(Job {
            address: timer,
            function,
            item,
            parent,
            timer: Some(TimerLife {
                armed: Some(armed),
                expired: None,
            }),
            ..Job::new(kind)
        });
        if let Some(replaced) = self.timers.insert(timer, job) {
            self.update(replaced, |job| {
                job.cancelled.get_or_insert(armed.point.at);
            });
        }
    }

    fn timer_expires(
        &mut self,
        timer: u64,
        function: u64,
        point: Point,
        (now, base_clock): (u64, u64),
        lane: Lane,
    ) {
        self.ticks.take(point.at, now);
        let cpu = self.cpus.entry(point.cpu).or_default();
        let (of, count) = cpu.expired;
        let before = if of == now { count } else { 0 };
        cpu.expired = (now, before.saturating_add(1));
        let kind = if self.queues_work(function) {
            Kind::Work
        } else {
            Kind::Timer
        };
        let expired = ExpiredTimer {
            point,
            now,
            base_clock,
            before,
        };
        let job = match self.timers.remove(&timer) {
            Some(job) => job,
            None => self.add(Job {
                address: timer,
                function,
                timer: Some(TimerLife {
                    armed: None,
                    expired: None,
                }),
                ..Job::new(kind)
            }),
        };
        let mut armed = None;
        self.update(job, |job| {
            job.cancelled = None;
            if let Some(life) = &mut job.timer {
                life.expired = Some(expired);
                armed = life.armed;
            }
            if kind == Kind::Timer {
                job.start = Some(Start {
                    point,
                    context: lane.context(),
                    wake: None,
                    switched_in: None,
                    previous: None,
                });
            }
        });
        self.oracle.expired(job, armed.as_ref(), &expired);
        self.lane(lane).running.push(job);
    }

    fn timer_done(&mut self, timer: u64, point: Point, lane: Lane) {
        let state = self.lane(lane);
        let found = state.running.last().copied();
        let Some(job) = found else {
            return;
        };
        let mut is_it = false;
        self.update(job, |job| {
            is_it = job.timer.is_some() && (job.address == timer || job.queue.is_some());
            if is_it && job.kind == Kind::Timer {
                job.end = Some(End {
                    at: point.at,
                    status: None,
                    is_retried: false,
                });
            }
        });
        if is_it {
            self.lane(lane).leave(job);
        }
    }

    fn queue(
        &mut self,
        work: u64,
        function: u64,
        workqueue: &str,
        cpu: i64,
        point: Point,
        lane: Lane,
    ) {
        let workqueue = self.workqueue(workqueue);
        let queueing = self.cpus.entry(point.cpu).or_default().queueing.take();
        let active = self.active.get(&(workqueue, cpu)).copied().unwrap_or(0);
        let life = QueueLife {
            queued: point,
            workqueue,
            cpu,
            active,
            activated: None,
        };
        let arming = self.take_arming(lane);
        let cause = self.lane(lane).cause();
        // The callback of a delayed work's timer queues that work and nothing else.
        let by_timer = self.lane(lane).running.last().copied().filter(|running| {
            self.jobs
                .get(usize::try_from(running.0).unwrap_or(usize::MAX))
                .is_some_and(|job| {
                    job.kind == Kind::Work && job.timer.is_some() && job.queue.is_none()
                })
        });
        let id = match by_timer {
            Some(job) => job,
            None => self.add(Job {
                parent: cause,
                ..Job::new(Kind::Work)
            }),
        };
        self.update(id, |job| {
            job.address = work;
            job.function = function;
            job.queue = Some(life);
            job.item = job.item.or(queueing).or(arming);
        });
        self.works.insert(work, id);
        self.lane(lane).just_queued = Some(id);
    }

    fn workqueue(&mut self, name: &str) -> u32 {
        if let Some(place) = self.workqueue_places.get(name) {
            return *place;
        }
        let place = u32::try_from(self.workqueues.len()).unwrap_or(u32::MAX);
        self.workqueues.push(name.to_owned());
        self.workqueue_places.insert(name.to_owned(), place);
        place
    }

    fn activate(&mut self, work: u64, point: Point, lane: Lane, queued: Option<JobId>) {
        let Some(job) = self.works.get(&work).copied() else {
            return;
        };
        let has_waited = queued != Some(job);
        let state = self.lane(lane);
        let by = if has_waited {
            state.executed.map(|(job, _)| job).or(state.cause())
        } else {
            None
        };
        let mut place = None;
        self.update(job, |job| {
            if let Some(queue) = &mut job.queue {
                queue.activated = Some(Activated {
                    at: point.at,
                    has_waited,
                    by,
                });
                place = Some((queue.workqueue, queue.cpu));
            }
        });
        if let Some(place) = place {
            let active = self.active.entry(place).or_default();
            *active = active.saturating_add(1);
        }
    }

    fn execute(&mut self, work: u64, function: u64, point: Point, lane: Lane) {
        let job = match self.works.remove(&work) {
            Some(job) => job,
            None => self.add(Job {
                address: work,
                function,
                ..Job::new(Kind::Work)
            }),
        };
        let state = self.lane(lane);
        let start = Start {
            point,
            context: lane.context(),
            wake: state.wake,
            switched_in: state.switched_in,
            previous: state.executed,
        };
        state.just_ended = None;
        state.running.push(job);
        self.update(job, |job| job.start = Some(start));
    }

    fn executed(&mut self, work: u64, point: Point, lane: Lane) {
        let is_it = |job: &Job| job.kind == Kind::Work && job.address == work;
        let Some(job) = self.ended(is_it, None, point, lane) else {
            return;
        };
        let mut place = None;
        self.update(job, |job| {
            place = job.queue.filter(|queue| queue.activated.is_some());
        });
        if let Some(queue) = place {
            let active = self.active.entry((queue.workqueue, queue.cpu)).or_default();
            *active = active.saturating_sub(1);
        }
    }

    /// Ends the innermost running job that is meant, if there is one.
    fn ended(
        &mut self,
        is_it: impl Fn(&Job) -> bool,
        status: Option<i64>,
        point: Point,
        lane: Lane,
    ) -> Option<JobId> {
        let running = &self.lanes.entry(lane).or_default().running;
        let job = running.iter().rev().copied().find(|id| {
            let place = usize::try_from(id.0).unwrap_or(usize::MAX);
            self.jobs.get(place).is_some_and(&is_it)
        })?;
        self.update(job, |job| {
            job.end = Some(End {
                at: point.at,
                status,
                is_retried: false,
            });
        });
        let state = self.lane(lane);
        state.leave(job);
        state.executed = Some((job, point.at));
        Some(job)
    }

    fn switch(&mut self, previous: i32, state: u64, next: i32, point: Point) {
        let (from, to) = (Lane::task(previous, point.cpu), Lane::task(next, point.cpu));
        let cpu = self.cpus.entry(point.cpu).or_default();
        cpu.current = next;
        let next_job = self.lane(to).running.last().copied();
        let leaving = self.lane(from);
        leaving.wake = None;
        let off = Off {
            from: point.at,
            state,
            function: leaving.functions.last().copied(),
            next,
            next_job,
            wake: None,
            to: None,
        };
        if leaving.running.is_empty() && !off.is_preempted() {
            leaving.just_ended = None;
        }
        let previous_job = leaving.running.last().copied();
        for job in leaving.running.clone() {
            self.update(job, |job| job.offs.push(off));
        }
        let switched_in = SwitchedIn {
            at: point.at,
            after: previous,
            after_job: previous_job,
        };
        let entering = self.lane(to);
        entering.switched_in = Some(switched_in);
        let wake = entering.wake;
        for job in entering.running.clone() {
            self.update(job, |job| {
                if let Some(off) = job.offs.last_mut().filter(|off| off.to.is_none()) {
                    off.to = Some(switched_in);
                    off.wake = wake;
                }
            });
        }
    }

    fn wake(&mut self, pid: i32, target: u32, point: Point, record: &Record<'_>, lane: Lane) {
        let running = self.cpus.get(&target).map_or(0, |cpu| cpu.current);
        let context = context(record);
        let hrtimer = self.cpus.get(&point.cpu).and_then(|cpu| cpu.hrtimer);
        let wake = Wake {
            at: point.at,
            pid: point.pid,
            job: self.lane(lane).waker(),
            context,
            hrtimer: hrtimer.filter(|_| context == Context::Hard),
            running,
        };
        // sched_wakeup follows sched_waking: the first one counts.
        self.lane(Lane::Task(pid)).wake.get_or_insert(wake);
    }

    fn initcall(&mut self, function: u64, point: Point, lane: Lane) {
        let state = self.lane(lane);
        let start = Start {
            point,
            context: lane.context(),
            wake: None,
            switched_in: None,
            previous: state.executed,
        };
        // The one before it in the same task, or what runs it.
        let parent = state
            .running
            .last()
            .copied()
            .or(state.executed.map(|(job, _)| job));
        let job = self.add(Job {
            function,
            parent,
            start: Some(start),
            ..Job::new(Kind::Initcall)
        });
        let state = self.lane(lane);
        state.just_ended = None;
        state.running.push(job);
    }

    fn initcall_done(&mut self, function: u64, returned: i64, point: Point, lane: Lane) {
        let is_it = |job: &Job| job.kind == Kind::Initcall && job.function == function;
        self.ended(is_it, Some(returned), point, lane);
    }

    fn item_armed(&mut self, id: u32, point: Point, delay: (u64, u64), lane: Lane) {
        let key = self.key(id, point.at);
        let parent = self.lane(lane).cause();
        let job = self.add(Job {
            item: Some(key),
            parent,
            asked: Some(Asked {
                point,
                delay: Some(delay),
            }),
            ..Job::new(Kind::Item)
        });
        self.items.insert(key, job);
        self.lane(lane).arming = Some(job);
    }

    fn item_started(&mut self, id: u32, point: Point, lane: Lane) {
        let key = self.key(id, point.at);
        let known = self.items.get(&key).copied().filter(|job| {
            self.job(*job)
                .is_some_and(|job| job.start.is_none() && job.cancelled.is_none())
        });
        let job = match known {
            Some(job) => job,
            None => self.add(Job {
                item: Some(key),
                ..Job::new(Kind::Item)
            }),
        };
        self.items.insert(key, job);
        let state = self.lane(lane);
        state.arming = None;
        state.just_ended = None;
        let start = Start {
            point,
            context: lane.context(),
            wake: state.wake,
            switched_in: state.switched_in,
            previous: state.executed,
        };
        let carrier = state.running.last().copied();
        state.running.push(job);
        self.update(job, |job| {
            job.start = Some(start);
            job.carrier = carrier;
        });
    }

    fn item_over(
        &mut self,
        id: u32,
        time: u64,
        error: i64,
        is_retried: bool,
        point: Point,
        lane: Lane,
    ) {
        let key = self.key(id, point.at);
        let Some(job) = self.items.get(&key).copied() else {
            return;
        };
        let mut attempt = 0;
        self.update(job, |job| {
            job.end = Some(End {
                at: time,
                status: Some(error),
                is_retried,
            });
            attempt = job.attempt;
        });
        let state = self.lane(lane);
        let was_running = state.running.contains(&job);
        state.leave(job);
        if was_running {
            state.just_ended = Some(job);
            if lane.context() != Context::Task {
                self.cpus.entry(point.cpu).or_default().interrupted = true;
            }
        }
        if is_retried {
            let again = self.add(Job {
                item: Some(key),
                parent: Some(job),
                attempt: attempt.saturating_add(1),
                asked: Some(Asked {
                    point: Point { at: time, ..point },
                    delay: None,
                }),
                ..Job::new(Kind::Item)
            });
            self.items.insert(key, again);
        }
    }
}
