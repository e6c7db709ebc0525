// SPDX-License-Identifier: GPL-2.0-only

//! Reads a trace.dat file of version 6 or 7.
//!
//! In: a [`Source`], untrusted. Out: what the file says about its trace, and its records. The records stay in the file
//! until they are asked for, and so do kallsyms and the other large texts.
//! It reads little-endian files; it does not shift a guest's time to its host's (`TIME_SHIFT`), and says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::index;
use crate::capture::{ClockConversion, Indexer, Records};
use crate::format::{Error as FormatError, Formats};
use crate::page::PageLayout;
use crate::printk_formats::PrintkFormats;
use crate::saved_cmdlines::SavedCmdlines;
use crate::symbols::Symbols;
use crate::trace_dat::blocks::CpuBlocks;
use crate::trace_dat::input::{Compression, Error, ErrorKind, FilePlace, Input, Source};
use crate::trace_dat::{COMPRESSED, MAGIC, id, salvage};

/// `header_page` and `header_event` have some hundred bytes.
const HEADER_LIMIT: u64 = 64 << 10;
/// The longest format files, those of system calls with many flags, have some ten thousand bytes.
const FORMAT_LIMIT: u64 = 1 << 20;
/// All format files of a kernel with every tracer take some 3 MiB.
const FORMATS_LIMIT: u64 = 32 << 20;
/// An event's id has 16 bits.
const EVENTS_LIMIT: u64 = 1 << 16;
/// Names and one-line texts.
const LINE_LIMIT: u64 = 64 << 10;
/// A distribution's kallsyms has 15 MiB.
const TEXT_LIMIT: u64 = 64 << 20;
/// The kernel's own limit (`NR_CPUS`) is 8192.
const CPUS_LIMIT: u32 = 8192;
/// One per instance; the lists of options are chained.
const LISTS_LIMIT: usize = 1024;

/// What to do about a file that is cut off or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Refuse it.
    Strict,
    /// Find what can be found: of a file whose end is missing, the sections that are there.
    Lenient,
}

/// A trace.dat file.
#[derive(Debug)]
pub struct TraceFile<S> {
    source: S,
    head: Head,
    layout: PageLayout,
    description: Description,
}

/// How the file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u8,
    pub(super) compression: Compression,
    pub(super) user_long_size: u8,
    pub(super) page_size: u32,
    /// Where the first list of options is (version 7), or the first section (version 6).
    pub(super) next: u64,
    /// Where the sections begin.
    pub(super) first_section: u64,
}

/// What the file says besides its records.
#[derive(Debug, Default)]
pub(super) struct Description {
    header_page: String,
    header_event: String,
    layout: Option<PageLayout>,
    formats: Formats,
    texts: BTreeMap<Text, Part>,
    pub(super) buffers: Vec<Buffer>,
    statistics: Vec<String>,
    writer: Option<String>,
    uname: Option<String>,
    trace_clock: Option<String>,
    clock: ClockConversion,
    pub(super) cpu_count: Option<u32>,
    pub(super) notices: Vec<Error>,
}

/// The trace of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// The instance's name; empty for the top one.
    pub name: String,
    /// Its clock: `local`.
    pub clock: String,
    /// Bytes of a sub-buffer, header included.
    pub sub_buffer_size: usize,
    /// Where the sub-buffers of each CPU are.
    pub cpus: Vec<CpuSection>,
    /// The text of its `trace` file instead, as the latency tracers leave it.
    pub text: Option<Part>,
}

/// Where the sub-buffers of one CPU are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuSection {
    /// The CPU's number.
    pub cpu: u32,
    /// In bytes from the file's start.
    pub offset: u64,
    /// In bytes, as they are in the file.
    pub size: u64,
}

/// A text of the traced machine that is read when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Text {
    /// `/proc/kallsyms`.
    Kallsyms,
    /// `printk_formats`.
    PrintkFormats,
    /// `saved_cmdlines`.
    SavedCmdlines,
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    offset: u64,
    size: u64,
    is_compressed: bool,
}

