// SPDX-License-Identifier: GPL-2.0-only

//! Renders the records that show a violation.
//!
//! In: parts of a timeline. Out: one line for each record, as in `cpu0 1.663633123 deferred_item_started id=3`.
//! Does not: choose which records matter.

use deferinit_timeline::{
    Attempt, AttemptEnd, Function, FunctionSpan, InitSpan, ItemEvent, Moment, TraceNanos,
};

use crate::items::NamedItem;

/// Most lines one violation lists.
pub(crate) const MOST_LINES: usize = 16;

/// A record, to be sorted by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    recorded: TraceNanos,
    cpu: u32,
    text: String,
}

impl Line {
    /// Any record.
    pub(crate) fn new(moment: Moment, text: impl Into<String>) -> Self {
        Self {
            recorded: moment.recorded,
            cpu: moment.cpu,
            text: text.into(),
        }
    }

    /// A marker of the agent.
    pub(crate) fn marker(moment: Moment, marker: &str) -> Self {
        Self::new(moment, format!("deferinit: {marker}"))
    }

    /// An item's event; none if the item has no such event.
    pub(crate) fn item(item: &NamedItem<'_>, event: ItemEvent) -> Option<Self> {
        let moment = item.moment(event)?;
        let fields = match event {
            ItemEvent::Armed => item.armed.map_or(String::new(), |armed| {
                format!(
                    " delay_ns={} delay_jiffies={}",
                    armed.delay_ns, armed.delay_jiffies
                )
            }),
            ItemEvent::Queued => item.queued.map_or(String::new(), |queued| {
                format!(" expires={}", queued.expires)
            }),
            ItemEvent::Ended => item
                .ended
                .map_or(String::new(), |ended| format!(" error={}", ended.status)),
            ItemEvent::Started | ItemEvent::Cancelled => String::new(),
        };
        Some(Self::item_event(item, event.event_name(), moment, &fields))
    }

    /// All of an item's events.
    pub(crate) fn items_all(item: &NamedItem<'_>) -> Vec<Self> {
        let once = ItemEvent::ALL
            .into_iter()
            .filter_map(|event| Self::item(item, event));
        let attempts = (1..)
            .zip(&item.attempts)
            .flat_map(|(number, attempt)| Self::attempt(item, number, attempt));
        once.chain(attempts).collect()
    }

    /// Every time an item was to be called again.
    pub(crate) fn retries(item: &NamedItem<'_>) -> Vec<Self> {
        (1..)
            .zip(&item.attempts)
            .filter_map(|(number, attempt)| Self::end(item, number, attempt.end?))
            .collect()
    }

    /// The events of one attempt, counted from 1, but not the item's end.
    pub(crate) fn attempt(item: &NamedItem<'_>, number: usize, attempt: &Attempt) -> Vec<Self> {
        let name = ItemEvent::Started.event_name();
        let started = Self::item_event(item, name, attempt.started, "");
        let end = attempt.end.and_then(|end| Self::end(item, number, end));
        [Some(started), end].into_iter().flatten().collect()
    }

    fn end(item: &NamedItem<'_>, number: usize, end: AttemptEnd) -> Option<Self> {
        let AttemptEnd::Retried(returned) = end else {
            return None;
        };
        let fields = format!(" attempt={number} error={}", returned.status);
        let name = "deferred_item_retried";
        Some(Self::item_event(item, name, returned.moment, &fields))
    }

    fn item_event(item: &NamedItem<'_>, name: &str, moment: Moment, fields: &str) -> Self {
        let (id, at) = (item.label.number(), moment.at.0);
        Self::new(moment, format!("{name} id={id} time_ns={at}{fields}"))
    }

    /// Both records of a call.
    pub(crate) fn call(function: &Function, span: &FunctionSpan) -> Vec<Self> {
        let (name, depth, pid) = (&function.name, span.depth, span.pid);
        let (called, returned) = (span.called.0, span.returned.0);
        vec![
            Self {
                recorded: span.entry_recorded,
                cpu: span.entry_cpu,
                text: format!("funcgraph_entry {name} depth={depth} pid={pid}"),
            },
            Self {
                recorded: span.exit_recorded,
                cpu: span.exit_cpu,
                text: format!(
                    "funcgraph_exit {name} depth={depth} pid={pid} calltime={called} rettime={returned}"
                ),
            },
        ]
    }

    /// Both records of the module's init.
    pub(crate) fn init(init: &InitSpan) -> Vec<Self> {
        let mut lines = vec![Self::new(init.start, "initcall_start")];
        if let Some(finish) = init.finish {
            lines.push(Self::new(
                finish.moment,
                format!("initcall_finish ret={}", finish.status),
            ));
        }
        lines
    }
}

/// The lines by time, each once, at most [`MOST_LINES`] of them and the number of those left out.
pub(crate) fn render(mut lines: Vec<Line>) -> Vec<String> {
    lines.sort();
    lines.dedup();
    let left_out = lines.len().saturating_sub(MOST_LINES);
    let mut rendered: Vec<String> = lines
        .iter()
        .take(MOST_LINES)
        .map(|line| format!("cpu{} {} {}", line.cpu, line.recorded, line.text))
        .collect();
    if left_out > 0 {
        rendered.push(format!("and {left_out} more records"));
    }
    rendered
}
