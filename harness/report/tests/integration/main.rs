// SPDX-License-Identifier: GPL-2.0-only

//! What the reports look like, on hand-made runs of every verdict.
//!
//! The snapshots beside this file are renewed with `cargo insta review`.

mod sample;

use std::time::Duration;

use deferinit_report::{
    Colour, FAILED, FunctionFigures, JSON_FILE, JUNIT_FILE, KTAP_FILE, PASSED, RunResult, Terminal,
    Timings, UNRESOLVED, exit_code, guest_nanoseconds, json, junit, ktap, table, timings, write,
};
use deferinit_timeline::{Function, FunctionSpan, Timeline, TraceNanos};

use crate::sample::{
    failed, panicked, passed, repeated, two_phases, unresolved, unsupported, untimed,
};

fn one_of_each() -> Vec<RunResult> {
    vec![
        passed("delayed-work/accuracy"),
        failed("delayed-work/order"),
        unresolved("delayed-work/saturation"),
        panicked("init/direct"),
        two_phases("init/direct-versus-deferred"),
        unsupported("init/initcalls"),
    ]
}

fn colourful() -> Terminal {
    Terminal {
        colour: Colour::Always,
        width: None,
    }
}

#[test]
fn table_shows_each_verdict_and_why() {
    insta::assert_snapshot!(table(&one_of_each(), Terminal::NONE));
}

#[test]
fn table_of_one_scenario_shows_its_functions() {
    let runs = [passed("delayed-work/accuracy")];
    insta::assert_snapshot!(table(&runs, Terminal::NONE));
}

#[test]
fn table_of_repetitions_shows_runs_that_ended_alike_once() {
    let runs: Vec<_> = repeated(&passed("delayed-work/chain"), 3)
        .chain(repeated(&failed("delayed-work/order"), 3))
        .collect();
    insta::assert_snapshot!(table(&runs, Terminal::NONE));
}

#[test]
fn repetitions_that_differ_are_counted_and_shown_as_a_range() {
    let mut runs: Vec<_> = repeated(&passed("delayed-work/chain"), 3).collect();
    runs[1]
        .judgement
        .measurements
        .insert("main.init".to_owned(), 450_000);
    let text = table(&runs, Terminal::NONE);
    assert!(text.contains("3, 2 different"), "{text}");
    assert!(text.contains("init 420.00 us to 450.00 us"), "{text}");

    let mut runs: Vec<_> = repeated(&passed("delayed-work/chain"), 3).collect();
    runs[2].trace_sha256 = Some("0".repeat(64));
    let text = table(&runs, Terminal::NONE);
    assert!(text.contains("3, same figures"), "{text}");
}

#[test]
fn table_fits_a_narrow_terminal_by_its_figures() {
    let narrow = Terminal {
        width: Some(90),
        ..Terminal::NONE
    };
    let text = table(&[two_phases("init/direct-versus-deferred")], narrow);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(90), "{widest:?} columns:\n{text}");
    assert!(text.contains("init/direct-versus-deferred"), "{text}");
}

#[test]
fn only_a_terminal_gets_colour() {
    let runs = one_of_each();
    assert!(!table(&runs, Terminal::NONE).contains('\u{1b}'));
    let text = table(&runs, colourful());
    assert!(text.contains("\u{1b}[38;5;9m"), "{text:?}");
}

#[test]
fn json_has_an_entry_per_run() {
    let runs = [failed("delayed-work/order"), unsupported("init/initcalls")];
    insta::assert_snapshot!(json(&runs).expect("runs are JSON"));
}

