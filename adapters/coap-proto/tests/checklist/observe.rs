//! S1 to S10: observation, as the observed and as the observer (RFC 7641).

use std::time::Duration;

use coap_proto::{
    Code, Config, Ended, Event, Failure, Handle, Instead, Message, ObservationId, Request, Response, Type,
    Unverified, number,
};

use super::bench::*;

const TEXT: u16 = 0;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn state(text: &str) -> Response {
    Response::content(TEXT, text.to_owned())
}

fn register(mid: u16, uri: &str) -> Message {
    con(Code::GET, mid, uri).uint(number::OBSERVE, 0)
}

/// Registers, and gives the answer.
#[track_caller]
fn observe(bench: &mut Bench, message: &Message) -> (ObservationId, Message) {
    let (id, _) = bench.request(message);
    let observation = bench.endpoint.respond_observing(bench.now, id, state("first")).unwrap();
    (observation.expect("not taken"), one(bench.sent()))
}

#[track_caller]
fn notify(bench: &mut Bench, id: ObservationId, text: &str, confirmable: bool) -> Vec<Message> {
    bench.endpoint.notify(bench.now, id, state(text), confirmable).unwrap();
    bench.sent()
}

#[track_caller]
fn ended(bench: &mut Bench) -> (ObservationId, Ended) {
    match bench.events()[..] {
        [Event::ObservationEnded { id, reason, peer: PEER }] => (id, reason),
        ref other => panic!("no end, but {other:?}"),
    }
}

fn sequence(message: &Message) -> u32 {
    message.options.uint(number::OBSERVE).expect("no Observe option")
}

/// Whether a sequence number is newer (RFC 7641 section 3.4), written down once more.
fn newer(new: u32, old: u32) -> bool {
    (old < new && new - old < 1 << 23) || (old > new && old - new > 1 << 23)
}

#[test]
fn s01_a_get_with_observe_0_registers() {
    let mut bench = bench();
    let get = register(1, "/obs");
    let (id, answer) = observe(&mut bench, &get);
    assert_eq!((answer.kind, answer.code), (Type::Acknowledgement, Code::CONTENT));
    let news = one(notify(&mut bench, id, "second", false));
    assert_eq!(
        (news.kind, &news.token, news.payload.as_ref()),
        (Type::NonConfirmable, &get.token, &b"second"[..])
    );
    assert!(newer(sequence(&news), sequence(&answer)));
    // Not taken on by the application, not observable methods, errors: no Observe option.
    for (message, response) in [
        (register(2, "/a"), None),
        (con(Code::PUT, 3, "/a").uint(number::OBSERVE, 0), Some(Response::new(Code::CHANGED))),
        (register(4, "/a"), Some(Response::error(Code::NOT_FOUND, ""))),
        (con(Code::GET, 5, "/a").uint(number::OBSERVE, 7), Some(state("x"))),
    ] {
        let (id, _) = bench.request(&message);
        match response {
            None => bench.endpoint.respond(bench.now, id, state("x")).unwrap(),
            Some(response) => {
                assert_eq!(bench.endpoint.respond_observing(bench.now, id, response), Ok(None));
            }
        }
        assert!(!one(bench.sent()).options.has(number::OBSERVE));
    }
    assert_eq!(bench.endpoint.held().observers, 1);
}

#[test]
fn s02_the_same_token_refreshes_and_another_is_another() {
    let mut bench = bench();
    let (first, answer) = observe(&mut bench, &register(1, "/obs").token(b"a"));
    let (second, again) = observe(&mut bench, &register(2, "/obs").token(b"a"));
    assert_eq!(ended(&mut bench), (first, Ended::Replaced));
    assert!(newer(sequence(&again), sequence(&answer)));
    let (third, _) = observe(&mut bench, &register(3, "/obs").token(b"b"));
    assert_eq!(bench.endpoint.held().observers, 2);
    assert!(bench.endpoint.is_observing(second) && bench.endpoint.is_observing(third));
    assert!(bench.endpoint.notify(bench.now, first, state("x"), false).is_err());
    // Another peer with the same token is another, too.
    bench.feed_from(2, &register(1, "/obs").token(b"a"));
    let (id, _) = bench.take_request();
    assert!(bench.endpoint.respond_observing(bench.now, id, state("x")).unwrap().is_some());
    assert_eq!(bench.endpoint.held().observers, 3);
}

