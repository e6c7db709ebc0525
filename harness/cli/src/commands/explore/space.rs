// SPDX-License-Identifier: GPL-2.0-only

//! What the schedules of a scenario may differ in, and which of that a seed stands for.
//!
//! In: a scenario and the timeline of a plain run of it. Out: a [`Space`]; of a seed, changes. What a seed stands for
//! follows from it and the space alone, and is the same in every version.

use deferinit_scenario::{
    Expectation, IdOrder, Load, Machine, Mode, Phase, Random, Scenario, Shape, parse,
};
use deferinit_timeline::{PhaseSpan, Timeline};
use serde::Serialize;

use super::change::{Change, varied};
use crate::args::explore::Kind;

/// The most CPUs that are tried: more make runs slower, and few scenarios other.
const MOST_CPUS: u32 = 4;

/// The shifts that are tried: 8, 16 and 32 ns an instruction.
const SHIFTS: [u8; 3] = [3, 4, 5];

/// The most moves of items in one schedule.
const MOST_MOVES: u64 = 2;

/// The most delays in one schedule.
const MOST_DELAYS: u64 = 3;

/// The shortest delay is 10 us, as long as a few hundred instructions; the longest 20 ms, five ticks at HZ=250.
const SHORTEST_DELAY_NS: u64 = 10_000;
const DOUBLINGS: u64 = 11;

/// Of a function that is called more often, the first calls are delayed.
const MOST_CALLS: u64 = 64;

/// How many calls a function may have that the user names and the trace does not have.
const UNSEEN_CALLS: u64 = 8;

/// Functions of the kernel on the way of an item, by the modes that take it: `kernel/workqueue.c`, `kernel/async.c`,
/// `drivers/base/dd.c`, `kernel/kthread.c`, Linux 7.3. Those that the compiler inlines are not in the kernel's symbols,
/// and left out.
const KERNEL_FUNCTIONS: [(&str, &[Mode]); 7] = [
    ("delayed_work_timer_fn", &[Mode::Delayed, Mode::Deferrable]),
    (
        "__queue_work",
        &[Mode::Delayed, Mode::Deferrable, Mode::Work, Mode::Async],
    ),
    ("async_run_entry_fn", &[Mode::Async]),
    ("really_probe", &[Mode::Probe]),
    ("driver_bound", &[Mode::Probe]),
    ("deferred_probe_work_func", &[Mode::Probe]),
    ("kthread", &[Mode::Kthread]),
];

/// The items of a plan whose order is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Plan {
    phase: Option<String>,
    items: Vec<String>,
}

/// A function whose calls can be delayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    phase: Option<String>,
    pub(super) function: String,
    /// As many as a plain run had, or may have had.
    calls: u64,
}

/// What schedules may differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Space {
    /// Other than the scenario's own.
    cpus: Vec<u32>,
    shifts: Vec<u8>,
    rr_cpu: bool,
    /// 0 for none.
    longest_wait_ns: u64,
    plans: Vec<Plan>,
    pub(super) functions: Vec<Place>,
}

/// What a space is made of.
pub(super) struct Source<'a> {
    pub(super) scenario: &'a Scenario,
    /// Its text.
    pub(super) text: &'a str,
    /// Of the plain run.
    pub(super) timeline: &'a Timeline,
    /// Ticks a second.
    pub(super) hz: u32,
    /// Of the plain run, and the largest one that the kernel bears.
    pub(super) shift: u8,
    pub(super) most_shift: u8,
    /// The kernel's symbols, as in System.map.
    pub(super) system_map: &'a str,
}

