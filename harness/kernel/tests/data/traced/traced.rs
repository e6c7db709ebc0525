// SPDX-License-Identifier: GPL-2.0-only

//! A module that knows nothing of ftrace.

use kernel::prelude::*;

module! {
    type: Traced,
    name: "traced",
    authors: ["The deferinit developers"],
    description: "A module that knows nothing of ftrace",
    license: "GPL v2",
}

struct Traced(usize);

impl kernel::Module for Traced {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Traced(traced_twice(core::ptr::from_ref(module) as usize)))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        pr_info!("{}\n", traced_apply(traced_twice, self.0));
    }
}

#[no_mangle]
#[inline(never)]
fn traced_twice(number: usize) -> usize {
    number.wrapping_mul(2)
}

/// Generic: compiled for the type it is used with, in this module.
#[inline(never)]
fn traced_apply<F: Fn(usize) -> usize>(function: F, number: usize) -> usize {
    // `wrapping_add` of `core` is inlined, and so is no function any more.
    function(number).wrapping_add(1)
}
