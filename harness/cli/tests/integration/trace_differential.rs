// SPDX-License-Identifier: GPL-2.0-only

//! What `deferinit trace` reads of a trace.dat, held against what `trace-cmd report` reads of the same file: record by
//! record, field by field.
//!
//! trace-cmd's raw listing (`-R -t`) has each record's task, CPU, time in nanoseconds, event and fields. It writes numbers
//! in the base that the event's print format happens to have, and addresses as numbers or as symbols; so a value agrees
//! if it is the same in one of these readings. What trace-cmd 3.1 gets wrong or leaves out is named in [`Field::agrees`]
//! and [`Line::fields`], each with its reason; nothing else is let pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::thread;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::harness::{argument, code, output, text};
use crate::trace_files::{CAPTURES, Files};

/// A record as deferinit dumps it.
#[derive(Deserialize)]
struct Record {
    timestamp_ns: u64,
    cpu: u32,
    pid: i64,
    task: String,
    event: String,
    duration_ns: Option<u64>,
    fields: Fields,
}

/// Its fields, in the order of the format file, but for the end of a call.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The fields of `funcgraph_exit` in the order of its format file, Linux 7.3; deferinit writes the depth before the rest.
const EXIT: [&str; 6] = ["func", "retval", "depth", "overrun", "calltime", "rettime"];

/// A record as trace-cmd lists it.
#[derive(Debug)]
struct Line {
    task: String,
    pid: i64,
    cpu: u32,
    timestamp_ns: u64,
    event: String,
    fields: String,
}

impl Line {
    /// `TASK-PID [CPU] SECONDS.NANOSECONDS: EVENT: FIELDS`; `None` if it is none, but goes on with a text of the one before.
    fn parse(line: &str) -> Option<Self> {
        let (task, rest) = line.split_once(" [")?;
        let (task, pid) = task.trim().rsplit_once('-')?;
        let (cpu, rest) = rest.split_once(']')?;
        let (time, rest) = rest.split_once(':')?;
        let (seconds, nanoseconds) = time.trim().split_once('.')?;
        let (event, fields) = rest.trim_start().split_once(':')?;
        let seconds: u64 = seconds.parse().ok()?;
        let nanoseconds: u64 = (nanoseconds.len() == 9).then(|| nanoseconds.parse().ok())??;
        Some(Self {
            task: task.to_owned(),
            pid: pid.parse().ok()?,
            cpu: cpu.parse().ok()?,
            timestamp_ns: seconds * 1_000_000_000 + nanoseconds,
            event: event.to_owned(),
            fields: fields.trim_start().to_owned(),
        })
    }

    /// The values of these fields, which must be all there are.
    fn fields<'a>(&'a self, names: &[&(String, Value)]) -> Result<Vec<&'a str>, String> {
        let mut rest = self.fields.as_str();
        // Arguments of functions, which no record has unless `func-args` is set.
        if ["funcgraph_entry", "function"].contains(&self.event.as_str()) {
            rest = rest.strip_suffix(" args=ARRAY[]").unwrap_or(rest);
        }
        let mut values = Vec::new();
        for (place, (name, _)) in names.iter().enumerate() {
            rest = rest
                .strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix('='))
                .ok_or_else(|| format!("{rest:?} is not {name}="))?;
            let end = match names.get(place + 1) {
                Some((next, _)) => rest
                    .find(&format!(" {next}="))
                    .ok_or_else(|| format!("no {next}= in {rest:?}"))?,
                None => rest.len(),
            };
            let (value, after) = rest.split_at(end);
            values.push(value);
            rest = after.trim_start();
        }
        if rest.is_empty() {
            Ok(values)
        } else {
            Err(format!("{rest:?} is in no field"))
        }
    }
}

/// The kernel's functions and constant texts, as trace-cmd finds them in the file.
#[derive(Default)]
struct Symbols {
    /// By the names that deferinit shows.
    functions: BTreeMap<String, BTreeSet<u64>>,
    texts: BTreeMap<u64, String>,
}

