// SPDX-License-Identifier: GPL-2.0-only

//! The configuration a kernel is wanted with, and whether it got it.
//!
//! In: fragments (`CONFIG_NAME=value`, each with its reason in a comment on the line above) and a `.config`. Out: the
//! wanted options with their place, and those that kconfig dropped.
//! Does not run kconfig.
//! Source: `Documentation/kbuild/kconfig.rst` and `scripts/kconfig/confdata.c`, Linux 7.3.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::error::Error;

/// One option of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// With its prefix: `CONFIG_SMP`.
    pub option: String,
    /// As in a `.config`: `y`, `16`, `"text"`; `n` for absent.
    pub value: String,
    /// The fragment.
    pub file: PathBuf,
    /// Counted from 1; 0 of one that follows from the whole file.
    pub line: usize,
}

/// An option that the kernel does not have as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// What was wanted, and where that is said.
    pub wanted: Wanted,
    /// The value it has; none if it is absent.
    pub got: Option<String>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted {
            option,
            value,
            file,
            line,
        } = &self.wanted;
        let wanted = if value == "n" { "not set" } else { value };
        let got = self.got.as_deref().unwrap_or("not set");
        let file = file.display();
        write!(f, "{option}: wanted {wanted}, got {got} ({file}")?;
        match line {
            0 => f.write_str(")"),
            line => write!(f, ":{line})"),
        }
    }
}

/// The options of all fragments, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragments(Vec<Wanted>);

impl Fragments {
    /// Reads every `*.config` of a folder, in the order of their names.
    ///
    /// # Errors
    /// `Fragment` with file and line for what is no option, has no reason or contradicts another one.
    pub fn of_dir(dir: &Path) -> Result<Self, Error> {
        let entries =
            std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in entries {
            files.push(
                entry
                    .with_context(|| format!("cannot read {}", dir.display()))?
                    .path(),
            );
        }
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "config")
        });
        files.sort();
        Self::of_files(&files)
    }

    /// Reads the given fragments.
    ///
    /// # Errors
    /// As `of_dir`.
    pub fn of_files(files: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Self(Vec::new());
        for file in files {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            for wanted in parse_fragment(file, &text)? {
                all.add(wanted)?;
            }
        }
        Ok(all)
    }

    /// Options that two finished configurations have with other values: as the second has them. `file` is the place that
    /// messages name.
    pub fn differences(first: &Config, second: &Config, file: &Path) -> Self {
        let names: BTreeSet<&String> = first.0.keys().chain(second.0.keys()).collect();
        let differs = names
            .into_iter()
            .filter(|name| first.get(name) != second.get(name));
        let wanted = differs.map(|name| Wanted {
            option: name.clone(),
            value: second.get(name).unwrap_or("n").to_owned(),
            file: file.to_owned(),
            line: 0,
        });
        Self(wanted.collect())
    }

    /// These options, each of which is there once.
    pub fn of_wanted(wanted: Vec<Wanted>) -> Self {
        Self(wanted)
    }

    /// The options.
    pub fn wanted(&self) -> &[Wanted] {
        &self.0
    }

    /// The options alone, sorted: the same for fragments that differ in comments or order only.
    pub fn canonical(&self) -> String {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .map(|Wanted { option, value, .. }| format!("{option}={value}\n"))
            .collect();
        lines.sort();
        lines.concat()
    }

    /// These with others put over them: an option that both set is as the others want it.
    pub fn overlaid_by(&self, over: &Self) -> Self {
        let is_kept = |wanted: &&Wanted| over.0.iter().all(|o| o.option != wanted.option);
        let kept = self.0.iter().filter(is_kept);
        Self(kept.chain(&over.0).cloned().collect())
    }

    /// A `.config` with the options put in place of what it says about them, for `make olddefconfig` to complete.
    pub fn merged_into(&self, config: &str) -> String {
        let is_wanted = |line: &&str| {
            option_of(line).is_some_and(|(option, _)| self.0.iter().any(|w| w.option == option))
        };
        let kept = config
            .lines()
            .filter(|line| !is_wanted(line))
            .map(|line| format!("{line}\n"));
        let set = self
            .0
            .iter()
            .map(|Wanted { option, value, .. }| match value.as_str() {
                "n" => format!("# {option} is not set\n"),
                _ => format!("{option}={value}\n"),
            });
        kept.chain(set).collect()
    }

    /// The options that a finished `.config` does not have as wanted, in the fragments' order.
    pub fn dropped_by(&self, config: &Config) -> Vec<Dropped> {
        let got = |wanted: &Wanted| config.get(&wanted.option).map(str::to_owned);
        let met =
            |wanted: &Wanted, got: &Option<String>| got.as_deref().unwrap_or("n") == wanted.value;
        self.0
            .iter()
            .map(|wanted| (wanted, got(wanted)))
            .filter(|(wanted, got)| !met(wanted, got))
            .map(|(wanted, got)| Dropped {
                wanted: wanted.clone(),
                got,
            })
            .collect()
    }

    fn add(&mut self, wanted: Wanted) -> Result<(), Error> {
        if let Some(earlier) = self
            .0
            .iter()
            .find(|earlier| earlier.option == wanted.option)
        {
            let message = format!(
                "{} is already set in {}:{}",
                wanted.option,
                earlier.file.display(),
                earlier.line
            );
            return Err(Error::Fragment {
                file: wanted.file,
                line: wanted.line,
                message,
            });
        }
        self.0.push(wanted);
        Ok(())
    }
}

