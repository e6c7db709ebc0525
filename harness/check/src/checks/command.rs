// SPDX-License-Identifier: GPL-2.0-only

//! Checks the commands of phases: what they end with, and what they write.
//!
//! In: an expectation or a phase. Out: a check result.

use deferinit_scenario::{ExitExpectation, Expectation, OutputExpectation};
use deferinit_timeline::{CommandHow, CommandSpan, PhaseSpan};

use super::{Findings, Run};
use crate::evidence::MOST_LINES;
use crate::text::count_bounds;
use crate::verdict::{CheckResult, NotJudged};

/// The harness's own check on every phase that runs a command: it succeeds, unless the scenario says what it ends with.
pub(crate) fn command(phase: &PhaseSpan, command: &CommandSpan, run: Run<'_>) -> CheckResult {
    let is_elsewhere = run
        .scenario
        .expect
        .iter()
        .any(|one| matches!(one, Expectation::Exit(exit) if exit.phase == phase.name));
    let expected = if is_elsewhere { "ends" } else { "exits with 0" };
    let mut findings = Findings::new(run.name(&phase.name, "command"), expected.to_owned());
    let Some(how) = command.how else {
        return findings.matched_nothing("the command did not end", Vec::new());
    };
    if !is_elsewhere && how != CommandHow::Exited(0) {
        let message = format!("the command {how}, allowed exit status 0");
        findings.note_lines(&message, last_lines(command));
    }
    findings.result(how.to_string())
}

/// The end of what a command has written.
fn last_lines(command: &CommandSpan) -> Vec<String> {
    let lines = command.output.as_deref().unwrap_or_default();
    let skipped = lines.len().saturating_sub(MOST_LINES);
    lines.iter().skip(skipped).cloned().collect()
}

/// Checks what a command ends with.
pub(super) fn exit(wanted: &ExitExpectation, run: Run<'_>) -> CheckResult {
    let expected = format!("exit status {}", wanted.equals);
    let mut findings = Findings::new(run.name(&wanted.phase, "exit"), expected.clone());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let ended = phase
        .span
        .command
        .as_ref()
        .and_then(|command| Some((command, command.how?)));
    let Some((command, how)) = ended else {
        return findings.matched_nothing("the command did not end", Vec::new());
    };
    if how != CommandHow::Exited(i32::from(wanted.equals)) {
        let message = format!("the command {how}, allowed {expected}");
        findings.note_lines(&message, last_lines(command));
    }
    findings.result(how.to_string())
}

/// Checks how many lines of a command's output contain a text.
pub(super) fn output(wanted: &OutputExpectation, run: Run<'_>) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let name = format!("output contains {:?}", wanted.contains);
    let name = run.name(&wanted.phase, &name);
    let mut findings = Findings::new(name, format!("{expected} lines"));
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let command = phase.span.command.as_ref();
    let Some((command, lines)) = command.and_then(|one| Some((one, one.output.as_ref()?))) else {
        return findings.not_judged(NotJudged::Unanswered, "the output is missing");
    };
    let found = || lines.iter().filter(|line| line.contains(&wanted.contains));
    let count = u64::try_from(found().count()).unwrap_or(u64::MAX);
    let measured = format!("{count} lines");
    let is_decided = wanted.bounds.at_most.is_none() && wanted.bounds.admits(count);
    let is_too_many = wanted.bounds.at_most.is_some_and(|most| count > most);
    if command.is_output_cut && !is_decided && !is_too_many {
        let measured = format!("{measured} of an output that is not whole");
        return findings.not_judged(NotJudged::Unanswered, measured);
    }
    if count == 0 && wanted.bounds.admits(0) && wanted.bounds.at_most != Some(0) {
        let why = format!("0 lines contain it, and only `equals: 0` asks for that, not {expected}");
        return findings.matched_nothing(&why, Vec::new());
    }
    if !wanted.bounds.admits(count) {
        let message = format!("{count} lines contain it, allowed {expected}");
        let evidence: Vec<String> = found().take(MOST_LINES).cloned().collect();
        let evidence = if evidence.is_empty() {
            last_lines(command)
        } else {
            evidence
        };
        findings.note_lines(&message, evidence);
    }
    findings.result(measured)
}
