//! The rest of the checklist: discovery with filters, groups, amplification, rates (RFC 7252 sections 8 and 11.3, RFC 6690).

use coap_proto::link_format::{LINK_FORMAT, Link};
use coap_proto::{Block, Code, Config, Event, Instead, Message, Rate, Response, Type, Unverified, number};

use super::bench::*;

fn links() -> Vec<Link> {
    vec![
        Link { rt: vec!["core.t".into(), "x".into()], ct: vec![50], ..Link::new("/t") },
        Link { interfaces: vec!["core.a".into()], observable: true, ..Link::new("/commands") },
        Link { sz: Some(2_000), title: Some("time".into()), ..Link::new("/time") },
    ]
}

fn discovery(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    bench.endpoint.set_links(links());
    bench
}

fn unverified(instead: Instead) -> Config {
    Config { unverified: Some(Unverified { instead, ..Unverified::default() }), ..Config::default() }
}

fn core(mid: u16, query: &str) -> Message {
    con(Code::GET, mid, &format!("/.well-known/core{query}"))
}

#[test]
fn well_known_core_is_answered_with_filters() {
    let mut bench = discovery(Config::default());
    let all = bench.ask(&core(1, ""));
    assert_eq!(
        (all.code, all.options.uint(number::CONTENT_FORMAT)),
        (Code::CONTENT, Some(u32::from(LINK_FORMAT)))
    );
    let time = r#"</time>;sz=2000;title="time""#;
    let text = format!(r#"</t>;rt="core.t x";ct=50,</commands>;if="core.a";obs,{time}"#);
    assert_eq!(all.payload, text);
    let cases = [
        ("?rt=x", vec!["/t"]),
        ("?rt=core.*", vec!["/t"]),
        ("?rt=*", vec!["/t"]),
        ("?if=core.a", vec!["/commands"]),
        ("?sz=2000", vec!["/time"]),
        ("?href=/t*", vec!["/t", "/time"]),
        ("?href=/t", vec!["/t"]),
        ("?href=/t*&sz=*", vec!["/time"]),
        ("?rt=none", vec![]),
    ];
    for (mid, (query, expected)) in (10..).zip(cases) {
        let answer = bench.ask(&core(mid, query));
        let text = std::str::from_utf8(&answer.payload).unwrap();
        let found: Vec<&str> =
            text.split('<').filter_map(|part| part.split_once('>')).map(|(target, _)| target).collect();
        assert_eq!((answer.code, found), (Code::CONTENT, expected), "{query}");
    }
    assert_eq!(bench.ask(&core(30, "").uint(number::ACCEPT, 50)).code, Code::NOT_ACCEPTABLE);
    assert_eq!(bench.events(), []);
    // In blocks, when that is asked for.
    let first = bench.ask(&core(31, "").uint(number::BLOCK2, 0));
    assert_eq!(first.payload, &text[..16]);
    assert_eq!(bench.ask(&core(32, "").uint(number::BLOCK2, 1 << 4)).payload, &text[16..32]);
    // Other methods, and an application that answers itself.
    bench.request(&con(Code::PUT, 33, "/.well-known/core"));
    Bench::new(Config::default()).request(&core(1, ""));
}

#[test]
fn well_known_core_is_not_shown_to_unverified_addresses() {
    let mut bench = discovery(unverified(Instead::Echo));
    let challenge = bench.ask(&core(1, "?rt=none"));
    assert_eq!((challenge.code, challenge.payload.len()), (Code::UNAUTHORIZED, 0));
    let echo = challenge.options.get(number::ECHO).cloned().unwrap();
    assert_eq!(bench.ask(&core(2, "").with(number::ECHO, &echo)).code, Code::CONTENT);
    assert_eq!(bench.endpoint.stats().challenged, 1);
}

#[test]
fn amplification_is_at_most_threefold_without_echo_too() {
    let mut bench = discovery(unverified(Instead::SmallBlocks));
    let mut mid = 0;
    for length in [10, 40, 100, 1000, 5000] {
        for padding in [0, 10, 60, 200] {
            mid += 1;
            let get = con(Code::GET, mid, &format!("/large?{}", "x".repeat(padding)));
            let answer = bench.serve(&get, Response::content(0, vec![b'x'; length]));
            let (asked, said) = (get.encode().len(), answer.encode().len());
            let smallest = answer.payload.len() == 16;
            assert!(said <= 3 * asked || smallest, "{said} bytes for {asked}");
            let more = Block::of(&answer.options, number::BLOCK2).unwrap().is_some_and(|block| block.more);
            assert_eq!(more, answer.payload.len() < length);
        }
    }
    // Texts of errors are left out before a peer gets too much.
    let short = con(Code::GET, 100, "").token(b"");
    let refused = bench.serve(&short, Response::error(Code::NOT_FOUND, "there is no such resource here"));
    assert_eq!((refused.code, refused.payload.len()), (Code::NOT_FOUND, 0));
}

#[test]
fn amplification_is_not_a_matter_of_repetition() {
    // A separate response goes to a known peer until it is acknowledged; to an unverified one as long as all of it, with the
    // empty acknowledgement before it, is three times its request at most.
    let ask = con(Code::GET, 1, "/slow");
    let asked = ask.encode().len();
    let trusting = Config::default;
    for (config, body, copies) in [
        (unverified(Instead::Echo), 1, 2),
        (unverified(Instead::SmallBlocks), 1, 2),
        (unverified(Instead::SmallBlocks), 10, 0),
        (trusting(), 1, 4),
        (trusting(), 10, 4),
    ] {
        let bounded = config.unverified.is_some();
        let mut bench = Bench::new(config);
        let (id, _) = bench.request(&ask);
        let acknowledged = bench.pass(2.0).len();
        assert_eq!(acknowledged, 1);
        bench.endpoint.respond(bench.now, id, Response::content(0, vec![b'x'; body])).unwrap();
        let said = one(bench.sent()).encode().len();
        assert_eq!(bench.pass(100.0).len(), copies, "{said} bytes to {asked}");
        assert!(!bounded || 4 + said * (1 + copies) <= 3 * asked);
    }
}

#[test]
fn a_group_is_answered_later_and_only_with_successes() {
    let mut waits = Vec::new();
    for seed in 0..20 {
        let mut bench = Bench::seeded(Config::default(), seed);
        bench.endpoint.set_links(links());
        let feed = |bench: &mut Bench, message: &Message| {
            bench.endpoint.handle_multicast(bench.now, PEER, &message.encode());
            bench.sent()
        };
        let group = |mid, query: &str| non(Code::GET, mid, &format!("/.well-known/core{query}"));
        assert_eq!(feed(&mut bench, &group(1, "?rt=core.t")), []);
        let (at, answer) = one(bench.pass(6.0));
        assert_eq!((answer.kind, answer.code), (Type::NonConfirmable, Code::CONTENT));
        waits.push((at * 1000.0) as u64);
        // Nothing to say, an error, a confirmable message, a ping, noise: silence.
        assert_eq!(feed(&mut bench, &group(2, "?rt=none")), []);
        assert_eq!(feed(&mut bench, &group(3, "").uint(9999, 1)), []);
        assert_eq!(feed(&mut bench, &core(4, "")), []);
        assert_eq!(feed(&mut bench, &empty(Type::Confirmable, 5)), []);
        bench.endpoint.handle_multicast(bench.now, PEER, &[0x40, 1, 0, 9, 0xff]);
        assert_eq!(feed(&mut bench, &non(Code::GET, 6, "/t")), []);
        let (id, _) = bench.take_request();
        bench.endpoint.respond(bench.now, id, Response::error(Code::NOT_FOUND, "")).unwrap();
        assert_eq!((bench.sent(), bench.pass(60.0)), (vec![], vec![]));
    }
    waits.sort_unstable();
    assert!(waits[0] < 1_500 && waits[19] > 3_500 && waits[19] <= 5_000, "{waits:?}");
}

#[test]
fn a_peer_over_its_rate_gets_4_29_and_then_nothing() {
    let rate = Some(Rate { per_second: 1.0, burst: 5 });
    let mut bench = Bench::new(Config { rate, ..Config::default() });
    let post = |mid| con(Code::POST, mid, "/t");
    for mid in 0..5 {
        bench.serve(&post(mid), Response::new(Code::CHANGED));
    }
    // A duplicate costs nothing.
    assert_eq!(bench.ask(&post(4)).code, Code::CHANGED);
    let refused = bench.ask(&post(5));
    assert_eq!((refused.code, refused.options.uint(number::MAX_AGE)), (Code::TOO_MANY_REQUESTS, Some(2)));
    for mid in 6..10 {
        assert_eq!(bench.ask(&post(mid)).code, Code::TOO_MANY_REQUESTS);
    }
    assert_eq!(bench.feed(&post(10)), []);
    assert_eq!((bench.endpoint.stats().limited, bench.events()), (6, vec![]));
    // The others do not notice.
    assert_eq!(bench.feed_from(2, &post(0)), []);
    assert!(matches!(bench.events()[..], [Event::Request { peer: 2, .. }]));
    // What was dropped is new when it comes again.
    bench.pass(10.0);
    bench.serve(&post(10), Response::new(Code::CHANGED));
}
