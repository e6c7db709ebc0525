// SPDX-License-Identifier: GPL-2.0-only

//! The compilers a kernel is built with.
//!
//! In: the candidates and oldest versions of `requirements.toml`, or the configuration of a finished build. Out: paths
//! and versions, and the arguments and variables make takes them by.
//! The first rustc with its library's sources is taken: the first one in PATH often has none.
//! Source: `Documentation/kbuild/llvm.rst`, `Documentation/kbuild/kbuild.rst`, `scripts/min-tool-version.sh` and
//! `Documentation/rust/quick-start.rst`, Linux 7.3.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::child::{Call, Ended, NEVER};
use crate::config::Config;
use crate::error::Error;
use crate::requirements::{Find, Need, Requirements};
use crate::version::Version;

/// The longest a tool may take to say its version.
const PROBE_DEADLINE: Duration = Duration::from_secs(30);

/// What compiles C and Rust for one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compilers {
    /// What follows `clang` in the LLVM tools' names, such as `-19`; none if C is compiled by gcc.
    pub llvm_suffix: Option<String>,
    /// The C compiler's first line about itself.
    pub cc_version: String,
    /// The Rust compiler.
    pub rustc: PathBuf,
    /// Its first line about itself.
    pub rustc_version: String,
}

/// All that a kernel with Rust is built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// The compilers; modules for this kernel need the same.
    pub compilers: Compilers,
    /// The linker's first line about itself.
    pub lld_version: String,
    /// The sources of Rust's library.
    pub library: PathBuf,
    /// The generator of Rust bindings.
    pub bindgen: PathBuf,
    /// Its first line about itself.
    pub bindgen_version: String,
    /// The folder of the libclang that bindgen loads, so that it is the compiler's own.
    pub libclang: PathBuf,
}

impl Toolchain {
    /// Chooses the tools.
    ///
    /// # Errors
    /// `Missing` with the names of the requirements that are not met, and what mends it.
    pub fn find(requirements: &Requirements, cache: &Cache) -> Result<Self, Error> {
        let missing = |name: &str| {
            let all = requirements.survey(cache).error(Need::Run);
            all.unwrap_or_else(|| Error::Missing {
                names: vec![name.to_owned()],
                command: None,
            })
        };
        let llvm = Llvm::find(requirements).ok_or_else(|| missing("clang"))?;
        let rust = Rustc::with_sources(requirements).ok_or_else(|| missing("rustc"))?;
        let (bindgen, bindgen_version) =
            bindgen(requirements, cache).ok_or_else(|| missing("bindgen"))?;
        let libclang = llvm.libclang().ok_or_else(|| missing("libclang"))?;
        Ok(Self {
            compilers: Compilers {
                llvm_suffix: Some(llvm.suffix),
                cc_version: llvm.clang_version,
                rustc: rust.path,
                rustc_version: rust.version,
            },
            lld_version: llvm.lld_version,
            library: rust.library,
            bindgen,
            bindgen_version,
            libclang,
        })
    }

    /// The versions alone, for a build's key: the same tools elsewhere build the same kernel.
    pub fn identity(&self) -> String {
        let Compilers {
            cc_version,
            rustc_version,
            ..
        } = &self.compilers;
        format!(
            "{cc_version}\n{}\n{rustc_version}\n{}\n",
            self.lld_version, self.bindgen_version
        )
    }

    /// What make is told on its command line.
    pub(crate) fn make_arguments(&self) -> Vec<OsString> {
        let mut arguments = self.compilers.make_arguments();
        arguments.push(assignment("BINDGEN", &self.bindgen));
        arguments.push(assignment("RUST_LIB_SRC", &self.library));
        arguments
    }
}

