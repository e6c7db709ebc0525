// SPDX-License-Identifier: GPL-2.0-only

//! Phases that run a command: their markers, the agent's word on them, and what they write.

use deferinit_timeline::{CommandHow, Timeline};

use crate::check_anomalies;
use crate::trace::{Setting, timeline, timeline_of};

/// A phase whose command calls a function once.
const COMMAND: &str = "
    1000 0 50 mark phase-begin main
    1100 0 50 in deferred_init 0
    1200 0 50 out deferred_init 0 1100 1200
    1300 0 50 mark command-begin main
    2000 0 60 in deferred_init 0
    2500 0 60 out deferred_init 0 2000 2500
    3000 0 50 mark command-end main exited 3
    3100 0 50 mark phase-end main
";

fn ended(script: &str, how: CommandHow) -> Timeline {
    timeline_of(
        script,
        Setting {
            command: Some(("main", how)),
            ..Setting::default()
        },
    )
}

#[test]
fn command_has_its_end_and_the_calls_between_its_markers() {
    let timeline = ended(COMMAND, CommandHow::Exited(3));
    check_anomalies(&timeline, &[]);
    let phase = &timeline.phases[0];
    let command = phase.command.as_ref().expect("a command");
    assert_eq!(command.begin.at.0, 1300);
    assert_eq!(command.end.map(|end| end.at.0), Some(3000));
    assert_eq!(command.how, Some(CommandHow::Exited(3)));
    assert!(!command.is_stopped);
    // The agent's own call before the command is not the phase's.
    assert_eq!(phase.functions[0].spans.len(), 1);
    assert_eq!(timeline.functions[0].spans.len(), 1);
}

#[test]
fn command_of_a_boot_has_what_came_before_it() {
    let timeline = timeline_of(
        COMMAND,
        Setting {
            boot: Some("main"),
            command: Some(("main", CommandHow::Exited(3))),
            ..Setting::default()
        },
    );
    check_anomalies(&timeline, &[]);
    let [phase] = timeline.phases.as_slice() else {
        panic!("{:?}", timeline.phases);
    };
    assert_eq!(
        (phase.begin.at.0, phase.end.map(|end| end.at.0)),
        (1000, Some(3100))
    );
    assert_eq!(phase.functions[0].spans.len(), 2);
    assert!(phase.command.is_some());
}

#[test]
fn recording_that_is_stopped_within_a_command_is_known_by_the_agents_word() {
    let stopped = COMMAND.split("    3000 0").next().expect("a beginning");
    let timeline = ended(stopped, CommandHow::Signalled(9));
    check_anomalies(&timeline, &[]);
    let command = timeline.phases[0].command.as_ref().expect("a command");
    assert!(command.is_stopped);
    assert_eq!(
        (command.end, command.how),
        (None, Some(CommandHow::Signalled(9)))
    );
    // Without that word, the trace only ends.
    check_anomalies(
        &crate::trace::timeline(stopped),
        &["phase main has no marker phase-end"],
    );
}

#[test]
fn what_contradicts_a_command_is_an_anomaly() {
    check_anomalies(
        &ended(COMMAND, CommandHow::Exited(0)),
        &["the command of phase main exited 0, but its marker says exited 3"],
    );
    check_anomalies(
        &timeline(&COMMAND.replace("command-end main", "command-end other")),
        &["marker command-end names other but phase main is open"],
    );
    check_anomalies(
        &timeline(&COMMAND.replace("command-begin main", "load")),
        &[
            "marker \"command-end main exited 3\" must not come here in phase main",
            "marker \"phase-end main\" must not come here in phase main",
            "phase main has no marker phase-end",
        ],
    );
    let other = Setting {
        command: Some(("other", CommandHow::Exited(0))),
        ..Setting::default()
    };
    check_anomalies(
        &timeline_of(COMMAND, other),
        &["the end of the command of phase \"other\" belongs to no phase"],
    );
}

#[test]
fn output_is_kept_by_lines_and_said_to_be_cut() {
    let with = |cut: &[String]| {
        let setting = Setting {
            output: Some(("main", "one\ntwo\n")),
            cut,
            ..Setting::default()
        };
        let mut timeline = timeline_of(COMMAND, setting);
        timeline.phases.remove(0).command.expect("a command")
    };
    let command = with(&[]);
    assert_eq!(
        command.output.as_deref(),
        Some(&["one".to_owned(), "two".to_owned()][..])
    );
    assert!(!command.is_output_cut);
    assert!(with(&["output/main".to_owned()]).is_output_cut);
}

#[test]
fn another_clock_does_where_no_module_notes_its_times() {
    let mono = Setting {
        trace_clock: "local [mono]",
        ..Setting::default()
    };
    check_anomalies(&timeline_of(COMMAND, mono), &[]);
}

#[test]
fn exits_are_calls_where_entries_are_not_recorded() {
    let script: String = COMMAND
        .lines()
        .filter(|line| !line.contains(" in "))
        .map(|line| format!("{line}\n"))
        .collect();
    let exits_only = Setting {
        has_exits_only: true,
        ..Setting::default()
    };
    let timeline = timeline_of(&script, exits_only);
    assert_eq!(timeline.phases[0].functions[0].spans[0].nanoseconds(), 500);
    assert!(timeline.integrity.is_whole());
    // Elsewhere an exit without its entry is a loss.
    assert!(!crate::trace::timeline(&script).integrity.is_whole());
}
