//! Replays what the fuzz targets start from, and changes it at random. Not here: the laws themselves, and changes that
//! know JSON (`connectors/conformance.rs`).
//!
//! The files of `fuzz/corpus/NAME` are the connector's fixtures in the text form of a request, and `regression-*` that a
//! fuzz target once found. `WRITE_CORPUS=1 cargo test -p webhook the_corpus` writes the former anew.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use super::*;
use crate::connectors::{ALL, conformance, find};

/// Changed inputs per connector: some seconds in a debug build.
const ROUNDS: u64 = 12_000;

/// What the syntaxes of requests hinge on.
const TOKENS: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "&",
    "%",
    ";",
    "+",
    "\n",
    " ",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-0",
    "-1",
    "1e308",
    "-1e400",
    "1e-320",
    "NaN",
    "inf",
    "0.1234567890123456789",
    "99999999999999999999",
    "18446744073709551615",
    "9223372036854775808",
    "253402300800",
    "\"1e999\"",
    "\\u0000",
    "\\ud800",
    "%00",
    "%ff",
    "data:;base64,",
    "{device}",
    "{time}",
    "\u{feff}",
    "é",
    "\u{202e}",
    "__proto__",
];

#[test]
fn every_sequence_of_bytes_is_a_request_and_the_text_form_reads_back() {
    assert_eq!(StoredRequest::from_text(b""), StoredRequest::post("", ""));
    assert_eq!(StoredRequest::from_text(&[0xff, b' ', 0xfe]).content_type, "\u{fffd}");
    let stored = StoredRequest {
        method: http::Method::PUT,
        path_device: Some("d/1 é".into()),
        query: "event=up&x=%41".into(),
        settings: Settings::from([
            ("a=b".into(), vec!["1&2".into(), "50%\n".into()]),
            ("c".into(), vec!["".into()]),
        ]),
        body: b"one\ntwo\xff\n".to_vec(),
        ..StoredRequest::post("text/plain", "")
    };
    assert_eq!(StoredRequest::from_text(&stored.to_text()), stored);
}

#[test]
fn a_broken_law_is_noticed() {
    let uplink = |value: f64| {
        let key = bridge_core::IdempotencyKey::from_texts(&["x"]);
        let mut uplink = Uplink::new(None, bridge_core::Kind::Status, key);
        uplink.time = Some(received_at());
        uplink.content.radio = Some(bridge_core::Radio { rssi: Some(value), ..Default::default() });
        message_of("ttn", uplink)
    };
    assert!(check_message(&uplink(-113.5)) > 0);
    assert!(catch_unwind(|| check_message(&uplink(f64::NAN))).is_err());
    let mut twice = uplink(0.0);
    twice.content.measurements =
        vec![bridge_core::Measurement::new("a", 1), bridge_core::Measurement::new("a", 1)];
    assert!(catch_unwind(|| check_message(&twice)).is_err());
}

#[test]
fn the_corpus_is_made_of_the_fixtures() {
    let writes = std::env::var_os("WRITE_CORPUS").is_some();
    for connector in ALL {
        let wanted = wanted_corpus(connector.name());
        let folder = corpus_folder(connector.name());
        if writes {
            write_corpus(&folder, &wanted);
        }
        let mut found = corpus(connector.name());
        found.retain(|name, _| !name.starts_with("regression-"));
        let names = |corpus: &BTreeMap<String, Vec<u8>>| corpus.keys().cloned().collect::<Vec<_>>();
        let advice = "run `WRITE_CORPUS=1 cargo test -p webhook the_corpus`";
        assert_eq!(names(&found), names(&wanted), "{}: {advice}", folder.display());
        for (name, text) in &wanted {
            assert!(
                found[name] == *text,
                "{}/{name} is not what its fixture says: {advice}",
                folder.display()
            );
        }
    }
}

