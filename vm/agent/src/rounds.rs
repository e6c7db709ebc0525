// SPDX-License-Identifier: GPL-2.0-only

//! Many loads and unloads in one phase, and the memory that the kernel has in use before and after.
//!
//! In: a phase with rounds. Out: a [`RoundsRecord`], if every round did what it should.
//! Nothing is recorded meanwhile: no trace buffer holds a thousand rounds.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deferinit_protocol::{MODULE_PATH, Phase, Round, RoundsRecord};

use crate::guest::read_line;
use crate::phases::{CONTROL, load_module, unload};
use crate::tracing::{Instance, Markers};

/// One round in this many, of the first ones, is warm-up: caches, pools of workers and tables of the kernel grow with
/// the first uses and stay.
const WARM_UP: usize = 10;

/// What comes late: RCU callbacks, queues that are released by a worker, and the end of workers, which are idle for
/// 300 s before (`IDLE_WORKER_TIMEOUT`, `kernel/workqueue.c`, Linux 7.3). How many there are depends on the last rounds.
const SETTLE: Duration = Duration::from_secs(400);

/// The kernel's caches of objects.
const CACHES: &str = "/sys/kernel/slab";

/// How often a CPU is woken while a round is under way.
const WAKE_UP: Duration = Duration::from_millis(10);

/// Goes through the rounds of a phase; `wait` is told what is about to be waited for.
///
/// # Errors
/// If a round is not as it should be, with its number and parameters.
pub(crate) fn run(
    phase: &Phase,
    instance: &Instance,
    markers: &mut Markers,
    wait: impl Fn(String) -> Result<()>,
) -> Result<RoundsRecord> {
    let count = phase.rounds.len();
    let warm_up = (count / WARM_UP).max(1);
    let mut memory_before = None;
    markers.write("rounds-begin")?;
    instance.switch_off()?;
    for (number, round) in (1..).zip(&phase.rounds) {
        let what = format!("round {number} of {count}");
        wait(what.clone())?;
        go_round(round).with_context(|| format!("{what}, with {}", round.parameters))?;
        if number == warm_up {
            wait("the memory in use after the warm-up".to_owned())?;
            // The first measurement leaves traces of its own, as the inodes of what it reads: it is warm-up, too.
            memory_in_use()?;
            memory_before = Some(memory_in_use()?);
        }
    }
    wait("the memory in use".to_owned())?;
    let memory_after = memory_in_use()?;
    instance.switch_on()?;
    markers.write(&format!("rounds-end {count}"))?;
    Ok(RoundsRecord {
        rounds: u32::try_from(count).context("there are too many rounds")?,
        warm_up: u32::try_from(warm_up).context("there are too many rounds")?,
        memory_before: memory_before.context("there are no rounds")?,
        memory_after,
    })
}

/// Loads the module, lets it work until every item has ended, and unloads it.
fn go_round(round: &Round) -> Result<()> {
    let loaded = load_module(MODULE_PATH, &round.parameters)?;
    ensure!(loaded == 0, "the load failed with errno {}", -loaded);
    if round.trigger {
        fs::write(format!("{CONTROL}/trigger"), "1").context("cannot trigger the module")?;
    }
    // Not by `done` alone: on a CPU that nothing wakes, a deferrable timer never expires.
    while !all_ended(&read("state")?) {
        thread::sleep(WAKE_UP);
    }
    let state = read("done")?;
    ensure!(
        all_ended(&state),
        "the module is done, but says {:?}",
        state.trim()
    );
    let unloaded = unload();
    ensure!(unloaded == 0, "the unload failed with errno {}", -unloaded);
    Ok(())
}

/// Reads one of the module's files.
fn read(name: &str) -> Result<String> {
    fs::read_to_string(format!("{CONTROL}/{name}"))
        .with_context(|| format!("cannot read the module's {name}"))
}

/// Whether each item has ended or was cancelled, by the line `items N armed N started N ended N cancelled N`.
fn all_ended(state: &str) -> bool {
    let count = |name: &str| {
        let mut words = state.split_whitespace().skip_while(|word| *word != name);
        words.nth(1)?.parse::<u32>().ok()
    };
    match (count("items"), count("ended"), count("cancelled")) {
        (Some(items), Some(ended), Some(cancelled)) => ended.checked_add(cancelled) == Some(items),
        _ => false,
    }
}

/// The bytes that the kernel has in use: objects in caches that cannot be reclaimed, and what is allocated by page for
/// vmalloc (stacks of tasks and modules among it) and for each CPU.
///
/// Not `Slab` of `/proc/meminfo`: it counts whole pages, and which pages objects lie on changes by 100 KiB with the
/// order of allocations, while the objects themselves stay the same to 500 bytes in 800 rounds. Objects that can be
/// reclaimed are those of the files that the agent itself looks at. A single allocation above 8 KiB by `kmalloc()` has
/// no cache, and is not counted: that is kmemleak's matter.
fn memory_in_use() -> Result<u64> {
    thread::sleep(SETTLE);
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let mut bytes = 0u64;
    for name in ["VmallocUsed", "Percpu"] {
        let used = kibibytes(&meminfo, name)
            .with_context(|| format!("/proc/meminfo does not say {name}"))?;
        bytes = bytes.saturating_add(used.saturating_mul(1024));
    }
    for entry in fs::read_dir(CACHES).with_context(|| format!("cannot list {CACHES}"))? {
        let entry = entry.with_context(|| format!("cannot list {CACHES}"))?;
        // A link is another name of a cache that is there as well.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            bytes = bytes.saturating_add(cache_in_use(&entry.path())?);
        }
    }
    Ok(bytes)
}

/// The bytes of a cache's objects; 0 if they can be reclaimed.
fn cache_in_use(cache: &Path) -> Result<u64> {
    let number = |name: &str| {
        let text = read_line(cache.join(name))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        let number: u64 = first
            .parse()
            .with_context(|| format!("{name} of {} is {text:?}", cache.display()))?;
        anyhow::Ok(number)
    };
    if number("reclaim_account")? == 1 {
        return Ok(0);
    }
    // Objects that are free, but kept at hand for a CPU, count as used until they are given back.
    fs::write(cache.join("shrink"), "1")
        .with_context(|| format!("cannot shrink {}", cache.display()))?;
    Ok(number("objects")?.saturating_mul(number("object_size")?))
}

/// The value of a line such as `Percpu:    196 kB`.
fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{all_ended, kibibytes};

    #[test]
    fn a_line_of_meminfo_is_found_by_its_whole_name() {
        let meminfo =
            "VmallocTotal:   34359738367 kB\nVmallocUsed:        2624 kB\nPercpu:  x kB\n";
        for (name, value) in [
            ("VmallocUsed", Some(2624)),
            ("Vmalloc", None),
            ("Percpu", None),
        ] {
            assert_eq!(kibibytes(meminfo, name), value, "{name}");
        }
    }

    #[test]
    fn a_round_is_over_when_ended_and_cancelled_are_all() {
        for (state, is_over) in [
            ("items 3 armed 3 started 2 ended 2 cancelled 1\n", true),
            ("items 3 armed 3 started 2 ended 2 cancelled 0\n", false),
            ("items 3 armed 3 started 3 ended 3\n", false),
            ("items x armed 3 started 3 ended 3 cancelled 0\n", false),
            ("", false),
        ] {
            assert_eq!(all_ended(state), is_over, "{state:?}");
        }
    }
}
