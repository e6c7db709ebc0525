// SPDX-License-Identifier: GPL-2.0-only

//! Gives the fields of a record as values, as text and as JSON, whatever the event is.
//!
//! In: the format files, compiled once; records. Out: a [`Value`] per field, in the order of the format file, the
//! common fields left out.
//!
//! | In the format file | Value | Text | JSON |
//! | --- | --- | --- | --- |
//! | integer, `enum`, `bool` | number | `-5` | number; a string of decimal digits beyond 2^53 |
//! | pointer | number | `0xffff888001c0` | the same, as a string |
//! | address of code (see below) | number | `vfs_read+0x1d` | the same, as a string |
//! | function of function_graph and `function` | number | `vfs_read` | the same, as a string |
//! | array of `char`, in place or dynamic | text up to its first NUL | as it is, control characters as `\n` or `\x1b` | string |
//! | `cpumask_t`, `__get_bitmask()` | bits | `0-3,5` | array of the numbers of the bits set |
//! | any other array of integers | numbers | `[1, 2]` | array |
//! | `caller` of `kernel_stack` and `user_stack` | addresses | a line `=> symbol` each | array of strings |
//! | anything else | bytes | `0a1b` | the same, as a string |
//! | one that reaches outside of its record | missing | `<outside of the record>` | null |
//!
//! A pointer to a constant text of the kernel, of which `printk_formats` has the address, is that text: RCU's names, and the
//! format of a `trace_printk()` (`bprint`), into which its arguments are not put: they stay numbers in `buf`.
//!
//! What is no UTF-8 in a text is replaced (U+FFFD), in text and JSON.
//! No digit is lost in JSON: many readers keep numbers as doubles, exact up to 2^53 (9,007,199,254,740,992), so an
//! integer beyond that is a string. Addresses are strings always.
//!
//! An address of code is a pointer or an `unsigned long` (or what a probe names so) whose name says that it is one, such
//! as `ip`, `func`, `function`, `caller`, `call_site`, or any integer that the event's print format shows as `%pS` or
//! `%ps`; it is resolved if there are symbols, and else written as a pointer. Nothing else of print formats is used: enums
//! and flags stay numbers.
//!
//! Source: `kernel/trace/trace_events.c` and `include/trace/stages/`, Linux 7.3; `trace_stack_print` and
//! `trace_user_stack_print` in `kernel/trace/trace_output.c`.

use deferinit_ftrace::format::{Array, EventFormat, Field, Formats, Integer};
use deferinit_ftrace::record::{Event, FieldAccess, Record};

use crate::names::Names;
use crate::numbers;

/// What a frame of ftrace's own trampoline is recorded as: `FTRACE_TRAMPOLINE_MARKER` in `kernel/trace/trace.h`.
const TRAMPOLINE: u64 = 0x7fff_ffff;

/// Names that say that a pointer, an `unsigned long`, or a number of a probe is an address of code.
const CODE_NAMES: [&str; 24] = [
    "__probe_func",
    "__probe_ip",
    "__probe_ret_ip",
    "call_site",
    "callback",
    "caller",
    "caller_ip",
    "callsite",
    "fn",
    "func",
    "function",
    "handler",
    "initcall",
    "ip",
    "lr",
    "parent_ip",
    "pc",
    "ret_ip",
    "retaddr",
    "rip",
    "site",
    "thread_fn",
    "work_func",
    "worker_fn",
];

