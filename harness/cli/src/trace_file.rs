// SPDX-License-Identifier: GPL-2.0-only

//! Opens a trace for the commands that analyse one: a trace.dat file, or a run's folder.
//!
//! In: what the user named. Out: its records, whose sub-buffers are read and decompressed in threads of their own while
//! the caller goes through them.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use anyhow::{Context, anyhow};
use deferinit_ftrace::capture::{FoundBlock, FoundBlocks, Indexer, Records, Tally};
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_ftrace::trace_dat::{Buffer, CpuBlocks, CpuSection, Opening, Source, TraceFile};

use crate::args::trace::{Input, Window};
use crate::exit::{Failure, complain};

/// Where the trace is in a run's folder.
const IN_RUN: &str = "trace/trace.dat";

/// Blocks that are decompressed ahead, for each CPU.
const AHEAD: usize = 3;

/// A file with a thread and buffers for each CPU takes too much memory beyond so many.
const THREADS: usize = 16;

/// A trace that is open.
pub(crate) struct Trace {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<TraceFile<Arc<TraceSource>>>,
    pub(crate) buffer: Buffer,
    pub(crate) is_lenient: bool,
}

/// One record on the way.
pub(crate) struct Step<'a> {
    pub(crate) record: &'a Record<'a>,
    records: &'a Records<'a, AheadBlocks>,
}

impl<'a> Step<'a> {
    /// The one behind it on the same CPU.
    #[inline]
    pub(crate) fn following(&self) -> Option<Record<'a>> {
        self.records.following()
    }

    /// Whether records of its CPU were lost before it.
    #[inline]
    pub(crate) fn follows_loss(&self) -> bool {
        self.records.follows_loss()
    }
}

impl Window {
    /// Its times in a trace that starts at `start`.
    pub(crate) fn bounds(&self, start: u64) -> (u64, u64) {
        (
            self.from.map_or(0, |time| time.in_trace(start)),
            self.to.map_or(u64::MAX, |time| time.in_trace(start)),
        )
    }
}

/// A file that is read at offsets.
#[derive(Debug)]
pub(crate) struct TraceSource {
    file: File,
    size: u64,
}

/// The blocks of one CPU.
pub(crate) enum AheadBlocks {
    /// Decompressed, and their records found, ahead in a thread.
    Thread {
        filled: Receiver<FoundBlock>,
        emptied: Sender<FoundBlock>,
    },
    /// When they are needed.
    Direct(Box<Indexer<CpuBlocks<Arc<TraceSource>>>>),
}

impl Source for TraceSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }
}

impl FoundBlocks for AheadBlocks {
    fn next_found(&mut self, formats: &Formats, block: &mut FoundBlock) -> bool {
        match self {
            Self::Direct(indexer) => indexer.next_found(formats, block),
            Self::Thread { filled, emptied } => {
                let Ok(next) = filled.recv() else {
                    return false;
                };
                // A thread that has ended needs no more.
                drop(emptied.send(std::mem::replace(block, next)));
                true
            }
        }
    }
}

impl AheadBlocks {
    /// Starts reading; directly where there can be no thread.
    fn start(file: &Arc<TraceFile<Arc<TraceSource>>>, buffer: &Buffer, cpu: &CpuSection) -> Self {
        let (fill, filled) = sync_channel(AHEAD);
        let (emptied, empty) = channel();
        let mut indexer = file.indexer(Arc::clone(file.source()), buffer, cpu);
        let of_thread = Arc::clone(file);
        let started = thread::Builder::new()
            .name("decompress".to_owned())
            .spawn(move || read_ahead(&mut indexer, of_thread.formats(), &fill, &empty));
        match started {
            Ok(_) => Self::Thread { filled, emptied },
            Err(_) => Self::direct(file, buffer, cpu),
        }
    }

    fn direct(file: &Arc<TraceFile<Arc<TraceSource>>>, buffer: &Buffer, cpu: &CpuSection) -> Self {
        Self::Direct(Box::new(file.indexer(
            Arc::clone(file.source()),
            buffer,
            cpu,
        )))
    }
}

