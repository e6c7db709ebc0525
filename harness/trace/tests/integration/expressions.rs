// SPDX-License-Identifier: GPL-2.0-only

//! Filters over real records.

use deferinit_ftrace::record::Event;
use deferinit_trace::expression::{DEEPEST, Error, Filter, HasSymbols, MOST_TERMS, Problem};
use deferinit_trace::fields::{Fields, Value, event_name};

use crate::captures::{self, Raw, Trace};

fn filter(trace: &Trace, text: &str) -> Result<Filter, Error> {
    Filter::new(text, &trace.formats, &trace.fields, HasSymbols::Yes)
}

/// Records that pass an expression, and those that `wanted` takes: they must be the same, and there must be some of each.
#[track_caller]
fn check(
    raw: Raw,
    text: &str,
    wanted: impl Fn(&Fields, &deferinit_ftrace::record::Record<'_>) -> bool,
) {
    let trace = Trace::of(raw);
    let filter = filter(&trace, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut names = trace.names();
    let (mut passed, mut others) = (0, 0);
    trace.each(|record| {
        let passes = filter.matches(record, &trace.fields, &mut names);
        assert_eq!(
            passes,
            wanted(&trace.fields, record),
            "{text} on {record:?}"
        );
        *(if passes { &mut passed } else { &mut others }) += 1;
    });
    assert!(
        passed > 0 && others > 0,
        "{text}: {passed} passed, {others} did not"
    );
}

fn number(
    fields: &Fields,
    record: &deferinit_ftrace::record::Record<'_>,
    name: &str,
) -> Option<i128> {
    fields.value(record, name)?.number()
}

fn text(
    fields: &Fields,
    record: &deferinit_ftrace::record::Record<'_>,
    name: &str,
) -> Option<String> {
    match fields.value(record, name)? {
        Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

#[test]
fn numbers_compare() {
    let events = captures::EVENTS;
    check(events, "next_pid == 10", |fields, record| {
        number(fields, record, "next_pid") == Some(10)
    });
    check(events, "next_pid==0xa", |fields, record| {
        number(fields, record, "next_pid") == Some(10)
    });
    check(events, "next_pid == 012", |fields, record| {
        number(fields, record, "next_pid") == Some(10)
    });
    check(events, "dfd == -100", |fields, record| {
        number(fields, record, "dfd") == Some(-100)
    });
    check(events, "next_pid < 14", |fields, record| {
        number(fields, record, "next_pid").is_some_and(|pid| pid < 14)
    });
    check(
        events,
        "next_pid >= 10 && next_pid <= 14",
        |fields, record| {
            number(fields, record, "next_pid").is_some_and(|pid| (10..=14).contains(&pid))
        },
    );
    check(events, "prev_state & 3", |fields, record| {
        number(fields, record, "prev_state").is_some_and(|state| state & 3 != 0)
    });
    check(events, "lat > 9223372036854775807", |fields, record| {
        number(fields, record, "lat").is_some_and(|lat| lat > i128::from(i64::MAX))
    });
}

#[test]
fn texts_compare() {
    let events = captures::EVENTS;
    for spelled in ["\"busybox\"", "'busybox'", "busybox"] {
        check(
            events,
            &format!("next_comm == {spelled}"),
            |fields, record| text(fields, record, "next_comm").as_deref() == Some("busybox"),
        );
    }
    check(events, "next_comm ~ \"k*[0-9]:?\"", |fields, record| {
        text(fields, record, "next_comm").is_some_and(|comm| comm.starts_with("kworker/"))
    });
    check(events, "file ~ '*marker*'", |fields, record| {
        text(fields, record, "file").is_some_and(|file| file.contains("marker"))
    });
}

#[test]
fn a_field_that_an_event_lacks_compares_false_and_its_negation_true() {
    let events = captures::EVENTS;
    check(events, "next_pid != 10", |fields, record| {
        number(fields, record, "next_pid").is_some_and(|pid| pid != 10)
    });
    check(events, "!(next_pid == 10)", |fields, record| {
        number(fields, record, "next_pid") != Some(10)
    });
}

#[test]
fn and_binds_tighter_than_or() {
    let events = captures::EVENTS;
    check(
        events,
        "CPU == 0 || CPU == 1 && event == sched_switch",
        |_, record| record.cpu == 0 || event_name(record).1 == "sched_switch",
    );
    check(
        events,
        "(CPU == 0 || CPU == 1) && event == sched_switch",
        |_, record| event_name(record).1 == "sched_switch",
    );
    check(events, "!CPU == 0 && !(!(system ~ s*))", |_, record| {
        record.cpu != 0 && event_name(record).0.starts_with('s')
    });
}

#[test]
fn an_events_own_field_goes_before_the_records() {
    check(captures::EVENTS, "pid == 10", |fields, record| {
        number(fields, record, "pid").unwrap_or(i128::from(record.pid)) == 10
    });
    check(captures::EVENTS, "cpu == 1", |fields, record| {
        number(fields, record, "cpu").unwrap_or(i128::from(record.cpu)) == 1
    });
    check(captures::EVENTS, "common_pid == 10", |_, record| {
        record.pid == 10
    });
    check(captures::EVENTS, "COMM == '<idle>'", |_, record| {
        record.pid == 0
    });
    check(captures::EVENTS, "common_flags & 1", |_, record| {
        record.flags & 1 != 0
    });
    check(captures::EVENTS, "ts < 8116000000", |_, record| {
        record.timestamp_ns < 8_116_000_000
    });
}

#[test]
fn cpus_are_sets() {
    check(
        captures::EVENTS,
        "target_cpu & CPUS{1}",
        |fields, record| number(fields, record, "target_cpu") == Some(1),
    );
    check(captures::EVENTS, "CPU & CPUS{1-5,7}", |_, record| {
        record.cpu == 1
    });
    check(captures::EVENTS, "CPU == CPUS{0}", |_, record| {
        record.cpu == 0
    });
}

#[test]
fn functions_compare_by_name() {
    let events = captures::EVENTS;
    let trace = Trace::of(events);
    let resolved = |value: Option<i128>| {
        let address = u64::try_from(value?).ok()?;
        Some(trace.symbols.resolve(address)?.name.to_owned())
    };
    check(
        events,
        "function.function == tick_nohz_handler",
        |fields, record| {
            resolved(number(fields, record, "function")).as_deref() == Some("tick_nohz_handler")
        },
    );
    check(
        events,
        "__probe_ret_ip.function ~ '*openat'",
        |fields, record| {
            resolved(number(fields, record, "__probe_ret_ip"))
                .is_some_and(|name| name.ends_with("openat"))
        },
    );
}

#[test]
fn calls_have_fields_of_their_own() {
    let graph = captures::FUNCTION_GRAPH;
    check(
        graph,
        "func == vfs_open && duration_ns > 1000",
        |fields, record| {
            let duration = match record.event {
                Event::FuncgraphExit {
                    calltime, rettime, ..
                } => rettime - calltime,
                _ => return false,
            };
            let function = number(fields, record, "func").expect("a call has a function");
            let trace_symbols = captures::KALLSYMS;
            let open = trace_symbols
                .lines()
                .find(|line| line.ends_with(" vfs_open"))
                .and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok())
                .expect("the table has it");
            duration > 1000 && function == i128::from(open) + 4
        },
    );
    check(graph, "depth == 2", |_, record| match record.event {
        Event::FuncgraphEntry { depth, .. } | Event::FuncgraphExit { depth, .. } => depth == 2,
        _ => false,
    });
    check(
        graph,
        "retval > 0xffff888000000000",
        |_, record| match record.event {
            Event::FuncgraphExit {
                retval: Some(retval @ ..=-4096),
                ..
            } => retval.cast_unsigned() > 0xffff_8880_0000_0000,
            _ => false,
        },
    );
    let trace = Trace::of(captures::FUNCTION);
    check(
        captures::FUNCTION,
        "ip.function ~ 'vfs_*'",
        |_, record| match record.event {
            Event::Function { ip, .. } => trace
                .symbols
                .resolve(ip)
                .is_some_and(|found| found.name.starts_with("vfs_")),
            _ => false,
        },
    );
}

#[track_caller]
fn wrong(text: &str, expected: &str) {
    let trace = Trace::of(captures::EVENTS);
    match filter(&trace, text) {
        Ok(_) => panic!("{text} is a filter"),
        Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
    }
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    wrong("", "column 1: expected a field, `(` or `!`, found the end");
    wrong(
        "pid",
        "column 4: expected an operator (==, !=, <, <=, >, >=, &, ~), found the end",
    );
    wrong(
        "pid ==",
        "column 7: expected a number, a text or CPUS{..}, found the end",
    );
    wrong(
        "pid == 1 pid == 2",
        "column 10: expected `&&`, `||` or the end, found \"pid\"",
    );
    wrong(
        "(pid == 1",
        "column 10: expected `&&`, `||` or `)`, found the end",
    );
    wrong(
        "pid == 1)",
        "column 9: expected `&&`, `||` or the end, found `)`",
    );
    wrong(
        "pid = 1",
        "column 5: expected a field, a value, `(`, `!`, `&&`, `||` or an operator (==, !=, <, <=, >, >=, &, ~), found '='",
    );
    wrong(
        "comm == \"x",
        "column 9: the text that starts here has no closing \"",
    );
    wrong("pid == 12x", "column 8: \"12x\" is no number of 64 bits");
    wrong(
        "pid == 18446744073709551616",
        "column 8: \"18446744073709551616\" is no number of 64 bits",
    );
    wrong(
        "cpu & CPUS{3-1}",
        "column 7: \"3-1\" is no list of CPUs: expected one like CPUS{0-3,5}",
    );
    wrong(
        "cpu & CPUS{1",
        "column 7: \"CPUS{1\" is no list of CPUs: expected one like CPUS{0-3,5}",
    );
    wrong(
        "file.ustring == x",
        "column 1: unsupported: \".ustring\" behind a field; allowed is \".function\"",
    );
}

#[test]
fn a_field_that_no_event_has_is_an_error_with_the_nearest() {
    wrong(
        "cpu == 1 && nxt_pid == 2",
        "column 13: no event of the trace has a field \"nxt_pid\"; the nearest is \"next_pid\"",
    );
    wrong(
        "zzzzzz == 2",
        "column 1: no event of the trace has a field \"zzzzzz\"",
    );
}

#[test]
fn a_comparison_that_is_true_of_no_event_is_an_error() {
    let numbers = "holds numbers: expected ==, !=, <, <=, >, >= or & and a number, or &, == or != and CPUS{..}";
    wrong(
        "next_pid == bash",
        &format!("column 13: field \"next_pid\" {numbers}"),
    );
    wrong(
        "next_pid ~ 1",
        &format!("column 12: field \"next_pid\" {numbers}"),
    );
    wrong(
        "next_comm < x",
        "column 13: field \"next_comm\" holds texts: expected ==, != or ~ and a text",
    );
    wrong(
        "next_comm == 1",
        "column 14: field \"next_comm\" holds texts: expected ==, != or ~ and a text",
    );
    wrong(
        "cpumask == 1",
        "column 12: field \"cpumask\" holds CPUs: expected &, == or != and CPUS{..}",
    );
    wrong(
        "how == 1",
        "column 8: field \"how\" holds an array: expected a field of one value: an array cannot be compared",
    );
    wrong(
        "next_pid.function == 1",
        "column 22: field \"next_pid\" holds no function: expected `==`, `!=` or `~` and a function's name",
    );
}

#[test]
fn functions_cannot_be_named_without_symbols() {
    let trace = Trace::of(captures::FUNCTION_GRAPH);
    let error = Filter::new(
        "func == vfs_open",
        &trace.formats,
        &trace.fields,
        HasSymbols::No,
    )
    .expect_err("nothing resolves it");
    assert_eq!(error.problem, Problem::NoSymbols);
    assert!(Filter::new("func == 1", &trace.formats, &trace.fields, HasSymbols::No).is_ok());
}

#[test]
fn hostile_depth_and_length_are_refused() {
    let trace = Trace::of(captures::EVENTS);
    let nested = |depth: usize| format!("{}cpu == 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(filter(&trace, &nested(DEEPEST)).is_ok());
    let problem = |text: &str| {
        filter(&trace, text)
            .map(|_| ())
            .expect_err("it is refused")
            .problem
    };
    assert_eq!(problem(&nested(DEEPEST + 1)), Problem::TooDeep);
    assert_eq!(
        problem(&format!("{}cpu == 1", "!".repeat(3000))),
        Problem::TooDeep
    );
    assert_eq!(problem(&"(".repeat(1_000_000)), Problem::TooLong);
    let many = |count: usize| vec!["cpu == 1"; count].join(" || ");
    assert!(filter(&trace, &many(MOST_TERMS)).is_ok());
    assert_eq!(problem(&many(MOST_TERMS + 1)), Problem::TooLong);
}
