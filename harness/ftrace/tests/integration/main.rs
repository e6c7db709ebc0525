// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the whole crate on data: made sub-buffers and regions, and a real guest's memory.

mod archive;
mod build;
mod capture;
mod golden;
mod read;
mod record;
mod region;
mod robust;
