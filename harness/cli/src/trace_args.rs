// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `deferinit trace`, as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::Format;
use crate::trace_time::TimePoint;

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    /// Say what is in a trace: who made it, when, how many records of what, and whether some were lost
    Info(Info),
    /// Write a part of a trace, by time and CPU, into a new file
    Split(Split),
    /// Put the parts of a trace together again
    Merge(Merge),
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
#[derive(Debug, Args)]
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
