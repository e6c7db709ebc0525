// SPDX-License-Identifier: GPL-2.0-only

//! Gives the entries of `expect` their meaning.
//!
//! In: the texts of an entry, and the phases it may be about. Out: an [`Expectation`] that some run could meet and
//! some run could miss; one that bounds nothing, or asks for an event its phase cannot have, is a mistake.

use super::value::{Grammar, LONGEST, Result, duration, entries, one_of, spelled, whole};
use crate::error::{Mistake, Place};
use crate::file::{
    Choice, ConcurrencyBlock, CountBlock, DifferenceBlock, DifferenceOfBlock, DurationBlock,
    ExpectBlock, Given, IdsBlock, IntervalBlock, LatenessBlock, LeaksBlock, List, LoadBlock,
    OrderBlock, PercentileBlock, SpanBlock, Text, WindowBlock,
};
use crate::yaml::Located;
use crate::{
    Bounds, ConcurrencyExpectation, CountBounds, CountExpectation, CountOf, DifferenceExpectation,
    DifferenceOf, DurationExpectation, DurationOf, Errno, Expectation, IdOrder,
    IntervalExpectation, ItemEvent, LatenessExpectation, LeaksExpectation, LoadExpectation, Mode,
    Nanos, OrderExpectation, Percentile, PercentileBounds, Phase, Point, Start, UnitError,
    WindowExpectation,
};

/// The most entries of `percentiles` and of a list of ids.
const MAX_LISTED: usize = 64;

const FUNCTION: Grammar = Grammar {
    what: "the name of a function",
    longest: 256,
    allowed: "letters, digits, `_`, `.`, `$` and `:`, without wildcards",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.$:".contains(&byte))
    },
};

/// What an expectation may refer to.
pub(super) struct Context<'a> {
    pub(super) phases: &'a [Phase],
    pub(super) command_line: &'a [String],
}

/// A key of `expect` that is given, with its block.
enum Entry {
    Count(Located<CountBlock>),
    Order(Located<OrderBlock>),
    Interval(Located<IntervalBlock>),
    Lateness(Located<LatenessBlock>),
    Duration(Located<DurationBlock>),
    Window(Located<WindowBlock>),
    Concurrency(Located<ConcurrencyBlock>),
    Difference(Located<DifferenceBlock>),
    Leaks(Located<LeaksBlock>),
    Load(Located<LoadBlock>),
}

