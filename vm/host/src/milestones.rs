// SPDX-License-Identifier: GPL-2.0-only

//! When a run got where, on the host's clock.
//!
//! In: the file that the guest's results go to, while it grows. Out: [`Milestones`]. It is read beside the run, in a
//! thread of its own, and nothing is sent: the guest does not feel it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use deferinit_protocol::Message;
use deferinit_protocol::frame::{Decoder, MAX_PAYLOAD_BYTES};

use crate::argv::RESULTS;

/// How often the file is looked at, and so how exact a milestone is.
const POLL: Duration = Duration::from_millis(5);

/// So much is read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// When a run got where; `None` where it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Milestones {
    /// The agent said its first word: the guest has booted.
    pub agent_ready: Option<Instant>,
    /// The first phase was begun: tracing is armed.
    pub first_phase_begun: Option<Instant>,
    /// The last phase was ended.
    pub last_phase_ended: Option<Instant>,
}

/// Looks for milestones until it is asked for them.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Milestones>,
}

impl Watch {
    /// Begins to watch a run in this folder, which has not begun.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(folder: &Path) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let path = folder.join("vm").join(RESULTS);
        let thread = thread::Builder::new()
            .name("milestones".to_owned())
            .spawn(move || watch(&path, &until))
            .context("cannot start the thread that looks for milestones")?;
        Ok(Self { stop, thread })
    }

    /// What was seen, once the run has ended.
    ///
    /// # Errors
    /// If the thread has died.
    pub fn finish(self) -> Result<Milestones> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let seen = self.thread.join();
        seen.map_err(|_| anyhow!("the thread that looks for milestones died"))
    }
}

fn watch(path: &PathBuf, stop: &AtomicBool) -> Milestones {
    let mut milestones = Milestones::default();
    let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
    let mut file = None;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        // What was written before the run ended is looked at once more after it.
        let is_last = stop.load(Ordering::Relaxed);
        file = file.or_else(|| File::open(path).ok());
        while let Some(length) = file.as_mut().and_then(|file| file.read(&mut piece).ok()) {
            if length == 0 {
                break;
            }
            decoder.push(piece.get(..length).unwrap_or_default());
            if !milestones.take(&mut decoder) {
                return milestones;
            }
        }
        if is_last {
            return milestones;
        }
        thread::park_timeout(POLL);
    }
}

impl Milestones {
    /// Takes the frames that have come; whether there may be more that can be read.
    fn take(&mut self, decoder: &mut Decoder) -> bool {
        let now = Instant::now();
        loop {
            let message = match decoder.next_frame() {
                Ok(Some((message, _))) => message,
                Ok(None) => return true,
                // The run's own reader says what is wrong.
                Err(_) => return false,
            };
            self.agent_ready.get_or_insert(now);
            match message {
                Message::PhaseBegun { .. } => {
                    self.first_phase_begun.get_or_insert(now);
                }
                Message::PhaseEnded { .. } => self.last_phase_ended = Some(now),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use deferinit_protocol::frame::encode_header;

    use super::*;

    fn frame(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_header(message, 0, &mut bytes).expect("a frame");
        bytes
    }

    fn begun() -> Vec<u8> {
        frame(&Message::PhaseBegun {
            name: "main".to_owned(),
        })
    }

    fn ended() -> Vec<u8> {
        frame(&Message::PhaseEnded {
            name: "main".to_owned(),
            loaded: 0,
            unloaded: Some(0),
        })
    }

    fn seen(content: Option<&[u8]>) -> Milestones {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("vm")).expect("a folder");
        let watch = Watch::start(folder.path()).expect("a thread");
        if let Some(content) = content {
            fs::write(folder.path().join("vm").join(RESULTS), content).expect("a file");
        }
        watch.finish().expect("milestones")
    }

    #[test]
    fn what_came_before_the_end_is_seen_and_what_did_not_come_is_not() {
        assert_eq!(seen(None), Milestones::default());
        let all = seen(Some(&[begun(), ended()].concat()));
        assert!(all.agent_ready <= all.first_phase_begun, "{all:?}");
        assert!(all.first_phase_begun <= all.last_phase_ended, "{all:?}");
        assert!(all.agent_ready.is_some());
        let half = begun();
        let cut = seen(Some(&[&half[..], &ended()[..20]].concat()));
        assert!(cut.first_phase_begun.is_some());
        assert_eq!(cut.last_phase_ended, None);
        assert_eq!(seen(Some(b"no frames at all")), Milestones::default());
    }
}
