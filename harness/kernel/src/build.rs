// SPDX-License-Identifier: GPL-2.0-only

//! Kernel builds: made once per set of inputs, kept, and taken for done only when they are.
//!
//! In: a source, the fragments, a toolchain; or a finished build's folder. Out: a `Kernel` that can be booted and that
//! modules can be built for. The source tree is never written to (`make O=`). What a variant wants otherwise is part of
//! the fragments, and so of the key.
//! A build's folder is named by a hash of its inputs and locked while make runs, by make itself too, so that not even a
//! killed run leaves two of them at work. `build.json` is written last and is what "done" means. A build of an own tree
//! is brought up to date by make on every run.
//! Source: `Documentation/kbuild/{kbuild,kconfig,reproducible-builds}.rst`, Linux 7.3.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::builtin;
use crate::cache::{
    Session, create_dir, file_sha256, key, lock, read_marker, require_space, sha256, write_marker,
};
use crate::child::{Call, Event, is_build_step};
use crate::config::{Config, Fragments};
use crate::error::{Class, Error};
use crate::kernels::Kernels;
use crate::progress::{Step, Unit};
use crate::requirements::Requirements;
use crate::source::{self, PackageSource, Source, TreeSource, Version1};
use crate::toolchain::{Compilers, Toolchain};
use crate::version::Version;

/// Part of every key: counted up when the steps below change so that old builds are not what they would make.
const RECIPE: u32 = 2;
/// The longest a configuration step may take.
const CONFIG_DEADLINE: Duration = Duration::from_secs(600);
/// The longest a build may take: 20 times what it takes on two cores.
const BUILD_DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// A kernel that is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The folder that modules are built against.
    pub build_dir: PathBuf,
    /// The uncompressed kernel, for boots by PVH; a finished build may lack it.
    pub vmlinux: Option<PathBuf>,
    /// The compressed kernel, which only a finished build may have.
    pub bz_image: Option<PathBuf>,
    /// Where it comes from.
    pub origin: Origin,
    /// What it was built from.
    pub info: BuildInfo,
}

/// Where a kernel comes from, and so whether it can change under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Built from a package: the key says all about it.
    Package,
    /// Built from a developer's own tree, which changes.
    Tree,
    /// Built by somebody else, who may build it again.
    Finished,
}

/// `build.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildInfo {
    /// 1.
    pub format_version: Version1,
    /// 16 hexadecimal digits over all inputs.
    pub key: String,
    /// As `uname -r` prints it in the guest.
    pub release: String,
    /// What was built: a package with its hash, a tree with its path.
    pub source: String,
    /// Of the `.config`, in hexadecimal.
    pub config_sha256: String,
    /// Of the image, in hexadecimal.
    pub image_sha256: String,
    /// Ticks per second, `CONFIG_HZ`.
    pub hz: u32,
    /// Whether it checks each memory access (`CONFIG_KASAN`), as the debug kernel does: its guest needs more RAM.
    #[serde(default)]
    pub debug: bool,
    /// Whether the workload is in its image, and no module.
    #[serde(default)]
    pub builtin: bool,
    /// What compiled it.
    pub compilers: Compilers,
    /// How many steps make announced; 0 if nobody counted them.
    pub steps: u64,
    /// How long the build took, in seconds; 0 if nobody measured it.
    pub seconds: u64,
}

/// Which kernel a user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest supported one in the cache, or of the archives.
    Default(Variant),
    /// `--kernel-tree DIR`.
    Tree(PathBuf, Variant),
    /// `--kernel-build DIR`.
    Build(PathBuf),
}

/// How a source is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    /// `--debug-kernel`: with the fragments of `config/debug/` put over the others.
    pub debug: bool,
    /// `--builtin`: with the workload in the image, whose sources are in this folder.
    pub builtin: Option<PathBuf>,
    /// With this configuration instead of the fragments.
    pub config: Option<OwnConfig>,
}

/// A configuration of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnConfig {
    /// A `.config`, for kconfig to complete.
    pub text: String,
    /// What must be as it is there when kconfig has completed it; the rest may follow from that.
    pub wanted: Fragments,
}

/// The folder `kbuild/`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kbuild {
    /// The folder.
    pub dir: PathBuf,
    /// `kernels.toml`.
    pub kernels: Kernels,
    /// `requirements.toml`.
    pub requirements: Requirements,
    /// `config/*.config`.
    pub fragments: Fragments,
    /// The same with `config/debug/*.config` put over them.
    pub debug_fragments: Fragments,
    /// `required.config`.
    pub required: Fragments,
}

