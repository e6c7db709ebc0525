// SPDX-License-Identifier: GPL-2.0-only

//! A filter over records, in the language of the kernel's own event filters.
//!
//! In: an expression, the formats of a trace; records. Out: whether a record passes. An expression is made for one trace:
//! a field that no event of it has is an error, not a filter that matches nothing.
//!
//! ```text
//! prev_comm ~ "kworker*" && (prev_prio < 100 || next_pid == 0x1f) && !(prev_state & 2)
//! ```
//!
//! | Operator | For |
//! | --- | --- |
//! | `==` `!=` | numbers, texts, CPUs |
//! | `<` `<=` `>` `>=` | numbers |
//! | `&` | numbers: a bit is set in both; CPUs: a CPU is in both |
//! | `~` | texts: `*`, `?`, `[a-z]`, `[!a-z]` as in [`crate::glob`] |
//! | `!` `&&` `||` `( )` | conditions; `&&` binds tighter than `||` |
//!
//! Numbers are decimal, hexadecimal behind `0x`, or octal behind `0`, as the kernel reads them, and may have a `-`.
//! Texts stand in `"` or `'`; one word without blanks and operators may do without. `CPUS{0-3,5}` is a set of CPUs, for
//! masks and for numbers that are CPUs. `FIELD.function` compares an address of code by the function it lies in:
//! `call_site.function == vmstat_update`, with `==`, `!=` and `~`.
//!
//! A name is that of the event's own field if it has one, else one of these:
//!
//! | Name | Is |
//! | --- | --- |
//! | `cpu`, `CPU` | the CPU the record was made on |
//! | `pid`, `common_pid` | the task it was made in; 0 is the idle task of each CPU |
//! | `comm`, `COMM` | that task's saved name: `<idle>` for pid 0, `<...>` for one that was not saved |
//! | `event`, `system` | the event's name, its system's |
//! | `ts` | the record's time, in units of the trace's clock: nanoseconds mostly |
//! | `common_flags`, `common_preempt_count` | as in the format file |
//! | `func` | function, funcgraph: the function, by name or by number |
//! | `depth` | funcgraph: how many traced functions are around it |
//! | `duration_ns` | funcgraph exits: the kernel's own duration, `rettime - calltime` |
//! | `retval` | funcgraph exits: what was returned, where the kernel records that; negative from -4095 on, as errors are, else unsigned |
//!
//! So `pid` of `sched_wakeup` is the task that is woken, and `common_pid` the one that wakes it. A comparison with a
//! field that the record's event lacks, or that holds another type in it, is false (and its `!` is true).
//! `.ustring` is unsupported: a trace holds no memory of user space.
//!
//! An expression has at most [`MOST_TERMS`] comparisons and [`DEEPEST`] parentheses and `!` around one.
//!
//! Source: `Documentation/trace/events.rst`, section 5, and `kernel/trace/trace_events_filter.c`, Linux 7.3.

use std::collections::BTreeSet;
use std::fmt;

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::record::{Event, Record};

use crate::fields::{self, Fields, Kind, TypedField, Value};
use crate::glob;
use crate::names::Names;

/// At most this many comparisons in an expression.
pub const MOST_TERMS: usize = 256;

/// At most this many parentheses and negations around a comparison.
pub const DEEPEST: usize = 64;

