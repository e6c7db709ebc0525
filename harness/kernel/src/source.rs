// SPDX-License-Identifier: GPL-2.0-only

//! Kernel sources: a distribution's package in the cache, or a developer's own tree.
//!
//! In: `kernels.toml`, a tree's folder. Out: a `Source` that is whole. A package is downloaded, unpacked beside its
//! final place and renamed into it: what stands there is complete, and an interrupted fetch goes on with what was
//! downloaded. An own tree is only read.
//! Source: `Makefile` (`VERSION`, `outputmakefile`) of Linux 7.3; dpkg-deb(1), tar(1), xz(1).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::apt::{Client, Package, PackageFile, newest};
use crate::cache::{
    Session, create_dir, lock, read_marker, remove_dir, require_space, write_marker,
};
use crate::child::{Call, Event};
use crate::error::Error;
use crate::kernels::{Archive, Kernels};
use crate::progress::{Step, Unit};
use crate::toolchain::program;
use crate::version::Version;

/// The longest unpacking may take: 25 s on a fast disk.
const UNPACK_DEADLINE: Duration = Duration::from_secs(1800);
/// tar counts in records of 20 blocks.
const TAR_RECORD: u64 = 20 * 512;
/// How many records go by between two signs of life: 10 MB.
const TAR_CHECKPOINT: u64 = 1000;

/// A kernel source that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A package's content in the cache; it does not change.
    Package(PackageSource),
    /// A developer's own tree; it changes between runs.
    Tree(TreeSource),
}

/// A package's content; also the done marker `source.json` beside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// 1.
    pub format_version: Version1,
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The kernel's version.
    pub kernel: Version,
    /// Of the package file.
    pub sha256: String,
    /// The tree.
    #[serde(skip)]
    pub tree: PathBuf,
}

/// A developer's own tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSource {
    /// Its canonical path.
    pub tree: PathBuf,
    /// From its Makefile.
    pub kernel: Version,
}

/// The format of this crate's markers: a file that says another number is not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Version1;

impl TryFrom<u32> for Version1 {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if number == 1 {
            Ok(Self)
        } else {
            Err(format!("format version {number}; known: 1"))
        }
    }
}

impl From<Version1> for u32 {
    fn from(_: Version1) -> Self {
        1
    }
}

impl Source {
    /// The tree's folder.
    pub fn tree(&self) -> &Path {
        match self {
            Self::Package(source) => &source.tree,
            Self::Tree(source) => &source.tree,
        }
    }

    /// The kernel's version.
    pub fn kernel(&self) -> &Version {
        match self {
            Self::Package(source) => &source.kernel,
            Self::Tree(source) => &source.kernel,
        }
    }

    /// What tells this source from any other; an own tree's is its place, for its content changes.
    pub fn identity(&self) -> String {
        match self {
            Self::Package(source) => format!(
                "package {} {} sha256 {}",
                source.package, source.version, source.sha256
            ),
            Self::Tree(source) => format!("tree {}", source.tree.display()),
        }
    }
}

/// The sources in the cache, the newest first.
pub fn cached(session: &Session) -> Vec<PackageSource> {
    let Ok(entries) = std::fs::read_dir(session.cache.sources()) else {
        return Vec::new();
    };
    let mut sources: Vec<PackageSource> = entries
        .flatten()
        .filter_map(|entry| read_source(&entry.path()))
        .collect();
    sources.sort_by(|a, b| {
        b.kernel
            .cmp(&a.kernel)
            .then_with(|| b.version.cmp(&a.version))
    });
    sources
}

/// The newest supported source of the cache, or, if it has none, of the archives.
///
/// # Errors
/// As `fetch`.
pub fn provide(session: &Session, kernels: &Kernels) -> Result<Source, Error> {
    match cached(session)
        .into_iter()
        .find(|source| source.kernel >= kernels.oldest)
    {
        Some(source) => Ok(Source::Package(source)),
        None => fetch(session, kernels),
    }
}

