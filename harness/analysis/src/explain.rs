// SPDX-License-Identifier: GPL-2.0-only

//! Shows jobs with their segments: as plain data for programs, and as text for people.
//!
//! In: an [`Analysis`], and which jobs are wanted. Out: an [`Explanation`], whose tables are text.

use std::fmt::Write as _;

use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets,
};
use deferinit_trace::glob::Glob;
use deferinit_trace::text::scaled as duration;
use serde::Serialize;

use crate::analysis::{Analysis, Lack};
use crate::collect::Loss;
use crate::graph::kind_word;
use crate::job::{ItemKey, Job, JobId, Kind};
use crate::oracle::MissKind;
use crate::segment::{Segment, SegmentKind};

/// Which jobs are wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The items; all works, initcalls and timers if there are none.
    Items,
    /// All jobs.
    All,
    /// Those with this name: of an item, its id, or a function; with wildcards.
    Named(String),
}

/// What there is to say of some jobs.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Ticks a second, if that is known.
    pub hz: Option<u32>,
    /// Records of the trace.
    pub records: u64,
    /// The jobs, in the order in which they began.
    pub jobs: Vec<Explained>,
    /// How many jobs were wanted; more than `jobs` if those were cut.
    pub wanted: usize,
    /// What became of all timers.
    pub wheel: Wheel,
    /// Which events have no record.
    pub lacks: Vec<Lack>,
    /// Where records are lost.
    pub losses: Vec<Loss>,
}

/// One job.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Its number in the trace.
    pub job: u32,
    /// `item`, `work`, `timer`, `initcall`.
    pub kind: &'static str,
    /// The item's name, or the function.
    pub name: String,
    /// The item's id.
    pub item: Option<u32>,
    /// The item's mode.
    pub mode: Option<String>,
    /// Which attempt of its item it is.
    pub attempt: u32,
    /// When it was asked for, or first seen.
    pub begin_ns: u64,
    /// When it started.
    pub start_ns: Option<u64>,
    /// When it ended.
    pub end_ns: Option<u64>,
    /// When it was taken back.
    pub cancelled_ns: Option<u64>,
    /// How much later than it was asked for it started, beyond its delay.
    pub late_ns: Option<i64>,
    /// What it returned.
    pub status: Option<i64>,
    /// Its life.
    pub segments: Vec<ShownSegment>,
}

/// One segment.
#[derive(Clone, Debug, Serialize)]
pub struct ShownSegment {
    /// What the job does.
    pub kind: SegmentKind,
    /// From when.
    pub from_ns: u64,
    /// How long.
    pub ns: u64,
    /// The job that is the cause, by its number.
    pub cause: Option<u32>,
    /// What that is called.
    pub by: Option<String>,
    /// The rule behind it.
    pub why: String,
    /// Whether records were lost meanwhile.
    pub is_unknown: bool,
}

/// The timers, held against the wheel's rule.
#[derive(Clone, Debug, Serialize)]
pub struct Wheel {
    /// Timers whose bucket was held against the rule as they were armed.
    pub armed: u64,
    /// Timers that were held against their bucket as they expired.
    pub expired: u64,
    /// Those that may be late.
    pub deferrable: u64,
    /// Those that were armed before the trace.
    pub unknown: u64,
    /// How many miss.
    pub missed: u64,
    /// The first of those.
    pub misses: Vec<ShownMiss>,
    /// CPUs that the trace has records of.
    pub cpus: usize,
}

impl Wheel {
    /// Whether a timer misses that no machine but the kernel can have kept from its bucket. With several CPUs one of
    /// them may count a jiffy before another one has its turn.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let counts = |miss: &ShownMiss| match miss.kind {
            MissKind::Bucket | MissKind::Turn => true,
            MissKind::Softirq => self.cpus == 1,
        };
        self.misses
            .iter()
            .any(|miss| !miss.is_unknown && counts(miss))
    }
}

/// A timer that misses.
#[derive(Clone, Debug, Serialize)]
pub struct ShownMiss {
    /// When.
    pub at_ns: u64,
    /// What it calls; none if it is one that was armed only.
    pub name: Option<String>,
    /// In what.
    pub kind: MissKind,
    /// The jiffy that the rule predicts.
    pub predicted: u64,
    /// The jiffy that the trace has.
    pub found: u64,
    /// Whether records were lost then.
    pub is_unknown: bool,
}

/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether it carries colour.
    pub has_colour: bool,
    /// The most columns of a table; none for as many as it takes.
    pub width: Option<u16>,
}

