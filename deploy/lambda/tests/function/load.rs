//! Twenty environments at once, the hub away and back, messages larger than SQS takes: accepted but lost, none; in order per
//! device.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::emulator::Environment;
use crate::proxy::{Fault, Proxy};
use crate::world::{SECRET, World, accept, accept_event, counts, http_api, uplink_body};

const ENVIRONMENTS: usize = 20;
const DEVICES: usize = 20;

/// Sends the counters of every device one after the other, each to another environment, and many devices at once. Which
/// were accepted.
async fn send(
    environments: &[Arc<Environment>],
    counters: std::ops::RangeInclusive<u64>,
) -> BTreeSet<(usize, u64)> {
    let sending: Vec<_> = (0..DEVICES)
        .map(|device| {
            let (environments, counters) = (environments.to_vec(), counters.clone());
            tokio::spawn(async move {
                let mut accepted = BTreeSet::new();
                for counter in counters {
                    let environment = &environments[(device + counter as usize) % environments.len()];
                    // A source sends again what was not accepted, before it sends the next.
                    accept(environment, &format!("d{device}"), counter).await;
                    accepted.insert((device, counter));
                }
                accepted
            })
        })
        .collect();
    let mut accepted = BTreeSet::new();
    for sent in sending {
        accepted.extend(sent.await.unwrap());
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_while_the_hub_was_away_arrives_in_order() {
    let mut world = World::new("").await;
    // moto_server forgets what is sent to a queue while something is deleted from it, and what is written while a
    // transaction is cancelled: one change at a time.
    let proxy = Proxy::start(&world.cloud.endpoint, |_, _| Fault::Pass).await;
    world.go_behind(&proxy.address);
    let environments = world.environments(ENVIRONMENTS).await;
    let mut accepted = send(&environments, 1..=2).await;
    world.hub.stop();
    accepted.extend(send(&environments, 3..=5).await);
    assert!(world.cloud.queued().await > 0);
    world.hub.restart().await;
    // What is new waits behind what is old, or comes after it.
    let (more, ()) = tokio::join!(send(&environments, 6..=7), world.cloud.drain(&environments[..3]));
    accepted.extend(more);
    world.cloud.drain(&environments[..3]).await;
    assert_eq!(accepted.len(), DEVICES * 7);
    for device in 0..DEVICES {
        world.hub.has(&format!("d{device}"), 1..=7).await;
    }
    let seen = world.hub.telemetry();
    let lost = accepted
        .iter()
        .filter(|(device, counter)| !seen[&format!("d{device}")].iter().any(|(known, _)| known == counter));
    assert_eq!(lost.count(), 0, "accepted but lost");
    for (device, seen) in &seen {
        let mut first = Vec::new();
        for (counter, id) in seen {
            match first.iter().find(|(known, _)| known == counter) {
                None => first.push((*counter, id.clone())),
                Some((_, known)) => assert_eq!(known, id, "{device}: a copy has the same id"),
            }
        }
        assert!(first.is_sorted(), "{device}: {seen:?}");
    }
    counts(&environments, "Stored", |count| count >= (DEVICES * 3) as f64).await;
    counts(&environments, "Drained", |count| count >= (DEVICES * 3) as f64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_larger_than_sqs_takes_goes_by_the_table() {
    // In base64 it is larger than 256 KiB.
    let mut world = World::new("body_limit = \"1MiB\"\n").await;
    let environment = world.environment().await;
    world.hub.stop();
    let mut body = uplink_body("d1", 1);
    body["uplink_message"]["decoded_payload"]["text"] = "x".repeat(200 * 1024).into();
    accept_event(&environment, || http_api(body.to_string(), SECRET)).await;
    assert!(world.cloud.queued().await >= 1);
    let all = [environment];
    counts(&all, "Stored", |count| count >= 1.0).await;
    counts(&all, "PutAside", |count| count >= 1.0).await;
    world.hub.restart().await;
    world.cloud.drain(&all).await;
    counts(&all, "Drained", |count| count >= 1.0).await;
    world.hub.has("d1", [1]).await;
    let seen = world.hub.seen();
    let (_, message) = seen.iter().find(|(topic, _)| topic == "devices/d1/telemetry").unwrap();
    assert_eq!(message["measurements"]["text"].as_str().map(str::len), Some(200 * 1024));
}
