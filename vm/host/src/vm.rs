// SPDX-License-Identifier: GPL-2.0-only

//! One run, from an empty folder to an [`Outcome`].

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use deferinit_protocol::{Buffer, Capture, MODULE, PhaseEnd, Plan, RECEIVED, STOP, Since};
use deferinit_scenario::{Bytes, Clock};

use crate::argv::{self, Arguments, ResultsTo};
use crate::confinement;
use crate::hang::{self, Heard, read_end};
use crate::hardship::{Moment, Reserve, too_little_free};
use crate::intake::{Intake, Sink};
use crate::machine::Machine;
use crate::memory::{GuestMemory, Region};
use crate::monitor::{Event, Monitor, Starter};
use crate::qemu::{Descriptors, Place, Qemu, Running};
use crate::results::{self, Failure, Received};
use crate::tsc;

/// Where a debugger talks to QEMU, in the `vm` folder.
const DEBUGGER: &str = "gdb.sock";

/// How often a wait looks at what can only be polled: QEMU's exit, and the user's Ctrl-C.
const POLL: Duration = Duration::from_millis(20);

/// How long a panicked guest may take to print why, and the stacks of its tasks.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// How long a QEMU whose monitor is closed may take to exit.
const EXIT: Duration = Duration::from_secs(5);

/// How long a disk may be full before the run is given up: somebody may make room.
const FULL_DISK_GRACE: Duration = Duration::from_secs(2);

/// How long a guest that was told to stop may take to send what it has.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// So much of a stream is taken at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What a guest sends or prints is no longer than this; one that goes on is wrong.
const MAX_GUEST_FILE_BYTES: u64 = 1 << 30;

/// How much of the end of QEMU's own messages is read.
const MESSAGES_BYTES: u64 = 16 * 1024;

/// What QEMU notes where the guest's CPU had nowhere to go (`target/i386/tcg/`, QEMU 7.2).
const TRIPLE_FAULT: &str = "Triple fault";

/// What to run.
pub struct Request<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The QEMU that emulates it.
    pub qemu: &'a Qemu,
    /// Its clock.
    pub clock: Clock,
    /// Its CPUs.
    pub cpus: u32,
    /// Its RAM; the machine file's if `None`.
    pub memory: Option<Bytes>,
    /// The size of the trace buffer, for all CPUs together.
    pub trace_buffer: Bytes,
    /// The kernel image.
    pub kernel: &'a Path,
    /// The initramfs, see [`crate::initramfs`].
    pub initramfs: &'a Path,
    /// Further kernel parameters.
    pub command_line: &'a [String],
    /// What the agent is told.
    pub plan: &'a Plan,
    /// How long the run may take on the host's clock; the machine file's if `None`.
    pub wall_deadline: Option<Duration>,
    /// An existing folder that gets `vm/` and `trace/`.
    pub folder: &'a Path,
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// Is told the socket at which QEMU waits for a debugger, which lets the guest run; there is no deadline then. None
    /// if nobody debugs.
    pub debugger: Option<&'a (dyn Fn(&Path) + Sync)>,
}

/// What a kernel says of the interrupt that asks where it hangs, if it does not panic
/// (`arch/x86/kernel/nmi.c`, Linux 7.3).
const GOES_ON: &str = "Dazed and confused, but trying to continue";

