//! Devices and gateways that speak HTTP, against the whole bridge: the real router over a real store with the hub down, then
//! the real binary with curl and mosquitto. Not here: every fault of a body (`adapters/http-api`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use axum::body::Body;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::ports::{
    Credential, Credentials, DeviceRecord, DeviceState, NewDeadLetter, Proof, RawRequest, Registry,
    TokenDigest,
};
use bridge_core::{DeviceId, ExternalId, IntegrationName, Kind, Reason, Timestamp};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use store_embedded::{EmbeddedStore, Mode};
use tests::bridge::{Answer, Bridge, NEXT_SECRET, SECRET};
use tests::world::{World, program, wait_until};

const GATEWAY: &str = "[gateways.plant]\nsecrets = [{ env = \"ONE\" }]\ndevices = [\"plant-*\"]\n";
/// 43 characters, as a token has them.
const TOKEN: &str = "token-of-pump-1-of-the-tests-0123456789abcd";

/// A bridge with the device `pump-1` and its token.
async fn bridge(more: &str) -> Bridge {
    let bridge = Bridge::with(&format!("{GATEWAY}{more}")).await;
    let id = DeviceId::parse("pump-1").unwrap();
    let record = DeviceRecord {
        integration: IntegrationName::parse("http").unwrap(),
        external: ExternalId::parse(id.as_str()).unwrap(),
        scope: None,
        name: None,
        hub_id: None,
        codec: None,
        tags: Vec::new(),
        state: DeviceState::Active,
        first_seen: Timestamp::EPOCH,
        last_seen: None,
        id: id.clone(),
    };
    Registry::insert(&bridge.store, &record).await.unwrap();
    let digest = TokenDigest::of(TOKEN.as_bytes());
    let credential = Credential { digest, proof: Proof::Token, device: id, created: Timestamp::EPOCH };
    assert!(Credentials::insert(&bridge.store, &credential).await.unwrap());
    bridge
}

async fn telemetry(
    bridge: &Bridge,
    secret: &str,
    device: &str,
    media_type: &str,
    body: impl Into<Body>,
) -> Answer {
    let request = Request::post(format!("/v1/devices/{device}/telemetry"))
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, media_type)
        .body(body.into());
    bridge.send(request.unwrap()).await
}

