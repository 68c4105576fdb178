//! Azure's stateful contract: every route, verb and status of reference 2.1, and what is corrected. Not here: the calls of
//! callbacks (`deploy/app`, `tests/tests/azure_bridge.rs`).

use bridge_core::command::CommandState;
use bridge_core::ports::Subscriptions;
use bridge_core::subscription::SubscriptionKind;

use super::*;
use crate::stateful::Callbacks;

const KEY: &str = "one-key-of-the-adapters";

/// Callbacks over a store, with a note of those that may have something to be told. `https://private/` may not be called.
pub(super) fn callbacks(store: &Arc<Faulty<MemoryStore>>, told: &Arc<Mutex<Vec<String>>>) -> Callbacks {
    let told = told.clone();
    Callbacks {
        store: store.clone(),
        check: Box::new(|url| match url.starts_with("https://callback/") {
            true => Ok(()),
            false => Err("it is private".into()),
        }),
        changed: Box::new(move |device, kind| {
            told.lock().unwrap().push(format!("{device} {}", kind.as_str()));
        }),
    }
}

fn with_key(register: Register) -> Settings {
    let stateful = Gateway {
        name: "azure".into(),
        secrets: vec![SecretDigest::of(KEY.as_bytes())],
        devices: vec![DevicePattern::parse("plant-*").unwrap(), DevicePattern::parse("d1").unwrap()],
        rate: None,
        signing: Vec::new(),
        certificates: Vec::new(),
    };
    Settings { stateful: Some(stateful), ..settings(register) }
}

impl World {
    async fn call(&self, method: &str, path: &str, key: &str, body: &str) -> Answer {
        let mut request = request(method, path, "", "application/json", body.to_owned());
        if !key.is_empty() {
            request.headers_mut().insert("x-api-key", key.parse().unwrap());
        }
        self.send(request).await
    }

    async fn good(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call(method, path, KEY, body).await
    }
}

const SUBSCRIPTIONS: [(&str, &str); 4] = [
    ("twin/properties/desired/sub", "DesiredProperties"),
    ("methods/sub", "Methods"),
    ("devicebound/sub", "C2DMessages"),
    ("connectionstatus/sub", "ConnectionStatus"),
];

