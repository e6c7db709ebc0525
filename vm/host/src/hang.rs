// SPDX-License-Identifier: GPL-2.0-only

//! What a guest says that hangs or has panicked: the stacks of all of its tasks.
//!
//! In: a guest whose run is over, and its console. Out: `vm/stacks.txt`, and the console without them.
//! An interrupt that cannot be masked is a panic to the guest's kernel, and every panic prints the tasks: so says its
//! command line (`argv`). It comes after what the verdict rests on has happened, so it disturbs nothing.
//! Source: `unknown_nmi_error()`, `arch/x86/kernel/nmi.c`; `sched_show_task()`, `kernel/sched/core.c`, Linux 7.3.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::argv::CONSOLE_LOG;
use crate::monitor::Ear;
use crate::qemu::Running;

/// How long QEMU may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the guest may take to print its tasks.
const SPEECH: Duration = Duration::from_secs(20);

/// How often a wait looks whether QEMU has exited.
const POLL: Duration = Duration::from_millis(20);

/// So much of the console's end is looked at; a kernel with a hundred tasks prints a tenth of it.
const CONSOLE_BYTES: u64 = 4 << 20;

/// How much of the console before the stacks is kept as evidence.
const TAIL_BYTES: usize = 16 * 1024;

/// The stacks, in the `vm` folder.
const STACKS: &str = "stacks.txt";

/// Where the agent's own list of stacks lies, below the `trace` folder.
const AGENT_STACKS: &str = "stacks";

/// Makes a guest that hangs print its tasks, and waits until it has. Whether QEMU still answers.
pub(crate) fn interrogate(ear: &Ear, qemu: &mut Running) -> Result<bool> {
    if !ear.inject_nmi(ANSWER) {
        return Ok(false);
    }
    let deadline = Instant::now() + SPEECH;
    while qemu.exited()?.is_none() && Instant::now() < deadline {
        thread::park_timeout(POLL);
    }
    Ok(true)
}

/// What was heard of a guest besides its results.
pub(crate) struct Heard {
    /// The end of the console, up to the stacks.
    pub(crate) console_tail: String,
    /// The stacks as the kernel prints them; empty if it has printed none.
    pub(crate) stacks: String,
}

/// Reads the console in `vm`, and keeps the stacks in a file of their own: those on it, or those that the agent has sent.
pub(crate) fn hear(vm: &Path, trace: &Path) -> Result<Heard> {
    let console = read_end(&vm.join(CONSOLE_LOG), CONSOLE_BYTES);
    let (before, stacks) = split(&console);
    let begin = before.floor_char_boundary(before.len().saturating_sub(TAIL_BYTES));
    let console_tail = before.get(begin..).unwrap_or_default().to_owned();
    let path = vm.join(STACKS);
    let sent = trace.join(AGENT_STACKS);
    let stacks = match fs::rename(&sent, &path) {
        Ok(()) => read_end(&path, CONSOLE_BYTES),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if !stacks.is_empty() {
                fs::write(&path, stacks)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            stacks.to_owned()
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot move {}", sent.display()));
        }
    };
    Ok(Heard {
        console_tail,
        stacks,
    })
}

/// The console up to the first task that is shown, and from there on.
fn split(console: &str) -> (&str, &str) {
    let mut begin = 0;
    for line in console.split_inclusive('\n') {
        // Behind the time, and the caller if it is printed.
        let message = line.rsplit_once("] ").map_or(line, |(_, message)| message);
        if message.starts_with("task:") && message.contains(" state:") {
            return console.split_at(begin);
        }
        begin += line.len();
    }
    (console, "")
}

/// The end of a text file; empty if it cannot be read.
pub(crate) fn read_end(path: &Path, most: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "[    1.0] Kernel panic - not syncing: NMI: Not continuing\n\
        [    1.0] Call Trace:\n\
        [    1.1] task:init            state:S stack:0     pid:1\n\
        [    1.1] Call Trace:\n";

    #[test]
    fn stacks_are_taken_off_the_console() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(
            folder.path().join(CONSOLE_LOG),
            CONSOLE.replace('\n', "\r\n"),
        )
        .expect("a file");
        let heard = hear(folder.path(), &folder.path().join("trace")).expect("heard");
        assert!(heard.console_tail.ends_with("] Call Trace:\n"));
        assert!(!heard.console_tail.contains("task:init"));
        assert!(heard.stacks.starts_with("[    1.1] task:init "));
        let kept = fs::read_to_string(folder.path().join(STACKS)).expect("a file");
        assert_eq!(kept, heard.stacks);
    }

    #[test]
    fn a_console_without_tasks_leaves_no_file_and_what_the_agent_sent_is_moved() {
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("trace");
        let heard = hear(folder.path(), &trace).expect("heard");
        assert_eq!(
            (heard.console_tail.as_str(), heard.stacks.as_str()),
            ("", "")
        );
        assert!(!folder.path().join(STACKS).exists());
        fs::create_dir(&trace).expect("a folder");
        fs::write(trace.join(AGENT_STACKS), "task:init state:S").expect("a file");
        let heard = hear(folder.path(), &trace).expect("heard");
        assert_eq!(heard.stacks, "task:init state:S");
        assert!(folder.path().join(STACKS).exists() && !trace.join(AGENT_STACKS).exists());
    }
}
