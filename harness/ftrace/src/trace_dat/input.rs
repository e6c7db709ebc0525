// SPDX-License-Identifier: GPL-2.0-only

//! Reads the parts of a trace.dat file: integers, texts and lists, from the file itself or from a compressed section.
//!
//! In: a [`Source`], untrusted. Out: values, or an [`Error`] with the place in the file and what was expected there.
//! Nothing is allocated by a length that the file claims without a limit on it.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use crate::page;

/// Bytes of a file, by their offsets.
pub trait Source {
    /// Bytes there are.
    fn size(&self) -> u64;

    /// Reads some bytes from `offset` on; 0 at the end.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct Error {
    /// Where.
    pub place: FilePlace,
    /// What.
    pub kind: ErrorKind,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePlace {
    /// In bytes from the file's start.
    pub offset: u64,
    /// In bytes from the start of the content of the compressed part that begins there.
    pub inside: Option<u64>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Something else is there.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The file, or the section, ends too early.
    #[error("{what} needs {needed} bytes, but {left} are left")]
    Short {
        /// What does not fit.
        what: &'static str,
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        left: u64,
    },
    /// A length is beyond any that makes sense.
    #[error("{what} has {size} bytes or entries, allowed are {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// What the file claims.
        size: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// A part that cannot be decompressed.
    #[error("{what} cannot be decompressed: {reason}")]
    Decompress {
        /// Which part.
        what: &'static str,
        /// What the decompressor says.
        reason: String,
    },
    /// The file is right, but of a kind that this reader does not know.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The bytes cannot be read.
    #[error("cannot be read: {0}")]
    Read(String),
    /// The layout of sub-buffers cannot be used.
    #[error(transparent)]
    Layout(#[from] page::LayoutError),
}

/// How parts of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// By zstd.
    Zstd,
    /// By zlib.
    Zlib,
}

/// Reads on and on, and knows where it is.
pub(super) struct Input<'s> {
    reader: Box<dyn BufRead + 's>,
    /// Offset in the file of the reader's first byte, or of the compressed part.
    offset: u64,
    /// Bytes read so far.
    position: u64,
    /// Bytes the reader has at most.
    size: u64,
    is_compressed: bool,
}

/// A stretch of a file as a reader.
struct Stretch<'s, S: ?Sized> {
    source: &'s S,
    offset: u64,
    end: u64,
}

impl fmt::Display for FilePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inside {
            None => write!(formatter, "at byte {}", self.offset),
            Some(inside) => write!(
                formatter,
                "at byte {inside} of what is compressed at byte {}",
                self.offset
            ),
        }
    }
}

impl Error {
    /// An error at an offset of the file.
    pub(super) fn at(offset: u64, kind: impl Into<ErrorKind>) -> Self {
        Self {
            place: FilePlace {
                offset,
                inside: None,
            },
            kind: kind.into(),
        }
    }
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len().try_into().unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(into), Some(rest)) = (into.get_mut(..length), rest.get(..length)) {
            into.copy_from_slice(rest);
        }
        Ok(length)
    }
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, into)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, into)
    }
}

impl<S: Source + ?Sized> Source for std::sync::Arc<S> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, into)
    }
}

impl<S: Source + ?Sized> Read for Stretch<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.offset);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let into = into.get_mut(..most).unwrap_or_default();
        let length = self.source.read_at(self.offset, into)?;
        self.offset = self
            .offset
            .saturating_add(length.try_into().unwrap_or(u64::MAX));
        Ok(length)
    }
}

/// Reads exactly the bytes at `offset`.
pub(super) fn fill<S: Source + ?Sized>(
    source: &S,
    offset: u64,
    what: &'static str,
    into: &mut [u8],
) -> Result<(), Error> {
    let needed = into.len();
    let mut done = 0_usize;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(done.try_into().unwrap_or(u64::MAX));
        match source.read_at(at, rest) {
            Ok(0) => {
                let kind = ErrorKind::Short {
                    what,
                    needed: needed.try_into().unwrap_or(u64::MAX),
                    left: done.try_into().unwrap_or(u64::MAX),
                };
                return Err(Error::at(offset, kind));
            }
            Ok(length) => done = done.saturating_add(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::at(at, ErrorKind::Read(error.to_string()))),
        }
    }
    Ok(())
}

impl Compression {
    /// The algorithm of this name, as the file's head has it.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "zstd" => Some(Self::Zstd),
            "zlib" => Some(Self::Zlib),
            _ => None,
        }
    }

    /// Its name in the file's head.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
            Self::Zlib => "zlib",
        }
    }
}

impl<'s> Input<'s> {
    /// Reads a stretch of the file as it is.
    pub(super) fn plain<S: Source + ?Sized>(source: &'s S, offset: u64, size: u64) -> Self {
        let end = offset.saturating_add(size);
        let stretch = Stretch {
            source,
            offset,
            end,
        };
        Self {
            reader: Box::new(BufReader::with_capacity(32 * 1024, stretch)),
            offset,
            position: 0,
            size: end.min(source.size()).saturating_sub(offset),
            is_compressed: false,
        }
    }

