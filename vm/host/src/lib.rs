// SPDX-License-Identifier: GPL-2.0-only

//! Runs one plan in a virtual machine.
//!
//! In: a machine file, a kernel image, the agent, the modules, a scenario. Out: a folder with the
//! console log, the files that the agent sent and the trace buffer as it stood in guest RAM, and an
//! [`Ending`] that says how the run came to its end. Judges nothing: a panic and a completed plan
//! are both results.
//!
//! The guest has no disk, no network and no shared folder. The plan goes in through fw_cfg, the
//! results come out through a virtio-serial port into a file, and the trace is read from the
//! guest's RAM, so nothing on the host can disturb the measured window. Only a trace that is to be
//! seen while it is made comes through a socket instead ([`run_streamed`]).

mod accelerator;
mod argv;
mod confinement;
mod hang;
mod hardship;
mod host_wait;
mod initramfs;
mod intake;
mod machine;
mod memory;
mod milestones;
mod monitor;
mod plan;
mod qemu;
mod results;
mod shell;
mod symbols;
mod timers;
mod trace;
mod tsc;
mod vm;

pub use accelerator::{Accelerator, Speed, Speeds};
pub use argv::shell_word;
pub use initramfs::{GuestFile, add_boot_config, add_files, initramfs};
pub use intake::{Intake, STREAMED, Sink};
pub use machine::{ExactClock, Machine, MachineFile, Unsupported, WallClock};
pub use milestones::{Milestones, Watch};
pub use plan::plan;
pub use qemu::{Qemu, Version};
pub use results::{CommandResult, Failure, Module, Received, Timers};
pub use shell::{Shell, shell, shell_init};
pub use symbols::kallsyms;
pub use timers::timers_unfit;
pub use vm::{Ending, Outcome, Request, check_memory, default_deadline, run, run_streamed};