/// How a run came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every phase was gone through, and everything was sent.
    Complete,
    /// The user wanted no more of a streamed trace, and everything up to then was sent.
    Stopped,
    /// The plan's deadline in guest time passed.
    GuestDeadline {
        /// What the agent was waiting for.
        waiting_for: String,
    },
    /// The guest's kernel panicked.
    GuestPanic {
        /// The line that says so.
        message: String,
    },
    /// The run took too long on the host's clock.
    HostDeadline {
        /// The last that was known of the guest.
        waiting_for: String,
    },
    /// The guest powered off, and its agent had not said a word.
    AgentMissing,
    /// The agent gave up.
    AgentError {
        /// Why.
        message: String,
    },
    /// The guest's kernel cannot do what is asked for.
    Unsupported {
        /// What it cannot do.
        what: String,
        /// The option of its configuration that would make it, if that is known.
        option: Option<String>,
    },
    /// The guest's kernel refused a setting.
    Refused {
        /// Which one, and why.
        message: String,
    },
    /// A pattern matches no function of the guest's kernel.
    NoFunction {
        /// The file that it was written to.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// An exception in the guest's kernel, and no way to handle it or those that followed.
    TripleFault {
        /// The last that was known of the guest.
        during: String,
    },
    /// The guest was reset by itself, and its kernel had not panicked.
    GuestReset {
        /// The last that was known of the guest.
        during: String,
    },
    /// QEMU ended by itself.
    QemuDied {
        /// Its exit status or the signal that ended it, and its last words.
        status: String,
    },
    /// QEMU ended before the guest ran.
    QemuRefused {
        /// Its exit status and its last words.
        status: String,
    },
    /// QEMU does not answer any more.
    QemuHung {
        /// The last that was known of the guest.
        waiting_for: String,
    },
    /// There was no room for the results.
    DiskFull {
        /// Where, and how much is free.
        message: String,
    },
    /// The host slept while the guest ran on its clock.
    HostSuspended {
        /// For how long.
        message: String,
    },
    /// The user wanted to stop.
    Interrupted,
    /// The guest powered off before everything was sent, or sent something that cannot be read.
    Truncated {
        /// What is missing or wrong.
        message: String,
    },
}

/// What a run has left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What the agent said.
    pub received: Received,
    /// The end of the console log.
    pub console_tail: String,
    /// The stacks of the guest's tasks as its kernel prints them, if it panicked or hung; else empty.
    pub stacks: String,
    /// The persistent trace buffer, as it stood in guest RAM; empty where the trace was drained.
    pub trace_region: Vec<u8>,
    /// How long it took on the host's clock.
    pub wall: Duration,
    /// How long QEMU's threads waited for a CPU of the host in all; none if the host's kernel does not count it.
    pub host_wait: Option<Duration>,
}

/// Why the wait for QEMU ended.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Exited(ExitStatus),
    /// Before the guest ran.
    Refused(ExitStatus),
    Panicked,
    Reset,
    Deadline,
    /// A deadline, and a QEMU that does not answer.
    Stuck,
    /// With what is free.
    DiskFull(u64),
    /// With the name of the file that the guest has flooded.
    Flooded(&'static str),
    Interrupted,
}

/// Runs a plan.
///
/// # Errors
/// If the machine cannot be set up: the trace buffer does not fit, a file cannot be written, QEMU
/// cannot be started. Whatever happens after that is an [`Ending`].
pub fn run(request: &Request<'_>) -> Result<Outcome> {
    run_with(request, None)
}

/// Runs a plan whose trace is streamed, and shows `sink` what comes as it comes; from a thread of its own, which waits
/// for it, and so does the guest in the end. When the sink wants no more, or the user does, the guest is told to
/// stop. A stream of more than `max_bytes` ends.
///
/// # Errors
/// As [`run`].
pub fn run_streamed(request: &Request<'_>, max_bytes: u64, sink: &mut Sink<'_>) -> Result<Outcome> {
    run_with(request, Some(Streamed { max_bytes, sink }))
}

/// What is done with a stream.
struct Streamed<'a, 'b> {
    max_bytes: u64,
    sink: &'a mut Sink<'b>,
}

