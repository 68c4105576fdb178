//! What a sender sees, and what becomes of what it sent: the real router over a real store, with the hub down, so that every
//! accepted uplink can be looked at in the outbox.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use axum::body::Body;
use bridge_core::Kind;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tests::bridge::{Bridge, NEXT_SECRET, SECRET, request};

fn ttn(counter: u32) -> Value {
    json!({
        "end_device_ids": { "device_id": "dev1", "application_ids": { "application_id": "app1" } },
        "uplink_message": {
            "session_key_id": "S1", "f_port": 1, "f_cnt": counter, "frm_payload": "AQ==",
            "decoded_payload": { "n": counter }, "received_at": "2026-11-20T12:00:00Z"
        }
    })
}

fn sigfox(seq: u32) -> Value {
    json!({ "device": "1A2B3C", "time": "1718000000", "data": "00ff", "seqNumber": seq.to_string(), "rssi": "-121.00" })
}

fn particle(event: &str, data: &str, at: &str) -> Value {
    json!({ "event": event, "data": data, "published_at": at, "coreid": "e00fce68ece1d3d21a73dcc9" })
}

fn one_of_each() -> [(&'static str, Value); 3] {
    [("ttn", ttn(1)), ("sigfox", sigfox(1)), ("particle", particle("t", "21.5", "2026-11-20T12:00:00.000Z"))]
}

#[tokio::test]
async fn good_and_new_is_kept_and_answered_with_an_empty_body() {
    let bridge = Bridge::new().await;
    for (path, body) in one_of_each() {
        bridge.accept(path, &body).await;
    }
    let messages = bridge.messages().await;
    let devices: Vec<_> = messages.iter().map(|m| m.device.as_ref().unwrap().as_str()).collect();
    assert_eq!(devices, ["dev1", "sigfox-1a2b3c", "particle-e00fce68ece1d3d21a73dcc9"]);
    assert!(messages.iter().all(|message| message.kind == Kind::Telemetry));
    assert_eq!(messages[1].content.radio.as_ref().unwrap().rssi, Some(-121.0), "text became a number");
}

#[tokio::test]
async fn a_duplicate_gets_the_same_answer_and_no_second_message() {
    let bridge = Bridge::new().await;
    for (path, body) in one_of_each() {
        let first = bridge.post(path, &body).await;
        let second = bridge.post(path, &body).await;
        assert_eq!((first.status, first.body), (second.status, second.body));
    }
    assert_eq!(bridge.messages().await.len(), 3);
    let (a, b) = (ttn(9), ttn(9));
    let (a, b) = tokio::join!(bridge.post("ttn", &a), bridge.post("ttn", &b));
    assert!(a.status.is_success() && b.status.is_success());
    assert_eq!(bridge.messages().await.len(), 4, "two copies at once are one message");
}

#[tokio::test]
async fn a_wrong_secret_learns_nothing() {
    let bridge = Bridge::new().await;
    let mut bodies = Vec::new();
    for path in ["ttn", "sigfox", "particle", "chirpstack"] {
        for secret in [None, Some("wrong"), Some(""), Some("one-secret-of-the-test")] {
            let mut request = request(path, "application/json", "{");
            request.headers_mut().remove("X-Secret");
            if let Some(secret) = secret {
                request.headers_mut().insert("X-Secret", secret.parse().unwrap());
            }
            let answer = bridge.send(request).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            bodies.push(answer.body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answer does not depend on what was wrong");
    assert!(bridge.messages().await.is_empty() && bridge.letters().await.is_empty());
    let mut rotated = request("ttn", "application/json", ttn(1).to_string());
    rotated.headers_mut().insert("X-Secret", NEXT_SECRET.parse().unwrap());
    assert!(bridge.send(rotated).await.status.is_success(), "both secrets are valid");
}

#[tokio::test]
async fn unknown_devices_by_policy() {
    for (policy, reason) in [("off", "unknown-device"), ("park", "parked")] {
        let devices = format!("devices = {{ register = \"{policy}\" }}");
        let farm = format!(
            "[integrations.farm]\nconnector = \"ttn\"\n{devices}\nauth = {{ scheme = \"bearer\", secrets = [{{ env = \"ONE\" }}] }}"
        );
        let bridge = Bridge::with(&farm).await;
        let mut request = request("farm", "application/json", ttn(1).to_string());
        request.headers_mut().insert("Authorization", format!("Bearer {SECRET}").parse().unwrap());
        assert!(bridge.send(request).await.status.is_success());
        assert!(bridge.messages().await.is_empty());
        let letters = bridge.letters().await;
        assert_eq!(letters[0].letter.reason.as_str(), reason);
        assert!(
            !letters[0].letter.request.as_ref().unwrap().body.is_empty(),
            "kept so that it can be replayed"
        );
    }
}

#[tokio::test]
async fn what_does_not_parse_is_400() {
    let bridge = Bridge::new().await;
    for path in ["ttn", "sigfox", "particle", "chirpstack"] {
        for body in ["{", "[".repeat(60_000).as_str(), "\u{1}"] {
            let answer = bridge.send(request(path, "application/json", body.to_owned())).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        }
    }
    assert!(bridge.messages().await.is_empty() && bridge.letters().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_kept_is_503() {
    let bridge = Bridge::with("[delivery]\noutbox = { max_messages = 1 }").await;
    bridge.accept("ttn", &ttn(1)).await;
    let answer = bridge.post("ttn", &ttn(2)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(bridge.messages().await.len(), 1);
    assert!(bridge.post("ttn", &ttn(1)).await.status.is_success(), "a duplicate needs no room");
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let bridge = Bridge::new().await;
    for (path, limit) in [("sigfox", 256 * 1024), ("particle", 64 * 1024), ("ttn", 512 * 1024)] {
        let answer = bridge.send(request(path, "application/json", "x".repeat(limit + 1))).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let chunks = (0..=limit / 1024).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1024]));
        let streamed = Body::from_stream(futures_stream(chunks));
        assert_eq!(
            bridge.send(request(path, "application/json", streamed)).await.status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }
}

fn futures_stream<T: Send + 'static>(
    items: impl Iterator<Item = T> + Send + Unpin + 'static,
) -> impl futures_core::Stream<Item = T> + Send {
    struct Items<I>(I);
    impl<I: Iterator + Unpin> futures_core::Stream for Items<I> {
        type Item = I::Item;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Items(items)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compression_is_taken_and_bombs_are_not() {
    let bridge = Bridge::new().await;
    let mut good = request("ttn", "application/json", gzip(ttn(1).to_string().as_bytes()));
    good.headers_mut().insert("Content-Encoding", "gzip".parse().unwrap());
    assert!(bridge.send(good).await.status.is_success());
    assert_eq!(bridge.messages().await.len(), 1);
    let mut bomb = request("ttn", "application/json", gzip(&vec![b' '; 50_000_000]));
    bomb.headers_mut().insert("Content-Encoding", "gzip".parse().unwrap());
    assert_eq!(bridge.send(bomb).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for encoding in ["br", "gzip, gzip", "zstd"] {
        let mut odd = request("ttn", "application/json", "x");
        odd.headers_mut().insert("Content-Encoding", encoding.parse().unwrap());
        assert_eq!(bridge.send(odd).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn forms_queries_and_text_are_read_by_content_type() {
    let bridge = Bridge::new().await;
    let form = "event=t&data=1&published_at=2026-11-20T12%3A00%3A00.000Z&coreid=e00fce68ece1d3d21a73dcc9";
    let urlencoded = "application/x-www-form-urlencoded";
    assert!(bridge.send(request("particle", urlencoded, form)).await.status.is_success());
    assert!(
        bridge
            .send(request("sigfox", urlencoded, "device=1A2B&time=1718000000&data=01&seqNumber=5"))
            .await
            .status
            .is_success()
    );
    let mut query = request("sigfox?device=1A2C&time=1718000000&data=01&seqNumber=6", "", "");
    *query.method_mut() = http::Method::GET;
    assert!(bridge.send(query).await.status.is_success());
    assert!(bridge.send(request("sigfox", "text/plain", sigfox(8).to_string())).await.status.is_success());
    assert_eq!(bridge.messages().await.len(), 4, "{:?}", bridge.letters().await);
}

#[tokio::test]
async fn sigfox_data_advanced_is_a_place_and_a_wrapped_sequence_is_new() {
    let bridge = Bridge::new().await;
    bridge.accept("sigfox", &sigfox(4095)).await;
    bridge
        .accept(
            "sigfox",
            &json!({
                "device": "1A2B3C", "time": "1718000000", "data": "00ff", "seqNumber": "4095", "lqi": "Good", "linkQuality": 2,
                "computedLocation": { "lat": 52.1, "lng": 4.9, "radius": 4200, "source": 2, "status": 1 }
            }),
        )
        .await;
    bridge.accept("sigfox", &sigfox(0)).await;
    let kinds: Vec<Kind> = bridge.messages().await.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [Kind::Telemetry, Kind::Location, Kind::Telemetry]);
}

#[tokio::test]
async fn ttn_sessions_measurements_and_masks() {
    let bridge = Bridge::new().await;
    bridge.accept("ttn", &ttn(1)).await;
    let mut rejoined = ttn(1);
    rejoined["uplink_message"]["session_key_id"] = "S2".into();
    bridge.accept("ttn", &rejoined).await;
    assert_eq!(bridge.messages().await.len(), 2, "a counter that starts again after a join is new");
    for celsius in [1, 2] {
        let normalized = json!({
            "end_device_ids": { "device_id": "dev2" },
            "uplink_normalized": { "session_key_id": "S", "f_cnt": 7, "normalized_payload": { "air": { "temperature": celsius } } }
        });
        bridge.accept("ttn", &normalized).await;
    }
    assert_eq!(bridge.messages().await.len(), 4, "both measurements of one frame are kept");
    bridge.accept("ttn", &json!({ "end_device_ids": { "device_id": "dev3" }, "uplink_message": { "session_key_id": "S", "f_cnt": 1 } })).await;
    bridge
        .accept("ttn/from-the-url", &json!({ "uplink_message": { "f_port": 1, "frm_payload": "ICw=" } }))
        .await;
    let messages = bridge.messages().await;
    assert_eq!((messages[4].kind, messages[4].content.raw.is_none()), (Kind::Telemetry, true));
    assert_eq!(messages[5].device.as_ref().unwrap().as_str(), "from-the-url");
}

#[tokio::test]
async fn ttn_command_states_never_go_back() {
    let bridge = Bridge::new().await;
    let status = |key: &str, attempt: u32| {
        json!({
            "end_device_ids": { "device_id": "dev1" },
            key: {
                "session_key_id": "S", "f_port": 1, "f_cnt": 7, "confirmed": true, "correlation_ids": ["cmd-42"],
                "confirmed_retry": { "attempt": attempt, "max_attempts": 3 }
            }
        })
    };
    for (key, attempt) in [("downlink_nack", 1), ("downlink_ack", 2), ("downlink_sent", 2)] {
        bridge.accept("ttn", &status(key, attempt)).await;
    }
    let messages = bridge.messages().await;
    let states: Vec<_> =
        messages.iter().map(|m| (m.content.data["state"].as_str().unwrap(), m.superseded)).collect();
    assert_eq!(states[1], ("acknowledged", false));
    assert_eq!((states[0].1, states[2].1), (false, true), "sent came after its acknowledgement");
    assert_eq!(messages[1].content.data["attempt"], 2);
}

#[tokio::test]
async fn particle_api_events_and_presence() {
    let bridge = Bridge::new().await;
    let mut api = particle("particle/firmware/create", "{}", "2026-11-20T12:00:00.000Z");
    api["coreid"] = "api".into();
    bridge.accept("particle", &api).await;
    bridge.accept("particle", &particle("spark/status", "online", "2026-11-20T12:00:00.013Z")).await;
    bridge.accept("particle", &particle("spark/status", "offline", "2026-11-20T12:00:00.000Z")).await;
    let messages = bridge.messages().await;
    assert!(messages[0].device.is_none());
    let presence: Vec<_> =
        messages[1..].iter().map(|m| (m.content.data["online"].clone(), m.superseded)).collect();
    assert_eq!(presence, [(json!(true), false), (json!(false), true)], "online stays the last word");
}

#[tokio::test]
async fn understood_but_not_mappable_is_kept_and_counted() {
    let bridge = Bridge::new().await;
    bridge.accept("ttn", &json!({ "test": "value" })).await;
    bridge.accept("ttn", &json!({ "end_device_ids": { "device_id": "d" }, "a_new_message_type": {} })).await;
    bridge.accept("particle", &json!({ "event": "roger" })).await;
    let reasons: Vec<_> = bridge.letters().await.iter().map(|letter| letter.letter.reason.as_str()).collect();
    assert_eq!(reasons, ["unmappable", "unknown-event", "no-device"]);
    let metrics = bridge.send(Request::get("/metrics").body(Body::empty()).unwrap()).await;
    assert!(
        metrics.body.contains("bridge_uplinks_dead_total{integration=\"ttn\",reason=\"unmappable\"} 1\n")
    );
    assert!(metrics.body.contains("bridge_requests_received_total{integration=\"ttn\"} 2\n"));
}

#[tokio::test]
async fn paths_and_methods() {
    let bridge = Bridge::new().await;
    assert_eq!(bridge.post("nobody", &json!({})).await.status, StatusCode::NOT_FOUND);
    for path in ["/", "/webhooks", "/webhooks/ttn/a/b"] {
        let unknown = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(bridge.send(unknown).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let mut delete = request("ttn", "", "");
    *delete.method_mut() = http::Method::DELETE;
    let answer = bridge.send(delete).await;
    assert_eq!(
        (answer.status, answer.headers[header::ALLOW].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "POST")
    );
}

#[tokio::test]
async fn health_and_readiness_say_how_it_is() {
    let bridge = Bridge::new().await;
    let get = |path: &str| bridge.send(Request::get(path.to_owned()).body(Body::empty()).unwrap());
    assert_eq!(get("/healthz").await.status, StatusCode::OK);
    let ready = get("/readyz").await;
    let state: Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(
        (ready.status, &state["status"], &state["hub"]["up"]),
        (StatusCode::OK, &json!("degraded"), &json!(false))
    );
    assert_eq!(get("/admin/v1/traces").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_the_named_sources_may_send() {
    let bridge = Bridge::with(
        "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[integrations.far]\nconnector = \"sigfox\"\n\
         sources = [\"185.110.96.0/22\"]\nauth = { scheme = \"header\", header = \"X-Secret\", secrets = [{ env = \"ONE\" }] }",
    )
    .await;
    for (forwarded, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("185.110.97.3"), StatusCode::NO_CONTENT),
        (Some("185.110.97.3, 8.8.8.8"), StatusCode::UNAUTHORIZED),
        (Some("nonsense"), StatusCode::UNAUTHORIZED),
    ] {
        let mut request = request("far", "application/json", sigfox(1).to_string());
        if let Some(forwarded) = forwarded {
            request.headers_mut().insert("X-Forwarded-For", forwarded.parse().unwrap());
        }
        assert_eq!(bridge.send(request).await.status, status, "{forwarded:?}");
    }
}

#[tokio::test]
async fn credentials_are_not_stored() {
    let bridge = Bridge::with(
        "[integrations.url]\nconnector = \"ttn\"\nauth = { scheme = \"url-token\", parameter = \"token\", secrets = [{ env = \"ONE\" }] }",
    )
    .await;
    let marks = ["NNSXS.DOWNLINK.KEY", "v2-downlink-secret", "MDEyMzQ1Njc4OWFiY2RlZg"];
    for body in [
        json!({ "test": "value" }),
        json!({ "payload_raw": "AQ==", "downlink_url": "https://x/y?key=v2-downlink-secret" }),
        json!({ "uplink_message": { "app_s_key": { "key": "MDEyMzQ1Njc4OWFiY2RlZg==" } } }),
    ] {
        let mut request = request(&format!("url?token={SECRET}&x=1"), "application/json", body.to_string());
        request.headers_mut().insert("X-Downlink-Apikey", marks[0].parse().unwrap());
        assert!(bridge.send(request).await.status.is_success());
    }
    let letters = bridge.letters().await;
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[0].letter.request.as_ref().unwrap().query, "x=1");
    let stored = bridge.everything_stored().await;
    for mark in marks.into_iter().chain([SECRET, NEXT_SECRET]) {
        let found = stored.windows(mark.len()).any(|window| window == mark.as_bytes());
        assert!(!found, "{mark} is in the store");
    }
}

#[tokio::test]
async fn a_device_over_its_rate_is_told_to_come_again_and_the_others_are_not() {
    let bridge = Bridge::in_folder_with(tempfile::tempdir().unwrap(), "", "device_rate = 1").await;
    let of = |device: &str, counter: u32| {
        let mut body = ttn(counter);
        body["end_device_ids"]["device_id"] = device.into();
        body
    };
    // However slow the machine is, some of these come within one second.
    let mut over = Vec::new();
    let mut taken = 0;
    for counter in 0.. {
        let both = json!([of("another", 2 * counter), of("another", 2 * counter + 1), of("loud", counter)]);
        let answer = bridge.post("ttn", &both).await;
        match answer.status {
            StatusCode::OK => taken += 1,
            StatusCode::TOO_MANY_REQUESTS => over.push((both, answer)),
            other => panic!("{other}: {}", answer.body),
        }
        if over.len() == 2 {
            break;
        }
    }
    for (_, answer) in &over {
        assert!(answer.headers[header::RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap() >= 1);
    }
    assert!(taken >= 1, "many messages of one device count once");
    assert_eq!(bridge.messages().await.len(), 3 * taken, "all of a request, or nothing");
    bridge.accept("ttn", &of("quiet", 1)).await;
    for (path, body) in [("sigfox", sigfox(1)), ("sigfox", sigfox(2))] {
        bridge.accept(path, &body).await;
    }
    let metrics = bridge.send(Request::get("/metrics").body(Body::empty()).unwrap()).await.body;
    let counted = "bridge_requests_refused_total{integration=\"ttn\",reason=\"overload\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(bridge.letters().await.is_empty(), "what comes again is not dead");
    let before = bridge.messages().await.len();
    tests::world::wait_until("what was refused is taken when it comes again", async || {
        bridge.post("ttn", &over[0].0).await.status.is_success()
    })
    .await;
    assert_eq!(bridge.messages().await.len(), before + 3);
}
