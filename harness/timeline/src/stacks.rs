// SPDX-License-Identifier: GPL-2.0-only

//! Reads the stacks of all tasks, and says where a guest that hangs is.
//!
//! In: the text that the kernel prints of its tasks, untrusted, and the phases of the run. Out: the items that have begun
//! and not ended, or, if there is none, the thread of the agent that runs the phases, or PID 1.
//! Source: `sched_show_task()`, `kernel/sched/core.c`; `show_trace_log_lvl()`, `arch/x86/kernel/dumpstack.c`, Linux 7.3.

use crate::PhaseSpan;
use crate::log::message;
use crate::names::demangle;

/// No kernel of a run has as many tasks.
const MAX_TASKS: usize = 10_000;

/// So much of a stack is shown.
const SHOWN_FRAMES: usize = 5;

/// So many items are named.
const SHOWN_ITEMS: usize = 3;

/// What every task that sleeps, and every trace of a stack, has on top.
const NO_NEWS: [&str; 6] = [
    "__schedule",
    "schedule",
    "__switch_to_asm",
    "schedule_timeout",
    "preempt_schedule_irq",
    "context_switch",
];

/// The task that no program has been run in yet (`init_task`, `kernel_init()`): the kernel's own name for PID 1.
const BEFORE_USERSPACE: &str = "swapper/0";

/// What the interrupt that made the kernel print has on its stack: what it interrupted is below.
const INTERRUPT: [&str; 3] = ["exc_nmi", "asm_exc_nmi", "end_repeat_nmi"];

/// The agent's thread that loads, waits and unloads (`supervise()` of the agent).
const PHASES: &str = "phases";

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Task {
    name: String,
    pid: i32,
    /// The kernel's letter: R, S, D, ..
    state: char,
    /// The innermost first.
    frames: Vec<String>,
}

/// Where a guest hangs, in words; none if the stacks do not say.
pub(crate) fn place_of_hang(stacks: &str, phases: &[PhaseSpan]) -> Option<String> {
    let tasks = parse(stacks);
    let task_of = |pid: i32| tasks.iter().find(|task| task.pid == pid);
    let running = phases
        .iter()
        .flat_map(|phase| &phase.items)
        .filter_map(|item| {
            let attempt = item.attempts.last()?;
            attempt
                .end
                .is_none()
                .then_some((item.id, attempt.started.pid))
        });
    let mut items: Vec<String> = running
        .map(|(id, pid)| match task_of(pid) {
            Some(task) => format!("item {id} has not ended: {}", task.describe()),
            None => format!("item {id} has not ended, and its task {pid} is gone"),
        })
        .collect();
    let more = items.len().saturating_sub(SHOWN_ITEMS);
    items.truncate(SHOWN_ITEMS);
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    if !items.is_empty() {
        return Some(items.join("; "));
    }
    let phases = tasks.iter().find(|task| task.name == PHASES);
    let first = phases.or_else(|| task_of(1))?;
    let when = if first.name == BEFORE_USERSPACE {
        "no program runs yet: "
    } else {
        ""
    };
    Some(format!("{when}{}", first.describe()))
}

impl Task {
    fn describe(&self) -> String {
        let Self { name, pid, .. } = self;
        let news = |frame: &&String| !NO_NEWS.contains(&function(frame));
        let is_interrupt = |frame: &String| INTERRUPT.contains(&function(frame));
        let interrupted = self.frames.iter().rposition(is_interrupt);
        let first = interrupted.map_or(0, |last| last + 1);
        let frames: Vec<String> = self
            .frames
            .iter()
            .skip(first)
            .filter(news)
            .take(SHOWN_FRAMES)
            .map(|frame| demangle(function(frame)))
            .collect();
        let what = match self.state {
            'R' => "runs",
            'D' => "sleeps, not to be woken by a signal",
            _ => "sleeps",
        };
        if frames.is_empty() {
            format!("{name} (pid {pid}) {what}, outside of the kernel")
        } else {
            format!("{name} (pid {pid}) {what} in {}", frames.join(" < "))
        }
    }
}

/// A frame's function.
fn function(frame: &str) -> &str {
    frame.split(['+', '.']).next().unwrap_or(frame)
}

fn parse(text: &str) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut in_trace = false;
    for line in text.lines().map(message) {
        if let Some(task) = head(line) {
            if tasks.len() == MAX_TASKS {
                break;
            }
            tasks.push(task);
            in_trace = false;
        } else if line == "Call Trace:" {
            in_trace = true;
        } else if in_trace && line.trim() == "</TASK>" {
            in_trace = false;
        } else if in_trace
            && let Some(task) = tasks.last_mut()
            && let Some(frame) = frame(line)
        {
            task.frames.push(frame.to_owned());
        }
    }
    tasks
}

