// SPDX-License-Identifier: GPL-2.0-only

//! Makes nested slices out of function_graph's records: each begins once and ends once, whatever is missing.
//!
//! In: records by time. Out: steps, in an order that nests. A call whose exit is missing ends where its task enters or
//! leaves a call that is no deeper, or with the trace; one whose entry is missing comes whole when it returns, its start
//! reckoned from the kernel's duration.
//! Steps never go back in time: a record earlier than the one before it (a damaged trace) counts as at the same time. A
//! call that comes whole starts no earlier than the open call around it.
//! It keeps at most [`MOST_STACKS`] stacks of [`MOST_FRAMES`] calls. What is beyond comes whole, too.

use std::collections::HashMap;
use std::io;

use deferinit_ftrace::record::{Event, Record};

use crate::task::Task;

/// Tasks with open calls that are followed at once.
const MOST_STACKS: usize = 1 << 14;

/// No call is deeper: the kernel's shadow stack has 512 words, and a call takes several (`kernel/trace/fgraph.c`).
const MOST_FRAMES: usize = 512;

/// One step in a task's slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A slice begins.
    Begin { function: u64 },
    /// The innermost slice of the task ends.
    End {
        /// What the call returned, if that is known.
        retval: Option<i64>,
        /// Whether it ends with its exit, and not since a record is missing.
        is_seen: bool,
    },
    /// A slice that began before and ends now.
    Whole {
        function: u64,
        started_ns: u64,
        retval: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    function: u64,
    depth: u64,
    began_ns: u64,
}

/// The open slices of all tasks.
#[derive(Debug, Default)]
pub(super) struct Slices {
    stacks: HashMap<Task, Vec<Frame>>,
    last_ns: u64,
}

