// SPDX-License-Identifier: GPL-2.0-only

//! Writes one line per call: when it was entered, how long it took, how much of that in itself, its task, and its name
//! behind a bar for each call around it.
//!
//! In: records by time. Out: lines, a call before those inside it, a task's outermost call when it has ended.
//! `Entry` counts from the trace's first record, by the trace's clock; where the entry is not in the trace, it is the end
//! less the duration. `Duration` and `Local` are the duration and the self time of [`crate::calls`]. All are in
//! microseconds. A `*` marks self time that is only an upper bound, a comment behind the name a call of which the start
//! or the end was not seen. The bar is `!` where the inner call ran in a hard interrupt. Other events are not written.
//!
//! A call stands before those inside it and has its duration, so its lines wait in memory until the outermost call has
//! ended: at most [`MOST_CALLS_PER_TASK`] calls of a task, and [`MOST_CALLS`] in all. When a task exceeds that, what it
//! has is written, open calls with the comment `goes on below`, and each of those once more, with the comment
//! `from above`, when it ends. In a trace that has exits only, the lines wait for an exit at depth 0, in the same bounds.

use deferinit_ftrace::record::Record;

use super::{Names, Palette, Selection};
use crate::calls::{Account, Call, CallSink, Calls, Entry, Start, Unfinished};
use crate::functions::Functions;
use crate::task::Task;
use crate::text::{push_blanks, push_microseconds, push_padded, push_signed};

/// Calls of a task that wait for the end of the outermost one, at most.
pub const MOST_CALLS_PER_TASK: usize = 1 << 15;

/// Calls that wait in all, besides one per task.
pub const MOST_CALLS: usize = 1 << 17;

/// Longer lists give their memory back once they are written.
const KEPT_CAPACITY: usize = 256;

/// `TRACE_FLAG_HARDIRQ`, `include/linux/trace_events.h`.
const HARD_INTERRUPT: u8 = 0x08;

/// No frame in the list: the call is not selected.
const NOWHERE: u32 = u32::MAX;

/// Writes the lines.
#[derive(Debug)]
pub struct LocalReplay<'a> {
    calls: Calls<Lines<'a>>,
    lines: Lines<'a>,
}

#[derive(Debug)]
struct Lines<'a> {
    names: Names<'a>,
    selection: Selection,
    palette: Palette,
    start_ns: Option<u64>,
    /// Calls that wait, of all tasks.
    waiting: usize,
    out: Vec<u8>,
}

/// An open call: where it stands in its task's list.
#[derive(Debug, Clone, Copy)]
struct Frame {
    place: u32,
    /// The list's own when the place was given: once the list was written, the place is no more.
    written: u32,
    is_inside: bool,
}

/// The calls of a task that wait, a call before those inside it.
#[derive(Debug, Default)]
struct Waiting {
    calls: Vec<WaitingCall>,
    /// Of the task.
    pid: i32,
    /// How often the list was written.
    written: u32,
    /// The open calls that were written already, outermost first.
    around: Vec<Level>,
    /// Where the calls begin that have ended and may be found to be inside one whose entry was not seen: depth and
    /// place, deepest last, each depth once.
    unclaimed: Vec<(u16, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct WaitingCall {
    entered_ns: u64,
    duration_ns: Option<u64>,
    self_ns: u64,
    /// Its function, in [`Names`].
    number: u32,
    /// Where in the list the calls begin that came after its end.
    end: u32,
    /// Where the calls begin that may turn out to be inside it though they came before it.
    first: u32,
    depth: u16,
    self_is_exact: bool,
    in_interrupt: bool,
    note: Note,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    None,
    StartNotSeen,
    EndNotSeen,
    GoesOn,
    FromAbove,
}

/// A call around the line that is to be written.
#[derive(Debug, Clone, Copy)]
struct Level {
    depth: u16,
    end: u32,
    is_shown: bool,
    is_inside: bool,
    in_interrupt: bool,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            place: NOWHERE,
            written: 0,
            is_inside: false,
        }
    }
}

