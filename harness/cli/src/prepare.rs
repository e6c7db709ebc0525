// SPDX-License-Identifier: GPL-2.0-only

//! What every run of an invocation shares: the kernel, the module, the initramfs, the machines.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use deferinit_check::Judged;
use deferinit_host::{
    GuestFile, Machine, MachineFile, Qemu, Speeds, Unsupported, add_boot_config, check_memory,
    initramfs,
};
use deferinit_kernel::build::{self, BuildInfo, Choice, Kbuild, Kernel, Variant};
use deferinit_kernel::cache::{Cache, Session};
use deferinit_kernel::kernels::Kernels;
use deferinit_kernel::module::{self, ModuleInfo, Modules};
use deferinit_kernel::requirements::Need;
use deferinit_scenario::{Bytes, Clock, Load, Scenario};
use serde::Serialize;

use crate::args::KernelChoice;
use crate::exit::Failure;
use crate::guest_files::{AddedFile, AddedFiles};
use crate::insmod::{self, ExtraModule};
use crate::output::{INITRAMFS_WITH_SHELL, initramfs_of};
use crate::project::Project;
use crate::speeds::speeds;

/// The modules that go into the guest, without `.ko`, unless they are built in: the workload, and the owner of its
/// events.
pub(crate) const MODULES: [&str; 2] = ["test_deferred", "test_deferred_events"];

/// All modules of the project: those, and the same workload in C, to measure against.
const ALL_MODULES: [&str; 3] = [
    "test_deferred",
    "test_deferred_events",
    "test_deferred_twin",
];

/// Ready to boot.
pub(crate) struct Prepared {
    /// The image that QEMU boots.
    pub(crate) kernel: PathBuf,
    /// Where it was built.
    pub(crate) build_dir: PathBuf,
    /// `uname -r`.
    pub(crate) release: String,
    /// How kernel and module were built.
    pub(crate) build: Build,
    /// The symbols of the kernel.
    pub(crate) system_map: String,
    /// The modules in the guest by their names, for their symbols. A workload that is built in has its symbols in
    /// `system_map`.
    pub(crate) modules: BTreeMap<String, Vec<u8>>,
    /// The initramfs.
    pub(crate) initramfs: PathBuf,
    /// The same with a shell, for scenarios with commands; none if there are none. Others do without: what an initramfs
    /// holds takes memory and boot time, and so is in every trace.
    pub(crate) initramfs_with_shell: Option<PathBuf>,
    /// What this kernel needs of a machine.
    pub(crate) needs: Needs,
}

/// What a kernel needs of a machine, whatever the machine's file and the scenario say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// RAM; 0 if every machine has enough.
    pub(crate) least_memory: Bytes,
    /// The shift of the exact clock: with a larger one, the guest is too slow.
    pub(crate) most_shift: u8,
}

impl Needs {
    const NONE: Self = Self {
        least_memory: Bytes(0),
        most_shift: u8::MAX,
    };

    fn of(kernel: &BuildInfo, kernels: &Kernels) -> Self {
        if kernel.debug {
            Self {
                least_memory: Bytes(kernels.debug_guest_mib.saturating_mul(1 << 20)),
                most_shift: kernels.debug_exact_shift,
            }
        } else {
            Self::NONE
        }
    }
}

impl Prepared {
    /// Which expectations a run of this kernel is judged by: the times of a debug kernel mean nothing, nor do those of
    /// a guest whose timers are unfit for it; on the wall clock, the host may have kept the guest waiting for a while.
    pub(crate) fn judged<'a>(
        &self,
        timers_unfit: Option<&'a str>,
        host_wait: Option<Duration>,
    ) -> Judged<'a> {
        match (timers_unfit, host_wait) {
            _ if self.build.kernel.debug => Judged::Untimed,
            (Some(why), _) => Judged::TimersUnfit(why),
            (None, Some(wait)) => {
                Judged::WallClock(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
            }
            (None, None) => Judged::All,
        }
    }
}

/// How kernel and module were built, and what is in every guest.
pub(crate) struct Build {
    kernel: BuildInfo,
    /// None if the workload is in the kernel's image.
    module: Option<ModuleInfo>,
    /// Of the user's folder of modules.
    module_tree: Option<ModuleInfo>,
    insmod: Vec<ExtraModule>,
    /// Programs and files of the host.
    files: Vec<AddedFile>,
}