fn run_with(request: &Request<'_>, streamed: Option<Streamed<'_, '_>>) -> Result<Outcome> {
    let (begin, host_begin) = (Instant::now(), Moment::now()?);
    let vm = request.folder.join("vm");
    let user = confinement::user(request.clock, request.qemu);
    confinement::make_private(&vm, user)?;
    let memory_bytes = match request.memory {
        Some(bytes) => bytes.0,
        None => request.machine.memory()?.0,
    };
    let region = trace_region(request.machine, Bytes(memory_bytes), request.trace_buffer)?;
    let trace = (request.plan.trace.buffer() == Buffer::Persistent).then_some(region);
    let command_line = [request.command_line, &built_in_parameters(request.plan)].concat();
    let arguments = argv::arguments(&Arguments {
        machine: request.machine,
        clock: request.clock,
        qemu: request.qemu,
        cpus: request.cpus,
        memory_bytes,
        trace,
        extra_command_line: &command_line,
        boot_events: match request.plan.trace.since {
            Since::BootInstance => &request.plan.trace.events,
            Since::Window | Since::BootTop => &[],
        },
        results: match streamed {
            None => ResultsTo::File,
            Some(_) => ResultsTo::Socket,
        },
        debugger: request.debugger.map(|_| DEBUGGER),
        tsc_khz: match request.clock {
            Clock::Exact => None,
            Clock::Wall => tsc::host_khz(),
        },
    });
    write(
        &vm,
        "argv",
        argv::shell_text(&request.qemu.program, &arguments).as_bytes(),
    )?;
    let plan = serde_json::to_vec_pretty(request.plan).context("cannot write the plan as JSON")?;
    write(&vm, argv::PLAN, &plan)?;

    let memory = GuestMemory::new(memory_bytes)?;
    let (ours, theirs) = UnixStream::pair().context("cannot make the monitor's socket")?;
    let (stream, their_stream) = match streamed {
        None => (None, None),
        Some(streamed) => {
            let (ours, theirs) =
                UnixStream::pair().context("cannot make the socket for results")?;
            (Some((ours, streamed)), Some(theirs))
        }
    };
    let kernel = confinement::open_image(request.kernel, user)?;
    let initramfs = confinement::open_image(request.initramfs, user)?;
    let reserve = Reserve::keep(&vm)?;
    let stderr = create(&vm, "stderr.log")?;
    confinement::give(&vm, user)?;
    let mut qemu = Running::start(
        &request.qemu.program,
        &arguments,
        &vm,
        Place::Background(stderr),
        user,
        &Descriptors {
            memory: Some(memory.as_fd()),
            monitor: Some(theirs.as_fd()),
            results: their_stream.as_ref().map(AsFd::as_fd),
            kernel: Some(kernel.as_fd()),
            initramfs: Some(initramfs.as_fd()),
        },
    )?;
    drop(theirs);
    drop(their_stream);
    write(&vm, "pid", format!("{}\n", qemu.id()).as_bytes())?;

    let limit = request
        .wall_deadline
        .unwrap_or_else(|| default_deadline(request.machine, request.plan, request.clock));
    let folder = request.folder.join("trace");
    let watch = |stop: Option<Stop<'_>>| -> Result<Wait> {
        let starter = match request.debugger {
            None => Starter::Us,
            Some(_) => Starter::Debugger,
        };
        let ended = match Monitor::new(ours, create(&vm, "qmp.jsonl")?).let_run(starter) {
            Ok(ear) => {
                let deadline = match request.debugger {
                    None => begin.checked_add(limit),
                    Some(tell) => {
                        tell(&vm.join(DEBUGGER));
                        None
                    }
                };
                let ended = wait(
                    &mut qemu,
                    &ear.events,
                    deadline,
                    &vm,
                    request.interrupted,
                    stop,
                )?;
                match ended {
                    Wait::Deadline if !hang::interrogate(&ear, &mut qemu)? => Wait::Stuck,
                    ended => ended,
                }
            }
            // A monitor that does not answer belongs to a QEMU that exits or hangs.
            Err(error) => Wait::Refused(exit_soon(&mut qemu)?.ok_or(error)?),
        };
        if !matches!(ended, Wait::Exited(_) | Wait::Refused(_)) {
            qemu.kill()?;
        }
        Ok(ended)
    };
    let (wait, received) = match stream {
        None => {
            let ended = watch(None)?;
            (ended, take_results(&ended, &vm, request.cpus, &folder)?)
        }
        Some((socket, streamed)) => {
            let intake = Intake::new(&folder, streamed.max_bytes);
            stream_and_watch(socket, intake, streamed.sink, |stop| watch(Some(stop)))?
        }
    };
    drop(reserve);
    if request.debugger.is_some() {
        // QEMU removes it, unless it was killed.
        drop(fs::remove_file(vm.join(DEBUGGER)));
    }
    confinement::take_back(&vm, user)?;
    let Heard {
        console_tail,
        stacks,
    } = hang::hear(&vm, &folder)?;
    let trace_region = match (received.capture, trace) {
        (Some(Capture::Persistent), Some(region)) => memory.read(region)?,
        (Some(Capture::Persistent | Capture::Drained | Capture::Streamed) | None, _) => Vec::new(),
    };
    let slept = Moment::now()?.slept_since(host_begin);
    let ending = match ending(&wait, &received, &console_tail, limit, &vm) {
        // Exact time does not know of it.
        Ending::Complete | Ending::Stopped if request.clock == Clock::Wall => {
            slept.map_or_else(|| agent_ending(&received), asleep)
        }
        ending => ending,
    };
    Ok(Outcome {
        ending,
        received,
        console_tail,
        stacks,
        trace_region,
        wall: begin.elapsed(),
        host_wait: qemu.host_wait(),
    })
}

