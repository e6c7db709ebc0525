// SPDX-License-Identifier: GPL-2.0-only

//! Which run begins when, where several go on at one time.
//!
//! In: what to run, how often, and how many at one time. Out: what came of it, in the order of the work, whatever
//! the order in which runs ended. Knows no VM.

use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use deferinit_report::Repetition;

/// How much may go on at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// Others may run beside it.
    Any,
    /// It runs alone: what runs beside it would be in its times.
    None,
}

/// How a batch is run.
pub(crate) struct Schedule {
    /// How often everything is run.
    pub(crate) repeat: u32,
    /// How many runs go on at one time.
    pub(crate) jobs: NonZeroUsize,
}

/// What came of a batch.
pub(crate) struct Batch<R, E> {
    /// Of each run that came to an end, in the order of the work.
    pub(crate) results: Vec<R>,
    /// The first failure, after which no run was begun.
    pub(crate) outcome: Result<(), E>,
}

/// Runs everything as often as it should, up to the first failure. `one` gets the first run of the same work, if it is
/// a later one: that has then ended.
pub(crate) fn run<T: Sync, R: Send + Sync, E: Send>(
    work: &[T],
    schedule: &Schedule,
    company: impl Fn(&T) -> Company,
    one: impl Fn(&T, Repetition, Option<&R>) -> Result<R, E> + Sync,
) -> Batch<R, E> {
    let repeat = usize::try_from(schedule.repeat).unwrap_or(usize::MAX);
    let total = work.len().saturating_mul(repeat);
    let queue = Queue {
        company: work.iter().map(company).collect(),
        repeat,
        state: Mutex::new(State {
            runs: (0..total).map(|_| Run::Waiting).collect(),
            first_waiting: 0,
            running: 0,
            is_one_alone: false,
            failure: None,
            is_broken: false,
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..schedule.jobs.get().min(total) {
            scope.spawn(|| {
                while let Some((index, first)) = queue.take() {
                    let guard = Guard(&queue);
                    let of = index / repeat;
                    let repetition = Repetition {
                        index: u32::try_from(index % repeat + 1).unwrap_or(u32::MAX),
                        of: schedule.repeat,
                    };
                    let Some(work) = work.get(of) else { return };
                    let outcome = one(work, repetition, first.as_deref());
                    // Whoever takes a result out needs it for itself.
                    drop(first);
                    queue.put(index, outcome);
                    std::mem::forget(guard);
                }
            });
        }
    });
    let state = queue
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let results = state.runs.into_iter().filter_map(|run| match run {
        Run::Ended(result) => Arc::into_inner(result),
        Run::Waiting | Run::Begun => None,
    });
    Batch {
        results: results.collect(),
        outcome: state.failure.map_or(Ok(()), Err),
    }
}

/// All runs, and which of them are going on.
struct Queue<R, E> {
    /// Of each piece of work.
    company: Vec<Company>,
    repeat: usize,
    state: Mutex<State<R, E>>,
    changed: Condvar,
}

struct State<R, E> {
    /// The runs of the first piece of work, then those of the next.
    runs: Vec<Run<R>>,
    /// All before it have begun.
    first_waiting: usize,
    running: usize,
    is_one_alone: bool,
    failure: Option<E>,
    /// A run has panicked.
    is_broken: bool,
}

enum Run<R> {
    Waiting,
    Begun,
    Ended(Arc<R>),
}

/// What a thread that has time does.
enum Next<R> {
    Begin(usize, Option<Arc<R>>),
    Wait,
    Stop,
}

/// Ends the others where a run panics: they might wait for it for ever.
struct Guard<'a, R, E>(&'a Queue<R, E>);

impl<R, E> Drop for Guard<'_, R, E> {
    fn drop(&mut self) {
        self.0.state().is_broken = true;
        self.0.changed.notify_all();
    }
}

impl<R, E> Queue<R, E> {
    fn state(&self) -> MutexGuard<'_, State<R, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next run, and the first one of its work if it is a later one; none when there is no more to do.
    fn take(&self) -> Option<(usize, Option<Arc<R>>)> {
        let mut state = self.state();
        loop {
            match self.next(&state) {
                Next::Stop => return None,
                Next::Wait => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Next::Begin(index, first) => {
                    if let Some(run) = state.runs.get_mut(index) {
                        *run = Run::Begun;
                    }
                    state.running += 1;
                    state.is_one_alone = self.company_of(index) == Company::None;
                    let begun = state.runs.iter().skip(state.first_waiting);
                    let begun = begun.take_while(|run| !matches!(run, Run::Waiting));
                    state.first_waiting += begun.count();
                    return Some((index, first));
                }
            }
        }
    }

