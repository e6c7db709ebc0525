// SPDX-License-Identifier: GPL-2.0-only

//! Every way a run can end has its own verdict reason, and leaves nothing running.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use deferinit_host::{Ending, Machine, Outcome, Qemu, Request, initramfs};
use deferinit_scenario::{Bytes, Clock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::faults::kernel;
use crate::harness::{
    argument, code, deferinit, is_running, output, pid_in_window, project, results, text,
};

/// A scenario that takes long on the wall clock: an hour of guest time that is not skipped.
const LONG: &str = "summary: Long.\nclock: wall\ndeadline: 3600s\n\
    workload: { mode: delayed, items: 1, delay: 3500s }\nexpect:\n- count: { of: ended, equals: 1 }\n";

/// How often a test looks again.
const POLL: Duration = Duration::from_millis(10);

/// A run in the background, and the folder it writes to.
struct Background {
    child: Child,
    folder: tempfile::TempDir,
}

impl Background {
    /// Starts the long scenario and waits until its QEMU runs.
    fn start() -> (Self, u32) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("long.yaml");
        fs::write(&file, LONG).expect("a file");
        let out = folder.path().join("out");
        let child = deferinit(&["run", argument(&file), "--out", argument(&out)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let background = Self { child, folder };
        let qemu = pid_in_window(&out.join("long/vm"));
        (background, qemu)
    }

    /// Waits for the end of the run; returns its exit code.
    fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().expect("a pid")), signal).expect("it is there");
}

#[test]
fn killing_qemu_ends_102_and_the_trace_up_to_then_is_there() {
    let (mut run, qemu) = Background::start();
    signal(qemu, Signal::SIGKILL);
    assert_eq!(run.wait(), Some(102));
    assert!(!is_running(qemu));
    let results = results(&run.out());
    assert_eq!(results[0]["verdict"], "unresolved");
    let reason = results[0]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("QEMU ended before the guest powered off") && reason.contains("signal: 9"),
        "{reason}"
    );
    let report = std::process::Command::new("trace-cmd")
        .args(["report", argument(&run.out().join("long/trace/trace.dat"))])
        .output()
        .expect("trace-cmd is installed");
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("deferinit: phase-begin main"), "{report}");
}

#[test]
fn an_interrupted_run_leaves_nothing_running_and_ends_102() {
    for stop in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut run, qemu) = Background::start();
        signal(run.child.id(), stop);
        assert_eq!(run.wait(), Some(102), "{stop}");
        assert!(!is_running(qemu), "{stop} left QEMU running");
        assert_eq!(results(&run.out())[0]["verdict"], "unresolved", "{stop}");
    }
}

#[test]
fn a_killed_harness_takes_qemu_with_it() {
    let (mut run, qemu) = Background::start();
    signal(run.child.id(), Signal::SIGKILL);
    assert_eq!(run.wait(), None);
    let deadline = Instant::now() + Duration::from_secs(30);
    while is_running(qemu) {
        assert!(Instant::now() < deadline, "QEMU outlives its harness");
        thread::park_timeout(POLL);
    }
}

#[test]
fn a_plan_that_takes_too_long_in_the_guest_is_unresolved() {
    let (output, out) = run_text(
        // Sleeps of 20 ms take up to 28 ms: msleep() adds a jiffy and rounds up.
        "summary: Slow.\ndeadline: 330ms\nworkload: { mode: direct, items: 16, body: { sleep: 20ms } }\n\
         expect:\n- count: { of: ended, equals: 16 }\n",
    );
    assert_eq!(code(&output), 102, "{}", text(&output));
    let reason = results(out.path())[0]["reason"]
        .as_str()
        .expect("a reason")
        .to_owned();
    assert!(reason.contains("deadline in guest time"), "{reason}");
    assert!(reason.contains("the load of the module"), "{reason}");
}

