// SPDX-License-Identifier: GPL-2.0-only

//! The kernel's own small languages, as far as a mistake in them can be seen without a kernel: event filters,
//! triggers of events and functions, probes, synthetic events.
//!
//! In: one text. Out: what it makes, or what is wrong with it and what is allowed there.
//! Does not know which events, fields and functions a kernel has.
//! Source: `kernel/trace/trace_events_filter.c`, `trace_events_trigger.c`, `ftrace.c`, `trace_probe.c`,
//! `trace_events_synth.c`, Linux 7.3.

/// What is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) allowed: &'static str,
}

type Result<T> = std::result::Result<T, Wrong>;

/// What a comparison looks like.
const COMPARISON: &str = "FIELD == VALUE, with ==, !=, <, <=, >, >=, & or ~";

/// What an expression is made of.
const EXPRESSION: &str = "comparisons such as `prev_prio < 100`, joined by &&, ||, ! and ( )";

const EVENT_TRIGGERS: &str = "traceon, traceoff, snapshot, stacktrace, each with or without `:COUNT`, hist:keys=.., \
                              enable_event:SYSTEM:EVENT, disable_event:SYSTEM:EVENT, all with or without ` if FILTER`";

const FUNCTION_TRIGGERS: &str = "FUNCTION:COMMAND or FUNCTION:COMMAND:COUNT, with traceon, traceoff, snapshot, \
                                 stacktrace, enable_event:SYSTEM:EVENT or disable_event:SYSTEM:EVENT as command";

const PROBES: &str = "p:NAME PLACE, r:NAME FUNCTION, f:NAME FUNCTION, f:NAME FUNCTION%return, t:NAME TRACEPOINT, \
                      e:NAME SYSTEM.EVENT, each with or without arguments";

const SYNTHETIC: &str =
    "NAME TYPE FIELD; TYPE FIELD; .., such as `wakeup_latency u64 lat; pid_t pid`";

/// How deep parentheses may be nested.
const DEEPEST: usize = 16;

/// The longest name of an event: `MAX_EVENT_NAME_LEN`, `kernel/trace/trace_probe.h`, is 64 with its end.
const LONGEST_NAME: usize = 63;

fn wrong<T>(message: impl Into<String>, allowed: &'static str) -> Result<T> {
    Err(Wrong {
        message: message.into(),
        allowed,
    })
}

/// Checks an event filter.
pub(crate) fn filter(text: &str) -> Result<()> {
    let mut scanner = Scanner { rest: text };
    scanner.any_of(0)?;
    match scanner.skip_blanks() {
        "" => Ok(()),
        rest => wrong(
            format!(
                "the expression goes on where it could end: `{}`",
                start(rest)
            ),
            EXPRESSION,
        ),
    }
}

