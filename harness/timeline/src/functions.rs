// SPDX-License-Identifier: GPL-2.0-only

//! Groups calls by phase and function, and names the functions.
//!
//! In: complete calls with addresses. Out: for each phase its functions, by name, with their calls by time.
//! Does not: pair records.
//! Source: a function_graph address is the function's `__fentry__` call: the symbol's address, or 4 past it where an
//! `endbr64` stands first (`CONFIG_X86_KERNEL_IBT`), Linux 7.3.

use std::collections::BTreeMap;

use deferinit_ftrace::symbols::{Resolved, Symbols};

use crate::calls::Call;
use crate::names::demangle;
use crate::{Anomalies, Function, FunctionSpan};

/// How far behind its symbol a function's ftrace call may lie; past it, the symbols are not this kernel's.
const LARGEST_ENTRY_OFFSET: u64 = 16;

/// A phase by its index; none for calls outside every phase.
type Phase = Option<usize>;

/// Calls by phase and address.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    calls: BTreeMap<Phase, BTreeMap<u64, Vec<FunctionSpan>>>,
}

impl Functions {
    pub(crate) fn add(&mut self, call: &Call) {
        let functions = self.calls.entry(call.phase).or_default();
        functions.entry(call.function).or_default().push(call.span);
    }

    /// The functions of each phase. An address without a symbol is an anomaly, once a phase.
    pub(crate) fn finish(
        self,
        symbols: &Symbols,
        anomalies: &mut Anomalies,
    ) -> BTreeMap<Phase, Vec<Function>> {
        let mut phases = BTreeMap::new();
        for (phase, calls) in self.calls {
            let mut functions = Vec::with_capacity(calls.len());
            for (address, spans) in calls {
                let resolved = resolve(symbols, address);
                if resolved.is_none() {
                    anomalies.note(
                        None,
                        format!("no symbol's entry is at the traced address {address:#x}"),
                    );
                }
                functions.push(function(resolved, address, spans));
            }
            functions
                .sort_by(|one, other| (&one.name, &one.symbol).cmp(&(&other.name, &other.symbol)));
            phases.insert(phase, functions);
        }
        phases
    }
}

/// The function that begins at an address.
fn resolve(symbols: &Symbols, address: u64) -> Option<Resolved<'_>> {
    symbols
        .resolve(address)
        .filter(|resolved| resolved.offset <= LARGEST_ENTRY_OFFSET)
}

/// A function and its calls by time; without a symbol its address is its name.
fn function(
    resolved: Option<Resolved<'_>>,
    address: u64,
    mut spans: Vec<FunctionSpan>,
) -> Function {
    spans.sort_by_key(|span| (span.called, span.depth, span.entry_cpu, span.pid));
    match resolved {
        Some(resolved) => Function {
            name: demangle(resolved.name),
            symbol: resolved.name.to_owned(),
            module: resolved.module.map(str::to_owned),
            spans,
        },
        None => {
            let name = format!("{address:#x}");
            Function {
                symbol: name.clone(),
                name,
                module: None,
                spans,
            }
        }
    }
}
