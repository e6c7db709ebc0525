// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace record` with each tracer, filter, trigger and probe, on the real kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use deferinit_host::{Ending, GuestFile, Machine, Qemu, Request, initramfs};
use deferinit_protocol::TextFile;
use deferinit_scenario::{Bytes, Clock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{argument, code, deferinit, output, project, text};

/// How often a test looks again.
const POLL: Duration = Duration::from_millis(10);

/// What a recording is held to.
#[derive(Clone, Copy)]
enum Expected<'a> {
    /// `deferinit trace events` of the trace has a line with all of these parts.
    Event(&'a [&'a str]),
    /// `trace-cmd report` of the trace has a line with all of these parts.
    Line(&'a [&'a str]),
    /// It has none with any of these.
    NoLine(&'a [&'a str]),
    /// So many lines have this part.
    Lines(usize, &'a str),
    /// A file below `trace/` has this part.
    File(&'a str, &'a str),
    /// A file below `trace/` has it not.
    NotInFile(&'a str, &'a str),
    /// The QEMU has no persistent buffer, or has one.
    Persistent(bool),
}

use Expected::{Event, File, Line, Lines, NoLine, NotInFile, Persistent};

/// A recording in a folder that goes with it.
struct Recording {
    output: Output,
    folder: tempfile::TempDir,
}

impl Recording {
    fn of(arguments: &[&str], command: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let mut line = vec!["trace", "record", "--out", argument(&out)];
        line.extend(arguments);
        line.push("--");
        line.extend(command);
        Self {
            output: output(&line),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), text(&self.output)))
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.read("record.json")).expect("JSON")
    }

    /// The trace as trace-cmd prints it.
    fn report(&self) -> String {
        report(&self.path("trace/trace.dat"))
    }

    fn hold(&self, expected: &[Expected<'_>]) {
        // Not of a trace with large sub-buffers: trace-cmd of Debian 12 cannot read those.
        let report = if expected
            .iter()
            .any(|expected| matches!(expected, Line(_) | NoLine(_) | Lines(..)))
        {
            self.report()
        } else {
            String::new()
        };
        for expected in expected {
            match *expected {
                Line(parts) => assert!(
                    report
                        .lines()
                        .any(|line| parts.iter().all(|part| line.contains(part))),
                    "no line with {parts:?} in\n{report}"
                ),
                Event(parts) => {
                    let folder = self.path("");
                    let listed = output(&["trace", "events", &folder.display().to_string()]);
                    assert!(
                        String::from_utf8_lossy(&listed.stdout)
                            .lines()
                            .any(|line| parts.iter().all(|part| line.contains(part))),
                        "no event with {parts:?} in\n{}",
                        text(&listed)
                    );
                }
                NoLine(parts) => {
                    let found = report
                        .lines()
                        .find(|line| parts.iter().any(|part| line.contains(part)));
                    assert_eq!(found, None, "{parts:?}");
                }
                Lines(count, part) => assert_eq!(
                    report.lines().filter(|line| line.contains(part)).count(),
                    count,
                    "{part:?} in\n{report}"
                ),
                File(name, part) => {
                    let content = self.read(&format!("trace/{name}"));
                    assert!(content.contains(part), "no {part:?} in {name}:\n{content}");
                }
                NotInFile(name, part) => {
                    let content = self.read(&format!("trace/{name}"));
                    assert!(!content.contains(part), "{part:?} in {name}:\n{content}");
                }
                Persistent(is) => {
                    let argv = self.read("vm/argv");
                    assert_eq!(argv.contains("trace_instance=deferinit"), is, "{argv}");
                }
            }
        }
    }
}

fn report(trace_dat: &Path) -> String {
    let report = Command::new("trace-cmd")
        .args(["report", argument(trace_dat)])
        .output()
        .expect("trace-cmd is installed");
    assert!(report.status.success(), "{report:?}");
    String::from_utf8_lossy(&report.stdout).into_owned()
}

