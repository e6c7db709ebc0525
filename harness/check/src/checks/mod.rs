// SPDX-License-Identifier: GPL-2.0-only

//! One check for each kind of expectation, and the harness's own on every phase.
//!
//! In: an expectation and a timeline. Out: a [`CheckResult`]. A check that matched nothing fails.
//! Does not: know whether the trace is whole (`judge`).

mod attempts;
mod command;
mod concurrency;
mod count;
mod error;
mod growth;
mod level;
mod log;
mod module;
mod order;
mod reports;
mod times;
mod trace;
mod window;

use deferinit_scenario::{Expectation, ItemEvent as Wanted, Nanos, Scenario, Workload};
use deferinit_timeline::{ItemEvent, Timeline};

pub(crate) use module::workload;

use crate::evidence::{Line, render};
use crate::items::{Label, PhaseView, selection};
use crate::queries::query;
use crate::verdict::{CheckResult, NotJudged, Violation};

/// Most violations one check lists; the rest are counted in one more.
const MOST_VIOLATIONS: usize = 10;

/// Checks one expectation.
pub(crate) fn check(expectation: &Expectation, run: Run<'_>) -> CheckResult {
    match expectation {
        Expectation::Count(wanted) if query(expectation, run.scenario).is_some() => {
            trace::count(wanted, run)
        }
        Expectation::Count(wanted) => count::count(wanted, run),
        Expectation::Order(wanted) => order::order(wanted, run),
        Expectation::Interval(wanted) => times::interval(wanted, run),
        Expectation::Lateness(wanted) => times::lateness(wanted, run),
        Expectation::Duration(wanted) => times::duration(wanted, run),
        Expectation::Window(wanted) => window::window(wanted, run),
        Expectation::Concurrency(wanted) => concurrency::concurrency(wanted, run),
        Expectation::Difference(wanted) => window::difference(wanted, run),
        Expectation::Leaks(wanted) => module::leaks(wanted, run.timeline),
        Expectation::Load(wanted) => module::load(wanted, run),
        Expectation::Error(wanted) => error::error(wanted, run),
        Expectation::Attempts(wanted) => attempts::attempts(wanted, run),
        Expectation::Log(wanted) => log::log(wanted, run.timeline),
        Expectation::Level(wanted) => level::level(wanted, run),
        Expectation::Growth(wanted) => growth::growth(wanted, run),
        Expectation::Between(wanted) => trace::between(wanted, run),
        Expectation::Before(wanted) => trace::before(wanted, run),
        Expectation::Call(wanted) => trace::call(wanted, run),
        Expectation::Stack(wanted) => trace::stack(wanted, run),
        Expectation::Latency(wanted) => reports::latency(wanted, run.timeline),
        Expectation::Profile(wanted) => reports::profile(wanted, run.timeline),
        Expectation::StackSize(wanted) => reports::stack_size(wanted, run.timeline),
        Expectation::Histogram(wanted) => reports::histogram(wanted, run.timeline),
        Expectation::Exit(wanted) => command::exit(wanted, run),
        Expectation::Output(wanted) => command::output(wanted, run),
    }
}

/// Why an expectation is not judged on a debug kernel; none if it is.
pub(crate) fn set_aside_on_debug_kernel(expectation: &Expectation) -> Option<NotJudged> {
    match expectation {
        Expectation::Interval(_)
        | Expectation::Lateness(_)
        | Expectation::Duration(_)
        | Expectation::Window(_)
        | Expectation::Difference(_)
        | Expectation::Between(_) => Some(NotJudged::Untimed),
        Expectation::Latency(wanted) => (!wanted.bounds.is_empty()).then_some(NotJudged::Untimed),
        Expectation::Profile(wanted) => {
            let is_timed = !wanted.time.is_empty() || !wanted.average.is_empty();
            is_timed.then_some(NotJudged::Untimed)
        }
        Expectation::StackSize(_) => Some(NotJudged::Instrumented),
        Expectation::Growth(_) => Some(NotJudged::Quarantine),
        Expectation::Count(_)
        | Expectation::Order(_)
        | Expectation::Concurrency(_)
        | Expectation::Leaks(_)
        | Expectation::Load(_)
        | Expectation::Error(_)
        | Expectation::Attempts(_)
        | Expectation::Log(_)
        | Expectation::Level(_)
        | Expectation::Before(_)
        | Expectation::Call(_)
        | Expectation::Stack(_)
        | Expectation::Histogram(_)
        | Expectation::Exit(_)
        | Expectation::Output(_) => None,
    }
}

