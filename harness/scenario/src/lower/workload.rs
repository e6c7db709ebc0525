// SPDX-License-Identifier: GPL-2.0-only

//! Gives a `workload` its meaning.
//!
//! In: the texts of a workload. Out: a [`Workload`] the module accepts; a key that its mode ignores is a mistake.
//! Reads each value, and leaves what holds between values to `rules`; keeps the places that those need.

use std::collections::BTreeMap;

use super::Guest;
use super::value::{
    Grammar, Result, duration, errno, has_entries, one_of, size, spelled, truth, whole,
};
use crate::error::{Mistake, Place};
use crate::file::{
    ActionBlock, ActionValue, BodyBlock, Choice, Given, List, ModifyBlock, OwnQueueBlock,
    PlannedItemBlock, QueueBlock, Text, WorkloadBlock,
};
use crate::rules::{
    self, ALLOC, DEFER, DELAY, INLINE_QUEUES, Key, MAX_ACTIVE, PLANNED_KEYS, Part, QueueKey, RUNS,
    SLEEP, SPIN, UNIFORM_KEYS, has_meaning, is_name, without_meaning,
};
use crate::yaml::Located;
use crate::{
    Action, AffinityScope, Arrangement, Bytes, Defer, Errno, Fault, Level, Load, Machine, Mode,
    OwnQueue, PlannedItem, Queue, QueueFlag, Shape, Start, Uniform, Until, Work, Workload,
};

/// The queue that the inline forms stand for.
const INLINE_NAME: &str = "own";

const NAME: Grammar = Grammar {
    what: "a name",
    longest: Workload::MAX_NAME,
    allowed: rules::NAME,
    is_valid: is_name,
};

/// Reads a workload for a guest, in a phase that ends like this.
pub(super) fn workload(
    block: Located<WorkloadBlock>,
    guest: Guest,
    until: Until,
) -> Result<Workload> {
    let mut reader = Reader::new(block.place, guest.load);
    let workload = reader.workload(block)?;
    rules::check(&workload, guest.cpus, until).map_err(|broken| {
        let place = reader.place_of(broken.part);
        Mistake::new(place, broken.message).allow(broken.allowed)
    })?;
    Ok(workload)
}

/// The keys that say how an item runs, in either shape.
struct WorkKeys {
    body: Given<BodyBlock>,
    delay: Given<String>,
    queue: Given<Choice<OwnQueueBlock>>,
    cpu: Given<String>,
    runs: Given<String>,
    defer: Given<String>,
    async_probe: Given<String>,
}

/// Reads a workload, and remembers where its parts stand.
struct Reader {
    places: BTreeMap<Part, Place>,
    queues: Vec<OwnQueue>,
    /// Where the inline form of a queue stands first.
    inline_queue: Option<Place>,
    load: Load,
}

impl Reader {
    fn new(place: Place, load: Load) -> Self {
        Self {
            places: BTreeMap::from([(Part::Workload, place)]),
            queues: Vec::new(),
            inline_queue: None,
            load,
        }
    }

    fn note(&mut self, part: Part, place: Option<Place>) {
        if let Some(place) = place {
            self.places.insert(part, place);
        }
    }

    /// Where a part stands, or the smallest part around it that does.
    fn place_of(&self, part: Part) -> Place {
        let candidates = match part {
            // The keys of a uniform workload stand at item 0; its items have no places.
            Part::Item(id, key) => [part, Part::Item(id, Key::Whole), Part::Item(0, key)],
            Part::Queue(index, _) => [part, Part::Queue(index, QueueKey::Whole), Part::Queues],
            _ => [part; 3],
        };
        let candidates = candidates.iter().chain([&Part::Workload]);
        let mut found = candidates.filter_map(|part| self.places.get(part));
        found.next().copied().unwrap_or(Place::START)
    }

    fn workload(&mut self, block: Located<WorkloadBlock>) -> Result<Workload> {
        let Located {
            value: mut block,
            place,
        } = block;
        self.note(Part::Start, block.start.place());
        if let (Load::BuiltIn, Some(start)) = (self.load, &block.start.0)
            && start.value == Start::Trigger.as_str()
        {
            let message =
                "a workload in the kernel's image is armed by initcalls, not by a trigger";
            return Err(Mistake::new(start.place, message).allow("load"));
        }
        if let Some(list) = std::mem::take(&mut block.queues).0 {
            self.note(Part::Queues, Some(list.place));
            has_entries("queues", &list, 1..=Workload::MAX_QUEUES)?;
            self.own_queues(list.value)?;
        }
        let start = block.start.clone();
        let fault = std::mem::take(&mut block.fault);
        let shape = match std::mem::take(&mut block.plan).0 {
            Some(plan) => {
                stands_alone(&block)?;
                Shape::Plan(self.plan(plan)?)
            }
            None => Shape::Uniform(self.uniform(block, place)?),
        };
        Ok(Workload {
            queues: std::mem::take(&mut self.queues),
            shape,
            start: start.read_if_given(self::start)?.unwrap_or(Start::Load),
            delays: Vec::new(),
            fault: fault.read_if_given(self::fault)?,
        })
    }

