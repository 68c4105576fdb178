//! The lines of the checklist that a few datagrams show: D1 to D11 and D13.

use std::time::Duration;

use dtls::client::Settings;
use dtls::{Closed, Config, ConnectionIds, Event, Identity, SendError, Timing, is_dtls, node_of};

use super::bench::{Bench, address, device, device_with_cid};

const HOME: u16 = 5684;

#[test]
fn d1_records_are_told_apart_by_their_first_byte_and_connection_id() {
    let mut bench = Bench::new(Config::default());
    let mut with = bench.connect(device_with_cid("a", b"me"), address(1, HOME));
    let mut without = bench.connect(device("b"), address(2, HOME));
    assert!(with.client.is_connected() && without.client.is_connected());
    // From an address that nobody knows, before anything is asked about hellos.
    with.address = address(77, 1);
    with.client.send(b"moved");
    without.client.send(b"stayed");
    bench.run(&mut [&mut with, &mut without]);
    assert_eq!(bench.data(), [b"moved".to_vec(), b"stayed".to_vec()]);
    assert!(with.sent.last().unwrap()[0] == 25 && without.sent.last().unwrap()[0] == 23);
    assert!(is_dtls(with.sent.last().unwrap()));
    // Without an id the address is all there is.
    without.address = address(78, 1);
    without.client.send(b"lost");
    bench.run(&mut [&mut without]);
    assert_eq!((bench.data().len(), bench.server.stats().unknown_address), (0, 1));
}

#[test]
fn d2_our_ids_have_one_length_and_the_node_in_them() {
    for (length, node) in [(4, 0), (6, 200), (8, 3)] {
        let ids = ConnectionIds { length, node };
        let mut bench = Bench::new(Config { connection_ids: Some(ids), ..Config::default() });
        let mut ours = bench.connect(device_with_cid("a", b""), address(1, HOME));
        let cid = ours.server_cid().unwrap();
        assert_eq!((cid.len(), cid[0]), (length, node));
        ours.client.send(b"x");
        bench.run(&mut [&mut ours]);
        assert_eq!(bench.data(), [b"x"]);
        let mut datagram = ours.sent.last().unwrap().clone();
        assert_eq!(node_of(&datagram), Some(node));
        datagram[11] ^= 1;
        bench.inject(ours.address, &datagram);
        datagram[11] ^= 1;
        datagram[12] ^= 1;
        bench.inject(ours.address, &datagram);
        assert_eq!((bench.server.stats().other_node, bench.server.stats().unknown_cid), (1, 1));
    }
    let mut none = Bench::new(Config { connection_ids: None, ..Config::default() });
    let refused = none.connect(device_with_cid("a", b"me"), address(1, HOME));
    assert!(refused.client.is_connected());
    assert_eq!(refused.server_cid(), None);
}

#[test]
fn d3_records_to_a_client_with_an_empty_id_are_classic() {
    let mut bench = Bench::new(Config::default());
    for (cid, kind) in [(&b""[..], 23), (b"id", 25)] {
        let mut ours = bench.connect(device_with_cid("a", cid), address(1, HOME));
        bench.server.send(bench.session(), b"hello").unwrap();
        bench.run(&mut [&mut ours]);
        assert_eq!(ours.data(), [b"hello"]);
        assert_eq!(ours.got.last().unwrap()[0], kind);
        ours.client.send(b"up");
        bench.run(&mut [&mut ours]);
        assert_eq!(bench.data(), [b"up"]);
        assert_eq!(ours.sent.last().unwrap()[0], 25);
    }
}

#[test]
fn d4_the_id_is_authenticated_and_only_the_final_extension_counts() {
    let mut bench = Bench::new(Config::default());
    let mut one = bench.connect(device_with_cid("a", b"1"), address(1, HOME));
    let other = bench.connect(device_with_cid("b", b"2"), address(2, HOME));
    one.client.send(b"for one");
    let mut datagram = one.leaving().remove(0);
    datagram[11..19].copy_from_slice(&other.server_cid().unwrap());
    bench.inject(one.address, &datagram);
    assert_eq!((bench.data().len(), bench.server.stats().not_authentic), (0, 1));
    // A record in classic form where an id was agreed.
    let mut plain = bench.connect(device("c"), address(3, HOME));
    plain.client.send(b"x");
    let classic = plain.leaving().remove(0);
    bench.inject(one.address, &classic);
    assert_eq!(bench.server.stats().not_authentic, 2);
    // Not offered, not answered.
    assert_eq!(plain.server_cid(), None);
}

