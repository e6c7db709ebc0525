// SPDX-License-Identifier: GPL-2.0-only

//! Which items of a workload wait for which, and the time that takes at least.
//!
//! In: any [`Workload`], also one that is not valid: names of no item are left out. Out: ids, orders and sums.
//! Does not say what is allowed (`rules`), nor what never ends (`endings`).

use std::collections::{HashMap, HashSet};

use crate::{Action, Arrangement, Mode, Nanos, Queue, Shape, Uniform, Work, Workload};

/// The items of a workload by their ids, with what each waits for.
pub(crate) struct Graph<'a> {
    ids: HashMap<&'a str, usize>,
    after: Vec<Vec<usize>>,
    suppliers: Vec<Vec<usize>>,
    works: Vec<&'a Work>,
}

impl<'a> Graph<'a> {
    pub(crate) fn of(workload: &'a Workload) -> Self {
        match &workload.shape {
            Shape::Uniform(uniform) => Self::uniform(uniform),
            Shape::Plan(items) => {
                let names = items.iter().enumerate();
                // Of several items of one name the first has it, as in `Workload::id_of`.
                let ids: HashMap<&str, usize> = names
                    .rev()
                    .map(|(id, item)| (item.name.as_str(), id))
                    .collect();
                let known = |names: &[String]| -> Vec<usize> {
                    names
                        .iter()
                        .filter_map(|name| ids.get(name.as_str()).copied())
                        .collect()
                };
                Self {
                    after: items.iter().map(|item| known(&item.after)).collect(),
                    suppliers: items.iter().map(|item| known(&item.suppliers)).collect(),
                    works: items.iter().map(|item| &item.work).collect(),
                    ids,
                }
            }
        }
    }

    fn uniform(uniform: &'a Uniform) -> Self {
        // More items than this are refused, and would only take memory here.
        let items = uniform.items.min(Workload::MAX_ITEMS);
        let items = usize::try_from(items).unwrap_or_default();
        let after = |id: usize| match uniform.arrangement {
            Arrangement::Parallel => Vec::new(),
            Arrangement::Chain => id.checked_sub(1).into_iter().collect(),
        };
        Self {
            ids: HashMap::new(),
            after: (0..items).map(after).collect(),
            suppliers: vec![Vec::new(); items],
            works: vec![&uniform.each; items],
        }
    }

    pub(crate) fn items(&self) -> usize {
        self.works.len()
    }

    /// The item of a plan, or the one of a uniform workload, with this name.
    pub(crate) fn id(&self, name: &str) -> Option<usize> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let id: usize = name.parse().ok()?;
        let is_uniform = self.ids.is_empty();
        (is_uniform && id < self.items() && id.to_string() == name).then_some(id)
    }

    pub(crate) fn work(&self, id: usize) -> Option<&'a Work> {
        self.works.get(id).copied()
    }

    pub(crate) fn after(&self, id: usize) -> &[usize] {
        listed(&self.after, id)
    }

    pub(crate) fn suppliers(&self, id: usize) -> &[usize] {
        listed(&self.suppliers, id)
    }

    /// For each item, those that come after it.
    pub(crate) fn followers(&self) -> Vec<Vec<usize>> {
        reversed(&self.after)
    }

    /// For each item, those it supplies.
    pub(crate) fn consumers(&self) -> Vec<Vec<usize>> {
        reversed(&self.suppliers)
    }

    /// The ids in an order in which each comes after those it waits for, without those on a cycle of `after` or behind
    /// one (Kahn 1962).
    fn order(&self) -> Vec<usize> {
        let followers = self.followers();
        let mut unmet: Vec<usize> = self.after.iter().map(Vec::len).collect();
        let mut order: Vec<usize> = (0..self.items())
            .filter(|id| self.after(*id).is_empty())
            .collect();
        let mut done = 0;
        while let Some(id) = order.get(done).copied() {
            done += 1;
            for follower in listed(&followers, id) {
                if met(&mut unmet, *follower) {
                    order.push(*follower);
                }
            }
        }
        order
    }

    /// The ids on a cycle of `after`, each one after the next.
    pub(crate) fn cycle(&self) -> Option<Vec<usize>> {
        let ordered: HashSet<usize> = self.order().into_iter().collect();
        let first = (0..self.items()).find(|id| !ordered.contains(id))?;
        let next = |id: usize| {
            let mut after = self.after(id).iter().copied();
            after.find(|before| !ordered.contains(before))
        };
        Some(walk_to_cycle(first, next))
    }
}

/// The cycle that is reached from `first` when each step has a next one, from its smallest id on.
pub(crate) fn walk_to_cycle(first: usize, next: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut position: HashMap<usize, usize> = HashMap::new();
    let mut path = Vec::new();
    let mut at = Some(first);
    while let Some(id) = at {
        if let Some(start) = position.insert(id, path.len()) {
            let mut cycle = path.split_off(start);
            let smallest = (0..cycle.len()).min_by_key(|index| cycle.get(*index).copied());
            cycle.rotate_left(smallest.unwrap_or_default());
            return cycle;
        }
        path.push(id);
        at = next(id);
    }
    path
}

