// SPDX-License-Identifier: GPL-2.0-only

//! Commands that boot nothing.

use std::fs;

use crate::harness::{all_names, code, deferinit, output, project, text};

#[test]
fn help_and_version_are_no_mistakes() {
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(code(&output(&arguments)), 0, "{arguments:?}");
    }
}

/// The exit codes there are.
const EXIT_CODES: [u8; 7] = [0, 1, 2, 96, 100, 101, 102];

#[test]
fn help_and_readme_list_the_exit_codes_and_no_others() {
    let help = text(&output(&["--help"]));
    let (_, listed) = help.split_once("Exit codes:\n").expect("a list");
    let first_word = |line: &str| {
        line.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
    };
    let codes: Vec<u8> = listed.lines().map_while(first_word).collect();
    assert_eq!(codes, EXIT_CODES, "{help}");

    let readme = fs::read_to_string(project().join("README.md")).expect("README.md");
    let (_, table) = readme
        .split_once("| exit code | meaning |\n| --- | --- |\n")
        .expect("a table");
    let first_cell = |line: &str| line.strip_prefix("| ")?.split(" |").next()?.parse().ok();
    let codes: Vec<u8> = table.lines().map_while(first_cell).collect();
    assert_eq!(codes, EXIT_CODES, "{table}");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_mistake() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = deferinit(&["list"])
        .stdout(writer)
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert_eq!(text(&output), "");
}

#[test]
fn there_are_at_least_eight_scenarios_each_with_a_summary() {
    let names = all_names();
    assert!(names.len() >= 8, "{names:?}");
    let listed = output(&["list"]);
    for name in names {
        let line = text(&listed)
            .lines()
            .find(|line| line.starts_with(&name))
            .map(str::len);
        assert!(
            line.is_some_and(|length| length > name.len() + 20),
            "{name} has no summary"
        );
    }
}

#[test]
fn doctor_finds_what_runs_need() {
    let output = output(&["doctor"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    for requirement in [
        "make",
        "clang",
        "rustc",
        "bindgen",
        "qemu",
        "trace-cmd",
        "agent",
    ] {
        assert!(
            text(&output).contains(requirement),
            "{requirement} is not in:\n{}",
            text(&output)
        );
    }
}

#[test]
fn doctor_fails_where_something_is_missing_and_says_how_to_mend_it() {
    let empty = tempfile::tempdir().expect("a folder");
    let output = deferinit(&["doctor"])
        .env("PATH", empty.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 96, "{}", text(&output));
    assert!(text(&output).contains("missing  qemu"), "{}", text(&output));
    assert!(
        text(&output).contains("mend with: apt-get install"),
        "{}",
        text(&output)
    );
}

#[test]
fn check_accepts_every_scenario_of_the_project() {
    let files: Vec<String> = all_names()
        .into_iter()
        .map(|name| format!("scenarios/{name}.yaml"))
        .collect();
    let mut arguments = vec!["check"];
    arguments.extend(files.iter().map(String::as_str));
    let output = output(&arguments);
    assert_eq!(code(&output), 0, "{}", text(&output));
}
