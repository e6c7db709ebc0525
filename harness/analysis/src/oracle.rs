// SPDX-License-Identifier: GPL-2.0-only

//! Holds every timer against the rule of the wheel: its bucket is the one that the rule predicts, and it expires when
//! that bucket's jiffy comes.
//!
//! In: timers as they are armed and as they expire. Out: how many were held against the rule, and which miss it.
//! In exact mode a timer that is not deferrable and misses is a failure: interrupts were off or the softirq did not run
//! for more than a tick, or the wheel is broken. Two misses may be the machine's doing and not the kernel's: on the wall
//! clock the host can keep the guest from running, and with several CPUs one of them counts jiffies while another one
//! waits for its turn to be emulated.
//! Source: `__mod_timer()`, `forward_timer_base()` and `__run_timers()`, `kernel/time/timer.c`, Linux 7.3.

use serde::Serialize;

use crate::job::{ArmedTimer, ExpiredTimer, JobId};
use crate::wheel::Wheel;

/// Misses that are kept; the others are counted.
pub const KEPT_MISSES: usize = 256;

/// What became of the timers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WheelAccount {
    /// Timers that were armed, and whose bucket was held against the rule.
    pub armed: u64,
    /// Timers that expired, and were held against their bucket.
    pub expired: u64,
    /// Timers that expired and may be late: those are not held against it.
    pub deferrable: u64,
    /// Timers that expired and were armed before the trace, or while records were lost.
    pub unknown: u64,
    /// How many miss.
    pub missed: u64,
    /// The first [`KEPT_MISSES`] of them.
    pub misses: Vec<Miss>,
}

/// A timer that misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The time of the record that shows it.
    pub at: u64,
    /// The timer, if it expired.
    pub job: Option<JobId>,
    /// In what.
    pub kind: MissKind,
    /// The jiffy that the rule predicts.
    pub predicted: u64,
    /// The jiffy that the record has.
    pub found: u64,
}

/// How a timer misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissKind {
    /// It is put into another bucket than the one that HZ, its expiry and jiffies give.
    Bucket,
    /// Its bucket is emptied as its turn comes, but that is after its jiffy.
    Softirq,
    /// It expires with another bucket than its own.
    Turn,
}

/// The rule, while records come.
#[derive(Debug)]
pub(crate) struct Oracle {
    wheel: Wheel,
    pub(crate) account: WheelAccount,
}

impl Oracle {
    pub(crate) fn new(hz: Option<u32>) -> Self {
        Self {
            // The level that only kernels above 100 HZ have begins at 15 days.
            wheel: Wheel::of_hz(hz.unwrap_or(250)),
            account: WheelAccount::default(),
        }
    }

    /// A timer is armed. The clock of its base is jiffies; one more than the bucket that is being emptied, where a timer's
    /// callback arms it; or, where timers are due that did not get their turn, the first of those.
    pub(crate) fn armed(
        &mut self,
        armed: &ArmedTimer,
        running: Option<u64>,
        mut due: impl Iterator<Item = u64>,
    ) {
        self.account.armed = self.account.armed.saturating_add(1);
        let predicted = self.wheel.bucket(armed.expires, armed.now).expiry;
        let is_at = |clock: u64| self.wheel.bucket(armed.expires, clock).expiry == armed.bucket;
        let is_due = |bucket: &u64| armed.now.wrapping_sub(*bucket).cast_signed() >= 0;
        if predicted == armed.bucket
            || running.is_some_and(is_at)
            || due.by_ref().filter(is_due).any(is_at)
        {
            return;
        }
        self.miss(Miss {
            at: armed.point.at,
            job: None,
            kind: MissKind::Bucket,
            predicted,
            found: armed.bucket,
        });
    }

