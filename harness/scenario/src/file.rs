// SPDX-License-Identifier: GPL-2.0-only

//! The shape of a scenario file: its keys and where they may stand, before any value is understood.
//!
//! In: YAML. Out: texts with their places. Scalars stay the text that was written, so YAML's own ideas of numbers
//! and booleans do not apply. `lower` gives the texts their meaning.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::yaml::Located;

/// A scalar as written.
pub(crate) type Text = Located<String>;

/// A key's value, if the key is there. A key without a value is a mistake, not an absent key.
#[derive(Clone, Debug)]
pub(crate) struct Given<T>(pub(crate) Option<Located<T>>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// A list whose entries know their places.
pub(crate) type List<T> = Vec<Located<T>>;

/// `name`, or `{ name: value }`.
///
/// Not a derived enum: given a bare name where a value is due, the YAML crate would take the value from what comes
/// next in the file.
#[derive(Debug)]
pub(crate) struct Choice<T> {
    pub(crate) name: String,
    pub(crate) value: Option<Located<T>>,
}

/// What an action is given.
#[derive(Debug)]
pub(crate) enum ActionValue {
    Text(Text),
    Modify(Located<ModifyBlock>),
}

/// `name`, or `{ name: value }`; the name tells the shape of the value.
#[derive(Debug)]
pub(crate) struct ActionBlock {
    pub(crate) name: String,
    pub(crate) value: Option<ActionValue>,
}

/// An action, or a list of actions.
#[derive(Debug)]
pub(crate) enum BodyBlock {
    One(ActionBlock),
    Listed(List<ActionBlock>),
}

/// The name of an order, or a list of ids or names.
#[derive(Debug)]
pub(crate) enum IdsBlock {
    Named(String),
    Listed(Vec<Text>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ScenarioFile {
    pub(crate) summary: Given<String>,
    pub(crate) clock: Given<String>,
    pub(crate) machine: Given<MachineBlock>,
    pub(crate) trace: Given<TraceBlock>,
    pub(crate) deadline: Given<String>,
    pub(crate) workload: Given<WorkloadBlock>,
    pub(crate) rounds: Given<RoundsBlock>,
    pub(crate) until: Given<Choice<String>>,
    pub(crate) load: Given<String>,
    pub(crate) phases: Given<List<PhaseBlock>>,
    pub(crate) command: Given<String>,
    pub(crate) expect: Given<List<ExpectBlock>>,
    pub(crate) show: Given<List<Choice<OccasionKeys>>>,
    pub(crate) vary: Given<VaryBlock>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct VaryBlock {
    pub(crate) cpus: Given<String>,
    pub(crate) shift: Given<String>,
    pub(crate) debug_force_rr_cpu: Given<String>,
    pub(crate) wait: Given<String>,
    pub(crate) order: Given<List<MoveBlock>>,
    pub(crate) delays: Given<List<CallDelayBlock>>,
    pub(crate) times: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct MoveBlock {
    pub(crate) phase: Given<String>,
    pub(crate) item: Given<String>,
    pub(crate) before: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct CallDelayBlock {
    pub(crate) phase: Given<String>,
    pub(crate) function: Given<String>,
    pub(crate) call: Given<String>,
    pub(crate) delay: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct MachineBlock {
    pub(crate) name: Given<String>,
    pub(crate) cpus: Given<String>,
    pub(crate) memory: Given<String>,
    pub(crate) command_line: Given<Vec<Text>>,
    pub(crate) boot_config: Given<Vec<Text>>,
    pub(crate) devices: Given<Vec<Text>>,
    pub(crate) add: Given<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct TraceBlock {
    pub(crate) since: Given<String>,
    pub(crate) tracer: Given<String>,
    pub(crate) functions: Given<Vec<Text>>,
    pub(crate) not_functions: Given<Vec<Text>>,
    pub(crate) graph_functions: Given<Vec<Text>>,
    pub(crate) not_graph_functions: Given<Vec<Text>>,
    pub(crate) graph_depth: Given<String>,
    pub(crate) threshold: Given<String>,
    pub(crate) pids: Given<Vec<Text>>,
    pub(crate) not_pids: Given<Vec<Text>>,
    pub(crate) event_pids: Given<Vec<Text>>,
    pub(crate) not_event_pids: Given<Vec<Text>>,
    pub(crate) events: Given<List<EventBlock>>,
    pub(crate) function_triggers: Given<Vec<Text>>,
    pub(crate) probes: Given<Vec<Text>>,
    pub(crate) synthetic: Given<Vec<Text>>,
    pub(crate) options: Given<Vec<Text>>,
    pub(crate) clock: Given<String>,
    pub(crate) buffer: Given<String>,
    pub(crate) sub_buffer: Given<String>,
    pub(crate) function_profile: Given<String>,
    pub(crate) stack_trace: Given<String>,
}

/// An event, or one with what is done about it.
#[derive(Debug)]
pub(crate) enum EventBlock {
    Named(String),
    Keys(EventKeys),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct EventKeys {
    pub(crate) event: Given<String>,
    pub(crate) filter: Given<String>,
    pub(crate) triggers: Given<Vec<Text>>,
}

/// What happens in a trace: by a name, or as an event or a function.
#[derive(Debug)]
pub(crate) enum OccasionBlock {
    Named(String),
    Keys(OccasionKeys),
}

/// An event or a function; which keys have a meaning depends on where it stands.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct OccasionKeys {
    pub(crate) event: Given<String>,
    pub(crate) r#where: Given<String>,
    pub(crate) function: Given<String>,
    pub(crate) key: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct PhaseBlock {
    pub(crate) name: Given<String>,
    pub(crate) workload: Given<WorkloadBlock>,
    pub(crate) rounds: Given<RoundsBlock>,
    pub(crate) command: Given<String>,
    pub(crate) until: Given<Choice<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct RoundsBlock {
    pub(crate) count: Given<String>,
    pub(crate) seed: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct WorkloadBlock {
    pub(crate) mode: Given<String>,
    pub(crate) items: Given<String>,
    pub(crate) body: Given<BodyBlock>,
    pub(crate) delay: Given<String>,
    pub(crate) step: Given<String>,
    pub(crate) arrangement: Given<String>,
    pub(crate) queue: Given<Choice<OwnQueueBlock>>,
    pub(crate) cpu: Given<String>,
    pub(crate) runs: Given<String>,
    pub(crate) defer: Given<String>,
    pub(crate) async_probe: Given<String>,
    pub(crate) plan: Given<List<PlannedItemBlock>>,
    pub(crate) queues: Given<List<QueueBlock>>,
    pub(crate) start: Given<String>,
    pub(crate) fault: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct PlannedItemBlock {
    pub(crate) name: Given<String>,
    pub(crate) mode: Given<String>,
    pub(crate) body: Given<BodyBlock>,
    pub(crate) delay: Given<String>,
    pub(crate) queue: Given<Choice<OwnQueueBlock>>,
    pub(crate) cpu: Given<String>,
    pub(crate) runs: Given<String>,
    pub(crate) defer: Given<String>,
    pub(crate) async_probe: Given<String>,
    pub(crate) after: Given<Vec<Text>>,
    pub(crate) suppliers: Given<Vec<Text>>,
    pub(crate) level: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct QueueBlock {
    pub(crate) name: Given<String>,
    pub(crate) flags: Given<Vec<Text>>,
    pub(crate) max_active: Given<String>,
    pub(crate) affinity_scope: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ModifyBlock {
    pub(crate) item: Given<String>,
    pub(crate) delay: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct OwnQueueBlock {
    pub(crate) max_active: Given<String>,
}

/// An entry of `expect`; exactly one key may be given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ExpectBlock {
    pub(crate) count: Given<CountBlock>,
    pub(crate) order: Given<OrderBlock>,
    pub(crate) interval: Given<IntervalBlock>,
    pub(crate) lateness: Given<LatenessBlock>,
    pub(crate) duration: Given<DurationBlock>,
    pub(crate) window: Given<WindowBlock>,
    pub(crate) concurrency: Given<ConcurrencyBlock>,
    pub(crate) difference: Given<DifferenceBlock>,
    pub(crate) leaks: Given<LeaksBlock>,
    pub(crate) load: Given<LoadBlock>,
    pub(crate) error: Given<ErrorBlock>,
    pub(crate) attempts: Given<AttemptsBlock>,
    pub(crate) log: Given<LogBlock>,
    pub(crate) level: Given<LevelBlock>,
    pub(crate) growth: Given<GrowthBlock>,
    pub(crate) before: Given<BeforeBlock>,
    pub(crate) call: Given<CallBlock>,
    pub(crate) stack: Given<StackBlock>,
    pub(crate) latency: Given<LatencyBlock>,
    pub(crate) profile: Given<ProfileBlock>,
    pub(crate) stack_size: Given<StackSizeBlock>,
    pub(crate) histogram: Given<HistogramBlock>,
    pub(crate) exit: Given<ExitBlock>,
    pub(crate) output: Given<OutputBlock>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct BeforeBlock {
    pub(crate) phase: Given<String>,
    pub(crate) first: Given<OccasionKeys>,
    pub(crate) then: Given<OccasionKeys>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct CallBlock {
    pub(crate) phase: Given<String>,
    pub(crate) function: Given<String>,
    pub(crate) event: Given<String>,
    pub(crate) r#where: Given<String>,
    pub(crate) below: Given<String>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct StackBlock {
    pub(crate) phase: Given<String>,
    pub(crate) function: Given<String>,
    pub(crate) event: Given<String>,
    pub(crate) r#where: Given<String>,
    pub(crate) frames: Given<Vec<Text>>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct LatencyBlock {
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
    pub(crate) started_at: Given<String>,
    pub(crate) ended_at: Given<String>,
    pub(crate) task: Given<String>,
    pub(crate) shows: Given<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ProfileBlock {
    pub(crate) function: Given<String>,
    pub(crate) hits: Given<CountBoundsBlock>,
    pub(crate) time: Given<BoundsBlock>,
    pub(crate) average: Given<BoundsBlock>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct CountBoundsBlock {
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct BoundsBlock {
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct StackSizeBlock {
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
    pub(crate) frames: Given<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct HistogramBlock {
    pub(crate) event: Given<String>,
    pub(crate) entry: Given<Vec<Text>>,
    pub(crate) value: Given<String>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ExitBlock {
    pub(crate) phase: Given<String>,
    pub(crate) equals: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct OutputBlock {
    pub(crate) phase: Given<String>,
    pub(crate) contains: Given<String>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct CountBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) of: Given<OccasionBlock>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct OrderBlock {
    pub(crate) phase: Given<String>,
    pub(crate) by: Given<String>,
    pub(crate) ids: Given<IdsBlock>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct IntervalBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) from: Given<OccasionBlock>,
    pub(crate) to: Given<OccasionBlock>,
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
    pub(crate) percentiles: Given<List<PercentileBlock>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct LatenessBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) of: Given<String>,
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
    pub(crate) percentiles: Given<List<PercentileBlock>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct PercentileBlock {
    pub(crate) p: Given<String>,
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct DurationBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) of: Given<Choice<String>>,
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
    pub(crate) total_max: Given<String>,
    pub(crate) percentiles: Given<List<PercentileBlock>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct WindowBlock {
    pub(crate) phase: Given<String>,
    pub(crate) from: Given<String>,
    pub(crate) to: Given<String>,
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ConcurrencyBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct DifferenceBlock {
    pub(crate) of: Given<DifferenceOfBlock>,
    pub(crate) between: Given<Vec<Text>>,
    pub(crate) min: Given<String>,
    pub(crate) max: Given<String>,
}

/// What `difference` compares; exactly one key may be given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct DifferenceOfBlock {
    pub(crate) duration: Given<String>,
    pub(crate) window: Given<SpanBlock>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct SpanBlock {
    pub(crate) from: Given<String>,
    pub(crate) to: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct LeaksBlock {
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct LoadBlock {
    pub(crate) phase: Given<String>,
    pub(crate) error: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ErrorBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) equals: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct LevelBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) equals: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct GrowthBlock {
    pub(crate) phase: Given<String>,
    pub(crate) max: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct AttemptsBlock {
    pub(crate) phase: Given<String>,
    pub(crate) items: Given<Vec<Text>>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct LogBlock {
    pub(crate) contains: Given<String>,
    pub(crate) equals: Given<String>,
    pub(crate) at_least: Given<String>,
    pub(crate) at_most: Given<String>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Located::deserialize(deserializer).map(|located| Self(Some(located)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoiceVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for ActionBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ActionVisitor)
    }
}

impl<'de> Deserialize<'de> for BodyBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

impl<'de> Deserialize<'de> for IdsBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdsVisitor)
    }
}

impl<'de> Deserialize<'de> for EventBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventVisitor)
    }
}

impl<'de> Deserialize<'de> for OccasionBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OccasionVisitor)
    }
}

/// Visits every kind of scalar as a name, so that `lower` refuses it at its own place and says what is allowed.
macro_rules! visit_scalars_as_names {
    ($name:path, $value:ty) => {
        fn visit_str<E>(self, name: &str) -> Result<$value, E> {
            Ok($name(name.to_owned()))
        }

        fn visit_bool<E>(self, value: bool) -> Result<$value, E> {
            Ok($name(value.to_string()))
        }

        fn visit_i64<E>(self, value: i64) -> Result<$value, E> {
            Ok($name(value.to_string()))
        }

        fn visit_u64<E>(self, value: u64) -> Result<$value, E> {
            Ok($name(value.to_string()))
        }

        fn visit_f64<E>(self, value: f64) -> Result<$value, E> {
            Ok($name(value.to_string()))
        }

        fn visit_unit<E>(self) -> Result<$value, E> {
            Ok($name(String::new()))
        }
    };
}

struct ChoiceVisitor<T>(PhantomData<T>);

impl<T> Choice<T> {
    fn bare(name: String) -> Self {
        Self { name, value: None }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ChoiceVisitor<T> {
    type Value = Choice<T>;

    visit_scalars_as_names!(Choice::bare, Choice<T>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or one `name: value`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Choice<T>, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Ok(Choice::bare(String::new()));
        };
        let value = Some(map.next_value()?);
        has_one_key(&name, map)?;
        Ok(Choice { name, value })
    }
}

/// Refuses a second key in a map whose first one has been read.
fn has_one_key<'de, A: MapAccess<'de>>(first: &str, mut map: A) -> Result<(), A::Error> {
    match map.next_key::<String>()? {
        None => Ok(()),
        Some(second) => Err(A::Error::custom(format_args!(
            "`{second}` stands beside `{first}`, but only one key may be given"
        ))),
    }
}

struct ActionVisitor;

impl ActionBlock {
    fn bare(name: String) -> Self {
        Self { name, value: None }
    }
}

impl<'de> Visitor<'de> for ActionVisitor {
    type Value = ActionBlock;

    visit_scalars_as_names!(ActionBlock::bare, ActionBlock);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an action, that is a name or one `name: value`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ActionBlock, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Ok(ActionBlock::bare(String::new()));
        };
        let value = Some(match name.as_str() {
            "modify" => ActionValue::Modify(map.next_value()?),
            _ => ActionValue::Text(map.next_value()?),
        });
        has_one_key(&name, map)?;
        Ok(ActionBlock { name, value })
    }
}

struct BodyVisitor;

impl BodyBlock {
    fn bare(name: String) -> Self {
        Self::One(ActionBlock::bare(name))
    }
}

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = BodyBlock;

    visit_scalars_as_names!(BodyBlock::bare, BodyBlock);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an action, that is a name or one `name: value`, or a list of actions")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BodyBlock, A::Error> {
        ActionVisitor.visit_map(map).map(BodyBlock::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<BodyBlock, A::Error> {
        let mut actions = Vec::new();
        while let Some(action) = list.next_element()? {
            actions.push(action);
        }
        Ok(BodyBlock::Listed(actions))
    }
}

struct IdsVisitor;

impl<'de> Visitor<'de> for IdsVisitor {
    type Value = IdsBlock;

    visit_scalars_as_names!(IdsBlock::Named, IdsBlock);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ascending, descending, or a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<IdsBlock, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = list.next_element()? {
            ids.push(id);
        }
        Ok(IdsBlock::Listed(ids))
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = EventBlock;

    visit_scalars_as_names!(EventBlock::Named, EventBlock);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, or a map with `event`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EventBlock, A::Error> {
        EventKeys::deserialize(MapAccessDeserializer::new(map)).map(EventBlock::Keys)
    }
}

struct OccasionVisitor;

impl<'de> Visitor<'de> for OccasionVisitor {
    type Value = OccasionBlock;

    visit_scalars_as_names!(OccasionBlock::Named, OccasionBlock);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a map with `event` or `function`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OccasionBlock, A::Error> {
        OccasionKeys::deserialize(MapAccessDeserializer::new(map)).map(OccasionBlock::Keys)
    }
}
