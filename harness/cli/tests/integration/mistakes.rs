// SPDX-License-Identifier: GPL-2.0-only

//! What a user's mistake gets: an exit code, and a message that names it.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::harness::{argument, code, copy, deferinit, output, project, text};

const GOOD: &str = "summary: Test.\nworkload: { mode: delayed, items: 2, delay: 8ms }\nexpect:\n- count: { of: ended, equals: 2 }\n";

/// Runs the program up to three times: another test may keep the host busy for a while.
fn quickest_of_three(arguments: &[&str]) -> (Output, Duration) {
    let timed = || {
        let begin = Instant::now();
        (output(arguments), begin.elapsed())
    };
    let runs = std::iter::repeat_with(timed).take(3);
    runs.min_by_key(|(_, time)| *time).expect("three runs")
}

#[test]
fn scenario_files_with_mistakes_end_2_within_a_second_and_name_the_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = vec![b'#'; 100 << 20];
    let bomb = format!("a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n{GOOD}");
    let cases: [(&str, Vec<u8>, &str); 8] = [
        (
            "misspelt",
            GOOD.replace("items", "itmes").into_bytes(),
            ":2:28: ",
        ),
        (
            "bare-number",
            GOOD.replace("8ms", "8").into_bytes(),
            ":2:45: ",
        ),
        (
            "unknown-mode",
            GOOD.replace("delayed", "postponed").into_bytes(),
            ":2:19: ",
        ),
        (
            "percentile",
            GOOD.replace(
                "count: { of: ended, equals: 2 }",
                "lateness: { of: started, percentiles: [{ p: 101, max: 1ms }] }",
            )
            .into_bytes(),
            ":4:47: ",
        ),
        ("empty", Vec::new(), ":1:1: "),
        ("not-utf8", b"summary: \xff\n".to_vec(), ":1:10: "),
        ("large", large, ":1:1: "),
        ("bomb", bomb.into_bytes(), ":1:"),
    ];
    for (name, content, place) in cases {
        let file = folder.path().join(format!("{name}.yaml"));
        fs::write(&file, content).expect("a file");
        for arguments in [["check", argument(&file)], ["run", argument(&file)]] {
            let (output, time) = quickest_of_three(&arguments);
            assert_eq!(code(&output), 2, "{name}: {}", text(&output));
            assert!(time < Duration::from_secs(1), "{name} took {time:?}");
            let expected = format!("{name}.yaml{place}");
            assert!(
                text(&output).contains(&expected),
                "{name}: no {expected} in {}",
                text(&output)
            );
            assert!(
                text(&output).contains("allowed: "),
                "{name}: {}",
                text(&output)
            );
        }
    }
}

#[test]
fn a_scenario_that_is_not_there_ends_2_and_names_those_that_are() {
    let output = output(&["run", "delayed-work/acuracy"]);
    assert_eq!(code(&output), 2);
    assert!(
        text(&output).contains("delayed-work/accuracy"),
        "{}",
        text(&output)
    );
}

#[test]
fn an_unknown_option_ends_2() {
    assert_eq!(code(&output(&["run", "--clok", "exact"])), 2);
    assert_eq!(code(&output(&["run", "--repeat", "0"])), 2);
}