/// The fields of all events, compiled for reading.
#[derive(Debug, Clone)]
pub struct Fields {
    /// By event id.
    by_id: Vec<Option<Columns>>,
    /// As [`TypedField::ALL`].
    typed: [(Label, TypedField); TypedField::ALL.len()],
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer of a signed type.
    Signed(i64),
    /// An integer of an unsigned type.
    Unsigned(u64),
    /// A pointer.
    Pointer(u64),
    /// An address of code.
    Code(u64),
    /// An address of code that stands for its function: where ftrace's own call in it is.
    Function(u64),
    /// A text, up to its first NUL.
    Text(&'a [u8]),
    /// An array of integers.
    Integers(Integers<'a>),
    /// A mask, as it lies in memory: bit 0 is the lowest of the first byte.
    Bits(&'a [u8]),
    /// A stack of addresses of code, the innermost first.
    Frames(Integers<'a>),
    /// What is nothing of these.
    Bytes(&'a [u8]),
    /// The record ends before the field does, or its dynamic part lies outside of the record.
    Missing,
}

/// Integers side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers<'a> {
    bytes: &'a [u8],
    width: Width,
    signed: bool,
}

/// Bytes of an integer in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    One,
    Two,
    Four,
    Eight,
}

#[derive(Debug, Clone)]
struct Columns {
    columns: Vec<Column>,
    stack: bool,
}

#[derive(Debug, Clone)]
struct Column {
    field: Field,
    label: Label,
    read: Read,
}

/// A field's name, with what stands around it: made once, since it is written with each record.
#[derive(Debug, Clone)]
struct Label {
    /// ` NAME=`
    text: String,
    /// `"NAME":`, escaped.
    json: Vec<u8>,
}

impl Label {
    fn new(name: &str) -> Self {
        let mut json = Vec::new();
        numbers::push_json_text(&mut json, name.as_bytes());
        json.push(b':');
        Self {
            text: format!(" {name}="),
            json,
        }
    }

    fn name(&self) -> &str {
        self.text
            .strip_prefix(' ')
            .and_then(|name| name.strip_suffix('='))
            .unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
enum Read {
    Signed(Integer),
    Unsigned(Integer),
    Pointer(Integer),
    Code(Integer),
    Text,
    Integers(Width),
    Bits,
    /// With the getter for how many there are, if the event has it.
    Frames(Width, Option<Integer>),
    Bytes,
}

/// A field of the events whose records are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypedField {
    Function,
    Depth,
    ReturnValue,
    Overrun,
    CallTime,
    ReturnTime,
    Ip,
    ParentIp,
    Text,
}

/// System and name of a record's event: `("ftrace", "funcgraph_entry")`.
///
/// Typed records do not say which of two events they are made of: `fgraph_retaddr_entry` is `funcgraph_entry` here.
#[must_use]
pub fn event_name<'a>(record: &Record<'a>) -> (&'a str, &'a str) {
    match record.event {
        Event::FuncgraphEntry { .. } => ("ftrace", "funcgraph_entry"),
        Event::FuncgraphExit { .. } => ("ftrace", "funcgraph_exit"),
        Event::Function { .. } => ("ftrace", "function"),
        Event::Print { .. } => ("ftrace", "print"),
        Event::Other(access) => (access.system(), access.name()),
    }
}

impl Fields {
    /// Compiles the fields of all events.
    #[must_use]
    pub fn new(formats: &Formats) -> Self {
        let mut by_id = Vec::new();
        for event in formats.events() {
            let place = usize::from(event.id());
            if by_id.len() <= place {
                by_id.resize(place.saturating_add(1), None);
            }
            if let Some(slot) = by_id.get_mut(place) {
                *slot = Some(Columns::new(event));
            }
        }
        Self {
            by_id,
            typed: TypedField::ALL.map(|(name, field)| (Label::new(name), field)),
        }
    }

    /// Gives each field of a record, in the order of its format file.
    ///
    /// A typed record has those fields that its type keeps.
    pub fn each<'a>(&self, record: &Record<'a>, mut found: impl FnMut(&str, Value<'a>)) {
        self.labelled(record, |label, value| found(label.name(), value));
    }

    #[inline]
    fn labelled<'a>(&self, record: &Record<'a>, mut found: impl FnMut(&Label, Value<'a>)) {
        let places = match record.event {
            Event::Other(access) => {
                for column in self.columns(access) {
                    found(&column.label, column.value(access.payload()));
                }
                return;
            }
            // Those that the type has.
            Event::FuncgraphEntry { .. } => 0..2,
            Event::FuncgraphExit { .. } => 0..6,
            Event::Function { .. } => 6..8,
            Event::Print { .. } => 8..10,
        };
        for (label, field) in self.typed.get(places).unwrap_or_default() {
            if let Some(value) = field.value(record) {
                found(label, value);
            }
        }
    }

    /// The value of one field; `None` if the event has no such field.
    #[must_use]
    pub fn value<'a>(&self, record: &Record<'a>, name: &str) -> Option<Value<'a>> {
        match record.event {
            Event::Other(access) => {
                let place = self.place(access.format().id(), name)?;
                self.at(access, place)
            }
            _ => TypedField::named(name)?.value(record),
        }
    }

    /// Writes `EVENT: FIELD=VALUE FIELD=VALUE`, without a newline at the end; stacks as lines of their own below it.
    pub fn text(&self, record: &Record<'_>, names: &mut Names<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(event_name(record).1.as_bytes());
        out.push(b':');
        self.labelled(record, |label, value| {
            if let Value::Frames(frames) = value {
                push_frames(out, frames, names);
            } else {
                out.extend_from_slice(label.text.as_bytes());
                value.push_text(names, out);
            }
        });
    }

    /// Writes the fields as one JSON object, without a newline at the end.
    pub fn push_json(&self, record: &Record<'_>, names: &mut Names<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        self.labelled(record, |label, value| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(&label.json);
            value.push_json(names, out);
        });
        out.push(b'}');
    }

    /// The fields as a JSON object.
    #[must_use]
    pub fn json(
        &self,
        record: &Record<'_>,
        names: &mut Names<'_>,
    ) -> serde_json::Map<String, serde_json::Value> {
        let mut object = serde_json::Map::new();
        self.each(record, |name, value| {
            object.insert(name.to_owned(), value.json(names));
        });
        object
    }

    /// Where an event keeps a field, for [`Self::at`].
    pub(crate) fn place(&self, event: u16, name: &str) -> Option<usize> {
        let columns = self.by_id.get(usize::from(event))?.as_ref()?;
        columns
            .columns
            .iter()
            .position(|column| column.field.name() == name)
    }

    /// The value of the field at a place that [`Self::place`] gave for the record's event.
    pub(crate) fn at<'a>(&self, access: FieldAccess<'a>, place: usize) -> Option<Value<'a>> {
        Some(self.columns(access).get(place)?.value(access.payload()))
    }

    /// Whether values at this place are texts; `None` where there is no field.
    pub(crate) fn kind(&self, event: u16, place: usize) -> Option<Kind> {
        let columns = self.by_id.get(usize::from(event))?.as_ref()?;
        Some(match columns.columns.get(place)?.read {
            Read::Signed(_) | Read::Unsigned(_) | Read::Pointer(_) | Read::Code(_) => Kind::Number,
            Read::Text => Kind::Text,
            Read::Bits => Kind::Bits,
            Read::Integers(_) | Read::Frames(..) | Read::Bytes => Kind::Other,
        })
    }

    /// Whether the record is a stack, which belongs to the record before it on its CPU.
    #[must_use]
    pub fn is_stack(&self, record: &Record<'_>) -> bool {
        let Event::Other(access) = record.event else {
            return false;
        };
        let columns = self.by_id.get(usize::from(access.format().id()));
        columns
            .and_then(Option::as_ref)
            .is_some_and(|columns| columns.stack)
    }

    fn columns(&self, access: FieldAccess<'_>) -> &[Column] {
        self.by_id
            .get(usize::from(access.format().id()))
            .and_then(Option::as_ref)
            .map_or(&[], |columns| &columns.columns)
    }
}

