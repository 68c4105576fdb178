//! What the connector of The Things Stack promises beyond its fixtures.

use std::collections::HashSet;

use bridge_core::{Decoded, IdempotencyKey, Kind, Reason, Uplink};
use serde_json::{Value, json};

use super::Ttn;
use crate::connector::{Connector as _, Settings};
use crate::connectors::conformance::{received_at, run_fixtures, shared_fixtures, survives_anything};
use crate::fuzzing::{StoredRequest, check_request};

#[test]
fn fixtures_are_decoded_as_they_say() {
    run_fixtures(&Ttn);
}

#[test]
fn no_input_breaks_a_law() {
    survives_anything(&Ttn);
}

fn decode_at(body: &[u8], path_device: Option<&str>, seconds: u64) -> Decoded {
    let request = StoredRequest {
        path_device: path_device.map(str::to_owned),
        ..StoredRequest::post("application/json", body)
    };
    request.decode_at(&Ttn, received_at(seconds)).unwrap()
}

fn uplink_at(body: &Value, seconds: u64) -> Uplink {
    decode_at(body.to_string().as_bytes(), Some("d1"), seconds).uplinks.remove(0)
}

fn key(body: &Value) -> IdempotencyKey {
    uplink_at(body, 0).key
}

/// What must come of a sample: its device, the kinds of its uplinks, its problems.
type Row = (&'static str, &'static str, &'static [Kind], &'static [Reason]);

