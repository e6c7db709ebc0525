// SPDX-License-Identifier: GPL-2.0-only

//! Every call into C, and all unsafe code of this module.
//!
//! The declarations below are those of `shim.h`; there are no generated bindings for a header of
//! an out-of-tree module.
//!
//! The kernel is given pointers to items: works, timers, threads, devices and async calls. What
//! makes all of them valid is one rule: a [`Workload`] owns its items, and is not dropped before
//! `Workload::stop` has taken back each of them or waited for it.

use core::ptr;

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStr,
    sync::{
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        rcu,
        static_lock_class,
        Arc,
        LockClassKey, //
    },
    time::{
        hrtimer::HasHrTimer,
        Delta,
        Jiffies, //
    },
    workqueue::{
        HasWork,
        RawWorkItem,
        Work, //
    }, //
};

use crate::{
    item::{
        deferred_run_item,
        Item,
        Outcome, //
    },
    parameter::Parameter,
    plan::{
        Kind,
        Mode,
        Name,
        QueuePlan,
        QueueRef, //
    },
    workload::{
        Progress,
        Workload, //
    }, //
};

/// What the C side reads when an item is called; `struct test_deferred_start` of `shim.h`.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Start {
    pub(crate) time_ns: u64,
    pub(crate) cpu: i32,
    pub(crate) pid: i32,
}

/// `struct test_deferred_record` of `shim.h`.
#[repr(C)]
struct RawRecord {
    name: *const u8,
    mode: *const u8,
    armed_ns: u64,
    expires_jiffies: u64,
    queued_ns: u64,
    started_ns: u64,
    ended_ns: u64,
    cancelled_ns: u64,
    name_length: u32,
    mode_length: u32,
    cpu: i32,
    pid: i32,
    attempts: u32,
    error: i32,
}

extern "C" {
    fn test_deferred_text(which: c_uint) -> *const c_char;
    fn test_deferred_is_given(which: c_uint) -> bool;
    fn test_deferred_cpu_is_online(cpu: u32) -> bool;
    fn test_deferred_can_sleep() -> bool;
    fn test_deferred_wait(
        condition: unsafe extern "C" fn(*const c_void) -> bool,
        argument: *const c_void,
        is_interruptible: bool,
    ) -> c_int;
    fn test_deferred_wake();
    fn test_deferred_alloc_queue(
        name: *const c_char,
        flags: u32,
        ordered: bool,
        max_active: c_int,
        affinity: *const c_char,
    ) -> *mut bindings::workqueue_struct;
    fn test_deferred_schedule_async(item: *mut c_void);
    fn test_deferred_wait_for_async();
    fn test_deferred_create_thread(
        item: *mut c_void,
        name: *const c_char,
        cpu: c_int,
    ) -> *mut c_void;
    fn test_deferred_start_thread(task: *mut c_void);
    fn test_deferred_stop_thread(task: *mut c_void);
    fn test_deferred_register_drivers() -> c_int;
    fn test_deferred_unregister_drivers();
    fn test_deferred_alloc_device(id: u32, item: *mut c_void, async_probe: bool) -> *mut c_void;
    fn test_deferred_add_device(device: *mut c_void) -> c_int;
    fn test_deferred_remove_device(device: *mut c_void, added: bool);
    #[cfg(MODULE)]
    fn test_deferred_add_delay(function: *const u8, length: usize, call: u32, ns: u64) -> c_int;
    #[cfg(MODULE)]
    fn test_deferred_remove_delays();
    fn test_deferred_create_files(workload: *mut c_void);
    fn test_deferred_remove_files();
    fn test_deferred_trace_armed(id: u32, delay_ns: u64, delay_jiffies: u64) -> u64;
    fn test_deferred_trace_started(id: u32, start: *mut Start);
    fn test_deferred_trace_retried(id: u32, attempt: u32, error: c_int);
    fn test_deferred_trace_ended(id: u32, error: c_int) -> u64;
    fn test_deferred_trace_cancelled(id: u32) -> u64;
    fn test_deferred_watch_queue(
        function: bindings::work_func_t,
        queued: unsafe extern "C" fn(*mut bindings::work_struct, u64, u64) -> u32,
    );
    fn test_deferred_unwatch_queue();
}

