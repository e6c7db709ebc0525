// SPDX-License-Identifier: GPL-2.0-only

//! The items of a load together: arming them in their order, finishing and counting them, and
//! taking them back.
//!
//! Every item is armed by whoever finishes the last of the items it comes after, or by the start of
//! the load, its level or its trigger, if that comes last. A direct item is run by the start alone,
//! which waits for the items it comes after.

use kernel::{
    new_mutex,
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
        Mutex, //
    },
};

use crate::{
    fault::{
        Fault,
        Shared, //
    },
    ffi,
    item::{
        deferred_run_item,
        Item,
        State, //
    },
    plan::{
        Action,
        Mode,
        Plan,
        QueueRef,
        Start, //
    },
};

#[cfg(not(MODULE))]
use crate::plan::Level;

/// How far the items are; `struct test_deferred_progress` of `shim.h`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Progress {
    items: u32,
    armed: u32,
    started: u32,
    ended: u32,
    cancelled: u32,
}

/// What the numbers of a [`Progress`] are read from.
struct Counts {
    armed: Atomic<u32>,
    started: Atomic<u32>,
    ended: Atomic<u32>,
    cancelled: Atomic<u32>,
}

/// The items of one load.
#[pin_data(PinnedDrop)]
pub(crate) struct Workload {
    plan: Plan,
    counts: Counts,
    is_triggered: Atomic<bool>,
    is_stopping: Atomic<bool>,
    /// Held while an item's delay is modified, and while it is taken back: not both at once.
    #[pin]
    modifying: Mutex<()>,
    locks: KVec<Pin<KBox<Mutex<()>>>>,
    shared: Option<Shared>,
    // In the order of their ids.
    items: KVVec<Arc<Item>>,
    queues: KVec<ffi::OwnedQueue>,
    _watch: Option<ffi::Watch>,
    _drivers: Option<ffi::Drivers>,
}