#[test]
fn s03_sequence_numbers_grow_within_24_bits() {
    let mut bench = bench();
    let (id, answer) = observe(&mut bench, &register(1, "/obs"));
    let mut last = sequence(&answer);
    let mut largest = last;
    let mut wrapped = 0;
    for round in 0..3_000_u32 {
        let news = one(notify(&mut bench, id, "x", false));
        let next = sequence(&news);
        assert!(next < 1 << 24);
        assert!(newer(next, last), "round {round}: {next} after {last}");
        wrapped += u32::from(next < last);
        (last, largest) = (next, largest.max(next));
        // Bursts, and pauses below the 128 s after which order does not matter.
        bench.pass(if round % 3 == 0 { 0.0 } else { 20.0 });
    }
    assert!(wrapped >= 2, "the test is to cross the border; the largest was {largest}");
}

/// Our endpoint as an observer: the handle and its registration.
#[track_caller]
fn observing(bench: &mut Bench) -> (Handle, Message) {
    let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/obs").observe()).unwrap();
    let registration = one(bench.sent());
    assert_eq!(registration.options.uint(number::OBSERVE), Some(0));
    bench.feed(&piggyback(&registration, Code::CONTENT, "0").uint(number::OBSERVE, 10));
    assert!(matches!(bench.events()[..], [Event::Response { observing: true, .. }]));
    (handle, registration)
}

fn notification(registration: &Message, mid: u16, sequence: u32, text: &str) -> Message {
    response_to(registration, Type::NonConfirmable, mid, Code::CONTENT, text).uint(number::OBSERVE, sequence)
}

#[test]
fn s04_a_late_notification_is_counted_and_not_told() {
    let mut bench = bench();
    let (_, registration) = observing(&mut bench);
    let mut mid = 0;
    let mut told = |bench: &mut Bench, sequence: u32| {
        mid += 1;
        assert_eq!(bench.feed(&notification(&registration, mid, sequence, "x")), []);
        !bench.events().is_empty()
    };
    assert!(told(&mut bench, 12));
    assert!(!told(&mut bench, 11));
    assert!(!told(&mut bench, 12));
    assert!(told(&mut bench, 13));
    assert_eq!(bench.endpoint.stats().notifications_late, 2);
    // Around the circle.
    assert!(told(&mut bench, 13 + (1 << 23) - 1));
    assert!(told(&mut bench, 5));
    assert!(!told(&mut bench, (1 << 24) - 1));
    // After 128 s every one is newer.
    bench.pass(129.0);
    assert!(told(&mut bench, 3));
    // A confirmable late one is acknowledged all the same.
    let late = Message { kind: Type::Confirmable, ..notification(&registration, 99, 2, "x") };
    assert_eq!((bench.ask(&late), bench.events()), (empty(Type::Acknowledgement, 99), vec![]));
}

#[test]
fn s04_a_duplicate_notification_is_told_once() {
    let mut bench = bench();
    let (_, registration) = observing(&mut bench);
    let news = notification(&registration, 1, 11, "x");
    bench.feed(&news);
    bench.feed(&news);
    assert_eq!((bench.events().len(), bench.endpoint.stats().notifications_late), (1, 0));
}

#[test]
fn s04_an_observer_hears_when_nothing_comes() {
    let mut bench = bench();
    let (handle, registration) = observing(&mut bench);
    bench.feed(&notification(&registration, 1, 11, "x").uint(number::MAX_AGE, 5));
    bench.events();
    bench.pass(104.0);
    assert_eq!(bench.events(), []);
    bench.pass(2.0);
    assert_eq!(bench.events(), [Event::Stale { handle }]);
    bench.feed(&notification(&registration, 2, 12, "x"));
    assert!(matches!(bench.events()[..], [Event::Notification { observing: true, .. }]));
}