/// Reads until the end, or until nobody wants more.
fn read_ahead(
    indexer: &mut impl FoundBlocks,
    formats: &Formats,
    fill: &SyncSender<FoundBlock>,
    empty: &Receiver<FoundBlock>,
) {
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        if !indexer.next_found(formats, &mut block) || fill.send(block).is_err() {
            return;
        }
    }
}

impl Trace {
    /// Opens what the user named.
    ///
    /// # Errors
    /// There is no trace, or it cannot be read.
    pub(crate) fn open(input: &Input) -> Result<Self, Failure> {
        Self::open_path(&input.trace, input.instance.as_deref(), input.lenient)
    }

    /// The same, for a path.
    pub(crate) fn open_path(
        path: &Path,
        instance: Option<&str>,
        is_lenient: bool,
    ) -> Result<Self, Failure> {
        let path = find(path)?;
        let shown = path.display().to_string();
        let source = TraceSource::open(&path)
            .with_context(|| format!("cannot read {shown}"))
            .map_err(Failure::trace)?;
        let opening = if is_lenient {
            Opening::Lenient
        } else {
            Opening::Strict
        };
        let file = TraceFile::open(Arc::new(source), opening)
            .map_err(|error| Failure::trace(anyhow!("{shown}: {error}")))?;
        for notice in file.notices() {
            complain(&format!("warning: {shown}: {notice}"));
        }
        if file.buffers().is_empty() {
            return Err(Failure::trace(anyhow!("{shown}: there is no trace in it")));
        }
        let buffer = choose(&file, instance)
            .map_err(|message| Failure::usage(anyhow!("{shown}: {message}")))?;
        Ok(Self {
            path,
            file: Arc::new(file),
            buffer,
            is_lenient,
        })
    }

