// SPDX-License-Identifier: GPL-2.0-only

//! The folder that results go into: new, or empty, and never somebody else's.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jiff::Timestamp;

use crate::exit::Failure;

/// Where results go if the user does not say.
const DEFAULT: &str = "deferinit-runs";

/// Makes the folder that the user named, or a new one named after the time.
pub(crate) fn create(wish: Option<&Path>) -> Result<PathBuf, Failure> {
    match wish {
        Some(folder) => create_named(folder),
        None => create_dated(Path::new(DEFAULT)),
    }
}

fn create_named(folder: &Path) -> Result<PathBuf, Failure> {
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
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
    Ok(folder.to_owned())
}

fn create_dated(parent: &Path) -> Result<PathBuf, Failure> {
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
            Ok(()) => return Ok(folder),
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
        assert!(create(Some(folder.path())).is_ok(), "empty");
        assert!(create(Some(&folder.path().join("a/b"))).is_ok(), "new");
        assert!(create(Some(folder.path())).is_err(), "not empty any more");
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let parent = tempfile::tempdir().expect("a folder");
        let first = create_dated(parent.path())
            .map_err(|_| "first")
            .expect("a folder");
        let second = create_dated(parent.path())
            .map_err(|_| "second")
            .expect("a folder");
        assert_ne!(first, second);
    }
}