/// `build.json`: the same, with what is in one guest only.
#[derive(Serialize)]
pub(crate) struct BuildRecord<'a> {
    format_version: u32,
    kernel: &'a BuildInfo,
    module: Option<&'a ModuleInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_tree: Option<&'a ModuleInfo>,
    insmod: &'a [ExtraModule],
    files: Vec<&'a AddedFile>,
}

/// What goes into the guest besides the agent.
pub(crate) struct Contents {
    /// Where the workload is, if there is one.
    pub(crate) workload: Option<Load>,
    /// The user's own modules.
    pub(crate) insmod: Vec<ExtraModule>,
    /// A folder of modules that are built for the kernel; those of them that are called as the workload's are take their
    /// place.
    pub(crate) module_tree: Option<PathBuf>,
    /// Programs and files of the host.
    pub(crate) files: Vec<AddedFile>,
    /// The shell of scenarios that have commands.
    pub(crate) shell: Vec<AddedFile>,
    /// What the kernel is to read before it boots.
    pub(crate) boot_config: Option<String>,
}

impl Contents {
    /// A workload and modules.
    pub(crate) fn of_scenarios(load: Load, insmod: Vec<ExtraModule>) -> Self {
        Self {
            workload: Some(load),
            insmod,
            module_tree: None,
            files: Vec::new(),
            shell: Vec::new(),
            boot_config: None,
        }
    }

    /// The same, with a shell if one of the scenarios needs it.
    pub(crate) fn with_shell_for(
        mut self,
        session: &Session,
        kbuild: &Kbuild,
        scenarios: &[Scenario],
    ) -> Result<Self, Failure> {
        if scenarios.iter().any(Scenario::has_command) {
            let mut shell = AddedFiles::default();
            shell.add_shell(session, kbuild)?;
            self.shell = shell.into_files();
        }
        Ok(self)
    }
}

impl Build {
    /// The record of a guest that has these files, too.
    pub(crate) fn record<'a>(&'a self, added: &'a [AddedFile]) -> BuildRecord<'a> {
        BuildRecord {
            format_version: 1,
            kernel: &self.kernel,
            module: self.module.as_ref(),
            module_tree: self.module_tree.as_ref(),
            insmod: &self.insmod,
            files: self.files.iter().chain(added).collect(),
        }
    }

    /// Where the user's own modules are in the guest, in the order of their loads.
    pub(crate) fn insmod_paths(&self) -> Vec<String> {
        self.insmod
            .iter()
            .map(|module| module.path.clone())
            .collect()
    }
}

/// A machine and the QEMU that emulates it.
pub(crate) struct ReadyMachine {
    pub(crate) machine: Machine,
    pub(crate) qemu: Qemu,
    memory: Bytes,
    /// On the wall clock.
    speeds: Option<Speeds>,
}

impl ReadyMachine {
    /// The machine that a scenario runs on, in one line.
    pub(crate) fn describe(&self, scenario: &Scenario, needs: Needs) -> String {
        let deferinit_scenario::Machine {
            cpus,
            memory,
            shift,
            ..
        } = scenario.machine;
        self.with_shift(shift)
            .describe_with(cpus, memory, scenario.clock, needs)
    }

    /// The machine with these CPUs, RAM and clock, in one line.
    pub(crate) fn describe_with(
        &self,
        cpus: u32,
        memory: Option<Bytes>,
        clock: Clock,
        needs: Needs,
    ) -> String {
        let plural = if cpus == 1 { "" } else { "s" };
        let wanted = memory.unwrap_or(self.memory);
        let memory = changed(wanted, self.memory_of(memory, needs));
        let accelerator = match clock {
            Clock::Exact => {
                let shift = self.machine_for(needs).exact.shift;
                let shift = changed(self.machine.exact.shift, shift);
                format!("TCG, icount shift {shift}")
            }
            Clock::Wall => self.qemu.accelerator.to_string(),
        };
        let (name, qemu) = (&self.machine.name, self.qemu.version);
        format!("{name} ({cpus} CPU{plural}, {memory}, QEMU {qemu}, {accelerator})")
    }

