// SPDX-License-Identifier: GPL-2.0-only

//! What happened on all CPUs meanwhile: CPU time by task, context switches, wake-ups, timers.
//!
//! In: windows of time, and the records of one trace. Out: a [`Cost`] for each window. Idle time is that of task 0.
//! Source: `include/trace/events/{sched,timer}.h`, Linux 7.3.

mod shown;

use std::collections::{BTreeMap, HashSet};

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::record::Record;
use serde::Serialize;

use crate::events::{Happening, Reader};

pub use shown::{Costs, ItemCost, PhaseCost};

/// A time that is asked about, on the trace's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first nanosecond.
    pub begin: u64,
    /// The first behind it.
    pub end: u64,
}

impl Window {
    fn has(self, at: u64) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// How much of a time lies in it.
    fn overlap(self, from: u64, to: u64) -> u64 {
        to.min(self.end).saturating_sub(from.max(self.begin))
    }
}

/// What happened in a window; all CPUs together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Nanoseconds on a CPU, by task; interrupts count as the task that they interrupt, but for the idle task, which has
    /// none. None without `sched_switch`.
    pub cpu_ns: Option<BTreeMap<i32, u64>>,
    /// How often a CPU went from one task to another. None without `sched_switch`.
    pub switches: Option<u64>,
    /// How often a task that slept was woken, by task. None without `sched_waking` and `sched_wakeup`.
    pub wakeups: Option<BTreeMap<i32, u64>>,
    /// Timers of the timer wheel that expired. None without `timer_expire_entry`.
    pub timers: Option<u64>,
    /// High-resolution timers that expired, the tick's among them. None without `hrtimer_expire_entry`.
    pub hrtimers: Option<u64>,
    /// Records of the trace.
    pub records: u64,
}

/// What a CPU does.
#[derive(Clone, Copy, Debug)]
struct Running {
    task: i32,
    since: u64,
}

/// Counts what happens in windows.
#[derive(Debug)]
pub struct Meter {
    reader: Reader,
    windows: Vec<(Window, Counted)>,
    cpus: BTreeMap<u32, Running>,
    /// Tasks that were woken and have not run since.
    woken: HashSet<i32>,
}

#[derive(Clone, Debug, Default)]
struct Counted {
    cpu_ns: BTreeMap<i32, u64>,
    switches: u64,
    wakeups: BTreeMap<i32, u64>,
    timers: u64,
    hrtimers: u64,
    records: u64,
}

impl Meter {
    /// Of a trace with these formats.
    #[must_use]
    pub fn new(formats: &Formats, windows: &[Window]) -> Self {
        Self {
            reader: Reader::new(formats),
            windows: windows
                .iter()
                .map(|window| (*window, Counted::default()))
                .collect(),
            cpus: BTreeMap::new(),
            woken: HashSet::new(),
        }
    }

    /// Takes the next record, by time.
    pub fn record(&mut self, record: &Record<'_>) {
        let at = record.timestamp_ns;
        // Until its first record a CPU ran the task of that record: it has not switched.
        let running = *self.cpus.entry(record.cpu).or_insert(Running {
            task: record.pid,
            since: 0,
        });
        self.count(at, |counted| counted.records += 1);
        match self.reader.read(record) {
            Some(Happening::Switch { next, .. }) => {
                self.ran(running, at);
                let running = Running {
                    task: next,
                    since: at,
                };
                self.cpus.insert(record.cpu, running);
                self.woken.remove(&next);
                self.count(at, |counted| counted.switches += 1);
            }
            // sched_wakeup follows sched_waking: they are one.
            Some(Happening::Wake { pid, .. }) if self.woken.insert(pid) => {
                self.count(at, |counted| {
                    *counted.wakeups.entry(pid).or_default() += 1;
                });
            }
            Some(Happening::TimerExpire { .. }) => {
                self.count(at, |counted| counted.timers += 1);
            }
            Some(Happening::HrtimerExpire { .. }) => {
                self.count(at, |counted| counted.hrtimers += 1);
            }
            _ => {}
        }
    }

    fn count(&mut self, at: u64, add: impl Fn(&mut Counted)) {
        for (window, counted) in &mut self.windows {
            if window.has(at) {
                add(counted);
            }
        }
    }

    /// Adds the time of a task that ran until `to`.
    fn ran(&mut self, running: Running, to: u64) {
        if running.task == 0 {
            return;
        }
        for (window, counted) in &mut self.windows {
            let overlap = window.overlap(running.since, to);
            if overlap > 0 {
                *counted.cpu_ns.entry(running.task).or_default() += overlap;
            }
        }
    }

    /// What happened in each window, in their order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Cost> {
        // What ran at the end of the trace went on: there was no switch.
        for running in std::mem::take(&mut self.cpus).into_values() {
            self.ran(running, u64::MAX);
        }
        let has = |names: &[&str]| names.iter().any(|name| self.reader.has_seen(name));
        let has_switches = has(&["sched_switch"]);
        let has_wakeups = has(&["sched_waking", "sched_wakeup"]);
        let (has_timers, has_hrtimers) =
            (has(&["timer_expire_entry"]), has(&["hrtimer_expire_entry"]));
        let costs = self.windows.into_iter().map(|(_, counted)| Cost {
            cpu_ns: has_switches.then_some(counted.cpu_ns),
            switches: has_switches.then_some(counted.switches),
            wakeups: has_wakeups.then_some(counted.wakeups),
            timers: has_timers.then_some(counted.timers),
            hrtimers: has_hrtimers.then_some(counted.hrtimers),
            records: counted.records,
        });
        costs.collect()
    }
}