impl Compilers {
    /// The compilers that a finished build was made by.
    ///
    /// # Errors
    /// `OtherCompiler` if no rustc here is the one that built it: Rust's metadata is read by the same compiler only.
    pub fn of_build(
        dir: &Path,
        config: &Config,
        requirements: &Requirements,
    ) -> Result<Self, Error> {
        let text = |option| config.text(option).unwrap_or_default().to_owned();
        let wanted = text("CONFIG_RUSTC_VERSION_TEXT");
        let candidates: Vec<(PathBuf, String)> = requirements
            .names_of("rustc")
            .iter()
            .flat_map(|name| programs(name))
            .filter_map(|path| first_line(&path, &["--version"]).map(|version| (path, version)))
            .collect();
        let Some((rustc, rustc_version)) = candidates
            .iter()
            .find(|(_, version)| *version == wanted)
            .cloned()
        else {
            let found = candidates
                .into_iter()
                .map(|(path, version)| format!("`{version}` ({})", path.display()))
                .collect();
            return Err(Error::OtherCompiler {
                dir: dir.to_owned(),
                wanted,
                found,
            });
        };
        let cc_version = text("CONFIG_CC_VERSION_TEXT");
        let llvm_suffix = match config.get("CONFIG_CC_IS_CLANG") {
            Some("y") => Some(suffix_of(&cc_version, requirements)),
            _ => None,
        };
        Ok(Self {
            llvm_suffix,
            cc_version,
            rustc,
            rustc_version,
        })
    }

    /// What make is told on its command line; identity and time are fixed, so that the same inputs give the same image.
    pub(crate) fn make_arguments(&self) -> Vec<OsString> {
        // As on an x86 host without ARCH. With ARCH=x86_64, tinyconfig sees the 64-bit options and turns them off one by
        // one (VMAP_STACK, X86_KERNEL_IBT), where they should get their defaults once CONFIG_64BIT is set.
        let mut arguments: Vec<OsString> = vec!["ARCH=x86".into()];
        if let Some(suffix) = &self.llvm_suffix {
            arguments.push(format!("LLVM={}", if suffix.is_empty() { "1" } else { suffix }).into());
        }
        arguments.push(assignment("RUSTC", &self.rustc));
        arguments.push(assignment("HOSTRUSTC", &self.rustc));
        let fixed = [
            "KBUILD_BUILD_TIMESTAMP=2000-01-01 00:00:00 UTC",
            "KBUILD_BUILD_USER=deferinit",
            "KBUILD_BUILD_HOST=deferinit",
            "KBUILD_BUILD_VERSION=1",
        ];
        arguments.extend(fixed.map(OsString::from));
        arguments
    }
}

/// The first program of that name in PATH, or at that path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    programs(name).into_iter().next()
}

/// All programs of that name in PATH, in its order; of a path, the path if it is there.
pub(crate) fn programs(name: &str) -> Vec<PathBuf> {
    let is_program = |path: &PathBuf| {
        nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file()
    };
    if name.contains('/') {
        return Some(PathBuf::from(name))
            .filter(is_program)
            .into_iter()
            .collect();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .filter(is_program)
        .collect()
}

/// The first line a program prints when it is run so; none if it fails.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let text = all_output(program, arguments)?;
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

/// All a program prints on standard output when it is run so; none if it fails.
pub(crate) fn all_output(program: &Path, arguments: &[&str]) -> Option<String> {
    let ended = answer(program, arguments)?;
    ended.status.success().then_some(ended.stdout)
}

/// The version a program prints, whatever its exit status: trace-cmd fails after doing so.
pub(crate) fn version_said(program: &Path, argument: &str) -> Option<Version> {
    Version::find(&answer(program, &[argument])?.stdout)
}

fn answer(program: &Path, arguments: &[&str]) -> Option<Ended> {
    let what = format!("asking {} about itself", program.display());
    let call = Call::new(what, program, PROBE_DEADLINE).args(arguments);
    call.captured().run(&NEVER, &mut |_| {}).ok()
}

/// A rustc whose library's sources are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rustc {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
    pub(crate) library: PathBuf,
}

