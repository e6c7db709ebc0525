// SPDX-License-Identifier: GPL-2.0-only

//! Parses the `format` files of trace events, and compiles their fields into getters.
//!
//! In: the texts of `events/<system>/<event>/format`. Out: layouts by id and by name; a field's value in a payload.
//! It does not interpret the print format, which is kept as it is.
//! Source: `f_show` in `kernel/trace/trace_events.c`, Linux 7.3. Ids and layouts differ from boot to boot and from
//! kernel to kernel: none stands in this crate.

use std::collections::BTreeMap;

use crate::bytes::{index, u32_at, until_nul};
use crate::record::{self, Shape};

/// Why a `format` file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line that starts like a field is none.
    #[error("line {line} is no field: {text:?}")]
    Field {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A needed line is not there.
    #[error("there is no line {0:?}")]
    NoLine(&'static str),
    /// The id is no number below 65536.
    #[error("{0:?} is no event id")]
    Id(String),
    /// Two events have the same id.
    #[error("event id {id} belongs to {first} and to {second}")]
    DuplicateId {
        /// The id.
        id: u16,
        /// The event that came first, as `system:name`.
        first: String,
        /// The other one.
        second: String,
    },
    /// An event of this name is there already.
    #[error("event {0} is there twice")]
    Duplicate(String),
    /// A field that every event, or this event, must have is not there or is no integer of the right size.
    #[error("event {event} has no integer field {field:?} of a known size")]
    NoField {
        /// The event, as `system:name`.
        event: String,
        /// The field.
        field: &'static str,
    },
    /// The common fields lie elsewhere than in the events before.
    #[error("event {0} has its common fields elsewhere than the events before it")]
    CommonFields(String),
}

/// Why a field has no value in a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The event has no such field.
    #[error("event {event} has no field {field:?}")]
    NoSuchField {
        /// The event, as `system:name`.
        event: String,
        /// The name that was asked for.
        field: String,
    },
    /// The payload ends before the field does, or a dynamic field points outside it.
    #[error("field {field:?} reaches to byte {end} of a payload of {bytes}")]
    Short {
        /// The field.
        field: String,
        /// One past the last byte it needs.
        end: usize,
        /// Bytes the payload has.
        bytes: usize,
    },
    /// An integer was asked for, and the field is an array or has an odd size.
    #[error("field {0:?} is no integer")]
    NotInteger(String),
    /// The value does not fit the type that was asked for.
    #[error("field {0:?} has a value outside of the type asked for")]
    OutOfRange(String),
    /// A text was asked for, and the field is no array of characters.
    #[error("field {0:?} is no text")]
    NotText(String),
    /// The text is no UTF-8.
    #[error("field {0:?} is no UTF-8")]
    NotUtf8(String),
}

/// How many values a field holds, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Array {
    /// One value.
    No,
    /// An array of this many elements, in place; 0 when the declaration has no plain number.
    Fixed(usize),
    /// An array from the field's offset to the payload's end (`args[]`).
    Trailing,
    /// A `__data_loc` word: the array's length in its upper half, its offset in the payload in the lower.
    DataLoc,
    /// A `__rel_loc` word: the same, its offset counted from the word's end.
    RelLoc,
}

/// One field of an event: its description, and the getter made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    type_text: String,
    offset: usize,
    size: usize,
    signed: bool,
    array: Array,
    integer: Option<Integer>,
}

/// A compiled getter for an integer of 1, 2, 4 or 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    /// Small, since the getters of an event are looked at for every record.
    offset: u32,
    /// 1, 2, 4 or 8.
    bytes: u8,
    signed: bool,
}

/// What one `format` file says.
#[derive(Debug, Clone)]
pub struct EventFormat {
    system: String,
    name: String,
    id: u16,
    fields: Vec<Field>,
    print_format: String,
    text: String,
    shape: Shape,
    /// Bytes that a payload must have for the shape's getters.
    needed_bytes: usize,
}

