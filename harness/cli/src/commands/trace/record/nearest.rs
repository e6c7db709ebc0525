// SPDX-License-Identifier: GPL-2.0-only

//! Why a pattern matches no function that can be traced, and what may have been meant.
//!
//! In: the pattern, the guest's `available_filter_functions`, the kernel's `System.map`, and the folder of its build. Out: a
//! sentence. Of a function that has no symbol, it is the build's debug information that says whether it was inlined, or
//! where there is none, its source and its object files.
//! Source: `kernel/trace/ftrace.c`, `kernel/trace/trace_events_filter.c` (`filter_parse_regex()`), Linux 7.3.

mod debug_info;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use debug_info::Answer;
use source::{Built, Definition, Linkage};

/// How many names are suggested.
const SUGGESTIONS: usize = 5;

/// What compilers put behind the name of a function that they have changed.
const CLONES: [&str; 6] = [".isra.", ".constprop.", ".part.", ".cold", ".llvm.", "$"];

/// Says why `pattern` matches nothing in the guest of a kernel that was built in `build_dir`.
pub(super) fn explain(
    pattern: &str,
    available: &str,
    system_map: &str,
    build_dir: &Path,
) -> String {
    let available: Vec<&str> = available
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let map = Map::parse(system_map);
    let why = map.why(pattern, build_dir);
    let near = nearest(pattern, &available);
    if near.is_empty() {
        why
    } else {
        format!("{why}; near it are {}", near.join(", "))
    }
}

/// Functions of the kernel's image.
struct Map<'a> {
    /// Addresses and names of code.
    functions: Vec<(u64, &'a str)>,
    /// Names of data.
    data: BTreeSet<&'a str>,
    /// Where code lies that is freed after the boot.
    init: Option<(u64, u64)>,
}

impl<'a> Map<'a> {
    fn parse(text: &'a str) -> Self {
        let mut map = Self {
            functions: Vec::new(),
            data: BTreeSet::new(),
            init: None,
        };
        let (mut init_begin, mut init_end) = (None, None);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            match name {
                "_sinittext" => init_begin = Some(address),
                "_einittext" => init_end = Some(address),
                _ if matches!(kind, "t" | "T" | "w" | "W") => map.functions.push((address, name)),
                _ => {
                    map.data.insert(name);
                }
            }
        }
        map.init = init_begin.zip(init_end);
        map
    }

    fn why(&self, pattern: &str, build_dir: &Path) -> String {
        let matched: Vec<&(u64, &str)> = self
            .functions
            .iter()
            .filter(|(_, name)| matches(pattern, name))
            .collect();
        let Some((_, first)) = matched.first() else {
            return self.why_absent(pattern, build_dir);
        };
        let in_init = |address: u64| {
            self.init
                .is_some_and(|(begin, end)| (begin..end).contains(&address))
        };
        let what = if is_glob(pattern) {
            match matched.as_slice() {
                [_] => format!("it matches only {first}, which"),
                several => format!("it matches {first} and {} others, which", several.len() - 1),
            }
        } else {
            "it is a function of this kernel, but".to_owned()
        };
        if matched.iter().all(|(address, _)| in_init(*address)) {
            format!("{what} is __init: its code is freed when the boot is over (--boot records it)")
        } else {
            format!("{what} cannot be traced: notrace, noinstr, or without an entry for ftrace")
        }
    }

    fn why_absent(&self, pattern: &str, build_dir: &Path) -> String {
        if self.data.contains(pattern) {
            return "it is data, not a function".to_owned();
        }
        let clone = self.functions.iter().find(|(_, name)| {
            let rest = name.strip_prefix(pattern);
            rest.is_some_and(|rest| CLONES.iter().any(|clone| rest.starts_with(clone)))
        });
        match clone {
            Some((_, name)) => format!("the compiler has made {name} of it"),
            None if is_glob(pattern) => "no function of this kernel has such a name".to_owned(),
            None => without_symbol(pattern, build_dir),
        }
    }
}

