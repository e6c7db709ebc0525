// SPDX-License-Identifier: GPL-2.0-only

//! Draws call stacks as a flame graph: one SVG that stands alone, with a click to zoom, a tip for each frame, and a search.
//!
//! In: the time spent in each call stack. Out: SVG 1.1. A frame is as wide as the time spent in it and in what it calls;
//! siblings stand in the order of their names. Frames narrower than [`NARROWEST`] are left out; the picture says how much
//! time they hold. At most [`MOST_FRAMES`] different frames are kept; time beyond that counts for the frame around it,
//! and the picture says how much it is.
//!
//! The crate that is known for this, inferno, is under a licence (CDDL) that GPL-2.0 does not go with.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;

use super::StackSink;

/// Different frames, each under its stack, that are kept at most.
pub const MOST_FRAMES: usize = 1 << 20;

/// The narrowest frame that is drawn, in pixels of the picture's own width.
pub const NARROWEST: f64 = 0.1;

const WIDTH: f64 = 1200.0;
const SIDE: f64 = 10.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 26.0;
const ROW: f64 = 17.0;

/// What a letter of the frames' font is wide, in pixels.
const LETTER: f64 = 7.0;

/// Zooms to the frame that was clicked: each frame says its first unit of time, its width in units, and its row. `Ctrl-F`
/// is the browser's, so a click on `search` asks for a text.
const SCRIPT: &str = r#"
'use strict';
const frames = Array.from(document.querySelectorAll('g.f'));
const left = 10, width = 1180;
const number = (frame, key) => parseFloat(frame.dataset[key]);
function zoom(chosen) {
  const from = number(chosen, 'x'), span = number(chosen, 'w') || 1, row = number(chosen, 'r');
  for (const frame of frames) {
    const x = number(frame, 'x'), w = number(frame, 'w');
    const around = number(frame, 'r') < row && x <= from && x + w >= from + span;
    const start = around ? 0 : (x - from) / span, part = around ? 1 : w / span;
    const shown = part * width >= 0.1 && start >= -1e-9 && start < 1;
    frame.style.display = shown ? '' : 'none';
    if (!shown) continue;
    const rect = frame.querySelector('rect'), text = frame.querySelector('text');
    rect.setAttribute('x', left + start * width);
    rect.setAttribute('width', part * width);
    text.setAttribute('x', left + start * width + 3);
    const letters = Math.floor((part * width - 6) / 7), name = frame.dataset.n;
    text.textContent = letters < 3 ? '' : name.length <= letters ? name : name.slice(0, letters - 2) + '..';
  }
}
function search() {
  const wanted = prompt('Functions that contain', '');
  for (const frame of frames) {
    const found = wanted && frame.dataset.n.includes(wanted);
    frame.querySelector('rect').style.fill = found ? 'rgb(230,0,230)' : '';
  }
}
for (const frame of frames) frame.addEventListener('click', () => zoom(frame));
document.getElementById('search').addEventListener('click', search);
document.getElementById('reset').addEventListener('click', () => frames.length && zoom(frames[0]));
"#;

/// Gathers call stacks for a picture.
#[derive(Debug)]
pub struct Flamegraph {
    title: String,
    names: HashMap<String, usize>,
    by_number: Vec<String>,
    frames: Vec<Frame>,
    refused_ns: u64,
}

#[derive(Debug, Default)]
struct Frame {
    name: usize,
    self_ns: u64,
    calls: u64,
    /// By the number of their names.
    children: BTreeMap<usize, usize>,
}

/// What was left out of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlamegraphTally {
    /// All time, in nanoseconds.
    pub total_ns: u64,
    /// Frames that were drawn, the root not among them.
    pub drawn: u64,
    /// Time of frames that were too narrow.
    pub narrow_ns: u64,
    /// Time of frames beyond [`MOST_FRAMES`]; it counts for the frames around them.
    pub refused_ns: u64,
}

