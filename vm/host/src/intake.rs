// SPDX-License-Identifier: GPL-2.0-only

//! Takes a streamed trace as it comes: from a stream of frames to files in the run's folder.
//!
//! In: bytes of a peer that is not trusted. Out: files under a folder whose names come from a closed set, each CPU's
//! sub-buffers at the end of `streamed/cpu<N>`, and [`Received`]. Whatever is wrong with the stream ends it, and is in
//! [`Received::damage`]; what came before is kept.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use deferinit_protocol::frame::Decoder;
use deferinit_protocol::{FileKind, MAX_STREAM_CPUS, MAX_STREAM_PAYLOAD_BYTES, Message, VERSION};

use crate::results::{Received, is_of_guest, write_file};

/// Where the sub-buffers are, below the folder.
pub const STREAMED: &str = "streamed";

/// No kernel has as many events, and other files are few.
pub(crate) const MAX_FILES: usize = 50_000;

/// No run says as much besides its trace.
pub(crate) const MAX_MESSAGES: usize = 100_000;

/// Is shown each frame that is taken. It breaks when it wants no more, and is still shown the next ones.
pub type Sink<'a> = dyn FnMut(&Message, &[u8]) -> ControlFlow<()> + Send + 'a;

/// A stream that is being taken.
pub struct Intake {
    folder: PathBuf,
    max_bytes: u64,
    decoder: Decoder,
    received: Received,
    has_hello: bool,
    bytes: u64,
    messages: usize,
    files: BTreeSet<FileKind>,
}

impl Intake {
    /// Takes a stream of at most so many bytes into a folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: &Path, max_bytes: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            max_bytes,
            decoder: Decoder::new(MAX_STREAM_PAYLOAD_BYTES),
            received: Received::default(),
            has_hello: false,
            bytes: 0,
            messages: 0,
            files: BTreeSet::new(),
        }
    }

    /// What was received so far.
    #[must_use]
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Whether nothing more is taken: the last frame came, or something is wrong.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.received.is_ended() || self.received.damage.is_some()
    }

    /// Takes what came, and shows it to `sink`; breaks if that does, or when it [is over](Self::is_over).
    pub fn take(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> ControlFlow<()> {
        if self.is_over() {
            return ControlFlow::Break(());
        }
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.bytes > self.max_bytes {
            let limit = self.max_bytes;
            return self.damage(format!("the stream has more than {limit} bytes"));
        }
        self.decoder.push(bytes);
        let mut wants_more = ControlFlow::Continue(());
        loop {
            let (message, payload) = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return wants_more,
                Err(error) => {
                    let message = error.to_string();
                    return self.damage(message);
                }
            };
            if sink(&message, payload).is_break() {
                wants_more = ControlFlow::Break(());
            }
            let taken = Taking {
                folder: &self.folder,
                received: &mut self.received,
                has_hello: &mut self.has_hello,
                messages: &mut self.messages,
                files: &mut self.files,
            }
            .take(message, payload);
            if let Err(message) = taken {
                return self.damage(message);
            }
            if self.received.is_ended() {
                return ControlFlow::Break(());
            }
        }
    }

    /// Something is wrong that the caller has seen: the peer is silent, say.
    pub fn damage(&mut self, message: String) -> ControlFlow<()> {
        self.received.damage.get_or_insert(message);
        ControlFlow::Break(())
    }

    /// The stream is at its end.
    #[must_use]
    pub fn finish(mut self) -> Received {
        if !self.is_over()
            && let Err(error) = self.decoder.finish()
        {
            self.received.damage = Some(error.to_string());
        }
        self.received
    }
}

/// All but the decoder, which the payload borrows from.
struct Taking<'a> {
    folder: &'a Path,
    received: &'a mut Received,
    has_hello: &'a mut bool,
    messages: &'a mut usize,
    files: &'a mut BTreeSet<FileKind>,
}

impl Taking<'_> {
    fn take(self, message: Message, payload: &[u8]) -> Result<(), String> {
        match &message {
            Message::Hello { version, .. } => {
                if *self.has_hello {
                    return Err("the sender says hello twice".to_owned());
                }
                if *version != VERSION {
                    return Err(format!(
                        "the sender speaks version {version} of the protocol, this program {VERSION}"
                    ));
                }
                *self.has_hello = true;
            }
            // What an agent says that cannot go on, whatever it came to say before.
            Message::Failed { .. } => {}
            _ if !*self.has_hello => {
                return Err("the stream does not begin with a hello".to_owned());
            }
            Message::SubBuffers { cpu } => return self.sub_buffers(*cpu, payload),
            Message::AllRead => return Ok(()),
            _ => {
                *self.messages = self.messages.saturating_add(1);
                if !matches!(message, Message::File { .. }) && *self.messages > MAX_MESSAGES {
                    return Err(format!("the sender says more than {MAX_MESSAGES} things"));
                }
            }
        }
        let Some(file) = self.received.take(message) else {
            return Ok(());
        };
        let path = file
            .path()
            .filter(|_| is_of_guest(&file, MAX_STREAM_CPUS))
            .ok_or_else(|| format!("the sender has sent a file with the name {file:?}"))?;
        self.files.insert(file);
        if self.files.len() > MAX_FILES {
            return Err(format!("the sender has sent more than {MAX_FILES} files"));
        }
        write_file(&self.folder.join(path), payload).map_err(|error| format!("{error:#}"))
    }

    fn sub_buffers(&self, cpu: u32, payload: &[u8]) -> Result<(), String> {
        if cpu >= MAX_STREAM_CPUS {
            return Err(format!(
                "the sender has sent a trace of CPU {cpu}, which is not below {MAX_STREAM_CPUS}"
            ));
        }
        let folder = self.folder.join(STREAMED);
        let path = folder.join(format!("cpu{cpu}"));
        append(&folder, &path, payload)
            .with_context(|| format!("cannot write to {}", path.display()))
            .map_err(|error| format!("{error:#}"))
    }
}

