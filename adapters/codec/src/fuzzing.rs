//! What must hold for every payload, however it was made: the laws that the fuzz targets and the tests of the codecs
//! share. Not here: what one codec makes of one payload (its own tests), and how inputs are made (`fuzz/`, the tests).

mod mapping;
mod scripts;

use std::collections::HashSet;

use bridge_core::{Measurement, Timestamp};
use serde_json::Value;

use crate::grammar::Grammar;
use crate::normalise::normalise;
use crate::senml::{EncodeError, Pack, Record, SenmlError};
use crate::{Input, Outcome, cayenne, cbor, json, senml, text};

/// What a target does with an input, which is any sequence of bytes.
pub type Check = fn(&[u8]);

/// Every target and its name.
pub const TARGETS: &[(&str, Check)] = &[
    ("cayenne", check_cayenne),
    ("grammar", check_grammar),
    ("senml_json", check_senml_json),
    ("senml_cbor", check_senml_cbor),
    ("cbor", check_cbor),
    ("json", check_json),
    ("text", check_text),
    ("mapping", mapping::check),
    ("javascript", scripts::check_payload),
    ("javascript_source", scripts::check_source),
];

/// Takes an input through the target of that name.
///
/// # Panics
/// When a law does not hold; that is what it is for:
/// - the same payload gives the same outcome; one with errors has no samples;
/// - no name of a measurement or of a property stands twice in a sample, and no value is null;
/// - every value reads back from JSON as it was: it has finite numbers only and is not nested too deep;
/// - what comes out is bounded by what came in, and warnings are few;
/// - normalising again changes nothing, and loses no measurement;
/// - what is written (Cayenne LPP, SenML) reads back.
pub fn check(target: &str, input: &[u8]) {
    match TARGETS.iter().find(|(name, _)| *name == target) {
        Some((_, check)) => check(input),
        None => panic!("there is no target {target}"),
    }
}

/// When payloads are received: 2026-11-20T12:00:00Z.
fn received_at() -> Timestamp {
    Timestamp::EPOCH.plus(std::time::Duration::from_secs(1_795_176_000))
}

fn payload(bytes: &[u8]) -> Input<'_> {
    Input { bytes, port: Some(1), received_at: received_at() }
}

fn check_cayenne(frame: &[u8]) {
    let most = 64 * frame.len() + 4096;
    check_decoder(cayenne::decode_downlink, frame, most);
    let outcome = check_decoder(cayenne::decode, frame, most);
    // A frame that was read whole is what its values are written as, but for polylines, which are not written.
    let was_read = outcome.errors.is_empty() && outcome.warnings.iter().all(|line| line.contains("globe"));
    let measurements = outcome.samples.into_iter().flat_map(|sample| sample.measurements);
    let fields = measurements.map(|one| (one.name, one.value)).collect::<serde_json::Map<_, _>>();
    if was_read && !fields.keys().any(|name| name.starts_with("polyline")) {
        assert_eq!(cayenne::encode_uplink(&fields).as_deref(), Ok(frame), "the frame is written otherwise");
    }
}

/// A line with the grammar, and the payload.
fn check_grammar(input: &[u8]) {
    let (text, bytes) = first_line(input);
    match Grammar::parse(&text) {
        Ok(grammar) => {
            let most = 64 * text.len() + text.len() * bytes.len() + 4096;
            check_decoder(|input| grammar.decode(input), bytes, most);
        }
        Err(error) => {
            let places = 1..=text.chars().count() + 1;
            assert!(places.contains(&error.position) && !error.reason.is_empty(), "{error:?}");
        }
    }
}

fn check_senml_json(bytes: &[u8]) {
    check_senml(bytes, senml::decode_json, Pack::from_json);
}

fn check_senml_cbor(bytes: &[u8]) {
    check_senml(bytes, senml::decode_cbor, Pack::from_cbor);
}

