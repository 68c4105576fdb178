//! B1 to B13: bodies in blocks, in both directions and both roles (RFC 7959).

use coap_proto::{Block, Code, Config, Event, Failure, Message, Request, Response, Szx, Type, number};

use super::bench::*;

const OPAQUE: u16 = 42;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn sized(bytes: usize) -> Bench {
    let mut config = Config::default();
    config.blockwise.size = Szx::fitting(bytes);
    Bench::new(config)
}

/// Bytes of which no two blocks are alike.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// The value of a block option, for blocks of that many bytes.
fn block(num: u32, more: bool, bytes: usize) -> u32 {
    Block { num, more, szx: Szx::fitting(bytes) }.value()
}

/// A block option as number, more, bytes.
#[track_caller]
fn read(message: &Message, number: u16) -> (u32, bool, usize) {
    let block = Block::of(&message.options, number).unwrap().expect("no block option");
    (block.num, block.more, block.szx.bytes())
}

fn content(length: usize) -> Response {
    Response::content(OPAQUE, body(length))
}

/// Sends a body in blocks of that many bytes; the answer to the last one, which the application must give.
fn upload(bench: &mut Bench, template: &Message, bytes: usize, whole: &[u8]) -> Vec<Message> {
    let mut answers = Vec::new();
    let last = whole.len().div_ceil(bytes) - 1;
    for (num, part) in whole.chunks(bytes).enumerate() {
        let mid = template.mid + num as u16;
        let value = block(num as u32, num < last, bytes);
        let put = Message { mid, ..template.clone() }.uint(number::BLOCK1, value).body(part);
        answers.extend(bench.feed(&put));
    }
    answers
}

#[test]
fn b01_early_negotiation_takes_the_smaller_size() {
    for (ours, theirs, used) in [(1024, 64, 64), (64, 1024, 64), (256, 256, 256)] {
        let mut bench = sized(ours);
        let get = con(Code::GET, 1, "/large").uint(number::BLOCK2, block(0, false, theirs));
        let first = bench.serve(&get, content(500));
        assert_eq!(read(&first, number::BLOCK2), (0, true, used));
        assert_eq!((first.payload.len(), first.options.uint(number::SIZE2)), (used, Some(500)));
    }
    let mut bench = bench();
    for (mid, number) in [number::BLOCK2, number::BLOCK1].into_iter().enumerate() {
        let refused = bench.ask(&con(Code::PUT, mid as u16, "/large").uint(number, 7));
        assert_eq!(refused.code, Code::BAD_REQUEST);
    }
    // A body that fits is still answered with the option that was asked for.
    let short = bench.serve(&con(Code::GET, 9, "/x").uint(number::BLOCK2, block(0, false, 64)), content(5));
    assert_eq!(read(&short, number::BLOCK2), (0, false, 64));
}

#[test]
fn b02_late_negotiation_counts_in_bytes() {
    let mut bench = sized(1024);
    let first = bench.serve(&con(Code::GET, 1, "/large"), content(3000));
    assert_eq!(read(&first, number::BLOCK2), (0, true, 1024));
    assert_eq!(first.options.uint(number::SIZE2), Some(3000));
    let mut got = first.payload.to_vec();
    let mut mid = 1;
    while got.len() < 3000 {
        mid += 1;
        let num = (got.len() / 64) as u32;
        let get = con(Code::GET, mid, "/large").uint(number::BLOCK2, block(num, false, 64));
        let next = bench.ask(&get);
        assert_eq!(read(&next, number::BLOCK2), (num, got.len() + next.payload.len() < 3000, 64));
        got.extend_from_slice(&next.payload);
    }
    assert_eq!(got, body(3000));
    assert_eq!(bench.events(), [], "the application was asked once");
}