impl Rustc {
    /// The first candidate that is new enough and has its library's sources.
    pub(crate) fn with_sources(requirements: &Requirements) -> Option<Self> {
        let minimum = requirements.minimum_of("rustc")?;
        requirements
            .names_of("rustc")
            .iter()
            .flat_map(|name| programs(name))
            .find_map(|path| {
                let version = first_line(&path, &["--version"])?;
                if Version::find(&version)? < *minimum {
                    return None;
                }
                let sysroot = first_line(&path, &["--print", "sysroot"])?;
                let library = library_of(
                    Path::new(&sysroot),
                    Path::new("/usr/src"),
                    &Version::find(&version)?,
                )?;
                Some(Self {
                    path,
                    version,
                    library,
                })
            })
    }
}

/// The LLVM tools of one suffix.
#[derive(Debug)]
struct Llvm {
    suffix: String,
    clang: PathBuf,
    clang_version: String,
    lld_version: String,
}

impl Llvm {
    /// The first suffix with all tools, new enough.
    fn find(requirements: &Requirements) -> Option<Self> {
        let minimum = requirements.minimum_of("clang")?;
        requirements.names_of("clang").iter().find_map(|name| {
            let suffix = name.strip_prefix("clang")?.to_owned();
            let clang = program(name)?;
            let clang_version = first_line(&clang, &["--version"])?;
            if Version::find(&clang_version)? < *minimum {
                return None;
            }
            let lld_version = first_line(&program(&format!("ld.lld{suffix}"))?, &["--version"])?;
            for tool in [
                "llvm-ar",
                "llvm-nm",
                "llvm-objcopy",
                "llvm-readelf",
                "llvm-strip",
            ] {
                program(&format!("{tool}{suffix}"))?;
            }
            Some(Self {
                suffix,
                clang,
                clang_version,
                lld_version,
            })
        })
    }

    /// The folder of the libclang that belongs to this clang.
    fn libclang(&self) -> Option<PathBuf> {
        let resources = first_line(&self.clang, &["-print-resource-dir"])?;
        // <prefix>/lib/clang/<version>: libclang lies in <prefix>/lib.
        let dir = Path::new(&resources).ancestors().nth(2)?;
        let is_libclang = |name: &str| {
            name.starts_with("libclang")
                && name.contains(".so")
                && !name.starts_with("libclang-cpp")
                && !name.starts_with("libclang_rt")
        };
        let mut entries = std::fs::read_dir(dir).ok()?.flatten();
        entries
            .any(|entry| entry.file_name().to_str().is_some_and(is_libclang))
            .then(|| dir.to_owned())
    }
}

/// The folder of the libclang that bindgen would load.
pub(crate) fn libclang(requirements: &Requirements) -> Option<PathBuf> {
    Llvm::find(requirements)?.libclang()
}

/// The first bindgen that is new enough: the machine's, or the one installed in the cache.
pub(crate) fn bindgen(requirements: &Requirements, cache: &Cache) -> Option<(PathBuf, String)> {
    let minimum = requirements.minimum_of("bindgen")?;
    let own = cache.tools().join("bin/bindgen");
    let candidates = requirements
        .names_of("bindgen")
        .iter()
        .flat_map(|name| programs(name))
        .chain([own]);
    candidates.filter(|path| path.is_file()).find_map(|path| {
        let version = first_line(&path, &["--version"])?;
        (Version::find(&version)? >= *minimum).then_some((path, version))
    })
}

/// Where the sources of a rustc's library are: in its sysroot, or where Debian and Ubuntu put them.
fn library_of(sysroot: &Path, sources: &Path, version: &Version) -> Option<PathBuf> {
    let places = [
        sysroot.join("lib/rustlib/src/rust/library"),
        sources.join(format!("rustc-{version}/library")),
    ];
    places
        .into_iter()
        .find(|place| place.join("core/src/lib.rs").is_file())?
        .canonicalize()
        .ok()
}

