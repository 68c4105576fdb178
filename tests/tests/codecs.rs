//! From a webhook's bytes to the messages for the hub: codecs by integration, profile and device, their mistakes, trials,
//! the dry run, and the past decoded again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::body::Body;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::{Kind, Message};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tests::bridge::{Answer, Bridge};
use tests::world::wait_until;

const CLIMATE: &str = "function decodeUplink(input) {
  if (input.bytes.length < 3) { return { errors: ['too short'] }; }
  return {
    data: { temperature: (input.bytes[0] << 8 | input.bytes[1]) / 10, humidity: input.bytes[2], from: input.fPort },
    warnings: input.bytes.length > 3 ? ['too long'] : [],
  };
}";

const LOOP: &str = "function decodeUplink(input) { while (true) {} }";

const CODECS: &str = r#"
[codecs.climate]
format = "javascript"
file = "climate.js"
map = [
  { from = "temperature", unit = "Cel" },
  { from = "humidity", unit = "%RH" },
  { from = "from", to = "lastPort", as = "property" },
]
[codecs.endless]
format = "javascript"
file = "loop.js"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("climate.js"), CLIMATE).unwrap();
    std::fs::write(folder.path().join("loop.js"), LOOP).unwrap();
    folder
}

/// A bridge whose integration `ttn` uses these codecs; the lines stand below `[integrations.ttn]`.
async fn bridge(more: &str, ttn: &str) -> Bridge {
    Bridge::in_folder_with(folder(), more, ttn).await
}

fn uplink(device: &str, counter: u32, bytes: &[u8]) -> Value {
    json!({
        "end_device_ids": { "device_id": device, "application_ids": { "application_id": "app1" } },
        "uplink_message": {
            "session_key_id": "S1", "f_port": 7, "f_cnt": counter, "frm_payload": BASE64_STANDARD.encode(bytes),
            "received_at": "2026-11-20T12:00:00Z",
            "version_ids": { "brand_id": "acme", "model_id": "sniffer" }
        }
    })
}

fn measurements(message: &Message) -> Vec<(&str, &Value, Option<&str>)> {
    let all = message.content.measurements.iter();
    all.map(|m| (m.name.as_str(), &m.value, m.unit.as_deref())).collect()
}

