// SPDX-License-Identifier: GPL-2.0-only

//! One item: its state, its record, and the ways in which the kernel runs it.
//!
//! An item is armed once, runs once or several times, and is finished once: it has ended, or was
//! taken back. All of that may happen in an interrupt, so there are no locks: a change of `state`
//! decides who may go on.

use kernel::{
    impl_has_delayed_work, impl_has_hr_timer,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Arc,
        ArcBorrow, //
    },
    time::{
        hrtimer::{
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    },
    workqueue::{
        DelayedWork,
        WorkItem, //
    },
};

use crate::{
    body::deferred_item_body,
    ffi,
    plan::{
        ItemPlan,
        Kind,
        Mode,
        DEFER_FOREVER, //
    },
    workload::Workload,
};

/// Where an item is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum State {
    /// Not armed: it waits for the trigger, or for the items it comes after.
    Idle,
    /// The kernel has it, or gets it right now.
    Armed,
    /// It is being called.
    Running,
    /// It has ended or was taken back, and is never called again.
    Finished,
}

/// What happened to an item. A time is 0 where it did not.
pub(crate) struct Record {
    pub(crate) armed_ns: Atomic<u64>,
    pub(crate) expires_jiffies: Atomic<u64>,
    pub(crate) queued_ns: Atomic<u64>,
    pub(crate) started_ns: Atomic<u64>,
    pub(crate) ended_ns: Atomic<u64>,
    pub(crate) cancelled_ns: Atomic<u64>,
    pub(crate) cpu: Atomic<i32>,
    pub(crate) pid: Atomic<i32>,
    pub(crate) attempts: Atomic<u32>,
    pub(crate) error: Atomic<i32>,
}

impl Record {
    fn new() -> Self {
        Self {
            armed_ns: Atomic::new(0),
            expires_jiffies: Atomic::new(0),
            queued_ns: Atomic::new(0),
            started_ns: Atomic::new(0),
            ended_ns: Atomic::new(0),
            cancelled_ns: Atomic::new(0),
            cpu: Atomic::new(0),
            pid: Atomic::new(0),
            attempts: Atomic::new(0),
            error: Atomic::new(0),
        }
    }
}

/// One piece of work.
#[pin_data]
pub(crate) struct Item {
    pub(crate) id: u32,
    pub(crate) plan: ItemPlan,
    state: Atomic<i32>,
    pub(crate) record: Record,
    /// How many of the items it comes after are not finished.
    pub(crate) missing: Atomic<u32>,
    /// The next one in a list of items that are ready to be armed.
    pub(crate) next_ready: Atomic<u32>,
    /// Whether somebody is about to give it to the kernel: see `Workload::arm_ready`.
    pub(crate) is_arming: Atomic<bool>,
    /// Whether the items that come after it know that it is finished.
    pub(crate) is_released: Atomic<bool>,
    /// Whether another item has completed its wait.
    pub(crate) is_completed: Atomic<bool>,
    /// What only some modes need.
    pub(crate) own: ffi::Own,
    #[pin]
    work: DelayedWork<Item>,
    #[pin]
    timer: HrTimer<Item>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Item { self.work }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Item { mode: RelativeMode<Monotonic>, field: self.timer }
}

impl WorkItem for Item {
    type Pointer = Arc<Item>;

    fn run(this: Arc<Item>) {
        deferred_run_item(&this);
    }
}

impl HrTimerCallback for Item {
    type Pointer<'a> = Arc<Item>;

    fn run(
        this: ArcBorrow<'_, Item>,
        mut context: HrTimerCallbackContext<'_, Self>,
    ) -> HrTimerRestart {
        match deferred_run_item(&this) {
            Outcome::Finished => HrTimerRestart::NoRestart,
            Outcome::Again => {
                context.forward_now(this.delay());
                HrTimerRestart::Restart
            }
        }
    }
}

