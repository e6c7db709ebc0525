// SPDX-License-Identifier: GPL-2.0-only

//! What the host may do to a run: sleep through it, or have no room for its results.
//!
//! In: the host's clocks and file systems. Out: for how long it slept, and how full a disk is.
//! Source: clock_gettime(2), statvfs(3).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use nix::time::{ClockId, clock_gettime};

/// The two clocks are not read at once; what they differ by between two readings is noise up to here.
const NOISE: Duration = Duration::from_millis(500);

/// A disk with less free is full: nothing of a result fits.
const LEAST_FREE_BYTES: u64 = 16 * 1024;

/// A moment on the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Goes on while the host sleeps.
    boot: Duration,
    /// Does not.
    monotonic: Duration,
}

impl Moment {
    /// This one.
    pub(crate) fn now() -> Result<Self> {
        let read = |clock| {
            clock_gettime(clock)
                .map(Duration::from)
                .context("cannot read the host's clock")
        };
        Ok(Self {
            boot: read(ClockId::CLOCK_BOOTTIME)?,
            monotonic: read(ClockId::CLOCK_MONOTONIC)?,
        })
    }

    /// For how long the host has slept since an earlier moment.
    pub(crate) fn slept_since(self, earlier: Self) -> Option<Duration> {
        let boot = self.boot.checked_sub(earlier.boot)?;
        let monotonic = self.monotonic.checked_sub(earlier.monotonic)?;
        boot.checked_sub(monotonic).filter(|slept| *slept > NOISE)
    }
}

/// Room for what is to be said of a run at its end, though its guest should fill the disk. It is given back when this is
/// dropped.
pub(crate) struct Reserve(PathBuf);

impl Reserve {
    /// More than a verdict, and the files beside it, without a trace.
    const BYTES: i64 = 512 * 1024;

    /// Keeps it in a folder.
    pub(crate) fn keep(folder: &Path) -> Result<Self> {
        let reserve = Self(folder.join("reserve"));
        let file = File::create(&reserve.0)
            .with_context(|| format!("cannot create {}", reserve.0.display()))?;
        // Where it cannot be kept, a full disk is an error of the harness in place of a verdict.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, Self::BYTES);
        Ok(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// How much is free for us where a folder lies, if that is too little for anything.
pub(crate) fn too_little_free(folder: &Path) -> Option<u64> {
    // A file system that does not say is not known to be full.
    let known = statvfs(folder).ok()?;
    let free = known
        .blocks_available()
        .saturating_mul(known.fragment_size());
    (free < LEAST_FREE_BYTES).then_some(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_ms: u64, monotonic_ms: u64) -> Moment {
        Moment {
            boot: Duration::from_millis(boot_ms),
            monotonic: Duration::from_millis(monotonic_ms),
        }
    }

    #[test]
    fn a_host_that_slept_is_known_by_its_two_clocks() {
        let before = at(10_000, 7_000);
        for (after, slept) in [
            // Both go on alike, a little apart, or one of them jumps.
            (at(70_000, 67_000), None),
            (at(70_400, 67_000), None),
            (at(3_670_000, 67_000), Some(Duration::from_secs(3600))),
            // No clock of these goes back; what does is no sleep.
            (at(9_000, 7_000), None),
            (at(10_000, 8_000), None),
        ] {
            assert_eq!(after.slept_since(before), slept, "{after:?}");
        }
        let now = Moment::now().expect("clocks");
        assert_eq!(Moment::now().expect("clocks").slept_since(now), None);
    }

    #[test]
    fn a_disk_with_room_is_not_full() {
        assert_eq!(too_little_free(Path::new("/")), None);
        assert_eq!(too_little_free(Path::new("/no/such/folder")), None);
    }
}
