// SPDX-License-Identifier: GPL-2.0-only

//! Keys and screens, without a terminal, on a small trace made by hand.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use deferinit_ftrace::record::{Event, Record};
use deferinit_ftrace::saved_cmdlines::SavedCmdlines;
use deferinit_ftrace::symbols::Symbols;
use deferinit_report::Colour;
use deferinit_trace::names::Names;
use deferinit_trace::task::Task;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::lanes::{Grid, Plan, Scan};
use super::load::{LaneKey, Loading};
use super::state::{State, draw_loading};
use super::style::Palette;

/// Functions, 256 bytes each. The last name comes from a guest that means harm.
const FUNCTIONS: [&str; 7] = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "sleep",
    "early",
    "x\u{1b}[2J",
];
const ALPHA: usize = 0;
const BETA: usize = 1;
const GAMMA: usize = 2;
const DELTA: usize = 3;
const SLEEP: usize = 4;
const EARLY: usize = 5;
const HOSTILE: usize = 6;

/// A trace in memory.
struct Made {
    records: Vec<Record<'static>>,
    symbols: Symbols,
    tasks: SavedCmdlines,
}

fn address(function: usize) -> u64 {
    0xffff_ffff_8100_0000 + 256 * function as u64
}

fn enter(at: u64, (cpu, pid): (u32, i32), function: usize, depth: u64) -> Record<'static> {
    let function = address(function);
    record(at, (cpu, pid), Event::FuncgraphEntry { function, depth })
}

fn leave(
    (from, to): (u64, u64),
    (cpu, pid): (u32, i32),
    function: usize,
    depth: u64,
) -> Record<'static> {
    let event = Event::FuncgraphExit {
        function: address(function),
        depth,
        retval: None,
        overrun: 0,
        calltime: from,
        rettime: to,
    };
    record(to, (cpu, pid), event)
}

fn record(timestamp_ns: u64, (cpu, pid): (u32, i32), event: Event<'static>) -> Record<'static> {
    Record {
        timestamp_ns,
        cpu,
        pid,
        flags: 0,
        preempt_count: 0,
        event,
    }
}

/// From 1000 to 20999: with cells of 1000 ns, each number below is that of a column, one further.
fn made() -> Made {
    let (first, second, ninth) = ((0, 7), (1, 8), (0, 9));
    of(vec![
        enter(1000, first, ALPHA, 0),
        enter(1000, second, GAMMA, 0),
        enter(2000, first, BETA, 1),
        enter(2000, second, ALPHA, 1),
        leave((2000, 3000), second, ALPHA, 1),
        leave((2000, 4000), first, BETA, 1),
        leave((1000, 5000), second, GAMMA, 0),
        enter(5000, first, BETA, 1),
        leave((5000, 6000), first, BETA, 1),
        leave((1000, 9000), first, ALPHA, 0),
        // It sleeps on one CPU, where another task runs meanwhile, and wakes up on the other one.
        enter(10_000, ninth, SLEEP, 0),
        enter(12_000, first, DELTA, 0),
        leave((12_000, 13_000), first, DELTA, 0),
        leave((10_000, 15_000), (1, 9), SLEEP, 0),
        // Its entry is from before the trace, or was lost.
        leave((15_000, 17_000), (1, 10), EARLY, 0),
        // Many short ones in one cell.
        enter(18_000, second, BETA, 0),
        leave((18_000, 18_100), second, BETA, 0),
        enter(18_200, second, BETA, 0),
        leave((18_200, 18_300), second, BETA, 0),
        enter(18_400, second, GAMMA, 0),
        leave((18_400, 18_600), second, GAMMA, 0),
        // It is not seen to end.
        enter(19_000, first, HOSTILE, 0),
        record(20_999, first, Event::Print { ip: 0, text: "end" }),
    ])
}

fn of(records: Vec<Record<'static>>) -> Made {
    let table: String = FUNCTIONS
        .iter()
        .enumerate()
        .map(|(place, name)| format!("{:x} t {name}\n", address(place)))
        .collect();
    Made {
        records,
        symbols: Symbols::parse(&table).expect("the table is sound"),
        tasks: SavedCmdlines::parse(b"7 first\n8 second\n9 ninth\n10 tenth\n"),
    }
}

impl Made {
    fn loading(&self) -> Loading {
        let mut loading = Loading::new(Some(46));
        for record in &self.records {
            loading.record(record, false);
        }
        loading
    }

    fn state(&self, damages: u64, colour: Colour) -> State<'_> {
        let loaded = self.loading().finish(&self.symbols, &self.tasks);
        let names = Names::new(&self.symbols, &self.tasks);
        State::new(
            "trace.dat".to_owned(),
            loaded,
            damages,
            names,
            Palette::of(colour),
        )
    }

    /// One pass, as over a file.
    fn scan(&self, mut scan: Scan) -> Grid {
        for record in &self.records {
            if scan.record(record, false).is_break() {
                break;
            }
        }
        scan.finish()
    }
}

