// SPDX-License-Identifier: GPL-2.0-only

//! Makes a model of a workload out of what a trace has of it.
//!
//! In: an [`Analysis`], and the plan of one phase. Out: a [`Model`] whose items do what they were measured to do, less
//! the time in which others were in their way: that comes back out of the simulation.
//! Does not: model locks, completions and flushes; a wait that another item ends is kept as long as it was, and noted.

use crate::analysis::{Analysis, Lack};
use crate::job::{Context, ItemKey, Job, JobId, Kind, Off};
use crate::model::{Act, Leads, Mode, Model, ModelItem};
use crate::segment::SegmentKind;

/// What the plan says of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The phase, by its place among those of the analysis.
    pub phase: u16,
    /// The items, by id.
    pub items: Vec<PlannedItem>,
    /// `max_active` of queues that have one.
    pub limits: Vec<u32>,
    /// When the starter begins, on the trace's clock.
    pub begin: u64,
    /// When it is done.
    pub end: u64,
    /// How many tasks can run at a time.
    pub cpus: u32,
}

/// What the plan says of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedItem {
    /// Its name.
    pub name: String,
    /// What runs it.
    pub mode: Mode,
    /// What it comes after, by ids.
    pub after: Vec<usize>,
    /// Its delay.
    pub delay_ns: u64,
    /// Its queue, by its place among the limits.
    pub queue: Option<usize>,
}

/// Why there is no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoModel {
    /// The trace lacks events.
    Lacks(Lack),
    /// HZ is not known, or the records with jiffies fit no even grid.
    Ticks,
    /// An item has no end in the trace.
    NotEnded(String),
    /// Records were lost while the items ran.
    Lost,
}

/// A model, what it was made of, and what it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The model.
    pub model: Model,
    /// When the starter was done, in nanoseconds since it began.
    pub init_ns: u64,
    /// When the last item ended.
    pub makespan_ns: u64,
    /// What is kept as it was measured, though it may depend on the choice.
    pub notes: Vec<String>,
}

/// From the queue to the start, where the trace has not one work that shows it: research on Linux 7.3 in exact mode.
const WORKER_LEAD_NS: u64 = 100_000;

/// One item as it was measured.
struct Measured {
    mode: Mode,
    asked: u64,
    pid: i32,
    /// When it had a CPU.
    runs: Vec<(u64, u64)>,
    end: u64,
    acts: Vec<Act>,
    lead: u64,
}

