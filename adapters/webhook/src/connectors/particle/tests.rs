//! Particle against its own fixtures, real payloads, and anything at all.

use std::collections::BTreeMap;

use bridge_core::{IdempotencyKey, Timestamp, Uplink};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Particle;
use crate::connector::{Connector as _, Settings};
use crate::connectors::conformance::{
    run_fixtures, settings, shared_fixtures, shared_requests, survives_anything,
};
use crate::fuzzing::StoredRequest;

const BORON: &str = "e00fce68ece1d3d21a73dcc9";
const PATH: &str = "aa00bb00cc00dd00ee00ff00";

#[test]
fn fixtures_are_decoded_as_they_say() {
    run_fixtures(&Particle);
}

#[test]
fn no_input_breaks_a_law() {
    survives_anything(&Particle);
}

/// Every inbound request of the shared fixtures as sent to a URL that names no device: device and kind of its uplink,
/// or none where only a device in the URL makes it one (then telemetry, or as the comment says).
const REAL: &[(&str, Option<(&str, &str)>)] = &[
    ("custom-json-coordinates-numbers", None),
    ("custom-json-coordinates-strings", None),
    ("custom-json-data-object", Some(("123456789938323536", "telemetry"))),
    ("custom-json-kitchen", None),
    ("edge-unknown-event-only", None),
    ("event-tempmon-v1", Some((BORON, "telemetry"))),
    ("hook-error-404", Some(("", "log"))),
    ("hook-sent", Some(("", "log"))),
    ("particle-device-updates-forced", Some((BORON, "firmware"))),
    ("particle-firmware-create", Some(("", "firmware"))),
    ("particle-firmware-release", Some(("", "firmware"))),
    ("request-default-form.request", Some(("3f002b000000000000000000", "telemetry"))),
    ("spark-device-app-hash", Some((BORON, "firmware"))),
    ("spark-device-diagnostics-update", Some((BORON, "status"))),
    ("spark-device-last-reset", Some((BORON, "status"))),
    ("spark-flash-status-started", Some((BORON, "firmware"))),
    ("spark-status-auto-update", Some((BORON, "firmware"))),
    ("spark-status-legacy-ttl-string", Some(("0123456789abcdef01234567", "connection"))),
    ("spark-status-offline", Some((BORON, "connection"))),
    ("spark-status-online", Some((BORON, "connection"))),
    ("tracker-loc-data", None),         // location
    ("tracker-loc-enhanced-arg", None), // location
    ("tracker-loc-towers-data", None),  // status
    ("typed-publish-binary-data", None),
    ("typed-publish-structured-data", None),
    ("composed/webhook-data-urlencoded-binary", Some((BORON, "telemetry"))),
    ("composed/webhook-default-json", Some((BORON, "telemetry"))),
    ("composed/webhook-template-eventid", Some((BORON, "telemetry"))),
];

/// Files that are answers of Particle's API.
fn is_other(name: &str) -> bool {
    ["devices-list", "function-call-", "variable-response"].iter().any(|part| name.contains(part))
}

