// SPDX-License-Identifier: GPL-2.0-only

//! Records that no kernel writes: any order, depth and time. Nothing panics, and nothing is lost from the account.

use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_trace::dump::folded::Folded;
use deferinit_trace::functions::Functions;
use deferinit_trace::glob::Glob;
use deferinit_trace::graph::{CallGraph, Graph, Grouping};
use deferinit_trace::replay::{KernelReplay, LocalReplay, Selection};
use deferinit_trace::report::{FunctionStatistics, Report};

/// A multiplicative generator; the upper bits are the better ones.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// One of these, each as likely.
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }

    fn time(&mut self) -> u64 {
        match self.next() % 8 {
            0 => u64::MAX - self.next() % 10,
            1 => 0,
            _ => self.next() % 100_000,
        }
    }

    fn record(&mut self, has_entries: bool) -> Record<'static> {
        let depth = match self.next() % 16 {
            0 => self.pick(&[u64::MAX, 511, 512, 1 << 40]),
            _ => self.next() % 8,
        };
        let function = match self.next() % 16 {
            0 => self.pick(&[0, u64::MAX, self.0]),
            _ => 0xffff_ffff_8100_0000 + 16 * (self.next() % 5),
        };
        let event = match self.next() % 16 {
            0 => Event::Print {
                ip: 0,
                text: "text\n",
            },
            1 => Event::Function {
                ip: function,
                parent_ip: 0,
            },
            2..=8 if has_entries => Event::FuncgraphEntry { function, depth },
            _ => Event::FuncgraphExit {
                function,
                depth,
                retval: self.pick(&[None, Some(0), Some(i64::MIN), Some(-1)]),
                overrun: self.pick(&[0, 0, 0, 1, u64::MAX]),
                calltime: self.time(),
                rettime: self.time(),
            },
        };
        Record {
            timestamp_ns: self.time(),
            cpu: self.pick(&[0, 0, 1, 5, 8192, u32::MAX]),
            pid: self.pick(&[0, 1, 2, 2, 3, -1, i32::MIN, i32::MAX]),
            flags: self.pick(&[0, 0xff]),
            preempt_count: 0,
            event,
        }
    }

    fn records(&mut self, has_entries: bool) -> Vec<Record<'static>> {
        (0..3_000).map(|_| self.record(has_entries)).collect()
    }
}

fn report(records: &[Record<'_>], symbols: &Symbols) -> Report {
    let mut statistics = FunctionStatistics::default();
    for (place, record) in records.iter().enumerate() {
        statistics.record(record);
        if place % 701 == 700 {
            statistics.lost(Some(u64::MAX));
        }
    }
    statistics.finish(&mut Functions::new(symbols))
}

fn graph(records: &[Record<'_>], symbols: &Symbols, grouping: Grouping, most: usize) -> Graph {
    let mut graph = CallGraph::new(grouping).with_most_nodes(most);
    records.iter().for_each(|record| graph.record(record));
    graph.finish(&mut Functions::new(symbols), &SavedCmdlines::default())
}

/// Every exit but the impossible ones is a call, and every entry is an ended or an incomplete one.
#[track_caller]
fn check(records: &[Record<'_>], symbols: &Symbols) {
    let report = report(records, symbols);
    let account = report.account;
    let sum = |value: fn(&deferinit_trace::report::FunctionRow) -> u64| -> u64 {
        report.functions.iter().map(value).sum()
    };
    let of_kind = |wanted: fn(&Event<'_>) -> bool| {
        let found = records.iter().filter(|record| wanted(&record.event));
        found.count() as u64
    };
    let entries = of_kind(|event| matches!(event, Event::FuncgraphEntry { .. }));
    let exits = of_kind(|event| matches!(event, Event::FuncgraphExit { .. }));
    assert_eq!((account.entries, account.exits), (entries, exits));
    let calls = sum(|row| row.calls);
    assert_eq!(
        calls + sum(|row| row.incomplete_calls) + account.too_deep + account.negative_durations,
        exits + account.open_at_end + account.entries_without_exit + too_deep_entries(records)
    );
    for row in &report.functions {
        assert!(row.self_ns <= row.total_ns, "{row:?}");
        assert!(row.self_inexact_ns <= row.self_ns, "{row:?}");
        assert!(row.min_ns <= row.p50_ns && row.p50_ns <= row.p99_ns && row.p99_ns <= row.max_ns);
    }
    for grouping in [Grouping::Together, Grouping::ByTask] {
        for most in [0, 3, usize::MAX] {
            let graph = graph(records, symbols, grouping, most);
            let counted: u64 = graph.nodes.iter().map(|node| node.counts.calls).sum();
            assert_eq!(counted, calls, "{grouping:?} {most}");
            let mut out = Vec::new();
            graph.write_tree(&mut out);
            let lines = out.iter().filter(|byte| **byte == b'\n').count();
            assert!(lines > graph.nodes.len());
            graph
                .stacks(&mut Folded::new(&mut out))
                .expect("a vector takes all");
            for part in [
                graph.callers(&Glob::new("*")),
                graph.callees(&Glob::new("*")),
            ] {
                part.expect("there are functions").write_tree(&mut out);
            }
        }
    }
}

fn too_deep_entries(records: &[Record<'_>]) -> u64 {
    let too_deep = records.iter().filter(
        |record| matches!(record.event, Event::FuncgraphEntry { depth, .. } if depth >= 512),
    );
    too_deep.count() as u64
}

#[test]
fn records_of_any_kind_are_all_accounted_for() {
    let symbols = Symbols::parse("ffffffff81000000 T a\nffffffff81000010 t b\n").expect("sound");
    for seed in 0..10 {
        let mut numbers = Numbers(seed);
        check(&numbers.records(true), &symbols);
        check(&numbers.records(false), &symbols);
    }
}

#[test]
fn records_of_any_kind_can_be_replayed() {
    let symbols = Symbols::parse("ffffffff81000000 T a\nffffffff81000010 t b\n").expect("sound");
    let tasks = SavedCmdlines::default();
    let selections = [
        Selection::default(),
        Selection {
            functions: Some(Glob::new("a")),
            max_depth: Some(2),
            ..Selection::default()
        },
        Selection {
            min_duration_ns: 1,
            from_ns: Some(50),
            until_ns: Some(u64::MAX),
            cpu: Some(0),
            ..Selection::default()
        },
    ];
    for seed in 0..16 {
        let records = Numbers(seed).records(seed % 4 != 0);
        let calls: u64 = {
            let report = report(&records, &symbols);
            let rows = report.functions.iter();
            rows.map(|row| row.calls + row.incomplete_calls).sum()
        };
        for (place, selection) in selections.iter().enumerate() {
            let mut kernel = KernelReplay::new(
                Functions::new(&symbols),
                &tasks,
                u32::MAX,
                selection.clone(),
            );
            let mut local = LocalReplay::new(Functions::new(&symbols), selection.clone());
            let (mut out, mut lines) = (Vec::new(), Vec::new());
            for (place, record) in records.iter().enumerate() {
                let following = records.get(place + 1);
                kernel.record(record, following, &mut |_, _| (), &mut out);
                local.record(record, &mut lines);
            }
            local.finish(&mut lines);
            let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            if place == 0 {
                assert_eq!(count, calls, "each call has a line");
                assert!(out.len() > records.len());
            } else {
                assert!(count < calls);
            }
        }
    }
}