    /// Its records, from the first one on.
    pub(crate) fn records(&self) -> Records<'_, AheadBlocks> {
        self.records_of(&self.buffer)
    }

    /// Those of these CPUs only, if the window names some.
    pub(crate) fn records_in(&self, window: &Window) -> Records<'_, AheadBlocks> {
        let mut buffer = self.buffer.clone();
        if let Some(cpus) = &window.cpu {
            buffer.cpus.retain(|section| cpus.0.contains(&section.cpu));
        }
        self.records_of(&buffer)
    }

    fn records_of(&self, buffer: &Buffer) -> Records<'_, AheadBlocks> {
        let cpus: Vec<_> = buffer
            .cpus
            .iter()
            .map(|section| {
                let blocks = if buffer.cpus.len() <= THREADS {
                    AheadBlocks::start(&self.file, buffer, section)
                } else {
                    AheadBlocks::direct(&self.file, buffer, section)
                };
                (section.cpu, blocks)
            })
            .collect();
        Records::of_found(self.file.formats(), cpus)
    }

    /// The symbols of its kernel; none if the file has none.
    ///
    /// # Errors
    /// They cannot be read; leniently, that is a warning.
    pub(crate) fn symbols(&self) -> Result<Symbols, Failure> {
        match self.file.symbols() {
            Ok(symbols) => Ok(symbols.unwrap_or_default()),
            Err(error) => self
                .damaged(&error.to_string())
                .map(|()| Symbols::default()),
        }
    }

    /// The names of its tasks.
    ///
    /// # Errors
    /// They cannot be read; leniently, that is a warning.
    pub(crate) fn tasks(&self) -> Result<SavedCmdlines, Failure> {
        self.file.saved_cmdlines().or_else(|error| {
            self.damaged(&error.to_string())
                .map(|()| SavedCmdlines::default())
        })
    }

    /// Goes through the records of a window, until `visit` has seen enough. Strictly, it ends at the first damage.
    ///
    /// # Errors
    /// What `visit` says.
    pub(crate) fn each(
        &self,
        window: &Window,
        mut visit: impl FnMut(&Step<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<Tally, Failure> {
        let mut records = self.records_in(window);
        let mut bounds = None;
        while records.advance() {
            if records.damages() > 0 && !self.is_lenient {
                break;
            }
            // By reference: a copy for each record costs.
            let head = records.head();
            let Some(record) = &head else {
                continue;
            };
            let (from, to) = *bounds.get_or_insert_with(|| window.bounds(record.timestamp_ns));
            if record.timestamp_ns < from {
                continue;
            }
            if record.timestamp_ns >= to {
                break;
            }
            let step = Step {
                record,
                records: &records,
            };
            if visit(&step)?.is_break() {
                break;
            }
        }
        // Not what is left: the reader wants no more of it.
        Ok(records.tally())
    }

    /// What to make of damage that was found on the way: the exit code, or the failure.
    pub(crate) fn outcome(&self, tally: &Tally) -> Result<u8, Failure> {
        let Some(first) = tally.damage.first() else {
            return Ok(if self.file.notices().is_empty() {
                crate::exit::PASSED
            } else {
                crate::exit::TRACE
            });
        };
        let more = match tally.damages {
            0 | 1 => String::new(),
            damages => format!(" (and {} more)", damages.saturating_sub(1)),
        };
        self.damaged(&format!("{first}{more}"))?;
        Ok(crate::exit::TRACE)
    }

    /// An error, or a warning if the user wants to go on.
    pub(crate) fn damaged(&self, what: &str) -> Result<(), Failure> {
        let message = format!("{}: {what}", self.path.display());
        if self.is_lenient {
            complain(&format!("warning: {message}"));
            return Ok(());
        }
        Err(Failure::trace(anyhow!("{message}")).advise("--lenient goes on with what can be read"))
    }
}

impl TraceSource {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

/// The folders with a trace that a path means: itself, or all below it, in order.
///
/// # Errors
/// There is none, or it cannot be looked for.
pub(crate) fn runs(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.join(IN_RUN).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    search(path, &mut found)
        .with_context(|| format!("cannot look for a trace in {}", path.display()))
        .map_err(Failure::trace)?;
    if found.is_empty() {
        return Err(Failure::usage(anyhow!(
            "{} holds no run with a trace: there is no {IN_RUN} in it or below",
            path.display()
        )));
    }
    found.sort();
    Ok(found)
}

/// The trace.dat that a path means.
fn find(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let direct = path.join(IN_RUN);
    if direct.is_file() {
        return Ok(direct);
    }
    let mut found = Vec::new();
    search(path, &mut found)
        .with_context(|| format!("cannot look for a trace in {}", path.display()))
        .map_err(Failure::trace)?;
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.join(IN_RUN)),
        [] => Err(Failure::usage(anyhow!(
            "{} holds no run with a trace: there is no {IN_RUN} in it or below",
            path.display()
        ))),
        [first, ..] => Err(Failure::usage(anyhow!(
            "{} holds {} runs with a trace; name one of them, as {}",
            path.display(),
            found.len(),
            first.display()
        ))),
    }
}

/// The folders with a trace below `folder`.
fn search(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Links are not followed: they could lead back.
        if entry.file_type()?.is_dir() {
            if entry.path().join(IN_RUN).is_file() {
                found.push(entry.path());
            } else {
                search(&entry.path(), found)?;
            }
        }
    }
    Ok(())
}

/// The instance that the user means: the one named, or the first one with records.
fn choose(file: &TraceFile<Arc<TraceSource>>, name: Option<&str>) -> Result<Buffer, String> {
    let buffers = file.buffers();
    let Some(name) = name else {
        return buffers
            .iter()
            .find(|buffer| buffer.cpus.iter().any(|cpu| cpu.size > 0))
            .or(buffers.first())
            .cloned()
            .ok_or_else(|| "there is no trace in it".to_owned());
    };
    buffers
        .iter()
        .find(|buffer| buffer.name == name)
        .cloned()
        .ok_or_else(|| {
            let names: Vec<_> = buffers
                .iter()
                .map(|buffer| format!("{:?}", buffer.name))
                .collect();
            format!(
                "there is no instance {name:?} in it, but {}",
                names.join(", ")
            )
        })
}
