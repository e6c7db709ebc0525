// SPDX-License-Identifier: GPL-2.0-only

//! Bisects what has no order: kernel parameters, or config options.
//!
//! In: two files. Out: a smallest set of the differences between them that is bad.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use deferinit_kernel::build::{self, Choice, OwnConfig};
use deferinit_kernel::config::{Config, Fragments, Wanted};
use deferinit_kernel::git::Mark;
use deferinit_scenario::Machine;

use super::answer::{Culprit, Found};
use super::judge::{Bench, Candidate};
use super::with_config;
use crate::args::bisect::Bisect;
use crate::ddmin::{Outcome, ddmin};
use crate::exit::Failure;
use crate::prepare;

/// How many options a step names.
const NAMED: usize = 3;

/// What differs, and what to boot with some of it.
pub(super) struct Options<'a> {
    /// As they are shown.
    names: Vec<String>,
    variant: OfSet<'a>,
    arguments: &'a Bisect,
}

/// What a set of options makes.
type OfSet<'a> = Box<dyn Fn(&[usize]) -> Variant + 'a>;

/// A set of options, to be booted.
struct Variant {
    kernel: Choice,
    command_line: Vec<String>,
}

impl Options<'_> {
    /// Finds which of the options it takes.
    ///
    /// # Errors
    /// The ends are not what they are said to be, or a boot cannot be made.
    pub(super) fn bisect(&self, bench: &mut Bench<'_>) -> Result<Found, Failure> {
        let all: Vec<usize> = (0..self.names.len()).collect();
        bench.good(self.candidate(&[]))?;
        bench.bad(self.candidate(&all))?;
        // Of what was booted, in its order.
        let mut tested = vec![(Vec::new(), Mark::Good), (all, Mark::Bad)];
        let culprits = ddmin(self.names.len(), |set| {
            let mark = bench.judge(self.candidate(set))?;
            tested.push((set.to_vec(), mark));
            Ok::<_, Failure>(match mark {
                Mark::Good => Outcome::Good,
                Mark::Bad => Outcome::Bad,
                Mark::Skip => Outcome::Unknown,
            })
        })?;
        let is_part = |set: &[usize]| set.iter().all(|option| culprits.contains(option));
        let good = tested
            .iter()
            .enumerate()
            .filter(|(_, (set, mark))| *mark == Mark::Good && is_part(set));
        let last_good = good
            .max_by_key(|(_, (set, _))| set.len())
            .map(|(step, _)| step);
        // Without one of them it may be bad as well, where that could not be tested.
        let is_certain = !tested.iter().any(|(set, mark)| {
            *mark == Mark::Skip && set.len().saturating_add(1) == culprits.len() && is_part(set)
        });
        Ok(Found {
            first_bad: tested.iter().position(|(set, _)| *set == culprits),
            last_good,
            is_certain,
            culprits: culprits
                .iter()
                .filter_map(|option| self.names.get(*option))
                .map(|name| Culprit {
                    name: name.clone(),
                    subject: String::new(),
                })
                .collect(),
        })
    }

    fn candidate(&self, set: &[usize]) -> Candidate {
        let Variant {
            kernel,
            command_line,
        } = (self.variant)(set);
        let named: Vec<&str> = set
            .iter()
            .take(NAMED)
            .filter_map(|option| self.names.get(*option))
            .map(String::as_str)
            .collect();
        let more = if set.len() > NAMED { ", .." } else { "" };
        Candidate {
            name: format!("{} of {}", set.len(), self.names.len()),
            subject: format!("{}{more}", named.join(", ")),
            kernel,
            module_tree: self.arguments.module_tree.clone(),
            command_line,
        }
    }
}