#[rustfmt::skip]
const SAMPLES: &[Row] = &[
    ("downlink-ack-confirmed-retry.json", "eui-a84041162183f8fb", &[Kind::Command], &[]),
    ("downlink-ack-docs.json", "dev1", &[Kind::Command], &[]),
    ("downlink-ack-my-correlation-id.json", "dev1", &[Kind::Command], &[]),
    ("downlink-failed-too-long-docs.json", "dev1", &[Kind::Command], &[]),
    ("downlink-queued-pubsub-mqtt.json", "dev1", &[Kind::Command], &[]),
    ("downlink-queued-pubsub-nats.json", "dev1", &[Kind::Command], &[]),
    ("join-accept-docs.json", "dev1", &[Kind::Join], &[]),
    ("join-accept-formatter-test.json", "foo-device", &[Kind::Join], &[]),
    ("join-accept-mqtt-docs.json", "dev1", &[Kind::Join], &[]),
    ("storage-field-mask.json", "dev1", &[Kind::Telemetry], &[]),
    ("storage-retrieve-lines.json", "dev1", &[Kind::Telemetry, Kind::Telemetry], &[]),
    ("storage-uplinks-simulated.json", "dev1", &[Kind::Telemetry, Kind::Telemetry], &[]),
    ("uplink-aws-envelope-2020.json", "my-motion-sensor-1", &[Kind::Telemetry], &[]),
    ("uplink-cayenne-like-decoded.json", "distance-03", &[Kind::Telemetry], &[]),
    ("uplink-community-am308-no-decoder.json", "eui-1000000000000001", &[Kind::Telemetry], &[]),
    ("uplink-community-em2101-confirmed-fcnt0.json", "KWH - 32310067", &[Kind::Telemetry], &[]),
    ("uplink-docs-attributes-locations.json", "dev1", &[Kind::Telemetry], &[]),
    ("uplink-event-forward-20200925.json", "test-dev-01", &[Kind::Telemetry], &[]),
    ("uplink-event-forward-20210707.json", "test-dev-01", &[Kind::Telemetry], &[]),
    ("uplink-field-mask.json", "", &[], &[Reason::NoDevice]),
    ("uplink-formatter-test.json", "foo-device", &[Kind::Telemetry], &[]),
    ("uplink-hono-tts.json", "dev1", &[Kind::Telemetry], &[]),
    ("uplink-industries-bosch-packetbroker.json", "eui-1000000000000001", &[Kind::Telemetry], &[]),
    ("uplink-mqtt-docs.json", "dev1", &[Kind::Telemetry], &[]),
    ("uplink-nested-arrays-t1000.json", "test-t1000-device", &[Kind::Telemetry], &[]),
    ("uplink-no-decoded-payload.json", "distance-03", &[Kind::Telemetry], &[]),
    ("uplink-no-frm-payload-empty-rx.json", "sensor-01", &[Kind::Telemetry], &[]),
    ("uplink-normalized-packetbroker-tektelic.json", "eui-647fda0000009f7c", &[Kind::Telemetry], &[]),
    ("uplink-normalized-partial.json", "", &[], &[Reason::NoDevice]),
    ("uplink-three-gateways-netvox.json", "shlm-luxsensor-001", &[Kind::Telemetry], &[]),
    ("uplink-ubidots-no-envelope.json", "", &[], &[Reason::NoDevice]),
    ("uplink-warnings-normalized-partial.json", "", &[], &[Reason::NoDevice]),
    ("uplink-webhook-mclimate-button-2025.json", "", &[], &[Reason::Unmappable]),
    ("v2-uplink-docs-downlink-url.json", "my-dev-id", &[Kind::Telemetry], &[]),
    ("v2-uplink-hono.json", "ttn-dev-id", &[Kind::Telemetry], &[]),
    ("v2-uplink-null-payload-hono.json", "ttn-dev-id", &[Kind::Telemetry], &[]),
    ("composed/downlink-failed-airtime.json", "dev1", &[Kind::Command], &[]),
    ("composed/downlink-nack.json", "dev1", &[Kind::Command], &[]),
    ("composed/downlink-queue-invalidated.json", "dev1", &[Kind::Command], &[]),
    ("composed/downlink-sent.json", "dev1", &[Kind::Command], &[]),
    ("composed/join-accept-invalidated-downlinks.json", "dev1", &[Kind::Join], &[]),
    ("composed/location-solved.json", "dev1", &[Kind::Location], &[]),
    ("composed/service-data.json", "ci385-lr1110-modem", &[Kind::Service], &[]),
    ("composed/uplink-fport-fcnt-omitted.json", "dev1", &[Kind::Telemetry], &[]),
    ("composed/uplink-fsk.json", "dev1", &[Kind::Telemetry], &[]),
    ("composed/uplink-lrfhss.json", "dev1", &[Kind::Telemetry], &[]),
    ("composed/uplink-normalized-second.json", "dev1", &[Kind::Telemetry], &[]),
    ("composed/uplink-normalized.json", "dev1", &[Kind::Telemetry], &[]),
    ("composed/uplink-skip-payload-crypto.json", "dev1", &[Kind::Telemetry], &[]),
    // Bodies of the other direction, and of the management API: nobody posts them to a webhook.
    ("api-downlink-push-confirmed-corr.json", "", &[], &[Reason::Unmappable]),
    ("api-downlink-push-docs.json", "", &[], &[Reason::UnknownEvent]),
    ("api-downlink-push-minimal.json", "", &[], &[Reason::Unmappable]),
    ("v2-api-downlink-raw.json", "my-dev-id", &[Kind::Telemetry], &[]),
    ("composed/api-devices-list.json", "", &[], &[Reason::Unmappable]),
    ("composed/webhook-definition.json", "", &[], &[Reason::Unmappable]),
];

