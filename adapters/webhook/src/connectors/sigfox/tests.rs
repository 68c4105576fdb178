//! Sigfox against its own fixtures, real payloads, and anything at all.

use std::collections::BTreeMap;

use bridge_core::{IdempotencyKey, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Sigfox;
use crate::connector::{Connector as _, Settings};
use crate::connectors::conformance::{
    run_fixtures, settings, shared_fixtures, shared_requests, survives_anything,
};
use crate::fuzzing::StoredRequest;

#[test]
fn fixtures_are_decoded_as_they_say() {
    run_fixtures(&Sigfox);
}

#[test]
fn no_input_breaks_a_law() {
    survives_anything(&Sigfox);
}

/// Every inbound request of the shared fixtures: its devices and kinds.
const REAL: &[(&str, &[(&str, &str)])] = &[
    ("data-advanced-status1-seq16", &[("1FD48BE", "location")]),
    ("request-batch-get-00a0.request", &[("00A0", "telemetry")]),
    ("request-form-post-00a1.request", &[("00A1", "telemetry")]),
    ("uplink-all-strings-seq1508", &[("1A2345", "telemetry")]),
    ("uplink-numbers-deviceid-key-seq486", &[("B445A9", "telemetry")]),
    ("uplink-strings-2c30ea-seq1504", &[("2C30EA", "telemetry")]),
    ("uplink-strings-2c30eb-seq1504", &[("2C30EB", "telemetry")]),
    ("composed/bidir-ack-false", &[("1A2B3C", "telemetry")]),
    ("composed/bidir-ack-true-strings", &[("1A2B3C", "telemetry")]),
    ("composed/bidir-ack-true", &[("1A2B3C", "telemetry")]),
    ("composed/data-advanced-duplicates", &[("1A2B3C", "location")]),
    ("composed/data-advanced-status0", &[("1A2B3C", "status")]),
    ("composed/error-device-silent", &[("1A2B3C", "error")]),
    ("composed/error-network-warn", &[("1A2B3C", "error")]),
    ("composed/event-out-of-sequence", &[("1A2B3C", "error")]),
    ("composed/geoloc-deprecated", &[("1A2B3C", "location")]),
    ("composed/request-batch-post.request", &[("1A2B3C", "telemetry"), ("2B3C4D", "telemetry")]),
    ("composed/service-acknowledge-acked", &[("1A2B3C", "command")]),
    ("composed/service-acknowledge-invalid-payload", &[("1A2B3C", "command")]),
    ("composed/service-acknowledge-no-answer", &[("1A2B3C", "command")]),
    ("composed/service-acknowledge-too-many-requests", &[("1A2B3C", "command")]),
    ("composed/service-repeater", &[("2B3C4D", "status")]),
    ("composed/service-status", &[("1A2B3C", "status")]),
    ("composed/uplink-custom-data", &[("1A2B3C", "telemetry")]),
    ("composed/uplink-empty-data", &[("1A2B3C", "telemetry")]),
    ("composed/uplink-na-metadata", &[("1A2B3C", "telemetry")]),
    ("composed/uplink-redelivery-first", &[("1A2B3C", "telemetry")]),
    ("composed/uplink-redelivery-second", &[("1A2B3C", "telemetry")]),
    ("composed/uplink-seq-wrap", &[("1A2B3C", "telemetry")]),
];

/// Files that are no inbound requests.
fn is_other(name: &str) -> bool {
    ["api-", "downlink-response-", "custom-grammar-"].iter().any(|prefix| name.starts_with(prefix))
}

#[test]
fn shared_fixtures_have_the_expected_outcome() {
    let Some(folder) = shared_fixtures("sigfox") else { return };
    let wanted: BTreeMap<_, _> = REAL.iter().copied().collect();
    let mut keys = BTreeMap::new();
    for (name, request, file) in shared_requests(&folder) {
        if is_other(&name) {
            continue;
        }
        let settings = settings_of(&request, &file);
        let decoded =
            request.with(&settings).decode(&Sigfox).unwrap_or_else(|error| panic!("{name}: {error}"));
        let got: Vec<_> = decoded
            .uplinks
            .iter()
            .map(|uplink| {
                (uplink.device.as_ref().map_or("", |device| device.id.as_str()), uplink.kind.as_str())
            })
            .collect();
        let Some(wanted) = wanted.get(name.as_str()) else {
            panic!("{name} has no expected outcome; it gives {got:?}");
        };
        assert_eq!(got.as_slice(), *wanted, "{name}");
        assert_eq!(decoded.problems, [], "{name}");
        let times = decoded.uplinks.iter().all(|uplink| uplink.time.is_some());
        assert!(times, "{name}: no time");
        keys.insert(name, decoded.uplinks[0].key);
    }
    assert_eq!(keys.len(), REAL.len(), "a fixture of the table is missing");
    let key = |name: &str| keys[&format!("composed/{name}")];
    assert_eq!(key("uplink-redelivery-first"), key("uplink-redelivery-second"));
    assert_eq!(key("bidir-ack-true"), key("bidir-ack-true-strings"));
    assert_ne!(key("uplink-redelivery-first"), key("uplink-seq-wrap"));
    assert_ne!(keys["uplink-strings-2c30ea-seq1504"], keys["uplink-strings-2c30eb-seq1504"]);
}

/// The settings that a whole request of the shared fixtures needs.
fn settings_of(request: &StoredRequest, file: &Value) -> Settings {
    let mut settings = Settings::new();
    if let Some(pattern) = file["line_pattern"].as_str() {
        settings.insert("line_pattern".into(), vec![pattern.into()]);
    }
    if request.query.starts_with("data=") {
        settings.insert("batch_field".into(), vec!["data".into()]);
    }
    settings
}

#[test]
fn settings_that_cannot_work_are_all_named() {
    let wrong = settings(json!({
        "service": ["uplinks"], "line_pattern": ["{device}{time}"], "batch_field": [], "time": [""],
        "device": ["dev"], "data": ["dev"]
    }));
    let errors = Sigfox.configure(&wrong).err().unwrap();
    let mut keys: Vec<_> = errors.iter().map(|error| error.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["batch_field", "data", "line_pattern", "service", "time"]);
}

#[test]
fn every_setting_is_documented_once() {
    let mut keys: Vec<_> = Sigfox.settings().iter().map(|setting| setting.key).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
    assert!(Sigfox.settings().iter().all(|setting| setting.help.len() > 20));
}

#[test]
fn a_full_batch_is_read_in_linear_time() {
    let line = "1A2B3C;1718000000;01;1020;\n";
    let body = line.repeat(Sigfox.body_limit() / line.len());
    let pattern = settings(json!({"line_pattern": ["{device};{time};{data};{seqNumber};"]}));
    for body in [body.clone(), body.replace('\n', "")] {
        let decoded = StoredRequest::post("text/plain", body).with(&pattern).decode(&Sigfox).unwrap();
        assert_eq!((decoded.uplinks.len(), decoded.problems.len()), (9709, 0));
    }
}

#[test]
fn without_time_and_sequence_only_the_reception_tells_messages_apart() {
    for body in [json!({"device": "1A", "data": "01"}), json!({"device": "1A", "data": "01", "time": "noon"})]
    {
        let key = |at: i64| {
            let at = Timestamp::from_millis(at).unwrap();
            StoredRequest::json(&body).decode_at(&Sigfox, at).unwrap().uplinks[0].key
        };
        assert_ne!(key(1), key(2));
        assert_eq!(key(1), key(1));
    }
    // With either, equal payloads of two messages differ, and a retry is the same message.
    let key = |extra: &str, value: u32| key_of(&json!({"device": "1A", "data": "01", extra: value}));
    for extra in ["time", "seqNumber"] {
        assert_ne!(key(extra, 1), key(extra, 2));
        assert_eq!(key(extra, 1), key(extra, 1));
    }
}

fn key_of(body: &Value) -> IdempotencyKey {
    StoredRequest::json(body).decode(&Sigfox).unwrap().uplinks[0].key
}

fn any_settings() -> impl Strategy<Value = Settings> {
    prop_oneof![
        Just(Settings::new()),
        Just(settings(json!({"line_pattern": ["{device};{time};{data};{seqNumber};"]}))),
        Just(settings(json!({"line_pattern": ["{device} {customData#x}"], "batch_field": ["data"]}))),
        Just(settings(json!({"service": ["data-advanced"]}))),
        Just(settings(json!({"service": ["event"], "device": ["x", "y"]}))),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-fA-F]{0,9}".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!("N/A")),
        Just(json!({"lat": 1.5, "lng": "2", "status": 1, "source": 3})),
        Just(json!([{"bsId": "1", "rssi": -1}, 7, null])),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,3}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(super::variables::Variable::ALL.to_vec()).prop_map(|v| v.name().to_owned()),
        "[a-zA-Z#{}]{0,6}",
        Just("service".to_owned()),
        Just("batch".to_owned()),
    ];
    prop::collection::hash_map(key, any_value(), 0..12).prop_map(|map| json!(map))
}

