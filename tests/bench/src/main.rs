//! The bridge, its codecs, its commands and its CoAP against their floors. The bridge's: a bare HTTP server that publishes each body
//! and awaits its PUBACK. Same machine, same broker, same load, in turns in one run; what is printed are ratios. `webhooks`,
//! `codecs`, `commands` (with callbacks that are answered with one) or `coap` as an argument leaves the others out. Not a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a tool for developers")]

mod bidir;
mod coap;
mod codecs;
mod commands;
mod floor;
mod load;
mod process;
mod proxy;
mod turns;

use std::time::{Duration, Instant};

use load::{Figures, connect, introduce};
use process::{Bridge, Server, start_broker, start_floor};
use turns::beside;

/// Rounds of which the median counts.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "floor") {
        return floor::run(arguments[2].parse().unwrap(), arguments[3].parse().unwrap()).await;
    }
    if arguments.get(1).is_some_and(|first| first == "coap-floor") {
        return coap::floor::run(arguments[2].parse().unwrap(), arguments[3].parse().unwrap()).await;
    }
    let seconds = if arguments.iter().any(|argument| argument == "full") { 10 } else { 4 };
    let time = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    let (_broker, mqtt) = start_broker(folder.path()).await;

    if arguments.iter().any(|argument| argument == "commands") {
        commands::run(folder.path(), 3 * time).await;
        return bidir::run(mqtt).await;
    }
    if arguments.iter().any(|argument| argument == "codecs") {
        codecs::run().unwrap();
        return decoding(mqtt, time).await;
    }
    if arguments.iter().any(|argument| argument == "coap") {
        return coap::run(mqtt, time).await;
    }
    near(mqtt, time).await;
    disk_first(mqtt, time).await;
    far(mqtt, time).await;
    if arguments.iter().any(|argument| argument == "webhooks") {
        return;
    }
    codecs::run().unwrap();
    decoding(mqtt, time).await;
    commands::run(folder.path(), 3 * time).await;
    bidir::run(mqtt).await;
    coap::run(mqtt, time).await;
}

/// 64 connections, the broker on the same machine.
async fn near(mqtt: u16, time: Duration) {
    let mut ready = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        drop(Bridge::start(mqtt, "").await);
        ready.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    ready.sort_by(f64::total_cmp);
    let (floor, bridge) = (start_floor(mqtt).await, Bridge::start(mqtt, "").await);
    let idle = bridge.memory_mib();
    let [mut least, mut figures] = posted([&floor, &bridge], 64, time).await;
    println!("64 connections, 2 KB uplinks, 10,000 devices");
    verdict("rate, of the floor's", figures.rate() / least.rate(), ">=", 0.7);
    verdict("p99, of the floor's", figures.p99() / least.p99(), "<=", 2.0);
    verdict("CPU per message, of the floor's", figures.cpu() / least.cpu(), "<=", 2.0);
    verdict("resident memory, MiB", bridge.memory_mib(), "<=", 40.0);
    verdict("idle memory, MiB", idle, "<=", 20.0);
    verdict("start to first answer, ms", ready[ROUNDS / 2], "<=", 100.0);
}

async fn disk_first(mqtt: u16, time: Duration) {
    let floor = start_floor(mqtt).await;
    let bridge = Bridge::start(mqtt, "[delivery]\ndurability = \"disk-first\"\n").await;
    let [least, figures] = posted([&floor, &bridge], 64, time).await;
    println!("durability = \"disk-first\"");
    verdict("rate, of the floor's", figures.rate() / least.rate(), ">=", 0.35);
}

/// 1,000 connections, the broker 50 ms away.
async fn far(mqtt: u16, time: Duration) {
    let far = proxy::start(mqtt, Duration::from_millis(25)).await;
    let one = "connections = { min = 1, max = 1 }\nwindow = 100\nprotocol = \"3.1.1\"\n";
    let (floor, bridge) = (start_floor(far).await, Bridge::start(far, "").await);
    let narrow = Bridge::start_with_hub(far, one).await;
    let [least, figures, narrow] = posted([&floor, &bridge, &narrow], 1000, time).await;
    println!("1,000 connections, hub 50 ms away");
    verdict("rate, of the floor's", figures.rate() / least.rate(), ">=", 0.7);
    println!("  {:<36} {:>8.2}", "the same with one window of 100", narrow.rate() / least.rate());
}

/// The bridge against itself: with a codec for every uplink, and without. The requests are the same, with the payload and what
/// the cloud made of it: without a codec that goes to the hub as it came, with one what it finds goes there, too.
async fn decoding(mqtt: u16, time: Duration) {
    let without = Bridge::start_with_codec(mqtt, "").await;
    let with = Bridge::start_with_codec(mqtt, "format = \"javascript\"\nfile = \"climate.js\"\n").await;
    let [without, with] = posted([&without, &with], 64, time).await;
    println!("64 connections, a codec for every uplink");
    verdict("JavaScript: rate, of that without", with.rate() / without.rate(), ">=", 0.7);
    println!("  {:<36} {:>8.2}", "CPU per message, of that without", with.cpu() / without.cpu());
}

/// Servers beside each other that know all devices.
async fn posted<const N: usize>(
    servers: [&dyn Server; N],
    connections: usize,
    time: Duration,
) -> [Figures; N] {
    for server in servers {
        introduce(server.http(), connections).await;
    }
    let mut clients = [const { Vec::new() }; N];
    for (clients, server) in clients.iter_mut().zip(servers) {
        *clients = connect(server.http(), connections).await;
    }
    beside(servers, clients, time).await
}

fn verdict(name: &str, value: f64, relation: &str, target: f64) {
    let good = if relation == ">=" { value >= target } else { value <= target };
    println!("  {name:<36} {value:>8.2}   {relation} {target:<6} {}", if good { "good" } else { "MISSED" });
}

/// The broker and servers bind free ports.
pub(crate) fn address(port: u16) -> std::net::SocketAddr {
    ([127, 0, 0, 1], port).into()
}