/// Draws, and finds what the timeline wants, until all is there.
fn drawn(made: &Made, state: &mut State<'_>, (columns, rows): (u16, u16)) -> Buffer {
    let backend = TestBackend::new(columns, rows);
    let mut terminal = Terminal::new(backend).expect("it cannot fail");
    terminal
        .draw(|frame| state.draw(frame))
        .expect("it cannot fail");
    if let Some(plan) = state.wanted() {
        state.found(made.scan(Scan::new(plan, state.endless())));
        assert_eq!(state.wanted(), None, "one pass finds all");
        terminal
            .draw(|frame| state.draw(frame))
            .expect("it cannot fail");
    }
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let columns = usize::from(buffer.area.width).max(1);
    buffer
        .content
        .chunks(columns)
        .map(|line| {
            let line: String = line.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

/// Keys as letters, others by their names: `s<Enter><C-c>`.
fn keys(text: &str) -> Vec<KeyEvent> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (code, behind) = match named {
            Some((name, behind)) => (named_key(name), behind),
            None => (KeyCode::Char(letter), &rest[letter.len_utf8()..]),
        };
        let modifiers = if rest.starts_with("<C-") {
            KeyModifiers::CONTROL
        } else {
            KeyModifiers::NONE
        };
        keys.push(KeyEvent::new(code, modifiers));
        rest = behind;
    }
    keys
}

fn named_key(name: &str) -> KeyCode {
    match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "BackTab" => KeyCode::BackTab,
        "Backspace" => KeyCode::Backspace,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "PageUp" => KeyCode::PageUp,
        "PageDown" => KeyCode::PageDown,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        name => KeyCode::Char(name.strip_prefix("C-").expect(name).parse().expect(name)),
    }
}

/// What the screen shows after these keys.
fn screen(made: &Made, size: (u16, u16), pressed: &str) -> Vec<String> {
    let mut state = made.state(0, Colour::Never);
    drawn(made, &mut state, size);
    for key in keys(pressed) {
        state.key(&key);
        drawn(made, &mut state, size);
    }
    assert!(!state.is_over(), "{pressed} leaves");
    lines(&drawn(made, &mut state, size))
}

/// The screen has these lines, one behind the other, after these keys.
#[track_caller]
fn check_of(made: &Made, size: (u16, u16), pressed: &str, wanted: &[&str]) {
    let screen = screen(made, size, pressed);
    let is_there = screen.windows(wanted.len()).any(|lines| lines == wanted);
    assert!(is_there, "{wanted:#?} is not there:\n{}", screen.join("\n"));
}

#[track_caller]
fn check(pressed: &str, wanted: &[&str]) {
    check_of(&made(), (60, 14), pressed, wanted);
}

/// The same on a screen where a cell of the timeline is 1000 ns.
#[track_caller]
fn check_timeline(pressed: &str, wanted: &[&str]) {
    check_of(&made(), (29, 16), &format!("3{pressed}"), wanted);
}

