// SPDX-License-Identifier: GPL-2.0-only

//! Many runs in a row leave nothing behind but what is in their folder: no process, no socket, no temporary file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::{argument, code, deferinit, names_in, text};

/// How many runs, if this is set: 500 take half an hour on two CPUs.
const RUNS: &str = "DEFERINIT_LEFTOVER_RUNS";

/// Processes that have this in their arguments, environment or working folder.
fn processes(mark: &str) -> Vec<String> {
    let contains = |content: Vec<u8>| String::from_utf8_lossy(&content).contains(mark);
    let ours = |pid: &String| {
        let folder = Path::new("/proc").join(pid);
        let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
        let is_in =
            fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd.to_string_lossy().contains(mark));
        contains(read("cmdline")) || contains(read("environ")) || is_in
    };
    let pids = names_in(Path::new("/proc")).into_iter();
    pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(ours)
        .collect()
}

#[test]
fn many_runs_leave_no_process_no_socket_and_no_temporary_file() {
    let runs = std::env::var(RUNS).map_or(20, |runs| runs.parse().expect("a number of runs"));
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let mark = folder
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    // One that passes, one that fails and so leaves a bundle, and one whose guest ends itself.
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let fails = write(
        "fails.yaml",
        "summary: Fails.\nworkload: { mode: work, items: 1 }\nexpect:\n- count: { of: ended, equals: 2 }\n",
    );
    let resets = write(
        "resets.yaml",
        "summary: Resets.\ncommand: reboot -f\nexpect:\n- log: { contains: never, at-most: 0 }\n",
    );
    let out = folder.path().join("out");
    let sockets = |mark: &str| {
        let all = fs::read_to_string("/proc/net/unix").expect("sockets");
        all.lines().filter(|line| line.contains(mark)).count()
    };
    for round in 0..runs / 4 {
        let ran = deferinit(&[
            "run",
            "work/immediate",
            "delayed-work/chain",
            argument(&fails),
            argument(&resets),
        ])
        .args(["--out", argument(&out)])
        .env("TMPDIR", &temporary)
        .output()
        .expect("the program starts");
        assert_eq!(code(&ran), 100, "{round}: {}", text(&ran));
        assert_eq!(processes(&mark), Vec::<String>::new(), "{round}");
        assert_eq!(sockets(&mark), 0, "{round}");
        assert_eq!(names_in(&temporary), BTreeSet::new(), "{round}");
        for scenario in ["work/immediate", "fails", "resets"] {
            let vm = names_in(&out.join(scenario).join("vm"));
            let stray = vm
                .iter()
                .find(|name| name.contains("sock") || name.contains("reserve"));
            assert_eq!(stray, None, "{round}");
        }
        fs::remove_dir_all(&out).expect("it can be removed");
    }
    let left = names_in(folder.path());
    let expected = ["fails.yaml", "resets.yaml", "tmp"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(expected));
}
