// SPDX-License-Identifier: GPL-2.0-only

//! Names for the addresses in a trace, without asking the guest.
//!
//! In: the kernel build's `System.map`, the module's object file, and where its sections were
//! loaded. Out: the text that `/proc/kallsyms` would have shown while the module was there. Reading
//! that file in the guest would cost as much guest time as the rest of a short run.

use anyhow::{Context, Result};
use deferinit_protocol::{MODULE, Section};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Makes the text: the kernel's symbols, then the module's for each place where it was loaded.
///
/// # Errors
/// If `module` is no object file.
pub fn kallsyms(system_map: &str, module: &[u8], loads: &[&[Section]]) -> Result<String> {
    let file = object::File::parse(module).context("the module is no object file")?;
    let mut lines: Vec<String> = Vec::new();
    for sections in loads {
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
            lines.push(format!("{address:016x} {kind} {symbol_name}\t[{MODULE}]\n"));
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
        let error = kallsyms("", b"text", &[]).expect_err("no object file");
        assert_eq!(error.to_string(), "the module is no object file");
    }
}
