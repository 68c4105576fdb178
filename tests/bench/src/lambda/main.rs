//! The function of AWS Lambda beside a bare handler of `lambda_http` that answers 204: how long until the first answer, how
//! long per message above the hub's round trip, and what a message asks of DynamoDB and SQS. The real `bootstrap` and the bare
//! handler take the same events from the emulator of the function's tests, in turns, in one run. Not a test, and not a
//! measurement of AWS: DynamoDB and SQS are moto_server, which is written in Python.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a tool for developers")]
#![allow(dead_code, unreachable_pub, reason = "what the tests share is not all used here")]

#[path = "../../../../deploy/lambda/tests/function/aws.rs"]
mod aws;
#[path = "../../../../deploy/lambda/tests/function/emulator.rs"]
mod emulator;
#[path = "../../../../deploy/lambda/tests/function/hub.rs"]
mod hub;
mod operations;
#[path = "../../../../deploy/lambda/tests/function/process.rs"]
mod process;
#[path = "../../../../adapters/store-dynamodb/tests/stand_in/proxy.rs"]
mod proxy;
mod quick;
mod round_trip;
#[path = "../../../../deploy/lambda/tests/function/world.rs"]
mod world;

use std::path::PathBuf;
use std::time::Instant;

use emulator::{Environment, bootstrap};
use round_trip::Publisher;
use world::{World, status, uplink};

/// Starts of each, of which the median counts.
const STARTS: usize = 15;
/// Messages to each, of which the median counts.
const MESSAGES: u64 = 200;
/// Messages before those.
const WARMING: u64 = 20;
/// One device: it is known, and its messages come one after the other.
const DEVICE: &str = "d1";

type Variables = Vec<(String, String)>;

#[tokio::main]
async fn main() {
    let mut world = World::new("").await;
    let on_moto = world.variables.clone();
    let on_quick = at(&on_moto, &quick::start().await);
    let bare = std::env::current_exe().unwrap().with_file_name("bare");
    let programs = [(bootstrap(), on_moto), (bootstrap(), on_quick), (bare, Variables::new())];
    cold(&programs).await;
    warm(&programs, &world).await;
    operations::run(&mut world).await;
}

/// The same function over the AWS at this address.
fn at(variables: &Variables, endpoint: &str) -> Variables {
    let place = |(name, value): &(String, String)| {
        let value = if name == "AWS_ENDPOINT_URL" { endpoint.to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    variables.iter().map(place).collect()
}

/// From the start of the process to its first answer, which is to an uplink.
async fn cold(programs: &[(PathBuf, Variables); 3]) {
    let mut times = [const { Vec::new() }; 3];
    for number in 1..=STARTS as u64 {
        for ((program, variables), times) in programs.iter().zip(&mut times) {
            let environment = Environment::of(program.clone(), variables, 1, false).await;
            times.push(answered(&environment, number).await);
            environment.end().await;
        }
    }
    let [moto, quick, bare] = times.map(median);
    println!("start of the process to its first answer, medians of {STARTS}");
    ratio("over a store that answers at once", quick, bare);
    ratio("over moto_server", moto, bare);
}

/// From an event to its answer, in a process that has had others; of the bridge, without the round trip to the hub.
async fn warm(programs: &[(PathBuf, Variables); 3], world: &World) {
    let mut environments = Vec::new();
    for (program, variables) in programs {
        environments.push(Environment::of(program.clone(), variables, 1, false).await);
    }
    let mut hub = Publisher::connect(world.hub.port).await;
    let (mut times, mut trips) = ([const { Vec::new() }; 3], Vec::new());
    for number in 0..WARMING + MESSAGES {
        for (environment, times) in environments.iter().zip(&mut times) {
            let time = answered(environment, STARTS as u64 + 1 + number).await;
            times.extend((number >= WARMING).then_some(time));
        }
        let time = hub.round_trip().await;
        trips.extend((number >= WARMING).then_some(time));
    }
    for environment in &environments {
        environment.end().await;
    }
    let ([moto, quick, bare], trip) = (times.map(median), median(trips));
    println!(
        "an event to its answer, warm, without the hub's round trip of {trip:.2} ms, medians of {MESSAGES}"
    );
    ratio("over a store that answers at once", quick - trip, bare);
    ratio("over moto_server", moto - trip, bare);
}

/// Milliseconds.
async fn answered(environment: &Environment, counter: u64) -> f64 {
    let event = uplink(DEVICE, counter);
    let begun = Instant::now();
    let ended = environment.invoke(event).await;
    let time = begun.elapsed();
    assert!(status(ended) < 300, "it was not accepted");
    time.as_secs_f64() * 1000.0
}

fn ratio(name: &str, bridge: f64, bare: f64) {
    println!("  {name:<36} {:>8.1} of the bare handler's   {bridge:.1} ms, {bare:.1} ms", bridge / bare);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