/// A frame in the picture.
struct Drawn {
    frame: usize,
    start_ns: u64,
    total_ns: u64,
    row: u32,
}

impl Flamegraph {
    /// A picture with this title.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            names: HashMap::new(),
            by_number: Vec::new(),
            frames: vec![Frame::default()],
            refused_ns: 0,
        }
    }

    /// Writes the picture.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(self, mut out: impl io::Write) -> io::Result<FlamegraphTally> {
        let totals = self.totals();
        let total_ns = totals.first().copied().unwrap_or(0);
        let (drawn, narrow_ns) = self.laid_out(&totals);
        let tally = FlamegraphTally {
            total_ns,
            drawn: u64::try_from(drawn.len())
                .unwrap_or(u64::MAX)
                .saturating_sub(1),
            narrow_ns,
            refused_ns: self.refused_ns,
        };
        let rows = drawn.iter().map(|frame| frame.row).max().unwrap_or(0);
        let height = TOP + BOTTOM + ROW * (f64::from(rows) + 1.0);
        writeln!(
            out,
            "<?xml version=\"1.0\" standalone=\"no\"?>\n<svg version=\"1.1\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
             <style>text {{ font: 12px monospace; }} g.f {{ cursor: pointer; }} \
             g.f:hover rect {{ stroke: black; }} .link {{ cursor: pointer; text-decoration: underline; }}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"rgb(250,250,245)\"/>\n\
             <text x=\"{}\" y=\"24\" text-anchor=\"middle\" style=\"font-size:17px\">{}</text>\n\
             <text id=\"reset\" class=\"link\" x=\"{SIDE}\" y=\"24\">reset</text>\n\
             <text id=\"search\" class=\"link\" x=\"{}\" y=\"24\" text-anchor=\"end\">search</text>",
            WIDTH / 2.0,
            escaped(&self.title),
            WIDTH - SIDE,
        )?;
        for frame in &drawn {
            self.draw(&mut out, frame, total_ns, height)?;
        }
        let note = tally.note();
        writeln!(
            out,
            "<text x=\"{SIDE}\" y=\"{}\">{}</text>\n<script><![CDATA[{SCRIPT}]]></script>\n</svg>",
            TOP - 8.0,
            escaped(&note)
        )?;
        out.flush()?;
        Ok(tally)
    }

    /// Time of each frame with all that it calls. A frame's children come behind it.
    fn totals(&self) -> Vec<u64> {
        let mut totals: Vec<u64> = self.frames.iter().map(|frame| frame.self_ns).collect();
        for (place, frame) in self.frames.iter().enumerate().rev() {
            let below = frame
                .children
                .values()
                .filter_map(|child| totals.get(*child).copied())
                .fold(0, u64::saturating_add);
            if let Some(total) = totals.get_mut(place) {
                *total = total.saturating_add(below);
            }
        }
        totals
    }

    /// The frames that are wide enough, the root first, and the time of those that are not.
    fn laid_out(&self, totals: &[u64]) -> (Vec<Drawn>, u64) {
        let total_ns = totals.first().copied().unwrap_or(0);
        let mut drawn = Vec::new();
        let mut narrow_ns = 0_u64;
        let mut waiting = vec![Drawn {
            frame: 0,
            start_ns: 0,
            total_ns,
            row: 0,
        }];
        while let Some(next) = waiting.pop() {
            if let Some(frame) = self.frames.get(next.frame) {
                let mut children: Vec<(&str, usize)> = frame
                    .children
                    .values()
                    .map(|child| (self.name(*child), *child))
                    .collect();
                children.sort_unstable();
                let mut start_ns = next.start_ns;
                for (_, child) in children {
                    let child_ns = totals.get(child).copied().unwrap_or(0);
                    if pixels(child_ns, total_ns) < NARROWEST {
                        narrow_ns = narrow_ns.saturating_add(child_ns);
                    } else {
                        waiting.push(Drawn {
                            frame: child,
                            start_ns,
                            total_ns: child_ns,
                            row: next.row.saturating_add(1),
                        });
                    }
                    start_ns = start_ns.saturating_add(child_ns);
                }
            }
            drawn.push(next);
        }
        (drawn, narrow_ns)
    }

    fn draw(
        &self,
        out: &mut impl io::Write,
        drawn: &Drawn,
        total_ns: u64,
        height: f64,
    ) -> io::Result<()> {
        let name = self.name(drawn.frame);
        let (x, width) = (
            SIDE + pixels(drawn.start_ns, total_ns),
            pixels(drawn.total_ns, total_ns),
        );
        let y = height - BOTTOM - ROW * (f64::from(drawn.row) + 1.0);
        let frame = self.frames.get(drawn.frame);
        let (self_ns, calls) = frame.map_or((0, 0), |frame| (frame.self_ns, frame.calls));
        let mut share = String::new();
        if total_ns > 0 {
            let hundredths = u128::from(drawn.total_ns)
                .saturating_mul(10_000)
                .checked_div(u128::from(total_ns))
                .unwrap_or(0);
            let _ = write!(share, ", {}.{:02} %", hundredths / 100, hundredths % 100);
        }
        writeln!(
            out,
            "<g class=\"f\" data-n=\"{name}\" data-x=\"{}\" data-w=\"{}\" data-r=\"{}\"><title>{name}: {} ns{share}, \
             self {self_ns} ns, {calls} calls</title>\
             <rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{}\" fill=\"{}\" rx=\"1\"/>\
             <text x=\"{:.2}\" y=\"{}\">{}</text></g>",
            drawn.start_ns,
            drawn.total_ns,
            drawn.row,
            drawn.total_ns,
            ROW - 1.0,
            colour(name),
            x + 3.0,
            y + 12.0,
            escaped(&fitted(name, width)),
            name = escaped(name),
        )
    }

    fn name(&self, frame: usize) -> &str {
        if frame == 0 {
            return "all";
        }
        self.frames
            .get(frame)
            .and_then(|frame| self.by_number.get(frame.name))
            .map_or("", String::as_str)
    }

    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = self.by_number.len();
        self.names.insert(name.to_owned(), number);
        self.by_number.push(name.to_owned());
        number
    }
}

