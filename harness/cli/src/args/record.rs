// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `deferinit trace record`, as they are typed.
//!
//! Short names are those of `trace-cmd record` where it has the same; `trace-cmd-record(1)`, 3.1.6.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use deferinit_scenario::{Bytes, Nanos};

use super::{Clock, KernelChoice};

/// Record a trace of a command in a guest
///
/// Boots a kernel in a QEMU VM, arms ftrace as the arguments say, runs the command, and leaves a folder with
/// trace/trace.dat. Nothing of the recording runs in the guest meanwhile.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Record {
    /// Trace with this tracer: function, function_graph, wakeup, wakeup_rt, wakeup_dl, irqsoff, preemptoff,
    /// preemptirqsoff, blk, mmiotrace, nop
    #[arg(
        short = 'p',
        long,
        value_name = "TRACER",
        default_value = "nop",
        hide_default_value = true
    )]
    pub(crate) tracer: String,

    #[command(flatten)]
    pub(crate) events: Events,

    /// Trace functions that match this glob only
    #[arg(short = 'l', long = "function", value_name = "GLOB")]
    pub(crate) functions: Vec<String>,

    /// Do not trace functions that match this glob
    #[arg(short = 'n', long, value_name = "GLOB")]
    pub(crate) notrace: Vec<String>,

    /// With function_graph, trace functions that match this glob and what they call
    #[arg(short = 'g', long = "graph-function", value_name = "GLOB")]
    pub(crate) graph_functions: Vec<String>,

    /// With function_graph, trace neither functions that match this glob nor what they call
    #[arg(long, alias = "nofunc-graph", value_name = "GLOB")]
    pub(crate) graph_notrace: Vec<String>,

    /// With function_graph, trace calls this deep
    #[arg(long, value_name = "N")]
    pub(crate) max_graph_depth: Option<u32>,

    /// Trace what takes longer than this only: calls with function_graph, latencies with the latency tracers
    #[arg(long, value_name = "TIME")]
    pub(crate) threshold: Option<Nanos>,

    /// Trace this task only: a number, or the name of tasks that are there before the command runs (ksoftirqd/*)
    #[arg(
        short = 'P',
        long = "pid",
        value_name = "PID|NAME",
        allow_hyphen_values = true
    )]
    pub(crate) pids: Vec<String>,

    /// Do not trace this task
    #[arg(long = "notrace-pid", value_name = "PID|NAME")]
    pub(crate) notrace_pids: Vec<String>,

    /// Trace the command and its children only
    #[arg(short = 'F', long)]
    pub(crate) command_only: bool,

    /// Set this option of ftrace: stacktrace, nosleep-time, irq-info, ..
    #[arg(short = 'O', long = "option", value_name = "OPTION")]
    pub(crate) options: Vec<String>,

    /// Take time stamps from this clock: local, global, mono, boot, x86-tsc, ..
    #[arg(short = 'C', long, value_name = "CLOCK")]
    pub(crate) trace_clock: Option<String>,

    /// Buffer for all CPUs together
    #[arg(short = 'b', long, value_name = "SIZE", default_value = "64MiB")]
    pub(crate) buffer_size: Bytes,

    /// Sub-buffers of this size instead of a page
    #[arg(long, value_name = "SIZE")]
    pub(crate) sub_buffer_size: Option<Bytes>,

    /// Record this probe: `p[:[GROUP/]EVENT] FUNCTION[+OFFSET] [ARGUMENTS]`, or r for returns
    #[arg(long = "kprobe", value_name = "DEFINITION")]
    pub(crate) kprobes: Vec<String>,

    /// Record this probe of a function: `f[:[GROUP/]EVENT] FUNCTION[%return] [ARGUMENTS]`
    #[arg(long = "fprobe", value_name = "DEFINITION")]
    pub(crate) fprobes: Vec<String>,

    /// Make this synthetic event: `NAME TYPE FIELD[; TYPE FIELD]`; a hist trigger fills it
    #[arg(long = "synthetic", value_name = "DEFINITION")]
    pub(crate) synthetic: Vec<String>,

    /// Count calls and time of the functions that --function matches, per CPU
    #[arg(long)]
    pub(crate) function_profile: bool,

    /// Find the deepest stack
    #[arg(long)]
    pub(crate) stack_tracer: bool,

    /// Write TEXT to a file before recording begins. SCOPE: instance (the one that records), top (of tracefs), sysctl
    /// (/proc/sys) or sysfs
    #[arg(long = "write", value_name = "[SCOPE:]FILE=TEXT")]
    pub(crate) writes: Vec<String>,

    /// The same, without taking away what stands there
    #[arg(long = "append", value_name = "[SCOPE:]FILE=TEXT")]
    pub(crate) appends: Vec<String>,

    /// Keep this text of the kernel's, as it is after the command: trace, events/S/E/hist, trace_stat/function*, ..
    #[arg(long = "report", value_name = "[SCOPE:]FILE")]
    pub(crate) reports: Vec<String>,

    /// Record from the boot on, armed by the kernel's command line
    #[arg(long)]
    pub(crate) boot: bool,

    /// Record from the boot on, armed by this boot config
    #[arg(long, value_name = "FILE", conflicts_with = "boot")]
    pub(crate) bootconfig: Option<PathBuf>,

    /// The machine, of those in vm/machines
    #[arg(long, value_name = "NAME", default_value = "x86_64")]
    pub(crate) machine: String,

    /// Its CPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) cpus: u32,

    /// Its RAM [default: the machine's]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,

    /// Its clock [default: exact; of a live trace, wall]
    #[arg(long, value_enum)]
    pub(crate) clock: Option<Clock>,

    /// Add this device to it, as QEMU's -device takes it: virtio-rng-device,bus=virtio-mmio-bus.0
    #[arg(long = "device", value_name = "DEVICE")]
    pub(crate) devices: Vec<String>,

    /// A further parameter of the kernel
    #[arg(
        long = "kernel-parameter",
        value_name = "PARAMETER",
        allow_hyphen_values = true
    )]
    pub(crate) kernel_parameters: Vec<String>,

    /// How long the command may take in the guest's time
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) deadline: Nanos,

    /// How long the whole may take in the host's time [default: the machine's]
    #[arg(long, value_name = "TIME")]
    pub(crate) wall_deadline: Option<Nanos>,

    /// Load this module before recording begins; give it again for more, in their order
    #[arg(long, value_name = "FILE.ko")]
    pub(crate) insmod: Vec<PathBuf>,

    /// Put this program or file of the host into the guest, with the shared libraries it needs [default place: /bin]
    #[arg(long, value_name = "HOSTFILE[:GUESTPATH]")]
    pub(crate) add: Vec<String>,

    /// Copy the trace to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Put the run's folder here, which must not exist or be empty [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) kernel: KernelChoice,

    /// What is run in the guest: one word is a script for its shell, several are a program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

