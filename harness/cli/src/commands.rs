// SPDX-License-Identifier: GPL-2.0-only

//! The commands, a file each.

pub(crate) mod baseline;
pub(crate) mod bisect;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod cost;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod explore;
pub(crate) mod graph;
pub(crate) mod kernel;
pub(crate) mod list;
pub(crate) mod module;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod shell;
pub(crate) mod trace;
pub(crate) mod what_if;
