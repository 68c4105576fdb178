//! The API over a store in memory, with the hub down: what was accepted is in the outbox, and can be looked at. Not here:
//! real codecs, a real store, the server (`tests/tests/device_api.rs`).

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::commands::Dispatcher;
use bridge_core::counters::Refusal;
use bridge_core::dedup::{DedupConfig, Deduplicator};
use bridge_core::delivery::Delivery;
use bridge_core::keyring::Keyring;
use bridge_core::mux::{MuxConfig, Strategy};
use bridge_core::payload::{Outcome, Sample};
use bridge_core::pipeline::{Pipeline, States};
use bridge_core::ports::{
    Credential, Credentials, DeadLetters, DeviceRecord, DeviceState, HubEvents, HubRefusal, LinkId, NoCodecs,
    Outbox, Proof, RawRequest, Registry, TokenDigest,
};
use bridge_core::registrar::{Register, Registrar};
use bridge_core::testing::{FakeHub, Fault as StoreFault, Faulty, ManualClock, MemoryStore, poll_once};
use bridge_core::trace::{End, Traces};
use bridge_core::twin::{TwinKeeper, TwinLimits, Wish};
use bridge_core::{DeviceId, ExternalId, IntegrationName, Kind, Measurement, Message, Timestamp, Verdict};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use http_edge::{SecretDigest, Tasks};
use serde_json::{Value, json};

use super::*;

mod commands;
mod proofs;
mod stateful;

const SECRET: &str = "one-secret-of-a-gateway";

/// `{"a": n}` for each byte, at its second.
struct Bytes;

impl Formats for Bytes {
    fn decode(&self, _: Format, bytes: &[u8], _: Timestamp) -> Outcome {
        if bytes == b"broken" {
            return Outcome::error("it is broken");
        }
        let sample = |byte: &u8| Sample {
            time: Timestamp::from_seconds(i64::from(*byte)),
            measurements: vec![Measurement::new("a", *byte)],
            ..Sample::default()
        };
        Outcome { samples: bytes.iter().map(sample).collect(), ..Outcome::default() }
    }
}

struct World {
    api: DeviceApi,
    store: Arc<Faulty<MemoryStore>>,
    hub: Arc<FakeHub>,
    delivery: Arc<Delivery>,
    traces: Arc<Pipeline>,
    twins: Arc<TwinKeeper>,
    clock: Arc<ManualClock>,
    dispatcher: Arc<Dispatcher>,
    /// Callbacks that may have something to be told.
    told: Arc<Mutex<Vec<String>>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn kind(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        kind.strip_prefix("urn:device-bridge:problem:").unwrap().to_owned()
    }
}

fn settings(register: Register) -> Settings {
    Settings {
        enabled: true,
        register,
        body_limit: 4096,
        rate: None,
        gateways: vec![Gateway {
            name: "plant".into(),
            secrets: vec![SecretDigest::of(SECRET.as_bytes())],
            signing: vec![SigningSecret::new(SECRET.as_bytes())],
            certificates: vec![[2; 32]],
            devices: vec![DevicePattern::parse("plant-*").unwrap()],
            rate: None,
        }],
        seal_keys: None,
        certificates: None,
        stateful: None,
    }
}

