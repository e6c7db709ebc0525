// SPDX-License-Identifier: GPL-2.0-only

//! Which events can be in a trace, so that their formats are sent.
//!
//! In: the events and settings of a plan. Out: names of systems and events that the guest's tracefs has.
//! An event with no format cannot be read, so rather one too many: all of a system that is named, whatever happens to
//! be enabled, and all that are made at run time.
//! Source: `ftrace_set_clr_event()`, `kernel/trace/trace_events.c`, Linux 7.3.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use deferinit_protocol::Trace;

/// Systems of events that are made at run time, and ftrace's own.
const ALWAYS: [&str; 5] = ["ftrace", "kprobes", "uprobes", "fprobes", "synthetic"];

/// Where all events are; an instance may have been made without some.
pub(crate) const EVENTS: &str = "/sys/kernel/tracing/events";

/// The system and name of each event, for an instance in `instance`.
pub(crate) fn described(trace: &Trace, instance: &Path) -> Result<Vec<(String, String)>> {
    let mut wanted: Vec<String> = trace.events.clone();
    wanted.extend(ALWAYS.map(str::to_owned));
    for setting in &trace.settings {
        wanted.extend(named_in(&setting.file, &setting.text));
    }
    // What the kernel's command line has enabled.
    let enabled = fs::read_to_string(instance.join("set_event")).unwrap_or_default();
    wanted.extend(
        enabled
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned),
    );

    let events = Path::new(EVENTS);
    let mut described = BTreeSet::new();
    for system in folders(events)? {
        for event in folders(&events.join(&system))? {
            if wanted
                .iter()
                .any(|wanted| is_meant(wanted, &system, &event))
            {
                described.insert((system.clone(), event));
            }
        }
    }
    Ok(described.into_iter().collect())
}

/// Whether a name as `set_event` takes it means an event, or another one of its system.
fn is_meant(wanted: &str, system: &str, event: &str) -> bool {
    match wanted.split_once(':') {
        Some(("*" | "", name)) => name == "*" || name.is_empty() || name == event,
        // All of the system: a trigger or a field of another event may name them.
        Some((wanted, _)) => wanted == system,
        None => wanted == system || wanted == event || wanted == "all",
    }
}

/// The events that a setting can enable: that of the file, and those in the text of a trigger or of `set_event`.
fn named_in(file: &str, text: &str) -> Vec<String> {
    let mut parts = file.split('/');
    let mut named = Vec::new();
    if parts.next() == Some("events") {
        named.extend(match (parts.next(), parts.next()) {
            (Some("enable"), None) => Some("all".to_owned()),
            (Some(system), Some(_)) => Some(system.to_owned()),
            (_, _) => None,
        });
    }
    if file == "set_event" {
        named.extend(text.split_whitespace().map(str::to_owned));
    }
    if let Some((_, enabled)) = text.split_once("enable_event:") {
        named.extend(enabled.split(':').next().map(str::to_owned));
    }
    named
}

/// The names of the folders in `folder`, sorted; none if it does not exist.
pub(crate) fn folders(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{is_meant, named_in};

    #[test]
    fn names_mean_what_the_kernel_takes_them_for() {
        for (wanted, is) in [
            ("sched", true),
            ("sched_switch", true),
            ("sched:sched_switch", true),
            ("sched:sched_wakeup", true),
            ("*:sched_switch", true),
            (":sched_switch", true),
            ("*:*", true),
            ("all", true),
            ("*:sched_wakeup", false),
            ("irq", false),
            ("irq:irq_handler_entry", false),
        ] {
            assert_eq!(is_meant(wanted, "sched", "sched_switch"), is, "{wanted}");
        }
    }

    #[test]
    fn settings_name_the_events_that_they_can_enable() {
        for (file, text, named) in [
            ("events/enable", "1", &["all"][..]),
            ("events/irq/enable", "1", &["irq"]),
            ("events/irq/irq_handler_entry/enable", "1", &["irq"]),
            (
                "events/irq/irq_handler_entry/trigger",
                "enable_event:sched:sched_switch:1",
                &["irq", "sched"],
            ),
            (
                "set_ftrace_filter",
                "schedule:enable_event:kmem:kfree",
                &["kmem"],
            ),
            (
                "set_event",
                "sched irq:irq_handler_exit",
                &["sched", "irq:irq_handler_exit"],
            ),
            ("trace_options", "stacktrace", &[]),
        ] {
            assert_eq!(named_in(file, text), named, "{file} {text}");
        }
    }
}
