// SPDX-License-Identifier: GPL-2.0-only

//! One check for each kind of expectation, and the harness's own on every phase.
//!
//! In: an expectation and a timeline. Out: a [`CheckResult`]. A check that matched nothing fails.
//! Does not: know whether the trace is whole (`judge`).

mod concurrency;
mod count;
mod module;
mod order;
mod times;
mod window;

use deferinit_scenario::{Expectation, ItemEvent as Wanted, Scenario};
use deferinit_timeline::{ItemEvent, PhaseSpan, Timeline};

pub(crate) use module::workload;

use crate::evidence::{Line, render};
use crate::verdict::{CheckResult, Violation};

/// Most violations one check lists; the rest are counted in one more.
const MOST_VIOLATIONS: usize = 10;

/// Checks one expectation.
pub(crate) fn check(
    expectation: &Expectation,
    scenario: &Scenario,
    timeline: &Timeline,
) -> CheckResult {
    let run = Run { scenario, timeline };
    match expectation {
        Expectation::Count(wanted) => count::count(wanted, run),
        Expectation::Order(wanted) => order::order(wanted, run),
        Expectation::Interval(wanted) => times::interval(wanted, run),
        Expectation::Lateness(wanted) => times::lateness(wanted, run),
        Expectation::Duration(wanted) => times::duration(wanted, run),
        Expectation::Window(wanted) => window::window(wanted, run),
        Expectation::Concurrency(wanted) => concurrency::concurrency(wanted, run),
        Expectation::Difference(wanted) => window::difference(wanted, run),
        Expectation::Leaks(wanted) => module::leaks(wanted, timeline),
        Expectation::Load(wanted) => module::load(wanted, run),
    }
}

/// A scenario and the timeline of its run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) timeline: &'a Timeline,
}

impl<'a> Run<'a> {
    /// The phase with this name.
    fn phase(self, name: &str) -> Option<&'a PhaseSpan> {
        self.timeline.phases.iter().find(|phase| phase.name == name)
    }

    /// The number of items the phase's workload has.
    fn items(self, name: &str) -> u32 {
        self.scenario
            .phase(name)
            .map_or(0, |phase| phase.workload.items)
    }

    /// A check's name, with the phase's before it where there are several.
    fn name(self, phase: &str, what: &str) -> String {
        if self.scenario.phases.len() > 1 {
            format!("{phase}: {what}")
        } else {
            what.to_owned()
        }
    }
}

/// The violations of one check while it runs.
#[derive(Debug)]
struct Findings {
    name: String,
    expected: String,
    violations: Vec<Violation>,
    more: usize,
}

impl Findings {
    fn new(name: String, expected: String) -> Self {
        Self {
            name,
            expected,
            violations: Vec::new(),
            more: 0,
        }
    }

    /// Notes a violation: `message` says what is wrong of the thing the check's name names.
    fn note(&mut self, message: &str, lines: Vec<Line>) {
        if self.violations.len() < MOST_VIOLATIONS {
            let message = format!("{}: {message}", self.name);
            self.violations.push(Violation {
                check: self.name.clone(),
                message,
                evidence: render(lines),
            });
        } else {
            self.more += 1;
        }
    }

    /// The result, given what was measured in words.
    fn result(mut self, measured: impl Into<String>) -> CheckResult {
        if self.more > 0 {
            let message = format!("{}: {} more violations", self.name, self.more);
            self.violations.push(Violation {
                check: self.name.clone(),
                message,
                evidence: Vec::new(),
            });
        }
        CheckResult {
            passed: self.violations.is_empty(),
            name: self.name,
            expected: self.expected,
            measured: measured.into(),
            violations: self.violations,
        }
    }

    /// The result of a check that found nothing to check.
    fn matched_nothing(mut self, why: &str, lines: Vec<Line>) -> CheckResult {
        self.note(&format!("matched nothing: {why}"), lines);
        self.result("nothing")
    }

    /// The result if the timeline lacks the phase.
    fn no_phase(self, phase: &str) -> CheckResult {
        self.matched_nothing(&format!("phase {phase} did not run"), Vec::new())
    }
}

/// The timeline's name for a scenario's item event.
fn event(wanted: Wanted) -> ItemEvent {
    match wanted {
        Wanted::Armed => ItemEvent::Armed,
        Wanted::Queued => ItemEvent::Queued,
        Wanted::Started => ItemEvent::Started,
        Wanted::Ended => ItemEvent::Ended,
        Wanted::Cancelled => ItemEvent::Cancelled,
    }
}

/// The records of all items of a phase.
fn all_lines(phase: &PhaseSpan) -> Vec<Line> {
    phase.items.iter().flat_map(Line::items_all).collect()
}
