// SPDX-License-Identifier: GPL-2.0-only

//! From the arguments of `trace record` to what the agent is told, and to parameters of the kernel.
//!
//! In: arguments. Out: a [`Plan`] and parameters; or which argument is not possible, and why. Reads no file.
//! Source: `Documentation/trace/{ftrace,events,kprobetrace,fprobetrace}.rst` and
//! `Documentation/admin-guide/kernel-parameters.txt`, Linux 7.3.

use anyhow::{Context, Result, bail, ensure};
use deferinit_protocol::{
    Command, How, Phase, PidFile, PidFilter, Plan, Scope, Setting, Since, TaskOf, TextFile, Trace,
    VERSION,
};

use crate::args::record::{Event, Record};

/// The name of the only phase.
pub(super) const PHASE: &str = "command";

/// What runs if no command is given: recording from the boot on needs none.
const NOTHING: &str = "true";

/// What a run is.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) plan: Plan,
    /// Parameters of the kernel.
    pub(super) command_line: Vec<String>,
}

/// Translates the arguments.
pub(super) fn of(arguments: &Record, modules: Vec<String>) -> Result<Recorded> {
    let kib_per_cpu = (arguments.buffer_size.0 / 1024 / u64::from(arguments.cpus.max(1))).max(1);
    let mut command_line = arguments.kernel_parameters.clone();
    let trace = if arguments.bootconfig.is_some() {
        refuse_with_boot(arguments, "--bootconfig")?;
        ensure!(
            !arms_anything(arguments),
            "--bootconfig arms everything itself: what to trace stands in its file"
        );
        command_line.push("bootconfig".to_owned());
        boot(Trace::nothing(kib_per_cpu), arguments)?
    } else if arguments.boot {
        refuse_with_boot(arguments, "--boot")?;
        command_line.extend(boot_parameters(arguments, kib_per_cpu)?);
        boot(Trace::nothing(kib_per_cpu), arguments)?
    } else {
        window(arguments, kib_per_cpu)?
    };
    let command = match arguments.command.as_slice() {
        [] if trace.since == Since::Window => {
            bail!("there is no command to record: give it after --")
        }
        [] => Command::Script(NOTHING.to_owned()),
        [script] => Command::Script(script.clone()),
        several => Command::Arguments(several.to_vec()),
    };
    Ok(Recorded {
        plan: Plan {
            version: VERSION,
            deadline_ns: arguments.deadline.0,
            modules,
            trace,
            is_built_in: false,
            phases: vec![Phase::of_command(PHASE, command)],
            leak_scan: false,
        },
        command_line,
    })
}

/// What the agent arms.
fn window(arguments: &Record, kib_per_cpu: u64) -> Result<Trace> {
    let mut trace = Trace {
        tracer: arguments.tracer.clone(),
        functions: arguments.functions.clone(),
        notrace: arguments.notrace.clone(),
        graph_functions: arguments.graph_functions.clone(),
        graph_notrace: arguments.graph_notrace.clone(),
        ..Trace::nothing(kib_per_cpu)
    };
    let settings = &mut trace.settings;
    if let Some(size) = arguments.sub_buffer_size {
        ensure!(
            size.0.is_multiple_of(1024) && size.0 > 0,
            "--sub-buffer-size {size} is no multiple of 1KiB"
        );
        let kib = (size.0 / 1024).to_string();
        settings.push(Setting::instance("buffer_subbuf_size_kb", &kib, How::Write));
    }
    if let Some(clock) = &arguments.trace_clock {
        settings.push(Setting::instance("trace_clock", clock, How::Write));
    }
    for option in &arguments.options {
        // Not by `trace_options`: that knows a tracer's own options only while it is the current one.
        let (name, value) = match option.strip_prefix("no") {
            Some(name) => (name, "0"),
            None => (option.as_str(), "1"),
        };
        let file = checked(&format!("options/{name}"))?;
        settings.push(Setting::instance(&file, value, How::Write));
    }
    if let Some(depth) = arguments.max_graph_depth {
        let depth = depth.to_string();
        settings.push(Setting::top("max_graph_depth", &depth, How::Write));
    }
    if let Some(threshold) = threshold_us(arguments)? {
        settings.push(Setting::top("tracing_thresh", &threshold, How::Write));
    }
    for definition in probes(arguments) {
        settings.push(Setting::top("dynamic_events", &definition, How::Append));
        let group = group_of(&definition);
        if !trace.events.iter().any(|event| event == group) {
            trace.events.push(group.to_owned());
        }
    }
    if !arguments.kprobes.is_empty() {
        trace.reports.push(TextFile::top("kprobe_profile"));
    }
    for event in &arguments.events.0 {
        add_event(event, &mut trace)?;
    }
    for (writes, how) in [
        (&arguments.writes, How::Write),
        (&arguments.appends, How::Append),
    ] {
        for text in writes {
            trace.settings.push(setting(text, how)?);
        }
    }
    if arguments.function_profile {
        // The profiler has a filter of its own: the top's.
        for glob in &arguments.functions {
            trace
                .settings
                .push(Setting::top("set_ftrace_filter", glob, How::Append));
        }
        trace
            .settings
            .push(Setting::top("function_profile_enabled", "1", How::Write));
        trace.reports.push(TextFile::top("trace_stat/function*"));
    }
    if arguments.stack_tracer {
        let file = "kernel/stack_tracer_enabled";
        trace
            .settings
            .push(Setting::new(Scope::Sysctl, file, "1", How::Write));
        trace
            .reports
            .extend(["stack_trace", "stack_max_size"].map(TextFile::top));
    }
    trace.pids = pids(arguments);
    add_reports(arguments, &mut trace)?;
    Ok(trace)
}

