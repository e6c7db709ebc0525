// SPDX-License-Identifier: GPL-2.0-only

//! Shows what the phases of a run and its items cost: as plain data for programs, and as tables for people.

use std::fmt::Write as _;

use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use deferinit_trace::text::scaled;
use serde::Serialize;

use super::Cost;
use crate::analysis::Lack;
use crate::explain::{Explained, Look};
use crate::segment::SegmentKind;

/// What a run cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// By phase, in order.
    pub phases: Vec<PhaseCost>,
    /// By item, in the order of their starts.
    pub items: Vec<ItemCost>,
    /// What is not known, for want of an event.
    pub lacks: Vec<Lack>,
    /// Whether records were lost, so that there may have been more of everything.
    pub is_cut: bool,
}

/// What a phase cost; times in nanoseconds, absent where the trace does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PhaseCost {
    /// Its name.
    pub phase: String,
    /// In the module's init.
    pub init_ns: Option<u64>,
    /// From the begin of init to the end of the last item.
    pub done_ns: Option<u64>,
    /// By the task that the module's init runs in.
    pub cpu_init_ns: Option<u64>,
    /// By kernel workers.
    pub cpu_workers_ns: Option<u64>,
    /// By all other tasks.
    pub cpu_others_ns: Option<u64>,
    /// Wake-ups of kernel workers.
    pub worker_wakeups: Option<u64>,
    /// Of all tasks, on all CPUs.
    #[serde(flatten)]
    pub all: Cost,
}

/// What an item cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ItemCost {
    /// Its name, with the phase's where there are several.
    pub name: String,
    /// What runs it.
    pub mode: Option<String>,
    /// From its start to its end.
    pub elapsed_ns: u64,
    /// Of that, on a CPU.
    pub cpu_ns: Option<u64>,
    /// Of that, asleep or waiting for something.
    pub blocked_ns: Option<u64>,
    /// Of that, ready to run while another task had the CPU.
    pub preempted_ns: Option<u64>,
}

impl ItemCost {
    /// None of an item that did not start and end.
    #[must_use]
    pub fn of(job: &Explained) -> Option<Self> {
        let (start, end) = job.start_ns.zip(job.end_ns)?;
        let since = |kinds: &[SegmentKind]| -> u64 {
            let segments = job.segments.iter();
            segments
                .filter(|segment| segment.from_ns >= start && kinds.contains(&segment.kind))
                .map(|segment| segment.ns)
                .sum()
        };
        let is_known = job.segments.iter().all(|segment| !segment.is_unknown);
        let known = |kinds: &[SegmentKind]| is_known.then(|| since(kinds));
        Some(Self {
            name: job.name.clone(),
            mode: job.mode.clone(),
            elapsed_ns: end.saturating_sub(start),
            cpu_ns: known(&[SegmentKind::Run]),
            blocked_ns: known(&[SegmentKind::Blocked, SegmentKind::Waiting]),
            preempted_ns: known(&[SegmentKind::Preempted, SegmentKind::Runqueue]),
        })
    }
}

/// A line of the table: what it is called, whether it is a time, and its number of a phase.
type Line = (&'static str, bool, fn(&PhaseCost) -> Option<u64>);

const LINES: [Line; 12] = [
    ("init returns after", true, |phase| phase.init_ns),
    ("the last item has ended after", true, |phase| phase.done_ns),
    ("CPU time", true, |phase| {
        phase.all.cpu_ns.as_ref().map(|times| times.values().sum())
    }),
    ("  of the task that init runs in", true, |phase| {
        phase.cpu_init_ns
    }),
    ("  of workers", true, |phase| phase.cpu_workers_ns),
    ("  of others", true, |phase| phase.cpu_others_ns),
    ("context switches", false, |phase| phase.all.switches),
    ("wake-ups", false, |phase| {
        phase
            .all
            .wakeups
            .as_ref()
            .map(|wakeups| wakeups.values().sum())
    }),
    ("  of workers", false, |phase| phase.worker_wakeups),
    ("timers expired", false, |phase| phase.all.timers),
    ("high-resolution timers expired", false, |phase| {
        phase.all.hrtimers
    }),
    ("records of the trace", false, |phase| {
        Some(phase.all.records)
    }),
];

impl Costs {
    /// Phases side by side, with the difference if there are two; then a row for each item.
    #[must_use]
    pub fn tables(&self, look: Look) -> String {
        let mut out = phases(&self.phases, look);
        if !self.items.is_empty() {
            out.push('\n');
            out.push_str(&items(&self.items, look));
        }
        if self.is_cut {
            out.push_str("\nRecords were lost: of everything there may have been more.\n");
        }
        for lack in &self.lacks {
            // Into memory, where nothing fails.
            let _ = write!(
                out,
                "\nNot recorded: {}, which tell {} (`trace: {{ events: [{}] }}` in a scenario records them)",
                lack.events.join(", "),
                lack.tells,
                lack.records
            );
        }
        if !self.lacks.is_empty() {
            out.push('\n');
        }
        out
    }
}

fn phases(phases: &[PhaseCost], look: Look) -> String {
    let mut header = vec![String::new()];
    header.extend(phases.iter().map(|phase| phase.phase.clone()));
    if let [first, second] = phases {
        header.push(format!("{} - {}", second.phase, first.phase));
    }
    let rows = LINES.iter().map(|(name, is_time, number)| {
        let show = |value: u64| match is_time {
            true => scaled(value),
            false => value.to_string(),
        };
        let values: Vec<Option<u64>> = phases.iter().map(number).collect();
        let mut row = vec![(*name).to_owned()];
        row.extend(
            values
                .iter()
                .map(|value| value.map_or_else(|| "?".to_owned(), show)),
        );
        if let [first, second] = values[..] {
            row.push(first.zip(second).map_or_else(
                || "?".to_owned(),
                |(first, second)| match second.checked_sub(first) {
                    Some(0) => "0".to_owned(),
                    Some(more) => format!("+{}", show(more)),
                    None => format!("-{}", show(first - second)),
                },
            ));
        }
        row
    });
    table(header, rows.collect(), 1, look)
}

fn items(items: &[ItemCost], look: Look) -> String {
    let header = ["Item", "Mode", "Elapsed", "CPU", "Blocked", "Preempted"];
    let show = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), scaled);
    let rows = items.iter().map(|item| {
        vec![
            item.name.clone(),
            item.mode.clone().unwrap_or_default(),
            scaled(item.elapsed_ns),
            show(item.cpu_ns),
            show(item.blocked_ns),
            show(item.preempted_ns),
        ]
    });
    table(header.map(str::to_owned).to_vec(), rows.collect(), 2, look)
}

/// A table whose columns from `numbers` on stand to the right.
fn table(header: Vec<String>, rows: Vec<Vec<String>>, numbers: usize, look: Look) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if look.has_colour {
        let header = header.into_iter().map(Cell::new);
        table
            .enforce_styling()
            .set_header(header.map(|cell| cell.add_attribute(Attribute::Bold)));
    } else {
        table.set_header(header);
    }
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}
