// SPDX-License-Identifier: GPL-2.0-only

//! What the harness tells the agent, and what the agent sends back.
//!
//! The [`Plan`] goes in through QEMU's fw_cfg as JSON. The results come out through a virtio-serial
//! port as a sequence of frames ([`frame`]), each a [`Message`] with a payload.
//!
//! Pure: types, encoding and decoding; no I/O, no clock, no panic on any input. What comes out of a
//! guest is not trusted: lengths are bounded before anything is allocated, and names are checked so
//! that none of them can be used as a path.

#![forbid(unsafe_code)]

pub mod frame;
mod message;
mod plan;
mod trace;

pub use message::{Capture, CommandEnd, FileKind, Message, PhaseEnd, RoundsRecord, Section};
pub use plan::{Command, Phase, Plan, Round, Until};
pub use trace::{Buffer, How, PidFile, PidFilter, Scope, Setting, Since, TaskOf, TextFile, Trace};

/// The version of plan and frames; both sides are built together, so it must be equal.
pub const VERSION: u32 = 2;

/// The fw_cfg file that holds the plan.
pub const FW_CFG_PLAN: &str = "opt/org.deferinit/plan";

/// The name of the virtio-serial port that takes the results.
pub const RESULT_PORT: &str = "org.deferinit.results";

/// The ftrace instance that records the measured window.
pub const INSTANCE: &str = "deferinit";

/// The name of the module, without `.ko`.
pub const MODULE: &str = "test_deferred";

/// Where the module lies in the initramfs.
pub const MODULE_PATH: &str = "/test_deferred.ko";

/// Where the module that owns the trace events lies in the initramfs; it stays loaded.
pub const EVENTS_MODULE_PATH: &str = "/test_deferred_events.ko";

/// The system of the module's trace events.
pub const EVENTS_SYSTEM: &str = "test_deferred";

/// Where the shell lies in the initramfs of runs that have a command.
pub const SHELL_PATH: &str = "/bin/busybox";

/// More than this of a command's output does not fit into the file system that takes it.
pub const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// No more than this of a report is sent.
pub const MAX_REPORT_BYTES: u64 = 16 << 20;

/// What every marker in the trace begins with.
pub const MARKER_PREFIX: &str = "deferinit: ";
