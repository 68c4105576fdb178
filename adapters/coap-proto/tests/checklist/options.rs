//! O1 to O15: options, content and conditions (RFC 7252 section 5; RFC 7967, 8132, 8516, 8768, 9175).

use std::time::Duration;

use coap_proto::{Code, Config, Event, Instead, Message, Request, Response, Type, Unverified, number};

use super::bench::*;

const OPAQUE: u16 = 42;
const TEXT: u16 = 0;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn unverified(instead: Instead) -> Bench {
    let policy = Unverified { instead, ..Unverified::default() };
    Bench::new(Config { unverified: Some(policy), ..Config::default() })
}

/// A server with one resource `/r` in text, which is as careful as the checklist wants it.
fn resource(request: &Request, etag: Option<&'static [u8]>) -> Response {
    if !request.path().eq(["r"]) {
        return Response::error(Code::NOT_FOUND, "there is no such resource");
    }
    let answer = || -> Result<Response, Response> {
        request.preconditions(etag)?;
        match request.code {
            Code::GET => {
                request.negotiate(&[TEXT])?;
                Ok(Response::content(TEXT, "state").with_etag(etag.unwrap_or(b"none")))
            }
            Code::PUT => {
                request.require_format(&[TEXT])?;
                Ok(Response::new(Code::CHANGED))
            }
            _ => Err(Response::error(Code::METHOD_NOT_ALLOWED, "GET or PUT")),
        }
    };
    answer().unwrap_or_else(|refusal| refusal)
}

#[track_caller]
fn ask_resource(bench: &mut Bench, message: &Message, etag: Option<&'static [u8]>) -> Message {
    let (id, request) = bench.request(message);
    bench.endpoint.respond(bench.now, id, resource(&request, etag)).unwrap();
    one(bench.sent())
}

#[test]
fn o01_an_unknown_critical_option_is_refused() {
    let mut bench = bench();
    let refused = bench.ask(&con(Code::GET, 1, "/a").uint(9999, 1));
    assert_eq!((refused.kind, refused.code), (Type::Acknowledgement, Code::BAD_OPTION));
    assert!(std::str::from_utf8(&refused.payload).unwrap().contains("9999"));
    let rejected = bench.ask(&non(Code::GET, 2, "/a").uint(9999, 1));
    assert_eq!(rejected, empty(Type::Reset, 2));
    assert_eq!((bench.events(), bench.endpoint.stats().bad_options), (vec![], 2));
}

#[test]
fn o01_an_unknown_critical_option_in_a_response_refuses_it() {
    for (kind, answer) in
        [(Type::Confirmable, Some(Type::Reset)), (Type::NonConfirmable, None), (Type::Acknowledgement, None)]
    {
        let mut bench = bench();
        bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
        let request = one(bench.sent());
        let mid = if kind == Type::Acknowledgement { request.mid } else { 9 };
        let response = response_to(&request, kind, mid, Code::CONTENT, "x").uint(9999, 1);
        let sent: Vec<_> = bench.feed(&response).iter().map(|message| message.kind).collect();
        assert_eq!(sent, Vec::from_iter(answer), "{kind:?}");
        assert!(matches!(bench.events()[..], [Event::Failed { .. }]), "{kind:?}");
        assert_eq!(bench.pass(100.0), []);
    }
}

#[test]
fn o01_the_application_may_understand_more() {
    let mut bench = Bench::new(Config { understood: vec![9999], ..Config::default() });
    let (_, request) = bench.request(&con(Code::GET, 1, "/a").uint(9999, 7));
    assert_eq!(request.options.uint(9999), Some(7));
}

#[test]
fn o02_unknown_elective_options_and_supernumerary_ones_are_ignored() {
    let mut bench = bench();
    let get = con(Code::GET, 1, "/a")
        .uint(9998, 1)
        .uint(number::CONTENT_FORMAT, 40)
        .uint(number::CONTENT_FORMAT, 50);
    let (_, request) = bench.request(&get);
    assert!(!request.options.has(9998));
    assert_eq!(request.options.all(number::CONTENT_FORMAT).count(), 1);
    assert_eq!(request.content_format(), Some(40));
    let twice = con(Code::GET, 2, "/a").uint(number::ACCEPT, 40).uint(number::ACCEPT, 50);
    assert_eq!(bench.ask(&twice).code, Code::BAD_OPTION);
}

