// SPDX-License-Identifier: GPL-2.0-only

//! Raw records typed by a real guest's formats.

use deferinit_ftrace::format::FieldError;
use deferinit_ftrace::page::RawRecord;
use deferinit_ftrace::record::{Error, Event, Record};

use crate::build::{entry, exit, formats, payload, print};

const FUNCTION: u64 = 0xffff_ffff_a000_4ab4;

#[track_caller]
fn check(payload: &[u8], expected: impl FnOnce(Record<'_>)) {
    let formats = formats();
    let raw = RawRecord {
        timestamp_ns: 42,
        offset: 16,
        payload,
    };
    let record = Record::decode(&formats, 3, raw).expect("the payload is whole");
    assert_eq!((record.timestamp_ns, record.cpu, record.pid), (42, 3, 36));
    assert_eq!((record.flags, record.preempt_count), (1, 2));
    expected(record);
}

#[test]
fn funcgraph_entry_is_typed() {
    check(&entry(36, FUNCTION, 5), |record| {
        assert!(
            matches!(
                record.event,
                Event::FuncgraphEntry {
                    function: FUNCTION,
                    depth: 5
                }
            ),
            "{record:?}"
        );
    });
}

#[test]
fn funcgraph_entry_with_arguments_is_typed() {
    let mut payload = entry(36, FUNCTION, 5);
    payload.extend([0xee; 48]);
    check(&payload, |record| {
        assert!(
            matches!(
                record.event,
                Event::FuncgraphEntry {
                    function: FUNCTION,
                    depth: 5
                }
            ),
            "{record:?}"
        );
    });
}

#[test]
fn funcgraph_exit_is_typed() {
    check(&exit(36, FUNCTION, 5, -22, (100, 250)), |record| {
        let expected = Event::FuncgraphExit {
            function: FUNCTION,
            depth: 5,
            retval: Some(-22),
            overrun: 7,
            calltime: 100,
            rettime: 250,
        };
        assert_eq!(format!("{:?}", record.event), format!("{expected:?}"));
    });
}

#[test]
fn funcgraph_exit_of_a_kernel_without_return_values_has_none() {
    let mut formats = deferinit_ftrace::format::Formats::new();
    let text = include_str!("../data/linux-7.3.4/formats/ftrace/funcgraph_exit")
        .replace(" retval;", " unused;");
    formats
        .add("ftrace", &text)
        .expect("a return value is not needed");
    let payload = exit(36, FUNCTION, 5, -22, (100, 250));
    let raw = RawRecord {
        timestamp_ns: 42,
        offset: 16,
        payload: &payload,
    };
    let record = Record::decode(&formats, 3, raw).expect("the payload is whole");
    assert!(
        matches!(
            record.event,
            Event::FuncgraphExit {
                retval: None,
                depth: 5,
                ..
            }
        ),
        "{record:?}"
    );
}

#[test]
fn function_is_typed() {
    let payload = payload(
        ("ftrace", "function"),
        36,
        &[&1_u64.to_le_bytes(), &2_u64.to_le_bytes()],
    );
    check(&payload, |record| {
        assert!(
            matches!(
                record.event,
                Event::Function {
                    ip: 1,
                    parent_ip: 2
                }
            ),
            "{record:?}"
        );
    });
}

#[test]
fn a_marker_loses_one_newline_and_what_follows_its_nul() {
    for (written, expected) in [
        (&b"deferinit: load\n"[..], "deferinit: load"),
        (b"a\nb\n\n", "a\nb\n"),
        (b"", ""),
        (b"a\0b\n", "a"),
        ("zeitgem\u{e4}\u{df}\n".as_bytes(), "zeitgem\u{e4}\u{df}"),
    ] {
        check(&print(36, written), |record| {
            assert!(
                matches!(record.event, Event::Print { text, .. } if text == expected),
                "{record:?}"
            );
        });
    }
}

#[test]
fn a_marker_that_is_no_utf8_is_left_untyped() {
    check(&print(36, b"\xff\n"), |record| {
        let Event::Other(fields) = record.event else {
            panic!("{record:?}")
        };
        assert_eq!((fields.system(), fields.name()), ("ftrace", "print"));
        assert_eq!(
            fields.text("buf"),
            Err(FieldError::NotUtf8("buf".to_owned()))
        );
        assert_eq!(fields.bytes("buf"), Ok(&b"\xff\n\0"[..]));
    });
}

#[test]
fn other_events_have_their_fields_by_name() {
    let ended = [
        &77_u64.to_le_bytes()[..],
        &3_u32.to_le_bytes(),
        &(-110_i32).to_le_bytes(),
    ];
    check(
        &payload(("test_deferred", "deferred_item_ended"), 36, &ended),
        |record| {
            let Event::Other(fields) = record.event else {
                panic!("{record:?}")
            };
            assert_eq!(
                (fields.system(), fields.name()),
                ("test_deferred", "deferred_item_ended")
            );
            assert_eq!(
                (fields.unsigned("time_ns"), fields.unsigned("id")),
                (Ok(77), Ok(3))
            );
            assert_eq!(fields.signed("error"), Ok(-110));
            assert_eq!(
                fields.unsigned("error"),
                Err(FieldError::OutOfRange("error".to_owned()))
            );
            let event = "test_deferred:deferred_item_ended".to_owned();
            assert_eq!(
                fields.signed("nothing"),
                Err(FieldError::NoSuchField {
                    event,
                    field: "nothing".to_owned()
                })
            );
            assert_eq!(
                format!("{fields:?}"),
                "test_deferred:deferred_item_ended time_ns=77 id=3 error=-110"
            );
        },
    );
}

#[track_caller]
fn check_error(payload: &[u8], expected: Error) {
    let raw = RawRecord {
        timestamp_ns: 42,
        offset: 16,
        payload,
    };
    assert_eq!(Record::decode(&formats(), 3, raw).err(), Some(expected));
}

#[test]
fn a_payload_shorter_than_its_event_is_an_error() {
    let exit = exit(36, FUNCTION, 5, -22, (100, 250));
    for bytes in [8, 20, 47] {
        check_error(
            &exit[..bytes],
            Error::Short {
                bytes,
                event: "ftrace:funcgraph_exit".to_owned(),
            },
        );
    }
    for bytes in [0, 1, 7] {
        check_error(&exit[..bytes], Error::NoCommonFields { bytes, needed: 8 });
    }
}

#[test]
fn an_event_without_a_format_is_an_error() {
    check_error(&[0xff, 0xff, 0, 0, 0, 0, 0, 0], Error::UnknownEvent(0xffff));
}
