// SPDX-License-Identifier: GPL-2.0-only

//! Makes up small workloads, for tests that load and unload the module many times.
//!
//! In: a seed. Out: a valid plan, always the same one for the same seed, that any guest can run and that ends by
//! itself in about 100 ms of guest time at most.
//!
//! So that it ends, an item only ever waits for items before it in the plan: after them, on them as suppliers, for
//! their completion, or for the end of those it flushes or cancels. So that it ends without a splat, and with a load
//! that succeeds:
//! - What others flush, cancel or modify, and what runs on a queue that is destroyed, waits for nothing itself.
//! - No work flushes or cancels work, or destroys a queue: all items share lockdep's class of a work, and it would
//!   report a recursion or a circle.
//! - A probe flushes, cancels and destroys only where it is asynchronous: another one may run in the work that its item
//!   comes after, which would wait for itself.
//! - Direct items do not fail: that is the module's init that fails.
//! - There is a trigger, or there are direct items; there are completions, or direct items that come after others.
//!   Init would wait for what nothing has armed yet. For the same reason there are suppliers, or direct items that come
//!   after others: the module arms items in the order of `after`, in which a supplier may follow.
//!
//! - A probe is deferred once only, while it is armed, by an item that waits for nothing; the next item is a device
//!   that then binds. The driver core tries a deferred probe again only when another device has bound
//!   (`driver_bound()`, `drivers/base/dd.c`, Linux 7.3), so of two that are deferred each would wait for the other.
//!
//! Nothing hangs, prints, or is deferred forever.

use crate::workload::is_atomic;
use crate::{
    Action, AffinityScope, Bytes, Defer, Errno, Mode, Nanos, OwnQueue, PlannedItem, Queue,
    QueueFlag, Shape, Start, Work, Workload,
};

/// The most items of a made-up plan.
const MOST_ITEMS: u64 = 12;

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;

/// The longest delay of an item.
const LONGEST_DELAY: u64 = 4 * MILLI;

/// What the timer wheel may add to a delay: a jiffy for rounding and one for the bucket, at HZ=250.
const ROUNDING: u64 = 8 * MILLI;

/// No item waits for one that may end later than this.
const LATEST_START: u64 = 24 * MILLI;

/// How long the timers of one item may take, over all of its runs.
const LONGEST_TIMERS: u64 = 24 * MILLI;

/// How long all bodies together may take, in case they all run one after another.
const LONGEST_BODIES: u64 = 30 * MILLI;

/// Errors a driver may meet, none of which asks for another attempt.
const ERRORS: [Errno; 5] = [
    Errno::EIO,
    Errno::ENOMEM,
    Errno::ENODEV,
    Errno::EINVAL,
    Errno::ETIMEDOUT,
];

impl Workload {
    /// A valid plan of 1 to 12 items, made up from a seed: all modes, queues and bodies, and faults that end by
    /// themselves. It takes about 100 ms of guest time at most; only a deferrable item may take longer on an idle
    /// guest, because its timer does not wake the CPU.
    ///
    /// ```
    /// use deferinit_scenario::Workload;
    ///
    /// assert_eq!(Workload::random(7), Workload::random(7));
    /// ```
    #[must_use]
    pub fn random(seed: u64) -> Self {
        Generator::new(seed).workload()
    }
}

/// Numbers that look random: splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014), with the constants of Vigna's `splitmix64.c`.
pub struct Random(u64);

impl Random {
    /// Numbers that follow from a seed: the same ones in every version.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 below 0. Ends are small, so the bias of the remainder does not matter.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A number from 1 to `last`.
    pub fn up_to(&mut self, last: u64) -> u64 {
        self.below(last) + 1
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of some values, if there are any.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        let index = self.below(u64::try_from(values.len()).unwrap_or(u64::MAX));
        values.get(usize::try_from(index).ok()?).copied()
    }
}

struct Generator {
    random: Random,
    queues: Vec<OwnQueue>,
    /// The name of the queue that may be destroyed.
    doomed: Option<String>,
    is_destroyed: bool,
    is_modified: bool,
    /// Whether direct items may come after others; if not, items may wait for completions.
    init_waits: bool,
    /// When the module's init is done with the direct items so far.
    init_at: u64,
    items: Vec<Made>,
    /// What is left for bodies.
    bodies_left: u64,
}

