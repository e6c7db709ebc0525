// SPDX-License-Identifier: GPL-2.0-only

//! QEMU's command line, by small pure functions.
//!
//! In: a machine, a clock, and where things are. Out: the arguments, in an order that never changes:
//! they are part of a result's identity. Paths are relative to the `vm` folder of the run, in which
//! QEMU is started; what lies elsewhere is a descriptor.

use deferinit_protocol::{FW_CFG_PLAN, INSTANCE, RESULT_PORT};
use deferinit_scenario::Clock;

use crate::accelerator::Accelerator;
use crate::machine::Machine;
use crate::memory::Region;
use crate::qemu::{Qemu, Version};

/// The first descriptor that we give QEMU. High, because low ones may be in use between fork and exec.
pub(crate) const FIRST_FD: i32 = 64;

/// The descriptor at which QEMU finds guest RAM.
pub(crate) const MEMORY_FD: i32 = FIRST_FD;

/// The descriptor at which QEMU finds its end of the monitor's socket.
pub(crate) const MONITOR_FD: i32 = FIRST_FD + 1;

/// The descriptor at which QEMU finds its end of the socket for results, where there is one.
pub(crate) const RESULTS_FD: i32 = FIRST_FD + 2;

/// The descriptor at which QEMU finds the kernel's image.
pub(crate) const KERNEL_FD: i32 = FIRST_FD + 3;

/// The descriptor at which QEMU finds the initramfs.
pub(crate) const INITRAMFS_FD: i32 = FIRST_FD + 4;

/// QEMU's own notes on the guest's CPUs, in the `vm` folder.
pub(crate) const CPU_LOG: &str = "cpu.log";

/// What makes a hang speak: an interrupt that cannot be masked is a panic, and a panic shows the stacks of every task
/// and CPU (`arch/x86/kernel/nmi.c`, `lib/sys_info.c`, Linux 7.3). A microvm has no port that says where the interrupt is
/// from, so the kernel takes it for a fault of the bus; what it does then can be set only when programs begin to run.
const SPEAK: [&str; 3] = [
    "unknown_nmi_panic",
    "sysctl.kernel.panic_on_unrecovered_nmi=1",
    "panic_sys_info=tasks,all_bt",
];

/// The console log, in the `vm` folder.
pub(crate) const CONSOLE_LOG: &str = "console.log";

/// The stream of frames, in the `vm` folder.
pub(crate) const RESULTS: &str = "results.bin";

/// The plan, in the `vm` folder.
pub(crate) const PLAN: &str = "plan.json";

/// The firmware that a host's speed is measured by, in the folder of that QEMU.
pub(crate) const LOOPS: &str = "loops.bin";

/// The port that it tells by how far it is (`isa-debugcon`).
pub(crate) const MARK_PORT: u8 = 0xe9;

/// The port that ends it (`isa-debug-exit`).
pub(crate) const EXIT_PORT: u8 = 0xf4;

/// What the arguments are made of.
pub(crate) struct Arguments<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) clock: Clock,
    pub(crate) qemu: &'a Qemu,
    pub(crate) cpus: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) trace: Option<Region>,
    pub(crate) extra_command_line: &'a [String],
    /// Events that are recorded from the boot on; if there are none, recording begins when the agent says so.
    pub(crate) boot_events: &'a [String],
    /// Where the guest's results go.
    pub(crate) results: ResultsTo,
    /// Where a debugger can talk to QEMU, if one is to.
    pub(crate) debugger: Option<&'a str>,
    /// Of the host, for the wall clock; `None` where it is not known.
    pub(crate) tsc_khz: Option<u64>,
}

/// Where the guest's results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultsTo {
    /// Into a file, which nobody reads before the end.
    File,
    /// Through a socket, to us.
    Socket,
}

/// All arguments, without the program's name.
pub(crate) fn arguments(of: &Arguments<'_>) -> Vec<String> {
    [
        base(),
        machine(of),
        clock(of),
        channels(of.machine, of.results),
        debugger(of),
        boot(of),
    ]
    .concat()
}

fn debugger(of: &Arguments<'_>) -> Vec<String> {
    let stub = |socket: &str| format!("unix:{socket},server=on,wait=off");
    of.debugger
        .map_or_else(Vec::new, |socket| vec!["-gdb".to_owned(), stub(socket)])
}

/// The same machine with its console on the terminal, and nobody who watches it.
pub(crate) fn arguments_of_shell(of: &Arguments<'_>) -> Vec<String> {
    let terminal = [
        "-chardev",
        // Ctrl-C is the guest's.
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
    ];
    [
        unwatched(),
        machine(of),
        clock(of),
        terminal.map(str::to_owned).to_vec(),
        boot(of),
    ]
    .concat()
}

/// Nothing that is not asked for; the guest does not run until the monitor says so. A panic is
/// reported, and the guest goes on to print why, until the reset that ends QEMU.
///
/// A guest that breaks out of QEMU finds no network, and cannot start a program or gain a right.
fn base() -> Vec<String> {
    let arguments = [
        "-nodefaults",
        "-no-user-config",
        "-nic",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-display",
        "none",
        "-no-reboot",
        "-action",
        "panic=none",
        // A triple fault is a reset like any other, but for this note.
        "-d",
        "cpu_reset",
        "-D",
        CPU_LOG,
        "-S",
    ];
    arguments.map(str::to_owned).to_vec()
}

