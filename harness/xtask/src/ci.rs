// SPDX-License-Identifier: GPL-2.0-only

//! Runs steps one after the other and sums them up.
//!
//! In: the steps to run and the root of the workspace. Out: one outcome per step.
//! A failed step does not keep the next from running: one run shows everything there is to mend.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::steps::Step;

/// How one step ended.
pub(crate) struct Outcome {
    name: &'static str,
    time: Duration,
    result: Result<()>,
}

/// The folder of the workspace's Cargo.toml.
///
/// # Errors
/// The folder this crate was built in is gone.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    built_in
        .canonicalize()
        .with_context(|| format!("looking for the workspace at {}", built_in.display()))
}

/// The steps as lines of name and purpose.
pub(crate) fn list(steps: &[Step]) -> String {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    steps.iter().fold(String::new(), |mut text, step| {
        let _ = writeln!(text, "{:width$}  {}", step.name, step.purpose);
        text
    })
}

/// The steps named in `only`, in the order of `steps`; all of them if `only` is empty.
pub(crate) fn choose<'a>(steps: &'a [Step], only: &[String]) -> Vec<&'a Step> {
    steps
        .iter()
        .filter(|step| only.is_empty() || only.iter().any(|name| name == step.name))
        .collect()
}

/// Runs each step and prints how it ended.
pub(crate) fn run(steps: &[&Step], root: &Path) -> Vec<Outcome> {
    steps.iter().map(|step| run_one(step, root)).collect()
}

fn run_one(step: &Step, root: &Path) -> Outcome {
    println!("==> {}: {}", step.name, step.purpose);
    let started = Instant::now();
    let result = (step.run)(root);
    let time = started.elapsed();
    match &result {
        Ok(()) => println!("<== {}: passed in {}", step.name, seconds(time)),
        Err(error) => println!("<== {}: FAILED in {}: {error:#}", step.name, seconds(time)),
    }
    Outcome {
        name: step.name,
        time,
        result,
    }
}

/// One line per step with its result and time, then one line for all.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|o| o.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for outcome in outcomes {
        let (word, why) = match &outcome.result {
            Ok(()) => ("passed", String::new()),
            Err(error) => ("FAILED", format!("  {error:#}")),
        };
        let time = seconds(outcome.time);
        let _ = writeln!(text, "{:width$}  {word}  {time:>9}{why}", outcome.name);
    }
    let passed = outcomes.iter().filter(|o| o.result.is_ok()).count();
    let total = outcomes.iter().map(|o| o.time).sum();
    let _ = writeln!(
        text,
        "{passed} of {} steps passed in {}",
        outcomes.len(),
        seconds(total)
    );
    text
}

/// Success if every step passed.
pub(crate) fn exit_code(outcomes: &[Outcome]) -> ExitCode {
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    const SAMPLE: &[Step] = &[
        Step {
            name: "good",
            purpose: "passes",
            run: |_| Ok(()),
        },
        Step {
            name: "broken",
            purpose: "fails",
            run: |_| bail!("two words differ"),
        },
        Step {
            name: "last",
            purpose: "passes after a failure",
            run: |_| Ok(()),
        },
    ];

    fn names(steps: &[&Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn list_holds_name_and_purpose_in_columns() {
        let expected = "good    passes\nbroken  fails\nlast    passes after a failure\n";
        assert_eq!(list(SAMPLE), expected);
    }

    #[test]
    fn only_chooses_in_the_order_of_the_list() {
        let only = ["last".to_owned(), "good".to_owned()];
        assert_eq!(names(&choose(SAMPLE, &only)), ["good", "last"]);
        assert_eq!(names(&choose(SAMPLE, &[])), ["good", "broken", "last"]);
    }

    #[test]
    fn steps_after_a_failure_run_and_the_summary_names_the_failure() {
        let outcomes = run(&choose(SAMPLE, &[]), Path::new("."));
        assert_eq!(outcomes.len(), 3);
        let text = summary(&outcomes);
        assert!(text.contains("broken  FAILED"), "{text}");
        assert!(text.contains("two words differ"), "{text}");
        assert!(text.contains("2 of 3 steps passed"), "{text}");
        assert_eq!(exit_code(&outcomes), ExitCode::FAILURE);
    }

    #[test]
    fn all_steps_passing_is_success() {
        let only = ["good".to_owned(), "last".to_owned()];
        let outcomes = run(&choose(SAMPLE, &only), Path::new("."));
        assert_eq!(exit_code(&outcomes), ExitCode::SUCCESS);
    }
}