#[test]
fn b03_random_access_and_beyond_the_end() {
    let mut bench = sized(64);
    // No transfer is known: the application is asked, and the block cut from what it says.
    let get = con(Code::GET, 1, "/large").uint(number::BLOCK2, block(3, false, 64));
    let part = bench.serve(&get, content(500));
    assert_eq!(read(&part, number::BLOCK2), (3, true, 64));
    assert_eq!(part.payload.as_ref(), &body(500)[192..256]);
    let beyond = con(Code::GET, 2, "/large").uint(number::BLOCK2, block(8, false, 64));
    assert_eq!(bench.serve(&beyond, content(500)).code, Code::BAD_REQUEST);
    // Not so for what must not run twice.
    let post = con(Code::POST, 3, "/large").uint(number::BLOCK2, block(1, false, 64));
    assert_eq!(bench.ask(&post).code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn b03_the_etag_stands_for_the_representation() {
    let mut bench = sized(64);
    let get = |mid, num| con(Code::GET, mid, "/large").uint(number::BLOCK2, block(num, false, 64));
    let first = bench.serve(&get(1, 0), content(500));
    let tag = first.options.get(number::ETAG).cloned().unwrap();
    assert_eq!(bench.ask(&get(2, 1)).options.get(number::ETAG), Some(&tag));
    assert_eq!(bench.ask(&get(3, 7)).options.get(number::ETAG), Some(&tag));
    // The same state again has the same tag, another one another.
    let again = bench.serve(&con(Code::GET, 4, "/large?x"), content(500));
    assert_eq!(again.options.get(number::ETAG), Some(&tag));
    let other = bench.serve(&get(5, 0), content(499));
    assert_ne!(other.options.get(number::ETAG), Some(&tag));
    assert_ne!(bench.ask(&get(6, 1)).options.get(number::ETAG), Some(&tag));
    // What the application says is kept.
    let named = bench.serve(&get(7, 0), content(500).with_etag("v1"));
    assert_eq!(named.options.get(number::ETAG).unwrap(), "v1");
}

#[test]
fn b04_blocks_are_continued_and_the_whole_runs_once() {
    let mut bench = bench();
    let put = con(Code::PUT, 1, "/large").uint(number::CONTENT_FORMAT, 42);
    let answers = upload(&mut bench, &put, 64, &body(300));
    assert_eq!(answers.len(), 4);
    for (num, answer) in answers.iter().enumerate() {
        assert_eq!((answer.code, answer.kind), (Code::CONTINUE, Type::Acknowledgement));
        assert_eq!(read(answer, number::BLOCK1), (num as u32, true, 64));
    }
    let (id, request) = bench.take_request();
    assert_eq!((request.body.as_ref(), request.content_format()), (&body(300)[..], Some(42)));
    bench.endpoint.respond(bench.now, id, Response::new(Code::CHANGED)).unwrap();
    let last = one(bench.sent());
    assert_eq!((last.code, read(&last, number::BLOCK1)), (Code::CHANGED, (4, false, 64)));
    assert_eq!((bench.events(), bench.endpoint.held().uploads), (vec![], 0));
}

#[test]
fn b05_gaps_and_lost_state_get_4_08() {
    let mut bench = bench();
    let put = |mid, num, more, part: &[u8]| {
        con(Code::PUT, mid, "/large").uint(number::BLOCK1, block(num, more, 16)).body(part)
    };
    assert_eq!(bench.ask(&put(1, 1, true, &[1; 16])).code, Code::REQUEST_ENTITY_INCOMPLETE);
    bench.ask(&put(2, 0, true, &[0; 16]));
    assert_eq!(bench.ask(&put(3, 2, true, &[2; 16])).code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(bench.ask(&put(4, 1, false, &[1; 16])).code, Code::REQUEST_ENTITY_INCOMPLETE);
    // A block that rests too long is forgotten.
    bench.ask(&put(5, 0, true, &[0; 16]));
    bench.pass(248.0);
    assert_eq!(bench.ask(&put(6, 1, false, &[1; 16])).code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!((bench.events(), bench.endpoint.stats().transfers_lost), (vec![], 2));
    // Not as long as it says.
    assert_eq!(bench.ask(&put(7, 0, true, &[0; 15])).code, Code::BAD_REQUEST);
    assert_eq!(bench.ask(&put(8, 0, false, &[0; 17])).code, Code::BAD_REQUEST);
}

#[test]
fn b05_too_large_gets_4_13_with_what_fits() {
    let mut config = Config::default();
    config.blockwise.size = Szx::fitting(64);
    config.blockwise.max_body = 100;
    let mut bench = Bench::new(config);
    let check = |answer: Message| {
        assert_eq!(answer.code, Code::REQUEST_ENTITY_TOO_LARGE);
        assert_eq!(answer.options.uint(number::SIZE1), Some(100));
        assert_eq!(read(&answer, number::BLOCK1).2, 64);
    };
    check(bench.ask(&con(Code::PUT, 1, "/large").body(&body(101))));
    let announced = con(Code::PUT, 2, "/large").uint(number::SIZE1, 101);
    check(bench.ask(&announced.uint(number::BLOCK1, block(0, true, 64)).body(&body(64))));
    let mut answers = upload(&mut bench, &con(Code::PUT, 3, "/large"), 64, &body(101));
    check(answers.remove(1));
    assert_eq!((bench.events(), bench.endpoint.held().uploads), (vec![], 0));
}

#[test]
fn b06_the_server_asks_for_smaller_blocks_and_the_client_goes_on_behind_the_first() {
    let mut bench = sized(64);
    let first = con(Code::PUT, 1, "/large").uint(number::BLOCK1, block(0, true, 256)).body(&body(300)[..256]);
    let answer = bench.ask(&first);
    assert_eq!((answer.code, read(&answer, number::BLOCK1)), (Code::CONTINUE, (0, true, 64)));
    let rest = con(Code::PUT, 2, "/large").uint(number::BLOCK1, block(4, false, 64)).body(&body(300)[256..]);
    assert_eq!(bench.request(&rest).1.body.as_ref(), body(300));
}

#[test]
fn b07_number_zero_begins_anew_and_the_format_must_stay() {
    let mut bench = bench();
    let put = |mid, num, more, format, part: &[u8]| {
        let put = con(Code::PUT, mid, "/large").uint(number::CONTENT_FORMAT, format);
        put.uint(number::BLOCK1, block(num, more, 16)).body(part)
    };
    bench.ask(&put(1, 0, true, 0, b"old old old old "));
    bench.ask(&put(2, 0, true, 0, b"new new new new "));
    let (_, request) = bench.request(&put(3, 1, false, 0, b"end"));
    assert_eq!(request.body, "new new new new end");
    bench.ask(&put(4, 0, true, 0, b"new new new new "));
    assert_eq!(bench.ask(&put(5, 1, false, 42, b"end")).code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(bench.endpoint.held().uploads, 0);
}

#[test]
fn b08_a_block_that_comes_twice_counts_once() {
    let mut bench = bench();
    let put = |mid, num, more, part: &[u8]| {
        con(Code::PUT, mid, "/large").uint(number::BLOCK1, block(num, more, 16)).body(part)
    };
    let first = put(1, 0, true, &[1; 16]);
    let answer = bench.ask(&first);
    assert_eq!(bench.ask(&first), answer);
    let second = put(2, 1, true, &[2; 16]);
    let answer = bench.ask(&second);
    assert_eq!(bench.ask(&second), answer);
    // Under another message id, as after a restart of the exchange.
    assert_eq!(bench.ask(&put(3, 1, true, &[2; 16])).code, Code::CONTINUE);
    let last = put(4, 2, false, b"x");
    let (id, request) = bench.request(&last);
    assert_eq!(request.body.len(), 33);
    bench.endpoint.respond(bench.now, id, Response::new(Code::CHANGED)).unwrap();
    let answer = one(bench.sent());
    assert_eq!((bench.ask(&last), bench.events()), (answer, vec![]));
    // Another content in the place of one that came is no repetition.
    bench.ask(&put(5, 0, true, &[1; 16]));
    bench.ask(&put(6, 1, true, &[2; 16]));
    assert_eq!(bench.ask(&put(7, 1, true, &[3; 16])).code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn b09_a_post_in_blocks_has_an_answer_in_blocks() {
    let mut bench = sized(64);
    let post = con(Code::POST, 1, "/large-post");
    assert_eq!(upload(&mut bench, &post, 64, &body(150)).len(), 2);
    let (id, _) = bench.take_request();
    bench.endpoint.respond(bench.now, id, Response::new(Code::CHANGED).with_body(body(130))).unwrap();
    let first = one(bench.sent());
    assert_eq!(read(&first, number::BLOCK1), (2, false, 64));
    assert_eq!(read(&first, number::BLOCK2), (0, true, 64));
    let mut got = first.payload.to_vec();
    for num in 1..3 {
        let next =
            con(Code::POST, 10 + num as u16, "/large-post").uint(number::BLOCK2, block(num, false, 64));
        let part = bench.ask(&next);
        assert_eq!((part.code, read(&part, number::BLOCK2)), (Code::CHANGED, (num, num < 2, 64)));
        got.extend_from_slice(&part.payload);
    }
    assert_eq!((got, bench.events()), (body(130), vec![]));
}

#[test]
fn b10_numbers_go_beyond_sixteen_bits() {
    let whole = body(16 * 5_000);
    let mut bench = bench();
    let answers = upload(&mut bench, &con(Code::PUT, 1, "/large"), 16, &whole);
    assert_eq!(read(&answers[4_998], number::BLOCK1), (4_998, true, 16));
    let (_, request) = bench.take_request();
    assert_eq!(request.body, whole);
    // The largest number there is.
    let mut config = Config::default();
    config.blockwise.max_body = 1 << 24;
    config.limits.snapshot_bytes = 1 << 25;
    let mut bench = Bench::new(config);
    let get = |mid, num| con(Code::GET, mid, "/firmware").uint(number::BLOCK2, block(num, false, 16));
    let first = bench.serve(&get(1, 0), Response::content(OPAQUE, vec![7; 1 << 24]));
    assert_eq!(read(&first, number::BLOCK2), (0, true, 16));
    let last = bench.ask(&get(2, (1 << 20) - 1));
    assert_eq!(read(&last, number::BLOCK2), ((1 << 20) - 1, false, 16));
    // One byte more does not fit into such blocks.
    let long = bench.serve(&get(3, 0), Response::content(OPAQUE, vec![7; (1 << 24) + 1]));
    assert_eq!(long.code, Code::INTERNAL_SERVER_ERROR);
}

#[test]
fn b10_transfers_are_bounded_per_peer_and_in_total() {
    let mut config = Config::default();
    config.limits.uploads = 10;
    config.limits.uploads_per_peer = 2;
    config.limits.upload_bytes = 16 * 64;
    let mut bench = Bench::new(config);
    let begin = |mid: u16| {
        let put = con(Code::PUT, mid, &format!("/{mid}"));
        put.uint(number::BLOCK1, block(0, true, 16)).body(&[1; 16])
    };
    // A peer pushes its own oldest out.
    for mid in 0..3 {
        assert_eq!(bench.ask(&begin(mid)).code, Code::CONTINUE);
    }
    assert_eq!(bench.endpoint.held().uploads, 2);
    let next = con(Code::PUT, 9, "/0").uint(number::BLOCK1, block(1, false, 16));
    assert_eq!(bench.ask(&next).code, Code::REQUEST_ENTITY_INCOMPLETE);
    // Another's only when it rests; until then there is no room.
    for peer in 2..6 {
        for mid in 0..2 {
            assert_eq!(one(bench.feed_from(peer, &begin(mid))).code, Code::CONTINUE);
        }
    }
    let refused = one(bench.feed_from(9, &begin(0)));
    assert_eq!((refused.code, refused.options.has(number::MAX_AGE)), (Code::SERVICE_UNAVAILABLE, true));
    bench.pass(11.0);
    assert_eq!(one(bench.feed_from(9, &begin(1))).code, Code::CONTINUE);
    assert_eq!(bench.endpoint.held().uploads, 10);
    // Bytes.
    let mut mid = 100;
    let codes: Vec<Code> = (1..100)
        .map(|num| {
            mid += 1;
            let put = con(Code::PUT, mid, "/1").uint(number::BLOCK1, block(num, true, 16)).body(&[1; 16]);
            one(bench.feed_from(9, &put)).code
        })
        .collect();
    assert_eq!(codes.iter().position(|code| *code != Code::CONTINUE), Some(54));
    assert_eq!(codes[54], Code::SERVICE_UNAVAILABLE);
    assert!(bench.endpoint.held().upload_bytes <= 16 * 64);
    bench.pass(300.0);
    let held = bench.endpoint.held();
    assert_eq!((held.uploads, held.upload_bytes), (0, 0));
}

#[test]
fn b10_answers_in_blocks_are_bounded() {
    let mut config = Config::default();
    config.limits.snapshots = 5;
    config.limits.snapshots_per_peer = 2;
    config.limits.snapshot_bytes = 10_000;
    let mut bench = Bench::new(config);
    for round in 0..20_u16 {
        bench.feed_from(round % 4, &con(Code::GET, round, &format!("/{round}")));
        let (id, _) = bench.take_request();
        bench.endpoint.respond(bench.now, id, content(3000)).unwrap();
        let held = bench.endpoint.held();
        assert!(held.snapshots <= 5 && held.snapshot_bytes <= 10_000, "{held:?}");
    }
    bench.sent();
    // What is no longer kept is asked of the application again.
    let again = con(Code::GET, 99, "/1").uint(number::BLOCK2, block(1, false, 1024));
    bench.request(&again);
    bench.pass(300.0);
    let held = bench.endpoint.held();
    assert_eq!((held.snapshots, held.snapshot_bytes), (0, 0));
}

/// Lets our client send that body, and answers each block with what the closure says.
fn drive(
    bench: &mut Bench,
    request: Request,
    mut answer: impl FnMut(&Message) -> Message,
) -> Vec<Event<u16>> {
    bench.endpoint.request(bench.now, PEER, request).unwrap();
    let mut sent = bench.sent();
    for _ in 0..1000 {
        let Some(next) = sent.pop() else { return bench.events() };
        assert_eq!(sent, [], "more than one at a time");
        sent = bench.feed(&answer(&next));
    }
    panic!("the transfer does not end");
}

#[track_caller]
fn answered(events: &[Event<u16>]) -> &Response {
    match events {
        [Event::Response { response, .. }] => response,
        other => panic!("no response, but {other:?}"),
    }
}

/// A server of the test: takes blocks of at most that many bytes.
struct Store {
    bytes: usize,
    body: Vec<u8>,
    blocks: Vec<(u32, bool, usize)>,
}

impl Store {
    fn new(bytes: usize) -> Store {
        Store { bytes, body: Vec::new(), blocks: Vec::new() }
    }

    fn take(&mut self, put: &Message) -> Message {
        let (num, more, bytes) = read(put, number::BLOCK1);
        self.blocks.push((num, more, bytes));
        if num == 0 {
            self.body.clear();
        }
        assert_eq!(self.body.len(), num as usize * bytes, "not where the last block ended");
        self.body.extend_from_slice(&put.payload);
        let code = if more { Code::CONTINUE } else { Code::CHANGED };
        piggyback(put, code, "").uint(number::BLOCK1, block(num, more, bytes.min(self.bytes)))
    }
}

#[test]
fn b11_our_upload_honours_smaller_blocks() {
    for (first, then) in [(1024, 1024), (1024, 64), (256, 16)] {
        let mut bench = sized(first);
        let mut store = Store::new(then);
        let request = Request::new(Code::PUT, "/5/0/0").with_body(OPAQUE, body(5000));
        let mut sizes = Vec::new();
        let events = drive(&mut bench, request, |put| {
            sizes.push(put.options.uint(number::SIZE1));
            assert_eq!(put.options.uint(number::CONTENT_FORMAT), Some(42));
            store.take(put)
        });
        assert_eq!(answered(&events).code, Code::CHANGED);
        assert_eq!(store.body, body(5000));
        assert_eq!(store.blocks[0], (0, true, first));
        assert!(store.blocks[1..].iter().all(|(_, _, bytes)| *bytes == then));
        assert_eq!((sizes[0], sizes[1]), (Some(5000), None));
        assert_eq!(bench.endpoint.held().tokens, 0);
    }
}

#[test]
fn b11_our_upload_begins_again_after_4_08_and_4_13() {
    let mut bench = sized(256);
    let mut store = Store::new(256);
    let mut lost = false;
    let request = Request::new(Code::PUT, "/5/0/0").with_body(OPAQUE, body(2000));
    let events = drive(&mut bench, request.clone(), |put| {
        if read(put, number::BLOCK1).0 == 3 && !lost {
            lost = true;
            return piggyback(put, Code::REQUEST_ENTITY_INCOMPLETE, "");
        }
        store.take(put)
    });
    assert_eq!((answered(&events).code, &store.body), (Code::CHANGED, &body(2000)));
    assert_eq!(store.blocks.iter().filter(|(num, ..)| *num == 0).count(), 2);
    // Not for ever.
    let events =
        drive(&mut bench, request.clone(), |put| piggyback(put, Code::REQUEST_ENTITY_INCOMPLETE, ""));
    assert_eq!(answered(&events).code, Code::REQUEST_ENTITY_INCOMPLETE);
    // 4.13 with a smaller size.
    let mut store = Store::new(32);
    let events = drive(&mut bench, request.clone(), |put| match read(put, number::BLOCK1).2 {
        256 => piggyback(put, Code::REQUEST_ENTITY_TOO_LARGE, "").uint(number::BLOCK1, block(0, true, 32)),
        _ => store.take(put),
    });
    assert_eq!((answered(&events).code, &store.body), (Code::CHANGED, &body(2000)));
    // 4.13 that means it.
    let events = drive(&mut bench, request, |put| piggyback(put, Code::REQUEST_ENTITY_TOO_LARGE, ""));
    assert_eq!(answered(&events).code, Code::REQUEST_ENTITY_TOO_LARGE);
    // 4.13 to a body that went in one piece.
    let mut store = Store::new(64);
    let request = Request::new(Code::PUT, "/5/0/0").with_body(OPAQUE, body(200));
    let events = drive(&mut bench, request, |put| match put.options.has(number::BLOCK1) {
        false => piggyback(put, Code::REQUEST_ENTITY_TOO_LARGE, "").uint(number::BLOCK1, block(0, true, 64)),
        true => store.take(put),
    });
    assert_eq!((answered(&events).code, &store.body), (Code::CHANGED, &body(200)));
}

#[test]
fn b11_our_download_puts_blocks_together() {
    let whole = body(1000);
    let serve = |get: &Message, size: usize, tag: &[u8]| {
        let asked = Block::of(&get.options, number::BLOCK2).unwrap();
        let bytes = asked.map_or(size, |asked| asked.szx.bytes().min(size));
        let offset = asked.map_or(0, Block::offset);
        let end = (offset + bytes).min(whole.len());
        piggyback(get, Code::CONTENT, "")
            .body(&whole[offset..end])
            .with(number::ETAG, tag)
            .uint(number::BLOCK2, block((offset / bytes) as u32, end < whole.len(), bytes))
    };
    for (ours, theirs) in [(1024, 64), (64, 1024), (16, 16)] {
        let mut bench = sized(ours);
        let request = Request::new(Code::GET, "/large");
        let events = drive(&mut bench, request.clone(), |get| serve(get, theirs, b"v1"));
        assert_eq!(answered(&events).body, whole);
        assert!(!answered(&events).options.has(number::BLOCK2));
        // The server makes its blocks smaller on the way.
        let mut count = 0;
        let events = drive(&mut bench, request.clone(), |get| {
            count += 1;
            serve(get, if count > 3 { 16 } else { theirs }, b"v1")
        });
        assert_eq!(answered(&events).body, whole);
        // The representation changes on the way: from the begin, twice at most.
        let mut count = 0;
        let events = drive(&mut bench, request.clone(), |get| {
            count += 1;
            serve(get, theirs.min(64), if count < 4 { b"v1" } else { b"v2" })
        });
        assert_eq!(
            (&answered(&events).body[..], answered(&events).options.get(number::ETAG).unwrap().as_ref()),
            (&whole[..], &b"v2"[..])
        );
        let mut count = 0_u8;
        let events = drive(&mut bench, request, |get| {
            count += 1;
            serve(get, theirs.min(64), &[count])
        });
        assert!(matches!(events[..], [Event::Failed { failure: Failure::BadBlocks, .. }]), "{events:?}");
        assert_eq!(bench.endpoint.held().tokens, 0);
    }
}

#[test]
fn b11_our_download_refuses_what_does_not_fit() {
    let mut config = Config::default();
    config.blockwise.max_body = 100;
    let mut bench = Bench::new(config);
    let get = || Request::new(Code::GET, "/large");
    let cases: [(u32, usize, Failure); 5] = [
        (block(0, true, 64), 63, Failure::BadBlocks),
        (block(0, false, 64), 65, Failure::BadBlocks),
        (block(2, true, 16), 16, Failure::BadBlocks),
        (7, 16, Failure::BadBlocks),
        (block(0, true, 64), 64, Failure::TooLong),
    ];
    for (value, length, failure) in cases {
        let events = drive(&mut bench, get(), |get| {
            let part = piggyback(get, Code::CONTENT, "").body(&body(length)).uint(number::BLOCK2, value);
            part.uint(number::SIZE2, if length == 64 { 101 } else { 90 })
        });
        assert!(
            matches!(events[..], [Event::Failed { failure: found, .. }] if found == failure),
            "{events:?}"
        );
    }
    // A server that never ends.
    let events = drive(&mut bench, get(), |get| {
        let asked = Block::of(&get.options, number::BLOCK2).unwrap().map_or(0, |asked| asked.num);
        piggyback(get, Code::CONTENT, "").body(&body(16)).uint(number::BLOCK2, block(asked, true, 16))
    });
    assert!(matches!(events[..], [Event::Failed { failure: Failure::TooLong, .. }]), "{events:?}");
}

#[test]
fn b12_a_notification_carries_the_first_block_and_the_rest_is_fetched() {
    let mut bench = sized(64);
    let get = con(Code::GET, 1, "/obs-large").uint(number::OBSERVE, 0);
    let (id, _) = bench.request(&get);
    let observation = bench.endpoint.respond_observing(bench.now, id, content(150)).unwrap().unwrap();
    let first = one(bench.sent());
    assert_eq!((read(&first, number::BLOCK2), first.options.has(number::OBSERVE)), ((0, true, 64), true));
    // The rest, without Observe and with a token of its own.
    let rest = |mid, num| con(Code::GET, mid, "/obs-large").uint(number::BLOCK2, block(num, false, 64));
    let part = bench.ask(&rest(2, 2));
    assert_eq!((part.payload.as_ref(), part.options.has(number::OBSERVE)), (&body(150)[128..], false));
    assert_eq!(part.options.get(number::ETAG), first.options.get(number::ETAG));
    assert!(bench.endpoint.is_observing(observation));
    // A new state: its blocks, another tag.
    bench.endpoint.notify(bench.now, observation, Response::content(OPAQUE, vec![9; 130]), false).unwrap();
    let news = one(bench.sent());
    assert_eq!((news.token.clone(), read(&news, number::BLOCK2)), (get.token.clone(), (0, true, 64)));
    assert_eq!(news.options.uint(number::SIZE2), Some(130));
    let part = bench.ask(&rest(3, 2));
    assert_eq!(part.payload.as_ref(), [9; 2]);
    assert_eq!(part.options.get(number::ETAG), news.options.get(number::ETAG));
    assert_ne!(part.options.get(number::ETAG), first.options.get(number::ETAG));
    assert_eq!(bench.events(), []);
}

#[test]
fn b12_our_client_fetches_the_rest_of_a_notification() {
    let mut bench = bench();
    let handle = bench.endpoint.request(bench.now, PEER, Request::new(Code::GET, "/obs").observe()).unwrap();
    let register = one(bench.sent());
    bench.feed(&piggyback(&register, Code::CONTENT, "small").uint(number::OBSERVE, 1));
    let notify = |sequence: u32, tag: &[u8], num, more, part: &[u8]| {
        response_to(&register, Type::NonConfirmable, 100 + sequence as u16, Code::CONTENT, "")
            .uint(number::OBSERVE, sequence)
            .with(number::ETAG, tag)
            .uint(number::BLOCK2, block(num, more, 16))
            .body(part)
    };
    let fetch = one(bench.feed(&notify(2, b"2", 0, true, &[2; 16])));
    assert!(!fetch.options.has(number::OBSERVE));
    assert_ne!(fetch.token, register.token);
    assert_eq!(read(&fetch, number::BLOCK2), (1, false, 16));
    // A newer state ends the fetch of the older one.
    let fetch = one(bench.feed(&notify(3, b"3", 0, true, &[3; 16])));
    let part = |fetch: &Message, tag: &[u8]| {
        let part = piggyback(fetch, Code::CONTENT, "").with(number::ETAG, tag);
        part.uint(number::BLOCK2, block(1, false, 16)).body(b"end")
    };
    // The state changes while it is fetched: from the begin, still without Observe.
    let again = one(bench.feed(&part(&fetch, b"4")));
    assert!(!again.options.has(number::OBSERVE) && again.token != register.token);
    let first = piggyback(&again, Code::CONTENT, "").with(number::ETAG, b"4");
    let fetch = one(bench.feed(&first.uint(number::BLOCK2, block(0, true, 16)).body(&[4; 16])));
    assert_eq!(bench.feed(&part(&fetch, b"4")), []);
    let events = bench.events();
    let [
        Event::Response { observing: true, .. },
        Event::Notification { handle: of, response, observing: true, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*of, response.body.len()), (handle, 19));
    // One that cannot be fetched is lost; the observation is not.
    bench.feed(&notify(5, b"5", 0, true, &[5; 16]));
    bench.pass(95.0);
    assert_eq!((bench.events(), bench.endpoint.stats().transfers_lost), (vec![], 2));
    bench.feed(&notify(6, b"6", 0, false, b"small"));
    assert!(matches!(bench.events()[..], [Event::Notification { observing: true, .. }]));
}

#[test]
fn b13_q_block_is_refused_so_that_clients_fall_back() {
    let mut bench = bench();
    for (mid, number) in [number::Q_BLOCK1, 31].into_iter().enumerate() {
        let refused = bench.ask(&con(Code::PUT, mid as u16, "/large").uint(number, 0).body(b"x"));
        assert_eq!(refused.code, Code::BAD_OPTION);
    }
}
