// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit compare`: two runs of the same scenarios, number by number; or repeated runs, on the wall clock.

mod repeated;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use deferinit_analysis::compare::{Change, Profile, table};
use serde::Serialize;

use self::repeated::Repeated;

use crate::args::Format;
use crate::args::analysis::Compare;
use crate::commands::trace::print_json;
use crate::exit::{FAILED, Failure, PASSED, UNRESOLVED};
use crate::measured_run::MeasuredRun;
use crate::stdout::print_bytes;
use crate::trace_file::runs;

/// What came out for one scenario.
#[derive(Serialize)]
pub(crate) struct Compared {
    pub(crate) scenario: String,
    /// Why the two cannot be compared; then nothing is.
    pub(crate) unresolved: Option<String>,
    /// What the two are of: the name, and both values where they differ.
    pub(crate) differs: Vec<(String, String, String)>,
    /// How many numbers were compared.
    pub(crate) measures: usize,
    /// How many of them move in a rebuild, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moving: Option<usize>,
    pub(crate) changes: Vec<Change>,
    /// What repeated runs come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeated: Option<Repeated>,
}

#[derive(Serialize)]
struct Answer<'a> {
    scenarios: &'a [Compared],
}

/// Runs the command.
pub(crate) fn run(arguments: &Compare) -> Result<u8, Failure> {
    let floors: Vec<&Path> = arguments.floor.iter().map(PathBuf::as_path).collect();
    let compared = compared(&arguments.first, &arguments.second, &floors)?;
    show(&compared, arguments.limit, arguments.format)
}

/// What two folders of runs differ in, by scenario; beside how much the numbers of the first move in rebuilds.
///
/// # Errors
/// One of them cannot be read.
pub(crate) fn compared(
    first: &Path,
    second: &Path,
    floors: &[&Path],
) -> Result<Vec<Compared>, Failure> {
    let (first, second) = (groups(first)?, groups(second)?);
    let floors: Vec<_> = floors
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    let floors_of = |name: &String| -> Result<Vec<&MeasuredRun>, Failure> {
        let found = floors.iter().map(|floor| match floor.get(name) {
            // Like two runs of one scenario each.
            None if first.len() == 1 && floor.len() == 1 => floor.values().next(),
            found => found,
        });
        found
            .collect::<Option<_>>()
            .ok_or_else(|| Failure::usage(anyhow!("a --floor has no run of {name}")))
    };
    let pair = |name: &String, one: &[MeasuredRun], other: &[MeasuredRun]| match (one, other) {
        ([one], [other]) => Ok(compare(one, other, &floors_of(name)?)),
        _ if floors.is_empty() => Ok(repeated::compare(one, other)),
        _ => Err(Failure::usage(anyhow!(
            "--floor is for single runs on the exact clock; repeated runs have their own noise"
        ))),
    };
    let mut compared = Vec::new();
    for (name, one) in &first {
        compared.push(match second.get(name) {
            Some(other) => pair(name, one, other)?,
            None => Compared::unresolved(name, "it is in the first folder only"),
        });
    }
    let alone = second.keys().filter(|name| !first.contains_key(*name));
    compared
        .extend(alone.map(|name| Compared::unresolved(name, "it is in the second folder only")));
    // Two runs of one scenario each are meant for each other, whatever they are called.
    if let ([(name, one)], [(_, other)]) = (
        first.iter().collect::<Vec<_>>().as_slice(),
        second.iter().collect::<Vec<_>>().as_slice(),
    ) {
        compared = vec![pair(name, one, other)?];
    }
    repeated::conclude(&mut compared);
    Ok(compared)
}

/// The runs that a path means, by their scenarios.
///
/// # Errors
/// There is none, two are of one scenario, or one cannot be read.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, MeasuredRun>, Failure> {
    let mut found = BTreeMap::new();
    for (name, runs) in groups(path)? {
        let mut runs = runs.into_iter();
        let (Some(run), None) = (runs.next(), runs.next()) else {
            return Err(several(path, &name));
        };
        found.insert(name, run);
    }
    Ok(found)
}

/// The same, where a scenario on the wall clock may have several.
fn groups(path: &Path) -> Result<BTreeMap<String, Vec<MeasuredRun>>, Failure> {
    let mut found: BTreeMap<String, Vec<MeasuredRun>> = BTreeMap::new();
    for folder in runs(path)? {
        let run = MeasuredRun::read(&folder)?;
        found.entry(run.name.clone()).or_default().push(run);
    }
    for (name, runs) in &found {
        if runs.len() > 1 && runs.iter().any(|run| run.is_exact) {
            return Err(several(path, name));
        }
    }
    Ok(found)
}

fn several(path: &Path, name: &str) -> Failure {
    Failure::usage(anyhow!(
        "{} holds several runs of {name}; name one of them",
        path.display()
    ))
}

impl Compared {
    /// How many numbers differ by more than in a rebuild.
    fn above_floor(&self) -> usize {
        let repeated = self.repeated.as_ref().map_or(0, Repeated::different);
        let above = self
            .changes
            .iter()
            .filter(|change| !change.is_within_floor());
        above.count().saturating_add(repeated)
    }

    /// Nothing was compared.
    pub(crate) fn unresolved(scenario: &str, why: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            unresolved: Some(why.to_owned()),
            differs: Vec::new(),
            measures: 0,
            moving: None,
            changes: Vec::new(),
            repeated: None,
        }
    }
}

