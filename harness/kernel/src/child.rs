// SPDX-License-Identifier: GPL-2.0-only

//! The one function through which every program is run.
//!
//! In: a program with its arguments, a deadline, perhaps a log and a lock. Out: how it ended and what it printed.
//! The argv stands in the log before the output. The program has its own process group, which is killed when the wait
//! for it is given up, and it is told to end when this process dies. It does not inherit the environment but for what
//! `KEPT` lists, so that a build does not depend on who started it (`make` and `cargo` hand down a lot).
//! Source: prctl(2) `PR_SET_PDEATHSIG`, flock(2), setpgid(2).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};

use crate::error::{Class, Error};

/// How long a program may take to end by itself after SIGTERM; make deletes half-made targets in that time.
const GRACE: Duration = Duration::from_secs(5);
/// How often deadline, interruption and progress are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long output may trail behind the end of the program that was waited for.
const TRAILING: Duration = Duration::from_secs(2);
/// How many lines a failure shows.
const EXCERPT_LINES: usize = 20;
/// How many of those are errors from the middle of the log, with the lines below them.
const ERROR_LINES: usize = 12;
/// How many lines below an error belong to it: the place and the source line.
const LINES_BELOW_ERROR: usize = 3;

/// The variables that programs keep: where they are found, where they store, and how they reach the network.
const KEPT: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "APT_CONFIG",
];
/// Prefixes of further such variables: cargo's ways to reach a registry.
const KEPT_PREFIXES: [&str; 4] = [
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_SOURCE_",
];

/// Where standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Into one stream with standard output, in the order it was written.
    Merged,
    /// Beside standard output, which is kept whole for the caller.
    Captured,
}

/// What the caller sees while the program runs.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A line of output without its line feed.
    Line(&'a str),
    /// A tenth of a second or more went by.
    Tick,
}

/// A program to run.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    what: String,
    argv: Vec<OsString>,
    dir: Option<&'a Path>,
    env: Vec<(&'static str, OsString)>,
    deadline: Duration,
    log: Option<&'a Path>,
    held: Option<&'a File>,
    output: Output,
    class: Class,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Its standard output, if it was captured.
    pub(crate) stdout: String,
    errors: Vec<String>,
    tail: VecDeque<String>,
}

impl<'a> Call<'a> {
    /// `what` is a noun for messages: "the kernel build".
    pub(crate) fn new(
        what: impl Into<String>,
        program: impl AsRef<OsStr>,
        deadline: Duration,
    ) -> Self {
        Self {
            what: what.into(),
            argv: vec![program.as_ref().to_owned()],
            dir: None,
            env: Vec::new(),
            deadline,
            log: None,
            held: None,
            output: Output::Merged,
            class: Class::Setup,
        }
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets the working folder.
    pub(crate) fn in_dir(mut self, dir: &'a Path) -> Self {
        self.dir = Some(dir);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    /// Appends argv and output to a log.
    pub(crate) fn log(mut self, log: &'a Path) -> Self {
        self.log = Some(log);
        self
    }

    /// Lets the program and all it starts hold the lock: a later run waits for the last of them, even if this process
    /// is killed.
    pub(crate) fn holding(mut self, lock: &'a File) -> Self {
        self.held = Some(lock);
        self
    }

    /// Keeps standard output apart, for the caller to parse.
    pub(crate) fn captured(mut self) -> Self {
        self.output = Output::Captured;
        self
    }

    /// Says whose fault a failure is; without it, the setup's.
    pub(crate) fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Runs the program to its end, whatever its exit status.
    ///
    /// # Errors
    /// `Late` at the deadline, `Interrupted` when the flag is set, `Other` if it cannot be started or logged.
    pub(crate) fn run(
        &self,
        cancelled: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Ended, Error> {
        let mut log = self.open_log()?;
        let started = Instant::now();
        let (mut group, lines) = self.spawn()?;
        let mut ended = Collected::default();
        let mut ticked = started;
        let mut exited_at: Option<Instant> = None;
        loop {
            match lines.recv_timeout(TICK) {
                Ok((stream, line)) => {
                    if let Some(log) = &mut log {
                        log.write_all(&line)
                            .with_context(|| format!("cannot write the log of {}", self.what))?;
                    }
                    let text = String::from_utf8_lossy(&line);
                    if stream == Stream::Kept {
                        ended.stdout.push_str(&text);
                    }
                    let text = text.trim_end();
                    ended.take(text);
                    on_event(Event::Line(text));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if exited_at.is_none() && group.exited()?.is_some() {
                        exited_at = Some(Instant::now());
                    }
                    if exited_at.is_some_and(|at| at.elapsed() > TRAILING) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    if group.exited()?.is_some() {
                        break;
                    }
                    std::thread::sleep(TICK / 10);
                }
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                on_event(Event::Tick);
            }
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::Interrupted {
                    what: self.what.clone(),
                });
            }
            if started.elapsed() > self.deadline {
                return Err(Error::Late {
                    what: self.what.clone(),
                    after: self.deadline,
                    log: self.log.map(Path::to_owned),
                    class: self.class,
                });
            }
        }
        let status = group.wait()?;
        Ok(Ended {
            status,
            stdout: ended.stdout,
            errors: ended.errors,
            tail: ended.tail,
        })
    }

    /// Runs the program and takes any exit status but 0 for a failure.
    ///
    /// # Errors
    /// As `run`, and `Failed` with the telling lines of the output.
    pub(crate) fn run_to_success(
        &self,
        cancelled: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Ended, Error> {
        let ended = self.run(cancelled, on_event)?;
        if ended.status.success() {
            return Ok(ended);
        }
        let excerpt = ended.excerpt();
        match self.log {
            Some(log) => Err(Error::Failed {
                what: self.what.clone(),
                status: ended.status.to_string(),
                log: log.to_owned(),
                excerpt,
                class: self.class,
            }),
            None => {
                Err(anyhow::anyhow!("{} failed ({}): {excerpt}", self.what, ended.status).into())
            }
        }
    }

    /// The command as a user would type it, for logs.
    fn line(&self) -> String {
        let mut words: Vec<String> = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(&value.to_string_lossy())))
            .collect();
        words.extend(self.argv.iter().map(|word| quoted(&word.to_string_lossy())));
        words.join(" ")
    }

