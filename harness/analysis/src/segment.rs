// SPDX-License-Identifier: GPL-2.0-only

//! Splits a job's life into segments, each with its length and why it is so long.
//!
//! In: jobs, as [`Collector`](crate::Collector) found them. Out: [`Segment`]s without a gap between them, from the
//! request to the end. What the trace does not have is left out and never guessed; what lost records could have changed
//! is marked.
//! Source of the rules: `kernel/time/timer.c`, `kernel/workqueue.c`, `drivers/base/dd.c`, Linux 7.3.

use deferinit_trace::text::scaled as duration;
use serde::Serialize;

use crate::analysis::Analysis;
use crate::job::{
    Asked, Context, ExpiredTimer, Hrtimer, ItemKey, Job, JobId, Kind, Off, Start, TimerLife, Wake,
};
use crate::wheel::Wheel;

/// What a job does in a segment, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentKind {
    /// It waits as long as was asked for.
    Delay,
    /// Its delay is made whole jiffies.
    Jiffies,
    /// Its timer waits for the end of its bucket.
    Wheel,
    /// Its bucket's jiffy has begun, and its timer's callback has not.
    Timer,
    /// It is being armed or queued.
    Queueing,
    /// It waits for others of its queue to end.
    MaxActive,
    /// It waits for a worker.
    Worker,
    /// It waits for something that another one has to do.
    Waiting,
    /// Its task waits for a CPU.
    Runqueue,
    /// Its task has a CPU and goes to it.
    Pickup,
    /// It runs.
    Run,
    /// It sleeps, or waits for something.
    Blocked,
    /// Another task has its CPU.
    Preempted,
}

impl SegmentKind {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Delay,
        Self::Jiffies,
        Self::Wheel,
        Self::Timer,
        Self::Queueing,
        Self::MaxActive,
        Self::Worker,
        Self::Waiting,
        Self::Runqueue,
        Self::Pickup,
        Self::Run,
        Self::Blocked,
        Self::Preempted,
    ];

    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Jiffies => "jiffies",
            Self::Wheel => "wheel",
            Self::Timer => "timer",
            Self::Queueing => "queueing",
            Self::MaxActive => "max-active",
            Self::Worker => "worker",
            Self::Waiting => "waiting",
            Self::Runqueue => "runqueue",
            Self::Pickup => "pickup",
            Self::Run => "run",
            Self::Blocked => "blocked",
            Self::Preempted => "preempted",
        }
    }
}

/// A part of a job's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it does.
    pub kind: SegmentKind,
    /// From when.
    pub from: u64,
    /// To when.
    pub to: u64,
    /// The job that it waits for, or that made it wait.
    pub cause: Option<JobId>,
    /// Why it is as long as it is.
    pub why: String,
    /// Whether records were lost meanwhile, so that it may be something else.
    pub is_unknown: bool,
}

impl Segment {
    /// Its length in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// Segments, one behind the other.
struct Chain {
    at: u64,
    segments: Vec<Segment>,
    reasons: Reasons,
}

/// Whether segments say why they are as long as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reasons {
    Given,
    Left,
}

impl Chain {
    /// Goes on to `to`; nothing if that is no later.
    fn to(
        &mut self,
        to: u64,
        kind: SegmentKind,
        cause: Option<JobId>,
        why: impl FnOnce() -> String,
    ) {
        if to <= self.at {
            return;
        }
        self.segments.push(Segment {
            kind,
            from: self.at,
            to,
            cause,
            why: match self.reasons {
                Reasons::Given => why(),
                Reasons::Left => String::new(),
            },
            is_unknown: false,
        });
        self.at = to;
    }
}

