// SPDX-License-Identifier: GPL-2.0-only

//! Which numbers of repeated runs differ by more than chance makes them.
//!
//! In: the profiles of runs of two kinds, of each scenario. Out: for each number a test and an interval; over all numbers
//! of all scenarios together, the probability that any difference is claimed where there is none is at most `LEVEL`.
//! A number that a run does not have is 0 in it: what did not happen took no time.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::compare::{Profile, is_count};
use crate::statistics::{holm, interval_of_medians, mann_whitney, median};

/// How often a difference may be claimed where there is none.
pub const LEVEL: f64 = 0.05;
/// The fewest runs of each kind, for the approximation of the test.
pub const FEWEST: usize = 8;

/// A number of repeated runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tested {
    /// What it is of.
    pub what: String,
    /// Which of its numbers.
    pub part: String,
    /// In each run of the first kind.
    pub first: Vec<u64>,
    /// In each run of the second.
    pub second: Vec<u64>,
    /// The median of the first.
    pub first_median: u64,
    /// The median of the second.
    pub second_median: u64,
    /// Bounds of the second median less the first, that hold in 95 of 100 cases; none before [`Tested::bound`].
    pub interval: Option<(i128, i128)>,
    /// That chance alone makes the two as different, by itself.
    pub probability: f64,
    /// The same over all numbers: what is below `LEVEL` differs.
    pub adjusted: f64,
}

impl Tested {
    /// Whether the two differ.
    #[must_use]
    pub fn is_different(&self) -> bool {
        self.adjusted < LEVEL
    }

    /// Works its interval out, which takes longer than the test.
    pub fn bound(&mut self) {
        self.interval = Some(interval_of_medians(&self.first, &self.second));
    }

    /// The second median less the first.
    #[must_use]
    pub fn difference(&self) -> i128 {
        i128::from(self.second_median) - i128::from(self.first_median)
    }

    /// Whether it is a number of something, rather than a time.
    #[must_use]
    pub fn is_count(&self) -> bool {
        is_count(&self.part)
    }
}

/// Tests every number that is not the same in all runs of both kinds. Which ones these are depends on all runs together,
/// and so says nothing about a difference between the kinds.
#[must_use]
pub fn test(first: &[&Profile], second: &[&Profile]) -> Vec<Tested> {
    let names: BTreeSet<(&str, &str)> = first
        .iter()
        .chain(second)
        .flat_map(|profile| profile.names())
        .collect();
    let numbers = |profiles: &[&Profile], what: &str, part: &str| -> Vec<u64> {
        let number = |profile: &&Profile| profile.number(what, part).unwrap_or(0);
        profiles.iter().map(number).collect()
    };
    let tested = names.into_iter().filter_map(|(what, part)| {
        let (first, second) = (numbers(first, what, part), numbers(second, what, part));
        let mut all = first.iter().chain(&second);
        let one = all.next()?;
        if all.all(|other| other == one) {
            return None;
        }
        Some(Tested {
            what: what.to_owned(),
            part: part.to_owned(),
            first_median: median(&first),
            second_median: median(&second),
            interval: None,
            probability: mann_whitney(&first, &second),
            adjusted: 1.0,
            first,
            second,
        })
    });
    tested.collect()
}

/// Adjusts the probabilities of all tests of an answer, those of all its scenarios.
pub fn adjust<'a>(tests: impl Iterator<Item = &'a mut Tested>) {
    let mut tests: Vec<&mut Tested> = tests.collect();
    let probabilities: Vec<f64> = tests.iter().map(|test| test.probability).collect();
    for (test, adjusted) in tests.iter_mut().zip(holm(&probabilities)) {
        test.adjusted = adjusted;
    }
}

/// The fewest runs of each kind with which, among so many numbers, one can be told from chance at all: where every run of
/// one kind is above every run of the other.
#[must_use]
pub fn fewest_runs(numbers: usize) -> usize {
    const MOST: usize = 1_000;
    let family = u32::try_from(numbers.max(1)).map_or(f64::MAX, f64::from);
    let can_tell = |runs: &usize| {
        // Without ties, which make it less.
        let first: Vec<u64> = (0..).take(*runs).collect();
        let second: Vec<u64> = (1_000_000..).take(*runs).collect();
        mann_whitney(&first, &second) * family < LEVEL
    };
    (FEWEST..MOST).find(can_tell).unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(values: &[u64]) -> Vec<Profile> {
        let profile = |value: &u64| {
            let mut profile = Profile::default();
            profile.add("item a", "run", *value);
            profile.add("item a", "attempts", 1);
            if *value > 1_000 {
                profile.add("item a", "preempted", 5);
            }
            profile
        };
        values.iter().map(profile).collect()
    }

    #[test]
    fn what_never_changes_is_not_tested_and_what_is_absent_is_nothing() {
        let first = profiles(&[100, 101, 102, 103, 104, 105, 106, 107]);
        let second = profiles(&[1_100, 1_101, 1_102, 1_103, 1_104, 1_105, 1_106, 1_107]);
        let mut tests = test(
            &first.iter().collect::<Vec<_>>(),
            &second.iter().collect::<Vec<_>>(),
        );
        adjust(tests.iter_mut());
        tests.iter_mut().for_each(Tested::bound);
        let found: Vec<_> = tests
            .iter()
            .map(|test| (test.part.as_str(), test.difference(), test.is_different()))
            .collect();
        assert_eq!(found, [("preempted", 5, true), ("run", 1_000, true)]);
        assert_eq!(tests[0].first, [0; 8]);
        assert_eq!(tests[0].interval, Some((5, 5)));
        let (low, high) = tests[1].interval.expect("bounds");
        assert!((991..=1_000).contains(&low) && (1_000..1_010).contains(&high));
    }

    #[test]
    fn more_numbers_take_more_runs() {
        assert_eq!(fewest_runs(1), FEWEST);
        let (some, many) = (fewest_runs(400), fewest_runs(40_000));
        assert!(FEWEST < some && some < many && many < 30, "{some} {many}");
    }
}
