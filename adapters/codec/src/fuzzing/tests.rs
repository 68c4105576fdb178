//! Replays what the fuzz targets start from, and changes it at random. Not here: the laws themselves.
//!
//! The files of `fuzz/corpus/TARGET` are written by hand, and `regression-*` are what a fuzz target once found.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The committed files: what a fuzz run adds has no extension.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = fuzz_folder().join("corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// Prints the input when a law is broken.
fn check_or_say(target: &str, what: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(target, input))) {
        eprintln!("{target}: a law is broken by {what}: {}", input.escape_ascii());
        resume_unwind(panic);
    }
}

#[test]
fn every_target_has_its_file_and_its_corpus() {
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        let path = format!("fuzz_targets/{target}.rs");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "fuzz/Cargo.toml does not name {path}");
        let file = std::fs::read_to_string(fuzz_folder().join(&path)).unwrap();
        assert!(file.contains(&format!("\"{target}\"")), "{path} does not feed {target}");
        assert!(corpus(target).len() >= 6, "the corpus of {target} is small");
    }
}

#[test]
fn the_corpora_keep_the_laws() {
    for (target, _) in TARGETS {
        check(target, b"");
        for (file, input) in corpus(target) {
            check_or_say(target, &file, &input);
        }
    }
}

#[test]
fn a_broken_law_is_noticed() {
    let broken = |outcome: Outcome| catch_unwind(AssertUnwindSafe(|| check_outcome(&outcome, 100))).is_err();
    let one = || Measurement::new("a", 1);
    assert!(!broken(Outcome::of(vec![one()])));
    assert!(broken(Outcome::of(vec![one(), one()])));
    assert!(broken(Outcome::of(vec![Measurement::new("a", "x".repeat(100))])));
    assert!(broken(Outcome { errors: vec!["e".into()], ..Outcome::of(vec![one()]) }));
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert!(catch_unwind(|| check_value(&deep)).is_err());
    let null = |_: &Input<'_>| Outcome::of(vec![Measurement::new("a", Value::Null)]);
    assert!(catch_unwind(|| check_decoder(null, b"", 100)).is_err());
    assert!(catch_unwind(|| check("nothing", b"")).is_err());
}

/// An input of the corpus, some stretches of which are replaced by bytes at random or by others of the corpus.
fn changed(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let inputs: Vec<Vec<u8>> = corpus(target).into_values().collect();
    let insert = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        "[\\[\\]{}\":,=/ \n0-9a-e.-]{0,4}".prop_map(String::into_bytes),
        (prop::sample::select(inputs.clone()), any::<prop::sample::Index>(), 0..12_usize).prop_map(
            |(input, at, length)| {
                let at = at.index(input.len() + 1);
                input[at..(at + length).min(input.len())].to_vec()
            }
        ),
    ];
    let change = (any::<prop::sample::Index>(), 0..6_usize, insert);
    (prop::sample::select(inputs), prop::collection::vec(change, 1..5)).prop_map(|(mut input, changes)| {
        for (at, length, insert) in changes {
            let at = at.index(input.len() + 1);
            let end = (at + length).min(input.len());
            input.splice(at..end, insert);
        }
        input
    })
}

/// Without the files that proptest keeps: `fuzz/corpus` is the place for what breaks a law.
fn try_changed(target: &'static str, cases: u32) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(input in changed(target))| check(target, &input));
}

#[test]
fn changed_payloads_keep_the_laws() {
    for (target, _) in TARGETS.iter().filter(|(target, _)| !target.starts_with("javascript")) {
        try_changed(target, 1000);
    }
}

#[test]
fn changed_payloads_of_scripts_keep_the_laws() {
    try_changed("javascript", 200);
}

#[test]
fn changed_scripts_keep_the_laws() {
    try_changed("javascript_source", 100);
}
