// SPDX-License-Identifier: GPL-2.0-only

//! Sub-buffers of several CPUs merged by time, and the account of them.

use deferinit_ftrace::capture::{Capture, CpuTally, Damage, DamageKind, LISTED_DAMAGES, Tally};
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{self, CpuSubBuffers};
use deferinit_ftrace::record::{self, Record};

use crate::build::{Page, entry, formats, layout};

fn cpu(number: u32, pages: &[Vec<u8>]) -> CpuSubBuffers<'_> {
    CpuSubBuffers {
        cpu: number,
        sub_buffers: pages.iter().map(Vec::as_slice).collect(),
    }
}

/// CPU and time of all records, and the account.
fn decode(formats: &Formats, cpus: Vec<CpuSubBuffers<'_>>) -> (Vec<(u32, u64)>, Tally) {
    let mut records = Capture::new(formats, layout(), cpus).records();
    let mut order = Vec::new();
    while let Some(record) = records.next_record() {
        order.push((record.cpu, record.timestamp_ns));
    }
    assert!(records.next_record().is_none(), "the end stays the end");
    (order, records.finish())
}

fn damage(sub_buffer: usize, offset: usize, kind: impl Into<DamageKind>) -> Damage {
    Damage {
        cpu: 0,
        sub_buffer,
        offset,
        kind: kind.into(),
    }
}

#[test]
fn records_come_by_time_and_the_lower_cpu_first() {
    let call = entry(36, 1, 0);
    let first = [
        Page::at(100)
            .record(0, &call)
            .record(10, &call)
            .record(40, &call)
            .end(),
        Page::at(200).record(0, &call).end(),
    ];
    let second = [Page::at(105)
        .record(0, &call)
        .record(5, &call)
        .record(100, &call)
        .end()];
    let third = [Page::at(110).record(0, &call).end()];
    let formats = formats();
    let (order, tally) = decode(
        &formats,
        vec![cpu(0, &first), cpu(1, &second), cpu(2, &third)],
    );
    assert_eq!(
        order,
        [
            (0, 100),
            (1, 105),
            (0, 110),
            (1, 110),
            (2, 110),
            (0, 150),
            (0, 200),
            (1, 210)
        ]
    );
    assert_eq!(
        tally.cpus.iter().map(|cpu| cpu.decoded).collect::<Vec<_>>(),
        [4, 3, 1]
    );
    assert_eq!((tally.damages, tally.damage), (0, vec![]));
}

#[test]
fn a_capture_of_nothing_has_no_records() {
    let formats = formats();
    assert_eq!(
        decode(&formats, vec![]),
        (
            vec![],
            Tally {
                cpus: vec![],
                damage: vec![],
                damages: 0
            }
        )
    );
    let (order, tally) = decode(&formats, vec![cpu(5, &[])]);
    assert_eq!(order, []);
    let nothing = CpuTally {
        cpu: 5,
        sub_buffers: 0,
        decoded: 0,
        missed_marks: 0,
        missed_events: 0,
    };
    assert_eq!(tally.cpus, [nothing]);
}

#[test]
fn what_was_not_iterated_is_counted_too() {
    let call = entry(36, 1, 0);
    let pages = [
        Page::at(100).record(0, &call).record(1, &call).end(),
        Page::at(200).record(0, &call).end(),
    ];
    let formats = formats();
    let mut records = Capture::new(&formats, layout(), vec![cpu(0, &pages)]).records();
    assert!(records.next_record().is_some());
    let tally = records.finish();
    assert_eq!((tally.cpus[0].decoded, tally.cpus[0].sub_buffers), (3, 2));
}

#[test]
fn the_record_behind_on_the_same_cpu_is_known_whatever_lies_between() {
    let call = entry(36, 1, 0);
    // On CPU 0 each record has a block of its own, and blocks without one lie between them.
    let lone = |time| Page::at(time).record(0, &call).end();
    let broken = vec![0xff; 16];
    let first = [
        lone(100),
        broken.clone(),
        broken.clone(),
        lone(300),
        broken.clone(),
        lone(400),
    ];
    let second = [lone(200), lone(350)];
    let formats = formats();
    let mut records =
        Capture::new(&formats, layout(), vec![cpu(0, &first), cpu(1, &second)]).records();
    assert!(records.head().is_none() && records.following().is_none());
    let mut pairs = Vec::new();
    while records.advance() {
        let time = |record: Option<Record<'_>>| record.map(|record| record.timestamp_ns);
        pairs.push((time(records.head()), time(records.following())));
    }
    assert_eq!(
        pairs,
        [
            (Some(100), Some(300)),
            (Some(200), Some(350)),
            (Some(300), Some(400)),
            (Some(350), None),
            (Some(400), None),
        ]
    );
    assert!(records.head().is_none() && records.following().is_none());
    assert_eq!(records.damages(), 3);
}

