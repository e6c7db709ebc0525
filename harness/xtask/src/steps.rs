// SPDX-License-Identifier: GPL-2.0-only

//! The steps of `cargo xtask`, in the order they run: cheap ones first.
//!
//! In: the root of the workspace. Out: success, or why the step failed. A tool that is missing
//! fails its step and says how to install it.
//! Changes nothing in the working tree.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    child::{self, Tool},
    crates, fuzz,
};

/// Names a kernel source tree for the steps that use the kernel's own tools.
const KERNEL_SOURCE: &str = "DEFERINIT_KERNEL_SOURCE";

const RUSTFMT: Tool = Tool {
    program: "rustfmt",
    install: "rustup component add rustfmt (Debian 12: apt-get install rustfmt-web)",
};
const CLIPPY: Tool = Tool {
    program: "cargo-clippy",
    install: "rustup component add clippy (Debian 12: apt-get install rust-web-clippy)",
};
const CARGO_DENY: Tool = Tool {
    program: "cargo-deny",
    install: "cargo install cargo-deny --locked",
};
const TYPOS: Tool = Tool {
    program: "typos",
    install: "cargo install typos-cli --locked",
};
const PERL: Tool = Tool {
    program: "perl",
    install: "apt-get install perl",
};

/// One named check.
pub(crate) struct Step {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What it checks, in one line.
    pub(crate) purpose: &'static str,
    /// Runs it in the workspace's root.
    pub(crate) run: fn(&Path) -> Result<()>,
}

/// Every check a change must pass.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "format",
        purpose: "Rust code of the workspace is formatted",
        run: format,
    },
    Step {
        name: "crates",
        purpose: "crate edges, map of the crates and purity are as ARCHITECTURE.md says",
        run: crates::check,
    },
    Step {
        name: "typos",
        purpose: "no misspelt words",
        run: typos,
    },
    Step {
        name: "generated",
        purpose: "Cargo.lock and snapshots are up to date",
        run: generated,
    },
    Step {
        name: "deny",
        purpose: "dependencies: licences, sources and bans",
        run: deny,
    },
    Step {
        name: "module-format",
        purpose: "Rust code of the module is formatted as the kernel wants it",
        run: module_format,
    },
    Step {
        name: "module-checkpatch",
        purpose: "the module's files pass the kernel's checkpatch.pl",
        run: module_checkpatch,
    },
    Step {
        name: "module-warnings",
        purpose: "the module builds without a warning (W=1, CLIPPY=1), to be loaded and to be built in",
        run: module_warnings,
    },
    Step {
        name: "clippy",
        purpose: "no lint warns",
        run: clippy,
    },
    Step {
        name: "test",
        purpose: "tests of the workspace (cargo-nextest if installed, else cargo test)",
        run: test,
    },
    Step {
        name: "doctest",
        purpose: "examples in the documentation",
        run: doctest,
    },
    Step {
        name: "fuzz",
        purpose: "nothing makes the parsers of foreign bytes panic: a minute for each fuzz target",
        run: fuzz::run,
    },
    Step {
        name: "doc",
        purpose: "documentation builds without a warning",
        run: doc,
    },
];

/// The names of the steps that run tests.
pub(crate) const TESTS: [&str; 3] = ["test", "doctest", "fuzz"];

/// The names of all steps.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

fn format(root: &Path) -> Result<()> {
    RUSTFMT.require()?;
    child::run(cargo(root).args(["fmt", "--all", "--check"]))
}

fn typos(root: &Path) -> Result<()> {
    TYPOS.require()?;
    child::run(Command::new(TYPOS.program).current_dir(root))
}

fn generated(root: &Path) -> Result<()> {
    let metadata = ["metadata", "--locked", "--format-version", "1"];
    child::output(cargo(root).args(metadata)).context("Cargo.lock is not up to date")?;
    let leftovers = new_snapshots(root)?;
    ensure!(
        leftovers.is_empty(),
        "snapshots wait for a review (cargo insta review): {}",
        leftovers.join(", ")
    );
    Ok(())
}

/// What insta leaves behind when a snapshot differs, as paths below `root`.
fn new_snapshots(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for member in ["harness", "vm"] {
        for file in files_below(&root.join(member))? {
            let name = file.to_string_lossy();
            if name.ends_with(".snap.new") || name.ends_with(".pending-snap") {
                let below = file.strip_prefix(root).unwrap_or(&file);
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                files.push(entry);
            }
        }
    }
    Ok(files)
}

/// What is in a folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    listed.with_context(|| format!("listing {}", folder.display()))
}

fn deny(root: &Path) -> Result<()> {
    CARGO_DENY.require()?;
    // The advisories need a database from the network, which a machine without one has not.
    let checks = ["bans", "licenses", "sources"];
    child::run(cargo(root).args(["deny", "--locked", "check"]).args(checks))
}

