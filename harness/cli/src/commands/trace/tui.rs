// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace tui`: table, tree and timeline of a trace's calls, on a terminal.
//!
//! In: keys. Out: the screen, which is as it was before when the command ends, however it ends.
//!
//! The trace is gone through once, for the table, the tree, and what lanes the timeline has; and again for each window
//! of time that the timeline shows. There is no index: of a window, only the cells of the screen are kept
//! ([`lanes::Grid`]), and a pass ends behind the window as soon as the ends of all calls in it are known. So memory grows
//! with functions, paths, tasks and the screen, not with the records. A far window of a large file takes a pass up to there;
//! what is known is shown meanwhile, keys are read, and one that changes the window begins the next pass at once.
//!
//! What is shown and what a key does is decided without a terminal, in [`state`] and the views.

mod lanes;
mod load;
mod screen;
mod state;
mod style;
mod table;
#[cfg(test)]
mod tests;
mod timeline;
mod tree;

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use deferinit_report::Terminal;
use deferinit_trace::names::Names;

use self::lanes::{Plan, Scan};
use self::load::Loading;
use self::screen::Screen;
use self::state::State;
use self::style::Palette;
use crate::args::trace::{Tui, Window};
use crate::exit::Failure;
use crate::trace_file::Trace;

/// Records between two looks at the clock.
const RECORDS_AT_ONCE: u64 = 4096;

/// How often the screen and the keys are looked after while the trace is read.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How long the screen waits for a key before it sees whether it is to end.
const WAIT: Duration = Duration::from_millis(250);

/// Runs the command.
pub(crate) fn run(arguments: &Tui) -> Result<u8, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "tui needs a terminal, and standard input or standard output is none; \
             `deferinit trace report` prints the table without one"
        )));
    }
    let trace = Trace::open(&arguments.input)?;
    let (symbols, tasks) = (trace.symbols()?, trace.tasks()?);
    let palette = Palette::of(Terminal::of_stdout().colour);
    let mut screen = Screen::open()?;
    let shown = show(&mut screen, &trace, &symbols, &tasks, palette);
    // What follows is printed where the user will see it.
    drop(screen);
    trace.outcome(&shown?)
}

/// Reads the trace and shows it until the user leaves. Strictly, damage ends it before anything is shown.
fn show(
    screen: &mut Screen,
    trace: &Trace,
    symbols: &Symbols,
    tasks: &SavedCmdlines,
    palette: Palette,
) -> Result<Tally, Failure> {
    let title = trace.path.display().to_string();
    let mut loading = Loading::new(expected(trace));
    let mut pace = Pace::default();
    let mut is_over = false;
    let tally = trace.each(&Window::default(), |step| {
        loading.record(step.record, step.follows_loss());
        if pace.is_due() {
            screen.draw(|frame| state::draw_loading(frame, &title, &loading, palette))?;
            is_over = screen.is_ended() || screen.wants_to_leave()?;
        }
        Ok(go_on(!is_over))
    })?;
    if is_over || (tally.damages > 0 && !trace.is_lenient) {
        return Ok(tally);
    }
    let loaded = loading.finish(symbols, tasks);
    let damages = tally
        .damages
        .saturating_add(u64::from(!trace.file.notices().is_empty()));
    let names = Names::new(symbols, tasks);
    let mut state = State::new(title, loaded, damages, names, palette);
    while !state.is_over() && !screen.is_ended() {
        screen.draw(|frame| state.draw(frame))?;
        match state.wanted() {
            Some(plan) => scan(screen, trace, &mut state, plan)?,
            None => screen.keys(WAIT, &mut state)?,
        }
    }
    Ok(tally)
}

/// Goes through the trace for the timeline's window, unless the user wants another one before that is done.
fn scan(
    screen: &mut Screen,
    trace: &Trace,
    state: &mut State<'_>,
    plan: Plan,
) -> Result<(), Failure> {
    let mut scan = Scan::new(plan.clone(), state.endless());
    let mut pace = Pace::default();
    let mut is_wanted = true;
    trace.each(&Window::default(), |step| {
        if scan.record(step.record, step.follows_loss()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if pace.is_due() {
            state.found(scan.grid());
            screen.draw(|frame| state.draw(frame))?;
            screen.keys(Duration::ZERO, state)?;
            is_wanted =
                !state.is_over() && !screen.is_ended() && state.wanted().as_ref() == Some(&plan);
        }
        Ok(go_on(is_wanted))
    })?;
    if is_wanted {
        state.found(scan.finish());
    }
    Ok(())
}

fn go_on(yes: bool) -> ControlFlow<()> {
    if yes {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

/// How many records the trace should have, by the kernel's statistics in it; none where it has none.
fn expected(trace: &Trace) -> Option<u64> {
    let of_cpu = |text: &String| {
        let stats = Stats::parse(text).ok()?;
        Some(stats.entries.saturating_add(stats.read_events))
    };
    let counts: Option<Vec<u64>> = trace.file.statistics().iter().map(of_cpu).collect();
    counts
        .map(|counts| counts.into_iter().fold(0, u64::saturating_add))
        .filter(|sum| *sum > 0)
}

/// Tells when it is time to look after the screen.
struct Pace {
    records: u64,
    drawn: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            records: 0,
            drawn: Instant::now(),
        }
    }
}

impl Pace {
    #[inline]
    fn is_due(&mut self) -> bool {
        self.records = self.records.wrapping_add(1);
        if !self.records.is_multiple_of(RECORDS_AT_ONCE) || self.drawn.elapsed() < DRAW_EVERY {
            return false;
        }
        self.drawn = Instant::now();
        true
    }
}
