// SPDX-License-Identifier: GPL-2.0-only

//! Where the project's own files are: scenarios, machines, the module, the kernel fragments.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::exit::Failure;

/// What a project folder has, and nothing else has together.
const MARKS: [&str; 3] = ["module/Kbuild", "kbuild/config", "vm/machines"];

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

    /// The agent, as `make build` leaves it.
    pub(crate) fn agent(&self) -> PathBuf {
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        target.join("x86_64-unknown-linux-gnu/agent/deferinit-agent")
    }
}
