// SPDX-License-Identifier: GPL-2.0-only

//! Names the tasks and the code addresses of a trace, each address resolved once.
//!
//! In: symbols, saved names of tasks, and constant texts. Out: texts to show; control characters in them are written `\x1b`, since the
//! names come from a guest and go to a terminal.

use std::collections::HashMap;

use deferinit_ftrace::printk_formats::PrintkFormats;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;

use crate::numbers;
use crate::task::Task;

/// At most this many addresses, and this many tasks, keep their names; then all are resolved anew. A kernel has some
/// 60,000 functions that can be traced; a broken trace may have any number of addresses.
const KEPT: usize = 1 << 17;

/// Places of the direct-mapped front of a table, as a power of two. Most records are about few functions, and hashing for
/// a map costs more than writing the name.
const RECENT_BITS: u32 = 10;

/// The names of one trace.
#[derive(Debug, Clone)]
pub struct Names<'a> {
    symbols: &'a Symbols,
    tasks: &'a SavedCmdlines,
    constants: Option<&'a PrintkFormats>,
    functions: Table,
    places: Table,
    labels: Table,
}

/// Names by a number.
#[derive(Debug, Clone)]
struct Table {
    /// The number that fell on each place last, and the place of its name.
    recent: Vec<Option<(u64, usize)>>,
    places: HashMap<u64, usize>,
    names: Vec<String>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            recent: vec![None; 1 << RECENT_BITS],
            places: HashMap::new(),
            names: Vec::new(),
        }
    }
}

impl Table {
    #[inline]
    fn get(&mut self, key: u64, name: impl FnOnce() -> String) -> &str {
        // Functions begin at multiples of 16; the product's upper bits depend on all of the number.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - RECENT_BITS);
        let slot = usize::try_from(hash).unwrap_or(0);
        let place = match self.recent.get(slot) {
            Some(Some((known, place))) if *known == key => *place,
            _ => self.look_up(key, slot, name),
        };
        self.names.get(place).map_or("", String::as_str)
    }

    fn look_up(&mut self, key: u64, slot: usize, name: impl FnOnce() -> String) -> usize {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                if self.names.len() >= KEPT {
                    *self = Self::default();
                }
                let place = self.names.len();
                let mut plain = Vec::new();
                numbers::push_plain(&mut plain, name().as_bytes());
                self.names
                    .push(String::from_utf8_lossy(&plain).into_owned());
                self.places.insert(key, place);
                place
            }
        };
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = Some((key, place));
        }
        place
    }
}

impl<'a> Names<'a> {
    /// Names out of these tables; either may be empty.
    #[must_use]
    pub fn new(symbols: &'a Symbols, tasks: &'a SavedCmdlines) -> Self {
        Self {
            symbols,
            tasks,
            constants: None,
            functions: Table::default(),
            places: Table::default(),
            labels: Table::default(),
        }
    }

    /// The same, with the constant texts that fields point to.
    #[must_use]
    pub fn with_constants(mut self, constants: &'a PrintkFormats) -> Self {
        self.constants = Some(constants);
        self
    }