impl Analysis<'_> {
    /// The segments of a job's life.
    pub fn segments(&mut self, id: JobId) -> Vec<Segment> {
        self.segments_with(id, Reasons::Given)
    }

    /// The same without the words, which take most of the time.
    pub fn bare_segments(&mut self, id: JobId) -> Vec<Segment> {
        self.is_silent = true;
        let segments = self.segments_with(id, Reasons::Left);
        self.is_silent = false;
        segments
    }

    fn segments_with(&mut self, id: JobId, reasons: Reasons) -> Vec<Segment> {
        let Some(job) = self.job(id).cloned() else {
            return Vec::new();
        };
        let Some(begin) = job.begin() else {
            return Vec::new();
        };
        let mut chain = Chain {
            at: begin,
            segments: Vec::new(),
            reasons,
        };
        if job.kind == Kind::Item {
            self.before_item(&job, &mut chain);
        } else {
            self.before(&job, None, &mut chain);
        }
        self.running(&job, &mut chain);
        let mut segments = chain.segments;
        for segment in &mut segments {
            segment.is_unknown = self.is_touched(segment.from, segment.to);
        }
        segments
    }

    /// From an item's arming to its start.
    fn before_item(&mut self, item: &Job, chain: &mut Chain) {
        let carrier = item.carrier.and_then(|id| self.job(id)).cloned();
        let own = carrier.filter(|carrier| carrier.item.is_some() && carrier.item == item.item);
        if let Some(carrier) = own {
            self.before(&carrier, item.asked.as_ref(), chain);
            if let Some(start) = item.start {
                chain.to(start.point.at, SegmentKind::Pickup, None, || {
                    "its function is called".to_owned()
                });
            }
            return;
        }
        if let Some(pending) = self.pending_of(item) {
            self.before(&pending, item.asked.as_ref(), chain);
        }
        if item.start.is_none() {
            let until = item.cancelled.unwrap_or(self.span().1);
            chain.to(until, SegmentKind::Waiting, None, || match item.cancelled {
                Some(_) => "pending, until it was taken back".to_owned(),
                None => "pending, when the trace ends".to_owned(),
            });
        }
        let Some(start) = item.start else {
            return;
        };
        let carrier = item.carrier.and_then(|id| self.job(id)).cloned();
        // Something general, such as the work that tries deferred probes again, calls it.
        let general = carrier.filter(|carrier| {
            carrier.kind == Kind::Work
                && carrier
                    .queue
                    .is_some_and(|queue| queue.queued.at >= chain.at)
        });
        if let Some(general) = general {
            let by = general.parent;
            let name = self.function_name(general.function);
            let queue = general.queue.map_or(chain.at, |queue| queue.queued.at);
            let after = by.map_or_else(|| "a task".to_owned(), |job| self.label(job));
            chain.to(queue, SegmentKind::Waiting, by, || {
                format!("until {after} queued {name}, which calls it")
            });
            self.before(&general, None, chain);
            let carrier = item.carrier;
            chain.to(start.point.at, SegmentKind::Waiting, carrier, || {
                format!("{name} calls one after the other")
            });
            return;
        }
        if start.context != Context::Task {
            let delay = item.asked.and_then(|asked| asked.delay);
            let nanoseconds = delay.map_or(0, |(nanoseconds, _)| nanoseconds);
            let due = chain.at.saturating_add(nanoseconds).min(start.point.at);
            chain.to(due, SegmentKind::Delay, None, || {
                format!("asked for: {}", duration(nanoseconds))
            });
            chain.to(start.point.at, SegmentKind::Timer, None, || {
                "a high-resolution timer, which is not rounded: its interrupt".to_owned()
            });
            return;
        }
        let woken = start.wake.filter(|wake| wake.at > chain.at);
        if item
            .asked
            .is_some_and(|asked| asked.point.pid == start.point.pid && woken.is_none())
        {
            chain.to(start.point.at, SegmentKind::Queueing, None, || {
                "called by the task that armed it".to_owned()
            });
            return;
        }
        self.woken(&start, item.item, chain, "it waits for its task");
    }

    /// The work or timer that an item was armed with, if it has not started.
    fn pending_of(&self, item: &Job) -> Option<Job> {
        let since = item.asked?.point.at;
        if item.start.is_some() {
            return None;
        }
        self.job(self.pending(item.item?)?)
            .filter(|job| job.begin().is_some_and(|begin| begin >= since))
            .cloned()
    }

    /// From the request for a timer or a work to its start.
    fn before(&mut self, job: &Job, asked: Option<&Asked>, chain: &mut Chain) {
        if let Some(timer) = job.timer {
            self.timer(&timer, asked, chain);
        }
        if let Some(queue) = job.queue {
            let delay = asked.and_then(|asked| asked.delay);
            match delay.filter(|(nanoseconds, _)| *nanoseconds > 0) {
                Some((nanoseconds, _)) if job.timer.is_none() => {
                    let by = job.parent.map(|parent| self.label(parent));
                    let by = by.unwrap_or_else(|| self.task_name(queue.queued.pid));
                    chain.to(queue.queued.at, SegmentKind::Delay, job.parent, || {
                        format!(
                            "asked for: {}; {by} had it queued instead (a flush, or another delay)",
                            duration(nanoseconds)
                        )
                    });
                }
                Some(_) => chain.to(queue.queued.at, SegmentKind::Queueing, None, || {
                    "the timer's callback queues the work".to_owned()
                }),
                None => {
                    let has_timer = job.timer.is_some();
                    chain.to(queue.queued.at, SegmentKind::Queueing, None, || {
                        if has_timer {
                            "the timer's callback queues the work".to_owned()
                        } else {
                            "queued at once: it has no delay".to_owned()
                        }
                    });
                }
            }
            self.queue(job, chain);
        }
    }

    fn timer(&mut self, timer: &TimerLife, asked: Option<&Asked>, chain: &mut Chain) {
        let Some(expired) = timer.expired else {
            return;
        };
        let Some(armed) = timer.armed else {
            chain.to(expired.point.at, SegmentKind::Timer, None, || {
                "armed before the trace".to_owned()
            });
            return;
        };
        let delay = asked.and_then(|asked| asked.delay);
        let jiffies = armed.expires.wrapping_sub(armed.now);
        let at = expired.point.at;
        let times = self.ticks().and_then(|ticks| {
            let of_bucket = ticks.begin(armed.bucket)?;
            Some((ticks.hz, ticks.begin(armed.expires)?, of_bucket))
        });
        let Some((hz, expires_at, bucket_at)) = times else {
            chain.to(at, SegmentKind::Timer, None, || {
                format!(
                    "{jiffies} jiffies and the end of the bucket, which is {} jiffies later",
                    armed.bucket.wrapping_sub(armed.expires)
                )
            });
            return;
        };
        let tick = crate::ticks::tick_ns(hz);
        let bucket_at = bucket_at.min(at);
        let asked_until = match delay {
            Some((nanoseconds, _)) => chain.at.saturating_add(nanoseconds),
            None => expires_at,
        };
        chain.to(
            asked_until.min(bucket_at),
            SegmentKind::Delay,
            None,
            || match delay {
                Some((nanoseconds, _)) => format!("asked for: {}", duration(nanoseconds)),
                None => format!("asked for: {jiffies} jiffies of {}", duration(tick)),
            },
        );
        chain.to(
            expires_at.min(bucket_at),
            SegmentKind::Jiffies,
            None,
            || match delay {
                Some((nanoseconds, jiffies)) => format!(
                    "{} are {jiffies} jiffies of {} at HZ={hz}, rounded up",
                    duration(nanoseconds),
                    duration(tick)
                ),
                None => "rounded up to whole jiffies".to_owned(),
            },
        );
        chain.to(bucket_at, SegmentKind::Wheel, None, || {
            wheel_rule(hz, armed.expires, armed.now, armed.bucket)
        });
        let why = timer_rule(&expired, armed.bucket, armed.is_deferrable());
        chain.to(at, SegmentKind::Timer, None, || why);
    }

    /// From the queue to the start.
    fn queue(&mut self, job: &Job, chain: &mut Chain) {
        let Some(queue) = job.queue else {
            return;
        };
        let name = self.workqueue_name(queue.workqueue);
        if let Some(activated) = queue.activated.filter(|activated| activated.has_waited) {
            let by = activated.by;
            let until = by.map_or_else(|| "another one".to_owned(), |job| self.label(job));
            let limit = self.max_active(&name);
            chain.to(activated.at, SegmentKind::MaxActive, by, || {
                let limit =
                    limit.map_or_else(String::new, |limit| format!(" (max_active {limit})"));
                format!(
                    "{} of queue {name} were active{limit}: until {until} ended",
                    queue.active
                )
            });
        }
        let Some(start) = job.start else {
            return;
        };
        let pool = if queue.cpu < 0 {
            format!("queue {name} is unbound")
        } else {
            format!("queue {name}, workers of CPU {}", queue.cpu)
        };
        if let Some((previous, ended)) = start.previous.filter(|(_, ended)| *ended > chain.at) {
            let label = self.label(previous);
            let worker = self.task_name(start.point.pid);
            chain.to(ended, SegmentKind::Worker, Some(previous), || {
                format!("{pool}; {worker} ran {label} before")
            });
            chain.to(start.point.at, SegmentKind::Pickup, None, || {
                format!("{worker} takes the next on its list")
            });
            return;
        }
        self.woken(&start, job.item, chain, &pool);
    }

    /// A task is woken, gets a CPU, and comes to the job.
    fn woken(&mut self, start: &Start, item: Option<ItemKey>, chain: &mut Chain, waits: &str) {
        let task = self.task_name(start.point.pid);
        if let Some(wake) = start.wake.filter(|wake| wake.at > chain.at) {
            let waker = wake.job.and_then(|job| self.job(job)?.item);
            let by = if waker.is_some() && waker == item {
                "what queued it".to_owned()
            } else {
                self.waker(&wake)
            };
            chain.to(wake.at, SegmentKind::Worker, wake.job, || {
                format!("{waits}; {task} is woken by {by}")
            });
        }
        if let Some(entered) = start.switched_in.filter(|entered| entered.at > chain.at) {
            let busy = self.task_with_job(entered.after, entered.after_job);
            let cpu = start.point.cpu;
            chain.to(entered.at, SegmentKind::Runqueue, entered.after_job, || {
                if entered.after == 0 {
                    format!("{task} is woken, and CPU {cpu} leaves its idle task")
                } else {
                    format!("{task} waits for CPU {cpu}, which ran {busy}")
                }
            });
        }
        if self.has_sched() {
            chain.to(start.point.at, SegmentKind::Pickup, None, || {
                format!("{task} comes to it")
            });
        } else {
            chain.to(start.point.at, SegmentKind::Worker, None, || {
                format!("{waits}; {task} takes it")
            });
        }
    }

    /// From the start to the end.
    fn running(&mut self, job: &Job, chain: &mut Chain) {
        let Some(start) = job.start else {
            return;
        };
        let cpu = start.point.cpu;
        if chain.at < start.point.at {
            // Timers and initcalls, of which nothing was asked before.
            chain.to(start.point.at, SegmentKind::Pickup, None, String::new);
        }
        for off in &job.offs {
            chain.to(off.from, SegmentKind::Run, None, || format!("on CPU {cpu}"));
            self.off(off, chain);
        }
        if let Some(end) = job.end {
            chain.to(end.at, SegmentKind::Run, None, || match end.status {
                Some(status) if status != 0 => format!("on CPU {cpu}; returned {status}"),
                Some(_) | None => format!("on CPU {cpu}"),
            });
        }
    }

    fn off(&mut self, off: &Off, chain: &mut Chain) {
        let end = off.to.map_or_else(|| self.span().1, |to| to.at);
        if off.is_preempted() {
            let by = self.task_with_job(off.next, off.next_job);
            chain.to(end, SegmentKind::Preempted, off.next_job, || {
                format!("the CPU went to {by}")
            });
            return;
        }
        let place = off.function.map(|function| self.function_name(function));
        let inside = place.map_or_else(String::new, |place| format!("in {place}, "));
        let state = state_word(off.state);
        match off.wake {
            Some(wake) => {
                let by = self.waker(&wake);
                chain.to(wake.at, SegmentKind::Blocked, wake.job, || {
                    format!("{inside}{state}; woken by {by}")
                });
                let after = off.to.map_or(0, |to| to.after);
                let busy = self.task_with_job(after, off.to.and_then(|to| to.after_job));
                let cause = off.to.and_then(|to| to.after_job);
                chain.to(end, SegmentKind::Runqueue, cause, || {
                    if after == 0 {
                        "the CPU leaves its idle task".to_owned()
                    } else {
                        format!("the CPU ran {busy}")
                    }
                });
            }
            None => {
                let is_over = off.to.is_some();
                chain.to(end, SegmentKind::Blocked, None, || {
                    if is_over {
                        format!("{inside}{state}")
                    } else {
                        format!("{inside}{state}, until the end of the trace")
                    }
                });
            }
        }
    }

    /// What woke a task.
    fn waker(&mut self, wake: &Wake) -> String {
        if let (None, Some(Hrtimer { function, slack })) = (wake.job, wake.hrtimer) {
            let name = self.function_name(function);
            return match slack {
                Some(slack) if slack > 0 => {
                    format!(
                        "{name}, a high-resolution timer with {} of slack",
                        duration(slack)
                    )
                }
                Some(_) | None => format!("{name}, a high-resolution timer"),
            };
        }
        if let Some(id) = wake.job {
            let label = self.label(id);
            let job = self.job(id).filter(|job| job.kind == Kind::Timer);
            let armed = job.and_then(|job| job.timer?.armed);
            return match armed {
                Some(armed) => format!(
                    "{label}, a timer of {} jiffies whose bucket ends {} later",
                    armed.expires.wrapping_sub(armed.now),
                    armed.bucket.wrapping_sub(armed.expires)
                ),
                None => label,
            };
        }
        match wake.context {
            Context::Task => self.task_name(wake.pid),
            Context::Soft => "a soft interrupt".to_owned(),
            Context::Hard => "an interrupt".to_owned(),
        }
    }

    fn task_with_job(&mut self, pid: i32, job: Option<JobId>) -> String {
        let task = self.task_name(pid);
        match job {
            Some(job) => {
                let label = self.label(job);
                format!("{task} ({label})")
            }
            None => task,
        }
    }
}

