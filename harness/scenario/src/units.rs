// SPDX-License-Identifier: GPL-2.0-only

//! Durations, sizes and percentiles as scenario files write them: always with a unit, always exact.
//!
//! In: text such as `50ms`, `64MiB`, `99.9`. Out: integers, so that two runs compare bit by bit.
//! Floats never appear: a decimal fraction is accepted only when it is a whole number of the smallest unit.
//! Pure: no I/O, no clock, no panic on any input.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A span of guest time in nanoseconds; in a file `50ms`, in plan.json an integer.
///
/// ```
/// use deferinit_scenario::Nanos;
///
/// assert_eq!("1.5ms".parse(), Ok(Nanos(1_500_000)));
/// assert_eq!(Nanos(1_500_000).to_string(), "1.5ms");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub u64);

/// An amount of memory in bytes; in a file `64MiB`, in plan.json an integer.
///
/// ```
/// use deferinit_scenario::Bytes;
///
/// assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
/// assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A percentile above 0 and up to 100, in steps of a thousandth; in plan.json its thousandths.
///
/// ```
/// use deferinit_scenario::Percentile;
///
/// let p99: Percentile = "99".parse()?;
/// assert_eq!(p99.rank(200), Some(198));
/// assert_eq!(p99.to_string(), "p99");
/// # Ok::<(), deferinit_scenario::UnitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percentile {
    thousandths: u32,
}

/// Why a text is no duration, size or percentile.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnitError {
    /// A number stands alone.
    #[error("`{text}` has no unit")]
    MissingUnit {
        /// The text as written.
        text: String,
    },
    /// The unit is not one of those allowed.
    #[error("`{text}` has the unknown unit `{unit}`")]
    UnknownUnit {
        /// The text as written.
        text: String,
        /// The part taken for the unit.
        unit: String,
    },
    /// The text does not start with a decimal number.
    #[error("`{text}` does not start with a number")]
    NotANumber {
        /// The text as written.
        text: String,
    },
    /// The number is below zero.
    #[error("`{text}` is negative")]
    Negative {
        /// The text as written.
        text: String,
    },
    /// The number does not fit.
    #[error("`{text}` is too large")]
    TooLarge {
        /// The text as written.
        text: String,
    },
    /// The fraction is finer than the smallest unit.
    #[error("`{text}` is finer than {smallest}")]
    TooFine {
        /// The text as written.
        text: String,
        /// The smallest step that can be told apart.
        smallest: &'static str,
    },
    /// The percentile is 0, or above 100.
    #[error("percentile {text} is out of range")]
    PercentileOutOfRange {
        /// The text as written.
        text: String,
    },
}

/// Units of time, smallest first, in nanoseconds.
const TIME_UNITS: [(&str, u64); 4] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
];

/// Units of memory, smallest first, in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Thousandths in one percent.
const PER_PERCENT: u64 = 1_000;

impl Nanos {
    /// What a duration may look like, for error messages.
    pub const ALLOWED: &'static str = "a number and its unit, ns, us, ms or s, such as 50ms";

    /// The sum, or the largest duration when it does not fit.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The product, or the largest duration when it does not fit.
    #[must_use]
    pub const fn saturating_mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Bytes {
    /// What a size may look like, for error messages.
    pub const ALLOWED: &'static str = "a number and its unit, B, KiB, MiB or GiB, such as 64MiB";
}

impl Percentile {
    /// What a percentile may look like, for error messages.
    pub const ALLOWED: &'static str =
        "a number above 0 and up to 100, with at most three decimals, such as 99.9";

    /// It in thousandths: 99000 for 99.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.thousandths
    }

    /// The nearest rank among `count` sorted values, from 1 to `count`; `None` when there are no values.
    #[must_use]
    pub fn rank(self, count: u64) -> Option<u64> {
        let scaled = u128::from(count) * u128::from(self.thousandths);
        let rank = scaled.div_ceil(u128::from(100 * PER_PERCENT));
        u64::try_from(rank)
            .ok()
            .map(|rank| rank.min(count))
            .filter(|rank| *rank > 0)
    }
}

