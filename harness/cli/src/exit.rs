// SPDX-License-Identifier: GPL-2.0-only

//! Exit codes: what they are, and which failure gets which.
//!
//! | code | meaning |
//! |------|---------|
//! | 0    | every scenario passed; for other commands: done |
//! | 1    | a trace is cut off or damaged, or cannot be read |
//! | 2    | the command line or a scenario file is not valid |
//! | 96   | something that a run needs is missing, or cannot be set up; or a bug of deferinit |
//! | 100  | a scenario failed; runs that were compared differ; a timer missed its bucket |
//! | 101  | a kernel or module could not be built |
//! | 102  | no scenario failed, but at least one has no verdict, or cannot be compared |

use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::{Error, anyhow};
use deferinit_kernel::Class;

/// Every scenario passed.
pub(crate) const PASSED: u8 = deferinit_report::PASSED;

/// A trace is cut off or damaged, or cannot be read.
pub(crate) const TRACE: u8 = 1;

/// The command line or a scenario file is not valid.
pub(crate) const USAGE: u8 = 2;

/// A scenario failed.
pub(crate) const FAILED: u8 = deferinit_report::FAILED;

/// Something that a run needs is missing, or cannot be set up.
pub(crate) const SETUP: u8 = 96;

/// A kernel or module could not be built.
pub(crate) const BUILD: u8 = 101;

/// No scenario failed, but at least one has no verdict.
pub(crate) const UNRESOLVED: u8 = deferinit_report::UNRESOLVED;

/// Why a command has come to no verdict at all.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: Error,
    /// Whether it is the fault of what was to be built, and not of the machine or the user.
    is_of_source: bool,
}

impl Failure {
    /// The user's mistake.
    pub(crate) fn usage(error: impl Into<Error>) -> Self {
        Self::new(USAGE, error)
    }

    /// A trace that cannot be read.
    pub(crate) fn trace(error: impl Into<Error>) -> Self {
        Self::new(TRACE, error)
    }

    /// The same failure, with what to do about it.
    pub(crate) fn advise(self, advice: &str) -> Self {
        Self {
            error: anyhow!("{:#}; {advice}", self.error),
            ..self
        }
    }

    /// The same failure, with the scenario that it is about.
    pub(crate) fn of_scenario(self, name: &str) -> Self {
        self.context(format!("scenario {name}"))
    }

    /// The same failure, with what was being done.
    pub(crate) fn context(self, doing: String) -> Self {
        Self {
            error: self.error.context(doing),
            ..self
        }
    }

    /// Something that a run needs.
    pub(crate) fn setup(error: impl Into<Error>) -> Self {
        Self::new(SETUP, error)
    }

    /// Something that has no verdict.
    pub(crate) fn unresolved(error: impl Into<Error>) -> Self {
        Self::new(UNRESOLVED, error)
    }

    fn new(code: u8, error: impl Into<Error>) -> Self {
        Self {
            code,
            error: error.into(),
            is_of_source: false,
        }
    }

    /// Whether another state of what was to be built may do.
    pub(crate) fn is_of_source(&self) -> bool {
        self.is_of_source
    }

    /// Its causes, without the word for it.
    pub(crate) fn causes(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl From<deferinit_kernel::Error> for Failure {
    fn from(error: deferinit_kernel::Error) -> Self {
        let code = match error.class() {
            Class::Setup => SETUP,
            Class::Interrupted => UNRESOLVED,
            Class::Build => BUILD,
        };
        Self {
            is_of_source: error.is_of_source(),
            ..Self::new(code, error)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {:#}", self.error)
    }
}

/// Prints what clap has to say: help and version are no mistakes.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed terminal is no reason to fail differently.
    drop(error.print());
    ExitCode::from(if error.use_stderr() { USAGE } else { PASSED })
}

/// Prints to standard error. Where that is closed, nobody is there to be told.
pub(crate) fn complain(what: &impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{what}"));
}

/// Makes a panic, which has printed its message, a failure: Rust's own exit code for it, 101, says
/// something else here.
pub(crate) fn guarded(command: impl FnOnce() -> Result<u8, Failure>) -> Result<u8, Failure> {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        Err(Failure::setup(anyhow!(
            "this is a bug in deferinit: it panicked, as said above"
        )))
    })
}

/// Turns an outcome into an exit code; a failure is printed with its causes.
pub(crate) fn report(outcome: Result<u8, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_bug_and_no_failed_build() {
        let failure = guarded(|| panic!("on purpose")).expect_err("a panic");
        assert_eq!(failure.code, SETUP);
        assert!(
            failure.to_string().contains("this is a bug in deferinit"),
            "{failure}"
        );
        assert!(matches!(guarded(|| Ok(PASSED)), Ok(PASSED)));
    }
}
