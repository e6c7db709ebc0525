// SPDX-License-Identifier: GPL-2.0-only

//! The rule of the timer wheel: which bucket a timer is put into.
//!
//! In: when a timer is to expire, and the clock of its base, in jiffies. Out: the level, and the jiffy at which the
//! bucket is emptied.
//! Source: `calc_wheel_index()`, `calc_index()` and `forward_timer_base()`, `kernel/time/timer.c`, Linux 7.3.

use serde::Serialize;

/// `LVL_CLK_SHIFT`: a level's buckets are 8 times as wide as those of the level below.
const LEVEL_SHIFT: u32 = 3;

/// `LVL_SIZE`: buckets of a level.
const LEVEL_SIZE: u64 = 64;

/// The wheel of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// `LVL_DEPTH`.
    levels: u32,
}

/// The bucket of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The level of the wheel, from 0.
    pub level: u32,
    /// How many jiffies one bucket of this level holds.
    pub width: u64,
    /// The jiffy at which the bucket's timers expire.
    pub expiry: u64,
}

impl Wheel {
    /// The wheel of a kernel with this HZ: 9 levels above 100, else 8.
    #[must_use]
    pub fn of_hz(hz: u32) -> Self {
        Self {
            levels: if hz > 100 { 9 } else { 8 },
        }
    }

    /// Where a timer goes that is to expire at `expires`, if the clock of its base stands at `clock`. Jiffies wrap
    /// around, as the kernel's do.
    #[must_use]
    pub fn bucket(self, expires: u64, clock: u64) -> Bucket {
        let delta = expires.wrapping_sub(clock);
        let last = self.levels.saturating_sub(1);
        if let Some(level) = (0..last).find(|level| delta < start_of(level.saturating_add(1))) {
            return bucket_of(level, expires);
        }
        if delta.cast_signed() < 0 {
            // It is past already: the bucket that is emptied next.
            return Bucket {
                level: 0,
                width: 1,
                expiry: clock,
            };
        }
        let cutoff = start_of(self.levels);
        if delta >= cutoff {
            let longest = cutoff.saturating_sub(width_of(last));
            return bucket_of(last, clock.wrapping_add(longest));
        }
        bucket_of(last, expires)
    }

    /// The distances in jiffies that belong to a level: from the first one on, up to but not the second.
    #[must_use]
    pub fn distances(self, level: u32) -> (u64, u64) {
        let from = if level == 0 { 0 } else { start_of(level) };
        (from, start_of(level.saturating_add(1)))
    }
}

/// `LVL_START(level)`, of a level above 0.
fn start_of(level: u32) -> u64 {
    (LEVEL_SIZE - 1) << LEVEL_SHIFT.saturating_mul(level.saturating_sub(1))
}

/// `LVL_GRAN(level)`.
fn width_of(level: u32) -> u64 {
    1 << LEVEL_SHIFT.saturating_mul(level)
}

/// `calc_index()`: always to the end of the bucket, so that no timer is early.
fn bucket_of(level: u32, expires: u64) -> Bucket {
    let shift = LEVEL_SHIFT.saturating_mul(level);
    Bucket {
        level,
        width: width_of(level),
        expiry: (expires >> shift).wrapping_add(1) << shift,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock whose low bits are all 0 on every level, so that rounding shows as it is.
    const CLOCK: u64 = 1 << 40;

    fn lands(hz: u32, distance: u64) -> (u32, u64) {
        let bucket = Wheel::of_hz(hz).bucket(CLOCK.wrapping_add(distance), CLOCK);
        (bucket.level, bucket.expiry.wrapping_sub(CLOCK))
    }

    #[test]
    fn every_level_begins_and_ends_where_the_kernel_says() {
        // The first and the last distance of each level, in jiffies, with where they land: the tables on top of
        // kernel/time/timer.c have them in milliseconds.
        for (distance, level, lands_at) in [
            (0, 0, 1),
            (1, 0, 2),
            (62, 0, 63),
            (63, 1, 64),
            (64, 1, 72),
            (503, 1, 504),
            (504, 2, 512),
            (512, 2, 576),
            (4_031, 2, 4_032),
            (4_032, 3, 4_096),
            (4_096, 3, 4_608),
            (32_255, 3, 32_256),
            (32_256, 4, 32_768),
            (32_768, 4, 36_864),
            (258_047, 4, 258_048),
            (258_048, 5, 262_144),
            (2_064_383, 5, 2_064_384),
            (2_064_384, 6, 2_097_152),
            (16_515_071, 6, 16_515_072),
            (16_515_072, 7, 16_777_216),
            (132_120_575, 7, 132_120_576),
            (132_120_576, 8, 134_217_728),
            (1_056_964_607, 8, 1_056_964_608),
        ] {
            assert_eq!(lands(250, distance), (level, lands_at), "{distance}");
            assert_eq!(lands(1000, distance), (level, lands_at), "{distance}");
        }
    }

    #[test]
    fn a_kernel_of_100_hz_has_a_level_less() {
        assert_eq!(lands(100, 16_515_072), (7, 16_777_216));
        // Beyond the last level's capacity: WHEEL_TIMEOUT_CUTOFF - LVL_GRAN(7), rounded up.
        assert_eq!(lands(100, 132_120_576), (7, 132_120_576));
        assert_eq!(lands(100, u64::MAX / 4), (7, 132_120_576));
    }

    #[test]
    fn what_is_too_far_expires_at_the_end_of_the_wheel() {
        for distance in [1_056_964_608, u64::MAX / 4] {
            assert_eq!(lands(250, distance), (8, 1_056_964_608), "{distance}");
        }
    }

    #[test]
    fn what_is_past_goes_into_the_next_bucket_that_is_emptied() {
        for clock in [5, CLOCK, 0] {
            let bucket = Wheel::of_hz(250).bucket(clock.wrapping_sub(1), clock);
            assert_eq!((bucket.level, bucket.expiry), (0, clock));
        }
    }

    #[test]
    fn no_bucket_is_early_and_none_is_later_than_its_width() {
        let wheel = Wheel::of_hz(250);
        let mut state = 1_u64;
        for _ in 0..100_000 {
            // A linear congruential generator: Knuth, MMIX.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let clock = state >> 20;
            let distance = (state >> 11) % (1 << (state % 30));
            let bucket = wheel.bucket(clock + distance, clock);
            let late = bucket.expiry - (clock + distance);
            assert!((1..=bucket.width).contains(&late), "{clock} {distance}");
            let (from, to) = wheel.distances(bucket.level);
            assert!((from..to).contains(&distance), "{clock} {distance}");
        }
    }

    #[test]
    fn jiffies_wrap_around() {
        let bucket = Wheel::of_hz(250).bucket(10, u64::MAX - 9);
        assert_eq!((bucket.level, bucket.expiry), (0, 11));
    }
}
