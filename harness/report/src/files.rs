// SPDX-License-Identifier: GPL-2.0-only

//! Writes the report's files.
//!
//! In: a folder and the runs. Out: three files, each in place only when it is whole.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{RunResult, json, junit, ktap};

/// The name of the JSON report.
pub const JSON_FILE: &str = "results.json";

/// The name of the JUnit report.
pub const JUNIT_FILE: &str = "junit.xml";

/// The name of the KTAP report.
pub const KTAP_FILE: &str = "results.ktap";

/// Writes [`JSON_FILE`], [`JUNIT_FILE`] and [`KTAP_FILE`] into `folder`, which is there. Files of
/// these names are replaced.
///
/// # Errors
/// A file can not be written; it is then as it was before.
pub fn write(folder: &Path, results: &[RunResult]) -> Result<()> {
    replace(&folder.join(JSON_FILE), &json(results)?)?;
    replace(&folder.join(JUNIT_FILE), &junit(results)?)?;
    replace(&folder.join(KTAP_FILE), &ktap(results))
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_added_extension("new");
    let written = fs::write(&aside, text).and_then(|()| fs::rename(&aside, path));
    written.with_context(|| format!("writing {}", path.display()))
}
