// SPDX-License-Identifier: GPL-2.0-only

//! Reports each function's calls: how many, and how long they took.
//!
//! In: records by time ([`FunctionStatistics::record`]). Out: a [`Report`] with a row per function, that can be sorted,
//! filtered, written as a table, and serialized.
//!
//! Durations and self times are those of [`crate::calls`]. The total of a function that calls itself has the inner
//! calls' time twice, as the kernel's own profile does. p50 and p99 are by nearest rank, with a relative error of at most
//! 1/128; they are missing where the table of histograms had no room (8 MiB, some 98,000 groups of durations). Nothing
//! is guessed: a call whose end was not seen is counted apart, and self time that is only an upper bound is told apart.
//!
//! [`FunctionStatistics::merge`] joins parts that had different *tasks*, each with all CPUs. Parts by CPU cannot be
//! joined: a task that was on another CPU in the middle of a call has calls there, whose time belongs to the self time
//! of a call that the first CPU's part has already counted; to tell which one, each part would have to keep what was
//! open at every time.

use std::collections::HashMap;

use deferinit_ftrace::record::Record;
use serde::{Deserialize, Serialize};

use crate::addresses::Addresses;
use crate::calls::{Account, Call, CallSink, Calls, Entry, Start, Unfinished};
use crate::functions::{FunctionName, Functions};
use crate::glob::Glob;
use crate::histogram::Histograms;
use crate::text::scaled;

/// The statistics while the trace goes through.
///
/// Memory grows with the functions, with what their durations spread over, and with the tasks, each with a bound:
/// 131,072 addresses in functions (all others are one row, [`OTHER_FUNCTIONS`]), and those of [`crate::calls`].
#[derive(Debug, Default)]
pub struct FunctionStatistics {
    calls: Calls<Rows>,
    rows: Rows,
    /// Of the parts that were merged.
    account: Account,
}

/// The row of functions beyond the bound.
pub const OTHER_FUNCTIONS: &str = "[other]";

/// All functions that were called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was counted besides.
    pub account: Account,
    /// One per function, by descending total at first.
    pub functions: Vec<FunctionRow>,
}

/// One function's calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRow {
    /// Its name, demangled.
    pub name: String,
    /// Its module; `None` for the kernel itself.
    pub module: Option<String>,
    /// Calls that ended, and so have a duration.
    pub calls: u64,
    /// Their durations together.
    pub total_ns: u64,
    /// Their self times together.
    pub self_ns: u64,
    /// The part of `self_ns` from calls for which it is only an upper bound.
    pub self_inexact_ns: u64,
    /// The shortest call. `None` when none ended, as for all durations below.
    pub min_ns: Option<u64>,
    /// The mean, rounded down.
    pub avg_ns: Option<u64>,
    /// The median.
    pub p50_ns: Option<u64>,
    /// What 99 of 100 calls do not exceed.
    pub p99_ns: Option<u64>,
    /// The longest call.
    pub max_ns: Option<u64>,
    /// Calls that ended and whose start was not seen, though the trace has entries. They are among `calls`.
    pub calls_without_entry: u64,
    /// Calls that were entered and not seen to end. They are not among `calls`.
    pub incomplete_calls: u64,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The name.
    Name,
    /// Calls that ended.
    Calls,
    /// Durations together.
    Total,
    /// Self times together.
    SelfTime,
    /// The shortest call.
    Min,
    /// The mean.
    Avg,
    /// The median.
    P50,
    /// The 99th percentile.
    P99,
    /// The longest call.
    Max,
    /// Calls not seen to end.
    Incomplete,
}

impl Column {
    /// All columns by the names users give them.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("name", Self::Name),
        ("calls", Self::Calls),
        ("total", Self::Total),
        ("self", Self::SelfTime),
        ("min", Self::Min),
        ("avg", Self::Avg),
        ("p50", Self::P50),
        ("p99", Self::P99),
        ("max", Self::Max),
        ("incomplete", Self::Incomplete),
    ];
}

