// SPDX-License-Identifier: GPL-2.0-only

//! Dotted version numbers, as programs, packages and kernels print them.
//!
//! In: text. Out: a `Version` that compares number by number.
//! Does not know pre-releases: callers that care look at the text (`~rc`).
//! Source: the `--version` texts of the tools in `kbuild/requirements.toml`; `Makefile` of Linux 7.3.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A version such as `7.3.4`; missing parts count as zero when compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(Vec<u64>);

impl Version {
    /// Reads the digits and dots a text starts with: `7.3.4-1~bpo13+1` is 7.3.4.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let parts: Option<Vec<u64>> = text
            .get(..end)?
            .trim_end_matches('.')
            .split('.')
            .map(|part| part.parse().ok())
            .collect();
        parts.map(Self)
    }

    /// Finds the version in what a program prints about itself: the first word that starts with a digit, or with a
    /// `v` and a digit.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == ',')
            .map(|word| word.strip_prefix('v').unwrap_or(word))
            .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .find_map(Self::parse)
    }

    /// The first number: 19 of 19.1.7.
    pub fn major(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.0.len().max(other.0.len());
        let part = |version: &Self, at: usize| version.0.get(at).copied().unwrap_or(0);
        (0..longest)
            .map(|at| part(self, at).cmp(&part(other, at)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let version = Self::parse(&text).filter(|version| version.to_string() == text);
        version
            .ok_or_else(|| format!("`{text}` is not a version; allowed: numbers with dots, as 7.2"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        let version = |text| Version::parse(text).expect("a version");
        assert!(version("7.10") > version("7.9.3"));
        assert!(version("19.1.7") >= version("19"));
        assert!(version("0.71.0") < version("0.71.1"));
        assert_eq!(version("7.3"), version("7.3.0"));
        assert_eq!(version("7.3.4-1~bpo13+1").to_string(), "7.3.4");
    }

    #[test]
    fn what_tools_print_is_understood() {
        let cases = [
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3"),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
            ("flex 2.6.4", "2.6.4"),
            ("bison (GNU Bison) 3.8.2", "3.8.2"),
            ("bc 1.07.1", "1.7.1"),
            ("Debian clang version 19.1.7 (3~deb12u1)", "19.1.7"),
            ("Debian LLD 19.1.7 (compatible with GNU linkers)", "19.1.7"),
            (
                "LLVM (http://llvm.org/):\n  Debian LLVM version 19.1.7",
                "19.1.7",
            ),
            (
                "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)",
                "1.96.0",
            ),
            ("bindgen 0.73.2", "0.73.2"),
            ("kmod version 30", "30"),
            ("xz (XZ Utils) 5.4.1", "5.4.1"),
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)",
                "7.2.22",
            ),
            ("trace-cmd version 3.1.6 (not-a-git-repo)", "3.1.6"),
            ("Ubuntu clang version 19.1.1 (1ubuntu1~24.04.2)", "19.1.1"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Version::find(text).map(|v| v.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_without_a_version_has_none() {
        for text in ["", "no such option", "(", "v.", "99999999999999999999999"] {
            assert_eq!(Version::find(text).map(|v| v.to_string()), None, "{text}");
        }
    }

    #[test]
    fn a_version_in_a_data_file_is_exact() {
        assert!(Version::try_from("7.2".to_owned()).is_ok());
        assert!(Version::try_from("7.2-rc1".to_owned()).is_err());
        assert!(Version::try_from("new".to_owned()).is_err());
    }
}