#[test]
fn s05_one_notification_a_day_is_confirmable() {
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs"));
    let mut kinds = Vec::new();
    for _ in 0..50 {
        bench.pass(3600.0);
        for message in notify(&mut bench, id, "x", false) {
            kinds.push(message.kind);
            if message.kind == Type::Confirmable {
                bench.feed(&empty(Type::Acknowledgement, message.mid));
            }
        }
    }
    let at: Vec<usize> = (0..50).filter(|hour| kinds[*hour] == Type::Confirmable).collect();
    assert_eq!(at, [23, 47]);
}

#[test]
fn s05_without_an_acknowledgement_the_observer_is_gone() {
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs"));
    assert_eq!(notify(&mut bench, id, "x", true).len(), 1);
    assert_eq!(bench.pass(100.0).len(), 4);
    assert_eq!(ended(&mut bench), (id, Ended::TimedOut));
    assert_eq!(bench.endpoint.held().observers, 0);
}

#[test]
fn s05_the_latest_state_wins_while_one_is_in_flight() {
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs"));
    let first = one(notify(&mut bench, id, "1", true));
    for text in ["2", "3", "4"] {
        assert_eq!(notify(&mut bench, id, text, false), []);
    }
    let latest = one(bench.feed(&empty(Type::Acknowledgement, first.mid)));
    assert_eq!(bench.events(), [Event::Acknowledged { id }]);
    assert_eq!((latest.payload.as_ref(), latest.kind), (&b"4"[..], Type::NonConfirmable));
    assert!(newer(sequence(&latest), sequence(&first)));
    assert_eq!(bench.endpoint.stats().notifications_merged, 2);
    assert_eq!(bench.pass(100.0), []);
}

#[test]
fn s05_a_retransmission_carries_the_latest_state_and_the_attempts_go_on() {
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs"));
    let first = one(notify(&mut bench, id, "1", true));
    notify(&mut bench, id, "2", true);
    let (_, second) = one(bench.pass(3.0));
    assert_eq!((second.payload.as_ref(), second.kind), (&b"2"[..], Type::Confirmable));
    assert_ne!(second.mid, first.mid);
    assert!(newer(sequence(&second), sequence(&first)));
    // The acknowledgement of the old one says nothing about the new one.
    bench.feed(&empty(Type::Acknowledgement, first.mid));
    let rest = bench.pass(100.0);
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|(_, message)| *message == second));
    assert_eq!(ended(&mut bench), (id, Ended::TimedOut));
}

#[test]
fn s06_observe_1_a_plain_get_and_a_reset_cancel() {
    for how in ["observe 1", "plain get", "reset of con", "reset of non", "reset of an older non"] {
        let mut bench = bench();
        let (id, _) = observe(&mut bench, &register(1, "/obs").token(b"a"));
        let reason = match how {
            "observe 1" | "plain get" => {
                let get = con(Code::GET, 2, "/obs").token(b"a");
                let get = if how == "observe 1" { get.uint(number::OBSERVE, 1) } else { get };
                bench.feed(&get);
                Ended::Cancelled
            }
            "reset of con" => {
                let news = one(notify(&mut bench, id, "x", true));
                bench.feed(&empty(Type::Reset, news.mid));
                Ended::Reset
            }
            _ => {
                let news = one(notify(&mut bench, id, "x", false));
                if how == "reset of an older non" {
                    notify(&mut bench, id, "y", false);
                }
                bench.feed_from(2, &empty(Type::Reset, news.mid));
                assert!(bench.endpoint.is_observing(id), "another peer has no say");
                bench.feed(&empty(Type::Reset, news.mid));
                Ended::Reset
            }
        };
        let events = bench.events();
        let end = Event::ObservationEnded { id, peer: PEER, reason };
        assert!(events.contains(&end), "{how}: {events:?}");
        assert!(bench.endpoint.notify(bench.now, id, state("x"), false).is_err());
        assert_eq!(
            bench.pass(100.0).iter().filter(|(_, message)| message.code != Code::EMPTY).count(),
            0,
            "{how}"
        );
    }
    // What is on its way to an observer that cancels is not sent again.
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs").token(b"a"));
    notify(&mut bench, id, "x", true);
    bench.feed(&con(Code::GET, 2, "/obs").token(b"a").uint(number::OBSERVE, 1));
    let [Event::ObservationEnded { .. }, Event::Request { id: get, .. }] = bench.events()[..] else {
        panic!("not cancelled")
    };
    bench.endpoint.respond(bench.now, get, state("x")).unwrap();
    assert_eq!((bench.sent().len(), bench.pass(100.0)), (1, vec![]));
    // A GET with another token does not (TD_COAP_OBS_11).
    let mut bench = Bench::new(Config::default());
    let (id, _) = observe(&mut bench, &register(1, "/obs").token(b"a"));
    bench.feed(&con(Code::GET, 2, "/obs").token(b"b"));
    assert!(bench.endpoint.is_observing(id));
}