fn compare(one: &MeasuredRun, other: &MeasuredRun, floors: &[&MeasuredRun]) -> Compared {
    let differs = differences(one, other);
    let unlike_floor = || {
        let why = floors.iter().find_map(|floor| unlike(one, floor))?;
        Some(format!("the second is a --floor: {why}"))
    };
    if let Some(why) = unlike(one, other).or_else(unlike_floor) {
        return Compared {
            differs,
            ..Compared::unresolved(&one.name, &why)
        };
    }
    let rebuilds: Vec<&Profile> = floors.iter().map(|floor| &floor.profile).collect();
    let moving: BTreeSet<(String, String)> = rebuilds
        .iter()
        .flat_map(|rebuild| one.profile.changes(rebuild))
        .map(|change| (change.what, change.part))
        .collect();
    Compared {
        scenario: one.name.clone(),
        unresolved: None,
        differs,
        measures: one.profile.len().max(other.profile.len()),
        moving: (!floors.is_empty()).then_some(moving.len()),
        changes: one.profile.changes_above(&other.profile, &rebuilds),
        repeated: None,
    }
}

/// In what two runs differ that is no number of them.
fn differences(one: &MeasuredRun, other: &MeasuredRun) -> Vec<(String, String, String)> {
    let mut differs = one.key.differences(&other.key);
    if one.image != other.image {
        differs.push(("image".to_owned(), one.image.clone(), other.image.clone()));
    }
    differs
}

/// Why two runs are unlike things, or not to be relied on.
fn unlike(one: &MeasuredRun, other: &MeasuredRun) -> Option<String> {
    if one.workload != other.workload {
        return Some("their workloads or what they record are not the same".to_owned());
    }
    for (run, word) in [(one, "first"), (other, "second")] {
        if !run.is_exact {
            return Some(format!(
                "the {word} ran on the wall clock, where one run is no measure; --clock exact makes it one, or --repeat 30 of both"
            ));
        }
        if let Some(doubt) = &run.doubt {
            return Some(format!("of the {word}, {doubt}"));
        }
    }
    None
}

/// Prints what came out; with the exit code that it asks for.
///
/// # Errors
/// It cannot be printed.
pub(crate) fn show(
    compared: &[Compared],
    limit: Option<usize>,
    format: Format,
) -> Result<u8, Failure> {
    match format {
        Format::Json => print_json(&Answer {
            scenarios: compared,
        })?,
        Format::Text => {
            print_bytes(text(compared, limit).as_bytes())?;
        }
    }
    Ok(if compared.iter().any(|one| one.above_floor() > 0) {
        FAILED
    } else if compared.iter().any(|one| one.unresolved.is_some()) {
        UNRESOLVED
    } else {
        PASSED
    })
}

/// What came out, for people.
pub(crate) fn text(compared: &[Compared], limit: Option<usize>) -> String {
    let mut text = String::new();
    for one in compared {
        push(&mut text, one, limit);
    }
    text
}

/// So much of a hash, or of an option, says which one it is.
const SHOWN: usize = 60;

/// Where two texts begin to differ, at the begin of a word.
fn difference<'a>(first: &'a str, second: &'a str) -> (&'a str, &'a str) {
    let common = first
        .char_indices()
        .zip(second.chars())
        .take_while(|((_, one), other)| one == other)
        .filter(|((_, letter), _)| *letter == ' ')
        .last()
        .map_or(0, |((place, _), _)| place.saturating_add(1));
    (
        first.get(common..).unwrap_or(first),
        second.get(common..).unwrap_or(second),
    )
}

fn push(text: &mut String, one: &Compared, limit: Option<usize>) {
    // Into memory, where nothing fails.
    for (name, first, second) in &one.differs {
        let (first, second) = difference(first, second);
        let short = |value: &str| match value.chars().count() {
            0 => "nothing".to_owned(),
            1..=SHOWN => value.to_owned(),
            _ => value.chars().take(SHOWN).chain(['…']).collect(),
        };
        let _ = writeln!(text, "{name}: {} -> {}", short(first), short(second));
    }
    if let Some(why) = &one.unresolved {
        let _ = writeln!(text, "{}: unresolved: {why}", one.scenario);
        return;
    }
    if let Some(repeated) = &one.repeated {
        return repeated::push(text, one, repeated, limit);
    }
    if one.changes.is_empty() {
        let _ = writeln!(
            text,
            "{}: no difference: {} numbers are equal to the nanosecond",
            one.scenario, one.measures
        );
        return;
    }
    let floor = one.moving.map_or_else(String::new, |moving| {
        let above = one.above_floor();
        format!(", {above} of them by more than in a rebuild, in which {moving} do")
    });
    let _ = writeln!(
        text,
        "{}: {} of {} numbers differ{floor}",
        one.scenario,
        one.changes.len(),
        one.measures
    );
    text.push_str(&table(&one.changes, limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_from_where_they_differ() {
        for (one, other, wanted) in [
            ("a b c", "a b d", ("c", "d")),
            ("a b", "a b c", ("b", "b c")),
            ("x", "y", ("x", "y")),
            ("", "y", ("", "y")),
            ("a é b", "a é c", ("b", "c")),
        ] {
            assert_eq!(difference(one, other), wanted);
        }
    }
}
