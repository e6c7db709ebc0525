// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace recv`: of a guest's agent through QEMU's socket, and of senders that nobody should trust.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};

use deferinit_ftrace::encode::SubBufferEncoder;
use deferinit_ftrace::page::PageLayout;
use deferinit_protocol::{Capture, FileKind, Message, PhaseEnd, VERSION, frame};
use serde_json::Value;

use crate::harness::{argument, code, deferinit, marks, output, text};

const HEADER_PAGE: &str = include_str!("../../../ftrace/tests/data/linux-7.3.4/header_page");
const HEADER_EVENT: &str = include_str!("../../../ftrace/tests/data/linux-7.3.4/header_event");
const PRINT: &str = include_str!("../../../ftrace/tests/data/linux-7.3.4/formats/ftrace/print");

/// A receiver that waits for a sender, in a folder that goes with it.
struct Receiver {
    child: Child,
    said: BufReader<ChildStderr>,
    place: String,
    folder: tempfile::TempDir,
}

/// What a receiver has left.
struct Left {
    status: Option<i32>,
    printed: String,
    said: String,
    folder: tempfile::TempDir,
}

impl Receiver {
    fn start(listen: Option<&str>, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = format!("unix:{}", argument(&folder.path().join("socket")));
        let out = folder.path().join("out");
        let mut child = deferinit(&["trace", "recv", "--out", argument(&out)])
            .args(["--listen", listen.unwrap_or(&socket)])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut first = String::new();
        said.read_line(&mut first).expect("UTF-8");
        let place = first
            .trim()
            .strip_prefix("Waiting for a sender at ")
            .unwrap_or_else(|| panic!("{first}"))
            .to_owned();
        Self {
            child,
            said,
            place,
            folder,
        }
    }

    fn end(mut self) -> Left {
        let mut printed = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut printed).expect("UTF-8");
        }
        let mut said = String::new();
        self.said.read_to_string(&mut said).expect("UTF-8");
        Left {
            status: self.child.wait().expect("it ends").code(),
            printed,
            said,
            folder: self.folder,
        }
    }

    fn unix(&self) -> UnixStream {
        let path = self.place.strip_prefix("unix:").expect("a path");
        UnixStream::connect(path).expect("it listens")
    }
}

