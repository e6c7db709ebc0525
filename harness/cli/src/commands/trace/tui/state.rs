// SPDX-License-Identifier: GPL-2.0-only

//! What the interface shows, and what each key makes of it.
//!
//! In: keys, what was found of the timeline's window. Out: the screen, and which window is wanted. It touches neither the
//! terminal nor the trace.

use std::collections::HashSet;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use deferinit_trace::names::Names;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::lanes::{CallId, Grid, Plan};
use super::load::{Loaded, Loading};
use super::screen::{is_ctrl_c, leaves};
use super::style::{Palette, plain};
use super::table::Table;
use super::timeline::Timeline;
use super::tree::{Focus, Tree};

/// What each key does.
const KEYS: [&str; 30] = [
    "Everywhere",
    "  Tab 1 2 3    next view; table, tree, timeline",
    "  Up Down PgUp PgDn Home End, j k g G: move",
    "  ?            these keys",
    "  q Esc Ctrl-C leave",
    "Table",
    "  s S          sort by the next, previous column",
    "  n c t f      by name, calls, total, self",
    "  m a 5 9 x i  by min, avg, p50, p99, max, incomplete",
    "  r            reverse the order",
    "  /            only names like a glob, or with a text",
    "  Enter        what the function called, as a tree",
    "  b            who called it, as a tree",
    "Tree",
    "  Right Left   open and close; to what is below, above",
    "  Enter        open or close",
    "  e w          open all below; close all",
    "  c            callers of the function, and back",
    "  a            the whole tree",
    "Timeline",
    "  + -          zoom in and out, around the cursor",
    "  Left Right   the cursor; at the edge, the window",
    "  h l          the window, by a quarter",
    "  Home End     to the start and the end of the trace",
    "  0            the whole trace",
    "  Enter        zoom to the call under the cursor",
    "  t            lanes of CPUs or of tasks",
    "  d D          fewer, more depths of each lane",
    "  ├name─┤ a call, ╌ goes on; │ a short one;",
    "  ░▒▓█ several in a cell, by how much of it they fill",
];

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Table,
    Tree,
    Timeline,
}

/// What the interface shows.
pub(super) struct State<'a> {
    title: String,
    view: View,
    table: Table,
    tree: Tree,
    timeline: Timeline,
    names: Names<'a>,
    palette: Palette,
    /// What the user should know of the trace; empty mostly.
    notice: String,
    /// Whether the keys are shown, and from which line on.
    keys_from: Option<usize>,
    is_over: bool,
}

impl<'a> State<'a> {
    /// Begins with the table.
    pub(super) fn new(
        title: String,
        loaded: Loaded,
        damages: u64,
        names: Names<'a>,
        palette: Palette,
    ) -> Self {
        let losses = loaded.report.account.losses;
        let mut notice = String::new();
        if damages > 0 {
            notice.push_str("damaged: this is what can be read");
        } else if losses > 0 {
            notice = format!("records were lost at {losses} places");
        }
        Self {
            title: plain(&title),
            view: View::Table,
            table: Table::new(loaded.report),
            tree: Tree::new(loaded.graph),
            timeline: Timeline::new(loaded.overview),
            names,
            palette,
            notice,
            keys_from: None,
            is_over: false,
        }
    }

    /// Whether the user has left.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The window that is shown and not known yet.
    pub(super) fn wanted(&self) -> Option<Plan> {
        match self.view {
            View::Timeline => self.timeline.wanted(),
            View::Table | View::Tree => None,
        }
    }

    /// Calls whose end is not in the trace.
    pub(super) fn endless(&self) -> Arc<HashSet<CallId>> {
        self.timeline.endless()
    }

    /// Takes what was found in a window.
    pub(super) fn found(&mut self, grid: Grid) {
        self.timeline.found(grid);
    }

    /// Does what a key asks for.
    pub(super) fn key(&mut self, key: &KeyEvent) {
        if is_ctrl_c(key) {
            self.is_over = true;
        } else if key
            .modifiers
            .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
        {
            // No such key does anything else.
        } else if self.view == View::Table && self.keys_from.is_none() && self.table.is_typing() {
            self.table.type_key(key.code);
        } else if let Some(from) = self.keys_from {
            self.keys_from = match key.code {
                KeyCode::Char('q') => {
                    self.is_over = true;
                    None
                }
                KeyCode::Down | KeyCode::Char('j') | KeyCode::PageDown => Some(from + 1),
                KeyCode::Up | KeyCode::Char('k') | KeyCode::PageUp => Some(from.saturating_sub(1)),
                _ => None,
            };
        } else if leaves(key) {
            self.is_over = true;
        } else {
            self.go(key.code);
        }
    }

