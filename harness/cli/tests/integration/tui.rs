// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace tui` on a pseudo terminal: keys in, the screen out. The trace is a real one, of two CPUs.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::CpuSubBuffers;
use deferinit_ftrace::trace_dat::{TraceDat, TraceDatCpu};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{argument, code, deferinit, output, project, text};

/// How long a screen may take, on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(60);

/// A trace.dat of two CPUs, as `trace-cmd` would have recorded it.
struct Trace {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Trace {
    fn new() -> Self {
        let capture = project().join("harness/trace/tests/data/linux-7.3.4-smp");
        let read = |name: &str| fs::read(capture.join(name)).expect(name);
        let mut formats = Formats::default();
        for system in fs::read_dir(capture.join("formats")).expect("a folder") {
            let system = system.expect("a folder");
            let name = system.file_name().into_string().expect("UTF-8");
            for event in fs::read_dir(system.path()).expect("a folder") {
                let format = fs::read_to_string(event.expect("a file").path()).expect("UTF-8");
                formats.add(&name, &format).expect("a format");
            }
        }
        let cpus: Vec<Vec<u8>> = ["cpu0.zst", "cpu1.zst"]
            .map(|name| zstd::decode_all(read(name).as_slice()).expect("zstd"))
            .into();
        let cpus: Vec<TraceDatCpu<'_>> = (0..)
            .zip(&cpus)
            .map(|(cpu, bytes)| TraceDatCpu {
                data: CpuSubBuffers {
                    cpu,
                    sub_buffers: bytes.chunks(4096).collect(),
                },
                stats: b"",
            })
            .collect();
        let file = TraceDat {
            page_size: 4096,
            user_long_size: 8,
            sub_buffer_size: 4096,
            header_page: &read("header_page"),
            header_event: &read("header_event"),
            formats: &formats,
            kallsyms: &read("kallsyms"),
            printk_formats: b"",
            saved_cmdlines: &read("saved_cmdlines"),
            trace_clock: "[local] global counter\n",
            uname: "Linux guest 7.3.4 x86_64",
            version: "deferinit",
        }
        .write(&cpus)
        .expect("all can be said");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.dat");
        fs::write(&path, file).expect("a file");
        Self {
            _folder: folder,
            path,
        }
    }

