// SPDX-License-Identifier: GPL-2.0-only

//! What a run left beside its trace, for the commands that analyse one.
//!
//! In: the path of a trace. Out: its phases, the names of its items, the limits of its queues, HZ and its clock. A trace
//! that is no run's has nothing beside it, and that is no error.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deferinit_analysis::{Beside, ItemNames, PhaseNames};
use deferinit_scenario::{Arrangement, Clock, Scenario, Shape, Workload};
use deferinit_timeline::{PhaseSpan, Timeline};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::Failure;

/// What belongs to a trace.
#[derive(Debug, Default)]
pub(crate) struct RunFolder {
    /// `plan.json`.
    pub(crate) scenario: Option<Scenario>,
    /// `timeline.json`.
    pub(crate) timeline: Option<Timeline>,
    /// `build.json`, as it is.
    pub(crate) build: Option<serde_json::Value>,
    /// `vm/argv`.
    pub(crate) argv: Option<String>,
    /// Of a workload in the kernel's image: the phase whose boot the trace is of.
    pub(crate) boot: Option<String>,
}

impl RunFolder {
    /// Finds what belongs to the trace at `path`, which is `RUN/trace/trace.dat`, or `RUN/PHASE/trace/trace.dat` where
    /// each phase is a boot.
    ///
    /// # Errors
    /// A file of the run is there and cannot be read.
    pub(crate) fn of_trace(path: &Path) -> Result<Self, Failure> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let Some(boot) = path.parent().and_then(Path::parent) else {
            return Ok(Self::default());
        };
        if boot.join("plan.json").is_file() {
            return Self::read(boot, None);
        }
        let phase = boot
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        match boot.parent().filter(|run| run.join("plan.json").is_file()) {
            Some(run) => Self::read(run, phase),
            None => Ok(Self::default()),
        }
    }

    /// Reads the folder of a run; of a workload in the kernel's image, for the boot of one phase.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(crate) fn read(folder: &Path, boot: Option<String>) -> Result<Self, Failure> {
        let run = Self {
            scenario: json(&folder.join("plan.json"))?,
            timeline: json(&folder.join("timeline.json"))?,
            build: json(&folder.join("build.json"))?,
            // A run that could not be started has none.
            argv: fs::read_to_string(vm_of(folder, boot.as_deref())).ok(),
            boot,
        };
        Ok(run)
    }

    /// Whether time in it is the guest's alone.
    pub(crate) fn is_exact(&self) -> bool {
        self.scenario
            .as_ref()
            .is_some_and(|scenario| scenario.clock == Clock::Exact)
    }

    /// HZ of its kernel.
    pub(crate) fn hz(&self) -> Option<u32> {
        let hz = self.build.as_ref()?.get("kernel")?.get("hz")?.as_u64()?;
        u32::try_from(hz).ok()
    }

    /// What an analysis wants to know.
    pub(crate) fn beside(&self, hz: Option<u32>) -> Beside {
        Beside {
            phases: self.phases(),
            max_active: self.max_active(),
            hz: hz.or(self.hz()),
        }
    }

    /// The phases that the trace is of.
    pub(crate) fn spans<'a>(&self, timeline: &'a Timeline) -> Vec<&'a PhaseSpan> {
        let is_of_trace = |name: &str| self.boot.as_deref().is_none_or(|boot| boot == name);
        let phases = timeline.phases.iter();
        phases.filter(|phase| is_of_trace(&phase.name)).collect()
    }

    /// In what a kernel differs from the run's; none if it is the same.
    pub(crate) fn other_kernel(&self, build: &impl Serialize) -> Option<String> {
        let own = self.build.as_ref()?;
        let other = serde_json::to_value(build).ok()?;
        ["image_sha256", "config_sha256", "release"]
            .into_iter()
            .find(|key| {
                own.get("kernel").map(|kernel| kernel.get(key))
                    != other.get("kernel").map(|kernel| kernel.get(key))
            })
            .map(|key| format!("its {key} is another one"))
    }

    fn phases(&self) -> Vec<PhaseNames> {
        let Some(timeline) = &self.timeline else {
            return Vec::new();
        };
        let phases = self.spans(timeline).into_iter();
        let names = phases.map(|phase| PhaseNames {
            name: phase.name.clone(),
            begin: phase.begin.recorded.0,
            items: phase
                .record
                .iter()
                .flatten()
                .map(|item| {
                    let names = ItemNames {
                        name: item.name.clone(),
                        mode: item.mode.clone(),
                    };
                    (item.id, names)
                })
                .collect(),
            after: self.after(&phase.name),
        });
        names.collect()
    }

    /// What each item of a phase comes after.
    fn after(&self, phase: &str) -> BTreeMap<u32, Vec<u32>> {
        let phases = self.scenario.iter().flat_map(|scenario| &scenario.phases);
        let Some(workload) = phases
            .filter(|other| other.name == phase)
            .map(|phase| &phase.workload)
            .next()
        else {
            return BTreeMap::new();
        };
        (0..workload.items())
            .map(|id| (id, before(workload, id)))
            .collect()
    }

    /// By the names that the module gives its queues: `ffi::OwnedQueue::new()`.
    fn max_active(&self) -> BTreeMap<String, u32> {
        let phases = self.scenario.iter().flat_map(|scenario| &scenario.phases);
        let queues = phases.flat_map(|phase| &phase.workload.queues);
        queues
            .filter(|queue| queue.max_active > 0)
            .map(|queue| (format!("deferred-{}", queue.name), queue.max_active))
            .collect()
    }
}

fn vm_of(folder: &Path, boot: Option<&str>) -> PathBuf {
    boot.map_or_else(|| folder.to_owned(), |boot| folder.join(boot))
        .join("vm/argv")
}

/// The items that an item comes after.
pub(crate) fn before(workload: &Workload, id: u32) -> Vec<u32> {
    match &workload.shape {
        Shape::Uniform(uniform) => match uniform.arrangement {
            Arrangement::Parallel => Vec::new(),
            Arrangement::Chain => id.checked_sub(1).into_iter().collect(),
        },
        Shape::Plan(items) => usize::try_from(id)
            .ok()
            .and_then(|place| items.get(place))
            .into_iter()
            .flat_map(|item| &item.after)
            .filter_map(|name| workload.id_of(name))
            .collect(),
    }
}

/// A file of a run; none if it is not there.
fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let error = anyhow!(error).context(format!("cannot read {}", path.display()));
            return Err(Failure::trace(error));
        }
    };
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not what a run writes", path.display()))
        .map(Some)
        .map_err(Failure::trace)
}