#[test]
fn shared_samples() {
    let Some(folder) = shared_fixtures("ttn") else { return };
    let mut keys = HashSet::new();
    for (file, device, kinds, problems) in SAMPLES {
        let body = std::fs::read(folder.join(file)).unwrap();
        let decoded = decode_at(&body, None, 0);
        let found: Vec<Kind> = decoded.uplinks.iter().map(|uplink| uplink.kind).collect();
        assert_eq!(found, *kinds, "{file}");
        let reasons: Vec<Reason> = decoded.problems.iter().map(|problem| problem.reason).collect();
        assert_eq!(reasons, *problems, "{file}");
        for uplink in &decoded.uplinks {
            assert_eq!(uplink.device.as_ref().unwrap().id, *device, "{file}");
            // The same uplink with and without its decoded payload.
            let is_twin = *file == "uplink-no-decoded-payload.json";
            assert_eq!(keys.insert(uplink.key), !is_twin, "{file}: the key is that of another sample");
        }
        // Masked samples are complete once the URL names the device.
        if *problems == [Reason::NoDevice] {
            let decoded = decode_at(&body, Some("from-url"), 0);
            let [uplink] = decoded.uplinks.as_slice() else { panic!("{file}: {decoded:?}") };
            assert_eq!((uplink.kind, decoded.problems.len()), (Kind::Telemetry, 0), "{file}");
        }
    }
    for part in ["", "composed"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            let is_listed = path.is_dir() || SAMPLES.iter().any(|row| row.0 == name);
            assert!(is_listed, "{name} is not in the table");
        }
    }
}

const SESSION: &str = "AZVxJ0cKqkGm0b8s7kVYyw==";

fn message(message: &Value) -> Value {
    json!({"end_device_ids": {"device_id": "d1", "application_ids": {"application_id": "a"}}, "uplink_message": message})
}

#[test]
fn a_counter_belongs_to_its_session_device_and_application() {
    let base =
        message(&json!({"session_key_id": SESSION, "f_cnt": 5, "received_at": "2026-03-01T08:00:00Z"}));
    let mut keys = HashSet::from([key(&base)]);
    for (pointer, value) in [
        ("/uplink_message/session_key_id", json!("AZVxJ0cKqkGm0b8s7kVYyx==")),
        ("/uplink_message/f_cnt", json!(6)),
        ("/end_device_ids/device_id", json!("d2")),
        ("/end_device_ids/application_ids/application_id", json!("b")),
    ] {
        let mut other = base.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(keys.insert(key(&other)), "{pointer}");
    }
    let mut restarted = base.clone();
    restarted["uplink_message"]["received_at"] = json!("2026-03-01T08:30:00Z");
    assert!(
        keys.insert(key(&restarted)),
        "a device without join keeps its session when it counts from 0 again"
    );
    let mut handled_again = base.clone();
    handled_again["received_at"] = json!("2026-03-01T08:00:09Z");
    handled_again["correlation_ids"] = json!(["gs:uplink:1"]);
    assert!(!keys.insert(key(&handled_again)), "it is the same frame whichever server handed it on");
}

#[test]
fn a_masked_counter_does_not_merge_uplinks() {
    let at = |time: &str| message(&json!({"session_key_id": SESSION, "received_at": time}));
    assert_ne!(key(&at("2026-03-01T08:00:00.1Z")), key(&at("2026-03-01T08:05:00.1Z")));
    assert_eq!(
        uplink_at(&at("2026-03-01T08:00:00Z"), 0).key,
        uplink_at(&at("2026-03-01T08:00:00Z"), 240).key
    );
}

#[test]
fn without_a_session_the_networks_id_then_its_times_then_the_whole_message_make_the_key() {
    let retried = |body: &Value| uplink_at(body, 0).key == uplink_at(body, 240).key;
    let mut body = message(&json!({"frm_payload": "AA=="}));
    assert!(!retried(&body), "nothing names one moment: two equal bodies may be two uplinks");
    body["uplink_message"]["rx_metadata"] = json!([{"gateway_ids": {"gateway_id": "g"}, "timestamp": 7}]);
    assert!(retried(&body));
    let first = key(&body);
    body["uplink_message"]["rx_metadata"][0]["timestamp"] = json!(8);
    assert_ne!(first, key(&body));
    body["received_at"] = json!("2026-03-01T08:00:00Z");
    let timed = key(&body);
    assert!(retried(&body));
    body["uplink_message"]["frm_payload"] = json!("AQ==");
    assert_ne!(timed, key(&body));
    body["correlation_ids"] = json!(["gs:conn:1", "gs:uplink:01JN"]);
    let named = key(&body);
    body["received_at"] = json!("2026-03-01T08:00:05Z");
    assert_eq!(named, key(&body));
}