/// The value of a parameter.
pub(crate) fn text(parameter: Parameter) -> &'static CStr {
    // SAFETY: Every `Parameter` is below `TEST_DEFERRED_PARAMETERS`.
    let text = unsafe { test_deferred_text(parameter as c_uint) };
    // SAFETY: It returns a NUL-terminated string that lives, unchanged, as long as the module.
    unsafe { CStr::from_char_ptr(text) }
}

/// Whether the user has given a parameter.
pub(crate) fn is_given(parameter: Parameter) -> bool {
    // SAFETY: Every `Parameter` is below `TEST_DEFERRED_PARAMETERS`.
    unsafe { test_deferred_is_given(parameter as c_uint) }
}

/// Whether there is such a CPU, and it is online.
pub(crate) fn cpu_is_online(cpu: u32) -> bool {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_cpu_is_online(cpu) }
}

/// Waits until `condition` holds, which is looked at after each [`wake`]. `EINTR` if a signal comes
/// first.
pub(crate) fn wait<F: Fn() -> bool>(condition: F) -> Result {
    // SAFETY: `check` is given the pointer to a live `F`, which it is for.
    let error = unsafe { test_deferred_wait(check::<F>, (&raw const condition).cast(), true) };
    if error == 0 {
        Ok(())
    } else {
        Err(EINTR)
    }
}

/// The same, whatever signals come.
pub(crate) fn wait_uninterrupted<F: Fn() -> bool>(condition: F) {
    // SAFETY: `check` is given the pointer to a live `F`, which it is for.
    unsafe { test_deferred_wait(check::<F>, (&raw const condition).cast(), false) };
}

/// # Safety
///
/// `condition` must be a live `F`.
unsafe extern "C" fn check<F: Fn() -> bool>(condition: *const c_void) -> bool {
    // SAFETY: By the requirement of this function.
    let condition = unsafe { &*condition.cast::<F>() };
    condition()
}

/// Lets all who wait look at their condition.
pub(crate) fn wake() {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_wake() }
}

/// Reports that an item is about to be armed, and returns when, in nanoseconds.
pub(crate) fn trace_armed(id: u32, delay_ns: u64, delay: Jiffies) -> u64 {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_armed(id, delay_ns, delay as u64) }
}

/// Reports that an item is called, and returns when, where and by whom.
pub(crate) fn trace_started(id: u32) -> Start {
    let mut start = Start::default();
    // SAFETY: `start` is valid for writes.
    unsafe { test_deferred_trace_started(id, &raw mut start) };
    start
}

/// Reports that an item returned and will be called again.
pub(crate) fn trace_retried(id: u32, attempt: u32, error: c_int) {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_retried(id, attempt, error) }
}

/// Reports that an item is done, and returns when, in nanoseconds.
pub(crate) fn trace_ended(id: u32, error: c_int) -> u64 {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_ended(id, error) }
}

/// Reports that an item was taken back, and returns when, in nanoseconds.
pub(crate) fn trace_cancelled(id: u32) -> u64 {
    // SAFETY: The function has no requirements.
    unsafe { test_deferred_trace_cancelled(id) }
}

/// The smallest number of jiffies that is not shorter than `ns`, which is at most an hour.
fn jiffies_from_ns(ns: u64) -> Jiffies {
    // SAFETY: The function has no requirements; it rounds up.
    unsafe { bindings::__usecs_to_jiffies(ns.div_ceil(1000) as c_uint) }
}

/// The delay of an item as its timer gets it; 0 if it has no timer that counts jiffies.
pub(crate) fn timer_delay(item: &Item) -> Jiffies {
    match item.plan.mode {
        Mode::Delayed | Mode::Deferrable => jiffies_from_ns(item.plan.delay_ns),
        _ => 0,
    }
}

