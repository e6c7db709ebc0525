// SPDX-License-Identifier: GPL-2.0-only

//! Small trace.dat files of real captures, for tests that boot nothing.
//!
//! Of what a real guest's `trace_pipe_raw` gave: `harness/trace/tests/data/linux-7.3.4/README.md` says how it was made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{CpuSubBuffers, PageLayout};
use deferinit_ftrace::trace_dat::{TraceDat, TraceDatCpu};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{code, deferinit, project, text};

/// The captures there are, each of two CPUs.
pub(crate) const CAPTURES: [&str; 3] = ["events", "function", "function_graph"];

/// A trace.dat of one of the captures.
pub(crate) fn made_of(capture: &str) -> Vec<u8> {
    let folder = project().join("harness/trace/tests/data/linux-7.3.4/captures");
    let read = |name: &str| fs::read(folder.join(name)).expect("a capture");
    let text = |name: &str| String::from_utf8(read(name)).expect("the kernel's texts are ASCII");
    let (header_page, header_event) = (text("header_page"), text("header_event"));
    let layout = PageLayout::parse(&header_page, &header_event).expect("a real kernel's");
    let streams = [0, 1].map(|cpu| unpacked(&folder.join(format!("{capture}.cpu{cpu}.zst"))));
    let stats = [0, 1].map(|cpu| read(&format!("{capture}.cpu{cpu}.stats")));
    let cpus: Vec<_> = (0..)
        .zip(&streams)
        .zip(&stats)
        .map(|((cpu, stream), stats)| TraceDatCpu {
            data: CpuSubBuffers::from_stream(cpu, stream, &layout),
            stats,
        })
        .collect();
    let tasks = match capture {
        "function_graph" => "saved_cmdlines-graph",
        _ => "saved_cmdlines",
    };
    let archive = TraceDat {
        page_size: 4096,
        user_long_size: 8,
        sub_buffer_size: 4096,
        header_page: header_page.as_bytes(),
        header_event: header_event.as_bytes(),
        formats: &formats(&text("formats")),
        kallsyms: &read("kallsyms"),
        printk_formats: &read("printk_formats"),
        saved_cmdlines: &read(tasks),
        trace_clock: "[local]\n",
        uname: "Linux guest 7.3.4 x86_64",
        version: "deferinit 0.1.0",
    };
    archive.write(&cpus).expect("all can be said")
}

fn formats(texts: &str) -> Formats {
    let mut formats = Formats::new();
    for event in texts.split("## ").filter(|event| !event.is_empty()) {
        let (system, text) = event.split_once('\n').expect("a line with the system");
        formats.add(system, text).expect("a real kernel's");
    }
    formats
}

fn unpacked(path: &Path) -> Vec<u8> {
    let packed = fs::read(path).expect("a capture");
    zstd::decode_all(packed.as_slice()).expect("the file is zstd")
}

/// A folder with the captures as files, `events.dat` and so on.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for capture in CAPTURES {
            fs::write(
                folder.path().join(format!("{capture}.dat")),
                made_of(capture),
            )
            .expect("a file");
        }
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file");
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        fs::read_dir(self.folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string())
            .collect::<Result<_, _>>()
            .expect("UTF-8")
    }

    /// `deferinit trace` with the words of `line`, to be run in the folder. Programs that it starts find their
    /// temporary files there.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut words = vec!["trace"];
        words.extend(line.split_whitespace());
        let mut command = deferinit(&words);
        command.current_dir(self.folder.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("the program starts")
    }

    /// What it prints; it must have nothing to complain of.
    pub(crate) fn printed(&self, line: &str) -> Vec<u8> {
        let output = self.run(line);
        assert_eq!(code(&output), 0, "{line}: {}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        output.stdout
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_slice(&self.printed(line)).expect("JSON")
    }

    /// The same, a value for each line.
    pub(crate) fn json_lines(&self, line: &str) -> Vec<Value> {
        String::from_utf8(self.printed(line))
            .expect("JSON is UTF-8")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}
