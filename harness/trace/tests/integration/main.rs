// SPDX-License-Identifier: GPL-2.0-only

//! Tests of event queries and exports on a real guest's captures and texts; `tests/data/linux-7.3.4/README.md` says
//! where they are from.

mod captures;
mod dumps;
mod events;
mod expressions;
mod fields;
mod robust;
mod texts;
mod wire;
