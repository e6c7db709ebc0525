// SPDX-License-Identifier: GPL-2.0-only

//! A point on the guest's trace clock.
//!
//! In: nanoseconds as the kernel recorded them. Out: a typed time and exact differences.
//! Pure: reads no clock.
//! Source: `trace_clock_local()`, `kernel/trace/trace_clock.c`, Linux 7.3.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds on the guest's `local` trace clock, which starts near 0 at boot.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TraceNanos(pub u64);

impl TraceNanos {
    /// Nanoseconds from `earlier` to `self`; negative if `self` is the earlier one.
    /// Saturates at the ends of `i64`, 292 years off, which only damaged records reach.
    ///
    /// ```
    /// # use deferinit_timeline::TraceNanos;
    /// assert_eq!(TraceNanos(150).since(TraceNanos(100)), 50);
    /// assert_eq!(TraceNanos(100).since(TraceNanos(150)), -50);
    /// assert_eq!(TraceNanos(u64::MAX).since(TraceNanos(0)), i64::MAX);
    /// ```
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        let difference = i128::from(self.0) - i128::from(earlier.0);
        let bound = if difference < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(difference).unwrap_or(bound)
    }
}

/// Seconds with nine decimals, as `trace-cmd report -t` prints them: `1.663633123`.
impl fmt::Display for TraceNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::TraceNanos;

    #[test]
    fn display_keeps_leading_zeros_of_the_fraction() {
        assert_eq!(TraceNanos(1_000_000_007).to_string(), "1.000000007");
    }

    #[test]
    fn difference_saturates_downwards_too() {
        assert_eq!(TraceNanos(0).since(TraceNanos(u64::MAX)), i64::MIN);
    }
}