/// Records, and holds what came of it against what is expected. It is whole, and the command has ended well.
fn check(arguments: &[&str], command: &[&str], expected: &[Expected<'_>]) -> Recording {
    let recording = Recording::of(arguments, command);
    assert_eq!(
        code(&recording.output),
        0,
        "{arguments:?}\n{}",
        text(&recording.output)
    );
    let summary = recording.summary();
    assert_eq!(summary["ending"], "complete", "{summary}");
    assert_eq!(summary["lost"], 0, "{summary}");
    assert_eq!(summary["command_end"]["exited"], 0, "{summary}");
    recording.hold(expected);
    recording
}

/// Records what cannot be, and holds the message against what it should name.
fn check_refused(arguments: &[&str], exit: i32, parts: &[&str]) {
    let recording = Recording::of(arguments, &["true"]);
    let text = text(&recording.output);
    assert_eq!(code(&recording.output), exit, "{arguments:?}\n{text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?}: no {part:?} in\n{text}");
    }
}

/// Reads what is read by `vfs_read()`, and writes what is written by `vfs_write()`.
const READ_AND_WRITE: &str = "head -c 10 /proc/version > /tmp/x";

#[test]
fn function_tracer_with_filters_options_and_a_clock() {
    check(
        &[
            "-p",
            "function",
            "-l",
            "vfs_*",
            "-l",
            "ksys_read",
            "-n",
            "vfs_write",
            "-F",
            "-C",
            "mono",
            "-O",
            "func_stack_trace",
        ],
        &[READ_AND_WRITE],
        &[
            Persistent(true),
            Line(&["head-", "function:", "vfs_read"]),
            Line(&["=> ", "vfs_read"]),
            NoLine(&["function:             vfs_write", "ls-"]),
            File("trace_clock", "[mono]"),
            File("functions", "ksys_read"),
            NotInFile("functions", "schedule"),
        ],
    );
}

#[test]
fn function_graph_with_graph_filters_depth_threshold_and_a_function_that_triggers() {
    check(
        &[
            "-p",
            "function_graph",
            "-g",
            "ksys_read",
            "--graph-notrace",
            "rw_verify_area",
            "--max-graph-depth",
            "3",
            "-F",
            "--append",
            "set_ftrace_filter=",
        ],
        &[READ_AND_WRITE],
        &[
            Persistent(true),
            Line(&["funcgraph_entry:", "|  ksys_read() {"]),
            Line(&["funcgraph_entry:", "|    vfs_read() {"]),
            NoLine(&["rw_verify_area", "|  ksys_write", "|        "]),
        ],
    );
    // Only what takes long has an exit, and nothing an entry.
    check(
        &[
            "-p",
            "function_graph",
            "-l",
            "__x64_sys_*sleep",
            "-l",
            "vfs_read",
            "--threshold",
            "5ms",
            "--report",
            "trace",
        ],
        &["sleep 0.02; head -c 1 /proc/version"],
        &[
            Line(&["funcgraph_exit:", "|  }"]),
            NoLine(&["funcgraph_entry:", "vfs_read"]),
            File("reports/instance/trace", "/* __x64_sys_clock_nanosleep"),
        ],
    );
}

#[test]
fn events_with_filters_triggers_and_histograms() {
    check(
        &[
            "-e",
            "sched:sched_switch",
            "-f",
            "prev_pid != 0",
            "-f",
            "prev_prio < 200",
            "-R",
            "stacktrace:2",
            "-e",
            "sched_process_exit",
            "-e",
            "syscalls:sys_enter_write",
            "-f",
            "fd == 1",
            "-R",
            "hist:keys=fd:vals=count",
            "-e",
            "rcu:rcu_utilization",
            "--write",
            "trace_options=sym-offset",
        ],
        &[READ_AND_WRITE],
        &[
            Persistent(true),
            Line(&["sched_process_exit:"]),
            Line(&["sys_enter_write:"]),
            // A constant text of the kernel's, of which the record has the address.
            Event(&["rcu_utilization:", "s=Start context switch"]),
            Lines(2, "<stack trace"),
            NoLine(&["sched_switch:         swapper"]),
            File(
                "reports/instance/events/syscalls/sys_enter_write/hist",
                "# trigger info: hist:keys=fd:vals=hitcount,count",
            ),
            File(
                "reports/instance/events/syscalls/sys_enter_write/hist",
                "{ fd:          1 } hitcount:          1  count:         10",
            ),
        ],
    );
}

