// SPDX-License-Identifier: GPL-2.0-only

//! A kernel with the workload in its image, so that its initcalls run while the kernel boots.
//!
//! In: a kernel that this crate has built, its source, the module's folder. Out: a `Kernel` beside it. The source tree
//! and the other build are only read.
//! The module's Kbuild is run with `TEST_DEFERRED_BUILTIN=y`, for which it names its objects in `obj-y`: they are
//! compiled as code of the image, without `-DMODULE`. Then a copy of the kernel's build is linked once more, with these
//! objects in `KBUILD_VMLINUX_LIBS`, which is empty on x86. Objects that stand there, unlike archives, are linked
//! whether or not something refers to them, so initcalls are; and objtool sees them as a part of `vmlinux.o`, where it
//! makes their `__fentry__` calls traceable. It takes seconds, because nothing of the kernel is compiled again.
//! Source: `Makefile`, `scripts/Makefile.vmlinux_o`, `scripts/link-vmlinux.sh`, `scripts/Kbuild.include` (`if_changed`),
//! Linux 7.3.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::build::{Inputs, Kernel, Work, done, kernel_in};
use crate::cache::{create_dir, lock, remove_dir, require_space, write_marker};
use crate::child::Call;
use crate::error::Error;
use crate::module;

/// Part of every key: counted up when the steps below change.
const RECIPE: &str = "builtin 1";
/// What the module's Kbuild is asked by.
const BUILTIN: &str = "TEST_DEFERRED_BUILTIN=y";
/// All that is compiled for the image, in kbuild's words; a thin archive.
const ARCHIVE: &str = "built-in.a";
/// The folder of the module's copy, in the build's.
const WORKLOAD: &str = "workload";
/// The longest copying a build may take: 430 MB.
const COPY_DEADLINE: Duration = Duration::from_secs(600);
/// The longest listing an archive may take.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// Steps that the link takes, for its progress.
const LINK_STEPS: u64 = 18;
/// What of a build is not copied: what says about it alone, and what the link makes anew.
const NOT_COPIED: [&str; 8] = [
    "build.json",
    "build.json.new",
    "build.log",
    "build.log.old",
    ".deferinit-config",
    "vmlinux",
    "vmlinux.o",
    "vmlinux.unstripped",
];
/// How the names of the link's intermediate files begin; they are not copied either.
const INTERMEDIATE: &str = ".tmp_vmlinux";

/// `base`, which was built from these inputs, with the workload of `module_dir` in its image; built, unless that is
/// done.
///
/// # Errors
/// `NothingBuiltIn`, `NoSpace`, `Failed` with the log's telling lines, and what waiting for a lock gives.
pub(crate) fn build(inputs: Inputs<'_>, base: &Kernel, module_dir: &Path) -> Result<Kernel, Error> {
    let Inputs {
        session,
        kbuild,
        source,
        ..
    } = inputs;
    let sources = module::sources(module_dir, &kbuild.dir)?;
    let key = module::key_of(RECIPE, &sources, base);
    let dir = session.cache.builds().join(&key);
    if let Some(kernel) = done(&dir, source) {
        return Ok(kernel);
    }
    let lock_file = session.cache.builds().join(format!("{key}.lock"));
    let held = lock(session, &lock_file, "building this kernel")?;
    if let Some(kernel) = done(&dir, source) {
        return Ok(kernel);
    }
    require_space(&dir, kbuild.kernels.build_mib, "a kernel build")?;
    remove_dir(&dir)?;
    module::copy(&sources, &dir.join(WORKLOAD))?;
    let work = Work {
        inputs,
        dir: &dir,
        log: &dir.join("build.log"),
        lock: &held,
    };
    let objects = compile(&work, base, module_dir)?;
    copy_build(&work, base)?;
    let mut libs = OsString::from("KBUILD_VMLINUX_LIBS=");
    libs.push(objects.join(OsStr::new(" ")));
    let title = format!("linking the workload into Linux {}", base.info.release);
    let (steps, seconds) = work.make(&title, LINK_STEPS, &[libs])?;
    let mut info = work.info(key, &work.config()?, steps, seconds)?;
    info.builtin = true;
    write_marker(&dir.join("build.json"), &info)?;
    Ok(kernel_in(&dir, source, info))
}

/// The same, if it is built, without building anything.
///
/// # Errors
/// If the module's folder cannot be read.
pub(crate) fn built(
    inputs: Inputs<'_>,
    base: &Kernel,
    module_dir: &Path,
) -> Result<Option<Kernel>, Error> {
    let sources = module::sources(module_dir, &inputs.kbuild.dir)?;
    let key = module::key_of(RECIPE, &sources, base);
    let dir = inputs.session.cache.builds().join(key);
    Ok(done(&dir, inputs.source))
}

