// SPDX-License-Identifier: GPL-2.0-only

//! What the harness tells the agent, and what the agent sends back.
//!
//! The [`Plan`] goes in through QEMU's fw_cfg as JSON. The results come out through a virtio-serial
//! port as a sequence of frames ([`frame`]), each a [`Message`] with a payload.
//!
//! # A streamed trace
//!
//! Where [`Trace::streamed`] is set, and from `deferinit-agent send`, the trace comes while it is made. The frames are the
//! same, in this order:
//!
//! 1. [`Message::Hello`], with [`Capture::Streamed`]; the receiver refuses another [`VERSION`].
//! 2. The description, as files: `header_page`, `header_event`, a `format` for each event, `trace_clock`, and from `send`
//!    also [`FileKind::Kallsyms`], since its receiver has no build of the kernel.
//! 3. Rounds, [`STREAM_INTERVAL`] apart. In each, every CPU's `trace_pipe_raw` is read until it has no more:
//!    [`FileKind::SavedCmdlines`] if it has changed, [`Message::SubBuffers`] of each CPU that has some, and at the end
//!    [`Message::AllRead`], also if there was nothing. What a round brings is not older than what was there when the round
//!    began; so after it, everything up to the newest record of the round before can be put in order.
//!    Between them come [`Message::PhaseBegun`], [`Message::CommandEnded`] and so on, as they happen.
//! 4. After the window: `printk_formats`, `saved_cmdlines`, the `stats` of each CPU, one more round, other files, and
//!    [`Message::Finished`]; or one of the other last frames.
//!
//! A stream that ends without a last frame was cut off; what came until then is whole. A payload is at most
//! [`MAX_STREAM_PAYLOAD_BYTES`] long. The receiver writes [`RECEIVED`] when it has taken the last frame. It may write [`STOP`]
//! before; the agent of a guest then ends as if the command had ended, with [`PhaseEnd::Stopped`]. `send` does not listen
//! to that word: its user ends it.
//!
//! Pure: types, encoding and decoding; no I/O, no clock, no panic on any input. What comes out of a
//! guest is not trusted: lengths are bounded before anything is allocated, and names are checked so
//! that none of them can be used as a path.

#![forbid(unsafe_code)]

use std::time::Duration;

pub mod frame;
mod message;
mod plan;
mod trace;

pub use message::{Capture, CommandEnd, FileKind, Message, PhaseEnd, RoundsRecord, Section};
pub use plan::{Command, Phase, Plan, Round, Until};
pub use trace::{Buffer, How, PidFile, PidFilter, Scope, Setting, Since, TaskOf, TextFile, Trace};

/// The version of plan and frames; both sides are built together, so it must be equal.
pub const VERSION: u32 = 4;

/// The fw_cfg file that holds the plan.
pub const FW_CFG_PLAN: &str = "opt/org.deferinit/plan";

/// The name of the virtio-serial port that takes the results.
pub const RESULT_PORT: &str = "org.deferinit.results";

/// What the host writes to the port to end a run whose trace is streamed.
pub const STOP: u8 = b's';

/// What a receiver writes when the last frame has come: not before may the sender go away, since what it has written may
/// still be on its way, and lost with it.
pub const RECEIVED: u8 = b'r';

/// How long it is from one round of reading a streamed trace to the next.
pub const STREAM_INTERVAL: Duration = Duration::from_millis(100);

/// No payload of a streamed trace is longer: the symbols of a kernel with many modules have some 20 MiB.
pub const MAX_STREAM_PAYLOAD_BYTES: u64 = 64 << 20;

/// The numbers of CPUs of a streamed trace are below this.
pub const MAX_STREAM_CPUS: u32 = 1024;

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
