// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit-agent send`: streams a trace of a command on any machine with tracefs to `deferinit trace recv`.
//!
//! In: arguments. Out: the frames of a streamed trace, as the protocol has them. It records into an instance of its own,
//! which it removes, and changes nothing else of the machine's ftrace.

use std::env;
use std::fs::OpenOptions;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use deferinit_protocol::{Capture, CommandEnd, FileKind, Message, PhaseEnd, Trace};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::host::Host;
use crate::results::{Results, find_port, open_port};
use crate::settings::TRACEFS;
use crate::streaming::Streaming;
use crate::tracing::Instance;
use crate::{guest, phases, refusal};

/// How the program is used by hand.
const USAGE: &str = "\
Streams a trace of a command to `deferinit trace recv`.

Usage: deferinit-agent send --to TO [-p TRACER] [-e EVENT].. [-l GLOB].. [-n GLOB].. [-b KIB] -- COMMAND [ARGUMENTS]

  --to TO     tcp:ADDRESS:PORT, unix:PATH, port:NAME (a virtio-serial port), or the path of a device, which
              answers nothing
  -p TRACER   trace with this tracer: function, function_graph, .. (nop if it is left out)
  -e EVENT    record this event: SYSTEM:EVENT, EVENT, or SYSTEM for all of its events
  -l GLOB     trace functions that match this only
  -n GLOB     do not trace functions that match this
  -b KIB      buffer for each CPU (4096)

It must be root, with tracefs at /sys/kernel/tracing. It records into an instance of its own, and removes it.

Exit codes: 0 all was sent, 1 it was not, 2 the arguments are not valid";

/// The name of the only phase, as `deferinit trace record` has it.
const PHASE: &str = "command";

/// The buffer of each CPU if the user does not say.
const BUFFER_KIB: u64 = 4096;

/// How long the receiver may take to answer, and may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    to: To,
    trace: Trace,
    command: Vec<String>,
}

/// Where the frames go.
#[derive(Debug, PartialEq, Eq)]
enum To {
    Tcp(String),
    Unix(String),
    Port(String),
    Device(String),
}

/// Runs the program as a user starts it.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let request = match parse(&arguments) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("deferinit-agent: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match send(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deferinit-agent: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Request> {
    let mut rest = arguments.iter();
    match rest.next().map(String::as_str) {
        Some("send") => {}
        Some(other) => bail!("there is no command {other:?}"),
        None => bail!("there is no command; as PID 1 of a guest, the program needs none"),
    }
    let mut trace = Trace {
        streamed: true,
        ..Trace::nothing(BUFFER_KIB)
    };
    let mut to = None;
    let mut command = Vec::new();
    while let Some(flag) = rest.next() {
        if flag == "--" {
            command.extend(rest.by_ref().cloned());
            break;
        }
        let known = ["--to", "-p", "-e", "-l", "-n", "-b"];
        ensure!(
            known.contains(&flag.as_str()),
            "there is no argument {flag:?}"
        );
        let value = rest
            .next()
            .filter(|value| *value != "--")
            .with_context(|| format!("{flag} has no value"))?
            .clone();
        match flag.as_str() {
            "--to" => to = Some(receiver(&value)?),
            "-p" => trace.tracer = value,
            "-e" => trace.events.push(value),
            "-l" => trace.functions.push(value),
            "-n" => trace.notrace.push(value),
            _ => {
                trace.buffer_kib_per_cpu = value
                    .parse()
                    .ok()
                    .filter(|kib| (1..=1 << 30).contains(kib))
                    .with_context(|| format!("-b {value} is no number of KiB"))?;
            }
        }
    }
    ensure!(!command.is_empty(), "there is no command to trace");
    Ok(Request {
        to: to.context("--to is missing")?,
        trace,
        command,
    })
}

fn receiver(text: &str) -> Result<To> {
    let to = match text.split_once(':') {
        Some(("tcp", address)) => To::Tcp(address.to_owned()),
        Some(("unix", path)) => To::Unix(path.to_owned()),
        Some(("port", name)) => To::Port(name.to_owned()),
        _ if text.starts_with('/') => To::Device(text.to_owned()),
        _ => bail!("--to {text}: allowed are tcp:ADDRESS:PORT, unix:PATH, port:NAME, /DEVICE"),
    };
    Ok(to)
}

/// Where the frames go, and who answers there, if anybody can.
fn connect(to: &To) -> Result<(Results, Option<Host>)> {
    let share = "cannot share the connection";
    Ok(match to {
        To::Tcp(address) => {
            let resolved = address
                .to_socket_addrs()
                .with_context(|| format!("{address} is no address with a port"))?
                .next()
                .with_context(|| format!("{address} has no address"))?;
            let socket = TcpStream::connect_timeout(&resolved, PATIENCE)
                .with_context(|| format!("cannot connect to {address}"))?;
            socket
                .set_write_timeout(Some(PATIENCE))
                .context("cannot set a deadline")?;
            let host = Host::new(socket.try_clone().context(share)?);
            (Results::new(socket), Some(host))
        }
        To::Unix(path) => {
            let socket =
                UnixStream::connect(path).with_context(|| format!("cannot connect to {path}"))?;
            socket
                .set_write_timeout(Some(PATIENCE))
                .context("cannot set a deadline")?;
            let host = Host::new(socket.try_clone().context(share)?);
            (Results::new(socket), Some(host))
        }
        To::Port(name) => {
            let port = open_port(&find_port(name)?)?;
            let host = Host::new(port.try_clone().context(share)?);
            (Results::new(port), Some(host))
        }
        To::Device(path) => {
            let device = OpenOptions::new().write(true).open(path);
            let device = device.with_context(|| format!("cannot open {path}"))?;
            (Results::new(device), None)
        }
    })
}

