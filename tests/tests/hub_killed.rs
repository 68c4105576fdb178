//! The hub is killed with -9 under load, alone or together with the bridge, and every message is counted. A broker of the
//! tests' own knows what it had taken and what it had acknowledged when it died; mosquitto, which loses on such a death
//! what it had acknowledged and not forwarded, is killed too, and judged by the bridge's own books.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it counted"
)]

use std::collections::{BTreeMap, BTreeSet};

use bridge_core::ports::Outbox;
use store_embedded::{EmbeddedStore, Mode};
use tests::broker::{Broker, Script, Sighting};
use tests::load::{Load, Sent};
use tests::world::{Collector, World, post, wait_until};

/// One at a time: they share two cores, and each wants to be under load.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A device and the counter of its uplink.
type Key = (String, u64);

fn key(sighting: &Sighting) -> Key {
    let message = &sighting.message;
    let device = message["device"].as_str().unwrap();
    assert_eq!(sighting.topic, format!("devices/{device}/telemetry"));
    (device.to_owned(), message["radio"]["counter"].as_u64().unwrap())
}

fn accepted(sent: &BTreeMap<String, Sent>) -> BTreeSet<Key> {
    let keys = sent.iter().flat_map(|(device, sent)| sent.accepted.iter().map(|n| (device.clone(), *n)));
    keys.collect()
}

/// The sightings of each message. Every message has its id in all of them, and devices keep their order: on each
/// connection, and as far as messages were new to the hub.
fn books(broker: &Broker) -> BTreeMap<Key, Vec<Sighting>> {
    let mut books: BTreeMap<Key, Vec<Sighting>> = BTreeMap::new();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    let mut newest_there: BTreeMap<(usize, String), u64> = BTreeMap::new();
    for sighting in broker.sightings() {
        let (device, counter) = key(&sighting);
        let before = newest_there.insert((sighting.connection, device.clone()), counter);
        assert!(before <= Some(counter), "{device}: {counter} after {before:?} on one connection");
        let seen = books.entry((device.clone(), counter)).or_default();
        match seen.first() {
            Some(first) => assert_eq!(first.id, sighting.id, "{device}, {counter} changed its id"),
            None => {
                let before = newest.insert(device.clone(), counter);
                assert!(before < Some(counter), "{device}: {counter} came after {before:?}");
            }
        }
        seen.push(sighting);
    }
    let ids: BTreeSet<&str> = books.values().map(|seen| seen[0].id.as_str()).collect();
    assert_eq!(ids.len(), books.len(), "two messages share an id");
    books
}

/// Waits until nothing is left to do for the bridge.
async fn settle(world: &World) {
    wait_until("the outbox is empty", async || {
        let mut left = world.outbox() as f64;
        for gauge in ["bridge_outbox_messages", "bridge_hub_in_flight", "bridge_hub_waiting"] {
            left += world.metric(gauge).await;
        }
        left == 0.0
    })
    .await;
    for counter in ["bridge_uplinks_dead_total", "bridge_outbox_dead_total"] {
        assert_eq!(world.metric(counter).await, 0.0, "{counter}");
    }
}

/// The bridge has answered exactly so many as new, none as a duplicate, and turned none away: it never died, so its
/// counters know everything.
async fn assert_counters_tell(world: &World, accepted: usize) {
    let delivered = world.metric("bridge_uplinks_delivered_total").await;
    let stored = world.metric("bridge_uplinks_stored_total").await;
    println!("answered as delivered {delivered}, as stored {stored}");
    assert_eq!(delivered + stored, accepted as f64);
    assert!(delivered > 0.0 && stored > 0.0, "both ways were to be taken");
    for counter in ["bridge_uplinks_duplicate_total", "bridge_uplinks_retried_total"] {
        assert_eq!(world.metric(counter).await, 0.0, "{counter}");
    }
}

/// Waits until the script is over and the bridge has seen every acknowledgement: what it holds to be in flight is what the
/// broker has not acknowledged. The broker is asked first: it cannot have read later what the bridge did not publish yet.
async fn every_acknowledgement_is_seen(world: &World, broker: &Broker) {
    wait_until("the script is over", async || broker.is_spent()).await;
    wait_until("the bridge has seen every acknowledgement", async || {
        let unanswered = broker.unanswered();
        world.metric("bridge_hub_in_flight").await == unanswered as f64
    })
    .await;
}