#[test]
fn table_is_sorted_by_total_and_by_the_column_of_a_key() {
    let heading = " Calls    Total▼       Self       Avg  Function";
    check(
        "",
        &[
            "[1 table] 2 tree  3 timeline  ? keys  trace.dat",
            heading,
            "     2  9.000 us   6.000 us  4.500 us  alpha",
            "     1  5.000 us   5.000 us  5.000 us  sleep",
            "     2  4.200 us   3.200 us  2.100 us  gamma",
            "     4  3.200 us   3.200 us    800 ns  beta",
            "     1  2.000 us  2.000 us*  2.000 us  early",
            "     1  1.000 us   1.000 us  1.000 us  delta",
            "     0      0 ns       0 ns         -  x\\x1b[2J",
            "",
        ],
    );
    for (keys, wanted) in [
        (
            "c",
            [
                "Calls▼     Total       Self       Avg  Function",
                "     4  3.200 us   3.200 us    800 ns  beta",
            ],
        ),
        (
            "cr",
            [
                "Calls▲     Total       Self       Avg  Function",
                "     0      0 ns       0 ns         -  x\\x1b[2J",
            ],
        ),
        (
            "crt",
            [heading, "     2  9.000 us   6.000 us  4.500 us  alpha"],
        ),
        (
            "n",
            [
                " Calls     Total       Self       Avg  Function▲",
                "     2  9.000 us   6.000 us  4.500 us  alpha",
            ],
        ),
        (
            "s",
            [
                " Calls     Total      Self▼       Avg  Function",
                "     2  9.000 us   6.000 us  4.500 us  alpha",
            ],
        ),
        (
            "sS",
            [heading, "     2  9.000 us   6.000 us  4.500 us  alpha"],
        ),
        (
            "x",
            [
                " Calls     Total       Self      Max▼  Function",
                "     2  9.000 us   6.000 us  8.000 us  alpha",
            ],
        ),
        (
            "i",
            [
                "   Total       Self  Incomplete▼  Function",
                "    0 ns       0 ns            1  x\\x1b[2J",
            ],
        ),
    ] {
        check(keys, &wanted);
    }
}

#[test]
fn filter_is_a_glob_or_a_part_of_a_name_and_esc_undoes_it() {
    for (keys, wanted) in [
        ("/del", "/del_  1 match; Enter keeps, Esc undoes"),
        (
            "/del<Backspace><Backspace><Backspace>",
            "/_  7 match; Enter keeps, Esc undoes",
        ),
        (
            "/*a<Enter>",
            "4 of 7 functions like *a  s sort  / filter  Enter callees  b",
        ),
        (
            "/a*<Enter>",
            "1 of 7 functions like a*  s sort  / filter  Enter callees  b",
        ),
        (
            "/q?<Enter>",
            "0 of 7 functions like q?  s sort  / filter  Enter callees  b",
        ),
        (
            "/beta<Esc>",
            "7 functions  s sort  / filter  Enter callees  b callers  * a",
        ),
    ] {
        check(keys, &[wanted]);
    }
}

#[test]
fn tree_opens_and_closes_and_shows_callers_and_callees() {
    let heading = "    Calls        Total         Self   Function";
    let (closed, opened) = (
        "        1     8.000 us     5.000 us   + alpha",
        "        1     8.000 us     5.000 us   - alpha",
    );
    let below = "        2     3.000 us     3.000 us       beta";
    let sleep = "        1     5.000 us     5.000 us     sleep";
    let callers = [
        heading,
        "        4     3.200 us     3.200 us   - beta",
        "        2     3.000 us     3.000 us       alpha",
        "",
    ];
    check("2", &[heading, closed, sleep]);
    for keys in ["2<Enter>", "2<Right>", "<Tab>e", "3<BackTab> "] {
        check(keys, &[heading, opened, below, sleep]);
    }
    for keys in [
        "2<Enter><Enter>",
        "2<Right><Right><Left><Left>",
        "2ew",
        "2e<Tab><Tab><Tab>w",
    ] {
        check(keys, &[heading, closed, sleep]);
    }
    check("2<Right><Right>c", &callers);
    check("/beta<Enter>b", &callers);
    check("2<Right><Right>cc", &[heading, closed, sleep]);
    let callees = [
        heading,
        "        2     9.000 us     6.000 us   - alpha",
        below,
        "",
    ];
    check("<Enter>", &callees);
    check("<Enter>a", &[heading, closed, sleep]);
}

