// SPDX-License-Identifier: GPL-2.0-only

//! What judging a run comes to.
//!
//! In: nothing; plain data. Out: `verdict.json`, format version 1, and a wording for each reason.
//! Does not: judge (`judge`), or know how results are shown.

use std::collections::BTreeMap;
use std::fmt;

use deferinit_timeline::FormatVersion;
use serde::{Deserialize, Serialize};

/// The verdict on one scenario's run, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Version of this file's shape.
    pub format_version: FormatVersion,
    /// The scenario's name.
    pub scenario: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Every check, in the order of the scenario's expectations, after the harness's own.
    /// They bear on the verdict only if the run and its trace are whole.
    pub checks: Vec<CheckResult>,
    /// Every number that could be had: nanoseconds or counts, by name.
    pub measurements: BTreeMap<String, i64>,
}

/// Whether the kernel does what the scenario expects. Nothing turns into a pass by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "detail")]
pub enum Verdict {
    /// Every check that was judged passed, at least one expectation among them, on a whole trace of a complete run.
    Pass,
    /// The kernel or the module did something else; at least one violation.
    Fail(Vec<Violation>),
    /// The run can't tell.
    Unresolved(Reason),
    /// The scenario asks for what this machine, kernel or version cannot do.
    Unsupported(String),
}

impl Verdict {
    /// The word in results: `pass`, `fail`, `unresolved` or `unsupported`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Unresolved(_) => "unresolved",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// Why, in one line; empty for a pass.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Pass => String::new(),
            Self::Fail(violations) => match violations.split_first() {
                None => "no violation is listed".to_owned(),
                Some((first, [])) => first.message.clone(),
                Some((first, rest)) => format!("{} (and {} more)", first.message, rest.len()),
            },
            Self::Unresolved(reason) => reason.to_string(),
            Self::Unsupported(what) => what.clone(),
        }
    }
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The check's name.
    pub check: String,
    /// What is wrong, in one line: `lateness of started: item 3 is 9.120 ms after armed + 50 ms, allowed 0 ns..8 ms`.
    pub message: String,
    /// The records that show it, one line each: `cpu0 1.663633123 deferred_item_started id=3`.
    pub evidence: Vec<String>,
}

/// What one check expected and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// What is checked: `lateness of started`; with several phases the phase stands first: `deferred: count of ended`.
    pub name: String,
    /// What is allowed.
    pub expected: String,
    /// What was found.
    pub measured: String,
    /// Whether it was as expected: no violation, and judged.
    pub passed: bool,
    /// Why it neither passed nor failed; none if it did.
    pub not_judged: Option<NotJudged>,
    /// What was not as expected.
    pub violations: Vec<Violation>,
    /// If all that is wrong is times above what is allowed: by how much at most, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_long_ns: Option<u64>,
}

impl CheckResult {
    /// The same check, not judged: what was measured stays, and is neither right nor wrong.
    pub(crate) fn set_aside(self, why: NotJudged) -> Self {
        Self {
            passed: false,
            not_judged: Some(why),
            violations: Vec::new(),
            ..self
        }
    }
}

/// Why a check was not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotJudged {
    /// It is about times, and those of this run mean nothing.
    Untimed,
    /// It is about times, and the scenario has other delays on purpose: `times: ignored`.
    TimesIgnored,
    /// It is about times, and the guest's timers are not fit for a verdict on them.
    TimersUnfit,
    /// It found times too long by no more than the host kept the guest waiting.
    HostWaited,
    /// It is about the memory in use, and this kernel keeps what is freed: KASAN's quarantine.
    Quarantine,
    /// It is about leaks, and no scan was made.
    NoLeakScan,
    /// It is about the kernel log, and the part that is there does not decide it.
    LogCut,
    /// It is about the size of stacks, which checks in this kernel's code make larger.
    Instrumented,
    /// What it is about is not there, or not whole: an answer of the trace, a report of the kernel, an output.
    Unanswered,
}

impl fmt::Display for NotJudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untimed => "times mean nothing on this kernel",
            Self::TimesIgnored => "the scenario ignores times",
            Self::TimersUnfit => "the guest's timers carry no verdict on times",
            Self::HostWaited => "the host kept the guest waiting for longer than that",
            Self::Quarantine => "this kernel keeps memory that is freed",
            Self::NoLeakScan => "no kmemleak scan was made",
            Self::LogCut => "the kernel log is not whole",
            Self::Instrumented => "this kernel's checks make stacks larger",
            Self::Unanswered => "what it is about is missing",
        })
    }
}

