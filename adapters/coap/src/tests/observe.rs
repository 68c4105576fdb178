//! Commands: asked for, observed, reported on. Not here: how observations end in the protocol (`coap-proto`), the life of a
//! command (`bridge-core`), libcoap's client (`tests/tests/coap.rs`).

use std::time::Duration;

use bridge_core::DeviceId;
use bridge_core::command::{CommandId, CommandName, CommandState, Draft};
use bridge_core::commands::Submitted;
use bridge_core::ports::{Commands, Credentials, TokenDigest};
use coap_proto::{Code, Event, Handle, Message, Request, Response, Type, number};
use serde_json::{Value, json};

use super::world::{Device, World, token, uri};
use super::{JSON, decode, post};

async fn submit(world: &World, name: &str) -> CommandId {
    let draft = Draft { arguments: json!({ "on": true }), ..Draft::new(CommandName::parse(name).unwrap()) };
    match world.dispatcher.submit(&DeviceId::parse("d1").unwrap(), draft).await.unwrap() {
        Submitted::New(command) => command.id,
        Submitted::Existing { .. } => panic!("it has no key"),
    }
}

async fn state(world: &World, command: CommandId) -> CommandState {
    Commands::get(&*world.store, command).await.unwrap().unwrap().state()
}

fn commands(response: &Response) -> Vec<Value> {
    assert_eq!((response.code, response.content_format()), (Code::CONTENT, Some(JSON)), "{response:?}");
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["commands"].as_array().unwrap().clone()
}

fn names(response: &Response) -> Vec<String> {
    commands(response).iter().map(|command| command["name"].as_str().unwrap().to_owned()).collect()
}

fn get() -> Request {
    Request::new(Code::GET, &uri("/commands"))
}

/// Registers, and what there was already.
async fn observe(device: &mut Device) -> (Handle, Vec<String>) {
    let handle = device.begin(get().observe());
    match device.event().await {
        Event::Response { response, observing: true, .. } => {
            assert!(response.max_age() > 3600, "until it should have heard of the bridge again");
            (handle, names(&response))
        }
        other => panic!("{other:?}"),
    }
}

/// The next notification; whether more will follow.
async fn told(device: &mut Device) -> (Response, bool) {
    match device.event().await {
        Event::Notification { response, observing, .. } => (response, observing),
        other => panic!("{other:?}"),
    }
}