#[tokio::test]
async fn every_way_to_say_it() {
    let bridge = bridge("[devices_api]\ncodec = \"auto\"\n").await;
    let senml = json!([
        { "bn": "urn:dev:mac:01:", "bt": 1_767_225_600, "n": "temperature", "u": "Cel", "v": 21.5 },
        { "n": "temperature", "u": "Cel", "v": 22, "t": 60 }
    ]);
    // {"pressure": 1013}
    let cbor = [&[0xa1, 0x68][..], b"pressure", &[0x19, 0x03, 0xf5]].concat();
    let full =
        json!({ "measurements": { "level": 3 }, "units": { "level": "m" }, "time": "2026-01-01T00:00:00Z" });
    for (media_type, body, status) in [
        ("application/json", json!({ "temperature": 21.5 }).to_string().into_bytes(), 204),
        ("application/json", full.to_string().into_bytes(), 204),
        ("application/senml+json", senml.to_string().into_bytes(), 200),
        ("application/cbor", cbor, 204),
        ("text/plain", b"humidity=48.5".to_vec(), 204),
    ] {
        let answer = telemetry(&bridge, TOKEN, "pump-1", media_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{media_type}: {}", answer.body);
    }
    let messages = bridge.messages().await;
    let said: Vec<(String, Value)> = messages
        .iter()
        .map(|message| &message.content.measurements[0])
        .map(|measurement| (measurement.name.clone(), measurement.value.clone()))
        .collect();
    let named = |name: &str, value: Value| (name.to_owned(), value);
    assert_eq!(
        said,
        [
            named("temperature", json!(21.5)),
            named("level", json!(3)),
            named("temperature", json!(21.5)),
            named("temperature", json!(22)),
            named("pressure", json!(1013)),
            named("humidity", json!(48.5)),
        ]
    );
    assert_eq!(messages[3].time.unwrap().to_string(), "2026-01-01T00:01:00.000Z");
    assert!(messages[5].content.raw.is_some(), "raw payloads are the codec's, and are kept");
    assert!(messages.iter().all(|message| message.source == "http" && message.device.is_some()));

    let broken = telemetry(&bridge, TOKEN, "pump-1", "application/cbor", vec![0xa1, 0x61]).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let patch = Request::patch("/v1/devices/pump-1/properties")
        .header(header::AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(format!("pump-1:{TOKEN}"))))
        .body(Body::from(r#"{"firmware":"1.2"}"#));
    assert_eq!(bridge.send(patch.unwrap()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(bridge.messages().await[6].kind, Kind::Properties);
    let metrics = bridge.send(Request::get("/metrics").body(Body::empty()).unwrap()).await;
    assert!(metrics.body.contains("bridge_requests_received_total{integration=\"http\"} 7\n"));
    assert!(
        metrics.body.contains("bridge_requests_refused_total{integration=\"http\",reason=\"malformed\"} 1\n")
    );
}

#[tokio::test]
async fn what_is_sent_again_is_not_doubled() {
    let bridge = bridge("").await;
    let batch = json!([
        { "measurements": { "a": 1 }, "id": "k-1" },
        { "measurements": { "a": 1 }, "time": "2026-01-01T00:00:00Z" }
    ]);
    for wanted in ["stored", "duplicate"] {
        let answer = telemetry(&bridge, TOKEN, "pump-1", "application/json", batch.to_string()).await;
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let items = answer["items"].as_array().unwrap();
        assert!(items.len() == 2 && items.iter().all(|item| item["result"] == wanted), "{answer}");
    }
    assert_eq!(bridge.messages().await.len(), 2);
}

#[tokio::test]
async fn credentials_change_while_it_runs_and_are_not_stored() {
    let bridge = bridge("").await;
    let body = r#"{"a":1}"#;
    let status = async |bridge: &Bridge, secret: &str, device: &str| {
        telemetry(bridge, secret, device, "application/json", body).await.status.as_u16()
    };
    assert_eq!(status(&bridge, TOKEN, "pump-1").await, 204);
    assert_eq!(status(&bridge, SECRET, "plant-1").await, 204);
    assert_eq!(status(&bridge, SECRET, "pump-1").await, 403);
    assert_eq!(status(&bridge, NEXT_SECRET, "plant-1").await, 401);
    let renewed = GATEWAY.replace("ONE", "NEXT").replace("plant-*", "pump-*");
    let config = bridge.reconfigured(&renewed, "").unwrap();
    bridge.app.as_ref().unwrap().reload(&config).unwrap();
    assert_eq!(status(&bridge, SECRET, "plant-1").await, 401);
    assert_eq!(status(&bridge, NEXT_SECRET, "plant-1").await, 403);
    assert_eq!(status(&bridge, NEXT_SECRET, "pump-2").await, 204);

    assert!(Credentials::remove(&bridge.store, &TokenDigest::of(TOKEN.as_bytes())).await.unwrap());
    wait_until("the token is bad", async || status(&bridge, TOKEN, "pump-1").await == 401).await;
    let config = bridge.reconfigured("[devices_api]\nenabled = false", "").unwrap();
    bridge.app.as_ref().unwrap().reload(&config).unwrap();
    assert_eq!(status(&bridge, NEXT_SECRET, "pump-2").await, 404);

    let stored = bridge.everything_stored().await;
    for mark in [TOKEN, SECRET, NEXT_SECRET] {
        assert!(
            !stored.windows(mark.len()).any(|window| window == mark.as_bytes()),
            "{mark} is in the store"
        );
    }
}

#[tokio::test]
async fn azure_s_stateless_bridge_can_be_replaced() {
    let bridge = bridge("").await;
    let post = async |query: &str, body: Value| {
        let request = Request::post(format!("/api/IoTCIntegration{query}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        bridge.send(request.unwrap()).await
    };
    let body = json!({
        "device": { "deviceId": "plant-7", "modelId": "dtmi:acme:probe;1" },
        "measurements": { "temp": 20.31, "ledColor": "blue" }, "timestamp": "2026-01-01T01:00:00+01:00"
    });
    let code = format!("?code={SECRET}");
    for _ in 0..2 {
        let answer = post(&code, body.clone()).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    }
    assert_eq!(post("?code=wrong", body.clone()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        post(&code, json!({ "device": { "deviceId": "other" }, "measurements": {} })).await.status,
        403
    );
    let refused = post(&code, json!({ "device": { "deviceId": "plant-7" }, "measurements": 1 })).await;
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(
        (refused.status, &problem["errors"][0]["pointer"]),
        (StatusCode::BAD_REQUEST, &json!("/measurements"))
    );
    let messages = bridge.messages().await;
    assert_eq!(messages.len(), 1, "the second copy is none");
    assert_eq!(messages[0].time.unwrap().to_string(), "2026-01-01T00:00:00.000Z");
    assert_eq!(messages[0].content.data["model"], "dtmi:acme:probe;1");
    assert_eq!(messages[0].device.as_ref().unwrap().as_str(), "plant-7");
}

#[tokio::test]
async fn a_dead_letter_of_a_device_is_replayed() {
    use bridge_core::ports::{DeadLetterFilter, DeadLetters};
    let bridge = bridge("").await;
    let letter = NewDeadLetter {
        at: Timestamp::EPOCH,
        integration: IntegrationName::parse("http").unwrap(),
        device: Some("pump-1".into()),
        reason: Reason::UnknownDevice,
        detail: "it was gone for a moment".into(),
        request: Some(RawRequest {
            method: "POST".into(),
            path_device: Some("pump-1".into()),
            query: String::new(),
            content_type: Some("application/json".into()),
            body: br#"{"a":1}"#.to_vec(),
        }),
        record: None,
    };
    bridge.store.bury(&[letter]).await.unwrap();
    bridge.store.mark_for_replay(&DeadLetterFilter::default()).await.unwrap();
    wait_until("the letter is gone", async || bridge.letters().await.is_empty()).await;
    assert!(bridge.messages().await[0].replayed);
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_command_line_makes_lists_and_removes_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        Command::new(program()).args(arguments).current_dir(folder.path()).output().unwrap()
    };
    drop(EmbeddedStore::open(&folder.path().join("device-bridge-data"), Mode::Tool, 1 << 30).unwrap());
    let csv = "integration,external_id,id\nhttp,Pump-1,\nhttp,pump-2,another\n";
    std::fs::write(folder.path().join("fleet.csv"), csv).unwrap();
    let import = text(&run(&["devices", "import", "fleet.csv"]));
    assert!(import.contains("created 1, updated 0, failed 1") && import.contains("has one id"), "{import}");

    let unknown = run(&["devices", "token", "add", "pump-9"]);
    assert!(
        !unknown.status.success() && text(&unknown).contains("there is no device pump-9"),
        "{}",
        text(&unknown)
    );
    let added = run(&["devices", "token", "add", "Pump-1"]);
    let token = String::from_utf8(added.stdout.clone()).unwrap();
    assert_eq!(token.trim().len(), 43, "alone on standard output: {}", text(&added));
    assert!(run(&["devices", "token", "add", "Pump-1"]).status.success());
    let id = TokenDigest::of(token.trim().as_bytes()).to_string();
    let listed = text(&run(&["devices", "token", "list"]));
    assert!(
        listed.lines().count() == 2 && listed.contains(&id) && !listed.contains(token.trim()),
        "{listed}"
    );
    let removed = run(&["devices", "token", "remove", "Pump-1", &id]);
    assert!(removed.status.success() && text(&removed).contains(": done"));
    let again = run(&["devices", "token", "remove", "Pump-1", &id]);
    assert!(!again.status.success() && text(&again).contains("no such token"));
    assert!(run(&["devices", "remove", "Pump-1"]).status.success());
    assert_eq!(text(&run(&["devices", "token", "list", "Pump-1"])), "", "they go with their device");
}

fn curl(arguments: &[&str]) -> String {
    text(&Command::new("curl").args(["-s", "-i"]).args(arguments).output().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_of_its_own_reaches_the_hub() {
    let world = World::new("5");
    world.configure("[gateways.plant]\nsecrets = [{ env = \"FARM_SECRET\" }]\ndevices = [\"plant-*\"]\n");
    let _broker = world.start_broker().await;
    let mut bridge = world.start_bridge().await;
    let token = world.enrol("pump-1");
    let (bearer, json) = (format!("Authorization: Bearer {token}"), "Content-Type: application/json");
    let device = format!("http://{}/v1/devices/pump-1", world.http);
    let telemetry = format!("{device}/telemetry");
    let batch = r#"[{"measurements":{"temperature":21.5},"time":"2026-01-01T00:00:00Z"}]"#;
    let answer = curl(&["-H", &bearer, "-H", json, "-d", batch, &telemetry]);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"result\""), "{answer}");
    let properties = format!("{device}/properties");
    let answer =
        curl(&["-X", "PATCH", "-H", &bearer, "-H", json, "-d", r#"{"firmware":"1.2"}"#, &properties]);
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let azure = format!("http://{}/api/IoTCIntegration?code={}", world.http, tests::world::SECRET);
    let body = r#"{"device":{"deviceId":"plant-1"},"measurements":{"temp":20.31}}"#;
    let answer = curl(&["-H", json, "-d", body, &azure]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(curl(&["-d", "x=1", &telemetry]).starts_with("HTTP/1.1 401"));
    assert!(curl(&["-H", &bearer, "-d", "x=1", &telemetry]).starts_with("HTTP/1.1 415"));

    wait_until("all of it is at the hub", async || {
        let accepted = world.metric("bridge_uplinks_delivered_total").await
            + world.metric("bridge_uplinks_stored_total").await;
        accepted == 3.0 && world.outbox() == 0
    })
    .await;
    let port = world.mqtt.to_string();
    let retained = Command::new("mosquitto_sub")
        .args(["-p", &port, "-t", "devices/pump-1/properties", "-C", "1", "-W", "30"])
        .output()
        .unwrap();
    let message: Value = serde_json::from_slice(&retained.stdout).unwrap();
    assert_eq!((&message["properties"]["firmware"], &message["source"]), (&json!("1.2"), &json!("http")));
    assert_eq!(bridge.terminate().await, Some(0));
    let _bridge = world.start_bridge().await;
    let answer = curl(&["-H", &bearer, "-H", json, "-d", batch, &telemetry]);
    assert!(answer.contains("\"result\":\"duplicate\""), "also over a restart: {answer}");
}
