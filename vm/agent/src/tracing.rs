// SPDX-License-Identifier: GPL-2.0-only

//! The ftrace instance: arming it, marking the phases in it, sending what describes it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deferinit_protocol::{Capture, FileKind, INSTANCE, MARKER_PREFIX, MODULE, Trace};

use crate::results::Results;

/// The mount point of tracefs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// The instance that records the measured window.
#[derive(Clone)]
pub(crate) struct Instance {
    folder: PathBuf,
    capture: Capture,
    /// The globs of the functions that are recorded.
    functions: Vec<String>,
}

/// Writes lines into the trace.
pub(crate) struct Markers {
    file: File,
}

impl Markers {
    /// Writes one marker.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        self.file
            .write_all(format!("{MARKER_PREFIX}{text}\n").as_bytes())
            .with_context(|| format!("cannot write the marker {text:?}"))
    }
}

impl Instance {
    /// Takes the instance that the kernel made at boot in memory that the host can read, or, where
    /// there is none, makes an ordinary one.
    pub(crate) fn find_or_create(trace: &Trace) -> Result<Self> {
        let folder = Path::new(TRACEFS).join("instances").join(INSTANCE);
        if folder.is_dir() {
            return Ok(Self {
                folder,
                capture: Capture::Persistent,
                functions: trace.functions.clone(),
            });
        }
        fs::create_dir(&folder)
            .with_context(|| format!("cannot make the instance {}", folder.display()))?;
        let instance = Self {
            folder,
            capture: Capture::Drained,
            functions: trace.functions.clone(),
        };
        instance.switch_off()?;
        instance.write("buffer_size_kb", &trace.buffer_kib_per_cpu.to_string())?;
        Ok(instance)
    }

    /// How what this instance records reaches the host.
    pub(crate) fn capture(&self) -> Capture {
        self.capture
    }

    /// The file with the functions that are recorded.
    pub(crate) fn filter_file(&self) -> PathBuf {
        self.folder.join("set_ftrace_filter")
    }

    /// Sets filter, tracer and events; records nothing yet.
    pub(crate) fn arm(&self, trace: &Trace) -> Result<()> {
        self.expect_module()?;
        for glob in &self.functions {
            // For the kernel itself. A glob that matches nothing in it is refused, and may still
            // match in the module: what was matched is sent to the host.
            let _refused_if_no_match = self.append("set_ftrace_filter", glob);
        }
        if !self.functions.is_empty() {
            self.write("current_tracer", "function_graph")?;
        }
        for event in &trace.events {
            self.append("set_event", event)
                .with_context(|| format!("cannot enable the event {event}"))?;
        }
        Ok(())
    }

    /// Sets the filter for the module that is not there yet. Its next load uses this up: what the kernel kept is
    /// gone then, and its unload takes what matched out of the filter (`process_mod_list()` and
    /// `clear_mod_from_hashes()`, `kernel/trace/ftrace.c`, Linux 7.3).
    pub(crate) fn expect_module(&self) -> Result<()> {
        self.functions
            .iter()
            .try_for_each(|glob| self.append("set_ftrace_filter", &format!("{glob}:mod:{MODULE}")))
    }

    /// Opens the measured window.
    pub(crate) fn switch_on(&self) -> Result<()> {
        self.write("tracing_on", "1")
    }

    /// Closes the measured window.
    pub(crate) fn switch_off(&self) -> Result<()> {
        self.write("tracing_on", "0")
    }

    /// Opens the file that markers are written to.
    pub(crate) fn markers(&self) -> Result<Markers> {
        let path = self.folder.join("trace_marker");
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Markers { file })
    }

    /// Sends what the host needs to read the trace. Before the window opens: after a crash in it,
    /// the trace is still there, and must be readable.
    pub(crate) fn send_description(&self, trace: &Trace, results: &mut Results) -> Result<()> {
        let events = Path::new(TRACEFS).join("events");
        results.send_file(
            FileKind::HeaderPage,
            &format!("{TRACEFS}/events/header_page"),
        )?;
        results.send_file(
            FileKind::HeaderEvent,
            &format!("{TRACEFS}/events/header_event"),
        )?;
        for (system, event) in self.described_events(&events, trace)? {
            let format = events.join(&system).join(&event).join("format");
            results.send_file(
                FileKind::Format { system, event },
                &format.to_string_lossy(),
            )?;
        }
        results.send_file(FileKind::TraceClock, &self.path("trace_clock"))
    }

    /// Sends what became of the trace, and the trace itself where the host cannot see it.
    pub(crate) fn send_result(&self, results: &mut Results) -> Result<()> {
        results.send_file(
            FileKind::PrintkFormats,
            &format!("{TRACEFS}/printk_formats"),
        )?;
        results.send_file(
            FileKind::SavedCmdlines,
            &format!("{TRACEFS}/saved_cmdlines"),
        )?;
        for cpu in self.cpus()? {
            let stats = self.path(&format!("per_cpu/cpu{cpu}/stats"));
            // Before the drain, which would count what it reads.
            results.send_file(FileKind::Stats { cpu }, &stats)?;
            if self.capture == Capture::Drained {
                let raw = drain(&self.folder.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw")))?;
                results.send_bytes(FileKind::Raw { cpu }, &raw)?;
            }
        }
        Ok(())
    }

    /// The events whose formats are sent: ftrace's own, and those of each system that is recorded.
    fn described_events(&self, events: &Path, trace: &Trace) -> Result<Vec<(String, String)>> {
        let mut systems = vec!["ftrace".to_owned()];
        systems.extend(
            trace
                .events
                .iter()
                .map(|event| match event.split_once(':') {
                    Some((system, _)) => system.to_owned(),
                    None => event.clone(),
                }),
        );
        systems.sort();
        systems.dedup();
        let mut described = Vec::new();
        for system in systems {
            for event in folders(&events.join(&system))? {
                described.push((system.clone(), event));
            }
        }
        Ok(described)
    }

    fn cpus(&self) -> Result<Vec<u32>> {
        let names = folders(&self.folder.join("per_cpu"))?;
        let mut cpus: Vec<u32> = names
            .iter()
            .filter_map(|name| name.strip_prefix("cpu")?.parse().ok())
            .collect();
        cpus.sort_unstable();
        Ok(cpus)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text)
            .with_context(|| format!("cannot write {text:?} to {}", path.display()))
    }

    fn append(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
            .with_context(|| format!("cannot append {text:?} to {}", path.display()))
    }
}

/// The names of the folders in `folder`, sorted; none if it does not exist.
fn folders(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads whole sub-buffers until there are no more.
fn drain(path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    // A read gives one sub-buffer at most; 64 KiB is more than any kernel's default.
    let mut sub_buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut sub_buffer) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend(sub_buffer.iter().take(length)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(bytes),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
}