impl Space {
    /// What the schedules of a scenario may differ in, of the kinds that are wanted.
    pub(super) fn of(source: &Source<'_>, kinds: &[Kind], delay_at: &[String]) -> Self {
        let is_wanted = |kind| kinds.is_empty() || kinds.contains(&kind);
        let scenario = source.scenario;
        let is_allowed = |change: &Change| {
            let text = varied(source.text, std::slice::from_ref(change), true);
            parse(&scenario.name, text.as_bytes()).is_ok()
        };
        let mut space = Self::default();
        if is_wanted(Kind::Cpus) {
            let others = (1..=MOST_CPUS).filter(|cpus| *cpus != scenario.machine.cpus);
            space.cpus = others
                .filter(|cpus| is_allowed(&Change::Cpus { cpus: *cpus }))
                .collect();
        }
        if is_wanted(Kind::Shift) {
            let others = SHIFTS.into_iter().filter(|shift| *shift != source.shift);
            space.shifts = others.filter(|shift| *shift <= source.most_shift).collect();
        }
        space.rr_cpu = is_wanted(Kind::RrCpu);
        if is_wanted(Kind::Wait) && is_allowed(&Change::Wait { wait_ns: 1_000 }) {
            space.longest_wait_ns = 1_000_000_000 / u64::from(source.hz.max(1));
        }
        if is_wanted(Kind::Order) {
            space.plans = plans(scenario);
        }
        if is_wanted(Kind::Delays) && scenario.load == Load::Module {
            space.functions = functions(source, delay_at);
        }
        space
    }

    /// Whether there is nothing to differ in.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a seed stands for: at least one change, unless there is nothing to differ in.
    pub(super) fn draw(&self, seed: u64) -> Vec<Change> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut random = Random::new(seed);
        loop {
            let changes = self.attempt(&mut random);
            if !changes.is_empty() {
                return changes;
            }
        }
    }

    fn attempt(&self, random: &mut Random) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.cpus.is_empty() && random.once_in(2) {
            changes.extend(random.pick(&self.cpus).map(|cpus| Change::Cpus { cpus }));
        }
        if !self.shifts.is_empty() && random.once_in(4) {
            let shift = random.pick(&self.shifts);
            changes.extend(shift.map(|shift| Change::Shift { shift }));
        }
        if self.rr_cpu && random.once_in(4) {
            changes.push(Change::RrCpu);
        }
        if self.longest_wait_ns > 0 && random.once_in(2) {
            let wait_ns = random.up_to(self.longest_wait_ns / 1_000) * 1_000;
            changes.push(Change::Wait { wait_ns });
        }
        if !self.plans.is_empty() {
            for _ in 0..random.below(MOST_MOVES + 1) {
                changes.extend(self.one_move(random));
            }
        }
        if !self.functions.is_empty() {
            for _ in 0..random.below(MOST_DELAYS + 1) {
                changes.extend(self.one_delay(random));
            }
        }
        changes
    }

    fn one_move(&self, random: &mut Random) -> Option<Change> {
        let plan = pick(random, &self.plans)?;
        let item = pick(random, &plan.items)?;
        let before = pick(random, &plan.items)?;
        (item != before).then(|| Change::Order {
            phase: plan.phase.clone(),
            item: item.clone(),
            before: before.clone(),
        })
    }

    fn one_delay(&self, random: &mut Random) -> Option<Change> {
        let place = pick(random, &self.functions)?;
        let call = random.up_to(place.calls.min(MOST_CALLS));
        // As many short ones as long ones, with two digits.
        let octave = SHORTEST_DELAY_NS << random.below(DOUBLINGS);
        let exact = octave + random.below(octave);
        let unit = 10_u64.pow(exact.ilog10().saturating_sub(1));
        Some(Change::Delay {
            phase: place.phase.clone(),
            function: place.function.clone(),
            call: u32::try_from(call).ok()?,
            delay_ns: exact / unit * unit,
        })
    }

    /// What was varied, in one line.
    pub(super) fn words(&self) -> String {
        let listed = |numbers: Vec<String>| numbers.join(", ");
        let mut parts = Vec::new();
        if !self.cpus.is_empty() {
            let cpus = self.cpus.iter().map(u32::to_string).collect();
            parts.push(format!("CPUs ({})", listed(cpus)));
        }
        if !self.shifts.is_empty() {
            let shifts = self.shifts.iter().map(u8::to_string).collect();
            parts.push(format!("instruction shift ({})", listed(shifts)));
        }
        if self.rr_cpu {
            parts.push("workqueue.debug_force_rr_cpu".to_owned());
        }
        if self.longest_wait_ns > 0 {
            parts.push("where in a tick the work begins".to_owned());
        }
        if !self.plans.is_empty() {
            parts.push("order of items".to_owned());
        }
        match self.functions.len() {
            0 => {}
            1 => parts.push("delays in 1 function".to_owned()),
            count => parts.push(format!("delays in {count} functions")),
        }
        parts.join("; ")
    }
}