impl FlamegraphTally {
    fn note(&self) -> String {
        let mut note = format!("{} ns in all", self.total_ns);
        if self.narrow_ns > 0 {
            let _ = write!(note, "; {} ns in frames too narrow to draw", self.narrow_ns);
        }
        if self.refused_ns > 0 {
            let _ = write!(
                note,
                "; {} ns in frames beyond the first {MOST_FRAMES}, added to those around them",
                self.refused_ns
            );
        }
        note
    }
}

impl StackSink for Flamegraph {
    fn stack(&mut self, frames: &[&str], self_ns: u64, calls: u64) -> io::Result<()> {
        let mut at = 0;
        let mut is_whole = true;
        for name in frames {
            let number = self.number(name);
            let free = self.frames.len();
            let Some(frame) = self.frames.get_mut(at) else {
                break;
            };
            at = match frame.children.get(&number) {
                Some(child) => *child,
                None if free >= MOST_FRAMES => {
                    is_whole = false;
                    break;
                }
                None => {
                    frame.children.insert(number, free);
                    self.frames.push(Frame {
                        name: number,
                        ..Frame::default()
                    });
                    free
                }
            };
        }
        if let Some(frame) = self.frames.get_mut(at) {
            frame.self_ns = frame.self_ns.saturating_add(self_ns);
            if is_whole {
                frame.calls = frame.calls.saturating_add(calls);
            } else {
                self.refused_ns = self.refused_ns.saturating_add(self_ns);
            }
        }
        Ok(())
    }
}

/// How wide a time is.
fn pixels(ns: u64, total_ns: u64) -> f64 {
    if total_ns == 0 {
        return 0.0;
    }
    // In millionths of the width: integers, since a time may have more digits than a double.
    let millionths = u128::from(ns)
        .saturating_mul(1_000_000)
        .checked_div(u128::from(total_ns))
        .unwrap_or(0);
    f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / 1_000_000.0 * (WIDTH - 2.0 * SIDE)
}

