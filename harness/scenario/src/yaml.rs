// SPDX-License-Identifier: GPL-2.0-only

//! Reads YAML text into located values, and puts the parser's complaints into a user's words.
//!
//! In: UTF-8 text. Out: any `Deserialize` type, or a mistake with its place.
//! The only file that names the YAML crate. Anchors, aliases, merge keys, tags and several documents in one
//! file are refused, so no input grows while it is read.
//! Source: YAML 1.2.2, <https://yaml.org/spec/1.2.2/>.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::{
    DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, MessageFormatter, Options, Spanned,
};
use serde_yaml::{UserMessageFormatter, budget, options};

use crate::error::{Mistake, Place};

/// A value and where it stands in the file.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self {
            place: place(spanned.referenced),
            value: spanned.value,
        })
    }
}

/// The most nodes (scalars, lists, maps) a file may have: about 20 for each item of the largest plan.
const MAX_NODES: usize = 80_000;

/// The deepest nesting: file > `phases` > entry > `workload` > `plan` > item > `body` > action > `modify` is 9.
const MAX_DEPTH: usize = 12;

/// What to write instead of anchors, aliases and merge keys.
const WRITTEN_OUT: &str = "the value itself, written out";

/// Reads one YAML document.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    serde_yaml::from_str_with_options(text, strict()).map_err(|error| mistake(&error))
}

/// Options under which a file means one thing only.
fn strict() -> Options {
    options! {
        budget: budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn place(location: Location) -> Place {
    if location == Location::UNKNOWN {
        return Place::START;
    }
    Place {
        line: location.line(),
        column: location.column(),
    }
}

/// Puts an error of the YAML crate into the words of a scenario file.
fn mistake(error: &Error) -> Mistake {
    let place = error.location().map_or(Place::START, place);
    match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => Mistake::unknown_name(place, "key", field, expected),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            Mistake::new(place, format!("key `{key}` is given twice"))
        }
        Error::NullIntoString { .. } => Mistake::new(place, "a value is missing"),
        Error::Unexpected { expected, .. } => {
            Mistake::new(place, format!("expected {}", shape(expected)))
        }
        Error::SerdeInvalidType { expected, .. } => {
            Mistake::new(place, format!("expected {expected}"))
        }
        Error::MergeKeyNotAllowed { .. } => {
            Mistake::new(place, "merge keys are not allowed").allow(WRITTEN_OUT)
        }
        Error::UnsupportedTag { tag, .. } => {
            Mistake::new(place, format!("the tag {tag} is not allowed")).allow("plain values")
        }
        Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            Mistake::new(place, "tags are not allowed").allow("plain values")
        }
        Error::Budget { breach, .. } => over_budget(place, breach),
        other => Mistake::new(place, UserMessageFormatter.format_message(other)),
    }
}

/// The user's word for what the YAML crate expected.
fn shape(expected: &str) -> &str {
    match expected {
        "mapping start" => "a map, that is `key: value` lines",
        "sequence start" => "a list, that is `- entry` lines or [entry, entry]",
        "string scalar" => "a single value",
        other => other,
    }
}

fn over_budget(place: Place, breach: &BudgetBreach) -> Mistake {
    match breach {
        BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
            Mistake::new(place, "anchors and aliases are not allowed").allow(WRITTEN_OUT)
        }
        BudgetBreach::Depth { .. } => {
            Mistake::new(place, "nested too deeply").allow(format!("{MAX_DEPTH} levels"))
        }
        BudgetBreach::Documents { .. } => {
            Mistake::new(place, "a second document begins").allow("one document in a file")
        }
        BudgetBreach::Nodes { .. } => {
            Mistake::new(place, "too many values").allow(format!("at most {MAX_NODES}"))
        }
        other => Mistake::new(place, format!("too large or too complex: {other:?}")),
    }
}
