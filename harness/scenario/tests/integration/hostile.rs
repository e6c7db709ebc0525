// SPDX-License-Identifier: GPL-2.0-only

//! Inputs made to break the parser: it must answer, quickly, with a place in the file.

#![expect(
    clippy::disallowed_types,
    reason = "the crate reads no clock; this test measures how long it takes"
)]

use std::time::{Duration, Instant};

use deferinit_scenario::{MAX_BYTES, parse};

use crate::repository;

/// Far above what an unoptimised parser on a busy machine needs (0.5 s), far below what a bomb would take.
const QUICK: Duration = Duration::from_secs(10);

fn repeat_up_to_limit(start: &str, repeated: &str, end: &str) -> String {
    let room = MAX_BYTES - start.len() - end.len();
    format!("{start}{}{end}", repeated.repeat(room / repeated.len()))
}

fn alias_bomb() -> String {
    let mut text = String::from("a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (before, name) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        let aliases = vec![format!("*{before}"); 9].join(", ");
        text.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    text
}

#[test]
fn hostile_files_are_refused_quickly() {
    let cases = [
        ("alias bomb", alias_bomb()),
        (
            "alias bomb under a known key",
            format!(
                "summary: x\nexpect:\n{}",
                alias_bomb().replace("a: ", "- count: ")
            ),
        ),
        ("open brackets", repeat_up_to_limit("expect: ", "[", "")),
        ("open braces", repeat_up_to_limit("machine: ", "{a: ", "")),
        ("list dashes", repeat_up_to_limit("expect: ", "- ", "")),
        ("deep blocks", {
            (0..1_400)
                .map(|depth| format!("{:depth$}a:\n", ""))
                .collect::<String>()
        }),
        ("many keys", repeat_up_to_limit("", "summary: x\n", "")),
        (
            "many entries",
            repeat_up_to_limit("expect:\n", "- count:\n", ""),
        ),
        (
            "many small scalars",
            repeat_up_to_limit("machine: { command-line: [", "a,", "] }"),
        ),
        ("many comments", repeat_up_to_limit("", "#\n", "x: y")),
        ("many blank lines", repeat_up_to_limit("", "\n", "x: y")),
        (
            "many documents",
            repeat_up_to_limit("summary: x\n", "---\n", ""),
        ),
        ("one long scalar", repeat_up_to_limit("summary: ", "x", "")),
        ("one long key", repeat_up_to_limit("", "x", ": y")),
        (
            "one long quoted scalar",
            repeat_up_to_limit("summary: \"", "\\u00e9", "\""),
        ),
        (
            "one unclosed quote",
            repeat_up_to_limit("summary: \"", "x ", ""),
        ),
        ("many question marks", repeat_up_to_limit("", "? ", "")),
        (
            "many anchors",
            repeat_up_to_limit("expect: [", "&a 1,", "]"),
        ),
        ("many tags", repeat_up_to_limit("expect: [", "!a 1,", "]")),
        (
            "many nested quotes",
            repeat_up_to_limit("summary: ", "'", ""),
        ),
        (
            "many items",
            repeat_up_to_limit("workload: { plan: [", "{ },", "] }"),
        ),
        (
            "many actions",
            repeat_up_to_limit("workload: { body: [", "wait,", "] }"),
        ),
        (
            "nested actions",
            repeat_up_to_limit("workload: { body: ", "[{ modify: ", ""),
        ),
        ("tabs", repeat_up_to_limit("", "\t", "")),
        (
            "carriage returns",
            repeat_up_to_limit("summary: x", "\r", "y"),
        ),
    ];
    for (what, text) in cases {
        let begin = Instant::now();
        let error = parse("x", text.as_bytes()).expect_err(what);
        assert!(begin.elapsed() < QUICK, "{what} took {:?}", begin.elapsed());
        assert!(error.to_string().len() < 2_000, "{what} has a long message");
        assert!(
            error.place().line >= 1 && error.place().column >= 1,
            "{what}: {error}"
        );
    }
}

/// A file with as many items as a plan may have, each with what `keys` gives for its id.
fn largest_plan(until: &str, keys: impl Fn(usize) -> String) -> String {
    let items: String = (0..4096)
        .map(|id| {
            format!(
                "  - {{ name: an-item-with-a-long-name-{id:04}, {} }}\n",
                keys(id)
            )
        })
        .collect();
    let expect = "expect: [{ log: { contains: x, equals: 0 } }]";
    format!("summary: x\nuntil: {until}\nworkload:\n  plan:\n{items}{expect}\n")
}

#[test]
fn largest_plans_are_judged_quickly() {
    let name = |id: usize| format!("an-item-with-a-long-name-{:04}", id % 4096);
    let cases = [
        (
            "one chain",
            largest_plan("done", |id| match id {
                0 => "mode: direct".to_owned(),
                _ => format!("mode: direct, after: [{}]", name(id - 1)),
            }),
            None,
        ),
        (
            "one circle",
            largest_plan("done", |id| {
                format!("mode: direct, after: [{}]", name(id + 1))
            }),
            Some("an item comes after itself"),
        ),
        (
            "one circle of suppliers",
            largest_plan("done", |id| {
                format!("mode: probe, suppliers: [{}]", name(id + 1))
            }),
            Some("items wait for each other"),
        ),
        (
            "one item that all others come after, or complete",
            largest_plan("done", |id| match id {
                0 => "mode: work, body: [wait, wait, wait]".to_owned(),
                1..2048 => format!("mode: work, body: [{{ complete: {} }}]", name(0)),
                _ => format!("mode: work, after: [{}]", name(0)),
            }),
            None,
        ),
        (
            "a row of items of which each completes the next",
            largest_plan("done", |id| match id {
                0 => format!("mode: work, body: {{ complete: {} }}", name(1)),
                _ => format!("mode: work, body: [wait, {{ complete: {} }}]", name(id + 1)),
            }),
            None,
        ),
        (
            "names that are unknown",
            largest_plan("{ hold: 1ms }", |_| {
                "mode: work, after: [nobody]".to_owned()
            }),
            Some("unknown item `nobody`"),
        ),
    ];
    for (what, text, expected) in cases {
        let begin = Instant::now();
        let answer = parse("x", text.as_bytes());
        if let Ok(scenario) = &answer {
            let parameters = scenario.phases[0].workload.module_parameters();
            assert!(parameters.iter().any(|(name, _)| *name == "plan"), "{what}");
        }
        assert!(begin.elapsed() < QUICK, "{what} took {:?}", begin.elapsed());
        let message = answer.err().map(|error| error.to_string());
        assert_eq!(message.is_some(), expected.is_some(), "{what}: {message:?}");
        if let (Some(message), Some(expected)) = (message, expected) {
            assert!(message.contains(expected), "{what}: {message}");
            assert!(message.len() < 2_000, "{what} has a long message");
        }
    }
}

/// A small generator with a fixed seed, so that a failure can be had again (xorshift64, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let end = u64::try_from(end.max(1)).expect("64 bits at most");
        usize::try_from(self.0 % end).expect("below a usize")
    }
}

