// SPDX-License-Identifier: GPL-2.0-only

//! Gives the entries of `expect` their meaning.
//!
//! In: the texts of an entry, and the phases it may be about. Out: an [`Expectation`] that some run could meet and
//! some run could miss; one that bounds nothing, or asks for an event its phase cannot have, is a mistake.

use super::MEMORY;
use super::select::{Items, Need};
use super::trace::{ONE_EVENT, TASK, filter};
use super::value::{
    ERRNOS, Grammar, Result, duration, entries, errno, has_entries, one_of, size, spelled, whole,
};
use crate::error::{Mistake, Place, some_of};
use crate::file::{
    AttemptsBlock, BeforeBlock, CallBlock, Choice, ConcurrencyBlock, CountBlock, DifferenceBlock,
    DifferenceOfBlock, DurationBlock, ErrorBlock, ExitBlock, ExpectBlock, Given, GrowthBlock,
    HistogramBlock, IdsBlock, IntervalBlock, LatencyBlock, LatenessBlock, LeaksBlock, LevelBlock,
    List, LoadBlock, LogBlock, OccasionBlock, OccasionKeys, OrderBlock, OutputBlock,
    PercentileBlock, ProfileBlock, SpanBlock, StackBlock, StackSizeBlock, Text, WindowBlock,
};
use crate::rules::LONGEST;
use crate::yaml::Located;
use crate::{
    AttemptsExpectation, BeforeExpectation, BetweenExpectation, Bounds, Bytes, CallExpectation,
    ConcurrencyExpectation, CountBounds, CountExpectation, CountOf, DifferenceExpectation,
    DifferenceOf, DurationExpectation, DurationOf, Errno, ErrorExpectation, EventSelection,
    ExitExpectation, Expectation, GrowthExpectation, HistogramExpectation, IdOrder,
    IntervalExpectation, ItemEvent, KeyedOccasion, LatencyExpectation, LatenessExpectation,
    LeaksExpectation, Level, LevelExpectation, Load, LoadExpectation, LogExpectation, Nanos,
    Occasion, OrderExpectation, OutputExpectation, Percentile, PercentileBounds, Phase, Point,
    ProfileExpectation, Since, StackExpectation, StackSizeExpectation, Start, Trace, UnitError,
    WindowExpectation,
};

/// The most entries of `percentiles` and of an order.
const MAX_LISTED: usize = 64;

pub(super) const FUNCTION: Grammar = Grammar {
    what: "the name of a function",
    longest: 256,
    allowed: "letters, digits, `_`, `.`, `$` and `:`, without wildcards",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.$:".contains(&byte))
    },
};

const LOG_TEXT: Grammar = Grammar {
    what: "a part of a line of the kernel log",
    longest: 256,
    allowed: "printable ASCII",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    },
};

const OUTPUT_TEXT: Grammar = Grammar {
    what: "a part of a line",
    ..LOG_TEXT
};

const FIELD: Grammar = Grammar {
    what: "the name of a field",
    longest: 64,
    allowed: "letters, digits, `_` and `.`",
    is_valid: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
    },
};

/// The event that a write to `trace_marker` makes, which is always recorded.
const MARKER_EVENT: &str = "ftrace:print";

/// The field that every record has.
const COMMON_PID: &str = "common_pid";

/// The most keys of a histogram: `TRACING_MAP_KEYS_MAX`, `kernel/trace/tracing_map.h`, Linux 7.3.
const MAX_KEYS: usize = 4;

/// No kernel stack of x86-64 is larger: `THREAD_SIZE` with KASAN, `asm/page_64_types.h`, Linux 7.3.
const LARGEST_STACK: Bytes = Bytes(64 << 10);

