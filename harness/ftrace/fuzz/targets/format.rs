// SPDX-License-Identifier: GPL-2.0-only

//! Texts of the traced machine: format files, `header_page`, `header_event`, kallsyms, statistics and task names. Any text
//! is read or refused, and the getters of a format that was read stay inside of every payload.

#![no_main]

use deferinit_ftrace::format::{EventFormat, Formats};
use deferinit_ftrace::page::PageLayout;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(format) = EventFormat::parse("system", &text) {
        let payload = [0xa5; 64];
        for length in 0..payload.len() {
            let payload = &payload[..length];
            for field in format.fields() {
                let _ = (
                    field.bytes(payload).is_ok(),
                    field.text(payload).is_ok(),
                    field.signed(payload).is_ok(),
                    field.unsigned(payload).is_ok(),
                );
            }
        }
        let mut formats = Formats::new();
        let added = formats.add("system", &text).is_ok();
        assert!(!added || formats.add("system", &text).is_err(), "an id belongs to one event");
    }
    let _ = PageLayout::parse(&text, include_str!("../../tests/data/linux-7.3.4/header_event")).is_ok();
    let _ = PageLayout::parse(include_str!("../../tests/data/linux-7.3.4/header_page"), &text).is_ok();
    let _ = Stats::parse(&text).is_ok();
    let _ = SavedCmdlines::parse(bytes).name(1).len();
    if let Ok(symbols) = Symbols::parse(&text) {
        for address in [0, 1, 0xffff_ffff_8100_0000, u64::MAX] {
            let _ = symbols.resolve(address).is_some();
        }
    }
});
