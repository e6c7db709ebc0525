// SPDX-License-Identifier: GPL-2.0-only

//! The table: a line per function, as `deferinit trace report` has it.

use crossterm::event::KeyCode;
use deferinit_trace::glob::{Glob, is_pattern};
use deferinit_trace::report::{Column, FunctionRow, Report};
use deferinit_trace::text::scaled;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::Selection;
use super::style::{Palette, with_module};

/// The columns before the name, from left to right: heading, and how much it matters where there is little room.
const COLUMNS: [(Column, &str, u8); 9] = [
    (Column::Calls, "Calls", 2),
    (Column::Total, "Total", 0),
    (Column::SelfTime, "Self", 1),
    (Column::Min, "Min", 7),
    (Column::Avg, "Avg", 3),
    (Column::P50, "P50", 6),
    (Column::P99, "P99", 5),
    (Column::Max, "Max", 4),
    (Column::Incomplete, "Incomplete", 8),
];

/// Columns of the screen that the name has at least, and at most before all other columns are there.
const NAME_WIDTH: (usize, usize) = (14, 36);

/// The statistics of all functions, and those that are shown.
pub(super) struct Table {
    report: Report,
    /// Places in the report, in the order they are shown.
    shown: Vec<usize>,
    sort: Column,
    is_reversed: bool,
    filter: String,
    /// What the filter was before the user began to type another one.
    filter_before: Option<String>,
    selection: Selection,
    /// Of each of [`COLUMNS`].
    widths: [usize; COLUMNS.len()],
}

impl Table {
    /// All functions, by total.
    pub(super) fn new(report: Report) -> Self {
        let mut widths = COLUMNS.map(|(_, heading, _)| heading.len() + 1);
        for row in &report.functions {
            for (width, (column, ..)) in widths.iter_mut().zip(COLUMNS) {
                *width = (*width).max(cell(row, column).len());
            }
        }
        let mut table = Self {
            report,
            shown: Vec::new(),
            sort: Column::Total,
            is_reversed: false,
            filter: String::new(),
            filter_before: None,
            selection: Selection::default(),
            widths,
        };
        table.arrange();
        table
    }

    /// Whether keys are letters of the filter.
    pub(super) fn is_typing(&self) -> bool {
        self.filter_before.is_some()
    }

