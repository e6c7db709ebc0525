// SPDX-License-Identifier: GPL-2.0-only

//! Why the kernel does not do what the plan asks for, and which of its options would make it.
//!
//! In: the name of a tracer or file that is missing, or of a module that is refused. Out: the last message of a run that
//! cannot be.
//! Source: `kernel/trace/Kconfig`, `kernel/module/main.c` and the files named below, Linux 7.3.

use std::fmt;
use std::path::Path;

use deferinit_protocol::{Message, Scope};
use nix::errno::Errno;

/// An error that is no fault of the agent's.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The kernel was built without it.
    Unsupported {
        what: String,
        option: Option<&'static str>,
    },
    /// The kernel has it and says no.
    Refused(String),
    /// A pattern matches none of the functions that can be traced.
    NoFunction { file: String, pattern: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { what, option: None } => f.write_str(what),
            Self::Unsupported {
                what,
                option: Some(option),
            } => write!(f, "{what}: the kernel was built without {option}"),
            Self::Refused(message) => f.write_str(message),
            Self::NoFunction { file, pattern } => {
                write!(f, "{pattern:?} matches no function (in {file})")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The last frame of a run that could not go on.
pub(crate) fn last_message(error: &anyhow::Error) -> Message {
    match error.downcast_ref() {
        Some(Refusal::Unsupported { what, option }) => Message::Unsupported {
            what: what.clone(),
            option: option.map(str::to_owned),
        },
        Some(Refusal::Refused(message)) => Message::Refused {
            message: message.clone(),
        },
        Some(Refusal::NoFunction { file, pattern }) => Message::NoFunction {
            file: file.clone(),
            pattern: pattern.clone(),
        },
        None => Message::Failed {
            message: format!("{error:#}"),
        },
    }
}

/// A module that the kernel does not load: what its error means, and what the kernel log says of it.
pub(crate) fn of_module(path: &str, errno: i32, log: &[String]) -> Refusal {
    let errno = Errno::from_raw(errno);
    let meaning = match errno {
        Errno::ENOENT => "it uses a symbol that neither the kernel nor a module before it exports",
        Errno::ENOEXEC => {
            "it is no module, or was built for another kernel (its vermagic or its layout)"
        }
        Errno::EINVAL => "a parameter is not valid, or it uses a symbol that it may not",
        Errno::EKEYREJECTED => {
            "this kernel takes signed modules only, and the signature is not valid"
        }
        Errno::ENOKEY => "this kernel takes signed modules only, and has no key for the signature",
        Errno::EBADMSG => "its signature cannot be read",
        Errno::EEXIST => "a module of this name is there already",
        Errno::ENOMEM => "there is not enough memory",
        Errno::EPERM => "this kernel loads no modules any more, or is locked down",
        _ => "its own init has failed, or a notifier of the kernel",
    };
    let file = Path::new(path).file_stem().unwrap_or_default();
    // In a message of the kernel's, a name has no hyphens.
    let name = file.to_string_lossy().replace('-', "_");
    let about = |line: &&String| line.replace('-', "_").contains(&name);
    let said = log.iter().filter(about).map(|line| format!("; {line}"));
    let said: String = said.take(3).collect();
    Refusal::Refused(format!(
        "the module {path} is not loaded ({errno:?}): {meaning}{said}"
    ))
}

/// A tracer that is not among those `available`.
pub(crate) fn no_tracer(tracer: &str, available: &str) -> Refusal {
    let option = match tracer {
        "function" => "CONFIG_FUNCTION_TRACER",
        "function_graph" => "CONFIG_FUNCTION_GRAPH_TRACER",
        "wakeup" | "wakeup_rt" | "wakeup_dl" => "CONFIG_SCHED_TRACER",
        "irqsoff" => "CONFIG_IRQSOFF_TRACER",
        "preemptoff" => "CONFIG_PREEMPT_TRACER",
        "preemptirqsoff" => "CONFIG_IRQSOFF_TRACER and CONFIG_PREEMPT_TRACER",
        "blk" => "CONFIG_BLK_DEV_IO_TRACE",
        "mmiotrace" => "CONFIG_MMIOTRACE",
        "hwlat" => "CONFIG_HWLAT_TRACER",
        "osnoise" => "CONFIG_OSNOISE_TRACER",
        "timerlat" => "CONFIG_TIMERLAT_TRACER",
        _ => {
            let mut names: Vec<&str> = available.split_whitespace().collect();
            names.sort_unstable();
            return Refusal::Refused(format!(
                "there is no tracer {tracer:?}; this kernel has {}",
                names.join(", ")
            ));
        }
    };
    Refusal::Unsupported {
        what: format!("the tracer {tracer}"),
        option: Some(option),
    }
}

/// The option of the kernel that makes a file, of those that are not always there.
pub(crate) fn option_of(scope: Scope, file: &str) -> Option<&'static str> {
    match (scope, file.rsplit('/').next().unwrap_or(file)) {
        (Scope::Top, "kprobe_events" | "kprobe_profile") => Some("CONFIG_KPROBE_EVENTS"),
        (Scope::Top, "uprobe_events" | "uprobe_profile") => Some("CONFIG_UPROBE_EVENTS"),
        (Scope::Top, "synthetic_events") => Some("CONFIG_SYNTH_EVENTS"),
        (Scope::Top, "dynamic_events") => Some("CONFIG_DYNAMIC_EVENTS"),
        (Scope::Top, "function_profile_enabled") => Some("CONFIG_FUNCTION_PROFILER"),
        (Scope::Top, "stack_trace" | "stack_max_size" | "stack_trace_filter")
        | (Scope::Sysctl, "stack_tracer_enabled") => Some("CONFIG_STACK_TRACER"),
        (Scope::Top, "set_graph_function" | "set_graph_notrace" | "max_graph_depth") => {
            Some("CONFIG_FUNCTION_GRAPH_TRACER")
        }
        (_, "set_ftrace_filter" | "set_ftrace_notrace") => Some("CONFIG_DYNAMIC_FTRACE"),
        (_, "snapshot") => Some("CONFIG_TRACER_SNAPSHOT"),
        (_, "hist") => Some("CONFIG_HIST_TRIGGERS"),
        (Scope::Sysfs, "enable") if file.contains("/trace/") => Some("CONFIG_BLK_DEV_IO_TRACE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracer_that_is_known_lacks_an_option_and_any_other_is_a_mistake() {
        let blk = no_tracer("blk", "nop").to_string();
        assert_eq!(
            blk,
            "the tracer blk: the kernel was built without CONFIG_BLK_DEV_IO_TRACE"
        );
        let mistake = no_tracer("functions", "nop function\n").to_string();
        assert_eq!(
            mistake,
            "there is no tracer \"functions\"; this kernel has function, nop"
        );
    }

    #[test]
    fn a_module_that_is_refused_comes_with_its_meaning_and_the_kernels_words() {
        let log = [
            "x: loading".to_owned(),
            "my_mod: Unknown symbol gone (err -2)".to_owned(),
        ];
        assert_eq!(
            of_module("/modules/my-mod.ko", 2, &log).to_string(),
            "the module /modules/my-mod.ko is not loaded (ENOENT): it uses a symbol that neither the kernel nor a \
             module before it exports; my_mod: Unknown symbol gone (err -2)"
        );
        let words = |errno| of_module("a.ko", errno, &log).to_string();
        for (errno, part) in [
            (8, "another kernel (its vermagic"),
            (22, "a parameter is not valid"),
            (129, "the signature is not valid"),
            (126, "no key for the signature"),
            (5, "its own init"),
        ] {
            assert!(words(errno).contains(part), "{}", words(errno));
        }
    }

    #[test]
    fn an_error_becomes_the_message_of_its_kind_through_any_context() {
        let error = anyhow::Error::new(no_tracer("blk", "nop")).context("cannot arm");
        assert!(matches!(
            last_message(&error),
            Message::Unsupported { option: Some(option), .. } if option == "CONFIG_BLK_DEV_IO_TRACE"
        ));
        let error = anyhow::anyhow!("a fault").context("cannot arm");
        assert_eq!(
            last_message(&error),
            Message::Failed {
                message: "cannot arm: a fault".to_owned()
            }
        );
    }
}
