// SPDX-License-Identifier: GPL-2.0-only

//! The guest as a machine: its file systems, its plan, its clock, its power switch.

use std::fs;
use std::path::Path;

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
    Ok(Message::Hello {
        version: VERSION,
        kernel: name.release().to_string_lossy().into_owned(),
        kernel_version: name.version().to_string_lossy().into_owned(),
        cpus: count_cpus(&cpus)
            .with_context(|| format!("cannot read the list of CPUs {cpus:?}"))?,
        clocksource,
        high_resolution_timers: has_high_resolution_timers()?,
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

/// Whether every CPU's timers have a finer resolution than a tick.
fn has_high_resolution_timers() -> Result<bool> {
    let path = "/proc/timer_list";
    let list = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let mut states = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".hres_active"));
    Ok(list.contains(".hres_active")
        && states.all(|state| state.trim_start_matches([' ', ':']) == "1"))
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
pub(crate) fn power_off() {
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("deferinit-agent: cannot power off: {error}");
}

#[cfg(test)]
mod tests {
    use super::count_cpus;

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
}
