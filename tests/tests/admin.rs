//! `/admin/v1` at the real router, with the real store: who may do what, what bad input is answered, what each route shows
//! and does. Not here: the life of commands (`commands.rs`), codecs (`codecs.rs`), the state of devices
//! (`twins.rs`), the live flow (`admin_events.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::body::Body;
use axum::extract::ConnectInfo;
use bridge_core::ports::{DeadLetterFilter, DeadLetters};
use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tests::bridge::Bridge;
use tests::world::wait_until;
use tower::ServiceExt;

const SCOPES: [&str; 4] = ["read", "commands", "devices", "replay"];

/// A bridge with a token for each scope: `a-token-that-may-SCOPE`.
async fn bridge() -> Bridge {
    let folder = tempfile::tempdir().unwrap();
    let mut tokens = String::new();
    for scope in SCOPES {
        std::fs::write(folder.path().join(scope), format!("a-token-that-may-{scope}\n")).unwrap();
        tokens += &format!(
            "[admin.tokens.only-{scope}]\nsecrets = [{{ file = \"{scope}\" }}]\nscopes = [\"{scope}\"]\n"
        );
    }
    Bridge::in_folder_with(folder, &format!("[archive]\nkeep = \"1d\"\n{tokens}"), "").await
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn is_problem(&self, kind: &str) -> bool {
        self.body["type"] == format!("urn:device-bridge:problem:{kind}")
    }
}

/// Each from another address, so that failures of one are not those of another. A stream is not read.
async fn ask(bridge: &Bridge, token: &str, method: &str, path: &str, media: &str, body: Vec<u8>) -> Answer {
    static PEER: AtomicU8 = AtomicU8::new(0);
    let peer = [127, 0, 1, PEER.fetch_add(1, Ordering::Relaxed)];
    ask_from(bridge, peer, token, (method, path), media, body).await
}

async fn ask_from(
    bridge: &Bridge,
    peer: [u8; 4],
    token: &str,
    (method, path): (&str, &str),
    media: &str,
    body: Vec<u8>,
) -> Answer {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if !media.is_empty() {
        request = request.header(header::CONTENT_TYPE, media);
    }
    let mut request = request.body(Body::from(body)).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 4242))));
    let (parts, body) = bridge.admin.clone().oneshot(request).await.unwrap().into_parts();
    let status = parts.status.as_u16();
    let media = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    if status >= 400 {
        assert_eq!(media.as_deref(), Some("application/problem+json"), "{path}");
    }
    let body = match media.as_deref() {
        None | Some("text/event-stream") => Value::Null,
        Some(_) => serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap(),
    };
    Answer { status, headers: parts.headers, body }
}

async fn get(bridge: &Bridge, path: &str) -> Value {
    let answer = call(bridge, "get", path, Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

/// As the command line.
async fn call(bridge: &Bridge, method: &str, path: &str, body: Value) -> Answer {
    let token = bridge.operator_token();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    ask(bridge, &token, method, path, "application/json", body).await
}

/// Every operation of operators: method, path with examples, scope, and whether it takes a body; and no other method.
async fn operations(bridge: &Bridge) -> Vec<(String, String, Option<(String, bool)>)> {
    let document = get(bridge, "/openapi.json").await;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/admin/") {
            continue;
        }
        let mut filled = path.clone();
        for parameter in item["parameters"].as_array().into_iter().flatten() {
            let parameter = match parameter["$ref"].as_str() {
                Some(reference) => document.pointer(&reference[1..]).unwrap(),
                None => parameter,
            };
            let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
            filled = filled.replace(&name, parameter["example"].as_str().unwrap());
        }
        for method in ["get", "post", "put", "patch", "delete"] {
            let operation = item.get(method).map(|operation| {
                let text = operation["description"].as_str().unwrap();
                let scope = text.split("Scope `").nth(1).unwrap().split('`').next().unwrap();
                (scope.to_owned(), operation.get("requestBody").is_some())
            });
            operations.push((method.to_owned(), filled.clone(), operation));
        }
    }
    assert!(operations.len() >= 5 * 17, "{operations:?}");
    operations
}

