// SPDX-License-Identifier: GPL-2.0-only

//! Delta debugging: which of many changes it takes.
//!
//! In: how many changes there are, all of which together are bad and none of which is good, and a test of any set of
//! them. Out: a set that is bad, of which no single change can be left out.
//! Where what is bad stays bad with more changes, the set is as small as any that has no part which is bad; where one
//! change alone is to blame, it is that one, after about 2 log2(n) tests.
//! Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on Software
//! Engineering 28(2), 2002: the algorithm ddmin.

use std::collections::BTreeMap;

/// What a set of changes comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As without any change.
    Good,
    /// As with all of them.
    Bad,
    /// It cannot be tested.
    Unknown,
}

/// A 1-minimal bad set of the changes `0..count`, in ascending order. No set is tested twice, and neither is that of all
/// or of none.
///
/// # Errors
/// The first one of a test.
pub(crate) fn ddmin<E>(
    count: usize,
    mut test: impl FnMut(&[usize]) -> Result<Outcome, E>,
) -> Result<Vec<usize>, E> {
    let all: Vec<usize> = (0..count).collect();
    let mut known = BTreeMap::from([(Vec::new(), Outcome::Good), (all.clone(), Outcome::Bad)]);
    let mut is_bad = |set: &[usize]| {
        let outcome = match known.get(set) {
            Some(outcome) => *outcome,
            None => {
                let outcome = test(set)?;
                known.insert(set.to_vec(), outcome);
                outcome
            }
        };
        Ok(outcome == Outcome::Bad)
    };
    let mut set = all;
    let mut parts = 2;
    while set.len() >= 2 {
        parts = parts.min(set.len());
        let chunks: Vec<Vec<usize>> = split(&set, parts);
        let mut smaller = None;
        for chunk in &chunks {
            if is_bad(chunk)? {
                smaller = Some((chunk.clone(), 2));
                break;
            }
        }
        // Of two parts, each is what the other leaves.
        if smaller.is_none() && parts > 2 {
            for chunk in &chunks {
                let rest: Vec<usize> = without(&set, chunk);
                if is_bad(&rest)? {
                    smaller = Some((rest, parts - 1));
                    break;
                }
            }
        }
        match smaller {
            Some((found, next)) => (set, parts) = (found, next),
            None if parts >= set.len() => break,
            None => parts = parts.saturating_mul(2),
        }
    }
    Ok(set)
}

/// So many parts, of which none is longer than another by more than one.
fn split(set: &[usize], parts: usize) -> Vec<Vec<usize>> {
    let mut rest = set;
    let mut chunks = Vec::with_capacity(parts);
    for left in (1..=parts).rev() {
        let (chunk, behind) = rest.split_at(rest.len().div_ceil(left));
        chunks.push(chunk.to_vec());
        rest = behind;
    }
    chunks
}

fn without(set: &[usize], left_out: &[usize]) -> Vec<usize> {
    let is_kept = |change: &&usize| !left_out.contains(change);
    set.iter().filter(is_kept).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn bits(set: &[usize]) -> u32 {
        set.iter().map(|change| 1 << change).sum()
    }

    /// Runs it on a judge of bit sets; checks that nothing is tested twice. The result as bits, and how many tests.
    fn run(count: usize, judge: impl Fn(u32) -> Outcome) -> (u32, usize) {
        let mut tested = Vec::new();
        let found = ddmin(count, |set| {
            assert!(set.is_sorted());
            let set = bits(set);
            assert!(!tested.contains(&set), "{set:b} twice");
            tested.push(set);
            Ok::<_, Infallible>(judge(set))
        });
        let found = bits(&found.expect("nothing fails"));
        (found, tested.len())
    }

    /// A generator with a period of 2^32, by Numerical Recipes: what is made with it is the same each time.
    fn random(state: &mut u32) -> u32 {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *state >> 8
    }

    fn minimal(count: usize, is_bad: &dyn Fn(u32) -> bool) -> Vec<u32> {
        let bad: Vec<u32> = (0..1 << count).filter(|set| is_bad(*set)).collect();
        let has_part = |set: u32| {
            bad.iter()
                .any(|other| *other != set && other & set == *other)
        };
        bad.iter().copied().filter(|set| !has_part(*set)).collect()
    }

    /// On made judges, brute force over all sets says what may come out.
    #[test]
    fn what_is_found_is_a_minimal_bad_set_by_brute_force() {
        let mut state = 1;
        let mut sizes = [0; 9];
        for round in 0..2_000 {
            let count = 1 + round % 8;
            let all = (1_u32 << count) - 1;
            // Bad is whatever has one of these causes in it, each of some changes together.
            let causes: Vec<u32> = (0..1 + random(&mut state) % 3)
                .map(|_| random(&mut state) & random(&mut state) & all)
                .map(|cause| if cause == 0 { all } else { cause })
                .collect();
            let is_bad = |set: u32| causes.iter().any(|cause| cause & set == *cause);
            let (found, _) = run(count, |set| {
                if is_bad(set) {
                    Outcome::Bad
                } else {
                    Outcome::Good
                }
            });
            let allowed = minimal(count, &is_bad);
            assert!(
                allowed.contains(&found),
                "{causes:?}: {found:b} of {allowed:?}"
            );
            if let Some(size) = sizes.get_mut(found.count_ones() as usize) {
                *size += 1;
            }
        }
        // Not all of one kind.
        assert!(
            sizes.iter().filter(|size| **size > 20).count() >= 4,
            "{sizes:?}"
        );
    }

    /// On judges of any kind, also with sets that cannot be tested: what is found is bad, and no single change of it can
    /// be left out and leave something bad.
    #[test]
    fn no_single_change_can_be_left_out_of_what_is_found() {
        let mut state = 7;
        for round in 0..2_000 {
            let count = 1 + round % 8;
            let all = (1_u32 << count) - 1;
            let salt = random(&mut state);
            let judge = |set: u32| {
                let mut seed = set ^ salt;
                random(&mut seed);
                match random(&mut seed) % 4 {
                    _ if set == all => Outcome::Bad,
                    0 => Outcome::Bad,
                    1 => Outcome::Unknown,
                    _ => Outcome::Good,
                }
            };
            let (found, _) = run(count, judge);
            assert_eq!(judge(found), Outcome::Bad);
            for change in (0..count).filter(|change| found & (1 << change) != 0) {
                let less = found & !(1 << change);
                assert!(
                    less == 0 || judge(less) != Outcome::Bad,
                    "{found:b} {less:b}"
                );
            }
        }
    }

    #[test]
    fn one_culprit_among_many_takes_two_tests_for_each_halving() {
        for culprit in 0..31 {
            let judge = |set: u32| match set & (1 << culprit) {
                0 => Outcome::Good,
                _ => Outcome::Bad,
            };
            let (found, tests) = run(31, judge);
            assert_eq!(found, 1 << culprit);
            assert!(tests <= 10, "{tests} tests for {culprit}");
        }
    }

    #[test]
    fn a_single_change_is_not_tested_and_a_failure_ends_it() {
        assert_eq!(run(1, |_| Outcome::Good), (1, 0));
        assert_eq!(ddmin(4, |_| Err("no more")), Err("no more"));
    }
}
