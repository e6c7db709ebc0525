// SPDX-License-Identifier: GPL-2.0-only

//! Items that are called several times, or not at all.

use deferinit_timeline::{Attempt, AttemptEnd, Item};

use crate::check_anomalies;
use crate::trace::timeline;

/// A phase with these item events in it; item 0 is armed.
fn phase(events: &str) -> String {
    format!(
        "1000 0 50 mark phase-begin main
         1100 0 50 mark load
         1200 0 50 armed 0 1190 0
         1500 0 50 mark loaded 0
         {events}
         80000000 0 50 mark held
         80001000 0 50 mark unload
         80002000 0 50 mark unloaded 0
         80003000 0 50 mark phase-end main"
    )
}

/// The only item of a phase with these events, none of which contradicts another.
#[track_caller]
fn item(events: &str) -> Item {
    let timeline = timeline(&phase(events));
    check_anomalies(&timeline, &[]);
    let [item] = timeline.phases[0].items.as_slice() else {
        panic!("one item")
    };
    item.clone()
}

/// Each attempt, as `START to END retried ERROR` or `START to END ended ERROR`.
fn attempts(item: &Item) -> Vec<String> {
    let end = |end: AttemptEnd| {
        let word = match end {
            AttemptEnd::Retried(_) => "retried",
            AttemptEnd::Ended(_) => "ended",
        };
        let returned = end.returned();
        format!("{} {word} {}", returned.moment.at.0, returned.status)
    };
    let attempt = |attempt: &Attempt| {
        let end = attempt.end.map_or("no end".to_owned(), end);
        format!("{} to {end}", attempt.started.at.0)
    };
    item.attempts.iter().map(attempt).collect()
}

#[test]
fn item_that_runs_three_times_keeps_every_attempt() {
    let item = item(
        "2000 0 0 queued 0 1990 7
         3000 0 8 started 0 2990
         3500 0 8 retried 0 3490 1 -11
         3600 0 8 queued 0 3590 9
         4000 1 9 started 0 3990
         4500 1 9 retried 0 4490 2 -11
         5000 0 8 started 0 4990
         5500 0 8 ended 0 5490 -5",
    );
    assert_eq!(
        attempts(&item),
        [
            "2990 to 3490 retried -11",
            "3990 to 4490 retried -11",
            "4990 to 5490 ended -5",
        ]
    );
    assert_eq!(item.started.map(|started| started.at.0), Some(2990));
    assert_eq!(item.ended.map(|ended| ended.moment.at.0), Some(5490));
    // The first one counts.
    let queued = item.queued.expect("queued twice");
    assert_eq!((queued.moment.at.0, queued.expires), (1990, 7));
}

#[test]
fn probe_that_is_deferred_for_ever_is_cancelled_between_its_attempts() {
    let item = item(
        "3000 0 8 started 0 2990
         3500 0 8 retried 0 3490 1 -517
         80001500 0 50 cancelled 0 80001490",
    );
    assert_eq!(attempts(&item), ["2990 to 3490 retried -517"]);
    assert_eq!(item.ended, None);
    assert_eq!(item.cancelled.map(|moment| moment.at.0), Some(80_001_490));
}

#[test]
fn item_whose_queue_is_destroyed_ends_without_a_start() {
    let never = item("3000 0 8 ended 0 2990 -108");
    assert_eq!(attempts(&never), Vec::<String>::new());
    assert_eq!(never.ended.map(|ended| ended.status), Some(-108));
    let not_again = item(
        "3000 0 8 started 0 2990
         3500 0 8 retried 0 3490 1 -11
         3600 0 8 ended 0 3590 -108",
    );
    assert_eq!(attempts(&not_again).len(), 1);
    assert_eq!(not_again.ended.map(|ended| ended.status), Some(-108));
}

#[test]
fn item_that_is_still_running_has_an_open_attempt() {
    assert_eq!(
        attempts(&item("3000 0 8 started 0 2990")),
        ["2990 to no end"]
    );
}

#[test]
fn item_that_was_never_armed_can_be_cancelled() {
    let timeline = timeline(&phase("3000 0 8 cancelled 1 2990"));
    check_anomalies(&timeline, &[]);
    assert_eq!(timeline.phases[0].items.len(), 2);
}

#[test]
fn attempts_of_many_items_stand_apart() {
    let (items, runs) = (300, 5);
    let mut events = String::new();
    for run in 1..=runs {
        for id in 0..items {
            let at = 100_000 + 10_000 * run + 10 * id;
            if run == 1 && id > 0 {
                events += &format!("{at} 0 50 armed {id} {at} 0\n");
            }
            events += &format!("{at} 0 8 started {id} {at}\n");
            events += &format!("{at} 0 8 retried {id} {at} {run} -11\n");
        }
    }
    let timeline = timeline(&phase(&events));
    check_anomalies(&timeline, &[]);
    let counts: Vec<usize> = timeline.phases[0]
        .items
        .iter()
        .map(|item| item.attempts.len())
        .collect();
    assert_eq!(counts, vec![5; 300]);
}