impl Workload {
    /// Allocates the items of `plan`; arms none.
    pub(crate) fn new(plan: Plan) -> Result<Arc<Self>> {
        let mut queues = KVec::with_capacity(plan.queues.len(), GFP_KERNEL)?;
        for queue in &plan.queues {
            queues.push(ffi::OwnedQueue::new(queue)?, GFP_KERNEL)?;
        }
        let mut locks = KVec::with_capacity(plan.locks, GFP_KERNEL)?;
        for _ in 0..plan.locks {
            locks.push(KBox::pin_init(new_mutex!(()), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let mut items = KVVec::with_capacity(plan.items.len(), GFP_KERNEL)?;
        for (id, item) in (0..).zip(&plan.items) {
            // One for the start. There are few enough items for the number to fit.
            let missing = plan.after(item).len() as u32 + 1;
            let kind = plan.kind(item);
            items.push(Item::new(id, *item, missing, kind)?, GFP_KERNEL)?;
        }
        let has = |wanted: fn(Mode) -> bool| plan.items.iter().any(|item| wanted(item.mode));
        let watch = match items.first() {
            // All have the same work function.
            Some(item) if has(Mode::has_queue) => Some(ffi::Watch::new(item)),
            _ => None,
        };
        let drivers = if has(|mode| mode == Mode::Probe) {
            Some(ffi::Drivers::register()?)
        } else {
            None
        };
        let shared = match plan.fault {
            Fault::None => None,
            Fault::Race => Some(Shared::new()),
        };
        let workload = Arc::pin_init(
            pin_init!(Self {
                plan,
                counts: Counts {
                    armed: Atomic::new(0),
                    started: Atomic::new(0),
                    ended: Atomic::new(0),
                    cancelled: Atomic::new(0),
                },
                is_triggered: Atomic::new(false),
                is_stopping: Atomic::new(false),
                modifying <- new_mutex!(()),
                locks,
                shared,
                items,
                queues,
                _watch: watch,
                _drivers: drivers,
            }),
            GFP_KERNEL,
        )?;
        ffi::set_workload(&workload);
        // What fails from here on is undone by the drop.
        for item in &workload.items {
            ffi::prepare_own(item)?;
        }
        Ok(workload)
    }

    /// Whether the load itself arms the items.
    #[cfg(MODULE)]
    pub(crate) fn starts_on_load(&self) -> bool {
        self.plan.start == Start::Load
    }

    /// Arms the items, and runs the direct ones.
    ///
    /// `EINTR` if a signal comes while a direct item waits for the items it comes after.
    pub(crate) fn arm(&self) -> Result {
        self.arm_some(|_| true)
    }

    fn arm_some(&self, is_wanted: impl Fn(&Item) -> bool) -> Result {
        for id in &self.plan.graph.order {
            let Some(item) = self.item(*id).filter(|item| is_wanted(item)) else {
                continue;
            };
            let was_missing = item.missing.fetch_sub(1, Full);
            if item.plan.mode == Mode::Direct {
                ffi::wait(|| item.missing.load(Relaxed) == 0 || self.is_stopping())?;
                self.arm_ready(item);
            } else if was_missing == 1 {
                self.arm_ready(item);
            }
        }
        Ok(())
    }

    /// Arms the items of one initcall level.
    #[cfg(not(MODULE))]
    fn arm_level(&self, level: Level) -> Result {
        self.arm_some(|item| item.plan.level == level)
    }

    /// Arms the items of a plan that waits for a trigger.
    ///
    /// `EINVAL` if the plan does not wait for one, `EBUSY` if this is not the first.
    pub(crate) fn trigger(&self) -> Result {
        if self.plan.start != Start::Trigger {
            return Err(EINVAL);
        }
        if self.is_triggered.xchg(true, Full) {
            return Err(EBUSY);
        }
        crate::deferred_init(self)
    }

    /// An item, by its id.
    pub(crate) fn item(&self, id: u32) -> Option<&Arc<Item>> {
        self.items.get(id as usize)
    }

    /// What an item does.
    pub(crate) fn body(&self, item: &Item) -> &[Action] {
        self.plan.body(&item.plan)
    }

    /// A lock that bodies share.
    pub(crate) fn lock(&self, lock: u32) -> Option<&Mutex<()>> {
        let lock = self.locks.get(lock as usize)?;
        Some(lock)
    }

    /// What every item uses before its body, if the load has that fault.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Whether the module is being unloaded.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Whether all suppliers of an item are bound.
    pub(crate) fn has_suppliers(&self, item: &Item) -> bool {
        let is_bound = |id: &u32| self.item(*id).is_some_and(|item| item.is_bound());
        self.plan.suppliers(&item.plan).iter().all(is_bound)
    }

    /// Ends the wait of an item.
    pub(crate) fn complete(&self, id: u32) {
        if let Some(item) = self.item(id) {
            item.is_completed.xchg(true, Full);
            ffi::wake();
        }
    }

    /// Gives the work of an item to its queue; `ESHUTDOWN` if that was destroyed.
    ///
    /// The queue may have it already, if its delay was modified.
    pub(crate) fn enqueue(&self, item: &Item) -> Result {
        let (Some(work), Some(queue)) = (self.item(item.id), self.queue_of(item)) else {
            return Err(EINVAL);
        };
        queue.enqueue(work)
    }

    fn queue_of(&self, item: &Item) -> Option<ffi::AnyQueue<'_>> {
        match item.plan.queue {
            QueueRef::Own(queue) => self.queues.get(queue as usize).map(ffi::AnyQueue::Own),
            system => ffi::AnyQueue::system(system),
        }
    }

    /// Gives an armed item another delay from now on.
    pub(crate) fn modify(&self, id: u32, delay_ns: u64) {
        let Some(item) = self.item(id) else {
            return;
        };
        let _guard = self.modifying.lock();
        if item.state() == State::Armed && !self.is_stopping() {
            if let Some(queue) = self.queue_of(item) {
                // One whose queue was destroyed was taken back with it.
                let _ = queue.modify(item, delay_ns);
            }
        }
    }

    /// Destroys a queue. Work that is on it runs first; timers that would queue more are stopped.
    pub(crate) fn destroy(&self, id: u32) {
        let Some(queue) = self.queues.get(id as usize) else {
            return;
        };
        if !queue.close() {
            return;
        }
        for item in &self.items {
            let is_on_it = item.plan.mode.has_queue() && item.plan.queue == QueueRef::Own(id);
            if is_on_it && ffi::is_timer_pending(item) {
                self.cancel(item);
            }
        }
        queue.destroy();
    }

    /// Arms an item for which nothing is missing any more, and whatever that makes ready in turn.
    fn arm_ready(&self, item: &Item) {
        let mut ready = Ready::default();
        ready.push(item, self);
        self.arm_all(ready);
    }

    /// Not by recursion: a chain of items that end at once may be as long as a plan.
    fn arm_all(&self, mut ready: Ready) {
        while let Some(item) = ready.pop(self) {
            let was_finished = deferred_arm_item(item, self);
            if was_finished && !item.is_released.xchg(true, Full) {
                self.release_into(item, &mut ready);
            }
        }
    }

    /// Tells the items that come after a finished one.
    fn release(&self, item: &Item) {
        // Whoever is arming it right now does this when it is done with that.
        if item.is_arming.load(Relaxed) || item.is_released.xchg(true, Full) {
            return;
        }
        let mut ready = Ready::default();
        self.release_into(item, &mut ready);
        self.arm_all(ready);
    }

    fn release_into(&self, item: &Item, ready: &mut Ready) {
        for id in self.plan.graph.followers(item.id) {
            let Some(follower) = self.item(*id) else {
                continue;
            };
            let is_last = follower.missing.fetch_sub(1, Full) == 1;
            if is_last && follower.plan.mode != Mode::Direct {
                ready.push(follower, self);
            }
        }
    }

    /// Counts an item that is called for the first time.
    pub(crate) fn count_started(&self) {
        self.counts.started.add(1, Relaxed);
    }

    /// Notes that an item, which is running, has ended with 0 or a negative errno.
    pub(crate) fn end(&self, item: &Item, error: c_int) {
        item.record.error.store(error, Relaxed);
        let now = ffi::trace_ended(item.id, error);
        item.record.ended_ns.store(now, Relaxed);
        item.go(State::Running, State::Finished);
        self.release(item);
        // Counted last: whoever waits for the end may unload the module at once, which waits for
        // whatever runs the item.
        self.counts.ended.add(1, Relaxed);
        ffi::wake();
    }

    /// Takes an item back if it has not been called yet, or waits to be called again; waits for it
    /// if it is running. Must not be called by the item itself.
    pub(crate) fn cancel(&self, item: &Arc<Item>) {
        if self.take_back(item, true) {
            self.release(item);
            ffi::wake();
        }
    }

    /// The same, but items that come after this one are not told. Returns whether it was pending.
    fn take_back(&self, item: &Arc<Item>, is_idle_too: bool) -> bool {
        let mut was_pending = {
            let _guard = self.modifying.lock();
            let was_idle = item.go(State::Idle, State::Finished);
            was_idle && is_idle_too || item.go(State::Armed, State::Finished)
        };
        ffi::reclaim(item);
        if item.plan.mode == Mode::Async {
            if self.is_stopping() {
                ffi::wait_for_async();
            } else {
                ffi::wait_uninterrupted(|| item.state() != State::Running);
            }
        }
        // It may have been called once more meanwhile.
        was_pending |= item.go(State::Armed, State::Finished);
        if was_pending {
            deferred_cancel_item(item);
            self.counts.cancelled.add(1, Relaxed);
        }
        was_pending
    }

    /// How far the items are.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            // There are at most 4096.
            items: self.items.len() as u32,
            armed: self.counts.armed.load(Relaxed),
            started: self.counts.started.load(Relaxed),
            ended: self.counts.ended.load(Relaxed),
            cancelled: self.counts.cancelled.load(Relaxed),
        }
    }

