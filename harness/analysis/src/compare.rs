// SPDX-License-Identifier: GPL-2.0-only

//! What a run came to, as numbers that can be held against those of another run.
//!
//! In: an [`Analysis`]; or two [`Profile`]s. Out: a profile; or every number that differs, the largest difference first.
//! On the exact clock a difference is real, however small. Whether two runs may be compared is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use deferinit_trace::text::scaled as duration;
use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::job::{JobId, Kind};

/// The numbers of a run: by what they are of, and by what of it. Nanoseconds, but for counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile {
    /// `item late`: `wheel`, `run`, `total`; `function deferred_init`: `calls`, `total`.
    pub measures: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What counts, rather than takes time.
const COUNTS: [&str; 2] = ["calls", "attempts"];

/// Whether a part is a number of something, rather than a time.
#[must_use]
pub fn is_count(part: &str) -> bool {
    COUNTS.contains(&part)
}

/// A number that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is of.
    pub what: String,
    /// Which of its numbers.
    pub part: String,
    /// In the first run; none if it is not there.
    pub first: Option<u64>,
    /// In the second.
    pub second: Option<u64>,
    /// By how much the number moves without the change that is asked for, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<u64>,
}

impl Change {
    /// The second less the first.
    #[must_use]
    pub fn difference(&self) -> i128 {
        let number = |side: Option<u64>| i128::from(side.unwrap_or(0));
        number(self.second) - number(self.first)
    }

    /// Whether the number moves as much without the change.
    #[must_use]
    pub fn is_within_floor(&self) -> bool {
        self.floor
            .is_some_and(|floor| self.difference().unsigned_abs() <= u128::from(floor))
    }

    /// Whether it is a number of something, rather than a time.
    #[must_use]
    pub fn is_count(&self) -> bool {
        is_count(&self.part)
    }
}

impl Profile {
    /// Adds to a number.
    pub fn add(&mut self, what: &str, part: &str, number: u64) {
        let parts = self.measures.entry(what.to_owned()).or_default();
        let sum = parts.entry(part.to_owned()).or_default();
        *sum = sum.saturating_add(number);
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.measures.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.measures.is_empty()
    }

    /// Every number that differs: times before counts, the largest difference first.
    #[must_use]
    pub fn changes(&self, second: &Self) -> Vec<Change> {
        let names: BTreeSet<(&str, &str)> = self
            .each()
            .chain(second.each())
            .map(|(what, part, _)| (what, part))
            .collect();
        let mut changes: Vec<Change> = names
            .into_iter()
            .map(|(what, part)| Change {
                what: what.to_owned(),
                part: part.to_owned(),
                first: self.number(what, part),
                second: second.number(what, part),
                floor: None,
            })
            .filter(|change| change.first != change.second)
            .collect();
        sort(&mut changes);
        changes
    }

    /// The same, with the noise floor of each: by how much the number moves from this run to any of `rebuilds`, whose
    /// kernels differ in something that should not matter. Differences that are within it come last.
    #[must_use]
    pub fn changes_above(&self, second: &Self, rebuilds: &[&Self]) -> Vec<Change> {
        let mut changes = self.changes(second);
        for change in &mut changes {
            let number = |profile: &Self| profile.number(&change.what, &change.part).unwrap_or(0);
            let own = number(self);
            let moves = rebuilds.iter().map(|rebuild| number(rebuild).abs_diff(own));
            change.floor = moves.max();
        }
        sort(&mut changes);
        changes
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.each().map(|(what, part, _)| (what, part))
    }

    pub(crate) fn number(&self, what: &str, part: &str) -> Option<u64> {
        self.measures.get(what)?.get(part).copied()
    }

    fn each(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.measures.iter().flat_map(|(what, parts)| {
            parts
                .iter()
                .map(move |(part, number)| (what.as_str(), part.as_str(), *number))
        })
    }
}

/// What is above its noise floor before what is not, times before counts, the largest difference first.
fn sort(changes: &mut [Change]) {
    changes.sort_by_key(|change| {
        let size = change.difference().unsigned_abs();
        let last = (change.is_within_floor(), change.is_count());
        (last, std::cmp::Reverse(size))
    });
}

