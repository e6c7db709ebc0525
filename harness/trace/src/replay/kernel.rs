// SPDX-License-Identifier: GPL-2.0-only

//! Writes the calls as `cat trace` does with function_graph, a line per record.
//!
//! In: records by time, each with the one that follows it on its CPU. Out: the kernel's own lines. A call is a leaf, on
//! one line, when the record that follows on its CPU is its exit; another call has a line for its entry and one for its
//! end, which names the function if the entry was not seen.
//!
//! Where it differs from the kernel: Rust names are demangled; `funcgraph-args` and `funcgraph-retaddr` are unsupported,
//! such calls are written without arguments and return address; records of `function` and stack traces, which the kernel
//! writes in another layout, are comments like other events. With a least duration it writes what the kernel does with
//! `tracing_thresh`: no line for an entry, and one for the end of each call that took as long, leaves on one line.
//! Source: `print_graph_*` in `kernel/trace/trace_functions_graph.c`, `trace_find_mark` in `kernel/trace/trace_output.c`
//! and `print_trace_line` in `kernel/trace/trace.c`, Linux 7.3.

use std::borrow::Cow;
use std::ops::Range;

use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;

use super::{Inside, Names, Palette, Selection};
use crate::functions::Functions;
use crate::task::Task;
use crate::text::{push_blanks, push_decimal, push_hex, push_padded, push_signed, thousandths};

/// The kernel remembers the functions of so many levels (`FTRACE_RETFUNC_DEPTH`, `include/linux/ftrace.h`).
const REMEMBERED_DEPTHS: usize = 50;

/// CPUs whose state is kept apart. The kernel's largest `NR_CPUS` is 8192.
const MOST_CPUS: usize = 1 << 13;

/// No task has more columns of indentation: a hostile record's depth is not written out.
const MOST_INDENT: u64 = 1024;

const RULE: &[u8] = b" ------------------------------------------\n";

/// The parts of a line, as the options `funcgraph-*` choose them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// `funcgraph-abstime`: the record's time.
    pub abstime: bool,
    /// `funcgraph-cpu`.
    pub cpu: bool,
    /// `funcgraph-proc`: name and pid of the task.
    pub proc: bool,
    /// `funcgraph-duration`.
    pub duration: bool,
    /// `funcgraph-overhead`: the mark of long calls.
    pub overhead: bool,
    /// `funcgraph-tail`: the function's name at every end.
    pub tail: bool,
    /// `funcgraph-retval`: what a call returned, where the trace has it.
    pub retval: bool,
    /// `funcgraph-retval-hex`: never as an error number.
    pub retval_hex: bool,
    /// `funcgraph-overrun`: a line with the overruns after every end.
    pub overrun: bool,
}

/// Writes the lines.
///
/// Memory grows with the CPUs and functions.
#[derive(Debug)]
pub struct KernelReplay<'a> {
    names: Names<'a>,
    tasks: Cow<'a, SavedCmdlines>,
    selection: Selection,
    columns: Columns,
    palette: Palette,
    /// Where the code of interrupt entries lies, from `__irqentry_text_start` to `__irqentry_text_end`.
    irq_text: Range<u64>,
    /// Width of the CPU column.
    cpu_width: usize,
    inside: Inside,
    cpus: Vec<Cpu>,
}

/// What the kernel keeps per CPU while it prints (`struct fgraph_cpu_data`).
#[derive(Debug, Clone)]
struct Cpu {
    last_pid: Option<i32>,
    depth: i64,
    entered: [u64; REMEMBERED_DEPTHS],
    /// The next exit was written with its entry.
    skips_exit: bool,
}

/// The fields of an exit.
#[derive(Clone, Copy)]
struct Exit {
    function: u64,
    depth: u64,
    retval: Option<i64>,
    overrun: u64,
    duration_ns: u64,
}

