// SPDX-License-Identifier: GPL-2.0-only

//! The timeline: lanes of CPUs or tasks, with a row per depth and the calls on it as blocks.
//!
//! It says which window it needs ([`Timeline::wanted`]) and shows what was found of it ([`Timeline::found`]).

use std::collections::HashSet;
use std::sync::Arc;

use crossterm::event::KeyCode;
use deferinit_timeline::TraceNanos;
use deferinit_trace::names::Names;
use deferinit_trace::task::Task;
use deferinit_trace::text::scaled;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::lanes::{CallId, Cell, End, Grid, Plan, ShownCall};
use super::load::{Lane, LaneKey, Overview};
use super::state::Selection;
use super::style::{Palette, plain};

/// Depths of a lane that are shown at first, and at most.
const DEPTHS: usize = 4;
const MOST_DEPTHS: usize = 64;

/// Shows how much of a cell is filled.
const SHADES: [&str; 4] = ["░", "▒", "▓", "█"];

/// What the lanes are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Cpu,
    Task,
}

/// The window, the cursor in it, and what was found.
pub(super) struct Timeline {
    overview: Overview,
    by: By,
    /// How many depths a lane has at most.
    depths: usize,
    from_ns: u64,
    span_ns: u64,
    /// The column that the cursor is in.
    column: usize,
    /// The row that the cursor is in, counted over all lanes, and the first row on the screen.
    rows: Selection,
    /// Cells of a row on the screen, and rows; 0 before it was drawn.
    columns: usize,
    height: usize,
    grid: Option<Grid>,
}

impl Timeline {
    /// The whole trace, by CPU.
    pub(super) fn new(overview: Overview) -> Self {
        let mut timeline = Self {
            overview,
            by: By::Cpu,
            depths: DEPTHS,
            from_ns: 0,
            span_ns: 1,
            column: 0,
            rows: Selection::default(),
            columns: 0,
            height: 0,
            grid: None,
        };
        timeline.show(timeline.overview.first_ns, timeline.whole_ns());
        timeline
    }

    /// How long the trace is, its last record included.
    fn whole_ns(&self) -> u64 {
        let span = self.overview.last_ns.saturating_sub(self.overview.first_ns);
        span.saturating_add(1)
    }

    /// Shows a window, or the nearest one that is in the trace and can be shown.
    fn show(&mut self, from_ns: u64, span_ns: u64) {
        let least = u64::try_from(self.columns).unwrap_or(u64::MAX).max(1);
        self.span_ns = span_ns.max(least).min(self.whole_ns().max(least));
        let latest = self.overview.first_ns + self.whole_ns().saturating_sub(self.span_ns);
        self.from_ns = from_ns.min(latest).max(self.overview.first_ns);
    }

    fn cell_ns(&self) -> u64 {
        let columns = u64::try_from(self.columns).unwrap_or(u64::MAX).max(1);
        self.span_ns.div_ceil(columns).max(1)
    }

    fn time(&self, column: usize) -> u64 {
        let column = u64::try_from(column).unwrap_or(u64::MAX);
        self.from_ns
            .saturating_add(self.cell_ns().saturating_mul(column))
    }

    fn lanes(&self) -> &[Lane] {
        match self.by {
            By::Cpu => &self.overview.cpus,
            By::Task => &self.overview.tasks,
        }
    }

    fn depths_of(&self, lane: &Lane) -> usize {
        lane.levels.clamp(1, self.depths)
    }

    /// All rows there are: the lane, and the depth in it.
    fn all_rows(&self) -> impl Iterator<Item = (&Lane, usize)> {
        self.lanes()
            .iter()
            .flat_map(|lane| (0..self.depths_of(lane)).map(move |depth| (lane, depth)))
    }

    fn row_count(&self) -> usize {
        self.lanes().iter().map(|lane| self.depths_of(lane)).sum()
    }

    /// The window that is to be shown, with the lanes that are on the screen.
    fn plan(&self) -> Plan {
        let mut lanes: Vec<(LaneKey, usize)> = Vec::new();
        for (lane, _) in self.all_rows().skip(self.rows.top).take(self.height) {
            if lanes.last().is_none_or(|(last, _)| *last != lane.key) {
                lanes.push((lane.key, self.depths_of(lane)));
            }
        }
        let mut plan = Plan {
            from_ns: self.from_ns,
            cell_ns: self.cell_ns(),
            columns: self.columns,
            lanes,
            read_until_ns: 0,
        };
        plan.read_until_ns = self.overview.read_until(plan.until_ns());
        plan
    }

    /// The window that is on the screen, if it is not known in full.
    pub(super) fn wanted(&self) -> Option<Plan> {
        if self.columns == 0 || self.height == 0 || self.lanes().is_empty() {
            return None;
        }
        let plan = self.plan();
        let is_known = self
            .grid
            .as_ref()
            .is_some_and(|grid| grid.plan == plan && grid.read_up_to_ns.is_none());
        (!is_known).then_some(plan)
    }

