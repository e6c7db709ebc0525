// SPDX-License-Identifier: GPL-2.0-only

//! Adds up calls by where they were called from.
//!
//! In: records by time ([`CallGraph::record`]). Out: a [`Graph`], the tree of all call paths of the trace, with how often
//! each was taken and how long that took, of all tasks together or with each task's own tree. From it come the callers
//! and the callees of a function, and each can be written as an indented tree, and handed to an export path by path
//! ([`Graph::stacks`]).
//!
//! Times are those of [`crate::calls`]. A path that begins where the calls around it were not seen, because they began
//! before the trace, stands below [`UNSEEN_CALLERS`]. An interrupt that came before the entry of a call was recorded (see
//! [`Call::has_earlier_inside`]) stands beside that call; the self times are right all the same.
//!
//! Memory grows with the distinct paths, not with the records: at most [`MOST_NODES`] of them, and as many nodes again
//! that are called [`OTHER_FUNCTIONS`], one below a path at most: each has all the calls below that path that would have
//! needed further nodes, with their self times and the totals of the topmost. In a trace that has exits only, calls wait
//! for those around them, which come later: at most [`MOST_PENDING`], after which a task's are taken as they are.

use std::collections::HashMap;
use std::io;

use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::addresses::Addresses;
use crate::calls::{Account, Call, CallSink, Calls, Entry, Start, Unfinished};
use crate::dump::StackSink;
use crate::functions::{FunctionName, Functions};
use crate::glob::Glob;
use crate::report::OTHER_FUNCTIONS;
use crate::task::Task;
use crate::text::{push_blanks, scaled};

/// Paths that are told apart at most.
pub const MOST_NODES: usize = 1 << 17;

/// Calls that wait for the calls around them at most, besides one per task.
pub const MOST_PENDING: usize = 1 << 18;

/// Stands for the calls around a path's first that were not seen.
pub const UNSEEN_CALLERS: &str = "[callers not seen]";

/// Whose calls have a tree together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All tasks' calls.
    Together,
    /// Each task's below a node with its name and pid.
    ByTask,
}

/// The tree while the trace goes through.
#[derive(Debug)]
pub struct CallGraph {
    calls: Calls<Paths>,
    paths: Paths,
}

/// A tree of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// What was counted besides.
    pub account: Account,
    /// Whether there were more paths than are told apart, so that some are in nodes named [`OTHER_FUNCTIONS`].
    pub has_others: bool,
    /// What the nodes are named.
    pub names: Vec<FunctionName>,
    /// A node per path, each behind its parent.
    pub nodes: Vec<Node>,
}

/// One path of calls: the function at its end, called along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Index into [`Graph::names`].
    pub name: usize,
    /// Index into [`Graph::nodes`] of the path without its end; `None` at the top.
    pub parent: Option<usize>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What is counted of each path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Calls that ended.
    pub calls: u64,
    /// Their durations together.
    pub total_ns: u64,
    /// Their self times together.
    pub self_ns: u64,
    /// The part of `self_ns` from calls for which it is only an upper bound.
    pub self_inexact_ns: u64,
    /// Calls that were not seen to end; they are not among `calls`.
    pub incomplete_calls: u64,
}

#[derive(Debug)]
struct Paths {
    addresses: Addresses,
    tree: Tree,
    grouping: Grouping,
    /// Calls that wait, of all tasks.
    pending: usize,
}

/// A call in the tree.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    node: u32,
    /// It is below a node for others, and its total is in that already.
    is_nested: bool,
}

/// A task's calls that wait for those around them, in the order of their ends.
#[derive(Debug, Default)]
struct PerTask {
    pending: Vec<Pending>,
    task: Option<Task>,
}

#[derive(Debug)]
struct Pending {
    key: u64,
    depth: usize,
    counts: Counts,
}

/// Paths by parent and what is at their end. Node 0 is above all.
#[derive(Debug)]
struct Tree {
    nodes: Vec<TreeNode>,
    children: HashMap<(u32, u64), u32, RandomState>,
    limit: usize,
    has_others: bool,
}

#[derive(Debug, Clone, Copy)]
struct TreeNode {
    key: u64,
    parent: u32,
    counts: Counts,
}

const TOP: u32 = 0;

// What is at the end of a path: the number of a function, which has 32 bits at most, or one of these.
const OTHERS: u64 = 1 << 40;
const UNSEEN: u64 = 1 << 41;
const TASK: u64 = 1 << 42;
const IDLE_TASK: u64 = 1 << 43;

