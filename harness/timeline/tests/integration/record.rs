// SPDX-License-Identifier: GPL-2.0-only

//! The module's own record, held against the trace.

use deferinit_timeline::{Ending, Timeline};

use crate::trace::{Setting, timeline_of};
use crate::{PHASE, check_anomalies};

const HEADER: &str = "id name mode armed_ns expires_jiffies queued_ns started_ns ended_ns cancelled_ns cpu pid attempts errno";

/// What the module says of the items of `PHASE`.
const RECORD: &str = "\
0 bus delayed 1290 12 50999990 51000990 51001990 - 0 8 1 0
1 1 delayed 1340 15 60999990 61000990 61001990 - 1 9 1 -22
";

const RESULTS: &str = "70000000 0 50 mark done\n    70000500 0 50 mark results";

/// `PHASE` with the marker `results`.
fn phase() -> String {
    PHASE.replace("70000000 0 50 mark done", RESULTS)
}

/// A script, and the module's record of it, with blanks for tabs.
#[track_caller]
fn recorded(script: &str, record: &str) -> Timeline {
    let record = format!("{HEADER}\n{record}").replace(' ', "\t");
    timeline_of(
        script,
        Setting {
            results: Some(("main", &record)),
            ..Setting::default()
        },
    )
}

/// A line of the record is replaced: how it differs from the trace.
#[track_caller]
fn check_differs(line: &str, replacement: &str, differences: &[&str]) {
    assert!(RECORD.contains(line), "{line:?} is no part of RECORD");
    let timeline = recorded(&phase(), &RECORD.replace(line, replacement));
    let wanted: Vec<String> = differences
        .iter()
        .map(|difference| format!("the module's record and the trace differ: {difference}"))
        .collect();
    check_anomalies(
        &timeline,
        &wanted.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn record_that_agrees_is_kept() {
    let timeline = recorded(&phase(), RECORD);
    check_anomalies(&timeline, &[]);
    let phase = &timeline.phases[0];
    assert_eq!(phase.results.map(|results| results.at.0), Some(70_000_500));
    let record = phase.record.as_deref().expect("it was handed over");
    let names: Vec<&str> = record.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["bus", "1"]);
    assert_eq!(record[1].error, Some(-22));
}

#[test]
fn item_that_did_nothing_is_in_the_record_alone() {
    let line = "2 idle delayed - - - - - - - - 0 -\n";
    check_anomalies(&recorded(&phase(), &format!("{RECORD}{line}")), &[]);
}

#[test]
fn every_difference_of_a_nanosecond_is_an_anomaly() {
    let cases = [
        (
            "bus delayed 1290",
            "bus delayed 1291",
            "item 0 (bus) of phase main is armed at 0.000001291 in the record, at 0.000001290 in the trace",
        ),
        (
            "50999990",
            "50999991",
            "item 0 (bus) of phase main is queued at 0.050999991 in the record, at 0.050999990 in the trace",
        ),
        (
            "61000990",
            "61000989",
            "item 1 of phase main is started at 0.061000989 in the record, at 0.061000990 in the trace",
        ),
        (
            "61001990",
            "61001991",
            "item 1 of phase main is ended at 0.061001991 in the record, at 0.061001990 in the trace",
        ),
        (
            "60999990",
            "-",
            "item 1 of phase main is queued at 0.060999990 in the trace, never in the record",
        ),
        (
            "51001990 - 0",
            "51001990 51001995 0",
            "item 0 (bus) of phase main is cancelled at 0.051001995 in the record, never in the trace",
        ),
        (
            "1290 12",
            "1290 13",
            "item 0 (bus) of phase main expires at 13 in the record, at 12 in the trace",
        ),
        (
            "1290 12",
            "1290 -",
            "item 0 (bus) of phase main expires at 0 in the record, at 12 in the trace",
        ),
        (
            "-22",
            "-5",
            "item 1 of phase main ended with -5 in the record, with -22 in the trace",
        ),
        (
            "0 8 1 0",
            "0 8 2 0",
            "item 0 (bus) of phase main is started 2 times in the record, 1 in the trace",
        ),
        (
            "0 8 1 0",
            "0 8 0 0",
            "item 0 (bus) of phase main is started 0 times in the record, 1 in the trace",
        ),
        (
            "1 9 1 -22",
            "0 9 1 -22",
            "item 1 of phase main last started on CPU 0 in pid 9 in the record, on CPU 1 in pid 9 in the trace",
        ),
        (
            "1 9 1 -22",
            "1 - 1 -22",
            "item 1 of phase main last started on CPU 1 in pid - in the record, on CPU 1 in pid 9 in the trace",
        ),
        (
            "1 1 delayed 1340 15 60999990 61000990 61001990 - 1 9 1 -22\n",
            "",
            "item 1 of phase main is not in the record",
        ),
    ];
    for (line, replacement, difference) in cases {
        check_differs(line, replacement, &[difference]);
    }
}

#[test]
fn item_that_the_trace_lacks_is_an_anomaly() {
    let line = "2 lost kthread 5 - - 6 7 - 0 9 1 0\n";
    let timeline = recorded(&phase(), &format!("{RECORD}{line}"));
    let differs = "the module's record and the trace differ: item 2 (lost) of phase main";
    check_anomalies(
        &timeline,
        &[
            &format!("{differs} is armed at 0.000000005 in the record, never in the trace"),
            &format!("{differs} is started at 0.000000006 in the record, never in the trace"),
            &format!("{differs} is ended at 0.000000007 in the record, never in the trace"),
            &format!("{differs} is started 1 times in the record, 0 in the trace"),
        ],
    );
}

/// `PHASE` held, with item 1 running on behind the marker `results`.
fn held(started: u64, ended: u64) -> String {
    let script = PHASE
        .replace("70000000 0 50 mark done", "")
        .replace("61001000 1 9 started 1 61000990", "")
        .replace("61002000 1 9 ended 1 61001990 -22", "");
    let mut lines: Vec<(u64, String)> = script
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let (time, _) = line.split_once(' ')?;
            Some((time.parse().expect("a time"), line.to_owned()))
        })
        .collect();
    lines.push((69_000_000, "69000000 0 50 mark held".to_owned()));
    lines.push((69_000_500, "69000500 0 50 mark results".to_owned()));
    lines.push((started, format!("{started} 1 9 started 1 {started}")));
    lines.push((ended, format!("{ended} 1 9 ended 1 {ended} -22")));
    lines.sort();
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    lines.join("\n")
}