#[test]
fn lanes_of_cpus_have_the_calls_of_the_task_that_runs_there() {
    check_timeline(
        "",
        &[
            "         0.000001000 s + 20.0",
            // alpha, sleep up to the record of the next task, delta, the one without an end.
            "CPU 0    ├alpha─┤ ├╌│      ├╌",
            " +1       ├┤ │",
            "CPU 1    ├──┤          ├┤ ▒",
            " +1       │",
        ],
    );
}

#[test]
fn lanes_of_tasks_have_calls_from_entry_to_end_wherever_the_task_ran() {
    check_timeline(
        "t",
        &[
            "first-7  ├alpha─┤   │      ├╌",
            " +1       ├┤ │",
            "second-8 ├──┤             ▒",
            " +1       │",
            "ninth-9           ├sle┤",
            "tenth-10               ├┤",
            "",
        ],
    );
    check_timeline(
        "td",
        &[
            "first-7  ├alpha─┤   │      ├╌",
            "second-8 ├──┤             ▒",
        ],
    );
}

#[test]
fn a_task_that_comes_back_to_a_cpu_is_shown_there_again() {
    let task = |cpu| (cpu, 7);
    let made = of(vec![
        enter(1000, task(0), ALPHA, 0),
        enter(4000, task(1), BETA, 1),
        leave((4000, 5000), task(1), BETA, 1),
        record(
            6000,
            task(0),
            Event::Print {
                ip: 0,
                text: "back",
            },
        ),
        leave((1000, 9000), task(0), ALPHA, 0),
        record(20_999, task(0), Event::Print { ip: 0, text: "end" }),
    ]);
    check_of(
        &made,
        (29, 16),
        "3",
        &["CPU 0    ├─╌  ╌─┤", "CPU 1       ╌╌", " +1         │", ""],
    );
    check_of(
        &made,
        (29, 16),
        "3t",
        &["first-7  ├alpha─┤", " +1         │", ""],
    );
}

#[test]
fn a_call_without_entry_is_on_its_cpu_only_as_far_as_no_other_task_was_there() {
    // As with tracing_thresh: there are only ends.
    let made = of(vec![
        record(
            1000,
            (0, 7),
            Event::Print {
                ip: 0,
                text: "start",
            },
        ),
        leave((1000, 3000), (0, 7), ALPHA, 0),
        record(
            5000,
            (0, 7),
            Event::Print {
                ip: 0,
                text: "here",
            },
        ),
        leave((2000, 8000), (0, 8), BETA, 0),
        leave((9000, 9000), (0, 7), DELTA, 0),
        leave((5000, 14_000), (1, 9), GAMMA, 1),
        leave((4000, 16_000), (1, 9), SLEEP, 0),
        record(20_999, (0, 7), Event::Print { ip: 0, text: "end" }),
    ]);
    check_of(
        &made,
        (29, 16),
        "3",
        &[
            "CPU 0    ├┤  ╌─┤ │",
            "CPU 1       ├sleep─────┤",
            " +1          ├gamma──┤",
            "",
        ],
    );
    check_of(
        &made,
        (29, 16),
        "3t",
        &[
            "first-7  ├┤      │",
            "ninth-9     ├sleep─────┤",
            " +1          ├gamma──┤",
            "second-8  ├beta┤",
            "",
        ],
    );
}

