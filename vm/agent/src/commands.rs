// SPDX-License-Identifier: GPL-2.0-only

//! Commands of phases: started early, held back until their phase begins, and what they print.
//!
//! In: a command of the plan. Out: its end, and its output in a file that nobody reads meanwhile: a reader would run in
//! the measured window.
//! A command is held back by this program itself: it is started as its own child with [`GATE`], waits for a byte on its
//! standard input and then becomes the command. So the command's number is known before it runs, and pid filters can
//! name it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{self, Child, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use deferinit_protocol::{
    Command, CommandEnd, FileKind, MAX_OUTPUT_BYTES, Message, Phase, SHELL_PATH,
};
use nix::mount::{MsFlags, mount};

use crate::results::Results;

/// The first argument of a program that holds a command back.
const GATE: &str = "--gate";

/// This program.
const SELF: &str = "/init";

/// Where the outputs are.
const OUTPUT: &str = "/run/output";

/// A shell's exit code for a program that cannot be run.
const CANNOT_RUN: u8 = 127;

/// A command that does not run yet.
pub(crate) struct Held {
    child: Child,
}

/// Makes the guest one in which a shell works.
pub(crate) fn prepare() -> Result<()> {
    for folder in ["/tmp", "/run", OUTPUT, "/root"] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    }
    // Of a file system that is full, the rest of the guest's memory is safe. A page more than what is sent, to see
    // whether anything is missing.
    let size = format!("size={}", MAX_OUTPUT_BYTES.saturating_add(4096));
    for (target, options) in [("/tmp", None), (OUTPUT, Some(size.as_str()))] {
        mount(
            Some("tmpfs"),
            target,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )
        .with_context(|| format!("cannot mount tmpfs on {target}"))?;
    }
    let installed = process::Command::new(SHELL_PATH)
        .args(["--install", "-s", "/bin"])
        .output()
        .with_context(|| format!("cannot run {SHELL_PATH}"))?;
    ensure!(
        installed.status.success(),
        "{SHELL_PATH} cannot install its applets: {}",
        String::from_utf8_lossy(&installed.stderr).trim_end()
    );
    Ok(())
}

/// Starts the command of a phase, without letting it run.
pub(crate) fn hold(phase: &Phase) -> Result<Option<Held>> {
    let Some(command) = &phase.command else {
        return Ok(None);
    };
    let output = open_output(&phase.name)?;
    let errors = output
        .try_clone()
        .context("cannot open the output of the command twice")?;
    let child = process::Command::new(SELF)
        .arg(GATE)
        .args(arguments(command))
        .env_clear()
        .envs([("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"), ("HOME", "/root")])
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start the command of phase {}", phase.name))?;
    Ok(Some(Held { child }))
}

fn arguments(command: &Command) -> Vec<&str> {
    match command {
        Command::Arguments(arguments) => arguments.iter().map(String::as_str).collect(),
        Command::Script(script) => vec![SHELL_PATH, "sh", "-c", script],
    }
}

fn output_path(phase: &str) -> String {
    format!("{OUTPUT}/{phase}")
}

fn open_output(phase: &str) -> Result<File> {
    let path = output_path(phase);
    // Both outputs go to the same end of the same file.
    OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot make {path}"))
}

impl Held {
    /// The number of the task that will be the command.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the command run, and waits for its end.
    pub(crate) fn run(mut self) -> Result<CommandEnd> {
        let mut gate = self.child.stdin.take().context("the gate has no input")?;
        gate.write_all(b"\n").context("cannot open the gate")?;
        drop(gate);
        let status = self.child.wait().context("cannot wait for the command")?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => CommandEnd::Exited(code),
            (None, Some(signal)) => CommandEnd::Signalled(signal),
            (None, None) => anyhow::bail!("the command has ended, but not how: {status}"),
        })
    }
}

/// Becomes the command once a byte comes in, if this program was started to do so. Returns `None` if it was not, and an
/// exit code if it cannot.
pub(crate) fn pass_gate() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != GATE) {
        return None;
    }
    let arguments: Vec<OsString> = arguments.collect();
    let error = match (arguments.split_first(), wait_for_byte()) {
        (_, Err(error)) => format!("cannot wait for the begin of the phase: {error}"),
        (None, Ok(())) => "there is no command".to_owned(),
        (Some((program, arguments)), Ok(())) => {
            let error = process::Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .exec();
            format!("cannot run {}: {error}", program.display())
        }
    };
    // To the command's output, which the harness shows.
    eprintln!("deferinit-agent: {error}");
    Some(ExitCode::from(CANNOT_RUN))
}

fn wait_for_byte() -> std::io::Result<()> {
    std::io::stdin().lock().read_exact(&mut [0])
}

/// Sends what the commands of `phases` have printed so far.
pub(crate) fn send_outputs(phases: &[Phase], results: &mut Results) -> Result<()> {
    for phase in phases.iter().filter(|phase| phase.command.is_some()) {
        let path = output_path(&phase.name);
        let kind = FileKind::Output {
            phase: phase.name.clone(),
        };
        send_bounded(kind, Path::new(&path), MAX_OUTPUT_BYTES, results)?;
    }
    Ok(())
}

/// Sends the begin of a file, and says so if there is more.
pub(crate) fn send_bounded(
    kind: FileKind,
    path: &Path,
    limit: u64,
    results: &mut Results,
) -> Result<()> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut content))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let is_cut = u64::try_from(content.len()).unwrap_or(u64::MAX) > limit;
    content.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    results.send_bytes(kind.clone(), &content)?;
    if is_cut {
        results.send(&Message::Cut {
            file: kind,
            bytes: limit,
        })?;
    }
    Ok(())
}
