// SPDX-License-Identifier: GPL-2.0-only

//! What else is sent after the window: the kernel log, the stacks of a guest that hangs, and leaked memory.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use deferinit_protocol::FileKind;
use nix::errno::Errno;

use crate::results::Results;

/// kmemleak's file.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// kmemleak reports no object that is younger than 5 s (`MSECS_MIN_AGE`, `mm/kmemleak.c`, Linux
/// 7.3).
const LEAK_AGE: Duration = Duration::from_secs(6);

/// Sends the kernel log.
pub(crate) fn send_kernel_log(results: &mut Results) -> Result<()> {
    let log = read_kernel_log().context("cannot read the kernel log")?;
    results.send_bytes(FileKind::Dmesg, &log)
}

/// Sends the stacks of all tasks, for which the kernel's only place is its log; so this comes after the log.
pub(crate) fn send_stacks(results: &mut Results) -> Result<()> {
    /// How the kernel begins (`sysrq_showstate_op`, `drivers/tty/sysrq.c`, Linux 7.3).
    const BEGIN: &[u8] = b"sysrq: Show State";

    fs::write("/proc/sysrq-trigger", "t").context("cannot ask for the stacks of all tasks")?;
    let log = read_kernel_log().context("cannot read the stacks of all tasks")?;
    let begin = log
        .windows(BEGIN.len())
        .rposition(|window| window == BEGIN)
        .unwrap_or(0);
    results.send_bytes(FileKind::Stacks, log.get(begin..).unwrap_or_default())
}

/// The lines of the kernel log from a length on, without what is before their messages; what the kernel said of a module
/// that it refused.
pub(crate) fn last_words(before: usize) -> Vec<String> {
    let log = read_kernel_log().unwrap_or_default();
    let new = String::from_utf8_lossy(log.get(before..).unwrap_or_default()).into_owned();
    let message = |line: &str| line.split_once("] ").map(|(_, message)| message.to_owned());
    new.lines().filter_map(message).collect()
}

/// How long the kernel log is by now.
pub(crate) fn log_length() -> usize {
    read_kernel_log().map_or(0, |log| log.len())
}

fn read_kernel_log() -> nix::Result<Vec<u8>> {
    /// `SYSLOG_ACTION_READ_ALL`, `include/linux/syslog.h`.
    const READ_ALL: i32 = 3;
    /// `SYSLOG_ACTION_SIZE_BUFFER`, same.
    const SIZE_BUFFER: i32 = 10;

    // SAFETY: For this action, the kernel does not use the buffer.
    let size = Errno::result(unsafe { nix::libc::klogctl(SIZE_BUFFER, std::ptr::null_mut(), 0) })?;
    let mut log = vec![0u8; usize::try_from(size).unwrap_or(0)];
    // SAFETY: The buffer is valid for writes of `size` bytes, which is its length.
    let read =
        Errno::result(unsafe { nix::libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), size) })?;
    log.truncate(usize::try_from(read).unwrap_or(0));
    Ok(log)
}

/// Makes kmemleak forget what the boot has left behind: the window is what is looked at.
pub(crate) fn forget_leaks() -> Result<()> {
    fs::write(KMEMLEAK, "scan=off")
        .context("kmemleak is not there: is kmemleak=on on the command line?")?;
    fs::write(KMEMLEAK, "scan").context("cannot make kmemleak scan")?;
    fs::write(KMEMLEAK, "clear").context("cannot make kmemleak forget")
}

/// Sends what kmemleak finds.
pub(crate) fn send_leaks(results: &mut Results) -> Result<()> {
    thread::sleep(LEAK_AGE);
    // An object found in one scan is reported only if the next one finds it unchanged.
    for _ in 0..2 {
        fs::write(KMEMLEAK, "scan").context("cannot make kmemleak scan")?;
    }
    results.send_file(FileKind::Kmemleak, KMEMLEAK)
}
