// SPDX-License-Identifier: GPL-2.0-only

//! Writes to files of the kernel, and what it says when it refuses one.
//!
//! In: a path and a text. Out: nothing, or a [`Refusal`] that names file, text, error and the kernel's own explanation.
//! Source: `tracing_log_err()`, `kernel/trace/trace.c`, Linux 7.3.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deferinit_protocol::{How, Scope, Setting};

use crate::refusal::{Refusal, option_of};

/// The mount point of tracefs.
pub(crate) const TRACEFS: &str = "/sys/kernel/tracing";

/// What counts or measures from the moment it is switched on, and is switched off when the window closes.
const SWITCHES: [(Scope, &str); 2] = [
    (Scope::Top, "function_profile_enabled"),
    (Scope::Sysctl, "kernel/stack_tracer_enabled"),
];

/// Where the files of a scope are, for an instance that lies in `instance`.
pub(crate) fn folder(scope: Scope, instance: &Path) -> PathBuf {
    match scope {
        Scope::Instance => instance.to_owned(),
        Scope::Top => TRACEFS.into(),
        Scope::Sysctl => "/proc/sys".into(),
        Scope::Sysfs => "/sys".into(),
    }
}

/// Makes all settings but those that act at once.
pub(crate) fn make_early(settings: &[Setting], instance: &Path) -> Result<()> {
    let mut early = settings.iter().filter(|setting| !acts_at_once(setting));
    early.try_for_each(|setting| make(setting, instance))
}

/// Makes the settings that act at once; the window is open.
pub(crate) fn make_late(settings: &[Setting], instance: &Path) -> Result<()> {
    let mut late = settings.iter().filter(|setting| acts_at_once(setting));
    late.try_for_each(|setting| make(setting, instance))
}

/// Switches off what was switched on.
pub(crate) fn switch_off(settings: &[Setting], instance: &Path) -> Result<()> {
    settings
        .iter()
        .filter(|setting| is_switch(setting))
        .try_for_each(|setting| {
            let path = folder(setting.scope, instance).join(&setting.file);
            write(&path, "0", How::Write)
                .with_context(|| format!("cannot write 0 to {}", path.display()))
        })
}

/// Switches, and triggers: these act on what happens while nothing is recorded yet, and a count is used up.
fn acts_at_once(setting: &Setting) -> bool {
    let Setting { file, text, .. } = setting;
    let is_function_trigger =
        file == "set_ftrace_filter" && text.contains(':') && !text.contains(":mod:");
    is_switch(setting) || file.ends_with("/trigger") || is_function_trigger
}

fn is_switch(setting: &Setting) -> bool {
    SWITCHES.contains(&(setting.scope, setting.file.as_str()))
}

fn make(setting: &Setting, instance: &Path) -> Result<()> {
    let path = folder(setting.scope, instance).join(&setting.file);
    write(&path, &setting.text, setting.how)
        .map_err(|error| refused(setting, &path, &error, instance).into())
}

/// Writes a text and a newline, in one piece as far as the kernel takes it.
pub(crate) fn write(path: &Path, text: &str, how: How) -> io::Result<()> {
    let mut options = OpenOptions::new();
    match how {
        How::Write => options.write(true).truncate(true),
        How::Append => options.append(true),
    };
    options
        .open(path)?
        .write_all(format!("{text}\n").as_bytes())
}

fn refused(setting: &Setting, path: &Path, error: &io::Error, instance: &Path) -> Refusal {
    let Setting {
        scope, file, text, ..
    } = setting;
    if error.kind() == ErrorKind::NotFound
        && let Some(option) = option_of(*scope, file)
    {
        return Refusal::Unsupported {
            what: format!("a write to {file}"),
            option: Some(option),
        };
    }
    let explanation = [instance, Path::new(TRACEFS)]
        .iter()
        .find_map(|folder| last_error(&folder.join("error_log")));
    Refusal::Refused(match explanation {
        Some(log) => format!(
            "the kernel refuses {text:?} in {}: {error}; its error_log says: {log}",
            path.display()
        ),
        None => format!("the kernel refuses {text:?} in {}: {error}", path.display()),
    })
}

/// The newest entry of an error log.
fn last_error(path: &Path) -> Option<String> {
    newest_entry(&fs::read_to_string(path).ok()?)
}

/// The last entry of a log whose entries begin with a time in brackets, with its lines joined: the message, the command,
/// and a mark below the part of the command that is meant, which becomes that part.
fn newest_entry(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let begin = lines.iter().rposition(|line| line.starts_with('['))?;
    let mut entry = lines.get(begin..)?.iter();
    let message = entry.next()?.split_once(']')?.1.trim();
    let command = entry
        .next()
        .and_then(|line| line.trim_start().strip_prefix("Command: "));
    let mark = entry.next().and_then(|line| line.find('^'));
    // `  Command: ` and the mark's line begin in the same column.
    let part = command.and_then(|command| command.get(mark?.checked_sub("  Command: ".len())?..));
    Some(match part.filter(|part| !part.trim().is_empty()) {
        Some(part) => format!("{message}, at {:?}", part.trim_end()),
        None => message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::newest_entry;

    #[test]
    fn the_newest_entry_names_the_part_that_is_meant() {
        // As Linux 7.3.4 prints it, with two entries.
        let log = "[    1.2] event filter parse error: error: Field not found\n  Command: nopid < 1\n           ^\n\
                   [    1.5] trace_kprobe: error: Invalid probed address or symbol\n  Command: p:x no_such_function\n               ^\n";
        for (log, entry) in [
            (
                log,
                Some(
                    "trace_kprobe: error: Invalid probed address or symbol, at \"no_such_function\"",
                ),
            ),
            (
                "[    1.2] hist:sched: error: Duplicate\n",
                Some("hist:sched: error: Duplicate"),
            ),
            ("# no entry\n", None),
            ("", None),
        ] {
            assert_eq!(newest_entry(log).as_deref(), entry, "{log:?}");
        }
    }
}
