// SPDX-License-Identifier: GPL-2.0-only

//! Where the project's own files are: scenarios, machines, the module, the kernel fragments.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::exit::Failure;

/// What a project folder has, and nothing else has together.
const MARKS: [&str; 3] = ["module/Kbuild", "kbuild/config", "vm/machines"];

/// The agent, in cargo's target folder.
const AGENT: &str = "x86_64-unknown-linux-gnu/agent/deferinit-agent";

/// The project's folder.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// Looks upwards from the current folder, then from the program.
    pub(crate) fn find() -> Result<Self, Failure> {
        let starts = [env::current_dir(), env::current_exe()];
        starts
            .into_iter()
            .flatten()
            .find_map(|start| Self::above(&start))
            .ok_or_else(|| {
                Failure::setup(anyhow!(
                    "no deferinit project here: neither this folder nor the program lies below one with {}",
                    MARKS.join(", ")
                ))
            })
    }

    fn above(start: &Path) -> Option<Self> {
        let is_project = |folder: &&Path| MARKS.iter().all(|mark| folder.join(mark).exists());
        let root = start.ancestors().find(is_project)?.to_owned();
        Some(Self { root })
    }

    /// The scenarios.
    pub(crate) fn scenarios(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    /// The module's sources.
    pub(crate) fn module(&self) -> PathBuf {
        self.root.join("module")
    }

    /// Kernel fragments, kernels, requirements.
    pub(crate) fn kbuild(&self) -> PathBuf {
        self.root.join("kbuild")
    }

    /// A machine file.
    pub(crate) fn machine(&self, name: &str) -> PathBuf {
        self.root.join("vm/machines").join(format!("{name}.toml"))
    }

    /// The agent, as `make build` leaves it: beside this program, or else in the project.
    pub(crate) fn agent(&self) -> PathBuf {
        let program = env::current_exe().ok();
        program
            .and_then(|program| Some(target_of(&program)?.join(AGENT)))
            .filter(|agent| agent.is_file())
            .unwrap_or_else(|| self.root.join("target").join(AGENT))
    }
}

/// Cargo's target folder, from where a program in it is: `<target>/debug/deferinit`, or a test's
/// `<target>/debug/deps/..`.
fn target_of(program: &Path) -> Option<&Path> {
    let folder = program.parent()?;
    let profile = if folder.ends_with("deps") {
        folder.parent()?
    } else {
        folder
    };
    profile.parent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_folder_is_found_from_programs_and_from_tests() {
        for program in [
            "/t/release/deferinit",
            "/t/debug/deferinit",
            "/t/debug/deps/deferinit-0123",
        ] {
            assert_eq!(target_of(Path::new(program)), Some(Path::new("/t")));
        }
        assert_eq!(target_of(Path::new("/deferinit")), None);
    }
}