/// What a field can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
    Bits,
    Other,
}

impl TypedField {
    /// In the order of the format files; names are those of `kernel/trace/trace_entries.h`.
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("func", Self::Function),
        ("depth", Self::Depth),
        ("retval", Self::ReturnValue),
        ("overrun", Self::Overrun),
        ("calltime", Self::CallTime),
        ("rettime", Self::ReturnTime),
        ("ip", Self::Ip),
        ("parent_ip", Self::ParentIp),
        // Again: those of a type stand beside each other.
        ("ip", Self::Ip),
        ("buf", Self::Text),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find_map(|(known, field)| (*known == name).then_some(*field))
    }

    pub(crate) fn value<'a>(self, record: &Record<'a>) -> Option<Value<'a>> {
        Some(match (record.event, self) {
            (Event::FuncgraphEntry { function, .. }, Self::Function)
            | (Event::FuncgraphExit { function, .. }, Self::Function) => Value::Function(function),
            (Event::FuncgraphEntry { depth, .. }, Self::Depth)
            | (Event::FuncgraphExit { depth, .. }, Self::Depth) => Value::Unsigned(depth),
            (Event::FuncgraphExit { retval, .. }, Self::ReturnValue) => return_value(retval?),
            (Event::FuncgraphExit { overrun, .. }, Self::Overrun) => Value::Unsigned(overrun),
            (Event::FuncgraphExit { calltime, .. }, Self::CallTime) => Value::Unsigned(calltime),
            (Event::FuncgraphExit { rettime, .. }, Self::ReturnTime) => Value::Unsigned(rettime),
            (Event::Function { ip, .. }, Self::Ip) => Value::Function(ip),
            (Event::Function { parent_ip, .. }, Self::ParentIp) => Value::Code(parent_ip),
            (Event::Print { ip, .. }, Self::Ip) => Value::Function(ip),
            (Event::Print { text, .. }, Self::Text) => Value::Text(text.as_bytes()),
            _ => return None,
        })
    }
}

