// SPDX-License-Identifier: GPL-2.0-only

//! From what a scenario wants to be recorded to files of tracefs and what is written to them.
//!
//! In: a scenario. Out: a [`Trace`] of the protocol.
//! Does not decide which buffer records ([`Trace::buffer`]) or which functions a glob matches (the kernel).
//! Source: `Documentation/trace/ftrace.rst`, `kernel/trace/`, Linux 7.3.

use deferinit_protocol::{How, PidFile, PidFilter, Scope, Setting, Since, TaskOf, TextFile, Trace};
use deferinit_scenario as scenario;
use deferinit_scenario::{Scenario, TaskChoice, Tracer};

/// Translates what is recorded.
pub(crate) fn trace(scenario: &Scenario) -> Trace {
    let wanted = &scenario.trace;
    let cpus = u64::from(scenario.machine.cpus.max(1));
    let takes_functions = wanted.tracer.takes_functions();
    let globs = |globs: &[String]| {
        if takes_functions {
            globs.to_vec()
        } else {
            Vec::new()
        }
    };
    Trace {
        tracer: wanted.tracer.as_str().to_owned(),
        functions: globs(&wanted.functions),
        notrace: globs(&wanted.not_functions),
        graph_functions: wanted.graph_functions.clone(),
        graph_notrace: wanted.not_graph_functions.clone(),
        settings: settings(wanted),
        events: events(scenario),
        pids: pids(wanted),
        reports: reports(wanted),
        since: match wanted.since {
            _ if scenario.is_built_in() => Since::BootInstance,
            // The instance at a fixed place has no tracers before tracefs is there (`add_tracer()`, `kernel/trace/trace.c`).
            scenario::Since::Boot => Since::BootTop,
            scenario::Since::Phase => Since::Window,
        },
        ..Trace::nothing((wanted.buffer.0 / 1024 / cpus).max(1))
    }
}

/// The events that are enabled, each once.
fn events(scenario: &Scenario) -> Vec<String> {
    // Where no module is loaded, what is recorded is what the scenario asks for and nothing else.
    let has_module = scenario.phases.iter().any(|phase| phase.command.is_none());
    let of_the_module = scenario::Trace::OF_THE_MODULE
        .into_iter()
        .filter(|_| has_module);
    let mut events: Vec<String> = Vec::new();
    for event in of_the_module.chain(scenario.trace.events_recorded()) {
        if !events.iter().any(|other| other == event) {
            events.push(event.to_owned());
        }
    }
    events
}

/// What is written, in an order in which each thing exists when it is named.
fn settings(wanted: &scenario::Trace) -> Vec<Setting> {
    let mut settings = Vec::new();
    if wanted.clock != scenario::TraceClock::Local {
        settings.push(Setting::instance(
            "trace_clock",
            wanted.clock.as_str(),
            How::Write,
        ));
    }
    if let Some(size) = wanted.sub_buffer {
        let kib = (size.0 / 1024).to_string();
        settings.push(Setting::instance("buffer_subbuf_size_kb", &kib, How::Write));
    }
    for probe in &wanted.probes {
        settings.push(Setting::top("dynamic_events", &probe.text, How::Append));
    }
    for event in &wanted.synthetic {
        settings.push(Setting::top("synthetic_events", &event.text, How::Append));
    }
    settings.extend(options(wanted));
    if let Some(threshold) = wanted.threshold {
        let microseconds = (threshold.0 / 1_000).to_string();
        settings.push(Setting::top("tracing_thresh", &microseconds, How::Write));
    }
    if let Some(depth) = wanted.graph_depth {
        settings.push(Setting::top(
            "max_graph_depth",
            &depth.to_string(),
            How::Write,
        ));
    }
    for choice in &wanted.events {
        let folder = format!("events/{}", choice.event.replace(':', "/"));
        if let Some(filter) = &choice.filter {
            let file = format!("{folder}/filter");
            settings.push(Setting::instance(&file, filter, How::Write));
        }
        for trigger in &choice.triggers {
            let file = format!("{folder}/trigger");
            settings.push(Setting::instance(&file, trigger, How::Append));
        }
    }
    for trigger in &wanted.function_triggers {
        settings.push(Setting::instance("set_ftrace_filter", trigger, How::Append));
    }
    if wanted.function_profile {
        // The profiler is one for all instances, and takes the filter at the top.
        for glob in &wanted.functions {
            settings.push(Setting::top("set_ftrace_filter", glob, How::Append));
        }
        for glob in &wanted.not_functions {
            settings.push(Setting::top("set_ftrace_notrace", glob, How::Append));
        }
        settings.push(Setting::top("function_profile_enabled", "1", How::Write));
    }
    if wanted.stack_trace {
        settings.push(Setting::top("stack_max_size", "0", How::Write));
        settings.push(Setting::new(
            Scope::Sysctl,
            "kernel/stack_tracer_enabled",
            "1",
            How::Write,
        ));
    }
    settings
}

