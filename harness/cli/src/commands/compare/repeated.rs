// SPDX-License-Identifier: GPL-2.0-only

//! Repeated runs of two kinds on the wall clock, where no two are the same: held against each other by a test.

use std::fmt::Write as _;
use std::time::SystemTime;

use deferinit_analysis::compare::Profile;
use deferinit_analysis::repeated::{FEWEST, Tested, adjust, fewest_runs, test};
use deferinit_trace::text::scaled;
use serde::Serialize;

use super::{Compared, differences};
use crate::measured_run::MeasuredRun;

/// What came out for one scenario.
#[derive(Serialize)]
pub(crate) struct Repeated {
    /// How many runs there are of each kind.
    runs: (usize, usize),
    /// Whether the two took turns.
    is_interleaved: bool,
    /// All numbers that are not the same in every run.
    numbers: Vec<Tested>,
}

impl Repeated {
    /// How many numbers differ.
    pub(super) fn different(&self) -> usize {
        let different = self.numbers.iter().filter(|test| test.is_different());
        different.count()
    }

    fn fewest(&self) -> usize {
        self.runs.0.min(self.runs.1)
    }
}

/// Tests the numbers of one scenario. The probabilities are not adjusted yet.
pub(super) fn compare(one: &[MeasuredRun], other: &[MeasuredRun]) -> Compared {
    let (Some(first), Some(second)) = (one.first(), other.first()) else {
        return Compared::unresolved("", "there is no run");
    };
    let differs = differences(first, second);
    if let Some(why) = unlike(one, other) {
        return Compared {
            differs,
            ..Compared::unresolved(&first.name, &why)
        };
    }
    let profiles = |runs: &'_ [MeasuredRun]| -> Vec<Profile> {
        runs.iter().map(|run| run.profile.clone()).collect()
    };
    let (profiles_of_one, profiles_of_other) = (profiles(one), profiles(other));
    let all = profiles_of_one.iter().chain(&profiles_of_other);
    Compared {
        differs,
        unresolved: None,
        measures: all.map(Profile::len).max().unwrap_or(0),
        repeated: Some(Repeated {
            runs: (one.len(), other.len()),
            is_interleaved: is_interleaved(one, other),
            numbers: test(
                &profiles_of_one.iter().collect::<Vec<_>>(),
                &profiles_of_other.iter().collect::<Vec<_>>(),
            ),
        }),
        ..Compared::unresolved(&first.name, "")
    }
}

/// Adjusts what was tested for the number of tests in the whole answer. Where there are too few runs to tell anything from
/// chance among so many, that is said.
pub(super) fn conclude(compared: &mut [Compared]) {
    let total = compared.iter().filter_map(|one| one.repeated.as_ref());
    let needed = fewest_runs(total.map(|repeated| repeated.numbers.len()).sum());
    let all = compared.iter_mut().filter_map(|one| one.repeated.as_mut());
    adjust(all.flat_map(|repeated| &mut repeated.numbers));
    let all = compared.iter_mut().filter_map(|one| one.repeated.as_mut());
    all.flat_map(|repeated| &mut repeated.numbers)
        .for_each(Tested::bound);
    for one in compared {
        if let Some(repeated) = one.repeated.take_if(|repeated| repeated.fewest() < needed) {
            let (first, second) = repeated.runs;
            one.unresolved = Some(format!(
                "{first} and {second} runs cannot tell a difference from chance among so many numbers: {needed} of each can"
            ));
        }
    }
}

/// Why two groups of runs are unlike things, or not to be relied on.
fn unlike(one: &[MeasuredRun], other: &[MeasuredRun]) -> Option<String> {
    for (runs, word) in [(one, "first"), (other, "second")] {
        let first = runs.first()?;
        if runs.len() < FEWEST {
            return Some(format!(
                "of the {word} there are {} runs on the wall clock, where it takes {FEWEST} of each at least, and more tell more",
                runs.len()
            ));
        }
        if runs.iter().any(|run| !differences(first, run).is_empty()) {
            return Some(format!(
                "the runs of the {word} are not all of one build and machine"
            ));
        }
        if let Some(doubt) = runs.iter().find_map(|run| run.doubt.as_ref()) {
            return Some(format!("of a run of the {word}, {doubt}"));
        }
    }
    let workload = one.first().map(|run| &run.workload);
    let is_other = |run: &MeasuredRun| Some(&run.workload) != workload;
    one.iter()
        .chain(other)
        .any(is_other)
        .then(|| "their workloads or what they record are not the same".to_owned())
}

/// Whether neither kind was made wholly before the other; also if the file system does not know.
fn is_interleaved(one: &[MeasuredRun], other: &[MeasuredRun]) -> bool {
    let times = |runs: &[MeasuredRun]| -> Option<(SystemTime, SystemTime)> {
        let times: Option<Vec<SystemTime>> = runs.iter().map(|run| run.made_at).collect();
        let times = times?;
        Some((*times.iter().min()?, *times.iter().max()?))
    };
    match (times(one), times(other)) {
        (Some((begin, end)), Some((other_begin, other_end))) => {
            begin < other_end && other_begin < end
        }
        _ => true,
    }
}

/// What came out, for people.
pub(super) fn push(text: &mut String, one: &Compared, repeated: &Repeated, limit: Option<usize>) {
    let (first, second) = repeated.runs;
    let mut different: Vec<&Tested> = repeated.numbers.iter().collect();
    different.retain(|test| test.is_different());
    different.sort_by_key(|test| {
        let size = test.difference().unsigned_abs();
        (test.is_count(), std::cmp::Reverse(size))
    });
    // Into memory, where nothing fails.
    if !repeated.is_interleaved {
        let _ = writeln!(
            text,
            "note: one of the two was made before the other: what changed on the host meanwhile is in the difference; make them in turns"
        );
    }
    if different.is_empty() {
        let _ = writeln!(
            text,
            "{}: no difference between {first} and {second} runs: none of {} numbers, at a level of 5 % over all",
            one.scenario, one.measures
        );
        return;
    }
    let _ = writeln!(
        text,
        "{}: {} of {} numbers differ, by {first} and {second} runs, at a level of 5 % over all",
        one.scenario,
        different.len(),
        one.measures
    );
    let _ = writeln!(
        text,
        "  {:>13}  {:>28}  {:>12}  {:>12}  {:>8}",
        "change", "95 % interval", "first", "second", "p"
    );
    let shown = limit.unwrap_or(different.len());
    for test in different.iter().take(shown) {
        let number = |value: u64| {
            if test.is_count() {
                value.to_string()
            } else {
                scaled(value)
            }
        };
        let signed = |value: i128| {
            let sign = if value < 0 { "-" } else { "+" };
            let size = u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX);
            format!("{sign}{}", number(size))
        };
        let interval = test.interval.map_or_else(String::new, |(low, high)| {
            format!("{} to {}", signed(low), signed(high))
        });
        let _ = writeln!(
            text,
            "  {:>13}  {:>28}  {:>12}  {:>12}  {:>8.1e}  {}: {}",
            signed(test.difference()),
            interval,
            number(test.first_median),
            number(test.second_median),
            test.adjusted,
            test.what,
            test.part
        );
    }
    if different.len() > shown {
        let _ = writeln!(text, "  and {} more", different.len().saturating_sub(shown));
    }
}
