// SPDX-License-Identifier: GPL-2.0-only

//! From a scenario to what the agent is told.

use deferinit_protocol::{Command, Phase, Plan, Round, Until, VERSION};
use deferinit_scenario as scenario;
use deferinit_scenario::{Scenario, Start, Workload};

use crate::trace::trace;

/// A kernel parameter that makes the agent look for leaks.
const KMEMLEAK_ON: &str = "kmemleak=on";

/// Translates a scenario.
pub fn plan(scenario: &Scenario) -> Plan {
    Plan {
        version: VERSION,
        deadline_ns: scenario.deadline.0,
        modules: Vec::new(),
        trace: trace(scenario),
        is_built_in: scenario.is_built_in(),
        phases: scenario.phases.iter().map(phase).collect(),
        leak_scan: scenario
            .machine
            .command_line
            .iter()
            .any(|parameter| parameter == KMEMLEAK_ON),
    }
}

fn phase(phase: &scenario::Phase) -> Phase {
    if let Some(script) = &phase.command {
        return Phase {
            wait_ns: phase.wait.0,
            ..Phase::of_command(&phase.name, Command::Script(script.clone()))
        };
    }
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
        wait_ns: phase.wait.0,
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
    fn a_command_is_a_script() {
        let scenario = scenario::parse(
            "test",
            b"summary: Test.\ncommand: echo hello\nexpect: [exit: { equals: 0 }]\n",
        );
        let plan = plan(&scenario.expect("a valid scenario"));
        let script = Command::Script("echo hello".to_owned());
        assert_eq!(plan.phases, [Phase::of_command("main", script)]);
        assert!(!plan.loads_module());
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
