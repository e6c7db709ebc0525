// SPDX-License-Identifier: GPL-2.0-only

//! One run of one scenario, stage by stage; each stage leaves its file in the run's folder.

mod streamed;
mod trace;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use deferinit_check::{Verdict, judge};
use deferinit_ftrace::capture::Tally;
use deferinit_ftrace::stats::Stats;
use deferinit_host::{
    Milestones, Outcome, Request, Sink, Watch, add_boot_config, add_files, default_deadline,
    kallsyms, timers_unfit,
};
use deferinit_protocol::{CommandEnd, Plan};
use deferinit_report::{FunctionFigures, Repetition, RunResult, Timings, guest_nanoseconds};
use deferinit_scenario::{Bytes, Clock, Scenario, Since};
use deferinit_timeline::{Assembly, CommandHow, Ending, Reading, Run, Timeline, join};
use serde::Serialize;

use crate::bundle::{self, Given};
use crate::guest_files::AddedFile;
use crate::prepare::{Prepared, ReadyMachine};
use crate::repetitions::{Sameness, hold_against_first};
use crate::show;
pub(crate) use streamed::{Left as LeftByStream, finish as finish_stream};
use trace::Decoded;

/// Under a debugger, a guest may take a hundred years.
const NO_DEADLINE_NS: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// How many lines of the console a report shows.
const CONSOLE_LINES: usize = 20;

/// On the wall clock, a busy host keeps the guest's CPUs waiting for at most so long, it is taken: a second.
const LONGEST_STALL_NS: u64 = 1_000_000_000;

/// What to run once.
pub(crate) struct Job<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) machine: &'a ReadyMachine,
    pub(crate) scenario: &'a Scenario,
    /// Programs and files of the host that only this scenario's guest has.
    pub(crate) added: &'a [AddedFile],
    pub(crate) repetition: Repetition,
    /// The first run of the same scenario, if this is a later one.
    pub(crate) first: Option<&'a RunResult>,
    /// What becomes of one that is not the same as the first.
    pub(crate) sameness: Sameness,
    /// Whether to find out how long its stages take.
    pub(crate) is_timed: bool,
    /// How many times as long as alone it may take on the host's clock.
    pub(crate) patience: u32,
    pub(crate) interrupted: &'a AtomicBool,
    /// Is told where a debugger is waited for, if one is.
    pub(crate) debugger: Option<&'a (dyn Fn(&Path) + Sync)>,
}

/// The hash of the trace that a run has left in `folder`; none if it has left none.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn trace_sha256(outcome: &Outcome, folder: &Path) -> Result<Option<String>> {
    let files = trace::Files::read(&folder.join("trace"))?;
    Ok(trace::sha256(outcome, &files))
}

