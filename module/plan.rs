// SPDX-License-Identifier: GPL-2.0-only

//! The plan of a load: which items there are, how each is run, and what it does.
//!
//! In: the module's parameters. Out: a [`Plan`] in which every name is resolved and every rule
//! holds, or `EINVAL` and one line in the kernel log. Runs nothing.
//! The grammar of `plan`, `queues` and `body` is in `plan_text.rs`.

use kernel::{
    fmt,
    prelude::*, //
};

use crate::{
    fault::Fault,
    graph::{
        self,
        Graph, //
    },
    parameter::{
        refuse,
        Of,
        Parameter, //
    },
    plan_text::{
        self,
        Names, //
    },
};

/// More items than any scenario needs, few enough to allocate at once.
pub(crate) const MAX_ITEMS: u32 = 4096;

/// One hour: `__usecs_to_jiffies()` takes 32 bits of microseconds, a little more than that.
pub(crate) const MAX_NS: u64 = 3_600_000_000_000;

/// How an item is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Direct,
    Delayed,
    Work,
    Deferrable,
    Async,
    Kthread,
    Probe,
    Hrtimer,
}

impl Mode {
    /// By their names.
    pub(crate) const ALL: [(&'static str, Self); 8] = [
        ("direct", Self::Direct),
        ("delayed", Self::Delayed),
        ("work", Self::Work),
        ("deferrable", Self::Deferrable),
        ("async", Self::Async),
        ("kthread", Self::Kthread),
        ("probe", Self::Probe),
        ("hrtimer", Self::Hrtimer),
    ];

    /// The name, as the user gives it.
    pub(crate) fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, mode)| *mode == self);
        named.map_or("", |(name, _)| name)
    }

    /// Whether a workqueue runs the item.
    pub(crate) fn has_queue(self) -> bool {
        matches!(self, Self::Delayed | Self::Work | Self::Deferrable)
    }

    fn has_delay(self) -> bool {
        matches!(self, Self::Delayed | Self::Deferrable | Self::Hrtimer)
    }
}

/// Where work is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueRef {
    SystemPercpu,
    SystemUnbound,
    SystemHighpri,
    SystemLong,
    SystemFreezable,
    SystemBh,
    SystemBhHighpri,
    /// One of [`Plan::queues`].
    Own(u32),
}

impl QueueRef {
    /// The kernel's, by their names.
    pub(crate) const SYSTEM: [(&'static str, Self); 7] = [
        ("system-percpu", Self::SystemPercpu),
        ("system-unbound", Self::SystemUnbound),
        ("system-highpri", Self::SystemHighpri),
        ("system-long", Self::SystemLong),
        ("system-freezable", Self::SystemFreezable),
        ("system-bh", Self::SystemBh),
        ("system-bh-highpri", Self::SystemBhHighpri),
    ];
}

/// A queue of the module's own.
#[derive(Clone, Copy)]
pub(crate) struct QueuePlan {
    pub(crate) name: Name,
    /// Of `enum wq_flags`.
    pub(crate) flags: u32,
    pub(crate) is_ordered: bool,
    pub(crate) is_bh: bool,
    /// 0 for the kernel's default.
    pub(crate) max_active: u32,
    pub(crate) affinity: Option<&'static CStr>,
}

/// One thing that an item does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Spin { ns: u64 },
    Sleep { ns: u64 },
    Alloc { bytes: usize },
    Lock { lock: u32 },
    Wait,
    Complete { item: u32 },
    Fail { error: c_int },
    Print,
    Cancel { item: u32 },
    Flush { item: u32 },
    Modify { item: u32, ns: u64 },
    Destroy { queue: u32 },
    Hang,
}

impl Action {
    /// The name, as the user gives it.
    fn name(self) -> &'static str {
        match self {
            Self::Spin { .. } => "spin",
            Self::Sleep { .. } => "sleep",
            Self::Alloc { .. } => "alloc",
            Self::Lock { .. } => "lock",
            Self::Wait => "wait",
            Self::Complete { .. } => "complete",
            Self::Fail { .. } => "fail",
            Self::Print => "print",
            Self::Cancel { .. } => "cancel",
            Self::Flush { .. } => "flush",
            Self::Modify { .. } => "modify",
            Self::Destroy { .. } => "destroy",
            Self::Hang => "hang",
        }
    }

    /// Whether it can be done in an interrupt.
    fn is_atomic(self) -> bool {
        matches!(
            self,
            Self::Spin { .. } | Self::Complete { .. } | Self::Fail { .. } | Self::Print
        )
    }

    /// Whether it waits for another item.
    fn waits_for_item(self) -> bool {
        matches!(
            self,
            Self::Cancel { .. } | Self::Flush { .. } | Self::Destroy { .. }
        )
    }
}

