// SPDX-License-Identifier: GPL-2.0-only

//! Measures what a boot costs, and a run.
//!
//! In: a kernel in the cache, QEMU, two free CPUs. Out: a table of medians of wall time, and an error if a bound is missed.
//! The limit is QEMU alone, with the same kernel, machine and command line: it boots, finds nothing to do, and powers off.
//! All are measured in turn, in every round. Beside them stand the tools that boot a kernel to run something in it, where
//! they can boot this one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::child::{self, is_installed};
use crate::steps::cargo;

/// The scenario whose guest is booted: one that passes on a busy host, too.
const BOOTED: &str = "delayed-work/unload-while-pending";

/// Rounds, each with every measurement once.
const ROUNDS: usize = 5;

/// The longest that a guest may take to come up.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often a guest is looked at.
const POLL: Duration = Duration::from_millis(1);

/// The agent's first word.
const HELLO: &[u8] = b"{\"hello\":";

/// Bounds in seconds, on two cores.
const READY_EXACT: f64 = 1.2;
const READY_WALL: f64 = 1.0;

/// What the other rows of a clock are held against.
const LIMIT: &str = "QEMU alone, to power-off";

/// A row of the table.
struct Row {
    name: String,
    seconds: Vec<f64>,
    bound: Option<f64>,
}

impl Row {
    fn new(name: &str, bound: Option<f64>) -> Self {
        Self {
            name: name.to_owned(),
            seconds: Vec::new(),
            bound,
        }
    }

    fn median(&self) -> Result<f64> {
        let mut seconds = self.seconds.clone();
        seconds.sort_unstable_by(f64::total_cmp);
        let middle = seconds.get(seconds.len() / 2).copied();
        middle.with_context(|| format!("{} was not measured", self.name))
    }
}

/// Runs the measurements and prints their table.
///
/// # Errors
/// Something cannot be run, or a bound is missed.
pub(super) fn run(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let deferinit = program(root)?;
    let build = PathBuf::from(super::deferinit(root, &["kernel", "path"])?.trim());
    let mut rows = Vec::new();
    for (clock, bound) in [("exact", READY_EXACT), ("wall", READY_WALL)] {
        let out = folder.path().join(clock);
        run_scenarios(&deferinit, &[BOOTED, "--clock", clock], &out)?;
        let images = Images {
            kernel: build.join("vmlinux"),
            initramfs: out.join("initramfs.cpio"),
        };
        let vm = out.join(BOOTED).join("vm");
        let mut alone = Row::new(&format!("{LIMIT} ({clock})"), None);
        let mut ready = Row::new(
            &format!("until the agent's first word ({clock})"),
            Some(bound),
        );
        for _ in 0..ROUNDS {
            alone.seconds.push(power_off(&images, &vm, folder.path())?);
            ready
                .seconds
                .push(until_ready(&images, &vm, folder.path())?);
        }
        rows.extend([alone, ready]);
    }
    let mut run = Row::new("a run up to its verdict (exact)", None);
    let repeat = ROUNDS.to_string();
    let arguments = [BOOTED, "--jobs", "1", "--repeat", &repeat];
    run.seconds = run_scenarios(&deferinit, &arguments, &folder.path().join("runs"))?;
    // Beside the others of its clock.
    rows.insert(2, run);
    print!("{}", table(&rows)?);
    println!("{}", others(&build)?);
    judge(&rows)
}

/// The program as `make run` runs it.
fn program(root: &Path) -> Result<PathBuf> {
    child::run(cargo(root).args(["build", "--package", "deferinit"]))?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .current_dir(root)
        .exec()
        .context("cannot ask cargo for its target folder")?;
    Ok(metadata.target_directory.join("debug/deferinit").into())
}