impl Symbols {
    /// Addresses that `name+0xOFFSET` may mean.
    fn addresses(&self, text: &str) -> Vec<u64> {
        let symbol = Symbol::parse(text);
        let of_name = self.functions.get(&symbol.name).into_iter().flatten();
        let offset = symbol.offset.unwrap_or(0);
        of_name
            .map(|address| address.wrapping_add(offset))
            .collect()
    }

    /// Whether trace-cmd shows the address of a constant text (`printk_formats`), which deferinit shows instead.
    fn is_text(&self, ours: &str, theirs: &str) -> bool {
        let digits = theirs.strip_prefix("0x").unwrap_or(theirs);
        u64::from_str_radix(digits, 16)
            .ok()
            .and_then(|address| self.texts.get(&address))
            .is_some_and(|text| text == ours)
    }
}

/// `name+0x12 [module]`.
#[derive(PartialEq, Eq)]
struct Symbol {
    /// As deferinit shows it: of a Rust function its path, without the compiler's hash.
    name: String,
    offset: Option<u64>,
}

impl Symbol {
    fn parse(text: &str) -> Self {
        let (name, _) = text
            .strip_suffix(']')
            .and_then(|text| text.rsplit_once(" ["))
            .unwrap_or((text, ""));
        let (name, offset) = match name.rsplit_once("+0x") {
            Some((name, offset)) => (name, u64::from_str_radix(offset, 16).ok()),
            None => (name, None),
        };
        let name = match rustc_demangle::try_demangle(name) {
            Ok(path) => format!("{path:#}"),
            Err(_) => name.to_owned(),
        };
        Self { name, offset }
    }
}

/// A text as a number, in each base that trace-cmd writes.
fn numbers(text: &str) -> Vec<i128> {
    // A pointer, as C's `%p` writes it.
    if text == "(nil)" {
        return vec![0];
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).into_iter().collect();
    }
    let hexadecimal = i128::from_str_radix(text, 16)
        .ok()
        .filter(|_| !text.starts_with('-'));
    text.parse().ok().into_iter().chain(hexadecimal).collect()
}

/// Whether a text is the number, or what it is in two's complement: an event may print an unsigned number with `%d`.
fn is_number(ours: i128, text: &str) -> bool {
    let is_complement = |one: i128, other: i128| {
        one < 0
            && [8, 16, 32, 64]
                .iter()
                .any(|bits| other == one + (1 << bits))
    };
    numbers(text)
        .into_iter()
        .any(|theirs| theirs == ours || is_complement(ours, theirs) || is_complement(theirs, ours))
}

/// The bytes of `ARRAY[0a, 1b]`.
fn array(text: &str) -> Option<Vec<u8>> {
    let bytes = text.strip_prefix("ARRAY[")?.strip_suffix(']')?;
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    bytes
        .split(", ")
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}

/// A little-endian number.
fn little_endian(bytes: &[u8]) -> i128 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | i128::from(*byte))
}

/// A field of a record.
struct Field<'a> {
    event: &'a str,
    name: &'a str,
    value: &'a Value,
}

