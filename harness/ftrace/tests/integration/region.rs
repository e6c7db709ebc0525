// SPDX-License-Identifier: GPL-2.0-only

//! Persistent instances' memory taken apart.

use deferinit_ftrace::page::PageLayout;
use deferinit_ftrace::persistent::{Error, Region};

use crate::build::{Cpu, HEADER_EVENT, HEADER_PAGE, Memory, Page, SUB_BUFFER, entry, layout};

/// Where the first CPU's structure lies.
const META: usize = 0x430;

/// A sub-buffer with one record, told apart by its time.
fn page(timestamp: u64) -> Vec<u8> {
    Page::at(timestamp).record(0, &entry(36, 1, 0)).end()
}

/// Five sub-buffers in their first order: 0 is the reader's, the ring starts at 1.
fn cpu(commit: u64, timestamps: &[u64]) -> Cpu {
    let blank = vec![0; SUB_BUFFER];
    let mut pages = vec![blank];
    pages.extend(timestamps.iter().map(|timestamp| page(*timestamp)));
    Cpu {
        head: Some(1),
        commit,
        order: vec![0, 1, 2, 3, 4],
        pages,
    }
}

/// The times of each CPU's sub-buffers.
fn times(memory: &[u8], layout: &PageLayout) -> Result<Vec<Vec<u64>>, Error> {
    let time = |page: &&[u8]| u64::from_le_bytes(page[..8].try_into().expect("it has eight bytes"));
    let region = Region::parse(memory, layout)?;
    assert!(
        region
            .cpus
            .iter()
            .enumerate()
            .all(|(place, cpu)| cpu.cpu as usize == place)
    );
    Ok(region
        .cpus
        .iter()
        .map(|cpu| cpu.sub_buffers.iter().map(time).collect())
        .collect())
}

#[track_caller]
fn check(memory: &Memory, expected: &[&[u64]]) {
    let expected: Vec<Vec<u64>> = expected.iter().map(|cpu| cpu.to_vec()).collect();
    assert_eq!(times(&memory.build(), &layout()), Ok(expected));
}

#[test]
fn sub_buffers_come_from_the_head_to_the_commit_page() {
    check(&Memory::of(vec![cpu(3, &[10, 20, 30])]), &[&[10, 20, 30]]);
}

#[test]
fn sub_buffers_without_data_are_left_out() {
    check(&Memory::of(vec![cpu(1, &[])]), &[&[]]);
    check(&Memory::of(vec![cpu(2, &[10])]), &[&[10]]);
}

#[test]
fn a_sub_buffer_behind_the_commit_page_is_no_data() {
    check(&Memory::of(vec![cpu(2, &[10, 20, 5])]), &[&[10, 20]]);
}

#[test]
fn a_mark_of_a_loss_without_data_is_kept() {
    let mut lost = cpu(2, &[10]);
    lost.pages.push(Page::at(20).missed().end());
    check(&Memory::of(vec![lost]), &[&[10, 20]]);
}

#[test]
fn a_ring_that_went_round_starts_at_its_head() {
    let mut wrapped = cpu(2, &[50, 60, 30, 40]);
    wrapped.head = Some(3);
    check(&Memory::of(vec![wrapped]), &[&[30, 40, 50, 60]]);
}

#[test]
fn the_readers_sub_buffer_comes_first() {
    // The reader took sub-buffer 1 and left 0 in its place.
    let mut read = cpu(3, &[10, 20, 30]);
    read.order = vec![1, 0, 2, 3, 4];
    read.head = Some(2);
    check(&Memory::of(vec![read]), &[&[10, 20, 30]]);
}

#[test]
fn a_writer_still_on_the_readers_sub_buffer_left_nothing_in_the_ring() {
    let mut read = cpu(1, &[10, 5, 6]);
    read.order = vec![1, 0, 2, 3, 4];
    read.head = Some(2);
    check(&Memory::of(vec![read]), &[&[10]]);
}

#[test]
fn every_cpu_has_its_sub_buffers() {
    let memory = Memory::of(vec![cpu(2, &[10, 20]), cpu(1, &[15]), cpu(3, &[1, 2, 3])]);
    check(&memory, &[&[10, 20], &[15], &[1, 2, 3]]);
}

#[test]
fn a_cpu_that_never_came_up_has_no_sub_buffers() {
    let mut absent = cpu(0, &[]);
    absent.head = None;
    check(&Memory::of(vec![cpu(1, &[10]), absent]), &[&[10], &[]]);
}

#[test]
fn blank_memory_behind_the_last_cpu_is_no_cpu() {
    for rest in [8, 100, 3 * SUB_BUFFER, 20 * SUB_BUFFER] {
        let mut memory = Memory::of(vec![cpu(1, &[10]), cpu(1, &[20])]);
        memory.rest = rest;
        check(&memory, &[&[10], &[20]]);
        // Nor is what lies behind the region.
        let mut bytes = memory.build();
        bytes.extend([0xff; 5000]);
        assert_eq!(times(&bytes, &layout()), Ok(vec![vec![10], vec![20]]));
    }
}

#[test]
fn a_kernel_that_can_inject_faults_has_a_longer_structure() {
    let mut memory = Memory::of(vec![cpu(1, &[10]), cpu(2, &[20, 30])]);
    memory.cpu_meta = 40;
    check(&memory, &[&[10], &[20, 30]]);
}