/// A wrong name at most so different from a right one gets it as a suggestion (Jaro-Winkler similarity).
const SIMILAR: f64 = 0.7;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct Error {
    /// The place in the expression, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at one place of an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else has to stand there.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What may stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A quote is not closed.
    #[error("the text that starts here has no closing {0}")]
    OpenQuote(char),
    /// A number does not fit 64 bits, or has a wrong digit.
    #[error("{0:?} is no number of 64 bits")]
    Number(String),
    /// Not a list of CPUs.
    #[error("{0:?} is no list of CPUs: expected one like CPUS{{0-3,5}}")]
    Cpus(String),
    /// No event of the trace has the field.
    #[error("no event of the trace has a field {name:?}{}", suggestion(.nearest.as_deref()))]
    UnknownField {
        /// The name.
        name: String,
        /// The nearest one that there is.
        nearest: Option<String>,
    },
    /// The field holds something else in all events that have it.
    #[error("field {field:?} holds {holds}: expected {expected}")]
    Type {
        /// The field.
        field: String,
        /// What it holds.
        holds: &'static str,
        /// What it can be compared with, and how.
        expected: &'static str,
    },
    /// `.something` behind a field.
    #[error("unsupported: {0:?} behind a field; allowed is \".function\"")]
    Suffix(String),
    /// Functions cannot be named.
    #[error("the trace has no symbols to find functions by")]
    NoSymbols,
    /// Too many comparisons.
    #[error("more than {MOST_TERMS} comparisons")]
    TooLong,
    /// Too many parentheses or negations.
    #[error("more than {DEEPEST} parentheses and negations around one comparison")]
    TooDeep,
}

fn suggestion(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; the nearest is {name:?}"))
}

/// A filter, made for one trace.
#[derive(Debug, Clone)]
pub struct Filter {
    root: Node,
    text: String,
}

#[derive(Debug, Clone)]
enum Node {
    Test(Box<Test>),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

#[derive(Debug, Clone)]
struct Test {
    column: usize,
    field: String,
    by_function: bool,
    operator: Operator,
    literal: Literal,
    operand: Operand,
}

/// A name of a field, and where each event of a trace keeps it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operand {
    /// By event id: one more than the place, or 0 where the event has no such field.
    places: Vec<u16>,
    typed: Option<TypedField>,
    pseudo: Option<Pseudo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Bits,
    Glob,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Literal {
    Number(i128),
    Text(String),
    Cpus(Vec<(u64, u64)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pseudo {
    Cpu,
    Pid,
    Comm,
    Event,
    System,
    Time,
    Flags,
    PreemptCount,
    Function,
    Duration,
    /// Fields of funcgraph that are there under their own names.
    Typed(TypedField),
}

impl Pseudo {
    const ALL: [(&'static str, Self); 15] = [
        ("cpu", Self::Cpu),
        ("CPU", Self::Cpu),
        ("pid", Self::Pid),
        ("common_pid", Self::Pid),
        ("comm", Self::Comm),
        ("COMM", Self::Comm),
        ("event", Self::Event),
        ("system", Self::System),
        ("ts", Self::Time),
        ("common_flags", Self::Flags),
        ("common_preempt_count", Self::PreemptCount),
        ("func", Self::Function),
        ("duration_ns", Self::Duration),
        ("depth", Self::Typed(TypedField::Depth)),
        ("retval", Self::Typed(TypedField::ReturnValue)),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find_map(|(known, pseudo)| (*known == name).then_some(*pseudo))
    }

    fn value<'v, 'r: 'v, 'n: 'v>(
        self,
        record: &Record<'r>,
        names: &Names<'n>,
    ) -> Option<Value<'v>> {
        Some(match self {
            Self::Cpu => Value::Unsigned(u64::from(record.cpu)),
            Self::Pid => Value::Signed(i64::from(record.pid)),
            Self::Flags => Value::Unsigned(u64::from(record.flags)),
            Self::PreemptCount => Value::Unsigned(u64::from(record.preempt_count)),
            Self::Time => Value::Unsigned(record.timestamp_ns),
            Self::Comm => Value::Text(names.tasks().name(record.pid).as_bytes()),
            Self::Event => Value::Text(fields::event_name(record).1.as_bytes()),
            Self::System => Value::Text(fields::event_name(record).0.as_bytes()),
            Self::Function => match record.event {
                Event::Function { ip, .. } => Value::Function(ip),
                _ => return None,
            },
            Self::Duration => Value::Unsigned(duration_ns(record)?),
            Self::Typed(_) => return None,
        })
    }

    fn kind(self) -> Kind {
        match self {
            Self::Comm | Self::Event | Self::System => Kind::Text,
            _ => Kind::Number,
        }
    }
}

impl Filter {
    /// Reads an expression for a trace.
    ///
    /// # Errors
    /// [`Error`], with the column.
    pub fn new(
        text: &str,
        formats: &Formats,
        fields: &Fields,
        has_symbols: HasSymbols,
    ) -> Result<Self, Error> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            next: 0,
            end: text.chars().count().saturating_add(1),
            terms: 0,
            trace: Trace {
                formats,
                fields,
                has_symbols,
            },
        };
        let root = parser.any(0)?;
        match parser.peek() {
            None => Ok(Self {
                root,
                text: text.to_owned(),
            }),
            Some(_) => Err(parser.expected("`&&`, `||` or the end")),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a record passes.
    #[must_use]
    pub fn matches(&self, record: &Record<'_>, fields: &Fields, names: &mut Names<'_>) -> bool {
        self.root.matches(record, fields, names)
    }
}

/// Whether functions can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasSymbols {
    /// There is a table of symbols.
    Yes,
    /// There is none, or it is empty.
    No,
}

impl From<&Names<'_>> for HasSymbols {
    fn from(names: &Names<'_>) -> Self {
        if names.symbols().is_empty() {
            Self::No
        } else {
            Self::Yes
        }
    }
}

