//! API keys that The Things Stack announces with its webhooks: the real bridge, a real broker, and a cloud written here from
//! the reference. Not here: what is read of the headers (`adapters/webhook`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;
use tests::cloud::Cloud;
use tests::world::{SECRET, World, exchange, wait_until};

const KEY: &str = "NNSXS.THE-ANNOUNCED-KEY-OF-THE-TESTS";
const NEXT_KEY: &str = "NNSXS.THE-NEXT-ANNOUNCED-KEY-OF-THE-TESTS";

/// A webhook that announces this key for this origin.
async fn announce(world: &World, origin: &str, key: &str, number: u32, secret: &str) -> u16 {
    let down = format!("{origin}/api/v3/as/applications/app/webhooks/wh-1/devices/d1/down");
    let body = json!({
        "end_device_ids": { "device_id": "d1", "application_ids": { "application_id": "app" } },
        "received_at": "2026-11-20T12:00:00Z",
        "uplink_message": { "session_key_id": "S", "f_port": 1, "f_cnt": number, "frm_payload": "AQ==" },
    });
    let request = http::Request::post("/webhooks/farm")
        .header("host", world.http.to_string())
        .header("authorization", format!("Bearer {secret}"))
        .header("content-type", "application/json")
        .header("x-downlink-apikey", key)
        .header("x-downlink-push", format!("{down}/push"))
        .header("x-downlink-replace", format!("{down}/replace"))
        .body(Full::new(Bytes::from(body.to_string())));
    exchange(world.http, request.unwrap()).await.unwrap().0
}

fn send(world: &World) {
    let arguments = ["commands", "send", "d1", "go", r#"{"hex":"01"}"#];
    let output = world.bridge_command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn ignored(world: &World) -> f64 {
    world.metric("bridge_announcements_ignored_total").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_key_is_kept_and_used_where_it_may_go() {
    let (cloud, address) = Cloud::start(json!({})).await;
    let origin = format!("http://{address}");
    let (stranger, strange_address) = Cloud::start(json!({})).await;
    let world = World::new("5");
    let path = world.folder.path().join("bridge.toml");
    std::fs::write(world.folder.path().join("seal.key"), "a-key-for-secrets-at-rest-of-the-tests").unwrap();
    let config = std::fs::read_to_string(&path).unwrap()
        + &format!(
            "downlink = {{ announced = [\"{origin}\"] }}\n[secrets]\nkeys = [{{ file = \"seal.key\" }}]\n\
             [commands]\nallow_private_addresses = true\ncall_timeout = \"1s\"\n\
             [archive]\nkeep = \"1d\"\n"
        );
    std::fs::write(&path, config).unwrap();
    let _broker = world.start_broker().await;
    let mut bridge = world.start_bridge().await;

    assert_eq!(announce(&world, &origin, KEY, 1, "a-wrong-secret").await, 401);
    for number in 2..5 {
        let status = announce(&world, &format!("http://{strange_address}"), KEY, number, SECRET).await;
        assert!((200..300).contains(&status), "the uplink is as good as ever: {status}");
    }
    assert_eq!(ignored(&world).await, 3.0);
    // Not an announcement at all.
    assert!((200..300).contains(&announce(&world, "nowhere", KEY, 5, SECRET).await));
    assert_eq!(ignored(&world).await, 4.0);

    assert!((200..300).contains(&announce(&world, &origin, KEY, 6, SECRET).await));
    send(&world);
    wait_until("the command is at the cloud", async || cloud.calls().len() == 1).await;
    let call = &cloud.calls()[0];
    assert_eq!(call.path, "/api/v3/as/applications/app/webhooks/wh-1/devices/d1/down/push");
    assert_eq!(call.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(call.body["downlinks"][0]["frm_payload"], "AQ==");

    assert!((200..300).contains(&announce(&world, &origin, NEXT_KEY, 7, SECRET).await));
    assert_eq!(bridge.terminate().await, Some(0));
    let _bridge = world.start_bridge().await;
    let report = json!({
        "end_device_ids": { "device_id": "d1", "application_ids": { "application_id": "app" } },
        "received_at": "2026-11-20T12:00:00Z",
        "downlink_sent": { "correlation_ids": call.body["downlinks"][0]["correlation_ids"] },
    });
    let request = http::Request::post("/webhooks/farm")
        .header("host", world.http.to_string())
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(report.to_string())));
    assert!((200..300).contains(&exchange(world.http, request.unwrap()).await.unwrap().0));
    send(&world);
    wait_until("the next command is at the cloud", async || cloud.calls().len() == 2).await;
    assert_eq!(
        cloud.calls()[1].headers["authorization"],
        format!("Bearer {NEXT_KEY}"),
        "also over a restart"
    );
    assert!(stranger.calls().is_empty());

    let log = std::fs::read_to_string(world.folder.path().join("log")).unwrap();
    assert_eq!(log.matches("is not in downlink.announced").count(), 1, "{log}");
    let mut everything = vec![log.into_bytes()];
    for file in std::fs::read_dir(world.folder.path().join("data")).unwrap() {
        everything.push(std::fs::read(file.unwrap().path()).unwrap());
    }
    for key in [KEY, NEXT_KEY] {
        let holds = |bytes: &Vec<u8>| bytes.windows(key.len()).any(|window| window == key.as_bytes());
        assert!(!everything.iter().any(holds), "{key} is in the clear");
    }
}