/// The newest supported source of the archives, fetched unless it is in the cache.
///
/// # Errors
/// `NoArchive`, `Unreachable`, `NoSource`, `Download`, `NoSpace`, each saying what to do.
pub fn fetch(session: &Session, kernels: &Kernels) -> Result<Source, Error> {
    let lock = lock(
        session,
        &session.cache.root().join("sources.lock"),
        "fetching a kernel source",
    )?;
    if program("apt-get").is_none() {
        return Err(no_archive(kernels));
    }
    let client = Client::new(session.cache.apt(), &lock, &session.cancelled)?;
    let mut step = session
        .progress
        .step("looking for the newest kernel source");
    let package = find(&client, kernels, &mut step)?;
    step.finish(&package.name_and_version());
    let place = session
        .cache
        .sources()
        .join(format!("{}_{}", package.name, package.version));
    if let Some(source) = read_source(&place) {
        return Ok(Source::Package(source));
    }
    require_space(
        &session.cache.sources(),
        kernels.source_mib,
        "fetching a kernel source",
    )?;
    let file = client.package_file(&package)?;
    let downloads = session.cache.sources().join(".download");
    create_dir(&downloads)?;
    let mut step = session.progress.step("downloading the kernel source");
    let deb = client.download(&package, &file, &downloads, &mut step)?;
    step.finish(&format!("{} MiB", file.size >> 20));
    unpack(session, &client, &package, &file, &deb, &place)?;
    remove_dir(&downloads)?;
    let source = read_source(&place)
        .with_context(|| format!("{} is not whole after unpacking", place.display()))?;
    Ok(Source::Package(source))
}

/// A developer's own tree, checked but not written to.
///
/// # Errors
/// `NotAKernel`, `TooOld`, `TreeNotClean`.
pub fn of_tree(dir: &Path, kernels: &Kernels) -> Result<TreeSource, Error> {
    let not_a_kernel = |why: String| Error::NotAKernel {
        dir: dir.to_owned(),
        why,
    };
    let tree = dir
        .canonicalize()
        .map_err(|error| not_a_kernel(error.to_string()))?;
    let kernel = version_of_tree(&tree).map_err(not_a_kernel)?;
    if kernel < kernels.oldest {
        return Err(Error::TooOld {
            dir: tree,
            found: kernel,
            oldest: kernels.oldest.clone(),
        });
    }
    // The tree's own Makefile (target outputmakefile) refuses the same three.
    for left in [".config", "include/config", "arch/x86/include/generated"] {
        if tree.join(left).exists() {
            return Err(Error::TreeNotClean {
                dir: tree,
                found: left,
            });
        }
    }
    Ok(TreeSource { tree, kernel })
}

/// The version in a tree's Makefile, or why the folder is no kernel tree.
pub(crate) fn version_of_tree(tree: &Path) -> Result<Version, String> {
    if tree.join("include/config/kernel.release").is_file() && !tree.join("Kconfig").is_file() {
        return Err("it is a build's folder; give it with --kernel-build".to_owned());
    }
    let text = std::fs::read_to_string(tree.join("Makefile"))
        .map_err(|error| format!("its Makefile: {error}"))?;
    let version =
        parse_makefile(&text).ok_or("its Makefile sets no VERSION, PATCHLEVEL and SUBLEVEL")?;
    for part in [
        "Kconfig",
        "arch/x86/Makefile",
        "include/linux/kernel.h",
        "scripts/Makefile.build",
    ] {
        if !tree.join(part).is_file() {
            return Err(format!("it has no {part}"));
        }
    }
    Ok(version)
}

fn find(client: &Client<'_>, kernels: &Kernels, step: &mut Step) -> Result<Package, Error> {
    let mut sites = Vec::new();
    let mut unreachable = Vec::new();
    let mut reason = String::new();
    let mut read = Vec::new();
    let mut seen = Vec::new();
    for archive in &kernels.archives {
        let Some(site) = client.site_of(archive)? else {
            continue;
        };
        sites.push(site.uri.clone());
        for suite in &archive.suites {
            step.set_detail(suite);
            match client.update(&site, archive, suite) {
                Err(Error::Failed { excerpt, .. }) => {
                    // Errors come first; the rest repeats them.
                    reason = excerpt.lines().next().unwrap_or_default().to_owned();
                    unreachable.push(suite.clone());
                    continue;
                }
                result => result?,
            }
            read.push(suite.clone());
            let packages = client.kernel_sources(archive)?;
            if let Some(package) = newest(&packages, &kernels.oldest) {
                return Ok(package.clone());
            }
            seen.extend(packages.iter().map(Package::name_and_version));
        }
    }
    if sites.is_empty() {
        return Err(no_archive(kernels));
    }
    if read.is_empty() {
        return Err(Error::Unreachable {
            site: sites.join(", "),
            suites: unreachable,
            reason,
        });
    }
    Err(Error::NoSource {
        suites: read,
        oldest: kernels.oldest.clone(),
        seen,
    })
}

