// SPDX-License-Identifier: GPL-2.0-only

//! Which items of a workload can never end.
//!
//! In: a workload whose names are all known. Out: the first item that cannot end whatever the kernel does, and why.
//! Plays the workload through without time: each item goes on as soon as nothing it waits for is missing. Whatever
//! does not end then never ends. What ends only if the kernel does things in the right order is taken to end.

use crate::graph::{Graph, listed, met, walk_to_cycle};
use crate::{Action, Defer};

/// Why an item never ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The action at this position hangs.
    Hangs(usize),
    /// The action at this position waits for what never comes.
    NeverCompleted(usize),
    /// The probe is deferred each time.
    DeferredForever,
    /// The supplier at this position of its list never binds, because its probe fails.
    SupplierFails(usize),
    /// It is the first of these items, each of which waits for the next, and the last for the first.
    Cycle(Vec<usize>),
}

/// The first item that never ends for a reason of its own, not for that of an item it waits for.
pub(crate) fn endless(graph: &Graph<'_>) -> Option<(usize, Reason)> {
    let mut play = Play::of(graph);
    play.play_on();
    let stuck: Vec<usize> = (0..graph.items())
        .filter(|id| !play.has_ended(*id))
        .collect();
    let first = *stuck.first()?;
    let own_reason = stuck
        .iter()
        .find_map(|id| play.own_reason(*id).map(|reason| (*id, reason)));
    own_reason.or_else(|| {
        // Each stuck item waits for another one: along these lies a cycle.
        let next = |id: usize| {
            let mut awaited = graph.after(id).iter().chain(graph.suppliers(id)).copied();
            awaited.find(|other| !play.has_ended(*other))
        };
        let cycle = walk_to_cycle(first, next);
        cycle.first().map(|id| (*id, Reason::Cycle(cycle.clone())))
    })
}

/// How far each item has come.
struct Play<'a> {
    graph: &'a Graph<'a>,
    followers: Vec<Vec<usize>>,
    consumers: Vec<Vec<usize>>,
    /// How many items each one still waits for.
    unmet: Vec<usize>,
    items: Vec<Progress>,
    /// Items that can go on.
    ready: Vec<usize>,
}

#[derive(Clone, Default)]
struct Progress {
    /// The position of the action that comes next.
    action: usize,
    is_completed: bool,
    has_ended: bool,
}

impl<'a> Play<'a> {
    fn of(graph: &'a Graph<'a>) -> Self {
        let unmet: Vec<usize> = (0..graph.items())
            .map(|id| graph.after(id).len() + graph.suppliers(id).len())
            .collect();
        Self {
            graph,
            followers: graph.followers(),
            consumers: graph.consumers(),
            ready: (0..graph.items())
                .filter(|id| unmet.get(*id) == Some(&0))
                .collect(),
            items: vec![Progress::default(); graph.items()],
            unmet,
        }
    }

    fn play_on(&mut self) {
        while let Some(id) = self.ready.pop() {
            self.go_on(id);
        }
    }

    /// Runs an item until it ends, or cannot go on for now. An item that is ready twice ends once.
    fn go_on(&mut self, id: usize) {
        let graph = self.graph;
        let Some(work) = graph.work(id) else {
            return;
        };
        if self.has_ended(id) || work.defer == Defer::Forever {
            return;
        }
        loop {
            let Some(item) = self.items.get_mut(id) else {
                return;
            };
            match work.body.get(item.action) {
                Some(Action::Hang) => return,
                Some(Action::Wait) if !item.is_completed => return,
                Some(Action::Complete(name)) => {
                    item.action += 1;
                    self.complete(name);
                }
                Some(_) => item.action += 1,
                None => break,
            }
        }
        self.end(id, work.fails());
    }

    fn complete(&mut self, name: &str) {
        let Some(target) = self.graph.id(name) else {
            return;
        };
        let is_waiting = self.is_waiting(target);
        if let Some(item) = self.items.get_mut(target)
            && !item.is_completed
        {
            item.is_completed = true;
            if is_waiting {
                self.ready.push(target);
            }
        }
    }

    /// True when the item could start, and a `Wait` comes next.
    fn is_waiting(&self, id: usize) -> bool {
        self.unmet.get(id) == Some(&0) && matches!(self.next_action(id), Some(Action::Wait))
    }

    fn next_action(&self, id: usize) -> Option<&'a Action> {
        let position = self.items.get(id)?.action;
        self.graph.work(id)?.body.get(position)
    }

    fn end(&mut self, id: usize, fails: bool) {
        if let Some(item) = self.items.get_mut(id) {
            item.has_ended = true;
        }
        let followers = listed(&self.followers, id);
        // A device whose probe fails is not bound, and its consumers wait on.
        let consumers = if fails {
            &[]
        } else {
            listed(&self.consumers, id)
        };
        for other in followers.iter().chain(consumers) {
            if met(&mut self.unmet, *other) {
                self.ready.push(*other);
            }
        }
    }

    fn has_ended(&self, id: usize) -> bool {
        self.items.get(id).is_some_and(|item| item.has_ended)
    }

    /// Why an item that is stuck is so by itself, if it is.
    fn own_reason(&self, id: usize) -> Option<Reason> {
        if self.unmet.get(id) != Some(&0) {
            let mut suppliers = self.graph.suppliers(id).iter();
            return suppliers
                .position(|supplier| self.has_ended(*supplier) && self.fails(*supplier))
                .map(Reason::SupplierFails);
        }
        let position = self.items.get(id)?.action;
        match self.next_action(id) {
            _ if self.graph.work(id)?.defer == Defer::Forever => Some(Reason::DeferredForever),
            Some(Action::Hang) => Some(Reason::Hangs(position)),
            Some(Action::Wait) => Some(Reason::NeverCompleted(position)),
            _ => None,
        }
    }

    fn fails(&self, id: usize) -> bool {
        self.graph.work(id).is_some_and(crate::Work::fails)
    }
}