    fn uniform(&mut self, block: WorkloadBlock, place: Place) -> Result<Uniform> {
        let mode = mode(&block.mode.required("mode", place)?)?;
        let items = block.items.required("items", place)?;
        let items = whole(&items, 1..=Workload::MAX_ITEMS)?;
        let given = [
            ("arrangement", block.arrangement.place()),
            ("delay", block.delay.place()),
            ("step", block.step.place()),
            ("queue", block.queue.place()),
            ("cpu", block.cpu.place()),
            ("runs", block.runs.place()),
            ("defer", block.defer.place()),
            ("async-probe", block.async_probe.place()),
            ("start", block.start.place()),
        ];
        have_meaning(mode, &given, &UNIFORM_KEYS)?;
        self.note(Part::Step, block.step.place());
        let keys = WorkKeys {
            body: block.body,
            delay: block.delay,
            queue: block.queue,
            cpu: block.cpu,
            runs: block.runs,
            defer: block.defer,
            async_probe: block.async_probe,
        };
        Ok(Uniform {
            items,
            arrangement: block
                .arrangement
                .read_if_given(arrangement)?
                .unwrap_or(Arrangement::Parallel),
            step: block
                .step
                .read_if_given(|text| duration(text, DELAY))?
                .unwrap_or_default(),
            each: self.work(0, mode, keys, place)?,
        })
    }

    fn plan(&mut self, plan: Located<List<PlannedItemBlock>>) -> Result<Vec<PlannedItem>> {
        let most = usize::try_from(Workload::MAX_ITEMS).unwrap_or(usize::MAX);
        has_entries("plan", &plan, 1..=most)?;
        let items = plan.value.into_iter().enumerate();
        items
            .map(|(id, item)| self.planned_item(id, item))
            .collect()
    }

    fn planned_item(&mut self, id: usize, block: Located<PlannedItemBlock>) -> Result<PlannedItem> {
        let Located {
            value: block,
            place,
        } = block;
        self.note(Part::Item(id, Key::Whole), Some(place));
        let name = block.name.required("name", place)?;
        self.note(Part::Item(id, Key::Name), Some(name.place));
        let mode = mode(&block.mode.required("mode", place)?)?;
        let given = [
            ("delay", block.delay.place()),
            ("queue", block.queue.place()),
            ("cpu", block.cpu.place()),
            ("runs", block.runs.place()),
            ("defer", block.defer.place()),
            ("async-probe", block.async_probe.place()),
            ("suppliers", block.suppliers.place()),
        ];
        have_meaning(mode, &given, &PLANNED_KEYS)?;
        let keys = WorkKeys {
            body: block.body,
            delay: block.delay,
            queue: block.queue,
            cpu: block.cpu,
            runs: block.runs,
            defer: block.defer,
            async_probe: block.async_probe,
        };
        Ok(PlannedItem {
            name: spelled(&name, &NAME)?,
            after: self.names("after", block.after, |position| {
                Part::Item(id, Key::After(position))
            })?,
            suppliers: self.names("suppliers", block.suppliers, |position| {
                Part::Item(id, Key::Supplier(position))
            })?,
            level: block.level.read_if_given(|text| level(text, self.load))?,
            work: self.work(id, mode, keys, place)?,
        })
    }

    /// Names of other items; the rules say whether there are such items.
    fn names(
        &mut self,
        key: &str,
        given: Given<Vec<Text>>,
        part: impl Fn(usize) -> Part,
    ) -> Result<Vec<String>> {
        let Some(list) = given.0 else {
            return Ok(Vec::new());
        };
        let most = usize::try_from(Workload::MAX_ITEMS).unwrap_or(usize::MAX);
        has_entries(key, &list, 1..=most)?;
        let texts = list.value.into_iter().enumerate();
        let name = |(position, text): (usize, Text)| {
            self.note(part(position), Some(text.place));
            text.value
        };
        Ok(texts.map(name).collect())
    }