impl Context<'_> {
    pub(super) fn expectation(&self, entry: Located<ExpectBlock>) -> Result<Expectation> {
        match only_key(entry)? {
            Entry::Count(block) => self.count(block),
            Entry::Order(block) => self.order(block),
            Entry::Interval(block) => self.interval(block),
            Entry::Lateness(block) => self.lateness(block),
            Entry::Duration(block) => self.duration(block),
            Entry::Window(block) => self.window(block),
            Entry::Concurrency(block) => self.concurrency(block),
            Entry::Difference(block) => self.difference(block),
            Entry::Leaks(block) => self.leaks(block),
            Entry::Load(block) => self.load(block),
        }
    }

    fn count(&self, block: Located<CountBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        Ok(Expectation::Count(CountExpectation {
            phase: self.phase(block.phase, place)?.name.clone(),
            of: count_of(&block.of.required("of", place)?)?,
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn order(&self, block: Located<OrderBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        if phase.workload.items < 2 {
            let message = format!("phase `{}` has one item, which has no order", phase.name);
            return Err(Mistake::new(place, message).allow("phases with at least 2 items"));
        }
        let by = block.by.required("by", place)?;
        let event = one_of(by.place, "event", &by.value, &events(&ItemEvent::ALL[..4]))?;
        happens(by.place, event, phase)?;
        Ok(Expectation::Order(OrderExpectation {
            phase: phase.name.clone(),
            by: event,
            ids: id_order(&block.ids.required("ids", place)?, phase)?,
        }))
    }

    fn interval(&self, block: Located<IntervalBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        let from = item_event(&block.from.required("from", place)?, phase)?;
        let to_text = block.to.required("to", place)?;
        let to = item_event(&to_text, phase)?;
        if from >= to {
            let message = format!("no item is {from} before it is {to}");
            let order = ItemEvent::ALL.map(ItemEvent::as_str).join(", ");
            return Err(Mistake::new(to_text.place, message)
                .allow(format!("an event after `from` in: {order}")));
        }
        let percentiles = percentiles(block.percentiles)?;
        let each = bounds(&block.min, &block.max)?;
        bounds_something(place, !each.is_empty() || !percentiles.is_empty(), TIMES)?;
        Ok(Expectation::Interval(IntervalExpectation {
            phase: phase.name.clone(),
            from,
            to,
            each,
            percentiles,
        }))
    }

    fn lateness(&self, block: Located<LatenessBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        let of = block.of.required("of", place)?;
        let event = one_of(
            of.place,
            "event",
            &of.value,
            &events(&[ItemEvent::Queued, ItemEvent::Started]),
        )?;
        if phase.workload.mode == Mode::Direct {
            let message = format!(
                "phase `{}` is direct: its items have no delay to be late for",
                phase.name
            );
            return Err(Mistake::new(place, message).allow("phases of mode delayed"));
        }
        let percentiles = percentiles(block.percentiles)?;
        let each = bounds(&block.min, &block.max)?;
        bounds_something(place, !each.is_empty() || !percentiles.is_empty(), TIMES)?;
        Ok(Expectation::Lateness(LatenessExpectation {
            phase: phase.name.clone(),
            of: event,
            each,
            percentiles,
        }))
    }

    fn duration(&self, block: Located<DurationBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let of = duration_of(&block.of.required("of", place)?)?;
        let several_places = [block.percentiles.place(), block.total_max.place()];
        if of == DurationOf::Init
            && let Some(several) = several_places.into_iter().flatten().next()
        {
            let message = "init is one duration, which has no percentiles and no total";
            return Err(Mistake::new(several, message).allow("min, max"));
        }
        let percentiles = percentiles(block.percentiles)?;
        let total_max = block.total_max.read_if_given(bound)?;
        let each = bounds(&block.min, &block.max)?;
        let is_bound = !each.is_empty() || !percentiles.is_empty() || total_max.is_some();
        bounds_something(place, is_bound, "min, max, percentiles, total-max")?;
        Ok(Expectation::Duration(DurationExpectation {
            phase: self.phase(block.phase, place)?.name.clone(),
            of,
            each,
            percentiles,
            total_max,
        }))
    }

    fn window(&self, block: Located<WindowBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        let (from, to) = span(block.from, block.to, place, &[phase])?;
        let bounds = bounds(&block.min, &block.max)?;
        bounds_something(place, !bounds.is_empty(), "min, max")?;
        Ok(Expectation::Window(WindowExpectation {
            phase: phase.name.clone(),
            from,
            to,
            bounds,
        }))
    }

    fn concurrency(&self, block: Located<ConcurrencyBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        Ok(Expectation::Concurrency(ConcurrencyExpectation {
            phase: self.phase(block.phase, place)?.name.clone(),
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn difference(&self, block: Located<DifferenceBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let between = block.between.required("between", place)?;
        let (first, second) = self.two_phases(&between)?;
        let of = difference_of(block.of.required("of", place)?, &[first, second])?;
        let bounds = bounds(&block.min, &block.max)?;
        bounds_something(place, !bounds.is_empty(), "min, max")?;
        Ok(Expectation::Difference(DifferenceExpectation {
            of,
            between: (first.name.clone(), second.name.clone()),
            bounds,
        }))
    }

    fn leaks(&self, block: Located<LeaksBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        if !self.command_line.iter().any(|word| word == "kmemleak=on") {
            let message = "without kmemleak=on nothing looks for leaks";
            return Err(
                Mistake::new(place, message).allow("`command-line: [kmemleak=on]` under machine")
            );
        }
        Ok(Expectation::Leaks(LeaksExpectation {
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn load(&self, block: Located<LoadBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let error = block.error.required("error", place)?;
        let table = Errno::ALL.map(|errno| (errno.as_str(), errno));
        Ok(Expectation::Load(LoadExpectation {
            phase: self.phase(block.phase, place)?.name.clone(),
            error: one_of(error.place, "error", &error.value, &table)?,
        }))
    }

    /// The phase an entry names, or the only one there is; `place` is the entry's.
    fn phase(&self, given: Given<String>, place: Place) -> Result<&Phase> {
        match (given.0, self.phases) {
            (Some(name), _) => self.named_phase(&name),
            (None, [only]) => Ok(only),
            (None, _) => {
                let message = "there are several phases, but key `phase` is missing here";
                Err(Mistake::new(place, message).allow(self.phase_names().join(", ")))
            }
        }
    }

    fn named_phase(&self, name: &Text) -> Result<&Phase> {
        self.phases
            .iter()
            .find(|phase| phase.name == name.value)
            .ok_or_else(|| {
                Mistake::unknown_name(name.place, "phase", &name.value, &self.phase_names())
            })
    }

    fn phase_names(&self) -> Vec<&str> {
        self.phases
            .iter()
            .map(|phase| phase.name.as_str())
            .collect()
    }

    fn two_phases(&self, between: &Located<Vec<Text>>) -> Result<(&Phase, &Phase)> {
        let [first, second] = between.value.as_slice() else {
            let message = format!("`between` has {}", entries(between.value.len()));
            return Err(Mistake::new(between.place, message)
                .allow("two phases, such as [direct, deferred]"));
        };
        if first.value == second.value {
            let message = format!("phase `{}` differs from itself by nothing", second.value);
            return Err(
                Mistake::new(second.place, message).allow("two phases, such as [direct, deferred]")
            );
        }
        Ok((self.named_phase(first)?, self.named_phase(second)?))
    }
}

/// What may bound the times of items.
const TIMES: &str = "min, max, percentiles";

/// What an entry expects: exactly one key has to be given.
fn only_key(entry: Located<ExpectBlock>) -> Result<Entry> {
    const ALLOWED: &str =
        "count, order, interval, lateness, duration, window, concurrency, difference, leaks, load";
    let block = entry.value;
    let given = [
        block.count.0.map(Entry::Count),
        block.order.0.map(Entry::Order),
        block.interval.0.map(Entry::Interval),
        block.lateness.0.map(Entry::Lateness),
        block.duration.0.map(Entry::Duration),
        block.window.0.map(Entry::Window),
        block.concurrency.0.map(Entry::Concurrency),
        block.difference.0.map(Entry::Difference),
        block.leaks.0.map(Entry::Leaks),
        block.load.0.map(Entry::Load),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Mistake::new(entry.place, "this entry expects nothing").allow(ALLOWED)),
        (Some(_), Some(_)) => {
            let message = "this entry has several keys; each expectation is an entry of its own";
            Err(Mistake::new(entry.place, message).allow(format!("one of {ALLOWED}")))
        }
    }
}

/// What a choice with an optional function resolves to.
#[derive(Clone, Copy)]
enum Subject<T> {
    Plain(T),
    Function,
}

fn count_of(choice: &Located<Choice<String>>) -> Result<CountOf> {
    let table = [
        ("armed", Subject::Plain(ItemEvent::Armed)),
        ("queued", Subject::Plain(ItemEvent::Queued)),
        ("started", Subject::Plain(ItemEvent::Started)),
        ("ended", Subject::Plain(ItemEvent::Ended)),
        ("cancelled", Subject::Plain(ItemEvent::Cancelled)),
        ("function", Subject::Function),
    ];
    Ok(match subject(choice, &table)? {
        Named::Plain(ItemEvent::Armed) => CountOf::Armed,
        Named::Plain(ItemEvent::Queued) => CountOf::Queued,
        Named::Plain(ItemEvent::Started) => CountOf::Started,
        Named::Plain(ItemEvent::Ended) => CountOf::Ended,
        Named::Plain(ItemEvent::Cancelled) => CountOf::Cancelled,
        Named::Function(name) => CountOf::Function(name),
    })
}

fn duration_of(choice: &Located<Choice<String>>) -> Result<DurationOf> {
    let table = [
        ("init", Subject::Plain(false)),
        ("item", Subject::Plain(true)),
        ("function", Subject::Function),
    ];
    Ok(match subject(choice, &table)? {
        Named::Plain(false) => DurationOf::Init,
        Named::Plain(true) => DurationOf::Item,
        Named::Function(name) => DurationOf::Function(name),
    })
}

/// A subject whose function has its name.
enum Named<T> {
    Plain(T),
    Function(String),
}

fn subject<T: Copy>(
    choice: &Located<Choice<String>>,
    table: &[(&str, Subject<T>)],
) -> Result<Named<T>> {
    let Choice { name, value } = &choice.value;
    match (one_of(choice.place, "subject", name, table)?, value) {
        (Subject::Plain(plain), None) => Ok(Named::Plain(plain)),
        (Subject::Plain(_), Some(value)) => Err(Mistake::new(
            value.place,
            format!("`{name}` takes no value"),
        )
        .allow(format!("of: {name}"))),
        (Subject::Function, Some(function)) => Ok(Named::Function(spelled(function, &FUNCTION)?)),
        (Subject::Function, None) => {
            let message = "`function` needs the name of a function";
            Err(Mistake::new(choice.place, message).allow("{ function: deferred_item_body }"))
        }
    }
}

fn difference_of(block: Located<DifferenceOfBlock>, phases: &[&Phase]) -> Result<DifferenceOf> {
    let Located {
        value: block,
        place,
    } = block;
    match (block.duration.0, block.window.0) {
        (Some(duration), None) => one_of(
            duration.place,
            "duration",
            &duration.value,
            &[("init", DifferenceOf::Init)],
        ),
        (None, Some(window)) => {
            let Located {
                value: SpanBlock { from, to },
                place,
            } = window;
            let (from, to) = span(from, to, place, phases)?;
            Ok(DifferenceOf::Window { from, to })
        }
        (None, None) | (Some(_), Some(_)) => {
            let message = "a difference is of one time, either a duration or a window";
            Err(Mistake::new(place, message)
                .allow("{ duration: init }, { window: { from: load, to: last-ended } }"))
        }
    }
}

/// The two points of a window that every one of `phases` passes.
fn span(
    from: Given<String>,
    to: Given<String>,
    place: Place,
    phases: &[&Phase],
) -> Result<(Point, Point)> {
    let from = point(&from.required("from", place)?, phases)?;
    let to_text = to.required("to", place)?;
    let to = point(&to_text, phases)?;
    if from == to {
        let message = format!("a window from {from} to {to} is always 0");
        return Err(Mistake::new(to_text.place, message).allow("a point other than `from`"));
    }
    Ok((from, to))
}

fn point(text: &Text, phases: &[&Phase]) -> Result<Point> {
    let table = Point::ALL.map(|point| (point.as_str(), point));
    let point = one_of(text.place, "point", &text.value, &table)?;
    let untriggered = phases
        .iter()
        .find(|phase| phase.workload.start != Start::Trigger);
    match untriggered {
        Some(phase) if point == Point::Trigger => {
            let message = format!(
                "phase `{}` starts by its load, so it has no trigger",
                phase.name
            );
            Err(Mistake::new(text.place, message).allow("phases with `start: trigger`"))
        }
        _ => Ok(point),
    }
}

fn events(events: &[ItemEvent]) -> Vec<(&'static str, ItemEvent)> {
    events
        .iter()
        .map(|event| (event.as_str(), *event))
        .collect()
}

fn item_event(text: &Text, phase: &Phase) -> Result<ItemEvent> {
    let event = one_of(text.place, "event", &text.value, &events(&ItemEvent::ALL))?;
    happens(text.place, event, phase)?;
    Ok(event)
}

/// Refuses an event that no item of the phase can have.
fn happens(place: Place, event: ItemEvent, phase: &Phase) -> Result<()> {
    let is_on_queues_only = matches!(event, ItemEvent::Queued | ItemEvent::Cancelled);
    if phase.workload.mode == Mode::Direct && is_on_queues_only {
        let message = format!(
            "phase `{}` is direct: its items are never {event}",
            phase.name
        );
        return Err(Mistake::new(place, message).allow("armed, started, ended"));
    }
    Ok(())
}

fn id_order(ids: &Located<IdsBlock>, phase: &Phase) -> Result<IdOrder> {
    match &ids.value {
        IdsBlock::Named(name) => {
            let table = [("ascending", true), ("descending", false)];
            let is_ascending = one_of(ids.place, "order", name, &table).map_err(|mistake| {
                mistake.allow("ascending, descending, or a list such as [3, 1, 2]")
            })?;
            Ok(if is_ascending {
                IdOrder::Ascending
            } else {
                IdOrder::Descending
            })
        }
        IdsBlock::Listed(texts) => listed_ids(ids.place, texts, phase),
    }
}

fn listed_ids(place: Place, texts: &[Text], phase: &Phase) -> Result<IdOrder> {
    if !(2..=MAX_LISTED).contains(&texts.len()) {
        let message = format!("`ids` has {}", entries(texts.len()));
        return Err(Mistake::new(place, message).allow(format!("2 to {MAX_LISTED} entries")));
    }
    let mut ids = Vec::new();
    for text in texts {
        let id = whole(text, 0..=phase.workload.items.saturating_sub(1))?;
        if ids.contains(&id) {
            return Err(
                Mistake::new(text.place, format!("id {id} is there twice")).allow("each id once")
            );
        }
        ids.push(id);
    }
    Ok(IdOrder::Listed(ids))
}

fn bound(text: &Text) -> Result<Nanos> {
    duration(text, Nanos(0)..=LONGEST)
}

fn bounds(min: &Given<String>, max: &Given<String>) -> Result<Bounds> {
    let least = min.0.as_ref().map(bound).transpose()?;
    let most = max.0.as_ref().map(bound).transpose()?;
    if let (Some(least), Some(most), Some(place)) = (least, most, max.place())
        && least > most
    {
        let message = format!("max {most} is below min {least}");
        return Err(Mistake::new(place, message).allow(format!("{least} or more")));
    }
    Ok(Bounds {
        min: least,
        max: most,
    })
}

fn count_bounds(
    place: Place,
    equals: &Given<String>,
    at_least: &Given<String>,
    at_most: &Given<String>,
) -> Result<CountBounds> {
    let count = |given: &Given<String>| {
        given
            .0
            .as_ref()
            .map(|text| whole(text, 0..=u64::from(u32::MAX)))
            .transpose()
    };
    let (exact, least, most) = (count(equals)?, count(at_least)?, count(at_most)?);
    if exact.is_some() {
        if let Some(place) = at_least.place().or(at_most.place()) {
            let message = "`equals` leaves nothing to bound";
            return Err(
                Mistake::new(place, message).allow("either `equals`, or `at-least` and `at-most`")
            );
        }
        return Ok(CountBounds {
            at_least: exact,
            at_most: exact,
        });
    }
    bounds_something(
        place,
        least.is_some() || most.is_some(),
        "equals, at-least, at-most",
    )?;
    if let (Some(least), Some(most), Some(place)) = (least, most, at_most.place())
        && least > most
    {
        let message = format!("at-most {most} is below at-least {least}");
        return Err(Mistake::new(place, message).allow(format!("{least} or more")));
    }
    Ok(CountBounds {
        at_least: least,
        at_most: most,
    })
}

fn percentiles(given: Given<List<PercentileBlock>>) -> Result<Vec<PercentileBounds>> {
    let Some(list) = given.0 else {
        return Ok(Vec::new());
    };
    if !(1..=MAX_LISTED).contains(&list.value.len()) {
        let message = format!("`percentiles` has {}", entries(list.value.len()));
        return Err(Mistake::new(list.place, message).allow(format!("1 to {MAX_LISTED} entries")));
    }
    list.value.into_iter().map(percentile_bounds).collect()
}

fn percentile_bounds(block: Located<PercentileBlock>) -> Result<PercentileBounds> {
    let Located {
        value: block,
        place,
    } = block;
    let p = percentile(&block.p.required("p", place)?)?;
    let bounds = bounds(&block.min, &block.max)?;
    bounds_something(place, !bounds.is_empty(), "min, max")?;
    Ok(PercentileBounds { p, bounds })
}

fn percentile(text: &Text) -> Result<Percentile> {
    text.value.parse().map_err(|error: UnitError| {
        Mistake::new(text.place, error.to_string()).allow(Percentile::ALLOWED)
    })
}

/// Refuses an expectation that every run would meet.
fn bounds_something(place: Place, is_bound: bool, keys: &str) -> Result<()> {
    if is_bound {
        return Ok(());
    }
    Err(Mistake::new(
        place,
        "this expectation has no bound, so every run would meet it",
    )
    .allow(keys))
}