    /// Calls whose end is not in the trace.
    pub(super) fn endless(&self) -> Arc<HashSet<CallId>> {
        Arc::clone(&self.overview.endless)
    }

    /// Takes what was found in a window, in full or so far.
    pub(super) fn found(&mut self, grid: Grid) {
        self.grid = Some(grid);
    }

    /// Does what a key asks for.
    pub(super) fn key(&mut self, code: KeyCode) {
        let quarter = (self.span_ns / 4).max(1);
        match code {
            KeyCode::Char('+' | '=') => self.zoom(self.span_ns / 2),
            KeyCode::Char('-' | '_') => self.zoom(self.span_ns.saturating_mul(2)),
            KeyCode::Char('0') => self.show(self.overview.first_ns, self.whole_ns()),
            KeyCode::Char('h') => self.show(self.from_ns.saturating_sub(quarter), self.span_ns),
            KeyCode::Char('l') => self.show(self.from_ns.saturating_add(quarter), self.span_ns),
            KeyCode::Left if self.column > 0 => self.column -= 1,
            KeyCode::Left => self.step(quarter, |from, by| from.saturating_sub(by)),
            KeyCode::Right if self.column + 1 < self.columns => self.column += 1,
            KeyCode::Right => self.step(quarter, u64::saturating_add),
            KeyCode::Home => {
                self.show(self.overview.first_ns, self.span_ns);
                self.column = 0;
            }
            KeyCode::End => {
                self.show(self.overview.last_ns, self.span_ns);
                self.column = self.columns.saturating_sub(1);
            }
            KeyCode::Enter => self.zoom_to_call(),
            KeyCode::Char('t') => {
                self.by = match self.by {
                    By::Cpu => By::Task,
                    By::Task => By::Cpu,
                };
                self.rows = Selection::default();
            }
            KeyCode::Char('d') => {
                let most = self.lanes().iter().map(|lane| lane.levels).max();
                let shown = self.depths.min(most.unwrap_or(1));
                self.depths = shown.saturating_sub(1).max(1);
            }
            KeyCode::Char('D') => self.depths = self.depths.saturating_add(1).min(MOST_DEPTHS),
            code => {
                self.rows.key(code, self.row_count());
            }
        }
    }

    /// Goes on by so much at the edge, and lets the cursor stay where it is in time, one cell further.
    fn step(&mut self, by_ns: u64, go: impl Fn(u64, u64) -> u64) {
        let (before, cell) = (self.from_ns, self.cell_ns());
        let cells = (by_ns / cell).max(1);
        self.show(go(self.from_ns, cells.saturating_mul(cell)), self.span_ns);
        let moved = usize::try_from(self.from_ns.abs_diff(before) / cell).unwrap_or(0);
        // At the end of the trace nothing moved, and the cursor stays at the edge.
        if moved > 0 && self.from_ns < before {
            self.column = (moved - 1).min(self.columns.saturating_sub(1));
        } else if moved > 0 {
            self.column = (self.column + 1).saturating_sub(moved);
        }
    }

    /// Shows more or less time around the cursor.
    fn zoom(&mut self, span_ns: u64) {
        let at = self.time(self.column);
        let whole = u64::try_from(self.columns).unwrap_or(u64::MAX).max(1);
        let before = self.column_as_u64().saturating_mul(span_ns.div_ceil(whole));
        self.show(at.saturating_sub(before), span_ns);
        let column = at.saturating_sub(self.from_ns) / self.cell_ns();
        self.column = usize::try_from(column)
            .unwrap_or(usize::MAX)
            .min(self.columns.saturating_sub(1));
    }

    fn column_as_u64(&self) -> u64 {
        u64::try_from(self.column).unwrap_or(u64::MAX)
    }

    /// Shows all of the call under the cursor, with some time around it.
    fn zoom_to_call(&mut self) {
        let Some(call) = self.under_cursor().and_then(|cell| cell.call().copied()) else {
            return;
        };
        let End::At { time_ns, .. } = call.end else {
            return;
        };
        let start = call.id.start_ns;
        let took = time_ns.saturating_sub(start).max(1);
        let around = (took / 10).max(1);
        self.show(
            start.saturating_sub(around),
            took.saturating_add(around.saturating_mul(2)),
        );
        let middle = (start + took / 2).saturating_sub(self.from_ns) / self.cell_ns();
        self.column = usize::try_from(middle)
            .unwrap_or(0)
            .min(self.columns.saturating_sub(1));
    }

    /// The grid, if it is of what is shown.
    fn shown_grid(&self) -> Option<&Grid> {
        let plan = self.plan();
        self.grid.as_ref().filter(|grid| grid.plan == plan)
    }

