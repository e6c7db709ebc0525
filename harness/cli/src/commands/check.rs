// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit check`: are these scenario files valid?

use crate::args::Check;
use crate::exit::{Failure, PASSED, USAGE, complain};
use crate::scenarios;
use crate::stdout::print;

/// Runs the command. Goes on after a file that is not valid, so that one call shows all mistakes.
pub(crate) fn run(arguments: &Check) -> Result<u8, Failure> {
    let mut code = PASSED;
    for file in &arguments.files {
        let name = file.with_extension("");
        match scenarios::read(file, &name.to_string_lossy()) {
            Ok(scenario) => {
                let (phases, expectations) = (scenario.phases.len(), scenario.expect.len());
                print(&format!(
                    "{}: valid ({phases} phase(s), {expectations} expectation(s))",
                    file.display()
                ))?;
            }
            Err(failure) => {
                complain(&failure);
                code = USAGE;
            }
        }
    }
    Ok(code)
}
