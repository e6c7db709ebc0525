// SPDX-License-Identifier: GPL-2.0-only

//! Writes a trace.dat file of version 7, compressed with zstd, which trace-cmd and KernelShark open.
//!
//! In: sub-buffers and the guest's files, all verbatim. Out: the bytes of the file; the same input gives the same file.
//! It decodes nothing: the archive is the evidence. It writes one buffer, and writes it as the top instance, since a
//! reader shows that without being asked.
//! Source: `trace-cmd.dat.v7(5)` of trace-cmd 3.4.

use std::collections::BTreeMap;
use std::io;

use crate::format::{EventFormat, Formats};
use crate::page::CpuSubBuffers;
use crate::trace_dat::{COMPRESSED, MAGIC, id};

/// Sub-buffers compressed together, so that a reader can decompress a part; trace-cmd's own number.
const CHUNK_SUB_BUFFERS: usize = 10;
/// zstd's own default level.
const LEVEL: i32 = 3;
/// What goes into the file.
#[derive(Debug, Clone)]
pub struct TraceDat<'a> {
    /// Bytes of a page of the guest.
    pub page_size: u32,
    /// Bytes of a `long` in the guest's user space.
    pub user_long_size: u8,
    /// Bytes of a sub-buffer, header included.
    pub sub_buffer_size: u32,
    /// `events/header_page`.
    pub header_page: &'a [u8],
    /// `events/header_event`.
    pub header_event: &'a [u8],
    /// All `format` files.
    pub formats: &'a Formats,
    /// `/proc/kallsyms`.
    pub kallsyms: &'a [u8],
    /// `printk_formats`.
    pub printk_formats: &'a [u8],
    /// `saved_cmdlines`.
    pub saved_cmdlines: &'a [u8],
    /// `trace_clock`, the clock in use in brackets: `[local] global counter`.
    pub trace_clock: &'a str,
    /// The guest's system, kernel release and machine, as by `uname -a`.
    pub uname: &'a str,
    /// What wrote the trace: name and version.
    pub version: &'a str,
    /// Each CPU's sub-buffers and statistics, in the order of CPU numbers.
    pub cpus: &'a [TraceDatCpu<'a>],
}

