// SPDX-License-Identifier: GPL-2.0-only

//! Guests that mean harm, or are past all help: what they send is no more than a verdict that cannot tell.
//!
//! PID 1 is a script of busybox in place of the agent, in a real guest.

use std::fs;
use std::path::Path;
use std::time::Duration;

use deferinit_host::{Ending, GuestFile, Outcome, initramfs};
use deferinit_protocol::{Capture, FileKind, Message, PhaseEnd, VERSION, frame};

use crate::endings::boot_in;
use crate::faults::FaultModules;
use crate::harness::names_in;

/// What every script begins with.
const MOUNT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /dev /sys /bin
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
port=$(ls /dev/vport*p1)
";

/// Long enough for a boot and a gigabyte on a host that is busy.
const DEADLINE: Duration = Duration::from_secs(240);

/// Boots a guest that runs this script, with these files.
fn guest(folder: &Path, script: &str, files: &[(&str, &[u8])], deadline: Duration) -> Outcome {
    let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
    let script = format!("{MOUNT}{script}\n");
    let mut inside = vec![GuestFile {
        path: "/bin/busybox",
        content: &busybox,
        is_program: true,
    }];
    inside.extend(files.iter().map(|(path, content)| GuestFile {
        path,
        content,
        is_program: false,
    }));
    let image = initramfs(script.as_bytes(), &inside).expect("an initramfs");
    boot_in(folder, &image, &[], deadline, false)
}

/// What a hostile agent sends before it powers off, and what the harness says of it.
fn check(payload: &[u8], part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("a/run");
    fs::create_dir_all(&run).expect("a folder");
    let script = "cat /payload > $port; poweroff -f";
    let outcome = guest(&run, script, &[("/payload", payload)], DEADLINE);
    let Ending::Truncated { message } = &outcome.ending else {
        panic!("{part}: {:?}\n{}", outcome.ending, outcome.console_tail);
    };
    assert!(message.contains(part), "{message}");
    // Nothing is outside of what a run has.
    let names = |folder: &Path| Vec::from_iter(names_in(folder));
    assert_eq!(names(folder.path()), ["a"]);
    assert_eq!(names(&folder.path().join("a")), ["run"]);
    let allowed = ["initramfs.cpio", "trace", "vm"];
    assert!(
        names(&run)
            .iter()
            .all(|name| allowed.contains(&name.as_str())),
        "{:?}",
        names(&run)
    );
}

fn frame_of(message: &Message, payload_bytes: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_header(message, payload_bytes, &mut bytes).expect("a header");
    bytes.extend_from_slice(payload);
    bytes
}

fn file(file: FileKind) -> Vec<u8> {
    frame_of(&Message::File { file }, 5, b"owned")
}

#[test]
fn what_a_hostile_agent_sends_is_bounded_and_goes_nowhere() {
    let hello = frame_of(
        &Message::Hello {
            version: VERSION,
            kernel: "7.3".to_owned(),
            kernel_version: "#1".to_owned(),
            cpus: u32::MAX,
            clocksource: "tsc".to_owned(),
            high_resolution_timers: true,
            idle_tick_stops: true,
            capture: Capture::Drained,
        },
        0,
        b"",
    );
    let path = |file: FileKind| [hello.clone(), self::file(file), finished()].concat();
    check(b"GET / HTTP/1.1\r\n\r\n", "not with \"DFI1\"");
    let mut huge = hello.clone();
    huge.extend(frame_of(&Message::AllRead, u64::MAX, b""));
    check(&huge, "bytes of payload, at most");
    let outside = FileKind::Results {
        phase: "../../../owned".to_owned(),
    };
    check(&path(outside), "a file with the name");
    let outside = FileKind::Format {
        system: "..".to_owned(),
        event: "owned".to_owned(),
    };
    check(&path(outside), "a file with the name");
    check(
        &path(FileKind::Raw { cpu: 4_000_000 }),
        "a file with the name",
    );
    // Deep JSON, where a parser that recurses would end.
    let mut deep = b"DFI1".to_vec();
    deep.extend_from_slice(&60_000_u32.to_le_bytes());
    deep.extend_from_slice(&0_u64.to_le_bytes());
    deep.extend(std::iter::repeat_n(b'[', 60_000));
    check(&[hello, deep].concat(), "the message at byte");
}

fn finished() -> Vec<u8> {
    frame_of(
        &Message::Finished {
            end: PhaseEnd::Complete,
        },
        0,
        b"",
    )
}

#[test]
fn a_guest_that_floods_its_files_is_ended() {
    for (script, name) in [
        ("cat /dev/zero > $port", "results.bin"),
        // Of frames that are good, more than any run has.
        ("while :; do cat /payload; done > $port", "results.bin"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let payload = frame_of(&Message::AllRead, 0, b"").repeat(20_000);
        let outcome = guest(folder.path(), script, &[("/payload", &payload)], DEADLINE);
        let Ending::Truncated { message } = &outcome.ending else {
            panic!("{:?}\n{}", outcome.ending, outcome.console_tail);
        };
        assert!(
            message.contains(&format!("filled {name} with more than")),
            "{message}"
        );
    }
}

#[test]
fn a_cpu_that_takes_no_interrupts_is_found_by_one_that_it_cannot_mask() {
    let modules = FaultModules::build(&["hard_lockup"], "#define FAULT_NOW\n");
    let module = fs::read(modules.path("hard_lockup")).expect("a module");
    let folder = tempfile::tempdir().expect("a folder");
    let files: [(&str, &[u8]); 1] = [("/fault.ko", &module)];
    let deadline = Duration::from_secs(20);
    let outcome = guest(
        folder.path(),
        "insmod /fault.ko; sleep 1000",
        &files,
        deadline,
    );
    assert!(
        matches!(outcome.ending, Ending::HostDeadline { .. }),
        "{:?}",
        outcome.ending
    );
    let console = &outcome.console_tail;
    assert!(console.contains("NMI: Not continuing"), "{console}");
    assert!(console.contains("fault_hard_lockup"), "{console}");
    assert!(
        outcome.stacks.contains("task:kworker/"),
        "{}",
        outcome.stacks
    );
}