/// Where every event keeps its common fields: two bytes, one, one and four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommonFields {
    id: Integer,
    flags: Integer,
    preempt_count: Integer,
    pid: Integer,
    /// Bytes a payload must have at least.
    end: usize,
    /// Whether they are the first eight bytes in this order, as in `struct trace_entry` (`include/linux/trace_events.h`,
    /// Linux 7.3).
    are_first: bool,
}

/// The common fields of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) id: u16,
    pub(crate) flags: u8,
    pub(crate) preempt_count: u8,
    pub(crate) pid: i32,
}

impl CommonFields {
    /// `None` when the payload is too short.
    #[inline]
    pub(crate) fn read(&self, payload: &[u8]) -> Option<Common> {
        let first = payload.first_chunk().filter(|_| self.are_first);
        let [id_low, id_high, flags, preempt_count, pid @ ..] = match first {
            Some(first) => *first,
            None => self.gathered(payload)?,
        };
        Some(Common {
            id: u16::from_le_bytes([id_low, id_high]),
            flags,
            preempt_count,
            pid: i32::from_le_bytes(pid),
        })
    }

    /// The same eight bytes, from wherever they are.
    #[cold]
    fn gathered(&self, payload: &[u8]) -> Option<[u8; 8]> {
        let [id_low, id_high, ..] = self.id.bits(payload)?.to_le_bytes();
        let [flags, ..] = self.flags.bits(payload)?.to_le_bytes();
        let [preempt_count, ..] = self.preempt_count.bits(payload)?.to_le_bytes();
        let [p0, p1, p2, p3, ..] = self.pid.bits(payload)?.to_le_bytes();
        Some([id_low, id_high, flags, preempt_count, p0, p1, p2, p3])
    }
}

/// A format's place among all: cheaper to find again than by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormatIndex(u16);

/// The formats of all events of one guest.
#[derive(Debug, Clone, Default)]
pub struct Formats {
    events: Vec<EventFormat>,
    /// Index into `events` by id; dense, since a guest has some 2,000 events with small ids.
    by_id: Vec<Option<FormatIndex>>,
    by_name: BTreeMap<String, usize>,
    common: Option<CommonFields>,
    text_bytes: u64,
}

impl Integer {
    /// The value's bits, with zeros above; `None` when the payload ends first.
    #[inline]
    #[must_use]
    pub fn bits(self, payload: &[u8]) -> Option<u64> {
        let field = payload.get(usize::try_from(self.offset).ok()?..)?;
        // One load for all widths, but at the payload's end.
        if let Some(word) = field.first_chunk() {
            let unused = self.unused_bits();
            return Some(
                u64::from_le_bytes(*word)
                    .wrapping_shl(unused)
                    .wrapping_shr(unused),
            );
        }
        Some(match self.bytes {
            1 => u64::from(*field.first()?),
            2 => u64::from(u16::from_le_bytes(*field.first_chunk()?)),
            4 => u64::from(u32::from_le_bytes(*field.first_chunk()?)),
            _ => return None,
        })
    }

    /// The value, its sign extended if the field is signed; `None` when the payload ends first.
    ///
    /// An unsigned 64-bit value above `i64::MAX` comes out negative: its bits are kept.
    #[inline]
    #[must_use]
    pub fn extended(self, payload: &[u8]) -> Option<i64> {
        let value = self.bits(payload)?.cast_signed();
        let unused = self.unused_bits();
        Some(if self.signed {
            value.wrapping_shl(unused).wrapping_shr(unused)
        } else {
            value
        })
    }

    /// One past the last byte it reads.
    pub(crate) fn end(self) -> usize {
        index(self.offset).saturating_add(usize::from(self.bytes))
    }

    /// Bits of a 64-bit word that it leaves unused.
    #[inline]
    fn unused_bits(self) -> u32 {
        64_u32.wrapping_sub(8 * u32::from(self.bytes))
    }
}

