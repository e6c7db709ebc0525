// SPDX-License-Identifier: GPL-2.0-only

//! Every call into C, and all unsafe code of this module.
//!
//! The declarations below are those of `shim.h`; there are no generated bindings for a header of
//! an out-of-tree module.

use kernel::{
    bindings,
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

use crate::{
    plan::QueueKind,
    workload::{
        Item,
        Progress,
        Workload, //
    }, //
};

extern "C" {
    fn test_deferred_text(which: c_uint) -> *const c_char;
    fn test_deferred_now() -> u64;
    fn test_deferred_alloc_queue(
        unbound: bool,
        max_active: c_int,
    ) -> *mut bindings::workqueue_struct;
    fn test_deferred_create_files(workload: *mut c_void);
    fn test_deferred_remove_files();
    fn test_deferred_trace_armed(id: u32, time_ns: u64, delay_ns: u64, delay_jiffies: u64);
    fn test_deferred_trace_started(id: u32, time_ns: u64);
    fn test_deferred_trace_ended(id: u32, time_ns: u64, error: c_int);
    fn test_deferred_trace_cancelled(id: u32, time_ns: u64);
    fn test_deferred_watch_queue(
        function: bindings::work_func_t,
        id: unsafe extern "C" fn(*mut bindings::work_struct) -> u32,
    );
    fn test_deferred_unwatch_queue();
}

/// The parameters, in the order of `enum test_deferred_parameter`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Parameter {
    Items,
    Mode,
    Arrangement,
    DelayNs,
    StepNs,
    Body,
    BodyNs,
    Queue,
    MaxActive,
    Start,
}

impl Parameter {
    /// The name, as the user gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Mode => "mode",
            Self::Arrangement => "arrangement",
            Self::DelayNs => "delay_ns",
            Self::StepNs => "step_ns",
            Self::Body => "body",
            Self::BodyNs => "body_ns",
            Self::Queue => "queue",
            Self::MaxActive => "max_active",
            Self::Start => "start",
        }
    }
}

/// The value of a parameter.
pub(crate) fn text(parameter: Parameter) -> &'static CStr {
    // SAFETY: The function has no requirements.
    let text = unsafe { test_deferred_text(parameter as c_uint) };
    // SAFETY: It returns a NUL-terminated string that lives, unchanged, as long as the module.
    unsafe { CStr::from_char_ptr(text) }
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
///
/// # Invariants
///
/// `queue` is valid until this is dropped.
pub(crate) struct OwnedQueue {
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
        // SAFETY: By the type invariant, the queue is valid for as long as `self` is borrowed.
        unsafe { Queue::from_raw(self.queue) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        if self.own {
            // SAFETY: By the type invariant, the queue is valid, and it is ours. Nothing is queued
            // on it and nothing will be: each item owns a reference to what owns this queue. Nor
            // does this run on one of its workers: the workload, which is dropped by the unload,
            // owns a reference to every item until `Workload::stop` has waited for all of them.
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

/// Makes an item's timer say 0, until it is armed: initialising it leaves that open.
pub(crate) fn clear_expiry(item: &Arc<Item>) {
    let dwork = delayed_work_of(item);
    // SAFETY: The pointer is that of a live `delayed_work`, and nobody else knows the item yet: the
    // callers have just made it.
    unsafe { (*dwork).timer.expires = 0 };
}

/// Cancels a delayed item and waits for it if it is running.
///
/// Returns whether it was still pending: then it has not run and will not. The Rust API of
/// `DelayedWork` (7.3) has no cancel. Must not be called by an item: it would wait for itself.
pub(crate) fn cancel_sync(item: &Arc<Item>) -> bool {
    // SAFETY: The `delayed_work` was initialised with the item, and lives until we return because
    // we hold the item.
    let was_pending = unsafe { bindings::cancel_delayed_work_sync(delayed_work_of(item)) };
    if was_pending {
        // SAFETY: Queueing leaked a reference, to be taken back by the work function; it was
        // pending and is cancelled, so that function will not run and the reference is ours.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(item)) });
    }
    was_pending
}

/// While this lives, it is reported whenever the kernel queues an item.
pub(crate) struct Watch(());

impl Watch {
    /// Begins to watch; `item` is any of the items.
    pub(crate) fn new(item: &Arc<Item>) -> Self {
        let dwork = delayed_work_of(item);
        // SAFETY: The pointer is that of a live `delayed_work`, whose function never changes.
        let function = unsafe { (*dwork).work.func };
        // SAFETY: Only the works of items have this function, as `test_deferred_item_id` requires,
        // and both functions live until `drop` has ended the watch.
        unsafe { test_deferred_watch_queue(function, test_deferred_item_id) };
        Self(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: The function has no requirements; once it returns, no report is under way.
        unsafe { test_deferred_unwatch_queue() }
    }
}

/// The module's folder in debugfs; it vanishes when this is dropped.
///
/// # Invariants
///
/// The files' pointer is that of `_workload`.
pub(crate) struct Files {
    _workload: Arc<Workload>,
}

impl Files {
    /// Creates the folder.
    pub(crate) fn new(workload: Arc<Workload>) -> Self {
        let pointer = Arc::as_ptr(&workload).cast_mut().cast();
        // SAFETY: `Self` owns a reference to the workload until `drop` has removed the files.
        unsafe { test_deferred_create_files(pointer) };
        // INVARIANT: The pointer is that of the workload.
        Self {
            _workload: workload,
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: The files were created by `new`; once this returns, none is in use.
        unsafe { test_deferred_remove_files() };
    }
}

/// Arms the items of a plan with `start=trigger`; called by the file `trigger`.
///
/// Returns 0, `-EINVAL` if the plan arms them on load, `-EBUSY` if they were armed before.
///
/// # Safety
///
/// `workload` must be a live [`Workload`].
#[no_mangle]
unsafe extern "C" fn test_deferred_trigger(workload: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    let workload = unsafe { &*workload.cast::<Workload>() };
    match workload.trigger() {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Says how far the items are, once all have ended if `wait`; called by `state` and `done`.
///
/// # Safety
///
/// `workload` must be a live [`Workload`], `progress` must be valid for writes.
#[no_mangle]
unsafe extern "C" fn test_deferred_read_progress(
    workload: *mut c_void,
    wait: bool,
    progress: *mut Progress,
) {
    // SAFETY: By the requirement of this function.
    let workload = unsafe { &*workload.cast::<Workload>() };
    let read = if wait {
        workload.wait_until_done()
    } else {
        workload.progress()
    };
    // SAFETY: By the requirement of this function.
    unsafe { progress.write(read) };
}

/// The id of the item that `work` is part of; called by the probe in `item_events.c`.
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
