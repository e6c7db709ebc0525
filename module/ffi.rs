// SPDX-License-Identifier: GPL-2.0-only

//! Every call into C, and all unsafe code of this module.
//!
//! The declarations below are those of `shim.h`; there are no generated bindings for a header of
//! an out-of-tree module.

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    str::CStr,
    sync::Arc,
    time::Jiffies,
    workqueue::{
        HasWork,
        Queue,
        Work, //
    }, //
};

use core::ffi::c_char as core_c_char;

use crate::{
    plan::QueueKind,
    workload::Item, //
};

extern "C" {
    fn test_deferred_text(which: c_uint) -> *const core_c_char;
    fn test_deferred_now() -> u64;
    fn test_deferred_trace_armed(id: u32, time_ns: u64, delay_ns: u64, delay_jiffies: u64);
    fn test_deferred_trace_started(id: u32, time_ns: u64);
    fn test_deferred_trace_ended(id: u32, time_ns: u64, error: c_int);
    fn test_deferred_trace_cancelled(id: u32, time_ns: u64);
    fn test_deferred_watch_queue(function: bindings::work_func_t) -> c_int;
    fn test_deferred_unwatch_queue();
    fn test_deferred_alloc_queue(
        unbound: bool,
        max_active: c_int,
    ) -> *mut bindings::workqueue_struct;
}

/// The string parameters, in the order of `enum test_deferred_text`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Text {
    Mode,
    Arrangement,
    Body,
    Queue,
    Start,
}

/// The value of a string parameter.
pub(crate) fn text(which: Text) -> &'static CStr {
    // SAFETY: The function has no requirements.
    let text = unsafe { test_deferred_text(which as c_uint) };
    // SAFETY: It returns a NUL-terminated string that lives, unchanged, as long as the module.
    unsafe { CStr::from_ptr(text.cast()) }
}

/// The clock that ftrace stamps its records with, in nanoseconds.
pub(crate) fn now() -> u64 {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_now() }
}

/// Reports that an item is about to be armed.
pub(crate) fn trace_armed(id: u32, time_ns: u64, delay_ns: u64, delay: Jiffies) {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_armed(id, time_ns, delay_ns, delay as u64) }
}

/// Reports that an item runs.
pub(crate) fn trace_started(id: u32, time_ns: u64) {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_started(id, time_ns) }
}

/// Reports that an item is done.
pub(crate) fn trace_ended(id: u32, time_ns: u64, error: c_int) {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_ended(id, time_ns, error) }
}

/// Reports that an item was cancelled.
pub(crate) fn trace_cancelled(id: u32, time_ns: u64) {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_cancelled(id, time_ns) }
}

/// The smallest number of jiffies that is not shorter than `ns`, which is at most an hour.
pub(crate) fn jiffies_from_ns(ns: u64) -> Jiffies {
    // SAFETY: The function has no requirements; it rounds up.
    unsafe { bindings::__usecs_to_jiffies(ns.div_ceil(1000) as c_uint) }
}

/// The queue of a load; an own one is freed when this is dropped.
pub(crate) struct OwnedQueue {
    // INVARIANT: A valid queue, and not freed before this is dropped.
    queue: *mut bindings::workqueue_struct,
    own: bool,
}

// SAFETY: The workqueue functions may be called from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Finds or allocates the queue. `ENOMEM` if it cannot be allocated.
    pub(crate) fn new(kind: QueueKind) -> Result<Self> {
        let (queue, own) = match kind {
            // SAFETY: The system queues are set at boot and never change.
            QueueKind::SystemPercpu => (unsafe { bindings::system_percpu_wq }, false),
            // SAFETY: As above.
            QueueKind::SystemUnbound => (unsafe { bindings::system_dfl_wq }, false),
            // SAFETY: As above.
            QueueKind::SystemHighpri => (unsafe { bindings::system_highpri_wq }, false),
            // SAFETY: As above.
            QueueKind::SystemLong => (unsafe { bindings::system_long_wq }, false),
            QueueKind::Own {
                unbound,
                max_active,
            } => {
                // SAFETY: The function has no requirements; the plan has bounded `max_active`.
                let queue = unsafe { test_deferred_alloc_queue(unbound, max_active as c_int) };
                (queue, true)
            }
        };
        if queue.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: System queues live for ever; an own one is freed by `drop` only.
        Ok(Self { queue, own })
    }
}

impl core::ops::Deref for OwnedQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: By the invariant, the queue is valid for as long as `self` is borrowed.
        unsafe { Queue::from_raw(self.queue) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        if self.own {
            // SAFETY: By the invariant, the queue is valid, and it is ours. Nothing can be queued
            // on it any more: each item owns a reference to the structure that owns this queue,
            // and a pending or running item is owned by the queue.
            unsafe { bindings::destroy_workqueue(self.queue) }
        }
    }
}

/// The `delayed_work` inside an item.
fn delayed_work_of(item: &Arc<Item>) -> *mut bindings::delayed_work {
    let item = Arc::as_ptr(item).cast_mut();
    // SAFETY: The pointer comes from a live `Arc`.
    let work = unsafe { <Item as HasWork<Item>>::raw_get_work(item) };
    // SAFETY: The pointer is that of a field of a live item.
    let work = unsafe { Work::raw_get(work) };
    // SAFETY: An item's work is the `work` field of a `delayed_work`: it is a `DelayedWork`.
    unsafe { kernel::container_of!(work, bindings::delayed_work, work) }
}

/// Cancels a delayed item and waits for it if it is running.
///
/// Returns whether it was still pending: then it has not run and will not. The Rust API of
/// `DelayedWork` (7.3) has no cancel.
pub(crate) fn cancel_sync(item: &Arc<Item>) -> bool {
    // SAFETY: The `delayed_work` was initialised with the item, and lives until we return because
    // we hold the item. Waiting is allowed: the callers run in process context, never on the queue.
    let was_pending = unsafe { bindings::cancel_delayed_work_sync(delayed_work_of(item)) };
    if was_pending {
        // SAFETY: Queueing leaked a reference, to be taken back by the work function; it was
        // pending and is cancelled, so that function will not run and the reference is ours.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(item)) });
    }
    was_pending
}

/// Reports, from now on, whenever the kernel queues an item; `item` is any of them.
pub(crate) fn watch_queue(item: &Arc<Item>) -> Result {
    let dwork = delayed_work_of(item);
    // SAFETY: The pointer is that of a live `delayed_work`, whose function never changes.
    let function = unsafe { (*dwork).work.func };
    // SAFETY: All works with this function are part of an `Item`, as `test_deferred_item_id`
    // requires.
    to_result(unsafe { test_deferred_watch_queue(function) })
}

/// Ends [`watch_queue`]; no report is under way once this returns.
pub(crate) fn unwatch_queue() {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_unwatch_queue() }
}

/// The id of the item that `work` is part of; called by the probe in `shim.c`.
///
/// # Safety
///
/// `work` must be the work of a live [`Item`].
#[no_mangle]
unsafe extern "C" fn test_deferred_item_id(work: *mut bindings::work_struct) -> u32 {
    // SAFETY: By the requirement of this function; `Work` is transparent over `work_struct`.
    let item = unsafe { <Item as HasWork<Item>>::work_container_of(work.cast()) };
    // SAFETY: By the requirement of this function, the item is live.
    unsafe { (*item).id() }
}
