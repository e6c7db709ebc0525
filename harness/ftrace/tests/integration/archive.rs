// SPDX-License-Identifier: GPL-2.0-only

//! trace.dat files, as trace-cmd reads them. trace-cmd must be installed: `make setup` does that.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the reader is another program, and takes a file"
)]

use std::process::Command;

use deferinit_ftrace::capture::Capture;
use deferinit_ftrace::encode::SubBufferEncoder;
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::CpuSubBuffers;
use deferinit_ftrace::persistent::Region;
use deferinit_ftrace::record::Event;
use deferinit_ftrace::trace_dat::{TraceDat, TraceDatCpu, WriteError};

use crate::build::{
    FORMATS, HEADER_EVENT, HEADER_PAGE, Page, SUB_BUFFER, entry, exit, formats, layout, print,
};
use crate::golden;

pub(crate) const KALLSYMS: &[u8] = b"ffffffff81000000 T _text\nffffffff81001000 T end\n\
    ffffffffa0001000 t deferred_init\t[test_deferred]\nffffffffa0002000 t cleanup_module\t[test_deferred]\n";
const STATS: &[u8] = b"entries: 12\noverrun: 0\n";
pub(crate) const FUNCTION: u64 = 0xffff_ffff_a000_1004;

/// What a file says besides its trace.
pub(crate) fn archive(formats: &Formats) -> TraceDat<'_> {
    TraceDat {
        page_size: 4096,
        user_long_size: 8,
        sub_buffer_size: SUB_BUFFER as u32,
        header_page: HEADER_PAGE.as_bytes(),
        header_event: HEADER_EVENT.as_bytes(),
        formats,
        kallsyms: KALLSYMS,
        printk_formats: b"0xffffffff818b2f80 : \"rcu_preempt\"\n",
        saved_cmdlines: b"36 agent\n",
        trace_clock: "[local] global counter\n",
        uname: "Linux guest 7.3.4 x86_64",
        version: "deferinit 0.1.0",
    }
}

fn cpu(number: u32, pages: &[Vec<u8>]) -> TraceDatCpu<'_> {
    let sub_buffers = pages.iter().map(Vec::as_slice).collect();
    TraceDatCpu {
        data: CpuSubBuffers {
            cpu: number,
            sub_buffers,
        },
        stats: STATS,
    }
}

/// A call and a marker, from this time on.
pub(crate) fn page(timestamp: u64) -> Vec<u8> {
    Page::at(timestamp)
        .record(0, &entry(36, FUNCTION, 0))
        .record(100, &print(36, b"deferinit: load\n"))
        .record(400, &exit(36, FUNCTION, 0, 0, (timestamp, timestamp + 500)))
        .end()
}

