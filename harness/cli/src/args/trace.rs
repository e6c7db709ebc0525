// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `deferinit trace`, as they are typed.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use deferinit_scenario::Nanos;
use deferinit_trace::diff::Measure;
use deferinit_trace::report::Column;

use super::Format;
use super::live::{LIVE_ABOUT, LIVE_AFTER_HELP, LIVE_LONG_ABOUT, Live, Recv};
use super::record::Record;
use crate::trace_time::TimePoint;

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    Record(Box<Record>),
    #[command(about = LIVE_ABOUT, long_about = LIVE_LONG_ABOUT, after_help = LIVE_AFTER_HELP)]
    Live(Box<Live>),
    Recv(Recv),
    /// Say what is in a trace: who made it, when, how many records of what, and whether some were lost
    Info(Info),
    /// Statistics of each function: calls, total, self, min, avg, p50, p99, max
    Report(Report),
    /// Print the calls as a tree, as they happened
    Replay(Replay),
    /// Print who called what: the tree of calls, or the callers or callees of a function
    Graph(Graph),
    /// Compare the functions of two traces
    Diff(Diff),
    /// List or count events, by name and by their fields; or measure the time from one to another
    Events(Events),
    /// Maximum and histogram of latencies: of the latency tracers, of wake-ups, or of a function
    Latency(Latency),
    /// Write a trace in another format
    Dump(Dump),
    /// Feed the records to a program, a line of JSON each
    Script(Script),
    /// Write a part of a trace, by time and CPU, into a new file
    Split(Split),
    /// Put the parts of a trace together again
    Merge(Merge),
    /// Look around in a trace, on the terminal: table, tree and timeline of its calls
    Tui(Tui),
}

/// Which trace.
#[derive(Debug, Args)]
pub(crate) struct Input {
    /// A trace.dat file, or the folder of a run
    #[arg(value_name = "FILE|RUN")]
    pub(crate) trace: PathBuf,

    /// The instance, by its name, where the file has several [default: the first one with records]
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,

    /// Go on where the file is cut off or damaged, with what can be read of it
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// Which of its records.
#[derive(Debug, Default, Args)]
pub(crate) struct Window {
    /// Only from this time on: seconds as traces show them, or since the first record, as +50ms
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<TimePoint>,

    /// Only before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<TimePoint>,

    /// Only of these CPUs, as 0,2-3
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub(crate) cpu: Option<Cpus>,
}

/// A set of CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) std::collections::BTreeSet<u32>);

#[derive(Debug, Args)]
pub(crate) struct Info {
    #[command(flatten)]
    pub(crate) input: Input,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// Only functions with such a name, as deferred_*
    #[arg(long, short, value_name = "GLOB")]
    pub(crate) function: Option<String>,

    /// Sort by this column
    #[arg(long, short, value_name = "COLUMN", default_value = "total", value_parser = PossibleValuesParser::new(column_names()))]
    pub(crate) sort: String,

    /// Print at most so many functions
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// Only calls of functions with such a name, and what is below them
    #[arg(long, short, value_name = "GLOB")]
    pub(crate) function: Option<String>,

    /// Only of the task with this pid; 0 is the idle task of each CPU
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<i32>,

    /// Only calls that took at least as long, as 100us
    #[arg(long, value_name = "DURATION", default_value = "0ns")]
    pub(crate) min_duration: Nanos,

    /// Only so many levels of calls
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<u64>,

    /// In which style
    #[arg(long, value_enum, default_value_t = Style::Kernel)]
    pub(crate) style: Style,

    /// What else to show in the kernel's style; may be given several times
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub(crate) show: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// As the kernel's own function_graph tracer prints: CPU, duration, function
    Kernel,
    /// A line per call: entry, duration and local time, pid, function
    Local,
}

/// A part of a line in the kernel's style: what the options funcgraph-* choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The time of the record
    Abstime,
    /// Name and pid of the task
    Proc,
    /// The function's name at every end
    Tail,
    /// What calls returned
    Retval,
    /// The same, never as an error number
    RetvalHex,
    /// How many calls could not be traced
    Overrun,
}

#[derive(Debug, Args)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// Only what functions with such a name called
    #[arg(long, value_name = "GLOB", conflicts_with = "callers")]
    pub(crate) callees: Option<String>,

    /// Only from where functions with such a name were called
    #[arg(long, value_name = "GLOB")]
    pub(crate) callers: Option<String>,

    /// A tree for each task
    #[arg(long)]
    pub(crate) by_task: bool,

    /// How to print
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For people
    Text,
    /// A line per path, as flame graph tools read it: self time in nanoseconds
    Folded,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first trace: a trace.dat file, or the folder of a run
    #[arg(value_name = "FILE|RUN")]
    pub(crate) first: PathBuf,

    /// The second one
    #[arg(value_name = "FILE|RUN")]
    pub(crate) second: PathBuf,

    /// Only functions with such a name
    #[arg(long, short, value_name = "GLOB")]
    pub(crate) function: Option<String>,

    /// Sort by the change of this column
    #[arg(long, short, value_name = "COLUMN", default_value = "total", value_parser = PossibleValuesParser::new(measure_names()))]
    pub(crate) sort: String,

    /// Print at most so many functions
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Go on where a file is cut off or damaged, with what can be read of it
    #[arg(long)]
    pub(crate) lenient: bool,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// Only these events: SYSTEM:EVENT, EVENT or SYSTEM, with *; may be given several times
    #[arg(long, short, value_name = "EVENT")]
    pub(crate) event: Vec<String>,

    /// Only where this holds, in the language of the kernel's event filters, as 'prev_prio < 100 && cpu == 1'
    #[arg(long, short, value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,

    /// Count them by event instead of listing them
    #[arg(long, conflicts_with_all = ["to_event", "limit"])]
    pub(crate) count: bool,

    /// Print at most so many
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<u64>,

    #[command(flatten)]
    pub(crate) pair: PairArguments,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The end of what is measured.
