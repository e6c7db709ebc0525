// SPDX-License-Identifier: GPL-2.0-only

//! Writes call stacks folded: what flame graph tools read.
//!
//! In: the time spent in each call stack. Out: a line `ROOT;..;LEAF NANOSECONDS` for each one that took any time itself.
//! A `;` in a name (Rust has it in arrays) is written `:`, a newline as a blank.

use std::io;

use super::StackSink;
use crate::numbers;

/// Writes folded stacks.
#[derive(Debug)]
pub struct Folded<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: io::Write> Folded<W> {
    /// Writes lines to `out`.
    #[must_use]
    pub fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: io::Write> StackSink for Folded<W> {
    fn stack(&mut self, frames: &[&str], self_ns: u64, _calls: u64) -> io::Result<()> {
        if self_ns == 0 || frames.is_empty() {
            return Ok(());
        }
        self.line.clear();
        for (place, frame) in frames.iter().enumerate() {
            if place > 0 {
                self.line.push(b';');
            }
            self.line.extend(frame.bytes().map(|byte| match byte {
                b';' => b':',
                b'\n' | b'\r' => b' ',
                byte => byte,
            }));
        }
        self.line.push(b' ');
        numbers::push_decimal(&mut self.line, self_ns);
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_with_time_have_a_line() {
        let mut out = Vec::new();
        let mut folded = Folded::new(&mut out);
        for (frames, self_ns) in [
            (&["a", "b"][..], 5),
            (&["a"], 0),
            (&["<[u8; 4] as T>::f\n"], 7),
            (&[], 9),
        ] {
            folded
                .stack(frames, self_ns, 1)
                .expect("a vector takes all");
        }
        folded.finish().expect("a vector takes all");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "a;b 5\n<[u8: 4] as T>::f  7\n"
        );
    }
}
