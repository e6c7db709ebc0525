// SPDX-License-Identifier: GPL-2.0-only

//! Holds the rules on crates: which depends on which, that each stands in ARCHITECTURE.md, and
//! that the pure ones stay pure.
//!
//! In: `cargo metadata`, ARCHITECTURE.md, and each pure crate's `clippy.toml` and `lib.rs`. Out:
//! every rule that is broken, as a sentence.
//! Source: ARCHITECTURE.md, sections "Crates" and "Invariants".

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;

/// Each crate and what it depends on of ours, tests included. `deferinit` (the command line) is
/// free to use every library; it is not in this table.
const EDGES: &[(&str, &[&str])] = &[
    (
        "deferinit-report",
        &["deferinit-check", "deferinit-timeline"],
    ),
    ("deferinit-kernel", &[]),
    (
        "deferinit-host",
        &["deferinit-protocol", "deferinit-scenario"],
    ),
    ("deferinit-agent", &["deferinit-protocol"]),
    (
        "deferinit-check",
        &["deferinit-scenario", "deferinit-timeline"],
    ),
    (
        "deferinit-analysis",
        &["deferinit-ftrace", "deferinit-trace"],
    ),
    (
        "deferinit-timeline",
        &["deferinit-ftrace", "deferinit-trace"],
    ),
    ("deferinit-trace", &["deferinit-ftrace"]),
    ("deferinit-scenario", &[]),
    ("deferinit-protocol", &[]),
    ("deferinit-ftrace", &[]),
    ("xtask", &[]),
];

/// The crate that sequences the stages, and the crates it can not depend on: programs of their own.
const TOP: &str = "deferinit";
const PROGRAMS: &[&str] = &["deferinit-agent", "xtask"];

/// The crates that do no I/O and read no clock.
const PURE: &[&str] = &[
    "deferinit-analysis",
    "deferinit-check",
    "deferinit-ftrace",
    "deferinit-protocol",
    "deferinit-scenario",
    "deferinit-timeline",
    "deferinit-trace",
];

/// What each pure crate's `clippy.toml` bans at least. Clippy can not ban a whole module.
const BANNED_TYPES: &[&str] = &[
    "std::fs::File",
    "std::fs::OpenOptions",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::net::UnixStream",
    "std::process::Command",
    "std::time::Instant",
    "std::time::SystemTime",
];
const BANNED_METHODS: &[&str] = &[
    "std::env::args",
    "std::env::var",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::write",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::process::exit",
    "std::thread::sleep",
    "std::thread::spawn",
];

/// A crate's folder below the root, and the crates of ours it depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Member {
    folder: String,
    edges: BTreeSet<String>,
}

/// The crates of the workspace by name.
type Members = BTreeMap<String, Member>;

/// Checks every rule.
///
/// # Errors
/// A rule is broken (each broken one is printed), or a file can not be read.
pub(crate) fn check(root: &Path) -> Result<()> {
    let members = members(root)?;
    let mut broken = broken_edges(&members);
    broken.extend(broken_map(&members, &read(&root.join("ARCHITECTURE.md"))?));
    for name in PURE {
        if let Some(member) = members.get(*name) {
            broken.extend(broken_purity(name, &root.join(&member.folder))?);
        }
    }
    for rule in &broken {
        println!("    {rule}");
    }
    ensure!(broken.is_empty(), "{} broken", counted(broken.len()));
    Ok(())
}

fn counted(rules: usize) -> String {
    let plural = if rules == 1 { " is" } else { "s are" };
    format!("{rules} rule{plural}")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn members(root: &Path) -> Result<Members> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec();
    let metadata = metadata.context("asking cargo for the workspace's crates")?;
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    packages
        .iter()
        .map(|package| {
            let folder = package.manifest_path.parent();
            let folder =
                folder.and_then(|folder| folder.strip_prefix(&metadata.workspace_root).ok());
            let folder = folder.with_context(|| format!("{} lies outside", package.name))?;
            let edges = package.dependencies.iter().map(|edge| edge.name.clone());
            let member = Member {
                folder: folder.to_string(),
                edges: edges.filter(|name| ours.contains(name.as_str())).collect(),
            };
            Ok((package.name.to_string(), member))
        })
        .collect()
}

