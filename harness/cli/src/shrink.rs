// SPDX-License-Identifier: GPL-2.0-only

//! The fewest of some things that still fail.
//!
//! In: things that fail together, and a judge that says of any selection of them, in their order, what it comes to. Out: a selection that fails, of which there is none with fewer things. Knows neither what the things are nor how
//! they are judged.

use std::collections::BTreeMap;

use crate::ddmin::{Outcome, ddmin};

/// Finds them; `all` must fail. Neither all nor none are judged, and no selection twice. For few things: where k of n are
/// behind the failure, all selections of less than k are judged, after those of [`ddmin`], by which k is known.
///
/// # Errors
/// The first one of a judgement.
pub(crate) fn fewest<T: Clone, E>(
    all: &[T],
    mut judge: impl FnMut(&[T]) -> Result<Outcome, E>,
) -> Result<Vec<T>, E> {
    let mut known = BTreeMap::new();
    let mut once = |places: &[usize]| {
        if let Some(outcome) = known.get(places) {
            return Ok(*outcome);
        }
        let outcome = judge(&of(all, places))?;
        known.insert(places.to_vec(), outcome);
        Ok(outcome)
    };
    let found = ddmin(all.len(), &mut once)?;
    for size in 1..found.len() {
        for fewer in selections(all.len(), size) {
            if once(&fewer)? == Outcome::Bad {
                return Ok(of(all, &fewer));
            }
        }
    }
    Ok(of(all, &found))
}

fn of<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
    let chosen = places.iter().filter_map(|place| all.get(*place));
    chosen.cloned().collect()
}

/// All selections of `size` out of `count` places, each in ascending order.
fn selections(count: usize, size: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..size {
        all = all
            .into_iter()
            .flat_map(|chosen: Vec<usize>| {
                let from = chosen.last().map_or(0, |last| last + 1);
                (from..count).map(move |place| {
                    let mut longer = chosen.clone();
                    longer.push(place);
                    longer
                })
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use deferinit_scenario::Random;

    use super::*;

    /// A judge that was made up: a selection fails if it has all things of one of the causes.
    struct Judge {
        causes: Vec<u32>,
        asked: Vec<u32>,
    }

    fn mask(selection: &[u32]) -> u32 {
        selection.iter().map(|thing| 1 << thing).sum()
    }

    impl Judge {
        fn fails(&self, mask: u32) -> bool {
            self.causes.iter().any(|cause| mask & cause == *cause)
        }

        fn judge(&mut self, selection: &[u32]) -> Result<Outcome, ()> {
            assert!(!selection.is_empty(), "nothing at all is judged");
            assert!(selection.is_sorted(), "{selection:?} is out of order");
            self.asked.push(mask(selection));
            let mask = mask(selection);
            // What does not fail passes, or fails in another way.
            Ok(match self.fails(mask) {
                true => Outcome::Bad,
                false if mask & 1 == 0 => Outcome::Good,
                false => Outcome::Unknown,
            })
        }
    }

    /// One to three causes of one to four of `count` things.
    fn made_up(random: &mut Random, count: u64) -> Judge {
        let causes = (0..random.up_to(3)).map(|_| {
            let things = (0..random.up_to(4)).map(|_| 1_u32 << random.below(count));
            things.fold(0, |cause, thing| cause | thing)
        });
        Judge {
            causes: causes.collect(),
            asked: Vec::new(),
        }
    }

    #[test]
    fn the_fewest_are_as_few_as_brute_force_finds() {
        let mut random = Random::new(1);
        let mut sizes = [0; 5];
        for case in 0..2_000 {
            let count = u32::try_from(random.up_to(10)).expect("small");
            let all: Vec<u32> = (0..count).collect();
            let mut judge = made_up(&mut random, count.into());
            let least = (1_u32..1 << count)
                .filter(|mask| judge.fails(*mask))
                .map(u32::count_ones)
                .min()
                .expect("all of them fail");
            let found = fewest(&all, |selection| judge.judge(selection)).expect("a selection");
            assert!(judge.fails(mask(&found)), "case {case}: {found:?} passes");
            assert_eq!(mask(&found).count_ones(), least, "case {case}: {found:?}");
            let mut asked = judge.asked.clone();
            asked.sort_unstable();
            asked.dedup();
            assert_eq!(asked.len(), judge.asked.len(), "case {case}: judged twice");
            sizes[found.len()] += 1;
        }
        // Not all of one kind.
        assert!(sizes[1..].iter().all(|size| *size > 20), "{sizes:?}");
    }

    #[test]
    fn one_of_many_takes_no_more_than_ddmin() {
        let all: Vec<u32> = (0..9).collect();
        let mut judge = Judge {
            causes: vec![1 << 7],
            asked: Vec::new(),
        };
        assert_eq!(
            fewest(&all, |selection| judge.judge(selection)),
            Ok(vec![7])
        );
        assert!(judge.asked.len() <= 8, "{:?}", judge.asked);
    }

    #[test]
    fn a_judge_that_cannot_say_ends_the_search() {
        let refused = fewest(&[1, 2, 3], |_| Err::<Outcome, _>("no more memory"));
        assert_eq!(refused, Err("no more memory"));
    }
}
