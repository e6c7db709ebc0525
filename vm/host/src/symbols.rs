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
    let mut text = system_map.trim_end().to_owned();
    text.push('\n');
    text.extend(lines);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