fn no_archive(kernels: &Kernels) -> Error {
    let known = |archive: &Archive| format!("{} ({})", archive.label, archive.suites.join(", "));
    Error::NoArchive {
        known: kernels.archives.iter().map(known).collect(),
    }
}

fn unpack(
    session: &Session,
    client: &Client<'_>,
    package: &Package,
    file: &PackageFile,
    deb: &Path,
    place: &Path,
) -> Result<(), Error> {
    let scratch = session.cache.sources().join(".unpack");
    remove_dir(&scratch)?;
    let (content, whole) = (scratch.join("deb"), scratch.join("source"));
    create_dir(&content)?;
    create_dir(&whole)?;
    let mut step = session.progress.step("unpacking the kernel source");
    client
        .call("dpkg-deb", "unpacking the package", UNPACK_DEADLINE)
        .args(["-x".as_ref(), deb, &content])
        .run_to_success(&session.cancelled, &mut |_| {})?;
    let archive = content.join(format!("usr/src/{}.tar.xz", package.name));
    if let Some(size) = unpacked_size(session, &archive)? {
        step.set_total(size, Unit::Bytes);
    }
    let checkpoint = format!("--checkpoint={TAR_CHECKPOINT}");
    let mut checkpoints = 0;
    client
        .call("tar", "unpacking the source", UNPACK_DEADLINE)
        .args([
            "--no-same-owner",
            &checkpoint,
            "--checkpoint-action=echo=record %u",
        ])
        .args([
            "-xf".as_ref(),
            archive.as_path(),
            "-C".as_ref(),
            whole.as_path(),
        ])
        .run_to_success(&session.cancelled, &mut |event| {
            if matches!(event, Event::Line(line) if line.contains("record ")) {
                checkpoints += 1;
                step.set_position(checkpoints * TAR_CHECKPOINT * TAR_RECORD);
            }
        })?;
    version_of_tree(&whole.join(&package.name))
        .map_err(|why| anyhow::anyhow!("the package {} holds no kernel: {why}", deb.display()))?;
    write_marker(&whole.join("source.json"), &marker(package, file))?;
    remove_dir(place)?;
    std::fs::rename(&whole, place)
        .with_context(|| format!("cannot rename {} to {}", whole.display(), place.display()))?;
    remove_dir(&scratch)?;
    step.finish(&place.join(&package.name).display().to_string());
    Ok(())
}

/// The size of the tar archive inside the xz file, if xz says it.
fn unpacked_size(session: &Session, archive: &Path) -> Result<Option<u64>, Error> {
    let ended = Call::new("asking for the source's size", "xz", UNPACK_DEADLINE)
        .args(["--robot".as_ref(), "--list".as_ref(), archive])
        .captured()
        .run(&session.cancelled, &mut |_| {})?;
    // xz(1), robot mode: totals, streams, blocks, compressed, uncompressed, ...
    let totals = ended.stdout.lines().find(|line| line.starts_with("totals"));
    Ok(totals.and_then(|line| line.split('\t').nth(4)?.parse().ok()))
}

fn marker(package: &Package, file: &PackageFile) -> PackageSource {
    PackageSource {
        format_version: Version1,
        package: package.name.clone(),
        version: package.version.clone(),
        kernel: package.upstream.clone(),
        sha256: file.sha256.clone(),
        tree: PathBuf::new(),
    }
}

fn read_source(place: &Path) -> Option<PackageSource> {
    let mut source: PackageSource = read_marker(&place.join("source.json"))?;
    source.tree = place.join(&source.package);
    version_of_tree(&source.tree).is_ok().then_some(source)
}

