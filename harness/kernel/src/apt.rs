// SPDX-License-Identifier: GPL-2.0-only

//! Kernel sources from a package archive, through the machine's own package client.
//!
//! In: the archives of `kernels.toml` and the machine's apt sources. Out: the site and keys of an archive, the newest
//! kernel source of a suite, a verified package file. apt checks all signatures and hashes.
//! Everything is done with a private configuration, list and cache folder: the machine's own package state is read for
//! site, keys and proxy, and never written, so no root is needed.
//! Source: apt-get(8) `indextargets`, sources.list(5), apt.conf(5), apt-cache(8) `madison`; apt 2.6.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;

use crate::cache::create_dir;
use crate::child::{Call, Event};
use crate::error::Error;
use crate::kernels::Archive;
use crate::progress::{Step, Unit};
use crate::version::Version;

/// The longest an index may take: some 10 MB.
const UPDATE_DEADLINE: Duration = Duration::from_secs(600);
/// The longest a package may take: 170 MB at 50 kB/s.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(3600);
/// The longest a question to local files may take.
const QUERY_DEADLINE: Duration = Duration::from_secs(60);

/// How `apt-get indextargets` is asked; `Target::parse` reads the answer.
const TARGET_FORMAT: &str = "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(SOURCESENTRY)|$(SITE)";

/// A package index among the machine's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    origin: String,
    label: String,
    component: String,
    /// The file that names it, and the number of the line (one-line style) or stanza (deb822 style), from 1.
    file: PathBuf,
    entry: usize,
    site: String,
}

/// Where an archive is, and what its signatures are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// A URI as apt takes it.
    pub(crate) uri: String,
    /// The deb822 field's value, paths or an armoured key; none for apt's trusted keys.
    signed_by: Option<String>,
}

/// A package in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name; that of a kernel source has the kernel's major and minor number.
    pub(crate) name: String,
    /// The package's version, with the distribution's part.
    pub(crate) version: String,
    /// The version of what is in it.
    pub(crate) upstream: Version,
}

/// A package file's size and hash, as the signed index has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackageFile {
    /// Bytes.
    pub(crate) size: u64,
    /// Hexadecimal.
    pub(crate) sha256: String,
}

/// The package client with its private folder.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    dir: PathBuf,
    log: PathBuf,
    lock: &'a File,
    cancelled: &'a AtomicBool,
}

impl<'a> Client<'a> {
    /// A client that keeps its state in `dir` and logs to `fetch.log` there; what it runs holds the lock, too.
    pub(crate) fn new(
        dir: PathBuf,
        lock: &'a File,
        cancelled: &'a AtomicBool,
    ) -> Result<Self, Error> {
        for folder in [
            "lists/partial",
            "machine-lists/partial",
            "cache/archives/partial",
        ] {
            create_dir(&dir.join(folder))?;
        }
        let log = dir.join("fetch.log");
        Ok(Self {
            dir,
            log,
            lock,
            cancelled,
        })
    }

