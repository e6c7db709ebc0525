// SPDX-License-Identifier: GPL-2.0-only

//! `results.ktap`: the runs for the kernel's own tools, such as `kunit.py parse`.
//!
//! In: the runs. Out: KTAP version 1: a test per mechanism with a subtest per run. An unresolved
//! run is `not ok` with the directive `ERROR`, an unsupported one `ok` with `SKIP`.
//! Source: `Documentation/dev-tools/ktap.rst`, Linux 7.3.

use std::fmt::Write as _;

use deferinit_check::Verdict;

use crate::{
    RunResult,
    detail::detail,
    model::suites,
    text::{clean_line, seconds},
};

/// The text of `results.ktap`.
#[must_use]
pub fn ktap(results: &[RunResult]) -> String {
    let suites = suites(results);
    let mut text = format!("KTAP version 1\n1..{}\n", suites.len());
    for (number, (name, runs)) in (1..).zip(&suites) {
        // The kernel's own tests name a nested test in a line like this, and kunit.py shows it.
        let subtest = format!("# Subtest: {}", description(name));
        let _ = writeln!(text, "  KTAP version 1\n  {subtest}\n  1..{}", runs.len());
        for (number, run) in (1..).zip(runs) {
            test(&mut text, number, run);
        }
        let (word, directive) = sum(runs);
        let _ = writeln!(text, "{word} {number} {}{directive}", description(name));
    }
    text
}

/// The lines of one run: what it was, what went wrong, and its result.
fn test(text: &mut String, number: usize, run: &RunResult) {
    let case = description(&run.case());
    let setting = clean_line(&run.setting());
    let _ = writeln!(
        text,
        "  # {case}: {setting}, wall time {}",
        seconds(run.wall)
    );
    if let Some(sum) = &run.trace_sha256 {
        let _ = writeln!(text, "  # {case}: trace SHA-256 {}", clean_line(sum));
    }
    for line in detail(run).lines() {
        let _ = writeln!(text, "  # {case}: {line}");
    }
    let (word, directive) = outcome(&run.judgement.verdict);
    let _ = writeln!(text, "  {word} {number} {case}{directive}");
}

fn outcome(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Pass => ("ok", String::new()),
        Verdict::Fail(_) => ("not ok", String::new()),
        Verdict::Unresolved(reason) => (
            "not ok",
            format!(" # ERROR {}", clean_line(&reason.to_string())),
        ),
        Verdict::Unsupported(what) => ("ok", format!(" # SKIP {}", clean_line(what))),
    }
}

/// The result of a test with these subtests: as KTAP says, it fails if one of them does, and is
/// skipped if all of them are.
fn sum(runs: &[&RunResult]) -> (&'static str, &'static str) {
    let verdicts = || runs.iter().map(|run| &run.judgement.verdict);
    if verdicts().any(|verdict| matches!(verdict, Verdict::Fail(_) | Verdict::Unresolved(_))) {
        ("not ok", "")
    } else if verdicts().all(|verdict| matches!(verdict, Verdict::Unsupported(_))) {
        ("ok", " # SKIP all are unsupported")
    } else {
        ("ok", "")
    }
}

/// A name as KTAP allows it: on one line, without `#`.
fn description(name: &str) -> String {
    clean_line(name).replace('#', "_")
}
