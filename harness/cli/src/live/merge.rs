// SPDX-License-Identifier: GPL-2.0-only

//! Puts the records of a trace in order while they come, CPU by CPU, in rounds.
//!
//! In: sub-buffers, and the end of each round. Out: records by time, a round late. A round brings nothing older than what
//! was there when it began, so at its end everything up to the newest record of the rounds before it is complete. A
//! record that comes later than that all the same is given out at once, and counted.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{PageLayout, RawRecord, SubBuffer};
use deferinit_ftrace::record::Record;

/// More than this is not kept until its round ends: a peer may send no end.
const MOST_BYTES: usize = 256 << 20;

/// What was given out, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Records that were given out.
    pub(super) records: u64,
    /// Those of them that came behind a later one.
    pub(super) late: u64,
    /// Records and rests of sub-buffers that cannot be read.
    pub(super) damages: u64,
    /// The first of these.
    pub(super) first_damage: Option<String>,
}

/// The records that are known and not yet given out.
pub(super) struct Merge<'f> {
    formats: &'f Formats,
    layout: PageLayout,
    cpus: BTreeMap<u32, VecDeque<Page>>,
    bytes: usize,
    /// The newest time so far, and before this round.
    newest: u64,
    newest_before: u64,
    /// The latest time that was given out.
    given: u64,
    account: Account,
}

/// A sub-buffer with a record that was not given out.
struct Page {
    bytes: Vec<u8>,
    records: Vec<Place>,
    next: usize,
}

/// Where a record's payload is in its sub-buffer.
#[derive(Clone, Copy)]
struct Place {
    timestamp_ns: u64,
    start: usize,
    end: usize,
    follows_loss: bool,
}

