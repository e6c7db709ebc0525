// SPDX-License-Identifier: GPL-2.0-only

//! The kernel's events that an analysis reads, typed.
//!
//! In: records, whose layouts come from the guest's own format files. Out: a [`Happening`] of those that matter.
//! The getters are found once for each event, since a trace has millions of records.
//! Source: `include/trace/events/{timer,workqueue,sched,initcall}.h`, Linux 7.3, and the module's item events.

use deferinit_ftrace::format::{EventFormat, Formats, Integer};
use deferinit_ftrace::record::{Event, FieldAccess, Record};

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening<'a> {
    TimerStart {
        timer: u64,
        function: u64,
        expires: u64,
        bucket: u64,
        now: u64,
        flags: u64,
    },
    TimerCancel {
        timer: u64,
    },
    TimerExpire {
        timer: u64,
        function: u64,
        now: u64,
        base_clock: u64,
    },
    TimerDone {
        timer: u64,
    },
    HrtimerStart {
        hrtimer: u64,
        expires: u64,
        soft_expires: u64,
    },
    HrtimerExpire {
        hrtimer: u64,
        function: u64,
    },
    HrtimerDone,
    Queue {
        work: u64,
        function: u64,
        workqueue: &'a str,
        cpu: i64,
    },
    Activate {
        work: u64,
    },
    Execute {
        work: u64,
        function: u64,
    },
    Executed {
        work: u64,
    },
    Switch {
        previous: i32,
        state: u64,
        next: i32,
    },
    Wake {
        pid: i32,
        cpu: u32,
    },
    InitcallStart {
        function: u64,
    },
    InitcallDone {
        function: u64,
        returned: i64,
    },
    ItemArmed {
        id: u32,
        time: u64,
        delay_ns: u64,
        delay_jiffies: u64,
    },
    ItemQueued {
        id: u32,
    },
    ItemStarted {
        id: u32,
        time: u64,
    },
    ItemRetried {
        id: u32,
        time: u64,
        error: i64,
    },
    ItemEnded {
        id: u32,
        time: u64,
        error: i64,
    },
    ItemCancelled {
        id: u32,
        time: u64,
    },
}

/// An event that an analysis reads: its system, its name, and the fields without which it says nothing.
const EVENTS: [(&str, &str, &[&str]); 23] = [
    (
        "timer",
        "timer_start",
        &[
            "timer",
            "function",
            "expires",
            "bucket_expiry",
            "now",
            "flags",
        ],
    ),
    ("timer", "timer_cancel", &["timer"]),
    (
        "timer",
        "timer_expire_entry",
        &["timer", "function", "now", "baseclk"],
    ),
    ("timer", "timer_expire_exit", &["timer"]),
    (
        "timer",
        "hrtimer_start",
        &["hrtimer", "expires", "softexpires"],
    ),
    ("timer", "hrtimer_expire_entry", &["hrtimer", "function"]),
    ("timer", "hrtimer_expire_exit", &["hrtimer"]),
    (
        "workqueue",
        "workqueue_queue_work",
        &["work", "function", "cpu"],
    ),
    ("workqueue", "workqueue_activate_work", &["work"]),
    (
        "workqueue",
        "workqueue_execute_start",
        &["work", "function"],
    ),
    ("workqueue", "workqueue_execute_end", &["work"]),
    (
        "sched",
        "sched_switch",
        &["prev_pid", "prev_state", "next_pid"],
    ),
    ("sched", "sched_waking", &["pid", "target_cpu"]),
    ("sched", "sched_wakeup", &["pid", "target_cpu"]),
    ("sched", "sched_wakeup_new", &["pid", "target_cpu"]),
    ("initcall", "initcall_start", &["func"]),
    ("initcall", "initcall_finish", &["func", "ret"]),
    (
        "test_deferred",
        "deferred_item_armed",
        &["id", "time_ns", "delay_ns", "delay_jiffies"],
    ),
    ("test_deferred", "deferred_item_queued", &["id"]),
    ("test_deferred", "deferred_item_started", &["id", "time_ns"]),
    (
        "test_deferred",
        "deferred_item_retried",
        &["id", "time_ns", "error"],
    ),
    (
        "test_deferred",
        "deferred_item_ended",
        &["id", "time_ns", "error"],
    ),
    (
        "test_deferred",
        "deferred_item_cancelled",
        &["id", "time_ns"],
    ),
];

/// The most fields that an event is read by.
const MOST_FIELDS: usize = 6;

/// Reads records.
#[derive(Debug)]
pub(crate) struct Reader {
    /// By the event's id: which of `EVENTS`, and its getters.
    by_id: Vec<Option<(usize, [Option<Integer>; MOST_FIELDS])>>,
    /// Which of `EVENTS` had a record, a bit each.
    seen: u32,
}

