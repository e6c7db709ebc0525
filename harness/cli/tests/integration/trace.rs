// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace` on small files of real captures, without a VM: each command, what it prints, and what it says of a
//! question that has no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{argument, code, copy, project, text};
use crate::trace_files::{CAPTURES, Files};

/// A command, its exit code, and parts of what it prints and complains of. Where nothing is expected of one of the two,
/// it must be empty.
type Case<'a> = (&'a str, i32, &'a [&'a str], &'a [&'a str]);

/// Runs the commands, each on its own, in a folder with the captures.
#[track_caller]
fn check(cases: &[Case<'_>]) {
    let files = Files::new();
    for (line, exit, out, err) in cases {
        let output = files.run(line);
        assert_eq!(code(&output), *exit, "{line}: {}", text(&output));
        for (stream, parts) in [(&output.stdout, out), (&output.stderr, err)] {
            let stream = String::from_utf8_lossy(stream);
            assert!(
                !stream.contains('\x1b'),
                "colour on a pipe: {line}: {stream}"
            );
            if parts.is_empty() {
                assert_eq!(stream, "", "{line}");
            }
            for part in *parts {
                assert!(stream.contains(part), "{line}: no {part:?} in\n{stream}");
            }
        }
    }
}

#[test]
fn info_says_what_is_in_a_trace() {
    check(&[
        (
            "info function_graph.dat",
            0,
            &[
                "trace.dat version 7, compression zstd",
                "written by:  deferinit 0.1.0\n",
                "clock:       local\n",
                "records:     798\n",
                "41.490860656 to 41.867973008, 0.377112352 s\n",
                "lost:        none, says the kernel\n",
                "cpu 0             366 records in 4 sub-buffers\n",
                "342  ftrace:funcgraph_entry\n",
            ],
            &[],
        ),
        (
            "info events.dat --format json",
            0,
            &["\"format_version\": 1", "\"records\": 831"],
            &[],
        ),
    ]);
    let files = Files::new();
    for capture in CAPTURES {
        let info = files.json(&format!("info {capture}.dat --format json"));
        let sum = |of: &Value| -> u64 {
            let counts = of.as_object().expect("an object").values();
            counts.filter_map(Value::as_u64).sum()
        };
        assert_eq!(info["records"], sum(&info["events"]), "{info}");
        let cpus = info["cpus"].as_array().expect("CPUs");
        let of_cpus: u64 = cpus.iter().filter_map(|cpu| cpu["records"].as_u64()).sum();
        assert_eq!((info["records"].as_u64(), cpus.len()), (Some(of_cpus), 2));
        assert_eq!(of_cpus, counted_by_the_kernel(capture));
    }
}

/// What the kernel says that it gave, of both CPUs.
fn counted_by_the_kernel(capture: &str) -> u64 {
    let read = |cpu: u32| {
        let name =
            format!("harness/trace/tests/data/linux-7.3.4/captures/{capture}.cpu{cpu}.stats");
        let stats = std::fs::read_to_string(project().join(name)).expect("statistics");
        let of = |line: &str| {
            let count = line
                .strip_prefix("entries: ")
                .or(line.strip_prefix("read events: "))?;
            count.parse::<u64>().ok()
        };
        stats.lines().filter_map(of).sum::<u64>()
    };
    read(0) + read(1)
}

#[test]
fn the_folder_of_a_run_stands_for_its_trace() {
    let files = Files::new();
    let trace = files.path("out/first/trace");
    std::fs::create_dir_all(&trace).expect("a folder");
    files.write("out/first/trace/trace.dat", &files.read("events.dat"));
    for named in ["out", "out/first", "out/first/trace/trace.dat"] {
        let info = files.json(&format!("info {named} --format json"));
        assert_eq!(info["records"], 831, "{named}");
    }
    copy(&files.path("out/first"), &files.path("out/second"));
    let several = files.run("info out");
    assert_eq!(code(&several), 2);
    assert!(
        text(&several).contains("out holds 2 runs with a trace; name one of them, as out/first"),
        "{}",
        text(&several)
    );
    std::fs::create_dir(files.path("empty")).expect("a folder");
    let none = files.run("info empty");
    assert_eq!(code(&none), 2);
    assert!(
        text(&none).contains("there is no trace/trace.dat in it or below"),
        "{}",
        text(&none)
    );
}

#[test]
fn an_instance_is_named_or_the_names_there_are_are_said() {
    check(&[
        (
            "info events.dat --instance other",
            2,
            &[],
            &["there is no instance \"other\" in it, but \"\""],
        ),
        (
            "report function_graph.dat --instance other",
            2,
            &[],
            &["there is no instance \"other\""],
        ),
    ]);
}

#[test]
fn report_has_columns_an_order_a_limit_and_a_glob() {
    check(&[
        (
            "report function_graph.dat",
            0,
            &[
                "Calls       Total        Self",
                "P99         Max  Incomplete  Function\n",
            ],
            &[],
        ),
        (
            "report function_graph.dat --sort calls --limit 1",
            0,
            &["   38  539.120 us  539.120 us   14.016 us", "filp_close\n"],
            &[],
        ),
        (
            "report function_graph.dat --function vfs_*",
            0,
            &["vfs_open\n", "vfs_statx\n"],
            &[],
        ),
        (
            "report function_graph.dat --function vfs_opne",
            2,
            &[],
            &[
                "no function that was called matches \"vfs_opne\"",
                "342 entries and 336 ends",
            ],
        ),
        (
            "report function.dat",
            2,
            &[],
            &["no records of function_graph"],
        ),
        (
            "report function_graph.dat --sort size",
            2,
            &[],
            &[
                "invalid value 'size'",
                "[possible values: name, calls, total, self, min, avg,",
            ],
        ),
        (
            "report function_graph.dat --cpu 7",
            2,
            &[],
            &["no call is in what was read of this trace"],
        ),
    ]);
}

/// The rows of a report for programs.
fn rows(report: &Value) -> Vec<Value> {
    report["functions"].as_array().expect("functions").clone()
}

#[test]
fn report_is_sorted_by_each_column_and_its_limit_takes_the_first() {
    let files = Files::new();
    for (column, field) in [
        ("calls", "calls"),
        ("total", "total_ns"),
        ("self", "self_ns"),
        ("min", "min_ns"),
        ("avg", "avg_ns"),
        ("p50", "p50_ns"),
        ("p99", "p99_ns"),
        ("max", "max_ns"),
    ] {
        let all = rows(&files.json(&format!(
            "report function_graph.dat --format json --sort {column}"
        )));
        let value = |row: &Value| {
            row[field]
                .as_u64()
                .unwrap_or_else(|| panic!("{field}: {row}"))
        };
        assert!(
            all.is_sorted_by(|one, next| value(one) >= value(next)),
            "{column}"
        );
        assert!(value(&all[0]) > value(&all[all.len() - 1]), "{column}");
        let few = rows(&files.json(&format!(
            "report function_graph.dat --format json --sort {column} --limit 3"
        )));
        assert_eq!(few, all[..3], "{column}");
    }
}

#[test]
fn replay_prints_calls_in_both_styles() {
    check(&[
        (
            "replay function_graph.dat",
            0,
            &[
                "# CPU  DURATION                  FUNCTION CALLS\n",
                " 0) + 14.528 us   |  filp_close();\n",
                " 0)               |  do_sys_openat2() {\n",
                "/* sched_switch: ",
            ],
            &[],
        ),
        (
            "replay function_graph.dat --show abstime,proc --show tail,retval",
            0,
            &[
                "41.490860 |   0)   busybox-1    | + 14.528 us   |  filp_close(); /* ret=0x0 */\n",
                "} /* do_sys_openat2 ret=0x",
            ],
            &[],
        ),
        (
            "replay function_graph.dat --style local",
            0,
            &[
                "         Entry       Duration          Local      Pid Trace\n",
                "       413.072        215.264         45.280        1 do_sys_openat2\n",
                "       439.488        169.984        113.632        1 |  path_openat\n",
            ],
            &[],
        ),
        (
            "replay function_graph.dat --function path_openat --max-depth 1",
            0,
            &["path_openat"],
            &[],
        ),
        (
            "replay function_graph.dat --function nope_*",
            2,
            &[],
            &["there is nothing to show: no call or event in it is of such a function"],
        ),
        (
            "replay function_graph.dat --style local --pid 77777",
            2,
            &[],
            &["there is nothing to show"],
        ),
        (
            "replay function_graph.dat --style tree",
            2,
            &[],
            &["[possible values: kernel, local]"],
        ),
    ]);
}

#[test]
fn a_replay_of_some_calls_shows_no_others() {
    let files = Files::new();
    let lines = |line: &str| {
        let text = String::from_utf8(files.printed(line)).expect("names are ASCII");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for line in lines("replay function_graph.dat --style local --function vfs_open")
        .iter()
        .skip(1)
    {
        assert!(line.ends_with("vfs_open") || line.contains("|  "), "{line}");
    }
    // In microseconds. How long one took whose end was not seen is not known: it is shown, too.
    let mut long = 0;
    for line in lines("replay function_graph.dat --style local --min-duration 1ms")
        .iter()
        .skip(1)
    {
        let duration = line.split_whitespace().nth(1).expect("a duration");
        let is_long = duration.parse::<f64>().is_ok_and(|us| us >= 1000.0);
        assert!(is_long || line.ends_with("/* end not seen */"), "{line}");
        long += u32::from(is_long);
    }
    assert!(long > 30, "{long}");
    let of = |pid: &str| lines(&format!("replay function_graph.dat --style local {pid}")).len();
    assert!(
        of("--pid 1") > 1 && of("--pid 1") < of(""),
        "{} {}",
        of("--pid 1"),
        of("")
    );
}

#[test]
fn graph_has_callers_callees_tasks_and_formats() {
    check(&[
        (
            "graph function_graph.dat",
            0,
            &[
                "     Calls         Total         Self   Function\n",
                "        12    104.447 ms     2.188 ms   schedule_timeout /* 1 not seen to end */\n",
                "        12    102.259 ms   102.259 ms     schedule /* 1 not seen to end */\n",
            ],
            &[],
        ),
        (
            "graph function_graph.dat --callees do_sys*",
            0,
            &[
                "   do_sys_openat2\n",
                "     path_openat\n",
                "         path_get\n",
            ],
            &[],
        ),
        (
            "graph function_graph.dat --callers vfs_open",
            0,
            &[
                "   vfs_open\n",
                "     path_openat\n",
                "       do_sys_openat2\n",
            ],
            &[],
        ),
        (
            "graph function_graph.dat --by-task",
            0,
            &["   busybox-1\n"],
            &[],
        ),
        (
            "graph function_graph.dat --format folded",
            0,
            &["do_sys_openat2;path_openat;vfs_open;path_get 157888\n"],
            &[],
        ),
        (
            "graph function_graph.dat --format json",
            0,
            &["\"format_version\": 1", "\"entries\": 342"],
            &[],
        ),
        (
            "graph function_graph.dat --callees nope",
            2,
            &[],
            &["no function that was called matches \"nope\""],
        ),
        (
            "graph function_graph.dat --callers a --callees b",
            2,
            &[],
            &["cannot be used with"],
        ),
        (
            "graph function.dat",
            2,
            &[],
            &["no records of function_graph"],
        ),
    ]);
}

#[test]
fn self_times_of_the_graph_are_those_of_the_report() {
    let files = Files::new();
    let folded = String::from_utf8(files.printed("graph function_graph.dat --format folded"));
    let mut by_function: BTreeMap<String, u64> = BTreeMap::new();
    for line in folded.expect("names are ASCII").lines() {
        let (stack, own) = line.rsplit_once(' ').expect("a number");
        let function = stack.rsplit(';').next().expect("a function").to_owned();
        *by_function.entry(function).or_default() += own.parse::<u64>().expect("a number");
    }
    let report = files.json("report function_graph.dat --format json");
    let mut compared = 0;
    for row in rows(&report) {
        let name = row["name"].as_str().expect("a name");
        let own = row["self_ns"].as_u64().expect("a number");
        assert_eq!(by_function.get(name).copied().unwrap_or(0), own, "{name}");
        compared += u32::from(own > 0);
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn latency_is_of_a_function_of_events_or_of_a_latency_tracer() {
    check(&[
        (
            "latency function_graph.dat --function vfs_open",
            0,
            &["15 calls of vfs_open\nmin 39.568 us  avg 70.646 us", "|@@"],
            &[],
        ),
        (
            "latency function_graph.dat --function vfs_open --bucket 10us --range 0ns-100us",
            0,
            &[
                "[30000, 40000)      2 |",
                "[40000, 50000)     12 |",
                "[100000, ...)       1 |",
            ],
            &[],
        ),
        (
            "latency function_graph.dat --function vfs_open --format json",
            0,
            &["\"function\": \"vfs_open\"", "\"count\": 15"],
            &[],
        ),
        (
            "latency events.dat --of wakeup",
            0,
            &[
                "19 pairs of 20 starts and 48 ends\n",
                "slowest:\n",
                "pid=14\n",
            ],
            &[],
        ),
        (
            "latency function_graph.dat",
            2,
            &[],
            &[
                "it is not of a latency tracer; --of says of which events, --function of which function",
            ],
        ),
        (
            "latency function_graph.dat --function vfs_opne",
            2,
            &[],
            &["no call of vfs_opne ended in this trace"],
        ),
        (
            "latency events.dat --of irqsoff",
            2,
            &[],
            &["no event of the trace is \"preemptirq:irq_disable\""],
        ),
        (
            "latency function_graph.dat --function vfs_open --bucket 10us",
            2,
            &[],
            &["--range <FROM-TO>"],
        ),
        (
            "latency function_graph.dat --function vfs_open --bucket 10us --range 9us-1us",
            2,
            &[],
            &["--bucket and --range"],
        ),
    ]);
}

#[test]
fn events_are_listed_counted_chosen_and_paired() {
    check(&[
        (
            "events events.dat --limit 1",
            0,
            &[
                "busybox-1 [001] ..... 8.112690864: openat: __probe_ip=do_sys_openat2 dfd=-100 \
                 file=trace_marker how=[33345, 438, 0]",
            ],
            &[],
        ),
        (
            "events events.dat --event sched:* --filter pid==14 --limit 1",
            0,
            &["sched_", " pid=14 "],
            &[],
        ),
        (
            "events events.dat --count",
            0,
            &[
                "         117  ftrace:user_stack\n",
                "         831  selected of 831 records\n",
            ],
            &[],
        ),
        (
            "events events.dat --count --event sched_switch --filter prev_pid==0 --format json",
            0,
            &["\"seen\": 831"],
            &[],
        ),
        (
            "events events.dat --event sched_waking --to-event sched_switch --key pid=next_pid",
            0,
            &[
                "19 pairs of 20 starts and 48 ends\n",
                "  1 starts without an end\n",
            ],
            &[],
        ),
        (
            "events events.dat --event sched_swich",
            2,
            &[],
            &["no event of the trace is \"sched_swich\"; the nearest is \"sched_switch\""],
        ),
        (
            "events events.dat --event sched_switch --filter prev_pidd==1",
            2,
            &[],
            &[
                "column 1: no event of the trace has a field \"prev_pidd\"; the nearest is \"prev_pid\"",
            ],
        ),
        (
            "events events.dat --filter prev_prio<",
            2,
            &[],
            &["column 11: expected a number", "found the end"],
        ),
        (
            "events events.dat --event sched_waking --to-event sched_switch --key pidd",
            2,
            &[],
            &["has a field \"pidd\"; the nearest is \"pid\""],
        ),
        (
            "events events.dat --key pid",
            2,
            &[],
            &["--to-event <EVENT>"],
        ),
        // Nothing is selected, which is said: a user's expression may be right, and the answer none.
        (
            "events events.dat --event sched_switch --filter prev_prio==7",
            0,
            &[],
            &["warning: events.dat: none of 831 records is selected"],
        ),
    ]);
}

#[test]
fn diff_of_a_trace_with_itself_is_zero_and_with_a_part_of_it_is_not() {
    let files = Files::new();
    let same = files.json("diff function_graph.dat function_graph.dat --format json");
    let names = |difference: &Value| {
        let functions = difference["functions"].as_array().expect("functions");
        functions
            .iter()
            .map(|row| row["name"].clone())
            .collect::<Vec<_>>()
    };
    let change = |row: &Value, of: &str| row[of]["absolute"].as_i64();
    assert!(names(&same).len() > 20, "{same}");
    for row in same["functions"].as_array().expect("functions") {
        for of in ["calls", "total_ns", "self_ns"] {
            assert_eq!(change(row, of), Some(0), "{row}");
        }
    }
    files.printed("split function_graph.dat --cpu 0 -o half.dat");
    let half = files.json("diff function_graph.dat half.dat --format json --sort calls");
    let first = &half["functions"][0];
    assert!(change(first, "calls") < Some(0), "{half}");
    check(&[
        (
            "diff function_graph.dat function_graph.dat --limit 2",
            0,
            &["    0  +0.0 %   0 ns  +0.0 %"],
            &[],
        ),
        (
            "diff function_graph.dat function.dat",
            2,
            &[],
            &["error: function.dat: ", "no records of function_graph"],
        ),
        (
            "diff function_graph.dat function_graph.dat --function nope",
            2,
            &[],
            &["no function that was called matches \"nope\""],
        ),
    ]);
}

#[test]
fn parts_by_time_and_by_cpu_make_the_whole_again() {
    for capture in CAPTURES {
        let files = Files::new();
        let records = |file: &str| files.printed(&format!("events {file} --format json"));
        let info = |file: &str| files.json(&format!("info {file} --format json"));
        let whole = records(&format!("{capture}.dat"));
        assert!(whole.len() > 10_000, "{capture}");
        for (kind, [first, second]) in [
            ("time", ["--to +20ms", "--from +20ms"]),
            ("cpu", ["--cpu 0", "--cpu 1"]),
        ] {
            let [one, two, all] = ["one", "two", "all"].map(|part| format!("{kind}-{part}.dat"));
            files.printed(&format!("split {capture}.dat {first} --output {one}"));
            let written = files.json(&format!(
                "split {capture}.dat {second} --output {two} --format json"
            ));
            assert_eq!(
                written["records"],
                info(&two)["records"],
                "{capture} {kind}"
            );
            assert!(info(&one)["records"].as_u64() > Some(0), "{capture} {kind}");
            assert!(info(&two)["records"].as_u64() > Some(0), "{capture} {kind}");
            files.printed(&format!("merge {two} {one} --output {all}"));
            assert!(records(&all) == whole, "{capture} {kind}");
            assert!(records(&one) != whole, "{capture} {kind}");
        }
    }
}

#[test]
fn traces_of_other_kernels_are_not_merged_and_windows_end_after_they_begin() {
    check(&[
        (
            "split events.dat --from 9.0 --to 8.0 --output x.dat",
            2,
            &[],
            &["--from is not before --to"],
        ),
        (
            "split events.dat --output events.dat",
            2,
            &[],
            &["events.dat exists already"],
        ),
        (
            "merge events.dat function.dat --output events.dat",
            2,
            &[],
            &["events.dat exists already"],
        ),
        (
            "merge events.dat --output x.dat",
            2,
            &[],
            &["2 values required"],
        ),
    ]);
}

#[test]
fn windows_take_records_by_time_and_cpu_only() {
    let files = Files::new();
    let all = files.json_lines("events events.dat --format json");
    let time = |record: &Value| record["timestamp_ns"].as_u64().expect("a time");
    let start = time(&all[0]);
    let (from, to) = (start + 30_000_000, start + 50_000_000);
    let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    for (window, is_in) in [
        (
            "--from +30ms --to +50ms".to_owned(),
            &(|record: &Value| (from..to).contains(&time(record))) as &dyn Fn(&Value) -> bool,
        ),
        (format!("--from {}", seconds(from)), &|record| {
            time(record) >= from
        }),
        (format!("--to {}", seconds(to)), &|record| time(record) < to),
        ("--cpu 1".to_owned(), &|record| record["cpu"] == 1),
        ("--cpu 0-3".to_owned(), &|_| true),
        (
            "--cpu 0 --from +30ms".to_owned(),
            // Since the first record of these CPUs.
            &|record| {
                let of_cpu = |record: &&Value| record["cpu"] == 0;
                let first = all.iter().find(of_cpu).map(time).expect("a record");
                record["cpu"] == 0 && time(record) >= first + 30_000_000
            },
        ),
    ] {
        let wanted: Vec<_> = all.iter().filter(|record| is_in(record)).cloned().collect();
        assert!(!wanted.is_empty(), "{window}");
        for command in ["events events.dat", "dump events.dat"] {
            let found = files.json_lines(&format!("{command} --format json {window}"));
            assert!(found == wanted, "{command} {window}");
        }
    }
    check(&[
        (
            "events events.dat --cpu 1-",
            2,
            &[],
            &["\"\" is no CPU: a number from 0 to 8191"],
        ),
        (
            "events events.dat --from 1x",
            2,
            &[],
            &["seconds, as 12.345678, or since the first record, as +50ms"],
        ),
    ]);
}

/// The formats of `dump`, and what a file of each begins with.
const FORMATS: [(&str, &[u8]); 8] = [
    ("trace.dat", b"\x17\x08Dtracing7\0"),
    ("chrome", b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"),
    ("perfetto", b"\x0a"),
    ("flamegraph", b"<?xml version=\"1.0\""),
    ("folded", b"filp_close 539120\n"),
    ("graphviz", b"digraph calls {\n"),
    ("csv", b"timestamp_ns,cpu,pid,task,"),
    ("json", b"{\"timestamp_ns\":41490860656,"),
];

#[test]
fn dump_writes_each_format_to_a_new_file_and_the_same_to_a_pipe() {
    let files = Files::new();
    let before = files.names();
    for (format, begins) in FORMATS {
        let output = files.run(&format!(
            "dump function_graph.dat --format {format} --output new.{format}"
        ));
        assert_eq!(code(&output), 0, "{format}: {}", text(&output));
        let written = files.read(&format!("new.{format}"));
        assert!(written.starts_with(begins), "{format}");
        let again = files.run(&format!(
            "dump events.dat --format {format} --output new.{format}"
        ));
        assert_eq!(code(&again), 2, "{format}: {}", text(&again));
        assert!(text(&again).contains("exists already"), "{}", text(&again));
        assert!(files.read(&format!("new.{format}")) == written, "{format}");
        let nowhere = files.run(&format!(
            "dump events.dat --format {format} --output nowhere/new.{format}"
        ));
        assert_eq!(code(&nowhere), 96, "{format}: {}", text(&nowhere));
        assert!(
            text(&nowhere).contains("cannot make nowhere/new."),
            "{}",
            text(&nowhere)
        );
        let piped = files.run(&format!("dump function_graph.dat --format {format}"));
        if format == "trace.dat" {
            assert_eq!(code(&piped), 2, "{}", text(&piped));
            assert!(text(&piped).contains("needs --output"), "{}", text(&piped));
        } else {
            assert_eq!(code(&piped), 0, "{format}: {}", text(&piped));
            assert!(piped.stdout == written, "{format}");
        }
    }
    // Nothing half-written is left.
    let made: BTreeSet<_> = FORMATS
        .iter()
        .map(|(format, _)| format!("new.{format}"))
        .collect();
    assert_eq!(files.names(), &before | &made);
}

#[test]
fn a_dump_of_calls_of_a_trace_without_calls_is_an_error_and_leaves_no_file() {
    let files = Files::new();
    let before = files.names();
    for format in ["folded", "flamegraph", "graphviz"] {
        let output = files.run(&format!("dump function.dat --format {format} --output new"));
        assert_eq!(code(&output), 2, "{format}: {}", text(&output));
        assert!(
            text(&output).contains("no records of function_graph"),
            "{}",
            text(&output)
        );
    }
    assert_eq!(files.names(), before);
}

#[test]
fn a_dumped_trace_dat_opens_in_trace_cmd_with_all_records() {
    for capture in CAPTURES {
        let files = Files::new();
        files.printed(&format!(
            "dump {capture}.dat --format trace.dat --output new.dat"
        ));
        let report = |file: &str| {
            let report = Command::new("trace-cmd")
                .args(["report", "-t", "-R", argument(&files.path(file))])
                .env("TMPDIR", files.path(""))
                .output()
                .expect("trace-cmd is installed");
            assert_eq!(String::from_utf8_lossy(&report.stderr), "", "{capture}");
            assert!(report.status.success(), "{capture}");
            report.stdout
        };
        let new = report("new.dat");
        assert!(new == report(&format!("{capture}.dat")), "{capture}");
        let lines = String::from_utf8_lossy(&new).lines().count();
        let records = files.json(&format!("info {capture}.dat --format json"));
        // Its first line says how many CPUs there are.
        assert_eq!(
            records["records"].as_u64(),
            lines.checked_sub(1).map(|all| all as u64)
        );
    }
}

#[test]
fn script_feeds_a_program_and_says_how_it_ended() {
    check(&[
        ("script function_graph.dat -- wc -l", 0, &["798\n"], &[]),
        // It has seen enough: no mistake, and no complaint of a broken pipe.
        (
            "script function_graph.dat -- head -n 1",
            0,
            &["{\"timestamp_ns\":41490860656,"],
            &[],
        ),
        ("script function_graph.dat -- true", 0, &[], &[]),
        (
            "script function_graph.dat -- false",
            1,
            &[],
            &["error: false ended with exit status: 1"],
        ),
        (
            "script function_graph.dat -- no-such-program",
            2,
            &[],
            &["cannot start no-such-program: No such file or directory"],
        ),
        ("script function_graph.dat", 2, &[], &["<COMMAND>..."]),
    ]);
    let files = Files::new();
    let dumped = files.printed("dump function_graph.dat --format json --cpu 1");
    assert!(files.printed("script function_graph.dat --cpu 1 -- cat") == dumped);
}

#[test]
fn a_reader_who_has_seen_enough_is_no_mistake() {
    let files = Files::new();
    // More than a pipe takes, so that the reader is gone before all is written.
    let many: Vec<String> = (0..40).map(|part| format!("part{part}.dat")).collect();
    for part in &many {
        files.write(part, &files.read("events.dat"));
    }
    files.printed(&format!("merge {} --output large.dat", many.join(" ")));
    let mut cut_short = 0;
    for line in [
        "info large.dat",
        "events large.dat",
        "events large.dat --format json",
        "events large.dat --count",
        "report function_graph.dat",
        "report function_graph.dat --format json",
        "replay large.dat",
        "replay function_graph.dat --style local",
        "graph function_graph.dat",
        "latency large.dat --of wakeup",
        "diff function_graph.dat function_graph.dat",
        "dump large.dat --format json",
        "dump large.dat --format csv",
        "dump large.dat --format chrome",
        "dump large.dat --format perfetto",
    ] {
        let whole = files.run(line).stdout.len();
        let mut child = files
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut first = [0; 1];
        let mut reader = child.stdout.take().expect("a pipe");
        reader.read_exact(&mut first).expect("something is printed");
        drop(reader);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(code(&output), 0, "{line}: {}", text(&output));
        assert_eq!(text(&output), "", "{line}");
        cut_short += u32::from(whole > 200_000);
    }
    assert!(
        cut_short >= 5,
        "{cut_short} commands print more than a pipe takes"
    );
}

/// Runs a command on a terminal, and gives what it prints there.
fn on_a_terminal(files: &Files, line: &str, no_color: Option<&str>) -> String {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = files.command(line);
    command.stdout(terminal.slave).stderr(Stdio::null());
    match no_color {
        Some(value) => command.env("NO_COLOR", value),
        None => command.env_remove("NO_COLOR"),
    };
    let mut child = command.spawn().expect("the program starts");
    // It holds the terminal's other end.
    drop(command);
    let mut screen = std::fs::File::from(terminal.master);
    let mut text = Vec::new();
    let mut part = [0; 4096];
    // Linux ends it with an error (EIO) when the last one who writes is gone.
    while let Ok(length) = screen.read(&mut part)
        && length > 0
    {
        text.extend_from_slice(&part[..length]);
    }
    assert!(child.wait().expect("it ends").success(), "{line}");
    String::from_utf8(text).expect("names are ASCII")
}

#[test]
fn there_is_colour_on_a_terminal_only_and_not_where_it_is_not_wanted() {
    let files = Files::new();
    let line = "replay function_graph.dat --to +1ms";
    let coloured = on_a_terminal(&files, line, None);
    assert!(coloured.contains("\x1b["), "{coloured}");
    assert!(on_a_terminal(&files, line, Some("")).contains("\x1b["));
    let plain = on_a_terminal(&files, line, Some("1"));
    assert!(
        plain.contains("filp_close") && !plain.contains('\x1b'),
        "{plain}"
    );
    // A terminal ends its lines with carriage returns.
    assert_eq!(plain.replace('\r', "").as_bytes(), files.printed(line));
}
