// SPDX-License-Identifier: GPL-2.0-only

//! Parses the markers that the agent writes to `trace_marker`.
//!
//! In: the text of one `print` record. Out: the markers in it.
//! Does not: check their order.
//! Source: the agent's protocol, `deferinit: VERB [ARGUMENT]`, one on each line.

use deferinit_ftrace::record::{Event, Record};

use crate::{CommandHow, FinishCause};

/// How each marker begins; other writers' lines do not.
const PREFIX: &str = "deferinit: ";

/// One line of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker<'a> {
    PhaseBegin(&'a str),
    Load,
    Loaded(i64),
    Trigger,
    Finish(FinishCause),
    Results,
    Unload,
    Unloaded(i64),
    RoundsBegin,
    RoundsEnd(u32),
    CommandBegin(&'a str),
    CommandEnd(&'a str, CommandHow),
    PhaseEnd(&'a str),
    /// Ours by its prefix, but none of the above.
    Unknown(&'a str),
}

/// Whether a record is the agent's own.
pub(crate) fn is_marker(record: &Record<'_>) -> bool {
    match record.event {
        Event::Print { text, .. } => text.starts_with(PREFIX),
        _ => false,
    }
}

/// The markers in a record's text; lines of other writers are left out.
pub(crate) fn markers(text: &str) -> impl Iterator<Item = Marker<'_>> {
    text.lines()
        .filter_map(|line| line.strip_prefix(PREFIX))
        .map(parse)
}

fn parse(line: &str) -> Marker<'_> {
    let line = line.trim_end_matches(['\0', ' ']);
    let (verb, argument) = match line.split_once(' ') {
        Some((verb, argument)) => (verb, Some(argument)),
        None => (line, None),
    };
    let status = argument.and_then(|argument| argument.parse::<i64>().ok());
    match (verb, argument, status) {
        ("phase-begin", Some(name), _) => Marker::PhaseBegin(name),
        ("phase-end", Some(name), _) => Marker::PhaseEnd(name),
        ("command-begin", Some(name), _) => Marker::CommandBegin(name),
        ("command-end", Some(argument), _) => {
            command_end(argument).unwrap_or(Marker::Unknown(line))
        }
        ("loaded", _, Some(status)) => Marker::Loaded(status),
        ("unloaded", _, Some(status)) => Marker::Unloaded(status),
        ("rounds-begin", None, _) => Marker::RoundsBegin,
        ("rounds-end", _, Some(count)) => {
            u32::try_from(count).map_or(Marker::Unknown(line), Marker::RoundsEnd)
        }
        ("load", None, _) => Marker::Load,
        ("results", None, _) => Marker::Results,
        ("unload", None, _) => Marker::Unload,
        ("trigger", None, _) => Marker::Trigger,
        ("done", None, _) => Marker::Finish(FinishCause::Done),
        ("held", None, _) => Marker::Finish(FinishCause::Held),
        ("deadline", None, _) => Marker::Finish(FinishCause::Deadline),
        _ => Marker::Unknown(line),
    }
}

/// `NAME exited STATUS` or `NAME signalled NUMBER`.
fn command_end(argument: &str) -> Option<Marker<'_>> {
    let mut words = argument.split(' ');
    let (name, verb) = (words.next()?, words.next()?);
    let number = words.next()?.parse().ok()?;
    let how = match verb {
        "exited" => CommandHow::Exited(number),
        "signalled" => CommandHow::Signalled(number),
        _ => return None,
    };
    words
        .next()
        .is_none()
        .then_some(Marker::CommandEnd(name, how))
}

impl Marker<'_> {
    /// The line as the agent wrote it, without its prefix.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::PhaseBegin(name) => format!("phase-begin {name}"),
            Self::Load => "load".to_owned(),
            Self::Loaded(status) => format!("loaded {status}"),
            Self::Trigger => "trigger".to_owned(),
            Self::Finish(cause) => cause.word().to_owned(),
            Self::Results => "results".to_owned(),
            Self::Unload => "unload".to_owned(),
            Self::Unloaded(status) => format!("unloaded {status}"),
            Self::RoundsBegin => "rounds-begin".to_owned(),
            Self::RoundsEnd(count) => format!("rounds-end {count}"),
            Self::PhaseEnd(name) => format!("phase-end {name}"),
            Self::CommandBegin(name) => format!("command-begin {name}"),
            Self::CommandEnd(name, how) => format!("command-end {name} {how}"),
            Self::Unknown(line) => (*line).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Marker, markers};
    use crate::{CommandHow, FinishCause};

    #[test]
    fn every_marker_is_read_and_written_alike() {
        let cases = [
            ("phase-begin main", Marker::PhaseBegin("main")),
            ("load", Marker::Load),
            ("loaded -22", Marker::Loaded(-22)),
            ("trigger", Marker::Trigger),
            ("done", Marker::Finish(FinishCause::Done)),
            ("held", Marker::Finish(FinishCause::Held)),
            ("deadline", Marker::Finish(FinishCause::Deadline)),
            ("results", Marker::Results),
            ("unload", Marker::Unload),
            ("unloaded 0", Marker::Unloaded(0)),
            ("rounds-begin", Marker::RoundsBegin),
            ("rounds-end 1000", Marker::RoundsEnd(1000)),
            ("phase-end main", Marker::PhaseEnd("main")),
            ("command-begin main", Marker::CommandBegin("main")),
            (
                "command-end main exited 3",
                Marker::CommandEnd("main", CommandHow::Exited(3)),
            ),
            (
                "command-end main signalled 9",
                Marker::CommandEnd("main", CommandHow::Signalled(9)),
            ),
        ];
        for (line, marker) in cases {
            let text = format!("deferinit: {line}\n");
            assert_eq!(markers(&text).collect::<Vec<_>>(), [marker]);
            assert_eq!(marker.line(), line);
        }
    }

    #[test]
    fn malformed_marker_is_unknown_and_foreign_text_is_none() {
        for line in [
            "loaded",
            "loaded x",
            "rounds-end",
            "rounds-end -1",
            "load now",
            "results main",
            "phase-begin",
            "command-end main",
            "command-end main exited x",
            "command-end main exited 1 2",
            "command-end main left 1",
            "",
            "explode",
        ] {
            let text = format!("deferinit: {line}");
            assert_eq!(
                markers(&text).collect::<Vec<_>>(),
                [Marker::Unknown(line)],
                "{line}"
            );
        }
        assert_eq!(markers("hello\n deferinit: load").count(), 0);
    }
}