/// The parameters in which two files differ.
///
/// # Errors
/// A file cannot be read or is no command line, or they do not differ.
pub(super) fn of_command_lines<'a>(
    bench: &Bench<'_>,
    arguments: &'a Bisect,
    good: &Path,
    bad: &Path,
) -> Result<Options<'a>, Failure> {
    let parameters = Parameters {
        good: words(&read(good)?).map_err(|error| of_file(good, error))?,
        bad: words(&read(bad)?).map_err(|error| of_file(bad, error))?,
    };
    let bytes = |words: &[String]| words.iter().map(|word| word.len() + 1).sum::<usize>();
    let own = bytes(&bench.scenario().machine.command_line);
    let most = own + bytes(&parameters.good) + bytes(&parameters.bad);
    if most > Machine::MAX_COMMAND_LINE {
        return Err(Failure::usage(anyhow!(
            "the parameters of both files and the scenario come to {most} bytes; at most {} fit on a command line",
            Machine::MAX_COMMAND_LINE
        )));
    }
    let keys = parameters.differing();
    refuse_no_difference(keys.is_empty(), good, bad)?;
    let kernel = prepare::choice(bench.project(), &arguments.kernel, bench.load());
    Ok(Options {
        names: keys.iter().map(|key| parameters.shown(key)).collect(),
        variant: Box::new(move |set| {
            let chosen = set.iter().filter_map(|option| keys.get(*option));
            let chosen: BTreeSet<&str> = chosen.map(String::as_str).collect();
            Variant {
                kernel: kernel.clone(),
                command_line: parameters.line(&chosen),
            }
        }),
        arguments,
    })
}

/// The options in which two configurations differ, once kconfig has completed them.
///
/// # Errors
/// A file cannot be read, it lacks what a run needs, or they do not differ.
pub(super) fn of_configs<'a>(
    bench: &Bench<'_>,
    arguments: &'a Bisect,
    good: &Path,
    bad: &Path,
) -> Result<Options<'a>, Failure> {
    let kernel = prepare::choice(bench.project(), &arguments.kernel, bench.load());
    let completed = |file: &Path| {
        build::completed(bench.session(), bench.kbuild(), &kernel, &read(file)?)
            .map_err(|error| Failure::from(error).context(file.display().to_string()))
    };
    let (good_text, bad_text) = (completed(good)?, completed(bad)?);
    let [before, after] = [&good_text, &bad_text].map(|text| Config::parse(text));
    let good_side = Fragments::differences(&after, &before, good);
    let bad_side = Fragments::differences(&before, &after, bad);
    refuse_no_difference(bad_side.wanted().is_empty(), good, bad)?;
    let shown = |(before, after): (&Wanted, &Wanted)| {
        format!("{}: {} -> {}", after.option, before.value, after.value)
    };
    let pairs = good_side.wanted().iter().zip(bad_side.wanted());
    Ok(Options {
        names: pairs.map(shown).collect(),
        variant: Box::new(move |set| {
            let pairs = good_side.wanted().iter().zip(bad_side.wanted());
            let side = |(option, (good, bad)): (usize, (&Wanted, &Wanted))| {
                if set.contains(&option) { bad } else { good }.clone()
            };
            // All of them: what another one brings along was not asked for.
            let wanted = Fragments::of_wanted(pairs.enumerate().map(side).collect());
            let config = OwnConfig {
                text: wanted.merged_into(&good_text),
                wanted,
            };
            Variant {
                kernel: with_config(&kernel, config),
                command_line: Vec::new(),
            }
        }),
        arguments,
    })
}

fn refuse_no_difference(is_same: bool, good: &Path, bad: &Path) -> Result<(), Failure> {
    if is_same {
        return Err(Failure::usage(anyhow!(
            "{} and {} have the same options: there is nothing to find",
            good.display(),
            bad.display()
        )));
    }
    Ok(())
}

/// Two command lines.
struct Parameters {
    good: Vec<String>,
    bad: Vec<String>,
}

