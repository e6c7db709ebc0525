// SPDX-License-Identifier: GPL-2.0-only

//! What a machine must have for a run, whether it has it, and how it gets it.
//!
//! In: `kbuild/requirements.toml`, `/etc/os-release`, the programs and headers of the machine. Out: a `Survey` with a
//! finding per requirement and the one command that mends them all; or everything installed, if this is root.
//! Does not print findings and does not remove packages.
//! Source: `kbuild/requirements.toml`; os-release(5), apt-get(8), apt's `README.progress-reporting`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::apt::{Package, parse_madison};
use crate::cache::{Cache, Session, create_dir, lock};
use crate::child::{Call, Event};
use crate::error::Error;
use crate::progress::Unit;
use crate::toolchain::{Rustc, all_output, bindgen, libclang, program, programs, version_said};
use crate::version::Version;

/// The longest an installation may take: some 500 MB and 200 packages.
const INSTALL_DEADLINE: Duration = Duration::from_secs(3600);

/// The longest apt may take to answer a question.
const QUERY_DEADLINE: Duration = Duration::from_secs(120);

/// What makes most programs say their version.
const VERSION_ARGUMENT: &str = "--version";

/// Conflicting packages of the user are never removed, and no question is asked about changed files.
const INSTALL_OPTIONS: [&str; 7] = [
    "-y",
    "--no-install-recommends",
    "--no-remove",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
];

/// `kbuild/requirements.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Requirements {
    /// Releases whose package names are known, in the form `ID-VERSION_ID` of os-release(5).
    pub releases: Vec<String>,
    /// The requirements, in the order in which they are shown.
    pub requirements: Vec<Requirement>,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Requirement {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub why: String,
    /// What needs it.
    pub needed_for: Need,
    /// How it is found.
    pub find: Find,
    /// Packages per release; `any` for releases that are not named.
    #[serde(default)]
    pub packages: BTreeMap<String, Vec<String>>,
    /// The crate to install where no package is new enough.
    pub from_crate: Option<Crate>,
}

/// What needs a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Every run.
    Run,
    /// Runs with a command in the guest.
    Command,
    /// The project's own tests, beyond what a run needs.
    Test,
}

/// How a requirement is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Find {
    /// A program in PATH; the first of the names that is new enough.
    #[serde(rename_all = "kebab-case")]
    Program {
        /// Names, or paths.
        names: Vec<String>,
        /// The oldest version.
        minimum: Version,
        /// What makes it say its version, if that is not `--version`.
        version_argument: Option<String>,
    },
    /// A C header the host's compiler finds.
    Header(String),
    /// A rustc with its library's sources.
    Rustc {
        /// Names, or paths.
        names: Vec<String>,
        /// The oldest version.
        minimum: Version,
    },
    /// As a program, but also in the cache.
    Bindgen {
        /// Names, or paths.
        names: Vec<String>,
        /// The oldest version.
        minimum: Version,
    },
    /// The shared library of the clang that is used.
    Libclang,
}

/// A program from the registry of crates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// The version: a fixed one, for it is part of a kernel build's key.
    pub version: String,
}

/// Whether a requirement is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is.
    Found {
        /// Where.
        place: String,
        /// None of a header.
        version: Option<Version>,
    },
    /// Only older ones are there.
    TooOld {
        /// The newest one found.
        version: Version,
        /// The oldest that would do.
        minimum: Version,
    },
    /// A rustc is there, but the sources of its library are not.
    WithoutSources {
        /// The first one in PATH.
        place: String,
    },
    /// It is not there.
    Missing,
}

/// How a requirement that is not met can be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// By these packages of this release.
    Packages(Vec<String>),
    /// By `cargo install` into the cache.
    Crate(Crate),
    /// The release's package names are not known.
    Unknown,
}

/// A requirement as found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The requirement.
    pub requirement: Requirement,
    /// Whether it is met.
    pub state: State,
    /// How it is met if it is not.
    pub mend: Mend,
}

/// All requirements as found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The machine's release, by its os-release(5) name; for messages.
    pub release_name: String,
    /// A finding per requirement, in the file's order.
    pub findings: Vec<Finding>,
    cargo_command: String,
}