/// A finished configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// Reads a `.config`'s text. Lines that set nothing are skipped.
    pub fn parse(text: &str) -> Self {
        let set = text
            .lines()
            .filter_map(option_of)
            .filter_map(|(option, value)| Some((option.to_owned(), value?.to_owned())));
        Self(set.collect())
    }

    /// The value of an option, as written there; none if it is not set.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(String::as_str)
    }

    /// The value of a string option without its quotes.
    pub fn text(&self, option: &str) -> Option<&str> {
        self.get(option)?.strip_prefix('"')?.strip_suffix('"')
    }
}

/// The option a `.config` line is about, and its value if it is set.
fn option_of(line: &str) -> Option<(&str, Option<&str>)> {
    if let Some(unset) = line
        .strip_prefix("# ")
        .and_then(|rest| rest.strip_suffix(" is not set"))
    {
        return is_option(unset).then_some((unset, None));
    }
    let (option, value) = line.split_once('=')?;
    is_option(option).then_some((option, Some(value)))
}

fn is_option(name: &str) -> bool {
    name.strip_prefix("CONFIG_").is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn parse_fragment(file: &Path, text: &str) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    let mut has_reason = false;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let wrong = |message: &str| Error::Fragment {
            file: file.to_owned(),
            line: line_number,
            message: message.to_owned(),
        };
        let line = line.trim_end();
        if line.is_empty() {
            has_reason = false;
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            if option_of(line).is_some() {
                return Err(wrong("an absent option is written CONFIG_NAME=n here"));
            }
            has_reason = !comment.trim().is_empty();
            continue;
        }
        let (option, value) = match option_of(line) {
            Some((option, Some(value))) if !value.is_empty() => (option, value),
            _ => return Err(wrong("neither a comment nor CONFIG_NAME=value")),
        };
        if !has_reason {
            return Err(wrong(&format!(
                "{option} has no reason in a comment on the line above"
            )));
        }
        has_reason = false;
        wanted.push(Wanted {
            option: option.to_owned(),
            value: value.to_owned(),
            file: file.to_owned(),
            line: line_number,
        });
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: &str = "# A head.\n\n# Two CPUs.\nCONFIG_SMP=y\n# Sixteen.\nCONFIG_NR_CPUS=16\n# Costs time.\nCONFIG_VT=n\n";

    fn fragments(text: &str) -> Fragments {
        let mut all = Fragments(Vec::new());
        for wanted in parse_fragment(Path::new("a.config"), text).expect("a fragment") {
            all.add(wanted).expect("no contradiction");
        }
        all
    }

    fn check(text: &str, line: usize, part: &str) {
        let error = parse_fragment(Path::new("a.config"), text).expect_err(part);
        assert!(
            error.to_string().starts_with(&format!("a.config:{line}: ")),
            "{error}"
        );
        assert!(error.to_string().contains(part), "{error}");
    }

    #[test]
    fn every_option_of_the_repository_has_its_reason() {
        let kbuild = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kbuild");
        let fragments = Fragments::of_dir(&kbuild.join("config")).expect("fragments with reasons");
        assert!(
            fragments.wanted().len() > 50,
            "only {} options",
            fragments.wanted().len()
        );
        let required = Fragments::of_files(&[kbuild.join("required.config")])
            .expect("required options with reasons");
        for required in required.wanted() {
            let wanted = fragments
                .wanted()
                .iter()
                .find(|wanted| wanted.option == required.option);
            assert_eq!(
                wanted.map(|w| &w.value),
                Some(&required.value),
                "{} is required but not built",
                required.option
            );
        }
    }

    #[test]
    fn the_debug_kernel_changes_something_and_takes_nothing_that_runs_need() {
        let kbuild = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kbuild");
        let fragments = |folder: &str| Fragments::of_dir(&kbuild.join(folder)).expect("fragments");
        let (base, debug) = (fragments("config"), fragments("config/debug"));
        for wanted in debug.wanted() {
            let same = |w: &&Wanted| w.option == wanted.option && w.value == wanted.value;
            let earlier = base.wanted().iter().find(same);
            assert_eq!(earlier, None, "{} is set so already", wanted.option);
        }
        let required = Fragments::of_files(&[kbuild.join("required.config")]).expect("a fragment");
        let config = Config::parse(&base.overlaid_by(&debug).canonical());
        assert_eq!(required.dropped_by(&config), []);
    }

    #[test]
    fn an_overlay_wins_where_both_set_an_option_and_is_checked_so() {
        let over = fragments("# Leaks are looked for.\nCONFIG_VT=y\n# New.\nCONFIG_KASAN=y\n");
        let both = fragments(FRAGMENT).overlaid_by(&over);
        assert_eq!(
            both.canonical(),
            "CONFIG_KASAN=y\nCONFIG_NR_CPUS=16\nCONFIG_SMP=y\nCONFIG_VT=y\n"
        );
        let config = Config::parse("CONFIG_SMP=y\nCONFIG_NR_CPUS=16\n# CONFIG_VT is not set\n");
        let dropped: Vec<String> = both
            .dropped_by(&config)
            .iter()
            .map(Dropped::to_string)
            .collect();
        let expected = [
            "CONFIG_VT: wanted y, got not set (a.config:2)",
            "CONFIG_KASAN: wanted y, got not set (a.config:4)",
        ];
        assert_eq!(dropped, expected);
    }

    #[test]
    fn what_is_no_fragment_names_its_line() {
        check("CONFIG_SMP=y\n", 1, "no reason");
        check(
            "# Why.\nCONFIG_SMP=y\nCONFIG_VT=n\n",
            3,
            "CONFIG_VT has no reason",
        );
        check("# Why.\n\nCONFIG_SMP=y\n", 3, "no reason");
        check("#\nCONFIG_SMP=y\n", 2, "no reason");
        check("# Why.\nSMP=y\n", 2, "CONFIG_NAME=value");
        check("# Why.\nCONFIG_SMP=\n", 2, "CONFIG_NAME=value");
        check("# CONFIG_VT is not set\n", 1, "CONFIG_NAME=n");
    }

    #[test]
    fn a_contradiction_names_both_places() {
        let mut all = fragments(FRAGMENT);
        let again = Wanted {
            option: "CONFIG_SMP".into(),
            value: "n".into(),
            file: "b.config".into(),
            line: 7,
        };
        let error = all.add(again).expect_err("set twice");
        assert_eq!(
            error.to_string(),
            "b.config:7: CONFIG_SMP is already set in a.config:4"
        );
    }

    #[test]
    fn a_dropped_option_names_wanted_got_and_place() {
        let all = fragments(FRAGMENT);
        let kept = "CONFIG_SMP=y\nCONFIG_NR_CPUS=16\n# CONFIG_VT is not set\n";
        assert_eq!(all.dropped_by(&Config::parse(kept)), []);
        let config = Config::parse("# CONFIG_SMP is not set\nCONFIG_NR_CPUS=1\nCONFIG_VT=y\n");
        let dropped: Vec<String> = all
            .dropped_by(&config)
            .iter()
            .map(Dropped::to_string)
            .collect();
        let expected = [
            "CONFIG_SMP: wanted y, got not set (a.config:4)",
            "CONFIG_NR_CPUS: wanted 16, got 1 (a.config:6)",
            "CONFIG_VT: wanted not set, got y (a.config:8)",
        ];
        assert_eq!(dropped, expected);
    }

    #[test]
    fn a_module_is_not_built_in() {
        let dropped = fragments("# Why.\nCONFIG_VIRTIO_CONSOLE=y\n")
            .dropped_by(&Config::parse("CONFIG_VIRTIO_CONSOLE=m\n"));
        assert_eq!(dropped.len(), 1);
    }

    #[test]
    fn merging_replaces_what_the_base_says() {
        let merged = fragments(FRAGMENT)
            .merged_into("# CONFIG_SMP is not set\nCONFIG_VT=y\nCONFIG_NR=1\n# A comment\n");
        let expected =
            "CONFIG_NR=1\n# A comment\nCONFIG_SMP=y\nCONFIG_NR_CPUS=16\n# CONFIG_VT is not set\n";
        assert_eq!(merged, expected);
    }

    #[test]
    fn comments_and_order_do_not_change_the_canonical_text() {
        let other =
            "# Costs much time.\nCONFIG_VT=n\n# Two.\nCONFIG_SMP=y\n# 16.\nCONFIG_NR_CPUS=16\n";
        assert_eq!(
            fragments(FRAGMENT).canonical(),
            fragments(other).canonical()
        );
        assert_eq!(
            fragments(FRAGMENT).canonical(),
            "CONFIG_NR_CPUS=16\nCONFIG_SMP=y\nCONFIG_VT=n\n"
        );
    }

    #[test]
    fn string_options_lose_their_quotes() {
        let config = Config::parse("CONFIG_CC_VERSION_TEXT=\"clang 19 (x)\"\nCONFIG_HZ=250\n");
        assert_eq!(config.text("CONFIG_CC_VERSION_TEXT"), Some("clang 19 (x)"));
        assert_eq!(config.text("CONFIG_HZ"), None);
        assert_eq!(config.get("CONFIG_HZ"), Some("250"));
    }

    #[test]
    fn differences_are_as_the_second_has_them() {
        let first = Config::parse("CONFIG_A=y\nCONFIG_B=1\nCONFIG_C=y\n# CONFIG_D is not set\n");
        let second = Config::parse("CONFIG_A=y\nCONFIG_B=2\n# CONFIG_C is not set\nCONFIG_D=m\n");
        let differences = Fragments::differences(&first, &second, Path::new("bad.config"));
        let found = differences.canonical();
        assert_eq!(found, "CONFIG_B=2\nCONFIG_C=n\nCONFIG_D=m\n");
        let dropped = differences.dropped_by(&first);
        let shown = dropped.first().expect("one").to_string();
        assert_eq!(shown, "CONFIG_B: wanted 2, got 1 (bad.config)");
        assert_eq!(differences.dropped_by(&second), []);
    }
}
