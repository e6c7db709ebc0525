// SPDX-License-Identifier: GPL-2.0-only

//! Writes ring buffers from a script, one sub-buffer for each record, in the layouts of Linux 7.3.
//!
//! A script has a record on each line, `TIME CPU PID KIND ARGUMENT...`; times are in nanoseconds. Kinds:
//! `mark TEXT`, `print TEXT`, `armed ID TIME_NS DELAY_NS`, `queued ID TIME_NS EXPIRES`, `started|cancelled ID TIME_NS`,
//! `retried ID TIME_NS ATTEMPT ERROR`, `ended ID TIME_NS ERROR`, `initcall_start`, `initcall_finish RET`,
//! `initcall_level LEVEL`, `in FUNCTION DEPTH`, `out FUNCTION DEPTH CALLTIME RETTIME [OVERRUN]`, `function FUNCTION`,
//! `raise|softirq VEC`, `stack FUNCTION...`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use deferinit_ftrace::capture::Capture;
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{CpuSubBuffers, PageLayout};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use deferinit_timeline::{CommandHow, Ending, Query, Reading, Run, Timeline, build};

/// `events/header_page` and `events/header_event` of a 64-bit kernel.
const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";
const HEADER_EVENT: &str = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\
    \tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n\ttime_stamp : type == 31\n\
    \tdata max type_len  == 28\n";

/// The traced functions: name as in kallsyms, and address.
const FUNCTIONS: [(&str, u64); 4] = [
    ("deferred_init", 0xffff_ffff_a000_1000),
    ("deferred_item_body", 0xffff_ffff_a000_1100),
    (
        "_RNvCs2kMns6DTmS1_18test_deferred_main4body",
        0xffff_ffff_a000_1200,
    ),
    ("missing", 0xffff_ffff_b000_0000),
];

/// A field: type, name, offset, size, signed.
type Field = (&'static str, &'static str, usize, usize, u8);

const COMMON: [Field; 4] = [
    ("unsigned short", "common_type", 0, 2, 0),
    ("unsigned char", "common_flags", 2, 1, 0),
    ("unsigned char", "common_preempt_count", 3, 1, 0),
    ("int", "common_pid", 4, 4, 1),
];

const ITEM: [Field; 2] = [("u64", "time_ns", 8, 8, 0), ("u32", "id", 16, 4, 0)];

/// Every event: system, name, id, fields behind the common ones.
const EVENTS: [(&str, &str, u16, &[Field]); 18] = [
    (
        "ftrace",
        "print",
        5,
        &[
            ("unsigned long", "ip", 8, 8, 0),
            ("char", "buf[]", 16, 0, 0),
        ],
    ),
    (
        "ftrace",
        "funcgraph_entry",
        11,
        &[
            ("unsigned long", "func", 8, 8, 0),
            ("unsigned long", "depth", 16, 8, 0),
        ],
    ),
    (
        "ftrace",
        "funcgraph_exit",
        10,
        &[
            ("unsigned long", "func", 8, 8, 0),
            ("unsigned long", "retval", 16, 8, 0),
            ("unsigned int", "depth", 24, 4, 0),
            ("unsigned int", "overrun", 28, 4, 0),
            ("unsigned long long", "calltime", 32, 8, 0),
            ("unsigned long long", "rettime", 40, 8, 0),
        ],
    ),
    (
        "initcall",
        "initcall_start",
        22,
        &[("initcall_t", "func", 8, 8, 0)],
    ),
    (
        "initcall",
        "initcall_level",
        24,
        &[("__data_loc char[]", "level", 8, 4, 0)],
    ),
    (
        "initcall",
        "initcall_finish",
        23,
        &[("initcall_t", "func", 8, 8, 0), ("int", "ret", 16, 4, 1)],
    ),
    (
        "test_deferred",
        "deferred_item_armed",
        344,
        &[
            ("u64", "time_ns", 8, 8, 0),
            ("u64", "delay_ns", 16, 8, 0),
            ("u64", "delay_jiffies", 24, 8, 0),
            ("u32", "id", 32, 4, 0),
        ],
    ),
    (
        "test_deferred",
        "deferred_item_queued",
        345,
        &[
            ("u64", "time_ns", 8, 8, 0),
            ("u64", "expires", 16, 8, 0),
            ("u32", "id", 24, 4, 0),
        ],
    ),
    ("test_deferred", "deferred_item_started", 346, &ITEM),
    ("test_deferred", "deferred_item_cancelled", 347, &ITEM),
    (
        "test_deferred",
        "deferred_item_ended",
        348,
        &[
            ("u64", "time_ns", 8, 8, 0),
            ("u32", "id", 16, 4, 0),
            ("int", "error", 20, 4, 1),
        ],
    ),
    (
        "test_deferred",
        "deferred_item_retried",
        350,
        &[
            ("u64", "time_ns", 8, 8, 0),
            ("u32", "id", 16, 4, 0),
            ("u32", "attempt", 20, 4, 0),
            ("int", "error", 24, 4, 1),
        ],
    ),
    ("test_deferred", "deferred_item_lost", 349, &ITEM),
    (
        "workqueue",
        "workqueue_queue_work",
        60,
        &[("void *", "work", 8, 8, 0)],
    ),
    (
        "irq",
        "softirq_raise",
        70,
        &[("unsigned int", "vec", 8, 4, 0)],
    ),
    (
        "irq",
        "softirq_entry",
        71,
        &[("unsigned int", "vec", 8, 4, 0)],
    ),
    (
        "ftrace",
        "function",
        1,
        &[
            ("unsigned long", "ip", 8, 8, 0),
            ("unsigned long", "parent_ip", 16, 8, 0),
        ],
    ),
    (
        "ftrace",
        "kernel_stack",
        4,
        &[
            ("int", "size", 8, 4, 1),
            ("unsigned long", "caller[]", 16, 0, 0),
        ],
    ),
];