impl Default for CallGraph {
    fn default() -> Self {
        Self::new(Grouping::Together)
    }
}

impl CallGraph {
    /// An empty tree.
    #[must_use]
    pub fn new(grouping: Grouping) -> Self {
        Self {
            calls: Calls::default(),
            paths: Paths {
                addresses: Addresses::default(),
                tree: Tree::new(MOST_NODES),
                grouping,
                pending: 0,
            },
        }
    }

    /// Tells fewer paths apart than [`MOST_NODES`].
    #[must_use]
    pub fn with_most_nodes(mut self, most: usize) -> Self {
        self.paths.tree.limit = most.min(MOST_NODES);
        self
    }

    /// Adds the next record; those of other events change nothing.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) {
        self.calls.record(record, &mut self.paths);
    }

    /// Says that the writer lost records, see [`Calls::lost`].
    pub fn lost(&mut self, count: Option<u64>) {
        self.calls.lost(count);
    }

    /// Ends the trace, and names functions and tasks.
    #[must_use]
    pub fn finish(mut self, functions: &mut Functions<'_>, tasks: &SavedCmdlines) -> Graph {
        let account = self.calls.finish(&mut self.paths);
        // It is as large as what is built from here on, and of no more use.
        drop(std::mem::take(&mut self.paths.tree.children));
        let addresses = &self.paths.addresses;
        let mut names = Vec::new();
        let mut places: HashMap<u64, usize, RandomState> = HashMap::default();
        let mut name_of = |key: u64| {
            *places.entry(key).or_insert_with(|| {
                let address = usize::try_from(key)
                    .ok()
                    .and_then(|number| addresses.address(number));
                names.push(match (task_of(key), address) {
                    (Some(task), _) => plain(&task.label(tasks)),
                    (None, Some(address)) => {
                        let id = functions.at(address);
                        functions
                            .name(id)
                            .cloned()
                            .unwrap_or_else(|| plain(OTHER_FUNCTIONS))
                    }
                    (None, None) if key == UNSEEN => plain(UNSEEN_CALLERS),
                    (None, None) => plain(OTHER_FUNCTIONS),
                });
                names.len() - 1
            })
        };
        let nodes = self
            .paths
            .tree
            .below_top()
            .map(|node| Node {
                name: name_of(node.key),
                parent: above(node.parent),
                counts: node.counts,
            })
            .collect();
        Graph {
            account,
            has_others: self.paths.tree.has_others,
            names,
            nodes,
        }
    }
}

impl CallSink for Paths {
    type Frame = Frame;
    type PerTask = PerTask;

    #[inline]
    fn entered(&mut self, entry: &Entry, _task: &mut PerTask, around: Option<Frame>) -> Frame {
        let key = self.key(entry.function);
        let around = around.unwrap_or_else(|| self.outermost(entry.task, entry.depth));
        self.tree.child(around, key)
    }

    #[inline]
    fn ended(
        &mut self,
        call: &Call,
        task: &mut PerTask,
        frame: Option<Frame>,
        around: Option<Frame>,
    ) {
        let counts = Counts {
            calls: 1,
            total_ns: call.duration_ns,
            self_ns: call.self_ns,
            self_inexact_ns: if call.self_is_exact { 0 } else { call.self_ns },
            incomplete_calls: 0,
        };
        let frame = match (frame, call.start) {
            (Some(frame), _) => frame,
            (None, Start::NotRecorded) => return self.wait(call, counts, task),
            (None, Start::Seen | Start::Missing) => {
                let key = self.key(call.function);
                let around = around.unwrap_or_else(|| self.outermost(call.task, call.depth));
                self.tree.child(around, key)
            }
        };
        self.tree.add(frame, &counts);
    }

    fn unfinished(&mut self, _call: &Unfinished, _task: &mut PerTask, frame: Frame) {
        let counts = Counts {
            incomplete_calls: 1,
            ..Counts::default()
        };
        self.tree.add(frame, &counts);
    }

    fn forgotten(&mut self, _task: Task, mut kept: PerTask) {
        self.settle(&mut kept);
    }
}

impl Paths {
    #[inline]
    fn key(&mut self, function: u64) -> u64 {
        match self.addresses.number(function) {
            crate::addresses::OTHERS => OTHERS,
            number => u64::try_from(number).unwrap_or(OTHERS),
        }
    }