/// The initcall level at which an item in the kernel image is armed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Level {
    Core,
    Subsys,
    Device,
    Late,
}

/// What arms the items.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Load,
    Trigger,
}

/// A name, by value.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; Self::LONGEST],
    length: u8,
}

impl Name {
    pub(crate) const LONGEST: usize = 31;

    /// The first [`Self::LONGEST`] bytes of a name, which is ASCII.
    pub(crate) fn new(text: &str) -> Self {
        let mut name = Self {
            bytes: [0; Self::LONGEST],
            length: 0,
        };
        for (to, from) in name.bytes.iter_mut().zip(text.bytes()) {
            *to = from;
            name.length += 1;
        }
        name
    }

    /// A number as a name.
    fn number(number: u32) -> Self {
        let mut digits = [0; 10];
        let mut rest = number;
        let mut first = digits.len();
        loop {
            first -= 1;
            // A digit fits.
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        Self::new(core::str::from_utf8(&digits[first..]).unwrap_or(""))
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or(&[])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.as_bytes()).unwrap_or(""))
    }
}

/// A part of one of the plan's lists.
#[derive(Clone, Copy, Default)]
pub(crate) struct Range {
    start: usize,
    end: usize,
}

impl Range {
    /// From `start` to the end of `list`.
    pub(crate) fn since<T>(start: usize, list: &[T]) -> Self {
        Self {
            start,
            end: list.len(),
        }
    }

    /// This part of `list`.
    pub(crate) fn of<T>(self, list: &[T]) -> &[T] {
        list.get(self.start..self.end).unwrap_or(&[])
    }
}

/// The kinds of items that lockdep must know apart: it takes all works of a class for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It runs in an interrupt, which may come while another item runs.
    Atomic,
    /// It waits for another item, not for itself.
    Waiting,
    Plain,
}

/// How often a probe is deferred before it succeeds.
pub(crate) const DEFER_FOREVER: u32 = u32::MAX;

/// One item.
#[derive(Clone, Copy)]
pub(crate) struct ItemPlan {
    pub(crate) name: Name,
    pub(crate) mode: Mode,
    pub(crate) delay_ns: u64,
    pub(crate) queue: QueueRef,
    /// -1 for any.
    pub(crate) cpu: c_int,
    pub(crate) runs: u32,
    pub(crate) defer: u32,
    pub(crate) async_probe: bool,
    pub(crate) level: Level,
    pub(crate) body: Range,
    pub(crate) after: Range,
    pub(crate) suppliers: Range,
}

/// Everything a load is to do.
pub(crate) struct Plan {
    pub(crate) items: KVVec<ItemPlan>,
    pub(crate) queues: KVec<QueuePlan>,
    /// How many locks the bodies share.
    pub(crate) locks: usize,
    pub(crate) start: Start,
    pub(crate) fault: Fault,
    pub(crate) graph: Graph,
    lists: Lists,
}

/// What the ranges of the items are parts of.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) actions: KVVec<Action>,
    pub(crate) after: KVVec<u32>,
    pub(crate) suppliers: KVVec<u32>,
}

impl Plan {
    /// Reads and checks the module's parameters.
    pub(crate) fn from_parameters() -> Result<Self> {
        let start = Parameter::Start
            .value()?
            .one_of(&[("load", Start::Load), ("trigger", Start::Trigger)])?;
        let fault = Parameter::Fault.value()?.one_of(&Fault::ALL)?;
        #[cfg(not(MODULE))]
        plan_text::refuse_delays(Parameter::Delays.value()?)?;
        let queues = plan_text::queues(Parameter::Queues.value()?)?;
        let text = Parameter::Plan.value()?;
        let names = if Parameter::Plan.is_given() {
            for other in [Parameter::Items, Parameter::Arrangement, Parameter::StepNs] {
                if other.is_given() {
                    return other.value()?.refuse(fmt!("nothing beside plan"));
                }
            }
            Names::of_plan(text)?
        } else {
            let least = if cfg!(MODULE) { 1 } else { 0 };
            // MAX_ITEMS fits.
            Names::Numbers(Parameter::Items.value()?.number(least, MAX_ITEMS.into())? as u32)
        };
        let mut reader = plan_text::Reader::new(&names, &queues);
        let each = reader.shape()?;
        let mut items = KVVec::with_capacity(names.count(), GFP_KERNEL)?;
        if let Names::Numbers(count) = names {
            uniform(&mut reader.lists, &mut items, each, count)?;
        } else {
            reader.items(text, each, &mut items)?;
        }
        let (lists, locks) = reader.finish();
        let graph = graph::build(&items, &lists.after)?;
        let plan = Self {
            items,
            locks,
            start,
            fault,
            graph,
            lists,
            queues,
        };
        plan.check()?;
        Ok(plan)
    }

