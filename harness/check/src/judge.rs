// SPDX-License-Identifier: GPL-2.0-only

//! Judges a run: first whether it can carry a verdict at all, then what the checks say.
//!
//! In: a scenario and the timeline of its run. Out: a [`Judgement`].
//! The order is fixed: a panic fails; any other ending but a complete one is unresolved; a fault in the kernel's log
//! fails; a trace that is not whole, contradictions, or another plan's timeline are unresolved; a violation fails;
//! a leak check without a scan is unresolved; what is left passes.

use deferinit_scenario::{Phase, Scenario, Until};
use deferinit_timeline::{Ending, FinishCause, FormatVersion, PhaseSpan, Timeline};

use crate::checks::{Run, check, workload};
use crate::measure::measure;
use crate::verdict::{CheckResult, Judgement, Reason, Verdict, Violation};

/// Judges the run that left `timeline` by what `scenario` expects.
#[must_use]
pub fn judge(scenario: &Scenario, timeline: &Timeline) -> Judgement {
    let run = Run { scenario, timeline };
    let own = timeline.phases.iter().map(|phase| workload(phase, run));
    let wanted = scenario
        .expect
        .iter()
        .map(|expectation| check(expectation, scenario, timeline));
    let checks: Vec<CheckResult> = own.chain(wanted).collect();
    let verdict = of_ending(timeline)
        .or_else(|| of_kernel_log(timeline))
        .or_else(|| of_evidence(scenario, timeline))
        .unwrap_or_else(|| of_checks(&checks));
    Judgement {
        format_version: FormatVersion,
        scenario: scenario.name.clone(),
        verdict,
        checks,
        measurements: measure(timeline),
    }
}

/// The verdict that the run's ending alone decides.
fn of_ending(timeline: &Timeline) -> Option<Verdict> {
    let reason = match timeline.ending.clone() {
        Ending::Complete => return None,
        Ending::GuestPanic { message } => {
            let message = format!("kernel: the guest panicked: {message}");
            let evidence = timeline.splats.clone();
            return Some(Verdict::Fail(vec![Violation {
                check: "kernel".to_owned(),
                message,
                evidence,
            }]));
        }
        Ending::GuestDeadline { waiting_for } => Reason::GuestDeadline { waiting_for },
        Ending::HostDeadline { waiting_for } => Reason::HostDeadline { waiting_for },
        Ending::AgentMissing => Reason::AgentMissing,
        Ending::AgentError { message } => Reason::AgentError { message },
        Ending::QemuDied { status } => Reason::QemuDied { status },
        Ending::Interrupted => Reason::Interrupted,
        Ending::Truncated { message } => Reason::Truncated { message },
    };
    Some(Verdict::Unresolved(reason))
}

/// The verdict that a fault in the kernel's log decides.
fn of_kernel_log(timeline: &Timeline) -> Option<Verdict> {
    let first = timeline.splats.first()?;
    let message = format!("kernel log: {first}");
    let evidence = timeline.splats.clone();
    Some(Verdict::Fail(vec![Violation {
        check: "kernel log".to_owned(),
        message,
        evidence,
    }]))
}

/// The verdict if the records can't carry one.
fn of_evidence(scenario: &Scenario, timeline: &Timeline) -> Option<Verdict> {
    let problems = timeline.integrity.problems();
    if !problems.is_empty() {
        return Some(Verdict::Unresolved(Reason::TraceNotWhole { problems }));
    }
    if timeline.anomalies.total > 0 {
        let total = timeline.anomalies.total;
        let first = timeline
            .anomalies
            .first
            .iter()
            .map(|anomaly| anomaly.message.clone())
            .collect();
        return Some(Verdict::Unresolved(Reason::Contradiction { total, first }));
    }
    let reason = difference_from_plan(scenario, timeline)
        .map(|difference| Reason::OtherPlan { difference })
        .or_else(|| past_deadline(timeline))?;
    Some(Verdict::Unresolved(reason))
}

/// A deadline that the agent survived and reported itself.
fn past_deadline(timeline: &Timeline) -> Option<Reason> {
    let late = |phase: &&PhaseSpan| {
        phase
            .finish
            .is_some_and(|finish| finish.cause == FinishCause::Deadline)
    };
    let phase = timeline.phases.iter().find(late)?;
    Some(Reason::GuestDeadline {
        waiting_for: format!("the items of phase {}", phase.name),
    })
}

/// The first way in which the timeline cannot be one of this scenario's.
fn difference_from_plan(scenario: &Scenario, timeline: &Timeline) -> Option<String> {
    let planned: Vec<&str> = scenario
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    let ran: Vec<&str> = timeline
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    if planned != ran {
        return Some(format!("phases {planned:?} are planned, but {ran:?} ran"));
    }
    if scenario.expect.is_empty() {
        return Some("the scenario expects nothing".to_owned());
    }
    scenario
        .phases
        .iter()
        .zip(&timeline.phases)
        .find_map(|(planned, ran)| phase_difference(planned, ran))
}

fn phase_difference(planned: &Phase, ran: &PhaseSpan) -> Option<String> {
    let name = &planned.name;
    let items = planned.workload.items;
    if let Some(item) = ran.items.iter().find(|item| item.id >= items) {
        return Some(format!(
            "phase {name} has {items} items, but item {} ran",
            item.id
        ));
    }
    for item in &ran.items {
        let (Some(armed), delay) = (item.armed, planned.workload.delay_of(item.id)) else {
            continue;
        };
        if armed.delay_ns != delay.0 {
            let armed = armed.delay_ns;
            return Some(format!(
                "item {} of phase {name} has a delay of {delay}, but is armed with {armed}ns",
                item.id
            ));
        }
    }
    let cause = ran.finish?.cause;
    let expected = match planned.until {
        Until::Done => FinishCause::Done,
        Until::Hold(_) => FinishCause::Held,
    };
    let differs = cause != expected && cause != FinishCause::Deadline;
    differs.then(|| {
        format!(
            "phase {name} runs until {}, but ended {}",
            expected.word(),
            cause.word()
        )
    })
}

/// The verdict of the checks on a run that can carry one.
fn of_checks(checks: &[CheckResult]) -> Verdict {
    let violations: Vec<Violation> = checks
        .iter()
        .flat_map(|check| check.violations.clone())
        .collect();
    if !violations.is_empty() {
        Verdict::Fail(violations)
    } else if checks.is_empty() || checks.iter().any(|check| !check.passed) {
        // The leak check alone can neither pass nor be violated.
        Verdict::Unresolved(Reason::NoLeakScan)
    } else {
        Verdict::Pass
    }
}