impl Field {
    /// Reads `field:TYPE NAME;\toffset:N;\tsize:N;\tsigned:N;`.
    pub(crate) fn parse(line: usize, text: &str) -> Result<Self, Error> {
        Self::read(text.trim()).ok_or_else(|| Error::Field {
            line,
            text: text.trim().to_owned(),
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?.trim();
        let number = |part: Option<&str>, key: &str| part?.strip_prefix(key)?.parse::<usize>().ok();
        let offset = number(parts.next(), "offset:")?;
        let size = number(parts.next(), "size:")?;
        // Kernels before 2.6.33 do not say whether a field is signed; none of them can be a guest.
        let signed = number(parts.next(), "signed:")? != 0;
        let (type_text, name, array) = match read_declaration(declaration)? {
            // Probes and synthetic events leave the count out of the brackets: `u64 how[];` of 24 bytes.
            (type_text, name, Array::Trailing) if size > 0 => (type_text, name, Array::Fixed(0)),
            other => other,
        };
        let bytes = u8::try_from(size).ok();
        let bytes = bytes.filter(|bytes| matches!(bytes, 1 | 2 | 4 | 8) && array == Array::No);
        let integer = bytes.map(|bytes| Integer {
            // Beyond the end of every payload if it is beyond 32 bits.
            offset: offset.try_into().unwrap_or(u32::MAX),
            bytes,
            signed,
        });
        Some(Self {
            name: name.to_owned(),
            type_text,
            offset,
            size,
            signed,
            array,
            integer,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type as the kernel writes it, the name and the count of elements left out: `unsigned long`, `char`.
    #[must_use]
    pub fn type_text(&self) -> &str {
        &self.type_text
    }

    /// Where it starts in the payload.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Its bytes in place; 0 for [`Array::Trailing`], 4 for the dynamic ones.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether its values are signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// Whether it is an array, and which kind.
    #[must_use]
    pub fn array(&self) -> Array {
        self.array
    }

    /// Its compiled getter, if it is one integer.
    #[must_use]
    pub fn integer(&self) -> Option<Integer> {
        self.integer
    }

    /// Its value in `payload`.
    ///
    /// # Errors
    /// [`FieldError::NotInteger`], [`FieldError::Short`], or [`FieldError::OutOfRange`] for a negative value.
    pub fn unsigned(&self, payload: &[u8]) -> Result<u64, FieldError> {
        let value = self.extended(payload)?;
        if self.signed && value < 0 {
            return Err(FieldError::OutOfRange(self.name.clone()));
        }
        Ok(value.cast_unsigned())
    }

    /// Its value in `payload`.
    ///
    /// # Errors
    /// [`FieldError::NotInteger`], [`FieldError::Short`], or [`FieldError::OutOfRange`] for an unsigned value above
    /// `i64::MAX`.
    pub fn signed(&self, payload: &[u8]) -> Result<i64, FieldError> {
        let value = self.extended(payload)?;
        if !self.signed && value < 0 {
            return Err(FieldError::OutOfRange(self.name.clone()));
        }
        Ok(value)
    }

    /// Its bytes in `payload`; those it points to if it is dynamic.
    ///
    /// # Errors
    /// [`FieldError::Short`].
    pub fn bytes<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], FieldError> {
        let (start, length) = match self.array {
            Array::No | Array::Fixed(_) => (self.offset, self.size),
            Array::Trailing => (self.offset, payload.len().saturating_sub(self.offset)),
            Array::DataLoc | Array::RelLoc => {
                let word =
                    u32_at(payload, self.offset).ok_or_else(|| self.short(payload, self.size))?;
                let base = match self.array {
                    Array::RelLoc => self.offset.saturating_add(self.size),
                    _ => 0,
                };
                (base.saturating_add(index(word & 0xffff)), index(word >> 16))
            }
        };
        let end = start.saturating_add(length);
        payload.get(start..end).ok_or_else(|| FieldError::Short {
            field: self.name.clone(),
            end,
            bytes: payload.len(),
        })
    }

    /// Its text in `payload`, up to the first NUL.
    ///
    /// # Errors
    /// [`FieldError::NotText`] for anything but an array of `char`, [`FieldError::Short`], [`FieldError::NotUtf8`].
    pub fn text<'a>(&self, payload: &'a [u8]) -> Result<&'a str, FieldError> {
        if self.array == Array::No || !self.type_text.split_whitespace().any(|word| word == "char")
        {
            return Err(FieldError::NotText(self.name.clone()));
        }
        std::str::from_utf8(until_nul(self.bytes(payload)?))
            .map_err(|_| FieldError::NotUtf8(self.name.clone()))
    }

    fn extended(&self, payload: &[u8]) -> Result<i64, FieldError> {
        let integer = self
            .integer
            .ok_or_else(|| FieldError::NotInteger(self.name.clone()))?;
        integer
            .extended(payload)
            .ok_or_else(|| self.short(payload, self.size))
    }

    fn short(&self, payload: &[u8], size: usize) -> FieldError {
        FieldError::Short {
            field: self.name.clone(),
            end: self.offset.saturating_add(size),
            bytes: payload.len(),
        }
    }
}

/// Splits a declaration into type, name and kind of array.
///
/// `unsigned long args[]`, `char comm[16]`, `__data_loc char[] name`, `const void * work`, `u8 mac[ETH_ALEN]`.
fn read_declaration(declaration: &str) -> Option<(String, &str, Array)> {
    let dynamic = [
        ("__data_loc ", Array::DataLoc),
        ("__rel_loc ", Array::RelLoc),
    ];
    if let Some((rest, array)) = dynamic
        .iter()
        .find_map(|(prefix, array)| Some((declaration.strip_prefix(prefix)?, *array)))
    {
        let (type_text, name) = rest.trim().rsplit_once(char::is_whitespace)?;
        return Some((
            type_text.trim().trim_end_matches("[]").to_owned(),
            name,
            array,
        ));
    }
    let (scalar, array) = match declaration
        .strip_suffix(']')
        .and_then(|rest| rest.rsplit_once('['))
    {
        Some((scalar, "")) => (scalar, Array::Trailing),
        Some((scalar, count)) => (scalar, Array::Fixed(count.trim().parse().unwrap_or(0))),
        None => (declaration, Array::No),
    };
    let (type_text, name) = scalar.trim().rsplit_once(char::is_whitespace)?;
    let bare = name.trim_start_matches('*');
    let stars = name.strip_suffix(bare).unwrap_or_default();
    let type_text = if stars.is_empty() {
        type_text.trim().to_owned()
    } else {
        format!("{type_text} {stars}")
    };
    (!bare.is_empty()).then_some((type_text, bare, array))
}

impl EventFormat {
    /// Reads a `format` file; `system` is the folder it comes from.
    ///
    /// # Errors
    /// [`Error`] when a line of it cannot be read, or when an event whose records this crate types lacks a field.
    pub fn parse(system: &str, text: &str) -> Result<Self, Error> {
        let value = |key: &'static str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .map(str::trim)
                .ok_or(Error::NoLine(key))
        };
        let name = value("name:")?;
        let id = value("ID:")?;
        let id = id.parse().map_err(|_| Error::Id(id.to_owned()))?;
        let (head, print_format) = text
            .split_once("\nprint fmt:")
            .ok_or(Error::NoLine("print fmt:"))?;
        let fields = head
            .lines()
            .enumerate()
            .filter(|(_, line)| line.trim_start().starts_with("field:"))
            .map(|(number, line)| Field::parse(number.saturating_add(1), line))
            .collect::<Result<Vec<_>, _>>()?;
        let mut format = Self {
            system: system.to_owned(),
            name: name.to_owned(),
            id,
            fields,
            print_format: print_format.trim().to_owned(),
            text: text.to_owned(),
            shape: Shape::Other,
            needed_bytes: 0,
        };
        format.shape = Shape::of(&format)?;
        format.needed_bytes = format.shape.end();
        if let Ok(common) = format.common() {
            format.needed_bytes = format.needed_bytes.max(common.end);
        }
        Ok(format)
    }

    /// The system it belongs to: `workqueue`.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// Its name within the system: `workqueue_execute_start`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id in this boot.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Its fields, the common ones first.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// What stands behind `print fmt:`, as it is.
    #[must_use]
    pub fn print_format(&self) -> &str {
        &self.print_format
    }

    /// The whole file, as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// `system:name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}:{}", self.system, self.name)
    }