    /// Rows of the first lane in the grid that are above the screen.
    fn rows_above(&self) -> usize {
        self.all_rows()
            .nth(self.rows.top)
            .map_or(0, |(_, depth)| depth)
    }

    fn under_cursor(&self) -> Option<&Cell> {
        let row = self.rows.at.checked_sub(self.rows.top)? + self.rows_above();
        self.shown_grid()?.row(row).get(self.column)
    }

    /// Draws the axis, the lanes, and what is under the cursor.
    pub(super) fn draw(
        &mut self,
        frame: &mut Frame<'_>,
        area: Rect,
        names: &mut Names<'_>,
        palette: Palette,
    ) {
        if self.overview.cpus.is_empty() {
            let text = "no call is in this trace: it has no records of function_graph";
            frame.render_widget(Paragraph::new(text).wrap(Default::default()), area);
            return;
        }
        let [axis, lanes, detail] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(2),
        ])
        .areas(area);
        let label_width = match self.by {
            By::Cpu => 9,
            By::Task => 18,
        }
        .min(usize::from(area.width) / 3);
        self.columns = usize::from(area.width).saturating_sub(label_width).max(1);
        self.height = usize::from(lanes.height);
        // A wider screen can need a longer window.
        self.show(self.from_ns, self.span_ns);
        self.column = self.column.min(self.columns - 1);
        self.rows.fit(self.row_count(), lanes.height);

        let axis_line = Line::from(vec![
            Span::raw(format!("{:label_width$}", "")),
            Span::styled(self.axis_text(), palette.heading()),
        ]);
        frame.render_widget(Paragraph::new(axis_line), axis);
        let lines = self.lane_lines(label_width, names, palette);
        frame.render_widget(Paragraph::new(lines), lanes);
        let detail_lines = self.detail(names);
        frame.render_widget(Paragraph::new(detail_lines), detail);
    }

    /// Where the window begins, how long it is, and how long a cell is.
    fn axis_text(&self) -> String {
        format!(
            "{} s + {}, a cell is {}",
            TraceNanos(self.from_ns),
            scaled(self.span_ns),
            scaled(self.cell_ns())
        )
    }

    fn lane_lines(
        &self,
        label_width: usize,
        names: &mut Names<'_>,
        palette: Palette,
    ) -> Vec<Line<'static>> {
        let above = self.rows_above();
        let grid = self.shown_grid();
        let rows = self.all_rows().enumerate().skip(self.rows.top);
        rows.take(self.height)
            .enumerate()
            .map(|(line, (row, (lane, depth)))| {
                let label = match depth {
                    0 => lane.label.clone(),
                    // Its name is above the screen.
                    depth if line == 0 => format!("{} +{depth}", lane.label),
                    depth => format!("{:>3}", format!("+{depth}")),
                };
                let label: String = label.chars().take(label_width.saturating_sub(1)).collect();
                let mut spans = vec![Span::raw(format!("{label:label_width$}"))];
                let cells = grid.map_or(&[][..], |grid| grid.row(line + above));
                let blocks = match grid {
                    Some(grid) => blocks(cells, &grid.plan, names, palette),
                    None => vec![(" ".to_owned(), Style::new()); self.columns],
                };
                let cursor = (row == self.rows.at).then_some(self.column);
                for (column, (sign, style)) in blocks.into_iter().enumerate() {
                    let style = if cursor == Some(column) {
                        style.patch(palette.selected())
                    } else {
                        style
                    };
                    spans.push(Span::styled(sign, style));
                }
                Line::from(spans)
            })
            .collect()
    }

    /// What is under the cursor, in two lines.
    fn detail(&self, names: &mut Names<'_>) -> Vec<Line<'static>> {
        let at = self.time(self.column);
        let (lane, depth) = self
            .all_rows()
            .nth(self.rows.at)
            .map_or(("", 0), |(lane, depth)| (lane.label.as_str(), depth));
        let mut place = format!(
            "+{}, {} s, {lane} depth {depth}",
            scaled(at.saturating_sub(self.overview.first_ns)),
            TraceNanos(at),
        );
        let what = match self.under_cursor().copied() {
            None => "not read yet".to_owned(),
            Some(cell) => match cell.call() {
                None => "no call here".to_owned(),
                Some(call) => {
                    if cell.pieces > 1 {
                        let filled = percent(cell.busy_ns, self.cell_ns());
                        place =
                            format!("longest of {} here, {filled} filled; {place}", cell.pieces);
                    }
                    self.describe(call, names)
                }
            },
        };
        vec![Line::raw(what), Line::raw(place)]
    }

    fn describe(&self, call: &ShownCall, names: &mut Names<'_>) -> String {
        let name = plain(names.function(call.function));
        let took = match call.end {
            End::At { duration_ns, .. } => format!("took {}", scaled(duration_ns)),
            End::NotYet => "end not read yet".to_owned(),
            End::NotSeen => "not seen to end".to_owned(),
        };
        let task = super::load::task_label(call.id.task, names.tasks());
        let since = TraceNanos(call.id.start_ns);
        match (self.by, call.id.task) {
            (By::Task, Task::Pid(_)) => format!("{name} {took}, from {since} s"),
            (By::Cpu | By::Task, _) => format!("{name} {took}, in {task}, from {since} s"),
        }
    }

    /// What the lanes are of, and how far it is read.
    pub(super) fn bottom_line(&self, palette: Palette) -> Line<'_> {
        let mut spans = Vec::new();
        if let Some(plan) = self.wanted() {
            let first = self.overview.first_ns;
            let read = self.shown_grid().and_then(|grid| grid.read_up_to_ns);
            let (read, until) = (read.unwrap_or(first), plan.until_ns());
            let text = if read < until {
                let until = until.min(self.overview.last_ns);
                format!(
                    "reading {}  ",
                    percent(read.saturating_sub(first), until.saturating_sub(first))
                )
            } else {
                let left = self.overview.last_ns.saturating_sub(until);
                format!("reading where calls end {}  ", percent(read - until, left))
            };
            spans.push(Span::styled(text, palette.heading()));
        }
        let lanes = match self.by {
            By::Cpu => "lanes of CPUs  t tasks".to_owned(),
            By::Task if self.overview.has_more_tasks => {
                format!(
                    "lanes of {} of more tasks  t CPUs",
                    self.overview.tasks.len()
                )
            }
            By::Task => format!("lanes of {} tasks  t CPUs", self.overview.tasks.len()),
        };
        spans.push(Span::styled(
            format!("{lanes}  + - zoom  h l pan  Enter zoom to call"),
            palette.faint(),
        ));
        Line::from(spans)
    }
}