    /// What an item does.
    pub(crate) fn body(&self, item: &ItemPlan) -> &[Action] {
        item.body.of(&self.lists.actions)
    }

    /// The items that must have ended before an item is armed.
    pub(crate) fn after(&self, item: &ItemPlan) -> &[u32] {
        item.after.of(&self.lists.after)
    }

    /// The items that must be bound before an item's probe succeeds.
    pub(crate) fn suppliers(&self, item: &ItemPlan) -> &[u32] {
        item.suppliers.of(&self.lists.suppliers)
    }

    /// What lockdep must know of an item.
    pub(crate) fn kind(&self, item: &ItemPlan) -> Kind {
        if self.is_atomic(item) {
            Kind::Atomic
        } else if self.body(item).iter().any(|action| action.waits_for_item()) {
            Kind::Waiting
        } else {
            Kind::Plain
        }
    }

    /// Whether an item runs where it cannot sleep.
    fn is_atomic(&self, item: &ItemPlan) -> bool {
        match (item.mode.has_queue(), item.queue) {
            (true, QueueRef::SystemBh | QueueRef::SystemBhHighpri) => true,
            (true, QueueRef::Own(queue)) => self
                .queues
                .get(queue as usize)
                .is_some_and(|queue| queue.is_bh),
            _ => item.mode == Mode::Hrtimer,
        }
    }

    /// The rules that no value breaks by itself.
    fn check(&self) -> Result {
        for (id, item) in self.items.iter().enumerate() {
            let rules = Rules { plan: self, item };
            rules.keys()?;
            rules.body(id)?;
            rules.order()?;
        }
        let is_direct = |item: &ItemPlan| item.mode == Mode::Direct;
        if self.start == Start::Trigger && self.items.iter().all(is_direct) {
            let value = Parameter::Start.value()?;
            return value.refuse(fmt!("load, because mode is direct"));
        }
        Ok(())
    }
}

/// The items of a plan that was given as a shape: `count` times `each`.
fn uniform(lists: &mut Lists, items: &mut KVVec<ItemPlan>, each: ItemPlan, count: u32) -> Result {
    let step = Parameter::StepNs.value()?;
    let step_ns = step.number(0, MAX_NS)?;
    let is_chain = Parameter::Arrangement
        .value()?
        .one_of(&[("parallel", false), ("chain", true)])?;
    let last = u64::from(count.saturating_sub(1));
    if step_ns.saturating_mul(last).saturating_add(each.delay_ns) > MAX_NS {
        return step.refuse(fmt!(
            "at most {MAX_NS} for delay_ns plus step_ns for each further item"
        ));
    }
    if step_ns > 0 && !each.mode.has_delay() {
        return step.refuse(fmt!("0 in mode {}", each.mode.name()));
    }
    for id in 0..count {
        let start = lists.after.len();
        if is_chain && id > 0 {
            lists.after.push(id - 1, GFP_KERNEL)?;
        }
        let item = ItemPlan {
            name: Name::number(id),
            // Does not overflow: that of the last item was bounded above.
            delay_ns: each.delay_ns + step_ns * u64::from(id),
            after: Range::since(start, &lists.after),
            ..each
        };
        items.push(item, GFP_KERNEL)?;
    }
    Ok(())
}

/// The rules for one item.
struct Rules<'a> {
    plan: &'a Plan,
    item: &'a ItemPlan,
}