proptest! {
    #[test]
    fn any_text_never_panics(body in "[0-9A-F;={}&%\\n a-z]{0,120}", settings in any_settings()) {
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let request = StoredRequest { query: body.clone(), ..StoredRequest::post(kind, body.clone()) };
            let _ = request.with(&settings).decode(&Sigfox);
        }
    }

    /// Any object becomes exactly one uplink or one problem, the same one each time, with finite numbers only.
    #[test]
    fn any_object_has_one_outcome(body in any_object(), settings in any_settings()) {
        let request = StoredRequest::json(&body).with(&settings);
        let decoded = request.decode(&Sigfox).unwrap();
        if !settings.contains_key("line_pattern") {
            prop_assert_eq!(decoded.uplinks.len() + decoded.problems.len(), 1);
        }
        prop_assert_eq!(&request.decode(&Sigfox).unwrap(), &decoded);
        for uplink in &decoded.uplinks {
            prop_assert!(serde_json::to_string(&uplink.content).is_ok());
        }
    }

    #[test]
    fn a_wrapped_sequence_is_another_message(seq in 0..4096_u32, time in 1_500_000_000..1_900_000_000_i64) {
        let body = |seq: u32| json!({"device": "1A2B3C", "time": time, "data": "cafe", "seqNumber": seq});
        prop_assert_ne!(key_of(&body(4095)), key_of(&body(0)));
        prop_assert_ne!(key_of(&body(seq)), key_of(&body((seq + 1) % 4096)));
        let later = json!({"device": "1A2B3C", "time": time + 2_592_000, "data": "cafe", "seqNumber": seq});
        prop_assert_ne!(key_of(&body(seq)), key_of(&later));
    }

    #[test]
    fn devices_do_not_share_keys(one in "[0-9A-F]{1,8}", other in "[0-9A-F]{1,8}", seq in 0..4096_u32) {
        prop_assume!(one != other);
        let body = |device: &str| json!({"device": device, "time": 1_718_000_000, "data": "01", "seqNumber": seq});
        prop_assert_ne!(key_of(&body(&one)), key_of(&body(&other)));
        prop_assert_eq!(key_of(&body(&one)), key_of(&body(&one.to_lowercase())));
    }
}
