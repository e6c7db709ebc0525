// SPDX-License-Identifier: GPL-2.0-only

//! What a user's mistake gets: an exit code, and a message that names it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{argument, code, output, text};

const GOOD: &str = "summary: Test.\nworkload: { mode: delayed, items: 2, delay: 8ms }\nexpect:\n- count: { of: ended, equals: 2 }\n";

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
            GOOD.replace("delayed", "defered").into_bytes(),
            ":2:19: ",
        ),
        (
            "percentile",
            GOOD.replace(
                "count: { of: ended, equals: 2 }",
                "lateness: { of: started, percentiles: [{ p: 101, max: 1ms }] }",
            )
            .into_bytes(),
            ":4:45: ",
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
            let begin = Instant::now();
            let output = output(&arguments);
            assert_eq!(code(&output), 2, "{name}: {}", text(&output));
            assert!(
                begin.elapsed() < Duration::from_secs(1),
                "{name} took {:?}",
                begin.elapsed()
            );
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
    assert_eq!(
        code(&output(&[
            "run",
            "--kernel-tree",
            "a",
            "--kernel-build",
            "b"
        ])),
        2
    );
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
    for sub in ["kernel", "rust", "scripts/kconfig", "arch/x86"] {
        fs::create_dir_all(folder.path().join(sub)).expect("a folder");
    }
    fs::write(folder.path().join("Kconfig"), "").expect("a file");
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
    text(&output)
}
