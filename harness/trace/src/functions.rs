// SPDX-License-Identifier: GPL-2.0-only

//! Gives each function of a trace a small number, and a name to show.
//!
//! In: addresses in functions, as records have them. Out: one [`FunctionId`] per function, whatever address in it was
//! given. Names are demangled; an address that no symbol covers is a function of its own, named by the address.

use std::collections::HashMap;

use deferinit_ftrace::symbols::Symbols;
use serde::{Deserialize, Serialize};

/// A function of the trace: counts up from 0 in the order of first appearance, so it can index a `Vec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(u32);

/// The functions that appeared so far.
#[derive(Debug)]
pub struct Functions<'a> {
    symbols: &'a Symbols,
    by_address: HashMap<u64, FunctionId>,
    by_symbol: HashMap<(&'a str, Option<&'a str>), FunctionId>,
    names: Vec<FunctionName>,
}

/// What a function is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionName {
    /// Its symbol, demangled if it is a Rust one, or its address in hexadecimal.
    pub name: String,
    /// The module it belongs to; `None` for the kernel itself.
    pub module: Option<String>,
}

impl FunctionId {
    /// Its place in a `Vec` that has one entry per function.
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'a> Functions<'a> {
    /// No function yet; names will be taken from `symbols`.
    #[must_use]
    pub fn new(symbols: &'a Symbols) -> Self {
        Self {
            symbols,
            by_address: HashMap::new(),
            by_symbol: HashMap::new(),
            names: Vec::new(),
        }
    }

    /// The function that an address lies in.
    pub fn at(&mut self, address: u64) -> FunctionId {
        if let Some(id) = self.by_address.get(&address) {
            return *id;
        }
        let next = FunctionId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        let id = match self.symbols.resolve(address) {
            Some(found) => *self
                .by_symbol
                .entry((found.name, found.module))
                .or_insert(next),
            None => next,
        };
        if id == next {
            self.names.push(match self.symbols.resolve(address) {
                Some(found) => FunctionName {
                    name: format!("{:#}", rustc_demangle::demangle(found.name)),
                    module: found.module.map(str::to_owned),
                },
                None => FunctionName {
                    name: format!("{address:#x}"),
                    module: None,
                },
            });
        }
        self.by_address.insert(address, id);
        id
    }

    /// What a function is called. `None` for an id of another table.
    #[must_use]
    pub fn name(&self, id: FunctionId) -> Option<&FunctionName> {
        self.names.get(id.index())
    }

    /// All of them, in the order of their ids.
    #[must_use]
    pub fn names(&self) -> &[FunctionName] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "ffffffff81000000 T schedule\nffffffff81000040 T do_idle\n\
        ffffffffa0000000 t _RNvC4test4body\t[test]\n";

    #[test]
    fn addresses_in_one_function_are_one_function() {
        let symbols = Symbols::parse(KALLSYMS).expect("a table of symbols");
        let mut functions = Functions::new(&symbols);
        let first = functions.at(0xffff_ffff_8100_0004);
        assert_eq!(functions.at(0xffff_ffff_8100_0010), first);
        let second = functions.at(0xffff_ffff_8100_0044);
        assert_ne!(second, first);
        assert_eq!((first.index(), second.index()), (0, 1));
        assert_eq!(
            functions.name(second).map(|found| found.name.as_str()),
            Some("do_idle")
        );
    }

    #[test]
    fn rust_symbols_are_demangled_and_have_their_module() {
        let symbols = Symbols::parse(KALLSYMS).expect("a table of symbols");
        let mut functions = Functions::new(&symbols);
        let id = functions.at(0xffff_ffff_a000_0000);
        let wanted = FunctionName {
            name: "test::body".to_owned(),
            module: Some("test".to_owned()),
        };
        assert_eq!(functions.name(id), Some(&wanted));
    }

    #[test]
    fn an_address_without_a_symbol_is_named_by_itself() {
        let symbols = Symbols::default();
        let mut functions = Functions::new(&symbols);
        let id = functions.at(0x10);
        assert_ne!(functions.at(0x20), id);
        assert_eq!(
            functions.name(id).map(|found| found.name.as_str()),
            Some("0x10")
        );
    }
}