/// Why a run can't tell, each with its own wording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reason {
    /// The plan's deadline in guest time passed.
    GuestDeadline {
        /// What the agent waited for.
        waiting_for: String,
    },
    /// The run's deadline in wall time passed.
    HostDeadline {
        /// What the host waited for.
        waiting_for: String,
    },
    /// The agent never reported.
    AgentMissing,
    /// The agent reported an error of its own.
    AgentError {
        /// The agent's words.
        message: String,
    },
    /// The guest was reset by itself, and its kernel had not panicked.
    GuestReset {
        /// During what.
        during: String,
    },
    /// The guest's kernel refused what the run needs.
    Refused {
        /// What, and why.
        message: String,
    },
    /// The guest killed a task for its memory: the machine is too small to tell.
    OutOfMemory {
        /// The kernel's words.
        message: String,
    },
    /// QEMU ended before the guest powered off.
    QemuDied {
        /// Its exit status or signal.
        status: String,
    },
    /// QEMU ended before the guest ran.
    QemuRefused {
        /// Its exit status and its words.
        status: String,
    },
    /// QEMU does not answer any more.
    QemuHung {
        /// What the host waited for.
        waiting_for: String,
    },
    /// The host had no room for the results.
    DiskFull {
        /// Where, and how much is free.
        message: String,
    },
    /// The host slept while the guest ran on its clock.
    HostSuspended {
        /// For how long.
        message: String,
    },
    /// The user interrupted the run.
    Interrupted,
    /// The results were cut short.
    Truncated {
        /// What is missing.
        message: String,
    },
    /// Records were lost or could not be decoded.
    TraceNotWhole {
        /// Each loss, in one line.
        problems: Vec<String>,
    },
    /// The records contradict the protocol between module, agent and harness.
    Contradiction {
        /// How many contradictions there are.
        total: u64,
        /// The first ones, in one line each.
        first: Vec<String>,
    },
    /// What an expectation is about is missing, so that it cannot be judged.
    Unanswered {
        /// The check's name.
        check: String,
        /// What is missing.
        why: String,
    },
    /// The timeline is not that of the scenario.
    OtherPlan {
        /// The first difference.
        difference: String,
    },
    /// A leak check was asked for and no scan was made.
    NoLeakScan,
    /// A check on the kernel log was asked for, and the part of the log that is there does not decide it.
    LogCut,
    /// Every expectation is about times, which mean nothing on this kernel.
    NothingJudged,
    /// On the exact clock, the run is not the same as another one of its scenario.
    NotDeterministic {
        /// Which other one, and what differs first.
        message: String,
        /// Both sides of it, a line each.
        sides: Vec<String>,
    },
    /// The run failed outside of the guest: setup or harness.
    Harness {
        /// What failed.
        message: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GuestDeadline { waiting_for } => {
                write!(
                    f,
                    "the deadline in guest time passed while the agent waited for {waiting_for}"
                )
            }
            Self::HostDeadline { waiting_for } => {
                write!(
                    f,
                    "the deadline in wall time passed while the host waited for {waiting_for}"
                )
            }
            Self::AgentMissing => write!(f, "the guest ran but its agent never reported"),
            Self::AgentError { message } => write!(f, "the agent failed: {message}"),
            Self::GuestReset { during } => write!(
                f,
                "the guest was reset during {during}, and its kernel had not panicked"
            ),
            Self::Refused { message } => write!(f, "the guest's kernel refused: {message}"),
            Self::OutOfMemory { message } => {
                write!(f, "the guest had too little memory: {message}")
            }
            Self::QemuDied { status } => {
                write!(f, "QEMU ended before the guest powered off: {status}")
            }
            Self::QemuRefused { status } => write!(f, "QEMU did not start the guest: {status}"),
            Self::QemuHung { waiting_for } => write!(
                f,
                "QEMU does not answer any more; the host waited for {waiting_for}"
            ),
            Self::DiskFull { message } => {
                write!(f, "the disk had no room for the results: {message}")
            }
            Self::HostSuspended { message } => write!(
                f,
                "the host was suspended {message} while the guest ran on its clock"
            ),
            Self::Interrupted => write!(f, "the run was interrupted"),
            Self::Truncated { message } => write!(f, "the run's results are cut short: {message}"),
            Self::TraceNotWhole { problems } => {
                write_first(f, "the trace is not whole", problems, problems.len())
            }
            Self::Contradiction { total, first } => {
                let total = usize::try_from(*total).unwrap_or(usize::MAX);
                write_first(f, "the records contradict each other", first, total)
            }
            Self::Unanswered { check, why } => write!(f, "{check} cannot be judged: {why}"),
            Self::OtherPlan { difference } => {
                write!(f, "the run is not that of the scenario: {difference}")
            }
            Self::NoLeakScan => {
                write!(
                    f,
                    "no kmemleak scan was made; it needs kmemleak=on in machine.command-line"
                )
            }
            Self::LogCut => write!(
                f,
                "the kernel log is not whole, and what is there does not decide the check on it"
            ),
            Self::NothingJudged => write!(
                f,
                "nothing was judged: every expectation is about times, which mean nothing on this kernel"
            ),
            Self::NotDeterministic { message, sides: _ } => f.write_str(message),
            Self::Harness { message } => write!(f, "the harness failed: {message}"),
        }
    }
}

fn write_first(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    lines: &[String],
    total: usize,
) -> fmt::Result {
    write!(
        f,
        "{what}: {}",
        lines.first().map_or("no detail", String::as_str)
    )?;
    if total > 1 {
        write!(f, " (and {} more)", total - 1)
    } else {
        Ok(())
    }
}
