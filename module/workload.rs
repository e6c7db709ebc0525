// SPDX-License-Identifier: GPL-2.0-only

//! The items of a load: arming, running, counting and cancelling them.

use kernel::{
    impl_has_delayed_work,
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    },
    time::Jiffies,
    workqueue::{
        new_delayed_work,
        DelayedWork,
        WorkItem, //
    }, //
};

use crate::{
    body::deferred_item_body,
    ffi,
    plan::{
        Arrangement,
        Mode,
        Plan,
        Start, //
    },
};

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

/// What changes while items run.
struct State {
    progress: Progress,
    triggered: bool,
    stopping: bool,
}

/// What the items of one load share.
#[pin_data]
struct Shared {
    plan: Plan,
    queue: ffi::OwnedQueue,
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
}

/// One piece of work.
#[pin_data]
pub(crate) struct Item {
    id: u32,
    delay: Jiffies,
    shared: Arc<Shared>,
    /// In a chain, the item to arm when this one ends.
    next: Option<Arc<Item>>,
    #[pin]
    work: DelayedWork<Item>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Item>;

    fn run(this: Arc<Item>) {
        deferred_run_item(&this);
    }
}

impl Item {
    /// The item's number, from 0.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

/// Runs an item and, in a chain, arms the next one.
#[no_mangle]
#[inline(never)]
fn deferred_run_item(item: &Arc<Item>) {
    let shared = &item.shared;
    ffi::trace_started(item.id, ffi::now());
    shared.state.lock().progress.started += 1;
    deferred_item_body(shared.plan.body);
    if let Some(next) = &item.next {
        deferred_arm_item(next);
    }
    ffi::trace_ended(item.id, ffi::now(), 0);
    // Counted last: whoever waits for the end may unload the module at once, which waits for
    // this function to return.
    shared.state.lock().progress.ended += 1;
    shared.changed.notify_all();
}

/// Gives an item to the kernel, or runs it here if the plan says so.
#[no_mangle]
#[inline(never)]
fn deferred_arm_item(item: &Arc<Item>) {
    let shared = &item.shared;
    {
        let mut state = shared.state.lock();
        if state.stopping {
            return;
        }
        state.progress.armed += 1;
    }
    let delay_ns = shared.plan.delay_ns(item.id);
    ffi::trace_armed(item.id, ffi::now(), delay_ns, item.delay);
    match shared.plan.mode {
        Mode::Direct => deferred_run_item(item),
        // An item is armed once, so the queue cannot have it already.
        Mode::Delayed => drop(shared.queue.enqueue_delayed(item.clone(), item.delay)),
    }
}

/// Takes an item back if the kernel has not run it yet, and waits for it if it is running.
#[no_mangle]
#[inline(never)]
fn deferred_cancel_item(item: &Arc<Item>) {
    if ffi::cancel_sync(item) {
        ffi::trace_cancelled(item.id, ffi::now());
        item.shared.state.lock().progress.cancelled += 1;
    }
}

/// The items of one load.
pub(crate) struct Workload {
    shared: Arc<Shared>,
    // In the order of their ids. Dropping this from the front frees each item while the next one
    // is still owned here, so freeing a long chain does not recurse.
    items: KVec<Arc<Item>>,
    // In direct mode nothing is queued.
    _watch: Option<ffi::Watch>,
}

impl Workload {
    /// Allocates the items of `plan`; arms none.
    pub(crate) fn new(plan: Plan) -> Result<Arc<Self>> {
        let shared = Arc::pin_init(
            try_pin_init!(Shared {
                plan,
                queue: ffi::OwnedQueue::new(plan.queue)?,
                state <- new_mutex!(State {
                    progress: Progress {
                        items: plan.items,
                        ..Progress::default()
                    },
                    triggered: false,
                    stopping: false,
                }),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )?;
        let items = allocate_items(&plan, &shared)?;
        let watch = match items.first() {
            Some(item) if plan.mode == Mode::Delayed => Some(ffi::Watch::new(item)),
            _ => None,
        };
        let workload = Self {
            shared,
            items,
            _watch: watch,
        };
        Ok(Arc::new(workload, GFP_KERNEL)?)
    }

    /// Arms the items: all of them, or in a chain of delayed items the first.
    pub(crate) fn arm(&self) {
        for item in &self.items {
            deferred_arm_item(item);
            if item.next.is_some() {
                break;
            }
        }
    }

    /// Arms the items of a plan that waits for a trigger.
    ///
    /// `EINVAL` if the plan does not wait for one, `EBUSY` if this is not the first.
    pub(crate) fn trigger(&self) -> Result {
        if self.shared.plan.start != Start::Trigger {
            return Err(EINVAL);
        }
        if core::mem::replace(&mut self.shared.state.lock().triggered, true) {
            return Err(EBUSY);
        }
        crate::deferred_init(self);
        Ok(())
    }

    /// How far the items are.
    pub(crate) fn progress(&self) -> Progress {
        self.shared.state.lock().progress
    }

    /// Waits until every item has ended, the load is stopped, or a signal arrives.
    pub(crate) fn wait_until_done(&self) -> Progress {
        let mut state = self.shared.state.lock();
        while state.progress.ended < state.progress.items && !state.stopping {
            if self.shared.changed.wait_interruptible(&mut state) {
                break;
            }
        }
        state.progress
    }

    /// Cancels what is pending and waits for what is running; nothing is armed afterwards.
    ///
    /// In the order of the ids: an item of a chain can arm the next one until it was waited for.
    pub(crate) fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
        for item in &self.items {
            deferred_cancel_item(item);
        }
    }
}

/// Makes the items of `plan`, in the order of their ids.
fn allocate_items(plan: &Plan, shared: &Arc<Shared>) -> Result<KVec<Arc<Item>>> {
    let mut items = KVec::with_capacity(plan.items as usize, GFP_KERNEL)?;
    // Backwards, because an item of a chain owns the one after it.
    let filled = fill_backwards(&mut items, plan, shared);
    if filled.is_err() {
        // From the newest on: each is freed while the next one is still owned here, so this does
        // not recurse through a chain.
        while items.pop().is_some() {}
    }
    filled?;
    items.reverse();
    Ok(items)
}

fn fill_backwards(items: &mut KVec<Arc<Item>>, plan: &Plan, shared: &Arc<Shared>) -> Result {
    let is_chain = plan.arrangement == Arrangement::Chain && plan.mode == Mode::Delayed;
    for id in (0..plan.items).rev() {
        let delay = ffi::jiffies_from_ns(plan.delay_ns(id));
        let next = if is_chain {
            items.last().cloned()
        } else {
            None
        };
        let item = Arc::pin_init(
            pin_init!(Item {
                id,
                delay,
                shared: shared.clone(),
                next,
                work <- new_delayed_work!("test_deferred::Item::work"),
            }),
            GFP_KERNEL,
        )?;
        ffi::clear_expiry(&item);
        items.push(item, GFP_KERNEL)?;
    }
    Ok(())
}
