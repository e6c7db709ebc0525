// SPDX-License-Identifier: GPL-2.0-only

//! QEMU's monitor: lets the guest run, and listens.
//!
//! Nothing is sent once the guest runs, but to a guest whose run is over: the monitor's thread and the guest's would
//! meet at a different instruction each time. Every line from QEMU is logged.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qapi::{Qmp, Stream, qmp};

/// How long QEMU may take to answer before the guest runs.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// What QEMU said about the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest's kernel panicked.
    Panicked,
    /// The guest's CPU was reset.
    Reset,
    /// It has answered what it was told.
    Answered,
}

/// Who lets the guest run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    /// We do, at once.
    Us,
    /// A debugger, when it likes.
    Debugger,
}

/// The connection to a QEMU whose guest runs, or will.
pub(crate) struct Ear {
    /// What QEMU says; closed when QEMU closes the socket, that is when it exits.
    pub(crate) events: Receiver<Event>,
    socket: UnixStream,
}

impl Ear {
    /// Gives every CPU of the guest an interrupt that it cannot mask. Whether QEMU has answered in time: one that is
    /// stopped or stuck does not.
    pub(crate) fn inject_nmi(&self, answer_within: Duration) -> bool {
        // A QEMU that takes no word does not answer either.
        drop((&self.socket).write_all(b"{\"execute\":\"inject-nmi\"}\n"));
        let deadline = Instant::now() + answer_within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Answered) => return true,
                Ok(Event::Panicked | Event::Reset) => {}
                // One that is gone is not stuck.
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

/// The connection, before the guest runs.
pub(crate) struct Monitor {
    socket: UnixStream,
    log: File,
}

impl Monitor {
    /// Uses our end of the socket; what QEMU says goes to `log` as well.
    pub(crate) fn new(socket: UnixStream, log: File) -> Self {
        Self { socket, log }
    }

    /// Negotiates, lets the guest run if that is ours to do, and returns what is heard from then on.
    pub(crate) fn let_run(self, starter: Starter) -> Result<Ear> {
        let Self { socket, log } = self;
        socket
            .set_read_timeout(Some(ANSWER_DEADLINE))
            .context("cannot set a deadline")?;
        let reading = socket
            .try_clone()
            .context("cannot share the monitor's socket")?;
        let listening = socket
            .try_clone()
            .context("cannot share the monitor's socket")?;
        let mut reader = BufReader::new(reading);
        // A signal, such as Ctrl-C, is no answer: the flag that it sets is looked at later.
        while let Err(error) = reader.fill_buf()
            && error.kind() == ErrorKind::Interrupted
        {}
        // The crate panics where there is no greeting.
        let greeting = reader.fill_buf().context("QEMU's monitor did not answer")?;
        ensure!(!greeting.is_empty(), "QEMU closed its monitor at once");
        let mut monitor = Qmp::new(Stream::new(reader, socket));
        monitor
            .handshake()
            .context("QEMU's monitor did not answer")?;
        if starter == Starter::Us {
            monitor
                .execute(&qmp::cont {})
                .context("QEMU would not let the guest run")?;
        }
        // Events may have come between the two; a guest that has not run cannot have panicked, and
        // what the reader has buffered beyond them goes on to the listener.
        let (reader, _) = monitor.into_inner().into_inner();
        listening
            .set_read_timeout(None)
            .context("cannot lift the deadline")?;
        listening
            .set_write_timeout(Some(ANSWER_DEADLINE))
            .context("cannot set a deadline")?;

        let (sender, receiver) = channel();
        thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(move || {
                // Whoever waits may have stopped waiting.
                listen(reader, log, |event| sender.send(event).unwrap_or_default());
            })
            .context("cannot start the thread that listens to the monitor")?;
        Ok(Ear {
            events: receiver,
            socket: listening,
        })
    }
}

/// Reads lines until the socket is closed.
fn listen(reader: impl BufRead, mut log: File, mut heard: impl FnMut(Event)) {
    for line in reader.lines() {
        let Ok(line) = line else { return };
        // A log that cannot be written costs evidence, not the run.
        drop(writeln!(log, "{line}"));
        if let Some(event) = parse(&line) {
            heard(event);
        }
    }
}

/// Events that are new to us, or no concern of ours, are `None`.
fn parse(line: &str) -> Option<Event> {
    match serde_json::from_str(line).ok()? {
        qmp::QmpMessageAny::Event(qmp::Event::GUEST_PANICKED { .. }) => Some(Event::Panicked),
        qmp::QmpMessageAny::Event(qmp::Event::SHUTDOWN { data, .. }) => {
            (data.reason == qmp::ShutdownCause::guest_reset).then_some(Event::Reset)
        }
        qmp::QmpMessageAny::Response(_) => Some(Event::Answered),
        qmp::QmpMessageAny::Event(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_a_reset_and_an_answer_are_heard_and_nothing_else() {
        let panic = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}"#;
        assert_eq!(parse(panic), Some(Event::Panicked));
        let shutdown = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#;
        assert_eq!(parse(shutdown), None);
        let reset = shutdown.replace("guest-shutdown", "guest-reset");
        assert_eq!(parse(&reset), Some(Event::Reset));
        assert_eq!(parse(r#"{"return": {}}"#), Some(Event::Answered));
        assert_eq!(parse("no json"), None);
        assert_eq!(parse(r#"{"event": "FROM_THE_FUTURE"}"#), None);
    }
}