/// A return value is a register, whatever the function returns: an error (-4095 to -1, `MAX_ERRNO` in
/// `include/linux/err.h`) and what fits a positive `int` are taken for numbers, all else for a pointer.
pub(crate) fn return_value(register: i64) -> Value<'static> {
    if (-4095..=i64::from(i32::MAX)).contains(&register) {
        Value::Signed(register)
    } else {
        Value::Pointer(register.cast_unsigned())
    }
}

impl Columns {
    fn new(event: &EventFormat) -> Self {
        let stack =
            event.system() == "ftrace" && matches!(event.name(), "kernel_stack" | "user_stack");
        let columns = event
            .fields()
            .iter()
            .filter(|field| !field.name().starts_with("common_"))
            .map(|field| Column {
                read: Read::new(event, field, stack),
                label: Label::new(field.name()),
                field: field.clone(),
            })
            .collect();
        Self { columns, stack }
    }
}

impl Read {
    fn new(event: &EventFormat, field: &Field, stack: bool) -> Self {
        let base = field.type_text();
        if let Some(integer) = field.integer() {
            let wide = matches!(field.size(), 4 | 8);
            let printed = Printed::of(event, field.name());
            let code = CODE_NAMES.contains(&field.name());
            return match base {
                _ if printed == Printed::Code && wide => Self::Code(integer),
                _ if base.contains('*') && code => Self::Code(integer),
                _ if base.contains('*') => Self::Pointer(integer),
                "unsigned long" | "u64" | "initcall_t" if wide && code => Self::Code(integer),
                _ if field.is_signed() => Self::Signed(integer),
                _ => Self::Unsigned(integer),
            };
        }
        if field.array() == Array::No {
            return Self::Bytes;
        }
        if base.split_whitespace().any(|word| word == "char") && !base.contains("unsigned") {
            return Self::Text;
        }
        let printed_as = |function: &str| {
            event
                .print_format()
                .contains(&format!("{function}({})", field.name()))
        };
        if base.contains("cpumask")
            || [
                "__get_bitmask",
                "__get_rel_bitmask",
                "__get_cpumask",
                "__get_rel_cpumask",
            ]
            .into_iter()
            .any(printed_as)
        {
            return Self::Bits;
        }
        let width = match field.array() {
            Array::Fixed(count) if count > 0 => Width::of(field.size().checked_div(count)),
            _ => None,
        };
        let Some(width) = width.or_else(|| Width::of_type(base, event)) else {
            return Self::Bytes;
        };
        if stack && field.name() == "caller" {
            return Self::Frames(width, event.field("size").and_then(Field::integer));
        }
        Self::Integers(width)
    }
}

/// How the print format shows an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Printed {
    /// By its symbol: `%pS`, `%ps`.
    Code,
    /// In any other way.
    Otherwise,
}

impl Printed {
    /// Looks at the conversion that belongs to the argument `REC->NAME`, a cast before it or not. Of what is more than
    /// that, such as a call or a condition, it says nothing: the print format is a program in C.
    fn of(event: &EventFormat, name: &str) -> Self {
        let Some((format, arguments)) = event
            .print_format()
            .strip_prefix('"')
            .and_then(|text| text.split_once("\", "))
        else {
            return Self::Otherwise;
        };
        let conversions = format
            .replace("%%", "")
            .split('%')
            .skip(1)
            .map(|conversion| conversion.starts_with("ps") || conversion.starts_with("pS"))
            .collect::<Vec<_>>();
        let mut depth = 0_i32;
        let arguments: Vec<&str> = arguments
            .split(|letter: char| {
                match letter {
                    '(' | '{' | '[' => depth = depth.saturating_add(1),
                    ')' | '}' | ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                letter == ',' && depth == 0
            })
            .map(|argument| argument.trim().trim_start_matches("(void *)"))
            .collect();
        let is_code = conversions.len() == arguments.len()
            && conversions
                .iter()
                .zip(&arguments)
                .any(|(code, argument)| *code && argument.strip_prefix("REC->") == Some(name));
        if is_code { Self::Code } else { Self::Otherwise }
    }
}

impl Width {
    fn of(bytes: Option<usize>) -> Option<Self> {
        Some(match bytes? {
            1 => Self::One,
            2 => Self::Two,
            4 => Self::Four,
            8 => Self::Eight,
            _ => return None,
        })
    }