/// The lock classes of an item's work and timer.
pub(crate) fn lock_classes(kind: Kind) -> (Pin<&'static LockClassKey>, Pin<&'static LockClassKey>) {
    let atomic = (static_lock_class!(), static_lock_class!());
    let waiting = (static_lock_class!(), static_lock_class!());
    let plain = (static_lock_class!(), static_lock_class!());
    match kind {
        Kind::Atomic => atomic,
        Kind::Waiting => waiting,
        Kind::Plain => plain,
    }
}

/// A queue of the module's own, which may be destroyed before this is dropped.
///
/// # Invariants
///
/// `queue` is valid until it is destroyed, which is done by whoever has set `is_closed`, and after
/// a grace period.
pub(crate) struct OwnedQueue {
    queue: *mut bindings::workqueue_struct,
    is_closed: Atomic<bool>,
}

// SAFETY: The workqueue functions may be called from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Allocates a queue. `ENOMEM` if that fails, or what the affinity scope cannot be set with.
    pub(crate) fn new(plan: &QueuePlan) -> Result<Self> {
        // The prefix tells it from the kernel's own, in traces and in sysfs.
        let name = terminated(b"deferred-", &plan.name);
        let affinity = plan.affinity.map_or(ptr::null(), CStr::as_char_ptr);
        // SAFETY: Both strings are NUL-terminated or null, and the plan has bounded `max_active`.
        let queue = unsafe {
            test_deferred_alloc_queue(
                name.as_ptr().cast(),
                plan.flags,
                plan.is_ordered,
                plan.max_active as c_int,
                affinity.cast(),
            )
        };
        let queue = from_err_ptr(queue)?;
        // INVARIANT: Only `destroy` and `drop` destroy it.
        Ok(Self {
            queue,
            is_closed: Atomic::new(false),
        })
    }

    /// Lets nothing be queued any more. Returns whether it was open.
    ///
    /// The caller must not be inside a read-side critical section of RCU, and may sleep.
    pub(crate) fn close(&self) -> bool {
        if self.is_closed.xchg(true, Full) {
            return false;
        }
        rcu::synchronize_rcu();
        true
    }

    /// Runs what is queued and destroys the queue; called once, by the one whose `close` was first.
    pub(crate) fn destroy(&self) {
        // SAFETY: By the type invariant: we have closed it, and a grace period has passed.
        unsafe { bindings::destroy_workqueue(self.queue) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        if !self.is_closed.load(Relaxed) {
            // SAFETY: By the type invariant the queue is valid. Nothing is queued on it, and
            // nothing will be: `Workload::stop` has taken back all items. Nor does this run on one
            // of its workers, which only items could make it do.
            unsafe { bindings::destroy_workqueue(self.queue) }
        }
    }
}

/// A queue that items can be on.
pub(crate) enum AnyQueue<'a> {
    /// One of the kernel's, valid for ever.
    System(*mut bindings::workqueue_struct),
    /// One of the module's.
    Own(&'a OwnedQueue),
}

