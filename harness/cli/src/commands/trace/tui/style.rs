// SPDX-License-Identifier: GPL-2.0-only

//! How the views look, and how they write durations.
//!
//! Colour only repeats what a text or a sign says, so that nothing is lost without it.

use std::fmt::Write as _;

use deferinit_report::Colour;
use ratatui::style::{Color, Modifier, Style};

/// The styles of the views.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    has_colour: bool,
}

/// Colours of calls in the timeline, by function.
const CALLS: [Color; 6] = [
    Color::Cyan,
    Color::Green,
    Color::Yellow,
    Color::Magenta,
    Color::Blue,
    Color::LightCyan,
];

impl Palette {
    /// With colour or without.
    pub(super) fn of(colour: Colour) -> Self {
        Self {
            has_colour: match colour {
                Colour::Always => true,
                Colour::Never => false,
            },
        }
    }

    /// The line or cell that keys act on.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Headings, and the view that is shown.
    pub(super) fn heading(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What the user should know.
    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A call of the function at this address.
    pub(super) fn call(self, function: u64) -> Style {
        // Functions begin at multiples of 16; the product's upper bits depend on all of the number.
        let hash = function.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let colours = u64::try_from(CALLS.len()).unwrap_or(1);
        let colour = usize::try_from(hash % colours)
            .ok()
            .and_then(|place| CALLS.get(place));
        self.coloured(colour.copied().unwrap_or(Color::Reset))
    }

    fn coloured(self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// A name from the traced machine, with nothing in it that acts on a terminal.
pub(super) fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_control() {
            // Writing into a string cannot fail.
            let _ = write!(plain, "\\x{:02x}", u32::from(letter));
        } else {
            plain.push(letter);
        }
    }
    plain
}

/// A name with its module behind it, as traces have it.
pub(super) fn with_module(name: &str, module: Option<&str>) -> String {
    match module {
        Some(module) => plain(&format!("{name} [{module}]")),
        None => plain(name),
    }
}
