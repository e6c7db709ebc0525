// SPDX-License-Identifier: GPL-2.0-only

//! The `deferinit` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    deferinit::main()
}