impl Default for Columns {
    /// The kernel's own choice.
    fn default() -> Self {
        Self {
            abstime: false,
            cpu: true,
            proc: false,
            duration: true,
            overhead: true,
            tail: false,
            retval: false,
            retval_hex: false,
            overrun: false,
        }
    }
}

impl<'a> KernelReplay<'a> {
    /// A replay of a machine that has this many CPUs.
    #[must_use]
    pub fn new(
        functions: Functions<'a>,
        tasks: &'a SavedCmdlines,
        cpus: u32,
        selection: Selection,
    ) -> Self {
        Self {
            names: Names::new(functions, selection.functions.clone()),
            tasks: Cow::Borrowed(tasks),
            selection,
            columns: Columns::default(),
            palette: Palette::default(),
            irq_text: 0..0,
            cpu_width: cpus
                .saturating_sub(1)
                .checked_ilog10()
                .map_or(1, |log| usize::try_from(log).map_or(1, |log| log + 1)),
            inside: Inside::default(),
            cpus: Vec::new(),
        }
    }

    /// Writes these parts.
    #[must_use]
    pub fn with_columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Writes with colours.
    #[must_use]
    pub fn with_palette(mut self, palette: Palette) -> Self {
        self.palette = palette;
        self
    }

    /// Marks the begin and end of interrupts with arrows: their code lies at these addresses.
    #[must_use]
    pub fn with_irq_text(mut self, irq_text: Range<u64>) -> Self {
        self.irq_text = irq_text;
        self
    }

    /// Names tasks by this table from now on: of a trace that is still being made, more names come.
    pub fn rename(&mut self, tasks: SavedCmdlines) {
        self.tasks = Cow::Owned(tasks);
    }