    /// The functions as `report` has them, by a column.
    fn report(&self, column: &str) -> Vec<Value> {
        let path = argument(&self.path);
        let report = output(&[
            "trace",
            "report",
            path,
            "--lenient",
            "--sort",
            column,
            "--format",
            "json",
        ]);
        let json: Value = serde_json::from_slice(&report.stdout).expect("JSON");
        json["functions"].as_array().expect("a list").clone()
    }
}

/// The program on a terminal of its own.
pub(crate) struct OnTerminal {
    child: Child,
    keys: PtyMaster,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// The terminal's other end, and how it was set before.
    terminal: File,
    path: String,
    before: Termios,
}

impl OnTerminal {
    pub(crate) fn start(arguments: &[&str], columns: u16, rows: u16) -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let keys = posix_openpt(flags).expect("a pseudo terminal");
        grantpt(&keys).expect("it is ours");
        unlockpt(&keys).expect("it is ours");
        let path = ptsname_r(&keys).expect("its name");
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("its other end");
        set_size(&path, columns, rows);
        let before = tcgetattr(&terminal).expect("a terminal");
        let end = || Stdio::from(terminal.try_clone().expect("a file"));
        // setsid makes it the program's own terminal, so that it is told of a new size.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_deferinit")])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid is there");
        let (sender, bytes) = channel();
        let mut reader = File::from(
            std::os::fd::AsFd::as_fd(&keys)
                .try_clone_to_owned()
                .expect("a file"),
        );
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            keys,
            bytes,
            screen: vt100::Parser::new(rows, columns, 0),
            terminal,
            path,
            before,
        }
    }

    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys");
    }

    /// Waits until the screen shows what is wanted.
    pub(crate) fn wait(&mut self, what: &str, is_it: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_it(self.screen.screen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                self.read(left),
                "after {what:?}, the screen is not as wanted:\n{}",
                self.text()
            );
        }
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.screen.screen_mut().set_size(rows, columns);
        set_size(&self.path, columns, rows);
    }

    /// Waits for the end; gives the exit code. The terminal must be as it was before.
    fn end(&mut self) -> i32 {
        self.wait("the terminal as it was", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor()
        });
        self.end_without_screen()
    }

    /// The same for a program that may not have shown anything yet.
    pub(crate) fn end_without_screen(&mut self) -> i32 {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.text()
            );
            self.read(Duration::from_millis(20));
        };
        while self.read(Duration::from_millis(200)) {}
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        let after = tcgetattr(&self.terminal).expect("a terminal");
        assert_eq!(after, self.before);
        status.code().expect("it exits by itself")
    }

    /// Takes what comes within a time; whether something came.
    fn read(&mut self, wait: Duration) -> bool {
        let bytes = self.bytes.recv_timeout(wait);
        if let Ok(bytes) = &bytes {
            self.screen.process(bytes);
        }
        bytes.is_ok()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It has ended, unless a check failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn set_size(path: &str, columns: u16, rows: u16) {
    let status = Command::new("stty")
        .args([
            "-F",
            path,
            "rows",
            &rows.to_string(),
            "cols",
            &columns.to_string(),
        ])
        .status()
        .expect("stty is there");
    assert!(status.success());
}

fn on(trace: &Path, columns: u16, rows: u16) -> OnTerminal {
    OnTerminal::start(&["trace", "tui", argument(trace)], columns, rows)
}

/// What a screen must show.
enum Wanted<'a> {
    /// A text on this line.
    On(usize, &'a str),
    /// A text somewhere.
    Somewhere(&'a str),
    /// No such text.
    Nowhere(&'a str),
}

/// Presses keys, and waits until the screen shows all that is wanted.
fn check(tui: &mut OnTerminal, keys: &str, wanted: &[Wanted<'_>]) {
    tui.press(keys);
    tui.wait(keys, |screen| {
        let text = screen.contents();
        let lines: Vec<&str> = text.lines().collect();
        wanted.iter().all(|wanted| match wanted {
            Wanted::On(line, wanted) => lines.get(*line).is_some_and(|line| line.contains(wanted)),
            Wanted::Somewhere(wanted) => text.contains(wanted),
            Wanted::Nowhere(wanted) => !text.contains(wanted),
        })
    });
}

#[test]
fn keys_lead_through_table_tree_and_timeline_and_back_to_the_shell() {
    use Wanted::{Nowhere, On, Somewhere};

    let trace = Trace::new();
    let (by_total, by_calls) = (trace.report("total"), trace.report("calls"));
    let name = |row: &Value| row["name"].as_str().expect("a name").to_owned();
    let (first, most) = (name(&by_total[0]), name(&by_calls[0]));
    assert_ne!(first, most);
    let all = format!("{} functions", by_total.len());
    let calls = by_calls[0]["calls"].to_string();
    let is_of_timer = |row: &&Value| name(row).starts_with("hrtimer_");
    let matching = by_total.iter().filter(is_of_timer).count();
    assert!((1..by_total.len()).contains(&matching));
    let filtered = format!("{matching} of {all} like hrtimer_*");

    let mut tui = on(&trace.path, 100, 30);
    check(
        &mut tui,
        "",
        &[On(0, "[1 table]"), On(2, &first), On(29, &all)],
    );
    check(
        &mut tui,
        "c",
        &[On(1, "Calls▼"), On(2, &most), On(2, &calls)],
    );
    check(
        &mut tui,
        "/hrtimer_*\r",
        &[On(2, "hrtimer_"), On(29, &filtered), Nowhere(&most)],
    );
    check(
        &mut tui,
        "\t",
        &[On(0, "[2 tree]"), On(2, "+ do_idle"), On(29, "all calls")],
    );
    check(&mut tui, "e", &[On(2, "- do_idle"), Nowhere("+ do_idle")]);
    check(&mut tui, "?", &[On(1, "Everywhere"), Nowhere("do_idle")]);
    let found = [
        Nowhere("reading"),
        Nowhere("not read yet"),
        On(0, "[3 timeline]"),
    ];
    check(&mut tui, "?3", &found);
    check(
        &mut tui,
        "",
        &[On(2, "CPU 0"), Somewhere("CPU 1"), On(28, "CPU 0 depth 0")],
    );
    check(&mut tui, "", &[Somewhere("├do_idle")]);
    // The table has one call of this function; it began before the trace.
    let write = by_total.iter().find(|row| name(row) == "__x64_sys_write");
    let write = write.expect("it is in the trace");
    assert_eq!(write["calls"], 1);
    let ns = write["total_ns"].as_u64().expect("a number");
    let took = format!(
        "__x64_sys_write took {}.{:03} ms, in phases-39",
        ns / 1_000_000,
        ns / 1000 % 1000
    );
    check(&mut tui, "jjjj", &[On(27, &took), On(28, "CPU 1 depth 0")]);
    check(
        &mut tui,
        "+++\x1b[C",
        &[
            On(1, "a cell is 637.224 us"),
            On(27, &took),
            Nowhere("reading"),
        ],
    );
    check(
        &mut tui,
        "t",
        &[
            On(2, "phases-39"),
            On(29, "lanes of 6 tasks"),
            Nowhere("reading"),
        ],
    );
    check(&mut tui, "1", &[On(0, "[1 table]"), On(29, &filtered)]);
    tui.press("q");
    assert_eq!(tui.end(), 0);
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    let trace = Trace::new();
    let mut tui = on(&trace.path, 80, 24);
    check(
        &mut tui,
        "3",
        &[Wanted::On(23, "lanes of CPUs"), Wanted::Nowhere("reading")],
    );
    for (columns, rows) in [(40, 10), (200, 50), (20, 4), (100, 30)] {
        tui.resize(columns, rows);
        let last = usize::from(rows) - 1;
        check(
            &mut tui,
            "",
            &[Wanted::On(0, " 1 table"), Wanted::On(last, "lanes of CPUs")],
        );
    }
    tui.press("\x03");
    assert_eq!(tui.end(), 0);
}

#[test]
fn a_signal_that_ends_it_gives_the_terminal_back() {
    let trace = Trace::new();
    let mut tui = on(&trace.path, 80, 24);
    check(&mut tui, "", &[Wanted::On(0, "[1 table]")]);
    let pid = i32::try_from(tui.child.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    assert_eq!(tui.end(), 0);
}

#[test]
fn damage_ends_it_before_anything_is_shown_unless_that_is_wanted() {
    let trace = Trace::new();
    let mut bytes = fs::read(&trace.path).expect("the file");
    // What is last in the file is a CPU's sub-buffers.
    bytes.truncate(bytes.len() - 5000);
    fs::write(&trace.path, &bytes).expect("the file");

    let strictly = output(&["trace", "report", argument(&trace.path)]);
    assert_eq!(code(&strictly), 1, "{}", text(&strictly));
    let message = text(&strictly);
    let message = message
        .lines()
        .next()
        .expect("a message")
        .get(..40)
        .expect("a long one");
    let mut tui = on(&trace.path, 200, 24);
    assert_eq!(tui.end_without_screen(), 1);
    assert!(tui.text().contains(message), "{message}:\n{}", tui.text());

    let by_total = trace.report("total");
    let first = by_total[0]["name"].as_str().expect("a name");
    let arguments = ["trace", "tui", "--lenient", argument(&trace.path)];
    let mut tui = OnTerminal::start(&arguments, 200, 24);
    check(
        &mut tui,
        "",
        &[
            Wanted::On(0, "damaged: this is what can be read"),
            Wanted::On(2, first),
        ],
    );
    tui.press("q");
    assert_eq!(tui.end(), 1);
    assert!(tui.text().contains("warning: "), "{}", tui.text());
}

#[test]
fn without_a_terminal_it_ends_2_and_names_report() {
    let trace = Trace::new();
    let arguments = ["trace", "tui", argument(&trace.path)];
    let neither = deferinit(&arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert_eq!(code(&neither), 2, "{}", text(&neither));
    let message = text(&neither);
    assert!(message.contains("needs a terminal"), "{message}");
    assert!(message.contains("deferinit trace report"), "{message}");
}
