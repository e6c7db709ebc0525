// SPDX-License-Identifier: GPL-2.0-only

//! Finds the sub-buffers of a persistent instance (`trace_instance=NAME@ADDRESS:SIZE`) in a copy of its memory.
//!
//! In: the bytes of the region. Out: each CPU's sub-buffers, oldest first, those without data left out.
//! It does not decode sub-buffers ([`crate::page`] does) and follows no pointer: the guest's addresses serve as
//! differences only. The guest may have died at any instruction.
//! Source: `struct ring_buffer_meta`, `struct ring_buffer_cpu_meta`, `rb_range_meta`, `rb_cpu_meta_valid` and
//! `rb_meta_validate_events` in `kernel/trace/ring_buffer.c`, Linux 7.3.

use crate::bytes::{index, u32_at, u64_at};
use crate::page::{CpuSubBuffers, PageLayout};

/// `RING_BUFFER_META_MAGIC`.
const MAGIC: u32 = 0x0bad_feed;

/// A persistent instance's memory, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region<'a> {
    /// Bytes of a sub-buffer, header included; 0 when there is no CPU.
    pub sub_buffer_size: usize,
    /// One per CPU the guest could have, in order, those included that never came up and have no sub-buffers.
    pub cpus: Vec<CpuSubBuffers<'a>>,
}

/// Why a region cannot be taken apart. Addresses are the guest's; offsets count from the region's start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The region ends before something it must hold.
    #[error("the region has {bytes} bytes, {what} needs {needed}")]
    Short {
        /// Bytes that were given.
        bytes: usize,
        /// What does not fit.
        what: &'static str,
        /// Bytes the region must have for it.
        needed: usize,
    },
    /// The region does not start as a ring buffer's: the guest never set it up, or this is the wrong place.
    #[error("the region starts with {0:#010x}, a persistent ring buffer with {MAGIC:#010x}")]
    Magic(u32),
    /// The kernel's structures have sizes this parser does not know.
    #[error("the kernel's structures have {region} and {cpu} bytes, which is not supported")]
    StructSizes {
        /// Bytes of `struct ring_buffer_meta`.
        region: u32,
        /// Bytes of `struct ring_buffer_cpu_meta`.
        cpu: u32,
    },
    /// A CPU's sub-buffers have no usable size or number, or others than CPU 0's.
    #[error("cpu {cpu} has {count} sub-buffers of {size} bytes")]
    Geometry {
        /// The CPU.
        cpu: u32,
        /// Bytes of a sub-buffer.
        size: u32,
        /// How many it has.
        count: u32,
    },
    /// A CPU's pointer to its head, its commit page or its first sub-buffer is not where it can be.
    #[error("cpu {cpu}: the {which} pointer is {address:#x}, with sub-buffers from {first:#x} on")]
    Pointer {
        /// The CPU.
        cpu: u32,
        /// `head`, `commit` or `first`.
        which: &'static str,
        /// Where it points.
        address: u64,
        /// Where the sub-buffers start.
        first: u64,
    },
    /// The order of a CPU's sub-buffers names one twice, or one that is not there.
    #[error("cpu {cpu}: the order of sub-buffers has {value} at place {place}")]
    Order {
        /// The CPU.
        cpu: u32,
        /// The place in `buffers[]`.
        place: usize,
        /// What stands there.
        value: u32,
    },
    /// The head is the reader's sub-buffer, which is not in the ring.
    #[error("cpu {cpu}: sub-buffer {head} is the head, but it is the reader's")]
    NoHead {
        /// The CPU.
        cpu: u32,
        /// Index of the head.
        head: usize,
    },
}

/// Sizes of the kernel's structures, which tell the size of its `long`.
#[derive(Debug, Clone, Copy)]
struct StructSizes {
    long: usize,
    cpu_meta: usize,
}

/// `struct ring_buffer_cpu_meta`, and where its sub-buffers lie in the region.
#[derive(Debug)]
struct CpuMeta<'a> {
    cpu: u32,
    first: u64,
    head: u64,
    commit: u64,
    size: usize,
    /// `buffers[]`: the reader's sub-buffer, then the ring's in order, as indices into `sub_buffers`.
    order: Vec<usize>,
    sub_buffers: Vec<&'a [u8]>,
    /// Offset of the first sub-buffer, and of the first byte behind the last.
    start: usize,
    end: usize,
}

