// SPDX-License-Identifier: GPL-2.0-only

//! Counts durations in buckets, of many functions in little memory, for percentiles.
//!
//! In: (row, nanoseconds). Out: percentiles per row by nearest rank, with a relative error of at most 1/128 (0.79 %);
//! below 128 ns they are exact.
//!
//! Buckets are log-linear: 64 in each power of two. They are allocated in groups of 16, a cache line of counters, when
//! the first value falls there; one open-addressing table finds the groups of all rows. A function's durations mostly
//! fall into a handful of groups, so that thousands of functions take a few hundred KiB, and it is never more than
//! 8 MiB. The `hdrhistogram` crate at a like error takes some 15 KiB for each function, whatever falls there.

/// Buckets in each power of two. A bucket is at most 1/64 of its lower bound wide, and its middle stands for it.
const PER_OCTAVE: u64 = 64;

/// Buckets in a group.
const GROUP: usize = 16;

/// Places the table has at most, as a power of two. Three quarters of them are used.
const MOST_BITS: u32 = 17;

/// Places the table starts with.
const FIRST_BITS: u32 = 8;

/// Bits of a table's entry that say where the group's counters are; the others are its key.
const PLACE_BITS: u32 = 20;

/// Groups whose counters are allocated together, so that growing moves none.
const CHUNK: usize = 1024;

/// Values that are put into the table together.
const PENDING: usize = 256;

/// Histograms of all rows.
#[derive(Debug, Clone)]
pub(crate) struct Histograms {
    /// The key of each group, and where its counters are; 0 where there is none.
    table: Vec<u64>,
    bits: u32,
    chunks: Vec<Vec<[u32; GROUP]>>,
    used: usize,
    /// Values that found no room, by row.
    refused: Vec<u64>,
    /// The last values, which are not in the table yet.
    pending: Vec<(usize, u64)>,
}

impl Default for Histograms {
    fn default() -> Self {
        Self {
            table: vec![0; 1 << FIRST_BITS],
            bits: FIRST_BITS,
            chunks: Vec::new(),
            used: 0,
            refused: Vec::new(),
            pending: Vec::with_capacity(PENDING),
        }
    }
}

impl Histograms {
    /// Counts a value.
    #[inline]
    pub(crate) fn add(&mut self, row: usize, value: u64) {
        self.pending.push((row, value));
        if self.pending.len() == PENDING {
            self.settle();
        }
    }

