// SPDX-License-Identifier: GPL-2.0-only

//! The folder in which sources, builds, modules and tools are kept between runs.
//!
//! In: `${XDG_CACHE_HOME:-~/.cache}/deferinit`. Out: paths in it, locks, done markers, free space, a listing.
//! What has no done marker is not done: a marker is written last, to a temporary name, and renamed.
//! ```text
//! sources/<package>_<version>/{source.json, linux-source-X.Y/}
//! builds/<key>/{build.json, build.log, vmlinux, ...}    builds/<key>.lock (with workload/ if that is built in)
//! modules/<key>/{module.json, test_deferred.ko, work/}  modules/<key>.lock
//! worktrees/<key>/deferinit-bisect (while it runs)    worktrees/<key>.lock
//! tools/bin/bindgen    apt/{lists, cache, ...}
//! ```
//! Does not remove anything: a stale entry costs disk space only.
//! Source: XDG Base Directory Specification 0.8; flock(2), statvfs(3), rename(2).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::progress::Progress;

/// How long a run waits for another one: longer than a kernel build takes on one slow CPU.
const LOCK_PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// How often a held lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// What every operation of this crate needs: where to keep things, where to speak, when to stop.
#[derive(Debug, Clone)]
pub struct Session {
    /// The cache.
    pub cache: Cache,
    /// Where progress goes.
    pub progress: Progress,
    /// Set by a signal handler to make every wait end with `Error::Interrupted`.
    pub cancelled: Arc<AtomicBool>,
}

impl Session {
    /// A session on the user's cache with progress on stderr.
    ///
    /// # Errors
    /// If neither `XDG_CACHE_HOME` nor `HOME` says where the cache is.
    pub fn new(cancelled: Arc<AtomicBool>) -> Result<Self, Error> {
        Ok(Self {
            cache: Cache::of_user()?,
            progress: Progress::for_stderr(),
            cancelled,
        })
    }
}

/// The cache's root folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `${XDG_CACHE_HOME:-~/.cache}/deferinit`.
    ///
    /// # Errors
    /// If neither variable is set to an absolute path.
    pub fn of_user() -> Result<Self, Error> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path: &PathBuf| path.is_absolute())
        };
        let base =
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        let base = base.context("neither XDG_CACHE_HOME nor HOME is an absolute path; set one")?;
        Ok(Self::at(base.join("deferinit")))
    }

    /// A cache in the given folder, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where kernel sources are.
    pub fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// Where kernel builds are.
    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// Where module builds are.
    pub fn modules(&self) -> PathBuf {
        self.root.join("modules")
    }

    /// Where worktrees are while a tree is bisected.
    pub(crate) fn worktrees(&self) -> PathBuf {
        self.root.join("worktrees")
    }

    /// Where tools are that the distribution lacks: a root for `cargo install`.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Where the package client's private state is.
    pub(crate) fn apt(&self) -> PathBuf {
        self.root.join("apt")
    }
}

/// Creates a folder and those above it.
pub(crate) fn create_dir(path: &Path) -> Result<(), Error> {
    Ok(std::fs::create_dir_all(path)
        .with_context(|| format!("cannot create {}", path.display()))?)
}

/// Removes a folder with all in it, if it is there.
pub(crate) fn remove_dir(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(anyhow::Error::new(error)
                .context(format!("cannot remove {}", path.display()))
                .into())
        }
        _ => Ok(()),
    }
}

/// Holds a lock file until dropped. Another run that wants it waits; `doing` tells it why ("building this kernel").
///
/// # Errors
/// `Interrupted` while waiting, `LockedOut` after three hours, `Other` if the file cannot be made.
pub(crate) fn lock(session: &Session, path: &Path, doing: &str) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open the lock {}", path.display()))?;
    let started = Instant::now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(anyhow::Error::new(error)
                    .context(format!("cannot lock {}", path.display()))
                    .into());
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if !told {
            session.progress.note(&format!(
                "another run is {doing}; waiting for it (lock {})",
                path.display()
            ));
            told = true;
        }
        if session.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Interrupted {
                what: format!("the wait for another run that is {doing}"),
            });
        }
        if started.elapsed() > LOCK_PATIENCE {
            return Err(Error::LockedOut {
                what: doing.to_owned(),
                after: LOCK_PATIENCE,
                lock: path.to_owned(),
            });
        }
        std::thread::sleep(LOCK_RETRY);
    }
}

