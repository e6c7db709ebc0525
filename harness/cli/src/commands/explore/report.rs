// SPDX-License-Identifier: GPL-2.0-only

//! What an exploration came to, for people and for programs.
//!
//! In: what was run. Out: text, and the values that stand in `explore.json`. Decides nothing but the exit code.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use deferinit_check::{Reason, Verdict};
use deferinit_host::shell_word;
use deferinit_report::{RunResult, Terminal, exit_code, table};
use deferinit_timeline::Timeline;
use serde::Serialize;

use super::change::Change;
use super::observed::{self, item_of_call};
use super::space::Space;
use super::{Explorer, Ran, SCENARIO_FILE, Seed, counted, size};
use crate::args::Format;
use crate::args::explore::Explore;
use crate::commands::trace::print_json;
use crate::exit::{FAILED, Failure, PASSED, UNRESOLVED};
use crate::stdout::print;

/// The most lines of evidence that are shown.
const EVIDENCE_LINES: usize = 6;

/// A change, and the same in words.
#[derive(Serialize)]
struct Worded {
    #[serde(flatten)]
    change: Change,
    words: String,
}

impl Worded {
    /// With the item that a delayed call is for, if the timeline shows it.
    fn new(change: &Change, timeline: Option<&Timeline>) -> Self {
        let item = match change {
            Change::Delay {
                phase,
                function,
                call,
                ..
            } => timeline
                .and_then(|timeline| item_of_call(timeline, phase.as_deref(), function, *call)),
            _ => None,
        };
        let words = match item {
            Some(item) => format!("{}, of item {item}", change.words()),
            None => change.words(),
        };
        Self {
            change: change.clone(),
            words,
        }
    }

    fn all(changes: &[Change], timeline: Option<&Timeline>) -> Vec<Self> {
        let worded = |change| Self::new(change, timeline);
        changes.iter().map(worded).collect()
    }
}

/// A way to fail.
#[derive(Serialize)]
pub(super) struct Finding {
    /// All that fail so; the rest is about the first.
    seeds: Vec<u64>,
    verdict: &'static str,
    reason: String,
    evidence: Vec<String>,
    changes: Vec<Worded>,
    /// The fewest of them that still fail so.
    shrunk: Vec<Worded>,
    /// How many selections of the changes were run for that.
    judgements: u32,
    /// Whether the seed and what it was shrunk to came to the same once more, to the last bit.
    same_again: bool,
    /// What differed if they did not.
    differs: Option<String>,
    trace_sha256: Option<String>,
    shrunk_trace_sha256: Option<String>,
    folder: String,
    shrunk_folder: String,
    /// The commands that run both again.
    again: String,
    shrunk_again: String,
}

impl Finding {
    pub(super) fn new(
        explorer: &Explorer<'_>,
        group: &[&Seed],
        (left, judgements): (&[Change], u32),
        (shrunk, timeline): &(RunResult, Option<Timeline>),
        (folder, shrunk_folder): (&Path, &Path),
        differs: Option<String>,
    ) -> Self {
        let first = group.first();
        let changes = first.map_or(&[][..], |seed| seed.changes.as_slice());
        let seed = first.map_or(0, |seed| seed.seed);
        let verdict = &shrunk.judgement.verdict;
        Self {
            seeds: group.iter().map(|seed| seed.seed).collect(),
            verdict: verdict.word(),
            reason: verdict.reason(),
            evidence: evidence(verdict),
            changes: Worded::all(changes, None),
            shrunk: Worded::all(left, timeline.as_ref()),
            judgements,
            same_again: differs.is_none(),
            differs,
            trace_sha256: first.and_then(|seed| seed.trace_sha256.clone()),
            shrunk_trace_sha256: shrunk.trace_sha256.clone(),
            folder: folder.display().to_string(),
            shrunk_folder: shrunk_folder.display().to_string(),
            again: format!(
                "deferinit explore {}{} --seed {seed}",
                shell_word(&explorer.arguments.scenario),
                choice(explorer.arguments)
            ),
            shrunk_again: format!(
                "deferinit run {}{}",
                shell_word(&shrunk_folder.join(SCENARIO_FILE).display().to_string()),
                kernel(explorer.arguments)
            ),
        }
    }
}

/// The lines that show it.
fn evidence(verdict: &Verdict) -> Vec<String> {
    let lines = match verdict {
        Verdict::Fail(violations) => violations
            .first()
            .map_or(&[][..], |violation| violation.evidence.as_slice()),
        Verdict::Pass | Verdict::Unresolved(_) | Verdict::Unsupported(_) => &[],
    };
    lines.iter().take(EVIDENCE_LINES).cloned().collect()
}

