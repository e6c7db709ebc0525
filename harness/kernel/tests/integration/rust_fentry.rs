// SPDX-License-Identifier: GPL-2.0-only

//! `kbuild/rust_fentry.mk`, on a module that knows nothing of it but the include: `tests/data/traced`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use deferinit_kernel::build::{self, Kbuild, Variant};
use deferinit_kernel::cache::{Cache, Session};
use deferinit_kernel::progress::Progress;
use deferinit_kernel::{Class, Error, module};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};
use rustc_demangle::demangle;
use tempfile::TempDir;

fn kbuild_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kbuild")
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traced")
}

/// Builds the module in a folder against the default kernel.
fn build(folder: &Path) -> Result<PathBuf, Error> {
    let session = Session {
        cache: Cache::of_user().expect("a cache"),
        progress: Progress::Silent,
        cancelled: Default::default(),
    };
    let kbuild = Kbuild::of_dir(&kbuild_dir()).expect("kbuild/");
    let kernel = build::built(&session, &kbuild, &Variant::default())
        .expect("a toolchain")
        .expect("the default kernel; `deferinit kernel build` makes it");
    let modules = module::build(&session, &kernel, folder, &kbuild.dir, &["traced"])?;
    Ok(modules.paths.into_iter().next().expect("its path"))
}

/// The same module with another Kbuild.
fn with_kbuild(change: impl FnOnce(String) -> String) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |name: &str| fs::read_to_string(data().join(name)).expect("a file");
    fs::write(folder.path().join("traced.rs"), read("traced.rs")).expect("a file");
    fs::write(folder.path().join("Kbuild"), change(read("Kbuild"))).expect("a file");
    folder
}

/// The functions of a module with the bytes behind their entries, and whether ftrace finds them: the section
/// `__mcount_loc` has an address in each that ftrace can patch.
fn functions(module: &Path) -> Vec<(String, bool)> {
    let bytes = fs::read(module).expect("a module");
    let file = object::File::parse(bytes.as_slice()).expect("an object file");
    let locations: Vec<_> = file
        .section_by_name("__mcount_loc")
        .expect("a table of what ftrace can patch")
        .relocations()
        .map(|(_, relocation)| {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                panic!("{relocation:?} is for no symbol");
            };
            let symbol = file.symbol_by_index(index).expect("a symbol");
            let offset = symbol.address().wrapping_add_signed(relocation.addend());
            (symbol.section_index(), offset)
        })
        .collect();
    let is_code = |symbol: &object::Symbol<'_, '_>| {
        let section = symbol.section_index();
        let section = section.and_then(|index| file.section_by_index(index).ok());
        section.is_some_and(|section| section.kind() == SectionKind::Text)
    };
    file.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0 && is_code(symbol))
        .map(|symbol| {
            // An endbr64 of 4 bytes comes first.
            let entries = [symbol.address(), symbol.address() + 4];
            let is_found = locations.iter().any(|(section, offset)| {
                *section == symbol.section_index() && entries.contains(offset)
            });
            let name = symbol.name().expect("a name");
            (format!("{:#}", demangle(name)), is_found)
        })
        .collect()
}

fn is_found(functions: &[(String, bool)], part: &str) -> bool {
    let function = functions.iter().find(|(name, _)| name.contains(part));
    let function = function.unwrap_or_else(|| panic!("no {part} in {functions:?}"));
    function.1
}

#[test]
fn ftrace_finds_every_function_of_a_module_that_includes_the_rule() {
    let functions = functions(&build(&data()).expect("a module"));
    for part in [
        "init_module",
        "cleanup_module",
        "traced_twice",
        "traced::traced_apply",
        "<traced::Traced as kernel::module::Module>::init",
    ] {
        assert!(is_found(&functions, part), "{part}: {functions:?}");
    }
    assert!(
        functions.iter().all(|(_, is_found)| *is_found),
        "{functions:?}"
    );
    assert!(
        !functions
            .iter()
            .any(|(name, _)| name.contains("wrapping_add")),
        "{functions:?}"
    );
}

#[test]
fn without_the_rule_ftrace_finds_none() {
    let folder = with_kbuild(|_| "obj-m := traced.o\n".to_owned());
    let bytes = fs::read(build(folder.path()).expect("a module")).expect("its bytes");
    let file = object::File::parse(bytes.as_slice()).expect("an object file");
    assert!(file.section_by_name("__mcount_loc").is_none());
}

