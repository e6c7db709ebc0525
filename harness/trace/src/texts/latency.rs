// SPDX-License-Identifier: GPL-2.0-only

//! Parses the `trace` file of the latency tracers: irqsoff, preemptoff, preemptirqsoff, wakeup, wakeup_rt, wakeup_dl.
//!
//! In: the texts of `trace` and `tracing_max_latency`. Out: the largest latency, whose it was, between which places, and
//! the rows of the trace behind it; or that there is no sample. **No sample is no latency of 0**: nothing qualified.
//!
//! Rows are those of the function tracer, of events, and, with the option `display-graph`, of function_graph. Rows
//! written with the option `verbose` are unsupported.
//!
//! Source: `print_trace_header` and `print_lat_help_header` in `kernel/trace/trace.c`, `lat_print_generic`,
//! `lat_print_timestamp` and `trace_ctxwake_print` in `kernel/trace/trace_output.c`,
//! `kernel/trace/trace_functions_graph.c`, Linux 7.3.

use serde::Serialize;

use super::function_profile::nanoseconds;
use super::{Error, Lines, lossy, number, rsplit_once, split_once};

/// Tracers that write such a file.
pub const TRACERS: [&str; 6] = [
    "irqsoff",
    "preemptoff",
    "preemptirqsoff",
    "wakeup",
    "wakeup_rt",
    "wakeup_dl",
];

/// What a latency tracer found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Latency {
    /// Nothing: no latency was measured since the maximum was reset, or none above `tracing_thresh`.
    NoSample {
        /// The tracer.
        tracer: String,
    },
    /// The largest latency, and the trace of it.
    Sample(Box<Sample>),
}

/// The largest latency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The tracer.
    pub tracer: String,
    /// The kernel's release: `7.3.4`.
    pub release: String,
    /// The latency in microseconds, rounded down by the kernel.
    pub latency_us: u64,
    /// The CPU it was on.
    pub cpu: u32,
    /// Entries in the trace.
    pub entries: u64,
    /// Entries that were written, those overwritten included.
    pub written: u64,
    /// The kernel's preemption model: `PREEMPT`.
    pub preemption: String,
    /// CPUs that are online; `None` for a kernel without SMP.
    pub online_cpus: Option<u32>,
    /// The task it happened in, or that was woken.
    pub task: LatencyTask,
    /// Where it started and ended; the wakeup tracers have no such places.
    pub section: Option<Section>,
    /// The trace, oldest first.
    pub rows: Vec<Row>,
    /// Events that the kernel says were lost before some row.
    pub lost: Lost,
}

/// Whose latency it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LatencyTask {
    /// Its name.
    pub comm: String,
    /// Its pid.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its nice value.
    pub nice: i64,
    /// Its policy: 0 normal, 1 FIFO, 2 round robin, 3 batch, 5 idle, 6 deadline (`include/uapi/linux/sched.h`).
    pub policy: u32,
    /// Its realtime priority, 0 if it has none.
    pub rt_priority: u32,
}

/// Between which places a latency is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The symbol where it started.
    pub started_at: String,
    /// The symbol where it ended.
    pub ended_at: String,
}

/// Losses that stand between rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Lost {
    /// How often the kernel says that it lost events.
    pub marks: u64,
    /// How many it says, where it does.
    pub events: u64,
}

/// One row of the trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The task's name, cut after 8 bytes by the kernel in all rows but those of display-graph.
    pub comm: String,
    /// The task's pid.
    pub pid: i32,
    /// The CPU.
    pub cpu: u32,
    /// The flag columns as they are: `dNh4.`.
    pub flags: String,
    /// Since the trace's start: microseconds, or the clock's own unit where it does not count nanoseconds.
    pub at: u64,
    /// What happened.
    pub event: RowEvent,
}

/// What happened in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum RowEvent {
    /// A function was called: `FUNCTION <-PARENT`.
    Call {
        /// The function.
        function: String,
        /// Its caller.
        parent: String,
    },
    /// A line of function_graph.
    Graph {
        /// The kernel's duration in nanoseconds, if the line has one.
        duration_ns: Option<u64>,
        /// The line, indented by depth: `  irq_enter_rcu() {`.
        text: String,
    },
    /// A task was woken: the one that ran, and the one that was woken.
    Wakeup(Switch),
    /// One task went, another came.
    Switch(Switch),
    /// A stack, the innermost symbol first.
    Stack {
        /// Symbols.
        frames: Vec<String>,
    },
    /// Anything else.
    Other {
        /// The text.
        text: String,
    },
}