    /// The lines on top.
    pub fn header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"# tracer: function_graph\n#\n");
        let lines: [[&[u8]; 5]; 2] = [
            [
                b"     TIME       ",
                b" CPU",
                b"  TASK/PID       ",
                b"  DURATION   ",
                b"               FUNCTION CALLS\n",
            ],
            [
                b"      |         ",
                b" |  ",
                b"   |    |        ",
                b"   |   |      ",
                b"               |   |   |   |\n",
            ],
        ];
        let columns = &self.columns;
        let shown = [
            columns.abstime,
            columns.cpu,
            columns.proc,
            columns.duration,
            true,
        ];
        for line in lines {
            out.push(b'#');
            for (part, _) in line.iter().zip(shown).filter(|(_, is_shown)| *is_shown) {
                out.extend_from_slice(part);
            }
        }
    }

    /// Says that the writer lost records of a CPU before its next one, how many if that is known.
    pub fn lost(&mut self, cpu: u32, count: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CPU:");
        push_decimal(out, u64::from(cpu));
        out.extend_from_slice(b" [LOST ");
        if let Some(count) = count {
            push_decimal(out, count);
            out.push(b' ');
        }
        out.extend_from_slice(b"EVENTS]\n");
    }

    /// Writes the next record, if it is a selected one. `following` is the record after it on the same CPU.
    /// `render_event` writes a record that is no call as `name: fields`.
    #[inline]
    pub fn record(
        &mut self,
        record: &Record<'_>,
        following: Option<&Record<'_>>,
        render_event: &mut dyn FnMut(&Record<'_>, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let place = usize::try_from(record.cpu).map_or(MOST_CPUS, |cpu| cpu.min(MOST_CPUS));
        if self.cpus.len() <= place {
            self.cpus.resize(place + 1, Cpu::default());
        }
        if let Some(cpu) = self.cpus.get_mut(place)
            && std::mem::take(&mut cpu.skips_exit)
        {
            return;
        }
        if !self.selection.holds(record) {
            return;
        }
        match record.event {
            Event::FuncgraphEntry { function, depth } => {
                self.entry(record, following, place, function, depth, out);
            }
            Event::FuncgraphExit { .. } => {
                if let Some(exit) = Exit::of(record) {
                    self.exit(record, place, exit, out);
                }
            }
            Event::Function { .. } | Event::Print { .. } | Event::Other(_) => {
                self.comment(record, place, render_event, out);
            }
        }
    }

    #[inline]
    fn entry(
        &mut self,
        record: &Record<'_>,
        following: Option<&Record<'_>>,
        place: usize,
        function: u64,
        recorded_depth: u64,
        out: &mut Vec<u8>,
    ) {
        let number = self.names.number(function);
        let depth = if self.selection.functions.is_some() {
            let is_selected = self.names.is_selected(number);
            let task = Task::of(record);
            let Some(depth) = self.inside.entered(task, recorded_depth, is_selected) else {
                return;
            };
            depth
        } else {
            recorded_depth
        };
        if self.selection.max_depth.is_some_and(|most| depth >= most) {
            return;
        }
        let leaf = following.and_then(|next| {
            let exit = Exit::of(next)?;
            let is_leaf =
                next.pid == record.pid && exit.function == function && self.selection.holds(next);
            is_leaf.then_some(exit)
        });
        let minimum = self.selection.min_duration_ns;
        match leaf {
            Some(exit) => {
                if let Some(cpu) = self.cpus.get_mut(place) {
                    cpu.skips_exit = true;
                    cpu.depth = signed(depth) - 1;
                    cpu.remember(depth, 0);
                }
                if self.selection.functions.is_some() {
                    self.inside.ended(Task::of(record), recorded_depth);
                }
                if exit.duration_ns < minimum {
                    return;
                }
                self.prologue(record, place, out);
                self.irq_arrow(record, function, b"==========>", out);
                self.margin(record, out);
                self.duration(exit.duration_ns, out);
                indent(depth, out);
                self.name(number, out);
                out.extend_from_slice(b"();");
                if self.columns.retval
                    && let Some(retval) = exit.retval
                {
                    out.extend_from_slice(self.palette.comment.as_bytes());
                    out.extend_from_slice(b" /*");
                    self.retval(retval, out);
                    out.extend_from_slice(b" */");
                    out.extend_from_slice(self.palette.reset.as_bytes());
                }
                out.push(b'\n');
                self.irq_arrow(record, function, b"<==========", out);
            }
            None => {
                if let Some(cpu) = self.cpus.get_mut(place) {
                    cpu.depth = signed(depth);
                    cpu.remember(depth, function);
                }
                if minimum > 0 {
                    return;
                }
                self.prologue(record, place, out);
                self.irq_arrow(record, function, b"==========>", out);
                self.margin(record, out);
                self.no_duration(out);
                indent(depth, out);
                self.name(number, out);
                out.extend_from_slice(b"() {\n");
            }
        }
    }

    #[inline]
    fn exit(&mut self, record: &Record<'_>, place: usize, exit: Exit, out: &mut Vec<u8>) {
        let depth = if self.selection.functions.is_some() {
            let Some(depth) = self.inside.ended(Task::of(record), exit.depth) else {
                return;
            };
            depth
        } else {
            exit.depth
        };
        if self.selection.max_depth.is_some_and(|most| depth >= most) {
            return;
        }
        let number = self.names.number(exit.function);
        let mut is_known = true;
        if let Some(cpu) = self.cpus.get_mut(place) {
            cpu.depth = signed(depth) - 1;
            is_known = cpu
                .take(depth)
                .is_none_or(|entered| entered == exit.function);
        }
        let minimum = self.selection.min_duration_ns;
        if exit.duration_ns < minimum {
            return;
        }
        self.prologue(record, place, out);
        self.margin(record, out);
        self.duration(exit.duration_ns, out);
        indent(depth, out);
        let shown_retval = exit.retval.filter(|_| self.columns.retval);
        out.push(b'}');
        if !is_known || self.columns.tail || shown_retval.is_some() || minimum > 0 {
            out.extend_from_slice(self.palette.comment.as_bytes());
            out.extend_from_slice(b" /* ");
            out.extend_from_slice(self.names.text(number));
            if let Some(retval) = shown_retval {
                self.retval(retval, out);
            }
            out.extend_from_slice(b" */");
            out.extend_from_slice(self.palette.reset.as_bytes());
        }
        out.push(b'\n');
        if self.columns.overrun {
            out.extend_from_slice(b" (Overruns: ");
            push_decimal(out, exit.overrun);
            out.extend_from_slice(b")\n");
        }
        self.irq_arrow(record, exit.function, b"<==========", out);
    }

    fn comment(
        &mut self,
        record: &Record<'_>,
        place: usize,
        render_event: &mut dyn FnMut(&Record<'_>, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        if self.selection.functions.is_some() && !self.inside.holds(Task::of(record)) {
            return;
        }
        self.prologue(record, place, out);
        self.margin(record, out);
        self.no_duration(out);
        let depth = self.cpus.get(place).map_or(0, |cpu| cpu.depth);
        if depth > 0 {
            indent(depth.unsigned_abs().saturating_add(1), out);
        }
        out.extend_from_slice(self.palette.comment.as_bytes());
        out.extend_from_slice(b"/* ");
        match record.event {
            Event::Print { text, .. } => out.extend_from_slice(text.as_bytes()),
            Event::Function { ip, parent_ip } => {
                for (before, address) in [(b"".as_slice(), ip), (b" <-".as_slice(), parent_ip)] {
                    let number = self.names.number(address);
                    out.extend_from_slice(before);
                    out.extend_from_slice(self.names.text(number));
                }
            }
            Event::FuncgraphEntry { .. } | Event::FuncgraphExit { .. } | Event::Other(_) => {
                render_event(record, out);
            }
        }
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        out.extend_from_slice(b" */");
        out.extend_from_slice(self.palette.reset.as_bytes());
        out.push(b'\n');
    }

    /// The block that tells of another task on a CPU (`verif_pid`).
    #[inline]
    fn prologue(&mut self, record: &Record<'_>, place: usize, out: &mut Vec<u8>) {
        let before = self
            .cpus
            .get_mut(place)
            .and_then(|cpu| cpu.last_pid.replace(record.pid));
        if let Some(before) = before.filter(|before| *before != record.pid) {
            out.extend_from_slice(RULE);
            self.cpu(record.cpu, out);
            self.proc(before, out);
            out.extend_from_slice(b" => ");
            self.proc(record.pid, out);
            out.push(b'\n');
            out.extend_from_slice(RULE);
            out.push(b'\n');
        }
    }

    /// Time, CPU and task of a line.
    #[inline]
    fn margin(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.columns.abstime {
            let microseconds = record.timestamp_ns / 1000;
            push_padded(out, microseconds / 1_000_000, 5);
            out.push(b'.');
            out.extend_from_slice(&thousandths(microseconds / 1000));
            out.extend_from_slice(&thousandths(microseconds));
            out.extend_from_slice(b" |  ");
        }
        if self.columns.cpu {
            self.cpu(record.cpu, out);
        }
        if self.columns.proc {
            self.proc(record.pid, out);
            out.extend_from_slice(b" | ");
        }
    }

    #[inline]
    fn cpu(&self, cpu: u32, out: &mut Vec<u8>) {
        out.push(b' ');
        push_padded(out, u64::from(cpu), self.cpu_width);
        out.extend_from_slice(b") ");
    }

    /// Name and pid, in the middle of 14 columns (`print_graph_proc`).
    fn proc(&self, pid: i32, out: &mut Vec<u8>) {
        let name = self.tasks.name(pid).as_bytes();
        let name = name.get(..7).unwrap_or(name);
        let mut text = Vec::with_capacity(24);
        text.extend_from_slice(name);
        text.push(b'-');
        push_signed(&mut text, i64::from(pid));
        let blanks = 14_usize.saturating_sub(text.len());
        push_blanks(out, blanks / 2);
        out.extend_from_slice(&text);
        push_blanks(out, blanks - blanks / 2);
    }

    #[inline]
    fn duration(&self, duration_ns: u64, out: &mut Vec<u8>) {
        if !self.columns.duration {
            return;
        }
        let mark = if self.columns.overhead {
            mark(duration_ns)
        } else {
            b' '
        };
        let is_long = mark != b' ' && !self.palette.long.is_empty();
        if is_long {
            out.extend_from_slice(self.palette.long.as_bytes());
        }
        out.extend_from_slice(&[mark, b' ']);
        let before = out.len();
        let microseconds = duration_ns / 1000;
        push_decimal(out, microseconds);
        let digits = out.len() - before;
        // Seven digits in all: the fraction is cut as the number grows.
        if digits < 7 {
            out.push(b'.');
            let fraction = thousandths(duration_ns);
            let shown = 3.min(7 - digits);
            out.extend_from_slice(fraction.get(..shown).unwrap_or_default());
        }
        let width = out.len() - before;
        out.extend_from_slice(b" us ");
        if is_long {
            out.extend_from_slice(self.palette.reset.as_bytes());
        }
        push_blanks(out, 8_usize.saturating_sub(width));
        out.extend_from_slice(b"|  ");
    }

    #[inline]
    fn no_duration(&self, out: &mut Vec<u8>) {
        if self.columns.duration {
            out.extend_from_slice(b"              |  ");
        }
    }

    #[inline]
    fn name(&self, number: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.palette.function.as_bytes());
        out.extend_from_slice(self.names.text(number));
        out.extend_from_slice(self.palette.reset.as_bytes());
    }

    /// What a call returned (`print_graph_retval`): an error number as such, any other value in hexadecimal.
    fn retval(&self, retval: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b" ret=");
        // An `int` comes with the upper half clear.
        let bits = retval.cast_unsigned();
        let value = match u32::try_from(bits) {
            Ok(low) => i64::from(low.cast_signed()),
            Err(_) => retval,
        };
        // `MAX_ERRNO`, `include/linux/err.h`.
        if !self.columns.retval_hex && (-4095..0).contains(&value) {
            push_signed(out, value);
        } else {
            out.extend_from_slice(b"0x");
            push_hex(out, bits);
        }
    }

    #[inline]
    fn irq_arrow(&self, record: &Record<'_>, function: u64, arrow: &[u8], out: &mut Vec<u8>) {
        if !self.irq_text.contains(&function) {
            return;
        }
        self.margin(record, out);
        let (before, after): (&[u8], &[u8]) = if self.columns.duration {
            (b"  ", b" |")
        } else {
            (b"", b"")
        };
        for part in [before, arrow, after] {
            out.extend_from_slice(part);
        }
        out.push(b'\n');
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            last_pid: None,
            depth: 0,
            entered: [0; REMEMBERED_DEPTHS],
            skips_exit: false,
        }
    }
}

