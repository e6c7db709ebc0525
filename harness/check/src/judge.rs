// SPDX-License-Identifier: GPL-2.0-only

//! Judges a run: first whether it can carry a verdict at all, then what the checks say.
//!
//! In: a scenario, the timeline of its run, and whether its times mean something. Out: a [`Judgement`].
//! The order is fixed: a panic and a triple fault fail; any other ending but a complete one is unresolved; a fault in the
//! kernel's log fails; a guest with too little memory, a trace that is not whole, contradictions, or another plan's
//! timeline are unresolved; a violation fails; an expectation on times where the guest's timers are not fit for it is
//! unsupported; a leak check without a scan, a log check on a part of the log, or expectations of which none was judged are
//! unresolved; what is left passes.

use deferinit_scenario::{Phase, Scenario, Times, Until};
use deferinit_timeline::{Ending, Fault, FinishCause, FormatVersion, PhaseSpan, Timeline};

use crate::checks::{Run, check, is_about_times, set_aside_on_debug_kernel, workload};
use crate::items::Label;
use crate::measure::measure;
use crate::text::duration;
use crate::verdict::{CheckResult, Judgement, NotJudged, Reason, Verdict, Violation};

/// Which expectations of a scenario are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged<'a> {
    /// All of them.
    All,
    /// Those about neither times nor memory in use, which mean nothing on a kernel with KASAN and lockdep.
    Untimed,
    /// Those that are not about times, since the guest's timers are not fit for it; with the reason. The run is
    /// unsupported if there are others.
    TimersUnfit(&'a str),
    /// All of them, on the wall clock; but not times that are too long by no more than the host kept the guest waiting, in
    /// nanoseconds. The run is unsupported if there are such.
    WallClock(u64),
}

/// Judges the run that left `timeline` by what `scenario` expects.
#[must_use]
pub fn judge(scenario: &Scenario, timeline: &Timeline, judged: Judged<'_>) -> Judgement {
    let run = Run { scenario, timeline };
    let own = timeline.phases.iter().map(|phase| workload(phase, run));
    let wanted = scenario.expect.iter().map(|expectation| {
        let result = check(expectation, run);
        let is_ignored = scenario.times == Times::Ignored && is_about_times(expectation);
        let why = match judged {
            _ if is_ignored => Some(NotJudged::TimesIgnored),
            Judged::All => None,
            Judged::Untimed => set_aside_on_debug_kernel(expectation),
            Judged::TimersUnfit(_) => is_about_times(expectation).then_some(NotJudged::TimersUnfit),
            Judged::WallClock(host_wait_ns) => {
                let too_long_ns = result.too_long_ns;
                let may_be_host = too_long_ns.is_some_and(|too_long| too_long <= host_wait_ns);
                may_be_host.then_some(NotJudged::HostWaited)
            }
        };
        match why {
            Some(why) => result.set_aside(why),
            None => result,
        }
    });
    let (own, wanted): (Vec<_>, Vec<_>) = (own.collect(), wanted.collect());
    let verdict = of_ending(timeline)
        .or_else(|| of_kernel_log(timeline))
        .or_else(|| of_memory(timeline))
        .or_else(|| of_evidence(scenario, timeline))
        .unwrap_or_else(|| of_checks(scenario, &own, &wanted, judged));
    let checks = own.into_iter().chain(wanted).collect();
    Judgement {
        format_version: FormatVersion,
        scenario: scenario.name.clone(),
        verdict,
        checks,
        measurements: measure(scenario, timeline),
    }
}

