// SPDX-License-Identifier: GPL-2.0-only

//! Fields of real records, held against what trace-cmd reads in the same file. trace-cmd must be installed: `make setup`
//! does that.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other reader is a program, and takes a file"
)]

use std::process::Command;

use deferinit_ftrace::trace_dat::{TraceDat, TraceDatCpu};
use deferinit_trace::fields::{self, Value};
use deferinit_trace::names::Names;

use crate::captures::{self, Raw, Trace};

/// What `trace-cmd report -R` prints of a capture.
fn raw_report(raw: Raw, trace: &Trace) -> String {
    let cpus: Vec<TraceDatCpu<'_>> = trace
        .cpus()
        .into_iter()
        .zip(raw.cpus)
        .map(|(data, (_, stats))| TraceDatCpu {
            data,
            stats: stats.as_bytes(),
        })
        .collect();
    let file = TraceDat {
        page_size: 4096,
        user_long_size: 8,
        sub_buffer_size: 4096,
        header_page: captures::HEADER_PAGE.as_bytes(),
        header_event: captures::HEADER_EVENT.as_bytes(),
        formats: &trace.formats,
        kallsyms: captures::KALLSYMS.as_bytes(),
        printk_formats: captures::PRINTK_FORMATS,
        saved_cmdlines: raw.saved_cmdlines,
        trace_clock: "[local] global counter\n",
        uname: "Linux guest 7.3.4 x86_64",
        version: "deferinit",
    }
    .write(&cpus)
    .expect("the capture is whole");
    let folder = tempfile::tempdir().expect("there is room for a file");
    let path = folder.path().join("trace.dat");
    std::fs::write(&path, file).expect("there is room for a file");
    let output = Command::new("trace-cmd")
        .args(["report", "-R", "-i"])
        .arg(&path)
        .env("TMPDIR", folder.path())
        .output()
        .expect("trace-cmd is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a value is what trace-cmd prints for it: by the event's print format, which this crate does not interpret, a
/// number may be decimal, hexadecimal or a symbol, and an array is its bytes.
fn is_same(value: Value<'_>, printed: &str, names: &mut Names<'_>) -> bool {
    let number = |value: i128| {
        let digits = printed.strip_prefix("0x").unwrap_or(printed);
        printed.parse() == Ok(value)
            || u64::from_str_radix(digits, 16).is_ok_and(|hex| i128::from(hex) == value)
    };
    match value {
        Value::Signed(value) => number(i128::from(value)),
        Value::Unsigned(value) => {
            number(i128::from(value)) || printed.trim_end_matches("+0x0") == names.place(value)
        }
        Value::Pointer(value) => {
            number(i128::from(value))
                || (value == 0 && printed == "(nil)")
                || names.constant(value) == Some(printed)
        }
        Value::Code(value) | Value::Function(value) => {
            number(i128::from(value))
                || printed.trim_end_matches("+0x0") == names.place(value)
                || printed == names.function(value)
        }
        Value::Text(text) => printed == String::from_utf8_lossy(text),
        Value::Integers(values) | Value::Frames(values) => {
            let bytes: Vec<String> = values
                .bits()
                .flat_map(u64::to_le_bytes)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            // A stack has as many frames as it has, and trace-cmd prints the eight that the format file says.
            let printed: Vec<&str> = printed
                .trim_start_matches("ARRAY[")
                .trim_end_matches(']')
                .split(", ")
                .filter(|byte| !byte.is_empty())
                .collect();
            let both = bytes.len().min(printed.len());
            bytes[..both] == printed[..both]
                && (matches!(value, Value::Frames(_)) || bytes.len() == printed.len())
        }
        Value::Bits(_) | Value::Bytes(_) | Value::Missing => false,
    }
}

/// Holds each field of each record against trace-cmd's.
#[track_caller]
fn check(raw: Raw, expected_fields: usize) {
    let trace = Trace::of(raw);
    let report = raw_report(raw, &trace);
    let mut lines = report.lines().filter(|line| line.contains(": "));
    let mut names = trace.names();
    let mut compared = 0;
    trace.each(|record| {
        let line = lines.next().expect("trace-cmd has a line for each record");
        let (head, rest) = line.split_once(": ").expect("a line has a time");
        let microseconds = (record.timestamp_ns + 500) / 1000;
        let time = format!(
            "{}.{:06}",
            microseconds / 1_000_000,
            microseconds % 1_000_000
        );
        let place = format!("[{:03}]", record.cpu);
        assert!(
            head.ends_with(&time) && head.contains(&place),
            "{line} at {time} on {place}"
        );
        let (event, printed) = rest.split_once(':').expect("a line has an event");
        assert_eq!(fields::event_name(record).1, event, "{line}");
        let mut values = Vec::new();
        trace
            .fields
            .each(record, |name, value| values.push((name.to_owned(), value)));
        for (name, value) in values {
            let start = format!(" {name}=");
            let (_, behind) = printed
                .split_once(&start)
                .unwrap_or_else(|| panic!("trace-cmd has no {name} in {line}"));
            // A value ends where the next field's name begins; a text may have blanks.
            let end = behind
                .match_indices(' ')
                .map(|(at, _)| at)
                .find(|at| {
                    let word = behind[at + 1..].split(' ').next().unwrap_or_default();
                    word.split_once('=').is_some_and(|(name, _)| {
                        name.chars()
                            .all(|letter| letter.is_alphanumeric() || letter == '_')
                    })
                })
                .unwrap_or(behind.len());
            assert!(
                is_same(value, &behind[..end], &mut names),
                "{event}.{name} is {value:?}, trace-cmd says {:?}",
                &behind[..end]
            );
            compared += 1;
        }
    });
    assert_eq!((lines.next(), compared), (None, expected_fields));
}

#[test]
fn fields_of_events_probes_and_stacks_are_those_that_trace_cmd_reads() {
    check(captures::EVENTS, 2494);
}

#[test]
fn fields_of_functions_are_those_that_trace_cmd_reads() {
    check(captures::FUNCTION, 624);
}

#[test]
fn fields_of_calls_are_those_that_trace_cmd_reads() {
    check(captures::FUNCTION_GRAPH, 3361);
}
