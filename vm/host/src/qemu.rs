// SPDX-License-Identifier: GPL-2.0-only

//! The QEMU program: which version it is, and starting it so that it cannot outlive us.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::accelerator::Accelerator;
use crate::argv::{FIRST_FD, INITRAMFS_FD, KERNEL_FD, MEMORY_FD, MONITOR_FD, RESULTS_FD};
use crate::confinement::Nobody;
use crate::host_wait::HostWait;

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 7 in 7.2.22.
    pub major: u32,
    /// 2 in 7.2.22.
    pub minor: u32,
    /// 22 in 7.2.22.
    pub micro: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// An installed QEMU.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// The program, as in the machine file.
    pub program: String,
    /// Its version.
    pub version: Version,
    /// What executes its guests on the wall clock.
    pub accelerator: Accelerator,
}

impl Qemu {
    /// Asks a QEMU program for its version.
    ///
    /// # Errors
    /// If it cannot be started, or says something that is no version.
    pub fn find(program: &str) -> Result<Self> {
        let output = Command::new(program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot start {program}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = parse_version(&text).with_context(|| {
            format!(
                "{program} --version says {:?}",
                text.lines().next().unwrap_or_default()
            )
        })?;
        Ok(Self {
            program: program.to_owned(),
            version,
            accelerator: Accelerator::default(),
        })
    }
}

/// Reads the version out of `QEMU emulator version 7.2.22 (Debian ...)`.
fn parse_version(text: &str) -> Option<Version> {
    let (_, rest) = text.split_once("version ")?;
    let digits = rest.split([' ', '\n', '(']).next()?;
    let mut numbers = digits.split('.').map(str::parse);
    Some(Version {
        major: numbers.next()?.ok()?,
        minor: numbers.next()?.ok()?,
        micro: numbers.next().and_then(Result::ok).unwrap_or(0),
    })
}

/// A running QEMU; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    host_wait: HostWait,
}

/// Where QEMU runs.
pub(crate) enum Place {
    /// In a process group of its own, so that Ctrl-C reaches the harness only; its standard error goes to this file.
    Background(File),
    /// On our terminal, which is the guest's console.
    Terminal,
}

/// What QEMU finds at descriptors of fixed numbers, as far as it is there.
#[derive(Default)]
pub(crate) struct Descriptors<'a> {
    /// Guest RAM.
    pub(crate) memory: Option<BorrowedFd<'a>>,
    /// Its end of the monitor's socket.
    pub(crate) monitor: Option<BorrowedFd<'a>>,
    /// Its end of the socket for results.
    pub(crate) results: Option<BorrowedFd<'a>>,
    /// The kernel's image.
    pub(crate) kernel: Option<BorrowedFd<'a>>,
    /// The initramfs.
    pub(crate) initramfs: Option<BorrowedFd<'a>>,
}

impl Running {
    /// Starts QEMU in `folder`, as `user` if that is somebody else.
    ///
    /// It is killed by the kernel if the thread that calls this dies.
    pub(crate) fn start(
        program: &str,
        arguments: &[String],
        folder: &Path,
        place: Place,
        user: Option<Nobody>,
        descriptors: &Descriptors<'_>,
    ) -> Result<Self> {
        let parent = nix::unistd::getpid();
        let targets = descriptors.targets();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder);
        if let Place::Background(stderr) = place {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr)
                .process_group(0);
        }
        let prepare = move || {
            pass_descriptors(targets)?;
            if let Some(user) = user {
                user.become_it()?;
            }
            // After the change of user, which would take it back.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above.
            if nix::unistd::getppid() != parent {
                return Err(nix::errno::Errno::ESRCH.into());
            }
            Ok(())
        };
        // SAFETY: Between fork and exec, `prepare` makes system calls only: it allocates nothing
        // and takes no lock.
        unsafe { command.pre_exec(prepare) };
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let host_wait = HostWait::of(child.id());
        Ok(Self { child, host_wait })
    }

    /// The exit status, if it has exited.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for QEMU")
    }

    /// Waits for its end, however long that takes.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for QEMU")
    }

    /// Kills it and waits for it.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        // An error means that it has exited already; the wait tells how.
        drop(self.child.kill());
        self.child.wait().context("cannot wait for QEMU")
    }

    /// Looks at how long it has waited for a CPU by now.
    pub(crate) fn look_at_waits(&mut self) {
        self.host_wait.look();
    }

    /// How long it had waited when that was looked at last.
    pub(crate) fn host_wait(&self) -> Option<Duration> {
        self.host_wait.total()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// A descriptor of ours and its number in QEMU.
type Target = Option<(RawFd, RawFd)>;

impl Descriptors<'_> {
    fn targets(&self) -> [Target; 5] {
        let target = |descriptor: Option<BorrowedFd<'_>>, number| {
            descriptor.map(|descriptor| (descriptor.as_raw_fd(), number))
        };
        [
            target(self.memory, MEMORY_FD),
            target(self.monitor, MONITOR_FD),
            target(self.results, RESULTS_FD),
            target(self.kernel, KERNEL_FD),
            target(self.initramfs, INITRAMFS_FD),
        ]
    }
}

/// Puts descriptors where QEMU's arguments say they are. They may be in each other's place.
fn pass_descriptors(mut targets: [Target; 5]) -> std::io::Result<()> {
    // High copies first, so that no target overwrites a source.
    let high = FIRST_FD + 64;
    for (descriptor, _) in targets.iter_mut().flatten() {
        *descriptor = fcntl_dup_above(*descriptor, high)?;
    }
    for (descriptor, number) in targets.into_iter().flatten() {
        dup_to(descriptor, number)?;
    }
    Ok(())
}

fn fcntl_dup_above(descriptor: RawFd, least: RawFd) -> std::io::Result<RawFd> {
    // SAFETY: The call takes plain numbers; a bad descriptor is an error it returns.
    let copy = unsafe { nix::libc::fcntl(descriptor, nix::libc::F_DUPFD_CLOEXEC, least) };
    nix::errno::Errno::result(copy).map_err(Into::into)
}

fn dup_to(descriptor: RawFd, target: RawFd) -> std::io::Result<()> {
    // SAFETY: The call takes plain numbers; what the target was is not used any more by this
    // process, which is about to exec.
    let copied = unsafe { nix::libc::dup2(descriptor, target) };
    nix::errno::Errno::result(copied)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_qemu_says() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright";
        assert_eq!(
            parse_version(debian),
            Some(Version {
                major: 7,
                minor: 2,
                micro: 22
            })
        );
        let plain = "QEMU emulator version 10.0.2\n";
        assert_eq!(
            parse_version(plain),
            Some(Version {
                major: 10,
                minor: 0,
                micro: 2
            })
        );
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Qemu::find("qemu-system-none").expect_err("no such program");
        assert_eq!(error.to_string(), "cannot start qemu-system-none");
    }
}