#[test]
fn functions_keep_the_padding_that_the_kernel_wants_before_them() {
    let padded = "CONFIG_CALL_PADDING := y\nCONFIG_FUNCTION_PADDING_BYTES := 16\n";
    let folder = with_kbuild(|kbuild| format!("{padded}{kbuild}"));
    let module = build(folder.path()).expect("a module");
    let functions = functions(&module);
    assert!(is_found(&functions, "traced_twice"), "{functions:?}");
    let bytes = fs::read(module).expect("a module");
    let file = object::File::parse(bytes.as_slice()).expect("an object file");
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok("traced_twice"))
        .expect("the function");
    let section = symbol.section_index().expect("a section");
    let section = file.section_by_index(section).expect("a section");
    let before = section.data_range(symbol.address() - 16, 16);
    assert_eq!(before.expect("code"), Some(&[0x90; 16][..]));
}

#[test]
fn a_build_for_which_rustc_makes_other_nops_fails_and_names_the_line() {
    let folder = with_kbuild(|kbuild| {
        let other = "-Zpatchable-function-entry=4,0";
        format!("{kbuild}\nRUSTFLAGS_traced.o := {other}\nRUSTFLAGS_traced.s := {other}\n")
    });
    let error = build(folder.path()).expect_err("another pattern");
    assert_eq!(error.class(), Class::Build);
    for part in ["traced.s:", "expected the 5-byte nop", "nopl"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_build_that_names_no_object_fails_and_says_so() {
    let folder = with_kbuild(|kbuild| kbuild.replace("rust-fentry-y := traced.o", ""));
    let error = build(folder.path()).expect_err("no object");
    assert!(
        error.to_string().contains("rust-fentry-y names no object"),
        "{error}"
    );
}

/// Two functions as rustc 1.96 writes them with -Zpatchable-function-entry=5,0.
const ASSEMBLY: &str = "\
\t.section\t.text.a,\"ax\",@progbits
a:
.Lfunc_begin0:
\tendbr64
.Lpatch0:
\tnopl\t8(%rax,%rax)
\tretq
\t.section\t__patchable_function_entries,\"awo\",@progbits,a
\t.quad\t.Lpatch0
\t.text
b:
.Lpatch1:
\t.cfi_startproc
\tnopl\t8(%rax,%rax)
\tretq
\t.section\t__patchable_function_entries,\"awo\",@progbits,b
\t.quad\t.Lpatch1
";

/// The same with 2 bytes of padding: -Zpatchable-function-entry=7,2.
const PADDED: &str = "\
\t.text
.Ltmp0:
\tnop
\tnop
a:
\tendbr64
\tnopl\t8(%rax,%rax)
\tretq
\t.section\t__patchable_function_entries,\"awo\",@progbits,a
\t.quad\t.Ltmp0
";

fn patched(assembly: &str, padding: u32) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.s");
    fs::write(&file, assembly).expect("a file");
    Command::new("awk")
        .args(["-v", &format!("padding={padding}"), "-f"])
        .arg(kbuild_dir().join("rust_fentry.awk"))
        .args([&file, &file])
        .output()
        .expect("awk starts")
}

#[test]
fn each_entry_becomes_a_call_and_nothing_else_changes() {
    for (assembly, padding) in [(ASSEMBLY, 0), (PADDED, 2)] {
        let output = patched(assembly, padding);
        assert!(output.status.success(), "{output:?}");
        let expected = assembly.replace("\tnopl\t8(%rax,%rax)", "\tcall\t__fentry__");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn assembly_of_another_pattern_is_refused_with_its_line() {
    let nop = "\tnopl\t8(%rax,%rax)\n";
    let cases = [
        (
            ASSEMBLY.replacen(nop, "\tnopw\t(%rax,%rax)\n", 1),
            0,
            ":6: expected the 5-byte nop",
        ),
        (
            ASSEMBLY.replacen(nop, "", 1),
            0,
            ":6: expected the 5-byte nop of -Zpatchable-function-entry, found: \tretq",
        ),
        (
            ASSEMBLY.replace("\t.section\t__patch", "\t.section\t__other"),
            0,
            "no function has an entry",
        ),
        (
            ASSEMBLY.replace(".Lpatch1:\n", ""),
            0,
            "2 functions have an entry, but only 1",
        ),
        (
            ASSEMBLY.replacen(nop, "", 1).replacen("\tretq\n", "", 1),
            0,
            "a function ends before its entry was found",
        ),
        (
            PADDED.replacen("\tnop\n", "", 1),
            2,
            ":5: expected 1 more one-byte nops",
        ),
        (PADDED.to_owned(), 0, ":3: expected the 5-byte nop"),
    ];
    for (assembly, padding, message) in cases {
        let output = patched(&assembly, padding);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{message}");
        assert!(stderr.contains(message), "no {message} in {stderr}");
        assert!(stderr.contains("x.s"), "{stderr}");
    }
}
