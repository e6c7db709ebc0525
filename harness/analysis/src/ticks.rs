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
    /// For each HZ, the longest stretch of records that fit an even grid.
    best: [Option<Grid>; CHOICES.len()],
    /// The one that the last record belongs to.
    current: [Option<Grid>; CHOICES.len()],
}

/// A stretch of records that fit an even grid.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Its first record, and the jiffy in it.
    first: (u64, u64),
    /// Its last one.
    last: (u64, u64),
    /// The earliest time that the first jiffy can have begun at, and the latest.
    low: i128,
    high: i128,
}

/// When each jiffy began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// Ticks a second.
    pub hz: u32,
    /// Time of the jiffy 0, in nanoseconds; none if no records fit an even grid.
    origin: Option<i128>,
    /// From when on: while a kernel boots, it does not yet count.
    since: u64,
}

/// Length of a tick in nanoseconds, rounded: `TICK_NSEC`.
#[must_use]
pub fn tick_ns(hz: u32) -> u64 {
    1_000_000_000_u64
        .saturating_add(u64::from(hz) / 2)
        .checked_div(u64::from(hz))
        .unwrap_or_default()
}

impl Grid {
    fn new(at: u64, jiffies: u64) -> Self {
        Self {
            first: (at, jiffies),
            last: (at, jiffies),
            low: i128::from(at),
            high: i128::from(at),
        }
    }

    /// The same with one more record; none if that does not fit: all lie within one tick of an even grid, but for drift.
    fn with(mut self, at: u64, jiffies: u64, hz: u32) -> Option<Self> {
        let since = i128::from(jiffies.wrapping_sub(self.first.1).cast_signed());
        let begin = i128::from(at) - since * i128::from(tick_ns(hz));
        self.low = self.low.min(begin);
        self.high = self.high.max(begin);
        self.last = (at, jiffies);
        let span = i128::from(at.saturating_sub(self.first.0));
        let is_even = self.high - self.low < i128::from(tick_ns(hz)) + span / DRIFT + 1;
        is_even.then_some(self)
    }

    fn jiffies(&self) -> u64 {
        self.last.1.saturating_sub(self.first.1)
    }
}

impl Observed {
    /// Takes what one record says.
    pub(crate) fn take(&mut self, at: u64, jiffies: u64) {
        let grids = self.current.iter_mut().zip(&mut self.best).zip(CHOICES);
        for ((current, best), hz) in grids {
            let grid = current
                .and_then(|grid| grid.with(at, jiffies, hz))
                .unwrap_or_else(|| Grid::new(at, jiffies));
            *current = Some(grid);
            if best.is_none_or(|best| best.first == grid.first || best.jiffies() < grid.jiffies()) {
                *best = Some(grid);
            }
        }
    }

    /// The ticks; none if the trace has too few of them and nobody knows HZ.
    pub(crate) fn finish(&self, known_hz: Option<u32>) -> Option<Ticks> {
        self.best.iter().flatten().next()?;
        let hz = known_hz.or_else(|| self.only_hz())?;
        let place = CHOICES.iter().position(|choice| *choice == hz);
        let grid = place
            .and_then(|place| self.best.get(place).copied().flatten())
            .filter(|grid| known_hz.is_none() || self.is_longest(grid));
        Some(Ticks {
            hz,
            origin: grid.map(|grid| grid.low - i128::from(grid.first.1) * i128::from(tick_ns(hz))),
            since: grid.map_or(0, |grid| grid.first.0),
        })
    }

    /// Whether no other HZ has a stretch that is much longer.
    fn is_longest(&self, grid: &Grid) -> bool {
        let others = self.best.iter().flatten();
        others
            .map(Grid::jiffies)
            .all(|jiffies| jiffies <= grid.jiffies().saturating_mul(2).saturating_add(2))
    }

    /// The only HZ that fits for long.
    fn only_hz(&self) -> Option<u32> {
        let longest = |without: Option<u32>| {
            self.best
                .iter()
                .zip(CHOICES)
                .filter(|(_, hz)| Some(*hz) != without)
                .filter_map(|(grid, hz)| Some(((*grid)?.jiffies(), hz)))
                .max()
        };
        let (jiffies, hz) = longest(None)?;
        let second = longest(Some(hz)).map_or(0, |(jiffies, _)| jiffies);
        (jiffies >= ENOUGH && second < jiffies / 2).then_some(hz)
    }
}

impl Ticks {
    /// When a jiffy began, in nanoseconds of the trace's clock.
    #[must_use]
    pub fn begin(&self, jiffy: u64) -> Option<u64> {
        let since = i128::from(jiffy).checked_mul(i128::from(tick_ns(self.hz)))?;
        let at = u64::try_from(self.origin?.checked_add(since)?).ok()?;
        (at >= self.since.saturating_sub(tick_ns(self.hz))).then_some(at)
    }

    /// The jiffy at a time of the trace's clock.
    #[must_use]
    pub fn jiffy(&self, at: u64) -> Option<u64> {
        let since = i128::from(at).checked_sub(self.origin?)?;
        u64::try_from(since.checked_div(i128::from(tick_ns(self.hz)))?).ok()
    }

    /// A grid whose jiffy 0 begins with the clock.
    #[must_use]
    pub fn from_zero(hz: u32) -> Self {
        Self {
            hz,
            origin: Some(0),
            since: 0,
        }
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
    }

    #[test]
    fn grid_begins_when_the_kernel_counts() {
        // For 100 jiffies of the boot, each takes twice as long.
        let late = |jiffy: u64| (4_294_893_100_u64.saturating_sub(jiffy)) * 4_000_000;
        let mut seen = Observed::default();
        for jiffy in 4_294_893_000..4_294_893_600 {
            let at = 7_000_000_000 + (jiffy - 4_294_893_000) * tick_ns(250) - late(jiffy);
            seen.take(at, jiffy);
        }
        for known in [None, Some(250)] {
            let ticks = seen.finish(known).expect("enough of them");
            assert_eq!(ticks.hz, 250);
            assert_eq!(ticks.begin(4_294_893_500), Some(9_000_000_000));
            assert_eq!(ticks.jiffy(9_000_000_000), Some(4_294_893_500));
            assert_eq!(ticks.begin(4_294_893_000), None, "not yet");
        }
    }
}
