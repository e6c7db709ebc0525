// SPDX-License-Identifier: GPL-2.0-only

//! Goes through the phases: load the module, let it work, unload it.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use deferinit_protocol::{
    CommandEnd, FileKind, MODULE, MODULE_PATH, Message, Phase, Section, Until,
};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

use crate::commands::Held;
use crate::rounds;
use crate::tracing::{Instance, Markers};

/// The module's folder in debugfs.
pub(crate) const CONTROL: &str = "/sys/kernel/debug/test_deferred";

/// What the thread tells its supervisor.
pub(crate) enum Step {
    /// What it is about to wait for.
    Waiting(String),
    /// Something to pass on to the harness.
    Report(Message),
    /// A record of a phase.
    Recorded {
        /// Which one, and of which phase.
        file: FileKind,
        /// What it says.
        record: Vec<u8>,
    },
    /// The host wants no more.
    Stop,
    /// It is done with all phases, or could not go on.
    Ended(Result<()>),
}

/// Marks the begin of a phase.
pub(crate) fn begin(phase: &str, markers: &mut Markers) -> Result<()> {
    markers.write(&format!("phase-begin {phase}"))
}

/// Runs `phases` in order, each with its command if it has one; a workload that is built in has begun without us.
pub(crate) fn run(
    phases: Vec<(Phase, Option<Held>)>,
    is_built_in: bool,
    instance: &Instance,
    markers: &mut Markers,
    steps: &Sender<Step>,
) {
    let outcome = phases.into_iter().try_for_each(|(phase, held)| {
        let phase = &phase;
        // Where in a tick the phase begins. Nothing is asked of the kernel if it does not matter.
        if phase.wait_ns > 0 {
            thread::sleep(Duration::from_nanos(phase.wait_ns));
        }
        let ran = if is_built_in {
            run_boot(phase, markers, steps)
        } else if let Some(held) = held {
            run_command(phase, held, markers, steps)
        } else if phase.rounds.is_empty() {
            run_phase(phase, instance, markers, steps).and_then(|()| instance.expect_module())
        } else {
            run_rounds(phase, instance, markers, steps).and_then(|()| instance.expect_module())
        };
        ran.with_context(|| format!("phase {}", phase.name))
    });
    // A supervisor that is gone has met its deadline; there is nobody left to tell.
    drop(steps.send(Step::Ended(outcome)));
}

/// Runs a command to its end.
fn run_command(
    phase: &Phase,
    held: Held,
    markers: &mut Markers,
    steps: &Sender<Step>,
) -> Result<()> {
    let name = phase.name.clone();
    tell(
        steps,
        Step::Report(Message::PhaseBegun { name: name.clone() }),
    )?;
    wait(steps, format!("phase {name}: the end of the command"))?;
    begin(&name, markers)?;
    markers.write(&format!("command-begin {name}"))?;
    let end = held.run()?;
    markers.write(&format!("command-end {name} {}", how(end)))?;
    markers.write(&format!("phase-end {name}"))?;
    tell(
        steps,
        Step::Report(Message::CommandEnded {
            phase: name.clone(),
            end,
        }),
    )?;
    tell(
        steps,
        Step::Report(Message::PhaseEnded {
            name,
            loaded: 0,
            unloaded: None,
        }),
    )
}

/// How a command ended, as the marker says it.
pub(crate) fn how(end: CommandEnd) -> String {
    match end {
        CommandEnd::Exited(status) => format!("exited {status}"),
        CommandEnd::Signalled(signal) => format!("signalled {signal}"),
    }
}

fn run_phase(
    phase: &Phase,
    instance: &Instance,
    markers: &mut Markers,
    steps: &Sender<Step>,
) -> Result<()> {
    let name = phase.name.clone();
    tell(
        steps,
        Step::Report(Message::PhaseBegun { name: name.clone() }),
    )?;
    wait(steps, format!("phase {name}: the load of the module"))?;
    begin(&name, markers)?;
    markers.write("load")?;
    let loaded = load_module(MODULE_PATH, &phase.parameters)?;
    markers.write(&format!("loaded {loaded}"))?;
    let mut unloaded = None;
    if loaded == 0 {
        instance.add_graph_functions()?;
        work(phase, markers, steps)?;
        markers.write("unload")?;
        let returned = unload();
        markers.write(&format!("unloaded {returned}"))?;
        unloaded = Some(returned);
    }
    markers.write(&format!("phase-end {name}"))?;
    tell(
        steps,
        Step::Report(Message::PhaseEnded {
            name,
            loaded,
            unloaded,
        }),
    )
}

/// Loads and unloads many times, and records what it came to.
fn run_rounds(
    phase: &Phase,
    instance: &Instance,
    markers: &mut Markers,
    steps: &Sender<Step>,
) -> Result<()> {
    let name = phase.name.clone();
    tell(
        steps,
        Step::Report(Message::PhaseBegun { name: name.clone() }),
    )?;
    begin(&name, markers)?;
    let record = rounds::run(phase, instance, markers, |what| {
        wait(steps, format!("phase {name}: {what}"))
    })?;
    markers.write(&format!("phase-end {name}"))?;
    tell(
        steps,
        Step::Recorded {
            file: FileKind::Rounds {
                phase: name.clone(),
            },
            record: serde_json::to_vec(&record).context("cannot write the record of the rounds")?,
        },
    )?;
    tell(
        steps,
        Step::Report(Message::PhaseEnded {
            name,
            loaded: 0,
            unloaded: Some(0),
        }),
    )
}

