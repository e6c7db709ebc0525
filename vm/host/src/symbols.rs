// SPDX-License-Identifier: GPL-2.0-only

//! Names for the addresses in a trace, without asking the guest.
//!
//! In: the kernel build's `System.map`, the object files of modules, and where their sections were
//! loaded. Out: the text that `/proc/kallsyms` would have shown while they were there. Reading that
//! file in the guest would cost as much guest time as the rest of a short run.

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::results::Module;

/// Makes the text: the kernel's symbols, then those of each module for each place where it was
/// loaded. `object_of` has the modules' object files by their names.
///
/// # Errors
/// If one of them is no object file. A module that it does not have is left out.
pub fn kallsyms<'a>(
    system_map: &str,
    loads: &[Module],
    object_of: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<String> {
    let mut lines: Vec<String> = Vec::new();
    for Module {
        name: module,
        sections,
    } in loads
    {
        let Some(object) = object_of(module) else {
            continue;
        };
        let file = object::File::parse(object)
            .with_context(|| format!("the module {module} is no object file"))?;
        for symbol in file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
        {
            let Some(index) = symbol.section_index() else {
                continue;
            };
            let section = file
                .section_by_index(index)
                .context("a symbol is in no section")?;
            let name = section.name().context("a section has no name")?;
            let Some(base) = sections.iter().find(|section| section.name == name) else {
                continue;
            };
            let symbol_name = symbol.name().context("a symbol has no name")?;
            let kind = if symbol.is_global() { 'T' } else { 't' };
            let address = base.address.wrapping_add(symbol.address());
            lines.push(format!("{address:016x} {kind} {symbol_name}\t[{module}]\n"));
        }
    }
    // A module that was loaded at the same place again has the same symbols there.
    lines.sort_unstable();
    lines.dedup();
    let mut text = in_the_kernels_order(system_map);
    text.extend(lines);
    Ok(text)
}

/// The lines of a `System.map`, those at one address in the order in which the kernel has them in its own table: the
/// first of them is what it calls the address, and so do readers of traces (`compare_symbols()`, `scripts/kallsyms.c`,
/// Linux 7.3).
fn in_the_kernels_order(system_map: &str) -> String {
    let mut lines: Vec<&str> = system_map.lines().collect();
    lines.sort_by_cached_key(|line| {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .and_then(|word| u64::from_str_radix(word, 16).ok());
        let is_weak = matches!(words.next(), Some("w" | "W"));
        let name = words.next().unwrap_or_default();
        let underscores = name.len() - name.trim_start_matches('_').len();
        (address, is_weak, is_linker_label(name), underscores)
    });
    lines.into_iter().flat_map(|line| [line, "\n"]).collect()
}

/// Whether the linker script may have made this symbol: a label between functions.
fn is_linker_label(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("__").filter(|_| name.len() >= 8) else {
        return false;
    };
    ["start_", "stop_", "end_"]
        .iter()
        .any(|prefix| rest.starts_with(prefix))
        || name.ends_with("_start")
        || name.ends_with("_end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_goes_before_a_label_at_its_address() {
        let system_map = "ffffffff81000000 T _text\nffffffff81000000 T _stext\n\
            ffffffff81000100 T __sched_text_start\nffffffff81000100 t __schedule\n\
            ffffffff81000200 W __weak\nffffffff81000200 T ___strong\nffffffff81000200 T _strong\n";
        let text = kallsyms(system_map, &[], |_| None).expect("no module is asked for");
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
            .collect();
        let wanted = [
            "_text",
            "_stext",
            "__schedule",
            "__sched_text_start",
            "_strong",
            "___strong",
            "__weak",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn something_else_is_no_module() {
        let load = Module {
            name: "x".to_owned(),
            sections: Vec::new(),
        };
        let error = kallsyms("", &[load], |_| Some(b"text")).expect_err("no object file");
        assert_eq!(error.to_string(), "the module x is no object file");
    }
}
