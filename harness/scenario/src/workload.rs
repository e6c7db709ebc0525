// SPDX-License-Identifier: GPL-2.0-only

//! A workload: what one load of `test_deferred` does.
//!
//! In: a validated scenario. Out: plain values, looked up by an item's id or name.
//! Does not parse (`file`), does not validate (`rules`), does not write module parameters (`parameters`).
//! Source: the parameters of `module/test_deferred_main.rs`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::scenario::is_default;
use crate::{Bytes, Errno, Nanos};

/// The work of one load of the module. Items are numbered from 0 in either shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Workload {
    /// The workqueues the module makes for itself, at most [`Workload::MAX_QUEUES`]; names are unique.
    pub queues: Vec<OwnQueue>,
    /// The items.
    pub shape: Shape,
    /// What arms the items; `Load` where all of them are direct.
    pub start: Start,
    /// The calls of functions that are delayed, at most [`Workload::MAX_DELAYS`]; none where the module is built in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delays: Vec<CallDelay>,
    /// A fault that the module has on purpose.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fault: Option<Fault>,
}

/// A delay at the entry of a function, during which its CPU is busy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CallDelay {
    /// A function of the kernel or a module, at most [`CallDelay::MAX_NAME`] bytes.
    pub function: String,
    /// Which of its calls since the load, from 1 on; `None` for each.
    pub call: Option<u32>,
    /// How long, up to [`CallDelay::MAX`].
    pub delay: Nanos,
}

/// A fault that the module has on purpose, so that it can be seen whether it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Items share a device that the first of them sets up, and another one may use it before that is done: it ends with
    /// `ENXIO`. `module/fault.rs`.
    Race,
}

/// The items of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Items that are all alike.
    Uniform(Uniform),
    /// Items that each have a name and settings of their own, 1 to [`Workload::MAX_ITEMS`]; names are unique. None in a
    /// phase that runs a command.
    Plan(Vec<PlannedItem>),
}

/// Items that are all alike. Their names are their ids in decimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Uniform {
    /// How many items there are, 1 to [`Workload::MAX_ITEMS`].
    pub items: u32,
    /// How the items depend on each other; `Parallel` in mode direct.
    pub arrangement: Arrangement,
    /// What each item adds to the delay of the one before; 0 in modes without a delay.
    pub step: Nanos,
    /// What each item is; its delay is that of item 0.
    pub each: Work,
}

/// One item of a plan. Its id is its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedItem {
    /// Lower-case letters, digits, `-` and `_`; at most [`Workload::MAX_NAME`] bytes.
    pub name: String,
    /// The items that have to end, or be cancelled, before this one is armed; without cycles.
    pub after: Vec<String>,
    /// The probe items this probe item has to wait for in the driver core; cycles are allowed.
    pub suppliers: Vec<String>,
    /// The initcall level, where the module is built in.
    pub level: Option<Level>,
    /// How the item runs and what it does.
    pub work: Work,
}

/// How one item runs and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Work {
    /// The mechanism under test.
    pub mode: Mode,
    /// The delay; 0 in modes without one.
    pub delay: Nanos,
    /// What the item does when it runs, in order; at most [`Work::MAX_ACTIONS`]. Empty for nothing.
    pub body: Vec<Action>,
    /// The workqueue; `SystemPercpu` in modes without one.
    pub queue: Queue,
    /// The CPU the item is to run on; `None` for any.
    pub cpu: Option<u32>,
    /// How often the item runs; 1 in modes that do not repeat.
    pub runs: u32,
    /// How often a probe is deferred; `Times(0)` in other modes.
    pub defer: Defer,
    /// Whether the driver core probes asynchronously; false in modes other than probe.
    pub async_probe: bool,
}

/// The mechanism that runs an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the module's init function, one after another, as an initcall would.
    Direct,
    /// As delayed work on a workqueue.
    Delayed,
    /// As work on a workqueue, without a delay.
    Work,
    /// As delayed work whose timer does not wake an idle CPU.
    Deferrable,
    /// By `async_schedule()`.
    Async,
    /// In a kernel thread of its own.
    Kthread,
    /// As the probe of a platform device, which the driver core may defer.
    Probe,
    /// In the interrupt of a high-resolution timer.
    Hrtimer,
}

/// How often a probe is deferred before it goes ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defer {
    /// This often, at most [`Defer::MAX_TIMES`].
    Times(u32),
    /// Each time.
    Forever,
}

/// An initcall level, in the order the kernel goes through them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// `core_initcall`.
    Core,
    /// `subsys_initcall`.
    Subsys,
    /// `device_initcall`.
    #[default]
    Device,
    /// `late_initcall`.
    Late,
}