/// What `trace-cmd` prints for a file; it must not complain.
fn trace_cmd(arguments: &[&str], file: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("trace.dat");
    std::fs::write(&path, file).expect("the folder is new and ours");
    let output = Command::new("trace-cmd")
        .args(arguments)
        .arg(&path)
        // trace-cmd puts decompressed data there.
        .env("TMPDIR", folder.path())
        .output()
        .expect("trace-cmd is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("trace-cmd writes UTF-8")
}

#[test]
fn trace_cmd_reports_every_record() {
    let formats = formats();
    // More than one chunk on one CPU, one on the other.
    let first: Vec<_> = (0..85)
        .map(|number| page(1_000_000 + number * 1_000))
        .collect();
    let second = [page(1_000_200)];
    let cpus = [cpu(0, &first), cpu(1, &second)];
    let file = archive(&formats).write(&cpus).expect("all can be said");
    // -R: raw fields, one line each.
    let report = trace_cmd(&["report", "-R", "-t"], &file);
    let mut lines = report.lines();
    assert_eq!(lines.next(), Some("cpus=2"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 86 * 3);
    for (line, parts) in [
        (0, ["agent-36", "[000]", "0.001000000:", "funcgraph_entry:"]),
        (1, ["agent-36", "[000]", "0.001000100:", "print:"]),
        (2, ["agent-36", "[001]", "0.001000200:", "funcgraph_entry:"]),
    ] {
        assert_eq!(
            lines[line].split_whitespace().take(4).collect::<Vec<_>>(),
            parts
        );
    }
    assert_eq!(
        report.matches("buf=deferinit: load").count(),
        86,
        "{report}"
    );
}

#[test]
fn trace_cmd_sees_a_real_guests_records_as_we_do() {
    let formats = formats();
    let memory = golden::memory();
    let region = Region::parse(&memory, &layout()).expect("the memory is whole");
    let mut ours = Vec::new();
    let mut records = Capture::new(&formats, layout(), region.cpus.clone()).records();
    while let Some(record) = records.next_record() {
        let name = match record.event {
            Event::FuncgraphEntry { .. } => "funcgraph_entry",
            Event::FuncgraphExit { .. } => "funcgraph_exit",
            Event::Function { .. } => "function",
            Event::Print { .. } => "print",
            Event::Other(fields) => fields.name(),
        };
        let seconds = record.timestamp_ns / 1_000_000_000;
        ours.push((
            record.pid,
            format!("{seconds}.{:09}:", record.timestamp_ns % 1_000_000_000),
            format!("{name}:"),
        ));
    }
    let cpus = [TraceDatCpu {
        data: region.cpus[0].clone(),
        stats: golden::STATS.as_bytes(),
    }];
    let file = archive(&formats).write(&cpus).expect("all can be said");
    let report = trace_cmd(&["report", "-R", "-t"], &file);
    let theirs = report.lines().skip(1).map(|line| {
        let (task, rest) = line.split_once(" [000] ").expect("there is one CPU");
        let pid = task
            .rsplit_once('-')
            .and_then(|(_, pid)| pid.trim().parse().ok())
            .expect("a task has a pid");
        let mut words = rest.split_whitespace().map(str::to_owned);
        (
            pid,
            words.next().expect("it has a time"),
            words.next().expect("it has a name"),
        )
    });
    assert_eq!(theirs.collect::<Vec<(i32, _, _)>>(), ours);
}

#[test]
fn trace_cmd_reads_large_sub_buffers() {
    let formats = formats();
    let size = 4 * SUB_BUFFER;
    let mut encoder = SubBufferEncoder::new(layout().with_sub_buffer_size(size));
    let mut pages = Vec::new();
    for time in 0..2000 {
        let record = print(36, b"deferinit: load\n");
        pages.extend(encoder.add(time * 1000, &record).expect("it fits"));
    }
    pages.extend(encoder.finish());
    assert!(pages.len() > 3, "{}", pages.len());
    let archive = TraceDat {
        sub_buffer_size: size as u32,
        ..archive(&formats)
    };
    let file = archive.write(&[cpu(0, &pages)]).expect("all can be said");
    let report = trace_cmd(&["report", "-R"], &file);
    assert_eq!(report.matches("buf=deferinit: load").count(), 2000);
}

#[test]
fn trace_cmd_names_functions() {
    let formats = formats();
    let pages = [page(1_000_000)];
    let file = archive(&formats)
        .write(&[cpu(0, &pages)])
        .expect("all can be said");
    let report = trace_cmd(&["report"], &file);
    assert!(report.contains("deferred_init"), "{report}");
    assert!(report.contains("deferinit: load"), "{report}");
}

#[test]
fn trace_cmd_finds_every_part() {
    let formats = formats();
    let pages = [page(1_000_000)];
    let file = archive(&formats)
        .write(&[cpu(0, &pages)])
        .expect("all can be said");
    assert!(trace_cmd(&["dump", "--validate"], &file).contains("is a valid trace-cmd file"));
    let events = trace_cmd(&["dump", "--ftrace-events", "--systems"], &file);
    assert!(
        events.contains("4 events") && events.contains("5 systems"),
        "{events}"
    );
    let options = trace_cmd(&["dump", "--options"], &file);
    for part in [
        "deferinit 0.1.0",
        "Linux guest 7.3.4 x86_64",
        "[local]",
        "CPU: 0\nentries: 12",
        "\"local\" [clock]",
    ] {
        assert!(options.contains(part), "{part:?} is not in {options}");
    }
}

#[test]
fn a_cpu_without_data_is_in_the_file() {
    let formats = formats();
    let pages = [page(1_000_000)];
    let file = archive(&formats)
        .write(&[cpu(0, &[]), cpu(1, &pages)])
        .expect("all can be said");
    let report = trace_cmd(&["report", "-R"], &file);
    assert_eq!(report.lines().next(), Some("cpus=2"));
    assert_eq!(report.matches("[001]").count(), 3, "{report}");
}

#[test]
fn sub_buffers_are_kept_verbatim() {
    let formats = formats();
    let pages: Vec<_> = (0..42)
        .map(|number| page(1_000_000 + number * 1_000))
        .collect();
    let file = archive(&formats)
        .write(&[cpu(0, &pages)])
        .expect("all can be said");
    // The data is page-aligned: the number of chunks, then sizes and bytes of each.
    let u32_at = |at: usize| {
        u32::from_le_bytes(file[at..at + 4].try_into().expect("it has four bytes")) as usize
    };
    let start = (0..file.len())
        .step_by(4096)
        .find(|at| u32_at(*at) == 2)
        .expect("there are two chunks");
    let mut at = start + 4;
    let mut data = Vec::new();
    for size in [40 * SUB_BUFFER, 2 * SUB_BUFFER] {
        assert_eq!(u32_at(at + 4), size);
        let compressed = &file[at + 8..at + 8 + u32_at(at)];
        data.extend(zstd::bulk::decompress(compressed, size).expect("it is zstd"));
        at += 8 + compressed.len();
    }
    assert_eq!(data, pages.concat());
}

#[test]
fn the_same_input_gives_the_same_file() {
    let formats = formats();
    let pages = [page(1_000_000)];
    let write = || {
        archive(&formats)
            .write(&[cpu(0, &pages)])
            .expect("all can be said")
    };
    assert_eq!(write(), write());
    assert!(write().starts_with(b"\x17\x08\x44tracing7\0\x00\x08\x00\x10\x00\x00zstd\0"));
}

#[test]
fn all_format_files_are_in_the_file() {
    let formats = formats();
    let file = archive(&formats).write(&[]).expect("all can be said");
    let events = trace_cmd(&["dump", "--all"], &file);
    for (_, text) in FORMATS {
        let name = text
            .lines()
            .next()
            .expect("a format starts with its name")
            .trim_start_matches("name: ");
        assert!(events.contains(name), "{name} is not in {events}");
    }
}

#[test]
fn what_the_format_cannot_say_is_an_error() {
    let formats = formats();
    let nul = TraceDat {
        uname: "Linux\0",
        ..archive(&formats)
    }
    .write(&[]);
    assert!(matches!(nul, Err(WriteError::Nul("uname"))), "{nul:?}");
    let clock = TraceDat {
        trace_clock: "local global",
        ..archive(&formats)
    }
    .write(&[]);
    assert!(matches!(clock, Err(WriteError::NoClock(_))), "{clock:?}");
}