/// Two tasks of a wake-up or a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The task that ran.
    pub from: SwitchTask,
    /// The task that was woken, or that runs next.
    pub to: SwitchTask,
    /// The CPU of the latter.
    pub cpu: u32,
    /// The name of the latter.
    pub comm: String,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SwitchTask {
    /// Its pid.
    pub pid: i32,
    /// The kernel's own priority: below 0 deadline, 0 to 99 realtime, 120 nice 0; as the kernel prints it, modulo 256.
    pub prio: i32,
    /// Its state as a letter: `R`.
    pub state: char,
}

impl Latency {
    /// Reads the text of `trace`.
    ///
    /// # Errors
    /// [`Error`] when it is that of another tracer, or when a line is none that the kernel writes.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut lines = Lines::new(text);
        let expected = "`# tracer: NAME` with irqsoff, preemptoff, preemptirqsoff, wakeup, wakeup_rt or wakeup_dl";
        let tracer = lines.expect(expected, |line| {
            let name = lossy(line.strip_prefix(b"# tracer: ")?);
            TRACERS.contains(&name.as_str()).then_some(name)
        })?;
        lines.expect("`#`", |line| (line == b"#").then_some(()))?;
        if lines.peek().is_none() {
            return Ok(Self::NoSample { tracer });
        }
        Sample::parse(tracer, lines).map(|sample| Self::Sample(Box::new(sample)))
    }

    /// The latency in microseconds; `None` if there is no sample.
    #[must_use]
    pub fn microseconds(&self) -> Option<u64> {
        match self {
            Self::NoSample { .. } => None,
            Self::Sample(sample) => Some(sample.latency_us),
        }
    }
}

/// Reads the text of `tracing_max_latency`: microseconds; `None` if nothing was measured, which the kernel writes as 0.
///
/// # Errors
/// [`Error`] when it is no number.
pub fn max_latency_us(text: &[u8]) -> Result<Option<u64>, Error> {
    let maximum: u64 = Lines::new(text).expect("a number of microseconds", number)?;
    Ok((maximum > 0).then_some(maximum))
}

impl Sample {
    fn parse(tracer: String, mut lines: Lines<'_>) -> Result<Self, Error> {
        let release = lines.expect("`# TRACER latency trace v1.1.5 on RELEASE`", |line| {
            let line = line.strip_prefix(b"# ")?.strip_prefix(tracer.as_bytes())?;
            Some(lossy(line.strip_prefix(b" latency trace v1.1.5 on ")?))
        })?;
        lines.expect("a line of dashes", |line| {
            line.starts_with(b"# ----").then_some(())
        })?;
        let head = lines.expect(
            "`# latency: N us, #ENTRIES/WRITTEN, CPU#N | (M:MODEL VP:0, KP:0, SP:0 HP:0 #P:CPUS)`",
            Head::parse,
        )?;
        lines.expect("a line of dashes", |line| {
            line.starts_with(b"#    ----").then_some(())
        })?;
        let task = lines.expect(
            "`#    | task: COMM-PID (uid:N nice:N policy:N rt_prio:N)`",
            LatencyTask::parse,
        )?;
        lines.expect("a line of dashes", |line| {
            line.starts_with(b"#    ----").then_some(())
        })?;
        let mut sample = Self {
            tracer,
            release,
            latency_us: head.latency_us,
            cpu: head.cpu,
            entries: head.entries,
            written: head.written,
            preemption: head.preemption,
            online_cpus: head.online_cpus,
            task,
            section: None,
            rows: Vec::new(),
            lost: Lost::default(),
        };
        sample.read_section(&mut lines)?;
        while let Some(line) = lines.next() {
            sample.read_line(line, &lines)?;
        }
        Ok(sample)
    }

