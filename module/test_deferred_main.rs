// SPDX-License-Identifier: GPL-2.0-only

//! A workload of deferred initialisation, configured by module parameters.
//!
//! A load runs a plan of items. Each item is run directly by module init, as an initcall would
//! run it, or through delayed work on a chosen queue. What happened to each item is told by trace
//! events (`item_events.h`), which `test_deferred_events.ko` owns; every function named `deferred_*` is visible to function_graph.
//!
//! `modinfo test_deferred.ko` lists the parameters. `/sys/kernel/debug/test_deferred` has:
//!
//! - `trigger`: a write arms the items of a plan with `start=trigger`;
//! - `state`: how many items were armed, started, ended and cancelled;
//! - `done`: the same, but a read returns only once every item has ended.
//!
//! Unloading cancels what is still pending and waits for what is running.

use kernel::{
    debugfs,
    prelude::*,
    sync::Arc, //
};

mod body;
mod control;
mod ffi;
mod plan;
mod workload;

use control::Control;
use plan::Plan;
use workload::Workload;

module! {
    type: TestDeferred,
    name: "test_deferred",
    authors: ["The deferinit developers"],
    description: "Workloads of deferred initialisation",
    license: "GPL v2",
    params: {
        items: u32 {
            default: 1,
            description: "how many items to run, 1 to 4096 [1]",
        },
        delay_ns: u64 {
            default: 0,
            description: "delay of the first item in ns, rounded up to a jiffy [0]",
        },
        step_ns: u64 {
            default: 0,
            description: "how much longer each further item is delayed than the one before, in ns [0]",
        },
        body_ns: u64 {
            default: 0,
            description: "how long the body spins or sleeps, in ns [0]",
        },
        max_active: u32 {
            default: 0,
            description: "how many items an own queue runs at once, 0 for the kernel's default [0]",
        },
    },
}

struct TestDeferred {
    workload: Arc<Workload>,
    // Dropped, and so closed to user space, after `workload` was stopped by our `drop`.
    _control: Pin<KBox<Control>>,
    _folder: debugfs::Dir,
}

impl kernel::Module for TestDeferred {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let plan = Plan::from_parameters()?;
        let workload = Workload::new(plan)?;
        let folder = debugfs::Dir::new(c"test_deferred");
        let control = match KBox::pin_init(Control::new(&folder, workload.clone()), GFP_KERNEL) {
            Ok(control) => control,
            Err(error) => {
                workload.stop();
                return Err(error);
            }
        };
        if plan.start == plan::Start::Load {
            deferred_init(&workload);
        }
        Ok(Self {
            workload,
            _control: control,
            _folder: folder,
        })
    }
}

/// What a driver's init function would do: run the items, or arm them and return.
#[no_mangle]
#[inline(never)]
fn deferred_init(workload: &Arc<Workload>) {
    workload.arm();
}

impl Drop for TestDeferred {
    fn drop(&mut self) {
        self.workload.stop();
    }
}