/// Runs a scenario once, in `folder`, which exists and is empty.
///
/// # Errors
/// If the harness itself cannot go on: a file that cannot be written, a VM that cannot be set up.
/// Whatever the guest does is a verdict.
pub(crate) fn run(job: &Job<'_>, folder: &Path) -> Result<RunResult> {
    let Job {
        prepared,
        machine,
        scenario,
        added,
        repetition,
        first,
        ..
    } = *job;
    let begin = Instant::now();
    write_json(folder, "plan.json", scenario)?;
    write_json(folder, "build.json", &prepared.build.record(added))?;

    let mut timelines = Vec::new();
    let mut hashes = Vec::new();
    let mut last: Option<Outcome> = None;
    let mut host_wait: Option<Duration> = None;
    let mut timings = Timings::default();
    let boots = boots(scenario, folder);
    let mut ran = Vec::new();
    for boot in &boots {
        let left = run_boot(job, boot)?;
        ran.push((&boot.folder, left.given, left.trace_sha256.clone()));
        timings.add(&left.timings);
        timelines.push(left.timeline);
        hashes.extend(left.trace_sha256);
        if scenario.clock == Clock::Wall
            && let Some(waited) = left.outcome.host_wait
        {
            host_wait = Some(host_wait.unwrap_or_default().saturating_add(waited));
        }
        let goes_on = left.outcome.ending == deferinit_host::Ending::Complete;
        last = Some(left.outcome);
        // What did not come to its end says why; more of it would not.
        if !goes_on {
            break;
        }
    }
    let timeline = join(timelines).context("the scenario has no phase")?;
    write_json(folder, "timeline.json", &timeline)?;
    let judging = Instant::now();
    let unfit = last
        .as_ref()
        .and_then(|outcome| timers_unfit(&outcome.received, &machine.machine, scenario.clock));
    let judged = prepared.judged(unfit.as_deref(), host_wait);
    let mut judgement = judge(scenario, &timeline, judged);
    if let Some(Outcome {
        ending: deferinit_host::Ending::Unsupported { what, option },
        ..
    }) = &last
    {
        judgement.verdict = Verdict::Unsupported(unsupported(what, option.as_deref()));
    }
    match &judgement.verdict {
        Verdict::Pass | Verdict::Unsupported(_) => {}
        Verdict::Fail(_) | Verdict::Unresolved(_) => {
            for (folder, given, trace_sha256) in ran {
                let left = bundle::Left::read(folder, trace_sha256);
                bundle::write(folder, given, judgement.verdict.reason(), left)?;
            }
        }
    }
    let (kernel, console) = last.map_or((None, String::new()), |outcome| {
        (outcome.received.kernel, outcome.console_tail)
    });

    let mut result = RunResult {
        repetition,
        judgement,
        clock: clock_word(scenario.clock).to_owned(),
        kernel: kernel.unwrap_or_else(|| prepared.release.clone()),
        machine: machine.describe(scenario, prepared.needs),
        accelerator: machine.accelerator(scenario.clock),
        guest_ns: guest_nanoseconds(&timeline),
        wall: begin.elapsed(),
        timings: None,
        trace_sha256: trace::hash_of(&hashes),
        folder: folder.display().to_string(),
        console: last_lines(&console),
        functions: FunctionFigures::of(&timeline),
    };
    if let Some(first) = first {
        hold_against_first(first, &mut result, scenario.clock, job.sameness)?;
    }
    write_json(folder, "verdict.json", &result.judgement)?;
    timings.judge = judging.elapsed();
    result.timings = job.is_timed.then_some(timings);
    Ok(result)
}

/// One boot of the guest.
struct Boot<'a> {
    scenario: Cow<'a, Scenario>,
    folder: PathBuf,
}

impl Boot<'_> {
    /// The phase that the boot belongs to: its workload is in the kernel's image, or recording begins with the boot.
    fn phase(&self) -> Option<&str> {
        let phase = self.scenario.phases.first()?;
        let is_boot = self.scenario.is_built_in() || self.scenario.trace.since == Since::Boot;
        is_boot.then_some(phase.name.as_str())
    }
}

/// The boots that a scenario takes: one, or one for each phase if its workload is in the kernel's image.
fn boots<'a>(scenario: &'a Scenario, folder: &Path) -> Vec<Boot<'a>> {
    if !scenario.is_built_in() {
        return vec![Boot {
            scenario: Cow::Borrowed(scenario),
            folder: folder.to_owned(),
        }];
    }
    let boot = |phase: &deferinit_scenario::Phase| Boot {
        scenario: Cow::Owned(Scenario {
            phases: vec![phase.clone()],
            ..scenario.clone()
        }),
        folder: folder.join(&phase.name),
    };
    scenario.phases.iter().map(boot).collect()
}

/// What to record once, with no scenario.
pub(crate) struct Recording<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) machine: &'a ReadyMachine,
    pub(crate) clock: Clock,
    pub(crate) cpus: u32,
    pub(crate) memory: Bytes,
    pub(crate) trace_buffer: Bytes,
    /// Further parameters of the kernel.
    pub(crate) command_line: &'a [String],
    pub(crate) plan: &'a Plan,
    /// The machine's if `None`.
    pub(crate) wall_deadline: Option<Duration>,
    pub(crate) interrupted: &'a AtomicBool,
}

