// SPDX-License-Identifier: GPL-2.0-only

//! Boots what is bisected, and says of each boot whether it is good or bad.
//!
//! In: candidates. Out: a step for each: good, bad, or skipped with its reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, anyhow};
use deferinit_check::{Reason, Verdict};
use deferinit_kernel::build::{Choice, Kbuild};
use deferinit_kernel::cache::Session;
use deferinit_kernel::git::Mark;
use deferinit_report::{Repetition, RunResult};
use deferinit_scenario::{Load, Nanos, Scenario};
use deferinit_trace::text::scaled;
use serde::Serialize;

use crate::args::bisect::Bisect;
use crate::commands::compare;
use crate::exit::{Failure, complain};
use crate::guest_files::AddedFile;
use crate::measured_run::MeasuredRun;
use crate::prepare::{self, Contents, ReadyMachine};
use crate::project::Project;
use crate::repetitions::Sameness;
use crate::{insmod, pipeline};

/// The whole reason of a step that was skipped, in its folder.
const SKIPPED: &str = "skipped.txt";
/// How many names are offered where one is wrong or missing.
const OFFERED: usize = 5;

/// What is booted.
pub(super) struct Candidate {
    /// Digits of a commit, or the options.
    pub(super) name: String,
    /// What it is about.
    pub(super) subject: String,
    pub(super) kernel: Choice,
    /// Of modules that are built for it.
    pub(super) module_tree: Option<PathBuf>,
    /// Further kernel parameters.
    pub(super) command_line: Vec<String>,
}

/// What all boots share.
pub(super) struct Setting<'a> {
    pub(super) project: &'a Project,
    pub(super) session: &'a Session,
    pub(super) kbuild: &'a Kbuild,
    pub(super) scenario: &'a Scenario,
    pub(super) machine: &'a ReadyMachine,
    pub(super) added: Vec<AddedFile>,
    pub(super) insmod: &'a [PathBuf],
}

/// What a bisection has come to.
pub(super) struct Bench<'a> {
    setting: Setting<'a>,
    out: PathBuf,
    metric: Option<Metric>,
    /// Once both ends are known.
    bound: Option<Bound>,
    steps: Vec<Step>,
    expected: Option<u64>,
}

/// The number that judges.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Metric {
    pub(super) name: String,
    /// Rather than nanoseconds.
    pub(super) is_count: bool,
    threshold: Option<i64>,
}

/// From where on a number is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Bound {
    pub(super) good: i64,
    pub(super) bad: i64,
    pub(super) threshold: i64,
}

/// A boot, or what was to be one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) subject: String,
    /// `good`, `bad` or `skip`.
    pub(super) outcome: &'static str,
    /// Of the metric.
    pub(super) value: Option<i64>,
    /// Why it failed or was skipped.
    pub(super) reason: Option<String>,
    pub(super) folder: PathBuf,
    /// Of build and boot.
    pub(super) seconds: f64,
}

/// What a boot has shown.
enum Observed {
    Ran {
        verdict: Verdict,
        value: Option<i64>,
    },
    Untestable(String),
}

impl<'a> Bench<'a> {
    /// # Errors
    /// The threshold is no value of the metric.
    pub(super) fn new(
        setting: Setting<'a>,
        out: PathBuf,
        arguments: &Bisect,
    ) -> Result<Self, Failure> {
        let metric = match &arguments.metric {
            Some(name) => Some(Metric::new(name, arguments.threshold.as_deref())?),
            None => None,
        };
        Ok(Self {
            setting,
            out,
            metric,
            bound: None,
            steps: Vec::new(),
            expected: None,
        })
    }

