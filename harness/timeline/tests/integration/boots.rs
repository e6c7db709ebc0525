// SPDX-License-Identifier: GPL-2.0-only

//! Workloads in the kernel's image: the boot is the phase.

use deferinit_timeline::{Ending, Timeline, TraceNanos, join};

use crate::check_anomalies;
use crate::trace::{Setting, timeline_of};

/// A boot: items at two levels, one of which ends when the first process runs; and one armed by no level.
const BOOT: &str = "
    500 0 1 initcall_start
    1000 0 1 initcall_level core
    1100 0 1 armed 0 1090 0
    1200 0 1 started 0 1190
    1300 0 1 ended 0 1290 0
    2000 0 1 initcall_level late
    2100 0 1 armed 1 2090 0
    5000 0 1 mark phase-begin main
    6000 0 8 started 1 5990
    7000 0 8 ended 1 6990 0
    7100 0 8 armed 2 7090 0
    7200 0 8 started 2 7190
    7300 0 8 ended 2 7290 0
    8000 0 34 mark done
    8100 0 34 mark results
    8200 0 34 mark phase-end main
";

const RECORD: &str = "id\tname\tmode\tarmed_ns\texpires_jiffies\tqueued_ns\tstarted_ns\tended_ns\tcancelled_ns\tcpu\tpid\tattempts\terrno
0\ta\tdirect\t1090\t-\t-\t1190\t1290\t-\t0\t1\t1\t0
1\tb\tkthread\t2090\t-\t-\t5990\t6990\t-\t0\t8\t1\t0
2\tc\tkthread\t7090\t-\t-\t7190\t7290\t-\t0\t8\t1\t0
";

#[track_caller]
fn boot(script: &str) -> Timeline {
    timeline_of(
        script,
        Setting {
            boot: Some("main"),
            results: Some(("main", RECORD)),
            ..Setting::default()
        },
    )
}

#[test]
fn a_boot_is_a_phase_from_its_first_record_on() {
    let timeline = boot(BOOT);
    check_anomalies(&timeline, &[]);
    let phase = &timeline.phases[0];
    assert_eq!(phase.begin.at, TraceNanos(500));
    assert_eq!(
        phase.first_process.map(|moment| moment.at),
        Some(TraceNanos(5000))
    );
    let levels: Vec<Option<&str>> = phase
        .items
        .iter()
        .map(|item| item.level.as_deref())
        .collect();
    assert_eq!(levels, [Some("core"), Some("late"), None]);
    assert_eq!((phase.load, phase.init, phase.unload), (None, None, None));
}

#[test]
fn what_belongs_to_a_module_contradicts_a_boot() {
    let loaded = BOOT.replace(
        "8000 0 34 mark done",
        "7900 0 34 mark load\n8000 0 34 mark done",
    );
    check_anomalies(
        &boot(&loaded),
        &["marker \"load\" must not come here in phase main"],
    );
    let other = BOOT.replace("phase-begin main", "phase-begin other");
    let timeline = boot(&other);
    assert!(timeline.anomalies.total > 0, "{:?}", timeline.anomalies);
}

#[test]
fn joined_boots_keep_what_speaks_against_any_of_them() {
    let whole = boot(BOOT);
    let lossy = boot(&BOOT.replace(
        "8000 0 34 mark done",
        "7900 0 34 mark load\n8000 0 34 mark done",
    ));
    let mut dead = boot(BOOT);
    dead.ending = Ending::AgentMissing;
    dead.splats = vec!["BUG: x".to_owned()];
    let joined = join(vec![whole.clone(), lossy.clone(), dead]).expect("three boots");
    assert_eq!(joined.phases.len(), 3);
    assert_eq!(joined.ending, Ending::AgentMissing);
    assert_eq!(joined.splats, ["BUG: x"]);
    assert_eq!(joined.anomalies.total, lossy.anomalies.total);
    assert_eq!(joined.records, 2 * whole.records + lossy.records);
    assert_eq!(
        joined.integrity.cpus.len(),
        3 * whole.integrity.cpus.len(),
        "each boot's buffers are looked at"
    );
    assert_eq!(join(Vec::new()), None);
    assert_eq!(join(vec![whole.clone()]), Some(whole));
}
