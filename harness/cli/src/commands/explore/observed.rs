// SPDX-License-Identifier: GPL-2.0-only

//! What a run under one schedule came to.
//!
//! In: a run's verdict and its timeline. Out: what two failures have to share to be one, the order of what happened to the
//! items, and which item it was that called a function.

use deferinit_check::{Judgement, Reason, Verdict};
use deferinit_timeline::{FunctionSpan, ItemEvent, PhaseSpan, Timeline};

/// What failures have in common that are told once: for a violation the check, for an unresolved run the kind of reason.
/// None of a pass.
pub(super) fn reason(judgement: &Judgement) -> Option<String> {
    match &judgement.verdict {
        Verdict::Pass => None,
        Verdict::Fail(violations) => {
            let check = violations
                .first()
                .map_or("", |violation| violation.check.as_str());
            // Of several with one name, which one.
            let failed = judgement
                .checks
                .iter()
                .position(|check| !check.violations.is_empty());
            Some(match failed {
                Some(place) => format!("fail {check} {place}"),
                None => format!("fail {check}"),
            })
        }
        Verdict::Unresolved(reason) => Some(format!("unresolved {}", kind(reason))),
        Verdict::Unsupported(_) => Some("unsupported".to_owned()),
    }
}

fn kind(reason: &Reason) -> String {
    let value = serde_json::to_value(reason).unwrap_or_default();
    let kind = value.get("kind").and_then(|kind| kind.as_str());
    kind.unwrap_or_default().to_owned()
}

/// In which order, and on which CPUs, what happened to which items: two runs with the same met one schedule, as far as the
/// items are concerned, whatever the times were.
pub(super) fn order(timeline: &Timeline) -> String {
    let phases = timeline.phases.iter().map(order_of_phase);
    phases.collect::<Vec<_>>().join("\n")
}

const EVENTS: [ItemEvent; 5] = [
    ItemEvent::Armed,
    ItemEvent::Queued,
    ItemEvent::Started,
    ItemEvent::Ended,
    ItemEvent::Cancelled,
];

fn order_of_phase(phase: &PhaseSpan) -> String {
    let mut events = Vec::new();
    for item in &phase.items {
        let name = name_of(phase, item.id);
        for (rank, event) in EVENTS.into_iter().enumerate() {
            if let Some(moment) = item.moment(event) {
                let what = format!("{name} {event:?} {}", moment.cpu);
                events.push((moment.recorded, moment.cpu, rank, what));
            }
        }
        for attempt in item.attempts.iter().skip(1) {
            let moment = attempt.started;
            let what = format!("{name} again {}", moment.cpu);
            events.push((moment.recorded, moment.cpu, EVENTS.len(), what));
        }
    }
    events.sort();
    let order: Vec<String> = events.into_iter().map(|(_, _, _, what)| what).collect();
    format!("{}: {}", phase.name, order.join(", "))
}

/// An item's name: a move within the plan gives it another id.
fn name_of(phase: &PhaseSpan, id: u32) -> String {
    let records = phase.record.iter().flatten();
    let name = records
        .filter(|record| record.id == id)
        .map(|record| record.name.clone())
        .next();
    name.unwrap_or_else(|| id.to_string())
}

/// The item that a call of a function was for: the one that its task was running then, or that it ran within the call.
pub(super) fn item_of_call(
    timeline: &Timeline,
    phase: Option<&str>,
    function: &str,
    call: u32,
) -> Option<String> {
    let phase = timeline
        .phases
        .iter()
        .find(|span| phase.is_none_or(|name| span.name == name))?;
    let function = phase
        .functions
        .iter()
        .find(|traced| traced.symbol == function)?;
    let nth = usize::try_from(call).ok()?.checked_sub(1)?;
    let span = function.spans.get(nth)?;
    let item = phase.items.iter().find(|item| {
        item.attempts.iter().any(|attempt| {
            let end = attempt.end.map(|end| end.returned().moment.recorded);
            let started = attempt.started;
            started.pid == span.pid
                && (is_within(span, started.recorded.0)
                    || (started.recorded <= span.entry_recorded
                        && end.is_none_or(|end| span.entry_recorded <= end)))
        })
    })?;
    Some(name_of(phase, item.id))
}

fn is_within(span: &FunctionSpan, at: u64) -> bool {
    (span.entry_recorded.0..=span.exit_recorded.0).contains(&at)
}

#[cfg(test)]
mod tests {
    use deferinit_check::Violation;
    use deferinit_check::{CheckResult, NotJudged};
    use deferinit_timeline::{
        Attempt, AttemptEnd, FormatVersion, Function, Item, Moment, Returned, TraceNanos,
    };

    use super::*;

    fn moment(at: u64, cpu: u32, pid: i32) -> Moment {
        Moment {
            at: TraceNanos(at),
            cpu,
            pid,
            recorded: TraceNanos(at),
        }
    }

    /// An item that runs from one time to another, in a task of its own.
    fn item(id: u32, start: u64, end: u64, cpu: u32) -> Item {
        let pid = 100 + i32::try_from(id).expect("small");
        let returned = Returned {
            moment: moment(end, cpu, pid),
            status: 0,
        };
        Item {
            id,
            level: None,
            armed: None,
            queued: None,
            attempts: vec![Attempt {
                started: moment(start, cpu, pid),
                end: Some(AttemptEnd::Ended(returned)),
            }],
            started: Some(moment(start, cpu, pid)),
            ended: Some(returned),
            cancelled: None,
        }
    }

