// SPDX-License-Identifier: GPL-2.0-only

//! One change of a schedule, in words, and all of them as a scenario.
//!
//! In: changes, and the text of a scenario. Out: the same text with a block `vary` behind it: a scenario like any other.

use std::fmt::Write as _;

use deferinit_scenario::Nanos;
use serde::Serialize;

/// Something that a schedule has and the plain one has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub(super) enum Change {
    /// So many CPUs.
    Cpus { cpus: u32 },
    /// An instruction takes 2^shift ns.
    Shift { shift: u8 },
    /// `workqueue.debug_force_rr_cpu`.
    RrCpu,
    /// The work begins so much later.
    Wait { wait_ns: u64 },
    /// An item stands before another one in its plan.
    Order {
        phase: Option<String>,
        item: String,
        before: String,
    },
    /// A call of a function is delayed.
    Delay {
        phase: Option<String>,
        function: String,
        call: u32,
        delay_ns: u64,
    },
}

/// A duration with a blank before its unit.
fn spaced(ns: u64) -> String {
    let text = Nanos(ns).to_string();
    let end = text.find(|character: char| character.is_ascii_alphabetic());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    format!("{number} {unit}")
}

impl Change {
    /// What it is, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Cpus { cpus: 1 } => "1 CPU".to_owned(),
            Self::Cpus { cpus } => format!("{cpus} CPUs"),
            Self::Shift { shift } => {
                format!("{} ns an instruction (shift {shift})", 1_u64 << shift)
            }
            Self::RrCpu => {
                "unbound works go to the CPUs in turns (workqueue.debug_force_rr_cpu)".to_owned()
            }
            Self::Wait { wait_ns } => format!("the work begins {} later", spaced(*wait_ns)),
            Self::Order {
                phase,
                item,
                before,
            } => format!("item {item} before item {before} in the plan{}", of(phase)),
            Self::Delay {
                phase,
                function,
                call,
                delay_ns,
            } => format!(
                "{} delay in call {call} of {function}{}",
                spaced(*delay_ns),
                of(phase)
            ),
        }
    }
}

fn of(phase: &Option<String>) -> String {
    phase
        .as_ref()
        .map_or_else(String::new, |phase| format!(" (phase {phase})"))
}

/// The scenario with these changes, and with times judged or not.
pub(super) fn varied(text: &str, changes: &[Change], is_timed: bool) -> String {
    let mut keys = String::new();
    let mut order = String::new();
    let mut delays = String::new();
    let named = |phase: &Option<String>| {
        phase
            .as_ref()
            .map_or_else(String::new, |phase| format!("phase: {phase}, "))
    };
    for change in changes {
        // Into memory, where nothing fails.
        let _ = match change {
            Change::Cpus { cpus } => writeln!(keys, "  cpus: {cpus}"),
            Change::Shift { shift } => writeln!(keys, "  shift: {shift}"),
            Change::RrCpu => writeln!(keys, "  debug-force-rr-cpu: true"),
            Change::Wait { wait_ns } => writeln!(keys, "  wait: {}", Nanos(*wait_ns)),
            Change::Order {
                phase,
                item,
                before,
            } => writeln!(
                order,
                "    - {{ {}item: \"{item}\", before: \"{before}\" }}",
                named(phase)
            ),
            Change::Delay {
                phase,
                function,
                call,
                delay_ns,
            } => writeln!(
                delays,
                "    - {{ {}function: {function}, call: {call}, delay: {} }}",
                named(phase),
                Nanos(*delay_ns)
            ),
        };
    }
    let list = |key: &str, entries: &str| match entries {
        "" => String::new(),
        entries => format!("  {key}:\n{entries}"),
    };
    let times = if is_timed { "judged" } else { "ignored" };
    format!(
        "{}\n\n# What `deferinit explore` changed.\nvary:\n{keys}{}{}  times: {times}\n",
        text.trim_end(),
        list("order", &order),
        list("delays", &delays)
    )
}

#[cfg(test)]
mod tests {
    use deferinit_scenario::{CallDelay, Shape, Times, parse};

    use super::*;

    const TEXT: &str = "# A comment.\nsummary: Test.\nworkload:\n  plan:\n    - { name: a, mode: direct }\n    - { name: b, mode: direct }\nexpect: [count: { of: ended, equals: 2 }]\n";

    fn all() -> [Change; 6] {
        [
            Change::Cpus { cpus: 2 },
            Change::Shift { shift: 3 },
            Change::RrCpu,
            Change::Wait { wait_ns: 1_700_000 },
            Change::Order {
                phase: None,
                item: "b".to_owned(),
                before: "a".to_owned(),
            },
            Change::Delay {
                phase: None,
                function: "deferred_item_body".to_owned(),
                call: 2,
                delay_ns: 1_300_000,
            },
        ]
    }

    #[test]
    fn changes_are_a_scenario_that_has_them() {
        let scenario = parse("test", varied(TEXT, &all(), false).as_bytes()).expect("a scenario");
        assert_eq!(
            (scenario.machine.cpus, scenario.machine.shift),
            (2, Some(3))
        );
        assert_eq!(
            scenario.machine.command_line,
            ["workqueue.debug_force_rr_cpu=1"]
        );
        assert_eq!(scenario.times, Times::Ignored);
        let phase = &scenario.phases[0];
        assert_eq!(phase.wait, Nanos(1_700_000));
        let Shape::Plan(items) = &phase.workload.shape else {
            panic!("{phase:?}");
        };
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let delay = CallDelay {
            function: "deferred_item_body".to_owned(),
            call: Some(2),
            delay: Nanos(1_300_000),
        };
        assert_eq!(phase.workload.delays, [delay]);
    }

    #[test]
    fn without_changes_only_times_differ() {
        let plain = parse("test", TEXT.as_bytes()).expect("a scenario");
        let timed = parse("test", varied(TEXT, &[], true).as_bytes()).expect("a scenario");
        assert_eq!(timed, plain);
        let mut untimed = parse("test", varied(TEXT, &[], false).as_bytes()).expect("a scenario");
        assert_eq!(untimed.times, Times::Ignored);
        untimed.times = Times::Judged;
        assert_eq!(untimed, plain);
    }

    #[test]
    fn changes_have_words() {
        let words = all().map(|change| change.words());
        let expected = [
            "2 CPUs",
            "8 ns an instruction (shift 3)",
            "unbound works go to the CPUs in turns (workqueue.debug_force_rr_cpu)",
            "the work begins 1.7 ms later",
            "item b before item a in the plan",
            "1.3 ms delay in call 2 of deferred_item_body",
        ];
        assert_eq!(words, expected);
    }
}