#[derive(Debug, Args)]
pub(crate) struct PairArguments {
    /// Measure the time from each of them to the next one of this event
    #[arg(long, value_name = "EVENT")]
    pub(crate) to_event: Option<String>,

    /// Of that event, only where this holds
    #[arg(long, value_name = "EXPRESSION", requires = "to_event")]
    pub(crate) to_filter: Option<String>,

    /// Fields that tell which belong together, as pid, or pid=next_pid where the two events call them differently
    #[arg(
        long,
        value_name = "FIELD[=FIELD]",
        value_delimiter = ',',
        requires = "to_event"
    )]
    pub(crate) key: Vec<String>,

    #[command(flatten)]
    pub(crate) buckets: Buckets,
}

/// How a histogram is drawn.
#[derive(Debug, Args)]
pub(crate) struct Buckets {
    /// Buckets of one width instead of powers of two, as 10us; with --range
    #[arg(long, value_name = "WIDTH", requires = "range")]
    pub(crate) bucket: Option<Nanos>,

    /// What these buckets cover, as 0ns-1ms
    #[arg(long, value_name = "FROM-TO", requires = "bucket", value_parser = parse_range)]
    pub(crate) range: Option<(Nanos, Nanos)>,
}

#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// Of what [default: the latency tracer that the run had]
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with = "function")]
    pub(crate) of: Option<LatencyOf>,

    /// Of the calls of this function, as function_graph recorded them
    #[arg(long, short, value_name = "NAME")]
    pub(crate) function: Option<String>,

    #[command(flatten)]
    pub(crate) buckets: Buckets,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LatencyOf {
    /// From sched:sched_waking of a task to the sched:sched_switch to it
    Wakeup,
    /// From preemptirq:irq_disable to preemptirq:irq_enable on a CPU
    Irqsoff,
    /// From preemptirq:preempt_disable to preemptirq:preempt_enable on a CPU
    Preemptoff,
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// The format
    #[arg(long, value_enum)]
    pub(crate) format: DumpFormat,

    /// The new file, which must not exist [default: standard output, but for trace.dat]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DumpFormat {
    /// For trace-cmd and KernelShark
    #[value(name = "trace.dat")]
    TraceDat,
    /// JSON for chrome://tracing, Perfetto and Speedscope
    Chrome,
    /// Perfetto's own format (.pftrace)
    Perfetto,
    /// A picture for a browser (SVG): self time by call stack
    Flamegraph,
    /// The same as lines for flame graph tools
    Folded,
    /// Callers and callees for dot
    Graphviz,
    /// A table of records
    Csv,
    /// A line of JSON for each record
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Script {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// The program and its arguments; it reads the records from its standard input
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

fn parse_range(text: &str) -> Result<(Nanos, Nanos), String> {
    let (from, to) = text
        .split_once('-')
        .ok_or_else(|| format!("{text:?} is no range, as 0ns-1ms"))?;
    let nanos = |text: &str| {
        text.parse::<Nanos>()
            .map_err(|error| format!("{text:?}: {error}"))
    };
    Ok((nanos(from)?, nanos(to)?))
}

fn column_names() -> impl Iterator<Item = &'static str> {
    Column::NAMES.iter().map(|(name, _)| *name)
}

fn measure_names() -> impl Iterator<Item = &'static str> {
    Measure::NAMES.iter().map(|(name, _)| *name)
}

#[derive(Debug, Args)]
pub(crate) struct Split {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) window: Window,

    /// The new file, which must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// How to print what was written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// trace.dat files of one boot: parts by time, by CPU, or both
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(crate) traces: Vec<PathBuf>,

    /// The new file, which must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Go on where a file is cut off or damaged, with what can be read of it
    #[arg(long)]
    pub(crate) lenient: bool,

    /// How to print what was written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Tui {
    #[command(flatten)]
    pub(crate) input: Input,
}

/// The largest CPU that is taken: the kernel's own limit (`NR_CPUS`).
const MAX_CPU: u32 = 8191;

fn parse_cpus(text: &str) -> Result<Cpus, String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|cpu| *cpu <= MAX_CPU)
            .ok_or_else(|| format!("{text:?} is no CPU: a number from 0 to {MAX_CPU}"))
    };
    let mut cpus = std::collections::BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part:?} is no range: it ends before it begins"));
        }
        cpus.extend(first..=last);
    }
    Ok(Cpus(cpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_numbers_and_ranges() {
        assert_eq!(parse_cpus("0,2-4"), Ok(Cpus([0, 2, 3, 4].into())));
        for (text, wanted) in [
            ("", "\"\" is no CPU: a number from 0 to 8191"),
            ("a", "\"a\" is no CPU: a number from 0 to 8191"),
            ("1,9000", "\"9000\" is no CPU: a number from 0 to 8191"),
            ("3-1", "\"3-1\" is no range: it ends before it begins"),
        ] {
            assert_eq!(parse_cpus(text), Err(wanted.to_owned()));
        }
    }
}