impl Text {
    fn name(self) -> &'static str {
        match self {
            Self::Kallsyms => "kallsyms",
            Self::PrintkFormats => "printk_formats",
            Self::SavedCmdlines => "saved_cmdlines",
        }
    }

    /// Reads how long it is.
    fn size(self, input: &mut Input<'_>) -> Result<u64, Error> {
        match self {
            Self::Kallsyms => input.u32("the size of kallsyms").map(u64::from),
            Self::PrintkFormats => input.u32("the size of printk_formats").map(u64::from),
            Self::SavedCmdlines => input.u64("the size of saved_cmdlines"),
        }
    }

    fn of_section(number: u16) -> Option<Self> {
        match number {
            id::KALLSYMS => Some(Self::Kallsyms),
            id::PRINTK => Some(Self::PrintkFormats),
            id::CMD_LINES => Some(Self::SavedCmdlines),
            _ => None,
        }
    }
}

impl<S: Source> TraceFile<S> {
    /// Reads what the file says about itself.
    ///
    /// # Errors
    /// [`Error`]: it is no trace.dat file, or one of another version, byte order or compression, or it is cut off or
    /// damaged where its parts are described. With [`Opening::Lenient`], only what has to be known to decode a record is
    /// an error; the rest is a notice.
    pub fn open(source: S, opening: Opening) -> Result<Self, Error> {
        let head = Head::read(&source)?;
        let mut description = Description::default();
        let read = match head.version {
            6 => description.read_version_6(&source, head),
            _ => description.read_version_7(&source, head),
        };
        if let Err(error) = read {
            if opening == Opening::Strict {
                return Err(error);
            }
            description.notices.push(error);
            if head.version == 7 {
                salvage::sections(&source, head, &mut description);
            }
        }
        let Some(layout) = description.layout.take() else {
            // Nothing can be decoded without it: the first thing that went wrong says why.
            let none = Error::at(
                head.next,
                ErrorKind::Expected {
                    expected: "a section with header_page",
                    found: "none in the whole file".to_owned(),
                },
            );
            return Err(description.notices.into_iter().next().unwrap_or(none));
        };
        for buffer in &mut description.buffers {
            if buffer.sub_buffer_size == 0 {
                buffer.sub_buffer_size = layout.sub_buffer_size();
            }
        }
        let file = Self {
            source,
            head,
            layout,
            description,
        };
        if opening == Opening::Strict {
            file.check_sections()?;
        }
        Ok(file)
    }

    /// Whether the file has all that its tables say.
    fn check_sections(&self) -> Result<(), Error> {
        for cpu in self.buffers().iter().flat_map(|buffer| &buffer.cpus) {
            let left = self.source.size().saturating_sub(cpu.offset);
            if cpu.size > left {
                let kind = ErrorKind::Short {
                    what: "the trace of a CPU",
                    needed: cpu.size,
                    left,
                };
                return Err(Error::at(cpu.offset, kind));
            }
        }
        Ok(())
    }