#[test]
fn simulated_uplinks_are_not_merged_by_a_session_that_somebody_typed() {
    let at = |time: &str| {
        let mut body = message(&json!({"session_key_id": SESSION, "f_cnt": 1}));
        (body["simulated"], body["received_at"]) = (json!(true), json!(time));
        uplink_at(&body, 0)
    };
    assert!(at("2026-03-01T08:00:00Z").content.simulated);
    assert_ne!(at("2026-03-01T08:00:00Z").key, at("2026-03-01T08:00:01Z").key);
}

#[test]
fn every_normalized_measurement_has_its_own_key() {
    let normalized = json!([{"battery": 3}, {"battery": 3}, {"battery": 4}]);
    for (kind, session) in [
        ("uplink_message", SESSION),
        ("uplink_normalized", SESSION),
        ("uplink_message", ""),
        ("uplink_normalized", ""),
    ] {
        let body = json!({kind: {"session_key_id": session, "f_cnt": 1, "normalized_payload": normalized}});
        let decoded = decode_at(body.to_string().as_bytes(), Some("d1"), 0);
        let keys: HashSet<_> = decoded.uplinks.iter().map(|uplink| uplink.key).collect();
        assert_eq!((decoded.uplinks.len(), keys.len()), (3, 3), "{kind}");
    }
}

fn report(kind: &str, downlink: &Value) -> Uplink {
    let body = match kind {
        "downlink_failed" => json!({kind: {"downlink": downlink}}),
        _ => json!({kind: downlink}),
    };
    uplink_at(&body, 0)
}

#[test]
fn the_state_of_a_command_never_goes_back() {
    let ids = json!(["as:downlink:01", "cmd-1"]);
    let of = |kind, attempt: Option<u32>| {
        let retry = attempt.map(|attempt| json!({"attempt": attempt}));
        let mark = report(kind, &json!({"correlation_ids": ids, "confirmed_retry": retry})).state.unwrap();
        assert_eq!(mark.subject, "cmd-1");
        mark.rank
    };
    assert!(of("downlink_sent", None) < of("downlink_ack", None));
    assert!(of("downlink_queued", None) < of("downlink_sent", None));
    assert!(of("downlink_nack", Some(1)) < of("downlink_ack", Some(2)));
    assert!(
        of("downlink_nack", Some(3)) < of("downlink_failed", None),
        "a failure may not say which attempt it was"
    );
    assert!(of("downlink_nack", Some(1)) < of("downlink_sent", Some(2)));
}

#[test]
fn a_command_without_an_own_id_is_known_by_the_servers() {
    let servers = report("downlink_sent", &json!({"correlation_ids": ["gs:x:1", "as:downlink:01"]}));
    assert_eq!(servers.state.unwrap().subject, "as:downlink:01");
    assert!(!servers.content.data.contains_key("correlationIds"));
    assert_eq!(report("downlink_sent", &json!({"f_cnt": 1})).state, None);

    let queue = json!({"downlink_queue_invalidated": {"downlinks": [{"f_port": 1}, {"f_port": 1}]}});
    let reports = decode_at(queue.to_string().as_bytes(), Some("d1"), 0).uplinks;
    assert_ne!(reports[0].key, reports[1].key, "two downlinks that nothing tells apart are two");
}

