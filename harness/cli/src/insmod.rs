// SPDX-License-Identifier: GPL-2.0-only

//! Modules of the user's that are loaded before the measured window (`--insmod`).
//!
//! In: paths. Out: what goes into the initramfs, in the order of their loads; or what is wrong with a file, before a
//! kernel is built or booted for it.
//! Does not load anything: whether the kernel takes a module is seen in the guest.
//! Source: `include/linux/{module,vermagic}.h`, `scripts/mod/modpost.c` (`.modinfo`), Linux 7.3.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use object::{Object, ObjectKind, ObjectSection};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::exit::Failure;

/// Where they are in the guest.
const FOLDER: &str = "/modules";

/// A module that is loaded before the measured window.
#[derive(Debug, Serialize)]
pub(crate) struct ExtraModule {
    /// In the guest.
    pub(crate) path: String,
    sha256: String,
    #[serde(skip)]
    pub(crate) content: Vec<u8>,
    #[serde(skip)]
    info: ModuleInfo,
}

/// What a module says about itself.
#[derive(Debug, PartialEq, Eq)]
struct ModuleInfo {
    name: String,
    /// Of the kernel it was built for.
    release: String,
    /// The modules that must be loaded before it.
    depends: Vec<String>,
}

/// Reads the files. `taken` are the names of modules that the guest has anyway.
pub(crate) fn read(paths: &[PathBuf], taken: &[&str]) -> Result<Vec<ExtraModule>, Failure> {
    let mut modules: Vec<ExtraModule> = Vec::new();
    for path in paths {
        let module = read_one(path, &modules, taken)
            .with_context(|| format!("cannot use --insmod {}", path.display()))
            .map_err(Failure::usage)?;
        modules.push(module);
    }
    Ok(modules)
}

/// Modules that one build has made, in an order in which each can be loaded, behind those that were read `before`.
pub(crate) fn read_built(
    paths: &[PathBuf],
    mut before: Vec<ExtraModule>,
    taken: &[&str],
) -> Result<Vec<ExtraModule>, Failure> {
    let mut waiting = Vec::new();
    for path in paths {
        let depends = std::fs::read(path)
            .map_err(anyhow::Error::new)
            .and_then(|content| Ok(ModuleInfo::of(&content)?.depends))
            .with_context(|| format!("cannot load {}", path.display()))
            .map_err(Failure::setup)?;
        waiting.push((path, depends));
    }
    while !waiting.is_empty() {
        let is_ready = |(_, depends): &(&PathBuf, Vec<String>)| {
            let is_there = |name: &String| before.iter().any(|module| module.info.name == *name);
            depends.iter().all(is_there)
        };
        // If none is, the first one says what it lacks.
        let place = waiting.iter().position(is_ready).unwrap_or(0);
        let (path, _) = waiting.remove(place);
        let module = read_one(path, &before, taken)
            .with_context(|| format!("cannot load {}", path.display()))
            .map_err(Failure::usage)?;
        before.push(module);
    }
    Ok(before)
}

/// Fails if one of them was built for another kernel than the guest runs.
pub(crate) fn check_release(modules: &[ExtraModule], release: &str) -> Result<(), Failure> {
    match modules.iter().find(|module| module.info.release != release) {
        Some(ExtraModule { info, .. }) => Err(Failure::usage(anyhow!(
            "the module {} was built for Linux {}, but the guest runs {release}: build it against the folder that `deferinit kernel path` names",
            info.name,
            info.release
        ))),
        None => Ok(()),
    }
}

fn read_one(path: &Path, before: &[ExtraModule], taken: &[&str]) -> Result<ExtraModule> {
    let content = std::fs::read(path).context("it cannot be read")?;
    let info = ModuleInfo::of(&content)?;
    let ModuleInfo { name, depends, .. } = &info;
    ensure!(
        !taken.contains(&name.as_str()),
        "its name, {name}, is that of a module of deferinit's"
    );
    let is_before = |name: &str| before.iter().any(|module| module.info.name == name);
    ensure!(!is_before(name), "a module named {name} was given already");
    if let Some(missing) = depends.iter().find(|name| !is_before(name)) {
        bail!("it depends on the module {missing}, which must be given before it");
    }
    let digest = Sha256::digest(&content);
    Ok(ExtraModule {
        path: format!("{FOLDER}/{name}.ko"),
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        content,
        info,
    })
}

impl ExtraModule {
    /// What it calls itself.
    pub(crate) fn name(&self) -> &str {
        &self.info.name
    }
}