/// As much of a name as fits.
fn fitted(name: &str, width: f64) -> String {
    let count = name.chars().count();
    let letters = (0..=count)
        .rev()
        .find(|letters| {
            u32::try_from(*letters).is_ok_and(|letters| f64::from(letters) * LETTER + 6.0 <= width)
        })
        .unwrap_or(0);
    if letters == count {
        name.to_owned()
    } else if letters < 3 {
        String::new()
    } else {
        let start: String = name.chars().take(letters.saturating_sub(2)).collect();
        format!("{start}..")
    }
}

/// A warm colour, the same for the same name: FNV-1a.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [first, second, third, _] = hash.to_le_bytes();
    format!(
        "rgb({},{},{})",
        205_u16.saturating_add(u16::from(first) % 50),
        u16::from(second) % 230,
        u16::from(third) % 55
    )
}

/// The text for XML. Control characters, which XML has none of, become blanks.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() || letter == '\u{fffe}' || letter == '\u{ffff}' => {
                escaped.push(' ');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(stacks: &[(&[&str], u64)]) -> (String, FlamegraphTally) {
        let mut graph = Flamegraph::new("calls & returns");
        for (frames, self_ns) in stacks {
            graph.stack(frames, *self_ns, 1).expect("it takes all");
        }
        let mut out = Vec::new();
        let tally = graph.finish(&mut out).expect("a vector takes all");
        (String::from_utf8(out).expect("names are UTF-8"), tally)
    }

    /// Name, start, width and row of each frame in the picture.
    fn frames(svg: &str) -> Vec<(String, u64, u64, u64)> {
        svg.split("<g class=\"f\"")
            .skip(1)
            .map(|frame| {
                let value = |key: &str| {
                    let start = format!(" {key}=\"");
                    let behind = frame.split_once(&start).expect("the frame says it").1;
                    behind.split_once('"').expect("it ends").0.to_owned()
                };
                let number = |key: &str| value(key).parse().expect("it is a number");
                (
                    value("data-n"),
                    number("data-x"),
                    number("data-w"),
                    number("data-r"),
                )
            })
            .collect()
    }

    #[test]
    fn a_frame_is_as_wide_as_what_it_holds() {
        let (svg, tally) = drawn(&[
            (&["b"], 30),
            (&["a"], 10),
            (&["a", "c"], 50),
            (&["a", "c"], 10),
        ]);
        let mut found = frames(&svg);
        found.sort();
        let expected = [
            ("a", 0, 70, 1),
            ("all", 0, 100, 0),
            ("b", 70, 30, 1),
            ("c", 0, 60, 2),
        ];
        let expected: Vec<_> = expected
            .map(|(name, start, width, row)| (name.to_owned(), start, width, row))
            .into();
        assert_eq!(found, expected);
        assert_eq!((tally.total_ns, tally.drawn, tally.narrow_ns), (100, 3, 0));
    }

    #[test]
    fn what_is_too_narrow_is_told() {
        let (svg, tally) = drawn(&[(&["a"], 1_000_000), (&["b"], 1)]);
        assert_eq!((tally.drawn, tally.narrow_ns), (1, 1));
        assert!(svg.contains("1 ns in frames too narrow to draw"));
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let (svg, _) = drawn(&[(&["<script>alert(\"x\")&]]>\u{1}"], 1)]);
        assert!(svg.contains("data-n=\"&lt;script&gt;alert(&quot;x&quot;)&amp;]]&gt; \""));
        assert_eq!(svg.matches("<script>").count(), 1);
        assert!(svg.contains("calls &amp; returns"));
    }

    #[test]
    fn nothing_draws_an_empty_picture() {
        let (svg, tally) = drawn(&[]);
        assert_eq!((tally.total_ns, tally.drawn), (0, 0));
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