    /// Which accelerator a guest on the wall clock has, and why.
    pub(crate) fn accelerator(&self, clock: Clock) -> Option<String> {
        let speeds = self.speeds.as_ref().filter(|_| clock == Clock::Wall)?;
        Some(speeds.to_string())
    }

    /// The machine with another shift of the exact clock, if one is wanted.
    fn with_shift(&self, shift: Option<u8>) -> Self {
        let mut machine = self.machine.clone();
        machine.exact.shift = shift.unwrap_or(machine.exact.shift);
        Self {
            machine,
            qemu: self.qemu.clone(),
            memory: self.memory,
            speeds: self.speeds.clone(),
        }
    }

    /// The machine as a scenario wants it and its kernel needs it.
    pub(crate) fn machine_of(&self, scenario: &Scenario, needs: Needs) -> Machine {
        self.with_shift(scenario.machine.shift).machine_for(needs)
    }

    /// The machine as a kernel needs it.
    pub(crate) fn machine_for(&self, needs: Needs) -> Machine {
        let mut machine = self.machine.clone();
        machine.exact.shift = machine.exact.shift.min(needs.most_shift);
        machine
    }

    /// The RAM that a scenario gets: what it wants, or what its kernel needs if that is more.
    pub(crate) fn memory(&self, scenario: &Scenario, needs: Needs) -> Bytes {
        self.memory_of(scenario.machine.memory, needs)
    }

    /// The RAM that is given where this is wanted; the machine's own if nothing is.
    pub(crate) fn memory_of(&self, wanted: Option<Bytes>, needs: Needs) -> Bytes {
        wanted.unwrap_or(self.memory).max(needs.least_memory)
    }

    fn wanted_memory(&self, scenario: &Scenario) -> Bytes {
        scenario.machine.memory.unwrap_or(self.memory)
    }
}

/// What is, and what would be for another kernel if that differs.
fn changed<T: PartialEq + Display>(wanted: T, given: T) -> String {
    if wanted == given {
        given.to_string()
    } else {
        format!("{given} for the debug kernel instead of {wanted}")
    }
}

/// The kernel that the user asked for, with the workload in its image or without.
pub(crate) fn choice(project: &Project, arguments: &KernelChoice, load: Load) -> Choice {
    let variant = Variant {
        debug: arguments.debug_kernel,
        builtin: (load == Load::BuiltIn).then(|| project.module()),
        config: None,
    };
    match (&arguments.kernel_tree, &arguments.kernel_build) {
        (Some(tree), _) => Choice::Tree(tree.clone(), variant),
        (None, Some(build)) => Choice::Build(build.clone()),
        (None, None) => Choice::Default(variant),
    }
}

/// What commands that deal with kernels begin with.
pub(crate) fn session(
    project: &Project,
    interrupted: Arc<AtomicBool>,
) -> Result<(Session, Kbuild), Failure> {
    let kbuild = Kbuild::of_dir(&project.kbuild())?;
    Ok((Session::new(interrupted)?, kbuild))
}

/// Fails if something is missing that a run, or a kernel build, would need. Installs nothing: that is
/// asked for by `deferinit setup`.
pub(crate) fn require(session: &Session, kbuild: &Kbuild) -> Result<(), Failure> {
    match kbuild.requirements.survey(&session.cache).error(Need::Run) {
        Some(error) => Err(Failure::from(error)
            .advise("`deferinit setup` installs it, `deferinit doctor` says more")),
        None => Ok(()),
    }
}

/// Gets, builds and packs what runs need. The initramfs goes into `out`.
pub(crate) fn prepare(
    project: &Project,
    session: &Session,
    kbuild: &Kbuild,
    arguments: &KernelChoice,
    guest: Contents,
    out: &Path,
) -> Result<Prepared, Failure> {
    let load = guest.workload.unwrap_or(Load::Module);
    let choice = choice(project, arguments, load);
    prepare_choice(project, session, kbuild, &choice, guest, out)
}

