// SPDX-License-Identifier: GPL-2.0-only

//! `junit.xml`: the runs for CI systems.
//!
//! In: the runs. Out: XML: a test suite per mechanism, a test case per run. A failed check is a
//! `failure`, an unresolved run an `error`, an unsupported one `skipped`. A check that was not judged
//! is a test case of its own, `skipped`.
//! Source: the Jenkins JUnit schema, by quick-junit.

use anyhow::{Context, Result};
use deferinit_check::{CheckResult, NotJudged, Verdict};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::{
    RunResult,
    detail::detail,
    model::suites,
    text::{clean, clean_line, time},
};

/// The most characters a test case's output may have: CI systems keep it in memory.
const LONGEST_OUTPUT: usize = 16 * 1024;

/// The text of `junit.xml`. The same runs give the same text: it holds no date and no host.
///
/// # Errors
/// None is known; what quick-junit reports is passed on.
pub fn junit(results: &[RunResult]) -> Result<String> {
    let mut report = Report::new("deferinit");
    for (name, runs) in suites(results) {
        let mut suite = TestSuite::new(clean_line(name));
        suite.set_time(runs.iter().map(|run| run.wall).sum());
        suite.add_test_cases(runs.into_iter().flat_map(cases));
        report.add_test_suite(suite);
    }
    report.set_time(results.iter().map(|run| run.wall).sum());
    report.to_string().context("writing results as JUnit XML")
}

/// The run, then its checks that were not judged.
fn cases(result: &RunResult) -> Vec<TestCase> {
    let checks = result.judgement.checks.iter();
    let set_aside = checks.filter_map(|check| Some(set_aside(result, check, check.not_judged?)));
    [case(result)].into_iter().chain(set_aside).collect()
}

fn set_aside(result: &RunResult, check: &CheckResult, why: NotJudged) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_type("not judged");
    status.set_message(clean_line(&why.to_string()));
    let (expected, measured) = (&check.expected, &check.measured);
    status.set_description(bounded(&format!(
        "expected  {expected}\nmeasured  {measured}\n"
    )));
    let name = format!("{}: {}", result.case(), check.name);
    let mut case = TestCase::new(clean_line(&name), status);
    case.set_classname(clean_line(result.suite()));
    case
}

fn case(result: &RunResult) -> TestCase {
    let mut case = TestCase::new(clean_line(&result.case()), status(result));
    case.set_classname(clean_line(result.suite()));
    case.set_time(result.wall);
    for (name, value) in [
        ("kernel", Some(&result.kernel)),
        ("clock", Some(&result.clock)),
        ("machine", Some(&result.machine)),
        ("accelerator", result.accelerator.as_ref()),
        ("trace-sha256", result.trace_sha256.as_ref()),
        ("folder", Some(&result.folder)),
    ] {
        case.add_properties(value.map(|value| Property::new(name, clean_line(value))));
    }
    let output = output(result);
    if !output.is_empty() {
        case.set_system_out(output);
    }
    case
}

fn status(result: &RunResult) -> TestCaseStatus {
    let verdict = &result.judgement.verdict;
    let (mut status, kind) = match verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Fail(violations) => (
            TestCaseStatus::non_success(NonSuccessKind::Failure),
            violations.first().map_or("fail", |first| &first.check),
        ),
        Verdict::Unresolved(_) => (
            TestCaseStatus::non_success(NonSuccessKind::Error),
            "unresolved",
        ),
        Verdict::Unsupported(_) => (TestCaseStatus::skipped(), "unsupported"),
    };
    status.set_type(clean_line(kind));
    status.set_message(clean_line(&verdict.reason()));
    status.set_description(bounded(&detail(result)));
    status
}

/// What the run measured, and its functions.
fn output(result: &RunResult) -> String {
    let measurements = result.judgement.measurements.iter();
    let measurements = measurements.map(|(name, value)| format!("{name} = {value}\n"));
    let functions = result.functions.iter().map(|function| {
        format!(
            "{}: {} in {} calls, {} to {} each\n",
            function.name,
            time(function.total_ns),
            function.calls,
            time(function.min_ns),
            time(function.max_ns)
        )
    });
    bounded(&measurements.chain(functions).collect::<String>())
}

/// The text's beginning, as far as it is not too long.
fn bounded(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(LONGEST_OUTPUT) {
        None => text,
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}\n(cut after {LONGEST_OUTPUT} characters)\n")
        }
    }
}
