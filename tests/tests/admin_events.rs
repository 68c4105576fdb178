//! The live flow of `/admin/v1/events`: at the real router with the real store, and in the real process over a socket. Not
//! here: the other routes of operators (`admin.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::body::Body;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tests::bridge::Bridge;
use tests::world::{BOUND, World, post};
use tower::ServiceExt;

/// A stream of events, read as it comes.
struct Events<B> {
    body: B,
    rest: String,
}

impl<B: http_body_util::BodyExt<Data = Bytes> + Unpin> Events<B>
where
    B::Error: std::fmt::Debug,
{
    /// The next block of lines; none at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(BOUND, self.body.frame()).await.unwrap()?.unwrap();
            self.rest += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
        }
    }

    /// The next event that is no comment: its name and its data.
    async fn event(&mut self) -> (String, Value) {
        loop {
            let block = self.next().await.unwrap();
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(event), Some(data)) = (field("event: "), field("data: ")) {
                return (event.to_owned(), serde_json::from_str(data).unwrap());
            }
        }
    }
}

async fn listen(bridge: &Bridge, query: &str) -> http::Response<Body> {
    let request = Request::get(format!("/admin/v1/events{query}"))
        .header(header::AUTHORIZATION, format!("Bearer {}", bridge.operator_token()));
    bridge.admin.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn events(bridge: &Bridge, query: &str) -> Events<Body> {
    let answer = listen(bridge, query).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let mut events = Events { body: answer.into_body(), rest: String::new() };
    assert_eq!(events.next().await.unwrap(), ": listening");
    events
}

fn uplink(device: &str, counter: usize) -> Value {
    json!({
        "end_device_ids": { "device_id": device, "application_ids": { "application_id": "app" } },
        "uplink_message": { "session_key_id": "S", "f_cnt": counter, "decoded_payload": { "n": counter } }
    })
}

#[tokio::test]
async fn everything_is_heard_as_it_happens_and_nothing_else() {
    let bridge = Bridge::new().await;
    bridge.accept("ttn", &uplink("a", 0)).await;
    let mut all = events(&bridge, "").await;
    let mut of_b = events(&bridge, "?device=b").await;
    let mut of_sigfox = events(&bridge, "?integration=sigfox").await;
    bridge.accept("ttn", &uplink("a", 1)).await;
    bridge.accept("ttn", &uplink("a", 1)).await;
    bridge.accept("ttn", &uplink("b", 1)).await;
    bridge.send(Request::post("/webhooks/sigfox").body(Body::from("{}")).unwrap()).await;
    bridge.accept("ttn", &json!({ "nothing": "of theirs" })).await;
    let mut heard = Vec::new();
    for _ in 0..5 {
        let (event, trace) = all.event().await;
        assert_eq!(event, "message");
        heard.push((trace["device"].clone(), trace["end"].clone(), trace["integration"].clone()));
    }
    let [a, b, ttn, sigfox] = ["a", "b", "ttn", "sigfox"].map(Value::from);
    let ends = ["stored", "duplicate", "stored", "refused", "dead-letter"].map(Value::from);
    let devices = [a.clone(), a, b.clone(), Value::Null, Value::Null];
    let integrations = [ttn.clone(), ttn.clone(), ttn.clone(), sigfox.clone(), ttn];
    let expected: Vec<_> =
        devices.into_iter().zip(ends).zip(integrations).map(|((d, e), i)| (d, e, i)).collect();
    assert_eq!(heard, expected);
    assert_eq!(of_b.event().await.1["device"], b);
    assert_eq!(of_sigfox.event().await.1["integration"], sigfox);

    bridge.app.as_ref().unwrap().set_closing();
    for mut stream in [all, of_b, of_sigfox] {
        assert_eq!(stream.next().await, None, "the flow ends with the bridge");
    }
    let late = listen(&bridge, "").await;
    assert_eq!(late.status(), 503);
    assert!(late.headers().contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn who_is_slow_is_told_how_many_it_missed() {
    let bridge = Bridge::new().await;
    let mut slow = events(&bridge, "").await;
    for counter in 0..300 {
        bridge.send(Request::post("/webhooks/ttn").body(Body::from(counter.to_string())).unwrap()).await;
    }
    let (event, missed) = slow.event().await;
    assert_eq!((event.as_str(), &missed), ("missed", &json!({ "missed": 300 - 256 })));
    let (event, first) = slow.event().await;
    assert_eq!((event.as_str(), &first["number"]), ("message", &json!(300 - 256 + 1)));
}

#[tokio::test]
async fn streams_are_counted_and_make_room_when_they_end() {
    let bridge = Bridge::new().await;
    let mut streams = Vec::new();
    while streams.len() < 32 {
        streams.push(events(&bridge, "").await);
    }
    let refused = listen(&bridge, "").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    drop(streams.pop());
    streams.push(events(&bridge, "").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_streams_says_who_asked_and_ends_in_time() {
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let mut bridge = world.start_bridge().await;
    let token = std::fs::read_to_string(world.folder.path().join("data/operator.token")).unwrap();
    let stream = tokio::net::TcpStream::connect(world.admin).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/admin/v1/events?device=greenhouse-7")
        .header(header::HOST, world.admin.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut events = Events { body: answer.into_body(), rest: String::new() };
    assert_eq!(events.next().await.unwrap(), ": listening");
    assert_eq!(post(world.http, "other", 1).await, Some(200));
    assert_eq!(post(world.http, "greenhouse-7", 1).await, Some(200));
    let (_, trace) = events.event().await;
    assert_eq!(trace["device"], "greenhouse-7");

    let ours = |arguments: &[&str]| {
        let output = world.bridge_command().args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let shown: Value = serde_json::from_str(&ours(&["devices", "show", "greenhouse-7"])).unwrap();
    assert_eq!((&shown["state"], &shown["integration"]), (&json!("active"), &json!("farm")));
    assert!(ours(&["devices", "show", "nobody"]).contains("There is no device with this id"));
    assert!(
        ours(&["devices", "state", "greenhouse-7", "--desired", "{\"interval\":60}"]).contains("interval")
    );
    assert!(
        ours(&["dead-letters", "remove", "--number", "9223372036854775808"]).contains("9223372036854775807")
    );

    assert_eq!(bridge.terminate().await, Some(0));
    assert_eq!(events.next().await, None);
    let _ = connection.await;
    let log = world.log();
    let line = log.lines().find(|line| line.contains("operator asked")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("local") && line.contains("PATCH") && line.contains("200"), "{line}");
    assert!(!log.contains(token.trim()), "the token is not logged");
}
