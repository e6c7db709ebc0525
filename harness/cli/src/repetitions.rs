// SPDX-License-Identifier: GPL-2.0-only

//! On the exact clock, every repetition of a scenario must be the same to the last bit.

use deferinit_check::{Reason, Verdict};
use deferinit_report::RunResult;
use deferinit_scenario::Clock;

/// Takes the verdict from a repetition that is not the same as the first one.
///
/// A run that differs can be trusted no more than the first: one of the two is wrong, and the
/// harness or QEMU is to blame, not the kernel. A failure stays one: its evidence stands by itself.
pub(crate) fn hold_against_first(first: &RunResult, result: &mut RunResult, clock: Clock) {
    if clock != Clock::Exact || !matches!(result.judgement.verdict, Verdict::Pass) {
        return;
    }
    if let Some(difference) = difference(first, result) {
        let message = format!(
            "not the same as repetition {}: {difference}",
            first.repetition.index
        );
        result.judgement.verdict = Verdict::Unresolved(Reason::Harness { message });
    }
}

/// The first way in which two runs differ.
fn difference(first: &RunResult, other: &RunResult) -> Option<String> {
    let (a, b) = (&first.judgement.measurements, &other.judgement.measurements);
    for name in a.keys().chain(b.keys()) {
        let (was, is) = (a.get(name), b.get(name));
        if was != is {
            let text = |value: Option<&i64>| value.map_or("absent".to_owned(), i64::to_string);
            return Some(format!("{name} was {}, is {}", text(was), text(is)));
        }
    }
    (first.trace_sha256 != other.trace_sha256).then(|| "the traces' bytes differ".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deferinit_report::Repetition;
    use deferinit_timeline::FormatVersion;

    use super::*;

    fn run(verdict: Verdict, init: i64, trace: &str) -> RunResult {
        RunResult {
            repetition: Repetition { index: 1, of: 2 },
            judgement: deferinit_check::Judgement {
                format_version: FormatVersion,
                scenario: "test".to_owned(),
                verdict,
                checks: Vec::new(),
                measurements: [("main.init".to_owned(), init)].into(),
            },
            clock: "exact".to_owned(),
            kernel: "7.3.4".to_owned(),
            machine: "x86_64".to_owned(),
            guest_ns: None,
            wall: Duration::ZERO,
            trace_sha256: Some(trace.to_owned()),
            folder: String::new(),
            console: Vec::new(),
            functions: Vec::new(),
        }
    }

    fn verdict_of(mut other: RunResult, clock: Clock) -> Verdict {
        hold_against_first(&run(Verdict::Pass, 5, "a"), &mut other, clock);
        other.judgement.verdict
    }

    #[test]
    fn a_repetition_that_differs_is_unresolved_and_says_in_what() {
        let verdict = verdict_of(run(Verdict::Pass, 6, "a"), Clock::Exact);
        let message = "not the same as repetition 1: main.init was 5, is 6".to_owned();
        assert_eq!(verdict, Verdict::Unresolved(Reason::Harness { message }));
        let verdict = verdict_of(run(Verdict::Pass, 5, "b"), Clock::Exact);
        assert!(
            verdict.reason().contains("the traces' bytes differ"),
            "{verdict:?}"
        );
    }

    #[test]
    fn equal_repetitions_failures_and_the_wall_clock_are_left_alone() {
        assert_eq!(
            verdict_of(run(Verdict::Pass, 5, "a"), Clock::Exact),
            Verdict::Pass
        );
        assert_eq!(
            verdict_of(run(Verdict::Pass, 6, "b"), Clock::Wall),
            Verdict::Pass
        );
        let failed = Verdict::Fail(Vec::new());
        assert_eq!(
            verdict_of(run(failed.clone(), 6, "b"), Clock::Exact),
            failed
        );
    }
}
