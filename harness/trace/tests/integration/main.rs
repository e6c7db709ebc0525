// SPDX-License-Identifier: GPL-2.0-only

//! Tests over real captures, against other readers of the same records.

mod capture;
mod made_up;
mod replay;
mod report;
