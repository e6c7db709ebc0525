// SPDX-License-Identifier: GPL-2.0-only

//! The initramfs: the agent as `/init`, modules and programs, a console, and empty folders to mount on.
//!
//! In: the bytes of agent, modules and programs. Out: a cpio archive in the kernel's `newc` format. The same
//! input gives the same bytes: inode numbers count up, owner and times are 0.
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst` and
//! `Documentation/admin-guide/bootconfig.rst`, Linux 7.3.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use cpio::newc::Builder;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Where the agent mounts file systems.
const FOLDERS: [&str; 3] = ["dev", "proc", "sys"];

/// What a boot config ends with.
const BOOT_CONFIG_MAGIC: &[u8] = b"#BOOTCONFIG\n";

/// The largest boot config that the kernel takes (`XBC_DATA_MAX`, `include/linux/bootconfig.h`).
const BOOT_CONFIG_MAX: usize = 32 * 1024 - 1;

/// A file of the guest.
#[derive(Clone, Copy, Debug)]
pub struct GuestFile<'a> {
    /// Its name, below `/`; folders in it are made.
    pub path: &'a str,
    /// Its content.
    pub content: &'a [u8],
    /// Whether it can be run.
    pub is_program: bool,
}

/// Makes the archive.
///
/// # Errors
/// If a file is too large for the format (4 GiB).
pub fn initramfs(agent: &[u8], files: &[GuestFile<'_>]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.add(folder, FOLDER, (0, 0), &[])?;
    }
    // The kernel opens it before the agent can mount anything: the agent's last words need it.
    archive.add("dev/console", CHARACTER_DEVICE, (5, 1), &[])?;
    archive.add("init", PROGRAM, (0, 0), agent)?;
    archive.add_files(files, FOLDERS.into())?;
    archive.end()
}

/// Adds files to an initramfs, as one more archive behind it: the kernel unpacks them one after the other
/// (`unpack_to_rootfs()`, `init/initramfs.c`, Linux 7.3). Before a boot config, which is the end of it all.
///
/// # Errors
/// As [`initramfs`].
pub fn add_files(initramfs: &mut Vec<u8>, files: &[GuestFile<'_>]) -> Result<()> {
    let mut archive = Archive::default();
    archive.add_files(files, BTreeSet::new())?;
    // An archive begins at a multiple of four.
    initramfs.resize(initramfs.len().next_multiple_of(4), 0);
    initramfs.extend(archive.end()?);
    Ok(())
}

/// Adds a boot config to an initramfs; the kernel looks for it if `bootconfig` stands on its command line.
///
/// # Errors
/// If it is larger than the kernel takes, or has a NUL byte in it.
pub fn add_boot_config(initramfs: &mut Vec<u8>, config: &str) -> Result<()> {
    ensure!(
        config.len() < BOOT_CONFIG_MAX,
        "a boot config of {} bytes is too large, the kernel takes less than {BOOT_CONFIG_MAX}",
        config.len()
    );
    ensure!(!config.contains('\0'), "a boot config has no NUL bytes");
    let begin = initramfs.len();
    initramfs.extend_from_slice(config.as_bytes());
    // At least one NUL, and as many as make the whole a multiple of four.
    initramfs.push(0);
    let footer = 8 + BOOT_CONFIG_MAGIC.len();
    while !(initramfs.len() + footer).is_multiple_of(4) {
        initramfs.push(0);
    }
    let data = initramfs.get(begin..).unwrap_or_default();
    let size = u32::try_from(data.len()).context("a boot config is too large")?;
    let checksum = data
        .iter()
        .fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    initramfs.extend_from_slice(&size.to_le_bytes());
    initramfs.extend_from_slice(&checksum.to_le_bytes());
    initramfs.extend_from_slice(BOOT_CONFIG_MAGIC);
    Ok(())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inodes: u32,
}

impl Archive {
    /// Adds files, each after its folders but those that are there.
    fn add_files<'a>(
        &mut self,
        files: &[GuestFile<'a>],
        mut folders: BTreeSet<&'a str>,
    ) -> Result<()> {
        for file in files {
            let name = file.path.trim_start_matches('/');
            for (end, _) in name.match_indices('/') {
                if let Some(folder) = name.get(..end).filter(|folder| folders.insert(*folder)) {
                    self.add(folder, FOLDER, (0, 0), &[])?;
                }
            }
            let mode = if file.is_program { PROGRAM } else { FILE };
            self.add(name, mode, (0, 0), file.content)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Vec<u8>> {
        cpio::newc::trailer(&mut self.bytes).context("cannot end the initramfs")?;
        Ok(self.bytes)
    }

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

    fn module<'a>(path: &'a str, content: &'a [u8]) -> GuestFile<'a> {
        GuestFile {
            path,
            content,
            is_program: false,
        }
    }

    #[test]
    fn a_program_can_be_run_and_folders_that_are_there_are_not_made_twice() {
        let file = GuestFile {
            path: "/dev/shell",
            content: b"shell",
            is_program: true,
        };
        let files = files_of(initramfs(b"agent", &[file]).expect("an archive"));
        let modes = |name: &str| -> Vec<u32> {
            let found = files.iter().filter(|(found, ..)| found == name);
            found.map(|(_, mode, _)| *mode).collect()
        };
        assert_eq!(modes("dev/shell"), [PROGRAM]);
        assert_eq!(modes("dev"), [FOLDER]);
    }

    #[test]
    fn a_boot_config_ends_with_its_size_and_sum() {
        let mut bytes = vec![0; 512];
        add_boot_config(&mut bytes, "a=1\n").expect("a small one");
        // Four bytes of text, then NULs up to the next multiple of four.
        assert_eq!(bytes.len(), 512 + 8 + 8 + 12);
        let (data, footer) = bytes[512..].split_at(8);
        assert_eq!(data, b"a=1\n\0\0\0\0");
        let sum = u32::from(b'a') + u32::from(b'=') + u32::from(b'1') + u32::from(b'\n');
        assert_eq!(footer[..4], 8u32.to_le_bytes());
        assert_eq!(footer[4..8], sum.to_le_bytes());
        assert_eq!(&footer[8..], b"#BOOTCONFIG\n");
        let large = "#".repeat(BOOT_CONFIG_MAX);
        assert!(add_boot_config(&mut bytes, &large).is_err());
        assert!(add_boot_config(&mut bytes, "a\0").is_err());
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let make = || initramfs(b"agent", &[module("/a.ko", b"module")]).expect("an archive");
        assert_eq!(make(), make());
    }

    #[test]
    fn nothing_of_the_host_is_in_the_headers() {
        let bytes = initramfs(b"agent", &[module("/a.ko", b"module")]).expect("an archive");
        let mut rest = std::io::Cursor::new(bytes);
        let mut inodes = Vec::new();
        loop {
            let reader = cpio::newc::Reader::new(rest).expect("an entry");
            let entry = reader.entry();
            if entry.is_trailer() {
                break;
            }
            assert_eq!(
                (entry.uid(), entry.gid(), entry.mtime()),
                (0, 0, 0),
                "{}",
                entry.name()
            );
            inodes.push(entry.ino());
            rest = reader.finish().expect("the next one");
        }
        let expected: Vec<u32> = (1..=6).collect();
        assert_eq!(inodes, expected);
    }

    #[test]
    fn a_file_in_a_folder_comes_after_its_folder_which_is_made_once() {
        let files = [module("/modules/a.ko", b"a"), module("/modules/b.ko", b"b")];
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
    fn files_are_added_as_an_archive_of_their_own() {
        let mut bytes = initramfs(b"agent", &[]).expect("an archive");
        let first = bytes.len().next_multiple_of(4);
        add_files(&mut bytes, &[module("/bin/words", b"words")]).expect("an archive");
        let names: Vec<String> = files_of(bytes.split_off(first))
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(names, ["bin", "bin/words"]);
    }

    #[test]
    fn every_file_is_in_it_with_its_content() {
        let bytes = initramfs(b"agent", &[module("/a.ko", b"module")]).expect("an archive");
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