    /// By the type's name, for the arrays that do not say how many elements they have.
    fn of_type(base: &str, event: &EventFormat) -> Option<Self> {
        Some(match base.trim_start_matches("const ") {
            "u8" | "s8" | "__u8" | "__s8" | "x8" | "unsigned char" | "bool" => Self::One,
            "u16" | "s16" | "__u16" | "__s16" | "x16" | "short" | "unsigned short" | "__le16"
            | "__be16" => Self::Two,
            "u32" | "s32" | "__u32" | "__s32" | "x32" | "int" | "unsigned int" | "unsigned"
            | "pid_t" | "gfp_t" | "__le32" | "__be32" => Self::Four,
            "u64" | "s64" | "__u64" | "__s64" | "x64" | "long long" | "unsigned long long"
            | "dma_addr_t" | "__le64" | "__be64" => Self::Eight,
            "long" | "unsigned long" | "size_t" => Self::long(event),
            pointer if pointer.contains('*') => Self::long(event),
            _ => return None,
        })
    }

    /// A `long` of this kernel, by another field that is one or a pointer; 64 bits if there is none: 32-bit guests are
    /// rare, and their `kernel_stack` says how long its elements are.
    fn long(event: &EventFormat) -> Self {
        event
            .fields()
            .iter()
            .filter(|field| field.array() == Array::No)
            .find(|field| {
                matches!(field.type_text(), "long" | "unsigned long" | "size_t")
                    || field.type_text().contains('*')
            })
            .and_then(|field| Self::of(Some(field.size())))
            .unwrap_or(Self::Eight)
    }

    fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

impl Column {
    fn value<'a>(&self, payload: &'a [u8]) -> Value<'a> {
        self.found(payload).unwrap_or(Value::Missing)
    }

    #[inline]
    fn found<'a>(&self, payload: &'a [u8]) -> Option<Value<'a>> {
        let signed = self.field.is_signed();
        Some(match self.read {
            Read::Signed(integer) => Value::Signed(integer.extended(payload)?),
            Read::Unsigned(integer) => Value::Unsigned(integer.bits(payload)?),
            Read::Pointer(integer) => Value::Pointer(integer.bits(payload)?),
            Read::Code(integer) => Value::Code(integer.bits(payload)?),
            Read::Text => Value::Text(
                self.bytes(payload)?
                    .split(|byte| *byte == 0)
                    .next()
                    .unwrap_or_default(),
            ),
            Read::Bits => Value::Bits(self.bytes(payload)?),
            Read::Bytes => Value::Bytes(self.bytes(payload)?),
            Read::Integers(width) => Value::Integers(Integers {
                bytes: self.bytes(payload)?,
                width,
                signed,
            }),
            Read::Frames(width, count) => {
                // The format file says 8 frames; the record has as many as its `size` says, to its end.
                let frames = payload.get(self.field.offset()..)?;
                let count = match count {
                    Some(count) => usize::try_from(count.extended(payload)?).ok()?,
                    None => usize::MAX,
                };
                let bytes = count.saturating_mul(width.bytes());
                Value::Frames(Integers {
                    bytes: frames.get(..bytes).unwrap_or(frames),
                    width,
                    signed: false,
                })
            }
        })
    }

    fn bytes<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        // An array of a probe or of a synthetic event has no count, but a size: `u64 how[]; size:24`.
        if self.field.array() == Array::Trailing && self.field.size() > 0 {
            let rest = payload.get(self.field.offset()..)?;
            return rest.get(..self.field.size());
        }
        self.field.bytes(payload).ok()
    }
}

impl<'a> Integers<'a> {
    /// The integers' bits, zeros above.
    pub fn bits(self) -> impl Iterator<Item = u64> + use<'a> {
        self.bytes.chunks_exact(self.width.bytes()).map(|chunk| {
            let mut bits = [0; 8];
            for (bit, byte) in bits.iter_mut().zip(chunk) {
                *bit = *byte;
            }
            u64::from_le_bytes(bits)
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    fn values(self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let unused = match self.width {
            Width::One => 56,
            Width::Two => 48,
            Width::Four => 32,
            Width::Eight => 0,
        };
        self.bits().map(move |bits| match self.signed {
            true => Value::Signed(bits.cast_signed().wrapping_shl(unused).wrapping_shr(unused)),
            false => Value::Unsigned(bits),
        })
    }

    /// The frames of a stack: it ends at an address of all ones, or of 0 in user space's.
    fn frames(self) -> impl Iterator<Item = u64> + use<'a> {
        let end = match self.width {
            Width::Eight => u64::MAX,
            _ => u64::from(u32::MAX),
        };
        self.bits()
            .take_while(move |address| *address != 0 && *address != end)
    }
}

impl Value<'_> {
    /// Writes it as text; a stack as its frames between brackets.
    pub fn push_text(self, names: &mut Names<'_>, out: &mut Vec<u8>) {
        match self {
            Value::Signed(value) => numbers::push_signed(out, value),
            Value::Unsigned(value) => numbers::push_decimal(out, value),
            Value::Pointer(value) => match names.constant(value) {
                Some(text) => numbers::push_plain(out, text.as_bytes()),
                None => numbers::push_hex(out, value),
            },
            Value::Code(address) => out.extend_from_slice(names.place(address).as_bytes()),
            Value::Function(address) => out.extend_from_slice(names.function(address).as_bytes()),
            Value::Text(text) => numbers::push_plain(out, text),
            Value::Integers(values) => push_list(out, values.values(), |out, value| {
                value.push_text(names, out);
            }),
            Value::Frames(values) => push_list(out, values.frames(), |out, address| {
                out.extend_from_slice(names.place(address).as_bytes());
            }),
            Value::Bits(bits) => push_ranges(out, bits),
            Value::Bytes(bytes) => push_bytes(out, bytes),
            Value::Missing => out.extend_from_slice(b"<outside of the record>"),
        }
    }