impl Field<'_> {
    /// Whether trace-cmd's text says the same.
    fn agrees(&self, theirs: &str, symbols: &Symbols) -> bool {
        match self.value {
            Value::Number(number) => number
                .as_i64()
                .is_some_and(|ours| is_number(ours.into(), theirs)),
            Value::String(ours) => self.text_agrees(ours, theirs, symbols),
            Value::Array(ours) => {
                array(theirs).is_some_and(|bytes| self.array_agrees(ours, &bytes, symbols))
            }
            Value::Null | Value::Bool(_) | Value::Object(_) => false,
        }
    }

    fn text_agrees(&self, ours: &str, theirs: &str, symbols: &Symbols) -> bool {
        if ours == theirs {
            return true;
        }
        // Bytes that trace-cmd takes for no text, since they hold what cannot be printed.
        if let Some(bytes) = array(theirs) {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return ours.as_bytes() == text || ours == hex;
        }
        // What a system call was given, as long as the array is: trace-cmd goes on to the next NUL behind its end.
        let is_given = self.event.starts_with("sys_enter_") && self.name.ends_with("_val");
        if symbols.is_text(ours, theirs) || (is_given && theirs.starts_with(ours)) {
            return true;
        }
        if let Some(digits) = ours.strip_prefix("0x") {
            return i128::from_str_radix(digits, 16).is_ok_and(|ours| is_number(ours, theirs));
        }
        if let Ok(ours) = ours.parse::<i128>() {
            return is_number(ours, theirs);
        }
        let is_address = symbols
            .addresses(ours)
            .into_iter()
            .any(|address| is_number(address.into(), theirs));
        // A text that ends with a newline ends the line with it.
        let is_line = ours.strip_suffix('\n') == Some(theirs);
        is_address || is_line || self.is_same_symbol(ours, theirs)
    }

    /// trace-cmd leaves the module out, and the offset where the event's print format has `%ps`.
    fn is_same_symbol(&self, ours: &str, theirs: &str) -> bool {
        let (ours, theirs) = (Symbol::parse(ours), Symbol::parse(theirs));
        let is_there = theirs.offset.is_none() || theirs.offset == ours.offset.or(Some(0));
        ours.name == theirs.name && is_there
    }

    fn array_agrees(&self, ours: &[Value], bytes: &[u8], symbols: &Symbols) -> bool {
        // trace-cmd shows the eight frames that the format file declares: of a longer stack the first ones, and behind a
        // shorter one what the next record has there.
        let is_stack =
            self.name == "caller" && ["kernel_stack", "user_stack"].contains(&self.event);
        if is_stack {
            let frames: Vec<_> = bytes.chunks_exact(8).map(little_endian).collect();
            let shown = ours.iter().zip(&frames).all(|(ours, theirs)| {
                let ours = ours.as_str().unwrap_or_default();
                self.text_agrees(ours, &format!("{theirs:#x}"), symbols)
            });
            // A user's stack has room for eight, and zeros behind its last frame.
            let behind = frames.iter().skip(ours.len());
            let is_over = self.event == "kernel_stack" || behind.copied().all(|frame| frame == 0);
            return frames.len() == 8 && shown && is_over;
        }
        if ours.is_empty() {
            return bytes.iter().all(|byte| *byte == 0);
        }
        let as_number = |value: &Value| match value {
            Value::Number(number) => number.as_i64().map(i128::from),
            Value::String(digits) => digits.parse().ok(),
            _ => None,
        };
        let width = bytes.len() / ours.len();
        let is_numbers = width > 0
            && bytes.len() == width * ours.len()
            && ours
                .iter()
                .zip(bytes.chunks_exact(width))
                .all(|(ours, bytes)| {
                    let theirs = little_endian(bytes);
                    as_number(ours)
                        .is_some_and(|ours| ours == theirs || ours + (1 << (8 * width)) == theirs)
                });
        let set: Vec<i128> = (0..)
            .zip(
                bytes
                    .iter()
                    .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)),
            )
            .filter_map(|(place, is_set)| is_set.then_some(place))
            .collect();
        is_numbers || ours.iter().map(as_number).eq(set.into_iter().map(Some))
    }
}