/// The suffix of the clang that says so about itself; kbuild only warns if there is none.
fn suffix_of(cc_version: &str, requirements: &Requirements) -> String {
    let names = requirements.names_of("clang");
    let same = names.iter().find(|name| {
        program(name)
            .and_then(|clang| first_line(&clang, &["--version"]))
            .is_some_and(|version| version == cc_version)
    });
    same.and_then(|name| name.strip_prefix("clang"))
        .unwrap_or_default()
        .to_owned()
}

fn assignment(name: &str, path: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push("=");
    text.push(path);
    text
}

impl Requirements {
    /// The candidates of a requirement that is a program.
    pub(crate) fn names_of(&self, requirement: &str) -> &[String] {
        match self.find_of(requirement) {
            Some(
                Find::Program { names, .. }
                | Find::Rustc { names, .. }
                | Find::Bindgen { names, .. },
            ) => names,
            _ => &[],
        }
    }

    /// The oldest version of a requirement that is a program.
    pub(crate) fn minimum_of(&self, requirement: &str) -> Option<&Version> {
        match self.find_of(requirement) {
            Some(
                Find::Program { minimum, .. }
                | Find::Rustc { minimum, .. }
                | Find::Bindgen { minimum, .. },
            ) => Some(minimum),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compilers(suffix: Option<&str>) -> Compilers {
        Compilers {
            llvm_suffix: suffix.map(str::to_owned),
            cc_version: "clang version 19.1.7".into(),
            rustc: "/usr/bin/rustc".into(),
            rustc_version: "rustc 1.96.0".into(),
        }
    }

    #[test]
    fn make_is_told_the_llvm_suffix_only_for_llvm() {
        let llvm = |suffix| {
            compilers(suffix)
                .make_arguments()
                .iter()
                .find(|a| a.to_string_lossy().starts_with("LLVM="))
                .cloned()
        };
        assert_eq!(llvm(Some("-19")), Some("LLVM=-19".into()));
        assert_eq!(llvm(Some("")), Some("LLVM=1".into()));
        assert_eq!(llvm(None), None);
    }

    #[test]
    fn identity_knows_versions_and_no_places() {
        let toolchain = |rustc: &str, version: &str| Toolchain {
            compilers: Compilers {
                rustc: rustc.into(),
                rustc_version: version.into(),
                ..compilers(Some("-19"))
            },
            lld_version: "LLD 19.1.7".into(),
            library: "/l".into(),
            bindgen: "/b".into(),
            bindgen_version: "bindgen 0.73.2".into(),
            libclang: "/c".into(),
        };
        assert_eq!(
            toolchain("/a/rustc", "1").identity(),
            toolchain("/b/rustc", "1").identity()
        );
        assert_ne!(
            toolchain("/a/rustc", "1").identity(),
            toolchain("/a/rustc", "2").identity()
        );
    }

    #[test]
    fn library_sources_are_found_in_the_sysroot_or_with_the_distribution() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let (sysroot, sources) = (dir.path().join("toolchain"), dir.path().join("src"));
        let version = Version::parse("1.96.0").expect("a version");
        assert_eq!(library_of(&sysroot, &sources, &version), None);
        let put = |library: &Path| {
            std::fs::create_dir_all(library.join("core/src")).expect("creates");
            std::fs::write(library.join("core/src/lib.rs"), "").expect("writes");
            library.canonicalize().expect("exists")
        };
        let distribution = put(&sources.join("rustc-1.96.0/library"));
        assert_eq!(library_of(&sysroot, &sources, &version), Some(distribution));
        let own = put(&sysroot.join("lib/rustlib/src/rust/library"));
        assert_eq!(library_of(&sysroot, &sources, &version), Some(own));
    }

    #[test]
    fn a_program_is_found_by_name_and_by_path() {
        let shell = program("sh").expect("a shell");
        assert_eq!(programs(&shell.display().to_string()), [shell]);
        assert_eq!(program("no-such-program-here"), None);
        assert_eq!(program("/no/such/program"), None);
    }
}
