// SPDX-License-Identifier: GPL-2.0-only

//! What an item does while it runs.

use kernel::time::{
    delay::fsleep,
    Delta,
    Instant,
    Monotonic, //
};

use crate::plan::Body;

/// Runs the body of an item.
#[no_mangle]
#[inline(never)]
pub(crate) fn deferred_item_body(body: Body) {
    match body {
        Body::None => {}
        Body::Spin { ns } => deferred_body_spin(ns),
        Body::Sleep { ns } => deferred_body_sleep(ns),
    }
}

/// Keeps the CPU busy until `ns` nanoseconds have passed.
#[no_mangle]
#[inline(never)]
fn deferred_body_spin(ns: u64) {
    let begin = Instant::<Monotonic>::now();
    // The plan has bounded `ns` to an hour.
    while begin.elapsed().as_nanos() < ns as i64 {
        core::hint::spin_loop();
    }
}

/// Sleeps for at least `ns` nanoseconds, as `fsleep()` does.
#[no_mangle]
#[inline(never)]
fn deferred_body_sleep(ns: u64) {
    // The plan has bounded `ns` to an hour.
    fsleep(Delta::from_nanos(ns as i64));
}