    fn open_log(&self) -> Result<Option<File>, Error> {
        let Some(path) = self.log else {
            return Ok(None);
        };
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot open the log {}", path.display()))?;
        writeln!(log, "$ {}", self.line())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(log))
    }

    fn spawn(&self) -> Result<(Group, Receiver<Piece>), Error> {
        let program = self
            .argv
            .first()
            .map(OsString::as_os_str)
            .unwrap_or_default();
        let doing = || {
            format!(
                "cannot run `{}` for {}",
                program.to_string_lossy(),
                self.what
            )
        };
        let (stdout, stdout_end) = std::io::pipe().with_context(doing)?;
        let (stderr, stderr_end) = match self.output {
            Output::Merged => (None, stdout_end.try_clone().with_context(doing)?),
            Output::Captured => {
                let (reader, writer) = std::io::pipe().with_context(doing)?;
                (Some(reader), writer)
            }
        };
        let mut command = Command::new(program);
        command.args(self.argv.iter().skip(1));
        command
            .env_clear()
            .envs(kept_environment())
            .env("LC_ALL", "C");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        command
            .stdin(Stdio::null())
            .stdout(stdout_end)
            .stderr(stderr_end)
            .process_group(0);
        let held = self
            .held
            .map(File::try_clone)
            .transpose()
            .with_context(doing)?;
        bind_to_this_process(&mut command, held);
        let child = command.spawn().with_context(doing)?;
        // The command owns this process's ends of the pipes and a copy of the lock: without them, the pipes close and
        // the lock is free once the program is gone.
        drop(command);
        let (sender, lines) = sync_channel(1024);
        let kept = if self.output == Output::Captured {
            Stream::Kept
        } else {
            Stream::Shown
        };
        if let Some(stderr) = stderr {
            read_lines(stderr, Stream::Shown, sender.clone());
        }
        read_lines(stdout, kept, sender);
        Ok((
            Group {
                child,
                status: None,
            },
            lines,
        ))
    }
}

impl Ended {
    /// The output's telling lines: errors first, then the end; at most 20.
    pub(crate) fn excerpt(&self) -> String {
        let rest = EXCERPT_LINES.saturating_sub(self.errors.len());
        let tail: Vec<&String> = self
            .tail
            .iter()
            .filter(|line| !self.errors.contains(line))
            .collect();
        let skipped = tail.len().saturating_sub(rest);
        let lines: Vec<&str> = self
            .errors
            .iter()
            .chain(tail.into_iter().skip(skipped))
            .map(String::as_str)
            .collect();
        lines.join("\n")
    }
}

