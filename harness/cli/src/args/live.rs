// SPDX-License-Identifier: GPL-2.0-only

//! The arguments of `deferinit trace live` and `deferinit trace recv`, as they are typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use deferinit_scenario::{Bytes, Nanos};

use super::Format;
use super::record::Record;

#[derive(Debug, Args)]
pub(crate) struct Live {
    #[command(flatten)]
    pub(crate) record: Record,

    #[command(flatten)]
    pub(crate) shown: Shown,

    /// End when the guest has sent so much
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub(crate) max_size: Bytes,
}

/// How records are shown that come.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Shown {
    /// Print calls as a tree, as `deferinit trace replay` does
    #[arg(long, conflicts_with = "format")]
    pub(crate) replay: bool,

    /// How to print: as `deferinit trace events` does
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

pub(crate) const LIVE_ABOUT: &str = "Print a trace of a command in a guest while it is made";

pub(crate) const LIVE_LONG_ABOUT: &str = "\
Print a trace of a command in a guest while it is made

Takes the arguments of `deferinit trace record`, runs on the host's clock, and prints the records to standard output \
as they come, in their order over all CPUs. At the end it leaves what `record` leaves, with all that was streamed in \
trace/trace.dat.

The guest reads its buffers in rounds, 100 ms apart, and a record is printed one round after it came: only then can \
nothing older come from another CPU. So it is some 0.2 s behind, and a guest that is busy takes longer. The thread that \
reads is left out of the trace, but it takes time in the guest; so there is no --clock exact, and what is measured to \
the microsecond is better recorded. The names of tasks come with the records, once the kernel has saved them.

Ctrl-C ends the guest's command and the trace, as does a reader of standard output who closes it; what is still in the \
guest's buffers is sent first, so the folder is whole. Records that the guest could not keep, because it was faster than \
this program or its reader, are counted by the guest's kernel; a larger --buffer-size helps.";

pub(crate) const LIVE_AFTER_HELP: &str = "\
Examples:
  deferinit trace live -e sched:sched_switch -- 'sleep 1; ls'
  deferinit trace live -p function_graph -g ksys_write --replay -- 'echo hello > /dev/null'
  deferinit trace live -e irq --format json -- 'sleep 5' | jq .event

Exit codes, besides those of deferinit:
  0    the trace is whole, whatever the command's exit status, and also if it was stopped
  100  the guest's kernel panicked
  102  records were lost, or the guest did not come to an end; what there is, is in the folder";

/// Receive a trace that `deferinit-agent send` streams
#[derive(Debug, Args)]
#[command(long_about = RECV_LONG_ABOUT, after_help = RECV_AFTER_HELP)]
pub(crate) struct Recv {
    /// Where a sender connects: unix:PATH, or tcp:ADDRESS:PORT on the loopback interface (port 0: a free one)
    #[arg(long, value_name = "WHERE")]
    pub(crate) listen: Listen,

    /// Copy the trace to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Put the folder here, which must not exist or be empty [default: a new folder below deferinit-runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print the records as they come
    #[arg(long)]
    pub(crate) print: bool,

    #[command(flatten)]
    pub(crate) shown: Shown,

    /// How long to wait for a sender
    #[arg(long, value_name = "TIME", default_value = "600s")]
    pub(crate) wait: Nanos,

    /// How long the sender may be silent
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) idle: Nanos,

    /// How long the sender may take in all
    #[arg(long, value_name = "TIME", default_value = "3600s")]
    pub(crate) max_time: Nanos,

    /// How much the sender may send
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub(crate) max_size: Bytes,
}

/// Where a sender connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A socket at this path.
    Unix(PathBuf),
    /// A port of this machine.
    Tcp(SocketAddr),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => {
                let address: SocketAddr = address.parse().map_err(|_| {
                    format!("{address:?} is no address with a port, as 127.0.0.1:4000 or [::1]:0")
                })?;
                if !address.ip().is_loopback() {
                    return Err(format!(
                        "{} is no address of the loopback interface; the protocol has neither a password nor encryption, so forward a port through ssh instead",
                        address.ip()
                    ));
                }
                Ok(Self::Tcp(address))
            }
            Some(("vsock", _)) => Err(
                "vsock is unsupported; give the guest a virtio-serial port that is a socket of the host".to_owned(),
            ),
            _ => Err("allowed are unix:PATH and tcp:ADDRESS:PORT".to_owned()),
        }
    }
}

const RECV_LONG_ABOUT: &str = "\
Receive a trace that `deferinit-agent send` streams

Waits for one sender, writes what it sends into a folder with trace/trace.dat, and with --print prints the records as \
they come, in their order over all CPUs. The sender is the guest's agent, run by hand as root on any x86-64 machine with \
tracefs; it is a static program, target/x86_64-unknown-linux-gnu/agent/deferinit-agent. It records into an \
ftrace instance of its own, and removes it.

A guest without a network can use a virtio-serial port: QEMU connects it to the socket with `-chardev \
socket,id=trace,path=PATH -device virtio-serial -device virtserialport,chardev=trace,name=NAME`, and the sender writes \
with `--to port:NAME`.

What a sender says is not trusted: sizes, numbers and times are bounded, and no name of it becomes a path unchecked. Of a \
sender that is cut off, that sends garbage or too much, what came until then is kept, as a whole trace.dat. The frames are \
described in vm/protocol/src/lib.rs.";

const RECV_AFTER_HELP: &str = "\
Examples:
  deferinit trace recv --listen unix:/tmp/trace.sock --print
  deferinit trace recv --listen tcp:127.0.0.1:4000 -o trace.dat
  deferinit-agent send --to tcp:127.0.0.1:4000 -p function_graph -l 'vfs_*' -e sched -- ls -l

Exit codes, besides those of deferinit:
  0    the trace is whole
  1    the sender was cut off or sent what cannot be read; what came until then is in the folder
  2    the sender's kernel has refused what it was to trace
  102  records were lost, or there was no sender";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_at_are_of_this_machine() {
        let tcp = |text: &str| Ok(Listen::Tcp(text.parse().expect("an address")));
        for (text, listen) in [
            ("unix:/run/x", Ok(Listen::Unix("/run/x".into()))),
            ("tcp:127.0.0.1:4000", tcp("127.0.0.1:4000")),
            ("tcp:[::1]:0", tcp("[::1]:0")),
            ("tcp:0.0.0.0:1", Err("no address of the loopback")),
            ("tcp:127.0.0.1", Err("no address with a port")),
            ("vsock:3:1", Err("unsupported")),
            ("unix:", Err("allowed are")),
            ("/run/x", Err("allowed are")),
        ] {
            match (text.parse::<Listen>(), listen) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(part)) => assert!(found.contains(part), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
