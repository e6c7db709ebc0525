// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace live`, on the real kernel.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{argument, code, deferinit, marks, output, text};

/// A shell's loop without an end that numbers what it marks.
const MARKS: &str = "i=0; while :; do echo mark $i > /sys/kernel/tracing/instances/deferinit/trace_marker; \
                     i=$((i+1)); usleep 20000; done";

/// Starts a live trace whose standard output can be read.
fn start(arguments: &[&str], command: &str) -> Child {
    deferinit(&["trace", "live"])
        .args(arguments)
        .args(["--", command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Waits for the program's end, and gives its exit code and what it said.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("UTF-8");
    let status = child.wait().expect("it ends");
    (status.code(), said)
}

fn summary(out: &Path) -> Value {
    let bytes = fs::read(out.join("record.json")).expect("record.json");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// What a command of ours prints of the trace that a run has left.
fn printed(command: &str, out: &Path, more: &[&str]) -> String {
    let mut line = vec!["trace", command, argument(out)];
    line.extend(more);
    let output = output(&line);
    assert_eq!(code(&output), 0, "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lines without the name of the task, which may not have been saved yet when they were printed.
fn without_tasks(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let at = line.find(" [0").unwrap_or(0);
            line.split_at(at).1.to_owned()
        })
        .collect()
}

#[test]
fn records_come_while_the_command_runs_and_ctrl_c_leaves_a_whole_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let mut child = start(
        &["--out", argument(&out), "-e", "sched", "--cpus", "2"],
        MARKS,
    );
    let mut live = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    while !live.contains("mark 20") {
        let length = lines.read_line(&mut live).expect("UTF-8");
        assert!(length > 0, "it has ended: {live}\n{}", end(child).1);
    }
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    lines.read_to_string(&mut live).expect("UTF-8");
    let (status, said) = end(child);
    assert_eq!(status, Some(0), "{said}");
    let summary = summary(&out);
    assert_eq!(summary["ending"], "stopped", "{summary}");
    assert_eq!(summary["lost"], 0, "{summary}");
    assert_eq!(summary["command_end"], Value::Null, "{summary}");
    assert!(said.contains("0 lost"), "{said}");
    assert!(!said.contains("behind later ones"), "{said}");
    // All that was printed is in the file, in this order, and nothing else is.
    let of_file = printed("events", &out, &[]);
    assert_eq!(without_tasks(&live), without_tasks(&of_file));
    assert_eq!(
        summary["records"],
        u64::try_from(live.lines().count()).expect("small")
    );
    let marked = marks(&of_file);
    assert!(marked.len() > 20 && marked.iter().copied().eq(0..marked.len() as u64));
    assert!(
        live.contains(" [001] ") && live.contains(" [000] "),
        "{live}"
    );
    // The names have come, too.
    let named = live
        .lines()
        .filter(|line| line.trim_start().starts_with("busybox-"));
    assert!(named.count() > 10, "{live}");
    let report = Command::new("trace-cmd")
        .args(["report", argument(&out.join("trace/trace.dat"))])
        .output()
        .expect("trace-cmd is installed");
    assert!(report.status.success(), "{report:?}");
    assert_eq!(marks(&String::from_utf8_lossy(&report.stdout)), marked);
    assert!(!out.join("trace/streamed").exists());
}

#[test]
fn a_reader_who_closes_the_pipe_ends_the_trace_without_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let mut child = start(
        &["--out", argument(&out), "-e", "sched", "--format", "json"],
        MARKS,
    );
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    for _ in 0..5 {
        let mut line = String::new();
        lines.read_line(&mut line).expect("UTF-8");
        let record: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert!(record["timestamp_ns"].is_u64(), "{line}");
    }
    drop(lines);
    let (status, said) = end(child);
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("error"), "{said}");
    let summary = summary(&out);
    assert_eq!(summary["ending"], "stopped", "{summary}");
    assert!(summary["records"].as_u64() > Some(5), "{summary}");
}

#[test]
fn calls_come_as_a_tree_and_none_of_the_thread_that_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let output = output(&[
        "trace",
        "live",
        "--out",
        argument(&out),
        "-p",
        "function_graph",
        "-l",
        "*_read",
        "-l",
        "*_write",
        "-e",
        "sched:sched_switch",
        "--replay",
        "--",
        "for i in 1 2 3 4 5 6 7 8; do head -c 10 /proc/version; sleep 0.1; done",
    ]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    let live = String::from_utf8_lossy(&output.stdout);
    assert!(live.starts_with("# tracer: function_graph\n"), "{live}");
    for part in ["ksys_read() {", "vfs_read", "vfs_write"] {
        assert!(live.contains(part), "no {part} in\n{live}");
    }
    let summary = summary(&out);
    assert_eq!(summary["ending"], "complete", "{summary}");
    assert_eq!(summary["lost"], 0, "{summary}");
    // It reads some ten times a second, by vfs_read(), and sends by vfs_write(); all that is seen of it is that the
    // kernel switches to others.
    let of_file = printed("events", &out, &[]);
    let (_, rest) = of_file
        .split_once("prev_comm=stream prev_pid=")
        .expect("it runs");
    let pid = rest.split(' ').next().expect("a number");
    let made_by_it = format!("-{pid} [");
    let mut seen = of_file.lines().filter(|line| line.contains(&made_by_it));
    let other = seen.find(|line| !line.contains("sched_switch"));
    assert_eq!(other, None, "{of_file}");
    assert!(of_file.contains("vfs_read"), "{of_file}");
}

#[test]
fn what_was_lost_is_said_and_a_panic_leaves_what_was_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("lost");
    let mut line = vec!["trace", "live", "--out", argument(&out)];
    line.extend([
        "-p",
        "function",
        "-b",
        "16KiB",
        "--",
        "ls -R /proc/sys > /dev/null",
    ]);
    let lost = output(&line);
    assert_eq!(code(&lost), 102, "{}", text(&lost));
    let record = summary(&out);
    assert_eq!(record["ending"], "lost", "{record}");
    assert!(record["lost"].as_u64() > Some(0), "{record}");
    assert!(record["records"].as_u64() > Some(0), "{record}");

    let out = folder.path().join("panic");
    let marker = "/sys/kernel/tracing/instances/deferinit/trace_marker";
    let command = format!("echo mark 0 > {marker}; sleep 1; echo c > /proc/sysrq-trigger");
    let line = ["trace", "live", "--out", argument(&out), "--", &command];
    let panic = output(&line);
    assert_eq!(code(&panic), 100, "{}", text(&panic));
    assert_eq!(summary(&out)["ending"], "panic");
    assert_eq!(marks(&String::from_utf8_lossy(&panic.stdout)), [0]);
    assert_eq!(marks(&printed("events", &out, &[])), [0]);
}

#[test]
fn what_cannot_be_live_says_why() {
    for (arguments, part) in [
        (&["--clock", "exact"][..], "would change what is measured"),
        (&["--boot"], "nobody in the guest yet"),
        (&["--replay", "--format", "json"], "cannot be used with"),
    ] {
        let mut line = vec!["trace", "live"];
        line.extend(arguments);
        line.extend(["--", "true"]);
        let output = output(&line);
        assert_eq!(code(&output), 2, "{}", text(&output));
        assert!(text(&output).contains(part), "{}", text(&output));
    }
}