    /// Where a task's calls hang that have no known call around them.
    fn outermost(&mut self, task: Task, depth: usize) -> Frame {
        let top = match self.grouping {
            Grouping::Together => Frame::default(),
            Grouping::ByTask => self.tree.child(Frame::default(), key_of_task(task)),
        };
        if depth == 0 {
            top
        } else {
            self.tree.child(top, UNSEEN)
        }
    }

    fn wait(&mut self, call: &Call, counts: Counts, task: &mut PerTask) {
        task.task = Some(call.task);
        if self.pending >= MOST_PENDING {
            self.settle(task);
        }
        let key = self.key(call.function);
        task.pending.push(Pending {
            key,
            depth: call.depth,
            counts,
        });
        self.pending += 1;
        if call.depth == 0 {
            self.settle(task);
        }
    }

    /// Adds the calls that wait. Backwards, each comes after the one around it.
    fn settle(&mut self, kept: &mut PerTask) {
        let pending = std::mem::take(&mut kept.pending);
        let Some(task) = kept.task else { return };
        let mut around: Vec<(usize, Frame)> = Vec::new();
        for call in pending.iter().rev() {
            while around.last().is_some_and(|(depth, _)| *depth >= call.depth) {
                around.pop();
            }
            let parent = match around.last() {
                Some((_, frame)) => *frame,
                None => self.outermost(task, call.depth),
            };
            let frame = self.tree.child(parent, call.key);
            self.tree.add(frame, &call.counts);
            around.push((call.depth, frame));
        }
        self.pending = self.pending.saturating_sub(pending.len());
    }
}

impl Tree {
    fn new(limit: usize) -> Self {
        let top = TreeNode {
            key: UNSEEN,
            parent: TOP,
            counts: Counts::default(),
        };
        Self {
            nodes: vec![top],
            children: HashMap::default(),
            limit,
            has_others: false,
        }
    }

    /// The path that goes on from another one.
    #[inline]
    fn child(&mut self, around: Frame, key: u64) -> Frame {
        let parent = around.node;
        let is_other = |node: u32| {
            let place = usize::try_from(node).ok()?;
            Some(self.nodes.get(place)?.key == OTHERS)
        };
        if around.is_nested || is_other(parent).unwrap_or(true) {
            return Frame {
                node: parent,
                is_nested: true,
            };
        }
        if let Some(node) = self.children.get(&(parent, key)) {
            return Frame {
                node: *node,
                is_nested: false,
            };
        }
        self.new_child(parent, key)
    }

    fn new_child(&mut self, parent: u32, key: u64) -> Frame {
        let is_full = self.nodes.len() > self.limit;
        self.has_others |= is_full || key == OTHERS;
        let key = if is_full { OTHERS } else { key };
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let node = *self.children.entry((parent, key)).or_insert(next);
        if node == next {
            self.nodes.push(TreeNode {
                key,
                parent,
                counts: Counts::default(),
            });
        }
        Frame {
            node,
            is_nested: false,
        }
    }

    #[inline]
    fn add(&mut self, frame: Frame, counts: &Counts) {
        let node = usize::try_from(frame.node)
            .ok()
            .and_then(|node| self.nodes.get_mut(node));
        if let Some(node) = node {
            let mut counts = *counts;
            if frame.is_nested {
                counts.total_ns = 0;
            }
            node.counts.add(&counts);
        }
    }

    /// All nodes but the top.
    fn below_top(&self) -> impl Iterator<Item = &TreeNode> {
        self.nodes.iter().skip(1)
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.self_ns = self.self_ns.saturating_add(other.self_ns);
        self.self_inexact_ns = self.self_inexact_ns.saturating_add(other.self_inexact_ns);
        self.incomplete_calls = self.incomplete_calls.saturating_add(other.incomplete_calls);
    }
}

impl Graph {
    /// The name of a node.
    #[must_use]
    pub fn name(&self, node: &Node) -> &str {
        self.names
            .get(node.name)
            .map_or("", |name| name.name.as_str())
    }