impl Analysis<'_> {
    /// Makes a model of a phase.
    ///
    /// # Errors
    /// The trace does not have what that takes.
    pub fn model(&mut self, plan: &Plan) -> Result<Extracted, NoModel> {
        for lack in self.lacks() {
            if lack.events.contains(&"sched_switch") || lack.events.contains(&"timer_start") {
                return Err(NoModel::Lacks(*lack));
            }
        }
        let ticks = self.ticks().ok_or(NoModel::Ticks)?;
        let mut notes = Vec::new();
        let mut measured = Vec::new();
        for (id, item) in (0..).zip(&plan.items) {
            let key = ItemKey {
                phase: plan.phase,
                id,
            };
            let one = self.measured(key, item, &mut notes);
            measured.push(one.ok_or_else(|| NoModel::NotEnded(item.name.clone()))?);
        }
        let has_timers = plan.items.iter().any(|item| item.delay_ns > 0)
            || measured
                .iter()
                .flat_map(|item| &item.acts)
                .any(|act| matches!(act, Act::Jiffies { .. }));
        let has_ticks = ticks
            .jiffy(plan.begin)
            .is_some_and(|jiffy| ticks.begin(jiffy).is_some());
        if has_timers && !has_ticks {
            return Err(NoModel::Ticks);
        }
        let last = measured.iter().map(|item| item.end).max().unwrap_or(0);
        if self.is_touched(plan.begin, last.max(plan.end)) {
            return Err(NoModel::Lost);
        }
        let taken = self.taken(plan, &measured);
        let (gaps, tail_ns) = gaps(plan, &measured, &taken);
        let leads = self.leads(&measured);
        let items = plan
            .items
            .iter()
            .zip(&measured)
            .zip(gaps)
            .map(|((item, measured), gap_ns)| ModelItem {
                name: item.name.clone(),
                mode: measured.mode,
                after: item.after.clone(),
                delay_ns: if measured.mode == Mode::Kept {
                    0
                } else {
                    item.delay_ns
                },
                acts: measured.acts.clone(),
                gap_ns,
                lead_ns: match measured.mode {
                    Mode::Direct | Mode::Inline => Leads {
                        called: measured.lead,
                        ..leads
                    },
                    Mode::Async | Mode::Deferred | Mode::Hrtimer | Mode::Kept => Leads {
                        worker: measured.lead,
                        handing: 0,
                        ..leads
                    },
                },
                queue: item.queue,
            });
        Ok(Extracted {
            model: Model {
                items: items.collect(),
                limits: plan.limits.clone(),
                tail_ns,
                begin: plan.begin,
                ticks,
                cpus: plan.cpus,
            },
            init_ns: plan.end.saturating_sub(plan.begin),
            makespan_ns: last.saturating_sub(plan.begin),
            notes,
        })
    }

    fn measured(
        &mut self,
        key: ItemKey,
        item: &PlannedItem,
        notes: &mut Vec<String>,
    ) -> Option<Measured> {
        let attempts: Vec<JobId> = self
            .ids()
            .filter(|(_, job)| job.kind == Kind::Item && job.item == Some(key))
            .map(|(id, _)| id)
            .collect();
        let first = *attempts.first()?;
        let job = self.job(first)?.clone();
        let last = attempts
            .iter()
            .rev()
            .find_map(|id| self.job(*id)?.end)
            .filter(|end| !end.is_retried)?;
        let (asked, start) = (job.asked?.point, job.start?);
        let mut mode = item.mode;
        let acts = if attempts.len() > 1 {
            notes.push(format!(
                "{} ran {} times: from its first start to its end it is kept as it was",
                item.name,
                attempts.len()
            ));
            mode = Mode::Kept;
            vec![Act::Sleep(last.at.saturating_sub(start.point.at))]
        } else {
            self.acts(&job, key, &item.name, last.at, notes)
        };
        let runs = attempts
            .iter()
            .filter_map(|id| self.job(*id))
            .flat_map(runs)
            .collect();
        let lead = match mode {
            Mode::Direct | Mode::Inline | Mode::Kept => start.point.at.saturating_sub(asked.at),
            Mode::Async | Mode::Deferred => self.worker_lead(first, &job),
            Mode::Hrtimer => start
                .point
                .at
                .saturating_sub(asked.at.saturating_add(item.delay_ns)),
        };
        Some(Measured {
            mode,
            asked: asked.at,
            pid: asked.pid,
            runs,
            end: last.at,
            acts,
            lead,
        })
    }

    /// What an item did between its start and its end.
    fn acts(
        &mut self,
        job: &Job,
        key: ItemKey,
        name: &str,
        end: u64,
        notes: &mut Vec<String>,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        let mut at = job.start.map_or(end, |start| start.point.at);
        for off in &job.offs {
            acts.push(Act::Cpu(off.from.saturating_sub(at)));
            let back = off.to.map_or(end, |to| to.at);
            at = back;
            if off.is_preempted() {
                continue;
            }
            acts.extend(self.wait(off, back));
            let by = off
                .wake
                .and_then(|wake| wake.job)
                .and_then(|id| self.job(id));
            let by_item = by.and_then(|by| by.item).filter(|by| *by != key);
            if let Some(by) = by_item {
                let by = self.item_label(by);
                notes.push(format!(
                    "{name} waited for {by}: that is kept as long as it was"
                ));
            }
        }
        acts.push(Act::Cpu(end.saturating_sub(at)));
        acts.retain(|act| !matches!(act, Act::Cpu(0) | Act::Sleep(0)));
        acts
    }

    /// A time without a CPU, but for what others took of it.
    fn wait(&self, off: &Off, back: u64) -> Vec<Act> {
        let Some(wake) = off.wake else {
            return vec![Act::Sleep(back.saturating_sub(off.from))];
        };
        // From the wake-up to the CPU, if that was idle.
        let latency = match off.to {
            Some(to) if to.after == 0 => to.at.saturating_sub(wake.at),
            Some(_) | None => 0,
        };
        let timer = wake.job.and_then(|id| self.job(id)).and_then(|by| {
            let armed = by.timer?.armed.filter(|_| by.kind == Kind::Timer)?;
            let bucket = self.ticks()?.begin(armed.bucket)?;
            Some(Act::Jiffies {
                delta: armed.expires.wrapping_sub(armed.now),
                tail: wake.at.saturating_sub(bucket).saturating_add(latency),
            })
        });
        match timer {
            Some(timer) => vec![timer],
            None => vec![Act::Sleep(
                wake.at.saturating_sub(off.from).saturating_add(latency),
            )],
        }
    }

    /// From the end of a delay to the start, less what others were in the way.
    fn worker_lead(&mut self, id: JobId, job: &Job) -> u64 {
        let start = job.start;
        let since = start.map_or(0, |start| start.point.at);
        let was_idle = start
            .and_then(|start| start.switched_in)
            .is_some_and(|entered| entered.after == 0);
        let carrier = job.carrier.and_then(|carrier| self.job(carrier));
        let began = carrier
            .and_then(|carrier| carrier.start)
            .or(start)
            .filter(|start| start.context == Context::Task);
        let queued = carrier
            .and_then(|carrier| carrier.queue)
            .map_or(0, |queue| queue.queued.at);
        let had_other = began
            .and_then(|began| began.previous)
            .is_some_and(|(_, ended)| ended > queued && queued > 0);
        self.bare_segments(id)
            .iter()
            .filter(|segment| segment.to <= since)
            .filter(|segment| match segment.kind {
                SegmentKind::Queueing | SegmentKind::Timer | SegmentKind::Pickup => true,
                SegmentKind::Worker => !had_other,
                SegmentKind::Runqueue => was_idle,
                SegmentKind::Delay
                | SegmentKind::Jiffies
                | SegmentKind::Wheel
                | SegmentKind::MaxActive
                | SegmentKind::Waiting
                | SegmentKind::Run
                | SegmentKind::Blocked
                | SegmentKind::Preempted => false,
            })
            .map(|segment| segment.nanoseconds())
            .fold(0, u64::saturating_add)
    }

    /// From the queueing of a work by a task to the wake-up of its worker, and what ran before: the median.
    fn handing(&self) -> Option<u64> {
        let works = self.jobs().iter().filter_map(|job| {
            let queue = job
                .queue
                .filter(|_| job.kind == Kind::Work && job.timer.is_none())?;
            let wake = job
                .start?
                .wake
                .filter(|wake| wake.context == Context::Task)?;
            (wake.pid == queue.queued.pid).then(|| wake.at.checked_sub(queue.queued.at))?
        });
        // As much again until it is on the run queue.
        median(works.collect()).map(|nanoseconds| nanoseconds.saturating_mul(2))
    }

    /// The times in which items had the CPU that the starter's initcall wanted.
    fn taken(&self, plan: &Plan, measured: &[Measured]) -> Vec<(u64, u64)> {
        let starter = measured.iter().min_by_key(|item| item.asked);
        let starter = starter.map_or(0, |item| item.pid);
        let offs = self
            .jobs()
            .iter()
            .filter(|job| {
                job.kind == Kind::Initcall
                    && job.start.is_some_and(|start| start.point.pid == starter)
            })
            .flat_map(|job| &job.offs);
        let mut taken = Vec::new();
        for off in offs {
            let Some(back) = off.to.filter(|to| to.after != 0) else {
                continue;
            };
            let from = match (off.is_preempted(), off.wake) {
                (true, _) => off.from,
                (false, Some(wake)) => wake.at,
                (false, None) => continue,
            };
            for (run_from, run_to) in measured.iter().flat_map(|item| &item.runs) {
                let piece = (from.max(*run_from), back.at.min(*run_to));
                if piece.0 < piece.1 && from >= plan.begin && back.at <= plan.end {
                    taken.push(piece);
                }
            }
        }
        taken
    }

    /// What it takes to get to an item of the other kind: the median of those that there are.
    fn leads(&self, measured: &[Measured]) -> Leads {
        let of = |wanted: fn(Mode) -> bool| {
            let leads = measured
                .iter()
                .filter(|item| wanted(item.mode))
                .map(|item| item.lead);
            median(leads.collect())
        };
        let kernel = || {
            let works = self.jobs().iter().filter_map(|job| {
                let queue = job.queue.filter(|_| job.kind == Kind::Work)?;
                let start = job.start?;
                start.switched_in.filter(|entered| entered.after == 0)?;
                start.point.at.checked_sub(queue.queued.at)
            });
            median(works.collect())
        };
        Leads {
            called: of(|mode| mode == Mode::Direct).unwrap_or(0),
            worker: of(|mode| matches!(mode, Mode::Async | Mode::Deferred))
                .or_else(kernel)
                .unwrap_or(WORKER_LEAD_NS),
            handing: self.handing().unwrap_or(0),
        }
    }
}