/// What an expectation may refer to.
pub(super) struct Context<'a> {
    pub(super) phases: &'a [Phase],
    pub(super) load: Load,
    pub(super) command_line: &'a [String],
    pub(super) trace: &'a Trace,
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
    Error(Located<ErrorBlock>),
    Attempts(Located<AttemptsBlock>),
    Log(Located<LogBlock>),
    Level(Located<LevelBlock>),
    Growth(Located<GrowthBlock>),
    Before(Located<BeforeBlock>),
    Call(Located<CallBlock>),
    Stack(Located<StackBlock>),
    Latency(Located<LatencyBlock>),
    Profile(Located<ProfileBlock>),
    StackSize(Located<StackSizeBlock>),
    Histogram(Located<HistogramBlock>),
    Exit(Located<ExitBlock>),
    Output(Located<OutputBlock>),
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
            Entry::Error(block) => self.error(block),
            Entry::Attempts(block) => self.attempts(block),
            Entry::Log(block) => log(block),
            Entry::Level(block) => self.level(block),
            Entry::Growth(block) => self.growth(block),
            Entry::Before(block) => self.before(block),
            Entry::Call(block) => self.call(block),
            Entry::Stack(block) => self.stack(block),
            Entry::Latency(block) => self.latency(block),
            Entry::Profile(block) => self.profile(block),
            Entry::StackSize(block) => self.stack_size(block),
            Entry::Histogram(block) => self.histogram(block),
            Entry::Exit(block) => self.exit(block),
            Entry::Output(block) => self.output(block),
        }
    }

    fn count(&self, block: Located<CountBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.traced_phase(block.phase, place)?;
        let of_choice = block.of.required("of", place)?;
        let of_place = of_choice.place;
        let of = self.count_of(of_choice)?;
        let items = match counted(&of) {
            Some(need) => {
                let phase = has_items(Located {
                    value: phase,
                    place: of_place,
                })?;
                let items = Items::of(phase, block.items)?;
                items.one_can(of_place, &need)?;
                items.ids
            }
            None => not_by_item(block.items)?,
        };
        Ok(Expectation::Count(CountExpectation {
            phase: phase.name.clone(),
            of,
            items,
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn order(&self, block: Located<OrderBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        if phase.workload.items() < 2 {
            let message = format!("phase `{}` has one item, which has no order", phase.name);
            return Err(Mistake::new(place, message).allow("phases with at least 2 items"));
        }
        let by = block.by.required("by", place)?;
        let event = one_of(by.place, "event", &by.value, &events(&ItemEvent::ALL[..4]))?;
        let ids = block.ids.required("ids", place)?;
        let need = Need::of(event);
        Items::all(phase).one_can(by.place, &need)?;
        Ok(Expectation::Order(OrderExpectation {
            phase: phase.name.clone(),
            by: event,
            ids: id_order(ids, phase, by.place, &need)?,
        }))
    }

    fn interval(&self, block: Located<IntervalBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let from = block.from.required("from", place)?;
        let to = block.to.required("to", place)?;
        let (from, to_text) = match (from.value, to.value) {
            (OccasionBlock::Named(first), OccasionBlock::Named(second)) => (
                Located {
                    value: first,
                    place: from.place,
                },
                Located {
                    value: second,
                    place: to.place,
                },
            ),
            (OccasionBlock::Keys(first), OccasionBlock::Keys(second)) => {
                let from = Located {
                    value: first,
                    place: from.place,
                };
                let to = Located {
                    value: second,
                    place: to.place,
                };
                let by_item = block.items;
                let phase = self.traced_phase(block.phase, place)?;
                not_by_item(by_item)?;
                let (from, to) = self.pair(from, to)?;
                self.counts_nanoseconds(place)?;
                let percentiles = percentiles(block.percentiles)?;
                let each = bounds(&block.min, &block.max)?;
                bounds_something(place, !each.is_empty() || !percentiles.is_empty(), TIMES)?;
                return Ok(Expectation::Between(BetweenExpectation {
                    phase: phase.name.clone(),
                    from,
                    to,
                    each,
                    percentiles,
                }));
            }
            (OccasionBlock::Named(_), OccasionBlock::Keys(_))
            | (OccasionBlock::Keys(_), OccasionBlock::Named(_)) => {
                let message = "an interval goes from one item event to another, or from one event of the trace to another";
                return Err(Mistake::new(to.place, message).allow("the same kind as `from`"));
            }
        };
        let phase = self.phase(block.phase, place)?;
        let items = Items::of(phase, block.items)?;
        let from = item_event(&from, &items)?;
        let to = item_event(&to_text, &items)?;
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
            items: items.ids,
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
        let items = Items::of(phase, block.items)?;
        items.each_can(place, &Need::DELAY)?;
        items.each_can(of.place, &Need::of(event))?;
        let percentiles = percentiles(block.percentiles)?;
        let each = bounds(&block.min, &block.max)?;
        bounds_something(place, !each.is_empty() || !percentiles.is_empty(), TIMES)?;
        Ok(Expectation::Lateness(LatenessExpectation {
            phase: phase.name.clone(),
            of: event,
            items: items.ids,
            each,
            percentiles,
        }))
    }

    fn duration(&self, block: Located<DurationBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.traced_phase(block.phase, place)?;
        let of_choice = block.of.required("of", place)?;
        let of = duration_of(&of_choice)?;
        let of_phase = Located {
            value: phase,
            place: of_choice.place,
        };
        match of {
            DurationOf::Init => {
                has_items(of_phase)?;
                self.has_init(of_choice.place)?;
            }
            DurationOf::Item => {
                has_items(of_phase)?;
            }
            DurationOf::Function(_) => self.has_calls(of_choice.place)?,
        }
        let items = match of {
            DurationOf::Item => Items::of(phase, block.items)?.ids,
            DurationOf::Init | DurationOf::Function(_) => not_by_item(block.items)?,
        };
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
            phase: phase.name.clone(),
            of,
            items,
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
        let (from, to) = span(block.from, block.to, place, &[phase], self.load)?;
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
        let phase = self.phase(block.phase, place)?;
        Ok(Expectation::Concurrency(ConcurrencyExpectation {
            phase: phase.name.clone(),
            items: Items::of(phase, block.items)?.ids,
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
        let of = difference_of(block.of.required("of", place)?, &[first, second], self.load)?;
        let bounds = bounds(&block.min, &block.max)?;
        bounds_something(place, !bounds.is_empty(), "min, max")?;
        Ok(Expectation::Difference(DifferenceExpectation {
            of,
            between: (first.name.clone(), second.name.clone()),
            bounds,
        }))
    }

    /// Refuses what is about a load where nothing is loaded.
    fn has_init(&self, place: Place) -> Result<()> {
        match self.load {
            Load::Module => Ok(()),
            Load::BuiltIn => {
                let message =
                    "a workload in the kernel's image is not loaded, and has no init of its own";
                Err(Mistake::new(place, message).allow("windows between points of the boot"))
            }
        }
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
        self.has_init(place)?;
        Ok(Expectation::Load(LoadExpectation {
            phase: self.phase(block.phase, place)?.name.clone(),
            error: errno(&block.error.required("error", place)?)?,
        }))
    }

    fn error(&self, block: Located<ErrorBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        Ok(Expectation::Error(ErrorExpectation {
            phase: phase.name.clone(),
            items: Items::of(phase, block.items)?.ids,
            equals: error_or_none(&block.equals.required("equals", place)?)?,
        }))
    }

    fn level(&self, block: Located<LevelBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        if self.load == Load::Module {
            let message = "only a workload in the kernel's image has initcall levels";
            return Err(Mistake::new(place, message).allow("`load: built-in` at the top level"));
        }
        let phase = self.phase(block.phase, place)?;
        let equals = block.equals.required("equals", place)?;
        let table = Level::ALL.map(|level| (level.as_str(), level));
        Ok(Expectation::Level(LevelExpectation {
            phase: phase.name.clone(),
            items: Items::of(phase, block.items)?.ids,
            equals: one_of(equals.place, "level", &equals.value, &table)?,
        }))
    }

    fn attempts(&self, block: Located<AttemptsBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.phase(block.phase, place)?;
        Ok(Expectation::Attempts(AttemptsExpectation {
            phase: phase.name.clone(),
            items: Items::of(phase, block.items)?.ids,
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn growth(&self, block: Located<GrowthBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.any_phase(block.phase, place)?;
        if phase.value.rounds.is_none() {
            let message = format!("phase `{}` has no rounds to grow in", phase.value.name);
            return Err(Mistake::new(phase.place, message).allow("phases with `rounds`"));
        }
        let max = block.max.required("max", place)?;
        Ok(Expectation::Growth(GrowthExpectation {
            phase: phase.value.name.clone(),
            max: size(&max, Bytes(0)..=*MEMORY.end(), Bytes(1))?,
        }))
    }

    fn before(&self, block: Located<BeforeBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.traced_phase(block.phase, place)?;
        let first = block.first.required("first", place)?;
        let (first, then) = self.pair(first, block.then.required("then", place)?)?;
        Ok(Expectation::Before(BeforeExpectation {
            phase: phase.name.clone(),
            first,
            then,
        }))
    }

    fn call(&self, block: Located<CallBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.traced_phase(block.phase, place)?;
        self.has_calls(place)?;
        let below = spelled(&block.below.required("below", place)?, &FUNCTION)?;
        Ok(Expectation::Call(CallExpectation {
            phase: phase.name.clone(),
            of: self.occasion(block.function, block.event, block.r#where, place)?,
            below,
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn stack(&self, block: Located<StackBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let phase = self.traced_phase(block.phase, place)?;
        if !self.trace.has_stacks() {
            let message = "nothing has a stack trace";
            return Err(Mistake::new(place, message)
                .allow("`options: [stacktrace]` under trace, or a trigger stacktrace"));
        }
        let frames = block.frames.required("frames", place)?;
        Ok(Expectation::Stack(StackExpectation {
            phase: phase.name.clone(),
            of: self.occasion(block.function, block.event, block.r#where, place)?,
            frames: functions("frames", &frames)?,
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn latency(&self, block: Located<LatencyBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let tracer = self.trace.tracer;
        if !tracer.is_latency() {
            let message = format!("tracer {tracer} keeps no latency");
            return Err(Mistake::new(place, message).allow(
                "tracers wakeup, wakeup_rt, wakeup_dl, irqsoff, preemptoff, preemptirqsoff",
            ));
        }
        let ends = [block.started_at.place(), block.ended_at.place()];
        if let Some(place) = ends.into_iter().flatten().next()
            && !tracer.is_critical_section()
        {
            let message =
                format!("tracer {tracer} notes no function where a latency began or ended");
            return Err(
                Mistake::new(place, message).allow("tracers irqsoff, preemptoff, preemptirqsoff")
            );
        }
        let bounds = bounds(&block.min, &block.max)?;
        let function = |text: &Text| spelled(text, &FUNCTION);
        let expected = LatencyExpectation {
            bounds,
            started_at: block.started_at.read_if_given(function)?,
            ended_at: block.ended_at.read_if_given(function)?,
            task: block.task.read_if_given(|text| spelled(text, &TASK))?,
            shows: block
                .shows
                .read_if_given(|list| functions("shows", list))?
                .unwrap_or_default(),
        };
        let is_bound = !expected.words().is_empty();
        bounds_something(
            place,
            is_bound,
            "min, max, started-at, ended-at, task, shows",
        )?;
        Ok(Expectation::Latency(expected))
    }

    fn profile(&self, block: Located<ProfileBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        if !self.trace.function_profile {
            let message = "no function is profiled";
            return Err(Mistake::new(place, message).allow("`function-profile: true` under trace"));
        }
        let function = spelled(&block.function.required("function", place)?, &FUNCTION)?;
        let hits = match block.hits.0 {
            Some(Located { value: hits, place }) => {
                count_bounds(place, &hits.equals, &hits.at_least, &hits.at_most)?
            }
            None => CountBounds {
                at_least: None,
                at_most: None,
            },
        };
        let times = |given: Given<crate::file::BoundsBlock>| {
            let block = given.0.map(|block| block.value).unwrap_or_default();
            bounds(&block.min, &block.max)
        };
        let expected = ProfileExpectation {
            function,
            hits,
            time: times(block.time)?,
            average: times(block.average)?,
        };
        bounds_something(place, !expected.words().is_empty(), "hits, time, average")?;
        Ok(Expectation::Profile(expected))
    }

    fn stack_size(&self, block: Located<StackSizeBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        if !self.trace.stack_trace {
            let message = "nobody looks for the deepest stack";
            return Err(Mistake::new(place, message).allow("`stack-trace: true` under trace"));
        }
        let bound = |text: &Text| size(text, Bytes(0)..=LARGEST_STACK, Bytes(1));
        let expected = StackSizeExpectation {
            min: block.min.read_if_given(bound)?,
            max: block.max.read_if_given(bound)?,
            frames: block
                .frames
                .read_if_given(|list| functions("frames", list))?
                .unwrap_or_default(),
        };
        bounds_something(place, !expected.words().is_empty(), "min, max, frames")?;
        Ok(Expectation::StackSize(expected))
    }

    fn histogram(&self, block: Located<HistogramBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let text = block.event.required("event", place)?;
        let event = spelled(&text, &ONE_EVENT)?;
        if !self.trace.has_histogram(&event) {
            let message = format!("no trigger keeps a histogram of `{event}`");
            return Err(Mistake::new(text.place, message)
                .allow("events under trace with `triggers: [\"hist:keys=..\"]`"));
        }
        let entry = block.entry.read_if_given(|list| {
            has_entries("entry", list, 1..=MAX_KEYS)?;
            list.value.iter().map(histogram_key).collect()
        })?;
        let value = block.value.read_if_given(|text| spelled(text, &FIELD))?;
        Ok(Expectation::Histogram(HistogramExpectation {
            event,
            entry: entry.unwrap_or_default(),
            value: value.unwrap_or_else(|| "hitcount".to_owned()),
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    fn exit(&self, block: Located<ExitBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let equals = whole(&block.equals.required("equals", place)?, 0..=u8::MAX)?;
        Ok(Expectation::Exit(ExitExpectation {
            phase: self.command_phase(block.phase, place)?.name.clone(),
            equals,
        }))
    }

    fn output(&self, block: Located<OutputBlock>) -> Result<Expectation> {
        let Located {
            value: block,
            place,
        } = block;
        let contains = spelled(&block.contains.required("contains", place)?, &OUTPUT_TEXT)?;
        Ok(Expectation::Output(OutputExpectation {
            phase: self.command_phase(block.phase, place)?.name.clone(),
            contains,
            bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
        }))
    }

    /// Two sides that are paired: both by a key, or neither.
    fn pair(
        &self,
        first: Located<OccasionKeys>,
        second: Located<OccasionKeys>,
    ) -> Result<(KeyedOccasion, KeyedOccasion)> {
        let (first_place, second_place) = (first.place, second.place);
        let (first, second) = (self.keyed(first)?, self.keyed(second)?);
        let lacks = match (&first.key, &second.key) {
            (Some(_), None) => Some(second_place),
            (None, Some(_)) => Some(first_place),
            (Some(_), Some(_)) | (None, None) => None,
        };
        match lacks {
            None => Ok((first, second)),
            Some(place) => {
                let message = "the other side has a `key`, so one is missing here";
                Err(Mistake::new(place, message)
                    .allow("the field with the same value, such as next_pid"))
            }
        }
    }

    fn keyed(&self, keys: Located<OccasionKeys>) -> Result<KeyedOccasion> {
        let Located { value: keys, place } = keys;
        let key_place = keys.key.place();
        let key = keys.key.read_if_given(|text| spelled(text, &FIELD))?;
        let of = self.occasion(keys.function, keys.event, keys.r#where, place)?;
        if let (Occasion::Function(_), Some(key), Some(place)) = (&of, &key, key_place)
            && key != COMMON_PID
        {
            let message = format!("a function has no field `{key}`");
            return Err(Mistake::new(place, message).allow(COMMON_PID));
        }
        Ok(KeyedOccasion { of, key })
    }

    /// An event or a function; `place` is that of the map.
    fn occasion(
        &self,
        function: Given<String>,
        event: Given<String>,
        filter: Given<String>,
        place: Place,
    ) -> Result<Occasion> {
        match (function.0, event.0) {
            (None, Some(event)) => {
                self.records(&event)?;
                event_selection(&event, filter).map(Occasion::Event)
            }
            (Some(function), None) => {
                if let Some(place) = filter.place() {
                    let message = "a function has no fields to choose by";
                    return Err(Mistake::new(place, message).allow("`where` beside `event`"));
                }
                self.has_functions(function.place)?;
                spelled(&function, &FUNCTION).map(Occasion::Function)
            }
            (Some(_), Some(event)) => {
                let message = "both `function` and `event` are given";
                Err(Mistake::new(event.place, message).allow("one of them"))
            }
            (None, None) => {
                let message = "neither `event` nor `function` is given";
                Err(Mistake::new(place, message)
                    .allow("{ event: sched:sched_switch }, { function: schedule }"))
            }
        }
    }

    fn count_of(&self, of: Located<OccasionBlock>) -> Result<CountOf> {
        let Located { value, place } = of;
        let keys = match value {
            OccasionBlock::Named(name) => return item_count(&Located { value: name, place }),
            OccasionBlock::Keys(keys) => keys,
        };
        if let Some(place) = keys.key.place() {
            let message = "a count pairs nothing, so it has no key";
            return Err(Mistake::new(place, message).allow("event, where, function"));
        }
        Ok(
            match self.occasion(keys.function, keys.event, keys.r#where, place)? {
                Occasion::Event(event) => CountOf::Event(event),
                Occasion::Function(name) => CountOf::Function(name),
            },
        )
    }

    /// Refuses an event that no run would record.
    fn records(&self, event: &Text) -> Result<()> {
        let has_module = self.phases.iter().any(|phase| phase.command.is_none());
        let is_ours = Trace::OF_THE_MODULE
            .iter()
            .any(|recorded| is_covered(&event.value, recorded));
        if has_module && is_ours {
            return Ok(());
        }
        is_recorded(event, self.trace)
    }

    fn has_functions(&self, place: Place) -> Result<()> {
        keeps_records(place, self.trace)?;
        if self.trace.has_functions() {
            return Ok(());
        }
        let message = format!("tracer {} records no functions", self.trace.tracer);
        Err(Mistake::new(place, message).allow("tracers function_graph and function"))
    }

    fn has_calls(&self, place: Place) -> Result<()> {
        keeps_records(place, self.trace)?;
        if self.trace.has_calls() {
            return Ok(());
        }
        let message = format!(
            "tracer {} records no returns of functions",
            self.trace.tracer
        );
        Err(Mistake::new(place, message).allow("`tracer: function_graph`"))
    }

    fn counts_nanoseconds(&self, place: Place) -> Result<()> {
        let clock = self.trace.clock;
        if clock.counts_nanoseconds() {
            return Ok(());
        }
        let message = format!("clock {} counts no nanoseconds", clock.as_str());
        Err(Mistake::new(place, message).allow("local, global, perf, mono, mono_raw, boot, tai"))
    }

    /// The phase an entry names, or the only one there is; `place` is the entry's. It has a workload with items.
    fn phase(&self, given: Given<String>, place: Place) -> Result<&Phase> {
        let phase = has_one_workload(self.any_phase(given, place)?)?;
        has_items(Located {
            value: phase,
            place,
        })
    }

    /// The same, with a workload or a command.
    fn traced_phase(&self, given: Given<String>, place: Place) -> Result<&Phase> {
        has_one_workload(self.any_phase(given, place)?)
    }

    /// The same, with a command.
    fn command_phase(&self, given: Given<String>, place: Place) -> Result<&Phase> {
        let phase = self.any_phase(given, place)?;
        if phase.value.command.is_some() {
            return Ok(phase.value);
        }
        let message = format!("phase `{}` runs no command", phase.value.name);
        Err(Mistake::new(phase.place, message).allow("phases with `command`"))
    }

    /// The same, with one workload or rounds; at the place of its name, or else of the entry.
    fn any_phase(&self, given: Given<String>, place: Place) -> Result<Located<&Phase>> {
        match (given.0, self.phases) {
            (Some(name), _) => self.named_phase(&name),
            (None, [only]) => Ok(Located { value: only, place }),
            (None, _) => {
                let message = "there are several phases, but key `phase` is missing here";
                Err(Mistake::new(place, message).allow(self.phase_names().join(", ")))
            }
        }
    }

    fn named_phase(&self, name: &Text) -> Result<Located<&Phase>> {
        let phase = self.phases.iter().find(|phase| phase.name == name.value);
        let place = name.place;
        phase
            .map(|value| Located { value, place })
            .ok_or_else(|| Mistake::unknown_name(place, "phase", &name.value, &self.phase_names()))
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
        Ok((
            has_one_workload(self.named_phase(first)?)?,
            has_one_workload(self.named_phase(second)?)?,
        ))
    }
}

/// Refuses a phase with rounds: nothing is recorded of their items and their loads.
fn has_one_workload(phase: Located<&Phase>) -> Result<&Phase> {
    if phase.value.rounds.is_none() {
        return Ok(phase.value);
    }
    let message = format!(
        "phase `{}` has rounds, of which nothing is traced",
        phase.value.name
    );
    Err(Mistake::new(phase.place, message).allow("growth, or phases with `workload`"))
}

/// Refuses a phase that runs a command, where items are needed.
fn has_items(phase: Located<&Phase>) -> Result<&Phase> {
    if phase.value.command.is_none() {
        return Ok(phase.value);
    }
    let message = format!(
        "phase `{}` runs a command, and has no items",
        phase.value.name
    );
    Err(Mistake::new(phase.place, message)
        .allow("expectations on events and functions, exit, output, log"))
}

/// Refuses to ask for records where a snapshot may have taken them away.
fn keeps_records(place: Place, trace: &Trace) -> Result<()> {
    if !trace.takes_snapshots() {
        return Ok(());
    }
    let message = "a snapshot takes away the records up to it";
    Err(Mistake::new(place, message).allow("`output` of a command that reads the file `snapshot`"))
}

/// Refuses an event that a trace does not have.
pub(super) fn is_recorded(event: &Text, trace: &Trace) -> Result<()> {
    if trace.tracer.is_latency() {
        let message = format!(
            "tracer {} keeps the records of its longest latency only",
            trace.tracer
        );
        return Err(Mistake::new(event.place, message).allow("`latency: { shows: [..] }`"));
    }
    keeps_records(event.place, trace)?;
    // The boot configuration may arm more, and a run whose trace has no such event is not judged.
    let is_known = event.value == MARKER_EVENT
        || trace.since == Since::Boot
        || trace.tracer.own_events().contains(&event.value.as_str())
        || trace
            .events_recorded()
            .any(|recorded| is_covered(&event.value, recorded));
    if is_known || !crate::syntax::is_one_event(&event.value) {
        // What is no event at all is refused as such.
        return Ok(());
    }
    let message = format!("event `{}` is not recorded", event.value);
    let own = trace.tracer.own_events().iter().copied();
    let events: Vec<&str> = trace.events_recorded().chain(own).collect();
    let allowed = match events.as_slice() {
        [] => "the events of `trace.events`, of which there are none".to_owned(),
        events => format!("the events of `trace`: {}", some_of(events)),
    };
    Err(Mistake::new(event.place, message).allow(allowed))
}

/// Whether `system:event` is one of `system`, `system:event`, or of a glob.
fn is_covered(event: &str, recorded: &str) -> bool {
    let (Some((system, name)), (of_system, of_name)) = (
        event.split_once(':'),
        recorded.split_once(':').unwrap_or((recorded, "*")),
    ) else {
        return false;
    };
    glob_matches(of_system, system) && glob_matches(of_name, name)
}

/// Whether a glob with `*` and `?` matches all of a text.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    // The places to go back to: behind the last `*`, and how much of the text it has taken.
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < text.len() {
        match (glob.get(at), text.get(read)) {
            (Some(b'*'), _) => {
                star = Some((at + 1, read));
                at += 1;
            }
            (Some(one), Some(other)) if *one == b'?' || one == other => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((behind, taken)) => {
                    (at, read) = (behind, taken + 1);
                    star = Some((behind, taken + 1));
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(at).all(|byte| *byte == b'*')
}

/// One event, and which of its records.
pub(super) fn event_selection(event: &Text, given: Given<String>) -> Result<EventSelection> {
    Ok(EventSelection {
        event: spelled(event, &ONE_EVENT)?,
        filter: given.read_if_given(filter)?,
    })
}

/// A list of names of functions.
fn functions(key: &str, list: &Located<Vec<Text>>) -> Result<Vec<String>> {
    has_entries(key, list, 1..=MAX_LISTED)?;
    list.value
        .iter()
        .map(|text| spelled(text, &FUNCTION))
        .collect()
}

/// `field = value`, as a histogram shows it.
fn histogram_key(text: &Text) -> Result<(String, String)> {
    let line = spelled(text, &OUTPUT_TEXT)?;
    match line.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(
            Mistake::new(text.place, format!("`{line}` is no key of an entry"))
                .allow("`field = value`, as the histogram shows it"),
        ),
    }
}

/// What may bound the times of items.
const TIMES: &str = "min, max, percentiles";

/// What an entry expects: exactly one key has to be given.
fn only_key(entry: Located<ExpectBlock>) -> Result<Entry> {
    const ALLOWED: &str = "count, order, interval, lateness, duration, window, concurrency, \
                           difference, leaks, load, error, attempts, log, level, growth, before, \
                           call, stack, latency, profile, stack-size, histogram, exit, output";
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
        block.error.0.map(Entry::Error),
        block.attempts.0.map(Entry::Attempts),
        block.log.0.map(Entry::Log),
        block.level.0.map(Entry::Level),
        block.growth.0.map(Entry::Growth),
        block.before.0.map(Entry::Before),
        block.call.0.map(Entry::Call),
        block.stack.0.map(Entry::Stack),
        block.latency.0.map(Entry::Latency),
        block.profile.0.map(Entry::Profile),
        block.stack_size.0.map(Entry::StackSize),
        block.histogram.0.map(Entry::Histogram),
        block.exit.0.map(Entry::Exit),
        block.output.0.map(Entry::Output),
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

/// What is counted of items.
fn item_count(text: &Text) -> Result<CountOf> {
    let table = [
        ("armed", Some(&CountOf::Armed)),
        ("queued", Some(&CountOf::Queued)),
        ("started", Some(&CountOf::Started)),
        ("retried", Some(&CountOf::Retried)),
        ("ended", Some(&CountOf::Ended)),
        ("cancelled", Some(&CountOf::Cancelled)),
        ("function", None),
        ("event", None),
    ];
    match one_of(text.place, "subject", &text.value, &table)? {
        Some(of) => Ok(of.clone()),
        None => {
            let name = &text.value;
            let message = format!("`{name}` needs the name of one");
            Err(Mistake::new(text.place, message)
                .allow("{ function: deferred_item_body }, { event: sched:sched_switch }"))
        }
    }
}

/// What an item needs to be counted; `None` where it is no items that are counted.
fn counted(of: &CountOf) -> Option<Need> {
    match of {
        CountOf::Armed => Some(Need::of(ItemEvent::Armed)),
        CountOf::Queued => Some(Need::of(ItemEvent::Queued)),
        CountOf::Started => Some(Need::of(ItemEvent::Started)),
        CountOf::Retried => Some(Need::RETRIES),
        CountOf::Ended => Some(Need::of(ItemEvent::Ended)),
        CountOf::Cancelled => Some(Need::of(ItemEvent::Cancelled)),
        CountOf::Function(_) | CountOf::Event(_) => None,
    }
}

/// Refuses a choice of items for what is no item's.
fn not_by_item(items: Given<Vec<Text>>) -> Result<Option<Vec<u32>>> {
    match items.place() {
        None => Ok(None),
        Some(place) => {
            let message = "this is not about items, so there are none to choose";
            Err(Mistake::new(place, message).allow("no `items`"))
        }
    }
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

fn difference_of(
    block: Located<DifferenceOfBlock>,
    phases: &[&Phase],
    load: Load,
) -> Result<DifferenceOf> {
    let Located {
        value: block,
        place,
    } = block;
    match (block.duration.0, block.window.0) {
        (Some(duration), None) if load == Load::BuiltIn => {
            let message = "a workload in the kernel's image has no init of its own";
            Err(Mistake::new(duration.place, message).allow("window"))
        }
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
            let (from, to) = span(from, to, place, phases, load)?;
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
    load: Load,
) -> Result<(Point, Point)> {
    let from = point(&from.required("from", place)?, phases, load)?;
    let to_text = to.required("to", place)?;
    let to = point(&to_text, phases, load)?;
    if from == to {
        let message = format!("a window from {from} to {to} is always 0");
        return Err(Mistake::new(to_text.place, message).allow("a point other than `from`"));
    }
    Ok((from, to))
}

fn point(text: &Text, phases: &[&Phase], load: Load) -> Result<Point> {
    let table = Point::ALL.map(|point| (point.as_str(), point));
    let point = one_of(text.place, "point", &text.value, &table)?;
    if !point.is_of(load) {
        let points = Point::ALL.into_iter().filter(|point| point.is_of(load));
        let names: Vec<&str> = points.map(Point::as_str).collect();
        let message = format!("a phase with `load: {load}` has no point `{point}`");
        return Err(Mistake::new(text.place, message).allow(names.join(", ")));
    }
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

fn item_event(text: &Text, items: &Items<'_>) -> Result<ItemEvent> {
    let event = one_of(text.place, "event", &text.value, &events(&ItemEvent::ALL))?;
    items.each_can(text.place, &Need::of(event))?;
    Ok(event)
}

fn id_order(ids: Located<IdsBlock>, phase: &Phase, by: Place, need: &Need) -> Result<IdOrder> {
    let name = match ids.value {
        IdsBlock::Named(name) => name,
        IdsBlock::Listed(texts) => return listed_ids(ids.place, texts, phase, by, need),
    };
    let table = [("ascending", true), ("descending", false)];
    let is_ascending = one_of(ids.place, "order", &name, &table)
        .map_err(|mistake| mistake.allow("ascending, descending, or a list such as [3, 1, 2]"))?;
    Items::all(phase).each_can(by, need)?;
    Ok(if is_ascending {
        IdOrder::Ascending
    } else {
        IdOrder::Descending
    })
}

fn listed_ids(
    place: Place,
    texts: Vec<Text>,
    phase: &Phase,
    by: Place,
    need: &Need,
) -> Result<IdOrder> {
    let list = Located {
        value: texts,
        place,
    };
    has_entries("ids", &list, 2..=MAX_LISTED)?;
    let items = Items::of(phase, Given(Some(list)))?;
    items.each_can(by, need)?;
    Ok(IdOrder::Listed(items.ids.unwrap_or_default()))
}

fn log(block: Located<LogBlock>) -> Result<Expectation> {
    let Located {
        value: block,
        place,
    } = block;
    Ok(Expectation::Log(LogExpectation {
        contains: spelled(&block.contains.required("contains", place)?, &LOG_TEXT)?,
        bounds: count_bounds(place, &block.equals, &block.at_least, &block.at_most)?,
    }))
}

fn error_or_none(text: &Text) -> Result<Option<Errno>> {
    if text.value == "none" {
        return Ok(None);
    }
    errno(text)
        .map(Some)
        .map_err(|mistake| mistake.allow(format!("none, or {ERRNOS}")))
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