/// Why a timer's bucket is where it is.
fn wheel_rule(hz: u32, expires: u64, now: u64, bucket: u64) -> String {
    let wheel = Wheel::of_hz(hz);
    let predicted = wheel.bucket(expires, now);
    if predicted.expiry != bucket {
        return format!(
            "jiffy {expires} goes into the bucket of {bucket}, by the clock of its base"
        );
    }
    let (from, to) = wheel.distances(predicted.level);
    let tick = crate::ticks::tick_ns(hz);
    format!(
        "{} jiffies away: level {} ({from} to {} jiffies), buckets of {} ({}); jiffy {expires} expires with {bucket}",
        expires.wrapping_sub(now),
        predicted.level,
        to.saturating_sub(1),
        predicted.width,
        duration(tick.saturating_mul(predicted.width))
    )
}

fn timer_rule(expired: &ExpiredTimer, bucket: u64, is_deferrable: bool) -> String {
    let late = expired.now.wrapping_sub(bucket);
    if late == 0 {
        return match expired.before {
            0 => "softirq: the first timer of its jiffy".to_owned(),
            1 => "softirq: after 1 other timer of its jiffy".to_owned(),
            before => format!("softirq: after {before} other timers of its jiffy"),
        };
    }
    if is_deferrable {
        return format!("deferrable: {late} jiffies until a tick of a CPU that is not idle");
    }
    format!("missed its bucket by {late} jiffies: the timer softirq did not run")
}

/// `TASK_*`, `include/linux/sched.h`, Linux 7.3.
fn state_word(state: u64) -> &'static str {
    match state & 0xff {
        0x01 => "sleeping",
        0x02 => "in uninterruptible sleep",
        0x04 => "stopped",
        0x08 => "traced",
        0x10 | 0x20 => "exiting",
        0x40 => "parked",
        0x80 => "idle",
        _ => "waiting",
    }
}