/// What trace-cmd prints; it must complain of nothing.
fn trace_cmd(arguments: &[&str], trace_dat: &Path) -> Result<String, String> {
    // It puts decompressed data there.
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("trace-cmd")
        .arg("report")
        .args(arguments)
        .arg(trace_dat)
        .env("TMPDIR", folder.path())
        .output()
        .expect("trace-cmd is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !complaint.is_empty() {
        return Err(format!(
            "trace-cmd complains: {} {complaint}",
            output.status
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// trace-cmd's records of each CPU, in their order.
fn their_records(trace_dat: &Path) -> Result<BTreeMap<u32, Vec<Line>>, String> {
    let mut all: Vec<Line> = Vec::new();
    for line in trace_cmd(&["-R", "-t"], trace_dat)?.lines() {
        if let Some(line) = Line::parse(line) {
            all.push(line);
        } else if let Some(last) = all.last_mut() {
            last.fields.push('\n');
            last.fields.push_str(line);
        } else if !line.starts_with("cpus=") {
            return Err(format!("trace-cmd: {line:?} is no record"));
        }
    }
    let mut by_cpu: BTreeMap<u32, Vec<Line>> = BTreeMap::new();
    for line in all {
        by_cpu.entry(line.cpu).or_default().push(line);
    }
    Ok(by_cpu)
}

fn our_records(trace_dat: &Path) -> Result<BTreeMap<u32, Vec<Record>>, String> {
    let dump = output(&["trace", "dump", "--format", "json", argument(trace_dat)]);
    if code(&dump) != 0 || !dump.stderr.is_empty() {
        return Err(format!(
            "deferinit complains: {}",
            String::from_utf8_lossy(&dump.stderr)
        ));
    }
    let mut by_cpu: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&dump.stdout).lines() {
        let record: Record =
            serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        by_cpu.entry(record.cpu).or_default().push(record);
    }
    Ok(by_cpu)
}

/// Symbols of files, by the texts that trace-cmd lists them with: those of a kernel are the same in many files.
type KnownSymbols = HashMap<[String; 2], Rc<Symbols>>;

fn symbols(trace_dat: &Path, known: &mut KnownSymbols) -> Result<Rc<Symbols>, String> {
    let lists = [
        trace_cmd(&["-f"], trace_dat)?,
        trace_cmd(&["-P"], trace_dat)?,
    ];
    if let Some(symbols) = known.get(&lists) {
        return Ok(Rc::clone(symbols));
    }
    let mut symbols = Symbols::default();
    let [functions, texts] = &lists;
    let entries = |list: &str| {
        let of_line = |line: &str| {
            let (address, text) = line.split_once(' ')?;
            Some((u64::from_str_radix(address, 16).ok()?, text.to_owned()))
        };
        list.lines().filter_map(of_line).collect::<Vec<_>>()
    };
    for (address, name) in entries(functions) {
        let name = Symbol::parse(name.trim()).name;
        symbols.functions.entry(name).or_default().insert(address);
    }
    symbols.texts.extend(entries(texts));
    let symbols = Rc::new(symbols);
    known.insert(lists, Rc::clone(&symbols));
    Ok(symbols)
}

/// Holds a record against its line.
fn same(record: &Record, line: &Line, symbols: &Symbols) -> Result<(), String> {
    let ours = (&record.event, record.timestamp_ns, record.pid, &record.task);
    let theirs = (&line.event, line.timestamp_ns, line.pid, &line.task);
    if ours != theirs {
        return Err(format!("{ours:?} is {theirs:?} for trace-cmd"));
    }
    if record.event == "blktrace"
        && line.fields.contains("sector=")
        && !line.fields.contains("time=")
    {
        // trace-cmd has taken its own description, of an older structure, which has these two at the same places.
        return same_block(record, line);
    }
    let mut fields: Vec<&(String, Value)> = record.fields.0.iter().collect();
    if record.event == "funcgraph_exit" {
        fields.sort_by_key(|(name, _)| EXIT.iter().position(|known| known == name));
    }
    let values = line.fields(&fields)?;
    for ((name, value), theirs) in fields.into_iter().zip(values) {
        let field = Field {
            event: &record.event,
            name,
            value,
        };
        if !field.agrees(theirs, symbols) {
            return Err(format!("{name} is {value}, and {theirs:?} for trace-cmd"));
        }
    }
    // The number of frames was compared; how many of them trace-cmd shows says nothing.
    let of = |wanted: &str| {
        let field = record.fields.0.iter().find(|(name, _)| name == wanted);
        field.map(|(_, value)| value)
    };
    if record.event == "kernel_stack" {
        let frames = of("caller").and_then(Value::as_array).map(Vec::len);
        let size = of("size").and_then(Value::as_u64);
        if frames.map(|frames| frames as u64) != size {
            return Err(format!("{size:?} frames are said, {frames:?} are there"));
        }
    }
    // The duration is the difference of two fields, which were just compared.
    if let Some(duration) = record.duration_ns {
        let time = |name: &str| of(name).and_then(Value::as_u64);
        let (Some(called), Some(returned)) = (time("calltime"), time("rettime")) else {
            return Err("a duration without its times".to_owned());
        };
        if called.checked_add(duration) != Some(returned) {
            return Err(format!("{duration} ns are not from {called} to {returned}"));
        }
    }
    Ok(())
}

fn same_block(record: &Record, line: &Line) -> Result<(), String> {
    for name in ["sector", "bytes"] {
        let ours = record.fields.0.iter().find(|(field, _)| field == name);
        let ours = ours.map(|(_, value)| format!("{name}={value}"));
        let mut theirs = line.fields.split_whitespace();
        if ours.is_none() || !theirs.any(|word| Some(word) == ours.as_deref()) {
            return Err(format!("{ours:?} is not in {:?}", line.fields));
        }
    }
    Ok(())
}

/// Holds all records of a file against what trace-cmd reads of another, which is mostly the same one.
///
/// Gives how many there are of each event, and of how many functions the calls and their sum were compared.
fn compare(
    ours: &Path,
    theirs: &Path,
    known: &mut KnownSymbols,
) -> Result<(BTreeMap<String, u64>, usize), String> {
    let symbols = symbols(theirs, known)?;
    let (of_theirs, of_ours) = (their_records(theirs)?, our_records(ours)?);
    let cpus: BTreeSet<_> = of_theirs.keys().chain(of_ours.keys()).collect();
    let mut seen = BTreeMap::new();
    for cpu in cpus {
        let lines = of_theirs.get(cpu).map_or(&[][..], Vec::as_slice);
        let records = of_ours.get(cpu).map_or(&[][..], Vec::as_slice);
        for (place, (record, line)) in records.iter().zip(lines).enumerate() {
            same(record, line, &symbols)
                .map_err(|what| format!("cpu {cpu}, record {place}: {}: {what}", record.event))?;
            *seen.entry(record.event.clone()).or_default() += 1;
        }
        if records.len() != lines.len() {
            return Err(format!(
                "cpu {cpu}: {} records, and {} for trace-cmd",
                records.len(),
                lines.len()
            ));
        }
    }
    let functions = compare_functions(ours, &of_theirs)?;
    Ok((seen, functions))
}

/// Calls and their sum of a function, as trace-cmd's listing says.
fn their_functions(
    lines: &BTreeMap<u32, Vec<Line>>,
) -> Result<BTreeMap<String, (u64, u64)>, String> {
    let mut functions: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in lines
        .values()
        .flatten()
        .filter(|line| line.event == "funcgraph_exit")
    {
        let value = |name: &str| {
            let mut words = line.fields.split(' ');
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let time = |name: &str| {
            let digits = value(name)?.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        };
        let (Some(function), Some(called), Some(returned)) =
            (value("func"), time("calltime"), time("rettime"))
        else {
            return Err(format!("{line:?} is no end of a call"));
        };
        let (calls, total) = functions.entry(Symbol::parse(function).name).or_default();
        *calls += 1;
        *total += returned - called;
    }
    Ok(functions)
}

/// Holds the report of each function against the sums of trace-cmd's listing. Gives how many functions there are.
fn compare_functions(trace_dat: &Path, lines: &BTreeMap<u32, Vec<Line>>) -> Result<usize, String> {
    let theirs = their_functions(lines)?;
    if theirs.is_empty() {
        return Ok(0);
    }
    let report = output(&["trace", "report", "--format", "json", argument(trace_dat)]);
    let report: Value = serde_json::from_slice(&report.stdout)
        .map_err(|error| format!("{error}: {}", text(&report)))?;
    let mut ours: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in report["functions"].as_array().into_iter().flatten() {
        let number = |name: &str| row[name].as_u64().unwrap_or(0);
        // A function of a module has the module's name in a place of its own; trace-cmd has it nowhere.
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        let (calls, total) = ours.entry(name).or_default();
        *calls += number("calls");
        *total += number("total_ns");
    }
    ours.retain(|_, (calls, _)| *calls > 0);
    if ours == theirs {
        return Ok(ours.len());
    }
    Err(format!("the report has {ours:?}, trace-cmd {theirs:?}"))
}

/// The entry or the exit of a call in a replay: blanks before the text, duration in microseconds, text.
type Call = (usize, Option<String>, String);

/// What is on both sides of a call's bar. A leaf is an entry and an exit on one line: trace-cmd takes a call for a leaf only
/// if no record of another CPU is between its entry and its exit, so that both are taken apart.
fn calls_of(line: &str, into: &mut Vec<Call>) -> Result<(), String> {
    let Some((duration, call)) = line.split_once('|') else {
        return Err(format!("{line:?} has no bar"));
    };
    let is_number = |word: &&str| word.contains(|digit: char| digit.is_ascii_digit());
    let duration = duration
        .split_whitespace()
        .find(is_number)
        .map(str::to_owned);
    let indent = call.len() - call.trim_start().len();
    let call = call.trim();
    let name = |text: &str| Symbol::parse(text).name;
    let end = call
        .strip_prefix("} /* ")
        .and_then(|text| text.strip_suffix(" */"));
    if let Some(function) = end {
        into.push((indent, duration, format!("end of {}", name(function))));
    } else if let Some(function) = call.strip_suffix("() {") {
        into.push((indent, None, name(function)));
    } else if let Some(function) = call.strip_suffix("();") {
        into.push((indent, None, name(function)));
        into.push((indent, duration, format!("end of {}", name(function))));
    } else {
        return Err(format!("{call:?} is no call"));
    }
    Ok(())
}

/// Holds the replay in the kernel's style of a file against trace-cmd's of another, by CPU. Gives how many entries and exits there are.
fn compare_replays(ours: &Path, theirs: &Path) -> Result<usize, String> {
    let mut of_theirs: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for line in trace_cmd(&["-O", "fgraph:tailprint"], theirs)?.lines() {
        let call = line
            .split_once(" funcgraph_entry: ")
            .or_else(|| line.split_once(" funcgraph_exit: "));
        if let Some((place, call)) = call {
            let cpu = place
                .rsplit_once('[')
                .and_then(|(_, cpu)| cpu.split(']').next()?.parse().ok())
                .ok_or_else(|| format!("{line:?} has no CPU"))?;
            calls_of(call, of_theirs.entry(cpu).or_default())?;
        }
    }
    if of_theirs.is_empty() {
        return Ok(0);
    }
    let replay = output(&["trace", "replay", "--show", "tail", argument(ours)]);
    if code(&replay) != 0 {
        return Err(text(&replay));
    }
    let mut of_ours: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&replay.stdout).lines() {
        let Some((cpu, call)) = line.split_once(") ") else {
            continue;
        };
        // Other events, and arrows where an interrupt begins and ends, which trace-cmd has not.
        let is_call = call.split_once('|').is_some_and(|(before, text)| {
            !text.trim_start().starts_with("/*") && !before.contains("==")
        });
        if let Ok(cpu) = cpu.trim().parse()
            && is_call
        {
            calls_of(call, of_ours.entry(cpu).or_default())?;
        }
    }
    let mut compared = 0;
    for (cpu, theirs) in &of_theirs {
        let ours = of_ours.get(cpu).map_or(&[][..], Vec::as_slice);
        for (ours, theirs) in ours.iter().zip(theirs) {
            // The kernel cuts a duration at seven digits, trace-cmd does not.
            let shown = ours.1.as_ref().map_or(0, String::len);
            let duration = theirs.1.as_deref().and_then(|text| text.get(..shown));
            if (ours.0, ours.1.as_deref(), &ours.2) != (theirs.0, duration, &theirs.2) {
                return Err(format!(
                    "cpu {cpu}: {ours:?} is replayed, {theirs:?} by trace-cmd"
                ));
            }
            compared += 1;
        }
        if ours.len() != theirs.len() {
            return Err(format!(
                "cpu {cpu}: {} entries and exits are replayed, {} by trace-cmd",
                ours.len(),
                theirs.len()
            ));
        }
    }
    Ok(compared)
}

/// All traces below a folder.
fn traces(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            traces(&path, found);
        } else if path.file_name().is_some_and(|name| name == "trace.dat") {
            found.push(path);
        }
    }
}

/// What was compared of many files.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) files: usize,
    pub(crate) records: u64,
    /// Rows of reports.
    pub(crate) functions: usize,
    /// Entries and exits in replays.
    pub(crate) calls: usize,
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) wrong: Vec<String>,
}