impl AnyQueue<'_> {
    /// One of the kernel's.
    pub(crate) fn system(queue: QueueRef) -> Option<Self> {
        let queue = match queue {
            // SAFETY: The system queues are set at boot and never change.
            QueueRef::SystemPercpu => unsafe { bindings::system_percpu_wq },
            // SAFETY: As above.
            QueueRef::SystemUnbound => unsafe { bindings::system_dfl_wq },
            // SAFETY: As above.
            QueueRef::SystemHighpri => unsafe { bindings::system_highpri_wq },
            // SAFETY: As above.
            QueueRef::SystemLong => unsafe { bindings::system_long_wq },
            // SAFETY: As above.
            QueueRef::SystemFreezable => unsafe { bindings::system_freezable_wq },
            // SAFETY: As above.
            QueueRef::SystemBh => unsafe { bindings::system_bh_wq },
            // SAFETY: As above.
            QueueRef::SystemBhHighpri => unsafe { bindings::system_bh_highpri_wq },
            QueueRef::Own(_) => return None,
        };
        Some(Self::System(queue))
    }

    /// Calls `use_it` with the queue, which is valid until that returns; `ESHUTDOWN` if it was
    /// closed.
    fn with<R>(&self, use_it: impl FnOnce(*mut bindings::workqueue_struct) -> R) -> Result<R> {
        match self {
            Self::System(queue) => Ok(use_it(*queue)),
            Self::Own(own) => {
                // Until this is dropped, `OwnedQueue::close` does not return.
                let _guard = rcu::read_lock();
                if own.is_closed.load(Relaxed) {
                    return Err(ESHUTDOWN);
                }
                Ok(use_it(own.queue))
            }
        }
    }

    /// Queues an item, after its delay if it has one. The Rust API queues on any CPU only.
    pub(crate) fn enqueue(&self, item: &Arc<Item>) -> Result {
        let cpu = cpu_of(item);
        let delay = timer_delay(item);
        let is_delayed = item.plan.mode != Mode::Work;
        self.with(|queue| {
            // SAFETY: The closure returns false only if the work is queued already.
            let queued = unsafe {
                item.clone().__enqueue(|work| {
                    if is_delayed {
                        // SAFETY: The work is that of a `DelayedWork`, and `queue` is valid.
                        bindings::queue_delayed_work_on(cpu, queue, delayed(work), delay)
                    } else {
                        // SAFETY: `__enqueue` gives a valid work, and `queue` is valid.
                        bindings::queue_work_on(cpu, queue, work)
                    }
                })
            };
            // One that is queued already is as it should be.
            drop(queued);
        })
    }

    /// Gives a delayed item another delay from now on, and queues it if it is not queued. The Rust
    /// API (7.3) has no `mod_delayed_work()`. Not while the item is being taken back.
    pub(crate) fn modify(&self, item: &Arc<Item>, delay_ns: u64) -> Result {
        let cpu = cpu_of(item);
        let delay = jiffies_from_ns(delay_ns);
        self.with(|queue| {
            // SAFETY: The closure returns false only if the work was queued already; nobody takes
            // the item back, so the function does not fail to queue it.
            let queued = unsafe {
                item.clone().__enqueue(|work| {
                    // SAFETY: The work is that of a `DelayedWork`, and `queue` is valid.
                    !bindings::mod_delayed_work_on(cpu, queue, delayed(work), delay)
                })
            };
            drop(queued);
        })
    }
}

fn cpu_of(item: &Item) -> c_int {
    if item.plan.cpu < 0 {
        bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int
    } else {
        item.plan.cpu
    }
}

/// The `delayed_work` that a work is part of.
///
/// # Safety
///
/// `work` must be that of a [`DelayedWork`](kernel::workqueue::DelayedWork).
unsafe fn delayed(work: *mut bindings::work_struct) -> *mut bindings::delayed_work {
    // SAFETY: By the requirement of this function.
    unsafe { kernel::container_of!(work, bindings::delayed_work, work) }
}

/// The `delayed_work` inside an item.
fn delayed_work_of(item: &Arc<Item>) -> *mut bindings::delayed_work {
    let item = Arc::as_ptr(item).cast_mut();
    // SAFETY: The pointer comes from a live `Arc`.
    let work = unsafe { <Item as HasWork<Item>>::raw_get_work(item) };
    // SAFETY: The pointer is that of a field of a live item.
    let work = unsafe { Work::raw_get(work) };
    // SAFETY: An item's work is that of a `DelayedWork`.
    unsafe { delayed(work) }
}

