// SPDX-License-Identifier: GPL-2.0-only

//! Runs every fuzz target for a while: LLVM's libFuzzer on the parsers of bytes that come from outside.
//!
//! In: the packages with fuzz targets, and the inputs in their `seeds` folders to start from. Out: success, or the input
//! that made a target panic, hang or take too much memory.
//! The targets are built as `cargo fuzz` builds them, but by the stable compiler and without a sanitizer: the crates have
//! no unsafe code. `DEFERINIT_FUZZ_SECONDS` says for how long each runs; what was found to be interesting is kept in
//! `target/fuzz`, so a later run goes on from there.

use std::{env, fs, path::Path, process::Command, thread};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    child::{self, Tool},
    steps::{cargo, entries},
};

/// libFuzzer is written in C++.
const CXX: Tool = Tool {
    program: "c++",
    install: "apt-get install g++",
};

/// The packages with fuzz targets, below the workspace's root.
const PACKAGES: [&str; 1] = ["harness/ftrace/fuzz"];

/// The target triple is named so that build scripts are not instrumented.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What makes the compiler report to libFuzzer which code ran and what was compared (`SanitizerCoverage` in LLVM's
/// documentation).
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// How long each target runs, unless the environment says so.
const SECONDS: u64 = 60;
const SECONDS_VARIABLE: &str = "DEFERINIT_FUZZ_SECONDS";

/// An input that takes longer, or more memory, is a finding.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// How much of a failed target's log is shown.
const LAST_LINES: usize = 20;

/// Runs all targets of all packages, side by side.
///
/// # Errors
/// A target does not build, or found something.
pub(crate) fn run(root: &Path) -> Result<()> {
    CXX.require()?;
    let seconds = match env::var(SECONDS_VARIABLE) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{SECONDS_VARIABLE}={text:?} is no number of seconds"))?,
        Err(_) => SECONDS,
    };
    let build = root.join("target/fuzz");
    let mut runs = Vec::new();
    for package in PACKAGES {
        let package = root.join(package);
        child::run(
            cargo(&package)
                .args(["build", "--locked", "--release", "--target", TRIPLE])
                .arg("--target-dir")
                .arg(&build)
                .env("RUSTFLAGS", INSTRUMENTATION),
        )?;
        for seeds in entries(&package.join("seeds"))? {
            let name = seeds.file_name().unwrap_or_default().to_owned();
            let found = build.join("found").join(&name);
            fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
            let program = build.join(TRIPLE).join("release").join(&name);
            runs.push((name.to_string_lossy().into_owned(), program, found, seeds));
        }
    }
    let outcomes: Vec<Result<String>> = thread::scope(|scope| {
        let started: Vec<_> = runs
            .iter()
            .map(|(name, program, found, seeds)| {
                scope.spawn(move || target(name, program, found, seeds, seconds))
            })
            .collect();
        started
            .into_iter()
            .map(|run| run.join().unwrap_or_else(|_| bail!("the thread panicked")))
            .collect()
    });
    for outcome in outcomes {
        println!("    {}", outcome?);
    }
    Ok(())
}

/// Runs one target; returns what it did.
fn target(name: &str, program: &Path, found: &Path, seeds: &Path, seconds: u64) -> Result<String> {
    let log = found.with_extension("log");
    let file = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(LIMITS)
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}.", found.display()))
        .args([found, seeds])
        // It says nothing on standard output.
        .stderr(file);
    let outcome = child::run(&mut command);
    let said = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if let Err(error) = outcome {
        let lines: Vec<&str> = said.lines().collect();
        let last = lines.len().saturating_sub(LAST_LINES);
        return Err(error.context(format!(
            "the fuzz target {name} found something; the end of {} is:\n{}",
            log.display(),
            lines[last..].join("\n")
        )));
    }
    let runs: u64 = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .and_then(|count| count.trim().parse().ok())
        .with_context(|| format!("the fuzz target {name} does not say how much it did"))?;
    ensure!(runs > 0, "the fuzz target {name} did nothing");
    Ok(format!(
        "{name}: {runs} inputs in {seconds} s, nothing found"
    ))
}
