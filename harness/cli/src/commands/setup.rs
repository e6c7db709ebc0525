// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit setup`: installs what runs and tests need.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use deferinit_kernel::requirements::{self, Need};

use crate::exit::{Failure, PASSED};
use crate::prepare;
use crate::project::Project;

/// Runs the command. Without root, it fails with the one command to run as root, if one is needed.
pub(crate) fn run(interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let (session, kbuild) = prepare::session(&Project::find()?, interrupted)?;
    requirements::install_missing(&session, &kbuild.requirements, Need::Test)?;
    Ok(PASSED)
}
