// SPDX-License-Identifier: GPL-2.0-only

//! The jobs of one trace, with what names them.
//!
//! In: a [`Collector`] that has seen all records, and what is known beside the trace. Out: jobs, their labels, what the
//! trace lacks, and where records are lost.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_trace::names::Names;
use serde::Serialize;

use crate::collect::{Collector, Loss};
use crate::graph::Lives;
use crate::job::{ItemKey, Job, JobId, Kind};
use crate::oracle::WheelAccount;
use crate::ticks::Ticks;

/// What is known of a run beside its trace; nothing, of a trace that is no run's.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The phases, in order.
    pub phases: Vec<PhaseNames>,
    /// `max_active` of workqueues, by their names in the kernel.
    pub max_active: BTreeMap<String, u32>,
    /// HZ of the kernel.
    pub hz: Option<u32>,
}

/// The names of one phase.
#[derive(Clone, Debug, Default)]
pub struct PhaseNames {
    /// Its name.
    pub name: String,
    /// When it begins, on the trace's clock.
    pub begin: u64,
    /// Its items, by id: each with its name, which is the id in decimal if it has none.
    pub items: BTreeMap<u32, ItemNames>,
    /// By an item's id, those that it comes after.
    pub after: BTreeMap<u32, Vec<u32>>,
}

/// The names of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemNames {
    /// Its own.
    pub name: String,
    /// Of what runs it: `delayed`, `direct`.
    pub mode: String,
}

/// Events that a trace lacks, and what is not known without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// The events that have no record.
    pub events: &'static [&'static str],
    /// What they would tell.
    pub tells: &'static str,
    /// What records them: the value for `-e` and for `trace: { events: [..] }`.
    pub records: &'static str,
}

/// What an analysis reads, by what it is for.
const WANTED: [Lack; 5] = [
    Lack {
        events: &["timer_start", "timer_expire_entry"],
        tells: "what a delay is rounded to, and when its timer expires",
        records: "timer",
    },
    Lack {
        events: &[
            "workqueue_queue_work",
            "workqueue_activate_work",
            "workqueue_execute_start",
        ],
        tells: "how long a work waits for its queue and for a worker",
        records: "workqueue",
    },
    Lack {
        events: &["sched_switch", "sched_waking"],
        tells: "when a job's task was preempted, blocked or waited for a CPU, and what woke it",
        records: "sched",
    },
    Lack {
        events: &["initcall_start", "initcall_finish"],
        tells: "which initcall armed what",
        records: "initcall",
    },
    Lack {
        events: &["hrtimer_start", "hrtimer_expire_entry"],
        tells: "which sleep ended by which high-resolution timer",
        records: "timer",
    },
];

/// The jobs of one trace.
#[derive(Debug)]
pub struct Analysis<'a> {
    jobs: Vec<Job>,
    names: Names<'a>,
    workqueues: Vec<String>,
    beside: &'a Beside,
    ticks: Option<Ticks>,
    wheel: WheelAccount,
    losses: Vec<Loss>,
    lacks: Vec<Lack>,
    has_sched: bool,
    records: u64,
    span: (u64, u64),
    cpus: usize,
    /// By item, the job that it was armed with and that has not started.
    pending: HashMap<ItemKey, JobId>,
    /// What connects the jobs, once that was asked for.
    pub(crate) lives: Option<Rc<Lives>>,
    /// Whether names are wanted at all just now.
    pub(crate) is_silent: bool,
}

impl<'a> Analysis<'a> {
    /// Ends a collection.
    #[must_use]
    pub fn new(
        collector: Collector<'_>,
        symbols: &'a Symbols,
        tasks: &'a SavedCmdlines,
        beside: &'a Beside,
    ) -> Self {
        let reader = collector.reader();
        let lacks: Vec<Lack> = WANTED
            .into_iter()
            .filter(|wanted| !wanted.events.iter().any(|event| reader.has_seen(event)))
            .collect();
        let cpus = collector.cpus();
        let has_sched = reader.has_seen("sched_switch");
        let mut pending = HashMap::new();
        for (number, job) in (0..).zip(&collector.jobs) {
            if let (true, None, Some(item)) = (job.kind != Kind::Item, job.start, job.item) {
                pending.insert(item, JobId(number));
            }
        }
        Self {
            names: Names::new(symbols, tasks),
            ticks: collector.ticks.finish(beside.hz),
            wheel: collector.oracle.account,
            workqueues: collector.workqueues,
            losses: collector.losses,
            records: collector.records,
            span: collector.span.unwrap_or_default(),
            cpus,
            jobs: collector.jobs,
            beside,
            lacks,
            has_sched,
            pending,
            lives: None,
            is_silent: false,
        }
    }

