// SPDX-License-Identifier: GPL-2.0-only

//! What the agent sent: from a stream of frames to files in the run's folder.
//!
//! In: the stream, from a guest that is not trusted. Out: [`Received`], and files under `trace/`
//! whose names come from a closed set.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use deferinit_protocol::{Capture, CommandEnd, FileKind, Message, PhaseEnd, Section, frame};

use crate::intake::{MAX_FILES, MAX_MESSAGES};

/// What the agent said, besides files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// `uname -r` of the guest.
    pub kernel: Option<String>,
    /// What its times rest on.
    pub timers: Option<Timers>,
    /// How many CPUs were online.
    pub cpus: Option<u32>,
    /// How the trace was recorded.
    pub capture: Option<Capture>,
    /// Where modules were loaded, in the order of their loads.
    pub modules: Vec<Module>,
    /// The phase that was begun last.
    pub last_phase: Option<String>,
    /// How the window ended, if the agent got that far.
    pub end: Option<PhaseEnd>,
    /// How the commands of phases ended, in their order.
    pub commands: Vec<CommandResult>,
    /// The files that are not whole, by their paths below `trace/`, and how much of them there is.
    pub cut: Vec<(String, u64)>,
    /// Why the agent gave up, if it did.
    pub failure: Option<Failure>,
    /// What is wrong with the stream, if anything.
    pub damage: Option<String>,
}

/// What a guest's times rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The clocksource.
    pub clocksource: String,
    /// Whether every CPU's timers have a finer resolution than a tick.
    pub high_resolution: bool,
    /// Whether the tick of an idle CPU stops.
    pub idle_tick_stops: bool,
}

/// Why the agent gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The guest's kernel cannot do what is asked for.
    Unsupported {
        /// What it cannot do.
        what: String,
        /// The option of its configuration that would make it.
        option: Option<String>,
    },
    /// The guest's kernel refused a setting.
    Refused(String),
    /// A pattern matches no function.
    NoFunction {
        /// The file that it was written to.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// Anything else.
    Failed(String),
}

/// How the command of a phase ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// The phase.
    pub phase: String,
    /// How.
    pub end: CommandEnd,
}

/// A module that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its sections.
    pub sections: Vec<Section>,
}

/// Goes through the stream of a guest with `cpus` CPUs and writes the files below `folder`.
///
/// # Errors
/// If a file cannot be written. What is wrong with the stream itself is in [`Received::damage`].
pub(crate) fn receive(stream: &[u8], cpus: u32, folder: &Path) -> Result<Received> {
    let mut received = Received::default();
    let mut files: BTreeMap<FileKind, Vec<u8>> = BTreeMap::new();
    let mut messages = 0usize;
    for item in frame::decode(stream) {
        let (message, payload) = match item {
            Ok(frame) => frame,
            Err(error) => {
                received.damage = Some(error.to_string());
                break;
            }
        };
        messages = messages.saturating_add(1);
        if files.len() > MAX_FILES || messages > MAX_FILES + MAX_MESSAGES {
            let (files, messages) = (MAX_FILES, MAX_FILES + MAX_MESSAGES);
            received.damage = Some(format!(
                "the agent sent more than {files} files or {messages} messages"
            ));
            break;
        }
        match received.take(message) {
            // A drained buffer comes in pieces.
            Some(file @ FileKind::Raw { cpu: _ }) => {
                files.entry(file).or_default().extend_from_slice(payload);
            }
            Some(file) => {
                files.insert(file, payload.to_vec());
            }
            None => {}
        }
    }
    for (file, content) in files {
        let Some(path) = file.path().filter(|_| is_of_guest(&file, cpus)) else {
            received.damage = Some(format!("the agent sent a file with the name {file:?}"));
            continue;
        };
        write_file(&folder.join(path), &content)?;
    }
    Ok(received)
}

