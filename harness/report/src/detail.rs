// SPDX-License-Identifier: GPL-2.0-only

//! What there is to know about a run beyond a pass, as plain text.
//!
//! In: one run. Out: lines for the terminal, and for the bodies of JUnit and KTAP results: each
//! failed check with expected, measured and the records that show it; or why the run can't tell. Of
//! every run the checks that were not judged.
//! Shows the first of what is many; all of it is in the run's `verdict.json`.

use std::fmt::Write as _;

use deferinit_check::{CheckResult, NotJudged, Reason, Verdict, Violation};

use crate::{RunResult, text::clean_line};

/// How many violations of a check, or problems of a trace, are shown.
const SHOWN_VIOLATIONS: usize = 3;

/// How many records of a violation are shown.
const SHOWN_RECORDS: usize = 6;

/// How many of the console's last lines are shown.
const SHOWN_CONSOLE: usize = 12;

/// The text for one run, each line ended by a newline; empty for a pass in which everything was
/// judged.
pub(crate) fn detail(result: &RunResult) -> String {
    let mut text = Lines::default();
    let checks = &result.judgement.checks;
    match &result.judgement.verdict {
        Verdict::Pass => {
            text.not_judged(checks);
            return text.0;
        }
        Verdict::Fail(violations) => text.failure(checks, violations),
        Verdict::Unresolved(reason) => text.unresolved(reason),
        Verdict::Unsupported(what) => text.line(0, what),
    }
    text.not_judged(checks);
    text.console(&result.console);
    text.line(0, &format!("run folder: {}", result.folder));
    text.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, level: usize, text: &str) {
        let _ = writeln!(
            self.0,
            "{:width$}{}",
            "",
            clean_line(text),
            width = 2 * level
        );
    }

    /// The first `most` of `lines`, and how many are left out.
    fn first<T>(
        &mut self,
        level: usize,
        lines: &[T],
        most: usize,
        mut show: impl FnMut(&mut Self, &T),
    ) {
        for line in lines.iter().take(most) {
            show(self, line);
        }
        let left = lines.len().saturating_sub(most);
        if left > 0 {
            self.line(level, &format!("and {left} more, see verdict.json"));
        }
    }

    fn failure(&mut self, checks: &[CheckResult], violations: &[Violation]) {
        let failed = || checks.iter().filter(|check| !check.violations.is_empty());
        for check in failed() {
            self.line(0, &check.name);
            self.line(1, &format!("expected  {}", check.expected));
            self.line(1, &format!("measured  {}", check.measured));
            self.violations(1, &check.violations.iter().collect::<Vec<_>>());
        }
        // A panic, say, belongs to no check.
        let is_shown =
            |violation: &Violation| failed().any(|check| check.violations.contains(violation));
        let others: Vec<_> = violations.iter().filter(|one| !is_shown(one)).collect();
        self.violations(0, &others);
    }

    fn violations(&mut self, level: usize, violations: &[&Violation]) {
        self.first(level, violations, SHOWN_VIOLATIONS, |lines, violation| {
            lines.line(level, &violation.message);
            lines.first(
                level + 1,
                &violation.evidence,
                SHOWN_RECORDS,
                |lines, record| {
                    lines.line(level + 1, record);
                },
            );
        });
    }

    fn unresolved(&mut self, reason: &Reason) {
        self.line(0, &reason.to_string());
        if let [_, _, ..] = several(reason) {
            self.first(1, several(reason), SHOWN_VIOLATIONS, |lines, problem| {
                lines.line(1, problem);
            });
        }
    }

    fn not_judged(&mut self, checks: &[CheckResult]) {
        let mut reasons: Vec<NotJudged> = Vec::new();
        for why in checks.iter().filter_map(|check| check.not_judged) {
            if !reasons.contains(&why) {
                reasons.push(why);
            }
        }
        for why in reasons {
            self.line(0, &format!("not judged, since {why}:"));
            let set_aside = checks.iter().filter(|check| check.not_judged == Some(why));
            for check in set_aside {
                self.line(1, &check.name);
                self.line(2, &format!("expected  {}", check.expected));
                self.line(2, &format!("measured  {}", check.measured));
            }
        }
    }

    fn console(&mut self, console: &[String]) {
        if console.is_empty() {
            return;
        }
        self.line(0, "last lines of the console:");
        let first = console.len().saturating_sub(SHOWN_CONSOLE);
        for line in console.iter().skip(first) {
            self.line(1, &format!("| {line}"));
        }
    }
}

/// What a reason lists, of which its own wording names only the first.
fn several(reason: &Reason) -> &[String] {
    match reason {
        Reason::TraceNotWhole { problems } => problems,
        Reason::Contradiction { first, .. } => first,
        Reason::NotDeterministic { sides, .. } => sides,
        Reason::GuestDeadline { .. }
        | Reason::HostDeadline { .. }
        | Reason::AgentMissing
        | Reason::AgentError { .. }
        | Reason::GuestReset { .. }
        | Reason::Refused { .. }
        | Reason::OutOfMemory { .. }
        | Reason::QemuDied { .. }
        | Reason::QemuRefused { .. }
        | Reason::QemuHung { .. }
        | Reason::DiskFull { .. }
        | Reason::HostSuspended { .. }
        | Reason::Interrupted
        | Reason::Truncated { .. }
        | Reason::OtherPlan { .. }
        | Reason::NoLeakScan
        | Reason::LogCut
        | Reason::NothingJudged
        | Reason::Unanswered { .. }
        | Reason::Harness { .. } => &[],
    }
}
