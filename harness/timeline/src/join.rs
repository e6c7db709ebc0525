// SPDX-License-Identifier: GPL-2.0-only

//! Joins the timelines of several boots of one run into one.
//!
//! In: a timeline per boot, in their order. Out: one, with the phases of all. Each boot has its own clock, so times of
//! phases from different boots do not compare; differences between times of one boot do.
//! Nothing that speaks against a boot is lost: it speaks against the whole.

use crate::{Ending, KEPT_ANOMALIES, Timeline};

/// Joins boots; none if there is none.
#[must_use]
pub fn join(boots: Vec<Timeline>) -> Option<Timeline> {
    let mut boots = boots.into_iter();
    let mut whole = boots.next()?;
    for boot in boots {
        // The first boot that did not end well says why.
        if whole.ending == Ending::Complete {
            whole.ending = boot.ending;
        }
        if whole.trace_clock != boot.trace_clock {
            let message = format!(
                "one boot has the trace clock {:?}, another {:?}",
                whole.trace_clock, boot.trace_clock
            );
            whole.anomalies.note(None, message);
        }
        whole.first = [whole.first, boot.first].into_iter().flatten().min();
        whole.last = whole.last.max(boot.last);
        whole.records = whole.records.saturating_add(boot.records);
        whole.integrity.add(boot.integrity);
        whole.anomalies.total = whole.anomalies.total.saturating_add(boot.anomalies.total);
        whole.anomalies.first.extend(boot.anomalies.first);
        whole.anomalies.first.truncate(KEPT_ANOMALIES);
        whole.phases.extend(boot.phases);
        whole.functions.extend(boot.functions);
        whole.splats.extend(boot.splats);
        whole.log_lines.extend(boot.log_lines);
        whole.log_cut |= boot.log_cut;
        whole.answers.extend(boot.answers);
        whole.leaks = match (whole.leaks, boot.leaks) {
            (None, None) => None,
            (one, other) => Some(one.into_iter().chain(other).flatten().collect()),
        };
    }
    Some(whole)
}
