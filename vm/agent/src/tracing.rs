// SPDX-License-Identifier: GPL-2.0-only

//! The ftrace instance: arming it, marking the phases in it, sending what describes it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deferinit_protocol::{
    Buffer, Capture, FileKind, How, INSTANCE, MARKER_PREFIX, MAX_REPORT_BYTES, MODULE, Message,
    PidFile, Plan, Since, TextFile, Trace,
};

use crate::commands::send_bounded;
use crate::pipe::Pipe;
use crate::refusal::{Refusal, no_tracer};
use crate::results::Results;
use crate::settings::{TRACEFS, folder};
use crate::{events, settings, tasks};

/// A function that does not run: in `set_graph_function` instead of nothing, which would stand for all functions.
const NEVER_RUN: &str = "panic";

/// As many names of tasks are kept. The default, 128, is less than what a script starts.
const SAVED_CMDLINES: &str = "4096";

/// The instance that records the measured window.
#[derive(Clone)]
pub(crate) struct Instance {
    folder: PathBuf,
    capture: Capture,
    trace: Trace,
    /// Whether functions of a module that is not there yet are recorded, too.
    loads_module: bool,
}

/// Writes lines into the trace.
pub(crate) struct Markers {
    file: File,
}

impl Markers {
    /// Writes one marker. It is missing in a buffer that takes no more: one that is full, which its statistics say, or
    /// that a trigger has switched off.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        let written = self
            .file
            .write_all(format!("{MARKER_PREFIX}{text}\n").as_bytes());
        match written {
            // `write_marker_to_buffer()`, `kernel/trace/trace.c`, Linux 7.3.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBADF) => Ok(()),
            written => written.with_context(|| format!("cannot write the marker {text:?}")),
        }
    }
}

impl Instance {
    /// Takes the buffer that the trace needs: the instance that the kernel made at boot in memory that the host can
    /// read; where there is none or it will not do, an ordinary one, which is made; or the top.
    pub(crate) fn find_or_create(plan: &Plan) -> Result<Self> {
        let trace = plan.trace.clone();
        let buffer = trace.buffer();
        let folder = match buffer {
            Buffer::Top => PathBuf::from(TRACEFS),
            Buffer::Persistent | Buffer::Private => {
                Path::new(TRACEFS).join("instances").join(INSTANCE)
            }
        };
        let was_there = folder.is_dir();
        let capture = match buffer {
            Buffer::Persistent if was_there => Capture::Persistent,
            Buffer::Persistent | Buffer::Private | Buffer::Top if trace.streamed => {
                Capture::Streamed
            }
            Buffer::Persistent | Buffer::Private | Buffer::Top => Capture::Drained,
        };
        if !was_there {
            fs::create_dir(&folder)
                .with_context(|| format!("cannot make the instance {}", folder.display()))?;
        }
        let instance = Self {
            folder,
            capture,
            loads_module: plan.loads_module(),
            trace,
        };
        if capture != Capture::Persistent && instance.trace.since == Since::Window {
            instance.size_buffer()?;
        }
        if plan.runs_command() {
            let path = Path::new(TRACEFS).join("saved_cmdlines_size");
            settings::write(&path, SAVED_CMDLINES, How::Write)
                .with_context(|| format!("cannot write to {}", path.display()))?;
        }
        Ok(instance)
    }

    /// Makes an instance of its own for a trace that is streamed, on a machine that others use, too.
    pub(crate) fn create(trace: &Trace, name: &str) -> Result<Self> {
        let folder = Path::new(TRACEFS).join("instances").join(name);
        fs::create_dir(&folder)
            .with_context(|| format!("cannot make the instance {}", folder.display()))?;
        let instance = Self {
            folder,
            capture: Capture::Streamed,
            loads_module: false,
            trace: trace.clone(),
        };
        match instance.size_buffer() {
            Ok(()) => Ok(instance),
            Err(error) => {
                drop(instance.remove());
                Err(error)
            }
        }
    }

