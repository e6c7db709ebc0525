// SPDX-License-Identifier: GPL-2.0-only

//! Makes a new trace.dat of one or more others: a part by time and CPU, or all of them together.
//!
//! In: files of one machine and boot, which have the same format files. Out: the trace of a [`TraceDatWriter`].
//! Records keep their bytes; sub-buffers are made anew, since a cut goes through the middle of them. Times are those of
//! the records, converted already, so the new file needs no option for that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Seek, Write};

use crate::capture::{Damage, Records};
use crate::encode::{self, SubBufferEncoder};
use crate::trace_dat::input::Source;
use crate::trace_dat::read::{Buffer, TraceFile};
use crate::trace_dat::write::{self, TraceDatWriter};

/// Which records go into the new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The earliest time.
    pub from: u64,
    /// The first time that is too late; `u64::MAX` for no such.
    pub to: u64,
    /// The CPUs; all if `None`.
    pub cpus: Option<BTreeSet<u32>>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// Records, by CPU.
    pub records: BTreeMap<u32, u64>,
    /// The first things that could not be decoded, and were left out.
    pub damage: Vec<Damage>,
}

/// Why there is no new file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two files have different formats: they are of different kernels or boots.
    #[error(
        "file {file} has another format of {event} than the first one: they are of different kernels or boots"
    )]
    Formats {
        /// Which file, from 1.
        file: usize,
        /// The event, as `system:name`.
        event: String,
    },
    /// Two files have sub-buffers of different sizes.
    #[error("file {file} has sub-buffers of {size} bytes, the first one of {wanted}")]
    SubBufferSize {
        /// Which file, from 1.
        file: usize,
        /// What it has.
        size: usize,
        /// What the first one has.
        wanted: usize,
    },
    /// Two files count time by different clocks.
    #[error("file {file} has the clock {clock:?}, the first one {wanted:?}")]
    Clock {
        /// Which file, from 1.
        file: usize,
        /// What it has.
        clock: String,
        /// What the first one has.
        wanted: String,
    },
    /// A record cannot be put into a sub-buffer.
    #[error(transparent)]
    Encode(#[from] encode::Error),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] write::Error),
}

impl Default for Selection {
    /// All records.
    fn default() -> Self {
        Self {
            from: 0,
            to: u64::MAX,
            cpus: None,
        }
    }
}

impl Selection {
    /// Whether records of this CPU can be in it.
    fn has_cpu(&self, cpu: u32) -> bool {
        self.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu))
    }
}

/// Writes the selected records of these buffers, CPU by CPU, those of one CPU merged by time.
///
/// # Errors
/// [`Error`]. What was written until then is no trace.dat.
pub fn rewrite<S: Source, W: Write + Seek>(
    sources: &[(&TraceFile<S>, &Buffer)],
    selection: &Selection,
    writer: &mut TraceDatWriter<W>,
) -> Result<Rewritten, Error> {
    let mut rewritten = Rewritten::default();
    let Some((first, first_buffer)) = sources.first() else {
        return Ok(rewritten);
    };
    check_alike(sources)?;
    let layout = first.layout(first_buffer);
    let cpus: BTreeSet<u32> = sources
        .iter()
        .flat_map(|(_, buffer)| buffer.cpus.iter().map(|section| section.cpu))
        .filter(|cpu| selection.has_cpu(*cpu))
        .collect();
    for cpu in cpus {
        writer.begin_cpu(cpu)?;
        let mut encoder = SubBufferEncoder::new(layout.clone());
        // Of one clock and one layout: the records of the files are merged as those of CPUs are.
        let streams = sources.iter().flat_map(|(file, buffer)| {
            buffer
                .cpus
                .iter()
                .filter(|section| section.cpu == cpu)
                .map(|section| (section.cpu, file.blocks(file.source(), buffer, section)))
        });
        let mut records = Records::new(
            first.formats(),
            &layout,
            first.clock(),
            streams.collect::<Vec<_>>(),
        );
        let mut count = 0_u64;
        while records.advance() {
            let Some(time) = records.head().map(|record| record.timestamp_ns) else {
                continue;
            };
            if time < selection.from {
                continue;
            }
            if time >= selection.to {
                break;
            }
            if records.follows_loss()
                && let Some(sub_buffer) = encoder.lose()
            {
                writer.sub_buffer(&sub_buffer)?;
            }
            let payload = records.payload().unwrap_or_default();
            if let Some(sub_buffer) = encoder.add(time, payload)? {
                writer.sub_buffer(&sub_buffer)?;
            }
            count = count.saturating_add(1);
        }
        if let Some(sub_buffer) = encoder.finish() {
            writer.sub_buffer(&sub_buffer)?;
        }
        rewritten.records.insert(cpu, count);
        rewritten.damage.extend(records.first_damage().cloned());
    }
    Ok(rewritten)
}

/// Whether records of one file mean the same in another.
fn check_alike<S: Source>(sources: &[(&TraceFile<S>, &Buffer)]) -> Result<(), Error> {
    let Some(((first, first_buffer), others)) = sources.split_first() else {
        return Ok(());
    };
    for (place, (file, buffer)) in others.iter().enumerate() {
        let number = place.saturating_add(2);
        if buffer.sub_buffer_size != first_buffer.sub_buffer_size {
            return Err(Error::SubBufferSize {
                file: number,
                size: buffer.sub_buffer_size,
                wanted: first_buffer.sub_buffer_size,
            });
        }
        if buffer.clock != first_buffer.clock || file.clock() != first.clock() {
            return Err(Error::Clock {
                file: number,
                clock: buffer.clock.clone(),
                wanted: first_buffer.clock.clone(),
            });
        }
        let differing = file.formats().events().iter().find(|event| {
            first
                .formats()
                .by_id(event.id())
                .is_none_or(|ours| ours.system() != event.system() || ours.text() != event.text())
        });
        if let Some(event) = differing {
            return Err(Error::Formats {
                file: number,
                event: format!("{}:{}", event.system(), event.name()),
            });
        }
    }
    Ok(())
}