    fn read_section(&mut self, lines: &mut Lines<'_>) -> Result<(), Error> {
        let start = b"#  => started at: ";
        if !lines.peek().is_some_and(|line| line.starts_with(start)) {
            return Ok(());
        }
        let started_at = lines.expect("`#  => started at: SYMBOL`", |line| {
            Some(lossy(line.strip_prefix(start)?.trim_ascii()))
        })?;
        let ended_at = lines.expect("`#  => ended at:   SYMBOL`", |line| {
            Some(lossy(line.strip_prefix(b"#  => ended at:")?.trim_ascii()))
        })?;
        self.section = Some(Section {
            started_at,
            ended_at,
        });
        Ok(())
    }

    fn read_line(&mut self, line: &[u8], lines: &Lines<'_>) -> Result<(), Error> {
        // The legend; where a CPU's buffer starts; task switches of function_graph, which stand between dashes.
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b" ----") {
            return Ok(());
        }
        if let Some(lost) = line.strip_prefix(b"CPU:") {
            let count = split_once(lost, b" [LOST ")
                .ok_or_else(|| lines.error("`CPU:N [LOST N EVENTS]`", line))?
                .1;
            self.lost.marks = self.lost.marks.saturating_add(1);
            let count = count.split(|byte| *byte == b' ').next().and_then(number);
            self.lost.events = self.lost.events.saturating_add(count.unwrap_or(0));
            return Ok(());
        }
        let last = self.rows.last_mut().map(|row| &mut row.event);
        if let Some(frame) = line.strip_prefix(b" => ") {
            return match last {
                Some(RowEvent::Stack { frames }) => {
                    frames.push(lossy(frame.trim_ascii()));
                    Ok(())
                }
                _ => Err(lines.error("a row before the frame of a stack", line)),
            };
        }
        if let Some(row) = Row::parse(line).or_else(|| Row::parse_graph(line)) {
            self.rows.push(row);
            return Ok(());
        }
        // A marker's text may have newlines.
        if let Some(RowEvent::Other { text }) = last
            && text.starts_with("tracing_mark_write: ")
        {
            text.push('\n');
            text.push_str(&lossy(line));
            return Ok(());
        }
        // Two tasks of function_graph: ` 0)  kworker-12  =>  busybox-1`.
        if line.windows(4).any(|window| window == b" => ") && split_once(line, b") ").is_some() {
            return Ok(());
        }
        let expected = if line.windows(5).any(|window| window == b"ms (+") {
            "a row without the option verbose, which is unsupported"
        } else {
            "`COMM-PID CPUFLAGS TIMEus: TEXT`, or a row of function_graph"
        };
        Err(lines.error(expected, line))
    }
}

struct Head {
    latency_us: u64,
    entries: u64,
    written: u64,
    cpu: u32,
    preemption: String,
    online_cpus: Option<u32>,
}

impl Head {
    fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"# latency: ")?;
        let (latency, rest) = split_once(rest, b" us, #")?;
        let (entries, rest) = split_once(rest, b"/")?;
        let (written, rest) = split_once(rest, b", CPU#")?;
        let (cpu, rest) = split_once(rest, b" | (M:")?;
        let (preemption, rest) = split_once(rest, b" VP:")?;
        let rest = rest.strip_suffix(b")")?;
        let online_cpus = match rsplit_once(rest, b" #P:") {
            Some((_, cpus)) => Some(number(cpus)?),
            None => None,
        };
        Some(Self {
            latency_us: number(latency)?,
            entries: number(entries)?,
            written: number(written)?,
            cpu: number(cpu)?,
            preemption: lossy(preemption),
            online_cpus,
        })
    }
}

impl LatencyTask {
    fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"#    | task: ")?;
        let (task, rest) = rsplit_once(rest, b" (uid:")?;
        let (comm, pid) = rsplit_once(task, b"-")?;
        let (uid, rest) = split_once(rest, b" nice:")?;
        let (nice, rest) = split_once(rest, b" policy:")?;
        let (policy, rest) = split_once(rest, b" rt_prio:")?;
        Some(Self {
            comm: lossy(comm),
            pid: number(pid)?,
            uid: number(uid)?,
            nice: number(nice)?,
            policy: number(policy)?,
            rt_priority: number(rest.strip_suffix(b")")?)?,
        })
    }
}