/// The differences between the edges there are and [`EDGES`].
fn broken_edges(members: &Members) -> Vec<String> {
    let table: BTreeMap<&str, BTreeSet<&str>> = EDGES
        .iter()
        .map(|(name, edges)| (*name, edges.iter().copied().collect()))
        .collect();
    let mut broken = Vec::new();
    for (name, member) in members {
        let edges: BTreeSet<&str> = member.edges.iter().map(String::as_str).collect();
        let wanted = match table.get(name.as_str()) {
            Some(wanted) => wanted.clone(),
            None if name == TOP => {
                let programs = PROGRAMS.iter().copied();
                let wrong = programs.filter(|program| edges.contains(program));
                broken.extend(wrong.map(|to| format!("{name} depends on the program {to}")));
                continue;
            }
            None => {
                broken.push(format!("{name} is not in the table of crate edges"));
                continue;
            }
        };
        let extra = edges.difference(&wanted);
        broken.extend(extra.map(|to| format!("{name} must not depend on {to}")));
        let missing = wanted.difference(&edges);
        broken.extend(missing.map(|to| format!("{name} does not depend on {to} any more")));
    }
    let gone = table.keys().filter(|name| !members.contains_key(**name));
    broken.extend(gone.map(|name| format!("{name} is in the table of crate edges and gone")));
    broken
}

/// Crates that do not stand in ARCHITECTURE.md by their folder, and folders that stand there and
/// hold no crate.
fn broken_map(members: &Members, architecture: &str) -> Vec<String> {
    let folders: BTreeSet<&str> = members
        .values()
        .map(|member| member.folder.as_str())
        .collect();
    let named: BTreeSet<&str> = architecture
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| is_crate_folder(word))
        .collect();
    let missing = folders.difference(&named);
    let missing = missing.map(|folder| format!("ARCHITECTURE.md does not name `{folder}`"));
    let gone = named.difference(&folders);
    let gone = gone.map(|folder| format!("ARCHITECTURE.md names `{folder}`, which holds no crate"));
    missing.chain(gone).collect()
}

/// Whether this is a path as crates have them: `harness/NAME`, or `vm/NAME` other than the machines.
fn is_crate_folder(word: &str) -> bool {
    let Some((parent, name)) = word.split_once('/') else {
        return false;
    };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    is_name && (parent == "harness" || (parent == "vm" && name != "machines"))
}

/// What a pure crate in `folder` lacks.
fn broken_purity(name: &str, folder: &Path) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let source = read(&folder.join("src/lib.rs"))?;
    if !source.lines().any(|line| line == "#![forbid(unsafe_code)]") {
        broken.push(format!("{name} does not say #![forbid(unsafe_code)]"));
    }
    let path = folder.join("clippy.toml");
    let rules: toml::Table = read(&path)?
        .parse()
        .with_context(|| format!("reading {}", path.display()))?;
    for (key, wanted) in [
        ("disallowed-types", BANNED_TYPES),
        ("disallowed-methods", BANNED_METHODS),
    ] {
        let banned = banned_paths(&rules, key);
        let missing = wanted.iter().filter(|path| !banned.contains(**path));
        broken.extend(missing.map(|path| format!("{name}/clippy.toml does not ban {path}")));
    }
    Ok(broken)
}