fn pick<'a, T>(random: &mut Random, values: &'a [T]) -> Option<&'a T> {
    let index = random.below(u64::try_from(values.len()).ok()?);
    values.get(usize::try_from(index).ok()?)
}

/// How a change names a phase: not at all where there is only one.
fn name_of(scenario: &Scenario, phase: &Phase) -> Option<String> {
    (scenario.phases.len() > 1).then(|| phase.name.clone())
}

/// The plans with items to move. One whose ids are expected in their order stays: its order is what is tested.
fn plans(scenario: &Scenario) -> Vec<Plan> {
    let is_fixed = |phase: &Phase| {
        scenario.expect.iter().any(|expectation| {
            matches!(expectation, Expectation::Order(order)
                if order.phase == phase.name && !matches!(order.ids, IdOrder::Listed(_)))
        })
    };
    let free = scenario.phases.iter().filter(|phase| !is_fixed(phase));
    free.filter_map(|phase| match &phase.workload.shape {
        Shape::Plan(items) if items.len() > 1 && phase.rounds.is_none() => Some(Plan {
            phase: name_of(scenario, phase),
            items: items.iter().map(|item| item.name.clone()).collect(),
        }),
        Shape::Plan(_) | Shape::Uniform(_) => None,
    })
    .collect()
}

/// The functions whose calls can be delayed: those that the user names, or else those of the trace, and the kernel's.
fn functions(source: &Source<'_>, delay_at: &[String]) -> Vec<Place> {
    let scenario = source.scenario;
    let loads = scenario
        .phases
        .iter()
        .filter(|phase| phase.command.is_none() && phase.rounds.is_none());
    let mut places = Vec::new();
    for phase in loads {
        let span = source
            .timeline
            .phases
            .iter()
            .find(|span| span.name == phase.name);
        let mut add = |function: &str, calls: u64| {
            let place = Place {
                phase: name_of(scenario, phase),
                function: function.to_owned(),
                calls: calls.max(1),
            };
            let is_there =
                |other: &Place| (&other.phase, &other.function) == (&place.phase, &place.function);
            if !places.iter().any(is_there) {
                places.push(place);
            }
        };
        if delay_at.is_empty() {
            for (function, calls) in traced(span) {
                if !is_banned(source.system_map, function) {
                    add(function, calls);
                }
            }
            for (function, modes) in KERNEL_FUNCTIONS {
                let items = (0..phase.workload.items())
                    .filter_map(|id| phase.workload.work_of(id))
                    .filter(|work| modes.contains(&work.mode));
                let users = u64::try_from(items.count()).unwrap_or(u64::MAX);
                if users > 0 && is_function(source.system_map, function) {
                    // Others call it too.
                    add(function, users.saturating_mul(2));
                }
            }
        } else {
            for function in delay_at {
                let seen = traced(span).find(|(name, _)| name == function);
                add(function, seen.map_or(UNSEEN_CALLS, |(_, calls)| calls));
            }
        }
    }
    places
}

/// The functions of a phase's trace, with how often they were called.
fn traced(span: Option<&PhaseSpan>) -> impl Iterator<Item = (&str, u64)> {
    let functions = span.into_iter().flat_map(|span| &span.functions);
    functions
        .filter(|function| !function.symbol.starts_with("0x"))
        .map(|function| {
            let calls = u64::try_from(function.spans.len()).unwrap_or(u64::MAX);
            (function.symbol.as_str(), calls)
        })
}

