// SPDX-License-Identifier: GPL-2.0-only

//! Checks what the records say of events, functions, calls and stack traces.
//!
//! In: an expectation and a run, whose timeline has the answer to the expectation's query. Out: a check result.
//! Nothing found passes only where 0 is asked for. What the trace cannot answer is not judged.

use deferinit_scenario::{
    BeforeExpectation, BetweenExpectation, Bounds, CallExpectation, CountBounds, CountExpectation,
    Expectation, Percentile, StackExpectation,
};
use deferinit_timeline::{Counted, Found, Pair, Pairs, Sighting};

use super::{Findings, Run};
use crate::evidence::Line;
use crate::queries::query;
use crate::text::{count_bounds, time, time_bounds, times_bounds};
use crate::verdict::{CheckResult, NotJudged};

/// The answer to what an expectation wants to know, or the result without one.
fn found<'a>(
    expectation: &Expectation,
    run: Run<'a>,
    findings: Findings,
) -> Result<(&'a Found, Findings), CheckResult> {
    if let Some(phase) = expectation.phase()
        && run.phase(phase).is_none()
    {
        return Err(findings.no_phase(phase));
    }
    let query = query(expectation, run.scenario);
    let answer = run
        .timeline
        .answers
        .iter()
        .find(|answer| Some(&answer.query) == query.as_ref());
    match answer.map(|answer| &answer.found) {
        None => Err(findings.not_judged(NotJudged::Unanswered, "the trace was not asked")),
        Some(Found::Unanswerable(why)) => {
            Err(findings.not_judged(NotJudged::Unanswered, why.clone()))
        }
        Some(found) => Ok((found, findings)),
    }
}

/// The result where the answer is to another question: the timeline is none of this harness's.
fn other_answer(findings: Findings) -> CheckResult {
    findings.not_judged(NotJudged::Unanswered, "the answer is to another question")
}

/// Checks how often an event or a function is recorded.
pub(super) fn count(wanted: &CountExpectation, run: Run<'_>) -> CheckResult {
    let expected = count_bounds(&wanted.bounds);
    let name = run.name(&wanted.phase, &format!("count of {}", wanted.of));
    let findings = Findings::new(name, expected);
    let expectation = Expectation::Count(wanted.clone());
    match found(&expectation, run, findings) {
        Err(result) => result,
        Ok((Found::Count(counted), findings)) => hold_count(findings, counted, &wanted.bounds, ""),
        Ok((_, findings)) => other_answer(findings),
    }
}

/// Holds a count to its bounds; `otherwise` says what else there was.
fn hold_count(
    mut findings: Findings,
    counted: &Counted,
    bounds: &CountBounds,
    otherwise: &str,
) -> CheckResult {
    let (count, expected) = (counted.count, count_bounds(bounds));
    if count == 0 && bounds.admits(0) && bounds.at_most != Some(0) {
        let why = format!("0 counted, and only `equals: 0` asks for that, not {expected}");
        return findings.matched_nothing(&why, Vec::new());
    }
    let measured = format!("{count}{otherwise}");
    if !bounds.admits(count) {
        let nothing = if count == 0 { "matched nothing: " } else { "" };
        let message = format!("{nothing}{measured}, allowed {expected}");
        findings.note(&message, lines(&counted.first));
    }
    findings.result(measured)
}

fn lines(sightings: &[Sighting]) -> Vec<Line> {
    let line = |sighting: &Sighting| Line::new(sighting.moment, sighting.text.clone());
    sightings.iter().map(line).collect()
}

/// Checks the time from one event to another.
pub(super) fn between(wanted: &BetweenExpectation, run: Run<'_>) -> CheckResult {
    let what = format!("interval {} to {}", wanted.from, wanted.to);
    let expected = times_bounds(&wanted.each, &wanted.percentiles, None);
    let findings = Findings::new(run.name(&wanted.phase, &what), expected);
    let expectation = Expectation::Between(wanted.clone());
    let (pairs, mut findings) = match found(&expectation, run, findings) {
        Err(result) => return result,
        Ok((Found::Pairs(pairs), findings)) => (pairs, findings),
        Ok((_, findings)) => return other_answer(findings),
    };
    let (Some(min), Some(max)) = (pairs.shortest.first(), pairs.longest.first()) else {
        return findings.matched_nothing(&without_pair(pairs), lines(&pairs.unbegun.first));
    };
    for pair in outside(pairs, &wanted.each) {
        let message = format!("{}, allowed {}", words(pair), time_bounds(&wanted.each));
        let lines = pair_lines(wanted, pair);
        findings.note_time(&message, lines, pair.nanoseconds(), wanted.each.max);
    }
    let mut measured = format!(
        "{} values: min {}, max {}",
        pairs.count,
        time(min.nanoseconds()),
        time(max.nanoseconds())
    );
    for entry in &wanted.percentiles {
        let Some(pair) = percentile(pairs, entry.p) else {
            return findings.not_judged(NotJudged::Unanswered, format!("no {}", entry.p));
        };
        measured += &format!(", {} {}", entry.p, time(pair.nanoseconds()));
        if !entry.bounds.admits(pair.nanoseconds()) {
            let allowed = time_bounds(&entry.bounds);
            let message = format!("{}: {}, allowed {allowed}", entry.p, words(pair));
            let lines = pair_lines(wanted, pair);
            findings.note_time(&message, lines, pair.nanoseconds(), entry.bounds.max);
        }
    }
    findings.result(measured)
}

