// SPDX-License-Identifier: GPL-2.0-only

//! From what a run left in its `trace` folder and in guest RAM to a capture that can be decoded.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deferinit_ftrace::capture::Capture;
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::{CpuSubBuffers, PageLayout};
use deferinit_ftrace::persistent::Region;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::stats::Stats;
use deferinit_ftrace::symbols::Symbols;
use deferinit_ftrace::trace_dat::{TraceDat, TraceDatCpu, WriteError};
use deferinit_host::{Outcome, kallsyms};
use sha2::{Digest, Sha256};

use crate::prepare::Prepared;

/// x86-64: the architecture of every machine so far.
const PAGE_BYTES: u32 = 4096;

/// The same.
const LONG_BYTES: u8 = 8;

/// The files of a `trace` folder; absent ones are empty or `None`.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) header_page: String,
    pub(super) header_event: String,
    formats: Formats,
    pub(super) statistics: Vec<(u32, Vec<u8>)>,
    raw: Vec<(u32, Vec<u8>)>,
    printk_formats: Vec<u8>,
    saved_cmdlines: Vec<u8>,
    pub(super) trace_clock: String,
    pub(super) dmesg: Option<String>,
    pub(super) kmemleak: Option<String>,
    /// The module's own record of each phase.
    pub(super) results: BTreeMap<String, String>,
    /// The agent's record of the rounds of each phase that has them.
    pub(super) rounds: BTreeMap<String, String>,
    /// What the command of each phase that has one wrote.
    pub(super) outputs: BTreeMap<String, String>,
    /// The texts of the kernel, by their paths in `reports/`.
    pub(super) reports: BTreeMap<String, String>,
    /// The first of these that cannot be read, if any.
    pub(super) damage: Option<String>,
}

/// A trace that can be gone through.
pub(super) struct Decoded<'a> {
    /// None if the guest ended before it could describe its trace.
    pub(super) capture: Option<Capture<'a>>,
    pub(super) symbols: Symbols,
    /// The names of tasks.
    pub(super) tasks: SavedCmdlines,
    pub(super) statistics: BTreeMap<u32, Stats>,
    /// The first of the guest's files that cannot be read as what it should be, if any.
    pub(super) damage: Option<String>,
    /// The trace as trace-cmd and KernelShark read it; none if there is no trace.
    pub(super) trace_dat: Option<Vec<u8>>,
    /// Of all sub-buffers, in hexadecimal; none if there is no trace.
    pub(super) sha256: Option<String>,
}

impl Files {
    /// Reads a folder. What the guest did not come to send is absent, not an error; what it sent in
    /// another shape is damage.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut files = Self {
            header_page: text(&folder.join("formats/header_page"))?.unwrap_or_default(),
            header_event: text(&folder.join("formats/header_event"))?.unwrap_or_default(),
            statistics: per_cpu(&folder.join("stats"))?,
            raw: per_cpu(&folder.join("raw"))?,
            printk_formats: bytes(&folder.join("printk_formats"))?.unwrap_or_default(),
            saved_cmdlines: bytes(&folder.join("saved_cmdlines"))?.unwrap_or_default(),
            trace_clock: text(&folder.join("trace_clock"))?.unwrap_or_default(),
            dmesg: text(&folder.join("dmesg"))?,
            kmemleak: text(&folder.join("kmemleak"))?,
            results: by_phase(&folder.join("results"))?,
            rounds: by_phase(&folder.join("rounds"))?,
            outputs: by_phase(&folder.join("output"))?,
            reports: by_path(&folder.join("reports"))?,
            ..Self::default()
        };
        for system in entries(&folder.join("formats"))?
            .into_iter()
            .filter(|path| path.is_dir())
        {
            for path in entries(&system)? {
                let content = text(&path)?.unwrap_or_default();
                let system = system.file_name().unwrap_or_default().to_string_lossy();
                if let Err(error) = files.formats.add(&system, &content) {
                    let event = path.file_name().unwrap_or_default().to_string_lossy();
                    note(
                        &mut files.damage,
                        format!("the format of {system}:{event} cannot be read: {error}"),
                    );
                }
            }
        }
        add_block_format(&mut files.formats);
        Ok(files)
    }
}

