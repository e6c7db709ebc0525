// SPDX-License-Identifier: GPL-2.0-only

//! The tasks that pid filters name.
//!
//! In: a filter of the plan, and the numbers of the commands. Out: numbers, as the kernel's files take them.

use std::fs;

use anyhow::{Context, Result};
use deferinit_protocol::{PidFilter, TaskOf};

use crate::refusal::Refusal;

/// The numbers of the tasks of a filter, in its order, separated by blanks.
pub(crate) fn numbers(filter: &PidFilter, commands: &[u32]) -> Result<String> {
    let mut numbers: Vec<String> = Vec::new();
    for task in &filter.tasks {
        match task {
            TaskOf::Number(number) => numbers.push(number.to_string()),
            TaskOf::Command => numbers.extend(commands.iter().map(u32::to_string)),
            TaskOf::Named(name) => numbers.extend(named(name)?.iter().map(u32::to_string)),
        }
    }
    Ok(numbers.join(" "))
}

/// Whether the children of the filter's tasks belong to it.
pub(crate) fn with_children(filter: &PidFilter) -> bool {
    filter.tasks.contains(&TaskOf::Command)
}

/// All threads of a name, by their numbers.
fn named(name: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for process in numbers_in("/proc")? {
        // A process that has ended meanwhile has no threads.
        for thread in numbers_in(&format!("/proc/{process}/task")).unwrap_or_default() {
            let comm = fs::read_to_string(format!("/proc/{process}/task/{thread}/comm"));
            if comm.is_ok_and(|comm| is_named(comm.trim_end(), name)) {
                found.push(thread);
            }
        }
    }
    if found.is_empty() {
        return Err(Refusal::Refused(format!("there is no task named {name:?}")).into());
    }
    Ok(found)
}

fn is_named(comm: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(begin) => comm.starts_with(begin),
        None => comm == name,
    }
}

/// The entries of a folder that are numbers, sorted.
fn numbers_in(folder: &str) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry.with_context(|| format!("cannot list {folder}"))?;
        numbers.extend(entry.file_name().to_string_lossy().parse::<u32>());
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn a_name_is_whole_or_a_begin() {
        for (comm, name, is) in [
            ("ksoftirqd/0", "ksoftirqd/0", true),
            ("ksoftirqd/0", "ksoftirqd", false),
            ("ksoftirqd/0", "ksoftirqd/*", true),
            ("kworker/0:1", "ksoftirqd/*", false),
            ("anything", "*", true),
        ] {
            assert_eq!(is_named(comm, name), is, "{comm} {name}");
        }
    }
}