impl Row {
    /// `%8.8s-%-7d %3d`, five flags, ` %4lldus` with a mark, or ` %4lld` where the clock does not count nanoseconds, `: `.
    fn parse(line: &[u8]) -> Option<Self> {
        let (comm, rest) = line.split_at_checked(8)?;
        let rest = rest.strip_prefix(b"-")?;
        let (pid, rest) = split_once(rest, b" ")?;
        let rest = rest.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (cpu, rest) = rest.split_at_checked(digits)?;
        let (flags, rest) = rest.split_at_checked(5)?;
        let (time, text) = split_once(rest.strip_prefix(b" ")?, b": ")?;
        let time = match rsplit_once(time, b"us") {
            Some((time, mark)) if mark.len() <= 1 => time,
            Some(_) => return None,
            None => time,
        };
        Some(Self {
            comm: lossy(comm.trim_ascii_start()),
            pid: number(pid)?,
            cpu: number(cpu)?,
            flags: lossy(flags),
            at: number(time)?,
            event: RowEvent::parse(text),
        })
    }

    /// `TIME us |   CPU)  COMM-PID    |  FLAGS |   DURATION us   |  CALLS`.
    fn parse_graph(line: &[u8]) -> Option<Self> {
        let mut columns = line.splitn(5, |byte| *byte == b'|');
        let at = columns.next()?.trim_ascii().strip_suffix(b" us")?;
        let (cpu, task) = split_once(columns.next()?, b")")?;
        let (comm, pid) = rsplit_once(task.trim_ascii(), b"-")?;
        let flags = columns.next()?.trim_ascii();
        let duration = columns.next()?.trim_ascii();
        let text = columns.next()?;
        let duration_ns = if duration.is_empty() {
            None
        } else {
            // A mark may stand before it: `! 218.443 us`.
            let time = lossy(duration.strip_suffix(b" us")?);
            let digits = time.trim_start_matches(|letter: char| !letter.is_ascii_digit());
            Some(nanoseconds(digits)?)
        };
        Some(Self {
            comm: lossy(comm),
            pid: number(pid)?,
            cpu: number(cpu)?,
            flags: lossy(flags),
            at: number(at)?,
            event: RowEvent::Graph {
                duration_ns,
                text: lossy(text.strip_prefix(b"  ").unwrap_or(text).trim_ascii_end()),
            },
        })
    }
}

impl RowEvent {
    fn parse(text: &[u8]) -> Self {
        if text == b"<stack trace>" || text == b"<user stack trace>" {
            return Self::Stack { frames: Vec::new() };
        }
        if let Some(switch) = Switch::parse(text, b" ==> [") {
            return Self::Switch(switch);
        }
        if let Some(switch) = Switch::parse(text, b"   + [") {
            return Self::Wakeup(switch);
        }
        match split_once(text, b" <-") {
            Some((function, parent)) if !function.contains(&b' ') => Self::Call {
                function: lossy(function.strip_suffix(b"()").unwrap_or(function)),
                parent: lossy(parent.trim_ascii()),
            },
            _ => Self::Other { text: lossy(text) },
        }
    }
}

impl Switch {
    /// ` %7d:%3d:%c`, what is between, `%03d] %7d:%3d:%c %s`.
    fn parse(text: &[u8], between: &[u8]) -> Option<Self> {
        let (from, rest) = split_once(text, between)?;
        let (cpu, rest) = split_once(rest, b"] ")?;
        let (pid, rest) = split_once(rest, b":")?;
        let (prio, rest) = split_once(rest, b":")?;
        let (state, comm) = rest.split_first()?;
        let mut parts = from.splitn(3, |byte| *byte == b':');
        let (from_pid, from_prio) = (parts.next()?, parts.next()?);
        let [from_state] = parts.next()? else {
            return None;
        };
        Some(Self {
            from: SwitchTask {
                pid: number(from_pid)?,
                prio: number(from_prio)?,
                state: char::from(*from_state),
            },
            to: SwitchTask {
                pid: number(pid)?,
                prio: number(prio)?,
                state: char::from(*state),
            },
            cpu: number(cpu)?,
            comm: lossy(comm.strip_prefix(b" ")?),
        })
    }
}