    /// The constant text at an address.
    #[must_use]
    pub fn constant(&self, address: u64) -> Option<&'a str> {
        self.constants?.text(address)
    }

    /// The symbols.
    #[must_use]
    pub fn symbols(&self) -> &'a Symbols {
        self.symbols
    }

    /// The saved names of tasks.
    #[must_use]
    pub fn tasks(&self) -> &'a SavedCmdlines {
        self.tasks
    }

    /// The function an address lies in, demangled if it is a Rust one: `vfs_read`, or `0x4010` if no symbol covers it.
    pub fn function(&mut self, address: u64) -> &str {
        let symbols = self.symbols;
        self.functions.get(address, || {
            symbols
                .resolve(address)
                .map_or_else(|| format!("{address:#x}"), |found| demangled(found.name))
        })
    }

    /// The same with the distance from the function's start, if there is one: `vfs_read+0x1d`.
    pub fn place(&mut self, address: u64) -> &str {
        let symbols = self.symbols;
        self.places.get(address, || match symbols.resolve(address) {
            Some(found) if found.offset == 0 => demangled(found.name),
            Some(found) => format!("{}+{:#x}", demangled(found.name), found.offset),
            None => format!("{address:#x}"),
        })
    }

    /// `NAME-PID` of a task, as [`Task::label`].
    pub fn task(&mut self, task: Task) -> &str {
        let tasks = self.tasks;
        // All idle tasks have one name.
        let key = u64::from(task.pid().cast_unsigned());
        self.labels.get(key, || task.label(tasks))
    }
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The five flag columns of a record as the kernel's traces have them: interrupts, resched, hard and soft interrupt,
/// preemption depth, migration (`trace_print_lat_fmt` in `kernel/trace/trace_output.c`, Linux 7.3).
pub(crate) fn push_flags(out: &mut Vec<u8>, flags: u8, preempt_count: u8) {
    let set = |bit: u8| flags & bit != 0;
    out.push(match (set(0x01), set(0x80)) {
        (true, true) => b'D',
        (true, false) => b'd',
        (false, true) => b'b',
        (false, false) => b'.',
    });
    out.push(match (set(0x04), set(0x02), set(0x20)) {
        (true, true, true) => b'B',
        (true, false, true) => b'N',
        (false, true, true) => b'L',
        (true, true, false) => b'b',
        (true, false, false) => b'n',
        (false, false, true) => b'p',
        (false, true, false) => b'l',
        (false, false, false) => b'.',
    });
    out.push(match (set(0x40), set(0x08), set(0x10)) {
        (true, true, _) => b'Z',
        (true, false, _) => b'z',
        (false, true, true) => b'H',
        (false, true, false) => b'h',
        (false, false, true) => b's',
        (false, false, false) => b'.',
    });
    for depth in [preempt_count & 0xf, preempt_count >> 4] {
        out.extend(b".123456789abcdef".get(usize::from(depth)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_an_offset_and_functions_have_none() {
        let symbols = Symbols::parse("ffffffff81000000 T schedule\nffffffff81000040 T do_idle\n")
            .expect("a table of symbols");
        let tasks = SavedCmdlines::parse(b"7 init\n");
        let mut names = Names::new(&symbols, &tasks);
        assert_eq!(names.function(0xffff_ffff_8100_0004), "schedule");
        assert_eq!(names.place(0xffff_ffff_8100_0004), "schedule+0x4");
        assert_eq!(names.place(0xffff_ffff_8100_0000), "schedule");
        assert_eq!(names.place(0x10), "0x10");
        assert_eq!(names.task(Task::Pid(7)), "init-7");
        assert_eq!(names.task(Task::Idle { cpu: 3 }), "<idle>-0");
    }

    #[test]
    fn names_cannot_act_on_a_terminal() {
        let symbols = Symbols::parse("1000 T a\u{1b}[2Jb\n").expect("a table of symbols");
        let tasks = SavedCmdlines::parse(b"7 x\x1b[31m\n");
        let mut names = Names::new(&symbols, &tasks);
        assert_eq!(names.task(Task::Pid(7)), "x\\x1b[31m-7");
        assert_eq!(names.function(0x1000), "a\\x1b[2Jb");
    }

    #[test]
    fn names_are_resolved_anew_when_there_are_too_many() {
        let (symbols, tasks) = (Symbols::default(), SavedCmdlines::default());
        let mut names = Names::new(&symbols, &tasks);
        for address in (0..KEPT as u64 + 10).chain(0..10) {
            assert_eq!(names.function(address), format!("{address:#x}"));
        }
        assert!(names.functions.names.len() < 100);
    }

    #[test]
    fn flags_are_the_kernels_letters() {
        for (flags, preempt_count, expected) in [
            (0, 0, "....."),
            (0x01, 1, "d..1."),
            (0x81, 0x10, "D...1"),
            (0x24 | 0x08 | 0x01, 4, "dNh4."),
            (0x18, 0xf, "..Hf."),
            (0x40, 0, "..z.."),
        ] {
            let mut out = Vec::new();
            push_flags(&mut out, flags, preempt_count);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{flags:#x}");
        }
    }
}
