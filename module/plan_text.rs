// SPDX-License-Identifier: GPL-2.0-only

//! Reads the texts of `plan`, `queues`, `delays`, `body` and the parameters beside them.
//!
//! ```text
//! plan    := item (';' item)*
//! item    := NAME [':' key '=' value (',' key '=' value)*]
//! key     := mode | delay_ns | body | queue | cpu | runs | defer | async_probe
//!          | after | supplier | level
//! after, supplier := NAME ('+' NAME)*
//! body    := 'none' | action ('/' action)*
//! action  := spin:NS | sleep:NS | alloc:BYTES | lock:LOCK | wait | complete:NAME | fail:ERRNO
//!          | print | cancel:NAME | flush:NAME | modify:NAME:NS | destroy:QUEUE | hang
//! queues  := queue (';' queue)*
//! queue   := NAME [':' attribute (',' attribute)*]
//! delays  := delay (';' delay)*
//! delay   := FUNCTION ':' CALL ':' NS
//! ```
//!
//! In: the texts. Out: items whose names are resolved. Rules between values are `plan.rs`'s.

use kernel::{
    bindings,
    prelude::*, //
};

use crate::{
    ffi,
    parameter::{
        Choices,
        Of,
        Parameter,
        Shown,
        Value, //
    },
    plan::{
        check_name,
        Action,
        ItemPlan,
        Level,
        Lists,
        Mode,
        Name,
        QueuePlan,
        QueueRef,
        Range,
        DEFER_FOREVER,
        MAX_ITEMS,
        MAX_NS, //
    },
};

/// What `fsleep()` takes of the Rust API: 31 bits of microseconds.
const MAX_BODY_NS: u64 = 2_147_483_647_000;

/// `WQ_MAX_ACTIVE` of `include/linux/workqueue.h`, Linux 7.3.
const MAX_ACTIVE: u64 = 2048;

/// `MAX_ERRNO` of `include/linux/err.h`.
const MAX_ERRNO: u64 = 4095;

const MAX_ACTIONS: usize = 8;
const MAX_ALLOC: u64 = 4 << 20;
#[cfg(MODULE)]
const MAX_DELAY_NS: u64 = 1_000_000_000;
#[cfg(MODULE)]
const MAX_DELAYS: usize = 32;
const MAX_DEFER: u64 = 1000;
const MAX_LOCKS: usize = 64;
const MAX_QUEUES: usize = 16;
const MAX_RUNS: u64 = 1_000_000;

/// The names of items, for looking up their ids.
pub(crate) enum Names {
    /// 0 to this, exclusive.
    Numbers(u32),
    /// Sorted by name.
    Sorted(KVVec<(&'static str, u32)>),
}

impl Names {
    /// The names of a plan's items.
    pub(crate) fn of_plan(plan: Value) -> Result<Self> {
        let mut names = KVVec::new();
        for (id, item) in (0..).zip(plan.text.split(';')) {
            let name = split(item, ':').0;
            check_name(Of::Parameter, "plan", name)?;
            if id == MAX_ITEMS {
                return plan.refuse(fmt!("at most {MAX_ITEMS} items"));
            }
            names.push((name, id), GFP_KERNEL)?;
        }
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [(one, _), (next, _)] = pair {
                if one == next {
                    return plan.part(next).refuse(fmt!("each name once"));
                }
            }
        }
        Ok(Self::Sorted(names))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Numbers(count) => *count as usize,
            Self::Sorted(names) => names.len(),
        }
    }

    /// The id of the item that `value` names.
    fn find(&self, value: Value) -> Result<u32> {
        let found = match self {
            Self::Numbers(count) => value.text.parse().ok().filter(|id| id < count),
            Self::Sorted(names) => names
                .binary_search_by(|(name, _)| (*name).cmp(value.text))
                .ok()
                .and_then(|index| names.get(index))
                .map(|(_, id)| *id),
        };
        match found {
            Some(id) => Ok(id),
            None => value.refuse(fmt!("the name of an item")),
        }
    }
}