#[test]
fn what_is_under_the_cursor_is_named_with_its_duration() {
    let wide = |pressed: &str, wanted: &[&str]| {
        // A cell is 250 ns.
        check_of(&made(), (89, 16), &format!("3{pressed}"), wanted);
    };
    wide(
        "",
        &[
            "alpha took 8.000 us, in first-7, from 0.000001000 s",
            "+0 ns, 0.000001000 s, CPU 0 depth 0",
        ],
    );
    wide(
        "<Down><Right><Right><Right><Right>",
        &[
            "beta took 2.000 us, in first-7, from 0.000002000 s",
            "+1.000 us, 0.000002000 s, CPU 0 depth 1",
        ],
    );
    wide(
        "<Down>",
        &["no call here", "+0 ns, 0.000001000 s, CPU 0 depth 1"],
    );
    wide(
        "<End>",
        &[
            "x\\x1b[2J not seen to end, in first-7, from 0.000019000 s",
            "+19.750 us, 0.000020750 s, CPU 0 depth 0",
        ],
    );
    wide(
        "<Down><Down><End>-<Left><Left><Left><Left><Left><Left><Left><Left><Left><Left>",
        &["gamma took 200 ns, in second-8, from 0.000018400 s"],
    );
    // sleep ended on this CPU at the same time, and took no time there.
    wide(
        &("jj".to_owned() + &"<Right>".repeat(56)),
        &[
            "early took 2.000 us, in tenth-10, from 0.000015000 s",
            "+14.000 us, 0.000015000 s, CPU 1 depth 0",
        ],
    );
}

#[test]
fn several_calls_in_a_cell_are_counted() {
    let screen = screen(&made(), (29, 16), "3jj<End><Left><Left>");
    let detail: Vec<&str> = screen
        .iter()
        .rev()
        .skip(1)
        .take(2)
        .map(String::as_str)
        .collect();
    // gamma has two tenths of the cell, and beta one, twice.
    assert!(
        detail[0].starts_with("longest of 3 here, 40 % "),
        "{detail:?}"
    );
    assert!(
        detail[1].starts_with("gamma took 200 ns, in "),
        "{detail:?}"
    );
}

#[test]
fn zoom_stays_at_the_cursor_and_the_window_in_the_trace() {
    let wide = |pressed: &str, wanted: &str| {
        check_of(&made(), (89, 16), &format!("3{pressed}"), &[wanted]);
    };
    for (keys, wanted) in [
        ("", "         0.000001000 s + 20.000 us, a cell is 250 ns"),
        ("+", "         0.000001000 s + 10.000 us, a cell is 125 ns"),
        (
            "<End>+",
            "         0.000010875 s + 10.000 us, a cell is 125 ns",
        ),
        ("+-", "         0.000001000 s + 20.000 us, a cell is 250 ns"),
        ("--", "         0.000001000 s + 20.000 us, a cell is 250 ns"),
        ("+l", "         0.000003500 s + 10.000 us, a cell is 125 ns"),
        (
            "+lh",
            "         0.000001000 s + 10.000 us, a cell is 125 ns",
        ),
        ("+h", "         0.000001000 s + 10.000 us, a cell is 125 ns"),
        (
            "+<End>",
            "         0.000011000 s + 10.000 us, a cell is 125 ns",
        ),
        (
            "+<End><Right><Right>",
            "         0.000011000 s + 10.000 us, a cell is 125 ns",
        ),
        (
            "+<End><Home>",
            "         0.000001000 s + 10.000 us, a cell is 125 ns",
        ),
        (
            "++++0",
            "         0.000001000 s + 20.000 us, a cell is 250 ns",
        ),
        (
            "++++++++++++++++",
            "         0.000001000 s + 80 ns, a cell is 1 ns",
        ),
        // alpha, with a tenth around it.
        (
            "<Enter>",
            "         0.000001000 s + 9.600 us, a cell is 120 ns",
        ),
    ] {
        wide(keys, wanted);
    }
}

