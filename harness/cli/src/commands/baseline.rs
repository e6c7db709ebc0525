// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit baseline`: keeps what runs came to in a file, and holds later runs against it.
//!
//! The file is JSON with sorted keys and a line for each number, without paths, dates and hashes of images, so that a
//! change of it in a repository shows what has changed. The hash in it is of the workload alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deferinit_analysis::compare::Profile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::args::analysis::{Baseline, BaselineCheck, BaselineFile};
use crate::commands::compare::{self, Compared};
use crate::exit::{Failure, PASSED};
use crate::measured_run::{Key, MeasuredRun};
use crate::stdout::print;

/// The version that is written and read.
const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct References {
    format_version: u32,
    scenarios: BTreeMap<String, Reference>,
}

/// One scenario in it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    key: Key,
    /// Of what is run and recorded, so that another scenario of the same name is noticed.
    workload_sha256: String,
    measures: Profile,
}

/// Runs the command.
pub(crate) fn run(command: &Baseline) -> Result<u8, Failure> {
    match command {
        Baseline::Record(arguments) => record(arguments),
        Baseline::Check(arguments) => check(arguments),
    }
}

fn record(arguments: &BaselineFile) -> Result<u8, Failure> {
    let mut references = read(&arguments.file)?.unwrap_or(References {
        format_version: VERSION,
        scenarios: BTreeMap::new(),
    });
    let mut names = Vec::new();
    for run in measured(&arguments.runs)? {
        if let Some(why) = unfit(&run) {
            return Err(Failure::usage(anyhow!("{}: {why}", run.name)));
        }
        names.push(run.name.clone());
        let reference = Reference {
            workload_sha256: workload_hash(&run)?,
            key: run.key,
            measures: run.profile,
        };
        references.scenarios.insert(run.name, reference);
    }
    let mut json = serde_json::to_vec_pretty(&references)
        .context("cannot write the references as JSON")
        .map_err(Failure::setup)?;
    json.push(b'\n');
    replace(&arguments.file, &json)?;
    print(&format!(
        "{}: {}",
        arguments.file.display(),
        names.join(", ")
    ))?;
    Ok(PASSED)
}

fn check(arguments: &BaselineCheck) -> Result<u8, Failure> {
    let file = &arguments.what.file;
    let references = read(file)?.ok_or_else(|| {
        Failure::usage(anyhow!(
            "there is no file {}; `deferinit baseline record` makes it",
            file.display()
        ))
    })?;
    let mut compared = Vec::new();
    for run in measured(&arguments.what.runs)? {
        compared.push(held_against(&run, references.scenarios.get(&run.name))?);
    }
    compare::show(&compared, arguments.limit, arguments.format)
}

fn held_against(run: &MeasuredRun, reference: Option<&Reference>) -> Result<Compared, Failure> {
    let Some(reference) = reference else {
        return Ok(Compared::unresolved(
            &run.name,
            "the file has no such scenario",
        ));
    };
    let differs = reference.key.differences(&run.key);
    let names: Vec<&str> = differs.iter().map(|(name, ..)| name.as_str()).collect();
    let why = if !names.is_empty() {
        Some(format!("the file has it for another {}", names.join(", ")))
    } else if reference.workload_sha256 != workload_hash(run)? {
        Some("the file has it with another workload, or of another trace".to_owned())
    } else {
        unfit(run)
    };
    Ok(match why {
        Some(why) => Compared {
            differs,
            ..Compared::unresolved(&run.name, &why)
        },
        None => Compared {
            scenario: run.name.clone(),
            unresolved: None,
            differs,
            measures: reference.measures.len().max(run.profile.len()),
            moving: None,
            repeated: None,
            changes: reference.measures.changes(&run.profile),
        },
    })
}

/// Why a run's numbers are no reference.
fn unfit(run: &MeasuredRun) -> Option<String> {
    if !run.is_exact {
        return Some("it ran on the wall clock, where one run is no measure".to_owned());
    }
    run.doubt.clone()
}

fn measured(paths: &[PathBuf]) -> Result<Vec<MeasuredRun>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(compare::read(path)?.into_values());
    }
    Ok(all)
}

fn workload_hash(run: &MeasuredRun) -> Result<String, Failure> {
    let json = serde_json::to_vec(&run.workload)
        .context("cannot write the plan as JSON")
        .map_err(Failure::setup)?;
    let hash = Sha256::digest(&json);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is in the file; none if it is not there.
fn read(path: &Path) -> Result<Option<References>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let error = anyhow!(error).context(format!("cannot read {}", path.display()));
            return Err(Failure::usage(error));
        }
    };
    let references: References = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is no file of `baseline record`", path.display()))
        .map_err(Failure::usage)?;
    if references.format_version != VERSION {
        return Err(Failure::usage(anyhow!(
            "{}: format_version is {} but only {VERSION} can be read",
            path.display(),
            references.format_version
        )));
    }
    Ok(Some(references))
}

/// Puts a file in its place when it is whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create(&aside)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&aside, path));
    written
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(|error| {
            // What was not written whole is in nobody's way.
            drop(fs::remove_file(&aside));
            Failure::setup(error)
        })
}
