//! The bridge, its codecs, its commands and its CoAP against their floors. The bridge's: a bare HTTP server that publishes each body
//! and awaits its PUBACK. Same machine, same broker, same load, alternating in one run; what is printed are ratios. `codecs`,
//! `commands` (with callbacks that are answered with one) or `coap` as an argument leaves the others out. Not a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a tool for developers")]

mod bidir;
mod coap;
mod codecs;
mod commands;
mod floor;
mod load;
mod process;
mod proxy;

use std::time::{Duration, Instant};

use load::{Figures, run as load};
use process::{Bridge, Server, start_broker, start_floor};

/// Rounds of floor and bridge, of which the median counts.
const ROUNDS: usize = 3;
/// Turns that two bridges take when they are compared.
const TURNS: usize = 10;

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
    codecs::run().unwrap();
    decoding(mqtt, time).await;
    commands::run(folder.path(), 3 * time).await;
    bidir::run(mqtt).await;
    coap::run(mqtt, time).await;
}

/// 64 connections, the broker on the same machine.
async fn near(mqtt: u16, time: Duration) {
    let mut floors = Vec::new();
    let mut bridges = Vec::new();
    let mut memory = 0.0;
    let mut idle = f64::MAX;
    let mut ready = Vec::new();
    for _ in 0..ROUNDS {
        let floor = start_floor(mqtt).await;
        load(floor.http(), 64, time / 4).await;
        floors.push(measured(&floor, 64, time).await);
        drop(floor);
        let begun = Instant::now();
        let bridge = Bridge::start(mqtt, "").await;
        ready.push(begun.elapsed().as_secs_f64() * 1000.0);
        idle = idle.min(bridge.memory_mib());
        load(bridge.http(), 64, time / 4).await;
        bridges.push(measured(&bridge, 64, time).await);
        memory = f64::max(memory, bridge.memory_mib());
    }
    let (floor, bridge) = (median(floors), median(bridges));
    println!("64 connections, 2 KB uplinks, 10,000 devices");
    verdict("rate, of the floor's", bridge.rate / floor.rate, ">=", 0.7);
    verdict("p99, of the floor's", bridge.p99 / floor.p99, "<=", 2.0);
    verdict("CPU per message, of the floor's", bridge.cpu / floor.cpu, "<=", 2.0);
    verdict("resident memory, MiB", memory, "<=", 40.0);
    verdict("idle memory, MiB", idle, "<=", 20.0);
    ready.sort_by(f64::total_cmp);
    verdict("start to first answer, ms", ready[ready.len() / 2], "<=", 100.0);
}

async fn disk_first(mqtt: u16, time: Duration) {
    let floor = start_floor(mqtt).await;
    load(floor.http(), 64, time / 4).await;
    let floor_figures = measured(&floor, 64, time).await;
    drop(floor);
    let bridge = Bridge::start(mqtt, "[delivery]\ndurability = \"disk-first\"\n").await;
    load(bridge.http(), 64, time / 4).await;
    let figures = measured(&bridge, 64, time).await;
    println!("durability = \"disk-first\"");
    verdict("rate, of the floor's", figures.rate / floor_figures.rate, ">=", 0.35);
}

/// 1,000 connections, the broker 50 ms away.
async fn far(mqtt: u16, time: Duration) {
    let far = proxy::start(mqtt, Duration::from_millis(25)).await;
    let floor = start_floor(far).await;
    load(floor.http(), 1000, time / 2).await;
    let floor_figures = measured(&floor, 1000, time).await;
    drop(floor);
    println!("1,000 connections, hub 50 ms away");
    for (name, hub, target) in [
        ("rate, of the floor's", "", Some(0.7)),
        (
            "the same with one window of 100",
            "connections = { min = 1, max = 1 }\nwindow = 100\nprotocol = \"3.1.1\"\n",
            None,
        ),
    ] {
        let bridge = Bridge::start_with_hub(far, hub).await;
        load(bridge.http(), 1000, time).await;
        let figures = measured(&bridge, 1000, time).await;
        match target {
            Some(target) => verdict(name, figures.rate / floor_figures.rate, ">=", target),
            None => println!("  {name:<36} {:>8.2}", figures.rate / floor_figures.rate),
        }
    }
}

/// The bridge against itself: with a codec for every uplink, and without. Both run, and are loaded in short turns, so that
/// what else the machine does meets both. The requests are the same, with the payload and what the cloud made of it: without
/// a codec that goes to the hub as it came, with one what it finds goes there, too. Both know all devices before: the slower
/// one would have registered more of them in its turns.
async fn decoding(mqtt: u16, time: Duration) {
    let without = Bridge::start_with_codec(mqtt, "").await;
    let with = Bridge::start_with_codec(mqtt, "format = \"javascript\"\nfile = \"climate.js\"\n").await;
    for bridge in [&without, &with] {
        load::introduce(bridge.http(), 64, time / 4).await;
    }
    let (mut answered, mut busy) = ([0; 2], [0.0; 2]);
    for _ in 0..TURNS {
        for (place, bridge) in [&without, &with].into_iter().enumerate() {
            let before = bridge.cpu_seconds();
            answered[place] += load(bridge.http(), 64, time / 4).await.answered;
            busy[place] += bridge.cpu_seconds() - before;
        }
    }
    let [without, with] = answered.map(|answered| answered as f64);
    println!("64 connections, a codec for every uplink");
    verdict("JavaScript: rate, of that without", with / without, ">=", 0.7);
    println!("  {:<36} {:>8.2}", "CPU per message, of that without", busy[1] / with * without / busy[0]);
}

async fn measured(server: &impl Server, connections: usize, time: Duration) -> Figures {
    let cpu = server.cpu_seconds();
    let mut figures = load(server.http(), connections, time).await;
    figures.cpu = (server.cpu_seconds() - cpu) / figures.answered as f64;
    figures
}

/// By rate.
fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    figures.swap_remove(figures.len() / 2)
}

fn verdict(name: &str, value: f64, relation: &str, target: f64) {
    let good = if relation == ">=" { value >= target } else { value <= target };
    println!("  {name:<36} {value:>8.2}   {relation} {target:<6} {}", if good { "good" } else { "MISSED" });
}

/// The broker and servers bind free ports.
pub(crate) fn address(port: u16) -> std::net::SocketAddr {
    ([127, 0, 0, 1], port).into()
}
