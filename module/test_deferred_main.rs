// SPDX-License-Identifier: GPL-2.0-only

//! A workload of deferred initialisation, configured by module parameters.
//!
//! A load runs a plan of items. Each item is run directly by module init, as an initcall would
//! run it, or through delayed work on a chosen queue. What happened to each item is told by trace
//! events (`item_events.h`), which `test_deferred_events.ko` owns; every function named
//! `deferred_*` is visible to function_graph.
//!
//! `modinfo test_deferred.ko` lists the parameters. `/sys/kernel/debug/test_deferred` has:
//!
//! - `trigger`: a write arms the items of a plan with `start=trigger`;
//! - `state`: how many items were armed, started, ended and cancelled;
//! - `done`: the same, but a read returns only once every item has ended.
//!
//! Unloading cancels what is still pending and waits for what is running. It is refused while one
//! of the files is open.

#![expect(
    clippy::no_mangle_with_rust_abi,
    reason = "ftrace finds functions by their names, and nothing calls them through C"
)]

use kernel::{
    prelude::*,
    sync::Arc, //
};

mod body;
mod ffi;
mod plan;
mod workload;

use plan::{
    Plan,
    Start, //
};
use workload::Workload;

module! {
    type: TestDeferred,
    name: "test_deferred",
    authors: ["The deferinit developers"],
    description: "Workloads of deferred initialisation",
    license: "GPL v2",
}

struct TestDeferred {
    workload: Arc<Workload>,
    _files: ffi::Files,
}

impl kernel::Module for TestDeferred {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let plan = Plan::from_parameters()?;
        let workload = Workload::new(plan)?;
        let files = ffi::Files::new(workload.clone());
        if plan.start == Start::Load {
            deferred_init(&workload);
        }
        Ok(Self {
            workload,
            _files: files,
        })
    }
}

/// What a driver's init function would do: run the items, or arm them and return.
#[no_mangle]
#[inline(never)]
fn deferred_init(workload: &Workload) {
    workload.arm();
}

impl Drop for TestDeferred {
    fn drop(&mut self) {
        // No file is open, or the unload would have been refused: nobody can trigger any more.
        self.workload.stop();
    }
}
