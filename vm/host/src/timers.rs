// SPDX-License-Identifier: GPL-2.0-only

//! Whether a guest's timers can carry a verdict on times.
//!
//! In: what the agent said of them, and the clocksources that the machine's times may rest on. Out: why not, in words.
//! Source: `kernel/time/timer_list.c`, `kernel/time/tick-sched.c`, Linux 7.3; with HZ=250 and without high-resolution
//! timers a sleep of 1 ms takes 4 ms.

use deferinit_scenario::Clock;

use crate::machine::Machine;
use crate::results::Received;

/// Why the guest's timers cannot carry a verdict on times; `None` if they can, or if the guest ended before its agent
/// could say what they are, which is a verdict of its own.
#[must_use]
pub fn timers_unfit(received: &Received, machine: &Machine, clock: Clock) -> Option<String> {
    let timers = received.timers.as_ref()?;
    let clocksources = match clock {
        Clock::Exact => &machine.exact.clocksources,
        Clock::Wall => &machine.wall.clocksources,
    };
    let is_known = clocksources.contains(&timers.clocksource);
    let mut faults = Vec::new();
    if !timers.high_resolution {
        faults.push(
            "high-resolution timers are not active, so that each delay takes whole ticks"
                .to_owned(),
        );
    }
    if !timers.idle_tick_stops {
        faults.push("the tick of an idle CPU does not stop".to_owned());
    }
    if !is_known {
        faults.push(format!(
            "the clocksource is {}, where {} is needed",
            timers.clocksource,
            clocksources.join(" or ")
        ));
    }
    if faults.is_empty() {
        return None;
    }
    if is_known {
        faults.push(format!("the clocksource is {}", timers.clocksource));
    }
    Some(format!(
        "the guest's timers carry no verdict on times: {}; on the kernel's command line, highres=, nohz=, clocksource= and tsc= do this",
        faults.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Timers;

    fn unfit(clocksource: &str, high_resolution: bool, idle_tick_stops: bool) -> Option<String> {
        let machine = Machine::parse(include_str!("../../machines/x86_64.toml"));
        let received = Received {
            timers: Some(Timers {
                clocksource: clocksource.to_owned(),
                high_resolution,
                idle_tick_stops,
            }),
            ..Received::default()
        };
        timers_unfit(&received, &machine.expect("a machine"), Clock::Exact)
    }

    #[test]
    fn each_fault_is_said_and_the_clocksource_always() {
        assert_eq!(unfit("tsc", true, true), None);
        for (why, found) in [
            (
                "high-resolution timers are not active",
                unfit("tsc", false, true),
            ),
            (
                "the tick of an idle CPU does not stop",
                unfit("tsc", true, false),
            ),
            (
                "the clocksource is jiffies, where tsc or tsc-early is needed",
                unfit("jiffies", true, true),
            ),
        ] {
            let found = found.expect("a fault");
            assert!(found.contains(why), "{found}");
            assert_eq!(found.matches("the clocksource is").count(), 1, "{found}");
        }
    }

    #[test]
    fn a_guest_that_did_not_say_is_judged_by_its_ending() {
        let machine = Machine::parse(include_str!("../../machines/x86_64.toml"));
        let machine = machine.expect("a machine");
        assert_eq!(
            timers_unfit(&Received::default(), &machine, Clock::Exact),
            None
        );
    }
}
