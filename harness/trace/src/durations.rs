// SPDX-License-Identifier: GPL-2.0-only

//! Summarises durations: least, average, percentiles, largest; and histograms of them.
//!
//! In: nanoseconds, one after the other. Out: a [`Summary`]; a [`Histogram`] as text or to be serialised.
//!
//! Percentiles are by nearest rank, out of log-linear buckets, 64 in each power of two: exact below 64 ns, and wrong by at
//! most 1/128 (0.79 %) of the value above; they never lie outside of least and largest. Nothing else is rounded. Memory
//! is at most 30 KiB whatever the durations are.

use serde::Serialize;

/// Buckets in each power of two.
const PER_OCTAVE: u64 = 64;

/// Buckets of a linear histogram at most.
pub const MOST_BUCKETS: u64 = 10_000;

/// Characters of a histogram's longest bar.
const BAR: u64 = 52;

/// Durations that were counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    count: u64,
    total_ns: u128,
    min_ns: u64,
    max_ns: u64,
    /// As long as the largest duration needs.
    buckets: Vec<u64>,
}

/// What durations come to, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: u64,
    /// Their sum; `u64::MAX` if it does not fit.
    pub total_ns: u64,
    /// The least.
    pub min_ns: u64,
    /// The average, rounded down.
    pub avg_ns: u64,
    /// What half of them do not exceed.
    pub p50_ns: u64,
    /// What 90 % of them do not exceed.
    pub p90_ns: u64,
    /// What 99 % of them do not exceed.
    pub p99_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

impl Durations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a duration.
    pub fn add(&mut self, ns: u64) {
        if self.count == 0 || ns < self.min_ns {
            self.min_ns = ns;
        }
        self.max_ns = self.max_ns.max(ns);
        self.count = self.count.saturating_add(1);
        self.total_ns = self.total_ns.saturating_add(u128::from(ns));
        let place = bucket_of(ns);
        if self.buckets.len() <= place {
            self.buckets.resize(place.saturating_add(1), 0);
        }
        if let Some(count) = self.buckets.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that `percent` of them do not exceed; `None` if there is none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = u128::from(self.count)
            .saturating_mul(u128::from(percent))
            .div_ceil(100)
            .max(1);
        let mut seen = 0_u128;
        for (bucket, count) in (0_u64..).zip(&self.buckets) {
            seen = seen.saturating_add(u128::from(*count));
            if seen >= rank {
                return Some(middle(bucket).clamp(self.min_ns, self.max_ns));
            }
        }
        Some(self.max_ns)
    }

    /// What they come to; `None` if there is none, which is not the same as 0.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        Some(Summary {
            count: self.count,
            total_ns: u64::try_from(self.total_ns).unwrap_or(u64::MAX),
            min_ns: self.min_ns,
            avg_ns: u64::try_from(self.total_ns.checked_div(u128::from(self.count))?)
                .unwrap_or(u64::MAX),
            p50_ns: self.percentile(50)?,
            p90_ns: self.percentile(90)?,
            p99_ns: self.percentile(99)?,
            max_ns: self.max_ns,
        })
    }
}

fn bucket_of(value: u64) -> usize {
    let octave = u64::from(value.checked_ilog2().unwrap_or(0)).saturating_sub(6);
    let bucket = octave
        .wrapping_mul(PER_OCTAVE)
        .wrapping_add(value.wrapping_shr(u32::try_from(octave).unwrap_or(0)));
    usize::try_from(bucket).unwrap_or(0)
}

/// The value that stands for a bucket.
fn middle(bucket: u64) -> u64 {
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    let shift = u32::try_from(octave).unwrap_or(0);
    let lowest = bucket
        .saturating_sub(octave.saturating_mul(PER_OCTAVE))
        .wrapping_shl(shift);
    let width = 1_u64.wrapping_shl(shift);
    lowest.saturating_add(width.saturating_sub(1) / 2)
}

/// How durations are put into buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Scale {
    /// A bucket for each power of two: 0, 1, 2 to 3, 4 to 7, and so on.
    Log2,
    /// Buckets of one width, what is below and above in a bucket each.
    Linear {
        /// Where the first bucket starts, in nanoseconds.
        from_ns: u64,
        /// How wide each is, in nanoseconds.
        width_ns: u64,
        /// How many there are.
        buckets: u64,
    },
}