#[tokio::test]
async fn every_route_takes_its_scope_and_no_other() {
    let bridge = bridge().await;
    for (method, path, operation) in operations(&bridge).await {
        let ask = async |token: &str| ask(&bridge, token, &method, &path, "", Vec::new()).await;
        let place = format!("{method} {path}");
        let Some((scope, _)) = operation else {
            let answer = ask(&bridge.operator_token()).await;
            assert_eq!(answer.status, 405, "{place}");
            assert!(answer.headers.contains_key(header::ALLOW), "{place}");
            continue;
        };
        for wrong in ["", "nonsense", "a-token-that-may-rea", "a-token-that-may-readd"] {
            let answer = ask(wrong).await;
            assert_eq!(answer.status, 401, "{place} with {wrong:?}");
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"admin\"", "{place}");
            assert!(answer.is_problem("unauthorized"), "{place}");
        }
        for other in SCOPES.iter().filter(|other| **other != scope) {
            let answer = ask(&format!("a-token-that-may-{other}")).await;
            assert_eq!(answer.status, 403, "{place} with {other}");
            assert!(answer.is_problem("out-of-scope"), "{place}");
            let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.ends_with(&format!("scope=\"{scope}\"")), "{place}: {challenge}");
        }
        for right in [format!("a-token-that-may-{scope}"), bridge.operator_token()] {
            let answer = ask(&right).await;
            assert!(![401, 403, 405, 429, 500].contains(&answer.status), "{place}: {}", answer.status);
        }
    }
    assert!(bridge.letters().await.is_empty() && bridge.messages().await.is_empty());
}

