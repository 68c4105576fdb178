//! The bridge with everything it keeps in DynamoDB, hub down: what it answers 2xx is in the table, once, also for the bridge
//! that comes after it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../adapters/store-dynamodb/tests/stand_in/server.rs"]
#[allow(unreachable_pub, reason = "shared with the tests of the store")]
mod server;

use std::net::SocketAddr;

use app::App;
use app::config::Config;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bridge_core::ports::{DeviceFilter, Outbox, Registry};
use http::StatusCode;
use serde_json::json;
use store_dynamodb::{Aws, DynamoStore, Settings};
use tests::bridge::{SECRET, request};
use tests::world::free_port;
use tower::ServiceExt;

const TABLE: &str = "bridge-test";

fn config(folder: &std::path::Path) -> Config {
    let text = format!(
        "[bridge]\nstore = \"dynamodb\"\ndata_dir = \"data\"\n[dynamodb]\ntable = \"{TABLE}\"\nstand_in = \"{}\"\n\
         [hub]\nurl = \"mqtt://127.0.0.1:{}\"\n[integrations.ttn]\nconnector = \"ttn\"\n\
         auth = {{ scheme = \"header\", header = \"X-Secret\", secrets = [{{ env = \"ONE\" }}] }}\n",
        server::endpoint(),
        free_port()
    );
    let env = |name: &str| (name == "ONE").then(|| SECRET.to_owned());
    Config::parse(&text, folder, &env, &app::connector_infos())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Posts an uplink with that counter; its status.
async fn post(app: &App, counter: u32) -> StatusCode {
    let uplink = json!({
        "end_device_ids": { "device_id": "d1", "dev_eui": "70B3D57ED005A4B2",
            "application_ids": { "application_id": "farm" } },
        "received_at": "2026-11-20T23:40:11.123456789Z",
        "uplink_message": { "session_key_id": "AYfKR8VxTw3JYoVJ0vQJ9g==", "f_port": 2, "f_cnt": counter,
            "frm_payload": "AQIDBA==", "received_at": "2026-11-20T23:40:11.000000000Z" }
    });
    let mut request: http::Request<Body> = request("ttn", "application/json", uplink.to_string());
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4242))));
    app.router().oneshot(request).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_is_in_the_table_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = DynamoStore::new(&Aws::stand_in(server::endpoint(), "eu-central-1"), Settings::new(TABLE));
    let missing = App::open(&config(folder.path())).await.err().expect("there is no table");
    assert!(missing.to_string().contains(TABLE), "{missing:#}");
    store.create_table().await.unwrap();

    let first = App::open(&config(folder.path())).await.unwrap();
    for counter in [1, 2, 2, 1] {
        assert!(post(&first, counter).await.is_success());
    }
    assert_eq!(store.load(0, 9).await.unwrap().len(), 2);
    let devices = Registry::list(&store, &DeviceFilter::default(), None, 9).await.unwrap();
    assert_eq!(devices.len(), 1);
    first.drain().await;

    // Another process: it finds what waits, and knows what was accepted.
    let second = App::open(&config(folder.path())).await.unwrap();
    for counter in [2, 3] {
        assert!(post(&second, counter).await.is_success());
    }
    let waiting = store.load(0, 9).await.unwrap();
    assert_eq!(waiting.len(), 3);
    assert!(
        waiting.is_sorted_by_key(|entry| entry.seq)
            && waiting.iter().all(|entry| entry.lane == waiting[0].lane)
    );
    second.drain().await;
}
