// SPDX-License-Identifier: GPL-2.0-only

//! The noise of runs on the wall clock: the median of a value, and an interval for it.
//!
//! In: what several runs measured. Out: plain numbers. Nothing is assumed of how the values are distributed: the interval
//! is one between two of them, by the binomial distribution of how many lie below the true median.
//! Source: David and Nagaraja, Order Statistics, 3rd edition, section 7.1.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::RunResult;
use crate::model::scenarios;

/// How sure an interval should be.
const WANTED: f64 = 0.95;

/// The quantile of the normal distribution for that, which stands in for the binomial one beyond this many runs: the
/// probabilities of so many are too small to be added up.
const QUANTILE: f64 = 1.959_964;
const MANY_RUNS: usize = 1_000;

/// The clock that has no noise.
const EXACT: &str = "exact";

/// What several runs make of one value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// How many runs measured it.
    pub(crate) runs: usize,
    /// The middle one of the values; the mean of both, rounded down, if there are two.
    pub(crate) median: i64,
    /// The interval that holds the true median.
    pub(crate) low: i64,
    /// The same.
    pub(crate) high: i64,
    /// With this probability: 0.95 or more, but less where there are fewer than 6 runs.
    pub(crate) confidence: f64,
}

/// The spread of every value of a scenario.
#[derive(Serialize)]
pub(crate) struct Noise<'a> {
    name: &'a str,
    measurements: BTreeMap<&'a str, Spread>,
}

/// Whether these runs have noise that can be told.
pub(crate) fn has_noise(runs: &[&RunResult]) -> bool {
    runs.len() > 1 && runs.iter().any(|run| run.clock != EXACT)
}

/// Of every scenario that ran several times on the wall clock.
pub(crate) fn noise(results: &[RunResult]) -> Vec<Noise<'_>> {
    scenarios(results)
        .into_iter()
        .filter(|(_, runs)| has_noise(runs))
        .map(|(name, runs)| {
            let mut values: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
            for (name, value) in runs.iter().flat_map(|run| &run.judgement.measurements) {
                values.entry(name).or_default().push(*value);
            }
            let spreads = values
                .into_iter()
                .filter_map(|(name, values)| Some((name, Spread::of(values)?)));
            Noise {
                name,
                measurements: spreads.collect(),
            }
        })
        .collect()
}

impl Spread {
    /// None if there are no values.
    pub(crate) fn of(mut values: Vec<i64>) -> Option<Self> {
        values.sort_unstable();
        let runs = values.len();
        let (below, above) = (values.get(runs.checked_sub(1)? / 2)?, values.get(runs / 2)?);
        let median = i64::midpoint(*below, *above);
        let (rank, confidence) = rank(runs);
        Some(Self {
            runs,
            median,
            low: *values.get(rank - 1)?,
            high: *values.get(runs.checked_sub(rank)?)?,
            confidence,
        })
    }
}

/// The rank, from each end and counted from 1, of the values that the interval lies between, and how sure it is: the
/// narrowest that is as sure as wanted, or the widest there is.
fn rank(runs: usize) -> (usize, f64) {
    if runs > MANY_RUNS {
        let runs = runs as f64;
        return (((runs - QUANTILE * runs.sqrt()) / 2.0) as usize, WANTED);
    }
    let mut outside = 0.0;
    // The probability that as many values as the number of the loop lie below the median.
    let mut probability = 0.5f64.powi(i32::try_from(runs).unwrap_or(i32::MAX));
    let mut found = (1, 1.0 - 2.0 * probability);
    for below in 0..runs / 2 {
        outside += 2.0 * probability;
        let confidence = 1.0 - outside;
        if below > 0 && confidence < WANTED {
            break;
        }
        found = (below + 1, confidence);
        probability *= (runs - below) as f64 / (below + 1) as f64;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[i64]) -> Spread {
        Spread::of(values.to_vec()).expect("values")
    }

    #[test]
    fn the_median_is_the_middle_one_whatever_the_order() {
        assert_eq!(of(&[30, 10, 20]).median, 20);
        assert_eq!(of(&[40, 10, 30, 20]).median, 25);
        assert_eq!(of(&[7]).median, 7);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn few_runs_have_all_between_and_say_how_sure_that_is() {
        for (runs, confidence) in [(1, 0.0), (2, 0.5), (3, 0.75), (5, 0.9375)] {
            let spread = of(&(1..=runs).collect::<Vec<_>>());
            assert_eq!((spread.low, spread.high), (1, runs), "{runs} runs");
            assert!((spread.confidence - confidence).abs() < 1e-9, "{spread:?}");
        }
    }

    #[test]
    fn many_runs_have_an_interval_of_95_percent() {
        // The ranks are those of the tables: 1 of 6, 2 of 10, 6 of 20, 40 of 100.
        for (runs, low) in [
            (6, 1),
            (10, 2),
            (20, 6),
            (100, 40),
            (1_000, 469),
            (1_001, 469),
            (10_000, 4_902),
        ] {
            let spread = of(&(1..=runs).collect::<Vec<_>>());
            assert_eq!(
                (spread.low, spread.high),
                (low, runs + 1 - low),
                "{runs} runs"
            );
            assert!((0.95..0.99).contains(&spread.confidence), "{spread:?}");
        }
    }
}
