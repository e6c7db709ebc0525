// SPDX-License-Identifier: GPL-2.0-only

//! Parses what hist triggers counted: `events/<system>/<event>/hist`.
//!
//! In: the file's text, with any number of histograms. Out: each one's trigger, entries and totals. What a key or a value
//! is, is taken from the trigger, which the text holds; the names of tasks in keys may have any characters.
//!
//! Keys without a modifier do not say whether they are numbers: the kernel pads texts on the right and numbers on the
//! left, and that is what tells them apart.
//! Source: `hist_trigger_show`, `hist_trigger_entry_print`, `hist_trigger_print_key`, `hist_trigger_print_val`,
//! `track_data_print` and `event_hist_trigger_print` in `kernel/trace/trace_events_hist.c`, Linux 7.3.

use serde::Serialize;

use super::{Error, Lines, lossy, number, rsplit_once, split_once};

/// Characters of a graph's bar.
const BAR: usize = 20;

/// One histogram.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hist {
    /// The trigger as the kernel shows it, with its defaults: `hist:keys=pid:vals=hitcount:sort=hitcount:size=2048`.
    pub trigger: String,
    /// Whether it still counts.
    pub is_active: bool,
    /// Its entries, in the order of its sort keys.
    pub entries: Vec<HistEntry>,
    /// What the kernel says of a snapshot that it took for this histogram, if it took one.
    pub snapshot: Option<String>,
    /// Its totals.
    pub totals: Totals,
}

/// What was counted in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events.
    pub hits: u64,
    /// Entries.
    pub entries: u64,
    /// Events that found no room: the entries are not whole if there are any.
    pub dropped: u64,
}

/// What was counted under one key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistEntry {
    /// The key's fields, with their names.
    pub key: Vec<(String, Key)>,
    /// The values, with their names, the hit count first if it is shown.
    pub values: Vec<(String, HistValue)>,
    /// What `onmax()` or `onchange()` kept, one for each such action.
    pub tracked: Vec<Tracked>,
}

/// A field of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Key {
    /// A number.
    Number {
        /// It.
        value: u64,
    },
    /// A text.
    Text {
        /// It, without the blanks behind it.
        value: String,
    },
    /// An address of code (`.sym`, `.sym-offset`).
    Symbol {
        /// The address.
        address: u64,
        /// `SYMBOL`, or `SYMBOL+0xOFFSET/0xSIZE`; ` [MODULE]` behind it for a module's.
        symbol: String,
    },
    /// A task (`.execname`).
    Task {
        /// Its name.
        comm: String,
        /// Its pid.
        pid: u64,
    },
    /// A system call (`.syscall`).
    Syscall {
        /// Its name, or `unknown_syscall`.
        name: String,
        /// Its number.
        number: u64,
    },
    /// A range of numbers (`.log2`, `.buckets=N`): from one up to another one, both included.
    Range {
        /// The least.
        from: u64,
        /// The largest.
        to: u64,
    },
    /// A stack (`common_stacktrace`, `.stacktrace`), the innermost first.
    Stack {
        /// `SYMBOL+0xOFFSET/0xSIZE` each.
        frames: Vec<String>,
    },
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum HistValue {
    /// A sum.
    Sum {
        /// It.
        value: u64,
    },
    /// The share of all entries' sum (`.percent`).
    Percent {
        /// In percent, rounded down to hundredths; `None` where the kernel could not reckon it.
        value: Option<f64>,
    },
    /// A bar (`.graph`).
    Bar {
        /// Its length, of 20.
        length: usize,
    },
}

/// What `onmax()` or `onchange()` kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tracked {
    /// `max` or `changed`.
    pub handler: String,
    /// The largest, or the latest, value.
    pub value: u64,
    /// What `save()` kept of the event it came from.
    pub saved: Vec<(String, Key)>,
}

/// What a trigger says of its keys, values and saved fields.
struct Trigger {
    /// Names and modifiers.
    keys: Vec<(String, String)>,
    hexadecimal: Vec<String>,
    saved: Vec<Vec<String>>,
}