#[test]
fn what_comes_after_the_marker_may_be_missing_in_the_record() {
    let first = RECORD.lines().next().expect("item 0");
    let row = |row: &str| format!("{first}\n{row}\n");
    let late = held(69_000_600, 69_000_700);
    // Read before both, between them, between the count and the time of the start, and after both.
    for line in [
        "1 1 delayed 1340 15 60999990 - - - - - 0 -",
        "1 1 delayed 1340 15 60999990 - - - 0 0 1 -",
        "1 1 delayed 1340 15 60999990 69000600 - - 1 9 1 -",
        "1 1 delayed 1340 15 60999990 69000600 69000700 - 1 9 1 -22",
    ] {
        check_anomalies(&recorded(&late, &row(line)), &[]);
    }
    check_anomalies(
        &recorded(
            &late,
            &row("1 1 delayed 1340 15 60999990 69000601 - - 1 9 1 -"),
        ),
        &[
            "the module's record and the trace differ: item 1 of phase main is started at 0.069000601 in the record, \
             at 0.069000600 in the trace",
        ],
    );

    // One that starts as the record is read may have written its event alone; long before, it has written both.
    let missing = row("1 1 delayed 1340 15 60999990 - - - - - 0 -");
    check_anomalies(&recorded(&held(69_000_400, 69_000_700), &missing), &[]);
    let timeline = recorded(&held(67_999_000, 69_000_700), &missing);
    check_anomalies(
        &timeline,
        &[
            "the module's record and the trace differ: item 1 of phase main is started at 0.067999000 in the trace, \
             never in the record",
            "the module's record and the trace differ: item 1 of phase main is started 0 times in the record, 1 in \
             the trace",
        ],
    );
}

#[test]
fn attempts_are_counted_and_the_last_start_counts() {
    let script = phase().replace(
        "51002000 1 8 ended 0 51001990 0",
        "51001950 1 8 retried 0 51001940 1 -11
         51001960 1 11 started 0 51001955
         51002000 1 11 ended 0 51001990 0",
    );
    let twice = RECORD.replace("0 8 1 0", "1 11 2 0");
    check_anomalies(&recorded(&script, &twice), &[]);
    check_anomalies(
        &recorded(&script, &RECORD.replace("0 8 1 0", "0 8 2 0")),
        &[
            "the module's record and the trace differ: item 0 (bus) of phase main last started on CPU 0 in pid 8 in \
             the record, on CPU 1 in pid 11 in the trace",
        ],
    );
}

#[test]
fn missing_record_of_a_complete_run_is_an_anomaly() {
    let timeline = timeline_of(&phase(), Setting::default());
    check_anomalies(&timeline, &["the module's record of phase main is missing"]);
    // A guest that died could hand over no file.
    let died = Setting {
        ending: Ending::QemuDied {
            status: "signal 9".to_owned(),
        },
        ..Setting::default()
    };
    check_anomalies(&timeline_of(&phase(), died), &[]);
}

#[test]
fn record_that_belongs_to_no_phase_or_comes_without_its_marker_is_an_anomaly() {
    check_anomalies(
        &recorded(PHASE, RECORD),
        &["phase main has the module's record but no marker results"],
    );
    let other = Setting {
        results: Some(("other", "")),
        ..Setting::default()
    };
    check_anomalies(
        &timeline_of(PHASE, other),
        &["the module's record of phase \"other\" belongs to no phase"],
    );
}

#[test]
fn malformed_record_is_an_anomaly_and_the_trace_is_read() {
    let timeline = recorded(
        &phase(),
        "0 bus\n1 1 delayed 1340 15 60999990 61000990 61001990 - 1 9 1 -22\n",
    );
    check_anomalies(
        &timeline,
        &[
            "the module's record of phase main has a line 2 that is no item's: \"0\\tbus\"",
            "the module's record and the trace differ: item 0 of phase main is not in the record",
        ],
    );
    assert_eq!(timeline.phases[0].items.len(), 2);
}

#[test]
fn supervisor_may_read_the_record_past_the_deadline() {
    let script = PHASE.replace(
        "70000000 0 50 mark done",
        "70000000 0 1 mark deadline\n 70000500 0 1 mark results",
    );
    check_anomalies(&recorded(&script, RECORD), &[]);
    let script = PHASE.replace(
        "70000000 0 50 mark done",
        "70000000 0 50 mark done\n 70000500 0 1 mark results",
    );
    assert_eq!(
        recorded(&script, RECORD).anomalies.first[0].message,
        "marker \"results\" is by pid 1, but the agent is pid 50"
    );
}
