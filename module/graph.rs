// SPDX-License-Identifier: GPL-2.0-only

//! Which items come after which.
//!
//! In: for each item, the items it comes after. Out: an order in which each item follows those,
//! and for each item the ones that come after it; `EINVAL` and one line in the kernel log if there
//! is a cycle. Kahn's algorithm, with the items that are ready in the order of their ids.

use kernel::prelude::*;

use crate::plan::ItemPlan;

/// The items of a plan as a graph.
pub(crate) struct Graph {
    /// The ids; each item stands behind all items it comes after.
    pub(crate) order: KVVec<u32>,
    /// Where the followers of each item begin in `followers`; one more at the end.
    starts: KVVec<usize>,
    followers: KVVec<u32>,
}

impl Graph {
    /// The items that come after an item.
    pub(crate) fn followers(&self, id: u32) -> &[u32] {
        let id = id as usize;
        match (self.starts.get(id), self.starts.get(id + 1)) {
            (Some(start), Some(end)) => self.followers.get(*start..*end).unwrap_or(&[]),
            _ => &[],
        }
    }
}

/// Builds the graph of `items`, whose ranges are parts of `after`.
pub(crate) fn build(items: &[ItemPlan], after: &[u32]) -> Result<Graph> {
    let (starts, followers) = followers(items, after)?;
    let mut graph = Graph {
        order: KVVec::with_capacity(items.len(), GFP_KERNEL)?,
        starts,
        followers,
    };
    // How many of the items it comes after are not in the order yet.
    let mut missing = KVVec::with_capacity(items.len(), GFP_KERNEL)?;
    for (id, item) in (0..).zip(items) {
        let count = item.after.of(after).len();
        missing.push(count, GFP_KERNEL)?;
        if count == 0 {
            graph.order.push(id, GFP_KERNEL)?;
        }
    }
    let mut done = 0;
    while let Some(id) = graph.order.get(done).copied() {
        done += 1;
        let id = id as usize;
        let range = graph.starts[id]..graph.starts[id + 1];
        for follower in &graph.followers[range] {
            missing[*follower as usize] -= 1;
            if missing[*follower as usize] == 0 {
                graph.order.push(*follower, GFP_KERNEL)?;
            }
        }
    }
    if let Some(item) = on_cycle(items, after, &missing) {
        let name = item.name;
        pr_err!("item {name} is not allowed to come after itself, by way of the items it names\n");
        return Err(EINVAL);
    }
    Ok(graph)
}

/// The followers of all items, item by item, and where each item's begin.
fn followers(items: &[ItemPlan], after: &[u32]) -> Result<(KVVec<usize>, KVVec<u32>)> {
    let mut starts = KVVec::from_elem(0usize, items.len() + 1, GFP_KERNEL)?;
    // First how many there are, one place behind; then where they begin.
    for before in items.iter().flat_map(|item| item.after.of(after)) {
        starts[*before as usize + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut next = KVVec::with_capacity(starts.len(), GFP_KERNEL)?;
    next.extend_from_slice(&starts, GFP_KERNEL)?;
    let mut followers = KVVec::from_elem(0u32, starts[items.len()], GFP_KERNEL)?;
    for (id, item) in (0..).zip(items) {
        for before in item.after.of(after) {
            let place = &mut next[*before as usize];
            followers[*place] = id;
            *place += 1;
        }
    }
    Ok((starts, followers))
}

/// An item that comes after itself, if there is one; `missing` is above 0 for those that are on a
/// cycle or come after one.
fn on_cycle<'a>(items: &'a [ItemPlan], after: &[u32], missing: &[usize]) -> Option<&'a ItemPlan> {
    let is_missing = |id: u32| missing.get(id as usize).is_some_and(|count| *count > 0);
    let mut id = (0..)
        .zip(items)
        .map(|(id, _)| id)
        .find(|id| is_missing(*id))?;
    // After as many steps back as there are items, it is on the cycle itself.
    for _ in items {
        let before = items.get(id as usize)?.after.of(after).iter();
        id = before.copied().find(|id| is_missing(*id))?;
    }
    items.get(id as usize)
}