    /// Puts the pending values into the table. The table is too large for the near caches, and what is looked up for
    /// many values at once is waited for at once.
    fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        for (row, value) in pending.drain(..) {
            let (group, bucket) = group_of(value);
            let key = key(row, group);
            let found = self.table.get(self.find(key)).copied().unwrap_or(0);
            if found == 0 {
                self.add_group(row, key, bucket, 1);
            } else if let Some(count) = self
                .counts_mut(found)
                .and_then(|counts| counts.get_mut(bucket))
            {
                // It takes a trace of 300 GB to fill one.
                *count = count.saturating_add(1);
            }
        }
        self.pending = pending;
    }

    /// Adds all of another one, whose rows have other numbers here.
    pub(crate) fn merge(&mut self, mut other: Self, row_here: impl Fn(usize) -> usize) {
        other.settle();
        for entry in other.table.iter().filter(|entry| **entry != 0) {
            let (row, group) = parts(*entry);
            let row = row_here(row);
            let key = key(row, group);
            let counts = other.counts(*entry).unwrap_or_default();
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

    /// The values that so many percent of all values do not exceed, by nearest rank, for each row after `row_of` has
    /// brought together those of the same function. `None` for a row without a value, or when the table had no room for
    /// some of them.
    pub(crate) fn percentiles<const COUNT: usize>(
        &mut self,
        rows: usize,
        row_of: impl Fn(usize) -> usize,
        percents: [u64; COUNT],
    ) -> Vec<[Option<u64>; COUNT]> {
        self.settle();
        let mut groups: Vec<(usize, u64, u64)> = self
            .table
            .iter()
            .filter(|entry| **entry != 0)
            .map(|entry| {
                let (row, group) = parts(*entry);
                (row_of(row), group, *entry)
            })
            .collect();
        groups.sort_unstable();
        let mut all = vec![[None; COUNT]; rows];
        for groups in groups.chunk_by(|first, second| first.0 == second.0) {
            let Some(row) = groups.first().and_then(|(row, ..)| all.get_mut(*row)) else {
                continue;
            };
            *row = percents.map(|percent| self.percentile(groups, percent));
        }
        for (row, refused) in self.refused.iter().enumerate() {
            if *refused > 0
                && let Some(row) = all.get_mut(row_of(row))
            {
                *row = [None; COUNT];
            }
        }
        all
    }

    /// The value at a percentile of the groups of one row, lowest first.
    fn percentile(&self, groups: &[(usize, u64, u64)], percent: u64) -> Option<u64> {
        let counts_of = |entry: u64| self.counts(entry).unwrap_or_default().map(u128::from);
        let count: u128 = groups
            .iter()
            .flat_map(|(_, _, entry)| counts_of(*entry))
            .sum();
        let rank = (count * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        // Several rows of one function have groups of the same range.
        for same in groups.chunk_by(|first, second| first.1 == second.1) {
            let (_, group, _) = same.first()?;
            for (bucket, place) in (0..).zip(0..GROUP) {
                let counts = same
                    .iter()
                    .filter_map(|(_, _, entry)| counts_of(*entry).get(place).copied());
                seen += counts.sum::<u128>();
                if seen >= rank {
                    return Some(middle(group * 16 + bucket));
                }
            }
        }
        None
    }

    /// The place of a key, or the free one where it would stand. There is always a free one.
    #[inline]
    fn find(&self, key: u64) -> usize {
        let mask = self.table.len() - 1;
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits);
        let mut place = usize::try_from(hash).unwrap_or(0);
        while self
            .table
            .get(place)
            .is_some_and(|entry| *entry != 0 && *entry >> PLACE_BITS != key)
        {
            place = (place + 1) & mask;
        }
        place
    }

    #[inline]
    fn counts_mut(&mut self, entry: u64) -> Option<&mut [u32; GROUP]> {
        let place = place_of(entry);
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }

    fn counts(&self, entry: u64) -> Option<[u32; GROUP]> {
        let place = place_of(entry);
        self.chunks.get(place / CHUNK)?.get(place % CHUNK).copied()
    }

    #[cold]
    fn add_group(&mut self, row: usize, key: u64, bucket: usize, count: u32) {
        let mut place = self.find(key);
        if self.table.get(place) == Some(&0) {
            if self.used >= self.table.len() / 4 * 3 {
                if self.bits == MOST_BITS {
                    return self.refuse(row, u64::from(count));
                }
                self.grow();
                place = self.find(key);
            }
            let new = u64::try_from(self.used).unwrap_or_default();
            if let Some(entry) = self.table.get_mut(place) {
                *entry = (key << PLACE_BITS) | new;
            }
            if self.used.is_multiple_of(CHUNK) {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.push([0; GROUP]);
                self.used += 1;
            }
        }
        let entry = self.table.get(place).copied().unwrap_or(0);
        if let Some(counts) = self.counts_mut(entry)
            && let Some(slot) = counts.get_mut(bucket)
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
        self.bits += 1;
        let before = std::mem::replace(&mut self.table, vec![0; 1 << self.bits]);
        for entry in before.into_iter().filter(|entry| *entry != 0) {
            let place = self.find(entry >> PLACE_BITS);
            if let Some(slot) = self.table.get_mut(place) {
                *slot = entry;
            }
        }
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

/// Never 0. A row is below 2^18, a group below 2^8: with a place it fits an entry.
#[inline]
fn key(row: usize, group: u64) -> u64 {
    let row = u64::try_from(row).unwrap_or(u64::MAX);
    ((row << 8) | group) + 1
}

/// Row and group of an entry.
fn parts(entry: u64) -> (usize, u64) {
    let key = (entry >> PLACE_BITS).saturating_sub(1);
    (usize::try_from(key >> 8).unwrap_or(usize::MAX), key & 0xff)
}

#[inline]
fn place_of(entry: u64) -> usize {
    usize::try_from(entry & ((1 << PLACE_BITS) - 1)).unwrap_or(usize::MAX)
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
        let percents = [0, 1, 50, 90, 99, 100];
        let percentiles = histograms.percentiles(4, |row| row, percents);
        for (percent, found) in percents.into_iter().zip(percentiles[3]) {
            let exact = nearest_rank(&mut values, percent as usize);
            let found = found.expect("there are values");
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
        assert_eq!(percentiles[0], [None; 6]);
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
        first.merge(second, |_| 7);
        let percentiles = first.percentiles(1, |_| 0, [50, 25]);
        assert_eq!(percentiles[0], [Some(99), Some(49)]);
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
        assert_eq!(histograms.table.len(), 1 << MOST_BITS);
        let percentiles = histograms.percentiles(60_000, |row| row, [50]);
        assert_eq!(percentiles[0], [Some(5)]);
        assert_eq!(percentiles[59_999], [None]);
        assert!(percentiles[1][0].is_some());
    }
}
