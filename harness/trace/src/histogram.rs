// SPDX-License-Identifier: GPL-2.0-only

//! Counts durations in buckets, of many functions in little memory, for percentiles.
//!
//! In: (row, nanoseconds). Out: percentiles per row by nearest rank, with a relative error of at most 1/128 (0.79 %);
//! below 128 ns they are exact.
//!
//! Buckets are log-linear: 64 in each power of two. They are allocated in groups of 16, a cache line of counters, when
//! the first value falls there; one open-addressing table holds the groups of all rows. A function's durations mostly
//! fall into a handful of groups, so that thousands of functions take a few hundred KiB, and the table never exceeds
//! 9 MiB. The `hdrhistogram` crate at a like error takes some 15 KiB for each function, whatever falls there.

/// Buckets in each power of two. A bucket is at most 1/64 of its lower bound wide, and its middle stands for it.
const PER_OCTAVE: u64 = 64;

/// Buckets in a group.
const GROUP: usize = 16;

/// Groups the table has room for at most, as a power of two. 72 bytes each.
const MOST_GROUPS_BITS: u32 = 17;

/// Groups the table starts with room for.
const FIRST_GROUPS_BITS: u32 = 8;

/// Histograms of all rows.
#[derive(Debug, Clone)]
pub(crate) struct Histograms {
    /// Row and group of each place, plus one; 0 where there is none.
    keys: Vec<u64>,
    counts: Vec<[u32; GROUP]>,
    bits: u32,
    used: usize,
    /// Values that found no room, by row.
    refused: Vec<u64>,
}

/// The groups of one row, lowest first.
pub(crate) struct Distribution {
    groups: Vec<(u64, [u32; GROUP])>,
    count: u64,
    is_whole: bool,
}

impl Default for Histograms {
    fn default() -> Self {
        Self {
            keys: vec![0; 1 << FIRST_GROUPS_BITS],
            counts: vec![[0; GROUP]; 1 << FIRST_GROUPS_BITS],
            bits: FIRST_GROUPS_BITS,
            used: 0,
            refused: Vec::new(),
        }
    }
}

impl Histograms {
    /// Counts a value.
    #[inline]
    pub(crate) fn add(&mut self, row: usize, value: u64) {
        let (group, bucket) = group_of(value);
        let key = key(row, group);
        let place = self.find(key);
        if self.keys.get(place) == Some(&key) {
            if let Some(count) = self
                .counts
                .get_mut(place)
                .and_then(|counts| counts.get_mut(bucket))
            {
                // It takes a trace of 300 GB to fill one.
                *count = count.saturating_add(1);
            }
        } else {
            self.add_group(row, key, bucket, 1);
        }
    }