#[derive(Debug, Default)]
struct Rows {
    addresses: Addresses,
    /// By the numbers of `addresses`.
    rows: Vec<Row>,
    durations: Histograms,
}

/// A cache line.
#[derive(Debug, Clone, Copy)]
struct Row {
    calls: u64,
    total_ns: u64,
    self_ns: u64,
    self_inexact_ns: u64,
    min_ns: u64,
    max_ns: u64,
    calls_without_entry: u64,
    incomplete_calls: u64,
}

impl Row {
    const EMPTY: Self = Self {
        calls: 0,
        total_ns: 0,
        self_ns: 0,
        self_inexact_ns: 0,
        min_ns: u64::MAX,
        max_ns: 0,
        calls_without_entry: 0,
        incomplete_calls: 0,
    };

    fn is_empty(&self) -> bool {
        self.calls == 0 && self.incomplete_calls == 0
    }

    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.self_ns = self.self_ns.saturating_add(other.self_ns);
        self.self_inexact_ns = self.self_inexact_ns.saturating_add(other.self_inexact_ns);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.calls_without_entry = self
            .calls_without_entry
            .saturating_add(other.calls_without_entry);
        self.incomplete_calls = self.incomplete_calls.saturating_add(other.incomplete_calls);
    }
}

impl Rows {
    #[inline]
    fn row(&mut self, number: usize) -> Option<&mut Row> {
        if self.rows.len() <= number {
            self.rows.resize(self.addresses.len(), Row::EMPTY);
        }
        self.rows.get_mut(number)
    }

    fn merge(&mut self, other: Self) {
        let numbers: Vec<usize> = (0..other.addresses.len())
            .map(|number| match other.addresses.address(number) {
                Some(address) => self.addresses.number(address),
                None => crate::addresses::OTHERS,
            })
            .collect();
        for (row, number) in other.rows.iter().zip(&numbers) {
            if let Some(mine) = self.row(*number).filter(|_| !row.is_empty()) {
                mine.add(row);
            }
        }
        self.durations.merge(other.durations, |row| {
            numbers
                .get(row)
                .copied()
                .unwrap_or(crate::addresses::OTHERS)
        });
    }
}

impl CallSink for Rows {
    type Frame = ();
    type PerTask = ();

    #[inline]
    fn entered(&mut self, _entry: &Entry, _task: &mut (), _around: Option<()>) {}

    #[inline]
    fn ended(&mut self, call: &Call, _task: &mut (), _frame: Option<()>, _around: Option<()>) {
        let number = self.addresses.number(call.function);
        self.durations.add(number, call.duration_ns);
        let Some(row) = self.row(number) else { return };
        row.calls += 1;
        row.total_ns = row.total_ns.saturating_add(call.duration_ns);
        row.self_ns = row.self_ns.saturating_add(call.self_ns);
        if !call.self_is_exact {
            row.self_inexact_ns = row.self_inexact_ns.saturating_add(call.self_ns);
        }
        row.min_ns = row.min_ns.min(call.duration_ns);
        row.max_ns = row.max_ns.max(call.duration_ns);
        row.calls_without_entry += u64::from(call.start == Start::Missing);
    }

    fn unfinished(&mut self, call: &Unfinished, _task: &mut (), _frame: ()) {
        let number = self.addresses.number(call.function);
        if let Some(row) = self.row(number) {
            row.incomplete_calls += 1;
        }
    }
}