impl Kbuild {
    /// Reads the folder.
    ///
    /// # Errors
    /// With file and line, if a file is not of its shape.
    pub fn of_dir(dir: &Path) -> Result<Self, Error> {
        let fragments = Fragments::of_dir(&dir.join("config"))?;
        let debug = Fragments::of_dir(&dir.join("config/debug"))?;
        Ok(Self {
            dir: dir.to_owned(),
            kernels: Kernels::of_dir(dir)?,
            requirements: Requirements::of_dir(dir)?,
            debug_fragments: fragments.overlaid_by(&debug),
            fragments,
            required: Fragments::of_files(&[dir.join("required.config")])?,
        })
    }

    /// What a variant is configured with.
    pub fn fragments_of(&self, variant: &Variant) -> &Fragments {
        if variant.debug {
            &self.debug_fragments
        } else {
            &self.fragments
        }
    }
}

impl Kernel {
    /// What QEMU boots: the uncompressed kernel, for it spares a second of decompression.
    ///
    /// # Errors
    /// None for a kernel that this crate gave out; the type cannot say so.
    pub fn image(&self) -> Result<&Path, Error> {
        let image = self.vmlinux.as_deref().or(self.bz_image.as_deref());
        Ok(image.with_context(|| format!("{} holds no kernel image", self.build_dir.display()))?)
    }
}

/// The kernel a user wants, fetched and built if need be.
///
/// # Errors
/// Any of `Error`; its class says who has to act.
pub fn provide(session: &Session, kbuild: &Kbuild, choice: &Choice) -> Result<Kernel, Error> {
    match choice {
        Choice::Default(variant) => {
            let source = source::provide(session, &kbuild.kernels)?;
            build(session, kbuild, &source, variant)
        }
        Choice::Tree(dir, variant) => {
            let source = Source::Tree(source::of_tree(dir, &kbuild.kernels)?);
            build(session, kbuild, &source, variant)
        }
        Choice::Build(dir) => finished(kbuild, dir),
    }
}

/// Builds a source, unless that is done.
///
/// # Errors
/// `Missing`, `NoSpace`, `OptionsDropped`, `Failed` with the log's telling lines, `NothingBuiltIn`, and what waiting
/// for a lock gives.
pub fn build(
    session: &Session,
    kbuild: &Kbuild,
    source: &Source,
    variant: &Variant,
) -> Result<Kernel, Error> {
    let inputs = Inputs {
        session,
        kbuild,
        source,
        toolchain: &Toolchain::find(&kbuild.requirements, &session.cache)?,
    };
    let kernel = build_modular(inputs, Wish::of(kbuild, variant))?;
    match &variant.builtin {
        Some(module_dir) => builtin::build(inputs, &kernel, module_dir),
        None => Ok(kernel),
    }
}

