// SPDX-License-Identifier: GPL-2.0-only

//! Checks that the rounds of a phase leave memory where it was.
//!
//! In: a growth expectation and a timeline. Out: a check result, with both figures.
//! Does not: know which memory was measured; the agent decides that.

use deferinit_scenario::{Bytes, GrowthExpectation};

use super::{Findings, Run};
use crate::evidence::Line;
use crate::verdict::CheckResult;

/// Checks how much more memory the kernel uses after the last round than after the warm-up.
pub(super) fn growth(wanted: &GrowthExpectation, run: Run<'_>) -> CheckResult {
    let mut findings = Findings::new(
        run.name(&wanted.phase, "growth"),
        format!("at most {}", wanted.max),
    );
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    let Some(rounds) = phase.span.rounds else {
        return findings.matched_nothing("the phase has no rounds", Vec::new());
    };
    let Some(record) = rounds.record else {
        let line = Line::marker(rounds.begin, "rounds-begin");
        return findings.matched_nothing("the rounds have no record of memory", vec![line]);
    };
    let growth = record.growth();
    let size = Bytes(growth.unsigned_abs());
    let measured = match growth {
        0 => "nothing".to_owned(),
        1.. => format!("{size}"),
        _ => format!("-{size}"),
    };
    if growth > 0 && size > wanted.max {
        let evidence = [
            (record.warm_up, record.memory_before),
            (record.rounds, record.memory_after),
        ];
        findings.note_lines(
            &format!(
                "the kernel uses {measured} more after round {} than after round {}, allowed at most {}",
                record.rounds, record.warm_up, wanted.max
            ),
            evidence
                .map(|(round, bytes)| format!("{} in use after round {round}", Bytes(bytes)))
                .to_vec(),
        );
    }
    findings.result(format!(
        "{measured} in {} rounds",
        record.rounds.saturating_sub(record.warm_up)
    ))
}