impl Cpu {
    /// Remembers the function that was entered at a depth; 0 for none.
    #[inline]
    fn remember(&mut self, depth: u64, function: u64) {
        if let Some(entered) = usize::try_from(depth)
            .ok()
            .and_then(|depth| self.entered.get_mut(depth))
        {
            *entered = function;
        }
    }

    /// The function that was entered at a depth; `None` where the kernel does not look.
    #[inline]
    fn take(&mut self, depth: u64) -> Option<u64> {
        let entered = self.entered.get_mut(usize::try_from(depth).ok()?)?;
        Some(std::mem::take(entered))
    }
}

impl Exit {
    #[inline]
    fn of(record: &Record<'_>) -> Option<Self> {
        match record.event {
            Event::FuncgraphExit {
                function,
                depth,
                retval,
                overrun,
                calltime,
                rettime,
            } => Some(Self {
                function,
                depth,
                retval,
                overrun,
                duration_ns: rettime.wrapping_sub(calltime),
            }),
            Event::FuncgraphEntry { .. }
            | Event::Function { .. }
            | Event::Print { .. }
            | Event::Other(_) => None,
        }
    }
}

/// The mark of a long call (`trace_find_mark`).
#[inline]
fn mark(duration_ns: u64) -> u8 {
    match duration_ns {
        0..=10_000 => b' ',
        10_001..=100_000 => b'+',
        100_001..=1_000_000 => b'!',
        1_000_001..=10_000_000 => b'#',
        10_000_001..=100_000_000 => b'*',
        100_000_001..=1_000_000_000 => b'@',
        _ => b'$',
    }
}

