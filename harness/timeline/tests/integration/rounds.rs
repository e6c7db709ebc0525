// SPDX-License-Identifier: GPL-2.0-only

//! Phases with rounds, and the agent's record of them.

use deferinit_timeline::{Ending, Timeline};

use crate::check_anomalies;
use crate::trace::{Setting, timeline_of};

const ROUNDS: &str = "
    1000 0 50 mark phase-begin main
    1100 0 50 mark rounds-begin
    70000000 0 50 mark rounds-end 20
    70003000 0 50 mark phase-end main
";

const RECORD: &str = r#"{"rounds":20,"warm_up":2,"memory_before":4096,"memory_after":5120}"#;

fn recorded(script: &str, phase: &str, record: &str) -> Timeline {
    timeline_of(
        script,
        Setting {
            rounds: Some((phase, record)),
            ..Setting::default()
        },
    )
}

#[test]
fn record_that_agrees_with_the_marker_is_kept() {
    let timeline = recorded(ROUNDS, "main", RECORD);
    check_anomalies(&timeline, &[]);
    let rounds = timeline.phases[0].rounds.expect("rounds");
    assert_eq!(rounds.begin.at.0, 1100);
    assert_eq!(rounds.end.map(|end| end.at.0), Some(70_000_000));
    let record = rounds.record.expect("a record");
    assert_eq!(
        (record.rounds, record.warm_up, record.growth()),
        (20, 2, 1024)
    );
}

#[test]
fn record_that_cannot_be_one_of_these_rounds_is_an_anomaly() {
    let fewer = RECORD.replace(":20", ":19");
    check_anomalies(
        &recorded(ROUNDS, "main", &fewer),
        &["phase main has a record of 19 rounds, but marker rounds-end says 20"],
    );
    let no_rest = RECORD.replace(":2,", ":20,");
    check_anomalies(
        &recorded(ROUNDS, "main", &no_rest),
        &["the warm-up of phase main is 20 of 20 rounds"],
    );
    check_anomalies(
        &recorded(ROUNDS, "main", "{}"),
        &[
            "the record of the rounds of phase main is none: missing field `rounds` at line 1 column 2",
        ],
    );
    check_anomalies(
        &recorded(ROUNDS, "other", RECORD),
        &[
            "the record of the rounds of phase main is missing",
            "the record of the rounds of phase \"other\" belongs to none",
        ],
    );
}

#[test]
fn rounds_that_a_dead_guest_left_unfinished_have_no_record() {
    let cut = ROUNDS.lines().take(3).collect::<Vec<_>>().join("\n");
    let died = Setting {
        ending: Ending::QemuDied {
            status: "signal 9".to_owned(),
        },
        ..Setting::default()
    };
    let timeline = timeline_of(&cut, died);
    check_anomalies(&timeline, &["phase main has no marker phase-end"]);
    let rounds = timeline.phases[0].rounds.expect("rounds");
    assert!(rounds.end.is_none() && rounds.record.is_none());
}