    pub(super) fn project(&self) -> &'a Project {
        self.setting.project
    }

    pub(super) fn session(&self) -> &'a Session {
        self.setting.session
    }

    pub(super) fn kbuild(&self) -> &'a Kbuild {
        self.setting.kbuild
    }

    pub(super) fn scenario(&self) -> &'a Scenario {
        self.setting.scenario
    }

    pub(super) fn load(&self) -> Load {
        self.setting.scenario.load
    }

    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn metric(&self) -> Option<&Metric> {
        self.metric.as_ref()
    }

    pub(super) fn bound(&self) -> Option<Bound> {
        self.bound
    }

    /// How often a guest was booted.
    pub(super) fn boots(&self) -> usize {
        let is_booted = |step: &&Step| step.folder.join("verdict.json").is_file();
        self.steps.iter().filter(is_booted).count()
    }

    /// About how many boots there will be.
    pub(super) fn expect(&mut self, boots: u64) {
        self.expected = Some(boots);
    }

    /// The last step that came to this.
    pub(super) fn last(&self, mark: Mark) -> Option<usize> {
        let word = word(mark);
        self.steps.iter().rposition(|step| step.outcome == word)
    }

    /// Boots the good end.
    ///
    /// # Errors
    /// It is not good, or cannot be tested.
    pub(super) fn good(&mut self, candidate: Candidate) -> Result<(), Failure> {
        let what = format!("GOOD, {} ({}),", candidate.name, candidate.subject);
        let value = self.end(candidate, Mark::Good, &what)?;
        let step = self.steps.last();
        if let Some(reason) = step.and_then(|step| step.reason.as_ref())
            && self.metric.is_none()
        {
            let folder = step.map(|step| step.folder.display().to_string());
            return Err(Failure::usage(anyhow!(
                "{what} is bad: the scenario fails there: {reason}; the run is in {}",
                folder.unwrap_or_default()
            )));
        }
        if let Some(good) = value {
            // Until the bad end is known.
            self.bound = Some(Bound {
                good,
                bad: good,
                threshold: good,
            });
        }
        Ok(())
    }

    /// Boots the bad end.
    ///
    /// # Errors
    /// It is not bad, or cannot be tested.
    pub(super) fn bad(&mut self, candidate: Candidate) -> Result<(), Failure> {
        let what = format!("BAD, {} ({}),", candidate.name, candidate.subject);
        let value = self.end(candidate, Mark::Bad, &what)?;
        match (&self.metric, value, self.bound) {
            (Some(metric), Some(bad), Some(Bound { good, .. })) => {
                self.bound = Some(Bound::between(metric, good, bad)?);
                Ok(())
            }
            _ if self.steps.last().is_some_and(|step| step.reason.is_some()) => Ok(()),
            _ => {
                let offer = self.offer();
                Err(Failure::usage(anyhow!(
                    "{what} is good: the scenario passes there as well{offer}"
                )))
            }
        }
    }

    /// Boots what is between them.
    ///
    /// # Errors
    /// What is not the candidate's fault.
    pub(super) fn judge(&mut self, candidate: Candidate) -> Result<Mark, Failure> {
        let begin = Instant::now();
        let folder = self.folder()?;
        let observed = match self.observe(&candidate, &folder) {
            Err(failure) if failure.is_of_source() => skipped(&failure, &folder)?,
            observed => observed?,
        };
        let (mark, value, reason) = match observed {
            Observed::Untestable(why) => (Mark::Skip, None, Some(why)),
            Observed::Ran { verdict, value } => match (&self.metric, self.bound, value) {
                (None, ..) => match verdict {
                    Verdict::Fail(_) => (Mark::Bad, None, Some(verdict.reason())),
                    Verdict::Pass | Verdict::Unresolved(_) | Verdict::Unsupported(_) => {
                        (Mark::Good, None, None)
                    }
                },
                (Some(_), Some(bound), Some(value)) => (bound.mark(value), Some(value), None),
                (Some(metric), _, _) => {
                    let why = format!("it has no {:?}", metric.name);
                    (Mark::Skip, None, Some(why))
                }
            },
        };
        self.keep(candidate, mark, value, reason, folder, begin);
        Ok(mark)
    }

    /// One of both ends; with the value of the metric.
    fn end(
        &mut self,
        candidate: Candidate,
        mark: Mark,
        what: &str,
    ) -> Result<Option<i64>, Failure> {
        let begin = Instant::now();
        let folder = self.folder()?;
        let observed = self
            .observe(&candidate, &folder)
            .map_err(|failure| failure.context(format!("{what} cannot be tested")))?;
        let (verdict, value) = match observed {
            Observed::Ran { verdict, value } => (verdict, value),
            Observed::Untestable(why) => {
                return Err(Failure::unresolved(anyhow!(
                    "{what} cannot be tested: {why}; more is in {}",
                    folder.display()
                )));
            }
        };
        if let (Some(metric), None) = (&self.metric, value) {
            let names = nearest(&metric.name, names(&folder)?);
            return Err(Failure::usage(anyhow!(
                "{what} has no {:?}; the nearest of its numbers: {names}",
                metric.name
            )));
        }
        let reason = match verdict {
            Verdict::Fail(_) => Some(verdict.reason()),
            Verdict::Pass | Verdict::Unresolved(_) | Verdict::Unsupported(_) => None,
        };
        self.keep(candidate, mark, value, reason, folder, begin);
        Ok(value)
    }

    /// The numbers in which both ends differ most.
    fn offer(&self) -> String {
        let [good, bad] = [Mark::Good, Mark::Bad].map(|mark| {
            let step = self.last(mark).and_then(|step| self.steps.get(step));
            step.map(|step| step.folder.clone()).unwrap_or_default()
        });
        let compared = compare::compared(&good, &bad, &[]).unwrap_or_default();
        let changes: Vec<String> = compared
            .iter()
            .flat_map(|compared| &compared.changes)
            .take(OFFERED)
            .map(|change| format!("{:?}", format!("{}: {}", change.what, change.part)))
            .collect();
        if changes.is_empty() {
            return ", and no number differs".to_owned();
        }
        format!(
            "; --metric makes a number the judge, and these differ most: {}",
            changes.join(", ")
        )
    }

    /// A new folder for the next step.
    fn folder(&self) -> Result<PathBuf, Failure> {
        let number = self.steps.len().saturating_add(1);
        let folder = self.out.join(format!("{number:02}"));
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))
            .map_err(Failure::setup)?;
        Ok(folder)
    }

    /// Builds and boots.
    fn observe(&self, candidate: &Candidate, folder: &Path) -> Result<Observed, Failure> {
        let observed = self
            .boot(candidate, folder)
            .and_then(|result| self.seen(&result, folder));
        // Whatever it was in the middle of.
        if self.session().cancelled.load(Ordering::Relaxed) {
            return Err(self.interrupted());
        }
        observed
    }

    fn interrupted(&self) -> Failure {
        let out = self.out.display();
        Failure::unresolved(anyhow!("interrupted; what was booted is in {out}"))
    }

    fn boot(&self, candidate: &Candidate, folder: &Path) -> Result<RunResult, Failure> {
        let Setting {
            project,
            session,
            kbuild,
            machine,
            added,
            insmod,
            ..
        } = &self.setting;
        let mut scenario = self.scenario().clone();
        let words = &mut scenario.machine.command_line;
        words.extend_from_slice(&candidate.command_line);
        let insmod = insmod::read(insmod, &prepare::MODULES)?;
        let mut contents = Contents::of_scenarios(scenario.load, insmod);
        contents.module_tree.clone_from(&candidate.module_tree);
        let contents = contents.with_shell_for(session, kbuild, slice::from_ref(&scenario))?;
        let kernel = &candidate.kernel;
        let prepared = prepare::prepare_choice(project, session, kbuild, kernel, contents, folder)?;
        let job = pipeline::Job {
            prepared: &prepared,
            machine,
            scenario: &scenario,
            added,
            repetition: Repetition::ONLY,
            first: None,
            sameness: Sameness::Expected,
            is_timed: false,
            patience: 1,
            interrupted: &session.cancelled,
            debugger: None,
        };
        pipeline::run(&job, folder).map_err(Failure::setup)
    }

    fn seen(&self, result: &RunResult, folder: &Path) -> Result<Observed, Failure> {
        let verdict = result.judgement.verdict.clone();
        Ok(match &verdict {
            Verdict::Unresolved(Reason::Interrupted) => {
                return Err(self.interrupted());
            }
            Verdict::Unresolved(_) | Verdict::Unsupported(_) => {
                let (word, reason) = (verdict.word(), verdict.reason());
                Observed::Untestable(format!("{word}: {reason}"))
            }
            Verdict::Pass | Verdict::Fail(_) => {
                let value = match &self.metric {
                    Some(metric) => value(&metric.name, result, folder)?,
                    None => None,
                };
                Observed::Ran { verdict, value }
            }
        })
    }

    fn keep(
        &mut self,
        candidate: Candidate,
        mark: Mark,
        value: Option<i64>,
        reason: Option<String>,
        folder: PathBuf,
        begin: Instant,
    ) {
        let seconds = begin.elapsed().as_secs_f64();
        let step = Step {
            name: candidate.name,
            subject: candidate.subject,
            outcome: word(mark),
            value,
            reason,
            folder,
            seconds,
        };
        let number = self.steps.len().saturating_add(1);
        let of = self
            .expected
            .map_or_else(String::new, |expected| format!(" of about {expected}"));
        let figure = self
            .figure(&step)
            .map_or_else(String::new, |f| format!(" {f}"));
        let why = match (&step.reason, step.outcome) {
            (Some(why), "skip") => format!(": {why}"),
            _ => String::new(),
        };
        complain(&format!(
            "{:<4} [{seconds:>6.1} s] ({number}{of}){figure} {} {}{why}",
            step.outcome, step.name, step.subject
        ));
        self.steps.push(step);
    }

    /// The value of a step, to be shown.
    pub(super) fn figure(&self, step: &Step) -> Option<String> {
        let metric = self.metric.as_ref()?;
        Some(
            step.value
                .map_or_else(|| "-".to_owned(), |value| metric.show(value)),
        )
    }
}

