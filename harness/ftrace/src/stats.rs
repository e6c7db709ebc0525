// SPDX-License-Identifier: GPL-2.0-only

//! Parses `per_cpu/cpu<N>/stats`: the kernel's own count of what one CPU's ring buffer got, kept and lost.
//!
//! In: the text. Out: the counts. These decide whether a trace is whole; the marks on sub-buffers undercount.
//! Source: `tracing_stats_read` in `kernel/trace/trace.c`, Linux 7.3.

/// One CPU's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Records in the buffer that no reader took yet.
    pub entries: u64,
    /// Records that were overwritten before a reader took them.
    pub overrun: u64,
    /// Records that were lost since an interrupt wrapped the buffer during a commit.
    pub commit_overrun: u64,
    /// Bytes of the records in the buffer.
    pub bytes: u64,
    /// Time of the oldest record in the buffer.
    pub oldest_event: Time,
    /// Time at which the statistics were read.
    pub now: Time,
    /// Records that were dropped since the buffer was full and not to be overwritten.
    pub dropped_events: u64,
    /// Records that a reader took.
    pub read_events: u64,
}

/// A time as the statistics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Microseconds, cut off, of a clock that counts nanoseconds.
    Microseconds(u64),
    /// The value of a clock that counts something else (`counter`, `x86-tsc`).
    Count(u64),
}

/// Why a text is no statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A count is missing.
    #[error("stats has no line {0:?}")]
    NoLine(&'static str),
    /// A count is no number.
    #[error("stats: {key} is {value:?}, which is no count")]
    Value {
        /// Which one.
        key: &'static str,
        /// What stands there.
        value: String,
    },
}

impl Stats {
    /// Reads the text of one `stats` file. Lines it does not know are passed over.
    ///
    /// # Errors
    /// [`Error`] when a count is missing or no number: a missing count is not 0.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let value = |key: &'static str| {
            text.lines()
                .find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key))
                .map(|(_, value)| value.trim())
                .ok_or(Error::NoLine(key))
        };
        let wrong = |key, value: &str| Error::Value {
            key,
            value: value.to_owned(),
        };
        let count = |key| {
            let text = value(key)?;
            text.parse().map_err(|_| wrong(key, text))
        };
        let time = |key| {
            let text = value(key)?;
            Time::parse(text).ok_or_else(|| wrong(key, text))
        };
        Ok(Self {
            entries: count("entries")?,
            overrun: count("overrun")?,
            commit_overrun: count("commit overrun")?,
            bytes: count("bytes")?,
            oldest_event: time("oldest event ts")?,
            now: time("now ts")?,
            dropped_events: count("dropped events")?,
            read_events: count("read events")?,
        })
    }

    /// Records that are gone: a trace with any is not whole.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.overrun
            .saturating_add(self.commit_overrun)
            .saturating_add(self.dropped_events)
    }
}

impl Time {
    fn parse(text: &str) -> Option<Self> {
        let Some((seconds, microseconds)) = text.split_once('.') else {
            return text.parse().ok().map(Self::Count);
        };
        if microseconds.len() != 6 {
            return None;
        }
        let seconds: u64 = seconds.parse().ok()?;
        let microseconds: u64 = microseconds.parse().ok()?;
        seconds
            .checked_mul(1_000_000)?
            .checked_add(microseconds)
            .map(Self::Microseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "entries: 171667\noverrun: 3\ncommit overrun: 1\nbytes: 6868300\noldest event ts:     1.663633\n\
                        now ts:    12.000042\ndropped events: 2\nread events: 7\n";

    #[test]
    fn all_counts_are_read() {
        let stats = Stats::parse(TEXT).expect("the text is as the kernel writes it");
        assert_eq!(
            stats,
            Stats {
                entries: 171_667,
                overrun: 3,
                commit_overrun: 1,
                bytes: 6_868_300,
                oldest_event: Time::Microseconds(1_663_633),
                now: Time::Microseconds(12_000_042),
                dropped_events: 2,
                read_events: 7,
            }
        );
        assert_eq!(stats.lost(), 6);
    }

    #[test]
    fn a_counting_clock_shows_its_count() {
        let text = TEXT.replace("    1.663633", "1663633");
        let stats = Stats::parse(&text).expect("the text is as the kernel writes it");
        assert_eq!(stats.oldest_event, Time::Count(1_663_633));
    }

    #[test]
    fn a_missing_count_is_an_error() {
        for key in [
            "entries",
            "overrun",
            "commit overrun",
            "dropped events",
            "read events",
            "now ts",
        ] {
            let text: String = TEXT
                .lines()
                .filter(|line| !line.starts_with(&format!("{key}:")))
                .map(|l| format!("{l}\n"))
                .collect();
            assert_eq!(Stats::parse(&text), Err(Error::NoLine(key)));
        }
    }

    #[test]
    fn what_is_no_count_is_an_error() {
        for (from, to) in [
            ("overrun: 3", "overrun: -3"),
            ("overrun: 3", "overrun: x"),
            ("12.000042", "12.42"),
        ] {
            let error = Stats::parse(&TEXT.replacen(from, to, 1)).expect_err("the count is wrong");
            assert!(matches!(error, Error::Value { .. }), "{error}");
        }
    }
}