/// An item that has been made up.
struct Made {
    item: PlannedItem,
    /// When it ends at the latest, but for the time of bodies.
    ends_at: u64,
    is_atomic: bool,
    is_cancelled: bool,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let init_waits = random.once_in(2);
        Self {
            random,
            queues: Vec::new(),
            doomed: None,
            is_destroyed: false,
            is_modified: false,
            init_waits,
            init_at: 0,
            items: Vec::new(),
            bodies_left: LONGEST_BODIES,
        }
    }

    fn workload(mut self) -> Workload {
        for index in 0..self.random.below(3) {
            let queue = self.queue(index);
            self.queues.push(queue);
        }
        if self.random.once_in(2) {
            self.doomed = self.queues.first().map(|queue| queue.name.clone());
        }
        let count = usize::try_from(self.random.up_to(MOST_ITEMS)).unwrap_or(1);
        while self.items.len() < count {
            let may_defer = self.items.len() + 1 < count;
            self.item(may_defer);
        }
        let mut modes = self.items.iter().map(|made| made.item.work.mode);
        let has_direct = modes.any(|mode| mode == Mode::Direct);
        let start = if !has_direct && self.random.once_in(2) {
            Start::Trigger
        } else {
            Start::Load
        };
        Workload {
            queues: self.queues,
            shape: Shape::Plan(self.items.into_iter().map(|made| made.item).collect()),
            start,
            delays: Vec::new(),
            fault: None,
        }
    }

    fn queue(&mut self, index: u64) -> OwnQueue {
        let kinds = [
            None,
            Some(QueueFlag::Unbound),
            Some(QueueFlag::Ordered),
            Some(QueueFlag::Bh),
        ];
        let kind = self.random.pick(&kinds).flatten();
        let mut queue = OwnQueue {
            name: format!("queue-{index}"),
            flags: kind.into_iter().collect(),
            max_active: 0,
            affinity_scope: None,
        };
        let others = match kind {
            Some(QueueFlag::Bh) => &[QueueFlag::Highpri][..],
            _ => &[
                QueueFlag::Highpri,
                QueueFlag::Freezable,
                QueueFlag::MemReclaim,
                QueueFlag::CpuIntensive,
                QueueFlag::PowerEfficient,
            ],
        };
        for flag in others {
            if self.random.once_in(4) {
                queue.flags.push(*flag);
            }
        }
        let has_limit = !matches!(kind, Some(QueueFlag::Bh | QueueFlag::Ordered));
        if has_limit && self.random.once_in(2) {
            queue.max_active = self.small(4);
        }
        if kind == Some(QueueFlag::Unbound) && self.random.once_in(2) {
            queue.affinity_scope = self.random.pick(&AffinityScope::ALL);
        }
        queue
    }

    /// Makes up the next item, and where `may_defer` one that is deferred with the one that ends that.
    fn item(&mut self, may_defer: bool) {
        let work = self.work();
        let is_atomic = is_atomic(&self.queues, &work);
        let mut item = PlannedItem {
            name: self.next_name(),
            after: Vec::new(),
            suppliers: Vec::new(),
            level: None,
            work,
        };
        let mut starts_at = self.init_at;
        starts_at = starts_at.max(self.after(&mut item));
        starts_at = starts_at.max(self.suppliers(&mut item));
        if !is_atomic {
            starts_at = starts_at.max(self.fault(&mut item));
            starts_at = starts_at.max(self.wait(&mut item));
        }
        let ends_at = starts_at + timers(&item.work);
        if item.work.mode == Mode::Direct {
            self.init_at = ends_at;
        }
        let is_deferred = may_defer && is_probed_when_armed(&item) && self.random.once_in(2);
        if is_deferred {
            item.work.defer = Defer::Times(1);
        }
        self.items.push(Made {
            item,
            ends_at,
            is_atomic,
            is_cancelled: false,
        });
        if is_deferred {
            self.device_that_binds(ends_at);
        }
    }

    /// Makes a device that binds as soon as it is armed, right after the item before.
    fn device_that_binds(&mut self, ends_at: u64) {
        let item = PlannedItem {
            name: self.next_name(),
            after: Vec::new(),
            suppliers: Vec::new(),
            level: None,
            work: Work::new(Mode::Probe),
        };
        self.items.push(Made {
            item,
            ends_at,
            is_atomic: false,
            is_cancelled: false,
        });
    }

    fn next_name(&self) -> String {
        format!("item-{}", self.items.len())
    }

    /// How an item runs, with a body that waits for nothing.
    fn work(&mut self) -> Work {
        let mut work = Work::new(self.random.pick(&Mode::ALL).unwrap_or(Mode::Work));
        let mode = work.mode;
        if mode.has_delay() {
            work.delay = Nanos(self.random.below(LONGEST_DELAY + 1));
        }
        if mode.has_queue() {
            work.queue = self.some_queue();
        }
        if mode.has_cpu() && self.random.once_in(4) {
            work.cpu = Some(0);
        }
        if mode.has_runs() && self.random.once_in(3) {
            work.runs = self.small(3);
            while timers(&work) > LONGEST_TIMERS {
                work.runs -= 1;
            }
        }
        if mode == Mode::Probe {
            work.async_probe = self.random.once_in(3);
        }
        self.body(&mut work);
        work
    }

    fn some_queue(&mut self) -> Queue {
        let own: Vec<Queue> = self
            .queues
            .iter()
            .map(|queue| Queue::Own(queue.name.clone()))
            .collect();
        let queues = if !own.is_empty() && self.random.once_in(2) {
            own
        } else {
            Queue::SYSTEM.to_vec()
        };
        let references: Vec<&Queue> = queues.iter().collect();
        self.random
            .pick(&references)
            .map_or(Queue::SystemPercpu, Queue::clone)
    }

    fn body(&mut self, work: &mut Work) {
        let is_atomic = is_atomic(&self.queues, work);
        for _ in 0..self.random.below(4) {
            let action = if is_atomic {
                Action::Spin(Nanos(self.random.up_to(50 * MICRO)))
            } else {
                self.action()
            };
            let is_second_lock = matches!(action, Action::Lock(_)) && has_lock(work);
            if is_second_lock {
                continue;
            }
            let takes = bodies(work, &action);
            if let Some(left) = self.bodies_left.checked_sub(takes) {
                self.bodies_left = left;
                work.body.push(action);
            }
        }
        if work.mode != Mode::Direct && self.random.once_in(8) {
            work.body
                .extend(self.random.pick(&ERRORS).map(Action::Fail));
        }
    }

    /// An action that waits for no other item.
    fn action(&mut self) -> Action {
        match self.random.below(4) {
            0 => Action::Spin(Nanos(self.random.up_to(200 * MICRO))),
            1 => Action::Sleep(Nanos(self.random.up_to(2 * MILLI))),
            2 => Action::Alloc(Bytes(self.random.up_to(64 << 10))),
            _ => Action::Lock(format!("lock-{}", self.random.below(2))),
        }
    }

    /// Lets an item come after up to two others. Says when they have ended.
    fn after(&mut self, item: &mut PlannedItem) -> u64 {
        let mode = item.work.mode;
        let init_waits = self.init_waits;
        let may_follow = |made: &Made| match mode {
            Mode::Probe => !made.is_atomic,
            Mode::Direct => init_waits || made.item.work.mode == Mode::Direct,
            _ => true,
        };
        let mut starts_at = 0;
        for _ in 0..self.random.below(3) {
            let Some(index) = self.earlier(&may_follow) else {
                continue;
            };
            let Some(made) = self.items.get(index) else {
                continue;
            };
            if !item.after.contains(&made.item.name) {
                item.after.push(made.item.name.clone());
                starts_at = starts_at.max(made.ends_at);
            }
        }
        starts_at
    }

    /// Gives a probe up to one supplier, which binds. Says when it has.
    fn suppliers(&mut self, item: &mut PlannedItem) -> u64 {
        if self.init_waits || item.work.mode != Mode::Probe || !self.random.once_in(2) {
            return 0;
        }
        let may_supply =
            |made: &Made| made.item.work.mode == Mode::Probe && !made.item.work.fails();
        let index = self.earlier(&may_supply);
        let Some(supplier) = index.and_then(|index| self.items.get(index)) else {
            return 0;
        };
        item.suppliers.push(supplier.item.name.clone());
        supplier.ends_at
    }

    /// Lets an item that may sleep do something to another one, or to a queue. Says when the other one has ended.
    fn fault(&mut self, item: &mut PlannedItem) -> u64 {
        let mode = item.work.mode;
        let is_on_own_queue = matches!(item.work.queue, Queue::Own(_));
        let is_run_by_others = mode == Mode::Probe && !item.work.async_probe;
        if is_on_own_queue || is_run_by_others || !self.random.once_in(3) {
            return 0;
        }
        let done = if mode.has_queue() {
            self.modify()
        } else {
            self.destroy().or_else(|| self.flush_or_cancel())
        };
        let Some((action, ends_at)) = done else {
            return 0;
        };
        // Before anything else, and so before it holds a lock.
        item.work.body.insert(0, action);
        ends_at
    }

    fn destroy(&mut self) -> Option<(Action, u64)> {
        if self.is_destroyed {
            return None;
        }
        let doomed = self.doomed.clone()?;
        self.is_destroyed = true;
        Some((Action::Destroy(doomed), 0))
    }

    fn flush_or_cancel(&mut self) -> Option<(Action, u64)> {
        let is_flush = self.random.once_in(2);
        let made = self.victim(|_| true)?;
        let name = made.item.name.clone();
        if is_flush {
            return Some((Action::Flush(name), made.ends_at));
        }
        made.is_cancelled = true;
        Some((Action::Cancel(name), made.ends_at))
    }

    /// Once only, because each one may add a delay.
    fn modify(&mut self) -> Option<(Action, u64)> {
        if self.is_modified {
            return None;
        }
        let delay = Nanos(self.random.below(LONGEST_DELAY + 1));
        let made = self.victim(|work| work.mode.has_delay())?;
        let item = made.item.name.clone();
        let ends_at = made.ends_at;
        self.is_modified = true;
        Some((Action::Modify { item, delay }, ends_at))
    }

    /// An earlier item on a queue that stays, which waits for nothing itself.
    fn victim(&mut self, is_fit: fn(&Work) -> bool) -> Option<&mut Made> {
        let doomed = self.doomed.clone();
        let may_suffer = |made: &Made| {
            let work = &made.item.work;
            work.mode.has_queue() && !is_on(&doomed, work) && is_plain(work) && is_fit(work)
        };
        let index = self.earlier(&may_suffer)?;
        self.items.get_mut(index)
    }

    /// Lets an item that may sleep wait until an earlier one completes it. Says when that one has ended.
    fn wait(&mut self, item: &mut PlannedItem) -> u64 {
        let work = &item.work;
        let may_block = !matches!(work.mode, Mode::Direct | Mode::Probe)
            && !matches!(work.queue, Queue::Own(_))
            && work.runs == 1;
        if self.init_waits || !may_block || !self.random.once_in(3) {
            return 0;
        }
        let doomed = self.doomed.clone();
        let may_complete = |made: &Made| {
            let work = &made.item.work;
            !is_on(&doomed, work) && !made.is_cancelled && work.body.len() < Work::MAX_ACTIONS
        };
        let Some(index) = self.earlier(&may_complete) else {
            return 0;
        };
        let Some(made) = self.items.get_mut(index) else {
            return 0;
        };
        made.item
            .work
            .body
            .insert(0, Action::Complete(item.name.clone()));
        item.work.body.insert(0, Action::Wait);
        made.ends_at
    }

    /// The index of an item so far that ends early enough to be waited for.
    fn earlier(&mut self, is_fit: &dyn Fn(&Made) -> bool) -> Option<usize> {
        let fit: Vec<usize> = (0..self.items.len())
            .filter(|index| {
                let made = self.items.get(*index);
                made.is_some_and(|made| made.ends_at <= LATEST_START && is_fit(made))
            })
            .collect();
        self.random.pick(&fit)
    }

    /// A number from 1 to `last`, which fits.
    fn small(&mut self, last: u32) -> u32 {
        u32::try_from(self.random.up_to(u64::from(last))).unwrap_or(1)
    }
}