/// What one CPU puts into the file.
#[derive(Debug, Clone)]
pub struct TraceDatCpu<'a> {
    /// Its sub-buffers, oldest first.
    pub data: CpuSubBuffers<'a>,
    /// `per_cpu/cpu<N>/stats`.
    pub stats: &'a [u8],
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part is larger than the format can say.
    #[error("{what} has {size} bytes or entries, trace.dat can hold {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The largest size.
        limit: u64,
    },
    /// A text that ends with a NUL in the file has one inside.
    #[error("{0} has a NUL in it")]
    Nul(&'static str),
    /// The clock in use is not in brackets.
    #[error("trace_clock {0:?} names no clock in brackets")]
    NoClock(String),
    /// zstd failed.
    #[error("zstd cannot compress {what}")]
    Compress {
        /// Which part.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl TraceDat<'_> {
    /// Writes the file.
    ///
    /// # Errors
    /// [`Error`] when the input cannot be said in this format, or zstd fails.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        let mut file = File::begin(self.page_size, self.user_long_size);
        let sections = [
            (id::HEADER_INFO, "headers", self.header_info()?),
            (id::FTRACE_EVENTS, "ftrace events", self.ftrace_events()?),
            (id::EVENT_FORMATS, "events format", self.event_formats()?),
            (
                id::KALLSYMS,
                "kallsyms",
                with_u32_size("kallsyms", self.kallsyms)?,
            ),
            (
                id::PRINTK,
                "printk",
                with_u32_size("printk_formats", self.printk_formats)?,
            ),
            (
                id::CMD_LINES,
                "command lines",
                with_u64_size("saved_cmdlines", self.saved_cmdlines)?,
            ),
        ];
        let mut options = Options::default();
        options.add(
            id::VERSION,
            &terminated("version", self.version.as_bytes())?,
        )?;
        options.add(id::UNAME, &terminated("uname", self.uname.as_bytes())?)?;
        options.add(
            id::TRACE_CLOCK,
            &terminated("trace_clock", self.trace_clock.as_bytes())?,
        )?;
        options.add(
            id::CPU_COUNT,
            &to_u32("the number of CPUs", self.cpus.len())?.to_le_bytes(),
        )?;
        for cpu in self.cpus {
            options.add(id::CPU_STAT, &self.cpu_stat(cpu)?)?;
        }
        for (number, name, content) in sections {
            let offset = file.compressed_section(number, name, &content)?;
            options.add(number, &offset.to_le_bytes())?;
        }
        let buffer = self.write_buffer(&mut file)?;
        options.add(id::BUFFER, &buffer)?;
        // Nothing follows: the offset of the next list of options is 0.
        options.add(id::OPTIONS, &0_u64.to_le_bytes())?;
        file.first_options(&options.bytes);
        Ok(file.finish())
    }

    fn header_info(&self) -> Result<Vec<u8>, Error> {
        let mut content = b"header_page\0".to_vec();
        content.extend(with_u64_size("header_page", self.header_page)?);
        content.extend(b"header_event\0");
        content.extend(with_u64_size("header_event", self.header_event)?);
        Ok(content)
    }

    fn ftrace_events(&self) -> Result<Vec<u8>, Error> {
        let events: Vec<_> = self
            .formats
            .events()
            .iter()
            .filter(|event| event.system() == "ftrace")
            .collect();
        event_texts("the number of ftrace events", &events)
    }

    fn event_formats(&self) -> Result<Vec<u8>, Error> {
        let mut systems: BTreeMap<&str, Vec<&EventFormat>> = BTreeMap::new();
        for event in self
            .formats
            .events()
            .iter()
            .filter(|event| event.system() != "ftrace")
        {
            systems.entry(event.system()).or_default().push(event);
        }
        let mut content = to_u32("the number of systems", systems.len())?
            .to_le_bytes()
            .to_vec();
        for (system, events) in systems {
            content.extend(terminated("a system's name", system.as_bytes())?);
            content.extend(event_texts("the number of events", &events)?);
        }
        Ok(content)
    }

    /// The statistics with the CPU in front, as trace-cmd prints them.
    fn cpu_stat(&self, cpu: &TraceDatCpu<'_>) -> Result<Vec<u8>, Error> {
        let mut text = format!("CPU: {}\n", cpu.data.cpu).into_bytes();
        text.extend(cpu.stats);
        terminated("stats", &text)
    }

    /// Writes all sub-buffers; returns the option that says where they are.
    fn write_buffer(&self, file: &mut File) -> Result<Vec<u8>, Error> {
        let section = file.begin_section(id::BUFFER, "buffer flyrecord", COMPRESSED);
        let mut option = section.offset.to_le_bytes().to_vec();
        // The name of the instance: none, the top one.
        option.push(0);
        option.extend(terminated("trace_clock", self.clock()?.as_bytes())?);
        option.extend(self.sub_buffer_size.to_le_bytes());
        option.extend(to_u32("the number of CPUs", self.cpus.len())?.to_le_bytes());
        for cpu in self.cpus {
            file.align(self.page_size);
            let offset = file.offset();
            file.chunks(&cpu.data.sub_buffers)?;
            option.extend(cpu.data.cpu.to_le_bytes());
            option.extend(offset.to_le_bytes());
            option.extend(file.offset().saturating_sub(offset).to_le_bytes());
        }
        file.end_section(&section);
        Ok(option)
    }

    /// The clock in brackets.
    fn clock(&self) -> Result<&str, Error> {
        self.trace_clock
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(clock, _)| clock)
            .ok_or_else(|| Error::NoClock(self.trace_clock.to_owned()))
    }
}

/// The file so far.
struct File {
    bytes: Vec<u8>,
    /// Where the offset of the first options stands.
    options_at: usize,
    /// The sections' names, NUL-terminated; a section's header holds its name's offset.
    names: Vec<u8>,
}

/// A section that is being written.
struct Section {
    /// Where its header starts in the file.
    offset: u64,
    /// Where its size stands.
    size_at: usize,
}

