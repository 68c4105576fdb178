//! The API behind a real socket on loopback, with `coap-proto` as the device, over a store in memory. The hub is down unless a
//! test says otherwise: what was accepted is in the outbox, and can be looked at. Not here: real codecs, a real store, the
//! binary (`tests/tests/coap.rs`).

mod observe;
mod secure;
mod streams;
mod websocket;
mod wire;
mod world;

use bridge_core::counters::Refusal;
use bridge_core::ports::HubEvents;
use bridge_core::ports::LinkId;
use bridge_core::testing::Fault as StoreFault;
use bridge_core::{Kind, Timestamp};
use coap_proto::{Code, Message, Request, Type, number};

use self::world::{Device, World, token, uri};
use super::*;

const JSON: u16 = 50;

fn decode(datagram: &[u8]) -> Message {
    Message::decode(datagram, 8).unwrap()
}

fn post(path: &str, format: u16, body: &[u8]) -> Request {
    Request::new(Code::POST, path).with_body(format, body.to_vec())
}

#[tokio::test]
async fn every_way_to_say_it() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    for (format, body) in [
        (0, &b"21.5"[..]),
        (42, b"\x01\x02"),
        (JSON, br#"{"a":1}"#),
        (60, b"\x07"),
        (110, b"\x0a\x08"),
        (112, b"\x09"),
    ] {
        let answer = device.ask(post(&uri("/t/d1"), format, body)).await;
        assert_eq!((answer.code, answer.body.len()), (Code::CHANGED, 0), "{format}");
    }
    let bare = Request { body: b"\x03".to_vec().into(), ..Request::new(Code::PUT, &uri("/telemetry")) };
    assert_eq!(device.ask(bare).await.code, Code::CHANGED);
    let silent = post(&uri("/telemetry"), JSON, br#"{"a":2}"#).non_confirmable();
    assert_eq!(device.ask(silent).await.code, Code::CHANGED);
    for code in [Code::POST, Code::PATCH, Code::IPATCH] {
        let request = Request { code, ..post(&uri("/p/d1"), 52, br#"{"firmware":"1.2"}"#) };
        assert_eq!(device.ask(request).await.code, Code::CHANGED);
    }
    let messages = world.messages().await;
    let raw: Vec<_> = messages.iter().filter_map(|message| message.content.raw.as_ref()).collect();
    assert_eq!(
        raw.iter().map(|raw| raw.data.as_slice()).collect::<Vec<_>>(),
        [&b"21.5"[..], b"\x01\x02", b"\x03"]
    );
    let times: Vec<_> = messages[3..7].iter().map(|message| message.time).collect();
    assert_eq!(times, [7, 10, 8, 9].map(Timestamp::from_seconds), "the items of a pack have their own times");
    assert!(
        messages
            .iter()
            .all(|message| (message.source.as_ref(), message.integration.as_str()) == (SOURCE, "http")
                && message.device.as_ref().unwrap().as_str() == "d1")
    );
    assert_eq!((messages[2].time, messages[2].received_at), (None, world.now()), "the bridge's time");
    assert_eq!(messages.iter().filter(|message| message.kind == Kind::Properties).count(), 3);
    assert_eq!(world.api.counters().stored.get(), 12);
}

#[tokio::test]
async fn refusals_have_codes_and_sentences() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let good = br#"{"a":1}"#;
    let with = |path: &str, query: &str| post(&format!("{path}?{query}"), JSON, good);
    let own = format!("t={}", token("d1"));
    let cases = [
        (with("/nothing", &own), Code::NOT_FOUND),
        (with("/t/d1/x", &own), Code::NOT_FOUND),
        (with("/t/d1", ""), Code::UNAUTHORIZED),
        (with("/t/d1", "t=wrong"), Code::UNAUTHORIZED),
        (with("/t/d1", &format!("t={}", token("other"))), Code::UNAUTHORIZED),
        (with("/t/d1", &format!("{own}&{own}")), Code::UNAUTHORIZED),
        (with("/t/nobody", "t=wrong"), Code::UNAUTHORIZED),
        (with("/t/d2", &own), Code::FORBIDDEN),
        (with("/t/parked", &format!("t={}", token("parked"))), Code::FORBIDDEN),
        // Its token is good, and it is not registered: its own token never registers it.
        (with("/t/gone", &format!("t={}", token("gone"))), Code::NOT_FOUND),
        (with("/t/a b", &own), Code::NOT_FOUND),
        (Request::new(Code::GET, &uri("/t/d1")), Code::METHOD_NOT_ALLOWED),
        (Request::new(Code::DELETE, &uri("/t/d1")), Code::METHOD_NOT_ALLOWED),
        (Request { code: Code::PATCH, ..post(&uri("/t/d1"), JSON, good) }, Code::METHOD_NOT_ALLOWED),
        (post(&uri("/t/d1"), 41, b"<a/>"), Code::UNSUPPORTED_CONTENT_FORMAT),
        (post(&uri("/p/d1"), 60, b"\x07"), Code::UNSUPPORTED_CONTENT_FORMAT),
        (post(&uri("/t/d1"), JSON, b"{"), Code::BAD_REQUEST),
        (post(&uri("/t/d1"), JSON, br#"{"measurements":{"a":1},"tme":1}"#), Code::BAD_REQUEST),
        (post(&uri("/t/d1"), JSON, b""), Code::BAD_REQUEST),
        (post(&uri("/t/d1"), 60, b"broken"), Code::BAD_REQUEST),
        (with("/t/d1", &format!("{own}&i=")), Code::BAD_REQUEST),
        (post(&uri("/t/d1"), JSON, good).with(number::IF_NONE_MATCH, ""), Code::PRECONDITION_FAILED),
        (post(&uri("/t/d1"), JSON, good).with(9999, "x"), Code::BAD_OPTION),
        (post(&uri("/t/d1"), JSON, &[b'1'; 3000]), Code::REQUEST_ENTITY_TOO_LARGE),
        (Request::new(Code::GET, "/time").with_uint(number::ACCEPT, 41), Code::NOT_ACCEPTABLE),
        (Request::new(Code::POST, "/time"), Code::METHOD_NOT_ALLOWED),
    ];
    for (request, code) in cases {
        let answer = device.ask(request.clone()).await;
        assert_eq!(answer.code, code, "{request:?}: {:?}", answer.body);
        assert!(answer.content_format().is_none(), "{code}");
    }
    let telling = device.ask(post(&uri("/t/d1"), JSON, br#"{"measurements":{"a":1},"time":7}"#)).await;
    let text = std::str::from_utf8(&telling.body).unwrap();
    assert!(text.starts_with("/time: must be a time"), "{text}");
    let refused = |refusal: Refusal| world.api.counters().refused[refusal as usize].get();
    assert_eq!(refused(Refusal::Unauthorized), 5);
    assert_eq!((refused(Refusal::Forbidden), refused(Refusal::UnknownDevice)), (2, 2));
    assert_eq!((refused(Refusal::Method), refused(Refusal::Encoding)), (3, 2));
    assert!(world.messages().await.is_empty());
}

#[tokio::test]
async fn a_datagram_that_comes_twice_is_one_reading() {
    let world = World::new().await;
    let device = Device::new(world.address).await;
    let request = post(&uri("/t/d1"), JSON, br#"{"a":1}"#);
    for (kind, answers) in [(Type::Confirmable, 3), (Type::NonConfirmable, 1)] {
        let datagram = device.datagram(kind, 7 + answers as u16, &request);
        for _ in 0..3 {
            device.send(&datagram).await;
        }
        let first = device.receive().await;
        for _ in 1..answers {
            // While the first copy is under way, the others get an empty acknowledgement at most.
            let next = device.receive().await;
            let empty = decode(&next).code == Code::EMPTY;
            assert!(next == first || empty || decode(&first).code == Code::EMPTY);
        }
    }
    assert_eq!(world.messages().await.len(), 2);
}

#[tokio::test]
async fn a_key_or_a_time_makes_two_requests_one_reading() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let keyed = post(&format!("{}&i=boot7-42", uri("/t/d1")), JSON, br#"{"a":1}"#);
    let timed = post(&uri("/t/d1"), JSON, br#"{"measurements":{"a":1},"time":"2026-01-01T00:00:00Z"}"#);
    let pack = post(&uri("/t/d1"), 112, b"\x05\x06");
    for request in [&keyed, &keyed, &timed, &timed, &pack, &pack] {
        assert_eq!(device.ask(request.clone()).await.code, Code::CHANGED);
    }
    assert_eq!(world.messages().await.len(), 4);
    // Over another address, too: a device behind a NAT.
    let mut moved = Device::new(world.address).await;
    assert_eq!(moved.ask(keyed).await.code, Code::CHANGED);
    assert_eq!(world.messages().await.len(), 4);
    let plain = post(&uri("/t/d1"), JSON, br#"{"a":1}"#);
    for _ in 0..2 {
        assert_eq!(device.ask(plain.clone()).await.code, Code::CHANGED);
    }
    assert_eq!(world.messages().await.len(), 6, "nothing says that these are the same");
}

#[tokio::test]
async fn a_long_body_comes_in_blocks_and_discovery_leaves_in_blocks() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(1900));
    assert_eq!(device.ask(post(&uri("/t/d1"), JSON, long.as_bytes())).await.code, Code::CHANGED);
    assert_eq!(world.messages().await.len(), 1);
    let links = device.ask(Request::new(Code::GET, "/.well-known/core")).await;
    let text = std::str::from_utf8(&links.body).unwrap();
    assert!(text.contains("</telemetry>;ct=\"0 42 50 60 110 112\"") && text.contains("</time>"), "{text}");
    let one = device.ask(Request::new(Code::GET, "/.well-known/core?href=/time")).await;
    assert_eq!(&one.body[..], b"</time>;ct=\"0 60\"");
    let seconds = world.now().as_millis() / 1000;
    let time = device.ask(Request::new(Code::GET, "/time")).await;
    assert_eq!((time.code, time.max_age()), (Code::CONTENT, 0));
    assert_eq!(&time.body[..], seconds.to_string().as_bytes());
    let time = device.ask(Request::new(Code::GET, "/time").with_uint(number::ACCEPT, 60)).await;
    assert_eq!(&time.body[..], [&[0xc1, 0x1a][..], &(seconds as u32).to_be_bytes()].concat());
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_taken() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let request = post(&format!("{}&i=1", uri("/t/d1")), JSON, br#"{"a":1}"#);
    assert_eq!(device.ask(post(&uri("/t/d1"), JSON, br#"{"a":0}"#)).await.code, Code::CHANGED);
    world.store.set(StoreFault::Before);
    let answer = device.ask(request.clone()).await;
    assert_eq!((answer.code, answer.max_age()), (Code::SERVICE_UNAVAILABLE, 5));
    world.store.set(StoreFault::None);
    while device.ask(request.clone()).await.code != Code::CHANGED {}
    assert_eq!(world.messages().await.len(), 2);
}

#[tokio::test]
async fn a_device_over_its_rate_waits() {
    let world = World::new().await;
    world.api.replace(Settings::limited_to(Some(1)));
    let mut device = Device::new(world.address).await;
    let request = post(&uri("/t/d1"), JSON, br#"{"a":1}"#);
    assert_eq!(device.ask(request.clone()).await.code, Code::CHANGED);
    let answer = device.ask(request).await;
    assert_eq!((answer.code, answer.max_age()), (Code::TOO_MANY_REQUESTS, 1));
}

#[tokio::test]
async fn rubbish_is_survived() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let mut numbers = random::numbers([7; 32]);
    for length in 0..500 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| numbers() as u8).take(length).collect();
        device.send(&bytes).await;
        if length % 50 == 0 {
            // Or the system's buffer overflows.
            device.drain().await;
        }
    }
    device.send(&[0x40; 60_000]).await;
    device.drain().await;
    assert_eq!(device.ask(post(&uri("/t/d1"), JSON, br#"{"a":1}"#)).await.code, Code::CHANGED);
    assert!(world.api.stats().endpoint.not_coap > 0);
}

#[tokio::test]
async fn a_slow_hub_makes_a_separate_response() {
    let world = World::new().await;
    world.delivery.link_up(LinkId(0), 10);
    let device = Device::new(world.address).await;
    let datagram = device.datagram(Type::Confirmable, 1, &post(&uri("/t/d1"), JSON, br#"{"a":1}"#));
    device.send(&datagram).await;
    let published = world.published().await;
    let acknowledgement = decode(&device.receive().await);
    assert_eq!((acknowledgement.kind, acknowledgement.code), (Type::Acknowledgement, Code::EMPTY));
    device.send(&datagram).await;
    assert_eq!(decode(&device.receive().await), acknowledgement);
    world.delivery.acknowledged(&[published]);
    let answer = decode(&device.receive().await);
    assert_eq!((answer.kind, answer.code), (Type::Confirmable, Code::CHANGED));
    assert_eq!(world.api.counters().delivered.get(), 1);
}

#[tokio::test]
async fn work_under_way_is_brought_to_its_end_and_no_more_is_begun() {
    let mut world = World::new().await;
    world.delivery.link_up(LinkId(0), 10);
    let device = Device::new(world.address).await;
    let request = post(&uri("/t/d1"), JSON, br#"{"a":1}"#);
    device.send(&device.datagram(Type::Confirmable, 1, &request)).await;
    let published = world.published().await;
    world.close();
    let mut other = Device::new(world.address).await;
    let refused = other.ask(request).await;
    assert_eq!((refused.code, refused.max_age()), (Code::SERVICE_UNAVAILABLE, 5));
    world.delivery.acknowledged(&[published]);
    loop {
        let answer = decode(&device.receive().await);
        if answer.code != Code::EMPTY {
            assert_eq!(answer.code, Code::CHANGED);
            break;
        }
    }
    world.ended().await;
}