/// The verdict that the run's ending alone decides.
fn of_ending(timeline: &Timeline) -> Option<Verdict> {
    let reason = match timeline.ending.clone() {
        Ending::Complete => return None,
        Ending::GuestPanic { message } => {
            // What it panicked of says more than the panic.
            let cause = faults(timeline).find(|(fault, _)| *fault != Fault::Panic);
            return Some(of_kernel(
                timeline,
                match cause {
                    Some((fault, line)) => {
                        format!("the guest panicked after {}: {line}", fault.words())
                    }
                    None => format!("the guest panicked: {message}"),
                },
            ));
        }
        Ending::TripleFault { during } => {
            let message = format!(
                "a triple fault during {during}: an exception, and no way to handle it or those that followed"
            );
            return Some(of_kernel(timeline, message));
        }
        Ending::GuestDeadline { waiting_for } => Reason::GuestDeadline { waiting_for },
        Ending::HostDeadline { waiting_for } => Reason::HostDeadline { waiting_for },
        Ending::AgentMissing => Reason::AgentMissing,
        Ending::AgentError { message } => Reason::AgentError { message },
        Ending::GuestReset { during } => Reason::GuestReset { during },
        Ending::Refused { message } => Reason::Refused { message },
        Ending::QemuDied { status } => Reason::QemuDied { status },
        Ending::QemuRefused { status } => Reason::QemuRefused { status },
        Ending::QemuHung { waiting_for } => Reason::QemuHung { waiting_for },
        Ending::DiskFull { message } => Reason::DiskFull { message },
        Ending::HostSuspended { message } => Reason::HostSuspended { message },
        Ending::Interrupted => Reason::Interrupted,
        Ending::Truncated { message } => Reason::Truncated { message },
    };
    Some(Verdict::Unresolved(reason))
}

fn of_kernel(timeline: &Timeline, message: String) -> Verdict {
    Verdict::Fail(vec![Violation {
        check: "kernel".to_owned(),
        message: format!("kernel: {message}"),
        evidence: timeline.splats.clone(),
    }])
}

/// The faults of the kernel's log, with their lines. A task that was killed for its memory is none of the kernel.
fn faults(timeline: &Timeline) -> impl Iterator<Item = (Fault, &str)> {
    let lines = timeline.splats.iter().map(String::as_str);
    lines
        .map(|line| (Fault::of(line), line))
        .filter(|(fault, _)| *fault != Fault::OutOfMemory)
}

/// The verdict that a fault in the kernel's log decides.
fn of_kernel_log(timeline: &Timeline) -> Option<Verdict> {
    let (fault, first) = faults(timeline).next()?;
    let message = match fault {
        Fault::Report => format!("kernel log: {first}"),
        _ => format!("kernel log: {}: {first}", fault.words()),
    };
    let evidence = timeline.splats.clone();
    Some(Verdict::Fail(vec![Violation {
        check: "kernel log".to_owned(),
        message,
        evidence,
    }]))
}

