// SPDX-License-Identifier: GPL-2.0-only

//! The kernel module, built against a kernel.
//!
//! In: the module's folder, the folder `kbuild/`, a kernel. Out: the path of the `.ko`.
//! Sources are copied into the cache, so that no build product lands beside them, and built there under a lock. The
//! `.ko` is put in place by renaming: one that another run has open stays as it is. Against a kernel that can change
//! under its name (own tree, finished build) the module is built on every run; it takes seconds.
//! Source: `Documentation/kbuild/modules.rst`, Linux 7.3.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::build::{Kernel, Origin, count_step};
use crate::cache::{
    Session, create_dir, file_sha256, key, lock, read_marker, remove_dir, write_marker,
};
use crate::child::Call;
use crate::error::{Class, Error};
use crate::progress::Unit;
use crate::source::Version1;

/// Part of every key: counted up when the steps below change.
const RECIPE: &str = "1";
/// The same, of a user's tree of modules.
const TREE_RECIPE: &str = "tree 1";
/// What kbuild lists the modules in that it has made: the name of each with `.o`, in the order of the Kbuild files.
const ORDER: &str = "modules.order";
/// The longest a module build may take: 2 s on two cores.
const BUILD_DEADLINE: Duration = Duration::from_secs(600);
/// Steps of a module build, for its progress.
const EXPECTED_STEPS: u64 = 12;
/// What builds leave behind, here or in a developer's own in-place build.
const PRODUCTS: [&str; 10] = [
    "o", "ko", "mod", "cmd", "s", "a", "symvers", "order", "d", "rmeta",
];

/// Modules that are ready to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// The `.ko` files, in the order they were asked for.
    pub paths: Vec<PathBuf>,
    /// `module.json`.
    pub info: ModuleInfo,
}

/// `module.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleInfo {
    /// 1.
    pub format_version: Version1,
    /// 16 hexadecimal digits over sources and kernel.
    pub key: String,
    /// Of the kernel it was built for.
    pub kernel_key: String,
    /// Of each `.ko`, in hexadecimal.
    pub sha256: Vec<String>,
}

/// A source file, by its path below the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    from: PathBuf,
    to: PathBuf,
    content: Vec<u8>,
}

/// Builds the modules `<name>.ko` of `names` from `module_dir`, unless that is done.
///
/// `kbuild_dir` is copied beside it as far as its names start with `rust_fentry`, so that `../kbuild/rust_fentry.mk`
/// of the module's Kbuild is found.
///
/// # Errors
/// `Failed` with the log's telling lines; what waiting for a lock gives; `Other` if files cannot be read or written.
pub fn build(
    session: &Session,
    kernel: &Kernel,
    module_dir: &Path,
    kbuild_dir: &Path,
    names: &[&str],
) -> Result<Modules, Error> {
    let sources = sources(module_dir, kbuild_dir)?;
    let key = key_of(RECIPE, &sources, kernel);
    let dir = session.cache.modules().join(&key);
    if let Some(modules) = done(&dir, kernel, names) {
        return Ok(modules);
    }
    let lock = lock(
        session,
        &session.cache.modules().join(format!("{key}.lock")),
        "building this module",
    )?;
    if let Some(modules) = done(&dir, kernel, names) {
        return Ok(modules);
    }
    let work = dir.join("work");
    remove_dir(&work)?;
    copy(&sources, &work)?;
    let log = dir.join("build.log");
    make(
        session,
        kernel,
        &work.join("module"),
        &log,
        &lock,
        &["modules"],
    )?;
    let paths = paths_in(&dir, names);
    for (path, built) in paths.iter().zip(paths_in(&work.join("module"), names)) {
        put(&built, path)?;
    }
    let info = ModuleInfo {
        format_version: Version1,
        key,
        kernel_key: kernel.info.key.clone(),
        sha256: hashes(&paths)?,
    };
    write_marker(&dir.join("module.json"), &info)?;
    Ok(Modules { paths, info })
}

