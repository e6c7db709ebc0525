// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `deferinit trace`, as they are typed.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use deferinit_scenario::Nanos;
use deferinit_trace::diff::Measure;
use deferinit_trace::report::Column;

use crate::args::Format;
use crate::trace_time::TimePoint;

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
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
