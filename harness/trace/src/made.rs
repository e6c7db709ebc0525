// SPDX-License-Identifier: GPL-2.0-only

//! Makes records by hand, for tests.

use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::symbols::Symbols;

/// Functions `a` to `z` lie here, 256 bytes each; `m` and what follows in a module.
const KERNEL: u64 = 0xffff_ffff_8100_0000;

/// The address that records of a function named by a letter have.
pub(crate) fn address(name: char) -> u64 {
    KERNEL + 256 * (u64::from(name) - u64::from('a')) + 4
}

/// The letter of an address.
pub(crate) fn letter(address: u64) -> char {
    let place = u32::try_from((address - KERNEL) / 256).expect("it is a letter's");
    char::from_u32(u32::from('a') + place).expect("it is a letter's")
}

/// `a` to `z` are functions; those from `m` on belong to the module `test`.
pub(crate) fn symbols() -> Symbols {
    let text: String = ('a'..='z')
        .map(|name| {
            let module = if name >= 'm' { "\t[test]" } else { "" };
            format!("{:x} t {name}{module}\n", address(name) - 4)
        })
        .collect();
    Symbols::parse(&text).expect("the table is sound")
}

/// A record of task 7 on CPU 0.
fn record(timestamp_ns: u64, event: Event<'_>) -> Record<'_> {
    Record {
        timestamp_ns,
        cpu: 0,
        pid: 7,
        flags: 0,
        preempt_count: 0,
        event,
    }
}

/// An entry.
pub(crate) fn enter(at: u64, name: char, depth: u64) -> Record<'static> {
    let function = address(name);
    record(at, Event::FuncgraphEntry { function, depth })
}

/// An exit; the call took from one time to the other.
pub(crate) fn leave(from: u64, to: u64, name: char, depth: u64) -> Record<'static> {
    let event = Event::FuncgraphExit {
        function: address(name),
        depth,
        retval: Some(0),
        overrun: 0,
        calltime: from,
        rettime: to,
    };
    record(to, event)
}

/// A text from `trace_marker`.
pub(crate) fn print(at: u64, text: &str) -> Record<'_> {
    record(at, Event::Print { ip: 0, text })
}

/// The same record of another CPU.
pub(crate) fn on(cpu: u32, record: Record<'_>) -> Record<'_> {
    Record { cpu, ..record }
}

/// The same record of another task.
pub(crate) fn of(pid: i32, record: Record<'_>) -> Record<'_> {
    Record { pid, ..record }
}

/// The same exit with so many overruns.
pub(crate) fn overrun(count: u64, mut record: Record<'_>) -> Record<'_> {
    if let Event::FuncgraphExit { overrun, .. } = &mut record.event {
        *overrun = count;
    }
    record
}

/// The same exit with what it returned.
pub(crate) fn returning(value: i64, mut record: Record<'_>) -> Record<'_> {
    if let Event::FuncgraphExit { retval, .. } = &mut record.event {
        *retval = Some(value);
    }
    record
}
