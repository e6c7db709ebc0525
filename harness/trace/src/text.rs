// SPDX-License-Identifier: GPL-2.0-only

//! Writes numbers and durations as text, fast.
//!
//! In: integers. Out: their text at the end of a buffer. `core::fmt` is several times slower, and a replay writes
//! millions of lines.

const BLANKS: &[u8; 64] = &[b' '; 64];

/// Decimal digits of a number.
#[inline]
pub(crate) fn push_decimal(out: &mut Vec<u8>, value: u64) {
    push_padded(out, value, 0);
}

/// Decimal digits, with blanks before them up to a width of at most 24.
#[inline]
pub(crate) fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut line = [b' '; 24];
    let digits = fill(&mut line, value);
    let start = line.len() - digits.max(width.min(line.len()));
    out.extend_from_slice(line.get(start..).unwrap_or_default());
}

/// Nanoseconds as microseconds with three decimals, with blanks before them up to a width of at most 24.
#[inline]
pub(crate) fn push_microseconds(out: &mut Vec<u8>, ns: u64, width: usize) {
    let mut line = [b' '; 24];
    let (whole, decimals) = line.split_at_mut(20);
    let digits = fill(whole, ns / 1000) + 4;
    let [hundreds, tens, ones] = thousandths(ns);
    decimals.copy_from_slice(&[b'.', hundreds, tens, ones]);
    let start = line.len() - digits.max(width.min(line.len()));
    out.extend_from_slice(line.get(start..).unwrap_or_default());
}

/// Puts decimal digits at the end of a line of 20 bytes or more; how many.
#[inline]
fn fill(line: &mut [u8], value: u64) -> usize {
    let mut rest = value;
    let mut count = 0;
    for place in line.iter_mut().rev() {
        let [digit, ..] = (rest % 10).to_le_bytes();
        *place = b'0' | digit;
        count += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    count
}

/// A signed number.
pub(crate) fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_decimal(out, value.unsigned_abs());
}

/// Lower-case hexadecimal digits, without a prefix.
pub(crate) fn push_hex(out: &mut Vec<u8>, value: u64) {
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let [digit, ..] = ((value >> (4 * place)) & 0xf).to_le_bytes();
        out.push(if digit < 10 {
            b'0' | digit
        } else {
            b'a' + digit - 10
        });
    }
}

/// The last three digits of a number, with zeros.
#[inline]
pub(crate) fn thousandths(value: u64) -> [u8; 3] {
    let [hundreds, ..] = (value / 100 % 10).to_le_bytes();
    let [tens, ..] = (value / 10 % 10).to_le_bytes();
    let [ones, ..] = (value % 10).to_le_bytes();
    [b'0' | hundreds, b'0' | tens, b'0' | ones]
}

/// Blanks.
#[inline]
pub(crate) fn push_blanks(out: &mut Vec<u8>, count: usize) {
    let mut left = count;
    while left > 0 {
        let part = left.min(BLANKS.len());
        out.extend_from_slice(BLANKS.get(..part).unwrap_or_default());
        left -= part;
    }
}

/// Nanoseconds in the largest unit that leaves a digit before the point: `999 ns`, `1.234 us`, `12.345 s`.
#[must_use]
pub fn scaled(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    format!("{}.{:03} {name}", ns / unit, ns % unit / (unit / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("digits are ASCII")
    }

    #[test]
    fn numbers_are_written_as_fmt_writes_them() {
        for value in [0, 1, 9, 10, 15, 16, 99, 100, 4095, 1 << 32, u64::MAX] {
            assert_eq!(written(|out| push_decimal(out, value)), value.to_string());
            assert_eq!(
                written(|out| push_padded(out, value, 12)),
                format!("{value:12}")
            );
            assert_eq!(
                written(|out| push_microseconds(out, value, 12)),
                format!("{:>12}", format!("{}.{:03}", value / 1000, value % 1000))
            );
            assert_eq!(written(|out| push_hex(out, value)), format!("{value:x}"));
            assert_eq!(
                thousandths(value),
                *format!("{:03}", value % 1000).as_bytes()
            );
        }
        for value in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(written(|out| push_signed(out, value)), value.to_string());
        }
        assert_eq!(written(|out| push_blanks(out, 130)), " ".repeat(130));
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.000 us"),
            (999_999, "999.999 us"),
            (1_234_567, "1.234 ms"),
            (12_345_678_901, "12.345 s"),
        ] {
            assert_eq!(scaled(ns), text);
        }
    }
}