/// The same, with a kernel that need not be one of the command line's.
pub(crate) fn prepare_choice(
    project: &Project,
    session: &Session,
    kbuild: &Kbuild,
    choice: &Choice,
    guest: Contents,
    out: &Path,
) -> Result<Prepared, Failure> {
    let Contents {
        workload,
        insmod,
        module_tree,
        files: added,
        shell,
        boot_config,
    } = guest;
    let load = workload.unwrap_or(Load::Module);
    if load == Load::BuiltIn {
        refuse_built_in(choice, module_tree.as_deref())?;
    }
    let kernel = build::provide(session, kbuild, choice)?;
    let modules = if kernel.info.builtin || workload.is_none() {
        None
    } else {
        Some(build_modules(project, session, kbuild, &kernel)?)
    };
    let tree = match &module_tree {
        Some(folder) => Some(module::build_tree(session, &kernel, folder, &kbuild.dir)?),
        None => None,
    };
    let (own, others) = parted(tree.as_ref());
    let insmod = insmod::read_built(&others, insmod, &MODULES)?;
    insmod::check_release(&insmod, &kernel.info.release)?;

    let read = |path: &Path| {
        fs::read(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(Failure::setup)
    };
    let agent_path = project.agent();
    let agent = fs::read(&agent_path)
        .with_context(|| {
            format!(
                "cannot read the guest's agent {}; `make build` makes it",
                agent_path.display()
            )
        })
        .map_err(Failure::setup)?;
    let mut contents = BTreeMap::new();
    let mut paths = Vec::new();
    for (name, path) in MODULES
        .iter()
        .zip(modules.iter().flat_map(|modules| &modules.paths))
    {
        contents.insert(
            (*name).to_owned(),
            read(own.get(name).copied().unwrap_or(path))?,
        );
        paths.push((*name, format!("{name}.ko")));
    }
    for module in &insmod {
        contents.insert(module.name().to_owned(), module.content.clone());
        paths.push((module.name(), module.path.clone()));
    }
    let modules_of_guest = paths.iter().filter_map(|(name, path)| {
        Some(GuestFile {
            path,
            content: contents.get(*name)?,
            is_program: false,
        })
    });
    let added_to_guest = added.iter().map(AddedFile::in_guest);
    let mut files: Vec<GuestFile<'_>> = modules_of_guest.chain(added_to_guest).collect();
    let mut archive = initramfs(&agent, &files).map_err(Failure::setup)?;
    if let Some(config) = boot_config {
        add_boot_config(&mut archive, &config).map_err(Failure::usage)?;
    }
    // Absolute, because QEMU is started in the folder of its run.
    let out = fs::canonicalize(out)
        .with_context(|| format!("cannot find {}", out.display()))
        .map_err(Failure::setup)?;
    let keep = |name: &str, archive: &[u8]| {
        let path = out.join(name);
        fs::write(&path, archive)
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(Failure::setup)?;
        Ok::<PathBuf, Failure>(path)
    };
    let path = keep(initramfs_of(load), &archive)?;
    let initramfs_with_shell = if shell.is_empty() {
        None
    } else {
        files.extend(shell.iter().map(AddedFile::in_guest));
        let archive = initramfs(&agent, &files).map_err(Failure::setup)?;
        Some(keep(INITRAMFS_WITH_SHELL, &archive)?)
    };

    let needs = Needs::of(&kernel.info, &kbuild.kernels);
    let system_map = read(&kernel.build_dir.join("System.map"))?;
    Ok(Prepared {
        kernel: kernel.image()?.to_owned(),
        build_dir: kernel.build_dir.clone(),
        release: kernel.info.release.clone(),
        build: Build {
            kernel: kernel.info,
            module: modules.map(|modules| modules.info),
            module_tree: tree.map(|modules| modules.info),
            insmod,
            files: added,
        },
        system_map: String::from_utf8_lossy(&system_map).into_owned(),
        modules: contents,
        initramfs: path,
        initramfs_with_shell,
        needs,
    })
}

/// The workload cannot be in the image of every kernel.
fn refuse_built_in(choice: &Choice, module_tree: Option<&Path>) -> Result<(), Failure> {
    const NEEDS: &str =
        "a scenario with `load: built-in` needs a kernel with the workload in its image";
    let why = match choice {
        Choice::Build(_) => {
            "which a finished build cannot be given: use --kernel-tree, or leave --kernel-build out"
        }
        Choice::Default(variant) | Choice::Tree(_, variant) if variant.config.is_some() => {
            "which is not supported with --config"
        }
        Choice::Default(_) | Choice::Tree(..) if module_tree.is_some() => {
            "and --module-tree builds modules to be loaded"
        }
        Choice::Default(_) | Choice::Tree(..) => return Ok(()),
    };
    Err(Failure::usage(anyhow!("{NEEDS}, {why}")))
}

/// The modules of a user's folder: those that take the place of the project's, by their names, and the others but the
/// workload's twin in C, which is no part of a guest.
fn parted(tree: Option<&Modules>) -> (BTreeMap<&str, &PathBuf>, Vec<PathBuf>) {
    let mut own = BTreeMap::new();
    let mut others = Vec::new();
    for path in tree.iter().flat_map(|modules| &modules.paths) {
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if MODULES.contains(&name) {
            own.insert(name, path);
        } else if !ALL_MODULES.contains(&name) {
            others.push(path.clone());
        }
    }
    (own, others)
}

/// Builds the project's modules against a kernel.
fn build_modules(
    project: &Project,
    session: &Session,
    kbuild: &Kbuild,
    kernel: &Kernel,
) -> Result<Modules, Failure> {
    let sources = project.module();
    Ok(module::build(
        session,
        kernel,
        &sources,
        &kbuild.dir,
        &ALL_MODULES,
    )?)
}

/// The path of one of the project's modules, built if it is not.
pub(crate) fn module_path(
    project: &Project,
    session: &Session,
    kbuild: &Kbuild,
    arguments: &KernelChoice,
    name: &str,
) -> Result<PathBuf, Failure> {
    let kernel = build::provide(session, kbuild, &choice(project, arguments, Load::Module))?;
    let modules = build_modules(project, session, kbuild, &kernel)?;
    let mut named = ALL_MODULES.iter().zip(modules.paths);
    let found = named.find(|(module, _)| **module == name);
    found.map(|(_, path)| path).ok_or_else(|| {
        let all = ALL_MODULES.join(", ");
        Failure::usage(anyhow!("there is no module {name:?}; there are {all}"))
    })
}

/// A machine that a scenario names.
pub(crate) enum NamedMachine {
    Ready(Arc<ReadyMachine>),
    Unsupported(Unsupported),
}

/// The machine of each scenario, in their order, with its QEMU. Each scenario fits into its machine.
pub(crate) fn machines(
    project: &Project,
    scenarios: &[Scenario],
) -> Result<Vec<NamedMachine>, Failure> {
    let mut known: BTreeMap<&str, Arc<ReadyMachine>> = BTreeMap::new();
    let has_wall = scenarios
        .iter()
        .any(|scenario| scenario.clock == Clock::Wall);
    let clock = if has_wall { Clock::Wall } else { Clock::Exact };
    let mut machines = Vec::new();
    for scenario in scenarios {
        let machine = match known.entry(&scenario.machine.name) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let name = &scenario.machine.name;
                let of_scenario = |failure: Failure| failure.of_scenario(&scenario.name);
                match machine_file(project, name).map_err(of_scenario)? {
                    MachineFile::Machine(machine) => {
                        let machine = ready(*machine, clock).map_err(of_scenario)?;
                        Arc::clone(entry.insert(Arc::new(machine)))
                    }
                    MachineFile::Unsupported(why) => {
                        machines.push(NamedMachine::Unsupported(why));
                        continue;
                    }
                }
            }
        };
        check_memory(
            &machine.machine,
            machine.wanted_memory(scenario),
            scenario.trace.buffer,
        )
        .with_context(|| format!("scenario {}", scenario.name))
        .map_err(Failure::usage)?;
        machines.push(NamedMachine::Ready(machine));
    }
    Ok(machines)
}