#[inline]
fn indent(depth: u64, out: &mut Vec<u8>) {
    let columns = depth.saturating_mul(2).min(MOST_INDENT);
    push_blanks(out, usize::try_from(columns).unwrap_or(0));
}

fn signed(depth: u64) -> i64 {
    i64::try_from(depth).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::Glob;
    use crate::made::{address, enter, leave, of, on, overrun, print, returning, symbols};

    /// Replays records, each with the one that follows on its CPU.
    fn replay(
        records: &[Record<'_>],
        selection: Selection,
        change: impl for<'a> FnOnce(KernelReplay<'a>) -> KernelReplay<'a>,
    ) -> String {
        let symbols = symbols();
        let tasks = SavedCmdlines::parse(b"7 first\n8 second-task\n");
        let functions = Functions::new(&symbols);
        let mut replay = change(KernelReplay::new(functions, &tasks, 2, selection));
        let mut out = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let following = records[place + 1..]
                .iter()
                .find(|next| next.cpu == record.cpu);
            let mut render = |_: &Record<'_>, out: &mut Vec<u8>| out.extend(b"event: x=1");
            replay.record(record, following, &mut render, &mut out);
        }
        String::from_utf8(out).expect("it is ASCII")
    }

    #[track_caller]
    fn check(records: &[Record<'_>], expected: &str) {
        let text = replay(records, Selection::default(), |replay| replay);
        assert_eq!(text, expected);
    }

    #[track_caller]
    fn check_selected(selection: Selection, expected: &str) {
        assert_eq!(replay(&nested(), selection, |replay| replay), expected);
    }

    /// `a` with a leaf `b`, and `c` with a leaf `m`.
    fn nested() -> Vec<Record<'static>> {
        vec![
            enter(0, 'a', 0),
            enter(1_000, 'b', 1),
            leave(1_000, 1_500, 'b', 1),
            enter(2_000, 'c', 1),
            enter(3_000, 'm', 2),
            leave(3_000, 15_345, 'm', 2),
            leave(2_000, 20_000, 'c', 1),
            leave(0, 1_200_000, 'a', 0),
        ]
    }

    #[test]
    fn calls_are_written_as_the_kernel_does() {
        check(
            &nested(),
            " \
0)               |  a() {
 0)   0.500 us    |    b();
 0)               |    c() {
 0) + 12.345 us   |      m [test]();
 0) + 18.000 us   |    }
 0) # 1200.000 us |  }