impl Files {
    /// The kernel's own count of records, of each CPU whose statistics can be read.
    pub(super) fn statistics(&self) -> BTreeMap<u32, Stats> {
        let statistics = self.statistics.iter().filter_map(|(cpu, text)| {
            let stats = Stats::parse(&String::from_utf8_lossy(text)).ok()?;
            Some((*cpu, stats))
        });
        statistics.collect()
    }
}

/// Describes the records of the tracer blk, for which the kernel has no format file: `struct blk_io_trace2`
/// (`include/uapi/linux/blktrace_api.h`), whose first eight bytes are those that all records have in common. Its number
/// is the one after user stacks (`enum trace_type`, `kernel/trace/trace.h`); Linux 7.3. trace-cmd has a description of
/// its own, of the older structure, and takes the one or the other (`tracecmd_blk_hack()`, trace-cmd 3.1).
fn add_block_format(formats: &mut Formats) {
    let Some(id) = formats
        .by_name("ftrace", "user_stack")
        .and_then(|stack| stack.id().checked_add(1))
        .filter(|id| formats.by_id(*id).is_none())
    else {
        return;
    };
    let fields = [
        ("unsigned short common_type", 0, 2, 0),
        ("unsigned char common_flags", 2, 1, 0),
        ("unsigned char common_preempt_count", 3, 1, 0),
        ("int common_pid", 4, 4, 1),
        ("u64 time", 8, 8, 0),
        ("u64 sector", 16, 8, 0),
        ("u32 bytes", 24, 4, 0),
        ("u32 pid", 28, 4, 0),
        ("u64 action", 32, 8, 0),
        ("u32 device", 40, 4, 0),
        ("u32 cpu", 44, 4, 0),
        ("u16 error", 48, 2, 0),
        ("u16 pdu_len", 50, 2, 0),
    ];
    let mut text = format!("name: blktrace\nID: {id}\nformat:\n");
    for (declaration, offset, size, signed) in fields {
        text.push_str(&format!(
            "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
        ));
        if offset == 4 {
            text.push('\n');
        }
    }
    text.push_str(
        "\nprint fmt: \"dev=%u action=%llx sector=%llu bytes=%u error=%d\", REC->device, REC->action, REC->sector, REC->bytes, REC->error\n",
    );
    // What is refused here would be ours, and shows as records that cannot be read.
    drop(formats.add("ftrace", &text));
}

/// The files of a folder by their names.
fn by_phase(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.insert(name.into_owned(), text(&path)?.unwrap_or_default());
    }
    Ok(files)
}

/// The files of a folder and of those in it, by their paths from there.
fn by_path(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for path in entries(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            if path.is_dir() {
                folders.push((path, format!("{name}/")));
            } else {
                files.insert(name, text(&path)?.unwrap_or_default());
            }
        }
    }
    Ok(files)
}

/// Keeps the first thing that is wrong.
fn note(damage: &mut Option<String>, message: String) {
    damage.get_or_insert(message);
}

/// Finds the sub-buffers, in guest RAM or among the files. What cannot be read is damage; the rest
/// is read all the same.
pub(super) fn decode<'a>(
    prepared: &Prepared,
    outcome: &'a Outcome,
    files: &'a Files,
) -> Result<Decoded<'a>> {
    let object_of = |name: &str| prepared.modules.get(name).map(Vec::as_slice);
    let kallsyms = kallsyms(&prepared.system_map, &outcome.received.modules, object_of)?;
    let mut decoded = described(&kallsyms, files);
    // Without a layout, the guest ended before it could say how its trace is laid out.
    if !files.header_page.is_empty() {
        decoded.add_trace(outcome, files, &kallsyms, &prepared.release);
    }
    Ok(decoded)
}

/// The hash of a run's trace; none if it has none that can be read.
pub(super) fn sha256(outcome: &Outcome, files: &Files) -> Option<String> {
    let layout = PageLayout::parse(&files.header_page, &files.header_event).ok()?;
    Some(hash(&buffers(outcome, files, layout).cpus))
}