    /// Writes it as JSON.
    pub fn push_json(self, names: &mut Names<'_>, out: &mut Vec<u8>) {
        match self {
            Value::Signed(value) => numbers::push_json_signed(out, value),
            Value::Unsigned(value) => numbers::push_json_unsigned(out, value),
            Value::Code(address) => numbers::push_json_text(out, names.place(address).as_bytes()),
            Value::Function(address) => {
                numbers::push_json_text(out, names.function(address).as_bytes());
            }
            Value::Text(text) => numbers::push_json_text(out, text),
            Value::Pointer(value) => match names.constant(value) {
                Some(text) => numbers::push_json_text(out, text.as_bytes()),
                None => push_quoted(self, names, out),
            },
            Value::Bytes(_) => push_quoted(self, names, out),
            Value::Integers(values) => push_array(out, values.values(), |out, value| {
                value.push_json(names, out);
            }),
            Value::Frames(values) => push_array(out, values.frames(), |out, address| {
                numbers::push_json_text(out, names.place(address).as_bytes());
            }),
            Value::Bits(bits) => push_array(out, set_bits(bits), |out, bit| {
                numbers::push_json_unsigned(out, bit);
            }),
            Value::Missing => out.extend_from_slice(b"null"),
        }
    }

    /// It as JSON.
    #[must_use]
    pub fn json(self, names: &mut Names<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        self.push_json(names, &mut out);
        serde_json::from_slice(&out).unwrap_or(serde_json::Value::Null)
    }

    /// It as a number of any sign, if it is one.
    #[must_use]
    pub fn number(self) -> Option<i128> {
        match self {
            Value::Signed(value) => Some(i128::from(value)),
            Value::Unsigned(value)
            | Value::Pointer(value)
            | Value::Code(value)
            | Value::Function(value) => Some(i128::from(value)),
            _ => None,
        }
    }
}

/// Writes what has no character that JSON would escape.
fn push_quoted(value: Value<'_>, names: &mut Names<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    value.push_text(names, out);
    out.push(b'"');
}

/// The frames of a stack as the kernel's own traces have them: a line ` => symbol` for each.
fn push_frames(out: &mut Vec<u8>, frames: Integers<'_>, names: &mut Names<'_>) {
    for address in frames.frames() {
        out.extend_from_slice(b"\n => ");
        if address == TRAMPOLINE {
            out.extend_from_slice(b"[FTRACE TRAMPOLINE]");
        } else {
            out.extend_from_slice(names.place(address).as_bytes());
        }
    }
}

fn push_list<T>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = T>,
    push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    push_between(out, values, b", ", push);
    out.push(b']');
}

fn push_array<T>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = T>,
    push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    push_between(out, values, b",", push);
    out.push(b']');
}

fn push_between<T>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = T>,
    between: &[u8],
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    for (place, value) in values.enumerate() {
        if place > 0 {
            out.extend_from_slice(between);
        }
        push(out, value);
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            out.extend(DIGITS.get(usize::from(digit)));
        }
    }
}

/// The numbers of the bits that are set.
pub(crate) fn set_bits(bytes: &[u8]) -> impl Iterator<Item = u64> {
    (0_u64..).step_by(8).zip(bytes).flat_map(|(first, byte)| {
        (0..8_u64)
            .filter(move |bit| byte & 1_u8.wrapping_shl(u32::try_from(*bit).unwrap_or(0)) != 0)
            .map(move |bit| first.saturating_add(bit))
    })
}