/// Whether the kernel has a function of this name.
pub(super) fn is_function(system_map: &str, name: &str) -> bool {
    symbols(system_map).any(|(kind, symbol)| matches!(kind, "t" | "T") && symbol == name)
}

/// Whether the kernel allows no kprobe there: `NOKPROBE_SYMBOL()`, `include/linux/kprobes.h`, Linux 7.3.
fn is_banned(system_map: &str, name: &str) -> bool {
    symbols(system_map).any(|(_, symbol)| symbol.strip_prefix("_kbl_addr_") == Some(name))
}

fn symbols(system_map: &str) -> impl Iterator<Item = (&str, &str)> {
    system_map.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        Some((words.next()?, words.next()?))
    })
}

/// The most CPUs of a machine are more than are tried.
const _: () = assert!(MOST_CPUS <= Machine::MAX_CPUS);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(function: &str, calls: u64) -> Place {
        Place {
            phase: None,
            function: function.to_owned(),
            calls,
        }
    }

    fn space() -> Space {
        Space {
            cpus: vec![2, 3, 4],
            shifts: vec![3, 5],
            rr_cpu: true,
            longest_wait_ns: 4_000_000,
            plans: vec![Plan {
                phase: None,
                items: ["a", "b", "c"].map(str::to_owned).to_vec(),
            }],
            functions: vec![place("deferred_item_body", 3), place("__queue_work", 8)],
        }
    }

    #[test]
    fn what_a_seed_stands_for_is_the_same_in_every_version() {
        let of = |seed| {
            let changes = space().draw(seed);
            let words: Vec<String> = changes.iter().map(Change::words).collect();
            words.join("; ")
        };
        // By another program, after splitmix64.c.
        let expected = [
            (
                0,
                "32 ns an instruction (shift 5); unbound works go to the CPUs in turns (workqueue.debug_force_rr_cpu); 1.3 ms delay in call 3 of deferred_item_body",
            ),
            (
                1,
                "unbound works go to the CPUs in turns (workqueue.debug_force_rr_cpu); the work begins 738 us later; 19 ms delay in call 2 of __queue_work; 130 us delay in call 1 of deferred_item_body; 520 us delay in call 8 of __queue_work",
            ),
            (
                2,
                "4 CPUs; unbound works go to the CPUs in turns (workqueue.debug_force_rr_cpu); 290 us delay in call 8 of __queue_work; 7.5 ms delay in call 2 of __queue_work",
            ),
            (
                3,
                "57 us delay in call 2 of deferred_item_body; 16 us delay in call 1 of deferred_item_body; 1.3 ms delay in call 1 of deferred_item_body",
            ),
            (
                u64::MAX,
                "2 CPUs; the work begins 1.076 ms later; item a before item b in the plan; 34 us delay in call 4 of __queue_work",
            ),
        ];
        for (seed, expected) in expected {
            assert_eq!(of(seed), expected, "seed {seed}");
            assert_eq!(of(seed), of(seed));
        }
    }

    #[test]
    fn every_kind_of_change_is_drawn_and_none_that_cannot_be() {
        let drawn: Vec<Vec<Change>> = (0..1_000).map(|seed| space().draw(seed)).collect();
        assert!(drawn.iter().all(|changes| !changes.is_empty()));
        let all = || drawn.iter().flatten();
        let count = |is: fn(&Change) -> bool| all().filter(|change| is(change)).count();
        for (kind, count) in [
            (
                "cpus",
                count(|change| matches!(change, Change::Cpus { .. })),
            ),
            (
                "shift",
                count(|change| matches!(change, Change::Shift { .. })),
            ),
            ("rr-cpu", count(|change| matches!(change, Change::RrCpu))),
            (
                "wait",
                count(|change| matches!(change, Change::Wait { .. })),
            ),
            (
                "order",
                count(|change| matches!(change, Change::Order { .. })),
            ),
            (
                "delay",
                count(|change| matches!(change, Change::Delay { .. })),
            ),
        ] {
            assert!(count > 100, "{kind}: {count}");
        }
        for change in all() {
            match change {
                Change::Delay {
                    function,
                    call,
                    delay_ns,
                    ..
                } => {
                    let most = if function == "__queue_work" { 8 } else { 3 };
                    assert!((1..=most).contains(call), "{change:?}");
                    assert!((10_000..20_480_000).contains(delay_ns), "{change:?}");
                }
                Change::Wait { wait_ns } => {
                    assert!((1_000..=4_000_000).contains(wait_ns), "{change:?}");
                }
                Change::Order { item, before, .. } => assert_ne!(item, before),
                Change::Cpus { .. } | Change::Shift { .. } | Change::RrCpu => {}
            }
        }
    }

    #[test]
    fn a_space_with_nothing_in_it_has_no_changes_and_one_with_one_thing_has_that() {
        assert_eq!(Space::default().draw(7), []);
        let only = Space {
            rr_cpu: true,
            ..Space::default()
        };
        for seed in 0..20 {
            assert_eq!(only.draw(seed), [Change::RrCpu]);
        }
    }

    fn timeline() -> Timeline {
        let run = deferinit_timeline::Run {
            ending: deferinit_timeline::Ending::Complete,
            trace_clock: "local",
            statistics: &BTreeMap::new(),
            dmesg: "",
            kmemleak: None,
            results: &BTreeMap::new(),
            rounds: &BTreeMap::new(),
            commands: &[],
            outputs: &BTreeMap::new(),
            reports: &BTreeMap::new(),
            cut: &[],
        };
        let symbols = deferinit_ftrace::symbols::Symbols::default();
        deferinit_timeline::build_without_records(&symbols, run)
    }

    fn space_of(text: &str, kinds: &[Kind], delay_at: &[String]) -> Space {
        let scenario = parse("test", text.as_bytes()).expect("a scenario");
        let source = Source {
            scenario: &scenario,
            text,
            timeline: &timeline(),
            hz: 250,
            shift: 4,
            most_shift: 4,
            system_map: "ffffffff81083a90 T delayed_work_timer_fn\nffffffff810914e0 t kthread\n",
        };
        Space::of(&source, kinds, delay_at)
    }

    const PLAN: &str = "summary: Test.\nmachine: { cpus: 2 }\nworkload:\n  plan:\n    - { name: a, mode: delayed, delay: 4ms, cpu: 1 }\n    - { name: b, mode: work }\n";

    #[test]
    fn a_scenario_is_varied_within_what_it_allows() {
        let expect = "expect: [error: { equals: none }]\n";
        let space = space_of(&format!("{PLAN}{expect}"), &[], &[]);
        // An item runs on CPU 1; the kernel bears no larger shift; a function is not in the kernel.
        assert_eq!(space.cpus, [3, 4]);
        assert_eq!(space.shifts, [3]);
        assert_eq!(space.longest_wait_ns, 4_000_000);
        assert_eq!(space.plans.len(), 1);
        assert_eq!(space.functions, [place("delayed_work_timer_fn", 2)]);

        let named = space_of(
            &format!("{PLAN}{expect}"),
            &[Kind::Delays],
            &["my_probe".to_owned()],
        );
        let expected = Space {
            functions: vec![place("my_probe", 8)],
            ..Space::default()
        };
        assert_eq!(named, expected);
    }

    #[test]
    fn an_order_that_is_tested_is_not_varied() {
        for (ids, plans) in [("ascending", 0), ("[b, a]", 1)] {
            let expect = format!("expect: [order: {{ by: ended, ids: {ids} }}]\n");
            let space = space_of(&format!("{PLAN}{expect}"), &[], &[]);
            assert_eq!(space.plans.len(), plans, "{ids}");
        }
    }

    #[test]
    fn initcalls_are_neither_delayed_nor_waited_for() {
        let text = "summary: Test.\nload: built-in\nworkload: { mode: direct, items: 2 }\nexpect: [count: { of: ended, equals: 2 }]\n";
        let space = space_of(text, &[], &[]);
        assert_eq!((space.longest_wait_ns, space.functions.len()), (0, 0));
        assert!(!space.is_empty());
    }
}