#[test]
fn s06_our_client_deregisters_or_forgets() {
    let mut bench = bench();
    let (handle, registration) = observing(&mut bench);
    bench.endpoint.deregister(bench.now, handle).unwrap();
    let cancel = one(bench.sent());
    assert_eq!((cancel.options.uint(number::OBSERVE), &cancel.token), (Some(1), &registration.token));
    bench.feed(&piggyback(&cancel, Code::CONTENT, "last"));
    let events = bench.events();
    assert!(matches!(
        &events[..],
        [Event::Notification { observing: false, .. }] | [Event::Response { observing: false, .. }]
    ));
    assert_eq!((bench.endpoint.held().requests, bench.endpoint.held().tokens), (0, 0));
    assert!(bench.endpoint.deregister(bench.now, handle).is_err());
    // Forgotten: the next notification is refused, confirmable or not.
    let (handle, registration) = observing(&mut bench);
    bench.endpoint.forget(bench.now, handle);
    let held = bench.endpoint.held();
    assert_eq!((held.requests, held.tokens, held.timers), (0, 0, held.peers));
    assert_eq!(bench.ask(&notification(&registration, 1, 11, "x")), empty(Type::Reset, 1));
    let news = Message { kind: Type::Confirmable, ..notification(&registration, 2, 12, "x") };
    assert_eq!(bench.ask(&news), empty(Type::Reset, 2));
    assert_eq!(bench.events(), []);
}

#[test]
fn s07_an_error_ends_the_observation() {
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs"));
    bench.endpoint.notify(bench.now, id, Response::error(Code::NOT_FOUND, "deleted"), false).unwrap();
    let gone = one(bench.sent());
    assert_eq!(
        (gone.code, gone.kind, gone.options.has(number::OBSERVE)),
        (Code::NOT_FOUND, Type::Confirmable, false)
    );
    assert_eq!(ended(&mut bench), (id, Ended::Error));
    // It is sent until it is acknowledged.
    assert_eq!(bench.pass(3.0).len(), 1);
    bench.feed(&empty(Type::Acknowledgement, gone.mid));
    assert_eq!(bench.pass(100.0), []);
    // And as the observer.
    let (handle, registration) = observing(&mut bench);
    bench.feed(&response_to(&registration, Type::NonConfirmable, 5, Code::NOT_FOUND, ""));
    let events = bench.events();
    assert!(
        matches!(&events[..], [Event::Notification { handle: of, observing: false, .. }] if *of == handle)
    );
    let held = bench.endpoint.held();
    assert_eq!((held.requests, held.tokens, held.timers), (0, 0, held.peers));
}

#[test]
fn s08_another_content_format_ends_the_observation() {
    let mut bench = bench();
    let (id, _) = observe(&mut bench, &register(1, "/obs"));
    bench.endpoint.notify(bench.now, id, Response::content(50, "{}"), false).unwrap();
    assert_eq!(one(bench.sent()).code, Code::NOT_ACCEPTABLE);
    assert_eq!(ended(&mut bench), (id, Ended::Error));
}