impl FunctionStatistics {
    /// Counts the next record; those of other events change nothing.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) {
        self.calls.record(record, &mut self.rows);
    }

    /// Says that the writer lost records, see [`Calls::lost`].
    pub fn lost(&mut self, count: Option<u64>) {
        self.calls.lost(count);
    }

    /// Adds a part of the same trace that had all records of other tasks, and none of these.
    ///
    /// Calls, times and percentiles are then those of one pass over all. Only what is marked inexact may be more: a
    /// contradiction in a trace without entries is judged by the records a part has seen.
    pub fn merge(&mut self, mut other: Self) {
        let account = other.calls.finish(&mut other.rows);
        self.account.add(&account);
        self.account.add(&other.account);
        self.rows.merge(other.rows);
    }

    /// Ends the trace, and names the functions.
    #[must_use]
    pub fn finish(mut self, functions: &mut Functions<'_>) -> Report {
        let mut account = self.calls.finish(&mut self.rows);
        account.add(&self.account);
        let mut merged: Vec<(FunctionName, Row)> = Vec::new();
        let mut places: HashMap<Option<usize>, usize> = HashMap::new();
        let mut place_of: Vec<usize> = vec![usize::MAX; self.rows.addresses.len()];
        for (number, row) in self.rows.rows.iter().enumerate() {
            if row.is_empty() {
                continue;
            }
            let id = self
                .rows
                .addresses
                .address(number)
                .map(|address| functions.at(address));
            let place = *places.entry(id.map(|id| id.index())).or_insert_with(|| {
                let name = id.and_then(|id| functions.name(id)).cloned();
                merged.push((name.unwrap_or_else(others), Row::EMPTY));
                merged.len() - 1
            });
            if let Some((_, sum)) = merged.get_mut(place) {
                sum.add(row);
            }
            if let Some(entry) = place_of.get_mut(number) {
                *entry = place;
            }
        }
        let percentiles = self.rows.durations.percentiles(
            merged.len(),
            |number| place_of.get(number).copied().unwrap_or(usize::MAX),
            [50, 99],
        );
        let functions = merged
            .into_iter()
            .zip(percentiles)
            .map(|((name, row), [p50, p99])| {
                let known = |ns: u64| (row.calls > 0).then_some(ns);
                let within = |ns: Option<u64>| ns.map(|ns| ns.clamp(row.min_ns, row.max_ns));
                FunctionRow {
                    name: name.name,
                    module: name.module,
                    calls: row.calls,
                    total_ns: row.total_ns,
                    self_ns: row.self_ns,
                    self_inexact_ns: row.self_inexact_ns,
                    min_ns: known(row.min_ns),
                    avg_ns: row.total_ns.checked_div(row.calls),
                    p50_ns: within(p50),
                    p99_ns: within(p99),
                    max_ns: known(row.max_ns),
                    calls_without_entry: row.calls_without_entry,
                    incomplete_calls: row.incomplete_calls,
                }
            })
            .collect();
        let mut report = Report { account, functions };
        report.sort(Column::Total);
        report
    }
}

fn others() -> FunctionName {
    FunctionName {
        name: OTHER_FUNCTIONS.to_owned(),
        module: None,
    }
}

impl Report {
    /// Sorts the functions: by name upwards, by any other column downwards, and by name where that is equal.
    pub fn sort(&mut self, by: Column) {
        self.functions.sort_by(|first, second| {
            let by_name = || (&first.name, &first.module).cmp(&(&second.name, &second.module));
            let (first, second) = match by {
                Column::Name => return by_name(),
                Column::Calls => (Some(first.calls), Some(second.calls)),
                Column::Total => (Some(first.total_ns), Some(second.total_ns)),
                Column::SelfTime => (Some(first.self_ns), Some(second.self_ns)),
                Column::Min => (first.min_ns, second.min_ns),
                Column::Avg => (first.avg_ns, second.avg_ns),
                Column::P50 => (first.p50_ns, second.p50_ns),
                Column::P99 => (first.p99_ns, second.p99_ns),
                Column::Max => (first.max_ns, second.max_ns),
                Column::Incomplete => (Some(first.incomplete_calls), Some(second.incomplete_calls)),
            };
            second.cmp(&first).then_with(by_name)
        });
    }

    /// Keeps the functions whose name matches.
    pub fn retain(&mut self, names: &Glob) {
        self.functions.retain(|row| names.matches(&row.name));
    }

