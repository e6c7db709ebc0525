// SPDX-License-Identifier: GPL-2.0-only

//! Repeated runs on the wall clock, drawn from measured ones: how often a difference is claimed that is none, and how often
//! one is found that is there.

use std::collections::BTreeMap;

use deferinit_analysis::compare::Profile;
use deferinit_analysis::repeated::{Tested, adjust, test};

/// Each number of 60 runs of one scenario, measured on a host that was very busy; see `tests/data/README.md`.
const MEASURED: &str = include_str!("../data/wall-clock.json");
const RUNS: usize = 30;
/// It sleeps 5 ms, and takes 6.7 ms in the median; the middle half of its values is 7 % wide.
const SLOWER: (&str, &str) = ("item bus", "run");

/// The runs, each with all its numbers, so that those of one run stay together.
fn measured() -> Vec<Profile> {
    let numbers: BTreeMap<String, Vec<u64>> = serde_json::from_str(MEASURED).expect("JSON");
    let runs = numbers.values().map(Vec::len).max().expect("numbers");
    let mut profiles = vec![Profile::default(); runs];
    for (name, values) in &numbers {
        let (what, part) = name.rsplit_once(": ").expect("a name");
        for (profile, value) in profiles.iter_mut().zip(values) {
            profile.add(what, part, *value);
        }
    }
    profiles
}

/// A generator with a period of 2^64, by Knuth (MMIX): what is drawn is the same each time.
struct Random(u64);

impl Random {
    fn draw<'a>(&mut self, runs: &'a [Profile]) -> Vec<&'a Profile> {
        let one = |_| {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = usize::try_from(self.0 >> 33).expect("31 bits") % runs.len();
            &runs[place]
        };
        (0..RUNS).map(one).collect()
    }
}

fn compared(first: &[&Profile], second: &[&Profile]) -> Vec<Tested> {
    let mut tests = test(first, second);
    adjust(tests.iter_mut());
    tests
}

#[test]
fn runs_of_one_kind_differ_in_at_most_5_of_100_comparisons() {
    let runs = measured();
    assert_eq!(runs.len(), 60);
    let mut random = Random(1);
    let (mut alarms, mut unadjusted) = (0, 0);
    for _ in 0..200 {
        let tests = compared(&random.draw(&runs), &random.draw(&runs));
        assert!(tests.len() > 20, "{} numbers", tests.len());
        alarms += usize::from(tests.iter().any(Tested::is_different));
        unadjusted += usize::from(tests.iter().any(|test| test.probability < 0.05));
    }
    assert!(alarms <= 10, "{alarms} of 200");
    // The test can fail: without Holm, most comparisons claim something.
    assert!(unadjusted > 60, "{unadjusted} of 200");
}

/// In how many of 20 trials an item that takes `percent` more is found.
fn found(percent: u64) -> usize {
    let runs = measured();
    let (what, part) = SLOWER;
    let slower: Vec<Profile> = runs
        .iter()
        .map(|run| {
            let mut run = run.clone();
            let more = run.measures[what][part] * percent / 100;
            run.add(what, part, more);
            run.add(what, "total", more);
            run
        })
        .collect();
    let mut random = Random(2);
    let trials = (0..20).filter(|_| {
        let tests = compared(&random.draw(&runs), &random.draw(&slower));
        let is_it = |test: &&Tested| test.what == what && test.part == part;
        let it = tests.iter().find(is_it).expect("it is tested");
        it.is_different() && it.difference() > 0
    });
    trials.count()
}

#[test]
fn an_item_that_is_slower_is_found_also_on_a_very_busy_host() {
    let (little, more, much) = (found(1), found(10), found(15));
    assert!(much >= 19, "15 %: {much} of 20");
    assert!(more >= 15, "10 %: {more} of 20");
    // What drowns in the noise is not claimed: it could not be found.
    assert!(little <= 1, "1 %: {little} of 20");
}