impl<'a> LocalReplay<'a> {
    /// A replay of these calls.
    #[must_use]
    pub fn new(functions: Functions<'a>, selection: Selection) -> Self {
        Self {
            calls: Calls::default(),
            lines: Lines {
                names: Names::new(functions, selection.functions.clone()),
                selection,
                palette: Palette::default(),
                start_ns: None,
                waiting: 0,
                out: Vec::new(),
            },
        }
    }

    /// Writes with colours.
    #[must_use]
    pub fn with_palette(mut self, palette: Palette) -> Self {
        self.lines.palette = palette;
        self
    }

    /// Counts `Entry` from this time instead of the first record.
    #[must_use]
    pub fn starting_at(mut self, start_ns: u64) -> Self {
        self.lines.start_ns = Some(start_ns);
        self
    }

    /// The lines on top.
    pub fn header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"# us, from the start of the trace; *: at most\n");
        out.extend_from_slice(b"         Entry       Duration          Local      Pid Trace\n");
    }

    /// Says that the writer lost records, see [`Calls::lost`].
    pub fn lost(&mut self, count: Option<u64>) {
        self.calls.lost(count);
    }

    /// Takes the next record, and writes the calls that it completes.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.lines.start_ns.is_none() {
            self.lines.start_ns = Some(record.timestamp_ns);
        }
        if self
            .lines
            .selection
            .pid
            .is_some_and(|pid| record.pid != pid)
        {
            return;
        }
        std::mem::swap(out, &mut self.lines.out);
        self.calls.record(record, &mut self.lines);
        std::mem::swap(out, &mut self.lines.out);
    }

    /// Ends the trace, and writes what still waits.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Account {
        std::mem::swap(out, &mut self.lines.out);
        let account = self.calls.finish(&mut self.lines);
        std::mem::swap(out, &mut self.lines.out);
        account
    }
}

impl CallSink for Lines<'_> {
    type Frame = Frame;
    type PerTask = Waiting;

    #[inline]
    fn entered(&mut self, entry: &Entry, task: &mut Waiting, around: Option<Frame>) -> Frame {
        let number = self.names.number(entry.function);
        let is_inside = self.is_inside(number, around);
        if !is_inside || !self.is_selected(entry.cpu, entry.timestamp_ns) {
            return Frame {
                is_inside,
                ..Frame::default()
            };
        }
        task.pid = entry.task.pid();
        self.make_room(task);
        let depth = depth(entry.depth);
        // Calls that ended deeper and have no call around them may be inside this one: see `Call::has_earlier_inside`.
        let place = task.calls.len();
        let first = task.take_deeper(depth, place);
        let place = u32::try_from(place).unwrap_or(NOWHERE);
        task.calls.push(WaitingCall {
            entered_ns: entry.timestamp_ns,
            duration_ns: None,
            self_ns: 0,
            number: u32::try_from(number).unwrap_or_default(),
            end: NOWHERE,
            first: u32::try_from(first).unwrap_or(NOWHERE),
            depth,
            self_is_exact: true,
            in_interrupt: entry.flags & HARD_INTERRUPT != 0,
            note: Note::None,
        });
        self.waiting += 1;
        Frame {
            place,
            written: task.written,
            is_inside,
        }
    }

    #[inline]
    fn ended(
        &mut self,
        call: &Call,
        task: &mut Waiting,
        frame: Option<Frame>,
        around: Option<Frame>,
    ) {
        let Some(frame) = frame else {
            return self.ended_unseen(call, task, around);
        };
        if frame.place == NOWHERE {
            return;
        }
        if frame.written != task.written {
            let line = self.of_ended(call, Note::FromAbove);
            return self.write_alone(&line, task);
        }
        let place = usize::try_from(frame.place).unwrap_or(usize::MAX);
        if let Some(waiting) = task.calls.get_mut(place) {
            waiting.duration_ns = Some(call.duration_ns);
            waiting.self_ns = call.self_ns;
            waiting.self_is_exact = call.self_is_exact;
        }
        let place = task.end(depth(call.depth), place, call.has_earlier_inside);
        if place == 0 || around.is_none() {
            self.write(task);
        }
    }

    fn unfinished(&mut self, call: &Unfinished, task: &mut Waiting, frame: Frame) {
        if frame.place == NOWHERE || frame.written != task.written {
            return;
        }
        let place = usize::try_from(frame.place).unwrap_or(usize::MAX);
        if let Some(waiting) = task.calls.get_mut(place) {
            waiting.note = Note::EndNotSeen;
        }
        let place = task.end(depth(call.depth), place, false);
        if place == 0 {
            self.write(task);
        }
    }

    fn forgotten(&mut self, _task: Task, mut kept: Waiting) {
        self.write(&mut kept);
    }
}