/// Whether an expectation bounds a time.
pub(crate) fn is_about_times(expectation: &Expectation) -> bool {
    set_aside_on_debug_kernel(expectation) == Some(NotJudged::Untimed)
}

/// A scenario and the timeline of its run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) timeline: &'a Timeline,
}

impl<'a> Run<'a> {
    /// All items of the phase with this name.
    fn phase(self, name: &str) -> Option<PhaseView<'a>> {
        let span = self.timeline.phases.iter().find(|span| span.name == name)?;
        Some(PhaseView::new(span, self.workload(name)))
    }

    /// The workload of the phase with this name.
    fn workload(self, phase: &str) -> Option<&'a Workload> {
        self.scenario.phase(phase).map(|phase| &phase.workload)
    }

    /// The ids of the items that a check is about, whether they left a record or not.
    fn ids(self, phase: &str, chosen: Option<&[u32]>) -> Vec<u32> {
        let all = || (0..self.workload(phase).map_or(0, Workload::items)).collect();
        chosen.map_or_else(all, <[u32]>::to_vec)
    }

    /// What to call an item of the phase with this name.
    fn label(self, phase: &str, id: u32) -> Label<'a> {
        Label::of(id, self.workload(phase))
    }

    /// The name of a check on some of a phase's items.
    fn name_for(self, phase: &str, what: &str, chosen: Option<&[u32]>) -> String {
        let items = selection(chosen, self.workload(phase));
        self.name(phase, &format!("{what}{items}"))
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
    /// By how much times are too long at most; none once something else is wrong.
    too_long_ns: Option<u64>,
}

impl Findings {
    fn new(name: String, expected: String) -> Self {
        Self {
            name,
            expected,
            violations: Vec::new(),
            more: 0,
            too_long_ns: Some(0),
        }
    }

    /// Notes a time that is not within its bounds.
    fn note_time(&mut self, message: &str, lines: Vec<Line>, nanoseconds: i64, max: Option<Nanos>) {
        let too_long = self.too_long_ns;
        self.note(message, lines);
        let above = max.and_then(|max| {
            let above = i128::from(nanoseconds) - i128::from(max.0);
            u64::try_from(above).ok().filter(|above| *above > 0)
        });
        self.too_long_ns = too_long.zip(above).map(|(most, above)| most.max(above));
    }

    /// Notes a violation: `message` says what is wrong of the thing the check's name names.
    fn note(&mut self, message: &str, lines: Vec<Line>) {
        self.note_lines(message, render(lines));
    }

    /// The same, with evidence that is no record.
    fn note_lines(&mut self, message: &str, evidence: Vec<String>) {
        self.too_long_ns = None;
        if self.violations.len() < MOST_VIOLATIONS {
            let message = format!("{}: {message}", self.name);
            self.violations.push(Violation {
                check: self.name.clone(),
                message,
                evidence,
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
            too_long_ns: self.too_long_ns.filter(|_| !self.violations.is_empty()),
            not_judged: None,
            name: self.name,
            expected: self.expected,
            measured: measured.into(),
            violations: self.violations,
        }
    }

    /// The result of a check that cannot be judged.
    fn not_judged(self, why: NotJudged, measured: impl Into<String>) -> CheckResult {
        self.result(measured).set_aside(why)
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
fn all_lines(phase: &PhaseView<'_>) -> Vec<Line> {
    phase.items.iter().flat_map(Line::items_all).collect()
}
