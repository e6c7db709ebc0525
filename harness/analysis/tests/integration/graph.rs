// SPDX-License-Identifier: GPL-2.0-only

//! Graphs, longest chains, slack and models, of real captures and of records with known answers.

use deferinit_analysis::explain::Look;
use deferinit_analysis::extract::{NoModel, Plan, PlannedItem};
use deferinit_analysis::graph::{EdgeKind, JobGraph, Scope};
use deferinit_analysis::model::{Mode, Prediction};

use crate::made::Made;

fn graph(made: &Made) -> JobGraph {
    made.analysed(|analysis| analysis.graph(Scope::Items))
}

fn slack(graph: &JobGraph, name: &str) -> Option<u64> {
    let node = graph.nodes.iter().find(|node| node.name == name);
    node.unwrap_or_else(|| panic!("{name} is in the graph"))
        .slack_ns
}

fn edges(graph: &JobGraph) -> Vec<(&str, &str, EdgeKind)> {
    let name = |job: u32| {
        let node = graph.nodes.iter().find(|node| node.job == job);
        node.map_or("?", |node| node.name.as_str())
    };
    let edges = graph.edges.iter();
    edges
        .map(|edge| (name(edge.from), name(edge.to), edge.kind))
        .collect()
}

/// `init` arms `long` (sleeps 50 us) and `short` (sleeps 10 us) and then, itself, `last` after both have ended, which
/// wakes it. `short` could have been 40 us later.
const JOIN: &str = "\
1000 0 7 0 initcall_start func=init
2000 0 7 0 deferred_item_armed id=0 time_ns=2000 delay_ns=0 delay_jiffies=0
2100 0 7 0 workqueue_queue_work work=0x10 function=work_fn workqueue=events_unbound req_cpu=0 cpu=-1
2200 0 7 0 workqueue_activate_work work=0x10 function=work_fn
2300 0 7 0 sched_waking pid=8 target_cpu=1
3000 0 7 0 deferred_item_armed id=1 time_ns=3000 delay_ns=0 delay_jiffies=0
3100 0 7 0 workqueue_queue_work work=0x20 function=work_fn workqueue=events_unbound req_cpu=0 cpu=-1
3200 0 7 0 workqueue_activate_work work=0x20 function=work_fn
3300 0 7 0 sched_waking pid=9 target_cpu=2
4000 0 7 1 sched_switch prev_pid=7 prev_state=2 next_pid=0
4000 1 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=8
4000 2 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=9
5000 1 8 0 workqueue_execute_start work=0x10 function=work_fn
5000 2 9 0 workqueue_execute_start work=0x20 function=work_fn
5000 1 8 0 deferred_item_started id=0 time_ns=5000
5000 2 9 0 deferred_item_started id=1 time_ns=5000
15000 2 9 0 deferred_item_ended id=1 time_ns=15000 error=0
15100 2 9 0 workqueue_execute_end work=0x20 function=work_fn
55000 1 8 0 sched_waking pid=7 target_cpu=0
55000 1 8 0 deferred_item_ended id=0 time_ns=55000 error=0
55100 1 8 0 workqueue_execute_end work=0x10 function=work_fn
56000 0 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=7
57000 0 7 0 deferred_item_armed id=2 time_ns=57000 delay_ns=0 delay_jiffies=0
58000 0 7 0 deferred_item_started id=2 time_ns=58000
68000 0 7 0 deferred_item_ended id=2 time_ns=68000 error=0
69000 0 7 0 initcall_finish func=init ret=0
";

fn join() -> Made {
    let mut made =
        Made::read(JOIN)
            .hz(250)
            .named(&[("long", "work"), ("short", "work"), ("last", "direct")]);
    made.beside.phases[0].after = [(2, vec![0, 1])].into();
    made
}

#[test]
fn slack_is_what_a_job_could_have_been_later() {
    let graph = graph(&join());
    // The chain is long, init's wake-up, last. What short ended 40 us before, the plan joins.
    assert_eq!(slack(&graph, "long"), Some(0));
    assert_eq!(slack(&graph, "last"), Some(0));
    assert_eq!(slack(&graph, "short"), Some(42_000), "until last is armed");
    let found = edges(&graph);
    for wanted in [
        ("init", "long", EdgeKind::Arm),
        ("init", "short", EdgeKind::Arm),
        ("long", "init", EdgeKind::Wake),
        ("init", "last", EdgeKind::Arm),
        ("long", "last", EdgeKind::Plan),
        ("short", "last", EdgeKind::Plan),
    ] {
        assert!(found.contains(&wanted), "{wanted:?} of {found:?}");
    }
    assert_eq!(graph.cycles, Vec::<Vec<u32>>::new());
}

#[test]
fn longest_chain_has_no_gap_and_ends_with_the_last_item() {
    let path = join().analysed(|analysis| analysis.critical_path());
    let mut at = path.begin_ns;
    for link in &path.links {
        assert_eq!(link.from_ns, at, "{link:?}");
        at += link.ns;
    }
    assert_eq!((path.begin_ns, path.end_ns), (1_000, 68_000));
    let mut names: Vec<&str> = path.links.iter().map(|link| link.name.as_str()).collect();
    names.dedup();
    assert_eq!(names, ["init", "long", "init", "last"]);
    insta::assert_snapshot!(path.table(Look::default()));
}