    fn go(&mut self, code: KeyCode) {
        self.view = match (code, self.view) {
            (KeyCode::Char('?'), view) => {
                self.keys_from = Some(0);
                view
            }
            (KeyCode::Char('1'), _)
            | (KeyCode::Tab, View::Timeline)
            | (KeyCode::BackTab, View::Tree) => View::Table,
            (KeyCode::Char('2'), _)
            | (KeyCode::Tab, View::Table)
            | (KeyCode::BackTab, View::Timeline) => View::Tree,
            (KeyCode::Char('3'), _)
            | (KeyCode::Tab, View::Tree)
            | (KeyCode::BackTab, View::Table) => View::Timeline,
            (KeyCode::Enter, View::Table) => self.see(Focus::Callees),
            (KeyCode::Char('b'), View::Table) => self.see(Focus::Callers),
            (code, View::Table) => {
                self.table.key(code);
                View::Table
            }
            (code, View::Tree) => {
                self.tree.key(code);
                View::Tree
            }
            (code, View::Timeline) => {
                self.timeline.key(code);
                View::Timeline
            }
        };
    }

    /// The selected function of the table, in the tree.
    fn see(&mut self, focus: impl FnOnce(String) -> Focus) -> View {
        match self.table.selected() {
            Some(name) if self.tree.look_at(focus(name.to_owned())) => View::Tree,
            Some(_) | None => View::Table,
        }
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [top, body, bottom] = areas(frame.area());
        frame.render_widget(Paragraph::new(self.top_line()), top);
        match self.view {
            View::Table => self.table.draw(frame, body, self.palette),
            View::Tree => self.tree.draw(frame, body, self.palette),
            View::Timeline => self
                .timeline
                .draw(frame, body, &mut self.names, self.palette),
        }
        let bottom_line = match (self.keys_from, self.view) {
            (Some(_), _) => Line::styled(
                "Down Up for more; any other key: back",
                self.palette.faint(),
            ),
            (None, View::Table) => self.table.bottom_line(self.palette),
            (None, View::Tree) => self.tree.bottom_line(self.palette),
            (None, View::Timeline) => self.timeline.bottom_line(self.palette),
        };
        frame.render_widget(Paragraph::new(bottom_line), bottom);
        if let Some(from) = self.keys_from {
            let most = KEYS.len().saturating_sub(usize::from(body.height));
            let from = from.min(most);
            self.keys_from = Some(from);
            let lines: Vec<Line<'_>> = KEYS
                .iter()
                .skip(from)
                .map(|line| match line.starts_with(' ') {
                    true => Line::raw(*line),
                    false => Line::styled(*line, self.palette.heading()),
                })
                .collect();
            frame.render_widget(Clear, body);
            frame.render_widget(Paragraph::new(lines), body);
        }
    }

    fn top_line(&self) -> Line<'_> {
        let mut spans = Vec::new();
        for (view, name) in [
            (View::Table, "1 table"),
            (View::Tree, "2 tree"),
            (View::Timeline, "3 timeline"),
        ] {
            if view == self.view {
                spans.push(Span::styled(format!("[{name}]"), self.palette.heading()));
            } else {
                spans.push(Span::raw(format!(" {name} ")));
            }
        }
        spans.push(Span::raw(" ? keys "));
        if !self.notice.is_empty() {
            spans.push(Span::styled(
                format!(" {} ", self.notice),
                self.palette.warning(),
            ));
        }
        spans.push(Span::styled(
            format!(" {}", self.title),
            self.palette.faint(),
        ));
        Line::from(spans)
    }
}

/// A line on top, one at the bottom, and what is between.
fn areas(area: Rect) -> [Rect; 3] {
    Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area)
}

/// What is shown while the trace is read for the first time.
pub(super) fn draw_loading(
    frame: &mut Frame<'_>,
    title: &str,
    loading: &Loading,
    palette: Palette,
) {
    let lines = vec![
        Line::raw(format!("reading {}", plain(title))),
        Line::styled(loading.progress(), palette.heading()),
        Line::styled("q leaves", palette.faint()),
    ];
    frame.render_widget(Paragraph::new(lines), frame.area());
}

/// Which line of a list is selected, and which ones are on the screen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Selection {
    /// The selected line.
    pub(super) at: usize,
    /// The first one on the screen.
    pub(super) top: usize,
    /// How many fit.
    height: usize,
}

impl Selection {
    /// Moves through so many lines; whether the key is one that does.
    pub(super) fn key(&mut self, code: KeyCode, count: usize) -> bool {
        let last = count.saturating_sub(1);
        let page = self.height.max(1);
        self.at = match code {
            KeyCode::Up | KeyCode::Char('k') => self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.at.saturating_add(1),
            KeyCode::PageUp => self.at.saturating_sub(page),
            KeyCode::PageDown => self.at.saturating_add(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Sees to it that the selected line is one of `count`, and on a screen of this height.
    pub(super) fn fit(&mut self, count: usize, height: u16) {
        self.height = usize::from(height);
        self.at = self.at.min(count.saturating_sub(1));
        let lowest_top = self.at.saturating_add(1).saturating_sub(self.height);
        let most = count.saturating_sub(self.height);
        self.top = self.top.max(lowest_top).min(self.at).min(most);
    }

    /// The line of this number, as it looks where it is the selected one.
    pub(super) fn styled(&self, line: usize, text: String, palette: Palette) -> Line<'static> {
        if line == self.at {
            Line::styled(text, palette.selected())
        } else {
            Line::raw(text)
        }
    }
}
