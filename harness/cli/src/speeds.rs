// SPDX-License-Identifier: GPL-2.0-only

//! Which accelerator guests on the wall clock get: the one that was measured to be faster, once per boot of this host.
//!
//! In: a machine, its QEMU, the cache. Out: the QEMU's accelerator, and a line that says why. What was measured is in the
//! cache as `speeds-MACHINE.json`; one that is torn, or of another boot, QEMU or machine, is measured anew.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use deferinit_host::{Machine, Qemu, Speeds};
use serde::{Deserialize, Serialize};

/// What decides how fast a guest is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    format_version: u32,
    /// `/proc/sys/kernel/random/boot_id`: a host that has booted anew may have another KVM, and be on another host.
    host_boot: String,
    qemu: String,
    machine: String,
    cpu: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    key: Key,
    speeds: Speeds,
}

/// Measures how fast guests of a machine are, or remembers it.
///
/// # Errors
/// If the cache cannot be written, or QEMU not be started.
pub(crate) fn speeds(machine: &Machine, qemu: &Qemu, cache: &Path) -> Result<Speeds> {
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let host_boot =
        fs::read_to_string(boot_id).with_context(|| format!("cannot read {boot_id}"))?;
    let key = Key {
        format_version: 1,
        host_boot: host_boot.trim().to_owned(),
        qemu: format!("{} {}", qemu.program, qemu.version),
        machine: machine.machine.clone(),
        cpu: machine.cpu.clone(),
    };
    let path = cache.join(format!("speeds-{}.json", machine.name));
    let remembered = fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Remembered>(&text).ok());
    if let Some(remembered) = remembered.filter(|remembered| remembered.key == key) {
        return Ok(remembered.speeds);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let speeds = Speeds::measure(machine, qemu, cache)?;
    let remembered = Remembered { key, speeds };
    let text = serde_json::to_vec_pretty(&remembered).context("cannot write speeds as JSON")?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(remembered.speeds)
}

#[cfg(test)]
mod tests {
    use deferinit_host::Speed;

    use super::*;

    #[test]
    fn what_was_measured_is_remembered_until_something_else_would_be() {
        let machine = Machine::parse(include_str!("../../../vm/machines/x86_64.toml"));
        let machine = machine.expect("the default machine");
        let qemu = Qemu::find(&machine.qemu).expect("QEMU");
        let cache = tempfile::tempdir().expect("a folder");
        let measured = speeds(&machine, &qemu, cache.path()).expect("measured");
        assert!(matches!(measured.tcg, Speed::Measured(_)), "{measured}");
        let path = cache.path().join("speeds-x86_64.json");
        let text = fs::read_to_string(&path).expect("remembered");
        let mark = |text: &str| {
            let mut remembered: Remembered = serde_json::from_str(text).expect("what we write");
            remembered.speeds.tcg = Speed::Measured(1);
            remembered
        };
        let mut marked = mark(&text);
        let write = |remembered: &Remembered| {
            fs::write(&path, serde_json::to_vec(remembered).expect("JSON")).expect("written");
        };
        write(&marked);
        let again = speeds(&machine, &qemu, cache.path()).expect("remembered");
        assert_eq!(again.tcg, Speed::Measured(1));
        "another".clone_into(&mut marked.key.host_boot);
        write(&marked);
        let anew = speeds(&machine, &qemu, cache.path()).expect("measured");
        assert_ne!(anew.tcg, Speed::Measured(1));
        fs::write(&path, &text[..text.len() / 2]).expect("torn");
        assert!(speeds(&machine, &qemu, cache.path()).is_ok());
    }
}
