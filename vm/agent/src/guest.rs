// SPDX-License-Identifier: GPL-2.0-only

//! The guest as a machine: its file systems, its plan, its clock, its power switch.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use deferinit_protocol::{Capture, FW_CFG_PLAN, Message, Plan, VERSION};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// What is mounted where, in this order.
const FILE_SYSTEMS: [(&str, &str); 5] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// How long every CPU is idle before the machine is powered off.
const LAST_REST: Duration = Duration::from_millis(2);

/// Mounts what the agent reads and writes.
pub(crate) fn mount_file_systems() -> Result<()> {
    for (kind, target) in FILE_SYSTEMS {
        mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {kind} on {target}"))?;
    }
    Ok(())
}

/// Reads the plan that the harness put into fw_cfg.
pub(crate) fn read_plan() -> Result<Plan> {
    let path = format!("/sys/firmware/qemu_fw_cfg/by_name/{FW_CFG_PLAN}/raw");
    let bytes = fs::read(&path).with_context(|| format!("cannot read the plan from {path}"))?;
    let plan: Plan = serde_json::from_slice(&bytes).context("cannot parse the plan")?;
    if plan.version != VERSION {
        bail!(
            "the plan has version {}, this agent speaks {VERSION}",
            plan.version
        );
    }
    Ok(plan)
}

/// Who speaks, and on what clock.
pub(crate) fn hello(capture: Capture) -> Result<Message> {
    let name = nix::sys::utsname::uname().context("cannot ask for the kernel's name")?;
    let clocksource =
        read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    let cpus = read_line("/sys/devices/system/cpu/online")?;
    let path = "/proc/timer_list";
    let timers = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(Message::Hello {
        version: VERSION,
        kernel: name.release().to_string_lossy().into_owned(),
        kernel_version: name.version().to_string_lossy().into_owned(),
        cpus: count_cpus(&cpus)
            .with_context(|| format!("cannot read the list of CPUs {cpus:?}"))?,
        clocksource,
        high_resolution_timers: is_set_everywhere(&timers, ".hres_active"),
        idle_tick_stops: is_set_everywhere(&timers, ".nohz"),
        capture,
    })
}

/// Counts the CPUs of a list such as `0-3,5`.
fn count_cpus(list: &str) -> Option<u32> {
    let mut count = 0u32;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// Whether a flag of `/proc/timer_list` is there, and 1 on every CPU.
fn is_set_everywhere(timers: &str, flag: &str) -> bool {
    let values: Vec<&str> = timers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim() == flag)
        .map(|(_, value)| value.trim())
        .collect();
    !values.is_empty() && values.iter().all(|value| *value == "1")
}

/// Reads a one-line file.
pub(crate) fn read_line(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Powers the machine off. Returns only if the kernel refuses; returning from PID 1 then panics the
/// kernel, which the harness sees at once.
///
/// Every CPU is idle once before: it may have an interrupt of the result port left to handle. On the exact clock the CPUs of
/// QEMU take turns, and one that waits for the end of that without a pause (`__synchronize_irq()`, `kernel/irq/manage.c`,
/// Linux 7.3) may keep all turns to itself, for ever (`rr_cpu_thread_fn()`, `accel/tcg/tcg-accel-ops-rr.c`, QEMU 7.2).
pub(crate) fn power_off() {
    thread::sleep(LAST_REST);
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("deferinit-agent: cannot power off: {error}");
}

#[cfg(test)]
mod tests {
    use super::{count_cpus, is_set_everywhere};

    #[test]
    fn lists_of_cpus_are_counted() {
        for (list, count) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-1,3", Some(3)),
            ("", None),
            ("3-1", None),
            ("x", None),
        ] {
            assert_eq!(count_cpus(list), count, "{list:?}");
        }
    }

    #[test]
    fn a_flag_counts_only_if_every_cpu_has_it() {
        let cpu = |hres: u8| format!("cpu: 0\n  .hres_active    : {hres}\n  .nohz           : 1\n");
        let list = |cpus: [u8; 2]| cpus.map(cpu).concat();
        assert!(is_set_everywhere(&list([1, 1]), ".hres_active"));
        assert!(!is_set_everywhere(&list([1, 0]), ".hres_active"));
        assert!(is_set_everywhere(&list([0, 0]), ".nohz"));
        assert!(!is_set_everywhere(&list([1, 1]), ".nohz_mode"));
        assert!(!is_set_everywhere("", ".hres_active"));
    }
}
