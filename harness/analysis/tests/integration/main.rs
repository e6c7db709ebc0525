// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the analysis: on real captures, and on records made by hand with known answers.

mod cost;
mod explain;
mod graph;
mod made;
mod repeated;