/// 43 characters, as a token has them.
fn token(device: &str) -> String {
    format!("{device:_<43}")
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

impl World {
    /// With the devices `d1` (with a token) and `plant-parked` (which waits).
    async fn new(settings: Settings) -> Self {
        let (clock, hub) = (Arc::new(ManualClock::default()), Arc::new(FakeHub::default()));
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        for (id, state) in [("d1", DeviceState::Active), ("plant-parked", DeviceState::Parked)] {
            let record = DeviceRecord {
                id: DeviceId::parse(id).unwrap(),
                integration: IntegrationName::parse(INTEGRATION).unwrap(),
                external: ExternalId::parse(id).unwrap(),
                scope: None,
                name: None,
                hub_id: None,
                codec: None,
                tags: Vec::new(),
                state,
                first_seen: Timestamp::EPOCH,
                last_seen: None,
            };
            Registry::insert(&*store, &record).await.unwrap();
        }
        for device in ["d1", "gone"] {
            let digest = TokenDigest::of(token(device).as_bytes());
            let device = DeviceId::parse(device).unwrap();
            let credential = Credential { digest, proof: Proof::Token, device, created: Timestamp::EPOCH };
            Credentials::insert(&*store, &credential).await.unwrap();
        }
        let config = DedupConfig { window: Duration::from_hours(2), max_in_memory: 1000 };
        let dedup = Arc::new(Deduplicator::open(config, store.clone(), clock.clone()).await.unwrap());
        let mux = MuxConfig {
            strategy: Strategy::Shared { min: 1, max: 1 },
            ack_wait: Duration::from_secs(2),
            disk_first: false,
            max_waiting: 100,
            max_stored: 20,
            drain_rate: None,
        };
        let late: Box<dyn Fn(bridge_core::MessageId) + Send + Sync> = Box::new(|_| {});
        let delivery = Delivery::open(mux, hub.clone(), store.clone(), store.clone(), clock.clone(), late)
            .await
            .unwrap();
        let delivery = Arc::new(delivery);
        let twins = Arc::new(TwinKeeper::new(store.clone(), clock.clone(), TwinLimits::default()));
        let pipeline = Arc::new(Pipeline {
            registrar: Registrar::open(store.clone()).await.unwrap(),
            dedup,
            codecs: Arc::new(NoCodecs),
            delivery: delivery.clone(),
            dead_letters: store.clone(),
            archive: None,
            listener: None,
            twins: Some(twins.clone()),
            traces: Arc::new(Traces::new(100)),
            clock: clock.clone(),
            states: States::default(),
        });
        delivery.start();
        let storing = delivery.clone();
        tokio::spawn(async move { storing.run_store().await });
        let counter = AtomicU8::new(0);
        let dispatcher = bridge_core::testing::mailboxes(
            &IntegrationName::parse(INTEGRATION).unwrap(),
            store.clone(),
            clock.clone(),
        );
        let told = Arc::default();
        let parts = Parts {
            name: IntegrationName::parse(INTEGRATION).unwrap(),
            pipeline: pipeline.clone(),
            mailbox: Arc::new(edge::Mailbox::new(dispatcher.clone())),
            callbacks: stateful::callbacks(&store, &told),
            keyring: Arc::new(Keyring::open(store.clone()).await.unwrap()),
            formats: Arc::new(Bytes),
            unique: Box::new(move || [counter.fetch_add(1, Relaxed); 16]),
            tasks: Tasks::default(),
            body_timeout: Duration::from_secs(1),
        };
        Self {
            api: DeviceApi::new(parts, settings),
            store,
            hub,
            delivery,
            traces: pipeline,
            twins,
            clock,
            dispatcher,
            told,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.api.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let answer = Answer { status: head.status, headers: head.headers, body };
        if !answer.status.is_success() {
            assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
            assert!(!answer.kind().is_empty() && answer.json()["status"] == answer.status.as_u16());
        }
        answer
    }

    async fn post(&self, path: &str, credentials: &str, media_type: &str, body: impl Into<Body>) -> Answer {
        self.send(request("POST", path, credentials, media_type, body)).await
    }

    async fn d1(&self, body: &Value) -> Answer {
        let credentials = bearer(&token("d1"));
        self.post("/v1/devices/d1/telemetry", &credentials, "application/json", body.to_string()).await
    }

    async fn azure(&self, body: &Value) -> Answer {
        let path = format!("/api/IoTCIntegration?code={SECRET}");
        self.post(&path, "", "application/json", body.to_string()).await
    }

    async fn messages(&self) -> Vec<Message> {
        let entries = self.store.load(0, 100).await.unwrap();
        entries.iter().map(|entry| Message::from_record(&entry.record).unwrap()).collect()
    }
}

fn request(
    method: &str,
    path: &str,
    credentials: &str,
    media_type: &str,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !credentials.is_empty() {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    if !media_type.is_empty() {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn one_item_is_a_message_and_a_batch_has_results() {
    let world = World::new(settings(Register::Off)).await;
    let answer = world.d1(&json!({ "temperature": 21.5 })).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
    let timed = json!({ "measurements": { "a": 1 }, "time": "2026-01-01T00:00:00Z" });
    let batch = json!([{ "measurements": { "a": 1 }, "id": "x" }, timed, timed]);
    let answer = world.d1(&batch).await;
    assert_eq!(answer.status, StatusCode::OK);
    let items = &answer.json()["items"];
    let results: Vec<&str> =
        items.as_array().unwrap().iter().map(|item| item["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["stored", "stored", "duplicate"]);
    assert_eq!((&items[0]["id"], items[1].get("id")), (&json!("x"), None));
    let messages = world.messages().await;
    assert_eq!(messages.len(), 3);
    assert_eq!(items[1]["message"], messages[2].id.to_string());
    let first = &messages[0];
    assert_eq!(
        (first.kind, first.source.as_ref(), first.integration.as_str()),
        (Kind::Telemetry, "http", "http")
    );
    assert_eq!(first.device.as_ref().unwrap().as_str(), "d1");
    let again = world.d1(&batch).await;
    assert!(again.json()["items"].as_array().unwrap().iter().all(|item| item["result"] == "duplicate"));
}

#[tokio::test]
async fn the_header_names_a_request() {
    let world = World::new(settings(Register::Off)).await;
    for (key, status) in [
        ("one", StatusCode::NO_CONTENT),
        ("one", StatusCode::NO_CONTENT),
        ("\"one\"", StatusCode::NO_CONTENT),
        ("\"two", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let mut request =
            request("POST", "/v1/devices/d1/telemetry", &bearer(&token("d1")), "", r#"{"a":1}"#);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        assert_eq!(world.send(request).await.status, status, "{key}");
    }
    assert_eq!(world.messages().await.len(), 1);
}

#[tokio::test]
async fn who_may_speak_for_whom() {
    let world = World::new(settings(Register::Auto)).await;
    let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
    let (own, gateway) = (token("d1"), SECRET);
    for (device, credentials, status) in [
        ("d1", bearer(&own), 204),
        ("d1", basic(&format!("d1:{own}")), 204),
        ("plant-1", bearer(gateway), 204),
        ("plant-1", basic(&format!("plant:{gateway}")), 204),
        ("d1", String::new(), 401),
        ("d1", bearer(""), 401),
        ("d1", bearer("wrong"), 401),
        ("d1", bearer(&token("other")), 401),
        ("d1", basic(&format!("d2:{own}")), 401),
        ("d1", basic(&own), 401),
        ("plant-1", basic(&format!("other:{gateway}")), 401),
        ("nobody", bearer("wrong"), 401),
        ("d2", bearer(&own), 403),
        ("d1", bearer(gateway), 403),
        ("plant-parked", bearer(gateway), 403),
        // Its token is good, and it is not registered: its own token never registers it.
        ("gone", bearer(&token("gone")), 404),
        ("a%2Fb", bearer(gateway), 404),
    ] {
        let path = format!("/v1/devices/{device}/telemetry");
        let answer = world.post(&path, &credentials, "", r#"{"a":1}"#).await;
        assert_eq!(answer.status.as_u16(), status, "{device} {credentials}: {}", answer.body);
        assert_eq!(status == 401, answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    let counters = world.api.counters();
    assert_eq!(counters.refused[Refusal::Unauthorized as usize].get(), 8);
    assert_eq!(counters.refused[Refusal::Forbidden as usize].get(), 3);
    assert_eq!(counters.refused[Refusal::UnknownDevice as usize].get(), 2);
    let refused = world.traces.traces.after(&Default::default(), None, 100);
    assert_eq!(refused.iter().filter(|trace| matches!(trace.end, End::Refused(_))).count(), 13);
    assert_eq!(DeadLetters::count(&*world.store).await.unwrap(), 0, "what was refused was not taken");
}

#[tokio::test]
async fn unknown_devices_by_rule() {
    for (register, status, kind) in
        [(Register::Off, 404, "unknown-device"), (Register::Park, 403, "parked"), (Register::Auto, 204, "")]
    {
        let world = World::new(settings(register)).await;
        for _ in 0..2 {
            let answer = world.post("/v1/devices/plant-9/telemetry", &bearer(SECRET), "", r#"{"a":1}"#).await;
            assert_eq!(answer.status.as_u16(), status);
            assert!(kind.is_empty() || answer.kind() == kind);
        }
        let known = Registry::get(&*world.store, &DeviceId::parse("plant-9").unwrap()).await.unwrap();
        assert_eq!(known.is_some(), register != Register::Off);
    }
    let world = World::new(settings(Register::Auto)).await;
    let elsewhere = bridge_core::testing::contract::device("plant-of-farm", "E1");
    Registry::insert(&*world.store, &elsewhere).await.unwrap();
    let answer = world.post("/v1/devices/plant-of-farm/telemetry", &bearer(SECRET), "", r#"{"a":1}"#).await;
    assert_eq!((answer.status, answer.kind().as_str()), (StatusCode::CONFLICT, "device-id-taken"));
}

#[tokio::test]
async fn every_media_type_has_its_way() {
    let world = World::new(settings(Register::Off)).await;
    let credentials = bearer(&token("d1"));
    let path = "/v1/devices/d1/telemetry";
    for (media_type, body, status) in [
        ("application/json; charset=utf-8", r#"{"a":1}"#, 204),
        ("", r#"{"a":1}"#, 204),
        ("application/senml+json", "\u{1}\u{2}", 200),
        ("application/cbor", "\u{3}", 204),
        ("application/senml+cbor", "\u{1}", 200),
        ("application/octet-stream", "\u{0}x", 204),
        ("application/json", "{", 400),
        ("application/json", "", 400),
        ("application/cbor", "broken", 400),
        ("application/json", "7", 422),
        ("application/json", r#"[{"a":1},{"measurements":{"a":1},"time":1}]"#, 422),
        ("application/x-www-form-urlencoded", "a=1", 415),
        ("text/html", "a", 415),
    ] {
        let answer = world.post(path, &credentials, media_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{media_type}: {}", answer.body);
        match status {
            415 => {
                assert!(answer.headers[header::ACCEPT].to_str().unwrap().contains("application/senml+cbor"));
            }
            422 => assert!(answer.json()["errors"][0]["pointer"].is_string()),
            _ => {}
        }
    }
    let messages = world.messages().await;
    assert_eq!(messages.len(), 6, "SenML in CBOR told of a moment that was known");
    assert_eq!(messages[5].content.raw.as_ref().unwrap().data, b"\0x");
    let answer = world.post(path, &credentials, "", r#"[{"a":1},{"measurements":{"a":1},"time":1}]"#).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/1/time");
}

#[tokio::test]
async fn methods_and_paths() {
    let world = World::new(settings(Register::Off)).await;
    for (method, path, allow) in [
        ("GET", "/v1/devices/d1/telemetry", "POST"),
        ("DELETE", "/v1/devices/d1/properties", "PATCH"),
        ("GET", "/api/IoTCIntegration", "POST"),
    ] {
        let answer = world.send(request(method, path, "", "", "")).await;
        assert_eq!(
            (answer.status, &answer.headers[header::ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &allow.parse().unwrap())
        );
    }
    for path in ["/v1/devices/d1", "/v1/devices/d1/events", "/v1/devices/d1/telemetry/x"] {
        assert_eq!(world.post(path, "", "", "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    world.api.replace(Settings { enabled: false, ..settings(Register::Off) });
    assert_eq!(world.d1(&json!({ "a": 1 })).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn properties_are_reported() {
    let world = World::new(settings(Register::Off)).await;
    let credentials = bearer(&token("d1"));
    for (media_type, body, status) in [
        ("application/json", r#"{"version":"1.2","door":null}"#, 204),
        ("application/merge-patch+json", r#"{"version":"1.3"}"#, 204),
        ("application/cbor", "x", 415),
        ("application/json", "[]", 422),
    ] {
        let request = request("PATCH", "/v1/devices/d1/properties", &credentials, media_type, body);
        assert_eq!(world.send(request).await.status.as_u16(), status, "{body}");
    }
    let messages = world.messages().await;
    assert_eq!(messages.iter().map(|message| message.kind).collect::<Vec<_>>(), [Kind::Properties; 2]);
    assert_eq!((messages[0].content.measurements.len(), messages[1].state_version()), (1, Some(2)));
}

#[tokio::test]
async fn limits_are_per_device_and_per_gateway() {
    let one = || Gateway::limit(Some(1));
    let mut limited = settings(Register::Auto);
    limited.gateways[0].rate = one();
    let world = World::new(limited).await;
    let plant = |n| format!("/v1/devices/plant-{n}/telemetry");
    let mut last = None;
    for n in 0..3 {
        last = Some(world.post(&plant(n), &bearer(SECRET), "", r#"{"a":1}"#).await);
    }
    let last = last.unwrap();
    assert_eq!(
        (last.status, &last.headers[header::RETRY_AFTER]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    assert_eq!(world.d1(&json!({ "a": 1 })).await.status, StatusCode::NO_CONTENT);

    world.api.replace(Settings { rate: Settings::limits(Some(1)), ..settings(Register::Auto) });
    let busy = async |path: &str, credentials: &str| {
        let mut refused = 0;
        for _ in 0..3 {
            let status = world.post(path, credentials, "", r#"{"a":1}"#).await.status;
            refused += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
        }
        refused
    };
    assert!(busy(&plant(1), &bearer(SECRET)).await > 0);
    let other = world.post(&plant(2), &bearer(SECRET), "", "{").await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST, "the others do not notice");
    assert_eq!(busy("/v1/devices/d2/telemetry", &bearer(&token("d1"))).await, 0, "403 before 429");

    let large = world.d1(&json!({ "a": "x".repeat(5000) })).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_is_not_taken_is_503() {
    let world = World::new(settings(Register::Off)).await;
    world.store.set(StoreFault::Before);
    let answer = world.d1(&json!({ "a": 1 })).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    world.store.set(StoreFault::None);
    // There is room for twenty.
    let answer = world.d1(&json!(vec![json!({ "a": 1 }); 25])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "not all of it is on disk");
    let results = answer.json()["items"].as_array().unwrap().clone();
    let retry = results.iter().filter(|item| item["result"] == "retry").count();
    assert_eq!((results.len(), retry), (25, 25 - world.messages().await.len()));
}

#[tokio::test]
async fn what_the_hub_refuses_is_told() {
    let world = World::new(settings(Register::Off)).await;
    world.delivery.link_up(LinkId(0), 10);
    let refuse = async {
        let published = loop {
            match world.hub.take().pop() {
                Some(published) => break published,
                None => tokio::task::yield_now().await,
            }
        };
        world.delivery.refused(published.1, HubRefusal::Never("too large".into()));
    };
    let item = json!({ "a": 1 });
    let (answer, ()) = tokio::join!(world.d1(&item), refuse);
    assert_eq!((answer.status, answer.kind().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "refused-by-hub"));
}

#[tokio::test]
async fn azure_s_stateless_contract() {
    let world = World::new(settings(Register::Auto)).await;
    let body = |device: &str| json!({ "device": { "deviceId": device }, "measurements": { "temp": 20.31 } });
    let good = body("plant-1").to_string();
    let code = format!("/api/IoTCIntegration?code={SECRET}");
    for (method, path, key, media_type, body, status) in [
        ("POST", code.as_str(), "", "application/json", good.as_str(), 200),
        ("POST", "/api/iotcintegration", SECRET, "application/json; charset=utf-8", &good, 200),
        ("POST", &code, "", "", &good, 200),
        ("POST", "/api/IoTCIntegration", "", "application/json", &good, 401),
        ("POST", "/api/IoTCIntegration?code=wrong", "", "application/json", &good, 401),
        ("POST", "/api/IoTCIntegration", "wrong", "application/json", &good, 401),
        ("GET", &code, "", "", "", 405),
        ("POST", &code, "", "text/plain", &good, 415),
        ("POST", &code, "", "application/json", "", 400),
        ("POST", &code, "", "application/json", "{}", 400),
        (
            "POST",
            &code,
            "",
            "application/json",
            r#"{"device":{"deviceId":"plant-1"},"measurements":[1]}"#,
            400,
        ),
        ("POST", &code, "", "application/json", &body("d1").to_string(), 403),
        ("POST", &code, "", "application/json", &body("plant-parked").to_string(), 403),
        ("POST", &code, "", "application/json", &"x".repeat(5000), 413),
    ] {
        let mut request = request(method, path, "", media_type, body.to_owned());
        if !key.is_empty() {
            request.headers_mut().insert("x-functions-key", key.parse().unwrap());
        }
        let answer = world.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.body);
        assert!(status != 200 || answer.body.is_empty());
    }
    // Its defects, corrected: a device's first messages at once are all taken, and a second copy is none.
    let first =
        json!({ "device": { "deviceId": "plant-new", "modelId": "dtmi:a;1" }, "measurements": { "a": 1 } });
    let (a, b) = tokio::join!(world.azure(&first), world.azure(&first));
    assert_eq!((a.status, b.status), (StatusCode::OK, StatusCode::OK));
    let messages = world.messages().await;
    assert_eq!(messages[4].content.data["model"], "dtmi:a;1");
    let mut timed = body("plant-1");
    timed["timestamp"] = "2026-01-01T00:00:00+01:00".into();
    for _ in 0..2 {
        assert_eq!(world.azure(&timed).await.status, StatusCode::OK);
    }
    let messages = world.messages().await;
    assert_eq!(messages.len(), 6, "what has a time is the same when it comes again");
    assert_eq!(messages[5].time.unwrap().to_string(), "2025-12-31T23:00:00.000Z");

    world.api.replace(settings(Register::Off));
    assert_eq!(world.azure(&body("plant-unknown")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dead_letter_s_request_can_be_sent_again() {
    let world = World::new(settings(Register::Off)).await;
    let raw = |method: &str, device: Option<&str>, body: &str| RawRequest {
        method: method.into(),
        path_device: device.map(str::to_owned),
        query: String::new(),
        content_type: Some("application/json".into()),
        body: body.into(),
    };
    for (request, kind) in [
        (raw("POST", Some("d1"), r#"[{"a":1}]"#), Kind::Telemetry),
        (raw("PATCH", Some("d1"), r#"{"a":1}"#), Kind::Properties),
        (raw("POST", None, r#"{"device":{"deviceId":"d1"},"measurements":{"a":1}}"#), Kind::Telemetry),
    ] {
        assert_eq!(world.api.replay(&request).await, [Verdict::Stored]);
        let messages = world.messages().await;
        let last = messages.last().unwrap();
        assert!(last.replayed && last.kind == kind);
    }
    assert!(matches!(world.api.replay(&raw("POST", Some("d1"), "{")).await[..], [Verdict::Rejected(_)]));
}

impl World {
    async fn wish(&self, patch: Value) {
        let wish = Wish { patch: patch.as_object().unwrap(), digest: None, is_copy: false };
        self.twins.desire(&DeviceId::parse("d1").unwrap(), wish).await.unwrap();
    }

    async fn desired(&self, query: &str, known: Option<&str>) -> Answer {
        let path = format!("/v1/devices/d1/properties/desired{query}");
        let mut request = request("GET", &path, &bearer(&token("d1")), "", "");
        known.map(|tag| request.headers_mut().insert(header::IF_NONE_MATCH, tag.parse().unwrap()));
        let answer = self.api.answer(request).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }
}

#[tokio::test]
async fn a_device_fetches_what_is_wanted_of_it() {
    let world = World::new(settings(Register::Off)).await;
    let nothing = world.desired("", None).await;
    assert_eq!(nothing.json(), json!({ "version": 0, "desired": {}, "delta": {} }));
    world.wish(json!({ "interval": 60, "mode": "on" })).await;
    let patch =
        request("PATCH", "/v1/devices/d1/properties", &bearer(&token("d1")), "", r#"{"mode":"on","fw":"1"}"#);
    assert_eq!(world.send(patch).await.status, StatusCode::NO_CONTENT);
    let answer = world.desired("", Some("\"0\"")).await;
    assert_eq!((answer.status, answer.headers[header::ETAG].to_str().unwrap()), (StatusCode::OK, "W/\"1\""));
    let wanted =
        json!({ "version": 1, "desired": { "interval": 60, "mode": "on" }, "delta": { "interval": 60 } });
    assert_eq!(answer.json(), wanted);
    let known = world.desired("", Some("W/\"1\"")).await;
    assert_eq!((known.status, known.body.as_str()), (StatusCode::NOT_MODIFIED, ""));

    for (method, path, secret, status) in [
        ("GET", "/v1/devices/d1/properties/desired?wait=long", token("d1"), 400),
        ("POST", "/v1/devices/d1/properties/desired", token("d1"), 405),
        ("GET", "/v1/devices/d1/properties/desired", "wrong".into(), 401),
        ("GET", "/v1/devices/d2/properties/desired", token("d1"), 403),
        ("GET", "/v1/devices/gone/properties/desired", token("gone"), 404),
    ] {
        assert_eq!(world.send(request(method, path, &bearer(&secret), "", "")).await.status.as_u16(), status);
    }
    world.store.set(StoreFault::Before);
    assert_eq!(world.desired("", None).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_device_waits_for_something_new() {
    let world = World::new(settings(Register::Off)).await;
    for known in [None, Some("W/\"1\"")] {
        let mut asking = std::pin::pin!(world.desired("?wait=30s", known));
        assert!(poll_once(&mut asking).is_none(), "nothing is wanted that it has not done");
        world.wish(json!({ "a": known.map_or(1, |_| 2) })).await;
        let answer = asking.await;
        assert_eq!((answer.status, &answer.json()["delta"]), (StatusCode::OK, &answer.json()["desired"]));
    }
    let mut asking = std::pin::pin!(world.desired("?wait=30s", Some("\"2\"")));
    assert!(poll_once(&mut asking).is_none());
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(asking.await.status, StatusCode::NOT_MODIFIED);
}