    fn work(&mut self, id: usize, mode: Mode, keys: WorkKeys, place: Place) -> Result<Work> {
        self.note(Part::Item(id, Key::Queue), keys.queue.place());
        self.note(Part::Item(id, Key::Cpu), keys.cpu.place());
        self.note(Part::Item(id, Key::Defer), keys.defer.place());
        let mut work = Work::new(mode);
        if mode.has_delay() {
            work.delay = duration(&keys.delay.required("delay", place)?, DELAY)?;
        }
        work.body = keys
            .body
            .0
            .map(|body| self.body(id, body))
            .transpose()?
            .unwrap_or_default();
        if let Some(choice) = keys.queue.0 {
            work.queue = self.queue(&choice)?;
        }
        work.cpu = keys.cpu.read_if_given(cpu)?.flatten();
        if let Some(runs) = keys.runs.read_if_given(|text| whole(text, RUNS))? {
            work.runs = runs;
        }
        if let Some(defer) = keys.defer.read_if_given(defer)? {
            work.defer = defer;
        }
        work.async_probe = keys.async_probe.read_if_given(truth)?.unwrap_or(false);
        Ok(work)
    }

    fn body(&mut self, id: usize, body: Located<BodyBlock>) -> Result<Vec<Action>> {
        let actions = match body.value {
            BodyBlock::One(action) => vec![Located {
                value: action,
                place: body.place,
            }],
            BodyBlock::Listed(actions) => {
                let listed = Located {
                    value: actions,
                    place: body.place,
                };
                has_entries("body", &listed, 1..=Work::MAX_ACTIONS)?;
                listed.value
            }
        };
        if let [only] = actions.as_slice()
            && only.value.name == "none"
        {
            takes_no_value(&only.value, "none")?;
            return Ok(Vec::new());
        }
        let actions = actions.into_iter().enumerate();
        let action = |(position, action): (usize, Located<ActionBlock>)| {
            self.note(Part::Item(id, Key::Action(position)), Some(action.place));
            self::action(action)
        };
        actions.map(action).collect()
    }

    fn own_queues(&mut self, list: List<QueueBlock>) -> Result<()> {
        for (index, block) in list.into_iter().enumerate() {
            let queue = self.own_queue(index, block)?;
            self.queues.push(queue);
        }
        Ok(())
    }

    fn own_queue(&mut self, index: usize, block: Located<QueueBlock>) -> Result<OwnQueue> {
        let Located {
            value: block,
            place,
        } = block;
        let part = |key| Part::Queue(index, key);
        self.note(part(QueueKey::Whole), Some(place));
        let name = block.name.required("name", place)?;
        self.note(part(QueueKey::Name), Some(name.place));
        self.note(part(QueueKey::MaxActive), block.max_active.place());
        self.note(part(QueueKey::AffinityScope), block.affinity_scope.place());
        let flags = block.flags.0.map(|list| list.value).unwrap_or_default();
        for (position, flag) in flags.iter().enumerate() {
            self.note(part(QueueKey::Flag(position)), Some(flag.place));
        }
        Ok(OwnQueue {
            name: spelled(&name, &NAME)?,
            flags: flags.iter().map(flag).collect::<Result<_>>()?,
            max_active: block
                .max_active
                .read_if_given(|text| whole(text, MAX_ACTIVE))?
                .unwrap_or(0),
            affinity_scope: block.affinity_scope.read_if_given(affinity_scope)?,
        })
    }

    /// A queue by its name, or by an inline form, which stands for one of the module's own.
    fn queue(&mut self, choice: &Located<Choice<OwnQueueBlock>>) -> Result<Queue> {
        let Choice { name, value } = &choice.value;
        if INLINE_QUEUES.contains(&name.as_str()) {
            return self.inline_queue(choice);
        }
        if let Some(value) = value {
            let message = format!("queue `{name}` takes no value");
            return Err(Mistake::new(value.place, message).allow(format!("queue: {name}")));
        }
        let mut system = Queue::SYSTEM.into_iter();
        let queue = system.find(|queue| queue.as_str() == name);
        Ok(queue.unwrap_or_else(|| Queue::Own(name.clone())))
    }