/// How a kernel is to be configured.
#[derive(Clone, Copy)]
enum Wish<'a> {
    /// As tinyconfig with these: a build of a package is done when it is done.
    Fragments(&'a Fragments),
    /// As a `.config` says. All of them share a folder, so that make compiles only what differs from the last one.
    Own(&'a OwnConfig),
}

impl<'a> Wish<'a> {
    fn of(kbuild: &'a Kbuild, variant: &'a Variant) -> Self {
        match &variant.config {
            Some(config) => Self::Own(config),
            None => Self::Fragments(kbuild.fragments_of(variant)),
        }
    }

    /// Part of the key of the folder.
    fn identity(self) -> String {
        match self {
            Self::Fragments(fragments) => fragments.canonical(),
            Self::Own(_) => "own".to_owned(),
        }
    }

    fn done(self, dir: &Path, source: &Source) -> Option<Kernel> {
        match self {
            Self::Fragments(_) => done(dir, source),
            Self::Own(_) => None,
        }
    }

    fn origin(self, source: &Source) -> Origin {
        match self {
            Self::Fragments(_) => origin_of(source),
            Self::Own(_) => Origin::Tree,
        }
    }
}

/// Builds a kernel for which the workload is a module, unless that is done.
fn build_modular(inputs: Inputs<'_>, wish: Wish<'_>) -> Result<Kernel, Error> {
    let Inputs {
        session,
        kbuild,
        source,
        toolchain,
    } = inputs;
    let key = key_of(source, &wish.identity(), toolchain);
    let dir = session.cache.builds().join(&key);
    if let Some(kernel) = wish.done(&dir, source) {
        return Ok(kernel);
    }
    let lock = lock(
        session,
        &session.cache.builds().join(format!("{key}.lock")),
        "building this kernel",
    )?;
    if let Some(kernel) = wish.done(&dir, source) {
        return Ok(kernel);
    }
    require_space(&dir, kbuild.kernels.build_mib, "a kernel build")?;
    create_dir(&dir)?;
    let log = dir.join("build.log");
    let old = dir.join("build.log.old");
    // The last log may be what a failed run was asked about.
    let _ = std::fs::rename(&log, old);
    let work = Work {
        inputs,
        dir: &dir,
        log: &log,
        lock: &lock,
    };
    let config = match wish {
        Wish::Fragments(fragments) => work.configure(fragments)?,
        Wish::Own(own) => {
            work.begin_with_default()?;
            work.configure_own(own)?
        }
    };
    let title = format!("building Linux {}", source.kernel());
    let (steps, seconds) = work.make(&title, expected_steps(session, kbuild), &[])?;
    let info = work.info(key, &config, steps, seconds)?;
    write_marker(&dir.join("build.json"), &info)?;
    Ok(Kernel {
        origin: wish.origin(source),
        ..kernel_in(&dir, source, info)
    })
}

/// A `.config` as kconfig completes it for the source of a choice, without building anything.
///
/// # Errors
/// `OptionsMissing` if it lacks what a run needs; `NotABuild` for a finished build, which has no source; and as `build`.
pub fn completed(
    session: &Session,
    kbuild: &Kbuild,
    choice: &Choice,
    text: &str,
) -> Result<String, Error> {
    let source = match choice {
        Choice::Default(_) => source::provide(session, &kbuild.kernels)?,
        Choice::Tree(dir, _) => Source::Tree(source::of_tree(dir, &kbuild.kernels)?),
        Choice::Build(dir) => {
            return Err(Error::NotABuild {
                dir: dir.clone(),
                why: "it is to be configured anew, which takes a source tree".to_owned(),
            });
        }
    };
    let toolchain = Toolchain::find(&kbuild.requirements, &session.cache)?;
    let own = OwnConfig {
        text: text.to_owned(),
        wanted: Fragments::default(),
    };
    let key = key_of(&source, &Wish::Own(&own).identity(), &toolchain);
    let dir = session.cache.builds().join(&key);
    let lock_file = session.cache.builds().join(format!("{key}.lock"));
    let lock = lock(session, &lock_file, "building this kernel")?;
    let inputs = Inputs {
        session,
        kbuild,
        source: &source,
        toolchain: &toolchain,
    };
    let work = Work {
        inputs,
        dir: &dir,
        log: &dir.join("config.log"),
        lock: &lock,
    };
    create_dir(&dir)?;
    work.complete(text)
}

/// A finished build, checked for what a run needs.
///
/// # Errors
/// `NotABuild`, `TooOld`, `OptionsMissing`.
pub fn finished(kbuild: &Kbuild, dir: &Path) -> Result<Kernel, Error> {
    let not_a_build = |why: String| Error::NotABuild {
        dir: dir.to_owned(),
        why,
    };
    let dir = dir
        .canonicalize()
        .map_err(|error| not_a_build(error.to_string()))?;
    let here = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
    let (vmlinux, bz_image) = (here("vmlinux"), here("arch/x86/boot/bzImage"));
    let image = vmlinux
        .as_ref()
        .or(bz_image.as_ref())
        .ok_or_else(|| not_a_build("it has no vmlinux or bzImage".to_owned()))?;
    for part in [
        "Makefile",
        "Module.symvers",
        "System.map",
        "include/config/kernel.release",
        "include/generated/autoconf.h",
    ] {
        here(part).ok_or_else(|| not_a_build(format!("it has no {part}")))?;
    }
    let text = std::fs::read_to_string(dir.join(".config"))
        .map_err(|error| not_a_build(format!("its .config: {error}")))?;
    let config = Config::parse(&text);
    let release = release_of(&dir)?;
    let version = Version::parse(&release)
        .ok_or_else(|| not_a_build(format!("its release is `{release}`")))?;
    if version < kbuild.kernels.oldest {
        return Err(Error::TooOld {
            dir,
            found: version,
            oldest: kbuild.kernels.oldest.clone(),
        });
    }
    let options = kbuild.required.dropped_by(&config);
    if !options.is_empty() {
        return Err(Error::OptionsMissing { dir, options });
    }
    let compilers = Compilers::of_build(&dir, &config, &kbuild.requirements)?;
    let image_sha256 = file_sha256(image)?;
    let place = format!("build {}", dir.display());
    let info = BuildInfo {
        format_version: Version1,
        key: key([
            ("source", place.as_bytes()),
            ("config", text.as_bytes()),
            ("image", image_sha256.as_bytes()),
        ]),
        release,
        source: place,
        config_sha256: sha256(text.as_bytes()),
        image_sha256,
        hz: hz_of(&config)?,
        debug: checks_memory(&config),
        builtin: false,
        compilers,
        steps: 0,
        seconds: 0,
    };
    Ok(Kernel {
        build_dir: dir,
        vmlinux,
        bz_image,
        origin: Origin::Finished,
        info,
    })
}

/// A build of the cache that is done, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedBuild {
    /// Its folder.
    pub dir: PathBuf,
    /// None of one that was interrupted or failed.
    pub info: Option<BuildInfo>,
}

