//! Callbacks of Azure's stateful bridge under the function: nothing runs in the background, so they are told before the
//! answer to the event that brought the news, and by the schedule when that failed.

use http::StatusCode;
use serde_json::{Value, json};

use crate::called::Called;
use crate::emulator::Environment;
use crate::world::{World, keep_house, request, status};

const KEY: &str = "one-key-of-the-adapters";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SEAL: &str = "a-key-for-secrets-at-rest-of-32-bytes";

async fn call(environment: &Environment, method: &str, path: &str, body: &Value) -> u64 {
    let mut event = request(method, &format!("/devices/plant-1/{path}"), "", body);
    event["headers"].as_object_mut().unwrap().remove("authorization");
    event["headers"]["x-api-key"] = KEY.into();
    if body.is_null() {
        event["body"] = "".into();
    }
    status(environment.invoke(event).await)
}

async fn desire(environment: &Environment, patch: &Value) {
    let event = json!({ "topic": "devices/plant-1/properties/desired", "payload": patch });
    assert_eq!(environment.invoke(event).await.answer(), json!({ "taken": true }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_by_an_event_is_told_with_it_and_by_the_schedule_when_that_failed() {
    let mut world = World::new(
        "[secrets]\nkeys = [{ env = \"SEAL\" }]\n\
         [azure_bridge]\nsecrets = [{ env = \"AZURE_KEY\" }]\nsigning_secrets = [{ env = \"SIGNING\" }]\n\
         allow_private_addresses = true\ncall_timeout = \"2s\"\n",
    )
    .await;
    world.variables.extend(
        [("AZURE_KEY", KEY), ("SIGNING", SIGNING), ("SEAL", SEAL)].map(|(n, v)| (n.into(), v.into())),
    );
    let callback = Called::start().await;
    let environment = world.environment().await;
    assert_eq!(call(&environment, "POST", "registration", &Value::Null).await, 200);
    let url = json!({ "callbackUrl": format!("http://{}/callback", callback.address) });
    assert_eq!(call(&environment, "PUT", "twin/properties/desired/sub", &url).await, 200);

    desire(&environment, &json!({ "mode": "eco" })).await;
    let told = callback.calls();
    assert_eq!(told.len(), 1, "before the event was answered: {told:?}");
    assert_eq!(told[0]["eventType"], "DesiredPropertyUpdate");
    assert_eq!(told[0]["desiredProperties"], json!({ "mode": "eco", "$version": 1 }));

    callback.answer(StatusCode::SERVICE_UNAVAILABLE);
    desire(&environment, &json!({ "mode": "on" })).await;
    assert_eq!(callback.calls().len(), 2);
    callback.answer(StatusCode::OK);
    // Whichever environment the schedule comes to.
    let other = world.environment().await;
    let scheduled: Value = serde_json::from_str(include_str!("events/scheduled.json")).unwrap();
    keep_house(&other, &scheduled).await;
    let told = callback.calls();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2]["desiredProperties"], json!({ "mode": "on", "$version": 2 }));
    // What was confirmed is not told again.
    keep_house(&other, &scheduled).await;
    assert_eq!(callback.calls().len(), 3);
}
