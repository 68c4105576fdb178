//! What is negotiated: suites, versions, extensions, resumption, keys that come late. Not here: ECDSA
//! (`ecdsa`).

use std::time::Duration;

use dtls::client::Settings;
use dtls::{CipherSuite, Config, Event, Identity, SendError, Timing};

use super::bench::{Bench, address, device, device_with_cid};

fn echo(bench: &mut Bench, ours: &mut super::bench::Device) {
    ours.client.send(b"up");
    bench.run(&mut [ours]);
    assert_eq!(bench.data(), [b"up"]);
    bench.server.send(bench.session(), b"down").unwrap();
    bench.run(&mut [ours]);
    assert_eq!(ours.data(), [b"down"]);
}

#[test]
fn every_psk_suite_works_with_and_without_ids_and_extended_master_secret() {
    for suite in CipherSuite::ALL.into_iter().filter(|suite| suite.is_psk()) {
        for connection_id in [None, Some(Vec::new()), Some(b"me".to_vec())] {
            for extended_master_secret in [true, false] {
                let mut bench = Bench::new(Config::default());
                let suites = vec![suite.code()];
                let connection_id = connection_id.clone();
                let settings = Settings { suites, connection_id, extended_master_secret, ..device("a") };
                let mut ours = bench.connect(settings, address(1, 1));
                echo(&mut bench, &mut ours);
                assert!(bench.events.iter().any(
                    |event| matches!(event, Event::Connected { suite: chosen, .. } if *chosen == suite)
                ));
            }
        }
    }
}

#[test]
fn a_hello_without_any_extension_is_served() {
    let mut bench = Bench::new(Config::default());
    let settings = Settings { extended_master_secret: false, encrypt_then_mac: false, ..device("a") };
    let mut ours = bench.connect(settings, address(1, 1));
    echo(&mut bench, &mut ours);
}

#[test]
fn the_server_prefers_and_refuses() {
    let all: Vec<u16> = CipherSuite::ALL.iter().rev().map(|suite| suite.code()).collect();
    let refused = |settings: Settings| {
        let mut bench = Bench::new(Config::default());
        let ours = bench.connect(settings, address(1, 1));
        assert_eq!((bench.server.held().handshakes, bench.server.stats().no_common_ground), (0, 1));
        ours.alert().unwrap()
    };
    let mut bench = Bench::new(Config::default());
    bench.connect(Settings { suites: all, ..device("a") }, address(1, 1));
    assert!(
        bench
            .events
            .iter()
            .any(|event| matches!(event, Event::Connected { suite: CipherSuite::PskAes128Ccm8, .. }))
    );
    // Suites that nobody has, or that need a credential; CBC without encrypt-then-MAC; DTLS 1.0.
    assert_eq!(refused(Settings { suites: vec![0x1301, 0x0005, 0xc0ae, 0xc02b], ..device("a") }), 40);
    let cbc = vec![CipherSuite::PskAes128CbcSha256.code()];
    assert_eq!(refused(Settings { suites: cbc, encrypt_then_mac: false, ..device("a") }), 40);
    assert_eq!(refused(Settings { version: 0xfeff, ..device("a") }), 70);
    assert_eq!(refused(Settings { max_fragment_length: Some(9), ..device("a") }), 47);
}

#[test]
fn a_device_says_how_long_records_may_be() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(Settings { max_fragment_length: Some(1), ..device("a") }, address(1, 1));
    echo(&mut bench, &mut ours);
    let session = bench.session();
    assert_eq!(bench.server.send(session, &[0; 513]), Err(SendError::TooLong(512)));
    assert_eq!(bench.server.send(session, &[0; 512]), Ok(()));
}

#[test]
fn a_session_is_resumed_without_a_question_for_its_key() {
    for suite in CipherSuite::ALL.into_iter().filter(|suite| suite.is_psk()) {
        let mut bench = Bench::new(Config::default());
        let settings = Settings { suites: vec![suite.code()], ..device_with_cid("a", b"me") };
        let first = bench.connect(settings.clone(), address(1, 1));
        assert!(!first.resumed());
        let again = Settings { resume: first.client.session(), ..settings };
        let mut second = bench.connect(again.clone(), address(5, 5));
        assert!(second.resumed(), "{suite:?}");
        assert_eq!((bench.asked.len(), bench.server.stats().resumed), (1, 1));
        assert_eq!(bench.identities()[1], Identity::Psk("a".into()));
        echo(&mut bench, &mut second);
        // Both have other keys and ids than before.
        assert!(first.server_cid() != second.server_cid());
        // A wrong secret; then the session is not offered again.
        let stranger = bench.connect(Settings { resume: None, ..device("b") }, address(6, 6));
        assert!(stranger.client.is_connected());
    }
}