impl Recording<'_> {
    fn request<'a>(
        &'a self,
        machine: &'a deferinit_host::Machine,
        folder: &'a Path,
    ) -> Request<'a> {
        Request {
            machine,
            qemu: &self.machine.qemu,
            clock: self.clock,
            cpus: self.cpus,
            memory: Some(self.memory),
            trace_buffer: self.trace_buffer,
            kernel: &self.prepared.kernel,
            initramfs: &self.prepared.initramfs,
            command_line: self.command_line,
            plan: self.plan,
            wall_deadline: self.wall_deadline,
            folder,
            interrupted: self.interrupted,
            debugger: None,
        }
    }
}

/// What a recording has left.
pub(crate) struct Recorded {
    pub(crate) outcome: Outcome,
    /// How many records could be decoded.
    pub(crate) records: u64,
    /// By the kernel's own count, per CPU; none if the guest did not come to send it.
    statistics: BTreeMap<u32, Stats>,
    /// Whether there is a trace.dat.
    pub(crate) has_trace: bool,
    /// The first thing that cannot be read, if any.
    pub(crate) damage: Option<String>,
    /// Of all sub-buffers.
    pub(crate) sha256: Option<String>,
}

impl Recorded {
    /// How many records were lost; none if the guest did not come to say.
    pub(crate) fn lost(&self) -> Option<u64> {
        let lost = self.statistics.values().map(Stats::lost);
        (!self.statistics.is_empty()).then(|| lost.fold(0, u64::saturating_add))
    }
}

/// Records once, in `folder`, which exists.
///
/// # Errors
/// If the harness itself cannot go on. Whatever the guest does is in [`Recorded`].
pub(crate) fn record(recording: &Recording<'_>, folder: &Path) -> Result<Recorded> {
    let Recording {
        prepared, machine, ..
    } = *recording;
    write_json(folder, "build.json", &prepared.build.record(&[]))?;
    let outcome =
        deferinit_host::run(&recording.request(&machine.machine_for(prepared.needs), folder))?;
    let files = trace::Files::read(&folder.join("trace"))?;
    let (records, statistics, has_trace, damage, sha256) = {
        let decoded = trace::decode(prepared, &outcome, &files)?;
        if let Some(trace_dat) = &decoded.trace_dat {
            write(&trace_dat_of(folder), trace_dat)?;
        }
        let capture = decoded.capture.as_ref();
        let tally = capture.map_or_else(Tally::default, |capture| capture.records().finish());
        let counted = tally.cpus.iter().map(|cpu| cpu.decoded);
        let damage = decoded.damage.or_else(|| {
            (tally.damages > 0)
                .then(|| format!("{} places of the trace cannot be read", tally.damages))
        });
        (
            counted.fold(0, u64::saturating_add),
            decoded.statistics,
            decoded.trace_dat.is_some(),
            damage,
            decoded.sha256,
        )
    };
    Ok(Recorded {
        outcome,
        records,
        statistics,
        has_trace,
        damage,
        sha256,
    })
}

/// Records a plan whose trace is streamed, in `folder`, which exists, and shows `sink` what comes.
///
/// # Errors
/// As [`record`].
pub(crate) fn stream(
    recording: &Recording<'_>,
    folder: &Path,
    max_bytes: u64,
    sink: &mut Sink<'_>,
) -> Result<Recorded> {
    let Recording {
        prepared, machine, ..
    } = *recording;
    write_json(folder, "build.json", &prepared.build.record(&[]))?;
    let machine = machine.machine_for(prepared.needs);
    let outcome =
        deferinit_host::run_streamed(&recording.request(&machine, folder), max_bytes, sink)?;
    let object_of = |name: &str| prepared.modules.get(name).map(Vec::as_slice);
    let kallsyms = kallsyms(&prepared.system_map, &outcome.received.modules, object_of)?;
    let LeftByStream {
        records,
        statistics,
        has_trace,
        damage,
    } = finish_stream(folder, &kallsyms, &outcome.received)?;
    Ok(Recorded {
        outcome,
        records,
        statistics,
        has_trace,
        damage,
        sha256: None,
    })
}