/// Whether a line of make's output tells of one step of a kernel build: `  CC      init/main.o`.
pub(crate) fn is_build_step(line: &str) -> bool {
    let Some((verb, target)) = line
        .strip_prefix("  ")
        .and_then(|rest| rest.split_once(' '))
    else {
        return false;
    };
    verb.len() >= 2
        && verb
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '-')
        && !target.trim().is_empty()
}

/// Sets the flag a run looks at; for calls that nobody can interrupt because they end at once.
pub(crate) static NEVER: AtomicBool = AtomicBool::new(false);

/// A line of output, and whether the caller keeps it.
type Piece = (Stream, Vec<u8>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Shown,
    Kept,
}

#[derive(Debug, Default)]
struct Collected {
    stdout: String,
    errors: Vec<String>,
    below_error: usize,
    tail: VecDeque<String>,
}

impl Collected {
    fn take(&mut self, line: &str) {
        if line.trim().is_empty()
            || is_build_step(line)
            || line.starts_with("make[") && line.contains("ing directory")
        {
            return;
        }
        if is_error(line) {
            self.below_error = LINES_BELOW_ERROR + 1;
        }
        if self.below_error > 0 {
            self.below_error -= 1;
            if self.errors.len() < ERROR_LINES {
                self.errors.push(line.to_owned());
            }
        }
        if self.tail.len() >= EXCERPT_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }
}

fn is_error(line: &str) -> bool {
    const MARKS: [&str; 5] = [
        "error:",
        "error[",
        "*** ",
        "undefined symbol",
        "No space left on device",
    ];
    line.starts_with("E: ") || MARKS.iter().any(|mark| line.contains(mark))
}

/// A child and its process group; killed on drop unless it has ended.
#[derive(Debug)]
struct Group {
    child: Child,
    status: Option<ExitStatus>,
}

