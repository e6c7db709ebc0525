// SPDX-License-Identifier: GPL-2.0-only

//! Starting the program and reading what it leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the project")
}

/// The program, to be run in the project's folder.
pub(crate) fn deferinit(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deferinit"));
    command.args(arguments).current_dir(project());
    command
}

/// Runs the program to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    deferinit(arguments).output().expect("the program starts")
}

/// Its exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

/// All it printed, for messages and searches.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The entries of a `results.json`.
pub(crate) fn results(out: &Path) -> Vec<Value> {
    let bytes = std::fs::read(out.join("results.json")).expect("results.json");
    let json: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(json["format_version"], 1);
    json["scenarios"]
        .as_array()
        .expect("a list of scenarios")
        .clone()
}

/// A path as an argument.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The text of one of the project's scenarios.
pub(crate) fn scenario(name: &str) -> String {
    let path = project().join(format!("scenarios/{name}.yaml"));
    std::fs::read_to_string(&path).expect("a scenario")
}

/// The names of all of the project's scenarios.
pub(crate) fn all_names() -> Vec<String> {
    let listed = output(&["list", "--format", "json"]);
    let json: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let scenarios = json["scenarios"].as_array().expect("a list");
    scenarios
        .iter()
        .map(|entry| entry["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Copies a folder with all in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Whether a process is there, a zombie not counted.
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until a guest's window is open, that is its trace is described and being recorded; its QEMU's process id.
pub(crate) fn pid_in_window(vm: &Path) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        let sent = fs::read(vm.join("results.bin")).unwrap_or_default();
        if sent.windows(11).any(|window| window == b"phase-begun") {
            let text = fs::read_to_string(vm.join("pid")).expect("a pid file");
            return text.trim().parse().expect("a pid");
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the guest of {} did not come up within 120 s", vm.display());
}

/// The numbers behind each `mark` in a report.
pub(crate) fn marks(text: &str) -> Vec<u64> {
    text.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("mark ")?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

/// The names in a folder.
pub(crate) fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    };
    entries.map(name).collect()
}