    /// A timer expires.
    pub(crate) fn expired(
        &mut self,
        job: JobId,
        armed: Option<&ArmedTimer>,
        expired: &ExpiredTimer,
    ) {
        let Some(armed) = armed else {
            self.account.unknown = self.account.unknown.saturating_add(1);
            return;
        };
        if armed.is_deferrable() {
            self.account.deferrable = self.account.deferrable.saturating_add(1);
            return;
        }
        self.account.expired = self.account.expired.saturating_add(1);
        if expired.now == armed.bucket {
            return;
        }
        let kind = if expired.base_clock == armed.bucket {
            MissKind::Softirq
        } else {
            MissKind::Turn
        };
        self.miss(Miss {
            at: expired.point.at,
            job: Some(job),
            kind,
            predicted: armed.bucket,
            found: expired.now,
        });
    }

    fn miss(&mut self, miss: Miss) {
        let account = &mut self.account;
        account.missed = account.missed.saturating_add(1);
        if account.misses.len() < KEPT_MISSES {
            account.misses.push(miss);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Point;

    fn armed(expires: u64, bucket: u64, now: u64, flags: u64) -> ArmedTimer {
        ArmedTimer {
            point: POINT,
            expires,
            bucket,
            now,
            flags,
        }
    }

    const POINT: Point = Point {
        at: 1,
        cpu: 0,
        pid: 0,
    };

    fn kinds(oracle: &Oracle) -> Vec<MissKind> {
        let misses = oracle.account.misses.iter();
        misses.map(|miss| miss.kind).collect()
    }

    #[test]
    fn a_bucket_that_no_clock_of_its_base_gives_is_a_miss() {
        let mut oracle = Oracle::new(Some(250));
        // 62 jiffies from now are of level 0, 63 of level 1.
        oracle.armed(&armed(1_062, 1_063, 1_000, 0), None, [].into_iter());
        oracle.armed(&armed(1_063, 1_064, 1_000, 0), None, [].into_iter());
        assert_eq!(kinds(&oracle), []);
        // 1,070 is of level 1 from 1,000 and of level 0 from 1,008 on.
        let near = armed(1_070, 1_071, 1_007, 0);
        oracle.armed(&near, Some(1_008), [].into_iter());
        assert_eq!(kinds(&oracle), [], "a callback's base is one ahead");
        oracle.armed(&near, None, [].into_iter());
        assert_eq!(kinds(&oracle), [MissKind::Bucket]);
        let far = armed(1_070, 1_072, 1_010, 0);
        oracle.armed(&far, None, [1_007, 1_020].into_iter());
        assert_eq!(kinds(&oracle).len(), 1, "its base waits for 1,007");
        oracle.armed(&far, None, [1_011].into_iter());
        assert_eq!(kinds(&oracle).len(), 2, "nothing is due");
        assert_eq!(oracle.account.armed, 6);
    }

    #[test]
    fn a_timer_that_expires_after_its_bucket_is_a_miss_unless_it_is_deferrable() {
        let mut oracle = Oracle::new(Some(250));
        let expired = |now, base_clock| ExpiredTimer {
            point: POINT,
            now,
            base_clock,
            before: 0,
        };
        let timer = armed(1_062, 1_063, 1_000, 0);
        oracle.expired(JobId(0), Some(&timer), &expired(1_063, 1_063));
        oracle.expired(JobId(0), Some(&timer), &expired(1_065, 1_063));
        oracle.expired(JobId(0), Some(&timer), &expired(1_065, 1_065));
        assert_eq!(kinds(&oracle), [MissKind::Softirq, MissKind::Turn]);
        let deferrable = armed(1_062, 1_063, 1_000, 0x0008_0000);
        oracle.expired(JobId(0), Some(&deferrable), &expired(2_000, 2_000));
        oracle.expired(JobId(0), None, &expired(2_000, 2_000));
        let account = &oracle.account;
        assert_eq!(
            (
                account.expired,
                account.deferrable,
                account.unknown,
                account.missed
            ),
            (3, 1, 1, 2)
        );
    }
}