/// Why there cannot be such a histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// Buckets have no width.
    #[error("a bucket must be at least 1 ns wide")]
    NoWidth,
    /// The range holds nothing.
    #[error("the range ends at {to_ns} ns, which is not behind its start at {from_ns} ns")]
    Empty {
        /// Its start.
        from_ns: u64,
        /// Its end.
        to_ns: u64,
    },
    /// There would be too many buckets.
    #[error(
        "{from_ns} ns to {to_ns} ns in steps of {width_ns} ns are more than {MOST_BUCKETS} buckets"
    )]
    TooMany {
        /// The range's start.
        from_ns: u64,
        /// Its end.
        to_ns: u64,
        /// The buckets' width.
        width_ns: u64,
    },
}

impl Scale {
    /// Buckets of `width_ns` from `from_ns` to `to_ns`; the last one may reach beyond.
    ///
    /// # Errors
    /// [`ScaleError`].
    pub fn linear(from_ns: u64, to_ns: u64, width_ns: u64) -> Result<Self, ScaleError> {
        if width_ns == 0 {
            return Err(ScaleError::NoWidth);
        }
        if to_ns <= from_ns {
            return Err(ScaleError::Empty { from_ns, to_ns });
        }
        let buckets = to_ns.saturating_sub(from_ns).div_ceil(width_ns);
        if buckets > MOST_BUCKETS {
            return Err(ScaleError::TooMany {
                from_ns,
                to_ns,
                width_ns,
            });
        }
        Ok(Self::Linear {
            from_ns,
            width_ns,
            buckets,
        })
    }
}

/// A histogram of durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    scale: Scale,
    below: u64,
    counts: Vec<u64>,
    above: u64,
}

/// One bucket of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The least duration in it, in nanoseconds; `None` for what is below a linear range.
    pub from_ns: Option<u64>,
    /// One more than the largest duration in it; `None` for what is above a linear range, and for the last power of two.
    pub to_ns: Option<u64>,
    /// How many durations are in it.
    pub count: u64,
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            below: 0,
            counts: Vec::new(),
            above: 0,
        }
    }

    /// How durations are put into its buckets.
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Counts a duration.
    pub fn add(&mut self, ns: u64) {
        let place = match self.scale {
            Scale::Log2 => ns
                .checked_ilog2()
                .map_or(0, |bit| u64::from(bit).saturating_add(1)),
            Scale::Linear {
                from_ns,
                width_ns,
                buckets,
            } => {
                let Some(beyond) = ns.checked_sub(from_ns) else {
                    self.below = self.below.saturating_add(1);
                    return;
                };
                match beyond.checked_div(width_ns) {
                    Some(place) if place < buckets => place,
                    _ => {
                        self.above = self.above.saturating_add(1);
                        return;
                    }
                }
            }
        };
        let place = usize::try_from(place).unwrap_or(0);
        if self.counts.len() <= place {
            self.counts.resize(place.saturating_add(1), 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// The buckets from the first to the last that holds something, those between included; nothing if none does.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        let first = self.counts.iter().position(|count| *count > 0);
        let mut buckets = Vec::new();
        let start = |place: u64| match self.scale {
            Scale::Log2 => match place.checked_sub(1) {
                None => Some(0),
                Some(bit) => 1_u64.checked_shl(u32::try_from(bit).unwrap_or(u32::MAX)),
            },
            Scale::Linear {
                from_ns, width_ns, ..
            } => from_ns.checked_add(place.saturating_mul(width_ns)),
        };
        if self.below > 0 {
            buckets.push(Bucket {
                from_ns: None,
                to_ns: start(0),
                count: self.below,
            });
        }
        for (place, count) in (0_u64..).zip(&self.counts) {
            if first.is_some_and(|first| u64::try_from(first).is_ok_and(|first| place >= first)) {
                buckets.push(Bucket {
                    from_ns: start(place),
                    to_ns: start(place.saturating_add(1)),
                    count: *count,
                });
            }
        }
        if self.above > 0 {
            let end = match self.scale {
                Scale::Log2 => None,
                Scale::Linear { buckets, .. } => start(buckets),
            };
            buckets.push(Bucket {
                from_ns: end,
                to_ns: None,
                count: self.above,
            });
        }
        buckets
    }

    /// A line for each bucket, with a bar as long as its share of the largest one: `[1024, 2048)   12 |@@@@    |`, in
    /// nanoseconds. Empty if nothing was counted.
    #[must_use]
    pub fn text(&self) -> String {
        let buckets = self.buckets();
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
        let ranges: Vec<String> = buckets.iter().map(Bucket::range).collect();
        let width = ranges.iter().map(String::len).max().unwrap_or(0);
        let digits = most.checked_ilog10().unwrap_or(0).saturating_add(1).max(6);
        let mut text = String::new();
        for (bucket, range) in buckets.iter().zip(&ranges) {
            let length = u128::from(bucket.count)
                .saturating_mul(u128::from(BAR))
                .checked_div(u128::from(most))
                .unwrap_or(0);
            let bar = "@".repeat(usize::try_from(length).unwrap_or(0));
            let (digits, longest) = (
                usize::try_from(digits).unwrap_or(0),
                usize::try_from(BAR).unwrap_or(0),
            );
            text.push_str(&format!(
                "{range:<width$} {:>digits$} |{bar:<longest$}|\n",
                bucket.count
            ));
        }
        text
    }
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Histogram", 2)?;
        object.serialize_field("scale", &self.scale)?;
        object.serialize_field("buckets", &self.buckets())?;
        object.end()
    }
}

