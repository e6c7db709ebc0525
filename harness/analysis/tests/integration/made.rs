// SPDX-License-Identifier: GPL-2.0-only

//! Makes records from text, with the kernel's own format files.
//!
//! In: lines such as `1000 0 7 1 timer_cancel timer=0x10`: time, CPU, pid, flags, event, fields. Out: an analysis.

use std::collections::BTreeMap;

use deferinit_analysis::cost::{Cost, Meter, Window};
use deferinit_analysis::{Analysis, Beside, Collector, ItemNames, PhaseNames};
use deferinit_ftrace::format::{Array, EventFormat, Formats};
use deferinit_ftrace::page::RawRecord;
use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;

macro_rules! formats {
    ($($system:literal / $event:literal),* $(,)?) => {
        [$(($system, include_str!(concat!("../data/formats/", $system, "/", $event)))),*]
    };
}

/// The formats of the events that the analysis reads.
fn formats() -> Formats {
    let texts = formats![
        "initcall" / "initcall_finish",
        "initcall" / "initcall_start",
        "sched" / "sched_switch",
        "sched" / "sched_wakeup",
        "sched" / "sched_wakeup_new",
        "sched" / "sched_waking",
        "test_deferred" / "deferred_item_armed",
        "test_deferred" / "deferred_item_cancelled",
        "test_deferred" / "deferred_item_ended",
        "test_deferred" / "deferred_item_queued",
        "test_deferred" / "deferred_item_retried",
        "test_deferred" / "deferred_item_started",
        "timer" / "hrtimer_expire_entry",
        "timer" / "hrtimer_expire_exit",
        "timer" / "hrtimer_start",
        "timer" / "timer_cancel",
        "timer" / "timer_expire_entry",
        "timer" / "timer_expire_exit",
        "timer" / "timer_start",
        "workqueue" / "workqueue_activate_work",
        "workqueue" / "workqueue_execute_end",
        "workqueue" / "workqueue_execute_start",
        "workqueue" / "workqueue_queue_work",
    ];
    let mut formats = Formats::new();
    for (system, text) in texts {
        formats.add(system, text).expect("the kernel's own");
    }
    formats
}

/// Records, with what names them.
pub(crate) struct Made {
    formats: Formats,
    records: Vec<(u64, u32, Vec<u8>)>,
    symbols: Symbols,
    tasks: SavedCmdlines,
    pub(crate) beside: Beside,
    /// Records of CPUs before which some were lost, by their times.
    pub(crate) lost: Vec<u64>,
}

impl Made {
    /// Reads lines; those that begin with `#` are none.
    pub(crate) fn read(text: &str) -> Self {
        let formats = formats();
        let mut functions = BTreeMap::new();
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let records = lines
            .map(|line| record(line, &formats, &mut functions))
            .collect();
        let mut kallsyms: Vec<_> = functions
            .iter()
            .map(|(name, address)| format!("{address:016x} t {name}\n"))
            .collect();
        kallsyms.sort();
        Self {
            formats,
            records,
            // A table without a symbol is refused.
            symbols: Symbols::parse(&kallsyms.concat()).unwrap_or_default(),
            tasks: SavedCmdlines::parse(b"7 init\n8 kworker/0:1\n9 kworker/u4:0\n10 other\n"),
            beside: Beside::default(),
            lost: Vec::new(),
        }
    }

    /// Names the items of one phase, in the order of their ids.
    pub(crate) fn named(mut self, names: &[(&str, &str)]) -> Self {
        let items = (0..).zip(names).map(|(id, (name, mode))| {
            let names = ItemNames {
                name: (*name).to_owned(),
                mode: (*mode).to_owned(),
            };
            (id, names)
        });
        self.beside.phases = vec![PhaseNames {
            name: "main".to_owned(),
            begin: 0,
            items: items.collect(),
            after: BTreeMap::new(),
        }];
        self
    }

    /// With this HZ.
    pub(crate) fn hz(mut self, hz: u32) -> Self {
        self.beside.hz = Some(hz);
        self
    }

    /// With this limit of a workqueue.
    pub(crate) fn limit(mut self, workqueue: &str, max_active: u32) -> Self {
        self.beside
            .max_active
            .insert(workqueue.to_owned(), max_active);
        self
    }

    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|(time, cpu, payload)| {
            let raw = RawRecord {
                offset: 0,
                timestamp_ns: *time,
                payload,
            };
            Record::decode(&self.formats, *cpu, raw).expect("its format is known")
        })
    }

    /// Meters the records.
    pub(crate) fn metered(&self, windows: &[Window]) -> Vec<Cost> {
        let mut meter = Meter::new(&self.formats, windows);
        for record in self.records() {
            meter.record(&record);
        }
        meter.finish()
    }

    /// Analyses the records.
    pub(crate) fn analysed<T>(&self, ask: impl FnOnce(&mut Analysis<'_>) -> T) -> T {
        let phases: Vec<u64> = self.beside.phases.iter().map(|phase| phase.begin).collect();
        let mut collector = Collector::new(&self.formats, &self.symbols, &phases, self.beside.hz);
        for record in self.records() {
            if self.lost.contains(&record.timestamp_ns) {
                collector.lost(&record);
            }
            collector.record(&record);
        }
        ask(&mut Analysis::new(
            collector,
            &self.symbols,
            &self.tasks,
            &self.beside,
        ))
    }
}

fn record(
    line: &str,
    formats: &Formats,
    functions: &mut BTreeMap<String, u64>,
) -> (u64, u32, Vec<u8>) {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("{line:?} is short"));
    let (time, cpu, pid, flags, event) = (word(), word(), word(), word(), word());
    let format = formats
        .events()
        .iter()
        .find(|format| format.name() == event)
        .unwrap_or_else(|| panic!("{event} has a format"));
    let size = format
        .fields()
        .iter()
        .map(|field| field.offset() + field.size())
        .max();
    let mut payload = vec![0; size.unwrap_or(0)];
    put(&mut payload, format, "common_type", u64::from(format.id()));
    put(&mut payload, format, "common_flags", number(flags));
    put(&mut payload, format, "common_pid", number(pid));
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        let field = format
            .field(name)
            .unwrap_or_else(|| panic!("{event}.{name}"));
        if field.array() == Array::DataLoc {
            let place = payload.len() | (value.len() + 1) << 16;
            payload.extend_from_slice(value.as_bytes());
            payload.push(0);
            put(&mut payload, format, name, place as u64);
            continue;
        }
        let is_function = matches!(name, "function" | "func");
        let value = if is_function && !value.starts_with("0x") {
            let next = 0xffff_ffff_8100_0000 + 256 * functions.len() as u64;
            *functions.entry(value.to_owned()).or_insert(next)
        } else {
            number(value)
        };
        put(&mut payload, format, name, value);
    }
    let time = time.parse().expect("a time");
    (time, cpu.parse().expect("a CPU"), payload)
}

fn put(payload: &mut [u8], format: &EventFormat, name: &str, value: u64) {
    let field = format.field(name).expect("a field");
    let bytes = value.to_le_bytes();
    let place = field.offset()..field.offset() + field.size();
    payload[place].copy_from_slice(&bytes[..field.size()]);
}

fn number(text: &str) -> u64 {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).expect("a number");
    }
    match text {
        "true" => 1,
        "false" => 0,
        _ => text.parse::<i128>().expect("a number") as u64,
    }
}
