// SPDX-License-Identifier: GPL-2.0-only

//! The scenarios of this repository.

#![expect(
    clippy::disallowed_methods,
    reason = "the crate does no I/O; this test reads the repository's scenarios"
)]

use std::path::{Path, PathBuf};

use deferinit_scenario::{Scenario, parse};

/// Every file below `scenarios/` with the name its scenario has, sorted by name.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut files = Vec::new();
    for folder in entries(&root) {
        for path in entries(&folder) {
            let name = path
                .strip_prefix(&root)
                .expect("a path below scenarios/")
                .with_extension("");
            let bytes = std::fs::read(&path).expect("a readable scenario");
            files.push((name.to_str().expect("a UTF-8 name").to_owned(), bytes));
        }
    }
    files.sort();
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .expect("a folder of scenarios")
        .map(|entry| entry.expect("a readable entry").path())
        .collect()
}

fn scenarios() -> Vec<Scenario> {
    files()
        .into_iter()
        .map(|(name, bytes)| parse(&name, &bytes).unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

#[test]
fn every_scenario_parses() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 8, "only {} scenarios", scenarios.len());
}

#[test]
fn every_scenario_says_which_rule_it_checks_and_where_that_comes_from() {
    for (name, bytes) in files() {
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(
            text.starts_with("# SPDX-License-Identifier: GPL-2.0-only\n"),
            "{name}"
        );
        assert!(text.contains("\n# Rule: "), "{name}");
        assert!(text.contains("\n# Source: "), "{name}");
    }
}

#[test]
fn every_scenario_survives_plan_json() {
    for scenario in scenarios() {
        let json = serde_json::to_string(&scenario).expect("a scenario as JSON");
        let back: Scenario = serde_json::from_str(&json).expect("a scenario from JSON");
        assert_eq!(back, scenario);
    }
}

#[test]
fn every_scenario_takes_little_guest_time() {
    for scenario in scenarios() {
        let phases = scenario.phases.iter();
        let shortest = phases.map(|phase| phase.workload.shortest_run().0);
        // Of one boot.
        let least = if scenario.is_built_in() {
            shortest.max().unwrap_or(0)
        } else {
            shortest.sum()
        };
        // The kernel's own late work has to be over before that of a boot can be told from it.
        let most = if scenario.is_built_in() {
            3_000_000_000
        } else {
            1_500_000_000
        };
        let holds = scenario
            .phases
            .iter()
            .any(|phase| phase.until != deferinit_scenario::Until::Done);
        assert!(holds || least < most, "{}: {least} ns", scenario.name);
    }
}
