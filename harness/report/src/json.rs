// SPDX-License-Identifier: GPL-2.0-only

//! `results.json`: every run with its verdict, measurements and checks, for programs.
//!
//! In: the runs. Out: JSON text, one entry per run. The format is described in `docs/results.md`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use deferinit_check::CheckResult;
use serde::Serialize;

use crate::spread::{Noise, noise};
use crate::{FunctionFigures, RunResult, Timings};

/// The version of the format. It changes when a key changes its meaning or goes; a new key is no
/// new version.
pub const FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Results<'a> {
    format_version: u32,
    scenarios: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    noise: Vec<Noise<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    repetition: u32,
    repetitions: u32,
    verdict: &'static str,
    reason: String,
    clock: &'a str,
    kernel: &'a str,
    machine: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accelerator: Option<&'a str>,
    measurements: &'a BTreeMap<String, i64>,
    wall_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
    guest_ns: Option<i64>,
    trace_sha256: Option<&'a str>,
    folder: &'a str,
    checks: &'a [CheckResult],
    functions: &'a [FunctionFigures],
}

impl<'a> From<&'a RunResult> for Entry<'a> {
    fn from(result: &'a RunResult) -> Self {
        Self {
            name: result.name(),
            repetition: result.repetition.index,
            repetitions: result.repetition.of,
            verdict: result.judgement.verdict.word(),
            reason: result.judgement.verdict.reason(),
            clock: &result.clock,
            kernel: &result.kernel,
            machine: &result.machine,
            accelerator: result.accelerator.as_deref(),
            measurements: &result.judgement.measurements,
            wall_seconds: milliseconds(result.wall),
            timings: result.timings,
            guest_ns: result.guest_ns,
            trace_sha256: result.trace_sha256.as_deref(),
            folder: &result.folder,
            checks: &result.judgement.checks,
            functions: &result.functions,
        }
    }
}

/// Seconds in whole milliseconds: more digits would be noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// The text of `results.json`, with a newline at its end.
///
/// # Errors
/// None is known; what serde_json reports is passed on.
pub fn json(results: &[RunResult]) -> Result<String> {
    let file = Results {
        format_version: FORMAT_VERSION,
        scenarios: results.iter().map(Entry::from).collect(),
        noise: noise(results),
    };
    let text = serde_json::to_string_pretty(&file).context("writing results as JSON")?;
    Ok(text + "\n")
}