/// Builds all modules of a user's out-of-tree folder, which has a Kbuild or a Makefile that kbuild can read; on every
/// call, for the folder can change. It is not written to.
///
/// `../kbuild/rust_fentry.mk`, which this project has, is found beside the copy: the folder's own, or else that of
/// `kbuild_dir`.
///
/// # Errors
/// `Failed` with the log's telling lines; what waiting for a lock gives; `Other` if files cannot be read or written, or
/// nothing was built.
pub fn build_tree(
    session: &Session,
    kernel: &Kernel,
    folder: &Path,
    kbuild_dir: &Path,
) -> Result<Modules, Error> {
    if !["Kbuild", "Makefile"]
        .iter()
        .any(|name| folder.join(name).is_file())
    {
        let folder = folder.display();
        return Err(anyhow::anyhow!("{folder} is no folder of modules: it has no Kbuild").into());
    }
    let own = folder.join("../kbuild");
    let beside = if own.join("rust_fentry.mk").is_file() {
        &own
    } else {
        kbuild_dir
    };
    let sources = sources(folder, beside)?;
    // By its place: one folder of the cache for all states of the tree.
    let key = key([
        ("recipe", TREE_RECIPE.as_bytes()),
        ("kernel", kernel.info.key.as_bytes()),
        ("place", folder.as_os_str().as_encoded_bytes()),
    ]);
    let dir = session.cache.modules().join(&key);
    let lock = lock(
        session,
        &session.cache.modules().join(format!("{key}.lock")),
        "building these modules",
    )?;
    remove_dir(&dir)?;
    let work = dir.join("work");
    copy(&sources, &work)?;
    let built = work.join("module");
    let log = dir.join("build.log");
    make(session, kernel, &built, &log, &lock, &["modules"])?;
    let order = std::fs::read_to_string(built.join(ORDER))
        .with_context(|| format!("the build of {} left no {ORDER}", folder.display()))?;
    let mut paths = Vec::new();
    for object in order.lines() {
        // Below the folder of the build in any version, and nowhere else.
        let object = Path::new(object);
        let object = object.strip_prefix(&built).unwrap_or(object);
        let from = built.join(object).with_extension("ko");
        let path = dir.join(from.file_name().unwrap_or_default());
        put(&from, &path)?;
        paths.push(path);
    }
    if paths.is_empty() {
        let folder = folder.display();
        return Err(anyhow::anyhow!("{folder} names no module in obj-m").into());
    }
    let info = ModuleInfo {
        format_version: Version1,
        key,
        kernel_key: kernel.info.key.clone(),
        sha256: hashes(&paths)?,
    };
    Ok(Modules { paths, info })
}

fn put(built: &Path, path: &Path) -> Result<(), Error> {
    Ok(std::fs::rename(built, path)
        .with_context(|| format!("cannot move {} to {}", built.display(), path.display()))?)
}

/// Has make reach `goals` for the sources in a folder.
pub(crate) fn make(
    session: &Session,
    kernel: &Kernel,
    sources: &Path,
    log: &Path,
    lock: &File,
    goals: &[&str],
) -> Result<(), Error> {
    let mut step = session.progress.step(&format!(
        "building the module for Linux {}",
        kernel.info.release
    ));
    step.set_total(EXPECTED_STEPS, Unit::Count("steps"));
    let mut steps = 0;
    let mut target = std::ffi::OsString::from("M=");
    target.push(sources);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    Call::new("the module build", "make", BUILD_DEADLINE)
        .args(["-C".as_ref(), kernel.build_dir.as_os_str(), &target])
        .args(kernel.info.compilers.make_arguments())
        .args([format!("-j{jobs}").as_str()])
        .args(goals)
        .log(log)
        .holding(lock)
        .class(Class::Build)
        .run_to_success(&session.cancelled, &mut |event| {
            count_step(&event, &mut steps, &mut step)
        })?;
    step.finish(&format!("log {}", log.display()));
    Ok(())
}

fn paths_in(dir: &Path, names: &[&str]) -> Vec<PathBuf> {
    names
        .iter()
        .map(|name| dir.join(format!("{name}.ko")))
        .collect()
}

fn hashes(paths: &[PathBuf]) -> Result<Vec<String>, Error> {
    paths.iter().map(|path| file_sha256(path)).collect()
}

fn done(dir: &Path, kernel: &Kernel, names: &[&str]) -> Option<Modules> {
    if kernel.origin != Origin::Package {
        return None;
    }
    let info: ModuleInfo = read_marker(&dir.join("module.json"))?;
    let paths = paths_in(dir, names);
    (hashes(&paths).ok()? == info.sha256).then_some(Modules { paths, info })
}

/// The key of what a recipe makes of sources for a kernel.
pub(crate) fn key_of(recipe: &str, sources: &[SourceFile], kernel: &Kernel) -> String {
    let head = [
        ("recipe", recipe.as_bytes()),
        ("kernel", kernel.info.key.as_bytes()),
    ];
    let names: Vec<String> = sources
        .iter()
        .map(|source| source.to.display().to_string())
        .collect();
    let files = names
        .iter()
        .zip(sources)
        .map(|(name, source)| (name.as_str(), source.content.as_slice()));
    key(head.into_iter().chain(files))
}

/// All files that a build may read, sorted by where they go.
pub(crate) fn sources(module_dir: &Path, kbuild_dir: &Path) -> Result<Vec<SourceFile>, Error> {
    let mut sources = Vec::new();
    collect(module_dir, Path::new("module"), &is_source, &mut sources)?;
    collect(
        kbuild_dir,
        Path::new("kbuild"),
        &|name| name.starts_with("rust_fentry"),
        &mut sources,
    )?;
    sources.sort_by(|a, b| a.to.cmp(&b.to));
    Ok(sources)
}

fn collect(
    from: &Path,
    to: &Path,
    wanted: &dyn Fn(&str) -> bool,
    sources: &mut Vec<SourceFile>,
) -> Result<(), Error> {
    let reading = || format!("cannot read {}", from.display());
    for entry in std::fs::read_dir(from).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(wanted) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if from.is_dir() {
            collect(&from, &to, wanted, sources)?;
        } else {
            let content =
                std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            sources.push(SourceFile { from, to, content });
        }
    }
    Ok(())
}

