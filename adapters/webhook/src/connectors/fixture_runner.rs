//! Runs a connector's own fixtures: `fixtures/*.json` in its folder. Not here: laws over all connectors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_core::{Decoded, Timestamp, Uplink};
use serde_json::{Map, Value, json};

use crate::connector::{Connector, Malformed, Request, Settings};

/// A request at rest, as fixtures write it.
#[derive(Debug, Clone)]
pub(super) struct StoredRequest {
    pub(super) method: http::Method,
    pub(super) path_device: Option<String>,
    pub(super) query: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

impl StoredRequest {
    /// A POST with this body.
    pub(super) fn post(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: http::Method::POST,
            path_device: None,
            query: String::new(),
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// A POST of JSON.
    pub(super) fn json(body: &Value) -> Self {
        Self::post("application/json", body.to_string())
    }

    /// From the `request` of a fixture.
    fn read(request: &Value) -> Self {
        let text = |key: &str| request[key].as_str().map(str::to_owned);
        let body = match (request.get("body"), text("body_text")) {
            (Some(body), None) => body.to_string(),
            (None, text) => text.unwrap_or_default(),
            (Some(_), Some(_)) => panic!("body and body_text"),
        };
        Self {
            method: request["method"].as_str().unwrap().parse().unwrap(),
            path_device: text("path_device"),
            query: text("query").unwrap_or_default(),
            content_type: text("content_type").unwrap_or_default(),
            body: body.into_bytes(),
        }
    }

    /// Decodes it as an integration with these settings would, received at `received_at()`.
    pub(super) fn decode(
        &self,
        connector: &dyn Connector,
        settings: &Settings,
    ) -> Result<Decoded, Malformed> {
        self.decode_at(connector, settings, received_at())
    }

    /// Likewise, received at another time.
    pub(super) fn decode_at(
        &self,
        connector: &dyn Connector,
        settings: &Settings,
        received_at: Timestamp,
    ) -> Result<Decoded, Malformed> {
        let decode = connector.configure(settings).map_err(|errors| format!("{errors:?}")).unwrap();
        decode.decode(&Request {
            method: &self.method,
            path_device: self.path_device.as_deref(),
            query: &self.query,
            content_type: &self.content_type,
            body: &self.body,
            received_at,
        })
    }
}

/// When fixtures are received: 2026-11-20T12:00:00Z.
pub(super) fn received_at() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap()
}

/// Settings from a JSON object of arrays of text.
pub(super) fn settings(value: &Value) -> Settings {
    let Value::Object(object) = value else { return Settings::new() };
    let texts =
        |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().into()).collect();
    object.iter().map(|(key, value)| (key.clone(), texts(value))).collect()
}

/// Runs every fixture of the connector and checks that the compulsory cases are there.
pub(super) fn run_own_fixtures(connector: &dyn Connector) {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors").join(connector.name()).join("fixtures");
    let fixtures: BTreeMap<String, Value> = json_files(&folder)
        .into_iter()
        .map(|(path, text)| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    for case in ["good-", "duplicate-", "malformed-"] {
        assert!(fixtures.keys().any(|name| name.starts_with(case)), "no fixture {case}*");
    }
    for (name, fixture) in &fixtures {
        let decoded = decode(connector, fixture);
        let expect = &fixture["expect"];
        if expect["malformed"] == json!(true) {
            assert!(decoded.is_err(), "{name}: not malformed: {decoded:?}");
            continue;
        }
        let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        let problems: Vec<_> = decoded.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert_eq!(
            json!(problems),
            expect.get("problems").cloned().unwrap_or(json!([])),
            "{name}: {decoded:?}"
        );
        let uplinks = expect["uplinks"].as_array().unwrap();
        assert_eq!(decoded.uplinks.len(), uplinks.len(), "{name}: {decoded:?}");
        for (uplink, expect) in decoded.uplinks.iter().zip(uplinks) {
            check(name, uplink, expect);
        }
        if let Some(other) = expect.get("same_key_as").and_then(Value::as_str) {
            let first = decode(connector, &fixtures[other]).unwrap();
            assert_eq!(decoded.uplinks[0].key, first.uplinks[0].key, "{name}: not the key of {other}");
        }
    }
}

/// The JSON files of a folder, in order of name.
pub(super) fn json_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn decode(connector: &dyn Connector, fixture: &Value) -> Result<Decoded, Malformed> {
    StoredRequest::read(&fixture["request"]).decode(connector, &settings(&fixture["settings"]))
}

fn check(name: &str, uplink: &Uplink, expect: &Value) {
    let device = uplink.device.as_ref().map(|device| device.id.clone());
    assert_eq!(json!(device), expect["device"], "{name}");
    assert_eq!(json!(uplink.kind.as_str()), expect["kind"], "{name}");
    assert_eq!(json!(uplink.time.map(|time| time.to_string())), expect["time"], "{name}: time");
    let content = &uplink.content;
    let measurements: Map<_, _> =
        content.measurements.iter().map(|m| (m.name.clone(), m.value.clone())).collect();
    assert_eq!(measurements.len(), content.measurements.len(), "{name}: a measurement stands twice");
    let wanted = expect.get("measurements").cloned().unwrap_or(json!({}));
    assert_eq!(Value::Object(measurements), wanted, "{name}");
    let mut whole = serde_json::to_value(content).unwrap();
    whole["raw"] = json!(content.raw.as_ref().map(|raw| STANDARD.encode(&raw.data)));
    if let Some(contains) = expect.get("contains") {
        assert!(is_subset(contains, &whole), "{name}: {contains} is not in {whole}");
    }
    let warned = !content.warnings.is_empty();
    assert_eq!(warned, expect["contains"].get("warnings").is_some(), "{name}: {:?}", content.warnings);
}

/// Objects may have more, everything else is equal.
fn is_subset(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            wanted.iter().all(|(key, wanted)| is_subset(wanted, got.get(key).unwrap_or(&Value::Null)))
        }
        _ => wanted == got,
    }
}