/// What a test changes about a run that is whole and complete.
pub(crate) struct Setting<'a> {
    pub(crate) ending: Ending,
    pub(crate) trace_clock: &'a str,
    pub(crate) dmesg: &'a str,
    pub(crate) kmemleak: Option<&'a str>,
    /// The module's own record of a phase: the phase and the text.
    pub(crate) results: Option<(&'a str, &'a str)>,
    /// The agent's record of a phase's rounds: the phase and the text.
    pub(crate) rounds: Option<(&'a str, &'a str)>,
    /// The phase that the boot itself is.
    pub(crate) boot: Option<&'a str>,
    /// What is asked of the records.
    pub(crate) queries: &'a [Query],
    /// Whether entries of functions are not recorded.
    pub(crate) has_exits_only: bool,
    /// For how long the host may stop the guest.
    pub(crate) longest_stall_ns: u64,
    /// The agent's word on the command of a phase.
    pub(crate) command: Option<(&'a str, CommandHow)>,
    /// What a command wrote: the phase and the text.
    pub(crate) output: Option<(&'a str, &'a str)>,
    /// The files that are not whole.
    pub(crate) cut: &'a [String],
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            ending: Ending::Complete,
            trace_clock: "[local] global counter\n",
            dmesg: "",
            kmemleak: None,
            results: None,
            rounds: None,
            boot: None,
            queries: &[],
            has_exits_only: false,
            longest_stall_ns: 0,
            command: None,
            output: None,
            cut: &[],
        }
    }
}

/// The timeline of a script's records in an ordinary run.
#[track_caller]
pub(crate) fn timeline(script: &str) -> Timeline {
    timeline_of(script, Setting::default())
}

/// The timeline of a script's records, with statistics that agree with them.
#[track_caller]
pub(crate) fn timeline_of(script: &str, setting: Setting<'_>) -> Timeline {
    let formats = formats();
    let layout = PageLayout::parse(HEADER_PAGE, HEADER_EVENT).expect("headers of 7.3's shape");
    let streams = streams(script);
    let statistics = streams
        .iter()
        .map(|(cpu, stream)| (*cpu, stats(stream.len() / 4096)))
        .collect();
    let cpus = streams
        .iter()
        .map(|(cpu, stream)| CpuSubBuffers::from_stream(*cpu, stream, &layout))
        .collect();
    let capture = Capture::new(&formats, layout, cpus);
    let symbols = Symbols::parse(&kallsyms()).expect("symbols of kallsyms' shape");
    let Setting {
        ending,
        trace_clock,
        dmesg,
        kmemleak,
        results,
        rounds,
        boot,
        queries,
        has_exits_only,
        longest_stall_ns,
        command,
        output,
        cut,
    } = setting;
    let of_phase = |(phase, text): (&str, &str)| (phase.to_owned(), text.to_owned());
    let (results, rounds) = (results.map(of_phase), rounds.map(of_phase));
    let outputs = output.map(of_phase);
    let commands: Vec<_> = command
        .into_iter()
        .map(|(phase, how)| (phase.to_owned(), how))
        .collect();
    build(
        &capture,
        &Reading {
            symbols: &symbols,
            tasks: &SavedCmdlines::default(),
            boot,
            queries,
            has_exits_only,
            longest_stall_ns,
        },
        Run {
            ending,
            trace_clock,
            statistics: &statistics,
            dmesg,
            kmemleak,
            results: &results.into_iter().collect(),
            rounds: &rounds.into_iter().collect(),
            commands: &commands,
            outputs: &outputs.into_iter().collect(),
            reports: &BTreeMap::new(),
            cut,
        },
    )
}

fn stats(entries: usize) -> Stats {
    let text = format!(
        "entries: {entries}\noverrun: 0\ncommit overrun: 0\nbytes: 0\noldest event ts:     1.000000\n\
         now ts:     2.000000\ndropped events: 0\nread events: 0\n"
    );
    Stats::parse(&text).expect("statistics of 7.3's shape")
}

fn kallsyms() -> String {
    let mut text = "ffffffff81000000 T _text\n".to_owned();
    for (name, address) in FUNCTIONS.into_iter().filter(|(name, _)| *name != "missing") {
        writeln!(text, "{address:x} t {name}\t[test_deferred]").expect("a String takes all");
    }
    text
}