impl Node {
    fn matches(&self, record: &Record<'_>, fields: &Fields, names: &mut Names<'_>) -> bool {
        match self {
            Self::Test(test) => test.matches(record, fields, names),
            Self::Not(node) => !node.matches(record, fields, names),
            Self::All(nodes) => nodes.iter().all(|node| node.matches(record, fields, names)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(record, fields, names)),
        }
    }
}

impl Test {
    fn matches(&self, record: &Record<'_>, fields: &Fields, names: &mut Names<'_>) -> bool {
        match self.operand.value(record, fields, names) {
            Some(value) => self.compares(value, names),
            None => false,
        }
    }

    fn compares(&self, value: Value<'_>, names: &mut Names<'_>) -> bool {
        match (&self.literal, value) {
            (Literal::Text(text), Value::Text(found)) => self.compares_text(found, text),
            (Literal::Text(text), Value::Code(address) | Value::Function(address)) => {
                self.compares_text(names.function(address).as_bytes(), text)
            }
            (Literal::Text(text), Value::Pointer(address) | Value::Unsigned(address))
                if self.by_function =>
            {
                self.compares_text(names.function(address).as_bytes(), text)
            }
            (Literal::Number(wanted), value) => value
                .number()
                .is_some_and(|found| self.compares_number(found, *wanted)),
            (Literal::Cpus(cpus), Value::Bits(bits)) => self.compares_mask(bits, cpus),
            (Literal::Cpus(cpus), value) => value
                .number()
                .and_then(|found| u64::try_from(found).ok())
                .is_some_and(|cpu| self.compares_cpu(cpu, cpus)),
            (Literal::Text(_), _) => false,
        }
    }

    fn compares_text(&self, found: &[u8], wanted: &str) -> bool {
        match self.operator {
            Operator::Equal => found == wanted.as_bytes(),
            Operator::NotEqual => found != wanted.as_bytes(),
            Operator::Glob => glob::matches(wanted.as_bytes(), found),
            _ => false,
        }
    }

    fn compares_number(&self, found: i128, wanted: i128) -> bool {
        match self.operator {
            Operator::Equal => found == wanted,
            Operator::NotEqual => found != wanted,
            Operator::Less => found < wanted,
            Operator::LessOrEqual => found <= wanted,
            Operator::Greater => found > wanted,
            Operator::GreaterOrEqual => found >= wanted,
            Operator::Bits => found & wanted != 0,
            Operator::Glob => false,
        }
    }

