// SPDX-License-Identifier: GPL-2.0-only

//! What a kernel's source says of a function that the build has no symbol of.
//!
//! In: the source, the folder of the build, a name. Out: where it is defined, and whether the build has compiled that.
//! A reader of C by its layout, not a compiler: a definition begins in the first column, as the kernel's coding style has
//! it; those that macros make (`SYSCALL_DEFINE`) are not seen.
//! Source: `Documentation/process/coding-style.rst`, `scripts/Makefile.build`, Linux 7.3.

use std::fs;
use std::path::{Path, PathBuf};

use memchr::memmem;

/// Folders of the source without code of the kernel itself, or of other architectures.
const OTHER_FOLDERS: [&str; 6] = [
    "Documentation",
    "LICENSES",
    "samples",
    "scripts",
    "tools",
    "usr",
];

/// The architecture that kernels are built for here.
const ARCHITECTURE: &str = "x86";

/// Larger files are tables of registers.
const LARGEST: u64 = 1 << 20;

/// How far behind a name its parameters and its body begin at the latest.
const HEAD: usize = 4096;

/// A definition of a function.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// Relative to the source.
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) linkage: Linkage,
    /// The innermost condition that it stands under, as it is written.
    pub(super) condition: Option<String>,
    pub(super) built: Built,
}

/// Who can call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linkage {
    /// The rest of the kernel: the compiler always makes code of it.
    Global,
    /// Its own file, or those that include it.
    Static,
    /// The same, and the build throws it away (`__exit`) where there is no module to unload.
    Exit,
}

/// Whether what it stands in was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Built {
    Yes,
    No,
    /// It stands in a header: wherever that is included.
    Header,
    /// The build has not kept its object files.
    Unknown,
}

/// The source of a build: its own folder, or where it says.
pub(super) fn of_build(build_dir: &Path) -> Option<PathBuf> {
    let candidates = [build_dir.join("source"), build_dir.to_owned()];
    candidates
        .into_iter()
        .find(|folder| folder.join("Kbuild").is_file() && folder.join("init/main.c").is_file())
}

/// All definitions of a function, by their files.
pub(super) fn definitions(source: &Path, build_dir: &Path, name: &str) -> Vec<Definition> {
    let finder = memmem::Finder::new(name);
    let mut found = Vec::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        // What cannot be read defines nothing that anybody could name.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(relative) = path.strip_prefix(source) else {
                continue;
            };
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                if is_of_the_kernel(relative) {
                    folders.push(path);
                }
                continue;
            }
            let is_code = path.extension().is_some_and(|end| end == "c" || end == "h");
            if !kind.is_file() || !is_code || entry.metadata().map_or(true, |of| of.len() > LARGEST)
            {
                continue;
            }
            let Ok(bytes) = fs::read(&path) else {
                continue;
            };
            if finder.find(&bytes).is_none() {
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            for at in text.match_indices(name).map(|(at, _)| at) {
                let Some((linkage, begin)) = definition_at(&text, at, name) else {
                    continue;
                };
                found.push(Definition {
                    file: relative.to_string_lossy().into_owned(),
                    line: text.get(..at).unwrap_or_default().matches('\n').count() + 1,
                    linkage,
                    condition: condition_at(&text, begin),
                    built: built(source, build_dir, relative),
                });
            }
        }
    }
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found
}

fn is_of_the_kernel(folder: &Path) -> bool {
    let mut parts = folder.iter();
    match (parts.next(), parts.next()) {
        (Some(first), Some(second)) if first == "arch" => second == ARCHITECTURE,
        (Some(first), _) => !OTHER_FOLDERS.iter().any(|other| first == *other),
        (None, _) => true,
    }
}

/// Whether a name that stands there is that of a function being defined: who can call it, and where that begins.
fn definition_at(text: &str, at: usize, name: &str) -> Option<(Linkage, usize)> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (before, after) = (text.get(..at)?, text.get(at + name.len()..)?);
    if before.bytes().next_back().is_some_and(is_word) || !after.starts_with('(') {
        return None;
    }
    let mut begin = before.rfind('\n').map_or(0, |end| end + 1);
    if text
        .get(begin..at)?
        .trim_start_matches('*')
        .trim()
        .is_empty()
    {
        // What it returns stands on the line before.
        let end = begin.checked_sub(1)?;
        begin = text.get(..end)?.rfind('\n').map_or(0, |end| end + 1);
    }
    let head = text.get(begin..at)?;
    let is_head = head.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && !head.contains(['(', ';', '=', '{', '}', '"', ',']);
    if !is_head || !has_body(after) {
        return None;
    }
    let has = |word: &str| {
        head.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|is| is == word)
    };
    let linkage = if has("__exit") {
        Linkage::Exit
    } else if has("static") {
        Linkage::Static
    } else {
        Linkage::Global
    };
    Some((linkage, begin))
}