#[test]
fn at_the_edge_the_cursor_takes_the_window_along() {
    let to_the_edge = "3+".to_owned() + &"<Right>".repeat(79);
    check_of(
        &made(),
        (89, 16),
        &to_the_edge,
        &["+9.875 us, 0.000010875 s, CPU 0 depth 0"],
    );
    let beyond = to_the_edge + "<Right>";
    check_of(
        &made(),
        (89, 16),
        &beyond,
        &["         0.000003500 s + 10.000 us, a cell is 125 ns"],
    );
    check_of(
        &made(),
        (89, 16),
        &beyond,
        &["+10.000 us, 0.000011000 s, CPU 0 depth 0"],
    );
    let back = beyond + &"<Left>".repeat(61);
    check_of(
        &made(),
        (89, 16),
        &back,
        &["+2.375 us, 0.000003375 s, CPU 0 depth 0"],
    );
}

#[test]
fn any_window_is_filled_as_the_calls_are() {
    // Task, depth, start, end of all calls whose time is in the trace; one has no end.
    let calls = [
        (7, 0, 1000, 9000),
        (7, 1, 2000, 4000),
        (7, 1, 5000, 6000),
        (8, 0, 1000, 5000),
        (8, 1, 2000, 3000),
        (9, 0, 10_000, 15_000),
        (7, 0, 12_000, 13_000),
        (10, 0, 15_000, 17_000),
        (8, 0, 18_000, 18_100),
        (8, 0, 18_200, 18_300),
        (8, 0, 18_400, 18_600),
        (7, 0, 19_000, 20_999),
    ];
    let made = made();
    let loaded = made.loading().finish(&made.symbols, &made.tasks);
    let mut filled = 0;
    for (from_ns, cell_ns, columns) in [
        (1000, 1000, 20),
        (1500, 333, 11),
        (2500, 1, 40),
        (16_999, 700, 9),
        (11_000, 10, 100),
        (14_000, 7000, 1),
        (16_000, 10, 10),
        (1000, 1 << 40, 3),
    ] {
        for (pid, depth) in [(7, 0), (7, 1), (8, 0), (8, 1), (9, 0), (10, 0)] {
            let mut plan = Plan {
                from_ns,
                cell_ns,
                columns,
                lanes: vec![(LaneKey::Task(Task::Pid(pid)), 2)],
                read_until_ns: 0,
            };
            plan.read_until_ns = loaded.overview.read_until(plan.until_ns());
            let endless = std::sync::Arc::clone(&loaded.overview.endless);
            let grid = made.scan(Scan::new(plan, endless));
            let mut start = from_ns;
            for (column, cell) in grid.row(depth).iter().enumerate() {
                let end = start + cell_ns;
                let inside = calls.iter().filter(|(of, at, from, until)| {
                    (*of, *at) == (pid, depth) && *from < end && *until > start
                });
                let busy: u64 = inside
                    .clone()
                    .map(|(_, _, from, until)| end.min(*until) - start.max(*from))
                    .sum();
                let what = format!("{from_ns} + {column} * {cell_ns}, task {pid}, depth {depth}");
                assert_eq!(cell.busy_ns, busy, "{what}");
                assert_eq!(cell.pieces, inside.count() as u64, "{what}");
                filled += usize::from(busy > 0);
                start = end;
            }
        }
    }
    assert!(filled > 100, "{filled}");
}

#[test]
fn keys_that_leave_do_so_wherever_no_text_is_typed() {
    for (pressed, is_over) in [
        ("q", true),
        ("<Esc>", true),
        ("<C-c>", true),
        ("2q", true),
        ("3<Esc>", true),
        ("?q", true),
        ("?<Esc>", false),
        ("/q", false),
        ("/<Esc>", false),
        ("/<C-c>", true),
        ("/q<Enter>q", true),
        ("<C-q>", false),
        ("3", false),
    ] {
        let made = made();
        let mut state = made.state(0, Colour::Never);
        for key in keys(pressed) {
            state.key(&key);
        }
        assert_eq!(state.is_over(), is_over, "{pressed}");
    }
}

