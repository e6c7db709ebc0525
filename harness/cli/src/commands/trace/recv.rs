// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace recv`: receives a trace that another machine streams.
//!
//! In: one connection, from a sender that is not trusted. Out: a folder with a trace.dat of all that came, and the
//! records on standard output if they are wanted.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use deferinit_ftrace::stats::Stats;
use deferinit_host::{Failure as SenderFailure, Intake, Received};
use deferinit_protocol::{CommandEnd, FileKind, Message, RECEIVED};
use serde::Serialize;

use crate::args::live::{Listen, Recv};
use crate::exit::{self, Failure, PASSED, TRACE, UNRESOLVED, complain};
use crate::live::Printer;
use crate::output::Output;
use crate::pipeline::{self, LeftByStream};

/// How often a wait looks at what can only be polled: the user's Ctrl-C.
const POLL: Duration = Duration::from_millis(50);

/// So much is taken at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// `recv.json`: what was received, and what came of it.
#[derive(Serialize)]
struct Summary<'a> {
    format_version: u32,
    /// How the stream ended, in one word.
    ending: &'static str,
    message: Option<&'a str>,
    /// `uname -r` of the sender.
    kernel: Option<&'a str>,
    /// None if it has not ended.
    command_end: Option<CommandEnd>,
    /// In the trace.
    records: u64,
    /// By the kernel's own count; none if the sender did not come to say.
    lost: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Recv, interrupted: &AtomicBool) -> Result<u8, Failure> {
    let socket = Socket::listen(&arguments.listen).map_err(Failure::usage)?;
    let output = Output::create(arguments.out.as_deref(), None)?;
    complain(&format!("Waiting for a sender at {}", socket.place()));
    let deadline = Instant::now() + duration(arguments.wait.0);
    let Some(mut sender) = socket
        .accept(deadline, interrupted)
        .map_err(Failure::setup)?
    else {
        complain(&"error: no sender has connected");
        return Ok(UNRESOLVED);
    };
    drop(socket);
    let folder = output.keep();
    let mut printer = if arguments.print {
        let kallsyms_of = Box::new(|_: &[_], text| Ok(text_of(text)));
        Some(Printer::start(arguments.shown, kallsyms_of).map_err(Failure::setup)?)
    } else {
        None
    };
    let mut intake = Intake::new(&folder.join("trace"), arguments.max_size.0);
    let limits = Limits {
        idle: duration(arguments.idle.0),
        end: Instant::now() + duration(arguments.max_time.0),
    };
    receive(
        &mut *sender,
        &mut intake,
        &limits,
        interrupted,
        |message, payload| {
            // A reader who has seen enough does not end what is received.
            if let Some(printer) = &mut printer {
                let _ = printer.show(message, payload);
            }
        },
    );
    drop(sender);
    let received = intake.finish();
    let printed = printer.map_or(Ok(()), Printer::finish);
    let code = conclude(arguments, &folder, &received)?;
    printed.map(|()| code)
}

/// A connection.
trait Sender: Read + Write {}

impl<T: Read + Write> Sender for T {}

/// How long a sender may take.
struct Limits {
    idle: Duration,
    end: Instant,
}

/// Takes what comes until there is no more, or until that is enough.
fn receive(
    sender: &mut dyn Sender,
    intake: &mut Intake,
    limits: &Limits,
    interrupted: &AtomicBool,
    mut show: impl FnMut(&Message, &[u8]) + Send,
) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut heard = Instant::now();
    let mut sink = |message: &Message, payload: &[u8]| {
        show(message, payload);
        ControlFlow::Continue(())
    };
    loop {
        if interrupted.load(Ordering::Relaxed) {
            let _ = intake.damage("interrupted by the user".to_owned());
            return;
        }
        if Instant::now() > limits.end {
            let _ = intake.damage("the sender has taken too long (--max-time)".to_owned());
            return;
        }
        match sender.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                let bytes = piece.get(..length).unwrap_or_default();
                if intake.take(bytes, &mut sink).is_break() {
                    if intake.received().is_ended() {
                        // One that does not wait for this has gone already.
                        drop(sender.write_all(&[RECEIVED]));
                    }
                    return;
                }
                // Taking may have waited for a reader of what is printed.
                heard = Instant::now();
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if heard.elapsed() > limits.idle {
                    let seconds = limits.idle.as_secs_f64();
                    let _ =
                        intake.damage(format!("the sender was silent for {seconds} s (--idle)"));
                    return;
                }
            }
            Err(error) => {
                let _ = intake.damage(format!("the connection broke: {error}"));
                return;
            }
        }
    }
}

