//! Limits: handshakes per address, in total and per second; associations; sessions that can be resumed; idle ones. Not here:
//! bad datagrams.

use std::time::Duration;

use dtls::client::Settings;
use dtls::{Closed, Config, Held, Limits, Timing};

use super::bench::{Bench, Device, address, device, device_with_cid};

fn bench(limits: Limits) -> Bench {
    Bench::new(Config { limits, ..Config::default() })
}

/// Takes a handshake to where the server waits for the key exchange.
fn begin(bench: &mut Bench, settings: Settings, from: std::net::SocketAddr) -> Device {
    let mut ours = bench.device(settings, from);
    let hello = ours.leaving().remove(0);
    for (_, reply) in bench.inject(from, &hello) {
        ours.client.handle_datagram(bench.now, &reply);
    }
    let hello = ours.leaving().remove(0);
    for (_, reply) in bench.inject(from, &hello) {
        ours.client.handle_datagram(bench.now, &reply);
    }
    ours
}

#[test]
fn an_address_has_so_many_handshakes() {
    let mut bench = bench(Limits { handshakes_per_address: 3, ..Limits::default() });
    let mut begun: Vec<Device> =
        (0..5).map(|port| begin(&mut bench, device("a"), address(1, 1000 + port))).collect();
    let stats = bench.server.stats();
    assert_eq!((bench.server.held().handshakes, stats.handshakes_refused_address), (3, 2));
    let mut other = begin(&mut bench, device("b"), address(2, 1));
    bench.run(&mut [&mut other]);
    assert!(other.client.is_connected());
    // A device that begins anew takes its own place.
    begin(&mut bench, device("a"), address(1, 1000));
    assert_eq!(bench.server.held().handshakes, 3);
    // There is room again when one ends.
    let first = begun.remove(1);
    let mut first = first;
    bench.run(&mut [&mut first]);
    assert!(first.client.is_connected());
    let mut later = begin(&mut bench, device("a"), address(1, 2000));
    bench.run(&mut [&mut later]);
    assert!(later.client.is_connected());
    // IPv6: the network of a subscriber is one address.
    for host in 0..5u16 {
        let from = format!("[2001:db8:0:7::{host:x}]:5684").parse().unwrap();
        begin(&mut bench, device("a"), from);
    }
    assert_eq!(bench.server.stats().handshakes_refused_address, 4);
}

#[test]
fn a_flood_of_handshakes_is_bounded_and_passes() {
    let limits = Limits {
        handshakes: 100,
        handshakes_per_address: 1000,
        handshakes_per_second: 1000,
        ..Limits::default()
    };
    let mut bench = bench(limits);
    let mut device_before = bench.connect(device("b"), address(9, 9));
    for n in 0..3000u16 {
        begin(&mut bench, device("a"), address((n % 7) as u8, 1000 + n));
    }
    assert_eq!(bench.server.held().handshakes, 100);
    assert_eq!(bench.server.stats().handshakes_refused, 2900);
    device_before.client.send(b"unmoved");
    bench.run(&mut [&mut device_before]);
    assert_eq!(bench.data(), [b"unmoved"]);
    bench.pass(Duration::from_secs(130));
    bench.replies();
    assert_eq!(bench.server.held(), Held { handshakes: 0, sessions: 1, resumable: 1 });
    let after = bench.connect(device("c"), address(3, 3));
    assert!(after.client.is_connected());
}

#[test]
fn so_many_handshakes_begin_in_a_second() {
    let mut bench = bench(Limits { handshakes_per_second: 5, ..Limits::default() });
    for n in 0..30 {
        begin(&mut bench, device("a"), address(n, 1));
    }
    assert_eq!((bench.server.stats().handshakes, bench.server.stats().handshakes_refused), (20, 10));
    bench.pass(Duration::from_secs(2));
    bench.replies();
    for n in 30..60 {
        begin(&mut bench, device("a"), address(n, 1));
    }
    assert_eq!(bench.server.stats().handshakes, 30);
}

#[test]
fn the_association_that_was_silent_longest_makes_room() {
    let mut bench = bench(Limits { sessions: 3, resumable: 2, ..Limits::default() });
    let mut devices: Vec<Device> =
        (1..=3).map(|n| bench.connect(device_with_cid("a", b"me"), address(n, 1))).collect();
    devices[0].client.send(b"alive");
    bench.run(&mut [&mut devices[0]]);
    bench.connect(device("b"), address(4, 1));
    assert_eq!(bench.closed(), [Closed::Evicted]);
    assert_eq!(bench.server.held(), Held { handshakes: 0, sessions: 3, resumable: 2 });
    devices.iter_mut().for_each(|device| device.client.send(b"who is there"));
    for device in &mut devices {
        bench.run(&mut [device]);
    }
    assert_eq!((bench.data().len(), bench.server.stats().unknown_cid), (3, 1));
}

#[test]
fn an_association_ends_after_silence_and_by_words() {
    let timing = Timing { idle: Duration::from_secs(1000), ..Timing::default() };
    let mut bench = Bench::new(Config { timing, ..Config::default() });
    let mut talks = bench.connect(device("a"), address(1, 1));
    bench.connect(device_with_cid("b", b"me"), address(2, 1));
    bench.pass(Duration::from_secs(600));
    talks.client.send(b"x");
    bench.run(&mut [&mut talks]);
    bench.pass(Duration::from_secs(500));
    assert_eq!((bench.closed(), bench.server.held().sessions), (vec![Closed::Idle], 1));
    talks.client.close();
    bench.run(&mut [&mut talks]);
    assert_eq!(bench.closed(), [Closed::Idle, Closed::ByPeer]);
    // It gets a goodbye, too (RFC 5246 section 7.2.1).
    assert_eq!(talks.alert(), Some(0));
    let alarmed = bench.connect(device("a"), address(1, 1));
    let mut alarmed = alarmed;
    alarmed.client.send_content(21, &[2, 20]);
    bench.run(&mut [&mut alarmed]);
    assert_eq!(bench.closed()[2], Closed::Alert(20));
    let mut left = bench.connect(device("a"), address(1, 1));
    bench.server.close(bench.session());
    bench.run(&mut [&mut left]);
    assert_eq!(left.alert(), Some(0));
    assert_eq!(bench.server.held().sessions, 0);
    assert_eq!(bench.server.next_timeout(), None);
}