impl Waiting {
    /// Where the calls begin that ended deeper than a depth since the last one at this depth or above, and have no call
    /// around them yet; `place` if there are none.
    #[inline]
    fn take_deeper(&mut self, depth: u16, place: usize) -> usize {
        let mut first = place;
        while let Some((_, start)) = self.unclaimed.pop_if(|(deeper, _)| *deeper > depth) {
            first = first.min(start);
        }
        first
    }

    #[inline]
    fn insert(&mut self, place: usize, call: WaitingCall) {
        if place < self.calls.len() {
            for behind in self.calls.iter_mut().skip(place) {
                behind.end = behind.end.saturating_add(1);
            }
            self.calls.insert(place, call);
        } else {
            self.calls.push(call);
        }
    }

    /// Notes that a call at a depth ended: what comes now is behind it. Gives its place, which is another one when it
    /// goes before earlier calls that are inside it.
    #[inline]
    fn end(&mut self, depth: u16, place: usize, has_earlier_inside: bool) -> usize {
        let end = u32::try_from(self.calls.len()).unwrap_or(NOWHERE);
        let mut first = self.take_deeper(depth, place);
        let mut place = place;
        if let Some(call) = self.calls.get_mut(place) {
            call.end = end;
            first = first.min(usize::try_from(call.first).unwrap_or(usize::MAX));
        }
        if has_earlier_inside && let Some(moved) = self.calls.get_mut(first..=place) {
            moved.rotate_right(1);
            for behind in moved.iter_mut().skip(1) {
                behind.end = behind.end.saturating_add(1);
            }
            place = first;
        }
        if self.unclaimed.last().is_none_or(|(last, _)| *last < depth) {
            self.unclaimed.push((depth, first));
        }
        place
    }
}