",
        );
    }

    #[test]
    fn durations_have_the_kernels_marks_and_seven_digits() {
        for (duration, expected) in [
            (0, "  0.000 us    |  "),
            (10_000, "  10.000 us   |  "),
            (10_001, "+ 10.001 us   |  "),
            (100_001, "! 100.001 us  |  "),
            (1_000_001, "# 1000.001 us |  "),
            (12_345_678, "* 12345.67 us |  "),
            (123_456_789, "@ 123456.7 us |  "),
            (1_234_567_890, "$ 1234567 us  |  "),
            (123_456_789_012, "$ 123456789 us |  "),
        ] {
            check(
                &[enter(0, 'a', 0), leave(0, duration, 'a', 0)],
                &format!(" 0) {expected}a();\n"),
            );
        }
    }

    #[test]
    fn an_end_without_its_start_names_the_function() {
        check(
            &[
                leave(0, 500, 'a', 1),
                enter(600, 'b', 1),
                enter(700, 'c', 2),
                leave(600, 800, 'd', 1),
            ],
            " \
0)   0.500 us    |    } /* a */
 0)               |    b() {
 0)               |      c() {
 0)   0.200 us    |    } /* d */
",
        );
    }

    #[test]
    fn another_task_on_a_cpu_has_a_block_and_makes_no_leaf() {
        // The kernel remembers one function for each depth of a CPU, whatever task it was in.
        check(
            &[
                enter(0, 'a', 0),
                of(8, enter(1, 'a', 0)),
                on(1, of(0, enter(2, 'b', 0))),
                of(8, leave(1, 1_000, 'a', 0)),
                leave(0, 2_000, 'a', 0),
            ],
            " \
0)               |  a() {
 ------------------------------------------
 0)    first-7     =>   second--8   \n ------------------------------------------

 0)   0.999 us    |  a();
 1)               |  b() {
 ------------------------------------------
 0)   second--8    =>    first-7    \n ------------------------------------------

 0)   2.000 us    |  } /* a */
