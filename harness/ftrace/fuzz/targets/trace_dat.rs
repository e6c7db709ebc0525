// SPDX-License-Identifier: GPL-2.0-only

//! Whole trace.dat files: any bytes open or are refused, strictly and leniently, and what opens can be gone through.

#![no_main]

use deferinit_ftrace::trace_dat::{Opening, Text, TraceFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut records_found = Vec::new();
    for opening in [Opening::Strict, Opening::Lenient] {
        let Ok(file) = TraceFile::open(bytes, opening) else { continue };
        let mut found = 0_u64;
        for buffer in file.buffers() {
            let mut records = file.records(buffer);
            // A file of some KiB can hold a zstd bomb of many MiB: some of it says as much as all.
            while found < 20_000 && records.advance() {
                found += 1;
                let _ = (records.head().is_some(), records.following().is_some(), records.payload().is_some());
            }
            if let Some(part) = buffer.text {
                let _ = file.trace_text(part).is_ok();
            }
        }
        for text in [Text::Kallsyms, Text::PrintkFormats, Text::SavedCmdlines] {
            let _ = file.text(text).is_ok();
        }
        let _ = (file.symbols().is_ok(), file.saved_cmdlines().is_ok());
        records_found.push(found);
    }
    // What opens strictly has the same records leniently.
    if let [strict, lenient] = records_found[..] {
        assert_eq!(strict, lenient);
    }
});
