// SPDX-License-Identifier: GPL-2.0-only

//! The parameters as texts, and how a value that cannot be used is refused.
//!
//! In: the texts the user gave. Out: numbers and choices within their bounds, or `EINVAL` and one
//! line in the kernel log that names the parameter or item, the value and what is allowed.

use kernel::{
    fmt,
    prelude::*, //
};

use crate::ffi;

/// The parameters, in the order of `enum test_deferred_parameter`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Parameter {
    Items,
    Mode,
    Arrangement,
    DelayNs,
    StepNs,
    Body,
    Queue,
    Cpu,
    Runs,
    Defer,
    AsyncProbe,
    Start,
    Queues,
    Plan,
    Delays,
    Fault,
}

impl Parameter {
    /// The name, as the user gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Mode => "mode",
            Self::Arrangement => "arrangement",
            Self::DelayNs => "delay_ns",
            Self::StepNs => "step_ns",
            Self::Body => "body",
            Self::Queue => "queue",
            Self::Cpu => "cpu",
            Self::Runs => "runs",
            Self::Defer => "defer",
            Self::AsyncProbe => "async_probe",
            Self::Start => "start",
            Self::Queues => "queues",
            Self::Plan => "plan",
            Self::Delays => "delays",
            Self::Fault => "fault",
        }
    }

    /// Whether the user has given it.
    pub(crate) fn is_given(self) -> bool {
        ffi::is_given(self)
    }

    /// The value.
    pub(crate) fn value(self) -> Result<Value> {
        let text = ffi::text(self);
        let key = self.name();
        match text.to_str() {
            Ok(text) => Ok(Value {
                of: Of::Parameter,
                key,
                text,
            }),
            Err(_) => refuse(Of::Parameter, key, fmt!("{text}"), fmt!("ASCII text")),
        }
    }
}

/// What a value belongs to, as messages name it.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// The parameter with the value's key.
    Parameter,
    /// An item of `plan`.
    Item(&'static str),
    /// A queue of `queues`.
    Queue(&'static str),
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter => f.write_str("parameter"),
            Self::Item(name) => write!(f, "plan: item {name}:"),
            Self::Queue(name) => write!(f, "queues: queue {name}:"),
        }
    }
}

/// A value that was given, and where.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    pub(crate) of: Of,
    pub(crate) key: &'static str,
    pub(crate) text: &'static str,
}

impl Value {
    /// The number it is, if that is in `min..=max`.
    pub(crate) fn number(self, min: u64, max: u64) -> Result<u64> {
        match self.text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => self.refuse(fmt!("{min} to {max}")),
        }
    }

    /// What it stands for among `choices`.
    pub(crate) fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<T> {
        for (text, choice) in choices {
            if self.text == *text {
                return Ok(*choice);
            }
        }
        self.refuse(fmt!("{}", Choices(choices)))
    }

    /// Says what is allowed instead. `EINVAL`, always.
    pub(crate) fn refuse<T>(self, allowed: fmt::Arguments<'_>) -> Result<T> {
        refuse(self.of, self.key, fmt!("{}", Shown(self.text)), allowed)
    }

    /// The same place with a part of the text, such as one of the actions of a body.
    pub(crate) fn part(self, text: &'static str) -> Self {
        Self { text, ..self }
    }
}

/// Says why a value cannot be used. `EINVAL`, always.
pub(crate) fn refuse<T>(
    of: Of,
    key: &str,
    value: fmt::Arguments<'_>,
    allowed: fmt::Arguments<'_>,
) -> Result<T> {
    pr_err!("{of} {key}={value} is not allowed; allowed: {allowed}\n");
    Err(EINVAL)
}

/// A text that is cut if it is too long for a line of the kernel log.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 80;
        match self.0.char_indices().nth(MOST) {
            Some((end, _)) => write!(f, "{}...", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// The names of choices, separated by commas.
pub(crate) struct Choices<'a, T>(pub(crate) &'a [(&'a str, T)]);

impl<T> fmt::Display for Choices<'_, T> {
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