    /// A program that belongs to the same work: it is logged in the same place and holds the same lock.
    pub(crate) fn call(&self, program: &str, what: &str, deadline: Duration) -> Call<'_> {
        Call::new(what, program, deadline)
            .log(&self.log)
            .holding(self.lock)
    }

    /// Finds an archive among the machine's sources.
    ///
    /// # Errors
    /// If apt cannot be run or a source file cannot be read. An archive that is not there is `None`.
    pub(crate) fn site_of(&self, archive: &Archive) -> Result<Option<Site>, Error> {
        let mut targets = self.machine_targets(&[])?;
        if targets.is_empty() {
            // Images often come without any index, and apt knows origins from indexes only.
            self.write_conf(
                "machine.conf",
                &[("Dir::State::Lists", "machine-lists/")],
                None,
            )?;
            let conf = self.conf_arguments("machine.conf");
            self.call(
                "apt-get",
                "reading the machine's package sources",
                UPDATE_DEADLINE,
            )
            .args(&conf)
            .args(["update"])
            .run(self.cancelled, &mut |_| {})?;
            targets = self.machine_targets(&conf)?;
        }
        let Some(target) = targets.into_iter().find(|target| target.is_of(archive)) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&target.file)
            .with_context(|| format!("cannot read {}", target.file.display()))?;
        let deb822 = target
            .file
            .extension()
            .is_some_and(|extension| extension == "sources");
        let signed_by = if deb822 {
            stanza_signed_by(&text, target.entry)
        } else {
            line_signed_by(&text, target.entry)
        };
        Ok(Some(Site {
            uri: target.site,
            signed_by,
        }))
    }

    /// Fetches the index of one suite, and nothing else.
    ///
    /// # Errors
    /// `Failed` or `Other` if the suite is not there or the network is not; see `fetch` for what that means.
    pub(crate) fn update(&self, site: &Site, archive: &Archive, suite: &str) -> Result<(), Error> {
        let sources = self.dir.join("suite.sources");
        std::fs::write(&sources, suite_source(site, archive, suite))
            .with_context(|| format!("cannot write {}", sources.display()))?;
        let folders = [("Dir::State::Lists", "lists/"), ("Dir::Cache", "cache/")];
        self.write_conf("suite.conf", &folders, Some(&sources))?;
        self.call(
            "apt-get",
            &format!("fetching the package index of {suite}"),
            UPDATE_DEADLINE,
        )
        .args(self.conf_arguments("suite.conf"))
        .args(["update"])
        .run_to_success(self.cancelled, &mut |_| {})?;
        Ok(())
    }

    /// The kernel sources in the suite that was fetched last.
    pub(crate) fn kernel_sources(&self, archive: &Archive) -> Result<Vec<Package>, Error> {
        let names = self.query(["pkgnames", &archive.package_prefix])?;
        let names: Vec<&str> = names
            .lines()
            .filter(|name| is_kernel_source(name, &archive.package_prefix))
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        Ok(parse_madison(
            &self.query(std::iter::once("madison").chain(names))?,
        ))
    }

    /// Size and hash of a package's file.
    pub(crate) fn package_file(&self, package: &Package) -> Result<PackageFile, Error> {
        let record = self.query(["show", &package.name_and_version()])?;
        Ok(parse_record(&record).with_context(|| {
            format!(
                "the index has no size or SHA256 for {}",
                package.name_and_version()
            )
        })?)
    }

    /// Downloads a package's file into `dir` and returns its path; what an earlier run got of it is kept.
    pub(crate) fn download(
        &self,
        package: &Package,
        file: &PackageFile,
        dir: &Path,
        step: &mut Step,
    ) -> Result<PathBuf, Error> {
        step.set_total(file.size, Unit::Bytes);
        let result = self
            .call(
                "apt-get",
                &format!("downloading {}", package.name_and_version()),
                DOWNLOAD_DEADLINE,
            )
            .in_dir(dir)
            .args(self.conf_arguments("suite.conf"))
            .args(["download", &package.name_and_version()])
            .run_to_success(self.cancelled, &mut |event| {
                if matches!(event, Event::Tick) {
                    step.set_position(bytes_in(dir));
                }
            });
        match result {
            Err(Error::Failed { excerpt, .. }) => Err(Error::Download {
                what: package.name_and_version(),
                reason: excerpt,
            }),
            Err(error) => Err(error),
            Ok(_) => Ok(package_in(dir, package)?),
        }
    }

    fn machine_targets(&self, options: &[OsString]) -> Result<Vec<Target>, Error> {
        let ended = Call::new(
            "asking for the machine's package sources",
            "apt-get",
            QUERY_DEADLINE,
        )
        .args(options)
        .args(["indextargets", "--format", TARGET_FORMAT])
        .captured()
        .log(&self.log)
        .run_to_success(self.cancelled, &mut |_| {})?;
        Ok(ended.stdout.lines().filter_map(Target::parse).collect())
    }

    fn query<'b>(&self, arguments: impl IntoIterator<Item = &'b str>) -> Result<String, Error> {
        let ended = self
            .call("apt-cache", "asking for kernel sources", QUERY_DEADLINE)
            .args(self.conf_arguments("suite.conf"))
            .args(arguments)
            .captured()
            .run_to_success(self.cancelled, &mut |_| {})?;
        Ok(ended.stdout)
    }

    fn conf_arguments(&self, name: &str) -> [OsString; 2] {
        ["-c".into(), self.dir.join(name).into_os_string()]
    }

    fn write_conf(
        &self,
        name: &str,
        folders: &[(&str, &str)],
        sources: Option<&Path>,
    ) -> Result<(), Error> {
        let path = self.dir.join(name);
        let folders = folders
            .iter()
            .map(|(option, folder)| (*option, self.dir.join(folder)))
            .collect::<Vec<_>>();
        Ok(std::fs::write(&path, client_conf(&folders, sources))
            .with_context(|| format!("cannot write {}", path.display()))?)
    }
}

impl Target {
    /// Reads one line of `TARGET_FORMAT`. Other targets than packages, and such as were never fetched, are `None`.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, '|');
        let mut field = || fields.next().filter(|field| !field.starts_with("$("));
        if field()? != "Packages" {
            return None;
        }
        let (origin, label, component) = (
            field()?.to_owned(),
            field()?.to_owned(),
            field()?.to_owned(),
        );
        let (file, entry) = field()?.rsplit_once(':')?;
        Some(Self {
            origin,
            label,
            component,
            file: file.into(),
            entry: entry.parse().ok()?,
            site: field()?.to_owned(),
        })
    }

    fn is_of(&self, archive: &Archive) -> bool {
        self.origin == archive.origin
            && self.label == archive.label
            && self.component == archive.component
    }
}

