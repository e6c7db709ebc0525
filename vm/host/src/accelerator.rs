// SPDX-License-Identifier: GPL-2.0-only

//! What executes a guest's instructions on the wall clock: KVM, or QEMU itself (TCG).
//!
//! In: a machine and its QEMU. Out: how many instructions per second a guest of it has with either, and which is faster.
//! That `/dev/kvm` is there says little: under another hypervisor KVM may refuse the CPU model, or run millions of
//! instructions per second where QEMU runs hundreds of millions. So both run the same loops, as the firmware of an
//! otherwise empty machine, in the confinement that runs have, and the host takes the time.
//! Exact mode needs QEMU's counter of instructions, which KVM has not.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::argv;
use crate::confinement::{self, Nobody};
use crate::machine::Machine;
use crate::qemu::{Descriptors, Place, Qemu, Running};

/// What executes a guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU translates them.
    #[default]
    Tcg,
    /// The CPU does.
    Kvm,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcg => "TCG",
            Self::Kvm => "KVM",
        })
    }
}

/// How fast a guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speed {
    /// Instructions per second.
    Measured(u64),
    /// There is no guest, or none that gets on; and why.
    None(String),
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(per_second) => {
                let tenths = per_second / 100_000;
                write!(f, "{}.{} million instructions/s", tenths / 10, tenths % 10)
            }
            Self::None(why) => f.write_str(why),
        }
    }
}

/// How fast guests of a machine are on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speeds {
    /// By the processor.
    pub kvm: Speed,
    /// By QEMU.
    pub tcg: Speed,
}

impl Speeds {
    /// Measures both; takes up to some seconds, and needs a folder for QEMU's files, in which it leaves none.
    ///
    /// # Errors
    /// If a file or a socket cannot be made.
    pub fn measure(machine: &Machine, qemu: &Qemu, folder: &Path) -> Result<Self> {
        Ok(Self {
            kvm: measure(machine, qemu, &["-accel", "kvm"], folder)?,
            tcg: measure(machine, qemu, &["-accel", "tcg"], folder)?,
        })
    }

    /// The faster one.
    #[must_use]
    pub fn faster(&self) -> Accelerator {
        match (&self.kvm, &self.tcg) {
            (Speed::Measured(kvm), Speed::Measured(tcg)) if kvm > tcg => Accelerator::Kvm,
            (Speed::Measured(_), Speed::None(_)) => Accelerator::Kvm,
            _ => Accelerator::Tcg,
        }
    }
}

impl fmt::Display for Speeds {
    /// Which is used, and why not the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kvm, tcg } = self;
        match self.faster() {
            Accelerator::Kvm => write!(f, "KVM, with {kvm} (TCG: {tcg})"),
            Accelerator::Tcg => write!(f, "TCG, with {tcg} (KVM: {kvm})"),
        }
    }
}

/// How often each loop is gone through. A guest that is far too slow does not come to the long ones.
const TURNS: [u32; 4] = [50_000, 500_000, 5_000_000, 50_000_000];

/// In each turn: one that counts down, one that jumps.
const INSTRUCTIONS_PER_TURN: u64 = 2;

/// How long all loops together may take, and QEMU's start.
const LIMIT: Duration = Duration::from_secs(3);

/// Firmware lies at the end of the first 4 GiB, and of the first MiB.
const FIRMWARE_BYTES: usize = 64 << 10;

/// Where the CPU begins (Intel SDM, volume 3, 10.1.4 "First Instruction Executed").
const RESET: usize = FIRMWARE_BYTES - 16;

/// Where the loops are, in the segment `0xf000`.
const BEGIN: u16 = 0xe000;

/// The loops, in real mode: a byte to the port of marks before the first and after each, then QEMU's end.
fn firmware() -> Vec<u8> {
    let [mark, exit] = [argv::MARK_PORT, argv::EXIT_PORT];
    // mov al, '.'; out mark, al
    let tell = [0xb0, b'.', 0xe6, mark];
    let mut code = tell.to_vec();
    for turns in TURNS {
        // mov ecx, turns
        code.extend([0x66, 0xb9]);
        code.extend(turns.to_le_bytes());
        // dec ecx; jnz to the one before
        code.extend([0x66, 0x49, 0x75, 0xfc]);
        code.extend(tell);
    }
    // out exit, al; cli; hlt; jmp to the halt
    code.extend([0xe6, exit, 0xfa, 0xf4, 0xeb, 0xfd]);
    let [low, high] = BEGIN.to_le_bytes();
    // jmp 0xf000:BEGIN
    let first = [0xea, low, high, 0x00, 0xf0];
    let mut image = vec![0; FIRMWARE_BYTES];
    for (place, bytes) in [(usize::from(BEGIN), &*code), (RESET, &first)] {
        let end = place.saturating_add(bytes.len());
        if let Some(slot) = image.get_mut(place..end) {
            slot.copy_from_slice(bytes);
        }
    }
    image
}

fn measure(machine: &Machine, qemu: &Qemu, accelerator: &[&str], folder: &Path) -> Result<Speed> {
    let user = Nobody::needed().map(Nobody::with_kvm);
    let vm = folder.join(format!("speed-{}", std::process::id()));
    confinement::make_private(&vm, user)?;
    let result = run(machine, qemu, accelerator, &vm, user);
    drop(fs::remove_dir_all(&vm));
    result
}

