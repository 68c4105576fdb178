//! M1 to M19: messages, duplicates, retransmission, separate responses (RFC 7252 section 4).

use std::collections::HashSet;
use std::time::Duration;

use coap_proto::{
    Block, Code, Config, Event, Failure, Message, Request, Response, Szx, Tokens, Type, number,
};

use super::bench::*;

const ACK: Type = Type::Acknowledgement;
const RST: Type = Type::Reset;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn changed() -> Response {
    Response::new(Code::CHANGED)
}

#[test]
fn m01_other_versions_are_dropped_in_silence() {
    let mut bench = bench();
    for version in [0, 2, 3_u8] {
        let mut bytes = con(Code::GET, 5, "/a").encode().to_vec();
        bytes[0] = bytes[0] & 0x3f | version << 6;
        assert_eq!(bench.raw(&bytes), []);
    }
    for short in [&[][..], &[0x40], &[0x40, 1, 2]] {
        assert_eq!(bench.raw(short), []);
    }
    assert_eq!(bench.events(), []);
    assert_eq!(bench.endpoint.stats().not_coap, 6);
}

#[test]
fn m02_format_errors_reset_a_con_and_are_else_ignored() {
    let bad: [&[u8]; 16] = [
        &[0x09, 1, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[0x0c, 1, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        &[0x0f, 1, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        &[0x04, 1, 0, 9, 1, 2],
        &[0x00, 1, 0, 9, 0xb3, b'a'],
        &[0x00, 1, 0, 9, 0xf1, 0, 0],
        &[0x00, 1, 0, 9, 0x1f, 0, 0],
        &[0x00, 1, 0, 9, 0xd0],
        &[0x00, 1, 0, 9, 0xe0, 1],
        &[0x00, 1, 0, 9, 0xe0, 0xff, 0xff, 0xe0, 0xff, 0xff],
        &[0x00, 1, 0, 9, 0xff],
        &[0x01, 0, 0, 9, 1],
        &[0x00, 0, 0, 9, 0xff, 1],
        &[0x00, 0x20, 0, 9],
        &[0x00, 0xc1, 0, 9],
        &[0x00, 0xe1, 0, 9],
    ];
    for tail in bad {
        for (bits, kind) in [(0, "CON"), (1, "NON"), (2, "ACK"), (3, "RST")] {
            let mut bench = bench();
            let mut bytes = tail.to_vec();
            bytes[0] |= 0x40 | bits << 4;
            let expected = if bits == 0 { vec![empty(RST, 9)] } else { vec![] };
            assert_eq!(bench.raw(&bytes), expected, "{kind} {tail:02x?}");
            assert_eq!(bench.endpoint.stats().malformed, 1, "{kind} {tail:02x?}");
            assert_eq!(bench.events(), []);
        }
    }
    // A code in a reset, a method in an acknowledgement.
    for bytes in [[0x70, 1, 0, 9], [0x60, 1, 0, 9]] {
        let mut bench = bench();
        assert_eq!(bench.raw(&bytes), []);
        assert_eq!(bench.endpoint.stats().malformed, 1);
    }
}

#[test]
fn m03_a_ping_is_answered_with_a_reset() {
    let mut bench = bench();
    assert_eq!(bench.ask(&empty(Type::Confirmable, 77)), empty(RST, 77));
    assert_eq!(bench.feed(&empty(Type::NonConfirmable, 78)), []);
    assert_eq!((bench.endpoint.stats().pings, bench.events()), (1, vec![]));
    // And the other way round.
    let handle = bench.endpoint.ping(bench.now, &PEER).unwrap();
    let ping = one(bench.sent());
    assert_eq!((ping.kind, ping.code), (Type::Confirmable, Code::EMPTY));
    assert_eq!(bench.feed(&empty(RST, ping.mid)), []);
    assert_eq!(bench.events(), [Event::Pong { handle }]);
    let handle = bench.endpoint.ping(bench.now, &PEER).unwrap();
    assert_eq!(bench.pass(100.0).len(), 5);
    assert_eq!(bench.events(), [Event::Failed { handle, peer: PEER, failure: Failure::TimedOut }]);
}

#[test]
fn m04_a_duplicate_con_gets_the_same_answer_and_runs_nothing() {
    let mut bench = bench();
    let post = con(Code::POST, 1, "/t").body(b"21");
    let first = bench.serve(&post, changed());
    assert_eq!((first.kind, first.mid, &first.token), (ACK, 1, &post.token));
    for _ in 0..3 {
        bench.pass(80.0);
        assert_eq!(bench.ask(&post), first);
        assert_eq!(bench.events(), []);
    }
    assert_eq!(bench.endpoint.stats().duplicates, 3);
    bench.pass(8.0);
    bench.request(&post);
}

#[test]
fn m04_a_peer_that_restarts_with_the_same_ids_is_heard() {
    let mut bench = bench();
    bench.serve(&con(Code::POST, 1, "/t").body(b"21"), changed());
    let again = con(Code::POST, 1, "/t").token(&[9]).body(b"22");
    let answer = bench.serve(&again, changed());
    assert_eq!(answer.token, again.token);
    assert_eq!(bench.endpoint.stats().mids_reused, 1);
    // The answer to a request of before the restart must not answer the one after it.
    let (old, _) = bench.request(&con(Code::POST, 2, "/t").body(b"23"));
    bench.request(&con(Code::POST, 2, "/t").body(b"24"));
    assert!(bench.endpoint.respond(bench.now, old, changed()).is_err());
    assert_eq!(bench.sent(), []);
}

#[test]
fn m05_a_duplicate_of_a_running_request_gets_an_empty_ack_at_most() {
    let mut bench = bench();
    let post = con(Code::POST, 1, "/t");
    let (id, _) = bench.request(&post);
    for _ in 0..3 {
        assert_eq!(bench.ask(&post), empty(ACK, 1));
    }
    assert_eq!(bench.events(), []);
    bench.endpoint.respond(bench.now, id, changed()).unwrap();
    let separate = one(bench.sent());
    assert_eq!((separate.kind, &separate.token), (Type::Confirmable, &post.token));
    assert_eq!(bench.ask(&post), empty(ACK, 1));
}

#[test]
fn m06_a_duplicate_non_is_dropped_for_non_lifetime() {
    let mut bench = bench();
    let post = non(Code::POST, 1, "/t");
    bench.serve(&post, changed());
    bench.pass(144.0);
    assert_eq!((bench.feed(&post), bench.events()), (vec![], vec![]));
    bench.pass(2.0);
    bench.request(&post);
}

#[test]
fn m07_a_session_keeps_its_memory_when_its_address_changes() {
    // The peer is the session: whatever address its datagrams come from, the caller names the same peer. Another peer with
    // the same message id is another matter.
    let mut bench = bench();
    let post = con(Code::POST, 1, "/t");
    let answer = bench.serve(&post, changed());
    assert_eq!(bench.ask(&post), answer);
    assert_eq!(bench.feed_from(2, &post), []);
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn m08_the_memory_of_duplicates_is_bounded() {
    let mut config = Config::default();
    config.limits.dedup_entries = 100;
    config.limits.dedup_entries_per_peer = 10;
    config.limits.dedup_bytes = 2_000;
    let mut bench = Bench::new(config);
    for peer in 0..50 {
        for mid in 0..20 {
            bench.feed_from(peer, &con(Code::POST, mid, "/t"));
            let (id, _) = bench.take_request();
            let response = changed().with_body(vec![b'x'; 100]);
            bench.endpoint.respond(bench.now, id, response).unwrap();
            bench.sent();
            let held = bench.endpoint.held();
            assert!(held.dedup_entries <= 100 && held.dedup_bytes <= 2_000, "{held:?}");
        }
    }
    assert!(bench.endpoint.stats().dedup_evicted >= 900);
    // The newest is there, the oldest of the same peer is not.
    assert_eq!(bench.feed_from(49, &con(Code::POST, 19, "/t")).len(), 1);
    assert_eq!(bench.feed_from(49, &con(Code::POST, 0, "/t")).len(), 0);
    assert_eq!(bench.events().len(), 1);
    bench.pass(250.0);
    assert_eq!(bench.endpoint.held().dedup_entries, 0);
}

#[test]
fn m09_our_con_is_sent_five_times_with_doubling_pauses() {
    let mut firsts = Vec::new();
    for seed in 0..40 {
        let mut bench = Bench::seeded(Config::default(), seed);
        let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
        let first = one(bench.sent());
        let sent = bench.pass(120.0);
        assert!(sent.len() == 4 && sent.iter().all(|(_, message)| *message == first), "{sent:?}");
        let t = sent[0].0;
        assert!((2.0..3.0).contains(&t), "{t}");
        for (index, factor) in [2.0, 4.0, 8.0].into_iter().enumerate() {
            let pause = sent[index + 1].0 - sent[index].0;
            assert!((pause - t * factor).abs() < 1e-3, "{sent:?}");
        }
        assert_eq!(bench.events(), [Event::Failed { handle, peer: PEER, failure: Failure::TimedOut }]);
        firsts.push((t * 1e6) as u64);
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert!(firsts.len() > 30, "the first pause is random: {firsts:?}");
}

#[test]
fn m09_ack_or_reset_of_that_peer_stops_retransmission() {
    for kind in [ACK, RST] {
        let mut bench = bench();
        let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
        let request = one(bench.sent());
        // Another peer, and another id: nothing to do with it.
        bench.feed_from(2, &empty(kind, request.mid));
        bench.feed(&empty(kind, request.mid.wrapping_add(1)));
        assert_eq!(bench.endpoint.stats().unexpected, 2);
        assert_eq!(bench.pass(3.0).len(), 1);
        bench.feed(&empty(kind, request.mid));
        assert_eq!(bench.pass(60.0), []);
        let reset = Event::Failed { handle, peer: PEER, failure: Failure::Reset };
        assert_eq!(bench.events(), if kind == RST { vec![reset] } else { vec![] });
    }
}

#[test]
fn m10_nstart_requests_per_peer_are_in_flight() {
    for nstart in [1, 3] {
        let mut config = Config::default();
        config.transmission.nstart = nstart;
        let mut bench = Bench::new(config);
        for index in 0..5 {
            bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, &format!("/{index}"))).unwrap();
        }
        let mut sent = bench.sent();
        assert_eq!(sent.len(), nstart);
        // Another peer does not wait.
        bench.endpoint.request(bench.now, 2, Request::new(Code::GET, "/x")).unwrap();
        assert_eq!(bench.sent().len(), 1);
        let mut order = Vec::new();
        while let Some(request) = sent.pop() {
            order.push(request.options.get(number::URI_PATH).cloned().unwrap());
            let next = bench.feed(&piggyback(&request, Code::CONTENT, "x"));
            assert!(next.len() <= 1);
            sent.extend(next);
        }
        assert_eq!(order.len(), 5);
    }
}

#[test]
fn m10_a_non_request_without_an_answer_keeps_its_place_as_long_as_probing_rate_says() {
    let mut bench = bench();
    for _ in 0..2 {
        let request = Request::new(Code::GET, "/a").non_confirmable();
        bench.endpoint.request(bench.now, PEER, request).unwrap();
    }
    let first = one(bench.sent());
    let (at, _) = one(bench.pass(60.0));
    let bytes = first.encode().len() as f64;
    assert!((at - bytes).abs() < 1e-6, "{bytes} bytes at 1 byte per second, but {at} s");
}

#[test]
fn m10_the_queue_is_bounded() {
    let mut bench = bench();
    let sent = (0..200)
        .filter(|_| bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).is_ok())
        .count();
    assert_eq!(sent, bench.endpoint.config().limits.queue_per_peer + 1);
    assert_eq!(bench.endpoint.held().requests, sent);
}

#[test]
fn m10_what_is_forgotten_before_its_turn_is_not_sent() {
    let mut bench = bench();
    let send =
        |bench: &mut Bench| bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let (_, second, _) = (send(&mut bench), send(&mut bench), send(&mut bench));
    let first = one(bench.sent());
    bench.endpoint.forget(bench.now, second);
    assert_eq!(bench.endpoint.held().queued, 1);
    let third = one(bench.feed(&piggyback(&first, Code::CONTENT, "x")));
    assert_eq!(bench.feed(&piggyback(&third, Code::CONTENT, "x")), []);
    assert_eq!(bench.events().len(), 2);
}

#[test]
fn m11_a_slow_answer_is_a_separate_response() {
    let mut bench = bench();
    let get = con(Code::GET, 1, "/separate");
    let (id, _) = bench.request(&get);
    let (at, ack) = one(bench.pass(5.0));
    assert_eq!((at, &ack), (1.0, &empty(ACK, 1)));
    assert_eq!(bench.ask(&get), ack);
    bench.endpoint.respond(bench.now, id, Response::content(0, "late")).unwrap();
    let separate = one(bench.sent());
    assert_eq!((separate.kind, separate.code), (Type::Confirmable, Code::CONTENT));
    assert_eq!((&separate.token, separate.payload.as_ref()), (&get.token, &b"late"[..]));
    assert_eq!(bench.pass(3.0).len(), 1);
    assert_eq!(bench.feed(&empty(ACK, separate.mid)), []);
    assert_eq!(bench.pass(100.0), []);
}

#[test]
fn m11_a_reset_stops_a_separate_response() {
    let mut bench = bench();
    let (id, _) = bench.request(&con(Code::GET, 1, "/separate"));
    bench.pass(2.0);
    bench.endpoint.respond(bench.now, id, Response::content(0, "late")).unwrap();
    let separate = one(bench.sent());
    assert_eq!(bench.feed(&empty(RST, separate.mid)), []);
    assert_eq!(bench.pass(100.0), []);
}

#[test]
fn m11_a_request_that_is_never_answered_is_forgotten() {
    let mut bench = bench();
    let (id, _) = bench.request(&con(Code::GET, 1, "/separate"));
    bench.pass(94.0);
    assert!(bench.endpoint.respond(bench.now, id, changed()).is_err());
    assert_eq!((bench.endpoint.stats().unanswered, bench.endpoint.held().pending), (1, 0));
}

#[test]
fn m12_a_separate_response_before_the_ack_is_an_ack() {
    let mut bench = bench();
    let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let request = one(bench.sent());
    let separate = response_to(&request, Type::Confirmable, 500, Code::CONTENT, "x");
    assert_eq!(bench.ask(&separate), empty(ACK, 500));
    let response = Response::new(Code::CONTENT).with_body("x");
    assert_eq!(bench.events(), [Event::Response { handle, peer: PEER, response, observing: false }]);
    assert_eq!(bench.feed(&empty(ACK, request.mid)), []);
    assert_eq!(bench.pass(100.0), []);
    // The response comes again because our acknowledgement was lost: acknowledged again, told once.
    assert_eq!((bench.ask(&separate), bench.events()), (empty(ACK, 500), vec![]));
}

#[test]
fn m12_a_separate_response_after_the_ack() {
    let mut bench = bench();
    bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let request = one(bench.sent());
    bench.feed(&empty(ACK, request.mid));
    assert_eq!(bench.pass(50.0), []);
    bench.feed(&response_to(&request, Type::NonConfirmable, 500, Code::CONTENT, "x"));
    assert!(matches!(bench.events()[..], [Event::Response { .. }]));
    // And when none comes, the request fails.
    let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/b")).unwrap();
    let request = one(bench.sent());
    bench.feed(&empty(ACK, request.mid));
    bench.pass(94.0);
    assert_eq!(bench.events(), [Event::Failed { handle, peer: PEER, failure: Failure::TimedOut }]);
    assert_eq!(bench.endpoint.held().tokens, 0);
}

#[test]
fn m13_a_non_request_gets_a_non_response_and_no_ack() {
    let mut bench = bench();
    let get = non(Code::GET, 1, "/a");
    let (id, _) = bench.request(&get);
    assert_eq!(bench.pass(10.0), []);
    bench.endpoint.respond(bench.now, id, Response::content(0, "x")).unwrap();
    let response = one(bench.sent());
    assert_eq!((response.kind, &response.token), (Type::NonConfirmable, &get.token));
    assert_eq!(bench.pass(100.0), []);
}

#[test]
fn m14_what_belongs_to_nothing_is_ignored_or_reset() {
    let mut bench = bench();
    for kind in [ACK, RST] {
        assert_eq!(bench.feed(&empty(kind, 5)), []);
    }
    let stray = con(Code::CONTENT, 6, "");
    assert_eq!(bench.feed(&Message { kind: ACK, ..stray.clone() }), []);
    assert_eq!(bench.endpoint.stats().unexpected, 3);
    assert_eq!(bench.ask(&stray), empty(RST, 6));
    assert_eq!(bench.feed(&Message { kind: Type::NonConfirmable, mid: 7, ..stray.clone() }), []);
    assert_eq!(bench.endpoint.stats().unmatched, 2);
    // A response with the right id and a wrong token is no answer.
    bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let request = one(bench.sent());
    bench.feed(&piggyback(&request, Code::CONTENT, "x").token(b"wrong"));
    // Nor is one from another peer.
    bench.feed_from(2, &response_to(&request, Type::NonConfirmable, 8, Code::CONTENT, "x"));
    assert_eq!(bench.events(), []);
    assert_eq!(bench.pass(3.0).len(), 1);
}

#[test]
fn m15_message_ids_are_not_used_twice_within_exchange_lifetime() {
    let mut bench = bench();
    let mut seen = HashSet::new();
    for round in 0..70_000_u32 {
        let get = non(Code::GET, round as u16, "/a").token(&round.to_be_bytes());
        bench.feed(&get);
        let (id, _) = bench.take_request();
        bench.endpoint.respond(bench.now, id, changed()).unwrap();
        for response in bench.sent() {
            assert!(seen.insert(response.mid), "id {} twice", response.mid);
        }
    }
    assert_eq!(seen.len(), 65_536);
    let held = bench.endpoint.held();
    assert_eq!(held.queued, bench.endpoint.config().limits.queue_per_peer);
    assert_eq!(bench.endpoint.stats().dropped, 70_000 - 65_536 - held.queued as u64);
    // What waited leaves when ids are free again.
    let late = bench.pass(500.0);
    assert_eq!(late.len(), held.queued);
    assert!(late.iter().all(|(at, _)| *at >= 247.0));
}

#[test]
fn m15_message_ids_begin_at_random() {
    let mut starts = HashSet::new();
    let mut bench = bench();
    for peer in 0..50 {
        bench.endpoint.request(bench.now, peer, Request::new(Code::GET, "/a")).unwrap();
        starts.insert(one(bench.sent()).mid);
    }
    assert!(starts.len() > 45, "{starts:?}");
}

#[test]
fn m16_tokens_are_echoed_and_ours_are_random() {
    let mut bench = bench();
    for length in 0..=8 {
        let token: Vec<u8> = (0..length).map(|byte| byte as u8 ^ 0xa5).collect();
        let get = con(Code::GET, length, "/a").token(&token);
        assert_eq!(bench.serve(&get, changed()).token.as_bytes(), token);
    }
    let mut tokens = HashSet::new();
    for peer in 100..300 {
        bench.endpoint.request(bench.now, peer, Request::new(Code::GET, "/a")).unwrap();
        let token = one(bench.sent()).token;
        assert!(token.as_bytes().len() >= 4);
        assert!(tokens.insert(token));
    }
}

#[test]
fn m17_extended_tokens_are_taken_when_enabled_and_else_reset() {
    let extended = |length: usize| con(Code::GET, 3, "/a").token(&vec![0x5a; length]);
    let mut strict = bench();
    for length in [9, 13, 268, 269, 1000] {
        assert_eq!(strict.ask(&extended(length)), empty(RST, 3));
    }
    let tokens = Tokens { max: 300, ..Tokens::default() };
    let mut open = Bench::new(Config { tokens, ..Config::default() });
    for (mid, length) in [9, 12, 13, 268, 269, 300].into_iter().enumerate() {
        let get = Message { mid: mid as u16, ..extended(length) };
        assert_eq!(open.serve(&get, changed()).token, get.token);
    }
    assert_eq!(open.ask(&Message { mid: 900, ..extended(301) }), empty(RST, 900));
}

#[test]
fn m18_unreachable_fails_what_is_pending_and_nothing_else() {
    let mut bench = bench();
    let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let waiting = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/b")).unwrap();
    let other = bench.endpoint.request(bench.now, 2, Request::new(Code::GET, "/a")).unwrap();
    bench.sent();
    bench.endpoint.handle_unreachable(bench.now, &PEER);
    let failed: Vec<_> = bench.events();
    for handle in [handle, waiting] {
        let event = Event::Failed { handle, peer: PEER, failure: Failure::Unreachable };
        assert_eq!(failed.iter().filter(|other| **other == event).count(), 1);
    }
    assert_eq!(failed.len(), 2);
    assert_ne!(other, handle);
    assert_eq!(bench.endpoint.held().requests, 1);
    // The endpoint goes on, also with that peer.
    bench.serve(&con(Code::POST, 1, "/t"), changed());
    bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/c")).unwrap();
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn m19_a_datagram_over_the_buffer_gets_4_13_with_a_hint() {
    let mut bench = bench();
    let put = con(Code::PUT, 1, "/large").body(&[b'x'; 3000]).encode();
    bench.endpoint.handle_truncated(bench.now, PEER, &put[..1500]);
    let answer = one(bench.sent());
    assert_eq!((answer.kind, answer.code, answer.mid), (ACK, Code::REQUEST_ENTITY_TOO_LARGE, 1));
    let hint = Block::of(&answer.options, number::BLOCK1).unwrap().unwrap();
    assert_eq!((hint.num, hint.szx), (0, Szx::MAX));
    assert_eq!(answer.options.uint(number::SIZE1), Some(1 << 20));
    // Cut off within the options: a format error. A response: refused.
    bench.endpoint.handle_truncated(bench.now, PEER, &put[..6]);
    assert_eq!(one(bench.sent()).kind, RST);
    bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let request = one(bench.sent());
    let response = response_to(&request, Type::Confirmable, 9, Code::CONTENT, "half");
    bench.endpoint.handle_truncated(bench.now, PEER, &response.encode());
    assert_eq!(one(bench.sent()), empty(RST, 9));
    assert_eq!((bench.events(), bench.endpoint.stats().truncated), (vec![], 3));
}

#[test]
fn too_many_requests_of_one_peer_get_5_03() {
    let mut config = Config::default();
    config.limits.pending_per_peer = 3;
    config.limits.pending = 5;
    let mut bench = Bench::new(config);
    for mid in 0..3 {
        bench.request(&con(Code::POST, mid, "/t"));
    }
    let refused = bench.ask(&con(Code::POST, 3, "/t"));
    assert_eq!((refused.code, refused.options.uint(number::MAX_AGE)), (Code::SERVICE_UNAVAILABLE, Some(5)));
    for peer in 2..4 {
        assert_eq!(bench.feed_from(peer, &con(Code::POST, 0, "/t")), []);
    }
    assert_eq!(one(bench.feed_from(4, &con(Code::POST, 0, "/t"))).code, Code::SERVICE_UNAVAILABLE);
    assert_eq!(bench.endpoint.stats().overloaded, 2);
}

#[test]
fn an_idle_endpoint_holds_nothing() {
    let mut bench = bench();
    for peer in 0..100 {
        bench.feed_from(peer, &non(Code::GET, 1, "/a"));
        let (id, _) = bench.take_request();
        bench.endpoint.respond(bench.now, id, changed()).unwrap();
        bench.endpoint.request(bench.now, peer, Request::new(Code::GET, "/a")).unwrap();
    }
    bench.sent();
    bench.pass(Duration::from_secs(1000).as_secs_f64());
    bench.events();
    assert_eq!(bench.endpoint.held(), Default::default());
    assert_eq!(bench.endpoint.next_timeout(), None);
}
