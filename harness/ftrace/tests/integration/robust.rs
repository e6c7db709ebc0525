// SPDX-License-Identifier: GPL-2.0-only

//! Broken bytes: no input makes the crate panic, and damage is never silent.

use deferinit_ftrace::capture::Capture;
use deferinit_ftrace::format::{EventFormat, Formats};
use deferinit_ftrace::page::PageLayout;
use deferinit_ftrace::persistent::Region;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;

use crate::build::{
    Cpu, FORMATS, HEADER_EVENT, HEADER_PAGE, Memory, Page, SUB_BUFFER, entry, formats, layout,
    print,
};

/// A small generator with a fixed seed: a failure happens again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("it has 31 bits") % limit
    }

    /// Changes up to four bytes, at places that matter more often than not.
    fn break_bytes(&mut self, bytes: &mut [u8], places: &[usize]) {
        for _ in 0..=self.below(4) {
            let at = if self.below(3) > 0 {
                places[self.below(places.len())] + self.below(64)
            } else {
                self.below(bytes.len())
            };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = [0, 1, 0x1f, 0x7f, 0x80, 0xff][self.below(6)];
            }
        }
    }
}

/// Decodes all of a region, as far as it goes.
fn decode(memory: &[u8], formats: &Formats, layout: &PageLayout) {
    let Ok(region) = Region::parse(memory, layout) else {
        return;
    };
    let layout = layout.clone().with_sub_buffer_size(region.sub_buffer_size);
    let mut records = Capture::new(formats, layout, region.cpus).records();
    let mut rendered = 0;
    while let Some(record) = records.next_record() {
        rendered += format!("{record:?}").len();
    }
    let tally = records.finish();
    assert!(rendered > 0 || tally.cpus.iter().all(|cpu| cpu.decoded <= tally.damages));
}

#[test]
fn no_broken_region_panics() {
    let page = Page::at(1 << 60)
        .record(5, &entry(36, 1, 0))
        .words(&[(7 << 5) | 30, 1, (9 << 5) | 29, 8, 0, 31, 2])
        .record(3, &print(36, &[b'x'; 200]))
        .record(1, &print(36, b"deferinit: load\n"))
        .end();
    let cpu = Cpu {
        head: Some(1),
        commit: 2,
        order: vec![0, 1, 2, 3],
        pages: vec![page.clone(), page.clone(), page],
    };
    let sound = Memory::of(vec![cpu.clone(), cpu]).build();
    let places: Vec<usize> = (0..sound.len() / SUB_BUFFER)
        .map(|place| place * SUB_BUFFER)
        .chain([0x430])
        .collect();
    let (formats, layout) = (formats(), layout());
    let mut random = Random(1);
    for _ in 0..20_000 {
        let mut broken = sound.clone();
        random.break_bytes(&mut broken, &places);
        decode(&broken, &formats, &layout);
    }
}

#[test]
fn no_broken_text_panics() {
    let stats = "entries: 171\noverrun: 0\ncommit overrun: 0\nbytes: 6696\noldest event ts:     4.251409\n\
                 now ts:     5.158857\ndropped events: 0\nread events: 0\n";
    let symbols = "ffffffff81000000 T _text\nffffffffa0004ab0 t deferred_init\t[test_deferred]\n";
    let mut random = Random(2);
    for _ in 0..5_000 {
        for text in [
            FORMATS[0].1,
            FORMATS[19].1,
            HEADER_PAGE,
            HEADER_EVENT,
            stats,
            symbols,
        ] {
            let mut bytes = text.as_bytes().to_vec();
            random.break_bytes(&mut bytes, &[0]);
            bytes.truncate(bytes.len() - random.below(3) * random.below(bytes.len() / 2));
            let broken = String::from_utf8_lossy(&bytes);
            let _ = (
                EventFormat::parse("system", &broken).is_ok(),
                Stats::parse(&broken).is_ok(),
            );
            let _ = PageLayout::parse(&broken, HEADER_EVENT)
                .and(PageLayout::parse(HEADER_PAGE, &broken))
                .is_ok();
            if let Ok(symbols) = Symbols::parse(&broken) {
                let _ = (
                    symbols.resolve(0).is_some(),
                    symbols.resolve(u64::MAX).is_some(),
                );
            }
        }
    }
}

#[test]
fn formats_that_lie_about_places_do_not_panic() {
    let payload = entry(36, 1, 0);
    for text in ["offset:18446744073709551615", "offset:24", "offset:17"] {
        let mut formats = Formats::new();
        let lying = include_str!("../data/linux-7.3.4/formats/ftrace/funcgraph_entry")
            .replace("offset:16", text);
        formats
            .add("ftrace", &lying)
            .expect("an offset may be anything");
        let page = Page::at(1).record(0, &payload).end();
        let cpu = deferinit_ftrace::page::CpuSubBuffers {
            cpu: 0,
            sub_buffers: vec![&page],
        };
        assert_eq!(
            Capture::new(&formats, layout(), vec![cpu])
                .records()
                .finish()
                .damages,
            1
        );
    }
}