    /// What the functions with such a name called: a tree whose tops are these functions, from wherever they were
    /// called. A matching function below another one stays where it is. `None` when no function matches.
    #[must_use]
    pub fn callees(&self, functions: &Glob) -> Option<Self> {
        let matching = self.matching(functions);
        let mut tree = Tree::new(MOST_NODES);
        let mut frames: Vec<Option<Frame>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let around = node
                .parent
                .and_then(|parent| frames.get(parent).copied().flatten());
            let is_top = matching.get(node.name) == Some(&true);
            let frame = match around {
                Some(around) => Some(tree.child(around, key_of_name(node.name))),
                None if is_top => Some(tree.child(Frame::default(), key_of_name(node.name))),
                None => None,
            };
            if let Some(frame) = frame {
                tree.add(frame, &node.counts);
            }
            frames.push(frame);
        }
        self.with_nodes(&tree)
    }

    /// From where the functions with such a name were called: a tree whose tops are these functions, below each its
    /// callers, below those theirs. All counts are of the calls of the function at the top. `None` when none matches.
    #[must_use]
    pub fn callers(&self, functions: &Glob) -> Option<Self> {
        let matching = self.matching(functions);
        let mut tree = Tree::new(MOST_NODES);
        for node in &self.nodes {
            if matching.get(node.name) != Some(&true) {
                continue;
            }
            let mut frame = Frame::default();
            let mut next = Some(node);
            while let Some(caller) = next {
                frame = tree.child(frame, key_of_name(caller.name));
                tree.add(frame, &node.counts);
                if frame.is_nested {
                    break;
                }
                next = caller.parent.and_then(|parent| self.nodes.get(parent));
            }
        }
        self.with_nodes(&tree)
    }

    /// Writes the tree, a line per path, the calls below a function by descending total.
    pub fn write_tree(&self, out: &mut Vec<u8>) {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        let mut tops = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            match node.parent.and_then(|parent| children.get_mut(parent)) {
                Some(siblings) => siblings.push(place),
                None => tops.push(place),
            }
        }
        let by_total = |places: &mut Vec<usize>| {
            places.sort_by_key(|place| {
                let total = self.nodes.get(*place).map(|node| node.counts.total_ns);
                (total, std::cmp::Reverse(*place))
            });
        };
        by_total(&mut tops);
        let mut waiting: Vec<(usize, usize)> = tops.into_iter().map(|place| (place, 0)).collect();
        out.extend_from_slice(b"     Calls         Total         Self   Function\n");
        let mut has_marks = false;
        while let Some((place, level)) = waiting.pop() {
            let Some(node) = self.nodes.get(place) else {
                continue;
            };
            let counts = &node.counts;
            let is_inexact = counts.self_inexact_ns > 0;
            has_marks |= is_inexact;
            let cells = [
                (counts.calls.to_string(), 10),
                (scaled(counts.total_ns), 14),
                (scaled(counts.self_ns), 13),
            ];
            for (cell, width) in cells {
                push_blanks(out, width.max(cell.len() + 1) - cell.len());
                out.extend_from_slice(cell.as_bytes());
            }
            out.extend_from_slice(if is_inexact { b"* " } else { b"  " });
            push_blanks(out, 2 * level + 1);
            out.extend_from_slice(self.name(node).as_bytes());
            if let Some(module) = self
                .names
                .get(node.name)
                .and_then(|name| name.module.as_ref())
            {
                out.extend_from_slice(format!(" [{module}]").as_bytes());
            }
            if counts.incomplete_calls > 0 {
                let note = format!(" /* {} not seen to end */", counts.incomplete_calls);
                out.extend_from_slice(note.as_bytes());
            }
            out.push(b'\n');
            if let Some(below) = children.get_mut(place) {
                by_total(below);
                waiting.extend(below.drain(..).map(|place| (place, level + 1)));
            }
        }
        if has_marks {
            out.extend_from_slice(
                b"* at most: records inside some of these calls are not in the trace\n",
            );
        }
    }

    /// Hands each path to an export, with its self time and calls.
    ///
    /// # Errors
    /// What the export says.
    pub fn stacks(&self, sink: &mut impl StackSink) -> io::Result<()> {
        let mut frames = Vec::new();
        for node in &self.nodes {
            frames.clear();
            let mut next = Some(node);
            while let Some(caller) = next {
                frames.push(self.name(caller));
                next = caller.parent.and_then(|parent| self.nodes.get(parent));
            }
            frames.reverse();
            sink.stack(&frames, node.counts.self_ns, node.counts.calls)?;
        }
        Ok(())
    }

    /// For each name whether it matches.
    fn matching(&self, functions: &Glob) -> Vec<bool> {
        self.names
            .iter()
            .map(|name| functions.matches(&name.name))
            .collect()
    }

    /// The same names with other nodes, or nothing if there is no node.
    fn with_nodes(&self, tree: &Tree) -> Option<Self> {
        let mut names = self.names.clone();
        let mut others = None;
        let nodes: Vec<Node> = tree
            .below_top()
            .map(|node| Node {
                name: usize::try_from(node.key)
                    .ok()
                    .filter(|name| *name < self.names.len())
                    .unwrap_or_else(|| {
                        *others.get_or_insert_with(|| {
                            names.push(plain(OTHER_FUNCTIONS));
                            names.len() - 1
                        })
                    }),
                parent: above(node.parent),
                counts: node.counts,
            })
            .collect();
        (!nodes.is_empty()).then_some(Self {
            account: self.account,
            has_others: self.has_others || tree.has_others,
            names,
            nodes,
        })
    }
}

