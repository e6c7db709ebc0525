// SPDX-License-Identifier: GPL-2.0-only

//! Words for times and bounds, exact to the nanosecond.
//!
//! In: nanoseconds and bounds. Out: text for a kernel developer, such as `9.120 ms` and `0 ns..8 ms`.
//! Does not: round; a time that needs more digits gets them.

use deferinit_scenario::{Bounds, CountBounds, PercentileBounds};

/// Units by size in nanoseconds, largest first, with the number of decimals that reach down to 1 ns.
const UNITS: [(u64, usize, &str); 3] = [
    (1_000_000_000, 9, "s"),
    (1_000_000, 6, "ms"),
    (1_000, 3, "us"),
];

/// A time with its unit: no decimals if it is a whole number of the unit, else three, or all if three are not exact.
pub(crate) fn time(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    format!("{sign}{}", duration(nanoseconds.unsigned_abs()))
}

/// The same for a time that is never negative.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let Some((size, decimals, unit)) = UNITS.into_iter().find(|(size, ..)| nanoseconds >= *size)
    else {
        return format!("{nanoseconds} ns");
    };
    let (whole, part) = (nanoseconds / size, nanoseconds % size);
    if part == 0 {
        return format!("{whole} {unit}");
    }
    let mut digits = format!("{part:0decimals$}");
    while digits.len() > 3 && digits.ends_with('0') {
        digits.pop();
    }
    format!("{whole}.{digits} {unit}")
}

/// What a time may be: `50 ms..58 ms`, `at least 50 ms`.
pub(crate) fn time_bounds(bounds: &Bounds) -> String {
    range(
        bounds.min.map(|min| duration(min.0)),
        bounds.max.map(|max| duration(max.0)),
    )
}

/// What a count may be: `exactly 8`, `at least 2`.
pub(crate) fn count_bounds(bounds: &CountBounds) -> String {
    range(
        bounds.at_least.map(|least| least.to_string()),
        bounds.at_most.map(|most| most.to_string()),
    )
}

fn range(least: Option<String>, most: Option<String>) -> String {
    match (least, most) {
        (Some(least), Some(most)) if least == most => format!("exactly {least}"),
        (Some(least), Some(most)) => format!("{least}..{most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "anything".to_owned(),
    }
}

/// What many times may be: `each 50 ms..58 ms, p99 at most 57 ms, total at most 1 s`.
pub(crate) fn times_bounds(
    each: &Bounds,
    percentiles: &[PercentileBounds],
    total_max: Option<u64>,
) -> String {
    let mut parts = Vec::new();
    if !each.is_empty() {
        parts.push(format!("each {}", time_bounds(each)));
    }
    parts.extend(
        percentiles
            .iter()
            .map(|one| format!("{} {}", one.p, time_bounds(&one.bounds))),
    );
    parts.extend(total_max.map(|most| format!("total at most {}", duration(most))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use deferinit_scenario::{Bounds, CountBounds, Nanos};

    use super::{count_bounds, time, time_bounds};

    #[test]
    fn time_is_exact_and_short() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (-1, "-1 ns"),
            (1_000, "1 us"),
            (1_001, "1.001 us"),
            (50_000_000, "50 ms"),
            (9_120_000, "9.120 ms"),
            (8_000_001, "8.000001 ms"),
            (9_500_000, "9.500 ms"),
            (-1_250_000_000, "-1.250 s"),
            (1_000_000_001, "1.000000001 s"),
            (i64::MIN, "-9223372036.854775808 s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(time(nanoseconds), text);
        }
    }

    #[test]
    fn bounds_name_the_sides_they_have() {
        let bounds = |min: Option<u64>, max: Option<u64>| Bounds {
            min: min.map(Nanos),
            max: max.map(Nanos),
        };
        assert_eq!(time_bounds(&bounds(Some(0), Some(8_000_000))), "0 ns..8 ms");
        assert_eq!(time_bounds(&bounds(Some(5), None)), "at least 5 ns");
        assert_eq!(time_bounds(&bounds(None, Some(5))), "at most 5 ns");
        assert_eq!(time_bounds(&bounds(None, None)), "anything");
        assert_eq!(
            count_bounds(&CountBounds {
                at_least: Some(8),
                at_most: Some(8)
            }),
            "exactly 8"
        );
    }
}
