// SPDX-License-Identifier: GPL-2.0-only

//! Sends the trace while it is made, from a thread that is not in it.
//!
//! In: an instance that is armed. Out: rounds of sub-buffers, as the protocol has them. What the thread does to the
//! machine is there all the same: it takes time, and the kernel switches to it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use deferinit_protocol::{FileKind, Message, STREAM_INTERVAL};

use crate::pipe::Pipe;
use crate::results::{Results, read_file};
use crate::settings::TRACEFS;
use crate::tracing::Instance;

/// The thread that sends.
pub(crate) struct Streaming {
    /// Dropped to end it.
    goes_on: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Streaming {
    /// Starts it; from then on, it is left out of the trace.
    pub(crate) fn start(instance: &Instance, results: &Results) -> Result<Self> {
        let pipes = instance.pipes()?;
        let results = results.clone();
        let (goes_on, ends) = channel();
        let (tell, told) = channel();
        let thread = thread::Builder::new()
            .name("stream".to_owned())
            .spawn(move || {
                tell.send(nix::unistd::gettid().as_raw())
                    .context("nobody waits for the number of the thread")?;
                let mut rounds = Rounds {
                    pipes,
                    results,
                    names: Vec::new(),
                };
                loop {
                    match ends.recv_timeout(STREAM_INTERVAL) {
                        Err(RecvTimeoutError::Timeout) => rounds.send()?,
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                }
            })
            .context("cannot start the thread that streams the trace")?;
        let streaming = Self { goes_on, thread };
        let left_out = told
            .recv()
            .context("the thread that streams the trace died")
            .and_then(|task| instance.leave_out(task));
        match left_out {
            Ok(()) => Ok(streaming),
            Err(error) => {
                // What it has open would keep the instance from being removed.
                drop(streaming.finish());
                Err(error)
            }
        }
    }

    /// Ends it; what it has not sent is still in the instance.
    pub(crate) fn finish(self) -> Result<()> {
        drop(self.goes_on);
        self.thread
            .join()
            .map_err(|_| anyhow!("the thread that streams the trace died"))?
    }
}

struct Rounds {
    pipes: Vec<Pipe>,
    results: Results,
    /// What was sent last of `saved_cmdlines`.
    names: Vec<u8>,
}

impl Rounds {
    /// Reads every CPU once.
    fn send(&mut self) -> Result<()> {
        let path = format!("{TRACEFS}/saved_cmdlines");
        let names = read_file(&path).with_context(|| format!("cannot read {path}"))?;
        if names != self.names {
            self.results.send_bytes(FileKind::SavedCmdlines, &names)?;
            self.names = names;
        }
        for pipe in &mut self.pipes {
            let cpu = pipe.cpu;
            pipe.catch_up(|piece| self.results.send_sub_buffers(cpu, piece))?;
        }
        self.results.send(&Message::AllRead)
    }
}