/// Runs scenarios; returns the wall time of each run, in seconds.
fn run_scenarios(deferinit: &Path, arguments: &[&str], out: &Path) -> Result<Vec<f64>> {
    child::output(
        Command::new(deferinit)
            .arg("run")
            .args(arguments)
            .arg("--out")
            .arg(out),
    )?;
    let path = out.join("results.json");
    let json = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let json: serde_json::Value = serde_json::from_slice(&json).context("reading results.json")?;
    let runs = json["scenarios"].as_array().context("there are no runs")?;
    let seconds = runs.iter().filter_map(|run| run["wall_seconds"].as_f64());
    Ok(seconds.collect())
}

/// Boots the guest of a run until it powers off: it has no results to send, and so nothing to do.
fn power_off(images: &Images, vm: &Path, folder: &Path) -> Result<f64> {
    let drop = ["-S", "-mon ", "-fw_cfg ", "id=monitor", "results"];
    let mut guest = Guest::start(images, vm, folder, &drop)?;
    let begin = Instant::now();
    loop {
        if let Some(status) = guest.0.try_wait()? {
            ensure!(status.success(), "QEMU has ended with {status}");
            return Ok(begin.elapsed().as_secs_f64());
        }
        ensure!(begin.elapsed() < DEADLINE, "QEMU does not power off");
        thread::park_timeout(POLL);
    }
}

/// Boots the guest of a run until its agent says that it is ready.
fn until_ready(images: &Images, vm: &Path, folder: &Path) -> Result<f64> {
    let mut guest = Guest::start(images, vm, folder, &["-S", "-mon ", "id=monitor"])?;
    let begin = Instant::now();
    let results = folder.join("guest/results.bin");
    loop {
        let sent = fs::read(&results).unwrap_or_default();
        if sent.windows(HELLO.len()).any(|window| window == HELLO) {
            return Ok(begin.elapsed().as_secs_f64());
        }
        let ended = guest.0.try_wait()?.is_some();
        ensure!(
            !ended && begin.elapsed() < DEADLINE,
            "the agent is not ready"
        );
        thread::park_timeout(POLL);
    }
}

