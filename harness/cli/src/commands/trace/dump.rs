// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace dump` and `script`: a trace for other programs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::record::Record;
use deferinit_trace::dump::chrome::Chrome;
use deferinit_trace::dump::csv::Csv;
use deferinit_trace::dump::flamegraph::Flamegraph;
use deferinit_trace::dump::folded::Folded;
use deferinit_trace::dump::graphviz::Graphviz;
use deferinit_trace::dump::json::{Flushing, JsonLines};
use deferinit_trace::dump::perfetto::Perfetto;
use deferinit_trace::fields::Fields;
use deferinit_trace::functions::Functions;
use deferinit_trace::graph::{CallGraph, Graph, Grouping};
use deferinit_trace::names::Names;
use deferinit_trace::script::to_program;

use crate::args::trace::{Dump, DumpFormat, Script, Window};
use crate::commands::trace::functions::no_call;
use crate::commands::trace::{constants, rewrite};
use crate::exit::{Failure, complain};
use crate::trace_file::Trace;

/// Writes a trace in another format.
pub(crate) fn run(arguments: &Dump) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    if arguments.format == DumpFormat::TraceDat {
        let output = arguments.output.as_deref().ok_or_else(|| {
            Failure::usage(anyhow!(
                "trace.dat needs --output: it cannot be written to a pipe"
            ))
        })?;
        return rewrite::part(trace, &arguments.window, output);
    }
    let Some(output) = &arguments.output else {
        let mut out = BufWriter::with_capacity(1 << 20, io::stdout());
        return match export(&trace, arguments, &mut out) {
            Err(Stopped::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                // The reader has seen enough; what is in the buffer is not for it.
                drop(out.into_parts());
                Ok(crate::exit::PASSED)
            }
            outcome => finish(&trace, outcome, "standard output"),
        };
    };
    let partial = Partial::create(output)?;
    let mut out = BufWriter::with_capacity(1 << 20, &partial.file);
    let code = finish(
        &trace,
        export(&trace, arguments, &mut out),
        &output.display().to_string(),
    )?;
    drop(out);
    partial.keep(output)?;
    Ok(code)
}

/// Feeds the records to a program.
pub(crate) fn script(arguments: &Script) -> Result<u8, Failure> {
    let trace = Trace::open(&arguments.input)?;
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let constants = constants(&trace)?;
    let mut names = Names::new(&symbols, &tasks).with_constants(&constants);
    let fields = Fields::new(trace.file.formats());
    let (program, rest) = arguments
        .command
        .split_first()
        .ok_or_else(|| Failure::usage(anyhow!("there is no program")))?;
    let shown = program.display().to_string();
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))
        .map_err(Failure::usage)?;
    let stdin = child
        .stdin
        .take()
        .ok_or_else(|| Failure::setup(anyhow!("{shown} has no standard input")))?;
    let mut lines = to_program(stdin, &fields);
    let mut broken = None;
    let tally = trace.each(&arguments.window, |step| {
        Ok(match lines.record(step.record, &mut names) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        })
    })?;
    // The pipe is closed by this: the program sees the end.
    let ended = match broken {
        Some(error) => Err(error),
        None => lines.finish().map(drop),
    };
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {shown}"))
        .map_err(Failure::setup)?;
    match ended {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::setup(
                anyhow!(error).context(format!("cannot write to {shown}")),
            ));
        }
        Ok(()) | Err(_) => {}
    }
    if !status.success() {
        return Err(Failure::trace(anyhow!("{shown} ended with {status}")));
    }
    trace.outcome(&tally)
}

