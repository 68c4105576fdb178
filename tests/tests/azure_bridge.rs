//! Azure's stateful contract over the whole bridge: its callbacks in all kinds, signed, each with the bridge killed in the
//! middle of a call; and commands that go by them. Not here: every route and status (`http-api`), bodies (`app`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use http_body_util::Full;
use http_caller::Signer;
use serde_json::{Value, json};
use tests::cloud::{Behaviour, Call, Cloud};
use tests::world::{Process, World, exchange, wait_until};

const KEY: &str = "one-key-of-the-adapters";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SEAL: &str = "a-key-for-secrets-at-rest-of-32-bytes";
const DEVICE: &str = "/devices/plant-1";

/// A bridge with the drop-in, and somebody who answers callbacks.
struct Scene {
    world: World,
    cloud: Cloud,
    /// Its address, with a secret in it.
    url: String,
    broker: Option<Process>,
    bridge: Process,
}

impl Scene {
    async fn new(usual: Value) -> Self {
        let world = World::new("5");
        for (name, secret) in [("key", KEY), ("signing", SIGNING), ("seal", SEAL)] {
            std::fs::write(world.folder.path().join(name), secret).unwrap();
        }
        world.configure(
            "[secrets]\nkeys = [{ file = \"seal\" }]\n[azure_bridge]\nsecrets = [{ file = \"key\" }]\nsigning_secrets = [{ file = \"signing\" }]\n\
               allow_private_addresses = true\ncall_timeout = \"30s\"\n",
        );
        let (cloud, address) = Cloud::start(usual).await;
        let (broker, bridge) = (world.start_broker().await, world.start_bridge().await);
        let url = format!("http://{address}/callback?code=a-secret-in-the-url");
        let scene = Self { world, cloud, url, broker: Some(broker), bridge };
        wait_until("the hub is there", async || {
            scene.call("POST", "registration", Value::Null).await.0 == 200
                && scene.call("GET", "connectionstatus", Value::Null).await.1["status"] == "Connected"
        })
        .await;
        scene
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{DEVICE}/{path}"))
            .header("host", self.world.http.to_string())
            .header("X-API-Key", KEY)
            .header("content-type", "application/json; charset=utf-8")
            .body(Full::new(Bytes::from(body)));
        let (status, body) = exchange(self.world.http, request.unwrap()).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn subscribe(&self, path: &str) -> Value {
        let (status, body) = self.call("PUT", path, json!({ "callbackUrl": self.url })).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// `device-bridge …`: its output, which must be good.
    fn ours(&self, arguments: &[&str]) -> String {
        let output = self.world.bridge_command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a command; its id.
    fn send(&self, arguments: &[&str]) -> String {
        let told = self.ours(&[&["commands", "send", "plant-1"], arguments].concat());
        told.split('\t').next().unwrap().to_owned()
    }

    fn show(&self, command: &str) -> Value {
        serde_json::from_str(&self.ours(&["commands", "show", command])).unwrap()
    }

    async fn command_is(&self, command: &str, state: &str) -> Value {
        wait_until(state, async || self.show(command)["state"] == state).await;
        self.show(command)
    }

    fn desire(&self, patch: &str) {
        self.ours(&["devices", "state", "plant-1", "--desired", patch]);
    }

    /// The calls, once there are so many; all of them signed.
    async fn calls(&self, count: usize) -> Vec<Call> {
        wait_until("the callback is called", async || self.cloud.calls().len() >= count).await;
        let calls = self.cloud.calls();
        assert_eq!(calls.len(), count, "{calls:?}");
        let signer = Signer::new([SIGNING]).unwrap();
        for call in &calls {
            assert_eq!(call.path, "/callback?code=a-secret-in-the-url");
            let (id, at) = (id(call), call.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap());
            let wanted = signer.headers(id, at, call.body.to_string().as_bytes());
            assert_eq!(call.headers["webhook-signature"], wanted["webhook-signature"]);
        }
        calls
    }

    /// The bridge is killed and comes back.
    async fn crash(&mut self) {
        self.bridge.kill();
        self.bridge = self.world.start_bridge().await;
    }

    fn no_secret_is_in_the_log(&self) {
        let log = self.world.log();
        for secret in [KEY, SIGNING, "a-secret-in-the-url"] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}

fn id(call: &Call) -> &str {
    call.headers["webhook-id"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_the_twin_are_told_after_a_kill_and_caught_up_as_one() {
    let mut scene = Scene::new(Value::Null).await;
    scene.desire(r#"{"before":1,"mode":"on"}"#);
    let subscription = scene.subscribe("twin/properties/desired/sub").await;
    assert_eq!(subscription["status"], "Running");
    scene.cloud.next([Behaviour::Hang]);
    scene.desire(r#"{"mode":"eco"}"#);
    let first = scene.calls(1).await.remove(0);
    assert_eq!(
        (&first.body["eventType"], &first.body["deviceId"]),
        (&json!("DesiredPropertyUpdate"), &json!("plant-1"))
    );
    assert_eq!(first.body["desiredProperties"], json!({ "mode": "eco", "$version": 2 }));
    scene.crash().await;
    let again = scene.calls(2).await.remove(1);
    assert_eq!((id(&again), &again.body), (id(&first), &first.body), "the same event");

    // While the callback cannot, several changes become one; what was told before is not in it.
    scene.cloud.next([Behaviour::RetryAfter(503, 3)]);
    scene.desire(r#"{"mode":null}"#);
    scene.calls(3).await;
    scene.desire(r#"{"n":{"a":1}}"#);
    let caught_up = scene.calls(4).await.remove(3);
    assert_eq!(caught_up.body["desiredProperties"], json!({ "mode": null, "n": { "a": 1 }, "$version": 4 }));
    assert_ne!(id(&caught_up), id(&again));
    let (_, twin) = scene.call("GET", "twin", Value::Null).await;
    assert_eq!(twin["twin"]["properties"]["desired"], json!({ "before": 1, "n": { "a": 1 }, "$version": 4 }));

    assert_eq!(scene.call("DELETE", "twin/properties/desired/sub", Value::Null).await.0, 204);
    scene.desire(r#"{"nobody":"listens"}"#);
    scene.crash().await;
    assert_eq!(scene.call("GET", "twin/properties/desired/sub", Value::Null).await.0, 404);
    scene.calls(4).await;
    scene.no_secret_is_in_the_log();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_is_called_again_after_a_kill_and_its_answer_is_the_result() {
    let mut scene = Scene::new(json!({ "status": 200, "payload": { "position": 90 } })).await;
    let early = scene.send(&["early"]);
    scene.cloud.next([Behaviour::Hang]);
    scene.subscribe("methods/sub").await;
    let first = scene.calls(1).await.remove(0);
    assert_eq!(first.body["methodName"], "early", "it waited for somebody to take it");
    let second = scene.send(&["open", r#"{"valve":2}"#]);
    scene.crash().await;
    let calls = scene.calls(3).await;
    assert_eq!(
        (id(&calls[0]), id(&calls[1]), id(&calls[2])),
        (&*early, &*early, &*second),
        "again, and in order"
    );
    assert_eq!(calls[0].body, calls[1].body);
    let body = &calls[2].body;
    assert_eq!(
        (&body["eventType"], &body["requestData"]),
        (&json!("DirectMethodInvocation"), &json!({ "valve": 2 }))
    );
    let shown = scene.command_is(&second, "acknowledged").await;
    assert_eq!(shown["result"], json!({ "status": 200, "payload": { "position": 90 } }));

    // One that fails for good, and one that has to wait.
    scene.cloud.next([
        Behaviour::Answer(200, json!({ "Status": 404 })),
        Behaviour::Answer(503, Value::Null),
        Behaviour::Answer(429, Value::Null),
    ]);
    let failed = scene.send(&["jam"]);
    let shown = scene.command_is(&failed, "failed").await;
    assert_eq!(shown["history"].as_array().unwrap().last().unwrap()["reason"], "rejected");
    let waiting = scene.send(&["wait"]);
    scene.calls(6).await;
    scene.crash().await;
    scene.command_is(&waiting, "acknowledged").await;
    let calls = scene.calls(7).await;
    assert!(calls[4..].iter().all(|call| id(call) == waiting));
    scene.no_secret_is_in_the_log();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_sent_again_after_a_kill_and_its_body_is_safe() {
    let mut scene = Scene::new(Value::Null).await;
    scene.subscribe("devicebound/sub").await;
    scene.cloud.next([Behaviour::Hang]);
    let options = r#"{"properties":{"k":"v"}}"#;
    let bytes = scene.send(&["raw", r#"{"hex":"ff00"}"#, "--options", options]);
    scene.calls(1).await;
    scene.crash().await;
    let calls = scene.calls(2).await;
    assert_eq!((id(&calls[1]), &calls[1].body), (&*bytes, &calls[0].body));
    let body = &calls[1].body;
    assert_eq!((&body["eventType"], &body["messageId"]), (&json!("C2DMessage"), &json!(bytes)));
    assert_eq!((&body["messageBody"], &body["messageBodyEncoding"]), (&json!("/wA="), &json!("base64")));
    assert_eq!(body["properties"], json!({ "method-name": "raw", "k": "v" }));
    assert!(body["expirtyTimeUtC"].is_string());
    scene.command_is(&bytes, "acknowledged").await;
    scene.cloud.next([Behaviour::Answer(400, Value::Null)]);
    let refused = scene.send(&["text", r#""bare""#]);
    scene.command_is(&refused, "failed").await;
    assert_eq!(scene.calls(3).await[2].body["messageBody"], "bare");

    // With a callback for methods, too, its asker says which one it is to be.
    scene.subscribe("methods/sub").await;
    let method = scene.send(&["open"]);
    let message = scene.send(&["open", "--options", r#"{"c2d":true}"#]);
    let calls = scene.calls(5).await;
    let kinds: Vec<&Value> = calls[3..].iter().map(|call| &call.body["eventType"]).collect();
    assert_eq!(kinds, ["DirectMethodInvocation", "C2DMessage"]);
    assert_eq!((id(&calls[3]), id(&calls[4])), (&*method, &*message));
    scene.no_secret_is_in_the_log();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_hub_is_told_after_a_kill_and_its_return_too() {
    let mut scene = Scene::new(Value::Null).await;
    let subscription = scene.subscribe("connectionstatus/sub").await;
    assert_eq!(subscription.get("status"), None);
    scene.cloud.next([Behaviour::Hang]);
    drop(scene.broker.take());
    let first = scene.calls(1).await.remove(0);
    assert_eq!(
        (&first.body["eventType"], &first.body["status"]),
        (&json!("ConnectionStatusChange"), &json!("Disconnected_Retrying"))
    );
    assert_eq!(first.body["reason"], "Communication_Error");
    assert_eq!(scene.call("GET", "connectionstatus", Value::Null).await.1["status"], "Disconnected_Retrying");
    scene.crash().await;
    let again = scene.calls(2).await.remove(1);
    assert_eq!((id(&again), &again.body["status"]), (id(&first), &first.body["status"]));
    scene.broker = Some(scene.world.start_broker().await);
    let back = scene.calls(3).await.remove(2);
    assert_eq!((&back.body["status"], &back.body["reason"]), (&json!("Connected"), &json!("Connection_Ok")));
    assert_ne!(id(&back), id(&again));
    scene.no_secret_is_in_the_log();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_says_is_at_the_hub() {
    let scene = Scene::new(Value::Null).await;
    assert_eq!(
        scene.call("PATCH", "twin/properties/reported", json!({ "patch": { "fw": "1" } })).await.0,
        204
    );
    let port = scene.world.mqtt.to_string();
    let listen = ["-p", &port, "-t", "devices/plant-1/#", "-C", "2", "-W", "30", "-F", "%t %p"];
    let hub = std::process::Command::new("mosquitto_sub")
        .args(listen)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("install the Debian package mosquitto-clients");
    let hub = tokio::task::spawn_blocking(move || hub.wait_with_output().unwrap());
    // Each one is another message, until the listener is there and has one.
    wait_until("the event is at the hub", async || {
        let event = json!({ "data": { "temp": 20.5 }, "properties": { "k": "v" }, "componentName": "c" });
        assert_eq!(scene.call("POST", "messages/events", event).await, (200, Value::Null));
        hub.is_finished()
    })
    .await;
    let heard = String::from_utf8(hub.await.unwrap().stdout).unwrap();
    let message = |topic: &str| -> Value {
        let line = heard.lines().find_map(|line| line.strip_prefix(&format!("devices/plant-1/{topic} ")));
        serde_json::from_str(line.unwrap_or_else(|| panic!("{topic}: {heard}"))).unwrap()
    };
    assert_eq!(message("properties")["properties"], json!({ "fw": "1" }), "retained");
    let telemetry = message("telemetry");
    assert_eq!(telemetry["measurements"]["temp"], 20.5);
    assert_eq!(
        (&telemetry["data"]["properties"]["k"], &telemetry["data"]["component"]),
        (&json!("v"), &json!("c"))
    );
}