/// One thing an item does when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Keeps its CPU busy for this long.
    Spin(Nanos),
    /// Sleeps for at least this long.
    Sleep(Nanos),
    /// Allocates this much memory, and frees it at the end of the body.
    Alloc(Bytes),
    /// Takes the mutex of this name, and releases it at the end of the body.
    Lock(String),
    /// Waits until another item completes this one.
    Wait,
    /// Lets the item of this name go on from its `Wait`.
    Complete(String),
    /// Ends with this error; always the last action.
    Fail(Errno),
    /// Writes a line to the kernel log.
    Print,
    /// Cancels the item of this name, and waits for it if it runs.
    Cancel(String),
    /// Waits for the item of this name if it is queued or runs.
    Flush(String),
    /// Gives a pending item a new delay.
    Modify {
        /// The item's name; its mode is delayed or deferrable.
        item: String,
        /// The delay from now.
        delay: Nanos,
    },
    /// Destroys the own queue of this name.
    Destroy(String),
    /// Runs until the module is unloaded; always the last action.
    Hang,
}

/// A workqueue, by the names Linux 7.3 gives the system's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// `system_percpu_wq`.
    SystemPercpu,
    /// `system_dfl_wq`, the unbound default.
    SystemUnbound,
    /// `system_highpri_wq`.
    SystemHighpri,
    /// `system_long_wq`.
    SystemLong,
    /// `system_freezable_wq`.
    SystemFreezable,
    /// `system_bh_wq`, which runs in softirq context.
    SystemBh,
    /// `system_bh_highpri_wq`, which runs in softirq context.
    SystemBhHighpri,
    /// The one of [`Workload::queues`] with this name.
    Own(String),
}

/// A workqueue the module makes for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnQueue {
    /// Lower-case letters, digits, `-` and `_`; at most [`Workload::MAX_NAME`] bytes.
    pub name: String,
    /// The flags, none twice; none for a plain per-CPU queue.
    pub flags: Vec<QueueFlag>,
    /// How many items may run at one time, at most [`OwnQueue::MAX_ACTIVE`]; 0 takes the kernel's default.
    pub max_active: u32,
    /// Which CPUs share workers, on an unbound queue; `None` takes the kernel's default.
    pub affinity_scope: Option<AffinityScope>,
}

/// A flag of a workqueue, `WQ_*` of `include/linux/workqueue.h`, Linux 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueFlag {
    /// `WQ_UNBOUND`: workers are bound to no CPU.
    Unbound,
    /// `WQ_HIGHPRI`: workers have a nice level of -20.
    Highpri,
    /// `WQ_FREEZABLE`: takes part in suspend.
    Freezable,
    /// `WQ_BH`: runs in softirq context.
    Bh,
    /// `WQ_MEM_RECLAIM`: has a rescuer.
    MemReclaim,
    /// `WQ_CPU_INTENSIVE`: its items do not count for concurrency management.
    CpuIntensive,
    /// `WQ_POWER_EFFICIENT`: unbound where `workqueue.power_efficient` says so.
    PowerEfficient,
    /// `alloc_ordered_workqueue()`: unbound, and one item at a time.
    Ordered,
}

/// Which CPUs share the workers of an unbound queue, `WQ_AFFN_*` of `include/linux/workqueue.h`, Linux 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AffinityScope {
    /// Each CPU alone.
    Cpu,
    /// The threads of a core.
    Smt,
    /// The CPUs of a last-level cache.
    Cache,
    /// A part of the CPUs of a last-level cache.
    CacheShard,
    /// The CPUs of a NUMA node.
    Numa,
    /// All CPUs.
    System,
}

/// How the items of a uniform workload depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// All items are armed at once.
    Parallel,
    /// Item 0 is armed first, each other item by the end of the one before.
    Chain,
}

/// What arms the items of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The load of the module.
    Load,
    /// A write to the module's debugfs file, after the load.
    Trigger,
}

impl Workload {
    /// The most items a workload may have.
    pub const MAX_ITEMS: u32 = 4096;

    /// The most queues of its own a workload may have.
    pub const MAX_QUEUES: usize = 16;

    /// The most calls of functions that are delayed.
    pub const MAX_DELAYS: usize = 32;

    /// The most bytes of the name of an item, a queue or a lock.
    pub const MAX_NAME: usize = 31;