impl Compared {
    fn of(paths: &[PathBuf]) -> Self {
        let mut compared = Self::default();
        let mut known = KnownSymbols::new();
        for path in paths {
            let outcome = compare(path, path, &mut known)
                .and_then(|(seen, functions)| Ok((seen, functions, compare_replays(path, path)?)));
            match outcome {
                Ok((seen, _, _)) if seen.is_empty() => {
                    compared
                        .wrong
                        .push(format!("{} has no records", path.display()));
                }
                Ok((seen, functions, calls)) => compared.add(Self {
                    files: 1,
                    records: seen.values().sum(),
                    functions,
                    calls,
                    events: seen,
                    wrong: Vec::new(),
                }),
                Err(what) => compared.wrong.push(format!("{}: {what}", path.display())),
            }
        }
        compared
    }

    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.records += other.records;
        self.functions += other.functions;
        self.calls += other.calls;
        for (event, count) in other.events {
            *self.events.entry(event).or_default() += count;
        }
        self.wrong.extend(other.wrong);
    }
}

/// Holds every trace below the folder of runs against trace-cmd. Each must have records.
#[track_caller]
pub(crate) fn hold_all_below(folder: &Path) -> Compared {
    let mut found = Vec::new();
    traces(folder, &mut found);
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let share = found.len().div_ceil(at_once).max(1);
    let compared = thread::scope(|scope| {
        let workers: Vec<_> = found
            .chunks(share)
            .map(|paths| scope.spawn(|| Compared::of(paths)))
            .collect();
        let mut all = Compared::default();
        for worker in workers {
            all.add(worker.join().expect("no comparison panics"));
        }
        all
    });
    assert!(compared.wrong.is_empty(), "{}", compared.wrong.join("\n"));
    assert_eq!(compared.files, found.len());
    compared
}

