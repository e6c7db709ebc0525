// SPDX-License-Identifier: GPL-2.0-only

//! A workload of deferred initialisation, configured by module parameters.
//!
//! A load runs a plan of items. Each item is run by one of the kernel's ways to run something:
//! directly in module init, as delayed work, work or deferrable work, as an async call, in a
//! kernel thread, by the probe of a device, or by a high-resolution timer. What happened to each
//! item is told by trace events (`item_events.h`), which `test_deferred_events.ko` owns, and by the
//! module's own record; every function named `deferred_*` is visible to function_graph.
//!
//! `modinfo test_deferred.ko` lists the parameters. `/sys/kernel/debug/test_deferred` has:
//!
//! - `trigger`: a write arms the items of a plan with `start=trigger`;
//! - `state`: how many items were armed, started, ended and cancelled;
//! - `done`: the same, but a read returns only once every item has ended or was cancelled;
//! - `results`: a line for each item, with what happened to it and when.
//!
//! Unloading cancels what is still pending and waits for what is running. It is refused while one
//! of the files is open.
//!
//! In the kernel image, the same parameters stand on the kernel's command line, as in
//! `test_deferred.items=4`, and each item is armed at its initcall level.

#![expect(
    clippy::no_mangle_with_rust_abi,
    reason = "ftrace finds functions by their names, and nothing calls them through C"
)]

use kernel::{
    prelude::*,
    sync::Arc, //
};

mod body;
mod fault;
mod ffi;
mod graph;
mod item;
mod parameter;
mod plan;
mod plan_text;
mod workload;

use workload::Workload;

module! {
    type: TestDeferred,
    name: "test_deferred",
    authors: ["The deferinit developers"],
    description: "Workloads of deferred initialisation",
    license: "GPL v2",
}

struct TestDeferred {
    // In this order: no file is in use any more when the workload goes.
    _files: Option<ffi::Files>,
    _workload: Option<Arc<Workload>>,
    #[cfg(MODULE)]
    _delays: ffi::Delays,
}

impl kernel::Module for TestDeferred {
    #[cfg(MODULE)]
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let plan = plan::Plan::from_parameters()?;
        let delays = plan_text::delays(parameter::Parameter::Delays.value()?)?;
        let workload = Workload::new(plan)?;
        let files = ffi::Files::new(workload.clone());
        if workload.starts_on_load() {
            deferred_init(&workload)?;
        }
        Ok(Self {
            _files: Some(files),
            _workload: Some(workload),
            _delays: delays,
        })
    }

    /// A device initcall: the other levels are in `builtin.c`.
    #[cfg(not(MODULE))]
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let workload = workload::built_in().cloned();
        let files = workload.clone().map(ffi::Files::new);
        workload::run_level(plan::Level::Device);
        Ok(Self {
            _files: files,
            _workload: workload,
        })
    }
}

/// What a driver's init function would do: run the items, or arm them and return.
///
/// `EINTR` if a signal comes while a direct item waits for the items it comes after.
#[no_mangle]
#[inline(never)]
fn deferred_init(workload: &Workload) -> Result {
    workload.arm()
}