    /// Takes it away again; nothing of it may be open.
    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_dir(&self.folder)
            .with_context(|| format!("cannot remove the instance {}", self.folder.display()))
    }

    fn size_buffer(&self) -> Result<()> {
        self.switch_off()?;
        self.write("buffer_size_kb", &self.trace.buffer_kib_per_cpu.to_string())
    }

    /// Leaves a task out of the trace.
    pub(crate) fn leave_out(&self, task: i32) -> Result<()> {
        // A kernel may have tracers off, and then refuses the file for functions; there are none to leave out.
        let functions = (self.trace.tracer != "nop").then_some(PidFile::SetFtraceNotracePid);
        for file in functions.into_iter().chain([PidFile::SetEventNotracePid]) {
            let file = file.name();
            self.append(file, &task.to_string())
                .with_context(|| format!("cannot append {task} to {file}"))?;
        }
        Ok(())
    }

    /// Where the trace of each CPU is read.
    pub(crate) fn pipes(&self) -> Result<Vec<Pipe>> {
        let kib = self.trace.buffer_kib_per_cpu;
        self.cpus()?
            .into_iter()
            .map(|cpu| {
                let path = self.folder.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
                Pipe::open(cpu, path, kib)
            })
            .collect()
    }

    /// How what this instance records reaches the host.
    pub(crate) fn capture(&self) -> Capture {
        self.capture
    }

    /// The file with the functions that are recorded.
    pub(crate) fn filter_file(&self) -> PathBuf {
        self.folder.join("set_ftrace_filter")
    }

    /// Makes everything that does not record yet: filters, settings, probes. `commands` are the numbers of the tasks that
    /// will be the commands of phases.
    pub(crate) fn prepare(&self, commands: &[u32]) -> Result<()> {
        self.check_tracer()?;
        self.expect_module()?;
        self.add_functions("set_ftrace_filter", &self.trace.functions)?;
        self.add_functions("set_ftrace_notrace", &self.trace.notrace)?;
        self.add_graph_functions()?;
        settings::make_early(&self.trace.settings, &self.folder)?;
        for filter in &self.trace.pids {
            if tasks::with_children(filter) {
                self.write(&format!("options/{}", filter.file.fork_option()), "1")?;
            }
            self.write(filter.file.name(), &tasks::numbers(filter, commands)?)?;
        }
        Ok(())
    }

    fn check_tracer(&self) -> Result<()> {
        let available = self.read("available_tracers")?;
        let tracer = &self.trace.tracer;
        if !available.split_whitespace().any(|name| name == tracer) {
            return Err(no_tracer(tracer, &available).into());
        }
        Ok(())
    }

    /// Whether the kernel has armed itself with the tracer that it was told to: where it cannot, it goes on without.
    pub(crate) fn check_boot(&self) -> Result<()> {
        let tracer = &self.trace.tracer;
        if tracer == "nop" {
            return Ok(());
        }
        self.check_tracer()?;
        let current = self.read("current_tracer")?;
        let current = current.trim_end();
        if current != tracer {
            return Err(Refusal::Refused(format!(
                "the kernel was to boot with the tracer {tracer}, but its tracer is {current}: see its log"
            ))
            .into());
        }
        Ok(())
    }

    /// Sets tracer and events; records nothing yet.
    pub(crate) fn arm(&self) -> Result<()> {
        if self.trace.tracer != "nop" {
            self.write("current_tracer", &self.trace.tracer)?;
        }
        for event in &self.trace.events {
            self.append("set_event", event).map_err(|error| {
                Refusal::Refused(format!("the kernel has no event {event}: {error}"))
            })?;
        }
        Ok(())
    }

    /// Opens the measured window for the first time, and then sets what acts at once.
    pub(crate) fn open_window(&self) -> Result<()> {
        self.switch_on()?;
        settings::make_late(&self.trace.settings, &self.folder)
    }

    /// Sets the filters for the module that is not there yet. Its next load uses this up: what the kernel kept is
    /// gone then, and its unload takes what matched out of the filter (`process_mod_list()` and
    /// `clear_mod_from_hashes()`, `kernel/trace/ftrace.c`, Linux 7.3).
    pub(crate) fn expect_module(&self) -> Result<()> {
        if !self.loads_module {
            return Ok(());
        }
        for (file, globs) in [
            ("set_ftrace_filter", &self.trace.functions),
            ("set_ftrace_notrace", &self.trace.notrace),
        ] {
            for glob in globs {
                let text = format!("{glob}:mod:{MODULE}");
                self.append(file, &text)
                    .with_context(|| format!("cannot append {text:?} to {file}"))?;
            }
        }
        Ok(())
    }

    /// Sets the graph filters again, for a module that has just been loaded: they hold for the functions that are there
    /// when they are written (`ftrace_graph_set_hash()`, same).
    pub(crate) fn add_graph_functions(&self) -> Result<()> {
        let top = |file: &str, glob: &str| {
            settings::write(&Path::new(TRACEFS).join(file), glob, How::Append)
        };
        let (file, globs) = ("set_graph_function", &self.trace.graph_functions);
        let mut matched = false;
        for glob in globs {
            matched |= self.is_match(file, glob, top(file, glob))?;
        }
        if !matched && !globs.is_empty() {
            top(file, NEVER_RUN).with_context(|| format!("cannot append to {file}"))?;
        }
        let (file, globs) = ("set_graph_notrace", &self.trace.graph_notrace);
        for glob in globs {
            self.is_match(file, glob, top(file, glob))?;
        }
        Ok(())
    }

    fn add_functions(&self, file: &str, globs: &[String]) -> Result<()> {
        globs.iter().try_for_each(|glob| {
            let written = self.append(file, glob);
            self.is_match(file, glob, written).map(drop)
        })
    }

    /// Whether a glob matches anything. One that matches nothing may still match in a module that is not there yet: what
    /// was matched is sent to the host. With no such module, it is a mistake.
    fn is_match(&self, file: &str, glob: &str, written: std::io::Result<()>) -> Result<bool> {
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                if self.loads_module {
                    return Ok(false);
                }
                Err(Refusal::NoFunction {
                    file: file.to_owned(),
                    pattern: glob.to_owned(),
                }
                .into())
            }
            Err(error) => Err(error).with_context(|| format!("cannot append {glob:?} to {file}")),
        }
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
    /// the trace is still there, and must be readable. After [`Self::prepare`]: it makes events and changes layouts.
    pub(crate) fn send_description(&self, results: &mut Results) -> Result<()> {
        results.send_file(FileKind::HeaderPage, &self.path("events/header_page"))?;
        results.send_file(FileKind::HeaderEvent, &self.path("events/header_event"))?;
        for (system, event) in events::described(&self.trace, &self.folder)? {
            let format = format!("{}/{system}/{event}/format", events::EVENTS);
            results.send_file(FileKind::Format { system, event }, &format)?;
        }
        results.send_file(FileKind::TraceClock, &self.path("trace_clock"))
    }

    /// Sends what became of the trace, and the trace itself where the host cannot see it.
    pub(crate) fn send_result(&self, results: &mut Results) -> Result<()> {
        settings::switch_off(&self.trace.settings, &self.folder)?;
        results.send_file(
            FileKind::PrintkFormats,
            &format!("{TRACEFS}/printk_formats"),
        )?;
        results.send_file(
            FileKind::SavedCmdlines,
            &format!("{TRACEFS}/saved_cmdlines"),
        )?;
        let cpus = self.cpus()?;
        // Before the drain, which would count what it reads, and take it away from the texts.
        for &cpu in &cpus {
            let stats = self.path(&format!("per_cpu/cpu{cpu}/stats"));
            results.send_file(FileKind::Stats { cpu }, &stats)?;
        }
        self.send_reports(results)?;
        match self.capture {
            Capture::Persistent => Ok(()),
            Capture::Drained => self.pipes()?.iter_mut().try_for_each(|pipe| {
                let file = FileKind::Raw { cpu: pipe.cpu };
                pipe.drain(|piece| results.send_bytes(file.clone(), piece))
            }),
            Capture::Streamed => {
                for pipe in &mut self.pipes()? {
                    let cpu = pipe.cpu;
                    pipe.drain(|piece| results.send_sub_buffers(cpu, piece))?;
                }
                results.send(&Message::AllRead)
            }
        }
    }

    /// Sends texts of the kernel; of a latency tracer also the one that only it has: the trace of its maximum.
    fn send_reports(&self, results: &mut Results) -> Result<()> {
        let mut reports = self.trace.reports.clone();
        if self.trace.is_latency() {
            reports.extend(["tracing_max_latency", "trace"].map(TextFile::instance));
        }
        let mut sent = Vec::new();
        for TextFile { scope, file } in reports {
            for file in expand(&folder(scope, &self.folder), &file)? {
                let path = folder(scope, &self.folder).join(&file);
                let kind = FileKind::Report { scope, file };
                if sent.contains(&kind) {
                    continue;
                }
                sent.push(kind.clone());
                if path.is_file() {
                    send_bounded(kind, &path, MAX_REPORT_BYTES, results)?;
                } else {
                    // The trace is worth more than a text that is not there.
                    results.send(&Message::Cut {
                        file: kind,
                        bytes: 0,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn cpus(&self) -> Result<Vec<u32>> {
        let names = events::folders(&self.folder.join("per_cpu"))?;
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

    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        settings::write(&path, text, How::Write)
            .with_context(|| format!("cannot write {text:?} to {}", path.display()))
    }

    fn append(&self, name: &str, text: &str) -> std::io::Result<()> {
        settings::write(&self.folder.join(name), text, How::Append)
    }
}

/// The files that a name with at most one `*` in its last part stands for, sorted.
fn expand(folder: &Path, file: &str) -> Result<Vec<String>> {
    let (parent, name) = file.rsplit_once('/').unwrap_or(("", file));
    let Some((begin, end)) = name.split_once('*') else {
        return Ok(vec![file.to_owned()]);
    };
    let parent_path = folder.join(parent);
    let mut files = Vec::new();
    let entries = fs::read_dir(&parent_path)
        .with_context(|| format!("cannot list {}", parent_path.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", parent_path.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end) {
            let path = Path::new(parent).join(name);
            files.push(OsStr::to_string_lossy(path.as_os_str()).into_owned());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_in_the_last_part() {
        let folder = std::env::temp_dir().join(format!("deferinit-expand-{}", std::process::id()));
        fs::create_dir_all(folder.join("trace_stat")).expect("a folder");
        for name in ["function1", "function0", "other"] {
            fs::write(folder.join("trace_stat").join(name), "").expect("a file");
        }
        for (file, files) in [
            (
                "trace_stat/function*",
                &["trace_stat/function0", "trace_stat/function1"][..],
            ),
            ("trace_stat/function1*1", &[]),
            ("trace_stat/*er", &["trace_stat/other"]),
            ("trace", &["trace"]),
        ] {
            assert_eq!(expand(&folder, file).expect("listed"), files, "{file}");
        }
        fs::remove_dir_all(&folder).expect("removed");
    }
}