    fn inline_queue(&mut self, choice: &Located<Choice<OwnQueueBlock>>) -> Result<Queue> {
        let queue = inline_queue(&choice.value)?;
        let earlier = self.queues.iter().find(|other| other.name == queue.name);
        match (earlier, self.inline_queue) {
            (None, _) => {
                self.inline_queue = Some(choice.place);
                let whole = Part::Queue(self.queues.len(), QueueKey::Whole);
                self.note(whole, Some(choice.place));
                self.queues.push(queue);
            }
            (Some(earlier), Some(_)) if *earlier == queue => {}
            (Some(_), first) => {
                let message = match first {
                    Some(first) => format!(
                        "a queue of another kind stands in line {}, and both would be `{INLINE_NAME}`",
                        first.line
                    ),
                    None => {
                        format!("this queue would be `{INLINE_NAME}`, which `queues` has already")
                    }
                };
                return Err(Mistake::new(choice.place, message).allow("the names of `queues`"));
            }
        }
        Ok(Queue::Own(INLINE_NAME.to_owned()))
    }
}

/// Refuses the keys of a uniform workload beside a plan.
fn stands_alone(block: &WorkloadBlock) -> Result<()> {
    let given = [
        ("mode", block.mode.place()),
        ("items", block.items.place()),
        ("body", block.body.place()),
        ("delay", block.delay.place()),
        ("step", block.step.place()),
        ("arrangement", block.arrangement.place()),
        ("queue", block.queue.place()),
        ("cpu", block.cpu.place()),
        ("runs", block.runs.place()),
        ("defer", block.defer.place()),
        ("async-probe", block.async_probe.place()),
    ];
    for (key, place) in given {
        if let Some(place) = place {
            let message = format!("`{key}` has no meaning beside `plan`");
            return Err(Mistake::new(place, message).allow("plan, queues, start, fault"));
        }
    }
    Ok(())
}

fn fault(text: &Text) -> Result<Fault> {
    let table = Fault::ALL.map(|fault| (fault.as_str(), fault));
    one_of(text.place, "fault", &text.value, &table)
}

/// Refuses keys that a mode would ignore.
fn have_meaning(mode: Mode, given: &[(&str, Option<Place>)], keys: &[&str]) -> Result<()> {
    for (key, place) in given {
        if let Some(place) = place
            && !has_meaning(key, mode)
        {
            let broken = without_meaning(Part::Workload, key, mode, keys);
            return Err(Mistake::new(*place, broken.message).allow(broken.allowed));
        }
    }
    Ok(())
}

/// What an action is made of.
#[derive(Clone, Copy)]
enum ActionKind {
    None,
    Bare(fn() -> Action),
    Spin,
    Sleep,
    Alloc,
    Named(fn(String) -> Action),
    Fail,
    Modify,
}

const ACTIONS: [(&str, ActionKind); 14] = [
    ("none", ActionKind::None),
    ("spin", ActionKind::Spin),
    ("sleep", ActionKind::Sleep),
    ("alloc", ActionKind::Alloc),
    ("lock", ActionKind::Named(Action::Lock)),
    ("wait", ActionKind::Bare(|| Action::Wait)),
    ("complete", ActionKind::Named(Action::Complete)),
    ("fail", ActionKind::Fail),
    ("print", ActionKind::Bare(|| Action::Print)),
    ("cancel", ActionKind::Named(Action::Cancel)),
    ("flush", ActionKind::Named(Action::Flush)),
    ("modify", ActionKind::Modify),
    ("destroy", ActionKind::Named(Action::Destroy)),
    ("hang", ActionKind::Bare(|| Action::Hang)),
];

fn action(block: Located<ActionBlock>) -> Result<Action> {
    let Located {
        value: block,
        place,
    } = block;
    let name = block.name.clone();
    match one_of(place, "body", &name, &ACTIONS)? {
        ActionKind::None => {
            let message = "`none` is a body of its own";
            Err(Mistake::new(place, message).allow("body: none"))
        }
        ActionKind::Bare(make) => {
            takes_no_value(&block, &name)?;
            Ok(make())
        }
        ActionKind::Spin => {
            let text = text(block, place, "a duration", "{ spin: 5ms }")?;
            Ok(Action::Spin(duration(&text, SPIN)?))
        }
        ActionKind::Sleep => {
            let text = text(block, place, "a duration", "{ sleep: 5ms }")?;
            Ok(Action::Sleep(duration(&text, SLEEP)?))
        }
        ActionKind::Alloc => {
            let text = text(block, place, "a size", "{ alloc: 64KiB }")?;
            Ok(Action::Alloc(size(&text, ALLOC, Bytes(1))?))
        }
        ActionKind::Named(make) => {
            let text = text(block, place, "a name", &format!("{{ {name}: NAME }}"))?;
            Ok(make(spelled(&text, &NAME)?))
        }
        ActionKind::Fail => {
            let text = text(block, place, "an error", "{ fail: EIO }")?;
            Ok(Action::Fail(failure(&text)?))
        }
        ActionKind::Modify => match block.value {
            Some(ActionValue::Modify(modify)) => self::modify(modify),
            _ => Err(needs(place, &name, "an item and a delay", MODIFY)),
        },
    }
}