async fn operate(bridge: &Bridge, path: &str, body: Option<Value>) -> Answer {
    let token = bridge.operator_token();
    let request = match &body {
        Some(_) => Request::post(path),
        None => Request::get(path),
    };
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    bridge.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn bytes_become_named_values_with_units() {
    let bridge = bridge(CODECS, "codec = \"climate\"").await;
    bridge.accept("ttn", &uplink("d1", 1, &[0, 215, 64])).await;
    let messages = bridge.messages().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(
        measurements(&messages[0]),
        [("temperature", &json!(21.5), Some("Cel")), ("humidity", &json!(64), Some("%RH"))]
    );
    assert_eq!(messages[0].content.raw.as_ref().unwrap().data, [0, 215, 64], "the payload stays with it");
    assert_eq!(
        (messages[1].kind, measurements(&messages[1])),
        (Kind::Properties, vec![("lastPort", &json!(7), None)])
    );
    assert_ne!(messages[0].id, messages[1].id);
    bridge.accept("ttn", &uplink("d1", 1, &[0, 215, 64])).await;
    assert_eq!(bridge.messages().await.len(), 2, "the same uplink again is a duplicate as a whole");
}

#[tokio::test]
async fn what_cannot_be_true_is_kept_aside_and_what_cannot_be_decoded_goes_on_raw() {
    let bridge = bridge(CODECS, "codec = \"climate\"").await;
    bridge.accept("ttn", &uplink("d1", 1, &[0, 215, 130])).await;
    bridge.accept("ttn", &uplink("d1", 2, &[1])).await;
    bridge.accept("ttn", &uplink("d1", 3, &[0, 215, 64, 9])).await;
    let messages = bridge.messages().await;
    let telemetry: Vec<&Message> =
        messages.iter().filter(|message| message.kind == Kind::Telemetry).collect();
    assert_eq!(measurements(telemetry[0]), [("temperature", &json!(21.5), Some("Cel"))]);
    assert_eq!(telemetry[0].content.data["outOfRange"], json!({ "humidity": 130 }));
    assert_eq!(telemetry[0].content.warnings, ["humidity 130 is out of range (0 to 100 %RH)"]);
    assert!(measurements(telemetry[1]).is_empty());
    assert_eq!(telemetry[1].content.warnings, ["too short"]);
    assert_eq!(telemetry[1].content.raw.as_ref().unwrap().data, [1]);
    assert_eq!(telemetry[2].content.warnings, ["too long"]);
    let page = bridge.send(Request::get("/metrics").body(Body::empty()).unwrap()).await.body;
    assert!(page.contains("bridge_payloads_undecoded_total{integration=\"ttn\"} 1"), "{page}");
}

#[tokio::test]
async fn an_endless_loop_costs_its_own_message_only() {
    let bridge = bridge(CODECS, "codec = \"climate\"\nprofiles = { \"acme/sniffer\" = \"endless\" }").await;
    bridge.accept("ttn", &uplink("d1", 1, &[0, 215, 64])).await;
    let messages = bridge.messages().await;
    assert_eq!(messages.len(), 1);
    assert!(measurements(&messages[0]).is_empty());
    let warning = &messages[0].content.warnings[0];
    assert!(warning.contains("endless") && warning.contains("deadline"), "{warning}");
}

#[tokio::test]
async fn a_codec_that_does_not_compile_never_replaces_one_that_works() {
    let bridge = bridge(CODECS, "codec = \"climate\"").await;
    std::fs::write(bridge.folder.path().join("climate.js"), "function decodeUplink(input) {\n  return {")
        .unwrap();
    let mistakes = bridge.reconfigured(CODECS, "codec = \"climate\"").unwrap_err().to_string();
    assert!(mistakes.contains("codecs.climate") && mistakes.contains("line 2"), "{mistakes}");
    bridge.accept("ttn", &uplink("d1", 1, &[0, 215, 64])).await;
    assert_eq!(bridge.messages().await[0].content.measurements.len(), 2);

    std::fs::write(
        bridge.folder.path().join("climate.js"),
        "function decodeUplink() { return { data: { n: 1 } } }",
    )
    .unwrap();
    let config = bridge.reconfigured(CODECS, "codec = \"climate\"").unwrap();
    bridge.app.as_ref().unwrap().reload(&config).unwrap();
    bridge.accept("ttn", &uplink("d1", 2, &[0, 215, 64])).await;
    assert_eq!(measurements(bridge.messages().await.last().unwrap()), [("n", &json!(1), None)]);
}

#[tokio::test]
async fn a_codec_is_tried_without_effect_and_shows_every_step() {
    let bridge = bridge(CODECS, "codec = \"climate\"").await;
    let answer =
        operate(&bridge, "/admin/v1/codecs/climate/try", Some(json!({ "hex": "00d782", "port": 2 }))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let tried: Value = serde_json::from_str(&answer.body).unwrap();
    let steps: Vec<&str> =
        tried["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["decoded", "mapped", "normalised"]);
    assert_eq!(tried["steps"][0]["samples"][0]["measurements"]["humidity"], 130);
    assert_eq!(tried["messages"][0]["measurements"], json!({ "temperature": 21.5 }));
    assert_eq!(tried["messages"][0]["units"], json!({ "temperature": "Cel" }));
    assert_eq!(tried["messages"][0]["properties"], json!({ "lastPort": 2 }));
    assert!(bridge.messages().await.is_empty());

    for (path, body, status, kind) in [
        ("nobody", json!({ "hex": "00" }), StatusCode::NOT_FOUND, "unknown-codec"),
        ("climate", json!({ "hex": "0" }), StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        ("climate", json!({ "hexx": "00" }), StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
    ] {
        let answer = operate(&bridge, &format!("/admin/v1/codecs/{path}/try"), Some(body)).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains(&format!("urn:device-bridge:problem:{kind}")), "{}", answer.body);
    }
    let unproved = Request::post("/admin/v1/codecs/climate/try").body(Body::from("{}")).unwrap();
    assert_eq!(bridge.send(unproved).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_trial_records_differences_and_is_promoted_or_dropped() {
    let trial = format!(
        "{CODECS}\n[codecs.better]\nformat = \"javascript\"\nfile = \"better.js\"\ntrial_of = \"climate\"\n"
    );
    let folder = folder();
    let better = "function decodeUplink(input) { return { data: { temperature: 1, battery: 3 } } }";
    std::fs::write(folder.path().join("better.js"), better).unwrap();
    let bridge = Bridge::in_folder_with(folder, &trial, "codec = \"climate\"").await;
    bridge.accept("ttn", &uplink("d1", 1, &[0, 215, 64])).await;
    let live = &bridge.messages().await[0];
    assert_eq!(measurements(live).len(), 2, "the live codec counts");
    let overview = async || -> Value {
        serde_json::from_str(&operate(&bridge, "/admin/v1/codecs", None).await.body).unwrap()
    };
    wait_until("the trial has seen it", async || overview().await["trials"][0]["payloads"] == 1).await;
    let overview = overview().await;
    assert_eq!(overview["trials"][0]["different"], 1);
    let difference = &overview["differences"][0];
    assert_eq!((&difference["live"], &difference["trial"]), (&json!("climate"), &json!("better")));
    assert_eq!(difference["fromTrial"]["samples"][0]["measurements"]["battery"], 3);

    let promoted =
        bridge.reconfigured(&trial.replace("trial_of = \"climate\"", ""), "codec = \"better\"").unwrap();
    bridge.app.as_ref().unwrap().reload(&promoted).unwrap();
    bridge.accept("ttn", &uplink("d1", 2, &[0, 215, 64])).await;
    assert_eq!(bridge.messages().await.last().unwrap().content.measurements[0].value, 1);
}

#[tokio::test]
async fn the_past_is_decoded_again_once() {
    let archive = format!("[archive]\nkeep = \"7d\"\n{CODECS}");
    let bridge = bridge(&archive, "codec = \"climate\"").await;
    // No codec at all at first for these: they went on raw.
    for counter in 1..=3 {
        bridge.accept("ttn", &uplink("d1", counter, &[1])).await;
    }
    bridge.accept("ttn", &uplink("d2", 1, &[1])).await;
    let before = bridge.messages().await;
    assert_eq!(before.len(), 4);
    std::fs::write(
        bridge.folder.path().join("climate.js"),
        "function decodeUplink(input) { return { data: { temperature: input.bytes[0] } } }",
    )
    .unwrap();
    let config = bridge.reconfigured(&archive, "codec = \"climate\"").unwrap();
    bridge.app.as_ref().unwrap().reload(&config).unwrap();

    let replay = async |body: Value| -> Value {
        let answer = operate(&bridge, "/admin/v1/replay", Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    };
    let range = json!({ "device": "d1", "from": "2026-01-01T00:00:00Z", "limit": 2, "dryRun": true });
    let mut dry = Value::Null;
    wait_until("payloads are archived", async || {
        dry = replay(range.clone()).await;
        dry["next"].is_u64()
    })
    .await;
    assert_eq!((&dry["payloads"], &dry["corrected"]), (&json!(2), &json!(2)));
    assert_eq!(dry["results"][0]["messages"][0]["measurements"], json!({ "temperature": 1 }));
    assert_eq!(bridge.messages().await.len(), 4, "a dry run sends nothing");

    let range = json!({ "device": "d1", "from": "2026-01-01T00:00:00Z" });
    let done = replay(range.clone()).await;
    assert_eq!((&done["corrected"], &done["next"]), (&json!(3), &Value::Null));
    let after = bridge.messages().await;
    assert_eq!(after.len(), 7);
    for (old, new) in before[..3].iter().zip(&after[4..]) {
        assert_eq!((new.corrects, new.replayed, old.replayed), (Some(old.id), true, false));
        assert_ne!(new.id, old.id);
        assert_eq!((new.time, new.received_at), (old.time, old.received_at));
        assert_eq!(measurements(new), [("temperature", &json!(1), Some("Cel"))]);
    }
    let again = replay(range).await;
    assert_eq!((&again["corrected"], &again["duplicate"]), (&json!(0), &json!(3)));
    assert_eq!(bridge.messages().await.len(), 7, "the same correction twice is a duplicate");
}

#[tokio::test]
async fn without_an_archive_a_replay_says_so() {
    let bridge = bridge(CODECS, "codec = \"climate\"").await;
    let answer = operate(&bridge, "/admin/v1/replay", Some(json!({ "from": "2026-01-01T00:00:00Z" }))).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body.contains("archive.keep"), "{}", answer.body);
}