fn percentile(pairs: &Pairs, p: Percentile) -> Option<&Pair> {
    let mut percentiles = pairs.percentiles.iter();
    let (_, pair) = percentiles.find(|(thousandths, _)| *thousandths == p.thousandths())?;
    Some(pair)
}

/// Why there is no pair.
fn without_pair(pairs: &Pairs) -> String {
    let Pairs {
        unended,
        unbegun,
        without_key,
        ..
    } = pairs;
    format!(
        "no pair; {unended} beginnings without an end, {} ends without a beginning, {without_key} records without the key",
        unbegun.count
    )
}

/// The pairs that are too short or too long, as far as they are kept.
fn outside<'a>(pairs: &'a Pairs, each: &Bounds) -> Vec<&'a Pair> {
    let mut outside: Vec<&Pair> = Vec::new();
    for pair in pairs.longest.iter().chain(&pairs.shortest) {
        if !each.admits(pair.nanoseconds()) && !outside.contains(&pair) {
            outside.push(pair);
        }
    }
    outside
}

/// `3 took 59.100 ms`.
fn words(pair: &Pair) -> String {
    let took = format!("took {}", time(pair.nanoseconds()));
    if pair.key.is_empty() {
        took
    } else {
        format!("{} {took}", pair.key)
    }
}

fn pair_lines(wanted: &BetweenExpectation, pair: &Pair) -> Vec<Line> {
    let line = |moment, of: &dyn std::fmt::Display| {
        let key = &pair.key;
        Line::new(moment, format!("{of} {key}").trim_end())
    };
    vec![line(pair.from, &wanted.from), line(pair.to, &wanted.to)]
}

/// Checks that one thing comes before each of another.
pub(super) fn before(wanted: &BeforeExpectation, run: Run<'_>) -> CheckResult {
    let (first, then) = (&wanted.first, &wanted.then);
    let name = run.name(&wanted.phase, &format!("{first} before {then}"));
    let findings = Findings::new(name, format!("before each of {then}"));
    let expectation = Expectation::Before(wanted.clone());
    let (pairs, mut findings) = match found(&expectation, run, findings) {
        Err(result) => return result,
        Ok((Found::Pairs(pairs), findings)) => (pairs, findings),
        Ok((_, findings)) => return other_answer(findings),
    };
    let unbegun = &pairs.unbegun;
    if pairs.count == 0 && unbegun.count == 0 {
        let why = format!("there is no {then} with its key");
        return findings.matched_nothing(&why, Vec::new());
    }
    if unbegun.count > 0 {
        let message = format!("{} of {then} come without a {first} before", unbegun.count);
        findings.note(&message, lines(&unbegun.first));
    }
    let of = pairs.count.saturating_add(unbegun.count);
    findings.result(format!("before {} of {of}", pairs.count))
}

/// Checks how often something happens while a function runs.
pub(super) fn call(wanted: &CallExpectation, run: Run<'_>) -> CheckResult {
    let what = format!("{} below {}", wanted.of, wanted.below);
    let findings = Findings::new(run.name(&wanted.phase, &what), count_bounds(&wanted.bounds));
    let expectation = Expectation::Call(wanted.clone());
    match found(&expectation, run, findings) {
        Err(result) => result,
        Ok((
            Found::Below {
                all,
                below,
                elsewhere,
            },
            findings,
        )) => {
            if *all == 0 && wanted.bounds.at_most != Some(0) {
                let why = format!("{} does not happen at all", wanted.of);
                return findings.matched_nothing(&why, Vec::new());
            }
            let below = with_evidence(below, elsewhere);
            hold_count(findings, &below, &wanted.bounds, &format!(" of {all}"))
        }
        Ok((_, findings)) => other_answer(findings),
    }
}

/// Where nothing is counted, what there was instead.
fn with_evidence(counted: &Counted, others: &[Sighting]) -> Counted {
    let mut counted = counted.clone();
    if counted.count == 0 {
        counted.first = others.to_vec();
    }
    counted
}

/// Checks how often something has a stack trace with certain functions.
pub(super) fn stack(wanted: &StackExpectation, run: Run<'_>) -> CheckResult {
    let frames = wanted.frames.join(", ");
    let what = format!("stack of {} with {frames}", wanted.of);
    let findings = Findings::new(run.name(&wanted.phase, &what), count_bounds(&wanted.bounds));
    let expectation = Expectation::Stack(wanted.clone());
    match found(&expectation, run, findings) {
        Err(result) => result,
        Ok((
            Found::Stacks {
                all,
                with_stack,
                matching,
                others,
            },
            findings,
        )) => {
            if *with_stack == 0 {
                let why = format!("{} is recorded {all} times, never with a stack", wanted.of);
                return findings.matched_nothing(&why, Vec::new());
            }
            let matching = with_evidence(matching, others);
            let otherwise = format!(" of {with_stack} stack traces");
            hold_count(findings, &matching, &wanted.bounds, &otherwise)
        }
        Ok((_, findings)) => other_answer(findings),
    }
}