impl Look {
    /// What makes text bold, and what ends it.
    pub(crate) fn bold(self) -> (&'static str, &'static str) {
        if self.has_colour {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }
}

impl Analysis<'_> {
    /// Explains the wanted jobs: at most `limit`, the latest first where they are cut.
    pub fn explain(&mut self, wanted: &Wanted, limit: Option<usize>) -> Explanation {
        let mut ids = self.wanted(wanted);
        let count = ids.len();
        if let Some(limit) = limit.filter(|limit| *limit < count) {
            ids.sort_by_key(|id| std::cmp::Reverse(self.weight(*id)));
            ids.truncate(limit);
        }
        ids.sort_by_key(|id| (self.job(*id).and_then(Job::begin), *id));
        Explanation {
            hz: self.ticks().map(|ticks| ticks.hz),
            records: self.records(),
            jobs: ids
                .into_iter()
                .filter_map(|id| self.explained(id))
                .collect(),
            wanted: count,
            wheel: self.shown_wheel(),
            lacks: self.lacks().to_vec(),
            losses: self.losses().to_vec(),
        }
    }

    fn wanted(&mut self, wanted: &Wanted) -> Vec<JobId> {
        let has_items = self.jobs().iter().any(|job| job.kind == Kind::Item);
        let all: Vec<JobId> = self.ids().map(|(id, _)| id).collect();
        match wanted {
            Wanted::All => all,
            Wanted::Items if !has_items => all,
            Wanted::Items => {
                let is_item = |id: &JobId| self.job(*id).is_some_and(|job| job.kind == Kind::Item);
                all.into_iter().filter(is_item).collect()
            }
            Wanted::Named(name) => {
                let glob = Glob::new(name);
                let is_it = |id: &JobId| self.is_named(*id, name, &glob);
                all.into_iter().filter(is_it).collect()
            }
        }
    }

    fn is_named(&mut self, id: JobId, name: &str, glob: &Glob) -> bool {
        let Some((kind, item, function)) =
            self.job(id).map(|job| (job.kind, job.item, job.function))
        else {
            return false;
        };
        match (kind, item) {
            (Kind::Item, Some(item)) => self.is_item_named(item, name, glob),
            // Of what an item was armed with, the item says all there is to say.
            (Kind::Work | Kind::Timer, Some(_)) => false,
            (_, _) => glob.matches(&self.function_name(function)),
        }
    }

    fn is_item_named(&self, item: ItemKey, name: &str, glob: &Glob) -> bool {
        let label = self.item_label(item);
        let own = label.rsplit('/').next().unwrap_or(&label);
        item.id.to_string() == name || glob.matches(&label) || glob.matches(own)
    }

    /// What makes a job worth showing: how late it started, or how long it took.
    fn weight(&self, id: JobId) -> u64 {
        let Some(job) = self.job(id) else {
            return 0;
        };
        match self.lateness(job) {
            Some(late) => late.unsigned_abs(),
            None => job
                .last()
                .unwrap_or(0)
                .saturating_sub(job.begin().unwrap_or(0)),
        }
    }

    /// How much later than it was asked for a job started.
    #[must_use]
    pub fn lateness(&self, job: &Job) -> Option<i64> {
        let start = i128::from(job.start?.point.at);
        let due = match (job.asked, job.timer.and_then(|timer| timer.armed)) {
            (Some(asked), _) => {
                let delay = match asked.delay {
                    Some((nanoseconds, _)) => nanoseconds,
                    // Called again: by its work's timer, if that has one.
                    None => self.own_delay(job).unwrap_or(0),
                };
                i128::from(asked.point.at) + i128::from(delay)
            }
            (None, Some(armed)) => {
                let delay = armed.expires.wrapping_sub(armed.now);
                i128::from(armed.point.at) + i128::from(self.ticks()?.nanoseconds(delay))
            }
            (None, None) => i128::from(job.queue?.queued.at),
        };
        i64::try_from(start - due).ok()
    }

    /// What the timer of an item's own work was armed with, in nanoseconds.
    fn own_delay(&self, item: &Job) -> Option<u64> {
        let carrier = self.job(item.carrier?)?;
        let armed = carrier.timer?.armed?;
        let is_own = carrier.item == item.item;
        let ticks = self.ticks().filter(|_| is_own)?;
        Some(ticks.nanoseconds(armed.expires.wrapping_sub(armed.now)))
    }

