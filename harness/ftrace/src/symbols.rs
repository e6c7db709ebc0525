// SPDX-License-Identifier: GPL-2.0-only

//! Resolves guest addresses to symbols.
//!
//! In: the text of `/proc/kallsyms` or of a `System.map`. Out: symbol, offset and module of an address, by range.
//! Names stay as the kernel has them: Rust ones are mangled.
//! Source: `kernel/kallsyms.c` (`s_show`), Linux 7.3.

use std::io::{self, BufRead, Read};
use std::ops::Range;

/// The longest line that is read: a symbol's name has at most `KSYM_NAME_LEN`, 512 bytes.
const MAX_LINE: u64 = 4096;

/// Where a module's last symbol, or the kernel's, is taken to end: at the end of its page. The table has no end, the
/// kernel takes that of the section, and sections are mapped in pages.
const PAGE: u64 = 4096;

/// The symbols of one guest, sorted by address.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    /// Small, since a distribution's kernel has 200,000 of them.
    entries: Vec<Entry>,
    names: String,
    modules: Vec<String>,
    irq_entry_text: Range<u64>,
}

/// What an address lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The symbol's name, mangled if it is a Rust one.
    pub name: &'a str,
    /// Bytes from the symbol's start. With IBT, function_graph's addresses are 4 bytes in.
    pub offset: u64,
    /// The module the symbol belongs to; `None` for the kernel itself.
    pub module: Option<&'a str>,
}

/// Why a text is no table of symbols.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is not `ADDRESS TYPE NAME [MODULE]`.
    #[error("line {line} is no symbol: {text:?}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// The line, or its start.
        text: String,
    },
    /// All addresses are 0: `kernel.kptr_restrict` hides them from the reader.
    #[error("all addresses are 0: the kernel hides them (kernel.kptr_restrict)")]
    Hidden,
    /// There is no symbol.
    #[error("there is no symbol")]
    Empty,
    /// The table cannot be read, or is larger than any can be.
    #[error("the table of symbols cannot be read: {0}")]
    Read(String),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
    /// Where its name starts in `names`.
    name_start: u32,
    name_length: u16,
    /// Index into `modules`, from 1; 0 for the kernel itself.
    module: u16,
}

/// One line of the table.
struct Line<'a> {
    address: u64,
    is_absolute: bool,
    is_text: bool,
    name: &'a str,
    module: Option<&'a str>,
}