impl Package {
    /// As apt takes it.
    pub(crate) fn name_and_version(&self) -> String {
        format!("{}={}", self.name, self.version)
    }
}

/// The newest released kernel among packages that is not older than `oldest`.
pub(crate) fn newest<'a>(packages: &'a [Package], oldest: &Version) -> Option<&'a Package> {
    let released = packages
        .iter()
        .filter(|package| !package.version.contains("~rc") && package.upstream >= *oldest);
    // Of equal kernels the first one: madison lists the newest package first.
    released.fold(None, |best: Option<&Package>, package| match best {
        Some(best) if best.upstream >= package.upstream => Some(best),
        _ => Some(package),
    })
}

fn is_kernel_source(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|version| {
        version.contains('.') && version.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

/// Reads `apt-cache madison`: ` name | version | source` lines.
pub(crate) fn parse_madison(text: &str) -> Vec<Package> {
    let parse = |line: &str| {
        let mut columns = line.split('|').map(str::trim);
        let (name, version) = (columns.next()?, columns.next()?);
        // An epoch would come before a colon.
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            upstream: Version::parse(upstream)?,
        })
    };
    text.lines().filter_map(parse).collect()
}

fn parse_record(text: &str) -> Option<PackageFile> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    Some(PackageFile {
        size: field("Size:")?.parse().ok()?,
        sha256: field("SHA256:")?.to_owned(),
    })
}

/// The `Signed-By:` of the stanza with that number, its further lines included.
fn stanza_signed_by(text: &str, entry: usize) -> Option<String> {
    let mut number = 0;
    let mut inside = false;
    let mut value: Option<String> = None;
    for line in text.lines() {
        if line.trim().is_empty() {
            inside = false;
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        if !inside {
            inside = true;
            number += 1;
            if value.is_some() {
                break;
            }
        }
        if number != entry {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(value) = &mut value {
                value.push('\n');
                value.push_str(line);
            }
        } else if value.is_some() {
            break;
        } else if let Some((name, rest)) = line.split_once(':')
            && name.eq_ignore_ascii_case("signed-by")
        {
            value = Some(rest.trim().to_owned());
        }
    }
    value
}

/// The `signed-by=` option of the line with that number, in deb822's form.
fn line_signed_by(text: &str, entry: usize) -> Option<String> {
    let line = text.lines().nth(entry.checked_sub(1)?)?;
    let options = line.split_once('[')?.1.split_once(']')?.0;
    let value = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))?;
    Some(value.replace(',', " "))
}

fn suite_source(site: &Site, archive: &Archive, suite: &str) -> String {
    let mut text = format!(
        "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: {}\nTargets: Packages\nLanguages: none\n",
        site.uri, archive.component
    );
    if let Some(signed_by) = &site.signed_by {
        text.push_str(&format!("Signed-By: {signed_by}\n"));
    }
    text
}

fn client_conf(folders: &[(&str, PathBuf)], sources: Option<&Path>) -> String {
    let mut text = String::from(concat!(
        // The machine's hooks are about the machine's own lists.
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n",
        // The unprivileged user apt downloads as cannot see into a home folder.
        "APT::Sandbox::User \"root\";\n",
        // A list that could not be fetched is an error, not a warning.
        "APT::Update::Error-Mode \"any\";\n",
        "Acquire::Languages \"none\";\n",
        "APT::Get::Show-Progress \"false\";\n",
    ));
    for (option, folder) in folders {
        text.push_str(&format!("{option} \"{}\";\n", folder.display()));
    }
    if let Some(sources) = sources {
        text.push_str(&format!(
            "Dir::Etc::SourceList \"{}\";\n",
            sources.display()
        ));
        text.push_str("Dir::Etc::SourceParts \"/dev/null\";\nDir::State::status \"/dev/null\";\n");
    }
    text
}

