//! The states of devices over the whole bridge: what is wanted at the hub reaches a device that fetches and a device of a
//! cloud, what is reported is whole at the hub, and a restart changes nothing. Not here: merging (`bridge-core`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::{Value, json};
use tests::cloud::{Behaviour, Cloud};
use tests::world::{World, post, wait_until};

/// `device-bridge …`: its output, which must be good.
fn ours(world: &World, arguments: &[&str]) -> String {
    let output = world.bridge_command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn state(world: &World, device: &str) -> Value {
    serde_json::from_str(&ours(world, &["devices", "state", device])).unwrap()
}

fn publish(world: &World, topic: &str, payload: &str, more: &[&str]) {
    let port = world.mqtt.to_string();
    let status = Command::new("mosquitto_pub")
        .args(["-p", &port, "-q", "1", "-t", topic, "-m", payload])
        .args(more)
        .status();
    assert!(status.expect("install the Debian package mosquitto-clients").success());
}

fn retained(world: &World, topic: &str) -> Value {
    let port = world.mqtt.to_string();
    let output = Command::new("mosquitto_sub")
        .args(["-p", &port, "-t", topic, "-C", "1", "-W", "30"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Where the hub says what it wants of the pump.
const DESIRED: &str = "devices/pump-1/properties/desired";

/// An HTTP device as its maker would write it: with curl.
struct Pump {
    bearer: String,
    url: String,
}

impl Pump {
    fn register(world: &World) -> Self {
        Self {
            bearer: format!("Authorization: Bearer {}", world.enrol("pump-1")),
            url: format!("http://{}/v1/devices/pump-1/properties", world.http),
        }
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> String {
        let url = format!("{}{path}", self.url);
        let output = Command::new("curl").args(["-s", "-H", &self.bearer, &url]).args(arguments).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    fn desired(&self, query: &str, known: &str) -> Value {
        let known = format!("If-None-Match: \"{known}\"");
        serde_json::from_str(&self.curl(&format!("/desired{query}"), &["-H", &known])).unwrap_or_default()
    }

    fn report(&self, patch: &Value) {
        let status = ["-X", "PATCH", "-d", &patch.to_string(), "-H", "Content-Type: application/json"];
        let answer = self.curl("", &[&status[..], &["-w", "%{http_code}"]].concat());
        assert_eq!(answer, "204");
    }
}

async fn subscribed(world: &World, times: usize) {
    wait_until("the bridge has subscribed", async || {
        world.log().matches("subscribed to what the hub wants").count() >= times
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_while_the_bridge_is_away_arrives_and_the_whole_state_is_at_the_hub() {
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let mut bridge = world.start_bridge().await;
    let pump = Pump::register(&world);
    subscribed(&world, 1).await;
    // The bridge's session stands when a first wish has come through; before, nobody would keep it.
    wait_until("a wish comes through", async || {
        publish(&world, DESIRED, r#"{"interval":60}"#, &[]);
        pump.desired("", "0")["version"] == 1
    })
    .await;
    pump.report(&json!({ "firmware": "1.2", "old": true }));
    pump.report(&json!({ "interval": 60, "old": null }));

    assert_eq!(bridge.terminate().await, Some(0));
    publish(&world, DESIRED, r#"{"mode":"eco","interval":null}"#, &[]);
    publish(&world, "devices/nobody/properties/desired", "{}", &[]);
    let _bridge = world.start_bridge().await;
    subscribed(&world, 2).await;
    let wanted = pump.desired("?wait=30s", "1");
    assert_eq!(wanted, json!({ "version": 2, "desired": { "mode": "eco" }, "delta": { "mode": "eco" } }));
    pump.report(&json!({ "mode": "eco" }));
    assert_eq!(pump.desired("", "1")["delta"], json!({}), "nothing is left to do");
    wait_until("the whole state is retained", async || {
        let message = retained(&world, "devices/pump-1/properties");
        let whole = json!({ "firmware": "1.2", "interval": 60, "mode": "eco" });
        message["properties"] == whole && message["version"] == 3
    })
    .await;

    let told = ours(&world, &["devices", "state", "pump-1", "--desired", r#"{"mode":"full"}"#]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["desiredVersion"], &told["delta"]), (&json!(3), &json!({ "mode": "full" })));
    publish(&world, DESIRED, "[1]", &[]);
    wait_until("a wish that is none is refused", async || world.log().contains("not a JSON object")).await;
    assert!(world.log().contains("there is no device nobody"));
    assert_eq!(state(&world, "pump-1")["desired"], json!({ "mode": "full" }));
    ours(&world, &["devices", "remove", "pump-1"]);
    let gone = world.bridge_command().args(["devices", "state", "pump-1"]).output().unwrap();
    assert!(!gone.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_of_a_device_of_a_cloud_goes_down_as_a_command_and_again_when_it_is_heard() {
    let (cloud, address) = Cloud::start(json!({})).await;
    let world = World::new("3.1.1");
    let path = world.folder.path().join("bridge.toml");
    std::fs::write(world.folder.path().join("token"), "NNSXS.TOKEN").unwrap();
    let config = std::fs::read_to_string(&path).unwrap()
        + &format!(
            "codec = \"set\"\ndesired_command = \"set\"\n\
             downlink = {{ url = \"http://{address}\", token = {{ file = \"token\" }}, webhook = \"bridge\" }}\n\
             [codecs.set]\nformat = \"javascript\"\nfile = \"set.js\"\n\
             [commands]\nallow_private_addresses = true\ncall_timeout = \"1s\"\n"
        );
    let script = "function decodeUplink(input) { return { data: {} }; }\n\
                  function encodeDownlink(input) { return { bytes: [input.data.interval], fPort: 3 }; }\n";
    std::fs::write(world.folder.path().join("set.js"), script).unwrap();
    std::fs::write(&path, config).unwrap();
    let _broker = world.start_broker().await;
    let mut bridge = world.start_bridge().await;
    assert!(matches!(post(world.http, "d1", 1).await, Some(200..300)));
    assert_eq!(bridge.terminate().await, Some(0));
    cloud.next([Behaviour::Answer(400, json!({ "message": "bad" }))]);
    publish(&world, "devices/d1/properties/desired", r#"{"interval":7}"#, &["-r"]);
    let _bridge = world.start_bridge().await;
    wait_until("it is at the cloud", async || !cloud.calls().is_empty()).await;
    let payload = |number: usize| cloud.calls()[number].body["downlinks"][0]["frm_payload"].clone();
    assert_eq!(payload(0), json!("Bw=="), "a byte of seven");
    wait_until("it is counted", async || state(&world, "d1")["sends"] == 1).await;

    wait_until("the command has failed", async || {
        ours(&world, &["commands", "list"]).lines().all(|line| line.contains("failed"))
    })
    .await;
    assert!(matches!(post(world.http, "d1", 2).await, Some(200..300)), "the device is heard");
    wait_until("it is sent again", async || cloud.calls().len() == 2).await;
    assert_eq!(payload(1), json!("Bw=="));
}