/// Whether a body follows the parameters, and not the end of a declaration.
fn has_body(after: &str) -> bool {
    let mut depth = 0usize;
    for (place, byte) in after.bytes().enumerate().take(HEAD) {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 && place > 0 => return true,
            b';' | b'=' if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

/// The innermost `#if` that a place stands under, but for the one around a whole header.
fn condition_at(text: &str, place: usize) -> Option<String> {
    let mut open: Vec<String> = Vec::new();
    let before = text.get(..place).unwrap_or_default();
    for line in before.lines() {
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            continue;
        };
        let directive = directive.trim();
        if directive.starts_with("if") {
            open.push(format!("#{directive}"));
        } else if directive.starts_with("else") {
            if let Some(last) = open.last_mut() {
                *last = format!("#else of {last}");
            }
        } else if directive.starts_with("elif") {
            if let Some(last) = open.last_mut() {
                *last = format!("#{directive}");
            }
        } else if directive.starts_with("endif") {
            open.pop();
        }
    }
    let is_guard = |condition: &str| {
        condition.strip_prefix("#ifndef ").is_some_and(|name| {
            let name = name.trim();
            !name.starts_with("CONFIG_") && before.contains(&format!("#define {name}"))
        })
    };
    open.pop().filter(|condition| !is_guard(condition))
}

/// Whether the build has an object of a file, or of one beside it that includes it (`kernel/sched/build_policy.c`).
fn built(source: &Path, build_dir: &Path, file: &Path) -> Built {
    if file.extension().is_some_and(|end| end == "h") {
        return Built::Header;
    }
    let has_object = |file: &Path| build_dir.join(file).with_extension("o").is_file();
    if !has_object(Path::new("init/main.c")) {
        return Built::Unknown;
    }
    if has_object(file) {
        return Built::Yes;
    }
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Built::No;
    };
    let include = format!("#include \"{}\"", name.to_string_lossy());
    let beside = fs::read_dir(source.join(folder))
        .into_iter()
        .flatten()
        .flatten();
    let is_included = beside
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "c"))
        .filter(|entry| has_object(&folder.join(entry.file_name())))
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .any(|text| text.contains(&include));
    if is_included { Built::Yes } else { Built::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "#include <a.h>\n\
        int global(int x)\n{\n\treturn only(x) + declared(x);\n}\n\
        #ifdef CONFIG_A\nstatic int\nonly(int x) __releases(x)\n{\n}\n#else\nstatic void other(void) { }\n#endif\n\
        extern int declared(int x);\nstatic int (*pointer)(int) = global;\nvoid __exit gone(void)\n{\n}\n\
        struct s *first(struct s *s, int (*call)(int))\n{\n}\n";

    fn folder() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, build) = (folder.path().join("source"), folder.path().join("build"));
        for (file, text) in [
            ("source/init/main.c", ""),
            ("source/kernel/a.c", FILE),
            ("source/kernel/all.c", "#include \"part.c\"\n"),
            ("source/kernel/part.c", "static void in_part(void)\n{\n}\n"),
            ("source/fs/left_out.c", "void left_out(void)\n{\n}\n"),
            (
                "source/include/a.h",
                "#ifndef A_H\n#define A_H\nstatic inline int small(void) { return 0; }\n#endif\n",
            ),
            ("source/tools/a.c", FILE),
            ("source/arch/arm/a.c", FILE),
            ("build/init/main.o", ""),
            ("build/kernel/a.o", ""),
            ("build/kernel/all.o", ""),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        (folder, source, build)
    }

    #[test]
    fn definitions_are_told_from_declarations_and_calls() {
        let (_folder, source, build) = folder();
        let known = [
            ("global", "kernel/a.c", 2, Linkage::Global, None, Built::Yes),
            (
                "only",
                "kernel/a.c",
                8,
                Linkage::Static,
                Some("#ifdef CONFIG_A"),
                Built::Yes,
            ),
            (
                "other",
                "kernel/a.c",
                12,
                Linkage::Static,
                Some("#else of #ifdef CONFIG_A"),
                Built::Yes,
            ),
            ("gone", "kernel/a.c", 16, Linkage::Exit, None, Built::Yes),
            ("first", "kernel/a.c", 19, Linkage::Global, None, Built::Yes),
            (
                "in_part",
                "kernel/part.c",
                1,
                Linkage::Static,
                None,
                Built::Yes,
            ),
            (
                "left_out",
                "fs/left_out.c",
                1,
                Linkage::Global,
                None,
                Built::No,
            ),
            (
                "small",
                "include/a.h",
                3,
                Linkage::Static,
                None,
                Built::Header,
            ),
        ];
        for (name, file, line, linkage, condition, built) in known {
            let definition = Definition {
                file: file.to_owned(),
                line,
                linkage,
                condition: condition.map(str::to_owned),
                built,
            };
            assert_eq!(definitions(&source, &build, name), [definition], "{name}");
        }
        for name in ["declared", "pointer", "call", "glob", "nothing"] {
            assert_eq!(definitions(&source, &build, name), [], "{name}");
        }
        fs::remove_file(build.join("init/main.o")).expect("it was there");
        let found = definitions(&source, &build, "left_out");
        assert_eq!(found[0].built, Built::Unknown);
    }
}