#[test]
fn keys_are_explained_on_any_screen() {
    for rows in [3, 10, 50] {
        let pressed = "?".to_owned() + &"<Down>".repeat(40);
        let last = "  ░▒▓█ several in a cell, by how much of it they fill";
        let foot = "Down Up for more; any other key: back";
        let shown = screen(&made(), (60, rows), &pressed);
        assert!(
            shown.iter().any(|line| line == last),
            "{}",
            shown.join("\n")
        );
        assert_eq!(shown.last().map(String::as_str), Some(foot));
    }
    check("?", &["Everywhere"]);
    check("??", &["     2  9.000 us   6.000 us  4.500 us  alpha"]);
}

#[test]
fn no_screen_is_too_small_for_any_keys() {
    let letters: Vec<KeyEvent> = keys(
        "123<Tab><BackTab>?sSnctfmarbxi/ew+-0hltdDjkgG*<Enter><Enter><Backspace><Up><Down><Left><Right>\
         <PageUp><PageDown><Home><End><Right><Right><Left><Down>59 ",
    );
    let sizes = [
        (0, 0),
        (1, 1),
        (2, 3),
        (7, 2),
        (29, 4),
        (40, 10),
        (80, 24),
        (300, 3),
        (9, 60),
    ];
    let (made, empty) = (made(), of(Vec::new()));
    // A row of numbers that is the same each time (xorshift).
    let mut number = 0x9e37_79b9_u32;
    let mut next = |below: usize| {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        usize::try_from(number).expect("64 bits") % below
    };
    for trace in [&made, &empty] {
        let mut state = trace.state(0, Colour::Always);
        for _ in 0..3000 {
            state.key(&letters[next(letters.len())]);
            drawn(trace, &mut state, sizes[next(sizes.len())]);
        }
        assert!(!state.is_over());
    }
}

#[test]
fn a_trace_without_calls_says_so_in_each_view() {
    for pressed in ["1", "2", "3", "3t", "3+<Enter>"] {
        let wanted = "no call is in this trace: it has no records of";
        check_of(
            &of(Vec::new()),
            (50, 12),
            pressed,
            &[wanted, "function_graph"],
        );
    }
}

#[test]
fn a_damaged_trace_is_marked_and_a_sound_one_is_not() {
    let made = made();
    for (damages, is_marked) in [(0, false), (1, true)] {
        let mut state = made.state(damages, Colour::Never);
        let shown = lines(&drawn(&made, &mut state, (90, 12)));
        assert_eq!(shown[0].contains("damaged"), is_marked, "{}", shown[0]);
    }
}

#[test]
fn colour_adds_nothing_to_the_text_and_is_gone_without() {
    let made = made();
    for pressed in ["1", "2e", "3", "3t", "?"] {
        let shown = |colour| {
            let mut state = made.state(1, colour);
            drawn(&made, &mut state, (80, 20));
            for key in keys(pressed) {
                state.key(&key);
                drawn(&made, &mut state, (80, 20));
            }
            drawn(&made, &mut state, (80, 20))
        };
        let (plain, coloured) = (shown(Colour::Never), shown(Colour::Always));
        assert_eq!(lines(&plain), lines(&coloured), "{pressed}");
        let colours = |buffer: &Buffer| {
            let cells = buffer.content.iter();
            cells
                .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
                .count()
        };
        assert_eq!(colours(&plain), 0, "{pressed}");
        assert!(colours(&coloured) > 0, "{pressed}");
    }
}

#[test]
fn loading_tells_how_far_it_is() {
    let made = made();
    let mut terminal = Terminal::new(TestBackend::new(40, 4)).expect("it cannot fail");
    let palette = Palette::of(Colour::Never);
    terminal
        .draw(|frame| draw_loading(frame, "trace.dat", &made.loading(), palette))
        .expect("it cannot fail");
    let shown = lines(terminal.backend().buffer());
    assert_eq!(
        shown,
        [
            "reading trace.dat",
            "50 %: 23 of 46 records",
            "q leaves",
            ""
        ]
    );
}

#[test]
#[should_panic(expected = "is not there")]
fn a_screen_that_differs_is_found() {
    check("", &["     2  9.000 us   6.000 us  4.500 us  beta"]);
}