type DecodeSenml = fn(&Input<'_>, senml::Options) -> Outcome;

fn check_senml(bytes: &[u8], decode: DecodeSenml, read: fn(&[u8]) -> Result<Pack, SenmlError>) {
    for strip_base_name in [true, false] {
        // A record of three bytes has a base name of 256 and a unit of 64.
        let most = 512 * bytes.len() + 16 * 1024;
        check_decoder(|input| decode(input, senml::Options { strip_base_name }), bytes, most);
    }
    let Ok(pack) = read(bytes) else { return };
    let resolved = pack.resolve(received_at());
    let write = |write: fn(&str, &[Record]) -> Result<Vec<u8>, EncodeError>| match write(
        &resolved.base_name,
        &resolved.records,
    ) {
        Ok(written) => Some(written),
        Err(EncodeError::Time(_)) => None,
        Err(error) => panic!("a record that was read cannot be written: {error}"),
    };
    let from_json = write(senml::encode_json).map(|written| Pack::from_json(&written));
    let from_cbor = write(senml::encode_cbor).map(|written| Pack::from_cbor(&written));
    for read in [from_json, from_cbor].into_iter().flatten() {
        match read.map(|pack| pack.resolve(received_at())) {
            Ok(read) => assert_eq!((read.records, read.warnings), (resolved.records.clone(), Vec::new())),
            Err(error) => panic!("a pack that was written cannot be read: {error}"),
        }
    }
}

fn check_cbor(bytes: &[u8]) {
    check_decoder(cbor::decode, bytes, 32 * bytes.len() + 4096);
}

fn check_json(bytes: &[u8]) {
    let entries = [("a", "/a"), ("first", "/0"), ("all", "")];
    // invariant: names are there once, and these are pointers.
    let fields = json::Mapping::new(entries.map(|(name, at)| (name.to_owned(), at.to_owned())).to_vec())
        .unwrap_or_else(|error| panic!("{error}"));
    for fields in [None, Some(&fields)] {
        check_decoder(|input| json::decode(input, fields), bytes, 32 * bytes.len() + 4096);
    }
}

fn check_text(bytes: &[u8]) {
    check_decoder(text::decode, bytes, 64 * bytes.len() + 4096);
}

/// The first line and what follows it.
fn first_line(input: &[u8]) -> (std::borrow::Cow<'_, str>, &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    (String::from_utf8_lossy(&input[..end]), input.get(end + 1..).unwrap_or_default())
}

/// Returns the outcome, of which all laws hold.
fn check_decoder(decode: impl Fn(&Input<'_>) -> Outcome, bytes: &[u8], most: usize) -> Outcome {
    let outcome = decode(&payload(bytes));
    assert_eq!(outcome, decode(&payload(bytes)), "the same payload gives another outcome");
    let lines = outcome.warnings.len() + outcome.errors.len();
    assert!(lines <= 18, "there are {lines} warnings and errors");
    check_outcome(&outcome, most);
    for measurement in outcome.samples.iter().flat_map(|sample| &sample.measurements) {
        assert!(!measurement.value.is_null(), "measurement {:?} is null", measurement.name);
    }
    outcome
}

/// `most` is the size of everything in it, bytes.
fn check_outcome(outcome: &Outcome, most: usize) {
    assert!(outcome.errors.is_empty() || outcome.samples.is_empty(), "there are samples in spite of errors");
    let mut bytes: usize = outcome.warnings.iter().chain(&outcome.errors).map(String::len).sum();
    for sample in &outcome.samples {
        bytes += check_measurements(&sample.measurements) + check_measurements(&sample.properties);
    }
    assert!(bytes <= most, "the payload became {bytes} bytes, more than {most}");
    let normalised = normalise(outcome.clone());
    assert_eq!(normalise(normalised.clone()), normalised, "normalising twice is not normalising once");
    for (before, after) in outcome.samples.iter().zip(&normalised.samples) {
        check_measurements(&after.measurements);
        let kept = after.measurements.len() + after.aside.len();
        assert_eq!(before.measurements.len(), kept, "normalising loses a measurement");
    }
}

/// Returns their size in JSON, bytes.
fn check_measurements(measurements: &[Measurement]) -> usize {
    let (mut names, mut bytes) = (HashSet::new(), 0);
    for Measurement { name, value, unit } in measurements {
        assert!(names.insert(name), "{name:?} stands twice in a sample");
        bytes += check_value(&name.as_str().into()) + unit.as_ref().map_or(0, |unit| unit.len());
        bytes += check_value(value);
    }
    bytes
}

/// Returns its size in JSON, bytes. It is read as bytes, so that a text that is not UTF-8 is noticed too.
fn check_value(value: &Value) -> usize {
    let text = value.to_string();
    match serde_json::from_slice::<Value>(text.as_bytes()) {
        Ok(read) => assert_eq!(read, *value, "the value reads back as another one"),
        Err(error) => panic!("the value cannot be read back: {error}"),
    }
    text.len()
}

#[cfg(test)]
mod tests;