/// What is to become of an item that was called.
pub(crate) enum Outcome {
    /// It is not to be called again.
    Finished,
    /// It is: for a work, the queue has it; a timer has to be restarted, a probe deferred.
    Again,
}

impl Item {
    /// Allocates an item that is ready when `missing` others have said so.
    pub(crate) fn new(id: u32, plan: ItemPlan, missing: u32, kind: Kind) -> Result<Arc<Self>> {
        let (work, timer) = ffi::lock_classes(kind);
        let item = Arc::pin_init(
            pin_init!(Self {
                id,
                plan,
                state: Atomic::new(State::Idle as i32),
                record: Record::new(),
                missing: Atomic::new(missing),
                next_ready: Atomic::new(0),
                is_arming: Atomic::new(false),
                is_released: Atomic::new(false),
                is_completed: Atomic::new(false),
                own: ffi::Own::none(),
                work <- DelayedWork::new(c"test_deferred::item", work, c"test_deferred::timer", timer),
                timer <- HrTimer::new(),
            }),
            GFP_KERNEL,
        )?;
        ffi::prepare_timer(&item);
        Ok(item)
    }

    /// Where it is in its life.
    pub(crate) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Idle,
            1 => State::Armed,
            2 => State::Running,
            _ => State::Finished,
        }
    }

    /// Goes from one state to another, if it is in that one.
    pub(crate) fn go(&self, from: State, to: State) -> bool {
        self.state.cmpxchg(from as i32, to as i32, Full).is_ok()
    }

    /// Whether it has ended without an error.
    pub(crate) fn is_bound(&self) -> bool {
        self.state() == State::Finished
            && self.record.ended_ns.load(Relaxed) != 0
            && self.record.error.load(Relaxed) == 0
    }

    fn delay(&self) -> Delta {
        // The plan has bounded it to an hour.
        Delta::from_nanos(self.plan.delay_ns as i64)
    }
}

/// Calls an item: it does what it has to do, or is told that it was taken back.
#[no_mangle]
#[inline(never)]
pub(crate) fn deferred_run_item(item: &Item) -> Outcome {
    let workload = ffi::workload_of(item);
    if !item.go(State::Armed, State::Running) {
        return Outcome::Finished;
    }
    let record = &item.record;
    let attempt = record.attempts.load(Relaxed) + 1;
    record.attempts.store(attempt, Relaxed);
    let start = ffi::trace_started(item.id);
    record.cpu.store(start.cpu, Relaxed);
    record.pid.store(start.pid, Relaxed);
    if attempt == 1 {
        record.started_ns.store(start.time_ns, Relaxed);
        workload.count_started();
    }

    if item.plan.mode == Mode::Probe && must_defer(item, workload, attempt) {
        return retry(item, attempt, EPROBE_DEFER);
    }
    let error = deferred_item_body(item, workload);
    if error == 0 && attempt < item.plan.runs && !workload.is_stopping() {
        return queue_again(item, workload, attempt);
    }
    workload.end(item, error);
    Outcome::Finished
}

/// Whether the probe of an item comes too early.
fn must_defer(item: &Item, workload: &Workload, attempt: u32) -> bool {
    item.plan.defer == DEFER_FOREVER || attempt <= item.plan.defer || !workload.has_suppliers(item)
}

/// Notes that an item will be called again.
fn retry(item: &Item, attempt: u32, error: Error) -> Outcome {
    ffi::trace_retried(item.id, attempt, error.to_errno());
    item.go(State::Running, State::Armed);
    Outcome::Again
}

/// Lets an item run again after its delay.
fn queue_again(item: &Item, workload: &Workload, attempt: u32) -> Outcome {
    let outcome = retry(item, attempt, EAGAIN);
    if item.plan.mode.has_queue() {
        if let Err(error) = workload.enqueue(item) {
            // Nobody else can finish it: the queue does not have it.
            if item.go(State::Armed, State::Running) {
                workload.end(item, error.to_errno());
            }
            return Outcome::Finished;
        }
    }
    outcome
}
