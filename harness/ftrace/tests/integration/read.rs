// SPDX-License-Identifier: GPL-2.0-only

//! trace.dat files read back: our own, those trace-cmd made of them, and broken ones.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other writer is a program, and takes files"
)]

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::process::Command;

use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::page::CpuSubBuffers;
use deferinit_ftrace::trace_dat::{
    Compression, ErrorKind, Opening, Selection, Text, TraceDatCpu, TraceFile, rewrite,
};

use crate::archive::{FUNCTION, KALLSYMS, archive, page};
use crate::build::{HEADER_EVENT, HEADER_PAGE, SUB_BUFFER, formats, layout};

/// Sub-buffers on CPU 0: more than one chunk.
const PAGES: u64 = 85;

/// A file with two CPUs, as this crate writes it.
fn file() -> Vec<u8> {
    let formats = formats();
    let first: Vec<_> = (0..PAGES)
        .map(|number| page(1_000_000 + number * 1_000))
        .collect();
    let second = [page(1_000_200)];
    let cpus = [(0, first.as_slice()), (1, second.as_slice())].map(|(cpu, pages)| TraceDatCpu {
        data: CpuSubBuffers {
            cpu,
            sub_buffers: pages.iter().map(Vec::as_slice).collect(),
        },
        stats: b"entries: 75\noverrun: 0\n",
    });
    archive(&formats).write(&cpus).expect("all can be said")
}

/// All records as text, and the account of them.
fn records(file: &TraceFile<&[u8]>) -> (String, Tally) {
    let mut text = String::new();
    let Some(buffer) = file.buffers().first() else {
        return (text, Tally::default());
    };
    let mut records = file.records(buffer);
    while let Some(record) = records.next_record() {
        let _ = writeln!(
            text,
            "{} {} {} {:?}",
            record.timestamp_ns, record.cpu, record.pid, record.event
        );
    }
    (text, records.finish())
}

#[track_caller]
fn open(bytes: &[u8]) -> TraceFile<&[u8]> {
    TraceFile::open(bytes, Opening::Strict).expect("the file is whole")
}

/// What `trace-cmd convert` makes of a file.
fn converted(file: &[u8], version: &str, compression: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let (from, to) = (folder.path().join("from.dat"), folder.path().join("to.dat"));
    std::fs::write(&from, file).expect("the folder is new and ours");
    let output = Command::new("trace-cmd")
        .args([
            "convert",
            "--file-version",
            version,
            "--compression",
            compression,
            "-i",
        ])
        .arg(&from)
        .arg("-o")
        .arg(&to)
        .env("TMPDIR", folder.path())
        .output()
        .expect("trace-cmd is installed");
    assert!(output.status.success(), "{output:?}");
    std::fs::read(&to).expect("trace-cmd wrote it")
}

/// The rest of the file is the text, `trace-cmd.dat.v6(5)`.
#[test]
fn text_of_a_latency_tracer_stands_instead_of_records() {
    let text = "# tracer: irqsoff\n#\n# latency: 5 us, #2/2, CPU#0\n";
    let mut bytes = converted(&file(), "6", "none");
    let kind = b"flyrecord\0";
    let place = bytes.windows(kind.len()).position(|window| window == kind);
    bytes.truncate(place.expect("it has records"));
    bytes.extend(b"latency  \0");
    bytes.extend(text.as_bytes());
    let file = open(&bytes);
    let [buffer] = file.buffers() else {
        panic!("{:?}", file.buffers());
    };
    assert_eq!((file.version(), buffer.cpus.len()), (6, 0));
    let part = buffer.text.expect("a text");
    assert_eq!(file.trace_text(part).as_deref(), Ok(text.as_bytes()));
    assert_eq!(records(&file).0, "");
    // The description before it is the same.
    assert_eq!(file.text(Text::Kallsyms).as_deref(), Ok(KALLSYMS));
    bytes.truncate(bytes.len() - text.len());
    let file = open(&bytes);
    let part = file.buffers()[0].text.expect("an empty text");
    assert_eq!(file.trace_text(part).as_deref(), Ok(&b""[..]));
}