impl<'a> Region<'a> {
    /// Takes a region apart.
    ///
    /// `region` starts where the instance's memory starts and may be longer than it. `layout` tells where a
    /// sub-buffer's header keeps its commit word; its sub-buffer size is not used, the region has its own.
    ///
    /// The reader's sub-buffer comes first if it holds data: whether a reader in the guest took that already is not in
    /// the region, but in the statistics (`read events`).
    ///
    /// # Errors
    /// [`Error`]: the region is not what it should be. Nothing is guessed.
    pub fn parse(region: &'a [u8], layout: &PageLayout) -> Result<Self, Error> {
        let short = |what, needed| Error::Short {
            bytes: region.len(),
            what,
            needed,
        };
        let magic = u32_at(region, 0).ok_or(short("the magic number", 4))?;
        if magic != MAGIC {
            return Err(Error::Magic(magic));
        }
        let sizes =
            StructSizes::parse(u32_at(region, 4).ok_or(short("the structures' sizes", 8))?)?;
        let head = 8_usize.saturating_add(sizes.long.saturating_mul(2));
        let (Some(total), Some(mut offset)) = (
            sizes.long_at(region, 8),
            sizes.long_at(region, sizes.long.saturating_add(8)),
        ) else {
            return Err(short("the head", head));
        };
        let whole = region
            .get(..index(total))
            .ok_or(short("its total size", index(total)))?;
        let mut parsed = Self {
            sub_buffer_size: 0,
            cpus: Vec::new(),
        };
        let mut base = None;
        // The number of CPUs is not in the region: what follows the last one is blank, or too short for another.
        for cpu in 0.. {
            if cpu > 0 && is_blank(whole, index(offset), sizes.cpu_meta) {
                break;
            }
            let meta = CpuMeta::parse(whole, index(offset), cpu, sizes)?;
            // The guest's addresses and the region's offsets are the same for every CPU, but for one constant.
            let meta_base = meta
                .first
                .wrapping_sub(meta.start.try_into().unwrap_or(u64::MAX));
            if *base.get_or_insert(meta_base) != meta_base {
                return Err(meta.pointer("first", meta.first));
            }
            if cpu > 0 && meta.size != parsed.sub_buffer_size {
                return Err(meta.geometry());
            }
            parsed.sub_buffer_size = meta.size;
            offset = meta.end.try_into().unwrap_or(u64::MAX);
            parsed.cpus.push(CpuSubBuffers {
                cpu,
                sub_buffers: meta.in_order(layout)?,
            });
        }
        Ok(parsed)
    }
}

impl StructSizes {
    /// Reads `struct_sizes`: the size of a CPU's structure in the lower half, of the region's in the upper.
    ///
    /// A CPU's structure has two more words with CONFIG_RING_BUFFER_PERSISTENT_INJECT.
    fn parse(word: u32) -> Result<Self, Error> {
        let (region, cpu) = (word >> 16, word & 0xffff);
        match (region, cpu) {
            (24, 32 | 40) => Ok(Self {
                long: 8,
                cpu_meta: index(cpu),
            }),
            (16, 20 | 28) => Ok(Self {
                long: 4,
                cpu_meta: index(cpu),
            }),
            _ => Err(Error::StructSizes { region, cpu }),
        }
    }

    fn long_at(self, bytes: &[u8], offset: usize) -> Option<u64> {
        if self.long == 4 {
            u32_at(bytes, offset).map(u64::from)
        } else {
            u64_at(bytes, offset)
        }
    }
}

/// Whether there is no structure at `offset`: only zeros, or no room.
fn is_blank(region: &[u8], offset: usize, size: usize) -> bool {
    region
        .get(offset..)
        .and_then(|rest| rest.get(..size))
        .is_none_or(|structure| structure.iter().all(|byte| *byte == 0))
}