const AFTER_HELP: &str = "\
Examples:
  deferinit trace record -p function_graph -g ksys_write -- 'echo hello > /dev/null'
  deferinit trace record -e sched:sched_switch -f 'prev_pid != 0' --cpus 2 -- 'sleep 1'
  deferinit trace record -p irqsoff -- 'ls -R /proc > /dev/null'

Exit codes, besides those of deferinit:
  0    the trace is whole, whatever the command's exit status
  100  the guest's kernel panicked
  102  records were lost, or the guest did not come to the command's end; what there is, is in the folder";

/// The events, each with the filter and the triggers that follow it.
#[derive(Debug, Default)]
pub(crate) struct Events(pub(crate) Vec<Event>);

/// An event, and what stands after it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// As `-e` has it.
    pub(crate) name: String,
    /// As `-f` has it.
    pub(crate) filters: Vec<String>,
    /// As `-R` has it.
    pub(crate) triggers: Vec<String>,
}

impl Args for Events {
    fn augment_args(command: Command) -> Command {
        let arg = |name: &'static str, short: char, value: &'static str, help: &'static str| {
            Arg::new(name)
                .short(short)
                .long(name)
                .value_name(value)
                .action(ArgAction::Append)
                .help(help)
        };
        command
            .arg(arg(
                "event",
                'e',
                "EVENT",
                "Record this event: SYSTEM:EVENT, EVENT, or SYSTEM for all of its events",
            ))
            .arg(
                arg(
                    "filter",
                    'f',
                    "FILTER",
                    "Record the event before this only where its fields are so: 'prio < 100'",
                )
                .requires("event"),
            )
            .arg(
                arg(
                    "trigger",
                    'R',
                    "TRIGGER",
                    "What the event before this triggers: traceoff:1, snapshot, stacktrace, hist:keys=.., ..",
                )
                .requires("event"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Events {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given: Vec<(usize, &str, &String)> = Vec::new();
        for name in ["event", "filter", "trigger"] {
            let indices = matches.indices_of(name).into_iter().flatten();
            let values = matches.get_many::<String>(name).into_iter().flatten();
            given.extend(indices.zip(values).map(|(at, value)| (at, name, value)));
        }
        given.sort_unstable_by_key(|(at, ..)| *at);
        let mut events: Vec<Event> = Vec::new();
        for (_, kind, value) in given {
            if kind == "event" {
                events.push(Event {
                    name: value.clone(),
                    ..Event::default()
                });
                continue;
            }
            let Some(event) = events.last_mut() else {
                return Err(clap::Error::raw(
                    clap::error::ErrorKind::MissingRequiredArgument,
                    format!("--{kind} {value}: there is no --event before it\n"),
                ));
            };
            match kind {
                "filter" => event.filters.push(value.clone()),
                _ => event.triggers.push(value.clone()),
            }
        }
        Ok(Self(events))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        record: Record,
    }

    #[test]
    fn filters_and_triggers_belong_to_the_event_before_them() {
        let line = [
            "record",
            "-e",
            "a:b",
            "-f",
            "x < 1",
            "-R",
            "traceoff",
            "-e",
            "c",
            "-R",
            "hist:keys=y",
            "--",
            "true",
        ];
        let Events(events) = Line::try_parse_from(line).expect("valid").record.events;
        let event = |name: &str, filters: &[&str], triggers: &[&str]| Event {
            name: name.to_owned(),
            filters: filters.iter().map(|&text| text.to_owned()).collect(),
            triggers: triggers.iter().map(|&text| text.to_owned()).collect(),
        };
        assert_eq!(
            events,
            [
                event("a:b", &["x < 1"], &["traceoff"]),
                event("c", &[], &["hist:keys=y"])
            ]
        );
        let error = Line::try_parse_from(["record", "-f", "x", "-e", "a"]).expect_err("no event");
        assert!(
            error.to_string().contains("no --event before it"),
            "{error}"
        );
    }
}