    /// As `do_filter_scalar_cpumask`: equal is being the only CPU of the set.
    fn compares_cpu(&self, cpu: u64, cpus: &[(u64, u64)]) -> bool {
        let within = cpus.iter().any(|(from, to)| (*from..=*to).contains(&cpu));
        let only = within && cpus.iter().all(|range| *range == (cpu, cpu));
        match self.operator {
            Operator::Bits => within,
            Operator::Equal => only,
            Operator::NotEqual => !only,
            _ => false,
        }
    }

    fn compares_mask(&self, bits: &[u8], cpus: &[(u64, u64)]) -> bool {
        let wanted = |cpu: u64| cpus.iter().any(|(from, to)| (*from..=*to).contains(&cpu));
        let set: BTreeSet<u64> = fields::set_bits(bits).collect();
        let common = set.iter().filter(|cpu| wanted(**cpu)).count();
        let equal = common == set.len()
            && cpus.iter().all(|(from, to)| {
                (*from..=*to)
                    .take(set.len().saturating_add(1))
                    .all(|cpu| set.contains(&cpu))
            });
        match self.operator {
            Operator::Bits => common > 0,
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            _ => false,
        }
    }
}

impl Operand {
    /// The field of this name, and what it holds in the events of a trace.
    pub(crate) fn new(name: &str, formats: &Formats, fields: &Fields) -> (Self, Vec<Kind>) {
        let mut operand = Self::default();
        let mut holds: Vec<Kind> = Vec::new();
        for event in formats.events() {
            let Some(place) = fields.place(event.id(), name) else {
                continue;
            };
            let Some(kind) = fields.kind(event.id(), place) else {
                continue;
            };
            if !holds.contains(&kind) {
                holds.push(kind);
            }
            let id = usize::from(event.id());
            if operand.places.len() <= id {
                operand.places.resize(id.saturating_add(1), 0);
            }
            if let (Some(slot), Ok(place)) = (
                operand.places.get_mut(id),
                u16::try_from(place.saturating_add(1)),
            ) {
                *slot = place;
            }
        }
        let has = |event: &str| formats.by_name("ftrace", event).is_some();
        operand.typed = TypedField::named(name);
        operand.pseudo = Pseudo::named(name).filter(|pseudo| match pseudo {
            Pseudo::Duration | Pseudo::Typed(_) => has("funcgraph_exit"),
            Pseudo::Function => has("funcgraph_exit") || has("function"),
            _ => true,
        });
        let pseudo = operand.pseudo.map(Pseudo::kind);
        holds.extend(pseudo.filter(|kind| !holds.contains(kind)));
        (operand, holds)
    }

    /// Its value in a record; `None` where the record's event has no such field.
    pub(crate) fn value<'v, 'r: 'v, 'n: 'v>(
        &self,
        record: &Record<'r>,
        fields: &Fields,
        names: &Names<'n>,
    ) -> Option<Value<'v>> {
        let own: Option<Value<'v>> = match record.event {
            Event::Other(access) => self
                .places
                .get(usize::from(access.format().id()))
                .and_then(|place| usize::from(*place).checked_sub(1))
                .and_then(|place| fields.at(access, place)),
            _ => self.typed.and_then(|field| field.value(record)),
        };
        own.or_else(|| self.pseudo?.value(record, names))
    }
}

/// The kernel's own duration of the call that a record ends: `rettime - calltime`.
#[must_use]
pub fn duration_ns(record: &Record<'_>) -> Option<u64> {
    match record.event {
        Event::FuncgraphExit {
            calltime, rettime, ..
        } => rettime.checked_sub(calltime),
        _ => None,
    }
}

