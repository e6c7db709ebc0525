// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit bisect`: which commit, patch, kernel parameter or config option did it.
//!
//! A scenario is the judge, in exact mode one boot for each step. Commits and patches are git's to choose, options those
//! of delta debugging.

mod answer;
mod judge;
mod options;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use deferinit_kernel::build::{self, Choice, Kbuild, Variant};
use deferinit_kernel::cache::Session;
use deferinit_kernel::git::{self, Commit, Mark, Next, Repository, Scope, Worktree};
use deferinit_kernel::progress::Progress;
use deferinit_kernel::{Class, Error};
use deferinit_scenario::{Clock, Load, Scenario};

use self::answer::{Answer, Culprit, Found, Kind};
use self::judge::{Bench, Candidate, Setting};
use crate::args::KernelChoice;
use crate::args::bisect::Bisect;
use crate::exit::Failure;
use crate::output::Output;
use crate::prepare;
use crate::project::Project;
use crate::{commands, scenarios};

/// The log of git's bisection, in the folder of the results.
const GIT_LOG: &str = "git-bisect.log";

/// Runs the command.
pub(crate) fn run(arguments: &Bisect, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let (session, kbuild) = prepare::session(&project, interrupted)?;
    let scenario = scenario(&project, arguments)?;
    let subject = Subject::of(arguments, &session)?;
    prepare::require(&session, &kbuild)?;
    let machine = prepare::machine_of(&project, &scenario)?;
    let added = commands::run::added(std::slice::from_ref(&scenario))?;
    let tree = subject
        .kernel_tree()
        .or(arguments.kernel.kernel_tree.as_deref());
    let output = Output::create(arguments.out.as_deref(), tree)?;
    let setting = Setting {
        project: &project,
        session: &quiet(&subject, &project, &session, &kbuild, arguments)?,
        kbuild: &kbuild,
        scenario: &scenario,
        machine: &machine,
        added: added.into_iter().flatten().collect(),
        insmod: &arguments.insmod,
    };
    let mut bench = Bench::new(setting, output.keep(), arguments)?;
    let found = match &subject {
        Subject::Commits { tree, good, bad } => {
            let scope = Scope {
                first_parent: arguments.first_parent,
                paths: arguments.paths.clone(),
            };
            let worktree = tree.repository.worktree(&session, good)?;
            by_git(&mut bench, tree, &worktree, (good, bad), &scope)?
        }
        Subject::Patches { tree, files } => {
            let head = tree.repository.commit(&session, "HEAD").map_err(mistake)?;
            let worktree = tree.repository.worktree(&session, &head)?;
            for file in files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                worktree.apply(file, &name).map_err(mistake)?;
            }
            let last = worktree.head()?;
            by_git(
                &mut bench,
                tree,
                &worktree,
                (&head, &last),
                &Scope::default(),
            )?
        }
        Subject::CommandLine(good, bad) => {
            let options = options::of_command_lines(&bench, arguments, good, bad)?;
            options.bisect(&mut bench)?
        }
        Subject::Config(good, bad) => {
            let options = options::of_configs(&bench, arguments, good, bad)?;
            options.bisect(&mut bench)?
        }
    };
    Answer::new(subject.kind(), bench, found)?.show(arguments.limit, arguments.format)
}

/// What is bisected.
enum Subject<'a> {
    Commits {
        tree: Tree<'a>,
        good: Commit,
        bad: Commit,
    },
    Patches {
        tree: Tree<'a>,
        files: Vec<PathBuf>,
    },
    CommandLine(&'a Path, &'a Path),
    Config(&'a Path, &'a Path),
}

/// A user's tree.
struct Tree<'a> {
    repository: Repository,
    /// Of a kernel; else of modules, with the kernel that they are run on.
    kernel: Option<&'a Path>,
    choice: &'a KernelChoice,
}