    /// Where its bytes are read from.
    #[must_use]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The format's version: 6 or 7.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.head.version
    }

    /// How its parts are compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.head.compression
    }

    /// Bytes of a page of the traced machine.
    #[must_use]
    pub fn page_size(&self) -> u32 {
        self.head.page_size
    }

    /// Bytes of a `long` in the traced machine's user space.
    #[must_use]
    pub fn user_long_size(&self) -> u8 {
        self.head.user_long_size
    }

    /// `events/header_page`.
    #[must_use]
    pub fn header_page(&self) -> &str {
        &self.description.header_page
    }

    /// `events/header_event`.
    #[must_use]
    pub fn header_event(&self) -> &str {
        &self.description.header_event
    }

    /// The `format` files.
    #[must_use]
    pub fn formats(&self) -> &Formats {
        &self.description.formats
    }

    /// The traces in it: that of the top instance first, if there is one.
    #[must_use]
    pub fn buffers(&self) -> &[Buffer] {
        &self.description.buffers
    }

    /// What was written about the buffers' statistics: `CPU: N`, then `per_cpu/cpu<N>/stats`.
    #[must_use]
    pub fn statistics(&self) -> &[String] {
        &self.description.statistics
    }

    /// The program that wrote it, in its own words.
    #[must_use]
    pub fn writer(&self) -> Option<&str> {
        self.description.writer.as_deref()
    }

    /// The traced machine's system, kernel release and architecture.
    #[must_use]
    pub fn uname(&self) -> Option<&str> {
        self.description.uname.as_deref()
    }

    /// `trace_clock`, the clock in use in brackets.
    #[must_use]
    pub fn trace_clock(&self) -> Option<&str> {
        self.description.trace_clock.as_deref()
    }

    /// How ring-buffer times become the times of records.
    #[must_use]
    pub fn clock(&self) -> ClockConversion {
        self.description.clock
    }

    /// What could not be read or is passed over, and does not keep records from being decoded.
    #[must_use]
    pub fn notices(&self) -> &[Error] {
        &self.description.notices
    }

    /// Where a buffer's sub-buffers have what.
    #[must_use]
    pub fn layout(&self, buffer: &Buffer) -> PageLayout {
        self.layout
            .clone()
            .with_sub_buffer_size(buffer.sub_buffer_size)
    }

    /// The records of a buffer.
    pub fn records(&self, buffer: &Buffer) -> Records<'_, Indexer<CpuBlocks<&S>>> {
        let cpus = buffer
            .cpus
            .iter()
            .map(|cpu| (cpu.cpu, self.blocks(&self.source, buffer, cpu)));
        Records::new(
            self.formats(),
            &self.layout(buffer),
            self.clock(),
            cpus.collect::<Vec<_>>(),
        )
    }

    /// The sub-buffers of one CPU, read through a source of its own.
    pub fn blocks<T: Source>(&self, source: T, buffer: &Buffer, cpu: &CpuSection) -> CpuBlocks<T> {
        CpuBlocks::new(
            source,
            self.head.compression,
            buffer.sub_buffer_size,
            cpu.offset,
            cpu.size,
        )
    }

    /// Finds the records of one CPU, through a source of its own.
    pub fn indexer<T: Source>(
        &self,
        source: T,
        buffer: &Buffer,
        cpu: &CpuSection,
    ) -> Indexer<CpuBlocks<T>> {
        let blocks = self.blocks(source, buffer, cpu);
        Indexer::new(cpu.cpu, blocks, &self.layout(buffer), self.clock())
    }

    /// A text of the traced machine; empty if the file has none.
    ///
    /// # Errors
    /// [`Error`]: it cannot be read.
    pub fn text(&self, text: Text) -> Result<Vec<u8>, Error> {
        let Some((mut input, size)) = self.open_text(text)? else {
            return Ok(Vec::new());
        };
        input.bytes(size, text.name(), TEXT_LIMIT)
    }

    /// The symbols of the traced machine; `None` if the file has no kallsyms, or only hidden addresses.
    ///
    /// # Errors
    /// [`Error`]: the table cannot be read.
    pub fn symbols(&self) -> Result<Option<Symbols>, Error> {
        use crate::symbols::Error as SymbolError;

        let Some((input, size)) = self.open_text(Text::Kallsyms)? else {
            return Ok(None);
        };
        let place = input.place();
        match Symbols::read(input.reader(size)) {
            Ok(symbols) => Ok(Some(symbols)),
            Err(SymbolError::Empty | SymbolError::Hidden) => Ok(None),
            Err(error) => Err(Error {
                place,
                kind: ErrorKind::Expected {
                    expected: "the text of kallsyms",
                    found: error.to_string(),
                },
            }),
        }
    }

    /// The names of tasks.
    ///
    /// # Errors
    /// [`Error`]: they cannot be read.
    pub fn saved_cmdlines(&self) -> Result<SavedCmdlines, Error> {
        Ok(SavedCmdlines::parse(&self.text(Text::SavedCmdlines)?))
    }

    /// The constant texts that fields point to.
    ///
    /// # Errors
    /// [`Error`]: they cannot be read.
    pub fn printk_formats(&self) -> Result<PrintkFormats, Error> {
        Ok(PrintkFormats::parse(&self.text(Text::PrintkFormats)?))
    }

    /// The text of a buffer that has no records but the `trace` file of a latency tracer.
    ///
    /// # Errors
    /// [`Error`]: it cannot be read.
    pub fn trace_text(&self, part: Part) -> Result<Vec<u8>, Error> {
        if part.is_compressed {
            return self.chunked_text(part);
        }
        let mut input = Input::plain(&self.source, part.offset, part.size);
        input.bytes(part.size, "the text of a trace", TEXT_LIMIT)
    }

    /// A text in chunks, as the sub-buffers are.
    fn chunked_text(&self, part: Part) -> Result<Vec<u8>, Error> {
        use crate::capture::Blocks;

        let mut blocks = CpuBlocks::new(
            &self.source,
            self.head.compression,
            1,
            part.offset,
            part.size,
        );
        let (mut text, mut block) = (Vec::new(), Vec::new());
        loop {
            match blocks.next_block(&mut block) {
                Ok(true) => text.append(&mut block),
                Ok(false) => return Ok(text),
                Err(error) => {
                    let kind = ErrorKind::Read(error.message);
                    return Err(Error::at(error.offset, kind));
                }
            }
        }
    }

    /// A text from its first byte on, and its size.
    fn open_text(&self, text: Text) -> Result<Option<(Input<'_>, u64)>, Error> {
        let Some(part) = self.description.texts.get(&text) else {
            return Ok(None);
        };
        let mut input = self.head.open(&self.source, *part, text.name())?;
        let size = text.size(&mut input)?;
        Ok(Some((input, size)))
    }
}

