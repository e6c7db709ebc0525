// SPDX-License-Identifier: GPL-2.0-only

//! The initramfs: the agent as `/init`, the modules, a console, and empty folders to mount on.
//!
//! In: the bytes of agent and modules. Out: a cpio archive in the kernel's `newc` format. The same
//! input gives the same bytes: inode numbers count up, owner and times are 0.
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst`, Linux 7.3.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result};
use cpio::newc::Builder;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Where the agent mounts file systems.
const FOLDERS: [&str; 3] = ["dev", "proc", "sys"];

/// Makes the archive. `modules` are names below `/` and contents; folders in the names are made.
///
/// # Errors
/// If a file is too large for the format (4 GiB).
pub fn initramfs(agent: &[u8], modules: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = Archive {
        bytes: Vec::new(),
        inodes: 0,
    };
    for folder in FOLDERS {
        archive.add(folder, FOLDER, (0, 0), &[])?;
    }
    // The kernel opens it before the agent can mount anything: the agent's last words need it.
    archive.add("dev/console", CHARACTER_DEVICE, (5, 1), &[])?;
    archive.add("init", PROGRAM, (0, 0), agent)?;
    let mut folders = BTreeSet::new();
    for (name, content) in modules {
        let name = name.trim_start_matches('/');
        for (end, _) in name.match_indices('/') {
            if let Some(folder) = name.get(..end).filter(|folder| folders.insert(*folder)) {
                archive.add(folder, FOLDER, (0, 0), &[])?;
            }
        }
        archive.add(name, FILE, (0, 0), content)?;
    }
    cpio::newc::trailer(&mut archive.bytes).context("cannot end the initramfs")?;
    Ok(archive.bytes)
}

struct Archive {
    bytes: Vec<u8>,
    inodes: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        self.inodes += 1;
        let length = u32::try_from(content.len()).with_context(|| {
            format!(
                "{name} is {} bytes long, too many for an initramfs",
                content.len()
            )
        })?;
        let mut entry = Builder::new(name)
            .ino(self.inodes)
            .mode(mode)
            .nlink(1)
            .rdev_major(device.0)
            .rdev_minor(device.1)
            .write(&mut self.bytes, length);
        entry
            .write_all(content)
            .and_then(|()| entry.finish().map(drop))
            .with_context(|| format!("cannot add {name} to the initramfs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let make = || initramfs(b"agent", &[("/a.ko", b"module")]).expect("an archive");
        assert_eq!(make(), make());
    }

    #[test]
    fn a_file_in_a_folder_comes_after_its_folder_which_is_made_once() {
        let files: [(&str, &[u8]); 2] = [("/modules/a.ko", b"a"), ("/modules/b.ko", b"b")];
        let bytes = initramfs(b"agent", &files).expect("an archive");
        let found: Vec<(String, u32)> = files_of(bytes)
            .into_iter()
            .map(|(name, mode, _)| (name, mode))
            .filter(|(name, _)| name.starts_with("modules"))
            .collect();
        let expected = [
            ("modules", FOLDER),
            ("modules/a.ko", FILE),
            ("modules/b.ko", FILE),
        ];
        assert_eq!(found, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    /// Names, modes and contents, in their order.
    fn files_of(bytes: Vec<u8>) -> Vec<(String, u32, Vec<u8>)> {
        let mut rest = std::io::Cursor::new(bytes);
        let mut files = Vec::new();
        loop {
            let mut entry = cpio::newc::Reader::new(rest).expect("an entry");
            if entry.entry().is_trailer() {
                return files;
            }
            let name = entry.entry().name().to_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).expect("its content");
            files.push((name, entry.entry().mode(), content));
            rest = entry.finish().expect("its end");
        }
    }

    #[test]
    fn every_file_is_in_it_with_its_content() {
        let bytes = initramfs(b"agent", &[("/a.ko", b"module")]).expect("an archive");
        let files = files_of(bytes);
        let init = files
            .iter()
            .find(|(name, ..)| name == "init")
            .expect("an init");
        assert_eq!((init.1, init.2.as_slice()), (PROGRAM, &b"agent"[..]));
        let module = files
            .iter()
            .find(|(name, ..)| name == "a.ko")
            .expect("a module");
        assert_eq!(module.2, b"module");
        assert!(
            files
                .iter()
                .any(|(name, mode, _)| name == "dev/console" && *mode == CHARACTER_DEVICE)
        );
    }
}