    /// A key while the user types the filter.
    pub(super) fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.filter_before = None,
            KeyCode::Esc => self.filter = self.filter_before.take().unwrap_or_default(),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => return,
        }
        self.arrange();
    }

    /// Any other key.
    pub(super) fn key(&mut self, code: KeyCode) {
        let by = match code {
            KeyCode::Char('s') => self.beside(1),
            KeyCode::Char('S') => self.beside(Column::NAMES.len() - 1),
            KeyCode::Char('n') => Column::Name,
            KeyCode::Char('c') => Column::Calls,
            KeyCode::Char('t') => Column::Total,
            KeyCode::Char('f') => Column::SelfTime,
            KeyCode::Char('m') => Column::Min,
            KeyCode::Char('a') => Column::Avg,
            KeyCode::Char('5') => Column::P50,
            KeyCode::Char('9') => Column::P99,
            KeyCode::Char('x') => Column::Max,
            KeyCode::Char('i') => Column::Incomplete,
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.sort
            }
            KeyCode::Char('/') => {
                self.filter_before = Some(self.filter.clone());
                return;
            }
            code => {
                self.selection.key(code, self.shown.len());
                return;
            }
        };
        if by != self.sort {
            self.is_reversed = false;
        }
        self.sort = by;
        self.report.sort(by);
        self.arrange();
    }

    /// The name of the selected function.
    pub(super) fn selected(&self) -> Option<&str> {
        let place = self.shown.get(self.selection.at)?;
        self.report
            .functions
            .get(*place)
            .map(|row| row.name.as_str())
    }

    /// The column so many further on.
    fn beside(&self, steps: usize) -> Column {
        let columns = Column::NAMES.map(|(_, column)| column);
        let at = columns.iter().position(|column| *column == self.sort);
        let next = (at.unwrap_or(0) + steps) % columns.len();
        columns.get(next).copied().unwrap_or(self.sort)
    }

    /// Finds what is to be shown, and starts at its top.
    fn arrange(&mut self) {
        let pattern = if is_pattern(&self.filter) {
            self.filter.clone()
        } else {
            format!("*{}*", self.filter)
        };
        let glob = Glob::new(&pattern);
        let places = self.report.functions.iter().enumerate();
        self.shown = places
            .filter(|(_, row)| glob.matches(&row.name))
            .map(|(place, _)| place)
            .collect();
        if self.is_reversed {
            self.shown.reverse();
        }
        self.selection.key(KeyCode::Home, self.shown.len());
    }

    /// Draws the heading and the functions that fit.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, palette: Palette) {
        if self.report.functions.is_empty() {
            let text = "no call is in this trace: it has no records of function_graph";
            frame.render_widget(Paragraph::new(text).wrap(Default::default()), area);
            return;
        }
        let height = area.height.saturating_sub(1);
        self.selection.fit(self.shown.len(), height);
        let columns = self.fitting(usize::from(area.width));
        let mut heading = String::new();
        for place in &columns {
            if let Some((column, name, _)) = COLUMNS.get(*place) {
                self.push(&mut heading, *place, &self.marked(*column, name));
            }
        }
        heading.push_str(&self.marked(Column::Name, "Function"));
        let mut lines = vec![Line::styled(heading, palette.heading())];
        let on_screen = self.shown.iter().enumerate().skip(self.selection.top);
        for (line, place) in on_screen.take(usize::from(height)) {
            let Some(row) = self.report.functions.get(*place) else {
                continue;
            };
            let mut text = String::new();
            for place in &columns {
                if let Some((column, ..)) = COLUMNS.get(*place) {
                    self.push(&mut text, *place, &cell(row, *column));
                }
            }
            text.push_str(&with_module(&row.name, row.module.as_deref()));
            lines.push(self.selection.styled(line, text, palette));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    /// The filter while it is typed, else what is shown.
    pub(super) fn bottom_line(&self, palette: Palette) -> Line<'_> {
        if self.is_typing() {
            return Line::from(vec![
                Span::styled(format!("/{}", self.filter), palette.heading()),
                Span::styled("_", palette.selected()),
                Span::styled(
                    format!("  {} match; Enter keeps, Esc undoes", self.shown.len()),
                    palette.faint(),
                ),
            ]);
        }
        let all = self.report.functions.len();
        let mut text = if self.filter.is_empty() {
            format!("{all} functions")
        } else {
            format!(
                "{} of {all} functions like {}",
                self.shown.len(),
                self.filter
            )
        };
        text.push_str("  s sort  / filter  Enter callees  b callers");
        if self
            .report
            .functions
            .iter()
            .any(|row| row.self_inexact_ns > 0)
        {
            text.push_str("  * at most");
        }
        Line::styled(text, palette.faint())
    }

    /// The columns that there is room for, in their order; the one that is sorted by comes first of all.
    fn fitting(&self, width: usize) -> Vec<usize> {
        let mut by_weight: Vec<usize> = (0..COLUMNS.len()).collect();
        by_weight.sort_by_key(|place| {
            COLUMNS
                .get(*place)
                .map(|(column, _, weight)| (*column != self.sort, *weight))
        });
        let (least, most) = NAME_WIDTH;
        let mut left = width.saturating_sub((width / 3).clamp(least, most));
        by_weight.retain(|place| {
            let needed = self.widths.get(*place).map_or(0, |width| width + 2);
            let fits = needed <= left;
            if fits {
                left -= needed;
            }
            fits
        });
        by_weight.sort_unstable();
        by_weight
    }

    /// A heading, with a mark if it is sorted by.
    fn marked(&self, column: Column, name: &str) -> String {
        let mark = match (
            column == self.sort,
            self.is_reversed == (column == Column::Name),
        ) {
            (false, _) => "",
            (true, true) => "▼",
            (true, false) => "▲",
        };
        format!("{name}{mark}")
    }

    /// Adds a cell, at the right of its column.
    fn push(&self, line: &mut String, place: usize, text: &str) {
        let width = self.widths.get(place).copied().unwrap_or(0);
        line.push_str(&format!("{text:>width$}  "));
    }
}

fn cell(row: &FunctionRow, column: Column) -> String {
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), scaled);
    match column {
        Column::Name => row.name.clone(),
        Column::Calls => row.calls.to_string(),
        Column::Total => scaled(row.total_ns),
        Column::SelfTime => {
            let mark = if row.self_inexact_ns > 0 { "*" } else { "" };
            format!("{}{mark}", scaled(row.self_ns))
        }
        Column::Min => time(row.min_ns),
        Column::Avg => time(row.avg_ns),
        Column::P50 => time(row.p50_ns),
        Column::P99 => time(row.p99_ns),
        Column::Max => time(row.max_ns),
        Column::Incomplete => match row.incomplete_calls {
            0 => "-".to_owned(),
            count => count.to_string(),
        },
    }
}