/// The machine of one scenario.
///
/// # Errors
/// As [`machines`], and if it is not supported.
pub(crate) fn machine_of(
    project: &Project,
    scenario: &Scenario,
) -> Result<Arc<ReadyMachine>, Failure> {
    match machines(project, std::slice::from_ref(scenario))?.pop() {
        Some(NamedMachine::Ready(machine)) => Ok(machine),
        Some(NamedMachine::Unsupported(machine)) => Err(Failure::usage(anyhow!(
            "{}: {}",
            machine.name,
            machine.unsupported
        ))),
        None => Err(Failure::setup(anyhow!("there is no machine"))),
    }
}

/// A machine by its name, with its QEMU, for runs on this clock.
pub(crate) fn machine(
    project: &Project,
    name: &str,
    clock: Clock,
) -> Result<ReadyMachine, Failure> {
    match machine_file(project, name)? {
        MachineFile::Machine(machine) => ready(*machine, clock),
        MachineFile::Unsupported(why) => Err(Failure::usage(anyhow!(
            "the machine {name:?} is not supported: {}",
            why.unsupported
        ))),
    }
}

fn machine_file(project: &Project, name: &str) -> Result<MachineFile, Failure> {
    let path = project.machine(name);
    let text = fs::read_to_string(&path).map_err(|_| {
        Failure::usage(anyhow!(
            "there is no machine {name:?}: {} cannot be read",
            path.display()
        ))
    })?;
    MachineFile::parse(&text)
        .with_context(|| path.display().to_string())
        .map_err(Failure::setup)
}