    fn next(&self, state: &State<R, E>) -> Next<R> {
        if state.failure.is_some() || state.is_broken {
            return Next::Stop;
        }
        let mut has_waiting = false;
        for (index, run) in state.runs.iter().enumerate().skip(state.first_waiting) {
            if !matches!(run, Run::Waiting) {
                continue;
            }
            has_waiting = true;
            if state.is_one_alone {
                break;
            }
            // What runs alone is not overtaken: it would wait until there is nothing else.
            if self.company_of(index) == Company::None && state.running > 0 {
                break;
            }
            if index % self.repeat == 0 {
                return Next::Begin(index, None);
            }
            if let Some(Run::Ended(first)) = state.runs.get(index - index % self.repeat) {
                return Next::Begin(index, Some(Arc::clone(first)));
            }
        }
        if has_waiting { Next::Wait } else { Next::Stop }
    }

    fn company_of(&self, index: usize) -> Company {
        let company = self.company.get(index / self.repeat);
        company.copied().unwrap_or(Company::Any)
    }

    fn put(&self, index: usize, outcome: Result<R, E>) {
        let mut state = self.state();
        state.running -= 1;
        state.is_one_alone = false;
        match outcome {
            Ok(result) => {
                if let Some(run) = state.runs.get_mut(index) {
                    *run = Run::Ended(Arc::new(result));
                }
            }
            // Those that are running may fail for the same reason.
            Err(failure) => drop(state.failure.get_or_insert(failure)),
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    use super::*;

    fn schedule(repeat: u32, jobs: usize) -> Schedule {
        Schedule {
            repeat,
            jobs: NonZeroUsize::new(jobs).expect("some"),
        }
    }

    #[test]
    fn results_are_in_the_order_of_the_work_with_any_number_of_jobs() {
        for jobs in [1, 2, 3, 16] {
            let batch = run(
                &["a", "b", "c"],
                &schedule(3, jobs),
                |_| Company::Any,
                |work, repetition, first: Option<&String>| {
                    assert_eq!(first.is_some(), repetition.index > 1);
                    assert!(first.is_none_or(|first| *first == format!("{work}1")));
                    Ok::<_, ()>(format!("{work}{}", repetition.index))
                },
            );
            assert!(batch.outcome.is_ok());
            let expected = ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"];
            assert_eq!(batch.results, expected, "{jobs} jobs");
        }
    }

    #[test]
    fn as_many_run_at_one_time_as_there_are_jobs_and_what_runs_alone_does() {
        // Each waits for the other: they come to an end only side by side.
        let both = Barrier::new(2);
        let running = Mutex::new((0, 0));
        let work = [
            ("a", Company::Any),
            ("b", Company::Any),
            ("c", Company::None),
            ("d", Company::Any),
        ];
        let batch = run(
            &work,
            &schedule(1, 2),
            |(_, company)| *company,
            |(name, company), _, _: Option<&()>| {
                {
                    let mut running = running.lock().expect("no panic");
                    running.0 += 1;
                    running.1 = running.0.max(running.1);
                    assert!(
                        running.0 == 1 || *company == Company::Any,
                        "{name} has company"
                    );
                }
                if matches!(*name, "a" | "b") {
                    both.wait();
                }
                running.lock().expect("no panic").0 -= 1;
                Ok::<_, ()>(())
            },
        );
        assert_eq!(batch.results.len(), 4);
        assert_eq!(running.into_inner().expect("no panic"), (0, 2));
    }

    #[test]
    fn after_a_failure_nothing_is_begun_and_what_ended_is_kept() {
        let batch = run(
            &["a", "b", "c"],
            &schedule(2, 1),
            |_| Company::Any,
            |work, repetition, _: Option<&()>| match (*work, repetition.index) {
                ("b", 2) => Err("no more memory"),
                ("c", _) => panic!("it is begun after a failure"),
                _ => Ok(()),
            },
        );
        assert_eq!(batch.results.len(), 3);
        assert_eq!(batch.outcome, Err("no more memory"));
    }

    #[test]
    fn a_panic_ends_those_that_would_wait_for_the_run() {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run(
                &["a"],
                &schedule(3, 3),
                |_| Company::Any,
                |_, _, _: Option<&()>| -> Result<(), ()> { panic!("on purpose") },
            )
        }));
        assert!(outcome.is_err());
    }
}