impl Group {
    fn exited(&mut self) -> Result<Option<ExitStatus>, Error> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("cannot wait for a program")?;
        }
        Ok(self.status)
    }

    fn wait(&mut self) -> Result<ExitStatus, Error> {
        match self.exited()? {
            Some(status) => Ok(status),
            None => Ok(self.child.wait().context("cannot wait for a program")?),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // The group may be gone already, which is what is wanted.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(TICK / 5);
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Makes the child end when this process dies, and hold the lock until then.
fn bind_to_this_process(command: &mut Command, held: Option<File>) {
    let parent = getpid();
    let prepare = move || {
        set_pdeathsig(Signal::SIGTERM)?;
        if let Some(held) = &held {
            fcntl(held, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        // The parent may have died before the signal was asked for.
        if getppid() != parent {
            return Err(std::io::Error::from_raw_os_error(nix::libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes the system calls prctl, fcntl and getppid only, which are
    // async-signal-safe; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

fn kept_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
    })
}

fn read_lines(pipe: PipeReader, stream: Stream, sender: SyncSender<Piece>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            // A read that fails ends the output like its end does; the exit status says the rest.
            match reader.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if sender.send((stream, line)).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:+,@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell<'a>(script: &str) -> Call<'a> {
        Call::new("the test", "sh", SOON).args(["-c", script])
    }

    #[test]
    fn output_is_captured_apart_from_standard_error() {
        let ended = shell("echo out; echo err >&2")
            .captured()
            .run_to_success(&NEVER, &mut |_| {})
            .expect("runs");
        assert_eq!(ended.stdout, "out\n");
    }

    #[test]
    fn the_log_holds_the_argv_and_then_the_output() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let log = dir.path().join("log");
        shell("echo 'a b'; echo c >&2")
            .log(&log)
            .run_to_success(&NEVER, &mut |_| {})
            .expect("runs");
        let text = std::fs::read_to_string(log).expect("a log");
        assert_eq!(text, "$ sh -c 'echo '\\''a b'\\''; echo c >&2'\na b\nc\n");
    }

    #[test]
    fn a_failure_shows_errors_first_and_not_the_steps() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let log = dir.path().join("log");
        let script = "echo '  CC      a.o'; echo 'a.c:1: error: no'; for i in $(seq 40); do echo note $i; done; exit 3";
        let error = shell(script)
            .log(&log)
            .class(Class::Build)
            .run_to_success(&NEVER, &mut |_| {})
            .expect_err("exit 3");
        let Error::Failed {
            excerpt,
            status,
            class: Class::Build,
            ..
        } = error
        else {
            panic!("{error}")
        };
        let lines: Vec<&str> = excerpt.lines().collect();
        assert_eq!(status, "exit status: 3");
        assert_eq!(lines.first(), Some(&"a.c:1: error: no"));
        assert_eq!(lines.last(), Some(&"note 40"));
        assert_eq!(lines.len(), EXCERPT_LINES);
        assert!(!excerpt.contains("  CC"), "{excerpt}");
    }

    #[test]
    fn a_rust_error_is_shown_with_its_place() {
        let script = "echo 'error[E0425]: no x'; echo '  --> a.rs:3:4'; for i in $(seq 40); do echo note $i; done; exit 1";
        let ended = shell(script).run(&NEVER, &mut |_| {}).expect("runs");
        let excerpt = ended.excerpt();
        assert!(
            excerpt.starts_with("error[E0425]: no x\n  --> a.rs:3:4\nnote 1\n"),
            "{excerpt}"
        );
        assert!(excerpt.ends_with("note 40"), "{excerpt}");
    }

    #[test]
    fn a_deadline_kills_the_whole_group() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let mark = dir.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", mark.display());
        let call = Call::new("the test", "sh", Duration::from_millis(500)).args(["-c", &script]);
        let error = call.run(&NEVER, &mut |_| {}).expect_err("a deadline");
        assert!(matches!(error, Error::Late { .. }), "{error}");
        let sleeper = std::fs::read_to_string(mark)
            .expect("the sleeper's id")
            .trim()
            .to_owned();
        assert!(gone(&sleeper), "process {sleeper} still runs");
    }

    #[test]
    fn an_interruption_ends_the_wait_and_the_program() {
        let cancelled = AtomicBool::new(false);
        let mut seen = 0;
        let error = shell("echo begun; sleep 300")
            .run(&cancelled, &mut |event| {
                seen += 1;
                if matches!(event, Event::Line("begun")) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            })
            .expect_err("an interruption");
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        assert!(seen >= 1);
    }

    #[test]
    fn a_program_that_leaves_a_writer_behind_does_not_hang_the_wait() {
        let ended = shell("sleep 20 & echo done")
            .run(&NEVER, &mut |_| {})
            .expect("runs");
        assert!(ended.status.success());
    }

    #[test]
    fn make_s_and_cargo_s_variables_are_not_handed_down() {
        // Cargo sets CARGO_PKG_NAME for tests.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let ended = shell("env")
            .captured()
            .env("EXTRA", "1")
            .run_to_success(&NEVER, &mut |_| {})
            .expect("runs");
        assert!(
            !ended.stdout.contains("CARGO_PKG_NAME="),
            "{}",
            ended.stdout
        );
        assert!(
            ended.stdout.contains("LC_ALL=C\n") && ended.stdout.contains("EXTRA=1\n"),
            "{}",
            ended.stdout
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Call::new("the test", "no-such-program-here", SOON)
            .run(&NEVER, &mut |_| {})
            .expect_err("nothing to run");
        assert!(
            error.to_string().contains("no-such-program-here"),
            "{error}"
        );
    }

    #[test]
    fn a_lock_is_held_by_the_program_when_its_starter_is_gone() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let path = dir.path().join("lock");
        let lock = File::create(&path).expect("a lock file");
        lock.lock().expect("the lock");
        let call = shell("sleep 300").holding(&lock);
        let (group, _lines) = call.spawn().expect("starts");
        drop(call);
        // What the kernel does with the descriptor of a process that was killed.
        drop(lock);
        assert!(
            File::open(&path)
                .expect("the lock file")
                .try_lock()
                .is_err()
        );
        drop(group);
        File::open(&path)
            .expect("the lock file")
            .try_lock()
            .expect("the lock is free");
    }

    #[test]
    fn build_steps_are_told_from_other_lines() {
        let cases = [
            ("  CC      init/main.o", true),
            ("  RUSTC L rust/core.o", true),
            ("  LD [M]  test_deferred.ko", true),
            ("make[1]: Entering directory", false),
            ("  note: something", false),
            ("   CC      x.o", false),
            ("  CC", false),
            ("", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_build_step(line), expected, "{line}");
        }
    }

    fn gone(pid: &str) -> bool {
        // A zombie that nobody has reaped yet has ended, too.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    }
}