/// Reads the text of `hist`. No histogram: the event has no hist trigger; that is no error.
///
/// # Errors
/// [`Error`] when a line is none that the kernel writes, or when a histogram has fewer or more entries than it says.
pub fn parse(text: &[u8]) -> Result<Vec<Hist>, Error> {
    let mut lines = Lines::new(text);
    let mut found = Vec::new();
    loop {
        skip_blank(&mut lines);
        if lines.peek().is_none() {
            return Ok(found);
        }
        found.push(Hist::parse(&mut lines)?);
    }
}

fn skip_blank(lines: &mut Lines<'_>) {
    while lines.peek().is_some_and(<[u8]>::is_empty) {
        let _ = lines.next();
    }
}

impl Hist {
    fn parse(lines: &mut Lines<'_>) -> Result<Self, Error> {
        lines.expect("`# event histogram`", |line| {
            (line == b"# event histogram").then_some(())
        })?;
        lines.expect("`#`", |line| (line == b"#").then_some(()))?;
        let (trigger, is_active) = lines.expect(
            "`# trigger info: hist:keys=.. [active]`, or `[paused]`",
            |line| {
                let info = lossy(line.strip_prefix(b"# trigger info: ")?);
                let (trigger, state) = info.rsplit_once(" [")?;
                match state {
                    "active]" => Some((trigger.to_owned(), true)),
                    "paused]" => Some((trigger.to_owned(), false)),
                    _ => None,
                }
            },
        )?;
        let known = Trigger::parse(&trigger).ok_or_else(|| Error {
            line: lines.number,
            expected: "a trigger with `keys=`",
            found: trigger.chars().take(120).collect(),
        })?;
        lines.expect("`#`", |line| (line == b"#").then_some(()))?;
        let mut hist = Self {
            trigger,
            is_active,
            entries: Vec::new(),
            snapshot: None,
            totals: Totals {
                hits: 0,
                entries: 0,
                dropped: 0,
            },
        };
        loop {
            skip_blank(lines);
            match lines.peek() {
                Some(line) if line.starts_with(b"{ ") => {
                    let entry = HistEntry::parse(lines, &known)?;
                    hist.entries.push(entry);
                }
                Some(line) if line.starts_with(b"Snapshot taken") => {
                    let mut text = String::new();
                    while let Some(line) = lines.peek().filter(|line| !line.is_empty()) {
                        text.push_str(&lossy(line));
                        text.push('\n');
                        let _ = lines.next();
                    }
                    hist.snapshot = Some(text);
                }
                _ => break,
            }
        }
        hist.totals = Totals::parse(lines)?;
        if u64::try_from(hist.entries.len()) != Ok(hist.totals.entries) {
            return Err(Error {
                line: lines.number,
                expected: "as many entries as its totals say",
                found: format!("{} of {}", hist.entries.len(), hist.totals.entries),
            });
        }
        Ok(hist)
    }
}

impl Totals {
    fn parse(lines: &mut Lines<'_>) -> Result<Self, Error> {
        lines.expect("an entry `{ KEY: .. } ..`, or `Totals:`", |line| {
            (line == b"Totals:").then_some(())
        })?;
        Ok(Self {
            hits: lines.expect("`    Hits: N`", |line| {
                number(line.strip_prefix(b"    Hits: ")?)
            })?,
            entries: lines.expect("`    Entries: N`", |line| {
                number(line.strip_prefix(b"    Entries: ")?)
            })?,
            dropped: lines.expect("`    Dropped: N`", |line| {
                number(line.strip_prefix(b"    Dropped: ")?)
            })?,
        })
    }
}

