// SPDX-License-Identifier: GPL-2.0-only

//! What waits for what: a graph of jobs, the longest chain through it, and how much later each job might have been.
//!
//! In: an [`Analysis`]. Out: a [`JobGraph`] of the jobs, each with its slack, and a [`CriticalPath`].
//! A job is a chain of moments, the bounds of its segments. Between two of them time is fixed, or it is a wait that
//! another job ends; that one's moment is an edge into the chain. So edges go forward in time only, and a chain of them
//! cannot come back; jobs that wait for each other in turns are told apart as cycles of the graph of jobs.
//! Slack is what a job could have been later without the last item being later; a timer's bucket could swallow more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::Serialize;

use crate::analysis::Analysis;
use crate::job::{ItemKey, JobId, Kind};
use crate::segment::{Segment, SegmentKind};

/// Which jobs are in a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The items, the initcalls that they are of, and what they waited for; all jobs if there are no items.
    Items,
    /// All jobs.
    All,
}

/// Why one job comes after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// The one armed or queued the other.
    Arm,
    /// The one had ended, and its task went on to the other: initcalls, items of an init.
    Order,
    /// The plan has the one before the other, and a third one was later.
    Plan,
    /// The one called the other.
    Call,
    /// The next attempt of the same item.
    Retry,
    /// The end of the one made room for the other on its queue.
    MaxActive,
    /// A worker ran the one before the other.
    Worker,
    /// The one woke the other's task: a lock, a completion, a flush, a wait for async calls, a worker.
    Wake,
    /// The one had the CPU that the other waited for.
    Cpu,
}

/// A graph of jobs.
#[derive(Clone, Debug, Serialize)]
pub struct JobGraph {
    /// The jobs, in the order in which they began.
    pub nodes: Vec<Node>,
    /// Why they come after each other, in the order of time.
    pub edges: Vec<Edge>,
    /// Jobs that waited for each other in turns, by their numbers.
    pub cycles: Vec<Vec<u32>>,
    /// When the last item ends; the last job, if there are no items.
    pub end_ns: u64,
    /// What such a graph cannot have.
    pub not_derivable: Vec<&'static str>,
}

/// A job of a graph.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its number in the trace.
    pub job: u32,
    /// What it is called.
    pub name: String,
    /// `item`, `work`, `timer`, `initcall`.
    pub kind: &'static str,
    /// When it was asked for, or first seen.
    pub begin_ns: u64,
    /// When it started.
    pub start_ns: Option<u64>,
    /// When it ended, or was last seen.
    pub end_ns: u64,
    /// How much later it could have been without the last one being later; none if nothing waits for it.
    pub slack_ns: Option<u64>,
    /// Whether it is on the longest chain.
    pub is_critical: bool,
    /// Its segments: what it does, from when and how long.
    pub segments: Vec<(SegmentKind, u64, u64)>,
}

/// Why one job comes after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The one, by its number.
    pub from: u32,
    /// The other.
    pub to: u32,
    /// Why.
    pub kind: EdgeKind,
    /// The moment of the one.
    pub from_ns: u64,
    /// The moment of the other.
    pub to_ns: u64,
}

/// The longest chain.
#[derive(Clone, Debug, Serialize)]
pub struct CriticalPath {
    /// When it begins.
    pub begin_ns: u64,
    /// When it ends.
    pub end_ns: u64,
    /// Its links, in the order of time, one behind the other.
    pub links: Vec<Link>,
}

/// A part of the longest chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The job, by its number.
    pub job: u32,
    /// What it is called.
    pub name: String,
    /// What it does.
    pub kind: SegmentKind,
    /// From when.
    pub from_ns: u64,
    /// How long.
    pub ns: u64,
    /// Why.
    pub why: String,
    /// Whether records were lost meanwhile.
    pub is_unknown: bool,
}

/// What no trace says, or not this one.
const NOT_DERIVABLE: [&str; 4] = [
    "the holder of a lock: a wait for it shows as a wake-up by whoever released it",
    "which completion, cookie or flush a task waited for: it shows as a wake-up by whoever ended it, and in the traced \
     function that it slept in",
    "timers whose expiry is changed within their bucket: __mod_timer() leaves no record",
    "device links: a supplier shows by the bind that triggered the deferred probe",
];