/// Writes a done marker so that it is there whole or not at all.
pub(crate) fn write_marker(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let temporary = path.with_extension("json.new");
    let write = || -> anyhow::Result<()> {
        let mut file = File::create(&temporary)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        Ok(())
    };
    Ok(write().with_context(|| format!("cannot write {}", path.display()))?)
}

/// Reads a done marker. One that is absent, torn or of another format is no marker: the step is done again.
pub(crate) fn read_marker<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The space free for this user where `path` is or will be, in MiB.
pub(crate) fn free_mib(path: &Path) -> Result<u64, Error> {
    let existing = path
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(existing)
        .with_context(|| format!("cannot ask how full {} is", existing.display()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()) >> 20)
}

/// Makes sure that a step has the disk space it needs.
///
/// # Errors
/// `NoSpace` with both numbers.
pub(crate) fn require_space(path: &Path, needed_mib: u64, what: &'static str) -> Result<(), Error> {
    let free_mib = free_mib(path)?;
    if free_mib < needed_mib {
        return Err(Error::NoSpace {
            what,
            path: path.to_owned(),
            needed_mib,
            free_mib,
        });
    }
    Ok(())
}

/// SHA-256 of a file's bytes, in hexadecimal.
pub(crate) fn file_sha256(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file
            .read(&mut buffer)
            .with_context(|| format!("cannot read {}", path.display()))?;
        match buffer.get(..read) {
            Some(bytes) if !bytes.is_empty() => hash.update(bytes),
            _ => return Ok(hex(&hash.finalize())),
        }
    }
}

/// A key of 16 hexadecimal digits over named parts, each of them with its length: no two lists of parts run together.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in parts {
        hash.update(format!("{name} {}\n", value.len()));
        hash.update(value);
    }
    let mut digits = hex(&hash.finalize());
    digits.truncate(16);
    digits
}

/// SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(root: &Path) -> Session {
        Session {
            cache: Cache::at(root),
            progress: Progress::Silent,
            cancelled: Arc::default(),
        }
    }

    #[test]
    fn a_torn_marker_is_no_marker() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let path = dir.path().join("build.json");
        assert_eq!(read_marker::<Vec<u32>>(&path), None);
        write_marker(&path, &vec![1, 2]).expect("writes");
        assert_eq!(read_marker::<Vec<u32>>(&path), Some(vec![1, 2]));
        std::fs::write(&path, "[1, ").expect("writes");
        assert_eq!(read_marker::<Vec<u32>>(&path), None);
        assert!(!dir.path().join("build.json.new").exists());
    }

    #[test]
    fn a_second_run_waits_for_the_lock_and_can_be_interrupted() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let session = session(dir.path());
        let path = dir.path().join("builds/k.lock");
        let held = lock(&session, &path, "building this kernel").expect("locks");
        session.cancelled.store(true, Ordering::Relaxed);
        let error = lock(&session, &path, "building this kernel").expect_err("it is held");
        assert!(
            error
                .to_string()
                .contains("another run that is building this kernel"),
            "{error}"
        );
        drop(held);
        lock(&session, &path, "building this kernel").expect("locks again");
    }

    #[test]
    fn too_little_space_is_an_error_with_both_numbers() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let missing = dir.path().join("not/there/yet");
        require_space(&missing, 0, "nothing").expect("fits");
        let error = require_space(&missing, u64::MAX, "a kernel build").expect_err("does not fit");
        assert!(
            matches!(
                error,
                Error::NoSpace {
                    needed_mib: u64::MAX,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_key_depends_on_every_part_and_on_nothing_else() {
        let base = key([("source", b"ab".as_slice()), ("config", b"c")]);
        assert_eq!(base, "b39f65fa7b0d180a");
        assert_eq!(base, key([("source", b"ab".as_slice()), ("config", b"c")]));
        assert_ne!(base, key([("source", b"a".as_slice()), ("config", b"bc")]));
        assert_ne!(base, key([("source", b"ab".as_slice()), ("recipe", b"c")]));
    }

    #[test]
    fn a_file_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let path = dir.path().join("f");
        std::fs::write(&path, "abc").expect("writes");
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_sha256(&path).expect("reads"), expected);
        assert_eq!(sha256(b"abc"), expected);
    }
}
