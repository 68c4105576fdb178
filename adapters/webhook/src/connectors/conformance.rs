//! The test that every connector must pass: its own fixtures, `connectors/NAME/fixtures/*.json`, each a request and what
//! must come of it; and that the laws of [`crate::fuzzing`] hold for everything that looks like them. Not here: what one
//! connector alone promises (its `tests.rs`), and bytes at random (`fuzzing/tests.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::{Decoded, IdempotencyKey, Timestamp, Uplink};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::connector::{Connector, Malformed, Settings};
use crate::fuzzing::{self, StoredRequest};

/// A fixture file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// What it shows.
    #[expect(dead_code, reason = "for the reader of the file")]
    name: String,
    #[serde(default)]
    settings: Settings,
    request: FixtureRequest,
    expect: Expectation,
}

#[derive(Debug, Clone, Deserialize)]
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

#[derive(Debug, Clone, Deserialize)]
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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedUplink {
    device: Option<String>,
    kind: String,
    /// RFC 3339 with milliseconds; absent means that the uplink has none.
    time: Option<String>,
    /// All of them, in any order.
    #[serde(default)]
    measurements: Map<String, Value>,
    /// What must be in `location`, `radio`, `data`, `warnings`, `raw`, ... Without `warnings` there must be none.
    #[serde(default)]
    contains: Map<String, Value>,
}

/// Runs all fixtures of a connector and reports everything that is not as expected.
pub(super) fn run_fixtures(connector: &dyn Connector) {
    let fixtures = fixtures(connector.name());
    for prefix in ["good-", "duplicate-", "malformed-"] {
        let is_there = fixtures.keys().any(|file| file.starts_with(prefix));
        assert!(is_there, "no {prefix}*.json of {}", connector.name());
    }
    let mut report = String::new();
    for (file, fixture) in &fixtures {
        for fault in faults(&fixture.expect, &fixture.stored().decode(connector)) {
            let _ = writeln!(report, "{file}: {fault}");
        }
        if let Some(other) = &fixture.expect.same_key_as {
            // A retry arrives later.
            let again = first_key(&fixture.stored().decode_at(connector, received_at(240)));
            if again.is_none() || again != first_key(&fixtures[other].stored().decode(connector)) {
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
/// renamed. The laws of [`fuzzing::check_request`] must hold.
pub(super) fn survives_anything(connector: &dyn Connector) {
    let fixtures: Vec<Fixture> = fixtures(connector.name()).into_values().collect();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() });
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let value = prop_oneof![4 => any_json(), 1 => deep_json()];
    let strategy = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), value, 0..4_u8, bytes);
    runner
        .run(&strategy, |(which, place, value, action, bytes)| {
            let fixture = &fixtures[which.index(fixtures.len())];
            let stored = fixture.stored();
            let run = |body: &[u8]| {
                fuzzing::check_request(connector, StoredRequest { body: body.to_vec(), ..stored.clone() });
            };
            run(&bytes);
            if let Some(mut body) = fixture.request.body.clone() {
                mutate(&mut body, place, action, value);
                run(body.to_string().as_bytes());
            }
            run(&stored.body[..place.index(stored.body.len() + 1)]);
            Ok(())
        })
        .unwrap();
}

impl StoredRequest {
    /// A POST of JSON.
    pub(super) fn json(body: &Value) -> Self {
        Self::post("application/json", body.to_string())
    }

    /// The same to an integration with these settings.
    pub(super) fn with(self, settings: &Settings) -> Self {
        Self { settings: settings.clone(), ..self }
    }

    /// What the connector makes of it.
    pub(super) fn decode(&self, connector: &dyn Connector) -> Result<Decoded, Malformed> {
        self.decode_at(connector, received_at(0))
    }

    /// Likewise, received at another time.
    pub(super) fn decode_at(
        &self,
        connector: &dyn Connector,
        received_at: Timestamp,
    ) -> Result<Decoded, Malformed> {
        let decoder = connector.configure(&self.settings).map_err(|errors| format!("{errors:?}")).unwrap();
        decoder.decode(&self.as_request(received_at))
    }
}

/// A fixed clock, `seconds` later.
pub(super) fn received_at(seconds: u64) -> Timestamp {
    fuzzing::received_at().plus(Duration::from_secs(seconds))
}

/// Settings from a JSON object of arrays of text.
pub(super) fn settings(value: Value) -> Settings {
    serde_json::from_value(value).unwrap()
}