/// A row as signs, one per cell. A call over several cells is `├name─┤`, with `╌` where it goes on; a short one `│`;
/// several in a cell are a shade.
fn blocks(
    cells: &[Cell],
    plan: &Plan,
    names: &mut Names<'_>,
    palette: Palette,
) -> Vec<(String, Style)> {
    let mut signs: Vec<(String, Style)> = Vec::with_capacity(cells.len());
    let mut rest = cells;
    let mut start_ns = plan.from_ns;
    while let [cell, ..] = rest {
        let same = |other: &&Cell| {
            cell.call().is_some()
                && other.call().map(|call| call.id) == cell.call().map(|call| call.id)
        };
        let length = rest.iter().take_while(same).count().max(1);
        let length_ns = u64::try_from(length)
            .unwrap_or(u64::MAX)
            .saturating_mul(plan.cell_ns);
        let end_ns = start_ns.saturating_add(length_ns);
        match cell.call() {
            None => signs.push((" ".to_owned(), Style::new())),
            Some(call) if length == 1 => {
                let sign = if cell.pieces == 1 {
                    "│"
                } else {
                    shade(cell.busy_ns, plan.cell_ns)
                };
                signs.push((sign.to_owned(), palette.call(call.function)));
            }
            Some(call) => {
                let name = plain(names.function(call.function));
                let begins = call.id.start_ns >= start_ns;
                let ends = matches!(call.end, End::At { time_ns, .. } if time_ns <= end_ns);
                let style = palette.call(call.function);
                let block = block(&name, length, begins, ends);
                signs.extend(block.chars().map(|sign| (sign.to_string(), style)));
            }
        }
        start_ns = end_ns;
        rest = rest.get(length..).unwrap_or_default();
    }
    signs
}

/// A call over so many cells, two or more. Its name is there if some of it can be read.
fn block(name: &str, length: usize, begins: bool, ends: bool) -> String {
    let room = length.saturating_sub(2);
    let mut inside: String = if room < 3 {
        String::new()
    } else {
        // What is not one column wide would shift the cells behind it.
        let letter = |letter: char| if letter.is_ascii() { letter } else { '?' };
        name.chars().map(letter).take(room).collect()
    };
    while inside.chars().count() < room {
        inside.push('─');
    }
    let first = if begins { '├' } else { '╌' };
    let last = if ends { '┤' } else { '╌' };
    format!("{first}{inside}{last}")
}

fn shade(busy_ns: u64, cell_ns: u64) -> &'static str {
    let quarter = busy_ns.saturating_mul(4) / cell_ns.max(1);
    let place = usize::try_from(quarter).unwrap_or(usize::MAX);
    SHADES
        .get(place.min(SHADES.len() - 1))
        .copied()
        .unwrap_or("█")
}

fn percent(part: u64, whole: u64) -> String {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    format!("{} %", percent.min(100))
}