/// How long an item's timers take at the latest, over all of its runs.
fn timers(work: &Work) -> u64 {
    if !work.mode.has_delay() {
        return 0;
    }
    let once = work.delay.0.saturating_add(ROUNDING);
    once.saturating_mul(u64::from(work.runs))
}

/// How long an action takes at the latest, over all runs of its item; a probe that is deferred does not come to it.
fn bodies(work: &Work, action: &Action) -> u64 {
    // `fsleep()` may add a quarter (`include/linux/delay.h`, Linux 7.3).
    let once = action.duration().0 / 4 * 5;
    once.saturating_mul(u64::from(work.runs))
}

/// True when the work runs on a queue that may be destroyed.
fn is_on(doomed: &Option<String>, work: &Work) -> bool {
    matches!((&work.queue, doomed), (Queue::Own(name), Some(doomed)) if name == doomed)
}

fn has_lock(work: &Work) -> bool {
    let mut body = work.body.iter();
    body.any(|action| matches!(action, Action::Lock(_)))
}

/// True when an item's first probe is over once it has been armed, and may be followed by another.
fn is_probed_when_armed(item: &PlannedItem) -> bool {
    let work = &item.work;
    let waits_for_nothing = item.after.is_empty() && item.suppliers.is_empty() && is_plain(work);
    work.mode == Mode::Probe && !work.async_probe && waits_for_nothing
}

