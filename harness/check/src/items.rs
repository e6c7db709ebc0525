// SPDX-License-Identifier: GPL-2.0-only

//! The items of a phase that a check is about, with the names that the scenario gives them.
//!
//! In: a phase's span, its workload, and a choice of ids. Out: a [`PhaseView`], which samples are taken from.
//! Does not: compare with anything. Items of a uniform workload have no names: their ids say as much.

use std::collections::BTreeSet;
use std::ops::Deref;

use deferinit_scenario::{Shape, Workload};
use deferinit_timeline::{Item, PhaseSpan};

/// Most items that the name of a check lists.
const MOST_NAMES: usize = 4;

/// An item's id, with its name if it has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label<'a> {
    id: u32,
    name: Option<&'a str>,
}

/// An item of the timeline and what to call it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedItem<'a> {
    pub(crate) item: &'a Item,
    pub(crate) label: Label<'a>,
}

/// A phase, as far as a check is about its items.
#[derive(Debug, Clone)]
pub(crate) struct PhaseView<'a> {
    pub(crate) span: &'a PhaseSpan,
    /// By id.
    pub(crate) items: Vec<NamedItem<'a>>,
}

impl<'a> Label<'a> {
    /// The label of item `id` of a workload.
    pub(crate) fn of(id: u32, workload: Option<&'a Workload>) -> Self {
        let name = match workload.map(|workload| &workload.shape) {
            Some(Shape::Plan(items)) => usize::try_from(id)
                .ok()
                .and_then(|id| items.get(id))
                .map(|item| item.name.as_str()),
            Some(Shape::Uniform(_)) | None => None,
        };
        Self { id, name }
    }

    /// `item 3 (bus)`.
    pub(crate) fn item(&self) -> String {
        format!("item {}", self.number())
    }

    /// `3 (bus)`.
    pub(crate) fn number(&self) -> String {
        match self.name {
            Some(name) => format!("{} ({name})", self.id),
            None => self.id.to_string(),
        }
    }

    /// `bus`; `3` if it has no name.
    fn short(&self) -> String {
        self.name.map_or_else(|| self.id.to_string(), str::to_owned)
    }
}

/// What a check that is about these items is called after: ` for bus, disk`; nothing if it is about all.
pub(crate) fn selection(ids: Option<&[u32]>, workload: Option<&Workload>) -> String {
    let Some(ids) = ids else {
        return String::new();
    };
    let names: Vec<String> = ids
        .iter()
        .take(MOST_NAMES)
        .map(|id| Label::of(*id, workload).short())
        .collect();
    let noun = match workload.map(|workload| &workload.shape) {
        Some(Shape::Plan(_)) => "",
        Some(Shape::Uniform(_)) | None if ids.len() == 1 => "item ",
        Some(Shape::Uniform(_)) | None => "items ",
    };
    let mut text = format!(" for {noun}{}", names.join(", "));
    let left_out = ids.len().saturating_sub(MOST_NAMES);
    if left_out > 0 {
        text += &format!(" and {left_out} more");
    }
    text
}

impl<'a> NamedItem<'a> {
    /// Puts an item and its label together.
    pub(crate) fn new(item: &'a Item, workload: Option<&'a Workload>) -> Self {
        Self {
            item,
            label: Label::of(item.id, workload),
        }
    }
}

impl Deref for NamedItem<'_> {
    type Target = Item;

    fn deref(&self) -> &Item {
        self.item
    }
}

impl<'a> PhaseView<'a> {
    /// All items of a phase.
    pub(crate) fn new(span: &'a PhaseSpan, workload: Option<&'a Workload>) -> Self {
        let items = span.items.iter();
        Self {
            span,
            items: items.map(|item| NamedItem::new(item, workload)).collect(),
        }
    }

    /// Only the items with these ids; all of them if there is no choice.
    pub(crate) fn select(mut self, ids: Option<&[u32]>) -> Self {
        if let Some(ids) = ids {
            let ids: BTreeSet<u32> = ids.iter().copied().collect();
            self.items.retain(|item| ids.contains(&item.id));
        }
        self
    }

    /// The item with this id, if it left a record.
    pub(crate) fn item(&self, id: u32) -> Option<NamedItem<'a>> {
        let position = self.items.binary_search_by_key(&id, |item| item.id).ok()?;
        self.items.get(position).copied()
    }
}
