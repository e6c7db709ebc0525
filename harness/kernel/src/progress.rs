// SPDX-License-Identifier: GPL-2.0-only

//! Says on stderr what is happening and how far it is: bars on a terminal, plain lines elsewhere.
//!
//! In: steps with a total and a position. Out: stderr only; stdout belongs to results.
//! Does not measure: callers count lines, bytes or per cent.
//! Source: none outside this crate.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line is printed while a step goes on: a log of a 15-minute run stays readable.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A bar that moves.
    Terminal,
    /// A line at the start, every 15 s, and at the end.
    Lines,
    /// Nothing.
    Silent,
}

/// What a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things of that name, in the plural.
    Count(&'static str),
    /// Bytes, shown as MiB.
    Bytes,
    /// Hundredths of the whole.
    Percent,
}

/// One step under way; dropping it removes its bar.
#[derive(Debug)]
pub struct Step {
    title: String,
    progress: Progress,
    started: Instant,
    spoke: Instant,
    total: Option<(u64, Unit)>,
    at: u64,
    detail: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar if stderr is a terminal, lines otherwise.
    pub fn for_stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Terminal
        } else {
            Self::Lines
        }
    }

    /// Prints one line.
    pub fn note(self, line: &str) {
        if self != Self::Silent {
            eprintln!("{line}");
        }
    }

    /// Starts a step. The title says what is happening: "building the kernel".
    pub fn step(self, title: &str) -> Step {
        let bar = (self == Self::Terminal).then(|| spinner(title));
        if self == Self::Lines {
            eprintln!("{title} ...");
        }
        let now = Instant::now();
        Step {
            title: title.to_owned(),
            progress: self,
            started: now,
            spoke: now,
            total: None,
            at: 0,
            detail: String::new(),
            bar,
        }
    }
}

impl Step {
    /// Says how much there is to do.
    pub fn set_total(&mut self, total: u64, unit: Unit) {
        self.total = Some((total, unit));
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_style(bar_style(unit));
        }
    }

    /// Says how far it is, in the unit of the total. A total that was guessed too low shows as nearly full.
    pub fn set_position(&mut self, at: u64) {
        self.at = self.total.map_or(at, |(total, _)| at.min(total));
        match &self.bar {
            Some(bar) => bar.set_position(self.at),
            None => self.speak_if_due(),
        }
    }

    /// Shows a detail beside the bar, such as the file being compiled.
    pub fn set_detail(&mut self, detail: &str) {
        detail.clone_into(&mut self.detail);
        match &self.bar {
            Some(bar) => bar.set_message(shortened(detail, 40)),
            None => self.speak_if_due(),
        }
    }

    /// Says that the step still goes on, if it is time to say so; a bar moves by itself.
    pub fn go_on(&mut self) {
        self.speak_if_due();
    }

    /// Prints a line above the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => self.progress.note(line),
        }
    }

    /// How long the step has been going on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the step with a line of what came of it.
    pub fn finish(mut self, outcome: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.progress.note(&format!(
            "{}: {outcome} ({})",
            self.title,
            duration(self.elapsed())
        ));
    }

    fn plain_line(&self) -> String {
        let amount = match self.total {
            None if self.detail.is_empty() => "going on".to_owned(),
            None => self.detail.clone(),
            Some((total, unit)) => {
                let percent = self.at.saturating_mul(100).checked_div(total).unwrap_or(0);
                match unit {
                    Unit::Count(things) => format!("{} of {total} {things}, {percent}%", self.at),
                    Unit::Bytes => {
                        format!("{} of {} MiB, {percent}%", self.at >> 20, total >> 20)
                    }
                    Unit::Percent => format!("{percent}%"),
                }
            }
        };
        format!("{}: {amount}, {}", self.title, duration(self.elapsed()))
    }

    fn speak_if_due(&mut self) {
        if self.progress == Progress::Lines && self.spoke.elapsed() >= PLAIN_EVERY {
            self.spoke = Instant::now();
            eprintln!("{}", self.plain_line());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn spinner(title: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner()
        .with_prefix(title.to_owned())
        .with_style(style("{spinner} {prefix} {elapsed} {msg}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn bar_style(unit: Unit) -> ProgressStyle {
    let amount = match unit {
        Unit::Count(_) => "{pos}/{len}",
        Unit::Bytes => "{bytes}/{total_bytes}",
        Unit::Percent => "{percent}%",
    };
    style(&format!(
        "{{prefix}} [{{bar:25}}] {amount} {{elapsed}} {{msg}}"
    ))
}

fn style(template: &str) -> ProgressStyle {
    // Templates are constants of this file; one that does not parse shows as the library's own style.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        text.to_owned()
    } else {
        text.chars().skip(count - width).collect()
    }
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_say_what_happens_and_how_far_it_is() {
        let cases = [
            (None, "a: x.o, 0 s"),
            (
                Some((200, Unit::Count("steps"))),
                "a: 50 of 200 steps, 25%, 0 s",
            ),
            (Some((200 << 20, Unit::Bytes)), "a: 0 of 200 MiB, 0%, 0 s"),
            (Some((100, Unit::Percent)), "a: 50%, 0 s"),
            (Some((0, Unit::Count("steps"))), "a: 0 of 0 steps, 0%, 0 s"),
        ];
        for (total, expected) in cases {
            let mut step = Progress::Silent.step("a");
            if let Some((total, unit)) = total {
                step.set_total(total, unit);
            }
            step.set_position(50);
            step.set_detail("x.o");
            assert_eq!(step.plain_line(), expected);
        }
        assert_eq!(Progress::Silent.step("a").plain_line(), "a: going on, 0 s");
    }

    #[test]
    fn durations_are_in_minutes_from_one_minute_on() {
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(130)), "2 min 10 s");
    }

    #[test]
    fn a_position_beyond_the_guessed_total_is_full_and_not_more() {
        let mut step = Progress::Silent.step("a");
        step.set_total(10, Unit::Count("steps"));
        step.set_position(12);
        assert_eq!(step.at, 10);
    }

    #[test]
    fn details_keep_their_end() {
        assert_eq!(shortened("drivers/virtio/virtio.o", 8), "virtio.o");
        assert_eq!(shortened("a.o", 8), "a.o");
    }
}