/// `task:kworker/0:1     state:D stack:0     pid:8     tgid:8     ppid:2 ..`
fn head(line: &str) -> Option<Task> {
    let (name, rest) = line.strip_prefix("task:")?.split_once(" state:")?;
    let (_, pid) = rest.split_once(" pid:")?;
    Some(Task {
        name: name.trim_end().to_owned(),
        pid: pid.split_whitespace().next()?.parse().ok()?,
        state: rest.chars().next()?,
        frames: Vec::new(),
    })
}

/// `msleep+0x2d/0x40 [module]`, without the function's length; none if the kernel itself is not sure of it.
fn frame(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with(['?', '<', '#']) {
        return None;
    }
    let (place, _) = line.split_once('/')?;
    place.contains("+0x").then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 7.3.4, the fragments of kbuild/config, `echo t > /proc/sysrq-trigger`.
    const STACKS: &str = "\
[    5.1] sysrq: Show State
[    5.1] task:init            state:S stack:0     pid:1     tgid:1     ppid:0      task_flags:0x400100 flags:0x00080000
[    5.1] Call Trace:
[    5.1]  <TASK>
[    5.1]  __schedule+0x3a1/0x8f0
[    5.1]  ? f+0x1/0x2
[    5.1]  schedule+0x27/0x90
[    5.1]  futex_do_wait+0x38/0x70
[    5.1]  do_syscall_64+0x9e/0x1a0
[    5.1]  </TASK>
[    5.1] task:kworker/0:1     state:D stack:0     pid:8     tgid:8     ppid:2      task_flags:0x4208060 flags:0x00080000
[    5.1] Workqueue: events deferred_work_fn [test_deferred]
[    5.1] Call Trace:
[    5.1]  <TASK>
[    5.1]  __schedule+0x3a1/0x8f0
[    5.1]  msleep+0x2d/0x40
[    5.1]  deferred_item_body+0x100/0x200 [test_deferred]
[    5.1]  </TASK>
[    5.1] Showing busy workqueues and worker pools:";

    #[test]
    fn tasks_and_their_frames_are_read() {
        let tasks = parse(STACKS);
        let names: Vec<_> = tasks
            .iter()
            .map(|task| (task.name.as_str(), task.pid))
            .collect();
        assert_eq!(names, [("init", 1), ("kworker/0:1", 8)]);
        assert_eq!(
            tasks[1].describe(),
            "kworker/0:1 (pid 8) sleeps, not to be woken by a signal in msleep < deferred_item_body"
        );
    }

    #[test]
    fn a_guest_without_items_hangs_where_its_first_task_is() {
        let place = place_of_hang(STACKS, &[]).expect("a place");
        assert_eq!(
            place,
            "init (pid 1) sleeps in futex_do_wait < do_syscall_64"
        );
        let early = STACKS.replace("task:init     ", "task:swapper/0");
        let place = place_of_hang(&early, &[]).expect("a place");
        assert!(
            place.starts_with("no program runs yet: swapper/0 (pid 1) sleeps in"),
            "{place}"
        );
        let outside =
            "task:init            state:R  running task     stack:0     pid:1     tgid:1\n";
        let place = place_of_hang(outside, &[]).expect("a place");
        assert_eq!(place, "init (pid 1) runs, outside of the kernel");
    }

    #[test]
    fn what_was_interrupted_is_where_a_task_is() {
        let stacks = "task:init            state:R  running task     stack:0     pid:1     tgid:1\n\
            Call Trace:\n <TASK>\n sched_show_task+0x138/0x170\n vpanic+0x1/0x2\n exc_nmi+0xb3/0x110\n \
            asm_exc_nmi+0x1/0x2\n";
        let place = place_of_hang(stacks, &[]).expect("a place");
        assert_eq!(place, "init (pid 1) runs, outside of the kernel");
        let place = place_of_hang(&format!("{stacks} fault_spin+0x1/0x2\n"), &[]).expect("a place");
        assert_eq!(place, "init (pid 1) runs in fault_spin");
    }

    #[test]
    fn nothing_that_a_guest_prints_is_more_than_text() {
        for text in [
            "",
            "task:",
            "task:x state:",
            "task:x state: pid:",
            "task:x state:S pid:99999999999",
            "Call Trace:\n f+0x1/0x2",
        ] {
            assert_eq!(place_of_hang(text, &[]), None, "{text:?}");
        }
    }
}
