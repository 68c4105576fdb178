//! What the ChirpStack connector promises beyond its fixtures.

use bridge_core::{IdempotencyKey, Kind, Uplink};
use serde_json::{Value, json};

use super::ChirpStack;
use crate::connector::Connector as _;
use crate::connectors::conformance::{received_at, run_fixtures, shared_fixtures, survives_anything};
use crate::fuzzing::StoredRequest;

#[test]
fn fixtures_are_decoded_as_they_say() {
    run_fixtures(&ChirpStack);
}

#[test]
fn no_input_breaks_a_law() {
    survives_anything(&ChirpStack);
}

fn decode_at(query: &str, body: &[u8], seconds: u64) -> bridge_core::Decoded {
    let request = StoredRequest { query: query.into(), ..StoredRequest::post("application/json", body) };
    request.decode_at(&ChirpStack, received_at(seconds)).unwrap()
}

fn uplink_at(event: &str, body: &Value, seconds: u64) -> Uplink {
    decode_at(&format!("event={event}"), body.to_string().as_bytes(), seconds).uplinks.remove(0)
}

fn key(event: &str, body: &Value) -> IdempotencyKey {
    uplink_at(event, body, 0).key
}

/// Every sample of a ChirpStack v4 event, with and without the event in the query.
#[test]
fn shared_samples() {
    let Some(folder) = shared_fixtures("other") else { return };
    let vicki = "70b3d52dd300ed31";
    let table = [
        ("chirpstack4-ack.json", "ack", Kind::Command, vicki),
        ("chirpstack4-integration-docs.json", "integration", Kind::Service, "0016c001f000175a"),
        ("chirpstack4-join.json", "join", Kind::Join, vicki),
        ("chirpstack4-location-docs.json", "location", Kind::Location, "0101010101010101"),
        ("chirpstack4-status-am308.json", "status", Kind::Status, "24e124707c483636"),
        ("chirpstack4-status.json", "status", Kind::Status, vicki),
        ("chirpstack4-txack.json", "txack", Kind::Command, vicki),
        ("chirpstack4-up-classc.json", "up", Kind::Telemetry, "a8404127a188d826"),
        ("chirpstack4-up-door.json", "up", Kind::Telemetry, "a84041263188b787"),
        ("chirpstack4-up-dragino-2025.json", "up", Kind::Telemetry, "a84041f621857cd2"),
        ("composed/chirpstack4-ack-negative.json", "ack", Kind::Command, vicki),
    ];
    for (file, event, kind, device) in table {
        let body = std::fs::read(folder.join(file)).unwrap();
        for query in [format!("event={event}"), String::new()] {
            let decoded = decode_at(&query, &body, 0);
            let [uplink] = decoded.uplinks.as_slice() else { panic!("{file}: {decoded:?}") };
            assert_eq!((uplink.kind, decoded.problems.len()), (kind, 0), "{file}");
            let external = uplink.device.as_ref().unwrap();
            assert_eq!(external.id, device, "{file}");
            assert!(external.scope.is_some() && external.name.is_some(), "{file}");
            assert!(uplink.time.is_some() && uplink.content.warnings.is_empty(), "{file}: {uplink:?}");
            assert_eq!(uplink.content.raw.is_some(), kind == Kind::Telemetry, "{file}");
            assert_eq!(uplink.content.location.is_some(), kind == Kind::Location, "{file}");
        }
    }
    let listed: Vec<&str> = table.iter().map(|row| row.0).collect();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            !name.starts_with("chirpstack4-") || listed.contains(&name.as_str()),
            "{name} is not in the table"
        );
    }
    let version_3 = std::fs::read(folder.join("chirpstack3-up-hono.json")).unwrap();
    assert_eq!(decode_at("event=up", &version_3, 0).problems.len(), 1);
}

#[test]
fn names_scope_and_upper_case() {
    let info = json!({"devEui": "A84041263188B787", "applicationId": "app", "deviceName": "Türe"});
    let device = uplink_at("up", &json!({"deviceInfo": info, "fCnt": 1}), 0).device.unwrap();
    assert_eq!(device.id, "a84041263188b787");
    assert_eq!((device.scope.as_deref(), device.name.as_deref()), (Some("app"), Some("Türe")));
}

#[test]
fn a_late_txack_does_not_undo_an_ack() {
    let report = |event, acknowledged: Option<bool>| {
        let body = json!({
            "deviceInfo": {"devEui": "a1"}, "queueItemId": "q", "acknowledged": acknowledged, "gatewayId": "g"
        });
        uplink_at(event, &body, 0).state.unwrap()
    };
    let (sent, ack, nack) = (report("txack", None), report("ack", Some(true)), report("ack", Some(false)));
    assert!(sent.subject == "q" && ack.subject == "q");
    assert!(sent.rank < ack.rank && ack.rank == nack.rank);
    assert_eq!(
        uplink_at("txack", &json!({"deviceInfo": {"devEui": "a1"}, "gatewayId": "g", "downlinkId": 1}), 0)
            .state,
        None
    );
}

#[test]
fn keys_tell_events_apart() {
    let info = json!({"devEui": "a1"});
    let with_id =
        |event| key(event, &json!({"deviceInfo": info, "deduplicationId": "d", "fCnt": 1, "margin": 1}));
    assert_ne!(with_id("up"), with_id("status"));
    let of = |event, body: Value| key(event, &body);
    // Two integrations may speak about one uplink.
    assert_ne!(
        of(
            "integration",
            json!({"deviceInfo": info, "deduplicationId": "d", "integrationName": "x", "eventType": "a"})
        ),
        of(
            "integration",
            json!({"deviceInfo": info, "deduplicationId": "d", "integrationName": "x", "eventType": "b"})
        ),
    );
    // Log lines have no deduplication id of their own.
    assert_ne!(
        of("log", json!({"deviceInfo": info, "time": "2026-03-01T08:00:00Z", "level": "INFO", "code": "A"})),
        of("log", json!({"deviceInfo": info, "time": "2026-03-01T08:00:00Z", "level": "INFO", "code": "B"})),
    );
    // One queue item may be sent several times.
    assert_ne!(
        of("txack", json!({"deviceInfo": info, "queueItemId": "q", "gatewayId": "g", "fCntDown": 1})),
        of("txack", json!({"deviceInfo": info, "queueItemId": "q", "gatewayId": "g", "fCntDown": 2})),
    );
    // Another device.
    assert_ne!(
        of("up", json!({"deviceInfo": {"devEui": "a2"}, "deduplicationId": "d", "fCnt": 1})),
        with_id("up")
    );
}

#[test]
fn without_any_id_nothing_is_merged() {
    let timed =
        json!({"deviceInfo": {"devEui": "a1"}, "time": "2026-03-01T08:00:00Z", "fCnt": 1, "data": "AQ=="});
    assert_eq!(uplink_at("up", &timed, 0).key, uplink_at("up", &timed, 9).key);
    let bare = json!({"deviceInfo": {"devEui": "a1"}, "data": "AQ=="});
    assert_ne!(uplink_at("up", &bare, 0).key, uplink_at("up", &bare, 9).key);
}

#[test]
fn credentials_are_not_stored() {
    let decoder = ChirpStack.configure(&Default::default()).unwrap();
    let stored =
        decoder.redact(br#"{"joinServerContext":{"appSKey":"0011"},"object":{"key":1,"Password":"p"}}"#);
    assert_eq!(
        String::from_utf8_lossy(&stored),
        r#"{"joinServerContext":{"appSKey":"redacted"},"object":{"key":1,"Password":"redacted"}}"#
    );
}
