// SPDX-License-Identifier: GPL-2.0-only

//! What CPUs did meanwhile: of records with known answers, and of a real capture by a second way of counting.

use std::collections::BTreeMap;

use deferinit_analysis::cost::{Cost, Costs, ItemCost, PhaseCost, Window};
use deferinit_analysis::explain::Look;

use crate::made::Made;

const ALL: Window = Window {
    begin: 0,
    end: u64::MAX,
};

fn of(text: &str, window: Window) -> Cost {
    let mut costs = Made::read(text).metered(&[window]);
    assert_eq!(costs.len(), 1);
    costs.remove(0)
}

#[test]
fn tasks_have_the_time_between_their_switches_and_the_idle_task_has_none() {
    let text = "\
        100 0 7 0 sched_switch prev_pid=7 prev_state=1 next_pid=0\n\
        300 0 0 0 sched_waking pid=8 target_cpu=0\n\
        310 0 0 0 sched_wakeup pid=8 target_cpu=0\n\
        350 0 0 0 sched_switch prev_pid=0 prev_state=0 next_pid=8\n\
        400 1 9 0 sched_waking pid=7 target_cpu=0\n\
        600 0 8 0 sched_switch prev_pid=8 prev_state=1 next_pid=7\n\
        700 1 9 0 sched_switch prev_pid=9 prev_state=0 next_pid=0\n";
    // Task 7 runs from before the trace until 100, and from 600 on; task 9 until 700, on the other CPU.
    let window = Window {
        begin: 50,
        end: 1_000,
    };
    let cost = of(text, window);
    let expected = BTreeMap::from([(7, 50 + 400), (8, 250), (9, 650)]);
    assert_eq!(cost.cpu_ns, Some(expected));
    assert_eq!(cost.switches, Some(4));
    // Waking and wake-up are one.
    assert_eq!(cost.wakeups, Some(BTreeMap::from([(7, 1), (8, 1)])));
    assert_eq!(cost.records, 7);
    let part = Window {
        begin: 350,
        end: 600,
    };
    let cost = of(text, part);
    assert_eq!(
        cost.cpu_ns,
        Some(BTreeMap::from([(8, 250), (9, 250)])),
        "its own part of what began before it"
    );
    assert_eq!((cost.switches, cost.records), (Some(1), 2));
}

#[test]
fn what_a_trace_has_no_event_for_is_not_known() {
    let cost = of("100 0 7 0 timer_cancel timer=0x10\n", ALL);
    let nothing = Cost {
        records: 1,
        ..Cost::default()
    };
    assert_eq!(cost, nothing);
}

#[test]
fn windows_may_overlap_and_each_counts_for_itself() {
    let text = "100 0 7 0 sched_switch prev_pid=7 prev_state=0 next_pid=8\n";
    let early = Window { begin: 0, end: 150 };
    let costs = Made::read(text).metered(&[early, ALL, early]);
    assert_eq!(costs[0], costs[2]);
    assert_eq!(costs[0].cpu_ns, Some(BTreeMap::from([(7, 100), (8, 50)])));
    let whole = costs[1].cpu_ns.as_ref().expect("known");
    assert_eq!(whole.values().sum::<u64>(), u64::MAX);
}

#[test]
fn a_real_capture_is_counted_as_by_its_text() {
    let text = include_str!("../data/max-active.txt");
    let mut busy = BTreeMap::<i32, u64>::new();
    let (mut switches, mut first, mut last) = (0, None, 0);
    let mut since = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [time, cpu, _, _, event, ..] = words[..] else {
            continue;
        };
        assert_eq!(cpu, "0", "the capture is of one CPU");
        let at: u64 = time.parse().expect("a time");
        first.get_or_insert(at);
        last = at;
        if event != "sched_switch" {
            continue;
        }
        switches += 1;
        let field = |name: &str| {
            let prefix = format!("{name}=");
            let word = words.iter().find_map(|word| word.strip_prefix(&*prefix));
            word.expect("the field").parse::<i32>().expect("a pid")
        };
        let from = since.replace(at).or(first).expect("a time");
        if field("prev_pid") != 0 {
            *busy.entry(field("prev_pid")).or_default() += at - from;
        }
    }
    let window = Window {
        begin: first.expect("records"),
        end: since.expect("switches"),
    };
    let cost = of(text, window);
    assert_eq!(cost.cpu_ns, Some(busy));
    // The last one is at the end, which is outside.
    assert_eq!(cost.switches, Some(switches - 1));
    assert!(last >= window.end);
    assert!(cost.timers > Some(4) && cost.hrtimers.is_some(), "{cost:?}");
}

#[test]
fn two_phases_stand_side_by_side_with_what_the_second_has_more() {
    let all = |cpu: u64, switches| Cost {
        cpu_ns: Some(BTreeMap::from([(7, cpu), (8, 500_000)])),
        switches: Some(switches),
        wakeups: None,
        timers: Some(3),
        hrtimers: None,
        records: 100,
    };
    let costs = Costs {
        phases: vec![
            PhaseCost {
                phase: "direct".to_owned(),
                init_ns: Some(52_000_000),
                done_ns: Some(51_900_000),
                cpu_init_ns: Some(1_500_000),
                cpu_workers_ns: Some(500_000),
                cpu_others_ns: Some(0),
                worker_wakeups: None,
                all: all(1_500_000, 8),
            },
            PhaseCost {
                phase: "deferred".to_owned(),
                init_ns: Some(900_000),
                done_ns: None,
                cpu_init_ns: Some(2_000_000),
                cpu_workers_ns: Some(500_000),
                cpu_others_ns: Some(0),
                worker_wakeups: None,
                all: all(2_000_000, 20),
            },
        ],
        items: vec![ItemCost {
            name: "deferred/bus".to_owned(),
            mode: Some("delayed".to_owned()),
            elapsed_ns: 12_700_000,
            cpu_ns: Some(160_000),
            blocked_ns: None,
            preempted_ns: Some(0),
        }],
        lacks: Vec::new(),
        is_cut: true,
    };
    insta::assert_snapshot!(costs.tables(Look::default()));
    let coloured = costs.tables(Look {
        has_colour: true,
        width: None,
    });
    assert!(coloured.contains("\u{1b}[1m"), "{coloured}");
    let one = Costs {
        phases: costs.phases[..1].to_vec(),
        ..Costs::default()
    };
    assert!(!one.tables(Look::default()).contains(" - "));
}