/// What is known without the trace itself.
fn described<'a>(kallsyms: &str, files: &Files) -> Decoded<'a> {
    let mut damage = files.damage.clone();
    let symbols = Symbols::parse(kallsyms).unwrap_or_else(|error| {
        note(
            &mut damage,
            format!("the symbols of the kernel cannot be read: {error}"),
        );
        Symbols::default()
    });
    Decoded {
        capture: None,
        symbols,
        tasks: SavedCmdlines::parse(&files.saved_cmdlines),
        statistics: files.statistics(),
        damage,
        trace_dat: None,
        sha256: None,
    }
}

impl<'a> Decoded<'a> {
    fn note(&mut self, message: String) {
        note(&mut self.damage, message);
    }

    fn add_trace(&mut self, outcome: &'a Outcome, files: &'a Files, kallsyms: &str, release: &str) {
        let layout = match PageLayout::parse(&files.header_page, &files.header_event) {
            Ok(layout) => layout,
            Err(error) => {
                self.note(format!("the layout of the trace cannot be read: {error}"));
                return;
            }
        };
        let Buffers {
            layout,
            cpus,
            damage,
        } = buffers(outcome, files, layout);
        if let Some(damage) = damage {
            self.note(damage);
        }
        match trace_dat(&layout, &cpus, files, kallsyms, release) {
            Ok(trace_dat) => self.trace_dat = Some(trace_dat),
            Err(error) => self.note(format!("the trace cannot be put into trace.dat: {error}")),
        }
        self.sha256 = Some(hash(&cpus));
        self.capture = Some(Capture::new(&files.formats, layout, cpus));
    }
}

/// The trace as trace-cmd and KernelShark read it.
fn trace_dat(
    layout: &PageLayout,
    cpus: &[CpuSubBuffers<'_>],
    files: &Files,
    kallsyms: &str,
    release: &str,
) -> Result<Vec<u8>, WriteError> {
    let uname = uname(release);
    head(layout, files, kallsyms, &uname).write(&trace_dat_cpus(cpus, files))
}

/// The system as a trace.dat names it: x86-64, the architecture of every machine so far.
pub(super) fn uname(release: &str) -> String {
    format!("Linux {release} x86_64")
}

/// What a trace.dat says besides its trace.
pub(super) fn head<'a>(
    layout: &PageLayout,
    files: &'a Files,
    kallsyms: &'a str,
    uname: &'a str,
) -> TraceDat<'a> {
    TraceDat {
        page_size: PAGE_BYTES,
        user_long_size: LONG_BYTES,
        sub_buffer_size: u32::try_from(layout.sub_buffer_size()).unwrap_or(PAGE_BYTES),
        header_page: files.header_page.as_bytes(),
        header_event: files.header_event.as_bytes(),
        formats: &files.formats,
        kallsyms: kallsyms.as_bytes(),
        printk_formats: &files.printk_formats,
        saved_cmdlines: &files.saved_cmdlines,
        trace_clock: &files.trace_clock,
        uname,
        version: concat!("deferinit ", env!("CARGO_PKG_VERSION")),
    }
}

/// Where the trace is.
struct Buffers<'a> {
    layout: PageLayout,
    cpus: Vec<CpuSubBuffers<'a>>,
    damage: Option<String>,
}

/// The sub-buffers of every CPU that has some, and what is wrong if they cannot be found.
fn buffers<'a>(outcome: &'a Outcome, files: &'a Files, layout: PageLayout) -> Buffers<'a> {
    if outcome.trace_region.is_empty() {
        let streams = files.raw.iter();
        let cpus = streams
            .map(|(cpu, raw)| CpuSubBuffers::from_stream(*cpu, raw, &layout))
            .collect();
        return Buffers {
            layout,
            cpus,
            damage: None,
        };
    }
    match Region::parse(&outcome.trace_region, &layout) {
        Ok(region) => Buffers {
            layout: layout.with_sub_buffer_size(region.sub_buffer_size),
            cpus: region.cpus,
            damage: None,
        },
        Err(error) => Buffers {
            layout,
            cpus: Vec::new(),
            damage: Some(format!(
                "the trace buffer in guest RAM cannot be read: {error}"
            )),
        },
    }
}