    /// No item at all: that of a phase that runs a command.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            queues: Vec::new(),
            shape: Shape::Plan(Vec::new()),
            start: Start::Load,
            delays: Vec::new(),
            fault: None,
        }
    }

    /// How many items there are.
    #[must_use]
    pub fn items(&self) -> u32 {
        match &self.shape {
            Shape::Uniform(uniform) => uniform.items,
            Shape::Plan(items) => u32::try_from(items.len()).unwrap_or(u32::MAX),
        }
    }

    /// The name of an item: its own in a plan, its id in decimal otherwise.
    #[must_use]
    pub fn name_of(&self, id: u32) -> Option<Cow<'_, str>> {
        match &self.shape {
            Shape::Uniform(uniform) => (id < uniform.items).then(|| Cow::Owned(id.to_string())),
            Shape::Plan(_) => self
                .planned(id)
                .map(|item| Cow::Borrowed(item.name.as_str())),
        }
    }

    /// The id of the item with this name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<u32> {
        match &self.shape {
            Shape::Uniform(uniform) => {
                let id: u32 = name.parse().ok()?;
                // Names are spelled in one way only: neither `+1` nor `01`.
                (id < uniform.items && id.to_string() == name).then_some(id)
            }
            Shape::Plan(items) => {
                let position = items.iter().position(|item| item.name == name)?;
                u32::try_from(position).ok()
            }
        }
    }

    /// How an item runs and what it does. Of a uniform workload the delay is that of item 0: see
    /// [`Workload::delay_of`].
    #[must_use]
    pub fn work_of(&self, id: u32) -> Option<&Work> {
        match &self.shape {
            Shape::Uniform(uniform) => (id < uniform.items).then_some(&uniform.each),
            Shape::Plan(_) => self.planned(id).map(|item| &item.work),
        }
    }

    /// The delay item `id` is armed with; the largest duration when the sum does not fit, 0 for an id that no item of
    /// a plan has.
    #[must_use]
    pub fn delay_of(&self, id: u32) -> Nanos {
        match &self.shape {
            Shape::Uniform(uniform) => uniform
                .each
                .delay
                .saturating_add(uniform.step.saturating_mul(u64::from(id))),
            Shape::Plan(_) => self.planned(id).map_or(Nanos(0), |item| item.work.delay),
        }
    }

    /// The own queue with this name.
    #[must_use]
    pub fn own_queue(&self, name: &str) -> Option<&OwnQueue> {
        self.queues.iter().find(|queue| queue.name == name)
    }

    /// True when items of this kind run where nothing may sleep.
    #[must_use]
    pub fn is_atomic(&self, work: &Work) -> bool {
        is_atomic(&self.queues, work)
    }

    fn planned(&self, id: u32) -> Option<&PlannedItem> {
        match &self.shape {
            Shape::Uniform(_) => None,
            Shape::Plan(items) => items.get(usize::try_from(id).ok()?),
        }
    }
}

/// True when work that may use these queues runs where nothing may sleep.
pub(crate) fn is_atomic(queues: &[OwnQueue], work: &Work) -> bool {
    match &work.queue {
        _ if work.mode == Mode::Hrtimer => true,
        Queue::SystemBh | Queue::SystemBhHighpri => true,
        Queue::Own(name) => queues
            .iter()
            .any(|queue| queue.name == *name && queue.flags.contains(&QueueFlag::Bh)),
        _ => false,
    }
}

impl Work {
    /// The most actions of a body.
    pub const MAX_ACTIONS: usize = 8;

    /// The most runs of an item.
    pub const MAX_RUNS: u32 = 1_000_000;

    /// Work in this mode that does nothing, with every default.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            delay: Nanos(0),
            body: Vec::new(),
            queue: Queue::SystemPercpu,
            cpu: None,
            runs: 1,
            defer: Defer::Times(0),
            async_probe: false,
        }
    }

    /// True when the body ends with an error on purpose.
    #[must_use]
    pub fn fails(&self) -> bool {
        matches!(self.body.last(), Some(Action::Fail(_)))
    }
}

impl Defer {
    /// The most deferrals that are counted.
    pub const MAX_TIMES: u32 = 1000;
}

impl OwnQueue {
    /// The largest max_active the kernel takes: `WQ_MAX_ACTIVE`, `include/linux/workqueue.h`, Linux 7.3.
    pub const MAX_ACTIVE: u32 = 2048;