#[derive(Debug, Clone)]
struct Token {
    column: usize,
    kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TokenKind {
    Open,
    Close,
    Not,
    And,
    Or,
    Operator(Operator),
    Word(String),
    Quoted(String),
    Cpus(Vec<(u64, u64)>),
}

impl fmt::Display for TokenKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(formatter, "`(`"),
            Self::Close => write!(formatter, "`)`"),
            Self::Not => write!(formatter, "`!`"),
            Self::And => write!(formatter, "`&&`"),
            Self::Or => write!(formatter, "`||`"),
            Self::Operator(operator) => write!(formatter, "`{}`", operator.text()),
            Self::Word(word) => write!(formatter, "{word:?}"),
            Self::Quoted(text) => write!(formatter, "the text {text:?}"),
            Self::Cpus(_) => write!(formatter, "a set of CPUs"),
        }
    }
}

impl Operator {
    /// Longer ones first: `<` is the start of `<=`.
    const ALL: [(&'static str, Self); 8] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
        ("&", Self::Bits),
        ("~", Self::Glob),
    ];

    fn text(self) -> &'static str {
        Self::ALL
            .iter()
            .find_map(|(text, operator)| (*operator == self).then_some(*text))
            .unwrap_or_default()
    }
}

/// Cuts an expression into tokens.
fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut found = Vec::new();
    let (mut rest, mut column) = (text, 1_usize);
    // Letters between two places in the same text.
    let letters = |from: &str, to: &str| {
        from.len()
            .checked_sub(to.len())
            .and_then(|length| from.get(..length))
            .map_or(0, |part| part.chars().count())
    };
    loop {
        let trimmed = rest.trim_start();
        column = column.saturating_add(letters(rest, trimmed));
        rest = trimmed;
        if rest.is_empty() {
            return Ok(found);
        }
        let (kind, behind) = token(rest).map_err(|problem| Error { column, problem })?;
        found.push(Token { column, kind });
        // Each comparison has three tokens, and few more around it; a longer text is not worth its memory.
        if found.len() > MOST_TERMS.saturating_mul(16) {
            return Err(Error {
                column,
                problem: Problem::TooLong,
            });
        }
        column = column.saturating_add(letters(rest, behind));
        rest = behind;
    }
}

/// The first token of a text that starts with none of its blanks, and what is behind it.
fn token(text: &str) -> Result<(TokenKind, &str), Problem> {
    for (start, kind) in [
        ("&&", TokenKind::And),
        ("||", TokenKind::Or),
        ("(", TokenKind::Open),
        (")", TokenKind::Close),
    ] {
        if let Some(rest) = text.strip_prefix(start) {
            return Ok((kind, rest));
        }
    }
    for (start, operator) in Operator::ALL {
        if let Some(rest) = text.strip_prefix(start) {
            return Ok((TokenKind::Operator(operator), rest));
        }
    }
    if let Some(rest) = text.strip_prefix('!') {
        return Ok((TokenKind::Not, rest));
    }
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            let (inside, rest) = rest.split_once(quote).ok_or(Problem::OpenQuote(quote))?;
            return Ok((TokenKind::Quoted(inside.to_owned()), rest));
        }
    }
    if let Some(rest) = text.strip_prefix("CPUS{") {
        let (list, rest) = rest
            .split_once('}')
            .ok_or_else(|| Problem::Cpus(start_of(text)))?;
        let cpus = cpu_list(list).ok_or_else(|| Problem::Cpus(start_of(list)))?;
        return Ok((TokenKind::Cpus(cpus), rest));
    }
    let end = text
        .find(|letter: char| letter.is_whitespace() || "()!&|<>=~\"'".contains(letter))
        .unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((word, rest)) if !word.is_empty() => Ok((TokenKind::Word(word.to_owned()), rest)),
        _ => Err(Problem::Expected {
            expected: "a field, a value, `(`, `!`, `&&`, `||` or an operator (==, !=, <, <=, >, >=, &, ~)",
            found: format!("{:?}", text.chars().next().unwrap_or_default()),
        }),
    }
}

