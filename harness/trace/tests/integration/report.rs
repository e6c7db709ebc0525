// SPDX-License-Identifier: GPL-2.0-only

//! Reports and call graphs of real captures held against a plain calculation from the exits alone: a call is inside
//! another one when its times are.

use std::collections::BTreeMap;

use deferinit_ftrace::record::{Event, Record};
use deferinit_trace::dump::folded::Folded;
use deferinit_trace::functions::Functions;
use deferinit_trace::graph::{CallGraph, Grouping};
use deferinit_trace::report::{FunctionStatistics, Report};
use deferinit_trace::task::Task;

use crate::capture::{Recorded, smp, whole};

/// Durations, and the sum of self times, by name.
type Expected = BTreeMap<String, (Vec<u64>, u64)>;

fn report(recorded: &Recorded) -> Report {
    let symbols = recorded.symbols();
    let mut statistics = FunctionStatistics::default();
    recorded.with_records(|records| records.iter().for_each(|record| statistics.record(record)));
    statistics.finish(&mut Functions::new(&symbols))
}

fn calculated(recorded: &Recorded) -> Expected {
    let symbols = recorded.symbols();
    // Begin, end and function of each task's calls.
    let mut calls: BTreeMap<Task, Vec<(u64, u64, u64)>> = BTreeMap::new();
    recorded.with_records(|records| {
        for record in records {
            if let Event::FuncgraphExit {
                function,
                calltime,
                rettime,
                ..
            } = record.event
            {
                let task = calls.entry(Task::of(record)).or_default();
                task.push((calltime, rettime, function));
            }
        }
    });
    let mut expected = Expected::new();
    for calls in calls.values_mut() {
        calls.sort_by_key(|(begin, end, _)| (*begin, u64::MAX - end));
        let mut own: Vec<u64> = calls.iter().map(|(begin, end, _)| end - begin).collect();
        let mut around: Vec<usize> = Vec::new();
        for (place, (begin, end, _)) in calls.iter().enumerate() {
            while around.last().is_some_and(|outer| calls[*outer].1 <= *begin) {
                around.pop();
            }
            if let Some(outer) = around.last() {
                own[*outer] -= end - begin;
            }
            around.push(place);
        }
        for ((begin, end, function), own) in calls.iter().zip(own) {
            // A function of a module that was unloaded has no symbol.
            let name = symbols
                .resolve(*function)
                .map_or_else(|| format!("{function:#x}"), |found| found.name.to_owned());
            let (durations, sum) = expected.entry(name).or_default();
            durations.push(end - begin);
            *sum += own;
        }
    }
    for (durations, _) in expected.values_mut() {
        durations.sort_unstable();
    }
    expected
}

#[track_caller]
fn check(recorded: &Recorded, at_least: usize) {
    let (report, mut expected) = (report(recorded), calculated(recorded));
    assert!(expected.len() >= at_least, "{} functions", expected.len());
    for row in report.functions.iter().filter(|row| row.calls > 0) {
        let (durations, own) = expected
            .remove(&row.name)
            .unwrap_or_else(|| panic!("{} was never called", row.name));
        let percentile = |percent: usize| durations[(durations.len() * percent).div_ceil(100) - 1];
        assert_eq!(row.calls, durations.len() as u64, "{}", row.name);
        assert_eq!(row.total_ns, durations.iter().sum::<u64>(), "{}", row.name);
        assert_eq!(row.self_ns, own, "{}", row.name);
        assert_eq!(row.min_ns, durations.first().copied(), "{}", row.name);
        assert_eq!(row.max_ns, durations.last().copied(), "{}", row.name);
        for (found, exact) in [(row.p50_ns, percentile(50)), (row.p99_ns, percentile(99))] {
            let error = found.expect("there are calls").abs_diff(exact);
            assert!(error * 128 <= exact, "{}: {found:?}, {exact}", row.name);
        }
    }
    let lacking: Vec<_> = expected.keys().collect();
    assert!(lacking.is_empty(), "the report lacks {lacking:?}");
}

#[test]
fn a_report_of_two_cpus_is_what_the_exits_say() {
    let recorded = smp();
    check(&recorded, 60);
    let account = report(&recorded).account;
    assert_eq!(account.negative_durations + account.too_deep, 0);
    assert!(account.exits_without_entry > 0, "it begins inside of calls");
    assert!(account.open_at_end > 0, "it ends inside of calls");
}

#[test]
fn a_report_of_a_whole_capture_is_exact() {
    let recorded = whole();
    check(&recorded, 5);
    let report = report(&recorded);
    for row in &report.functions {
        let incomplete = row.incomplete_calls + row.calls_without_entry;
        assert_eq!((row.self_inexact_ns, incomplete), (0, 0), "{}", row.name);
    }
}

#[test]
fn the_exits_alone_give_the_same_times() {
    let recorded = smp();
    let symbols = recorded.symbols();
    let mut statistics = FunctionStatistics::default();
    recorded.with_records(|records| {
        records
            .iter()
            .filter(|record| matches!(record.event, Event::FuncgraphExit { .. }))
            .for_each(|record| statistics.record(record));
    });
    let mut exits = statistics.finish(&mut Functions::new(&symbols));
    let mut all = report(&recorded);
    assert!(exits.functions.iter().any(|row| row.self_inexact_ns > 0));
    all.functions.retain(|row| row.calls > 0);
    for row in exits.functions.iter_mut().chain(&mut all.functions) {
        // Only what is known of the starts differs.
        row.self_inexact_ns = 0;
        row.calls_without_entry = 0;
        row.incomplete_calls = 0;
    }
    assert_eq!(exits.functions.len(), all.functions.len());
    for (exits, all) in exits.functions.iter().zip(&all.functions) {
        assert_eq!(exits, all);
    }
}

#[test]
fn the_graph_adds_up_to_the_report() {
    let recorded = smp();
    let (symbols, tasks) = (recorded.symbols(), recorded.tasks());
    let report = report(&recorded);
    for grouping in [Grouping::Together, Grouping::ByTask] {
        let mut graph = CallGraph::new(grouping);
        recorded.with_records(|records: &[Record<'_>]| {
            records.iter().for_each(|record| graph.record(record));
        });
        let graph = graph.finish(&mut Functions::new(&symbols), &tasks);
        for row in &report.functions {
            let nodes = graph
                .nodes
                .iter()
                .filter(|node| graph.name(node) == row.name);
            let sums = nodes.fold([0; 5], |sums, node| {
                let counts = &node.counts;
                let more = [
                    counts.calls,
                    counts.total_ns,
                    counts.self_ns,
                    counts.self_inexact_ns,
                    counts.incomplete_calls,
                ];
                std::array::from_fn(|place| sums[place] + more[place])
            });
            let expected = [
                row.calls,
                row.total_ns,
                row.self_ns,
                row.self_inexact_ns,
                row.incomplete_calls,
            ];
            assert_eq!(sums, expected, "{}", row.name);
        }
        let mut folded = Vec::new();
        graph
            .stacks(&mut Folded::new(&mut folded))
            .expect("a vector takes all");
        let folded = String::from_utf8(folded).expect("names are ASCII");
        let sum: u64 = folded
            .lines()
            .map(|line| line.rsplit_once(' ').expect("it has a number").1)
            .map(|number| number.parse::<u64>().expect("it is a number"))
            .sum();
        let own: u64 = report.functions.iter().map(|row| row.self_ns).sum();
        assert_eq!(sum, own);
    }
}
