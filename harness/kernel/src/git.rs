// SPDX-License-Identifier: GPL-2.0-only

//! A worktree of a user's git tree, and `git bisect` in it.
//!
//! In: a folder in a git tree, revisions, patches. Out: a checkout of its own in the cache, and the commits that git wants
//! to have tested. The user's tree, index, branches and bisections stay as they are: what git needs for the worktree
//! (`.git/worktrees/deferinit-bisect`) goes with it when it is dropped, also after Ctrl-C. One that a killed run has left
//! is removed by the next one.
//! Does not test anything.
//! Source: git-worktree(1), git-bisect(1), git-am(1), of git 2.39 and newer.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;

use crate::cache::{Session, create_dir, key, lock, remove_dir};
use crate::child::{Call, Ended, NEVER};
use crate::error::Error;

/// The longest a checkout or a step of a bisection may take: a kernel tree on a slow disk.
const DEADLINE: Duration = Duration::from_secs(1800);
/// What git calls the worktree.
const NAME: &str = "deferinit-bisect";
/// What the user's configuration must not add: hooks, and housekeeping in the user's repository. Patches want a committer.
const CONFIGURATION: [&str; 7] = [
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "commit.gpgSign=false",
    "user.name=deferinit",
    "user.email=deferinit@localhost",
];

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// All hexadecimal digits.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

impl Commit {
    /// As many digits as are told apart in a kernel tree.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// A git tree of a user's, or a folder in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    top: PathBuf,
    /// The folder that was given, below `top`.
    below: PathBuf,
}

/// A checkout in the cache.
#[derive(Debug)]
pub struct Worktree<'a> {
    session: &'a Session,
    repository: &'a Repository,
    place: PathBuf,
    _lock: File,
}

/// What a tested commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is as it was before the change that is looked for.
    Good,
    /// It has the change.
    Bad,
    /// It cannot be tested.
    Skip,
}

/// What git says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It has checked out this commit, to be tested.
    Test(Commit),
    /// This is the first bad one.
    Found(Commit),
    /// It is one of these: the others were skipped.
    OneOf(Vec<Commit>),
    /// It cannot go on; in its own words.
    Stopped(String),
}

impl Repository {
    /// The git tree that a folder is in.
    ///
    /// # Errors
    /// It is in none, or there is no git.
    pub fn of_dir(session: &Session, dir: &Path) -> Result<Self, Error> {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", dir.display()))?;
        let asked = git(session, &dir, &["rev-parse", "--show-toplevel"])?;
        if !asked.status.success() {
            return Err(anyhow!("{} is in no git tree: {}", dir.display(), asked.excerpt()).into());
        }
        let top = PathBuf::from(asked.stdout.trim_end_matches('\n'));
        let below = dir
            .strip_prefix(&top)
            .with_context(|| format!("{} is not below {}", dir.display(), top.display()))?;
        Ok(Self {
            below: below.to_owned(),
            top,
        })
    }

    /// The commit that a revision names.
    ///
    /// # Errors
    /// It names none.
    pub fn commit(&self, session: &Session, revision: &str) -> Result<Commit, Error> {
        let wanted = format!("{revision}^{{commit}}");
        let asked = git(
            session,
            &self.top,
            &[
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &wanted,
            ],
        )?;
        if !asked.status.success() {
            return Err(anyhow!("{} has no commit {revision:?}", self.top.display()).into());
        }
        commit(session, &self.top, asked.stdout.trim())
    }

    /// How many commits `bad` has that `good` has not.
    ///
    /// # Errors
    /// Git fails.
    pub fn count(
        &self,
        session: &Session,
        good: &Commit,
        bad: &Commit,
        scope: &Scope,
    ) -> Result<u64, Error> {
        let mut arguments: Vec<&OsStr> = ["rev-list", "--count", &bad.id, "--not", &good.id]
            .map(OsStr::new)
            .to_vec();
        scope.push(&mut arguments);
        let counted = succeeded(git(session, &self.top, &arguments)?, "git rev-list")?;
        Ok(counted
            .trim()
            .parse()
            .with_context(|| format!("git rev-list --count says {counted:?}"))?)
    }

