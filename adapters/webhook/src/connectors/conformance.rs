//! The test that every connector must pass: its own fixtures, `connectors/NAME/fixtures/*.json`, each a request and what
//! must come of it; and that no input makes it panic. Not here: what one connector alone promises (its `tests.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::{Decoded, Timestamp, Uplink};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::connector::{Connector, Decode, Malformed, Request};

/// A fixture file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    /// What it shows.
    #[expect(dead_code, reason = "for the reader of the file")]
    name: String,
    request: FixtureRequest,
    expect: Expectation,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FixtureRequest {
    method: String,
    #[serde(default)]
    path_device: Option<String>,
    #[serde(default)]
    query: String,
    #[serde(default)]
    content_type: String,
    body: Option<Value>,
    body_text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    #[serde(default)]
    malformed: bool,
    #[serde(default)]
    uplinks: Vec<ExpectedUplink>,
    #[serde(default)]
    problems: Vec<String>,
    /// The fixture whose first uplink has the same idempotency key.
    same_key_as: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedUplink {
    device: Option<String>,
    kind: String,
    /// RFC 3339 with milliseconds; absent means that the uplink has none.
    time: Option<String>,
    /// All of them, in any order.
    #[serde(default)]
    measurements: Map<String, Value>,
    /// What must be in `location`, `radio`, `data`, `warnings`, `raw`.
    #[serde(default)]
    contains: Map<String, Value>,
}

/// Runs all fixtures of a connector and reports everything that is not as expected.
pub(super) fn run_fixtures(connector: &dyn Connector) {
    let decoder = configured(connector);
    let fixtures = fixtures(connector.name());
    for prefix in ["good-", "duplicate-", "malformed-"] {
        assert!(
            fixtures.keys().any(|file| file.starts_with(prefix)),
            "no {prefix}*.json of {}",
            connector.name()
        );
    }
    let mut report = String::new();
    for (file, fixture) in &fixtures {
        let outcome = fixture.request.decode(decoder.as_ref(), received_at(0));
        for fault in faults(&fixture.expect, &outcome) {
            let _ = writeln!(report, "{file}: {fault}");
        }
        if let Some(other) = &fixture.expect.same_key_as {
            // A retry arrives later.
            let again = fixture.request.decode(decoder.as_ref(), received_at(240));
            let other = fixtures[other].request.decode(decoder.as_ref(), received_at(0));
            if first_key(&again) != first_key(&other) || first_key(&again).is_none() {
                let _ = writeln!(report, "{file}: has another key than the fixture that it repeats");
            }
        }
        if file.starts_with("malformed-") && !fixture.expect.malformed {
            let _ = writeln!(report, "{file}: must expect malformed");
        }
        if file.starts_with("duplicate-") && fixture.expect.same_key_as.is_none() {
            let _ = writeln!(report, "{file}: must say what it repeats");
        }
    }
    assert!(report.is_empty(), "{} fixtures:\n{report}", connector.name());
}

/// Feeds a connector with arbitrary bytes, with its own fixtures cut off, and with one value of them replaced, removed or
/// renamed. It must not panic, must give the same answer twice, and what it stores of JSON must be JSON.
pub(super) fn survives_anything(connector: &dyn Connector) {
    let decoder = configured(connector);
    let fixtures: Vec<Fixture> = fixtures(connector.name()).into_values().collect();
    let run = |request: &FixtureRequest, body: &[u8]| {
        let first = request.decode_body(decoder.as_ref(), body, received_at(0));
        assert_eq!(first, request.decode_body(decoder.as_ref(), body, received_at(0)));
        let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
        assert!(!is_json(body) || is_json(&decoder.redact(body)));
    };
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() });
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let strategy = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any_json(), 0..4_u8, bytes);
    runner
        .run(&strategy, |(which, place, value, action, bytes)| {
            let request = &fixtures[which.index(fixtures.len())].request;
            run(request, &bytes);
            if let Some(mut body) = request.body.clone() {
                mutate(&mut body, place, action, value);
                run(request, body.to_string().as_bytes());
            }
            let text = request.body_bytes();
            run(request, &text[..place.index(text.len() + 1)]);
            Ok(())
        })
        .unwrap();
}

/// The connector without any setting.
pub(super) fn configured(connector: &dyn Connector) -> Box<dyn Decode> {
    connector.configure(&BTreeMap::new()).expect("no setting is compulsory")
}

/// A fixed clock, `seconds` later.
pub(super) fn received_at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds).unwrap()
}

/// A folder of the samples that are shared between projects; none, with a line that says so, where it is absent.
pub(super) fn shared_fixtures(folder: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures")).join(folder);
    if !path.is_dir() {
        println!("{} is absent: its samples were not tested", path.display());
    }
    path.is_dir().then_some(path)
}

fn fixtures(connector: &str) -> BTreeMap<String, Fixture> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors").join(connector).join("fixtures");
    let read = |path: &Path| {
        let text = std::fs::read(path).unwrap();
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), read(&path)))
        .collect()
}

