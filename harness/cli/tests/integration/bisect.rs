// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit bisect` on a real kernel: a tree of modules with many commits, and kernel parameters.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{argument, code, copy, deferinit, is_running, output, project, text};

/// How many commits there are after the first one.
const COMMITS: usize = 64;

/// What the tree's commits are about: 200 us in one item of three.
const SCENARIO: &str = "\
summary: Test.
workload:
  plan:
    - { name: a, mode: direct, body: { sleep: 1ms } }
    - { name: b, mode: delayed, delay: 8ms, after: [a] }
    - { name: c, mode: work, after: [b], body: { spin: 100us } }
expect:
  - count: { of: ended, equals: 3 }
  - interval: { from: started, to: ended, max: 8ms }
";

/// What zeroing memory makes slower.
const TAKES_MEMORY: &str = "\
summary: Test.
workload:
  plan:
    - { name: clock, mode: direct, body: { sleep: 1ms } }
    - { name: device, mode: work, after: [clock], body: [{ alloc: 256KiB }, { spin: 100us }] }
expect:
  - count: { of: ended, equals: 2 }
";

const PLANTED: &str = "item: settle before the body runs";

/// A copy of the module as a git tree of its own, with a commit for each change of a file.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new(name: &str, item: impl Fn(usize, &str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = Self { folder };
        copy(&project().join("module"), &tree.path().join("module"));
        // The twin is no part of a guest, and takes its time.
        let kbuild = tree.path().join("module/Kbuild");
        let rules = fs::read_to_string(&kbuild).expect("a Kbuild");
        let without = rules.replace(" test_deferred_twin.o", "");
        assert_ne!(without, rules);
        fs::write(&kbuild, without).expect("a Kbuild");
        fs::write(tree.path().join("three.yaml"), SCENARIO).expect("a scenario");
        tree.git(&["init", "--quiet", "--initial-branch=main"]);
        tree.commit("start");
        let path = tree.path().join("module").join(name);
        let before = fs::read_to_string(&path).expect("a source");
        for number in 1..=COMMITS {
            fs::write(&path, item(number, &before)).expect("a source");
            tree.commit(&subject(number));
        }
        tree
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn commit(&self, subject: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", subject]);
    }

    fn git(&self, arguments: &[&str]) -> String {
        let done = Command::new("git")
            .arg("-C")
            .arg(self.path())
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .output()
            .expect("git runs");
        assert_eq!(code(&done), 0, "{arguments:?}: {}", text(&done));
        text(&done)
    }

    /// All that a bisection must leave as it is.
    fn state(&self) -> String {
        let asked: [&[&str]; 4] = [
            &["status", "--porcelain", "--branch"],
            &["for-each-ref"],
            &["worktree", "list"],
            &["rev-parse", "HEAD"],
        ];
        let linked = self.path().join(".git/worktrees").exists();
        format!(
            "{}{linked}",
            asked.map(|arguments| self.git(arguments)).concat()
        )
    }

    fn bisect<'a>(&self, more: &[&'a str], out: &'a Path) -> Vec<String> {
        let module = self.path().join("module");
        let scenario = self.path().join("three.yaml");
        let fixed = [
            "bisect",
            "--module-tree",
            argument(&module),
            "--scenario",
            argument(&scenario),
            "--out",
            argument(out),
        ];
        fixed
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect()
    }
}

/// The commit that the tests look for, and one that does not build: git tries it first.
const CULPRIT: usize = 41;
const BROKEN: usize = 32;

fn subject(number: usize) -> String {
    match number {
        CULPRIT => PLANTED.to_owned(),
        number => format!("change {number}"),
    }
}

/// `item.rs` at a commit: each has a function of its own, so that code moves with each.
fn item(number: usize, before: &str) -> String {
    const CALL: &str = "    let error = deferred_item_body(item, workload);\n";
    const SLOW: &str = "    if item.id == 2 {\n        kernel::time::delay::udelay(Delta::from_micros(200));\n    }\n";
    assert!(before.contains(CALL));
    let mut text = if number >= CULPRIT {
        before.replace(CALL, &format!("{SLOW}{CALL}"))
    } else {
        before.to_owned()
    };
    if number == BROKEN {
        text.push_str("fn broken( {\n");
    }
    text + &format!("\n#[no_mangle]\nfn unrelated_{number}() -> i32 {{\n    {number}\n}}\n")
}

