// SPDX-License-Identifier: GPL-2.0-only

//! Draws graphs and the longest chain: as text, for graphviz, and as SVG.
//!
//! In: a [`JobGraph`] or a [`CriticalPath`]. Out: text. The SVG has a row for each job, time from left to right, its
//! segments in colours, and an arrow for each edge; it needs no other file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use deferinit_trace::dump::{flamegraph, graphviz};
use deferinit_trace::text::scaled as duration;

use crate::explain::Look;
use crate::graph::{CriticalPath, EdgeKind, JobGraph, Node};
use crate::segment::SegmentKind;

/// Rows that an SVG has at most; more are no picture.
pub const MOST_ROWS: usize = 2_000;

const ROW: usize = 22;
const LEFT: usize = 260;
const WIDTH: usize = 1_200;
const TOP: usize = 40;

impl EdgeKind {
    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::Order => "order",
            Self::Plan => "plan",
            Self::Call => "call",
            Self::Retry => "retry",
            Self::MaxActive => "max-active",
            Self::Worker => "worker",
            Self::Wake => "wake",
            Self::Cpu => "cpu",
        }
    }
}

impl JobGraph {
    /// For graphviz's `dot`.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph jobs {\n  rankdir=LR;\n  node [shape=box];\n");
        // Into memory, where nothing fails.
        for node in &self.nodes {
            let slack = node.slack_ns.map_or_else(
                || "nothing waits for it".to_owned(),
                |slack| format!("slack {}", duration(slack)),
            );
            let bold = if node.is_critical {
                ", style=bold, color=red"
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "  j{} [label=\"{}\\n{}, {}\"{bold}];",
                node.job,
                graphviz::escaped(&node.name),
                duration(node.end_ns.saturating_sub(node.begin_ns)),
                slack
            );
        }
        for edge in &self.edges {
            let _ = writeln!(
                out,
                "  j{} -> j{} [label=\"{}\"];",
                edge.from,
                edge.to,
                edge.kind.word()
            );
        }
        out.push_str("}\n");
        out
    }

    /// A picture for a browser.
    ///
    /// # Errors
    /// There are more jobs than [`MOST_ROWS`]: how many.
    pub fn svg(&self) -> Result<String, usize> {
        if self.nodes.len() > MOST_ROWS {
            return Err(self.nodes.len());
        }
        let begin = self.nodes.iter().map(|node| node.begin_ns).min();
        let end = self.nodes.iter().map(|node| node.end_ns).max();
        let (begin, end) = (begin.unwrap_or(0), end.unwrap_or(1));
        let scale = Scale {
            begin,
            span: end.saturating_sub(begin).max(1),
        };
        let height = TOP + ROW * (self.nodes.len() + 2);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"monospace\" \
             font-size=\"12\">\n<defs><marker id=\"a\" viewBox=\"0 0 6 6\" refX=\"6\" refY=\"3\" markerWidth=\"6\" \
             markerHeight=\"6\" orient=\"auto\"><path d=\"M0,0 L6,3 L0,6 z\"/></marker></defs>\n",
            LEFT + WIDTH + 20
        );
        legend(&mut out);
        let mut rows = BTreeMap::new();
        for (row, node) in self.nodes.iter().enumerate() {
            rows.insert(node.job, row);
            bar(&mut out, node, row, scale);
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (rows.get(&edge.from), rows.get(&edge.to)) else {
                continue;
            };
            let _ = writeln!(
                out,
                "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"black\" stroke-opacity=\"0.5\" \
                 marker-end=\"url(#a)\"><title>{}: {} of {}</title></line>",
                scale.x(edge.from_ns),
                middle(*from),
                scale.x(edge.to_ns),
                middle(*to),
                edge.kind.word(),
                edge.to,
                edge.from
            );
        }
        out.push_str("</svg>\n");
        Ok(out)
    }

    /// What the graph cannot say, and jobs that waited for each other in turns.
    #[must_use]
    pub fn remarks(&self) -> String {
        let mut out = String::new();
        for cycle in &self.cycles {
            let names: Vec<&str> = self
                .nodes
                .iter()
                .filter(|node| cycle.contains(&node.job))
                .map(|node| node.name.as_str())
                .collect();
            let _ = writeln!(
                out,
                "cycle: {} waited for each other in turns",
                names.join(", ")
            );
        }
        out.push_str("not in the graph, since no record says so:\n");
        for what in &self.not_derivable {
            let _ = writeln!(out, "  {what}");
        }
        out
    }

    /// The jobs with their slack, the least first.
    #[must_use]
    pub fn slack_table(&self) -> String {
        let mut nodes: Vec<&Node> = self
            .nodes
            .iter()
            .filter(|node| node.kind == "item")
            .collect();
        if nodes.is_empty() {
            nodes = self
                .nodes
                .iter()
                .filter(|node| node.slack_ns.is_some())
                .collect();
        }
        nodes.sort_by_key(|node| (node.slack_ns, node.begin_ns));
        let width = nodes
            .iter()
            .map(|node| node.name.len())
            .max()
            .unwrap_or(0)
            .min(40);
        let mut out = String::new();
        for node in nodes {
            let slack = node.slack_ns.map_or_else(|| "-".to_owned(), duration);
            let _ = writeln!(out, "  {:<width$}  {slack:>11}", node.name);
        }
        out
    }
}