fn asleep(slept: Duration) -> Ending {
    Ending::HostSuspended {
        message: format!("for {:.1} s", slept.as_secs_f64()),
    }
}

/// What the guest sent through the file. On a full disk it gives way to the verdict: it is not whole anyway.
fn take_results(ended: &Wait, vm: &Path, cpus: u32, folder: &Path) -> Result<Received> {
    if matches!(ended, Wait::DiskFull(_)) {
        let path = vm.join(argv::RESULTS);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        return Ok(Received::default());
    }
    results::receive(&read_results(vm)?, cpus, folder)
}

/// Takes the stream in a thread of its own, while `watch` waits for QEMU's end.
fn stream_and_watch(
    socket: UnixStream,
    intake: Intake,
    sink: &mut Sink<'_>,
    watch: impl FnOnce(Stop<'_>) -> Result<Wait>,
) -> Result<(Wait, Received)> {
    let is_enough = AtomicBool::new(false);
    let writing = socket
        .try_clone()
        .context("cannot share the socket for results")?;
    thread::scope(|scope| {
        let reader = scope.spawn(|| take_stream(socket, intake, sink, &is_enough));
        let ended = watch(Stop {
            socket: &writing,
            is_enough: &is_enough,
            told_at: None,
        });
        // A QEMU that could not be waited for may still be there, and the reader must end all the same.
        if ended.is_err() {
            drop(writing.shutdown(Shutdown::Both));
        }
        let received = reader
            .join()
            .map_err(|_| anyhow!("the thread that reads the results died"))?;
        Ok((ended?, received))
    })
}

/// Reads what the guest sends until QEMU is gone.
fn take_stream(
    mut socket: UnixStream,
    mut intake: Intake,
    sink: &mut Sink<'_>,
    is_enough: &AtomicBool,
) -> Received {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                let bytes = piece.get(..length).unwrap_or_default();
                // It is read to its end all the same: a guest that cannot send cannot stop.
                let was_over = intake.is_over();
                if intake.take(bytes, sink).is_break() {
                    is_enough.store(true, Ordering::Relaxed);
                }
                if intake.is_over() && !was_over {
                    // A QEMU that takes no word is about to exit.
                    drop(socket.write_all(&[RECEIVED]));
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A QEMU that was killed with something unread.
            Err(error) => {
                if error.kind() != ErrorKind::ConnectionReset {
                    let _ = intake.damage(format!("cannot read the results: {error}"));
                }
                break;
            }
        }
    }
    intake.finish()
}

/// How a guest whose trace is streamed is told to stop.
struct Stop<'a> {
    socket: &'a UnixStream,
    /// Set when the sink wants no more.
    is_enough: &'a AtomicBool,
    told_at: Option<Instant>,
}

impl Stop<'_> {
    /// Tells it, once; whether it has had its time since.
    fn is_overdue(&mut self) -> bool {
        let told_at = *self.told_at.get_or_insert_with(|| {
            // A QEMU that takes no word is about to exit.
            let mut socket = self.socket;
            drop(socket.write_all(&[STOP]));
            Instant::now()
        });
        told_at.elapsed() > STOP_GRACE
    }
}

/// The parameters of a workload in the kernel's image, as its command line has them.
fn built_in_parameters(plan: &Plan) -> Vec<String> {
    let phases = plan.phases.iter().filter(|_| plan.is_built_in);
    phases
        .flat_map(|phase| phase.parameters.split_whitespace())
        .map(|parameter| format!("{MODULE}.{parameter}"))
        .collect()
}

/// Whether a trace buffer fits into a machine's RAM; [`run`] asks the same.
///
/// # Errors
/// If it does not, with both sizes.
pub fn check_memory(machine: &Machine, memory: Bytes, trace_buffer: Bytes) -> Result<()> {
    trace_region(machine, memory, trace_buffer).map(drop)
}

fn trace_region(machine: &Machine, memory: Bytes, trace_buffer: Bytes) -> Result<Region> {
    let low = memory.min(machine.low_memory()?);
    Region::at_top_of(low.0, trace_buffer.0).with_context(|| {
        format!(
            "a trace buffer of {trace_buffer} does not fit into {memory} of RAM beside the kernel"
        )
    })
}

