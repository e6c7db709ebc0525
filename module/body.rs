// SPDX-License-Identifier: GPL-2.0-only

//! What an item does while it runs.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    fault::deferred_fault_use,
    ffi,
    item::{
        Item,
        State, //
    },
    plan::Action,
    workload::Workload,
};

/// Does the actions of an item, up to the first that fails. Returns 0 or a negative errno.
#[no_mangle]
#[inline(never)]
pub(crate) fn deferred_item_body(item: &Item, workload: &Workload) -> c_int {
    if let Some(Err(error)) = workload.shared().map(deferred_fault_use) {
        return error.to_errno();
    }
    run(item, workload, workload.body(item))
}

/// Calls itself for what is done under a lock or with memory: at most as deep as there are actions,
/// which are eight.
fn run(item: &Item, workload: &Workload, actions: &[Action]) -> c_int {
    let mut actions = actions.iter();
    while let Some(action) = actions.next() {
        let done = match *action {
            Action::Spin { ns } => deferred_body_spin(ns),
            Action::Sleep { ns } => deferred_body_sleep(ns),
            Action::Alloc { bytes } => {
                return match deferred_body_alloc(bytes) {
                    // Freed when the rest is done.
                    Ok(_memory) => run(item, workload, actions.as_slice()),
                    Err(error) => error.to_errno(),
                };
            }
            Action::Lock { lock } => {
                let Some(lock) = workload.lock(lock) else {
                    return EINVAL.to_errno();
                };
                let _guard = lock.lock();
                return run(item, workload, actions.as_slice());
            }
            Action::Wait => deferred_body_wait(item, workload),
            Action::Complete { item } => {
                workload.complete(item);
                Ok(())
            }
            Action::Fail { error } => return error,
            Action::Print => {
                pr_info!("item {}\n", item.plan.name);
                Ok(())
            }
            Action::Cancel { item } => deferred_body_cancel(item, workload),
            Action::Flush { item } => deferred_body_flush(item, workload),
            Action::Modify { item, ns } => {
                workload.modify(item, ns);
                Ok(())
            }
            Action::Destroy { queue } => deferred_body_destroy(queue, workload),
            Action::Hang => deferred_body_hang(workload),
        };
        if let Err(error) = done {
            return error.to_errno();
        }
    }
    0
}

/// Keeps the CPU busy until `ns` nanoseconds have passed.
#[no_mangle]
#[inline(never)]
fn deferred_body_spin(ns: u64) -> Result {
    let begin = Instant::<Monotonic>::now();
    // The plan has bounded `ns` to an hour.
    while begin.elapsed().as_nanos() < ns as i64 {
        core::hint::spin_loop();
    }
    Ok(())
}

/// Sleeps for at least `ns` nanoseconds, as `fsleep()` does.
#[no_mangle]
#[inline(never)]
fn deferred_body_sleep(ns: u64) -> Result {
    // The plan has bounded `ns` to an hour.
    fsleep(Delta::from_nanos(ns as i64));
    Ok(())
}

/// Allocates memory and writes all of it.
#[no_mangle]
#[inline(never)]
fn deferred_body_alloc(bytes: usize) -> Result<KVVec<u8>> {
    Ok(KVVec::from_elem(0xa5, bytes, GFP_KERNEL)?)
}

/// Waits until another item completes this one's wait; `EINTR` if the module is unloaded first.
#[no_mangle]
#[inline(never)]
fn deferred_body_wait(item: &Item, workload: &Workload) -> Result {
    wait_until(workload, || item.is_completed.load(Relaxed))
}

/// Takes another item back, and waits for it if it is running.
#[no_mangle]
#[inline(never)]
fn deferred_body_cancel(target: u32, workload: &Workload) -> Result {
    if let Some(target) = workload.item(target) {
        workload.cancel(target);
    }
    Ok(())
}

/// Waits for another item, as `flush_delayed_work()` does: one whose timer is pending is queued at
/// once, and there is nothing to wait for before it is armed.
#[no_mangle]
#[inline(never)]
fn deferred_body_flush(target: u32, workload: &Workload) -> Result {
    let Some(target) = workload.item(target) else {
        return Ok(());
    };
    if target.plan.mode.has_queue() {
        ffi::flush(target);
        return Ok(());
    }
    let is_idle = target.state() == State::Idle;
    wait_until(workload, || is_idle || target.state() == State::Finished)
}

/// Destroys a queue of the module's own, with what is on it.
#[no_mangle]
#[inline(never)]
fn deferred_body_destroy(queue: u32, workload: &Workload) -> Result {
    workload.destroy(queue);
    Ok(())
}

/// Never returns, but for the unload: it would wait for ever.
#[no_mangle]
#[inline(never)]
fn deferred_body_hang(workload: &Workload) -> Result {
    wait_until(workload, || false)
}

/// Waits for a condition; `EINTR` if the module is unloaded first.
fn wait_until(workload: &Workload, condition: impl Fn() -> bool) -> Result {
    ffi::wait(|| condition() || workload.is_stopping())?;
    if condition() {
        Ok(())
    } else {
        Err(EINTR)
    }
}
