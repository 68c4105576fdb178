//! Commands for devices that ask: who gets which, when, and what may be said about them. Not here: reports' own forms
//! (`commands.rs`), the life of a command (`bridge-core`).

use bridge_core::command::{Cause, CauseCode, CommandId, CommandName, CommandState, Draft};
use bridge_core::commands::Submitted;
use bridge_core::ports::Commands;

use super::*;

pub(super) async fn submit(world: &World, device: &str, name: &str) -> CommandId {
    let device = DeviceId::parse(device).unwrap();
    let draft = Draft { arguments: json!({ "on": true }), ..Draft::new(CommandName::parse(name).unwrap()) };
    match world.dispatcher.submit(&device, draft).await.unwrap() {
        Submitted::New(command) => command.id,
        Submitted::Existing { .. } => panic!("it has no key"),
    }
}

async fn get(world: &World, path: &str, credentials: &str) -> Answer {
    let request = Request::get(path).header(header::AUTHORIZATION, credentials).body(Body::empty());
    world.send(request.unwrap()).await
}

async fn ask(world: &World) -> Vec<Value> {
    let answer = get(world, "/v1/devices/d1/commands", &bearer(&token("d1"))).await;
    match answer.status {
        StatusCode::NO_CONTENT => Vec::new(),
        StatusCode::OK => answer.json()["commands"].as_array().unwrap().clone(),
        other => panic!("{other}"),
    }
}

async fn report(world: &World, command: impl std::fmt::Display, body: Value) -> Answer {
    let path = format!("/v1/devices/d1/commands/{command}/result");
    world.post(&path, &bearer(&token("d1")), "application/json", body.to_string()).await
}