/// Makes the trace.dat, and says what came of it.
fn conclude(arguments: &Recv, folder: &Path, received: &Received) -> Result<u8, Failure> {
    let kallsyms = FileKind::Kallsyms
        .path()
        .and_then(|path| fs::read(folder.join("trace").join(path)).ok());
    let kallsyms = text_of(kallsyms.unwrap_or_default());
    let left = pipeline::finish_stream(folder, &kallsyms, received).map_err(Failure::setup)?;
    let lost = left.statistics.values().map(Stats::lost);
    let lost = (!left.statistics.is_empty()).then(|| lost.fold(0, u64::saturating_add));
    let Verdict {
        code,
        word,
        message,
    } = verdict(received, &left, lost);
    let command_end = received.commands.first().map(|command| command.end);
    let summary = Summary {
        format_version: 1,
        ending: word,
        message: message.as_deref(),
        kernel: received.kernel.as_deref(),
        command_end,
        records: left.records,
        lost,
    };
    pipeline::write_json(folder, "recv.json", &summary).map_err(Failure::setup)?;
    let mut path = pipeline::trace_dat_of(folder);
    if let Some(copy) = arguments.output.as_deref().filter(|_| left.has_trace) {
        fs::copy(&path, copy)
            .with_context(|| format!("cannot write {}", copy.display()))
            .map_err(Failure::setup)?;
        path = copy.to_owned();
    }
    match lost {
        Some(lost) => complain(&format!("Records: {}, {lost} lost", left.records)),
        None => complain(&format!(
            "Records: {}; how many were lost, the sender did not come to say",
            left.records
        )),
    }
    if left.has_trace {
        complain(&format!("Trace:   {}", path.display()));
    } else {
        complain(&"Trace:   none");
    }
    complain(&format!("Folder:  {}", folder.display()));
    if let Some(message) = message {
        complain(&format!("Not whole: {message}"));
    }
    Ok(code)
}

/// How a stream is told to have ended.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    code: u8,
    word: &'static str,
    message: Option<String>,
}

fn verdict(received: &Received, left: &LeftByStream, lost: Option<u64>) -> Verdict {
    let of = |code, word, message: String| Verdict {
        code,
        word,
        message: Some(message),
    };
    if let Some(failure) = &received.failure {
        return match failure {
            SenderFailure::Unsupported { what, option } => of(
                UNRESOLVED,
                "unsupported",
                format!(
                    "unsupported: {}",
                    pipeline::unsupported(what, option.as_deref())
                ),
            ),
            SenderFailure::Refused(message) => of(exit::USAGE, "refused", message.clone()),
            SenderFailure::NoFunction { file, pattern } => of(
                exit::USAGE,
                "no-function",
                format!("{pattern} matches no function that can be traced ({file})"),
            ),
            SenderFailure::Failed(message) => of(
                TRACE,
                "failed",
                format!("the sender could not go on: {message}"),
            ),
        };
    }
    if let Some(damage) = &received.damage {
        return of(TRACE, "cut", damage.clone());
    }
    if received.end.is_none() {
        let message = "the sender was cut off: the stream has no end".to_owned();
        return of(TRACE, "cut", message);
    }
    if let Some(damage) = &left.damage {
        return of(TRACE, "damaged", damage.clone());
    }
    match lost {
        Some(0) => Verdict {
            code: PASSED,
            word: "complete",
            message: None,
        },
        Some(lost) => of(
            UNRESOLVED,
            "lost",
            format!(
                "{lost} records were lost: give the sender a larger buffer (-b), or trace less"
            ),
        ),
        None => of(
            TRACE,
            "cut",
            "the sender has ended without its statistics".to_owned(),
        ),
    }
}

/// A socket that waits for a sender.
enum Socket {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

impl Socket {
    fn listen(place: &Listen) -> Result<Self> {
        let socket = match place {
            Listen::Unix(path) => {
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("cannot listen at {}", path.display()))?;
                let socket = Self::Unix(listener, path.clone());
                if let Self::Unix(listener, _) = &socket {
                    listener.set_nonblocking(true)?;
                }
                socket
            }
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .with_context(|| format!("cannot listen at {address}"))?;
                listener.set_nonblocking(true)?;
                Self::Tcp(listener)
            }
        };
        Ok(socket)
    }

    /// Where it is, with the port that it has got.
    fn place(&self) -> String {
        match self {
            Self::Unix(_, path) => format!("unix:{}", path.display()),
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "tcp".to_owned(), |address| format!("tcp:{address}")),
        }
    }

    /// Waits for one; none if none came, or the user wants to stop.
    fn accept(
        &self,
        deadline: Instant,
        interrupted: &AtomicBool,
    ) -> Result<Option<Box<dyn Sender>>> {
        while Instant::now() < deadline && !interrupted.load(Ordering::Relaxed) {
            let accepted = match self {
                Self::Unix(listener, _) => listener.accept().and_then(|(socket, _)| {
                    socket.set_nonblocking(false)?;
                    socket.set_read_timeout(Some(POLL))?;
                    Ok(Box::new(socket) as Box<dyn Sender>)
                }),
                Self::Tcp(listener) => listener.accept().and_then(|(socket, _)| {
                    socket.set_nonblocking(false)?;
                    socket.set_read_timeout(Some(POLL))?;
                    Ok(Box::new(socket) as Box<dyn Sender>)
                }),
            };
            match accepted {
                Ok(sender) => return Ok(Some(sender)),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock
                            | ErrorKind::Interrupted
                            | ErrorKind::ConnectionAborted
                    ) =>
                {
                    thread::park_timeout(POLL);
                }
                Err(error) => return Err(anyhow!(error).context("cannot accept a sender")),
            }
        }
        Ok(None)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Only what we have made; somebody may have put something else there.
            let is_socket =
                fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.file_type().is_socket());
            if is_socket {
                drop(fs::remove_file(path));
            }
        }
    }
}

fn duration(ns: u64) -> Duration {
    // A deadline that cannot be represented would be no deadline.
    Duration::from_nanos(ns).min(Duration::from_secs(365 * 24 * 3600))
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
