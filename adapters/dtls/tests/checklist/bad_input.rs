//! Bad input: random, cut, changed, oversized, replayed and spoofed datagrams. None may stop a server, cost it memory, or move
//! an association; each is counted. Not here: floods of good handshakes (`limits`).

use std::time::Duration;

use dtls::{Config, Held};

use super::bench::{Bench, Device, address, device, device_with_cid};

/// All datagrams of a device's handshake and some data.
fn recorded(bench: &mut Bench, ours: &mut Device) -> Vec<Vec<u8>> {
    ours.client.send(b"data");
    bench.run(&mut [ours]);
    ours.sent.clone()
}

#[test]
fn random_datagrams_are_dropped() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(device_with_cid("a", b"me"), address(1, 1));
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..20_000 {
        let length = rng.usize(0..200);
        let mut datagram: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        // Half of them look like records.
        if rng.bool() && length > 13 {
            datagram[0] = rng.u8(19..27);
            datagram[1..4].copy_from_slice(&[0xfe, 0xfd, 0]);
            datagram[4] = rng.u8(0..3);
            let body = (length - 13) as u16;
            datagram[11..13].copy_from_slice(&body.to_be_bytes());
        }
        bench.inject(address(rng.u8(0..4), 1), &datagram);
    }
    let stats = bench.server.stats();
    assert_eq!(bench.server.held(), Held { handshakes: 0, sessions: 1, resumable: 1 });
    assert!(stats.malformed > 5_000 && stats.unknown_address > 100 && stats.unexpected > 100, "{stats:?}");
    ours.client.send(b"alive");
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.data(), [b"alive"]);
}

#[test]
fn every_cut_and_every_changed_byte_of_a_handshake_is_survived() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(device_with_cid("a", b"me"), address(1, 1));
    let datagrams = recorded(&mut bench, &mut ours);
    bench.data();
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..300u16 {
        let from = address(7, 1000 + round);
        let mut device = bench.device(device_with_cid("b", b"you"), from);
        for _ in 0..3 {
            for mut datagram in device.leaving() {
                if rng.u8(0..3) == 0 {
                    let at = rng.usize(0..datagram.len());
                    datagram[at] ^= 1 << rng.u8(0..8);
                }
                if rng.u8(0..8) == 0 {
                    datagram.truncate(rng.usize(0..datagram.len()));
                }
                for (to, reply) in bench.inject(from, &datagram) {
                    if to == from {
                        device.client.handle_datagram(bench.now, &reply);
                    }
                }
            }
        }
    }
    for datagram in &datagrams {
        for at in 0..datagram.len() {
            bench.inject(address(1, 1), &datagram[..at]);
        }
    }
    assert!(bench.data().is_empty());
    bench.pass(Duration::from_secs(200));
    bench.replies();
    assert_eq!(bench.server.held().handshakes, 0);
    ours.client.send(b"alive");
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.data(), [b"alive"]);
}

#[test]
fn replayed_handshakes_and_records_change_nothing() {
    let mut bench = Bench::new(Config::default());
    for settings in [device("a"), device_with_cid("b", b"me")] {
        let mut ours = bench.connect(settings, address(1, 1));
        let datagrams = recorded(&mut bench, &mut ours);
        assert_eq!(bench.data().len(), 1);
        let sessions = bench.server.held().sessions;
        for from in [address(1, 1), address(2, 2)] {
            for datagram in datagrams.iter().chain(datagrams.iter().rev()) {
                for (_, reply) in bench.inject(from, datagram) {
                    assert!(reply.len() <= datagram.len(), "a replayed datagram gets a longer answer");
                }
            }
        }
        assert!(bench.data().is_empty());
        assert_eq!((bench.server.held().sessions, bench.server.held().handshakes), (sessions, 0));
        assert_eq!(bench.server.peer(bench.session()), Some(address(1, 1)));
        bench.server.close(bench.session());
        bench.replies();
    }
    assert!(bench.server.stats().replayed > 0 && bench.server.stats().stale > 0);
}

#[test]
fn spoofed_sources_cost_a_cookie_each_and_nothing_else() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.device(device("a"), address(1, 1));
    let hello = ours.leaving().remove(0);
    let (mut sent, mut received) = (0, 0);
    for n in 0..5000u16 {
        received += hello.len();
        sent += bench.inject(address(n as u8, n), &hello).iter().map(|(_, reply)| reply.len()).sum::<usize>();
    }
    assert_eq!((bench.server.held(), bench.server.next_timeout()), (Held::default(), None));
    assert!(sent <= received);
    assert_eq!(bench.server.stats().cookies_sent, 5000);
}

#[test]
fn oversized_claims_and_fragmented_hellos_cost_nothing() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.device(device("a"), address(1, 1));
    let hello = ours.leaving().remove(0);
    // Half a hello: the header says that more follows.
    let mut half = hello.clone();
    half[16] += 10;
    assert!(bench.inject(ours.address, &half).is_empty());
    for (_, reply) in bench.inject(ours.address, &hello) {
        ours.client.handle_datagram(bench.now, &reply);
    }
    let second = ours.leaving().remove(0);
    bench.inject(ours.address, &second);
    // A key exchange of 16 MiB in small pieces.
    let mut claim = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 13];
    claim.extend([16, 0xff, 0xff, 0xff, 0, 2, 0, 0, 0, 0, 0, 1, 7]);
    for _ in 0..100 {
        assert!(bench.inject(ours.address, &claim).is_empty());
    }
    let stats = bench.server.stats();
    assert_eq!((stats.fragmented_hellos, stats.fragments_refused), (1, 100));
    let big = vec![22; 65_507];
    bench.inject(ours.address, &big);
    assert_eq!(bench.server.stats().malformed, 1);
}

#[test]
fn a_forged_alert_ends_no_association() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(device("a"), address(1, 1));
    bench.inject(address(1, 1), &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]);
    bench.inject(address(1, 1), &[21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40]);
    ours.client.send(b"alive");
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.data(), [b"alive"]);
    // A renegotiation is declined; the association stays.
    ours.client.send_content(22, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bench.run(&mut [&mut ours]);
    assert_eq!(ours.alert(), Some(100));
    ours.client.send_content(99, b"what is this");
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.server.held().sessions, 1);
}