/// Holds what `deferinit trace latency` says of each run's latency tracer against the kernel's own text and maximum. Gives
/// the tracers.
#[track_caller]
pub(crate) fn hold_latencies_below(folder: &Path) -> BTreeSet<String> {
    let mut found = Vec::new();
    traces(folder, &mut found);
    let mut tracers = BTreeSet::new();
    for path in found {
        let reports = path.with_file_name("reports/instance");
        let read = |name: &str| std::fs::read_to_string(reports.join(name));
        let (Ok(kernels), Ok(maximum)) = (read("trace"), read("tracing_max_latency")) else {
            continue;
        };
        let tracer = kernels
            .lines()
            .find_map(|line| line.strip_prefix("# tracer: "))
            .expect("the kernel names the tracer");
        let latency = output(&["trace", "latency", "--format", "json", argument(&path)]);
        let shown = path.display();
        let ours: Value = serde_json::from_slice(&latency.stdout)
            .unwrap_or_else(|error| panic!("{shown}: {error}: {}", text(&latency)));
        assert_eq!(ours["tracer"], tracer, "{shown}");
        let header = kernels
            .lines()
            .find_map(|line| line.strip_prefix("# latency: ")?.split(' ').next());
        let Some(latency_us) = header else {
            // The kernel has kept no sample, which is no latency of 0.
            assert_eq!(code(&latency), 102, "{shown}");
            assert_eq!(ours["kind"], "no-sample", "{shown}");
            continue;
        };
        assert_eq!(code(&latency), 0, "{shown}: {}", text(&latency));
        assert_eq!(ours["latency_us"].to_string(), latency_us, "{shown}");
        assert_eq!(maximum.trim(), latency_us, "{shown}");
        // A stack's frames are lines of their own.
        let is_row =
            |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.starts_with(" => ");
        let rows = kernels.lines().filter(is_row).count();
        assert_eq!(ours["rows"].as_array().map(Vec::len), Some(rows), "{shown}");
        tracers.insert(tracer.to_owned());
    }
    tracers
}