impl Trigger {
    fn parse(text: &str) -> Option<Self> {
        // A filter may hold anything, and stands last.
        let text = text.split_once(" if ").map_or(text, |(text, _)| text);
        let parts: Vec<&str> = text.split(':').collect();
        let list = |name: &str| {
            parts
                .iter()
                .find_map(|part| part.strip_prefix(name))
                .map(|list| {
                    list.split(',')
                        .map(|field| {
                            let (field, modifier) = field.split_once('.').unwrap_or((field, ""));
                            (field.to_owned(), modifier.to_owned())
                        })
                        .collect::<Vec<_>>()
                })
        };
        let saved = parts
            .iter()
            .filter(|part| part.starts_with("onmax(") || part.starts_with("onchange("))
            .map(|part| {
                let fields = part.split_once(".save(").map_or("", |(_, fields)| fields);
                fields
                    .trim_end_matches(')')
                    .split(',')
                    .filter(|field| !field.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .collect();
        Some(Self {
            keys: list("keys=")?,
            hexadecimal: list("vals=")
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(name, modifier)| (modifier == "hex").then_some(name))
                .collect(),
            saved,
        })
    }
}

impl HistEntry {
    fn parse(lines: &mut Lines<'_>, trigger: &Trigger) -> Result<Self, Error> {
        let expected = "`{ KEY: VALUE, .. } NAME: VALUE ..` with the trigger's keys";
        let mut text: Vec<u8> = Vec::new();
        // A stack goes over several lines; the brace that closes the key is in the last one.
        let values = loop {
            let Some(line) = lines.next() else {
                return Err(lines.error("the end of an entry: `} NAME: VALUE`", b""));
            };
            let closing = if line.starts_with(b"         ") {
                None
            } else if text.is_empty() {
                rsplit_once(line, b" }")
            } else {
                // Behind a stack, the kernel leaves the blank out.
                rsplit_once(line, b"}")
            };
            match closing {
                Some((key, values)) => {
                    text.extend_from_slice(key);
                    break values;
                }
                None if line.is_empty() || line.starts_with(b"Totals:") => {
                    return Err(lines.error("the end of an entry: `} NAME: VALUE`", line));
                }
                None => {
                    text.extend_from_slice(line);
                    text.push(b'\n');
                }
            }
        };
        let key = text
            .strip_prefix(b"{ ")
            .and_then(|text| keys(text, trigger))
            .ok_or_else(|| lines.error(expected, &text))?;
        let values = self::values(values, trigger)
            .ok_or_else(|| lines.error("`NAME: VALUE` behind the key", values))?;
        let mut tracked = Vec::new();
        while let Some(line) = lines.peek().filter(|line| line.starts_with(b"\t")) {
            let saved = trigger
                .saved
                .get(tracked.len())
                .map_or(&[][..], Vec::as_slice);
            let _ = lines.next();
            tracked.push(Tracked::parse(line, saved).ok_or_else(|| {
                lines.error("`max: N` or `changed: N`, and what was saved", line)
            })?);
        }
        Ok(Self {
            key,
            values,
            tracked,
        })
    }
}

/// `NAME: VALUE, NAME: VALUE` with the names of the trigger's keys.
fn keys(text: &[u8], trigger: &Trigger) -> Option<Vec<(String, Key)>> {
    let mut rest = text;
    let mut found = Vec::new();
    for (place, (name, modifier)) in trigger.keys.iter().enumerate() {
        let value = strip_name(rest, name)?;
        let value = match trigger.keys.get(place.saturating_add(1)) {
            None => {
                rest = b"";
                value
            }
            Some((next, _)) => {
                let between = format!(", {next}");
                let (value, behind) = split_once(value, between.as_bytes())?;
                rest = text.get(
                    text.len()
                        .checked_sub(behind.len())?
                        .checked_sub(next.len())?..,
                )?;
                value
            }
        };
        found.push((name.clone(), Key::parse(value, modifier)?));
    }
    Some(found)
}

/// What is behind `NAME: `, or `NAME.stacktrace`, which has no colon.
fn strip_name<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = text.strip_prefix(name.as_bytes())?;
    rest.strip_prefix(b": ")
        .or_else(|| rest.strip_prefix(b":\n"))
        .or_else(|| rest.strip_prefix(b".stacktrace"))
}

impl Key {
    fn parse(value: &[u8], modifier: &str) -> Option<Self> {
        let (modifier, _) = modifier.split_once('=').unwrap_or((modifier, ""));
        let numbered = || {
            let (name, number) = rsplit_once(value, b"[")?;
            let number = self::number(number.trim_ascii_end().strip_suffix(b"]")?)?;
            Some((lossy(name.trim_ascii_end()), number))
        };
        Some(match modifier {
            "hex" => Self::Number {
                value: u64::from_str_radix(lossy(value).trim(), 16).ok()?,
            },
            "sym" | "sym-offset" => {
                let (address, symbol) = split_once(value.strip_prefix(b"[")?, b"] ")?;
                Self::Symbol {
                    address: u64::from_str_radix(&lossy(address), 16).ok()?,
                    symbol: lossy(symbol.trim_ascii()),
                }
            }
            "execname" => {
                let (comm, pid) = numbered()?;
                Self::Task { comm, pid }
            }
            "syscall" => {
                let (name, number) = numbered()?;
                Self::Syscall { name, number }
            }
            "log2" => {
                let power: u32 = number(value.strip_prefix(b"~ 2^")?)?;
                let (from, to) = log2_range(power)?;
                Self::Range { from, to }
            }
            "buckets" => {
                let (from, to) = split_once(value.strip_prefix(b"~ ")?, b"-")?;
                Self::Range {
                    from: number(from)?,
                    to: number(to)?,
                }
            }
            _ if modifier == "stacktrace" || value.starts_with(b"         ") => Self::Stack {
                frames: value
                    .split(|byte| *byte == b'\n')
                    .map(<[u8]>::trim_ascii)
                    .filter(|frame| !frame.is_empty())
                    .map(lossy)
                    .collect(),
            },
            _ => Self::plain(value),
        })
    }