fn run(
    machine: &Machine,
    qemu: &Qemu,
    accelerator: &[&str],
    vm: &Path,
    user: Option<Nobody>,
) -> Result<Speed> {
    let (mut ours, theirs) = UnixStream::pair().context("cannot make a socket")?;
    fs::write(vm.join(argv::LOOPS), firmware()).context("cannot write the loops")?;
    let log = vm.join("stderr.log");
    let stderr = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    confinement::give(vm, user)?;
    let mut running = Running::start(
        &qemu.program,
        &argv::arguments_of_loops(machine, accelerator),
        vm,
        Place::Background(stderr),
        user,
        &Descriptors {
            results: Some(theirs.as_fd()),
            ..Descriptors::default()
        },
    )?;
    drop(theirs);
    let begin = Instant::now();
    let mut marks = Vec::new();
    let mut byte = [0];
    while marks.len() <= TURNS.len() {
        let Some(left) = LIMIT
            .checked_sub(begin.elapsed())
            .filter(|left| !left.is_zero())
        else {
            break;
        };
        ours.set_read_timeout(Some(left))
            .context("cannot set how long QEMU is waited for")?;
        match ours.read(&mut byte) {
            Ok(1) => marks.push(Instant::now()),
            // It has ended, or the time has.
            _ => break,
        }
    }
    let has_ended = running.exited()?.is_some();
    running.kill()?;
    let said = fs::read(&log).unwrap_or_default();
    Ok(match (speed(&marks), marks.is_empty()) {
        (Some(per_second), _) => Speed::Measured(per_second),
        (None, true) if has_ended || !said.is_empty() => Speed::None(last_line(&said)),
        (None, true) => Speed::None(format!("no instruction in {} s", LIMIT.as_secs())),
        (None, false) => Speed::None(format!(
            "not even {} instructions in {} s",
            u64::from(TURNS[0]) * INSTRUCTIONS_PER_TURN,
            LIMIT.as_secs()
        )),
    })
}

/// By the longest loop that came to its end.
fn speed(marks: &[Instant]) -> Option<u64> {
    let intervals = marks.iter().zip(marks.iter().skip(1));
    let (turns, (begin, end)) = TURNS.iter().zip(intervals).next_back()?;
    let instructions = u64::from(*turns).saturating_mul(INSTRUCTIONS_PER_TURN);
    let nanoseconds = end.duration_since(*begin).as_nanos().max(1);
    let per_second = u128::from(instructions).saturating_mul(1_000_000_000) / nanoseconds;
    u64::try_from(per_second).ok()
}

/// What QEMU said at the end, without its own name.
fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().last().unwrap_or("QEMU ended without a word");
    line.split_once(": ")
        .map_or(line, |(_, rest)| rest)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine::parse(include_str!("../../machines/x86_64.toml")).expect("a machine")
    }

    fn measured(accelerator: &[&str]) -> Speed {
        let machine = machine();
        let qemu = Qemu::find(&machine.qemu).expect("QEMU");
        let folder = tempfile::tempdir().expect("a folder");
        let speed = measure(&machine, &qemu, accelerator, folder.path()).expect("measured");
        let left = fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(left, 0, "nothing is left");
        speed
    }

    #[test]
    fn a_guest_whose_instructions_take_a_microsecond_has_a_million_of_them_in_a_second() {
        let Speed::Measured(fast) = measured(&["-accel", "tcg"]) else {
            panic!("TCG runs everywhere");
        };
        let held = [
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=10,align=on",
        ];
        let Speed::Measured(slow) = measured(&held) else {
            panic!("TCG runs everywhere");
        };
        assert!((100_000..2_000_000).contains(&slow), "{slow}");
        assert!(fast > slow * 5, "{fast} and {slow}");
    }

    #[test]
    fn a_guest_that_does_not_get_on_is_none() {
        let stopped = ["-accel", "tcg", "-S"];
        assert_eq!(
            measured(&stopped),
            Speed::None("no instruction in 3 s".to_owned())
        );
    }

    #[test]
    fn qemus_own_words_say_why_there_is_no_guest() {
        let Speed::None(why) = measured(&["-accel", "nothing"]) else {
            panic!("there is no such accelerator");
        };
        assert!(why.contains("invalid accelerator"), "{why}");
    }

    #[test]
    fn the_faster_one_is_used_and_the_line_says_how_fast_the_other_is() {
        let cases = [
            (
                Speed::Measured(3_120_000_000),
                Accelerator::Kvm,
                "KVM, with 3120.0 million instructions/s (TCG: 305.0 million instructions/s)",
            ),
            (
                Speed::Measured(2_449_999),
                Accelerator::Tcg,
                "TCG, with 305.0 million instructions/s (KVM: 2.4 million instructions/s)",
            ),
            (
                Speed::None("no instruction in 3 s".to_owned()),
                Accelerator::Tcg,
                "TCG, with 305.0 million instructions/s (KVM: no instruction in 3 s)",
            ),
        ];
        for (kvm, faster, line) in cases {
            let speeds = Speeds {
                kvm,
                tcg: Speed::Measured(305_000_000),
            };
            assert_eq!(speeds.faster(), faster);
            assert_eq!(speeds.to_string(), line);
        }
    }

    #[test]
    fn the_longest_loop_that_ended_counts() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(speed(&[]), None);
        assert_eq!(speed(&[at(0)]), None);
        // 100,000 instructions in 50 ms; then a million in 100 ms.
        assert_eq!(speed(&[at(0), at(50)]), Some(2_000_000));
        assert_eq!(speed(&[at(0), at(50), at(150)]), Some(10_000_000));
    }
}
