// SPDX-License-Identifier: GPL-2.0-only

//! From a trace that was streamed into a folder to its trace.dat, without holding it in memory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deferinit_ftrace::page::PageLayout;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::trace_dat::WriteError;
use deferinit_host::{Received, STREAMED};

use super::{trace, trace_dat_of};
use crate::trace_file::Trace;

/// What a stream has left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// How many records could be decoded.
    pub(crate) records: u64,
    /// By the kernel's own count, per CPU.
    pub(crate) statistics: BTreeMap<u32, Stats>,
    /// Whether there is a trace.dat.
    pub(crate) has_trace: bool,
    /// The first thing that cannot be read, if any.
    pub(crate) damage: Option<String>,
}

impl Left {
    fn note(&mut self, message: String) {
        self.damage.get_or_insert(message);
    }
}

/// Makes the trace.dat of a run's folder, and takes away what it is made of. A sender that could not describe its trace
/// has left none.
///
/// # Errors
/// If a file cannot be read or written. What is wrong with the trace is in [`Left`].
pub(crate) fn finish(folder: &Path, kallsyms: &str, received: &Received) -> Result<Left> {
    let trace = folder.join("trace");
    let files = trace::Files::read(&trace)?;
    let mut left = Left {
        statistics: files.statistics(),
        damage: files.damage.clone(),
        ..Left::default()
    };
    if files.header_page.is_empty() {
        return Ok(left);
    }
    let layout = match PageLayout::parse(&files.header_page, &files.header_event) {
        Ok(layout) => layout,
        Err(error) => {
            left.note(format!("the layout of the trace cannot be read: {error}"));
            return Ok(left);
        }
    };
    let uname = trace::uname(received.kernel.as_deref().unwrap_or("unknown"));
    let head = trace::head(&layout, &files, kallsyms, &uname);
    let streams = streams(&trace.join(STREAMED))?;
    let path = trace_dat_of(folder);
    match write(&head, &layout, &files, &streams, &path) {
        Ok(cut) => {
            if let Some(cut) = cut {
                left.note(cut);
            }
            left.has_trace = true;
            count(&path, &mut left);
            let streamed = trace.join(STREAMED);
            match fs::remove_dir_all(&streamed) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {}", streamed.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        // The sub-buffers stay where they are.
        Err(WriteError::Write(error)) => {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
        Err(error) => {
            left.note(format!("the trace cannot be put into trace.dat: {error}"));
            drop(fs::remove_file(&path));
        }
    }
    Ok(left)
}

/// The files `cpu<N>`, by N.
fn streams(folder: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", folder.display()));
        }
    };
    let mut streams = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let cpu = name
            .strip_prefix("cpu")
            .and_then(|digits| digits.parse().ok());
        streams.extend(cpu.map(|cpu| (cpu, entry.path())));
    }
    streams.sort_unstable();
    Ok(streams)
}

/// Writes the file. Says what of a stream is no whole sub-buffer, and is left out.
fn write(
    head: &deferinit_ftrace::trace_dat::TraceDat<'_>,
    layout: &PageLayout,
    files: &trace::Files,
    streams: &[(u32, PathBuf)],
    path: &Path,
) -> Result<Option<String>, WriteError> {
    let out = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let mut writer = head.begin(BufWriter::new(out))?;
    let mut cut = None;
    let mut sub_buffer = vec![0; layout.sub_buffer_size()];
    for (cpu, path) in streams {
        writer.begin_cpu(*cpu)?;
        let mut stream = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut left = stream.get_ref().metadata()?.len();
        let size = u64::try_from(sub_buffer.len()).unwrap_or(u64::MAX);
        while left >= size {
            stream.read_exact(&mut sub_buffer)?;
            writer.sub_buffer(&sub_buffer)?;
            left = left.saturating_sub(size);
        }
        if left > 0 {
            cut.get_or_insert(format!(
                "the last {left} bytes of the trace of CPU {cpu} are no sub-buffer, which has {size}"
            ));
        }
    }
    for (cpu, text) in &files.statistics {
        writer.statistics(*cpu, text)?;
    }
    writer.finish()?;
    Ok(cut)
}

/// Counts the records of the file by reading it, as any reader would.
fn count(path: &Path, left: &mut Left) {
    let trace = match Trace::open_path(path, None, true) {
        Ok(trace) => trace,
        Err(error) => {
            left.note(error.to_string());
            return;
        }
    };
    let tally = trace.records().finish();
    left.records = tally
        .cpus
        .iter()
        .fold(0, |sum, cpu| sum.saturating_add(cpu.decoded));
    if tally.damages > 0 {
        left.note(format!(
            "{} places of the trace cannot be read",
            tally.damages
        ));
    }
    // What was read while the trace was made, and what was read after it.
    let counted = left.statistics.values().fold(0_u64, |sum, stats| {
        sum.saturating_add(stats.entries)
            .saturating_add(stats.read_events)
    });
    if !left.statistics.is_empty() && counted != left.records {
        left.note(format!(
            "the kernel has counted {counted} records, and {} have come",
            left.records
        ));
    }
}