impl Symbols {
    /// Reads the text of `/proc/kallsyms` or of a `System.map`.
    ///
    /// Of several symbols at one address the first one in the text section counts: the kernel writes its preferred
    /// alias first. Absolute symbols (`A`) are numbers, not places, and are left out.
    ///
    /// # Errors
    /// [`Error`] when a line cannot be read, or when there is nothing to resolve with.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text.as_bytes())
    }

    /// The same, line by line, so that the text need not be in memory.
    ///
    /// # Errors
    /// The same, and [`Error::Read`].
    pub fn read(mut text: impl BufRead) -> Result<Self, Error> {
        let mut symbols = Self::default();
        // Code goes before data at one address.
        let mut is_data = Vec::new();
        let mut line = Vec::new();
        let mut number = 0_usize;
        loop {
            line.clear();
            number = number.saturating_add(1);
            let length = text
                .by_ref()
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)
                .map_err(|error: io::Error| Error::Read(error.to_string()))?;
            if length == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            if text.trim().is_empty() {
                continue;
            }
            let parsed = Line::parse(&text).ok_or_else(|| Error::Line {
                line: number,
                text: text.trim_end().chars().take(120).collect(),
            })?;
            // Labels at the addresses of functions: they would not be kept.
            match parsed.name {
                "__irqentry_text_start" => symbols.irq_entry_text.start = parsed.address,
                "__irqentry_text_end" => symbols.irq_entry_text.end = parsed.address,
                _ => {}
            }
            if !parsed.is_absolute {
                symbols.push(&parsed)?;
                is_data.push(!parsed.is_text);
            }
        }
        if symbols.entries.is_empty() {
            return Err(Error::Empty);
        }
        if symbols.entries.iter().all(|entry| entry.address == 0) {
            return Err(Error::Hidden);
        }
        symbols.sort(&is_data);
        Ok(symbols)
    }

    /// Sorts by address, aliases in the kernel's order but code before data, and keeps the first at each.
    fn sort(&mut self, is_data: &[bool]) {
        let mut order: Vec<(u64, bool, u32)> = (0_u32..)
            .zip(self.entries.iter().zip(is_data))
            .map(|(place, (entry, is_data))| (entry.address, *is_data, place))
            .collect();
        order.sort_unstable();
        order.dedup_by_key(|(address, ..)| *address);
        self.entries = order
            .into_iter()
            .filter_map(|(_, _, place)| self.entries.get(usize::try_from(place).ok()?).copied())
            .collect();
    }

    /// The symbol that an address lies in.
    ///
    /// A symbol reaches to the next one; the last one of a module, or of the kernel, to the end of its page. `None` for
    /// an address before all symbols or behind such an end, as that of a module that was unloaded.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Option<Resolved<'_>> {
        let place = self
            .entries
            .partition_point(|entry| entry.address <= address)
            .checked_sub(1)?;
        let entry = self.entries.get(place)?;
        let following = self.entries.get(place.saturating_add(1));
        if following.is_none_or(|next| next.module != entry.module) {
            let end = entry
                .address
                .checked_add(1)
                .and_then(|start| start.checked_next_multiple_of(PAGE));
            if end.is_some_and(|end| address >= end) {
                return None;
            }
        }
        let name_start = usize::try_from(entry.name_start).ok()?;
        let name_end = name_start.checked_add(usize::from(entry.name_length))?;
        Some(Resolved {
            name: self.names.get(name_start..name_end)?,
            offset: address.checked_sub(entry.address)?,
            module: usize::from(entry.module)
                .checked_sub(1)
                .and_then(|module| self.modules.get(module))
                .map(String::as_str),
        })
    }

    /// Where the code of interrupt entries lies; an empty range if the table does not say.
    #[must_use]
    pub fn irq_entry_text(&self) -> Range<u64> {
        self.irq_entry_text.clone()
    }

    /// How many addresses have a symbol.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn push(&mut self, line: &Line<'_>) -> Result<(), Error> {
        let module = match line.module {
            None => 0,
            // A module's symbols stand together, so the last module is mostly the one.
            Some(name) => match self.modules.iter().rposition(|module| module == name) {
                Some(place) => place.saturating_add(1),
                None => {
                    self.modules.push(name.to_owned());
                    self.modules.len()
                }
            },
        };
        let too_large = || Error::Read("it is larger than any kernel's".to_owned());
        let entry = Entry {
            address: line.address,
            name_start: self.names.len().try_into().map_err(|_| too_large())?,
            name_length: line.name.len().try_into().map_err(|_| too_large())?,
            module: module.try_into().map_err(|_| too_large())?,
        };
        self.names.push_str(line.name);
        self.entries.push(entry);
        Ok(())
    }
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = words.next().filter(|kind| kind.len() == 1)?;
        let name = words.next()?;
        let module = match words.next() {
            Some(module) => Some(module.strip_prefix('[')?.strip_suffix(']')?),
            None => None,
        };
        words.next().is_none().then_some(Self {
            address,
            is_absolute: matches!(kind, "a" | "A"),
            is_text: matches!(kind, "t" | "T" | "w" | "W"),
            name,
            module,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81001000 D data_alias
ffffffff81001000 t do_one_initcall
ffffffff81001400 T kernel_init
ffffffffa0001100 t deferred_run_item\t[test_deferred]
ffffffffa0001000 t deferred_init\t[test_deferred]
ffffffffa0003000 t other_init\t[other]
";

    #[track_caller]
    fn check(address: u64, expected: Option<(&str, u64, Option<&str>)>) {
        let symbols = Symbols::parse(KALLSYMS).expect("the text is as the kernel writes it");
        let resolved = symbols
            .resolve(address)
            .map(|found| (found.name, found.offset, found.module));
        assert_eq!(resolved, expected);
    }

    #[test]
    fn addresses_resolve_by_range() {
        check(0xffff_ffff_8100_1004, Some(("do_one_initcall", 4, None)));
        check(
            0xffff_ffff_8100_13ff,
            Some(("do_one_initcall", 0x3ff, None)),
        );
        check(
            0xffff_ffff_a000_1000,
            Some(("deferred_init", 0, Some("test_deferred"))),
        );
        check(
            0xffff_ffff_a000_1104,
            Some(("deferred_run_item", 4, Some("test_deferred"))),
        );
    }

    #[test]
    fn the_first_alias_counts_and_code_goes_before_data() {
        check(0xffff_ffff_8100_0000, Some(("_stext", 0, None)));
        check(0xffff_ffff_8100_1000, Some(("do_one_initcall", 0, None)));
    }

    #[test]
    fn a_last_symbol_ends_with_its_page() {
        check(0xffff_ffff_8100_1fff, Some(("kernel_init", 0xbff, None)));
        check(0xffff_ffff_8100_2000, None);
        check(
            0xffff_ffff_a000_1fff,
            Some(("deferred_run_item", 0xeff, Some("test_deferred"))),
        );
        check(0xffff_ffff_a000_2000, None);
        check(
            0xffff_ffff_a000_3fff,
            Some(("other_init", 0xfff, Some("other"))),
        );
        check(u64::MAX, None);
    }

    #[test]
    fn an_absolute_symbol_is_no_place() {
        check(0x10, None);
    }

    #[test]
    fn a_system_map_has_no_modules() {
        let symbols =
            Symbols::parse("ffffffff81000000 T _text\n").expect("the text is a System.map");
        assert_eq!(symbols.len(), 1);
        assert_eq!(
            symbols
                .resolve(0xffff_ffff_8100_0001)
                .map(|found| found.module),
            Some(None)
        );
        assert_eq!(symbols.resolve(1), None);
    }

    #[test]
    fn the_code_of_interrupt_entries_is_found() {
        let text = "ffffffff81000000 T sysvec_a\nffffffff81000000 T __irqentry_text_start\n\
            ffffffff81000100 T __irqentry_text_end\nffffffff81000100 T later\n";
        let symbols = Symbols::parse(text).expect("a table of symbols");
        let text = symbols.irq_entry_text();
        assert_eq!(text, 0xffff_ffff_8100_0000..0xffff_ffff_8100_0100);
        assert!(Symbols::default().irq_entry_text().is_empty());
    }

    #[test]
    fn a_line_that_is_no_symbol_is_named() {
        for text in [
            "x",
            "ffffffff81000000 T",
            "zz T name",
            "1 Tt name",
            "1 T name module",
            "1 T name [module] more",
        ] {
            let error =
                Symbols::parse(&format!("1 T first\n{text}\n")).expect_err("the line is wrong");
            assert_eq!(
                error,
                Error::Line {
                    line: 2,
                    text: text.to_owned()
                }
            );
        }
    }

    #[test]
    fn hidden_addresses_are_an_error() {
        let hidden = KALLSYMS
            .lines()
            .map(|line| format!("0000000000000000{}\n", &line[16..]))
            .collect::<String>();
        assert_eq!(
            Symbols::parse(&hidden).expect_err("no address is known"),
            Error::Hidden
        );
        assert_eq!(
            Symbols::parse("").expect_err("nothing is there"),
            Error::Empty
        );
    }
}
