// SPDX-License-Identifier: GPL-2.0-only

//! The project's own checks, as `cargo xtask ci`, and its tests alone, as `cargo xtask test`.
//!
//! In: the command line and the working tree. Out: each step's output, a summary, and exit code 0
//! if every step passed, 1 if one failed, 2 for a usage error.
//! Changes nothing in the working tree.

mod bench;
mod child;
mod ci;
mod crates;
mod fuzz;
mod steps;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};

use crate::steps::STEPS;

/// The project's own checks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every check a change must pass
    Ci(CiArguments),
    /// Runs all tests, those in the VM and those in the documentation included
    Test,
    /// Measures what the README claims, and prints a table
    Bench,
}

#[derive(Args)]
struct CiArguments {
    /// Prints the steps and what each does, and runs none
    #[arg(long)]
    list: bool,

    /// Runs this step only (may be given several times)
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(steps::names()))]
    only: Vec<String>,
}

fn main() -> ExitCode {
    match run(CommandLine::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let only = match task {
        Task::Ci(CiArguments { list: true, .. }) => {
            print!("{}", ci::list(STEPS));
            return Ok(ExitCode::SUCCESS);
        }
        Task::Ci(CiArguments { list: false, only }) => only,
        Task::Bench => {
            bench::run(&ci::workspace_root()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Task::Test => steps::TESTS.map(str::to_owned).to_vec(),
    };
    let outcomes = ci::run(&ci::choose(STEPS, &only), &ci::workspace_root()?);
    print!("\n{}", ci::summary(&outcomes));
    Ok(ci::exit_code(&outcomes))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn unknown_step_is_refused_with_the_steps_there_are() {
        let arguments = ["cargo xtask", "ci", "--only", "clipy"];
        let Err(error) = CommandLine::try_parse_from(arguments) else {
            panic!("a misspelt step was accepted");
        };
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("clippy"), "{error}");
    }
}