/// Every route with each of its methods, a good body, and the status of success.
fn routes() -> Vec<(&'static str, &'static str, &'static str, u16)> {
    let mut routes = vec![
        ("POST", "messages/events", r#"{"data":{"temp":1}}"#, 200),
        ("GET", "twin", "", 200),
        ("PATCH", "twin/properties/reported", r#"{"patch":{"fw":"1"}}"#, 204),
        ("GET", "connectionstatus", "", 200),
        ("POST", "registration", r#"{"modelId":"dtmi:a;1"}"#, 200),
        ("POST", "resync", "", 202),
    ];
    for (path, _) in SUBSCRIPTIONS {
        routes.push(("PUT", path, r#"{"callbackUrl":"https://callback/x"}"#, 200));
        routes.push(("GET", path, "", 200));
        routes.push(("DELETE", path, "", 204));
    }
    routes
}

#[tokio::test]
async fn every_route_with_every_verb_and_every_key() {
    let world = World::new(with_key(Register::Off)).await;
    assert_eq!(routes().len(), 18);
    for (method, resource, body, status) in routes() {
        let path = format!("/devices/d1/{resource}");
        let answer = world.good(method, &path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.body.is_empty(), status != 200 || method == "POST", "{method} {path}");
        for key in ["", "wrong", SECRET] {
            let answer = world.call(method, &path, key, body).await;
            assert_eq!(answer.status, 401, "{method} {path} {key}");
            assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
        }
        for (device, status, kind) in [("a%2Fb", 404, "unknown-device"), ("other-1", 403, "out-of-scope")] {
            let answer = world.good(method, &format!("/devices/{device}/{resource}"), body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.kind().as_str()),
                (status, kind),
                "{method} {resource}"
            );
        }
        // Letters of a path are as good in any case.
        let shouted = format!("/Devices/d1/{}", resource.to_uppercase());
        assert_eq!(world.good(method, &shouted, body).await.status, status, "{method} {shouted}");
        let taken: Vec<_> =
            routes().iter().filter(|(_, other, ..)| *other == resource).map(|r| r.0).collect();
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().filter(|other| !taken.contains(other)) {
            let answer = world.call(other, &path, "", body).await;
            assert_eq!(answer.status, 405, "{other} {path}");
            assert_eq!(answer.headers[header::ALLOW].to_str().unwrap().split(", ").count(), taken.len());
        }
    }
    for path in ["/devices/d1", "/devices/d1/twin/properties", "/devices/d1/messages"] {
        assert_eq!(world.good("GET", path, "").await.status, 404, "{path}");
    }
    assert_eq!(world.call("GET", "/health", "", "").await.body, "Healthy");
    assert_eq!(world.call("POST", "/HEALTH", "", "").await.status, 405);
}

#[tokio::test]
async fn nobody_gets_in_without_a_key_in_the_configuration_or_without_the_api() {
    let world = World::new(settings(Register::Off)).await;
    assert_eq!(world.good("GET", "/devices/d1/twin", "").await.status, 401);
    let world = World::new(Settings { enabled: false, ..with_key(Register::Off) }).await;
    assert_eq!(world.good("GET", "/devices/d1/twin", "").await.status, 404);
}

#[tokio::test]
async fn what_is_wrong_has_a_status_and_a_reason() {
    let world = World::new(with_key(Register::Off)).await;
    for (method, path, body, status, kind) in [
        ("POST", "d1/messages/events", "", 400, "malformed"),
        ("POST", "d1/messages/events", "{", 400, "malformed"),
        ("POST", "d1/messages/events", "{}", 400, "invalid"),
        ("POST", "d1/messages/events", r#"{"data":[1]}"#, 400, "invalid"),
        ("PATCH", "d1/twin/properties/reported", r#"{"patch":7}"#, 400, "invalid"),
        ("POST", "d1/registration", r#"{"modelId":7}"#, 400, "invalid"),
        ("PUT", "d1/methods/sub", "{}", 400, "invalid"),
        ("PUT", "d1/methods/sub", r#"{"callbackUrl":"https://private/"}"#, 400, "invalid"),
        ("POST", "plant-new/messages/events", r#"{"data":{}}"#, 404, "unknown-device"),
        ("GET", "plant-new/twin", "", 404, "unknown-device"),
        ("PUT", "plant-new/methods/sub", r#"{"callbackUrl":"https://callback/"}"#, 404, "unknown-device"),
        ("GET", "plant-new/connectionstatus", "", 404, "unknown-device"),
        ("GET", "d1/methods/sub", "", 404, "no-subscription"),
        ("POST", "plant-parked/messages/events", r#"{"data":{}}"#, 403, "parked"),
        ("POST", "plant-parked/resync", "", 403, "parked"),
    ] {
        let answer = world.good(method, &format!("/devices/{path}"), body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.kind().as_str()),
            (status, kind),
            "{method} {path} {body}"
        );
    }
    assert_eq!(world.good("DELETE", "/devices/plant-new/methods/sub", "").await.status, 204, "it is gone");
    let mut text = request("POST", "/devices/d1/registration", "", "text/plain", "{}");
    text.headers_mut().insert("x-api-key", KEY.parse().unwrap());
    assert_eq!(world.send(text).await.status, 415);
    let mut bare = request("POST", "/devices/d1/registration", "", "", "");
    bare.headers_mut().insert("x-api-key", KEY.parse().unwrap());
    assert_eq!(world.send(bare).await.status, 200, "neither body nor type is needed");
    let large = format!(r#"{{"data":{{"a":"{}"}}}}"#, "x".repeat(5000));
    assert_eq!(world.good("POST", "/devices/d1/messages/events", &large).await.status, 413);
    world.store.set(StoreFault::Before);
    for (method, path) in [("GET", "methods/sub"), ("DELETE", "methods/sub"), ("GET", "twin")] {
        assert_eq!(world.good(method, &format!("/devices/d1/{path}"), "").await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn events_and_registrations_are_messages() {
    let world = World::new(with_key(Register::Auto)).await;
    let event = r#"{"data":{"temp":20.5},"properties":{"k":"v"},"componentName":"c","creationTimeUtc":"2021-04-21T13:30:16+02:00"}"#;
    for _ in 0..2 {
        assert_eq!(world.good("POST", "/devices/plant-1/messages/events", event).await.status, 200);
        let body = r#"{"modelId":"dtmi:a;1"}"#;
        assert_eq!(world.good("POST", "/devices/plant-1/registration", body).await.status, 200);
    }
    let messages = world.messages().await;
    assert_eq!(messages.len(), 2, "what comes twice is one");
    assert_eq!(
        (messages[0].kind, messages[0].time.unwrap().to_string().as_str()),
        (Kind::Telemetry, "2021-04-21T11:30:16.000Z")
    );
    assert_eq!(messages[0].content.data["properties"], json!({ "k": "v" }));
    assert_eq!(messages[0].content.data["component"], "c");
    assert_eq!((messages[1].kind, &messages[1].content.data["model"]), (Kind::Join, &json!("dtmi:a;1")));
    assert_eq!(messages[1].device.as_ref().unwrap().as_str(), "plant-1");
}

#[tokio::test]
async fn the_twin_is_the_state_of_the_device() {
    let world = World::new(with_key(Register::Off)).await;
    let empty =
        json!({ "twin": { "properties": { "desired": { "$version": 0 }, "reported": { "$version": 0 } } } });
    assert_eq!(world.good("GET", "/devices/d1/twin", "").await.json(), empty);
    for body in [r#"{"patch":{"fw":"1","old":true}}"#, r#"{"Patch":{"old":null}}"#, r#"{"patch":{}}"#] {
        assert_eq!(world.good("PATCH", "/devices/d1/twin/properties/reported", body).await.status, 204);
    }
    let patch = json!({ "mode": "eco" });
    let wish = Wish { patch: patch.as_object().unwrap(), digest: None, is_copy: false };
    world.twins.desire(&DeviceId::parse("d1").unwrap(), wish).await.unwrap();
    let properties = &world.good("GET", "/devices/d1/twin", "").await.json()["twin"]["properties"];
    assert_eq!(properties["desired"], json!({ "mode": "eco", "$version": 1 }));
    assert_eq!(properties["reported"], json!({ "fw": "1", "$version": 2 }));
}

#[tokio::test]
async fn a_subscription_is_what_was_put_and_knows_what_was_told() {
    let world = World::new(with_key(Register::Auto)).await;
    for (path, kind) in SUBSCRIPTIONS {
        let path = format!("/devices/plant-1/{path}");
        let body = r#"{"callbackUrl":"https://callback/a?code=1"}"#;
        let put = world.good("PUT", &path, body).await.json();
        assert_eq!((&put["deviceId"], &put["subscriptionType"]), (&json!("plant-1"), &json!(kind)));
        assert_eq!(put["callbackUrl"], "https://callback/a?code=1");
        assert!(Timestamp::parse_rfc3339(put["createdAt"].as_str().unwrap()).is_some());
        assert_eq!(put.get("status").is_some(), kind != "ConnectionStatus");
        assert_eq!(world.good("GET", &path, "").await.json(), put);
        let again = world.good("PUT", &path, r#"{"CallbackURL":"https://callback/b"}"#).await.json();
        assert_eq!(again["callbackUrl"], "https://callback/b");
        assert!(world.told.lock().unwrap().contains(&format!("plant-1 {kind}")));
    }
    let device = DeviceId::parse("plant-1").unwrap();
    let told = Subscriptions::get(&*world.store, &device, SubscriptionKind::ConnectionStatus)
        .await
        .unwrap()
        .unwrap()
        .told;
    assert_eq!(told.state["status"], "Disconnected_Retrying", "as it was");
    let status = world.good("GET", "/devices/plant-1/connectionstatus", "").await.json();
    assert_eq!(status, json!({ "status": "Disconnected_Retrying", "reason": "Communication_Error" }));
}

#[tokio::test]
async fn commands_that_waited_to_be_fetched_are_pushed_from_now_on() {
    let world = World::new(with_key(Register::Off)).await;
    let id = commands::submit(&world, "d1", "open").await;
    let body = r#"{"callbackUrl":"https://callback/"}"#;
    assert_eq!(world.good("PUT", "/devices/d1/methods/sub", body).await.status, 200);
    let command = bridge_core::ports::Commands::get(&*world.store, id).await.unwrap().unwrap();
    assert_eq!(command.state(), CommandState::Queued);
    assert!(matches!(command.phase(), bridge_core::command::Phase::Waiting { pushed: true, .. }));
}