    /// A checkout of a commit, in the cache.
    ///
    /// # Errors
    /// Git fails; or what waiting for another run gives that bisects the same tree.
    pub fn worktree<'a>(
        &'a self,
        session: &'a Session,
        at: &Commit,
    ) -> Result<Worktree<'a>, Error> {
        let key = key([("tree", self.top.as_os_str().as_encoded_bytes())]);
        let folder = session.cache.worktrees().join(&key);
        let lock = lock(
            session,
            &session.cache.worktrees().join(format!("{key}.lock")),
            "bisecting this tree",
        )?;
        create_dir(&folder)?;
        let worktree = Worktree {
            session,
            repository: self,
            place: folder.join(NAME),
            _lock: lock,
        };
        worktree.remove()?;
        let step = session.progress.step("checking out a worktree");
        let arguments = [
            OsStr::new("worktree"),
            OsStr::new("add"),
            OsStr::new("--quiet"),
            OsStr::new("--detach"),
            worktree.place.as_os_str(),
            OsStr::new(&at.id),
        ];
        succeeded(git(session, &self.top, &arguments)?, "git worktree add")?;
        step.finish(&worktree.place.display().to_string());
        Ok(worktree)
    }
}

/// Which commits a bisection takes into account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of merges, only the first parents: `--first-parent`.
    pub first_parent: bool,
    /// Only commits that change something in these.
    pub paths: Vec<PathBuf>,
}

impl Scope {
    fn push<'a>(&'a self, arguments: &mut Vec<&'a OsStr>) {
        if self.first_parent {
            arguments.push(OsStr::new("--first-parent"));
        }
        self.push_paths(arguments);
    }

    fn push_paths<'a>(&'a self, arguments: &mut Vec<&'a OsStr>) {
        arguments.push(OsStr::new("--"));
        arguments.extend(self.paths.iter().map(|path| path.as_os_str()));
    }
}