/// All bytes in a folder and its folders: what a download has got so far.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn package_in(dir: &Path, package: &Package) -> anyhow::Result<PathBuf> {
    // An epoch's colon is escaped in file names.
    let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(&start) && name.ends_with(".deb"))
    });
    found.with_context(|| format!("apt-get download left no {start}*.deb in {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Archive {
        Archive {
            origin: "Debian".into(),
            label: "Debian".into(),
            component: "main".into(),
            package_prefix: "linux-source-".into(),
            suites: vec!["sid".into()],
        }
    }

    fn version(text: &str) -> Version {
        Version::parse(text).expect("a version")
    }

    #[test]
    fn the_archive_is_found_among_other_targets() {
        // apt 2.6 on Debian 12, with the site's name changed.
        let text = "Packages|Debian|Debian-Security|main|/etc/apt/sources.list.d/debian.sources:2|http://m.example/debian-security\n\
                    DEP-11|Debian|Debian|main|/etc/apt/sources.list.d/debian.sources:1|http://m.example/debian\n\
                    Packages|$(ORIGIN)|$(LABEL)|main|/etc/apt/sources.list.d/debian.sources:1|http://m.example/debian\n\
                    Packages|Debian|Debian|contrib|/etc/apt/sources.list:3|http://m.example/debian\n\
                    Packages|Debian|Debian|main|/etc/apt/sources.list:4|http://m.example/debian\n\
                    nonsense\n";
        let targets: Vec<Target> = text.lines().filter_map(Target::parse).collect();
        assert_eq!(targets.len(), 3);
        let target = targets
            .into_iter()
            .find(|target| target.is_of(&archive()))
            .expect("found");
        assert_eq!(
            (target.file.as_path(), target.entry),
            (Path::new("/etc/apt/sources.list"), 4)
        );
        assert_eq!(target.site, "http://m.example/debian");
    }

    #[test]
    fn the_keys_of_a_stanza_are_its_own() {
        let text = "# Head.\n\nTypes: deb\n# http://old.example\nURIs: http://m.example/debian\nSigned-By: /k/a.gpg\n\n\n\
                    Types: deb\nsigned-by:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\nSuites: sid\n\nTypes: deb\n";
        assert_eq!(stanza_signed_by(text, 1).as_deref(), Some("/k/a.gpg"));
        assert_eq!(
            stanza_signed_by(text, 2).as_deref(),
            Some("\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc")
        );
        assert_eq!(stanza_signed_by(text, 3), None);
        assert_eq!(stanza_signed_by(text, 9), None);
    }

    #[test]
    fn the_keys_of_a_line_are_its_own() {
        let text = "deb http://m.example/debian sid main\ndeb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] http://m.example/debian sid main\n";
        assert_eq!(line_signed_by(text, 1), None);
        assert_eq!(
            line_signed_by(text, 2).as_deref(),
            Some("/k/a.gpg /k/b.gpg")
        );
        assert_eq!(line_signed_by(text, 0), None);
        assert_eq!(line_signed_by(text, 3), None);
    }

    #[test]
    fn a_suite_s_source_asks_for_packages_only() {
        let site = Site {
            uri: "http://m.example/debian".into(),
            signed_by: Some("/k/a.gpg".into()),
        };
        let expected = "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\nTargets: Packages\n\
                        Languages: none\nSigned-By: /k/a.gpg\n";
        assert_eq!(suite_source(&site, &archive(), "sid"), expected);
    }

    #[test]
    fn the_newest_released_kernel_is_chosen() {
        let madison = " linux-source-7.2 | 7.2.9-1 | http://m.example/debian sid/main amd64 Packages\n\
                       linux-source-7.3 | 7.3.4-1~bpo13+1 | http://m.example/debian sid/main amd64 Packages\n\
                       linux-source-7.3 | 7.3.3-1 | http://m.example/debian sid/main amd64 Packages\n\
                       linux-source-7.4 | 7.4~rc3-1~exp1 | http://m.example/debian experimental/main amd64 Packages\n\
                       linux-source-7.10 | not a version | x\n";
        let packages = parse_madison(madison);
        assert_eq!(packages.len(), 4);
        let best = newest(&packages, &version("7.2")).expect("one is new enough");
        assert_eq!(best.name_and_version(), "linux-source-7.3=7.3.4-1~bpo13+1");
        assert_eq!(best.upstream, version("7.3.4"));
        assert_eq!(newest(&packages, &version("7.4")), None);
    }

    #[test]
    fn of_equal_kernels_the_newest_package_is_chosen() {
        let packages =
            parse_madison(" linux-source-7.3 | 7.3.4-2 | x\n linux-source-7.3 | 1:7.3.4-1 | x\n");
        assert_eq!(
            newest(&packages, &version("7.2")).map(|p| p.version.as_str()),
            Some("7.3.4-2")
        );
    }

    #[test]
    fn only_versioned_sources_are_kernels() {
        for (name, expected) in [
            ("linux-source-7.3", true),
            ("linux-source-rt", false),
            ("linux-source-7", false),
            ("x", false),
        ] {
            assert_eq!(is_kernel_source(name, "linux-source-"), expected, "{name}");
        }
    }

    #[test]
    fn a_record_without_a_hash_is_refused() {
        let record = "Package: a\nSize: 166780612\nSHA256: 703e\n";
        assert_eq!(
            parse_record(record),
            Some(PackageFile {
                size: 166_780_612,
                sha256: "703e".into()
            })
        );
        assert_eq!(parse_record("Package: a\nSize: 12\n"), None);
        assert_eq!(parse_record("Size: many\nSHA256: 1\n"), None);
    }
}
