// SPDX-License-Identifier: GPL-2.0-only

//! Says whether a trace is whole: only a whole one can carry a verdict.
//!
//! In: the kernel's per-CPU statistics, the decoder's counts, and the calls whose pairs were not found.
//! Out: [`Integrity`], and one line for each problem.
//! Does not: judge the workload.
//! Source: `tracing_stats_read()`, `kernel/trace/trace.c`, and `kernel/trace/ring_buffer.c`, Linux 7.3.
//! The statistics decide, since missed-event marks on sub-buffers undercount.

use std::collections::{BTreeMap, BTreeSet};

use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::stats::Stats;
use serde::{Deserialize, Serialize};

/// What is known about the trace's completeness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integrity {
    /// Each CPU's buffer, by CPU.
    pub cpus: Vec<CpuIntegrity>,
    /// The first places that could not be decoded, one line each.
    pub damage: Vec<String>,
    /// How many such places there are.
    pub damages: u64,
    /// What pairing the function_graph records found.
    pub calls: CallIntegrity,
    /// Whether no records are needed: the tracer keeps the trace of its longest latency only, and that is a text.
    pub is_unrecorded: bool,
}

/// What is known about one CPU's buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuIntegrity {
    /// The CPU.
    pub cpu: u32,
    /// The kernel's own counts; none if the guest could not hand them over.
    pub statistics: Option<CpuStatistics>,
    /// Records that were decoded.
    pub decoded: u64,
    /// Sub-buffers that are marked as preceded by missed events.
    pub missed_marks: u64,
}

/// The counts of `per_cpu/cpu<N>/stats` that bear on completeness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStatistics {
    /// Records in the buffer that were not read in the guest.
    pub entries: u64,
    /// Records overwritten by newer ones.
    pub overrun: u64,
    /// Records lost to nesting deeper than the buffer.
    pub commit_overrun: u64,
    /// Records dropped since the buffer was full.
    pub dropped: u64,
    /// Records read in the guest.
    pub read: u64,
}

/// What pairing function_graph's entries and exits found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallIntegrity {
    /// Calls with both records.
    pub complete: u64,
    /// Entries whose exit is lost inside the window.
    pub unmatched_entries: u64,
    /// Exits whose entry is lost inside the window.
    pub unmatched_exits: u64,
    /// Calls still open when the trace ended; these are expected.
    pub open_at_end: u64,
    /// Calls made before the trace began; these are expected.
    pub open_at_begin: u64,
    /// Exits that report calls lost to a full shadow stack.
    pub overrun_exits: u64,
}

impl From<&Stats> for CpuStatistics {
    fn from(stats: &Stats) -> Self {
        Self {
            entries: stats.entries,
            overrun: stats.overrun,
            commit_overrun: stats.commit_overrun,
            dropped: stats.dropped_events,
            read: stats.read_events,
        }
    }
}

impl Integrity {
    /// Holds the decoder's tally against the kernel's statistics, for every CPU that either of them knows.
    #[must_use]
    pub fn gather(tally: &Tally, statistics: &BTreeMap<u32, Stats>, calls: CallIntegrity) -> Self {
        let decoded: BTreeSet<u32> = tally.cpus.iter().map(|cpu| cpu.cpu).collect();
        let mut cpus: Vec<CpuIntegrity> = tally
            .cpus
            .iter()
            .map(|cpu| CpuIntegrity {
                cpu: cpu.cpu,
                statistics: statistics.get(&cpu.cpu).map(CpuStatistics::from),
                decoded: cpu.decoded,
                missed_marks: cpu.missed_marks,
            })
            .collect();
        cpus.extend(
            statistics
                .iter()
                .filter(|(cpu, _)| !decoded.contains(cpu))
                .map(|(cpu, stats)| CpuIntegrity {
                    cpu: *cpu,
                    statistics: Some(CpuStatistics::from(stats)),
                    ..CpuIntegrity::default()
                }),
        );
        cpus.sort_by_key(|cpu| cpu.cpu);
        let damage = tally.damage.iter().map(ToString::to_string).collect();
        Self {
            cpus,
            damage,
            damages: tally.damages,
            calls,
            is_unrecorded: false,
        }
    }

    /// Adds what is known about the trace of another boot.
    pub(crate) fn add(&mut self, other: Self) {
        self.cpus.extend(other.cpus);
        self.damage.extend(other.damage);
        self.damages = self.damages.saturating_add(other.damages);
        let (calls, others) = (&mut self.calls, other.calls);
        for (sum, more) in [
            (&mut calls.complete, others.complete),
            (&mut calls.unmatched_entries, others.unmatched_entries),
            (&mut calls.unmatched_exits, others.unmatched_exits),
            (&mut calls.open_at_end, others.open_at_end),
            (&mut calls.open_at_begin, others.open_at_begin),
            (&mut calls.overrun_exits, others.overrun_exits),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Whether nothing was lost, as far as can be known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems().is_empty()
    }

    /// Each reason why the trace is not whole, in one line.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.is_unrecorded {
            return problems;
        }
        if self.cpus.is_empty() {
            problems.push("there is no CPU's buffer".to_owned());
        }
        for cpu in &self.cpus {
            cpu.add_problems(&mut problems);
        }
        if self.damages > 0 {
            let first = self.damage.first().map_or("not listed", String::as_str);
            problems.push(format!(
                "{} places could not be decoded, the first: {first}",
                self.damages
            ));
        }
        self.calls.add_problems(&mut problems);
        problems
    }

    /// Records decoded on all CPUs.
    #[must_use]
    pub fn decoded(&self) -> u64 {
        self.cpus
            .iter()
            .fold(0, |sum, cpu| sum.saturating_add(cpu.decoded))
    }
}

