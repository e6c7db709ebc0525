// SPDX-License-Identifier: GPL-2.0-only

//! Sub-buffers of one CPU: any bytes decode to records or to damage, and what was decoded encodes to the same records.

#![no_main]

use std::sync::LazyLock;

use deferinit_ftrace::capture::Capture;
use deferinit_ftrace::encode::SubBufferEncoder;
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{CpuSubBuffers, PageLayout, SubBuffer};
use libfuzzer_sys::fuzz_target;

static FORMATS: LazyLock<Formats> = LazyLock::new(|| {
    let mut formats = Formats::new();
    for text in [
        include_str!("../../tests/data/linux-7.3.4/formats/ftrace/funcgraph_entry"),
        include_str!("../../tests/data/linux-7.3.4/formats/ftrace/funcgraph_exit"),
        include_str!("../../tests/data/linux-7.3.4/formats/ftrace/function"),
        include_str!("../../tests/data/linux-7.3.4/formats/ftrace/print"),
    ] {
        formats.add("ftrace", text).expect("a real kernel's format");
    }
    let text = include_str!("../../tests/data/linux-7.3.4/formats/workqueue/workqueue_queue_work");
    formats.add("workqueue", text).expect("a real kernel's format");
    formats
});

static LAYOUT: LazyLock<PageLayout> = LazyLock::new(|| {
    PageLayout::parse(
        include_str!("../../tests/data/linux-7.3.4/header_page"),
        include_str!("../../tests/data/linux-7.3.4/header_event"),
    )
    .expect("a real kernel's layout")
});

/// A small sub-buffer, so that a few bytes make several.
const SIZE: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let layout = LAYOUT.clone().with_sub_buffer_size(SIZE);
    let cpu = CpuSubBuffers::from_stream(0, bytes, &layout);
    let mut records = Capture::new(&FORMATS, layout.clone(), vec![cpu.clone()]).records();
    let mut rendered = 0;
    while let Some(record) = records.next_record() {
        rendered += format!("{record:?}").len();
    }
    let tally = records.finish();
    assert!(rendered > 0 || tally.cpus[0].decoded <= tally.damages);

    let mut encoder = SubBufferEncoder::new(layout.clone());
    let (mut wanted, mut pages) = (Vec::new(), Vec::new());
    for page in &cpu.sub_buffers {
        let Ok(page) = SubBuffer::parse(page, &layout) else { continue };
        for record in page.records().map_while(Result::ok) {
            if let Ok(full) = encoder.add(record.timestamp_ns, record.payload) {
                wanted.push((record.timestamp_ns, record.payload.to_vec()));
                pages.extend(full);
            }
        }
    }
    pages.extend(encoder.finish());
    let mut found = Vec::new();
    for page in &pages {
        let page = SubBuffer::parse(page, &layout).expect("a sub-buffer of ours");
        for record in page.records() {
            let record = record.expect("a record of ours");
            found.push((record.timestamp_ns, record.payload.to_vec()));
        }
    }
    assert_eq!(found, wanted);
});
