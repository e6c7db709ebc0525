// SPDX-License-Identifier: GPL-2.0-only

//! What the agent tells the harness.

use serde::{Deserialize, Serialize};

use crate::Scope;

/// One frame's header. Only [`Message::File`] and [`Message::SubBuffers`] have a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Message {
    /// The first frame: who speaks, and what clock the kernel runs on.
    Hello {
        /// [`crate::VERSION`] of the agent.
        version: u32,
        /// `uname -r`.
        kernel: String,
        /// `uname -v`.
        kernel_version: String,
        /// How many CPUs are online.
        cpus: u32,
        /// The current clocksource.
        clocksource: String,
        /// Whether timers have a finer resolution than a tick.
        high_resolution_timers: bool,
        /// Whether the tick of an idle CPU stops.
        idle_tick_stops: bool,
        /// How the trace is recorded.
        capture: Capture,
    },
    /// A phase was begun.
    PhaseBegun {
        /// Its name.
        name: String,
    },
    /// A module was loaded; where its sections lie, so that addresses get names.
    ModuleLoaded {
        /// The module's name.
        module: String,
        /// The sections.
        sections: Vec<Section>,
    },
    /// A phase was gone through.
    PhaseEnded {
        /// Its name.
        name: String,
        /// What `finit_module` returned: 0 or a negative errno.
        loaded: i32,
        /// What `delete_module` returned: 0 or a negative errno; `None` if there was nothing to
        /// unload.
        unloaded: Option<i32>,
    },
    /// The command of a phase came to its end.
    CommandEnded {
        /// The phase.
        phase: String,
        /// How.
        end: CommandEnd,
    },
    /// A file of the guest; its content is the payload.
    File {
        /// Which file.
        file: FileKind,
    },
    /// Sub-buffers of a CPU in a trace that is streamed, oldest first; the payload is whole ones, with nothing between.
    SubBuffers {
        /// The CPU.
        cpu: u32,
    },
    /// Every CPU was read once more, until it had nothing more.
    AllRead,
    /// A file that was sent is not all there was.
    Cut {
        /// Which file.
        file: FileKind,
        /// How many bytes of it were sent.
        bytes: u64,
    },
    /// The last frame: everything was sent.
    Finished {
        /// How the measured window ended.
        end: PhaseEnd,
    },
    /// The last frame: the kernel of the guest cannot do what is asked for.
    Unsupported {
        /// What it cannot do.
        what: String,
        /// The option of its configuration that would make it, if that is known.
        option: Option<String>,
    },
    /// The last frame: the kernel refused a setting, or a filter matches nothing.
    Refused {
        /// What was written where, and what the kernel says.
        message: String,
    },
    /// The last frame: a pattern matches no function of the kernel; what it could have matched was sent as
    /// [`FileKind::AvailableFunctions`].
    NoFunction {
        /// The file that it was written to.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// The last frame: the agent could not go on.
    Failed {
        /// What it was doing, and why it failed.
        message: String,
    },
}

/// Where a section of the module was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Its name, as `.text`.
    pub name: String,
    /// Its address in the guest.
    pub address: u64,
}

/// How the measured window ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PhaseEnd {
    /// Every phase was gone through.
    Complete,
    /// The host asked to stop.
    Stopped,
    /// The deadline in guest time passed.
    Deadline {
        /// What the agent was waiting for.
        waiting_for: String,
    },
}

/// How a command came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandEnd {
    /// It exited with this status; with 127 if it could not be run at all, as its output says.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
}

/// How the trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capture {
    /// In an instance at a fixed address of guest RAM, which the host reads.
    Persistent,
    /// In an ordinary instance, sent as [`FileKind::Raw`] after the window.
    Drained,
    /// In an ordinary instance, sent as [`Message::SubBuffers`] while it is made.
    Streamed,
}

/// What the rounds of a phase came to; every one of them did what it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundsRecord {
    /// How many there were.
    pub rounds: u32,
    /// After how many of them memory was measured for the first time.
    pub warm_up: u32,
    /// The bytes that the kernel had in use then.
    pub memory_before: u64,
    /// The bytes that it had in use after the last round.
    pub memory_after: u64,
}

