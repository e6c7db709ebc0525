// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit graph` and `critical-path`: what waited for what, and which chain of that was the longest.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use deferinit_analysis::Analysis;
use deferinit_analysis::draw::MOST_ROWS;
use deferinit_analysis::graph::{CriticalPath, Node, Scope};
use serde::Serialize;

use crate::args::Format;
use crate::args::analysis::{self as arguments, GraphFormat};
use crate::args::trace::{Input, Window};
use crate::commands::explain::{Known, look};
use crate::commands::trace::print_json;
use crate::exit::{Failure, complain};
use crate::run_folder::RunFolder;
use crate::stdout::print_bytes;
use crate::trace_file::Trace;

/// Writes the graph.
pub(crate) fn graph(arguments: &arguments::Graph) -> Result<u8, Failure> {
    let scope = if arguments.all {
        Scope::All
    } else {
        Scope::Items
    };
    let (graph, code) = with_analysis(&arguments.input, &arguments.window, |analysis| {
        analysis.graph(scope)
    })?;
    if arguments.format != GraphFormat::Json {
        complain(&graph.remarks().trim_end());
    }
    let text = match arguments.format {
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Svg => graph.svg().map_err(|jobs| {
            Failure::usage(anyhow!(
                "a picture of {jobs} jobs is none: at most {MOST_ROWS}; leave --all out, or take a part with --from and --to"
            ))
        })?,
        GraphFormat::Json if arguments.output.is_none() => {
            return print_json(&graph).map(|()| code);
        }
        GraphFormat::Json => serde_json::to_string_pretty(&graph)
            .context("cannot write the graph as JSON")
            .map_err(Failure::setup)?,
    };
    match &arguments.output {
        None => print_bytes(text.as_bytes())?,
        Some(path) => write_new(path, text.as_bytes())?,
    }
    Ok(code)
}

/// The longest chain, and the slack of every item.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    path: CriticalPath,
    slack: Vec<Node>,
}

/// Prints the longest chain.
pub(crate) fn critical_path(arguments: &arguments::CriticalPath) -> Result<u8, Failure> {
    let ((path, graph), code) = with_analysis(&arguments.input, &arguments.window, |analysis| {
        (analysis.critical_path(), analysis.graph(Scope::Items))
    })?;
    match arguments.format {
        Format::Json => print_json(&Answer {
            path,
            slack: graph.nodes,
        })?,
        Format::Text => {
            let mut text = path.table(look());
            text.push_str(
                "\nSlack: how much later each could have been without the last one being later\n",
            );
            text.push_str(&graph.slack_table());
            print_bytes(text.as_bytes())?;
        }
    }
    Ok(code)
}

/// Analyses a trace for `ask`. One without any job is an error.
fn with_analysis<T>(
    input: &Input,
    window: &Window,
    ask: impl FnOnce(&mut Analysis<'_>) -> T,
) -> Result<(T, u8), Failure> {
    let trace = Trace::open(input)?;
    let run = RunFolder::of_trace(&trace.path)?;
    let known = Known::of(&trace, &run, None)?;
    let (mut analysis, code) = known.analyse(&trace, window)?;
    if analysis.jobs().is_empty() {
        return Err(crate::commands::explain::nothing(&trace, &analysis, None));
    }
    Ok((ask(&mut analysis), code))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write a new file {}", path.display()))
        .map_err(Failure::usage)
}
