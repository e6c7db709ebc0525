// SPDX-License-Identifier: GPL-2.0-only

//! Finding and reading scenario files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deferinit_scenario::{MAX_BYTES, Scenario, parse};

use crate::exit::Failure;
use crate::project::Project;

/// The ending of a scenario file.
const EXTENSION: &str = "yaml";

/// A scenario file, and what its scenario is called.
#[derive(Debug)]
struct Found {
    file: PathBuf,
    name: String,
}

/// Every scenario of the project, by name.
pub(crate) fn all(project: &Project) -> Result<Vec<Scenario>, Failure> {
    let root = project.scenarios();
    read_all(&named(files_below(&root)?, &root, &root))
}

/// The scenarios that the user asked for, in that order; all of them if there is no wish.
pub(crate) fn selected(project: &Project, wishes: &[String]) -> Result<Vec<Scenario>, Failure> {
    if wishes.is_empty() {
        return all(project);
    }
    let mut found = Vec::new();
    for wish in wishes {
        found.extend(matching(project, wish)?);
    }
    read_all(&distinct(found)?)
}

/// A scenario file with its text.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) text: String,
}

/// The one scenario that the user asked for.
pub(crate) fn one(project: &Project, wish: &str) -> Result<Selected, Failure> {
    let mut found = matching(project, wish)?;
    let (Some(Found { file, name }), None) = (found.pop(), found.pop()) else {
        return Err(Failure::usage(anyhow!(
            "{wish} has several scenarios below it; name one of them"
        )));
    };
    // Says what is wrong with it, if anything.
    read(&file, &name)?;
    let bytes = read_bounded(&file).map_err(Failure::usage)?;
    Ok(Selected {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        name,
        file,
    })
}

fn read_all(found: &[Found]) -> Result<Vec<Scenario>, Failure> {
    found
        .iter()
        .map(|found| read(&found.file, &found.name))
        .collect()
}

/// A file, a folder, a name, or the folder part of names.
fn matching(project: &Project, wish: &str) -> Result<Vec<Found>, Failure> {
    let root = project.scenarios();
    let by_name = root.join(format!("{wish}.{EXTENSION}"));
    let by_folder = root.join(wish);
    let path = PathBuf::from(wish);
    if path.is_file() {
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        return Ok(named(vec![path], &parent, &root));
    }
    if !path.is_dir() && by_name.is_file() {
        return Ok(named(vec![by_name], &root, &root));
    }
    let folder = if path.is_dir() { path } else { by_folder };
    if !folder.is_dir() {
        return Err(unknown(project, wish)?);
    }
    let files = files_below(&folder)?;
    if files.is_empty() {
        return Err(Failure::usage(anyhow!(
            "there is no scenario (*.{EXTENSION}) below {wish}"
        )));
    }
    Ok(named(files, &folder, &root))
}

/// What to say of a wish that fits nothing.
fn unknown(project: &Project, wish: &str) -> Result<Failure, Failure> {
    let names: Vec<String> = all(project)?
        .into_iter()
        .map(|scenario| scenario.name)
        .collect();
    Ok(Failure::usage(anyhow!(
        "no scenario is named {wish:?}, and there is no such file; there are: {}",
        names.join(", ")
    )))
}

/// Names files: by the path below the project's scenarios, or else below `folder`, which the user gave.
fn named(files: Vec<PathBuf>, folder: &Path, root: &Path) -> Vec<Found> {
    let root = real(root);
    let name = |file: &Path| {
        let absolute = real(file);
        let below = absolute
            .strip_prefix(&root)
            .or_else(|_| file.strip_prefix(folder));
        let below = below.unwrap_or(file).with_extension("");
        below.to_string_lossy().into_owned()
    };
    files
        .into_iter()
        .map(|file| Found {
            name: name(&file),
            file,
        })
        .collect()
}

/// Leaves out files that are there already. Two files cannot share a name: it is that of a folder.
fn distinct(found: Vec<Found>) -> Result<Vec<Found>, Failure> {
    let mut files = BTreeSet::new();
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut kept = Vec::new();
    for found in found {
        if !files.insert(real(&found.file)) {
            continue;
        }
        if let Some(other) = names.insert(found.name.clone(), found.file.clone()) {
            return Err(Failure::usage(anyhow!(
                "{} and {} would both be named {:?}; give the folder above both, or rename one",
                other.display(),
                found.file.display(),
                found.name
            )));
        }
        kept.push(found);
    }
    Ok(kept)
}

/// The path that a file has once; itself if that cannot be said.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads and validates one file.
pub(crate) fn read(file: &Path, name: &str) -> Result<Scenario, Failure> {
    let bytes = read_bounded(file).map_err(Failure::usage)?;
    parse(name, &bytes).map_err(|error| Failure::usage(error.in_file(file.display().to_string())))
}

/// Reads a file, but no more than shows that it is too large.
fn read_bounded(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the scenario {}", file.display()))?;
    Ok(bytes)
}

/// All scenario files below a folder, sorted by path.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = || format!("cannot list {}", folder.display());
        let entries = fs::read_dir(&folder)
            .with_context(unreadable)
            .map_err(Failure::setup)?;
        for entry in entries {
            let entry = entry.with_context(unreadable).map_err(Failure::setup)?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, folder: &str) -> Found {
        let root = Path::new("/project/scenarios");
        let mut named = named(vec![file.into()], Path::new(folder), root);
        named.remove(0)
    }

    #[test]
    fn a_name_is_the_path_below_the_scenarios_or_below_what_the_user_gave() {
        let name = |file, folder| found(file, folder).name;
        assert_eq!(name("/project/scenarios/a/x.yaml", "/project"), "a/x");
        assert_eq!(name("mine/a/x.yaml", "mine"), "a/x");
        assert_eq!(name("mine/a/x.yaml", "mine/a"), "x");
        assert_eq!(name("./x.yaml", "."), "x");
    }

    #[test]
    fn two_files_of_one_name_are_refused_and_both_are_named() {
        let failure = distinct(vec![found("a/x.yaml", "a"), found("b/x.yaml", "b")])
            .expect_err("one name for two")
            .to_string();
        assert!(
            failure.contains("a/x.yaml") && failure.contains("b/x.yaml"),
            "{failure}"
        );
    }

    #[test]
    fn a_file_that_is_asked_for_twice_runs_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let sub = folder.path().join("a");
        fs::create_dir(&sub).expect("a folder");
        let file = sub.join("x.yaml");
        fs::write(&file, "").expect("a file");
        let once =
            |folder: &Path| named(vec![file.clone()], folder, Path::new("/project")).remove(0);
        let kept = distinct(vec![once(folder.path()), once(&sub)]).expect("one file");
        let names: Vec<_> = kept.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a/x"]);
    }
}
