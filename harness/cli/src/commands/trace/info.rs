// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace info`: what is in a trace.

use std::collections::BTreeMap;
use std::fmt::Write;

use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::stats::Stats;
use deferinit_timeline::TraceNanos;
use serde::Serialize;

use crate::args::Format;
use crate::args::trace::Info;
use crate::commands::trace::print_json;
use crate::exit::Failure;
use crate::stdout::print;
use crate::trace_file::Trace;

/// What there is to say, as it is printed for programs.
#[derive(Serialize)]
struct Summary {
    file: String,
    file_bytes: u64,
    trace_dat_version: u8,
    compression: &'static str,
    written_by: Option<String>,
    uname: Option<String>,
    instances: Vec<String>,
    instance: String,
    clock: String,
    page_bytes: u32,
    sub_buffer_bytes: usize,
    records: u64,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    /// What the kernel says it lost; none if the file has no statistics.
    lost: Option<u64>,
    /// Sub-buffers marked as having lost records before them.
    marked_losses: u64,
    damages: u64,
    cpus: Vec<CpuSummary>,
    events: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct CpuSummary {
    cpu: u32,
    records: u64,
    sub_buffers: u64,
    marked_losses: u64,
    lost: Option<u64>,
}

/// What the records say.
#[derive(Default)]
struct Seen {
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    events: BTreeMap<(String, String), u64>,
}

impl Seen {
    fn add(&mut self, record: &Record<'_>) {
        self.first_ns.get_or_insert(record.timestamp_ns);
        self.last_ns = Some(record.timestamp_ns);
        let (system, name) = event_name(record);
        // Names are made once per event, not once per record.
        if let Some(count) = self
            .events
            .iter_mut()
            .find(|((of_system, of_name), _)| of_name == name && of_system == system)
            .map(|(_, count)| count)
        {
            *count = count.saturating_add(1);
        } else {
            self.events.insert((system.to_owned(), name.to_owned()), 1);
        }
    }
}

/// System and name of a record's event.
fn event_name<'a>(record: &Record<'a>) -> (&'a str, &'a str) {
    match record.event {
        Event::FuncgraphEntry { .. } => ("ftrace", "funcgraph_entry"),
        Event::FuncgraphExit { .. } => ("ftrace", "funcgraph_exit"),
        Event::Function { .. } => ("ftrace", "function"),
        Event::Print { .. } => ("ftrace", "print"),
        Event::Other(fields) => (fields.system(), fields.name()),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Info) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let mut records = trace.records();
    let mut seen = Seen::default();
    while let Some(record) = records.next_record() {
        seen.add(&record);
    }
    let tally = records.finish();
    let summary = summary(&trace, &seen, &tally);
    match arguments.format {
        Format::Text => print(text(&summary).trim_end())?,
        Format::Json => print_json(&summary)?,
    }
    trace.outcome(&tally)
}

/// The kernel's own count of what was lost on each CPU.
fn losses(trace: &Trace) -> BTreeMap<u32, u64> {
    let of_cpu = |text: &String| {
        let cpu = text.strip_prefix("CPU:")?.lines().next()?.trim();
        Some((cpu.parse().ok()?, Stats::parse(text).ok()?.lost()))
    };
    trace.file.statistics().iter().filter_map(of_cpu).collect()
}

fn summary(trace: &Trace, seen: &Seen, tally: &Tally) -> Summary {
    use deferinit_ftrace::trace_dat::Source;

    let losses = losses(trace);
    let (file, buffer) = (&trace.file, &trace.buffer);
    let cpus: Vec<_> = tally
        .cpus
        .iter()
        .map(|cpu| CpuSummary {
            cpu: cpu.cpu,
            records: cpu.decoded,
            sub_buffers: cpu.sub_buffers,
            marked_losses: cpu.missed_marks,
            lost: losses.get(&cpu.cpu).copied(),
        })
        .collect();
    Summary {
        file: trace.path.display().to_string(),
        file_bytes: file.source().size(),
        trace_dat_version: file.version(),
        compression: file.compression().name(),
        written_by: file.writer().map(str::to_owned),
        uname: file.uname().map(str::to_owned),
        instances: file.buffers().iter().map(|one| one.name.clone()).collect(),
        instance: buffer.name.clone(),
        clock: buffer.clock.clone(),
        page_bytes: file.page_size(),
        sub_buffer_bytes: buffer.sub_buffer_size,
        records: cpus.iter().map(|cpu| cpu.records).sum(),
        first_ns: seen.first_ns,
        last_ns: seen.last_ns,
        // Statistics are those of the top instance.
        lost: (!losses.is_empty()).then(|| losses.values().sum()),
        marked_losses: cpus.iter().map(|cpu| cpu.marked_losses).sum(),
        damages: tally.damages,
        cpus,
        events: seen
            .events
            .iter()
            .map(|((system, name), count)| (format!("{system}:{name}"), *count))
            .collect(),
    }
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Into memory, where nothing fails.
        let _ = writeln!(text, "{:<12} {value}", format!("{name}:"));
    };
    line(
        "file",
        format!(
            "{} ({} bytes, trace.dat version {}, compression {})",
            summary.file, summary.file_bytes, summary.trace_dat_version, summary.compression
        ),
    );
    if let Some(writer) = &summary.written_by {
        line("written by", writer.clone());
    }
    if let Some(uname) = &summary.uname {
        line("traced on", uname.clone());
    }
    line("clock", summary.clock.clone());
    if summary.instances.len() > 1 || !summary.instance.is_empty() {
        line(
            "instance",
            format!("{:?} of {:?}", summary.instance, summary.instances),
        );
    }
    line("records", summary.records.to_string());
    if let (Some(first), Some(last)) = (summary.first_ns, summary.last_ns) {
        let length = TraceNanos(last.saturating_sub(first));
        line(
            "time",
            format!("{} to {}, {length} s", TraceNanos(first), TraceNanos(last)),
        );
    }
    line(
        "lost",
        match summary.lost {
            Some(0) => "none, says the kernel".to_owned(),
            Some(lost) => format!("{lost} records, says the kernel"),
            None if summary.marked_losses > 0 => format!(
                "unknown: {} sub-buffers are marked, and the file has no statistics",
                summary.marked_losses
            ),
            None => "unknown: the file has no statistics".to_owned(),
        },
    );
    for cpu in &summary.cpus {
        let lost = match cpu.lost {
            Some(lost) if lost > 0 => format!(", {lost} lost"),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "  cpu {:<4} {:>12} records in {} sub-buffers{lost}",
            cpu.cpu, cpu.records, cpu.sub_buffers
        );
    }
    let mut events: Vec<_> = summary.events.iter().collect();
    events.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    for (name, count) in events {
        let _ = writeln!(text, "  {count:>12}  {name}");
    }
    text
}
