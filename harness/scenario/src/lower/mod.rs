// SPDX-License-Identifier: GPL-2.0-only

//! Gives a scenario file its meaning: every rule a file has to follow beyond its shape stands here.
//!
//! In: the texts of a file with their places. Out: a [`Scenario`] with its defaults filled in, or the first mistake.

mod expect;
mod select;
mod show;
mod trace;
mod value;
mod vary;
mod workload;

use std::ops::RangeInclusive;

use self::value::{Grammar, Result, duration, has_entries, one_of, size, spelled, whole};
use self::vary::Vary;
use crate::error::{Mistake, Place};
use crate::file::{
    Choice, Given, List, MachineBlock, PhaseBlock, RoundsBlock, ScenarioFile, Text, WorkloadBlock,
};
use crate::rules::LONGEST;
use crate::yaml::Located;
use crate::{Bytes, Clock, Load, Machine, Nanos, Phase, Rounds, Scenario, Until, Workload};

const MIB: u64 = 1 << 20;

/// The smallest guest the project's kernels boot in, to the largest a test machine is likely to have.
const MEMORY: RangeInclusive<Bytes> = Bytes(128 * MIB)..=Bytes(64 << 30);

/// The size of a page, and so of a sub-buffer, on x86_64.
const PAGE: Bytes = Bytes(4096);

/// The default of `deadline`.
const DEFAULT_DEADLINE: Nanos = Nanos(60_000_000_000);

/// The most entries of `phases`.
const MAX_PHASES: usize = 16;

/// The most entries of `expect`.
const MAX_EXPECTATIONS: usize = 256;

/// The most entries of any other list.
const MAX_ENTRIES: usize = 64;

/// The most bytes all of `command-line` may have.
const MAX_COMMAND_LINE: usize = Machine::MAX_COMMAND_LINE;

/// What each parameter of a workload in the kernel's image begins with.
const BUILT_IN_PREFIX: &str = "test_deferred.";

/// The phase of a file that names none.
const ONLY_PHASE: &str = "main";

const SUMMARY: Grammar = Grammar {
    what: "a summary",
    longest: 200,
    allowed: "one line of text",
    is_valid: |text| !text.trim().is_empty() && !text.contains(char::is_control),
};

const MACHINE: Grammar = Grammar {
    what: "the name of a machine",
    longest: 64,
    allowed: "lower-case letters, digits, `_` and `-`",
    is_valid: |text| {
        text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        })
    },
};

const PHASE: Grammar = Grammar {
    what: "the name of a phase",
    longest: 32,
    allowed: "lower-case letters, digits and `-`",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    },
};

const KERNEL_PARAMETER: Grammar = Grammar {
    what: "a kernel parameter",
    longest: 256,
    allowed: "one word of printable ASCII without spaces and quotes",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"')
    },
};

/// The most bytes all of `boot-config` may have: `XBC_DATA_MAX`, `include/linux/bootconfig.h`, Linux 7.3.
const MAX_BOOT_CONFIG: usize = 32 * 1024 - 1;

const BOOT_CONFIG: Grammar = Grammar {
    what: "a line of a boot configuration",
    longest: 1024,
    allowed: "`key` or `key = value` of printable ASCII, the key of letters, digits, `_`, `-` and `.`",
    is_valid: |text| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let key = key.trim_end_matches([' ', '+', ':']);
        let is_key_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_value_byte = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        // Braces and comments would make more of a line than one key.
        !key.is_empty()
            && key.bytes().all(is_key_byte)
            && value.bytes().all(is_value_byte)
            && (value.contains('"') || !value.contains(['{', '}', '#', ';']))
    },
};

/// As QEMU's `-device` takes it; a leading `-` would be an option of its own.
const DEVICE: Grammar = Grammar {
    what: "a device of QEMU",
    longest: 256,
    allowed: "its name with its properties, such as `virtio-rng-device,bus=virtio-mmio-bus.0`",
    is_valid: |text| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    },
};

/// A file of the host, by a path that means the same wherever the scenario is run from.
const ADDED: Grammar = Grammar {
    what: "a file for the guest",
    longest: 1024,
    allowed: "`/HOSTFILE` or `/HOSTFILE:/GUESTPATH` of printable ASCII",
    is_valid: |text| {
        let mut paths = text.split(':');
        paths.clone().count() <= 2
            && paths.all(|path| path.starts_with('/') && path.len() > 1)
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    },
};

/// A script for the guest's shell.
const COMMAND: Grammar = Grammar {
    what: "a command",
    longest: 16 * 1024,
    allowed: "a script for the guest's shell without control characters",
    is_valid: |text| {
        !text.trim().is_empty()
            && !text
                .chars()
                .any(|character| character.is_control() && !matches!(character, '\n' | '\t'))
    },
};