#[test]
fn shared_fixtures_have_the_expected_outcome() {
    let Some(folder) = shared_fixtures("particle") else { return };
    let wanted: BTreeMap<_, _> = REAL.iter().copied().collect();
    let mut uplinks: BTreeMap<String, Uplink> = BTreeMap::new();
    for (name, mut request, _) in shared_requests(&folder) {
        if is_other(&name) {
            continue;
        }
        let wanted = wanted.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no expected outcome"));
        let mut decoded = request.decode(&Particle).unwrap();
        if wanted.is_none() {
            let reasons: Vec<_> = decoded.problems.iter().map(|problem| problem.reason.as_str()).collect();
            assert_eq!((decoded.uplinks.len(), reasons), (0, vec!["no-device"]), "{name}");
            request.path_device = Some(PATH.into());
            decoded = request.decode(&Particle).unwrap();
        }
        assert_eq!((decoded.uplinks.len(), decoded.problems.len()), (1, 0), "{name}");
        let uplink = decoded.uplinks.remove(0);
        let kind_of_data = match name.as_str() {
            "tracker-loc-data" | "tracker-loc-enhanced-arg" => "location",
            "tracker-loc-towers-data" => "status",
            _ => "telemetry",
        };
        let got = (uplink.device.as_ref().map_or("", |device| device.id.as_str()), uplink.kind.as_str());
        assert_eq!(got, wanted.unwrap_or((PATH, kind_of_data)), "{name}");
        assert_eq!(uplink.content.warnings, Vec::<String>::new(), "{name}");
        uplinks.insert(name, uplink);
    }
    assert_eq!(uplinks.len(), REAL.len(), "a fixture of the table is missing");

    let measured = |name: &str, measurement: &str| {
        uplinks[name].content.measurement(measurement).map(|m| m.value.clone()).unwrap_or_default()
    };
    assert_eq!(measured("event-tempmon-v1", "t"), json!(19));
    assert_eq!(measured("request-default-form.request", "demo"), json!("mydata"));
    assert_eq!(measured("composed/webhook-default-json", "temperature"), json!(21.5));
    assert_eq!(measured("composed/webhook-template-eventid", "v"), json!(1));
    assert_eq!(measured("custom-json-kitchen", "Temperature/Kitchen"), json!(20.0));
    assert_eq!(measured("custom-json-data-object", "values")["lux"], json!(0.0));
    assert_eq!(measured("spark-device-diagnostics-update", "batteryLevel"), Value::Null);
    assert_eq!(measured("spark-device-diagnostics-update", "memoryFree"), json!(93712));
    let details = |name: &str| &uplinks[name].content.data;
    assert_eq!(details("custom-json-data-object")["event"], "temperature");
    assert_eq!(details("custom-json-data-object")["name"], "sensor");
    assert_eq!(details("particle-device-updates-forced")["value"], false);
    assert_eq!(details("spark-flash-status-started")["status"], "started");
    let raw = |name: &str| uplinks[name].content.raw.as_ref().map_or(0, |raw| raw.data.len());
    assert_eq!((raw("typed-publish-binary-data"), raw("composed/webhook-data-urlencoded-binary")), (64, 5));
    assert!(rank(&uplinks["spark-status-online"]) > rank(&uplinks["spark-status-offline"]));
}

fn rank(uplink: &Uplink) -> u64 {
    uplink.state.as_ref().unwrap().rank
}

fn decode_at(body: &Value, settings: &Settings, received_ms: i64) -> Uplink {
    let received_at = Timestamp::from_millis(received_ms).unwrap();
    let mut decoded = StoredRequest::json(body).with(settings).decode_at(&Particle, received_at).unwrap();
    assert_eq!((decoded.uplinks.len(), decoded.problems.len()), (1, 0));
    decoded.uplinks.remove(0)
}

fn decode(body: &Value) -> Uplink {
    decode_at(body, &Settings::new(), 1)
}

#[test]
fn of_two_reports_at_the_same_time_online_wins() {
    let status = |data: &str, at: &str| {
        decode(&json!({"event": "spark/status", "data": data, "coreid": BORON, "published_at": at}))
    };
    let (early, late) = ("2026-11-20T12:00:00.000Z", "2026-11-20T12:00:00.001Z");
    let online = status("online", early);
    assert_eq!(online.state.as_ref().map(|mark| mark.subject.as_str()), Some("connection"));
    assert!(rank(&online) > rank(&status("offline", early)));
    assert!(rank(&status("offline", late)) > rank(&online));
    assert_eq!(status("auto-update", early).state, None);
}

