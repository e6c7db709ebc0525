// SPDX-License-Identifier: GPL-2.0-only

//! The folder that results go into: new, or empty, and never somebody else's.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{self, Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use deferinit_scenario::Load;
use jiff::Timestamp;

use crate::exit::Failure;

/// Where results go if the user does not say.
const DEFAULT: &str = "deferinit-runs";

/// The initramfs, in the folder of the results, for scenarios with this `load`.
pub(crate) fn initramfs_of(load: Load) -> &'static str {
    match load {
        Load::Module => "initramfs.cpio",
        Load::BuiltIn => "initramfs-built-in.cpio",
    }
}

/// The one of scenarios with commands, beside it.
pub(crate) const INITRAMFS_WITH_SHELL: &str = "initramfs-with-shell.cpio";

/// The folder of one invocation. Unless it is kept, it is as it was before when this is dropped, so
/// that the same command can be given again.
#[derive(Debug)]
pub(crate) struct Output {
    folder: PathBuf,
    is_new: bool,
    is_kept: bool,
}

impl Output {
    /// Makes the folder that the user named, or a new one named after the time; never inside of
    /// `tree`, a developer's kernel.
    pub(crate) fn create(wish: Option<&Path>, tree: Option<&Path>) -> Result<Self, Failure> {
        if let Some(tree) = tree {
            refuse_inside(wish.unwrap_or(Path::new(DEFAULT)), tree)?;
        }
        match wish {
            Some(folder) => create_named(folder),
            None => create_dated(Path::new(DEFAULT)),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps it: something has been run.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.folder.clone()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // What cannot be removed is in nobody's way but that of a retry, which says so.
        for load in [Load::Module, Load::BuiltIn] {
            drop(fs::remove_file(self.folder.join(initramfs_of(load))));
            drop(fs::remove_file(self.folder.join(INITRAMFS_WITH_SHELL)));
        }
        if self.is_new {
            drop(fs::remove_dir(&self.folder));
        }
    }
}

fn refuse_inside(folder: &Path, tree: &Path) -> Result<(), Failure> {
    let place = |path| {
        real(path)
            .with_context(|| format!("cannot find {}", path.display()))
            .map_err(Failure::setup)
    };
    if place(folder)?.starts_with(place(tree)?) {
        return Err(Failure::usage(anyhow!(
            "results would go to {}, inside of --kernel-tree {}, which is not written to; name another folder with --out",
            folder.display(),
            tree.display()
        )));
    }
    Ok(())
}

/// The absolute path without links, of what need not be there yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut real = PathBuf::new();
    for component in path::absolute(path)?.components() {
        if component == Component::ParentDir {
            real.pop();
        } else {
            real.push(component);
        }
        real = fs::canonicalize(&real).unwrap_or(real);
    }
    Ok(real)
}

fn create_named(folder: &Path) -> Result<Output, Failure> {
    let (is_new, is_empty) = match fs::read_dir(folder) {
        Ok(mut entries) => (false, entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => (true, true),
        Err(error) => {
            let error = anyhow!(error).context(format!("cannot use --out {}", folder.display()));
            return Err(Failure::usage(error));
        }
    };
    if !is_empty {
        return Err(Failure::usage(anyhow!(
            "--out {} is not empty; results are never written over others, name a new folder",
            folder.display()
        )));
    }
    make(folder)?;
    Ok(Output {
        folder: folder.to_owned(),
        is_new,
        is_kept: false,
    })
}

fn create_dated(parent: &Path) -> Result<Output, Failure> {
    let name = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
    make(parent)?;
    // Two runs can begin in the same second.
    for attempt in 1..=1000 {
        let folder = parent.join(if attempt == 1 {
            name.clone()
        } else {
            format!("{name}.{attempt}")
        });
        match fs::create_dir(&folder) {
            Ok(()) => {
                return Ok(Output {
                    folder,
                    is_new: true,
                    is_kept: false,
                });
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Failure::setup(
                    anyhow!(error).context(format!("cannot make {}", folder.display())),
                ));
            }
        }
    }
    Err(Failure::setup(anyhow!(
        "there are a thousand runs of this second in {}",
        parent.display()
    )))
}

fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
        .map_err(Failure::setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        create_named(folder.path()).expect("empty");
        let new = create_named(&folder.path().join("a/b")).expect("new");
        assert!(create_named(folder.path()).is_err(), "not empty any more");
        assert_eq!(new.keep(), folder.path().join("a/b"));
    }

    #[test]
    fn a_folder_that_is_not_kept_is_as_it_was_before() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, is_there) in [
            (folder.path().join("new"), false),
            (folder.path().into(), true),
        ] {
            let output = create_named(&path).expect("new or empty");
            fs::write(path.join(initramfs_of(Load::Module)), "").expect("a file");
            drop(output);
            assert_eq!(path.exists(), is_there, "{}", path.display());
            create_named(&path).expect("the same again");
        }
    }

    #[test]
    fn a_folder_inside_of_the_kernels_tree_is_refused_before_it_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("linux");
        fs::create_dir(&tree).expect("a folder");
        for inside in [tree.join("a/b"), folder.path().join("x/../linux/a")] {
            let refused = Output::create(Some(&inside), Some(&tree)).expect_err("inside");
            assert!(refused.to_string().contains("--kernel-tree"), "{refused}");
        }
        let beside = folder.path().join("linux-runs");
        Output::create(Some(&beside), Some(&tree)).expect("beside it");
        assert_eq!(fs::read_dir(&tree).expect("a folder").count(), 0);
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let parent = tempfile::tempdir().expect("a folder");
        let first = create_dated(parent.path()).expect("a folder");
        let second = create_dated(parent.path()).expect("a folder");
        assert_ne!(first.folder(), second.folder());
    }
}