    /// Reads a compressed part: its compressed size, its size, its bytes.
    pub(super) fn compressed<S: Source + ?Sized>(
        source: &'s S,
        offset: u64,
        compression: Compression,
        what: &'static str,
        limit: u64,
    ) -> Result<Self, Error> {
        let mut head = Self::plain(source, offset, 8);
        let stored = u64::from(head.u32("the size of a compressed part")?);
        let size = u64::from(head.u32("the size of a part")?);
        if size > limit {
            let kind = ErrorKind::TooLarge { what, size, limit };
            return Err(Error::at(offset, kind));
        }
        let start = offset.saturating_add(8);
        let left = source.size().saturating_sub(start);
        if stored > left {
            let kind = ErrorKind::Short {
                what,
                needed: stored,
                left,
            };
            return Err(Error::at(start, kind));
        }
        let stretch = BufReader::with_capacity(
            32 * 1024,
            Stretch {
                source,
                offset: start,
                end: start.saturating_add(stored),
            },
        );
        let bytes: Box<dyn Read + 's> = match compression {
            Compression::None => Box::new(stretch),
            Compression::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(stretch)),
            Compression::Zstd => {
                Box::new(zstd::Decoder::with_buffer(stretch).map_err(|error| {
                    let reason = error.to_string();
                    Error::at(start, ErrorKind::Decompress { what, reason })
                })?)
            }
        };
        Ok(Self {
            reader: Box::new(BufReader::with_capacity(32 * 1024, bytes.take(size))),
            offset,
            position: 0,
            size,
            is_compressed: true,
        })
    }

    /// Where it is.
    pub(super) fn place(&self) -> FilePlace {
        if self.is_compressed {
            FilePlace {
                offset: self.offset,
                inside: Some(self.position),
            }
        } else {
            FilePlace {
                offset: self.offset.saturating_add(self.position),
                inside: None,
            }
        }
    }

    /// Offset in the file, where nothing is compressed.
    pub(super) fn file_offset(&self) -> u64 {
        self.place().offset
    }

    /// An error at this place.
    pub(super) fn error(&self, kind: impl Into<ErrorKind>) -> Error {
        Error {
            place: self.place(),
            kind: kind.into(),
        }
    }

    fn left(&self) -> u64 {
        self.size.saturating_sub(self.position)
    }

    fn short(&self, what: &'static str, needed: u64) -> Error {
        self.error(ErrorKind::Short {
            what,
            needed,
            left: self.left(),
        })
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn fill(&mut self, into: &mut [u8], what: &'static str) -> Result<(), Error> {
        let needed = into.len().try_into().unwrap_or(u64::MAX);
        if needed > self.left() {
            return Err(self.short(what, needed));
        }
        match self.reader.read_exact(into) {
            Ok(()) => {
                self.position = self.position.saturating_add(needed);
                Ok(())
            }
            Err(error) => Err(self.read_error(what, needed, &error)),
        }
    }

    #[cold]
    fn read_error(&self, what: &'static str, needed: u64, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.short(what, needed),
            _ if self.is_compressed => self.error(ErrorKind::Decompress {
                what,
                reason: error.to_string(),
            }),
            _ => self.error(ErrorKind::Read(error.to_string())),
        }
    }

    /// A byte.
    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    /// Two bytes.
    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// That many bytes, if they are not more than `limit`.
    pub(super) fn bytes(
        &mut self,
        size: u64,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        if size > limit {
            return Err(self.error(ErrorKind::TooLarge { what, size, limit }));
        }
        if size > self.left() {
            return Err(self.short(what, size));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// A text that ends with a NUL, without it.
    pub(super) fn text(&mut self, what: &'static str, limit: u64) -> Result<String, Error> {
        let mut bytes = Vec::new();
        let read = self
            .reader
            .by_ref()
            .take(limit.min(self.size.saturating_sub(self.position)))
            .read_until(0, &mut bytes);
        if let Err(error) = read {
            return Err(self.read_error(what, 1, &error));
        }
        if bytes.pop() != Some(0) {
            return Err(self.error(ErrorKind::Expected {
                expected: "a text that ends with a NUL",
                found: format!("none in {} bytes, for {what}", bytes.len()),
            }));
        }
        let length: u64 = bytes.len().try_into().unwrap_or(u64::MAX);
        self.position = self.position.saturating_add(length).saturating_add(1);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Exactly these bytes.
    pub(super) fn expect(&mut self, wanted: &[u8], expected: &'static str) -> Result<(), Error> {
        let place = self.place();
        let found = self.bytes(
            wanted.len().try_into().unwrap_or(u64::MAX),
            expected,
            u64::MAX,
        )?;
        if found == wanted {
            return Ok(());
        }
        Err(Error {
            place,
            kind: ErrorKind::Expected {
                expected,
                found: format!("{:?}", String::from_utf8_lossy(&found)),
            },
        })
    }

    /// Passes over that many bytes.
    pub(super) fn skip(&mut self, size: u64, what: &'static str) -> Result<(), Error> {
        if size > self.left() {
            return Err(self.short(what, size));
        }
        match io::copy(&mut self.reader.by_ref().take(size), &mut io::sink()) {
            Ok(skipped) if skipped == size => {
                self.position = self.position.saturating_add(size);
                Ok(())
            }
            Ok(_) => Err(self.short(what, size)),
            Err(error) => Err(self.read_error(what, size, &error)),
        }
    }

    /// The next bytes as a reader.
    pub(super) fn reader(self, size: u64) -> impl BufRead + 's {
        self.reader.take(size)
    }
}