/// The same for a guest that runs at once.
fn unwatched() -> Vec<String> {
    let mut base = base();
    base.retain(|argument| argument != "-S");
    base
}

/// The machine with loops for its firmware, and nothing else (`accelerator.rs`).
pub(crate) fn arguments_of_loops(machine: &Machine, accelerator: &[&str]) -> Vec<String> {
    let arguments = [
        "-machine",
        &machine.machine,
        "-bios",
        LOOPS,
        "-m",
        "16M",
        "-cpu",
        &machine.cpu,
        "-chardev",
        &format!("socket,id=marks,fd={RESULTS_FD}"),
        "-device",
        &format!("isa-debugcon,iobase={MARK_PORT:#x},chardev=marks"),
        "-device",
        &format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"),
    ];
    let arguments = arguments.iter().chain(accelerator);
    let arguments = arguments.map(|argument| (*argument).to_owned()).collect();
    [unwatched(), arguments].concat()
}

fn machine(of: &Arguments<'_>) -> Vec<String> {
    let memory = format!("{}M", of.memory_bytes >> 20);
    let mut arguments = vec![
        "-machine".to_owned(),
        format!("{},memory-backend=ram", of.machine.machine),
        "-bios".to_owned(),
        of.machine.firmware.clone(),
        "-object".to_owned(),
        format!(
            "memory-backend-file,id=ram,mem-path={},size={memory},share=on",
            descriptor(MEMORY_FD)
        ),
        "-m".to_owned(),
        memory,
        "-cpu".to_owned(),
        of.machine.cpu.clone(),
        "-smp".to_owned(),
        of.cpus.to_string(),
    ];
    for global in &of.machine.globals {
        arguments.extend(["-global".to_owned(), global.clone()]);
    }
    for device in &of.machine.devices {
        arguments.extend(["-device".to_owned(), device.clone()]);
    }
    arguments
}

/// What makes time pass.
fn clock(of: &Arguments<'_>) -> Vec<String> {
    match of.clock {
        // Each of these is needed: without the fixed RTC, with sleep=on, or with more than one TCG
        // thread, two runs differ.
        Clock::Exact => {
            let exact = &of.machine.exact;
            vec![
                "-accel".to_owned(),
                "tcg,thread=single".to_owned(),
                "-icount".to_owned(),
                format!("shift={},sleep=off", exact.shift),
                "-rtc".to_owned(),
                format!("clock=vm,base={}", exact.rtc_base),
                "-seed".to_owned(),
                exact.seed.to_string(),
            ]
        }
        Clock::Wall => vec![
            "-accel".to_owned(),
            match of.qemu.accelerator {
                Accelerator::Kvm => "kvm".to_owned(),
                Accelerator::Tcg => format!("tcg,thread={}", wall_threads(of)),
            },
        ],
    }
}