impl FixtureRequest {
    fn body_bytes(&self) -> Vec<u8> {
        match (&self.body, &self.body_text) {
            (Some(body), None) => body.to_string().into_bytes(),
            (None, Some(text)) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => panic!("a fixture has body or body_text"),
        }
    }

    fn decode(&self, decoder: &dyn Decode, received_at: Timestamp) -> Result<Decoded, Malformed> {
        self.decode_body(decoder, &self.body_bytes(), received_at)
    }

    fn decode_body(
        &self,
        decoder: &dyn Decode,
        body: &[u8],
        received_at: Timestamp,
    ) -> Result<Decoded, Malformed> {
        decoder.decode(&Request {
            method: &self.method.parse().unwrap(),
            path_device: self.path_device.as_deref(),
            query: &self.query,
            content_type: &self.content_type,
            body,
            received_at,
        })
    }
}

fn first_key(outcome: &Result<Decoded, Malformed>) -> Option<bridge_core::IdempotencyKey> {
    outcome.as_ref().ok()?.uplinks.first().map(|uplink| uplink.key)
}

fn faults(expect: &Expectation, outcome: &Result<Decoded, Malformed>) -> Vec<String> {
    let decoded = match outcome {
        Ok(decoded) if !expect.malformed => decoded,
        Ok(_) => return vec!["is not malformed".into()],
        Err(_) if expect.malformed => return Vec::new(),
        Err(malformed) => return vec![format!("is malformed: {malformed}")],
    };
    let mut faults = Vec::new();
    let problems: Vec<&str> = decoded.problems.iter().map(|problem| problem.reason.as_str()).collect();
    if problems != expect.problems {
        faults.push(format!("problems are {:?}, not {:?}", decoded.problems, expect.problems));
    }
    if decoded.uplinks.len() != expect.uplinks.len() {
        faults.push(format!("{} uplinks, not {}", decoded.uplinks.len(), expect.uplinks.len()));
    }
    for (index, (expected, uplink)) in expect.uplinks.iter().zip(&decoded.uplinks).enumerate() {
        faults.extend(
            faults_of_uplink(expected, uplink).into_iter().map(|fault| format!("uplink {index}: {fault}")),
        );
    }
    faults
}

fn faults_of_uplink(expected: &ExpectedUplink, uplink: &Uplink) -> Vec<String> {
    let content = &uplink.content;
    let measurements: Map<String, Value> =
        content.measurements.iter().map(|m| (m.name.clone(), m.value.clone())).collect();
    let actual = json!({
        "device": uplink.device.as_ref().map(|device| &device.id),
        "kind": uplink.kind.as_str(),
        "time": uplink.time.map(|time| time.to_string()),
        "location": content.location,
        "radio": content.radio,
        "data": content.data,
        "warnings": content.warnings,
        "raw": content.raw.as_ref().map(|raw| BASE64_STANDARD.encode(&raw.data)),
    });
    let mut wanted = expected.contains.clone();
    wanted.insert("device".into(), json!(expected.device));
    wanted.insert("kind".into(), json!(expected.kind));
    wanted.insert("time".into(), json!(expected.time));
    let mut faults: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| !contains(&actual[name.as_str()], value))
        .map(|(name, value)| format!("{name} is {}, not {value}", actual[name.as_str()]))
        .collect();
    let same = measurements.len() == expected.measurements.len()
        && expected
            .measurements
            .iter()
            .all(|(name, value)| measurements.get(name).is_some_and(|m| equal(m, value)));
    if !same {
        faults.push(format!("measurements are {measurements:?}, not {:?}", expected.measurements));
    }
    faults
}

/// Whether all that is wanted is there: objects may have more fields; everything else must be equal.
fn contains(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| actual.get(name).is_some_and(|actual| contains(actual, value)))
        }
        _ => equal(actual, wanted),
    }
}

/// Equality that does not tell 1 from 1.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|b| equal(value, b)))
        }
        _ => a == b,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let text = prop_oneof!["\\PC{0,20}", "[0-9]{1,12}", Just("N/A".to_owned()), Just("1e400".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((text.clone(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Replaces, removes or renames one of the values in a tree.
fn mutate(root: &mut Value, place: prop::sample::Index, action: u8, value: Value) {
    let mut paths = vec![String::new()];
    list_paths(root, "", &mut paths);
    let path = &paths[place.index(paths.len())];
    let Some((parent, name)) = path.rsplit_once('/') else {
        *root = value;
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match (root.pointer_mut(parent), action) {
        (Some(Value::Object(fields)), 0) => {
            fields.remove(&name);
        }
        (Some(Value::Object(fields)), 1) => {
            if let Some(old) = fields.remove(&name) {
                fields.insert(format!("{name}_"), old);
            }
        }
        _ => {
            if let Some(old) = root.pointer_mut(path) {
                *old = value;
            }
        }
    }
}

fn list_paths(value: &Value, path: &str, paths: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        _ => Vec::new(),
    };
    for (name, child) in children {
        let path = format!("{path}/{name}");
        list_paths(child, &path, paths);
        paths.push(path);
    }
}
