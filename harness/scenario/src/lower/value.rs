// SPDX-License-Identifier: GPL-2.0-only

//! Gives single texts their meaning: durations, sizes, whole numbers, names.
//!
//! In: texts with their places. Out: values within the range that is allowed there, or a mistake at that place.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::{Mistake, Place, unknown};
use crate::file::{Given, Text};
use crate::yaml::Located;
use crate::{Bytes, Errno, Nanos};

pub(super) type Result<T> = std::result::Result<T, Mistake>;

/// What an error may be, for error messages: there are too many to list.
pub(super) const ERRNOS: &str = "the names of errno.h, such as EINVAL";

impl<T> Given<T> {
    /// The value of a key that has to be there; `place` is where its map begins.
    pub(super) fn required(self, key: &str, place: Place) -> Result<Located<T>> {
        self.0
            .ok_or_else(|| Mistake::new(place, format!("key `{key}` is missing here")))
    }

    /// The value understood by `read`, if the key is there.
    pub(super) fn read_if_given<U>(
        self,
        read: impl FnOnce(&Located<T>) -> Result<U>,
    ) -> Result<Option<U>> {
        self.0.as_ref().map(read).transpose()
    }

    /// Where the value stands, if the key is there.
    pub(super) fn place(&self) -> Option<Place> {
        self.0.as_ref().map(|located| located.place)
    }
}

/// A duration within a range.
pub(super) fn duration(text: &Text, range: RangeInclusive<Nanos>) -> Result<Nanos> {
    let duration = text.value.parse().map_err(|error: crate::UnitError| {
        Mistake::new(text.place, error.to_string()).allow(Nanos::ALLOWED)
    })?;
    within(text.place, duration, range)
}

/// A size within a range, in whole multiples of `step`.
pub(super) fn size(text: &Text, range: RangeInclusive<Bytes>, step: Bytes) -> Result<Bytes> {
    let size: Bytes = text.value.parse().map_err(|error: crate::UnitError| {
        Mistake::new(text.place, error.to_string()).allow(Bytes::ALLOWED)
    })?;
    if !size.0.is_multiple_of(step.0) {
        let message = format!("{size} is no multiple of {step}");
        return Err(Mistake::new(text.place, message).allow(format!("multiples of {step}")));
    }
    within(text.place, size, range)
}

/// A whole number within a range.
pub(super) fn whole<T>(text: &Text, range: RangeInclusive<T>) -> Result<T>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
    let is_whole = !text.value.is_empty() && text.value.bytes().all(|byte| byte.is_ascii_digit());
    if !is_whole {
        let message = format!("`{}` is not a whole number", text.value);
        return Err(Mistake::new(text.place, message).allow(allowed()));
    }
    let number = text
        .value
        .parse::<u64>()
        .ok()
        .and_then(|number| T::try_from(number).ok());
    match number {
        Some(number) if range.contains(&number) => Ok(number),
        _ => Err(
            Mistake::new(text.place, format!("{} is out of range", text.value)).allow(allowed()),
        ),
    }
}

fn within<T: PartialOrd + Display>(place: Place, value: T, range: RangeInclusive<T>) -> Result<T> {
    if range.contains(&value) {
        return Ok(value);
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(Mistake::new(place, format!("{value} is out of range")).allow(allowed))
}

/// One of a table's names, as the value it stands for.
pub(super) fn one_of<T: Copy>(
    place: Place,
    kind: &str,
    name: &str,
    table: &[(&str, T)],
) -> Result<T> {
    table
        .iter()
        .find(|(candidate, _)| *candidate == name)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = table.iter().map(|(candidate, _)| *candidate).collect();
            Mistake::unknown_name(place, kind, name, &names)
        })
}

/// `true` or `false`.
pub(super) fn truth(text: &Text) -> Result<bool> {
    let table = [("true", true), ("false", false)];
    one_of(text.place, "value", &text.value, &table)
}

/// The name of an error number.
pub(super) fn errno(text: &Text) -> Result<Errno> {
    Errno::from_name(&text.value).ok_or_else(|| {
        let names: Vec<&str> = Errno::names().collect();
        Mistake::new(text.place, unknown("error", &text.value, &names)).allow(ERRNOS)
    })
}

/// What a kind of text may be made of.
pub(super) struct Grammar {
    /// What the text is, with its article.
    pub(super) what: &'static str,
    /// The most bytes.
    pub(super) longest: usize,
    /// The rule in words.
    pub(super) allowed: &'static str,
    /// The rule.
    pub(super) is_valid: fn(&str) -> bool,
}

/// A text that follows a grammar.
pub(super) fn spelled(text: &Text, grammar: &Grammar) -> Result<String> {
    let value = &text.value;
    let message = if value.is_empty() {
        format!("{} is empty", grammar.what)
    } else if value.len() > grammar.longest {
        format!("{} is {} bytes long", grammar.what, value.len())
    } else if !(grammar.is_valid)(value) {
        format!("`{value}` is not {}", grammar.what)
    } else {
        return Ok(value.clone());
    };
    let allowed = format!("{}, at most {} bytes", grammar.allowed, grammar.longest);
    Err(Mistake::new(text.place, message).allow(allowed))
}

/// Refuses a list with more or fewer entries.
pub(super) fn has_entries<T>(
    key: &str,
    list: &Located<Vec<T>>,
    range: RangeInclusive<usize>,
) -> Result<()> {
    let count = list.value.len();
    if range.contains(&count) {
        return Ok(());
    }
    let message = format!("`{key}` has {}", entries(count));
    let allowed = format!("{} to {} entries", range.start(), range.end());
    Err(Mistake::new(list.place, message).allow(allowed))
}

/// A number of entries, in words.
pub(super) fn entries(count: usize) -> String {
    match count {
        0 => "no entries".to_owned(),
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    }
}
