// SPDX-License-Identifier: GPL-2.0-only

//! A real guest's memory, record by record. `tests/data/linux-7.3.4/README.md` says where it is from.

use deferinit_ftrace::capture::{Capture, CpuTally};
use deferinit_ftrace::persistent::Region;
use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::stats::Stats;

use crate::build::{formats, layout};

pub(crate) const STATS: &str = include_str!("../data/linux-7.3.4/stats");

/// The instance's 64 MiB.
pub(crate) fn memory() -> Vec<u8> {
    zstd::decode_all(&include_bytes!("../data/linux-7.3.4/persistent.zst")[..])
        .expect("the file is zstd")
}

fn render(record: &Record<'_>) -> String {
    let place = format!(
        "{} cpu{} pid {} {:#04x}",
        record.timestamp_ns, record.cpu, record.pid, record.flags
    );
    match record.event {
        Event::Other(fields) => format!("{place} {fields:?}\n"),
        event => format!("{place} {event:?}\n"),
    }
}

#[test]
fn a_real_guests_memory_decodes_to_what_its_kernel_counted() {
    let memory = memory();
    let region = Region::parse(&memory, &layout()).expect("the memory is whole");
    assert_eq!(
        (memory.len(), region.sub_buffer_size, region.cpus.len()),
        (64 << 20, 4096, 1)
    );
    let formats = formats();
    let mut records = Capture::new(&formats, layout(), region.cpus).records();
    let mut rendered = String::new();
    while let Some(record) = records.next_record() {
        rendered += &render(&record);
    }
    let tally = records.finish();
    let stats = Stats::parse(STATS).expect("the text is a real kernel's");
    let decoded = stats.entries + stats.read_events;
    let expected = CpuTally {
        cpu: 0,
        sub_buffers: 2,
        decoded,
        missed_marks: 0,
        missed_events: 0,
    };
    assert_eq!(
        (tally.cpus, tally.damage, stats.lost()),
        (vec![expected], vec![], 0)
    );
    insta::assert_snapshot!(rendered);
}
