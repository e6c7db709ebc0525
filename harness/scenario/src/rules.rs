// SPDX-License-Identifier: GPL-2.0-only

//! The rules a workload follows: those the module enforces, and that it comes to an end.
//!
//! In: a whole [`Workload`], the guest's CPUs, and when its phase ends. Out: the first rule it breaks, with the part
//! of the workload that breaks it. Knows no file: `lower` turns the part into a place.
//! Source: the parameters of `module/test_deferred_main.rs`; `alloc_workqueue()` in `kernel/workqueue.c`, Linux 7.3.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::endings::{Reason, endless};
use crate::error::{some_of, unknown};
use crate::graph::Graph;
use crate::{
    Action, Arrangement, Bytes, Defer, Level, Mode, Nanos, OwnQueue, PlannedItem, Queue, QueueFlag,
    Shape, Start, Uniform, Until, Work, Workload,
};

/// The longest duration anything in a scenario may have: one hour.
pub(crate) const LONGEST: Nanos = Nanos(3_600_000_000_000);

/// How long a body may keep its CPU: up to half of what the soft lockup detector lets pass
/// (2 * `watchdog_thresh`, 20 s, `kernel/watchdog.c`, Linux 7.3).
pub(crate) const SPIN: RangeInclusive<Nanos> = Nanos(1)..=Nanos(10_000_000_000);

/// How long a body may sleep: `fsleep()` of the kernel's Rust API takes 31 bits of microseconds.
pub(crate) const SLEEP: RangeInclusive<Nanos> = Nanos(1)..=Nanos(2_147_000_000_000);

/// How much a body may allocate: up to the largest `kmalloc()` on x86_64.
pub(crate) const ALLOC: RangeInclusive<Bytes> = Bytes(1)..=Bytes(4 << 20);

pub(crate) const DELAY: RangeInclusive<Nanos> = Nanos(0)..=LONGEST;
pub(crate) const RUNS: RangeInclusive<u32> = 1..=Work::MAX_RUNS;
pub(crate) const DEFER: RangeInclusive<u32> = 0..=Defer::MAX_TIMES;
pub(crate) const MAX_ACTIVE: RangeInclusive<u32> = 1..=OwnQueue::MAX_ACTIVE;

/// Names of queues that stand for one of the module's own without an entry of `queues`.
pub(crate) const INLINE_QUEUES: [&str; 2] = ["own-percpu", "own-unbound"];

/// What the name of an item, a queue or a lock is made of.
pub(crate) const NAME: &str = "lower-case letters, digits, `_` and `-`";

/// What an item may do where nothing may sleep.
const ATOMIC_ACTIONS: &str = "none, spin, complete, fail, print";

/// What to write where a workload never ends by itself.
const HOLD: &str = "`until: { hold: 100ms }`, or any other time";

/// The keys of a uniform workload.
pub(crate) const UNIFORM_KEYS: [&str; 13] = [
    "mode",
    "items",
    "body",
    "delay",
    "step",
    "arrangement",
    "queue",
    "cpu",
    "runs",
    "defer",
    "async-probe",
    "queues",
    "start",
];

/// The keys of an item of a plan.
pub(crate) const PLANNED_KEYS: [&str; 12] = [
    "name",
    "mode",
    "body",
    "delay",
    "queue",
    "cpu",
    "runs",
    "defer",
    "async-probe",
    "after",
    "suppliers",
    "level",
];

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) part: Part,
    pub(crate) message: String,
    pub(crate) allowed: String,
}

/// A part of a workload. Items of a uniform workload have their keys in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Workload,
    Items,
    Arrangement,
    Step,
    Start,
    Queues,
    Queue(usize, QueueKey),
    Item(usize, Key),
}

/// A key of an own queue; lists by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum QueueKey {
    Whole,
    Name,
    Flag(usize),
    MaxActive,
    AffinityScope,
}

/// A key of an item; lists by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Whole,
    Name,
    Delay,
    Body,
    Action(usize),
    Queue,
    Cpu,
    Runs,
    Defer,
    AsyncProbe,
    After(usize),
    Supplier(usize),
}

type Result<T> = std::result::Result<T, Broken>;