/// A file of the guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FileKind {
    /// `events/header_page`.
    HeaderPage,
    /// `events/header_event`.
    HeaderEvent,
    /// `events/<system>/<event>/format`.
    Format {
        /// The event's system.
        system: String,
        /// The event.
        event: String,
    },
    /// `per_cpu/cpu<N>/stats`.
    Stats {
        /// The CPU.
        cpu: u32,
    },
    /// `per_cpu/cpu<N>/trace_pipe_raw`, where the instance is not persistent.
    Raw {
        /// The CPU.
        cpu: u32,
    },
    /// `saved_cmdlines`.
    SavedCmdlines,
    /// `/proc/kallsyms`, where the receiver cannot know it.
    Kallsyms,
    /// `printk_formats`.
    PrintkFormats,
    /// `trace_clock`.
    TraceClock,
    /// `set_ftrace_filter`, read while the module was loaded: what the globs matched.
    Functions,
    /// The module's own record of a phase, `results` in its folder.
    Results {
        /// The phase.
        phase: String,
    },
    /// What the rounds of a phase came to: a [`RoundsRecord`] as JSON.
    Rounds {
        /// The phase.
        phase: String,
    },
    /// What the command of a phase printed, to both of its outputs.
    Output {
        /// The phase.
        phase: String,
    },
    /// A text file of the kernel's, as the plan asks for it.
    Report {
        /// Below which folder it was.
        scope: Scope,
        /// Its path there.
        file: String,
    },
    /// `available_filter_functions`, where a pattern has matched none of them.
    AvailableFunctions,
    /// The kernel log.
    Dmesg,
    /// The stacks of all tasks at the deadline, as the kernel prints them.
    Stacks,
    /// What kmemleak found.
    Kmemleak,
}

impl FileKind {
    /// Where the file belongs, relative to the `trace` folder of a run.
    ///
    /// `None` if a name in it is not one of a trace event or a phase: letters, digits, `_` and `-`,
    /// at most 64 of them; in a report's, `.` as well, but not first.
    pub fn path(&self) -> Option<String> {
        let fixed = match self {
            FileKind::HeaderPage => "formats/header_page",
            FileKind::HeaderEvent => "formats/header_event",
            FileKind::Format { system, event } => {
                return (is_name(system) && is_name(event))
                    .then(|| format!("formats/{system}/{event}"));
            }
            FileKind::Results { phase } => {
                return is_name(phase).then(|| format!("results/{phase}"));
            }
            FileKind::Rounds { phase } => {
                return is_name(phase).then(|| format!("rounds/{phase}"));
            }
            FileKind::Output { phase } => {
                return is_name(phase).then(|| format!("output/{phase}"));
            }
            FileKind::Report { scope, file } => {
                return (file.len() <= MAX_REPORT_PATH && file.split('/').all(is_file_name))
                    .then(|| format!("reports/{}/{file}", scope.word()));
            }
            FileKind::Stats { cpu } => return Some(format!("stats/cpu{cpu}")),
            FileKind::Raw { cpu } => return Some(format!("raw/cpu{cpu}")),
            FileKind::SavedCmdlines => "saved_cmdlines",
            FileKind::Kallsyms => "kallsyms",
            FileKind::PrintkFormats => "printk_formats",
            FileKind::TraceClock => "trace_clock",
            FileKind::Functions => "functions",
            FileKind::AvailableFunctions => "available_filter_functions",
            FileKind::Dmesg => "dmesg",
            FileKind::Stacks => "stacks",
            FileKind::Kmemleak => "kmemleak",
        };
        Some(fixed.to_owned())
    }
}

/// No file of the kernel's has a longer path.
const MAX_REPORT_PATH: usize = 512;

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn is_file_name(name: &str) -> bool {
    is_name(&name.replace('.', "_")) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_have_no_path() {
        for (system, event) in [("..", "x"), ("a/b", "x"), ("sched", ""), ("sched", "x\0")] {
            let file = FileKind::Format {
                system: system.to_owned(),
                event: event.to_owned(),
            };
            assert_eq!(file.path(), None, "{system:?} {event:?}");
        }
        let phase = "../main".to_owned();
        assert_eq!(
            FileKind::Rounds {
                phase: phase.clone()
            }
            .path(),
            None
        );
        assert_eq!(FileKind::Results { phase }.path(), None);
        let long = "x".repeat(65);
        assert_eq!(
            FileKind::Format {
                system: long,
                event: "x".to_owned()
            }
            .path(),
            None
        );
    }

    #[test]
    fn reports_lie_below_their_scope_and_never_elsewhere() {
        for (file, path) in [
            ("trace", Some("reports/top/trace")),
            (
                "trace_stat/function0",
                Some("reports/top/trace_stat/function0"),
            ),
            (
                "events/sched/sched_switch/hist",
                Some("reports/top/events/sched/sched_switch/hist"),
            ),
            ("a.b", Some("reports/top/a.b")),
            ("../trace", None),
            ("a/../b", None),
            ("a//b", None),
            ("/trace", None),
            (".trace", None),
            ("", None),
            (&"a/".repeat(300), None),
        ] {
            let kind = FileKind::Report {
                scope: Scope::Top,
                file: file.to_owned(),
            };
            assert_eq!(kind.path().as_deref(), path, "{file:?}");
        }
        let output = |phase: &str| FileKind::Output {
            phase: phase.to_owned(),
        };
        assert_eq!(output("main").path().as_deref(), Some("output/main"));
        assert_eq!(output("..").path(), None);
    }

    #[test]
    fn formats_lie_below_their_system() {
        let file = FileKind::Format {
            system: "sched".to_owned(),
            event: "sched_switch".to_owned(),
        };
        assert_eq!(file.path().as_deref(), Some("formats/sched/sched_switch"));
    }
}
