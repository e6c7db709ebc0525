// SPDX-License-Identifier: GPL-2.0-only

//! `bundle.json`: what makes a run's folder a bundle, from which the run can be repeated.
//!
//! In: what a boot was given and left. Out: `bundle.json` in its folder, `run.sh` and the initramfs beside it. The kernel's
//! image is named by its path and hash, since it is large and there for as long as the cache is; `deferinit replay` takes
//! another path for it. Everything else that decides what happens is in the folder.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use deferinit_host::{Machine, Qemu};
use deferinit_scenario::{Bytes, Clock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::pipeline::write_json;

/// Its file.
pub(crate) const BUNDLE: &str = "bundle.json";

/// The initramfs, beside it.
pub(crate) const INITRAMFS: &str = "initramfs.cpio";

/// The version of this shape.
const FORMAT_VERSION: u32 = 1;

/// What a boot was given, and what it left.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bundle {
    format_version: u32,
    /// The scenario's name.
    pub(crate) scenario: String,
    /// Why the bundle is there: the verdict, in one line.
    pub(crate) reason: String,
    pub(crate) clock: Clock,
    /// The machine file, as the run needed it.
    pub(crate) machine: Machine,
    pub(crate) cpus: u32,
    pub(crate) memory: Bytes,
    pub(crate) trace_buffer: Bytes,
    /// Further parameters of the kernel.
    pub(crate) command_line: Vec<String>,
    pub(crate) qemu: Program,
    pub(crate) kernel: Image,
    pub(crate) initramfs_sha256: String,
    pub(crate) left: Left,
}

/// A program by its version, and the very file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    pub(crate) version: String,
    pub(crate) sha256: Option<String>,
}

/// A file that is elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
}

/// What is the same in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Left {
    /// Of the trace's sub-buffers; none if there were none.
    pub(crate) trace_sha256: Option<String>,
    /// Of the console's log.
    pub(crate) console_sha256: String,
    /// Of the stream of results.
    pub(crate) results_sha256: String,
}

/// What a boot was given.
pub(crate) struct Given<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) clock: Clock,
    pub(crate) machine: Machine,
    pub(crate) cpus: u32,
    pub(crate) memory: Bytes,
    pub(crate) trace_buffer: Bytes,
    pub(crate) command_line: Vec<String>,
    pub(crate) qemu: &'a Qemu,
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: PathBuf,
}

impl Left {
    /// What lies in the folder of a boot, whose trace has this hash.
    pub(crate) fn read(folder: &Path, trace_sha256: Option<String>) -> Self {
        // A file that is not there is as good as an empty one: QEMU makes both at its start.
        let hash = |name: &str| sha256(&fs::read(folder.join("vm").join(name)).unwrap_or_default());
        Self {
            trace_sha256,
            console_sha256: hash("console.log"),
            results_sha256: hash("results.bin"),
        }
    }
}

impl Program {
    /// The QEMU that is installed; of one that cannot be found as a file, the version must do.
    pub(crate) fn of(qemu: &Qemu) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join(&qemu.program));
        let content = places.find_map(|place| fs::read(place).ok());
        Self {
            version: qemu.version.to_string(),
            sha256: content.as_deref().map(sha256),
        }
    }
}

/// Makes a boot's folder a bundle.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn write(folder: &Path, given: Given<'_>, reason: String, left: Left) -> Result<()> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let own = folder.join(INITRAMFS);
    if !own.exists() && fs::hard_link(&given.initramfs, &own).is_err() {
        fs::copy(&given.initramfs, &own)
            .with_context(|| format!("cannot copy {}", given.initramfs.display()))?;
    }
    let bundle = Bundle {
        format_version: FORMAT_VERSION,
        scenario: given.scenario.to_owned(),
        reason,
        clock: given.clock,
        qemu: Program::of(given.qemu),
        machine: given.machine,
        cpus: given.cpus,
        memory: given.memory,
        trace_buffer: given.trace_buffer,
        command_line: given.command_line,
        kernel: Image {
            path: given.kernel.to_owned(),
            sha256: sha256(&read(given.kernel)?),
        },
        initramfs_sha256: sha256(&read(&own)?),
        left,
    };
    write_json(folder, BUNDLE, &bundle)?;
    write_script(folder, &bundle)
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// If there is none, or none of this version.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(BUNDLE);
        let text = fs::read(&path).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                anyhow::anyhow!(
                    "{} is no bundle: it has no {BUNDLE}; a run that did not pass leaves one in its folder",
                    folder.display()
                )
            } else {
                anyhow::anyhow!(error).context(format!("cannot read {}", path.display()))
            }
        })?;
        let bundle: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what deferinit writes", path.display()))?;
        ensure!(
            bundle.format_version == FORMAT_VERSION,
            "{} has version {}, this deferinit reads {FORMAT_VERSION}",
            path.display(),
            bundle.format_version
        );
        Ok(bundle)
    }
}

/// The command by hand, for whom the harness is in the way: the descriptors that it passes become files.
fn write_script(folder: &Path, bundle: &Bundle) -> Result<()> {
    let argv = folder.join("vm/argv");
    let command = fs::read_to_string(&argv)
        .with_context(|| format!("cannot read {}", argv.display()))?
        .replace(
            "socket,id=monitor,fd=65",
            "socket,id=monitor,path=monitor.sock,server=on,wait=off",
        )
        .replace("  -S \\\n", "");
    let script = format!(
        "#!/bin/bash\n# The QEMU of this run by hand. `deferinit replay` does the same, and compares.\n\
         # Kernel: SHA-256 {}\nset -e\nhere=$(dirname \"$(realpath \"$0\")\")\nkernel=${{1:-{}}}\n\
         cd \"$(mktemp -d)\"\ncp \"$here/vm/plan.json\" .\ntruncate -s {} ram\n\
         exec 64<>ram 67<\"$kernel\" 68<\"$here/{INITRAMFS}\"\necho \"console.log and results.bin are in $PWD\"\n{command}",
        bundle.kernel.sha256,
        bundle.kernel.path.display(),
        bundle.memory.0,
    );
    let path = folder.join("run.sh");
    fs::write(&path, script)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// In hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
