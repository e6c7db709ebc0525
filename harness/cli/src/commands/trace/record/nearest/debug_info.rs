// SPDX-License-Identifier: GPL-2.0-only

//! What a kernel's debug information says of a function that has no symbol.
//!
//! In: a vmlinux and a name. Out: where it was inlined, that there is no such function, or that the file cannot tell.
//! Source: DWARF 5, sections 3.3.8 (inlinable functions) and 7.20 (`DW_INL_inlined`); `CONFIG_DEBUG_INFO*`,
//! `lib/Kconfig.debug`, Linux 7.3.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use gimli::{AttributeValue, Dwarf, EndianSlice, RunTimeEndian, SectionId, UnitRef};
use object::read::ReadCache;
use object::{CompressionFormat, Object, ObjectSection};

/// The bytes of a section.
type Bytes<'a> = EndianSlice<'a, RunTimeEndian>;

/// What the debug information says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is none.
    None,
    /// The compiler has put it into its callers, wherever it is called; where it is defined, as `file:line`.
    Inlined(Option<String>),
    /// No part of the kernel has it.
    Absent,
}

/// Looks for a function that has no code of its own.
///
/// # Errors
/// If the file or its debug information cannot be read.
pub(super) fn look_up(vmlinux: &Path, name: &str) -> Result<Answer> {
    let what = || format!("the debug information of {}", vmlinux.display());
    let file = File::open(vmlinux).with_context(what)?;
    let cache = ReadCache::new(file);
    let object = object::File::parse(&cache).with_context(what)?;
    in_object(&object, name).with_context(what)
}

fn in_object<'a>(object: &object::File<'a, &'a ReadCache<File>>, name: &str) -> Result<Answer> {
    let endian = if object.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    };
    let has_any = object
        .section_by_name(SectionId::DebugInfo.name())
        .is_some_and(|section| section.size() > 0);
    if !has_any {
        return Ok(Answer::None);
    }
    let dwarf = Dwarf::load(|id| section(object, id).map(|bytes| EndianSlice::new(bytes, endian)))?;
    let mut units = dwarf.units();
    let mut found = Answer::Absent;
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        if unit.dwo_name()?.is_some() {
            bail!("it is in files of its own (CONFIG_DEBUG_INFO_SPLIT), which are not read");
        }
        if let Some(place) = in_unit(unit.unit_ref(&dwarf), name)? {
            found = Answer::Inlined(place);
            break;
        }
    }
    Ok(found)
}

/// The bytes of a section; none where there is no such section.
fn section<'a>(object: &object::File<'a, &'a ReadCache<File>>, id: SectionId) -> Result<&'a [u8]> {
    let Some(section) = object.section_by_name(id.name()) else {
        return Ok(&[]);
    };
    let data = section.compressed_data()?;
    if data.format != CompressionFormat::None {
        bail!("it is compressed (CONFIG_DEBUG_INFO_COMPRESSED), which is not read");
    }
    Ok(data.data)
}

/// Whether a function of this name was inlined in a unit, and where it is defined.
fn in_unit<'a>(unit: UnitRef<'_, Bytes<'a>>, name: &str) -> Result<Option<Option<String>>> {
    let mut entries = unit.entries();
    while let Some((_, entry)) = entries.next_dfs()? {
        if entry.tag() != gimli::DW_TAG_subprogram {
            continue;
        }
        let Some(value) = entry.attr_value(gimli::DW_AT_name)? else {
            continue;
        };
        if unit.attr_string(value)?.slice() != name.as_bytes() {
            continue;
        }
        let inlined = matches!(
            entry.attr_value(gimli::DW_AT_inline)?,
            Some(AttributeValue::Inline(
                gimli::DW_INL_inlined | gimli::DW_INL_declared_inlined
            ))
        );
        if inlined {
            let file = entry.attr_value(gimli::DW_AT_decl_file)?;
            let line = entry.attr_value(gimli::DW_AT_decl_line)?;
            return Ok(Some(place(unit, file, line)?));
        }
    }
    Ok(None)
}

/// `file:line`, where the unit says so.
fn place(
    unit: UnitRef<'_, Bytes<'_>>,
    file: Option<AttributeValue<Bytes<'_>>>,
    line: Option<AttributeValue<Bytes<'_>>>,
) -> Result<Option<String>> {
    let (Some(AttributeValue::FileIndex(file)), Some(program), Some(line)) = (
        file,
        unit.line_program.as_ref(),
        line.and_then(|line| line.udata_value()),
    ) else {
        return Ok(None);
    };
    let Some(entry) = program.header().file(file) else {
        return Ok(None);
    };
    let name = unit
        .attr_string(entry.path_name())?
        .to_string_lossy()
        .into_owned();
    let folder = match entry.directory(program.header()) {
        Some(folder) => unit.attr_string(folder)?.to_string_lossy().into_owned(),
        None => String::new(),
    };
    let path = Path::new(&folder).join(name);
    let path = path
        .to_str()
        .ok_or_else(|| anyhow!("a file's name is not UTF-8"))?;
    Ok(Some(format!("{path}:{line}")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    const SOURCE: &str = "static inline __attribute__((always_inline)) int twice(int x) { return x + x; }\n\
        int whole(int x) { return twice(x) + 1; }\n";

    /// Compiled and linked as a kernel's code is, with these options more.
    fn compiled(options: &[&str], of_linker: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, object) = (folder.path().join("x.c"), folder.path().join("x.o"));
        fs::write(&source, SOURCE).expect("a file");
        let status = Command::new("cc")
            .args(["-O2", "-c", "-o"])
            .args([&object, &source])
            .args(options)
            .status();
        assert!(status.expect("a C compiler").success(), "{options:?}");
        // What relocations would say is there already in what the linker leaves.
        let linked = folder.path().join("x");
        let status = Command::new("ld")
            .args(["-e", "whole", "-o"])
            .args([&linked, &object])
            .args(of_linker)
            .status();
        assert!(status.expect("a linker").success(), "{options:?}");
        (folder, linked)
    }

    #[test]
    fn what_was_inlined_is_told_from_what_is_not_there_in_each_version() {
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            let (_folder, object) = compiled(&[version], &[]);
            let Answer::Inlined(Some(place)) = look_up(&object, "twice").expect("readable") else {
                panic!("{version}");
            };
            assert!(place.ends_with("x.c:1"), "{place}");
            for name in ["thrice", "twic", ""] {
                assert_eq!(look_up(&object, name).expect("readable"), Answer::Absent);
            }
        }
        let (_folder, object) = compiled(&["-g0"], &[]);
        assert_eq!(look_up(&object, "twice").expect("readable"), Answer::None);
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        for (options, of_linker, part) in [
            (
                &["-g", "-gsplit-dwarf"][..],
                &[][..],
                "CONFIG_DEBUG_INFO_SPLIT",
            ),
            (
                &["-g"],
                &["--compress-debug-sections=zlib"],
                "CONFIG_DEBUG_INFO_COMPRESSED",
            ),
        ] {
            let (_folder, object) = compiled(options, of_linker);
            let error = look_up(&object, "twice").expect_err("unreadable");
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("vmlinux");
        fs::write(&text, "no program").expect("a file");
        assert!(look_up(&text, "twice").is_err());
        assert!(look_up(&folder.path().join("none"), "twice").is_err());
    }
}