/// Everything.
#[derive(Serialize)]
pub(super) struct Report {
    format_version: u32,
    scenario: String,
    first_seed: u64,
    /// As many as were wanted, and as many as were run.
    seeds: u64,
    done: u64,
    passed: u64,
    varied: Space,
    is_timed: bool,
    distinct_traces: u64,
    /// Of what happened to the items, and on which CPUs; that of the plain run is one of them if a seed met it.
    distinct_orders: u64,
    /// The seeds that met the order of the plain run.
    as_plain: Vec<u64>,
    findings: Vec<Finding>,
    /// Ways to fail that an interruption kept from being looked into.
    not_looked_into: u64,
    #[serde(skip)]
    folder: String,
}

impl Report {
    pub(super) fn new(
        explorer: &Explorer<'_>,
        space: &Space,
        plain: &Ran,
        ran: &[Seed],
        (findings, ways): (Vec<Finding>, usize),
    ) -> Self {
        let traces: BTreeSet<&String> = ran
            .iter()
            .filter_map(|seed| seed.trace_sha256.as_ref())
            .collect();
        let orders: BTreeSet<&String> = ran.iter().map(|seed| &seed.order).collect();
        let plain_order = observed::order(&plain.timeline);
        let as_plain = ran.iter().filter(|seed| seed.order == plain_order);
        let count = |seeds: usize| u64::try_from(seeds).unwrap_or(u64::MAX);
        Self {
            format_version: 1,
            scenario: explorer.selected.name.clone(),
            first_seed: explorer.arguments.first_seed,
            seeds: explorer.arguments.seeds,
            done: count(ran.len()),
            passed: count(ran.iter().filter(|seed| seed.failed.is_none()).count()),
            varied: space.clone(),
            is_timed: explorer.arguments.timed,
            distinct_traces: size(&traces),
            distinct_orders: size(&orders),
            as_plain: as_plain.map(|seed| seed.seed).collect(),
            not_looked_into: count(ways.saturating_sub(findings.len())),
            findings,
            folder: explorer.out.display().to_string(),
        }
    }

    /// 100 if a seed failed; 102 if one came to no verdict, or was not run.
    pub(super) fn exit_code(&self) -> u8 {
        let any = |word| self.findings.iter().any(|finding| finding.verdict == word);
        if any("fail") {
            FAILED
        } else if self.passed < self.seeds {
            UNRESOLVED
        } else {
            PASSED
        }
    }

    pub(super) fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => print_json(self),
            Format::Text => print(self.text().trim_end()),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let last = self.first_seed.wrapping_add(self.seeds.saturating_sub(1));
        let not_passed = self.done - self.passed;
        // Into memory, where nothing fails.
        let _ = writeln!(
            text,
            "{}: {} (from {} to {last}): {} passed, {not_passed} did not",
            self.scenario,
            counted(self.done, "seed"),
            self.first_seed,
            self.passed
        );
        if self.done < self.seeds {
            let _ = writeln!(text, "  interrupted: {} seeds were wanted", self.seeds);
        }
        let _ = writeln!(text, "  varied  {}", self.varied.words());
        let _ = writeln!(
            text,
            "  met     {}, {} of what happens to the items; {}",
            counted(self.distinct_traces, "distinct trace"),
            counted(self.distinct_orders, "distinct order"),
            as_plain(&self.as_plain)
        );
        if !self.is_timed {
            let _ = writeln!(
                text,
                "  expectations on times were not judged (--timed judges them)"
            );
        }
        for finding in &self.findings {
            finding.write(&mut text);
        }
        if self.not_looked_into > 0 {
            let _ = writeln!(
                text,
                "\ninterrupted: {} to fail not looked into; the seeds that failed have their folders",
                counted(self.not_looked_into, "way")
            );
        }
        let _ = writeln!(text, "\nReport: {}/{}", self.folder, super::REPORT_FILE);
        text
    }
}

fn as_plain(seeds: &[u64]) -> String {
    let listed: Vec<String> = seeds.iter().take(8).map(u64::to_string).collect();
    let more = if seeds.len() > listed.len() {
        ", .."
    } else {
        ""
    };
    match seeds.len() {
        0 => "no seed left it as in the plain run".to_owned(),
        1 => format!("1 seed left it as in the plain run ({})", listed.join(", ")),
        count => format!(
            "{count} seeds left it as in the plain run ({}{more})",
            listed.join(", ")
        ),
    }
}