/// Parameters the harness sets itself; a second value would break the run in ways that are hard to see.
const RESERVED_PARAMETERS: [&str; 6] =
    ["--", "init", "rdinit", "memmap", "trace_instance", "initrd"];

/// Gives the whole file its meaning under the name `name`.
pub(crate) fn scenario(name: &str, mut file: ScenarioFile) -> Result<Scenario> {
    let vary = Vary::of(std::mem::take(&mut file.vary))?;
    vary.reorder(&mut file)?;
    let start = Place::START;
    let summary = spelled(&file.summary.required("summary", start)?, &SUMMARY)?;
    let clock = file.clock.read_if_given(clock)?.unwrap_or_default();
    let Guests { mut machine, added } = machine(file.machine)?;
    let load = file.load.read_if_given(load)?.unwrap_or_default();
    vary.change_machine(&mut machine, clock)?;
    let trace = trace::trace(file.trace, machine.memory, load)?;
    let deadline = file
        .deadline
        .read_if_given(|text| duration(text, Nanos(1)..=LONGEST))?
        .unwrap_or(DEFAULT_DEADLINE);
    let guest = Guest {
        cpus: machine.cpus,
        load,
    };
    let only = Only {
        workload: file.workload,
        rounds: file.rounds,
        command: file.command,
        until: file.until,
    };
    let phases = phases(only, file.phases, guest)?;
    fits_deadline(&phases, deadline)?;
    if load == Load::BuiltIn {
        fit_command_line(&phases)?;
    }
    let mut phases: Vec<Phase> = phases.into_iter().map(|phase| phase.value).collect();
    vary.change_phases(&mut phases, load)?;
    trace.fits(&phases)?;
    let has_command = phases.iter().any(|phase| phase.command.is_some());
    if let Some(place) = added.filter(|_| !has_command) {
        let message = "no phase runs a command that could use what is added";
        return Err(Mistake::new(place, message).allow("phases with `command`"));
    }
    let trace = trace.trace;
    let expect = file.expect.required("expect", start)?;
    has_entries("expect", &expect, 1..=MAX_EXPECTATIONS)?;
    let context = expect::Context {
        phases: &phases,
        load,
        command_line: &machine.command_line,
        trace: &trace,
    };
    let expect = expect
        .value
        .into_iter()
        .map(|entry| context.expectation(entry))
        .collect::<Result<_>>()?;
    let show = file
        .show
        .0
        .map_or(Ok(Vec::new()), |list| show::show(list, &trace, &phases))?;
    Ok(Scenario {
        name: name.to_owned(),
        summary,
        clock,
        machine,
        trace,
        load,
        phases,
        deadline,
        times: vary.times,
        expect,
        show,
    })
}

/// What a workload has to fit.
#[derive(Clone, Copy)]
struct Guest {
    cpus: u32,
    load: Load,
}

fn load(text: &Text) -> Result<Load> {
    one_of(
        text.place,
        "load",
        &text.value,
        &[("module", Load::Module), ("built-in", Load::BuiltIn)],
    )
}

/// A workload in the kernel's image is described on the kernel's command line.
fn fit_command_line(phases: &[Located<Phase>]) -> Result<()> {
    for phase in phases {
        let parameters = phase.value.workload.module_parameters();
        let bytes: usize = parameters
            .iter()
            .map(|(name, value)| BUILT_IN_PREFIX.len() + name.len() + value.len() + 2)
            .sum();
        if bytes > MAX_COMMAND_LINE {
            let message = format!("the workload takes {bytes} bytes of the kernel's command line");
            return Err(
                Mistake::new(phase.place, message).allow(format!("at most {MAX_COMMAND_LINE}"))
            );
        }
    }
    Ok(())
}

fn clock(text: &Text) -> Result<Clock> {
    one_of(
        text.place,
        "clock",
        &text.value,
        &[("exact", Clock::Exact), ("wall", Clock::Wall)],
    )
}

/// A guest, and what of it has to fit the phases.
struct Guests {
    machine: Machine,
    /// Where files are added.
    added: Option<Place>,
}

fn machine(given: Given<MachineBlock>) -> Result<Guests> {
    let block = given.0.map(|block| block.value).unwrap_or_default();
    let added = block.add.place();
    let machine = Machine {
        name: block
            .name
            .read_if_given(|text| spelled(text, &MACHINE))?
            .unwrap_or_else(|| "x86_64".to_owned()),
        cpus: block
            .cpus
            .read_if_given(|text| whole(text, 1..=Machine::MAX_CPUS))?
            .unwrap_or(1),
        memory: block
            .memory
            .read_if_given(|text| size(text, MEMORY, Bytes(MIB)))?,
        command_line: block
            .command_line
            .read_if_given(command_line)?
            .unwrap_or_default(),
        boot_config: block
            .boot_config
            .read_if_given(boot_config)?
            .unwrap_or_default(),
        devices: block
            .devices
            .read_if_given(|list| words("devices", list, &DEVICE))?
            .unwrap_or_default(),
        add: block
            .add
            .read_if_given(|list| words("add", list, &ADDED))?
            .unwrap_or_default(),
        shift: None,
    };
    Ok(Guests { machine, added })
}

