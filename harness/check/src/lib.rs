// SPDX-License-Identifier: GPL-2.0-only

//! Judges a timeline against a scenario's expectations.
//!
//! In: a [`Scenario`](deferinit_scenario::Scenario) and the [`Timeline`](deferinit_timeline::Timeline) of its run.
//! Out: a [`Judgement`]: the verdict, each check with what it expected and found, and all measurements.
//! It does no I/O, reads no clock, knows no VM, and panics on no input.
//! Source: the scenario format; the order of verdicts is [`judge`]'s.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod checks;
mod evidence;
mod items;
mod judge;
mod measure;
mod queries;
mod sample;
mod text;
mod verdict;

pub use judge::{Judged, judge};
pub use measure::{is_count, measure};
pub use queries::queries;
pub use verdict::{CheckResult, Judgement, NotJudged, Reason, Verdict, Violation};