/// What the cache holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Sources, the newest kernel first.
    pub sources: Vec<PackageSource>,
    /// Builds, sorted by their keys.
    pub builds: Vec<CachedBuild>,
}

/// Lists the cache.
pub fn list(session: &Session) -> Listing {
    let entries = std::fs::read_dir(session.cache.builds())
        .into_iter()
        .flatten()
        .flatten();
    let mut dirs: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    let builds = dirs
        .into_iter()
        .map(|dir| CachedBuild {
            info: read_marker(&dir.join("build.json")),
            dir,
        })
        .collect();
    Listing {
        sources: source::cached(session),
        builds,
    }
}

/// The kernel of `Choice::Default` if it is built, without building anything.
///
/// # Errors
/// `Missing` if the toolchain is not there, without which there is no key; `Other` if the workload cannot be read.
pub fn built(
    session: &Session,
    kbuild: &Kbuild,
    variant: &Variant,
) -> Result<Option<Kernel>, Error> {
    let toolchain = Toolchain::find(&kbuild.requirements, &session.cache)?;
    let newest = source::cached(session)
        .into_iter()
        .find(|source| source.kernel >= kbuild.kernels.oldest);
    let Some(package) = newest else {
        return Ok(None);
    };
    let inputs = Inputs {
        session,
        kbuild,
        source: &Source::Package(package),
        toolchain: &toolchain,
    };
    let wish = Wish::Fragments(kbuild.fragments_of(variant));
    let key = key_of(inputs.source, &wish.identity(), &toolchain);
    let kernel = done(&session.cache.builds().join(key), inputs.source);
    match (kernel, &variant.builtin) {
        (Some(base), Some(module_dir)) => builtin::built(inputs, &base, module_dir),
        (kernel, _) => Ok(kernel),
    }
}

/// What a kernel is built from.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) session: &'a Session,
    pub(crate) kbuild: &'a Kbuild,
    pub(crate) source: &'a Source,
    pub(crate) toolchain: &'a Toolchain,
}

/// One build under way, with its lock held.
pub(crate) struct Work<'a> {
    pub(crate) inputs: Inputs<'a>,
    /// The build's folder.
    pub(crate) dir: &'a Path,
    pub(crate) log: &'a Path,
    pub(crate) lock: &'a File,
}