#[test]
fn chain_of_a_real_capture_goes_through_max_active() {
    let made = Made::read(include_str!("../data/max-active.txt")).limit("deferred-own", 2);
    let path = made.analysed(|analysis| analysis.critical_path());
    let sum: u64 = path.links.iter().map(|link| link.ns).sum();
    assert_eq!(sum, path.end_ns - path.begin_ns);
    insta::assert_snapshot!(path.table(Look::default()));
    let graph = graph(&made);
    let behind = edges(&graph)
        .iter()
        .filter(|(.., kind)| *kind == EdgeKind::MaxActive)
        .count();
    assert_eq!(behind, 6, "of eight items, two at a time");
    insta::assert_snapshot!(graph.slack_table());
}

#[test]
fn jobs_that_wait_for_each_other_are_a_cycle() {
    let ping = "\
1000 0 8 0 deferred_item_started id=0 time_ns=1000
1000 1 9 0 deferred_item_started id=1 time_ns=1000
2000 0 8 1 sched_switch prev_pid=8 prev_state=2 next_pid=0
3000 1 9 0 sched_waking pid=8 target_cpu=0
3500 0 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=8
4000 1 9 1 sched_switch prev_pid=9 prev_state=2 next_pid=0
5000 0 8 0 sched_waking pid=9 target_cpu=1
5500 1 0 1 sched_switch prev_pid=0 prev_state=0 next_pid=9
6000 0 8 0 deferred_item_ended id=0 time_ns=6000 error=0
7000 1 9 0 deferred_item_ended id=1 time_ns=7000 error=0
";
    let made = Made::read(ping).named(&[("ping", "kthread"), ("pong", "kthread")]);
    let graph = graph(&made);
    assert_eq!(graph.cycles, [[0, 1]]);
    assert!(
        graph
            .remarks()
            .contains("cycle: ping, pong waited for each other in turns"),
        "{}",
        graph.remarks()
    );
}

#[test]
fn drawings_name_every_job_and_close_what_they_open() {
    let graph = graph(&join());
    let dot = graph.dot();
    assert!(dot.starts_with("digraph jobs {") && dot.ends_with("}\n"));
    let svg = graph.svg().expect("few enough");
    for node in &graph.nodes {
        assert!(dot.contains(&node.name) && svg.contains(&node.name));
    }
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<line ").count(), graph.edges.len());
    let mut hostile = graph;
    hostile.nodes[0].name = "a\"<b>&\\".to_owned();
    assert!(hostile.dot().contains("a\\\"<b>&\\\\"));
    let svg = hostile.svg().expect("few enough");
    assert!(svg.contains("a&quot;&lt;b&gt;&amp;\\"));
}

fn plan(modes: &[(&str, Mode, &[usize])], begin: u64, end: u64) -> Plan {
    let items = modes.iter().map(|(name, mode, after)| PlannedItem {
        name: (*name).to_owned(),
        mode: *mode,
        after: after.to_vec(),
        delay_ns: 0,
        queue: None,
    });
    Plan {
        phase: 0,
        items: items.collect(),
        limits: Vec::new(),
        begin,
        end,
        cpus: 2,
    }
}

/// The same records, so that HZ and the timers are known, too.
fn with_timers() -> Made {
    let timer = "900 0 7 1 timer_start timer=0x90 function=f expires=1005 bucket_expiry=1006 now=1000 flags=0\n";
    let mut made = Made::read(&format!("{timer}{JOIN}")).hz(250).named(&[
        ("long", "work"),
        ("short", "work"),
        ("last", "direct"),
    ]);
    made.beside.phases[0].after = [(2, vec![0, 1])].into();
    made
}

#[test]
fn model_of_a_trace_gives_its_times_again() {
    let plan = plan(
        &[
            ("long", Mode::Deferred, &[]),
            ("short", Mode::Deferred, &[]),
            ("last", Mode::Direct, &[0, 1]),
        ],
        1_000,
        69_000,
    );
    let made = with_timers();
    let model = made
        .analysed(|analysis| analysis.model(&plan))
        .expect("all is there");
    assert_eq!((model.init_ns, model.makespan_ns), (68_000, 67_000));
    let Prediction {
        init_ns,
        makespan_ns,
        ..
    } = model.model.run().expect("no cycle");
    let off = |one: u64, other: u64| one.abs_diff(other) * 100 / other;
    assert!(off(init_ns, 68_000) <= 5, "{init_ns}");
    assert!(off(makespan_ns, 67_000) <= 5, "{makespan_ns}");
    // Without the wait for the others, init is done with its own work.
    let mut free = model.model.clone();
    free.items[2].after.clear();
    assert!(free.run().expect("no cycle").init_ns < 30_000);
}

#[test]
fn what_a_model_lacks_is_an_error() {
    let whole = plan(&[("long", Mode::Deferred, &[])], 1_000, 69_000);
    let ask = |made: &Made, plan: &Plan| made.analysed(|analysis| analysis.model(plan));
    let without: String = JOIN
        .lines()
        .filter(|line| !line.contains(" sched_"))
        .map(|line| format!("{line}\n"))
        .collect();
    match ask(&Made::read(&without).hz(250), &whole) {
        Err(NoModel::Lacks(lack)) => assert!(!lack.records.is_empty()),
        other => panic!("{other:?}"),
    }
    let one: (&str, Mode, &[usize]) = ("long", Mode::Deferred, &[]);
    let more = plan(&[one; 4], 1_000, 69_000);
    assert_eq!(
        ask(&with_timers(), &more),
        Err(NoModel::NotEnded("long".to_owned()))
    );
    let mut lossy = with_timers();
    lossy.lost = vec![15_000];
    assert_eq!(ask(&lossy, &whole), Err(NoModel::Lost));
}
