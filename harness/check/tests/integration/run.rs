// SPDX-License-Identifier: GPL-2.0-only

//! Makes timelines of runs that went as planned, for tests to change.
//!
//! The usual run: phase `main`, four items. Item `i` is armed at 1.2 ms + `i` * 10 us with a delay of 50 ms +
//! `i` * 10 ms, is queued 2 ms + `i` * 100 us late, starts 20 us after that, and ends 1 ms later; its body takes
//! 900 us + `i` * 10 us. The module's init takes 300 us.

use deferinit_timeline::{
    Anomalies, Armed, Attempt, AttemptEnd, CallIntegrity, CpuIntegrity, CpuStatistics, Ending,
    Finish, FinishCause, FormatVersion, Function, FunctionSpan, InitSpan, Integrity, Item,
    ItemRecord, Moment, PhaseSpan, Queued, Reports, Returned, Timeline, TraceNanos,
};

/// Microseconds and milliseconds in nanoseconds.
pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;

/// A moment on CPU 0 in the agent, recorded 100 ns later.
pub(crate) fn moment(at: u64) -> Moment {
    Moment {
        at: TraceNanos(at),
        cpu: 0,
        pid: 50,
        recorded: TraceNanos(at + 100),
    }
}

pub(crate) fn returned(at: u64, status: i64) -> Returned {
    Returned {
        moment: moment(at),
        status,
    }
}

/// Item `id` of the usual run.
pub(crate) fn item(id: u32) -> Item {
    let i = u64::from(id);
    let (armed, delay_ns) = (1_200 * US + i * 10 * US, 50 * MS + i * 10 * MS);
    let queued = armed + delay_ns + 2 * MS + i * 100 * US;
    let started = queued + 20 * US;
    let item = Item {
        id,
        level: None,
        armed: Some(Armed {
            moment: moment(armed),
            delay_ns,
            delay_jiffies: delay_ns.div_ceil(4 * MS),
        }),
        queued: Some(Queued {
            moment: moment(queued),
            expires: 4_294_892_296 + i,
        }),
        attempts: Vec::new(),
        started: None,
        ended: None,
        cancelled: None,
    };
    run_once(item, started, started + MS)
}

/// The item, called once from `started` to `ended`, without an error.
fn run_once(mut item: Item, started: u64, ended: u64) -> Item {
    start(&mut item, started);
    end(&mut item, ended, 0);
    item
}

/// Starts the item's only attempt at `at`, whatever it did before.
pub(crate) fn start(item: &mut Item, at: u64) {
    let end = item.attempts.first().and_then(|attempt| attempt.end);
    let started = moment(at);
    item.attempts = vec![Attempt { started, end }];
    item.started = Some(started);
}

/// Ends the item's last attempt at `at` with `status`.
pub(crate) fn end(item: &mut Item, at: u64, status: i64) {
    let ended = returned(at, status);
    if let Some(attempt) = item.attempts.last_mut() {
        attempt.end = Some(AttemptEnd::Ended(ended));
    }
    item.ended = Some(ended);
}

/// Takes back what the item did since it was armed.
pub(crate) fn never_run(item: &mut Item) {
    (item.queued, item.started, item.ended) = (None, None, None);
    item.attempts.clear();
}

/// Has the item called once for each of these attempts, `(start, end)`: all but the last are retried with
/// `-EAGAIN`, the last ends.
pub(crate) fn run_again(item: &mut Item, times: &[(u64, u64)]) {
    never_run(item);
    for (at, until) in times {
        item.attempts.push(Attempt {
            started: moment(*at),
            end: Some(AttemptEnd::Retried(returned(*until, -11))),
        });
    }
    item.started = item.attempts.first().map(|attempt| attempt.started);
    if let Some((_, until)) = times.last() {
        end(item, *until, 0);
    }
}

/// The module's own record of delayed items with these names, which says nothing else of them.
pub(crate) fn record(names: &[&str]) -> Vec<ItemRecord> {
    let row = |(id, name): (u32, &&str)| ItemRecord {
        id,
        name: (*name).to_owned(),
        mode: "delayed".to_owned(),
        armed: None,
        expires: None,
        queued: None,
        started: None,
        ended: None,
        cancelled: None,
        cpu: None,
        pid: None,
        attempts: 0,
        error: None,
    };
    (0..).zip(names).map(row).collect()
}