/// How long a run may take on the host's clock if nobody says: the machine's time, and a second for each round. On the
/// wall clock, the guest's deadline passes in the host's time too, after a boot.
#[must_use]
pub fn default_deadline(machine: &Machine, plan: &Plan, clock: Clock) -> Duration {
    let rounds: usize = plan.phases.iter().map(|phase| phase.rounds.len()).sum();
    let rounds = Duration::from_secs(u64::try_from(rounds).unwrap_or(u64::MAX));
    let machine = Duration::from_secs(machine.wall_deadline_s).saturating_add(rounds);
    match clock {
        Clock::Exact => machine,
        Clock::Wall => machine.saturating_add(Duration::from_nanos(plan.deadline_ns)),
    }
}

/// QEMU closes its socket before it can be waited for; gives it a moment.
fn exit_soon(qemu: &mut Running) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + EXIT;
    while Instant::now() < deadline {
        if let Some(status) = qemu.exited()? {
            return Ok(Some(status));
        }
        std::thread::park_timeout(POLL);
    }
    Ok(None)
}

/// Waits until QEMU has exited, the guest has panicked, or somebody has had enough.
fn wait(
    qemu: &mut Running,
    events: &Receiver<Event>,
    deadline: Option<Instant>,
    vm: &Path,
    interrupted: &AtomicBool,
    mut stop: Option<Stop<'_>>,
) -> Result<Wait> {
    let mut panicked_at = None;
    let mut full_since: Option<Instant> = None;
    let mut is_reset = false;
    loop {
        let heard = events.recv_timeout(POLL);
        qemu.look_at_waits();
        match heard {
            Ok(Event::Panicked) => {
                panicked_at.get_or_insert(Instant::now());
            }
            Ok(Event::Reset) => is_reset = true,
            Ok(Event::Answered) | Err(_) => {}
        }
        if let Some(status) = qemu.exited()? {
            // What it said last may not have been taken.
            is_reset |= events.try_iter().any(|event| event == Event::Reset);
            return Ok(if panicked_at.is_some() {
                Wait::Panicked
            } else if is_reset {
                Wait::Reset
            } else {
                Wait::Exited(status)
            });
        }
        if heard == Err(RecvTimeoutError::Disconnected) {
            // The socket is closed, so QEMU is about to exit; do not spin until it has.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let is_interrupted = interrupted.load(Ordering::Relaxed);
        let is_over = match &mut stop {
            None => is_interrupted,
            Some(stop) => {
                let is_enough = is_interrupted || stop.is_enough.load(Ordering::Relaxed);
                is_enough && stop.is_overdue()
            }
        };
        if is_over {
            return Ok(Wait::Interrupted);
        }
        if panicked_at.is_some_and(|at| at.elapsed() > LAST_WORDS) {
            return Ok(Wait::Panicked);
        }
        if let Some(name) = too_large(vm) {
            return Ok(Wait::Flooded(name));
        }
        match too_little_free(vm) {
            Some(free) if full_since.is_some_and(|since| since.elapsed() > FULL_DISK_GRACE) => {
                return Ok(Wait::DiskFull(free));
            }
            Some(_) => full_since = full_since.or_else(|| Some(Instant::now())),
            None => full_since = None,
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(Wait::Deadline);
        }
    }
}

/// A file that the guest fills, if it is larger than any guest has a reason to make it.
fn too_large(vm: &Path) -> Option<&'static str> {
    let length = |name: &str| fs::metadata(vm.join(name)).map_or(0, |metadata| metadata.len());
    [argv::RESULTS, argv::CONSOLE_LOG]
        .into_iter()
        .find(|name| length(name) > MAX_GUEST_FILE_BYTES)
}