fn run(arguments: &[String]) -> std::process::Output {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    output(&words)
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

#[test]
fn planted_slowdown_among_64_commits_is_found_in_eight_boots() {
    let tree = Tree::new("item.rs", item);
    let before = tree.state();
    let out = tree.folder.path().join("out");
    let range = format!("main~{COMMITS}..main");
    let more = [&range, "--metric", "item c: run", "--format", "json"];
    let found = run(&tree.bisect(&more, &out));
    assert_eq!(code(&found), 0, "{}", text(&found));
    let answer = json(&found);

    let culprits = answer["culprits"].as_array().expect("a list");
    assert_eq!(culprits.len(), 1, "{answer}");
    let id = tree.git(&["rev-parse", &format!("main~{}", COMMITS - CULPRIT)]);
    assert_eq!(culprits[0]["name"], id.trim());
    assert_eq!(culprits[0]["subject"], PLANTED);
    assert_eq!(answer["kind"], "commit");

    // Both ends, and log2(64) between them; what does not build is not booted.
    let boots = answer["boots"].as_u64().expect("a number");
    assert!((8..=9).contains(&boots), "{boots} boots");
    assert_eq!(answer["skipped"], 1, "{answer}");
    let steps = answer["steps"].as_array().expect("steps");
    assert_eq!(steps.len() as u64, boots + 1);
    let mut names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["name"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), steps.len(), "a commit was tested twice");
    let skipped = steps
        .iter()
        .find(|step| step["outcome"] == "skip")
        .expect("one");
    assert_eq!(skipped["subject"], subject(BROKEN));
    let reason = skipped["reason"].as_str().expect("a reason");
    assert!(reason.contains("unclosed delimiter"), "{reason}");
    let bound = |name: &str| answer["bound"][name].as_i64().expect("a number");
    assert!(
        (bound("bad") - bound("good") - 200_000).abs() < 40_000,
        "{answer}"
    );

    // Both runs are whole, and compared; so is the log, which git can replay.
    for name in ["last_good", "first_bad"] {
        let folder = Path::new(answer[name].as_str().expect("a folder"));
        assert!(folder.join("trace/trace.dat").is_file(), "{name}");
    }
    let changes = answer["compared"][0]["changes"]
        .as_array()
        .expect("changes");
    let is_run = |change: &&Value| change["what"] == "item c" && change["part"] == "run";
    let change = changes.iter().find(is_run).expect("the planted one");
    let side = |name: &str| change[name].as_i64().expect("a number");
    assert!(
        (side("second") - side("first") - 200_000).abs() < 40_000,
        "{change}"
    );
    let log = fs::read_to_string(out.join("git-bisect.log")).expect("a log");
    assert!(
        log.contains(&format!("# first bad commit: [{}] {PLANTED}", id.trim())),
        "{log}"
    );
    let kept = fs::read(out.join("bisect.json")).expect("the answer");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    assert_eq!(kept["culprits"], answer["culprits"]);
    assert_eq!(tree.state(), before);
}

#[test]
fn ends_that_are_not_what_they_are_said_to_be_are_refused() {
    let tree = Tree::new("item.rs", item);
    let out = |name: &str| tree.folder.path().join(name);
    // The scenario passes at both: so the numbers that differ are offered.
    let passes = run(&tree.bisect(&["main~2..main~1"], &out("passes")));
    assert_eq!(code(&passes), 2, "{}", text(&passes));
    for part in [
        "BAD,",
        "is good: the scenario passes there as well",
        subject(63).as_str(),
    ] {
        assert!(text(&passes).contains(part), "{part}: {}", text(&passes));
    }
    // No number of that name.
    let metric = ["main~2..main~1", "--metric", "item c: rum"];
    let unknown = run(&tree.bisect(&metric, &out("unknown")));
    assert_eq!(code(&unknown), 2, "{}", text(&unknown));
    for part in ["has no \"item c: rum\"", "\"item c: run\""] {
        assert!(text(&unknown).contains(part), "{part}: {}", text(&unknown));
    }
    // An end that does not build is no end.
    let broken = format!("main~{}..main", COMMITS - BROKEN);
    let broken = run(&tree.bisect(&[&broken], &out("broken")));
    assert_eq!(code(&broken), 101, "{}", text(&broken));
    for part in ["GOOD,", "cannot be tested", "unclosed delimiter"] {
        assert!(text(&broken).contains(part), "{part}: {}", text(&broken));
    }
    // A scenario that fails at both.
    let strict = SCENARIO.replace("max: 8ms", "max: 1us");
    fs::write(tree.path().join("three.yaml"), strict).expect("a scenario");
    let fails = run(&tree.bisect(&["main~2..main~1"], &out("fails")));
    assert_eq!(code(&fails), 2, "{}", text(&fails));
    for part in [
        "GOOD,",
        "is bad: the scenario fails there: interval",
        subject(62).as_str(),
    ] {
        assert!(text(&fails).contains(part), "{part}: {}", text(&fails));
    }
}