impl Worktree<'_> {
    /// The folder in it that the repository was given as.
    pub fn folder(&self) -> PathBuf {
        self.place.join(&self.repository.below)
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    /// Git fails.
    pub fn head(&self) -> Result<Commit, Error> {
        commit(self.session, &self.place, "HEAD")
    }

    /// Checks a commit out.
    ///
    /// # Errors
    /// Git fails.
    pub fn check_out(&self, commit: &Commit) -> Result<(), Error> {
        let arguments = ["checkout", "--quiet", "--force", "--detach", &commit.id];
        succeeded(self.git(&arguments)?, "git checkout").map(drop)
    }

    /// Puts a patch on top: a mail, a mailbox of them, or a plain diff, which is committed under `name`.
    ///
    /// # Errors
    /// It does not apply; then nothing of it is left.
    pub fn apply(&self, patch: &Path, name: &str) -> Result<(), Error> {
        let patch = patch
            .canonicalize()
            .with_context(|| format!("cannot find {}", patch.display()))?;
        let content =
            std::fs::read(&patch).with_context(|| format!("cannot read {}", patch.display()))?;
        let path = patch.as_os_str();
        let applied = if is_mail(&content) {
            let words = ["am", "--quiet", "--3way", "--empty=drop", "--"].map(OsStr::new);
            self.git(&[&words[..], &[path]].concat())?
        } else {
            let words = ["apply", "--index", "--"].map(OsStr::new);
            let applied = self.git(&[&words[..], &[path]].concat())?;
            if applied.status.success() {
                self.git(&["commit", "--quiet", "--no-verify", "-m", name])?
            } else {
                applied
            }
        };
        if applied.status.success() {
            return Ok(());
        }
        // Without a mail under way there is nothing to abort.
        drop(self.git(&["am", "--abort"])?);
        let why = applied.excerpt();
        Err(anyhow!("{} does not apply:\n{why}", patch.display()).into())
    }

    /// Begins a bisection between two commits.
    ///
    /// # Errors
    /// Git cannot be run.
    pub fn bisect(&self, good: &Commit, bad: &Commit, scope: &Scope) -> Result<Next, Error> {
        let mut arguments: Vec<&OsStr> = vec![OsStr::new("bisect"), OsStr::new("start")];
        if scope.first_parent {
            arguments.push(OsStr::new("--first-parent"));
        }
        arguments.extend([OsStr::new(&bad.id), OsStr::new(&good.id)]);
        scope.push_paths(&mut arguments);
        let said = self.git(&arguments)?;
        self.next(&said)
    }

    /// Tells git what the commit that is checked out came to.
    ///
    /// # Errors
    /// Git cannot be run.
    pub fn mark(&self, mark: Mark) -> Result<Next, Error> {
        let word = match mark {
            Mark::Good => "good",
            Mark::Bad => "bad",
            Mark::Skip => "skip",
        };
        let said = self.git(&["bisect", word])?;
        self.next(&said)
    }

    /// What git remembers of the bisection; `git bisect replay` reads it.
    ///
    /// # Errors
    /// There is none.
    pub fn log(&self) -> Result<String, Error> {
        succeeded(self.git(&["bisect", "log"])?, "git bisect log")
    }

    fn next(&self, said: &Ended) -> Result<Next, Error> {
        let log = self.git(&["bisect", "log"])?;
        let named = |prefix: &str| -> Result<Vec<Commit>, Error> {
            let ids = log.stdout.lines().filter_map(|line| {
                let (id, _) = line.strip_prefix(prefix)?.split_once(']')?;
                Some(id)
            });
            ids.map(|id| commit(self.session, &self.place, id))
                .collect()
        };
        if let Some(found) = named("# first bad commit: [")?.pop() {
            return Ok(Next::Found(found));
        }
        let possible = named("# possible first bad commit: [")?;
        if !possible.is_empty() {
            return Ok(Next::OneOf(possible));
        }
        if said.status.success() {
            Ok(Next::Test(self.head()?))
        } else {
            let text = format!("{}{}", said.stdout, said.excerpt());
            Ok(Next::Stopped(text.trim().to_owned()))
        }
    }

    fn git<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Ended, Error> {
        git(self.session, &self.place, arguments)
    }

    /// Removes the checkout and what the repository knows of it, also after an interruption.
    fn remove(&self) -> Result<(), Error> {
        if self.place.exists() {
            let arguments = [
                OsStr::new("worktree"),
                OsStr::new("remove"),
                // Twice: also a worktree that is locked.
                OsStr::new("--force"),
                OsStr::new("--force"),
                self.place.as_os_str(),
            ];
            // What git does not know any more is a folder like any other.
            drop(call(&self.repository.top, &arguments).run(&NEVER, &mut |_| {})?);
            remove_dir(&self.place)?;
        }
        let prune = call(&self.repository.top, &["worktree", "prune"]);
        prune.run_to_success(&NEVER, &mut |_| {}).map(drop)
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            let place = self.place.display();
            let progress = self.session.progress;
            progress.note(&format!(
                "the worktree {place} could not be removed: {error}"
            ));
        }
        if let Some(folder) = self.place.parent() {
            // What else is in it is not ours.
            drop(std::fs::remove_dir(folder));
        }
    }
}

/// The files of a patch series, in their order: a mailbox, or a folder with a `series` file, as quilt has it, or with
/// patches in the order of their names. What holds no diff, as a cover letter, is left out.
///
/// # Errors
/// There is none, or one cannot be read.
pub fn patches(path: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(patches_of(path)?)
}

fn patches_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        std::fs::metadata(path).with_context(reading)?;
        return Ok(vec![path.to_owned()]);
    }
    let series = path.join("series");
    let files: Vec<PathBuf> = if series.is_file() {
        let text = std::fs::read_to_string(&series)
            .with_context(|| format!("cannot read {}", series.display()))?;
        // Behind the name are options of patch(1), and comments.
        let names = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let names = names.filter(|name| !name.starts_with('#'));
        names.map(|name| path.join(name)).collect()
    } else {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).with_context(reading)? {
            files.push(entry.with_context(reading)?.path());
        }
        let is_patch = |file: &PathBuf| {
            let extension = file.extension().and_then(OsStr::to_str);
            matches!(extension, Some("patch" | "diff"))
        };
        files.retain(is_patch);
        files.sort();
        files
    };
    let mut patches = Vec::new();
    for file in files {
        let content =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if has_diff(&content) {
            patches.push(file);
        }
    }
    if patches.is_empty() {
        bail!(
            "{} holds no patch: no series file, and no *.patch or *.diff with a diff in it",
            path.display()
        );
    }
    Ok(patches)
}