/// Item `id` of a direct run: no delay and no queue; each starts as the one before ends.
pub(crate) fn direct_item(id: u32) -> Item {
    let at = 1_200 * US + u64::from(id) * 10 * MS;
    let item = Item {
        id,
        level: None,
        armed: Some(Armed {
            moment: moment(at),
            delay_ns: 0,
            delay_jiffies: 0,
        }),
        queued: None,
        attempts: Vec::new(),
        started: None,
        ended: None,
        cancelled: None,
    };
    run_once(item, at + US, at + 10 * MS)
}

fn call(id: u32) -> FunctionSpan {
    let called = item(id).started.map_or(0, |started| started.at.0) + 10 * US;
    let returned = called + 900 * US + u64::from(id) * 10 * US;
    FunctionSpan {
        called: TraceNanos(called),
        returned: TraceNanos(returned),
        depth: 1,
        pid: 8,
        entry_cpu: 0,
        entry_recorded: TraceNanos(called + 100),
        exit_cpu: 0,
        exit_recorded: TraceNanos(returned + 100),
        return_value: Some(0),
    }
}

/// The usual phase.
pub(crate) fn phase(name: &str) -> PhaseSpan {
    PhaseSpan {
        name: name.to_owned(),
        begin: moment(900 * US),
        first_process: None,
        load: Some(moment(1_000 * US)),
        loaded: Some(returned(1_500 * US, 0)),
        init: Some(InitSpan {
            start: moment(1_100 * US),
            finish: Some(returned(1_400 * US, 0)),
        }),
        trigger: None,
        finish: Some(Finish {
            cause: FinishCause::Done,
            moment: moment(900 * MS),
        }),
        results: None,
        unload: Some(moment(901 * MS)),
        unloaded: Some(returned(902 * MS, 0)),
        end: Some(moment(903 * MS)),
        items: (0..4).map(item).collect(),
        record: None,
        functions: vec![Function {
            name: "deferred_item_body".to_owned(),
            symbol: "deferred_item_body".to_owned(),
            module: Some("test_deferred".to_owned()),
            spans: (0..4).map(call).collect(),
        }],
        rounds: None,
        command: None,
    }
}

/// A phase that does four items of 10 ms in its init.
pub(crate) fn direct_phase(name: &str) -> PhaseSpan {
    PhaseSpan {
        init: Some(InitSpan {
            start: moment(1_050 * US),
            finish: Some(returned(41_350 * US, 0)),
        }),
        loaded: Some(returned(41_500 * US, 0)),
        items: (0..4).map(direct_item).collect(),
        functions: Vec::new(),
        ..phase(name)
    }
}

/// A phase whose load is refused with `-EINVAL`.
pub(crate) fn refused_phase(name: &str) -> PhaseSpan {
    PhaseSpan {
        init: None,
        loaded: Some(returned(1_500 * US, -22)),
        finish: None,
        unload: None,
        unloaded: None,
        items: Vec::new(),
        functions: Vec::new(),
        ..phase(name)
    }
}

/// A complete run on a whole trace.
pub(crate) fn timeline(phases: Vec<PhaseSpan>) -> Timeline {
    let statistics = CpuStatistics {
        entries: 40,
        ..CpuStatistics::default()
    };
    Timeline {
        format_version: FormatVersion,
        ending: Ending::Complete,
        trace_clock: "local".to_owned(),
        first: Some(TraceNanos(900 * US)),
        last: Some(TraceNanos(903 * MS)),
        records: 40,
        integrity: Integrity {
            cpus: vec![CpuIntegrity {
                cpu: 0,
                statistics: Some(statistics),
                decoded: 40,
                missed_marks: 0,
            }],
            damage: Vec::new(),
            damages: 0,
            calls: CallIntegrity {
                complete: 4,
                ..CallIntegrity::default()
            },
            is_unrecorded: false,
        },
        anomalies: Anomalies::default(),
        phases,
        functions: Vec::new(),
        splats: Vec::new(),
        log_lines: Vec::new(),
        log_cut: false,
        leaks: None,
        answers: Vec::new(),
        reports: Reports::default(),
    }
}