impl<'a> Subject<'a> {
    /// # Errors
    /// What is named is not there.
    fn of(arguments: &'a Bisect, session: &Session) -> Result<Self, Failure> {
        let pair = |files: &'a Option<Vec<PathBuf>>| match files.as_deref() {
            Some([good, bad]) => Some((good.as_path(), bad.as_path())),
            _ => None,
        };
        if let Some((good, bad)) = pair(&arguments.command_line) {
            return Ok(Self::CommandLine(good, bad));
        }
        if let Some((good, bad)) = pair(&arguments.config) {
            return Ok(Self::Config(good, bad));
        }
        let tree = Tree::of(arguments, session)?;
        if let Some(path) = &arguments.patches {
            let files = git::patches(path).map_err(mistake)?;
            return Ok(Self::Patches { tree, files });
        }
        let (good, bad) = range(arguments.range.as_deref().unwrap_or_default())?;
        let commit = |revision| tree.repository.commit(session, revision).map_err(mistake);
        let (good, bad) = (commit(good)?, commit(bad)?);
        Ok(Self::Commits { tree, good, bad })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Commits { .. } => Kind::Commit,
            Self::Patches { .. } => Kind::Patch,
            Self::CommandLine(..) => Kind::CommandLine,
            Self::Config(..) => Kind::Config,
        }
    }

    fn kernel_tree(&self) -> Option<&'a Path> {
        match self {
            Self::Commits { tree, .. } | Self::Patches { tree, .. } => tree.kernel,
            Self::CommandLine(..) | Self::Config(..) => None,
        }
    }
}

impl<'a> Tree<'a> {
    fn of(arguments: &'a Bisect, session: &Session) -> Result<Self, Failure> {
        let choice = &arguments.kernel;
        let kernel = match &arguments.module_tree {
            Some(_) => None,
            None if choice.kernel_build.is_some() => {
                return Err(Failure::usage(anyhow!(
                    "commits and patches are those of a source tree: give --kernel-tree, or --module-tree to run its modules on --kernel-build"
                )));
            }
            None => Some(choice.kernel_tree.as_deref().unwrap_or(Path::new("."))),
        };
        if kernel.is_some() && !arguments.insmod.is_empty() {
            return Err(Failure::usage(anyhow!(
                "a finished module fits one kernel, not each of a bisection: give --insmod with --module-tree, --command-line or --config only"
            )));
        }
        let folder = kernel.or(arguments.module_tree.as_deref());
        let folder = folder.unwrap_or(Path::new("."));
        Ok(Self {
            repository: Repository::of_dir(session, folder).map_err(mistake)?,
            kernel,
            choice,
        })
    }

    /// What is to be booted of a commit that is checked out.
    fn candidate(&self, bench: &Bench<'_>, worktree: &Worktree<'_>, commit: &Commit) -> Candidate {
        let folder = worktree.folder();
        let (choice, module_tree) = match self.kernel {
            Some(_) => {
                let choice = KernelChoice {
                    kernel_tree: Some(folder),
                    ..self.choice.clone()
                };
                (choice, None)
            }
            None => (self.choice.clone(), Some(folder)),
        };
        Candidate {
            name: commit.short().to_owned(),
            subject: commit.subject.clone(),
            kernel: prepare::choice(bench.project(), &choice, bench.load()),
            module_tree,
            command_line: Vec::new(),
        }
    }
}

/// The one scenario that judges.
fn scenario(project: &Project, arguments: &Bisect) -> Result<Scenario, Failure> {
    let wish = std::slice::from_ref(&arguments.scenario);
    let mut found = scenarios::selected(project, wish)?;
    let (Some(scenario), true) = (found.pop(), found.is_empty()) else {
        return Err(Failure::usage(anyhow!(
            "--scenario {} means several; name one",
            arguments.scenario
        )));
    };
    if scenario.clock == Clock::Wall {
        return Err(Failure::usage(anyhow!(
            "{} runs on the wall clock, where one boot is no judge; `clock: exact` in it makes it one",
            scenario.name
        )));
    }
    // The checks of a debug kernel are about what is left behind, too.
    Ok(if arguments.kernel.debug_kernel {
        scenario.twice()
    } else {
        scenario
    })
}

/// `GOOD..BAD`; as in git, HEAD is what is left out.
fn range(text: &str) -> Result<(&str, &str), Failure> {
    let pair = text.split_once("..");
    let pair =
        pair.filter(|(good, bad)| !(bad.starts_with('.') || good.is_empty() && bad.is_empty()));
    let (good, bad) = pair.ok_or_else(|| {
        Failure::usage(anyhow!(
            "{text:?} is no range of commits: GOOD..BAD is, with what git takes for a commit on both sides"
        ))
    })?;
    let or_head = |revision| {
        if str::is_empty(revision) {
            "HEAD"
        } else {
            revision
        }
    };
    Ok((or_head(good), or_head(bad)))
}

