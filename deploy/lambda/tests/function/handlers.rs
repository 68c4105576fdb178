//! Every handler with events of their recorded shapes, foreign ones among them.

use serde_json::{Value, json};

use crate::called::Called;
use crate::emulator::{Ended, Environment};
use crate::process::wait_until;
use crate::world::{
    OPERATOR, SECRET, World, accept, counts, function_url, http_api, keep_house, request, status, uplink,
    uplink_body,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_by_http_api_and_function_url_reach_the_hub() {
    let world = World::new("").await;
    let environment = world.environment().await;
    let answer = environment.invoke(uplink("d1", 1)).await.answer();
    assert!((200..300).contains(&answer["statusCode"].as_u64().unwrap()), "{answer}");
    assert_eq!(answer["isBase64Encoded"], false);
    let by_url = function_url(&uplink_body("d1", 2).to_string(), SECRET);
    assert!(status(environment.invoke(by_url).await) < 300);
    world.hub.has("d1", 1..=2).await;
    // The stage of an HTTP API stands in front of the path.
    let mut staged = uplink("d1", 3);
    staged["requestContext"]["stage"] = "prod".into();
    staged["rawPath"] = "/prod/webhooks/farm".into();
    assert!(status(environment.invoke(staged).await) < 300);
    world.hub.has("d1", [3]).await;
    // What came before is not sent again, whichever environment it comes to.
    let other = world.environment().await;
    assert!(status(other.invoke(uplink("d1", 1)).await) < 300);
    assert!(status(other.invoke(uplink("d1", 4)).await) < 300);
    world.hub.has("d1", [4]).await;
    let counters: Vec<u64> = world.hub.telemetry()["d1"].iter().map(|(counter, _)| *counter).collect();
    assert_eq!(counters, [1, 2, 3, 4]);
    for (event, expected) in [
        (http_api("{".into(), SECRET), 400),
        (http_api("{}".into(), "wrong"), 401),
        (request("GET", "/nowhere", SECRET, &json!(null)), 404),
        (request("GET", "/admin/v1/commands", "wrong", &json!(null)), 401),
        (request("GET", "/admin/v1/commands", OPERATOR, &json!(null)), 200),
        (request("POST", "/admin/v1/commands", OPERATOR, &json!({})), 403),
        (request("GET", "/admin/v1/events", OPERATOR, &json!(null)), 404),
        (request("GET", "/healthz", SECRET, &json!(null)), 200),
    ] {
        assert_eq!(status(environment.invoke(event.clone()).await), expected, "{event}");
    }
    let both = [environment, other];
    counts(&both, "Delivered", |count| count == 4.0).await;
    counts(&both, "Stored", |count| count == 0.0).await;
    assert_eq!(world.cloud.queued().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_events_are_refused_and_counted() {
    let world = World::new("").await;
    let environment = world.environment().await;
    let context = json!({ "http": { "method": "POST" } });
    let not_base64 = json!({
        "requestContext": context, "rawPath": "/webhooks/farm", "body": "%", "isBase64Encoded": true
    });
    for (event, why) in [
        (not_base64, "not base64"),
        (json!({}), "none that this function knows"),
        (json!({ "httpMethod": "POST", "resource": "/{proxy+}" }), "payload format version"),
        (json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] }), "not of SQS"),
        (json!({ "topic": "somewhere/else", "payload": {} }), "neither one of commands"),
    ] {
        match environment.invoke(event.clone()).await {
            Ended::Failed(error) => {
                assert_eq!(error["errorType"], "ForeignEvent", "{error}");
                assert!(error["errorMessage"].as_str().unwrap().contains(why), "{error}");
            }
            other => panic!("{event}: {other:?}"),
        }
    }
    let all = [environment.clone()];
    counts(&all, "ForeignEvents", |count| count == 5.0).await;
    // A message of somebody else in the queue becomes a dead letter, and nobody waits for it.
    world.cloud.send("hello").await;
    let answer = world.cloud.deliver(&environment).await.unwrap().answer();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    counts(&all, "ForeignMessages", |count| count == 1.0).await;
    use bridge_core::ports::DeadLetters;
    assert_eq!(world.cloud.store.count().await.unwrap(), 1);
    accept(&environment, "d1", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_by_invocation_rule_and_schedule_reach_the_cloud_and_the_hub_is_told() {
    let cloud = Called::start().await;
    let more = format!(
        "downlink = {{ url = \"http://{}\", token = {{ env = \"FARM_SECRET\" }}, webhook = \"bridge\" }}\n\
         [commands]\nallow_private_addresses = true\ncall_timeout = \"1s\"\n",
        cloud.address
    );
    let world = World::new(&more).await;
    let environment = world.environment().await;
    accept(&environment, "d1", 1).await;
    let command = json!({ "device": "d1", "name": "blink", "arguments": { "hex": "01", "port": 3 } });
    let answer = environment.invoke(command).await.answer();
    assert_eq!(answer["statusCode"], 202, "{answer}");
    let id = answer["body"]["id"].as_str().unwrap().to_owned();
    let told = |id: String| {
        let topic = format!("devices/d1/commands/{id}/status");
        let seen = world.hub.seen();
        seen.into_iter()
            .filter(move |(seen, _)| *seen == topic)
            .map(|(_, status)| status["state"].clone())
            .collect()
    };
    wait_until("the hub is told", async || {
        let told: Vec<Value> = told(id.clone());
        told.contains(&json!("queued")) && told.contains(&json!("sent"))
    })
    .await;
    assert_eq!(cloud.calls().len(), 1);
    // The same by a rule of AWS IoT, whose payload is base64.
    accept(&environment, "d2", 1).await;
    let mut rule: Value = serde_json::from_str(include_str!("events/iot-rule.json")).unwrap();
    rule["topic"] = "devices/d2/commands/blink".into();
    use base64::Engine;
    rule["payload"] = base64::engine::general_purpose::STANDARD.encode(r#"{"hex":"02","port":3}"#).into();
    assert_eq!(environment.invoke(rule).await.answer(), json!({ "taken": true }));
    wait_until("the cloud has it", async || cloud.calls().len() == 2).await;
    for (event, expected) in [
        (json!({ "device": "nobody", "name": "blink" }), 404),
        (json!({ "device": "d1", "name": "" }), 422),
        (json!({ "device": "d1", "name": "blink", "colour": 1 }), 422),
    ] {
        let answer = environment.invoke(event).await.answer();
        assert_eq!(answer["statusCode"], expected, "{answer}");
    }
    // Time passes for commands with the schedule.
    let scheduled: Value = serde_json::from_str(include_str!("events/scheduled.json")).unwrap();
    keep_house(&environment, &scheduled).await;
}

/// Several events at once in one process, as on Lambda Managed Instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_environment_takes_several_events_at_once() {
    let world = World::new("").await;
    let environment = std::sync::Arc::new(Environment::new(&world.variables, 8).await);
    let invoking: Vec<_> = (0..24)
        .map(|number| {
            let environment = environment.clone();
            tokio::spawn(async move { accept(&environment, &format!("d{number}"), 1).await })
        })
        .collect();
    for invoked in invoking {
        invoked.await.unwrap();
    }
    for number in 0..24 {
        world.hub.has(&format!("d{number}"), [1]).await;
    }
    assert_eq!(environment.thaws(), 0);
}
