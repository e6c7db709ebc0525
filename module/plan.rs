// SPDX-License-Identifier: GPL-2.0-only

//! The plan of a load, read from module parameters.
//!
//! In: the parameters as they were given. Out: a [`Plan`] whose values are within bounds,
//! or `EINVAL` and one line in the kernel log that names the parameter, its value and what is
//! allowed. Runs nothing.

use kernel::{
    fmt,
    prelude::*, //
};

use crate::ffi::{
    self,
    Parameter, //
};

/// More items than any scenario needs, few enough to allocate at once.
const MAX_ITEMS: u32 = 4096;

/// One hour: `__usecs_to_jiffies()` takes 32 bits of microseconds, a little more than that.
const MAX_NS: u64 = 3_600_000_000_000;

/// What `fsleep()` takes of the Rust API: 31 bits of microseconds.
const MAX_BODY_NS: u64 = 2_147_483_647_000;

/// `WQ_MAX_ACTIVE` of `include/linux/workqueue.h`, Linux 7.3.
const MAX_ACTIVE: u32 = 2048;

/// How items run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Direct,
    Delayed,
}

/// How items relate to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrangement {
    Parallel,
    Chain,
}

/// What an item does.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    None,
    Spin { ns: u64 },
    Sleep { ns: u64 },
}

/// Where delayed items are queued.
#[derive(Clone, Copy)]
pub(crate) enum QueueKind {
    SystemPercpu,
    SystemUnbound,
    SystemHighpri,
    SystemLong,
    Own { unbound: bool, max_active: u32 },
}

/// What arms the items.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Load,
    Trigger,
}

/// Everything a load is to do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) items: u32,
    pub(crate) mode: Mode,
    pub(crate) arrangement: Arrangement,
    delay_ns: u64,
    step_ns: u64,
    pub(crate) body: Body,
    pub(crate) queue: QueueKind,
    pub(crate) start: Start,
}

impl Plan {
    /// Reads and checks the module's parameters.
    pub(crate) fn from_parameters() -> Result<Self> {
        let items = number(Parameter::Items, 1, MAX_ITEMS.into())?;
        let delay_ns = number(Parameter::DelayNs, 0, MAX_NS)?;
        let step_ns = number(Parameter::StepNs, 0, MAX_NS)?;
        let body_ns = number(Parameter::BodyNs, 0, MAX_BODY_NS)?;
        let max_active = number(Parameter::MaxActive, 0, MAX_ACTIVE.into())?;

        let longest = step_ns.saturating_mul(items - 1).saturating_add(delay_ns);
        if longest > MAX_NS {
            return refuse(
                Parameter::StepNs,
                fmt!("{step_ns}"),
                fmt!("at most {MAX_NS} for delay_ns plus step_ns for each further item"),
            );
        }

        let mode = one_of(
            Parameter::Mode,
            &[("direct", Mode::Direct), ("delayed", Mode::Delayed)],
        )?;
        let arrangement = one_of(
            Parameter::Arrangement,
            &[
                ("parallel", Arrangement::Parallel),
                ("chain", Arrangement::Chain),
            ],
        )?;
        let body = one_of(
            Parameter::Body,
            &[
                ("none", Body::None),
                ("spin", Body::Spin { ns: body_ns }),
                ("sleep", Body::Sleep { ns: body_ns }),
            ],
        )?;
        // The kernel's bound on both kinds of queue fits 32 bits.
        let max_active = max_active as u32;
        let queue = one_of(
            Parameter::Queue,
            &[
                ("system-percpu", QueueKind::SystemPercpu),
                ("system-unbound", QueueKind::SystemUnbound),
                ("system-highpri", QueueKind::SystemHighpri),
                ("system-long", QueueKind::SystemLong),
                (
                    "own-percpu",
                    QueueKind::Own {
                        unbound: false,
                        max_active,
                    },
                ),
                (
                    "own-unbound",
                    QueueKind::Own {
                        unbound: true,
                        max_active,
                    },
                ),
            ],
        )?;
        let start = one_of(
            Parameter::Start,
            &[("load", Start::Load), ("trigger", Start::Trigger)],
        )?;

        if max_active != 0 && !matches!(queue, QueueKind::Own { .. }) {
            return refuse(
                Parameter::MaxActive,
                fmt!("{max_active}"),
                fmt!("0 unless queue is own-percpu or own-unbound"),
            );
        }
        if mode == Mode::Direct && start == Start::Trigger {
            return refuse(
                Parameter::Start,
                fmt!("trigger"),
                fmt!("load, because mode is direct"),
            );
        }

        Ok(Self {
            items: items as u32,
            mode,
            arrangement,
            delay_ns,
            step_ns,
            body,
            queue,
            start,
        })
    }

    /// The delay of item `id`, in nanoseconds.
    pub(crate) fn delay_ns(&self, id: u32) -> u64 {
        // Neither overflows: `from_parameters` has bounded the delay of the last item.
        self.delay_ns + self.step_ns * u64::from(id)
    }
}

/// Returns the value of `parameter` if it is a number in `min..=max`.
fn number(parameter: Parameter, min: u64, max: u64) -> Result<u64> {
    let value = ffi::text(parameter);
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        _ => refuse(parameter, fmt!("{value}"), fmt!("{min} to {max}")),
    }
}

/// Returns what the value of `parameter` stands for among `choices`.
fn one_of<T: Copy>(parameter: Parameter, choices: &[(&str, T)]) -> Result<T> {
    let value = ffi::text(parameter);
    for (text, choice) in choices {
        if value.to_bytes() == text.as_bytes() {
            return Ok(*choice);
        }
    }
    refuse(parameter, fmt!("{value}"), fmt!("{}", Names(choices)))
}

/// Says why a parameter cannot be used. `EINVAL`, always.
fn refuse<T>(
    parameter: Parameter,
    value: fmt::Arguments<'_>,
    allowed: fmt::Arguments<'_>,
) -> Result<T> {
    let name = parameter.name();
    pr_err!("parameter {name}={value} is not allowed; allowed: {allowed}\n");
    Err(EINVAL)
}

/// The names of the choices of a parameter, separated by commas.
struct Names<'a, T>(&'a [(&'a str, T)]);

impl<T> fmt::Display for Names<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, _)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}
