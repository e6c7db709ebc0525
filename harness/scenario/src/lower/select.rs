// SPDX-License-Identifier: GPL-2.0-only

//! Which items of a phase an expectation is about, and whether they can do what it asks for.
//!
//! In: a list of names. Out: ids, or a mistake that names the item that is unknown or cannot.

use std::collections::{HashMap, HashSet};

use super::value::{Result, has_entries, whole};
use crate::error::{Mistake, Place, some_of};
use crate::file::{Given, Text};
use crate::rules::unknown_item;
use crate::{ItemEvent, Mode, Phase, Shape, Work, Workload};

/// The items of a phase that an expectation is about.
pub(super) struct Items<'a> {
    phase: &'a Phase,
    /// None twice; `None` for all of the phase.
    pub(super) ids: Option<Vec<u32>>,
    /// Where each of the ids stands.
    places: Vec<Place>,
}

/// What an expectation needs of the items it is about.
pub(super) struct Need {
    /// Says of one item what it lacks, such as `is never queued`.
    one_lacks: &'static str,
    /// Says the same of several.
    all_lack: &'static str,
    /// What would do, where no item does.
    allowed: &'static str,
    can: fn(&Work) -> bool,
}

impl Need {
    /// A delay to be late for.
    pub(super) const DELAY: Self = Self {
        one_lacks: "has no delay to be late for",
        all_lack: "have no delay to be late for",
        allowed: "items in mode delayed, deferrable or hrtimer",
        can: |work| work.mode.has_delay(),
    };

    /// That it may be called again.
    pub(super) const RETRIES: Self = Self {
        one_lacks: "is never retried",
        all_lack: "are never retried",
        allowed: "items in mode probe, or with `runs` above 1",
        can: |work| work.mode == Mode::Probe || work.runs > 1,
    };

    /// That it may reach an event.
    pub(super) const fn of(event: ItemEvent) -> Self {
        match event {
            ItemEvent::Queued => Self {
                one_lacks: "is never queued",
                all_lack: "are never queued",
                allowed: "items in mode delayed, deferrable or work",
                can: |work| work.mode.has_queue(),
            },
            ItemEvent::Cancelled => Self {
                one_lacks: "is never cancelled",
                all_lack: "are never cancelled",
                allowed: "items in any mode but direct",
                can: |work| work.mode != Mode::Direct,
            },
            ItemEvent::Armed | ItemEvent::Started | ItemEvent::Ended => Self {
                one_lacks: "does nothing",
                all_lack: "do nothing",
                allowed: "items",
                can: |_| true,
            },
        }
    }
}

impl<'a> Items<'a> {
    /// All items of a phase.
    pub(super) fn all(phase: &'a Phase) -> Self {
        Self {
            phase,
            ids: None,
            places: Vec::new(),
        }
    }

    /// The items that are named, or all.
    pub(super) fn of(phase: &'a Phase, given: Given<Vec<Text>>) -> Result<Self> {
        let Some(list) = given.0 else {
            return Ok(Self::all(phase));
        };
        let most = usize::try_from(Workload::MAX_ITEMS).unwrap_or(usize::MAX);
        has_entries("items", &list, 1..=most)?;
        let mut ids = Vec::new();
        let mut earlier = HashSet::new();
        let names = Names::of(&phase.workload);
        for text in &list.value {
            let id = names.id(text)?;
            if !earlier.insert(id) {
                let message = format!("item `{}` is there twice", text.value);
                return Err(Mistake::new(text.place, message).allow("each item once"));
            }
            ids.push(id);
        }
        Ok(Self {
            phase,
            ids: Some(ids),
            places: list.value.iter().map(|text| text.place).collect(),
        })
    }

    /// Refuses an expectation about items of which one cannot do what it asks for.
    pub(super) fn each_can(&self, place: Place, need: &Need) -> Result<()> {
        let Some((position, id)) = self.iter().enumerate().find(|(_, id)| !self.can(*id, need))
        else {
            return Ok(());
        };
        let able: Vec<u32> = (0..self.phase.workload.items())
            .filter(|id| self.can(*id, need))
            .collect();
        if able.is_empty() {
            return Err(self.nobody(place, need));
        }
        let names: Vec<String> = able.iter().map(|id| self.name(*id)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = format!("item `{}` {}", self.name(id), need.one_lacks);
        Err(match self.places.get(position) {
            Some(place) => Mistake::new(*place, message).allow(some_of(&names)),
            None => Mistake::new(place, format!("{message}; name those that are meant"))
                .allow(format!("`items:` of {}", some_of(&names))),
        })
    }

    /// Refuses an expectation about items of which none can do what it asks for.
    pub(super) fn one_can(&self, place: Place, need: &Need) -> Result<()> {
        if self.iter().any(|id| self.can(id, need)) {
            return Ok(());
        }
        Err(self.nobody(place, need))
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let all = match self.ids {
            Some(_) => 0..0,
            None => 0..self.phase.workload.items(),
        };
        self.ids.iter().flatten().copied().chain(all)
    }

    fn can(&self, id: u32, need: &Need) -> bool {
        self.phase.workload.work_of(id).is_some_and(need.can)
    }

    fn name(&self, id: u32) -> String {
        let name = self.phase.workload.name_of(id);
        name.unwrap_or_default().into_owned()
    }

    fn nobody(&self, place: Place, need: &Need) -> Mistake {
        let which = match self.ids {
            Some(_) => "these",
            None => "the",
        };
        let phase = &self.phase.name;
        let message = format!("{which} items of phase `{phase}` {}", need.all_lack);
        Mistake::new(place, message).allow(need.allowed)
    }
}

/// The ids of all items by their names: a file may name all items in each of many expectations.
struct Names<'a> {
    workload: &'a Workload,
    /// Empty for a uniform workload.
    planned: HashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn of(workload: &'a Workload) -> Self {
        let planned = match &workload.shape {
            Shape::Uniform(_) => HashMap::new(),
            Shape::Plan(items) => (0..)
                .zip(items)
                .map(|(id, item)| (item.name.as_str(), id))
                .collect(),
        };
        Self { workload, planned }
    }

    fn id(&self, text: &Text) -> Result<u32> {
        if let Shape::Uniform(uniform) = &self.workload.shape {
            return whole(text, 0..=uniform.items.saturating_sub(1));
        }
        let id = self.planned.get(text.value.as_str()).copied();
        id.ok_or_else(|| {
            let (message, allowed) = unknown_item(self.workload, &text.value);
            Mistake::new(text.place, message).allow(allowed)
        })
    }
}