/// Why a build has no symbol of a function.
fn without_symbol(name: &str, build_dir: &Path) -> String {
    let defined = || {
        let source = source::of_build(build_dir)?;
        Some(source::definitions(&source, build_dir, name))
    };
    match debug_info::look_up(&build_dir.join("vmlinux"), name) {
        Ok(Answer::Inlined(place)) => {
            let place = place.map_or(String::new(), |place| format!(" ({place})"));
            format!("it is inlined wherever it is called{place}, by the build's debug information")
        }
        Ok(Answer::Absent) => {
            let left_out = defined().into_iter().flatten().next();
            let place = left_out.map_or(String::new(), |Definition { file, line, .. }| {
                format!(": {file}:{line} has it")
            });
            format!("it is not compiled in, by the build's debug information{place}")
        }
        Ok(Answer::None) => match defined() {
            Some(definitions) => by_source(&definitions),
            None => "this kernel has no such function: it is not compiled in, or inlined wherever it is called; which of \
                     them, is not known, for the build has neither debug information nor its source"
                .to_owned(),
        },
        Err(error) => format!(
            "this kernel has no such function: it is not compiled in, or inlined wherever it is called; which of them, is not \
             known: {error:#}"
        ),
    }
}

/// What the definitions of a function say about its having no symbol, where no debug information can.
fn by_source(definitions: &[Definition]) -> String {
    const BY_SOURCE: &str = "by its source, for the build has no debug information";
    let rank = |definition: &&Definition| match definition.built {
        Built::Yes => 0,
        Built::Header => 1,
        Built::Unknown => 2,
        Built::No => 3,
    };
    let Some(definition) = definitions.iter().min_by_key(rank) else {
        return "its source has no function of this name".to_owned();
    };
    let Definition {
        file,
        line,
        linkage,
        condition,
        built,
    } = definition;
    let unbuilt = definitions.iter().find(|other| other.built == Built::No);
    let what = match (built, linkage, condition) {
        (Built::Yes, Linkage::Exit, _) => {
            format!("it is __exit ({file}:{line}), which only a module has any use for")
        }
        (Built::Yes, Linkage::Static, None) => {
            format!("it is inlined wherever it is called ({file}:{line})")
        }
        (Built::Yes, Linkage::Static, Some(condition)) => format!(
            "it is inlined wherever it is called, or not compiled in: it is under {condition} ({file}:{line})"
        ),
        (Built::Yes, Linkage::Global, Some(condition)) => {
            format!("it is not compiled in: it is under {condition} ({file}:{line})")
        }
        (Built::Yes, Linkage::Global, None) => {
            format!("it is compiled ({file}:{line}), and the linker has left it out")
        }
        (Built::Header, ..) => match unbuilt {
            Some(other) => format!(
                "it is not compiled in: {}:{} is no part of this build, and {file}:{line} stands in for it, which is inlined",
                other.file, other.line
            ),
            None => format!("it is inlined wherever it is called ({file}:{line})"),
        },
        (Built::No, ..) => {
            format!("it is not compiled in: {file}:{line} is no part of this build")
        }
        (Built::Unknown, ..) => format!(
            "{file}:{line} has it; whether that is compiled in, is not known, for the build's object files are gone"
        ),
    };
    format!("{what}; {BY_SOURCE}")
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Whether a name is of a pattern's kind: `*` stands for anything, `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    // Where the last star was, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), name.get(in_name)) {
            (Some(b'*'), _) => {
                star = Some((at, in_name));
                at += 1;
            }
            (Some(wanted), Some(is)) if wanted == is || *wanted == b'?' => {
                at += 1;
                in_name += 1;
            }
            (None, None) => return true,
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                if taken >= name.len() {
                    return false;
                }
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                in_name = taken + 1;
            }
        }
    }
}