impl File {
    fn begin(page_size: u32, user_long_size: u8) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(b"7\0");
        // 0: little-endian.
        bytes.extend([0, user_long_size]);
        bytes.extend(page_size.to_le_bytes());
        bytes.extend(b"zstd\0");
        bytes.extend(zstd::zstd_safe::version_string().as_bytes());
        bytes.push(0);
        let options_at = bytes.len();
        bytes.extend(0_u64.to_le_bytes());
        Self {
            bytes,
            options_at,
            names: Vec::new(),
        }
    }

    fn offset(&self) -> u64 {
        // A `usize` has at most 64 bits on every target there is.
        self.bytes.len().try_into().unwrap_or(u64::MAX)
    }

    fn put(&mut self, at: usize, value: u64) {
        if let Some(place) = self
            .bytes
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut())
        {
            *place = value.to_le_bytes();
        }
    }

    fn align(&mut self, to: u32) {
        let to = usize::try_from(to).unwrap_or(1).max(1);
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn begin_section(&mut self, number: u16, name: &str, flags: u16) -> Section {
        let offset = self.offset();
        // The names are this module's own and few.
        let name_at = u32::try_from(self.names.len()).unwrap_or(0);
        self.names.extend(name.as_bytes());
        self.names.push(0);
        self.bytes.extend(number.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(name_at.to_le_bytes());
        let size_at = self.bytes.len();
        self.bytes.extend(0_u64.to_le_bytes());
        Section { offset, size_at }
    }

    /// The size counts what stands behind the header.
    fn end_section(&mut self, section: &Section) {
        let size = self
            .bytes
            .len()
            .saturating_sub(section.size_at)
            .saturating_sub(8);
        self.put(section.size_at, size.try_into().unwrap_or(u64::MAX));
    }

    /// Returns where the section starts.
    fn compressed_section(
        &mut self,
        number: u16,
        name: &'static str,
        content: &[u8],
    ) -> Result<u64, Error> {
        let section = self.begin_section(number, name, COMPRESSED);
        self.compressed(name, content)?;
        self.end_section(&section);
        Ok(section.offset)
    }

    /// Compressed size, size, compressed bytes.
    fn compressed(&mut self, what: &'static str, content: &[u8]) -> Result<(), Error> {
        let compressed = zstd::bulk::compress(content, LEVEL)
            .map_err(|source| Error::Compress { what, source })?;
        self.bytes
            .extend(to_u32(what, compressed.len())?.to_le_bytes());
        self.bytes
            .extend(to_u32(what, content.len())?.to_le_bytes());
        self.bytes.extend(compressed);
        Ok(())
    }

    /// The number of chunks, then each; nothing at all for a CPU without data.
    fn chunks(&mut self, sub_buffers: &[&[u8]]) -> Result<(), Error> {
        if sub_buffers.is_empty() {
            return Ok(());
        }
        let chunks = sub_buffers.chunks(CHUNK_SUB_BUFFERS);
        self.bytes
            .extend(to_u32("the number of chunks", chunks.len())?.to_le_bytes());
        for chunk in chunks {
            self.compressed("sub-buffers", &chunk.concat())?;
        }
        Ok(())
    }

    fn first_options(&mut self, options: &[u8]) {
        let section = self.begin_section(id::OPTIONS, "options", 0);
        self.bytes.extend(options);
        self.end_section(&section);
        self.put(self.options_at, section.offset);
    }

    /// Adds the names. No option points to them: a reader finds them by walking the sections.
    fn finish(mut self) -> Vec<u8> {
        let section = self.begin_section(id::STRINGS, "strings", 0);
        self.bytes.extend_from_slice(&self.names);
        self.end_section(&section);
        self.bytes
    }
}

/// A list of options.
#[derive(Default)]
struct Options {
    bytes: Vec<u8>,
}

impl Options {
    fn add(&mut self, number: u16, content: &[u8]) -> Result<(), Error> {
        self.bytes.extend(number.to_le_bytes());
        self.bytes
            .extend(to_u32("an option", content.len())?.to_le_bytes());
        self.bytes.extend(content);
        Ok(())
    }
}

fn to_u32(what: &'static str, size: usize) -> Result<u32, Error> {
    size.try_into().map_err(|_| Error::TooLarge {
        what,
        size,
        limit: u32::MAX.into(),
    })
}

fn to_u64(what: &'static str, size: usize) -> Result<u64, Error> {
    size.try_into().map_err(|_| Error::TooLarge {
        what,
        size,
        limit: u64::MAX,
    })
}

fn with_u32_size(what: &'static str, content: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = to_u32(what, content.len())?.to_le_bytes().to_vec();
    bytes.extend(content);
    Ok(bytes)
}

fn with_u64_size(what: &'static str, content: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = to_u64(what, content.len())?.to_le_bytes().to_vec();
    bytes.extend(content);
    Ok(bytes)
}

fn terminated(what: &'static str, text: &[u8]) -> Result<Vec<u8>, Error> {
    if text.contains(&0) {
        return Err(Error::Nul(what));
    }
    let mut bytes = text.to_vec();
    bytes.push(0);
    Ok(bytes)
}

/// The number of events, then size and text of each.
fn event_texts(what: &'static str, events: &[&EventFormat]) -> Result<Vec<u8>, Error> {
    let mut content = to_u32(what, events.len())?.to_le_bytes().to_vec();
    for event in events {
        content.extend(with_u64_size("a format", event.text().as_bytes())?);
    }
    Ok(content)
}
