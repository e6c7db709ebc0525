// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace record`: any tracer and filter, on any kernel, around any command in the guest.

mod nearest;
mod request;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow};
use deferinit_host::{Ending, check_memory};
use deferinit_protocol::{Buffer, CommandEnd, Since, Trace};
use deferinit_scenario::Clock;
use serde::Serialize;

use crate::args::{self, record::Record};
use crate::exit::{FAILED, Failure, PASSED, UNRESOLVED};
use crate::guest_files::AddedFiles;
use crate::output::Output;
use crate::pipeline::{self, Recorded, Recording};
use crate::prepare::{self, Contents, Prepared};
use crate::project::Project;
use crate::stdout::print;
use crate::{exit, insmod};

/// `record.json`: what was recorded, and what came of it.
#[derive(Serialize)]
struct Summary<'a> {
    format_version: u32,
    /// How the run ended, in one word.
    ending: &'static str,
    /// What there is to say of that.
    message: Option<String>,
    tracer: &'a str,
    command: &'a [String],
    /// None if it has not ended.
    command_end: Option<CommandEnd>,
    clock: &'static str,
    kernel: &'a str,
    machine: String,
    /// In the trace.
    records: u64,
    /// By the kernel's own count; none if the guest could not say.
    lost: Option<u64>,
    /// Files that are not whole, and how many bytes of each there are.
    cut: &'a [(String, u64)],
    trace_sha256: Option<&'a str>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Record, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let clock = match arguments.clock {
        Some(args::Clock::Exact) | None => Clock::Exact,
        Some(args::Clock::Wall) => Clock::Wall,
    };
    run_with(arguments, clock, Way::Kept, interrupted, pipeline::record)
}

/// How the trace comes out of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// When the command has ended.
    Kept,
    /// While it runs; standard output is for that.
    Streamed,
}

