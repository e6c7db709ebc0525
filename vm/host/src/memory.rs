// SPDX-License-Identifier: GPL-2.0-only

//! Guest RAM as a file of ours, so that it outlives QEMU.
//!
//! The file has no name: it is gone when the last of QEMU and the harness is, however they end.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Guest RAM of a fixed size.
pub(crate) struct GuestMemory {
    file: File,
    bytes: u64,
}

/// Where in guest RAM the trace buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Guest-physical address, which is the offset in the file for all RAM below 3 GiB.
    pub(crate) address: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

impl GuestMemory {
    /// Creates `bytes` of zeroed RAM; pages are allocated as the guest touches them.
    pub(crate) fn new(bytes: u64) -> Result<Self> {
        let file = memfd_create(c"deferinit-guest-ram", MFdFlags::MFD_CLOEXEC)
            .map(File::from)
            .context("cannot create a file for guest RAM")?;
        file.set_len(bytes)
            .with_context(|| format!("cannot make the file for guest RAM {bytes} bytes long"))?;
        Ok(Self { file, bytes })
    }

    /// The file, to be handed to QEMU.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Copies a region out of RAM.
    pub(crate) fn read(&self, region: Region) -> Result<Vec<u8>> {
        let length = usize::try_from(region.bytes).context("the trace buffer is too large")?;
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, region.address)
            .with_context(|| {
                format!(
                    "cannot read {region:?} of {} bytes of guest RAM",
                    self.bytes
                )
            })?;
        Ok(bytes)
    }
}

impl Region {
    /// The top of `memory` bytes of RAM; `None` if `bytes` do not leave at least as much for the
    /// kernel, or if that lies above what is mapped one to one.
    pub(crate) fn at_top_of(memory: u64, bytes: u64) -> Option<Self> {
        /// A kernel with its initramfs and some room.
        const LEAST_FOR_KERNEL: u64 = 64 << 20;
        /// QEMU's microvm maps RAM below this address as one block (`hw/i386/microvm.c`).
        const ONE_TO_ONE: u64 = 3 << 30;
        /// `trace_instance=` wants whole pages.
        const PAGE: u64 = 4096;

        let top = memory.min(ONE_TO_ONE);
        let address = top.checked_sub(bytes)? / PAGE * PAGE;
        (address >= LEAST_FOR_KERNEL).then_some(Self {
            address,
            bytes: bytes / PAGE * PAGE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_lies_at_the_top_and_leaves_room() {
        let mib = |n: u64| n << 20;
        let region = Region::at_top_of(mib(256), mib(64));
        assert_eq!(
            region,
            Some(Region {
                address: mib(192),
                bytes: mib(64)
            })
        );
        assert_eq!(Region::at_top_of(mib(128), mib(65)), None);
        assert_eq!(Region::at_top_of(mib(64), mib(128)), None);
        let region = Region::at_top_of(mib(8192), mib(64));
        assert_eq!(
            region,
            Some(Region {
                address: mib(3072 - 64),
                bytes: mib(64)
            })
        );
    }

    #[test]
    fn ram_can_be_read_back() {
        let memory = GuestMemory::new(1 << 20).expect("a memfd");
        memory.file.write_all_at(b"trace", 4096).expect("write");
        let bytes = memory
            .read(Region {
                address: 4096,
                bytes: 5,
            })
            .expect("read");
        assert_eq!(bytes, b"trace");
        assert!(
            memory
                .read(Region {
                    address: 1 << 20,
                    bytes: 1
                })
                .is_err()
        );
    }
}