/// A folder of the samples that are shared between projects; none, with a line that says so, where it is absent.
pub(super) fn shared_fixtures(folder: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures")).join(folder);
    if !path.is_dir() {
        println!("{} is absent: its samples were not tested", path.display());
    }
    path.is_dir().then_some(path)
}

/// The samples of such a folder and of `composed` below it, by name without extension: a body of JSON, or a whole request
/// in `*.request.json`, which comes with its file for what only one connector reads.
pub(super) fn shared_requests(folder: &Path) -> Vec<(String, StoredRequest, Value)> {
    let files = json_files(folder).into_iter().chain(json_files(&folder.join("composed")));
    let read = |(path, text): (PathBuf, Vec<u8>)| {
        let name = path.strip_prefix(folder).unwrap().with_extension("").to_string_lossy().into_owned();
        if !name.ends_with(".request") {
            return (name, StoredRequest::post("application/json", text), Value::Null);
        }
        let file: Value = serde_json::from_slice(&text).unwrap();
        let field = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
        let mut request = StoredRequest::post(&field("content_type"), field("body"));
        request.method = field("method").parse().unwrap();
        request.query = field("url").split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
        (name, request, file)
    };
    files.map(read).collect()
}

/// The fixtures of a connector by file name.
pub(crate) fn fixtures(connector: &str) -> BTreeMap<String, Fixture> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors").join(connector).join("fixtures");
    let read = |(path, text): (PathBuf, Vec<u8>)| {
        let fixture =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_name().unwrap().to_string_lossy().into_owned(), fixture)
    };
    json_files(&folder).into_iter().map(read).collect()
}

/// The JSON files of a folder, in order of name.
fn json_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

impl Fixture {
    /// Its request.
    pub(crate) fn stored(&self) -> StoredRequest {
        let request = &self.request;
        let body = match (&request.body, &request.body_text) {
            (Some(body), None) => body.to_string(),
            (None, text) => text.clone().unwrap_or_default(),
            (Some(_), Some(_)) => panic!("a fixture has body or body_text"),
        };
        StoredRequest {
            method: request.method.parse().unwrap(),
            path_device: request.path_device.clone(),
            query: request.query.clone(),
            content_type: request.content_type.clone(),
            settings: self.settings.clone(),
            body: body.into_bytes(),
        }
    }
}

fn first_key(outcome: &Result<Decoded, Malformed>) -> Option<IdempotencyKey> {
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
    let measurements = content.measurements.iter().map(|m| (m.name.clone(), m.value.clone())).collect();
    let mut actual = serde_json::to_value(content).unwrap();
    actual["raw"] = json!(content.raw.as_ref().map(|raw| BASE64_STANDARD.encode(&raw.data)));
    actual["warnings"] = json!(content.warnings);
    actual["device"] = json!(uplink.device.as_ref().map(|device| &device.id));
    actual["kind"] = json!(uplink.kind);
    actual["time"] = json!(uplink.time.map(|time| time.to_string()));
    let mut wanted = expected.contains.clone();
    wanted.entry("warnings").or_insert(json!([]));
    wanted.insert("device".into(), json!(expected.device));
    wanted.insert("kind".into(), json!(expected.kind));
    wanted.insert("time".into(), json!(expected.time));
    let mut faults: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| !contains(&actual[name.as_str()], value))
        .map(|(name, value)| format!("{name} is {}, not {value}", actual[name.as_str()]))
        .collect();
    let (measurements, wanted) = (Value::Object(measurements), Value::Object(expected.measurements.clone()));
    if !equal(&measurements, &wanted) {
        faults.push(format!("measurements are {measurements}, not {wanted}"));
    }
    faults
}

/// Whether all that is wanted is there: objects may have more fields, `null` is absent; everything else must be equal.
fn contains(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| contains(actual.get(name).unwrap_or(&Value::Null), value))
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

/// As deep as JSON is read, or a little less, and the same as text in which a connector may look for JSON.
fn deep_json() -> impl Strategy<Value = Value> {
    let nest = |(depth, is_object)| {
        let wrap = |inner, _| if is_object { json!({"a": inner}) } else { json!([inner]) };
        (0..depth).fold(json!(1), wrap)
    };
    let deep = (100..=127_u8, any::<bool>()).prop_map(nest);
    (deep, any::<bool>()).prop_map(|(deep, is_text)| if is_text { deep.to_string().into() } else { deep })
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