impl Work<'_> {
    /// tinyconfig and the fragments, completed by kconfig and verified. An unchanged `.config` keeps its time, or make
    /// would build all of an own tree again.
    fn configure(&self, fragments: &Fragments) -> Result<Config, Error> {
        let step = self.inputs.session.progress.step("configuring the kernel");
        let base = self.kconfig("tinyconfig")?;
        let text = self.olddefconfig(&fragments.merged_into(&base))?;
        let config = self.take(&text, fragments)?;
        step.finish(&format!(
            "{} wanted options are set",
            fragments.wanted().len()
        ));
        Ok(config)
    }

    /// Copies the default kernel's build of the same source, if it is done and nothing is here yet: make then compiles
    /// only what another configuration makes otherwise.
    fn begin_with_default(&self) -> Result<(), Error> {
        let Inputs {
            session,
            kbuild,
            source,
            toolchain,
        } = self.inputs;
        if self.dir.join(".config").is_file() {
            return Ok(());
        }
        let key = key_of(source, &kbuild.fragments.canonical(), toolchain);
        match done(&session.cache.builds().join(key), source) {
            Some(base) => builtin::copy_build(self, &base),
            None => Ok(()),
        }
    }

    /// The user's `.config`, completed by kconfig and verified.
    fn configure_own(&self, own: &OwnConfig) -> Result<Config, Error> {
        let step = self.inputs.session.progress.step("configuring the kernel");
        let text = self.complete(&own.text)?;
        let config = self.take(&text, &own.wanted)?;
        step.finish("as the given configuration has it");
        Ok(config)
    }

    /// A `.config`, completed by kconfig, that has what a run needs.
    fn complete(&self, text: &str) -> Result<String, Error> {
        let text = self.olddefconfig(text)?;
        let required = &self.inputs.kbuild.required;
        let options = required.dropped_by(&Config::parse(&text));
        if options.is_empty() {
            Ok(text)
        } else {
            let dir = self.dir.to_owned();
            Err(Error::OptionsMissing { dir, options })
        }
    }

    fn olddefconfig(&self, text: &str) -> Result<String, Error> {
        let target = self.scratch()?;
        std::fs::write(&target, text)
            .with_context(|| format!("cannot write {}", target.display()))?;
        self.kconfig("olddefconfig")
    }

    /// What kconfig makes of the scratch configuration.
    fn kconfig(&self, goal: &str) -> Result<String, Error> {
        let target = self.scratch()?;
        self.make_call("configuring the kernel", CONFIG_DEADLINE)
            .env("KCONFIG_CONFIG", &target)
            .args([goal])
            .run_to_success(&self.inputs.session.cancelled, &mut |_| {})?;
        read(&target)
    }

    fn scratch(&self) -> Result<PathBuf, Error> {
        let scratch = self.dir.join(".deferinit-config");
        create_dir(&scratch)?;
        Ok(scratch.join("config"))
    }

    /// Makes a completed configuration the build's, if it has what is wanted.
    fn take(&self, text: &str, wanted: &Fragments) -> Result<Config, Error> {
        let config = Config::parse(text);
        let options = wanted.dropped_by(&config);
        if !options.is_empty() {
            return Err(Error::OptionsDropped { options });
        }
        let path = self.dir.join(".config");
        if read(&path).ok().as_deref() != Some(text) {
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(config)
    }

    /// Runs make with further arguments, and returns how many steps it announced and how many seconds it took.
    pub(crate) fn make(
        &self,
        title: &str,
        expected: u64,
        arguments: &[OsString],
    ) -> Result<(u64, u64), Error> {
        let session = self.inputs.session;
        let mut step = session.progress.step(title);
        step.set_total(expected, Unit::Count("steps"));
        let started = Instant::now();
        let mut steps = 0;
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        self.make_call("the kernel build", BUILD_DEADLINE)
            .args(arguments)
            .args([format!("-j{jobs}").as_str(), "vmlinux", "modules"])
            .run_to_success(&session.cancelled, &mut |event| {
                count_step(&event, &mut steps, &mut step)
            })?;
        step.finish(&format!("{steps} steps, log {}", self.log.display()));
        Ok((steps, started.elapsed().as_secs()))
    }

    /// The configuration of the build as it is.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        Ok(Config::parse(&read(&self.dir.join(".config"))?))
    }

    fn make_call(&self, what: &str, deadline: Duration) -> Call<'_> {
        let mut output = OsString::from("O=");
        output.push(self.dir);
        Call::new(what, "make", deadline)
            .in_dir(self.inputs.source.tree())
            .args([output])
            .args(self.inputs.toolchain.make_arguments())
            .env("LIBCLANG_PATH", &self.inputs.toolchain.libclang)
            .log(self.log)
            .holding(self.lock)
            .class(Class::Build)
    }

    /// What the build is, once make has ended well.
    pub(crate) fn info(
        &self,
        key: String,
        config: &Config,
        steps: u64,
        seconds: u64,
    ) -> Result<BuildInfo, Error> {
        for part in ["vmlinux", "Module.symvers"] {
            if !self.dir.join(part).is_file() {
                return Err(anyhow::anyhow!(
                    "make ended well but left no {}",
                    self.dir.join(part).display()
                )
                .into());
            }
        }
        Ok(BuildInfo {
            format_version: Version1,
            key,
            release: release_of(self.dir)?,
            source: self.inputs.source.identity(),
            config_sha256: file_sha256(&self.dir.join(".config"))?,
            image_sha256: file_sha256(&self.dir.join("vmlinux"))?,
            hz: hz_of(config)?,
            debug: checks_memory(config),
            builtin: false,
            compilers: self.inputs.toolchain.compilers.clone(),
            steps,
            seconds,
        })
    }
}

