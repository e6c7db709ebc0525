// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit shell`: a shell in the guest, on the terminal.

use std::fs::{self, DirBuilder};
use std::io::{self, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use deferinit_host::{GuestFile, add_files, shell_init};
use deferinit_scenario::{Bytes, Clock, Load};

use crate::args::Shell;
use crate::exit::{Failure, PASSED, UNRESOLVED};
use crate::guest_files::AddedFiles;
use crate::prepare::{self, Contents};
use crate::project::Project;

/// What greets the user.
const GREETING: &str = "
deferinit: a guest of one's own. Ctrl-D powers it off; nothing in it is kept.
  /test_deferred_events.ko, /test_deferred.ko  the workload: insmod them in this order
  /sys/kernel/tracing                          ftrace
  /sys/kernel/debug/test_deferred              what the workload says of itself
";

/// A terminal that does not say how large it is.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// Runs the command.
pub(crate) fn run(arguments: &Shell, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "`deferinit shell` needs a terminal; `deferinit trace record` runs a command without one"
        )));
    }
    // A terminal that is closed ends QEMU, after which there is something to clean up.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&interrupted))
        .context("cannot listen to signals")
        .map_err(Failure::setup)?;
    let project = Project::find()?;
    let (session, kbuild) = prepare::session(&project, interrupted)?;
    prepare::require(&session, &kbuild)?;
    let machine = prepare::machine(&project, &arguments.machine, Clock::Wall)?;
    let mut files = AddedFiles::default();
    files.add_shell(&session, &kbuild)?;
    for specification in &arguments.add {
        files.add(specification)?;
    }
    let contents = Contents {
        workload: Some(Load::Module),
        insmod: Vec::new(),
        module_tree: None,
        files: files.into_files(),
        shell: Vec::new(),
        boot_config: None,
    };
    let folder = Folder::make()?;
    let choice = &arguments.kernel;
    let prepared = prepare::prepare(&project, &session, &kbuild, choice, contents, &folder.0)?;
    let memory = machine.memory_of(arguments.memory, prepared.needs);
    let boot = || -> anyhow::Result<bool> {
        let path = &prepared.initramfs;
        let mut archive =
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = crossterm::terminal::size()
            .ok()
            .filter(|(columns, rows)| *columns > 0 && *rows > 0)
            .unwrap_or(USUAL_SIZE);
        // In place of the agent: what is unpacked later stays.
        let script = shell_init(GREETING, size);
        let init = GuestFile {
            path: "/init",
            content: script.as_bytes(),
            is_program: true,
        };
        add_files(&mut archive, &[init])?;
        fs::write(path, archive).with_context(|| format!("cannot write {}", path.display()))?;
        let ended = deferinit_host::shell(&deferinit_host::Shell {
            machine: &machine.machine_for(prepared.needs),
            qemu: &machine.qemu,
            cpus: arguments.cpus,
            memory,
            kernel: &prepared.kernel,
            initramfs: path,
            folder: &folder.0,
        })?;
        Ok(ended.success())
    };
    let is_off = boot().map_err(Failure::setup)?;
    Ok(if is_off { PASSED } else { UNRESOLVED })
}

/// A folder for this shell only, gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let name = format!("deferinit-shell-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))
            .map_err(Failure::setup)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// RAM, as scenario files write it.
pub(crate) fn memory(text: &str) -> Result<Bytes, String> {
    text.parse().map_err(|error| format!("{error}"))
}