#[test]
fn a_32_bit_kernel_has_short_pointers() {
    let header_page = HEADER_PAGE
        .replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:4")
        .replace("offset:16;\tsize:4080", "offset:12;\tsize:4084");
    let layout = PageLayout::parse(&header_page, HEADER_EVENT).expect("the texts are sound");
    for cpu_meta in [20, 28] {
        let mut memory = Memory::of(vec![cpu(1, &[10]), cpu(2, &[20, 30])]);
        (memory.long, memory.cpu_meta) = (4, cpu_meta);
        assert_eq!(
            times(&memory.build(), &layout),
            Ok(vec![vec![10], vec![20, 30]])
        );
    }
}

/// Changes a sound region of two CPUs, and checks what is said of it.
#[track_caller]
fn check_error(change: impl FnOnce(&mut Vec<u8>), expected: Error) {
    let mut bytes = Memory::of(vec![cpu(2, &[10, 20]), cpu(1, &[15])]).build();
    change(&mut bytes);
    assert_eq!(times(&bytes, &layout()), Err(expected));
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[test]
fn memory_that_is_no_ring_buffer_is_refused() {
    check_error(|bytes| put(bytes, 0, &[0; 4]), Error::Magic(0));
    check_error(
        |bytes| put(bytes, 4, &[48, 0]),
        Error::StructSizes {
            region: 24,
            cpu: 48,
        },
    );
    check_error(
        |bytes| put(bytes, 6, &[16, 0]),
        Error::StructSizes {
            region: 16,
            cpu: 32,
        },
    );
}

#[test]
fn a_region_that_is_cut_is_refused() {
    let whole = Memory::of(vec![cpu(2, &[10, 20]), cpu(1, &[15])])
        .build()
        .len();
    for (bytes, what, needed) in [
        (0, "the magic number", 4),
        (7, "the structures' sizes", 8),
        (20, "the head", 24),
        (whole - 1, "its total size", whole),
    ] {
        check_error(
            |region| region.truncate(bytes),
            Error::Short {
                bytes,
                what,
                needed,
            },
        );
    }
    let first_end = 2 * 3 * SUB_BUFFER;
    let total = (first_end - 1) as u64;
    check_error(
        |bytes| put(bytes, 8, &total.to_le_bytes()),
        Error::Short {
            bytes: first_end - 1,
            what: "a CPU's sub-buffers",
            needed: first_end,
        },
    );
    check_error(
        |bytes| put(bytes, 16, &u64::MAX.to_le_bytes()),
        Error::Short {
            bytes: whole,
            what: "a CPU's structure",
            needed: usize::MAX,
        },
    );
}

#[test]
fn impossible_numbers_of_sub_buffers_are_refused() {
    for (size, count) in [(0_u32, 5_u32), (4095, 5), (4096, 2), (4096, 0)] {
        let numbers = [size.to_le_bytes(), count.to_le_bytes()].concat();
        check_error(
            |bytes| put(bytes, META + 24, &numbers),
            Error::Geometry {
                cpu: 0,
                size,
                count,
            },
        );
    }
}

#[test]
fn a_cpu_with_sub_buffers_of_another_size_is_refused() {
    let second = 2 * 3 * SUB_BUFFER;
    let first = pointer(second);
    // Smaller sub-buffers would start elsewhere than the pointer says; if it says so too, the size is what is wrong.
    check_error(
        |bytes| put(bytes, second + 24, &2048_u32.to_le_bytes()),
        Error::Pointer {
            cpu: 1,
            which: "first",
            address: first,
            first,
        },
    );
    check_error(
        |bytes| {
            put(bytes, second + 24, &2048_u32.to_le_bytes());
            put(bytes, second, &(first - 2048).to_le_bytes());
        },
        Error::Geometry {
            cpu: 1,
            size: 2048,
            count: 5,
        },
    );
}

/// The address of the first sub-buffer of the CPU whose structure starts here.
fn pointer(meta: usize) -> u64 {
    0xffff_c900_0001_0000 + (meta + 1).next_multiple_of(SUB_BUFFER) as u64
}

#[test]
fn pointers_that_are_no_sub_buffers_are_refused() {
    let first = pointer(META);
    for (member, which) in [(8, "head"), (16, "commit")] {
        for address in [0, first - 4096, first + 1, first + 5 * 4096] {
            check_error(
                |bytes| put(bytes, META + member, &address.to_le_bytes()),
                Error::Pointer {
                    cpu: 0,
                    which,
                    address,
                    first,
                },
            );
        }
    }
    let second = 2 * 3 * SUB_BUFFER;
    let moved = pointer(second) + 4096;
    check_error(
        |bytes| put(bytes, second, &moved.to_le_bytes()),
        Error::Pointer {
            cpu: 1,
            which: "first",
            address: moved,
            first: moved,
        },
    );
}

#[test]
fn an_order_that_is_none_is_refused() {
    for (place, value) in [(0, 5_u32), (2, u32::MAX), (4, 3)] {
        check_error(
            |bytes| put(bytes, META + 32 + 4 * place, &value.to_le_bytes()),
            Error::Order {
                cpu: 0,
                place,
                value,
            },
        );
    }
}

#[test]
fn a_head_outside_the_ring_is_refused() {
    check_error(
        |bytes| put(bytes, META + 8, &pointer(META).to_le_bytes()),
        Error::NoHead { cpu: 0, head: 0 },
    );
}
