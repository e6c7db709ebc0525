// SPDX-License-Identifier: GPL-2.0-only

//! Pairs function_graph's entries and exits into calls.
//!
//! In: entry and exit records in the order of time, all CPUs merged. Out: complete calls, and counts of the others.
//! Does not: resolve symbols, or subtract record timestamps: a call's time is the kernel's own `rettime - calltime`.
//! Source: `trace_graph_entry()` and `trace_graph_return()`, `kernel/trace/trace_functions_graph.c`, Linux 7.3.
//! The shadow stack belongs to a task and moves with it between CPUs; the idle tasks share pid 0, one on each CPU.

use std::collections::BTreeMap;

use deferinit_ftrace::record::Record;

use crate::{CallIntegrity, FunctionSpan, Moment, TraceNanos};

/// Whose shadow stack: the pid, and for idle tasks the CPU.
type Task = (i32, Option<u32>);

/// A `funcgraph_entry` record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) function: u64,
    pub(crate) depth: u64,
    pub(crate) moment: Moment,
    /// The phase that was open, by index.
    pub(crate) phase: Option<usize>,
}

/// A `funcgraph_exit` record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exit {
    pub(crate) function: u64,
    pub(crate) depth: u64,
    pub(crate) overrun: u64,
    pub(crate) called: TraceNanos,
    pub(crate) returned: TraceNanos,
    pub(crate) return_value: Option<i64>,
    pub(crate) moment: Moment,
}

/// A call with both records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) function: u64,
    pub(crate) phase: Option<usize>,
    pub(crate) span: FunctionSpan,
}

/// The open calls of every task.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    stacks: BTreeMap<Task, Vec<Entry>>,
    counts: CallIntegrity,
    /// Whether entries are not recorded at all.
    has_exits_only: bool,
}

impl Calls {
    /// No call is open. With `has_exits_only`, each exit is a call.
    pub(crate) fn new(has_exits_only: bool) -> Self {
        Self {
            has_exits_only,
            ..Self::default()
        }
    }

    /// The addresses of the functions that run in the task of a record.
    pub(crate) fn open(&self, record: &Record<'_>) -> impl Iterator<Item = u64> {
        let task = (record.pid, (record.pid == 0).then_some(record.cpu));
        let stack = self.stacks.get(&task).into_iter().flatten();
        stack.map(|entry| entry.function)
    }

    /// Opens a call. Open calls that are as deep or deeper have lost their exit.
    pub(crate) fn enter(&mut self, entry: Entry) {
        let stack = self.stacks.entry(task(entry.moment)).or_default();
        while stack.last().is_some_and(|top| top.depth >= entry.depth) {
            stack.pop();
            self.counts.unmatched_entries += 1;
        }
        stack.push(entry);
    }

    /// Closes a call. Without an open entry it is lost, or was made before `begin`, the trace's first timestamp. `phase`
    /// is the one that is open, by index, where entries are not recorded.
    pub(crate) fn exit(
        &mut self,
        exit: Exit,
        begin: TraceNanos,
        phase: Option<usize>,
    ) -> Option<Call> {
        if exit.overrun > 0 {
            self.counts.overrun_exits += 1;
        }
        if self.has_exits_only {
            self.counts.complete += 1;
            let entry = Entry {
                function: exit.function,
                depth: exit.depth,
                moment: exit.moment,
                phase,
            };
            return Some(Call {
                function: exit.function,
                phase,
                span: span(&entry, &exit),
            });
        }
        let stack = self.stacks.entry(task(exit.moment)).or_default();
        let opened = stack
            .iter()
            .rposition(|entry| entry.function == exit.function && entry.depth == exit.depth);
        let Some(opened) = opened else {
            if exit.called < begin {
                self.counts.open_at_begin += 1;
            } else {
                self.counts.unmatched_exits += 1;
            }
            return None;
        };
        while stack.len() > opened.saturating_add(1) {
            stack.pop();
            self.counts.unmatched_entries += 1;
        }
        let entry = stack.pop()?;
        self.counts.complete += 1;
        Some(Call {
            function: exit.function,
            phase: entry.phase,
            span: span(&entry, &exit),
        })
    }

    /// The counts, once no record is left; what is still open was cut by the window's end.
    pub(crate) fn finish(mut self) -> CallIntegrity {
        for stack in self.stacks.values() {
            let open = u64::try_from(stack.len()).unwrap_or(u64::MAX);
            self.counts.open_at_end = self.counts.open_at_end.saturating_add(open);
        }
        self.counts
    }
}

fn task(moment: Moment) -> Task {
    (moment.pid, (moment.pid == 0).then_some(moment.cpu))
}