/// What a wait in a chain is ended by.
#[derive(Clone, Copy, Debug)]
struct Ended {
    by: JobId,
    kind: EdgeKind,
}

/// The chain of one job.
#[derive(Debug, Default)]
struct Life {
    /// The bounds of its segments.
    moments: Vec<u64>,
    /// By segment: what it does, and what ended it if it is a wait.
    parts: Vec<(SegmentKind, Option<Ended>)>,
}

impl Life {
    fn of(segments: &[Segment]) -> Self {
        let mut life = Self::default();
        life.moments
            .extend(segments.first().map(|first| first.from));
        for segment in segments {
            life.moments.push(segment.to);
            let ended = segment.cause.and_then(|by| {
                Some(Ended {
                    by,
                    kind: edge_of(segment.kind)?,
                })
            });
            life.parts.push((segment.kind, ended));
        }
        life
    }

    /// The last moment that is no later than `at`; the first one if there is none.
    fn place(&self, at: u64) -> usize {
        self.moments
            .partition_point(|moment| *moment <= at)
            .saturating_sub(1)
    }

    fn moment(&self, place: usize) -> Option<u64> {
        self.moments.get(place).copied()
    }

    fn last(&self) -> Option<u64> {
        self.moments.last().copied()
    }
}

/// Which edge ends a wait of this kind; none if no other job does.
fn edge_of(kind: SegmentKind) -> Option<EdgeKind> {
    match kind {
        SegmentKind::MaxActive => Some(EdgeKind::MaxActive),
        SegmentKind::Worker => Some(EdgeKind::Worker),
        SegmentKind::Waiting | SegmentKind::Blocked => Some(EdgeKind::Wake),
        SegmentKind::Runqueue | SegmentKind::Preempted => Some(EdgeKind::Cpu),
        SegmentKind::Delay => Some(EdgeKind::Wake),
        SegmentKind::Jiffies
        | SegmentKind::Wheel
        | SegmentKind::Timer
        | SegmentKind::Queueing
        | SegmentKind::Pickup
        | SegmentKind::Run => None,
    }
}

/// A hash that is made for each moment.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// All chains of a trace with what connects them.
#[derive(Debug)]
pub(crate) struct Lives {
    lives: Map<JobId, Life>,
    /// The job that stands for another: an item for the work that was queued for it.
    stands_for: Map<JobId, JobId>,
    /// What a job's first moment comes from, and when.
    origin: Map<JobId, (JobId, u64, EdgeKind)>,
    /// What the plan has before a job, and did not arm it as the last one: with its end and the job's begin.
    joins: Map<JobId, Vec<(JobId, u64, u64)>>,
}

impl Lives {
    fn of(analysis: &mut Analysis<'_>) -> Self {
        let ids: Vec<JobId> = analysis.ids().map(|(id, _)| id).collect();
        let mut stands_for = Map::default();
        for (id, job) in analysis.ids() {
            let Some(carrier) = job.carrier.filter(|_| job.kind == Kind::Item) else {
                continue;
            };
            let is_own = analysis
                .job(carrier)
                .is_some_and(|carrier| carrier.item == job.item && carrier.kind != Kind::Item);
            if is_own {
                stands_for.insert(carrier, id);
            }
        }
        let mut lives = Map::default();
        for id in ids.iter().filter(|id| !stands_for.contains_key(id)) {
            let life = Life::of(&analysis.bare_segments(*id));
            if !life.moments.is_empty() {
                lives.insert(*id, life);
            }
        }
        let mut origin = Map::default();
        for id in ids {
            let Some(job) = analysis.job(id).filter(|_| lives.contains_key(&id)) else {
                continue;
            };
            let began = job.begin().unwrap_or(0);
            // What calls it, if nothing was asked for before.
            let from = job.parent.or(job.carrier.filter(|_| job.asked.is_none()));
            let from = from.map(|from| stands_for.get(&from).copied().unwrap_or(from));
            if let Some(from) = from.filter(|from| *from != id) {
                let parent = analysis.job(from);
                let is_over = parent
                    .and_then(|parent| parent.end)
                    .is_some_and(|end| end.at <= began);
                let is_retry = parent.is_some_and(|parent| {
                    parent.kind == Kind::Item && job.kind == Kind::Item && parent.item == job.item
                });
                let kind = if is_retry {
                    EdgeKind::Retry
                } else if job.parent.is_none() {
                    EdgeKind::Call
                } else if is_over {
                    EdgeKind::Order
                } else {
                    EdgeKind::Arm
                };
                origin.insert(id, (from, began, kind));
            }
        }
        let mut all = Self {
            lives,
            stands_for,
            origin,
            joins: Map::default(),
        };
        all.joins = analysis.joins(&all);
        all
    }