impl ModuleInfo {
    /// Reads the section `.modinfo`: `key=value` pairs that end with a NUL byte each.
    fn of(content: &[u8]) -> Result<Self> {
        const WHAT: &str =
            "it is no kernel module as the guest loads it (a .ko file, not compressed)";
        let file = object::File::parse(content).context(WHAT)?;
        ensure!(file.kind() == ObjectKind::Relocatable, WHAT);
        let section = file.section_by_name(".modinfo").context(WHAT)?;
        let data = section.data().context(WHAT)?;
        let text = String::from_utf8_lossy(data);
        let value = |key: &str| {
            text.split('\0')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let vermagic = value("vermagic").context(WHAT)?;
        let depends = value("depends").unwrap_or_default().split(',');
        let name = value("name").context(WHAT)?;
        ensure!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "it calls itself {name:?}, which is no module's name"
        );
        Ok(Self {
            name: name.to_owned(),
            release: vermagic.split(' ').next().unwrap_or_default().to_owned(),
            depends: depends
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF object with nothing but a `.modinfo`, as small as the format allows: header, the section's content, the
    /// names of sections, and three section headers.
    fn module(modinfo: &str) -> Vec<u8> {
        const HEADER: usize = 64;
        const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
        let names_at = HEADER + modinfo.len();
        let sections_at = (names_at + NAMES.len()).next_multiple_of(8);
        let number = |value: usize| u64::try_from(value).expect("small").to_le_bytes();
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        // Relocatable, x86-64, version 1; no entry point and no program headers.
        bytes.extend([1, 0, 62, 0, 1, 0, 0, 0]);
        bytes.extend([0; 16]);
        bytes.extend(number(sections_at));
        bytes.extend([0; 4]);
        // Sizes of headers: 64, 0 x 0, 64 x 3; names are in section 2.
        bytes.extend([64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        bytes.extend(modinfo.as_bytes());
        bytes.extend(NAMES);
        bytes.resize(sections_at + 64, 0);
        for (name, kind, at, length) in [
            (1u32, 1u32, HEADER, modinfo.len()),
            (10, 3, names_at, NAMES.len()),
        ] {
            bytes.extend(name.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 16]);
            bytes.extend(number(at));
            bytes.extend(number(length));
            bytes.extend([0; 8]);
            bytes.extend(number(1));
            bytes.extend([0; 8]);
        }
        bytes
    }

    fn modinfo(name: &str, depends: &str) -> Vec<u8> {
        module(&format!(
            "license=GPL\0depends={depends}\0name={name}\0vermagic=7.3.4 SMP preempt mod_unload \0"
        ))
    }

    fn files(contents: &[Vec<u8>]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = contents.iter().enumerate().map(|(index, content)| {
            let path = dir.path().join(format!("{index}.ko"));
            std::fs::write(&path, content).expect("a file");
            path
        });
        let paths = paths.collect();
        (dir, paths)
    }

    fn refused(contents: &[Vec<u8>], part: &str) {
        let (_dir, paths) = files(contents);
        let failure = read(&paths, &["test_deferred"]).expect_err(part);
        let text = failure.to_string();
        let last = paths.last().expect("a file").display().to_string();
        assert!(text.contains(part) && text.contains(&last), "{text}");
    }

    #[test]
    fn modules_keep_their_order_and_get_a_place_in_the_guest() {
        let (_dir, paths) = files(&[modinfo("b", ""), modinfo("a", "b")]);
        let modules = read(&paths, &[]).expect("two modules");
        let places: Vec<&str> = modules.iter().map(|module| module.path.as_str()).collect();
        assert_eq!(places, ["/modules/b.ko", "/modules/a.ko"]);
        check_release(&modules, "7.3.4").expect("their kernel");
        let failure = check_release(&modules, "7.3.4-debug").expect_err("another kernel");
        for part in ["module b", "Linux 7.3.4,", "7.3.4-debug"] {
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }

    #[test]
    fn modules_of_one_build_are_loaded_in_the_order_they_need() {
        let contents = [modinfo("c", "b,a"), modinfo("b", "a"), modinfo("a", "")];
        let (_dir, paths) = files(&contents);
        let modules = read_built(&paths, Vec::new(), &[]).expect("three modules");
        let names: Vec<&str> = modules.iter().map(ExtraModule::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let (_dir, paths) = files(&[modinfo("b", "a"), modinfo("a", "b")]);
        let failure = read_built(&paths, Vec::new(), &[]).expect_err("a cycle");
        assert!(
            failure.to_string().contains("depends on the module a"),
            "{failure}"
        );
    }

    #[test]
    fn what_cannot_be_loaded_is_named() {
        refused(&[b"text".to_vec()], "no kernel module");
        refused(&[b"\xfd7zXZ\0".to_vec()], "not compressed");
        refused(&[module("license=GPL\0")], "no kernel module");
        refused(&[modinfo("../init", "")], "no module's name");
        refused(
            &[modinfo("test_deferred", "")],
            "that of a module of deferinit's",
        );
        refused(
            &[modinfo("a", ""), modinfo("a", "")],
            "named a was given already",
        );
        refused(
            &[modinfo("a", "b")],
            "depends on the module b, which must be given before it",
        );
        let failure = read(&["/no/such.ko".into()], &[]).expect_err("no file");
        assert!(failure.to_string().contains("/no/such.ko"), "{failure}");
    }
}
