// SPDX-License-Identifier: GPL-2.0-only

//! Builds with the real kernel build system.
//!
//! They need the default kernel in the cache; `make test` builds it first.

mod rust_fentry;
