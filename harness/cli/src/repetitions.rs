// SPDX-License-Identifier: GPL-2.0-only

//! On the exact clock, every run of a scenario must be the same to the last bit.

mod difference;

use anyhow::{Context, Result};
use deferinit_check::{Reason, Verdict, Violation};
use deferinit_report::RunResult;
use deferinit_scenario::Clock;

pub(crate) use difference::{Difference, difference};

/// The check of those who ask for it.
const CHECK: &str = "determinism";

/// What becomes of a run that is not the same as the first one of its scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// It can't tell: one of the two is wrong, and the harness or QEMU is to blame, not the kernel. A failure stays
    /// one: its evidence stands by itself.
    Expected,
    /// It fails, whatever else it comes to: whether runs are the same is what the user asks.
    Verified,
}

/// Takes the verdict from a run that is not the same as the first one.
///
/// # Errors
/// If what one of them has left cannot be read.
pub(crate) fn hold_against_first(
    first: &RunResult,
    result: &mut RunResult,
    clock: Clock,
    sameness: Sameness,
) -> Result<()> {
    let is_compared = match (clock, sameness) {
        (Clock::Wall, _) => false,
        (Clock::Exact, Sameness::Verified) => true,
        (Clock::Exact, Sameness::Expected) => matches!(result.judgement.verdict, Verdict::Pass),
    };
    if !is_compared {
        return Ok(());
    }
    let found = difference(first, result).context("cannot compare it with the first run")?;
    let Some(Difference { what, sides }) = found else {
        return Ok(());
    };
    let message = format!("not the same as run {}: {what}", first.repetition.index);
    let verdict = &mut result.judgement.verdict;
    *verdict = match sameness {
        Sameness::Expected => Verdict::Unresolved(Reason::NotDeterministic { message, sides }),
        Sameness::Verified => {
            let violation = Violation {
                check: CHECK.to_owned(),
                message: format!("{CHECK}: {message}"),
                evidence: sides,
            };
            let others = match verdict {
                Verdict::Fail(violations) => violations.clone(),
                Verdict::Pass | Verdict::Unresolved(_) | Verdict::Unsupported(_) => Vec::new(),
            };
            Verdict::Fail([vec![violation], others].concat())
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deferinit_report::Repetition;
    use deferinit_timeline::FormatVersion;

    use super::*;

    fn run(verdict: Verdict, init: i64) -> RunResult {
        RunResult {
            repetition: Repetition { index: 1, of: 2 },
            judgement: deferinit_check::Judgement {
                format_version: FormatVersion,
                scenario: "test".to_owned(),
                verdict,
                checks: Vec::new(),
                measurements: [("main.init".to_owned(), init)].into(),
            },
            clock: "exact".to_owned(),
            kernel: "7.3.4".to_owned(),
            machine: "x86_64".to_owned(),
            accelerator: None,
            guest_ns: None,
            wall: Duration::ZERO,
            timings: None,
            trace_sha256: Some("a".to_owned()),
            folder: String::new(),
            console: Vec::new(),
            functions: Vec::new(),
        }
    }

    fn verdict_of(other: RunResult, clock: Clock, sameness: Sameness) -> Verdict {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let paths = folders
            .each_ref()
            .map(|folder| folder.path().display().to_string());
        let [folder_of_first, folder] = paths;
        let first = RunResult {
            folder: folder_of_first,
            ..run(Verdict::Pass, 5)
        };
        let mut other = RunResult {
            folder,
            repetition: Repetition { index: 2, of: 2 },
            ..other
        };
        hold_against_first(&first, &mut other, clock, sameness).expect("readable");
        other.judgement.verdict
    }

    fn failed() -> Verdict {
        Verdict::Fail(vec![Violation {
            check: "count".to_owned(),
            message: "count: 1".to_owned(),
            evidence: Vec::new(),
        }])
    }

    #[test]
    fn a_repetition_that_differs_is_unresolved_and_says_in_what() {
        let verdict = verdict_of(run(Verdict::Pass, 6), Clock::Exact, Sameness::Expected);
        let message = "not the same as run 1: main.init differs".to_owned();
        let sides = vec!["run 1: 5".to_owned(), "run 2: 6".to_owned()];
        assert_eq!(
            verdict,
            Verdict::Unresolved(Reason::NotDeterministic { message, sides })
        );
    }

    #[test]
    fn a_run_that_is_verified_and_differs_fails_whatever_else_it_comes_to() {
        for (verdict, violations) in [
            (Verdict::Pass, 1),
            (Verdict::Unresolved(Reason::AgentMissing), 1),
            (failed(), 2),
        ] {
            let verdict = verdict_of(run(verdict, 6), Clock::Exact, Sameness::Verified);
            let Verdict::Fail(found) = &verdict else {
                panic!("{verdict:?}");
            };
            assert_eq!(found.len(), violations);
            let message = "determinism: not the same as run 1: main.init differs";
            assert_eq!(
                (found[0].check.as_str(), found[0].message.as_str()),
                (CHECK, message)
            );
        }
    }

    #[test]
    fn equal_repetitions_failures_and_the_wall_clock_are_left_alone() {
        for sameness in [Sameness::Expected, Sameness::Verified] {
            let same = verdict_of(run(Verdict::Pass, 5), Clock::Exact, sameness);
            assert_eq!(same, Verdict::Pass);
            let wall = verdict_of(run(Verdict::Pass, 6), Clock::Wall, sameness);
            assert_eq!(wall, Verdict::Pass);
        }
        let verdict = verdict_of(run(failed(), 6), Clock::Exact, Sameness::Expected);
        assert_eq!(verdict, failed());
    }
}