    /// All jobs, in the order in which they were first seen; a [`JobId`] is a place among them.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// All jobs with their ids.
    pub fn ids(&self) -> impl Iterator<Item = (JobId, &Job)> {
        (0..).map(JobId).zip(&self.jobs)
    }

    /// A job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(usize::try_from(id.0).ok()?)
    }

    /// When each jiffy began; none if HZ is not known.
    #[must_use]
    pub fn ticks(&self) -> Option<Ticks> {
        self.ticks
    }

    /// What became of the timers.
    #[must_use]
    pub fn wheel(&self) -> &WheelAccount {
        &self.wheel
    }

    /// Where records are lost.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Which events have no record in the trace.
    #[must_use]
    pub fn lacks(&self) -> &[Lack] {
        &self.lacks
    }

    /// How many records there were.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The first record's time and the last one's.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        self.span
    }

    /// How many CPUs have records.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// What was known beside the trace.
    #[must_use]
    pub fn beside(&self) -> &Beside {
        self.beside
    }

    /// Whether records were lost between two times, so that what is known of it may be wrong.
    #[must_use]
    pub fn is_touched(&self, from: u64, to: u64) -> bool {
        self.losses
            .iter()
            .any(|loss| loss.from <= to && from <= loss.to)
    }

    /// What a job is called: an item by its name, all others by their function.
    pub fn label(&mut self, id: JobId) -> String {
        let Some(job) = self.job(id).filter(|_| !self.is_silent) else {
            return String::new();
        };
        let (kind, function, attempt) = (job.kind, job.function, job.attempt);
        match (kind, job.item) {
            (Kind::Item, Some(item)) if attempt > 1 => {
                format!("{} (attempt {attempt})", self.item_label(item))
            }
            (Kind::Item | Kind::Work | Kind::Timer, Some(item)) => self.item_label(item),
            (_, _) => self.function_name(function),
        }
    }

    /// What an item is called: its name; with its phase before it, if there are several.
    #[must_use]
    pub fn item_label(&self, item: ItemKey) -> String {
        let phase = self.beside.phases.get(usize::from(item.phase));
        let names = phase.and_then(|phase| phase.items.get(&item.id));
        let own = match names {
            Some(names) if names.name != item.id.to_string() => names.name.clone(),
            Some(_) | None => format!("item {}", item.id),
        };
        match phase {
            Some(phase) if self.beside.phases.len() > 1 => format!("{}/{own}", phase.name),
            Some(_) | None => own,
        }
    }

    /// The mode of an item, if it is known.
    #[must_use]
    pub fn item_mode(&self, item: ItemKey) -> Option<&str> {
        let phase = self.beside.phases.get(usize::from(item.phase))?;
        Some(phase.items.get(&item.id)?.mode.as_str())
    }

    pub(crate) fn pending(&self, item: ItemKey) -> Option<JobId> {
        self.pending.get(&item).copied()
    }

    pub(crate) fn has_sched(&self) -> bool {
        self.has_sched
    }

    pub(crate) fn function_name(&mut self, function: u64) -> String {
        if self.is_silent {
            return String::new();
        }
        self.names.function(function).to_owned()
    }

    /// A task as `NAME-PID`.
    pub(crate) fn task_name(&self, pid: i32) -> String {
        if self.is_silent {
            return String::new();
        }
        if pid == 0 {
            return "the idle task".to_owned();
        }
        format!("{}-{pid}", self.names.tasks().name(pid))
    }

    pub(crate) fn workqueue_name(&self, place: u32) -> String {
        if self.is_silent {
            return String::new();
        }
        usize::try_from(place)
            .ok()
            .and_then(|place| self.workqueues.get(place))
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn max_active(&self, workqueue: &str) -> Option<u32> {
        self.beside.max_active.get(workqueue).copied()
    }
}