impl Finding {
    fn write(&self, text: &mut String) {
        let seed = self.seeds.first().copied().unwrap_or(0);
        let others = match self.seeds.len() {
            0 | 1 => String::new(),
            2 => ", and one more".to_owned(),
            count => format!(", and {} more", count - 1),
        };
        let _ = writeln!(text, "\n{} {}", self.verdict.to_uppercase(), self.reason);
        for line in &self.evidence {
            let _ = writeln!(text, "    {line}");
        }
        let changes = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        let _ = if self.shrunk.len() < self.changes.len() {
            writeln!(
                text,
                "  seed {seed}{others}; of its {} it takes",
                counted(changes, "change")
            )
        } else {
            writeln!(text, "  seed {seed}{others}; it takes")
        };
        for change in &self.shrunk {
            let _ = writeln!(text, "    {}", change.words);
        }
        let sha256 = self.shrunk_trace_sha256.as_deref().unwrap_or("none");
        let _ = match &self.differs {
            None => writeln!(
                text,
                "  run again: the same to the last bit, trace {sha256}"
            ),
            Some(what) => writeln!(
                text,
                "  run again: NOT the same, which is the harness's fault or QEMU's: {what}; the other run is beside it"
            ),
        };
        let _ = writeln!(text, "  folder  {}", self.shrunk_folder);
        let _ = writeln!(text, "  again   {}", self.shrunk_again);
        let _ = writeln!(text, "  seed    {}", self.again);
    }
}

/// What there is to say of a plain run that does not pass; none if it does, and the seeds have their turn.
pub(super) fn of_plain(explorer: &Explorer<'_>, plain: &Ran) -> Result<Option<u8>, Failure> {
    let result = &plain.result;
    if result.judgement.verdict == Verdict::Pass {
        return Ok(None);
    }
    let results = std::slice::from_ref(result);
    let is_about_times_only = matches!(
        result.judgement.verdict,
        Verdict::Unresolved(Reason::NothingJudged)
    );
    let advice = if is_about_times_only && !explorer.arguments.timed {
        " All of its expectations are on times, which --timed judges."
    } else {
        ""
    };
    let what = "The plain run does not pass; explore looks for schedules under which one that passes does not.";
    match explorer.arguments.format {
        Format::Json => print_json(&Plain {
            scenario: &explorer.selected.name,
            plain_verdict: result.judgement.verdict.word(),
            reason: result.judgement.verdict.reason(),
        })?,
        Format::Text => print(&format!(
            "{}\n{what}{advice}",
            table(results, Terminal::of_stdout()).trim_end()
        ))?,
    }
    Ok(Some(exit_code(results)))
}

#[derive(Serialize)]
struct Plain<'a> {
    scenario: &'a str,
    plain_verdict: &'static str,
    reason: String,
}

/// One seed that was run twice.
#[derive(Serialize)]
struct OneSeed<'a> {
    scenario: &'a str,
    seed: u64,
    changes: Vec<Worded>,
    verdict: &'static str,
    reason: String,
    same_again: bool,
    differs: Option<&'a str>,
    trace_sha256: Option<&'a str>,
    folder: &'a str,
}

/// Says what a seed came to, and whether that is so again.
pub(super) fn of_seed(
    explorer: &Explorer<'_>,
    seed: u64,
    changes: &[Change],
    ran: &Ran,
    differs: Option<String>,
) -> Result<u8, Failure> {
    let result = &ran.result;
    let one = OneSeed {
        scenario: &explorer.selected.name,
        seed,
        changes: Worded::all(changes, Some(&ran.timeline)),
        verdict: result.judgement.verdict.word(),
        reason: result.judgement.verdict.reason(),
        same_again: differs.is_none(),
        differs: differs.as_deref(),
        trace_sha256: result.trace_sha256.as_deref(),
        folder: &result.folder,
    };
    match explorer.arguments.format {
        Format::Json => print_json(&one)?,
        Format::Text => {
            let results = std::slice::from_ref(result);
            let mut text = table(results, Terminal::of_stdout());
            let _ = writeln!(text, "\nseed {seed} stands for");
            for change in &one.changes {
                let _ = writeln!(text, "  {}", change.words);
            }
            let _ = match (one.differs, one.trace_sha256) {
                (None, Some(sha256)) => {
                    write!(text, "run twice: the same to the last bit, trace {sha256}")
                }
                (None, None) => {
                    write!(text, "run twice: the same to the last bit, without a trace")
                }
                (Some(what), _) => write!(
                    text,
                    "run twice: NOT the same, which is the harness's fault or QEMU's: {what}; both runs are in {}",
                    explorer.out.display()
                ),
            };
            print(&text)?;
        }
    }
    let code = exit_code(std::slice::from_ref(result));
    Ok(if differs.is_none() || code == FAILED {
        code
    } else {
        UNRESOLVED
    })
}