impl Head {
    fn read<S: Source>(source: &S) -> Result<Self, Error> {
        let mut input = Input::plain(source, 0, source.size());
        input.expect(MAGIC, "the bytes that a trace.dat file starts with")?;
        let at = input.place();
        let version = match input.text("the version", 16)?.as_str() {
            "6" => 6,
            "7" => 7,
            other => {
                let kind =
                    ErrorKind::Unsupported(format!("version {other:?} of trace.dat (6 and 7 are)"));
                return Err(Error { place: at, kind });
            }
        };
        match input.u8("the byte order")? {
            0 => {}
            1 => {
                let kind = ErrorKind::Unsupported("a big-endian machine's file".to_owned());
                return Err(input.error(kind));
            }
            other => {
                return Err(input.error(ErrorKind::Expected {
                    expected: "0 or 1 for the byte order",
                    found: other.to_string(),
                }));
            }
        }
        let user_long_size = input.u8("the size of a long")?;
        let page_size = input.u32("the page size")?;
        let mut head = Self {
            version,
            compression: Compression::None,
            user_long_size,
            page_size,
            next: 0,
            first_section: 0,
        };
        if version == 7 {
            let at = input.place();
            let name = input.text("the name of the compression", LINE_LIMIT)?;
            head.compression = Compression::named(&name).ok_or(Error {
                place: at,
                kind: ErrorKind::Unsupported(format!(
                    "the compression {name:?} (none, zstd and zlib are)"
                )),
            })?;
            input.text("the version of the compression", LINE_LIMIT)?;
            head.next = input.u64("the place of the options")?;
        }
        head.first_section = input.file_offset();
        if version == 6 {
            head.next = head.first_section;
        }
        Ok(head)
    }