    /// Waits until every item has ended or was taken back, the load is stopped, or a signal arrives.
    pub(crate) fn wait_until_done(&self) -> Progress {
        let is_done = || {
            let progress = self.progress();
            progress.ended + progress.cancelled == progress.items
        };
        // A signal is answered by what there is.
        let _ = ffi::wait(|| is_done() || self.is_stopping());
        self.progress()
    }

    /// Takes back what is pending and waits for what is running; nothing is armed afterwards.
    ///
    /// In the order of the graph: an item can be armed until those it comes after were waited for.
    fn stop(&self) {
        self.is_stopping.xchg(true, Full);
        ffi::wake();
        for id in &self.plan.graph.order {
            if let Some(item) = self.item(*id) {
                self.take_back(item, false);
            }
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Workload {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
        ffi::clear_workload();
    }
}

/// Gives an item to the kernel, or runs it here if it is a direct one.
///
/// Returns whether it is finished, and the items that come after it are to be told by the caller.
#[no_mangle]
#[inline(never)]
fn deferred_arm_item(item: &Arc<Item>, workload: &Workload) -> bool {
    if workload.is_stopping() || !item.go(State::Idle, State::Armed) {
        return false;
    }
    // A probe may run in this call. What runs elsewhere tells the items that come after it itself:
    // this may be an interrupt, where they cannot all be armed.
    item.is_arming.store(
        matches!(item.plan.mode, Mode::Direct | Mode::Probe),
        Relaxed,
    );
    workload.counts.armed.add(1, Relaxed);
    let delay = ffi::timer_delay(item);
    let now = ffi::trace_armed(item.id, item.plan.delay_ns, delay);
    item.record.armed_ns.store(now, Relaxed);
    let given = match item.plan.mode {
        Mode::Direct => {
            deferred_run_item(item);
            Ok(())
        }
        Mode::Delayed | Mode::Work | Mode::Deferrable => workload.enqueue(item),
        Mode::Async => {
            ffi::schedule_async(item);
            Ok(())
        }
        Mode::Kthread => {
            ffi::start_thread(item);
            Ok(())
        }
        Mode::Probe => ffi::add_device(item),
        Mode::Hrtimer => {
            ffi::start_timer(item);
            Ok(())
        }
    };
    if let Err(error) = given {
        item.is_arming.store(true, Relaxed);
        if item.go(State::Armed, State::Running) {
            workload.end(item, error.to_errno());
        }
    }
    // Ordered against the change of state in `end` and `cancel`: one of the two sees the other.
    item.is_arming.xchg(false, Full) && item.state() == State::Finished
}

/// Notes that an item was taken back.
#[no_mangle]
#[inline(never)]
fn deferred_cancel_item(item: &Item) {
    let now = ffi::trace_cancelled(item.id);
    item.record.cancelled_ns.store(now, Relaxed);
}

/// Items that are ready to be armed, first in, first out: a list through the items themselves, each
/// of which is ready only once.
#[derive(Default)]
struct Ready {
    /// The ids of the first and the last one.
    ends: Option<(u32, u32)>,
}

impl Ready {
    fn push(&mut self, item: &Item, workload: &Workload) {
        let first = match self.ends {
            None => item.id,
            Some((first, last)) => {
                if let Some(last) = workload.item(last) {
                    last.next_ready.store(item.id, Relaxed);
                }
                first
            }
        };
        self.ends = Some((first, item.id));
    }

    fn pop<'a>(&mut self, workload: &'a Workload) -> Option<&'a Arc<Item>> {
        let (first, last) = self.ends?;
        let item = workload.item(first)?;
        self.ends = (first != last).then(|| (item.next_ready.load(Relaxed), last));
        Some(item)
    }
}

/// The workload of the kernel image, made when it is first asked for; none if nothing is to run.
#[cfg(not(MODULE))]
pub(crate) fn built_in() -> Option<&'static Arc<Workload>> {
    ffi::built_in_workload(|| {
        let plan = Plan::from_parameters()?;
        if plan.items.is_empty() {
            return Err(ENOENT);
        }
        Workload::new(plan)
    })
}

/// Arms the items of an initcall level in the kernel image.
#[cfg(not(MODULE))]
pub(crate) fn run_level(level: Level) {
    if let Some(workload) = built_in() {
        // There are no signals before there is a process.
        let _ = workload.arm_level(level);
    }
}
