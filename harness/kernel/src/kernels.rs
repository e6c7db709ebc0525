// SPDX-License-Identifier: GPL-2.0-only

//! `kbuild/kernels.toml`: which kernels are supported and where their sources are found.
//!
//! In: the file's text. Out: `Kernels`. Does not fetch anything.
//! Source: `kbuild/kernels.toml`.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::error::Error;
use crate::version::Version;

/// What the project knows about kernels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kernels {
    /// The oldest kernel the module builds against.
    pub oldest: Version,
    /// How many steps a build takes, for its progress, until a build has been counted.
    pub build_steps: u64,
    /// Disk space for fetching and unpacking a source, in MiB.
    pub source_mib: u64,
    /// Disk space for a build, in MiB.
    pub build_mib: u64,
    /// The least RAM of a guest whose kernel checks its memory accesses, in MiB.
    pub debug_guest_mib: u64,
    /// The most that the shift of the exact clock may be for such a kernel: 2^shift ns per instruction.
    pub debug_exact_shift: u8,
    /// Archives that hold kernel sources as packages.
    pub archives: Vec<Archive>,
}

/// A package archive, recognised among the machine's own sources by what its Release file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Archive {
    /// `Origin:` of its Release file.
    pub origin: String,
    /// `Label:` of its Release file.
    pub label: String,
    /// The component the package is in.
    pub component: String,
    /// What the package's name starts with; the kernel's version follows.
    pub package_prefix: String,
    /// The suites to look in; the first one with a supported kernel is taken.
    pub suites: Vec<String>,
}

impl Kernels {
    /// Reads `kernels.toml` of the folder `kbuild/`.
    ///
    /// # Errors
    /// If it cannot be read or is not of this shape; the message has line and column.
    pub fn of_dir(kbuild: &Path) -> Result<Self, Error> {
        let file = kbuild.join("kernels.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(toml::from_str(&text).with_context(|| format!("{} is not valid", file.display()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_s_file_is_valid() {
        let kbuild = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kbuild");
        let kernels = Kernels::of_dir(&kbuild).expect("kernels.toml");
        assert!(kernels.oldest >= Version::parse("7.2").expect("a version"));
        assert!(
            kernels
                .archives
                .iter()
                .all(|archive| !archive.suites.is_empty())
        );
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_place() {
        let error =
            toml::from_str::<Kernels>("oldest = \"7.2\"\noldset = 1\n").expect_err("misspelt");
        assert!(
            error.to_string().contains("line 2") && error.to_string().contains("oldset"),
            "{error}"
        );
    }
}
