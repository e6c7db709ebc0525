// SPDX-License-Identifier: GPL-2.0-only

//! Points in the time of a trace, as a user writes and reads them.

use std::str::FromStr;

use deferinit_scenario::Nanos;

/// A point in the time of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePoint {
    /// In nanoseconds of the trace's clock: `12.345678`, in seconds.
    Absolute(u64),
    /// In nanoseconds since the first record: `+50ms`.
    SinceStart(u64),
}

impl TimePoint {
    /// The same in nanoseconds of the trace's clock.
    pub(crate) fn in_trace(self, start: u64) -> u64 {
        match self {
            Self::Absolute(time) => time,
            Self::SinceStart(time) => start.saturating_add(time),
        }
    }
}

impl FromStr for TimePoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(duration) = text.strip_prefix('+') {
            return duration
                .parse::<Nanos>()
                .map(|duration| Self::SinceStart(duration.0))
                .map_err(|error| format!("{duration:?}: {error}"));
        }
        seconds(text).map(Self::Absolute).ok_or_else(|| {
            format!(
                "{text:?} is no time: seconds, as 12.345678, or since the first record, as +50ms"
            )
        })
    }
}

/// Seconds with up to nine decimals, in nanoseconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_since_the_start() {
        for (text, wanted) in [
            ("12.345678", TimePoint::Absolute(12_345_678_000)),
            ("3", TimePoint::Absolute(3_000_000_000)),
            ("0.000000001", TimePoint::Absolute(1)),
            ("+50ms", TimePoint::SinceStart(50_000_000)),
            ("+0ns", TimePoint::SinceStart(0)),
        ] {
            assert_eq!(text.parse(), Ok(wanted));
        }
        assert_eq!(TimePoint::SinceStart(5).in_trace(7), 12);
        assert_eq!(TimePoint::Absolute(5).in_trace(7), 5);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            ".5",
            "1.",
            "1.0000000001",
            "-1",
            "1s",
            "99999999999999999999",
        ] {
            let error = text.parse::<TimePoint>().expect_err(text);
            assert!(
                error.contains("12.345678") && error.contains(text),
                "{error}"
            );
        }
        let error = "+50".parse::<TimePoint>().expect_err("no unit");
        assert!(error.starts_with("\"50\": "), "{error}");
    }
}
