// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit list`: the scenarios there are.

use anyhow::Context;
use deferinit_scenario::Scenario;
use serde::Serialize;

use crate::args::{Format, List};
use crate::exit::{Failure, PASSED};
use crate::pipeline::clock_word;
use crate::project::Project;
use crate::scenarios;
use crate::stdout::print;

/// The list for programs.
#[derive(Serialize)]
struct Listing<'a> {
    format_version: u32,
    scenarios: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    summary: &'a str,
    clock: &'static str,
    machine: &'a str,
    cpus: u32,
    phases: Vec<&'a str>,
    expectations: usize,
}

/// Runs the command.
pub(crate) fn run(arguments: &List) -> Result<u8, Failure> {
    let scenarios = scenarios::all(&Project::find()?)?;
    match arguments.format {
        Format::Text => {
            let width = scenarios
                .iter()
                .map(|scenario| scenario.name.len())
                .max()
                .unwrap_or(0);
            for scenario in &scenarios {
                print(&format!("{:<width$}  {}", scenario.name, scenario.summary))?;
            }
        }
        Format::Json => {
            let listing = Listing {
                format_version: 1,
                scenarios: scenarios.iter().map(entry).collect(),
            };
            let json = serde_json::to_string_pretty(&listing)
                .context("cannot write the list as JSON")
                .map_err(Failure::setup)?;
            print(&json)?;
        }
    }
    Ok(PASSED)
}

fn entry(scenario: &Scenario) -> Entry<'_> {
    Entry {
        name: &scenario.name,
        summary: &scenario.summary,
        clock: clock_word(scenario.clock),
        machine: &scenario.machine.name,
        cpus: scenario.machine.cpus,
        phases: scenario
            .phases
            .iter()
            .map(|phase| phase.name.as_str())
            .collect(),
        expectations: scenario.expect.len(),
    }
}