",
        );
    }

    #[test]
    fn events_are_comments_at_the_depth_of_the_calls() {
        check(
            &[
                print(0, "before"),
                enter(1, 'a', 0),
                enter(2, 'b', 1),
                print(3, "in b"),
                leave(2, 4, 'b', 1),
                print(5, "in a"),
            ],
            " \
0)               |  /* before */
 0)               |  a() {
 0)               |    b() {
 0)               |      /* in b */
 0)   0.002 us    |    }
 0)               |  /* in a */
",
        );
    }

    #[test]
    fn what_calls_returned_is_written_as_the_kernel_does() {
        let columns = Columns {
            retval: true,
            ..Columns::default()
        };
        for (value, decimal, hex) in [
            (0, "0x0", "0x0"),
            (0x202, "0x202", "0x202"),
            (-1, "-1", "0xffffffffffffffff"),
            (-4095, "-4095", "0xfffffffffffff001"),
            (-4096, "0xfffffffffffff000", "0xfffffffffffff000"),
            (0xffff_fff0, "-16", "0xfffffff0"),
            (0x8000_0000, "0x80000000", "0x80000000"),
        ] {
            for (retval_hex, text) in [(false, decimal), (true, hex)] {
                let records = [
                    enter(0, 'a', 0),
                    enter(1, 'b', 1),
                    returning(value, leave(1, 2, 'b', 1)),
                    returning(value, leave(0, 3, 'a', 0)),
                ];
                let columns = Columns {
                    retval_hex,
                    ..columns
                };
                let written = replay(&records, Selection::default(), |replay| {
                    replay.with_columns(columns)
                });
                let expected = format!(
                    " 0)               |  a() {{\n 0)   0.001 us    |    b(); /* ret={text} */\n \
                     0)   0.003 us    |  }} /* a ret={text} */\n"
                );
                assert_eq!(written, expected);
            }
        }
    }

    #[test]
    fn all_columns_are_written_as_the_kernel_does() {
        let columns = Columns {
            abstime: true,
            proc: true,
            tail: true,
            overhead: false,
            overrun: true,
            ..Columns::default()
        };
        let records = [
            enter(1_000_000_000, 'a', 0),
            enter(1_000_001_000, 'b', 1),
            print(1_000_001_500, "text"),
            leave(0, 1_000_002_999, 'b', 1),
            overrun(4, leave(0, 2_000_000, 'a', 0)),
        ];
        let written = replay(&records, Selection::default(), |replay| {
            replay.with_columns(columns)
        });
        let expected = "    \
1.000000 |   0)    first-7     |               |  a() {
    1.000001 |   0)    first-7     |               |    b() {
    1.000001 |   0)    first-7     |               |      /* text */
    1.000002 |   0)    first-7     |   1000002 us  |    } /* b */
 (Overruns: 0)
    0.002000 |   0)    first-7     |   2000.000 us |  } /* a */
 (Overruns: 4)