/// The first characters of what cannot be read.
fn start(rest: &str) -> String {
    rest.chars().take(24).collect()
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip_blanks(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n']);
        self.rest
    }

    fn take(&mut self, token: &str) -> bool {
        match self.skip_blanks().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|character| !belongs(character))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn any_of(&mut self, depth: usize) -> Result<()> {
        self.all_of(depth)?;
        while self.take("||") {
            self.all_of(depth)?;
        }
        Ok(())
    }

    fn all_of(&mut self, depth: usize) -> Result<()> {
        self.one(depth)?;
        while self.take("&&") {
            self.one(depth)?;
        }
        Ok(())
    }

    fn one(&mut self, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return wrong("the expression is nested too deeply", EXPRESSION);
        }
        if self.skip_blanks().starts_with('!') && !self.rest.starts_with("!=") {
            self.take("!");
            return self.one(depth + 1);
        }
        if self.take("(") {
            self.any_of(depth + 1)?;
            if self.take(")") {
                return Ok(());
            }
            let rest = start(self.rest);
            return wrong(format!("a `)` is missing before `{rest}`"), EXPRESSION);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<()> {
        let at = self.skip_blanks();
        // `CPUS{1-3}` compares with several CPUs, `call_site.function` by the function's name.
        let field = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        if field.is_empty() || field.starts_with(|c: char| c.is_ascii_digit()) {
            let found = if at.is_empty() { "its end" } else { &start(at) };
            return wrong(
                format!("the name of a field is missing at `{found}`"),
                COMPARISON,
            );
        }
        self.skip_blanks();
        let operators = ["==", "!=", "<=", ">=", "<", ">", "~", "&"];
        let is_and = self.rest.starts_with("&&");
        let Some(_) = operators
            .into_iter()
            .find(|operator| !is_and && self.take(operator))
        else {
            return wrong(format!("`{field}` is compared with nothing"), COMPARISON);
        };
        self.value(field)
    }

    fn value(&mut self, field: &str) -> Result<()> {
        self.skip_blanks();
        for quote in ['"', '\''] {
            let Some(rest) = self.rest.strip_prefix(quote) else {
                continue;
            };
            let Some((_, after)) = rest.split_once(quote) else {
                return wrong(
                    format!("the text that `{field}` is compared with has no end"),
                    COMPARISON,
                );
            };
            self.rest = after;
            return Ok(());
        }
        let is_cpus = self.rest.starts_with("CPUS{");
        let value = if is_cpus {
            let Some((list, after)) = self.rest.split_once('}') else {
                return wrong("`CPUS{` has no end", COMPARISON);
            };
            self.rest = after;
            list
        } else {
            self.take_while(|c| c.is_ascii_alphanumeric() || "_-+.:*?/[]".contains(c))
        };
        if value.is_empty() {
            return wrong(format!("`{field}` is compared with nothing"), COMPARISON);
        }
        Ok(())
    }
}

/// Checks a trigger of an event.
pub(crate) fn event_trigger(text: &str) -> Result<()> {
    let (command, condition) = match text.split_once(" if ") {
        Some((command, condition)) => (command.trim_end(), Some(condition)),
        None => (text, None),
    };
    let (name, argument) = match command.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (command, None),
    };
    match (name, argument) {
        ("traceon" | "traceoff" | "snapshot" | "stacktrace", argument) => {
            counted(name, argument, EVENT_TRIGGERS)?;
        }
        ("enable_event" | "disable_event", Some(argument)) => {
            other_event(name, argument, EVENT_TRIGGERS)?
        }
        ("hist", Some(argument)) => {
            let has_keys = argument
                .split(':')
                .any(|part| matches!(part.split_once('='), Some(("keys" | "key", keys)) if !keys.is_empty()));
            if !has_keys {
                return wrong(
                    "a histogram needs keys",
                    "hist:keys=FIELD, hist:keys=FIELD:vals=FIELD:sort=FIELD",
                );
            }
        }
        (name, _) => {
            return wrong(
                format!("`{name}` is no trigger of an event"),
                EVENT_TRIGGERS,
            );
        }
    }
    condition.map_or(Ok(()), filter)
}

/// The event that a trigger's histogram belongs to has one, if this is true.
pub(crate) fn is_histogram(trigger: &str) -> bool {
    trigger.starts_with("hist:")
}

/// Checks a command for `set_ftrace_filter`.
pub(crate) fn function_trigger(text: &str) -> Result<()> {
    let Some((function, command)) = text.split_once(':') else {
        return wrong(
            format!("`{text}` is no command on a function"),
            FUNCTION_TRIGGERS,
        );
    };
    let is_function = !function.is_empty() && function.bytes().all(is_glob_byte);
    if !is_function {
        return wrong(format!("`{function}` is no function"), FUNCTION_TRIGGERS);
    }
    let (name, argument) = match command.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (command, None),
    };
    match (name, argument) {
        ("traceon" | "traceoff" | "snapshot" | "stacktrace", argument) => {
            counted(name, argument, FUNCTION_TRIGGERS)
        }
        ("enable_event" | "disable_event", Some(argument)) => {
            other_event(name, argument, FUNCTION_TRIGGERS)
        }
        (name, _) => wrong(
            format!("`{name}` is no command on a function"),
            FUNCTION_TRIGGERS,
        ),
    }
}

/// What a glob of functions is made of.
pub(crate) fn is_glob_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.$*?[]-".contains(&byte)
}

/// How often a trigger fires, if that is given.
fn counted(name: &str, argument: Option<&str>, allowed: &'static str) -> Result<()> {
    match argument {
        None | Some("unlimited") => Ok(()),
        Some(count) if matches!(count.parse::<u32>(), Ok(1..)) && !count.starts_with('+') => Ok(()),
        Some(count) => wrong(
            format!("`{count}` is not how often `{name}` may happen"),
            allowed,
        ),
    }
}

