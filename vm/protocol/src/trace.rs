// SPDX-License-Identifier: GPL-2.0-only

//! What ftrace records, and in which of its buffers.
//!
//! In: nothing; these are the types. Out: with [`Trace::buffer`], the buffer that a trace needs.
//! Source: `Documentation/trace/ftrace.rst`, `kernel/trace/trace.c`, Linux 7.3.

use serde::{Deserialize, Serialize};

/// What ftrace records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The tracer, as the kernel names it in `available_tracers`; `nop` records events only.
    pub tracer: String,
    /// Globs of the functions that the tracer records, in the kernel and in the module; all if there are none.
    pub functions: Vec<String>,
    /// Globs of the functions that the tracer leaves out, in the kernel and in the module.
    pub notrace: Vec<String>,
    /// Globs of the functions that function_graph records with all they call; all if there are none.
    pub graph_functions: Vec<String>,
    /// Globs of the functions that function_graph leaves out with all they call.
    pub graph_notrace: Vec<String>,
    /// What is written to files of the kernel, in this order, after the function filters and before the tracer is set
    /// and events are enabled. What acts at once comes later, in the same order, when recording has begun: triggers, and
    /// the switches of the function profiler and the stack tracer, which are switched off when it ends.
    pub settings: Vec<Setting>,
    /// Events, as `system`, `system:event` or `event`.
    pub events: Vec<String>,
    /// Which tasks are recorded, or are not.
    pub pids: Vec<PidFilter>,
    /// What the kernel says in text, to be sent after the window and before the buffer is drained.
    pub reports: Vec<TextFile>,
    /// How many KiB of buffer each CPU gets where the buffer is not persistent.
    pub buffer_kib_per_cpu: u64,
    /// When recording begins.
    pub since: Since,
    /// Whether the trace is sent while it is made: then something of the recording runs in the guest meanwhile.
    pub streamed: bool,
}

/// When recording begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// When the agent has armed everything.
    Window,
    /// With the boot, in the persistent instance: its events stand on the kernel's command line, the agent arms
    /// nothing.
    BootInstance,
    /// With the boot, at the top: the kernel's command line or its boot config arms everything, the agent nothing.
    BootTop,
}

/// Where ftrace records into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Buffer {
    /// An instance in guest RAM at a place that the host knows: it is there also after a crash.
    Persistent,
    /// An ordinary instance, drained after the window. For what swaps or resizes buffers.
    Private,
    /// The top-level buffer, drained after the window. For tracers that no instance can run.
    Top,
}

/// A write to a file of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Below which folder.
    pub scope: Scope,
    /// The file, relative to that folder: `trace_options`, `events/sched/sched_switch/filter`.
    pub file: String,
    /// What is written; a newline is added.
    pub text: String,
    /// Whether what stands there goes away.
    pub how: How,
}

impl Setting {
    /// A write to a file of the instance that records.
    pub fn instance(file: &str, text: &str, how: How) -> Self {
        Self::new(Scope::Instance, file, text, how)
    }

    /// A write to a file at the top of tracefs.
    pub fn top(file: &str, text: &str, how: How) -> Self {
        Self::new(Scope::Top, file, text, how)
    }

    /// A write to any file.
    pub fn new(scope: Scope, file: &str, text: &str, how: How) -> Self {
        Self {
            scope,
            file: file.to_owned(),
            text: text.to_owned(),
            how,
        }
    }
}

/// Where files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The folder of the instance that records; of [`Buffer::Top`], the same as [`Scope::Top`].
    Instance,
    /// tracefs itself: dynamic events, the function profiler, what holds for all instances.
    Top,
    /// `/proc/sys`, as `kernel/stack_tracer_enabled`.
    Sysctl,
    /// `/sys`, as `block/ram0/trace/enable`.
    Sysfs,
}

impl Scope {
    /// What files of this scope are called, as a folder in the results.
    pub fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Top => "top",
            Self::Sysctl => "sysctl",
            Self::Sysfs => "sysfs",
        }
    }
}

/// How a file is opened for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// What stood there goes away.
    Write,
    /// It is added.
    Append,
}

/// Which tasks are recorded, or are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PidFilter {
    /// What of them.
    pub file: PidFile,
    /// The tasks.
    pub tasks: Vec<TaskOf>,
}

/// A file of an instance that takes the numbers of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidFile {
    /// Functions are recorded of these tasks only.
    SetFtracePid,
    /// Functions are not recorded of these tasks.
    SetFtraceNotracePid,
    /// Events are recorded of these tasks only.
    SetEventPid,
    /// Events are not recorded of these tasks.
    SetEventNotracePid,
}

impl PidFile {
    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetFtracePid => "set_ftrace_pid",
            Self::SetFtraceNotracePid => "set_ftrace_notrace_pid",
            Self::SetEventPid => "set_event_pid",
            Self::SetEventNotracePid => "set_event_notrace_pid",
        }
    }

    /// The option of the instance that adds the children of these tasks.
    pub fn fork_option(self) -> &'static str {
        match self {
            Self::SetFtracePid | Self::SetFtraceNotracePid => "function-fork",
            Self::SetEventPid | Self::SetEventNotracePid => "event-fork",
        }
    }
}