impl Reader {
    /// Finds the getters of a trace's events.
    pub(crate) fn new(formats: &Formats) -> Self {
        let mut by_id = Vec::new();
        for (place, (system, name, fields)) in EVENTS.iter().enumerate() {
            let Some(format) = formats.by_name(system, name) else {
                continue;
            };
            let Some(getters) = getters(format, fields) else {
                continue;
            };
            let id = usize::from(format.id());
            if by_id.len() <= id {
                by_id.resize(id.saturating_add(1), None);
            }
            if let Some(slot) = by_id.get_mut(id) {
                *slot = Some((place, getters));
            }
        }
        Self { by_id, seen: 0 }
    }

    /// What a record says; none if it does not matter, or lacks a field.
    #[inline]
    pub(crate) fn read<'a>(&mut self, record: &Record<'a>) -> Option<Happening<'a>> {
        let Event::Other(fields) = record.event else {
            return None;
        };
        let id = usize::from(fields.format().id());
        let (place, getters) = self.by_id.get(id).copied().flatten()?;
        let happening = happening(place, &getters, &fields)?;
        self.seen |= bit(place);
        Some(happening)
    }

    /// Whether an event of this name had a record.
    pub(crate) fn has_seen(&self, name: &str) -> bool {
        self.seen & bit_of(name) != 0
    }
}

fn bit(place: usize) -> u32 {
    u32::try_from(place).map_or(0, |place| 1_u32.checked_shl(place).unwrap_or(0))
}

fn bit_of(name: &str) -> u32 {
    EVENTS
        .iter()
        .position(|(_, event, _)| *event == name)
        .map_or(0, bit)
}

fn getters(format: &EventFormat, fields: &[&str]) -> Option<[Option<Integer>; MOST_FIELDS]> {
    let mut getters = [None; MOST_FIELDS];
    for (slot, name) in getters.iter_mut().zip(fields) {
        *slot = Some(format.field(name)?.integer()?);
    }
    Some(getters)
}

fn happening<'a>(
    place: usize,
    getters: &[Option<Integer>; MOST_FIELDS],
    fields: &FieldAccess<'a>,
) -> Option<Happening<'a>> {
    let payload = fields.payload();
    let bits = |field: usize| getters.get(field).copied().flatten()?.bits(payload);
    let signed = |field: usize| getters.get(field).copied().flatten()?.extended(payload);
    let pid = |field: usize| i32::try_from(signed(field)?).ok();
    let id = || u32::try_from(bits(0)?).ok();
    let (_, name, _) = EVENTS.get(place)?;
    Some(match *name {
        "timer_start" => Happening::TimerStart {
            timer: bits(0)?,
            function: bits(1)?,
            expires: bits(2)?,
            bucket: bits(3)?,
            now: bits(4)?,
            flags: bits(5)?,
        },
        "timer_cancel" => Happening::TimerCancel { timer: bits(0)? },
        "timer_expire_entry" => Happening::TimerExpire {
            timer: bits(0)?,
            function: bits(1)?,
            now: bits(2)?,
            base_clock: bits(3)?,
        },
        "timer_expire_exit" => Happening::TimerDone { timer: bits(0)? },
        "hrtimer_start" => Happening::HrtimerStart {
            hrtimer: bits(0)?,
            expires: bits(1)?,
            soft_expires: bits(2)?,
        },
        "hrtimer_expire_entry" => Happening::HrtimerExpire {
            hrtimer: bits(0)?,
            function: bits(1)?,
        },
        "hrtimer_expire_exit" => Happening::HrtimerDone,
        "workqueue_queue_work" => Happening::Queue {
            work: bits(0)?,
            function: bits(1)?,
            // Older kernels have the queue's address in its place.
            workqueue: fields.text("workqueue").unwrap_or_default(),
            cpu: signed(2)?,
        },
        "workqueue_activate_work" => Happening::Activate { work: bits(0)? },
        "workqueue_execute_start" => Happening::Execute {
            work: bits(0)?,
            function: bits(1)?,
        },
        "workqueue_execute_end" => Happening::Executed { work: bits(0)? },
        "sched_switch" => Happening::Switch {
            previous: pid(0)?,
            state: bits(1)?,
            next: pid(2)?,
        },
        "sched_waking" | "sched_wakeup" | "sched_wakeup_new" => Happening::Wake {
            pid: pid(0)?,
            cpu: u32::try_from(bits(1)?).ok()?,
        },
        "initcall_start" => Happening::InitcallStart { function: bits(0)? },
        "initcall_finish" => Happening::InitcallDone {
            function: bits(0)?,
            returned: signed(1)?,
        },
        "deferred_item_armed" => Happening::ItemArmed {
            id: id()?,
            time: bits(1)?,
            delay_ns: bits(2)?,
            delay_jiffies: bits(3)?,
        },
        "deferred_item_queued" => Happening::ItemQueued { id: id()? },
        "deferred_item_started" => Happening::ItemStarted {
            id: id()?,
            time: bits(1)?,
        },
        "deferred_item_retried" => Happening::ItemRetried {
            id: id()?,
            time: bits(1)?,
            error: signed(2)?,
        },
        "deferred_item_ended" => Happening::ItemEnded {
            id: id()?,
            time: bits(1)?,
            error: signed(2)?,
        },
        "deferred_item_cancelled" => Happening::ItemCancelled {
            id: id()?,
            time: bits(1)?,
        },
        _ => return None,
    })
}
