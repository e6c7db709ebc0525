// SPDX-License-Identifier: GPL-2.0-only

//! Writes numbers, texts and JSON into a buffer of bytes.
//!
//! In: integers, texts. Out: their digits at the buffer's end. A replay writes millions of numbers, and the formatting
//! machinery of `std` takes most of its time: these do without it.

/// The largest integer up to which each one is exact in a double, which is what many readers of JSON have: 2^53.
pub(crate) const EXACT_IN_A_DOUBLE: u64 = 1 << 53;

/// Decimal.
#[inline]
pub(crate) fn push_decimal(out: &mut Vec<u8>, value: u64) {
    push_padded(out, value, 1);
}

/// Decimal, with a sign if it is negative.
pub(crate) fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_decimal(out, value.unsigned_abs());
}

/// Hexadecimal behind `0x`.
pub(crate) fn push_hex(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(b"0x");
    push_digits::<16>(out, value, 1);
}

/// Decimal of at least so many digits.
pub(crate) fn push_padded(out: &mut Vec<u8>, value: u64, digits: usize) {
    push_digits::<10>(out, value, digits);
}

/// Nanoseconds as `SECONDS.NNNNNNNNN`.
pub(crate) fn push_seconds(out: &mut Vec<u8>, nanoseconds: u64) {
    push_decimal(out, nanoseconds / 1_000_000_000);
    out.push(b'.');
    push_padded(out, nanoseconds % 1_000_000_000, 9);
}

/// Nanoseconds as `MICROSECONDS.NNN`.
pub(crate) fn push_microseconds(out: &mut Vec<u8>, nanoseconds: u64) {
    push_decimal(out, nanoseconds / 1_000);
    out.push(b'.');
    push_padded(out, nanoseconds % 1_000, 3);
}

/// An integer as JSON: a number as long as a double holds it exactly, else a string of its decimal digits.
pub(crate) fn push_json_unsigned(out: &mut Vec<u8>, value: u64) {
    if value <= EXACT_IN_A_DOUBLE {
        push_decimal(out, value);
    } else {
        out.push(b'"');
        push_decimal(out, value);
        out.push(b'"');
    }
}

/// The same for one that may be negative.
pub(crate) fn push_json_signed(out: &mut Vec<u8>, value: i64) {
    if value.unsigned_abs() <= EXACT_IN_A_DOUBLE {
        push_signed(out, value);
    } else {
        out.push(b'"');
        push_signed(out, value);
        out.push(b'"');
    }
}

/// A text as a JSON string, with its quotes. What is no UTF-8 in it is replaced.
pub(crate) fn push_json_text(out: &mut Vec<u8>, text: &[u8]) {
    if text
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
}

/// A text from the guest within a line: what is no UTF-8 is replaced, and control characters are written `\n` or `\x1b`,
/// so that a record stays one line and a terminal does nothing but show it. Backslashes stay single.
pub(crate) fn push_plain(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        out.extend_from_slice(text);
        return;
    }
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            letter if letter.is_control() => {
                out.extend_from_slice(format!("\\x{:02x}", u32::from(letter)).as_bytes());
            }
            letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// The base is known when this is compiled, so that no division is left.
#[inline]
fn push_digits<const BASE: u64>(out: &mut Vec<u8>, mut value: u64, least: usize) {
    // 64 bits have 20 decimal digits at most.
    let mut digits = [b'0'; 20];
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        let [low, ..] = (value % BASE).to_le_bytes();
        *digit = if low < 10 {
            low.wrapping_add(b'0')
        } else {
            low.wrapping_sub(10).wrapping_add(b'a')
        };
        value /= BASE;
        used = used.saturating_add(1);
        if value == 0 && used >= least {
            break;
        }
    }
    out.extend_from_slice(
        digits
            .get(digits.len().saturating_sub(used)..)
            .unwrap_or_default(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(push: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        push(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn numbers_have_their_digits() {
        check(|out| push_decimal(out, 0), "0");
        check(|out| push_decimal(out, u64::MAX), "18446744073709551615");
        check(|out| push_signed(out, i64::MIN), "-9223372036854775808");
        check(|out| push_hex(out, 0), "0x0");
        check(|out| push_hex(out, u64::MAX), "0xffffffffffffffff");
        check(|out| push_padded(out, 7, 3), "007");
        check(|out| push_seconds(out, 1_000_000_001), "1.000000001");
        check(|out| push_microseconds(out, 1_002), "1.002");
    }

    #[test]
    fn json_numbers_beyond_a_double_are_strings() {
        check(
            |out| push_json_unsigned(out, 9_007_199_254_740_992),
            "9007199254740992",
        );
        check(
            |out| push_json_unsigned(out, 9_007_199_254_740_993),
            "\"9007199254740993\"",
        );
        check(
            |out| push_json_signed(out, i64::MIN),
            "\"-9223372036854775808\"",
        );
        check(|out| push_json_signed(out, -1), "-1");
    }

    #[test]
    fn json_texts_are_escaped() {
        check(|out| push_json_text(out, b"a b"), "\"a b\"");
        check(
            |out| push_json_text(out, b"a\"\\\n\x01"),
            r#""a\"\\\n\u0001""#,
        );
        check(|out| push_json_text(out, b"\xff"), "\"\u{fffd}\"");
    }
}