/// The options that are set. A latency tracer shows the functions within a latency by default: all of them, unless some
/// are named, which would take more time than what it looks for.
fn options(wanted: &scenario::Trace) -> impl Iterator<Item = Setting> {
    let shows_functions = !wanted.functions.is_empty() || !wanted.not_functions.is_empty();
    let is_quiet = wanted.tracer.is_latency() && !shows_functions;
    let quiet = is_quiet.then_some(("function-trace", "0"));
    let named = wanted
        .options
        .iter()
        .map(|option| match option.strip_prefix("no") {
            Some(name) => (name, "0"),
            None => (option.as_str(), "1"),
        });
    quiet
        .into_iter()
        .chain(named)
        .map(|(name, value)| Setting::instance(&format!("options/{name}"), value, How::Write))
}

fn pids(wanted: &scenario::Trace) -> Vec<PidFilter> {
    let lists = [
        (PidFile::SetFtracePid, &wanted.pids),
        (PidFile::SetFtraceNotracePid, &wanted.not_pids),
        (PidFile::SetEventPid, &wanted.event_pids),
        (PidFile::SetEventNotracePid, &wanted.not_event_pids),
    ];
    lists
        .into_iter()
        .filter(|(_, tasks)| !tasks.is_empty())
        .map(|(file, tasks)| PidFilter {
            file,
            tasks: tasks.iter().map(task).collect(),
        })
        .collect()
}

fn task(choice: &TaskChoice) -> TaskOf {
    match choice {
        // A pid is at most 2^22.
        TaskChoice::Pid(pid) => TaskOf::Number(i32::try_from(*pid).unwrap_or(i32::MAX)),
        TaskChoice::Command => TaskOf::Command,
        TaskChoice::Named(name) => TaskOf::Named(name.clone()),
    }
}