/// Makes the timer of a new item say 0 until it is armed, which its initialisation leaves open, and
/// makes it a deferrable one where it shall be: `new_delayed_work!` knows no flags. The same as
/// `INIT_DEFERRABLE_WORK()`.
pub(crate) fn prepare_timer(item: &Arc<Item>) {
    let dwork = delayed_work_of(item);
    // SAFETY: The pointer is that of a live `delayed_work`, and nobody else knows the item yet: the
    // callers have just made it.
    unsafe { (*dwork).timer.expires = 0 };
    if item.plan.mode == Mode::Deferrable {
        // SAFETY: As above.
        unsafe { (*dwork).timer.flags |= bindings::TIMER_DEFERRABLE };
    }
}

/// Whether the timer of a delayed item has yet to queue it.
pub(crate) fn is_timer_pending(item: &Arc<Item>) -> bool {
    let dwork = delayed_work_of(item);
    // SAFETY: The pointer is that of a live timer.
    let entry = unsafe { &raw const (*dwork).timer.entry.pprev };
    // SAFETY: The same; it may change at any time, as for `timer_pending()`.
    unsafe { !entry.read_volatile().is_null() }
}

/// Waits for an item on a queue, as `flush_delayed_work()` does.
pub(crate) fn flush(item: &Arc<Item>) {
    // SAFETY: The `delayed_work` was initialised with the item, and lives until we return because
    // we hold the item.
    unsafe { bindings::flush_delayed_work(delayed_work_of(item)) };
}

/// What items of some modes own.
///
/// # Invariants
///
/// Each pointer is null or valid, and owned by whoever takes it from here.
pub(crate) struct Own {
    /// A `struct task_struct`.
    thread: Atomic<*mut c_void>,
    /// A `struct platform_device`.
    device: Atomic<*mut c_void>,
    is_device_added: Atomic<bool>,
}

impl Own {
    pub(crate) fn none() -> Self {
        // INVARIANT: Both are null.
        Self {
            thread: Atomic::new(ptr::null_mut()),
            device: Atomic::new(ptr::null_mut()),
            is_device_added: Atomic::new(false),
        }
    }
}

/// Makes what the mode of a new item needs.
pub(crate) fn prepare_own(item: &Arc<Item>) -> Result {
    match item.plan.mode {
        Mode::Kthread => {
            let name = terminated(b"", &item.plan.name);
            // SAFETY: The name is NUL-terminated, and by the rule on top the item lives until the
            // thread is stopped.
            let thread = unsafe {
                test_deferred_create_thread(pointer(item), name.as_ptr().cast(), item.plan.cpu)
            };
            // INVARIANT: The thread is valid and ours.
            item.own.thread.store(from_err_ptr(thread)?, Relaxed);
        }
        Mode::Probe => {
            // SAFETY: By the rule on top the item lives until the device is removed.
            let device = unsafe {
                test_deferred_alloc_device(item.id, pointer(item), item.plan.async_probe)
            };
            if device.is_null() {
                return Err(ENOMEM);
            }
            // INVARIANT: The device is valid and ours.
            item.own.device.store(device, Relaxed);
        }
        _ => {}
    }
    Ok(())
}

/// Lets the thread of an item run.
pub(crate) fn start_thread(item: &Item) {
    let thread = item.own.thread.load(Relaxed);
    if !thread.is_null() {
        // SAFETY: By the invariant of `Own` it is valid: whoever takes it from an item has first
        // changed the state of the item so that it is not armed any more, or waits for us.
        unsafe { test_deferred_start_thread(thread) }
    }
}

/// Lets the driver core probe the device of an item.
///
/// `ESHUTDOWN` in an interrupt, which only an item that ends by the destruction of its queue can
/// bring about.
pub(crate) fn add_device(item: &Item) -> Result {
    // SAFETY: The function has no requirements.
    if !unsafe { test_deferred_can_sleep() } {
        return Err(ESHUTDOWN);
    }
    let device = item.own.device.load(Relaxed);
    if device.is_null() {
        return Err(ENODEV);
    }
    // SAFETY: By the invariant of `Own` it is valid: `reclaim` waits until we are done.
    to_result(unsafe { test_deferred_add_device(device) })?;
    item.own.is_device_added.store(true, Relaxed);
    Ok(())
}

