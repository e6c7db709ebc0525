// SPDX-License-Identifier: GPL-2.0-only

//! Text for people: times with units, and guest text made safe to show.
//!
//! In: nanoseconds, and text that may hold anything. Out: short text for a terminal or a report.
//! Does not: show times exactly; where exactness counts, `deferinit-check` words them.

use std::time::Duration;

/// A time with the largest unit it fills and two decimals, rounded to the nearest: `12.34 ms`.
/// Times under a microsecond are whole: `999 ns`.
pub(crate) fn time(nanoseconds: i64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000, "us"), (1_000_000, "ms"), (1_000_000_000, "s")];
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    if size < 1_000 {
        return format!("{sign}{size} ns");
    }
    let mut shown = String::new();
    for (unit, name) in UNITS {
        // A hundredth of a unit is a whole number of nanoseconds for each of them.
        let hundredths = (size + unit / 200) / (unit / 100);
        shown = format!("{sign}{}.{:02} {name}", hundredths / 100, hundredths % 100);
        // 999.999 us round to 1000.00 us, which is 1.00 ms.
        if hundredths < 100_000 {
            break;
        }
    }
    shown
}

/// Wall time in seconds with one decimal: `2.3 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The least and the greatest value as `1 ms to 2 ms`; one of them if both read the same, nothing
/// if there is none.
pub(crate) fn range<T: PartialOrd + Copy>(
    values: impl Iterator<Item = T>,
    show: impl Fn(T) -> String,
) -> String {
    let ends = values.fold(None, |ends: Option<(T, T)>, value| {
        let (least, greatest) = ends.unwrap_or((value, value));
        Some((
            if value < least { value } else { least },
            if value > greatest { value } else { greatest },
        ))
    });
    let Some((least, greatest)) = ends.map(|(least, greatest)| (show(least), show(greatest)))
    else {
        return String::new();
    };
    if least == greatest {
        least
    } else {
        format!("{least} to {greatest}")
    }
}

/// `1 item`, `8 items`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The text without what a terminal or an XML reader would take for something else than text:
/// escape sequences lose their escape, control characters but newline and tab go, as do the two
/// characters that Unicode has but XML has not.
pub(crate) fn clean(text: &str) -> String {
    let is_shown = |character: &char| match character {
        '\n' | '\t' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        character => !character.is_control(),
    };
    text.chars().filter(is_shown).collect()
}

/// [`clean`], and on one line.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_a_unit_and_carries_when_it_rounds() {
        for (nanoseconds, expected) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (-1, "-1 ns"),
            (1_000, "1.00 us"),
            (12_344_999, "12.34 ms"),
            (12_345_000, "12.35 ms"),
            (999_994, "999.99 us"),
            (999_995, "1.00 ms"),
            (999_999_999, "1.00 s"),
            (-1_250_000_000, "-1.25 s"),
            (75_000_000_000, "75.00 s"),
            (i64::MAX, "9223372036.85 s"),
            (i64::MIN, "-9223372036.85 s"),
        ] {
            assert_eq!(time(nanoseconds), expected, "{nanoseconds}");
        }
    }

    #[test]
    fn clean_text_holds_no_control_characters() {
        let text = "a\u{1b}[31mb\u{7}\r\nc\td\u{0}\u{9b}\u{ffff}";
        assert_eq!(clean(text), "a[31mb\nc\td");
        assert_eq!(clean_line(text), "a[31mb c d");
    }
}