impl Left {
    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn summary(&self) -> Value {
        let bytes = fs::read(self.out().join("recv.json")).expect("recv.json");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// The numbers of the marks in the trace.dat, as our reader finds them.
    fn marks(&self) -> Vec<u64> {
        let output = output(&["trace", "events", argument(&self.out())]);
        assert_eq!(code(&output), 0, "{}", text(&output));
        marks(&String::from_utf8_lossy(&output.stdout))
    }
}

fn frame_of(message: &Message, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_header(message, payload.len() as u64, &mut bytes).expect("a header");
    bytes.extend_from_slice(payload);
    bytes
}

fn file(file: FileKind, content: &str) -> Vec<u8> {
    frame_of(&Message::File { file }, content.as_bytes())
}

/// What a sender says before its trace.
fn description() -> Vec<u8> {
    let hello = Message::Hello {
        version: VERSION,
        kernel: "7.3.4".to_owned(),
        kernel_version: "#1".to_owned(),
        cpus: 2,
        clocksource: "tsc".to_owned(),
        high_resolution_timers: true,
        idle_tick_stops: true,
        capture: Capture::Streamed,
    };
    let print = FileKind::Format {
        system: "ftrace".to_owned(),
        event: "print".to_owned(),
    };
    [
        frame_of(&hello, b""),
        file(FileKind::Kallsyms, "ffffffff81000000 T _text\n"),
        file(FileKind::HeaderPage, HEADER_PAGE),
        file(FileKind::HeaderEvent, HEADER_EVENT),
        file(print, PRINT),
        file(FileKind::TraceClock, "[local] global"),
    ]
    .concat()
}

/// A round with these marks, one a microsecond, on both CPUs in turn.
fn round(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let layout = PageLayout::parse(HEADER_PAGE, HEADER_EVENT).expect("a real layout");
    let mut bytes = Vec::new();
    for cpu in 0..2_u32 {
        let mut encoder = SubBufferEncoder::new(layout.clone());
        let mut sub_buffers = Vec::new();
        for number in numbers
            .clone()
            .filter(|number| number % 2 == u64::from(cpu))
        {
            let mut payload = vec![5, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            payload.extend_from_slice(format!("mark {number}\n\0").as_bytes());
            let full = encoder.add(1_000_000 + number * 1000, &payload);
            sub_buffers.extend(full.expect("in order").into_iter().flatten());
        }
        sub_buffers.extend(encoder.finish().into_iter().flatten());
        bytes.extend(frame_of(&Message::SubBuffers { cpu }, &sub_buffers));
    }
    bytes.extend(frame_of(&Message::AllRead, b""));
    bytes
}

/// The end of a stream with so many records on each CPU.
fn ending(records: u64) -> Vec<u8> {
    let mut bytes = file(FileKind::SavedCmdlines, "7 marker\n");
    for cpu in 0..2 {
        let stats = format!(
            "entries: 0\noverrun: 0\ncommit overrun: 0\nbytes: 0\noldest event ts:     0.000000\n\
             now ts:     1.000000\ndropped events: 0\nread events: {records}\n"
        );
        bytes.extend(file(FileKind::Stats { cpu }, &stats));
    }
    bytes.extend(frame_of(
        &Message::Finished {
            end: PhaseEnd::Complete,
        },
        b"",
    ));
    bytes
}

#[test]
fn a_guest_sends_through_the_socket_of_its_serial_port() {
    let receiver = Receiver::start(None, &["--print"]);
    let socket = receiver
        .place
        .strip_prefix("unix:")
        .expect("a path")
        .to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    // The harness of root has a QEMU without rights, which is to run this script, and to reach the receiver.
    let opened = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    opened(folder.path(), 0o755);
    opened(Path::new(&socket).parent().expect("a folder"), 0o755);
    opened(Path::new(&socket), 0o777);
    // A QEMU with one more port, which nothing but `send` in the guest knows of.
    let qemu = folder.path().join("qemu-system-x86_64");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec /usr/bin/qemu-system-x86_64 --version\n\
         exec /usr/bin/qemu-system-x86_64 \"$@\" -chardev socket,id=peer,path={socket} \
         -device virtio-serial-device,id=more -device virtserialport,bus=more.0,chardev=peer,name=peer\n"
    );
    fs::write(&qemu, script).expect("a file");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = Path::new(env!("CARGO_BIN_EXE_deferinit"));
    let target = program.ancestors().nth(2).expect("cargo's target folder");
    let agent = target.join("x86_64-unknown-linux-gnu/agent/deferinit-agent");
    let path = std::env::var("PATH").expect("a path");
    let record = deferinit(&["trace", "record", "--cpus", "2", "--clock", "wall"])
        .args(["--out", argument(&folder.path().join("out"))])
        .args(["--add", &format!("{}:/bin/send", argument(&agent))])
        .args(["--"])
        .arg(
            "send send --to port:peer -e sched -p function -l vfs_write -- \
             sh -c 'cd /sys/kernel/tracing/instances/deferinit-send-*; \
             for i in 0 1 2 3; do sleep 0.2; echo mark $i > trace_marker; done; exit 3' \
             && ls /sys/kernel/tracing/instances",
        )
        .env("PATH", format!("{}:{path}", argument(folder.path())))
        .output()
        .expect("the program starts");
    let left = receiver.end();
    assert_eq!(code(&record), 0, "{}\n{}", text(&record), left.said);
    // Nothing of the sender's is left.
    assert_eq!(String::from_utf8_lossy(&record.stdout), "deferinit\n");
    assert_eq!(left.status, Some(0), "{}", left.said);
    let summary = left.summary();
    assert_eq!(summary["ending"], "complete", "{summary}");
    assert_eq!(summary["kernel"], "7.3.4", "{summary}");
    assert_eq!(summary["command_end"]["exited"], 3, "{summary}");
    assert_eq!(summary["lost"], 0, "{summary}");
    assert_eq!(marks(&left.printed), [0, 1, 2, 3]);
    assert_eq!(left.marks(), [0, 1, 2, 3]);
    assert!(left.printed.contains("vfs_write"), "{}", left.printed);
    assert_eq!(
        summary["records"],
        u64::try_from(left.printed.lines().count()).expect("small")
    );
}

#[test]
fn records_are_printed_while_they_come_over_tcp() {
    let mut receiver = Receiver::start(Some("tcp:127.0.0.1:0"), &["--print", "--format", "json"]);
    let address = receiver.place.strip_prefix("tcp:").expect("an address");
    let mut sender = TcpStream::connect(address).expect("it listens");
    let mut send = |bytes: &[u8]| sender.write_all(bytes).expect("it takes");
    send(&description());
    send(&file(FileKind::SavedCmdlines, "7 marker\n"));
    send(&round(0..1000));
    // The next round says that nothing older can come; the sender has not ended yet.
    send(&round(1000..1002));
    let mut lines = BufReader::new(receiver.child.stdout.take().expect("a pipe"));
    for number in 0..1000 {
        let mut line = String::new();
        lines.read_line(&mut line).expect("UTF-8");
        let record: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(record["timestamp_ns"], 1_000_000 + number * 1000);
        assert_eq!(record["cpu"], number % 2);
        assert_eq!(record["task"], "marker");
    }
    send(&ending(501));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(rest.lines().count(), 2, "{rest}");
    let left = receiver.end();
    assert_eq!(left.status, Some(0), "{}", left.said);
    assert!(left.marks().into_iter().eq(0..1002));
}

#[test]
fn a_sender_that_is_cut_off_or_wrong_leaves_what_came_until_then() {
    let good = [description(), round(0..100), round(100..200)].concat();
    let with = |more: &[u8]| [&good[..], more].concat();
    let wrong_file = file(
        FileKind::Report {
            scope: deferinit_protocol::Scope::Top,
            file: "../../../escaped".to_owned(),
        },
        "x",
    );
    let mut huge = frame_of(&Message::SubBuffers { cpu: 0 }, b"");
    huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    for (bytes, part) in [
        (good.clone(), "the sender was cut off"),
        (with(&round(200..300)[..3000]), "inside the frame"),
        (
            with(b"GET / HTTP/1.1\r\n\r\n and so on"),
            "not with \"DFI1\"",
        ),
        (with(&wrong_file), "escaped"),
        (with(&huge), "claims 18446744073709551615 bytes of payload"),
        (
            with(&frame_of(&Message::SubBuffers { cpu: 1 << 20 }, b"x")),
            "CPU 1048576",
        ),
        // It says that there were more than came.
        (
            with(&ending(150)),
            "the kernel has counted 300 records, and 200",
        ),
    ] {
        let receiver = Receiver::start(None, &["--print"]);
        let mut sender = receiver.unix();
        // A receiver that has had enough closes the socket.
        let _ = sender.write_all(&bytes);
        drop(sender);
        let left = receiver.end();
        assert_eq!(left.status, Some(1), "{part}: {}", left.said);
        assert!(left.said.contains(part), "no {part} in {}", left.said);
        assert!(marks(&left.printed).into_iter().eq(0..200), "{part}");
        assert!(left.marks().into_iter().eq(0..200), "{part}");
        assert!(!left.folder.path().join("escaped").exists());
        assert!(!left.folder.path().join("socket").exists());
    }
}

#[test]
fn a_sender_that_says_nothing_of_use_leaves_no_trace() {
    for (bytes, part) in [
        (Vec::new(), "the sender was cut off"),
        (
            b"garbage that is long enough".to_vec(),
            "no frame at byte 0",
        ),
        (round(0..1), "does not begin with a hello"),
        (
            frame_of(
                &Message::Failed {
                    message: "no tracefs".to_owned(),
                },
                b"",
            ),
            "the sender could not go on: no tracefs",
        ),
    ] {
        let receiver = Receiver::start(None, &["--print"]);
        let _ = receiver.unix().write_all(&bytes);
        let left = receiver.end();
        assert_eq!(left.status, Some(1), "{part}: {}", left.said);
        assert!(left.said.contains(part), "no {part} in {}", left.said);
        assert!(left.said.contains("Trace:   none"), "{}", left.said);
        assert_eq!(left.summary()["records"], 0);
    }
}

#[test]
fn a_sender_without_an_end_is_ended() {
    let begin = [description(), round(0..100)].concat();
    let endless = frame_of(&Message::AllRead, b"");
    for (arguments, has_more, part) in [
        (&["--max-size", "64KiB"][..], true, "more than 65536 bytes"),
        (&["--max-time", "1s"], true, "has taken too long"),
        (&["--idle", "500ms"], false, "silent for 0.5 s"),
    ] {
        let receiver = Receiver::start(None, arguments);
        let mut sender = receiver.unix();
        sender.write_all(&begin).expect("it takes");
        while has_more && sender.write_all(&endless).is_ok() {}
        let left = receiver.end();
        assert_eq!(left.status, Some(1), "{part}: {}", left.said);
        assert!(left.said.contains(part), "no {part} in {}", left.said);
        assert!(left.marks().into_iter().eq(0..100), "{part}");
        assert_eq!(left.printed, "");
    }
}

#[test]
fn nobody_who_sends_and_a_place_that_cannot_be_are_said() {
    let left = Receiver::start(None, &["--wait", "200ms"]).end();
    assert_eq!(left.status, Some(102), "{}", left.said);
    assert!(
        left.said.contains("no sender has connected"),
        "{}",
        left.said
    );
    // Nothing was received, so there is no folder.
    assert!(!left.out().exists());
    for (place, part) in [
        ("tcp:0.0.0.0:4000", "loopback"),
        ("vsock:3:1", "unsupported"),
        ("unix:/nowhere/socket", "cannot listen at /nowhere/socket"),
    ] {
        let output = output(&["trace", "recv", "--listen", place]);
        assert_eq!(code(&output), 2, "{}", text(&output));
        assert!(text(&output).contains(part), "{}", text(&output));
    }
}