/// `SYSTEM:EVENT`, with or without a count.
fn other_event(name: &str, argument: &str, allowed: &'static str) -> Result<()> {
    let mut parts = argument.split(':');
    let has_event = parts.next().is_some_and(is_name) && parts.next().is_some_and(is_name);
    if !has_event {
        return wrong(format!("`{name}` needs an event"), allowed);
    }
    let count = parts.next();
    match parts.next() {
        Some(_) => wrong(format!("`{name}:{argument}` has too many parts"), allowed),
        None => counted(name, count, allowed),
    }
}

/// Whether this can be the name of an event or of a system.
fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && !text.starts_with(|character: char| character.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Checks a probe. Returns the event it makes, as `system:event`.
pub(crate) fn probe(text: &str) -> Result<String> {
    let mut words = text.split_ascii_whitespace();
    let head = words.next().unwrap_or_default();
    let Some((kind, name)) = head.split_once(':') else {
        return wrong(format!("the probe `{head}` has no name"), PROBES);
    };
    // `r3:NAME` has a limit of its own on how many calls are open at a time.
    let has_limit = kind
        .strip_prefix('r')
        .is_some_and(|limit| limit.parse::<u32>().is_ok());
    let system = match kind {
        "p" | "r" => "kprobes",
        _ if has_limit => "kprobes",
        "f" => "fprobes",
        "t" => "tracepoints",
        "e" => "eprobes",
        _ => return wrong(format!("`{kind}` is no kind of probe"), PROBES),
    };
    let (system, event) = name.split_once('/').unwrap_or((system, name));
    if !is_name(system) || !is_name(event) {
        return wrong(format!("`{name}` is no name of an event"), PROBES);
    }
    let Some(place) = words.next() else {
        return wrong(format!("the probe `{event}` has no place"), PROBES);
    };
    if kind == "e" {
        let target = place.split_once('.').or_else(|| place.split_once('/'));
        if !target.is_some_and(|(system, event)| is_name(system) && is_name(event)) {
            return wrong(format!("`{place}` is no event"), PROBES);
        }
    }
    Ok(format!("{system}:{event}"))
}

/// Checks the definition of a synthetic event. Returns the event it makes.
pub(crate) fn synthetic(text: &str) -> Result<String> {
    let (name, fields) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let name = name.trim_end_matches(';');
    if !is_name(name) {
        return wrong(format!("`{name}` is no name of an event"), SYNTHETIC);
    }
    let mut fields = fields
        .split(';')
        .map(str::trim)
        .filter(|field| !field.is_empty())
        .peekable();
    if fields.peek().is_none() {
        return wrong(format!("the event `{name}` has no fields"), SYNTHETIC);
    }
    for field in fields {
        let words: Vec<&str> = field.split_ascii_whitespace().collect();
        let field_name = words
            .last()
            .map(|word| word.split('[').next().unwrap_or(word));
        let is_field = words.len() >= 2 && field_name.is_some_and(is_name);
        if !is_field {
            return wrong(format!("`{field}` is no field"), SYNTHETIC);
        }
    }
    Ok(format!("synthetic:{name}"))
}

/// Whether this is one event, `system:event` without wildcards.
pub(crate) fn is_one_event(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=64).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    text.split_once(':')
        .is_some_and(|(system, event)| is_part(system) && is_part(event))
}

#[cfg(test)]
mod tests {
    use super::{event_trigger, filter, function_trigger, probe, synthetic};

    #[test]
    fn filters_of_the_kernels_documentation_are_read() {
        for text in [
            "common_preempt_count > 4",
            "((sig >= 10 && sig < 15) || sig == 17) && comm != bash",
            "prev_comm ~ \"*sh*\"",
            "prev_comm ~ 'sh' && !(next_pid == 0)",
            "call_site.function == security_prepare_creds",
            "filename.ustring ~ \"password\"",
            "target_cpu & CPUS{17-42}",
            "ret == -22 || flags & 0x10",
        ] {
            assert_eq!(filter(text), Ok(()), "{text}");
        }
    }