    /// The getter of a field that must be there.
    pub(crate) fn needed(&self, field: &'static str) -> Result<Integer, Error> {
        self.field(field)
            .and_then(Field::integer)
            .ok_or_else(|| Error::NoField {
                event: self.full_name(),
                field,
            })
    }

    fn common(&self) -> Result<CommonFields, Error> {
        let common = |field: &'static str, bytes| {
            let integer = self.needed(field)?;
            let missing = || Error::NoField {
                event: self.full_name(),
                field,
            };
            (integer.bytes == bytes)
                .then_some(integer)
                .ok_or_else(missing)
        };
        let (id, flags) = (common("common_type", 2)?, common("common_flags", 1)?);
        let (preempt_count, pid) = (common("common_preempt_count", 1)?, common("common_pid", 4)?);
        let all = [id, flags, preempt_count, pid];
        Ok(CommonFields {
            id,
            flags,
            preempt_count,
            pid,
            end: all.map(Integer::end).into_iter().max().unwrap_or(0),
            are_first: all.map(|integer| integer.offset) == [0, 2, 3, 4],
        })
    }
}

impl Formats {
    /// No formats yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the `format` file of one event; `system` is the folder it comes from.
    ///
    /// # Errors
    /// [`Error`] when the text cannot be used, or contradicts one that is there.
    pub fn add(&mut self, system: &str, text: &str) -> Result<&EventFormat, Error> {
        let event = EventFormat::parse(system, text)?;
        let common = event.common()?;
        if self.common.is_some_and(|earlier| earlier != common) {
            return Err(Error::CommonFields(event.full_name()));
        }
        if let Some(earlier) = self.by_id(event.id) {
            let (first, second) = (earlier.full_name(), event.full_name());
            return Err(Error::DuplicateId {
                id: event.id,
                first,
                second,
            });
        }
        let full_name = event.full_name();
        if self.by_name.contains_key(&full_name) {
            return Err(Error::Duplicate(full_name));
        }
        let place = usize::from(event.id);
        if self.by_id.len() <= place {
            self.by_id.resize(place.saturating_add(1), None);
        }
        if let Some(slot) = self.by_id.get_mut(place) {
            // As many events as there are ids at most: the place fits.
            *slot = self.events.len().try_into().ok().map(FormatIndex);
        }
        self.by_name.insert(full_name, self.events.len());
        self.text_bytes = self
            .text_bytes
            .saturating_add(text.len().try_into().unwrap_or(u64::MAX));
        self.common = Some(common);
        Ok(self.events.push_mut(event))
    }

