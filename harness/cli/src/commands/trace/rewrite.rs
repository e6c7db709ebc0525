// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace split` and `merge`: a new file of one or more others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, anyhow};
use deferinit_ftrace::trace_dat::{Rewritten, Selection, Text, TraceDat, rewrite};
use serde::Serialize;

use crate::args::Format;
use crate::args::trace::{Merge, Split, Window};
use crate::commands::trace::dump::Partial;
use crate::commands::trace::print_json;
use crate::exit::{Failure, PASSED, TRACE};
use crate::stdout::print;
use crate::trace_file::Trace;

/// What was written, as it is printed for programs.
#[derive(Serialize)]
struct Written<'a> {
    file: String,
    records: u64,
    cpus: &'a BTreeMap<u32, u64>,
}

/// Writes a part of a trace.
pub(crate) fn split(arguments: &Split) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let selection = selection(&trace, &arguments.window)?;
    write(&[trace], &selection, &arguments.output, arguments.format)
}

/// Writes all of several traces.
pub(crate) fn merge(arguments: &Merge) -> Result<u8, Failure> {
    let traces = arguments
        .traces
        .iter()
        .map(|path| Trace::open_path(path, None, arguments.lenient))
        .collect::<Result<Vec<_>, _>>()?;
    write(
        &traces,
        &Selection::default(),
        &arguments.output,
        arguments.format,
    )
}

/// Writes a part of a trace, and says nothing.
pub(crate) fn part(trace: Trace, window: &Window, output: &Path) -> Result<u8, Failure> {
    let selection = selection(&trace, window)?;
    let traces = [trace];
    let rewritten = write_file(&traces, &selection, output)?;
    Ok(code(&traces, &rewritten))
}

fn selection(trace: &Trace, window: &Window) -> Result<Selection, Failure> {
    let start = trace
        .records()
        .next_record()
        .map_or(0, |record| record.timestamp_ns);
    let (from, to) = window.bounds(start);
    if from >= to {
        return Err(Failure::usage(anyhow!("--from is not before --to")));
    }
    Ok(Selection {
        from,
        to,
        cpus: window.cpu.as_ref().map(|cpus| cpus.0.clone()),
    })
}

fn write_file(
    traces: &[Trace],
    selection: &Selection,
    output: &Path,
) -> Result<Rewritten, Failure> {
    let partial = Partial::create(output)?;
    let rewritten = write_partial(traces, selection, &partial.file, output)?;
    partial.keep(output)?;
    Ok(rewritten)
}

fn code(traces: &[Trace], rewritten: &Rewritten) -> u8 {
    let is_damaged =
        !rewritten.damage.is_empty() || traces.iter().any(|trace| !trace.file.notices().is_empty());
    if is_damaged { TRACE } else { PASSED }
}

fn write(
    traces: &[Trace],
    selection: &Selection,
    output: &Path,
    format: Format,
) -> Result<u8, Failure> {
    let rewritten = write_file(traces, selection, output)?;
    let written = Written {
        file: output.display().to_string(),
        records: rewritten.records.values().sum(),
        cpus: &rewritten.records,
    };
    match format {
        Format::Text => print(&format!(
            "{} records of {} CPUs in {}",
            written.records,
            written.cpus.len(),
            written.file
        ))?,
        Format::Json => print_json(&written)?,
    }
    Ok(code(traces, &rewritten))
}

fn write_partial(
    traces: &[Trace],
    selection: &Selection,
    out: &File,
    output: &Path,
) -> Result<Rewritten, Failure> {
    let cannot = || format!("cannot write {}", output.display());
    let first = traces
        .first()
        .ok_or_else(|| Failure::usage(anyhow!("there is no trace to write")))?;
    let text = |text| {
        first
            .file
            .text(text)
            .or_else(|error| first.damaged(&error.to_string()).map(|()| Vec::new()))
    };
    let (kallsyms, printk_formats, saved_cmdlines) = (
        text(Text::Kallsyms)?,
        text(Text::PrintkFormats)?,
        text(Text::SavedCmdlines)?,
    );
    let description = TraceDat {
        page_size: first.file.page_size(),
        user_long_size: first.file.user_long_size(),
        sub_buffer_size: u32::try_from(first.buffer.sub_buffer_size).unwrap_or(u32::MAX),
        header_page: first.file.header_page().as_bytes(),
        header_event: first.file.header_event().as_bytes(),
        formats: first.file.formats(),
        kallsyms: &kallsyms,
        printk_formats: &printk_formats,
        saved_cmdlines: &saved_cmdlines,
        trace_clock: &format!("[{}]", first.buffer.clock),
        uname: first.file.uname().unwrap_or_default(),
        version: concat!("deferinit ", env!("CARGO_PKG_VERSION")),
    };
    let mut writer = description
        .begin(BufWriter::with_capacity(1 << 20, out))
        .with_context(cannot)
        .map_err(Failure::setup)?;
    let sources: Vec<_> = traces
        .iter()
        .map(|trace| (&*trace.file, &trace.buffer))
        .collect();
    let rewritten = rewrite(&sources, selection, &mut writer)
        .with_context(cannot)
        .map_err(Failure::trace)?;
    if let Some(damage) = rewritten.damage.first() {
        first.damaged(&damage.to_string())?;
    }
    writer
        .finish()
        .with_context(cannot)
        .map_err(Failure::setup)?;
    Ok(rewritten)
}