/// When a job had a CPU.
fn runs(job: &Job) -> Vec<(u64, u64)> {
    let (Some(start), Some(end)) = (job.start, job.end) else {
        return Vec::new();
    };
    let mut runs = Vec::new();
    // From when its task had the CPU on its way to it.
    let entered = start
        .switched_in
        .map_or(start.point.at, |entered| entered.at);
    let mut at = entered.max(job.asked.map_or(0, |asked| asked.point.at));
    for off in &job.offs {
        runs.push((at, off.from));
        at = off.to.map_or(end.at, |to| to.at);
    }
    runs.push((at, end.at));
    runs
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// What is done before each item is armed, by the starter or by what it comes after; and what the starter does behind
/// the last one.
fn gaps(plan: &Plan, measured: &[Measured], taken: &[(u64, u64)]) -> (Vec<u64>, u64) {
    let mut order: Vec<usize> = (0..measured.len()).collect();
    order.sort_by_key(|id| measured.get(*id).map(|item| item.asked));
    let starter = order
        .first()
        .and_then(|id| measured.get(*id))
        .map(|item| item.pid);
    // Less what others took of it, which the simulation has them take again.
    let between = |from: u64, to: u64| {
        let taken = taken
            .iter()
            .filter(|(begin, end)| *begin >= from && *end <= to)
            .map(|(begin, end)| end.saturating_sub(*begin))
            .fold(0, u64::saturating_add);
        to.saturating_sub(from).saturating_sub(taken)
    };
    let mut gaps = vec![0; measured.len()];
    let mut at = plan.begin;
    for id in order {
        let (Some(item), Some(own)) = (plan.items.get(id), measured.get(id)) else {
            continue;
        };
        let before = item
            .after
            .iter()
            .filter_map(|before| measured.get(*before))
            .map(|before| before.end)
            .max()
            .unwrap_or(0);
        let is_of_starter = Some(own.pid) == starter
            && own.asked <= plan.end
            && (before <= at || own.mode == Mode::Direct);
        let from = if is_of_starter {
            at.max(before)
        } else {
            before
        };
        if let Some(gap) = gaps.get_mut(id) {
            *gap = if is_of_starter {
                between(from, own.asked)
            } else {
                own.asked.saturating_sub(from)
            };
        }
        if is_of_starter {
            at = match own.mode {
                Mode::Direct | Mode::Inline => own.end,
                Mode::Async | Mode::Deferred | Mode::Hrtimer | Mode::Kept => own.asked,
            };
        }
    }
    (gaps, between(at, plan.end))
}