impl CpuIntegrity {
    fn add_problems(&self, problems: &mut Vec<String>) {
        let cpu = self.cpu;
        match self.statistics {
            None => problems.push(format!(
                "cpu{cpu}: the guest's ftrace statistics are missing"
            )),
            Some(statistics) => self.add_statistics_problems(&statistics, problems),
        }
        if self.missed_marks > 0 {
            problems.push(format!(
                "cpu{cpu}: {} sub-buffers are marked as preceded by missed events",
                self.missed_marks
            ));
        }
    }

    fn add_statistics_problems(&self, statistics: &CpuStatistics, problems: &mut Vec<String>) {
        let cpu = self.cpu;
        let lost = [
            ("overrun", statistics.overrun),
            ("commit overrun", statistics.commit_overrun),
            ("dropped events", statistics.dropped),
        ];
        for (name, count) in lost {
            if count > 0 {
                problems.push(format!("cpu{cpu}: {name} is {count}, not 0"));
            }
        }
        let recorded = statistics.entries.saturating_add(statistics.read);
        if self.decoded != recorded {
            problems.push(format!(
                "cpu{cpu}: {} records decoded but the kernel counts {recorded}",
                self.decoded
            ));
        }
    }
}

impl CallIntegrity {
    fn add_problems(&self, problems: &mut Vec<String>) {
        let lost = [
            (
                "function_graph entries have no exit",
                self.unmatched_entries,
            ),
            ("function_graph exits have no entry", self.unmatched_exits),
            (
                "function_graph exits report a full shadow stack",
                self.overrun_exits,
            ),
        ];
        for (what, count) in lost {
            if count > 0 {
                problems.push(format!("{count} {what}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CpuIntegrity, CpuStatistics, Integrity};

    fn whole() -> Integrity {
        let statistics = CpuStatistics {
            entries: 8,
            read: 2,
            ..CpuStatistics::default()
        };
        let cpu = CpuIntegrity {
            statistics: Some(statistics),
            decoded: 10,
            ..CpuIntegrity::default()
        };
        Integrity {
            cpus: vec![cpu],
            ..Integrity::default()
        }
    }

    /// One problem for one change, worded like `wanted`.
    #[track_caller]
    fn check(change: impl Fn(&mut Integrity, &mut CpuStatistics), wanted: &str) {
        let mut integrity = whole();
        let mut statistics = integrity.cpus[0]
            .statistics
            .expect("whole() has statistics");
        change(&mut integrity, &mut statistics);
        if integrity
            .cpus
            .first()
            .is_some_and(|cpu| cpu.statistics.is_some())
        {
            integrity.cpus[0].statistics = Some(statistics);
        }
        assert_eq!(integrity.problems(), [wanted]);
        assert!(!integrity.is_whole());
    }

    #[test]
    fn whole_trace_has_no_problem() {
        assert!(whole().is_whole());
        assert_eq!(whole().decoded(), 10);
    }

    #[test]
    fn every_loss_is_a_problem() {
        check(|_, s| s.overrun = 3, "cpu0: overrun is 3, not 0");
        check(
            |_, s| s.commit_overrun = 1,
            "cpu0: commit overrun is 1, not 0",
        );
        check(|_, s| s.dropped = 7, "cpu0: dropped events is 7, not 0");
        check(
            |_, s| s.entries = 9,
            "cpu0: 10 records decoded but the kernel counts 11",
        );
        check(
            |i, _| i.cpus[0].statistics = None,
            "cpu0: the guest's ftrace statistics are missing",
        );
        check(
            |i, _| i.cpus[0].missed_marks = 1,
            "cpu0: 1 sub-buffers are marked as preceded by missed events",
        );
        check(
            |i, _| i.damages = 1,
            "1 places could not be decoded, the first: not listed",
        );
        check(|i, _| i.cpus.clear(), "there is no CPU's buffer");
        check(
            |i, _| i.calls.unmatched_entries = 1,
            "1 function_graph entries have no exit",
        );
        check(
            |i, _| i.calls.unmatched_exits = 2,
            "2 function_graph exits have no entry",
        );
        check(
            |i, _| i.calls.overrun_exits = 1,
            "1 function_graph exits report a full shadow stack",
        );
    }

    #[test]
    fn pairs_cut_by_the_window_are_no_problem() {
        let mut integrity = whole();
        integrity.calls.open_at_begin = 1;
        integrity.calls.open_at_end = 2;
        assert!(integrity.is_whole());
    }
}