#[test]
fn equal_readings_are_two_messages_unless_a_time_or_an_id_says_that_they_are_one() {
    let key = |body: &Value, received: i64| decode_at(body, &Settings::new(), received).key;
    let bare = json!({"event": "t", "data": "1", "coreid": BORON});
    assert_ne!(key(&bare, 1), key(&bare, 2));
    let unreadable = json!({"event": "t", "data": "1", "coreid": BORON, "published_at": "yesterday"});
    assert_ne!(key(&unreadable, 1), key(&unreadable, 2));
    let timed = json!({"event": "t", "data": "1", "coreid": BORON, "published_at": "2026-11-20T12:00:00Z"});
    assert_eq!(key(&timed, 1), key(&timed, 2));
    let named = json!({"event": "t", "data": "1", "coreid": BORON, "event_id": "e-1"});
    assert_eq!(key(&named, 1), key(&named, 2));
    // An `id` that is neither UUID nor device id repeats itself: it must not make messages one.
    let constant =
        json!({"event": "t", "data": "1", "coreid": BORON, "id": 7, "published_at": "2026-11-20T12:00:00Z"});
    let other =
        json!({"event": "t", "data": "2", "coreid": BORON, "id": 7, "published_at": "2026-11-20T12:00:00Z"});
    assert_ne!(key(&constant, 1), key(&other, 1));
}

#[test]
fn settings_that_cannot_work_are_all_named() {
    let wrong =
        settings(json!({"event": ["a", "b"], "data_key": [""], "device_key": ["x"], "event_key": ["x"]}));
    let mut keys: Vec<_> = Particle.configure(&wrong).err().unwrap().iter().map(|error| error.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["data_key", "device_key", "event"]);
}

#[test]
fn the_longest_bodies_are_read() {
    let fields: BTreeMap<String, u32> = (0..5000).map(|n| (format!("f{n}"), n)).collect();
    let body = json!({"event": "t", "data": fields, "coreid": BORON});
    assert_eq!(decode(&body).content.measurements.len(), 5000);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "data:[a-z]{0,3}/?[a-z]{0,3}(;base64)?,[A-Za-z0-9+/=%]{0,9}".prop_map(Value::from),
        Just(json!("{\"cmd\":\"loc\",\"loc\":{\"lck\":1,\"lat\":1,\"lon\":\"2\"}}")),
        Just(json!("online")),
        Just(json!(BORON)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof![Just("loc".to_owned()), Just("_type".to_owned()), "[a-z]{1,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "event",
        "name",
        "data",
        "value",
        "coreid",
        "device",
        "published_at",
        "id",
        "product",
        "version",
        "ttl",
        "x",
        "",
    ]);
    let events = prop::sample::select(vec![
        "loc",
        "loc-enhanced",
        "spark/status",
        "spark/device/diagnostics/update",
        "spark/flash/status",
        "particle/x",
        "t",
    ]);
    (prop::collection::hash_map(key, any_value(), 0..8), prop::option::of(events)).prop_map(|(map, event)| {
        let mut body = json!(map);
        if let Some(event) = event {
            body["event"] = event.into();
        }
        body
    })
}

proptest! {
    #[test]
    fn any_text_never_panics(body in "[a-z=&%;,:{}\"0-9+/]{0,120}") {
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let request = StoredRequest { path_device: Some("x".into()), ..StoredRequest::post(kind, body.clone()) };
            prop_assert_eq!(request.decode(&Particle).unwrap().uplinks.len(), 1);
        }
    }

    /// Any JSON becomes exactly one uplink or one problem, the same one each time.
    #[test]
    fn any_json_has_one_outcome(body in prop_oneof![any_body(), any_value()]) {
        let request = StoredRequest::json(&body);
        let decoded = request.decode(&Particle).unwrap();
        prop_assert_eq!(decoded.uplinks.len() + decoded.problems.len(), 1);
        prop_assert_eq!(&request.decode(&Particle).unwrap(), &decoded);
        let with_path = StoredRequest { path_device: Some(PATH.into()), ..request };
        prop_assert_eq!(with_path.decode(&Particle).unwrap().uplinks.len(), 1);
    }

    #[test]
    fn what_differs_has_another_key(
        one in ("[a-f0-9]{24}", "[a-z/]{1,9}", "\\PC{0,9}"),
        other in ("[a-f0-9]{24}", "[a-z/]{1,9}", "\\PC{0,9}"),
    ) {
        prop_assume!(one != other);
        let key = |(device, event, data): &(String, String, String)| -> IdempotencyKey {
            decode(&json!({"coreid": device, "event": event, "data": data, "published_at": "2026-11-20T12:00:00Z"})).key
        };
        prop_assert_ne!(key(&one), key(&other));
    }
}
