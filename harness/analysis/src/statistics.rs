// SPDX-License-Identifier: GPL-2.0-only

//! Whether two samples differ by more than chance makes them, where runs are not the same each time.
//!
//! In: the numbers of repeated runs. Out: probabilities and intervals; the same input gives the same output.
//! Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other",
//! Annals of Mathematical Statistics 18(1), 1947, with the normal approximation, corrected for ties and continuity;
//! Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6(2), 1979;
//! Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7(1), 1979 (percentile interval).

use std::f64::consts::SQRT_2;

/// How often a bootstrap draws.
const RESAMPLES: usize = 2_000;
/// Where the generator of a bootstrap begins: an interval is the same each time.
const SEED: u64 = 1;

/// The two-sided probability that two samples of one distribution are as far apart in rank as these, by Mann and
/// Whitney; 1 where all values are equal or a sample is empty. The approximation holds from about 8 values each on.
#[must_use]
pub fn mann_whitney(first: &[u64], second: &[u64]) -> f64 {
    let (Some(n), Some(m)) = (count(first.len()), count(second.len())) else {
        return 1.0;
    };
    let mut all: Vec<(u64, bool)> = first.iter().map(|value| (*value, true)).collect();
    all.extend(second.iter().map(|value| (*value, false)));
    all.sort_unstable();
    // The rank of tied values is the mean of those they have.
    let mut rank_sum = 0.0;
    let mut ties = 0.0;
    let mut before = 0.0;
    for tied in all.chunk_by(|one, other| one.0 == other.0) {
        let (Some(size), Some(of_first)) = (
            count(tied.len()),
            count_or_zero(tied.iter().filter(|(_, is_first)| *is_first).count()),
        ) else {
            return 1.0;
        };
        rank_sum += of_first * (before + f64::midpoint(size, 1.0));
        ties += size * size * size - size;
        before += size;
    }
    let total = n + m;
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    libm::erfc(distance / variance.sqrt() / SQRT_2)
}

/// The probabilities of a family of tests, adjusted by Holm: those below a level are wrong, if at all, with no more than
/// that probability, over all of them together.
#[must_use]
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
    order.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut adjusted = vec![1.0; probabilities.len()];
    let mut most: f64 = 0.0;
    for (place, (index, probability)) in order.iter().enumerate() {
        let left = count(probabilities.len().saturating_sub(place)).unwrap_or(1.0);
        most = most.max(probability * left).min(1.0);
        if let Some(adjusted) = adjusted.get_mut(*index) {
            *adjusted = most;
        }
    }
    adjusted
}

/// The middle value, or the mean of the two in the middle; 0 of none.
#[must_use]
pub fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    let at = |place: usize| sorted.get(place).copied().unwrap_or(0);
    if sorted.len().is_multiple_of(2) {
        at(middle.saturating_sub(1)).midpoint(at(middle))
    } else {
        at(middle)
    }
}

/// Bounds of the difference between two medians, the second's less the first's, that hold in 95 of 100 cases: by the
/// bootstrap.
#[must_use]
pub fn interval_of_medians(first: &[u64], second: &[u64]) -> (i128, i128) {
    let mut random = Random(SEED);
    let mut differences: Vec<i128> = (0..RESAMPLES)
        .map(|_| {
            let second = i128::from(median(&random.resample(second)));
            second - i128::from(median(&random.resample(first)))
        })
        .collect();
    differences.sort_unstable();
    let at = |place: usize| differences.get(place).copied().unwrap_or(0);
    // 2.5 in 100 on each side.
    let outside = RESAMPLES / 40;
    (at(outside), at(RESAMPLES - 1 - outside))
}

/// A number of things, where a division by it is meant: none of nothing.
fn count(things: usize) -> Option<f64> {
    count_or_zero(things).filter(|count| *count > 0.0)
}

/// A number of things; none of more than anybody has runs.
fn count_or_zero(things: usize) -> Option<f64> {
    u32::try_from(things).ok().map(f64::from)
}

/// `SplitMix64`: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0. What is uneven about it is as good as nothing where the bound is small.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        let number = self.next().checked_rem(bound).unwrap_or(0);
        usize::try_from(number).unwrap_or(0)
    }

    fn resample(&mut self, values: &[u64]) -> Vec<u64> {
        let draw = (0..values.len()).map(|_| self.below(values.len()));
        draw.filter_map(|place| values.get(place).copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-4
    }

    /// By `wilcox.test(x, y, exact = FALSE)` of R, which has the same corrections.
    #[test]
    fn probabilities_are_those_of_the_literature() {
        let first = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let second = [11, 12, 13, 14, 15, 16, 17, 18, 19, 20];
        // U = 0, mean 50, variance 175: z = 49.5 / 13.2288.
        assert!(near(mann_whitney(&first, &second), 1.8267e-4));
        assert!(near(mann_whitney(&second, &first), 1.8267e-4));
        assert!(near(mann_whitney(&first, &first), 1.0));
        // Ties: ranks 1.5, 1.5, 3.5, 3.5, 5.5, 5.5; U = 0.5, mean 4.5, variance 5.25 less 0.45: z = 3.5 / 2.1909.
        let tied = mann_whitney(&[1, 1, 2], &[2, 3, 3]);
        assert!(near(tied, 0.110_149), "{tied}");
        for (one, other) in [(&[][..], &[][..]), (&[7][..], &[][..]), (&[7, 7], &[7, 7])] {
            assert!(near(mann_whitney(one, other), 1.0));
        }
    }

    #[test]
    fn holm_multiplies_and_keeps_the_order() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, wanted) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!(near(*found, wanted), "{adjusted:?}");
        }
        assert!(near(holm(&[0.9, 0.8])[1], 1.0));
        assert_eq!(holm(&[]), [] as [f64; 0]);
    }

    #[test]
    fn medians_and_their_interval() {
        assert_eq!(median(&[3, 1, 2]), 2);
        assert_eq!(median(&[4, 1, 2, 3]), 2);
        assert_eq!(median(&[u64::MAX, u64::MAX]), u64::MAX);
        assert_eq!(median(&[]), 0);
        let first: Vec<u64> = (100..130).collect();
        let second: Vec<u64> = (150..180).collect();
        let (low, high) = interval_of_medians(&first, &second);
        assert!(
            30 < low && low < 50 && 50 < high && high < 70,
            "{low} {high}"
        );
        assert_eq!(interval_of_medians(&first, &second), (low, high));
        assert_eq!(interval_of_medians(&[5; 9], &[7; 9]), (2, 2));
        assert_eq!(interval_of_medians(&[], &[]), (0, 0));
    }
}