fn words(key: &str, list: &Located<Vec<Text>>, grammar: &Grammar) -> Result<Vec<String>> {
    has_entries(key, list, 1..=MAX_ENTRIES)?;
    let word = |text: &Text| spelled(text, grammar);
    list.value.iter().map(word).collect()
}

fn command_line(list: &Located<Vec<Text>>) -> Result<Vec<String>> {
    has_entries("command-line", list, 0..=MAX_ENTRIES)?;
    let words = list
        .value
        .iter()
        .map(kernel_parameter)
        .collect::<Result<Vec<_>>>()?;
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    if bytes > MAX_COMMAND_LINE {
        let message = format!("command-line is {bytes} bytes long");
        return Err(
            Mistake::new(list.place, message).allow(format!("at most {MAX_COMMAND_LINE} bytes"))
        );
    }
    Ok(words)
}

fn boot_config(list: &Located<Vec<Text>>) -> Result<Vec<String>> {
    has_entries("boot-config", list, 0..=MAX_ENTRIES)?;
    let lines = list
        .value
        .iter()
        .map(|text| spelled(text, &BOOT_CONFIG))
        .collect::<Result<Vec<_>>>()?;
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    if bytes > MAX_BOOT_CONFIG {
        let message = format!("boot-config is {bytes} bytes long");
        return Err(
            Mistake::new(list.place, message).allow(format!("at most {MAX_BOOT_CONFIG} bytes"))
        );
    }
    Ok(lines)
}

fn kernel_parameter(text: &Text) -> Result<String> {
    let word = spelled(text, &KERNEL_PARAMETER)?;
    let key = word.split('=').next().unwrap_or(&word);
    if RESERVED_PARAMETERS.contains(&key) {
        let message = format!("`{key}` is the harness's own to set");
        let allowed = format!("any parameter but {}", RESERVED_PARAMETERS.join(", "));
        return Err(Mistake::new(text.place, message).allow(allowed));
    }
    Ok(word)
}

/// What describes the only phase of a file at its top level.
struct Only {
    workload: Given<WorkloadBlock>,
    rounds: Given<RoundsBlock>,
    command: Given<String>,
    until: Given<Choice<String>>,
}

impl Only {
    /// The keys that say what a phase does, by name, that are given.
    fn keys(&self) -> impl Iterator<Item = (&'static str, Place)> {
        let keys = [
            ("workload", self.workload.place()),
            ("rounds", self.rounds.place()),
            ("command", self.command.place()),
        ];
        keys.into_iter()
            .filter_map(|(key, place)| Some((key, place?)))
    }
}

/// The phases, each with its place, from either `workload`, `rounds` or `command` with `until`, or from `phases`.
fn phases(
    only: Only,
    phases: Given<List<PhaseBlock>>,
    guest: Guest,
) -> Result<Vec<Located<Phase>>> {
    let first = only.keys().next();
    match (first, phases.0) {
        (Some((_, place)), None) => {
            let value = work(ONLY_PHASE.to_owned(), only, place, guest)?;
            Ok(vec![Located { value, place }])
        }
        (None, Some(list)) => {
            if let Some(place) = only.until.place() {
                let message = "`until` beside `phases` belongs to no phase";
                return Err(Mistake::new(place, message).allow("`until` within an entry of phases"));
            }
            has_entries("phases", &list, 1..=MAX_PHASES)?;
            let phases = list
                .value
                .into_iter()
                .map(|block| phase(block, guest))
                .collect::<Result<Vec<_>>>()?;
            have_unique_names(&phases)?;
            Ok(phases)
        }
        (Some((key, _)), Some(list)) => {
            let message = format!("both `{key}` and `phases` are given");
            Err(Mistake::new(list.place, message)
                .allow(format!("`{key}` for one phase, or `phases` for several")))
        }
        (None, None) => {
            let message = "neither `workload` nor `phases` is given";
            Err(Mistake::new(Place::START, message)
                .allow("`workload` for one phase, or `phases` for several"))
        }
    }
}

fn phase(block: Located<PhaseBlock>, guest: Guest) -> Result<Located<Phase>> {
    let Located {
        value: block,
        place,
    } = block;
    let name = block.name.required("name", place)?;
    let only = Only {
        workload: block.workload,
        rounds: block.rounds,
        command: block.command,
        until: block.until,
    };
    Ok(Located {
        place: name.place,
        value: work(spelled(&name, &PHASE)?, only, place, guest)?,
    })
}