fn names(commands: &[Value]) -> Vec<&str> {
    commands.iter().map(|command| command["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn whoever_asks_again_gets_the_same_until_it_reports() {
    let world = World::new(settings(Register::Off)).await;
    assert!(ask(&world).await.is_empty());
    let first = submit(&world, "d1", "a").await;
    submit(&world, "d1", "b").await;
    submit(&world, "d1", "c").await;
    let asked = ask(&world).await;
    assert_eq!(names(&asked), ["a", "b"], "two may be under way");
    assert_eq!(asked[0]["id"], first.to_string());
    assert_eq!((&asked[0]["arguments"], &asked[0]["attempt"]), (&json!({ "on": true }), &json!(1)));
    assert!(asked[0]["expires"].is_string() && asked[0].get("payload").is_none());
    assert_eq!(ask(&world).await, asked);
    for _ in 0..2 {
        let answer = report(&world, first, json!({ "status": "done", "result": { "took": 3 } })).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "also when it is said again");
    }
    let command = Commands::get(&*world.store, first).await.unwrap().unwrap();
    assert_eq!(
        (command.state(), command.result()),
        (CommandState::Acknowledged, Some(&json!({ "took": 3 })))
    );
    assert_eq!(names(&ask(&world).await), ["b", "c"]);
    let answer = report(&world, first, json!({ "status": "failed" })).await;
    assert_eq!((answer.status, answer.kind()), (StatusCode::CONFLICT, "command-over".into()));
    assert_eq!(answer.json()["state"], "acknowledged");
}

#[tokio::test]
async fn what_a_device_refuses_has_failed() {
    let world = World::new(settings(Register::Off)).await;
    let command = submit(&world, "d1", "a").await;
    let answer = report(&world, command, json!({ "status": "done" })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "nobody gave it the command");
    ask(&world).await;
    for _ in 0..2 {
        let answer = report(&world, command, json!({ "status": "failed", "reason": "jammed" })).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    let kept = Commands::get(&*world.store, command).await.unwrap().unwrap();
    assert_eq!(kept.state(), CommandState::Failed);
    assert_eq!(kept.cause(), Some(&Cause::new(CauseCode::Rejected, "jammed")));
    for (body, status) in [(json!({ "status": "maybe" }), 422), (json!([]), 422)] {
        assert_eq!(report(&world, command, body).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn commands_are_for_their_device_alone() {
    let world = World::new(settings(Register::Auto)).await;
    let own = submit(&world, "d1", "a").await;
    let other = submit(&world, "plant-parked", "b").await;
    let d1 = bearer(&token("d1"));
    for (path, credentials, status) in [
        ("/v1/devices/d1/commands", "", 401),
        ("/v1/devices/plant-1/commands", d1.as_str(), 403),
        ("/v1/devices/d1/commands", &bearer(SECRET), 403),
        ("/v1/devices/plant-parked/commands", &bearer(SECRET), 403),
        ("/v1/devices/plant-new/commands", &bearer(SECRET), 404),
        ("/v1/devices/gone/commands", &bearer(&token("gone")), 404),
        ("/v1/devices/d1/commands?wait=soon", &d1, 400),
        ("/v1/devices/d1/commands/7", &d1, 404),
    ] {
        assert_eq!(get(&world, path, credentials).await.status.as_u16(), status, "{path}");
    }
    for id in [other.to_string(), "7".into(), format!("{own}0")] {
        let answer = report(&world, &id, json!({ "status": "done" })).await;
        assert_eq!((answer.status, answer.kind()), (StatusCode::NOT_FOUND, "unknown-command".into()), "{id}");
    }
    let answer = world.post("/v1/devices/d1/commands", &d1, "application/json", "{}").await;
    assert_eq!(
        (answer.status, &answer.headers[header::ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap())
    );
    let path = format!("/v1/devices/d1/commands/{own}/result");
    let answer = world.post(&path, &d1, "text/plain", "done").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_request_waits_for_what_comes() {
    let world = World::new(settings(Register::Off)).await;
    let d1 = bearer(&token("d1"));
    let poll = || get(&world, "/v1/devices/d1/commands?wait=30s", &d1);
    let (answer, _) = tokio::join!(poll(), submit(&world, "d1", "a"));
    assert_eq!(names(answer.json()["commands"].as_array().unwrap()), ["a"]);
    let answer = poll().await;
    assert_eq!(answer.status, StatusCode::OK, "what was given is there at once");
    let id = answer.json()["commands"][0]["id"].as_str().unwrap().to_owned();
    report(&world, id, json!({ "status": "done" })).await;

    let (answer, ()) = tokio::join!(poll(), async { world.clock.advance(Duration::from_secs(31)) });
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    // The newer one waits, and the older one is answered.
    let (older, newer, _) = tokio::join!(poll(), poll(), async { submit(&world, "d1", "b").await });
    assert_eq!((older.status, newer.status), (StatusCode::NO_CONTENT, StatusCode::OK));
    let id = newer.json()["commands"][0]["id"].as_str().unwrap().to_owned();
    report(&world, id, json!({ "status": "done" })).await;
    let (answer, ()) = tokio::join!(poll(), async { world.api.set_closing() });
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn telemetry_brings_commands_back_when_they_are_wanted() {
    let world = World::new(settings(Register::Off)).await;
    submit(&world, "d1", "a").await;
    let send = async |prefer: &str, body: &Value| {
        let mut request = request(
            "POST",
            "/v1/devices/d1/telemetry",
            &bearer(&token("d1")),
            "application/json",
            body.to_string(),
        );
        request.headers_mut().insert("prefer", prefer.parse().unwrap());
        world.send(request).await
    };
    assert_eq!(send("return=minimal", &json!({ "a": 1 })).await.status, StatusCode::NO_CONTENT);
    let answer = send("commands", &json!({ "a": 1 })).await;
    assert_eq!((answer.status, answer.json().as_object().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(names(answer.json()["commands"].as_array().unwrap()), ["a"]);
    let answer = send("commands", &json!([{ "a": 1 }])).await;
    assert!(answer.json()["items"].is_array() && answer.json()["commands"].is_array());
    let id = answer.json()["commands"][0]["id"].as_str().unwrap().to_owned();
    report(&world, id, json!({ "status": "done" })).await;
    assert_eq!(send("commands", &json!({ "a": 1 })).await.status, StatusCode::NO_CONTENT);
    assert!(send("commands", &json!([{ "a": 1 }])).await.json().get("commands").is_none());
    assert_eq!(send("commands", &json!([])).await.status.as_u16(), 422);
}