#[test]
fn s09_a_fetch_can_observe() {
    let mut config = Config::default();
    config.blockwise.size = coap_proto::Szx::fitting(64);
    let mut bench = Bench::new(config);
    let fetch = con(Code::FETCH, 1, "/").uint(number::CONTENT_FORMAT, 112).uint(number::OBSERVE, 0);
    let (id, request) = bench.request(&fetch.clone().body(b"[/3/0/9]"));
    assert_eq!(request.body, "[/3/0/9]");
    let id = bench.endpoint.respond_observing(bench.now, id, state("1")).unwrap().unwrap();
    assert!(one(bench.sent()).options.has(number::OBSERVE));
    bench.endpoint.notify(bench.now, id, Response::content(TEXT, "2".repeat(100)), false).unwrap();
    let news = one(bench.sent());
    assert_eq!(news.token, fetch.token);
    // The rest, with the question repeated or left out.
    for (mid, body) in [(2, &b"[/3/0/9]"[..]), (3, b"")] {
        let rest =
            con(Code::FETCH, mid, "/").uint(number::CONTENT_FORMAT, 112).uint(number::BLOCK2, 1 << 4 | 2);
        assert_eq!(bench.ask(&rest.body(body)).payload.as_ref(), "2".repeat(36).as_bytes());
    }
    assert!(bench.endpoint.is_observing(id));
    // As the observer.
    let request = Request::new(Code::FETCH, "/").with_body(112, "[/3]").observe();
    bench.endpoint.request(bench.now, PEER, request).unwrap();
    let registration = one(bench.sent());
    assert_eq!((registration.code, registration.payload.as_ref()), (Code::FETCH, &b"[/3]"[..]));
    bench.feed(&piggyback(&registration, Code::CONTENT, "0").uint(number::OBSERVE, 1));
    assert!(matches!(bench.events()[..], [Event::Response { observing: true, .. }]));
}

#[test]
fn s10_observers_are_bounded_and_go_with_their_session() {
    let mut config = Config::default();
    config.limits.observers = 5;
    config.limits.observers_per_peer = 3;
    let mut bench = Bench::new(config);
    let mut taken = Vec::new();
    for peer in 1..4 {
        for mid in 0..4 {
            bench.feed_from(peer, &register(mid, "/obs"));
            let (id, _) = bench.take_request();
            let observation = bench.endpoint.respond_observing(bench.now, id, state("x")).unwrap();
            let answer = one(bench.sent());
            assert_eq!(answer.options.has(number::OBSERVE), observation.is_some());
            taken.extend(observation.map(|id| (peer, id)));
        }
    }
    assert_eq!(taken.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [1, 1, 1, 2, 2]);
    notify(&mut bench, taken[0].1, "x", true);
    bench.endpoint.forget_peer(bench.now, &1);
    assert!(!bench.endpoint.is_observing(taken[0].1) && bench.endpoint.is_observing(taken[3].1));
    assert!(matches!(
        bench.events()[..],
        [Event::ObservationEnded { reason: Ended::Replaced, peer: 1, .. }, _, _]
    ));
    assert_eq!((bench.endpoint.held().observers, bench.pass(100.0)), (2, vec![]));
}

#[test]
fn s10_our_observations_are_bounded_and_fail_with_their_peer() {
    let mut config = Config::default();
    config.limits.requests_per_peer = 2;
    let mut bench = Bench::new(config);
    let (first, _) = observing(&mut bench);
    let (second, _) = observing(&mut bench);
    assert!(bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/obs").observe()).is_err());
    bench.endpoint.forget_peer(bench.now, &PEER);
    let failed = |handle| Event::Failed { handle, peer: PEER, failure: Failure::Unreachable };
    assert_eq!(bench.events(), [failed(first), failed(second)]);
    assert_eq!(bench.endpoint.held(), Default::default());
}

#[test]
fn an_unverified_peer_must_show_itself_before_it_observes() {
    let policy = Unverified { instead: Instead::Echo, ..Unverified::default() };
    let mut bench = Bench::new(Config { unverified: Some(policy), ..Config::default() });
    let (id, _) = bench.request(&register(1, "/obs"));
    assert_eq!(bench.endpoint.respond_observing(bench.now, id, state("x")), Ok(None));
    let challenge = one(bench.sent());
    assert_eq!(challenge.code, Code::UNAUTHORIZED);
    let echo = challenge.options.get(number::ECHO).cloned().unwrap();
    bench.pass(Duration::from_secs(1).as_secs_f64());
    observe(&mut bench, &register(2, "/obs").with(number::ECHO, &echo));
}