async fn done(device: &mut Device, command: CommandId) -> Code {
    let path = uri(&format!("/commands/{command}"));
    device.ask(post(&path, JSON, br#"{"status":"done","result":7}"#)).await.code
}

#[tokio::test]
async fn whoever_asks_gets_the_same_until_it_reports() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let nothing = device.ask(get()).await;
    assert_eq!((commands(&nothing).len(), nothing.max_age()), (0, 0));
    let first = submit(&world, "a").await;
    assert_eq!(state(&world, first).await, CommandState::Queued);
    let asked = device.ask(get()).await;
    let command = &commands(&asked)[0];
    assert_eq!((&command["id"], &command["name"]), (&json!(first.to_string()), &json!("a")));
    assert_eq!((&command["arguments"], &command["attempt"]), (&json!({ "on": true }), &json!(1)));
    assert_eq!(state(&world, first).await, CommandState::Sent);
    assert_eq!(device.ask(Request::new(Code::GET, &uri("/c/d1"))).await.body, asked.body);
    for _ in 0..2 {
        assert_eq!(done(&mut device, first).await, Code::CHANGED, "also when it is said again");
    }
    assert_eq!(state(&world, first).await, CommandState::Acknowledged);
    assert!(commands(&device.ask(get()).await).is_empty());
}

#[tokio::test]
async fn requests_about_commands_are_refused_as_others_are() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let command = submit(&world, "a").await;
    let reports = |body: &'static [u8]| post(&uri(&format!("/c/d1/{command}")), JSON, body);
    let cases = [
        (Request::new(Code::GET, "/commands"), Code::UNAUTHORIZED),
        (Request::new(Code::GET, "/commands?t=wrong"), Code::UNAUTHORIZED),
        (Request::new(Code::GET, &uri("/c/d2")), Code::FORBIDDEN),
        (Request::new(Code::GET, &format!("/commands?t={}", token("parked"))), Code::FORBIDDEN),
        (Request::new(Code::GET, &format!("/commands?t={}", token("gone"))), Code::NOT_FOUND),
        (Request::new(Code::DELETE, &uri("/commands")), Code::METHOD_NOT_ALLOWED),
        (get().with_uint(number::ACCEPT, 60), Code::NOT_ACCEPTABLE),
        (Request::new(Code::GET, &uri("/commands/17")), Code::METHOD_NOT_ALLOWED),
        (post(&uri("/commands/17"), JSON, br#"{"status":"done"}"#), Code::NOT_FOUND),
        (post(&uri(&format!("/c/d2/{command}")), JSON, br#"{"status":"done"}"#), Code::FORBIDDEN),
        (post(&uri(&format!("/commands/{command}")), 60, b"\x07"), Code::UNSUPPORTED_CONTENT_FORMAT),
        (reports(b"{"), Code::BAD_REQUEST),
        (reports(br#"{"status":"maybe"}"#), Code::BAD_REQUEST),
        (reports(&[b' '; 3000]), Code::REQUEST_ENTITY_TOO_LARGE),
        // Nobody gave it to the device.
        (reports(br#"{"status":"done"}"#), Code::CONFLICT),
    ];
    for (request, code) in cases {
        let answer = device.ask(request.clone()).await;
        assert_eq!(answer.code, code, "{request:?}: {:?}", answer.body);
    }
    assert_eq!(state(&world, command).await, CommandState::Queued);
}

#[tokio::test]
async fn an_observer_is_told_of_each_command_once() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    let waiting = submit(&world, "a").await;
    let (_, first) = observe(&mut device).await;
    assert_eq!(first, ["a"]);
    let second = submit(&world, "b").await;
    let (news, observing) = told(&mut device).await;
    assert_eq!((names(&news), observing), (vec!["b".to_owned()], true), "it has the other one");
    assert_eq!(state(&world, second).await, CommandState::Sent);
    // Two may be under way; a report makes room.
    let third = submit(&world, "c").await;
    assert_eq!(state(&world, third).await, CommandState::Queued);
    let mut reporter = Device::new(world.address).await;
    assert_eq!(done(&mut reporter, waiting).await, Code::CHANGED);
    assert_eq!(names(&told(&mut device).await.0), ["c"]);
    for command in [second, third] {
        assert_eq!(done(&mut reporter, command).await, Code::CHANGED);
        assert_eq!(state(&world, command).await, CommandState::Acknowledged);
    }
    assert_eq!(world.api.stats().observers, 1);
}

#[tokio::test]
async fn a_command_without_a_report_goes_out_again_as_another_attempt() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    observe(&mut device).await;
    submit(&world, "a").await;
    assert_eq!(commands(&told(&mut device).await.0)[0]["attempt"], 1);
    // The device has 100 seconds.
    world.clock.advance(Duration::from_secs(101));
    world.dispatcher.tick().await.unwrap();
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(commands(&told(&mut device).await.0)[0]["attempt"], 2);
}

#[tokio::test]
async fn an_observer_hears_of_the_bridge_every_hour() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    observe(&mut device).await;
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(3601));
        let (news, observing) = told(&mut device).await;
        assert!(commands(&news).is_empty() && observing);
    }
}

#[tokio::test]
async fn who_does_not_observe_any_more_is_told_nothing_and_asks() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    // It says so.
    let (handle, _) = observe(&mut device).await;
    device.deregister(handle);
    assert!(matches!(
        device.event().await,
        Event::Notification { observing: false, .. } | Event::Response { observing: false, .. }
    ));
    submit(&world, "a").await;
    assert_eq!(names(&device.ask(get()).await), ["a"]);
    // It refuses what it is told: the command counts as given out, and is there when it asks.
    let raw = Device::new(world.address).await;
    raw.send(&raw.datagram(Type::Confirmable, 1, &get().observe())).await;
    assert!(decode(&raw.receive().await).options.has(number::OBSERVE));
    let second = submit(&world, "b").await;
    let notification = decode(&raw.receive().await);
    assert_eq!(notification.kind, Type::Confirmable);
    assert_eq!(state(&world, second).await, CommandState::Sent);
    raw.send(&Message::empty(Type::Reset, notification.mid).encode()).await;
    let asked = device.ask(get()).await;
    assert_eq!(names(&asked), ["a", "b"]);
    assert_eq!(commands(&asked)[1]["attempt"], 1, "it is the same attempt");
    assert_eq!(world.api.stats().observers, 0);
}

#[tokio::test]
async fn the_newest_observer_of_a_device_is_the_one() {
    let world = World::new().await;
    let mut older = Device::new(world.address).await;
    let mut newer = Device::new(world.address).await;
    observe(&mut older).await;
    observe(&mut newer).await;
    let (news, observing) = told(&mut older).await;
    assert_eq!((news.code, observing), (Code::CONFLICT, false));
    submit(&world, "a").await;
    assert_eq!(names(&told(&mut newer).await.0), ["a"]);
}

#[tokio::test]
async fn who_registers_again_goes_on_observing() {
    let world = World::new().await;
    let raw = Device::new(world.address).await;
    let mut registration = decode(&raw.datagram(Type::Confirmable, 1, &get().observe()));
    for mid in [1, 2] {
        registration.mid = mid;
        raw.send(&registration.encode()).await;
        assert!(decode(&raw.receive().await).options.has(number::OBSERVE));
    }
    submit(&world, "a").await;
    let notification = decode(&raw.receive().await);
    assert_eq!((notification.code, &notification.token), (Code::CONTENT, &registration.token));
    assert_eq!(world.api.stats().observers, 1);
}

#[tokio::test]
async fn who_may_not_ask_any_more_is_told_so() {
    let world = World::new().await;
    let mut device = Device::new(world.address).await;
    observe(&mut device).await;
    let digest = TokenDigest::of(token("d1").as_bytes());
    assert!(Credentials::remove(&*world.store, &digest).await.unwrap());
    world.api.keyring().refresh().await.unwrap();
    let command = submit(&world, "a").await;
    let (news, observing) = told(&mut device).await;
    assert_eq!((news.code, observing), (Code::UNAUTHORIZED, false));
    assert_eq!(state(&world, command).await, CommandState::Queued, "it was given to nobody");
}

#[tokio::test]
async fn observers_shall_register_with_the_next_bridge() {
    let mut world = World::new().await;
    let mut device = Device::new(world.address).await;
    observe(&mut device).await;
    world.close();
    let (news, observing) = told(&mut device).await;
    assert_eq!((news.code, news.max_age(), observing), (Code::SERVICE_UNAVAILABLE, 5, false));
    world.ended().await;
}