/// Counts a step of kbuild and shows what it is about.
pub(crate) fn count_step(event: &Event<'_>, steps: &mut u64, step: &mut Step) {
    match event {
        Event::Line(line) if is_build_step(line) => {
            *steps += 1;
            step.set_position(*steps);
            step.set_detail(line.split_whitespace().last().unwrap_or_default());
        }
        Event::Line(_) => {}
        Event::Tick => step.set_position(*steps),
    }
}

fn key_of(source: &Source, config: &str, toolchain: &Toolchain) -> String {
    // The whole .config follows from the source, the compilers and the fragments over tinyconfig.
    key([
        ("recipe", RECIPE.to_string().as_bytes()),
        ("source", source.identity().as_bytes()),
        ("config", config.as_bytes()),
        ("toolchain", toolchain.identity().as_bytes()),
    ])
}

/// A build that needs no make: of a package, with its marker and its image.
pub(crate) fn done(dir: &Path, source: &Source) -> Option<Kernel> {
    match source {
        Source::Tree(TreeSource { .. }) => None,
        Source::Package(_) => {
            let info: BuildInfo = read_marker(&dir.join("build.json"))?;
            let kernel = kernel_in(dir, source, info);
            (kernel.vmlinux.as_ref()?.is_file() && dir.join("Module.symvers").is_file())
                .then_some(kernel)
        }
    }
}

pub(crate) fn kernel_in(dir: &Path, source: &Source, info: BuildInfo) -> Kernel {
    Kernel {
        build_dir: dir.to_owned(),
        vmlinux: Some(dir.join("vmlinux")),
        bz_image: None,
        origin: origin_of(source),
        info,
    }
}

fn origin_of(source: &Source) -> Origin {
    match source {
        Source::Package(_) => Origin::Package,
        Source::Tree(_) => Origin::Tree,
    }
}

/// What the longest build of the cache took; an incremental one says nothing about a whole one.
fn expected_steps(session: &Session, kbuild: &Kbuild) -> u64 {
    let counted = list(session)
        .builds
        .into_iter()
        .filter_map(|build| build.info)
        .map(|info| info.steps)
        .max();
    counted
        .filter(|steps| *steps > kbuild.kernels.build_steps / 2)
        .unwrap_or(kbuild.kernels.build_steps)
}

fn release_of(dir: &Path) -> Result<String, Error> {
    Ok(read(&dir.join("include/config/kernel.release"))?
        .trim()
        .to_owned())
}

fn hz_of(config: &Config) -> Result<u32, Error> {
    let hz = config.get("CONFIG_HZ").and_then(|hz| hz.parse().ok());
    Ok(hz.context("the kernel's .config has no CONFIG_HZ")?)
}

fn checks_memory(config: &Config) -> bool {
    config.get("CONFIG_KASAN") == Some("y")
}