    /// Adds all of another one, whose rows have other numbers here.
    pub(crate) fn merge(&mut self, other: &Self, row_here: impl Fn(usize) -> usize) {
        for (key, counts) in other.keys.iter().zip(&other.counts) {
            let Some((row, group)) = parts(*key) else {
                continue;
            };
            let row = row_here(row);
            let key = self::key(row, group);
            for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                self.add_group(row, key, bucket, *count);
            }
        }
        for (row, refused) in other.refused.iter().enumerate() {
            if *refused > 0 {
                self.refuse(row_here(row), *refused);
            }
        }
    }

    /// All rows' distributions, after `row_of` has brought together the rows of the same function.
    pub(crate) fn distributions(
        &self,
        rows: usize,
        row_of: impl Fn(usize) -> usize,
    ) -> Vec<Distribution> {
        let mut all: Vec<Distribution> = (0..rows)
            .map(|_| Distribution {
                groups: Vec::new(),
                count: 0,
                is_whole: true,
            })
            .collect();
        for (key, counts) in self.keys.iter().zip(&self.counts) {
            let Some((row, group)) = parts(*key) else {
                continue;
            };
            if let Some(distribution) = all.get_mut(row_of(row)) {
                distribution.groups.push((group, *counts));
            }
        }
        for (row, refused) in self.refused.iter().enumerate() {
            if let Some(distribution) = all.get_mut(row_of(row)) {
                distribution.is_whole &= *refused == 0;
            }
        }
        for distribution in &mut all {
            distribution.settle();
        }
        all
    }

    /// The place of a key, or the free one where it would stand. There is always a free one.
    #[inline]
    fn find(&self, key: u64) -> usize {
        let mask = self.keys.len() - 1;
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits);
        let mut place = usize::try_from(hash).unwrap_or(0);
        while self
            .keys
            .get(place)
            .is_some_and(|found| *found != 0 && *found != key)
        {
            place = (place + 1) & mask;
        }
        place
    }

    #[cold]
    fn add_group(&mut self, row: usize, key: u64, bucket: usize, count: u32) {
        let mut place = self.find(key);
        if self.keys.get(place) != Some(&key) {
            if self.used >= self.keys.len() / 4 * 3 {
                if self.bits == MOST_GROUPS_BITS {
                    return self.refuse(row, u64::from(count));
                }
                self.grow();
                place = self.find(key);
            }
            if let Some(slot) = self.keys.get_mut(place) {
                *slot = key;
                self.used += 1;
            }
        }
        if let Some(slot) = self
            .counts
            .get_mut(place)
            .and_then(|counts| counts.get_mut(bucket))
        {
            *slot = slot.saturating_add(count);
        }
    }

    fn refuse(&mut self, row: usize, count: u64) {
        if self.refused.len() <= row {
            self.refused.resize(row + 1, 0);
        }
        if let Some(refused) = self.refused.get_mut(row) {
            *refused = refused.saturating_add(count);
        }
    }

    fn grow(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let counts = std::mem::take(&mut self.counts);
        self.bits += 1;
        self.keys = vec![0; 1 << self.bits];
        self.counts = vec![[0; GROUP]; 1 << self.bits];
        for (key, counts) in keys.into_iter().zip(counts).filter(|(key, _)| *key != 0) {
            let place = self.find(key);
            if let Some((slot, here)) = self.keys.get_mut(place).zip(self.counts.get_mut(place)) {
                *slot = key;
                *here = counts;
            }
        }
    }
}

impl Distribution {
    /// Brings the groups in order, and those of the same range together.
    fn settle(&mut self) {
        self.groups.sort_by_key(|(group, _)| *group);
        self.groups.dedup_by(|second, first| {
            let is_same = first.0 == second.0;
            if is_same {
                for (sum, more) in first.1.iter_mut().zip(second.1) {
                    *sum = sum.saturating_add(more);
                }
            }
            is_same
        });
        self.count = self
            .groups
            .iter()
            .flat_map(|(_, counts)| counts)
            .fold(0, |sum, count| u64::saturating_add(sum, u64::from(*count)));
    }

    /// The value that `percent` of all values do not exceed, by nearest rank. `None` when there is no value, or when
    /// the table had no room for some of them.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        if !self.is_whole || self.count == 0 {
            return None;
        }
        let rank = u128::from(self.count)
            .saturating_mul(u128::from(percent))
            .div_ceil(100)
            .max(1);
        let mut seen = 0_u128;
        for (group, counts) in &self.groups {
            for (bucket, count) in (0_u64..).zip(counts) {
                seen += u128::from(*count);
                if seen >= rank {
                    return Some(middle(group * 16 + bucket));
                }
            }
        }
        None
    }
}

/// The group and the bucket in it that a value falls into.
#[inline]
fn group_of(value: u64) -> (u64, usize) {
    let bucket = if value < PER_OCTAVE {
        value
    } else {
        let octave = u64::from(value.ilog2()) - 6;
        octave * PER_OCTAVE + (value >> octave)
    };
    (bucket / 16, usize::try_from(bucket % 16).unwrap_or(0))
}