#[test]
fn triggers_switch_recording_off_and_on_again_and_take_a_snapshot() {
    check(
        &[
            "-e",
            "sched:sched_process_fork",
            "-e",
            "sched:sched_process_exec",
            "-R",
            "traceoff:1 if filename ~ \"*/usr2\"",
            "-e",
            "signal:signal_generate",
            "-R",
            "traceon:1 if sig == 10",
            "-e",
            "sched:sched_process_exit",
            "-R",
            "snapshot:1 if comm == \"usr1\"",
            "-b",
            "4MiB",
            "--add",
            "/bin/true:/bin/usr1",
            "--add",
            "/bin/true:/bin/usr2",
        ],
        // The exec of usr2 is the last that is recorded, until the signal comes.
        &[
            "usr2; echo unseen > /sys/kernel/tracing/instances/deferinit/trace_marker; trap : USR1; kill -10 $$; \
           echo seen > /sys/kernel/tracing/instances/deferinit/trace_marker; usr1",
        ],
        &[
            Persistent(false),
            // A snapshot takes away what was recorded up to then.
            File(
                "reports/instance/snapshot",
                "sched_process_exec: filename=/bin/usr2",
            ),
            File("reports/instance/snapshot", "tracing_mark_write: seen"),
            NotInFile("reports/instance/snapshot", "unseen"),
            Line(&["command-end"]),
            NoLine(&["seen"]),
        ],
    );
}

#[test]
fn probes_of_all_kinds_with_values() {
    check(
        &[
            "--kprobe",
            "p:entered vfs_read count=%dx:u64",
            "--kprobe",
            "r:left vfs_read ret=$retval:s64",
            "--fprobe",
            "f:fentered vfs_write",
            "--fprobe",
            "f:fleft vfs_write%return ret=$retval:s64",
            "--synthetic",
            "latency u64 us; pid_t pid",
            "-e",
            "sched:sched_waking",
            "-R",
            "hist:keys=pid:ts0=common_timestamp.usecs",
            "-e",
            "sched:sched_switch",
            "-R",
            "hist:keys=next_pid:us=common_timestamp.usecs-$ts0:onmatch(sched.sched_waking).trace(latency,$us,next_pid)",
            "-e",
            "kprobes:left",
            "-f",
            "ret > 0",
        ],
        &[READ_AND_WRITE],
        &[
            Line(&["head-", "entered:", "count="]),
            Line(&["head-", " left:", "ret="]),
            Line(&["head-", "fentered:"]),
            Line(&["head-", "fleft:", "ret=10"]),
            Line(&["latency:", "us=", "pid="]),
            NoLine(&[" ret=0"]),
            File("reports/top/kprobe_profile", "entered"),
        ],
    );
}

#[test]
fn tasks_are_recorded_or_not_by_number_name_and_command() {
    check(
        &["-e", "syscalls", "-P", "ksoftirqd/*", "-P", "1"],
        &["sleep 0.01"],
        &[Line(&["init-1 "]), NoLine(&["sleep-"])],
    );
    check(
        &["-p", "function", "-l", "vfs_*", "-e", "syscalls", "-F"],
        &["sh -c 'head -c 1 /proc/version'; true"],
        // The shell in it and its child: children belong to the command.
        &[
            Line(&["head-", "vfs_read"]),
            Line(&["head-", "sys_enter_read"]),
            NoLine(&["init-1 "]),
        ],
    );
    check(
        &["-e", "syscalls", "--notrace-pid", "1"],
        &["sleep 0.01"],
        &[Line(&["sleep-"]), NoLine(&["init-1     ["])],
    );
}

#[test]
fn latency_tracers_keep_their_longest_and_its_trace() {
    for (tracer, more, command, expected) in [
        (
            "irqsoff",
            &[][..],
            READ_AND_WRITE,
            &["# irqsoff latency trace", "=> started at: "][..],
        ),
        (
            "preemptoff",
            &[],
            READ_AND_WRITE,
            &["# preemptoff latency trace", "=> ended at: "],
        ),
        (
            "preemptirqsoff",
            &["-O", "nofunction-trace"],
            READ_AND_WRITE,
            &["# preemptirqsoff latency trace", "policy:"],
        ),
        (
            "wakeup",
            &["--add", "/usr/bin/chrt"],
            "chrt -f 10 sleep 0.01",
            &["# wakeup latency trace", "rt_prio:10"],
        ),
        (
            "wakeup_rt",
            &["--add", "/usr/bin/chrt", "-O", "nofunction-trace"],
            "chrt -f 10 sleep 0.01",
            &["# wakeup_rt latency trace", "sleep-", "policy:1 rt_prio:10"],
        ),
        (
            "wakeup_dl",
            &["--add", "/usr/bin/chrt", "-O", "nofunction-trace"],
            "chrt -d -T 1000000 -D 10000000 -P 10000000 0 sleep 0.01",
            &["# wakeup_dl latency trace", "policy:6"],
        ),
    ] {
        let mut arguments = vec!["-p", tracer];
        arguments.extend(more);
        let recording = check(&arguments, &[command], &[Persistent(false)]);
        let trace = recording.read("trace/reports/instance/trace");
        for part in expected {
            assert!(trace.contains(part), "{tracer}: no {part:?} in\n{trace}");
        }
        let maximum = recording.read("trace/reports/instance/tracing_max_latency");
        let maximum: u64 = maximum.trim().parse().expect("a number");
        assert!(
            maximum > 0 && trace.contains(&format!("# latency: {maximum} us")),
            "{tracer}: {maximum} in\n{trace}"
        );
    }
}