/// Tasks of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TaskOf {
    /// The task with this number.
    Number(i32),
    /// The commands of all phases, and their children.
    Command,
    /// All tasks of this name when ftrace is armed, as `/proc/<pid>/comm` has it; a trailing `*` stands for any end.
    /// That there is none is an error.
    Named(String),
}

/// A text file of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// Below which folder.
    pub scope: Scope,
    /// The file, relative to that folder; a `*` in its last part stands for anything: `trace_stat/function*`.
    pub file: String,
}

impl TextFile {
    /// A file of the instance that records.
    pub fn instance(file: &str) -> Self {
        Self {
            scope: Scope::Instance,
            file: file.to_owned(),
        }
    }

    /// A file at the top of tracefs.
    pub fn top(file: &str) -> Self {
        Self {
            scope: Scope::Top,
            file: file.to_owned(),
        }
    }
}

/// Tracers that no instance can run: they have no `allow_instances` (`kernel/trace/{blktrace,trace_mmiotrace}.c`).
const TOP_ONLY: [&str; 2] = ["blk", "mmiotrace"];

/// Tracers that swap their buffer with another one when they meet a new maximum (`use_max_tr`); a buffer at a fixed
/// address has no other one.
const LATENCY: [&str; 6] = [
    "wakeup",
    "wakeup_rt",
    "wakeup_dl",
    "irqsoff",
    "preemptoff",
    "preemptirqsoff",
];

impl Trace {
    /// Nothing at all, in a buffer of this size.
    pub fn nothing(buffer_kib_per_cpu: u64) -> Self {
        Self {
            tracer: "nop".to_owned(),
            functions: Vec::new(),
            notrace: Vec::new(),
            graph_functions: Vec::new(),
            graph_notrace: Vec::new(),
            settings: Vec::new(),
            events: Vec::new(),
            pids: Vec::new(),
            reports: Vec::new(),
            buffer_kib_per_cpu,
            since: Since::Window,
            streamed: false,
        }
    }

    /// Whether the tracer keeps the trace of its longest latency, and shows it as text only.
    pub fn is_latency(&self) -> bool {
        LATENCY.contains(&self.tracer.as_str())
    }

    /// The buffer that this needs: the persistent one wherever that will do.
    pub fn buffer(&self) -> Buffer {
        match self.since {
            Since::BootTop => return Buffer::Top,
            Since::BootInstance => return Buffer::Persistent,
            Since::Window => {}
        }
        if TOP_ONLY.contains(&self.tracer.as_str()) {
            Buffer::Top
        } else if self.streamed
            || self.is_latency()
            || self.settings.iter().any(needs_ordinary_memory)
        {
            Buffer::Private
        } else {
            Buffer::Persistent
        }
    }
}

/// Whether a buffer at a fixed address refuses this, or dies of it: it has no snapshot, its size is fixed, and changing
/// `overwrite` oopses Linux 7.3.4.
fn needs_ordinary_memory(setting: &Setting) -> bool {
    let Setting { file, text, .. } = setting;
    let sizes = ["buffer_size_kb", "buffer_subbuf_size_kb", "snapshot"];
    sizes.iter().any(|name| file.ends_with(name))
        || file.ends_with("options/overwrite")
        || (file == "trace_options" && text.contains("overwrite"))
        || text.contains("snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(tracer: &str, settings: &[(&str, &str)], since: Since) -> Buffer {
        let settings = settings
            .iter()
            .map(|(file, text)| Setting::instance(file, text, How::Write));
        Trace {
            tracer: tracer.to_owned(),
            settings: settings.collect(),
            since,
            ..Trace::nothing(1024)
        }
        .buffer()
    }

    #[test]
    fn the_buffer_is_persistent_unless_the_kernel_cannot_do_that() {
        let window = Since::Window;
        for (tracer, settings, since, buffer) in [
            ("nop", &[][..], window, Buffer::Persistent),
            ("function_graph", &[], window, Buffer::Persistent),
            (
                "function",
                &[("trace_options", "stacktrace")],
                window,
                Buffer::Persistent,
            ),
            (
                "function",
                &[("trace_options", "nooverwrite")],
                window,
                Buffer::Private,
            ),
            (
                "nop",
                &[("options/overwrite", "0")],
                window,
                Buffer::Private,
            ),
            (
                "nop",
                &[("events/sched/sched_switch/trigger", "snapshot:1")],
                window,
                Buffer::Private,
            ),
            (
                "nop",
                &[("buffer_subbuf_size_kb", "8")],
                window,
                Buffer::Private,
            ),
            (
                "nop",
                &[("per_cpu/cpu0/buffer_size_kb", "8")],
                window,
                Buffer::Private,
            ),
            ("wakeup_rt", &[], window, Buffer::Private),
            ("irqsoff", &[], window, Buffer::Private),
            ("blk", &[], window, Buffer::Top),
            ("mmiotrace", &[], window, Buffer::Top),
            ("function", &[], Since::BootTop, Buffer::Top),
            ("nop", &[], Since::BootInstance, Buffer::Persistent),
        ] {
            assert_eq!(
                with(tracer, settings, since),
                buffer,
                "{tracer} {settings:?}"
            );
        }
    }
}