fn has_diff(content: &[u8]) -> bool {
    let mut lines = content.split(|byte| *byte == b'\n');
    lines.any(|line| line.starts_with(b"+++ ") || line.starts_with(b"GIT binary patch"))
}

/// Whether it is what `git format-patch` writes, or a mailbox: its header says from whom it is.
fn is_mail(content: &[u8]) -> bool {
    let header = content
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty());
    let mut header = header.map(|line| line.to_ascii_lowercase());
    header.any(|line| line.starts_with(b"from ") || line.starts_with(b"from:"))
}

fn commit(session: &Session, dir: &Path, revision: &str) -> Result<Commit, Error> {
    let arguments = [
        "log",
        "-1",
        "--no-show-signature",
        "--format=%H%n%s",
        revision,
        "--",
    ];
    let said = succeeded(git(session, dir, &arguments)?, "git log")?;
    let mut lines = said.lines();
    let id = lines.next().context("git log says nothing")?;
    Ok(Commit {
        id: id.to_owned(),
        subject: lines.next().unwrap_or_default().to_owned(),
    })
}

fn succeeded(ended: Ended, what: &str) -> Result<String, Error> {
    if ended.status.success() {
        Ok(ended.stdout)
    } else {
        Err(anyhow!("{what} failed ({}): {}", ended.status, ended.excerpt()).into())
    }
}

fn git<S: AsRef<OsStr>>(session: &Session, dir: &Path, arguments: &[S]) -> Result<Ended, Error> {
    call(dir, arguments).run(&session.cancelled, &mut |_| {})
}

