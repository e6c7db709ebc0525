// SPDX-License-Identifier: GPL-2.0-only

//! Queries and their answers.

use deferinit_timeline::{Found, KeyedOccasion, Occasion, Query, Question};

use crate::trace::{Setting, timeline_of};

/// Two soft interrupts, of which the second runs twice, the second time without having been raised; calls around them,
/// and stack traces of both, one of them with another record's in between.
const SCRIPT: &str = "
    1000 0 50 mark phase-begin main
    1300 0 50 mark command-begin main
    1400 0 60 print Hallo
    2000 0 60 in deferred_init 0
    2100 0 60 raise 1
    2110 0 60 stack deferred_item_body deferred_init
    2200 0 60 in deferred_item_body 1
    2300 0 60 raise 3
    2310 0 60 softirq 1
    2320 0 60 stack deferred_init
    2330 0 60 stack deferred_init deferred_item_body
    2400 0 60 out deferred_item_body 1 2200 2400
    2500 0 60 out deferred_init 0 2000 2500
    2600 0 61 softirq 3
    2800 0 61 softirq 3
    2900 0 61 function deferred_init
    3000 0 50 mark command-end main exited 0
    3050 0 50 mark phase-end main
    3100 0 50 raise 1
";

fn ask(question: Question) -> Found {
    let query = Query {
        phase: "main".to_owned(),
        question,
    };
    let queries = [query.clone()];
    let setting = Setting {
        queries: &queries,
        ..Setting::default()
    };
    let mut answers = timeline_of(SCRIPT, setting).answers;
    assert_eq!(answers.len(), 1);
    let answer = answers.remove(0);
    assert_eq!(answer.query, query);
    answer.found
}

fn event(event: &str, filter: Option<&str>) -> Occasion {
    Occasion::Event {
        event: event.to_owned(),
        filter: filter.map(str::to_owned),
    }
}

fn function(name: &str) -> Occasion {
    Occasion::Function(name.to_owned())
}

#[track_caller]
fn check_count(of: Occasion, expected: u64) {
    let found = ask(Question::Count(of.clone()));
    let Found::Count(counted) = found else {
        panic!("{found:?}");
    };
    assert_eq!(counted.count, expected, "{of:?}");
    assert_eq!(counted.first.len() as u64, expected, "{of:?}");
}

#[test]
fn records_of_the_phase_are_counted_and_no_others() {
    check_count(event("irq:softirq_raise", None), 2);
    check_count(event("irq:softirq_entry", Some("vec == 3")), 2);
    check_count(event("irq:softirq_entry", Some("vec > 7")), 0);
    // The agent's markers are not what a command has written.
    check_count(event("ftrace:print", None), 1);
    check_count(function("deferred_init"), 2);
    check_count(function("deferred_item_body"), 1);
}

#[test]
fn what_a_record_says_is_kept() {
    let Found::Count(counted) = ask(Question::Count(event("irq:softirq_raise", None))) else {
        panic!("a count");
    };
    let texts: Vec<&str> = counted.first.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["softirq_raise: vec=1", "softirq_raise: vec=3"]);
    assert_eq!(counted.first[1].moment.at.0, 2300);
}

#[test]
fn pairs_have_the_same_key_and_their_exact_percentiles() {
    let side = |name: &str| KeyedOccasion {
        of: event(name, None),
        key: Some("vec".to_owned()),
    };
    let found = ask(Question::Pairs {
        from: side("irq:softirq_raise"),
        to: side("irq:softirq_entry"),
        percentiles: vec![50_000, 100_000],
    });
    let Found::Pairs(pairs) = found else {
        panic!("{found:?}");
    };
    assert_eq!((pairs.count, pairs.unended, pairs.without_key), (2, 0, 0));
    let longest: Vec<(&str, i64)> = pairs
        .longest
        .iter()
        .map(|pair| (pair.key.as_str(), pair.nanoseconds()))
        .collect();
    assert_eq!(longest, [("3", 300), ("1", 210)]);
    assert_eq!(pairs.shortest[0].nanoseconds(), 210);
    assert_eq!(pairs.unbegun.count, 1);
    assert_eq!(pairs.unbegun.first[0].moment.at.0, 2800);
    let percentiles: Vec<(u32, i64)> = pairs
        .percentiles
        .iter()
        .map(|(p, pair)| (*p, pair.nanoseconds()))
        .collect();
    assert_eq!(percentiles, [(50_000, 210), (100_000, 300)]);
}

#[test]
fn pairs_without_a_key_take_any_and_a_second_beginning_replaces_the_first() {
    let side = |of: Occasion| KeyedOccasion { of, key: None };
    let found = ask(Question::Pairs {
        from: side(event("irq:softirq_raise", None)),
        to: side(function("deferred_init")),
        percentiles: Vec::new(),
    });
    let Found::Pairs(pairs) = found else {
        panic!("{found:?}");
    };
    // The function is entered before the first raise as well.
    assert_eq!((pairs.count, pairs.unended, pairs.unbegun.count), (1, 1, 1));
    assert_eq!(pairs.longest[0].nanoseconds(), 600);
}

#[test]
fn what_happens_below_a_function_is_told_from_what_happens_elsewhere() {
    let below = |of: Occasion, name: &str| {
        let found = ask(Question::Below {
            of,
            function: name.to_owned(),
        });
        let Found::Below {
            all,
            below,
            elsewhere,
        } = found
        else {
            panic!("{found:?}");
        };
        (all, below.count, elsewhere.len())
    };
    let raise = || event("irq:softirq_raise", None);
    assert_eq!(below(raise(), "deferred_init"), (2, 2, 0));
    assert_eq!(below(raise(), "deferred_item_body"), (2, 1, 1));
    assert_eq!(
        below(event("irq:softirq_entry", None), "deferred_init"),
        (3, 1, 2)
    );
    assert_eq!(
        below(function("deferred_item_body"), "deferred_init"),
        (1, 1, 0)
    );
    // No function runs below itself by being called.
    assert_eq!(below(function("deferred_init"), "deferred_init"), (2, 0, 2));
}

#[test]
fn stack_belongs_to_the_last_record_of_its_task_that_has_none() {
    let stacks = |of: Occasion, frames: &[&str]| {
        let found = ask(Question::Stacks {
            of,
            frames: frames.iter().map(|name| (*name).to_owned()).collect(),
        });
        let Found::Stacks {
            all,
            with_stack,
            matching,
            others,
        } = found
        else {
            panic!("{found:?}");
        };
        (all, with_stack, matching.count, others.len())
    };
    let raise = || event("irq:softirq_raise", None);
    let (outer, inner) = ("deferred_init", "deferred_item_body");
    assert_eq!(stacks(raise(), &[inner, outer]), (2, 2, 1, 1));
    assert_eq!(stacks(raise(), &[outer, inner]), (2, 2, 1, 1));
    assert_eq!(stacks(raise(), &[outer]), (2, 2, 2, 0));
    assert_eq!(
        stacks(event("irq:softirq_entry", None), &[outer]),
        (3, 1, 1, 0)
    );
}

#[test]
fn what_no_event_of_the_trace_has_cannot_be_answered() {
    for (of, expected) in [
        (event("irq:softirq_exit", None), "softirq_exit"),
        (event("irq:softirq_raise", Some("vector == 1")), "vector"),
        (event("irq:softirq_raise", Some("vec ==")), "expected"),
    ] {
        let found = ask(Question::Count(of));
        let Found::Unanswerable(why) = &found else {
            panic!("{found:?}");
        };
        assert!(why.contains(expected), "{why}");
    }
}