/// Waits for the end of a boot's workload.
fn run_boot(phase: &Phase, markers: &mut Markers, steps: &Sender<Step>) -> Result<()> {
    let name = phase.name.clone();
    tell(
        steps,
        Step::Report(Message::PhaseBegun { name: name.clone() }),
    )?;
    match phase.until {
        Until::Done => wait_until_done(phase, markers, steps)?,
        Until::Hold(ns) => {
            wait(steps, format!("phase {name}: the end of the hold"))?;
            thread::sleep(Duration::from_nanos(ns));
            markers.write("held")?;
        }
    }
    record(phase, markers, steps)?;
    markers.write(&format!("phase-end {name}"))?;
    tell(
        steps,
        Step::Report(Message::PhaseEnded {
            name,
            loaded: 0,
            unloaded: None,
        }),
    )
}

/// Waits until every item has ended.
fn wait_until_done(phase: &Phase, markers: &mut Markers, steps: &Sender<Step>) -> Result<()> {
    wait(
        steps,
        format!("phase {}: the end of every item", phase.name),
    )?;
    let state =
        fs::read_to_string(format!("{CONTROL}/done")).context("cannot wait for the module")?;
    markers.write("done")?;
    if state.trim().is_empty() {
        bail!("the module said nothing when asked to wait for its items");
    }
    Ok(())
}

/// Lets the module work until the phase is over, and reports where it lies meanwhile.
fn work(phase: &Phase, markers: &mut Markers, steps: &Sender<Step>) -> Result<()> {
    let begin = Instant::now();
    if phase.trigger {
        markers.write("trigger")?;
        fs::write(format!("{CONTROL}/trigger"), "1").context("cannot trigger the module")?;
    }
    match phase.until {
        Until::Done => {
            wait_until_done(phase, markers, steps)?;
            record(phase, markers, steps)?;
            report_sections(steps)?;
            wait(
                steps,
                format!("phase {}: the unload of the module", phase.name),
            )
        }
        Until::Hold(ns) => {
            // Within the hold, so that the unload comes right at its end.
            report_sections(steps)?;
            wait(
                steps,
                format!("phase {}: the end of the hold and the unload", phase.name),
            )?;
            thread::sleep(Duration::from_nanos(ns).saturating_sub(begin.elapsed()));
            markers.write("held")?;
            record(phase, markers, steps)
        }
    }
}

/// Takes the module's own record. What comes after the marker may be missing in it.
fn record(phase: &Phase, markers: &mut Markers, steps: &Sender<Step>) -> Result<()> {
    markers.write("results")?;
    let record = fs::read(format!("{CONTROL}/results")).context("cannot read the results")?;
    tell(
        steps,
        Step::Recorded {
            file: FileKind::Results {
                phase: phase.name.clone(),
            },
            record,
        },
    )
}

fn report_sections(steps: &Sender<Step>) -> Result<()> {
    tell(steps, Step::Report(module_loaded(MODULE)?))
}

/// Where a module lies.
pub(crate) fn module_loaded(module: &str) -> Result<Message> {
    Ok(Message::ModuleLoaded {
        module: module.to_owned(),
        sections: sections(module)?,
    })
}

fn wait(steps: &Sender<Step>, what: String) -> Result<()> {
    tell(steps, Step::Waiting(what))
}

/// Which functions the filter matches while the module is there: loads it once more, idle, after
/// the window is closed. Reading the filter takes longer than many a phase.
pub(crate) fn matched_functions(filter: &Path, is_loaded: bool) -> Result<Vec<u8>> {
    let read = || fs::read(filter).context("cannot read what the function filter matched");
    if is_loaded {
        return read();
    }
    let loaded = load_module(MODULE_PATH, "start=trigger")?;
    ensure!(
        loaded == 0,
        "the kernel refused {MODULE_PATH} with errno {}",
        -loaded
    );
    let functions = read();
    let unloaded = unload();
    ensure!(
        unloaded == 0,
        "the kernel would not unload the module: errno {}",
        -unloaded
    );
    functions
}

/// How far the module is, in its own words; `None` if it does not say.
pub(crate) fn module_state() -> Option<String> {
    let state = fs::read_to_string(format!("{CONTROL}/state")).ok()?;
    Some(state.trim_end().to_owned())
}

/// Loads a module. Returns 0 or the negative errno that the kernel gave.
pub(crate) fn load_module(path: &str, parameters: &str) -> Result<i32> {
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    let parameters = CString::new(parameters).context("the parameters contain a NUL byte")?;
    Ok(negative_errno(finit_module(
        file,
        &parameters,
        ModuleInitFlags::empty(),
    )))
}

/// Unloads the module. Returns 0 or the negative errno that the kernel gave.
pub(crate) fn unload() -> i32 {
    let Ok(name) = CString::new(MODULE) else {
        return -(Errno::EINVAL as i32);
    };
    negative_errno(delete_module(&name, DeleteModuleFlags::O_NONBLOCK))
}

fn negative_errno(result: nix::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => -(errno as i32),
    }
}

/// Where a module's sections lie.
fn sections(module: &str) -> Result<Vec<Section>> {
    let folder = format!("/sys/module/{module}/sections");
    let mut sections = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry.with_context(|| format!("cannot list {folder}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = crate::guest::read_line(entry.path())?;
        let address = u64::from_str_radix(text.trim_start_matches("0x"), 16)
            .with_context(|| format!("the address of {name} is {text:?}"))?;
        sections.push(Section { name, address });
    }
    // Directory order is the kernel's business; the bytes we send are ours.
    sections.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sections)
}

fn tell(steps: &Sender<Step>, step: Step) -> Result<()> {
    steps
        .send(step)
        .ok()
        .context("the supervisor is gone: the deadline has passed")
}