    /// What ends the wait that is the part before a moment: the other job, and its moment.
    fn ending(&self, id: JobId, place: usize) -> Option<(JobId, u64, EdgeKind)> {
        let life = self.lives.get(&id)?;
        let before = place.checked_sub(1)?;
        let (_, ended) = life.parts.get(before)?;
        let ended = (*ended)?;
        let by = self.stands_for.get(&ended.by).copied().unwrap_or(ended.by);
        let other = self.lives.get(&by).filter(|_| by != id)?;
        let at = life.moment(place)?.min(other.last()?);
        // One that had not begun when the wait began to count cannot have ended it.
        let from = life.moment(before)?;
        (at > from && other.moments.first()? <= &at).then_some((by, at, ended.kind))
    }

    /// For each job, how much later each of its moments could be without the last item being later.
    fn slacks(&self, targets: &BTreeSet<JobId>, end: u64) -> Map<JobId, Vec<Option<u64>>> {
        let mut order: Vec<(u64, JobId, usize)> = Vec::new();
        for (id, life) in &self.lives {
            order.extend(
                (0..)
                    .zip(&life.moments)
                    .map(|(place, at)| (*at, *id, place)),
            );
        }
        order.sort_unstable();
        let mut slacks: Map<JobId, Vec<Option<u64>>> = self
            .lives
            .iter()
            .map(|(id, life)| (*id, vec![None; life.moments.len()]))
            .collect();
        while let Some((at, ..)) = order.last().copied() {
            let begin = order.partition_point(|(other, ..)| *other < at);
            let now = order.split_off(begin);
            // Moments of one time can come from each other in either order.
            for _ in 0..now.len() {
                let mut has_changed = false;
                for (_, id, place) in now.iter().rev() {
                    let is_end = targets.contains(id).then_some(end);
                    has_changed |= self.relax(*id, *place, is_end, &mut slacks);
                }
                if !has_changed {
                    break;
                }
            }
        }
        slacks
    }

    /// Takes over what is known behind a moment, and hands it on to what the moment comes from; tells whether that has
    /// changed something. `end` is that of all, if this is one of those that it is told by.
    fn relax(
        &self,
        id: JobId,
        place: usize,
        end: Option<u64>,
        slacks: &mut Map<JobId, Vec<Option<u64>>>,
    ) -> bool {
        let Some((life, at)) = self
            .lives
            .get(&id)
            .and_then(|life| Some((life, life.moment(place)?)))
        else {
            return false;
        };
        let known = |slacks: &Map<JobId, Vec<Option<u64>>>, id: JobId, place: usize| {
            slacks
                .get(&id)
                .and_then(|all| all.get(place).copied().flatten())
        };
        let mut slack = known(slacks, id, place);
        let next = place.saturating_add(1);
        match life.moment(next) {
            None => slack = least(slack, end.map(|end| end.saturating_sub(at))),
            Some(next_at) => {
                let gap = match self.ending(id, next) {
                    Some(_) => next_at.saturating_sub(at),
                    None => 0,
                };
                let of_next = known(slacks, id, next);
                slack = least(slack, of_next.map(|slack| slack.saturating_add(gap)));
            }
        }
        let mut has_changed = set(slacks, id, place, slack);
        let before = match place {
            0 => self.origin.get(&id).copied(),
            _ => self.ending(id, place),
        };
        if let Some((by, by_at, _)) = before
            && let Some(other) = self.lives.get(&by)
        {
            has_changed |= set(slacks, by, other.place(by_at), slack);
        }
        if place == 0 {
            for (by, end, begin) in self.joins.get(&id).into_iter().flatten() {
                let Some(other) = self.lives.get(by) else {
                    continue;
                };
                let gap = begin.saturating_sub(*end);
                let slack = slack.map(|slack| slack.saturating_add(gap));
                has_changed |= set(slacks, *by, other.place(*end), slack);
            }
        }
        has_changed
    }
}