/// The options that what a seed stands for depends on.
fn choice(arguments: &Explore) -> String {
    let mut text = String::new();
    let kinds: Vec<&str> = arguments.vary.iter().map(|kind| kind.name()).collect();
    if !kinds.is_empty() {
        text.push_str(&format!(" --vary {}", kinds.join(",")));
    }
    for function in &arguments.delay_at {
        text.push_str(&format!(" --delay-at {}", shell_word(function)));
    }
    if arguments.timed {
        text.push_str(" --timed");
    }
    text + &kernel(arguments)
}

/// The options that the kernel and its modules depend on.
fn kernel(arguments: &Explore) -> String {
    let mut text = String::new();
    let mut path = |option: &str, path: &Path| {
        text.push_str(&format!(
            " {option} {}",
            shell_word(&path.display().to_string())
        ));
    };
    for module in &arguments.insmod {
        path("--insmod", module);
    }
    let choice = &arguments.kernel;
    if let Some(tree) = &choice.kernel_tree {
        path("--kernel-tree", tree);
    }
    if let Some(build) = &choice.kernel_build {
        path("--kernel-build", build);
    }
    if choice.debug_kernel {
        text.push_str(" --debug-kernel");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worded(words: &str) -> Worded {
        Worded {
            change: Change::RrCpu,
            words: words.to_owned(),
        }
    }

    fn finding(verdict: &'static str, seeds: &[u64], same_again: bool) -> Finding {
        Finding {
            seeds: seeds.to_vec(),
            verdict,
            reason: "error: item 2 ended with -ENXIO".to_owned(),
            evidence: vec!["cpu0 item_ended".to_owned()],
            changes: vec![worded("2 CPUs"), worded("1.3 ms delay")],
            shrunk: vec![worded("1.3 ms delay, of item a")],
            judgements: 2,
            same_again,
            differs: (!same_again).then(|| "vm/console.log differs from line 3 on".to_owned()),
            trace_sha256: Some("c0ffee".to_owned()),
            shrunk_trace_sha256: Some("beef".to_owned()),
            folder: "out/seed-3".to_owned(),
            shrunk_folder: "out/seed-3-shrunk".to_owned(),
            again: "deferinit explore a --seed 3".to_owned(),
            shrunk_again: "deferinit run out/seed-3-shrunk/scenario.yaml".to_owned(),
        }
    }

    fn report(done: u64, passed: u64, findings: Vec<Finding>) -> Report {
        Report {
            format_version: 1,
            scenario: "a".to_owned(),
            first_seed: 3,
            seeds: 10,
            done,
            passed,
            varied: Space::default(),
            is_timed: false,
            distinct_traces: 9,
            distinct_orders: 4,
            as_plain: vec![5],
            findings,
            not_looked_into: 0,
            folder: "out".to_owned(),
        }
    }

    #[test]
    fn a_failure_is_told_with_what_it_takes_and_how_to_have_it_again() {
        let text = report(10, 7, vec![finding("fail", &[3, 4, 9], true)]).text();
        let expected = "\
a: 10 seeds (from 3 to 12): 7 passed, 3 did not
  varied  
  met     9 distinct traces, 4 distinct orders of what happens to the items; 1 seed left it as in the plain run (5)
  expectations on times were not judged (--timed judges them)

FAIL error: item 2 ended with -ENXIO
    cpu0 item_ended
  seed 3, and 2 more; of its 2 changes it takes
    1.3 ms delay, of item a
  run again: the same to the last bit, trace beef
  folder  out/seed-3-shrunk
  again   deferinit run out/seed-3-shrunk/scenario.yaml
  seed    deferinit explore a --seed 3

Report: out/explore.json
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_not_the_same_again_and_what_was_not_done_is_said() {
        let text = report(10, 9, vec![finding("fail", &[3], false)]).text();
        assert!(
            text.contains("run again: NOT the same") && text.contains("vm/console.log differs"),
            "{text}"
        );
        let mut interrupted = report(4, 2, Vec::new());
        interrupted.not_looked_into = 1;
        let text = interrupted.text();
        assert!(text.contains("interrupted: 10 seeds were wanted"), "{text}");
        assert!(text.contains("1 way to fail not looked into"), "{text}");
    }

    #[test]
    fn only_if_all_seeds_pass_is_it_a_pass() {
        for (done, passed, findings, code) in [
            (10, 10, Vec::new(), PASSED),
            (9, 9, Vec::new(), UNRESOLVED),
            (10, 9, vec![finding("unresolved", &[3], true)], UNRESOLVED),
            (10, 9, vec![finding("unsupported", &[3], true)], UNRESOLVED),
            (
                10,
                8,
                vec![
                    finding("unresolved", &[3], true),
                    finding("fail", &[4], true),
                ],
                FAILED,
            ),
            // Failures that an interruption kept from being looked into.
            (10, 8, Vec::new(), UNRESOLVED),
        ] {
            assert_eq!(report(done, passed, findings).exit_code(), code);
        }
    }
}