fn trace_dat_cpus<'a>(cpus: &[CpuSubBuffers<'a>], files: &'a Files) -> Vec<TraceDatCpu<'a>> {
    let stats_of = |cpu| {
        let found = files.statistics.iter().find(|(number, _)| *number == cpu);
        found.map_or(&[][..], |(_, text)| text.as_slice())
    };
    cpus.iter()
        .map(|data| TraceDatCpu {
            data: data.clone(),
            stats: stats_of(data.cpu),
        })
        .collect()
}

/// One hash for the traces of all boots of a run: that of the only one, or of all of them in their order.
pub(super) fn hash_of(hashes: &[String]) -> Option<String> {
    match hashes {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(hexadecimal(&Sha256::digest(several.concat()))),
    }
}

fn hash(cpus: &[CpuSubBuffers<'_>]) -> String {
    let mut hasher = Sha256::new();
    for cpu in cpus {
        hasher.update(cpu.cpu.to_le_bytes());
        for sub_buffer in &cpu.sub_buffers {
            hasher.update(sub_buffer);
        }
    }
    hexadecimal(&hasher.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> Result<Option<String>> {
    Ok(bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        // A folder in the place of a file is no such file.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The files `cpu<N>` of a folder, by N.
pub(super) fn per_cpu(folder: &Path) -> Result<Vec<(u32, Vec<u8>)>> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(cpu) = name
            .strip_prefix("cpu")
            .and_then(|digits| digits.parse().ok())
        {
            files.push((cpu, bytes(&path)?.unwrap_or_default()));
        }
    }
    files.sort_unstable_by_key(|(cpu, _)| *cpu);
    Ok(files)
}

/// What is in a folder, sorted; nothing if it does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", folder.display()));
        }
    };
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(
            entry
                .with_context(|| format!("cannot list {}", folder.display()))?
                .path(),
        );
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use deferinit_host::{Ending, Received};

    use super::*;

    const KALLSYMS: &str = "ffffffff81000000 T _text\n";

    fn outcome(trace_region: Vec<u8>) -> Outcome {
        Outcome {
            ending: Ending::Complete,
            received: Received::default(),
            console_tail: String::new(),
            stacks: String::new(),
            trace_region,
            wall: std::time::Duration::ZERO,
            host_wait: None,
        }
    }

    #[test]
    fn a_format_that_cannot_be_read_is_damage_and_the_rest_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let system = folder.path().join("formats/sched");
        // A file that is a folder reads as an empty one.
        fs::create_dir_all(system.join("sched_switch")).expect("a folder");
        fs::create_dir(folder.path().join("kmemleak")).expect("a folder");
        fs::write(folder.path().join("stats"), "no folder").expect("a file");
        fs::write(folder.path().join("dmesg"), "a log").expect("a file");
        let files = Files::read(folder.path()).expect("read");
        let damage = files.damage.clone().expect("damage");
        assert!(
            damage.starts_with("the format of sched:sched_switch cannot be read: "),
            "{damage}"
        );
        assert_eq!(files.dmesg.as_deref(), Some("a log"));
        assert_eq!(files.kmemleak, None);
        assert_eq!(described(KALLSYMS, &files).damage, Some(damage));
    }

    #[test]
    fn symbols_that_cannot_be_read_are_damage() {
        let decoded = described("no symbols at all", &Files::default());
        let damage = decoded.damage.expect("damage");
        assert!(
            damage.starts_with("the symbols of the kernel cannot be read: "),
            "{damage}"
        );
    }

    #[test]
    fn a_layout_that_cannot_be_read_is_damage() {
        let files = Files {
            header_page: "no layout".to_owned(),
            ..Files::default()
        };
        let outcome = outcome(vec![0; 4096]);
        let mut decoded = described(KALLSYMS, &files);
        decoded.add_trace(&outcome, &files, KALLSYMS, "7.3");
        let damage = decoded.damage.expect("damage");
        assert!(
            damage.starts_with("the layout of the trace cannot be read: "),
            "{damage}"
        );
        assert!(decoded.capture.is_none());
    }
}