impl Bucket {
    fn range(&self) -> String {
        match (self.from_ns, self.to_ns) {
            (Some(from), Some(to)) if to == from.saturating_add(1) => format!("[{from}]"),
            (Some(from), Some(to)) => format!("[{from}, {to})"),
            (None, Some(to)) => format!("(..., {to})"),
            (Some(from), None) => format!("[{from}, ...)"),
            (None, None) => "(..., ...)".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::new();
        values.into_iter().for_each(|value| durations.add(value));
        durations
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(of([]).summary(), None);
        assert_eq!(of([]).percentile(50), None);
        assert_eq!(of([0]).summary().map(|summary| summary.max_ns), Some(0));
    }

    #[test]
    fn small_values_are_exact() {
        let summary = of(1..=100).summary().expect("there are values");
        assert_eq!((summary.count, summary.total_ns), (100, 5050));
        assert_eq!(
            (summary.min_ns, summary.avg_ns, summary.max_ns),
            (1, 50, 100)
        );
        assert_eq!(
            (summary.p50_ns, summary.p90_ns, summary.p99_ns),
            (50, 90, 99)
        );
    }

    #[test]
    fn percentiles_are_within_the_stated_error() {
        let mut state = 1_u64;
        let mut values: Vec<u64> = (0..20_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 20) >> ((state >> 10) % 40)
            })
            .chain([0, u64::MAX, u64::MAX - 1])
            .collect();
        let durations = of(values.iter().copied());
        values.sort_unstable();
        for percent in [1_usize, 10, 50, 90, 99, 100] {
            let exact = values[(values.len() * percent).div_ceil(100) - 1];
            let found = durations
                .percentile(percent as u64)
                .expect("there are values");
            assert!(
                u128::from(found.abs_diff(exact)) * 128 <= u128::from(exact),
                "p{percent} is {found} instead of {exact}"
            );
        }
    }

    #[track_caller]
    fn check(scale: Scale, values: &[u64], expected: &str) {
        let mut histogram = Histogram::new(scale);
        values.iter().for_each(|value| histogram.add(*value));
        let text: String = histogram
            .text()
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{}\n", words.join(" ").replace(['@', '|'], "").trim_end())
            })
            .collect();
        assert_eq!(text, expected);
        let total: u64 = histogram.buckets().iter().map(|bucket| bucket.count).sum();
        assert_eq!(total, values.len() as u64);
    }

    #[test]
    fn log2_buckets_hold_their_powers() {
        check(
            Scale::Log2,
            &[0, 1, 2, 3, 4, 9],
            "[0] 1\n[1] 1\n[2, 4) 2\n[4, 8) 1\n[8, 16) 1\n",
        );
        check(Scale::Log2, &[u64::MAX], "[9223372036854775808, ...) 1\n");
        check(Scale::Log2, &[], "");
    }

    #[test]
    fn linear_buckets_count_what_is_outside() {
        let scale = Scale::linear(10, 30, 10).expect("it is a range");
        check(
            scale,
            &[9, 10, 19, 20, 30, 31],
            "(..., 10) 1\n[10, 20) 2\n[20, 30) 1\n[30, ...) 2\n",
        );
    }

    #[test]
    fn ranges_that_cannot_be_are_named() {
        assert_eq!(Scale::linear(0, 10, 0), Err(ScaleError::NoWidth));
        assert_eq!(
            Scale::linear(10, 10, 1),
            Err(ScaleError::Empty {
                from_ns: 10,
                to_ns: 10
            })
        );
        assert!(Scale::linear(0, MOST_BUCKETS, 1).is_ok());
        assert!(matches!(
            Scale::linear(0, u64::MAX, 1),
            Err(ScaleError::TooMany { .. })
        ));
    }

    #[test]
    fn the_longest_bar_is_that_of_the_fullest_bucket() {
        let mut histogram = Histogram::new(Scale::Log2);
        [1, 2, 2].into_iter().for_each(|value| histogram.add(value));
        let bars: Vec<usize> = histogram
            .text()
            .lines()
            .map(|line| line.matches('@').count())
            .collect();
        assert_eq!(bars, [26, 52]);
    }
}