#[test]
fn d4_the_extensions_of_the_drafts_are_other_extensions() {
    for number in [53, 254] {
        let mut bench = Bench::new(Config::default());
        let mut ours = bench.device(device_with_cid("a", b"me"), address(1, HOME));
        let mut hellos = Vec::new();
        for _ in 0..2 {
            let mut hello = ours.leaving().remove(0);
            let at = hello.windows(7).position(|bytes| bytes == [0, 54, 0, 3, 2, b'm', b'e']).unwrap();
            hello[at + 1] = number;
            for (_, reply) in bench.inject(ours.address, &hello) {
                ours.client.handle_datagram(bench.now, &reply);
                hellos.push(reply);
            }
        }
        assert_eq!(bench.server.held().handshakes, 1);
        let of_extension =
            |bytes: &[u8]| bytes[0] == 0 && [53, 54, 254].contains(&bytes[1]) && bytes[2..4] == [0, 9];
        assert!(hellos.iter().all(|hello| !hello.windows(4).any(of_extension)));
    }
}

#[test]
fn d5_only_the_newest_authentic_record_moves_a_device() {
    let timing = Timing { rebind: Duration::from_secs(5), ..Timing::default() };
    let mut bench = Bench::new(Config { timing, ..Config::default() });
    let mut ours = bench.connect(device_with_cid("a", b"me"), address(1, HOME));
    let session = bench.session();
    for text in [b"1", b"2", b"3"] {
        ours.client.send(text);
    }
    let datagrams = ours.leaving();
    let mut forged = datagrams[2].clone();
    *forged.last_mut().unwrap() ^= 1;
    bench.inject(address(66, 6), &forged);
    assert_eq!(bench.server.peer(session), Some(ours.address));
    bench.inject(address(2, 2), &datagrams[1]);
    assert_eq!(bench.server.peer(session), Some(address(2, 2)));
    // Late, from where it was: it counts as data, but the device does not move back.
    bench.inject(address(1, HOME), &datagrams[0]);
    assert_eq!(bench.server.peer(session), Some(address(2, 2)));
    // Replayed from elsewhere.
    bench.inject(address(66, 6), &datagrams[1]);
    // Newest, but too soon after the last move.
    bench.inject(address(3, 3), &datagrams[2]);
    assert_eq!(bench.server.peer(session), Some(address(2, 2)));
    assert_eq!(bench.data().len(), 3);
    let stats = bench.server.stats();
    assert_eq!((stats.rebound, stats.rebinds_limited, stats.replayed, stats.not_authentic), (1, 1, 1, 1));
    let moved = Event::Rebound { session, from: ours.address, to: address(2, 2) };
    assert!(bench.events.contains(&moved));
}

#[test]
fn d5_a_new_address_gets_little_before_it_is_confirmed() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(device_with_cid("a", b"me"), address(1, HOME));
    let session = bench.session();
    assert_eq!(bench.server.send(session, &[0; 1000]), Ok(()));
    ours.address = address(9, 9);
    ours.client.send(&[0; 100]);
    bench.run(&mut [&mut ours]);
    let received = ours.sent.last().unwrap().len();
    let mut sent = 0;
    while bench.server.send(session, &[1; 40]).is_ok() {
        sent += bench.replies().iter().map(|(_, datagram)| datagram.len()).sum::<usize>();
    }
    assert_eq!(bench.server.send(session, &[1; 40]), Err(SendError::Unconfirmed));
    assert!(sent <= 3 * received && sent > 2 * received, "{sent} bytes for {received}");
    ours.client.send(&[0; 100]);
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.server.send(session, &[1; 40]), Ok(()));
    bench.server.confirm_address(session);
    assert_eq!(bench.server.send(session, &[1; 10_000]), Ok(()));
}

#[test]
fn d5_a_last_flight_is_no_longer_than_a_new_address_may_get() {
    for (length, answers) in [(2, 1), (250, 0)] {
        let mut bench = Bench::new(Config::default());
        let mut ours = bench.connect(device_with_cid("a", &vec![7; length]), address(1, HOME));
        ours.client.repeat_flight();
        let finished = ours.leaving().pop().unwrap();
        let replies = bench.inject(address(9, 9), &finished);
        assert_eq!(replies.len(), answers);
        assert!(replies.iter().all(|(_, reply)| reply.len() <= 3 * finished.len()));
    }
}