#[test]
fn what_was_written_is_read() {
    let bytes = file();
    let file = open(&bytes);
    assert_eq!((file.version(), file.compression()), (7, Compression::Zstd));
    assert_eq!((file.page_size(), file.user_long_size()), (4096, 8));
    assert_eq!(
        (file.header_page(), file.header_event()),
        (HEADER_PAGE, HEADER_EVENT)
    );
    assert_eq!(file.formats().events().len(), formats().events().len());
    assert_eq!(file.writer(), Some("deferinit 0.1.0"));
    assert_eq!(file.uname(), Some("Linux guest 7.3.4 x86_64"));
    assert_eq!(file.trace_clock(), Some("[local] global counter\n"));
    assert_eq!(
        file.statistics(),
        [
            "CPU: 0\nentries: 75\noverrun: 0\n",
            "CPU: 1\nentries: 75\noverrun: 0\n"
        ]
    );
    assert_eq!(file.text(Text::Kallsyms).as_deref(), Ok(KALLSYMS));
    assert_eq!(
        file.text(Text::SavedCmdlines).as_deref(),
        Ok(&b"36 agent\n"[..])
    );
    assert!(
        file.text(Text::PrintkFormats)
            .is_ok_and(|text| text.ends_with(b"\"rcu_preempt\"\n"))
    );
    let symbols = file.symbols().expect("a table").expect("with addresses");
    assert_eq!(
        symbols.resolve(FUNCTION).map(|found| found.name),
        Some("deferred_init")
    );
    assert_eq!(
        file.saved_cmdlines()
            .map(|names| names.name(36).to_owned())
            .as_deref(),
        Ok("agent")
    );
    let [buffer] = file.buffers() else {
        panic!("{:?}", file.buffers())
    };
    assert_eq!(
        (
            buffer.name.as_str(),
            buffer.clock.as_str(),
            buffer.sub_buffer_size
        ),
        ("", "local", SUB_BUFFER)
    );
    assert_eq!(file.notices(), []);
    let (text, tally) = records(&file);
    assert_eq!(text.lines().count(), 86 * 3);
    assert_eq!(
        (
            tally.damages,
            tally.cpus.iter().map(|cpu| cpu.decoded).sum::<u64>()
        ),
        (0, 258)
    );
}

#[test]
fn what_trace_cmd_writes_is_the_same_trace() {
    let bytes = file();
    let (ours, _) = records(&open(&bytes));
    for (version, compression, wanted) in [
        ("6", "none", (6, Compression::None)),
        ("7", "none", (7, Compression::None)),
        ("7", "zstd", (7, Compression::Zstd)),
    ] {
        let theirs = converted(&bytes, version, compression);
        let file = open(&theirs);
        assert_eq!((file.version(), file.compression()), wanted);
        let (text, tally) = records(&file);
        assert_eq!(
            (text, tally.damages),
            (ours.clone(), 0),
            "{version} {compression}"
        );
        assert_eq!(file.text(Text::Kallsyms).as_deref(), Ok(KALLSYMS));
        assert_eq!(file.buffers()[0].clock, "local");
        assert_eq!(
            file.saved_cmdlines()
                .map(|names| names.name(36).to_owned())
                .as_deref(),
            Ok("agent")
        );
    }
}