fn send(request: &Request) -> Result<()> {
    ensure!(
        Path::new(TRACEFS).join("instances").is_dir(),
        "there is no tracefs at {TRACEFS}: mount -t tracefs nodev {TRACEFS}"
    );
    outlive_interrupts()?;
    let (mut results, mut host) = connect(&request.to)?;
    if let Some(host) = &mut host {
        host.listen(|| ())?;
    }
    let name = format!("deferinit-send-{}", std::process::id());
    let instance = Instance::create(&request.trace, &name)?;
    let sent = record(request, &instance, &mut results);
    // Whatever has happened, the machine is as it was before.
    let removed = instance.switch_off().and_then(|()| instance.remove());
    match sent {
        Ok(()) => {
            results.send(&Message::Finished {
                end: PhaseEnd::Complete,
            })?;
            removed?;
            ensure!(
                host.is_none_or(|host| host.wait()),
                "the receiver has not said that it has everything"
            );
            Ok(())
        }
        Err(error) => {
            if let Err(error) = removed {
                eprintln!("deferinit-agent: {error:#}");
            }
            // The receiver may be what is missing.
            drop(results.send(&refusal::last_message(&error)));
            Err(error)
        }
    }
}

fn record(request: &Request, instance: &Instance, results: &mut Results) -> Result<()> {
    results.send(&guest::hello(Capture::Streamed)?)?;
    instance.prepare(&[])?;
    results.send_file(FileKind::Kallsyms, "/proc/kallsyms")?;
    instance.send_description(results)?;
    instance.arm()?;
    let streaming = Streaming::start(instance, results)?;
    let ran = instance
        .open_window()
        .and_then(|()| run(&request.command, instance, results))
        .and_then(|()| instance.switch_off());
    // First: what ends the stream is why the rest fails.
    streaming.finish()?;
    ran?;
    instance.send_result(results)
}

/// Runs the command to its end.
fn run(command: &[String], instance: &Instance, results: &mut Results) -> Result<()> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut markers = instance.markers()?;
    results.send(&Message::PhaseBegun {
        name: PHASE.to_owned(),
    })?;
    phases::begin(PHASE, &mut markers)?;
    markers.write(&format!("command-begin {PHASE}"))?;
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => CommandEnd::Exited(code),
        (None, Some(signal)) => CommandEnd::Signalled(signal),
        (None, None) => return Err(anyhow!("the command has ended, but not how: {status}")),
    };
    markers.write(&format!("command-end {PHASE} {}", phases::how(end)))?;
    markers.write(&format!("phase-end {PHASE}"))?;
    results.send(&Message::CommandEnded {
        phase: PHASE.to_owned(),
        end,
    })
}

/// Ctrl-C ends the command, not this program, which then sends what there is. A function, which the command does not
/// inherit, instead of no signal at all, which it would.
fn outlive_interrupts() -> Result<()> {
    extern "C" fn nothing(_: nix::libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: The function that is installed does nothing, so it is safe to run at any point.
    unsafe { sigaction(Signal::SIGINT, &action) }.context("cannot outlive Ctrl-C")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_become_a_trace_that_is_streamed() {
        let request = parse(&words(
            "send --to tcp:10.0.2.2:4000 -p function -l vfs_* -n vfs_write -e sched -e irq:x -b 64 -- ls -l -- x",
        ))
        .expect("valid");
        let trace = Trace {
            tracer: "function".to_owned(),
            functions: vec!["vfs_*".to_owned()],
            notrace: vec!["vfs_write".to_owned()],
            events: words("sched irq:x"),
            streamed: true,
            ..Trace::nothing(64)
        };
        assert_eq!(
            request,
            Request {
                to: To::Tcp("10.0.2.2:4000".to_owned()),
                trace,
                command: words("ls -l -- x"),
            }
        );
    }

    #[test]
    fn what_is_not_possible_is_named() {
        for (line, part) in [
            ("", "no command"),
            ("receive", "\"receive\""),
            ("send -- ls", "--to"),
            ("send --to nowhere -- ls", "unix:PATH"),
            ("send --to unix:/x -z 1 -- ls", "\"-z\""),
            ("send --to unix:/x -p -- ls", "-p has no value"),
            ("send --to unix:/x -b 0 -- ls", "-b 0"),
            ("send --to unix:/x", "no command to trace"),
            ("send --to unix:/x --", "no command to trace"),
        ] {
            let error = parse(&words(line)).expect_err(line);
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }
}