#[test]
fn missed_events_are_counted() {
    let call = entry(36, 1, 0);
    let pages = [
        Page::at(100).record(0, &call).end(),
        Page::at(200).record(0, &call).missed().end(),
        Page::at(300).record(0, &call).missed_count(41),
    ];
    let (_, tally) = decode(&formats(), vec![cpu(0, &pages)]);
    let expected = CpuTally {
        cpu: 0,
        sub_buffers: 3,
        decoded: 3,
        missed_marks: 2,
        missed_events: 41,
    };
    assert_eq!(tally.cpus, [expected]);
}

#[test]
fn a_damaged_sub_buffer_ends_there_and_the_next_is_decoded() {
    let call = entry(36, 1, 0);
    let mut beyond = Page::at(150).end();
    beyond[8..16].copy_from_slice(&5000_u64.to_le_bytes());
    let pages = [
        // The second event's length is three.
        Page::at(100)
            .record(0, &call)
            .words(&[0, 3])
            .record(0, &call)
            .end(),
        beyond,
        Page::at(200).record(0, &call).end(),
        vec![0; 100],
    ];
    let formats = formats();
    let (order, tally) = decode(&formats, vec![cpu(0, &pages)]);
    assert_eq!(order, [(0, 100), (0, 200)]);
    assert_eq!(
        tally.damage,
        [
            damage(
                0,
                16 + 28,
                page::Error::EventLength {
                    offset: 16 + 28,
                    length: 3
                }
            ),
            damage(
                1,
                0,
                page::Error::CommitBeyondPage {
                    commit: 5000,
                    capacity: 4080
                }
            ),
            damage(
                3,
                0,
                page::Error::NotASubBuffer {
                    bytes: 100,
                    sub_buffer_size: 4096
                }
            ),
        ]
    );
    assert_eq!(
        (
            tally.damages,
            tally.cpus[0].decoded,
            tally.cpus[0].sub_buffers
        ),
        (3, 2, 4)
    );
    assert_eq!(
        tally.damage[0].to_string(),
        "cpu 0, sub-buffer 0, byte 44: the event at byte 44 says it has 3 bytes"
    );
}

#[test]
fn a_record_that_cannot_be_typed_is_damage_and_counts_as_decoded() {
    let call = entry(36, 1, 0);
    let unknown = [0xff_u8, 0xff, 0, 0, 0, 0, 0, 0];
    let pages = [Page::at(100).record(0, &unknown).record(1, &call).end()];
    let (order, tally) = decode(&formats(), vec![cpu(0, &pages)]);
    assert_eq!(order, [(0, 101)]);
    assert_eq!(
        tally.damage,
        [damage(0, 16, record::Error::UnknownEvent(0xffff))]
    );
    assert_eq!(tally.cpus[0].decoded, 2);
}

#[test]
fn a_sub_buffer_that_starts_before_the_last_ended_is_damage() {
    let call = entry(36, 1, 0);
    let pages = [
        Page::at(100).record(50, &call).end(),
        Page::at(149).record(0, &call).end(),
    ];
    let (order, tally) = decode(&formats(), vec![cpu(0, &pages)]);
    assert_eq!(order, [(0, 150), (0, 149)]);
    assert_eq!(
        tally.damage,
        [damage(
            1,
            0,
            DamageKind::SubBufferOrder {
                before: 150,
                starts: 149
            }
        )]
    );
}

#[test]
fn the_list_of_damages_is_bounded() {
    let unknown = [0xff_u8; 8];
    let page = (0..100)
        .fold(Page::at(100), |page, _| page.record(0, &unknown))
        .end();
    let (order, tally) = decode(&formats(), vec![cpu(0, &[page])]);
    assert_eq!(
        (order.len(), tally.damages, tally.damage.len()),
        (0, 100, LISTED_DAMAGES)
    );
}
