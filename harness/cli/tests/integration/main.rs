// SPDX-License-Identifier: GPL-2.0-only

//! The `deferinit` program as a user runs it, on a real kernel in a real QEMU.
//!
//! What needs a kernel uses the one in the cache; `make test` builds it first.

mod analysis;
mod bisect;
mod builtin;
mod bundles;
mod command;
mod cost;
mod debugger;
mod endings;
mod explore;
mod faults;
mod guests;
mod harness;
mod jobs;
mod leftovers;
mod live;
mod machines;
mod mistakes;
mod record;
mod recv;
mod repeats;
mod shell;
mod soak;
mod timers;
mod trace;
mod trace_damage;
mod trace_differential;
mod trace_files;
mod tui;
mod twins;
mod wall;
mod whole;