/// The chunks of a file, each compressed anew by zlib; the options have the new sizes.
fn with_zlib(file: &[u8]) -> Vec<u8> {
    let at = |position: usize, bytes: usize| -> usize {
        file[position..position + bytes]
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    let recompress = |part: &[u8], size: usize| {
        let content = zstd::bulk::decompress(part, size).expect("the part is zstd");
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&content).expect("into memory");
        let stored = encoder.finish().expect("into memory");
        let mut bytes = u32::try_from(stored.len())
            .expect("small")
            .to_le_bytes()
            .to_vec();
        bytes.extend(u32::try_from(content.len()).expect("small").to_le_bytes());
        bytes.extend(stored);
        bytes
    };
    let name = file
        .windows(5)
        .position(|bytes| bytes == b"zstd\0")
        .expect("the name of the compression");
    let options = name
        + 5
        + file[name + 5..]
            .iter()
            .position(|byte| *byte == 0)
            .expect("its version")
        + 1;
    let mut out = file[..name].to_vec();
    out.extend(b"zlib\x001.2.13\0");
    let options_at = out.len();
    out.extend([0; 8]);
    let (mut position, mut moved) = (options + 8, Vec::new());
    while position < file.len() {
        let (number, size) = (at(position, 2), at(position + 8, 8));
        moved.push((position, out.len()));
        let header = out.len();
        out.extend(&file[position..position + 16]);
        let content = position + 16;
        if number == 3 {
            let mut part = content;
            for _ in 0..2 {
                part = part.next_multiple_of(4096);
                out.resize(out.len().next_multiple_of(4096), 0);
                moved.push((part, out.len()));
                let chunks = at(part, 4);
                out.extend(&file[part..part + 4]);
                part += 4;
                for _ in 0..chunks {
                    let stored = at(part, 4);
                    out.extend(recompress(
                        &file[part + 8..part + 8 + stored],
                        at(part + 4, 4),
                    ));
                    part += 8 + stored;
                }
                moved.push((part, out.len()));
            }
        } else if at(position + 2, 2) == 1 {
            out.extend(recompress(
                &file[content + 8..content + 8 + at(content, 4)],
                at(content + 4, 4),
            ));
        } else {
            out.extend(&file[content..content + size]);
        }
        let new_size = out.len() - header - 16;
        out[header + 8..header + 16].copy_from_slice(&(new_size as u64).to_le_bytes());
        position = content + size;
    }
    let place = |old: usize| {
        moved
            .iter()
            .find(|(from, _)| *from == old)
            .map(|(_, to)| *to as u64)
    };
    let list = usize::try_from(place(at(options, 8)).expect("the list was moved")).expect("small");
    out[options_at..options_at + 8].copy_from_slice(&(list as u64).to_le_bytes());
    let mut option = list + 16;
    loop {
        let number = u16::from_le_bytes([out[option], out[option + 1]]);
        let size = u32::from_le_bytes(out[option + 2..option + 6].try_into().expect("four bytes"))
            as usize;
        let content = option + 6;
        let read = |out: &[u8], at: usize| {
            u64::from_le_bytes(out[at..at + 8].try_into().expect("eight bytes")) as usize
        };
        match number {
            0 => return out,
            16..=21 => {
                let to = place(read(&out, content)).expect("a section's place");
                out[content..content + 8].copy_from_slice(&to.to_le_bytes());
            }
            3 => {
                // Offset, an empty name, "local", sub-buffer size, count of CPUs, then the table.
                for entry in (content + 8 + 1 + 6 + 8..content + size).step_by(20) {
                    let (offset, length) = (read(&out, entry + 4), read(&out, entry + 12));
                    let (from, to) = (
                        place(offset).expect("a CPU's place"),
                        place(offset + length).expect("its end"),
                    );
                    out[entry + 4..entry + 12].copy_from_slice(&from.to_le_bytes());
                    out[entry + 12..entry + 20].copy_from_slice(&(to - from).to_le_bytes());
                }
            }
            _ => {}
        }
        option = content + size;
    }
}

#[test]
fn zlib_is_read() {
    let bytes = file();
    let zlib = with_zlib(&bytes);
    let file = open(&zlib);
    assert_eq!(file.compression(), Compression::Zlib);
    assert_eq!(records(&file), records(&open(&bytes)));
    assert_eq!(file.text(Text::Kallsyms).as_deref(), Ok(KALLSYMS));
}

