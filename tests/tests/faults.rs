//! Hub and bridge fail under load, as real processes: what was answered 2xx reaches the hub, in the order of its device,
//! and doubles only where an acknowledgement was in flight.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it counted"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tests::load::{Load, Sent};
use tests::world::{Collector, Process, World, wait_until};

/// One at a time: they share two cores, and each wants to be under load.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits until all that was accepted is at the collector; how many came twice.
async fn settle(world: &World, collector: &Collector, sent: &BTreeMap<String, Sent>) -> usize {
    wait_until("the outbox is empty", async || world.outbox() == 0).await;
    wait_until("everything accepted is at the hub", async || {
        let seen = collector.seen();
        sent.iter().all(|(device, sent)| {
            let seen: BTreeSet<u64> = seen.get(device).into_iter().flatten().copied().collect();
            sent.accepted.is_subset(&seen)
        })
    })
    .await;
    let mut doubled = 0;
    for (device, counters) in collector.seen() {
        let mut first = BTreeSet::new();
        for counter in counters {
            if !first.insert(counter) {
                doubled += 1;
            } else {
                assert_eq!(first.last(), Some(&counter), "{device}: {counter} came after a later one");
            }
        }
    }
    let total: usize = sent.values().map(|sent| sent.accepted.len()).sum();
    println!("accepted {total}, lost 0, doubled {doubled}");
    doubled
}

/// What may be in flight at once: the windows of the connections that this load can open.
const IN_FLIGHT: usize = 8 * 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_stopped_for_ten_seconds_under_load() {
    let _alone = ALONE.lock().await;
    let world = World::new("5");
    let mut broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    load.accepts(300).await;
    broker.terminate().await;
    let stopped = std::time::Instant::now();
    load.accepts(300).await;
    wait_until("ten seconds are over", async || stopped.elapsed() >= Duration::from_secs(10)).await;
    let _broker = world.start_broker().await;
    load.accepts(300).await;
    let sent = load.end().await;
    assert!(settle(&world, &collector, &sent).await <= IN_FLIGHT);
    assert_eq!(bridge.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_frozen_so_that_acknowledgements_come_late() {
    let _alone = ALONE.lock().await;
    let world = World::new("3.1.1");
    let broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let _bridge = world.start_bridge().await;
    let load = Load::start(&world);
    load.accepts(300).await;
    broker.signal("STOP");
    // Late: answered from the disk, while the publishes stay in flight.
    load.accepts(200).await;
    broker.signal("CONT");
    load.accepts(200).await;
    let sent = load.end().await;
    assert_eq!(settle(&world, &collector, &sent).await, 0, "no link was lost, nothing may double");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bridge_killed_in_the_middle_of_a_load() {
    let _alone = ALONE.lock().await;
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    for _ in 0..3 {
        load.accepts(300).await;
        bridge.kill();
        bridge = world.start_bridge().await;
    }
    load.accepts(100).await;
    let sent = load.end().await;
    assert!(settle(&world, &collector, &sent).await <= 3 * IN_FLIGHT);
    assert_eq!(bridge.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bridge_killed_while_the_hub_is_down() {
    let _alone = ALONE.lock().await;
    let world = World::new("5");
    let mut broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    load.accepts(200).await;
    broker.terminate().await;
    load.accepts(300).await;
    bridge.kill();
    let mut bridge: Process = world.start_bridge().await;
    load.accepts(200).await;
    let _broker = world.start_broker().await;
    load.accepts(200).await;
    let sent = load.end().await;
    assert!(settle(&world, &collector, &sent).await <= 2 * IN_FLIGHT);
    assert_eq!(bridge.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_drains_and_a_restart_goes_on() {
    let _alone = ALONE.lock().await;
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let mut bridge = world.start_bridge().await;
    let load = Load::start(&world);
    load.accepts(300).await;
    assert_eq!(bridge.terminate().await, Some(0));
    let _bridge = world.start_bridge().await;
    load.accepts(200).await;
    let sent = load.end().await;
    assert_eq!(settle(&world, &collector, &sent).await, 0, "a drain leaves nothing in flight");
}
