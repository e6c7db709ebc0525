// SPDX-License-Identifier: GPL-2.0-only

//! Questions about the records of a phase, and their answers.
//!
//! In: nothing; plain data. Out: a part of `timeline.json`.
//! A question asks and bounds nothing: whether its answer is right is not its matter.

use serde::{Deserialize, Serialize};

use crate::Moment;

/// Records, pairs and stacks of which an answer keeps the places; the others are counted.
pub const KEPT_SIGHTINGS: usize = 10;

/// A question about one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The phase's name.
    pub phase: String,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How often something happens.
    Count(Occasion),
    /// The time from one thing to another. Each `to` is paired with the last `from` before it that has the same key, if
    /// no other `to` came since.
    Pairs {
        /// What begins a pair.
        from: KeyedOccasion,
        /// What ends it.
        to: KeyedOccasion,
        /// The nearest-rank percentiles wanted, in thousandths of a percent.
        percentiles: Vec<u32>,
    },
    /// How often something happens while a function runs, in the same task.
    Below {
        /// What happens.
        of: Occasion,
        /// The function's name.
        function: String,
    },
    /// How often something has a stack trace on which certain functions stand.
    Stacks {
        /// What has a stack trace.
        of: Occasion,
        /// The functions, the innermost first; others may stand between.
        frames: Vec<String>,
    },
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A record of an event.
    Event {
        /// `system:event`.
        event: String,
        /// Which of them, in the kernel's filter syntax; none for all.
        filter: Option<String>,
    },
    /// The entry of the function with this name.
    Function(String),
}

/// One side of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedOccasion {
    /// What happens.
    pub of: Occasion,
    /// The field whose value both sides have in common; none to take each for the other.
    pub key: Option<String>,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question.
    pub query: Query,
    /// What was found.
    pub found: Found,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The trace cannot answer: it has no such event or field, or the expression cannot be read.
    Unanswerable(String),
    /// Of [`Question::Count`].
    Count(Counted),
    /// Of [`Question::Pairs`].
    Pairs(Pairs),
    /// Of [`Question::Below`].
    Below {
        /// How often it happens at all.
        all: u64,
        /// How often it happens while the function runs.
        below: Counted,
        /// Where it happens and the function does not run.
        elsewhere: Vec<Sighting>,
    },
    /// Of [`Question::Stacks`].
    Stacks {
        /// How often it happens at all.
        all: u64,
        /// How often it has a stack trace.
        with_stack: u64,
        /// How often the functions stand on it.
        matching: Counted,
        /// The first stack traces on which they do not.
        others: Vec<Sighting>,
    },
}

/// A number, and the first records of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many there are.
    pub count: u64,
    /// The first [`KEPT_SIGHTINGS`] of them.
    pub first: Vec<Sighting>,
}

/// A record, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// When and where it was made.
    pub moment: Moment,
    /// What it says: the event with its fields, the function, or a stack.
    pub text: String,
}

/// Times from one thing to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// How many pairs there are.
    pub count: u64,
    /// Beginnings that no end came for, those before another beginning with the same key among them.
    pub unended: u64,
    /// Ends without a beginning.
    pub unbegun: Counted,
    /// Records that lack the field that is the key.
    pub without_key: u64,
    /// The shortest, the shortest first.
    pub shortest: Vec<Pair>,
    /// The longest, the longest first.
    pub longest: Vec<Pair>,
    /// The percentiles that were asked for, in thousandths of a percent, each with the pair that it is.
    pub percentiles: Vec<(u32, Pair)>,
}

/// A beginning and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The beginning.
    pub from: Moment,
    /// The end.
    pub to: Moment,
    /// The value of the key; empty without one.
    pub key: String,
}

impl Pair {
    /// Nanoseconds from beginning to end.
    #[must_use]
    pub fn nanoseconds(&self) -> i64 {
        self.to.at.since(self.from.at)
    }
}

impl Counted {
    /// Counts one more; what it says is only made if it is kept.
    pub(crate) fn add(&mut self, moment: Moment, text: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        keep(&mut self.first, moment, text);
    }
}

/// Keeps one of the first.
pub(crate) fn keep(first: &mut Vec<Sighting>, moment: Moment, text: impl FnOnce() -> String) {
    if first.len() < KEPT_SIGHTINGS {
        let text = text();
        first.push(Sighting { moment, text });
    }
}