fn read(path: &Path) -> Result<String, Error> {
    Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::progress::Progress;

    fn kbuild() -> Kbuild {
        Kbuild::of_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kbuild"))
            .expect("kbuild/")
    }

    fn toolchain() -> Toolchain {
        Toolchain {
            compilers: Compilers {
                llvm_suffix: Some("-19".into()),
                cc_version: "clang 19.1.7".into(),
                rustc: "/usr/bin/rustc".into(),
                rustc_version: "rustc 1.96.0".into(),
            },
            lld_version: "LLD 19.1.7".into(),
            library: "/l".into(),
            bindgen: "/b".into(),
            bindgen_version: "bindgen 0.73.2".into(),
            libclang: "/c".into(),
        }
    }

    fn package(version: &str) -> Source {
        Source::Package(PackageSource {
            format_version: Version1,
            package: "linux-source-7.3".into(),
            version: version.into(),
            kernel: Version::parse("7.3.4").expect("a version"),
            sha256: "a".into(),
            tree: "/s".into(),
        })
    }

    fn fragments(dir: &Path, text: &str) -> Fragments {
        let file = dir.join("a.config");
        std::fs::write(&file, text).expect("writes");
        Fragments::of_files(&[file]).expect("a fragment")
    }

    fn info() -> BuildInfo {
        BuildInfo {
            format_version: Version1,
            key: "k".into(),
            release: "7.3.4".into(),
            source: "s".into(),
            config_sha256: "c".into(),
            image_sha256: "i".into(),
            hz: 250,
            debug: false,
            builtin: false,
            compilers: toolchain().compilers,
            steps: 1755,
            seconds: 360,
        }
    }

    fn finished_build(dir: &Path, release: &str, config: &str) {
        let parts = [
            ("vmlinux", "image"),
            ("Makefile", ""),
            ("Module.symvers", ""),
            ("System.map", ""),
            ("include/config/kernel.release", release),
            ("include/generated/autoconf.h", ""),
            (".config", config),
        ];
        for (part, text) in parts {
            let path = dir.join(part);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
            std::fs::write(path, text).expect("writes");
        }
    }

    #[test]
    fn a_key_is_stable_and_depends_on_every_input() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let smp = fragments(dir.path(), "# Two CPUs.\nCONFIG_SMP=y\n");
        let base = key_of(&package("7.3.4-1"), &smp.canonical(), &toolchain());
        // Changes only with RECIPE or the key's layout; both make every user build again.
        assert_eq!(base, "f7a613a52eed0a1a");
        assert_eq!(
            base,
            key_of(
                &package("7.3.4-1"),
                &fragments(dir.path(), "# Why not.\nCONFIG_SMP=y\n").canonical(),
                &toolchain()
            )
        );
        assert_ne!(
            base,
            key_of(&package("7.3.4-2"), &smp.canonical(), &toolchain())
        );
        assert_ne!(
            base,
            key_of(
                &package("7.3.4-1"),
                &fragments(dir.path(), "# One.\nCONFIG_SMP=n\n").canonical(),
                &toolchain()
            )
        );
        let newer = Toolchain {
            bindgen_version: "bindgen 0.74.0".into(),
            ..toolchain()
        };
        assert_ne!(base, key_of(&package("7.3.4-1"), &smp.canonical(), &newer));
        let tree = |path: &str| {
            Source::Tree(TreeSource {
                tree: path.into(),
                kernel: Version::parse("7.3.4").expect("a version"),
            })
        };
        assert_ne!(
            key_of(&tree("/a"), &smp.canonical(), &toolchain()),
            key_of(&tree("/b"), &smp.canonical(), &toolchain())
        );
    }

    fn debug() -> Variant {
        Variant {
            debug: true,
            ..Variant::default()
        }
    }

    #[test]
    fn the_debug_kernel_has_a_key_of_its_own() {
        let kbuild = kbuild();
        let key = |variant: &Variant| {
            let wish = Wish::of(&kbuild, variant).identity();
            key_of(&package("7.3.4-1"), &wish, &toolchain())
        };
        assert_ne!(key(&Variant::default()), key(&debug()));
        let wants = |variant: &Variant, line: &str| {
            let text = kbuild.fragments_of(variant).canonical();
            text.lines().any(|found| found == line)
        };
        assert!(wants(&debug(), "CONFIG_KASAN=y"));
        assert!(!wants(&Variant::default(), "CONFIG_KASAN=y"));
    }

    #[test]
    fn all_own_configurations_share_a_folder_and_none_is_ever_done() {
        let kbuild = kbuild();
        let own = |text: &str| Variant {
            config: Some(OwnConfig {
                text: text.to_owned(),
                wanted: Fragments::default(),
            }),
            ..Variant::default()
        };
        let (one, other) = (own("CONFIG_SMP=y\n"), own("CONFIG_SMP=n\n"));
        let identity = |variant: &Variant| Wish::of(&kbuild, variant).identity();
        assert_eq!(identity(&one), identity(&other));
        assert_ne!(identity(&one), identity(&Variant::default()));
        let dir = tempfile::tempdir().expect("a scratch folder");
        finished_build(dir.path(), "7.3.4", "CONFIG_SMP=y\n");
        write_marker(&dir.path().join("build.json"), &info()).expect("writes");
        let source = package("7.3.4-1");
        assert!(done(dir.path(), &source).is_some());
        let wish = Wish::of(&kbuild, &one);
        assert!(wish.done(dir.path(), &source).is_none());
        // So that modules are built for it anew as well.
        assert_eq!(wish.origin(&source), Origin::Tree);
    }

    #[test]
    fn a_marker_from_before_there_were_variants_is_read() {
        let mut marker = serde_json::to_value(info()).expect("JSON");
        for key in ["debug", "builtin"] {
            marker.as_object_mut().expect("an object").remove(key);
        }
        let read: BuildInfo = serde_json::from_value(marker).expect("a marker");
        assert_eq!(read, info());
    }

    #[test]
    fn a_build_is_done_only_with_marker_and_image() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let source = package("7.3.4-1");
        finished_build(dir.path(), "7.3.4\n", "");
        assert_eq!(done(dir.path(), &source), None);
        write_marker(&dir.path().join("build.json"), &info()).expect("writes");
        assert_eq!(
            done(dir.path(), &source).map(|kernel| kernel.info),
            Some(info())
        );
        let tree = Source::Tree(TreeSource {
            tree: "/t".into(),
            kernel: Version::parse("7.3").expect("a version"),
        });
        assert_eq!(
            done(dir.path(), &tree),
            None,
            "an own tree may have changed"
        );
        std::fs::remove_file(dir.path().join("vmlinux")).expect("removes");
        assert_eq!(done(dir.path(), &source), None);
    }

    #[test]
    fn the_listing_tells_done_builds_from_others() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let session = Session {
            cache: Cache::at(dir.path()),
            progress: Progress::Silent,
            cancelled: Default::default(),
        };
        assert_eq!(
            list(&session),
            Listing {
                sources: Vec::new(),
                builds: Vec::new()
            }
        );
        for key in ["a", "b"] {
            create_dir(&session.cache.builds().join(key)).expect("creates");
        }
        std::fs::write(session.cache.builds().join("a.lock"), "").expect("writes");
        write_marker(&session.cache.builds().join("b/build.json"), &info()).expect("writes");
        let builds = list(&session).builds;
        assert_eq!(
            builds
                .iter()
                .map(|build| build.info.is_some())
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(expected_steps(&session, &kbuild()), 1755);
    }

    #[test]
    fn a_folder_that_is_no_build_is_named() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let kbuild = kbuild();
        let refused = |part: &str| {
            let error = finished(&kbuild, dir.path()).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.class(), Class::Setup);
        };
        refused("no vmlinux or bzImage");
        finished_build(dir.path(), "7.3.4\n", "");
        std::fs::remove_file(dir.path().join("Module.symvers")).expect("removes");
        refused("no Module.symvers");
        finished_build(dir.path(), "6.1.0-13-amd64\n", "");
        refused("is Linux 6.1.0 but the module needs 7.2");
        finished_build(dir.path(), "7.3.4\n", "CONFIG_RUST=y\n");
        refused("CONFIG_FUNCTION_GRAPH_TRACER: wanted y, got not set");
    }

    #[test]
    fn a_build_of_another_rustc_is_refused_with_both_names() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let kbuild = kbuild();
        let config = kbuild.required.canonical()
            + "CONFIG_HZ=250\nCONFIG_RUSTC_VERSION_TEXT=\"rustc 1.0.0 (x)\"\n";
        finished_build(dir.path(), "7.3.4\n", &config);
        let error = finished(&kbuild, dir.path()).expect_err("another rustc");
        assert!(
            error
                .to_string()
                .contains("was built by `rustc 1.0.0 (x)` but this machine has"),
            "{error}"
        );
    }

    #[test]
    fn the_config_goes_through_make_s_own_variables() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let session = Session {
            cache: Cache::at(dir.path()),
            progress: Progress::Silent,
            cancelled: Default::default(),
        };
        let lock = File::create(dir.path().join("lock")).expect("a file");
        let (source, toolchain) = (package("7.3.4-1"), toolchain());
        let inputs = Inputs {
            session: &session,
            kbuild: &kbuild(),
            source: &source,
            toolchain: &toolchain,
        };
        let work = Work {
            inputs,
            dir: dir.path(),
            log: dir.path(),
            lock: &lock,
        };
        let text = format!("{:?}", work.make_call("x", BUILD_DEADLINE));
        for part in [
            "O=",
            "LLVM=-19",
            "RUSTC=/usr/bin/rustc",
            "BINDGEN=/b",
            "RUST_LIB_SRC=/l",
            "KBUILD_BUILD_VERSION=1",
            "LIBCLANG_PATH",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
