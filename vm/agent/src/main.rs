// SPDX-License-Identifier: GPL-2.0-only

//! PID 1 of the guest: loads the module or runs commands, arms ftrace, runs the plan, sends results, powers off.
//!
//! In: the plan, from fw_cfg. Out: frames on the result port, and markers in the trace. It knows no
//! scenario and judges nothing. While the measured window is open, it sends only which phase begins
//! and where the module lies, unless the trace is to be streamed. Run by hand, it sends a trace of any machine: see `send`.

mod commands;
mod events;
mod files;
mod guest;
mod host;
mod phases;
mod pipe;
mod refusal;
mod results;
mod rounds;
mod send;
mod settings;
mod streaming;
mod tasks;
mod tracing;

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use deferinit_protocol::{EVENTS_MODULE_PATH, FileKind, Message, PhaseEnd, Plan, Since};

use crate::commands::Held;
use crate::host::Host;
use crate::phases::Step;
use crate::refusal::Refusal;
use crate::results::Results;
use crate::streaming::Streaming;
use crate::tracing::Instance;

/// What there is to say of each phase, kept until the window is closed.
type Records = Vec<(FileKind, Vec<u8>)>;

fn main() -> ExitCode {
    if let Some(code) = commands::pass_gate() {
        return code;
    }
    if std::process::id() != 1 {
        return send::main();
    }
    // The result of a run that could not even open its port is the console log.
    if let Err(error) = run() {
        eprintln!("deferinit-agent: {error:#}");
    }
    guest::power_off();
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    guest::mount_file_systems()?;
    let (mut results, incoming) = Results::open()?;
    let mut host = Host::new(incoming);
    if let Err(error) = run_plan(&mut results, &mut host) {
        if let Some(Refusal::NoFunction { .. }) = error.downcast_ref() {
            let available = format!("{}/available_filter_functions", settings::TRACEFS);
            results.send_file(FileKind::AvailableFunctions, &available)?;
        }
        results.send(&refusal::last_message(&error))?;
    }
    host.wait();
    Ok(())
}

fn run_plan(results: &mut Results, host: &mut Host) -> Result<()> {
    let plan = guest::read_plan()?;
    let instance = Instance::find_or_create(&plan)?;
    if plan.is_built_in {
        // At once: this is what says when the first process runs.
        for phase in &plan.phases {
            phases::begin(&phase.name, &mut instance.markers()?)?;
        }
    }
    if plan.loads_module() {
        load(EVENTS_MODULE_PATH)?;
    }
    results.send(&guest::hello(instance.capture())?)?;
    if plan.loads_module() {
        // Its functions are called by the workload's, and so may be in the trace.
        let name = Path::new(EVENTS_MODULE_PATH)
            .file_stem()
            .unwrap_or_default();
        results.send(&phases::module_loaded(&name.to_string_lossy())?)?;
    }
    for path in &plan.modules {
        load(path)?;
        let name = Path::new(path).file_stem().unwrap_or_default();
        results.send(&phases::module_loaded(&name.to_string_lossy())?)?;
    }
    if plan.leak_scan {
        files::forget_leaks()?;
    }
    if plan.runs_command() {
        commands::prepare()?;
    }
    let held: Vec<Option<Held>> = plan
        .phases
        .iter()
        .map(commands::hold)
        .collect::<Result<_>>()?;
    let pids: Vec<u32> = held.iter().flatten().map(Held::pid).collect();
    match plan.trace.since {
        Since::Window => {
            instance.prepare(&pids)?;
            instance.send_description(results)?;
            instance.arm()?;
        }
        Since::BootInstance => instance.send_description(results)?,
        Since::BootTop => {
            instance.check_boot()?;
            instance.send_description(results)?;
        }
    }
    let streaming = match plan.trace.streamed {
        true => Some(Streaming::start(&instance, results)?),
        false => None,
    };
    if plan.trace.since == Since::Window {
        instance.open_window()?;
    }
    let (end, records) = supervise(&plan, held, &instance, results, host)?;
    instance.switch_off()?;
    if let Some(streaming) = streaming {
        streaming.finish()?;
    }

    instance.send_result(results)?;
    for (file, record) in records {
        results.send_bytes(file, &record)?;
    }
    commands::send_outputs(&plan.phases, results)?;
    let is_stuck = end != PhaseEnd::Complete;
    let is_there = is_stuck || !plan.loads_module();
    let functions = phases::matched_functions(&instance.filter_file(), is_there)?;
    results.send_bytes(FileKind::Functions, &functions)?;
    files::send_kernel_log(results)?;
    if matches!(end, PhaseEnd::Deadline { .. }) {
        files::send_stacks(results)?;
    }
    // A module that is stuck cannot be searched for leaks: its objects are still in use.
    if plan.leak_scan && !is_stuck {
        files::send_leaks(results)?;
    }
    results.send(&Message::Finished { end })
}

/// Loads a module that stays. One that owns trace events empties the trace when it is unloaded.
fn load(path: &str) -> Result<()> {
    let before = files::log_length();
    let returned = phases::load_module(path, "")?;
    if returned != 0 {
        let log = files::last_words(before);
        return Err(refusal::of_module(path, -returned, &log).into());
    }
    Ok(())
}

/// Runs the phases in a thread of their own: a system call that never returns must not keep PID 1
/// from reporting it. Returns how they ended, and the records of each phase.
fn supervise(
    plan: &Plan,
    held: Vec<Option<Held>>,
    instance: &Instance,
    results: &mut Results,
    host: &mut Host,
) -> Result<(PhaseEnd, Records)> {
    let (sender, receiver) = channel();
    if plan.trace.streamed {
        let sender = sender.clone();
        // A supervisor that is gone has ended before.
        host.listen(move || drop(sender.send(Step::Stop)))?;
    }
    let (instance_of_phases, mut markers) = (instance.clone(), instance.markers()?);
    let phases: Vec<_> = plan.phases.iter().cloned().zip(held).collect();
    let is_built_in = plan.is_built_in;
    thread::Builder::new()
        .name("phases".to_owned())
        .spawn(move || {
            let instance = &instance_of_phases;
            phases::run(phases, is_built_in, instance, &mut markers, &sender);
        })
        .context("cannot start the thread that runs the phases")?;

    let begin = Instant::now();
    let mut records = Records::new();
    let mut waiting_for = "the first phase".to_owned();
    loop {
        let left = Duration::from_nanos(plan.deadline_ns).saturating_sub(begin.elapsed());
        match receiver.recv_timeout(left) {
            Ok(Step::Waiting(what)) => waiting_for = what,
            Ok(Step::Report(message)) => results.send(&message)?,
            // Kept until the window is closed: it may be large.
            Ok(Step::Recorded { file, record }) => records.push((file, record)),
            Ok(Step::Stop) => {
                instance.markers()?.write("stopped")?;
                return Ok((PhaseEnd::Stopped, records));
            }
            Ok(Step::Ended(outcome)) => {
                outcome?;
                return Ok((PhaseEnd::Complete, records));
            }
            Err(RecvTimeoutError::Timeout) => {
                // Off within rounds, where no marker can be written.
                instance.switch_on()?;
                instance.markers()?.write("deadline")?;
                if let Some(state) = phases::module_state() {
                    waiting_for = format!("{waiting_for} ({state})");
                }
                return Ok((PhaseEnd::Deadline { waiting_for }, records));
            }
            Err(RecvTimeoutError::Disconnected) => {
                anyhow::bail!(
                    "the thread that runs the phases died while waiting for {waiting_for}"
                );
            }
        }
    }
}
