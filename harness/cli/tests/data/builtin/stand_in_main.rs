// SPDX-License-Identifier: GPL-2.0-only

//! Stands in for the workload: a Rust module with a function that C calls.

use kernel::prelude::*;

module! {
    type: StandIn,
    name: "stand_in",
    authors: ["The deferinit developers"],
    description: "Stands in for the workload",
    license: "GPL v2",
}

struct StandIn;

impl kernel::Module for StandIn {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("the Rust initcall ran\n");
        Ok(Self)
    }
}

/// Called by the C part.
#[no_mangle]
#[inline(never)]
pub extern "C" fn deferred_stand_in_answer() -> kernel::ffi::c_int {
    42
}