/// Compiles the workload against the other build, which it does not write to, and returns its objects in the order of
/// their link.
fn compile(work: &Work<'_>, base: &Kernel, module_dir: &Path) -> Result<Vec<OsString>, Error> {
    let session = work.inputs.session;
    let sources = work.dir.join(WORKLOAD).join("module");
    let goals = [BUILTIN, ARCHIVE];
    module::make(session, base, &sources, work.log, work.lock, &goals)?;
    let suffix = base.info.compilers.llvm_suffix.as_deref();
    let ar = suffix.map_or_else(|| "ar".to_owned(), |suffix| format!("llvm-ar{suffix}"));
    let archive = sources.join(ARCHIVE);
    let listed = Call::new("listing the workload's objects", ar, LIST_DEADLINE)
        .args([OsStr::new("t"), archive.as_os_str()])
        .captured()
        .run_to_success(&session.cancelled, &mut |_| {})?;
    let objects: Vec<OsString> = listed.stdout.lines().map(OsString::from).collect();
    if objects.is_empty() {
        return Err(Error::NothingBuiltIn {
            kbuild: module_dir.join("Kbuild"),
        });
    }
    Ok(objects)
}

/// Copies the other build, so that make finds all but the link done. Another run cannot change it meanwhile.
pub(crate) fn copy_build(work: &Work<'_>, base: &Kernel) -> Result<(), Error> {
    let session = work.inputs.session;
    let lock_file = format!("{}.lock", base.info.key);
    let lock_file = session.cache.builds().join(lock_file);
    let held = lock(session, &lock_file, "building the kernel it is made from")?;
    let step = session.progress.step("copying the kernel's build");
    create_dir(work.dir)?;
    Call::new("copying a kernel build", "cp", COPY_DEADLINE)
        .args(["-a", "--reflink=auto", "-t"])
        .args([work.dir])
        .args(copied(&base.build_dir)?)
        .log(work.log)
        .holding(&held)
        .run_to_success(&session.cancelled, &mut |_| {})?;
    let place = |dir: &Path| -> Result<String, Error> {
        let place = dir.canonicalize();
        let place = place.with_context(|| format!("cannot find {}", dir.display()))?;
        let text = place.to_str();
        Ok(text
            .with_context(|| format!("{} is not UTF-8", dir.display()))?
            .to_owned())
    };
    move_commands(work.dir, &place(&base.build_dir)?, &place(work.dir)?)?;
    step.finish(&work.dir.display().to_string());
    Ok(())
}

/// What of a build is copied.
fn copied(build_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = entries(build_dir)?;
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !NOT_COPIED.contains(&name.as_ref()) && !name.starts_with(INTERMEDIATE)
    });
    Ok(paths)
}

/// Puts the new place into what kbuild remembers of its commands, and into the Makefile that modules are built by: a
/// command that differs is run again, and those of Rust name the folder. Times do not matter here: make reads these
/// files, it does not make them.
fn move_commands(dir: &Path, from: &str, to: &str) -> Result<(), Error> {
    for path in entries(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            move_commands(&path, from, to)?;
        } else if name.ends_with(".cmd") || name == "Makefile" {
            // A command that is not UTF-8 would be run once more, which is slow and not wrong.
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            if text.contains(from) {
                std::fs::write(&path, text.replace(from, to))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// The paths of what is in a folder, sorted.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(dir)?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        Ok(paths)
    };
    Ok(read().with_context(|| format!("cannot read {}", dir.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
        std::fs::write(path, text).expect("writes");
    }

    #[test]
    fn a_copy_lacks_what_would_make_it_look_done() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        for name in [
            ".config",
            ".vmlinux.o.cmd",
            "System.map",
            "build.json",
            "build.log",
            "vmlinux",
            "vmlinux.a",
            "vmlinux.o",
            ".tmp_vmlinux1",
            "init/main.o",
        ] {
            write(dir.path().join(name), "");
        }
        let names: Vec<String> = copied(dir.path())
            .expect("reads")
            .iter()
            .map(|path| path.file_name().expect("a name").display().to_string())
            .collect();
        let expected = [
            ".config",
            ".vmlinux.o.cmd",
            "System.map",
            "init",
            "vmlinux.a",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn commands_name_the_new_place_and_sources_stay_as_they_are() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let text = "savedcmd := OBJTREE=/old/place rustc -o /old/place/x.o\n";
        for name in ["rust/.kernel.o.cmd", "Makefile", "notes.txt"] {
            write(dir.path().join(name), text);
        }
        write(dir.path().join("init/.main.o.cmd"), "savedcmd := cc\n");
        move_commands(dir.path(), "/old/place", "/new").expect("rewrites");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("reads");
        let moved = "savedcmd := OBJTREE=/new rustc -o /new/x.o\n";
        assert_eq!(read("rust/.kernel.o.cmd"), moved);
        assert_eq!(read("Makefile"), moved);
        assert_eq!(read("notes.txt"), text);
        assert_eq!(read("init/.main.o.cmd"), "savedcmd := cc\n");
    }
}