#[test]
fn a_session_is_not_resumed_when_that_is_not_safe() {
    let config = Config {
        timing: Timing { resumption: Duration::from_secs(100), ..Timing::default() },
        ..Config::default()
    };
    let mut bench = Bench::new(config);
    let full = |bench: &mut Bench, settings: Settings| {
        let ours = bench.connect(settings, address(3, 3));
        assert!(ours.client.is_connected());
        !ours.resumed()
    };
    let first = bench.connect(device("a"), address(1, 1));
    let again = Settings { resume: first.client.session(), ..device("a") };
    // Another suite; no extended master secret.
    let ccm = vec![CipherSuite::PskAes128Ccm.code()];
    assert!(full(&mut bench, Settings { suites: ccm, ..again.clone() }));
    assert!(full(&mut bench, Settings { extended_master_secret: false, ..again.clone() }));
    assert!(!full(&mut bench, again.clone()));
    // The key is no longer good, and the associations end.
    bench.server.forget(&Identity::Psk("a".into()));
    assert_eq!(bench.server.held(), dtls::Held::default());
    assert!(full(&mut bench, again));
    // Too old.
    let second = bench.connect(device("b"), address(2, 2));
    bench.now += Duration::from_secs(101);
    assert!(full(&mut bench, Settings { resume: second.client.session(), ..device("b") }));
    // Sessions without it are not kept.
    let legacy = Settings { extended_master_secret: false, ..device("c") };
    let third = bench.connect(legacy.clone(), address(4, 4));
    assert!(full(&mut bench, Settings { resume: third.client.session(), ..legacy }));
}

#[test]
fn a_key_may_come_late_and_nothing_is_lost() {
    let mut bench = Bench::new(Config::default());
    bench.answers = false;
    let mut slow = bench.connect(device_with_cid("a", b"me"), address(1, 1));
    assert!(!slow.client.is_connected());
    // Others are not held up.
    let (request, identity) = bench.asked[0].clone();
    bench.answers = true;
    let other = bench.connect(device("b"), address(2, 2));
    assert!(other.client.is_connected());
    bench.now += Duration::from_secs(9);
    slow.client.repeat_flight();
    bench.run(&mut [&mut slow]);
    bench.answer(request, &identity);
    bench.run(&mut [&mut slow]);
    assert!(slow.client.is_connected());
    echo(&mut bench, &mut slow);
    // An answer given twice does nothing.
    bench.answer(request, &identity);
    assert_eq!(bench.sessions().len(), 2);
}

#[test]
fn a_key_that_does_not_come_ends_the_handshake() {
    let mut bench = Bench::new(Config::default());
    bench.answers = false;
    let slow = bench.connect(device("a"), address(1, 1));
    bench.pass(Duration::from_secs(10));
    assert_eq!((bench.server.held().handshakes, bench.server.stats().lookups_timed_out), (0, 1));
    let (request, identity) = bench.asked[0].clone();
    bench.answer(request, &identity);
    assert!(bench.replies().is_empty() && !slow.client.is_connected());
}

#[test]
fn a_server_can_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<dtls::Server>();
}

#[test]
fn a_hint_is_sent_when_there_is_one() {
    let mut bench = Bench::new(Config { psk_hint: Some("bridge".into()), ..Config::default() });
    let mut ours = bench.connect(device("a"), address(1, 1));
    echo(&mut bench, &mut ours);
    assert!(ours.got.iter().any(|datagram| datagram.windows(6).any(|six| six == b"bridge")));
}

#[test]
fn handshake_messages_come_in_pieces() {
    for fragment in [1, 3, 7] {
        let mut bench = Bench::new(Config::default());
        let mut ours = bench.connect(Settings { fragment, ..device("a") }, address(1, 1));
        echo(&mut bench, &mut ours);
    }
}