    fn span(from: u64, to: u64, pid: i32) -> FunctionSpan {
        FunctionSpan {
            called: TraceNanos(from),
            returned: TraceNanos(to),
            depth: 0,
            pid,
            entry_cpu: 0,
            entry_recorded: TraceNanos(from),
            exit_cpu: 0,
            exit_recorded: TraceNanos(to),
            return_value: None,
        }
    }

    fn timeline(items: Vec<Item>, spans: Vec<FunctionSpan>) -> Timeline {
        let nothing = std::collections::BTreeMap::new();
        let run = deferinit_timeline::Run {
            ending: deferinit_timeline::Ending::Complete,
            trace_clock: "local",
            statistics: &std::collections::BTreeMap::new(),
            dmesg: "",
            kmemleak: None,
            results: &nothing,
            rounds: &nothing,
            commands: &[],
            outputs: &nothing,
            reports: &nothing,
            cut: &[],
        };
        let symbols = deferinit_ftrace::symbols::Symbols::default();
        let mut timeline = deferinit_timeline::build_without_records(&symbols, run);
        timeline.phases.push(PhaseSpan {
            name: "main".to_owned(),
            begin: moment(0, 0, 1),
            first_process: None,
            load: None,
            loaded: None,
            init: None,
            trigger: None,
            finish: None,
            results: None,
            unload: None,
            unloaded: None,
            end: None,
            items,
            record: None,
            functions: vec![Function {
                name: "body".to_owned(),
                symbol: "body".to_owned(),
                module: None,
                spans,
            }],
            rounds: None,
            command: None,
        });
        timeline
    }

    #[test]
    fn an_order_is_the_same_whatever_the_times_are() {
        let of = |items| order(&timeline(items, Vec::new()));
        let plain = of(vec![item(0, 10, 20, 0), item(1, 30, 40, 0)]);
        assert_eq!(
            plain,
            "main: 0 Started 0, 0 Ended 0, 1 Started 0, 1 Ended 0"
        );
        assert_eq!(plain, of(vec![item(0, 11, 29, 0), item(1, 30, 99, 0)]));
        // Overlapping; the other one first; on another CPU.
        for other in [
            vec![item(0, 10, 35, 0), item(1, 30, 40, 0)],
            vec![item(0, 50, 60, 0), item(1, 30, 40, 0)],
            vec![item(0, 10, 20, 0), item(1, 30, 40, 1)],
        ] {
            assert_ne!(plain, of(other));
        }
    }

    #[test]
    fn a_call_is_that_of_the_item_that_its_task_runs() {
        // The first call is within item 0; the second has item 1 in it; the third is of a task that runs none.
        let spans = vec![span(12, 15, 100), span(29, 41, 101), span(12, 13, 7)];
        let timeline = timeline(vec![item(0, 10, 20, 0), item(1, 30, 40, 0)], spans);
        let of = |call| item_of_call(&timeline, None, "body", call);
        assert_eq!(of(1).as_deref(), Some("0"));
        assert_eq!(of(2).as_deref(), Some("1"));
        for call in [0, 3, 4] {
            assert_eq!(of(call), None, "call {call}");
        }
        assert_eq!(item_of_call(&timeline, None, "other", 1), None);
        assert_eq!(item_of_call(&timeline, Some("other"), "body", 1), None);
    }

    fn judgement(verdict: Verdict, failed: &[usize]) -> Judgement {
        let violation = |place: &usize| Violation {
            check: "error".to_owned(),
            message: format!("error: item {place}"),
            evidence: Vec::new(),
        };
        let check = |place| CheckResult {
            name: "error".to_owned(),
            expected: String::new(),
            measured: String::new(),
            passed: !failed.contains(&place),
            not_judged: None::<NotJudged>,
            too_long_ns: None,
            violations: failed
                .iter()
                .filter(|other| **other == place)
                .map(violation)
                .collect(),
        };
        Judgement {
            format_version: FormatVersion,
            scenario: "test".to_owned(),
            verdict,
            checks: (0..3).map(check).collect(),
            measurements: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn failures_are_one_if_the_same_check_fails_first_whatever_it_measured() {
        let failed = |message: &str, places: &[usize]| {
            let violation = Violation {
                check: "error".to_owned(),
                message: message.to_owned(),
                evidence: Vec::new(),
            };
            reason(&judgement(Verdict::Fail(vec![violation]), places))
        };
        assert_eq!(failed("item 1", &[1]), failed("item 2", &[1, 2]));
        // Another check of the same name.
        assert_ne!(failed("item 1", &[1]), failed("item 1", &[2]));
        let unresolved = |waiting_for: &str| {
            let reason_of = Reason::GuestDeadline {
                waiting_for: waiting_for.to_owned(),
            };
            reason(&judgement(Verdict::Unresolved(reason_of), &[]))
        };
        assert_eq!(
            unresolved("item 1").as_deref(),
            Some("unresolved guest-deadline")
        );
        assert_eq!(unresolved("item 1"), unresolved("item 2"));
        assert_eq!(reason(&judgement(Verdict::Pass, &[])), None);
    }
}