    /// Writes the functions as a table, a line each, with a heading, and a line that explains its marks when it has any:
    /// `*` behind a self time that is partly an upper bound.
    pub fn write_table(&self, out: &mut Vec<u8>) {
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), scaled);
        let heading = [
            "Calls",
            "Total",
            "Self ",
            "Min",
            "Avg",
            "P50",
            "P99",
            "Max",
            "Incomplete",
        ];
        let lines: Vec<([String; 9], String)> = self
            .functions
            .iter()
            .map(|row| {
                let mark = if row.self_inexact_ns > 0 { '*' } else { ' ' };
                let cells = [
                    row.calls.to_string(),
                    time(Some(row.total_ns)),
                    format!("{}{mark}", scaled(row.self_ns)),
                    time(row.min_ns),
                    time(row.avg_ns),
                    time(row.p50_ns),
                    time(row.p99_ns),
                    time(row.max_ns),
                    match row.incomplete_calls {
                        0 => "-".to_owned(),
                        count => count.to_string(),
                    },
                ];
                let name = match &row.module {
                    Some(module) => format!("{} [{module}]", row.name),
                    None => row.name.clone(),
                };
                (cells, name)
            })
            .collect();
        write_columns(out, heading, "Function", &lines);
        if self.functions.iter().any(|row| row.self_inexact_ns > 0) {
            out.extend_from_slice(
                b"* at most: records inside some of these calls are not in the trace\n",
            );
        }
    }
}

