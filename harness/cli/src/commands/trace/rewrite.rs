// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace split` and `merge`: a new file of one or more others.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind};
use std::path::Path;

use anyhow::{Context, anyhow};
use deferinit_ftrace::trace_dat::{Rewritten, Selection, Text, TraceDat, rewrite};
use serde::Serialize;

use crate::args::Format;
use crate::exit::{Failure, PASSED, TRACE};
use crate::stdout::print;
use crate::trace_args::{Merge, Split};
use crate::trace_file::Trace;

/// What was written, as it is printed for programs.
#[derive(Serialize)]
struct Written<'a> {
    format_version: u32,
    file: String,
    records: u64,
    cpus: &'a BTreeMap<u32, u64>,
}

/// Writes a part of a trace.
pub(crate) fn split(arguments: &Split) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let window = &arguments.window;
    let start = trace
        .records()
        .next_record()
        .map_or(0, |record| record.timestamp_ns);
    let selection = Selection {
        from: window.from.map_or(0, |time| time.in_trace(start)),
        to: window.to.map_or(u64::MAX, |time| time.in_trace(start)),
        cpus: window.cpu.as_ref().map(|cpus| cpus.0.clone()),
    };
    if selection.from >= selection.to {
        return Err(Failure::usage(anyhow!("--from is not before --to")));
    }
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

/// Writes the file beside its place, and puts it there when it is whole.
fn write(
    traces: &[Trace],
    selection: &Selection,
    output: &Path,
    format: Format,
) -> Result<u8, Failure> {
    if output.exists() {
        return Err(Failure::usage(anyhow!(
            "{} exists already",
            output.display()
        )));
    }
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = output.with_file_name(name);
    let written = write_partial(traces, selection, &partial).and_then(|rewritten| {
        // A link is refused where there is a file: nobody's is overwritten.
        fs::hard_link(&partial, output)
            .or_else(|error| match error.kind() {
                ErrorKind::AlreadyExists => Err(error),
                _ => fs::rename(&partial, output),
            })
            .with_context(|| format!("cannot put the new trace at {}", output.display()))
            .map_err(Failure::setup)?;
        Ok(rewritten)
    });
    // Gone already where it was renamed.
    drop(fs::remove_file(&partial));
    let rewritten = written?;
    let written = Written {
        format_version: 1,
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
        Format::Json => {
            let json = serde_json::to_string_pretty(&written)
                .context("cannot write the result as JSON")
                .map_err(Failure::setup)?;
            print(&json)?;
        }
    }
    let is_damaged =
        !rewritten.damage.is_empty() || traces.iter().any(|trace| !trace.file.notices().is_empty());
    Ok(if is_damaged { TRACE } else { PASSED })
}

fn write_partial(
    traces: &[Trace],
    selection: &Selection,
    partial: &Path,
) -> Result<Rewritten, Failure> {
    let cannot = || format!("cannot write {}", partial.display());
    let out = create(partial)
        .with_context(cannot)
        .map_err(Failure::setup)?;
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
        .map(|trace| (&trace.file, &trace.buffer))
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

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