/// The names that differ least, of those that differ by less than half.
fn nearest<'a>(pattern: &str, available: &[&'a str]) -> Vec<&'a str> {
    let literal = pattern.trim_matches('*');
    let mut scored: Vec<(usize, &str)> = available
        .iter()
        .filter_map(|&name| {
            let distance = if !literal.is_empty() && name.contains(literal) {
                0
            } else {
                strsim::damerau_levenshtein(literal, name)
            };
            (distance * 2 < literal.len().max(2)).then_some((distance, name))
        })
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored
        .into_iter()
        .take(SUGGESTIONS)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "ffffffff81000000 T _text\nffffffff81000100 T vfs_read\nffffffff81000200 t vfs_write\n\
        ffffffff81000300 t do_thing.isra.0\nffffffff81000400 T sched_clock_noinstr\n\
        ffffffff82000000 D jiffies\nffffffff83000000 T _sinittext\nffffffff83000010 t start_it\n\
        ffffffff83000100 T _einittext\n";
    const AVAILABLE: &str = "vfs_read\nvfs_write\nvfs_readv [module]\nschedule\n";

    #[test]
    fn each_reason_is_told_from_the_others() {
        // Neither a vmlinux nor a source.
        let folder = tempfile::tempdir().expect("a folder");
        for (pattern, parts) in [
            (
                "vfs_reaad",
                &["no such function", "near it are vfs_read"][..],
            ),
            ("start_it", &["__init", "--boot"]),
            ("start_*", &["matches only start_it", "__init"]),
            ("sched_clock_noinstr", &["notrace, noinstr"]),
            ("do_thing", &["has made do_thing.isra.0 of it"]),
            ("jiffies", &["data, not a function"]),
            ("zzzzzzzzzz", &["no such function", "is not known: "]),
            (
                "zzzzzzzzz*",
                &["no function of this kernel has such a name"],
            ),
        ] {
            let text = explain(pattern, AVAILABLE, MAP, folder.path());
            assert!(
                parts.iter().all(|part| text.contains(part)),
                "{pattern}: {text}"
            );
        }
        let text = explain("zzzzzzzzzz", AVAILABLE, MAP, folder.path());
        assert!(!text.contains("near"), "{text}");
    }

    #[test]
    fn source_tells_inlined_from_left_out() {
        let definition = |file: &str, linkage, condition: Option<&str>, built| Definition {
            file: file.to_owned(),
            line: 7,
            linkage,
            condition: condition.map(str::to_owned),
            built,
        };
        let config = Some("#ifdef CONFIG_A");
        let (global, header) = (Linkage::Global, Built::Header);
        for (definitions, expected) in [
            (vec![], "its source has no function of this name"),
            (
                vec![definition("a.c", Linkage::Static, None, Built::Yes)],
                "inlined wherever it is called (a.c:7); by its source",
            ),
            (
                vec![definition("a.c", Linkage::Static, config, Built::Yes)],
                "or not compiled in: it is under #ifdef CONFIG_A (a.c:7)",
            ),
            (
                vec![definition("a.c", global, config, Built::Yes)],
                "it is not compiled in: it is under #ifdef CONFIG_A (a.c:7)",
            ),
            (
                vec![definition("a.c", global, None, Built::Yes)],
                "the linker has left it out",
            ),
            (
                vec![definition("a.c", Linkage::Exit, None, Built::Yes)],
                "it is __exit",
            ),
            (
                vec![definition("a.h", Linkage::Static, None, header)],
                "inlined wherever it is called (a.h:7)",
            ),
            (
                vec![
                    definition("a.c", global, None, Built::No),
                    definition("a.h", Linkage::Static, config, header),
                ],
                "not compiled in: a.c:7 is no part of this build, and a.h:7 stands in for it",
            ),
            (
                vec![definition("a.c", global, None, Built::No)],
                "not compiled in: a.c:7 is no part of this build",
            ),
            (
                vec![definition("a.c", global, None, Built::Unknown)],
                "object files are gone",
            ),
        ] {
            let text = by_source(&definitions);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn globs_match_as_the_kernels_do() {
        for (pattern, name, is) in [
            ("vfs_*", "vfs_read", true),
            ("*read", "vfs_read", true),
            ("*s_r*", "vfs_read", true),
            ("v*s*d", "vfs_read", true),
            ("vfs_rea?", "vfs_read", true),
            ("vfs_rea", "vfs_read", false),
            ("*write", "vfs_read", false),
            ("*", "", true),
            ("", "", true),
            ("a*b*c", "aXbXbX", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
