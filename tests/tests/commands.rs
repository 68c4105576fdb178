//! Commands from the hub, the operator and the command line to a cloud and back: the real bridge, a real broker, and a
//! cloud written here from the reference, with its faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use http_body_util::Full;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tests::cloud::{Behaviour, Cloud};
use tests::world::{BOUND, Process, SECRET, World, exchange, post, wait_until};

const TOKEN: &str = "NNSXS.A-TOKEN-OF-THE-TESTS";

/// A world whose integration `farm` has a way down to this cloud.
async fn world(cloud: std::net::SocketAddr) -> (World, Process, Process) {
    let world = World::new("5");
    let path = world.folder.path().join("bridge.toml");
    std::fs::write(world.folder.path().join("token"), TOKEN).unwrap();
    let config = std::fs::read_to_string(&path).unwrap()
        + &format!(
            "downlink = {{ url = \"http://{cloud}\", token = {{ file = \"token\" }}, webhook = \"bridge\" }}\n\
             [commands]\nallow_private_addresses = true\ncall_timeout = \"1s\"\n"
        );
    std::fs::write(&path, config).unwrap();
    let broker = world.start_broker().await;
    let bridge = world.start_bridge().await;
    assert!(matches!(post(world.http, "d1", 1).await, Some(200..300)), "the device is known from now on");
    (world, broker, bridge)
}

/// `device-bridge commands …`: exit code and output.
fn commands(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.bridge_command().arg("commands").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn show(world: &World, id: &str) -> Value {
    serde_json::from_str(&commands(world, &["show", id]).1).unwrap()
}

/// Sends a command; its id.
fn send(world: &World, arguments: &[&str]) -> String {
    let (code, told) = commands(world, &[&["send"], arguments].concat());
    assert_eq!(code, Some(0), "{told}");
    told.split('\t').next().unwrap().to_owned()
}

async fn state_is(world: &World, id: &str, state: &str) {
    wait_until(&format!("{id} is {state}"), async || show(world, id)["state"] == state).await;
}

/// The webhook's report about a downlink, as The Things Stack writes it.
async fn report(world: &World, kind: &str, correlation: &str, more: Value) {
    let mut downlink = json!({
        "session_key_id": "S", "f_port": 3, "f_cnt": 5, "correlation_ids": [correlation, "as:downlink:01"],
    });
    for (key, value) in more.as_object().unwrap() {
        downlink[key] = value.clone();
    }
    let downlink = if kind == "downlink_failed" {
        json!({ "downlink": downlink, "error": { "namespace": "pkg", "name": "application_downlink_too_long" } })
    } else {
        downlink
    };
    let body = json!({
        "end_device_ids": { "device_id": "d1", "application_ids": { "application_id": "app" } },
        "correlation_ids": [correlation], "received_at": "2026-11-20T12:00:00Z", kind: downlink,
    });
    let request = http::Request::post("/webhooks/farm")
        .header("host", world.http.to_string())
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())));
    let (status, _) = exchange(world.http, request.unwrap()).await.unwrap();
    assert!((200..300).contains(&status), "{status}");
}

/// Topics and payloads below `devices/#`, as they come.
async fn hub(world: &World) -> (AsyncClient, Arc<Mutex<Vec<(String, Value)>>>) {
    let mut options = MqttOptions::new("asker", "127.0.0.1", world.mqtt);
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut connection) = AsyncClient::new(options, 10);
    client.subscribe("devices/#", QoS::AtLeastOnce).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    let into = seen.clone();
    tokio::spawn(async move {
        let mut ready = Some(ready);
        while let Ok(event) = connection.poll().await {
            match event {
                Event::Incoming(Packet::SubAck(_)) => drop(ready.take().map(|ready| ready.send(()))),
                Event::Incoming(Packet::Publish(publish)) => {
                    let payload = serde_json::from_slice(&publish.payload).unwrap_or_default();
                    into.lock().unwrap().push((publish.topic, payload));
                }
                _ => {}
            }
        }
    });
    tokio::time::timeout(BOUND, subscribed).await.unwrap().unwrap();
    (client, seen)
}

