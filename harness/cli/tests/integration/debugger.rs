// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit run --gdb`: the guest waits for a debugger, which is here one that speaks the remote protocol by hand.
//!
//! Source: "GDB Remote Serial Protocol" in the manual of GDB.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{argument, code, deferinit, output, results, text};

/// Sends a packet and gives back the answer's content.
fn ask(stub: &mut UnixStream, packet: &str) -> String {
    send(stub, packet);
    receive(stub)
}

fn send(stub: &mut UnixStream, packet: &str) {
    let sum = packet.bytes().fold(0u8, u8::wrapping_add);
    write!(stub, "${packet}#{sum:02x}").expect("a packet");
}

fn receive(stub: &mut UnixStream) -> String {
    let mut content = Vec::new();
    let mut byte = [0];
    let mut next = || {
        stub.read_exact(&mut byte).expect("an answer");
        byte[0]
    };
    while next() != b'$' {}
    loop {
        match next() {
            b'#' => break,
            other => content.push(other),
        }
    }
    // The checksum.
    next();
    next();
    stub.write_all(b"+").expect("an acknowledgement");
    String::from_utf8(content).expect("ASCII")
}

#[test]
fn a_guest_waits_for_a_debugger_and_runs_to_its_verdict_when_let() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let mut run = deferinit(&["run", "work/immediate", "--gdb", "--out", argument(&out)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut said = BufReader::new(run.stderr.take().expect("a pipe")).lines();
    let command = said
        .find_map(|line| {
            line.expect("UTF-8")
                .trim()
                .strip_prefix("gdb ")
                .map(str::to_owned)
        })
        .expect("how to attach");
    let (kernel, rest) = command
        .split_once(" -ex 'target remote ")
        .expect("a command");
    assert!(Path::new(kernel).is_file(), "{command}");
    let socket = PathBuf::from(rest.trim_end_matches('\''));
    let mode = socket
        .parent()
        .expect("a folder")
        .metadata()
        .expect("a folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);

    let mut stub = UnixStream::connect(&socket).expect("the stub listens");
    stub.set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a deadline");
    // Stopped, at the first instruction: the guest has executed nothing.
    assert!(ask(&mut stub, "?").starts_with('T'), "a stop");
    assert_eq!(
        ask(&mut stub, "mfffffff0,1").len(),
        2,
        "a byte of the firmware"
    );
    send(&mut stub, "c");
    assert_eq!(run.wait().expect("it ends").code(), Some(0));
    let left: Vec<String> = said.map_while(Result::ok).collect();
    assert_eq!(results(&out)[0]["verdict"], "pass", "{left:?}");
    assert!(!socket.exists(), "the socket is gone");
}

#[test]
fn a_debugger_is_for_one_run() {
    for arguments in [
        &["run", "--gdb", "work/immediate", "work/cancel"][..],
        &["run", "--gdb", "--repeat", "2", "work/immediate"],
    ] {
        let refused = output(arguments);
        assert_eq!(code(&refused), 2);
        assert!(text(&refused).contains("--gdb is for one run, and this would be 2"));
    }
}
