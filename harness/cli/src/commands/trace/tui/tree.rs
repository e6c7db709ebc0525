// SPDX-License-Identifier: GPL-2.0-only

//! The tree: calls added up by where they were called from, as `deferinit trace graph` has it; opened step by step.

use crossterm::event::KeyCode;
use deferinit_trace::glob::Glob;
use deferinit_trace::graph::{Graph, Node};
use deferinit_trace::text::scaled;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::state::Selection;
use super::style::{Palette, plain, with_module};

/// Columns of the screen that are left for a name, however deep it is.
const NAME_WIDTH: usize = 12;

/// Which part of the tree is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Focus {
    /// All of it.
    Whole,
    /// What a function called.
    Callees(String),
    /// From where a function was called.
    Callers(String),
}

/// The tree, and which part of it is open.
pub(super) struct Tree {
    whole: Graph,
    shown: Shown,
    focus: Focus,
    selection: Selection,
}

/// What is shown of it.
struct Shown {
    /// None for all of it.
    part: Option<Graph>,
    /// Below each node, by descending total.
    children: Vec<Vec<usize>>,
    tops: Vec<usize>,
    is_open: Vec<bool>,
    /// The nodes that can be seen, from top to bottom, and how deep they are.
    lines: Vec<(usize, usize)>,
}

impl Tree {
    /// The whole tree, closed.
    pub(super) fn new(graph: Graph) -> Self {
        let mut shown = Shown::of(&graph, None);
        shown.arrange();
        Self {
            whole: graph,
            shown,
            focus: Focus::Whole,
            selection: Selection::default(),
        }
    }

    /// Shows another part; false, and all as it was, if there is no such function.
    pub(super) fn look_at(&mut self, focus: Focus) -> bool {
        let part = match &focus {
            Focus::Whole => None,
            Focus::Callees(name) => match self.whole.callees(&exactly(name)) {
                None => return false,
                part => part,
            },
            Focus::Callers(name) => match self.whole.callers(&exactly(name)) {
                None => return false,
                part => part,
            },
        };
        let is_part = part.is_some();
        self.shown = Shown::of(&self.whole, part);
        if is_part {
            // There is one top, and what is below it is what was asked for.
            for top in self.shown.tops.clone() {
                self.shown.open(top, true);
            }
        }
        self.shown.arrange();
        self.focus = focus;
        self.selection = Selection::default();
        true
    }

    /// Does what a key asks for.
    pub(super) fn key(&mut self, code: KeyCode) {
        let Some((node, level)) = self.shown.lines.get(self.selection.at).copied() else {
            return;
        };
        let (has_children, is_open) = (self.shown.has_children(node), self.shown.is_open(node));
        match code {
            KeyCode::Enter | KeyCode::Char(' ') => self.shown.open(node, !is_open),
            KeyCode::Right | KeyCode::Char('l') if has_children && !is_open => {
                self.shown.open(node, true);
            }
            KeyCode::Right | KeyCode::Char('l') if has_children => self.selection.at += 1,
            KeyCode::Left | KeyCode::Char('h') if has_children && is_open => {
                self.shown.open(node, false);
            }
            KeyCode::Left | KeyCode::Char('h') => {
                let before = self.shown.lines.iter().take(self.selection.at);
                let above = before.rev().position(|(_, of)| *of < level);
                let steps = above.map_or(0, |steps| steps + 1);
                self.selection.at = self.selection.at.saturating_sub(steps);
            }
            KeyCode::Char('e') => self.shown.open_below(node),
            KeyCode::Char('w') => {
                self.shown.is_open.fill(false);
                self.selection.at = 0;
            }
            KeyCode::Char('c') => {
                let focus = match self.focus {
                    Focus::Callers(_) => Focus::Whole,
                    Focus::Whole | Focus::Callees(_) => Focus::Callers(self.name(node)),
                };
                self.look_at(focus);
            }
            KeyCode::Char('a') => {
                self.look_at(Focus::Whole);
            }
            code => {
                self.selection.key(code, self.shown.lines.len());
            }
        }
        self.shown.arrange();
    }

    fn graph(&self) -> &Graph {
        self.shown.part.as_ref().unwrap_or(&self.whole)
    }

    fn name(&self, node: usize) -> String {
        let graph = self.graph();
        let node = graph.nodes.get(node);
        node.map(|node| graph.name(node).to_owned())
            .unwrap_or_default()
    }