#[test]
fn every_connector_has_a_fuzz_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for connector in ALL {
        let path = format!("fuzz_targets/{}.rs", connector.name());
        assert!(manifest.contains(&format!("path = \"{path}\"")), "fuzz/Cargo.toml does not name {path}");
        assert!(fuzz.join(&path).exists(), "fuzz/{path} is missing");
    }
}

#[test]
fn sigfox_keeps_the_laws() {
    replay_and_change("sigfox", 1);
}

#[test]
fn particle_keeps_the_laws() {
    replay_and_change("particle", 2);
}

#[test]
fn ttn_keeps_the_laws() {
    replay_and_change("ttn", 3);
}

#[test]
fn chirpstack_keeps_the_laws() {
    replay_and_change("chirpstack", 4);
}

/// Runs every file of the corpus, and then changed ones. The same corpus and seed give the same inputs.
fn replay_and_change(name: &str, seed: u64) {
    let connector = find(name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() >= 30, "the corpus of {name} was not found");
    for (file, text) in &corpus {
        or_say(|| format!("corpus/{name}/{file}"), || check(connector, text));
    }
    let texts: Vec<&[u8]> = corpus.values().map(Vec::as_slice).collect();
    for round in 0..ROUNDS {
        let mut random = Random::new(seed * 1_000_000_007 + round);
        let text = changed(&texts, &mut random);
        let say = || format!("seed {seed}, round {round}: {}", text.escape_ascii());
        or_say(say, || check(connector, &text));
    }
}

/// Runs a check and prints what it was about when it panics.
fn or_say(what: impl Fn() -> String, run: impl Fn() -> Vec<Message>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        eprintln!("a law is broken by {}", what());
        resume_unwind(panic);
    }
}

/// One of the texts with up to six changes.
fn changed(texts: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut text = random.one_of(texts).to_vec();
    for _ in 0..=random.below(6) {
        let from = random.below(text.len() + 1);
        let to = (from + random.below(24)).min(text.len());
        match random.below(7) {
            0 => drop(text.drain(from..to)),
            1 => drop(text.splice(from..from, text[from..to].to_vec())),
            2 => drop(text.splice(from..to, random.one_of(TOKENS).bytes())),
            3 => drop(text.splice(from..from, random.one_of(TOKENS).bytes())),
            4 => drop(text.splice(from..to, [random.below(256) as u8])),
            5 => {
                // The tail of another one.
                let other = random.one_of(texts);
                text.truncate(from);
                text.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            _ => {
                // A value that is nested deep.
                let depth = 1 + random.below(140);
                let (open, close) = *random.one_of(&[("[", "]"), ("{\"a\":", "}")]);
                let nested = format!("{}0{}", open.repeat(depth), close.repeat(depth));
                let place =
                    text[from..].iter().position(|byte| *byte == b':').map_or(from, |at| from + at + 1);
                let end = (place + random.below(12)).min(text.len());
                text.splice(place..end, nested.bytes());
            }
        }
    }
    text
}

/// A xorshift generator, Marsaglia 2003.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to below the limit, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

fn corpus_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name)
}

/// The committed files: what a fuzz run adds has no extension.
fn corpus(name: &str) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(corpus_folder(name)) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// Every fixture but the repetitions.
fn wanted_corpus(name: &str) -> BTreeMap<String, Vec<u8>> {
    let fixtures = conformance::fixtures(name).into_iter();
    fixtures
        .filter(|(file, _)| !file.starts_with("duplicate-"))
        .map(|(file, fixture)| (file.replace(".json", ".txt"), fixture.stored().to_text()))
        .collect()
}

fn write_corpus(folder: &Path, wanted: &BTreeMap<String, Vec<u8>>) {
    std::fs::create_dir_all(folder).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".txt") && !name.starts_with("regression-") {
            std::fs::remove_file(&path).unwrap();
        }
    }
    for (name, text) in wanted {
        std::fs::write(folder.join(name), text).unwrap();
    }
}