#[test]
fn trace_cmd_reads_the_same_of_each_capture() {
    let files = Files::new();
    for (capture, events) in CAPTURES.into_iter().zip([
        &[
            "sched_switch",
            "openat",
            "kernel_stack",
            "user_stack",
            "print",
            "raw_data",
        ][..],
        &["function"],
        &[
            "funcgraph_entry",
            "funcgraph_exit",
            "workqueue_execute_start",
        ],
    ]) {
        let path = files.path(&format!("{capture}.dat"));
        let (seen, functions) = compare(&path, &path, &mut KnownSymbols::new())
            .unwrap_or_else(|what| panic!("{capture}: {what}"));
        assert!(seen.values().sum::<u64>() > 300, "{capture}: {seen:?}");
        for event in events {
            assert!(
                seen.contains_key(*event),
                "{capture}: no {event} in {seen:?}"
            );
        }
        assert_eq!(functions > 20, capture == "function_graph", "{functions}");
        let calls =
            compare_replays(&path, &path).unwrap_or_else(|what| panic!("{capture}: {what}"));
        assert_eq!(calls > 600, capture == "function_graph", "{calls}");
    }
}

/// The same records but one, and the same but for one field, are seen to differ.
#[test]
fn the_comparison_sees_a_record_less_and_a_changed_field() {
    let files = Files::new();
    let path = files.path("events.dat");
    files.printed("split events.dat --from +1us --output less.dat");
    let less = compare(&files.path("less.dat"), &path, &mut KnownSymbols::new())
        .expect_err("a record is missing");
    assert!(less.contains("for trace-cmd"), "{less}");
    files.printed("split events.dat --cpu 0 --output half.dat");
    let half = compare(&files.path("half.dat"), &path, &mut KnownSymbols::new())
        .expect_err("a CPU is missing");
    assert!(
        half.contains("cpu 1: 0 records, and 430 for trace-cmd"),
        "{half}"
    );

    let calls = files.path("function_graph.dat");
    files.printed("split function_graph.dat --cpu 0 --output half-calls.dat");
    let half =
        compare_replays(&files.path("half-calls.dat"), &calls).expect_err("a CPU is missing");
    assert!(
        half.contains("cpu 1: 0 entries and exits are replayed"),
        "{half}"
    );
    let lines = their_records(&calls).expect("lines");
    let half =
        compare_functions(&files.path("half-calls.dat"), &lines).expect_err("calls are missing");
    assert!(half.contains("the report has"), "{half}");

    let symbols = symbols(&path, &mut KnownSymbols::new()).expect("symbols");
    let (theirs, ours) = (
        their_records(&path).expect("lines"),
        our_records(&path).expect("records"),
    );
    let mut changed = 0;
    for (cpu, records) in ours {
        for (mut record, line) in records.into_iter().zip(&theirs[&cpu]) {
            assert_eq!(same(&record, line, &symbols), Ok(()));
            for place in 0..record.fields.0.len() {
                let value = record.fields.0[place].1.clone();
                record.fields.0[place].1 = changed_a_little(&value);
                let seen = same(&record, line, &symbols);
                assert!(
                    seen.is_err(),
                    "{value} of {}: {line:?}",
                    record.fields.0[place].0
                );
                record.fields.0[place].1 = value;
                changed += 1;
            }
            record.timestamp_ns += 1;
            assert!(same(&record, line, &symbols).is_err());
        }
    }
    assert!(changed > 2000, "{changed}");
}

/// Another value of the same kind.
fn changed_a_little(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_i64().expect("an integer") ^ 4),
        Value::String(text) => {
            // The last character is a digit of a number, or a letter of a name.
            let mut text = text.clone();
            let last = text.pop();
            text.push(if last == Some('1') { '2' } else { '1' });
            Value::from(text)
        }
        Value::Array(values) => {
            let mut values = values.clone();
            match values.first_mut() {
                Some(first) => *first = changed_a_little(first),
                None => values.push(Value::from(1)),
            }
            Value::from(values)
        }
        other => panic!("{other} is no value of a field"),
    }
}
