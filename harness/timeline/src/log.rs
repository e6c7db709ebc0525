// SPDX-License-Identifier: GPL-2.0-only

//! The lines of a kernel log, without what printk puts before them.
//!
//! In: the log as `klogctl`, `/dev/kmsg` or the console gives it, untrusted. Out: its messages, bounded in number and
//! length, and whether that is all of it.
//! Does not: look for faults (`splats`).
//! Source: `print_syslog()`, `print_time()`, `print_caller()` and `msg_print_ext_header()`, `kernel/printk/printk.c`;
//! the banner in `start_kernel()`, `init/main.c`, Linux 7.3.

use crate::{KEPT_LOG_BYTES, KEPT_LOG_LINES};

/// How the first message of every kernel begins, on some architectures behind a few others.
const BANNER: &str = "Linux version ";

/// Among how many of the first messages the banner stands.
const LINES_TO_BANNER: usize = 16;

/// What is kept of a kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) lines: Vec<String>,
    /// Whether there was more: lines, bytes of a line, or a beginning that the kernel's own buffer has lost.
    pub(crate) is_cut: bool,
}

impl Log {
    /// Keeps as much of a log as may be kept.
    pub(crate) fn read(log: &str) -> Self {
        let kept = Output::of(log.lines().map(message));
        let mut first = kept.lines.iter().take(LINES_TO_BANNER);
        let has_beginning = first.any(|line| line.starts_with(BANNER));
        Self {
            is_cut: kept.is_cut || !has_beginning,
            lines: kept.lines,
        }
    }
}

/// What is kept of what a program writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) lines: Vec<String>,
    /// Whether there was more: lines, or bytes of a line.
    pub(crate) is_cut: bool,
}

impl Output {
    /// Keeps as much of an output as may be kept.
    pub(crate) fn read(text: &str) -> Self {
        Self::of(text.lines())
    }

    fn of<'a>(mut lines: impl Iterator<Item = &'a str>) -> Self {
        let mut is_cut = false;
        let kept: Vec<String> = lines
            .by_ref()
            .take(KEPT_LOG_LINES)
            .map(|line| {
                let kept = line
                    .get(..line.floor_char_boundary(KEPT_LOG_BYTES))
                    .unwrap_or(line);
                is_cut |= kept.len() < line.len();
                kept.to_owned()
            })
            .collect();
        Self {
            is_cut: is_cut || lines.next().is_some(),
            lines: kept,
        }
    }
}

/// The message of a log line, without level, timestamp and caller.
pub(crate) fn message(line: &str) -> &str {
    let mut rest = line.trim();
    // `/dev/kmsg`: "level,sequence,microseconds,flags;message".
    if rest.starts_with(|c: char| c.is_ascii_digit())
        && let Some((head, text)) = rest.split_once(';')
        && head.split(',').count() >= 3
    {
        rest = text;
    }
    // klogctl and console: "<6>[    1.663633][    T8] message".
    if let Some(after) = rest.strip_prefix('<')
        && let Some((level, text)) = after.split_once('>')
        && level.bytes().all(|byte| byte.is_ascii_digit())
    {
        rest = text;
    }
    while let Some(after) = rest.strip_prefix('[')
        && let Some((inside, text)) = after.split_once(']')
        && is_stamp(inside)
    {
        rest = text.trim_start();
    }
    rest
}

/// Whether brackets hold a timestamp (`    1.663633`) or a caller (`    T8`, `   C0`).
fn is_stamp(inside: &str) -> bool {
    let inside = inside.trim_start();
    let digits = inside.strip_prefix(['T', 'C']).unwrap_or(inside);
    !digits.is_empty()
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::Log;
    use crate::{KEPT_LOG_BYTES, KEPT_LOG_LINES};

    #[test]
    fn prefixes_of_every_kind_are_taken_off() {
        let log = Log::read(
            "<5>[    0.000000] Linux version 7.3.4 (gcc)\n\
             [    1.663633][    T8] test_deferred: item 3 (bus)\r\n\
             6,210,5000000,-;workqueue: deferred_run_item hogged CPU for >10000us 4 times\n\
             <3>[    2.0][   C0] [ BUG: Invalid wait context ]\n\
             no prefix [x] at all\n",
        );
        assert_eq!(
            log.lines,
            [
                "Linux version 7.3.4 (gcc)",
                "test_deferred: item 3 (bus)",
                "workqueue: deferred_run_item hogged CPU for >10000us 4 times",
                "[ BUG: Invalid wait context ]",
                "no prefix [x] at all",
            ]
        );
        assert!(!log.is_cut);
    }

    #[test]
    fn long_log_and_long_line_are_cut_and_said_to_be() {
        let banner = "Linux version 7.3.4\n";
        let lines = |count: usize| format!("{banner}{}", "x\n".repeat(count));
        let whole = Log::read(&lines(KEPT_LOG_LINES - 1));
        assert_eq!((whole.lines.len(), whole.is_cut), (KEPT_LOG_LINES, false));
        let longer = Log::read(&lines(KEPT_LOG_LINES));
        assert_eq!((longer.lines.len(), longer.is_cut), (KEPT_LOG_LINES, true));

        let line = |count: usize| format!("{banner}{}", "\u{e9}".repeat(count));
        let whole = Log::read(&line(KEPT_LOG_BYTES / 2));
        assert_eq!(
            (whole.lines[1].len(), whole.is_cut),
            (KEPT_LOG_BYTES, false)
        );
        // A character of two bytes that begins at the last byte is not cut in two.
        let longer = Log::read(&format!("{banner}x{}", "\u{e9}".repeat(KEPT_LOG_BYTES / 2)));
        assert_eq!(
            (longer.lines[1].len(), longer.is_cut),
            (KEPT_LOG_BYTES - 1, true)
        );
    }

    #[test]
    fn log_without_its_beginning_is_cut() {
        assert!(Log::read("[    9.0] x\n").is_cut);
        assert!(Log::read("").is_cut);
    }
}