#[test]
fn repetitions_on_the_wall_clock_have_a_median_and_an_interval() {
    let mut runs: Vec<_> = repeated(&passed("delayed-work/chain"), 7).collect();
    for (run, init) in runs.iter_mut().zip([430, 420, 440, 410, 450, 460, 990]) {
        let measurements = &mut run.judgement.measurements;
        measurements.insert("main.init".to_owned(), init * 1_000);
    }
    let noise_of = |runs: &[RunResult]| -> serde_json::Value {
        let text = json(runs).expect("runs are JSON");
        let file: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        file["noise"].clone()
    };
    assert!(noise_of(&runs).is_null(), "the exact clock has none");
    for run in &mut runs {
        "wall".clone_into(&mut run.clock);
    }
    let noise = noise_of(&runs);
    assert_eq!(noise[0]["name"], "delayed-work/chain");
    let init = &noise[0]["measurements"]["main.init"];
    let values = ["runs", "median", "low", "high"].map(|key| init[key].as_i64());
    assert_eq!(values, [7, 440_000, 410_000, 990_000].map(Some));
    let text = table(&runs, Terminal::NONE);
    assert!(
        text.contains("init 440.00 us (410.00 us to 990.00 us)"),
        "{text}"
    );
    assert!(noise_of(&runs[..1]).is_null(), "one run cannot tell");
}

#[test]
fn timings_are_added_up_and_the_largest_is_named() {
    let timed = |boot| RunResult {
        timings: Some(Timings {
            build: Duration::from_secs(8),
            boot: Duration::from_secs(boot),
            run: Duration::from_millis(500),
            ..Timings::default()
        }),
        ..passed("delayed-work/accuracy")
    };
    let runs = [timed(6), timed(5)];
    insta::assert_snapshot!(timings(&runs, Terminal::NONE));
    let text = json(&runs).expect("runs are JSON");
    assert!(text.contains("\"boot_seconds\": 6.0"), "{text}");
    // Nobody asked.
    assert_eq!(
        timings(&[passed("delayed-work/accuracy")], Terminal::NONE),
        ""
    );
    let text = json(&[passed("delayed-work/accuracy")]).expect("runs are JSON");
    assert!(!text.contains("timings"), "{text}");
}

#[test]
fn json_of_equal_runs_differs_in_repetition_only() {
    let runs: Vec<_> = repeated(&passed("delayed-work/chain"), 2).collect();
    let text = json(&runs).expect("runs are JSON");
    let results: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut entries = results["scenarios"].as_array().expect("a list").clone();
    assert_eq!(entries[0]["repetition"], 1);
    assert_eq!(entries[1]["repetition"], 2);
    entries[1]["repetition"] = 1.into();
    assert_eq!(entries[0], entries[1]);
}

#[test]
fn junit_has_a_suite_per_mechanism() {
    insta::assert_snapshot!(junit(&one_of_each()).expect("runs are XML"));
}

#[test]
fn junit_output_is_bounded() {
    let mut run = passed("delayed-work/accuracy");
    run.judgement.measurements = (0..10_000)
        .map(|number| (format!("main.number-{number}"), number))
        .collect();
    let text = junit(&[run]).expect("runs are XML");
    assert!(text.contains("(cut after 16384 characters)"));
    assert!(text.len() < 20_000, "{} bytes", text.len());
}

#[test]
fn control_characters_of_the_guest_reach_no_report() {
    let mut run = unresolved("delayed-work/saturation");
    run.console = vec!["a \u{1b}[2Jscreen\u{0}\u{7} ]]> & <b>".to_owned()];
    let texts = [
        table(std::slice::from_ref(&run), Terminal::NONE),
        junit(std::slice::from_ref(&run)).expect("runs are XML"),
        ktap(std::slice::from_ref(&run)),
    ];
    for text in texts {
        let strange = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(strange, None, "{text}");
        assert!(text.contains("screen"), "{text}");
    }
}

#[test]
fn ktap_has_a_test_per_mechanism() {
    insta::assert_snapshot!(ktap(&one_of_each()));
}