/// Checks a whole workload: every rule stands here, and each value is within its range.
pub(crate) fn check(workload: &Workload, cpus: u32, until: Until) -> Result<()> {
    queues(&workload.queues)?;
    match &workload.shape {
        Shape::Uniform(uniform) => check_uniform(uniform)?,
        Shape::Plan(items) => check_plan(items)?,
    }
    let graph = Graph::of(workload);
    let items = Items {
        workload,
        graph: &graph,
        cpus,
    };
    match &workload.shape {
        Shape::Uniform(uniform) => items.work(0, &uniform.each)?,
        Shape::Plan(planned) => items.plan(planned)?,
    }
    starts(workload)?;
    match until {
        Until::Done => items.end(),
        Until::Hold(_) => Ok(()),
    }
}

/// True when a key means something in a mode.
pub(crate) fn has_meaning(key: &str, mode: Mode) -> bool {
    match key {
        "delay" | "step" => mode.has_delay(),
        "queue" => mode.has_queue(),
        "cpu" => mode.has_cpu(),
        "runs" => mode.has_runs(),
        "defer" | "async-probe" | "suppliers" => mode == Mode::Probe,
        "arrangement" | "start" => mode != Mode::Direct,
        _ => true,
    }
}

/// Says that a key means nothing in a mode.
pub(crate) fn without_meaning(part: Part, key: &str, mode: Mode, keys: &[&str]) -> Broken {
    let mode_name = mode.as_str();
    let allowed: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|key| has_meaning(key, mode))
        .collect();
    broken(
        part,
        format!("`{key}` has no meaning in mode {mode_name}"),
        allowed.join(", "),
    )
}

/// True when a text may be the name of an item, a queue or a lock.
pub(crate) fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    })
}

fn broken(part: Part, message: impl Into<String>, allowed: impl Into<String>) -> Broken {
    Broken {
        part,
        message: message.into(),
        allowed: allowed.into(),
    }
}

fn within<T: PartialOrd + Display>(part: Part, value: T, range: &RangeInclusive<T>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(broken(part, format!("{value} is out of range"), allowed))
}

fn has_entries(part: Part, key: &str, count: usize, range: RangeInclusive<usize>) -> Result<()> {
    if range.contains(&count) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(broken(
        part,
        format!("`{key}` has {count} entries"),
        allowed,
    ))
}

fn named(part: Part, name: &str) -> Result<()> {
    let length = 1..=Workload::MAX_NAME;
    if length.contains(&name.len()) && is_name(name) {
        return Ok(());
    }
    let allowed = format!("{NAME}, at most {} bytes", Workload::MAX_NAME);
    Err(broken(part, format!("`{name}` is not a name"), allowed))
}

fn queues(queues: &[OwnQueue]) -> Result<()> {
    has_entries(
        Part::Queues,
        "queues",
        queues.len(),
        0..=Workload::MAX_QUEUES,
    )?;
    let mut names = HashSet::new();
    for (index, queue) in queues.iter().enumerate() {
        let part = Part::Queue(index, QueueKey::Name);
        named(part, &queue.name)?;
        let system = Queue::SYSTEM;
        let mut taken = system.iter().map(Queue::as_str).chain(INLINE_QUEUES);
        if taken.any(|name| name == queue.name) {
            let message = format!("`{}` is the name of a queue already", queue.name);
            return Err(broken(part, message, "a name of its own"));
        }
        if !names.insert(&queue.name) {
            let message = format!("queue `{}` is there twice", queue.name);
            return Err(broken(part, message, "a name of its own for each queue"));
        }
        own_queue(index, queue)?;
    }
    Ok(())
}