#[test]
fn o03_a_value_of_a_wrong_length_is_not_recognised() {
    let mut bench = bench();
    let long = con(Code::GET, 1, "/a").with(number::ETAG, &[1; 9]).with(number::CONTENT_FORMAT, &[1, 2, 3]);
    let (_, request) = bench.request(&long);
    assert_eq!((request.etags().count(), request.content_format()), (0, None));
    for bad in [
        con(Code::GET, 2, "/a").with(number::ACCEPT, &[1, 2, 3]),
        con(Code::GET, 3, "/a").with(number::URI_HOST, b""),
        con(Code::GET, 4, "/a").with(number::IF_MATCH, &[1; 9]),
        con(Code::GET, 5, "/a").with(number::IF_NONE_MATCH, &[1]),
        con(Code::GET, 6, "/a").with(number::URI_PATH, &[b'x'; 256]),
    ] {
        assert_eq!(bench.ask(&bad).code, Code::BAD_OPTION);
    }
    // Zeros in front of a number are no fault.
    let (_, request) = bench.request(&con(Code::GET, 7, "/a").with(number::ACCEPT, &[0, 40]));
    assert_eq!(request.accept(), Some(40));
}

#[test]
fn o04_uri_host_and_port_are_taken() {
    let mut bench = bench();
    let get = con(Code::GET, 1, "/a").with(number::URI_HOST, b"bridge.example").uint(number::URI_PORT, 5683);
    let (_, request) = bench.request(&get);
    assert_eq!(request.path().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn o05_this_is_no_proxy() {
    let mut bench = bench();
    for (mid, number) in [number::PROXY_URI, number::PROXY_SCHEME].into_iter().enumerate() {
        let refused = bench.ask(&con(Code::GET, mid as u16, "/a").with(number, b"coap://x"));
        assert_eq!(refused.code, Code::PROXYING_NOT_SUPPORTED);
    }
}

#[test]
fn o06_accept_format_method_and_path() {
    let mut bench = bench();
    let mut code = |message: &Message| ask_resource(&mut bench, message, None).code;
    assert_eq!(code(&con(Code::GET, 1, "/r").uint(number::ACCEPT, 60)), Code::NOT_ACCEPTABLE);
    assert_eq!(code(&con(Code::GET, 2, "/r").uint(number::ACCEPT, 0)), Code::CONTENT);
    assert_eq!(code(&con(Code::GET, 3, "/r")), Code::CONTENT);
    assert_eq!(
        code(&con(Code::PUT, 4, "/r").uint(number::CONTENT_FORMAT, 60)),
        Code::UNSUPPORTED_CONTENT_FORMAT
    );
    assert_eq!(code(&con(Code::PUT, 5, "/r").uint(number::CONTENT_FORMAT, 0)), Code::CHANGED);
    assert_eq!(code(&con(Code::GET, 6, "/nowhere")), Code::NOT_FOUND);
    assert_eq!(code(&con(Code::DELETE, 7, "/r")), Code::METHOD_NOT_ALLOWED);
    // Methods that nobody knows do not reach the application.
    for method in 8..32 {
        let refused = bench.ask(&con(Code::new(0, method), 100 + u16::from(method), "/r"));
        assert_eq!(refused.code, Code::METHOD_NOT_ALLOWED);
    }
}

#[test]
fn o06_a_path_or_query_that_is_no_text_is_refused() {
    let mut bench = bench();
    for (mid, number) in [number::URI_PATH, number::URI_QUERY, number::URI_HOST].into_iter().enumerate() {
        let refused = bench.ask(&con(Code::GET, mid as u16, "/r").with(number, &[0xff, 0xfe]));
        assert_eq!(refused.code, Code::BAD_REQUEST);
    }
    let (_, request) = bench.request(&con(Code::GET, 9, "/a/b?x=1&y").with(number::URI_PATH, b""));
    assert_eq!(request.path().collect::<Vec<_>>(), ["a", "b", ""]);
    assert_eq!(request.query().collect::<Vec<_>>(), ["x=1", "y"]);
}

#[test]
fn o07_an_etag_that_still_holds_gets_2_03() {
    let mut bench = bench();
    let get = con(Code::GET, 1, "/r").with(number::ETAG, b"old").with(number::ETAG, b"12345678");
    let valid = ask_resource(&mut bench, &get, Some(b"12345678"));
    assert_eq!((valid.code, valid.payload.len()), (Code::VALID, 0));
    assert_eq!(valid.options.get(number::ETAG).unwrap(), "12345678");
    assert!(!valid.options.has(number::CONTENT_FORMAT));
    let changed = ask_resource(&mut bench, &Message { mid: 2, ..get }, Some(b"newer"));
    assert_eq!(
        (changed.code, changed.options.get(number::ETAG).unwrap().as_ref()),
        (Code::CONTENT, &b"newer"[..])
    );
}

#[test]
fn o08_if_match_and_if_none_match() {
    let mut bench = bench();
    let mut mid = 0;
    let mut put = |number: u16, values: &[&[u8]], etag| {
        mid += 1;
        let mut put = con(Code::PUT, mid, "/r").uint(number::CONTENT_FORMAT, 0);
        for value in values {
            put = put.with(number, value);
        }
        ask_resource(&mut bench, &put, etag).code
    };
    assert_eq!(put(number::IF_MATCH, &[b"a"], Some(b"b")), Code::PRECONDITION_FAILED);
    assert_eq!(put(number::IF_MATCH, &[b"a", b"b"], Some(b"b")), Code::CHANGED);
    assert_eq!(put(number::IF_MATCH, &[b""], Some(b"b")), Code::CHANGED);
    assert_eq!(put(number::IF_MATCH, &[b""], None), Code::PRECONDITION_FAILED);
    assert_eq!(put(number::IF_NONE_MATCH, &[b""], Some(b"b")), Code::PRECONDITION_FAILED);
    assert_eq!(put(number::IF_NONE_MATCH, &[b""], None), Code::CHANGED);
}

#[test]
fn o09_max_age_is_60_unless_it_says_and_tells_when_to_come_back() {
    let mut bench = bench();
    assert_eq!(Response::new(Code::CONTENT).max_age(), 60);
    for (mid, response, code) in [
        (1, Response::unavailable(30), Code::SERVICE_UNAVAILABLE),
        (2, Response::too_many(30), Code::TOO_MANY_REQUESTS),
    ] {
        let answer = bench.serve(&con(Code::POST, mid, "/t"), response);
        assert_eq!((answer.code, answer.options.uint(number::MAX_AGE)), (code, Some(30)));
    }
}

#[test]
fn o10_errors_have_a_diagnostic_text_without_a_format() {
    let mut bench = bench();
    for message in [con(Code::GET, 1, "/a").uint(9999, 1), con(Code::new(0, 20), 2, "/a")] {
        let refused = bench.ask(&message);
        assert!(!std::str::from_utf8(&refused.payload).unwrap().is_empty());
        assert!(!refused.options.has(number::CONTENT_FORMAT));
    }
    let refused = ask_resource(&mut bench, &con(Code::GET, 3, "/x"), None);
    assert!(!refused.payload.is_empty() && !refused.options.has(number::CONTENT_FORMAT));
}

#[test]
fn o11_no_response_suppresses_the_classes_it_names() {
    let classes = [(2, Code::CHANGED), (8, Code::NOT_FOUND), (16, Code::SERVICE_UNAVAILABLE)];
    let mut mid = 0;
    for value in [0, 2, 8, 16, 26] {
        for (bit, code) in classes {
            for kind in [Type::Confirmable, Type::NonConfirmable] {
                mid += 1;
                let mut bench = bench();
                let post = message(kind, Code::POST, mid, "/t").uint(number::NO_RESPONSE, value);
                let (id, _) = bench.request(&post);
                bench.endpoint.respond(bench.now, id, Response::new(code)).unwrap();
                let sent: Vec<_> = bench.sent().iter().map(|message| message.code).collect();
                let expected = match (value & bit != 0, kind) {
                    (false, _) => vec![code],
                    (true, Type::Confirmable) => vec![Code::EMPTY],
                    (true, _) => vec![],
                };
                assert_eq!(sent, expected, "{value} {code} {kind:?}");
                // The empty acknowledgement is what a duplicate gets.
                let again: Vec<_> = bench.feed(&post).iter().map(|message| message.code).collect();
                assert_eq!(again, if kind == Type::Confirmable { expected } else { vec![] });
            }
        }
    }
}

#[test]
fn o11_no_response_is_ignored_with_observe() {
    let mut bench = bench();
    let get = con(Code::GET, 1, "/r").uint(number::NO_RESPONSE, 26).uint(number::OBSERVE, 0);
    assert_eq!(ask_resource(&mut bench, &get, None).code, Code::CONTENT);
}

#[test]
fn o12_fetch_and_patch_need_a_format() {
    let mut bench = bench();
    let answers = [Code::CONTENT, Code::CHANGED, Code::CONFLICT, Code::UNPROCESSABLE_ENTITY];
    let mut mid = 0;
    for code in [Code::FETCH, Code::PATCH, Code::IPATCH] {
        mid += 1;
        let bare = con(code, mid, "/r").body(b"[]");
        assert_eq!(bench.ask(&bare).code, Code::UNSUPPORTED_CONTENT_FORMAT);
        for answer in answers {
            mid += 1;
            let whole = con(code, mid, "/r").uint(number::CONTENT_FORMAT, 51).body(b"[]");
            let (id, request) = bench.request(&whole);
            let found = (request.code, request.content_format(), request.body.as_ref());
            assert_eq!(found, (code, Some(51), &b"[]"[..]));
            bench.endpoint.respond(bench.now, id, Response::new(answer)).unwrap();
            assert_eq!(one(bench.sent()).code, answer);
        }
    }
}

#[test]
fn o12_the_body_of_a_fetch_belongs_to_its_cache_key() {
    let mut bench = bench();
    let fetch = |mid, body: &[u8]| con(Code::FETCH, mid, "/r").uint(number::CONTENT_FORMAT, 51).body(body);
    let large = |text: &[u8]| Response::content(OPAQUE, text.repeat(1500));
    bench.serve(&fetch(1, b"a"), large(b"A"));
    // The second block of the answer to another question is not cut from the first answer.
    let (id, _) = bench.request(&fetch(2, b"b").uint(number::BLOCK2, 1 << 4 | 6));
    bench.endpoint.respond(bench.now, id, large(b"B")).unwrap();
    assert_eq!(one(bench.sent()).payload.as_ref(), [b'B'; 476]);
    let same = bench.ask(&fetch(3, b"a").uint(number::BLOCK2, 1 << 4 | 6));
    assert_eq!(same.payload.as_ref(), [b'A'; 476]);
    // And without the body, as RFC 7959 section 2.7 has it.
    let bare = bench.ask(&fetch(4, b"").uint(number::BLOCK2, 1 << 4 | 6));
    assert_eq!(bare.payload.as_ref(), [b'A'; 476]);
}

#[test]
fn o13_a_long_answer_to_an_unverified_peer_is_an_echo_challenge() {
    let mut bench = unverified(Instead::Echo);
    let get = con(Code::GET, 1, "/large");
    let challenge = bench.serve(&get, Response::content(OPAQUE, vec![b'x'; 500]));
    assert_eq!((challenge.code, challenge.payload.len()), (Code::UNAUTHORIZED, 0));
    assert!(challenge.encode().len() <= 3 * get.encode().len());
    let echo = challenge.options.get(number::ECHO).cloned().unwrap();
    assert!((1..=40).contains(&echo.len()));
    // The value of another peer, or a changed one, is none.
    let with_echo = con(Code::GET, 2, "/large").with(number::ECHO, &echo);
    bench.feed_from(2, &with_echo);
    let Some(Event::Request { echo_age: None, .. }) = bench.endpoint.poll_event() else { panic!("taken") };
    // The right one opens the way, for this answer and for those that follow.
    bench.pass(7.0);
    bench.feed(&con(Code::GET, 3, "/large").with(number::ECHO, &echo));
    let Some(Event::Request { id, echo_age, request, .. }) = bench.endpoint.poll_event() else {
        panic!("lost")
    };
    assert_eq!((echo_age, request.options.has(number::ECHO)), (Some(Duration::from_secs(7)), false));
    bench.endpoint.respond(bench.now, id, Response::content(OPAQUE, vec![b'x'; 500])).unwrap();
    assert_eq!(bench.sent().last().unwrap().payload.len(), 500);
    let answer = bench.serve(&con(Code::GET, 4, "/large"), Response::content(OPAQUE, vec![b'x'; 500]));
    assert_eq!(answer.payload.len(), 500);
    // After a while it must show itself again.
    bench.pass(300.0);
    let answer = bench.serve(&con(Code::GET, 5, "/large"), Response::content(OPAQUE, vec![b'x'; 500]));
    assert_eq!(answer.code, Code::UNAUTHORIZED);
}

#[test]
fn o13_the_application_may_ask_for_freshness() {
    let mut bench = bench();
    let (id, _) = bench.request(&con(Code::POST, 1, "/open"));
    bench.endpoint.challenge(bench.now, id).unwrap();
    let challenge = one(bench.sent());
    assert_eq!(challenge.code, Code::UNAUTHORIZED);
    let echo = challenge.options.get(number::ECHO).cloned().unwrap();
    bench.feed(&con(Code::POST, 2, "/open").with(number::ECHO, &echo));
    assert!(matches!(bench.endpoint.poll_event(), Some(Event::Request { echo_age: Some(_), .. })));
    // Another's value of 40 bytes is taken as an option, and is not ours.
    bench.feed(&con(Code::POST, 3, "/open").with(number::ECHO, &[7; 40]));
    assert!(matches!(bench.endpoint.poll_event(), Some(Event::Request { echo_age: None, .. })));
}

#[test]
fn o13_our_client_answers_a_challenge_once() {
    let mut bench = bench();
    bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/a")).unwrap();
    let request = one(bench.sent());
    let challenge =
        |request: &Message| piggyback(request, Code::UNAUTHORIZED, "").with(number::ECHO, b"echo");
    let again = one(bench.feed(&challenge(&request)));
    assert_eq!(again.options.get(number::ECHO).unwrap(), "echo");
    assert_ne!((again.mid, &again.token), (request.mid, &request.token));
    assert_eq!(bench.feed(&challenge(&again)), []);
    assert!(
        matches!(&bench.events()[..], [Event::Response { response, .. }] if response.code == Code::UNAUTHORIZED)
    );
}

#[test]
fn o14_request_tags_tell_transfers_apart() {
    let mut bench = bench();
    let block = |mid, num: u32, more: u32, tags: &[&[u8]], body: &[u8]| {
        let put = con(Code::PUT, mid, "/r").uint(number::BLOCK1, num << 4 | more << 3).body(body);
        tags.iter().fold(put, |put, tag| put.with(number::REQUEST_TAG, tag))
    };
    let keys: [&[&[u8]]; 4] = [&[], &[b""], &[b"a", b"b"], &[b"b", b"a"]];
    for (index, tags) in keys.iter().enumerate() {
        let first = block(index as u16, 0, 1, tags, &[index as u8; 16]);
        assert_eq!(bench.ask(&first).code, Code::CONTINUE);
    }
    for (index, tags) in keys.iter().enumerate() {
        let (_, request) = bench.request(&block(10 + index as u16, 1, 0, tags, b"end"));
        assert_eq!(&request.body[..16], [index as u8; 16]);
        assert_eq!(request.body.len(), 19);
    }
}

#[test]
fn o14_the_answer_in_blocks_belongs_to_its_tag() {
    let mut bench = bench();
    let post = |mid, tag: &[u8]| con(Code::POST, mid, "/r").body(b"?").with(number::REQUEST_TAG, tag);
    bench.serve(&post(1, b"a"), Response::content(OPAQUE, b"A".repeat(1500)));
    let rest = |mid| con(Code::POST, mid, "/r").uint(number::BLOCK2, 1 << 4 | 6);
    assert_eq!(bench.ask(&rest(2).with(number::REQUEST_TAG, b"a")).payload.as_ref(), [b'A'; 476]);
    assert_eq!(bench.ask(&rest(3)).payload.as_ref(), [b'A'; 476]);
    let other = bench.ask(&rest(4).with(number::REQUEST_TAG, b"b"));
    assert_eq!(other.code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn o14_our_uploads_are_tagged() {
    for request_tags in [true, false] {
        let mut config = Config::default();
        config.blockwise.request_tags = request_tags;
        let mut bench = Bench::new(config);
        let mut tags = Vec::new();
        for _ in 0..2 {
            let put = Request::new(Code::PUT, "/r").with_body(OPAQUE, vec![1; 2000]);
            bench.endpoint.request(bench.now, PEER, put).unwrap();
            let first = one(bench.sent());
            let tag = first.options.get(number::REQUEST_TAG).cloned();
            let go = piggyback(&first, Code::CONTINUE, "").uint(number::BLOCK1, 1 << 3 | 6);
            let second = one(bench.feed(&go));
            assert_eq!(second.options.get(number::REQUEST_TAG), tag.as_ref());
            tags.push(tag);
            bench.feed(&piggyback(&second, Code::CHANGED, ""));
        }
        assert_eq!(tags[0].is_some(), request_tags);
        assert!(!request_tags || tags[0] != tags[1]);
        // A body that fits needs none.
        bench
            .endpoint
            .request(bench.now, PEER, Request::new(Code::PUT, "/r").with_body(OPAQUE, "x"))
            .unwrap();
        assert!(!one(bench.sent()).options.has(number::REQUEST_TAG));
    }
}

#[test]
fn o15_hop_limit_is_taken_and_means_nothing_without_a_proxy() {
    let mut bench = bench();
    bench.request(&con(Code::GET, 1, "/a").uint(number::HOP_LIMIT, 1));
    bench.request(&con(Code::GET, 2, "/a").with(number::HOP_LIMIT, &[0, 0]));
}