/// QEMU before 8.1 loses code that the guest patches while another CPU runs it: arming
/// function_graph crashes the guest.
fn wall_threads(of: &Arguments<'_>) -> &'static str {
    let patches_safely = of.qemu.version
        >= Version {
            major: 8,
            minor: 1,
            micro: 0,
        };
    if of.cpus == 1 || patches_safely {
        "multi"
    } else {
        "single"
    }
}

fn channels(machine: &Machine, results: ResultsTo) -> Vec<String> {
    vec![
        "-chardev".to_owned(),
        format!("file,id=console,path={CONSOLE_LOG}"),
        "-serial".to_owned(),
        "chardev:console".to_owned(),
        "-chardev".to_owned(),
        format!("socket,id=monitor,fd={MONITOR_FD}"),
        "-mon".to_owned(),
        "chardev=monitor,mode=control".to_owned(),
        "-device".to_owned(),
        machine.serial_bus.clone(),
        "-chardev".to_owned(),
        match results {
            ResultsTo::File => format!("file,id=results,path={RESULTS}"),
            ResultsTo::Socket => format!("socket,id=results,fd={RESULTS_FD}"),
        },
        "-device".to_owned(),
        format!("virtserialport,chardev=results,name={RESULT_PORT},nr=1"),
        "-fw_cfg".to_owned(),
        format!("name={FW_CFG_PLAN},file={PLAN}"),
    ]
}

fn boot(of: &Arguments<'_>) -> Vec<String> {
    vec![
        "-kernel".to_owned(),
        descriptor(KERNEL_FD),
        "-initrd".to_owned(),
        descriptor(INITRAMFS_FD),
        "-append".to_owned(),
        command_line(of),
    ]
}

/// A file of ours, as QEMU can open it.
fn descriptor(number: i32) -> String {
    format!("/proc/self/fd/{number}")
}

/// The kernel's parameters.
fn command_line(of: &Arguments<'_>) -> String {
    let mut parameters = of.machine.command_line.clone();
    match of.clock {
        Clock::Exact => parameters.extend_from_slice(&of.machine.exact.command_line),
        Clock::Wall => {
            parameters.extend_from_slice(&of.machine.wall.command_line);
            parameters.extend(of.tsc_khz.map(|khz| format!("tsc_early_khz={khz}")));
        }
    }
    if let Some(Region { address, bytes }) = of.trace {
        parameters.push(format!("memmap={bytes}${address:#x}"));
        parameters.push(if of.boot_events.is_empty() {
            format!("trace_instance={INSTANCE}^traceoff@{address:#x}:{bytes}")
        } else {
            let events = of.boot_events.join(",");
            format!("trace_instance={INSTANCE}@{address:#x}:{bytes},{events}")
        });
    }
    parameters.extend(SPEAK.map(str::to_owned));
    parameters.extend_from_slice(of.extra_command_line);
    parameters.join(" ")
}

/// A command line as a shell reads it, one argument with its value a line.
pub(crate) fn shell_text(program: &str, arguments: &[String]) -> String {
    let mut text = shell_word(program);
    for argument in arguments {
        text.push_str(if argument.starts_with('-') {
            " \\\n  "
        } else {
            " "
        });
        text.push_str(&shell_word(argument));
    }
    text.push('\n');
    text
}

/// A word as a shell reads it.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU_7_2: Version = Version {
        major: 7,
        minor: 2,
        micro: 22,
    };
    const QEMU_10: Version = Version {
        major: 10,
        minor: 0,
        micro: 2,
    };

    fn text(clock: Clock, version: Version, cpus: u32) -> String {
        text_with(clock, version, cpus, Accelerator::Tcg)
    }

    fn text_with(clock: Clock, version: Version, cpus: u32, accelerator: Accelerator) -> String {
        let machine =
            Machine::parse(include_str!("../../machines/x86_64.toml")).expect("a machine");
        let arguments = arguments(&Arguments {
            machine: &machine,
            clock,
            qemu: &Qemu {
                program: machine.qemu.clone(),
                version,
                accelerator,
            },
            cpus,
            memory_bytes: 256 << 20,
            trace: Some(Region {
                address: 0xc00_0000,
                bytes: 0x400_0000,
            }),
            extra_command_line: &["kmemleak=on".to_owned()],
            boot_events: &[],
            results: ResultsTo::File,
            debugger: None,
            tsc_khz: Some(2_596_150),
        });
        shell_text(&machine.qemu, &arguments)
    }

    #[test]
    fn the_exact_clock_pins_everything_that_makes_runs_differ() {
        let text = text(Clock::Exact, QEMU_7_2, 2);
        for needed in [
            "-accel tcg,thread=single",
            "-icount shift=4,sleep=off",
            "-rtc clock=vm,base=2026-01-01T00:00:00",
            "-seed 1",
            "-global virtio-mmio.ioeventfd=off",
            "tsc_early_khz=1000000",
            "nokaslr",
        ] {
            assert!(text.contains(needed), "{needed} is not in:\n{text}");
        }
    }

    #[test]
    fn the_wall_clock_has_no_instruction_counter_and_the_hosts_tsc() {
        let text = text(Clock::Wall, QEMU_10, 2);
        assert!(text.contains("-accel tcg,thread=multi"), "{text}");
        assert!(!text.contains("icount"), "{text}");
        assert!(text.contains("tsc_early_khz=2596150"), "{text}");
    }

    #[test]
    fn kvm_is_for_the_wall_clock() {
        let text = text_with(Clock::Wall, QEMU_7_2, 2, Accelerator::Kvm);
        assert!(text.contains("-accel kvm"), "{text}");
        assert!(!text.contains("tcg"), "{text}");
        let text = text_with(Clock::Exact, QEMU_7_2, 2, Accelerator::Kvm);
        assert!(text.contains("-accel tcg,thread=single"), "{text}");
    }

    #[test]
    fn an_old_qemu_gets_one_thread_for_several_cpus() {
        assert!(text(Clock::Wall, QEMU_7_2, 2).contains("thread=single"));
        assert!(text(Clock::Wall, QEMU_7_2, 1).contains("thread=multi"));
    }

    #[test]
    fn a_guest_has_no_network_and_its_qemu_a_sandbox() {
        for clock in [Clock::Exact, Clock::Wall] {
            let text = text(clock, QEMU_7_2, 1);
            assert!(text.contains("-nic none"), "{text}");
            assert!(text.contains("-sandbox on,"), "{text}");
        }
    }

    #[test]
    fn the_trace_buffer_is_reserved_and_given_to_the_instance() {
        let text = text(Clock::Exact, QEMU_7_2, 1);
        assert!(text.contains("memmap=67108864$0xc000000"), "{text}");
        assert!(
            text.contains("trace_instance=deferinit^traceoff@0xc000000:67108864"),
            "{text}"
        );
        assert!(text.contains("kmemleak=on'"), "{text}");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shell_word("tcg,thread=single"), "tcg,thread=single");
        assert_eq!(shell_word("a b$c'd"), r"'a b$c'\''d'");
        assert_eq!(shell_word(""), "''");
    }
}