fn plain(name: &str) -> FunctionName {
    FunctionName {
        name: name.to_owned(),
        module: None,
    }
}

/// A parent among the nodes without the top.
fn above(parent: u32) -> Option<usize> {
    usize::try_from(parent).ok()?.checked_sub(1)
}

fn key_of_name(name: usize) -> u64 {
    u64::try_from(name).unwrap_or(OTHERS)
}

fn key_of_task(task: Task) -> u64 {
    match task {
        Task::Idle { cpu } => IDLE_TASK | u64::from(cpu),
        Task::Pid(pid) => TASK | u64::from(pid.cast_unsigned()),
    }
}

fn task_of(key: u64) -> Option<Task> {
    let low = u32::try_from(key & u64::from(u32::MAX)).ok()?;
    match key >> 32 << 32 {
        TASK => Some(Task::Pid(low.cast_signed())),
        IDLE_TASK => Some(Task::Idle { cpu: low }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::folded::Folded;
    use crate::made::{enter, leave, of, symbols};

    fn add_all(mut graph: CallGraph, records: &[Record<'_>]) -> Graph {
        for record in records {
            graph.record(record);
        }
        let tasks = SavedCmdlines::parse(b"7 first\n");
        graph.finish(&mut Functions::new(&symbols()), &tasks)
    }

    fn folded(graph: &Graph) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Folded::new(&mut out);
        graph.stacks(&mut lines).expect("a vector takes all");
        let text = String::from_utf8(out).expect("it is ASCII");
        text.lines().map(str::to_owned).collect()
    }

    fn tree(graph: &Graph) -> String {
        let mut out = Vec::new();
        graph.write_tree(&mut out);
        String::from_utf8(out).expect("it is ASCII")
    }

    /// `a` calls `c`, and `b` calls `c` twice; `c` calls `d` once for `a`.
    fn sample() -> Vec<Record<'static>> {
        vec![
            enter(0, 'a', 0),
            enter(10, 'c', 1),
            enter(20, 'd', 2),
            leave(20, 25, 'd', 2),
            leave(10, 50, 'c', 1),
            leave(0, 100, 'a', 0),
            enter(200, 'b', 0),
            enter(210, 'c', 1),
            leave(210, 217, 'c', 1),
            enter(220, 'c', 1),
            leave(220, 223, 'c', 1),
            leave(200, 300, 'b', 0),
        ]
    }

    #[test]
    fn paths_are_folded_by_self_time() {
        let graph = add_all(CallGraph::default(), &sample());
        assert_eq!(
            folded(&graph),
            ["a 60", "a;c 35", "a;c;d 5", "b 90", "b;c 10"]
        );
        assert!(!graph.has_others);
        let sum: u64 = graph.nodes.iter().map(|node| node.counts.self_ns).sum();
        assert_eq!(
            sum, 200,
            "self times add up to the outermost calls' durations"
        );
    }

    #[test]
    fn the_tree_has_counts_and_the_longest_first() {
        let graph = add_all(CallGraph::default(), &sample());
        let expected = "     \
Calls         Total         Self   Function
         1        100 ns        60 ns   a
         1         40 ns        35 ns     c
         1          5 ns         5 ns       d
         1        100 ns        90 ns   b
         2         10 ns        10 ns     c
";
        assert_eq!(tree(&graph), expected);
    }

    #[test]
    fn callers_and_callees_of_a_function_are_added_up() {
        let graph = add_all(CallGraph::default(), &sample());
        let callees = graph.callees(&Glob::new("c")).expect("it was called");
        assert_eq!(folded(&callees), ["c 45", "c;d 5"]);
        assert_eq!(callees.nodes[0].counts.calls, 3);
        let callers = graph.callers(&Glob::new("c")).expect("it was called");
        assert_eq!(folded(&callers), ["c 45", "c;a 35", "c;b 10"]);
        let counts: Vec<_> = callers
            .nodes
            .iter()
            .map(|node| (callers.name(node), node.counts.calls, node.counts.total_ns))
            .collect();
        assert_eq!(counts, [("c", 3, 50), ("a", 1, 40), ("b", 2, 10)]);
        assert_eq!(graph.callers(&Glob::new("x")), None);
        assert_eq!(graph.callees(&Glob::new("x")), None);
    }

    #[test]
    fn a_function_that_calls_itself_is_its_own_caller() {
        let graph = add_all(
            CallGraph::default(),
            &[
                enter(0, 'a', 0),
                enter(10, 'a', 1),
                leave(10, 30, 'a', 1),
                leave(0, 50, 'a', 0),
            ],
        );
        let callees = graph.callees(&Glob::new("a")).expect("it was called");
        assert_eq!(folded(&callees), ["a 30", "a;a 20"]);
        let callers = graph.callers(&Glob::new("a")).expect("it was called");
        assert_eq!(folded(&callers), ["a 50", "a;a 20"]);
    }

    #[test]
    fn each_task_has_a_tree_of_its_own_when_asked_for() {
        let mut records = sample();
        records.push(of(8, enter(400, 'd', 0)));
        records.push(of(8, leave(400, 401, 'd', 0)));
        records.push(of(0, enter(500, 'e', 0)));
        records.push(of(0, leave(500, 502, 'e', 0)));
        let graph = add_all(CallGraph::new(Grouping::ByTask), &records);
        assert_eq!(folded(&graph)[..2], ["first-7;a 60", "first-7;a;c 35"]);
        assert_eq!(folded(&graph)[5..], ["<...>-8;d 1", "<idle>-0;e 2"]);
    }

    #[test]
    fn paths_whose_begin_was_not_seen_are_told_apart() {
        let graph = add_all(
            CallGraph::default(),
            &[
                enter(10, 'c', 2),
                leave(10, 20, 'c', 2),
                leave(0, 30, 'b', 1),
                enter(40, 'd', 1),
            ],
        );
        assert_eq!(
            folded(&graph),
            ["[callers not seen];c 10", "[callers not seen];b 20"]
        );
        let text = tree(&graph);
        assert!(text.contains("20 ns*    b\n"), "{text}");
        assert!(text.contains("d /* 1 not seen to end */\n"), "{text}");
        assert!(text.ends_with("are not in the trace\n"), "{text}");
    }

    #[test]
    fn a_trace_of_exits_only_has_its_paths() {
        let exits: Vec<_> = sample()
            .into_iter()
            .filter(|record| {
                matches!(
                    record.event,
                    deferinit_ftrace::record::Event::FuncgraphExit { .. }
                )
            })
            .collect();
        let graph = add_all(CallGraph::default(), &exits);
        let mut lines = folded(&graph);
        lines.sort();
        assert_eq!(lines, ["a 60", "a;c 35", "a;c;d 5", "b 90", "b;c 10"]);
    }

    #[test]
    fn more_paths_than_are_told_apart_stand_together_below_their_callers() {
        let graph = add_all(CallGraph::default().with_most_nodes(2), &sample());
        assert!(graph.has_others);
        assert_eq!(
            folded(&graph),
            ["a 60", "a;c 35", "a;c;[other] 5", "[other] 100"]
        );
        let others = graph.nodes.last().expect("there are nodes");
        // Its own total is that of `b`; the calls of `c` are inside of it.
        assert_eq!((others.counts.total_ns, others.counts.calls), (100, 3));
        let sum: u64 = graph.nodes.iter().map(|node| node.counts.self_ns).sum();
        assert_eq!(sum, 200);
    }

    #[test]
    fn a_graph_is_the_same_after_json() {
        let graph = add_all(CallGraph::default(), &sample());
        let text = serde_json::to_string(&graph).expect("it can be written");
        let node = r#"{"name":1,"parent":0,"calls":1,"total_ns":40,"self_ns":35,"#;
        assert!(text.contains(node), "{text}");
        let read: Graph = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(read, graph);
    }
}
