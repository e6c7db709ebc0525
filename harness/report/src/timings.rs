// SPDX-License-Identifier: GPL-2.0-only

//! Where the wall time of runs went.
//!
//! In: the runs, of which each says how long its stages took. Out: a table, and the stage that took most.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::table::columns;
use crate::{RunResult, Terminal, text::seconds};

/// How long the stages of a run took on the host's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// Getting or building kernel, module and initramfs; once for all runs of an invocation, and the same in each.
    #[serde(rename = "build_seconds", serialize_with = "as_seconds")]
    pub build: Duration,
    /// From the start of QEMU to the agent's first word.
    #[serde(rename = "boot_seconds", serialize_with = "as_seconds")]
    pub boot: Duration,
    /// From there to the begin of the first phase: what is traced is armed, and described.
    #[serde(rename = "arm_seconds", serialize_with = "as_seconds")]
    pub arm: Duration,
    /// From there to the end of the last phase.
    #[serde(rename = "run_seconds", serialize_with = "as_seconds")]
    pub run: Duration,
    /// From there until QEMU is gone and what the guest left is read.
    #[serde(rename = "collect_seconds", serialize_with = "as_seconds")]
    pub collect: Duration,
    /// From the trace's bytes to the timeline and trace.dat.
    #[serde(rename = "decode_seconds", serialize_with = "as_seconds")]
    pub decode: Duration,
    /// The verdict, and the comparison with another run.
    #[serde(rename = "judge_seconds", serialize_with = "as_seconds")]
    pub judge: Duration,
}

impl Timings {
    /// Adds a further boot or run, which shares its build with this one.
    pub fn add(&mut self, other: &Self) {
        self.build = self.build.max(other.build);
        self.boot += other.boot;
        self.arm += other.arm;
        self.run += other.run;
        self.collect += other.collect;
        self.decode += other.decode;
        self.judge += other.judge;
    }

    /// The stages in their order, with what they are.
    fn stages(&self) -> [(&'static str, Duration, &'static str); 7] {
        [
            (
                "build",
                self.build,
                "kernel, module and initramfs, once for all runs",
            ),
            (
                "boot",
                self.boot,
                "from the start of QEMU to the agent's first word",
            ),
            ("arm", self.arm, "arming the trace and describing it"),
            (
                "run",
                self.run,
                "from the begin of the first phase to the end of the last",
            ),
            ("collect", self.collect, "results, kernel log, power-off"),
            (
                "decode",
                self.decode,
                "from the trace's bytes to a timeline and trace.dat",
            ),
            ("judge", self.judge, "the verdict"),
        ]
    }
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1_000.0).round() / 1_000.0)
}

/// A table of all stages, and the one that took most; nothing if no run was timed. Runs that went on at one time count
/// in full, each.
#[must_use]
pub fn timings(results: &[RunResult], terminal: Terminal) -> String {
    let timed: Vec<&Timings> = results
        .iter()
        .filter_map(|run| run.timings.as_ref())
        .collect();
    if timed.is_empty() {
        return String::new();
    }
    let mut sum = Timings::default();
    for timings in &timed {
        sum.add(timings);
    }
    let stages = sum.stages();
    let total: Duration = stages.iter().map(|(_, time, _)| *time).sum();
    let share = |time: Duration| {
        let share = time.as_nanos() * 100 / total.as_nanos().max(1);
        format!("{share} %")
    };
    let rows = stages
        .iter()
        .map(|(name, time, what)| {
            let mean = match *name {
                "build" => String::new(),
                _ => format!("{:.2} s", time.as_secs_f64() / timed.len() as f64),
            };
            [
                (*name).to_owned(),
                seconds(*time),
                share(*time),
                mean,
                (*what).to_owned(),
            ]
            .to_vec()
        })
        .collect();
    let table = columns(
        &["Stage", "Time", "Share", "Each run", "What"],
        rows,
        terminal,
    );
    let largest = stages.iter().max_by_key(|(_, time, _)| *time);
    let largest = largest.map_or(String::new(), |(name, time, _)| {
        format!(
            "Most of it is {name}: {} of {}.\n",
            seconds(*time),
            seconds(total)
        )
    });
    format!("\nWall time, all runs added up:\n{table}{largest}")
}