#[test]
fn an_interruption_leaves_the_tree_as_it_was() {
    let tree = Tree::new("item.rs", item);
    let before = tree.state();
    let out = tree.folder.path().join("out");
    let range = format!("main~{COMMITS}..main");
    let arguments = tree.bisect(&[&range, "--metric", "item c: run"], &out);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = deferinit(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let pid = i32::try_from(child.id()).expect("a pid");
    let deadline = Instant::now() + Duration::from_secs(240);
    // In the first guest, whose worktree is checked out then.
    let vm = out.join("01/vm/pid");
    while !vm.is_file() {
        assert!(Instant::now() < deadline, "no boot within 240 s");
        thread::park_timeout(Duration::from_millis(20));
    }
    assert!(tree.git(&["worktree", "list"]).contains("deferinit-bisect"));
    let qemu: u32 = fs::read_to_string(&vm)
        .expect("a pid")
        .trim()
        .parse()
        .expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("sends");
    let ended = child.wait_with_output().expect("ends");
    assert_eq!(code(&ended), 102, "{}", text(&ended));
    assert!(text(&ended).contains("interrupted"), "{}", text(&ended));
    assert!(!is_running(qemu), "QEMU still runs");
    assert_eq!(tree.state(), before);
}

#[test]
fn parameters_that_it_takes_are_found_by_halving() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, words: &str| {
        let path = folder.path().join(name);
        fs::write(&path, words).expect("a file");
        path
    };
    let good = file("good.txt", "quiet audit=0\n");
    let bad = file(
        "bad.txt",
        "quiet nosmt skew_tick=1 init_on_alloc=1 nosoftlockup\n",
    );
    let scenario = file("takes.yaml", TAKES_MEMORY);
    let out = folder.path().join("out");
    let bisect = |good: &Path, bad: &Path, out: &Path| {
        output(&[
            "bisect",
            "--command-line",
            argument(good),
            argument(bad),
            "--scenario",
            argument(&scenario),
            "--metric",
            "item device: run",
            "--out",
            argument(out),
            "--format",
            "json",
        ])
    };
    let found = bisect(&good, &bad, &out);
    assert_eq!(code(&found), 0, "{}", text(&found));
    let answer = json(&found);
    assert_eq!(answer["kind"], "command-line");
    assert_eq!(
        answer["culprits"][0]["name"], "with init_on_alloc=1",
        "{answer}"
    );
    assert_eq!(answer["culprits"].as_array().map(Vec::len), Some(1));
    // Five of them: both ends, and at most two for each halving.
    let boots = answer["boots"].as_u64().expect("a number");
    assert!(boots <= 8, "{boots} boots");
    // What differs between both runs stands on their command lines.
    let differs = answer["compared"][0]["differs"].to_string();
    assert!(differs.contains("command line"), "{differs}");

    let same = bisect(&good, &good, &folder.path().join("same"));
    assert_eq!(code(&same), 2, "{}", text(&same));
    assert!(text(&same).contains("nothing to find"), "{}", text(&same));
}

#[test]
fn mistakes_are_named_before_anything_is_built() {
    let here = argument(&project()).to_owned();
    let cases: [(&[&str], &str); 8] = [
        (&["main~1"], "GOOD..BAD"),
        (&["no-such-commit..HEAD"], "no commit \"no-such-commit\""),
        (&[], "GOOD..BAD"),
        (
            &["HEAD~1..HEAD", "--patches", "/tmp"],
            "cannot be used with",
        ),
        (&["HEAD~1..HEAD", "--threshold", "3ms"], "--metric"),
        (&["--patches", "/no/such/folder"], "/no/such/folder"),
        (&["HEAD~1..HEAD", "--insmod", "/x.ko"], "fits one kernel"),
        (
            &["HEAD~1..HEAD", "--kernel-build", "/x"],
            "give --kernel-tree",
        ),
    ];
    for (words, part) in cases {
        let fixed = ["bisect", "--scenario", "hrtimer/accuracy"];
        let refused = output(&[&fixed[..], words].concat());
        assert_eq!(code(&refused), 2, "{words:?}: {}", text(&refused));
        assert!(
            text(&refused).contains(part),
            "{words:?}: {}",
            text(&refused)
        );
    }
    let outside = tempfile::tempdir().expect("a folder");
    let folder = argument(outside.path());
    for (words, part) in [
        (
            ["--module-tree", folder, "--scenario", "hrtimer/accuracy"],
            "is in no git tree",
        ),
        (
            ["--module-tree", here.as_str(), "--scenario", "recipes"],
            "means several",
        ),
    ] {
        let refused = output(&[&["bisect", "HEAD~1..HEAD"][..], &words].concat());
        assert_eq!(code(&refused), 2, "{words:?}: {}", text(&refused));
        assert!(
            text(&refused).contains(part),
            "{words:?}: {}",
            text(&refused)
        );
    }
}
