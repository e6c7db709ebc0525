// SPDX-License-Identifier: GPL-2.0-only

//! Gives a `workload` its meaning.
//!
//! In: the texts of a workload. Out: a [`Workload`] the module accepts; a key that its mode ignores is a mistake.

use super::value::{LONGEST, Result, duration, one_of, whole};
use crate::error::{Mistake, Place};
use crate::file::{Choice, Given, OwnQueueBlock, Text, WorkloadBlock};
use crate::yaml::Located;
use crate::{Arrangement, Body, Mode, Nanos, Queue, Start, Workload};

/// The longest a body may keep its CPU: half of what the soft lockup detector lets pass
/// (2 * `watchdog_thresh`, 20 s, `kernel/watchdog.c`, Linux 7.3).
const LONGEST_SPIN: Nanos = Nanos(10_000_000_000);

pub(super) fn workload(block: Located<WorkloadBlock>) -> Result<Workload> {
    let place = block.place;
    let step = block.value.step.place();
    let workload = without_limits(block)?;
    let longest = workload.delay_of(workload.items.saturating_sub(1));
    if longest > LONGEST {
        let message = format!("delay and step add up to {longest} for the last item");
        return Err(
            Mistake::new(step.unwrap_or(place), message).allow(format!("at most {LONGEST}"))
        );
    }
    Ok(workload)
}

/// A workload whose values are each within their range, if not yet all together.
fn without_limits(block: Located<WorkloadBlock>) -> Result<Workload> {
    let Located {
        value: block,
        place,
    } = block;
    let mode = mode(&block.mode.required("mode", place)?)?;
    let items = whole(
        &block.items.required("items", place)?,
        1..=Workload::MAX_ITEMS,
    )?;
    let body = block.body.read_if_given(body)?.unwrap_or(Body::None);
    match mode {
        Mode::Direct => {
            has_no_meaning("arrangement", &block.arrangement)?;
            has_no_meaning("delay", &block.delay)?;
            has_no_meaning("step", &block.step)?;
            has_no_meaning("queue", &block.queue)?;
            has_no_meaning("start", &block.start)?;
            Ok(Workload {
                mode,
                arrangement: Arrangement::Parallel,
                items,
                delay: Nanos(0),
                step: Nanos(0),
                body,
                queue: Queue::SystemPercpu,
                start: Start::Load,
            })
        }
        Mode::Delayed => Ok(Workload {
            mode,
            arrangement: block
                .arrangement
                .read_if_given(arrangement)?
                .unwrap_or(Arrangement::Parallel),
            items,
            delay: duration(&block.delay.required("delay", place)?, Nanos(0)..=LONGEST)?,
            step: block
                .step
                .read_if_given(|text| duration(text, Nanos(0)..=LONGEST))?
                .unwrap_or_default(),
            body,
            queue: block
                .queue
                .read_if_given(queue)?
                .unwrap_or(Queue::SystemPercpu),
            start: block.start.read_if_given(start)?.unwrap_or(Start::Load),
        }),
    }
}

/// Refuses a key that mode direct would ignore.
fn has_no_meaning<T>(key: &str, given: &Given<T>) -> Result<()> {
    match given.place() {
        None => Ok(()),
        Some(place) => {
            let message = format!("`{key}` has no meaning in mode direct");
            Err(Mistake::new(place, message).allow("mode, items, body"))
        }
    }
}

fn mode(text: &Text) -> Result<Mode> {
    let table = [Mode::Direct, Mode::Delayed].map(|mode| (mode.as_str(), mode));
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

/// How a body is made of its duration.
#[derive(Clone, Copy)]
enum BodyKind {
    None,
    Timed {
        make: fn(Nanos) -> Body,
        longest: Nanos,
    },
}

fn body(choice: &Located<Choice<String>>) -> Result<Body> {
    let table = [
        ("none", BodyKind::None),
        (
            "spin",
            BodyKind::Timed {
                make: Body::Spin,
                longest: LONGEST_SPIN,
            },
        ),
        (
            "sleep",
            BodyKind::Timed {
                make: Body::Sleep,
                longest: LONGEST,
            },
        ),
    ];
    let Choice { name, value } = &choice.value;
    match (one_of(choice.place, "body", name, &table)?, value) {
        (BodyKind::None, None) => Ok(Body::None),
        (BodyKind::None, Some(value)) => Err(takes_no_value(value.place, "body", name)),
        (BodyKind::Timed { make, longest }, Some(text)) => {
            Ok(make(duration(text, Nanos(1)..=longest)?))
        }
        (BodyKind::Timed { .. }, None) => {
            let message = format!("body `{name}` needs a duration");
            Err(Mistake::new(choice.place, message).allow(format!("{{ {name}: 5ms }}")))
        }
    }
}

/// How a queue is made of its limit.
#[derive(Clone, Copy)]
enum QueueKind {
    System(Queue),
    Own(fn(u32) -> Queue),
}

fn queue(choice: &Located<Choice<OwnQueueBlock>>) -> Result<Queue> {
    let own_percpu = QueueKind::Own(|max_active| Queue::OwnPercpu { max_active });
    let own_unbound = QueueKind::Own(|max_active| Queue::OwnUnbound { max_active });
    let table = [
        ("system-percpu", QueueKind::System(Queue::SystemPercpu)),
        ("system-unbound", QueueKind::System(Queue::SystemUnbound)),
        ("system-highpri", QueueKind::System(Queue::SystemHighpri)),
        ("system-long", QueueKind::System(Queue::SystemLong)),
        ("own-percpu", own_percpu),
        ("own-unbound", own_unbound),
    ];
    let Choice { name, value } = &choice.value;
    match (one_of(choice.place, "queue", name, &table)?, value) {
        (QueueKind::System(queue), None) => Ok(queue),
        (QueueKind::System(_), Some(value)) => Err(takes_no_value(value.place, "queue", name)),
        (QueueKind::Own(make), None) => Ok(make(0)),
        (QueueKind::Own(make), Some(block)) => {
            let Some(max_active) = &block.value.max_active.0 else {
                let message = format!("key `max-active` is missing from `{name}`");
                return Err(Mistake::new(block.place, message)
                    .allow(format!("{name}: {{ max-active: 2 }}")));
            };
            Ok(make(whole(max_active, 1..=Queue::MAX_ACTIVE)?))
        }
    }
}

pub(super) fn takes_no_value(place: Place, kind: &str, name: &str) -> Mistake {
    Mistake::new(place, format!("{kind} `{name}` takes no value")).allow(format!("{kind}: {name}"))
}
