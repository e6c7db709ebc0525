// SPDX-License-Identifier: GPL-2.0-only

//! Faults that the module has on purpose, so that it can be seen whether they are found.

use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
};

/// Which fault a load has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// See [`Shared`].
    Race,
}

impl Fault {
    /// By their names.
    pub(crate) const ALL: [(&'static str, Self); 2] = [("none", Self::None), ("race", Self::Race)];
}

/// What all items of a load use before their bodies with `fault=race`: a device that the first of
/// them sets up, as drivers do that defer this to the first use.
///
/// The fault is in [`deferred_fault_use`]: nothing orders the setup before the use by another item.
/// It takes a few dozen instructions, and an item that comes within them fails; no memory is at
/// stake.
pub(crate) struct Shared {
    is_ready: Atomic<bool>,
    /// In Hz; 0 until the device is set up.
    frequency: Atomic<u32>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            is_ready: Atomic::new(false),
            frequency: Atomic::new(0),
        }
    }
}

/// Uses the device, and sets it up if nobody has. `ENXIO` if it is not set up in spite of that.
#[no_mangle]
#[inline(never)]
pub(crate) fn deferred_fault_use(shared: &Shared) -> Result {
    if !shared.is_ready.load(Relaxed) {
        // The fault: others are told before it is true.
        shared.is_ready.store(true, Relaxed);
        deferred_fault_set_up(shared);
    }
    if shared.frequency.load(Relaxed) == 0 {
        return Err(ENXIO);
    }
    Ok(())
}

/// Sets the device up.
#[no_mangle]
#[inline(never)]
fn deferred_fault_set_up(shared: &Shared) {
    shared.frequency.store(100_000_000, Relaxed);
}