    fn explained(&mut self, id: JobId) -> Option<Explained> {
        let job = self.job(id)?.clone();
        let name = self.label(id);
        let segments = self.segments(id);
        let segments = segments.into_iter().map(|segment| self.shown(segment));
        let segments = segments.collect();
        let mode = job.item.and_then(|item| self.item_mode(item));
        Some(Explained {
            job: id.number(),
            kind: kind_word(job.kind),
            name,
            item: job.item.map(|item| item.id),
            mode: mode.map(str::to_owned),
            attempt: job.attempt,
            begin_ns: job.begin()?,
            start_ns: job.start.map(|start| start.point.at),
            end_ns: job.end.map(|end| end.at),
            cancelled_ns: job.cancelled,
            late_ns: self.lateness(&job),
            status: job.end.and_then(|end| end.status),
            segments,
        })
    }

    fn shown(&mut self, segment: Segment) -> ShownSegment {
        ShownSegment {
            kind: segment.kind,
            from_ns: segment.from,
            ns: segment.nanoseconds(),
            cause: segment.cause.map(JobId::number),
            by: segment.cause.map(|job| self.label(job)),
            why: segment.why,
            is_unknown: segment.is_unknown,
        }
    }

    fn shown_wheel(&mut self) -> Wheel {
        let account = self.wheel().clone();
        let misses = account.misses.iter().map(|miss| ShownMiss {
            at_ns: miss.at,
            name: miss.job.map(|job| self.label(job)),
            kind: miss.kind,
            predicted: miss.predicted,
            found: miss.found,
            is_unknown: self.is_touched(miss.at, miss.at),
        });
        Wheel {
            misses: misses.collect(),
            cpus: self.cpus(),
            armed: account.armed,
            expired: account.expired,
            deferrable: account.deferrable,
            unknown: account.unknown,
            missed: account.missed,
        }
    }
}

/// The columns of times in the overview: a heading, and the segments that are added up in it.
const COLUMNS: [(&str, &[SegmentKind]); 7] = [
    ("Delay", &[SegmentKind::Delay]),
    ("Rounding", &[SegmentKind::Jiffies, SegmentKind::Wheel]),
    ("Timer", &[SegmentKind::Timer, SegmentKind::Queueing]),
    ("Queue", &[SegmentKind::MaxActive]),
    (
        "Worker",
        &[
            SegmentKind::Worker,
            SegmentKind::Waiting,
            SegmentKind::Pickup,
        ],
    ),
    ("Run", &[SegmentKind::Run]),
    ("Blocked", &[SegmentKind::Blocked]),
];

/// Where the first column of times is.
const LATE_COLUMN: usize = 2;

/// Where the column of [`NO_CPU`] is.
const CPU_COLUMN: usize = 8;

/// The segments that are times without a CPU, whether before or after the start.
const NO_CPU: [SegmentKind; 2] = [SegmentKind::Runqueue, SegmentKind::Preempted];

impl Explained {
    /// How long it is in segments of these kinds; none if it has none of them.
    fn sum(&self, kinds: &[SegmentKind]) -> Option<u64> {
        let mut found = self
            .segments
            .iter()
            .filter(|segment| kinds.contains(&segment.kind))
            .map(|segment| segment.ns)
            .peekable();
        found.peek()?;
        Some(found.fold(0, u64::saturating_add))
    }

    /// What made it late most: the longest segment before its start that nobody asked for.
    fn main_reason(&self) -> Option<&ShownSegment> {
        let start = self.start_ns.unwrap_or(u64::MAX);
        self.segments
            .iter()
            .filter(|segment| segment.from_ns < start && segment.kind != SegmentKind::Delay)
            .max_by_key(|segment| (segment.ns, std::cmp::Reverse(segment.from_ns)))
    }
}

