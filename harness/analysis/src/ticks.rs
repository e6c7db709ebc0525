// SPDX-License-Identifier: GPL-2.0-only

//! Finds HZ, and which time of the trace each jiffy began at.
//!
//! In: pairs of a record's time and the value of jiffies in it. Out: HZ, if only one fits; and a time for each jiffy.
//! Each pair says that its jiffy had begun, and the next one had not. So the pair that came soonest after the begin of
//! its jiffy gives the grid, late by the time from the tick's interrupt to its record: some microseconds.

/// `CONFIG_HZ` of every architecture's choice (`kernel/Kconfig.hz` and `arch/*/Kconfig`, Linux 7.3), x86's first.
const CHOICES: [u32; 13] = [
    250, 1000, 100, 300, 24, 32, 48, 64, 128, 200, 256, 500, 1024,
];

/// How many jiffies have to pass before HZ can be told: 250 and 256 differ by one tick in 42.
const ENOUGH: u64 = 100;

/// A trace's clock may run this much faster or slower than the ticks: a part in so many.
const DRIFT: i128 = 2000;

/// Ticks of a trace, while records come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Observed {
    first: Option<(u64, u64)>,
    last: (u64, u64),
    /// For each HZ, the smallest time minus jiffies that was seen, and the largest.
    grids: [Option<(i128, i128)>; CHOICES.len()],
}

/// When each jiffy began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// Ticks a second.
    pub hz: u32,
    /// Time of the jiffy 0, in nanoseconds; none if the records contradict an even grid.
    origin: Option<i128>,
}

/// Length of a tick in nanoseconds, rounded: `TICK_NSEC`.
#[must_use]
pub fn tick_ns(hz: u32) -> u64 {
    1_000_000_000_u64
        .saturating_add(u64::from(hz) / 2)
        .checked_div(u64::from(hz))
        .unwrap_or_default()
}

impl Observed {
    /// Takes what one record says.
    pub(crate) fn take(&mut self, at: u64, jiffies: u64) {
        let (_, first) = *self.first.get_or_insert((at, jiffies));
        self.last = (at, jiffies);
        // Jiffies begin shortly before they wrap around 32 bits, not 64; the distance stays small.
        let since = i128::from(jiffies.wrapping_sub(first).cast_signed());
        for (grid, hz) in self.grids.iter_mut().zip(CHOICES) {
            let begin = i128::from(at) - since * i128::from(tick_ns(hz));
            *grid = Some(match *grid {
                None => (begin, begin),
                Some((low, high)) => (low.min(begin), high.max(begin)),
            });
        }
    }

    /// The ticks; none if the trace has too few of them and nobody knows HZ.
    pub(crate) fn finish(&self, known_hz: Option<u32>) -> Option<Ticks> {
        let (_, first) = self.first?;
        let hz = known_hz.or_else(|| self.only_hz())?;
        let place = CHOICES.iter().position(|choice| *choice == hz);
        let grid = place.and_then(|place| self.grids.get(place).copied().flatten());
        let origin = grid
            .filter(|grid| self.is_even(*grid, hz))
            .map(|(low, _)| low - i128::from(first) * i128::from(tick_ns(hz)));
        Some(Ticks { hz, origin })
    }

    /// The only HZ that fits.
    fn only_hz(&self) -> Option<u32> {
        let (_, first) = self.first?;
        if self.last.1.wrapping_sub(first) < ENOUGH {
            return None;
        }
        let mut fitting = CHOICES
            .into_iter()
            .zip(self.grids)
            .filter_map(|(hz, grid)| self.is_even(grid?, hz).then_some(hz));
        let only = fitting.next()?;
        fitting.next().is_none().then_some(only)
    }

    /// Whether all records lie within one tick of an even grid, but for drift.
    fn is_even(&self, (low, high): (i128, i128), hz: u32) -> bool {
        let (began, _) = self.first.unwrap_or_default();
        let span = i128::from(self.last.0.saturating_sub(began));
        high - low < i128::from(tick_ns(hz)) + span / DRIFT + 1
    }
}

impl Ticks {
    /// When a jiffy began, in nanoseconds of the trace's clock.
    #[must_use]
    pub fn begin(&self, jiffy: u64) -> Option<u64> {
        let since = i128::from(jiffy).checked_mul(i128::from(tick_ns(self.hz)))?;
        u64::try_from(self.origin?.checked_add(since)?).ok()
    }

    /// How long so many jiffies are, in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self, jiffies: u64) -> u64 {
        tick_ns(self.hz).saturating_mul(jiffies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(
        hz: u32,
        jiffies: impl Iterator<Item = u64>,
        late: impl Fn(u64) -> u64,
    ) -> Observed {
        let mut observed = Observed::default();
        for jiffy in jiffies {
            let at = 7_000_000_000 + (jiffy - 4_294_893_000) * tick_ns(hz) + late(jiffy);
            observed.take(at, jiffy);
        }
        observed
    }

    #[test]
    fn hz_is_told_from_a_few_hundred_ticks() {
        for hz in [100, 250, 300, 1000] {
            let seen = observed(hz, (4_294_893_000..4_294_893_400).step_by(7), |jiffy| {
                10_000 + jiffy % 13 * 900
            });
            let ticks = seen.finish(None).expect("enough ticks");
            assert_eq!(ticks.hz, hz);
            let begin = ticks.begin(4_294_893_100).expect("an even grid");
            let is = 7_000_000_000 + 100 * tick_ns(hz);
            assert!((is..is + 12_000).contains(&begin), "{begin} for {is}");
        }
    }

    #[test]
    fn too_few_ticks_tell_no_hz_but_give_the_grid_of_a_known_one() {
        let seen = observed(250, 4_294_893_000..4_294_893_010, |_| 5_000);
        assert_eq!(seen.finish(None), None);
        let ticks = seen.finish(Some(250)).expect("HZ is known");
        assert_eq!(ticks.begin(4_294_893_003), Some(7_012_005_000));
        assert_eq!(Observed::default().finish(Some(250)), None);
    }

    #[test]
    fn records_that_no_grid_fits_have_no_times() {
        let seen = observed(250, (4_294_893_000..4_294_893_400).step_by(7), |jiffy| {
            (jiffy % 5) * 3_000_000
        });
        assert_eq!(seen.finish(None), None, "up to three ticks off");
        let ticks = seen.finish(Some(250)).expect("HZ is known");
        assert_eq!(ticks.begin(4_294_893_003), None);
    }
}