/// What the agent is told of a trace that the kernel has armed itself.
fn boot(nothing: Trace, arguments: &Record) -> Result<Trace> {
    let mut trace = Trace {
        tracer: arguments.tracer.clone(),
        since: Since::BootTop,
        ..nothing
    };
    if arguments.stack_tracer {
        trace
            .reports
            .extend(["stack_trace", "stack_max_size"].map(TextFile::top));
    }
    add_reports(arguments, &mut trace)?;
    Ok(trace)
}

fn add_reports(arguments: &Record, trace: &mut Trace) -> Result<()> {
    for text in &arguments.reports {
        let (scope, file) = scoped(text)?;
        trace.reports.push(TextFile {
            scope,
            file: checked(file)?,
        });
    }
    let snapshots = trace
        .settings
        .iter()
        .any(|setting| setting.scope == Scope::Instance && setting.text.contains("snapshot"));
    if snapshots {
        trace.reports.push(TextFile::instance("snapshot"));
    }
    Ok(())
}

/// An event with its filter and triggers.
fn add_event(event: &Event, trace: &mut Trace) -> Result<()> {
    if !trace.events.contains(&event.name) {
        trace.events.push(event.name.clone());
    }
    if event.filters.is_empty() && event.triggers.is_empty() {
        return Ok(());
    }
    // A filter of a system stands in the system's folder; a trigger needs an event.
    let folder = match event.name.split_once(':') {
        Some((system, name)) if !system.is_empty() && !name.is_empty() && name != "*" => {
            format!("events/{system}/{name}")
        }
        Some((_, "*" | "")) | None if event.triggers.is_empty() => {
            format!("events/{}", system_of(&event.name))
        }
        _ => bail!(
            "a filter or trigger needs an event as SYSTEM:EVENT before it, not {:?}",
            event.name
        ),
    };
    // Several filters of one event all hold.
    if !event.filters.is_empty() {
        let parts: Vec<String> = event
            .filters
            .iter()
            .map(|filter| format!("({filter})"))
            .collect();
        let text = match event.filters.as_slice() {
            [only] => only.clone(),
            _ => parts.join(" && "),
        };
        let file = checked(&format!("{folder}/filter"))?;
        trace
            .settings
            .push(Setting::instance(&file, &text, How::Write));
    }
    for trigger in &event.triggers {
        let file = checked(&format!("{folder}/trigger"))?;
        trace
            .settings
            .push(Setting::instance(&file, trigger, How::Append));
        if trigger.starts_with("hist:") {
            trace
                .reports
                .push(TextFile::instance(&checked(&format!("{folder}/hist"))?));
        }
    }
    Ok(())
}