/// Hidden files are editors' and kbuild's; products have known endings.
fn is_source(name: &str) -> bool {
    let product = name
        .rsplit_once('.')
        .is_some_and(|(_, extension)| PRODUCTS.contains(&extension));
    !(name.starts_with('.') || product || name.ends_with('~') || name.ends_with(".mod.c"))
}

/// Writes the sources to where they go below `work`.
pub(crate) fn copy(sources: &[SourceFile], work: &Path) -> Result<(), Error> {
    for SourceFile { from, to, content } in sources {
        let to = work.join(to);
        if let Some(parent) = to.parent() {
            create_dir(parent)?;
        }
        std::fs::write(&to, content)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(to: &str, content: &str) -> SourceFile {
        SourceFile {
            from: to.into(),
            to: to.into(),
            content: content.into(),
        }
    }

    fn kernel(key: &str) -> Kernel {
        let info = serde_json::json!({
            "format_version": 1, "key": key, "release": "7.3.4", "source": "s", "config_sha256": "c",
            "image_sha256": "i", "hz": 250, "steps": 0, "seconds": 0,
            "compilers": { "llvm_suffix": "-19", "cc_version": "c", "rustc": "/r", "rustc_version": "r" },
        });
        Kernel {
            build_dir: "/b".into(),
            vmlinux: None,
            bz_image: None,
            origin: Origin::Package,
            info: serde_json::from_value(info).expect("a build.json"),
        }
    }

    #[test]
    fn products_are_not_sources() {
        let cases = [
            ("Kbuild", true),
            ("test_deferred_main.rs", true),
            ("trace_events.c", true),
            ("trace_events.h", true),
            ("test_deferred.ko", false),
            ("test_deferred_main.o", false),
            ("test_deferred.mod.c", false),
            (".main.o.cmd", false),
            ("Module.symvers", false),
            ("modules.order", false),
            ("main.rs~", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_source(name), expected, "{name}");
        }
    }

    #[test]
    fn the_copy_keeps_the_module_s_place_beside_kbuild() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
            std::fs::write(path, text).expect("writes");
        };
        write("m/Kbuild", "include $(src)/../kbuild/rust_fentry.mk\n");
        write("m/sub/a.rs", "a");
        write("m/a.o", "product");
        write("k/rust_fentry.mk", "rule");
        write("k/kernels.toml", "other");
        let sources = sources(&dir.path().join("m"), &dir.path().join("k")).expect("reads");
        let places: Vec<String> = sources
            .iter()
            .map(|source| source.to.display().to_string())
            .collect();
        assert_eq!(
            places,
            ["kbuild/rust_fentry.mk", "module/Kbuild", "module/sub/a.rs"]
        );
        let work = dir.path().join("work");
        copy(&sources, &work).expect("copies");
        assert_eq!(
            std::fs::read_to_string(work.join("module/sub/a.rs")).expect("reads"),
            "a"
        );
    }

    #[test]
    fn a_module_s_key_depends_on_names_contents_and_the_kernel() {
        let sources = [source("module/a.rs", "a"), source("module/b.rs", "b")];
        let base = key_of(RECIPE, &sources, &kernel("k"));
        assert_eq!(base, key_of(RECIPE, &sources, &kernel("k")));
        assert_ne!(base, key_of(RECIPE, &sources, &kernel("l")));
        assert_ne!(
            base,
            key_of(
                RECIPE,
                &[source("module/a.rs", "x"), source("module/b.rs", "b")],
                &kernel("k")
            )
        );
        assert_ne!(
            base,
            key_of(
                RECIPE,
                &[source("module/a.rs", "a"), source("module/c.rs", "b")],
                &kernel("k")
            )
        );
    }

    #[test]
    fn a_done_module_whose_file_changed_is_not_done() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let mut kernel = kernel("k");
        let path = dir.path().join("m.ko");
        std::fs::write(&path, "module").expect("writes");
        assert_eq!(done(dir.path(), &kernel, &["m"]), None);
        let sha256 = file_sha256(&path).expect("reads");
        let info = ModuleInfo {
            format_version: Version1,
            key: "m".into(),
            kernel_key: "k".into(),
            sha256: vec![sha256],
        };
        write_marker(&dir.path().join("module.json"), &info).expect("writes");
        assert!(done(dir.path(), &kernel, &["m"]).is_some());
        kernel.origin = Origin::Tree;
        assert_eq!(
            done(dir.path(), &kernel, &["m"]),
            None,
            "an own tree's kernel may have changed"
        );
        kernel.origin = Origin::Package;
        let two = done(dir.path(), &kernel, &["m", "n"]);
        assert_eq!(two, None, "the second module was never built");
        std::fs::write(&path, "modul").expect("writes");
        assert_eq!(done(dir.path(), &kernel, &["m"]), None);
    }
}