    /// A part from its first byte on.
    fn open<'s, S: Source>(
        self,
        source: &'s S,
        part: Part,
        what: &'static str,
    ) -> Result<Input<'s>, Error> {
        if part.is_compressed {
            Input::compressed(source, part.offset, self.compression, what, TEXT_LIMIT)
        } else {
            Ok(Input::plain(source, part.offset, part.size))
        }
    }

    /// The header of the section at `offset`: its number and its content.
    pub(super) fn section<S: Source>(source: &S, offset: u64) -> Result<(u16, Part), Error> {
        let mut input = Input::plain(source, offset, 16);
        let number = input.u16("a section's header")?;
        let flags = input.u16("a section's header")?;
        input.u32("a section's header")?;
        let size = input.u64("a section's header")?;
        Ok((
            number,
            Part {
                offset: offset.saturating_add(16),
                size,
                is_compressed: flags & COMPRESSED != 0,
            },
        ))
    }
}

impl Part {
    /// Where its content starts.
    pub(super) fn offset(self) -> u64 {
        self.offset
    }

    /// Bytes of it in the file.
    pub(super) fn size(self) -> u64 {
        self.size
    }

    /// Whether it is compressed.
    pub(super) fn is_compressed(self) -> bool {
        self.is_compressed
    }
}

impl Description {
    /// Where sub-buffers have what, once that is known.
    pub(super) fn layout(&self) -> Option<&PageLayout> {
        self.layout.as_ref()
    }

    fn read_version_6<S: Source>(&mut self, source: &S, head: Head) -> Result<(), Error> {
        let size = source.size().saturating_sub(head.next);
        let mut input = Input::plain(source, head.next, size);
        self.read_headers(&mut input)?;
        self.read_ftrace_events(&mut input)?;
        self.read_event_formats(&mut input)?;
        for text in [Text::Kallsyms, Text::PrintkFormats, Text::SavedCmdlines] {
            let offset = input.file_offset();
            let size = text.size(&mut input)?;
            input.skip(size, text.name())?;
            let part = Part {
                offset,
                size: input.file_offset().saturating_sub(offset),
                is_compressed: false,
            };
            self.texts.insert(text, part);
        }
        let mut cpus = input.u32("the number of CPUs")?;
        let mut kind = input.bytes(10, "what follows the description", 10)?;
        let mut instances = Vec::new();
        if kind == b"options  \0" {
            loop {
                let number = input.u16("an option")?;
                if number == id::OPTIONS {
                    break;
                }
                let size = input.u32("the size of an option")?;
                if number == id::BUFFER {
                    let offset = input.u64("the place of an instance's trace")?;
                    let rest = u64::from(size).saturating_sub(8);
                    let name = input.bytes(rest, "the name of an instance", LINE_LIMIT)?;
                    instances.push((offset, until_nul(&name)));
                } else {
                    self.read_option(&mut input, number, size)?;
                }
            }
            kind = input.bytes(10, "what follows the options", 10)?;
        }
        cpus = self.cpu_count.unwrap_or(cpus);
        let clock = self.clock_name();
        let sub_buffer_size = self.layout.as_ref().map_or(0, PageLayout::sub_buffer_size);
        let buffer = |name: String, cpus, text| Buffer {
            name,
            clock: clock.clone(),
            sub_buffer_size,
            cpus,
            text,
        };
        match kind.as_slice() {
            b"flyrecord\0" => {
                let cpus = read_cpu_table(&mut input, cpus)?;
                self.buffers.push(buffer(String::new(), cpus, None));
            }
            b"latency  \0" => {
                let offset = input.file_offset();
                let text = Part {
                    offset,
                    size: source.size().saturating_sub(offset),
                    is_compressed: false,
                };
                self.buffers
                    .push(buffer(String::new(), Vec::new(), Some(text)));
            }
            other => {
                return Err(input.error(ErrorKind::Expected {
                    expected: "\"flyrecord\" or \"latency\"",
                    found: format!("{:?}", String::from_utf8_lossy(other)),
                }));
            }
        }
        for (offset, name) in instances {
            let left = source.size().saturating_sub(offset);
            let mut table = Input::plain(source, offset, left);
            table.expect(b"flyrecord\0", "\"flyrecord\"")?;
            let cpus = read_cpu_table(&mut table, cpus)?;
            self.buffers.push(buffer(name, cpus, None));
        }
        Ok(())
    }