#[test]
fn d6_a_device_that_restarts_on_its_port_replaces_itself_after_its_finished() {
    for settings in [device("a"), device_with_cid("a", b"me")] {
        let mut bench = Bench::new(Config::default());
        let mut before = bench.connect(settings.clone(), address(1, HOME));
        let first = bench.session();
        let mut after = bench.device(settings, address(1, HOME));
        // The old association works until the new one is proven.
        for round in 0..3 {
            for datagram in after.leaving() {
                for (_, reply) in bench.inject(address(1, HOME), &datagram) {
                    after.client.handle_datagram(bench.now, &reply);
                }
                if !after.client.is_connected() && bench.sessions().len() == 1 {
                    before.client.send(&[round]);
                    let old = before.leaving().remove(0);
                    bench.inject(address(1, HOME), &old);
                    assert_eq!(bench.data(), [[round]]);
                    assert_eq!(bench.server.send(first, b"still here"), Ok(()));
                    bench.replies();
                }
            }
        }
        assert!(after.client.is_connected());
        let second = bench.session();
        assert!(bench.events.iter().any(
            |event| matches!(event, Event::Connected { session, replaces, .. } if *session == second && *replaces == Some(first))
        ));
        assert_eq!(bench.server.send(first, b"x"), Err(SendError::Gone));
        assert_eq!((bench.server.held().sessions, bench.server.stats().replaced), (1, 1));
        before.client.send(b"old");
        let old = before.leaving().remove(0);
        bench.inject(address(1, HOME), &old);
        assert!(bench.data().is_empty());
    }
}

#[test]
fn d6_a_hello_alone_ends_nothing() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.connect(device("a"), address(1, HOME));
    let mut wrong = bench.connect(Settings::new("a", b"guess"), address(1, HOME));
    assert_eq!(wrong.alert(), Some(51));
    ours.client.send(b"unmoved");
    wrong.client.send(b"x");
    bench.run(&mut [&mut ours]);
    assert_eq!(bench.data(), [b"unmoved"]);
}

#[test]
fn d6_another_device_behind_the_same_address_takes_only_what_had_no_id() {
    let mut bench = Bench::new(Config::default());
    let mut with = bench.connect(device_with_cid("a", b"1"), address(1, HOME));
    let _without = bench.connect(device("b"), address(2, HOME));
    bench.connect(device("c"), address(1, HOME));
    bench.connect(device("c"), address(2, HOME));
    assert_eq!(bench.closed(), [Closed::AddressTaken]);
    with.address = address(1, 9);
    with.client.send(b"alive");
    bench.run(&mut [&mut with]);
    assert_eq!(bench.data(), [b"alive"]);
}

#[test]
fn d7_nothing_is_kept_before_the_cookie_which_is_for_one_address_and_hello() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.device(device("a"), address(1, HOME));
    let hello = ours.leaving().remove(0);
    let replies = bench.inject(ours.address, &hello);
    assert_eq!((bench.server.held(), replies.len()), (dtls::Held::default(), 1));
    let verify = &replies[0].1;
    assert!(verify.len() <= hello.len(), "{} bytes for {}", verify.len(), hello.len());
    assert_eq!(verify[5..11], hello[5..11], "the record's number is not that of the hello");
    ours.client.handle_datagram(bench.now, verify);
    let second = ours.leaving().remove(0);
    // Stolen, changed, too old.
    assert_eq!(bench.inject(address(2, HOME), &second).len(), 1);
    assert_eq!(bench.inject(address(1, 1), &second).len(), 1);
    let mut changed = second.clone();
    changed[13 + 12 + 2] ^= 1;
    bench.inject(ours.address, &changed);
    let mut cookie = second.clone();
    cookie[13 + 12 + 2 + 32 + 1 + 1] ^= 1;
    bench.inject(ours.address, &cookie);
    assert_eq!(bench.server.held().handshakes, 0);
    bench.now += Duration::from_secs(130);
    bench.inject(ours.address, &second);
    assert_eq!((bench.server.held().handshakes, bench.server.stats().cookies_refused), (0, 5));
    // The answer to the late one has a new cookie, and is taken.
    let mut ours = bench.device(device("a"), address(1, HOME));
    bench.run(&mut [&mut ours]);
    assert!(ours.client.is_connected());
}

#[test]
fn d7_a_cookie_outlives_one_change_of_the_secret() {
    let mut bench = Bench::new(Config::default());
    bench.now += Duration::from_secs(59);
    let mut ours = bench.device(device("a"), address(1, HOME));
    let hello = ours.leaving().remove(0);
    let verify = bench.inject(ours.address, &hello).remove(0).1;
    ours.client.handle_datagram(bench.now, &verify);
    bench.now += Duration::from_secs(50);
    bench.run(&mut [&mut ours]);
    assert!(ours.client.is_connected());
}