#[test]
fn parameters_that_the_module_refuses_are_named_in_the_kernel_log() {
    let text_of = |expectation: &str| {
        format!(
            "summary: Refused.\nmachine: {{ cpus: 2, command-line: [maxcpus=1] }}\nworkload: {{ mode: work, items: 1, cpu: 1 }}\nexpect:\n- {expectation}\n"
        )
    };
    let (output, out) = run_text(&text_of("load: { error: EINVAL }"));
    assert_eq!(code(&output), 0, "{}", text(&output));
    let log = fs::read_to_string(out.path().join("scenario/trace/dmesg")).expect("a kernel log");
    let line = "test_deferred: parameter cpu=1 is not allowed; allowed: any, or the number of a CPU that is online";
    assert!(log.contains(line), "{log}");

    let (output, _) = run_text(&text_of("count: { of: ended, equals: 1 }"));
    assert_eq!(code(&output), 100, "{}", text(&output));
}

fn run_text(scenario: &str) -> (std::process::Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, scenario).expect("a file");
    let out = tempfile::tempdir().expect("a folder");
    (
        output(&["run", argument(&file), "--out", argument(out.path())]),
        out,
    )
}

/// The machine code of programs that are PID 1 in place of the agent.
mod init {
    /// `jmp .`
    pub(super) const HANG: &[u8] = &[0xeb, 0xfe];
    /// `exit(0)`
    pub(super) const EXIT: &[u8] = &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    /// `reboot(LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0)`
    pub(super) const POWER_OFF: &[u8] = &[
        0xbf, 0xad, 0xde, 0xe1, 0xfe, // mov edi, 0xfee1dead
        0xbe, 0x69, 0x19, 0x12, 0x28, // mov esi, 0x28121969
        0xba, 0xdc, 0xfe, 0x21, 0x43, // mov edx, 0x4321fedc
        0xb8, 169, 0, 0, 0, // mov eax, SYS_reboot
        0x0f, 0x05, // syscall
        0xeb, 0xfe, // jmp .
    ];
}

/// The smallest ELF program that Linux runs: header, one segment, code.
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let length = HEADERS + code.len() as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |value: u64, size: usize| bytes.extend_from_slice(&value.to_le_bytes()[..size]);
    // e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags.
    for (value, size) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (BASE + HEADERS, 8),
        (64, 8),
        (0, 8),
        (0, 4),
    ] {
        put(value, size);
    }
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
    for value in [64, 56, 1, 0, 0, 0] {
        put(value, 2);
    }
    // p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
    for (value, size) in [
        (1, 4),
        (5, 4),
        (0, 8),
        (BASE, 8),
        (BASE, 8),
        (length, 8),
        (length, 8),
        (4096, 8),
    ] {
        put(value, size);
    }
    bytes.extend_from_slice(code);
    bytes
}

/// Boots a guest whose PID 1 is `code`.
fn boot(code: &[u8], parameters: &[&str], wall_deadline: Duration, interrupted: bool) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let image = initramfs(&elf(code), &[]).expect("an initramfs");
    boot_in(
        folder.path(),
        &image,
        parameters,
        wall_deadline,
        interrupted,
    )
}

/// Boots a guest with this initramfs; its files go into `folder`.
pub(crate) fn boot_in(
    folder: &Path,
    image: &[u8],
    parameters: &[&str],
    wall_deadline: Duration,
    interrupted: bool,
) -> Outcome {
    let kernel = kernel().join("vmlinux");
    let path = folder.join("initramfs.cpio");
    fs::write(&path, image).expect("a file");
    let machine = fs::read_to_string(project().join("vm/machines/x86_64.toml")).expect("a machine");
    let machine = Machine::parse(&machine).expect("a machine");
    let parameters: Vec<String> = parameters.iter().map(|&text| text.to_owned()).collect();
    run(
        &machine,
        &kernel,
        &path,
        &parameters,
        folder,
        wall_deadline,
        interrupted,
    )
}