/// trace-cmd itself runs in the guest: the host may not let it trace.
#[test]
fn a_latency_trace_that_trace_cmd_has_recorded_is_read_in_both_versions() {
    let script = "set -e; for version in 6 7; do \
        trace-cmd record --file-version $version -p irqsoff -o /tmp/$version.dat head -c 10 /proc/version > /tmp/log 2>&1; \
        cat /sys/kernel/tracing/tracing_max_latency; gzip -c /tmp/$version.dat | base64 -w 0; echo; \
        trace-cmd reset; done";
    let recording = check(&["--add", "/usr/bin/trace-cmd"], &[script], &[]);
    let printed = recording.read("trace/output/command");
    let lines: Vec<&str> = printed.lines().collect();
    for (version, lines) in [(6, &lines[..2]), (7, &lines[2..])] {
        let [maximum, encoded] = lines else {
            panic!("{printed}");
        };
        let (text, file) = (recording.path("text"), recording.path("their.dat"));
        fs::write(&text, encoded).expect("a file");
        let decode = format!("base64 -d {} | gunzip > {}", text.display(), file.display());
        let status = Command::new("sh").args(["-c", &decode]).status();
        assert!(status.expect("a shell").success());
        let theirs = report(&file);
        assert!(
            theirs.contains(&format!("# latency: {maximum} us")),
            "{theirs}"
        );
        // A stack's frames are lines of their own.
        let rows = theirs
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with(" => "));
        let ours = output(&["trace", "latency", "--format", "json", argument(&file)]);
        assert_eq!(code(&ours), 0, "{}", crate::harness::text(&ours));
        let ours: Value = serde_json::from_slice(&ours.stdout).expect("JSON");
        assert_eq!(ours["tracer"], "irqsoff", "{version}");
        assert_eq!(ours["latency_us"].to_string(), *maximum, "{version}");
        let our_rows = ours["rows"].as_array().map(Vec::len);
        assert_eq!(our_rows, Some(rows.count()), "{version}: {theirs}");
        let info = output(&["trace", "info", "--format", "json", argument(&file)]);
        let info: Value = serde_json::from_slice(&info.stdout).expect("JSON");
        assert_eq!(info["trace_dat_version"], version, "{info}");
    }
}

#[test]
fn tracers_that_only_the_top_can_run() {
    check(
        &[
            "-p",
            "blk",
            "--write",
            "sysfs:block/ram0/trace/enable=1",
            "-e",
            "block",
        ],
        &["dd if=/dev/zero of=/dev/ram0 bs=4k count=8 && sync"],
        &[
            Persistent(false),
            // trace-cmd has a description of its own of these records, of an older structure, and which of the two it
            // takes depends on how many events there are (`tracecmd_blk_hack()`).
            Event(&["blktrace:", "sector=0 ", "bytes=4096 "]),
            Line(&["blktrace:"]),
            Line(&["block_bio_queue:"]),
        ],
    );
    // Probing a device maps its registers and reads what it is. Bus 0 is the one that begins with a page: of others, Linux
    // 7.3.4 loses the accesses (`kmmio_handler()` looks for the probe by the begin of the page).
    check(
        &[
            "-p",
            "mmiotrace",
            "--device",
            "virtio-rng-device,bus=virtio-mmio-bus.0",
        ],
        &[
            "cd /sys/bus/platform/drivers/virtio-mmio; for d in LNRO*; do \
           grep -q 0x0004 $d/virtio*/device && echo $d > unbind && echo $d > bind; done; true",
        ],
        &[Persistent(false), Line(&["mmiotrace_map:"])],
    );
}

