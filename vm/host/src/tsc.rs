// SPDX-License-Identifier: GPL-2.0-only

//! The frequency of the host's time stamp counter.
//!
//! On the wall clock, TCG hands the host's counter to the guest, and microvm has nothing to calibrate
//! it against: the kernel must be told, or it finds no clock to run on (Linux 7.3,
//! `arch/x86/kernel/tsc.c`, "could not calculate TSC khz").

use std::time::{Duration, Instant};

/// Long enough for an error of a few parts per million.
const WINDOW: Duration = Duration::from_millis(20);

/// Measures it, in kHz. `None` on a host that is not x86-64.
pub(crate) fn host_khz() -> Option<u64> {
    let (first, begin) = (ticks()?, Instant::now());
    while begin.elapsed() < WINDOW {
        std::hint::spin_loop();
    }
    let (last, elapsed) = (ticks()?, begin.elapsed());
    let khz = u128::from(last.checked_sub(first)?) * 1_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(khz).ok()
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> Option<u64> {
    // SAFETY: Every x86-64 CPU has the instruction; Linux allows it to user space.
    Some(unsafe { std::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> Option<u64> {
    None
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_agree_within_a_thousandth() {
        let (a, b) = (
            host_khz().expect("a counter"),
            host_khz().expect("a counter"),
        );
        assert!((500_000..10_000_000).contains(&a), "{a} kHz");
        assert!(a.abs_diff(b) < a / 1000, "{a} and {b} kHz");
    }
}