    /// The event with this id.
    #[inline]
    #[must_use]
    pub fn by_id(&self, id: u16) -> Option<&EventFormat> {
        self.at((*self.by_id.get(usize::from(id))?)?)
    }

    /// The event of this name in this system.
    #[must_use]
    pub fn by_name(&self, system: &str, name: &str) -> Option<&EventFormat> {
        self.events
            .get(*self.by_name.get(&format!("{system}:{name}"))?)
    }

    /// Bytes of all format files.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// All events, in the order they were added.
    #[must_use]
    pub fn events(&self) -> &[EventFormat] {
        &self.events
    }

    pub(crate) fn common(&self) -> Option<&CommonFields> {
        self.common.as_ref()
    }

    /// The format at a place.
    #[inline]
    pub(crate) fn at(&self, place: FormatIndex) -> Option<&EventFormat> {
        self.events.get(usize::from(place.0))
    }

    /// The format of a record, if its payload has all that the format's getters read.
    #[inline]
    pub(crate) fn of_payload(&self, payload: &[u8]) -> Option<FormatIndex> {
        let common = self.common.as_ref()?.read(payload)?;
        let place = (*self.by_id.get(usize::from(common.id))?)?;
        (self.at(place)?.needed_bytes <= payload.len()).then_some(place)
    }

