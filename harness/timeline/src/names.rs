// SPDX-License-Identifier: GPL-2.0-only

//! Makes symbol names readable.
//!
//! In: a name as `/proc/kallsyms` has it. Out: Rust names demangled without their hash, others unchanged.
//! Does not: resolve addresses.
//! Source: the Rust reference's v0 mangling, by `rustc-demangle`.

/// The name for people: `_RNvCs2kMns6DTmS1_18test_deferred_main4body` becomes `test_deferred_main::body`.
#[must_use]
pub fn demangle(symbol: &str) -> String {
    match rustc_demangle::try_demangle(symbol) {
        Ok(name) => format!("{name:#}"),
        Err(_) => symbol.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn rust_name_loses_mangling_and_hash() {
        assert_eq!(
            demangle("_RNvCs2kMns6DTmS1_18test_deferred_main4body"),
            "test_deferred_main::body"
        );
    }

    #[test]
    fn name_that_is_not_mangled_stays() {
        for name in ["deferred_init", "", "_R", "_ZN", "x.constprop.0"] {
            assert_eq!(demangle(name), name);
        }
    }
}