#[test]
fn profiler_and_stack_tracer_are_read_after_the_window() {
    check(
        &[
            "--function-profile",
            "-l",
            "vfs_*",
            "--stack-tracer",
            "--report",
            "top:available_tracers",
            "--report",
            "top:no_such_file",
        ],
        &[READ_AND_WRITE],
        &[
            Persistent(true),
            File("reports/top/trace_stat/function0", "vfs_read"),
            NotInFile("reports/top/trace_stat/function0", "schedule"),
            File("reports/top/stack_trace", "Location"),
            File("reports/top/stack_max_size", "\n"),
            File("reports/top/available_tracers", "function_graph"),
        ],
    );
}

#[test]
fn recording_from_the_boot_on_by_command_line_and_by_boot_config() {
    check(
        &[
            "--boot",
            "-p",
            "function",
            "-l",
            "do_one_initcall",
            "-e",
            "initcall",
            "-e",
            "initcall:initcall_level",
            "-R",
            "stacktrace if level == 0",
            "--kprobe",
            "p:mine do_basic_setup",
            "--stack-tracer",
            "-b",
            "16MiB",
        ],
        &["true"],
        &[
            Persistent(false),
            Line(&["function:", "do_one_initcall"]),
            Line(&["initcall_level:", "level=late"]),
            Line(&["command-begin command"]),
            File("reports/top/stack_trace", "Location"),
        ],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    fs::write(
        &config,
        "ftrace {\n  tracer = function_graph\n  ftrace.filters = \"do_one_initcall\"\n  options = nooverwrite\n  \
         event.initcall.initcall_level { enable; actions = \"stacktrace:1\" }\n  \
         event.kprobes.mine.probes = \"vfs_read $arg3\"\n  event.kprobes.mine.enable\n}\n",
    )
    .expect("a file");
    check(
        &["--bootconfig", argument(&config), "-b", "16MiB"],
        &[READ_AND_WRITE],
        &[
            Line(&["funcgraph_entry:", "do_one_initcall"]),
            Line(&["initcall_level:", "level=late"]),
            Line(&["mine:", "arg1=0x"]),
            Lines(1, "<stack trace"),
        ],
    );
}

#[test]
fn what_the_kernel_cannot_do_or_refuses_is_named() {
    for (arguments, exit, parts) in [
        (
            &["-p", "hwlat"][..],
            102,
            &["unsupported: the tracer hwlat", "CONFIG_HWLAT_TRACER"][..],
        ),
        (
            &["-p", "functions"],
            2,
            &["no tracer \"functions\"", "function_graph"],
        ),
        (
            &["-p", "function", "-l", "vfs_reaad"],
            2,
            &[
                "vfs_reaad matches no function",
                "its source has no function of this name",
                "near it are vfs_read",
            ],
        ),
        (
            &["-p", "function", "-l", "new_sync_read"],
            2,
            &[
                "it is inlined wherever it is called (fs/read_write.c:",
                "the build has no debug information",
            ],
        ),
        (
            &["-p", "function", "-l", "btrfs_sync_file"],
            2,
            &[
                "it is not compiled in: fs/btrfs/file.c:",
                "no part of this build",
            ],
        ),
        (
            &["-p", "function", "-l", "sched_clock_noinstr"],
            2,
            &["it is a function of this kernel, but cannot be traced: notrace, noinstr"],
        ),
        (
            &["-p", "function_graph", "-g", "start_kernel"],
            2,
            &["start_kernel matches no function", "__init"],
        ),
        (
            &["-p", "function", "-n", "jiffies"],
            2,
            &["set_ftrace_notrace", "data, not a function"],
        ),
        (&["-e", "no:such"], 2, &["no event no:such"]),
        (
            &["-e", "sched:sched_switch", "-f", "nofield < 1"],
            2,
            &[
                "\"nofield < 1\"",
                "sched_switch/filter",
                "Invalid argument",
                "Field not found",
            ],
        ),
        (
            &["--kprobe", "p:x no_such_function"],
            2,
            &[
                "dynamic_events",
                "Invalid probed address or symbol, at \"no_such_function\"",
            ],
        ),
        (
            &["--boot", "-p", "hwlat"],
            102,
            &["the tracer hwlat", "CONFIG_HWLAT_TRACER"],
        ),
        (
            &["-O", "nosuchoption"],
            2,
            &["options/suchoption", "No such file"],
        ),
        (&["-P", "nobody"], 2, &["no task named \"nobody\""]),
        (
            &["-C", "nosuchclock"],
            2,
            &["\"nosuchclock\"", "trace_clock"],
        ),
    ] {
        check_refused(arguments, exit, parts);
    }
}

#[test]
fn a_command_has_its_output_its_status_and_its_deadline() {
    let recording = Recording::of(
        &["-e", "sched:sched_process_exit"],
        &["echo out; echo err >&2; exit 7"],
    );
    assert_eq!(code(&recording.output), 0, "{}", text(&recording.output));
    assert_eq!(recording.summary()["command_end"]["exited"], 7);
    assert_eq!(recording.read("trace/output/command"), "out\nerr\n");
    recording.hold(&[Line(&["deferinit: command-end command exited 7"])]);

    let recording = Recording::of(&["-e", "sched:sched_process_exit"], &["kill -9 $$"]);
    assert_eq!(recording.summary()["command_end"]["signalled"], 9);

    let recording = Recording::of(&[], &["no-such-program", "x"]);
    assert_eq!(recording.summary()["command_end"]["exited"], 127);
    let printed = recording.read("trace/output/command");
    assert!(
        printed.contains("cannot run no-such-program: No such file"),
        "{printed}"
    );

    let recording = Recording::of(
        &["--deadline", "200ms", "-e", "sched:sched_process_exec"],
        &["echo begun; sleep 9"],
    );
    assert_eq!(code(&recording.output), 102, "{}", text(&recording.output));
    assert_eq!(recording.summary()["ending"], "deadline");
    assert_eq!(recording.read("trace/output/command"), "begun\n");
    recording.hold(&[Line(&["sched_process_exec:"])]);

    let recording = Recording::of(&[], &["head -c 5000000 /dev/zero | tr '\\0' x"]);
    assert_eq!(code(&recording.output), 0, "{}", text(&recording.output));
    assert_eq!(recording.summary()["cut"][0][0], "output/command");
    assert_eq!(recording.read("trace/output/command").len(), 4 << 20);
}

#[test]
fn lost_records_are_counted_and_the_recording_is_not_whole() {
    let recording = Recording::of(
        &["-p", "function", "-b", "1MiB"],
        &["ls -R /proc > /dev/null"],
    );
    assert_eq!(code(&recording.output), 102, "{}", text(&recording.output));
    let summary = recording.summary();
    assert_eq!(summary["ending"], "lost", "{summary}");
    assert!(summary["lost"].as_u64() > Some(0), "{summary}");
}

#[test]
fn two_recordings_of_a_command_are_the_same_to_the_byte() {
    let of = |arguments: &[&str], expected: &[Expected<'_>]| {
        let recording = check(
            arguments,
            &["for i in 1 2 3; do head -c $i /proc/version | wc; sleep 0.01 & done; wait"],
            expected,
        );
        let summary = recording.summary();
        let hash = summary["trace_sha256"].as_str().expect("a hash").to_owned();
        (hash, recording.read("trace/output/command"))
    };
    let graph = [
        "-p",
        "function_graph",
        "-l",
        "vfs_*",
        "-l",
        "do_*",
        "-e",
        "sched",
        "--cpus",
        "2",
    ];
    let lines = [Line(&["funcgraph_exit:"]), Line(&["sched_switch:"])];
    assert_eq!(of(&graph, &lines), of(&graph, &lines));
    // Drained, not read from RAM.
    let drained = [
        "-e",
        "sched",
        "-e",
        "timer",
        "--sub-buffer-size",
        "8KiB",
        "-b",
        "8MiB",
    ];
    let large = [Persistent(false), File("formats/header_page", "size:8176;")];
    assert_eq!(of(&drained, &large), of(&drained, &large));
}

/// What no argument of `record` says: the functions of a module that a phase loads.
#[test]
fn graph_functions_of_the_module_are_found_after_each_load() {
    let scenario = "summary: Test.\nphases:\n\
        - { name: first, workload: { mode: delayed, items: 2, delay: 40ms, start: trigger } }\n\
        - { name: second, workload: { mode: delayed, items: 2, delay: 40ms, start: trigger } }\n\
        expect:\n- count: { phase: first, of: ended, equals: 2 }\n";
    let scenario = deferinit_scenario::parse("graph", scenario.as_bytes()).expect("a scenario");
    let mut plan = deferinit_host::plan(&scenario);
    plan.trace.tracer = "function_graph".to_owned();
    plan.trace.graph_functions = vec!["deferred_*".to_owned()];
    plan.trace.graph_notrace = vec!["_printk".to_owned()];
    plan.trace.reports = vec![
        TextFile::instance("trace"),
        TextFile::top("set_graph_function"),
    ];
    let module = |name: &str| {
        let path = output(&["module", "path", name]);
        fs::read(text(&path).trim()).expect("a module")
    };
    let modules =
        ["test_deferred", "test_deferred_events"].map(|name| (format!("/{name}.ko"), module(name)));
    let files: Vec<GuestFile<'_>> = modules
        .iter()
        .map(|(path, content)| GuestFile {
            path,
            content,
            is_program: false,
        })
        .collect();
    let program = Path::new(env!("CARGO_BIN_EXE_deferinit"));
    let target = program.ancestors().nth(2).expect("cargo's target folder");
    let agent = fs::read(target.join("x86_64-unknown-linux-gnu/agent/deferinit-agent"))
        .expect("the agent, as `make build` makes it");
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("initramfs.cpio");
    fs::write(&image, initramfs(&agent, &files).expect("an initramfs")).expect("a file");
    let machine = fs::read_to_string(project().join("vm/machines/x86_64.toml")).expect("a machine");
    let machine = Machine::parse(&machine).expect("a machine");
    let kernel = output(&["kernel", "path"]);
    let outcome = deferinit_host::run(&Request {
        machine: &machine,
        qemu: &Qemu::find(&machine.qemu).expect("QEMU"),
        clock: Clock::Exact,
        cpus: 1,
        memory: None,
        trace_buffer: Bytes(64 << 20),
        kernel: &PathBuf::from(text(&kernel).trim()).join("vmlinux"),
        initramfs: &image,
        command_line: &[],
        plan: &plan,
        wall_deadline: None,
        folder: folder.path(),
        interrupted: &AtomicBool::new(false),
        debugger: None,
    })
    .expect("a machine that can be set up");
    assert_eq!(outcome.ending, Ending::Complete, "{}", outcome.console_tail);
    let trace =
        fs::read_to_string(folder.path().join("trace/reports/instance/trace")).expect("a text");
    let (first, second) = trace.split_once("phase-begin second").expect("two phases");
    for (phase, part) in [("first", first), ("second", second)] {
        // A function of the module with something that it calls; the text is made when the module is gone with its names.
        assert!(
            part.lines()
                .any(|line| line.contains("|  0xffffffffa") && line.ends_with("() {")),
            "{phase}: {trace}"
        );
        assert!(!part.contains("_printk()"), "{phase}: {trace}");
        assert!(!part.contains("|  vfs_"), "{phase}: {trace}");
    }
}

/// A shell's loop that numbers what it marks, and what it does then.
fn marks(count: &str, then: &str) -> String {
    format!(
        "i=0; while [ $i {count} ]; do echo mark $i > /sys/kernel/tracing/instances/deferinit/trace_marker; \
         i=$((i+1)); done; {then}"
    )
}

/// The numbers of the marks in a trace, in their order.
fn marked(report: &str) -> Vec<u64> {
    report
        .lines()
        .filter_map(|line| line.split_once("tracing_mark_write: mark ")?.1.parse().ok())
        .collect()
}

#[test]
fn after_a_panic_and_a_hang_the_trace_is_whole() {
    let all: Vec<u64> = (0..2000).collect();
    for (then, more, exit, ending) in [
        ("echo c > /proc/sysrq-trigger", &[][..], 100, "panic"),
        // On its only CPU, with a deadline in the guest that is further away.
        (
            "while :; do :; done",
            &["--deadline", "3600s", "--wall-deadline", "15s"],
            102,
            "host-deadline",
        ),
    ] {
        let mut arguments = vec!["-e", "sched", "-p", "function", "-l", "vfs_write"];
        arguments.extend(more);
        let recording = Recording::of(&arguments, &[&marks("-lt 2000", then)]);
        assert_eq!(code(&recording.output), exit, "{}", text(&recording.output));
        assert_eq!(recording.summary()["ending"], ending);
        let report = recording.report();
        assert_eq!(marked(&report), all, "{ending}");
        // The function that wrote each of them is there, too.
        let written = report
            .lines()
            .filter(|line| line.contains("vfs_write"))
            .count();
        assert!(written >= all.len(), "{ending}: {written}");
    }
}

/// What cannot be read from outside is gone, and the message says what and why.
#[test]
fn after_a_panic_and_a_hang_an_ordinary_buffer_is_lost() {
    let hang = &["--deadline", "3600s", "--wall-deadline", "15s"][..];
    for (arguments, more, command, exit, parts) in [
        (
            &["-p", "irqsoff"][..],
            &[][..],
            "echo c > /proc/sysrq-trigger",
            100,
            &[
                "with the longest latency and its trace",
                "irqsoff swaps its buffer",
            ][..],
        ),
        (
            &["-p", "irqsoff"],
            hang,
            "while :; do :; done",
            102,
            &["15 s of wall time", "irqsoff swaps its buffer"],
        ),
        (
            &["-e", "sched", "--sub-buffer-size", "8KiB"],
            &[],
            "echo c > /proc/sysrq-trigger",
            100,
            &["the trace is lost: snapshots, sizes of buffers"],
        ),
        (
            &["-p", "blk"],
            &[],
            "echo c > /proc/sysrq-trigger",
            100,
            &["the tracer blk records at the top"],
        ),
    ] {
        let arguments = [arguments, more].concat();
        let recording = Recording::of(&arguments, &[command]);
        let text = text(&recording.output);
        assert_eq!(code(&recording.output), exit, "{text}");
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: no {part:?} in\n{text}");
        }
        assert!(text.contains("Trace:   lost with the guest"), "{text}");
        let summary = recording.summary();
        assert_eq!(summary["records"], 0, "{summary}");
        assert_eq!(summary["lost"], Value::Null, "{summary}");
        let message = summary["message"].as_str().expect("a message");
        assert!(message.contains("the host cannot read"), "{message}");
    }
}