/// The paths under `key`, each written as a string or as a table with a `path`.
fn banned_paths<'a>(rules: &'a toml::Table, key: &str) -> BTreeSet<&'a str> {
    let list = rules.get(key).and_then(toml::Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|entry| entry.get("path").unwrap_or(entry).as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ci::workspace_root;

    fn root() -> std::path::PathBuf {
        workspace_root().expect("the tests run in the source tree")
    }

    fn real() -> Members {
        members(&root()).expect("cargo reads the workspace")
    }

    fn edges_of<'a>(members: &'a mut Members, name: &str) -> &'a mut BTreeSet<String> {
        &mut members.get_mut(name).expect("the crate is there").edges
    }

    #[test]
    fn crate_edges_are_exactly_those_of_the_table() {
        assert_eq!(broken_edges(&real()), Vec::<String>::new());
    }

    #[test]
    fn crate_edge_that_points_up_is_broken() {
        let mut members = real();
        edges_of(&mut members, "deferinit-ftrace").insert("deferinit-scenario".to_owned());
        let expected = ["deferinit-ftrace must not depend on deferinit-scenario"];
        assert_eq!(broken_edges(&members), expected);
    }

    #[test]
    fn crate_edge_that_is_gone_is_broken() {
        let mut members = real();
        edges_of(&mut members, "deferinit-timeline").clear();
        let expected = [
            "deferinit-timeline does not depend on deferinit-ftrace any more",
            "deferinit-timeline does not depend on deferinit-trace any more",
        ];
        assert_eq!(broken_edges(&members), expected);
    }

    #[test]
    fn command_line_that_depends_on_a_program_is_broken() {
        let mut members = real();
        edges_of(&mut members, TOP).insert("xtask".to_owned());
        assert_eq!(
            broken_edges(&members),
            ["deferinit depends on the program xtask"]
        );
    }

    #[test]
    fn crate_that_comes_or_goes_without_the_table_is_broken() {
        let mut members = real();
        members.remove("deferinit-report");
        members.insert("deferinit-extra".to_owned(), Member::default());
        let expected = [
            "deferinit-extra is not in the table of crate edges",
            "deferinit-report is in the table of crate edges and gone",
        ];
        assert_eq!(broken_edges(&members), expected);
    }

    #[test]
    fn architecture_names_each_crate() {
        let architecture = read(&root().join("ARCHITECTURE.md")).expect("it is there");
        assert_eq!(broken_map(&real(), &architecture), Vec::<String>::new());
    }

    #[test]
    fn crate_that_architecture_leaves_out_or_makes_up_is_broken() {
        let architecture = read(&root().join("ARCHITECTURE.md")).expect("it is there");
        let architecture = architecture.replace("`harness/check`", "`harness/judge`");
        let expected = [
            "ARCHITECTURE.md does not name `harness/check`",
            "ARCHITECTURE.md names `harness/judge`, which holds no crate",
        ];
        assert_eq!(broken_map(&real(), &architecture), expected);
    }

    #[test]
    fn pure_crates_forbid_unsafe_code_and_ban_io() {
        let members = real();
        for name in PURE {
            let folder = root().join(&members[*name].folder);
            let broken = broken_purity(name, &folder).expect("its files are there");
            assert_eq!(broken, Vec::<String>::new());
        }
    }

    #[test]
    fn pure_crate_that_allows_unsafe_code_or_a_clock_is_broken() {
        let members = real();
        let folder = root().join(&members["deferinit-check"].folder);
        let rules = read(&folder.join("clippy.toml")).expect("it is there");

        let impure = tempfile::tempdir().expect("a scratch folder");
        let rules = rules.replace("std::time::Instant", "std::time::Duration");
        fs::write(impure.path().join("clippy.toml"), rules).expect("a file in it");
        fs::create_dir(impure.path().join("src")).expect("a folder in it");
        fs::write(impure.path().join("src/lib.rs"), "//! Says nothing.\n").expect("a file in it");

        let broken = broken_purity("sample", impure.path()).expect("its files are there");
        let expected = [
            "sample does not say #![forbid(unsafe_code)]",
            "sample/clippy.toml does not ban std::time::Instant",
        ];
        assert_eq!(broken, expected);
    }

    #[test]
    fn pure_crate_without_rules_is_an_error_that_names_the_file() {
        let bare = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir(bare.path().join("src")).expect("a folder in it");
        fs::write(bare.path().join("src/lib.rs"), "").expect("a file in it");
        let error = broken_purity("bare", bare.path()).expect_err("there is no clippy.toml");
        assert!(format!("{error:#}").contains("clippy.toml"), "{error:#}");
    }
}