";
        assert_eq!(written, expected);
        let symbols = symbols();
        let tasks = SavedCmdlines::default();
        let replay = KernelReplay::new(Functions::new(&symbols), &tasks, 2, Selection::default());
        let mut header = Vec::new();
        replay.header(&mut header);
        let expected = "\
# tracer: function_graph
#
# CPU  DURATION                  FUNCTION CALLS
# |     |   |                     |   |   |   |
";
        assert_eq!(String::from_utf8_lossy(&header), expected);
    }

    #[test]
    fn interrupts_have_arrows_when_their_place_is_told() {
        let records = [
            enter(0, 'a', 0),
            enter(1, 'i', 1),
            leave(1, 2, 'i', 1),
            leave(0, 3, 'a', 0),
        ];
        let written = replay(&records, Selection::default(), |replay| {
            replay.with_irq_text(address('i')..address('j'))
        });
        let expected = " \
0)               |  a() {
 0)   ==========> |
 0)   0.001 us    |    i();
 0)   <========== |
 0)   0.003 us    |  }
";
        assert_eq!(written, expected);
    }

    #[test]
    fn losses_are_told_and_colours_put_around() {
        let symbols = symbols();
        let tasks = SavedCmdlines::default();
        let functions = Functions::new(&symbols);
        let palette = Palette {
            function: "<f>",
            long: "<l>",
            comment: "<c>",
            reset: "</>",
        };
        let mut replay =
            KernelReplay::new(functions, &tasks, 130, Selection::default()).with_palette(palette);
        let mut out = Vec::new();
        replay.lost(1, Some(17), &mut out);
        replay.lost(2, None, &mut out);
        let records = [enter(0, 'a', 0), leave(0, 20_000, 'a', 0)];
        replay.record(&records[0], Some(&records[1]), &mut |_, _| (), &mut out);
        replay.record(&records[1], None, &mut |_, _| (), &mut out);
        replay.record(&print(1, "x"), None, &mut |_, _| (), &mut out);
        let expected = "\
CPU:1 [LOST 17 EVENTS]
CPU:2 [LOST EVENTS]
   0) <l>+ 20.000 us </>  |  <f>a</>();
   0)               |  <c>/* x */</>
";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_selected_function_is_written_with_what_it_called() {
        let selection = |name| Selection {
            functions: Some(Glob::new(name)),
            ..Selection::default()
        };
        check_selected(
            selection("c"),
            " 0)               |  c() {\n 0) + 12.345 us   |    m [test]();\n 0) + 18.000 us   |  }\n",
        );
        check_selected(selection("b"), " 0)   0.500 us    |  b();\n");
        check_selected(selection("x"), "");
    }

    #[test]
    fn a_least_duration_leaves_the_ends_of_long_calls() {
        check_selected(
            Selection {
                min_duration_ns: 12_345,
                ..Selection::default()
            },
            " \
0) + 12.345 us   |      m [test]();
 0) + 18.000 us   |    } /* c */
 0) # 1200.000 us |  } /* a */
",
        );
    }

    #[test]
    fn depth_time_cpu_and_task_select() {
        check_selected(
            Selection {
                max_depth: Some(1),
                ..Selection::default()
            },
            " 0)               |  a() {\n 0) # 1200.000 us |  }\n",
        );
        check_selected(
            Selection {
                from_ns: Some(2_000),
                until_ns: Some(15_345),
                ..Selection::default()
            },
            " 0)               |    c() {\n 0)               |      m [test]() {\n",
        );
        for selection in [
            Selection {
                cpu: Some(1),
                ..Selection::default()
            },
            Selection {
                pid: Some(8),
                ..Selection::default()
            },
        ] {
            check_selected(selection, "");
        }
    }
}