/// How much a run has recorded, by the kernel's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) records: u64,
    /// Of the records, without what is unused at the end of sub-buffers.
    pub(crate) bytes: u64,
}

impl Amount {
    /// Of a run of one boot, by what is in its folder.
    ///
    /// # Errors
    /// If that cannot be read.
    pub(crate) fn of_run(folder: &Path) -> Result<Self> {
        let files = trace::Files::read(&folder.join("trace"))?;
        let mut amount = Self::default();
        for stats in files.statistics().values() {
            amount.records = amount.records.saturating_add(stats.entries);
            amount.bytes = amount.bytes.saturating_add(stats.bytes);
        }
        Ok(amount)
    }
}

/// Where the trace of a run is.
pub(crate) fn trace_dat_of(folder: &Path) -> PathBuf {
    folder.join("trace/trace.dat")
}

/// What a boot was given, and has left.
struct Left<'a> {
    given: Given<'a>,
    outcome: Outcome,
    timeline: Timeline,
    trace_sha256: Option<String>,
    /// All zero unless they are wanted.
    timings: Timings,
}

/// What a boot is given.
fn given<'a>(job: &Job<'a>, scenario: &Scenario, folder: &Path) -> Result<Given<'a>> {
    let Job {
        prepared, machine, ..
    } = *job;
    let mut machine_of_run = machine.machine_of(scenario, prepared.needs);
    let devices = &mut machine_of_run.devices;
    devices.extend_from_slice(&scenario.machine.devices);
    Ok(Given {
        scenario: &job.scenario.name,
        clock: scenario.clock,
        machine: machine_of_run,
        cpus: scenario.machine.cpus,
        memory: machine.memory(scenario, prepared.needs),
        trace_buffer: scenario.trace.buffer,
        command_line: command_line(scenario),
        qemu: &machine.qemu,
        kernel: &prepared.kernel,
        initramfs: initramfs(job, scenario, folder)?,
    })
}