impl<'a> CpuMeta<'a> {
    fn parse(region: &'a [u8], offset: usize, cpu: u32, sizes: StructSizes) -> Result<Self, Error> {
        let at = |member: usize| offset.saturating_add(member);
        let after_pointers = sizes.long.saturating_mul(3);
        let (Some(first), Some(head), Some(commit), Some(size), Some(count)) = (
            sizes.long_at(region, at(0)),
            sizes.long_at(region, at(sizes.long)),
            sizes.long_at(region, at(sizes.long.saturating_mul(2))),
            u32_at(region, at(after_pointers)),
            u32_at(region, at(after_pointers.saturating_add(4))),
        ) else {
            let needed = at(sizes.cpu_meta);
            return Err(Error::Short {
                bytes: region.len(),
                what: "a CPU's structure",
                needed,
            });
        };
        let geometry = Error::Geometry { cpu, size, count };
        if !size.is_power_of_two() || count < 3 {
            return Err(geometry);
        }
        let (size, count) = (index(size), index(count));
        let order_start = at(sizes.cpu_meta);
        let order_end = count
            .checked_mul(4)
            .and_then(|bytes| bytes.checked_add(order_start));
        let start = order_end.and_then(|end| end.checked_next_multiple_of(size));
        let end = start.and_then(|start| size.checked_mul(count)?.checked_add(start));
        let (Some(order_end), Some(start), Some(end)) = (order_end, start, end) else {
            return Err(geometry);
        };
        let (Some(order), Some(data)) =
            (region.get(order_start..order_end), region.get(start..end))
        else {
            return Err(Error::Short {
                bytes: region.len(),
                what: "a CPU's sub-buffers",
                needed: end,
            });
        };
        let order = read_order(cpu, order, count)?;
        Ok(Self {
            cpu,
            first,
            head,
            commit,
            size,
            order,
            sub_buffers: data.chunks(size).collect(),
            start,
            end,
        })
    }

    /// The sub-buffers that hold data, oldest first.
    fn in_order(&self, layout: &PageLayout) -> Result<Vec<&'a [u8]>, Error> {
        if self.head == 0 && self.commit == 0 {
            return Ok(Vec::new());
        }
        let head = self.place_of("head", self.head)?;
        let commit = self.place_of("commit", self.commit)?;
        let Some((reader, ring)) = self.order.split_first() else {
            return Err(self.geometry());
        };
        let Some(turn) = ring.iter().position(|place| *place == head) else {
            return Err(Error::NoHead {
                cpu: self.cpu,
                head,
            });
        };
        let mut places = vec![*reader];
        // The writer may not have left the sub-buffer that became the reader's: then nothing is in the ring.
        if commit != *reader {
            let (wrapped, from_head) = ring.split_at_checked(turn).unwrap_or_default();
            for place in from_head.iter().chain(wrapped) {
                places.push(*place);
                if *place == commit {
                    break;
                }
            }
        }
        Ok(places
            .into_iter()
            .filter_map(|place| self.sub_buffers.get(place).copied())
            .filter(|sub_buffer| layout.holds_data(sub_buffer))
            .collect())
    }

    /// Which sub-buffer a guest's pointer means.
    fn place_of(&self, which: &'static str, address: u64) -> Result<usize, Error> {
        let distance = index(address.wrapping_sub(self.first));
        let place = distance.checked_div(self.size).unwrap_or(usize::MAX);
        if !distance.is_multiple_of(self.size) || place >= self.sub_buffers.len() {
            return Err(self.pointer(which, address));
        }
        Ok(place)
    }

    fn pointer(&self, which: &'static str, address: u64) -> Error {
        Error::Pointer {
            cpu: self.cpu,
            which,
            address,
            first: self.first,
        }
    }

    fn geometry(&self) -> Error {
        Error::Geometry {
            cpu: self.cpu,
            size: self.size.try_into().unwrap_or(u32::MAX),
            count: self.order.len().try_into().unwrap_or(u32::MAX),
        }
    }
}

/// Reads `buffers[]`, in which every sub-buffer must stand once.
fn read_order(cpu: u32, words: &[u8], count: usize) -> Result<Vec<usize>, Error> {
    let mut seen = vec![false; count];
    let (words, _) = words.as_chunks::<4>();
    let mut order = Vec::with_capacity(count);
    for (place, word) in words.iter().enumerate() {
        let value = u32::from_le_bytes(*word);
        match seen.get_mut(index(value)) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(Error::Order { cpu, place, value }),
        }
        order.push(index(value));
    }
    Ok(order)
}