    /// Draws the heading and the calls that fit.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, palette: Palette) {
        if self.whole.nodes.is_empty() {
            let text = "no call is in this trace: it has no records of function_graph";
            frame.render_widget(Paragraph::new(text).wrap(Default::default()), area);
            return;
        }
        let height = area.height.saturating_sub(1);
        self.selection.fit(self.shown.lines.len(), height);
        let on_screen: Vec<(usize, usize, usize)> = self
            .shown
            .lines
            .iter()
            .enumerate()
            .skip(self.selection.top)
            .take(usize::from(height))
            .map(|(line, (node, level))| (line, *node, *level))
            .collect();
        let has_self = area.width >= 50;
        let cells = |node: &Node| {
            let mark = if node.counts.self_inexact_ns > 0 {
                "*"
            } else {
                " "
            };
            let own = format!("{}{mark}", scaled(node.counts.self_ns));
            let (calls, total) = (node.counts.calls, scaled(node.counts.total_ns));
            if has_self {
                format!("{calls:>9} {total:>12} {own:>13}  ")
            } else {
                format!("{calls:>7} {total:>11}  ")
            }
        };
        let heading = if has_self {
            format!("{:>9} {:>12} {:>12}   ", "Calls", "Total", "Self")
        } else {
            format!("{:>7} {:>11}  ", "Calls", "Total")
        };
        // Where the selected one is too deep for the screen, all lines go to the left.
        let level = self
            .shown
            .lines
            .get(self.selection.at)
            .map_or(0, |line| line.1);
        let room = usize::from(area.width)
            .saturating_sub(heading.len() + NAME_WIDTH)
            .max(2);
        let shift = (2 * level).saturating_sub(room);
        let first = if shift > 0 { "..Function" } else { "Function" };
        let mut lines = vec![Line::styled(format!("{heading}{first}"), palette.heading())];
        let graph = self.graph();
        for (line, place, level) in on_screen {
            let Some(node) = graph.nodes.get(place) else {
                continue;
            };
            let sign = match (self.shown.has_children(place), self.shown.is_open(place)) {
                (false, _) => ' ',
                (true, false) => '+',
                (true, true) => '-',
            };
            let module = graph
                .names
                .get(node.name)
                .and_then(|name| name.module.as_deref());
            let name = with_module(graph.name(node), module);
            let mut tail = format!("{:indent$}{sign} {name}", "", indent = 2 * level);
            if node.counts.incomplete_calls > 0 {
                tail.push_str(&format!(
                    " ({} not seen to end)",
                    node.counts.incomplete_calls
                ));
            }
            let tail: String = tail.chars().skip(shift).collect();
            let text = format!("{}{tail}", cells(node));
            lines.push(self.selection.styled(line, text, palette));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    /// What is shown.
    pub(super) fn bottom_line(&self, palette: Palette) -> Line<'_> {
        let text = match &self.focus {
            Focus::Whole => "all calls  Enter open  e all below  c callers".to_owned(),
            Focus::Callees(name) => format!("called by {}  a all  c callers", plain(name)),
            Focus::Callers(name) => format!("callers of {}  c back", plain(name)),
        };
        Line::styled(text, palette.faint())
    }
}

/// A pattern for one name.
fn exactly(name: &str) -> Glob {
    let mut pattern = String::new();
    for letter in name.chars() {
        if matches!(letter, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    Glob::new(&pattern)
}

impl Shown {
    fn of(whole: &Graph, part: Option<Graph>) -> Self {
        let graph = part.as_ref().unwrap_or(whole);
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
        let mut tops = Vec::new();
        for (place, node) in graph.nodes.iter().enumerate() {
            match node.parent.and_then(|parent| children.get_mut(parent)) {
                Some(siblings) => siblings.push(place),
                None => tops.push(place),
            }
        }
        let total = |place: &usize| {
            let node = graph.nodes.get(*place);
            std::cmp::Reverse(node.map(|node| node.counts.total_ns))
        };
        for siblings in &mut children {
            siblings.sort_by_key(total);
        }
        tops.sort_by_key(total);
        Self {
            is_open: vec![false; children.len()],
            part,
            children,
            tops,
            lines: Vec::new(),
        }
    }

    fn has_children(&self, node: usize) -> bool {
        self.children
            .get(node)
            .is_some_and(|below| !below.is_empty())
    }

    fn is_open(&self, node: usize) -> bool {
        self.is_open.get(node) == Some(&true)
    }

    fn open(&mut self, node: usize, open: bool) {
        if let Some(is_open) = self.is_open.get_mut(node) {
            *is_open = open;
        }
    }

    fn open_below(&mut self, node: usize) {
        let mut waiting = vec![node];
        while let Some(node) = waiting.pop() {
            self.open(node, true);
            waiting.extend(self.children.get(node).into_iter().flatten());
        }
    }

    /// Finds the nodes that can be seen.
    fn arrange(&mut self) {
        self.lines.clear();
        let mut waiting: Vec<(usize, usize)> =
            self.tops.iter().rev().map(|top| (*top, 0)).collect();
        while let Some((node, level)) = waiting.pop() {
            self.lines.push((node, level));
            if self.is_open(node) {
                let below = self.children.get(node).into_iter().flatten();
                waiting.extend(below.rev().map(|child| (*child, level + 1)));
            }
        }
    }
}
