// SPDX-License-Identifier: GPL-2.0-only

//! The user that QEMU is when the harness is root, and what that user may read and write.
//!
//! In: who we are. Out: whom QEMU becomes between fork and exec, if anybody; a folder that only that user and root can
//! enter; and images as descriptors, since the way to them may lead through folders that only root may enter.
//! Not by QEMU's own `-runas`: that comes after the start, and a change of user takes back that QEMU dies with its parent
//! (`commit_creds()`, `kernel/cred.c`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::Path;

use anyhow::{Context, Result};
use deferinit_scenario::Clock;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use crate::accelerator::Accelerator;
use crate::qemu::Qemu;

/// The user and the group with no rights of their own (`DEFAULT_OVERFLOWUID`, `include/linux/highuid.h`): `nobody`.
const NOBODY: u32 = 65534;

/// A user with no rights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nobody {
    id: u32,
    /// A further group, which may use KVM.
    kvm: Option<u32>,
}

impl Nobody {
    /// Whom QEMU becomes; `None` if we have no rights to give up, or there is nobody else in this user namespace.
    pub(crate) fn needed() -> Option<Self> {
        let is_mapped = |map: &str| {
            fs::read_to_string(format!("/proc/self/{map}")).is_ok_and(|map| maps(&map, NOBODY))
        };
        (geteuid().is_root() && is_mapped("uid_map") && is_mapped("gid_map")).then_some(Self {
            id: NOBODY,
            kvm: None,
        })
    }

    /// One that is in the group that may use KVM, if there is one beside root's.
    pub(crate) fn with_kvm(self) -> Self {
        let device = fs::metadata("/dev/kvm").ok();
        let group = device.filter(|device| device.mode() & 0o060 == 0o060 && device.gid() != 0);
        Self {
            kvm: group.map(|device| device.gid()),
            ..self
        }
    }

    /// Becomes that user for good. For between fork and exec: system calls only.
    pub(crate) fn become_it(self) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.id));
        match self.kvm {
            Some(kvm) => setgroups(&[Gid::from_raw(kvm)])?,
            None => setgroups(&[])?,
        }
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        Ok(())
    }
}

/// Whom the QEMU of a run becomes.
pub(crate) fn user(clock: Clock, qemu: &Qemu) -> Option<Nobody> {
    let nobody = Nobody::needed();
    match (clock, qemu.accelerator) {
        (Clock::Wall, Accelerator::Kvm) => nobody.map(Nobody::with_kvm),
        _ => nobody,
    }
}

/// Makes a folder that nobody else can enter, for a QEMU that is this user.
pub(crate) fn make_private(folder: &Path, user: Option<Nobody>) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    give(folder, user)
}

/// Gives a folder, and what is in it, to the user that QEMU is.
pub(crate) fn give(folder: &Path, user: Option<Nobody>) -> Result<()> {
    match user {
        Some(Nobody { id, .. }) => change_owner(folder, id, id),
        None => Ok(()),
    }
}

/// Takes back what QEMU has written, so that no other process of that user can change it.
pub(crate) fn take_back(folder: &Path, user: Option<Nobody>) -> Result<()> {
    match user {
        Some(_) => change_owner(folder, 0, 0),
        None => Ok(()),
    }
}

fn change_owner(folder: &Path, user: u32, group: u32) -> Result<()> {
    let change = || -> io::Result<()> {
        lchown(folder, Some(user), Some(group))?;
        for entry in fs::read_dir(folder)? {
            // Not a link's target: it is QEMU that may have made it.
            lchown(entry?.path(), Some(user), Some(group))?;
        }
        Ok(())
    };
    change().with_context(|| format!("cannot change the owner of {}", folder.display()))
}

/// An image that QEMU reads, to be opened again by the user that it is.
pub(crate) fn open_image(path: &Path, user: Option<Nobody>) -> Result<File> {
    let open = || -> io::Result<File> {
        let mut file = File::open(path)?;
        if user.is_none() || file.metadata()?.mode() & 0o004 != 0 {
            return Ok(file);
        }
        let mut copy = memfd_create(c"deferinit-image", MFdFlags::MFD_CLOEXEC).map(File::from)?;
        io::copy(&mut file, &mut copy)?;
        Ok(copy)
    };
    open().with_context(|| format!("cannot read {}", path.display()))
}

/// Whether a map of ids has this one inside the namespace: lines of inside, outside, length.
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), _, Some(Ok(length))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        id.checked_sub(first).is_some_and(|offset| offset < length)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_namespace_without_nobody_is_known_by_its_map() {
        assert!(maps("         0          0 4294967295\n", NOBODY));
        assert!(!maps("         0       1000          1\n", NOBODY));
        assert!(maps("0 1000 1\n1 100000 65536\n", NOBODY));
        assert!(!maps("", NOBODY) && !maps("nonsense", NOBODY));
    }

    #[test]
    fn an_image_that_only_its_owner_may_read_is_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        fs::write(&path, "an image").expect("a file");
        for (mode, is_copied) in [(0o600, true), (0o644, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let user = Nobody {
                id: NOBODY,
                kvm: None,
            };
            let mut image = open_image(&path, Some(user)).expect("an image");
            let same = image.metadata().expect("an inode").ino()
                == fs::metadata(&path).expect("an inode").ino();
            assert_eq!(same, !is_copied, "{mode:o}");
            let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&image));
            assert_eq!(fs::read_to_string(again).expect("a copy"), "an image");
            drop(image.read(&mut [0]));
        }
    }

    #[test]
    fn a_private_folder_is_entered_by_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let private = folder.path().join("vm");
        make_private(&private, None).expect("a folder");
        let mode = fs::metadata(&private).expect("a folder").mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