impl Rules<'_> {
    /// Says which key breaks a rule, and what is allowed. `EINVAL`, always.
    fn refuse(&self, key: &str, value: fmt::Arguments<'_>, allowed: fmt::Arguments<'_>) -> Result {
        let name = self.item.name;
        pr_err!("item {name}: {key}={value} is not allowed; allowed: {allowed}\n");
        Err(EINVAL)
    }

    /// A key that has no meaning in the item's mode must have its default.
    fn keys(&self) -> Result {
        let item = self.item;
        let mode = item.mode.name();
        let has_queue = item.mode.has_queue();
        let is_probe = item.mode == Mode::Probe;
        if item.delay_ns > 0 && !item.mode.has_delay() {
            let allowed = fmt!("0 in mode {mode}");
            return self.refuse("delay_ns", fmt!("{}", item.delay_ns), allowed);
        }
        if item.queue != QueueRef::SystemPercpu && !has_queue {
            let allowed = fmt!("system-percpu, which has no meaning in mode {mode}");
            return self.refuse(
                "queue",
                fmt!("{}", QueueName(self.plan, item.queue)),
                allowed,
            );
        }
        if item.cpu >= 0 && !has_queue && item.mode != Mode::Kthread {
            return self.refuse("cpu", fmt!("{}", item.cpu), fmt!("any in mode {mode}"));
        }
        if item.runs > 1 && !has_queue && item.mode != Mode::Hrtimer {
            return self.refuse("runs", fmt!("{}", item.runs), fmt!("1 in mode {mode}"));
        }
        if item.defer > 0 && !is_probe {
            return self.refuse("defer", fmt!("{}", item.defer), fmt!("0 in mode {mode}"));
        }
        if item.async_probe && !is_probe {
            return self.refuse("async_probe", fmt!("1"), fmt!("0 in mode {mode}"));
        }
        let suppliers = self.plan.suppliers(item);
        if !suppliers.is_empty() && !is_probe {
            return self.refuse("supplier", fmt!("..."), fmt!("none in mode {mode}"));
        }
        let other = suppliers
            .iter()
            .filter_map(|id| self.plan.items.get(*id as usize))
            .find(|supplier| supplier.mode != Mode::Probe);
        if let Some(other) = other {
            let allowed = fmt!("items of mode probe");
            return self.refuse("supplier", fmt!("{}", other.name), allowed);
        }
        Ok(())
    }

    /// What an item may do depends on where it runs, and on what it does it to.
    fn body(&self, id: usize) -> Result {
        let item = self.item;
        let is_atomic = self.plan.is_atomic(item);
        let body = self.plan.body(item);
        let mut has_lock = false;
        for (index, action) in body.iter().enumerate() {
            let refuse = |allowed| self.refuse("body", fmt!("{}", action.name()), allowed);
            if is_atomic && !action.is_atomic() {
                return refuse(fmt!(
                    "none, spin, complete, fail and print where an item cannot sleep"
                ));
            }
            let is_last = index + 1 == body.len();
            match *action {
                Action::Fail { .. } | Action::Hang if !is_last => {
                    return refuse(fmt!("nothing after fail and hang"));
                }
                Action::Lock { .. } if has_lock => {
                    return refuse(fmt!("one lock"));
                }
                Action::Lock { .. } => has_lock = true,
                Action::Cancel { item } | Action::Flush { item } | Action::Modify { item, .. }
                    if item as usize == id =>
                {
                    return refuse(fmt!("another item than itself"));
                }
                Action::Modify { item, .. } => {
                    let target = self.plan.items.get(item as usize);
                    let is_delayed = target.is_some_and(|target| {
                        matches!(target.mode, Mode::Delayed | Mode::Deferrable)
                    });
                    if !is_delayed {
                        return refuse(fmt!("modify of items of mode delayed or deferrable"));
                    }
                }
                Action::Destroy { queue }
                    if item.mode.has_queue() && item.queue == QueueRef::Own(queue) =>
                {
                    return refuse(fmt!("destroy of another queue than its own"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What an item comes after.
    fn order(&self) -> Result {
        for before in self.plan.after(self.item) {
            let Some(before) = self.plan.items.get(*before as usize) else {
                continue;
            };
            let name = before.name;
            if self.item.mode == Mode::Probe && self.plan.is_atomic(before) {
                let allowed = fmt!("items that can sleep, before a device is added");
                return self.refuse("after", fmt!("{name}"), allowed);
            }
            if before.level > self.item.level {
                let allowed = fmt!("items of the same level or an earlier one");
                return self.refuse("after", fmt!("{name}"), allowed);
            }
        }
        Ok(())
    }
}

/// What a queue of a plan is called.
struct QueueName<'a>(&'a Plan, QueueRef);

impl fmt::Display for QueueName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, queue) = self;
        if let QueueRef::Own(own) = queue {
            return match plan.queues.get(*own as usize) {
                Some(own) => fmt::Display::fmt(&own.name, f),
                None => Ok(()),
            };
        }
        let named = QueueRef::SYSTEM.iter().find(|(_, system)| system == queue);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

/// Refuses a name that is none.
pub(crate) fn check_name(of: Of, key: &str, name: &str) -> Result {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=Name::LONGEST).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    let shown = crate::parameter::Shown(name);
    let allowed = fmt!("1 to 31 letters, digits, _ and -");
    refuse(of, key, fmt!("{shown}"), allowed)
}
