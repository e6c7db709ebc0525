// SPDX-License-Identifier: GPL-2.0-only

//! Many loads and unloads: a module that leaks a little in each is found.

use std::fs;

use crate::harness::{argument, code, copy, deferinit, project, results, text};

#[test]
fn a_module_that_leaks_in_each_round_fails_the_growth_check() {
    let tree = tempfile::tempdir().expect("a folder");
    for folder in ["module", "kbuild", "vm/machines", "scenarios/memory"] {
        copy(&project().join(folder), &tree.path().join(folder));
    }
    let replace = |file: &str, from: &str, to: &str| {
        let path = tree.path().join(file);
        let before = fs::read_to_string(&path).expect("a file");
        assert!(before.contains(from), "{file} has no {from:?}");
        fs::write(&path, before.replace(from, to)).expect("a file");
    };
    let push = "items.push(Item::new(id, *item, missing, kind)?, GFP_KERNEL)?;";
    let leak = "let made = Item::new(id, *item, missing, kind)?;\n\
                core::mem::forget(made.clone());\n\
                items.push(made, GFP_KERNEL)?;";
    replace("module/workload.rs", push, leak);
    replace("scenarios/memory/soak.yaml", "count: 1000", "count: 100");

    let out = tree.path().join("out");
    let output = deferinit(&["run", "memory/soak", "--out", argument(&out)])
        .current_dir(tree.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 100, "{}", text(&output));
    let reason = results(&out)[0]["reason"].as_str().map(str::to_owned);
    let reason = reason.expect("a reason");
    assert!(
        reason.contains("more after round 100 than after round 10, allowed at most 96KiB"),
        "{reason}"
    );
}