fn run_boot<'a>(job: &Job<'a>, boot: &Boot<'_>) -> Result<Left<'a>> {
    let prepared = job.prepared;
    let (scenario, folder) = (&*boot.scenario, &boot.folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut plan = deferinit_host::plan(scenario);
    plan.modules = prepared.build.insmod_paths();
    let given = given(job, scenario, folder)?;
    let deadline = default_deadline(&given.machine, &plan, scenario.clock);
    if job.debugger.is_some() {
        plan.deadline_ns = NO_DEADLINE_NS;
    }
    let watch = if job.is_timed {
        Some(Watch::start(folder)?)
    } else {
        None
    };
    let begin = Instant::now();
    let outcome = deferinit_host::run(&Request {
        machine: &given.machine,
        qemu: given.qemu,
        clock: given.clock,
        cpus: given.cpus,
        memory: Some(given.memory),
        trace_buffer: given.trace_buffer,
        kernel: given.kernel,
        initramfs: &given.initramfs,
        command_line: &given.command_line,
        plan: &plan,
        wall_deadline: Some(deadline.saturating_mul(job.patience)),
        folder,
        interrupted: job.interrupted,
        debugger: job.debugger,
    })?;
    let end = Instant::now();
    let milestones = watch.map(Watch::finish).transpose()?;
    let files = trace::Files::read(&folder.join("trace"))?;
    let decoded = trace::decode(prepared, &outcome, &files)?;
    let mut timeline = timeline(scenario, &outcome, &files, &decoded, boot.phase());
    timeline.ending = timeline
        .ending
        .with_place_of_hang(&outcome.stacks, &timeline.phases);
    if let Some(trace_dat) = &decoded.trace_dat {
        write(&trace_dat_of(folder), trace_dat)?;
    }
    show::write(scenario, folder)?;
    let trace_sha256 = decoded.sha256.clone();
    let timings = milestones.map(|milestones| Timings {
        decode: end.elapsed(),
        ..stages(&milestones, begin, end)
    });
    Ok(Left {
        given,
        timeline,
        trace_sha256,
        timings: timings.unwrap_or_default(),
        outcome,
    })
}

/// How long the stages in the VM took. A run that did not come to a stage's end was in it until its own.
fn stages(milestones: &Milestones, begin: Instant, end: Instant) -> Timings {
    let ready = milestones.agent_ready.unwrap_or(end);
    let begun = milestones.first_phase_begun.unwrap_or(end).max(ready);
    let ended = milestones.last_phase_ended.unwrap_or(end).max(begun);
    Timings {
        boot: ready - begin,
        arm: begun - ready,
        run: ended - begun,
        collect: end - ended,
        ..Timings::default()
    }
}

/// The initramfs of a scenario: with a shell if it has commands, and with its own files and its boot config, if it has
/// any, behind it.
fn initramfs(job: &Job<'_>, scenario: &Scenario, folder: &Path) -> Result<PathBuf> {
    let Job {
        prepared, added, ..
    } = *job;
    let with_shell = prepared.initramfs_with_shell.as_ref();
    let path = with_shell
        .filter(|_| scenario.has_command())
        .unwrap_or(&prepared.initramfs);
    let lines = &scenario.machine.boot_config;
    if lines.is_empty() && added.is_empty() {
        return Ok(path.clone());
    }
    let mut archive = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !added.is_empty() {
        let files: Vec<_> = added.iter().map(AddedFile::in_guest).collect();
        add_files(&mut archive, &files)?;
    }
    if !lines.is_empty() {
        add_boot_config(&mut archive, &(lines.join("\n") + "\n"))?;
    }
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    let own = folder.join("initramfs.cpio");
    write(&own, &archive)?;
    Ok(own)
}

/// The kernel looks for a boot config only if it is told so; events that are recorded from the boot on are armed here, before
/// any boot config is.
fn command_line(scenario: &Scenario) -> Vec<String> {
    let mut words = scenario.machine.command_line.clone();
    let trace = &scenario.trace;
    if trace.since == Since::Boot {
        let cpus = u64::from(scenario.machine.cpus.max(1));
        words.push(format!("trace_buf_size={}K", trace.buffer.0 / 1024 / cpus));
        let events: Vec<&str> = trace.events_recorded().collect();
        if !events.is_empty() {
            words.push(format!("trace_event={}", events.join(",")));
        }
    }
    if !scenario.machine.boot_config.is_empty() {
        words.push("bootconfig".to_owned());
    }
    words
}

fn timeline(
    scenario: &Scenario,
    outcome: &Outcome,
    files: &trace::Files,
    decoded: &Decoded<'_>,
    boot: Option<&str>,
) -> Timeline {
    let received = &outcome.received;
    let commands: Vec<_> = received
        .commands
        .iter()
        .map(|command| (command.phase.clone(), command_how(command.end)))
        .collect();
    let cut: Vec<String> = received.cut.iter().map(|(path, _)| path.clone()).collect();
    let run = Run {
        ending: ending(&outcome.ending, decoded.damage.as_deref()),
        trace_clock: &files.trace_clock,
        statistics: &decoded.statistics,
        // A guest that died could not send its log; the console has the end of it.
        dmesg: files.dmesg.as_deref().unwrap_or(&outcome.console_tail),
        kmemleak: files.kmemleak.as_deref(),
        results: &files.results,
        rounds: &files.rounds,
        commands: &commands,
        outputs: &files.outputs,
        reports: &files.reports,
        cut: &cut,
    };
    let wanted = &scenario.trace;
    if !wanted.keeps_records() {
        return deferinit_timeline::build_without_records(&decoded.symbols, run);
    }
    let reading = Reading {
        symbols: &decoded.symbols,
        tasks: &decoded.tasks,
        boot,
        queries: &deferinit_check::queries(scenario),
        has_exits_only: wanted.has_calls() && wanted.threshold.is_some(),
        longest_stall_ns: match scenario.clock {
            Clock::Exact => 0,
            Clock::Wall => LONGEST_STALL_NS,
        },
    };
    match &decoded.capture {
        Some(capture) => deferinit_timeline::build(capture, &reading, run),
        None => Assembly::new(&decoded.symbols).finish(&Tally::default(), run),
    }
}

fn command_how(end: CommandEnd) -> CommandHow {
    match end {
        CommandEnd::Exited(status) => CommandHow::Exited(status),
        CommandEnd::Signalled(signal) => CommandHow::Signalled(signal),
    }
}

/// The same, in the words of the timeline. A run whose files cannot be read is not complete; of one
/// that ended otherwise, that says more: a panic is a failure, whatever it left.
fn ending(ending: &deferinit_host::Ending, damage: Option<&str>) -> Ending {
    use deferinit_host::Ending as Host;

    match ending.clone() {
        Host::Complete => damage.map_or(Ending::Complete, |damage| Ending::Truncated {
            message: damage.to_owned(),
        }),
        Host::GuestDeadline { waiting_for } => Ending::GuestDeadline { waiting_for },
        Host::GuestPanic { message } => Ending::GuestPanic { message },
        Host::HostDeadline { waiting_for } => Ending::HostDeadline { waiting_for },
        Host::AgentMissing => Ending::AgentMissing,
        Host::AgentError { message } => Ending::AgentError { message },
        Host::Refused { message } => Ending::Refused { message },
        Host::Unsupported { what, option } => Ending::AgentError {
            message: unsupported(&what, option.as_deref()),
        },
        Host::NoFunction { file, pattern } => Ending::AgentError {
            message: format!("{pattern:?} matches no function (in {file})"),
        },
        Host::TripleFault { during } => Ending::TripleFault { during },
        Host::GuestReset { during } => Ending::GuestReset { during },
        Host::QemuDied { status } => Ending::QemuDied { status },
        Host::QemuRefused { status } => Ending::QemuRefused { status },
        Host::QemuHung { waiting_for } => Ending::QemuHung { waiting_for },
        Host::DiskFull { message } => Ending::DiskFull { message },
        Host::HostSuspended { message } => Ending::HostSuspended { message },
        Host::Interrupted | Host::Stopped => Ending::Interrupted,
        Host::Truncated { message } => Ending::Truncated { message },
    }
}

/// What a kernel cannot do, in one line.
pub(crate) fn unsupported(what: &str, option: Option<&str>) -> String {
    match option {
        Some(option) => format!("{what}: the kernel was built without {option}"),
        None => what.to_owned(),
    }
}

/// `exact` or `wall`.
pub(crate) fn clock_word(clock: Clock) -> &'static str {
    match clock {
        Clock::Exact => "exact",
        Clock::Wall => "wall",
    }
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skipped = lines.len().saturating_sub(CONSOLE_LINES);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}

pub(crate) fn write_json(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let mut json =
        serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {name}"))?;
    json.push(b'\n');
    write(&folder.join(name), &json)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_ends_a_complete_run_and_hides_no_panic() {
        use deferinit_host::Ending as Host;

        let message = "no layout".to_owned();
        assert_eq!(
            ending(&Host::Complete, Some(&message)),
            Ending::Truncated { message }
        );
        assert_eq!(ending(&Host::Complete, None), Ending::Complete);
        let message = "Kernel panic".to_owned();
        assert_eq!(
            ending(
                &Host::GuestPanic {
                    message: message.clone()
                },
                Some("no layout")
            ),
            Ending::GuestPanic { message }
        );
    }
}