async fn the_hub_is_killed(protocol: &str) {
    const NOTED: usize = 10;
    let _alone = ALONE.lock().await;
    let mut broker = Broker::new();
    let world = World::with_hub_at(broker.port(), protocol);
    broker.start(Script { acknowledge: 300, note: NOTED });
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    let mut never_read = 0;
    for next in [Script { acknowledge: 700, note: NOTED }, Script::WELL] {
        every_acknowledgement_is_seen(&world, &broker).await;
        never_read += broker.unanswered() - NOTED;
        broker.kill().await;
        load.accepts(200).await;
        broker.start(next);
    }
    load.accepts(200).await;
    let accepted = accepted(&load.end().await);
    settle(&world).await;
    assert_counters_tell(&world, accepted.len()).await;
    assert_eq!(bridge.terminate().await, Some(0));

    let books = books(&broker);
    let lost: Vec<&Key> = accepted.iter().filter(|key| !books.contains_key(*key)).collect();
    let doubled: BTreeSet<&Key> =
        books.iter().filter(|(_, seen)| seen.len() > 1).map(|(key, _)| key).collect();
    let unacknowledged: Vec<Key> =
        broker.sightings().iter().filter(|sighting| !sighting.acknowledged).map(key).collect();
    println!(
        "MQTT {protocol}: accepted {}, delivered {}, lost {}, doubled {}, noted and not acknowledged {}, neither {never_read}",
        accepted.len(),
        books.len(),
        lost.len(),
        doubled.len(),
        unacknowledged.len(),
    );
    assert_eq!(lost, Vec::<&Key>::new());
    assert!(books.keys().eq(&accepted), "what reached the hub was accepted");
    assert!(never_read > 0, "some were to be in flight and neither noted nor acknowledged");
    assert_eq!(unacknowledged.len(), 2 * NOTED);
    assert_eq!(doubled, unacknowledged.iter().collect(), "only these may double, and they must");
    for (key, seen) in &books {
        let acknowledged = seen.iter().filter(|sighting| sighting.acknowledged).count();
        assert_eq!(acknowledged, 1, "{key:?} was acknowledged, and then never sent again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_killed_in_the_middle_of_a_load() {
    the_hub_is_killed("5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_killed_in_the_middle_of_a_load_over_mqtt_3() {
    the_hub_is_killed("3.1.1").await;
}

/// The ids in the outbox of a bridge that is dead.
async fn outbox(world: &World) -> Vec<String> {
    let store = EmbeddedStore::open(&world.folder.path().join("data"), Mode::Tool, 1 << 30).unwrap();
    let entries = store.load(0, usize::MAX >> 1).await.unwrap();
    entries.into_iter().map(|entry| entry.id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_and_bridge_killed_at_once_in_the_middle_of_a_load() {
    let _alone = ALONE.lock().await;
    let mut broker = Broker::new();
    let world = World::with_hub_at(broker.port(), "5");
    broker.start(Script { acknowledge: 300, note: 10 });
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    // Why a message may come once more: each reason is good for one time.
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (next, bridge_first) in
        [(Script { acknowledge: 900, note: 0 }, true), (Script::WELL, false), (Script::WELL, true)]
    {
        let (life, goal) = (broker.sightings().len(), 500);
        wait_until("the broker is in the middle of it", async || {
            broker.is_spent() || broker.sightings().len() - life >= goal
        })
        .await;
        bridge.signal("KILL");
        broker.kill().await;
        bridge.kill();
        outbox(&world).await.into_iter().for_each(|id| *reasons.entry(id).or_default() += 1);
        if bridge_first {
            bridge = world.start_bridge().await;
            load.accepts(100).await;
            broker.start(next);
        } else {
            broker.start(next);
            bridge = world.start_bridge().await;
        }
    }
    load.accepts(200).await;
    let sent = load.end().await;
    settle(&world).await;
    assert_eq!(bridge.terminate().await, Some(0));

    let (accepted, books) = (accepted(&sent), books(&broker));
    let lost: Vec<&Key> = accepted.iter().filter(|key| !books.contains_key(*key)).collect();
    let mut doubled = 0;
    for ((device, counter), seen) in &books {
        let resent = sent[device].lost.get(counter).copied().unwrap_or_default();
        let reasons = resent + reasons.get(&seen[0].id).copied().unwrap_or_default();
        assert!(
            seen.len() <= 1 + reasons,
            "{device}, {counter}: {} sightings, but {reasons} reasons to send it again",
            seen.len()
        );
        assert!(seen.last().unwrap().acknowledged, "{device}, {counter} was never acknowledged");
        doubled += usize::from(seen.len() > 1);
    }
    println!(
        "accepted {}, delivered {}, lost {}, doubled {doubled}; reasons to double: {} in the outbox of a dead bridge, {} \
         without an answer",
        accepted.len(),
        books.len(),
        lost.len(),
        reasons.values().sum::<usize>(),
        sent.values().flat_map(|sent| sent.lost.values()).sum::<usize>(),
    );
    assert_eq!(lost, Vec::<&Key>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_killed_in_the_middle_of_a_load() {
    let _alone = ALONE.lock().await;
    let world = World::new("5");
    let mut broker = world.start_broker().await;
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    for _ in 0..2 {
        load.accepts(300).await;
        broker.kill();
        load.accepts(300).await;
        broker = world.start_broker().await;
    }
    wait_until("the link is up again", async || world.metric("bridge_hub_links_up").await > 0.0).await;
    load.accepts(200).await;
    let accepted = accepted(&load.end().await).len();
    settle(&world).await;
    println!("accepted {accepted}");
    assert_counters_tell(&world, accepted).await;
    // And it carries on.
    let collector = Collector::start(world.mqtt).await;
    assert_eq!(post(world.http, "afterwards", 1).await, Some(200));
    wait_until("a new uplink comes through", async || collector.seen().contains_key("afterwards")).await;
    assert_eq!(bridge.terminate().await, Some(0));
}
