// SPDX-License-Identifier: GPL-2.0-only

//! The real captures. A `README.md` beside each says where it is from.

use std::collections::BTreeSet;
use std::fmt::Write;

use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{CpuSubBuffers, PageLayout, SubBuffer};
use deferinit_ftrace::persistent::Region;
use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_ftrace::trace_dat::{TraceDat, TraceDatCpu};

macro_rules! formats {
    ($folder:literal: $($system:literal / $event:literal),* $(,)?) => {
        &[$(($system, include_str!(concat!("../", $folder, "/formats/", $system, "/", $event)))),*]
    };
}

/// What is needed to decode a capture.
pub(crate) struct Recorded {
    formats: Formats,
    header_page: &'static str,
    header_event: &'static str,
    /// The sub-buffers of each CPU, or the memory of an instance.
    cpus: Vec<Vec<u8>>,
    is_memory: bool,
    pub(crate) kallsyms: String,
    saved_cmdlines: &'static [u8],
}

/// Two CPUs, with tasks that go from one to the other.
pub(crate) fn smp() -> Recorded {
    let formats = formats!["data/linux-7.3.4-smp":
        "ftrace" / "funcgraph_entry",
        "ftrace" / "funcgraph_exit",
        "sched" / "sched_migrate_task",
        "sched" / "sched_switch",
        "sched" / "sched_wakeup",
        "timer" / "timer_cancel",
        "timer" / "timer_expire_entry",
        "timer" / "timer_expire_exit",
        "timer" / "timer_start",
        "workqueue" / "workqueue_activate_work",
        "workqueue" / "workqueue_execute_end",
        "workqueue" / "workqueue_execute_start",
        "workqueue" / "workqueue_queue_work",
    ];
    Recorded {
        formats: added(formats),
        header_page: include_str!("../data/linux-7.3.4-smp/header_page"),
        header_event: include_str!("../data/linux-7.3.4-smp/header_event"),
        cpus: vec![
            unpacked(include_bytes!("../data/linux-7.3.4-smp/cpu0.zst")),
            unpacked(include_bytes!("../data/linux-7.3.4-smp/cpu1.zst")),
        ],
        is_memory: false,
        // The module's init function is gone when the symbols are read; for such an address trace-cmd makes up a name.
        kallsyms: format!(
            "{}ffffffffa00010a4 t function_of_old\t[test_deferred]\n",
            include_str!("../data/linux-7.3.4-smp/kallsyms")
        ),
        saved_cmdlines: include_bytes!("../data/linux-7.3.4-smp/saved_cmdlines"),
    }
}

/// One CPU, whole from before the first call to after the last. It has no symbols: each function is named by its address.
pub(crate) fn whole() -> Recorded {
    let formats = formats!["../../ftrace/tests/data/linux-7.3.4":
        "ftrace" / "print",
        "ftrace" / "funcgraph_exit",
        "ftrace" / "funcgraph_entry",
        "initcall" / "initcall_start",
        "initcall" / "initcall_finish",
        "module" / "module_load",
        "module" / "module_free",
        "module" / "module_get",
        "module" / "module_put",
        "test_deferred" / "deferred_item_armed",
        "test_deferred" / "deferred_item_queued",
        "test_deferred" / "deferred_item_started",
        "test_deferred" / "deferred_item_ended",
        "test_deferred" / "deferred_item_cancelled",
        "timer" / "timer_start",
        "timer" / "timer_cancel",
        "timer" / "timer_expire_entry",
        "timer" / "timer_expire_exit",
        "workqueue" / "workqueue_queue_work",
        "workqueue" / "workqueue_activate_work",
        "workqueue" / "workqueue_execute_start",
        "workqueue" / "workqueue_execute_end",
    ];
    let mut recorded = Recorded {
        formats: added(formats),
        header_page: include_str!("../../../ftrace/tests/data/linux-7.3.4/header_page"),
        header_event: include_str!("../../../ftrace/tests/data/linux-7.3.4/header_event"),
        cpus: vec![unpacked(include_bytes!(
            "../../../ftrace/tests/data/linux-7.3.4/persistent.zst"
        ))],
        is_memory: true,
        kallsyms: String::new(),
        saved_cmdlines: b"",
    };
    let functions: BTreeSet<u64> = recorded.with_records(|records| {
        let function = |record: &Record<'_>| match record.event {
            Event::FuncgraphEntry { function, .. } => Some(function),
            _ => None,
        };
        records.iter().filter_map(function).collect()
    });
    for function in functions {
        writeln!(recorded.kallsyms, "{function:016x} t function_{function:x}")
            .expect("a string takes all");
    }
    recorded
}

impl Recorded {
    pub(crate) fn with_records<T>(&self, use_them: impl FnOnce(&[Record<'_>]) -> T) -> T {
        let layout = self.layout();
        let cpus = self.sub_buffers(&layout);
        let mut all = Vec::new();
        for cpu in &cpus {
            for sub_buffer in &cpu.sub_buffers {
                let sub_buffer = SubBuffer::parse(sub_buffer, &layout).expect("it is whole");
                for raw in sub_buffer.records() {
                    let raw = raw.expect("it is whole");
                    let record = Record::decode(&self.formats, cpu.cpu, raw);
                    all.push(record.expect("its format is known"));
                }
            }
        }
        // Stable: each CPU's stay in their order.
        all.sort_by_key(|record| (record.timestamp_ns, record.cpu));
        assert!(!all.is_empty(), "there are records");
        use_them(&all)
    }

    pub(crate) fn symbols(&self) -> Symbols {
        Symbols::parse(&self.kallsyms).expect("the table is sound")
    }

    pub(crate) fn tasks(&self) -> SavedCmdlines {
        SavedCmdlines::parse(self.saved_cmdlines)
    }

    pub(crate) fn cpus(&self) -> u32 {
        self.cpus.len() as u32
    }

    /// The same as a trace.dat file.
    pub(crate) fn trace_dat(&self) -> Vec<u8> {
        let layout = self.layout();
        let cpus: Vec<_> = self
            .sub_buffers(&layout)
            .into_iter()
            .map(|data| TraceDatCpu { data, stats: b"" })
            .collect();
        let archive = TraceDat {
            page_size: 4096,
            user_long_size: 8,
            sub_buffer_size: 4096,
            header_page: self.header_page.as_bytes(),
            header_event: self.header_event.as_bytes(),
            formats: &self.formats,
            kallsyms: self.kallsyms.as_bytes(),
            printk_formats: b"",
            saved_cmdlines: self.saved_cmdlines,
            trace_clock: "[local]\n",
            uname: "Linux guest 7.3.4 x86_64",
            version: "deferinit 0.1.0",
        };
        archive.write(&cpus).expect("all can be said")
    }

    fn layout(&self) -> PageLayout {
        PageLayout::parse(self.header_page, self.header_event)
            .expect("the texts are a real kernel's")
    }

    fn sub_buffers(&self, layout: &PageLayout) -> Vec<CpuSubBuffers<'_>> {
        if self.is_memory {
            let region = Region::parse(&self.cpus[0], layout).expect("the memory is whole");
            return region.cpus;
        }
        (0..)
            .zip(&self.cpus)
            .map(|(cpu, pages)| CpuSubBuffers::from_stream(cpu, pages, layout))
            .collect()
    }
}

fn added(texts: &[(&str, &str)]) -> Formats {
    let mut formats = Formats::new();
    for (system, text) in texts {
        formats
            .add(system, text)
            .expect("the text is a real kernel's");
    }
    formats
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).expect("the file is zstd")
}