fn start_of(text: &str) -> String {
    text.chars().take(40).collect()
}

/// `0-3,5`, as `Documentation/admin-guide/kernel-parameters.rst` has lists of CPUs, without strides.
fn cpu_list(text: &str) -> Option<Vec<(u64, u64)>> {
    let mut ranges = text
        .split(',')
        .map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            (from <= to).then_some((from, to))
        })
        .collect::<Option<Vec<(u64, u64)>>>()?;
    ranges.sort_unstable();
    Some(ranges)
}

/// A number as `kstrtoull` with base 0 reads it, and a sign.
fn number(word: &str) -> Result<Option<i128>, Problem> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    if !digits.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Ok(None);
    }
    let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let parsed = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    let value = i128::from(parsed.map_err(|_| Problem::Number(start_of(word)))?);
    if negative && value > i128::from(i64::MAX) + 1 {
        return Err(Problem::Number(start_of(word)));
    }
    Ok(Some(if negative { -value } else { value }))
}

/// What an expression is made for.
struct Trace<'a> {
    formats: &'a Formats,
    fields: &'a Fields,
    has_symbols: HasSymbols,
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    /// Column behind the last character.
    end: usize,
    terms: usize,
    trace: Trace<'a>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn column(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.end, |token| token.column)
    }

    fn take(&mut self) -> Option<TokenKind> {
        let token = self.tokens.get(self.next)?.kind.clone();
        self.next = self.next.saturating_add(1);
        Some(token)
    }

    fn takes(&mut self, wanted: &TokenKind) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.next = self.next.saturating_add(1);
        }
        there
    }

    fn expected(&self, expected: &'static str) -> Error {
        self.error(Problem::Expected {
            expected,
            found: self
                .peek()
                .map_or_else(|| "the end".to_owned(), ToString::to_string),
        })
    }

    fn error(&self, problem: Problem) -> Error {
        Error {
            column: self.column(),
            problem,
        }
    }

    fn any(&mut self, depth: usize) -> Result<Node, Error> {
        let mut nodes = vec![self.all(depth)?];
        while self.takes(&TokenKind::Or) {
            nodes.push(self.all(depth)?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, Error> {
        let mut nodes = vec![self.condition(depth)?];
        while self.takes(&TokenKind::And) {
            nodes.push(self.condition(depth)?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn condition(&mut self, depth: usize) -> Result<Node, Error> {
        if depth > DEEPEST {
            return Err(self.error(Problem::TooDeep));
        }
        let deeper = depth.saturating_add(1);
        if self.takes(&TokenKind::Not) {
            return Ok(Node::Not(Box::new(self.condition(deeper)?)));
        }
        if self.takes(&TokenKind::Open) {
            let inside = self.any(deeper)?;
            if !self.takes(&TokenKind::Close) {
                return Err(self.expected("`&&`, `||` or `)`"));
            }
            return Ok(inside);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Node, Error> {
        let column = self.column();
        self.terms = self.terms.saturating_add(1);
        if self.terms > MOST_TERMS {
            return Err(self.error(Problem::TooLong));
        }
        let Some(TokenKind::Word(word)) = self.peek().cloned() else {
            return Err(self.expected("a field, `(` or `!`"));
        };
        let (field, by_function) = match word.split_once('.') {
            None => (word.as_str(), false),
            Some((field, "function")) => (field, true),
            Some((_, suffix)) => {
                return Err(self.error(Problem::Suffix(format!(".{}", start_of(suffix)))));
            }
        };
        let field = field.to_owned();
        self.next = self.next.saturating_add(1);
        let Some(TokenKind::Operator(operator)) = self.peek().cloned() else {
            return Err(self.expected("an operator (==, !=, <, <=, >, >=, &, ~)"));
        };
        self.next = self.next.saturating_add(1);
        let value_column = self.column();
        let at_value = |problem| Error {
            column: value_column,
            problem,
        };
        let literal = match self.peek().cloned() {
            Some(TokenKind::Quoted(text)) => Literal::Text(text),
            Some(TokenKind::Cpus(cpus)) => Literal::Cpus(cpus),
            Some(TokenKind::Word(word)) => match number(&word).map_err(at_value)? {
                Some(number) => Literal::Number(number),
                None => Literal::Text(word),
            },
            _ => return Err(self.expected("a number, a text or CPUS{..}")),
        };
        let _ = self.take();
        let test = Test {
            column,
            field,
            by_function,
            operator,
            literal,
            operand: Operand::default(),
        };
        test.placed(&self.trace, value_column)
            .map(|test| Node::Test(Box::new(test)))
    }
}

fn one_or(mut nodes: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match (nodes.pop(), nodes.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            nodes.push(last);
            many(nodes)
        }
        (None, _) => many(nodes),
    }
}

impl Test {
    /// Finds where each event keeps the field, and checks that the comparison can be true of one.
    fn placed(mut self, trace: &Trace<'_>, value_column: usize) -> Result<Self, Error> {
        let (operand, holds) = Operand::new(&self.field, trace.formats, trace.fields);
        if holds.is_empty() {
            return Err(Error {
                column: self.column,
                problem: Problem::UnknownField {
                    nearest: nearest_field(&self.field, trace.formats),
                    name: self.field,
                },
            });
        }
        let named = self.by_function || operand.pseudo == Some(Pseudo::Function);
        if matches!(self.literal, Literal::Text(_)) && named && trace.has_symbols == HasSymbols::No
        {
            return Err(Error {
                column: self.column,
                problem: Problem::NoSymbols,
            });
        }
        if holds.iter().any(|kind| self.fits(*kind, named)) {
            self.operand = operand;
            return Ok(self);
        }
        let (holds, expected) = match (self.by_function, holds.first()) {
            (true, _) => ("no function", "`==`, `!=` or `~` and a function's name"),
            (_, Some(Kind::Number)) => (
                "numbers",
                "==, !=, <, <=, >, >= or & and a number, or &, == or != and CPUS{..}",
            ),
            (_, Some(Kind::Text)) => ("texts", "==, != or ~ and a text"),
            (_, Some(Kind::Bits)) => ("CPUs", "&, == or != and CPUS{..}"),
            (_, Some(Kind::Other) | None) => (
                "an array",
                "a field of one value: an array cannot be compared",
            ),
        };
        Err(Error {
            column: value_column,
            problem: Problem::Type {
                field: self.field,
                holds,
                expected,
            },
        })
    }

    /// Whether a value of this kind can be compared like that.
    fn fits(&self, kind: Kind, named: bool) -> bool {
        let equality = matches!(self.operator, Operator::Equal | Operator::NotEqual);
        match (&self.literal, kind) {
            (Literal::Text(_), Kind::Number) if named => {
                equality || self.operator == Operator::Glob
            }
            _ if self.by_function => false,
            (Literal::Text(_), Kind::Text) => equality || self.operator == Operator::Glob,
            (Literal::Number(_), Kind::Number) => self.operator != Operator::Glob,
            (Literal::Cpus(_), Kind::Number | Kind::Bits) => {
                equality || self.operator == Operator::Bits
            }
            _ => false,
        }
    }
}

/// The field of a trace, or the name allowed beside them, that is most like `name`.
pub(crate) fn nearest_field(name: &str, formats: &Formats) -> Option<String> {
    let names = formats
        .events()
        .iter()
        .flat_map(deferinit_ftrace::format::EventFormat::fields)
        .map(deferinit_ftrace::format::Field::name)
        .chain(Pseudo::ALL.iter().map(|(name, _)| *name));
    nearest_name(name, names)
}

/// The name that is most like `name`, if one is like it at all.
pub(crate) fn nearest_name<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: BTreeSet<&str> = names.collect();
    names
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, known)| known.to_owned())
}
