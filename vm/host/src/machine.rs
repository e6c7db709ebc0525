// SPDX-License-Identifier: GPL-2.0-only

//! Machine files: what QEMU is asked to emulate.
//!
//! In: the TOML text of `vm/machines/<name>.toml`. Out: a [`Machine`], or what is wrong and where.

use anyhow::{Context, Result, ensure};
use deferinit_scenario::Bytes;
use serde::{Deserialize, Serialize};

/// A machine, as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The file's name, and what results call the machine.
    pub name: String,
    /// The architecture of its kernel, as in `uname -m`.
    pub architecture: String,
    /// The QEMU program.
    pub qemu: String,
    /// The value of `-machine`.
    pub machine: String,
    /// The value of `-bios`.
    pub firmware: String,
    /// The value of `-cpu`.
    pub cpu: String,
    /// RAM, unless the scenario says otherwise; as in a scenario file.
    memory: String,
    /// RAM below this address lies in the file of the guest's RAM as it lies in the guest; as in a scenario file.
    low_memory: String,
    /// Values of `-global`.
    pub globals: Vec<String>,
    /// Values of `-device`.
    pub devices: Vec<String>,
    /// The value of `-device` for the bus of the result port.
    pub serial_bus: String,
    /// Kernel parameters.
    pub command_line: Vec<String>,
    /// How long a run may take on the host's clock, in seconds, besides rounds.
    pub wall_deadline_s: u64,
    /// What the exact clock needs.
    pub exact: ExactClock,
    /// What the wall clock needs.
    pub wall: WallClock,
}

/// The exact clock of a machine: QEMU counts instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExactClock {
    /// Virtual time per instruction is `2^shift` ns.
    pub shift: u8,
    /// The date and time at which the guest's clock begins.
    pub rtc_base: String,
    /// The value of `-seed`.
    pub seed: u32,
    /// Those that a verdict on times may rest on.
    pub clocksources: Vec<String>,
    /// Further kernel parameters.
    pub command_line: Vec<String>,
}

/// The wall clock of a machine: the host's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallClock {
    /// Those that a verdict on times may rest on.
    pub clocksources: Vec<String>,
    /// Further kernel parameters.
    pub command_line: Vec<String>,
}

impl Machine {
    /// Reads a machine file.
    ///
    /// # Errors
    /// If the text is no TOML, has unknown or missing keys, or a value is out of range.
    pub fn parse(text: &str) -> Result<Self> {
        let machine: Self = toml::from_str(text).context("not a machine file")?;
        machine.memory()?;
        machine.low_memory()?;
        ensure!(
            machine.exact.shift <= 10,
            "exact.shift is {}, allowed are 0 to 10 (QEMU's -icount)",
            machine.exact.shift
        );
        Ok(machine)
    }

    /// RAM, unless the scenario says otherwise.
    ///
    /// # Errors
    /// If the file's value is not a size.
    pub fn memory(&self) -> Result<Bytes> {
        size("memory", &self.memory)
    }

    /// The end of the RAM that lies in its file as it lies in the guest.
    ///
    /// # Errors
    /// If the file's value is not a size.
    pub fn low_memory(&self) -> Result<Bytes> {
        size("low_memory", &self.low_memory)
    }
}

fn size(key: &str, text: &str) -> Result<Bytes> {
    text.parse()
        .map_err(|error| anyhow::anyhow!("{key} = {text:?}: {error}"))
}

/// What a machine file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineFile {
    /// A machine.
    Machine(Box<Machine>),
    /// One that no run can be made on.
    Unsupported(Unsupported),
}

/// A machine that no run can be made on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsupported {
    /// The file's name.
    pub name: String,
    /// The architecture, as in `uname -m`.
    pub architecture: String,
    /// What is missing.
    pub unsupported: String,
}

impl MachineFile {
    /// Reads a machine file.
    ///
    /// # Errors
    /// As [`Machine::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("not a machine file")?;
        if table.contains_key("unsupported") {
            let why = toml::from_str(text).context("not a machine file")?;
            return Ok(Self::Unsupported(why));
        }
        Machine::parse(text).map(Box::new).map(Self::Machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: &str = include_str!("../../machines/x86_64.toml");

    #[test]
    fn the_default_machine_is_valid() {
        let machine = Machine::parse(X86_64).expect("a valid machine file");
        assert_eq!(machine.name, "x86_64");
        assert_eq!(machine.memory().expect("a size").0, 256 << 20);
    }

    #[test]
    fn a_machine_that_no_run_can_be_made_on_says_why() {
        let text = include_str!("../../machines/aarch64.toml");
        let MachineFile::Unsupported(aarch64) = MachineFile::parse(text).expect("a machine file")
        else {
            panic!("it is supported")
        };
        assert_eq!(aarch64.name, "aarch64");
        assert!(aarch64.unsupported.contains("no kernel"));
        assert!(matches!(
            MachineFile::parse(X86_64),
            Ok(MachineFile::Machine(_))
        ));
        let error = MachineFile::parse(&format!("{text}cpu = \"max\"\n"));
        assert!(format!("{:#}", error.expect_err("a key too many")).contains("cpu"));
    }

    #[test]
    fn mistakes_are_named() {
        let bad_key = X86_64.replace("seed = 1", "sead = 1");
        let error = Machine::parse(&bad_key).expect_err("an unknown key");
        assert!(format!("{error:#}").contains("sead"), "{error:#}");
        let bad_shift = X86_64.replace("shift = 4", "shift = 11");
        let error = Machine::parse(&bad_shift).expect_err("a shift QEMU does not know");
        assert_eq!(
            format!("{error:#}"),
            "exact.shift is 11, allowed are 0 to 10 (QEMU's -icount)"
        );
        let bad_memory = X86_64.replace("256MiB", "256");
        let error = Machine::parse(&bad_memory).expect_err("a size without a unit");
        assert!(
            format!("{error:#}").starts_with("memory = \"256\": "),
            "{error:#}"
        );
    }
}