impl Received {
    /// Takes what a message says. Gives back the file that the frame's payload is.
    pub(crate) fn take(&mut self, message: Message) -> Option<FileKind> {
        match message {
            Message::Hello {
                version: _,
                kernel,
                kernel_version: _,
                cpus,
                clocksource,
                high_resolution_timers: high_resolution,
                idle_tick_stops,
                capture,
            } => {
                self.kernel = Some(kernel);
                self.cpus = Some(cpus);
                self.timers = Some(Timers {
                    clocksource,
                    high_resolution,
                    idle_tick_stops,
                });
                self.capture = Some(capture);
            }
            Message::PhaseBegun { name } => self.last_phase = Some(name),
            Message::ModuleLoaded { module, sections } => {
                self.modules.push(Module {
                    name: module,
                    sections,
                });
            }
            // What the kernel returned stands in the trace as well, with its time. What is streamed is not kept here.
            Message::PhaseEnded {
                name: _,
                loaded: _,
                unloaded: _,
            }
            | Message::SubBuffers { cpu: _ }
            | Message::AllRead => {}
            Message::File { file } => return Some(file),
            Message::CommandEnded { phase, end } => {
                self.commands.push(CommandResult { phase, end });
            }
            Message::Cut { file, bytes } => self.cut.extend(file.path().map(|path| (path, bytes))),
            Message::Finished { end } => self.end = Some(end),
            Message::Unsupported { what, option } => {
                self.failure = Some(Failure::Unsupported { what, option });
            }
            Message::Refused { message } => self.failure = Some(Failure::Refused(message)),
            Message::NoFunction { file, pattern } => {
                self.failure = Some(Failure::NoFunction { file, pattern });
            }
            Message::Failed { message } => self.failure = Some(Failure::Failed(message)),
        }
        None
    }

    /// Whether the last frame came.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.end.is_some() || self.failure.is_some()
    }
}

/// Whether a guest with `cpus` CPUs has this file, and it is in nobody else's place.
pub(crate) fn is_of_guest(file: &FileKind, cpus: u32) -> bool {
    match file {
        FileKind::Stats { cpu } | FileKind::Raw { cpu } => *cpu < cpus,
        FileKind::Format { system, event: _ } => {
            system != "header_page" && system != "header_event"
        }
        FileKind::HeaderPage
        | FileKind::HeaderEvent
        | FileKind::SavedCmdlines
        | FileKind::Kallsyms
        | FileKind::PrintkFormats
        | FileKind::TraceClock
        | FileKind::Results { phase: _ }
        | FileKind::Rounds { phase: _ }
        | FileKind::Functions
        | FileKind::Output { phase: _ }
        | FileKind::Report { scope: _, file: _ }
        | FileKind::AvailableFunctions
        | FileKind::Dmesg
        | FileKind::Stacks
        | FileKind::Kmemleak => true,
    }
}

pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(message: &Message, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode_header(message, payload.len() as u64, &mut bytes).expect("a header");
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn files_are_written_and_the_end_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let format = FileKind::Format {
            system: "sched".to_owned(),
            event: "sched_switch".to_owned(),
        };
        let mut stream = frame_of(&Message::File { file: format }, b"name: sched_switch");
        stream.extend(frame_of(
            &Message::Finished {
                end: PhaseEnd::Complete,
            },
            b"",
        ));
        let received = receive(&stream, 1, folder.path()).expect("written");
        assert_eq!(received.end, Some(PhaseEnd::Complete));
        assert_eq!(received.damage, None);
        let content = fs::read(folder.path().join("formats/sched/sched_switch")).expect("a file");
        assert_eq!(content, b"name: sched_switch");
    }

    #[test]
    fn a_file_that_the_guest_cannot_have_is_damage_and_writes_nothing() {
        let format = |system: &str| FileKind::Format {
            system: system.to_owned(),
            event: "x".to_owned(),
        };
        for file in [
            format(".."),
            format("header_page"),
            FileKind::Stats { cpu: 1 },
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let stream = frame_of(&Message::File { file: file.clone() }, b"");
            let received = receive(&stream, 1, folder.path()).expect("nothing to write");
            assert!(received.damage.is_some(), "{file:?}");
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        }
    }

    #[test]
    fn a_cut_stream_keeps_what_came_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut stream = frame_of(
            &Message::PhaseBegun {
                name: "main".to_owned(),
            },
            b"",
        );
        stream.extend(
            frame_of(
                &Message::File {
                    file: FileKind::Dmesg,
                },
                b"a log",
            )
            .iter()
            .take(30),
        );
        let received = receive(&stream, 1, folder.path()).expect("nothing to write");
        assert_eq!(received.last_phase.as_deref(), Some("main"));
        assert!(
            received
                .damage
                .expect("damage")
                .starts_with("the results end at byte ")
        );
        assert_eq!(received.end, None);
    }
}
