// SPDX-License-Identifier: GPL-2.0-only

//! The exit code that follows from the verdicts.
//!
//! In: verdicts. Out: a code. Codes for what comes before a verdict (usage, setup, build) are the
//! command line's.

use deferinit_check::Verdict;

use crate::RunResult;

/// Every run passed.
pub const PASSED: u8 = 0;

/// At least one run failed.
pub const FAILED: u8 = 100;

/// No run failed, and at least one is unresolved or unsupported; or there was no run at all.
pub const UNRESOLVED: u8 = 102;

/// The exit code for these runs: [`FAILED`] wins over [`UNRESOLVED`], and that over [`PASSED`].
#[must_use]
pub fn exit_code(results: &[RunResult]) -> u8 {
    // Nothing that ran is nothing that passed.
    if results.is_empty() {
        return UNRESOLVED;
    }
    let any = |wanted| {
        results
            .iter()
            .any(|result| code(&result.judgement.verdict) == wanted)
    };
    if any(FAILED) {
        FAILED
    } else if any(UNRESOLVED) {
        UNRESOLVED
    } else {
        PASSED
    }
}

fn code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Pass => PASSED,
        Verdict::Fail(_) => FAILED,
        Verdict::Unresolved(_) | Verdict::Unsupported(_) => UNRESOLVED,
    }
}