/// Starts the timer of an item.
pub(crate) fn start_timer(item: &Arc<Item>) {
    let delay = Delta::from_nanos(item.plan.delay_ns as i64);
    // SAFETY: By the rule on top the item lives until the timer is cancelled.
    unsafe { <Item as HasHrTimer<Item>>::start(Arc::as_ptr(item), delay) };
}

/// Gives an item to `async_schedule_domain()`.
pub(crate) fn schedule_async(item: &Arc<Item>) {
    // SAFETY: By the rule on top the item lives until it was waited for.
    unsafe { test_deferred_schedule_async(pointer(item)) }
}

/// Waits for all async calls of items.
pub(crate) fn wait_for_async() {
    // SAFETY: The function has no requirements but to be called where one may sleep.
    unsafe { test_deferred_wait_for_async() }
}

/// Takes an item back from the kernel and waits for it if it is running. Must not be called by the
/// item itself. Async calls cannot be taken back.
pub(crate) fn reclaim(item: &Arc<Item>) {
    match item.plan.mode {
        Mode::Direct | Mode::Async => {}
        Mode::Delayed | Mode::Work | Mode::Deferrable => cancel_work(item),
        Mode::Kthread => {
            let thread = item.own.thread.xchg(ptr::null_mut(), Full);
            if !thread.is_null() {
                // SAFETY: By the invariant of `Own` it is valid, and now ours.
                unsafe { test_deferred_stop_thread(thread) }
            }
        }
        Mode::Probe => {
            // Somebody may be adding the device, and probing it in doing so.
            wait_uninterrupted(|| !item.is_arming.load(Relaxed));
            let device = item.own.device.xchg(ptr::null_mut(), Full);
            if !device.is_null() {
                let is_added = item.own.is_device_added.load(Relaxed);
                // SAFETY: By the invariant of `Own` it is valid, and now ours.
                unsafe { test_deferred_remove_device(device, is_added) }
            }
        }
        Mode::Hrtimer => {
            let item = Arc::as_ptr(item);
            // SAFETY: The pointer comes from a live `Arc`.
            let timer = unsafe { <Item as HasHrTimer<Item>>::c_timer_ptr(item) };
            // SAFETY: The timer was initialised with the item. The Rust API cancels by handles
            // only, which an interrupt that starts a timer would have nowhere to put.
            unsafe { bindings::hrtimer_cancel(timer.cast_mut()) };
        }
    }
}

/// Cancels the work of an item and waits for it if it is running. The Rust API (7.3) has no cancel.
fn cancel_work(item: &Arc<Item>) {
    // SAFETY: The `delayed_work` was initialised with the item, and lives until we return because
    // we hold the item.
    let was_pending = unsafe { bindings::cancel_delayed_work_sync(delayed_work_of(item)) };
    if was_pending {
        // SAFETY: Queueing leaked a reference, to be taken back by the work function; it was
        // pending and is cancelled, so that function will not run and the reference is ours.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(item)) });
    }
}

/// While this lives, the drivers of devices of mode probe are registered.
pub(crate) struct Drivers(());

impl Drivers {
    /// Registers them.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: The function has no requirements; `drop` undoes it.
        to_result(unsafe { test_deferred_register_drivers() })?;
        Ok(Self(()))
    }
}

impl Drop for Drivers {
    fn drop(&mut self) {
        // SAFETY: They were registered by `register`.
        unsafe { test_deferred_unregister_drivers() }
    }
}

/// While this lives, calls of functions are delayed. One lives at a time: that of the load.
#[cfg(MODULE)]
pub(crate) struct Delays(());

