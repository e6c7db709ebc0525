// SPDX-License-Identifier: GPL-2.0-only

//! PID 1 of the guest: loads the module, arms ftrace, runs the plan, sends results, powers off.
//!
//! In: the plan, from fw_cfg. Out: frames on the result port, and markers in the trace. It knows no
//! scenario and judges nothing. While the measured window is open, it sends only which phase begins
//! and where the module lies.

mod files;
mod guest;
mod phases;
mod results;
mod rounds;
mod tracing;

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use deferinit_protocol::{EVENTS_MODULE_PATH, FileKind, Message, PhaseEnd, Plan};

use crate::phases::Step;
use crate::results::Results;
use crate::tracing::Instance;

/// What there is to say of each phase, kept until the window is closed.
type Records = Vec<(FileKind, Vec<u8>)>;

fn main() {
    // The result of a run that could not even open its port is the console log.
    if let Err(error) = run() {
        eprintln!("deferinit-agent: {error:#}");
    }
    guest::power_off();
}

fn run() -> Result<()> {
    guest::mount_file_systems()?;
    let mut results = Results::open()?;
    if let Err(error) = run_plan(&mut results) {
        results.send(&Message::Failed {
            message: format!("{error:#}"),
        })?;
    }
    Ok(())
}

fn run_plan(results: &mut Results) -> Result<()> {
    let plan = guest::read_plan()?;
    let instance = Instance::find_or_create(&plan.trace)?;
    if plan.is_built_in {
        // At once: this is what says when the first process runs.
        for phase in &plan.phases {
            phases::begin(&phase.name, &mut instance.markers()?)?;
        }
    } else {
        load(EVENTS_MODULE_PATH)?;
    }
    results.send(&guest::hello(instance.capture())?)?;
    for path in &plan.modules {
        load(path)?;
        let name = Path::new(path).file_stem().unwrap_or_default();
        results.send(&phases::module_loaded(&name.to_string_lossy())?)?;
    }
    if plan.leak_scan {
        files::forget_leaks()?;
    }
    instance.send_description(&plan.trace, results)?;
    if !plan.is_built_in {
        instance.arm(&plan.trace)?;
        instance.switch_on()?;
    }
    let (end, records) = supervise(&plan, &instance, results)?;
    instance.switch_off()?;

    instance.send_result(results)?;
    for (file, record) in records {
        results.send_bytes(file, &record)?;
    }
    let is_stuck = end != PhaseEnd::Complete;
    let is_there = is_stuck || plan.is_built_in;
    let functions = phases::matched_functions(&instance.filter_file(), is_there)?;
    results.send_bytes(FileKind::Functions, &functions)?;
    files::send_kernel_log(results)?;
    // A module that is stuck cannot be searched for leaks: its objects are still in use.
    if plan.leak_scan && !is_stuck {
        files::send_leaks(results)?;
    }
    results.send(&Message::Finished { end })
}

/// Loads a module that stays. One that owns trace events empties the trace when it is unloaded.
fn load(path: &str) -> Result<()> {
    let returned = phases::load_module(path, "")?;
    ensure!(
        returned == 0,
        "the kernel refused {path} with errno {}",
        -returned
    );
    Ok(())
}

/// Runs the phases in a thread of their own: a system call that never returns must not keep PID 1
/// from reporting it. Returns how they ended, and the records of each phase.
fn supervise(
    plan: &Plan,
    instance: &Instance,
    results: &mut Results,
) -> Result<(PhaseEnd, Records)> {
    let (sender, receiver) = channel();
    let (instance_of_phases, mut markers) = (instance.clone(), instance.markers()?);
    let (phases, is_built_in) = (plan.phases.clone(), plan.is_built_in);
    thread::Builder::new()
        .name("phases".to_owned())
        .spawn(move || {
            let instance = &instance_of_phases;
            phases::run(&phases, is_built_in, instance, &mut markers, &sender);
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