fn ready(machine: Machine, clock: Clock) -> Result<ReadyMachine, Failure> {
    let memory = machine.memory().map_err(Failure::setup)?;
    let mut qemu = Qemu::find(&machine.qemu).map_err(Failure::setup)?;
    let speeds = match clock {
        Clock::Exact => None,
        Clock::Wall => {
            let cache = Cache::of_user()?;
            Some(speeds(&machine, &qemu, cache.root()).map_err(Failure::setup)?)
        }
    };
    qemu.accelerator = speeds.as_ref().map(Speeds::faster).unwrap_or_default();
    Ok(ReadyMachine {
        machine,
        qemu,
        memory,
        speeds,
    })
}

#[cfg(test)]
mod tests {
    use deferinit_host::{Accelerator, Version};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn machine() -> ReadyMachine {
        let machine = Machine::parse(include_str!("../../../vm/machines/x86_64.toml"));
        let machine = machine.expect("the default machine");
        let version = Version {
            major: 7,
            minor: 2,
            micro: 22,
        };
        ReadyMachine {
            memory: machine.memory().expect("a size"),
            qemu: Qemu {
                program: machine.qemu.clone(),
                version,
                accelerator: Accelerator::default(),
            },
            machine,
            speeds: None,
        }
    }

    fn scenario(machine: &str) -> Scenario {
        let text = format!(
            "summary: Test.\n{machine}workload: {{ mode: direct, items: 1 }}\nexpect:\n- count: {{ of: ended, equals: 1 }}\n"
        );
        deferinit_scenario::parse("test", text.as_bytes()).expect("a scenario")
    }

    const DEBUG: Needs = Needs {
        least_memory: Bytes(512 * MIB),
        most_shift: 0,
    };

    #[test]
    fn a_guest_gets_what_its_kernel_needs_and_the_machine_line_says_so() {
        let cases = [
            ("", Needs::NONE, 256, "256MiB, "),
            (
                "",
                DEBUG,
                512,
                "512MiB for the debug kernel instead of 256MiB, ",
            ),
            (
                "machine: { memory: 384MiB }\n",
                DEBUG,
                512,
                "512MiB for the debug kernel instead of 384MiB, ",
            ),
            ("machine: { memory: 1GiB }\n", DEBUG, 1024, "1GiB, "),
        ];
        for (text, needs, expected, line) in cases {
            let (machine, scenario) = (machine(), scenario(text));
            let memory = machine.memory(&scenario, needs);
            assert_eq!(memory, Bytes(expected * MIB), "{text}");
            let described = machine.describe(&scenario, needs);
            assert!(described.contains(line), "{described}");
        }
    }

    #[test]
    fn the_exact_clock_is_as_fast_as_the_kernel_needs_it() {
        let (machine, scenario) = (machine(), scenario(""));
        for (needs, shift, line) in [
            (Needs::NONE, 4, "icount shift 4)"),
            (
                DEBUG,
                0,
                "icount shift 0 for the debug kernel instead of 4)",
            ),
        ] {
            assert_eq!(machine.machine_for(needs).exact.shift, shift);
            let described = machine.describe(&scenario, needs);
            assert!(described.ends_with(line), "{described}");
        }
    }
}
