// SPDX-License-Identifier: GPL-2.0-only

//! Programs and files of the host that go into the guest.
//!
//! In: paths. Out: contents with their places in the guest, shared libraries included; or what is wrong with a file.
//! Does not run the programs: the dynamic linker that a program names is asked what it would load.
//! Source: ld.so(8), `--list`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use deferinit_host::GuestFile;
use deferinit_kernel::build::Kbuild;
use deferinit_kernel::cache::Session;
use deferinit_kernel::requirements::Need;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, elf};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::exit::Failure;

/// Where the shell lies in the guest; the agent knows it there.
const SHELL: &str = "/bin/busybox";

/// What only this project puts into the guest.
const TAKEN: [&str; 2] = ["/init", "/dev/console"];

/// A file for the guest.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AddedFile {
    /// In the guest.
    pub(crate) path: String,
    pub(crate) is_program: bool,
    sha256: String,
    #[serde(skip)]
    pub(crate) content: Vec<u8>,
}

impl AddedFile {
    /// As an initramfs takes it.
    pub(crate) fn in_guest(&self) -> GuestFile<'_> {
        GuestFile {
            path: &self.path,
            content: &self.content,
            is_program: self.is_program,
        }
    }
}

/// Files for the guest, each path once.
#[derive(Debug, Default)]
pub(crate) struct AddedFiles(BTreeMap<String, AddedFile>);

impl AddedFiles {
    /// In the order of their paths.
    pub(crate) fn into_files(self) -> Vec<AddedFile> {
        self.0.into_values().collect()
    }

    /// Adds the shell of commands.
    ///
    /// # Errors
    /// If it is not installed, with what installs it.
    pub(crate) fn add_shell(&mut self, session: &Session, kbuild: &Kbuild) -> Result<(), Failure> {
        if let Some(error) = kbuild
            .requirements
            .survey(&session.cache)
            .error(Need::Command)
        {
            return Err(Failure::from(error)
                .advise("`deferinit setup` installs it, `deferinit doctor` says more"));
        }
        let program = kbuild
            .requirements
            .program_of("busybox")
            .ok_or_else(|| Failure::setup(anyhow!("busybox is not found any more")))?;
        self.add_program(&program, SHELL)
            .with_context(|| format!("cannot use {}", program.display()))
            .map_err(Failure::setup)
    }

    /// Adds what `HOSTFILE[:GUESTPATH]` names.
    ///
    /// # Errors
    /// If it cannot be read, or has no place in the guest.
    pub(crate) fn add(&mut self, specification: &str) -> Result<(), Failure> {
        self.try_add(specification)
            .with_context(|| format!("cannot add {specification} to the guest"))
            .map_err(Failure::usage)
    }

    fn try_add(&mut self, specification: &str) -> Result<()> {
        let (host, guest) = match specification.split_once(':') {
            Some((host, guest)) => (Path::new(host), guest.to_owned()),
            None => {
                let host = Path::new(specification);
                let name = host.file_name().context("it has no file name")?;
                let name = name.to_str().context("its name is not UTF-8")?;
                (host, format!("/bin/{name}"))
            }
        };
        self.add_program(host, &guest)
    }

    /// Adds a file, with the shared libraries it needs if it is a program.
    fn add_program(&mut self, host: &Path, guest: &str) -> Result<()> {
        let content = self.add_file(host, guest)?;
        let Some(linker) = interpreter(&content) else {
            return Ok(());
        };
        for library in loaded(&linker, host)? {
            let path = library
                .to_str()
                .with_context(|| format!("{} is not UTF-8", library.display()))?
                .to_owned();
            self.add_file(&library, &path)?;
        }
        Ok(())
    }

    fn add_file(&mut self, host: &Path, guest: &str) -> Result<Vec<u8>> {
        check_place(guest)?;
        let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        let mode = fs::metadata(host)
            .with_context(|| format!("cannot read {}", host.display()))?
            .permissions()
            .mode();
        let digest = Sha256::digest(&content);
        let file = AddedFile {
            path: guest.to_owned(),
            is_program: mode & 0o111 != 0,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            content: content.clone(),
        };
        if let Some(before) = self.0.insert(guest.to_owned(), file) {
            ensure!(
                before.content == content,
                "two different files would be {guest} in the guest"
            );
        }
        Ok(content)
    }
}

