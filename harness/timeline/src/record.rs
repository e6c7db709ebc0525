// SPDX-License-Identifier: GPL-2.0-only

//! The module's own record of its items: parses it, and holds it against the trace.
//!
//! In: the text of the module's debugfs file `results`, untrusted, and a phase's items from the trace. Out: an
//! [`ItemRecord`] for each line; a line that is none, and each difference, is an anomaly.
//! Pure and bounded: at most one line for each item a load can have, no panic on any text.
//! Source: `module/files.c`: a header line, then a line for each item by id, with tabs between and `-` for what did
//! not happen. Module and trace have each time from the same reading of the clock, so both have it to the nanosecond.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::assemble::CLOCK_SKEW;
use crate::item::is_status;
use crate::{
    Anomalies, FinishCause, Item, ItemEvent, ItemRecord, MAX_ITEMS, Moment, PhaseSpan, TraceNanos,
};

/// The first line of the file.
const HEADER: &str = "id\tname\tmode\tarmed_ns\texpires_jiffies\tqueued_ns\tstarted_ns\tended_ns\tcancelled_ns\tcpu\tpid\t\
    attempts\terrno";

/// What stands for something that did not happen.
const NOTHING: &str = "-";

/// The most bytes of a name: 31 in the module's grammar.
const LONGEST_NAME: usize = 31;

/// The most characters of a line that a message repeats.
const LONGEST_EXCERPT: usize = 80;

/// Parses the record of the phase `phase`; none if it is not one at all.
pub(crate) fn parse(text: &str, phase: &str, anomalies: &mut Anomalies) -> Option<Vec<ItemRecord>> {
    let mut note = |message: String| {
        anomalies.note(
            None,
            format!("the module's record of phase {phase} {message}"),
        );
    };
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if header != HEADER {
        note(format!("has another header: {:?}", excerpt(header)));
        return None;
    }
    let mut items: Vec<ItemRecord> = Vec::new();
    let most = usize::try_from(MAX_ITEMS).unwrap_or(usize::MAX);
    for (number, line) in (2_usize..).zip(lines.by_ref().take(most)) {
        match parse_line(line) {
            Some(item) if items.last().is_none_or(|last| last.id < item.id) => items.push(item),
            Some(item) => note(format!(
                "has item {} out of order in line {number}",
                item.id
            )),
            None => note(format!(
                "has a line {number} that is no item's: {:?}",
                excerpt(line)
            )),
        }
    }
    if lines.next().is_some() {
        note(format!("has more than {MAX_ITEMS} items"));
    }
    Some(items)
}

/// One item's line; none if it has another shape.
fn parse_line(line: &str) -> Option<ItemRecord> {
    let fields: Vec<&str> = line.splitn(14, '\t').collect();
    let &[
        id,
        name,
        mode,
        armed,
        expires,
        queued,
        started,
        ended,
        cancelled,
        cpu,
        pid,
        attempts,
        error,
    ] = fields.as_slice()
    else {
        return None;
    };
    let time = |field| Some(optional(field)?.map(TraceNanos));
    let item = ItemRecord {
        id: id.parse().ok()?,
        name: name.to_owned(),
        mode: mode.to_owned(),
        armed: time(armed)?,
        expires: optional(expires)?,
        queued: time(queued)?,
        started: time(started)?,
        ended: time(ended)?,
        cancelled: time(cancelled)?,
        cpu: optional(cpu)?,
        pid: optional(pid)?,
        attempts: attempts.parse().ok()?,
        error: optional(error)?,
    };
    let is_whole = item.id < MAX_ITEMS
        && is_name(name)
        && is_name(mode)
        && item.error.is_none_or(is_status)
        && item.error.is_some() == item.ended.is_some();
    is_whole.then_some(item)
}

