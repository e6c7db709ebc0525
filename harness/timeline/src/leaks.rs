// SPDX-License-Identifier: GPL-2.0-only

//! Parses what `/sys/kernel/debug/kmemleak` reports after a scan.
//!
//! In: the file's text. Out: one [`Leak`] for each object, in the file's order.
//! Pure; a text that is no such report is an error, not an empty list.
//! Source: `__print_unreferenced()`, `mm/kmemleak.c`, Linux 7.3.

use crate::{Leak, names::demangle};

/// A report with a line that belongs to no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the kmemleak report belongs to no object: {text:?}")]
pub struct LeakReportError {
    /// The line's number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// Parses a report; an empty one has no leaks.
///
/// # Errors
/// If a line that is not blank stands before the first object.
pub fn parse_leaks(report: &str) -> Result<Vec<Leak>, LeakReportError> {
    let mut leaks: Vec<Leak> = Vec::new();
    for (index, line) in report.lines().enumerate() {
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if text.starts_with("unreferenced object") {
            leaks.push(Leak {
                object: text.trim_end_matches(':').to_owned(),
                allocator: String::new(),
                backtrace: Vec::new(),
            });
            continue;
        }
        let Some(leak) = leaks.last_mut() else {
            return Err(LeakReportError {
                line: index + 1,
                text: text.to_owned(),
            });
        };
        if text.starts_with("comm ") {
            text.clone_into(&mut leak.allocator);
        } else if let Some(frame) = backtrace_frame(line) {
            leak.backtrace.push(frame);
        }
    }
    Ok(leaks)
}

/// A frame's line is indented by four and holds `symbol+0xoffset/0xsize`; hex dumps never hold a `+0x`.
fn backtrace_frame(line: &str) -> Option<String> {
    let frame = line.strip_prefix("    ")?.trim_end();
    let Some((symbol, rest)) = frame.split_once("+0x") else {
        return frame.starts_with("0x").then(|| frame.to_owned());
    };
    (!symbol.contains(' ')).then(|| format!("{}+0x{rest}", demangle(symbol)))
}

#[cfg(test)]
mod tests {
    use super::{LeakReportError, parse_leaks};

    const REPORT: &str = "\
unreferenced object 0xffff888003a4f000 (size 64):
  comm \"init\", pid 1, jiffies 4294937300
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 2b 30 78 00 00 00 00 00  ........+0x.....
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    __kmalloc_noprof+0x1c3/0x2a0
    _RNvCs2kMns6DTmS1_18test_deferred_main4body+0x12/0x40 [test_deferred]
    0xffffffffa0001234
unreferenced object (percpu) 0x607f8000 (size 8):
  comm \"init\", pid 1, jiffies 4294937301
  backtrace (crc abc):
";

    #[test]
    fn every_object_is_listed_with_its_stack() {
        let leaks = parse_leaks(REPORT).expect("report of 7.3's shape");
        assert_eq!(leaks.len(), 2);
        assert_eq!(
            leaks[0].object,
            "unreferenced object 0xffff888003a4f000 (size 64)"
        );
        assert_eq!(
            leaks[0].allocator,
            "comm \"init\", pid 1, jiffies 4294937300"
        );
        assert_eq!(
            leaks[0].backtrace,
            [
                "__kmalloc_noprof+0x1c3/0x2a0",
                "test_deferred_main::body+0x12/0x40 [test_deferred]",
                "0xffffffffa0001234"
            ]
        );
        assert_eq!(
            leaks[1].object,
            "unreferenced object (percpu) 0x607f8000 (size 8)"
        );
        assert!(leaks[1].backtrace.is_empty());
    }

    #[test]
    fn empty_report_has_no_leaks() {
        assert_eq!(parse_leaks("\n"), Ok(Vec::new()));
    }

    #[test]
    fn text_that_is_no_report_is_an_error() {
        assert_eq!(
            parse_leaks("\ncat: write error\n"),
            Err(LeakReportError {
                line: 2,
                text: "cat: write error".to_owned()
            })
        );
    }
}
