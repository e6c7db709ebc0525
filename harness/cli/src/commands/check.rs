// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit check`: are these scenario files valid?

use crate::args::Check;
use crate::exit::{Failure, PASSED, USAGE};
use crate::scenarios;

/// Runs the command. Goes on after a file that is not valid, so that one call shows all mistakes.
pub(crate) fn run(arguments: &Check) -> Result<u8, Failure> {
    let mut code = PASSED;
    for file in &arguments.files {
        let name = file.with_extension("");
        match scenarios::read(file, &name.to_string_lossy()) {
            Ok(scenario) => {
                let (phases, expectations) = (scenario.phases.len(), scenario.expect.len());
                println!(
                    "{}: valid ({phases} phase(s), {expectations} expectation(s))",
                    file.display()
                );
            }
            Err(failure) => {
                eprintln!("{failure}");
                code = USAGE;
            }
        }
    }
    Ok(code)
}