/// Takes a record, and breaks when it wants no more.
pub(super) trait Visit<E>: FnMut(&Step<'_>) -> Result<ControlFlow<()>, E> {}

impl<E, F: FnMut(&Step<'_>) -> Result<ControlFlow<()>, E>> Visit<E> for F {}

/// One record on its way out.
pub(super) struct Step<'a> {
    pub(super) record: Record<'a>,
    /// The one behind it on the same CPU, if it has come.
    pub(super) following: Option<Record<'a>>,
    pub(super) follows_loss: bool,
}

impl<'f> Merge<'f> {
    pub(super) fn new(formats: &'f Formats, layout: PageLayout) -> Self {
        Self {
            formats,
            layout,
            cpus: BTreeMap::new(),
            bytes: 0,
            newest: 0,
            newest_before: 0,
            given: 0,
            account: Account::default(),
        }
    }

    /// Adds sub-buffers of a CPU, which are behind those that it had.
    pub(super) fn add(&mut self, cpu: u32, sub_buffers: &[u8]) {
        let size = self.layout.sub_buffer_size().max(1);
        for bytes in sub_buffers.chunks(size) {
            let page = self.page(cpu, bytes);
            if !page.records.is_empty() {
                self.bytes = self.bytes.saturating_add(page.bytes.len());
                self.cpus.entry(cpu).or_default().push_back(page);
            }
        }
    }

    /// Whether so much has come without the end of a round that what there is must be given out.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Finds the records of a sub-buffer; up to the first damage in it.
    fn page(&mut self, cpu: u32, bytes: &[u8]) -> Page {
        let mut records = Vec::new();
        match SubBuffer::parse(bytes, &self.layout) {
            Err(error) => self.damaged(format!("cpu {cpu}: {error}")),
            Ok(page) => {
                let mut follows_loss = page.missed().is_some();
                for raw in page.records() {
                    match raw {
                        Err(error) => self.damaged(format!("cpu {cpu}: {error}")),
                        Ok(raw) => {
                            let payload = raw.payload.as_ptr().addr();
                            let start = payload.saturating_sub(bytes.as_ptr().addr());
                            self.newest = self.newest.max(raw.timestamp_ns);
                            records.push(Place {
                                timestamp_ns: raw.timestamp_ns,
                                start,
                                end: start.saturating_add(raw.payload.len()),
                                follows_loss: std::mem::take(&mut follows_loss),
                            });
                        }
                    }
                }
            }
        }
        Page {
            bytes: bytes.to_vec(),
            records,
            next: 0,
        }
    }

    fn damaged(&mut self, message: String) {
        self.account.damages = self.account.damages.saturating_add(1);
        self.account.first_damage.get_or_insert(message);
    }

    /// Every CPU was read: gives out what is complete.
    pub(super) fn end_round<E>(&mut self, visit: impl Visit<E>) -> Result<ControlFlow<()>, E> {
        let complete = self.newest_before;
        self.newest_before = self.newest;
        self.give(complete, visit)
    }

    /// Gives out all there is.
    pub(super) fn end<E>(&mut self, visit: impl Visit<E>) -> Result<ControlFlow<()>, E> {
        self.newest_before = self.newest;
        self.give(u64::MAX, visit)
    }

    fn give<E>(&mut self, until: u64, mut visit: impl Visit<E>) -> Result<ControlFlow<()>, E> {
        while let Some((timestamp_ns, cpu)) = self.first() {
            if timestamp_ns > until {
                break;
            }
            let Some(pages) = self.cpus.get_mut(&cpu) else {
                break;
            };
            let [head, behind] = two(pages);
            let decoded = head.map(|(page, place)| (typed(self.formats, cpu, page, place), place));
            match decoded {
                Some((Ok(record), place)) => {
                    self.account.records = self.account.records.saturating_add(1);
                    if timestamp_ns < self.given {
                        self.account.late = self.account.late.saturating_add(1);
                    }
                    self.given = self.given.max(timestamp_ns);
                    let flow = visit(&Step {
                        record,
                        following: behind
                            .and_then(|(page, place)| typed(self.formats, cpu, page, place).ok()),
                        follows_loss: place.follows_loss,
                    })?;
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
                Some((Err(message), _)) => {
                    self.account.damages = self.account.damages.saturating_add(1);
                    self.account.first_damage.get_or_insert(message);
                }
                None => {}
            }
            if let Some(page) = pages.front_mut() {
                page.next = page.next.saturating_add(1);
                if page.next >= page.records.len() {
                    self.bytes = self.bytes.saturating_sub(page.bytes.len());
                    pages.pop_front();
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The earliest record: its time and its CPU, the lower CPU first at the same time.
    fn first(&self) -> Option<(u64, u32)> {
        let heads = self.cpus.iter().filter_map(|(cpu, pages)| {
            let page = pages.front()?;
            Some((page.records.get(page.next)?.timestamp_ns, *cpu))
        });
        heads.min()
    }

    pub(super) fn account(self) -> Account {
        self.account
    }
}

/// The next record of a CPU, and the one behind it.
fn two(pages: &VecDeque<Page>) -> [Option<(&Page, Place)>; 2] {
    let mut places = pages.iter().take(2).flat_map(|page| {
        let rest = page.records.get(page.next..).unwrap_or_default();
        rest.iter().take(2).map(move |place| (page, *place))
    });
    [places.next(), places.next()]
}

fn typed<'a>(
    formats: &'a Formats,
    cpu: u32,
    page: &'a Page,
    place: Place,
) -> Result<Record<'a>, String> {
    let raw = RawRecord {
        timestamp_ns: place.timestamp_ns,
        offset: place.start,
        payload: page.bytes.get(place.start..place.end).unwrap_or_default(),
    };
    Record::decode(formats, cpu, raw).map_err(|error| format!("cpu {cpu}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use deferinit_ftrace::encode::SubBufferEncoder;

    use super::*;

    const HEADER_PAGE: &str = include_str!("../../../ftrace/tests/data/linux-7.3.4/header_page");
    const HEADER_EVENT: &str = include_str!("../../../ftrace/tests/data/linux-7.3.4/header_event");
    const PRINT: &str = include_str!("../../../ftrace/tests/data/linux-7.3.4/formats/ftrace/print");

    fn layout() -> PageLayout {
        PageLayout::parse(HEADER_PAGE, HEADER_EVENT).expect("a real layout")
    }

    /// Markers at these times, in sub-buffers.
    fn sub_buffers(times: &[u64]) -> Vec<u8> {
        let mut encoder = SubBufferEncoder::new(layout());
        let mut bytes = Vec::new();
        let mut payload = vec![5, 0, 0, 0, 7, 0, 0, 0];
        payload.extend_from_slice(&[0; 8]);
        payload.extend_from_slice(b"mark\0");
        for time in times {
            bytes.extend(
                encoder
                    .add(*time, &payload)
                    .expect("in order")
                    .into_iter()
                    .flatten(),
            );
        }
        bytes.extend(encoder.finish().into_iter().flatten());
        bytes
    }

    /// What comes.
    enum Event<'a> {
        Add(u32, &'a [u64]),
        Garbage(u32),
        EndRound,
        End,
    }

    use Event::{Add, End, EndRound, Garbage};

    /// Holds the times that each round gives out against those expected.
    fn check(events: &[Event<'_>], given: &[&[u64]]) -> Account {
        let mut formats = Formats::new();
        formats.add("ftrace", PRINT).expect("a real format");
        let mut merge = Merge::new(&formats, layout());
        let mut rounds = Vec::new();
        for event in events {
            let mut round = Vec::new();
            let visit = |step: &Step<'_>| {
                round.push(step.record.timestamp_ns);
                Ok::<_, Infallible>(ControlFlow::Continue(()))
            };
            let flow = match event {
                Add(cpu, times) => {
                    merge.add(*cpu, &sub_buffers(times));
                    continue;
                }
                Garbage(cpu) => {
                    merge.add(*cpu, &[0xff; 4096]);
                    continue;
                }
                EndRound => merge.end_round(visit),
                End => merge.end(visit),
            };
            assert_eq!(flow, Ok(ControlFlow::Continue(())));
            rounds.push(round);
        }
        assert_eq!(rounds, given);
        merge.account()
    }

    #[test]
    fn a_round_gives_out_what_the_rounds_before_have_completed() {
        let account = check(
            &[
                Add(0, &[10, 30]),
                Add(1, &[20, 50]),
                EndRound,
                // Older than the newest of the round before.
                Add(0, &[40, 60]),
                EndRound,
                EndRound,
                EndRound,
            ],
            &[&[], &[10, 20, 30, 40, 50], &[60], &[]],
        );
        let whole = Account {
            records: 6,
            ..Account::default()
        };
        assert_eq!(account, whole);
    }

    #[test]
    fn the_end_gives_out_all_and_a_record_that_comes_late_is_counted() {
        let account = check(
            &[
                Add(0, &[10, 100]),
                EndRound,
                EndRound,
                Add(1, &[50, 200]),
                End,
            ],
            &[&[], &[10, 100], &[50, 200]],
        );
        assert_eq!((account.records, account.late), (4, 1));
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_the_rest_comes() {
        let account = check(
            &[Add(0, &[10]), Garbage(0), Add(0, &[20]), End],
            &[&[10, 20]],
        );
        assert_eq!((account.records, account.damages), (2, 1));
        assert!(
            account
                .first_damage
                .expect("a damage")
                .starts_with("cpu 0: ")
        );
    }

    #[test]
    fn a_reader_who_has_seen_enough_gets_no_more() {
        let mut formats = Formats::new();
        formats.add("ftrace", PRINT).expect("a real format");
        let mut merge = Merge::new(&formats, layout());
        merge.add(0, &sub_buffers(&[1, 2, 3]));
        let mut seen = 0;
        let flow = merge.end(|step| {
            seen += 1;
            assert_eq!(
                step.following.as_ref().map(|record| record.timestamp_ns),
                Some(step.record.timestamp_ns + 1)
            );
            Ok::<_, Infallible>(if seen == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        });
        assert_eq!(flow, Ok(ControlFlow::Break(())));
        assert_eq!(seen, 2);
    }
}