#[cfg(MODULE)]
impl Delays {
    /// Delays none yet.
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Keeps the CPU busy at the entry of a function, in one of its calls from now on, from 1 on, or
    /// for 0 in each. `ENOENT` if there is no such function, another error if no kprobe can be there.
    pub(crate) fn add(&mut self, function: &str, call: u32, ns: u64) -> Result {
        let bytes = function.as_bytes();
        // SAFETY: The pointer is valid for reads of as many bytes; the exclusive borrow makes this
        // the only caller. `drop` undoes it.
        to_result(unsafe { test_deferred_add_delay(bytes.as_ptr(), bytes.len(), call, ns) })
    }
}

#[cfg(MODULE)]
impl Drop for Delays {
    fn drop(&mut self) {
        // SAFETY: The exclusive borrow makes this the only caller.
        unsafe { test_deferred_remove_delays() }
    }
}

/// While this lives, it is reported whenever the kernel queues an item.
pub(crate) struct Watch(());

impl Watch {
    /// Begins to watch; `item` is any of the items.
    pub(crate) fn new(item: &Arc<Item>) -> Self {
        let dwork = delayed_work_of(item);
        // SAFETY: The pointer is that of a live `delayed_work`, whose function never changes.
        let function = unsafe { (*dwork).work.func };
        // SAFETY: Only the works of items have this function, as `test_deferred_item_queued`
        // requires, and both functions live until `drop` has ended the watch.
        unsafe { test_deferred_watch_queue(function, test_deferred_item_queued) };
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

/// The workload that the items are of: there is one at a time, that of the load.
static WORKLOAD: Atomic<*const Workload> = Atomic::new(ptr::null());

/// Makes a workload the one that its items are of.
pub(crate) fn set_workload(workload: &Arc<Workload>) {
    WORKLOAD.store(Arc::as_ptr(workload), Relaxed);
}

/// Undoes [`set_workload`]: called when the workload is dropped and all items were waited for.
pub(crate) fn clear_workload() {
    WORKLOAD.store(ptr::null(), Relaxed);
}

/// The workload that an item is of.
pub(crate) fn workload_of(_item: &Item) -> &Workload {
    let workload = WORKLOAD.load(Relaxed);
    // SAFETY: An item is run only by what its workload has armed, which was set before and is not
    // dropped, by the rule on top, before that has returned; the borrow ends with that.
    unsafe { &*workload }
}

/// The workload of the kernel image, made by `new` when it is first asked for.
#[cfg(not(MODULE))]
pub(crate) fn built_in_workload(
    new: impl FnOnce() -> Result<Arc<Workload>>,
) -> Option<&'static Arc<Workload>> {
    use kernel::sync::SetOnce;

    /// Never dropped, which `Sync` of the static needs `Send` and `Sync` of the workload for.
    struct Kept(Option<Arc<Workload>>);
    // SAFETY: What a workload can do to its items may be done from any thread.
    unsafe impl Send for Kept {}
    // SAFETY: As above.
    unsafe impl Sync for Kept {}

    static BUILT_IN: SetOnce<Kept> = SetOnce::new();
    // Initcalls run one after the other.
    if BUILT_IN.as_ref().is_none() {
        BUILT_IN.populate(Kept(new().ok()));
    }
    BUILT_IN.as_ref()?.0.as_ref()
}

/// The pointer to an item that C code hands back to us.
fn pointer(item: &Arc<Item>) -> *mut c_void {
    Arc::as_ptr(item).cast_mut().cast()
}

/// A NUL-terminated name: prefixes have at most 16 bytes, and names 31.
fn terminated(prefix: &[u8], name: &Name) -> [u8; 48] {
    let mut text = [0; 48];
    for (to, from) in text.iter_mut().take(16).zip(prefix) {
        *to = *from;
    }
    for (to, from) in text
        .iter_mut()
        .skip(prefix.len())
        .take(31)
        .zip(name.as_bytes())
    {
        *to = *from;
    }
    text
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

/// Says what happened to an item; called by `results`. Returns whether there is such an item.
///
/// # Safety
///
/// `workload` must be a live [`Workload`], and `record` valid for writes; what is written there
/// points into the workload.
#[no_mangle]
unsafe extern "C" fn test_deferred_read_record(
    workload: *mut c_void,
    id: u64,
    record: *mut RawRecord,
) -> bool {
    // SAFETY: By the requirement of this function.
    let workload = unsafe { &*workload.cast::<Workload>() };
    let Some(item) = u32::try_from(id).ok().and_then(|id| workload.item(id)) else {
        return false;
    };
    let name = item.plan.name.as_bytes();
    let mode = item.plan.mode.name();
    let from = &item.record;
    let read = RawRecord {
        name: name.as_ptr(),
        mode: mode.as_ptr(),
        armed_ns: from.armed_ns.load(Relaxed),
        expires_jiffies: from.expires_jiffies.load(Relaxed),
        queued_ns: from.queued_ns.load(Relaxed),
        started_ns: from.started_ns.load(Relaxed),
        ended_ns: from.ended_ns.load(Relaxed),
        cancelled_ns: from.cancelled_ns.load(Relaxed),
        // Names are short.
        name_length: name.len() as u32,
        mode_length: mode.len() as u32,
        cpu: from.cpu.load(Relaxed),
        pid: from.pid.load(Relaxed),
        attempts: from.attempts.load(Relaxed),
        error: from.error.load(Relaxed),
    };
    // SAFETY: By the requirement of this function.
    unsafe { record.write(read) };
    true
}

/// Notes that the kernel has queued a work, and returns the id of the item that it is part of;
/// called by the probe in `item_events.c`, in any context.
///
/// # Safety
///
/// `work` must be the work of a live [`Item`].
#[no_mangle]
unsafe extern "C" fn test_deferred_item_queued(
    work: *mut bindings::work_struct,
    time_ns: u64,
    expires: u64,
) -> u32 {
    // SAFETY: By the requirement of this function; `Work` is transparent over `work_struct`.
    let item = unsafe { <Item as HasWork<Item>>::work_container_of(work.cast()) };
    // SAFETY: By the requirement of this function, the item is live.
    let item = unsafe { &*item };
    if item.record.queued_ns.load(Relaxed) == 0 {
        item.record.expires_jiffies.store(expires, Relaxed);
        item.record.queued_ns.store(time_ns, Relaxed);
    }
    item.id
}

/// Runs an item as an async call.
///
/// # Safety
///
/// `item` must be a live [`Item`].
#[no_mangle]
unsafe extern "C" fn test_deferred_run_async(item: *mut c_void) {
    // SAFETY: By the requirement of this function.
    deferred_run_item(unsafe { &*item.cast::<Item>() });
}

/// Runs an item in its thread.
///
/// # Safety
///
/// `item` must be a live [`Item`].
#[no_mangle]
unsafe extern "C" fn test_deferred_run_thread(item: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    deferred_run_item(unsafe { &*item.cast::<Item>() });
    0
}

/// Runs an item as the probe of its device.
///
/// Returns 0, what the body has failed with, or `-EPROBE_DEFER`; `-ENODEV` if the item was taken
/// back.
///
/// # Safety
///
/// `item` must be a live [`Item`].
#[no_mangle]
unsafe extern "C" fn test_deferred_probe(item: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    let item = unsafe { &*item.cast::<Item>() };
    match deferred_run_item(item) {
        Outcome::Again => EPROBE_DEFER.to_errno(),
        Outcome::Finished if item.record.ended_ns.load(Relaxed) != 0 => {
            item.record.error.load(Relaxed)
        }
        Outcome::Finished => ENODEV.to_errno(),
    }
}

/// Arms the items of an initcall level; called by `builtin.c`.
#[cfg(not(MODULE))]
#[no_mangle]
extern "C" fn test_deferred_run_level(level: u32) {
    use crate::plan::Level;

    let levels = [Level::Core, Level::Subsys, Level::Device, Level::Late];
    if let Some(level) = levels.get(level as usize) {
        crate::workload::run_level(*level);
    }
}