fn parse_makefile(text: &str) -> Option<Version> {
    let value = |name: &str| {
        text.lines().take(20).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name)
                .then(|| value.trim().parse::<u64>().ok())
                .flatten()
        })
    };
    let (major, minor, patch) = (value("VERSION")?, value("PATCHLEVEL")?, value("SUBLEVEL")?);
    Version::parse(&format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::progress::Progress;

    fn kernels() -> Kernels {
        let oldest = Version::parse("7.2").expect("a version");
        Kernels {
            oldest,
            build_steps: 1,
            source_mib: 0,
            build_mib: 0,
            debug_guest_mib: 512,
            debug_exact_shift: 0,
            archives: Vec::new(),
        }
    }

    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
        std::fs::write(path, text).expect("writes");
    }

    fn tree(dir: &Path, makefile: &str) {
        write(dir.join("Makefile"), makefile);
        for part in [
            "Kconfig",
            "arch/x86/Makefile",
            "include/linux/kernel.h",
            "scripts/Makefile.build",
        ] {
            write(dir.join(part), "");
        }
    }

    const MAKEFILE: &str = "# SPDX-License-Identifier: GPL-2.0\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";

    #[test]
    fn an_own_tree_is_accepted_when_it_is_clean_and_new_enough() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        tree(dir.path(), MAKEFILE);
        let source = of_tree(dir.path(), &kernels()).expect("a tree");
        assert_eq!(source.kernel.to_string(), "7.3.4");
        write(dir.path().join(".config"), "");
        let error = of_tree(dir.path(), &kernels()).expect_err("not clean");
        assert!(
            matches!(
                error,
                Error::TreeNotClean {
                    found: ".config",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let refused = |part: &str| {
            let error = of_tree(dir.path(), &kernels()).expect_err("no kernel");
            assert!(matches!(error, Error::NotAKernel { .. }), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        refused("its Makefile");
        write(dir.path().join("Makefile"), "all:\n\techo\n");
        refused("VERSION");
        write(dir.path().join("Makefile"), MAKEFILE);
        refused("no Kconfig");
        write(dir.path().join("include/config/kernel.release"), "7.3.4\n");
        refused("--kernel-build");
        let error = of_tree(Path::new("/no/such/folder"), &kernels()).expect_err("no folder");
        assert!(matches!(error, Error::NotAKernel { .. }), "{error}");
    }

    #[test]
    fn an_old_tree_is_named_with_both_versions() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        tree(dir.path(), &MAKEFILE.replace("VERSION = 7", "VERSION = 6"));
        let error = of_tree(dir.path(), &kernels()).expect_err("too old");
        assert!(
            error
                .to_string()
                .contains("is Linux 6.3.4 but the module needs 7.2"),
            "{error}"
        );
    }

    #[test]
    fn half_a_source_is_not_taken_for_a_whole_one() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let session = Session {
            cache: Cache::at(dir.path()),
            progress: Progress::Silent,
            cancelled: Default::default(),
        };
        let place = session.cache.sources().join("linux-source-7.3_7.3.4-1");
        tree(&place.join("linux-source-7.3"), MAKEFILE);
        assert_eq!(cached(&session), []);
        let package = Package {
            name: "linux-source-7.3".into(),
            version: "7.3.4-1".into(),
            upstream: kernels().oldest,
        };
        write_marker(
            &place.join("source.json"),
            &marker(
                &package,
                &PackageFile {
                    size: 1,
                    sha256: "a".into(),
                },
            ),
        )
        .expect("writes");
        assert_eq!(cached(&session).len(), 1);
        let source = provide(&session, &kernels()).expect("the cached one, with no network");
        assert_eq!(
            source.identity(),
            "package linux-source-7.3 7.3.4-1 sha256 a"
        );
        std::fs::remove_file(place.join("linux-source-7.3/Makefile")).expect("removes");
        assert_eq!(cached(&session), []);
    }

    #[test]
    fn a_marker_of_another_format_is_not_read() {
        let text =
            r#"{"format_version":2,"package":"a","version":"1","kernel":"7.3","sha256":"x"}"#;
        assert!(serde_json::from_str::<PackageSource>(text).is_err());
        assert!(serde_json::from_str::<PackageSource>(&text.replace(":2,", ":1,")).is_ok());
    }

    #[test]
    fn a_makefile_without_numbers_has_no_version() {
        assert_eq!(
            parse_makefile("VERSION = x\nPATCHLEVEL = 1\nSUBLEVEL = 1\n"),
            None
        );
        assert_eq!(parse_makefile("VERSION = 7\nPATCHLEVEL = 1\n"), None);
    }
}
