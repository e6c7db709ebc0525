// SPDX-License-Identifier: GPL-2.0-only

//! Compares the reports of two traces, function by function.
//!
//! In: two [`Report`]s. Out: a [`Difference`] with a row per function that is in either, by the largest absolute change.
//! It does not judge whether a change is more than noise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::{FunctionRow, Report, write_columns};
use crate::text::scaled;

/// What changed from one trace to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What the functions are sorted by.
    pub by: Measure,
    /// One per function, by descending absolute change.
    pub functions: Vec<FunctionDifference>,
}

/// What to compare by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Calls that ended.
    Calls,
    /// Durations together.
    Total,
    /// Self times together.
    SelfTime,
    /// The median.
    P50,
}

/// What changed of one function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionDifference {
    /// Its name, demangled.
    pub name: String,
    /// Its module; `None` for the kernel itself.
    pub module: Option<String>,
    /// Which traces it is in.
    pub presence: Presence,
    /// Calls that ended.
    pub calls: Change,
    /// Durations together.
    pub total_ns: Change,
    /// Self times together.
    pub self_ns: Change,
    /// The median.
    pub p50_ns: Change,
}

/// Which traces a function is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// In both.
    Both,
    /// In the first only.
    FirstOnly,
    /// In the second only.
    SecondOnly,
}

/// A value in two traces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// In the first; `None` when it has none there.
    pub first: Option<u64>,
    /// In the second.
    pub second: Option<u64>,
    /// The second less the first, where a trace without the function counts as 0; `None` when the function is in a trace
    /// and has no such value there.
    pub absolute: Option<i64>,
    /// `absolute` as a part of the first: 0.5 is half as much again. `None` when the first is 0 or not there.
    pub relative: Option<f64>,
}

impl Measure {
    /// All measures by the names users give them.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("calls", Self::Calls),
        ("total", Self::Total),
        ("self", Self::SelfTime),
        ("p50", Self::P50),
    ];
}

impl Change {
    /// From the first value to the second; the outer `None` is for a trace that the function is not in.
    fn between(first: Option<Option<u64>>, second: Option<Option<u64>>) -> Self {
        let value = |side: Option<Option<u64>>| side.unwrap_or(Some(0));
        let absolute = value(first).zip(value(second)).map(|(first, second)| {
            let difference = i128::from(second) - i128::from(first);
            i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
        });
        let (first, second) = (first.flatten(), second.flatten());
        let relative = absolute
            .zip(first.filter(|first| *first > 0))
            .map(|(absolute, first)| float(absolute) / float(first));
        Self {
            first,
            second,
            absolute,
            relative,
        }
    }
}

impl FunctionDifference {
    fn of(first: Option<&FunctionRow>, second: Option<&FunctionRow>) -> Option<Self> {
        let row = first.or(second)?;
        let change = |value: fn(&FunctionRow) -> Option<u64>| {
            Change::between(first.map(value), second.map(value))
        };
        Some(Self {
            name: row.name.clone(),
            module: row.module.clone(),
            presence: match (first, second) {
                (Some(_), Some(_)) => Presence::Both,
                (Some(_), None) => Presence::FirstOnly,
                (None, _) => Presence::SecondOnly,
            },
            calls: change(|row| Some(row.calls)),
            total_ns: change(|row| Some(row.total_ns)),
            self_ns: change(|row| Some(row.self_ns)),
            p50_ns: change(|row| row.p50_ns),
        })
    }

    fn change(&self, by: Measure) -> Change {
        match by {
            Measure::Calls => self.calls,
            Measure::Total => self.total_ns,
            Measure::SelfTime => self.self_ns,
            Measure::P50 => self.p50_ns,
        }
    }
}

impl Difference {
    /// From a first report to a second one. Functions are the same when name and module are.
    #[must_use]
    pub fn between(first: &Report, second: &Report, by: Measure) -> Self {
        let mut rows: BTreeMap<_, (Option<&FunctionRow>, Option<&FunctionRow>)> = BTreeMap::new();
        for row in &first.functions {
            rows.entry((&row.name, &row.module)).or_default().0 = Some(row);
        }
        for row in &second.functions {
            rows.entry((&row.name, &row.module)).or_default().1 = Some(row);
        }
        let mut functions: Vec<_> = rows
            .into_values()
            .filter_map(|(first, second)| FunctionDifference::of(first, second))
            .collect();
        // Stable: by name where the change is the same.
        functions.sort_by_key(|function| {
            let absolute = function.change(by).absolute;
            std::cmp::Reverse(absolute.map(i64::unsigned_abs))
        });
        Self { by, functions }
    }