impl Metric {
    fn new(name: &str, threshold: Option<&str>) -> Result<Self, Failure> {
        let is_count = match name.rsplit_once(": ") {
            Some((_, part)) => deferinit_analysis::compare::is_count(part),
            None => deferinit_check::is_count(name),
        };
        let threshold = match threshold {
            None => None,
            Some(text) if is_count => Some(text.parse::<i64>().map_err(|_| {
                Failure::usage(anyhow!(
                    "--threshold {text:?} is no whole number, which {name:?} is"
                ))
            })?),
            Some(text) => {
                let parsed: Option<Nanos> = text.parse().ok();
                let value = parsed.and_then(|Nanos(value)| i64::try_from(value).ok());
                Some(value.ok_or_else(|| {
                    let allowed = Nanos::ALLOWED;
                    Failure::usage(anyhow!("--threshold {text:?} is no time: {allowed}"))
                })?)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            is_count,
            threshold,
        })
    }

    /// A value, with its unit.
    pub(super) fn show(&self, value: i64) -> String {
        if self.is_count {
            return value.to_string();
        }
        let sign = if value < 0 { "-" } else { "" };
        format!("{sign}{}", scaled(value.unsigned_abs()))
    }
}

impl Bound {
    /// # Errors
    /// It is not between the two.
    fn between(metric: &Metric, good: i64, bad: i64) -> Result<Self, Failure> {
        let name = &metric.name;
        let (shown_good, shown_bad) = (metric.show(good), metric.show(bad));
        if good == bad {
            return Err(Failure::usage(anyhow!(
                "{name:?} is {shown_good} at GOOD and at BAD: there is nothing to find"
            )));
        }
        let middle = good.saturating_add(bad.saturating_sub(good) / 2);
        let bound = Self {
            good,
            bad,
            threshold: metric.threshold.unwrap_or(middle),
        };
        if (bound.mark(good), bound.mark(bad)) == (Mark::Good, Mark::Bad) {
            return Ok(bound);
        }
        Err(Failure::usage(anyhow!(
            "{name:?} is {shown_good} at GOOD and {shown_bad} at BAD: --threshold {} is not between them",
            metric.show(bound.threshold)
        )))
    }