/// The bits that are set as the kernel's lists have them: `0-3,5`.
fn push_ranges(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut range: Option<(u64, u64)> = None;
    let mut first = true;
    let mut push = |out: &mut Vec<u8>, (from, to): (u64, u64)| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        numbers::push_decimal(out, from);
        if to > from {
            out.push(b'-');
            numbers::push_decimal(out, to);
        }
    };
    for bit in set_bits(bytes) {
        range = match range {
            Some((from, to)) if to.saturating_add(1) == bit => Some((from, bit)),
            Some(done) => {
                push(out, done);
                Some((bit, bit))
            }
            None => Some((bit, bit)),
        };
    }
    if let Some(last) = range {
        push(out, last);
    }
}

#[cfg(test)]
mod tests {
    use deferinit_ftrace::page::RawRecord;
    use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
    use deferinit_ftrace::symbols::Symbols;

    use super::*;

    const COMMON: &str = "name: made\nID: 9\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

    /// What a record of an event with these fields, this print format and these bytes behind the common fields is shown
    /// as.
    fn shown(fields: &str, print_format: &str, data: &[u8]) -> (String, String) {
        let symbols = Symbols::parse("ffffffff81000000 T work\nffffffff81000040 T next\n")
            .expect("a table of symbols");
        let tasks = SavedCmdlines::default();
        let mut formats = Formats::new();
        formats
            .add(
                "test",
                &format!("{COMMON}{fields}\nprint fmt: {print_format}\n"),
            )
            .expect("a format file");
        let mut payload = vec![9, 0, 0, 0, 7, 0, 0, 0];
        payload.extend_from_slice(data);
        let raw = RawRecord {
            timestamp_ns: 1,
            offset: 0,
            payload: &payload,
        };
        let record = Record::decode(&formats, 0, raw).expect("the payload is whole");
        let fields = Fields::new(&formats);
        let mut names = Names::new(&symbols, &tasks);
        let (mut text, mut json) = (Vec::new(), Vec::new());
        fields.text(&record, &mut names, &mut text);
        fields.push_json(&record, &mut names, &mut json);
        let parsed: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
        assert_eq!(
            parsed,
            serde_json::Value::Object(fields.json(&record, &mut names))
        );
        (
            String::from_utf8(text).expect("it is UTF-8"),
            String::from_utf8(json).expect("it is UTF-8"),
        )
    }

    /// One field, its type as the kernel writes it.
    #[track_caller]
    fn check(
        declaration: &str,
        (size, signed): (usize, u8),
        data: &[u8],
        (text, json): (&str, &str),
    ) {
        let field = format!("\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:{signed};\n");
        let (found, found_json) = shown(&field, "\"%d\", REC->x", data);
        let name = declaration
            .rsplit([' ', '*'])
            .next()
            .and_then(|name| name.split('[').next())
            .unwrap_or_default();
        assert_eq!(found, format!("made: {name}={text}"));
        assert_eq!(found_json, format!("{{\"{name}\":{json}}}"));
    }

    #[test]
    fn integers_have_their_sign_and_all_digits() {
        check("int x", (4, 1), &[0xff; 4], ("-1", "-1"));
        check(
            "unsigned int x",
            (4, 0),
            &[0xff; 4],
            ("4294967295", "4294967295"),
        );
        check("s8 x", (1, 1), &[0x80], ("-128", "-128"));
        check(
            "u64 x",
            (8, 0),
            &[0xff; 8],
            ("18446744073709551615", "\"18446744073709551615\""),
        );
        check(
            "u64 x",
            (8, 0),
            &(1_u64 << 53).to_le_bytes(),
            ("9007199254740992", "9007199254740992"),
        );
        check(
            "s64 x",
            (8, 1),
            &i64::MIN.to_le_bytes(),
            ("-9223372036854775808", "\"-9223372036854775808\""),
        );
    }

    #[test]
    fn addresses_are_resolved_where_they_are_of_code() {
        let work = 0xffff_ffff_8100_0000_u64.to_le_bytes();
        check("void * function", (8, 0), &work, ("work", "\"work\""));
        check(
            "unsigned long call_site",
            (8, 0),
            &0xffff_ffff_8100_0042_u64.to_le_bytes(),
            ("next+0x2", "\"next+0x2\""),
        );
        check(
            "unsigned long ip",
            (8, 0),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            ("0x1", "\"0x1\""),
        );
        check(
            "void * work",
            (8, 0),
            &work,
            ("0xffffffff81000000", "\"0xffffffff81000000\""),
        );
        check(
            "unsigned long state",
            (8, 0),
            &[2, 0, 0, 0, 0, 0, 0, 0],
            ("2", "2"),
        );
    }

