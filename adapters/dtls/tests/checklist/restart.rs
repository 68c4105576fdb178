//! D12: associations over a restart of the server. Not here: files.

use std::time::Duration;

use dtls::client::Settings;
use dtls::{Config, ConnectionIds, Event, RestoreError, Server};

use super::bench::{Bench, Device, UNIX, address, device, device_with_cid, random};

const KEY: [u8; 32] = [7; 32];

/// Ends the server and begins another that was away for so long.
fn restart(bench: &mut Bench, config: Config, away: u64) -> (Vec<u8>, usize) {
    let old = std::mem::replace(
        &mut bench.server,
        Server::new(config.clone(), bench.now, UNIX, random(2)).unwrap(),
    );
    let saved = old.shutdown(bench.now, &KEY);
    bench.now += Duration::from_secs(away);
    let unix = UNIX + Duration::from_secs(away);
    bench.server = Server::new(config, bench.now, unix, random(3)).unwrap();
    let restored = bench.server.restore(bench.now, &KEY, &saved).unwrap();
    (saved, restored.len())
}

#[test]
fn d12_devices_go_on_after_a_restart_without_a_handshake() {
    let mut bench = Bench::new(Config::default());
    // UNIX is the time at the begin.
    let mut devices: Vec<Device> = Vec::new();
    for (n, identity) in [(1, "a"), (2, "b"), (3, "c")] {
        let settings = if n == 2 { device(identity) } else { device_with_cid(identity, b"me") };
        devices.push(bench.connect(settings, address(n, 1)));
    }
    let sessions = bench.sessions();
    devices[0].client.send(b"before");
    let before = devices[0].leaving().remove(0);
    bench.inject(address(1, 1), &before);
    bench.server.send(sessions[0], b"numbers move").unwrap();
    bench.replies();
    assert_eq!(bench.data(), [b"before"]);
    let (_, restored) = restart(&mut bench, Config::default(), 3600);
    assert_eq!((restored, bench.server.held().sessions, bench.server.held().resumable), (3, 3, 3));
    // A record from before does not count again.
    bench.inject(address(1, 1), &before);
    assert_eq!((bench.data().len(), bench.server.stats().replayed), (0, 1));
    devices[0].address = address(50, 50);
    for (n, device) in devices.iter_mut().enumerate() {
        device.client.send(b"after");
        bench.run(&mut [device]);
        assert_eq!(bench.data(), [b"after"]);
        bench.server.send(sessions[n], b"down").unwrap();
        bench.run(&mut [device]);
        assert_eq!(device.data(), [b"down"]);
    }
    let asked = bench.asked.len();
    let resumed = Settings { resume: devices[2].client.session(), ..device("c") };
    assert!(bench.connect(resumed, address(9, 9)).resumed());
    assert_eq!(bench.asked.len(), asked);
}

#[test]
fn d12_no_number_is_used_twice() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(device("a"), address(1, 1));
    let session = bench.session();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        for _ in 0..5 {
            bench.server.send(session, b"x").unwrap();
            numbers.extend(bench.replies().iter().map(|(_, datagram)| datagram[3..11].to_vec()));
        }
        restart(&mut bench, Config::default(), 1);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 15);
    ours.client.send(b"alive");
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.data(), [b"alive"]);
}

#[test]
fn d12_what_is_saved_is_sealed_and_fits_the_server() {
    let mut bench = Bench::new(Config::default());
    bench.connect(device_with_cid("a", b"me"), address(1, 1));
    bench.connect(device("b"), address(2, 1));
    let now = bench.now;
    let (saved, restored) = restart(&mut bench, Config::default(), 0);
    assert_eq!(restored, 2);
    let contains = |needle: &[u8]| saved.windows(needle.len()).any(|window| window == needle);
    assert!(!contains(&[192, 0, 2, 1]));
    let fresh = |config| Server::new(config, now, UNIX, random(4)).unwrap();
    let mut server = fresh(Config::default());
    assert_eq!(server.restore(now, &[8; 32], &saved), Err(RestoreError::Unreadable));
    for at in 0..saved.len() {
        let mut changed = saved.clone();
        changed[at] ^= 0x20;
        assert_eq!(server.restore(now, &KEY, &changed), Err(RestoreError::Unreadable), "a change at {at}");
        assert_eq!(server.restore(now, &KEY, &saved[..at]), Err(RestoreError::Unreadable));
    }
    assert_eq!(server.held().sessions, 0);
    assert_eq!(bench.server.restore(now, &KEY, &saved), Err(RestoreError::TooLate));
    // Another length of ids, no room, too long away.
    let ids = Some(ConnectionIds { length: 6, node: 0 });
    assert_eq!(
        fresh(Config { connection_ids: ids, ..Config::default() }).restore(now, &KEY, &saved).unwrap().len(),
        1
    );
    let mut small = Config::default();
    small.limits.sessions = 1;
    assert_eq!(fresh(small).restore(now, &KEY, &saved).unwrap().len(), 1);
    let late = UNIX + Duration::from_secs(8 * 24 * 3600);
    let mut server = Server::new(Config::default(), now, late, random(4)).unwrap();
    assert_eq!(server.restore(now, &KEY, &saved).unwrap(), []);
}

#[test]
fn d12_thousands_are_saved_and_restored() {
    let mut bench = Bench::new(Config::default());
    for n in 0..2000u16 {
        bench.now += Duration::from_millis(10);
        bench.connect(device_with_cid("a", b"me"), address((n % 200) as u8, n));
        bench.events.retain(|event| !matches!(event, Event::Data { .. }));
    }
    let (saved, restored) = restart(&mut bench, Config::default(), 5);
    assert_eq!(restored, 2000);
    assert!(saved.len() < 2000 * 400, "{} bytes", saved.len());
}