    /// Why a payload is of no format.
    #[cold]
    pub(crate) fn why_not(&self, payload: &[u8]) -> record::Error {
        let bytes = payload.len();
        let no_common_fields = record::Error::NoCommonFields {
            bytes,
            needed: self.common.as_ref().map_or(0, |common| common.end),
        };
        let common = self.common.as_ref();
        let Some(Common { id, .. }) = common.and_then(|common| common.read(payload)) else {
            return no_common_fields;
        };
        match self.by_id(id) {
            None => record::Error::UnknownEvent(id),
            Some(format) => record::Error::Short {
                bytes,
                event: format.full_name(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
                          \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
                          \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
                          \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n";

    fn text(name: &str, id: &str, fields: &str) -> String {
        format!("name: {name}\nID: {id}\nformat:\n{COMMON}\n{fields}\nprint fmt: \"%d\", REC->x\n")
    }

    #[track_caller]
    fn field(line: &str) -> Field {
        Field::parse(1, line).expect("the line is a field")
    }

    #[test]
    fn declarations_are_split_into_type_name_and_array() {
        let cases = [
            ("unsigned long func", "unsigned long", "func", Array::No),
            ("void * work", "void *", "work", Array::No),
            ("const char *name", "const char *", "name", Array::No),
            ("char comm[16]", "char", "comm", Array::Fixed(16)),
            ("u8 mac[ETH_ALEN]", "u8", "mac", Array::Fixed(0)),
            (
                "unsigned long args[]",
                "unsigned long",
                "args",
                Array::Trailing,
            ),
            ("__data_loc char[] name", "char", "name", Array::DataLoc),
            ("__rel_loc char[] name", "char", "name", Array::RelLoc),
            (
                "enum xen_lazy_mode mode",
                "enum xen_lazy_mode",
                "mode",
                Array::No,
            ),
        ];
        for (declaration, type_text, name, array) in cases {
            let size = if array == Array::Trailing { 0 } else { 4 };
            let field = field(&format!(
                "\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:0;"
            ));
            assert_eq!(
                (field.type_text(), field.name(), field.array()),
                (type_text, name, array),
                "{declaration}"
            );
        }
    }

    #[test]
    fn an_array_with_a_size_ends_where_that_says_though_it_has_no_count() {
        let field = field("\tfield:u64 how[];\toffset:8;\tsize:8;\tsigned:0;");
        assert_eq!(field.array(), Array::Fixed(0));
        let payload: Vec<u8> = (0..24).collect();
        assert_eq!(field.bytes(&payload), Ok(&payload[8..16]));
    }

    #[test]
    fn a_line_that_is_no_field_is_named() {
        for line in [
            "field:int x;\toffset:8;\tsize:4;",
            "field:int x;\toffset:-8;\tsize:4;\tsigned:1;",
            "field:int;\toffset:8;\tsize:4;\tsigned:1;",
            "field:int *;\toffset:8;\tsize:4;\tsigned:1;",
            "field:;\toffset:8;\tsize:4;\tsigned:1;",
        ] {
            let error =
                EventFormat::parse("s", &text("x", "7", line)).expect_err("the line is wrong");
            assert_eq!(
                error,
                Error::Field {
                    line: 9,
                    text: line.to_owned()
                }
            );
        }
    }

    #[test]
    fn a_format_file_is_kept_as_it_is() {
        let text = text(
            "x",
            "777",
            "\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n",
        );
        let event = EventFormat::parse("s", &text).expect("the text is sound");
        assert_eq!((event.system(), event.name(), event.id()), ("s", "x", 777));
        assert_eq!(event.print_format(), "\"%d\", REC->x");
        assert_eq!(event.text(), text);
        assert_eq!(event.fields().len(), 5);
        assert_eq!(event.field("x").map(Field::offset), Some(8));
    }

    #[test]
    fn a_missing_line_is_named() {
        for (line, key) in [
            ("name: x", "name:"),
            ("ID: 7", "ID:"),
            ("print fmt:", "print fmt:"),
        ] {
            let broken = text("x", "7", "").replace(line, "");
            assert_eq!(
                EventFormat::parse("s", &broken).expect_err("it is cut"),
                Error::NoLine(key)
            );
        }
        for id in ["x", "-1", "65536"] {
            let error = EventFormat::parse("s", &text("x", id, "")).expect_err("it is no id");
            assert_eq!(error, Error::Id(id.to_owned()));
        }
    }

    #[test]
    fn integers_of_all_widths_are_read() {
        let payload = [0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80];
        let cases = [
            (0, 1, 0, Ok(0xff), Ok(0xff)),
            (0, 1, 1, Err(()), Ok(-1)),
            (0, 2, 0, Ok(0xfeff), Ok(0xfeff)),
            (1, 2, 1, Err(()), Ok(-2)),
            (0, 4, 0, Ok(0xffff_feff), Ok(0xffff_feff)),
            (0, 4, 1, Err(()), Ok(-0x101)),
            (1, 8, 0, Ok(0x80ff_ffff_ffff_fffe), Err(())),
            (
                1,
                8,
                1,
                Err(()),
                Ok(0x80ff_ffff_ffff_fffe_u64.cast_signed()),
            ),
        ];
        for (offset, size, signed, unsigned, value) in cases {
            let field = field(&format!(
                "field:int x;\toffset:{offset};\tsize:{size};\tsigned:{signed};"
            ));
            let out_of_range = FieldError::OutOfRange("x".to_owned());
            assert_eq!(
                field.unsigned(&payload),
                unsigned.map_err(|()| out_of_range.clone())
            );
            assert_eq!(field.signed(&payload), value.map_err(|()| out_of_range));
        }
    }

    #[test]
    fn a_payload_that_ends_early_is_an_error() {
        let field = field("field:u64 x;\toffset:8;\tsize:8;\tsigned:0;");
        let short = |bytes| FieldError::Short {
            field: "x".to_owned(),
            end: 16,
            bytes,
        };
        for bytes in [0, 8, 15] {
            assert_eq!(field.unsigned(&vec![0; bytes]), Err(short(bytes)));
            assert_eq!(field.bytes(&vec![0; bytes]), Err(short(bytes)));
        }
        assert_eq!(field.unsigned(&[0; 16]), Ok(0));
    }

    #[test]
    fn texts_end_at_their_nul() {
        let mut payload = b"........".to_vec();
        payload.extend(0x0004_000c_u32.to_le_bytes());
        payload.extend(b"ab\0c");
        let cases = [
            ("__data_loc char[] x", 8, 4, "ab"),
            ("char x[4]", 12, 4, "ab"),
            ("char x[2]", 12, 2, "ab"),
            ("char x[]", 12, 0, "ab"),
            ("char x[]", 16, 0, ""),
        ];
        for (declaration, offset, size, expected) in cases {
            let field = field(&format!(
                "field:{declaration};\toffset:{offset};\tsize:{size};\tsigned:0;"
            ));
            assert_eq!(field.text(&payload), Ok(expected), "{declaration}");
        }
        let field = field("field:__rel_loc char[] x;\toffset:8;\tsize:4;\tsigned:0;");
        payload[8] = 0;
        assert_eq!(field.text(&payload), Ok("ab"));
        payload[8] = 1;
        assert_eq!(
            field.text(&payload),
            Err(FieldError::Short {
                field: "x".to_owned(),
                end: 17,
                bytes: 16
            })
        );
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        let payload = [0xff; 16];
        let name = || "x".to_owned();
        let cases = [
            ("char x", 8, 1, FieldError::NotText(name())),
            ("unsigned long x[]", 8, 0, FieldError::NotText(name())),
            ("char x[4]", 8, 4, FieldError::NotUtf8(name())),
            (
                "__data_loc char[] x",
                8,
                4,
                FieldError::Short {
                    field: name(),
                    end: 0x1_fffe,
                    bytes: 16,
                },
            ),
            (
                "__data_loc char[] x",
                13,
                4,
                FieldError::Short {
                    field: name(),
                    end: 17,
                    bytes: 16,
                },
            ),
        ];
        for (declaration, offset, size, expected) in cases {
            let field = field(&format!(
                "field:{declaration};\toffset:{offset};\tsize:{size};\tsigned:0;"
            ));
            assert_eq!(field.text(&payload), Err(expected), "{declaration}");
        }
        for declaration in ["char x[4]", "__data_loc char[] x"] {
            let field = field(&format!(
                "field:{declaration};\toffset:8;\tsize:4;\tsigned:0;"
            ));
            assert_eq!(
                field.unsigned(&payload),
                Err(FieldError::NotInteger(name()))
            );
        }
        let field = field("field:struct odd x;\toffset:8;\tsize:3;\tsigned:0;");
        assert_eq!(field.signed(&payload), Err(FieldError::NotInteger(name())));
        assert_eq!(field.bytes(&payload).map(<[u8]>::len), Ok(3));
    }

    #[test]
    fn formats_are_found_by_id_and_by_name() {
        let mut formats = Formats::new();
        formats
            .add("s", &text("x", "700", ""))
            .expect("the text is sound");
        formats
            .add("t", &text("x", "5", ""))
            .expect("the text is sound");
        assert_eq!(formats.by_id(700).map(EventFormat::system), Some("s"));
        assert_eq!(formats.by_name("t", "x").map(EventFormat::id), Some(5));
        assert!(formats.by_id(6).is_none() && formats.by_id(u16::MAX).is_none());
        assert!(formats.by_name("s", "y").is_none());
        assert_eq!(formats.events().len(), 2);
    }

    #[test]
    fn common_fields_are_read_wherever_they_are() {
        let read = |text: &str, payload: &[u8]| {
            let mut formats = Formats::new();
            formats.add("s", text).expect("the text is sound");
            formats.common().and_then(|common| common.read(payload))
        };
        let usual = text("x", "7", "");
        let moved = usual.replace("offset:4;", "offset:12;");
        let payload = [7, 1, 2, 3, 4, 0, 0, 0, 9, 9, 9, 9, 5, 0, 0, 0x80];
        let found = |pid| Common {
            id: 0x107,
            flags: 2,
            preempt_count: 3,
            pid,
        };
        assert_eq!(read(&usual, &payload), Some(found(4)));
        assert_eq!(read(&moved, &payload), Some(found(i32::MIN + 5)));
        assert_eq!(read(&usual, &payload[..7]), None);
        assert_eq!(read(&moved, &payload[..15]), None);
    }

    #[test]
    fn formats_that_contradict_each_other_are_an_error() {
        let mut formats = Formats::new();
        formats
            .add("s", &text("x", "7", ""))
            .expect("the text is sound");
        let duplicate_id = Error::DuplicateId {
            id: 7,
            first: "s:x".to_owned(),
            second: "s:y".to_owned(),
        };
        assert_eq!(
            formats
                .add("s", &text("y", "7", ""))
                .expect_err("the id is taken"),
            duplicate_id
        );
        assert_eq!(
            formats
                .add("s", &text("x", "8", ""))
                .expect_err("it is there"),
            Error::Duplicate("s:x".to_owned())
        );
        let moved = text("z", "9", "").replace("offset:4", "offset:8");
        assert_eq!(
            formats.add("s", &moved).expect_err("pid is elsewhere"),
            Error::CommonFields("s:z".to_owned())
        );
        let without = text("z", "9", "").replace("common_pid", "pid");
        let error = Error::NoField {
            event: "s:z".to_owned(),
            field: "common_pid",
        };
        assert_eq!(
            formats.add("s", &without).expect_err("pid is missing"),
            error
        );
    }

    #[test]
    fn a_typed_event_needs_its_fields() {
        for (name, field) in [
            ("funcgraph_entry", "func"),
            ("fgraph_retaddr_entry", "func"),
            ("funcgraph_exit", "func"),
            ("function", "ip"),
            ("print", "buf"),
        ] {
            let error = EventFormat::parse("ftrace", &text(name, "7", ""))
                .expect_err("it has no such field");
            assert_eq!(
                error,
                Error::NoField {
                    event: format!("ftrace:{name}"),
                    field
                }
            );
            assert!(EventFormat::parse("elsewhere", &text(name, "7", "")).is_ok());
        }
    }
}