fn own_queue(index: usize, queue: &OwnQueue) -> Result<()> {
    let is = |flag| queue.flags.contains(&flag);
    let max_active = Part::Queue(index, QueueKey::MaxActive);
    let affinity_scope = Part::Queue(index, QueueKey::AffinityScope);
    for (position, flag) in queue.flags.iter().enumerate() {
        let part = Part::Queue(index, QueueKey::Flag(position));
        if queue.flags.iter().take(position).any(|other| other == flag) {
            let message = format!("flag `{}` is there twice", flag.as_str());
            return Err(broken(part, message, "each flag once"));
        }
        if is(QueueFlag::Bh) && !matches!(flag, QueueFlag::Bh | QueueFlag::Highpri) {
            let message = format!("a bh queue cannot be {} too", flag.as_str());
            return Err(broken(part, message, "bh, highpri"));
        }
    }
    if queue.max_active != 0 {
        within(max_active, queue.max_active, &MAX_ACTIVE)?;
        let kinds = [QueueFlag::Bh, QueueFlag::Ordered];
        if let Some(kind) = kinds.into_iter().find(|kind| is(*kind)) {
            let kind = kind.as_str();
            let message = format!("the limit of a queue that is {kind} is the kernel's to set");
            return Err(broken(max_active, message, "no `max-active`"));
        }
    }
    if queue.affinity_scope.is_some() && is(QueueFlag::Bh) {
        let message = "a bh queue has no affinity scope";
        return Err(broken(affinity_scope, message, "no `affinity-scope`"));
    }
    if queue.affinity_scope.is_some() && is(QueueFlag::Ordered) {
        // `workqueue_sysfs_register()`, which the scope is set through, refuses it.
        let message = "the affinity scope of a queue that is ordered cannot be set";
        return Err(broken(affinity_scope, message, "no `affinity-scope`"));
    }
    if queue.affinity_scope.is_some() && !queue.is_unbound() {
        let message = "only unbound queues have an affinity scope";
        return Err(broken(affinity_scope, message, "flags: [unbound]"));
    }
    Ok(())
}

fn check_uniform(uniform: &Uniform) -> Result<()> {
    let mode = uniform.each.mode;
    within(Part::Items, uniform.items, &(1..=Workload::MAX_ITEMS))?;
    if uniform.arrangement != Arrangement::Parallel && !has_meaning("arrangement", mode) {
        return Err(without_meaning(
            Part::Arrangement,
            "arrangement",
            mode,
            &UNIFORM_KEYS,
        ));
    }
    if uniform.step != Nanos(0) && !has_meaning("step", mode) {
        return Err(without_meaning(Part::Step, "step", mode, &UNIFORM_KEYS));
    }
    let before_last = u64::from(uniform.items.saturating_sub(1));
    let steps = uniform.step.saturating_mul(before_last);
    let longest = uniform.each.delay.saturating_add(steps);
    if longest > LONGEST {
        let message = format!("delay and step add up to {longest} for the last item");
        return Err(broken(Part::Step, message, format!("at most {LONGEST}")));
    }
    Ok(())
}

fn check_plan(items: &[PlannedItem]) -> Result<()> {
    let most = usize::try_from(Workload::MAX_ITEMS).unwrap_or(usize::MAX);
    has_entries(Part::Items, "plan", items.len(), 1..=most)?;
    let mut names = HashSet::new();
    for (id, item) in items.iter().enumerate() {
        let part = Part::Item(id, Key::Name);
        named(part, &item.name)?;
        if !names.insert(item.name.as_str()) {
            let message = format!("item `{}` is there twice", item.name);
            return Err(broken(part, message, "a name of its own for each item"));
        }
    }
    Ok(())
}

/// Refuses a trigger for items that have all run by then.
fn starts(workload: &Workload) -> Result<()> {
    let is_direct = |work: &Work| work.mode == Mode::Direct;
    let all_direct = match &workload.shape {
        Shape::Uniform(uniform) => is_direct(&uniform.each),
        Shape::Plan(items) => items.iter().all(|item| is_direct(&item.work)),
    };
    if workload.start == Start::Trigger && all_direct {
        let message = "all items are direct: they run at the load, and leave nothing to trigger";
        return Err(broken(Part::Start, message, "load"));
    }
    Ok(())
}

/// The items of a workload whose names are in order.
struct Items<'a> {
    workload: &'a Workload,
    graph: &'a Graph<'a>,
    cpus: u32,
}