/// Does what is the same of all recordings: gets everything ready, lets `record` do it, and says what came of it.
pub(super) fn run_with(
    arguments: &Record,
    clock: Clock,
    way: Way,
    interrupted: Arc<AtomicBool>,
    record: impl FnOnce(&Recording<'_>, &Path) -> anyhow::Result<Recorded>,
) -> Result<u8, Failure> {
    let project = Project::find()?;
    let insmod = insmod::read(&arguments.insmod, &prepare::MODULES)?;
    let paths = insmod.iter().map(|module| module.path.clone()).collect();
    let mut request = request::of(arguments, paths).map_err(Failure::usage)?;
    request.plan.trace.streamed = way == Way::Streamed;
    let mut machine = prepare::machine(&project, &arguments.machine, clock)?;
    let devices = &mut machine.machine.devices;
    devices.extend_from_slice(&arguments.devices);
    let boot_config = arguments.bootconfig.as_deref().map(read_text).transpose()?;
    let (session, kbuild) = prepare::session(&project, Arc::clone(&interrupted))?;
    prepare::require(&session, &kbuild)?;
    let mut files = AddedFiles::default();
    files.add_shell(&session, &kbuild)?;
    for specification in &arguments.add {
        files.add(specification)?;
    }
    let tree = arguments.kernel.kernel_tree.as_deref();
    let output = Output::create(arguments.out.as_deref(), tree)?;
    let contents = Contents {
        workload: None,
        insmod,
        module_tree: None,
        files: files.into_files(),
        shell: Vec::new(),
        boot_config,
    };
    let kernel = &arguments.kernel;
    let prepared = prepare::prepare(
        &project,
        &session,
        &kbuild,
        kernel,
        contents,
        output.folder(),
    )?;
    let memory = machine.memory_of(arguments.memory, prepared.needs);
    check_memory(&machine.machine, memory, arguments.buffer_size).map_err(Failure::usage)?;
    let recording = Recording {
        prepared: &prepared,
        machine: &machine,
        clock,
        cpus: arguments.cpus,
        memory,
        trace_buffer: arguments.buffer_size,
        command_line: &request.command_line,
        plan: &request.plan,
        wall_deadline: arguments
            .wall_deadline
            .map(|time| Duration::from_nanos(time.0)),
        interrupted: &interrupted,
    };
    let folder = output.keep();
    let recorded = record(&recording, &folder).map_err(Failure::setup)?;
    let mut verdict = verdict(&recorded, &folder, &prepared);
    let gone = lost_with_the_guest(&request.plan.trace, &recorded);
    if let (Some(gone), Some(message)) = (&gone, &mut verdict.message) {
        message.push_str(&format!("; {gone}"));
    }
    let summary = Summary {
        format_version: 1,
        ending: verdict.word,
        message: verdict.message.clone(),
        tracer: &request.plan.trace.tracer,
        command: &arguments.command,
        command_end: command_end(&recorded),
        clock: pipeline::clock_word(clock),
        kernel: &prepared.release,
        machine: machine.describe_with(arguments.cpus, arguments.memory, clock, prepared.needs),
        records: recorded.records,
        lost: recorded.lost(),
        cut: &recorded.outcome.received.cut,
        trace_sha256: recorded.sha256.as_deref(),
    };
    pipeline::write_json(&folder, "record.json", &summary).map_err(Failure::setup)?;
    let trace_dat = pipeline::trace_dat_of(&folder);
    if let Some(copy) = arguments.output.as_deref().filter(|_| recorded.has_trace) {
        fs::copy(&trace_dat, copy)
            .with_context(|| format!("cannot write {}", copy.display()))
            .map_err(Failure::setup)?;
    }
    if verdict.code == exit::USAGE {
        let message = verdict.message.unwrap_or_default();
        return Err(Failure::usage(anyhow!(message)));
    }
    say(arguments, way, &recorded, &verdict, gone.is_some(), &folder)?;
    Ok(verdict.code)
}

/// How a recording is told to have ended.
struct Verdict {
    code: u8,
    word: &'static str,
    message: Option<String>,
}

fn verdict(recorded: &Recorded, folder: &Path, prepared: &Prepared) -> Verdict {
    let of = |code, word, message: String| Verdict {
        code,
        word,
        message: Some(message),
    };
    match recorded.outcome.ending.clone() {
        Ending::Complete | Ending::Stopped => match (&recorded.damage, recorded.lost()) {
            (Some(damage), _) => of(UNRESOLVED, "damaged", damage.clone()),
            (None, Some(lost)) if lost > 0 => of(
                UNRESOLVED,
                "lost",
                format!("{lost} records were lost: give it a larger --buffer-size, or trace less"),
            ),
            (None, _) => Verdict {
                code: PASSED,
                word: match recorded.outcome.ending {
                    Ending::Stopped => "stopped",
                    _ => "complete",
                },
                message: None,
            },
        },
        Ending::GuestPanic { message } => of(FAILED, "panic", message),
        Ending::GuestDeadline { waiting_for } => of(
            UNRESOLVED,
            "deadline",
            format!("the deadline passed while waiting for {waiting_for}"),
        ),
        Ending::HostDeadline { waiting_for } => of(UNRESOLVED, "host-deadline", waiting_for),
        Ending::AgentMissing => of(
            UNRESOLVED,
            "agent-missing",
            "the guest powered off without a word".to_owned(),
        ),
        Ending::AgentError { message } => of(UNRESOLVED, "agent-error", message),
        Ending::Unsupported { what, option } => of(
            UNRESOLVED,
            "unsupported",
            format!(
                "unsupported: {}",
                pipeline::unsupported(&what, option.as_deref())
            ),
        ),
        Ending::Refused { message } => of(exit::USAGE, "refused", message),
        Ending::NoFunction { file, pattern } => {
            let path = folder.join("trace/available_filter_functions");
            let available = fs::read_to_string(path).unwrap_or_default();
            let why = nearest::explain(
                &pattern,
                &available,
                &prepared.system_map,
                &prepared.build_dir,
            );
            of(
                exit::USAGE,
                "no-function",
                format!("{pattern} matches no function that can be traced ({file}): {why}"),
            )
        }
        Ending::TripleFault { during } => of(
            FAILED,
            "triple-fault",
            format!("a triple fault during {during}"),
        ),
        Ending::GuestReset { during } => of(
            UNRESOLVED,
            "guest-reset",
            format!("the guest was reset during {during}, and its kernel had not panicked"),
        ),
        Ending::QemuRefused { status } => of(
            UNRESOLVED,
            "qemu-refused",
            format!("QEMU did not start the guest: {status}"),
        ),
        Ending::QemuHung { waiting_for } => of(
            UNRESOLVED,
            "qemu-hung",
            format!("QEMU does not answer any more; the host waited for {waiting_for}"),
        ),
        Ending::DiskFull { message } => of(
            UNRESOLVED,
            "disk-full",
            format!("the disk had no room for the results: {message}"),
        ),
        Ending::HostSuspended { message } => of(
            UNRESOLVED,
            "host-suspended",
            format!("the host was suspended {message} while the guest ran on its clock"),
        ),
        Ending::QemuDied { status } => of(
            UNRESOLVED,
            "qemu-died",
            format!("QEMU ended before the guest powered off: {status}"),
        ),
        Ending::Interrupted => of(UNRESOLVED, "interrupted", "interrupted".to_owned()),
        Ending::Truncated { message } => of(UNRESOLVED, "truncated", message),
    }
}

/// What is lost, and why, if the guest ended before it handed over what its buffer holds.
fn lost_with_the_guest(trace: &Trace, recorded: &Recorded) -> Option<String> {
    match recorded.outcome.ending {
        Ending::GuestPanic { .. }
        | Ending::HostDeadline { .. }
        | Ending::AgentMissing
        | Ending::TripleFault { .. }
        | Ending::GuestReset { .. }
        | Ending::QemuDied { .. }
        | Ending::QemuHung { .. }
        | Ending::DiskFull { .. }
        | Ending::HostSuspended { .. }
        | Ending::Interrupted
        | Ending::Truncated { .. } => {}
        Ending::Complete
        // It has recorded nothing.
        | Ending::QemuRefused { .. }
        | Ending::Stopped
        | Ending::GuestDeadline { .. }
        | Ending::AgentError { .. }
        | Ending::Unsupported { .. }
        | Ending::Refused { .. }
        | Ending::NoFunction { .. } => return None,
    }
    if trace.streamed || recorded.records > 0 || recorded.lost().is_some() {
        return None;
    }
    let tracer = &trace.tracer;
    let why = match trace.buffer() {
        Buffer::Persistent => return None,
        Buffer::Private if trace.is_latency() => {
            format!("the tracer {tracer} swaps its buffer with another one at each new maximum")
        }
        Buffer::Private => {
            "snapshots, sizes of buffers and sub-buffers, and overwrite need an ordinary buffer"
                .to_owned()
        }
        Buffer::Top if trace.since == Since::BootTop => {
            "what records from the boot on, records at the top of tracefs".to_owned()
        }
        Buffer::Top => format!("the tracer {tracer} records at the top of tracefs only"),
    };
    let what = if trace.is_latency() {
        "the trace is lost, with the longest latency and its trace"
    } else {
        "the trace is lost"
    };
    Some(format!(
        "{what}: {why}, which the host cannot read, and the guest did not come to handing it over"
    ))
}

fn command_end(recorded: &Recorded) -> Option<CommandEnd> {
    let ended = recorded.outcome.received.commands.first()?;
    Some(ended.end)
}

/// Says where everything is.
fn say(
    arguments: &Record,
    way: Way,
    recorded: &Recorded,
    verdict: &Verdict,
    is_gone: bool,
    folder: &Path,
) -> Result<(), Failure> {
    let command = match command_end(recorded) {
        Some(CommandEnd::Exited(status)) => format!("exited with {status}"),
        Some(CommandEnd::Signalled(signal)) => format!("ended by signal {signal}"),
        None => "did not come to its end".to_owned(),
    };
    let lost = match recorded.lost() {
        Some(lost) => format!("{lost} lost"),
        None => "how many were lost, the guest could not say".to_owned(),
    };
    let mut lines = vec![
        format!("Command: {command}"),
        format!("Records: {}, {lost}", recorded.records),
    ];
    for (file, bytes) in &recorded.outcome.received.cut {
        lines.push(match bytes {
            0 => format!("Missing: {file}, which the kernel does not have"),
            bytes => format!("Cut:     {file} after {bytes} bytes"),
        });
    }
    if is_gone {
        lines.push("Trace:   lost with the guest".to_owned());
    } else if recorded.has_trace {
        let path = arguments
            .output
            .clone()
            .unwrap_or_else(|| pipeline::trace_dat_of(folder));
        lines.push(format!("Trace:   {}", path.display()));
    } else {
        lines.push("Trace:   none".to_owned());
    }
    lines.push(format!("Folder:  {}", folder.display()));
    if let Some(message) = &verdict.message {
        lines.push(format!("Not whole: {message}"));
    }
    let printed = fs::read_to_string(output_of(folder)).unwrap_or_default();
    if way == Way::Kept && !printed.is_empty() {
        print(printed.trim_end_matches('\n'))?;
    }
    lines.iter().for_each(exit::complain);
    Ok(())
}

/// What the command printed.
fn output_of(folder: &Path) -> PathBuf {
    folder.join("trace/output").join(request::PHASE)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::usage)
}
