// SPDX-License-Identifier: GPL-2.0-only

//! From a scenario to what the agent is told.

use deferinit_protocol::{EVENTS_SYSTEM, Phase, Plan, Round, Since, Trace, Until, VERSION};
use deferinit_scenario as scenario;
use deferinit_scenario::{Scenario, Start, Workload};

/// The events that every run records, besides those of the scenario: the life of the items, and
/// what the kernel did with timers, work queues, initcalls and modules meanwhile.
const EVENTS: [&str; 9] = [
    EVENTS_SYSTEM,
    "initcall",
    "module:module_free",
    "module:module_load",
    "timer:timer_cancel",
    "timer:timer_expire_entry",
    "timer:timer_expire_exit",
    "timer:timer_start",
    "workqueue",
];

/// A kernel parameter that makes the agent look for leaks.
const KMEMLEAK_ON: &str = "kmemleak=on";

/// Translates a scenario.
pub fn plan(scenario: &Scenario) -> Plan {
    let mut events: Vec<String> = EVENTS.map(str::to_owned).to_vec();
    for event in &scenario.trace.events {
        if !events.contains(event) {
            events.push(event.clone());
        }
    }
    let cpus = u64::from(scenario.machine.cpus.max(1));
    Plan {
        version: VERSION,
        deadline_ns: scenario.deadline.0,
        modules: Vec::new(),
        trace: Trace {
            tracer: tracer(scenario).to_owned(),
            functions: scenario.trace.functions.clone(),
            events,
            since: if scenario.is_built_in() {
                Since::BootInstance
            } else {
                Since::Window
            },
            ..Trace::nothing((scenario.trace.buffer.0 / 1024 / cpus).max(1))
        },
        is_built_in: scenario.is_built_in(),
        phases: scenario.phases.iter().map(phase).collect(),
        leak_scan: scenario
            .machine
            .command_line
            .iter()
            .any(|parameter| parameter == KMEMLEAK_ON),
    }
}

/// Where no function is asked for, a tracer of functions would record all of them.
fn tracer(scenario: &Scenario) -> &'static str {
    if scenario.trace.functions.is_empty() {
        "nop"
    } else {
        "function_graph"
    }
}

fn phase(phase: &scenario::Phase) -> Phase {
    let first = round(&phase.workload);
    let rounds = phase.rounds.map(scenario::Rounds::workloads);
    Phase {
        name: phase.name.clone(),
        parameters: first.parameters,
        trigger: first.trigger,
        until: match phase.until {
            scenario::Until::Done => Until::Done,
            scenario::Until::Hold(time) => Until::Hold(time.0),
        },
        rounds: rounds
            .into_iter()
            .flatten()
            .map(|workload| round(&workload))
            .collect(),
        command: None,
    }
}

fn round(workload: &Workload) -> Round {
    let parameters = workload.module_parameters();
    let parameters: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Round {
        parameters: parameters.join(" "),
        trigger: workload.start == Start::Trigger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_becomes_parameters_and_events() {
        let scenario = scenario::parse(
            "test",
            b"summary: Test.\n\
              machine: { command-line: [kmemleak=on] }\n\
              trace: { events: [sched, workqueue] }\n\
              workload: { mode: delayed, items: 2, delay: 50ms, body: { spin: 1us }, start: trigger }\n\
              until: { hold: 20ms }\n\
              expect:\n- count: { of: armed, equals: 2 }\n",
        )
        .expect("a valid scenario");
        let plan = plan(&scenario);
        assert!(plan.leak_scan);
        assert_eq!(
            plan.trace
                .events
                .iter()
                .filter(|event| *event == "workqueue")
                .count(),
            1
        );
        assert_eq!(plan.trace.events.last().map(String::as_str), Some("sched"));
        let phase = plan.phases.first().expect("a phase");
        assert!(phase.trigger);
        assert_eq!(phase.until, Until::Hold(20_000_000));
        assert!(
            phase.parameters.contains("mode=delayed"),
            "{}",
            phase.parameters
        );
        assert!(
            phase.parameters.contains("delay_ns=50000000"),
            "{}",
            phase.parameters
        );
    }

    #[test]
    fn rounds_become_parameters_of_their_own() {
        let scenario = scenario::parse(
            "test",
            b"summary: Test.\nrounds: { count: 20, seed: 7 }\nexpect: [growth: { max: 0B }]\n",
        )
        .expect("a valid scenario");
        let plan = plan(&scenario);
        let phase = plan.phases.first().expect("a phase");
        assert_eq!(phase.rounds.len(), 20);
        assert_eq!(phase.rounds[3], round(&Workload::random(10)));
        assert!(phase.rounds.iter().any(|round| round.trigger));
    }
}