fn ending(wait: &Wait, received: &Received, console: &str, limit: Duration, vm: &Path) -> Ending {
    match wait {
        Wait::Interrupted => Ending::Interrupted,
        Wait::Panicked => panicked(console),
        Wait::Flooded(name) => Ending::Truncated {
            message: format!("the guest filled {name} with more than {MAX_GUEST_FILE_BYTES} bytes"),
        },
        // What makes an interrupt a panic is set when the first program is about to run.
        Wait::Deadline if console.contains(GOES_ON) => Ending::HostDeadline {
            waiting_for: format!(
                "the boot of the kernel, which has run no program yet, for {} s of wall time",
                limit.as_secs()
            ),
        },
        Wait::Deadline => Ending::HostDeadline {
            waiting_for: waited(received, limit),
        },
        Wait::Stuck => Ending::QemuHung {
            waiting_for: waited(received, limit),
        },
        Wait::DiskFull(free) => Ending::DiskFull {
            message: format!(
                "{free} bytes are free at {}, and the guest has more to send",
                vm.display()
            ),
        },
        Wait::Refused(status) => Ending::QemuRefused {
            status: format!("{status}{}", last_words(vm)),
        },
        // Without pvpanic, a panic is a reset.
        Wait::Reset if console.contains("Kernel panic") && received.end.is_none() => {
            panicked(console)
        }
        Wait::Reset => {
            let during = last_known(received);
            let notes = read_end(&vm.join(argv::CPU_LOG), MESSAGES_BYTES);
            if notes.contains(TRIPLE_FAULT) {
                Ending::TripleFault { during }
            } else {
                Ending::GuestReset { during }
            }
        }
        Wait::Exited(status) if !status.success() => Ending::QemuDied {
            status: format!("{status}{}", last_words(vm)),
        },
        Wait::Exited(_) => agent_ending(received),
    }
}

/// The guest has powered off in good order; did the agent say all it should?
fn agent_ending(received: &Received) -> Ending {
    if let Some(failure) = received.failure.clone() {
        return match failure {
            Failure::Unsupported { what, option } => Ending::Unsupported { what, option },
            Failure::Refused(message) => Ending::Refused { message },
            Failure::NoFunction { file, pattern } => Ending::NoFunction { file, pattern },
            Failure::Failed(message) => Ending::AgentError { message },
        };
    }
    if let Some(message) = &received.damage {
        return Ending::Truncated {
            message: message.clone(),
        };
    }
    match (&received.end, &received.kernel) {
        (Some(PhaseEnd::Complete), _) => Ending::Complete,
        (Some(PhaseEnd::Stopped), _) => Ending::Stopped,
        (Some(PhaseEnd::Deadline { waiting_for }), _) => Ending::GuestDeadline {
            waiting_for: waiting_for.clone(),
        },
        (None, None) => Ending::AgentMissing,
        (None, Some(_)) => Ending::Truncated {
            message: format!("the guest powered off during {}", last_known(received)),
        },
    }
}

fn waited(received: &Received, limit: Duration) -> String {
    format!(
        "{} for {} s of wall time",
        last_known(received),
        limit.as_secs()
    )
}

fn last_known(received: &Received) -> String {
    match (&received.last_phase, &received.kernel) {
        (Some(phase), _) => format!("phase {phase}"),
        (None, Some(_)) => "the arming of ftrace".to_owned(),
        (None, None) => "the boot of the guest".to_owned(),
    }
}

/// A kernel panics when PID 1 dies: that is our agent's fault, not the kernel's.
fn panicked(console: &str) -> Ending {
    let message = panic_line(console);
    if message.contains("Attempted to kill init!") {
        return Ending::AgentError {
            message: format!("it died: {message}"),
        };
    }
    Ending::GuestPanic { message }
}

/// The line of the console that says why the kernel panicked.
fn panic_line(console: &str) -> String {
    console
        .lines()
        .find(|line| line.contains("Kernel panic"))
        .map_or("the console does not say why".to_owned(), |line| {
            line.trim().to_owned()
        })
}

fn last_words(vm: &Path) -> String {
    let text = read_end(&vm.join("stderr.log"), MESSAGES_BYTES);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!(": {}", line.trim()),
        None => String::new(),
    }
}

fn create(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    File::create(&path).with_context(|| format!("cannot create {}", path.display()))
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// The stream of frames; empty if QEMU did not come to open the file.
fn read_results(vm: &Path) -> Result<Vec<u8>> {
    let path = vm.join(argv::RESULTS);
    let mut stream = Vec::new();
    match File::open(&path) {
        // What is beyond the limit makes the last frame a cut one, which is damage.
        Ok(file) => file
            .take(MAX_GUEST_FILE_BYTES)
            .read_to_end(&mut stream)
            .map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(stream)
}