impl Requirements {
    /// Reads `requirements.toml` of the folder `kbuild/`.
    ///
    /// # Errors
    /// If it cannot be read or is not of this shape; the message has line and column.
    pub fn of_dir(kbuild: &Path) -> Result<Self, Error> {
        let file = kbuild.join("requirements.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(toml::from_str(&text).with_context(|| format!("{} is not valid", file.display()))?)
    }

    /// Looks at the machine. A tool that does not answer within 30 s counts as missing.
    pub fn survey(&self, cache: &Cache) -> Survey {
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let release = release_of(&os_release, &self.releases);
        let finding = |requirement: &Requirement| Finding {
            state: self.state_of(&requirement.find, cache),
            mend: requirement.mend(release.as_deref()),
            requirement: requirement.clone(),
        };
        Survey {
            release_name: os_field(&os_release, "PRETTY_NAME")
                .unwrap_or_else(|| "an unknown distribution".to_owned()),
            findings: self.requirements.iter().map(finding).collect(),
            cargo_command: format!("cargo install --locked --root {}", cache.tools().display()),
        }
    }

    /// Where the program of a requirement is: the first that is new enough.
    pub fn program_of(&self, name: &str) -> Option<PathBuf> {
        let Find::Program {
            names,
            minimum,
            version_argument,
        } = self.find_of(name)?
        else {
            return None;
        };
        let argument = version_argument.as_deref().unwrap_or(VERSION_ARGUMENT);
        match program_state(names, minimum, argument) {
            State::Found { place, .. } => Some(place.into()),
            State::TooOld { .. } | State::WithoutSources { .. } | State::Missing => None,
        }
    }

    /// How a requirement is found.
    pub(crate) fn find_of(&self, name: &str) -> Option<&Find> {
        self.requirements
            .iter()
            .find(|requirement| requirement.name == name)
            .map(|requirement| &requirement.find)
    }

    fn state_of(&self, find: &Find, cache: &Cache) -> State {
        match find {
            Find::Program {
                names,
                minimum,
                version_argument,
            } => program_state(
                names,
                minimum,
                version_argument.as_deref().unwrap_or(VERSION_ARGUMENT),
            ),
            Find::Header(header) => header_state(header),
            Find::Rustc { names, minimum } => self.rustc_state(names, minimum),
            Find::Bindgen { names, minimum } => match bindgen(self, cache) {
                Some((path, version)) => found(&path, Version::find(&version)),
                None => program_state(names, minimum, "--version"),
            },
            Find::Libclang => libclang(self).map_or(State::Missing, |dir| found(&dir, None)),
        }
    }

    fn rustc_state(&self, names: &[String], minimum: &Version) -> State {
        if let Some(rustc) = Rustc::with_sources(self) {
            return found(&rustc.path, Version::find(&rustc.version));
        }
        match program_state(names, minimum, "--version") {
            State::Found { place, .. } => State::WithoutSources { place },
            state => state,
        }
    }
}

impl Requirement {
    fn mend(&self, release: Option<&str>) -> Mend {
        let packages = release.and_then(|release| {
            self.packages
                .get(release)
                .or_else(|| self.packages.get("any"))
        });
        match (packages, &self.from_crate) {
            (Some(packages), _) if !packages.is_empty() => Mend::Packages(packages.clone()),
            (_, Some(from_crate)) => Mend::Crate(from_crate.clone()),
            _ => Mend::Unknown,
        }
    }
}

impl Finding {
    /// Whether the requirement is met.
    pub fn is_met(&self) -> bool {
        matches!(self.state, State::Found { .. })
    }
}

impl Survey {
    /// The requirements that are not met, up to the given need: a test needs what a run needs, too.
    pub fn unmet(&self, need: Need) -> Vec<&Finding> {
        self.findings
            .iter()
            .filter(|finding| !finding.is_met() && finding.requirement.needed_for <= need)
            .collect()
    }

