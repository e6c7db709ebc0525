// SPDX-License-Identifier: GPL-2.0-only

//! Writes the calls of a trace as an indented text, while the trace goes through.
//!
//! In: records by time. Out: lines at the end of a buffer, which the caller writes out and empties as it likes.
//! [`KernelReplay`] writes what `cat trace` shows with function_graph, a line per record, as the records come.
//! [`LocalReplay`] writes one line per call with its entry, duration and self time, when the outermost call has ended.
//! A [`Selection`] says which calls to write.

mod kernel;
mod local;

use std::collections::HashMap;

use deferinit_ftrace::record::Record;
use foldhash::fast::RandomState;

use crate::addresses::Addresses;
use crate::functions::Functions;
use crate::glob::Glob;
use crate::report::OTHER_FUNCTIONS;
use crate::task::Task;

pub use kernel::{Columns, KernelReplay};
pub use local::{LocalReplay, MOST_CALLS, MOST_CALLS_PER_TASK};

/// Tasks whose place below a selected function is remembered. Those that never return from it would pile up.
const MOST_INSIDE: usize = 1 << 16;

/// Which calls to write. The default is all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only the calls of functions with such a name, and all below them, as if these were the outermost.
    pub functions: Option<Glob>,
    /// Only the task with this pid; 0 stands for the idle tasks of all CPUs.
    pub pid: Option<i32>,
    /// Only what happened on this CPU; in the local style, calls that were entered there.
    pub cpu: Option<u32>,
    /// Only records from this time on, by the trace's clock; in the local style, calls by their entry.
    pub from_ns: Option<u64>,
    /// Only records before this time, by the trace's clock.
    pub until_ns: Option<u64>,
    /// Only calls that took at least as long.
    pub min_duration_ns: u64,
    /// Only so many levels of calls: 1 is the outermost ones.
    pub max_depth: Option<u64>,
}

/// What to write around the parts of a line. Plain text has nothing there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Palette {
    /// Before the name of a function.
    pub function: &'static str,
    /// Before a duration with an overhead mark.
    pub long: &'static str,
    /// Before a comment.
    pub comment: &'static str,
    /// After each of these.
    pub reset: &'static str,
}

impl Selection {
    /// Whether a record is from a selected time, CPU and task.
    #[inline]
    fn holds(&self, record: &Record<'_>) -> bool {
        self.pid.is_none_or(|pid| record.pid == pid)
            && self.cpu.is_none_or(|cpu| record.cpu == cpu)
            && self.from_ns.is_none_or(|from| record.timestamp_ns >= from)
            && self
                .until_ns
                .is_none_or(|until| record.timestamp_ns < until)
    }
}

/// Names of functions by the numbers of their addresses, ready to be written.
#[derive(Debug)]
struct Names<'a> {
    functions: Functions<'a>,
    addresses: Addresses,
    /// By number: the name, with the module as the kernel's `%ps` writes it, and whether it is a selected one.
    names: Vec<Name>,
    selected: Option<Glob>,
}

#[derive(Debug, Clone, Default)]
struct Name {
    text: Vec<u8>,
    is_selected: bool,
}

impl<'a> Names<'a> {
    fn new(functions: Functions<'a>, selected: Option<Glob>) -> Self {
        let others = Name {
            text: OTHER_FUNCTIONS.into(),
            is_selected: false,
        };
        Self {
            functions,
            addresses: Addresses::default(),
            names: vec![others],
            selected,
        }
    }

    /// The number of the function at an address.
    #[inline]
    fn number(&mut self, address: u64) -> usize {
        let number = self.addresses.number(address);
        if number >= self.names.len() {
            self.learn();
        }
        number
    }

    #[inline]
    fn text(&self, number: usize) -> &[u8] {
        self.names
            .get(number)
            .map_or(b"", |name| name.text.as_slice())
    }

    #[inline]
    fn is_selected(&self, number: usize) -> bool {
        self.names.get(number).is_some_and(|name| name.is_selected)
    }

    #[cold]
    fn learn(&mut self) {
        for number in self.names.len()..self.addresses.len() {
            let name = self.addresses.address(number).and_then(|address| {
                let id = self.functions.at(address);
                let name = self.functions.name(id)?;
                Some(Name {
                    text: match &name.module {
                        Some(module) => format!("{} [{module}]", name.name).into(),
                        None => name.name.clone().into(),
                    },
                    is_selected: self
                        .selected
                        .as_ref()
                        .is_some_and(|glob| glob.matches(&name.name)),
                })
            });
            self.names.push(name.unwrap_or_default());
        }
    }
}

/// Where each task is below a selected function.
#[derive(Debug, Default)]
struct Inside {
    /// The depth of the selected call that a task is in.
    bases: HashMap<Task, u64, RandomState>,
}

impl Inside {
    /// The depth of an entered call below the selected one around it, or itself. `None` outside of all.
    fn entered(&mut self, task: Task, depth: u64, is_selected: bool) -> Option<u64> {
        match self.bases.get(&task) {
            Some(base) if depth > *base => return Some(depth - base),
            // Still inside of it by the records, but the stack says that it is over: its exit was lost.
            Some(_) => self.bases.remove(&task),
            None => None,
        };
        if !is_selected {
            return None;
        }
        if self.bases.len() >= MOST_INSIDE {
            self.bases.clear();
        }
        self.bases.insert(task, depth);
        Some(0)
    }

    /// The same for a call that ended.
    fn ended(&mut self, task: Task, depth: u64) -> Option<u64> {
        let base = *self.bases.get(&task)?;
        if depth <= base {
            self.bases.remove(&task);
        }
        depth.checked_sub(base)
    }

    /// Whether a task is below a selected call, or in it.
    fn holds(&self, task: Task) -> bool {
        self.bases.contains_key(&task)
    }
}