fn run(
    machine: &Machine,
    kernel: &Path,
    image: &Path,
    parameters: &[String],
    folder: &Path,
    wall_deadline: Duration,
    interrupted: bool,
) -> Outcome {
    let scenario = deferinit_scenario::parse("long", LONG.as_bytes()).expect("a scenario");
    deferinit_host::run(&Request {
        machine,
        qemu: &Qemu::find(&machine.qemu).expect("QEMU"),
        clock: Clock::Exact,
        cpus: 1,
        memory: None,
        trace_buffer: Bytes(16 << 20),
        kernel,
        initramfs: image,
        command_line: parameters,
        plan: &deferinit_host::plan(&scenario),
        wall_deadline: Some(wall_deadline),
        folder,
        interrupted: &AtomicBool::new(interrupted),
        debugger: None,
    })
    .expect("a machine that can be set up")
}

const GENEROUS: Duration = Duration::from_secs(120);

#[test]
fn a_panic_is_known_with_the_kernels_own_words() {
    let outcome = boot(init::HANG, &["rdinit=/nothing"], GENEROUS, false);
    let Ending::GuestPanic { message } = &outcome.ending else {
        panic!("{:?}\n{}", outcome.ending, outcome.console_tail);
    };
    assert!(
        message.contains("Kernel panic - not syncing: "),
        "{message}"
    );
    assert!(
        outcome.console_tail.contains("Call Trace:"),
        "{}",
        outcome.console_tail
    );
}

#[test]
fn an_agent_that_dies_is_no_fault_of_the_kernel() {
    let outcome = boot(init::EXIT, &[], GENEROUS, false);
    let Ending::AgentError { message } = &outcome.ending else {
        panic!("{:?}\n{}", outcome.ending, outcome.console_tail);
    };
    assert!(message.contains("Attempted to kill init!"), "{message}");
}

#[test]
fn a_guest_that_powers_off_without_a_word_has_no_agent() {
    let outcome = boot(init::POWER_OFF, &[], GENEROUS, false);
    assert_eq!(
        outcome.ending,
        Ending::AgentMissing,
        "{}",
        outcome.console_tail
    );
}

#[test]
fn a_guest_that_hangs_is_ended_by_the_deadline_in_wall_time() {
    let outcome = boot(init::HANG, &[], Duration::from_secs(5), false);
    let waiting_for = "the boot of the guest for 5 s of wall time".to_owned();
    assert_eq!(outcome.ending, Ending::HostDeadline { waiting_for });
}

/// Where the host's last look finds a guest that hangs.
fn place_of_hang(outcome: &Outcome) -> String {
    let Ending::HostDeadline { waiting_for } = outcome.ending.clone() else {
        panic!("{:?}\n{}", outcome.ending, outcome.console_tail);
    };
    let ending = deferinit_timeline::Ending::HostDeadline { waiting_for };
    match ending.with_place_of_hang(&outcome.stacks, &[]) {
        deferinit_timeline::Ending::HostDeadline { waiting_for } => waiting_for,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_that_hangs_shows_its_tasks_and_where_its_first_one_is() {
    // Long enough for a boot on a host that is busy.
    let deadline = Duration::from_secs(20);
    // The agent is there, and does nothing.
    let outcome = boot(init::HANG, &[], deadline, false);
    let place = place_of_hang(&outcome);
    assert!(
        place.ends_with("; init (pid 1) runs, outside of the kernel"),
        "{place}"
    );
    assert!(
        outcome.console_tail.contains("NMI: Not continuing"),
        "{}",
        outcome.console_tail
    );
    assert!(
        !outcome.console_tail.contains("task:"),
        "{}",
        outcome.console_tail
    );
    assert!(
        outcome.stacks.contains("task:kthreadd "),
        "{}",
        outcome.stacks
    );

    // The kernel waits for a disk that never comes, and no program has run yet.
    let parameters = ["rdinit=/nothing", "root=/dev/nothing", "rootwait"];
    let place = place_of_hang(&boot(init::HANG, &parameters, deadline, false));
    let expected = "the boot of the kernel, which has run no program yet, for 20 s of wall time";
    assert_eq!(place, expected);
}

#[test]
fn a_qemu_that_is_stopped_is_no_guest_that_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = initramfs(&elf(init::HANG), &[]).expect("an initramfs");
    let pid_file = folder.path().join("vm/pid");
    let (outcome, qemu) = thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while Instant::now() < deadline {
                let text = fs::read_to_string(&pid_file).unwrap_or_default();
                // The guest runs once it has printed something.
                let console = fs::metadata(pid_file.with_file_name("console.log"));
                if let Ok(pid) = text.trim().parse()
                    && console.is_ok_and(|console| console.len() > 0)
                {
                    signal(pid, Signal::SIGSTOP);
                    return pid;
                }
                thread::park_timeout(POLL);
            }
            panic!("QEMU did not run the guest within 60 s");
        });
        let deadline = Duration::from_secs(15);
        let outcome = boot_in(folder.path(), &image, &[], deadline, false);
        (outcome, stopped.join().expect("a pid"))
    });
    let waiting_for = "the boot of the guest for 15 s of wall time".to_owned();
    assert_eq!(outcome.ending, Ending::QemuHung { waiting_for });
    assert!(!is_running(qemu));
}

