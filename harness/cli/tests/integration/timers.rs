// SPDX-License-Identifier: GPL-2.0-only

//! A guest whose timers are unfit for it carries no verdict on times.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{argument, code, output, results, text};

/// Runs a scenario with this expectation and kernel parameter.
fn run(folder: &Path, parameter: &str, expect: &str) -> (i32, Value, String) {
    let name = format!("{parameter}-{}", expect.len()).replace('=', "-");
    let file = folder.join(format!("{name}.yaml"));
    let scenario = format!(
        "summary: Timers.\nmachine: {{ cpus: 2, command-line: [{parameter}] }}\n\
         workload: {{ mode: delayed, items: 2, delay: 20ms }}\n\
         expect:\n- count: {{ of: ended, equals: 2 }}\n{expect}"
    );
    fs::write(&file, scenario).expect("a file");
    let out = folder.join(format!("out-{name}"));
    let output = output(&["run", argument(&file), "--out", argument(&out)]);
    (code(&output), results(&out).remove(0), text(&output))
}

#[test]
fn a_kernel_whose_timers_are_unfit_gives_no_verdict_on_times_and_says_why() {
    const TIMED: &str = "- lateness: { of: started, min: 0ns, max: 60s }\n";

    let folder = tempfile::tempdir().expect("a folder");
    for (parameter, why) in [
        ("highres=off", "high-resolution timers are not active"),
        ("nohz=off", "the tick of an idle CPU does not stop"),
        (
            "clocksource=jiffies",
            "the clocksource is jiffies, where tsc or tsc-early is needed",
        ),
    ] {
        let (code, result, text) = run(folder.path(), parameter, TIMED);
        assert_eq!(code, 102, "{parameter}: {text}");
        assert_eq!(result["verdict"], "unsupported", "{parameter}: {text}");
        let reason = result["reason"].as_str().expect("a reason");
        assert!(reason.contains(why), "{parameter}: {reason}");
        let checks = result["checks"].as_array().expect("checks");
        let lateness = checks
            .iter()
            .find(|check| check["name"] == "lateness of started");
        assert_eq!(lateness.expect("the check")["not_judged"], "timers-unfit");
    }
    // What is not about times is judged all the same.
    let (code, result, text) = run(folder.path(), "highres=off", "");
    assert_eq!((code, &result["verdict"]), (0, &"pass".into()), "{text}");
    let failing = format!("{TIMED}- count: {{ of: ended, equals: 3 }}\n");
    let (code, result, text) = run(folder.path(), "highres=off", &failing);
    assert_eq!((code, &result["verdict"]), (100, &"fail".into()), "{text}");
    let (code, result, text) = run(folder.path(), "highres=on", TIMED);
    assert_eq!((code, &result["verdict"]), (0, &"pass".into()), "{text}");
}
