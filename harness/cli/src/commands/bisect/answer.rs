// SPDX-License-Identifier: GPL-2.0-only

//! What a bisection has found, for people and for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use deferinit_report::{Terminal, columns};
use serde::Serialize;

use super::judge::{Bench, Bound, Metric, Step};
use crate::args::Format;
use crate::commands::compare::{self, Compared};
use crate::commands::trace::print_json;
use crate::exit::{Failure, PASSED, UNRESOLVED};
use crate::pipeline::write_json;
use crate::stdout::print_bytes;

/// The answer, in the folder of the results.
const FILE: &str = "bisect.json";

/// What was bisected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Commit,
    Patch,
    CommandLine,
    Config,
}

/// Who did it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Culprit {
    pub(super) name: String,
    /// Of a commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) subject: String,
}

/// How it ended.
pub(super) struct Found {
    pub(super) culprits: Vec<Culprit>,
    /// Of commits, whether it is this one, and not one of several; of options, whether each of them is needed.
    pub(super) is_certain: bool,
    /// The steps.
    pub(super) last_good: Option<usize>,
    pub(super) first_bad: Option<usize>,
}

/// What there is to say.
#[derive(Serialize)]
pub(super) struct Answer {
    kind: Kind,
    scenario: String,
    metric: Option<Metric>,
    bound: Option<Bound>,
    culprits: Vec<Culprit>,
    is_certain: bool,
    boots: usize,
    skipped: usize,
    last_good: Option<PathBuf>,
    first_bad: Option<PathBuf>,
    steps: Vec<Step>,
    compared: Vec<Compared>,
    /// Why the two were not compared.
    not_compared: Option<String>,
    #[serde(skip)]
    rows: Vec<Vec<String>>,
    #[serde(skip)]
    out: PathBuf,
}

impl Answer {
    /// # Errors
    /// It cannot be written into the folder of the results.
    pub(super) fn new(kind: Kind, bench: Bench<'_>, found: Found) -> Result<Self, Failure> {
        let folder = |step: Option<usize>| Some(bench.steps().get(step?)?.folder.clone());
        let (last_good, first_bad) = (folder(found.last_good), folder(found.first_bad));
        let (compared, not_compared) = match (&last_good, &first_bad) {
            (Some(good), Some(bad)) => match compare::compared(good, bad, &[]) {
                Ok(compared) => (compared, None),
                Err(failure) => (Vec::new(), Some(failure.causes())),
            },
            _ => (Vec::new(), None),
        };
        let skipped = bench.steps().iter().filter(|step| step.outcome == "skip");
        let rows = bench.steps().iter().enumerate().map(|(place, step)| {
            let mut row = vec![place.saturating_add(1).to_string(), step.outcome.to_owned()];
            row.extend(bench.figure(step));
            row.extend([step.name.clone(), step.subject.clone()]);
            if let (Some(reason), Some(last)) = (&step.reason, row.last_mut()) {
                let _ = write!(last, "{}({reason})", if last.is_empty() { "" } else { " " });
            }
            row
        });
        let answer = Self {
            kind,
            scenario: bench.scenario().name.clone(),
            metric: bench.metric().cloned(),
            bound: bench.bound(),
            culprits: found.culprits,
            is_certain: found.is_certain,
            boots: bench.boots(),
            skipped: skipped.count(),
            last_good,
            first_bad,
            rows: rows.collect(),
            compared,
            not_compared,
            out: bench.out().to_owned(),
            steps: bench.steps().to_vec(),
        };
        write_json(&answer.out, FILE, &answer)
            .context("cannot keep the answer")
            .map_err(Failure::setup)?;
        Ok(answer)
    }

    /// Prints it; with the exit code that it asks for.
    ///
    /// # Errors
    /// It cannot be printed.
    pub(super) fn show(&self, limit: usize, format: Format) -> Result<u8, Failure> {
        match format {
            Format::Json => print_json(self)?,
            Format::Text => print_bytes(self.text(limit).as_bytes())?,
        }
        Ok(if self.is_certain { PASSED } else { UNRESOLVED })
    }

    fn text(&self, limit: usize) -> String {
        let mut text = String::new();
        // Into memory, where nothing fails.
        let header: &[&str] = match &self.metric {
            Some(metric) => &["", "", &metric.name, self.column(), ""],
            None => &["", "", self.column(), ""],
        };
        text.push_str(&columns(header, self.rows.clone(), Terminal::of_stdout()));
        let _ = writeln!(text, "\n{}:", self.headline());
        for Culprit { name, subject } in &self.culprits {
            let _ = writeln!(text, "  {}", format!("{name} {subject}").trim_end());
        }
        if let (Some(metric), Some(bound)) = (&self.metric, self.bound) {
            let Bound {
                good,
                bad,
                threshold,
            } = bound;
            let side = if bad > good { "above" } else { "below" };
            let [good, bad, threshold] = [good, bad, threshold].map(|value| metric.show(value));
            let _ = writeln!(
                text,
                "  {} was {good} at GOOD and {bad} at BAD; {side} {threshold} is bad",
                metric.name
            );
        }
        let _ = writeln!(text, "\n{} boots, {} skipped", self.boots, self.skipped);
        for (word, folder) in [
            ("last good", &self.last_good),
            ("first bad", &self.first_bad),
        ] {
            if let Some(folder) = folder {
                let _ = writeln!(text, "{word}: {}", folder.display());
            }
        }
        let _ = writeln!(text, "steps:     {}", self.out.join(FILE).display());
        if let Some(why) = &self.not_compared {
            let _ = writeln!(text, "\nthe two cannot be compared: {why}");
        }
        if !self.compared.is_empty() {
            let _ = writeln!(text, "\nFrom the last good to the first bad:");
            text.push_str(&compare::text(&self.compared, Some(limit)));
        }
        text
    }

    fn column(&self) -> &'static str {
        match self.kind {
            Kind::Commit | Kind::Patch => "Commit",
            Kind::CommandLine => "Parameters",
            Kind::Config => "Options",
        }
    }

    fn headline(&self) -> &'static str {
        match (self.kind, self.is_certain) {
            (Kind::Commit, true) => "The first bad commit is",
            (Kind::Patch, true) => "The first bad patch is",
            (Kind::Commit | Kind::Patch, false) => {
                "It is one of these; what was skipped cannot tell which"
            }
            (Kind::CommandLine | Kind::Config, true) if self.culprits.len() == 1 => {
                "This one alone makes it bad"
            }
            (Kind::CommandLine | Kind::Config, true) => {
                "These together make it bad, and none of them can be left out"
            }
            (Kind::CommandLine | Kind::Config, false) => {
                "These together make it bad; what was skipped cannot tell whether fewer do"
            }
        }
    }
}
