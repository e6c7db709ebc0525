// SPDX-License-Identifier: GPL-2.0-only

//! Scenario files from outside: bad ones and their messages, good ones and their meaning, the repository's own.

mod bad;
mod good;
mod hostile;
mod repository;
mod rules;
mod tracing;
