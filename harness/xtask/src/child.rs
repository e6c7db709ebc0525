// SPDX-License-Identifier: GPL-2.0-only

//! Runs the tools the steps need: the one place in this crate that starts a process.
//!
//! In: a command. Out: success, or what went wrong with it. Each command is printed before it
//! starts, has a deadline, and is told to stop when the deadline has passed.

use std::{
    env,
    ffi::OsStr,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

/// Longer than any step takes on two cores, VM tests and a first build included.
const DEADLINE: Duration = Duration::from_secs(45 * 60);

/// What a command gets to end by itself once it was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A program a step needs, and the one command that installs it.
pub(crate) struct Tool {
    /// The program's name, as looked up in `PATH`.
    pub(crate) program: &'static str,
    /// The command that installs it.
    pub(crate) install: &'static str,
}

impl Tool {
    /// Checks that the program is there.
    ///
    /// # Errors
    /// It is not; the message holds the command that installs it.
    pub(crate) fn require(&self) -> Result<()> {
        if is_installed(self.program) {
            return Ok(());
        }
        bail!(
            "{} is not installed; install it with: {}",
            self.program,
            self.install
        );
    }
}

/// Whether `program` is an executable in `PATH`, or in cargo's own folder of programs, where cargo
/// finds its subcommands.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_programs())
        .any(|folder| folder.join(program).is_file())
}

fn cargo_programs() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("bin"))
}

/// Runs `command` with this process's own output.
///
/// # Errors
/// It does not start, does not end in time, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    complete(command.stdout(Stdio::inherit()), DEADLINE)?;
    Ok(())
}

/// Runs `command` and gives what it wrote to standard output, without the newline at its end.
///
/// # Errors
/// As [`run`], or the output is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let bytes = complete(command.stdout(Stdio::piped()), DEADLINE)?;
    let text = String::from_utf8(bytes);
    let text = text.with_context(|| format!("reading the output of `{}`", line_of(command)))?;
    Ok(text.trim_end().to_owned())
}

/// Prints, starts and ends one command; gives what came through a piped standard output.
fn complete(command: &mut Command, deadline: Duration) -> Result<Vec<u8>> {
    let line = line_of(command);
    println!("    {line}");
    let child = command.stdin(Stdio::null()).spawn();
    let mut child = child.with_context(|| format!("starting `{line}`"))?;
    let watch = Watch::start(&child, deadline)?;

    let mut bytes = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        let read = output.read_to_end(&mut bytes);
        read.with_context(|| format!("reading the output of `{line}`"))?;
    }
    wait_without_reaping(watch.pid).with_context(|| format!("waiting for `{line}`"))?;
    let in_time = watch.stop();
    let status = child
        .wait()
        .with_context(|| format!("waiting for `{line}`"))?;

    if !in_time {
        bail!("`{line}` was stopped: it ran for more than {deadline:?}");
    }
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(bytes)
}

/// A thread that stops a child whose deadline has passed.
struct Watch {
    pid: Pid,
    /// Dropped when the child has ended.
    running: Sender<()>,
    /// Gives true if the child ended in time.
    thread: JoinHandle<bool>,
}

impl Watch {
    fn start(child: &Child, deadline: Duration) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        let (running, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            if !is_running_after(&ended, deadline) {
                return true;
            }
            // A test runner that gets SIGTERM stops its own children, VMs among them.
            let _ = kill(pid, Signal::SIGTERM);
            if is_running_after(&ended, GRACE) {
                let _ = kill(pid, Signal::SIGKILL);
            }
            false
        });
        Ok(Self {
            pid,
            running,
            thread,
        })
    }

    /// Ends the watch over a child that has ended; true if it did so in time.
    fn stop(self) -> bool {
        drop(self.running);
        self.thread.join().unwrap_or(false)
    }
}

fn is_running_after(ended: &Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

/// Waits until the process has ended, and leaves it a zombie, so that its id is nobody else's while
/// the watch may still signal it.
fn wait_without_reaping(pid: Pid) -> nix::Result<()> {
    loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The command as one would type it: the environment set for it, the program, its arguments.
fn line_of(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.display(), quoted(value)));
        }
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.display().to_string();
    if word.is_empty() || word.contains([' ', '\'', '"', '$', '*']) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[track_caller]
    fn message<T>(result: Result<T>) -> String {
        let Err(error) = result else {
            panic!("the command passed");
        };
        format!("{error:#}")
    }

    #[test]
    fn output_comes_without_its_last_newline() {
        let text = output(&mut shell("echo one; echo two")).expect("sh runs");
        assert_eq!(text, "one\ntwo");
    }

    #[test]
    fn exit_code_other_than_zero_is_an_error_with_the_command() {
        let text = message(run(&mut shell("exit 3")));
        assert_eq!(text, "`sh -c 'exit 3'` ended with exit status: 3");
    }

    #[test]
    fn command_that_overruns_its_deadline_is_stopped_and_reported() {
        let text = message(complete(
            &mut shell("exec sleep 600"),
            Duration::from_millis(20),
        ));
        assert!(
            text.contains("was stopped: it ran for more than 20ms"),
            "{text}"
        );
    }

    #[test]
    fn program_that_is_not_there_is_an_error_with_its_name() {
        let text = message(run(&mut Command::new("deferinit-no-such-program")));
        assert!(
            text.contains("starting `deferinit-no-such-program`"),
            "{text}"
        );
    }

    #[test]
    fn missing_tool_is_an_error_that_says_how_to_install_it() {
        let tool = Tool {
            program: "deferinit-no-such-program",
            install: "cargo install deferinit-no-such-program --locked",
        };
        let text = message(tool.require());
        assert_eq!(
            text,
            "deferinit-no-such-program is not installed; \
             install it with: cargo install deferinit-no-such-program --locked"
        );
    }

    #[test]
    fn line_holds_the_environment_and_quotes_words() {
        let mut command = Command::new("cargo");
        command
            .env("RUSTDOCFLAGS", "-D warnings")
            .args(["doc", "it's"]);
        assert_eq!(
            line_of(&command),
            r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s'"
        );
    }
}
