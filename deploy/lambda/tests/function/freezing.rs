//! Frozen longer than the keep alive, a hub that does not answer, time-outs after the hub has accepted: nothing that was
//! answered 2xx is lost, and what comes twice has the same id.

use std::time::{Duration, Instant};

use crate::emulator::{Ended, TIMEOUT};
use crate::process::wait_until;
use crate::world::{World, accept, counts, metric, status, uplink};

/// Half the keep alive of the tests and more: mosquitto still holds the connection, and nobody knows.
const SHORT: Duration = Duration::from_secs(4);
/// One and a half times the keep alive of the tests and more: mosquitto has hung up.
const LONG: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_not_used_after_a_freeze_and_every_2xx_is_at_the_hub() {
    let world = World::new("").await;
    let environment = world.environment().await;
    accept(&environment, "d1", 1).await;
    assert!(status(environment.invoke(uplink("d1", 2)).await) < 300);
    let all = [environment.clone()];
    counts(&all, "ConnectionsOpened", |count| count == 1.0).await;
    for (freeze, counter) in [(SHORT, 3), (LONG, 4)] {
        // Not synchronisation: the time that the environment stays frozen is what is tested.
        tokio::time::sleep(freeze).await;
        assert!(status(environment.invoke(uplink("d1", counter)).await) < 300);
        counts(&all, "ConnectionsStale", |count| count >= 1.0).await;
    }
    world.cloud.drain(&all).await;
    world.hub.has("d1", 1..=4).await;
    let handed = async || metric(&all, "Delivered") + metric(&all, "Stored") == 4.0;
    wait_until("all are counted", handed).await;
    assert!(environment.thaws() >= 2);
    let counters: Vec<u64> = world.hub.telemetry()["d1"].iter().map(|(counter, _)| *counter).collect();
    assert_eq!(counters, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_does_not_answer_is_not_waited_for_beyond_the_time_of_the_source() {
    let world = World::new("").await;
    let environment = world.environment().await;
    accept(&environment, "d1", 1).await;
    world.hub.signal("STOP");
    for counter in 2..=4 {
        let begun = Instant::now();
        assert!(status(environment.invoke(uplink("d1", counter)).await) < 300);
        assert!(begun.elapsed() < Duration::from_secs(5), "The Things Stack waits for 5 s");
    }
    counts(std::slice::from_ref(&environment), "Stored", |count| count == 3.0).await;
    assert!(world.cloud.queued().await >= 3);
    world.hub.signal("CONT");
    world.cloud.drain(&[environment]).await;
    world.hub.has("d1", 1..=4).await;
    let seen = &world.hub.telemetry()["d1"];
    for (counter, id) in seen {
        let same = seen.iter().filter(|(other, _)| other == counter);
        assert!(same.clone().all(|(_, other)| other == id), "what comes twice has the same id");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_after_the_hub_accepted_doubles_with_the_same_id_at_most() {
    let mut world = World::new("").await;
    let environment = world.environment().await;
    world.hub.stop();
    accept(&environment, "d1", 1).await;
    assert_eq!(world.cloud.queued().await, 1);
    world.hub.restart().await;
    let mut counter = 0;
    wait_until("a message goes to the hub at once", async || {
        counter += 1;
        assert!(status(environment.invoke(uplink(&format!("other-{counter}"), 1)).await) < 300);
        metric(std::slice::from_ref(&environment), "Delivered") >= 1.0
    })
    .await;
    let (event, receipts) = world.cloud.batch().await.unwrap();
    // The table does not answer: the message reaches the hub, and the function is ended while it notes that.
    world.cloud.server.signal("STOP");
    let real = Duration::from_millis(1200);
    let ended = environment.invoke_within(event, TIMEOUT, real).await;
    world.cloud.server.signal("CONT");
    assert_eq!(ended, Ended::TimedOut);
    let failed: Vec<String> = receipts.keys().cloned().collect();
    world.cloud.finish(receipts, &failed).await;
    world.cloud.drain(std::slice::from_ref(&environment)).await;
    counts(&[environment], "Redelivered", |count| count >= 1.0).await;
    world.hub.has("d1", [1]).await;
    let seen = &world.hub.telemetry()["d1"];
    assert!(seen.len() == 2 && seen[0] == seen[1], "twice, with the same id: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_ends_after_its_answer_takes_nothing_with_it() {
    let world = World::new("").await;
    let environment = world.environment().await;
    for counter in 1..=3 {
        assert!(status(environment.invoke(uplink("d1", counter)).await) < 300);
        environment.end().await;
    }
    world.hub.has("d1", 1..=3).await;
    // The ids are remembered, too.
    assert!(status(environment.invoke(uplink("d1", 3)).await) < 300);
    assert!(status(environment.invoke(uplink("d1", 4)).await) < 300);
    world.hub.has("d1", [4]).await;
    assert_eq!(world.hub.telemetry()["d1"].len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_does_not_answer_is_said_in_time() {
    let world = World::new("").await;
    let environment = world.environment().await;
    accept(&environment, "d1", 1).await;
    world.cloud.server.signal("STOP");
    let begun = Instant::now();
    let answer = environment.invoke(uplink("d1", 2)).await.answer();
    world.cloud.server.signal("CONT");
    assert_eq!(answer["statusCode"], 503, "{answer}");
    assert!(answer["headers"]["retry-after"].is_string());
    assert!(begun.elapsed() < Duration::from_secs(5));
    counts(std::slice::from_ref(&environment), "Refused5xx", |count| count == 1.0).await;
    // It was not accepted, and is when it comes again.
    wait_until("it is taken", async || status(environment.invoke(uplink("d1", 2)).await) < 300).await;
    world.hub.has("d1", 1..=2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_environments_do_not_throw_each_other_out() {
    let world = World::new("").await;
    let environments = world.environments(2).await;
    for counter in 1..=5 {
        for (index, environment) in environments.iter().enumerate() {
            assert!(status(environment.invoke(uplink(&format!("d{index}"), counter)).await) < 300);
        }
    }
    counts(&environments, "ConnectionsOpened", |count| count == 2.0).await;
    assert!(!world.hub.log().contains("already connected"), "{}", world.hub.log());
    for index in 0..2 {
        world.hub.has(&format!("d{index}"), 1..=5).await;
    }
}