#[test]
fn ktap_fails_a_mechanism_for_one_of_its_runs_and_skips_one_without_any() {
    let text = ktap(&[
        passed("a/one"),
        unresolved("a/two"),
        unsupported("b/one"),
        passed("c/one"),
    ]);
    for line in [
        "\nnot ok 1 a\n",
        "\nok 2 b # SKIP all are unsupported\n",
        "\nok 3 c\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn ktap_name_with_a_hash_sign_is_no_directive() {
    let text = ktap(&[passed("a/one # SKIP never")]);
    assert!(text.contains("\n  ok 1 one _ SKIP never\n"), "{text}");
}

#[test]
fn check_that_was_not_judged_is_shown_everywhere_and_changes_no_verdict() {
    let runs = [untimed("delayed-work/accuracy")];
    insta::assert_snapshot!(table(&runs, Terminal::NONE));
    insta::assert_snapshot!("not_judged_junit", junit(&runs).expect("runs are XML"));
    let text = json(&runs).expect("runs are JSON");
    let results: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let checks = &results["scenarios"][0]["checks"];
    assert_eq!(checks[0]["not_judged"], serde_json::Value::Null);
    assert_eq!(checks[1]["not_judged"], "untimed");
    assert_eq!(checks[1]["passed"], false);
    let text = ktap(&runs);
    for line in [
        "\n  # accuracy: not judged, since times mean nothing on this kernel:\n",
        "\n  ok 1 accuracy\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(exit_code(&runs), PASSED);
}

#[test]
fn fail_wins_over_unresolved_and_that_over_pass() {
    for (runs, code) in [
        (vec![passed("a")], PASSED),
        (vec![passed("a"), failed("b"), unresolved("c")], FAILED),
        (vec![unresolved("a"), failed("b")], FAILED),
        (vec![passed("a"), panicked("b")], FAILED),
        (vec![passed("a"), unresolved("b")], UNRESOLVED),
        (vec![passed("a"), unsupported("b")], UNRESOLVED),
        (vec![], UNRESOLVED),
    ] {
        let names: Vec<_> = runs
            .iter()
            .map(|run| run.judgement.verdict.word())
            .collect();
        assert_eq!(exit_code(&runs), code, "{names:?}");
    }
    assert_eq!((PASSED, FAILED, UNRESOLVED), (0, 100, 102));
}

#[test]
fn files_are_written_and_replaced() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    write(folder.path(), &[failed("a/one")]).expect("the folder is there");
    write(folder.path(), &[passed("a/one")]).expect("the folder is there");
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").file_name())
        .collect();
    names.sort();
    assert_eq!(names, [JUNIT_FILE, JSON_FILE, KTAP_FILE]);
    let text = std::fs::read_to_string(folder.path().join(JSON_FILE)).expect("it is there");
    assert!(text.contains(r#""verdict": "pass""#), "{text}");

    let error = write(&folder.path().join("gone"), &[]).expect_err("the folder is not there");
    assert!(
        format!("{error:#}").contains("gone/results.json"),
        "{error:#}"
    );
}

#[test]
fn function_figures_sum_the_calls_of_each_phase() {
    let span = |called, returned| FunctionSpan {
        called: TraceNanos(called),
        returned: TraceNanos(returned),
        depth: 0,
        pid: 1,
        entry_cpu: 0,
        entry_recorded: TraceNanos(called),
        exit_cpu: 0,
        exit_recorded: TraceNanos(returned),
        return_value: None,
    };
    let function = |name: &str, spans| Function {
        name: name.to_owned(),
        symbol: name.to_owned(),
        module: None,
        spans,
    };
    let mut timeline: Timeline = sample::timeline();
    timeline.first = Some(TraceNanos(1_000));
    timeline.last = Some(TraceNanos(5_000));
    timeline.functions = vec![
        function("deferred_late", vec![span(10, 15), span(20, 40)]),
        function("never_returned", vec![]),
    ];
    let figures = FunctionFigures::of(&timeline);
    let expected = FunctionFigures {
        phase: None,
        name: "deferred_late".to_owned(),
        module: None,
        calls: 2,
        total_ns: 25,
        min_ns: 5,
        max_ns: 20,
    };
    assert_eq!(figures, [expected]);
    assert_eq!(guest_nanoseconds(&timeline), Some(4_000));
    assert_eq!(guest_nanoseconds(&sample::timeline()), None);
}
