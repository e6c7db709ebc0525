// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit replay`: repeats a run from its bundle, and says whether it was the same.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};
use deferinit_host::{Qemu, Request};
use deferinit_protocol::Plan;
use deferinit_scenario::Clock;

use crate::args::Replay;
use crate::bundle::{Bundle, INITRAMFS, Left, Program, sha256};
use crate::exit::{FAILED, Failure, PASSED};
use crate::output::Output;
use crate::pipeline;
use crate::stdout::print;

/// Runs the command.
pub(crate) fn run(arguments: &Replay, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let folder = &arguments.bundle;
    let bundle = Bundle::read(folder).map_err(Failure::usage)?;
    if bundle.clock == Clock::Wall {
        return Err(Failure::usage(anyhow!(
            "{} is of a run on the wall clock, on which no two runs are the same",
            folder.display()
        )));
    }
    let qemu = Qemu::find(&bundle.machine.qemu).map_err(Failure::setup)?;
    check_qemu(&bundle.qemu, &Program::of(&qemu)).map_err(Failure::setup)?;
    let kernel = arguments.kernel.as_ref().unwrap_or(&bundle.kernel.path);
    check_file(
        kernel,
        &bundle.kernel.sha256,
        "; --kernel names another place",
    )
    .map_err(Failure::setup)?;
    let initramfs = fs::canonicalize(folder)
        .map(|folder| folder.join(INITRAMFS))
        .with_context(|| format!("cannot find {}", folder.display()))
        .map_err(Failure::setup)?;
    check_file(&initramfs, &bundle.initramfs_sha256, "").map_err(Failure::setup)?;
    let plan = read_plan(folder).map_err(Failure::setup)?;

    let out = Output::create(arguments.out.as_deref(), None)?.keep();
    let outcome = deferinit_host::run(&Request {
        machine: &bundle.machine,
        qemu: &qemu,
        clock: bundle.clock,
        cpus: bundle.cpus,
        memory: Some(bundle.memory),
        trace_buffer: bundle.trace_buffer,
        kernel,
        initramfs: &initramfs,
        command_line: &bundle.command_line,
        plan: &plan,
        wall_deadline: None,
        folder: &out,
        interrupted: &interrupted,
        debugger: None,
    })
    .map_err(Failure::setup)?;
    let trace_sha256 = pipeline::trace_sha256(&outcome, &out).map_err(Failure::setup)?;
    let left = Left::read(&out, trace_sha256);
    let is_same = left == bundle.left;
    print(&report(&bundle, &left, &out))?;
    Ok(if is_same { PASSED } else { FAILED })
}

/// Another QEMU counts other instructions.
fn check_qemu(recorded: &Program, here: &Program) -> Result<()> {
    if recorded.version != here.version {
        return Err(anyhow!(
            "the bundle is of QEMU {}, and here is QEMU {}: no two versions run a guest alike",
            recorded.version,
            here.version
        ));
    }
    let (Some(before), Some(now)) = (&recorded.sha256, &here.sha256) else {
        return Ok(());
    };
    if before != now {
        return Err(anyhow!(
            "the bundle is of another build of QEMU {}: its SHA-256 is {before}, here it is {now}",
            here.version
        ));
    }
    Ok(())
}

fn check_file(path: &Path, wanted: &str, advice: &str) -> Result<()> {
    let content = fs::read(path).with_context(|| {
        format!(
            "cannot read {}, with SHA-256 {wanted}{advice}",
            path.display()
        )
    })?;
    let found = sha256(&content);
    if found != wanted {
        return Err(anyhow!(
            "{} is not the file of the run: its SHA-256 is {found}, not {wanted}{advice}",
            path.display()
        ));
    }
    Ok(())
}

fn read_plan(folder: &Path) -> Result<Plan> {
    let path = folder.join("vm/plan.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no plan of this version", path.display()))
}

fn report(bundle: &Bundle, left: &Left, out: &Path) -> String {
    let none = "none".to_owned();
    let trace = |left: &Left| left.trace_sha256.as_ref().unwrap_or(&none).clone();
    let line = |what: &str, before: &str, now: &str| {
        if before == now {
            format!("\n  {what:<8} the same, SHA-256 {now}")
        } else {
            format!("\n  {what:<8} differs: SHA-256 {before} in the bundle, {now} now")
        }
    };
    let before = &bundle.left;
    let mut text = format!("{}: {}", bundle.scenario, bundle.reason);
    text += &line("trace", &trace(before), &trace(left));
    text += &line("console", &before.console_sha256, &left.console_sha256);
    text += &line("results", &before.results_sha256, &left.results_sha256);
    text + &format!("\nReplay: {}", out.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_qemu_is_refused_with_both_versions() {
        let program = |version: &str, sha256: Option<&str>| Program {
            version: version.to_owned(),
            sha256: sha256.map(str::to_owned),
        };
        let recorded = program("7.2.22", Some("aa"));
        assert!(check_qemu(&recorded, &recorded).is_ok());
        assert!(check_qemu(&recorded, &program("7.2.22", None)).is_ok());
        for (here, part) in [
            (
                program("10.0.2", Some("aa")),
                "QEMU 7.2.22, and here is QEMU 10.0.2",
            ),
            (program("7.2.22", Some("bb")), "is aa, here it is bb"),
        ] {
            let error = check_qemu(&recorded, &here)
                .expect_err("another")
                .to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