/// Asks for `{"hex":"02"}` with a response topic; what comes there, with its correlation data.
async fn ask(world: &World, topic: &str, response_topic: &str) -> Arc<Mutex<Vec<(Vec<u8>, Value)>>> {
    use rumqttc::v5::mqttbytes::v5::PublishProperties;
    use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions, mqttbytes::QoS};
    let options = MqttOptions::new(format!("asker-{response_topic}"), "127.0.0.1", world.mqtt);
    let (client, mut connection) = AsyncClient::new(options, 10);
    client.subscribe("answers/+", QoS::AtLeastOnce).await.unwrap();
    let properties = PublishProperties {
        response_topic: Some(response_topic.to_owned()),
        correlation_data: Some(Bytes::from_static(&[7, 9])),
        ..PublishProperties::default()
    };
    client
        .publish_with_properties(topic, QoS::AtLeastOnce, false, r#"{"hex":"02"}"#, properties)
        .await
        .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    tokio::spawn(async move {
        let _client = client;
        while let Ok(event) = connection.poll().await {
            if let Event::Incoming(Incoming::Publish(publish)) = event {
                let correlation = publish.properties.and_then(|properties| properties.correlation_data);
                let body = serde_json::from_slice(&publish.payload).unwrap();
                into.lock().unwrap().push((correlation.unwrap_or_default().to_vec(), body));
            }
        }
    });
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_from_the_hub_runs_and_the_hub_is_told_every_step() {
    let (cloud, address) = Cloud::start(json!({})).await;
    let (world, _broker, _bridge) = world(address).await;
    let (hub, seen) = hub(&world).await;
    wait_until("the bridge has subscribed", async || {
        world.log().contains("subscribed to what the hub wants")
    })
    .await;
    hub.publish("devices/d1/commands/blink", QoS::AtLeastOnce, false, r#"{"hex":"01aa","port":3}"#)
        .await
        .unwrap();
    wait_until("the command is at the cloud", async || !cloud.calls().is_empty()).await;
    let call = cloud.calls().remove(0);
    assert_eq!(call.path, "/api/v3/as/applications/app/webhooks/bridge/devices/d1/down/push");
    assert_eq!(call.headers["authorization"], format!("Bearer {TOKEN}"));
    let downlink = &call.body["downlinks"][0];
    assert_eq!((&downlink["frm_payload"], &downlink["f_port"]), (&json!("Aao="), &json!(3)));
    let correlation = downlink["correlation_ids"][0].as_str().unwrap().to_owned();
    let id = correlation.split('-').nth(1).unwrap().to_owned();

    state_is(&world, &id, "sent").await;
    report(&world, "downlink_queued", &correlation, json!({})).await;
    report(&world, "downlink_sent", &correlation, json!({})).await;
    wait_until("it is over", async || show(&world, &id)["done"] == true).await;
    let topic = format!("devices/d1/commands/{id}/status");
    let states = || -> Vec<String> {
        let seen = seen.lock().unwrap();
        let events = seen.iter().filter(|(at, _)| *at == topic);
        events.map(|(_, message)| message["state"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("the hub knows", async || {
        states().last().is_some_and(|state| state == "sent") && states().len() >= 3
    })
    .await;
    assert_eq!(states()[0], "queued");
    assert!(
        !std::fs::read_to_string(world.folder.path().join("log")).unwrap().contains("NNSXS"),
        "no token in the log"
    );

    // Whoever asked with MQTT 5 and waits for the answer gets it.
    let answers = ask(&world, "devices/d1/commands/blink", "answers/me").await;
    wait_until("the command is at the cloud", async || cloud.calls().len() == 2).await;
    let second = cloud.calls()[1].body["downlinks"][0]["correlation_ids"][0].as_str().unwrap().to_owned();
    report(&world, "downlink_sent", &second, json!({ "f_cnt": 7 })).await;
    wait_until("the answer is there", async || !answers.lock().unwrap().is_empty()).await;
    let (correlation, body) = answers.lock().unwrap()[0].clone();
    assert_eq!((correlation, &body["state"], &body["done"]), (vec![7, 9], &json!("sent"), &json!(true)));
    ask(&world, "devices/d1/commands/blink", "answers/#").await;

    hub.publish("devices/nobody/commands/blink", QoS::AtLeastOnce, false, "{}").await.unwrap();
    hub.publish("devices/d1/commands/blink", QoS::AtLeastOnce, false, "not JSON").await.unwrap();
    wait_until("refusals are told", async || {
        let seen = seen.lock().unwrap();
        let told = |topic: &str, why: &str| {
            seen.iter().any(|(at, message)| {
                at == topic && message["data"]["detail"].as_str().is_some_and(|d| d.contains(why))
            })
        };
        told("devices/nobody/events/error", "there is no device nobody")
            && told("devices/d1/events/error", "not JSON")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_is_reached_and_nothing_is_sent_twice() {
    let (cloud, address) = Cloud::start(json!({})).await;
    let (world, _broker, _bridge) = world(address).await;
    let hex = r#"{"hex":"01"}"#;
    let correlation = |number: usize| {
        cloud.calls()[number].body["downlinks"][0]["correlation_ids"][0].as_str().unwrap().to_owned()
    };

    let confirmed = send(&world, &["d1", "a", hex, "--confirmed"]);
    state_is(&world, &confirmed, "sent").await;
    report(&world, "downlink_sent", &correlation(0), json!({})).await;
    assert_eq!(show(&world, &confirmed)["done"], false, "the device has not confirmed it");
    report(&world, "downlink_ack", &correlation(0), json!({ "confirmed": true })).await;
    state_is(&world, &confirmed, "acknowledged").await;
    report(&world, "downlink_sent", &correlation(0), json!({ "f_cnt": 6 })).await;
    assert_eq!(show(&world, &confirmed)["state"], "acknowledged", "a state never goes back");

    let too_long = send(&world, &["d1", "b", hex]);
    wait_until("it is at the cloud", async || cloud.calls().len() == 2).await;
    report(&world, "downlink_failed", &correlation(1), json!({})).await;
    state_is(&world, &too_long, "failed").await;

    cloud.next([Behaviour::Answer(400, json!({ "message": "bad" }))]);
    let refused = send(&world, &["d1", "c", hex]);
    state_is(&world, &refused, "failed").await;
    assert_eq!(cloud.calls().len(), 3);

    cloud.next([Behaviour::RetryAfter(429, 1), Behaviour::Answer(406, json!({}))]);
    let (code, told) = commands(&world, &["send", "d1", "d", hex, "--replace", "light"]);
    assert_eq!(code, Some(0), "{told}");
    let busy = told.split('\t').next().unwrap().to_owned();
    wait_until("it got through at last", async || cloud.calls().len() == 6).await;
    report(&world, "downlink_sent", &correlation(5), json!({})).await;
    wait_until("it is over", async || show(&world, &busy)["done"] == true).await;
    assert_eq!(
        (&show(&world, &busy)["state"], &show(&world, &busy)["attempts"]),
        (&json!("sent"), &json!(3))
    );

    for behaviour in [Behaviour::Vanish, Behaviour::Hang, Behaviour::Answer(502, json!({}))] {
        let before = cloud.calls().len();
        cloud.next([behaviour.clone()]);
        let lost = send(&world, &["d1", "e", hex]);
        state_is(&world, &lost, "unknown").await;
        assert_eq!(cloud.calls().len(), before + 1, "{behaviour:?}: it may have run");
        // A late report tells after all.
        report(&world, "downlink_sent", &correlation(before), json!({ "f_cnt": before })).await;
        state_is(&world, &lost, "sent").await;
    }
    let listed = commands(&world, &["list", "--device", "d1"]).1;
    assert_eq!(listed.lines().count(), 7, "{listed}");
    assert_eq!(commands(&world, &["list", "--state", "failed"]).1.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_go_is_refused_with_the_reason_and_never_queued() {
    let (cloud, address) = Cloud::start(json!({})).await;
    let (world, _broker, bridge) = world(address).await;
    let long = format!("{{\"hex\":\"{}\"}}", "00".repeat(243));
    for (arguments, why) in [
        (&["nobody", "a", "{}"][..], "no device nobody"),
        (&["d1", "a", &long], "243 bytes"),
        (&["d1", "a", "5"], "must be an object"),
        (&["d1", "a", "{}", "--options", r#"{"fPort":224}"#], "not one for applications"),
        (&["d1", "a", "{}", "--expires", "2020-01-01T00:00:00Z"], "expires before"),
        (&["d1", "a", "{"], "not JSON"),
    ] {
        let (code, told) = commands(&world, &[&["send"], arguments].concat());
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(why), "{arguments:?}: {told}");
    }
    assert_eq!(commands(&world, &["list"]).1, "");

    // With a codec that encodes, arguments become bytes, or the reason why not.
    let script = "function decodeUplink() { return { data: {} } }
        function encodeDownlink(i) { return typeof i.data.on === 'boolean' ? { bytes: [+i.data.on], fPort: 9 } : { errors: ['on is missing'] } }";
    std::fs::write(world.folder.path().join("onoff.js"), script).unwrap();
    let path = world.folder.path().join("bridge.toml");
    let config =
        std::fs::read_to_string(&path).unwrap().replace("downlink =", "codec = \"onoff\"\ndownlink =")
            + "[codecs.onoff]\nformat = \"javascript\"\nfile = \"onoff.js\"\n";
    std::fs::write(&path, config).unwrap();
    bridge.signal("HUP");
    wait_until("the codec is in force", async || {
        commands(&world, &["send", "d1", "light", "5"]).1.contains("on is missing")
    })
    .await;
    let before = cloud.calls().len();
    send(&world, &["d1", "light", r#"{"on":true}"#]);
    wait_until("it is at the cloud", async || cloud.calls().len() > before).await;
    let downlink = cloud.calls().pop().unwrap().body["downlinks"][0].clone();
    assert_eq!((&downlink["frm_payload"], &downlink["f_port"]), (&json!("AQ=="), &json!(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_survive_a_kill_in_every_state() {
    let (cloud, address) = Cloud::start(json!({})).await;
    let (world, _broker, mut bridge) = world(address).await;
    let hex = r#"{"hex":"01"}"#;
    let awaiting = send(&world, &["d1", "a", hex, "--confirmed"]);
    state_is(&world, &awaiting, "sent").await;
    let behind = send(&world, &["d1", "b", hex]);
    assert_eq!(show(&world, &behind)["state"], "queued", "one after the other");
    bridge.kill();
    let mut bridge = world.start_bridge().await;
    assert_eq!((show(&world, &awaiting)["state"].clone(), cloud.calls().len()), (json!("sent"), 1));
    let correlation =
        cloud.calls()[0].body["downlinks"][0]["correlation_ids"][0].as_str().unwrap().to_owned();
    report(&world, "downlink_ack", &correlation, json!({ "confirmed": true })).await;
    state_is(&world, &awaiting, "acknowledged").await;
    wait_until("the next one goes", async || cloud.calls().len() == 2).await;
    state_is(&world, &behind, "sent").await;

    // Killed while the cloud has it and has not answered: it may have run.
    let second = cloud.calls()[1].body["downlinks"][0]["correlation_ids"][0].as_str().unwrap().to_owned();
    report(&world, "downlink_sent", &second, json!({})).await;
    wait_until("it is over", async || show(&world, &behind)["done"] == true).await;
    cloud.next([Behaviour::Hang]);
    let lost = send(&world, &["d1", "c", hex]);
    wait_until("it is at the cloud", async || cloud.calls().len() == 3).await;
    bridge.kill();
    let _bridge = world.start_bridge().await;
    state_is(&world, &lost, "unknown").await;
    assert_eq!(cloud.calls().len(), 3, "never sent twice");

    let cancelled = {
        cloud.next([Behaviour::RetryAfter(429, 3600)]);
        send(&world, &["d1", "d", hex])
    };
    wait_until("it waits", async || {
        cloud.calls().len() == 4 && show(&world, &cancelled)["state"] == "queued"
    })
    .await;
    assert!(commands(&world, &["cancel", &cancelled]).1.contains("cancelled"));
    let (code, told) = commands(&world, &["cancel", &cancelled]);
    assert!(code == Some(1) && told.contains("is over"), "{told}");
}