impl Parameters {
    /// The names of parameters that one of them has and the other has not, or otherwise; in the order of the bad one.
    fn differing(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for key in self.bad.iter().chain(&self.good).map(|word| key(word)) {
            if of_key(&self.good, &key) != of_key(&self.bad, &key) && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// The good one with some parameters as the bad one has them.
    fn line(&self, chosen: &BTreeSet<&str>) -> Vec<String> {
        let mut line = Vec::new();
        let mut exchanged = BTreeSet::new();
        for (word, is_good) in self
            .good
            .iter()
            .map(|word| (word, true))
            .chain(self.bad.iter().map(|word| (word, false)))
        {
            let key = key(word);
            if !chosen.contains(key.as_str()) {
                line.extend(Some(word.clone()).filter(|_| is_good));
            } else if !exchanged.contains(&key) {
                line.extend(of_key(&self.bad, &key).into_iter().cloned());
                exchanged.insert(key);
            }
        }
        line
    }

    fn shown(&self, key: &str) -> String {
        let side = |words: &[String]| {
            let words: Vec<&str> = of_key(words, key).into_iter().map(String::as_str).collect();
            words.join(" ")
        };
        match (side(&self.good), side(&self.bad)) {
            (good, bad) if good.is_empty() => format!("with {bad}"),
            (good, bad) if bad.is_empty() => format!("without {good}"),
            (good, bad) => format!("{good} -> {bad}"),
        }
    }
}

/// The words of one parameter.
fn of_key<'a>(words: &'a [String], wanted: &str) -> Vec<&'a String> {
    words.iter().filter(|word| key(word) == wanted).collect()
}

/// Which parameter a word is of: `parameqn()` in `kernel/params.c` takes `-` and `_` for the same.
fn key(word: &str) -> String {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    name.replace('-', "_")
}

/// The words of a command line, as `next_arg()` in `lib/cmdline.c` takes it apart: quotes keep blanks together.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for letter in text.chars() {
        match letter {
            letter if letter.is_ascii_whitespace() && !is_quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            ' '..='~' => {
                is_quoted ^= letter == '"';
                word.push(letter);
            }
            other => return Err(format!("{other:?} cannot be on a command line")),
        }
    }
    if is_quoted {
        return Err(format!("the quotes in {word:?} do not end"));
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    if words.iter().any(|word| word == "--") {
        return Err("what stands behind -- is for init, and no parameter of the kernel".to_owned());
    }
    Ok(words)
}

fn of_file(file: &Path, error: String) -> Failure {
    Failure::usage(anyhow!("{}: {error}", file.display()))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .with_context(|| format!("cannot read {}", file.display()))
        .map_err(Failure::usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(good: &str, bad: &str) -> Parameters {
        Parameters {
            good: words(good).expect("a command line"),
            bad: words(bad).expect("a command line"),
        }
    }

    #[test]
    fn a_command_line_is_taken_apart_as_the_kernel_does() {
        let found = words("quiet  a=\"b c\"\n\"x=y z\"\n").expect("words");
        assert_eq!(found, ["quiet", "a=\"b c\"", "\"x=y z\""]);
        assert_eq!(words(" \n"), Ok(Vec::new()));
        for (text, part) in [
            ("a=\"b", "do not end"),
            ("a -- b", "for init"),
            ("é", "'é'"),
        ] {
            assert!(words(text).expect_err(text).contains(part), "{text}");
        }
    }

    #[test]
    fn parameters_are_exchanged_by_their_names() {
        let both = parameters(
            "quiet console=a hz=1 console=b old",
            "console=a console=c new-one quiet hz=2",
        );
        let keys = both.differing();
        assert_eq!(keys, ["console", "new_one", "hz", "old"]);
        let shown: Vec<String> = keys.iter().map(|key| both.shown(key)).collect();
        assert_eq!(
            shown,
            [
                "console=a console=b -> console=a console=c",
                "with new-one",
                "hz=1 -> hz=2",
                "without old"
            ]
        );
        let line = |chosen: &[&str]| both.line(&chosen.iter().copied().collect()).join(" ");
        assert_eq!(line(&[]), "quiet console=a hz=1 console=b old");
        assert_eq!(
            line(&["new_one"]),
            "quiet console=a hz=1 console=b old new-one"
        );
        assert_eq!(line(&["old"]), "quiet console=a hz=1 console=b");
        let all = line(&["console", "new_one", "hz", "old"]);
        assert_eq!(all, "quiet console=a console=c hz=2 new-one");
        let mut sorted: Vec<&str> = all.split(' ').collect();
        sorted.sort_unstable();
        let mut bad: Vec<&str> = both.bad.iter().map(String::as_str).collect();
        bad.sort_unstable();
        assert_eq!(sorted, bad);
        assert_eq!(parameters("a_b=1 c", "c a-b=1").differing(), ["a_b"]);
        assert_eq!(parameters("a b", "b a").differing(), [] as [&str; 0]);
    }
}