/// The value that stands for a bucket.
fn middle(bucket: u64) -> u64 {
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    let lowest = (bucket - octave * PER_OCTAVE) << octave;
    lowest + ((1 << octave) - 1) / 2
}

#[inline]
fn key(row: usize, group: u64) -> u64 {
    let row = u64::try_from(row).unwrap_or(u64::MAX);
    ((row << 8) | group).wrapping_add(1)
}

fn parts(key: u64) -> Option<(usize, u64)> {
    let key = key.checked_sub(1)?;
    Some((usize::try_from(key >> 8).ok()?, key & 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value at a percentile, exactly.
    fn nearest_rank(values: &mut [u64], percent: usize) -> u64 {
        values.sort_unstable();
        values[(values.len() * percent).div_ceil(100).max(1) - 1]
    }

    #[track_caller]
    fn check(mut values: Vec<u64>) {
        let mut histograms = Histograms::default();
        for value in &values {
            histograms.add(3, *value);
        }
        let distributions = histograms.distributions(4, |row| row);
        for percent in [0, 1, 50, 90, 99, 100] {
            let exact = nearest_rank(&mut values, percent);
            let found = distributions[3]
                .percentile(percent as u64)
                .expect("there are values");
            let error = found.abs_diff(exact);
            assert!(
                u128::from(error) * 128 <= u128::from(exact),
                "p{percent} is {found} instead of {exact}"
            );
            assert!(
                exact >= 128 || error == 0,
                "p{percent} is {found} instead of {exact}"
            );
        }
        assert_eq!(distributions[0].percentile(50), None);
    }

    #[test]
    fn percentiles_are_within_the_stated_error_of_the_exact_ones() {
        check(vec![0]);
        check(vec![u64::MAX]);
        check((0..1000).collect());
        check((0..64).map(|bit| 1 << bit).collect());
        check(
            (0..64)
                .map(|bit| (1_u64 << bit).wrapping_mul(2).wrapping_sub(1))
                .collect(),
        );
        // A multiplicative generator: durations from 1 ns to 1 s, most of them short.
        let mut state = 1_u64;
        check(
            (0..20_000)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 34) >> ((state >> 20) % 30)
                })
                .collect(),
        );
    }

    #[test]
    fn every_value_is_within_the_error_of_its_buckets_middle() {
        for bit in 0..64 {
            for offset in [0_i64, 1, 2, 3, 63, 64, 65, -1, -2] {
                let value = (1_u64 << bit).wrapping_add_signed(offset);
                let (group, bucket) = group_of(value);
                let error = middle(group * 16 + bucket as u64).abs_diff(value);
                assert!(u128::from(error) * 128 <= u128::from(value), "{value}");
                assert!(group < 256, "{value} has group {group}");
            }
        }
    }

    #[test]
    fn rows_of_one_function_count_together_and_parts_merge() {
        let (mut first, mut second) = (Histograms::default(), Histograms::default());
        for value in 0..100 {
            first.add(0, value);
            second.add(5, 100 + value);
        }
        first.merge(&second, |_| 7);
        let distributions = first.distributions(1, |_| 0);
        assert_eq!(distributions[0].percentile(50), Some(99));
        assert_eq!(distributions[0].percentile(25), Some(49));
    }

    #[test]
    fn a_row_without_room_has_no_percentile_and_the_others_keep_theirs() {
        let mut histograms = Histograms::default();
        histograms.add(0, 5);
        // 1000 ns and 1 s, each in a group of its own.
        for row in 1..60_000 {
            histograms.add(row, 1_000);
            histograms.add(row, 1_000_000_000);
        }
        assert_eq!(histograms.keys.len(), 1 << MOST_GROUPS_BITS);
        let distributions = histograms.distributions(60_000, |row| row);
        assert_eq!(distributions[0].percentile(50), Some(5));
        assert_eq!(distributions[59_999].percentile(50), None);
        assert!(distributions[1].percentile(99).is_some());
    }
}