impl Explanation {
    /// A row per job, with the longest of what made it late.
    #[must_use]
    pub fn overview(&self, look: Look) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = look.width {
            table.set_width(width);
        }
        let mut header = vec!["Job", "Mode", "Late"];
        header.extend(COLUMNS.iter().map(|(name, _)| *name));
        header.insert(CPU_COLUMN, "CPU");
        header.push("Most of it");
        let header = header.into_iter().map(Cell::new);
        if look.has_colour {
            table
                .enforce_styling()
                .set_header(header.map(|cell| cell.add_attribute(Attribute::Bold)));
        } else {
            table.set_header(header);
        }
        table.add_rows(self.jobs.iter().map(row));
        let last = table.column_count().saturating_sub(1);
        for (number, column) in table.column_iter_mut().take(last).enumerate() {
            column.set_constraint(ColumnConstraint::ContentWidth);
            if number >= LATE_COLUMN {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        if self.jobs.len() < self.wanted {
            let _ = writeln!(
                text,
                "\n{} of {} jobs, the latest",
                self.jobs.len(),
                self.wanted
            );
        }
        text
    }

    /// A line per segment of each job.
    #[must_use]
    pub fn details(&self, look: Look) -> String {
        let mut text = String::new();
        for job in &self.jobs {
            if !text.is_empty() {
                text.push('\n');
            }
            detail(&mut text, job, look);
        }
        text
    }

    /// What holds for all of the trace: the wheel, lost records, events that are not in it.
    #[must_use]
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        let wheel = &self.wheel;
        // Into memory, where nothing fails.
        if wheel.armed > 0 || wheel.expired > 0 {
            let hz = self
                .hz
                .map_or_else(|| "HZ unknown".to_owned(), |hz| format!("HZ={hz}"));
            let _ = writeln!(
                text,
                "timer wheel ({hz}): {} timers armed and {} expired by the rule's prediction, {} missed; \
                 {} deferrable, {} armed before the trace",
                wheel.armed, wheel.expired, wheel.missed, wheel.deferrable, wheel.unknown
            );
        }
        for miss in &wheel.misses {
            let name = miss.name.as_deref().unwrap_or("a timer");
            let what = match miss.kind {
                MissKind::Bucket => "is put into the bucket of jiffy",
                MissKind::Softirq => "expires by its turn, but late, in jiffy",
                MissKind::Turn => "expires out of its turn in jiffy",
            };
            let unknown = if miss.is_unknown {
                " (records were lost then)"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {}.{:09}: {name} {what} {}; the rule predicts {}{unknown}",
                miss.at_ns / 1_000_000_000,
                miss.at_ns % 1_000_000_000,
                miss.found,
                miss.predicted
            );
        }
        if !self.losses.is_empty() {
            let _ = writeln!(
                text,
                "records were lost at {} places: what is marked ? is not known",
                self.losses.len()
            );
        }
        for lack in &self.lacks {
            let _ = writeln!(
                text,
                "not in this trace: {}, so it is not known {}\n  \
                 (they are recorded with `trace: {{ events: [{}] }}` in a scenario, and by `deferinit trace record -e {}`)",
                lack.events.join(", "),
                lack.tells,
                lack.records,
                lack.records
            );
        }
        text
    }
}

fn row(job: &Explained) -> Vec<Cell> {
    let late = job.late_ns.map_or_else(String::new, signed);
    let mut cells = vec![
        Cell::new(&job.name),
        Cell::new(job.mode.as_deref().unwrap_or(job.kind)),
        Cell::new(late),
    ];
    for (_, kinds) in COLUMNS {
        cells.push(Cell::new(job.sum(kinds).map_or_else(String::new, duration)));
    }
    let no_cpu = job.sum(&NO_CPU).map_or_else(String::new, duration);
    cells.insert(CPU_COLUMN, Cell::new(no_cpu));
    let reason = match (job.main_reason(), job.cancelled_ns) {
        (Some(reason), _) => {
            let mark = if reason.is_unknown { "?" } else { "" };
            let by = reason
                .by
                .as_ref()
                .map_or_else(String::new, |by| format!(" ({by})"));
            format!("{}{mark} {}{by}", reason.kind.word(), duration(reason.ns))
        }
        (None, Some(_)) => "taken back".to_owned(),
        (None, None) => String::new(),
    };
    cells.push(Cell::new(reason));
    cells
}

fn detail(text: &mut String, job: &Explained, look: Look) {
    let (bold, plain) = look.bold();
    let mode = job.mode.as_deref().unwrap_or(job.kind);
    let late = match job.late_ns {
        Some(late) if late < 0 => format!(", {} early", signed(late.saturating_neg())),
        Some(late) => format!(", {} late", signed(late)),
        None => String::new(),
    };
    // Into memory, where nothing fails.
    let _ = writeln!(text, "{bold}{}{plain} ({mode}){late}", job.name);
    for segment in &job.segments {
        let mark = if segment.is_unknown { "?" } else { "" };
        let since = segment.from_ns.saturating_sub(job.begin_ns);
        let _ = writeln!(
            text,
            "  +{:<11} {:<10} {:>11}{:1}  {}",
            duration(since),
            segment.kind.word(),
            duration(segment.ns),
            mark,
            segment.why
        );
    }
    if let Some(cancelled) = job.cancelled_ns {
        let since = cancelled.saturating_sub(job.begin_ns);
        let _ = writeln!(text, "  +{:<11} taken back", duration(since));
    } else if job.start_ns.is_none() {
        let _ = writeln!(text, "  still pending when the trace ends");
    } else if job.end_ns.is_none() {
        let _ = writeln!(text, "  still running when the trace ends");
    }
}

fn signed(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    format!("{sign}{}", duration(nanoseconds.unsigned_abs()))
}
