// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit doctor`: what a run needs, what of it is there, and how to get the rest.

mod determinism;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use deferinit_kernel::requirements::{Finding, Need, State, Survey};
use deferinit_scenario::Clock;

use crate::args::Doctor;
use crate::exit::{Failure, PASSED, SETUP};
use crate::prepare;
use crate::project::Project;
use crate::stdout::print;

/// The machine whose speed is shown: the default one.
const MACHINE: &str = "x86_64";

/// Runs the command.
pub(crate) fn run(arguments: &Doctor, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    if arguments.determinism {
        determinism::run(arguments, interrupted)
    } else {
        requirements(interrupted)
    }
}

/// Exits 0 only if a run would find everything it needs.
fn requirements(interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let (session, kbuild) = prepare::session(&project, interrupted)?;
    let survey = kbuild.requirements.survey(&session.cache);
    print(&survey.release_name)?;
    let width = survey
        .findings
        .iter()
        .map(|finding| finding.requirement.name.len())
        .max()
        .unwrap_or(0);
    for finding in &survey.findings {
        print(&line(&survey, finding, width))?;
    }
    let agent = project.agent();
    let has_agent = agent.is_file();
    let (state, detail) = if has_agent {
        ("found", agent.display().to_string())
    } else {
        ("missing", "mend with: make build".to_owned())
    };
    print(&format!("{state:<8} {:<width$}  {detail}", "agent"))?;
    if let Ok(machine) = prepare::machine(&project, MACHINE, Clock::Wall)
        && let Some(accelerator) = machine.accelerator(Clock::Wall)
    {
        print(&format!(
            "{:<8} {:<width$}  {accelerator}",
            "measured", "accelerator"
        ))?;
    }
    if let Some(command) = survey.root_command(Need::Test) {
        print(&format!("\nAll packages at once, as root: {command}"))?;
    }
    let is_ready = has_agent && survey.unmet(Need::Run).is_empty();
    print(if is_ready {
        "\nA run would find everything it needs."
    } else {
        "\nA run would fail."
    })?;
    Ok(if is_ready { PASSED } else { SETUP })
}

fn line(survey: &Survey, finding: &Finding, width: usize) -> String {
    let name = &finding.requirement.name;
    let mend = || match survey.command_for(finding) {
        Some(command) => format!("mend with: {command}"),
        None => "how to get it on this system is not known".to_owned(),
    };
    match &finding.state {
        State::Found {
            place,
            version: Some(version),
        } => {
            format!("{:<8} {name:<width$}  {version} ({place})", "found")
        }
        State::Found {
            place,
            version: None,
        } => format!("{:<8} {name:<width$}  {place}", "found"),
        State::TooOld { version, minimum } => {
            format!(
                "{:<8} {name:<width$}  {version}, needed is {minimum}; {}",
                "too old",
                mend()
            )
        }
        State::WithoutSources { place } => {
            format!(
                "{:<8} {name:<width$}  {place} has no library sources; {}",
                "missing",
                mend()
            )
        }
        State::Missing => {
            format!(
                "{:<8} {name:<width$}  {}; {}",
                "missing",
                finding.requirement.why,
                mend()
            )
        }
    }
}