/// What `modify` may look like.
const MODIFY: &str = "{ modify: { item: NAME, delay: 5ms } }";

fn modify(block: Located<ModifyBlock>) -> Result<Action> {
    let Located {
        value: block,
        place,
    } = block;
    Ok(Action::Modify {
        item: spelled(&block.item.required("item", place)?, &NAME)?,
        delay: duration(&block.delay.required("delay", place)?, DELAY)?,
    })
}

/// The value of an action that has to have one.
fn text(block: ActionBlock, place: Place, what: &str, example: &str) -> Result<Text> {
    match block.value {
        Some(ActionValue::Text(text)) => Ok(text),
        _ => Err(needs(place, &block.name, what, example)),
    }
}

fn needs(place: Place, name: &str, what: &str, example: &str) -> Mistake {
    Mistake::new(place, format!("body `{name}` needs {what}")).allow(example)
}

fn takes_no_value(block: &ActionBlock, name: &str) -> Result<()> {
    match &block.value {
        Some(ActionValue::Text(Text { place, .. })) => {
            let message = format!("body `{name}` takes no value");
            Err(Mistake::new(*place, message).allow(format!("body: {name}")))
        }
        Some(ActionValue::Modify(_)) | None => Ok(()),
    }
}

fn failure(text: &Text) -> Result<Errno> {
    if text.value == "EPROBE_DEFER" {
        let message = "a probe that is to be tried again does not fail";
        return Err(Mistake::new(text.place, message).allow("`defer: 1` beside the body"));
    }
    errno(text)
}

fn inline_queue(choice: &Choice<OwnQueueBlock>) -> Result<OwnQueue> {
    let Choice { name, value } = choice;
    let max_active = match value {
        None => 0,
        Some(block) => {
            let Some(max_active) = &block.value.max_active.0 else {
                let message = format!("key `max-active` is missing from `{name}`");
                let allowed = format!("{name}: {{ max-active: 2 }}");
                return Err(Mistake::new(block.place, message).allow(allowed));
            };
            whole(max_active, MAX_ACTIVE)?
        }
    };
    let flags = match name.as_str() {
        "own-unbound" => vec![QueueFlag::Unbound],
        _ => Vec::new(),
    };
    Ok(OwnQueue {
        name: INLINE_NAME.to_owned(),
        flags,
        max_active,
        affinity_scope: None,
    })
}

fn mode(text: &Text) -> Result<Mode> {
    let table = Mode::ALL.map(|mode| (mode.as_str(), mode));
    one_of(text.place, "mode", &text.value, &table)
}

fn arrangement(text: &Text) -> Result<Arrangement> {
    let table = [Arrangement::Parallel, Arrangement::Chain]
        .map(|arrangement| (arrangement.as_str(), arrangement));
    one_of(text.place, "arrangement", &text.value, &table)
}

fn start(text: &Text) -> Result<Start> {
    let table = [Start::Load, Start::Trigger].map(|start| (start.as_str(), start));
    one_of(text.place, "start", &text.value, &table)
}

fn level(text: &Text, load: Load) -> Result<Level> {
    if load == Load::Module {
        let message = "only a workload in the kernel's image has initcall levels";
        return Err(Mistake::new(text.place, message).allow("`load: built-in` at the top level"));
    }
    let table = Level::ALL.map(|level| (level.as_str(), level));
    one_of(text.place, "level", &text.value, &table)
}

fn flag(text: &Text) -> Result<QueueFlag> {
    let table = QueueFlag::ALL.map(|flag| (flag.as_str(), flag));
    one_of(text.place, "flag", &text.value, &table)
}

fn affinity_scope(text: &Text) -> Result<AffinityScope> {
    let table = AffinityScope::ALL.map(|scope| (scope.as_str(), scope));
    one_of(text.place, "affinity scope", &text.value, &table)
}

fn cpu(text: &Text) -> Result<Option<u32>> {
    match text.value.as_str() {
        "any" => Ok(None),
        _ => whole(text, 0..=Machine::MAX_CPUS - 1)
            .map(Some)
            .map_err(|mistake| mistake.or("any")),
    }
}

fn defer(text: &Text) -> Result<Defer> {
    match text.value.as_str() {
        "forever" => Ok(Defer::Forever),
        _ => whole(text, DEFER)
            .map(Defer::Times)
            .map_err(|mistake| mistake.or("forever")),
    }
}