impl CriticalPath {
    /// A line for each link; those of one job that do the same stand together.
    #[must_use]
    pub fn table(&self, look: Look) -> String {
        let (bold, plain) = look.bold();
        let total = self.end_ns.saturating_sub(self.begin_ns);
        let mut out = format!(
            "{bold}{} in {} links{plain}\n",
            duration(total),
            self.links.len()
        );
        let mut last = None;
        for link in &self.links {
            let share = link.ns.saturating_mul(1000).checked_div(total).unwrap_or(0);
            if last != Some(link.job) {
                let _ = writeln!(out, "{}", link.name);
                last = Some(link.job);
            }
            let mark = if link.is_unknown { "?" } else { "" };
            let _ = writeln!(
                out,
                "  +{:<11} {:<10} {:>11}{mark:1} {:>3}.{} %  {}",
                duration(link.from_ns.saturating_sub(self.begin_ns)),
                link.kind.word(),
                duration(link.ns),
                share / 10,
                share % 10,
                link.why
            );
        }
        out
    }
}

/// Where times are.
#[derive(Clone, Copy)]
struct Scale {
    begin: u64,
    span: u64,
}

impl Scale {
    fn x(self, at: u64) -> u64 {
        let since = u128::from(at.saturating_sub(self.begin));
        let width = u128::try_from(WIDTH).unwrap_or(0);
        let left = u64::try_from(LEFT).unwrap_or(0);
        let place = since.saturating_mul(width) / u128::from(self.span);
        left.saturating_add(u64::try_from(place).unwrap_or(0))
    }
}

fn middle(row: usize) -> usize {
    TOP + ROW * (row + 1) + ROW / 2
}

fn bar(out: &mut String, node: &Node, row: usize, scale: Scale) {
    let y = TOP + ROW * (row + 1);
    let weight = if node.is_critical {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let name = flamegraph::escaped(&node.name);
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\"{weight}>{}</text>",
        LEFT - 8,
        y + 15,
        shortened(&name)
    );
    for (kind, from, ns) in &node.segments {
        let (left, right) = (scale.x(*from), scale.x(from.saturating_add(*ns)));
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"><title>{name}: {} {}</title></rect>",
            y + 3,
            right.saturating_sub(left).max(1),
            ROW - 6,
            colour(*kind),
            kind.word(),
            duration(*ns)
        );
    }
}

fn legend(out: &mut String) {
    for (number, kind) in SegmentKind::ALL.into_iter().enumerate() {
        let x = 8 + number * 112;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"8\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"19\">{}</text>",
            colour(kind),
            x + 16,
            kind.word()
        );
    }
}

/// Colours that are told apart by those who see red and green alike: Okabe and Ito's, with lighter ones of them.
fn colour(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Delay => "#dddddd",
        SegmentKind::Jiffies => "#bbbbbb",
        SegmentKind::Wheel => "#999999",
        SegmentKind::Timer => "#666666",
        SegmentKind::Queueing => "#f0e442",
        SegmentKind::MaxActive => "#d55e00",
        SegmentKind::Worker => "#e69f00",
        SegmentKind::Waiting => "#f5c77e",
        SegmentKind::Runqueue => "#cc79a7",
        SegmentKind::Pickup => "#e8c4d8",
        SegmentKind::Run => "#009e73",
        SegmentKind::Blocked => "#56b4e9",
        SegmentKind::Preempted => "#0072b2",
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= 34 {
        return name.to_owned();
    }
    let head: String = name.chars().take(33).collect();
    format!("{head}…")
}