#[test]
fn options_that_exclude_each_other_end_2_and_are_named() {
    for other in ["--kernel-tree=a", "--debug-kernel", "--builtin"] {
        let all = [&["kernel", "build"][..], &["kernel", "path"], &["run"]];
        // What a run needs in the kernel's image, its scenarios say.
        let commands = if other == "--builtin" {
            &all[..2]
        } else {
            &all
        };
        for command in commands {
            let arguments = [*command, &[other, "--kernel-build=b"]].concat();
            let output = output(&arguments);
            assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output));
            let option = other.split('=').next().expect("an option");
            let said = text(&output);
            assert!(
                said.contains(option) && said.contains("--kernel-build"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_file_that_is_no_module_ends_2_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (module, out) = (folder.path().join("mine.ko"), folder.path().join("out"));
    fs::write(&module, "text").expect("a file");
    let output = output(&[
        "run",
        "delayed-work/chain",
        "--insmod",
        argument(&module),
        "--out",
        argument(&out),
    ]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    for part in ["--insmod", "mine.ko", "no kernel module"] {
        assert!(text(&output).contains(part), "{}", text(&output));
    }
    assert!(!out.exists());
}

#[test]
fn an_output_folder_with_something_in_it_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept");
    fs::write(&kept, "mine").expect("a file");
    let output = output(&["run", "--out", argument(folder.path())]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    assert!(text(&output).contains("is not empty"), "{}", text(&output));
    assert_eq!(fs::read(&kept).expect("still there"), b"mine");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_tree_that_is_no_kernel_ends_96() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = refused(folder.path());
    assert!(output.contains(argument(folder.path())), "{output}");
}

#[test]
fn a_kernel_that_is_too_old_ends_96_and_names_both_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let makefile = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\nEXTRAVERSION =\nNAME = Old\n";
    fs::write(folder.path().join("Makefile"), makefile).expect("a file");
    for part in [
        "Kconfig",
        "arch/x86/Makefile",
        "include/linux/kernel.h",
        "scripts/Makefile.build",
    ] {
        let file = folder.path().join(part);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
        fs::write(file, "").expect("a file");
    }
    let output = refused(folder.path());
    assert!(
        output.contains("6.12") && output.contains("7.2"),
        "{output}"
    );
}

fn refused(tree: &Path) -> String {
    let out = tempfile::tempdir().expect("a folder");
    let output = output(&[
        "run",
        "delayed-work/chain",
        "--kernel-tree",
        argument(tree),
        "--out",
        argument(&out.path().join("out")),
    ]);
    assert_eq!(code(&output), 96, "{}", text(&output));
    assert!(!out.path().join("out").exists(), "nothing was run");
    text(&output)
}

#[test]
fn results_inside_of_the_kernels_tree_are_refused() {
    let tree = tempfile::tempdir().expect("a folder");
    let inside = tree.path().join("out");
    let output = output(&[
        "run",
        "delayed-work/chain",
        "--kernel-tree",
        argument(tree.path()),
        "--out",
        argument(&inside),
    ]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    assert!(text(&output).contains("--kernel-tree"), "{}", text(&output));
    assert!(!inside.exists());
}

#[test]
fn two_files_of_one_name_end_2_and_are_both_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["a/x.yaml", "b/x.yaml"].map(|name| folder.path().join(name));
    for file in &files {
        fs::create_dir(file.parent().expect("a parent")).expect("a folder");
        fs::write(file, GOOD).expect("a file");
    }
    let output = output(&["run", argument(&files[0]), argument(&files[1])]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    for file in &files {
        assert!(text(&output).contains(argument(file)), "{}", text(&output));
    }
}

#[test]
fn a_trace_buffer_that_does_not_fit_ends_2_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = folder.path().join("small.yaml");
    let out = folder.path().join("out");
    fs::write(&small, format!("{GOOD}trace: {{ buffer: 200MiB }}\n")).expect("a file");
    let output = output(&[
        "run",
        "delayed-work/chain",
        argument(&small),
        "--out",
        argument(&out),
    ]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    for part in ["scenario small", "200MiB", "256MiB"] {
        assert!(text(&output).contains(part), "{}", text(&output));
    }
    assert!(!out.exists());
}

#[test]
fn a_module_that_does_not_compile_ends_101_and_names_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["module", "kbuild", "vm/machines", "scenarios/delayed-work"] {
        copy(&project().join(part), &folder.path().join(part));
    }
    let body = folder.path().join("module/body.rs");
    let source = fs::read_to_string(&body).expect("a source file");
    fs::write(&body, format!("{source}\nfn (\n")).expect("a file");
    let output = deferinit(&["run", "delayed-work/chain", "--out", "out"])
        .current_dir(folder.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 101, "{}", text(&output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, log) = stderr.split_once("the log is ").expect("a log's name");
    let log = log.lines().next().unwrap_or_default();
    let log = fs::read_to_string(log).expect("the log");
    assert!(log.contains("body.rs"), "{log}");
    assert!(!folder.path().join("out").exists(), "nothing was run");
}