/// A phase from what describes it; `place` is where its map begins.
fn work(name: String, only: Only, place: Place, guest: Guest) -> Result<Phase> {
    let mut keys = only.keys();
    if let (Some((first, _)), Some((second, place))) = (keys.next(), keys.next()) {
        let message = format!("both `{first}` and `{second}` are given");
        return Err(Mistake::new(place, message).allow(
            "`workload` for one load, `rounds` for many with workloads of their own, or `command` for a script",
        ));
    }
    drop(keys);
    if let Some(text) = only.command.0 {
        return command(name, &text, only.until.place(), guest);
    }
    let Some(block) = only.rounds.0 else {
        let until = only.until.read_if_given(until)?.unwrap_or_default();
        let workload = only.workload.required("workload", place)?;
        return Ok(Phase {
            name,
            workload: workload::workload(workload, guest, until)?,
            until,
            wait: Nanos(0),
            rounds: None,
            command: None,
        });
    };
    if let Some(place) = only.until.place() {
        let message = "a round always ends once its items have";
        return Err(Mistake::new(place, message).allow("`until` beside `workload`"));
    }
    let rounds = rounds(block, guest)?;
    Ok(Phase {
        name,
        workload: Workload::random(rounds.seed),
        until: Until::Done,
        wait: Nanos(0),
        rounds: Some(rounds),
        command: None,
    })
}

fn command(name: String, text: &Text, until: Option<Place>, guest: Guest) -> Result<Phase> {
    if guest.load == Load::BuiltIn {
        let message = "a workload in the kernel's image runs before any command could";
        return Err(Mistake::new(text.place, message).allow("`load: module` at the top level"));
    }
    if let Some(place) = until {
        let message = "a command always runs until it ends";
        return Err(Mistake::new(place, message).allow("`until` beside `workload`"));
    }
    Ok(Phase {
        name,
        workload: Workload::none(),
        until: Until::Done,
        wait: Nanos(0),
        rounds: None,
        command: Some(spelled(text, &COMMAND)?),
    })
}

fn rounds(block: Located<RoundsBlock>, guest: Guest) -> Result<Rounds> {
    let Located {
        value: block,
        place,
    } = block;
    if guest.load == Load::BuiltIn {
        let message = "a workload in the kernel's image is not loaded, so there are no rounds";
        return Err(Mistake::new(place, message).allow("`load: module` at the top level"));
    }
    Ok(Rounds {
        // The first of them warm up, so that growth needs one more.
        count: whole(
            &block.count.required("count", place)?,
            Rounds::MIN..=Rounds::MAX,
        )?,
        seed: whole(&block.seed.required("seed", place)?, 0..=u64::MAX)?,
    })
}

fn until(choice: &Located<Choice<String>>) -> Result<Until> {
    let Choice { name, value } = &choice.value;
    let holds = one_of(
        choice.place,
        "value",
        name,
        &[("done", false), ("hold", true)],
    )?;
    match (holds, value) {
        (false, None) => Ok(Until::Done),
        (false, Some(value)) => {
            let message = format!("until `{name}` takes no value");
            Err(Mistake::new(value.place, message).allow(format!("until: {name}")))
        }
        (true, Some(text)) => Ok(Until::Hold(duration(text, Nanos(0)..=LONGEST)?)),
        (true, None) => {
            Err(Mistake::new(choice.place, "until `hold` needs a duration").allow("{ hold: 20ms }"))
        }
    }
}

fn have_unique_names(phases: &[Located<Phase>]) -> Result<()> {
    for (position, phase) in phases.iter().enumerate() {
        let name = &phase.value.name;
        let earlier = phases
            .iter()
            .take(position)
            .find(|earlier| earlier.value.name == *name);
        if let Some(earlier) = earlier {
            let message = format!(
                "phase `{name}` is already there in line {}",
                earlier.place.line
            );
            return Err(
                Mistake::new(phase.place, message).allow("a name of its own for each phase")
            );
        }
    }
    Ok(())
}

/// Refuses a plan that cannot end before its deadline.
fn fits_deadline(phases: &[Located<Phase>], deadline: Nanos) -> Result<()> {
    let mut total = Nanos(0);
    for phase in phases {
        let least = match (phase.value.rounds, phase.value.until) {
            _ if phase.value.command.is_some() => Nanos(0),
            (Some(rounds), _) => rounds
                .workloads()
                .map(|workload| workload.shortest_run())
                .fold(Nanos(0), Nanos::saturating_add),
            (None, Until::Done) => phase.value.workload.shortest_run(),
            (None, Until::Hold(hold)) => hold,
        };
        total = total.saturating_add(least);
        if total >= deadline {
            let message = format!(
                "the plan takes at least {total} of guest time up to the end of this phase"
            );
            return Err(Mistake::new(phase.place, message)
                .allow(format!("less than the deadline, {deadline}")));
        }
    }
    Ok(())
}