/// A value, or none for what did not happen; the outer none is for a text that is neither.
fn optional<T: FromStr>(field: &str) -> Option<Option<T>> {
    if field == NOTHING {
        return Some(None);
    }
    field.parse().ok().map(Some)
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn excerpt(line: &str) -> String {
    line.chars().take(LONGEST_EXCERPT).collect()
}

/// Notes each way in which the module's record and the trace of a phase differ.
///
/// What happens after the marker `results` may be missing in the record, which is read then.
pub(crate) fn hold_against_trace(
    phase: &PhaseSpan,
    longest_stall_ns: u64,
    anomalies: &mut Anomalies,
) {
    let (Some(record), Some(marker)) = (&phase.record, phase.results) else {
        return;
    };
    // While items still run, one may have written its event and not yet its record when the agent comes between.
    let still = match phase.finish.map(|finish| finish.cause) {
        Some(FinishCause::Done) => 0,
        Some(FinishCause::Held | FinishCause::Deadline) | None => {
            CLOCK_SKEW.saturating_add(longest_stall_ns)
        }
    };
    let until = TraceNanos(marker.recorded.0.saturating_sub(still));
    let traced: BTreeMap<u32, &Item> = phase.items.iter().map(|item| (item.id, item)).collect();
    let mut note = |moment: Option<Moment>, item: String, difference: String| {
        anomalies.note(
            moment,
            format!(
                "the module's record and the trace differ: {item} of phase {} {difference}",
                phase.name
            ),
        );
    };
    for row in record {
        let untraced = Item::new(row.id);
        let item = traced.get(&row.id).copied().unwrap_or(&untraced);
        for (moment, difference) in differences(row, item, until) {
            note(moment, label(row), difference);
        }
    }
    for item in &phase.items {
        if record.binary_search_by_key(&item.id, |row| row.id).is_err() {
            let difference = "is not in the record".to_owned();
            note(
                item.armed.map(|armed| armed.moment),
                format!("item {}", item.id),
                difference,
            );
        }
    }
}

/// `item 3 (bus)`; without the name where that is the id.
fn label(row: &ItemRecord) -> String {
    if row.name == row.id.to_string() {
        format!("item {}", row.id)
    } else {
        format!("item {} ({})", row.id, row.name)
    }
}

/// How one item's record differs from its events, of which those up to `until` must be in the record.
fn differences(row: &ItemRecord, item: &Item, until: TraceNanos) -> Vec<(Option<Moment>, String)> {
    let mut found = Vec::new();
    for event in ItemEvent::ALL {
        let (recorded, traced) = (row.time(event), item.moment(event));
        if let Some(difference) = time_difference(event, recorded, traced, until) {
            found.push((traced, difference));
        }
    }
    let is_due = |moment: &Moment| moment.recorded <= until;
    if let Some(queued) = item.queued.filter(|queued| is_due(&queued.moment)) {
        // 0 stands for an item without a timer, which the record leaves out.
        let expires = row.expires.unwrap_or(0);
        if row.queued.is_some() && expires != queued.expires {
            let difference = format!(
                "expires at {expires} in the record, at {} in the trace",
                queued.expires
            );
            found.push((Some(queued.moment), difference));
        }
    }
    if let (Some(error), Some(ended)) = (row.error, item.ended)
        && error != ended.status
    {
        let difference = format!(
            "ended with {error} in the record, with {} in the trace",
            ended.status
        );
        found.push((Some(ended.moment), difference));
    }
    found.extend(attempt_difference(row, item, is_due));
    found
}

fn time_difference(
    event: ItemEvent,
    recorded: Option<TraceNanos>,
    traced: Option<Moment>,
    until: TraceNanos,
) -> Option<String> {
    let word = event.word();
    match (recorded, traced) {
        (Some(recorded), Some(traced)) => (recorded != traced.at).then(|| {
            format!(
                "is {word} at {recorded} in the record, at {} in the trace",
                traced.at
            )
        }),
        (Some(recorded), None) => Some(format!(
            "is {word} at {recorded} in the record, never in the trace"
        )),
        (None, Some(traced)) => (traced.recorded <= until).then(|| {
            format!(
                "is {word} at {} in the trace, never in the record",
                traced.at
            )
        }),
        (None, None) => None,
    }
}

/// How the number of starts, or the CPU and task of the last one in the record, differ.
fn attempt_difference(
    row: &ItemRecord,
    item: &Item,
    is_due: impl Fn(&Moment) -> bool,
) -> Option<(Option<Moment>, String)> {
    let due = item
        .attempts
        .partition_point(|attempt| is_due(&attempt.started));
    let all = item.attempts.len();
    let recorded = usize::try_from(row.attempts).unwrap_or(usize::MAX);
    if !(due..=all).contains(&recorded) {
        let traced = if recorded < due { due } else { all };
        let difference =
            format!("is started {recorded} times in the record, {traced} in the trace");
        return Some((item.started, difference));
    }
    let last = item.attempts.get(recorded.checked_sub(1)?)?.started;
    let is_by = |cpu: u32, pid: i32| row.cpu == Some(cpu) && row.pid == Some(pid);
    // Its count may be in the record before its CPU and task are.
    if !is_due(&last) || is_by(last.cpu, last.pid) {
        return None;
    }
    let difference = format!(
        "last started on CPU {} in pid {} in the record, on CPU {} in pid {} in the trace",
        number(row.cpu),
        number(row.pid),
        last.cpu,
        last.pid
    );
    Some((Some(last), difference))
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

impl ItemRecord {
    /// The time of one kind of event.
    #[must_use]
    pub fn time(&self, event: ItemEvent) -> Option<TraceNanos> {
        match event {
            ItemEvent::Armed => self.armed,
            ItemEvent::Queued => self.queued,
            ItemEvent::Started => self.started,
            ItemEvent::Ended => self.ended,
            ItemEvent::Cancelled => self.cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, parse};
    use crate::{Anomalies, ItemRecord, MAX_ITEMS, TraceNanos};

    fn parsed(text: &str) -> (Option<Vec<ItemRecord>>, Vec<String>) {
        let mut anomalies = Anomalies::default();
        let record = parse(text, "main", &mut anomalies);
        let messages = anomalies.first.into_iter().map(|one| one.message);
        (record, messages.collect())
    }

    #[test]
    fn every_column_is_read() {
        let (record, messages) = parsed(&format!(
            "{HEADER}\n0\tbus\tdelayed\t1\t2\t3\t4\t5\t-\t1\t-7\t2\t-5\n1\t1\tprobe\t-\t-\t-\t-\t-\t6\t-\t-\t0\t-\n"
        ));
        assert_eq!(messages, Vec::<String>::new());
        let bus = ItemRecord {
            id: 0,
            name: "bus".to_owned(),
            mode: "delayed".to_owned(),
            armed: Some(TraceNanos(1)),
            expires: Some(2),
            queued: Some(TraceNanos(3)),
            started: Some(TraceNanos(4)),
            ended: Some(TraceNanos(5)),
            cancelled: None,
            cpu: Some(1),
            pid: Some(-7),
            attempts: 2,
            error: Some(-5),
        };
        let taken_back = ItemRecord {
            id: 1,
            name: "1".to_owned(),
            mode: "probe".to_owned(),
            armed: None,
            expires: None,
            queued: None,
            started: None,
            ended: None,
            cancelled: Some(TraceNanos(6)),
            cpu: None,
            pid: None,
            attempts: 0,
            error: None,
        };
        assert_eq!(record, Some(vec![bus, taken_back]));
    }

    #[test]
    fn text_that_is_no_record_is_none_and_noted() {
        for (text, header) in [("", ""), ("id\tname\n0\ta", "id\\tname")] {
            let (record, messages) = parsed(text);
            assert_eq!(record, None);
            assert_eq!(
                messages,
                [format!(
                    "the module's record of phase main has another header: \"{header}\""
                )]
            );
        }
    }

    #[test]
    fn malformed_line_is_noted_and_the_others_are_read() {
        let whole = "3\tc\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-";
        let cases = [
            "",
            "1",
            "1\ta\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0",
            "1\ta\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-\t-",
            "4096\ta\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "-1\ta\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "1\t\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "1\ta b\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "1\taaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\tdirect\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "1\ta\tdirect\tx\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "1\ta\tdirect\t18446744073709551616\t-\t-\t-\t-\t-\t-\t-\t0\t-",
            "1\ta\tdirect\t1\t-\t-\t2\t3\t-\t0\t1\t-\t0",
            "1\ta\tdirect\t1\t-\t-\t2\t3\t-\t0\t1\t1\t5",
            "1\ta\tdirect\t1\t-\t-\t2\t3\t-\t0\t1\t1\t-4096",
            "1\ta\tdirect\t1\t-\t-\t2\t3\t-\t0\t1\t1\t-",
            "1\ta\tdirect\t1\t-\t-\t2\t-\t-\t0\t1\t1\t0",
        ];
        for line in cases {
            let (record, messages) = parsed(&format!("{HEADER}\n{line}\n{whole}\n"));
            let ids: Vec<u32> = record.expect("a header").iter().map(|row| row.id).collect();
            assert_eq!(ids, [3], "{line:?}");
            let [message] = messages.as_slice() else {
                panic!("{line:?} gives {messages:?}")
            };
            assert!(
                message.starts_with(
                    "the module's record of phase main has a line 2 that is no item's: "
                ),
                "{message}"
            );
            assert!(message.len() < 200, "{message}");
        }
        let (record, messages) = parsed(&format!("{HEADER}\n{whole}\n{whole}\n"));
        assert_eq!(record.map(|rows| rows.len()), Some(1));
        assert_eq!(
            messages,
            ["the module's record of phase main has item 3 out of order in line 3"]
        );
    }

    #[test]
    fn endless_record_is_cut() {
        let lines = "x\n".repeat(10_000);
        let mut anomalies = Anomalies::default();
        let record = parse(&format!("{HEADER}\n{lines}"), "main", &mut anomalies);
        assert_eq!(record, Some(Vec::new()));
        assert_eq!(anomalies.total, u64::from(MAX_ITEMS) + 1);
    }
}
