// SPDX-License-Identifier: GPL-2.0-only

//! Prints a streamed trace while it comes, in a thread of its own.
//!
//! In: the frames of a stream, as the receiver takes them. Out: records on standard output, as `trace events` and `trace
//! replay` print them. It keeps little: what receives waits for it.

mod merge;

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use deferinit_ftrace::format::Formats;
use deferinit_ftrace::page::PageLayout;
use deferinit_ftrace::record::Record;
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_host::Module;
use deferinit_protocol::{FileKind, MAX_STREAM_CPUS, Message};
use deferinit_trace::dump::json::push_record;
use deferinit_trace::events::push_line;
use deferinit_trace::fields::Fields;
use deferinit_trace::functions::Functions;
use deferinit_trace::names::Names;
use deferinit_trace::replay::{KernelReplay, Selection};

use crate::args::{Format, live::Shown};
use crate::commands::trace::palette;
use crate::exit::{Failure, complain};
use crate::stdout::Output;
use merge::{Account, Merge, Step};

/// So many frames wait to be printed.
const AHEAD: usize = 16;

/// The text of `/proc/kallsyms`, made of what was loaded where; from what the sender has sent of it, if it has.
pub(crate) type KallsymsOf = Box<dyn FnOnce(&[Module], Vec<u8>) -> anyhow::Result<String> + Send>;

/// The thread that prints.
pub(crate) struct Printer {
    /// None when it wants no more.
    items: Option<SyncSender<Item>>,
    thread: JoinHandle<Result<Account, Failure>>,
}

/// What of a frame has to do with printing.
enum Item {
    Cpus(u32),
    File(FileKind, Vec<u8>),
    Module(Module),
    SubBuffers(u32, Vec<u8>),
    AllRead,
}

impl Printer {
    /// Starts it.
    pub(crate) fn start(shown: Shown, kallsyms_of: KallsymsOf) -> anyhow::Result<Self> {
        let (items, received) = sync_channel(AHEAD);
        let thread = thread::Builder::new()
            .name("print".to_owned())
            .spawn(move || print(shown, &received, kallsyms_of))
            .context("cannot start the thread that prints")?;
        Ok(Self {
            items: Some(items),
            thread,
        })
    }

    /// Shows it a frame; breaks if the reader wants no more.
    pub(crate) fn show(&mut self, message: &Message, payload: &[u8]) -> ControlFlow<()> {
        let item = match message {
            Message::File { file } if is_shown(file) => Item::File(file.clone(), payload.to_vec()),
            Message::Hello { cpus, .. } => Item::Cpus((*cpus).min(MAX_STREAM_CPUS)),
            Message::ModuleLoaded { module, sections } => Item::Module(Module {
                name: module.clone(),
                sections: sections.clone(),
            }),
            Message::SubBuffers { cpu } => Item::SubBuffers(*cpu, payload.to_vec()),
            Message::AllRead => Item::AllRead,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(items) = &self.items
            && items.send(item).is_err()
        {
            self.items = None;
        }
        match self.items {
            Some(_) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        }
    }

    /// Prints what is left; says what could not be printed well.
    ///
    /// # Errors
    /// Standard output cannot be written, or the stream described nothing that can be decoded.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        drop(self.items);
        let Account {
            records: _,
            late,
            damages,
            first_damage,
        } = self
            .thread
            .join()
            .map_err(|_| Failure::setup(anyhow!("the thread that prints died")))??;
        if late > 0 {
            complain(&format!(
                "note: {late} records were printed behind later ones; in trace.dat they are in order"
            ));
        }
        if let Some(first) = first_damage {
            complain(&format!(
                "note: {damages} places could not be printed, the first: {first}"
            ));
        }
        Ok(())
    }
}

fn is_shown(file: &FileKind) -> bool {
    matches!(
        file,
        FileKind::HeaderPage
            | FileKind::HeaderEvent
            | FileKind::Format { .. }
            | FileKind::Kallsyms
            | FileKind::SavedCmdlines
    )
}

/// What a stream says before its trace.
#[derive(Default)]
struct Description {
    cpus: u32,
    header_page: Vec<u8>,
    header_event: Vec<u8>,
    formats: Formats,
    kallsyms: Vec<u8>,
    modules: Vec<Module>,
    tasks: SavedCmdlines,
    /// The first format that cannot be read.
    damage: Option<String>,
}

impl Description {
    fn take(&mut self, file: FileKind, content: Vec<u8>) {
        match file {
            FileKind::HeaderPage => self.header_page = content,
            FileKind::HeaderEvent => self.header_event = content,
            FileKind::Kallsyms => self.kallsyms = content,
            FileKind::SavedCmdlines => self.tasks = SavedCmdlines::parse(&content),
            FileKind::Format { system, event } => {
                let text = String::from_utf8_lossy(&content);
                if let Err(error) = self.formats.add(&system, &text) {
                    self.damage.get_or_insert(format!(
                        "the format of {system}:{event} cannot be read: {error}"
                    ));
                }
            }
            _ => {}
        }
    }
}