/// A line for each change, at most `limit`, below a line that says what its columns are.
#[must_use]
pub fn table(changes: &[Change], limit: Option<usize>) -> String {
    let mut out = String::new();
    let shown = limit.unwrap_or(changes.len());
    let has_floor = changes.iter().any(|change| change.floor.is_some());
    let floor_head = if has_floor {
        format!("  {:>12}", "floor")
    } else {
        String::new()
    };
    // Into memory, where nothing fails.
    let _ = writeln!(
        out,
        "  {:>13}  {:>12}  {:>12}{floor_head}",
        "change", "first", "second"
    );
    for change in changes.iter().take(shown) {
        let show = |number: u64| {
            if change.is_count() {
                number.to_string()
            } else {
                duration(number)
            }
        };
        let side = |side: Option<u64>| side.map_or_else(|| "-".to_owned(), show);
        let difference = change.difference();
        let sign = if difference < 0 { "-" } else { "+" };
        let size = u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX);
        let floor = if has_floor {
            format!("  {:>12}", side(change.floor))
        } else {
            String::new()
        };
        let within = if change.is_within_floor() {
            " (within the floor)"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  {:>13}  {:>12}  {:>12}{floor}  {}: {}{within}",
            format!("{sign}{}", show(size)),
            side(change.first),
            side(change.second),
            change.what,
            change.part
        );
    }
    if changes.len() > shown {
        let _ = writeln!(out, "  and {} more", changes.len().saturating_sub(shown));
    }
    out
}

impl Analysis<'_> {
    /// The numbers of items, by segment, and of initcalls.
    pub fn profile(&mut self) -> Profile {
        let ids: Vec<(JobId, Kind)> = self.ids().map(|(id, job)| (id, job.kind)).collect();
        let mut profile = Profile::default();
        for (id, kind) in ids {
            let word = match kind {
                Kind::Item => "item",
                Kind::Initcall => "initcall",
                Kind::Work | Kind::Timer => continue,
            };
            let name = match (kind, self.job(id).and_then(|job| job.item)) {
                (Kind::Item, Some(item)) => self.item_label(item),
                (_, _) => self.label(id),
            };
            let what = format!("{word} {name}");
            for segment in self.bare_segments(id) {
                profile.add(&what, segment.kind.word(), segment.nanoseconds());
                profile.add(&what, "total", segment.nanoseconds());
            }
            profile.add(&what, "attempts", 1);
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(numbers: &[(&str, &str, u64)]) -> Profile {
        let mut profile = Profile::default();
        for (what, part, number) in numbers {
            profile.add(what, part, *number);
        }
        profile
    }

    #[test]
    fn every_difference_is_listed_the_largest_first_and_counts_last() {
        let first = profile(&[
            ("item a", "wheel", 4_000_000),
            ("item a", "run", 100),
            ("item a", "attempts", 1),
            ("item gone", "run", 50),
        ]);
        let second = profile(&[
            ("item a", "wheel", 1_000_000),
            ("item a", "run", 101),
            ("item a", "attempts", 1_000_000_000),
            ("item new", "run", 60),
        ]);
        let changes = first.changes(&second);
        let found: Vec<_> = changes
            .iter()
            .map(|change| {
                (
                    change.what.as_str(),
                    change.part.as_str(),
                    change.difference(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("item a", "wheel", -3_000_000),
                ("item new", "run", 60),
                ("item gone", "run", -50),
                ("item a", "run", 1),
                ("item a", "attempts", 999_999_999),
            ]
        );
        assert_eq!(changes[1].first, None);
        assert!(table(&changes, Some(2)).contains("and 3 more"));
        assert!(table(&changes, None).contains("-3.000 ms"));
        assert_eq!(first.changes(&first), []);
        assert_eq!((first.len(), second.is_empty()), (4, false));
    }

    #[test]
    fn what_moves_as_much_in_a_rebuild_is_marked_and_comes_last() {
        let first = profile(&[("item a", "wheel", 5_000), ("item a", "run", 100)]);
        let second = profile(&[("item a", "wheel", 1_000), ("item a", "run", 300)]);
        let rebuilds = [
            profile(&[("item a", "wheel", 9_000), ("item a", "run", 101)]),
            profile(&[("item a", "wheel", 5_001), ("item a", "run", 110)]),
        ];
        let found = |rebuilds: &[&Profile]| -> Vec<_> {
            let changes = first.changes_above(&second, rebuilds);
            let seen =
                |change: &Change| (change.part.clone(), change.floor, change.is_within_floor());
            changes.iter().map(seen).collect()
        };
        let [one, other] = &rebuilds;
        assert_eq!(
            found(&[one, other]),
            [
                ("run".to_owned(), Some(10), false),
                ("wheel".to_owned(), Some(4_000), true)
            ]
        );
        // One that moved it by 1 ns says nothing against a difference of 4000.
        let with_other: Vec<_> = found(&[other]);
        assert_eq!(
            with_other.first(),
            Some(&("wheel".to_owned(), Some(1), false))
        );
        let without: Vec<_> = found(&[]);
        assert!(
            without
                .iter()
                .all(|(_, floor, within)| floor.is_none() && !within)
        );
        let text = table(&first.changes_above(&second, &[one]), None);
        let last = text.lines().last().expect("a line");
        assert!(last.ends_with("item a: wheel (within the floor)"), "{text}");
        assert!(text.starts_with("         change"), "{text}");
    }
}