/// The verdict on a guest that ran out of memory.
fn of_memory(timeline: &Timeline) -> Option<Verdict> {
    let killed = |line: &&String| Fault::of(line) == Fault::OutOfMemory;
    let message = timeline.splats.iter().find(killed)?.clone();
    Some(Verdict::Unresolved(Reason::OutOfMemory { message }))
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
        .or_else(|| past_deadline(timeline))
        .or_else(|| stopped(scenario, timeline))?;
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

/// A recording that was stopped within a phase, though nothing in the scenario stops it.
fn stopped(scenario: &Scenario, timeline: &Timeline) -> Option<Reason> {
    let triggers = scenario
        .trace
        .events
        .iter()
        .flat_map(|event| &event.triggers);
    let mut triggers = triggers.chain(&scenario.trace.function_triggers);
    if triggers.any(|trigger| trigger.contains("traceoff")) {
        return None;
    }
    let is_stopped = |phase: &&PhaseSpan| {
        let command = phase.command.as_ref();
        let by_itself = scenario
            .phase(&phase.name)
            .and_then(|phase| phase.command.as_ref())
            .is_some_and(|script| script.contains("tracing_on"));
        command.is_some_and(|command| command.is_stopped) && !by_itself
    };
    let phase = timeline.phases.iter().find(is_stopped)?;
    let problem = format!("recording was stopped within phase {}", phase.name);
    Some(Reason::TraceNotWhole {
        problems: vec![problem],
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
    let workload = &planned.workload;
    if planned.command.is_some() != ran.command.is_some() {
        let has = |command: bool| if command { "a command" } else { "a workload" };
        return Some(format!(
            "phase {name} has {}, but {} ran",
            has(planned.command.is_some()),
            has(ran.command.is_some())
        ));
    }
    if planned.rounds.is_some() != ran.rounds.is_some() {
        let has = |rounds: bool| if rounds { "rounds" } else { "one load" };
        return Some(format!(
            "phase {name} has {}, but {} ran",
            has(planned.rounds.is_some()),
            has(ran.rounds.is_some())
        ));
    }
    let record = ran.rounds.and_then(|rounds| rounds.record);
    if let (Some(rounds), Some(record)) = (planned.rounds, record)
        && rounds.count != record.rounds
    {
        return Some(format!(
            "phase {name} has {} rounds, but {} ran",
            rounds.count, record.rounds
        ));
    }
    let items = workload.items();
    if let Some(item) = ran.items.iter().find(|item| item.id >= items) {
        return Some(format!(
            "phase {name} has {items} items, but item {} ran",
            item.id
        ));
    }
    for item in &ran.items {
        let (Some(armed), delay) = (item.armed, workload.delay_of(item.id)) else {
            continue;
        };
        if armed.delay_ns != delay.0 {
            let (item, armed) = (Label::of(item.id, Some(workload)).item(), armed.delay_ns);
            return Some(format!(
                "{item} of phase {name} has a delay of {delay}, but is armed with {armed}ns"
            ));
        }
    }
    if let Some(difference) = record_difference(planned, ran) {
        return Some(difference);
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

/// How the module's own record differs from the plan in what its items are.
fn record_difference(planned: &Phase, ran: &PhaseSpan) -> Option<String> {
    let (name, workload) = (&planned.name, &planned.workload);
    let record = ran.record.as_ref()?;
    let (items, recorded) = (workload.items(), record.len());
    if u32::try_from(recorded) != Ok(items) {
        return Some(format!(
            "phase {name} has {items} items, but the module's record has {recorded}"
        ));
    }
    record.iter().find_map(|row| {
        let item_name = workload.name_of(row.id).unwrap_or_default();
        let mode = workload.work_of(row.id)?.mode.as_str();
        let differs = item_name != row.name || mode != row.mode;
        differs.then(|| {
            format!(
                "item {} of phase {name} is {item_name} of mode {mode}, but {} of mode {} in the module's record",
                row.id, row.name, row.mode
            )
        })
    })
}

/// The verdict of the checks on a run that can carry one: the harness's own, and those that the scenario wants.
fn of_checks(
    scenario: &Scenario,
    own: &[CheckResult],
    wanted: &[CheckResult],
    judged: Judged<'_>,
) -> Verdict {
    let checks = || own.iter().chain(wanted);
    let violations: Vec<Violation> = checks()
        .flat_map(|check| check.violations.clone())
        .collect();
    if !violations.is_empty() {
        return Verdict::Fail(violations);
    }
    let is_so = |reason| checks().any(|check| check.not_judged == Some(reason));
    if let Judged::TimersUnfit(why) = judged
        && is_so(NotJudged::TimersUnfit)
    {
        return Verdict::Unsupported(why.to_owned());
    }
    let waited = checks().find(|check| check.not_judged == Some(NotJudged::HostWaited));
    if let (Judged::WallClock(host_wait_ns), Some(check)) = (judged, waited) {
        return Verdict::Unsupported(format!(
            "{} is {} too long on the wall clock, and the host kept the guest waiting for {}: only the exact clock can tell",
            check.name,
            duration(check.too_long_ns.unwrap_or_default()),
            duration(host_wait_ns)
        ));
    }
    // That each round loads, does its work and unloads is what they are for, whatever else is expected.
    let has_rounds = scenario.phases.iter().any(|phase| phase.rounds.is_some());
    if let Some(check) = checks().find(|check| check.not_judged == Some(NotJudged::Unanswered)) {
        Verdict::Unresolved(Reason::Unanswered {
            check: check.name.clone(),
            why: check.measured.clone(),
        })
    } else if is_so(NotJudged::NoLeakScan) {
        Verdict::Unresolved(Reason::NoLeakScan)
    } else if is_so(NotJudged::LogCut) {
        Verdict::Unresolved(Reason::LogCut)
    } else if wanted.iter().any(|check| check.passed) || has_rounds {
        Verdict::Pass
    } else {
        Verdict::Unresolved(Reason::NothingJudged)
    }
}