    /// The command that mends one finding: by root for packages, by the user for a crate.
    pub fn command_for(&self, finding: &Finding) -> Option<String> {
        match &finding.mend {
            Mend::Packages(packages) => Some(apt_command(packages)),
            Mend::Crate(from_crate) => Some(format!(
                "{} --version {} {}",
                self.cargo_command, from_crate.version, from_crate.name
            )),
            Mend::Unknown => None,
        }
    }

    /// The one command, to be run as root, that installs all packages that are missing.
    pub fn root_command(&self, need: Need) -> Option<String> {
        let packages = self.packages(need);
        (!packages.is_empty()).then(|| format!("apt-get update && {}", apt_command(&packages)))
    }

    /// An error that names what is not met; none if a run, or a test, would find all it needs.
    pub fn error(&self, need: Need) -> Option<Error> {
        let names: Vec<String> = self
            .unmet(need)
            .iter()
            .map(|finding| finding.requirement.name.clone())
            .collect();
        (!names.is_empty()).then(|| Error::Missing {
            names,
            command: self.root_command(need),
        })
    }

    fn packages(&self, need: Need) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for finding in self.unmet(need) {
            if let Mend::Packages(packages) = &finding.mend {
                all.extend(
                    packages
                        .iter()
                        .filter(|package| !all.contains(package))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
        }
        all
    }
}

/// Installs what is missing: packages if this is root, and crates into the cache. Does nothing if nothing is missing.
///
/// # Errors
/// `Missing` with the command for root if this is not root, or with the names alone if this release's packages are not
/// known; `Failed` with the package client's words; `Missing` again if something is not there even so.
pub fn install_missing(
    session: &Session,
    requirements: &Requirements,
    need: Need,
) -> Result<Survey, Error> {
    let survey = requirements.survey(&session.cache);
    if survey.unmet(need).is_empty() {
        return Ok(survey);
    }
    let _lock = lock(
        session,
        &session.cache.root().join("install.lock"),
        "installing what is missing",
    )?;
    // The other run may have installed it all.
    let survey = requirements.survey(&session.cache);
    let log = session.cache.root().join("install.log");
    let packages = survey.packages(need);
    if !packages.is_empty() {
        if !nix::unistd::geteuid().is_root() || program("apt-get").is_none() {
            return Err(survey
                .error(need)
                .unwrap_or_else(|| anyhow::anyhow!("nothing is missing").into()));
        }
        install_packages(session, &packages, &log)?;
    }
    let after = requirements.survey(&session.cache);
    for finding in after.unmet(need) {
        if let Mend::Crate(from_crate) = &finding.mend {
            install_crate(session, from_crate, &log)?;
        }
    }
    let after = requirements.survey(&session.cache);
    match after.error(need) {
        None => Ok(after),
        Some(error) => Err(error),
    }
}

fn install_packages(session: &Session, packages: &[String], log: &Path) -> Result<(), Error> {
    let mut step = session.progress.step("fetching the package indexes");
    let apt = |what| {
        Call::new(what, "apt-get", INSTALL_DEADLINE)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .log(log)
    };
    apt("apt-get update")
        .args(["-q", "update"])
        .run_to_success(&session.cancelled, &mut |_| step.go_on())?;
    step.finish("done");
    let taken_back = taken_back(session, packages, log)?;
    let mut step = session.progress.step("installing packages");
    step.set_total(100, Unit::Percent);
    if !taken_back.is_empty() {
        step.set_detail(&format!("with {}", taken_back.join(" ")));
    }
    apt("apt-get install")
        .args(["install", "-q", "-o", "APT::Status-Fd=1"])
        .args(INSTALL_OPTIONS)
        .args((!taken_back.is_empty()).then_some("--allow-downgrades"))
        .args(packages)
        .args(&taken_back)
        .run_to_success(&session.cancelled, &mut |event| match event {
            Event::Line(line) => {
                if let Some((percent, detail)) = apt_status(line) {
                    step.set_detail(detail);
                    step.set_position(percent);
                }
            }
            Event::Tick => step.go_on(),
        })?;
    step.finish(&[packages, &taken_back].concat().join(" "));
    Ok(())
}

/// What is installed in a version that the wanted packages break, as `NAME=VERSION` of the release's own version. That
/// happens where a part of a package family came from backports: qemu-utils 10 and qemu-system-x86 7.2 of Debian 12.
/// apt's own answer is to remove the former, which is not ours to do.
fn taken_back(session: &Session, packages: &[String], log: &Path) -> Result<Vec<String>, Error> {
    let ask = |what, program, arguments: &[&str], more: &[String]| {
        Call::new(what, program, QUERY_DEADLINE)
            .env("LC_ALL", "C.UTF-8")
            .log(log)
            .captured()
            .args(arguments)
            .args(more)
            .run(&session.cancelled, &mut |_| {})
    };
    let simulation = ["install", "-q", "--simulate", "--no-install-recommends"];
    let simulated = ask(
        "apt-get install --simulate",
        "apt-get",
        &simulation,
        packages,
    )?;
    let removed = removals(&simulated.stdout);
    if removed.is_empty() {
        return Ok(Vec::new());
    }
    let known = ask("apt-cache madison", "apt-cache", &["madison"], &removed)?;
    let versions = parse_madison(&known.stdout);
    let release = |name: &String| versions.iter().find(|package| package.name == *name);
    // What the release does not have stays as it is, and apt says that it is in the way.
    Ok(removed
        .iter()
        .filter_map(release)
        .map(Package::name_and_version)
        .collect())
}

/// The packages that a simulated installation would remove: `Remv NAME [VERSION] ...` (apt-get(8), `--simulate`).
fn removals(simulated: &str) -> Vec<String> {
    simulated
        .lines()
        .filter_map(|line| line.strip_prefix("Remv ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn install_crate(session: &Session, from_crate: &Crate, log: &Path) -> Result<(), Error> {
    let root = session.cache.tools();
    create_dir(&root)?;
    let mut step = session.progress.step(&format!(
        "installing {} {}",
        from_crate.name, from_crate.version
    ));
    // Built apart from any workspace that the working folder may be in.
    Call::new("cargo install", "cargo", INSTALL_DEADLINE)
        .in_dir(&root)
        // It runs three times per kernel build: a quick build of it is worth more than its speed.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .args([
            "install",
            "--locked",
            "--version",
            &from_crate.version,
            "--root",
        ])
        .args([root.as_os_str(), from_crate.name.as_ref()])
        .log(log)
        .run_to_success(&session.cancelled, &mut |event| match event {
            Event::Line(line) if is_cargo_step(line) => step.set_detail(line.trim()),
            _ => step.go_on(),
        })?;
    step.finish(&root.display().to_string());
    Ok(())
}

fn is_cargo_step(line: &str) -> bool {
    let verb = line.split_whitespace().next();
    matches!(verb, Some("Downloaded" | "Compiling"))
}

fn apt_command(packages: &[String]) -> String {
    format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Reads a line of apt's `Status-Fd`: `dlstatus` is the first half of the way, `pmstatus` the second.
fn apt_status(line: &str) -> Option<(u64, &str)> {
    let mut fields = line.splitn(4, ':');
    let kind = fields.next()?;
    let _package = fields.next()?;
    let whole = fields
        .next()?
        .split('.')
        .next()?
        .parse::<u64>()
        .ok()?
        .min(100);
    let detail = fields.next()?.trim();
    match kind {
        "dlstatus" => Some((whole / 2, detail)),
        "pmstatus" => Some((50 + whole / 2, detail)),
        _ => None,
    }
}

fn found(place: &Path, version: Option<Version>) -> State {
    State::Found {
        place: place.display().to_string(),
        version,
    }
}

fn program_state(names: &[String], minimum: &Version, argument: &str) -> State {
    let mut newest: Option<Version> = None;
    for path in names.iter().flat_map(|name| programs(name)) {
        let Some(version) = version_said(&path, argument) else {
            continue;
        };
        if version >= *minimum {
            return found(&path, Some(version));
        }
        newest = newest.max(Some(version));
    }
    newest.map_or(State::Missing, |version| State::TooOld {
        version,
        minimum: minimum.clone(),
    })
}

fn header_state(header: &str) -> State {
    let compiler: Option<PathBuf> = ["cc", "gcc", "clang-19", "clang"]
        .iter()
        .find_map(|name| program(name));
    let compiles = compiler.is_some_and(|compiler| {
        all_output(
            &compiler,
            &["-E", "-x", "c", "-include", header, "/dev/null"],
        )
        .is_some()
    });
    if compiles {
        State::Found {
            place: format!("<{header}>"),
            version: None,
        }
    } else {
        State::Missing
    }
}

fn os_field(os_release: &str, name: &str) -> Option<String> {
    os_release.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

/// The known release whose package names this machine uses: its own, or, of a distribution's newer or rolling release,
/// the newest known one.
fn release_of(os_release: &str, known: &[String]) -> Option<String> {
    let id = os_field(os_release, "ID")?;
    let of_same: Vec<(Version, &String)> = known
        .iter()
        .filter_map(|release| {
            let (known_id, version) = release.rsplit_once('-')?;
            (known_id == id).then_some((Version::parse(version)?, release))
        })
        .collect();
    let version = os_field(os_release, "VERSION_ID").and_then(|text| Version::parse(&text));
    let fits = |candidate: &Version| version.as_ref().is_none_or(|version| candidate <= version);
    of_same
        .into_iter()
        .filter(|(candidate, _)| fits(candidate))
        .max()
        .map(|(_, release)| release.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements() -> Requirements {
        Requirements::of_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kbuild"))
            .expect("requirements.toml")
    }

    fn requirement(name: &str) -> Requirement {
        requirements()
            .requirements
            .into_iter()
            .find(|requirement| requirement.name == name)
            .expect(name)
    }

    fn survey(states: &[(&str, State)], release: Option<&str>) -> Survey {
        let finding = |(name, state): &(&str, State)| {
            let requirement = requirement(name);
            Finding {
                mend: requirement.mend(release),
                state: state.clone(),
                requirement,
            }
        };
        Survey {
            release_name: "a test".into(),
            findings: states.iter().map(finding).collect(),
            cargo_command: "cargo install --locked --root /t".into(),
        }
    }

    #[test]
    fn every_requirement_can_be_met_on_every_known_release() {
        let all = requirements();
        for requirement in &all.requirements {
            assert!(requirement.why.len() > 10, "{}", requirement.name);
            for release in &all.releases {
                assert_ne!(
                    requirement.mend(Some(release)),
                    Mend::Unknown,
                    "{} on {release}",
                    requirement.name
                );
            }
            let known = |key: &String| key == "any" || all.releases.contains(key);
            assert!(
                requirement.packages.keys().all(known),
                "{}",
                requirement.name
            );
        }
        for name in ["rustc", "clang", "bindgen"] {
            assert!(
                !all.names_of(name).is_empty() && all.minimum_of(name).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn releases_are_recognised() {
        let known = requirements().releases;
        let cases = [
            ("ID=debian\nVERSION_ID=\"12\"\n", Some("debian-12")),
            ("ID=debian\nVERSION_ID=\"13\"\n", Some("debian-13")),
            (
                "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nID=debian\n",
                Some("debian-13"),
            ),
            ("ID=debian\nVERSION_ID=\"11\"\n", None),
            ("ID=ubuntu\nVERSION_ID=\"24.04\"\n", Some("ubuntu-24.04")),
            ("ID=ubuntu\nVERSION_ID=\"24.10\"\n", Some("ubuntu-24.04")),
            ("ID=ubuntu\nVERSION_ID='26.04'\n", Some("ubuntu-26.04")),
            ("ID=fedora\nVERSION_ID=44\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(release_of(text, &known).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn one_command_for_root_holds_every_missing_package_once() {
        let states = [
            (
                "make",
                State::Found {
                    place: "/usr/bin/make".into(),
                    version: None,
                },
            ),
            ("flex", State::Missing),
            ("clang", State::Missing),
            (
                "rustc",
                State::WithoutSources {
                    place: "rustc".into(),
                },
            ),
            ("trace-cmd", State::Missing),
        ];
        let survey = survey(&states, Some("debian-12"));
        let run = survey.root_command(Need::Run).expect("packages");
        assert!(
            run.starts_with(
                "apt-get update && apt-get install -y --no-install-recommends flex clang-19"
            ),
            "{run}"
        );
        assert!(
            run.contains("rustc-web rust-web-src")
                && !run.contains("make")
                && !run.contains("trace-cmd"),
            "{run}"
        );
        assert!(
            survey
                .root_command(Need::Test)
                .expect("packages")
                .contains("trace-cmd")
        );
        let error = survey.error(Need::Run).expect("unmet").to_string();
        assert!(
            error.contains("missing: flex, clang, rustc") && error.contains(&run),
            "{error}"
        );
    }

    #[test]
    fn nothing_missing_is_no_error() {
        let found = State::Found {
            place: "/usr/bin/make".into(),
            version: None,
        };
        let survey = survey(
            &[("make", found), ("trace-cmd", State::Missing)],
            Some("debian-12"),
        );
        assert!(survey.error(Need::Run).is_none());
        assert_eq!(survey.root_command(Need::Run), None);
        assert!(survey.error(Need::Test).is_some());
    }

    #[test]
    fn an_unknown_release_gets_names_and_no_command() {
        let survey = survey(&[("flex", State::Missing)], None);
        let error = survey.error(Need::Run).expect("unmet").to_string();
        assert!(
            error.contains("flex")
                && error.contains("deferinit doctor")
                && !error.contains("apt-get"),
            "{error}"
        );
    }

    #[test]
    fn bindgen_comes_from_its_crate_where_the_package_is_too_old() {
        let too_old = State::TooOld {
            version: Version::parse("0.60.1").expect("v"),
            minimum: Version::parse("0.71.1").expect("v"),
        };
        let old = survey(&[("bindgen", too_old.clone())], Some("debian-12"));
        let command = old
            .findings
            .first()
            .and_then(|finding| old.command_for(finding))
            .expect("a command");
        assert!(
            command.starts_with("cargo install --locked --root /t --version 0."),
            "{command}"
        );
        assert_eq!(old.root_command(Need::Run), None);
        let new = survey(&[("bindgen", too_old)], Some("debian-13"));
        assert_eq!(
            new.root_command(Need::Run).as_deref(),
            Some("apt-get update && apt-get install -y --no-install-recommends bindgen")
        );
    }

    #[test]
    fn a_program_that_is_too_old_is_told_from_a_missing_one() {
        let version = |text| Version::parse(text).expect("a version");
        let shell = ["tar".to_owned()];
        assert!(matches!(
            program_state(&shell, &version("1"), "--version"),
            State::Found {
                version: Some(_),
                ..
            }
        ));
        assert!(matches!(
            program_state(&shell, &version("999"), "--version"),
            State::TooOld { .. }
        ));
        assert_eq!(
            program_state(
                &["no-such-program-here".to_owned()],
                &version("1"),
                "--version"
            ),
            State::Missing
        );
    }

    #[test]
    fn headers_are_looked_for_by_the_compiler() {
        assert!(matches!(header_state("stdio.h"), State::Found { .. }));
        assert_eq!(header_state("no_such_header_here.h"), State::Missing);
    }

    #[test]
    fn removals_are_read_from_a_simulation() {
        let text = "Inst liborc-0.4-0 (1:0.4.33-2 Debian:12 [amd64])\n\
            Remv qemu-utils [1:10.0.2+ds-2+deb13u1~bpo12+1]\n\
            Conf liborc-0.4-0 (1:0.4.33-2 Debian:12 [amd64])\n";
        assert_eq!(removals(text), ["qemu-utils"]);
        assert!(removals("0 upgraded, 1 newly installed, 0 to remove.\n").is_empty());
    }

    #[test]
    fn apt_s_status_lines_are_read() {
        let cases = [
            (
                "dlstatus:3:41.5:Retrieving file 3 of 40",
                Some((20, "Retrieving file 3 of 40")),
            ),
            (
                "pmstatus:flex:60.0:Unpacking flex (amd64)",
                Some((80, "Unpacking flex (amd64)")),
            ),
            ("pmstatus:flex:x:Unpacking", None),
            ("Get:1 http://m.example/debian", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(apt_status(line), expected, "{line}");
        }
    }
}
