// SPDX-License-Identifier: GPL-2.0-only

//! Draws who calls whom, for Graphviz.
//!
//! In: the time spent in each call stack. Out: a digraph in DOT: a node per function with its calls, its own time and that
//! of what it calls, an edge per caller and callee with calls and time. A stack in which a function or an edge stands
//! several times (recursion) counts once for it.
//! At most [`MOST_EDGES`] edges are kept; the graph says so if there were more.
//! Source: the DOT language of Graphviz.

use std::collections::{BTreeSet, HashMap};
use std::io;

use super::StackSink;

/// Edges that are kept at most; far more than can be drawn.
pub const MOST_EDGES: usize = 1 << 17;

/// Gathers call stacks for a graph.
#[derive(Debug, Default)]
pub struct Graphviz {
    ids: HashMap<String, usize>,
    nodes: Vec<Node>,
    edges: HashMap<(usize, usize), Edge>,
    refused: u64,
    /// Of the stack at hand.
    path: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    name: String,
    calls: u64,
    self_ns: u64,
    total_ns: u64,
}

#[derive(Debug, Default)]
struct Edge {
    calls: u64,
    total_ns: u64,
}

impl Graphviz {
    /// No call yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the graph. Nodes and edges come in the order of their times, longest first.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(self, mut out: impl io::Write) -> io::Result<()> {
        writeln!(out, "digraph calls {{")?;
        writeln!(out, "  node [shape=box, fontname=\"monospace\"];")?;
        if self.refused > 0 {
            writeln!(
                out,
                "  label=\"{} calls between functions are not shown: more than {MOST_EDGES} pairs\";",
                self.refused
            )?;
        }
        let longest = self
            .nodes
            .iter()
            .map(|node| node.total_ns)
            .max()
            .unwrap_or(0);
        let mut nodes: Vec<(usize, &Node)> = self.nodes.iter().enumerate().collect();
        nodes.sort_by_key(|(id, node)| (std::cmp::Reverse(node.total_ns), *id));
        for (id, node) in nodes {
            writeln!(
                out,
                "  n{id} [label=\"{}\\n{} calls\\nself {} ns\\ntotal {} ns\"];",
                escaped(&node.name),
                node.calls,
                node.self_ns,
                node.total_ns
            )?;
        }
        let mut edges: Vec<(&(usize, usize), &Edge)> = self.edges.iter().collect();
        edges.sort_by_key(|(ends, edge)| (std::cmp::Reverse(edge.total_ns), **ends));
        for ((from, to), edge) in edges {
            // From 1 to 6 points, by the share of the longest time.
            let share = u128::from(edge.total_ns)
                .saturating_mul(50)
                .checked_div(u128::from(longest))
                .unwrap_or(0)
                .min(50);
            writeln!(
                out,
                "  n{from} -> n{to} [label=\"{} calls\\n{} ns\", penwidth={}.{}];",
                edge.calls,
                edge.total_ns,
                share.saturating_add(10) / 10,
                share % 10
            )?;
        }
        writeln!(out, "}}")?;
        out.flush()
    }

    fn id(&mut self, name: &str) -> usize {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.nodes.len();
        self.ids.insert(name.to_owned(), id);
        self.nodes.push(Node {
            name: name.to_owned(),
            ..Node::default()
        });
        id
    }
}

impl StackSink for Graphviz {
    fn stack(&mut self, frames: &[&str], self_ns: u64, calls: u64) -> io::Result<()> {
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        path.extend(frames.iter().map(|frame| self.id(frame)));
        for id in path.iter().collect::<BTreeSet<_>>() {
            if let Some(node) = self.nodes.get_mut(*id) {
                node.total_ns = node.total_ns.saturating_add(self_ns);
            }
        }
        if let Some(last) = path.last().and_then(|id| self.nodes.get_mut(*id)) {
            last.self_ns = last.self_ns.saturating_add(self_ns);
            last.calls = last.calls.saturating_add(calls);
        }
        let edges = || path.iter().copied().zip(path.iter().copied().skip(1));
        for ends in edges().collect::<BTreeSet<_>>() {
            if self.edges.len() >= MOST_EDGES && !self.edges.contains_key(&ends) {
                self.refused = self.refused.saturating_add(calls);
                continue;
            }
            let edge = self.edges.entry(ends).or_default();
            edge.total_ns = edge.total_ns.saturating_add(self_ns);
        }
        // The calls are those of the last frame: of the last edge only.
        if let Some(edge) = edges()
            .next_back()
            .and_then(|ends| self.edges.get_mut(&ends))
        {
            edge.calls = edge.calls.saturating_add(calls);
        }
        self.path = path;
        Ok(())
    }
}

/// The text for a quoted string of the DOT language; line ends become blanks.
#[must_use]
pub fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(stacks: &[(&[&str], u64, u64)]) -> String {
        let mut graph = Graphviz::new();
        for (frames, self_ns, calls) in stacks {
            graph.stack(frames, *self_ns, *calls).expect("it takes all");
        }
        let mut out = Vec::new();
        graph.finish(&mut out).expect("a vector takes all");
        String::from_utf8(out).expect("names are UTF-8")
    }

    #[test]
    fn times_and_calls_add_up_along_the_stacks() {
        let text = drawn(&[
            (&["a"], 10, 1),
            (&["a", "b"], 20, 3),
            (&["a", "b", "c"], 5, 4),
            (&["b"], 1, 1),
        ]);
        assert!(
            text.contains("[label=\"a\\n1 calls\\nself 10 ns\\ntotal 35 ns\"]"),
            "{text}"
        );
        assert!(
            text.contains("[label=\"b\\n4 calls\\nself 21 ns\\ntotal 26 ns\"]"),
            "{text}"
        );
        assert!(
            text.contains("n0 -> n1 [label=\"3 calls\\n25 ns\", penwidth=4.5]"),
            "{text}"
        );
        assert!(
            text.contains("n1 -> n2 [label=\"4 calls\\n5 ns\", penwidth=1.7]"),
            "{text}"
        );
    }

    #[test]
    fn recursion_counts_its_time_once() {
        let text = drawn(&[(&["a", "a", "a"], 10, 1)]);
        assert!(text.contains("self 10 ns\\ntotal 10 ns"), "{text}");
        assert!(
            text.contains("n0 -> n0 [label=\"1 calls\\n10 ns\""),
            "{text}"
        );
    }

    #[test]
    fn names_are_escaped() {
        let text = drawn(&[(&["<\"x\\y\">"], 1, 1)]);
        assert!(text.contains(r#"label="<\"x\\y\">\n"#), "{text}");
    }
}