    fn read_version_7<S: Source>(&mut self, source: &S, head: Head) -> Result<(), Error> {
        let mut sections = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut next = head.next;
        // A list ends with the place of the next one.
        while next != 0 {
            if !seen.insert(next) || seen.len() > LISTS_LIMIT {
                return Err(Error::at(
                    next,
                    ErrorKind::Expected {
                        expected: "another list of options",
                        found: "one that was read already, or too many".to_owned(),
                    },
                ));
            }
            let (number, part) = Head::section(source, next)?;
            if number != id::OPTIONS {
                return Err(Error::at(
                    next,
                    ErrorKind::Expected {
                        expected: "a list of options",
                        found: format!("section {number}"),
                    },
                ));
            }
            let mut input = head.open(source, part, "a list of options")?;
            next = self.read_options(&mut input, &mut sections)?;
        }
        for (number, offset) in sections {
            let (found, part) = Head::section(source, offset)?;
            if found != number {
                return Err(Error::at(
                    offset,
                    ErrorKind::Expected {
                        expected: "the section that an option points to",
                        found: format!("section {found} instead of {number}"),
                    },
                ));
            }
            self.read_section(source, head, number, part)?;
        }
        for buffer in &mut self.buffers {
            if let Some(text) = &mut buffer.text {
                *text = Head::section(source, text.offset)?.1;
            }
        }
        Ok(())
    }

    /// Reads one list of options; the offsets of the sections they point to go into `sections`. Returns where the next
    /// list is.
    fn read_options(
        &mut self,
        input: &mut Input<'_>,
        sections: &mut BTreeMap<u16, u64>,
    ) -> Result<u64, Error> {
        loop {
            let number = input.u16("an option")?;
            let size = input.u32("the size of an option")?;
            match number {
                id::OPTIONS => return input.u64("the place of the next options"),
                id::HEADER_INFO
                | id::FTRACE_EVENTS
                | id::EVENT_FORMATS
                | id::KALLSYMS
                | id::PRINTK
                | id::CMD_LINES
                    if size >= 8 =>
                {
                    sections.insert(number, input.u64("the place of a section")?);
                    input.skip(u64::from(size).saturating_sub(8), "an option")?;
                }
                _ => self.read_option(input, number, size)?,
            }
        }
    }