/// Opened anew each time: a peer may have more CPUs than a process may have files.
fn append(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use deferinit_protocol::{Capture, PhaseEnd, frame};

    use super::*;

    fn hello(version: u32) -> Message {
        Message::Hello {
            version,
            kernel: "7.3.4".to_owned(),
            kernel_version: "#1".to_owned(),
            cpus: 1,
            clocksource: "tsc".to_owned(),
            high_resolution_timers: true,
            idle_tick_stops: true,
            capture: Capture::Streamed,
        }
    }

    fn stream(frames: &[(Message, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (message, payload) in frames {
            frame::encode_header(message, payload.len() as u64, &mut bytes).expect("a header");
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    /// Takes a stream in small pieces into a new folder, and tells how many frames were shown.
    fn take(bytes: &[u8], max_bytes: u64) -> (tempfile::TempDir, Received, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut intake = Intake::new(folder.path(), max_bytes);
        let mut shown = 0;
        for piece in bytes.chunks(7) {
            let flow = intake.take(piece, &mut |_, _| {
                shown += 1;
                ControlFlow::Continue(())
            });
            if flow.is_break() {
                break;
            }
        }
        (folder, intake.finish(), shown)
    }

    fn sub_buffers(cpu: u32) -> Message {
        Message::SubBuffers { cpu }
    }

    #[test]
    fn sub_buffers_are_put_behind_each_other_and_files_in_their_places() {
        let names = Message::File {
            file: FileKind::SavedCmdlines,
        };
        let bytes = stream(&[
            (hello(VERSION), b""),
            (sub_buffers(1), b"abc"),
            (names.clone(), b"1 old"),
            (Message::AllRead, b""),
            (sub_buffers(1), b"def"),
            (names, b"1 new"),
            (
                Message::Finished {
                    end: PhaseEnd::Complete,
                },
                b"",
            ),
        ]);
        let (folder, received, shown) = take(&bytes, 1 << 20);
        assert_eq!(received.damage, None);
        assert_eq!(received.end, Some(PhaseEnd::Complete));
        assert_eq!(shown, 7);
        let read = |name: &str| fs::read(folder.path().join(name)).expect("a file");
        assert_eq!(read("streamed/cpu1"), b"abcdef");
        assert_eq!(read("saved_cmdlines"), b"1 new");
    }

    #[test]
    fn a_stream_that_is_wrong_ends_and_what_came_before_is_kept() {
        let begin = [(hello(VERSION), &b""[..]), (sub_buffers(0), b"abc")];
        let path = |system: &str| Message::File {
            file: FileKind::Format {
                system: system.to_owned(),
                event: "x".to_owned(),
            },
        };
        let mut garbage = stream(&begin);
        garbage.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        let mut cut = stream(&begin);
        cut.extend(stream(&[(sub_buffers(0), b"def")]).iter().take(20));
        let with = |message: Message| stream(&[&begin[..], &[(message, b"x")]].concat());
        for (bytes, part) in [
            (garbage, "not with \"DFI1\""),
            (cut, "the results end at byte"),
            (with(hello(VERSION)), "hello twice"),
            (with(path("..")), "a file with the name"),
            (with(path("header_page")), "a file with the name"),
            (with(sub_buffers(MAX_STREAM_CPUS)), "CPU 1024"),
            (stream(&[&begin[..]; 40].concat()), "hello twice"),
        ] {
            let (folder, received, _) = take(&bytes, 1 << 20);
            let damage = received.damage.expect(part);
            assert!(damage.contains(part), "{damage}");
            let kept = fs::read(folder.path().join("streamed/cpu0")).expect("a file");
            assert_eq!(kept, b"abc", "{part}");
            assert_eq!(
                fs::read_dir(folder.path()).expect("a folder").count(),
                1,
                "{part}"
            );
        }
    }

    #[test]
    fn a_stream_of_another_kind_or_without_an_end_is_refused() {
        let endless = stream(&vec![(sub_buffers(0), &b"abc"[..]); 100]);
        let endless = [stream(&[(hello(VERSION), b"")]), endless].concat();
        for (bytes, part) in [
            (stream(&[(hello(VERSION + 1), b"")]), "speaks version"),
            (
                stream(&[(Message::AllRead, b"")]),
                "does not begin with a hello",
            ),
            (endless, "more than 1000 bytes"),
        ] {
            let (_folder, received, _) = take(&bytes, 1000);
            let damage = received.damage.expect(part);
            assert!(damage.contains(part), "{damage}");
        }
    }
}