/// Lowers what is known of a moment; tells whether that is news.
fn set(
    slacks: &mut Map<JobId, Vec<Option<u64>>>,
    id: JobId,
    place: usize,
    slack: Option<u64>,
) -> bool {
    let Some(known) = slacks.get_mut(&id).and_then(|all| all.get_mut(place)) else {
        return false;
    };
    let lower = least(*known, slack);
    let is_news = lower != *known;
    *known = lower;
    is_news
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Analysis<'_> {
    /// All chains, made when they are first asked for.
    fn all_lives(&mut self) -> Rc<Lives> {
        if let Some(lives) = &self.lives {
            return Rc::clone(lives);
        }
        let lives = Rc::new(Lives::of(self));
        self.lives = Some(Rc::clone(&lives));
        lives
    }

    /// What waits for what.
    pub fn graph(&mut self, scope: Scope) -> JobGraph {
        let lives = self.all_lives();
        let targets = self.targets(&lives);
        let end = targets
            .iter()
            .filter_map(|id| lives.lives.get(id)?.last())
            .max()
            .unwrap_or(0);
        let slacks = lives.slacks(&targets, end);
        let mut edges = self.edges(&lives);
        let wanted = self.in_scope(scope, &edges, &lives);
        edges.retain(|edge| wanted.contains(&edge.from) && wanted.contains(&edge.to));
        let critical: BTreeSet<u32> = self
            .path(&lives, &targets)
            .into_iter()
            .map(|(id, ..)| id.number())
            .collect();
        let mut ids: Vec<JobId> = lives
            .lives
            .keys()
            .copied()
            .filter(|id| wanted.contains(&id.number()))
            .collect();
        ids.sort_by_key(|id| (lives.lives.get(id).and_then(|life| life.moment(0)), *id));
        let nodes = ids
            .into_iter()
            .filter_map(|id| {
                let life = lives.lives.get(&id)?;
                let job = self.job(id)?;
                let (kind, start_ns) = (kind_word(job.kind), job.start.map(|start| start.point.at));
                let slack = slacks
                    .get(&id)
                    .and_then(|all| all.iter().copied().flatten().min());
                let segments = life.parts.iter().zip(life.moments.windows(2)).filter_map(
                    |((kind, _), bounds)| match bounds {
                        [from, to] => Some((*kind, *from, to.saturating_sub(*from))),
                        _ => None,
                    },
                );
                Some(Node {
                    job: id.number(),
                    name: self.label(id),
                    kind,
                    begin_ns: life.moment(0)?,
                    start_ns,
                    end_ns: life.last()?,
                    slack_ns: slack,
                    is_critical: critical.contains(&id.number()),
                    segments: segments.collect(),
                })
            })
            .collect();
        let cycles = cycles(&edges);
        JobGraph {
            nodes,
            edges,
            cycles,
            end_ns: end,
            not_derivable: NOT_DERIVABLE.to_vec(),
        }
    }

    /// The longest chain: from the end of the last item back through what each wait was ended by.
    pub fn critical_path(&mut self) -> CriticalPath {
        let lives = self.all_lives();
        let targets = self.targets(&lives);
        let path = self.path(&lives, &targets);
        let mut last: Option<(JobId, Vec<Segment>, String)> = None;
        let mut links: Vec<Link> = Vec::new();
        for (id, from, to) in path.into_iter().rev() {
            let (_, all, name) = match last.take() {
                Some(known) if known.0 == id => last.insert(known),
                Some(_) | None => last.insert((id, self.segments(id), self.label(id))),
            };
            let found = all
                .iter()
                .find(|segment| segment.from <= from && from < segment.to);
            let (kind, why, is_unknown) = match found {
                Some(segment) => (segment.kind, segment.why.clone(), segment.is_unknown),
                // Behind its end.
                None => {
                    let why = "its task goes on, and comes to the next".to_owned();
                    (SegmentKind::Queueing, why, self.is_touched(from, to))
                }
            };
            links.push(Link {
                job: id.number(),
                name: name.clone(),
                kind,
                from_ns: from,
                ns: to.saturating_sub(from),
                why,
                is_unknown,
            });
        }
        CriticalPath {
            begin_ns: links.first().map_or(0, |link| link.from_ns),
            end_ns: links
                .last()
                .map_or(0, |link| link.from_ns.saturating_add(link.ns)),
            links,
        }
    }

    /// What the end of everything is told by: the items, or all jobs.
    fn targets(&self, lives: &Lives) -> BTreeSet<JobId> {
        let of = |wanted: fn(Kind) -> bool| -> BTreeSet<JobId> {
            self.ids()
                .filter(|(id, job)| {
                    wanted(job.kind) && job.end.is_some() && lives.lives.contains_key(id)
                })
                .map(|(id, _)| id)
                .collect()
        };
        let items = of(|kind| kind == Kind::Item);
        if !items.is_empty() {
            return items;
        }
        let initcalls = of(|kind| kind == Kind::Initcall);
        if !initcalls.is_empty() {
            return initcalls;
        }
        of(|_| true)
    }

    /// The parts of the longest chain, the last one first.
    fn path(&self, lives: &Lives, targets: &BTreeSet<JobId>) -> Vec<(JobId, u64, u64)> {
        let last = targets
            .iter()
            .filter_map(|id| Some((lives.lives.get(id)?.last()?, *id)))
            .max();
        let Some((mut until, mut id)) = last else {
            return Vec::new();
        };
        let mut path: Vec<(JobId, u64, u64)> = Vec::new();
        while let Some(life) = lives.lives.get(&id) {
            let reached = life.place(until);
            // Within a part that the other one left in its middle.
            let mut place = reached;
            if let Some(from) = life.moment(reached).filter(|moment| *moment < until) {
                path.push((id, from, until));
            }
            let mut left = None;
            while place > 0 {
                if let Some((by, at, _)) = lives.ending(id, place) {
                    left = Some((by, at));
                    let (moment, from) = (life.moment(place), at);
                    // What is between the other one's moment and this one belongs to this wait.
                    if let Some(moment) = moment.filter(|moment| *moment > from) {
                        path.push((id, from, moment));
                    }
                    break;
                }
                if let (Some(from), Some(to)) = (life.moment(place - 1), life.moment(place)) {
                    path.push((id, from, to));
                }
                place -= 1;
            }
            let left = left.or_else(|| {
                let (by, at, _) = lives.origin.get(&id).copied()?;
                Some((by, at))
            });
            let Some((by, at)) = left else {
                break;
            };
            // Time never goes on: what would come back is cut.
            if at > until || (by, at) == (id, until) {
                break;
            }
            (id, until) = (by, at);
        }
        path
    }

    /// Every reason for which one job comes after another.
    fn edges(&self, lives: &Lives) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (id, life) in &lives.lives {
            if let Some((from, at, kind)) = lives.origin.get(id).copied()
                && lives.lives.contains_key(&from)
            {
                edges.push(Edge {
                    from: from.number(),
                    to: id.number(),
                    kind,
                    from_ns: at,
                    to_ns: at,
                });
            }
            for place in 1..life.moments.len() {
                if let Some((from, at, kind)) = lives.ending(*id, place) {
                    edges.push(Edge {
                        from: from.number(),
                        to: id.number(),
                        kind,
                        from_ns: at,
                        to_ns: life.moment(place).unwrap_or(at),
                    });
                }
            }
        }
        for (to, earlier) in &lives.joins {
            edges.extend(earlier.iter().map(|(from, end, begin)| Edge {
                from: from.number(),
                to: to.number(),
                kind: EdgeKind::Plan,
                from_ns: *end,
                to_ns: *begin,
            }));
        }
        edges.sort_by_key(|edge| (edge.to_ns, edge.from, edge.to, edge.kind));
        edges
    }

    /// What the plan has before each item, and did not arm it as the last one.
    fn joins(&self, lives: &Lives) -> Map<JobId, Vec<(JobId, u64, u64)>> {
        let mut first: BTreeMap<ItemKey, (JobId, u64)> = BTreeMap::new();
        let mut last: BTreeMap<ItemKey, (JobId, u64)> = BTreeMap::new();
        for (id, job) in self.ids() {
            let (Some(item), true) = (job.item, job.kind == Kind::Item) else {
                continue;
            };
            if !lives.lives.contains_key(&id) {
                continue;
            }
            if let Some(begin) = job.begin() {
                first.entry(item).or_insert((id, begin));
            }
            if let Some(end) = job.end {
                last.insert(item, (id, end.at));
            }
        }
        let mut joins: Map<JobId, Vec<(JobId, u64, u64)>> = Map::default();
        for (number, phase) in (0..).zip(&self.beside().phases) {
            let key = |id: u32| ItemKey { phase: number, id };
            let pairs = phase
                .after
                .iter()
                .flat_map(|(after, earlier)| earlier.iter().map(|before| (*after, *before)));
            for (after, before) in pairs {
                let (Some((to, begin)), Some((from, end))) = (
                    first.get(&key(after)).copied(),
                    last.get(&key(before)).copied(),
                ) else {
                    continue;
                };
                let is_origin = lives
                    .origin
                    .get(&to)
                    .is_some_and(|(origin, ..)| *origin == from);
                if !is_origin && end <= begin {
                    joins.entry(to).or_default().push((from, end, begin));
                }
            }
        }
        joins
    }

    /// The jobs of a graph, by number.
    fn in_scope(&self, scope: Scope, edges: &[Edge], lives: &Lives) -> BTreeSet<u32> {
        let all = lives.lives.keys().map(|id| id.number());
        let items: BTreeSet<u32> = self
            .ids()
            .filter(|(id, job)| job.kind == Kind::Item && lives.lives.contains_key(id))
            .map(|(id, _)| id.number())
            .collect();
        if scope == Scope::All || items.is_empty() {
            return all.collect();
        }
        let mut wanted = items.clone();
        for edge in edges {
            // What an item waited for, but for whoever just had its CPU.
            if items.contains(&edge.to) && edge.kind != EdgeKind::Cpu {
                wanted.insert(edge.from);
            }
        }
        wanted
    }
}