impl Items<'_> {
    fn plan(&self, planned: &[PlannedItem]) -> Result<()> {
        for (id, item) in planned.iter().enumerate() {
            self.work(id, &item.work)?;
            self.after(id, item)?;
            self.suppliers(id, item)?;
        }
        match self.graph.cycle() {
            Some(cycle) => Err(self.after_itself(&cycle)),
            None => Ok(()),
        }
    }

    /// How one item runs and what it does.
    fn work(&self, id: usize, work: &Work) -> Result<()> {
        let part = |key| Part::Item(id, key);
        let keys = [
            ("delay", Key::Delay, work.delay != Nanos(0)),
            ("queue", Key::Queue, work.queue != Queue::SystemPercpu),
            ("cpu", Key::Cpu, work.cpu.is_some()),
            ("runs", Key::Runs, work.runs != 1),
            ("defer", Key::Defer, work.defer != Defer::Times(0)),
            ("async-probe", Key::AsyncProbe, work.async_probe),
        ];
        for (name, key, is_given) in keys {
            if is_given && !has_meaning(name, work.mode) {
                let keys = match &self.workload.shape {
                    Shape::Uniform(_) => &UNIFORM_KEYS[..],
                    Shape::Plan(_) => &PLANNED_KEYS[..],
                };
                return Err(without_meaning(part(key), name, work.mode, keys));
            }
        }
        within(part(Key::Delay), work.delay, &DELAY)?;
        within(part(Key::Runs), work.runs, &RUNS)?;
        if let Defer::Times(times) = work.defer {
            within(part(Key::Defer), times, &DEFER)?;
        }
        if let Some(cpu) = work.cpu
            && cpu >= self.cpus
        {
            let message = format!("the guest has no CPU {cpu}");
            let allowed = match self.cpus {
                0 | 1 => "any, 0; more with `cpus` under machine".to_owned(),
                cpus => format!("any, 0 to {}", cpus - 1),
            };
            return Err(broken(part(Key::Cpu), message, allowed));
        }
        if let Queue::Own(name) = &work.queue
            && self.workload.own_queue(name).is_none()
        {
            return Err(self.unknown_queue(part(Key::Queue), name));
        }
        self.body(id, work)
    }

    fn body(&self, id: usize, work: &Work) -> Result<()> {
        let count = work.body.len();
        has_entries(
            Part::Item(id, Key::Body),
            "body",
            count,
            0..=Work::MAX_ACTIONS,
        )?;
        let is_atomic = self.workload.is_atomic(work);
        let mut locks = 0;
        for (position, action) in work.body.iter().enumerate() {
            let part = Part::Item(id, Key::Action(position));
            let name = action.as_str();
            self.action(part, id, work, action)?;
            if is_atomic && may_sleep(action) {
                let whose = match work.mode {
                    Mode::Hrtimer => "mode hrtimer".to_owned(),
                    _ => format!("queue `{}`", work.queue.as_str()),
                };
                let message = format!("`{name}` may sleep, which an item of {whose} cannot");
                return Err(broken(part, message, ATOMIC_ACTIONS));
            }
            let is_last_only = matches!(action, Action::Fail(_) | Action::Hang);
            if is_last_only && position + 1 < count {
                let message = format!("`{name}` ends the body, but other actions follow");
                return Err(broken(
                    part,
                    message,
                    format!("`{name}` as the last action"),
                ));
            }
            locks += usize::from(matches!(action, Action::Lock(_)));
            if locks > 1 {
                let message = "a body takes one lock at most";
                return Err(broken(part, message, "one `lock`"));
            }
        }
        Ok(())
    }

    /// What an action is about.
    fn action(&self, part: Part, id: usize, work: &Work, action: &Action) -> Result<()> {
        match action {
            Action::Wait | Action::Print | Action::Hang | Action::Fail(_) => Ok(()),
            Action::Spin(duration) => within(part, *duration, &SPIN),
            Action::Sleep(duration) => within(part, *duration, &SLEEP),
            Action::Alloc(size) => within(part, *size, &ALLOC),
            Action::Lock(name) => named(part, name),
            Action::Complete(name) => self.known(part, name).map(|_| ()),
            Action::Cancel(name) | Action::Flush(name) => {
                self.other(part, id, action, name).map(|_| ())
            }
            Action::Modify { item, delay } => {
                within(part, *delay, &DELAY)?;
                let target = self.other(part, id, action, item)?;
                let mode = self.graph.work(target).map(|work| work.mode);
                if matches!(mode, Some(Mode::Delayed | Mode::Deferrable)) {
                    return Ok(());
                }
                let message = format!("item `{item}` has no delay to modify");
                Err(broken(part, message, "items in mode delayed or deferrable"))
            }
            Action::Destroy(name) => {
                if self.workload.own_queue(name).is_none() {
                    let names = self.own_queues();
                    let message = unknown("own queue", name, &names);
                    return Err(broken(part, message, own_queues_in_words(&names)));
                }
                if work.queue == Queue::Own(name.clone()) {
                    let message = format!("the item runs on queue `{name}` itself");
                    return Err(broken(part, message, "another one of `queues`"));
                }
                Ok(())
            }
        }
    }

    /// The item with this name.
    fn known(&self, part: Part, name: &str) -> Result<usize> {
        self.graph.id(name).ok_or_else(|| {
            let (message, allowed) = unknown_item(self.workload, name);
            broken(part, message, allowed)
        })
    }

    /// The item that an action of item `id` is about, which has to be another one.
    fn other(&self, part: Part, id: usize, action: &Action, name: &str) -> Result<usize> {
        let target = self.known(part, name)?;
        let action = action.as_str();
        match &self.workload.shape {
            Shape::Uniform(_) => {
                let message =
                    format!("every item has this body, so item {name} would {action} itself");
                Err(broken(
                    part,
                    message,
                    format!("`{action}` in an item of a `plan`"),
                ))
            }
            Shape::Plan(_) if target == id => {
                let message = format!("item `{name}` cannot {action} itself");
                Err(broken(part, message, "another item"))
            }
            Shape::Plan(_) => Ok(target),
        }
    }

    /// The initcall level at which an item is armed.
    fn level_of(&self, id: usize) -> Level {
        match &self.workload.shape {
            Shape::Uniform(_) => Level::default(),
            Shape::Plan(items) => items
                .get(id)
                .and_then(|item| item.level)
                .unwrap_or_default(),
        }
    }

    fn after(&self, id: usize, item: &PlannedItem) -> Result<()> {
        let level = self.level_of(id);
        let is_probe = item.work.mode == Mode::Probe;
        let mut named = HashSet::new();
        for (position, name) in item.after.iter().enumerate() {
            let part = Part::Item(id, Key::After(position));
            let before = self.known(part, name)?;
            listed_once(part, name, &mut named)?;
            if self.level_of(before) > level {
                let message = format!(
                    "item `{}` of level {} comes after `{name}`, which is of level {}",
                    item.name,
                    level.as_str(),
                    self.level_of(before).as_str()
                );
                return Err(broken(
                    part,
                    message,
                    "items of its own level or an earlier one",
                ));
            }
            let is_atomic = self
                .graph
                .work(before)
                .is_some_and(|work| self.workload.is_atomic(work));
            if is_probe && is_atomic {
                let message =
                    format!("item `{name}` ends where nothing may sleep, but a probe has to");
                return Err(broken(part, message, "items that may sleep"));
            }
        }
        Ok(())
    }

    fn suppliers(&self, id: usize, item: &PlannedItem) -> Result<()> {
        let mode = item.work.mode;
        let mut named = HashSet::new();
        for (position, name) in item.suppliers.iter().enumerate() {
            let part = Part::Item(id, Key::Supplier(position));
            if !has_meaning("suppliers", mode) {
                return Err(without_meaning(part, "suppliers", mode, &PLANNED_KEYS));
            }
            let supplier = self.known(part, name)?;
            listed_once(part, name, &mut named)?;
            if supplier == id {
                let message = format!("item `{name}` cannot supply itself");
                return Err(broken(part, message, "other items in mode probe"));
            }
            let works = self.graph.work(supplier);
            if works.is_none_or(|work| work.mode != Mode::Probe) {
                let message = format!("item `{name}` is no probe, so it supplies nothing");
                return Err(broken(part, message, "items in mode probe"));
            }
        }
        Ok(())
    }

    fn after_itself(&self, cycle: &[usize]) -> Broken {
        let part = self.first_edge(cycle);
        let message = format!(
            "an item comes after itself: {}",
            self.around(cycle, "after")
        );
        broken(part, message, "items that do not wait for each other")
    }

    /// Refuses a workload that has no end where its phase waits for one.
    fn end(&self) -> Result<()> {
        let Some((id, reason)) = endless(self.graph) else {
            return Ok(());
        };
        let name = self.name(id);
        let part = |key| Part::Item(id, key);
        let (part, message) = match reason {
            Reason::Hangs(position) => (part(Key::Action(position)), format!("item {name} hangs")),
            Reason::NeverCompleted(position) => (
                part(Key::Action(position)),
                format!("item {name} waits, and nothing completes it"),
            ),
            Reason::DeferredForever => {
                (part(Key::Defer), format!("item {name} is deferred forever"))
            }
            Reason::SupplierFails(position) => {
                let supplier = self.graph.suppliers(id).get(position);
                let supplier = supplier.map(|id| self.name(*id)).unwrap_or_default();
                (
                    part(Key::Supplier(position)),
                    format!("item {name} waits for {supplier}, whose probe fails"),
                )
            }
            Reason::Cycle(cycle) => (
                self.first_edge(&cycle),
                format!("items wait for each other: {}", self.around(&cycle, "for")),
            ),
        };
        let message = format!("{message}, so not all items end");
        Err(broken(part, message, HOLD))
    }

    /// Where the first item of a cycle names the next one.
    fn first_edge(&self, cycle: &[usize]) -> Part {
        let Some(id) = cycle.first().copied() else {
            return Part::Workload;
        };
        let next = cycle.get(1).copied().unwrap_or(id);
        let position = |list: &[usize]| list.iter().position(|other| *other == next);
        let key = position(self.graph.after(id))
            .map(Key::After)
            .or_else(|| position(self.graph.suppliers(id)).map(Key::Supplier))
            .unwrap_or(Key::Whole);
        Part::Item(id, key)
    }

    /// A cycle in words, back to where it began.
    fn around(&self, cycle: &[usize], verb: &str) -> String {
        let names: Vec<String> = cycle
            .iter()
            .chain(cycle.first())
            .map(|id| self.name(*id))
            .collect();
        names.join(&format!(" {verb} "))
    }

    fn name(&self, id: usize) -> String {
        let name = u32::try_from(id)
            .ok()
            .and_then(|id| self.workload.name_of(id));
        format!("`{}`", name.unwrap_or_default())
    }

    fn own_queues(&self) -> Vec<&str> {
        let queues = self.workload.queues.iter();
        queues.map(|queue| queue.name.as_str()).collect()
    }

    fn unknown_queue(&self, part: Part, name: &str) -> Broken {
        let system = Queue::SYSTEM;
        let mut names: Vec<&str> = system.iter().map(Queue::as_str).collect();
        names.extend(INLINE_QUEUES);
        names.extend(self.own_queues());
        broken(part, unknown("queue", name, &names), some_of(&names))
    }
}