#[test]
fn d8_an_unknown_identity_ends_as_a_wrong_key_does() {
    let mut bench = Bench::new(Config::default());
    let wrong = bench.connect(Settings::new("a", b"wrong!"), address(1, HOME));
    let unknown = bench.connect(Settings::new("z", b"wrong!"), address(2, HOME));
    let long = bench.connect(Settings::new(&"z".repeat(300), b"wrong!"), address(3, HOME));
    assert_eq!([wrong.alert(), unknown.alert(), long.alert()], [Some(51); 3]);
    let shape =
        |got: &[Vec<u8>]| got.iter().map(|datagram| (datagram[0], datagram.len())).collect::<Vec<_>>();
    assert_eq!(shape(&wrong.got), shape(&unknown.got));
    assert_eq!(shape(&wrong.got), shape(&long.got));
    let stats = bench.server.stats();
    assert_eq!((stats.wrong_keys, bench.server.held().handshakes, stats.completed), (3, 0, 0));
    assert_eq!(format!("{:?}", bench.keys[&b"a"[..]]), "Psk(..)");
}

#[test]
fn d9_a_repeated_finished_gets_the_last_flight_again() {
    for settings in [device("a"), device_with_cid("a", b"me")] {
        let mut bench = Bench::new(Config::default());
        let mut ours = bench.device(settings, address(1, HOME));
        let mut lost = 0;
        // Everything of the server's last flight is lost twice.
        for _ in 0..6 {
            for datagram in ours.leaving() {
                for (_, reply) in bench.inject(ours.address, &datagram) {
                    if bench.sessions().len() == 1 && lost < 2 {
                        lost += 1;
                        ours.client.repeat_flight();
                    } else {
                        ours.client.handle_datagram(bench.now, &reply);
                    }
                }
            }
        }
        assert_eq!((lost, bench.sessions().len()), (2, 1));
        assert!(ours.client.is_connected());
        assert_eq!(bench.server.held().handshakes, 0);
        // Once data has come, or after a while, it is forgotten.
        let repeated = |bench: &mut Bench, ours: &mut super::bench::Device| {
            ours.client.repeat_flight();
            let datagrams = ours.leaving();
            datagrams.iter().map(|datagram| bench.inject(ours.address, datagram).len()).sum::<usize>()
        };
        assert_eq!(repeated(&mut bench, &mut ours), 1);
        ours.client.send(b"x");
        bench.run(&mut [&mut ours]);
        assert_eq!(repeated(&mut bench, &mut ours), 0);
    }
}

#[test]
fn d10_the_first_retransmission_comes_after_nine_seconds() {
    let mut bench = Bench::new(Config::default());
    let mut ours = bench.device(device("a"), address(1, HOME));
    for _ in 0..2 {
        let datagram = ours.leaving().remove(0);
        for (_, reply) in bench.inject(ours.address, &datagram) {
            ours.client.handle_datagram(bench.now, &reply);
        }
    }
    let start = bench.now;
    let mut times = Vec::new();
    while let Some(at) = bench.server.next_timeout() {
        bench.now = at;
        bench.server.handle_timeout(at);
        times.extend(bench.replies().iter().map(|_| (at - start).as_secs()));
    }
    assert_eq!(times, [9, 27, 63]);
    assert_eq!((bench.now - start).as_secs(), 123);
    assert_eq!((bench.server.held().handshakes, bench.server.stats().timed_out), (0, 1));
}

#[test]
fn d11_each_record_counts_once_within_a_window_of_64() {
    for settings in [device("a"), device_with_cid("a", b"me")] {
        let mut bench = Bench::new(Config::default());
        let mut ours = bench.connect(settings, address(1, HOME));
        for n in 0..100 {
            ours.client.send(&[n]);
        }
        let datagrams = ours.leaving();
        let mut order: Vec<usize> = vec![70, 70, 7, 8, 69, 70, 8, 99, 35, 36, 7];
        order.extend(0..100);
        for at in order {
            bench.inject(ours.address, &datagrams[at]);
        }
        let mut data: Vec<u8> = bench.data().into_iter().map(|data| data[0]).collect();
        data.sort_unstable();
        let expected: Vec<u8> = [7, 8].into_iter().chain(36..100).collect();
        // 35 and what is before 36 fell out of the window, but for those that came in time.
        assert_eq!(data, expected);
        assert_eq!(bench.server.stats().replayed, 111 - 66);
    }
}

#[test]
fn d13_a_new_handshake_is_a_new_association_with_the_same_identity() {
    let mut bench = Bench::new(Config::default());
    bench.connect(device("a"), address(1, HOME));
    bench.connect(device("a"), address(1, HOME));
    let sessions = bench.sessions();
    assert!(sessions[0] != sessions[1]);
    assert_eq!(bench.identities(), vec![Identity::Psk("a".into()); 2]);
    assert_eq!(bench.server.send(sessions[0], b"answer"), Err(SendError::Gone));
    assert_eq!(bench.server.identity(sessions[1]), Some(&Identity::Psk("a".into())));
}