/// What of a tree or a revision is wrong is the user's to mend, unless the user has had enough.
fn mistake(error: Error) -> Failure {
    match error.class() {
        Class::Interrupted => Failure::from(error),
        Class::Setup | Class::Build => Failure::usage(error),
    }
}

/// Where the kernel stays the same, it is built first; what is built for each boot takes seconds, and is not worth lines.
fn quiet(
    subject: &Subject<'_>,
    project: &Project,
    session: &Session,
    kbuild: &Kbuild,
    arguments: &Bisect,
) -> Result<Session, Failure> {
    let is_same = match subject {
        Subject::Commits { tree, .. } | Subject::Patches { tree, .. } => tree.kernel.is_none(),
        Subject::CommandLine(..) => true,
        Subject::Config(..) => false,
    };
    if !is_same {
        return Ok(session.clone());
    }
    let choice = prepare::choice(project, &arguments.kernel, Load::Module);
    build::provide(session, kbuild, &choice)?;
    Ok(Session {
        progress: Progress::Silent,
        ..session.clone()
    })
}

/// Has git choose what is booted.
fn by_git(
    bench: &mut Bench<'_>,
    tree: &Tree<'_>,
    worktree: &Worktree<'_>,
    (good, bad): (&Commit, &Commit),
    scope: &Scope,
) -> Result<Found, Failure> {
    let between = tree.repository.count(bench.session(), good, bad, scope)?;
    if between == 0 {
        return Err(Failure::usage(anyhow!(
            "there is no commit between {} ({}) and {} ({})",
            good.short(),
            good.subject,
            bad.short(),
            bad.subject
        )));
    }
    // Of n commits, halving leaves one after log2(n) steps; and both ends are tested.
    bench.expect(u64::from(between.next_power_of_two().trailing_zeros()).saturating_add(2));
    worktree.check_out(good)?;
    bench.good(tree.candidate(bench, worktree, good))?;
    worktree.check_out(bad)?;
    bench.bad(tree.candidate(bench, worktree, bad))?;
    let mut next = worktree.bisect(good, bad, scope)?;
    while let Next::Test(commit) = &next {
        let candidate = tree.candidate(bench, worktree, commit);
        let mark = bench.judge(candidate)?;
        next = worktree.mark(mark)?;
    }
    let log = bench.out().join(GIT_LOG);
    std::fs::write(&log, worktree.log()?)
        .with_context(|| format!("cannot write {}", log.display()))
        .map_err(Failure::setup)?;
    let culprit = |commit: Commit| Culprit {
        name: commit.id,
        subject: commit.subject,
    };
    let culprits = match next {
        Next::Found(commit) => vec![culprit(commit)],
        Next::OneOf(commits) => commits.into_iter().map(culprit).collect(),
        Next::Stopped(why) => {
            return Err(Failure::unresolved(anyhow!("git cannot go on: {why}")));
        }
        // The loop has ended.
        Next::Test(_) => Vec::new(),
    };
    Ok(Found {
        is_certain: culprits.len() == 1,
        last_good: bench.last(Mark::Good),
        first_bad: bench.last(Mark::Bad),
        culprits,
    })
}

/// The same kernel with a configuration of the user's.
fn with_config(choice: &Choice, config: build::OwnConfig) -> Choice {
    let config = Some(config);
    match choice {
        Choice::Default(variant) => Choice::Default(Variant {
            config,
            ..variant.clone()
        }),
        Choice::Tree(tree, variant) => Choice::Tree(
            tree.clone(),
            Variant {
                config,
                ..variant.clone()
            },
        ),
        Choice::Build(build) => Choice::Build(build.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends_of_which_one_may_be_head() {
        for (text, wanted) in [
            ("v7.2..v7.3", ("v7.2", "v7.3")),
            ("v7.2..", ("v7.2", "HEAD")),
            ("..topic", ("HEAD", "topic")),
        ] {
            assert!(
                matches!(range(text), Ok(found) if found == wanted),
                "{text}"
            );
        }
        for text in ["", "..", "v7.2", "a...b"] {
            let failure = range(text).expect_err(text);
            assert!(failure.to_string().contains("GOOD..BAD"), "{failure}");
        }
    }
}