/// The texts of the kernel that expectations are judged by.
fn reports(wanted: &scenario::Trace) -> Vec<TextFile> {
    let mut reports = Vec::new();
    if wanted.tracer.is_latency() {
        reports.push(TextFile::instance("tracing_max_latency"));
        reports.push(TextFile::instance("trace"));
    }
    if wanted.tracer == Tracer::Mmiotrace {
        reports.push(TextFile::instance("trace"));
    }
    if wanted.function_profile {
        reports.push(TextFile::top("trace_stat/function*"));
    }
    if wanted.stack_trace {
        reports.push(TextFile::top("stack_max_size"));
        reports.push(TextFile::top("stack_trace"));
    }
    for choice in &wanted.events {
        if wanted.has_histogram(&choice.event) {
            let file = format!("events/{}/hist", choice.event.replace(':', "/"));
            reports.push(TextFile::instance(&file));
        }
    }
    if wanted.takes_snapshots() {
        reports.push(TextFile::instance("snapshot"));
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(trace: &str, phase: &str) -> Trace {
        let text = format!(
            "summary: x\nmachine: {{ cpus: 2 }}\ntrace: {{ {trace} }}\n{phase}\nexpect: [log: {{ contains: x, equals: 0 }}]\n"
        );
        let scenario = scenario::parse("x", text.as_bytes());
        super::trace(&scenario.expect("a valid scenario"))
    }

    #[track_caller]
    fn check(trace: &str, settings: &[(Scope, &str, &str)], reports: &[&str]) {
        let trace = of(trace, "command: echo");
        let written: Vec<(Scope, &str, &str)> = trace
            .settings
            .iter()
            .map(|setting| (setting.scope, setting.file.as_str(), setting.text.as_str()))
            .collect();
        assert_eq!(written, settings);
        let read: Vec<&str> = trace
            .reports
            .iter()
            .map(|report| report.file.as_str())
            .collect();
        assert_eq!(read, reports);
    }

    #[test]
    fn each_key_is_written_where_the_kernel_takes_it() {
        use Scope::{Instance, Sysctl, Top};
        check("tracer: nop", &[], &[]);
        check(
            "clock: mono, sub-buffer: 8KiB, threshold: 100us, graph-depth: 2",
            &[
                (Instance, "trace_clock", "mono"),
                (Instance, "buffer_subbuf_size_kb", "8"),
                (Top, "tracing_thresh", "100"),
                (Top, "max_graph_depth", "2"),
            ],
            &[],
        );
        check(
            "probes: ['p:a f'], synthetic: ['lat u64 l'], options: [stacktrace, nosleep-time], \
             events: [{ event: 's:e', filter: x == 1, triggers: ['hist:keys=x', 'snapshot:1'] }], \
             function-triggers: ['g:traceoff:1']",
            &[
                (Top, "dynamic_events", "p:a f"),
                (Top, "synthetic_events", "lat u64 l"),
                (Instance, "options/stacktrace", "1"),
                (Instance, "options/sleep-time", "0"),
                (Instance, "events/s/e/filter", "x == 1"),
                (Instance, "events/s/e/trigger", "hist:keys=x"),
                (Instance, "events/s/e/trigger", "snapshot:1"),
                (Instance, "set_ftrace_filter", "g:traceoff:1"),
            ],
            &["events/s/e/hist", "snapshot"],
        );
        check(
            "tracer: nop, functions: ['vfs_*'], function-profile: true, stack-trace: true",
            &[
                (Top, "set_ftrace_filter", "vfs_*"),
                (Top, "function_profile_enabled", "1"),
                (Top, "stack_max_size", "0"),
                (Sysctl, "kernel/stack_tracer_enabled", "1"),
            ],
            &["trace_stat/function*", "stack_max_size", "stack_trace"],
        );
        check(
            "tracer: irqsoff",
            &[(Instance, "options/function-trace", "0")],
            &["tracing_max_latency", "trace"],
        );
        check(
            "tracer: irqsoff, functions: ['*lock*']",
            &[],
            &["tracing_max_latency", "trace"],
        );
    }

    #[test]
    fn functions_and_tasks_are_those_of_the_tracer() {
        let trace = of(
            "tracer: function, functions: [a], not-functions: [b], pids: [command, 7], not-event-pids: [sh]",
            "command: echo",
        );
        assert_eq!(
            (trace.functions, trace.notrace),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        let pids = |file, tasks| PidFilter { file, tasks };
        assert_eq!(
            trace.pids,
            [
                pids(
                    PidFile::SetFtracePid,
                    vec![TaskOf::Command, TaskOf::Number(7)]
                ),
                pids(
                    PidFile::SetEventNotracePid,
                    vec![TaskOf::Named("sh".to_owned())]
                ),
            ]
        );
        // For the profiler only: the instance records none.
        let trace = of(
            "tracer: nop, functions: [a], function-profile: true",
            "command: echo",
        );
        assert_eq!(trace.functions, Vec::<String>::new());
    }

    #[test]
    fn what_is_defined_is_recorded_and_the_modules_events_only_with_the_module() {
        let keys = "tracer: nop, events: [sched, 'kprobes:a'], probes: ['p:a f']";
        assert_eq!(of(keys, "command: echo").events, ["sched", "kprobes:a"]);
        let events = of(keys, "workload: { mode: direct, items: 1 }").events;
        let (ours, rest) = events
            .split_at_checked(scenario::Trace::OF_THE_MODULE.len())
            .expect("ours come first");
        assert_eq!(ours, scenario::Trace::OF_THE_MODULE);
        assert_eq!(rest, ["sched", "kprobes:a"]);
    }
}