/// Mounts a small file system on a folder, in a mount namespace of its own; runs a scenario there and fills the rest as
/// soon as QEMU runs.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=24M none "$1" || exit 77
"$2" run delayed-work/accuracy --out "$1/out" > "$3/printed" 2>&1 &
until [ -s "$1/out/delayed-work/accuracy/vm/console.log" ]; do kill -0 $! || exit 78; sleep 0.01; done
cat /dev/zero > "$1/full" 2> /dev/null
wait $!
code=$?
cp "$1/out/results.json" "$3" && exit $code
"#;

#[test]
fn a_disk_that_is_full_is_the_reason_and_leaves_room_for_the_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    // Root of its own user namespace may mount, and so may root.
    let user = if nix::unistd::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let status = std::process::Command::new("unshare")
        .args([user, "sh", "-c", ON_A_SMALL_DISK, "sh", argument(&disk)])
        .args([env!("CARGO_BIN_EXE_deferinit"), argument(folder.path())])
        .current_dir(project())
        .status()
        .expect("unshare is installed");
    let printed = fs::read_to_string(folder.path().join("printed")).unwrap_or_default();
    assert_eq!(status.code(), Some(102), "{printed}");
    let reason = results(folder.path())[0]["reason"].clone();
    let reason = reason.as_str().expect("a reason");
    assert!(
        reason.contains("the disk had no room for the results: "),
        "{reason}"
    );
}

#[test]
fn a_run_that_is_interrupted_says_so() {
    let outcome = boot(init::HANG, &[], GENEROUS, true);
    assert_eq!(outcome.ending, Ending::Interrupted);
    assert!(outcome.wall < GENEROUS);
}

#[test]
fn a_kernel_that_qemu_cannot_load_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = folder.path().join("nothing");
    fs::write(&nothing, "no kernel").expect("a file");
    let machine = fs::read_to_string(project().join("vm/machines/x86_64.toml")).expect("a machine");
    let machine = Machine::parse(&machine).expect("a machine");
    let outcome = run(
        &machine,
        &nothing,
        &nothing,
        &[],
        folder.path(),
        GENEROUS,
        false,
    );
    let Ending::QemuRefused { status } = &outcome.ending else {
        panic!("{:?}", outcome.ending)
    };
    assert!(
        status.contains("exit status: 1") && status.contains("kernel"),
        "{status}"
    );
}

#[test]
fn qemu_has_no_rights_and_nobody_else_can_enter_its_folder() {
    let (run, qemu) = Background::start();
    let status = fs::read_to_string(format!("/proc/{qemu}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Seccomp:"), ["2"], "{status}");
    assert_eq!(field("NoNewPrivs:"), ["1"], "{status}");
    for capabilities in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        assert_eq!(field(capabilities), ["0000000000000000"], "{status}");
    }
    for ids in ["Uid:", "Gid:"] {
        assert!(!field(ids).contains(&"0"), "{status}");
    }
    let vm = run.out().join("long/vm");
    let mode = fs::metadata(&vm).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let arguments = fs::read_to_string(vm.join("argv")).expect("arguments");
    assert!(arguments.contains("-nic none"), "{arguments}");
}