/// Why an export stopped.
enum Stopped {
    Write(io::Error),
    Trace(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Trace(failure)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn finish(trace: &Trace, outcome: Result<Tally, Stopped>, what: &str) -> Result<u8, Failure> {
    match outcome {
        Ok(tally) => trace.outcome(&tally),
        Err(Stopped::Trace(failure)) => Err(failure),
        Err(Stopped::Write(error)) => Err(Failure::setup(
            anyhow!(error).context(format!("cannot write {what}")),
        )),
    }
}

fn export(trace: &Trace, arguments: &Dump, out: &mut impl Write) -> Result<Tally, Stopped> {
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let constants = constants(trace)?;
    let mut names = Names::new(&symbols, &tasks).with_constants(&constants);
    let fields = Fields::new(trace.file.formats());
    let window = &arguments.window;
    let tally = match arguments.format {
        DumpFormat::TraceDat => {
            return Err(Stopped::Trace(Failure::usage(anyhow!(
                "trace.dat is not written to a pipe"
            ))));
        }
        DumpFormat::Chrome => {
            let mut chrome = Chrome::new(&mut *out, &fields);
            let tally = each(trace, window, |record| chrome.record(record, &mut names))?;
            chrome.finish(&mut names)?;
            tally
        }
        DumpFormat::Perfetto => {
            let mut perfetto = Perfetto::new(&mut *out, &fields);
            let tally = each(trace, window, |record| perfetto.record(record, &mut names))?;
            perfetto.finish(&mut names)?;
            tally
        }
        DumpFormat::Csv => {
            let mut csv = Csv::new(&mut *out, &fields);
            let tally = each(trace, window, |record| csv.record(record, &mut names))?;
            csv.finish()?;
            tally
        }
        DumpFormat::Json => {
            let mut lines = JsonLines::new(&mut *out, &fields, Flushing::Blocks);
            let tally = each(trace, window, |record| lines.record(record, &mut names))?;
            lines.finish()?;
            tally
        }
        DumpFormat::Folded => {
            let (graph, tally) = calls(trace, window, &symbols, &tasks)?;
            let mut folded = Folded::new(&mut *out);
            graph.stacks(&mut folded)?;
            folded.finish()?;
            tally
        }
        DumpFormat::Flamegraph => {
            let (graph, tally) = calls(trace, window, &symbols, &tasks)?;
            let mut flamegraph = Flamegraph::new(&trace.path.display().to_string());
            graph.stacks(&mut flamegraph)?;
            let drawn = flamegraph.finish(&mut *out)?;
            if drawn.narrow_ns > 0 {
                complain(&format!(
                    "note: {} ns of {} ns are in frames too narrow to be drawn",
                    drawn.narrow_ns, drawn.total_ns
                ));
            }
            tally
        }
        DumpFormat::Graphviz => {
            let (graph, tally) = calls(trace, window, &symbols, &tasks)?;
            let mut graphviz = Graphviz::new();
            graph.stacks(&mut graphviz)?;
            graphviz.finish(&mut *out)?;
            tally
        }
    };
    out.flush()?;
    Ok(tally)
}

fn each(
    trace: &Trace,
    window: &Window,
    mut write: impl FnMut(&Record<'_>) -> io::Result<()>,
) -> Result<Tally, Stopped> {
    let mut broken = None;
    let tally = trace.each(window, |step| {
        Ok(match write(step.record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        })
    })?;
    match broken {
        Some(error) => Err(Stopped::Write(error)),
        None => Ok(tally),
    }
}

/// All calls of a window by their stacks.
fn calls(
    trace: &Trace,
    window: &Window,
    symbols: &deferinit_ftrace::symbols::Symbols,
    tasks: &deferinit_ftrace::saved_cmdlines::SavedCmdlines,
) -> Result<(Graph, Tally), Failure> {
    let mut graph = CallGraph::new(Grouping::Together);
    let tally = trace.each(window, |step| {
        if step.follows_loss() {
            graph.lost(None);
        }
        graph.record(step.record);
        Ok(ControlFlow::Continue(()))
    })?;
    let graph = graph.finish(&mut Functions::new(symbols), tasks);
    if graph.account.entries == 0 && graph.account.exits == 0 {
        trace.outcome(&tally)?;
        return Err(no_call(trace));
    }
    Ok((graph, tally))
}

/// A file that is put in its place when it is whole.
pub(crate) struct Partial {
    pub(crate) file: File,
    path: PathBuf,
}

impl Partial {
    /// Begins a file beside its place, where there must be none.
    pub(crate) fn create(output: &Path) -> Result<Self, Failure> {
        if output.exists() {
            return Err(Failure::usage(anyhow!(
                "{} exists already",
                output.display()
            )));
        }
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let path = output.with_file_name(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))
            .map_err(Failure::setup)?;
        Ok(Self { file, path })
    }

    /// Puts it there. A file that has come there meanwhile is not overwritten.
    pub(crate) fn keep(self, output: &Path) -> Result<(), Failure> {
        fs::hard_link(&self.path, output)
            .or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Err(error),
                // A file system without links.
                _ => fs::rename(&self.path, output),
            })
            .with_context(|| format!("cannot put the file at {}", output.display()))
            .map_err(Failure::setup)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        drop(fs::remove_file(&self.path));
    }
}
