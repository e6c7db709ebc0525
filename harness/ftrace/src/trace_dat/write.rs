// SPDX-License-Identifier: GPL-2.0-only

//! Writes a trace.dat file of version 7, compressed with zstd, which trace-cmd and KernelShark open.
//!
//! In: sub-buffers and the guest's files, all verbatim. Out: the file; the same input gives the same bytes.
//! It decodes nothing: the archive is the evidence. It writes one buffer, and writes it as the top instance, since a
//! reader shows that without being asked. The file is written from front to back, but for sizes, which are put into
//! their places when they are known: so a trace need not be in memory.
//! Source: `trace-cmd.dat.v7(5)` of trace-cmd 3.4.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Seek, SeekFrom, Write};

use zstd::zstd_safe::CParameter;

use crate::format::{EventFormat, Formats};
use crate::page::CpuSubBuffers;
use crate::trace_dat::{COMPRESSED, MAGIC, id};

/// Sub-buffers compressed together, so that a reader can decompress a part. With trace-cmd's own number, 10, a file of
/// function_graph is 4 % larger and takes a sixth longer to decompress; beyond 40, a reader's memory grows and little is won.
const CHUNK_SUB_BUFFERS: usize = 40;
/// Level 3, zstd's own default, takes a fifth longer and makes a file of function_graph that is no smaller.
const LEVEL: i32 = 1;
/// The shortest match, in bytes. Of the level's own 6, a file of function_graph is as large and takes a seventh longer to
/// decompress.
const SHORTEST_MATCH: u32 = 7;