    /// A number is padded on its left, a text on its right.
    fn plain(value: &[u8]) -> Self {
        match number(value) {
            Some(number) if !value.ends_with(b" ") => Self::Number { value: number },
            _ => Self::Text {
                value: lossy(value.trim_ascii_end()),
            },
        }
    }
}

/// What falls into the bucket `2^POWER`: `hist_field_log2` rounds up, `ilog2(roundup_pow_of_two(value))`.
fn log2_range(power: u32) -> Option<(u64, u64)> {
    let Some(below) = power.checked_sub(1) else {
        return Some((0, 1));
    };
    let from = 1_u64.checked_shl(below)?.checked_add(1)?;
    let to = 1_u64.checked_shl(power).unwrap_or(u64::MAX);
    Some((from, to))
}

/// ` NAME: VALUE  NAME (%): VALUE`.
fn values(text: &[u8], trigger: &Trigger) -> Option<Vec<(String, HistValue)>> {
    let mut rest = text;
    let mut found = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(found);
        }
        let (name, behind) = split_once(rest, b":")?;
        if let Some(name) = name.strip_suffix(b" (%)") {
            let (value, behind) = token(behind);
            let value = if value == b"[ERROR]" {
                None
            } else {
                Some(number(value).filter(|percent: &f64| percent.is_finite())?)
            };
            found.push((lossy(name), HistValue::Percent { value }));
            rest = behind;
            continue;
        }
        let behind = behind.strip_prefix(b" ")?;
        let bar = behind.get(..BAR).unwrap_or(behind);
        if bar.iter().all(|byte| matches!(byte, b'#' | b' ')) {
            let length = bar.iter().filter(|byte| **byte == b'#').count();
            found.push((lossy(name), HistValue::Bar { length }));
            rest = behind.get(bar.len()..)?;
            continue;
        }
        let (value, behind) = token(behind);
        let name = lossy(name);
        let value = if trigger.hexadecimal.contains(&name) {
            u64::from_str_radix(&lossy(value), 16).ok()?
        } else {
            number(value)?
        };
        found.push((name, HistValue::Sum { value }));
        rest = behind;
    }
}

/// What is before the next blank, those in front left out, and what is behind it.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    split_once(text, b" ").unwrap_or((text, b""))
}

impl Tracked {
    /// `\tmax: %10llu  NAME: VALUE  NAME: VALUE`.
    fn parse(line: &[u8], saved: &[String]) -> Option<Self> {
        let (handler, rest) = split_once(line.strip_prefix(b"\t")?, b": ")?;
        if !matches!(handler, b"max" | b"changed") {
            return None;
        }
        let rest = rest.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (value, mut rest) = rest.split_at_checked(digits)?;
        let mut found = Vec::new();
        for (place, name) in saved.iter().enumerate() {
            let behind = rest
                .strip_prefix(b"  ")?
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b": ")?;
            let value = match saved.get(place.saturating_add(1)) {
                None => {
                    rest = b"";
                    behind
                }
                Some(next) => {
                    let (value, _) = split_once(behind, format!("  {next}: ").as_bytes())?;
                    rest = behind.get(value.len()..)?;
                    value
                }
            };
            found.push((name.clone(), Key::plain(value)));
        }
        Some(Self {
            handler: lossy(handler),
            value: number(value)?,
            saved: found,
        })
    }
}