/// Jobs that waited for each other in turns.
fn cycles(edges: &[Edge]) -> Vec<Vec<u32>> {
    let mut graph: DiGraph<u32, ()> = DiGraph::new();
    let mut nodes: BTreeMap<u32, NodeIndex> = BTreeMap::new();
    // Who arms another one does not wait for it by that, and who shares a CPU or a worker with it waits for that.
    let waits = edges.iter().filter(|edge| {
        matches!(
            edge.kind,
            EdgeKind::Wake | EdgeKind::MaxActive | EdgeKind::Plan
        )
    });
    for edge in waits {
        let from = *nodes
            .entry(edge.from)
            .or_insert_with(|| graph.add_node(edge.from));
        let to = *nodes
            .entry(edge.to)
            .or_insert_with(|| graph.add_node(edge.to));
        graph.add_edge(from, to, ());
    }
    let mut cycles: Vec<Vec<u32>> = tarjan_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| {
            let mut jobs: Vec<u32> = component
                .into_iter()
                .filter_map(|node| graph.node_weight(node).copied())
                .collect();
            jobs.sort_unstable();
            jobs
        })
        .collect();
    cycles.sort();
    cycles
}

pub(crate) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Item => "item",
        Kind::Work => "work",
        Kind::Timer => "timer",
        Kind::Initcall => "initcall",
    }
}
