//! The configuration in Parameter Store, secrets in Secrets Manager, and what happens when they change under a warm function.

use crate::emulator::Ended;
use crate::world::{SECRET, World, accept_event, config, counts, http_api, status, uplink_body};

fn uplink(counter: u64, secret: &str) -> serde_json::Value {
    http_api(uplink_body("d1", counter).to_string(), secret)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_rotated_is_taken_over_and_the_old_one_ends() {
    let mut world = World::new("").await;
    world.cloud.set_secret("farm", &format!("{{\"webhook\":\"{SECRET}\"}}"), true).await;
    world.cloud.set_parameter("/bridge/config", &config(world.hub.port, "")).await;
    for (name, value) in [
        ("DEVICE_BRIDGE_CONFIG", "ssm:/bridge/config"),
        ("DEVICE_BRIDGE_REFRESH", "2s"),
        ("FARM_SECRET", "secretsmanager:farm#webhook"),
    ] {
        world.variables.retain(|(known, _)| known != name);
        world.variables.push((name.into(), value.into()));
    }
    let environment = world.environment().await;
    accept_event(&environment, || uplink(1, SECRET)).await;
    assert_eq!(status(environment.invoke(uplink(2, "another-secret-of-the-tests")).await), 401);
    world.cloud.set_secret("farm", "{\"webhook\":\"another-secret-of-the-tests\"}", false).await;
    // Not synchronisation: the lifetime of what was read is what is tested.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    accept_event(&environment, || uplink(2, "another-secret-of-the-tests")).await;
    assert_eq!(status(environment.invoke(uplink(3, SECRET)).await), 401);
    world.hub.has("d1", 1..=2).await;
    counts(&[environment], "Reloaded", |count| count >= 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_without_its_secret_does_not_start_and_says_so() {
    let mut world = World::new("").await;
    world.variables.retain(|(known, _)| known != "FARM_SECRET");
    world.variables.push(("FARM_SECRET".into(), "secretsmanager:nobody".into()));
    let environment = world.environment().await;
    let within = std::time::Duration::from_secs(5);
    let ended = environment.invoke_within(uplink(1, SECRET), within, within).await;
    assert_eq!(ended, Ended::TimedOut);
    counts(&[environment], "StartFailed", |count| count == 1.0).await;
}
