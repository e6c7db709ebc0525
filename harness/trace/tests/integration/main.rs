// SPDX-License-Identifier: GPL-2.0-only

//! Tests over real captures and texts, against other readers of the same records. `tests/data/*/README.md` say where
//! they are from.

mod capture;
mod captures;
mod dumps;
mod events;
mod expressions;
mod fields;
mod made_up;
mod replay;
mod report;
mod robust;
mod texts;
