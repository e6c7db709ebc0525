// SPDX-License-Identifier: GPL-2.0-only

//! Constant texts of the kernel by their addresses.
//!
//! In: the text of `printk_formats`. Out: the text at an address that a field of a record holds: the name of an RCU
//! flavour, the format of a `trace_printk()`.
//! Source: `t_show()` in `kernel/trace/trace_printk.c`, Linux 7.3.

use std::collections::BTreeMap;

/// Texts by their addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrintkFormats {
    texts: BTreeMap<u64, String>,
}

impl PrintkFormats {
    /// Reads the text of `printk_formats`: `0xADDRESS : "TEXT"` in each line. A line that is not like that is left out;
    /// bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let texts = String::from_utf8_lossy(text)
            .lines()
            .filter_map(|line| {
                let (address, text) = line.split_once(" : ")?;
                let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
                let text = text.strip_prefix('"')?.strip_suffix('"')?;
                Some((address, unescaped(text)))
            })
            .collect();
        Self { texts }
    }

    /// The text at an address.
    #[must_use]
    pub fn text(&self, address: u64) -> Option<&str> {
        self.texts.get(&address).map(String::as_str)
    }
}

/// What the kernel has written with a backslash: `\n`, `\t`, `\\` and `\"`.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_their_addresses_and_lines_that_are_none_are_left_out() {
        let formats = PrintkFormats::parse(
            b"0xffffffff8189df80 : \"rcu_preempt\"\n0x10 : \"a\\tb \\\"c\\\" \\\\ %d\\n\"\nx : \"y\"\n0x11 : z\n0x12\n0x13 : \"\n0x14 : \"\\\"\n",
        );
        assert_eq!(formats.text(0xffff_ffff_8189_df80), Some("rcu_preempt"));
        assert_eq!(formats.text(0x10), Some("a\tb \"c\" \\ %d\n"));
        assert_eq!(formats.text(0x14), Some("\\"));
        for address in [0, 0x11, 0x12, 0x13] {
            assert_eq!(formats.text(address), None, "{address:#x}");
        }
    }
}
