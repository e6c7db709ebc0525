// SPDX-License-Identifier: GPL-2.0-only

//! A real guest's captures, decoded.

use deferinit_ftrace::capture::Capture;
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{CpuSubBuffers, PageLayout};
use deferinit_ftrace::printk_formats::PrintkFormats;
use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use deferinit_trace::fields::Fields;
use deferinit_trace::names::Names;

pub(crate) const HEADER_PAGE: &str = include_str!("../data/linux-7.3.4/captures/header_page");
pub(crate) const HEADER_EVENT: &str = include_str!("../data/linux-7.3.4/captures/header_event");
pub(crate) const KALLSYMS: &str = include_str!("../data/linux-7.3.4/captures/kallsyms");
pub(crate) const PRINTK_FORMATS: &[u8] =
    include_bytes!("../data/linux-7.3.4/captures/printk_formats");
const FORMATS: &str = include_str!("../data/linux-7.3.4/captures/formats");

/// One capture: what each CPU's `trace_pipe_raw` gave, and its statistics.
#[derive(Clone, Copy)]
pub(crate) struct Raw {
    pub(crate) name: &'static str,
    pub(crate) cpus: [(&'static [u8], &'static str); 2],
    pub(crate) saved_cmdlines: &'static [u8],
}

macro_rules! capture {
    ($name:literal, $saved_cmdlines:literal) => {
        Raw {
            name: $name,
            cpus: [
                (
                    include_bytes!(concat!("../data/linux-7.3.4/captures/", $name, ".cpu0.zst")),
                    include_str!(concat!(
                        "../data/linux-7.3.4/captures/",
                        $name,
                        ".cpu0.stats"
                    )),
                ),
                (
                    include_bytes!(concat!("../data/linux-7.3.4/captures/", $name, ".cpu1.zst")),
                    include_str!(concat!(
                        "../data/linux-7.3.4/captures/",
                        $name,
                        ".cpu1.stats"
                    )),
                ),
            ],
            saved_cmdlines: include_bytes!(concat!(
                "../data/linux-7.3.4/captures/",
                $saved_cmdlines
            )),
        }
    };
}

pub(crate) const EVENTS: Raw = capture!("events", "saved_cmdlines");
pub(crate) const FUNCTION: Raw = capture!("function", "saved_cmdlines");
pub(crate) const FUNCTION_GRAPH: Raw = capture!("function_graph", "saved_cmdlines-graph");
pub(crate) const ALL: [Raw; 3] = [EVENTS, FUNCTION, FUNCTION_GRAPH];

/// What a test needs of one capture.
pub(crate) struct Trace {
    pub(crate) formats: Formats,
    pub(crate) fields: Fields,
    pub(crate) symbols: Symbols,
    pub(crate) tasks: SavedCmdlines,
    pub(crate) constants: PrintkFormats,
    pub(crate) layout: PageLayout,
    pub(crate) streams: Vec<Vec<u8>>,
    pub(crate) stats: Vec<Stats>,
}

pub(crate) fn formats() -> Formats {
    let mut formats = Formats::new();
    for event in FORMATS.split("## ").filter(|event| !event.is_empty()) {
        let (system, text) = event.split_once('\n').expect("a line with the system");
        formats
            .add(system, text)
            .expect("the text is a real kernel's");
    }
    formats
}

impl Trace {
    pub(crate) fn of(raw: Raw) -> Self {
        let formats = formats();
        Self {
            fields: Fields::new(&formats),
            formats,
            symbols: Symbols::parse(KALLSYMS).expect("the text is a real kernel's"),
            tasks: SavedCmdlines::parse(raw.saved_cmdlines),
            constants: PrintkFormats::parse(PRINTK_FORMATS),
            layout: PageLayout::parse(HEADER_PAGE, HEADER_EVENT)
                .expect("the texts are a real kernel's"),
            streams: raw
                .cpus
                .iter()
                .map(|(stream, _)| zstd::decode_all(*stream).expect("the file is zstd"))
                .collect(),
            stats: raw
                .cpus
                .iter()
                .map(|(_, stats)| Stats::parse(stats).expect("the text is a real kernel's"))
                .collect(),
        }
    }

    pub(crate) fn cpus(&self) -> Vec<CpuSubBuffers<'_>> {
        (0..)
            .zip(&self.streams)
            .map(|(cpu, stream)| CpuSubBuffers::from_stream(cpu, stream, &self.layout))
            .collect()
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names::new(&self.symbols, &self.tasks).with_constants(&self.constants)
    }

    /// Gives all records that there are, whatever is wrong with them.
    pub(crate) fn each_sound(&self, mut take: impl FnMut(&Record<'_>)) -> u64 {
        let mut records = Capture::new(&self.formats, self.layout.clone(), self.cpus()).records();
        while let Some(record) = records.next_record() {
            take(&record);
        }
        records.finish().damages
    }

    /// Gives all records, and checks that they are as many as the kernel counted.
    pub(crate) fn each(&self, mut take: impl FnMut(&Record<'_>)) {
        let mut records = Capture::new(&self.formats, self.layout.clone(), self.cpus()).records();
        while let Some(record) = records.next_record() {
            take(&record);
        }
        let tally = records.finish();
        let decoded: u64 = tally.cpus.iter().map(|cpu| cpu.decoded).sum();
        let counted: u64 = self
            .stats
            .iter()
            .map(|stats| stats.entries + stats.read_events)
            .sum();
        assert_eq!((tally.damages, decoded), (0, counted));
    }
}
