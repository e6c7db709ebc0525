// SPDX-License-Identifier: GPL-2.0-only

//! Broken input: nothing panics, and what is exported stays well-formed.

use deferinit_trace::dump::csv::Csv;
use deferinit_trace::dump::json::{Flushing, JsonLines};
use deferinit_trace::durations::Scale;
use deferinit_trace::events::{MOST_OPEN, PairSpec, Pairs, Selection, push_line};
use deferinit_trace::expression::{Filter, HasSymbols};
use deferinit_trace::glob;
use deferinit_trace::texts::function_profile::FunctionProfile;
use deferinit_trace::texts::hist;
use deferinit_trace::texts::latency::{self, Latency};
use deferinit_trace::texts::stack::{self, StackTrace};

use crate::captures::{self, Trace};
use crate::{dumps, texts};

/// A small generator with a fixed seed: a failure happens again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("it has 31 bits") % limit.max(1)
    }

    /// Changes, cuts and doubles parts of a text.
    fn broken(&mut self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => {
                    bytes.drain(at..(at + 1 + self.below(12)).min(bytes.len()));
                }
                2 => {
                    let part = bytes[at..(at + self.below(30)).min(bytes.len())].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, part);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = *b"\0\n\t -:0129{}[]()#=,.\xff|>&!\"'*?\\"
                            .get(self.below(30))
                            .expect("it is within");
                    }
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    }
}

#[test]
fn no_broken_text_panics() {
    let mut random = Random(1);
    let (mut good, mut bad) = (0_u32, 0_u32);
    for _ in 0..150 {
        for (_, text) in texts::TEXTS {
            // The first lines matter most, and a long text would take most of the time.
            let text = &text[..text.len().min(4000)];
            let broken = random.broken(text);
            let results = [
                Latency::parse(&broken).is_ok(),
                latency::max_latency_us(&broken).is_ok(),
                hist::parse(&broken).is_ok(),
                FunctionProfile::parse(&broken).is_ok(),
                StackTrace::parse(&broken).is_ok(),
                stack::max_size_bytes(&broken).is_ok(),
            ];
            if results.contains(&true) {
                good += 1;
            } else {
                bad += 1;
            }
        }
    }
    assert!(good > 100 && bad > 100, "{good} {bad}");
}

#[test]
fn no_broken_expression_panics() {
    let trace = Trace::of(captures::EVENTS);
    let mut names = trace.names();
    let mut random = Random(2);
    let sound = [
        "next_comm ~ \"k*[0-9]:?\" && (next_pid == 0xa || prev_state & 3) && !(cpu == 1)",
        "target_cpu & CPUS{0-3,5} || function.function ~ '*work' && COMM != busybox",
        "lat > -12 && ts <= 99999999999 || event == wl || common_flags & 010",
    ];
    let mut usable = 0;
    for _ in 0..1_500 {
        for text in sound {
            let broken = random.broken(text.as_bytes());
            let broken = String::from_utf8_lossy(&broken);
            if let Ok(filter) = Filter::new(&broken, &trace.formats, &trace.fields, HasSymbols::Yes)
            {
                usable += 1;
                if usable % 50 == 1 {
                    trace.each(|record| {
                        let _ = filter.matches(record, &trace.fields, &mut names);
                    });
                }
            }
            let _ = glob::matches(broken.as_bytes(), text.as_bytes());
        }
    }
    assert!(usable > 100, "{usable}");
}

#[test]
fn broken_records_have_fields_and_exports_stay_well_formed() {
    let mut random = Random(3);
    let mut damaged = 0;
    for round in 0..45 {
        let raw = captures::ALL[round % 3];
        let mut trace = Trace::of(raw);
        for stream in &mut trace.streams {
            for _ in 0..=random.below(40) {
                let at = random.below(stream.len());
                stream[at] = [0, 1, 0x1f, 0x7f, 0x80, 0xff][random.below(6)];
            }
        }
        let mut names = trace.names();
        let (mut line, mut json, mut table) = (Vec::new(), Vec::new(), Vec::new());
        let mut lines = JsonLines::new(&mut json, &trace.fields, Flushing::Blocks);
        let mut csv = Csv::new(&mut table, &trace.fields);
        damaged += trace.each_sound(|record| {
            push_line(&mut line, record, &trace.fields, &mut names);
            lines
                .record(record, &mut names)
                .expect("a vector takes all");
            csv.record(record, &mut names).expect("a vector takes all");
        });
        csv.finish().expect("a vector takes all");
        lines.finish().expect("a vector takes all");
        for line in String::from_utf8(json).expect("JSON is UTF-8").lines() {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(line) {
                panic!("{line}: {error}");
            }
        }
        assert_eq!(
            dumps::wrong_in_chrome(&dumps::chrome(&trace).0),
            Vec::<String>::new()
        );
        let read = dumps::read_perfetto(&dumps::perfetto(&trace).0);
        assert_eq!(read.wrong, Vec::<String>::new());
    }
    assert!(damaged > 20, "{damaged}");
}

#[test]
fn broken_records_pair_with_bounded_memory() {
    let mut random = Random(4);
    for _ in 0..30 {
        let mut trace = Trace::of(captures::EVENTS);
        for stream in &mut trace.streams {
            for _ in 0..200 {
                let at = random.below(stream.len());
                stream[at] = [0, 1, 0x1f, 0x7f, 0x80, 0xff][random.below(6)];
            }
        }
        let select = |event: &str| {
            Selection::new(
                &[event],
                None,
                &trace.formats,
                &trace.fields,
                HasSymbols::Yes,
            )
            .expect("there is such an event")
        };
        let spec = PairSpec {
            start: select("sched_waking"),
            end: select("sched_switch"),
            keys: vec![("comm", "next_comm"), ("pid", "next_pid")],
            scale: Scale::linear(0, 1_000_000, 1_000).expect("it is a range"),
            most_open: MOST_OPEN,
        };
        let mut pairs = Pairs::new(spec, &trace.formats).expect("the fields are there");
        let mut names = trace.names();
        trace.each_sound(|record| pairs.record(record, &mut names));
        let report = pairs.finish();
        let starts =
            report.pairs + report.unmatched_starts + report.replaced_starts + report.refused_starts;
        assert_eq!(report.starts, starts + report.starts_without_key);
        assert_eq!(
            report.ends,
            report.pairs + report.unmatched_ends + report.ends_without_key
        );
    }
}