    /// True when the queue's workers are bound to no CPU.
    #[must_use]
    pub fn is_unbound(&self) -> bool {
        let unbound = [QueueFlag::Unbound, QueueFlag::Ordered];
        self.flags.iter().any(|flag| unbound.contains(flag))
    }
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 8] = [
        Self::Direct,
        Self::Delayed,
        Self::Work,
        Self::Deferrable,
        Self::Async,
        Self::Kthread,
        Self::Probe,
        Self::Hrtimer,
    ];

    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Delayed => "delayed",
            Self::Work => "work",
            Self::Deferrable => "deferrable",
            Self::Async => "async",
            Self::Kthread => "kthread",
            Self::Probe => "probe",
            Self::Hrtimer => "hrtimer",
        }
    }

    /// True when items wait for a timer before they run.
    #[must_use]
    pub const fn has_delay(self) -> bool {
        matches!(self, Self::Delayed | Self::Deferrable | Self::Hrtimer)
    }

    /// True when items go through a workqueue, and so have an event `queued`.
    #[must_use]
    pub const fn has_queue(self) -> bool {
        matches!(self, Self::Delayed | Self::Deferrable | Self::Work)
    }

    /// True when an item can be sent to a CPU.
    #[must_use]
    pub const fn has_cpu(self) -> bool {
        self.has_queue() || matches!(self, Self::Kthread)
    }

    /// True when an item can run more than once.
    #[must_use]
    pub const fn has_runs(self) -> bool {
        self.has_queue() || matches!(self, Self::Hrtimer)
    }
}

impl CallDelay {
    /// The most bytes of a function's name: `KSYM_NAME_LEN`, `include/linux/kallsyms.h`, Linux 7.3, with its end.
    pub const MAX_NAME: usize = 511;

    /// The longest delay: a second, as in the module.
    pub const MAX: Nanos = Nanos(1_000_000_000);
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 1] = [Self::Race];

    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Race => "race",
        }
    }
}

impl Level {
    /// Every level, in order.
    pub const ALL: [Self; 4] = [Self::Core, Self::Subsys, Self::Device, Self::Late];

    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Subsys => "subsys",
            Self::Device => "device",
            Self::Late => "late",
        }
    }
}

impl Action {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Spin(_) => "spin",
            Self::Sleep(_) => "sleep",
            Self::Alloc(_) => "alloc",
            Self::Lock(_) => "lock",
            Self::Wait => "wait",
            Self::Complete(_) => "complete",
            Self::Fail(_) => "fail",
            Self::Print => "print",
            Self::Cancel(_) => "cancel",
            Self::Flush(_) => "flush",
            Self::Modify { .. } => "modify",
            Self::Destroy(_) => "destroy",
            Self::Hang => "hang",
        }
    }

    /// How long the action lasts by itself at least.
    #[must_use]
    pub const fn duration(&self) -> Nanos {
        match self {
            Self::Spin(duration) | Self::Sleep(duration) => *duration,
            _ => Nanos(0),
        }
    }
}

impl Queue {
    /// Every queue of the system.
    pub const SYSTEM: [Self; 7] = [
        Self::SystemPercpu,
        Self::SystemUnbound,
        Self::SystemHighpri,
        Self::SystemLong,
        Self::SystemFreezable,
        Self::SystemBh,
        Self::SystemBhHighpri,
    ];

    /// The name in scenario files and module parameters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::SystemPercpu => "system-percpu",
            Self::SystemUnbound => "system-unbound",
            Self::SystemHighpri => "system-highpri",
            Self::SystemLong => "system-long",
            Self::SystemFreezable => "system-freezable",
            Self::SystemBh => "system-bh",
            Self::SystemBhHighpri => "system-bh-highpri",
            Self::Own(name) => name,
        }
    }
}

impl QueueFlag {
    /// Every flag.
    pub const ALL: [Self; 8] = [
        Self::Unbound,
        Self::Highpri,
        Self::Freezable,
        Self::Bh,
        Self::MemReclaim,
        Self::CpuIntensive,
        Self::PowerEfficient,
        Self::Ordered,
    ];

    /// The name in scenario files; module parameters have `_` for its `-`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Highpri => "highpri",
            Self::Freezable => "freezable",
            Self::Bh => "bh",
            Self::MemReclaim => "mem-reclaim",
            Self::CpuIntensive => "cpu-intensive",
            Self::PowerEfficient => "power-efficient",
            Self::Ordered => "ordered",
        }
    }
}

impl AffinityScope {
    /// Every scope, from the narrowest to the widest.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Smt,
        Self::Cache,
        Self::CacheShard,
        Self::Numa,
        Self::System,
    ];

    /// The name in scenario files; module parameters have `_` for its `-`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Smt => "smt",
            Self::Cache => "cache",
            Self::CacheShard => "cache-shard",
            Self::Numa => "numa",
            Self::System => "system",
        }
    }
}

impl Arrangement {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Chain => "chain",
        }
    }
}

impl Start {
    /// The name in scenario files and module parameters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Trigger => "trigger",
        }
    }
}