fn system_of(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// The definitions of dynamic events, as the file of that name takes them.
fn probes(arguments: &Record) -> Vec<String> {
    let synthetic =
        arguments
            .synthetic
            .iter()
            .map(|definition| match definition.strip_prefix("s:") {
                Some(_) => definition.clone(),
                None => format!("s:{definition}"),
            });
    let kernel = arguments.kprobes.iter().chain(&arguments.fprobes).cloned();
    kernel.chain(synthetic).collect()
}

/// The group that a dynamic event is in (`KPROBE_EVENT_SYSTEM` and so on, `kernel/trace/trace_probe.h`).
fn group_of(definition: &str) -> &str {
    let (kind, name) = definition
        .split_whitespace()
        .next()
        .and_then(|word| word.split_once(':'))
        .unwrap_or((definition, ""));
    match name.split_once(['/', '.']) {
        Some((group, _)) => group,
        None if kind.starts_with('f') || kind.starts_with('t') => "fprobes",
        None if kind.starts_with('s') => "synthetic",
        None => "kprobes",
    }
}

fn pids(arguments: &Record) -> Vec<PidFilter> {
    let task = |text: &String| match text.parse() {
        Ok(number) => TaskOf::Number(number),
        Err(_) => TaskOf::Named(text.clone()),
    };
    let mut only: Vec<TaskOf> = arguments.pids.iter().map(task).collect();
    if arguments.command_only {
        only.push(TaskOf::Command);
    }
    let not: Vec<TaskOf> = arguments.notrace_pids.iter().map(task).collect();
    let filters = [
        (PidFile::SetFtracePid, &only),
        (PidFile::SetEventPid, &only),
        (PidFile::SetFtraceNotracePid, &not),
        (PidFile::SetEventNotracePid, &not),
    ];
    filters
        .into_iter()
        .filter(|(_, tasks)| !tasks.is_empty())
        .map(|(file, tasks)| PidFilter {
            file,
            tasks: tasks.clone(),
        })
        .collect()
}

/// The kernel counts thresholds in microseconds.
fn threshold_us(arguments: &Record) -> Result<Option<String>> {
    let Some(threshold) = arguments.threshold else {
        return Ok(None);
    };
    ensure!(
        threshold.0 >= 1000 && threshold.0.is_multiple_of(1000),
        "--threshold {threshold} is no whole number of microseconds"
    );
    Ok(Some((threshold.0 / 1000).to_string()))
}

/// `[SCOPE:]FILE=TEXT`.
fn setting(text: &str, how: How) -> Result<Setting> {
    let (file, value) = text
        .split_once('=')
        .with_context(|| format!("{text:?} has no = between file and text"))?;
    let (scope, file) = scoped(file)?;
    Ok(Setting::new(scope, &checked(file)?, value, how))
}

/// `[SCOPE:]FILE`.
fn scoped(text: &str) -> Result<(Scope, &str)> {
    let Some((word, file)) = text.split_once(':') else {
        return Ok((Scope::Instance, text));
    };
    let all = [Scope::Instance, Scope::Top, Scope::Sysctl, Scope::Sysfs];
    match all.into_iter().find(|scope| scope.word() == word) {
        Some(scope) => Ok((scope, file)),
        None => bail!(
            "{text:?} has the scope {word:?}, allowed are {}",
            all.map(Scope::word).join(", ")
        ),
    }
}

/// A file's path that stays below its folder.
fn checked(file: &str) -> Result<String> {
    let is_plain = file
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\0'));
    ensure!(
        is_plain,
        "{file:?} is no path of a file: it is relative, with no empty part and none that begins with a dot"
    );
    Ok(file.to_owned())
}

fn arms_anything(arguments: &Record) -> bool {
    let Record {
        tracer,
        events,
        functions,
        notrace,
        graph_functions,
        graph_notrace,
        max_graph_depth,
        threshold,
        options,
        trace_clock,
        kprobes,
        stack_tracer,
        ..
    } = arguments;
    tracer != "nop"
        || !events.0.is_empty()
        || [
            functions,
            notrace,
            graph_functions,
            graph_notrace,
            options,
            kprobes,
        ]
        .iter()
        .any(|given| !given.is_empty())
        || max_graph_depth.is_some()
        || threshold.is_some()
        || trace_clock.is_some()
        || *stack_tracer
}

/// What the kernel has no parameter for.
fn refuse_with_boot(arguments: &Record, how: &str) -> Result<()> {
    let refused = [
        (!arguments.pids.is_empty(), "--pid"),
        (!arguments.notrace_pids.is_empty(), "--notrace-pid"),
        (arguments.command_only, "--command-only"),
        (!arguments.fprobes.is_empty(), "--fprobe"),
        (!arguments.synthetic.is_empty(), "--synthetic"),
        (arguments.function_profile, "--function-profile"),
        // `noboot` (`kernel/trace/trace_mmiotrace.c`).
        (arguments.tracer == "mmiotrace", "--tracer mmiotrace"),
        (arguments.sub_buffer_size.is_some(), "--sub-buffer-size"),
        (!arguments.writes.is_empty(), "--write"),
        (!arguments.appends.is_empty(), "--append"),
        (
            arguments
                .events
                .0
                .iter()
                .any(|event| !event.filters.is_empty()),
            "--filter",
        ),
    ];
    match refused.iter().find(|(is_given, _)| *is_given) {
        Some((_, name)) => {
            bail!("{how} cannot be combined with {name}, which is set after the boot")
        }
        None => Ok(()),
    }
}

/// The parameters with which the kernel arms itself.
fn boot_parameters(arguments: &Record, kib_per_cpu: u64) -> Result<Vec<String>> {
    let mut parameters = vec![format!("trace_buf_size={kib_per_cpu}K")];
    if arguments.tracer != "nop" {
        parameters.push(format!("ftrace={}", arguments.tracer));
    }
    for (name, values) in [
        ("ftrace_filter", &arguments.functions),
        ("ftrace_notrace", &arguments.notrace),
        ("ftrace_graph_filter", &arguments.graph_functions),
        ("ftrace_graph_notrace", &arguments.graph_notrace),
        ("trace_options", &arguments.options),
    ] {
        if !values.is_empty() {
            parameters.push(format!("{name}={}", values.join(",")));
        }
    }
    if let Some(depth) = arguments.max_graph_depth {
        parameters.push(format!("ftrace_graph_max_depth={depth}"));
    }
    if let Some(threshold) = threshold_us(arguments)? {
        parameters.push(format!("tracing_thresh={threshold}"));
    }
    if let Some(clock) = &arguments.trace_clock {
        parameters.push(format!("trace_clock={clock}"));
    }
    if arguments.stack_tracer {
        parameters.push("stacktrace".to_owned());
    }
    let mut events: Vec<&str> = Vec::new();
    for definition in &arguments.kprobes {
        // Its words are separated by commas, as blanks separate parameters.
        let words: Vec<&str> = definition.split_whitespace().collect();
        parameters.push(format!("kprobe_event={}", words.join(",")));
        events.push(group_of(definition));
    }
    let mut triggers = Vec::new();
    for event in &arguments.events.0 {
        events.push(&event.name);
        for trigger in &event.triggers {
            let name = event.name.rsplit(':').next().unwrap_or(&event.name);
            triggers.push(format!("{name}.{trigger}"));
        }
    }
    events.sort_unstable();
    events.dedup();
    if !events.is_empty() {
        parameters.push(format!("trace_event={}", events.join(",")));
    }
    if !triggers.is_empty() {
        parameters.push(format!("trace_trigger={}", triggers.join(",")));
    }
    parameters
        .into_iter()
        .map(|parameter| quoted(&parameter))
        .collect()
}

/// A parameter as the kernel's command line takes it (`next_arg()`, `lib/cmdline.c`).
fn quoted(parameter: &str) -> Result<String> {
    ensure!(
        !parameter.contains('"'),
        "{parameter} has a quotation mark in it, which cannot stand on the kernel's command line"
    );
    Ok(if parameter.contains(char::is_whitespace) {
        format!("\"{parameter}\"")
    } else {
        parameter.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use deferinit_protocol::Buffer;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        record: Record,
    }

    fn parse(line: &[&str]) -> Record {
        let words = ["record"].iter().chain(line);
        Line::try_parse_from(words).expect("valid").record
    }

    fn recorded(line: &[&str]) -> Recorded {
        of(&parse(line), Vec::new()).expect("possible")
    }

    fn refused(line: &[&str], part: &str) {
        let error = of(&parse(line), Vec::new()).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }

    #[test]
    fn one_word_is_a_script_and_several_are_arguments() {
        for (line, command) in [
            (&["--", "a | b"][..], Command::Script("a | b".to_owned())),
            (
                &["--", "ls", "-l"],
                Command::Arguments(vec!["ls".to_owned(), "-l".to_owned()]),
            ),
            (&["--boot"], Command::Script("true".to_owned())),
        ] {
            let plan = recorded(line).plan;
            let phase = plan.phases.first().expect("a phase");
            assert_eq!(phase.command, Some(command), "{line:?}");
        }
        refused(&[], "no command");
    }

    #[test]
    fn arguments_become_settings_in_the_order_that_the_kernel_needs() {
        let plan = recorded(&[
            "-C",
            "mono",
            "-O",
            "stacktrace",
            "--kprobe",
            "p:mine/x vfs_read",
            "-e",
            "mine:x",
            "-f",
            "a",
            "-f",
            "b",
            "-R",
            "stacktrace:3",
            "--threshold",
            "5us",
            "--",
            "true",
        ])
        .plan;
        let texts: Vec<String> = plan
            .trace
            .settings
            .iter()
            .map(|Setting { file, text, .. }| format!("{file} {text}"))
            .collect();
        assert_eq!(
            texts,
            [
                "trace_clock mono",
                "options/stacktrace 1",
                "tracing_thresh 5",
                "dynamic_events p:mine/x vfs_read",
                "events/mine/x/filter (a) && (b)",
                "events/mine/x/trigger stacktrace:3",
            ]
        );
        assert_eq!(plan.trace.events, ["mine", "mine:x"]);
        assert_eq!(plan.trace.buffer(), Buffer::Persistent);
    }

    #[test]
    fn what_swaps_buffers_leaves_the_persistent_one_and_is_reported() {
        let trace = recorded(&["-e", "a:b", "-R", "snapshot:1", "--", "true"])
            .plan
            .trace;
        assert_eq!(trace.buffer(), Buffer::Private);
        assert_eq!(trace.reports, [TextFile::instance("snapshot")]);
        let trace = recorded(&["-e", "a:b", "-R", "hist:keys=c", "--", "true"])
            .plan
            .trace;
        assert_eq!(trace.reports, [TextFile::instance("events/a/b/hist")]);
    }

    #[test]
    fn dynamic_events_are_in_the_group_that_they_name() {
        for (definition, group) in [
            ("p:grp/name func", "grp"),
            ("p:name func", "kprobes"),
            ("r10 func", "kprobes"),
            ("p func+0x10", "kprobes"),
            ("f:name func%return", "fprobes"),
            ("f func", "fprobes"),
            ("s:lat u64 ns", "synthetic"),
        ] {
            assert_eq!(group_of(definition), group, "{definition}");
        }
    }

    #[test]
    fn recording_from_the_boot_on_stands_on_the_command_line() {
        let Recorded { plan, command_line } = recorded(&[
            "--boot",
            "-p",
            "function",
            "-l",
            "a*",
            "-l",
            "b",
            "-e",
            "sched:sched_switch",
            "-R",
            "stacktrace if prev_state == 2",
            "--kprobe",
            "p:k vfs_read $arg1",
            "--threshold",
            "10us",
            "-b",
            "8MiB",
        ]);
        assert_eq!(plan.trace.since, Since::BootTop);
        assert_eq!(
            command_line,
            [
                "trace_buf_size=8192K",
                "ftrace=function",
                "ftrace_filter=a*,b",
                "tracing_thresh=10",
                "kprobe_event=p:k,vfs_read,$arg1",
                "trace_event=kprobes,sched:sched_switch",
                "\"trace_trigger=sched_switch.stacktrace if prev_state == 2\"",
            ]
        );
    }

    #[test]
    fn what_is_not_possible_is_named() {
        for (line, part) in [
            (&["--boot", "-F"][..], "--command-only"),
            (&["--boot", "-p", "mmiotrace"], "--tracer mmiotrace"),
            (&["--boot", "-e", "a", "-f", "b"], "--filter"),
            (
                &["--bootconfig", "x", "-p", "function"],
                "stands in its file",
            ),
            (&["--write", "top:../x=1", "--", "a"], "no path of a file"),
            (
                &["--write", "up:x=1", "--", "a"],
                "allowed are instance, top",
            ),
            (&["--write", "x", "--", "a"], "no ="),
            (
                &["-e", "sched", "-R", "traceoff", "--", "a"],
                "SYSTEM:EVENT",
            ),
            (&["--threshold", "1500ns", "--", "a"], "microseconds"),
            (
                &["--sub-buffer-size", "1000B", "--", "a"],
                "multiple of 1KiB",
            ),
            (&["--boot", "-l", "a\"b"], "quotation mark"),
        ] {
            refused(line, part);
        }
    }
}