/// Reads items.
pub(crate) struct Reader<'a> {
    names: &'a Names,
    queues: &'a [QueuePlan],
    locks: KVec<&'static str>,
    pub(crate) lists: Lists,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(names: &'a Names, queues: &'a [QueuePlan]) -> Self {
        Self {
            names,
            queues,
            locks: KVec::new(),
            lists: Lists::default(),
        }
    }

    /// What the ranges of the items are parts of, and how many locks there are.
    pub(crate) fn finish(self) -> (Lists, usize) {
        (self.lists, self.locks.len())
    }

    /// The item that the parameters beside `plan` describe.
    pub(crate) fn shape(&mut self) -> Result<ItemPlan> {
        let mut item = ItemPlan {
            name: Name::new(""),
            mode: Mode::Delayed,
            delay_ns: 0,
            queue: QueueRef::SystemPercpu,
            cpu: -1,
            runs: 1,
            defer: 0,
            async_probe: false,
            level: Level::Device,
            body: Range::default(),
            after: Range::default(),
            suppliers: Range::default(),
        };
        for parameter in [
            Parameter::Mode,
            Parameter::DelayNs,
            Parameter::Body,
            Parameter::Queue,
            Parameter::Cpu,
            Parameter::Runs,
            Parameter::Defer,
            Parameter::AsyncProbe,
        ] {
            self.key(&mut item, parameter.value()?)?;
        }
        Ok(item)
    }

    /// The items of a plan; `each` has what they do not say themselves.
    pub(crate) fn items(
        &mut self,
        plan: Value,
        each: ItemPlan,
        items: &mut KVVec<ItemPlan>,
    ) -> Result {
        for text in plan.text.split(';') {
            let (name, keys) = split(text, ':');
            let mut item = ItemPlan {
                name: Name::new(name),
                ..each
            };
            for pair in keys.into_iter().flat_map(|keys| keys.split(',')) {
                let (key, text) = split(pair, '=');
                let value = Value {
                    of: Of::Item(name),
                    key,
                    text: text.unwrap_or(""),
                };
                self.key(&mut item, value)?;
            }
            items.push(item, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Reads the value of one key.
    fn key(&mut self, item: &mut ItemPlan, value: Value) -> Result {
        // The bounds make the numbers fit.
        match value.key {
            "mode" => item.mode = value.one_of(&Mode::ALL)?,
            "delay_ns" => item.delay_ns = value.number(0, MAX_NS)?,
            "body" => item.body = self.body(value)?,
            "queue" => item.queue = self.queue(value)?,
            "cpu" => item.cpu = cpu(value)?,
            "runs" => item.runs = value.number(1, MAX_RUNS)? as u32,
            "defer" if value.text == "forever" => item.defer = DEFER_FOREVER,
            "defer" => item.defer = value.number(0, MAX_DEFER)? as u32,
            "async_probe" => item.async_probe = value.number(0, 1)? == 1,
            "after" => item.after = list(self.names, &mut self.lists.after, value)?,
            "supplier" => item.suppliers = list(self.names, &mut self.lists.suppliers, value)?,
            "level" => item.level = level(value)?,
            key => {
                let item = item.name;
                pr_err!(
                    "plan: item {item}: {} is not allowed; allowed: mode, delay_ns, body, queue, \
                     cpu, runs, defer, async_probe, after, supplier, level\n",
                    Shown(key)
                );
                return Err(EINVAL);
            }
        }
        Ok(())
    }

    fn queue(&self, value: Value) -> Result<QueueRef> {
        let named = (0..)
            .zip(self.queues.iter())
            .find(|(_, queue)| queue.name.as_bytes() == value.text.as_bytes());
        if let Some((index, _)) = named {
            return Ok(QueueRef::Own(index));
        }
        let system = QueueRef::SYSTEM
            .iter()
            .find(|(name, _)| *name == value.text);
        match system {
            Some((_, queue)) => Ok(*queue),
            None => value.refuse(fmt!("{}, or one of queues", Choices(&QueueRef::SYSTEM))),
        }
    }

    fn body(&mut self, value: Value) -> Result<Range> {
        let start = self.lists.actions.len();
        if value.text != "none" {
            for text in value.text.split('/') {
                if self.lists.actions.len() - start == MAX_ACTIONS {
                    return value.refuse(fmt!("at most {MAX_ACTIONS} actions"));
                }
                let action = self.action(value.part(text))?;
                self.lists.actions.push(action, GFP_KERNEL)?;
            }
        }
        Ok(Range::since(start, &self.lists.actions))
    }

    fn action(&mut self, value: Value) -> Result<Action> {
        let (verb, argument) = split(value.text, ':');
        let argument = argument.map(|text| value.part(text));
        Ok(match (verb, argument) {
            ("spin", Some(ns)) => Action::Spin {
                ns: ns.number(0, MAX_BODY_NS)?,
            },
            ("sleep", Some(ns)) => Action::Sleep {
                ns: ns.number(0, MAX_BODY_NS)?,
            },
            ("alloc", Some(bytes)) => Action::Alloc {
                bytes: bytes.number(1, MAX_ALLOC)? as usize,
            },
            ("lock", Some(lock)) => Action::Lock {
                lock: self.lock(lock)?,
            },
            ("wait", None) => Action::Wait,
            ("complete", Some(name)) => Action::Complete {
                item: self.names.find(name)?,
            },
            ("fail", Some(errno)) => Action::Fail {
                error: -(errno.number(1, MAX_ERRNO)? as c_int),
            },
            ("print", None) => Action::Print,
            ("cancel", Some(name)) => Action::Cancel {
                item: self.names.find(name)?,
            },
            ("flush", Some(name)) => Action::Flush {
                item: self.names.find(name)?,
            },
            ("modify", Some(both)) => {
                let (name, ns) = split(both.text, ':');
                Action::Modify {
                    item: self.names.find(both.part(name))?,
                    ns: both.part(ns.unwrap_or("")).number(0, MAX_NS)?,
                }
            }
            ("destroy", Some(name)) => match self.queue(name)? {
                QueueRef::Own(queue) => Action::Destroy { queue },
                _ => return name.refuse(fmt!("one of queues")),
            },
            ("hang", None) => Action::Hang,
            _ => {
                return value.refuse(fmt!(
                    "none, spin:NS, sleep:NS, alloc:BYTES, lock:NAME, wait, complete:ITEM, \
                     fail:ERRNO, print, cancel:ITEM, flush:ITEM, modify:ITEM:NS, destroy:QUEUE, \
                     hang"
                ))
            }
        })
    }

    fn lock(&mut self, value: Value) -> Result<u32> {
        check_name(value.of, value.key, value.text)?;
        let known = (0..)
            .zip(self.locks.iter())
            .find(|(_, lock)| **lock == value.text);
        if let Some((index, _)) = known {
            return Ok(index);
        }
        if self.locks.len() == MAX_LOCKS {
            return value.refuse(fmt!("at most {MAX_LOCKS} locks"));
        }
        // MAX_LOCKS fits.
        let index = self.locks.len() as u32;
        self.locks.push(value.text, GFP_KERNEL)?;
        Ok(index)
    }
}

/// Reads the delays of functions, and begins with them.
#[cfg(MODULE)]
pub(crate) fn delays(value: Value) -> Result<ffi::Delays> {
    let mut delays = ffi::Delays::new();
    if value.text.is_empty() {
        return Ok(delays);
    }
    for (index, text) in value.text.split(';').enumerate() {
        if index == MAX_DELAYS {
            return value.refuse(fmt!("at most {MAX_DELAYS} delays"));
        }
        let mut parts = text.split(':').map(|part| value.part(part));
        let (Some(function), Some(call), Some(ns), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return value.part(text).refuse(fmt!("FUNCTION:CALL:NS"));
        };
        // The bound fits.
        let call = call.number(0, u32::MAX.into())? as u32;
        let ns = ns.number(0, MAX_DELAY_NS)?;
        match delays.add(function.text, call, ns) {
            Err(ENOMEM) => return Err(ENOMEM),
            Err(_) => {
                return function.refuse(fmt!(
                    "a function of the kernel or a module, where a kprobe can be"
                ))
            }
            Ok(()) => {}
        }
    }
    Ok(delays)
}

/// Refuses delays where the workload is in the kernel's image: there is no load that they could
/// begin and end with.
#[cfg(not(MODULE))]
pub(crate) fn refuse_delays(value: Value) -> Result {
    if value.text.is_empty() {
        Ok(())
    } else {
        value.refuse(fmt!("nothing in the kernel's image"))
    }
}

/// Reads the queues of the module's own.
pub(crate) fn queues(value: Value) -> Result<KVec<QueuePlan>> {
    let mut queues = KVec::new();
    if value.text.is_empty() {
        return Ok(queues);
    }
    for text in value.text.split(';') {
        let (name, attributes) = split(text, ':');
        check_name(Of::Parameter, "queues", name)?;
        let is_same = |queue: &QueuePlan| queue.name.as_bytes() == name.as_bytes();
        if name.starts_with("system-") || queues.iter().any(is_same) {
            return value
                .part(name)
                .refuse(fmt!("each name once, none that begins with system-"));
        }
        if queues.len() == MAX_QUEUES {
            return value.refuse(fmt!("at most {MAX_QUEUES} queues"));
        }
        queues.push(queue(name, attributes)?, GFP_KERNEL)?;
    }
    Ok(queues)
}

fn queue(name: &'static str, attributes: Option<&'static str>) -> Result<QueuePlan> {
    let mut queue = QueuePlan {
        name: Name::new(name),
        flags: 0,
        is_ordered: false,
        is_bh: false,
        max_active: 0,
        affinity: None,
    };
    let mut is_unbound = false;
    let mut has_limit = false;
    let of = Of::Queue(name);
    for attribute in attributes.into_iter().flat_map(|text| text.split(',')) {
        let (key, text) = split(attribute, '=');
        let value = Value {
            of,
            key,
            text: text.unwrap_or(""),
        };
        queue.flags |= match (key, text) {
            ("unbound", None) => {
                is_unbound = true;
                bindings::wq_flags_WQ_UNBOUND
            }
            ("highpri", None) => bindings::wq_flags_WQ_HIGHPRI,
            ("freezable", None) => bindings::wq_flags_WQ_FREEZABLE,
            ("bh", None) => {
                queue.is_bh = true;
                bindings::wq_flags_WQ_BH
            }
            ("mem_reclaim", None) => bindings::wq_flags_WQ_MEM_RECLAIM,
            ("cpu_intensive", None) => bindings::wq_flags_WQ_CPU_INTENSIVE,
            ("power_efficient", None) => bindings::wq_flags_WQ_POWER_EFFICIENT,
            ("ordered", None) => {
                queue.is_ordered = true;
                0
            }
            ("max_active", Some(_)) => {
                has_limit = true;
                // The bound fits.
                queue.max_active = value.number(1, MAX_ACTIVE)? as u32;
                0
            }
            ("affinity", Some(_)) => {
                queue.affinity = Some(affinity(value)?);
                0
            }
            _ => {
                let part = Value {
                    key: "attribute",
                    text: attribute,
                    ..value
                };
                return part.refuse(fmt!(
                    "unbound, highpri, freezable, bh, mem_reclaim, cpu_intensive, \
                     power_efficient, ordered, max_active=N, affinity=SCOPE"
                ));
            }
        };
    }
    let refuse = |text, allowed| {
        Value {
            of,
            key: "attribute",
            text,
        }
        .refuse(allowed)
    };
    let highpri_or_bh = bindings::wq_flags_WQ_BH | bindings::wq_flags_WQ_HIGHPRI;
    if queue.is_bh && (queue.flags & !highpri_or_bh != 0 || has_limit || queue.is_ordered) {
        return refuse("bh", fmt!("bh alone or with highpri"));
    }
    if queue.is_ordered && (has_limit || queue.affinity.is_some()) {
        return refuse("ordered", fmt!("no max_active and no affinity with it"));
    }
    if queue.affinity.is_some() && !is_unbound {
        return refuse("affinity", fmt!("only with unbound"));
    }
    if !is_unbound && !queue.is_ordered {
        queue.flags |= bindings::wq_flags_WQ_PERCPU;
    }
    Ok(queue)
}

fn affinity(value: Value) -> Result<&'static CStr> {
    value.one_of(&[
        ("cpu", c"cpu"),
        ("smt", c"smt"),
        ("cache", c"cache"),
        ("cache_shard", c"cache_shard"),
        ("numa", c"numa"),
        ("system", c"system"),
    ])
}

fn cpu(value: Value) -> Result<c_int> {
    if value.text == "any" {
        return Ok(-1);
    }
    let cpu = value.text.parse().ok();
    match cpu.filter(|cpu| ffi::cpu_is_online(*cpu)) {
        // The number of a CPU fits.
        Some(cpu) => Ok(cpu as c_int),
        None => value.refuse(fmt!("any, or the number of a CPU that is online")),
    }
}

fn level(value: Value) -> Result<Level> {
    if cfg!(MODULE) {
        return value.refuse(fmt!("no level in a module: all items run at its load"));
    }
    value.one_of(&[
        ("core", Level::Core),
        ("subsys", Level::Subsys),
        ("device", Level::Device),
        ("late", Level::Late),
    ])
}

/// The ids of items that are listed with `+` between them.
fn list(names: &Names, ids: &mut KVVec<u32>, value: Value) -> Result<Range> {
    let start = ids.len();
    for name in value.text.split('+') {
        ids.push(names.find(value.part(name))?, GFP_KERNEL)?;
    }
    Ok(Range::since(start, ids))
}

/// What comes before and after the first `separator`; all of it, and nothing, if there is none.
fn split(text: &'static str, separator: char) -> (&'static str, Option<&'static str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}