/// What the file says besides its trace.
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
    /// A sub-buffer of another size than that of the file.
    #[error("a sub-buffer of {size} bytes is to go into a file with sub-buffers of {wanted}")]
    SubBufferSize {
        /// What was given.
        size: usize,
        /// What the file has.
        wanted: u32,
    },
    /// zstd failed.
    #[error("zstd cannot compress {what}")]
    Compress {
        /// Which part.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The bytes cannot be written.
    #[error("cannot be written")]
    Write(#[from] io::Error),
}

impl TraceDat<'_> {
    /// Writes a file of these CPUs, in the order of their numbers, into memory.
    ///
    /// # Errors
    /// [`Error`] when the input cannot be said in this format, or zstd fails.
    pub fn write(&self, cpus: &[TraceDatCpu<'_>]) -> Result<Vec<u8>, Error> {
        let mut writer = self.begin(Cursor::new(Vec::new()))?;
        for cpu in cpus {
            writer.begin_cpu(cpu.data.cpu)?;
            for sub_buffer in &cpu.data.sub_buffers {
                writer.sub_buffer(sub_buffer)?;
            }
            writer.statistics(cpu.data.cpu, cpu.stats)?;
        }
        Ok(writer.finish()?.into_inner())
    }

    /// Begins a file: all but the trace, which follows CPU by CPU.
    ///
    /// # Errors
    /// [`Error`] when the input cannot be said in this format, zstd fails, or `out` does.
    pub fn begin<W: Write + Seek>(&self, out: W) -> Result<TraceDatWriter<W>, Error> {
        // trace-cmd takes the page size for that of the sub-buffers, but of instances (`handle->page_size`,
        // trace-input.c).
        let page_size = self.page_size.max(self.sub_buffer_size);
        let mut file = File::begin(out, page_size, self.user_long_size)?;
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
        for (number, name, content) in sections {
            let offset = file.compressed_section(number, name, &content)?;
            options.add(number, &offset.to_le_bytes())?;
        }
        let section = file.begin_section(id::BUFFER, "buffer flyrecord", COMPRESSED)?;
        Ok(TraceDatWriter {
            file,
            options,
            section,
            clock: terminated("trace_clock", self.clock()?.as_bytes())?,
            page_size,
            sub_buffer_size: self.sub_buffer_size,
            cpus: Vec::new(),
            chunk: Vec::new(),
        })
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

    /// The clock in brackets.
    fn clock(&self) -> Result<&str, Error> {
        self.trace_clock
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(clock, _)| clock)
            .ok_or_else(|| Error::NoClock(self.trace_clock.to_owned()))
    }
}

/// A file whose trace is being written.
#[derive(Debug)]
pub struct TraceDatWriter<W> {
    file: File<W>,
    options: Options,
    section: Section,
    clock: Vec<u8>,
    page_size: u32,
    sub_buffer_size: u32,
    cpus: Vec<CpuInFile>,
    /// Sub-buffers that are to be compressed together.
    chunk: Vec<u8>,
}

/// Where the trace of a CPU is.
#[derive(Debug, Clone, Copy)]
struct CpuInFile {
    cpu: u32,
    offset: u64,
    end: u64,
    chunks: u32,
}

impl<W: Write + Seek> TraceDatWriter<W> {
    /// The sub-buffers that follow are of this CPU. CPUs come in the order of their numbers, each once.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Compress`].
    pub fn begin_cpu(&mut self, cpu: u32) -> Result<(), Error> {
        self.end_cpu()?;
        self.file.align(self.page_size)?;
        self.cpus.push(CpuInFile {
            cpu,
            offset: self.file.at,
            end: self.file.at,
            chunks: 0,
        });
        Ok(())
    }

    /// Adds a sub-buffer of the CPU that was begun last; before any was, nothing.
    ///
    /// # Errors
    /// [`Error::SubBufferSize`], [`Error::Write`], [`Error::Compress`].
    pub fn sub_buffer(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let wanted = usize::try_from(self.sub_buffer_size).unwrap_or(usize::MAX);
        if bytes.len() != wanted {
            return Err(Error::SubBufferSize {
                size: bytes.len(),
                wanted: self.sub_buffer_size,
            });
        }
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= wanted.saturating_mul(CHUNK_SUB_BUFFERS) {
            self.end_chunk()?;
        }
        Ok(())
    }

    /// Adds a CPU's `per_cpu/cpu<N>/stats`, at any time.
    ///
    /// # Errors
    /// [`Error::Nul`], [`Error::TooLarge`].
    pub fn statistics(&mut self, cpu: u32, stats: &[u8]) -> Result<(), Error> {
        // With the CPU in front, as trace-cmd prints them.
        let mut text = format!("CPU: {cpu}\n").into_bytes();
        text.extend(stats);
        self.options.add(id::CPU_STAT, &terminated("stats", &text)?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Compress`].
    pub fn finish(mut self) -> Result<W, Error> {
        self.end_cpu()?;
        self.file.end_section(&self.section)?;
        let cpus = to_u32("the number of CPUs", self.cpus.len())?;
        self.options.add(id::CPU_COUNT, &cpus.to_le_bytes())?;
        let mut buffer = self.section.offset.to_le_bytes().to_vec();
        // The name of the instance: none, the top one.
        buffer.push(0);
        buffer.extend(&self.clock);
        buffer.extend(self.sub_buffer_size.to_le_bytes());
        buffer.extend(cpus.to_le_bytes());
        for cpu in &self.cpus {
            buffer.extend(cpu.cpu.to_le_bytes());
            buffer.extend(cpu.offset.to_le_bytes());
            buffer.extend(cpu.end.saturating_sub(cpu.offset).to_le_bytes());
        }
        self.options.add(id::BUFFER, &buffer)?;
        // Nothing follows: the offset of the next list of options is 0.
        self.options.add(id::OPTIONS, &0_u64.to_le_bytes())?;
        self.file.first_options(&self.options.bytes)?;
        self.file.finish()
    }

    fn end_chunk(&mut self) -> Result<(), Error> {
        let Some(cpu) = self.cpus.last_mut().filter(|_| !self.chunk.is_empty()) else {
            return Ok(());
        };
        if cpu.chunks == 0 {
            // The number of chunks, put there when it is known.
            self.file.write(&[0; 4])?;
        }
        cpu.chunks = cpu.chunks.saturating_add(1);
        self.file.compressed("sub-buffers", &self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// A CPU without sub-buffers has nothing at all in the file.
    fn end_cpu(&mut self) -> Result<(), Error> {
        self.end_chunk()?;
        if let Some(cpu) = self.cpus.last_mut().filter(|cpu| cpu.chunks > 0) {
            cpu.end = self.file.at;
            self.file.put(cpu.offset, &cpu.chunks.to_le_bytes())?;
        }
        Ok(())
    }
}

/// The file so far.
#[derive(Debug)]
struct File<W> {
    out: W,
    /// Bytes written so far.
    at: u64,
    /// Where the offset of the first options stands.
    options_at: u64,
    /// The sections' names, NUL-terminated; a section's header holds its name's offset.
    names: Vec<u8>,
}

fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::MinMatch(SHORTEST_MATCH))?;
    compressor.compress(content)
}

/// A section that is being written.
#[derive(Debug)]
struct Section {
    /// Where its header starts in the file.
    offset: u64,
    /// Where its size stands.
    size_at: u64,
}

impl<W: Write + Seek> File<W> {
    fn begin(out: W, page_size: u32, user_long_size: u8) -> Result<Self, Error> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(b"7\0");
        // 0: little-endian.
        bytes.extend([0, user_long_size]);
        bytes.extend(page_size.to_le_bytes());
        bytes.extend(b"zstd\0");
        bytes.extend(zstd::zstd_safe::version_string().as_bytes());
        bytes.push(0);
        let mut file = Self {
            out,
            at: 0,
            options_at: 0,
            names: Vec::new(),
        };
        file.write(&bytes)?;
        file.options_at = file.at;
        file.write(&0_u64.to_le_bytes())?;
        Ok(file)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes)?;
        // A length has at most 64 bits on every target there is.
        self.at = self
            .at
            .saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
        Ok(())
    }

    /// Writes into a place that was left for it.
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(bytes)?;
        self.out.seek(SeekFrom::Start(self.at))?;
        Ok(())
    }

    fn align(&mut self, to: u32) -> Result<(), Error> {
        let end = self.at.next_multiple_of(u64::from(to.max(1)));
        let gap = usize::try_from(end.saturating_sub(self.at)).unwrap_or(0);
        self.write(&vec![0; gap])
    }

    fn begin_section(&mut self, number: u16, name: &str, flags: u16) -> Result<Section, Error> {
        let offset = self.at;
        // The names are this module's own and few.
        let name_at = u32::try_from(self.names.len()).unwrap_or(0);
        self.names.extend(name.as_bytes());
        self.names.push(0);
        let mut header = number.to_le_bytes().to_vec();
        header.extend(flags.to_le_bytes());
        header.extend(name_at.to_le_bytes());
        self.write(&header)?;
        let size_at = self.at;
        self.write(&0_u64.to_le_bytes())?;
        Ok(Section { offset, size_at })
    }

    /// The size counts what stands behind the header.
    fn end_section(&mut self, section: &Section) -> Result<(), Error> {
        let size = self.at.saturating_sub(section.size_at).saturating_sub(8);
        self.put(section.size_at, &size.to_le_bytes())
    }

    /// Returns where the section starts.
    fn compressed_section(
        &mut self,
        number: u16,
        name: &'static str,
        content: &[u8],
    ) -> Result<u64, Error> {
        let section = self.begin_section(number, name, COMPRESSED)?;
        self.compressed(name, content)?;
        self.end_section(&section)?;
        Ok(section.offset)
    }

    /// Compressed size, size, compressed bytes.
    fn compressed(&mut self, what: &'static str, content: &[u8]) -> Result<(), Error> {
        let compressed = compress(content).map_err(|source| Error::Compress { what, source })?;
        self.write(&to_u32(what, compressed.len())?.to_le_bytes())?;
        self.write(&to_u32(what, content.len())?.to_le_bytes())?;
        self.write(&compressed)
    }

    fn first_options(&mut self, options: &[u8]) -> Result<(), Error> {
        let section = self.begin_section(id::OPTIONS, "options", 0)?;
        self.write(options)?;
        self.end_section(&section)?;
        self.put(self.options_at, &section.offset.to_le_bytes())
    }

    /// Adds the names. No option points to them: a reader finds them by walking the sections.
    fn finish(mut self) -> Result<W, Error> {
        let section = self.begin_section(id::STRINGS, "strings", 0)?;
        let names = std::mem::take(&mut self.names);
        self.write(&names)?;
        self.end_section(&section)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A list of options.
#[derive(Debug, Default)]
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