impl FromStr for Nanos {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_with_unit(text, &TIME_UNITS, "1ns").map(Self)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_with_unit(text, &SIZE_UNITS, "1 byte").map(Self)
    }
}

impl FromStr for Percentile {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, rest) = split_number(text)?;
        if !rest.is_empty() {
            return Err(UnitError::UnknownUnit {
                text: text.to_owned(),
                unit: rest.to_owned(),
            });
        }
        let thousandths = scale_decimal(text, number, PER_PERCENT, "0.001")?;
        match u32::try_from(thousandths) {
            Ok(thousandths) if (1..=100_000).contains(&thousandths) => Ok(Self { thousandths }),
            _ => Err(UnitError::PercentileOutOfRange {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(f, self.0, &TIME_UNITS, "ns")
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS
            .into_iter()
            .rev()
            .find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size));
        match unit {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => f.write_str("0B"),
        }
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("p")?;
        write_decimal(f, u64::from(self.thousandths), PER_PERCENT)
    }
}

/// Reads `NUMBER UNIT` without a space between, in multiples of the smallest unit.
fn parse_with_unit(
    text: &str,
    units: &[(&str, u64)],
    smallest: &'static str,
) -> Result<u64, UnitError> {
    let (number, unit) = split_number(text)?;
    if unit.is_empty() {
        return Err(UnitError::MissingUnit {
            text: text.to_owned(),
        });
    }
    let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit {
            text: text.to_owned(),
            unit: unit.to_owned(),
        });
    };
    scale_decimal(text, number, *size, smallest)
}

/// Splits a text after its leading decimal number.
fn split_number(text: &str) -> Result<(&str, &str), UnitError> {
    if let Some(rest) = text.strip_prefix('-')
        && rest.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(UnitError::Negative {
            text: text.to_owned(),
        });
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = !whole.is_empty() && !fraction.is_empty() && !fraction.contains('.');
    if is_number {
        Ok((number, rest))
    } else {
        Err(UnitError::NotANumber {
            text: text.to_owned(),
        })
    }
}