/// Pieces that mean something to YAML or to a scenario.
const PIECES: [&str; 24] = [
    ":",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!int ",
    "|\n",
    ">\n",
    "\"",
    "'",
    "#",
    "\n",
    "\t",
    "---\n",
    "? ",
    "~",
    "<<: ",
    "99999999999999999999s",
    "-1ms",
    "\u{0}",
    "é",
];

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            2 => {
                let end = (at + random.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + random.below(60)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).expect("below 256");
                }
            }
        }
    }
}

#[test]
fn mutated_files_never_panic_and_errors_point_into_the_file() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let files = repository::files();
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..300 {
        for (name, bytes) in &files {
            let mut bytes = bytes.clone();
            mutate(&mut random, &mut bytes);
            match parse(name, &bytes) {
                Ok(_) => accepted += 1,
                Err(error) => {
                    let lines = String::from_utf8_lossy(&bytes).lines().count() as u64;
                    assert!(error.place().line <= lines + 1, "{error}");
                    assert!(error.place().column >= 1, "{error}");
                    refused += 1;
                }
            }
        }
    }
    // Mutations hit comments too, so some files stay good; a loop that only ever saw one outcome would prove little.
    assert!(
        refused > 100 && accepted > 100,
        "{refused} refused, {accepted} accepted"
    );
}