fn formats() -> Formats {
    let mut formats = Formats::new();
    for (system, name, id, fields) in EVENTS {
        let mut text = format!("name: {name}\nID: {id}\nformat:\n");
        for (kind, field, offset, size, signed) in COMMON.iter().chain(fields) {
            writeln!(
                text,
                "\tfield:{kind} {field};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
            )
            .expect("a String takes all");
        }
        text += "\nprint fmt: \"\"\n";
        formats.add(system, &text).expect("a format of 7.3's shape");
    }
    formats
}

/// Each CPU's sub-buffers.
fn streams(script: &str) -> BTreeMap<u32, Vec<u8>> {
    let mut streams: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split(' ').collect();
        let (time, cpu) = (number(words[0]), number(words[1]));
        let payload = payload(words[2], words[3], &words[4..]);
        let stream = streams
            .entry(u32::try_from(cpu).expect("a CPU's number"))
            .or_default();
        stream.extend(sub_buffer(time, &payload));
    }
    streams
}

fn sub_buffer(time: u64, payload: &[u8]) -> Vec<u8> {
    let words = payload.len().div_ceil(4);
    assert!(
        (1..=28).contains(&words),
        "a record of the short form has up to 112 bytes"
    );
    let mut page = time.to_le_bytes().to_vec();
    page.extend(u64::try_from(4 + 4 * words).expect("small").to_le_bytes());
    page.extend(u32::try_from(words).expect("small").to_le_bytes());
    page.extend(payload);
    page.resize(4096, 0);
    page
}

fn payload(pid: &str, kind: &str, arguments: &[&str]) -> Vec<u8> {
    let argument = |index: usize| arguments.get(index).map_or(0, |word| number(word));
    let function = |name: &str| {
        let (_, address) = FUNCTIONS
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a function of FUNCTIONS");
        // Behind `endbr64`.
        address + 4
    };
    let (name, values): (&str, Vec<u64>) = match kind {
        "mark" | "print" => ("print", vec![0]),
        "in" => ("funcgraph_entry", vec![function(arguments[0]), argument(1)]),
        "out" => (
            "funcgraph_exit",
            vec![
                function(arguments[0]),
                0,
                argument(1),
                argument(4),
                argument(2),
                argument(3),
            ],
        ),
        "initcall_start" => (kind, vec![0]),
        // Where the text is: its length, and its offset behind the record's fields.
        "initcall_level" => {
            let length = u64::try_from(arguments[0].len() + 1).expect("small");
            (kind, vec![length << 16 | 12])
        }
        "initcall_finish" => (kind, vec![0, argument(0)]),
        "armed" => (
            "deferred_item_armed",
            vec![
                argument(1),
                argument(2),
                argument(2) / 4_000_000 + 1,
                argument(0),
            ],
        ),
        "queued" => (
            "deferred_item_queued",
            vec![argument(1), argument(2), argument(0)],
        ),
        "started" => ("deferred_item_started", vec![argument(1), argument(0)]),
        "cancelled" => ("deferred_item_cancelled", vec![argument(1), argument(0)]),
        "ended" => (
            "deferred_item_ended",
            vec![argument(1), argument(0), argument(2)],
        ),
        "retried" => (
            "deferred_item_retried",
            vec![argument(1), argument(0), argument(2), argument(3)],
        ),
        "lost" => ("deferred_item_lost", vec![argument(1), argument(0)]),
        "work" => ("workqueue_queue_work", vec![0]),
        "raise" => ("softirq_raise", vec![argument(0)]),
        "softirq" => ("softirq_entry", vec![argument(0)]),
        "function" => ("function", vec![function(arguments[0]), 0]),
        "stack" => (
            "kernel_stack",
            vec![u64::try_from(arguments.len()).expect("small")],
        ),
        _ => panic!("a script has no {kind}"),
    };
    let (_, _, id, fields) = EVENTS
        .iter()
        .find(|(_, known, ..)| *known == name)
        .expect("an event of EVENTS");
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(pid.parse::<i32>().expect("a pid").to_le_bytes());
    for ((_, _, _, size, _), value) in fields.iter().zip(values) {
        bytes.extend(&value.to_le_bytes()[..*size]);
    }
    match kind {
        "mark" => bytes.extend(format!("deferinit: {}\n\0", arguments.join(" ")).bytes()),
        // A text that is no UTF-8 stands for itself.
        "print" if arguments == ["\\xff"] => bytes.extend([0xff, 0]),
        "print" => bytes.extend(format!("{}\n\0", arguments.join(" ")).bytes()),
        "initcall_level" => bytes.extend(format!("{}\0", arguments[0]).bytes()),
        "stack" => {
            bytes.extend([0; 4]);
            for name in arguments {
                bytes.extend(function(name).to_le_bytes());
            }
        }
        _ => {}
    }
    bytes
}

/// A number, wrapped into 64 bits if it is negative.
fn number(word: &str) -> u64 {
    word.parse()
        .unwrap_or_else(|_| word.parse::<i64>().expect("a number").cast_unsigned())
}