/// One of an item's conditions is met; true when it was the last.
pub(crate) fn met(unmet: &mut [usize], id: usize) -> bool {
    match unmet.get_mut(id) {
        Some(count) => {
            *count = count.saturating_sub(1);
            *count == 0
        }
        None => false,
    }
}

pub(crate) fn listed(lists: &[Vec<usize>], id: usize) -> &[usize] {
    lists.get(id).map(Vec::as_slice).unwrap_or_default()
}

fn reversed(lists: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut reversed = vec![Vec::new(); lists.len()];
    for (id, list) in lists.iter().enumerate() {
        for other in list {
            if let Some(back) = reversed.get_mut(*other) {
                back.push(id);
            }
        }
    }
    reversed
}

impl Workload {
    /// A lower bound for the time from the start of the workload to the end of its last item.
    ///
    /// Counts delays and bodies, not the kernel's own latencies, deferrals, completions, and no limit on concurrency
    /// but for direct items, of which one runs at a time. What another item may cut short counts for nothing.
    #[must_use]
    pub fn shortest_run(&self) -> Nanos {
        match &self.shape {
            Shape::Uniform(uniform) => shortest_uniform(uniform),
            Shape::Plan(_) => shortest_plan(self),
        }
    }
}

fn shortest_uniform(uniform: &Uniform) -> Nanos {
    let work = &uniform.each;
    let items = u64::from(uniform.items);
    let before_last = items.saturating_sub(1);
    match (work.mode, uniform.arrangement) {
        (Mode::Direct, _) => shortest_body(work).saturating_mul(items),
        (_, Arrangement::Parallel) => work
            .delay
            .saturating_add(uniform.step.saturating_mul(before_last))
            .saturating_add(shortest_body(work)),
        (_, Arrangement::Chain) => {
            let steps = items.saturating_mul(before_last) / 2;
            work.delay
                .saturating_add(shortest_body(work))
                .saturating_mul(items)
                .saturating_add(uniform.step.saturating_mul(steps))
        }
    }
}

/// The longest path over `after`, or all direct items together where that is longer.
fn shortest_plan(workload: &Workload) -> Nanos {
    let graph = Graph::of(workload);
    let interference = Interference::of(&graph);
    let mut ends = vec![Nanos(0); graph.items()];
    let mut all_direct = Nanos(0);
    for id in graph.order() {
        let Some(work) = graph.work(id) else {
            continue;
        };
        let shortest = interference.shortest(id, work);
        let begin = graph
            .after(id)
            .iter()
            .filter_map(|before| ends.get(*before));
        let begin = begin.max().copied().unwrap_or_default();
        if let Some(end) = ends.get_mut(id) {
            *end = begin.saturating_add(shortest);
        }
        if work.mode == Mode::Direct {
            all_direct = all_direct.saturating_add(shortest);
        }
    }
    let longest_path = ends.into_iter().max().unwrap_or_default();
    longest_path.max(all_direct)
}

/// What items do to the time that others take.
struct Interference<'a> {
    cancelled: HashSet<usize>,
    destroyed: HashSet<&'a str>,
    /// The smallest delay an item may be given.
    modified: HashMap<usize, Nanos>,
}

impl<'a> Interference<'a> {
    fn of(graph: &Graph<'a>) -> Self {
        let mut interference = Self {
            cancelled: HashSet::new(),
            destroyed: HashSet::new(),
            modified: HashMap::new(),
        };
        for action in graph.works.iter().flat_map(|work| &work.body) {
            match action {
                Action::Cancel(name) => interference.cancelled.extend(graph.id(name)),
                Action::Destroy(name) => {
                    interference.destroyed.insert(name);
                }
                Action::Modify { item, delay } => {
                    if let Some(id) = graph.id(item) {
                        let smallest = interference.modified.entry(id).or_insert(*delay);
                        *smallest = (*smallest).min(*delay);
                    }
                }
                _ => {}
            }
        }
        interference
    }

    /// The shortest time from when an item is armed to its end.
    fn shortest(&self, id: usize, work: &Work) -> Nanos {
        let is_shut_down = match &work.queue {
            Queue::Own(name) => self.destroyed.contains(name.as_str()),
            _ => false,
        };
        if is_shut_down || self.cancelled.contains(&id) {
            return Nanos(0);
        }
        let modified = self.modified.get(&id).copied();
        let delay = modified.map_or(work.delay, |modified| modified.min(work.delay));
        delay.saturating_add(shortest_body(work))
    }
}

/// The shortest time all runs of a body take. One that fails may end with its first run.
fn shortest_body(work: &Work) -> Nanos {
    let once = work
        .body
        .iter()
        .map(Action::duration)
        .fold(Nanos(0), Nanos::saturating_add);
    let runs = if work.fails() { 1 } else { work.runs };
    once.saturating_mul(u64::from(runs))
}
