// SPDX-License-Identifier: GPL-2.0-only

//! Finding and reading scenario files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deferinit_scenario::{MAX_BYTES, Scenario, parse};

use crate::exit::Failure;
use crate::project::Project;

/// The ending of a scenario file.
const EXTENSION: &str = "yaml";

/// Every scenario of the project, by name.
pub(crate) fn all(project: &Project) -> Result<Vec<Scenario>, Failure> {
    let root = project.scenarios();
    files_below(&root)?
        .iter()
        .map(|file| read(file, &name_of(file, &root)))
        .collect()
}

/// The scenarios that the user asked for, in that order; all of them if there is no wish.
pub(crate) fn selected(project: &Project, wishes: &[String]) -> Result<Vec<Scenario>, Failure> {
    if wishes.is_empty() {
        return all(project);
    }
    let mut scenarios: Vec<Scenario> = Vec::new();
    for wish in wishes {
        for scenario in matching(project, wish)? {
            if !scenarios.iter().any(|known| known.name == scenario.name) {
                scenarios.push(scenario);
            }
        }
    }
    Ok(scenarios)
}

/// A file, a folder, a name, or the folder part of names.
fn matching(project: &Project, wish: &str) -> Result<Vec<Scenario>, Failure> {
    let root = project.scenarios();
    let by_name = root.join(format!("{wish}.{EXTENSION}"));
    let by_folder = root.join(wish);
    let path = PathBuf::from(wish);
    let files = if path.is_file() {
        vec![path]
    } else if path.is_dir() {
        files_below(&path)?
    } else if by_name.is_file() {
        vec![by_name]
    } else if by_folder.is_dir() {
        files_below(&by_folder)?
    } else {
        let names: Vec<String> = all(project)?
            .into_iter()
            .map(|scenario| scenario.name)
            .collect();
        return Err(Failure::usage(anyhow!(
            "no scenario is named {wish:?}, and there is no such file; there are: {}",
            names.join(", ")
        )));
    };
    if files.is_empty() {
        return Err(Failure::usage(anyhow!(
            "there is no scenario (*.{EXTENSION}) below {wish}"
        )));
    }
    files
        .iter()
        .map(|file| read(file, &name_of(file, &root)))
        .collect()
}

/// Reads and validates one file.
pub(crate) fn read(file: &Path, name: &str) -> Result<Scenario, Failure> {
    let bytes = read_bounded(file).map_err(Failure::usage)?;
    parse(name, &bytes).map_err(|error| Failure::usage(error.in_file(file.display().to_string())))
}

/// A scenario's name: its path below the project's scenarios, or what stands in for it elsewhere.
pub(crate) fn name_of(file: &Path, root: &Path) -> String {
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let file = absolute(file);
    let relative = match file.strip_prefix(absolute(root)) {
        Ok(relative) => relative.to_owned(),
        Err(_) => file.file_name().map(PathBuf::from).unwrap_or_default(),
    };
    relative.with_extension("").to_string_lossy().into_owned()
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
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))
            .map_err(Failure::setup)?;
        for entry in entries.flatten() {
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
