// SPDX-License-Identifier: GPL-2.0-only

//! What the terminal can show.
//!
//! In: standard output and the environment. Out: plain data.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _},
};

use comfy_table::Table;

/// Whether text carries colour, and how wide it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Whether text carries colour.
    pub colour: Colour,
    /// The most columns of a table; none for as many as it takes.
    pub width: Option<u16>,
}

/// Whether text carries colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI escape sequences.
    Always,
}

impl Terminal {
    /// No terminal: plain text of any width.
    pub const NONE: Self = Self {
        colour: Colour::Never,
        width: None,
    };

    /// What suits standard output: on a terminal its width, and colour unless `NO_COLOR` is set and
    /// not empty (<https://no-color.org>).
    #[must_use]
    pub fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self::NONE;
        }
        Self {
            colour: Colour::on_terminal(env::var_os("NO_COLOR").as_deref()),
            width: Table::new().width(),
        }
    }
}

impl Colour {
    fn on_terminal(no_color: Option<&OsStr>) -> Self {
        match no_color {
            Some(value) if !value.is_empty() => Self::Never,
            Some(_) | None => Self::Always,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_takes_the_colour_from_a_terminal() {
        assert_eq!(Colour::on_terminal(None), Colour::Always);
        assert_eq!(Colour::on_terminal(Some(OsStr::new(""))), Colour::Always);
        assert_eq!(Colour::on_terminal(Some(OsStr::new("1"))), Colour::Never);
    }
}
