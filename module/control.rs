// SPDX-License-Identifier: GPL-2.0-only

//! The module's folder in debugfs: `trigger`, `state` and `done`.

use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*,
    sync::Arc,
    uaccess::UserSliceReader, //
};

use crate::{
    plan::Start,
    workload::Workload, //
};

/// The files; they vanish when this is dropped.
#[pin_data]
pub(crate) struct Control {
    #[pin]
    trigger: File<Arc<Workload>>,
    #[pin]
    state: File<Arc<Workload>>,
    #[pin]
    done: File<Arc<Workload>>,
}

impl Control {
    /// Creates the files in `folder`.
    pub(crate) fn new(folder: &Dir, workload: Arc<Workload>) -> impl PinInit<Self, Error> + '_ {
        let (for_trigger, for_state) = (workload.clone(), workload.clone());
        try_pin_init!(Self {
            trigger <- folder.write_callback_file(c"trigger", for_trigger, &write_trigger),
            state <- folder.read_callback_file(c"state", for_state, &read_state),
            done <- folder.read_callback_file(c"done", workload, &read_done),
        })
    }
}

/// Arms the items. The bytes written do not matter.
///
/// `EBUSY` if they were armed before, `EINVAL` if the plan arms them on load.
fn write_trigger(workload: &Arc<Workload>, _bytes: &mut UserSliceReader) -> Result {
    if workload.plan().start != Start::Trigger {
        return Err(EINVAL);
    }
    if !workload.claim_start() {
        return Err(EBUSY);
    }
    crate::deferred_init(workload);
    Ok(())
}

fn read_state(workload: &Arc<Workload>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_fmt(fmt!("{}\n", workload.progress()))
}

/// Waits until every item has ended; a signal ends the wait early, with the state as it is.
fn read_done(workload: &Arc<Workload>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_fmt(fmt!("{}\n", workload.wait_until_done()))
}
