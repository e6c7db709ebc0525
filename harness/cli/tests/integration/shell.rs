// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit shell` on a pseudo terminal.

use crate::harness::{code, output, text};
use crate::tui::OnTerminal;

/// Types a line and waits for a part of what comes.
fn type_line(shell: &mut OnTerminal, line: &str, part: &str) {
    shell.press(&format!("clear; {line}\n"));
    shell.wait(line, |screen| {
        let text = screen.contents();
        // The line itself is on the screen before what it prints.
        text.lines()
            .any(|found| found.contains(part) && !found.contains("clear;"))
    });
}

#[test]
fn a_shell_has_the_workload_and_ftrace_and_ctrl_d_powers_off() {
    let mut shell = OnTerminal::start(&["shell"], 100, 30);
    shell.wait("the boot", |screen| screen.contents().contains("guest:"));
    assert!(
        shell.text().contains("Ctrl-D powers it off"),
        "{}",
        shell.text()
    );
    type_line(&mut shell, "stty size", "30 100");
    type_line(
        &mut shell,
        "grep -c function_graph /sys/kernel/tracing/available_tracers",
        "1",
    );
    type_line(
        &mut shell,
        "insmod /test_deferred_events.ko && echo loaded one",
        "loaded one",
    );
    type_line(
        &mut shell,
        "insmod /test_deferred.ko items=2 && echo loaded both",
        "loaded both",
    );
    type_line(&mut shell, "ls /sys/kernel/debug/test_deferred", "results");
    // Ctrl-C is the guest's: it ends what runs there, and nothing else.
    type_line(&mut shell, "echo begun; sleep 1000; echo ended", "begun");
    shell.press("\x03");
    type_line(&mut shell, "echo still here", "still here");
    shell.press("\x04");
    assert_eq!(shell.end_without_screen(), 0);
}

#[test]
fn a_shell_without_a_terminal_is_refused() {
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_deferinit"))
        .arg("shell")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program starts");
    assert_eq!(code(&refused), 2);
    assert!(
        text(&refused).contains("needs a terminal"),
        "{}",
        text(&refused)
    );
    assert_eq!(code(&output(&["shell", "--memory", "lots"])), 2);
}