/// A place in the guest is an absolute path with nothing to resolve in it, and not where file systems are mounted.
fn check_place(guest: &str) -> Result<()> {
    let mut parts = guest.split('/');
    ensure!(
        parts.next() == Some("")
            && parts.clone().all(|part| !matches!(part, "" | "." | ".."))
            && guest.len() > 1
            && !guest.contains('\0'),
        "{guest:?} is no path in the guest: it begins with / and has no empty part, . or .. in it"
    );
    let folder = parts.next().unwrap_or_default();
    ensure!(
        !TAKEN.contains(&guest) && !["proc", "sys", "dev", "tmp"].contains(&folder),
        "{guest} is the guest's own"
    );
    Ok(())
}

/// The dynamic linker that a program names; none of a static program, or of what is no 64-bit program.
fn interpreter(content: &[u8]) -> Option<PathBuf> {
    let file = ElfFile64::<Endianness>::parse(content).ok()?;
    let headers = file.elf_program_headers().iter();
    let mut named =
        headers.filter_map(|header| header.interpreter(file.endian(), content).ok().flatten());
    let path = std::str::from_utf8(named.next()?).ok()?;
    // A shared library with an interpreter can be run, too; nobody copies it for that.
    (file.elf_header().e_type.get(file.endian()) != elf::ET_REL).then(|| path.into())
}

/// The linker itself and the libraries that it would load.
fn loaded(linker: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new(linker)
        .arg("--list")
        .arg(program)
        .output()
        .with_context(|| format!("cannot run its dynamic linker {}", linker.display()))?;
    if !output.status.success() {
        bail!(
            "{} cannot load it: {}",
            linker.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let mut files = vec![linker.to_owned()];
    files.extend(libraries(&String::from_utf8_lossy(&output.stdout))?);
    Ok(files)
}

/// The paths in `NAME => PATH (ADDRESS)`; the kernel's own library has none, and the linker's line no arrow.
fn libraries(list: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in list.lines() {
        let Some((name, rest)) = line.trim().split_once(" => ") else {
            continue;
        };
        ensure!(rest != "not found", "it needs {name}, which is not found");
        let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path);
        if path.starts_with('/') {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_linkers_list() {
        let list = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = libraries(list).expect("paths");
        assert_eq!(paths, [Path::new("/lib/x86_64-linux-gnu/libc.so.6")]);
        let error = libraries("\tlibx.so.1 => not found\n").expect_err("missing");
        assert!(error.to_string().contains("libx.so.1"), "{error}");
    }

    #[test]
    fn a_program_comes_with_its_linker_and_libraries_and_a_text_alone() {
        let mut files = AddedFiles::default();
        let this = std::env::current_exe().expect("this program");
        let specification = format!("{}:/opt/this", this.display());
        files.add(&specification).expect("a program");
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("words");
        fs::write(&text, "a text").expect("a file");
        files.add(text.to_str().expect("UTF-8")).expect("a text");
        let files = files.into_files();
        let find = |end: &str| files.iter().find(|file| file.path.ends_with(end));
        assert!(find("/opt/this").expect("the program").is_program);
        assert!(!find("/bin/words").expect("the text").is_program);
        assert!(find("libc.so.6").is_some(), "the C library");
        assert!(files.iter().any(|file| file.path.contains("/ld-linux")));
    }

    #[test]
    fn a_file_that_has_no_place_is_refused() {
        for (specification, part) in [
            ("/no/such/file", "/no/such/file"),
            ("/etc/hostname:relative", "no path in the guest"),
            ("/etc/hostname:/a/../init", "no path in the guest"),
            ("/etc/hostname:/init", "the guest's own"),
            ("/etc/hostname:/proc/x", "the guest's own"),
        ] {
            let failure = AddedFiles::default()
                .add(specification)
                .expect_err(specification);
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }
}
