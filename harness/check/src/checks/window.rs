// SPDX-License-Identifier: GPL-2.0-only

//! Checks times that a phase has one of: the window between two points, and how two phases differ in one.
//!
//! In: an expectation and a run. Out: a check result. A point that a phase did not pass matches nothing.

use deferinit_scenario::{DifferenceExpectation, DifferenceOf, WindowExpectation};

use super::{Findings, Run, all_lines};
use crate::evidence::Line;
use crate::items::PhaseView;
use crate::sample;
use crate::text::{time, time_bounds};
use crate::verdict::CheckResult;

/// Checks the time from one point of a phase to another.
pub(super) fn window(wanted: &WindowExpectation, run: Run<'_>) -> CheckResult {
    let name = format!("window {} to {}", wanted.from, wanted.to);
    let expected = time_bounds(&wanted.bounds);
    let mut findings = Findings::new(run.name(&wanted.phase, &name), expected.clone());
    let Some(phase) = run.phase(&wanted.phase) else {
        return findings.no_phase(&wanted.phase);
    };
    match sample::window(&phase, wanted.from, wanted.to) {
        Err(missing) => {
            findings.matched_nothing(&format!("the phase has no {missing}"), all_lines(&phase))
        }
        Ok((nanoseconds, lines)) => {
            if !wanted.bounds.admits(nanoseconds) {
                let message = format!("{}, allowed {expected}", time(nanoseconds));
                findings.note_time(&message, lines, nanoseconds, wanted.bounds.max);
            }
            findings.result(time(nanoseconds))
        }
    }
}

/// Checks by how much a time of one phase exceeds that of another.
pub(super) fn difference(wanted: &DifferenceExpectation, run: Run<'_>) -> CheckResult {
    let (one, other) = (&wanted.between.0, &wanted.between.1);
    let what = match wanted.of {
        DifferenceOf::Init => "init".to_owned(),
        DifferenceOf::Window { from, to } => format!("{from} to {to}"),
    };
    let expected = time_bounds(&wanted.bounds);
    let mut findings = Findings::new(
        format!("difference of {what}, {one} minus {other}"),
        expected.clone(),
    );
    let value = |name: &str| {
        let phase = run
            .phase(name)
            .ok_or_else(|| format!("phase {name} did not run"))?;
        phase_value(wanted.of, &phase)
    };
    let ((one_value, mut lines), (other_value, other_lines)) = match (value(one), value(other)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(why), _) | (_, Err(why)) => return findings.matched_nothing(&why, Vec::new()),
    };
    let difference = one_value.saturating_sub(other_value);
    let measured = format!(
        "{} ({} - {})",
        time(difference),
        time(one_value),
        time(other_value)
    );
    if !wanted.bounds.admits(difference) {
        lines.extend(other_lines);
        let message = format!("{measured}, allowed {expected}");
        findings.note_time(&message, lines, difference, wanted.bounds.max);
    }
    findings.result(measured)
}

/// A phase's one value, with its records; the error says why there is none.
fn phase_value(of: DifferenceOf, phase: &PhaseView<'_>) -> Result<(i64, Vec<Line>), String> {
    let name = &phase.span.name;
    match of {
        DifferenceOf::Init => {
            let init = sample::init(phase.span)
                .ok_or_else(|| format!("phase {name} has no complete init"))?;
            Ok((init.nanoseconds, init.subject.lines()))
        }
        DifferenceOf::Window { from, to } => sample::window(phase, from, to)
            .map_err(|missing| format!("phase {name} has no {missing}")),
    }
}
