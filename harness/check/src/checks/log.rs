// SPDX-License-Identifier: GPL-2.0-only

//! Checks what the kernel log says.
//!
//! In: a log expectation and a timeline. Out: a check result, with the lines that count.
//! A count of 0 passes only where 0 is asked for and there is a log. Of a log that is not whole the lines that are
//! there decide if the others cannot change the answer; else the check is not judged.

use deferinit_scenario::LogExpectation;
use deferinit_timeline::Timeline;

use super::Findings;
use crate::evidence::MOST_LINES;
use crate::text::count_bounds;
use crate::verdict::{CheckResult, NotJudged};

/// Checks how many lines of the kernel log contain a text.
pub(super) fn log(wanted: &LogExpectation, timeline: &Timeline) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let mut findings = Findings::new(
        format!("log contains {:?}", wanted.contains),
        format!("{expected} lines"),
    );
    if timeline.log_lines.is_empty() {
        return findings.matched_nothing("the kernel log is empty", Vec::new());
    }
    let found = || {
        timeline
            .log_lines
            .iter()
            .filter(|line| line.contains(&wanted.contains))
    };
    let number = found().count();
    let count = u64::try_from(number).unwrap_or(u64::MAX);
    let measured = if timeline.log_cut {
        format!("{count} lines of a log that is not whole")
    } else {
        format!("{count} lines")
    };
    let is_too_many = wanted.bounds.at_most.is_some_and(|most| count > most);
    let is_enough = wanted.bounds.at_least.is_none_or(|least| count >= least);
    let may_be_any = wanted.bounds.at_most.is_none();
    if timeline.log_cut && !is_too_many && !(is_enough && may_be_any) {
        return findings.not_judged(NotJudged::LogCut, measured);
    }
    if count == 0 && wanted.bounds.admits(0) && wanted.bounds.at_most != Some(0) {
        return findings.matched_nothing(
            &format!("0 lines contain it, and only `equals: 0` asks for that, not {expected}"),
            Vec::new(),
        );
    }
    if !wanted.bounds.admits(count) {
        let mut evidence: Vec<String> = found().take(MOST_LINES).cloned().collect();
        let left_out = number.saturating_sub(evidence.len());
        if left_out > 0 {
            evidence.push(format!("and {left_out} more lines"));
        }
        let message = format!("{count} lines contain it, allowed {expected}");
        findings.note_lines(&message, evidence);
    }
    findings.result(measured)
}