/// What to say about a name that no item has, and the names they have.
pub(crate) fn unknown_item(workload: &Workload, name: &str) -> (String, String) {
    match &workload.shape {
        Shape::Uniform(uniform) => {
            let last = uniform.items.saturating_sub(1);
            (unknown("item", name, &[]), format!("0 to {last}"))
        }
        Shape::Plan(items) => {
            let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
            (unknown("item", name, &names), some_of(&names))
        }
    }
}

fn own_queues_in_words(names: &[&str]) -> String {
    if names.is_empty() {
        return "an entry of `queues`".to_owned();
    }
    some_of(names)
}

fn listed_once<'a>(part: Part, name: &'a str, earlier: &mut HashSet<&'a str>) -> Result<()> {
    if earlier.insert(name) {
        return Ok(());
    }
    let message = format!("item `{name}` is there twice");
    Err(broken(part, message, "each item once"))
}

fn may_sleep(action: &Action) -> bool {
    match action {
        Action::Spin(_) | Action::Complete(_) | Action::Fail(_) | Action::Print => false,
        Action::Sleep(_)
        | Action::Alloc(_)
        | Action::Lock(_)
        | Action::Wait
        | Action::Cancel(_)
        | Action::Flush(_)
        | Action::Modify { .. }
        | Action::Destroy(_)
        | Action::Hang => true,
    }
}