impl Lines<'_> {
    #[inline]
    fn is_inside(&self, number: usize, around: Option<Frame>) -> bool {
        self.selection.functions.is_none()
            || around.is_some_and(|frame| frame.is_inside)
            || self.names.is_selected(number)
    }

    #[inline]
    fn is_selected(&self, cpu: u32, entered_ns: u64) -> bool {
        let selection = &self.selection;
        selection.cpu.is_none_or(|wanted| cpu == wanted)
            && selection.from_ns.is_none_or(|from| entered_ns >= from)
            && selection.until_ns.is_none_or(|until| entered_ns < until)
    }

    /// A call that ended without its entry in the trace.
    fn ended_unseen(&mut self, call: &Call, task: &mut Waiting, around: Option<Frame>) {
        let line = match call.start {
            Start::Missing | Start::Seen => self.of_ended(call, Note::StartNotSeen),
            Start::NotRecorded => self.of_ended(call, Note::None),
        };
        if !self.is_selected(call.cpu, line.entered_ns) {
            return;
        }
        task.pid = call.task.pid();
        let number = usize::try_from(line.number).unwrap_or_default();
        let is_waited_for = match call.start {
            // In a trace of exits only, the calls around it come later, and may be the selected ones.
            Start::NotRecorded => true,
            Start::Missing | Start::Seen => {
                if !self.is_inside(number, around) {
                    return;
                }
                !task.calls.is_empty()
            }
        };
        if !is_waited_for {
            return self.write_alone(&line, task);
        }
        self.make_room(task);
        let place = task.take_deeper(line.depth, task.calls.len());
        task.insert(place, line);
        task.end(line.depth, place, false);
        self.waiting += 1;
        if call.start == Start::NotRecorded && call.depth == 0 {
            self.write(task);
        }
    }

    fn of_ended(&mut self, call: &Call, note: Note) -> WaitingCall {
        WaitingCall {
            entered_ns: call.timestamp_ns.saturating_sub(call.duration_ns),
            duration_ns: Some(call.duration_ns),
            self_ns: call.self_ns,
            number: u32::try_from(self.names.number(call.function)).unwrap_or_default(),
            end: NOWHERE,
            first: NOWHERE,
            depth: depth(call.depth),
            self_is_exact: call.self_is_exact,
            in_interrupt: call.flags & HARD_INTERRUPT != 0,
            note,
        }
    }

    /// Writes what a task has, if it has as much as it may.
    #[inline]
    fn make_room(&mut self, task: &mut Waiting) {
        let is_full = task.calls.len() >= MOST_CALLS_PER_TASK || self.waiting >= MOST_CALLS;
        if is_full && !task.calls.is_empty() {
            self.write_early(task);
        }
    }

    #[cold]
    fn write_early(&mut self, task: &mut Waiting) {
        for call in &mut task.calls {
            if call.duration_ns.is_none() && call.note == Note::None {
                call.note = Note::GoesOn;
            }
        }
        self.write(task);
    }

    /// Writes what a task has, and keeps the calls that go on as those around what will come.
    fn write(&mut self, task: &mut Waiting) {
        let mut calls = std::mem::take(&mut task.calls);
        let mut levels = std::mem::take(&mut task.around);
        let mut open = levels.clone();
        for (place, call) in (0_u32..).zip(&calls) {
            leave_levels(&mut levels, call.depth, place);
            leave_levels(&mut open, call.depth, place);
            let level = self.write_line(call, task.pid, &levels);
            levels.push(level);
            if call.note == Note::GoesOn {
                // The levels around an open call are open, too.
                open.clone_from(&levels);
            }
        }
        self.waiting = self.waiting.saturating_sub(calls.len());
        calls.clear();
        if calls.capacity() <= KEPT_CAPACITY {
            task.calls = calls;
        }
        for level in &mut open {
            // Its place was one of the list that is gone.
            level.end = NOWHERE;
        }
        task.around = open;
        task.unclaimed.clear();
        task.written = task.written.wrapping_add(1);
    }

    /// Writes a call that is in no list.
    fn write_alone(&mut self, call: &WaitingCall, task: &mut Waiting) {
        leave_levels(&mut task.around, call.depth, 0);
        let around = std::mem::take(&mut task.around);
        self.write_line(call, task.pid, &around);
        task.around = around;
    }

    /// Writes a line, if the call is a selected one; the level it makes for those inside it.
    #[inline]
    fn write_line(&mut self, call: &WaitingCall, pid: i32, levels: &[Level]) -> Level {
        let number = usize::try_from(call.number).unwrap_or_default();
        let is_inside = self.selection.functions.is_none()
            || levels.last().is_some_and(|level| level.is_inside)
            || self.names.is_selected(number);
        let shown = levels.iter().filter(|level| level.is_shown).count();
        let is_shown = is_inside
            && self
                .selection
                .max_depth
                .is_none_or(|most| u64::try_from(shown).is_ok_and(|level| level < most));
        let level = Level {
            depth: call.depth,
            end: call.end,
            is_shown,
            is_inside,
            in_interrupt: call.in_interrupt,
        };
        let is_long_enough = call
            .duration_ns
            .is_none_or(|duration| duration >= self.selection.min_duration_ns);
        if !is_shown || !is_long_enough {
            return level;
        }
        let out = &mut self.out;
        let start_ns = self.start_ns.unwrap_or_default();
        match call.entered_ns.checked_sub(start_ns) {
            Some(since) => push_microseconds(out, since, 14),
            // It was entered before the trace began.
            None => {
                let before = start_ns - call.entered_ns;
                let mut text = vec![b'-'];
                push_microseconds(&mut text, before, 0);
                push_blanks(out, 14_usize.saturating_sub(text.len()));
                out.extend_from_slice(&text);
            }
        }
        match call.duration_ns {
            Some(duration_ns) => {
                push_microseconds(out, duration_ns, 15);
                push_microseconds(out, call.self_ns, 15);
                out.push(if call.self_is_exact { b' ' } else { b'*' });
            }
            None => {
                push_blanks(out, 14);
                out.push(b'-');
                push_blanks(out, 14);
                out.extend_from_slice(b"- ");
            }
        }
        match u64::try_from(pid) {
            Ok(pid) => push_padded(out, pid, 8),
            Err(_) => push_signed(out, i64::from(pid)),
        }
        out.push(b' ');
        let inner = levels
            .iter()
            .filter(|level| level.is_shown)
            .skip(1)
            .map(|level| level.in_interrupt);
        let bars = inner.chain((shown > 0).then_some(call.in_interrupt));
        for in_interrupt in bars {
            out.extend_from_slice(if in_interrupt { b"!  " } else { b"|  " });
        }
        out.extend_from_slice(self.palette.function.as_bytes());
        out.extend_from_slice(self.names.text(number));
        out.extend_from_slice(self.palette.reset.as_bytes());
        let note = match call.note {
            Note::None => "",
            Note::StartNotSeen => " /* start not seen */",
            Note::EndNotSeen => " /* end not seen */",
            Note::GoesOn => " /* goes on below */",
            Note::FromAbove => " /* from above */",
        };
        if !note.is_empty() {
            for part in [self.palette.comment, note, self.palette.reset] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.push(b'\n');
        level
    }
}