#[test]
fn reports_of_one_command_have_different_keys() {
    let base = json!({"session_key_id": SESSION, "f_cnt": 1, "correlation_ids": ["as:downlink:01", "cmd"]});
    let mut keys = HashSet::new();
    for kind in ["downlink_queued", "downlink_sent", "downlink_nack", "downlink_ack", "downlink_failed"] {
        assert!(keys.insert(report(kind, &base).key), "{kind}");
    }
    for (pointer, value) in [("/f_cnt", json!(2)), ("/correlation_ids/0", json!("as:downlink:02"))] {
        let mut other = base.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(keys.insert(report("downlink_sent", &other).key), "{pointer}");
    }
}

#[test]
fn services_are_told_apart_by_content_and_time() {
    let of = |data: u8, time: &str| {
        let body = json!({"received_at": time, "service_data": {"service": "s", "data": {"x": data}}});
        (uplink_at(&body, 0).key, uplink_at(&body, 240).key)
    };
    let (first, retry) = of(1, "2026-03-01T08:00:00Z");
    assert_eq!(first, retry);
    assert_ne!(first, of(2, "2026-03-01T08:00:00Z").0);
    assert_ne!(first, of(1, "2026-03-01T08:00:01Z").0);
}

#[test]
fn messages_of_one_request_are_bounded() {
    let many = format!("[{}1]", "1,".repeat(1000));
    assert!(StoredRequest::post("application/json", many).decode(&Ttn).is_err());
}

#[test]
fn the_protobuf_message_says_what_to_do() {
    let malformed = StoredRequest::post("application/octet-stream", b"\x0a\x02").decode(&Ttn).unwrap_err();
    assert!(malformed.to_string().contains("JSON in the console"), "{malformed}");
}

#[test]
fn keys_of_sessions_are_neither_kept_nor_stored() {
    let body =
        br#"{"end_device_ids":{"device_id":"d"},"uplink_message":{"frm_payload":"8BGiOw==","f_cnt":1.0,
        "app_s_key":{"key":"MDEyMzQ1Njc4OWFiY2RlZg==","kek_label":"is/test"},
        "rx_metadata":[{"uplink_token":"CiIKIAoU"}],"decoded_payload":{"key":"blue","token":3}}}"#;
    let decoder = Ttn.configure(&Settings::new()).unwrap();
    let stored = decoder.redact(body);
    let text = String::from_utf8_lossy(&stored);
    assert!(!text.contains("MDEy") && !text.contains("is/test") && !text.contains("CiIKIAoU"), "{text}");
    assert!(text.contains(r#"{"key":"blue","token":3}"#) && text.contains(r#""f_cnt":1.0"#), "{text}");
    let of = |body: &[u8]| decode_at(body, None, 0).uplinks.remove(0);
    assert!(of(body).content.raw.as_ref().unwrap().encrypted);
    assert_eq!(of(body).content, of(&stored).content, "a stored body decodes like the one that came");
    assert!(!format!("{:?}", of(body)).contains("MDEy"));

    let v2 = br#"{"hardware_serial":"01","downlink_url":"https://x/down/a/b?key=ttn-account-v2.secret"}"#;
    assert!(!String::from_utf8_lossy(&decoder.redact(v2)).contains("secret"));
    assert!(!format!("{:?}", of(v2)).contains("secret"));
}

#[test]
fn many_normalized_measurements_do_not_multiply_a_large_message() {
    let fields: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let normalized = vec![json!({"battery": 3}); 200];
    let of = |device: &str, gateway: &str| {
        let body = json!({
            "end_device_ids": {"device_id": device},
            "uplink_message": {
                "f_cnt": 1, "decoded_payload": fields, "normalized_payload": normalized,
                "rx_metadata": [{"gateway_ids": {"gateway_id": gateway}}],
            }
        });
        check_request(&Ttn, StoredRequest::json(&body));
        let decoded = decode_at(body.to_string().as_bytes(), None, 0);
        (decoded.uplinks.len(), decoded.problems.len())
    };
    assert_eq!(of("d1", "g1"), (200, 0));
    let long = "x".repeat(100_000);
    assert_eq!(of("d1", &long), (1, 1));
    assert_eq!(of(&long, "g1"), (1, 1));
}