    /// Reads the content of an option. One that is not known is passed over: that is what its size is for.
    fn read_option(&mut self, input: &mut Input<'_>, number: u16, size: u32) -> Result<(), Error> {
        let place = input.place();
        let line = |input: &mut Input<'_>| {
            let bytes = input.bytes(size.into(), "an option's text", TEXT_LIMIT)?;
            Ok(until_nul(&bytes))
        };
        match number {
            id::DATE => {
                let text = line(input)?;
                // Microseconds, as trace-input.c takes it.
                let offset = read_number(&text).map(|value| value.wrapping_mul(1000));
                self.add_offset(place, offset, &text);
            }
            id::OFFSET => {
                let text = line(input)?;
                self.add_offset(place, read_number(&text), &text);
            }
            id::CPU_STAT => {
                let text = line(input)?;
                self.statistics.push(text);
            }
            id::TRACE_CLOCK => self.trace_clock = Some(line(input)?),
            id::UNAME => self.uname = Some(line(input)?),
            id::VERSION => self.writer = Some(line(input)?),
            id::CPU_COUNT if size >= 4 => {
                let count = input.u32("the number of CPUs")?;
                check_cpus(place, count)?;
                self.cpu_count = Some(count);
                input.skip(u64::from(size).saturating_sub(4), "an option")?;
            }
            id::TSC_TO_NS if size >= 16 => {
                self.clock.multiplier = input.u32("the multiplier of the TSC")?;
                self.clock.shift = input.u32("the shift of the TSC")?.min(127);
                // The offset is not used when a trace is shown (timestamp_calc).
                input.skip(u64::from(size).saturating_sub(8), "an option")?;
            }
            id::TIME_SHIFT => {
                let kind = ErrorKind::Unsupported(
                    "a guest's shift to its host's time: times are the guest's own, which"
                        .to_owned(),
                );
                self.notices.push(Error { place, kind });
                input.skip(size.into(), "an option")?;
            }
            id::BUFFER | id::BUFFER_TEXT => self.read_buffer(input, number, size)?,
            _ => input.skip(size.into(), "an option")?,
        }
        Ok(())
    }

    fn add_offset(&mut self, place: FilePlace, offset: Option<u64>, text: &str) {
        match offset {
            Some(offset) => self.clock.offset = self.clock.offset.wrapping_add(offset),
            None => self.notices.push(Error {
                place,
                kind: ErrorKind::Expected {
                    expected: "an offset of time",
                    found: format!("{text:?}"),
                },
            }),
        }
    }

    /// Reads the option that says where an instance's trace is.
    fn read_buffer(&mut self, input: &mut Input<'_>, number: u16, size: u32) -> Result<(), Error> {
        let bytes = input.bytes(size.into(), "a buffer's table", TEXT_LIMIT)?;
        let place = input.place();
        let inside = |error: Error| Error {
            place,
            kind: error.kind,
        };
        let mut table = Input::plain(bytes.as_slice(), 0, size.into());
        let mut read = || {
            let offset = table.u64("the place of a buffer")?;
            let name = table.text("the name of an instance", LINE_LIMIT)?;
            let clock = table.text("the clock of an instance", LINE_LIMIT)?;
            let mut buffer = Buffer {
                name,
                clock,
                sub_buffer_size: 0,
                cpus: Vec::new(),
                text: None,
            };
            if number == id::BUFFER_TEXT {
                // Its section's header tells the rest.
                buffer.text = Some(Part {
                    offset,
                    size: 0,
                    is_compressed: false,
                });
                return Ok(buffer);
            }
            buffer.sub_buffer_size = index(table.u32("the size of a sub-buffer")?);
            let count = table.u32("the number of CPUs")?;
            check_cpus(place, count)?;
            for _ in 0..count {
                buffer.cpus.push(CpuSection {
                    cpu: table.u32("a CPU's number")?,
                    offset: table.u64("the place of a CPU's trace")?,
                    size: table.u64("the size of a CPU's trace")?,
                });
            }
            Ok(buffer)
        };
        let buffer = read().map_err(inside)?;
        // The top instance first.
        if buffer.name.is_empty() {
            self.buffers.insert(0, buffer);
        } else {
            self.buffers.push(buffer);
        }
        Ok(())
    }

    /// Reads a section that describes the trace.
    pub(super) fn read_section<S: Source>(
        &mut self,
        source: &S,
        head: Head,
        number: u16,
        part: Part,
    ) -> Result<(), Error> {
        if let Some(text) = Text::of_section(number) {
            self.texts.insert(text, part);
            return Ok(());
        }
        match number {
            id::HEADER_INFO => self.read_headers(&mut head.open(source, part, "header_page")?),
            id::FTRACE_EVENTS => {
                self.read_ftrace_events(&mut head.open(source, part, "ftrace's format files")?)
            }
            id::EVENT_FORMATS => {
                self.read_event_formats(&mut head.open(source, part, "format files")?)
            }
            _ => Ok(()),
        }
    }

    fn read_headers(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let text = |input: &mut Input<'_>, what| {
            let size = input.u64(what)?;
            let bytes = input.bytes(size, what, HEADER_LIMIT)?;
            Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        input.expect(b"header_page\0", "\"header_page\"")?;
        let header_page = text(input, "header_page")?;
        input.expect(b"header_event\0", "\"header_event\"")?;
        let header_event = text(input, "header_event")?;
        let layout =
            PageLayout::parse(&header_page, &header_event).map_err(|error| input.error(error))?;
        self.layout = Some(layout);
        (self.header_page, self.header_event) = (header_page, header_event);
        Ok(())
    }

    fn read_ftrace_events(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let count = input.u32("the number of ftrace's events")?;
        self.read_events(input, "ftrace", count)
    }

    fn read_event_formats(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let systems = input.u32("the number of systems")?;
        for _ in 0..systems {
            let system = input.text("the name of a system", LINE_LIMIT)?;
            let count = input.u32("the number of a system's events")?;
            self.read_events(input, &system, count)?;
        }
        Ok(())
    }

    /// Reads format files. One that cannot be used is a notice: records of that event will be damage.
    fn read_events(
        &mut self,
        input: &mut Input<'_>,
        system: &str,
        count: u32,
    ) -> Result<(), Error> {
        if u64::from(count) > EVENTS_LIMIT {
            return Err(input.error(ErrorKind::TooLarge {
                what: "a system",
                size: count.into(),
                limit: EVENTS_LIMIT,
            }));
        }
        for _ in 0..count {
            let place = input.place();
            let size = input.u64("the size of a format file")?;
            let text = input.bytes(size, "a format file", FORMAT_LIMIT)?;
            let text = String::from_utf8_lossy(&text);
            let sum = self
                .formats
                .text_bytes()
                .saturating_add(text.len().try_into().unwrap_or(u64::MAX));
            if sum > FORMATS_LIMIT {
                let kind = ErrorKind::TooLarge {
                    what: "the sum of the format files",
                    size: sum,
                    limit: FORMATS_LIMIT,
                };
                return Err(Error { place, kind });
            }
            match self.formats.add(system, &text) {
                // The same event in two systems' lists is one event (trace-cmd writes what it was asked for).
                Ok(_) | Err(FormatError::Duplicate(_)) => {}
                Err(error) => self.notices.push(Error {
                    place,
                    kind: ErrorKind::Expected {
                        expected: "a format file",
                        found: format!("one of system {system} that cannot be used: {error}"),
                    },
                }),
            }
        }
        Ok(())
    }

    /// The clock in brackets; `local` if there is none, which is the kernel's own default.
    fn clock_name(&self) -> String {
        self.trace_clock
            .as_deref()
            .and_then(|text| text.split_once('[')?.1.split_once(']'))
            .map_or("local", |(clock, _)| clock)
            .to_owned()
    }
}

/// The table of CPUs of version 6.
fn read_cpu_table(input: &mut Input<'_>, count: u32) -> Result<Vec<CpuSection>, Error> {
    check_cpus(input.place(), count)?;
    let mut cpus = Vec::new();
    for cpu in 0..count {
        cpus.push(CpuSection {
            cpu,
            offset: input.u64("the place of a CPU's trace")?,
            size: input.u64("the size of a CPU's trace")?,
        });
    }
    Ok(cpus)
}

fn check_cpus(place: FilePlace, count: u32) -> Result<(), Error> {
    if count > CPUS_LIMIT {
        let kind = ErrorKind::TooLarge {
            what: "the number of CPUs",
            size: count.into(),
            limit: CPUS_LIMIT.into(),
        };
        return Err(Error { place, kind });
    }
    Ok(())
}

/// A number as `strtoll(_, _, 0)` reads it, in two's complement.
fn read_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if is_negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// A text up to its first NUL.
fn until_nul(bytes: &[u8]) -> String {
    String::from_utf8_lossy(crate::bytes::until_nul(bytes)).into_owned()
}
