// SPDX-License-Identifier: GPL-2.0-only

//! Parses what the function profiler counted on one CPU: `trace_stat/function<N>`.
//!
//! In: the file's text. Out: calls per function, and their times where the kernel has them (it does with
//! CONFIG_FUNCTION_GRAPH_TRACER).
//!
//! The kernel writes times in microseconds with at most seven digits, so that a long time has a rounded-down fraction or
//! none; and it cuts a function's name after 30 characters.
//! Source: `function_stat_headers` and `function_stat_show` in `kernel/trace/ftrace.c`, `trace_print_graph_duration` in
//! `kernel/trace/trace_functions_graph.c`, Linux 7.3.

use serde::Serialize;

use super::{Error, Lines, lossy};

/// Characters that the kernel leaves of a name (`%-30.30s`).
const NAME: usize = 30;

/// What one CPU counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionProfile {
    /// A row per function that was called, in the kernel's order: by time, or by calls where it has no times.
    pub functions: Vec<ProfiledFunction>,
    /// Whether the kernel has times.
    pub has_times: bool,
}

/// What was counted of one function.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfiledFunction {
    /// Its name, or the start of it.
    pub name: String,
    /// Whether the name may have been cut: it is as long as the kernel lets it be.
    pub may_be_cut: bool,
    /// How often it was called.
    pub calls: u64,
    /// Its times, where the kernel has them.
    pub times: Option<ProfiledTimes>,
}

/// The times of a function.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProfiledTimes {
    /// Of all calls, in nanoseconds.
    pub total_ns: u64,
    /// Of one call on average, in nanoseconds.
    pub avg_ns: u64,
    /// Variance of one call's, in square microseconds (the kernel writes it with the unit `us`).
    pub variance_us2: f64,
}

impl FunctionProfile {
    /// Reads the text of `trace_stat/function<N>`. No function is called: no row; that is no error.
    ///
    /// # Errors
    /// [`Error`] when a line is none that the kernel writes.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut lines = Lines::new(text);
        let has_times = lines.expect(
            "`Function  Hit  Time  Avg  s^2` or `Function  Hit`",
            |line| {
                let line = lossy(line);
                let columns: Vec<&str> = line.split_whitespace().collect();
                match columns.as_slice() {
                    ["Function", "Hit", "Time", "Avg", "s^2"] => Some(true),
                    ["Function", "Hit"] => Some(false),
                    _ => None,
                }
            },
        )?;
        lines.expect("a line of dashes", |line| {
            line.trim_ascii().starts_with(b"--------").then_some(())
        })?;
        let mut functions = Vec::new();
        while let Some(line) = lines.next() {
            let (expected, times) = if has_times {
                ("`FUNCTION  CALLS  TOTAL us  AVERAGE us  VARIANCE us`", true)
            } else {
                ("`FUNCTION  CALLS`", false)
            };
            functions.push(
                ProfiledFunction::parse(line, times).ok_or_else(|| lines.error(expected, line))?,
            );
        }
        Ok(Self {
            functions,
            has_times,
        })
    }
}

impl ProfiledFunction {
    fn parse(line: &[u8], has_times: bool) -> Option<Self> {
        let line = lossy(line);
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let calls = words.next()?.parse().ok()?;
        let times = if has_times {
            let mut time = || {
                let time = words.next()?;
                (words.next()? == "us").then_some(time)
            };
            Some(ProfiledTimes {
                total_ns: nanoseconds(time()?)?,
                avg_ns: nanoseconds(time()?)?,
                variance_us2: time()?
                    .parse()
                    .ok()
                    .filter(|variance: &f64| variance.is_finite() && *variance >= 0.0)?,
            })
        } else {
            None
        };
        words.next().is_none().then_some(Self {
            name: name.to_owned(),
            may_be_cut: name.chars().count() >= NAME,
            calls,
            times,
        })
    }
}

/// Microseconds with up to three digits behind the point, in nanoseconds.
pub(crate) fn nanoseconds(microseconds: &str) -> Option<u64> {
    let (whole, fraction) = microseconds.split_once('.').unwrap_or((microseconds, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(fraction)
}