    #[test]
    fn what_is_printed_as_a_symbol_is_code() {
        let field = "\tfield:u64 where;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:u64 other;\toffset:16;\tsize:8;\tsigned:0;\n";
        let data = [0xffff_ffff_8100_0000_u64.to_le_bytes(), 5_u64.to_le_bytes()].concat();
        for (format, expected) in [
            ("\"%d %pS\", REC->other, (void *)REC->where", "work"),
            ("\"%d%% %ps\", f(REC->other, 1), REC->where", "work"),
            ("\"%pS %d\", REC->other, REC->where", "18446744071578845184"),
            ("\"%pS\"", "18446744071578845184"),
        ] {
            let (text, _) = shown(field, format, &data);
            assert!(
                text.starts_with(&format!("made: where={expected} other=")),
                "{format}: {text}"
            );
        }
    }

    #[test]
    fn texts_end_at_their_nul_and_replace_what_is_no_utf8_in_json() {
        check("char comm[8]", (8, 0), b"ab\0cdefg", ("ab", "\"ab\""));
        check("char comm[]", (4, 0), b"abcdefgh", ("abcd", "\"abcd\""));
        check(
            "__data_loc char[] name",
            (4, 0),
            b"\x0c\0\x03\0xy\0",
            ("xy", "\"xy\""),
        );
        check(
            "__rel_loc char[] name",
            (4, 0),
            b"\0\0\x03\0x\"\0",
            ("x\"", "\"x\\\"\""),
        );
        check(
            "char comm[2]",
            (2, 0),
            b"\xffa",
            ("\u{fffd}a", "\"\u{fffd}a\""),
        );
        check(
            "char comm[4]",
            (4, 0),
            b"\x1b\n\\\x07",
            ("\\x1b\\n\\\\x07", r#""\u001b\n\\\u0007""#),
        );
    }

    #[test]
    fn arrays_have_their_elements() {
        check(
            "u8 mac[3]",
            (3, 0),
            &[1, 2, 255],
            ("[1, 2, 255]", "[1,2,255]"),
        );
        check(
            "int x[2]",
            (8, 1),
            &[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0],
            ("[-1, 1]", "[-1,1]"),
        );
        check(
            "__data_loc u16[] x",
            (4, 0),
            &[12, 0, 4, 0, 1, 0, 2, 0],
            ("[1, 2]", "[1,2]"),
        );
        check(
            "u64 how[]",
            (8, 0),
            &[1, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9],
            ("[1]", "[1]"),
        );
        check(
            "unsigned long args[]",
            (0, 0),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            ("[1]", "[1]"),
        );
        check(
            "struct odd x[2]",
            (6, 0),
            &[1, 2, 3, 4, 5, 0xfe],
            ("0102030405fe", "\"0102030405fe\""),
        );
        check("struct odd x", (3, 0), &[1, 2, 3], ("010203", "\"010203\""));
    }

    #[test]
    fn masks_are_lists_of_what_is_set() {
        let mask = [12, 0, 8, 0, 0b1010_1111, 0, 0, 0, 1, 0, 0, 0];
        check(
            "__data_loc cpumask_t cpumask",
            (4, 0),
            &mask,
            ("0-3,5,7,32", "[0,1,2,3,5,7,32]"),
        );
        check(
            "__data_loc cpumask_t cpumask",
            (4, 0),
            &[12, 0, 1, 0, 0],
            ("", "[]"),
        );
        let field = "\tfield:__data_loc unsigned long[] bits;\toffset:8;\tsize:4;\tsigned:0;\n";
        let data = [12, 0, 8, 0, 6, 0, 0, 0, 0, 0, 0, 0];
        let (text, _) = shown(field, "\"%s\", __get_bitmask(bits)", &data);
        assert_eq!(text, "made: bits=1-2");
        let (text, _) = shown(
            field,
            "\"%s\", __print_array(__get_dynamic_array(bits), 1, 8)",
            &data,
        );
        assert_eq!(text, "made: bits=[6]");
    }

    #[test]
    fn what_lies_outside_of_the_record_is_missing() {
        for (declaration, size, data) in [
            ("u64 x", 8, &[1, 2][..]),
            ("__data_loc char[] x", 4, &[12, 0, 9, 0]),
            ("__data_loc char[] x", 4, &[0xff, 0xff, 0xff, 0xff]),
            ("__data_loc cpumask_t x", 4, &[1]),
            ("u64 x[]", 16, &[0; 8]),
        ] {
            check(
                declaration,
                (size, 0),
                data,
                ("<outside of the record>", "null"),
            );
        }
    }
}
