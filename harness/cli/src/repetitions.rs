// SPDX-License-Identifier: GPL-2.0-only

//! On the exact clock, every repetition of a scenario must be the same to the last bit.

use deferinit_check::{Reason, Verdict};
use deferinit_report::RunResult;
use deferinit_scenario::Clock;

/// Takes the verdict from a repetition that is not the same as the first one.
///
/// A run that differs can be trusted no more than the first: one of the two is wrong, and the
/// harness or QEMU is to blame, not the kernel.
pub(crate) fn hold_against_first(first: &RunResult, result: &mut RunResult, clock: Clock) {
    if clock != Clock::Exact || matches!(result.judgement.verdict, Verdict::Unresolved(_)) {
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