    /// Writes the functions as a table, a line each: for each measure the change and, in parts of a hundred, how much
    /// that is of the first. `new` and `gone` stand for a function that is in the second or the first trace only.
    pub fn write_table(&self, out: &mut Vec<u8>) {
        let lines: Vec<_> = self
            .functions
            .iter()
            .map(|function| {
                let share = |change: Change| match (function.presence, change.relative) {
                    (Presence::FirstOnly, _) => "gone".to_owned(),
                    (Presence::SecondOnly, _) => "new".to_owned(),
                    (Presence::Both, Some(relative)) => format!("{:+.1} %", relative * 100.0),
                    (Presence::Both, None) => "-".to_owned(),
                };
                let time = |change: Change| match change.absolute {
                    Some(0) => "0 ns".to_owned(),
                    Some(ns) => {
                        let sign = if ns < 0 { '-' } else { '+' };
                        format!("{sign}{}", scaled(ns.unsigned_abs()))
                    }
                    None => "-".to_owned(),
                };
                let calls = function.calls.absolute.map_or_else(
                    || "-".to_owned(),
                    |calls| match calls {
                        0 => "0".to_owned(),
                        calls => format!("{calls:+}"),
                    },
                );
                let cells = [
                    calls,
                    share(function.calls),
                    time(function.total_ns),
                    share(function.total_ns),
                    time(function.self_ns),
                    share(function.self_ns),
                    time(function.p50_ns),
                    share(function.p50_ns),
                ];
                let name = match &function.module {
                    Some(module) => format!("{} [{module}]", function.name),
                    None => function.name.clone(),
                };
                (cells, name)
            })
            .collect();
        let heading = ["Calls", "", "Total", "", "Self", "", "P50", ""];
        write_columns(out, heading, "Function", &lines);
    }
}

/// The nearest float; exact below 2^53, which is 104 days in nanoseconds.
#[expect(
    clippy::as_conversions,
    reason = "there is no other conversion from 64-bit integers to floats"
)]
fn float<T: TryInto<i128>>(value: T) -> f64 {
    value.try_into().map_or(f64::NAN, |value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::Functions;
    use crate::made::{enter, leave, symbols};
    use crate::report::FunctionStatistics;

    /// A report of calls of functions that took so long.
    fn report(calls: &[(char, u64)]) -> Report {
        let symbols = symbols();
        let mut statistics = FunctionStatistics::default();
        for (name, duration) in calls {
            statistics.record(&enter(0, *name, 0));
            statistics.record(&leave(0, *duration, *name, 0));
        }
        statistics.finish(&mut Functions::new(&symbols))
    }

    fn sample(by: Measure) -> Difference {
        let first = report(&[('a', 100), ('a', 100), ('b', 500), ('c', 7), ('d', 60)]);
        let second = report(&[('a', 50), ('b', 501), ('c', 7), ('m', 80)]);
        Difference::between(&first, &second, by)
    }

    fn names(difference: &Difference) -> String {
        let names = difference.functions.iter().map(|row| row.name.as_str());
        names.collect()
    }

    #[test]
    fn the_largest_change_comes_first_by_any_measure() {
        for (measure, order) in [
            ("total", "amdbc"),
            ("self", "amdbc"),
            ("calls", "admbc"),
            ("p50", "mdabc"),
        ] {
            let by = Measure::NAMES.iter().find(|(name, _)| *name == measure);
            let difference = sample(by.expect("the measure has a name").1);
            assert_eq!(names(&difference), order, "by {measure}");
        }
    }

    #[test]
    fn changes_are_absolute_and_relative() {
        let difference = sample(Measure::Total);
        let (first, new) = (&difference.functions[0], &difference.functions[1]);
        let expected = Change {
            first: Some(200),
            second: Some(50),
            absolute: Some(-150),
            relative: Some(-0.75),
        };
        assert_eq!(first.total_ns, expected);
        assert_eq!(first.calls.absolute, Some(-1));
        assert_eq!(first.p50_ns.relative, Some(-0.5));
        let expected = Change {
            first: None,
            second: Some(80),
            absolute: Some(80),
            relative: None,
        };
        assert_eq!(
            (new.presence, new.total_ns),
            (Presence::SecondOnly, expected)
        );
    }

    #[test]
    fn a_function_without_a_median_has_no_change_of_it() {
        let mut first = FunctionStatistics::default();
        first.record(&enter(0, 'a', 0));
        let symbols = symbols();
        let first = first.finish(&mut Functions::new(&symbols));
        let difference = Difference::between(&first, &report(&[('a', 5)]), Measure::P50);
        let change = difference.functions[0].p50_ns;
        assert_eq!((change.first, change.second), (None, Some(5)));
        assert_eq!((change.absolute, change.relative), (None, None));
    }

    #[test]
    fn the_table_tells_new_and_gone_functions() {
        let mut table = Vec::new();
        sample(Measure::Total).write_table(&mut table);
        let expected = "\
Calls             Total              Self               P50            Function
   -1  -50.0 %  -150 ns  -75.0 %  -150 ns  -75.0 %   -50 ns   -50.0 %  a
   +1      new   +80 ns      new   +80 ns      new   +80 ns       new  m [test]
   -1     gone   -60 ns     gone   -60 ns     gone   -60 ns      gone  d
    0  +0.0 %     +1 ns  +0.2 %     +1 ns  +0.2 %      +1 ns   +0.2 %  b
    0  +0.0 %      0 ns  +0.0 %      0 ns  +0.0 %       0 ns   +0.0 %  c
";
        let table = String::from_utf8(table).expect("it is ASCII");
        let words = |text: &str| -> Vec<Vec<String>> {
            text.lines()
                .map(|line| line.split_whitespace().map(str::to_owned).collect())
                .collect()
        };
        assert_eq!(words(&table), words(expected));
    }

    #[test]
    fn a_difference_is_the_same_after_json() {
        let difference = sample(Measure::SelfTime);
        let text = serde_json::to_string(&difference).expect("it can be written");
        assert!(
            text.starts_with(r#"{"by":"self_time","functions":[{"name":"a""#),
            "{text}"
        );
        let read: Difference = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(read, difference);
    }
}