impl Slices {
    /// Takes a record; gives the steps that it makes, with their time. False if it is no record of function_graph.
    pub(super) fn record(
        &mut self,
        record: &Record<'_>,
        mut step: impl FnMut(u64, Step) -> io::Result<()>,
    ) -> io::Result<bool> {
        self.last_ns = self.last_ns.max(record.timestamp_ns);
        let at_ns = self.last_ns;
        let mut step = |found| step(at_ns, found);
        match record.event {
            Event::FuncgraphEntry { function, depth } => {
                let frame = Frame {
                    function,
                    depth,
                    began_ns: at_ns,
                };
                self.enter(Task::of(record), frame, &mut step)?;
            }
            Event::FuncgraphExit {
                function,
                depth,
                retval,
                calltime,
                rettime,
                ..
            } => {
                let frame = Frame {
                    function,
                    depth,
                    began_ns: at_ns,
                };
                let task = Task::of(record);
                if self.leave(task, frame, &mut step)? {
                    step(Step::End {
                        retval,
                        is_seen: true,
                    })?;
                } else {
                    let duration = rettime.saturating_sub(calltime);
                    let around = self.stacks.get(&task).and_then(|stack| stack.last());
                    step(Step::Whole {
                        function,
                        started_ns: at_ns
                            .saturating_sub(duration)
                            .max(around.map_or(0, |frame| frame.began_ns)),
                        retval,
                    })?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn enter(
        &mut self,
        task: Task,
        frame: Frame,
        step: &mut impl FnMut(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.stacks.contains_key(&task) {
            if self.stacks.len() >= MOST_STACKS {
                // Tasks without an open call need no stack; without this, all tasks that ever were would stay.
                self.stacks.retain(|_, stack| !stack.is_empty());
            }
            if self.stacks.len() >= MOST_STACKS {
                return Ok(());
            }
        }
        let stack = self.stacks.entry(task).or_default();
        cut(stack, |open| open.depth >= frame.depth, step)?;
        if stack.len() < MOST_FRAMES {
            stack.push(frame);
            step(Step::Begin {
                function: frame.function,
            })?;
        }
        Ok(())
    }

    /// Whether the call that returns is the task's innermost open one, which it no longer is then.
    fn leave(
        &mut self,
        task: Task,
        frame: Frame,
        step: &mut impl FnMut(Step) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some(stack) = self.stacks.get_mut(&task) else {
            return Ok(false);
        };
        let is_it = |open: &Frame| open.depth == frame.depth && open.function == frame.function;
        cut(
            stack,
            |open| open.depth >= frame.depth && !is_it(open),
            step,
        )?;
        let found = stack.last().is_some_and(is_it);
        if found {
            stack.pop();
        }
        Ok(found)
    }

    /// Ends what is open, task by task: `step` gets the task, too. All ends are at the time it returns.
    pub(super) fn finish(
        self,
        mut step: impl FnMut(Task, u64, Step) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut stacks: Vec<_> = self.stacks.into_iter().collect();
        stacks.sort_unstable_by_key(|(task, _)| *task);
        for (task, stack) in stacks {
            for _ in stack {
                step(
                    task,
                    self.last_ns,
                    Step::End {
                        retval: None,
                        is_seen: false,
                    },
                )?;
            }
        }
        Ok(())
    }
}

/// Ends the innermost calls, as long as they must have ended.
fn cut(
    stack: &mut Vec<Frame>,
    must_have_ended: impl Fn(&Frame) -> bool,
    step: &mut impl FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    while stack.last().is_some_and(&must_have_ended) {
        stack.pop();
        step(Step::End {
            retval: None,
            is_seen: false,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(timestamp_ns: u64, event: Event<'static>) -> Record<'static> {
        Record {
            timestamp_ns,
            cpu: 0,
            pid: 7,
            flags: 0,
            preempt_count: 0,
            event,
        }
    }

    fn entry(function: u64, depth: u64) -> Event<'static> {
        Event::FuncgraphEntry { function, depth }
    }

    fn exit(function: u64, depth: u64) -> Event<'static> {
        Event::FuncgraphExit {
            function,
            depth,
            retval: None,
            overrun: 0,
            calltime: 100,
            rettime: 103,
        }
    }

    #[track_caller]
    fn check(events: &[Event<'static>], expected: &str) {
        let mut slices = Slices::default();
        let mut steps = String::new();
        let mut push = |step: Step| {
            steps.push_str(&match step {
                Step::Begin { function } => format!("({function} "),
                Step::End { is_seen: true, .. } => ") ".to_owned(),
                Step::End { .. } => "] ".to_owned(),
                Step::Whole {
                    function,
                    started_ns,
                    ..
                } => format!("<{function} from {started_ns}> "),
            });
            Ok(())
        };
        for (time, event) in (1_000..).zip(events) {
            slices
                .record(&record(time, *event), |_, step| push(step))
                .expect("the sink takes all");
        }
        slices
            .finish(|_, _, step| push(step))
            .expect("the sink takes all");
        assert_eq!(steps.trim_end(), expected);
    }

    #[test]
    fn calls_nest() {
        check(
            &[entry(1, 0), entry(2, 1), exit(2, 1), exit(1, 0)],
            "(1 (2 ) )",
        );
    }

    #[test]
    fn a_call_without_exit_ends_where_it_must() {
        check(&[entry(1, 0), entry(2, 1), exit(1, 0)], "(1 (2 ] )");
        check(&[entry(1, 0), entry(2, 0), exit(2, 0)], "(1 ] (2 )");
        check(&[entry(1, 0), entry(2, 1)], "(1 (2 ] ]");
    }

    #[test]
    fn a_call_without_entry_comes_whole() {
        check(&[exit(1, 0)], "<1 from 997>");
        check(&[entry(1, 0), exit(2, 1), exit(1, 0)], "(1 <2 from 1000> )");
        check(&[entry(1, 0), exit(2, 0)], "(1 ] <2 from 998>");
    }

    #[test]
    fn what_is_too_deep_comes_whole() {
        let entries = (0..600).map(|depth| entry(depth, depth));
        let exits = (0..600).rev().map(|depth| exit(depth, depth));
        let mut slices = Slices::default();
        let (mut begins, mut ends, mut wholes) = (0, 0, 0);
        for event in entries.chain(exits) {
            slices
                .record(&record(1_000, event), |_, step| {
                    match step {
                        Step::Begin { .. } => begins += 1,
                        Step::End { .. } => ends += 1,
                        Step::Whole { .. } => wholes += 1,
                    }
                    Ok(())
                })
                .expect("the sink takes all");
        }
        assert_eq!((begins, ends, wholes), (512, 512, 88));
    }
}