    /// What is beyond the threshold, on the side of the bad end, is bad.
    fn mark(self, value: i64) -> Mark {
        let is_bad = if self.bad > self.good {
            value > self.threshold
        } else {
            value < self.threshold
        };
        if is_bad { Mark::Bad } else { Mark::Good }
    }
}

/// The word for it.
pub(super) fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "good",
        Mark::Bad => "bad",
        Mark::Skip => "skip",
    }
}

/// A number of a run: a measurement, as results.json names it, or one that `compare` prints.
fn value(name: &str, result: &RunResult, folder: &Path) -> Result<Option<i64>, Failure> {
    if let Some(value) = result.judgement.measurements.get(name) {
        return Ok(Some(*value));
    }
    let Some((what, part)) = name.rsplit_once(": ") else {
        return Ok(None);
    };
    let runs = compare::read(folder)?;
    let found = runs.values().find_map(|run: &MeasuredRun| {
        let number = run.profile.measures.get(what)?.get(part)?;
        i64::try_from(*number).ok()
    });
    Ok(found)
}

/// All numbers of a run.
fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let path = folder.join("verdict.json");
    let judgement: deferinit_check::Judgement = fs::read(&path)
        .map_err(anyhow::Error::new)
        .and_then(|json| Ok(serde_json::from_slice(&json)?))
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::setup)?;
    let mut names: Vec<String> = judgement.measurements.into_keys().collect();
    for run in compare::read(folder)?.into_values() {
        for (what, parts) in run.profile.measures {
            names.extend(parts.keys().map(|part| format!("{what}: {part}")));
        }
    }
    Ok(names)
}

