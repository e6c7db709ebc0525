// SPDX-License-Identifier: GPL-2.0-only

//! What a scenario's expectations want to know of the records.
//!
//! In: a scenario. Out: queries for the timeline, which bound nothing; the checks look their answers up by them.

use deferinit_scenario as scenario;
use deferinit_scenario::{CountOf, Expectation, Scenario, Tracer};
use deferinit_timeline::{KeyedOccasion, Occasion, Query, Question};

/// The queries of all expectations of a scenario, each once.
#[must_use]
pub fn queries(scenario: &Scenario) -> Vec<Query> {
    let mut queries: Vec<Query> = Vec::new();
    for expectation in &scenario.expect {
        if let Some(query) = query(expectation, scenario)
            && !queries.contains(&query)
        {
            queries.push(query);
        }
    }
    queries
}

/// What one expectation wants to know of the records, if a query says it.
pub(crate) fn query(expectation: &Expectation, scenario: &Scenario) -> Option<Query> {
    let (phase, question) = match expectation {
        Expectation::Count(wanted) => {
            let of = match &wanted.of {
                CountOf::Event(event) => of_event(event),
                // Complete calls stand in the timeline; without returns, there are entries only.
                CountOf::Function(name) if scenario.trace.tracer == Tracer::Function => {
                    Occasion::Function(name.clone())
                }
                _ => return None,
            };
            (&wanted.phase, Question::Count(of))
        }
        Expectation::Between(wanted) => {
            let percentiles = wanted.percentiles.iter();
            let question = Question::Pairs {
                from: keyed(&wanted.from),
                to: keyed(&wanted.to),
                percentiles: percentiles.map(|wanted| wanted.p.thousandths()).collect(),
            };
            (&wanted.phase, question)
        }
        Expectation::Before(wanted) => {
            let question = Question::Pairs {
                from: keyed(&wanted.first),
                to: keyed(&wanted.then),
                percentiles: Vec::new(),
            };
            (&wanted.phase, question)
        }
        Expectation::Call(wanted) => {
            let question = Question::Below {
                of: occasion(&wanted.of),
                function: wanted.below.clone(),
            };
            (&wanted.phase, question)
        }
        Expectation::Stack(wanted) => {
            let question = Question::Stacks {
                of: occasion(&wanted.of),
                frames: wanted.frames.clone(),
            };
            (&wanted.phase, question)
        }
        _ => return None,
    };
    Some(Query {
        phase: phase.clone(),
        question,
    })
}

fn occasion(of: &scenario::Occasion) -> Occasion {
    match of {
        scenario::Occasion::Event(event) => of_event(event),
        scenario::Occasion::Function(name) => Occasion::Function(name.clone()),
    }
}

fn of_event(event: &scenario::EventSelection) -> Occasion {
    Occasion::Event {
        event: event.event.clone(),
        filter: event.filter.clone(),
    }
}

fn keyed(side: &scenario::KeyedOccasion) -> KeyedOccasion {
    KeyedOccasion {
        of: occasion(&side.of),
        key: side.key.clone(),
    }
}