/// Lines of right-aligned cells with a name behind them, below a heading.
pub(crate) fn write_columns<const COUNT: usize>(
    out: &mut Vec<u8>,
    heading: [&str; COUNT],
    last: &str,
    lines: &[([String; COUNT], String)],
) {
    let mut widths = heading.map(str::len);
    for (cells, _) in lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.len());
        }
    }
    let mut write = |cells: [&str; COUNT], name: &str| {
        for (cell, width) in cells.iter().zip(widths) {
            crate::text::push_blanks(out, width.saturating_sub(cell.len()));
            out.extend_from_slice(cell.as_bytes());
            crate::text::push_blanks(out, 2);
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    };
    write(heading, last);
    for (cells, name) in lines {
        write(cells.each_ref().map(String::as_str), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::{enter, leave, of, symbols};

    fn statistics(records: &[Record<'_>]) -> FunctionStatistics {
        let mut statistics = FunctionStatistics::default();
        for record in records {
            statistics.record(record);
        }
        statistics
    }

    fn report(records: &[Record<'_>]) -> Report {
        statistics(records).finish(&mut Functions::new(&symbols()))
    }

    fn names(report: &Report) -> String {
        report
            .functions
            .iter()
            .map(|row| row.name.as_str())
            .collect()
    }

    /// `a` calls `m`, several times; `c` is never seen to end, and the start of `b` not seen.
    fn sample() -> Vec<Record<'static>> {
        let mut records = vec![leave(0, 5, 'z', 0)];
        for turn in 0..100 {
            let at = 1_000 * (turn + 1);
            records.extend([
                enter(at, 'a', 0),
                enter(at + 1, 'm', 1),
                leave(at + 1, at + 2 + turn, 'm', 1),
                leave(at, at + 200, 'a', 0),
            ]);
        }
        records.extend([leave(10, 200_000, 'b', 1), enter(200_001, 'c', 0)]);
        records
    }

    #[test]
    fn a_row_has_all_of_a_functions_calls() {
        let report = report(&sample());
        let row = |name: &str| {
            let found = report.functions.iter().find(|row| row.name == name);
            found.cloned().expect("the function was called")
        };
        let expected = FunctionRow {
            name: "m".to_owned(),
            module: Some("test".to_owned()),
            calls: 100,
            total_ns: 5050,
            self_ns: 5050,
            self_inexact_ns: 0,
            min_ns: Some(1),
            avg_ns: Some(50),
            p50_ns: Some(50),
            p99_ns: Some(99),
            max_ns: Some(100),
            calls_without_entry: 0,
            incomplete_calls: 0,
        };
        assert_eq!(row("m"), expected);
        assert_eq!((row("a").total_ns, row("a").self_ns), (20_000, 14_950));
        let unseen = row("b");
        assert_eq!((unseen.calls, unseen.calls_without_entry), (1, 1));
        assert_eq!(unseen.self_inexact_ns, unseen.self_ns);
        let open = row("c");
        assert_eq!((open.calls, open.incomplete_calls), (0, 1));
        let durations = [
            open.min_ns,
            open.avg_ns,
            open.p50_ns,
            open.p99_ns,
            open.max_ns,
        ];
        assert_eq!(durations, [None; 5]);
    }

    #[test]
    fn functions_are_sorted_by_any_column_and_filtered_by_name() {
        let mut report = report(&sample());
        for (column, order) in [
            ("name", "abcmz"),
            ("calls", "ambzc"),
            ("total", "bamzc"),
            ("self", "bamzc"),
            ("min", "bazmc"),
            ("avg", "bamzc"),
            ("p50", "bamzc"),
            ("p99", "bamzc"),
            ("max", "bamzc"),
            ("incomplete", "cabmz"),
        ] {
            let by = Column::NAMES.iter().find(|(name, _)| *name == column);
            report.sort(by.expect("the column has a name").1);
            assert_eq!(names(&report), order, "by {column}");
        }
        report.retain(&Glob::new("[a-m]"));
        assert_eq!(names(&report), "cabm");
    }

    #[test]
    fn the_table_marks_what_is_not_exact() {
        let mut report = report(&sample());
        report.sort(Column::Name);
        let mut table = Vec::new();
        report.write_table(&mut table);
        let expected = "\
Calls       Total        Self          Min         Avg         P50         P99         Max  Incomplete  Function
  100   20.000 us   14.950 us       200 ns      200 ns      200 ns      200 ns      200 ns           -  a
    1  199.990 us  199.990 us*  199.990 us  199.990 us  199.990 us  199.990 us  199.990 us           -  b
    0        0 ns        0 ns            -           -           -           -           -           1  c
  100    5.050 us    5.050 us         1 ns       50 ns       50 ns       99 ns      100 ns           -  m [test]
    1        5 ns        5 ns*        5 ns        5 ns        5 ns        5 ns        5 ns           -  z [test]
* at most: records inside some of these calls are not in the trace
";
        assert_eq!(String::from_utf8_lossy(&table), expected);
    }

    #[test]
    fn a_report_is_the_same_after_json() {
        let report = report(&sample());
        let text = serde_json::to_string(&report).expect("it can be written");
        assert!(text.contains(r#""name":"m","module":"test","calls":100,"total_ns":5050"#));
        let read: Report = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(read, report);
    }

    #[test]
    fn parts_by_task_merge_to_the_whole() {
        let mut whole = sample();
        let other: Vec<_> = sample()
            .into_iter()
            .map(|record| of(8, record))
            .chain([
                of(8, enter(300_000, 'y', 1)),
                of(8, leave(300_000, 300_007, 'y', 1)),
            ])
            .collect();
        let (mut first, second) = (statistics(&whole), statistics(&other));
        first.merge(second);
        whole.extend(other);
        whole.sort_by_key(|record| record.timestamp_ns);
        let symbols = symbols();
        assert_eq!(
            first.finish(&mut Functions::new(&symbols)),
            statistics(&whole).finish(&mut Functions::new(&symbols))
        );
    }

    #[test]
    fn addresses_in_one_function_are_one_row() {
        let mut second = leave(20, 30, 'a', 0);
        if let deferinit_ftrace::record::Event::FuncgraphExit { function, .. } = &mut second.event {
            *function += 8;
        }
        let report = report(&[enter(0, 'a', 0), leave(0, 10, 'a', 0), second]);
        assert_eq!(report.functions.len(), 1);
        assert_eq!(report.functions[0].calls, 2);
        assert_eq!(report.functions[0].p99_ns, Some(10));
    }
}