/// Prints until there is no more, or until nobody reads.
fn print(
    shown: Shown,
    items: &Receiver<Item>,
    kallsyms_of: KallsymsOf,
) -> Result<Account, Failure> {
    let mut description = Description::default();
    let mut first = loop {
        match items.recv() {
            Err(_) => return Ok(Account::default()),
            Ok(Item::File(file, content)) => description.take(file, content),
            Ok(Item::Cpus(cpus)) => description.cpus = cpus,
            Ok(Item::Module(module)) => description.modules.push(module),
            Ok(item @ (Item::SubBuffers(..) | Item::AllRead)) => break Some(item),
        }
    };
    if let Some(damage) = &description.damage {
        complain(&format!("warning: {damage}"));
    }
    let layout = PageLayout::parse(
        &String::from_utf8_lossy(&description.header_page),
        &String::from_utf8_lossy(&description.header_event),
    )
    .context("the layout of the trace cannot be read")
    .map_err(Failure::trace)?;
    let symbols = kallsyms_of(&description.modules, description.kallsyms)
        .and_then(|text| Ok(Symbols::parse(&text)?))
        .unwrap_or_else(|error| {
            complain(&format!(
                "warning: functions have no names: the symbols cannot be read: {error:#}"
            ));
            Symbols::default()
        });
    let fields = Fields::new(&description.formats);
    let mut tasks = description.tasks;
    let mut out = Output::new();
    let mut lines = Lines::new(shown, description.cpus, &symbols, &fields);
    lines.header(&mut out);
    let mut merge = Merge::new(&description.formats, layout);
    // Names are made anew when there are new ones of tasks: they borrow the old ones.
    loop {
        let mut names = Names::new(&symbols, &tasks);
        let newer = loop {
            let next = match first.take() {
                Some(item) => Ok(item),
                None => items.recv(),
            };
            let mut wants_more = ControlFlow::Continue(());
            match next {
                Ok(Item::File(FileKind::SavedCmdlines, content)) => {
                    break SavedCmdlines::parse(&content);
                }
                Ok(Item::File(..) | Item::Module(_) | Item::Cpus(_)) => {}
                Ok(Item::SubBuffers(cpu, bytes)) => {
                    merge.add(cpu, &bytes);
                    if merge.is_full() {
                        wants_more = merge.end(|step| lines.push(step, &mut names, &mut out))?;
                    }
                }
                Ok(Item::AllRead) => {
                    wants_more = merge.end_round(|step| lines.push(step, &mut names, &mut out))?;
                }
                Err(_) => {
                    let _ = merge.end(|step| lines.push(step, &mut names, &mut out))?;
                    out.finish()?;
                    return Ok(merge.account());
                }
            }
            if wants_more.is_break() || out.show()?.is_break() {
                return Ok(merge.account());
            }
        };
        lines.rename(&newer);
        tasks = newer;
    }
}

/// Makes text of records.
struct Lines<'a> {
    fields: &'a Fields,
    style: Style<'a>,
}

enum Style<'a> {
    Events,
    Json,
    Replay(Box<KernelReplay<'a>>),
}

/// For a replay without any name, until the first ones come.
static NO_TASKS: std::sync::LazyLock<SavedCmdlines> =
    std::sync::LazyLock::new(SavedCmdlines::default);

impl<'a> Lines<'a> {
    fn new(shown: Shown, cpus: u32, symbols: &'a Symbols, fields: &'a Fields) -> Self {
        let style = match (shown.replay, shown.format) {
            (true, _) => Style::Replay(Box::new(
                KernelReplay::new(
                    Functions::new(symbols),
                    &NO_TASKS,
                    cpus,
                    Selection::default(),
                )
                .with_palette(palette())
                .with_irq_text(symbols.irq_entry_text()),
            )),
            (false, Format::Text) => Style::Events,
            (false, Format::Json) => Style::Json,
        };
        Self { fields, style }
    }

    fn header(&self, out: &mut Output) {
        if let Style::Replay(replay) = &self.style {
            replay.header(out.bytes());
        }
    }

    fn rename(&mut self, tasks: &SavedCmdlines) {
        if let Style::Replay(replay) = &mut self.style {
            replay.rename(tasks.clone());
        }
    }

    fn push(
        &mut self,
        step: &Step<'_>,
        names: &mut Names<'_>,
        out: &mut Output,
    ) -> Result<ControlFlow<()>, Failure> {
        let fields = self.fields;
        match &mut self.style {
            Style::Events => push_line(out.bytes(), &step.record, fields, names),
            Style::Json => push_record(out.bytes(), &step.record, fields, names),
            Style::Replay(replay) => {
                if step.follows_loss {
                    replay.lost(step.record.cpu, None, out.bytes());
                }
                let mut render =
                    |record: &Record<'_>, into: &mut Vec<u8>| fields.text(record, names, into);
                replay.record(
                    &step.record,
                    step.following.as_ref(),
                    &mut render,
                    out.bytes(),
                );
            }
        }
        out.go_on()
    }
}