#[tokio::test]
async fn every_body_is_refused_with_what_is_wrong_and_where() {
    let bridge = bridge().await;
    bridge.accept("ttn", &uplink("pump-1", 1)).await;
    let token = bridge.operator_token();
    for (method, path, operation) in operations(&bridge).await {
        if !operation.is_some_and(|(_, takes_a_body)| takes_a_body) {
            continue;
        }
        let ask = async |media: &str, body: &str| {
            ask(&bridge, &token, &method, &path, media, body.as_bytes().to_vec()).await
        };
        let place = format!("{method} {path}");
        let answer = ask("text/plain", "{}").await;
        assert_eq!(
            (answer.status, &answer.headers[header::ACCEPT]),
            (415, &"application/json".parse().unwrap())
        );
        let large = "x".repeat(300_000);
        for (media, body, status, kind) in [
            ("application/xml", "<a/>", 415, "unsupported-media-type"),
            ("application/json", &large, 413, "body-too-large"),
            ("application/json", "", 400, "malformed"),
            ("application/json; charset=utf-8", "{", 400, "malformed"),
            ("", "[1]", 422, "invalid"),
            ("application/json", "{\"nobody-knows-this\":1}", 422, "invalid"),
        ] {
            // What is not there is not there, whatever is wanted of it.
            if path.contains("/codecs/") && status == 422 {
                continue;
            }
            let answer = ask(media, body).await;
            assert_eq!(answer.status, status, "{place} {body:.9}: {}", answer.body);
            assert!(answer.is_problem(kind), "{place}: {}", answer.body);
            if [400, 422].contains(&status) {
                assert!(answer.body["errors"][0]["pointer"].is_string(), "{place}: {}", answer.body);
            }
        }
    }
    for (method, path, body, pointer) in [
        ("post", "commands", json!({ "device": "a/b", "name": "n" }), "/device"),
        ("post", "commands", json!({ "device": "a", "name": "n", "confirmed": 7 }), "/confirmed"),
        ("post", "commands", json!({ "device": "a", "name": "n", "expires": "soon" }), "/expires"),
        ("post", "commands", json!({ "device": "a" }), ""),
        ("patch", "devices/pump-1", json!({ "state": "asleep" }), "/state"),
        ("patch", "devices/pump-1", json!({ "name": "\u{7}" }), "/name"),
        ("patch", "devices/pump-1", json!({ "tags": ["a", ""] }), "/tags/1"),
        ("patch", "devices/pump-1", json!({ "tags": ["a", 7] }), "/tags/1"),
        ("patch", "devices/pump-1", json!({ "codec": "none-of-ours" }), "/codec"),
        ("patch", "devices/pump-1/state", json!({ "desired": [] }), "/desired"),
        ("post", "replay", json!({ "from": "yesterday" }), "/from"),
        ("post", "replay", json!({ "from": "2026-01-01T00:00:00Z", "limit": -1 }), "/limit"),
    ] {
        let answer = call(&bridge, method, &format!("/admin/v1/{path}"), body).await;
        assert_eq!((answer.status, &answer.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_queries_that_say_nothing_are_told_apart() {
    let bridge = bridge().await;
    for (method, path, kind) in [
        ("get", "devices/nobody", "unknown-device"),
        ("get", "devices/no~body", "unknown-device"),
        ("patch", "devices/nobody", "unknown-device"),
        ("delete", "devices/nobody", "unknown-device"),
        ("get", "devices/nobody/state", "unknown-device"),
        ("get", "integrations/nowhere", "unknown-integration"),
        ("get", "dead-letters/1", "unknown-dead-letter"),
        ("get", "dead-letters/x", "unknown-dead-letter"),
        ("get", "dead-letters/9223372036854775808", "unknown-dead-letter"),
        ("delete", "dead-letters/1", "unknown-dead-letter"),
        ("post", "dead-letters/1/replay", "unknown-dead-letter"),
        ("get", "commands/00000000000000000000000000000000", "unknown-command"),
        ("delete", "commands/x", "unknown-command"),
        ("get", "messages/00000000000000000000000000000000", "unknown-message"),
        ("get", "messages/x", "unknown-message"),
        ("get", "nothing", "not-found"),
    ] {
        let body = if method == "patch" { json!({}) } else { Value::Null };
        let answer = call(&bridge, method, &format!("/admin/v1/{path}"), body).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
        assert!(answer.is_problem(kind), "{method} {path}: {}", answer.body);
    }
    for (method, path) in [
        ("get", "devices?state=asleep"),
        ("get", "devices?integration=a/b"),
        ("get", "devices?after=a/b"),
        ("get", "devices?colour=red"),
        ("get", "devices?limit=-1"),
        ("get", "dead-letters?reason=none"),
        ("get", "dead-letters?after=18446744073709551616"),
        ("delete", "dead-letters"),
        ("delete", "dead-letters?all=false"),
        ("delete", "dead-letters?all=true&integration=ttn"),
        ("delete", "dead-letters?integraton=ttn&all=true"),
        ("delete", "dead-letters?number=9223372036854775808"),
        ("post", "dead-letters/replay"),
        ("post", "dead-letters/replay?number=18446744073709551615"),
        ("get", "traces?device=a/b"),
        ("get", "events?integration=a/b"),
    ] {
        let answer = call(&bridge, method, &format!("/admin/v1/{path}"), Value::Null).await;
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.body);
        assert!(answer.is_problem("malformed"), "{method} {path}: {}", answer.body);
    }
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_locks_nobody_out() {
    let bridge = bridge().await;
    let devices = ("get", "/admin/v1/devices");
    let (loud, quiet) = ([127, 9, 9, 1], [127, 9, 9, 2]);
    let mut told = Vec::new();
    for _ in 0..30 {
        let answer = ask_from(&bridge, loud, "a-token-that-may-guess", devices, "", Vec::new()).await;
        if answer.status == 429 {
            assert!(answer.headers[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        }
        told.push(answer.status);
    }
    assert!(told.contains(&401) && told.contains(&429), "{told:?}");
    for (peer, token, status) in
        [(quiet, "a-token-that-may-guess", 401), (loud, "a-token-that-may-read", 200), (loud, "", 401)]
    {
        assert_eq!(ask_from(&bridge, peer, token, devices, "", Vec::new()).await.status, status);
    }
}

#[tokio::test]
async fn tokens_change_with_the_configuration() {
    let bridge = bridge().await;
    let status = async |token: &str| {
        let path = "/admin/v1/devices";
        ask(&bridge, token, "get", path, "", Vec::new()).await.status
    };
    assert_eq!(status("a-token-that-may-read").await, 200);
    std::fs::write(bridge.folder.path().join("read"), "another-token-that-may-read").unwrap();
    let tokens = "[admin.tokens.reader]\nsecrets = [{ file = \"read\" }]\nscopes = [\"read\"]\n";
    let config = bridge.reconfigured(tokens, "").unwrap();
    bridge.app.as_ref().unwrap().reload(&config).unwrap();
    assert_eq!(
        (status("a-token-that-may-read").await, status("another-token-that-may-read").await),
        (401, 200)
    );
    assert_eq!(status(&bridge.operator_token()).await, 200);
}

#[tokio::test]
async fn both_listeners_serve_health_and_each_its_own() {
    let bridge = bridge().await;
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        for router in [&bridge.router, &bridge.admin] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), 200, "{path}");
        }
    }
    for (router, path) in [
        (&bridge.router, "/admin/v1/devices"),
        (&bridge.admin, "/webhooks/ttn"),
        (&bridge.admin, "/v1/devices/a/state"),
    ] {
        let request =
            Request::get(path).header(header::AUTHORIZATION, format!("Bearer {}", bridge.operator_token()));
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn devices_are_listed_parked_and_forgotten() {
    let bridge = bridge().await;
    for (number, device) in ["a", "b", "c"].into_iter().enumerate() {
        bridge.accept("ttn", &uplink(device, number)).await;
    }
    let ids = async |query: &str| -> Vec<String> {
        let devices = get(&bridge, &format!("/admin/v1/devices{query}")).await;
        devices.as_array().unwrap().iter().map(|device| device["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["a", "b", "c"]);
    assert_eq!(ids("?limit=2").await, ["a", "b"]);
    assert_eq!(ids("?limit=2&after=b").await, ["c"]);
    assert_eq!(ids("?integration=sigfox").await, [""; 0]);

    let path = "/admin/v1/devices/b";
    let device = get(&bridge, path).await;
    assert_eq!((&device["integration"], &device["state"]), (&json!("ttn"), &json!("active")));
    assert!(device["lastHeard"].as_str() >= device["firstHeard"].as_str());
    for link in device["links"].as_object().unwrap().values() {
        let link = link.as_str().unwrap();
        assert_eq!(call(&bridge, "get", link, Value::Null).await.status, 200, "{link}");
    }

    let patch = json!({ "state": "parked", "name": "Pump", "tags": ["roof"] });
    let changed = call(&bridge, "patch", path, patch).await.body;
    assert_eq!((&changed["state"], &changed["name"]), (&json!("parked"), &json!("Pump")));
    assert_eq!((ids("?state=parked").await, ids("?tag=roof").await), (vec!["b".into()], vec!["b".into()]));
    bridge.accept("ttn", &uplink("b", 9)).await;
    assert_eq!(bridge.letters().await.len(), 1, "it is parked when the answer comes");
    let changed = call(&bridge, "patch", path, json!({ "state": "active", "name": null })).await.body;
    assert_eq!((&changed["name"], &changed["tags"]), (&Value::Null, &json!(["roof"])));
    bridge.accept("ttn", &uplink("b", 10)).await;
    assert_eq!((bridge.letters().await.len(), bridge.messages().await.len()), (1, 4));

    assert_eq!(call(&bridge, "delete", path, Value::Null).await.status, 204);
    assert_eq!(call(&bridge, "delete", path, Value::Null).await.status, 404);
    assert_eq!(ids("").await, ["a", "c"]);
}

#[tokio::test]
async fn integrations_and_messages_say_what_became_of_them() {
    let bridge = bridge().await;
    bridge.accept("ttn", &uplink("a", 1)).await;
    bridge.accept("ttn", &uplink("a", 1)).await;
    bridge.accept("ttn", &uplink("b", 1)).await;
    let unproved = Request::post("/webhooks/ttn").body(Body::from("{}")).unwrap();
    assert_eq!(bridge.send(unproved).await.status, 401);

    let all = get(&bridge, "/admin/v1/integrations").await;
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chirpstack", "particle", "sigfox", "ttn", "http"]);
    let ttn = get(&bridge, "/admin/v1/integrations/ttn").await;
    assert_eq!(
        (
            &ttn["requests"]["received"],
            &ttn["requests"]["refused"],
            &ttn["messages"]["stored"],
            &ttn["messages"]["duplicate"]
        ),
        (&json!(4), &json!({ "unauthorized": 1 }), &json!(2), &json!(1))
    );
    assert_eq!(ttn["messages"]["deadLetter"], json!({}));

    let traces = get(&bridge, "/admin/v1/traces?device=a").await;
    let ends: Vec<&str> = traces.as_array().unwrap().iter().map(|one| one["end"].as_str().unwrap()).collect();
    assert_eq!(ends, ["stored", "duplicate"]);
    assert_eq!(get(&bridge, "/admin/v1/traces?integration=ttn&limit=9").await.as_array().unwrap().len(), 4);
    assert_eq!(get(&bridge, "/admin/v1/traces?integration=sigfox").await, json!([]));
    let id = traces[0]["message"].as_str().unwrap();
    let message = get(&bridge, &format!("/admin/v1/messages/{id}")).await;
    assert_eq!((&message["device"], &message["traces"]), (&json!("a"), &traces));
}

#[tokio::test]
async fn dead_letters_are_listed_sent_again_and_removed() {
    let bridge = bridge().await;
    bridge.accept("chirpstack", &json!({ "n": 0 })).await;
    for n in 1..=45 {
        bridge.accept("ttn", &json!({ "n": n })).await;
    }
    let letters = bridge.letters().await;
    assert_eq!(letters.len(), 46);
    let list = async |query: &str| get(&bridge, &format!("/admin/v1/dead-letters{query}")).await;
    let numbers = |list: &Value| -> Vec<u64> {
        list.as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect()
    };
    let every: Vec<u64> = letters.iter().map(|letter| letter.number).collect();
    assert_eq!(numbers(&list("").await), every);
    assert_eq!(numbers(&list("?limit=41").await), every[..41]);
    assert_eq!(numbers(&list(&format!("?after={}&limit=3", every[1])).await), every[2..5]);
    assert_eq!(numbers(&list("?integration=ttn&limit=1000").await), every[1..]);
    assert_eq!(list("?integration=particle").await, json!([]));
    assert_eq!(list("?after=18446744073709551615").await, json!([]));

    let number = *every.last().unwrap();
    let path = format!("/admin/v1/dead-letters/{number}");
    let letter = get(&bridge, &path).await;
    assert_eq!((&letter["reason"], &letter["request"]["method"]), (&json!("unmappable"), &json!("POST")));
    assert_eq!((&letter["request"]["text"], &letter["message"]), (&json!("{\"n\":45}"), &Value::Null));

    let answer = call(&bridge, "post", &format!("{path}/replay"), Value::Null).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({ "marked": 1 })));
    wait_until("it was sent again, in vain", async || {
        let letter = get(&bridge, &path).await;
        letter["replay"] == false && letter["detail"].as_str().unwrap().starts_with("replayed, and again")
    })
    .await;
    let answer =
        call(&bridge, "post", "/admin/v1/dead-letters/replay?integration=particle", Value::Null).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({ "marked": 0 })));

    assert_eq!(call(&bridge, "delete", &path, Value::Null).await.status, 204);
    assert_eq!(call(&bridge, "get", &path, Value::Null).await.status, 404);
    let some =
        call(&bridge, "delete", "/admin/v1/dead-letters?reason=unmappable&integration=ttn", Value::Null)
            .await;
    assert_eq!((some.status, &some.body), (200, &json!({ "removed": 44 })));
    let rest = call(&bridge, "delete", "/admin/v1/dead-letters?all=true", Value::Null).await;
    assert_eq!(rest.body, json!({ "removed": 1 }));
    let none = DeadLetterFilter::default();
    assert_eq!(bridge.store.remove_matching(&none, 9).await.unwrap(), 0);
}

fn uplink(device: &str, counter: usize) -> Value {
    json!({
        "end_device_ids": { "device_id": device, "application_ids": { "application_id": "app" } },
        "uplink_message": {
            "session_key_id": "S", "f_port": 1, "f_cnt": counter, "frm_payload": "AQ==",
            "decoded_payload": { "n": counter }, "received_at": "2026-11-20T12:00:00Z"
        }
    })
}