/// Multiplies a decimal number such as `1.25` by `scale`, exactly.
fn scale_decimal(
    text: &str,
    number: &str,
    scale: u64,
    smallest: &'static str,
) -> Result<u64, UnitError> {
    let too_large = || UnitError::TooLarge {
        text: text.to_owned(),
    };
    let too_fine = || UnitError::TooFine {
        text: text.to_owned(),
        smallest,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let part = match fraction {
        "" => 0,
        digits => exact_fraction(digits, scale).ok_or_else(too_fine)?,
    };
    whole
        .checked_mul(scale)
        .and_then(|total| total.checked_add(part))
        .ok_or_else(too_large)
}

/// The digits behind a decimal point times `scale`, if that is a whole number.
fn exact_fraction(digits: &str, scale: u64) -> Option<u64> {
    let places = u32::try_from(digits.len()).ok()?;
    let one = 10_u128.checked_pow(places)?;
    let scaled = digits
        .parse::<u128>()
        .ok()?
        .checked_mul(u128::from(scale))?;
    if !scaled.is_multiple_of(one) {
        return None;
    }
    u64::try_from(scaled / one).ok()
}

/// Writes `value` in the largest unit that is not above it, without rounding.
fn write_with_unit(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    units: &[(&str, u64)],
    zero: &str,
) -> fmt::Result {
    let Some((name, size)) = units.iter().rev().find(|(_, size)| value >= *size) else {
        return write!(f, "0{zero}");
    };
    write_decimal(f, value, *size)?;
    f.write_str(name)
}

/// Writes `value / scale` as a decimal number without trailing zeros; `scale` is a power of ten.
fn write_decimal(f: &mut fmt::Formatter<'_>, value: u64, scale: u64) -> fmt::Result {
    write!(f, "{}", value / scale)?;
    let (mut rest, mut weight) = (value % scale, scale);
    if rest > 0 {
        f.write_str(".")?;
    }
    while rest > 0 {
        weight /= 10;
        write!(f, "{}", rest / weight)?;
        rest %= weight;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Result<u64, String> {
        text.parse::<Nanos>()
            .map(|n| n.0)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn durations_are_exact() {
        for (text, expected) in [
            ("0ms", 0),
            ("1ns", 1),
            ("50ms", 50_000_000),
            ("57.6ms", 57_600_000),
            ("1.000000001s", 1_000_000_001),
            ("2.50us", 2_500),
            ("18446744073709551615ns", u64::MAX),
        ] {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad_durations_say_what_is_wrong() {
        for (text, expected) in [
            ("50", "`50` has no unit"),
            ("", "`` does not start with a number"),
            ("ms", "`ms` does not start with a number"),
            (".5ms", "`.5ms` does not start with a number"),
            ("5.ms", "`5.ms` does not start with a number"),
            ("1.2.3ms", "`1.2.3ms` does not start with a number"),
            ("-1ms", "`-1ms` is negative"),
            ("-x", "`-x` does not start with a number"),
            ("5 ms", "`5 ms` has the unknown unit ` ms`"),
            ("5min", "`5min` has the unknown unit `min`"),
            ("1e3ms", "`1e3ms` has the unknown unit `e3ms`"),
            ("0x10ms", "`0x10ms` has the unknown unit `x10ms`"),
            ("0.5ns", "`0.5ns` is finer than 1ns"),
            ("1.0000000001s", "`1.0000000001s` is finer than 1ns"),
            (
                "18446744073709551616ns",
                "`18446744073709551616ns` is too large",
            ),
            ("18446744074s", "`18446744074s` is too large"),
            (
                "18446744073.709551616s",
                "`18446744073.709551616s` is too large",
            ),
        ] {
            assert_eq!(nanos(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_print_as_they_parse() {
        for (value, expected) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1us"),
            (57_600_000, "57.6ms"),
            (1_000_000_001, "1.000000001s"),
            (60_000_000_000, "60s"),
        ] {
            assert_eq!(Nanos(value).to_string(), expected);
            assert_eq!(nanos(expected), Ok(value));
        }
    }

    #[test]
    fn sizes_are_exact_and_print_as_they_parse() {
        for (text, expected, printed) in [
            ("10B", 10, "10B"),
            ("64KiB", 64 << 10, "64KiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("1.5GiB", 3 << 29, "1536MiB"),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(expected)), "{text}");
            assert_eq!(Bytes(expected).to_string(), printed);
        }
        assert_eq!(Bytes(0).to_string(), "0B");
        for (text, expected) in [
            ("64", "`64` has no unit"),
            ("64MB", "`64MB` has the unknown unit `MB`"),
            ("0.0001KiB", "`0.0001KiB` is finer than 1 byte"),
            ("17179869184GiB", "`17179869184GiB` is too large"),
        ] {
            let error = text.parse::<Bytes>().expect_err("not a size");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn percentiles_stay_above_0_and_up_to_100() {
        for (text, printed) in [
            ("50", "p50"),
            ("99.9", "p99.9"),
            ("100", "p100"),
            ("0.001", "p0.001"),
        ] {
            assert_eq!(
                text.parse::<Percentile>().map(|p| p.to_string()),
                Ok(printed.to_owned())
            );
        }
        for (text, expected) in [
            ("0", "percentile 0 is out of range"),
            ("101", "percentile 101 is out of range"),
            ("100.001", "percentile 100.001 is out of range"),
            ("4294967396", "percentile 4294967396 is out of range"),
            ("99%", "`99%` has the unknown unit `%`"),
            ("0.0001", "`0.0001` is finer than 0.001"),
            ("-1", "`-1` is negative"),
        ] {
            let error = text.parse::<Percentile>().expect_err("not a percentile");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn percentile_rank_is_the_nearest_rank() {
        let p = |text: &str| text.parse::<Percentile>().expect("a percentile");
        for (text, count, expected) in [
            ("50", 0, None),
            ("50", 1, Some(1)),
            ("50", 4, Some(2)),
            ("50", 5, Some(3)),
            ("99", 100, Some(99)),
            ("99", 101, Some(100)),
            ("100", 7, Some(7)),
            ("0.001", 7, Some(1)),
            ("99.9", u64::MAX, Some(18_428_297_329_635_842_064)),
        ] {
            assert_eq!(p(text).rank(count), expected, "p{text} of {count}");
        }
    }
}