fn nearest(name: &str, mut names: Vec<String>) -> String {
    let distance = |other: &String| -strsim::jaro_winkler(name, other);
    names.sort_by(|one, other| distance(one).total_cmp(&distance(other)));
    let quoted = names.iter().take(OFFERED).map(|name| format!("{name:?}"));
    quoted.collect::<Vec<_>>().join(", ")
}

/// What could not be built; the whole of why goes into the folder.
fn skipped(failure: &Failure, folder: &Path) -> Result<Observed, Failure> {
    let causes = failure.causes();
    let path = folder.join(SKIPPED);
    fs::write(&path, &causes)
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::setup)?;
    Ok(Observed::Untestable(short(&causes)))
}

/// The first line of a failure, with the first one of what a compiler said.
fn short(causes: &str) -> String {
    let mut lines = causes.lines();
    let first = lines.next().unwrap_or_default();
    let first = first.split("; the log is").next().unwrap_or(first);
    match lines.next() {
        Some(second) => format!("{first}: {}", second.trim()),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, threshold: Option<&str>) -> Metric {
        Metric::new(name, threshold).expect("a metric")
    }

    #[test]
    fn what_is_beyond_the_middle_on_the_side_of_bad_is_bad() {
        let time = metric("item c: run", None);
        for (good, bad, value, wanted) in [
            (100, 300, 200, Mark::Good),
            (100, 300, 201, Mark::Bad),
            (300, 100, 200, Mark::Good),
            (300, 100, 199, Mark::Bad),
            (1, 2, 1, Mark::Good),
            (2, 1, 2, Mark::Good),
            (-5, 5, 1, Mark::Bad),
            (i64::MIN, i64::MAX, 0, Mark::Bad),
        ] {
            let bound = Bound::between(&time, good, bad).expect("a bound");
            assert_eq!(bound.mark(value), wanted, "{bound:?} {value}");
            assert_eq!((bound.mark(good), bound.mark(bad)), (Mark::Good, Mark::Bad));
        }
        let same = Bound::between(&time, 7_000, 7_000).expect_err("the same");
        assert!(
            same.to_string().contains("7.000 us at GOOD and at BAD"),
            "{same}"
        );
    }

    #[test]
    fn a_threshold_is_between_the_ends_and_in_the_metrics_unit() {
        let time = metric("main.init", Some("150us"));
        let bound = Bound::between(&time, 100_000, 300_000).expect("a bound");
        assert_eq!(bound.threshold, 150_000);
        let outside = Bound::between(&time, 200_000, 300_000).expect_err("outside");
        for part in [
            "200.000 us at GOOD",
            "300.000 us at BAD",
            "--threshold 150.000 us",
        ] {
            assert!(outside.to_string().contains(part), "{outside}");
        }
        let count = metric("function deferred_init: calls", Some("3"));
        assert_eq!((count.is_count, count.show(4)), (true, "4".to_owned()));
        assert!(metric("main.items.ended", None).is_count);
        for (name, text, part) in [
            ("main.init", "150", "no time"),
            ("main.items.ended", "3ms", "no whole number"),
        ] {
            let failure = Metric::new(name, Some(text)).expect_err(text);
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }

    #[test]
    fn the_reason_of_a_skip_has_what_the_compiler_said_first() {
        let causes =
            "the module build failed (exit status: 2); the log is /l\n  a.c:1: error: no\nmore";
        let wanted = "the module build failed (exit status: 2): a.c:1: error: no";
        assert_eq!(short(causes), wanted);
        assert_eq!(short("one line"), "one line");
    }
}