#[test]
fn times_are_shifted_by_the_options_that_say_so() {
    // trace-cmd writes an offset with `record --ts-offset`, in nanoseconds, and with `--date`, in microseconds. An option
    // that nobody knows is made one of these: it stands where the version of the writer stood.
    let bytes = file();
    let option = [
        &9_u16.to_le_bytes()[..],
        &16_u32.to_le_bytes(),
        b"deferinit 0.1.0\0",
    ]
    .concat();
    let at = bytes
        .windows(option.len())
        .position(|bytes| bytes == option)
        .expect("the option");
    let first = |number: u16, text: &[u8; 16]| {
        let mut changed = bytes.clone();
        changed[at..at + 2].copy_from_slice(&number.to_le_bytes());
        changed[at + 6..at + 22].copy_from_slice(text);
        let file = open(&changed);
        let mut records = file.records(&file.buffers()[0]);
        let time = records.next_record().map(|record| record.timestamp_ns);
        (time, file.notices().len())
    };
    assert_eq!(
        first(7, b"500\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (Some(1_000_500), 0)
    );
    assert_eq!(first(7, b"-1000\0\0\0\0\0\0\0\0\0\0\0"), (Some(999_000), 0));
    assert_eq!(
        first(1, b"0x10\0\0\0\0\0\0\0\0\0\0\0\0"),
        (Some(1_016_000), 0)
    );
    assert_eq!(
        first(7, b"soon\0\0\0\0\0\0\0\0\0\0\0\0"),
        (Some(1_000_000), 1)
    );
    // Twice as fast a clock: multiplier 1, shift 1.
    assert_eq!(
        first(14, b"\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0"),
        (Some(500_000), 0)
    );
    assert_eq!(first(12, b"deferinit 0.1.0\0"), (Some(1_000_000), 1));
    assert_eq!(first(999, b"deferinit 0.1.0\0"), (Some(1_000_000), 0));
}

#[test]
fn a_file_that_is_none_is_named_with_the_place() {
    let bytes = file();
    let changed = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        changed
    };
    for (file, wanted) in [
        (
            Vec::new(),
            "at byte 0: the bytes that a trace.dat file starts with needs 10 bytes, but 0 are left",
        ),
        (
            b"\x7fELF and so on".to_vec(),
            "at byte 0: expected the bytes that a trace.dat file starts with, found \"\\u{7f}ELF and s\"",
        ),
        (
            changed(10, b'8'),
            "at byte 10: version \"8\" of trace.dat (6 and 7 are) is not supported",
        ),
        (
            changed(12, 1),
            "at byte 13: a big-endian machine's file is not supported",
        ),
        (
            changed(18, b'x'),
            "at byte 18: the compression \"xstd\" (none, zstd and zlib are) is not supported",
        ),
    ] {
        let error = TraceFile::open(file.as_slice(), Opening::Lenient).expect_err(wanted);
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_file_cut_off_anywhere_gives_the_records_before_the_cut() {
    let bytes = file();
    let (whole, _) = records(&open(&bytes));
    let mut most = 0;
    for length in (0..bytes.len()).step_by(61) {
        let cut = &bytes[..length];
        match TraceFile::open(cut, Opening::Strict) {
            // Nothing but the sections' names stands behind the options, and they are not needed.
            Ok(file) => {
                assert_eq!(records(&file).0, whole, "cut at {length}");
                continue;
            }
            Err(error) => assert!(error.to_string().starts_with("at byte "), "{error}"),
        }
        let Ok(file) = TraceFile::open(cut, Opening::Lenient) else {
            continue;
        };
        assert!(!file.notices().is_empty());
        let (text, tally) = records(&file);
        // Of CPU 0, the beginning; with CPU 1's records in between if they are there.
        let of_first = |text: &str| {
            text.lines()
                .filter(|line| line.contains(" 0 36 "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert!(
            of_first(&whole).starts_with(&of_first(&text)),
            "cut at {length}"
        );
        assert!(tally.damages <= 2, "{:?}", tally.damage);
        most = most.max(text.lines().count());
    }
    assert_eq!(most, 86 * 3, "a file without its options is read whole");
}

#[test]
fn a_version_6_file_cut_off_in_its_trace_gives_the_records_before_the_cut() {
    let bytes = converted(&file(), "6", "none");
    let data = bytes.len() - 86 * SUB_BUFFER;
    let cut = &bytes[..data + 7 * SUB_BUFFER + 100];
    let error = TraceFile::open(cut, Opening::Strict).expect_err("it is cut off");
    assert!(matches!(error.kind, ErrorKind::Short { .. }), "{error}");
    let file = TraceFile::open(cut, Opening::Lenient).expect("its head is there");
    let (text, tally) = records(&file);
    assert_eq!(text.lines().count(), 7 * 3);
    // CPU 0 is cut off, CPU 1 is not there at all.
    assert_eq!(tally.damages, 2, "{:?}", tally.damage);
}

#[test]
fn no_broken_file_panics_or_takes_more_than_its_size_explains() {
    let bytes = file();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("it is below")
    };
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut broken = bytes.clone();
        for _ in 0..=random(3) {
            let at = random(broken.len());
            broken[at] = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6)];
        }
        for opening in [Opening::Strict, Opening::Lenient] {
            match TraceFile::open(broken.as_slice(), opening) {
                Ok(file) => {
                    opened += 1;
                    let (text, _) = records(&file);
                    assert!(text.lines().count() <= 86 * 3 * 40);
                    let _ = (file.symbols().is_ok(), file.saved_cmdlines().is_ok());
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        opened > 0 && refused > 0,
        "{opened} opened, {refused} refused"
    );
}

#[test]
fn a_part_that_claims_to_be_huge_is_refused_before_it_is_read() {
    let bytes = file();
    // The content of kallsyms' section: compressed size, size.
    let content = bytes
        .windows(4)
        .position(|bytes| bytes == [19, 0, 1, 0])
        .expect("the section of kallsyms")
        + 16;
    let mut huge = bytes.clone();
    huge[content + 4..content + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = open(&huge)
        .text(Text::Kallsyms)
        .expect_err("4 GiB of kallsyms");
    assert_eq!(
        error.kind,
        ErrorKind::TooLarge {
            what: "kallsyms",
            size: u64::from(u32::MAX),
            limit: 64 << 20,
        }
    );
}

/// A new file of these, with the selected records.
fn rewritten(files: &[&TraceFile<&[u8]>], selection: &Selection) -> Vec<u8> {
    let first = files[0];
    let description = archive(first.formats());
    let mut writer = description
        .begin(Cursor::new(Vec::new()))
        .expect("into memory");
    let sources: Vec<_> = files
        .iter()
        .map(|file| (*file, &file.buffers()[0]))
        .collect();
    rewrite(&sources, selection, &mut writer).expect("they are alike");
    writer.finish().expect("into memory").into_inner()
}

#[test]
fn parts_by_time_and_cpu_are_the_whole_when_merged() {
    let bytes = file();
    let whole = open(&bytes);
    let wanted = records(&whole).0;
    let part = |from, to, cpus: Option<u32>| {
        let cpus = cpus.map(|cpu| [cpu].into());
        rewritten(&[&whole], &Selection { from, to, cpus })
    };
    // The cut goes through the middle of a sub-buffer, between a record at 1,010,100 and one at 1,010,500.
    let parts = [part(0, 1_010_500, None), part(1_010_500, u64::MAX, None)];
    let parts: Vec<_> = parts.iter().map(|part| open(part)).collect();
    let texts: Vec<_> = parts.iter().map(|part| records(part).0).collect();
    assert_eq!(texts.concat(), wanted);
    assert!(
        texts[0].ends_with(
            "1010100 0 36 Print { ip: 18446744071579893760, text: \"deferinit: load\" }\n"
        ),
        "{}",
        texts[0]
    );
    let merged = rewritten(&[&parts[1], &parts[0]], &Selection::default());
    assert_eq!(records(&open(&merged)).0, wanted);
    let parts = [part(0, u64::MAX, Some(1)), part(0, u64::MAX, Some(0))];
    let parts: Vec<_> = parts.iter().map(|part| open(part)).collect();
    assert_eq!(records(&parts[0]).0.lines().count(), 3);
    let merged = rewritten(&[&parts[0], &parts[1]], &Selection::default());
    assert_eq!(records(&open(&merged)).0, wanted);
    // An empty part is a whole file.
    let empty = part(5, 6, None);
    assert_eq!(
        records(&open(&empty)),
        (String::new(), records(&open(&empty)).1)
    );
}

#[test]
fn files_that_are_not_alike_are_not_merged() {
    let bytes = file();
    let other = {
        let mut bytes = bytes.clone();
        let at = bytes
            .windows(6)
            .rposition(|bytes| bytes == b"local\0")
            .expect("the clock");
        bytes[at..at + 5].copy_from_slice(b"total");
        bytes
    };
    let (first, second) = (open(&bytes), open(&other));
    let mut writer = archive(first.formats())
        .begin(Cursor::new(Vec::new()))
        .expect("into memory");
    let sources = [
        (&first, &first.buffers()[0]),
        (&second, &second.buffers()[0]),
    ];
    let error = rewrite(&sources, &Selection::default(), &mut writer).expect_err("another clock");
    assert_eq!(
        error.to_string(),
        "file 2 has the clock \"total\", the first one \"local\""
    );
}

#[test]
fn the_layout_is_that_of_the_buffer() {
    let bytes = file();
    let file = open(&bytes);
    assert_eq!(file.layout(&file.buffers()[0]), layout());
}
