// SPDX-License-Identifier: GPL-2.0-only

//! A workload that is built into the kernel: `tests/data/builtin`, a small one of C and Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use deferinit_host::Machine;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{argument, code, copy, deferinit, project, text};

/// A project whose module is the stand-in.
fn stand_in() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["kbuild", "vm/machines"] {
        copy(&project().join(part), &folder.path().join(part));
    }
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/builtin");
    copy(&data, &folder.path().join("module"));
    folder
}

/// Runs the program in that project to a good end, and returns what it printed.
fn printed(project: &TempDir, arguments: &[&str]) -> String {
    let output = deferinit(arguments)
        .current_dir(project.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 0, "{arguments:?}: {}", text(&output));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    stdout.trim_end().to_owned()
}

/// Boots the kernel of a build with no initramfs, which ends in a panic; returns its console.
fn console(build: &Path, parameters: &str) -> String {
    let machine = include_str!("../../../../vm/machines/x86_64.toml");
    let machine = Machine::parse(machine).expect("a machine");
    let exact = &machine.exact;
    let command_line = [&machine.command_line[..], &exact.command_line[..]].concat();
    let output = Command::new("timeout")
        .args(["120", &machine.qemu, "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-machine", &machine.machine, "-cpu", &machine.cpu])
        .args(["-m", "256M", "-accel", "tcg,thread=single"])
        .args(["-icount", &format!("shift={},sleep=off", exact.shift)])
        .args(["-rtc", &format!("clock=vm,base={}", exact.rtc_base)])
        .args(["-kernel", argument(&build.join("vmlinux"))])
        .args([
            "-append",
            &format!("{} {parameters}", command_line.join(" ")),
        ])
        .output()
        .expect("QEMU starts");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn modified(build: &Path) -> Vec<SystemTime> {
    let time = |name: &str| fs::metadata(build.join(name)).and_then(|file| file.modified());
    ["vmlinux", "Module.symvers", "Makefile", ".vmlinux.o.cmd"]
        .map(|name| time(name).expect("a file of the build"))
        .to_vec()
}

#[test]
fn a_workload_that_is_built_in_runs_as_initcalls_and_is_visible_to_ftrace() {
    let project = stand_in();
    let base = PathBuf::from(printed(&project, &["kernel", "build"]));
    let before = modified(&base);
    let build = PathBuf::from(printed(&project, &["kernel", "build", "--builtin"]));
    assert_ne!(build, base);
    assert_eq!(modified(&base), before, "the other build was written to");
    assert_eq!(
        printed(&project, &["kernel", "path", "--builtin"]),
        argument(&build)
    );
    let list = printed(&project, &["kernel", "list", "--format", "json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let is_builtin = |path: &Path| {
        let builds = list["builds"].as_array().expect("a list");
        let entry = builds.iter().find(|entry| entry["path"] == argument(path));
        entry.expect("the build")["builtin"] == true
    };
    assert!(is_builtin(&build) && !is_builtin(&base), "{list}");

    let console = console(
        &build,
        "ignore_loglevel stand_in.wanted=7 ftrace=function ftrace_filter=deferred_stand_in_* ftrace_dump_on_oops",
    );
    for line in [
        "stand_in: the Rust initcall ran",
        "stand_in: the late initcall wanted 7 and got 42",
        "deferred_stand_in_late <-do_one_initcall",
        "deferred_stand_in_answer <-deferred_stand_in_late",
    ] {
        assert!(console.contains(line), "no {line} in:\n{console}");
    }
}

#[test]
fn a_module_that_cannot_be_built_in_ends_101_and_names_its_kbuild() {
    let project = stand_in();
    let kbuild = project.path().join("module/Kbuild");
    fs::write(&kbuild, "obj-m := stand_in_late.o\n").expect("a file");
    let output = deferinit(&["kernel", "build", "--builtin"])
        .current_dir(project.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 101, "{}", text(&output));
    for part in ["module/Kbuild", "obj-y", "TEST_DEFERRED_BUILTIN=y"] {
        assert!(text(&output).contains(part), "{}", text(&output));
    }
}