fn module_format(root: &Path) -> Result<()> {
    RUSTFMT.require()?;
    let settings = kernel_source(root)?.join(".rustfmt.toml");
    child::run(
        Command::new(RUSTFMT.program)
            .args(["--check", "--config-path"])
            .arg(settings)
            .args(module_files(root, &["rs"])?),
    )
}

fn module_checkpatch(root: &Path) -> Result<()> {
    PERL.require()?;
    let script = kernel_source(root)?.join("scripts/checkpatch.pl");
    child::run(
        Command::new(PERL.program)
            .arg(script)
            .args(["--no-tree", "--terse", "--show-types", "-f"])
            .args(module_files(root, &["c", "h", "rs"])?),
    )
}

/// Builds the module for the default kernel with what kbuild calls extra warnings, each of them an
/// error: in a scratch folder, because kbuild leaves its products beside the sources.
fn module_warnings(root: &Path) -> Result<()> {
    let kernel = built_kernel(root)?;
    let compilers = Compilers::of_build(&kernel)?;
    for goal in [&["modules"][..], &["TEST_DEFERRED_BUILTIN=y", "built-in.a"]] {
        let scratch = tempfile::tempdir().context("making a scratch folder")?;
        let module = scratch.path().join("module");
        copy_files(&root.join("module"), &module)?;
        // Where the module's Kbuild looks for the rule.
        copy_files(&root.join("kbuild"), &scratch.path().join("kbuild"))?;
        let mut sources = OsString::from("M=");
        sources.push(&module);
        child::run(
            Command::new("make")
                .args(["--silent", "-C"])
                .arg(&kernel)
                .arg(sources)
                .args(compilers.make_arguments())
                .args(["W=1e", "CLIPPY=1"])
                .args(goal)
                // Of cargo, for this program: clippy would take it for the module's.
                .env_remove("CARGO_PKG_RUST_VERSION"),
        )?;
    }
    Ok(())
}

/// The folder of the default kernel's build.
fn built_kernel(root: &Path) -> Result<PathBuf> {
    let path = deferinit(root, &["kernel", "path"])
        .context("no kernel was built yet: run `cargo run --package deferinit -- kernel build`")?;
    Ok(PathBuf::from(path))
}

/// The part of a kernel build's `build.json` that says what it was compiled by.
#[derive(Debug, Deserialize)]
struct BuildInfo {
    compilers: Compilers,
}

/// What compiled a kernel, and so must compile a module for it.
#[derive(Debug, Deserialize)]
struct Compilers {
    llvm_suffix: Option<String>,
    rustc: PathBuf,
}

impl Compilers {
    fn of_build(kernel: &Path) -> Result<Self> {
        let file = kernel.join("build.json");
        let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let info: BuildInfo =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
        let clippy = info.compilers.clippy();
        ensure!(
            clippy.is_file(),
            "{} is not installed, the clippy of the rustc that built the kernel; install it with: \
             rustup component add clippy (Debian 12: apt-get install rust-web-clippy)",
            clippy.display()
        );
        Ok(info.compilers)
    }

    /// The clippy of this rustc, by the name it has beside it: `rustc-1.97` has `clippy-driver-1.97`.
    fn clippy(&self) -> PathBuf {
        let name = self.rustc.file_name().unwrap_or_default().to_string_lossy();
        let name = name.replacen("rustc", "clippy-driver", 1);
        self.rustc.with_file_name(name)
    }

    fn make_arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("ARCH=x86")];
        if let Some(suffix) = &self.llvm_suffix {
            let llvm = if suffix.is_empty() { "1" } else { suffix };
            arguments.push(format!("LLVM={llvm}").into());
        }
        let clippy = self.clippy();
        for (variable, program) in [
            ("RUSTC=", &self.rustc),
            ("HOSTRUSTC=", &self.rustc),
            ("CLIPPY_DRIVER=", &clippy),
        ] {
            let mut argument = OsString::from(variable);
            argument.push(program);
            arguments.push(argument);
        }
        arguments
    }
}

/// Copies the files of a folder, without those in folders below it.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for file in entries(from)?.into_iter().filter(|entry| entry.is_file()) {
        let target = to.join(file.file_name().unwrap_or_default());
        fs::copy(&file, target).with_context(|| format!("copying {}", file.display()))?;
    }
    Ok(())
}

/// The module's files with one of these extensions, in the order of their names.
fn module_files(root: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let folder = root.join("module");
    let mut files = entries(&folder)?;
    files.retain(|file| {
        let extension = file.extension().unwrap_or_default();
        // `modpost` writes `NAME.mod.c` where a module is built in place.
        !file.to_string_lossy().ends_with(".mod.c") && extensions.iter().any(|e| extension == *e)
    });
    files.sort();
    ensure!(!files.is_empty(), "no source file in {}", folder.display());
    Ok(files)
}

