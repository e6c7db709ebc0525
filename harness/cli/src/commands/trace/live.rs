// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit trace live`: as `record`, with the records on standard output while they are made.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use deferinit_host::kallsyms;
use deferinit_scenario::Clock;

use super::record::{Way, run_with};
use crate::args::{self, live::Live};
use crate::exit::Failure;
use crate::live::Printer;
use crate::pipeline;

/// Runs the command.
pub(crate) fn run(arguments: &Live, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let Live {
        record,
        shown,
        max_size,
    } = arguments;
    if record.clock == Some(args::Clock::Exact) {
        return Err(Failure::usage(anyhow!(
            "--clock exact is not for a live trace: what reads it runs in the guest while it is made, and would change what is measured; `deferinit trace record` reads nothing until the command has ended"
        )));
    }
    if record.boot || record.bootconfig.is_some() {
        return Err(Failure::usage(anyhow!(
            "a trace from the boot on cannot be live: there is nobody in the guest yet to read it; `deferinit trace record` can"
        )));
    }
    let mut printed = Ok(());
    let code = run_with(
        record,
        Clock::Wall,
        Way::Streamed,
        interrupted,
        |recording, folder| {
            let system_map = recording.prepared.system_map.clone();
            let modules = recording.prepared.modules.clone();
            let mut printer = Printer::start(
                *shown,
                Box::new(move |loads, _| {
                    kallsyms(&system_map, loads, |name| {
                        modules.get(name).map(Vec::as_slice)
                    })
                }),
            )?;
            let mut sink = |message: &_, payload: &_| printer.show(message, payload);
            let recorded = pipeline::stream(recording, folder, max_size.0, &mut sink);
            printed = printer.finish();
            recorded
        },
    )?;
    printed.map(|()| code)
}