fn span(entry: &Entry, exit: &Exit) -> FunctionSpan {
    FunctionSpan {
        called: exit.called,
        returned: exit.returned,
        depth: exit.depth,
        pid: entry.moment.pid,
        entry_cpu: entry.moment.cpu,
        entry_recorded: entry.moment.recorded,
        exit_cpu: exit.moment.cpu,
        exit_recorded: exit.moment.recorded,
        return_value: exit.return_value,
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, Entry, Exit};
    use crate::{CallIntegrity, Moment, TraceNanos};

    fn moment(cpu: u32, pid: i32, at: u64) -> Moment {
        Moment {
            at: TraceNanos(at),
            cpu,
            pid,
            recorded: TraceNanos(at),
        }
    }

    /// `(cpu, pid, time, function, depth)`; an exit's call began at `called`.
    enum Step {
        In(u32, i32, u64, u64, u64),
        Out(u32, i32, u64, u64, u64, u64),
    }
    use Step::{In, Out};

    /// Runs the steps on a trace that begins at 100; checks the spans as (function, duration) and the counts.
    #[track_caller]
    fn check(steps: &[Step], spans: &[(u64, i64)], counts: CallIntegrity) {
        let mut calls = Calls::default();
        let mut found = Vec::new();
        for step in steps {
            match *step {
                In(cpu, pid, at, function, depth) => {
                    calls.enter(Entry {
                        function,
                        depth,
                        moment: moment(cpu, pid, at),
                        phase: None,
                    });
                }
                Out(cpu, pid, at, function, depth, called) => {
                    let exit = Exit {
                        function,
                        depth,
                        overrun: 0,
                        called: TraceNanos(called),
                        returned: TraceNanos(at),
                        return_value: None,
                        moment: moment(cpu, pid, at),
                    };
                    found.extend(
                        calls
                            .exit(exit, TraceNanos(100), None)
                            .map(|c| (c.function, c.span.nanoseconds())),
                    );
                }
            }
        }
        assert_eq!(found, spans);
        assert_eq!(calls.finish(), counts);
    }

    fn complete(complete: u64) -> CallIntegrity {
        CallIntegrity {
            complete,
            ..CallIntegrity::default()
        }
    }

    #[test]
    fn nested_calls_of_two_tasks_pair_by_task() {
        let steps = [
            In(0, 7, 101, 1, 0),
            In(1, 8, 102, 1, 0),
            In(0, 7, 103, 2, 1),
            Out(1, 8, 104, 1, 0, 102),
            Out(0, 7, 105, 2, 1, 103),
            Out(0, 7, 106, 1, 0, 101),
        ];
        check(&steps, &[(1, 2), (2, 2), (1, 5)], complete(3));
    }

    #[test]
    fn task_that_moves_to_another_cpu_keeps_its_stack() {
        check(
            &[In(0, 7, 101, 1, 0), Out(1, 7, 109, 1, 0, 101)],
            &[(1, 8)],
            complete(1),
        );
    }

    #[test]
    fn idle_tasks_of_two_cpus_are_two_tasks() {
        let steps = [
            In(0, 0, 101, 1, 0),
            In(1, 0, 102, 1, 0),
            Out(0, 0, 103, 1, 0, 101),
            Out(1, 0, 104, 1, 0, 102),
        ];
        check(&steps, &[(1, 2), (1, 2)], complete(2));
    }

    #[test]
    fn calls_cut_by_the_window_are_counted_apart() {
        let counts = CallIntegrity {
            open_at_begin: 1,
            open_at_end: 1,
            ..CallIntegrity::default()
        };
        check(
            &[Out(0, 7, 101, 1, 0, 99), In(0, 7, 102, 1, 0)],
            &[],
            counts,
        );
    }

    #[test]
    fn exit_without_entry_inside_the_window_is_unmatched() {
        let counts = CallIntegrity {
            unmatched_exits: 1,
            ..CallIntegrity::default()
        };
        check(&[Out(0, 7, 105, 1, 0, 100)], &[], counts);
    }

    #[test]
    fn entry_whose_exit_is_lost_is_unmatched() {
        let counts = CallIntegrity {
            unmatched_entries: 1,
            ..complete(1)
        };
        // The next entry of the same depth, or an outer exit, shows the loss.
        check(
            &[
                In(0, 7, 101, 1, 0),
                In(0, 7, 102, 2, 0),
                Out(0, 7, 103, 2, 0, 102),
            ],
            &[(2, 1)],
            counts,
        );
        check(
            &[
                In(0, 7, 101, 1, 0),
                In(0, 7, 102, 2, 1),
                Out(0, 7, 103, 1, 0, 101),
            ],
            &[(1, 2)],
            counts,
        );
    }

    #[test]
    fn full_shadow_stack_is_counted() {
        let mut calls = Calls::default();
        calls.enter(Entry {
            function: 1,
            depth: 0,
            moment: moment(0, 7, 101),
            phase: None,
        });
        let exit = Exit {
            function: 1,
            depth: 0,
            overrun: 3,
            called: TraceNanos(101),
            returned: TraceNanos(102),
            return_value: Some(-22),
            moment: moment(0, 7, 102),
        };
        let call = calls
            .exit(exit, TraceNanos(100), None)
            .expect("its entry is open");
        assert_eq!(call.span.return_value, Some(-22));
        assert_eq!(calls.finish().overrun_exits, 1);
    }
}