fn call<'a, S: AsRef<OsStr>>(dir: &'a Path, arguments: &[S]) -> Call<'a> {
    let mut words: Vec<OsString> = Vec::new();
    for setting in CONFIGURATION {
        words.extend(["-c".into(), setting.into()]);
    }
    words.extend(arguments.iter().map(|word| word.as_ref().to_owned()));
    Call::new("git", "git", DEADLINE)
        .in_dir(dir)
        .args(words)
        .captured()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::cache::Cache;
    use crate::progress::Progress;

    /// A repository with numbered commits, and a cache beside it.
    struct Made {
        _folder: tempfile::TempDir,
        dir: PathBuf,
        session: Session,
    }

    impl Made {
        /// Each commit writes its number into the file `n`; a hook would fail each checkout and each commit.
        fn new(commits: u32) -> Self {
            let folder = tempfile::tempdir().expect("a scratch folder");
            let dir = folder.path().join("tree");
            let session = Session {
                cache: Cache::at(folder.path().join("cache")),
                progress: Progress::Silent,
                cancelled: Arc::new(AtomicBool::new(false)),
            };
            std::fs::create_dir(&dir).expect("a folder");
            let made = Self {
                _folder: folder,
                dir,
                session,
            };
            made.git(&["init", "--quiet", "--initial-branch=main"]);
            for number in 0..commits {
                made.write("n", &format!("{number}\n"));
                made.git(&["add", "n"]);
                made.git(&["commit", "--quiet", "-m", &format!("number {number}")]);
            }
            for hook in ["post-checkout", "pre-commit", "applypatch-msg"] {
                let path = made.dir.join(".git/hooks").join(hook);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                std::fs::write(&path, "#!/bin/sh\nexit 1\n").expect("a hook");
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(&path, mode).expect("a mode");
            }
            made
        }

        fn git(&self, arguments: &[&str]) -> String {
            succeeded(
                git(&self.session, &self.dir, arguments).expect("git runs"),
                "git",
            )
            .expect("git succeeds")
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.dir.join(name), text).expect("a file");
        }

        fn repository(&self) -> Repository {
            Repository::of_dir(&self.session, &self.dir).expect("a repository")
        }

        /// All that a user could see of a bisection.
        fn state(&self) -> String {
            let refs = self.git(&["for-each-ref"]);
            let status = self.git(&["status", "--porcelain", "--branch"]);
            let worktrees = self.git(&["worktree", "list"]);
            let left = self.dir.join(".git/worktrees").exists();
            format!("{refs}{status}{worktrees}{left}")
        }
    }

    fn number(worktree: &Worktree<'_>) -> u32 {
        let text = std::fs::read_to_string(worktree.folder().join("n")).expect("the file");
        text.trim().parse().expect("a number")
    }

    /// Bisects for the first commit from `bad` on, skipping those that `skipped` says; what is found, and how many
    /// commits were tested.
    fn bisect(made: &Made, bad: u32, skipped: impl Fn(u32) -> bool) -> (Next, u32) {
        let repository = made.repository();
        let commit = |revision: &str| {
            repository
                .commit(&made.session, revision)
                .expect("a commit")
        };
        let (good, last) = (commit("main~63"), commit("main"));
        let worktree = repository
            .worktree(&made.session, &last)
            .expect("a worktree");
        let mut next = worktree
            .bisect(&good, &last, &Scope::default())
            .expect("begins");
        let mut tested = 0;
        while let Next::Test(_) = next {
            tested += 1;
            let mark = match number(&worktree) {
                number if skipped(number) => Mark::Skip,
                number if number >= bad => Mark::Bad,
                _ => Mark::Good,
            };
            next = worktree.mark(mark).expect("goes on");
        }
        assert!(worktree.log().expect("a log").contains("git bisect start"));
        (next, tested)
    }

    #[test]
    fn every_commit_among_64_is_found_in_six_steps_and_nothing_is_left() {
        let made = Made::new(64);
        made.write("n", "a change of the user's\n");
        let before = made.state();
        for bad in [1, 17, 40, 63] {
            let (next, tested) = bisect(&made, bad, |_| false);
            let Next::Found(found) = next else {
                panic!("{next:?}")
            };
            assert_eq!(found.subject, format!("number {bad}"));
            assert!((5..=6).contains(&tested), "{bad}: {tested} steps");
        }
        assert_eq!(made.state(), before);
        let left = std::fs::read_dir(made.session.cache.worktrees()).expect("a folder");
        for entry in left {
            let path = entry.expect("an entry").path();
            assert!(!path.join(NAME).exists(), "{}", path.display());
        }
    }

    #[test]
    fn skipped_commits_around_the_culprit_are_all_named() {
        let made = Made::new(64);
        let (next, _) = bisect(&made, 40, |number| (38..42).contains(&number));
        let Next::OneOf(possible) = next else {
            panic!("{next:?}")
        };
        let mut subjects: Vec<&str> = possible.iter().map(|c| c.subject.as_str()).collect();
        subjects.sort_unstable();
        let wanted = [
            "number 38",
            "number 39",
            "number 40",
            "number 41",
            "number 42",
        ];
        assert_eq!(subjects, wanted);
    }

    #[test]
    fn an_interruption_ends_the_bisection_and_the_worktree_is_gone() {
        let made = Made::new(3);
        let before = made.state();
        let repository = made.repository();
        let commit = |revision| repository.commit(&made.session, revision);
        let (good, bad) = (
            commit("main~2").expect("good"),
            commit("main").expect("bad"),
        );
        let worktree = repository
            .worktree(&made.session, &bad)
            .expect("a worktree");
        let place = worktree.folder();
        assert!(place.join("n").is_file());
        made.session.cancelled.store(true, Ordering::Relaxed);
        let error = worktree
            .bisect(&good, &bad, &Scope::default())
            .expect_err("interrupted");
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        drop(worktree);
        made.session.cancelled.store(false, Ordering::Relaxed);
        assert!(!place.exists());
        assert_eq!(made.state(), before);
    }

    #[test]
    fn what_a_killed_run_left_is_in_nobodys_way() {
        let made = Made::new(2);
        let repository = made.repository();
        let head = repository.commit(&made.session, "main").expect("a commit");
        let left = repository.worktree(&made.session, &head).expect("one");
        let place = left.folder();
        // As after a SIGKILL: the lock is free, the rest is there.
        std::mem::forget(Worktree {
            session: left.session,
            repository: left.repository,
            place: left.place.clone(),
            _lock: left._lock.try_clone().expect("a descriptor"),
        });
        left._lock.unlock().expect("unlocks");
        let again = repository.worktree(&made.session, &head).expect("another");
        assert_eq!(again.folder(), place);
        assert_eq!(number(&again), 1);
    }

    #[test]
    fn good_that_is_no_ancestor_is_refused_in_gits_words() {
        let made = Made::new(3);
        let repository = made.repository();
        let commit = |revision| repository.commit(&made.session, revision).expect("one");
        let (old, new) = (commit("main~2"), commit("main"));
        let worktree = repository.worktree(&made.session, &new).expect("one");
        let next = worktree
            .bisect(&new, &old, &Scope::default())
            .expect("runs");
        let Next::Stopped(why) = next else {
            panic!("{next:?}")
        };
        assert!(why.contains("not ancestors of the bad rev"), "{why}");
    }

    #[test]
    fn a_series_becomes_commits_in_its_order() {
        let made = Made::new(1);
        let before = made.state();
        let series = made.session.cache.root().join("series");
        std::fs::create_dir_all(&series).expect("a folder");
        let diff = |from: u32, to: u32| format!("--- a/n\n+++ b/n\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        let mail = format!(
            "From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nDate: Sat, 1 Aug 2026 00:00:00 +0000\nSubject: [PATCH] second\n\n---\n{}-- \n2.39\n",
            diff(1, 2)
        );
        for (name, text) in [
            (
                "0000-cover-letter.patch",
                "From: A <a@b>\nSubject: [PATCH 0/2] cover\n\nText.\n",
            ),
            ("0001-first.diff", &diff(0, 1)),
            ("0002-second.patch", &mail),
            ("notes.txt", "no patch"),
        ] {
            std::fs::write(series.join(name), text).expect("a file");
        }
        let files = patches(&series).expect("patches");
        let repository = made.repository();
        let head = repository.commit(&made.session, "HEAD").expect("a commit");
        {
            let worktree = repository.worktree(&made.session, &head).expect("one");
            for file in &files {
                let name = file.file_name().expect("a name").to_string_lossy();
                worktree.apply(file, &name).expect("applies");
            }
            assert_eq!(number(&worktree), 2);
            let log = succeeded(worktree.git(&["log", "--format=%s"]).expect("a log"), "log");
            assert_eq!(log.expect("a log"), "second\n0001-first.diff\nnumber 0\n");
            let again = files.first().expect("a patch");
            let error = worktree.apply(again, "again").expect_err("twice");
            assert!(error.to_string().contains("does not apply"), "{error}");
        }
        assert_eq!(made.state(), before);
        std::fs::write(
            series.join("series"),
            "0002-second.patch -p1\n# 0001-first.diff\n",
        )
        .expect("a file");
        assert_eq!(
            patches(&series).expect("patches"),
            [series.join("0002-second.patch")]
        );
        let none = patches(&made.dir).expect_err("no patches");
        assert!(none.to_string().contains("holds no patch"), "{none}");
    }

    #[test]
    fn what_git_does_not_have_is_named() {
        let made = Made::new(1);
        let repository = made.repository();
        let error = repository
            .commit(&made.session, "no-such")
            .expect_err("no such revision");
        assert!(
            error.to_string().contains("no commit \"no-such\""),
            "{error}"
        );
        let outside = made.dir.parent().expect("a folder");
        let error = Repository::of_dir(&made.session, outside).expect_err("no git tree");
        assert!(error.to_string().contains("is in no git tree"), "{error}");
    }
}
