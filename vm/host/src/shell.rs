// SPDX-License-Identifier: GPL-2.0-only

//! A guest whose console is the terminal, with a shell of busybox in it.
//!
//! In: a machine, a kernel, and an initramfs with busybox at `/bin/busybox`. Out: nothing but what the user sees. Nothing
//! is recorded and nothing is judged, there is no deadline, and the clock is the host's.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context, Result};
use deferinit_scenario::{Bytes, Clock};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};

use crate::argv::{self, Arguments, ResultsTo};
use crate::confinement;
use crate::machine::Machine;
use crate::memory::GuestMemory;
use crate::qemu::{Descriptors, Place, Qemu, Running};
use crate::tsc;

/// What PID 1 does in place of the agent.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /tmp /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmpfs /tmp
export PATH=/bin HOME=/root PS1='guest:\\w# '
cd /root
";

/// What to boot.
pub struct Shell<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The QEMU that emulates it.
    pub qemu: &'a Qemu,
    /// Its CPUs.
    pub cpus: u32,
    /// Its RAM.
    pub memory: Bytes,
    /// The kernel image.
    pub kernel: &'a Path,
    /// The initramfs, whose `/init` is a [`shell_init`].
    pub initramfs: &'a Path,
    /// An existing folder, in which QEMU is started.
    pub folder: &'a Path,
}

/// The script that is PID 1: greets, and runs a shell on a terminal of this size until it ends; then powers off.
#[must_use]
pub fn shell_init(greeting: &str, (columns, rows): (u16, u16)) -> String {
    let mut script = INIT.to_owned();
    // Of a greeting with a quote in it, the shell would make something else.
    for line in greeting.lines() {
        let _ = writeln!(script, "echo '{}'", line.replace('\'', "'\\''"));
    }
    let _ = writeln!(script, "stty cols {columns} rows {rows}");
    script.push_str("setsid cttyhack sh\npoweroff -f\n");
    script
}

/// Boots it, and waits until it is off. The terminal is as it was before.
///
/// # Errors
/// If standard input is no terminal, or QEMU cannot be started.
pub fn shell(of: &Shell<'_>) -> Result<ExitStatus> {
    let terminal = io::stdin();
    anyhow::ensure!(
        terminal.is_terminal(),
        "a shell needs a terminal on its standard input"
    );
    let user = confinement::user(Clock::Wall, of.qemu);
    let vm = of.folder.join("vm");
    confinement::make_private(&vm, user)?;
    let arguments = argv::arguments_of_shell(&Arguments {
        machine: of.machine,
        clock: Clock::Wall,
        qemu: of.qemu,
        cpus: of.cpus,
        memory_bytes: of.memory.0,
        trace: None,
        extra_command_line: &[],
        boot_events: &[],
        results: ResultsTo::File,
        debugger: None,
        tsc_khz: tsc::host_khz(),
    });
    let memory = GuestMemory::new(of.memory.0)?;
    let kernel = confinement::open_image(of.kernel, user)?;
    let initramfs = confinement::open_image(of.initramfs, user)?;
    // Nobody has anything to say to this one's monitor.
    let (_ours, theirs) = UnixStream::pair().context("cannot make the monitor's socket")?;
    let before = tcgetattr(&terminal).context("cannot ask for the terminal's settings")?;
    let mut qemu = Running::start(
        &of.qemu.program,
        &arguments,
        &vm,
        Place::Terminal,
        user,
        &Descriptors {
            memory: Some(memory.as_fd()),
            monitor: Some(theirs.as_fd()),
            results: None,
            kernel: Some(kernel.as_fd()),
            initramfs: Some(initramfs.as_fd()),
        },
    )?;
    let ended = qemu.wait();
    // QEMU does so itself, unless it was killed.
    tcsetattr(&terminal, SetArg::TCSANOW, &before).context("cannot restore the terminal")?;
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_text_to_the_shell() {
        let init = shell_init("It's $HOME\n`ls`", (80, 25));
        assert!(
            init.contains("echo 'It'\\''s $HOME'\necho '`ls`'\n"),
            "{init}"
        );
        assert!(init.contains("stty cols 80 rows 25\n"), "{init}");
        assert!(init.ends_with("poweroff -f\n"), "{init}");
    }
}