/// What a guest boots: the harness hands over open files, which have no names in another process.
struct Images {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Images {
    /// An argument with the name of the file that it stands for.
    fn named(&self, line: &str) -> String {
        let file = match line.split_once(' ') {
            Some(("-kernel", _)) => &self.kernel,
            Some(("-initrd", _)) => &self.initramfs,
            _ => return line.to_owned(),
        };
        let (option, _) = line.split_at("-kernel".len());
        format!("{option} '{}'", file.display())
    }
}

/// A QEMU that is gone when this is.
struct Guest(Child);

impl Guest {
    /// Starts the QEMU of a run again in a folder of its own, with RAM that nobody else reads and without the arguments
    /// that have one of `dropped` in them.
    fn start(images: &Images, vm: &Path, folder: &Path, dropped: &[&str]) -> Result<Self> {
        let own = folder.join("guest");
        // It is not there the first time.
        drop(fs::remove_dir_all(&own));
        fs::create_dir(&own).with_context(|| format!("cannot make {}", own.display()))?;
        fs::copy(vm.join("plan.json"), own.join("plan.json")).context("copying the plan")?;
        let argv = fs::read_to_string(vm.join("argv")).context("reading the arguments of QEMU")?;
        let kept: Vec<String> = argv
            .lines()
            .map(|line| line.trim_end_matches('\\').trim())
            .filter(|line| !dropped.iter().any(|part| line.contains(part)))
            .map(|line| images.named(&private_memory(line)))
            .collect();
        let child = Command::new("sh")
            .args(["-c", &format!("exec {}", kept.join(" "))])
            .current_dir(&own)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting QEMU")?;
        Ok(Self(child))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// RAM is a file that the harness hands over: here, nobody does.
fn private_memory(line: &str) -> String {
    match line.split_once("memory-backend-file") {
        Some((before, options)) => {
            let options: Vec<&str> = options
                .split(',')
                .filter(|option| !option.starts_with("mem-path=") && *option != "share=on")
                .collect();
            format!("{before}memory-backend-ram{}", options.join(","))
        }
        None => line.to_owned(),
    }
}

/// What there is to say of tools that boot a kernel to run something in it.
fn others(build: &Path) -> Result<String> {
    let path = build.join(".config");
    let config =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lacks = |options: &[&'static str]| -> Vec<&'static str> {
        let is_set = |option: &str| config.contains(&format!("\nCONFIG_{option}=y"));
        options.iter().copied().filter(|o| !is_set(o)).collect()
    };
    let mut text = String::new();
    // virtme-ng shares the root of the host with the guest, kunit.py runs the tests in the kernel.
    for (tool, needed) in [
        ("vng", &["NET_9P_VIRTIO", "9P_FS"][..]),
        ("kunit.py", &["KUNIT"]),
    ] {
        let lacking = lacks(needed);
        let installed = if is_installed(tool) {
            ""
        } else {
            "not installed, and "
        };
        ensure!(
            !lacking.is_empty(),
            "{tool} could boot this kernel, and this benchmark does not measure it"
        );
        let _ = writeln!(
            text,
            "{tool}: {installed}cannot boot this kernel, which was built without {}",
            lacking.join(", ")
        );
    }
    Ok(text)
}

fn table(rows: &[Row]) -> Result<String> {
    let mut text = format!("Boots and runs (medians of wall time, {ROUNDS} rounds)\n");
    let mut limit = rows.first().context("nothing was measured")?.median()?;
    let _ = writeln!(
        text,
        "{:38}{:>10}{:>12}{:>10}",
        "", "seconds", "of QEMU's", "bound"
    );
    for row in rows {
        let median = row.median()?;
        if row.name.starts_with(LIMIT) {
            limit = median;
        }
        let bound = row
            .bound
            .map_or_else(|| "-".to_owned(), |bound| bound.to_string());
        let _ = writeln!(
            text,
            "{:38}{median:>10.3}{:>12.2}{bound:>10}",
            row.name,
            median / limit
        );
    }
    Ok(text)
}

fn judge(rows: &[Row]) -> Result<()> {
    let mut missed = Vec::new();
    for row in rows {
        let median = row.median()?;
        if let Some(bound) = row.bound.filter(|bound| median > *bound) {
            missed.push(format!("{}: {median:.3} s, bound {bound} s", row.name));
        }
    }
    ensure!(missed.is_empty(), "{}", missed.join("; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_run_becomes_private() {
        let line =
            "-object memory-backend-file,id=ram,mem-path=/proc/self/fd/64,size=256M,share=on";
        let private = "-object memory-backend-ram,id=ram,size=256M";
        assert_eq!(private_memory(line), private);
        assert_eq!(private_memory("-smp 1"), "-smp 1");
    }

    #[test]
    fn open_files_of_a_run_become_names() {
        let images = Images {
            kernel: PathBuf::from("/k/vmlinux"),
            initramfs: PathBuf::from("/i.cpio"),
        };
        let named = |line| images.named(line);
        assert_eq!(named("-kernel /proc/self/fd/67"), "-kernel '/k/vmlinux'");
        assert_eq!(named("-initrd /proc/self/fd/68"), "-initrd '/i.cpio'");
        assert_eq!(named("-smp 1"), "-smp 1");
    }

    #[test]
    fn a_bound_that_is_missed_is_named() {
        let mut row = Row::new("a run", Some(0.2));
        assert!(judge(std::slice::from_ref(&row)).is_err(), "not measured");
        row.seconds = vec![0.1, 0.3, 0.15];
        judge(std::slice::from_ref(&row)).expect("its median is below");
        row.seconds.push(0.4);
        let error = judge(&[row]).expect_err("its median is above");
        assert_eq!(error.to_string(), "a run: 0.300 s, bound 0.2 s");
    }
}