/// The kernel source tree whose tools judge the module: the one that `DEFERINIT_KERNEL_SOURCE`
/// names, else the one that deferinit has fetched.
fn kernel_source(root: &Path) -> Result<PathBuf> {
    let named = env::var_os(KERNEL_SOURCE).filter(|path| !path.is_empty());
    let source = match named {
        Some(path) => PathBuf::from(path),
        None => fetched_kernel_source(root)?,
    };
    if !source.join("scripts/checkpatch.pl").is_file() {
        bail!("{} is no kernel source tree", source.display());
    }
    Ok(source)
}

fn fetched_kernel_source(root: &Path) -> Result<PathBuf> {
    let source = deferinit(root, &["kernel", "path", "--source"]).with_context(|| {
        format!(
            "no kernel source was fetched yet: run `cargo run --package deferinit -- kernel fetch`, \
             or set {KERNEL_SOURCE} to a tree"
        )
    })?;
    Ok(PathBuf::from(source))
}

/// What the program prints.
fn deferinit(root: &Path, arguments: &[&str]) -> Result<String> {
    let run = ["run", "--quiet", "--package", "deferinit", "--"];
    child::output(cargo(root).args(run).args(arguments))
}

fn clippy(root: &Path) -> Result<()> {
    CLIPPY.require()?;
    let lint = ["clippy", "--locked", "--workspace", "--all-targets"];
    child::run(cargo(root).args(lint).args(["--", "-D", "warnings"]))
}

fn test(root: &Path) -> Result<()> {
    let runner: &[&str] = if child::is_installed("cargo-nextest") {
        &[
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ]
    } else {
        &[
            "test",
            "--locked",
            "--workspace",
            "--all-targets",
            "--no-fail-fast",
        ]
    };
    // A snapshot that differs fails and writes nothing.
    child::run(cargo(root).args(runner).env("INSTA_UPDATE", "no"))
}

fn doctest(root: &Path) -> Result<()> {
    child::run(cargo(root).args(["test", "--locked", "--workspace", "--doc"]))
}

fn doc(root: &Path) -> Result<()> {
    child::run(
        cargo(root)
            .args(["doc", "--locked", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// The cargo that runs this program, else the one in `PATH`, started in the workspace's root.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn step_names_are_unique() {
        let distinct: BTreeSet<_> = names().collect();
        assert_eq!(distinct.len(), STEPS.len());
    }

    #[test]
    fn steps_that_run_tests_are_steps() {
        assert!(TESTS.iter().all(|test| names().any(|name| name == *test)));
    }

    #[test]
    fn snapshot_that_waits_for_a_review_is_found() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let snapshots = root.path().join("harness/report/tests/snapshots");
        fs::create_dir_all(&snapshots).expect("a folder in it");
        fs::create_dir(root.path().join("vm")).expect("a folder in it");
        fs::write(snapshots.join("table.snap"), "").expect("a file in it");
        assert!(
            new_snapshots(root.path())
                .expect("folders are there")
                .is_empty()
        );

        fs::write(snapshots.join("table.snap.new"), "").expect("a file in it");
        let found = new_snapshots(root.path()).expect("folders are there");
        assert_eq!(found, ["harness/report/tests/snapshots/table.snap.new"]);
    }

    #[test]
    fn clippy_is_looked_for_beside_the_rustc_it_belongs_to() {
        for (rustc, clippy) in [
            ("/usr/bin/rustc", "/usr/bin/clippy-driver"),
            ("/usr/bin/rustc-1.97", "/usr/bin/clippy-driver-1.97"),
        ] {
            let compilers = Compilers {
                llvm_suffix: None,
                rustc: rustc.into(),
            };
            assert_eq!(compilers.clippy(), Path::new(clippy));
        }
    }

    #[test]
    fn a_kernel_whose_clippy_is_not_there_names_it_and_how_to_get_it() {
        let kernel = tempfile::tempdir().expect("a scratch folder");
        let info = r#"{"compilers":{"llvm_suffix":"-19","rustc":"/no/such/rustc"},"steps":1}"#;
        fs::write(kernel.path().join("build.json"), info).expect("a file in it");
        let error = Compilers::of_build(kernel.path()).expect_err("no clippy");
        for part in ["/no/such/clippy-driver", "install it with"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn module_files_leave_out_what_a_build_writes() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let module = root.path().join("module");
        fs::create_dir(&module).expect("a folder in it");
        assert!(
            module_files(root.path(), &["rs"]).is_err(),
            "an empty folder passes"
        );

        for name in [
            "plan.rs",
            "shim.c",
            "shim.h",
            "test_deferred.mod.c",
            "Kbuild",
        ] {
            fs::write(module.join(name), "").expect("a file in it");
        }
        let files = module_files(root.path(), &["c", "h", "rs"]).expect("files are there");
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
        assert_eq!(names, ["plan.rs", "shim.c", "shim.h"]);
    }
}
