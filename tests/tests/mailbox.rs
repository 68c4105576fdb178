//! Commands for devices that ask: Sigfox by its callbacks, and devices of the HTTP API; the real bridge and a real broker.
//! Not here: clouds that are called (`commands.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tests::world::{BOUND, Process, SECRET, World, exchange, wait_until};

/// A world with the Sigfox integration `sky`, and the device `pump-1` with its token, which is returned.
async fn world(downlink: &str) -> (World, Process, Process, String) {
    let world = World::new("5");
    world.configure(&format!(
        "[integrations.sky]\nconnector = \"sigfox\"\ndownlink = {downlink}\ncodec = \"pump\"\n\
         auth = {{ scheme = \"bearer\", secrets = [{{ env = \"FARM_SECRET\" }}] }}\n\
         [codecs.pump]\nformat = \"sigfox\"\ngrammar = \"level::uint:16\"\n\
         downlinks = {{ run = {{ template = \"01 seconds::uint:16 00000000 on::uint:8\" }} }}\n"
    ));
    let broker = world.start_broker().await;
    let bridge = world.start_bridge().await;
    let token = world.enrol("pump-1");
    (world, broker, bridge, token)
}

/// `device-bridge commands …`: exit code and output.
fn commands(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.bridge_command().arg("commands").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Sends a command; its id.
fn send(world: &World, arguments: &[&str]) -> String {
    let (code, told) = commands(world, &[&["send"], arguments].concat());
    assert_eq!(code, Some(0), "{told}");
    told.split('\t').next().unwrap().to_owned()
}

fn show(world: &World, id: &str) -> Value {
    serde_json::from_str(&commands(world, &["show", id]).1).unwrap()
}

async fn call(
    world: &World,
    method: &str,
    path: &str,
    secret: &str,
    more: &[(&str, &str)],
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", world.http.to_string())
        .header("authorization", format!("Bearer {secret}"))
        .header("content-type", "application/json");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let (status, body) = exchange(world.http, request).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// A BIDIR callback of the device `1A2B3C`: status and body of its answer.
async fn bidir(world: &World, sequence: u32) -> (u16, Value) {
    let body = json!({
        "device": "1A2B3C", "time": 1_795_175_990 + sequence, "seqNumber": sequence, "data": "0a1b", "ack": true,
    });
    call(world, "POST", "/webhooks/sky", SECRET, &[], body).await
}

async fn acknowledge(world: &World, sequence: u32, code: u8) {
    let body = json!({
        "device": "1A2B3C", "time": 1_795_175_990 + sequence, "infoCode": code, "downlinkAck": code == 0,
    });
    let (status, _) = call(world, "POST", "/webhooks/sky", SECRET, &[], body).await;
    assert_eq!(status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigfox_device_that_asks_gets_its_command_and_the_same_one_after_a_kill() {
    let (world, _broker, mut bridge, _) = world("{ daily_budget = 3 }").await;
    assert_eq!(bidir(&world, 1).await.0, 204, "there is nothing for it");
    for (arguments, why) in [
        (&["sigfox-1a2b3c", "x", r#"{"hex":"01"}"#][..], "less than the 8"),
        (&["sigfox-1a2b3c", "x", r#"{"hex":"0102030405060708ff"}"#], "more than the 8"),
        (&["sigfox-1a2b3c", "x", r#"{"on":true}"#], "Sigfox carries 8 bytes"),
        (
            &["sigfox-1a2b3c", "run", r#"{"on":true}"#],
            "codec \"pump\": seconds is missing; on must be a whole",
        ),
    ] {
        let (code, told) = commands(&world, &[&["send"], arguments].concat());
        assert!(code == Some(1) && told.contains(why), "{told}");
    }
    let first = send(&world, &["sigfox-1a2b3c", "a", r#"{"hex":"0123456789abcdef"}"#]);
    let second = send(&world, &["sigfox-1a2b3c", "b", r#"{"hex":"02"}"#, "--options", r#"{"pad":true}"#]);
    let wanted = (200, json!({ "1A2B3C": { "downlinkData": "0123456789abcdef" } }));
    assert_eq!(bidir(&world, 2).await, wanted);
    assert_eq!(show(&world, &first)["state"], "sent");
    bridge.kill();
    let mut bridge = world.start_bridge().await;
    assert_eq!(bidir(&world, 2).await, wanted, "the same for the same message");
    assert_eq!((&show(&world, &first)["attempts"], bidir(&world, 3).await.0), (&json!(1), 204));

    // Sent by a station: the best that is ever known.
    acknowledge(&world, 2, 0).await;
    wait_until("it is over", async || show(&world, &first)["done"] == true).await;
    assert_eq!(show(&world, &first)["state"], "sent");
    let padded = (200, json!({ "1A2B3C": { "downlinkData": "0200000000000000" } }));
    assert_eq!(bidir(&world, 4).await, padded);
    acknowledge(&world, 4, 4).await;
    assert_eq!(show(&world, &second)["history"].as_array().unwrap().last().unwrap()["reason"], "unavailable");
    // A network error: it goes again, after its pause and a restart, with the last hand-out of the day's budget.
    bridge.kill();
    let _bridge = world.start_bridge().await;
    let mut sequence = 5;
    wait_until("it is given again", async || {
        sequence += 1;
        bidir(&world, sequence).await == padded
    })
    .await;
    acknowledge(&world, sequence, 6).await;
    wait_until("it is refused for good", async || show(&world, &second)["state"] == "failed").await;
    let third = send(&world, &["sigfox-1a2b3c", "run", r#"{"seconds":300,"on":1}"#]);
    assert_eq!(bidir(&world, sequence + 1).await.0, 204, "three a day");
    let third = show(&world, &third);
    assert_eq!((&third["state"], &third["payload"]["base64"]), (&json!("queued"), &json!("AQEsAAAAAAE=")));
    assert_eq!(bidir(&world, sequence).await, padded, "what was given is given again");
}

/// Another request has come in.
async fn received_more_than(world: &World, before: f64) {
    wait_until("the request is there", async || {
        world.metric("bridge_requests_received_total").await > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_of_the_http_api_asks_waits_and_reports() {
    let (world, _broker, mut bridge, token) = world("{}").await;
    let get = async |query: &str| {
        call(&world, "GET", &format!("/v1/devices/pump-1/commands{query}"), &token, &[], Value::Null).await
    };
    let report = async |id: &str, body: Value| {
        let path = format!("/v1/devices/pump-1/commands/{id}/result");
        call(&world, "POST", &path, &token, &[], body).await.0
    };
    assert_eq!(get("").await.0, 204);
    let mut submit = world.bridge_command();
    submit.args(["commands", "send", "pump-1", "open", r#"{"valve":2}"#]);
    let before = world.metric("bridge_requests_received_total").await;
    let (polled, submitted) = tokio::join!(get("?wait=6s"), async {
        received_more_than(&world, before).await;
        tokio::task::spawn_blocking(move || submit.output().unwrap()).await.unwrap()
    });
    let id = String::from_utf8(submitted.stdout).unwrap().split('\t').next().unwrap().to_owned();
    let command = &polled.1["commands"][0];
    assert_eq!((polled.0, &command["id"], &command["attempt"]), (200, &json!(id), &json!(1)));
    assert_eq!((&command["name"], &command["arguments"]), (&json!("open"), &json!({ "valve": 2 })));
    bridge.kill();
    let mut bridge = world.start_bridge().await;
    assert_eq!(get("?wait=6s").await, polled, "the same command and attempt after a restart");
    for _ in 0..2 {
        assert_eq!(report(&id, json!({ "status": "done", "result": { "position": 90 } })).await, 204);
    }
    let shown = show(&world, &id);
    assert_eq!((&shown["state"], &shown["result"]), (&json!("acknowledged"), &json!({ "position": 90 })));
    assert_eq!(report(&id, json!({ "status": "failed" })).await, 409);
    assert_eq!(report(&"0".repeat(32), json!({ "status": "done" })).await, 404);

    let raw = send(&world, &["pump-1", "raw", r#"{"hex":"01aa"}"#]);
    let telemetry = async |preference: &str| {
        let more = [("prefer", preference)];
        call(&world, "POST", "/v1/devices/pump-1/telemetry", &token, &more, json!({ "level": 3 })).await
    };
    assert_eq!(telemetry("return=minimal").await.0, 204);
    let (status, answer) = telemetry("commands").await;
    assert_eq!((status, &answer["commands"][0]["payload"]), (200, &json!("Aao=")));
    assert_eq!(report(&raw, json!({ "status": "failed", "reason": "jammed" })).await, 204);
    let shown = show(&world, &raw);
    let last = shown["history"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&shown["state"], &last["detail"]), (&json!("failed"), &json!("jammed")));
    assert_eq!(telemetry("commands").await.0, 204);

    // A bridge that goes down lets nobody wait.
    let (begun, before) = (Instant::now(), world.metric("bridge_requests_received_total").await);
    let (polled, code) = tokio::join!(get("?wait=60s"), async {
        received_more_than(&world, before).await;
        bridge.terminate().await
    });
    assert_eq!((polled.0, code), (204, Some(0)));
    assert!(begun.elapsed() < BOUND / 2);
}
