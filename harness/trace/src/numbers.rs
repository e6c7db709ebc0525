// SPDX-License-Identifier: GPL-2.0-only

//! Writes numbers, texts and JSON into a buffer of bytes.
//!
//! In: integers, texts. Out: their digits at the buffer's end, made by [`crate::text`].

use crate::text;
pub(crate) use crate::text::{push_decimal, push_signed};

/// The largest integer up to which each one is exact in a double, which is what many readers of JSON have: 2^53.
pub(crate) const EXACT_IN_A_DOUBLE: u64 = 1 << 53;

/// Hexadecimal behind `0x`.
pub(crate) fn push_hex(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(b"0x");
    text::push_hex(out, value);
}

/// Decimal of at least so many digits, 20 at most.
pub(crate) fn push_padded(out: &mut Vec<u8>, value: u64, digits: usize) {
    let used = value.checked_ilog10().unwrap_or(0).saturating_add(1);
    let zeros = digits
        .min(20)
        .saturating_sub(usize::try_from(used).unwrap_or(20));
    out.extend(std::iter::repeat_n(b'0', zeros));
    push_decimal(out, value);
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