/// Leaves the calls that are not around the one at a depth and a place.
#[inline]
fn leave_levels(levels: &mut Vec<Level>, depth: u16, place: u32) {
    while levels
        .last()
        .is_some_and(|level| level.depth >= depth || level.end <= place)
    {
        levels.pop();
    }
}

fn depth(depth: usize) -> u16 {
    u16::try_from(depth).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::Glob;
    use crate::made::{enter, leave, of, on, symbols};

    fn replay(records: &[Record<'_>], selection: Selection) -> String {
        let symbols = symbols();
        let mut replay = LocalReplay::new(Functions::new(&symbols), selection);
        let mut out = Vec::new();
        for record in records {
            replay.record(record, &mut out);
        }
        let account = replay.finish(&mut out);
        assert_eq!((account.entries + account.exits) as usize, records.len());
        String::from_utf8(out).expect("it is ASCII")
    }

    /// Compares the words of each line: bars are words.
    #[track_caller]
    fn check(records: &[Record<'_>], expected: &[&str]) {
        assert_eq!(words(&replay(records, Selection::default())), expected);
    }

    fn words(text: &str) -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn nested() -> Vec<Record<'static>> {
        vec![
            enter(1_000, 'a', 0),
            enter(3_000, 'b', 1),
            leave(3_000, 3_500, 'b', 1),
            enter(4_000, 'c', 1),
            enter(5_000, 'm', 2),
            leave(5_000, 17_345, 'm', 2),
            leave(4_000, 22_000, 'c', 1),
            leave(1_000, 1_201_000, 'a', 0),
        ]
    }

    #[test]
    fn a_call_stands_before_those_inside_it_with_its_times() {
        let text = replay(&nested(), Selection::default());
        let expected = "         \
0.000       1200.000       1181.500        7 a
         2.000          0.500          0.500        7 |  b
         3.000         18.000          5.655        7 |  c
         4.000         12.345         12.345        7 |  |  m [test]
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_heading_is_above_its_columns() {
        let symbols = symbols();
        let replay = LocalReplay::new(Functions::new(&symbols), Selection::default());
        let mut header = Vec::new();
        replay.header(&mut header);
        let header = String::from_utf8(header).expect("it is ASCII");
        let heading = header.lines().last().expect("there are lines");
        let text = self::replay(&nested(), Selection::default());
        let line = text.lines().next().expect("there are lines");
        for (name, value) in [
            ("Entry", "0.000"),
            ("Duration", "1200.000"),
            ("Local", "1181.500"),
            ("Pid", " 7"),
        ] {
            let end = |line: &str, part: &str| line.find(part).map(|at| at + part.len());
            assert_eq!(end(heading, name), end(line, value), "{name}");
        }
        assert_eq!(heading.find("Trace"), line.find('a'));
    }

    #[test]
    fn what_was_not_seen_is_marked() {
        check(
            &[
                enter(10_000, 'c', 2),
                leave(10_000, 11_000, 'c', 2),
                leave(4_000, 12_000, 'b', 1),
                enter(13_000, 'd', 1),
                enter(14_000, 'e', 2),
                leave(15_000, 16_000, 'f', 2),
                enter(17_000, 'g', 1),
            ],
            &[
                "0.000 1.000 1.000 7 c",
                "-6.000 8.000 7.000* 7 b /* start not seen */",
                "3.000 - - 7 d /* end not seen */",
                "4.000 - - 7 | e /* end not seen */",
                "5.000 1.000 1.000* 7 | f /* start not seen */",
                "7.000 - - 7 g /* end not seen */",
            ],
        );
    }

    #[test]
    fn tasks_do_not_mix_and_are_written_as_they_end() {
        check(
            &[
                enter(0, 'a', 0),
                of(8, enter(1_000, 'b', 0)),
                on(1, enter(2_000, 'c', 1)),
                of(8, leave(1_000, 3_000, 'b', 0)),
                on(1, leave(2_000, 4_000, 'c', 1)),
                leave(0, 5_000, 'a', 0),
            ],
            &[
                "1.000 2.000 2.000 8 b",
                "0.000 5.000 3.000 7 a",
                "2.000 2.000 2.000 7 | c",
            ],
        );
    }

    #[test]
    fn calls_stand_below_a_call_whose_start_was_not_seen() {
        check(
            &[
                enter(0, 'a', 0),
                enter(1_000, 'x', 1),
                leave(1_000, 2_000, 'x', 1),
                enter(4_000, 'c', 2),
                leave(4_000, 5_000, 'c', 2),
                leave(3_000, 6_000, 'b', 1),
                enter(7_000, 'd', 1),
                leave(7_000, 8_000, 'd', 1),
                leave(0, 9_000, 'a', 0),
            ],
            &[
                "0.000 9.000 4.000* 7 a",
                "1.000 1.000 1.000 7 | x [test]",
                "3.000 3.000 2.000* 7 | b /* start not seen */",
                "4.000 1.000 1.000 7 | | c",
                "7.000 1.000 1.000 7 | d",
            ],
        );
    }

    #[test]
    fn an_interrupt_before_the_entry_was_recorded_stands_below_the_call() {
        check(
            &[
                enter(0, 'a', 0),
                enter(1_000, 'x', 1),
                leave(1_000, 2_000, 'x', 1),
                enter(4_000, 'i', 2),
                leave(4_000, 5_000, 'i', 2),
                enter(6_000, 'b', 1),
                leave(3_000, 7_000, 'b', 1),
                leave(0, 9_000, 'a', 0),
            ],
            &[
                "0.000 9.000 4.000 7 a",
                "1.000 1.000 1.000 7 | x [test]",
                "6.000 4.000 3.000 7 | b",
                "4.000 1.000 1.000 7 | | i",
            ],
        );
    }

    #[test]
    fn a_trace_of_exits_only_has_its_tree() {
        check(
            &[
                leave(0, 1_000, 'z', 0),
                leave(4_000, 5_000, 'c', 2),
                leave(6_000, 7_000, 'd', 2),
                leave(3_000, 8_000, 'b', 1),
                leave(9_000, 9_500, 'b', 1),
                leave(2_000, 10_000, 'a', 0),
                leave(11_000, 12_000, 'b', 1),
            ],
            &[
                "-1.000 1.000 1.000* 7 z [test]",
                "1.000 8.000 2.500 7 a",
                "2.000 5.000 3.000 7 | b",
                "3.000 1.000 1.000 7 | | c",
                "5.000 1.000 1.000 7 | | d",
                "8.000 0.500 0.500 7 | b",
                "10.000 1.000 1.000 7 b",
            ],
        );
    }

    #[test]
    fn a_call_in_an_interrupt_has_another_bar() {
        let interrupt = |record: Record<'static>| Record {
            flags: HARD_INTERRUPT,
            ..record
        };
        check(
            &[
                enter(0, 'a', 0),
                enter(1_000, 'i', 1),
                interrupt(enter(2_000, 'j', 2)),
                interrupt(leave(2_000, 3_000, 'j', 2)),
                leave(1_000, 4_000, 'i', 1),
                leave(0, 5_000, 'a', 0),
            ],
            &[
                "0.000 5.000 2.000 7 a",
                "1.000 3.000 2.000 7 | i",
                "2.000 1.000 1.000 7 | ! j",
            ],
        );
    }

    #[test]
    fn selected_calls_only_are_written() {
        let selections = [
            (
                Selection {
                    functions: Some(Glob::new("c")),
                    ..Selection::default()
                },
                vec!["3.000 18.000 5.655 7 c", "4.000 12.345 12.345 7 | m [test]"],
            ),
            (
                Selection {
                    max_depth: Some(1),
                    ..Selection::default()
                },
                vec!["0.000 1200.000 1181.500 7 a"],
            ),
            (
                Selection {
                    min_duration_ns: 18_000,
                    ..Selection::default()
                },
                vec!["0.000 1200.000 1181.500 7 a", "3.000 18.000 5.655 7 | c"],
            ),
            (
                Selection {
                    from_ns: Some(4_000),
                    until_ns: Some(5_000),
                    ..Selection::default()
                },
                vec!["3.000 18.000 5.655 7 c"],
            ),
            (
                Selection {
                    cpu: Some(1),
                    ..Selection::default()
                },
                vec![],
            ),
        ];
        for (selection, expected) in selections {
            assert_eq!(
                words(&replay(&nested(), selection.clone())),
                expected,
                "{selection:?}"
            );
        }
    }

    #[test]
    fn more_calls_than_may_wait_are_written_before_the_outermost_has_ended() {
        let many = MOST_CALLS_PER_TASK as u64;
        let mut records = vec![enter(0, 'a', 0), enter(0, 'b', 1)];
        for at in 0..many {
            records.extend([enter(at, 'c', 2), leave(at, at + 1, 'c', 2)]);
        }
        records.extend([leave(0, many, 'b', 1), leave(0, many + 1, 'a', 0)]);
        let lines = words(&replay(&records, Selection::default()));
        assert_eq!(lines.len(), MOST_CALLS_PER_TASK + 4, "each open call twice");
        assert_eq!(lines[0], "0.000 - - 7 a /* goes on below */");
        assert_eq!(lines[1], "0.000 - - 7 | b /* goes on below */");
        let inner = lines.iter().filter(|line| line.ends_with("7 | | c"));
        assert_eq!(inner.count(), MOST_CALLS_PER_TASK);
        assert_eq!(
            lines[lines.len() - 2..],
            [
                "0.000 32.768 0.000 7 | b /* from above */",
                "0.000 32.769 0.001 7 a /* from above */"
            ]
        );
    }

    #[test]
    fn a_task_that_waits_for_ever_gives_its_memory_back() {
        let symbols = symbols();
        let mut replay = LocalReplay::new(Functions::new(&symbols), Selection::default());
        let mut out = Vec::new();
        // Each task holds its outermost call open, and ended calls in it.
        for pid in 1..=i32::try_from(MOST_CALLS / 8).expect("it is small") {
            let mut add = |record| replay.record(&of(pid, record), &mut out);
            add(enter(0, 'a', 0));
            for at in 0..9 {
                add(enter(at, 'b', 1));
                add(leave(at, at + 1, 'b', 1));
            }
        }
        let waiting = replay.lines.waiting;
        assert!(waiting <= MOST_CALLS + MOST_CALLS / 8, "{waiting} wait");
        replay.finish(&mut out);
        let calls = out
            .split(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b"b"));
        assert_eq!(calls.count(), MOST_CALLS / 8 * 9);
    }
}