    #[track_caller]
    fn refuses<T: std::fmt::Debug>(answer: Result<T, super::Wrong>, expected: &str) {
        assert_eq!(answer.expect_err("a mistake").message, expected);
    }

    #[test]
    fn filters_that_cannot_be_read_say_where() {
        refuses(filter(""), "the name of a field is missing at `its end`");
        refuses(filter("pid"), "`pid` is compared with nothing");
        refuses(filter("pid && cpu"), "`pid` is compared with nothing");
        refuses(filter("pid == "), "`pid` is compared with nothing");
        refuses(filter("pid = 3"), "`pid` is compared with nothing");
        refuses(filter("(pid == 3"), "a `)` is missing before ``");
        refuses(
            filter("pid == 3 cpu == 1"),
            "the expression goes on where it could end: `cpu == 1`",
        );
        refuses(
            filter("comm == \"sh"),
            "the text that `comm` is compared with has no end",
        );
        refuses(
            filter("3 == pid"),
            "the name of a field is missing at `3 == pid`",
        );
        refuses(
            filter(&"(".repeat(100_000)),
            "the expression is nested too deeply",
        );
        refuses(
            filter(&"!".repeat(100_000)),
            "the expression is nested too deeply",
        );
    }

    #[test]
    fn triggers_are_those_of_the_kernel() {
        for text in [
            "traceoff",
            "stacktrace:5",
            "snapshot:1 if nr_rq > 1",
            "hist:keys=call_site.sym:vals=bytes_req:sort=bytes_req.descending if bytes_req > 8",
            "enable_event:kmem:kmalloc:1",
        ] {
            assert_eq!(event_trigger(text), Ok(()), "{text}");
        }
        refuses(event_trigger("stop"), "`stop` is no trigger of an event");
        refuses(
            event_trigger("traceoff:0"),
            "`0` is not how often `traceoff` may happen",
        );
        refuses(event_trigger("hist:vals=x"), "a histogram needs keys");
        refuses(
            event_trigger("traceoff if pid"),
            "`pid` is compared with nothing",
        );
        refuses(
            event_trigger("enable_event:kmem"),
            "`enable_event` needs an event",
        );
        for text in [
            "vfs_read:traceoff:1",
            "bad_*:stacktrace",
            "do_x:enable_event:sched:sched_switch:2",
        ] {
            assert_eq!(function_trigger(text), Ok(()), "{text}");
        }
        refuses(
            function_trigger("vfs_read"),
            "`vfs_read` is no command on a function",
        );
        refuses(
            function_trigger("vfs_read:mod"),
            "`mod` is no command on a function",
        );
        refuses(function_trigger("a b:traceoff"), "`a b` is no function");
        refuses(
            function_trigger("f:traceoff:x"),
            "`x` is not how often `traceoff` may happen",
        );
    }

    #[test]
    fn probes_have_the_event_that_they_make() {
        for (text, event) in [
            ("p:enqueue enqueue_task_fair", "kprobes:enqueue"),
            ("r8:mine/back vfs_read $retval", "mine:back"),
            ("f:done vfs_read%return ret=$retval", "fprobes:done"),
            ("t:waking sched_waking comm=p->comm", "tracepoints:waking"),
            ("e:close syscalls.sys_enter_close fd=$fd", "eprobes:close"),
        ] {
            assert_eq!(probe(text).as_deref(), Ok(event), "{text}");
        }
        refuses(probe("p enqueue"), "the probe `p` has no name");
        refuses(probe("u:x /bin/sh:0x10"), "`u` is no kind of probe");
        refuses(probe("p:x"), "the probe `x` has no place");
        refuses(probe("p:1x y"), "`1x` is no name of an event");
        refuses(probe("e:x y"), "`y` is no event");
        refuses(probe(""), "the probe `` has no name");
        assert_eq!(
            synthetic("wakeup_latency u64 lat; pid_t pid; char comm[16]").as_deref(),
            Ok("synthetic:wakeup_latency")
        );
        refuses(synthetic("lat"), "the event `lat` has no fields");
        refuses(synthetic("lat u64"), "`u64` is no field");
        refuses(synthetic("a/b u64 c"), "`a/b` is no name of an event");
    }
}
