//! Handshakes and data over bad networks, from many seeds: whatever is lost, repeated or reordered, devices get in, data counts
//! at most once, and nothing is left behind. Not here: the network (`net`).

use std::collections::HashMap;
use std::time::Duration;

use dtls::client::{Seen, Settings};
use dtls::{CipherSuite, Config, Event};

use super::bench::{address, device};
use super::ecdsa;
use super::net::{Net, Weather};

const FAIR: Weather = Weather { loss: 0.0, twice: 0.0, delay: 20, lookup: 0 };
const BAD: Weather = Weather { loss: 0.2, twice: 0.1, delay: 3000, lookup: 2000 };

fn settings(rng: &mut fastrand::Rng) -> Settings {
    let connection_id = [None, Some(Vec::new()), Some(vec![1, 2]), Some(vec![9; 8])][rng.usize(0..4)].clone();
    let fragment = if rng.bool() { 10 } else { 1000 };
    let suite = CipherSuite::ALL[rng.usize(0..6)];
    let base = if suite.is_psk() { device("a") } else { ecdsa::device(7) };
    let suites = vec![suite.code()];
    Settings { connection_id, fragment, suites, extended_master_secret: rng.u8(0..4) > 0, ..base }
}

fn connected(net: &Net, device: usize) -> bool {
    net.devices[device].seen.iter().any(|seen| matches!(seen, Seen::Connected { .. }))
}

#[test]
fn devices_get_in_over_bad_networks() {
    let (mut devices, mut in_time, mut retransmitted) = (0, 0, 0);
    for seed in 0..60 {
        let mut net = Net::new(seed, BAD, Config { handshake_mtu: 200, ..Config::default() });
        net.server.set_credential(Some(ecdsa::credential()));
        for index in 0..10 {
            let settings = settings(&mut net.rng.fork());
            net.connect(index, settings, address(index as u8, 5684));
        }
        net.run(Duration::from_secs(300));
        devices += 10;
        in_time += (0..10).filter(|index| connected(&net, *index)).count();
        retransmitted += net.server.stats().retransmitted;
        assert_eq!(net.server.held().handshakes, 0, "seed {seed} leaves handshakes behind");
        // Who has an association on one side only sends data; it counts once or not at all.
        for round in 0..20u8 {
            for index in 0..10u8 {
                net.devices[usize::from(index)].client.send(&[index, round]);
            }
            net.run(Duration::from_secs(1));
        }
        net.weather = FAIR;
        net.run(Duration::from_secs(10));
        let mut counts: HashMap<Vec<u8>, u32> = HashMap::new();
        for event in &net.events {
            if let Event::Data { data, .. } = event {
                *counts.entry(data.to_vec()).or_default() += 1;
            }
        }
        assert!(counts.values().all(|count| *count == 1), "seed {seed} doubles data");
        assert!(counts.len() > 100, "seed {seed} lets {} of 200 through", counts.len());
    }
    assert!(in_time * 100 >= devices * 95, "{in_time} of {devices} devices got in");
    assert!(retransmitted > 0);
}

#[test]
fn devices_with_an_id_keep_their_association_while_their_address_changes() {
    let mut rebound = 0;
    for seed in 0..40 {
        let mut net = Net::new(seed, FAIR, Config::default());
        for index in 0..5 {
            let connection_id = Some(vec![index as u8; index]);
            net.connect(index, Settings { connection_id, ..device("a") }, address(index as u8, 1));
        }
        net.run(Duration::from_secs(60));
        net.weather = Weather { loss: 0.1, twice: 0.2, delay: 500, lookup: 0 };
        let mut sessions = HashMap::new();
        for event in &net.events {
            if let Event::Connected { session, peer, .. } = event {
                sessions.insert(*session, peer.ip());
            }
        }
        assert_eq!(sessions.len(), 5);
        for round in 0..40u8 {
            for index in 0..5u8 {
                if net.rng.u8(0..4) == 0 {
                    net.devices[usize::from(index)].address = address(100 + index, net.rng.u16(1..));
                }
                net.devices[usize::from(index)].client.send(&[index, round]);
            }
            net.run(Duration::from_secs(2));
            for session in sessions.keys() {
                net.server.confirm_address(*session);
                net.server.send(*session, &[round]).unwrap();
            }
        }
        net.weather = FAIR;
        // A last word says where everybody is.
        for index in 0..5 {
            net.devices[index].client.send(b"here");
        }
        net.run(Duration::from_secs(5));
        for (index, device) in net.devices.iter_mut().enumerate() {
            device.seen.clear();
            let there =
                sessions.keys().filter(|session| net.server.peer(**session) == Some(device.address)).count();
            assert_eq!(there, 1, "seed {seed}: device {index} is lost");
        }
        for session in sessions.keys() {
            net.server.confirm_address(*session);
            net.server.send(*session, b"last").unwrap();
        }
        net.run(Duration::from_secs(5));
        assert!(net.devices.iter().all(|device| device.seen.contains(&Seen::Data(b"last".to_vec()))));
        let of_ours = |event: &&Event| matches!(event, Event::Connected { .. });
        assert_eq!(net.events.iter().filter(of_ours).count(), 5, "seed {seed} took a second handshake");
        rebound += net.server.stats().rebound;
    }
    assert!(rebound > 500);
}

#[test]
fn devices_restart_on_their_ports_and_resume() {
    let mut resumed = 0;
    for seed in 0..40 {
        let mut net =
            Net::new(seed, Weather { loss: 0.1, twice: 0.1, delay: 500, lookup: 500 }, Config::default());
        net.server.set_credential(Some(ecdsa::credential()));
        let first = settings(&mut net.rng.fork());
        net.connect(0, first.clone(), address(1, 5684));
        net.run(Duration::from_secs(200));
        for _ in 0..5 {
            let resume = net.devices[0].client.session().filter(|_| net.rng.bool());
            net.connect(0, Settings { resume, ..first.clone() }, address(1, 5684));
            net.run(Duration::from_secs(300));
            assert!(connected(&net, 0), "seed {seed}: the device does not get in");
            net.events.clear();
            net.weather = FAIR;
            net.devices[0].client.send(b"alive");
            net.run(Duration::from_secs(5));
            assert!(
                net.events.iter().any(|event| matches!(event, Event::Data { .. })),
                "seed {seed} lets no data in"
            );
            assert_eq!((net.server.held().sessions, net.server.held().handshakes), (1, 0), "seed {seed}");
            net.weather = Weather { loss: 0.1, twice: 0.1, delay: 500, lookup: 500 };
        }
        resumed += net.server.stats().resumed;
    }
    assert!(resumed > 20);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut net = Net::new(11, BAD, Config::default());
        for index in 0..5 {
            let settings = settings(&mut net.rng.fork());
            net.connect(index, settings, address(index as u8, 1));
        }
        net.run(Duration::from_secs(100));
        net.server.stats()
    };
    assert_eq!(run(), run());
}
