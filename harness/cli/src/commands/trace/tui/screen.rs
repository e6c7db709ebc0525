// SPDX-License-Identifier: GPL-2.0-only

//! The terminal, while it shows the interface.
//!
//! In: what to draw. Out: keys. When this ends, by a panic too, the terminal is as it was before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::state::State;
use crate::exit::Failure;

/// No time to wait; with none at all, crossterm does not look for keys.
const NO_TIME: Duration = Duration::from_millis(1);

/// The terminal in raw mode, on its alternate screen.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    /// Set when a signal asks to end.
    ended: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal. A panic gives it back before its message is printed.
    pub(super) fn open() -> Result<Self, Failure> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&ended))
                .map_err(|error| failure("cannot listen to signals", error))?;
        }
        let terminal = ratatui::try_init().map_err(|error| {
            drop(ratatui::try_restore());
            failure("cannot set up the terminal", error)
        })?;
        Ok(Self { terminal, ended })
    }

    /// Whether a signal asks to end.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Draws.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.terminal
            .draw(draw)
            .map(|_| ())
            .map_err(|error| failure("cannot draw on the terminal", error))
    }

    /// Waits for a key, at least [`NO_TIME`], and gives the state all that were pressed.
    pub(super) fn keys(&mut self, wait: Duration, state: &mut State<'_>) -> Result<(), Failure> {
        let mut wait = wait.max(NO_TIME);
        while !state.is_over()
            && let Some(event) = next_event(wait)?
        {
            if let Some(key) = pressed(&event) {
                state.key(key);
            }
            wait = NO_TIME;
        }
        Ok(())
    }

    /// Whether a key that leaves was pressed, while nothing else is to be done.
    pub(super) fn wants_to_leave(&mut self) -> Result<bool, Failure> {
        while let Some(event) = next_event(NO_TIME)? {
            if pressed(&event).is_some_and(leaves) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // After a panic, its message is printed already, and leaving the alternate screen twice would move the cursor
        // onto it.
        if !thread::panicking() {
            // A terminal that is gone cannot be restored.
            drop(ratatui::try_restore());
        }
    }
}

/// Whether a key leaves, wherever the user is: `q`, Esc or Ctrl-C.
pub(super) fn leaves(key: &KeyEvent) -> bool {
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_ctrl_c(key)
}

/// Ctrl-C, which is a key in raw mode.
pub(super) fn is_ctrl_c(key: &KeyEvent) -> bool {
    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

fn pressed(event: &Event) -> Option<&KeyEvent> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(key),
        _ => None,
    }
}

fn next_event(wait: Duration) -> Result<Option<Event>, Failure> {
    let next = || {
        Ok(if event::poll(wait)? {
            Some(event::read()?)
        } else {
            None
        })
    };
    match next() {
        // A signal came: whoever called looks for what it says.
        Err(error) if io::Error::kind(&error) == io::ErrorKind::Interrupted => Ok(None),
        other => other.map_err(|error| failure("cannot read from the terminal", error)),
    }
}

fn failure(what: &'static str, error: io::Error) -> Failure {
    Failure::setup(anyhow!(error).context(what))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::{File, OpenOptions};
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use nix::fcntl::OFlag;
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    use nix::sys::termios::tcgetattr;

    use super::*;

    /// Tells this test that it is the one on the pseudo terminal.
    const PANIC: &str = "DEFERINIT_TEST_PANIC";

    #[test]
    fn a_panic_gives_the_terminal_back_before_its_message() {
        if env::var_os(PANIC).is_some() {
            let mut screen = Screen::open().expect("it is on a terminal");
            screen
                .draw(|frame| frame.render_widget("behind", frame.area()))
                .expect("it can be drawn on");
            panic!("on purpose");
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("a pseudo terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let path = ptsname_r(&master).expect("its name");
        let mut options = OpenOptions::new();
        let terminal = options.read(true).write(true).open(&path).expect("a file");
        let sized = Command::new("stty")
            .args(["-F", &path, "rows", "24", "cols", "80"])
            .status();
        assert!(sized.expect("stty is there").success());
        let before = tcgetattr(&terminal).expect("a terminal");
        let end = || Stdio::from(terminal.try_clone().expect("a file"));
        let name = "commands::trace::tui::screen::tests::a_panic_gives_the_terminal_back_before_its_message";
        let mut child = Command::new("setsid")
            .arg("--ctty")
            .arg(env::current_exe().expect("this test"))
            .args(["--exact", name, "--nocapture"])
            .env(PANIC, "1")
            .env("TERM", "xterm")
            .env_remove("RUST_BACKTRACE")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid is there");
        let mut reader = File::from(master.as_fd().try_clone_to_owned().expect("a file"));
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // It ends with an error when nobody has the terminal open any more.
            drop(reader.read_to_end(&mut bytes));
            bytes
        });
        let status = child.wait().expect("it ends");
        let after = tcgetattr(&terminal).expect("a terminal");
        drop(terminal);
        let bytes = reader.join().expect("it reads");
        assert!(!status.success());
        assert_eq!(after, before);
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.contains("\x1b[?1049h") && text.contains("behind"),
            "{text}"
        );
        assert_eq!(text.matches("\x1b[?1049l").count(), 1, "{text}");
        let mut parser = vt100::Parser::new(100, 200, 0);
        parser.process(&bytes);
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        let shown = screen.contents();
        assert!(
            shown.contains("on purpose") && !shown.contains("behind"),
            "{shown}"
        );
    }
}
