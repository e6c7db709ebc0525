// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit kernel`: fetch, build, list and find kernels.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use deferinit_kernel::build::{self, BuildInfo, Choice, Listing};
use deferinit_kernel::source;
use deferinit_scenario::Load;
use serde::Serialize;

use crate::args::{Format, Kernel, KernelVariant};
use crate::exit::{Failure, PASSED};
use crate::prepare::{self, choice, session};
use crate::project::Project;
use crate::stdout::print;

/// The kernel that the user asked for.
fn variant(project: &Project, arguments: &KernelVariant) -> Choice {
    let load = if arguments.builtin {
        Load::BuiltIn
    } else {
        Load::Module
    };
    choice(project, &arguments.kernel, load)
}

/// Runs the command.
pub(crate) fn run(command: &Kernel, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let (session, kbuild) = session(&project, interrupted)?;
    match command {
        Kernel::Fetch => {
            let source = source::fetch(&session, &kbuild.kernels)?;
            print(&source.tree().display().to_string())?;
        }
        Kernel::Build(arguments) => {
            prepare::require(&session, &kbuild)?;
            let kernel = build::provide(&session, &kbuild, &variant(&project, arguments))?;
            print(&kernel.build_dir.display().to_string())?;
        }
        Kernel::List { format } => list(&build::list(&session), *format)?,
        Kernel::Path {
            source: true,
            kernel,
        } => {
            let tree = match variant(&project, kernel) {
                Choice::Tree(tree, _) => Some(tree),
                Choice::Build(_) => {
                    return Err(Failure::usage(anyhow!(
                        "a finished build does not say where its source is"
                    )));
                }
                Choice::Default(_) => source::cached(&session)
                    .into_iter()
                    .next()
                    .map(|package| package.tree),
            };
            let tree = tree.ok_or_else(|| nothing("source", "deferinit kernel fetch"))?;
            print(&tree.display().to_string())?;
        }
        Kernel::Path {
            source: false,
            kernel,
        } => {
            let found = match variant(&project, kernel) {
                Choice::Default(variant) => build::built(&session, &kbuild, &variant)?,
                chosen => Some(build::provide(&session, &kbuild, &chosen)?),
            };
            let kernel = found.ok_or_else(|| nothing("build", "deferinit kernel build"))?;
            print(&kernel.build_dir.display().to_string())?;
        }
    }
    Ok(PASSED)
}

fn nothing(what: &str, command: &str) -> Failure {
    Failure::setup(anyhow!(
        "there is no kernel {what} in the cache; `{command}` makes one"
    ))
}

/// A build's release and how it differs from the default one.
fn described(info: &BuildInfo) -> String {
    let mut text = info.release.clone();
    for (is_so, word) in [(info.debug, " debug"), (info.builtin, " builtin")] {
        if is_so {
            text.push_str(word);
        }
    }
    text
}

#[derive(Serialize)]
struct Json<'a> {
    format_version: u32,
    sources: Vec<JsonSource<'a>>,
    builds: Vec<JsonBuild<'a>>,
}

#[derive(Serialize)]
struct JsonSource<'a> {
    version: String,
    path: &'a std::path::Path,
}

#[derive(Serialize)]
struct JsonBuild<'a> {
    path: &'a std::path::Path,
    release: Option<&'a str>,
    debug: bool,
    builtin: bool,
    finished: bool,
}

fn list(listing: &Listing, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let json = Json {
                format_version: 1,
                sources: listing
                    .sources
                    .iter()
                    .map(|source| JsonSource {
                        version: source.version.clone(),
                        path: &source.tree,
                    })
                    .collect(),
                builds: listing
                    .builds
                    .iter()
                    .map(|build| JsonBuild {
                        path: &build.dir,
                        release: build.info.as_ref().map(|info| info.release.as_str()),
                        debug: build.info.as_ref().is_some_and(|info| info.debug),
                        builtin: build.info.as_ref().is_some_and(|info| info.builtin),
                        finished: build.info.is_some(),
                    })
                    .collect(),
            };
            let json = serde_json::to_string_pretty(&json)
                .context("cannot write the list as JSON")
                .map_err(Failure::setup)?;
            print(&json)?;
        }
        Format::Text => {
            for source in &listing.sources {
                let tree = source.tree.display();
                print(&format!("source  {:<28} {tree}", source.version))?;
            }
            for build in &listing.builds {
                let what = build
                    .info
                    .as_ref()
                    .map_or_else(|| "not finished".to_owned(), described);
                print(&format!("build   {what:<28} {}", build.dir.display()))?;
            }
            if listing.sources.is_empty() && listing.builds.is_empty() {
                print("The cache is empty; `deferinit kernel build` fills it.")?;
            }
        }
    }
    Ok(())
}
