// SPDX-License-Identifier: GPL-2.0-only

//! What a trace says of one thing that ran, or was to run: a timer, a work, an initcall, an attempt of an item.
//!
//! In: nothing; plain data, as recorded, with nothing concluded from it. Times are nanoseconds of the trace's clock.

/// Names a job of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u32);

impl JobId {
    /// Its place among all jobs, in the order in which they were first seen.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One attempt of an item of the module's workload.
    Item,
    /// One execution of a `work_struct`, with the timer that queued it if it was delayed.
    Work,
    /// One expiry of a timer that queues no work.
    Timer,
    /// A call of an initcall, or of a module's init.
    Initcall,
}

/// An item of the module's workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// The phase, by its place among those the analysis was told of.
    pub phase: u16,
    /// Its id in the phase.
    pub id: u32,
}

/// A moment, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at: u64,
    /// On which CPU.
    pub cpu: u32,
    /// In which task, or in an interrupt of it.
    pub pid: i32,
}

/// One job.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is.
    pub kind: Kind,
    /// Of its work or timer; 0 of others.
    pub address: u64,
    /// What is called; 0 of items.
    pub function: u64,
    /// The item that it is an attempt of, or that it was armed or queued for.
    pub item: Option<ItemKey>,
    /// Which attempt of its item it is, from 1.
    pub attempt: u32,
    /// What ran, or had just ended, where it was armed or queued.
    pub parent: Option<JobId>,
    /// Of an item: the job that called it.
    pub carrier: Option<JobId>,
    /// When it was asked for.
    pub asked: Option<Asked>,
    /// Its timer.
    pub timer: Option<TimerLife>,
    /// Its way through its workqueue.
    pub queue: Option<QueueLife>,
    /// When it began to run.
    pub start: Option<Start>,
    /// When it did not run in between.
    pub offs: Vec<Off>,
    /// When it ended.
    pub end: Option<End>,
    /// When it was taken back.
    pub cancelled: Option<u64>,
}

/// The request for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When and where.
    pub point: Point,
    /// The delay, where an item says so: in nanoseconds, and as it was handed to the kernel, in jiffies.
    pub delay: Option<(u64, u64)>,
}

/// The life of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerLife {
    /// When it was armed; none if that was before the trace.
    pub armed: Option<ArmedTimer>,
    /// When it expired.
    pub expired: Option<ExpiredTimer>,
}

/// `timer_start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArmedTimer {
    /// When and where.
    pub point: Point,
    /// When it is to expire, in jiffies.
    pub expires: u64,
    /// When its bucket is emptied, in jiffies.
    pub bucket: u64,
    /// jiffies then.
    pub now: u64,
    /// `timer_list.flags`.
    pub flags: u64,
}

impl ArmedTimer {
    /// `TIMER_DEFERRABLE`, `include/linux/timer.h`, Linux 7.3: it waits for a tick of a CPU that is not idle.
    const DEFERRABLE: u64 = 0x0008_0000;

    /// Whether it may come late.
    #[must_use]
    pub fn is_deferrable(&self) -> bool {
        self.flags & Self::DEFERRABLE != 0
    }
}

/// `timer_expire_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredTimer {
    /// When and where.
    pub point: Point,
    /// jiffies then.
    pub now: u64,
    /// The jiffy whose bucket the kernel was emptying.
    pub base_clock: u64,
    /// How many timers had expired in the same softirq before it.
    pub before: u32,
}

/// The way through a workqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLife {
    /// `workqueue_queue_work`.
    pub queued: Point,
    /// The queue's name, by its place in the table of the analysis.
    pub workqueue: u32,
    /// The CPU whose workers are to run it; negative if the queue is unbound.
    pub cpu: i64,
    /// Works of the queue that were active then.
    pub active: u32,
    /// `workqueue_activate_work`.
    pub activated: Option<Activated>,
}

/// `workqueue_activate_work`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activated {
    /// When.
    pub at: u64,
    /// Whether it had to wait for that.
    pub has_waited: bool,
    /// The work whose end activated it.
    pub by: Option<JobId>,
}

/// The begin of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// When and where.
    pub point: Point,
    /// In what.
    pub context: Context,
    /// What woke the task that runs it.
    pub wake: Option<Wake>,
    /// When that task got its CPU the last time before.
    pub switched_in: Option<SwitchedIn>,
    /// What the same task ran before, and when that ended.
    pub previous: Option<(JobId, u64)>,
}

/// A task gets a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchedIn {
    /// When.
    pub at: u64,
    /// The task that had it.
    pub after: i32,
    /// What that one ran.
    pub after_job: Option<JobId>,
}

/// A task is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: u64,
    /// By which task, or in an interrupt of it.
    pub pid: i32,
    /// By which job.
    pub job: Option<JobId>,
    /// In what.
    pub context: Context,
    /// The high-resolution timer that did it.
    pub hrtimer: Option<Hrtimer>,
    /// The task that had the CPU it was to run on.
    pub running: i32,
}

/// The kernel's context of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// A task.
    Task,
    /// A soft interrupt.
    Soft,
    /// A hard interrupt.
    Hard,
}

/// A high-resolution timer that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hrtimer {
    /// What is called.
    pub function: u64,
    /// How much later than asked for it may come, in nanoseconds; none if its start was not recorded.
    pub slack: Option<u64>,
}

/// A time in which a job's task had no CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off {
    /// From when.
    pub from: u64,
    /// The task's state, as `sched_switch` has it.
    pub state: u64,
    /// The innermost traced function that it was in.
    pub function: Option<u64>,
    /// Who had the CPU next.
    pub next: i32,
    /// What that one ran.
    pub next_job: Option<JobId>,
    /// What woke it.
    pub wake: Option<Wake>,
    /// When it had a CPU again.
    pub to: Option<SwitchedIn>,
}

impl Off {
    /// `TASK_REPORT`, `include/linux/sched.h`, Linux 7.3: the states in which a task waits. One that has none of them was
    /// preempted.
    const WAITING: u64 = 0xff;

    /// Whether it lost the CPU rather than gave it away.
    #[must_use]
    pub fn is_preempted(&self) -> bool {
        self.state & Self::WAITING == 0
    }
}

/// The end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: u64,
    /// What it returned: of items and initcalls.
    pub status: Option<i64>,
    /// Whether the item is called again.
    pub is_retried: bool,
}

impl Job {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            address: 0,
            function: 0,
            item: None,
            attempt: 1,
            parent: None,
            carrier: None,
            asked: None,
            timer: None,
            queue: None,
            start: None,
            offs: Vec::new(),
            end: None,
            cancelled: None,
        }
    }

    /// When the trace first knows of it.
    #[must_use]
    pub fn begin(&self) -> Option<u64> {
        let armed = self.timer.and_then(|timer| Some(timer.armed?.point.at));
        let expired = self.timer.and_then(|timer| Some(timer.expired?.point.at));
        [
            self.asked.map(|asked| asked.point.at),
            armed,
            expired,
            self.queue.map(|queue| queue.queued.at),
            self.start.map(|start| start.point.at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the trace last knows of it.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let ended = self.end.map(|end| end.at).or(self.cancelled);
        ended.or_else(|| {
            let expired = self.timer.and_then(|timer| Some(timer.expired?.point.at));
            [
                self.begin(),
                expired,
                self.queue.and_then(|queue| Some(queue.activated?.at)),
                self.start.map(|start| start.point.at),
            ]
            .into_iter()
            .flatten()
            .max()
        })
    }
}