/// True when a body waits for nothing and nothing waits for it.
fn is_plain(work: &Work) -> bool {
    work.body.iter().all(|action| {
        matches!(
            action,
            Action::Spin(_)
                | Action::Sleep(_)
                | Action::Alloc(_)
                | Action::Lock(_)
                | Action::Fail(_)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Until, rules};

    const SEEDS: std::ops::Range<u64> = 0..10_000;

    fn items(workload: &Workload) -> &[PlannedItem] {
        match &workload.shape {
            Shape::Plan(items) => items,
            Shape::Uniform(_) => &[],
        }
    }

    #[test]
    fn every_seed_gives_a_valid_plan_that_ends() {
        for seed in SEEDS {
            let workload = Workload::random(seed);
            assert_eq!(
                rules::check(&workload, 1, Until::Done),
                Ok(()),
                "seed {seed}: {workload:#?}"
            );
            assert!((1..=12).contains(&workload.items()), "seed {seed}");
            assert!(workload.shortest_run() < Nanos(100 * MILLI), "seed {seed}");
        }
    }

    #[test]
    fn no_seed_hangs_prints_or_defers_forever() {
        for seed in SEEDS {
            let workload = Workload::random(seed);
            for item in items(&workload) {
                assert_ne!(item.work.defer, Defer::Forever, "seed {seed}");
                for action in &item.work.body {
                    let is_unwanted = matches!(action, Action::Hang | Action::Print);
                    assert!(!is_unwanted, "seed {seed}: {action:?}");
                }
            }
        }
    }

    #[test]
    fn seeds_reach_every_mode_queue_flag_scope_and_action() {
        let mut seen = BTreeSet::new();
        for seed in SEEDS {
            let workload = Workload::random(seed);
            seen.insert(workload.start.as_str().to_owned());
            for queue in &workload.queues {
                seen.extend(queue.flags.iter().map(|flag| flag.as_str().to_owned()));
                seen.extend(
                    queue
                        .affinity_scope
                        .map(|scope| format!("affinity {}", scope.as_str())),
                );
            }
            for item in items(&workload) {
                let work = &item.work;
                seen.insert(work.mode.as_str().to_owned());
                seen.insert(work.queue.as_str().to_owned());
                seen.extend(work.body.iter().map(|action| action.as_str().to_owned()));
                let keys = [
                    ("after", !item.after.is_empty()),
                    ("suppliers", !item.suppliers.is_empty()),
                    ("cpu", work.cpu.is_some()),
                    ("runs", work.runs > 1),
                    ("defer", work.defer != Defer::Times(0)),
                    ("async-probe", work.async_probe),
                ];
                let given = keys.into_iter().filter(|(_, is_given)| *is_given);
                seen.extend(given.map(|(key, _)| key.to_owned()));
            }
        }
        let actions = [
            "spin", "sleep", "alloc", "lock", "wait", "complete", "fail", "cancel", "flush",
            "modify", "destroy",
        ];
        let keys = [
            "after",
            "suppliers",
            "cpu",
            "runs",
            "defer",
            "async-probe",
            "load",
            "trigger",
        ];
        let expected = actions
            .into_iter()
            .chain(keys)
            .chain(Mode::ALL.map(Mode::as_str))
            .chain(QueueFlag::ALL.map(QueueFlag::as_str))
            .map(str::to_owned)
            .chain(Queue::SYSTEM.map(|queue| queue.as_str().to_owned()))
            .chain(AffinityScope::ALL.map(|scope| format!("affinity {}", scope.as_str())));
        for name in expected {
            assert!(seen.contains(&name), "no seed has {name}");
        }
    }

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // The first values that Vigna's splitmix64.c gives for the seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