/// Of a module that records nothing by itself: its items run 5 s after its load.
#[test]
fn functions_and_events_of_a_loaded_module_are_recorded() {
    let path = |name: &str| text(&output(&["module", "path", name])).trim().to_owned();
    let module = path("test_deferred_twin");
    let arguments = [
        "--insmod",
        &module,
        "-p",
        "function",
        "-l",
        "*:mod:test_deferred_twin",
        "-e",
        "twin_item_started",
    ];
    check(
        &arguments,
        // Not unloaded: a module that owns events takes the whole trace with it.
        &["sleep 6"],
        &[
            Persistent(true),
            Line(&["kworker/", "function:", "twin_run_item"]),
            Line(&["kworker/", "twin_item_started:"]),
            NoLine(&["vfs_"]),
            NotInFile("functions", "vfs_"),
        ],
    );
    check_refused(
        &["--insmod", &path("test_deferred")],
        2,
        &["cannot use --insmod", "is that of a module of deferinit's"],
    );
}

#[test]
fn after_qemu_was_killed_the_trace_up_to_then_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let script = marks("-ge 0", "true");
    let mut child = deferinit(&[
        "trace",
        "record",
        "--out",
        argument(&out),
        "--deadline",
        "3600s",
    ])
    .args(["-e", "sched", "--", &script])
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()
    .expect("the program starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    let has_begun = || {
        let sent = fs::read(out.join("vm/results.bin")).unwrap_or_default();
        sent.windows(11).any(|window| window == b"phase-begun")
    };
    while !has_begun() {
        assert!(Instant::now() < deadline, "the guest did not come up");
        thread::park_timeout(POLL);
    }
    // It is in the middle of marking: the loop has no end.
    let marking = Instant::now() + Duration::from_secs(2);
    while Instant::now() < marking {
        thread::park_timeout(POLL);
    }
    let pid = fs::read_to_string(out.join("vm/pid")).expect("a pid file");
    let pid = Pid::from_raw(pid.trim().parse().expect("a pid"));
    kill(pid, Signal::SIGKILL).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(102));
    let marked = marked(&report(&out.join("trace/trace.dat")));
    let count = u64::try_from(marked.len()).expect("small");
    assert!(count > 100, "{count} marks in 2 s");
    assert!(marked.iter().copied().eq(0..count), "{marked:?}");
}
