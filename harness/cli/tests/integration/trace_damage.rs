// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace` on files that are cut off, damaged, empty, of a later format, or none at all.

use std::process::Output;

use crate::harness::{code, text};
use crate::trace_files::Files;

/// Every command that reads a trace, `@` in place of the file.
const COMMANDS: [&str; 13] = [
    "info @",
    "info @ --format json",
    "report @",
    "replay @",
    "replay @ --style local",
    "graph @",
    "latency @ --function vfs_open",
    "events @",
    "events @ --count",
    "diff @ @",
    "dump @ --format json",
    "dump @ --format perfetto",
    "script @ -- cat",
];

/// Commands that write a file: none may be left by one that failed.
const WRITERS: [&str; 3] = [
    "split @ --output new.dat",
    "merge @ @ --output new.dat",
    "dump @ --format trace.dat --output new.dat",
];

/// What is true of every command on every file: it ends by itself with one of these exit codes, and no panic.
#[track_caller]
fn sane(line: &str, output: &Output) {
    assert!(matches!(code(output), 0..=2), "{line}: {}", text(output));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        !complaint.contains("panicked") && !complaint.contains("bug"),
        "{line}: {complaint}"
    );
}

/// Runs all commands on the file: strictly, each must fail with these parts in its message.
#[track_caller]
fn refused(files: &Files, file: &str, parts: &[&str]) {
    let before = files.names();
    for command in COMMANDS.iter().chain(&WRITERS) {
        let line = command.replace('@', file);
        let output = files.run(&line);
        sane(&line, &output);
        assert_eq!(code(&output), 1, "{line}: {}", text(&output));
        let complaint = String::from_utf8_lossy(&output.stderr);
        for part in parts {
            assert!(
                complaint.contains(part),
                "{line}: no {part:?} in {complaint}"
            );
        }
        assert_eq!(files.names(), before, "{line} has left a file");
    }
}

#[test]
fn a_file_that_is_no_trace_is_refused_leniently_too() {
    let files = Files::new();
    let good = files.read("function_graph.dat");
    let mut newer = good.clone();
    newer[10] = b'9';
    let cases: [(&str, &[u8], &[&str]); 5] = [
        (
            "empty",
            b"",
            &["at byte 0: ", "needs 10 bytes, but 0 are left"],
        ),
        (
            "foreign",
            b"\x7fELF and what follows",
            &["at byte 0: expected the bytes that a trace.dat file starts with, found"],
        ),
        (
            "newer",
            &newer,
            &["at byte 10: version \"9\" of trace.dat (6 and 7 are) is not supported"],
        ),
        (
            "first",
            &good[..12],
            &["at byte 12: ", "needs 1 bytes, but 0 are left"],
        ),
        // Before the first CPU's records.
        ("head", &good[..9000], &["at byte "]),
    ];
    for (name, bytes, parts) in cases {
        files.write(name, bytes);
        refused(&files, name, parts);
        let lenient = files.run(&format!("info {name} --lenient"));
        sane(name, &lenient);
        assert_eq!(code(&lenient), 1, "{name}: {}", text(&lenient));
        assert_eq!(lenient.stdout, b"", "{name}");
    }
    refused(
        &files,
        "nowhere.dat",
        &["cannot read nowhere.dat: No such file or directory"],
    );
}

/// Where each compressed part of a file begins: zstd's magic number (RFC 8878, section 3.1.1).
fn compressed(bytes: &[u8]) -> Vec<usize> {
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let places = bytes.windows(4).enumerate();
    places
        .filter_map(|(place, window)| (window == magic).then_some(place))
        .collect()
}

#[test]
fn damaged_records_are_an_error_with_its_place_and_what_is_sound_is_still_to_be_had() {
    let files = Files::new();
    let good = files.read("function_graph.dat");
    let whole = files.json_lines("events function_graph.dat --format json");
    // The last two parts are those of CPU 0 and CPU 1.
    let parts = compressed(&good);
    for (cpu, part) in [(0, parts[parts.len() - 2]), (1, parts[parts.len() - 1])] {
        let mut bad = good.clone();
        // The bit of the frame's header that is reserved, and to be 0.
        bad[part + 4] |= 0x08;
        files.write("bad.dat", &bad);
        let damage =
            format!("cpu {cpu}, sub-buffer 0, byte 0: at byte {part} of the file: a chunk");
        refused(
            &files,
            "bad.dat",
            &[&damage, "--lenient goes on with what can be read"],
        );

        let output = files.run("events bad.dat --format json --lenient");
        assert_eq!(code(&output), 1, "{}", text(&output));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.starts_with("warning: bad.dat: "), "{complaint}");
        assert!(complaint.contains(&damage), "{complaint}");
        let sound = whole.iter().filter(|record| record["cpu"] != cpu);
        let sound: Vec<String> = sound.map(ToString::to_string).collect();
        assert!(sound.len() > 300, "{}", sound.len());
        let found = String::from_utf8_lossy(&output.stdout);
        let found = found.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record.to_string()
        });
        assert!(found.eq(sound), "the other CPU's records are not all there");
        for command in COMMANDS {
            let line = format!("{} --lenient", command.replace('@', "bad.dat"));
            // What follows `--` is the program's.
            let line = line.replace(" -- cat --lenient", " --lenient -- cat");
            let output = files.run(&line);
            sane(&line, &output);
            assert_eq!(code(&output), 1, "{line}: {}", text(&output));
            assert!(!output.stdout.is_empty(), "{line}");
        }
    }
}

#[test]
fn of_a_file_that_was_cut_off_the_first_records_are_to_be_had() {
    let files = Files::new();
    let good = files.read("function_graph.dat");
    let last = *compressed(&good).last().expect("compressed parts");
    files.write("cut.dat", &good[..last + 100]);
    refused(&files, "cut.dat", &["error: cut.dat: at byte "]);
    let output = files.run("events cut.dat --lenient --format json");
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 366);
    assert!(
        text(&output).contains(&format!("at byte {last} of the file: a chunk needs")),
        "{}",
        text(&output)
    );
}

/// Bytes are changed one at a time, and the file cut at many places: no command panics, hangs, or says that all is well
/// without the records to show for it.
#[test]
fn no_byte_of_a_file_makes_a_command_panic() {
    let files = Files::new();
    let good = files.read("function.dat");
    let whole = files.printed("dump function.dat --format json");
    let mut refused = 0;
    for step in 0..60 {
        let mut bad = good.clone();
        // Spread over the file, the headers in front more densely.
        let place = if step < 20 {
            step * 3
        } else {
            step * good.len() / 60
        };
        bad[place] ^= 0x55;
        files.write("bad.dat", &bad);
        files.write("cut.dat", &good[..place]);
        for line in [
            "dump bad.dat --format json",
            "dump bad.dat --format json --lenient",
            "dump cut.dat --format json",
            "dump cut.dat --format json --lenient",
        ] {
            let output = files.run(line);
            sane(&format!("{line} at {place}"), &output);
            if line.starts_with("dump cut") {
                assert_ne!(code(&output), 0, "{line} at {place}");
            }
            if code(&output) == 0 {
                // A byte of padding or of a name.
                let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
                assert_eq!(lines(&output.stdout), lines(&whole), "{line} at {place}");
            } else {
                assert!(
                    text(&output).contains("dat: "),
                    "{line} at {place}: {}",
                    text(&output)
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 150, "{refused}");
}
